# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The base trees: fetched as the distribution's source packages, or a user's own.

Each base becomes a bare git repository in the cache with one commit, tagged
`base`. KSRC=DIR and QSRC=DIR take a tree from disk instead, KVER=VERSION one
version of the kernel package. Once a base is in the cache it is used until
UPDATE=1 asks for a newer one, so nothing needs the network after the first run.

Besides the bases of the two series there are stock kernels, which some lanes
boot as they are. A machine that cannot get one is no broken machine: that is
told apart as Unavailable.
"""

import glob
import hashlib
import os
import pathlib
import re
import shutil
import tempfile

from iopf_common import BUILD_IDENT, CACHE, Failure, publish, run

KERNEL_PACKAGE = "linux-source-6.12"
QEMU_SUITE = "trixie"
# Where a stock kernel is looked for: a stable release's additions, then what is
# newer, down to what changes every day
STOCK_SUITES = ("trixie-backports", "forky", "sid")


class Unavailable(Failure):
    """A stock kernel that cannot be had here: its lanes are skipped."""


def version(repo, name):
    """`Linux 6.12.117` or `QEMU 10.0.13`, read from the tree itself."""
    if name == "qemu":
        return "QEMU " + run(["git", "-C", repo, "show", "refs/tags/base:VERSION"]).strip()
    makefile = run(["git", "-C", repo, "show", "refs/tags/base:Makefile"])
    part = {m[1]: m[2] for m in re.finditer(r"^(\w+) = ?(.*)$", makefile[:400], re.M)}
    return "Linux {VERSION}.{PATCHLEVEL}.{SUBLEVEL}{EXTRAVERSION}".format(**part)


def tree_id(repo):
    return run(["git", "-C", repo, "rev-parse", "refs/tags/base^{tree}"]).strip()


def snapshot(source, repo):
    """Make the files of a folder the `base` commit of a bare repository.

    Of a git work tree these are the files git tracks, as they are on disk; of
    any other folder all of them, because Debian's .gitignore ignores the lot.
    """
    if not (repo / "HEAD").exists():
        run(["git", "init", "-q", "--bare", repo])
        run(["git", "-C", repo, "config", "gc.auto", "0"])
        run(["git", "-C", repo, "config", "core.autocrlf", "false"])
    where = ["git", "--git-dir", repo, "--work-tree", source]
    if (source / ".git").exists():
        tracked = run(["git", "-C", source, "ls-files", "-z"])
        run([*where, "read-tree", "--empty"])
        run([*where, "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul"],
            cwd=source, input=tracked)
    else:
        run([*where, "add", "-A", "-f", "."], cwd=source)
    tree = run([*where, "write-tree"]).strip()
    env = dict(os.environ)
    for who in ("AUTHOR", "COMMITTER"):
        env.update({f"GIT_{who}_NAME": BUILD_IDENT[0], f"GIT_{who}_EMAIL": BUILD_IDENT[1],
                    f"GIT_{who}_DATE": BUILD_IDENT[2]})
    commit = run(["git", "-C", repo, "commit-tree", tree, "-m", "base"], env=env).strip()
    run(["git", "-C", repo, "update-ref", "refs/tags/base", commit])
    run(["git", "-C", repo, "update-ref", "refs/heads/pristine", commit])


def user_tree(name, directory):
    source = pathlib.Path(directory).resolve()
    if not (source / ("Makefile" if name == "linux" else "VERSION")).is_file():
        raise Failure(f"{source} is no {name} source tree; "
                      f"set {'KSRC' if name == 'linux' else 'QSRC'} to its top folder")
    tag = hashlib.sha256(str(source).encode()).hexdigest()[:12]
    repo = CACHE / "base" / f"{name}-user-{tag}"
    snapshot(source, repo)
    return repo


def offline():
    return os.environ.get("OFFLINE") == "1"


def cached(name, wanted):
    """The newest base in the cache, or the one of the wanted version."""
    found = [pathlib.Path(p) for p in glob.glob(str(CACHE / "base" / f"{name}-[0-9]*"))
             if (pathlib.Path(p) / ".complete").exists()]
    if wanted:
        found = [p for p in found if p.name == f"{name}-{wanted}"]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)],
               default=None)


def apt_candidate(package, options=()):
    policy = run(["apt-cache", *options, "policy", package],
                 env={**os.environ, "LC_ALL": "C"})
    match = re.search(r"^  Candidate: (\S+)$", policy, re.M)
    return match[1] if match and match[1] != "(none)" else None


def publish_deb(package, repo, work):
    """Make a base of the linux-source package whose .deb is in the folder `work`."""
    def build(tmp):
        run(["dpkg-deb", "-x", *glob.glob(f"{work}/*.deb"), f"{work}/x"])
        run(["tar", "-C", work, "-xf", f"{work}/x/usr/src/{package}.tar.xz"])
        snapshot(pathlib.Path(work) / package, tmp)

    return publish(build, repo)[0]


def fetch_linux(wanted):
    if not shutil.which("apt-get"):
        raise Failure("no apt-get here; set KSRC=DIR to a Linux 6.12 source tree")
    ver = wanted or apt_candidate(KERNEL_PACKAGE)
    if not ver:
        run(["apt-get", "update"])
        ver = apt_candidate(KERNEL_PACKAGE)
    if not ver:
        raise Failure(f"no package {KERNEL_PACKAGE} in the package index; "
                      "run 'apt-get update' or set KSRC=DIR to a Linux 6.12 source tree")
    repo = CACHE / "base" / f"linux-{ver}"
    repo.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repo.parent) as work:
        if not (repo / ".complete").exists():
            run(["apt-get", "download", f"{KERNEL_PACKAGE}={ver}"], cwd=work)
        return publish_deb(KERNEL_PACKAGE, repo, work)


def machine_archive():
    """URI and keyring of the Debian archive this machine itself uses."""
    files = sorted(glob.glob("/etc/apt/sources.list.d/*.sources"))
    for file in files:
        for stanza in pathlib.Path(file).read_text().split("\n\n"):
            field = dict(re.findall(r"^([\w-]+):\s*(.*)$", stanza, re.M))
            uri = field.get("URIs", "").split()
            if uri and "security" not in uri[0] and uri[0].rstrip("/").endswith("debian"):
                return uri[0], field.get("Signed-By")
    for file in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))]:
        if pathlib.Path(file).is_file():
            for line in pathlib.Path(file).read_text().splitlines():
                match = re.match(r"deb\s+(?:\[.*?\]\s+)?(\S+/debian/?)\s", line)
                if match:
                    return match[1], None
    return None


def keyring_file(field):
    """What to trust: a path to a keyring, or the distribution's own keyring."""
    return field if field and field.startswith("/") else (
        "/usr/share/keyrings/debian-archive-keyring.gpg")


class PrivateApt:
    """An apt of our own for another suite: nothing of the system changes."""

    def __init__(self, work, suite, types="deb"):
        self.work = pathlib.Path(work)
        for sub in ("lists/partial", "archives/partial"):
            (self.work / sub).mkdir(parents=True)
        archive = machine_archive()
        if not archive:
            raise Failure("no Debian archive in this machine's apt sources")
        (self.work / "suite.sources").write_text(
            f"Types: {types}\nURIs: {archive[0]}\nSuites: {suite}\n"
            f"Components: main\nSigned-By: {keyring_file(archive[1])}\n")
        self.options = ["-o", f"Dir::Etc::sourcelist={self.work}/suite.sources",
                        "-o", "Dir::Etc::sourceparts=/dev/null",
                        "-o", f"Dir::State::lists={self.work}/lists",
                        "-o", f"Dir::Cache::archives={self.work}/archives",
                        "-o", f"Dir::Cache::pkgcache={self.work}/pkgcache.bin",
                        "-o", f"Dir::Cache::srcpkgcache={self.work}/srcpkgcache.bin"]
        # an index that did not come is an error, not a suite without packages
        run(["apt-get", *self.options, "-o", "APT::Update::Error-Mode=any", "update"])

    def get(self, *args):
        run(["apt-get", *self.options, *args], cwd=self.work)

    def candidate(self, package):
        return apt_candidate(package, self.options)


def download_stock(package, suite, work):
    """The package's version in a suite and its .deb in `work`; None if it has none."""
    apt = PrivateApt(work, suite)
    ver = apt.candidate(package)
    if ver and not (CACHE / "base" / f"{package}-{ver}" / ".complete").exists():
        apt.get("download", f"{package}={ver}")
    return ver


def fetch_stock(package):
    """A stock kernel's source from the first suite that has it."""
    if not shutil.which("apt-get") or not machine_archive():
        raise Unavailable(f"{package} is not in the cache, and there is no Debian archive "
                          "in this machine's apt sources")
    missing = []
    CACHE.mkdir(parents=True, exist_ok=True)
    for suite in STOCK_SUITES:
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            try:
                ver = download_stock(package, suite, work)
            except Failure as failure:
                missing.append(f"{suite}: {failure}")
                continue
            if ver:
                # what goes wrong from here on is no lack of a package
                return publish_deb(package, CACHE / "base" / f"{package}-{ver}", work)
            missing.append(f"not in {suite}")
    raise Unavailable(f"{package}: {'; '.join(missing)}")


def fetch_qemu(_wanted):
    """QEMU's source, and beside it the meson that it wants (pure Python)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not machine_archive():
        raise Failure("no Debian archive in this machine's apt sources; "
                      "set QSRC=DIR to a QEMU 10.0 source tree")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        apt = PrivateApt(work, QEMU_SUITE, "deb deb-src")
        apt.get("source", "--download-only", f"qemu/{QEMU_SUITE}")
        apt.get("download", f"meson/{QEMU_SUITE}", f"python3-pycotap/{QEMU_SUITE}")
        tar = glob.glob(f"{work}/qemu_*.orig.tar.xz")[0]
        ver = re.search(r"qemu_([0-9.]+)", tar)[1]

        def build(tmp):
            run(["tar", "-C", work, "-xf", tar])
            snapshot(pathlib.Path(work) / f"qemu-{ver}", tmp)
            for deb in glob.glob(f"{work}/*.deb"):
                run(["dpkg-deb", "-x", deb, tmp / "meson"])

        return publish(build, CACHE / "base" / f"qemu-{ver}")[0]


def repository(name):
    """The bare repository of a base; fetched on first use."""
    own = os.environ.get("KSRC" if name == "linux" else "QSRC")
    if own:
        return user_tree(name, own)
    wanted = os.environ.get("KVER") if name == "linux" else None
    found = cached(name, wanted)
    if found and (offline() or os.environ.get("UPDATE") != "1"):
        return found
    if offline():
        raise Failure(f"OFFLINE=1, and no {name} base in {CACHE}; run once with the network")
    print(f"    fetching the {name} base tree ...", flush=True)
    return (fetch_linux if name == "linux" else fetch_qemu)(wanted)


def kernel_repository(package):
    """The bare repository of a kernel that a lane boots, by its package.

    The base of the series is one of them, with all that the user may say
    about it. Unavailable if another one is neither in the cache nor in reach.
    """
    if package == KERNEL_PACKAGE:
        return repository("linux")
    found = cached(package, None)
    if found and (offline() or os.environ.get("UPDATE") != "1"):
        return found
    if offline():
        raise Unavailable(f"OFFLINE=1, and no {package} in {CACHE}")
    print(f"    fetching {package} ...", flush=True)
    try:
        return fetch_stock(package)
    except Unavailable:
        if found:
            return found
        raise


def meson_path():
    """Where the private meson's Python packages are, or None."""
    found = cached("qemu", None)
    path = found / "meson/usr/lib/python3/dist-packages" if found else None
    return path if path and path.is_dir() else None

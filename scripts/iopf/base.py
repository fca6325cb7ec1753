# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The base trees: fetched as the distribution's source packages, or a user's own.

Each base becomes a bare git repository in the cache with one commit, tagged
`base`. KSRC=DIR and QSRC=DIR take a tree from disk instead, KVER=VERSION one
version of the kernel package, QVER=VERSION one release of QEMU. Once a base is in
the cache it is used until UPDATE=1 asks for a newer one, so nothing needs the
network after the first run.
"""

import contextlib
import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import time

from iopf import cache, host, lock, packages, process, progress
from iopf.cache import publish
from iopf.errors import Failure
from iopf.host import offline
from iopf.patches import BUILD_IDENT, version_number
from iopf.process import run

KERNEL_PACKAGE = "linux-source-6.12"
QEMU_SUITE = "trixie"
# Where another release may be. It goes from them when a newer one comes
QEMU_SUITES = "trixie trixie-backports forky sid"


class Unavailable(Failure):
    """No archive has that release any more. That is no broken machine: its lanes are
    skipped."""


def version(repo, name):
    """`Linux 6.12.117` or `QEMU 10.0.13`, read from the tree itself."""
    if name == "qemu":
        return "QEMU " + run(["git", "-C", repo, "show", "refs/tags/base:VERSION"]).strip()
    makefile = run(["git", "-C", repo, "show", "refs/tags/base:Makefile"])
    part = {m[1]: m[2] for m in re.finditer(r"^(\w+) = ?(.*)$", makefile[:400], re.M)}
    return "Linux {VERSION}.{PATCHLEVEL}.{SUBLEVEL}{EXTRAVERSION}".format(**part)


def tree_id(repo):
    return run(["git", "-C", repo, "rev-parse", "refs/tags/base^{tree}"]).strip()


def init_bare(repo):
    if not (repo / "HEAD").exists():
        run(["git", "init", "-q", "--bare", "--template=", repo])
        run(["git", "-C", repo, "config", "gc.auto", "0"])
        run(["git", "-C", repo, "config", "core.autocrlf", "false"])


def import_tar(archive, repo):
    """Make the files of a .tar.xz, without its top folder, the `base` commit of a
    new bare repository. A tree of a hundred thousand files is never on the disk."""
    init_bare(repo)
    name, mail, date = BUILD_IDENT
    with process.child(["xz", "-dc", archive], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpack, \
            process.child(["git", "--git-dir", repo, "-c", "core.compression=1", "-c",
                           "fastimport.unpackLimit=0", "fast-import", "--quiet", "--done",
                           "--date-format=rfc2822"],
                          stdin=subprocess.PIPE) as importer:
        to_git = importer.stdin
        stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000",
                              time.strptime(date, "%Y-%m-%dT%H:%M:%SZ"))
        to_git.write(f"commit refs/heads/pristine\ncommitter {name} <{mail}> {stamp}\n"
                     "data 5\nbase\n\n".encode())
        try:
            with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
                for member in tar:
                    import_member(tar, member, to_git)
            to_git.write(b"done\n")
            to_git.close()
        except (tarfile.TarError, EOFError, BrokenPipeError) as error:
            raise Failure(f"{archive}: cannot be unpacked ({error}); UPDATE=1 fetches it "
                          "again") from error
        if unpack.wait() or importer.wait():
            raise Failure(f"{archive}: cannot be unpacked, or the disk is full")
    run(["git", "-C", repo, "update-ref", "refs/tags/base", "refs/heads/pristine"])


def import_member(tar, member, to_git):
    """One file of an archive as a line for git fast-import."""
    path = member.name.partition("/")[2]
    if member.isdir() or not path or member.name == "pax_global_header":
        return
    if member.issym():
        mode, data = "120000", member.linkname.encode(errors="surrogateescape")
    elif member.isreg():
        mode = "100755" if member.mode & 0o100 else "100644"
        data = tar.extractfile(member).read()
    else:
        raise Failure(f"{member.name} in the archive is neither file, link nor folder")
    to_git.write(f"M {mode} inline {path}\ndata {len(data)}\n".encode(
        errors="surrogateescape") + data + b"\n")


def snapshot(source, repo):
    """Make the files of a folder the `base` commit of a bare repository.

    Of a git work tree these are the files git tracks, as they are on disk; of
    any other folder all of them, because Debian's .gitignore ignores the lot.
    """
    init_bare(repo)
    index = repo / "snapshot.index"
    for name in (index, index.with_name("snapshot.index.lock")):
        name.unlink(missing_ok=True)        # of a run that was killed
    env = process.plain_env({"GIT_INDEX_FILE": str(index)})
    # files that are larger than this go straight into one pack, the others
    # become a file each: a hundred thousand of them
    where = ["git", "--git-dir", repo, "--work-tree", source, "-c", "core.bigFileThreshold=1"]
    if (source / ".git").exists():
        tracked = run(["git", "-C", source, "ls-files", "-z"])
        run([*where, "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul"],
            cwd=source, input=tracked, env=env)
    else:
        run([*where, "add", "-A", "-f", "."], cwd=source, env=env)
    tree = run([*where, "write-tree"], env=env).strip()
    index.unlink()
    for who in ("AUTHOR", "COMMITTER"):
        env.update({f"GIT_{who}_NAME": BUILD_IDENT[0], f"GIT_{who}_EMAIL": BUILD_IDENT[1],
                    f"GIT_{who}_DATE": BUILD_IDENT[2]})
    commit = run(["git", "-C", repo, "commit-tree", tree, "-m", "base"], env=env).strip()
    run(["git", "-C", repo, "update-ref", "refs/tags/base", commit])
    run(["git", "-C", repo, "update-ref", "refs/heads/pristine", commit])


def shared_clone(repo, tree):
    """A git tree that reads its objects out of a base's repository.

    Made beside its place and renamed, because half a clone looks like a whole
    one; the repository may have moved with the cache since.
    """
    repo = pathlib.Path(repo)
    if not (tree / ".git/config").exists():
        shutil.rmtree(tree, ignore_errors=True)
        made = tree.with_name(f".{tree.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        run(["git", "init", "-q", "--template=", made])
        run(["git", "-C", made, "config", "core.autocrlf", "false"])
        run(["git", "-C", made, "config", "gc.auto", "0"])
        made.rename(tree)
    (tree / ".git/objects/info").mkdir(parents=True, exist_ok=True)
    (tree / ".git/objects/info/alternates").write_text(f"{repo / 'objects'}\n")
    run(["git", "-C", tree, "update-ref", "refs/tags/base",
         run(["git", "-C", repo, "rev-parse", "refs/tags/base^{commit}"]).strip()])
    return tree


def scratch_checkout(repo, tree, commit="refs/tags/base"):
    """A tree that nobody works in, at a commit of a base's repository."""
    shared_clone(repo, tree)
    (tree / ".git/index.lock").unlink(missing_ok=True)      # of a run that was killed
    run(["git", "-C", tree, "checkout", "-q", "-f", "--detach", commit])
    return tree


SNAPSHOTS = set()   # trees of users that this command has read, which it does once


def user_tree(name, directory):
    source = pathlib.Path(directory).resolve()
    if not (source / ("Makefile" if name == "linux" else "VERSION")).is_file():
        raise Failure(f"{source} is no {name} source tree; "
                      f"set {'KSRC' if name == 'linux' else 'QSRC'} to its top folder")
    tag = hashlib.sha256(str(source).encode()).hexdigest()[:12]
    repo = host.claim_cache() / "base" / f"{name}-user-{tag}"
    if repo not in SNAPSHOTS:
        with lock.of_product(repo, f"reads {source}"):
            if not (repo / "refs/tags/base").exists():
                shutil.rmtree(repo, ignore_errors=True)     # of a run that was killed
                repo.mkdir(parents=True)
            snapshot(source, repo)
        SNAPSHOTS.add(repo)
    return repo


def base_name(name, wanted):
    """A QEMU of another release must not be taken for the newest base."""
    return f"{name}-v{wanted}" if name == "qemu" else f"{name}-{wanted}"


def cached(name, wanted):
    """The newest base in the cache, or the one of the wanted version."""
    found = list((host.claim_cache() / "base").glob(f"{name}-*" if wanted else f"{name}-[0-9]*"))
    if wanted:
        found = [p for p in found if p.name == base_name(name, wanted)]
    for path in sorted(found, key=lambda p: version_number(p.name), reverse=True):
        if cache.intact(path):
            return cache.taken(path)[0]
        progress.say(f"    {path} is not used: {cache.damage(path)}", always=True)
    return None


def apt_candidate(package, options=()):
    policy = run(["apt-cache", *options, "policy", package],
                 env=process.plain_env({"LC_ALL": "C"}))
    match = re.search(r"^  Candidate: (\S+)$", policy, re.M)
    return match[1] if match and match[1] != "(none)" else None


def newest_linux(wanted):
    """The version to fetch, by an index that the first run has to bring."""
    ver = wanted or apt_candidate(KERNEL_PACKAGE)
    if not ver and os.geteuid() == 0:
        packages.apt(["apt-get", "update"], host.log("apt-update.log"), "apt-get update")
        ver = apt_candidate(KERNEL_PACKAGE)
    if not ver:
        raise Failure(f"no package {KERNEL_PACKAGE} in the package index; "
                      "run 'apt-get update' or set KSRC=DIR to a Linux 6.12 source tree")
    return ver


def fetch_linux(wanted):
    if not shutil.which("apt-get"):
        raise Failure("no apt-get here; set KSRC=DIR to a Linux 6.12 source tree")
    ver = newest_linux(wanted)
    repo = host.claim_cache() / "base" / f"linux-{ver}"
    repo.parent.mkdir(parents=True, exist_ok=True)
    with cache.workspace() as work:
        def build(tmp):
            try:
                run(["apt-get", "download", f"{KERNEL_PACKAGE}={ver}"], cwd=work)
            except Failure as failure:
                known = "" if not wanted else "; there are " + (
                    ", ".join(apt_versions(KERNEL_PACKAGE)) or "none")
                raise Failure(f"{failure}; 'apt-get update' brings a new package index"
                              f"{known}") from failure
            run(["dpkg-deb", "-x", *glob.glob(f"{work}/*.deb"), f"{work}/x"])
            import_tar(f"{work}/x/usr/src/{KERNEL_PACKAGE}.tar.xz", tmp)

        return publish(build, repo)[0]


def apt_versions(package, options=()):
    """The versions of a package that an index has, the newest first."""
    if not shutil.which("apt-cache"):
        return []
    listed = run(["apt-cache", *options, "madison", package],
                 env=process.plain_env({"LC_ALL": "C"}))
    return list(dict.fromkeys(line.split("|")[1].strip() for line in listed.splitlines()
                              if line.count("|") >= 2))


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

    def __init__(self, work, suite, types="deb", archs=()):
        """With `archs` packages of these architectures, the first being that of names
        without one; else of those that this machine has."""
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
        if archs:
            self.options += ["-o", f"APT::Architecture={archs[0]}"]
        for arch in archs:
            self.options += ["-o", f"APT::Architectures::={arch}"]
        # an index that did not come is an error, not a suite without packages
        run(["apt-get", *self.options, "-o", "APT::Update::Error-Mode=any", "update"])

    def get(self, *args):
        run(["apt-get", *self.options, *args], cwd=self.work)


def get_meson(apt):
    """The meson that QEMU wants: packages that are pure Python."""
    apt.get("download", f"meson/{QEMU_SUITE}", f"python3-pycotap/{QEMU_SUITE}")


def upstream_version(version):
    """`10.2.2` of the package version `1:10.2.2+ds-1`."""
    return re.sub(r"^\d+:|[+~-].*$", "", version)


def fetch_qemu_release(wanted):
    """The source of one release of QEMU, if a suite still has it."""
    if not shutil.which("apt-get") or not machine_archive():
        raise Unavailable(f"QVER={wanted}, and there is no Debian archive in this machine's apt "
                          "sources")
    with cache.workspace() as work:
        try:
            apt = PrivateApt(work, QEMU_SUITES, "deb-src")
        except Failure as failure:
            raise Unavailable(f"QEMU {wanted}: {failure}") from failure
        known = apt_versions("qemu", apt.options)
        found = [v for v in known if upstream_version(v) == wanted]
        if not found:
            raise Unavailable(f"no source package of QEMU {wanted} in {QEMU_SUITES}; there are "
                              f"{', '.join(dict.fromkeys(map(upstream_version, known)))}")
        apt.get("source", "--download-only", f"qemu={found[0]}")
        meson = PrivateApt(pathlib.Path(work) / "meson", QEMU_SUITE)
        get_meson(meson)
        return publish_qemu(qemu_tar(work), meson.work, base_name("qemu", wanted))


def qemu_tar(work):
    return glob.glob(f"{work}/qemu_*.orig.tar.xz")[0]


def publish_qemu(tar, debs, name):
    """A base of QEMU's source, and in it the meson of the packages in `debs`."""
    def build(tmp):
        import_tar(tar, tmp)
        for deb in glob.glob(f"{debs}/*.deb"):
            run(["dpkg-deb", "-x", deb, tmp / "meson"])

    return publish(build, host.cache() / "base" / name)[0]


def fetch_qemu(wanted):
    """QEMU's source, and beside it the meson that it wants (pure Python)."""
    if wanted:
        return fetch_qemu_release(wanted)
    if not shutil.which("apt-get"):
        raise Failure("no apt-get here; set QSRC=DIR to a QEMU 10.0 source tree")
    if not machine_archive():
        raise Failure("no Debian archive in this machine's apt sources; "
                      "set QSRC=DIR to a QEMU 10.0 source tree")
    with cache.workspace() as work:
        apt = PrivateApt(work, QEMU_SUITE, "deb deb-src")
        apt.get("source", "--download-only", f"qemu/{QEMU_SUITE}")
        get_meson(apt)
        tar = qemu_tar(work)
        return publish_qemu(tar, work, f"qemu-{re.search(r'qemu_([0-9.]+)', tar)[1]}")


UPDATED = set()     # what UPDATE=1 has brought in this command


def to_be_used(found, name):
    """Whether a base in the cache will do, or a newer one was asked for."""
    return found and (offline() or os.environ.get("UPDATE") != "1" or name in UPDATED)


def fetching(name):
    """One of several commands fetches a base, the others wait for it."""
    return lock.of_product(host.cache() / "base" / name, f"fetches {name}")


def wanted_version(name):
    """The version of a base that was asked for, or None for the newest."""
    return os.environ.get("KVER" if name == "linux" else "QVER") or None


@contextlib.contextmanager
def qemu_release(wanted):
    """All that is done in it is for that release of QEMU; "" is the series' own base."""
    before = os.environ.pop("QVER", None)
    if wanted:
        os.environ["QVER"] = wanted
    try:
        yield
    finally:
        os.environ.pop("QVER", None)
        if before is not None:
            os.environ["QVER"] = before


def repository(name):
    """The bare repository of a base; fetched on first use."""
    own = os.environ.get("KSRC" if name == "linux" else "QSRC")
    if own:
        return user_tree(name, own)
    wanted = wanted_version(name)
    found = cached(name, wanted)
    if to_be_used(found, name) or found and name == "qemu" and wanted:
        return found        # of a release there is no newer one
    if offline():
        kind = Unavailable if name == "qemu" and wanted else Failure
        raise kind(f"OFFLINE=1, and no {' '.join(filter(None, (name, 'base', wanted)))} in "
                   f"{host.cache()}; run once with the network")
    with fetching(name):
        found = cached(name, wanted)
        if to_be_used(found, name):
            return found
        progress.say(f"    fetching the {name} base tree ...")
        found = (fetch_linux if name == "linux" else fetch_qemu)(wanted)
        UPDATED.add(name)
        return found


def meson_path():
    """Where the private meson's Python packages are, or None."""
    found = cached("qemu", wanted_version("qemu")) or cached("qemu", None)
    path = found / "meson/usr/lib/python3/dist-packages" if found else None
    return path if path and path.is_dir() else None

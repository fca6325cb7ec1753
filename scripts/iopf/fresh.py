# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A machine that has never seen the project: does the README's first line work?

For each release a bare system is made by debootstrap, with nothing but what the
README asks for, and kept in the cache as an archive. A fresh clone of HEAD is put
in. A user with no rights must get the one line to paste and no more; root must
see the demonstration; the packages of library and program must build, and programs
with them. Packages are installed anew each time, builds may come from the shared cache.

What is built depends on the compiler, so each release has builds of its own. The
older one's are those of the first make run, and mostly there. The newer one's
would take as long again; FRESH=full has them. Without, it takes over kernel and
QEMU of the older one (IOPF_PRODUCTS), builds the guest's programs, and compiles a
part of kernel and QEMU (`build try`), to show that nothing is missing for it.
"""

import glob
import os
import pathlib
import re
import shutil
import subprocess

from iopf import base, host
from iopf.cache import digest, publish
from iopf.errors import Failure
from iopf.host import REPO
from iopf.process import logged, run
from iopf.testbed import lanefile

RELEASES = ("bookworm", "trixie")
# The README's "On Debian 12 or 13" has these; minbase is what every Debian has
ASKED_FOR = ("ca-certificates", "git", "make", "python3")
CACHE_INSIDE = "/root/.cache/linux-iopf"
PRODUCTS = "/root/products"
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]


class Skip(Exception):
    """Why the check cannot be made on this machine."""


def refuse():
    """Raise Skip where there can be no bare machine."""
    if os.geteuid():
        raise Skip("only root can make a bare machine")
    if run(["dpkg", "--print-architecture"]).strip() != "amd64":
        raise Skip("the bare machines are amd64, this one is not")
    if host.offline():
        raise Skip("OFFLINE=1, and a bare machine installs packages")
    if not base.machine_archive():
        raise Skip("no Debian archive in this machine's apt sources")
    if not shutil.which("debootstrap"):
        raise Skip("no debootstrap here")
    probe = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        raise Skip(f"no namespaces to mount in: {probe.stderr.strip()}")


def readme_line(text):
    """The command that the README gives for the demonstration."""
    found = re.search(r"^    (make run)\b *(#.*)?$", text, re.M)
    if not found:
        raise Failure("the README has no line 'make run'", 1)
    return found[1].split()


def bootstrap(release, archive, dest, log):
    uri, key = archive
    root = dest / "root"
    logged(["debootstrap", "--variant=minbase", f"--include={','.join(ASKED_FOR)}",
            f"--keyring={base.keyring_file(key)}", release, root, uri], log,
           what=f"debootstrap of {release}")
    logged(["tar", "-C", root, "--numeric-owner", "--exclude=./dev/*",
            "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "-cf",
            dest / "root.tar", "."], log, what="archive of the bare system")
    shutil.rmtree(root)


def archive_of(release, log):
    """The archive of a bare system, made if the cache has none."""
    archive = base.machine_archive()
    key = digest("root-1", release, *ASKED_FOR, *archive)
    made, _ = publish(lambda tmp: bootstrap(release, archive, tmp, log),
                      host.cache() / "root" / f"{release}-{key}")
    return made / "root.tar"


def sources_for(text, here, release):
    """A deb822 sources file of this machine, for another release; Debian's only."""
    kept = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        field = dict(re.findall(r"^([\w-]+):\s*(.*)$", "\n".join(lines), re.M))
        if not re.search(r"/debian(-security)?/?(\s|$)", field.get("URIs", "")) or (
                field.get("Enabled", "").lower() == "no"):
            continue
        kept.append("\n".join(re.sub(rf"\b{here}\b", release, line)
                              if line.startswith("Suites:") else line for line in lines))
    return "\n\n".join(kept) + "\n" if kept else ""


def list_for(text, here, release):
    """The same for the format of one line each."""
    lines = [line for line in text.splitlines()
             if re.match(r"deb(-src)?\s+(\[.*?\]\s+)?\S+/debian(-security)?/?\s", line)]
    return "".join(re.sub(rf"(?<=\s){here}\b", release, line) + "\n" for line in lines)


def write_sources(root, release):
    """The machine's own apt sources, with the keys that they name."""
    here = re.search(r"^VERSION_CODENAME=(\w+)$",
                     pathlib.Path("/etc/os-release").read_text(), re.M)
    here = here[1] if here else release
    apt = root / "etc/apt"
    (apt / "sources.list").unlink(missing_ok=True)
    written = ""
    for name in sorted(["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]):
        file = pathlib.Path(name)
        change = {".sources": sources_for, ".list": list_for}.get(file.suffix)
        text = change(file.read_text(), here, release) if change and file.is_file() else ""
        if text:
            (apt / "sources.list.d" / file.name).write_text(text)
            written += text
    if not written:
        raise Failure("no Debian archive in this machine's apt sources")
    for key in set(re.findall(r"^Signed-By:\s*(/\S+)|\bsigned-by=([^\s\]]+)", written, re.M)):
        for file in filter(None, key):
            (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / file[1:])
    # how this machine reaches its archive: proxies, time-outs, checks of dates
    reach = [line for line in run(["apt-config", "dump"]).splitlines()
             if re.match(r"Acquire::(https?|Check-[\w-]+|Retries|ForceIPv[46])\b.* \"[^\"]+\";$",
                         line)]
    (apt / "apt.conf.d/99machine").write_text("\n".join(reach) + "\n")


def make_root(release, commit, log):
    """Unpack a bare system, with a clone for each of two users."""
    root = host.out() / "check/fresh" / release
    archive = archive_of(release, log)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run(["tar", "-C", root, "--numeric-owner", "-xpf", archive])
    write_sources(root, release)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    run(["chroot", root, "useradd", "-m", "user"])
    for home in ("root", "home/user"):
        clone = root / home / "linux-iopf"
        run(["git", "clone", "-q", "--no-local", "--no-checkout", REPO, clone])
        run(["git", "-C", clone, "checkout", "-q", "--detach", commit])
    run(["chroot", root, "chown", "-R", "user:user", "/home/user"])
    return root


def must(argv, log, what):
    """A long command that must succeed; that it does not is a failure of this test."""
    try:
        logged(argv, log, what=what)
    except Failure as failure:
        raise Failure(str(failure), 1) from failure


class Machine:
    """A bare system that commands can be run in."""

    def __init__(self, release, commit, log):
        self.release, self.log = release, log
        self.root = make_root(release, commit, log)

    def argv(self, user, command, *env):
        home = "/root" if user == "root" else f"/home/{user}"
        folders = []
        if user == "root":
            folders = [f"{host.claim_cache()}={CACHE_INSIDE}"]
            ccache = pathlib.Path(os.environ.get("CCACHE_DIR") or "~/.cache/ccache").expanduser()
            if ccache.is_dir():
                folders.append(f"{ccache}=/root/.cache/ccache")
        jobs = [f"JOBS={os.environ['JOBS']}"] if os.environ.get("JOBS") else []
        return [*UNSHARE, REPO / "scripts/bare-root", self.root, user, home, *folders, "--",
                *jobs, *env, *command]

    def output(self, user, command, *env):
        """Exit status and output of a short command; what may fail has its own log."""
        res = subprocess.run([str(a) for a in self.argv(user, command, *env)], check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        with open(self.log.with_suffix(".short.log"), "a", encoding="utf-8") as log:
            log.write(f"+ {self.release}: {user}: {' '.join(command)}\n{res.stdout}"
                      f"(exit {res.returncode})\n")
        return res.returncode, res.stdout

    def run(self, user, command, what, *env):
        """A long command that must succeed; returns what it printed."""
        start = self.log.stat().st_size if self.log.exists() else 0
        must(self.argv(user, command, *env), self.log, what)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(start)
            return log.read()


def judge_refusal(status, text):
    """What a user with no rights must see. Returns the packages of the line to paste."""
    errors = re.findall(r"^error: .*$", text, re.M)
    if "Traceback" in text or len(errors) != 1:
        raise Failure(f"a user with no rights must get one line, got {len(errors)}", 1)
    line = re.search(r"paste(?: as root)?: (?:sudo )?apt-get update && (?:sudo )?"
                     r"apt-get install --no-remove -y --no-install-recommends (.+)$", errors[0])
    if not line:
        raise Failure(f"a user with no rights gets no line to paste, but: {errors[0]}", 1)
    if status != 2:
        raise Failure(f"a user with no rights must get exit status 2, got {status}", 1)
    return line[1].split()


def judge_run(text):
    """Whether a demonstration was there to be seen, and no other result than passed."""
    results = re.findall(r"^demo(?: --\w+)*: (\w+)", text, re.M)
    if not results or set(results) != {"passed"}:
        raise Failure(f"make run must show that the demonstration passed, shows "
                      f"{' '.join(results) or 'none'}", 1)


def installed_by(machine):
    """What make run itself has installed, from its own log."""
    log = machine.root / "root/linux-iopf/out/log/last/deps.log"
    found = re.findall(r"^\+ .*apt-get .*install --no-remove -y --no-install-recommends (.+)$",
                       log.read_text(), re.M) if log.is_file() else []
    return found[-1].split() if found else []


def products_of(machine):
    """Where, in the cache, the kernel and QEMU of a machine are that has run."""
    found = {}
    kernel = lanefile.load("vtd").kernel.name       # which make run boots
    for name, words in ((f"kernel-{kernel}", ("kernel", kernel)), ("qemu", ("qemu",))):
        status, text = machine.output("root", ["scripts/build", "path", *words])
        path = text.strip().splitlines()[-1] if text.strip() else ""
        if status or not path.startswith(CACHE_INSIDE):
            raise Failure(f"no path of {name} from {machine.release}; read "
                          f"{machine.log.with_suffix('.short.log')}", 1)
        found[name] = path
    return found


def take_over(machine, products):
    """Give a machine the products of another one, by links into the cache."""
    folder = machine.root / PRODUCTS[1:]
    folder.mkdir()
    for name, path in products.items():
        (folder / name).symlink_to(path)


def check_packages(machine):
    """The packages build, and programs build with what they install."""
    machine.run("root", ["make", "deb"], f"make deb in a bare {machine.release}")
    must([REPO / "scripts/deb-test", machine.root, machine.root / "root/linux-iopf/out/deb"],
         machine.log, f"the packages in a bare {machine.release}")


def check_release(release, commit, log, products):
    """All that is tried in one bare system. Returns the system and its passes."""
    machine = Machine(release, commit, log)
    command = readme_line((machine.root / "root/linux-iopf/README.md").read_text())
    pasted = judge_refusal(*machine.output("user", command))
    env = []
    if products:
        take_over(machine, products)
        env = [f"IOPF_PRODUCTS={PRODUCTS}"]
    judge_run(machine.run("root", command, f"{' '.join(command)} in a bare {release}", *env))
    if sorted(installed_by(machine)) != sorted(pasted):
        raise Failure(f"{release}: the line to paste has other packages than are installed", 1)
    if products:
        machine.run("root", ["scripts/build", "try"],
                    f"what builds need in a bare {release}")
    check_packages(machine)
    return machine, 4 if products else 3


def check(log, commit="HEAD", releases=RELEASES, full=False):
    """Try each release. Returns how many things were found right."""
    refuse()
    log.parent.mkdir(parents=True, exist_ok=True)
    commit = run(["git", "-C", REPO, "rev-parse", f"{commit}^{{commit}}"]).strip()
    if run(["git", "-C", REPO, "status", "--porcelain"]):
        print(f"    of commit {commit[:12]}: what is not committed is not tried", flush=True)
    passed, products = 0, None
    for release in releases:
        how = "kernel and QEMU taken over" if products else "all built, or from the cache"
        print(f"    bare {release} ({how}) ...", flush=True)
        machine, right = check_release(release, commit, log, products)
        passed += right
        if not full and release != releases[-1]:
            products = products_of(machine)
        shutil.rmtree(machine.root)
    return passed

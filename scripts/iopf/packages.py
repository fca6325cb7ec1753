# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The distribution's packages: what is needed, installing it, and its versions.

Versions go into the keys of products and of kept results, so that one of
another machine, or of this one before an update, is not taken for today's.
"""

import os
import platform
import re
import shutil
import time

from iopf import host, process, progress
from iopf.errors import Failure

BUILD = """bc bison busybox-static ccache cpio dpkg-dev flex gcc git libc6-dev libcap-dev
libelf-dev libfdt-dev libglib2.0-dev libpixman-1-dev libssl-dev make ninja-build perl pkgconf
python3-venv qemu-system-data rsync seabios xz-utils zlib1g-dev""".split()
# Not gcc-multilib for 32 bit: it and cross compilers exclude each other. Who has it keeps it.
MULTILIB = "gcc-multilib"
INSTEAD = {"gcc-i686-linux-gnu": MULTILIB, "libc6-dev-i386-cross": MULTILIB}
CHECKS = """coccinelle codespell debootstrap g++ gcc-i686-linux-gnu ipxe-qemu
libc6-dev-i386-cross mandoc musl-tools python3-docutils python3-git python3-ply python3-sphinx
python3-sphinx-rtd-theme shellcheck sparse""".split()
# the C library of the other architecture is only a recommendation of its compiler
CROSS = {"arm64": ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
         "x86": ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"]}


def foreign():
    """What builds for the architectures of lanes that this machine is not of."""
    return [name for arch, names in CROSS.items() if arch != host.machine() for name in names]


def for_checks():
    """All that `make check` runs."""
    return BUILD + CHECKS + foreign()


# Where there is no dpkg: programs that stand for those packages, and that can
# tell their version
PROGRAMS = ["bc", "bison", "cpio", "flex", "gcc", "git", "ld", "make", "ninja", "perl",
            "python3", "rsync", "xz"]
CHECK_PROGRAMS = ["codespell", "mandoc", "shellcheck", "sparse", "spatch"]

LOCK_WAIT = 900         # seconds for another apt or dpkg to end
HELD = re.compile(r"Could not get lock (\S+?)\.? +It is held by process (\d+)(?: \((.*)\))?"
                  r"|Unable to (?:acquire the dpkg frontend )?lock[^(]*\((\S+?)\)")


def have_dpkg():
    return bool(shutil.which("dpkg-query"))


def installed():
    """{package: (version, what it depends on)} of all that is installed."""
    listed = process.run(["dpkg-query", "-W", "-f", "${Package}\t${Architecture}\t${Version}\t"
                          "${db:Status-Abbrev}\t${Provides}\t${Pre-Depends}, ${Depends}\n"])
    found, provided = {}, {}
    for line in listed.splitlines():
        name, arch, version, status, provides, depends = line.split("\t", 5)
        if status.strip() == "ii":
            entry = found.setdefault(name, [set(), set()])
            entry[0].add(f"{arch} {version}")
            entry[1].update(names_in(depends))
            for other in names_in(provides):
                provided.setdefault(other, set()).add(name)
    return found, provided


def names_in(relation):
    """Package names in a field such as `a (>= 1), b:any | c`."""
    return [re.split(r"[\s(:]", part.strip())[0]
            for part in re.split(r"[,|]", relation) if part.strip()]


def closure(wanted):
    """Versions of packages and of all that they need, as sorted lines."""
    found, provided = installed()
    seen, todo = set(), list(wanted)
    while todo:
        name = todo.pop()
        if name in found and name not in seen:
            seen.add(name)
            todo += found[name][1]
        elif name not in found:
            todo += [p for p in provided.get(name, ()) if p not in seen]
    return [f"{name} {' '.join(sorted(found[name][0]))}" for name in sorted(seen)]


def versions_told(programs):
    """What programs say of themselves, where no package database does."""
    lines = []
    for name in programs:
        path = shutil.which(name)
        if not path:
            lines.append(f"{name}: none")
            continue
        with process.child([path, "--version"], stdin=process.subprocess.DEVNULL,
                           stdout=process.subprocess.PIPE,
                           stderr=process.subprocess.STDOUT) as proc:
            out = proc.communicate()[0].decode(errors="replace")
        lines.append(f"{name}: {' '.join(out.split())[:200]}")
    return lines


MEMORY = {}     # a command asks for the same versions many times


def versions(wanted):
    """All that a key must hold of packages: lines that change with the machine."""
    key = tuple(sorted(wanted))
    if key not in MEMORY:
        MEMORY[key] = [f"python {platform.python_version()}", os.uname().machine,
                       *(closure(wanted) if have_dpkg() else
                         versions_told(PROGRAMS + CHECK_PROGRAMS))]
    return MEMORY[key]


def own_versions(wanted):
    """The same of the named packages alone, for products: what a library of a
    compiler's library is does not show in what it makes."""
    if not have_dpkg():
        return versions_told([p for p in PROGRAMS if p != "git"])
    found, _ = installed()
    return [f"{name} {' '.join(sorted(found[name][0]))}" for name in sorted(wanted)
            if name in found]


def matching(pattern):
    """Names of the installed packages that a pattern takes in full."""
    return [n for n in installed()[0] if re.fullmatch(pattern, n)] if have_dpkg() else []


def missing(wanted):
    if not have_dpkg():
        return []
    found, provided = installed()
    return [name for name in wanted
            if not {name, INSTEAD.get(name, name)} & {*found, *provided}]


def refuse_removal(lost):
    """apt would remove the compiler that excludes a cross compiler, without a question."""
    crosses = [name for name in lost if re.fullmatch(r"gcc-.*-linux-gnu", name)]
    if crosses and MULTILIB in installed()[0]:
        sudo = "sudo " if shutil.which("sudo") else ""
        raise Failure(f"{' '.join(crosses)} cannot be installed beside {MULTILIB}; if you do not "
                      f"need that, paste{'' if sudo else ' as root'}: {sudo}apt-get remove "
                      f"{MULTILIB}")


def apt(args, log, what):
    """apt-get, which gives up at once where another one is at work: wait for it."""
    env = process.plain_env({"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"})
    end, told = time.monotonic() + LOCK_WAIT, None
    while True:
        begin = log.stat().st_size if log.exists() else 0
        if not process.logged(args, log, env=env, check=False):
            return
        with open(log, "rb") as file:
            file.seek(begin)
            text = file.read().decode(errors="replace")
        held = HELD.search(text)
        if not held or time.monotonic() > end:
            said = next((line for line in text.splitlines() if line.startswith("E: ")), "")
            raise Failure(process.with_cure(
                f"{what} failed: {said[3:] or 'no reason given'}, log {log}"))
        if "Permission denied" in text or "are you root" in text:
            raise Failure(f"{what}: you may not install packages here, log {log}")
        holder = (f"process {held[2]} ({held[3]})" if held[2] else "another process")
        if holder != told:
            told = holder
            progress.say(f"    waiting for {holder}, which holds {held[1] or held[4]}",
                         always=True)
        time.sleep(2)


def root_command():
    """How to become root without a question, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and process.succeeds(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def install(wanted):
    """Install the packages that are missing, or say the one line that does."""
    if not have_dpkg():
        lost = [p for p in PROGRAMS if not shutil.which(p)]
        if lost:
            raise Failure(f"programs are missing: {' '.join(lost)}; there is no dpkg here, so "
                          "install them with your distribution's package manager")
        return
    lost = missing(wanted)
    if not lost:
        return
    line = f"apt-get install --no-remove -y --no-install-recommends {' '.join(lost)}"
    refuse_removal(lost)
    root = root_command()
    sudo = "sudo " if shutil.which("sudo") else ""
    paste = f"paste{'' if sudo else ' as root'}: {sudo}apt-get update && {sudo}{line}"
    if host.offline():
        raise Failure(f"OFFLINE=1, and packages are missing: {' '.join(lost)}; "
                      f"with the network {paste}")
    if root is None:
        raise Failure(f"packages are missing; {paste}")
    log = host.log("deps.log")
    progress.say(f"    installing {' '.join(lost)}")
    options = ["-o", "DPkg::Lock::Timeout=0"]       # we wait ourselves, and say so
    # without privileges a setuid program is not ended by our signals, but apt's
    # own session is: it stops between two packages
    apt([*root, "apt-get", *options, "update", "-q"], log, "apt-get update")
    apt([*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *options,
         *line.split()[1:]], log, "apt-get install")
    MEMORY.clear()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""This clone and this machine: where things are, and what is ours to delete.

Everything here is a function, because it is looked at when it is needed: the
first run installs packages half-way, and tests change the environment.
"""

import os
import pathlib
import re
import shutil
import time

from iopf.errors import Failure

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
KEPT_RUNS = 10
OUT_MARK = ".linux-iopf-out"
CACHE_MARK = ".linux-iopf-cache"
# make splits words at blanks and targets at colons, and expands the others; QEMU
# splits options at commas
REFUSED = re.compile(r"[\s:,;#$%&*?\"'`\\<>|()\[\]{}!]")


def environment(name):
    return os.environ.get(name, "")


def build_folder(path, variable):
    """A folder that the kernel's build works in: it does not take every name."""
    found = REFUSED.search(str(path))
    if found:
        raise Failure(f"{path}: the kernel's build does not take a path with {found[0]!r}; "
                      f"set {variable}=DIR to one without")
    return path


def default_out():
    return REPO / "out"


def out():
    """Where this clone builds; `claim_out()` makes it."""
    path = pathlib.Path(environment("OUT") or default_out())
    return build_folder(pathlib.Path(os.path.abspath(path)), "OUT")


def cache():
    """Where what was fetched and built is kept for all clones."""
    own = environment("IOPF_CACHE")
    try:
        path = pathlib.Path(own) if own else default_cache()
        return build_folder(pathlib.Path(os.path.abspath(path.expanduser())), "IOPF_CACHE")
    except RuntimeError as error:
        raise Failure("there is no home folder; set IOPF_CACHE=DIR") from error


def default_cache():
    return pathlib.Path(environment("XDG_CACHE_HOME") or "~/.cache").expanduser() / "linux-iopf"


def ours(path, mark, default):
    """Whether we made a folder: by our mark, never by the names of what is in it,
    for people too have folders called linux and qemu."""
    return path == default or (path / mark).is_file()


def claim(path, mark, default, variable):
    """Make a folder and mark it as ours; never one that has other people's files."""
    if path.is_symlink() and not path.exists():
        raise Failure(f"{path} is a link to nothing; remove it, or set {variable}=DIR")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise Failure(f"{path} is no folder and cannot become one; set {variable}=DIR "
                      "to another") from error
    if (path / mark).is_file():
        return path
    if any(path.iterdir()) and not ours(path, mark, default):
        raise Failure(f"{path} has files in it that are not ours; set {variable} to a folder "
                      "that is new or empty")
    (path / mark).write_text("made by linux-iopf, which may delete all in this folder\n")
    return path


def out_is_ours():
    return ours(out(), OUT_MARK, default_out())


def usual_cache():
    """The cache that needs no mark to be ours; None where the user has named another."""
    return None if environment("IOPF_CACHE") else cache()


def cache_is_ours():
    return ours(cache(), CACHE_MARK, usual_cache())


def refuse_nested():
    """`make clean` empties OUT and says that the cache stays."""
    if out() in (cache(), *cache().parents):
        raise Failure(f"the cache {cache()} lies in {out()}, which 'make clean' empties; set "
                      "IOPF_CACHE=DIR or OUT=DIR to another place")


def claim_out():
    return claim(out(), OUT_MARK, default_out(), "OUT")


def claim_cache():
    refuse_nested()
    return claim(cache(), CACHE_MARK, usual_cache(), "IOPF_CACHE")


def remove_out():
    """Delete what is in OUT if it is ours; returns whether there was anything."""
    path = out()
    if not path.is_dir():
        return False
    refuse_nested()
    if not any(path.iterdir()):
        return False
    if not out_is_ours():
        raise Failure(f"{path} was not made by this project and is left alone; "
                      "clean wants the OUT that the builds had")
    for entry in sorted(path.iterdir(), key=lambda e: e.name == OUT_MARK):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not path.is_symlink() and not os.path.ismount(path):
        path.rmdir()
    return True


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class RunLogs:
    """The logs of one run in a folder of their own; those of the last runs stay.

    `out/log/last` is the newest. Folders of runs that still go on are no
    business of ours, whatever their age.
    """

    def __init__(self):
        self.made = {}

    def folder(self):
        top = out() / "log"
        if top not in self.made:
            self.made[top] = self.make(top)
        return self.made[top]

    @staticmethod
    def make(top):
        claim_out()
        top.mkdir(exist_ok=True)
        path = top / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        path.mkdir(exist_ok=True)
        link = top / f".last.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(top / "last")
        runs = sorted(p for p in top.iterdir() if re.fullmatch(r"\d{8}-\d{6}-\d+", p.name))
        for old in runs[:-KEPT_RUNS]:
            if not alive(int(old.name.rpartition("-")[2])):
                shutil.rmtree(old, ignore_errors=True)
        return path


RUN_LOGS = RunLogs()


def log(name):
    """A log file of this run."""
    return RUN_LOGS.folder() / name


def is_number(text):
    """Of plain digits: to str.isdigit() a small raised 2 is one too, and int() refuses it."""
    return bool(re.fullmatch("[0-9]+", text))


def jobs():
    text = environment("JOBS")
    if not text:
        return str(len(os.sched_getaffinity(0)))
    if not is_number(text) or int(text) < 1:
        raise Failure(f"JOBS={text} is no number of jobs; leave it out or give one from 1 on")
    return text


def offline():
    return environment("OFFLINE") == "1"


def machine():
    """The architecture of this machine by our name for it."""
    return {"x86_64": "x86", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def firmware():
    """Folders with QEMU's firmware, once its packages are installed."""
    found = [p for p in ("/usr/share/qemu", "/usr/share/seabios") if os.path.isdir(p)]
    if not any(os.path.exists(f"{path}/bios-256k.bin") for path in found):
        raise Failure("no firmware bios-256k.bin in /usr/share/seabios or /usr/share/qemu; "
                      "install the packages seabios and qemu-system-data")
    return found


def check_kvm(arch):
    """KVM=1 was asked for: say now what would stop QEMU later."""
    if machine() != arch:
        raise Failure(f"KVM=1 runs guests of this machine's own architecture ({machine()}), "
                      f"and this lane is {arch}; leave KVM=1 out")
    if not os.path.exists("/dev/kvm"):
        raise Failure("KVM=1, and there is no /dev/kvm: load the module kvm_intel or kvm_amd, "
                      "or leave KVM=1 out")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Failure("KVM=1, and you may not open /dev/kvm: join the group kvm, "
                      "or leave KVM=1 out")

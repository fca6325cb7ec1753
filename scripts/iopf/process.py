# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Commands that this command starts, and that end with it.

Each runs in a session of its own, so that it and all that it started can be
ended together. If we are killed outright, the kernel sends the child SIGTERM,
which make and ninja pass on.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

from iopf import progress
from iopf.errors import Failure
from iopf.testbed import ending

ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
GRACE = 10              # seconds from SIGTERM to SIGKILL
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# make hands its own flags and variables down, and git those of the repository
# whose hook it runs: neither is meant for the trees we build
NOT_HANDED_DOWN = {
    "MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "GIT_DIR",
    "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_CONFIG"}
# A build sees these alone, because all else could change what comes out of it
BUILD_SEES = re.compile(r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TERM|LD_LIBRARY_PATH|CCACHE_\w+|"
                        r"XDG_CACHE_HOME|(?i:https?_proxy|ftp_proxy|no_proxy)")


def plain_env(more=None):
    """The environment for the distribution's tools and for git."""
    env = {k: v for k, v in os.environ.items() if k not in NOT_HANDED_DOWN}
    # the cache may belong to another user of this machine
    number = int(env.get("GIT_CONFIG_COUNT") or 0)
    env.update({"GIT_CONFIG_COUNT": str(number + 1),
                f"GIT_CONFIG_KEY_{number}": "safe.directory", f"GIT_CONFIG_VALUE_{number}": "*"})
    env.update(more or {})
    return env


def build_env(more=None):
    """The environment of builds: the same whoever calls, and from wherever."""
    env = {k: v for k, v in os.environ.items() if BUILD_SEES.fullmatch(k)}
    return {**env, "LC_ALL": "C", **(more or {})}


def processes():
    """{pid: (parent, group, state)} of all that run."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # the name in brackets may have blanks and brackets itself
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[1]), int(fields[2]), fields[0])
    return found


def family(pid):
    """What lives of a process's group and of what it started in other groups."""
    table = processes()
    found = {p for p, (_, group, _) in table.items() if group == pid} | {pid}
    while True:
        more = {p for p, (parent, _, _) in table.items() if parent in found} - found
        if not more:
            break
        found |= more
    return {p for p in found if table.get(p, (0, 0, "Z"))[2] not in "ZX"}


def kill_all(pids, signum):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def stop(proc):
    """End a child and all that it started, and wait until they are gone."""
    seen = family(proc.pid)
    kill_all({proc.pid} | seen, signal.SIGTERM)
    end = time.monotonic() + GRACE
    left = seen
    while time.monotonic() < end:
        proc.poll()
        # a child whose parent ended first has a new parent, so keep whom we saw
        table = processes()
        seen |= family(proc.pid)
        left = {p for p in seen if p in table and table[p][2] not in "ZX"}
        if not left:
            break
        time.sleep(0.05)
    kill_all(left, signal.SIGKILL)
    ending.reap(proc)


@contextlib.contextmanager
def signals_held():
    """Nothing may come between the start of a child and the care for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def child(args, env=None, **kw):
    """A running command; whatever ends the block ends it and its children."""
    parent = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def in_child():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    proc = None
    try:
        with signals_held():
            proc = subprocess.Popen(    # pylint: disable=consider-using-with
                [str(a) for a in args], start_new_session=True, preexec_fn=in_child,
                env=plain_env() if env is None else env, **kw)
        yield proc
    finally:
        if proc:
            with signals_held():
                if proc.poll() is None:
                    stop(proc)
            for pipe in (proc.stdin, proc.stdout, proc.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()


def cause(text):
    """Of what a failed command said, the line that tells most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in (r"No space left on device", r"^(fatal|error|E): ?", r"\b[Ee]rror\b"):
        found = [line for line in lines if re.search(pattern, line)]
        if found:
            return re.sub(r"^(fatal|error|E): ?", "", found[0])
    return lines[-1] if lines else ""


def with_cure(text):
    if "No space left on device" in text:
        return f"{text}; free some space, or name another disk with OUT=DIR or IOPF_CACHE=DIR"
    if re.search(r"unable to write|[Ww]rite error|cannot write", text):     # git does not say why
        return (f"{text}; is the disk full? then free some space, or name another one with "
                "OUT=DIR or IOPF_CACHE=DIR")
    if "not a git repository" in text:
        return f"{text}; this takes a clone made by git, an archive of the files does not do"
    if "remove is disabled" in text:        # apt's --no-remove
        return (f"{text}; which ones is in the log: if you can do without them (gcc-multilib "
                "excludes the compilers for other architectures), remove them and try again")
    if re.search(r"index\.lock|\.lock': File exists", text):
        return f"{text}; no other git at work there? then remove that file"
    return text


def run(args, env=None, text=True, **kw):
    """Run a short command that must succeed; its output is returned."""
    data = kw.pop("input", None)
    if text:
        kw.update(encoding="utf-8", errors="surrogateescape")
    if data is not None:
        kw["stdin"] = subprocess.PIPE
    with child(args, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw) as proc:
        out, err = proc.communicate(data)
    if proc.returncode:
        err = err if text else err.decode(errors="replace")
        said = cause(err) or f"exit status {proc.returncode}"
        raise Failure(with_cure(f"{shlex.join(str(a) for a in args[:4])}: {said}"))
    return out


def git_files(top, *patterns):
    """Files of a checkout that git knows or would take, as names below @top."""
    # -z: else git writes a name that is not plain ASCII with quotes and escapes
    listed = run(["git", "-C", top, "ls-files", "-coz", "--exclude-standard", "--", *patterns])
    return sorted(name for name in set(listed.split("\0"))
                  if name and os.path.isfile(os.path.join(top, name)))


def succeeds(args, **kw):
    """Whether a command that says nothing of interest succeeds."""
    kw.setdefault("stdout", subprocess.DEVNULL)
    with child(args, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **kw) as proc:
        return proc.wait() == 0


def logged(args, log, cwd=None, env=None, what=None, check=True):
    """Run a long command into a log file; name the log when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        file.write(f"+ {shlex.join(str(a) for a in args)}\n".encode())
        file.flush()
        begin = file.tell()
        watch = progress.Watch(log)
        step = progress.Progress.current or progress.Nothing()
        with child(args, env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file,
                   stderr=subprocess.STDOUT) as proc:
            while True:
                try:
                    status = proc.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    step.tick(watch)
        step.finish(watch)
    if status and check:
        with open(log, "rb") as file:
            file.seek(begin)
            text = file.read().decode(errors="replace")
        errors = [t for t in text.splitlines()
                  if re.search(r"^E: |\b(error|Error|ERROR|FAILED)\b|No space left", t)]
        for line in (errors or text.splitlines()[-5:])[:5]:
            progress.say(f"    {line}", always=True)
        full = "No space left on device" in text
        raise Failure(with_cure(
            f"{what or args[0]} failed" + (": No space left on device" if full else
                                           f" (status {status})") + f", log {log}"))
    return status

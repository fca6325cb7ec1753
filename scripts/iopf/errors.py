# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Every failure becomes one line that names cause and cure, never a traceback."""

import argparse
import errno
import os
import signal
import sys
import traceback

CURES = {
    errno.ENOSPC: "the disk is full: free some space, or name another disk with "
                  "OUT=DIR or IOPF_CACHE=DIR",
    errno.EDQUOT: "the disk quota is used up: free some space, or name another disk with "
                  "OUT=DIR or IOPF_CACHE=DIR",
    errno.EFBIG: "a file may not grow that large here: see 'ulimit -f'",
    errno.EACCES: "name a folder that you may write with OUT=DIR or IOPF_CACHE=DIR",
    errno.EPERM: "name a folder that you may write with OUT=DIR or IOPF_CACHE=DIR",
    errno.EROFS: "name a disk that is not read-only with OUT=DIR or IOPF_CACHE=DIR",
    errno.ENOTDIR: "a file is in the place of a folder: remove it, or set OUT=DIR or "
                   "IOPF_CACHE=DIR",
    errno.EMFILE: "too many files are open: see 'ulimit -n'",
    errno.ENOMEM: "memory is short: use fewer jobs with JOBS=N",
    errno.EAGAIN: "no more processes: see 'ulimit -u', or use fewer jobs with JOBS=N",
}


class Failure(Exception):
    """One line that names the cause and the cure; exit status 1 or 2."""

    def __init__(self, text, status=2):
        super().__init__(text)
        self.status = status


class Ended(BaseException):
    """Somebody wants this command to end: Ctrl-C, SIGTERM or SIGHUP."""

    def __init__(self, signum):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Parser(argparse.ArgumentParser):
    """A wrong argument is a failure like any other: one line."""

    def __init__(self, **kw):
        kw.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**kw)

    def error(self, message):
        raise Failure(f"{message}; see 'scripts/{self.prog} --help'")


def explain(error):
    """An OSError as one line."""
    text = error.strerror or str(error)
    if error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {text}"
    cure = CURES.get(error.errno)
    if isinstance(error, FileNotFoundError) and "/" not in str(error.filename or "/"):
        cure = "the program is not installed: 'make deps' installs all, or prints the line to paste"
    return f"{text}; {cure}" if cure else text


def end_softly(signum, _frame):
    raise Ended(signum)


def open_standard_files():
    """Where one of them was closed, the next file that is opened would take its
    place, and what is printed would be written there."""
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def guard(main):
    """Run a command's main function; returns its exit status."""
    open_standard_files()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:      # nohup keeps its meaning
            signal.signal(signum, end_softly)
    try:
        status = main() or 0
        sys.stdout.flush()
        return status
    except Failure as failure:
        text, status = failure, failure.status
    except Ended as ended:
        text, status = f"ended by {ended}: nothing that was begun counts", 128 + ended.signum
    except BrokenPipeError:
        # the reader of our output is gone, and nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        text, status = explain(error), 2
    except Exception as error:      # pylint: disable=broad-except
        if os.environ.get("V") == "1":
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        text, status = (f"fault of the scripts themselves: {type(error).__name__}: {error} "
                        f"({os.path.basename(last.filename)} line {last.lineno}); "
                        "please report it with the output of V=1"), 2
    sys.stdout.flush()
    print(f"error: {text}", file=sys.stderr, flush=True)
    return status

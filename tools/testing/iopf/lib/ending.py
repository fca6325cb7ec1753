# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Signals that ask a program to end: what it has started ends on the way out."""

import os
import signal
import subprocess
from typing import Optional

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Raised in the main thread by the first of the signals, whose number it has."""


_ended_by: Optional[int] = None


def _on_signal(number: int, _frame: object) -> None:
    global _ended_by
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)     # nothing interrupts the clean-up
    _ended_by = number
    raise Ended(number)


def watch() -> None:
    for number in SIGNALS:
        signal.signal(number, _on_signal)


def end_here() -> None:
    """For who waits for long, once a second: Python loses what a signal handler raises
    at some places, where an object ends for example."""
    if _ended_by is not None:
        raise Ended(_ended_by)


def reap(process: subprocess.Popen) -> int:
    """Waits for a child that ends; its exit status, as Popen counts it.

    For the way out after a signal: that may have come when the child's own wait() had just
    taken its lock, which is then never let go of, and wait() would wait for ever.
    """
    while process.returncode is None:
        try:
            _, status = os.waitpid(process.pid, 0)
        except ChildProcessError:
            process.returncode = 0      # wait() had it, and what it told is lost
        else:
            process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode

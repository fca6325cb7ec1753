# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Processes that live no longer than the runner, and busy ones among them."""

import ctypes
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any, Optional, Sequence

import ending
from lanefile import TestbedError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
MOST = 256      # more would only fill the machine's memory


def die_with(parent: int) -> None:
    """To be called in a child: it ends when its parent does, however that ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:      # it had ended before
        os._exit(1)


def start(argv: Sequence[str], **more: Any) -> subprocess.Popen:
    """A process that lives no longer than this one.

    What ends the runner waits until the process is there: an exception in the middle of
    Popen() may get lost, and the process with it.
    """
    parent = os.getpid()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ending.SIGNALS)

    def in_child() -> None:
        die_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    try:
        return subprocess.Popen(argv, preexec_fn=in_child, **more)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


class Load:
    """Keeps the machine busy: a context with a number of processes that only compute."""

    def __init__(self, number: int) -> None:
        if not 0 <= number <= MOST:
            raise TestbedError(f"a load of {number}: give 0 to {MOST} processes")
        self.number = number
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Load":
        try:
            for _ in range(self.number):
                # in a session of its own: Ctrl-C is for the runner, which ends it
                self.processes.append(start(
                    [sys.executable, "-S", "-c", "while True: pass"],
                    stdin=subprocess.DEVNULL, start_new_session=True))
        except BaseException as error:
            self._end()
            if isinstance(error, (OSError, subprocess.SubprocessError)):
                raise TestbedError(f"cannot start load: {error}") from error
            raise
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._end()

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            ending.reap(process)
        self.processes = []

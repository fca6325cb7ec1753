# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Several things at a time, each of which says what it has to say when it has ended."""

import io
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Callable, Iterator, Optional, TextIO, TypeVar

T = TypeVar("T")
# How often it is said that it goes on, in seconds
HEARTBEAT = 60


class Stopped(BaseException):
    """The others end, and so has this one to."""


class Together:
    """Calls functions in threads. Use as a context: who leaves it early stops them all.

    Each function gets the stream to which it writes. It calls stop_here() now and then
    while it waits for something, and lets what that raises pass. The caller's own thread
    calls `end_here` once a second.
    """

    def __init__(self, at_once: int, end_here: Callable[[], None]) -> None:
        self.pool = ThreadPoolExecutor(at_once)
        self.end_here = end_here
        self.stopping = threading.Event()
        self.running: dict[str, float] = {}

    def __enter__(self) -> "Together":
        return self

    def __exit__(self, kind, error, trace) -> None:     # type: ignore[no-untyped-def]
        self.stopping.set()
        self.pool.shutdown(cancel_futures=True)

    def stop_here(self) -> None:
        if self.stopping.is_set():
            raise Stopped()

    def _call(self, name: str, function: Callable[[TextIO], T]) -> tuple[str, T]:
        out = io.StringIO()
        self.running[name] = time.monotonic()
        try:
            self.stop_here()
            result = function(out)
            return out.getvalue(), result
        finally:
            del self.running[name]

    def run(self, jobs: dict[str, Callable[[TextIO], T]],
            heartbeat: Optional[Callable[[str], None]] = None) -> Iterator[tuple[str, str, T]]:
        """Name, text and result of each job, in the order in which they end.

        A job's exception is raised here. `heartbeat` is called with the names of those
        that run and their seconds."""
        waiting: dict["Future[tuple[str, T]]", str] = {
            self.pool.submit(self._call, name, job): name for name, job in jobs.items()}
        said = time.monotonic()
        while waiting:
            done, _ = wait(waiting, 1, FIRST_COMPLETED)
            self.end_here()
            now = time.monotonic()
            if heartbeat and now - said > HEARTBEAT:
                said = now
                heartbeat(", ".join(f"{name} {now - start:.0f} s"
                                    for name, start in list(self.running.items())))
            for future in done:
                name = waiting.pop(future)
                text, result = future.result()
                yield name, text, result

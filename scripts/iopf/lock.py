# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""File locks: the second of two commands waits, and says for what.

The kernel drops a lock with the process that holds it, so a killed command
leaves no lock behind; what is written in the file is only for the reader.
"""

import errno
import fcntl
import os
import sys
import time

from iopf import host
from iopf.errors import Failure


class Lock:
    """Held by one process at a time; may be taken again where it is held.

    Order: OUT before a product, a product before a base.
    """
    held = {}       # path -> [descriptor, depth]

    def __init__(self, path, what, wait=True):
        self.path, self.what, self.wait = path, what, wait
        self.taken = False

    def __enter__(self):
        key = str(self.path)
        if key in self.held:
            self.held[key][1] += 1
        else:
            fd = self.acquire()
            if fd is None:
                return self
            self.held[key] = [fd, 1]
        self.taken = True
        return self

    def __exit__(self, *_exc):
        if not self.taken:
            return
        self.taken = False
        entry = self.held[str(self.path)]
        entry[1] -= 1
        if not entry[1]:
            del self.held[str(self.path)]
            os.close(entry[0])

    def acquire(self):
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if not self.flock(fd):
                    os.close(fd)
                    return None
                if self.current(fd):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()}\n{self.what}\n".encode(), 0)
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def current(self, fd):
        """Whether the file that is locked is still the one of this name."""
        try:
            return os.fstat(fd).st_ino == os.stat(self.path).st_ino
        except FileNotFoundError:
            return False

    def flock(self, fd):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not self.wait:
                return False
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise Failure(f"{self.path}: this disk has no file locks; set OUT=DIR and "
                              "IOPF_CACHE=DIR to a local disk") from error
            raise
        pid, what = self.holder(fd)
        print(f"    waiting for process {pid or '?'}, which {what.strip() or 'is at work'} "
              f"({self.path})", file=sys.stderr, flush=True)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return True

    @staticmethod
    def holder(fd):
        """Process and purpose, which it writes down a moment after it has the lock."""
        for _ in range(100):
            pid, _, what = os.pread(fd, 4096, 0).decode(errors="replace").partition("\n")
            if what.strip():
                break
            time.sleep(0.01)
        return pid, what


def of_out(what):
    """The lock of this clone's out/; whoever writes there holds it."""
    return Lock(host.claim_out() / ".lock", what)


def of_workspaces():
    """Held for the moment in which temporary folders come or go."""
    return Lock(host.claim_cache() / "lock/workspaces", "makes a temporary folder")


def of_workspace(path):
    """The lock of one temporary folder, held for as long as it is used."""
    return Lock(path / ".lock", "fetches something")


def in_use(path):
    """Whether anybody holds the lock of a temporary folder; of_workspaces() is held."""
    mine = Lock(path / ".lock", "looks whether it is used", wait=False)
    if str(mine.path) in Lock.held:
        return True
    with mine:
        return not mine.taken


def of_product(final, what, wait=True):
    """The lock of one product or base in the cache."""
    return Lock(host.claim_cache() / "lock" / f"{final.parent.name}-{final.name}", what, wait)

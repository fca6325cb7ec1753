# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Folders for the logs: one for each run, the last of them kept.

OUT/YYYYMMDD-HHMMSS[-N] is a run's folder, OUT/latest a link to the newest one. A
run holds a lock on its folder, so that no other takes it away.
"""

import fcntl
import os
import re
import shutil
import time

from lanefile import TestbedError

KEEP = 10
LATEST = "latest"
_LOCK = ".lock"
_NAME = re.compile(r"\d{8}-\d{6}(?:-\d+)?$")


def _is_ours(path: str) -> bool:
    return bool(_NAME.match(os.path.basename(path))) and os.path.isdir(path) and (
        not os.path.islink(path))


def _order(name: str) -> tuple[str, int]:
    stamp, number = name[:15], name[16:]
    return stamp, int(number or 0)


def _in_use(folder: str) -> bool:
    try:
        with open(os.path.join(folder, _LOCK), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


class Run:
    """The folder of this run. TestbedError, with the reason, if there can be none."""

    def __init__(self, out: str) -> None:
        self.out = out
        try:
            os.makedirs(out, exist_ok=True)
            self.folder = self._make()
            self._link()
            # held for as long as the process lives
            self.lock = open(os.path.join(self.folder, _LOCK), "wb")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            self._prune()
        except OSError as error:
            raise TestbedError(f"--out {out}: {error.strerror or error}") from error

    def _make(self) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        while True:
            # behind all others of this second: the order of names is that of runs
            taken = [_order(name)[1] for name in os.listdir(self.out)
                     if _NAME.match(name) and name.startswith(stamp)]
            name = f"{stamp}-{max(taken) + 1}" if taken else stamp
            try:
                os.mkdir(os.path.join(self.out, name))
                return os.path.join(self.out, name)
            except FileExistsError:
                continue

    def _link(self) -> None:
        link = os.path.join(self.out, LATEST)
        made = f"{self.folder}.link"
        os.symlink(os.path.basename(self.folder), made)
        os.replace(made, link)

    def _prune(self) -> None:
        runs = sorted((name for name in os.listdir(self.out)
                       if _is_ours(os.path.join(self.out, name))), key=_order)
        for name in runs[:-KEEP]:
            folder = os.path.join(self.out, name)
            if not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

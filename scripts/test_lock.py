# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Two commands at the same time: the second waits, and says for what."""

import contextlib
import fcntl
import io
import os
import subprocess
import unittest

from testing import Sandboxed
from iopf import host, lock

HOLDER = """
import sys
from iopf import lock
with lock.of_out("builds a kernel"):
    print("held", flush=True)
    sys.stdin.readline()
"""
WAITER = """
from iopf import host, lock
with lock.of_out("waits"):
    print("got it", host.out().is_dir(), flush=True)
"""


class Locks(Sandboxed):
    def holder(self):
        proc = self.python(HOLDER, stdin=subprocess.PIPE)
        self.addCleanup(proc.stdin.close)
        self.assertEqual(proc.stdout.readline(), "held\n")
        return proc

    def test_second_waits_and_says_for_what(self):
        first = self.holder()
        second = self.python(WAITER)
        said = second.stdout.readline()
        self.assertIn(f"process {first.pid}", said)
        self.assertIn("builds a kernel", said)
        self.assertIn(str(self.out), said)
        self.assertIsNone(second.poll())
        first.stdin.write("\n")
        first.stdin.flush()
        self.assertEqual(second.stdout.readline(), "got it True\n")
        self.assertEqual(second.wait(), 0)

    def test_killed_holder(self):
        first = self.holder()
        first.kill()
        first.wait()
        said = io.StringIO()
        with contextlib.redirect_stderr(said), lock.of_out("goes on"):
            pass
        self.assertEqual(said.getvalue(), "")

    def test_folder_removed_by_the_holder(self):
        """make clean takes the lock's file away: the next holder makes a new one."""
        with lock.of_out("cleans"):
            waiter = self.python(WAITER)
            self.assertIn("waiting for", waiter.stdout.readline())
            host.remove_out()
        self.assertEqual(waiter.stdout.readline(), "got it True\n")
        self.assertTrue((self.out / ".lock").exists())

    def test_again_where_it_is_held(self):
        with lock.of_out("a"):
            with lock.of_out("b"):
                pass
            fd = os.open(self.out / ".lock", os.O_RDWR)
            self.addCleanup(os.close, fd)
            self.assertRaises(BlockingIOError, fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_not_waiting(self):
        self.holder()
        with lock.Lock(self.out / ".lock", "prunes", wait=False) as other:
            self.assertFalse(other.taken)

    def test_other_products_do_not_wait(self):
        self.holder()
        said = io.StringIO()
        with contextlib.redirect_stderr(said), \
                lock.of_product(self.cache / "kernel/x", "x"), \
                lock.of_product(self.cache / "kernel/y", "y"):
            pass
        self.assertEqual(said.getvalue(), "")


if __name__ == "__main__":
    unittest.main()

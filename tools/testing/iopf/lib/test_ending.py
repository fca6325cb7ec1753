# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A signal ends a program, also where Python loses what its handler raises."""

import os
import signal
import subprocess
import sys
import unittest

import ending

LIB = os.path.dirname(os.path.abspath(__file__))
PROGRAM = f"""
import os, signal, sys
sys.path.insert(0, {LIB!r})
import ending

class Lossy:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        [None for _ in range(1000)]

ending.watch()
try:
    Lossy()
    print("lost")
    ending.end_here()
    print("forgotten")
except ending.Ended as ended:
    os.kill(os.getpid(), signal.SIGINT)     # of no effect any more
    print("ended by", ended.args[0])
"""


class Ending(unittest.TestCase):
    def test_exception_that_is_lost(self) -> None:
        done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, encoding="utf-8",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stdout, f"lost\nended by {signal.SIGTERM.value}\n", done.stderr)

    def test_lock_that_is_lost(self) -> None:
        for argv, status in ((["false"], 1), (["sh", "-c", "kill -9 $$"], -9)):
            with subprocess.Popen(argv) as process:
                process._waitpid_lock.acquire()     # what a signal in wait() leaves
                self.assertEqual(ending.reap(process), status)
                self.assertEqual(process.wait(), status)

    def test_status_that_is_lost(self) -> None:
        with subprocess.Popen(["true"]) as process:
            os.waitpid(process.pid, 0)
            self.assertEqual(ending.reap(process), 0)


if __name__ == "__main__":
    unittest.main()

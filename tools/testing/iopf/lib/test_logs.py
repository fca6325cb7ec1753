# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Which logs of earlier runs are kept."""

import os
import tempfile
import unittest
from unittest import mock

import logs
from lanefile import TestbedError


class Logs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = os.path.join(folder.name, "out")

    def run_at(self, stamp: str) -> logs.Run:
        with mock.patch("time.strftime", return_value=stamp):
            run = logs.Run(self.out)
        self.addCleanup(run.lock.close)
        return run

    def names(self) -> set[str]:
        return set(os.listdir(self.out))

    def test_at_the_same_time(self) -> None:
        folders = [self.run_at("20260101-000000").folder for _ in range(12)]
        self.assertEqual([os.path.basename(folder) for folder in folders[:3]],
                         ["20260101-000000", "20260101-000000-1", "20260101-000000-2"])
        self.assertEqual(os.readlink(f"{self.out}/latest"), "20260101-000000-11")

    def test_bounded(self) -> None:
        for second in range(15):
            self.run_at(f"20260101-0000{second:02}").lock.close()
        self.assertEqual(self.names(), {"latest"} | {
            f"20260101-0000{second:02}" for second in range(15 - logs.KEEP, 15)})

    def test_ten_is_more_than_nine(self) -> None:
        for _ in range(12):
            self.run_at("20260101-000000").lock.close()
        self.assertEqual(self.names(), {"latest"} | {f"20260101-000000-{n}" for n in range(2, 12)})

    def test_not_what_is_in_use(self) -> None:
        self.run_at("20260101-000000")
        for second in range(1, 15):
            self.run_at(f"20260101-0000{second:02}").lock.close()
        self.assertIn("20260101-000000", self.names())

    def test_nothing_else_is_touched(self) -> None:
        os.makedirs(f"{self.out}/vtd")
        os.symlink("vtd", f"{self.out}/20250101-000000")
        for second in range(15):
            self.run_at(f"20260101-0000{second:02}").lock.close()
        self.assertTrue({"vtd", "20250101-000000"} <= self.names())

    def test_what_is_in_the_way(self) -> None:
        os.makedirs(f"{self.out}/latest")
        with self.assertRaisesRegex(TestbedError, f"^--out {self.out}: "):
            self.run_at("20260101-000000")


if __name__ == "__main__":
    unittest.main()

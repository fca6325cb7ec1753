# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The rules by which a lane fails, on logs written here."""

import tempfile
import unittest
from typing import Optional

import lanefile
from judge import KINDS, console_report, count, judge
from ktap import Report
from lanefile import TestbedError
from machine import Machine

GOOD = "KTAP version 1\n1..2\nok 1 a\nok 2 taint\n# iopf: end\n"
BOOT = "[    0.000000] Linux version 6.12\n"


class Judge(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.lane = lanefile.load("mock")
        self.lane.skips, self.lane.splats, self.lane.noise = {}, {}, {}
        self.report = Report()

    def kinds(self, ktap: str = GOOD, console: str = BOOT, qemu: str = "",
              status: Optional[int] = 0, timed_out: bool = False) -> list[str]:
        machine = Machine(self.lane, tempfile.mkdtemp(dir=self.folder.name) + "/out", "", "", [])
        machine.status, machine.timed_out = status, timed_out
        for name, text in (("console.log", console), ("qemu.log", qemu)):
            with open(machine.log(name), "w", encoding="utf-8") as file:
                file.write(text)
        self.report = Report()
        for line in ktap.splitlines():
            self.report.feed(line)
        self.report.finish()
        self.failures = judge(machine, self.report)
        return [failure.kind for failure in self.failures]

    def test_good(self) -> None:
        self.assertEqual(self.kinds(), [])
        self.assertEqual(str(count(self.report, self.failures)), "2 passed, 0 failed")

    def test_no_plan(self) -> None:
        self.assertEqual(self.kinds(ktap=""), ["no-plan"])
        self.assertEqual(self.kinds(ktap="KTAP version 1\nok 1 a\n# iopf: end\n"), ["no-plan"])
        self.assertEqual(self.kinds(ktap="1..0\n# iopf: end\n"), ["no-plan"])

    def test_no_end(self) -> None:
        self.assertEqual(self.kinds(ktap=GOOD.replace("# iopf: end\n", "")), ["no-end"])

    def test_cut(self) -> None:
        self.assertEqual(self.kinds(ktap=GOOD.replace("ok 2 taint\n", "")), ["plan-mismatch"])

    def test_timeout(self) -> None:
        kinds = self.kinds(ktap="KTAP version 1\n1..2\n", status=-9, timed_out=True)
        self.assertEqual(kinds, ["timeout"])

    def test_splat(self) -> None:
        self.assertEqual(self.kinds(console=BOOT + "[    1.000000] BUG: no\n"), ["splat"])
        self.lane.splats = {"BUG: no": "a reason"}
        self.assertEqual(self.kinds(console=BOOT + "[    1.000000] BUG: no\n"), [])

    def test_results(self) -> None:
        for name, kind in (("a", "test"), ("taint", "taint"), ("kmemleak", "kmemleak")):
            ktap = f"KTAP version 1\n1..1\nnot ok 1 {name}\n# iopf: end\n"
            self.assertEqual(self.kinds(ktap=ktap), [kind])
            self.assertEqual(count(self.report, self.failures).failed, 1)

    def test_skip(self) -> None:
        ktap = GOOD.replace("ok 1 a", "    1..1\n    ok 1 b # SKIP no\nok 1 a")
        self.assertEqual(self.kinds(ktap=ktap), ["skip"])
        self.assertEqual(str(count(self.report, self.failures)), "1 passed, 1 failed")
        self.lane.skips = {"a/b": "a reason"}
        self.assertEqual(self.kinds(ktap=ktap), [])
        self.assertEqual(str(count(self.report, self.failures)),
                         "1 passed, 0 failed, 1 skipped")

    def test_qemu(self) -> None:
        self.assertEqual(self.kinds(qemu="qemu: error\n"), ["qemu"])
        self.assertEqual(self.kinds(status=1), ["qemu"])
        self.assertEqual(self.kinds(status=-11), ["qemu"])
        self.lane.noise = {"warning: x": "a reason"}
        self.assertEqual(self.kinds(qemu="qemu: warning: x\n"), [])

    def test_broken(self) -> None:
        with self.assertRaisesRegex(TestbedError, "not valid"):
            self.kinds(ktap="", console="", qemu="-device x: not valid\n", status=1)


    def test_report_on_the_console(self) -> None:
        lines = ["[    4.005666] ktap| KTAP version 1", "[    4.0][   T1] ktap|     ok 1 a",
                 "[    4.005670] iopf: ok 4 ktap", "ktap[    4.1] iopf: ktap| no", "ktap| ok 2"]
        self.assertEqual(console_report(lines), ["KTAP version 1", "    ok 1 a", "ok 2"])

    def test_console_that_was_taken_away(self) -> None:
        machine = Machine(self.lane, tempfile.mkdtemp(dir=self.folder.name) + "/out", "", "", [])
        with self.assertRaisesRegex(TestbedError, "console.log is gone"):
            judge(machine, Report())


class Lanes(unittest.TestCase):
    def test_all_load(self) -> None:
        for name in lanefile.names():
            lane = lanefile.load(name)
            self.assertTrue(lane.plan and lane.about, name)
            self.assertIsNone(lane.expect, name)

    def test_selfcheck_lanes_say_what_they_expect(self) -> None:
        for name in lanefile.selfcheck_names():
            lane = lanefile.load(name)
            self.assertIsNotNone(lane.expect, name)
            for kind, pattern in lane.expect or []:
                self.assertIn(kind, KINDS + ("testbed",))
                self.assertTrue(pattern, name)

    def test_reasons(self) -> None:
        for name in lanefile.names() + lanefile.selfcheck_names():
            lane = lanefile.load(name)
            for table in (lane.skips, lane.splats, lane.noise):
                self.assertTrue(all(table.values()), f"{name}: an exception without a reason")

    def test_missing(self) -> None:
        with self.assertRaises(TestbedError):
            lanefile.load("no-such-lane")


if __name__ == "__main__":
    unittest.main()

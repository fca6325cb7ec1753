# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Results as other programs get them."""

import json
import os
import stat
import tempfile
import unittest
from xml.etree import ElementTree

import lanefile
import results
from judge import Failure
from ktap import Report
from lanefile import TestbedError

REPORT = """KTAP version 1
1..2
# iopf: start 1 t
    1..3
    ok 1 one
    # file.c:7: not so
    not ok 2 two
    ok 3 three # SKIP no such device
not ok 1 t
# iopf: start 2 taint
ok 2 taint
# iopf: end
"""


def suites() -> list[results.Suite]:
    now = iter(range(1000))
    report = Report(lambda: float(next(now)))
    for line in REPORT.splitlines():
        report.feed(line)
    report.finish()
    failures = [Failure("test", "t/two: file.c:7: not so", "log", "t/two"),
                Failure("splat", "BUG: <\x1b[1m\0>", "log")]
    made = results.suite(lanefile.load("mock"), 1, "/log")
    made.seconds = 9.0
    made.cases = results.cases(report, failures)
    return [made]


class Results(unittest.TestCase):
    def test_cases(self) -> None:
        cases = [(c.group, c.name, c.state, c.kind) for c in suites()[0].cases]
        self.assertEqual(cases, [
            ("t", "one", "passed", ""), ("t", "two", "failed", "test"),
            ("t", "three", "skipped", ""), ("", "taint", "passed", ""),
            ("", "splat", "failed", "splat")])

    def test_skip_that_is_a_failure(self) -> None:
        report = Report()
        report.feed("ok 1 t # SKIP no")
        cases = results.cases(report, [Failure("skip", "t: unexpected skip: no", "log", "t")])
        self.assertEqual([(c.name, c.state, c.text) for c in cases],
                         [("t", "failed", "t: unexpected skip: no")])

    def test_times(self) -> None:
        """A result's time begins with the result before it, or with its step."""
        self.assertTrue(all(case.seconds == 1.0 for case in suites()[0].cases[:4]))

    def test_junit(self) -> None:
        root = ElementTree.fromstring(results.junit(suites()))
        self.assertEqual((root.tag, root.get("tests"), root.get("failures"), root.get("errors"),
                          root.get("skipped")), ("testsuites", "5", "2", "0", "1"))
        suite, = root
        self.assertEqual((suite.get("name"), suite.get("tests"), suite.get("time")),
                         ("mock", "5", "9.000"))
        one, two, three, taint, splat = suite.findall("testcase")
        self.assertEqual((one.get("classname"), one.get("name"), list(one)), ("mock.t", "one", []))
        self.assertEqual(two.find("failure").get("message"), "t/two: file.c:7: not so")
        self.assertEqual(three.find("skipped").get("message"), "no such device")
        self.assertEqual((taint.get("classname"), list(taint)), ("mock", []))
        self.assertEqual(splat.find("failure").text, "BUG: <?[1m?>")

    def test_rounds(self) -> None:
        both = suites() + suites()
        both[1].round = 2
        root = ElementTree.fromstring(results.junit(both))
        self.assertEqual([suite.get("name") for suite in root],
                         ["mock (round 1)", "mock (round 2)"])
        self.assertEqual(root.get("tests"), "10")

    def test_broken(self) -> None:
        suite = results.suite(lanefile.load("mock"))
        suite.cases = [results.Case("", "boot", "error", kind="testbed", text="no QEMU")]
        root = ElementTree.fromstring(results.junit([suite]))
        self.assertEqual((root.get("errors"), root.find("testsuite/testcase/error").get("message")),
                         ("1", "no QEMU"))

    def test_json(self) -> None:
        data = json.loads(results.as_json(suites()))
        self.assertEqual([data[key] for key in ("version", "passed", "failed", "skipped", "error")],
                         [1, 2, 2, 1, 0])
        lane = data["lanes"][0]
        self.assertEqual((lane["lane"], lane["kernel"], lane["round"], lane["log"]),
                         ("mock", "x86", 1, "/log"))
        self.assertEqual(lane["cases"][1]["text"], "t/two: file.c:7: not so")

    def test_nothing(self) -> None:
        ElementTree.fromstring(results.junit([]))
        self.assertEqual(json.loads(results.as_json([]))["lanes"], [])


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "r.json")

    def test_old_one_stays_until_the_end(self) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("old")
        output = results.Output("json", self.path)
        with open(self.path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "old")
        output.publish([])
        with open(self.path, encoding="utf-8") as file:
            json.load(file)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["r.json"])

    def test_dropped(self) -> None:
        results.Output("json", self.path).drop()
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    def test_refused(self) -> None:
        for path in ("/nowhere/r.json", os.path.dirname(self.path)):
            with self.assertRaisesRegex(TestbedError, "^--json /"):
                results.Output("json", path)

    def test_device_is_written_to(self) -> None:
        """Replaced, /dev/null would be a file of results for all of the machine."""
        os.mkfifo(self.path)
        link = os.path.join(os.path.dirname(self.path), "link")
        os.symlink(self.path, link)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        for path in (self.path, link):
            results.Output("json", path).publish([])
            self.assertTrue(stat.S_ISFIFO(os.stat(self.path).st_mode))
            self.assertEqual(json.loads(os.read(reader, 1 << 16))["lanes"], [])
        self.assertTrue(os.path.islink(link))
        self.assertEqual(sorted(os.listdir(os.path.dirname(self.path))), ["link", "r.json"])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The reader of reports."""

import unittest

from ktap import Report


def read(text: str) -> Report:
    report = Report()
    for line in text.splitlines():
        report.feed(line)
    report.finish()
    return report


GOOD = """KTAP version 1
1..3
# iopf: start 1 one
ok 1 one
    TAP version 13
    1..2
    # Starting 2 tests
        KTAP version 1
        1..1
        ok 1 deep
    ok 1 a.b
    ok 2 c # SKIP no such device
ok 2 two
    # a comment, ok 7 no result
    # x.c:12:y: Expected 1
    # FAIL
not ok 3 three # killed by signal 11 (SIGSEGV)
# iopf: end
"""


class Good(unittest.TestCase):
    def setUp(self) -> None:
        self.report = read(GOOD)

    def test_outer_level(self) -> None:
        self.assertEqual(self.report.plan, 3)
        self.assertTrue(self.report.version and self.report.ended)
        self.assertEqual([result.name for result in self.report.results],
                         ["one", "two", "three"])
        self.assertEqual(self.report.errors, [])

    def test_leaves(self) -> None:
        leaves = [(path, leaf.ok, leaf.skipped) for result in self.report.results
                  for path, leaf in result.leaves()]
        self.assertEqual(leaves, [("one", True, False), ("two/a.b/deep", True, False),
                                  ("two/c", True, True), ("three", False, False)])

    def test_notes(self) -> None:
        self.assertEqual(self.report.results[1].children[1].note, "no such device")
        self.assertEqual(self.report.results[2].note,
                         "killed by signal 11 (SIGSEGV): x.c:12:y: Expected 1")


class Bad(unittest.TestCase):
    def errors(self, text: str) -> list[str]:
        return read("KTAP version 1\n" + text + "# iopf: end\n").errors

    def test_nothing(self) -> None:
        report = read("")
        self.assertFalse(report.version or report.ended)
        self.assertIsNone(report.plan)

    def test_outer_plan(self) -> None:
        self.assertEqual(self.errors("1..2\nok 1 a\n"), ["plan: planned 2, reported 1"])
        self.assertEqual(self.errors("1..1\nok 1 a\nok 2 b\n"), ["plan: planned 1, reported 2"])

    def test_inner_plan(self) -> None:
        self.assertEqual(self.errors("1..1\n    1..2\n    ok 1 a\nok 1 b\n"),
                         ["b: planned 2, reported 1"])
        self.assertEqual(self.errors("1..1\n    ok 1 a\nok 1 b\n"),
                         ["b: 1 results without a plan"])
        self.assertEqual(self.errors("1..1\n    1..1\nok 1 b\n"),
                         ["b: planned 1, reported 0"])

    def test_inner_plan_of_a_failed_test(self) -> None:
        self.assertEqual(self.errors("1..1\n    1..2\n    ok 1 a\nnot ok 1 b # signal\n"), [])

    def test_kunit_parameters(self) -> None:
        text = ("1..1\n# iopf: start 1 {} x\n    1..1\n        ok 1 p\n        ok 2 q\n"
                "    ok 1 t\nok 1 a\n")
        self.assertEqual(self.errors(text.format("kunit")), [])
        self.assertEqual(self.errors(text.format("test")), ["t: 2 results without a plan"])

    def test_two_plans(self) -> None:
        self.assertTrue(self.errors("1..1\n1..1\nok 1 a\n"))

    def test_numbers(self) -> None:
        self.assertEqual(self.errors("1..2\nok 1 a\nok 3 b\n"),
                         ["plan: result 3 where 2 was due"])
        self.assertTrue(self.errors("1..2\nok 1 a\nok 1 a\n"))

    def test_orphan(self) -> None:
        self.assertEqual(self.errors("1..1\nok 1 a\n    ok 1 b\n"),
                         ["subtest results without a parent"])
        self.assertTrue(self.errors("1..1\n        1..1\n        ok 1 c\n"
                                    "    1..0\nok 1 a\n"))

    def test_cut_off(self) -> None:
        self.assertFalse(read("KTAP version 1\n1..1\nok 1 a\n# iopf: en").ended)

    def test_end_mark_of_a_test(self) -> None:
        self.assertFalse(read("KTAP version 1\n1..1\n    # iopf: end\n").ended)

    def test_bail_out(self) -> None:
        self.assertEqual(read("KTAP version 1\nBail out! no plan\n").bailed, "no plan")


class Results(unittest.TestCase):
    def one(self, line: str):
        report = read("KTAP version 1\n1..1\n" + line)
        return report.results[0] if report.results else None

    def test_skip_words(self) -> None:
        for line in ("ok 1 a # SKIP why", "ok 1 - a # skip why", "ok 1 a # Skipped: why"):
            result = self.one(line)
            self.assertTrue(result.ok and result.skipped, line)
            self.assertEqual((result.name, result.note), ("a", "why"))

    def test_failed_skip_is_a_failure(self) -> None:
        result = self.one("not ok 1 a # SKIP why")
        self.assertFalse(result.ok or result.skipped)

    def test_todo_is_a_failure(self) -> None:
        self.assertFalse(self.one("not ok 1 a # TODO later").ok)

    def test_words_that_are_no_result(self) -> None:
        for line in ("okay 1 a", "OK 1 a", "nok 1", "not okay 1 a", "# ok 1 a"):
            self.assertIsNone(self.one(line), line)

    def test_name_with_hash(self) -> None:
        self.assertEqual(self.one("ok 1 a#b").name, "a#b")

    def test_whole_program_skipped(self) -> None:
        result = read("KTAP version 1\n1..1\n    1..0 # SKIP no device\nok 1 a\n").results[0]
        self.assertTrue(result.skipped)
        self.assertEqual(result.note, "no device")

    def test_parent_with_its_own_failure(self) -> None:
        report = read("KTAP version 1\n1..1\n    1..1\n    ok 1 a\nnot ok 1 b # signal\n")
        leaves = list(report.results[0].leaves())
        self.assertEqual([path for path, _ in leaves], ["b/a", "b"])
        self.assertFalse(leaves[1][1].ok)


if __name__ == "__main__":
    unittest.main()

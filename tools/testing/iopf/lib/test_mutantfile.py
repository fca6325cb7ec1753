# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the head of a file with mutants may say."""

import os
import tempfile
import unittest
from unittest import mock

import lanefile
import mutantfile
from lanefile import TestbedError

DIFF = '\ndiff --git a/x b/x\n+++ b/x\n+\tif (!iopf_mutant("one"))\n'
HEAD = "# about\n\n[one]\nout = a flush\ntest = mock suite/test_a\n"


class Mutants(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        patch = mock.patch.object(mutantfile, "MUTANTS", self.folder)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, text: str, name: str = "a.diff") -> None:
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def refused(self, text: str, why: str) -> None:
        self.write(text)
        with self.assertRaisesRegex(TestbedError, why):
            mutantfile.load()

    def test_good(self) -> None:
        self.write(HEAD + DIFF)
        one, = mutantfile.load()
        self.assertEqual((one.name, one.out, one.lane, one.test, one.equivalent),
                         ("one", "a flush", "mock", "suite/test_a", ""))

    def test_no_mutants(self) -> None:
        self.write("# how one is chosen\n\ndiff --git a/x b/x\n")
        self.assertEqual(mutantfile.load(), [])

    def test_equivalent(self) -> None:
        self.write(HEAD.replace("test = mock suite/test_a", "equivalent = never seen") + DIFF)
        self.assertEqual(mutantfile.load()[0].equivalent, "never seen")

    def test_head_and_diff_agree(self) -> None:
        self.refused(HEAD + DIFF.replace('"one"', '"two"'), "one is not in the diff|two")
        self.refused(HEAD + DIFF + '+\tif (iopf_mutant("two"))\n', "two is not described")
        # what a line of context has was there before
        self.refused(HEAD + DIFF.replace("+\tif", " \tif"), "one is not in the diff")

    def test_wrong_heads(self) -> None:
        for old, new, why in (("out = a flush\n", "", "out is missing"),
                              ("test = mock suite/test_a\n", "", "either a test"),
                              ("test =", "equivalent = x\ntest =", "either a test"),
                              ("mock suite/test_a", "suite/test_a", "LANE STEP/TEST"),
                              ("mock suite/test_a", "mock suite", "LANE STEP/TEST"),
                              ("out =", "left =", "what is left"),
                              ("[one]", "[One]", "no name"),
                              ("[one]", "[one", "a.diff")):
            self.refused(HEAD.replace(old, new) + DIFF, why)

    def test_no_diff(self) -> None:
        self.refused(HEAD, "no diff")

    def test_one_name_twice(self) -> None:
        self.write(HEAD + DIFF, "b.diff")
        self.refused(HEAD + DIFF, "two mutants")

    def test_chosen(self) -> None:
        self.write(HEAD + DIFF)
        self.assertEqual([each.name for each in mutantfile.chosen("")], ["one"])
        self.assertEqual([each.name for each in mutantfile.chosen("o* one")], ["one"])
        with self.assertRaisesRegex(TestbedError, "no mutant is called x; there are one"):
            mutantfile.chosen("one x")


class Ours(unittest.TestCase):
    """The files of this repository."""

    def test_lanes_have_their_tests(self) -> None:
        for mutant in mutantfile.load():
            if mutant.test:
                steps = [step.split()[1] for step in lanefile.load(mutant.lane).plan]
                self.assertIn(mutant.test.split("/")[0], steps, mutant.name)

    def test_all_files_are_built(self) -> None:
        built = [os.path.basename(path)
                 for arch in mutantfile.architectures()
                 for path in lanefile.load_kernel(mutantfile.kernel(arch)).patches]
        self.assertEqual(built[0], "choose.diff")
        self.assertEqual(sorted(set(built)), sorted(
            name for name in os.listdir(mutantfile.MUTANTS) if name.endswith(".diff")))

    def test_every_lane_has_a_kernel_of_mutants(self) -> None:
        every = mutantfile.architectures()
        self.assertEqual(every, ["arm64", "x86"])
        self.assertEqual(mutantfile.architectures_of(mutantfile.load()), every)
        self.assertEqual(mutantfile.architectures_of(mutantfile.chosen("smmu-*")), ["arm64"])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Mutants of the QEMU series: what their files must have, and what counts as killed."""

import contextlib
import io
import os
import re
import subprocess
import unittest

from testing import Sandboxed
from iopf import build, errors, model_mutants, patches
from iopf.errors import Failure

MUTANT = """Rule: a model says something
Test: some-test /q35/some/test

diff --git a/file b/file
--- a/file
+++ b/file
@@ -1 +1 @@
-right
+wrong
"""


class Files(Sandboxed):
    def setUp(self):
        super().setUp()
        self.file = self.top / "name.diff"
        self.patch(model_mutants, "FOLDER", self.top)

    def test_read(self):
        self.file.write_text(MUTANT)
        mutant = model_mutants.read(self.file)
        self.assertEqual(mutant[:4], ("name", "a model says something", "some-test",
                                      "/q35/some/test"))
        self.assertTrue(mutant.diff.startswith("diff --git"))

    def test_bad_files(self):
        for text in ("", "Rule: x\n", MUTANT.replace("Rule", "Rul"), MUTANT.replace("-test", ""),
                     MUTANT.replace("diff --git", "diff"), MUTANT.replace("\n\n", "\n")):
            self.file.write_text(text)
            with self.assertRaisesRegex(Failure, "wants a line"):
                model_mutants.read(self.file)

    def test_pattern(self):
        for name in ("stu-a", "stu-b", "other"):
            (self.top / f"{name}.diff").write_text(MUTANT)
        for pattern, names in (("", ["other", "stu-a", "stu-b"]), ("stu-*", ["stu-a", "stu-b"])):
            os.environ["MUTANTS"] = pattern
            self.assertEqual([m.name for m in model_mutants.wanted()], names)
        os.environ["MUTANTS"] = "nothing"
        with self.assertRaisesRegex(Failure, "no mutant"):
            model_mutants.wanted()


class Killing(Sandboxed):
    """The build is a copy of the file, and a test program a script that looks at it."""

    def setUp(self):
        super().setUp()
        os.environ["MUTANTS"] = ""
        self.tree, self.work = self.top / "tree", self.top / "work"
        (self.work / "tests/qtest").mkdir(parents=True)
        (self.top / "mutants").mkdir()
        self.tree.mkdir()
        subprocess.run(["git", "-C", self.tree, "init", "-q"], check=True)
        (self.tree / "file").write_text("right\n")
        self.mutant = self.top / "mutants/name.diff"
        self.mutant.write_text(MUTANT)
        self.program("grep -q right $QTEST_QEMU_BINARY || exit 1")
        self.patch(model_mutants, "FOLDER", self.top / "mutants")
        self.patch(model_mutants, "place", lambda: self.tree)
        self.patch(build, "build_folder", lambda *a, **kw: contextlib.nullcontext(self.work))
        self.patch(build, "configure_qemu", lambda *a, **kw: dict(os.environ))
        self.patch(build, "link_firmware", lambda work: None)
        self.patch(build, "ninja", self.build)

    def program(self, text):
        file = self.work / "tests/qtest/some-test"
        file.write_text(f'#!/bin/sh\n{text}\necho "ok 1 $4"\n')
        file.chmod(0o755)

    def build(self, work, _log, _env, goals):
        emulators = [goal for goal in goals if goal.startswith("qemu-system-")]
        self.assertEqual(len(emulators), 1)
        (work / emulators[0]).write_text((self.tree / "file").read_text())

    def check(self):
        with contextlib.redirect_stdout(io.StringIO()):
            return model_mutants.check(self.top / "log")

    def fails(self, text):
        with self.assertRaisesRegex(errors.Failure, text) as caught:
            self.check()
        self.assertEqual(caught.exception.status, 1)
        self.assertEqual((self.tree / "file").read_text(), "right\n")

    def test_killed(self):
        self.assertEqual(self.check().passed, 1)
        self.assertEqual((self.tree / "file").read_text(), "right\n")

    def test_other_target(self):
        self.mutant.write_text(MUTANT.replace("/q35/", "/virt/"))
        self.program('case $4:$QTEST_QEMU_BINARY in /aarch64/virt/*:*-aarch64) ;; '
                     '*) echo "$4: $QTEST_QEMU_BINARY" >&2; exit 0; esac\n'
                     'grep -q right $QTEST_QEMU_BINARY || exit 1')
        self.assertEqual(self.check().passed, 1)

    def test_survives(self):
        self.program("")
        self.fails("1 of 1 mutants survived: name")

    def test_hangs(self):
        self.patch(model_mutants, "TEST_SECONDS", 1)
        self.program("grep -q right $QTEST_QEMU_BINARY || exec sleep 1000")
        self.assertEqual(self.check().passed, 1)

    def test_fails_anyway(self):
        """A test that fails without the mutant tells nothing about it."""
        self.program("exit 1")
        self.fails("fails without any mutant")

    def test_not_there(self):
        self.program("exit 0")
        self.fails("has no test /q35/some/test")

    def test_does_not_apply(self):
        (self.tree / "file").write_text("else\n")
        self.program("")
        with self.assertRaisesRegex(errors.Failure, "does not fit the series any more"):
            self.check()


class OurOwn(unittest.TestCase):
    def test_tests_are_there(self):
        """Each names a test that a program of the series has."""
        for file in sorted(model_mutants.FOLDER.glob("*.diff")):
            mutant = model_mutants.read(file)
            found = [s.root / f"tests/qtest/{mutant.program}.c" for s in (patches.QEMU,
                                                                         patches.QEMU_TCG)]
            source = next(path for path in found if path.is_file())
            self.assertRegex(source.read_text(encoding="utf-8"),
                             rf'qtest_add_func\(\s*"{re.escape(mutant.path)}"', file.name)


if __name__ == "__main__":
    unittest.main()

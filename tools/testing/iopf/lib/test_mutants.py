# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The runner of mutants as a program, on machines that are shell scripts."""

import os
import subprocess
import sys
import tempfile
import unittest

import mutantfile

LIB = os.path.dirname(os.path.abspath(__file__))
LIMIT = 300     # seconds; only a hang should ever meet it
NAME, TEST = "answer-twice", "test_remove_answers_once"

# A machine says what its arguments ask for: $result without a mutant and $mutated
# with one, $said on the console then
MACHINE = r"""#!/bin/sh
console=$(printf '%s\n' "$@" | sed -n 's/.*id=con,path=//p')
echo "[    0.1] booted" >"$console"
result=@result@
name=@name@
case "$*" in *iopf_mutant=*)
	result=@mutated@
	printf '@said@' >>"$console"
esac
printf 'KTAP version 1\n1..1\n# iopf: start 1 kunit iopf-core\n    1..1\n        1..2\n'
printf "        $result 1 $name\n        @other@ 2 test_other\n"
failed=
case "$result @other@" in *not*) failed='not ' ;; esac
printf '    %sok 1 iopf-core\n%sok 1 kunit iopf-core\n# iopf: end\n' "$failed" "$failed"
"""
REACHED = f"[    1.0] iopf: mutant {NAME} is reached\\n"


class Mutants(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ("kernel", "initramfs"):
            with open(os.path.join(self.folder, name), "wb"):
                pass

    def run_it(self, only: str = NAME, **values: str) -> tuple[int, str]:
        script = MACHINE
        for key, value in {"result": "ok", "mutated": "not ok", "said": REACHED, "other": "ok",
                           "name": TEST, **values}.items():
            if key in ("result", "mutated", "name"):
                value = f'"{value}"'
            script = script.replace(f"@{key}@", value)
        qemu = os.path.join(self.folder, "qemu")
        with open(qemu, "w", encoding="utf-8") as file:
            file.write(script)
        os.chmod(qemu, 0o755)
        done = subprocess.run(
            [sys.executable, os.path.join(LIB, "mutants"), "--kernel",
             os.path.join(self.folder, "kernel"), "--initramfs",
             os.path.join(self.folder, "initramfs"), "--qemu", qemu, "--out",
             os.path.join(self.folder, "out"), "--only", only],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
            encoding="utf-8")
        return done.returncode, done.stdout

    def check(self, status: int, *words: str, **values: str) -> None:
        got, text = self.run_it(**values)
        self.assertEqual(got, status, text)
        for word in words:
            self.assertIn(word, text)

    def test_killed(self) -> None:
        self.check(0, "killed", "test: not ok", "1 killed, 0 survived")

    def test_survived(self) -> None:
        self.check(1, "SURVIVED", "0 killed, 1 survived", mutated="ok")

    def test_never_reached(self) -> None:
        self.check(1, "SURVIVED", "never comes there", said="")

    def test_killed_by_a_complaint(self) -> None:
        self.check(0, "killed", "BUG: KASAN", mutated="ok",
                   said=REACHED + "[    1.1] BUG: KASAN: use-after-free\\n")

    def test_fails_without_it(self) -> None:
        self.check(1, "UNKNOWN", "fails without", result="not ok")

    def test_is_not_there(self) -> None:
        self.check(1, "UNKNOWN", "has not run", name="test_of_another_name")

    def test_another_test_fails(self) -> None:
        """A test that fails always does not kill, and does not spoil the one that is meant."""
        self.check(1, "SURVIVED", mutated="ok", other="not ok")
        self.check(0, "1 killed", other="not ok")

    def test_none_of_that_name(self) -> None:
        self.check(2, "no mutant is called nobody", only="nobody")

    def test_equivalent(self) -> None:
        """Those are only counted."""
        known = [each for each in mutantfile.load() if each.equivalent]
        for each in known[:1]:
            self.check(0, "equivalent", each.equivalent, "0 killed", only=each.name)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""No circle among files, and that one would be found."""

import shutil
import subprocess
import unittest

from testing import SCRIPTS, Sandboxed
from iopf import structure
from iopf.errors import Failure
from iopf.testbed import TESTBED


class Circles(Sandboxed):
    def test_found(self):
        self.assertIsNone(structure.circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}))
        self.assertEqual(structure.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}), ["b", "c", "b"])
        with self.assertRaisesRegex(Failure, "b -> c -> b"):
            structure.refuse_circle({"b": {"c"}, "c": {"b"}})
        # a look that finds nothing at all has not looked
        for nothing in ({}, {"a": set(), "b": set()}):
            self.assertRaises(Failure, structure.refuse_circle, nothing)

    def test_modules(self):
        for name, text in (("a", "from x import (b,\n               c)\n"), ("b", "import c\n"),
                           ("c", "import os\n\n\ndef f():\n    from x.a import y\n")):
            (self.top / f"{name}.py").write_text(text)
        self.assertEqual(structure.of_modules(self.top),
                         {"a": {"b", "c"}, "b": {"c"}, "c": {"a"}})

    @unittest.skipUnless(shutil.which("gcc"), "no compiler")
    def test_objects(self):
        for name, text in (("a", "int b(void); int a(void) { return b(); }"),
                           ("b", "int b(void) { return 1; }")):
            subprocess.run(["gcc", "-c", "-x", "c", "-", "-o", self.top / f"{name}.o"],
                           input=text, text=True, check=True)
        self.assertEqual(structure.of_objects(sorted(self.top.glob("*.o"))),
                         {"a.o": {"b.o"}, "b.o": set()})

    def test_ours(self):
        for folder in (SCRIPTS / "iopf", TESTBED / "lib"):
            structure.refuse_circle(structure.of_modules(folder))


if __name__ == "__main__":
    unittest.main()

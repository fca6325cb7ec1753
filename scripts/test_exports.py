# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Tests of exports.py, with a source and a compiler's objects of a few lines."""

import pathlib
import subprocess
import tempfile
import unittest

from iopf import exports
from iopf.errors import Failure

SOURCE = """
EXPORT_SYMBOL_GPL(is_exported);
EXPORT_SYMBOL_NS_GPL(in_space, SPACE);
EXPORT_TRACEPOINT_SYMBOL_GPL(event);
define_dev_printk_level(_dev_some, KERN_SOME);
"""
IMPORT = 'static const char ns[] __attribute__((used)) = "import_ns=SPACE";'


class Exports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)
        (self.tree / "some.c").write_text(SOURCE)
        for args in (["init", "-q"], ["add", "some.c"]):
            subprocess.run(["git", *args], cwd=self.tree, check=True)

    def check(self, calls, more=""):
        """Check a module that makes these calls."""
        text = "".join(f"extern int {c};\n" for c in calls) + more
        text += f"int uses(void) {{ return own + {' + '.join(calls) or '0'}; }}\n"
        (self.tree / "m.c").write_text(f"int own;\n{text}")
        subprocess.run(["gcc", "-fno-pic", "-c", "m.c", "-o", "m.o"], cwd=self.tree, check=True)
        return exports.check_module(self.tree, "nm", [self.tree / "m.o"])

    def test_all_there(self):
        self.assertEqual(4, self.check(
            ["is_exported", "in_space", "__tracepoint_event", "_dev_some"], IMPORT))

    def test_not_exported(self):
        with self.assertRaisesRegex(Failure, "^other is used by a module and not exported"):
            self.check(["is_exported", "other"])

    def test_namespace(self):
        with self.assertRaisesRegex(Failure, "in_space .* does not import SPACE"):
            self.check(["in_space"])

    def test_uses_nothing(self):
        with self.assertRaisesRegex(Failure, "cannot be"):
            self.check([])


if __name__ == "__main__":
    unittest.main()

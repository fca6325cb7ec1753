# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Diffs on top of a series: in a tree of their own, refused when they do not fit, and
back from the tree."""

import pathlib
import sys
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import base, errors, on_top, series  # noqa: E402
from test_series import SmallSeries  # noqa: E402

DIFF = """# about

[one]
out = x

diff --git a/drivers/new.c b/drivers/new.c
--- a/drivers/new.c
+++ b/drivers/new.c
@@ -1 +1 @@
-int new;
+int mutant;
"""


class OnTop(SmallSeries):
    def setUp(self):
        super().setUp()
        patch = mock.patch.dict(on_top.SERIES, {"linux": self.series})
        patch.start()
        self.addCleanup(patch.stop)
        self.diff = self.root / "a.diff"
        self.diff.write_text(DIFF)

    def make(self):
        base.SNAPSHOTS.clear()
        return on_top.tree("linux", "k", [self.diff])

    def test_tree_of_its_own(self):
        tree = self.make()
        self.assertEqual((tree / "drivers/new.c").read_text(), "int mutant;\n")
        self.assertEqual((self.root / "drivers/new.c").read_text(), "int new;\n")
        self.assertEqual(series.git(tree, "log", "-2", "--format=%s").split(), ["a.diff", "a"])

    def test_does_not_fit(self):
        self.diff.write_text(DIFF.replace("-int new;", "-int old;"))
        with self.assertRaisesRegex(errors.Failure, r"a\.diff does not fit .*drivers/new\.c"):
            self.make()

    def test_refresh(self):
        """What is written anew gives the same tree, and the head stays."""
        tree = self.make()
        (tree / "drivers/new.c").write_text("int other;\n")
        on_top.refresh("linux", "k", [self.diff])
        self.assertEqual(self.diff.read_text(), DIFF.replace("int mutant", "int other"))
        series.git(tree, "checkout", "-q", "-f", "HEAD")
        self.assertEqual((self.make() / "drivers/new.c").read_text(), "int other;\n")

    def test_refresh_without_a_tree(self):
        with self.assertRaisesRegex(errors.Failure, "there is no tree"):
            on_top.refresh("linux", "k", [self.diff])


if __name__ == "__main__":
    unittest.main()

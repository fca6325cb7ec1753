# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The series tool on a base of three files: round trip, refusals, no leavings."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import base  # noqa: E402
import iopf_common  # noqa: E402

LOADER = SourceFileLoader("iopf_series", str(pathlib.Path(__file__).parent / "series"))
tool = module_from_spec(spec_from_loader("iopf_series", LOADER))
LOADER.exec_module(tool)

HOOK = """diff --git a/Makefile b/Makefile
--- a/Makefile
+++ b/Makefile
@@ -2,3 +2,4 @@ VERSION = 6
 PATCHLEVEL = 12
 SUBLEVEL = 999
 EXTRAVERSION =
+obj-y += new.o
"""


class SeriesTool(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        top = pathlib.Path(self.tmp.name)
        self.source, self.root = top / "source", top / "repo"
        for path in (self.source / "drivers", self.root / "drivers", self.root / "series"):
            path.mkdir(parents=True)
        (self.source / "Makefile").write_text(
            "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 999\nEXTRAVERSION =\n")
        (self.source / "drivers/old.c").write_text("int old;\n")
        self.series = iopf_common.Series("linux", self.root, ["drivers"],
                                         {"drivers/Kconfig.new": "Kconfig"}, "PATCH 6.12")
        self.series.tree = top / "tree"
        self.saved = {key: os.environ.get(key) for key in ("KSRC", "IOPF_CACHE")}
        os.environ["KSRC"] = str(self.source)
        self.cache, base.CACHE = base.CACHE, top / "cache"
        self.write("01-a.patch", HOOK, ["drivers/Kconfig.new", "drivers/new.c"])
        (self.root / "drivers/new.c").write_text("int new;\n")
        (self.root / "Kconfig").write_text("config NEW\n")
        (self.root / "series/series").write_text("01-a.patch\n")

    def tearDown(self):
        base.CACHE = self.cache
        for key, value in self.saved.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value

    def write(self, name, diff, adds=(), subject="a"):
        patch = iopf_common.Patch(subject, "Why.", list(adds), diff)
        (self.root / "series" / name).write_text(patch.text())

    def call(self, name, **opts):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            getattr(tool, f"cmd_{name}")(self.series, type("Opts", (), {
                "tree": None, "output": None, "anonymous": True, "variant": None,
                **opts}))
        return out.getvalue()

    def refused(self, name, *words):
        with self.assertRaises(iopf_common.Failure) as caught:
            self.call(name)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def git(self, *args):
        return subprocess.run(["git", "-C", str(self.series.tree), "-c", "user.name=x",
                               "-c", "user.email=x@localhost", *args], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def test_round_trip(self):
        self.call("apply")
        self.assertEqual((self.series.tree / "drivers/Kconfig.new").read_text(), "config NEW\n")
        self.assertIn("obj-y += new.o", (self.series.tree / "Makefile").read_text())
        self.assertIn("export back unchanged", self.call("check"))

    def test_other_base_with_moved_lines(self):
        file = self.source / "Makefile"
        file.write_text("# one more line\n" + file.read_text())
        self.assertIn("export back unchanged", self.call("check"))

    def test_hook_that_does_not_apply(self):
        self.write("01-a.patch", HOOK.replace("SUBLEVEL = 999", "SUBLEVEL = 998"))
        (self.root / "drivers/new.c").unlink()
        self.refused("apply", "01-a.patch", "Makefile", "Linux 6.12.999")
        self.assertFalse(self.series.tree.exists())

    def test_hook_on_a_missing_file(self):
        self.write("01-a.patch", HOOK.replace("/Makefile", "/gone"))
        self.refused("apply", "01-a.patch", "gone")

    def test_file_in_no_patch(self):
        (self.root / "drivers/stray.c").write_text("\n")
        self.refused("check", "stray.c", "Adds:")

    def test_file_in_two_patches(self):
        self.write("02-b.patch", "", ["drivers/new.c"], "b")
        (self.root / "series/series").write_text("01-a.patch\n02-b.patch\n")
        self.refused("check", "01-a.patch", "02-b.patch")

    def test_whole_file_over_a_base_file(self):
        (self.root / "drivers/old.c").write_text("int ours;\n")
        self.write("01-a.patch", HOOK, ["drivers/old.c"])
        self.refused("apply", "drivers/old.c", "already has")

    def test_commit_and_export(self):
        self.call("apply")
        (self.series.tree / "drivers/old.c").write_text("int old, more;\n")
        (self.series.tree / "drivers/second.c").write_text("int second;\n")
        self.git("add", "-f", "-A")
        self.git("commit", "-q", "-m", "drivers: More of it\n\nBecause.")
        self.call("export")
        self.assertEqual(self.series.order(), ["01-a.patch", "02-drivers-more-of-it.patch"])
        text = (self.root / "series/02-drivers-more-of-it.patch").read_text()
        self.assertIn("Adds: drivers/second.c\n", text)
        self.assertIn("+int old, more;\n", text)
        self.assertNotIn("\nindex ", text)
        self.assertEqual((self.root / "drivers/second.c").read_text(), "int second;\n")
        self.call("check")

    def test_later_change_of_a_new_file(self):
        self.call("apply")
        (self.series.tree / "drivers/new.c").write_text("int newer;\n")
        self.git("commit", "-q", "-a", "-m", "drivers: Late change")
        self.refused("export", "drivers/new.c", "squash")

    def test_unexported_work_is_kept(self):
        self.call("apply")
        (self.series.tree / "drivers/new.c").write_text("int edited;\n")
        self.refused("apply", "not exported")
        self.assertEqual((self.series.tree / "drivers/new.c").read_text(), "int edited;\n")

    def test_variant_for_older_bases(self):
        file = self.source / "Makefile"
        file.write_text(file.read_text().replace("EXTRAVERSION =", "EXTRAVERSION = -old"))
        self.refused("apply", "01-a.patch", "Makefile")
        (self.root / "series/before-6.12.1000").mkdir()
        self.write("before-6.12.1000/01-a.patch",
                   HOOK.replace("EXTRAVERSION =", "EXTRAVERSION = -old"),
                   ["drivers/Kconfig.new", "drivers/new.c"])
        (self.root / "series/before-6.12.999").mkdir()
        self.write("before-6.12.999/01-a.patch", HOOK.replace("999", "1"))
        self.assertIn("export back unchanged", self.call("check"))
        self.call("apply")
        (self.root / "series/before-6.12.1000/01-a.patch").unlink()
        self.call("export", variant="6.12.1000")
        self.assertTrue((self.root / "series/before-6.12.1000/01-a.patch").exists())
        self.assertIn("export back unchanged", self.call("check"))

    def test_variant_follows_its_patch(self):
        old = self.root / "series/before-6.12.500"
        old.mkdir()
        (old / "01-a.patch").write_text((self.root / "series/01-a.patch").read_text())
        (old / "01-gone.patch").write_text("Subject: gone\n---\n")
        self.call("apply")
        tree = self.series.tree
        git = ["git", "-C", str(tree), "-c", "user.name=x", "-c", "user.email=x@localhost"]
        for args in (["checkout", "-q", "-b", "more", "refs/tags/base"],
                     ["commit", "-q", "--allow-empty", "-m", "before it"],
                     ["cherry-pick", "iopf"]):
            subprocess.run(git + args, check=True, stdout=subprocess.DEVNULL)
        self.call("export")
        self.assertEqual(["02-a.patch"], [p.name for p in old.iterdir()])

    def test_mails(self):
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        self.call("mbox", output=str(self.root / "mbox"))
        mails = sorted(p.name for p in (self.root / "mbox").iterdir())
        self.assertEqual(mails, ["0000-cover-letter.patch", "0001-a.patch"])
        self.assertIn("Signed-off-by:", (self.root / "mbox/0001-a.patch").read_text())


if __name__ == "__main__":
    unittest.main()

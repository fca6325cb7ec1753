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
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import base, errors, patches  # noqa: E402
from iopf import series as tool  # noqa: E402

HOOK = """diff --git a/Makefile b/Makefile
--- a/Makefile
+++ b/Makefile
@@ -2,3 +2,4 @@ VERSION = 6
 PATCHLEVEL = 12
 SUBLEVEL = 999
 EXTRAVERSION =
+obj-y += new.o
"""


class SmallSeries(unittest.TestCase):
    """A series of one patch on a base of three files."""

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
        self.series = patches.Series("linux", self.root, ["drivers"],
                                         {"drivers/Kconfig.new": "Kconfig"}, "PATCH 6.12")
        for patch in (mock.patch.dict(os.environ, {
                "KSRC": str(self.source), "IOPF_CACHE": str(top / "cache"),
                "OUT": str(top / "out")}), mock.patch.object(base, "SNAPSHOTS", set())):
            patch.start()
            self.addCleanup(patch.stop)
        self.write("01-a.patch", HOOK, ["drivers/Kconfig.new", "drivers/new.c"])
        (self.root / "drivers/new.c").write_text("int new;\n")
        (self.root / "Kconfig").write_text("config NEW\n")
        (self.root / "series/series").write_text("01-a.patch\n")

    def write(self, name, diff, adds=(), subject="a"):
        patch = patches.Patch(subject, "Why.", list(adds), diff)
        (self.root / "series" / name).write_text(patch.text())

    def call(self, name, **opts):
        base.SNAPSHOTS.clear()      # as in a command of its own
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            getattr(tool, f"cmd_{name}")(self.series, type("Opts", (), {
                "tree": None, "output": None, "anonymous": True, "variant": None, "since": None,
                **opts}))
        return out.getvalue()

    def refused(self, name, *words):
        with self.assertRaises(errors.Failure) as caught:
            self.call(name)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def git(self, *args):
        return subprocess.run(["git", "-C", str(self.series.tree), "-c", "user.name=x",
                               "-c", "user.email=x@localhost", *args], check=True,
                              stdout=subprocess.PIPE, text=True).stdout


LOW_HOOK = """diff --git a/drivers/old.c b/drivers/old.c
--- a/drivers/old.c
+++ b/drivers/old.c
@@ -1 +1 @@
-int old;
+long old;
"""


class OnAnother(SmallSeries):
    """A series that is put on another one."""

    def setUp(self):
        super().setUp()
        low = self.root / "low"
        (low / "series").mkdir(parents=True)
        self.low = patches.Series("linux-low", low, [], {}, "PATCH 6.12")
        (low / "series/series").write_text("01-low.patch\n")
        self.write_low(LOW_HOOK)
        self.series.needs = self.low

    def write_low(self, diff):
        (self.low.dir / "01-low.patch").write_text(patches.Patch("low", "Why.", [], diff).text())

    def test_round_trip(self):
        self.call("apply")
        self.assertEqual((self.series.tree / "drivers/old.c").read_text(), "long old;\n")
        self.assertIn("obj-y += new.o", (self.series.tree / "Makefile").read_text())
        self.assertIn("linux: 1 patches", self.call("check"))

    def test_export_is_its_own(self):
        self.call("apply")
        (self.series.tree / "drivers/old.c").write_text("long old, more;\n")
        self.git("commit", "-q", "-a", "-m", "more")
        self.call("export")
        self.assertEqual(self.series.order(), ["01-a.patch", "02-more.patch"])
        self.assertIn("-long old;\n", (self.root / "series/02-more.patch").read_text())
        self.assertEqual(self.low.order(), ["01-low.patch"])

    def test_export_of_what_is_on_an_older_one(self):
        self.call("apply")
        self.write_low(LOW_HOOK.replace("+long", "+short"))
        self.refused("export", "is not on what linux-low is now", "rebase --onto")

    def test_rebase(self):
        self.assertIn("all 1 patches", self.call("rebase"))
        self.assertEqual((self.series.tree / "drivers/old.c").read_text(), "long old;\n")

    def test_mails_name_what_is_below(self):
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        self.call("mbox", output=str(self.root / "mbox"))
        self.assertEqual(sorted(p.name for p in (self.root / "mbox").iterdir()),
                         ["0001-a.patch", "cover-letter.patch"])
        self.assertIn("prerequisite-patch-id", (self.root / "mbox/cover-letter.patch").read_text())

    def test_key(self):
        """What is below is a part of what gets built."""
        before = self.series.key("Linux 6.12.999")
        self.write_low(LOW_HOOK.replace("+long", "+short"))
        self.assertNotEqual(self.series.key("Linux 6.12.999"), before)

    def test_base_with_a_folder(self):
        """A base with a folder of its own gets what is in that alone."""
        folder = self.root / "series/from-6.12.999"
        folder.mkdir()
        (self.root / "series/01-a.patch").rename(folder / "01-a.patch")
        (self.root / "series/series").write_text("")
        self.call("apply")
        self.assertEqual((self.series.tree / "drivers/old.c").read_text(), "int old;\n")


class SeriesTool(SmallSeries):
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

    def test_tree_of_another_cache(self):
        """Another series meanwhile, so that the new cache has other commits."""
        self.call("apply")
        os.environ["IOPF_CACHE"] = f"{self.tmp.name}/other"
        (self.root / "drivers/new.c").write_text("int other;\n")
        self.refused("apply", "another cache", f"rm -rf {self.series.tree}")
        self.assertEqual((self.series.tree / "drivers/new.c").read_text(), "int new;\n")

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

    def test_patches_of_a_later_release(self):
        """They are all that it gets, and may change the whole files."""
        self.call("apply")
        subprocess.run(["rm", "-rf", str(self.series.tree)], check=True)
        self.write("02-b.patch", HOOK.replace("new.o", "other.o"), (), "b")
        (self.root / "series/series").write_text("02-b.patch\n01-a.patch\n")
        file = self.source / "Makefile"
        file.write_text(file.read_text().replace("999", "1007"))
        later = self.root / "series/from-6.12.1000"
        later.mkdir()
        (self.root / "series/from-6.12.1008").mkdir()
        self.write("from-6.12.1000/01-a.patch", HOOK.replace("999", "1007") + (
            "diff --git a/drivers/new.c b/drivers/new.c\n--- a/drivers/new.c\n"
            "+++ b/drivers/new.c\n@@ -1 +1 @@\n-int new;\n+long new;\n"),
            ["drivers/Kconfig.new", "drivers/new.c"])
        self.call("apply")
        self.assertEqual((self.series.tree / "drivers/new.c").read_text(), "long new;\n")
        self.assertNotIn("other.o", (self.series.tree / "Makefile").read_text())
        self.assertIn("1 patches of from-6.12.1000", self.call("check"))
        self.refused("export", "--since")
        (self.series.tree / "drivers/new.c").write_text("char new;\n")
        self.git("commit", "-q", "-a", "--amend", "--no-edit")
        self.call("export", since="6.12.1000")
        text = (later / "01-a.patch").read_text()
        self.assertIn("+char new;\n", text)
        self.assertIn("obj-y += new.o", text)
        self.assertEqual((self.root / "drivers/new.c").read_text(), "int new;\n")
        (self.root / "drivers/new.c").write_text("int changed;\n")
        self.refused("check", "01-a.patch", "drivers/new.c")
        # that is seen on the bases that the series itself is for, too
        file.write_text(file.read_text().replace("1007", "999"))
        (self.root / "series/series").write_text("01-a.patch\n")
        (self.root / "series/02-b.patch").unlink()
        self.refused("check", "from-6.12.1000/01-a.patch", "does not fit the whole files")

    def test_mails(self):
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        self.call("mbox", output=str(self.root / "mbox"))
        mails = sorted(p.name for p in (self.root / "mbox").iterdir())
        self.assertEqual(mails, ["0001-a.patch", "cover-letter.patch"])
        cover = (self.root / "mbox/cover-letter.patch").read_text()
        self.assertIn("All of it", cover)
        self.assertNotIn("***", cover)
        self.assertIn("Signed-off-by:", (self.root / "mbox/0001-a.patch").read_text())


    def test_mails_overwrite_mails_only(self):
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        dest = self.root / "mbox"
        dest.mkdir()
        for name in ("0007-old.patch", "my-own.patch"):
            (dest / name).write_text("a person's own")
            with self.assertRaisesRegex(errors.Failure, "no mail of ours"):
                self.call("mbox", output=str(dest))
            (dest / name).unlink()
        self.call("mbox", output=str(dest))
        (dest / "0007-old.patch").write_text("of an earlier run")
        self.call("mbox", output=str(dest))
        self.assertFalse((dest / "0007-old.patch").exists())
        (dest / "letter.txt").write_text("a person's own")
        with self.assertRaisesRegex(errors.Failure, "letter.txt"):
            self.call("mbox", output=str(dest))
        self.assertTrue((dest / "letter.txt").exists())
        self.assertTrue((dest / "0001-a.patch").exists())

    def test_mails_whatever_the_settings(self):
        """A person's git may be told anything about mails and diffs."""
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        config = self.root / "gitconfig"
        config.write_text("[format]\n suffix=.txt\n attach=true\n[diff]\n noprefix=true\n"
                          " mnemonicPrefix=true\n[color]\n ui=always\n")
        with mock.patch.dict(os.environ, {"GIT_CONFIG_GLOBAL": str(config)}):
            self.call("mbox", output=str(self.root / "mbox"))
            self.assertIn("export back unchanged", self.call("check"))
        self.assertIn("--- a/Makefile\n", (self.root / "mbox/0001-a.patch").read_text())

    def test_git_am_as_printed(self):
        """`git am .../0*.patch` takes the mails, and not the cover letter."""
        (self.root / "series/cover").write_text("All of it\n\nWhy.\n")
        self.call("mbox", output=str(self.root / "mbox"))
        subprocess.run(["git", "init", "-q", self.source], check=True)
        git = ["git", "-C", str(self.source), "-c", "user.name=x", "-c", "user.email=x@localhost"]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "base"], check=True)
        subprocess.run(f"{' '.join(git)} am -q {self.root}/mbox/0*.patch", shell=True, check=True)
        self.assertEqual((self.source / "drivers/new.c").read_text(), "int new;\n")

    def test_advice_for_a_hook_that_does_not_apply(self):
        """What is printed is done word by word, and the series fits in the end."""
        self.write("01-a.patch", HOOK.replace("SUBLEVEL = 999", "SUBLEVEL = 998"),
                   ["drivers/Kconfig.new", "drivers/new.c"])
        self.write("02-b.patch", "", ["drivers/second.c"], "b")
        (self.root / "drivers/second.c").write_text("int second;\n")
        (self.root / "series/series").write_text("01-a.patch\n02-b.patch\n")
        self.refused("apply", "'scripts/series rebase linux'")
        self.refused("rebase", "01-a.patch", "Makefile.rej", "'scripts/series rebase linux' again")
        self.refused("rebase", "Makefile.rej is still there")
        self.refused("export", "in the middle of a rebase")
        tree = self.series.tree
        self.assertIn("+obj-y += new.o", (tree / "Makefile.rej").read_text())
        with open(tree / "Makefile", "a", encoding="utf-8") as file:
            file.write("obj-y += new.o\n")
        (tree / "Makefile.rej").unlink()
        said = self.call("rebase")
        self.assertIn("'scripts/series export linux'", said)
        self.refused("apply", "01-a.patch")         # nothing of it is lost before the export
        self.call("export")
        self.assertEqual(self.series.order(), ["01-a.patch", "02-b.patch"])
        self.assertIn("export back unchanged", self.call("check"))
        self.call("apply")

    def test_rebase_where_a_file_is_gone(self):
        self.write("01-a.patch", HOOK.replace("/Makefile", "/gone"),
                   ["drivers/Kconfig.new", "drivers/new.c"])
        self.refused("rebase", "01-a.patch.rej")
        (self.series.tree / "01-a.patch.rej").unlink()
        self.call("rebase")
        self.call("export")
        self.assertIn("export back unchanged", self.call("check"))

    def test_checkout_that_was_interrupted(self):
        """Half a checkout is no work of a person, and is taken up again."""
        self.call("apply")
        tree = self.series.tree
        (tree / ".git/iopf-checkout").write_text("killed here\n")
        (tree / ".git/index.lock").touch()
        (tree / "drivers/new.c").write_text("int half")
        self.call("apply")
        self.assertEqual((tree / "drivers/new.c").read_text(), "int new;\n")
        self.assertIn("int half", self.git("show", "refs/iopf/interrupted:drivers/new.c"))

    def test_environment_of_a_hook(self):
        """Called from a git hook, git's variables name another repository."""
        with mock.patch.dict(os.environ, {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere/i",
                                          "GIT_WORK_TREE": "/nowhere"}):
            self.call("apply")
        self.assertTrue((self.series.tree / "drivers/new.c").exists())


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Where stock kernels come from, with an apt that is a shell script."""

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
from iopf import base, cache, process  # noqa: E402
from iopf.errors import Failure  # noqa: E402

PACKAGE = "linux-source-9.9"
# Knows the suite by the sources file that it is given. HAVE is a list of words
# SUITE=VERSION, DOWN one of suites that do not answer.
APT = r"""#!/bin/sh
for word; do
    case $word in
    Dir::Etc::sourcelist=*) suite=$(sed -n 's/^Suites: //p' "${word#*=}") ;;
    esac
done
echo "$(basename "$0") $suite" >>"$TRACE"
for down in $DOWN; do
    if [ "$down" = "$suite" ]; then echo "E: no route" >&2; exit 100; fi
done
case " $* " in
*" policy "*)
    for have in $HAVE; do
        [ "${have%%=*}" = "$suite" ] && echo "  Candidate: ${have#*=}"
    done ;;
*" download "*) cp "$DEB" . ;;
esac
exit 0
"""


class StockKernels(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = pathlib.Path(tmp.name)
        for name in ("apt-get", "apt-cache"):
            path = self.top / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(APT)
            path.chmod(0o755)
        for patch in (mock.patch.object(base, "UPDATED", set()),
                      mock.patch.object(base, "machine_archive",
                                        lambda: ("http://archive.invalid/debian", None)),
                      mock.patch.dict(os.environ, {
                          "IOPF_CACHE": str(self.top / "cache"),
                          "PATH": f"{self.top}/bin:{os.environ['PATH']}", "HAVE": "",
                          "DOWN": "", "DEB": str(self.top / "stock.deb"),
                          "TRACE": str(self.top / "trace"), "OFFLINE": "", "UPDATE": ""})):
            patch.start()
            self.addCleanup(patch.stop)

    def package(self, version):
        """A .deb with a source tree of one file."""
        work = self.top / "deb"
        tree = self.top / PACKAGE
        for folder in (work / "DEBIAN", work / "usr/src", tree):
            folder.mkdir(parents=True, exist_ok=True)
        (tree / "Makefile").write_text("VERSION = 9\nPATCHLEVEL = 9\nSUBLEVEL = 1\n"
                                       "EXTRAVERSION =\n")
        subprocess.run(["tar", "-C", self.top, "-cJf", work / f"usr/src/{PACKAGE}.tar.xz",
                        PACKAGE], check=True)
        (work / "DEBIAN/control").write_text(
            f"Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: nobody <nobody@localhost>\nDescription: test\n")
        subprocess.run(["dpkg-deb", "-b", work, self.top / "stock.deb"], check=True,
                       stdout=subprocess.DEVNULL)

    def repository(self):
        with contextlib.redirect_stdout(io.StringIO()):
            return base.kernel_repository(PACKAGE)

    def suites(self):
        lines = (self.top / "trace").read_text().split("\n")
        return list(dict.fromkeys(line.split()[-1] for line in lines if line))

    def test_first_suite_that_has_it(self):
        self.package("9.9.2-1")
        os.environ["HAVE"] = "forky=9.9.2-1 sid=9.9.3-1"
        repo = self.repository()
        self.assertEqual(repo.name, f"{PACKAGE}-9.9.2-1")
        self.assertEqual(base.version(repo, "linux"), "Linux 9.9.1")
        self.assertEqual(self.suites(), ["trixie-backports", "forky"])

    def test_suite_that_does_not_answer(self):
        self.package("9.9.2-1")
        os.environ.update(HAVE="sid=9.9.2-1", DOWN="trixie-backports forky")
        self.assertEqual(self.repository().name, f"{PACKAGE}-9.9.2-1")

    def test_nowhere(self):
        os.environ["DOWN"] = "forky"
        with self.assertRaises(base.Unavailable) as caught:
            self.repository()
        for word in (PACKAGE, "not in trixie-backports", "forky: ", "no route", "not in sid"):
            self.assertIn(word, str(caught.exception))
        self.assertEqual(cache.sizes(), [("work", 0, 0)])

    def test_no_archive(self):
        with mock.patch.object(base, "machine_archive", lambda: None):
            self.assertRaises(base.Unavailable, self.repository)

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        with self.assertRaisesRegex(base.Unavailable, "OFFLINE=1"):
            self.repository()
        self.assertFalse((self.top / "trace").exists())

    def test_cached(self):
        for version in ("9.9.9-1", "9.9.10-1"):
            repo = self.top / "cache/base" / f"{PACKAGE}-{version}"
            repo.mkdir(parents=True)
            cache.seal(repo)
        self.assertEqual(self.repository().name, f"{PACKAGE}-9.9.10-1")
        self.assertFalse((self.top / "trace").exists())
        # it is no base of the series, whatever its version
        self.assertIsNone(base.cached("linux", None))
        # a newer one was asked for, and there is none: the old one will do
        os.environ["UPDATE"] = "1"
        self.assertEqual(self.repository().name, f"{PACKAGE}-9.9.10-1")
        self.assertTrue((self.top / "trace").exists())

    def test_series_base(self):
        with mock.patch.object(base, "repository", lambda name: f"the {name} base"):
            self.assertEqual(base.kernel_repository(base.KERNEL_PACKAGE), "the linux base")

    def test_cut_short_is_fetched_again(self):
        self.package("9.9.2-1")
        os.environ["HAVE"] = "sid=9.9.2-1"
        repo = self.repository()
        pack, = (repo / "objects/pack").glob("*.pack")
        pack.chmod(0o600)
        with open(pack, "r+b") as file:
            file.truncate(pack.stat().st_size - 1)
        cache.VERIFIED.clear()
        self.assertEqual(self.repository(), repo)
        self.assertIsNone(cache.damage(repo))
        self.assertEqual(base.version(repo, "linux"), "Linux 9.9.1")

    def test_file_modes_and_links(self):
        tree = self.top / PACKAGE
        tree.mkdir()
        (tree / "run").write_text("#!/bin/sh\n")
        (tree / "run").chmod(0o755)
        (tree / "link").symlink_to("run")
        (tree / "ä b").write_text("")
        (tree / ".gitignore").write_text("*\n")
        subprocess.run(["tar", "-C", self.top, "-cJf", self.top / "x.tar.xz", PACKAGE], check=True)
        for name, make in (("a", lambda repo: base.import_tar(self.top / "x.tar.xz", repo)),
                           ("b", lambda repo: base.snapshot(tree, repo))):
            repo = self.top / name
            repo.mkdir()
            make(repo)
        self.assertEqual(base.tree_id(self.top / "a"), base.tree_id(self.top / "b"))
        listed = process.run(["git", "-C", self.top / "a", "ls-tree", "-z", "refs/tags/base"])
        self.assertIn("120000", listed)
        self.assertIn("100755", listed)
        self.assertIn("ä b", listed)

    def test_archive_cut_short(self):
        subprocess.run(["tar", "-C", self.top, "-cJf", self.top / "x.tar.xz", "bin"], check=True)
        data = (self.top / "x.tar.xz").read_bytes()
        (self.top / "x.tar.xz").write_bytes(data[:len(data) // 2])
        (self.top / "a").mkdir()
        with self.assertRaisesRegex(Failure, "cannot be unpacked"):
            base.import_tar(self.top / "x.tar.xz", self.top / "a")

    def test_clone_that_was_interrupted(self):
        self.package("9.9.2-1")
        os.environ["HAVE"] = "sid=9.9.2-1"
        repo, tree = self.repository(), self.top / "clone"
        (tree / ".git").mkdir(parents=True)         # killed in git init
        base.scratch_checkout(repo, tree)
        self.assertIn("VERSION = 9", (tree / "Makefile").read_text())
        (tree / ".git/index.lock").touch()          # killed in git checkout
        (tree / "Makefile").unlink()
        base.scratch_checkout(repo, tree)
        self.assertTrue((tree / "Makefile").exists())

    def test_broken_package_is_a_failure(self):
        """A package that is there and of no use must not look like none."""
        (self.top / "stock.deb").write_text("no archive")
        os.environ["HAVE"] = "trixie-backports=9.9.2-1 forky=9.9.2-1 sid=9.9.2-1"
        with self.assertRaises(Failure) as caught:
            self.repository()
        self.assertNotIsInstance(caught.exception, base.Unavailable)


if __name__ == "__main__":
    unittest.main()

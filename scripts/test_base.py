# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Where the base trees come from, with an apt that is a shell script."""

import contextlib
import io
import os
import subprocess
import unittest

from testing import FakeApt
from iopf import base, cache, host, process
from iopf.errors import Failure

PACKAGE = "linux-source-9.9"
# HAVE is the version that the index has, if any; DEBS what a download brings,
# SOURCE what a source package brings
APT = r"""#!/bin/sh
echo " $* " >>"$TRACE"
case " $* " in
*" policy "*) echo "  Candidate: ${HAVE:-(none)}" ;;
*" madison "*) [ -z "$HAVE" ] || echo " package | $HAVE | somewhere" ;;
*" source "*) cp "$SOURCE" . ;;
*" download "*)
    for word; do
        case $word in
        linux-source-*="$HAVE") ;;
        linux-source-*) echo "E: no such version" >&2; exit 100 ;;
        esac
    done
    cp "$DEBS"/*.deb . ;;
esac
exit 0
"""


class Base(FakeApt):
    script_of_apt = APT

    def setUp(self):
        super().setUp()
        os.environ.update(SOURCE=str(self.top / "qemu_9.9.1+ds.orig.tar.xz"))
        self.patch(base, "UPDATED", set())
        self.patch(base, "KERNEL_PACKAGE", PACKAGE)

    def archive(self, path, top, files):
        tree = self.top / top
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        subprocess.run(["tar", "-C", self.top, "-cJf", path, top], check=True)

    def deb(self, name, fill):
        """A .deb of what fill(folder) puts into a folder."""
        work = self.top / "deb" / name
        (work / "DEBIAN").mkdir(parents=True, exist_ok=True)
        fill(work)
        (work / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: nobody <nobody@localhost>\nDescription: test\n")
        subprocess.run(["dpkg-deb", "-Znone", "-b", work, self.debs / f"{name}.deb"], check=True,
                       stdout=subprocess.DEVNULL)

    def linux(self, version):
        """The package of a source tree of one file, and an index that has it."""
        def fill(work):
            (work / "usr/src").mkdir(parents=True, exist_ok=True)
            self.archive(work / f"usr/src/{PACKAGE}.tar.xz", PACKAGE, {
                "Makefile": "VERSION = 9\nPATCHLEVEL = 9\nSUBLEVEL = 1\nEXTRAVERSION =\n"})
        self.deb(PACKAGE, fill)
        os.environ["HAVE"] = version

    def repository(self, name="linux"):
        self.said = io.StringIO()
        with contextlib.redirect_stdout(self.said):
            return base.repository(name)

    def calls(self, word):
        trace = self.top / "trace"
        return trace.read_text().count(f" {word}") if trace.exists() else 0

    def in_cache(self, *versions):
        host.claim_cache()
        for version in versions:
            repo = self.cache / "base" / version
            repo.mkdir(parents=True)
            cache.seal(repo)


class Fetched(Base):
    def test_linux(self):
        self.linux("9.9.2-1")
        repo = self.repository()
        self.assertEqual(repo, self.cache / "base/linux-9.9.2-1")
        self.assertEqual(base.version(repo, "linux"), "Linux 9.9.1")
        self.assertEqual(self.repository(), repo)
        self.assertEqual(self.calls("download"), 1)

    def test_qemu_and_the_meson_beside_it(self):
        self.archive(os.environ["SOURCE"], "qemu-9.9.1", {"VERSION": "9.9.1\n"})
        packages = "usr/lib/python3/dist-packages"

        def fill(work):
            (work / packages).mkdir(parents=True)
            (work / packages / "meson.py").touch()
        self.deb("meson", fill)
        repo = self.repository("qemu")
        self.assertEqual(repo, self.cache / "base/qemu-9.9.1")
        self.assertEqual(base.version(repo, "qemu"), "QEMU 9.9.1")
        self.assertEqual(base.meson_path(), repo / "meson" / packages)
        self.assertTrue((base.meson_path() / "meson.py").is_file())

    def test_another_release_of_qemu(self):
        """Beside the series' own base, which is the older one and stays the default."""
        self.archive(os.environ["SOURCE"], "qemu-9.9.1", {"VERSION": "9.9.1\n"})
        own = self.repository("qemu")
        self.archive(os.environ["SOURCE"], "qemu-10.9.2", {"VERSION": "10.9.2\n"})
        os.environ["HAVE"] = "1:10.9.2+ds-3"
        with base.qemu_release("10.9.2"):
            other = self.repository("qemu")
            self.assertEqual(base.version(other, "qemu"), "QEMU 10.9.2")
            os.environ["UPDATE"] = "1"
            self.assertEqual(self.repository("qemu"), other)
            os.environ["UPDATE"] = ""
        self.assertNotIn("QVER", os.environ)
        self.assertEqual(self.repository("qemu"), own)
        self.assertEqual(self.calls("source"), 2)

    def test_release_within_another(self):
        with base.qemu_release("10.9.2"):
            with base.qemu_release(""):
                self.assertIsNone(base.wanted_version("qemu"))
            self.assertEqual(base.wanted_version("qemu"), "10.9.2")

    def test_release_that_has_gone(self):
        os.environ["HAVE"] = "1:10.9.2+ds-3"
        with base.qemu_release("10.9.1"), self.assertRaisesRegex(
                base.Unavailable, "no source package of QEMU 10.9.1 .*there are 10.9.2"):
            self.repository("qemu")

    def test_no_package(self):
        with self.assertRaisesRegex(Failure, f"no package {PACKAGE} .*KSRC=DIR"):
            self.repository()
        # root may bring the index, others are told to
        self.assertEqual(self.calls("update"), 0 if os.geteuid() else 1)

    def test_version_that_is_not_there(self):
        self.linux("9.9.2-1")
        os.environ["KVER"] = "9.9.1-1"
        with self.assertRaisesRegex(Failure, "no such version; .*update.*there are 9.9.2-1$"):
            self.repository()
        self.assertIsNone(base.cached("linux", None))
        os.environ["KVER"] = "9.9.2-1"
        self.assertEqual(self.repository().name, "linux-9.9.2-1")

    def test_no_archive(self):
        self.patch(base, "machine_archive", lambda: None)
        with self.assertRaisesRegex(Failure, "QSRC=DIR"):
            self.repository("qemu")

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        for name in ("linux", "qemu"):
            with self.assertRaisesRegex(Failure, f"OFFLINE=1, and no {name} base"):
                self.repository(name)
        self.in_cache("linux-9.9.2-1")
        os.environ["UPDATE"] = "1"
        self.assertEqual(self.repository().name, "linux-9.9.2-1")
        self.assertFalse((self.top / "trace").exists())

    def test_cached(self):
        self.in_cache("linux-9.9.9-1", "linux-9.9.10-1", "linux-user-0123", "qemu-9.9.11")
        self.assertEqual(self.repository().name, "linux-9.9.10-1")
        os.environ["KVER"] = "9.9.9-1"
        self.assertEqual(self.repository().name, "linux-9.9.9-1")
        self.assertFalse((self.top / "trace").exists())

    def test_update_is_once_in_a_command(self):
        self.in_cache("linux-9.9.1-1")
        self.linux("9.9.2-1")
        self.assertEqual(self.repository().name, "linux-9.9.1-1")
        os.environ["UPDATE"] = "1"
        self.assertEqual(self.repository().name, "linux-9.9.2-1")
        self.assertEqual(self.repository().name, "linux-9.9.2-1")
        self.assertEqual(self.calls("policy"), 1)

    def test_cut_short_is_fetched_again(self):
        self.linux("9.9.2-1")
        repo = self.repository()
        pack, = (repo / "objects/pack").glob("*.pack")
        pack.chmod(0o600)
        os.truncate(pack, pack.stat().st_size - 1)
        cache.VERIFIED.clear()
        self.assertEqual(self.repository(), repo)
        self.assertRegex(self.said.getvalue(), "is not used: .*pack has ")
        self.assertIsNone(cache.damage(repo))
        self.assertEqual(base.version(repo, "linux"), "Linux 9.9.1")

    def test_broken_package_leaves_nothing(self):
        self.linux("9.9.2-1")
        (self.debs / f"{PACKAGE}.deb").write_text("no archive")
        with self.assertRaises(Failure):
            self.repository()
        self.assertEqual([p.name for p in (self.cache / "base").iterdir()], [])
        self.assertEqual(list((self.cache / "work").iterdir()), [])


class Trees(Base):
    def test_file_modes_and_links(self):
        self.archive(self.top / "x.tar.xz", PACKAGE, {"ä b": "", ".gitignore": "*\n", "run": "x"})
        tree = self.top / PACKAGE
        (tree / "run").chmod(0o755)
        (tree / "link").symlink_to("run")
        self.archive(self.top / "x.tar.xz", PACKAGE, {})
        for name, make in (("a", lambda repo: base.import_tar(self.top / "x.tar.xz", repo)),
                           ("b", lambda repo: base.snapshot(tree, repo))):
            repo = self.top / name
            repo.mkdir()
            make(repo)
        self.assertEqual(base.tree_id(self.top / "a"), base.tree_id(self.top / "b"))
        listed = process.run(["git", "-C", self.top / "a", "ls-tree", "-z", "refs/tags/base"])
        for word in ("120000", "100755", "ä b"):
            self.assertIn(word, listed)

    def test_archive_cut_short(self):
        self.archive(self.top / "x.tar.xz", PACKAGE, {"a": "text\n" * 1000})
        os.truncate(self.top / "x.tar.xz", (self.top / "x.tar.xz").stat().st_size // 2)
        (self.top / "a").mkdir()
        with self.assertRaisesRegex(Failure, "cannot be unpacked"):
            base.import_tar(self.top / "x.tar.xz", self.top / "a")

    def test_clone_that_was_interrupted(self):
        self.linux("9.9.2-1")
        repo, tree = self.repository(), self.top / "clone"
        (tree / ".git").mkdir(parents=True)         # killed in git init
        base.scratch_checkout(repo, tree)
        self.assertIn("VERSION = 9", (tree / "Makefile").read_text())
        (tree / ".git/index.lock").touch()          # killed in git checkout
        (tree / "Makefile").unlink()
        base.scratch_checkout(repo, tree)
        self.assertTrue((tree / "Makefile").exists())


if __name__ == "__main__":
    unittest.main()

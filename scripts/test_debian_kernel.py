# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Where Debian's kernels come from, with an apt that is a shell script."""

import glob
import os
import shutil
import subprocess
import unittest
from unittest import mock

from testing import FakeApt
from iopf import base, cache, debian_kernel, host
from iopf.errors import Failure

RELEASE = "9.9.1+deb-amd64"
# Knows the suites by the sources file that it is given. HAVE is a list of words
# SUITE=VERSION, the newest first; DOWN one of suites that do not answer. A package
# is the file of its name in DEBS, what it depends on the file NAME.depends.
APT = r"""#!/bin/sh
archives=.
for word; do
    case $word in
    Dir::Etc::sourcelist=*) suite=$(sed -n 's/^Suites: //p' "${word#*=}") ;;
    Dir::Cache::archives=*) archives=${word#*=} ;;
    esac
done
suite=${suite##* }
echo "$(basename "$0") $suite" >>"$TRACE"
for down in $DOWN; do
    if [ "$down" = "$suite" ]; then echo "E: ${WHY:-no route}" >&2; exit 100; fi
done
while [ "${1#-}" != "$1" ] && [ $# -gt 1 ]; do shift 2; done
verb=$1
shift
case $verb in
madison)
    for have in $HAVE; do
        [ "${have%%=*}" = "$suite" ] && echo " $1 | ${have#*=} | somewhere"
    done ;;
show) cat "$DEBS/${1%%=*}.depends" ;;
download) for name; do cp "$DEBS/${name%%=*}.deb" . || exit 100; done ;;
install) cp "$DEBS"/tool-*.deb "$archives" ;;
esac
exit 0
"""


class Apt(FakeApt):
    script_of_apt = APT

    def setUp(self):
        super().setUp()
        os.environ.update(DOWN="")

    def package(self, name, files=(), depends=""):
        """A .deb with files {path: bytes or the path of a program to copy}."""
        work = self.top / "work" / name
        (work / "DEBIAN").mkdir(parents=True)
        (work / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: nobody <nobody@localhost>\nDescription: test\n")
        for path, content in dict(files).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (work / path).write_bytes(content)
            else:
                shutil.copy(os.path.realpath(content), work / path)
        subprocess.run(["dpkg-deb", "-Znone", "-b", work, self.debs / f"{name}.deb"], check=True,
                       stdout=subprocess.DEVNULL)
        (self.debs / f"{name}.depends").write_text(f"Depends: {depends}\n")

    def kernel(self):
        """All packages of a kernel; its compiler is the program `echo`."""
        loader = subprocess.run(["ldd", "/bin/echo"], stdout=subprocess.PIPE, text=True,
                                check=True).stdout.split()
        loader, libc = loader[-2], loader[loader.index("libc.so.6") + 2]
        self.package("linux-image-amd64", depends=f"linux-image-{RELEASE} (= 1)")
        self.package(f"linux-image-{RELEASE}", {f"boot/vmlinuz-{RELEASE}": b"kernel",
                      f"boot/config-{RELEASE}": b"CONFIG_B=y\n"},
                     f"kmod, linux-modules-{RELEASE} (= 1), initramfs-tools | dracut")
        self.package(f"linux-modules-{RELEASE}",
                     {f"lib/modules/{RELEASE}/kernel/a.ko.xz": b"module"})
        self.package(f"linux-headers-{RELEASE}", {
            f"usr/src/linux-headers-{RELEASE}/.config": b"CONFIG_A=y\n",
            f"usr/src/linux-headers-{RELEASE}/Makefile":
                b"include /usr/src/linux-headers-9.9.1+deb-common/Makefile\n"},
            "linux-headers-9.9.1+deb-common (= 1), linux-kbuild-9.9.1+deb, gcc-99")
        self.package("linux-headers-9.9.1+deb-common", {
            "usr/src/linux-headers-9.9.1+deb-common/Makefile":
                b"all:\n\t@gcc-99 $(CURDIR)\n"})
        self.package("tool-gcc-99", {"usr/bin/gcc-99": "/bin/echo"})
        self.package("tool-libc6", {
            f"usr/lib64/{debian_kernel.LOADER}": loader, "usr/lib/x/libc.so.6": libc})

    def suites(self):
        lines = (self.top / "trace").read_text().split("\n")
        return list(dict.fromkeys(line.split()[-1] for line in lines if line))


class Choice(Apt):
    def test_series(self):
        for version, old, new in (("6.12.117-1", True, False), ("6.1.9-1", False, False),
                                  ("7.3.4-1~bpo13+1", False, True), ("6.13-1", False, True),
                                  ("6.2.1-1", False, False), ("10.0.1-1", False, True)):
            self.assertEqual(debian_kernel.is_wanted(version, "6.12"), old, version)
            self.assertEqual(debian_kernel.is_wanted(version, "newest"), new, version)

    def test_whole_kernel(self):
        """From the first suite that has it, usable at its place and at another one."""
        self.kernel()
        os.environ["HAVE"] = "forky=9.9.1-1 forky=6.12.9-1 sid=9.9.2-1"
        made, how = debian_kernel.path("newest")
        self.assertEqual((made.name, how), ("newest-9.9.1-1", "built"))
        self.assertEqual(self.suites(), ["trixie-backports", "forky"])
        self.assertEqual((made / "vmlinuz").read_bytes(), b"kernel")
        self.assertEqual((made / "config").read_text(), "CONFIG_A=y\n")
        self.assertTrue((made / "lib/modules" / RELEASE / "kernel/a.ko.xz").is_file())
        for place in (made, self.top / "moved"):
            if place != made:
                made.rename(place)
            env = debian_kernel.module_env(place, os.environ)
            said = subprocess.run(["make", "-s", "-C", place / "build"], env=env, check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
            self.assertEqual(said.strip(), os.path.realpath(place / "build"))

    def test_kernel_of_an_old_release(self):
        """It has the suite of that release, and nothing to build modules with."""
        self.kernel()
        os.environ["HAVE"] = "bookworm=6.1.9-1 trixie=6.12.9-1"
        made, how = debian_kernel.path("6.1")
        self.assertEqual((made.name, how), ("6.1-6.1.9-1", "built"))
        self.assertEqual(sorted(p.name for p in made.iterdir() if p.name[0] != "."),
                         ["config", "lib", "vmlinuz"])
        self.assertEqual((made / "config").read_text(), "CONFIG_B=y\n")
        self.assertEqual(self.suites(), ["bookworm"])

    def test_programs_use_their_own_loader(self):
        self.kernel()
        os.environ["HAVE"] = "sid=9.9.1-1"
        made, _ = debian_kernel.path("newest")
        for file in glob.glob(f"{made}/sdk/**/{debian_kernel.LOADER}", recursive=True):
            os.unlink(file)
        res = subprocess.run([made / debian_kernel.TOOLS / "gcc-99"], check=False,
                             stderr=subprocess.DEVNULL)
        self.assertNotEqual(res.returncode, 0)

    def test_suite_that_does_not_answer(self):
        self.kernel()
        os.environ.update(HAVE="sid=9.9.1-1", DOWN="trixie-backports forky")
        self.assertEqual(debian_kernel.path("newest")[0].name, "newest-9.9.1-1")

    def test_nowhere(self):
        os.environ.update(HAVE="trixie-backports=6.12.9-1", DOWN="forky")
        with self.assertRaises(debian_kernel.Unavailable) as caught:
            debian_kernel.path("newest")
        for word in ("none in trixie", "forky: ", "no route", "none in sid"):
            self.assertIn(word, str(caught.exception))
        self.assertEqual(cache.sizes(), [("work", 0, 0)])

    def test_full_disk_is_a_failure(self):
        """That is no lack of a kernel: its lanes must not be skipped for it."""
        os.environ.update(DOWN="trixie-backports", WHY="write (28: No space left on device)")
        with self.assertRaisesRegex(Failure, "free some space") as caught:
            debian_kernel.path("newest")
        self.assertNotIsInstance(caught.exception, debian_kernel.Unavailable)

    def test_no_archive(self):
        with mock.patch.object(base, "machine_archive", lambda: None):
            self.assertRaises(debian_kernel.Unavailable, debian_kernel.path, "6.12")

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        with self.assertRaisesRegex(debian_kernel.Unavailable, "OFFLINE=1"):
            debian_kernel.path("6.12")
        self.assertFalse((self.top / "trace").exists())

    def test_cached(self):
        host.claim_cache()
        for version in ("newest-9.9.9-1", "newest-9.9.10-1", "6.12-6.12.9-1"):
            folder = self.top / "cache/debian-kernel" / version
            folder.mkdir(parents=True)
            cache.seal(folder)
        (self.top / "cache/debian-kernel/newest-9.9.11-1").mkdir()
        self.assertEqual(debian_kernel.path("newest")[0].name, "newest-9.9.10-1")
        mark = self.top / "cache/debian-kernel/6.12-6.12.9-1" / cache.MANIFEST
        os.utime(mark, (1, 1))
        self.assertEqual(debian_kernel.path("6.12")[0].name, "6.12-6.12.9-1")
        self.assertGreater(mark.stat().st_mtime, 1, "prune must see that it was of use")
        self.assertFalse((self.top / "trace").exists())
        # a newer one was asked for, and there is none: the old one will do
        os.environ["UPDATE"] = "1"
        self.assertEqual(debian_kernel.path("newest")[0].name, "newest-9.9.10-1")
        self.assertTrue((self.top / "trace").exists())

    def test_broken_package_is_a_failure(self):
        """A package that is there and of no use must not look like none."""
        self.kernel()
        (self.debs / f"linux-modules-{RELEASE}.deb").write_text("no archive")
        os.environ["HAVE"] = "sid=9.9.1-1"
        with self.assertRaises(Failure) as caught:
            debian_kernel.path("newest")
        self.assertNotIsInstance(caught.exception, debian_kernel.Unavailable)
        self.assertEqual([p for p in (self.top / "cache/debian-kernel").iterdir()], [])


if __name__ == "__main__":
    unittest.main()

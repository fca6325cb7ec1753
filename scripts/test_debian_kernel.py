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

OWN = host.machine()
FOREIGN = {"x86": "arm64", "arm64": "x86"}[OWN]
PREFIX = debian_kernel.name("", OWN)
RELEASE = f"9.9.1+deb-{debian_kernel.DEBIAN_ARCH[OWN]}"
# Knows the suites by the sources file that it is given. HAVE is a list of words
# SUITE=VERSION, the newest first; DOWN one of suites that do not answer. A package
# is the file of its name in DEBS, what it depends on the file NAME.depends. What is
# downloaded or installed is noted in ASKED, with the architectures that apt was given.
APT = r"""#!/bin/sh
archives=.
for word; do
    case $word in
    Dir::Etc::sourcelist=*) suite=$(sed -n 's/^Suites: //p' "${word#*=}") ;;
    Dir::Cache::archives=*) archives=${word#*=} ;;
    APT::Architecture=*) archs=${word#*=} ;;
    APT::Architectures::=*) archs="$archs ${word#*=}" ;;
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
show) name=${1%%=*}; cat "$DEBS/${name%%:*}.depends" ;;
download)
    for name; do
        name=${name%%=*}
        echo "$name ($archs)" >>"$ASKED"
        cp "$DEBS/${name%%:*}.deb" . || exit 100
    done ;;
install)
    for name; do
        case $name in -*) ;; *) echo "tool $name ($archs)" >>"$ASKED" ;; esac
    done
    cp "$DEBS"/tool-*.deb "$archives" ;;
esac
exit 0
"""


class Apt(FakeApt):
    script_of_apt = APT

    def setUp(self):
        super().setUp()
        os.environ.update(DOWN="", ASKED=str(self.top / "asked"))

    def package(self, name, files=(), depends="", links=()):
        """A .deb with files {path: bytes or the path of a program to copy} and links."""
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
        for path, target in dict(links).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).symlink_to(target)
        subprocess.run(["dpkg-deb", "-Znone", "-b", work, self.debs / f"{name}.deb"], check=True,
                       stdout=subprocess.DEVNULL)
        (self.debs / f"{name}.depends").write_text(f"Depends: {depends}\n")

    def kernel(self, arch=OWN):
        """All packages of a kernel; its compiler is the program `echo`."""
        deb, triplet = debian_kernel.DEBIAN_ARCH[arch], debian_kernel.TRIPLET[arch]
        release = f"9.9.1+deb-{deb}"
        loader = subprocess.run(["ldd", "/bin/echo"], stdout=subprocess.PIPE, text=True,
                                check=True).stdout.split()
        loader, libc = loader[-2], loader[loader.index("libc.so.6") + 2]
        self.package(f"linux-image-{deb}", depends=f"linux-image-{release} (= 1)")
        self.package(f"linux-image-{release}", {f"boot/vmlinuz-{release}": b"kernel",
                      f"boot/config-{release}": b"CONFIG_B=y\n"},
                     f"kmod, linux-modules-{release} (= 1), initramfs-tools | dracut")
        self.package(f"linux-modules-{release}",
                     {f"lib/modules/{release}/kernel/a.ko.xz": b"module"})
        self.package(f"linux-headers-{release}", {
            f"usr/src/linux-headers-{release}/.config": b"CONFIG_A=y\n",
            f"usr/src/linux-headers-{release}/Makefile":
                b"include /usr/src/linux-headers-9.9.1+deb-common/Makefile\n"},
            "linux-headers-9.9.1+deb-common (= 1), linux-kbuild-9.9.1+deb, gcc-99")
        self.package("linux-headers-9.9.1+deb-common", {
            "usr/src/linux-headers-9.9.1+deb-common/Makefile":
                b"all:\n\t@gcc-99 $(CURDIR)\n"})
        self.package("tool-gcc-99", {"usr/bin/gcc-99": "/bin/echo"},
                     links={f"usr/{triplet}/bin/gcc": "../../bin/gcc-99"})
        self.package("tool-libc6", {
            f"usr/lib64/{debian_kernel.LOADERS[OWN]}": loader, "usr/lib/x/libc.so.6": libc})
        return release

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
        made, how = debian_kernel.path("newest", OWN)
        self.assertEqual((made.name, how), (f"{PREFIX}newest-9.9.1-1", "built"))
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
        made, how = debian_kernel.path("6.1", OWN)
        self.assertEqual((made.name, how), (f"{PREFIX}6.1-6.1.9-1", "built"))
        self.assertEqual(sorted(p.name for p in made.iterdir() if p.name[0] != "."),
                         ["config", "lib", "vmlinuz"])
        self.assertEqual((made / "config").read_text(), "CONFIG_B=y\n")
        self.assertEqual(self.suites(), ["bookworm"])

    def test_programs_use_their_own_loader(self):
        self.kernel()
        os.environ["HAVE"] = "sid=9.9.1-1"
        made, _ = debian_kernel.path("newest", OWN)
        for file in glob.glob(f"{made}/sdk/**/{debian_kernel.LOADERS[OWN]}", recursive=True):
            os.unlink(file)
        res = subprocess.run([made / debian_kernel.TOOLS / "gcc-99"], check=False,
                             stderr=subprocess.DEVNULL)
        self.assertNotEqual(res.returncode, 0)

    def test_program_through_a_link(self):
        """gcc finds its cross binutils by links from another folder."""
        self.kernel()
        os.environ["HAVE"] = "sid=9.9.1-1"
        made, _ = debian_kernel.path("newest", OWN)
        link = made / "sdk/usr" / debian_kernel.TRIPLET[OWN] / "bin/gcc"
        said = subprocess.run([link, "a"], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(said, "a\n")

    def asked(self):
        return (self.top / "asked").read_text().splitlines()

    def test_kernel_of_another_architecture(self):
        """Its packages are of that architecture, the programs of this machine's."""
        release = self.kernel(FOREIGN)
        os.environ["HAVE"] = "trixie-backports=9.9.1-1"
        made, _ = debian_kernel.path("newest", FOREIGN)
        self.assertEqual(made.name, f"{debian_kernel.name('newest', FOREIGN)}-9.9.1-1")
        own, deb = (debian_kernel.DEBIAN_ARCH[a] for a in (OWN, FOREIGN))
        archs = f"({own} {own} {deb})"
        self.assertEqual(sorted(self.asked()), sorted([
            f"linux-image-{release}:{deb} {archs}", f"linux-modules-{release}:{deb} {archs}",
            f"linux-headers-{release}:{deb} {archs}", f"linux-headers-9.9.1+deb-common {archs}",
            f"tool linux-kbuild-9.9.1+deb {archs}",
            f"tool gcc-99-{debian_kernel.TRIPLET[FOREIGN]} {archs}"]))
        env = debian_kernel.module_env(made, os.environ)
        said = subprocess.run(["make", "-s", "-C", made / "build"], env=env, check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(said.strip(), os.path.realpath(made / "build"))

    def test_tools_of_the_own_architecture(self):
        self.kernel()
        os.environ["HAVE"] = "trixie-backports=9.9.1-1"
        debian_kernel.path("newest", OWN)
        deb = debian_kernel.DEBIAN_ARCH[OWN]
        self.assertEqual([line for line in self.asked() if line.startswith("tool")], [
            f"tool linux-kbuild-9.9.1+deb ({deb} {deb})",
            f"tool gcc-99-{debian_kernel.TRIPLET[OWN]} ({deb} {deb})",
            f"tool gcc-99 ({deb} {deb})"])
        self.assertIn(f"linux-image-{RELEASE} ({deb} {deb})", self.asked())

    def test_architectures_are_kept_apart(self):
        host.claim_cache()
        for version in ("newest-9.9.9-1", "arm64-newest-9.9.10-1"):
            folder = self.top / "cache/debian-kernel" / version
            folder.mkdir(parents=True)
            cache.seal(folder)
        self.assertEqual(debian_kernel.path("newest", "x86")[0].name, "newest-9.9.9-1")
        self.assertEqual(debian_kernel.path("newest", "arm64")[0].name, "arm64-newest-9.9.10-1")

    def test_none_of_another_architecture(self):
        os.environ.update(HAVE="trixie-backports=6.12.9-1")
        with self.assertRaisesRegex(debian_kernel.Unavailable, f"'newest' for {FOREIGN}: none"):
            debian_kernel.path("newest", FOREIGN)

    def test_suite_that_does_not_answer(self):
        self.kernel()
        os.environ.update(HAVE="sid=9.9.1-1", DOWN="trixie-backports forky")
        self.assertEqual(debian_kernel.path("newest", OWN)[0].name, f"{PREFIX}newest-9.9.1-1")

    def test_nowhere(self):
        os.environ.update(HAVE="trixie-backports=6.12.9-1", DOWN="forky")
        with self.assertRaises(debian_kernel.Unavailable) as caught:
            debian_kernel.path("newest", OWN)
        for word in ("none in trixie", "forky: ", "no route", "none in sid"):
            self.assertIn(word, str(caught.exception))
        self.assertEqual(cache.sizes(), [("work", 0, 0)])

    def test_full_disk_is_a_failure(self):
        """That is no lack of a kernel: its lanes must not be skipped for it."""
        os.environ.update(DOWN="trixie-backports", WHY="write (28: No space left on device)")
        with self.assertRaisesRegex(Failure, "free some space") as caught:
            debian_kernel.path("newest", OWN)
        self.assertNotIsInstance(caught.exception, debian_kernel.Unavailable)

    def test_no_archive(self):
        with mock.patch.object(base, "machine_archive", lambda: None):
            self.assertRaises(debian_kernel.Unavailable, debian_kernel.path, "6.12", OWN)

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        with self.assertRaisesRegex(debian_kernel.Unavailable, "OFFLINE=1"):
            debian_kernel.path("6.12", OWN)
        self.assertFalse((self.top / "trace").exists())

    def test_cached(self):
        host.claim_cache()
        for version in ("newest-9.9.9-1", "newest-9.9.10-1", "6.12-6.12.9-1"):
            folder = self.top / "cache/debian-kernel" / f"{PREFIX}{version}"
            folder.mkdir(parents=True)
            cache.seal(folder)
        (self.top / f"cache/debian-kernel/{PREFIX}newest-9.9.11-1").mkdir()
        self.assertEqual(debian_kernel.path("newest", OWN)[0].name, f"{PREFIX}newest-9.9.10-1")
        mark = self.top / f"cache/debian-kernel/{PREFIX}6.12-6.12.9-1" / cache.MANIFEST
        os.utime(mark, (1, 1))
        self.assertEqual(debian_kernel.path("6.12", OWN)[0].name, f"{PREFIX}6.12-6.12.9-1")
        self.assertGreater(mark.stat().st_mtime, 1, "prune must see that it was of use")
        self.assertFalse((self.top / "trace").exists())
        # a newer one was asked for, and there is none: the old one will do
        os.environ["UPDATE"] = "1"
        self.assertEqual(debian_kernel.path("newest", OWN)[0].name, f"{PREFIX}newest-9.9.10-1")
        self.assertTrue((self.top / "trace").exists())

    def test_broken_package_is_a_failure(self):
        """A package that is there and of no use must not look like none."""
        self.kernel()
        (self.debs / f"linux-modules-{RELEASE}.deb").write_text("no archive")
        os.environ["HAVE"] = "sid=9.9.1-1"
        with self.assertRaises(Failure) as caught:
            debian_kernel.path("newest", OWN)
        self.assertNotIsInstance(caught.exception, debian_kernel.Unavailable)
        self.assertEqual([p for p in (self.top / "cache/debian-kernel").iterdir()], [])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Packages on a machine that has none yet, that is busy, or that is offline; and
nothing is looked at before it is there."""

import contextlib
import io
import os
import sys
import unittest

from testing import SCRIPTS, Sandboxed
from iopf import build, errors, host, packages

# dpkg-query and apt-get as shell scripts: $STATE/have lists what is installed,
# $STATE/busy how often the lock is held
DPKG = r"""#!/bin/sh
while read -r name version; do
    printf '%s\tamd64\t%s\tii \t\t, %s\n' "$name" "$version" "$(cat "$STATE/needs-$name" 2>&-)"
done <"$STATE/have"
"""
APT = r"""#!/bin/sh
echo "$*" >>"$STATE/calls"
busy=$(cat "$STATE/busy" 2>&-)
if [ "${busy:-0}" -gt 0 ]; then
    echo $((busy - 1)) >"$STATE/busy"
    echo "E: Could not get lock $LOCK. It is held by process 4711 (unattended-upgr)" >&2
    exit 100
fi
if [ -e "$STATE/broken" ]; then echo "E: Unable to locate package x" >&2; exit 100; fi
case " $* " in
*" install --no-remove "*)
    if [ -e "$STATE/excluded" ]; then
        echo "E: Packages need to be removed but remove is disabled." >&2
        exit 100
    fi ;;
esac
for word; do
    case $word in
    -*|*=*|update|install) ;;
    *) echo "$word 1.0" >>"$STATE/have" ;;
    esac
done
"""


class Machine(Sandboxed):
    def setUp(self):
        super().setUp()
        self.state = self.top / "state"
        (self.top / "bin").mkdir()
        self.state.mkdir()
        (self.state / "have").write_text("make 4.3\n")
        for name, text in (("dpkg-query", DPKG), ("apt-get", APT)):
            path = self.top / "bin" / name
            path.write_text(text)
            path.chmod(0o755)
        os.environ.update(PATH=f"{self.top}/bin:{os.environ['PATH']}", STATE=str(self.state),
                          LOCK="/var/lib/dpkg/lock-frontend")
        self.addCleanup(packages.MEMORY.clear)
        packages.MEMORY.clear()
        self.patch(packages.time, "sleep", lambda seconds: None)

    def install(self, *names):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            packages.install(list(names))
        return said.getvalue()

    def refused(self, *names):
        with self.assertRaises(errors.Failure) as caught:
            self.install(*names)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def calls(self):
        path = self.state / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def test_installs_what_is_missing(self):
        self.install("make", "gcc", "flex")
        self.assertEqual([line.split("install --no-remove -y")[-1] for line in self.calls()][1:],
                         [" --no-install-recommends gcc flex"])
        self.install("make", "gcc")
        self.assertEqual(len(self.calls()), 2)

    def test_compiler_for_32_bit_of_the_user(self):
        """apt would remove gcc-multilib for the cross compiler, without a question."""
        self.install("gcc-i686-linux-gnu", "libc6-dev-i386-cross")
        self.assertIn("gcc-i686-linux-gnu libc6-dev-i386-cross", self.calls()[-1])
        (self.state / "have").write_text("make 4.3\ngcc-multilib 12\n")
        packages.MEMORY.clear()
        calls = len(self.calls())
        self.install("gcc-i686-linux-gnu", "libc6-dev-i386-cross")
        self.assertEqual(len(self.calls()), calls)

    def test_cross_compiler_beside_that_of_the_user(self):
        (self.state / "have").write_text("make 4.3\ngcc-multilib 12\n")
        packages.MEMORY.clear()
        self.assertRegex(self.refused("make", "gcc-aarch64-linux-gnu"),
                         "gcc-aarch64-linux-gnu cannot .* beside gcc-multilib; .*paste.*remove")
        self.assertEqual(self.calls(), [])

    def test_foreign_architectures(self):
        for machine, wanted in (("x86", "gcc-aarch64-linux-gnu"),
                                ("arm64", "gcc-x86-64-linux-gnu")):
            self.patch(host, "machine", lambda: machine)
            self.assertEqual([name for name in packages.foreign() if name.startswith("gcc")],
                             [wanted])

    def test_busy(self):
        """apt's lock is held by another process: wait, and say for whom."""
        for number, lock in enumerate(("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend")):
            (self.state / "busy").write_text("3")
            os.environ["LOCK"] = lock
            said = self.install(f"gcc-{number}")
            self.assertEqual(said.count("waiting for"), 1, said)
            self.assertIn(f"process 4711 (unattended-upgr), which holds {lock}", said)

    def test_busy_for_ever(self):
        (self.state / "busy").write_text("1000000")
        self.patch(packages, "LOCK_WAIT", -1)
        self.assertRegex(self.refused("gcc"), "apt-get update failed: Could not get lock.*log ")

    def test_broken(self):
        (self.state / "broken").touch()
        self.assertRegex(self.refused("gcc"), "Unable to locate package x")

    def test_removes_nothing(self):
        """-y says yes to removals, too; gcc-multilib excludes every cross compiler."""
        (self.state / "excluded").touch()
        self.assertRegex(self.refused("gcc-aarch64-linux-gnu"),
                         "remove is disabled.*log .*gcc-multilib")

    def test_no_rights(self):
        self.patch(packages, "root_command", lambda: None)
        text = self.refused("make", "gcc", "flex")
        self.assertRegex(text, "paste.*apt-get update && .*apt-get install --no-remove -y "
                               "--no-install-recommends gcc flex$")
        self.assertEqual(self.calls(), [])

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        self.assertRegex(self.refused("gcc", "make"), "OFFLINE=1, and packages are missing: gcc;")
        self.assertEqual(self.calls(), [])
        self.install("make")

    def test_no_dpkg(self):
        self.patch(packages, "have_dpkg", lambda: False)
        self.patch(packages, "PROGRAMS", ["sh", "no-such-program"])
        self.assertRegex(self.refused("gcc"), "missing: no-such-program; there is no dpkg")
        self.patch(packages, "PROGRAMS", ["sh"])
        self.install("gcc")

    def test_versions_follow_what_is_needed(self):
        """A key changes with the library of a tool, and with nothing else."""
        def versions():
            packages.MEMORY.clear()
            return packages.versions(["sparse"])
        have = self.state / "have"
        have.write_text("sparse 1\nlibc6 2\nother 3\n")
        (self.state / "needs-sparse").write_text("libc6 (>= 2.3) | x, y:any")
        before = versions()
        have.write_text("sparse 1\nlibc6 2\nother 4\n")
        self.assertEqual(versions(), before)
        have.write_text("sparse 1\nlibc6 2+u1\nother 4\n")
        self.assertNotEqual(versions(), before)
        have.write_text("sparse 2\nlibc6 2\nother 4\n")
        self.assertNotEqual(versions(), before)

    def test_versions_without_dpkg(self):
        self.patch(packages, "have_dpkg", lambda: False)
        tool = self.top / "bin/sparse"
        tool.write_text("#!/bin/sh\necho 0.6.4\n")
        tool.chmod(0o755)
        before = packages.versions(["sparse"])
        self.assertIn("sparse: 0.6.4", before)
        tool.write_text("#!/bin/sh\necho 0.6.5\n")
        packages.MEMORY.clear()
        self.assertNotEqual(packages.versions(["sparse"]), before)


class NotBeforeItIsThere(Sandboxed):
    """What the first run installs half-way is seen by that very run."""

    def test_firmware(self):
        present = set()
        self.patch(os.path, "isdir", lambda p: p in present)
        self.patch(os.path, "exists", lambda p: os.path.dirname(str(p)) in present)
        self.assertRaisesRegex(errors.Failure, "bios-256k.bin.*seabios", host.firmware)
        present.add("/usr/share/seabios")
        self.assertEqual(host.firmware(), ["/usr/share/seabios"])

    def test_ccache(self):
        os.environ["PATH"] = str(self.top)
        self.assertEqual(build.cc(), "gcc")
        (self.top / "ccache").write_text("#!/bin/sh\n")
        (self.top / "ccache").chmod(0o755)
        self.assertEqual(build.cc(), "ccache gcc")

    def test_folders_and_jobs(self):
        for value in ("a", "b"):
            os.environ.update(OUT=str(self.top / value), IOPF_CACHE=str(self.top / value))
            self.assertEqual((host.out().name, host.cache().name), (value, value))
        os.environ.update(OUT="", IOPF_CACHE="", XDG_CACHE_HOME="", HOME=str(self.top), JOBS="3")
        self.assertEqual(host.out(), host.REPO / "out")
        self.assertEqual(host.cache(), self.top / ".cache/linux-iopf")
        self.assertEqual(host.jobs(), "3")
        os.environ["JOBS"] = "many"
        self.assertRaisesRegex(errors.Failure, "JOBS=many", host.jobs)

    def test_no_module_asks_the_machine_while_it_is_read(self):
        """A trap under all that looks at the machine, and then the modules."""
        code = """
import os, shutil, subprocess, sys
sys.path.insert(0, sys.argv[1])
import iopf.errors, ctypes, ctypes.util, unittest.mock, xml.etree.ElementTree
class Trap(dict):
    def get(self, *a): raise SystemExit(f"os.environ is read: {a}")
    __getitem__ = get
def trap(*a, **k): raise SystemExit(f"the machine is asked: {a}")
os.environ = Trap()
shutil.which = subprocess.Popen.__init__ = os.path.isdir = os.cpu_count = trap
import iopf.lanes, iopf.check, iopf.series, iopf.cache_tool
print("none")
"""
        status, said = self.command([sys.executable, "-c", code, SCRIPTS])
        self.assertEqual((status, said), (0, "none\n"))


class Kvm(Sandboxed):
    def test_refusals(self):
        own, other = host.machine(), {"x86": "arm64"}.get(host.machine(), "x86")
        self.assertRaisesRegex(errors.Failure, f"this lane is {other}", host.check_kvm, other)
        there, access = os.path.exists, os.access
        self.patch(os.path, "exists", lambda p: p != "/dev/kvm" and there(p))
        self.assertRaisesRegex(errors.Failure, "no /dev/kvm.*leave KVM=1", host.check_kvm, own)
        self.patch(os.path, "exists", lambda p: p == "/dev/kvm" or there(p))
        self.patch(os, "access", lambda p, mode: p != "/dev/kvm" and access(p, mode))
        self.assertRaisesRegex(errors.Failure, "group kvm", host.check_kvm, own)
        self.patch(os, "access", lambda p, mode: True)
        host.check_kvm(own)

    def test_asked_before_anything_is_built(self):
        code = ("import sys\nfrom iopf import errors, host, lanes\n"
                "def no(arch): raise errors.Failure('no kvm')\nhost.check_kvm = no\n"
                "sys.argv = ['build', 'run', 'vtd']\nsys.exit(errors.guard(lanes.main))\n")
        status, said = self.command([sys.executable, "-c", code], env={"KVM": "1"})
        self.assertEqual((status, said), (2, "error: no kvm\n"))

    def test_built_in_for_who_asks(self):
        for value, option in (("1", "--enable-kvm"), ("", "--disable-kvm")):
            os.environ["KVM"] = value
            self.assertEqual(build.accelerators(), [option])

    def test_other_architectures(self):
        self.patch(host, "machine", lambda: "arm64")
        self.assertEqual(build.compiler("x86"), "x86_64-linux-gnu-")
        self.assertEqual(build.compiler("arm64"), "")
        self.assertRaisesRegex(errors.Failure, "no architecture riscv; there are arm64 x86",
                               build.compiler, "riscv")
        os.environ["OFFLINE"] = "1"
        self.assertRaisesRegex(errors.Failure, "OFFLINE=1, and no busybox for amd64",
                               build.busybox, "x86")


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What a machine gets for the sake of its lane."""

import os
import tempfile
import unittest

import lanefile
import wake
from machine import KEXEC_CMDLINE, KEXEC_KERNEL, Machine
from test_cpio import unpack


class Machines(unittest.TestCase):
    def make(self, *plan: str, sleep: bool = False) -> Machine:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        kernel = os.path.join(folder.name, "kernel")
        with open(kernel, "wb") as file:
            file.write(b"image")
        lane = lanefile.load("mock")
        lane.sleep, lane.plan = sleep, list(plan)
        machine = Machine(lane, os.path.join(folder.name, "out"), kernel, "qemu", [])
        machine.make_initrd([], lane.plan, {})
        return machine

    def files(self, machine: Machine) -> dict[str, tuple[int, bytes]]:
        with open(machine.log("initrd"), "rb") as file:
            return unpack(file.read())

    def test_plain(self) -> None:
        machine = self.make("test kexec /bin/kexec")
        self.assertNotIn(KEXEC_KERNEL, self.files(machine))
        self.assertNotIn(KEXEC_CMDLINE, machine.argv(False)[-1].split())
        self.assertNotIn("-acpitable", machine.argv(False))

    def test_kexec(self) -> None:
        machine = self.make("kexec next /bin/kexec")
        self.assertEqual(self.files(machine)[KEXEC_KERNEL][1], b"image")
        self.assertIn(KEXEC_CMDLINE, machine.argv(False)[-1].split())

    def test_sleep(self) -> None:
        machine = self.make("test sleep /bin/sleep", sleep=True)
        argv = machine.argv(False)
        table = argv[argv.index("-acpitable") + 1].rpartition("data=")[2]
        with open(table, "rb") as file:
            self.assertEqual(file.read(), wake.table())

    def test_clock_that_counts_instructions(self) -> None:
        """KVM has no such one."""
        machine = self.make("test a /bin/a")
        machine.kvm = True
        for options, accel in (([], "kvm"), (["-icount shift=0"], machine.lane.accel)):
            machine.lane.options = options
            argv = machine.argv(False)
            self.assertEqual(argv[argv.index("-accel") + 1], accel)


if __name__ == "__main__":
    unittest.main()

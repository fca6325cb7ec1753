# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The runner as a program, on machines that are shell scripts."""

import lzma
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from test_kmodules import module

LIB = os.path.dirname(os.path.abspath(__file__))
GOOD = r"printf 'KTAP version 1\n1..1\n# iopf: start 1 a\nok 1 a\n# iopf: end\n'"
BAD = r"printf 'KTAP version 1\n1..1\n# iopf: start 1 a\nnot ok 1 a\n# iopf: end\n'"
DEMO = r"printf 'KTAP version 1\n1..1\n#> for a person\nok 1 demo\n# iopf: end\n'"
# What a machine does besides its report: it boots, and says so on its console
BOOT = r"""console=$(printf '%s\n' "$@" | sed -n 's/.*id=con,path=//p'); echo booted >"$console"
"""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Runner(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.pid_file = os.path.join(self.folder, "pid")
        for name in ("kernel", "initramfs"):
            with open(os.path.join(self.folder, name), "wb"):
                pass

    def argv(self, command: str, lane: str, script: str) -> list[str]:
        qemu = os.path.join(self.folder, "qemu")
        with open(qemu, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho $$ >{self.pid_file}\n{script}\n")
        os.chmod(qemu, 0o755)
        return [sys.executable, os.path.join(LIB, "lane"), command, "--out", self.folder,
                "--kernel", os.path.join(self.folder, "kernel"), "--qemu", qemu,
                "--initramfs", os.path.join(self.folder, "initramfs"), lane]

    def run_lane(self, script: str, command: str = "run", lane: str = "mock") -> tuple[int, str]:
        done = subprocess.run(self.argv(command, lane, script), capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_pass(self) -> None:
        status, text = self.run_lane(BOOT + GOOD)
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed"), text)

    def test_fail(self) -> None:
        status, text = self.run_lane(BOOT + BAD)
        self.assertEqual((status, text.splitlines()[-1]), (1, "0 passed, 1 failed"), text)
        self.assertIn(os.path.join(self.folder, "mock/ktap.log"), text)

    def test_silence_is_failure(self) -> None:
        self.assertEqual(self.run_lane(BOOT)[0], 1)
        self.assertEqual(self.run_lane("")[0], 1)

    def test_broken(self) -> None:
        status, text = self.run_lane("echo no such device >&2; exit 1")
        self.assertEqual(status, 2)
        self.assertIn("no such device", text)

    def test_killed_machine(self) -> None:
        self.assertEqual(self.run_lane(BOOT + GOOD + "\nkill -SEGV $$")[0], 1)

    def test_late_failure_of_the_emulator(self) -> None:
        self.assertEqual(self.run_lane(BOOT + GOOD + "\nexit 3")[0], 1)

    def absent(self, command: str, *lanes: str) -> tuple[int, str]:
        argv = self.argv(command, lanes[0], BOOT + GOOD)
        argv += [*lanes[1:], "--absent", "x86-stock-7.2=no package = none"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_absent_kernel_is_a_skip(self) -> None:
        status, text = self.absent("run", "stock-7.2")
        self.assertEqual((status, text.splitlines()[-1]), (0, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("skip    no kernel x86-stock-7.2: no package = none", text)
        self.assertFalse(os.path.exists(self.pid_file))

    def test_absent_kernel_among_others(self) -> None:
        status, text = self.absent("run", "stock-7.2", "mock")
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed, 1 skipped"))

    def test_absent_kernel_in_selfcheck(self) -> None:
        status, text = self.absent("selfcheck", "selfcheck/stale")
        self.assertEqual((status, text.splitlines()[-1]), (0, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("no package = none", text)

    def test_absent_kernel_that_is_needed(self) -> None:
        for command in ("demo", "shell"):
            status, text = self.absent(command, "stock-7.2")
            self.assertEqual(status, 2)
            self.assertIn("no package = none", text)

    def test_modules_follow_the_initramfs(self) -> None:
        status, text = self.run_lane(BOOT + GOOD, lane="stock-7.2")
        self.assertEqual((status, "give --modules" in text), (2, True), text)
        modules = os.path.join(self.folder, "modules.cpio")
        with open(modules, "wb") as file:
            file.write(b"the modules")
        # the machine looks at its initramfs, which is gone afterwards
        initrd = os.path.join(self.folder, "stock-7.2/initrd")
        script = f"{BOOT}grep -q 'the modules' {initrd} || exit 1\n{GOOD}"
        argv = self.argv("run", "stock-7.2", script)
        argv += ["--modules", f"x86-stock-7.2={modules}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_preload(self) -> None:
        """A kernel with its drivers in modules: they come from a folder of a package."""
        lanes = os.path.join(LIB, "../lanes")
        folder = os.path.join(self.folder, "lanes")
        shutil.copytree(lanes, folder)
        with open(os.path.join(folder, "x86.kernel"), "a", encoding="utf-8") as file:
            file.write("preload = virtio-pci\n")
        lib = shutil.copytree(LIB, os.path.join(self.folder, "lib"))
        argv = self.argv("run", "mock", BOOT + GOOD)
        argv[1] = os.path.join(lib, "lane")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, "give --module-tree" in done.stdout), (2, True),
                         done.stdout)
        argv += ["--module-tree", f"x86={self.folder}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertIn("no module virtio_pci, in " + self.folder, done.stdout)
        self.assertEqual(done.returncode, 2)
        with open(os.path.join(self.folder, "virtio_pci.ko.xz"), "wb") as file:
            file.write(lzma.compress(module()))
        argv = self.argv("run", "mock", f"{BOOT}grep -q /lib/modules/virtio_pci.ko "
                         f"{self.folder}/mock/initrd || exit 1\n{GOOD}")
        argv[1] = os.path.join(lib, "lane")
        argv += ["--module-tree", self.folder]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_demo_is_shown(self) -> None:
        status, text = self.run_lane(BOOT + DEMO, "demo", "vtd")
        self.assertEqual((status, text.splitlines()[1]), (0, "for a person"))

    def test_selfcheck(self) -> None:
        """A lane that must fail has to fail as it should, and only so."""
        cut = BOOT + r"printf 'KTAP version 1\n1..3\n# iopf: start 1 power-off\n'"
        self.assertEqual(self.run_lane(cut, "selfcheck", "selfcheck/no-end")[0], 0)
        for script in (GOOD, BAD, cut + "\nexit 3", cut.replace("1..3", "1..4")):
            self.assertEqual(self.run_lane(BOOT + script, "selfcheck", "selfcheck/no-end")[0], 1)
        self.assertEqual(self.run_lane(BOOT + BAD, "selfcheck", "selfcheck/pass")[0], 1)

    def test_nothing_stays_behind(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with subprocess.Popen(self.argv("run", "mock", "exec sleep 1000"),
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                while not os.path.exists(self.pid_file) or not os.path.getsize(self.pid_file):
                    time.sleep(0.01)
                with open(self.pid_file, encoding="utf-8") as file:
                    pid = int(file.read())
                process.send_signal(number)
                process.wait(60)
            os.unlink(self.pid_file)
            while is_alive(pid):    # for as long as it takes: the kernel does it
                time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()

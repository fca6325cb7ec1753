# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""One virtual machine: its initramfs, its command line, its life."""

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from typing import Callable, Optional

import ending
import wake
from cpio import Archive
from kmodules import add_preload
from lanefile import Lane, TestbedError
from load import start

PORT = "org.linux-iopf.ktap"
PLAN = "etc/iopf/plan"
# What a step "kexec" boots: the machine's own kernel, and the initramfs as the kernel
# has got it, which it keeps if it is told to.
KEXEC_KERNEL = "boot/kernel"
KEXEC_CMDLINE = "retain_initrd"
# The kernel sees real seconds, and an emulated CPU gets few of them on a busy
# machine: its watchdogs must be slower than the slowest host. An oops ends the run.
CMDLINE = ("panic=-1 oops=panic printk.devkmsg=on watchdog_thresh=60 "
           "rcupdate.rcu_cpu_stall_timeout=180 workqueue.watchdog_thresh=180")


class Machine:
    """Logs go to the folder `out`: console.log, ktap.log, qemu.log, cmdline."""

    def __init__(self, lane: Lane, out: str, kernel: str, qemu: str,
                 data: list[str], kvm: bool = False) -> None:
        self.lane = lane
        self.out = out
        self.kernel = kernel
        self.qemu = qemu
        self.data = data
        self.kvm = kvm
        self.kexec = any(step.split()[0] == "kexec" for step in lane.plan)
        self.status: Optional[int] = None
        self.timed_out = False
        os.makedirs(out)

    def log(self, name: str) -> str:
        return os.path.join(self.out, name)

    def make_initrd(self, parts: list[str], plan: list[str], files: dict[str, bytes],
                    module_tree: str = "") -> None:
        """The kernel unpacks archives that follow each other: parts, then the plan."""
        archive = Archive()
        if self.lane.preload:
            add_preload(archive, module_tree, self.lane.preload)
        text = "\n".join([f"timeout {self.lane.step_timeout}"] + plan) + "\n"
        archive.file(PLAN, text.encode())
        for path, content in files.items():
            archive.file(path, content, 0o755)
        try:
            if self.kexec:
                with open(self.kernel, "rb") as image:
                    archive.file(KEXEC_KERNEL, image.read())
            if self.lane.sleep:
                with open(self.log("wake.aml"), "wb") as out:
                    out.write(wake.table())
            with open(self.log("initrd"), "wb") as out:
                for part in parts:
                    with open(part, "rb") as source:
                        shutil.copyfileobj(source, out)
                    out.write(bytes(-out.tell() % 4))
                archive.write(out)
        except OSError as error:
            raise TestbedError(f"initramfs: {error}") from error

    def argv(self, interactive: bool) -> list[str]:
        lane = self.lane
        argv = [self.qemu, "-machine", lane.machine,
                "-accel", "kvm" if self.kvm and not lane.counts else lane.accel,
                "-cpu", lane.cpu, "-smp", lane.smp, "-m", lane.memory,
                "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        if not lane.kernel.arch.startswith("arm"):
            argv += ["-vga", "none"]
        for path in self.data:
            argv += ["-L", path]
        if lane.sleep:
            argv += ["-acpitable", "sig=SSDT,rev=2,data=" + self.log("wake.aml")]
        for option in lane.options:
            argv += option.split(maxsplit=1)
        for device in lane.devices:
            argv += ["-device", device]
        if interactive:
            argv += ["-chardev", "stdio,id=con,mux=on,signal=off,logfile="
                     + self.log("console.log"), "-mon", "chardev=con",
                     "-chardev", "file,id=ktap,path=" + self.log("ktap.log")]
        else:
            argv += ["-chardev", "file,id=con,path=" + self.log("console.log"),
                     "-chardev", "stdio,id=ktap,signal=off"]
        argv += ["-serial", "chardev:con"]
        if lane.port:
            argv += ["-device", "virtio-serial-pci",
                     "-device", f"virtserialport,chardev=ktap,name={PORT}"]
        return argv + ["-kernel", self.kernel, "-initrd", self.log("initrd"),
                       "-append", f"{lane.kernel.cmdline} {CMDLINE} {lane.cmdline}"
                       + (f" {KEXEC_CMDLINE}" if self.kexec else "")
                       + (" quiet" if interactive else "")]

    def _start(self, interactive: bool, **kwargs) -> subprocess.Popen:
        if not os.access(self.kernel, os.R_OK):
            raise TestbedError(f"no kernel image {self.kernel}")
        argv = self.argv(interactive)
        with open(self.log("cmdline"), "w", encoding="utf-8") as file:
            file.write(shlex.join(argv) + "\n")
        try:
            return start(argv, **kwargs)
        except OSError as error:
            raise TestbedError(f"cannot start {self.qemu}: {error.strerror}") from error

    def shell(self, on_tick: Callable[[], None]) -> int:
        """Gives the terminal to the machine. Returns QEMU's exit status."""
        terminal = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = self._start(True)
            try:
                while process.poll() is None:
                    on_tick()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(1)
                return process.returncode
            finally:
                process.kill()
                ending.reap(process)
                if terminal:    # a killed QEMU leaves it raw
                    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, terminal)
        finally:
            signal.signal(signal.SIGINT, handler)
            self._drop_initrd()

    def run(self, on_line: Callable[[str], None], on_tick: Callable[[], None]) -> None:
        """Runs to power-off or to the lane's limit, and leaves no process behind."""
        # there from the start: one that is missing at the end was taken away
        with open(self.log("console.log"), "wb"):
            pass
        with open(self.log("qemu.log"), "wb") as errors:
            # at the end of its input QEMU would take the port for disconnected
            process = self._start(False, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=errors, start_new_session=True)
        try:
            self._read_report(process, on_line, on_tick)
        finally:
            if process.poll() is None:
                process.kill()
            self.status = ending.reap(process)
            assert process.stdin and process.stdout
            process.stdin.close()
            process.stdout.close()
            self._drop_initrd()

    def _drop_initrd(self) -> None:
        try:
            os.unlink(self.log("initrd"))
        except FileNotFoundError:
            pass

    def _read_report(self, process: subprocess.Popen, on_line: Callable[[str], None],
                on_tick: Callable[[], None]) -> None:
        assert process.stdout
        end = time.monotonic() + self.lane.timeout
        rest = b""
        with selectors.DefaultSelector() as selector, \
                open(self.log("ktap.log"), "wb") as log:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < end:
                on_tick()
                if not selector.select(1):
                    continue
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                log.write(chunk)
                log.flush()
                *lines, rest = (rest + chunk).split(b"\n")
                if not chunk:
                    lines.append(rest)
                for line in lines:
                    on_line(line.decode("utf-8", "replace").rstrip("\r"))
                if not chunk:
                    break
        try:
            process.wait(max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.timed_out = True

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the tests of the scripts share: a place of their own, and patience."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

SCRIPTS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS))
from iopf import base, cache  # noqa: E402  (after the path is known)

PATIENCE = 120      # seconds for what takes none on an idle machine


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.02)


class Sandboxed(unittest.TestCase):
    """OUT and IOPF_CACHE in a folder that goes with the test."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = pathlib.Path(tmp.name).resolve()
        self.out, self.cache = self.top / "out", self.top / "cache"
        clean = {k: "" for k in ("Q", "V", "JSON", "JUNIT", "KVM", "FORCE", "OFFLINE", "UPDATE",
                                 "KSRC", "QSRC", "KVER", "JOBS", "DAYS")}
        patch = mock.patch.dict(os.environ, {
            **clean, "OUT": str(self.out), "IOPF_CACHE": str(self.cache),
            "PYTHONPATH": str(SCRIPTS)})
        patch.start()
        self.addCleanup(patch.stop)
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            os.environ.pop(name, None)

    def patch(self, where, name, value):
        patch = mock.patch.object(where, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def script(self, *args, **kw):
        """Run one of the scripts; returns its status and what it said."""
        return self.command([SCRIPTS / args[0], *args[1:]], **kw)

    def command(self, args, env=None, **kw):
        res = subprocess.run([str(a) for a in args], env={**os.environ, **(env or {})},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False,
                             timeout=PATIENCE * 2, **kw)
        return res.returncode, res.stdout

    def python(self, code, **kw):
        """A Python program beside us, with the scripts' modules."""
        proc = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, **kw)
        self.addCleanup(self.end, proc)
        return proc

    @staticmethod
    def end(proc):
        if proc.poll() is None:
            proc.kill()
        proc.wait()
        proc.stdout.close()


class FakeApt(Sandboxed):
    """apt-get and apt-cache are the shell script APT of the test's module, and
    the packages that it gives out lie in `debs`."""
    script_of_apt = ""

    def setUp(self):
        super().setUp()
        self.debs = self.top / "debs"
        for folder in ("bin", "debs"):
            (self.top / folder).mkdir()
        for name in ("apt-get", "apt-cache"):
            path = self.top / "bin" / name
            path.write_text(self.script_of_apt)
            path.chmod(0o755)
        os.environ.update(PATH=f"{self.top}/bin:{os.environ['PATH']}", HAVE="",
                          DEBS=str(self.debs), TRACE=str(self.top / "trace"))
        self.patch(base, "machine_archive", lambda: ("http://archive.invalid/debian", None))
        cache.VERIFIED.clear()

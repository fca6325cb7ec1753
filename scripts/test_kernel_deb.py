# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Which configuration the packaged kernel is built from, and what becomes of it."""

import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import base, cache, kernel_deb  # noqa: E402
from iopf.errors import Failure  # noqa: E402


class Configuration(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = pathlib.Path(tmp.name)
        self.versions = ["6.12.9-1", "6.12.8-1"]
        cache.VERIFIED.clear()
        for patch in (mock.patch.object(base, "apt_versions", lambda _name: self.versions),
                      mock.patch.object(kernel_deb, "fetch_config", lambda version, dest: (
                          dest / "config").write_text(f"of {version}")),
                      mock.patch.dict(os.environ, {
                          "IOPF_CACHE": str(self.top / "cache"), "KCONFIG_BASE": "",
                          "OFFLINE": ""})):
            patch.start()
            self.addCleanup(patch.stop)

    def text(self, base_name):
        return kernel_deb.base_config(self.top / base_name)[0]

    def test_of_the_very_version_else_the_newest(self):
        self.assertEqual(self.text("linux-6.12.8-1"), "of 6.12.8-1")
        self.assertEqual(self.text("linux-user-123"), "of 6.12.9-1")

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        with self.assertRaisesRegex(Failure, "KCONFIG_BASE"):
            self.text("linux-6.12.8-1")
        os.environ["OFFLINE"] = ""
        self.versions = ["6.12.10-1", "6.12.9-1"]
        for version in self.versions:
            self.text(f"linux-{version}")
        os.environ["OFFLINE"] = "1"
        self.assertEqual(self.text("linux-6.12.8-1"), "of 6.12.10-1")
        self.assertEqual(self.text("linux-6.12.9-1"), "of 6.12.9-1")
        for file in (self.top / "cache/config").glob("*6.12.10-1/config"):
            file.write_text("of")           # cut short
        cache.VERIFIED.clear()
        self.assertEqual(self.text("linux-6.12.8-1"), "of 6.12.9-1")

    def test_no_package(self):
        self.versions = []
        with self.assertRaisesRegex(Failure, "KCONFIG_BASE"):
            self.text("linux-6.12.8-1")

    def test_of_the_user(self):
        file = self.top / "mine"
        os.environ["KCONFIG_BASE"] = str(file)
        with self.assertRaisesRegex(Failure, "^KCONFIG_BASE=.*mine: .*name a kernel's .config"):
            self.text("linux-6.12.8-1")
        file.write_text("CONFIG_A=y\n")
        self.assertEqual(self.text("linux-6.12.8-1"), "CONFIG_A=y\n")

    def test_ours_comes_last_and_must_be_kept(self):
        with mock.patch.object(kernel_deb, "logged"):
            wanted = kernel_deb.configure(["make"], self.top, "CONFIG_IOMMUFD=m", {}, None)
        lines = (self.top / ".config").read_text().splitlines()
        self.assertGreater(lines.index("CONFIG_IOMMUFD=y"), lines.index("CONFIG_IOMMUFD=m"))
        for line in ("CONFIG_IOMMUFD=y", 'CONFIG_LOCALVERSION="-iopf"', "CONFIG_DEBUG_INFO_NONE=y"):
            self.assertIn(line, wanted)
        self.assertFalse([line for line in wanted if "TRUSTED_KEYS" in line])

    def test_packages(self):
        work, dest = self.top / "build/tree", self.top / "deb"
        work.mkdir(parents=True)
        (work.parent / "linux-image-0-stale.deb").touch()
        names = ("linux-headers-1.deb", "linux-image-1.deb", "linux-libc-dev_1.deb")

        def make(*_args, **_kw):
            for name in names:
                (work.parent / name).touch()
        with mock.patch.object(kernel_deb, "logged", make):
            made = kernel_deb.pack(["make"], work, dest, "1", {}, None)
        self.assertEqual([p.name for p in made], ["linux-image-1.deb", "linux-headers-1.deb"])
        self.assertEqual(sorted(dest.iterdir()), sorted(made))


if __name__ == "__main__":
    unittest.main()

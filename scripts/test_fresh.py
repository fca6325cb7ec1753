# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""How a first run is judged, and what a bare machine takes from this one."""

import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import base, fresh  # noqa: E402
from iopf.errors import Failure  # noqa: E402

PASTE = ("error: packages are missing; paste: sudo apt-get update && "
         "sudo apt-get install --no-remove -y --no-install-recommends a b\n")
DEB822 = """Types: deb
# bookworm of some day
URIs: http://archive.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://archive.invalid/debian-security/
Suites: bookworm-security
Components: main

Types: deb
URIs: http://archive.invalid/other
Suites: bookworm

Enabled: no
Types: deb
URIs: http://archive.invalid/debian
Suites: bookworm-backports
"""


class Judgement(unittest.TestCase):
    def fails(self, text, func, *args):
        with self.assertRaisesRegex(Failure, text) as caught:
            func(*args)
        self.assertEqual(caught.exception.status, 1)

    def test_refusal(self):
        self.assertEqual(fresh.judge_refusal(2, f"[1/5] packages ...\n{PASTE}"), ["a", "b"])
        as_root = PASTE.replace("paste:", "paste as root:").replace("sudo ", "")
        self.assertEqual(fresh.judge_refusal(2, as_root), ["a", "b"])
        self.fails("got 0", fresh.judge_refusal, 2, "make: *** Error 2\n")
        self.fails("got 2", fresh.judge_refusal, 2, PASTE + "error: and more\n")
        self.fails("got 1", fresh.judge_refusal, 2, PASTE + "Traceback (most recent\n")
        self.fails("no line to paste", fresh.judge_refusal, 2, "error: sorry\n")
        self.fails("status 2, got 1", fresh.judge_refusal, 1, PASTE)
        self.fails("status 2, got 0", fresh.judge_refusal, 0, PASTE)

    def test_run(self):
        fresh.judge_run("lane vtd\ndemo: passed, 48 transfers\n"
                        "demo --invalid: passed, 48 transfers\n")
        for text in ("", "lane vtd\n", "demo: failed\n",
                     "demo: passed, 48 transfers\ndemo --invalid: failed\n"):
            self.fails("demonstration", fresh.judge_run, text)

    def test_readme(self):
        self.assertEqual(fresh.readme_line("x\n\n    make run      # the demonstration\n"),
                         ["make", "run"])
        self.fails("README", fresh.readme_line, "make run\n    make running\n")


class Sources(unittest.TestCase):
    def test_deb822(self):
        text = fresh.sources_for(DEB822, "bookworm", "trixie")
        self.assertEqual([line for line in text.splitlines() if line.startswith("Suites")],
                         ["Suites: trixie trixie-updates", "Suites: trixie-security"])
        self.assertIn("Signed-By: /usr/share/keyrings/key.gpg", text)
        self.assertNotIn("bookworm", text)
        self.assertEqual(fresh.sources_for("Types: deb\nURIs: http://x.invalid/node\n",
                                           "bookworm", "trixie"), "")

    def test_lines(self):
        text = ("# deb http://archive.invalid/debian bookworm main\n"
                "deb [signed-by=/k] http://archive.invalid/debian bookworm main\n"
                "deb http://archive.invalid/debian-security bookworm-security main\n"
                "deb http://archive.invalid/other bookworm main\n")
        self.assertEqual(fresh.list_for(text, "bookworm", "trixie"),
                         "deb [signed-by=/k] http://archive.invalid/debian trixie main\n"
                         "deb http://archive.invalid/debian-security trixie-security main\n")


class Skips(unittest.TestCase):
    def test_reasons(self):
        good = {"os.geteuid": lambda: 0, "run": lambda _args: "amd64\n",
                "shutil.which": lambda name: name}
        reasons = (("root", "os.geteuid", lambda: 1000), ("amd64", "run", lambda _args: "arm64"),
                   ("debootstrap", "shutil.which", lambda name: None))
        for word, name, value in reasons:
            with mock.patch.object(base, "machine_archive", lambda: ("http://x.invalid", None)), \
                    mock.patch.dict(os.environ, {"OFFLINE": ""}), \
                    mock.patch("iopf.fresh.os.geteuid", {**good, name: value}["os.geteuid"]), \
                    mock.patch("iopf.fresh.run", {**good, name: value}["run"]), \
                    mock.patch("iopf.fresh.shutil.which", {**good, name: value}["shutil.which"]), \
                    self.assertRaisesRegex(fresh.Skip, word):
                fresh.refuse()

    def test_offline_and_no_archive(self):
        with mock.patch("iopf.fresh.os.geteuid", lambda: 0), \
                mock.patch("iopf.fresh.run", lambda _args: "amd64\n"), \
                mock.patch.object(base, "machine_archive", lambda: None):
            for offline, word in (("1", "OFFLINE"), ("", "no Debian archive")):
                with mock.patch.dict(os.environ, {"OFFLINE": offline}), \
                        self.assertRaisesRegex(fresh.Skip, word):
                    fresh.refuse()

    def test_a_namespace_that_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            tool = pathlib.Path(folder) / "unshare"
            tool.write_text("#!/bin/sh\necho unshare: not permitted >&2\nexit 1\n")
            tool.chmod(0o755)
            with mock.patch("iopf.fresh.os.geteuid", lambda: 0), \
                    mock.patch("iopf.fresh.run", lambda _args: "amd64\n"), \
                    mock.patch("iopf.fresh.shutil.which", lambda name: name), \
                    mock.patch.object(base, "machine_archive", lambda: ("u", None)), \
                    mock.patch.dict(os.environ, {"OFFLINE": "", "PATH": f"{folder}:/bin"}), \
                    self.assertRaisesRegex(fresh.Skip, "not permitted"):
                fresh.refuse()


if __name__ == "__main__":
    unittest.main()

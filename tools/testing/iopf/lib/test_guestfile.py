# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A user's files for a machine: where they go, and which cannot run there."""

import os
import struct
import tempfile
import unittest

import guestfile
import lanefile
from lanefile import TestbedError


def program(interpreter: str = "", machine: int = 62) -> bytes:
    """The head of an ELF program, which is all that is looked at."""
    name = interpreter.encode() + b"\0"
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<H", header, 18, machine)
    struct.pack_into("<Q", header, 0x20, 64)
    struct.pack_into("<HH", header, 0x36, 56, 2)
    load = struct.pack("<II", 1, 0).ljust(56, b"\0")
    second = struct.pack("<IIQQQQ", 3 if interpreter else 1, 0, 64 + 112, 0, 0, len(name))
    return bytes(header) + load + second.ljust(56, b"\0") + name


class GuestFile(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def put(self, name: str, data: bytes) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def test_place(self) -> None:
        self.assertEqual(guestfile.place("/a/prog"), ("root/prog", "/a/prog"))
        self.assertEqual(guestfile.place("/etc/x=/a/prog"), ("etc/x", "/a/prog"))
        for option in ("=x", "x=", "/=x", ""):
            with self.assertRaises(TestbedError):
                guestfile.place(option)

    def test_static(self) -> None:
        path = self.put("prog", program())
        self.assertEqual(guestfile.read([path], "x86"), {"root/prog": program()})

    def test_script(self) -> None:
        path = self.put("prog", b"#!/bin/sh\n")
        self.assertEqual(list(guestfile.read([path], "arm64")), ["root/prog"])

    def test_dynamic(self) -> None:
        path = self.put("prog", program("/lib64/ld.so"))
        with self.assertRaisesRegex(TestbedError, r"^\S+/prog is linked dynamically and the "
                                    "machine has no /lib64/ld.so; link it with -static"):
            guestfile.read([path], "x86")
        loader = self.put("ld.so", program())
        files = guestfile.read([path, f"/lib64/ld.so={loader}"], "x86")
        self.assertEqual(sorted(files), ["lib64/ld.so", "root/prog"])

    def test_of_another_machine(self) -> None:
        for data, arch in ((program(machine=183), "x86"), (program(), "arm64"),
                           (b"\x7fELF\x01\x01" + program()[6:], "x86")):
            with self.assertRaisesRegex(TestbedError, f"is no program for {arch}"):
                guestfile.read([self.put("prog", data)], arch)

    def test_damaged(self) -> None:
        for length in (4, 19, 30, 80):
            with self.assertRaises(TestbedError):
                guestfile.read([self.put("prog", program("/lib/ld.so")[:length])], "x86")

    def test_what_to_type(self) -> None:
        lines = guestfile.what_to_type(lanefile.load("vtd"), ["/a/prog"])
        self.assertEqual(lines[0], "/root/prog")
        self.assertIn("iopf probe 0000:01:00.0", lines)
        self.assertIn("/usr/libexec/iopf/iopf_vfio", lines)
        lines = guestfile.what_to_type(lanefile.load("mock"), [])
        self.assertFalse(any("iopf probe" in line for line in lines))


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Which modules are loaded, in what order, from files as packages have them."""

import io
import lzma
import os
import struct
import tempfile
import unittest

from cpio import Archive
from kmodules import PRELOAD, Tree, add_preload, modinfo
from lanefile import TestbedError


def module(depends: str = "") -> bytes:
    """The least ELF file that has a .modinfo."""
    info = f"license=GPL\0depends={depends}\0name=x\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    heads = [(0, 0, 0), (1, 64, len(info)), (10, 64 + len(info), len(names))]
    table = 64 + len(info) + len(names)
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 0x28, table)
    struct.pack_into("<HHH", header, 0x3a, 64, len(heads), 2)
    sections = b"".join(struct.pack("<I20xQQ24x", *head) for head in heads)
    return bytes(header) + info + names + sections


class Modules(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def put(self, path: str, data: bytes) -> None:
        full = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(lzma.compress(data) if path.endswith(".xz") else data)

    def order(self, *wanted: str) -> list[str]:
        return list(Tree(self.folder).load_order(list(wanted)))

    def test_modinfo(self) -> None:
        self.assertEqual(modinfo(module("a,b"))["depends"], "a,b")

    def test_not_a_module(self) -> None:
        whole = module("a")
        for data in (b"", b"text", whole[:40], whole[:len(whole) - 80],
                     whole.replace(b".modinfo", b".nothing")):
            with self.assertRaises(ValueError):
                modinfo(data)

    def test_what_a_module_needs_comes_first(self) -> None:
        self.put("kernel/a.ko.xz", module("b-b,c"))
        self.put("kernel/x/b-b.ko.xz", module("c"))
        self.put("kernel/y/c.ko", module())
        self.assertEqual(self.order("a"), ["c", "b_b", "a"])
        self.assertEqual(self.order("c", "a"), ["c", "b_b", "a"])
        self.assertEqual(self.order("b_b"), self.order("b-b"))

    def test_built_in(self) -> None:
        self.put("modules.builtin", b"kernel/virtio/virtio-ring.ko\n")
        self.put("kernel/a.ko", module("virtio_ring"))
        self.assertEqual(self.order("virtio-ring", "a"), ["a"])

    def test_missing(self) -> None:
        self.put("a.ko", module("b"))
        for name, text in (("z", "no module z, in"), ("a", "no module b, which a needs")):
            with self.assertRaisesRegex(TestbedError, text):
                self.order(name)

    def test_damaged(self) -> None:
        self.put("a.ko", module()[:30])
        with self.assertRaisesRegex(TestbedError, "a.ko"):
            self.order("a")
        with open(os.path.join(self.folder, "b.ko.xz"), "wb") as file:
            file.write(b"no xz")
        with self.assertRaisesRegex(TestbedError, "b.ko.xz"):
            self.order("b")

    def test_circle(self) -> None:
        self.put("a.ko", module("b"))
        self.put("b.ko", module("a"))
        with self.assertRaisesRegex(TestbedError, "need each other: a b a"):
            self.order("a")

    def test_archive(self) -> None:
        self.put("virtio-pci.ko.xz", module())
        archive = Archive()
        add_preload(archive, self.folder, ["virtio_pci"])
        self.assertEqual(archive.entries[PRELOAD][1], b"/lib/modules/virtio_pci.ko\n")
        self.assertEqual(archive.entries["lib/modules/virtio_pci.ko"][1], module())
        archive.write(io.BytesIO())


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The modules of a packaged kernel: which ones a lane needs, and in what order.

A distribution's package has them compressed and without the list of what
depends on what (depmod makes that on the machine where it is installed), so
each module is asked itself: its section .modinfo says.
"""

import lzma
import os
import struct

from cpio import Archive
from lanefile import TestbedError

PRELOAD = "etc/preload"
FOLDER = "lib/modules"
SUFFIXES = (".ko", ".ko.xz")

# ELF64: offsets in the file's header and in that of a section
_SHOFF, _SHENTSIZE, _SH_OFFSET = 0x28, 0x3a, 0x18


def _name(path: str) -> str:
    """As the kernel calls it: virtio-pci.ko.xz is virtio_pci."""
    base = os.path.basename(path)
    for suffix in SUFFIXES:
        if base.endswith(suffix):
            base = base[:-len(suffix)]
    return base.replace("-", "_")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read()
        return lzma.decompress(data) if path.endswith(".xz") else data
    except (OSError, lzma.LZMAError) as error:
        raise TestbedError(f"module {path}: {error}") from error


def modinfo(data: bytes) -> dict[str, str]:
    """What stands in .modinfo of a module; ValueError if it is none."""
    try:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        (table,) = struct.unpack_from("<Q", data, _SHOFF)
        size, count, names = struct.unpack_from("<HHH", data, _SHENTSIZE)
        heads = [(*struct.unpack_from("<I", data, table + number * size),
                  *struct.unpack_from("<QQ", data, table + number * size + _SH_OFFSET))
                 for number in range(count)]
        for name, start, length in heads:
            at = heads[names][1] + name
            if data[at:data.index(b"\0", at)] == b".modinfo":
                texts = data[start:start + length].decode("utf-8", "replace").split("\0")
                return dict(text.split("=", 1) for text in texts if "=" in text)
    except (struct.error, IndexError) as error:
        raise ValueError("cut short") from error
    raise ValueError("no section .modinfo")


class Tree:
    """The folder lib/modules/VERSION of a package, wherever it was unpacked."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.paths: dict[str, str] = {}
        self.builtin: set[str] = set()
        for root, _, files in os.walk(folder):
            for file in files:
                if file.endswith(SUFFIXES):
                    self.paths[_name(file)] = os.path.join(root, file)
                elif file == "modules.builtin":
                    with open(os.path.join(root, file), encoding="utf-8") as text:
                        self.builtin |= {_name(line.strip()) for line in text}

    def load_order(self, wanted: list[str]) -> dict[str, bytes]:
        """Name and content of each module to load, what a module needs before it.

        What is built into the kernel is left out.
        """
        order: dict[str, bytes] = {}
        for name in wanted:
            self._add(name.replace("-", "_"), order, [])
        return order

    def _add(self, name: str, order: dict[str, bytes], above: list[str]) -> None:
        if name in order or name in self.builtin:
            return
        if name in above:
            raise TestbedError(f"modules need each other: {' '.join(above + [name])}")
        if name not in self.paths:
            needed = f", which {above[-1]} needs" if above else ""
            raise TestbedError(f"no module {name}{needed}, in {self.folder}")
        data = _read(self.paths[name])
        try:
            needs = modinfo(data).get("depends", "")
        except ValueError as error:
            raise TestbedError(f"module {self.paths[name]}: {error}") from error
        for other in filter(None, needs.split(",")):
            self._add(other.replace("-", "_"), order, above + [name])
        order[name] = data


def add_preload(archive: Archive, folder: str, wanted: list[str]) -> None:
    """Put modules and the list that init loads them by into an initramfs."""
    lines = []
    for name, data in Tree(folder).load_order(wanted).items():
        archive.file(f"{FOLDER}/{name}.ko", data)
        lines.append(f"/{FOLDER}/{name}.ko\n")
    archive.file(PRELOAD, "".join(lines).encode())

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Archives in cpio's newc format, as an initramfs is made of.

The same entries always give the same bytes: no time, no owner, sorted names.
"""

import stat
from typing import BinaryIO


class Archive:
    """Collects entries; missing parent directories come by themselves."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[int, bytes, int, int]] = {}

    def add(self, path: str, mode: int, data: bytes = b"",
            major: int = 0, minor: int = 0) -> None:
        name = path.strip("/")
        parent = name.rpartition("/")[0]
        if parent and parent not in self.entries:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.entries[name] = (mode, data, major, minor)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.add(path, stat.S_IFREG | mode, data)

    def directory(self, path: str) -> None:
        self.add(path, stat.S_IFDIR | 0o755)

    def symlink(self, path: str, target: str) -> None:
        self.add(path, stat.S_IFLNK | 0o777, target.encode())

    def chardev(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        self.add(path, stat.S_IFCHR | mode, b"", major, minor)

    def write(self, out: BinaryIO) -> None:
        """Ends on a multiple of 512 bytes, so another archive can follow."""
        size = 0
        for ino, name in enumerate(sorted(self.entries), 1):
            size += _entry(out, ino, name, *self.entries[name])
        size += _entry(out, 0, "TRAILER!!!", 0, b"", 0, 0)
        out.write(bytes(-size % 512))


def _entry(out: BinaryIO, ino: int, name: str, mode: int, data: bytes,
           major: int, minor: int) -> int:
    raw = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (ino, mode, 0, 0, links, 0, len(data), 0, 0, major, minor, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    head += bytes(-len(head) % 4)
    body = data + bytes(-len(data) % 4)
    out.write(head)
    out.write(body)
    return len(head) + len(body)

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The writer of initramfs archives."""

import io
import stat
import unittest

from cpio import Archive


def unpack(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Reads one newc archive by its layout: 6 + 13 * 8 bytes, name, data."""
    entries: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at:at + 6] == b"070701", at
        fields = [int(data[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110:at + 110 + fields[11] - 1].decode()
        body = at + 110 + fields[11]
        body += -body % 4
        if name == "TRAILER!!!":
            return entries
        entries[name] = (fields[1], data[body:body + fields[6]])
        at = body + fields[6]
        at += -at % 4


class Cpio(unittest.TestCase):
    def write(self) -> bytes:
        archive = Archive()
        archive.file("/usr/bin/x", b"12345", 0o755)
        archive.symlink("bin/sh", "busybox")
        archive.chardev("dev/null", 1, 3)
        out = io.BytesIO()
        archive.write(out)
        return out.getvalue()

    def test_round_trip(self) -> None:
        entries = unpack(self.write())
        self.assertEqual(entries["usr/bin/x"], (stat.S_IFREG | 0o755, b"12345"))
        self.assertEqual(entries["bin/sh"], (stat.S_IFLNK | 0o777, b"busybox"))
        self.assertTrue(stat.S_ISCHR(entries["dev/null"][0]))
        self.assertTrue(stat.S_ISDIR(entries["usr"][0]))

    def test_parents_come_first(self) -> None:
        names = list(unpack(self.write()))
        self.assertLess(names.index("usr"), names.index("usr/bin"))
        self.assertLess(names.index("usr/bin"), names.index("usr/bin/x"))

    def test_same_bytes_and_padding(self) -> None:
        self.assertEqual(self.write(), self.write())
        self.assertEqual(len(self.write()) % 512, 0)


if __name__ == "__main__":
    unittest.main()

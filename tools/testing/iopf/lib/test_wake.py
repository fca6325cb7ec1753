# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The encoding of the ACPI table. That it does its work shows in the lane vtd-sleep."""

import unittest

import wake


def skip_length(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of a package begins and ends, as the specification says."""
    more = data[at] >> 6
    length = data[at] & (0xf if more else 0x3f)
    for place in range(more):
        length |= data[at + 1 + place] << (4 + 8 * place)
    return at + 1 + more, at + length


class Wake(unittest.TestCase):
    def test_integers(self) -> None:
        for value, code in ((0, "0a00"), (0xff, "0aff"), (0x100, "0b0001"),
                            (0xffff, "0bffff"), (0x80000060, "0c60000080")):
            self.assertEqual(wake.integer(value).hex(), code)

    def test_lengths(self) -> None:
        for size in (0, 1, 62, 63, 64, 1000, 4000):
            data = wake.package(bytes(size))
            begin, end = skip_length(data, 0)
            self.assertEqual((end, end - begin), (len(data), size))

    def test_method_is_all_that_follows(self) -> None:
        table = wake.table()
        name = table.index(b"\\_WAK")
        begin, end = skip_length(table, table.rindex(wake.METHOD, 0, name) + 1)
        self.assertEqual((begin, end), (name, len(table)))
        for *_, value in wake.CONFIGURATION:
            self.assertIn(wake.integer(value) + b"DATA", table)


if __name__ == "__main__":
    unittest.main()

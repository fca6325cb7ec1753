# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the Debian packages say of our files, without building them."""

import re
import unittest

from testing import Sandboxed
from iopf import deb, errors
from iopf.host import REPO


class Copyright(Sandboxed):
    """debian/copyright and the licences in the files."""

    def setUp(self):
        super().setUp()
        self.source = self.top / "deb" / "iopf-0"
        deb.copy_source(self.source)

    def test_every_file(self):
        deb.check_copyright(self.source)

    def test_file_that_is_not_named(self):
        (self.source / "unnamed.c").write_text(
            "// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT\n")
        with self.assertRaisesRegex(errors.Failure, "GPL-2.0-only of unnamed.c, which is LGPL"):
            deb.check_copyright(self.source)


class Symbols(unittest.TestCase):
    """What the library gives to programs is what its package says."""

    def test_each_of_the_map(self):
        version, text = re.search(r"^(LIBIOPF_[\d.]+) \{\s*global:(.*?)local:",
                                  (REPO / "tools/iommu/libiopf.map").read_text(),
                                  re.M | re.S).groups()
        packaged = (REPO / "packaging/debian/libiopf1.symbols").read_text()
        self.assertEqual(sorted(re.findall(r"\w+(?=;)", text)),
                         re.findall(rf"^ (\w+)@{version} ", packaged, re.M))


if __name__ == "__main__":
    unittest.main()

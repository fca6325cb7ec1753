# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The picture of a run has the run's text, less the builds."""

import pathlib
import sys
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import terminal_picture  # noqa: E402

RUN = ["[1/4] packages ...\n", "    ... 0m30s, log x\n", "lane vtd: <it> & more\n", "\n",
       "demo: passed, 48 transfers\n", "the second one\n"]


class Picture(unittest.TestCase):
    def test_lines(self):
        self.assertEqual(list(terminal_picture.shown(RUN)),
                         ["lane vtd: <it> & more", "", "demo: passed, 48 transfers"])

    def test_no_verdict(self):
        with self.assertRaisesRegex(SystemExit, "no line 'demo: passed'"):
            list(terminal_picture.shown(RUN[:4]))

    def test_text(self):
        root = ElementTree.fromstring("".join(
            terminal_picture.picture(list(terminal_picture.shown(RUN)))))
        texts = ["".join(t.itertext()) for t in root.iter() if t.tag.endswith("}text")]
        self.assertEqual(texts, ["$ make run", "lane vtd: <it> & more",
                                 "demo: passed, 48 transfers"])


if __name__ == "__main__":
    unittest.main()

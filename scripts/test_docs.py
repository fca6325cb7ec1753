# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The checks of the documentation find what they are for, each once."""

import contextlib
import io
import pathlib
import re
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import docs, process  # noqa: E402
from iopf.errors import Failure  # noqa: E402
from iopf.host import REPO  # noqa: E402

INDEX = "All\n===\n\n.. toctree::\n\n   other\n   below/more.rst\n   ours\n"


class Pages(unittest.TestCase):
    """A tree of two pages, of which the series adds one."""

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.top = pathlib.Path(self.tmp.name)
        self.docs = self.top / "tree/docs"
        (self.docs / "specs").mkdir(parents=True)
        (self.docs / "conf.py").write_text("project = 'x'\nhtml_theme = 'basic'\n")
        (self.docs / "specs/below").mkdir()
        self.write("below/more", "More\n====\n")
        self.write("index", INDEX)
        self.write("other", "Other\n==\n\nNot ours: :doc:`nowhere`.\n")
        self.write("ours", "Ours\n====\n\nSee :doc:`other`.\n")
        self.touched = ["docs/specs/ours.rst"]

    def write(self, name, text):
        (self.docs / "specs" / f"{name}.rst").write_text(text)

    def check(self):
        with contextlib.redirect_stdout(io.StringIO()), \
                contextlib.redirect_stderr(io.StringIO()):
            docs.check_pages(self.top / "tree", "qemu", self.touched,
                                   self.top / "work", self.top / "log")

    def refuse(self, pattern):
        with self.assertRaisesRegex(Failure, pattern):
            self.check()

    def test_good(self):
        self.check()
        self.assertTrue((self.top / "work/html/specs/ours.html").is_file())

    def test_contents_are_complete(self):
        self.touched.append("docs/specs/index.rst")
        self.check()

    def test_markup(self):
        self.write("ours", "Ours, short\n=====\n\ntext\n")
        self.refuse(r"docs/specs/ours\.rst:2: WARNING: Title underline too short")

    def test_link(self):
        self.write("ours", "Ours\n====\n\n:doc:`nowhere`\n")
        self.refuse("unknown document: 'nowhere'")

    def test_not_in_contents(self):
        self.write("index", INDEX.replace("   ours\n", ""))
        self.refuse("isn't included in any toctree")

    def test_contents_of_what_is_not_there(self):
        self.write("index", INDEX + "   absent\n")
        self.touched.append("docs/specs/index.rst")
        self.refuse("nonexisting document 'specs/absent'")

    def test_no_page(self):
        self.touched = ["hw/ours.c"]
        self.refuse("has no page")

    def test_sphinx_fails(self):
        (self.docs / "conf.py").write_text("no python\n")
        self.refuse("sphinx for the pages of the qemu series failed")


class Remarks(unittest.TestCase):
    """Whose remark it is: lines as sphinx 5 prints them."""

    def ours(self, line, *touched):
        return bool(list(docs.ours([line], pathlib.Path("/t"), "docs",
                                         pathlib.Path("/w/pages"), touched)))

    def test_page(self):
        line = "/w/pages/specs/a.rst:2: WARNING: Title underline too short."
        self.assertTrue(self.ours(line, "docs/specs/a.rst"))
        self.assertFalse(self.ours(line, "docs/specs/b.rst"))

    def test_comment_that_a_page_shows(self):
        line = "/w/pages/specs/a:102: ../hw/a.c:422: WARNING: Inline interpreted text"
        self.assertTrue(self.ours(line, "hw/a.c"))
        self.assertTrue(self.ours(line, "docs/specs/a.rst"))
        self.assertFalse(self.ours(line, "hw/b.c"))

    def test_absolute(self):
        self.assertTrue(self.ours("/t/docs/../hw/a.c:1: ERROR: x", "hw/a.c"))


class PagesToBuild(unittest.TestCase):
    def test_comments_shown(self):
        with tempfile.TemporaryDirectory() as tmp:
            tree = pathlib.Path(tmp)
            (tree / "docs").mkdir()
            (tree / "docs/a.rst").write_text(".. kernel-doc:: include/a.h\n   :internal:\n")
            (tree / "docs/b.rst").write_text(".. kernel-doc:: include/b.h\n")
            found = docs.pages_to_build(tree, "docs", ["include/a.h"])
            self.assertEqual(list(found), ["a.rst"])


class Links(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.root = pathlib.Path(self.tmp.name)
        (self.root / "scripts").mkdir()
        (self.root / "scripts/build").touch()
        (self.root / "B.md").write_text("# B\n\n## What is it, really?\n")

    def links(self, text):
        return list(docs.broken_links("A.md", text, self.root))

    def files(self, text):
        return list(docs.missing_files("A.md", text, self.root))

    def test_links(self):
        self.assertEqual(self.links("[a](B.md) [b](B.md#what-is-it-really) [c](https://x/y)"), [])
        self.assertEqual(self.links("[a](C.md)"), ["A.md: no file C.md"])
        self.assertEqual(self.links("[a](B.md#other)"), ["A.md: no heading B.md#other"])
        self.assertEqual(self.links('<img src="c.svg">'), ["A.md: no file c.svg"])

    def test_code_is_no_link(self):
        self.assertEqual(self.links("```\n[a](C.md)\n```\n"), [])

    def test_files(self):
        self.assertEqual(self.files("`scripts/build` `scripts/` `scripts/b*` `make x`"), [])
        self.assertEqual(self.files("`scripts/none`"), ["A.md: there is no scripts/none"])
        self.assertEqual(self.files("`series/NN-slug.patch`"), [])


class Pictures(unittest.TestCase):
    def picture(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".svg") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" role="img">{text}</svg>')
            file.flush()
            return (docs.accessible(file.name),
                    list(docs.functions_shown(file.name)))

    def test_picture(self):
        named = '<title>a</title><desc>b</desc><text data-file="a.c"><tspan>f</tspan>()</text>'
        self.assertEqual(self.picture(named), (True, [("f", "a.c")]))
        self.assertEqual(self.picture("<title>a</title><text>f()</text>"), (False, []))


def matches(pattern, path):
    """As in the kernel: a folder with all below it, * but not over a slash."""
    parts = "[^/]*".join(re.escape(part) for part in pattern.split("*"))
    return re.match(parts + ("" if pattern.endswith("/") else "$"), path)


class Maintainers(unittest.TestCase):
    """MAINTAINERS names every file, and nothing that is not there."""

    def setUp(self):
        self.patterns = re.findall(r"^F:\t(\S+)$", (REPO / "MAINTAINERS").read_text(), re.M)
        self.files = process.git_files(REPO)

    def test_every_file(self):
        self.assertEqual([f for f in self.files
                          if not any(matches(p, f) for p in self.patterns)], [])

    def test_every_pattern(self):
        self.assertEqual([p for p in self.patterns
                          if not any(matches(p, f) for f in self.files)], [])

    def test_matches(self):
        self.assertTrue(matches("a/", "a/b/c.c"))
        self.assertTrue(matches("a/b*", "a/bcd"))
        self.assertFalse(matches("a/b*", "a/b/c"))
        self.assertFalse(matches("a/b", "a/bc"))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A picture of what a command printed, for the README.

    make run 2>&1 | scripts/terminal_picture.py > Documentation/pictures/run.svg

Lines of progress and of a build in the middle are left out; the text is not
changed otherwise, and stays text that can be read aloud, searched and copied.
"""

import re
import sys
from xml.sax.saxutils import escape

LINE, LETTER, LEFT, TOP = 19, 8.0, 24, 64
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img" aria-labelledby="title desc">
<title id="title">make run in a terminal</title>
<desc id="desc">What a real run printed:
{desc}</desc>
<style>
.t {{ font: 13.3px DejaVu Sans Mono, Menlo, Consolas, monospace; fill: #d5dce6; \
white-space: pre; }}
.b {{ fill: #ffffff; font-weight: bold; }}
.g {{ fill: #7ee2a0; }}
.d {{ fill: #93a1b3; }}
</style>
<rect x="0.5" y="0.5" width="{right}" height="{bottom}" rx="9" fill="#171c24" stroke="#56616f"/>
<circle cx="24" cy="20" r="6" fill="#e2695f"/><circle cx="44" cy="20" r="6" fill="#dfae4a"/>\
<circle cx="64" cy="20" r="6" fill="#62ba5a"/>
"""
BUILD = re.compile(r"^\[\d+/\d+\]|^ +(\.\.\. \d|installing|fetching)")
KINDS = [("g", re.compile(r"passed|all bytes are right")),
         ("b", re.compile(r"^(\$ |lane |\d\. )")),
         ("d", re.compile(r"^ +group|\.\.\. \("))]


def kind(line):
    return next((name for name, pattern in KINDS if pattern.search(line)), "")


def shown(lines):
    """The demonstration: from the lane's name to the first verdict."""
    for line in lines:
        line = re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip("\n")).expandtabs()
        if not BUILD.search(line):
            yield line
        if line.startswith("demo: passed"):
            return
    sys.exit("error: no line 'demo: passed' in the input; give it what 'make run' printed")


def picture(lines):
    lines = ["$ make run", *lines]
    width = int(2 * LEFT + LETTER * max(map(len, lines)))
    height = TOP + LINE * len(lines)
    yield HEAD.format(width=width, height=height, right=width - 1, bottom=height - 1,
                      desc=escape("\n".join(lines)))
    for number, line in enumerate(lines):
        name = f"t {kind(line)}".strip()
        if line.strip():
            yield (f'<text class="{name}" x="{LEFT}" y="{TOP + LINE * number}" '
                   f'xml:space="preserve">{escape(line)}</text>\n')
    yield "</svg>\n"


if __name__ == "__main__":
    sys.stdout.writelines(picture(list(shown(sys.stdin))))

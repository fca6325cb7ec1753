# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the lane runner and the checks of the scripts count and write alike."""

import re
from dataclasses import dataclass
from typing import Optional

# What XML 1.0 has no way to write
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?")


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @classmethod
    def parse(cls, line: str) -> Optional["Count"]:
        """The other way of str(); None if the line is no count."""
        match = _LINE.fullmatch(line.strip())
        return cls(*[int(n or 0) for n in match.groups()]) if match else None

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")

    def __iadd__(self, other: "Count") -> "Count":
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self


def xml_text(text: object) -> str:
    """Anything as a text that XML can hold."""
    return _NOT_XML.sub("?", str(text))

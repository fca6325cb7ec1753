# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Finding a kernel's complaints in its console log.

A test that provokes one says so in the log itself, by way of /dev/kmsg:

    iopf: expect from here: PATTERN
    iopf: expect to here

Between the two, or up to the end of the step, what matches is no complaint.
"""

import re
from dataclasses import dataclass
from typing import Iterable, Sequence

# init's own lines ("iopf: ") and its report on a console ("ktap| ") quote programs
_NOT_KERNEL = re.compile(r"iopf: |ktap\| ")
_STAMP = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?")

_EXPECT_FROM = "iopf: expect from here: "
_EXPECT_TO = "iopf: expect to here"
# init's lines at both ends of a step: an allowance never outlives its test
_STEP = re.compile(r"iopf: (?:start|ok|not ok) \d+ ")

# At the start of a message, after the time stamp
_HEADS = re.compile("|".join((
    r"WARNING: ",
    r"(?:watchdog: )?BUG:? ",
    r"kernel BUG at ",
    r"Oops\b",
    r"general protection fault",
    r"(?:double|stack segment|divide error|invalid opcode)\b.*: \d{4}",
    r"[Uu]nable to handle ",
    r"Internal error: ",
    r"Kernel panic - not syncing",
    r"traps: PANIC",
    r"INFO: task .* blocked for more than",
    r"INFO: lockdep is turned off",
    r"INFO: trying to register non-static key",
    r"INFO: possible ",
    r"(?:rcu: )?INFO: rcu\S* .*stall",
    r"rcu: .*(?:stall|kthread starved)",
    r"KASAN: |KFENCE: |KCSAN: |KMSAN: ",
    r"UBSAN: ",
    r"ODEBUG: ",
    r"DEBUG_LOCKS_WARN_ON",
    r"refcount_t: ",
    r"list_(?:add|del).*corruption",
    r"Bad page ",
    r"(?:DMA-API|.*\bDMA-API): .*(?:device driver|overlapping|leak|error)",
    r"kmemleak: [1-9]\d* new suspected memory leak",
    r"workqueue: .*lockup|BUG: workqueue",
    r"irq \d+: nobody cared",
    r".*page allocation failure",
    r"DMAR: DRHD: handling fault status",
    r"DMAR: \[.*\] Request device .*fault",
    r"DMAR: \[.*fault ",
    r"DMAR: VT-d detected Invalidation",
    r"DMAR: .*(?:QI_DESC|Invalidation).*[Ee]rror",
    r".*AMD-Vi: (?:Event logged|Completion-Wait loop timed out|.*INVALID_)",
    r"arm-smmu-v3 .*(?:event: |event 0x|CMDQ error|EVTQ overflow|GERROR|"
    r"unexpected|CMD_SYNC timeout)",
)))

# Belong to a complaint; on their own they are one that has no known beginning
_TAILS = re.compile(r"Call [Tt]race:|---\[ (?:end trace|cut here)|RIP: \d{4}:")
_REACH = 150

# The record of an event of SMMUv3: its driver prints the four double words in lines of
# their own, which other processors' lines may come between. In a complaint they stand
# behind its first line.
_RECORD = re.compile(r"(arm-smmu-v3 [^ ]+: )event 0x[0-9a-f]+ received:$")
_RECORD_WORDS = 4
_RECORD_REACH = 20


@dataclass
class Splat:
    line: int       # in the log, from 1
    text: str
    test: str       # the step that ran

    def __str__(self) -> str:
        return f"{self.text} (during {self.test}, console line {self.line})"


class Expected:
    """The patterns that a test has announced, as of a line of the log."""

    def __init__(self) -> None:
        self.patterns: list[re.Pattern] = []

    def read(self, text: str) -> None:
        """Take note of a line that is not the kernel's; re.error if it is no pattern."""
        if text.startswith(_EXPECT_FROM):
            self.patterns.append(re.compile(text[len(_EXPECT_FROM):]))
        elif text == _EXPECT_TO or _STEP.match(text):
            self.patterns = []


def words(line: str) -> str:
    """What a line of the console says, without the time stamp."""
    return _STAMP.sub("", line.rstrip())


def _record(text: str, lines: Sequence[str], number: int) -> str:
    """The words of an event, which are somewhere below its line of that number."""
    head = _RECORD.match(text)
    if not head:
        return text
    found: list[str] = []
    word = re.compile(re.escape(head[1]) + r"\s(0x[0-9a-f]{16})$")
    for line in lines[number:number + _RECORD_REACH]:
        match = word.match(words(line))
        if match and len(found) < _RECORD_WORDS:
            found.append(match[1])
    return " ".join([text, *found])


def find(lines: Iterable[str], allowed: Sequence[str] = ()) -> list[Splat]:
    """The complaints, without those whose first line matches an allowed pattern."""
    exceptions = [re.compile(pattern) for pattern in allowed]
    expected = Expected()
    found: list[Splat] = []
    test = "boot"
    head = -_REACH
    lines = list(lines)
    for number, line in enumerate(lines, 1):
        text = words(line)
        if _NOT_KERNEL.match(text):
            if text.startswith("iopf: start "):
                test = text.split(None, 3)[3]
            try:
                expected.read(text)
            except re.error as error:
                found.append(Splat(number, f"{text}: not a pattern: {error}", test))
            continue
        is_head = bool(_HEADS.match(text))
        is_tail = bool(_TAILS.match(text)) and number - head > _REACH
        if not is_head and not is_tail:
            continue
        # "cut here" comes before the line that says what it is about
        if is_tail and "cut here" in text:
            continue
        head = number
        text = _record(text, lines, number)
        if not any(pattern.search(text) for pattern in exceptions + expected.patterns):
            found.append(Splat(number, text, test))
    return found

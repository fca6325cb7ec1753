# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What a person sees while a lane runs."""

import re
import shutil
import sys
import time
from typing import TextIO

from ktap import START_MARK, Result

DEMO_MARK = "#> "
# A demonstration's figures for other programs: "#demo NAME=VALUE ..."
SUMMARY_MARK = "#demo "
# A line of a file that is to come out of the machine
FILE_MARK = "#file "
HEARTBEAT = 30


class Screen:
    """Live progress: one line for each result, and for what runs on a terminal.

    To a stream that is not the standard output goes what stays, and nothing that tells
    how it goes on.
    """

    def __init__(self, demo: bool, quiet: bool, out: TextIO = sys.stdout) -> None:
        self.demo = demo
        self.quiet = quiet
        self.out = out
        self.live = out is sys.stdout
        self.terminal = out.isatty()
        self.step_start = self.shown = time.monotonic()
        self.step = "boot"
        self.plan = "?"
        self.transient = False
        self.summaries: list[dict[str, str]] = []
        self.file: list[str] = []

    def say(self, text: str) -> None:
        self.clear()
        print(text, file=self.out, flush=True)

    def line(self, line: str) -> None:
        if line.startswith(DEMO_MARK + SUMMARY_MARK):
            self.take_summary(line[len(DEMO_MARK + SUMMARY_MARK):])
        elif line.startswith(DEMO_MARK + FILE_MARK):
            self.file.append(line[len(DEMO_MARK + FILE_MARK):])
        elif line.startswith(DEMO_MARK) or line == DEMO_MARK.strip():
            if self.demo:
                self.say(line[len(DEMO_MARK):])
        elif line.startswith(START_MARK):
            number, _, self.step = line[len(START_MARK):].partition(" ")
            self.step = f"{number}/{self.plan} {self.step}"
            self.step_start = time.monotonic()
        elif re.match(r"1\.\.\d+$", line):
            self.plan = line[3:]

    def take_summary(self, text: str) -> None:
        self.summaries.append(dict(pair.split("=", 1) for pair in text.split()
                                   if "=" in pair))

    def clear(self) -> None:
        if self.transient:
            print("\r\033[K", end="", file=self.out, flush=True)
            self.transient = False

    def result(self, result: Result) -> None:
        seconds = time.monotonic() - self.step_start
        if not self.quiet and not self.demo:
            self.say("  " + row(result, self.plan, seconds))
        elif self.demo and not result.ok:
            self.say(f"{result.name}: {result.note or 'failed'}")

    def tick(self) -> None:
        now = time.monotonic()
        if not self.live or self.quiet or (self.demo and self.step != "boot"):
            return
        if self.terminal:
            text = f"  ...     {self.step} {now - self.step_start:.0f} s"
            print("\r\033[K" + text[:shutil.get_terminal_size().columns - 1], end="",
                  flush=True)
            self.transient = True
        elif now - self.shown > HEARTBEAT and now - self.step_start > HEARTBEAT:
            print(f"  ...     {self.step}: {now - self.step_start:.0f} s", flush=True)
            self.shown = now


def row(result: Result, plan: str, seconds: float) -> str:
    word = "skip" if result.skipped else "ok" if result.ok else "NOT OK"
    leaves = [leaf for _, leaf in result.leaves()]
    text = f"{word:7} {result.number or '?':>2}/{plan} {result.name:40}"
    if result.children:
        bad = sum(not leaf.ok for leaf in leaves)
        skipped = sum(leaf.ok and leaf.skipped for leaf in leaves)
        text += f" {len(leaves) - bad - skipped} ok"
        text += f", {bad} not ok" if bad else ""
        text += f", {skipped} skipped" if skipped else ""
    text += f"  {seconds:.1f} s"
    return text + (f"  ({result.note})" if result.note else "")

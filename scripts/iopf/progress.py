# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What a person sees of long work: steps, expected time, a table at the end.

Q=1 leaves only failures, waits and results; V=1 shows the output of every
command. On a terminal the line of the step at work is rewritten every second,
elsewhere a line is printed every half minute.
"""

import os
import re
import shutil
import sys
import time

from iopf import times

HEARTBEAT = 30
COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2"}


def quiet():
    return os.environ.get("Q") == "1"


def verbose():
    return os.environ.get("V") == "1" and not quiet()


def terminal(stream=None):
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def colour(text, name):
    if not terminal() or os.environ.get("NO_COLOR"):
        return str(text)
    return f"\033[{COLOURS[name]}m{text}\033[0m"


def clock(seconds):
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


class Screen:
    """One stream, and the line on it that will be rewritten."""

    def __init__(self):
        self.stream = None      # None: the standard output of the moment
        self.transient = False

    def out(self):
        return self.stream or sys.stdout

    def wipe(self):
        if self.transient:
            print("\r\033[K", end="", file=self.out(), flush=True)
            self.transient = False

    def say(self, text, always=False):
        self.wipe()
        if always or not quiet():
            print(text, file=self.out(), flush=True)

    def rewrite(self, text):
        width = shutil.get_terminal_size().columns - 1
        print("\r\033[K" + text[:width], end="", file=self.out(), flush=True)
        self.transient = True

    def raw(self, text):
        self.wipe()
        print(text, end="", file=self.out(), flush=True)


SCREEN = Screen()
say = SCREEN.say


class Watch:
    """Reads on in the log of a command that runs."""

    def __init__(self, log):
        self.log = log
        self.offset = log.stat().st_size if log.exists() else 0
        self.lines, self.tail = 0, b""

    def read(self):
        with open(self.log, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        self.lines += data.count(b"\n")
        self.tail = (self.tail + data)[-4096:]
        if verbose() and data:
            SCREEN.raw(data.decode(errors="replace"))

    def share(self, lines_before, lines_expected):
        """How much is done in percent, or None: by ninja's own count, or by the
        number of lines that the last run of this step printed."""
        counts = re.findall(rb"^\[(\d+)/(\d+)\]", self.tail, re.M)
        if counts:
            done, total = map(int, counts[-1])
            return min(99, 100 * done // total) if total else None
        if lines_expected:
            return min(99, 100 * (lines_before + self.lines) // lines_expected)
        return None


class Step:
    """A step at work. `fresh` says that it did something worth remembering."""

    def __init__(self, label, key):
        self.label, self.key = label, key
        self.start = self.shown = time.monotonic()
        self.lines = 0
        last = times.load().get(key, {})
        self.expected, self.expected_lines = last.get("seconds", 0), last.get("lines", 0)

    def spent(self):
        return time.monotonic() - self.start

    def text(self, watch):
        text = clock(self.spent())
        if self.expected:
            text += f" of about {clock(self.expected)}"
        share = watch.share(self.lines, self.expected_lines)
        return text + (f", {share} %" if share is not None else "")

    def tick(self, watch):
        """Called several times a second while a command of the step runs."""
        watch.read()
        if quiet() or verbose():
            return
        now = time.monotonic()
        if terminal(SCREEN.out()):
            if now - self.shown >= 1:
                SCREEN.rewrite(f"    {self.label}: {self.text(watch)}")
                self.shown = now
        elif now - self.shown >= HEARTBEAT:
            say(f"    ... {self.text(watch)}, log {watch.log}")
            self.shown = now

    def finish(self, watch):
        watch.read()
        self.lines += watch.lines
        SCREEN.wipe()

    def remember(self):
        times.record(self.key, self.spent(), self.lines)


class Nothing(Step):
    """For commands outside of any step."""

    def __init__(self):
        super().__init__("", "")


class Progress:
    """`[3/7] kernel x86 ... about 4m10s`, and a table of all steps."""
    current = None      # the step that commands report to

    def __init__(self, total=None):
        self.total, self.number, self.rows = total, 0, []

    def begin(self, text):
        self.number += 1
        label = f"[{self.number}/{self.total}] {text}" if self.total else text
        step = Step(text, text)
        Progress.current = step
        about = f" about {clock(step.expected)}" if step.expected > 5 else ""
        say(f"{label} ...{about}")
        return label, step

    def step(self, text, func, *args):
        """Run a step: a function that returns its product, or (product, how)."""
        label, step = self.begin(text)
        try:
            result = func(*args)
        finally:
            Progress.current = None
            SCREEN.wipe()
        product, how = result if isinstance(result, tuple) else (result, "")
        if how == "built":
            step.remember()
        say(f"{label} done in {clock(step.spent())}" + (f" ({how})" if how else ""))
        self.rows.append((text, how, step.spent()))
        return product

    def table(self):
        """The time of each step, where any of them took some."""
        if not verbose() and not any(how == "built" for _, how, _ in self.rows):
            return
        say("")
        for text, how, spent in self.rows:
            say(f"{text:32} {clock(spent):>7}  {how}")
        say(f"{'all steps':32} {clock(sum(row[2] for row in self.rows)):>7}\n")

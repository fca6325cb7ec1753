# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Reading a guest's report: KTAP version 1 as tools/testing/iopf/init writes it."""

import re
import time
from dataclasses import dataclass, field
from typing import Callable, Iterator, Optional

END_MARK = "# iopf: end"
START_MARK = "# iopf: start "

_RESULT = re.compile(r"(not )?ok\b(?: +(\d+))?(?: *- | +|$)(.*)")
_PLAN = re.compile(r"1\.\.(\d+)(?: *#\s*skip\b\s*(.*))?", re.I)
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(.*)")
_PLACE = re.compile(r"\.[ch]:\d+:")
_SKIP = re.compile(r"skip(?:ped)?\b[:\s]*(.*)", re.I)


def _cause(comments: list[str]) -> str:
    """What a failed test said last, but rather what it said with a place in a source."""
    places = [comment for comment in comments if _PLACE.search(comment)]
    return (places or comments)[-1][:300]


@dataclass
class Result:
    """One result line, and below it the results of its subtest."""
    ok: bool
    number: Optional[int]
    name: str
    note: str = ""
    skipped: bool = False
    seconds: float = 0.0    # since the result before it, or the start of the step
    children: list["Result"] = field(default_factory=list)

    def leaves(self, path: str = "") -> Iterator[tuple[str, "Result"]]:
        """(path, result) of each test that has no subtests."""
        path = f"{path}/{self.name}" if path else self.name
        if not self.children:
            yield path, self
        for child in self.children:
            yield from child.leaves(path)
        # a parent that failed for a reason of its own: a signal, a bad plan
        if self.children and not self.ok and not any(
                not leaf.ok for child in self.children for _, leaf in child.leaves()):
            yield path, self


@dataclass
class Level:
    """The results that stand at one indentation so far."""
    plan: Optional[int] = None
    plan_skip: Optional[str] = None
    results: list[Result] = field(default_factory=list)


class Report:
    """Takes the report line by line; `errors` says what is wrong with it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.levels: dict[int, Level] = {}
        self.errors: list[str] = []
        self.version = False
        self.ended = False
        self.bailed: Optional[str] = None
        self.running = "boot"
        self.comments: list[str] = []   # since the last result
        self.clock = clock
        self.last = self.step_start = clock()

    @property
    def plan(self) -> Optional[int]:
        return self.levels[0].plan if 0 in self.levels else None

    @property
    def results(self) -> list[Result]:
        return self.levels[0].results if 0 in self.levels else []

    def feed(self, line: str) -> Optional[Result]:
        """Returns the result if the line is one of the outermost level."""
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if not indent and text == END_MARK:
            self.ended = True
        elif not indent and text.startswith(START_MARK):
            self.running = text[len(START_MARK):].partition(" ")[2]
            self.comments = []
            self.last = self.step_start = self.clock()
        elif not indent and text == "KTAP version 1":
            self.version = True
        elif not indent and text.startswith("Bail out!"):
            self.bailed = text[len("Bail out!"):].strip()
        elif match := _PLAN.match(text):
            self._plan(indent, match)
        elif match := _RESULT.match(text):
            return self._result(indent, match)
        elif indent and text.startswith("# ") and text[2:].strip():
            self.comments = self.comments[-50:] + [text[2:].strip()]
        return None

    def _plan(self, indent: int, match: re.Match) -> None:
        level = self.levels.setdefault(indent, Level())
        if level.plan is not None:
            self.errors.append(f"two plans for one test (1..{level.plan}, 1..{match[1]})")
        level.plan = int(match[1])
        if not level.plan:
            level.plan_skip = match[2] or ""

    def _result(self, indent: int, match: re.Match) -> Optional[Result]:
        name, note = match[3], ""
        directive = _DIRECTIVE.search(name)
        if directive:
            name, note = name[:directive.start()], directive[1].strip()
        skip = _SKIP.match(note)
        result = Result(not match[1], int(match[2]) if match[2] else None, name.strip(),
                        skip[1] if skip else note, bool(skip) and not match[1])
        now = self.clock()
        result.seconds = now - (self.last if indent else self.step_start)
        self.last = now
        result.children = self._close(indent, result)
        if not result.ok and not result.children and self.comments:
            cause = _cause(self.comments)
            result.note += f": {cause}" if result.note else cause
        self.comments = []
        self.levels.setdefault(indent, Level()).results.append(result)
        return result if not indent else None

    def _close(self, indent: int, parent: Result) -> list[Result]:
        """Ends the subtests deeper than indent: they belong to parent."""
        deeper = sorted(key for key in self.levels if key > indent)
        if parent.ok:   # else it is a failure already, and says of what
            for key in deeper:
                self._check(self.levels[key], parent.name)
        children = self.levels[deeper[0]].results if deeper else []
        for key in deeper[1:]:
            if self.levels[key].results:
                self.errors.append(f"{parent.name}: subtest results without a parent")
        if deeper and self.levels[deeper[0]].plan_skip is not None and parent.ok:
            parent.skipped = True
            parent.note = parent.note or self.levels[deeper[0]].plan_skip or ""
        for key in deeper:
            del self.levels[key]
        return children

    def _check(self, level: Level, name: str) -> None:
        seen = len(level.results)
        if level.plan is None:
            # KUnit prints none above the parameters of a test
            if seen and not self.running.startswith("kunit "):
                self.errors.append(f"{name}: {seen} results without a plan")
        elif level.plan != seen:
            self.errors.append(f"{name}: planned {level.plan}, reported {seen}")
        for want, result in enumerate(level.results, 1):
            if result.number not in (None, want):
                self.errors.append(f"{name}: result {result.number} where {want} was due")
                break

    def finish(self) -> None:
        """To be called once, after the last line."""
        outer = self.levels.pop(0, Level())
        if self.ended and any(level.results for level in self.levels.values()):
            self.errors.append("subtest results without a parent")
        if outer.plan is not None and self.ended:
            self._check(outer, "plan")
        self.levels = {0: outer}

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Results for other programs: JUnit's XML, as CI servers read it, and JSON."""

import json
import os
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass, field
from typing import Callable

from judge import Failure
from ktap import Report
from lanefile import Lane, TestbedError
from tally import xml_text

VERSION = 1     # of the JSON; more keys may come without a new one


@dataclass
class Case:
    """A test. State: passed, failed, skipped, or error when the testbed is broken."""
    group: str
    name: str
    state: str
    seconds: float = 0.0
    kind: str = ""      # of a failure, as in [expect]
    text: str = ""


@dataclass
class Suite:
    """A lane, in one round."""
    lane: str
    kernel: str
    about: str
    round: int = 1
    seconds: float = 0.0
    log: str = ""
    cases: list[Case] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(case.state == state for case in self.cases)


def suite(lane: Lane, number: int = 1, log: str = "") -> Suite:
    return Suite(lane.name, lane.kernel.name, lane.about, number, log=log)


def cases(report: Report, failures: list[Failure]) -> list[Case]:
    """Each test of a report, and each failure that is not one test's."""
    by_test = {failure.test: failure for failure in failures if failure.test}
    made = []
    for result in report.results:
        for path, leaf in result.leaves():
            group, _, name = path.rpartition("/")
            case = Case(group, name, "skipped" if leaf.skipped else "passed", leaf.seconds,
                        text=leaf.note)
            failure = by_test.get(path)
            if failure and (not leaf.ok or leaf.skipped):
                case.state, case.kind, case.text = "failed", failure.kind, failure.text
            made.append(case)
    return made + [Case("", failure.kind, "failed", 0.0, failure.kind, failure.text)
                   for failure in failures if not failure.test]


def _add_case(parent: ET.Element, lane: str, case: Case) -> None:
    element = ET.SubElement(
        parent, "testcase", name=xml_text(case.name), time=f"{case.seconds:.3f}",
        classname=xml_text(f"{lane}.{case.group.replace('/', '.')}" if case.group else lane))
    if case.state == "skipped":
        ET.SubElement(element, "skipped", message=xml_text(case.text))
    elif case.state in ("failed", "error"):
        tag = "failure" if case.state == "failed" else "error"
        text = xml_text(case.text)
        ET.SubElement(element, tag, message=text, type=case.kind or case.state).text = text


def _totals(suites: list[Suite]) -> dict[str, str]:
    return {"tests": str(sum(len(each.cases) for each in suites)),
            "failures": str(sum(each.count("failed") for each in suites)),
            "errors": str(sum(each.count("error") for each in suites)),
            "skipped": str(sum(each.count("skipped") for each in suites)),
            "time": f"{sum(each.seconds for each in suites):.3f}"}


def junit(suites: list[Suite]) -> str:
    root = ET.Element("testsuites", name="linux-iopf lanes", **_totals(suites))
    rounds = max((each.round for each in suites), default=1)
    for each in suites:
        name = f"{each.lane} (round {each.round})" if rounds > 1 else each.lane
        element = ET.SubElement(root, "testsuite", name=name, **_totals([each]))
        properties = ET.SubElement(element, "properties")
        for key, value in (("kernel", each.kernel), ("about", each.about), ("log", each.log)):
            ET.SubElement(properties, "property", name=key, value=xml_text(value))
        for case in each.cases:
            _add_case(element, name, case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def as_json(suites: list[Suite]) -> str:
    total = {state: sum(each.count(state) for each in suites)
             for state in ("passed", "failed", "skipped", "error")}
    return json.dumps({"version": VERSION, **total, "lanes": [asdict(each) for each in suites]},
                      indent=1) + "\n"


WRITERS: dict[str, Callable[[list[Suite]], str]] = {"junit": junit, "json": as_json}


class Output:
    """A file of results, which appears when all of them are in it.

    It is made before anything is booted, so that it cannot fail after an hour. A
    device or a pipe, /dev/stdout say, is written to and never replaced.
    """

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = os.path.realpath(path)
        self.special = os.path.exists(path) and not os.path.isfile(path)
        self.made = f"{self.path}.{os.getpid()}.new"
        if os.path.isdir(path):
            raise TestbedError(f"--{kind} {path}: Is a directory")
        if not self.special:
            self._write(self.made, "")

    def _write(self, name: str, text: str) -> None:
        try:
            with open(name, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            self.drop()
            raise TestbedError(f"--{self.kind} {self.path}: {error.strerror}") from error

    def publish(self, suites: list[Suite]) -> None:
        text = WRITERS[self.kind](suites)
        if self.special:
            self._write(self.path, text)
        else:
            self._write(self.made, text)
            os.replace(self.made, self.path)

    def drop(self) -> None:
        """If there is nothing to publish."""
        try:
            os.unlink(self.made)
        except OSError:
            pass

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Results of checks: counts, the ones that are kept, and files for other people's CI."""

import json
import xml.etree.ElementTree as xml

from iopf import cache, host
from iopf.errors import Failure
from iopf.testbed import Count, xml_text

class Result:
    """Of one check: its count, how long it took, and what it said if it failed."""

    def __init__(self, group, title, count, seconds=0.0, kept=False, text="", log=None):
        self.group, self.title, self.count, self.seconds = group, title, count, seconds
        self.kept, self.text, self.log = kept, text, log
        self.broken = False     # it failed by the testbed, and says nothing of what it tests
        self.cases = []     # of a run of lanes: <testsuite> elements

    def word(self):
        """For the table at the end."""
        if self.count.failed:
            return "FAILED" if self.count.failed == 1 and not self.count.passed else str(self.count)
        said = "passed" if self.count.passed <= 1 and not self.count.skipped else str(self.count)
        return f"{said} (kept)" if self.kept else said


class Kept:
    """The result of a check, kept under a key of all that it depends on."""

    def __init__(self, slug, key):
        """Without a key nothing is kept: what the result depends on is not known here."""
        self.path = host.cache() / "check" / f"{slug}-{key}" if key else None

    def load(self):
        """The count of a run that passed, or None."""
        if not self.path:
            return None
        try:
            count = Count.parse(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return count if count and count.passed and not count.failed else None

    def store(self, count):
        if not self.path:
            return
        host.claim_cache()
        cache.write_small(self.path, f"{count}\n")


def suite_of(results):
    """The checks as one JUnit suite, one test case each."""
    suite = xml.Element("testsuite", name="checks")
    for result in results:
        case = xml.SubElement(suite, "testcase", classname=result.group, name=result.title,
                              time=f"{result.seconds:.1f}")
        if result.count.failed:
            said = xml.SubElement(case, "failure", message=xml_text(result.text or result.count))
            said.text = xml_text(f"log: {result.log}" if result.log else result.text)
        elif result.count.skipped and not result.count.passed:
            xml.SubElement(case, "skipped", message=xml_text(result.text or "skipped"))
        out = xml.SubElement(case, "system-out")
        out.text = xml_text(f"{result.count}{' (kept)' if result.kept else ''}")
    count_into(suite)
    return suite


def count_into(suite):
    cases = suite.findall(".//testcase")
    suite.set("tests", str(len(cases)))
    for tag in ("failure", "error", "skipped"):
        plural = {"failure": "failures", "error": "errors"}.get(tag, tag)
        suite.set(plural, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time') or 0) for case in cases):.1f}")


def count_of(suite):
    """Of the cases in a suite."""
    states = [case_of(suite, case)["result"] for case in suite.iter("testcase")]
    return Count(*(states.count(state) for state in ("passed", "failed", "skipped")))


def read_suites(path):
    """The suites in a JUnit file of lib/lane; none if it wrote none."""
    try:
        root = xml.parse(path).getroot()
    except (OSError, xml.ParseError):
        return []
    return [root] if root.tag == "testsuite" else root.findall("testsuite")


def all_suites(results):
    checks = suite_of([r for r in results if not r.cases])
    lanes = [suite for r in results for suite in r.cases]
    return ([checks] if len(checks) else []) + lanes


def write_junit(path, results):
    root = xml.Element("testsuites", name="linux-iopf")
    root.extend(all_suites(results))
    count_into(root)
    xml.indent(root)
    replace(path, xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def case_of(suite, case):
    failed = case.find("failure") if case.find("failure") is not None else case.find("error")
    skipped = case.find("skipped")
    state = "failed" if failed is not None else "skipped" if skipped is not None else "passed"
    said = failed if failed is not None else skipped
    return {"suite": suite.get("name"), "class": case.get("classname"), "name": case.get("name"),
            "result": state, "seconds": float(case.get("time") or 0),
            "kept": (case.findtext("system-out") or "").endswith("(kept)"),
            "message": said.get("message") if said is not None else None}


def failures(result):
    """What failed of a check, a line each that says where."""
    if not result.count.failed:
        return []
    cases = [case_of(suite, case) for suite in result.cases for case in suite.iter("testcase")]
    found = [f"{case['suite']}: {case['name']}: {first_line(case['message'])}"
             for case in cases if case["result"] == "failed"]
    return found or [f"{result.title}: {first_line(result.text or str(result.count))}"]


def first_line(text):
    return ((text or "").strip().splitlines() or ["?"])[0][:200]


def write_json(path, results):
    total = Count()
    for result in results:
        total += result.count
    cases = [case_of(suite, case) for suite in all_suites(results)
             for case in suite.iter("testcase")]
    replace(path, json.dumps({"passed": total.passed, "failed": total.failed,
                              "skipped": total.skipped, "tests": cases}, indent=1) + "\n")


def replace(path, text):
    try:
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; the results are not written") from error

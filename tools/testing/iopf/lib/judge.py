# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What is wrong with a run: the rules by which a lane fails."""

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import Optional

import splat
from ktap import Report
from lanefile import Lane, TestbedError
from machine import Machine
from tally import Count

CONSOLE_MARK = "ktap| "

# A failure's kinds, as [expect] of a selfcheck lane names them
KINDS = ("timeout", "bail-out", "no-plan", "no-end", "plan-mismatch", "splat", "test",
         "kmemleak", "taint", "skip", "qemu")


@dataclass
class Failure:
    kind: str
    text: str
    log: str
    test: str = ""      # whose failure it is, if it is one test's


def read_lines(path: str) -> list[str]:
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\r\n") for line in file]


def console_report(lines: list[str]) -> list[str]:
    """The report of a machine without a port."""
    texts = map(splat.words, lines)
    return [text[len(CONSOLE_MARK):] for text in texts if text.startswith(CONSOLE_MARK)]


def _reason(path: str, table: dict[str, str]) -> Optional[str]:
    for pattern, reason in table.items():
        if fnmatch.fnmatchcase(path, pattern):
            return reason
    return None


def _report_failures(report: Report, ktap_log: str) -> list[Failure]:
    failures = []
    if report.bailed is not None:
        failures.append(Failure("bail-out", report.bailed, ktap_log))
    elif not report.version or report.plan is None:
        failures.append(Failure("no-plan", "the machine reported no plan", ktap_log))
    elif not report.ended:
        failures.append(Failure("no-end", f"the machine ended during {report.running}, after "
                                f"{len(report.results)} of {report.plan} results", ktap_log))
    failures += [Failure("plan-mismatch", error, ktap_log) for error in report.errors]
    return failures


def _test_failures(lane: Lane, report: Report, ktap_log: str) -> list[Failure]:
    failures = []
    for result in report.results:
        for path, leaf in result.leaves():
            if not leaf.ok:
                kind = path if path in ("kmemleak", "taint") else "test"
                failures.append(Failure(kind, f"{path}: {leaf.note or 'not ok'}", ktap_log,
                                        path))
            elif leaf.skipped and _reason(path, lane.skips) is None:
                failures.append(Failure("skip", f"{path}: unexpected skip: {leaf.note}",
                                        ktap_log, path))
    return failures


def _qemu_failures(machine: Machine, noise: dict[str, str]) -> list[Failure]:
    log = machine.log("qemu.log")
    failures = [Failure("qemu", line, log) for line in read_lines(log)
                if not any(re.search(pattern, line) for pattern in noise)]
    if machine.status and not machine.timed_out:
        failures.append(Failure("qemu", f"exit status {machine.status}", log))
    return failures


def judge(machine: Machine, report: Report) -> list[Failure]:
    """TestbedError if the machine did not even begin."""
    lane = machine.lane
    console_log, ktap_log = machine.log("console.log"), machine.log("ktap.log")
    if not os.path.exists(console_log):
        raise TestbedError(f"{console_log} is gone, and with it what the kernel said; "
                           "run the lane again, and leave its logs alone meanwhile")
    console = read_lines(console_log)
    if machine.status and not machine.timed_out and not console:
        errors = read_lines(machine.log("qemu.log"))
        raise TestbedError(f"QEMU failed (status {machine.status}): "
                           f"{errors[-1] if errors else 'no message'}; "
                           f"see {machine.log('qemu.log')}")
    failures = []
    if machine.timed_out:
        failures.append(Failure("timeout", f"not done after {lane.timeout} s, in "
                                f"{report.running}", console_log))
    else:
        failures += _report_failures(report, ktap_log)
    failures += [Failure("splat", str(found), console_log)
                 for found in splat.find(console, list(lane.splats))]
    failures += _test_failures(lane, report, ktap_log)
    return failures + _qemu_failures(machine, lane.noise)


def count(report: Report, failures: list[Failure]) -> Count:
    """Tests that passed; failures, each once, whatever they are of; skips."""
    leaves = [leaf for result in report.results for _, leaf in result.leaves()]
    skipped = sum(leaf.ok and leaf.skipped for leaf in leaves)
    unexpected = sum(failure.kind == "skip" for failure in failures)
    return Count(sum(leaf.ok and not leaf.skipped for leaf in leaves), len(failures),
                 skipped - unexpected)

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""All tests of the project, in the order in which they tell most.

    check            everything but deb and mutants-qemu
    check NAME...    some of: {names}

The result of a check is kept under a key of everything it reads and of the
version of all that runs in it, so what did not change is not checked again
(FORCE=1 does); so is that of a lane. The exit status is 1 if a test failed, and 2 if
the testbed did.
"""

import errno
import os
import re
import shutil
import subprocess
import tempfile
import time

from iopf import (base, checks, errors, fresh, host, lanes, lock, model_mutants, packages,
                  process, progress, results)
from iopf.errors import Ended, Failure, Parser
from iopf.patches import SERIES
from iopf.progress import clock, colour, say
from iopf.results import Kept, Result
from iopf.testbed import Count, lanefile

BOOTS = ["lanes", "selfcheck"]
# Only when they are named: lintian has more to say in each release, QEMU is built once for
# every mutant
WHEN_NAMED = {"deb", "mutants-qemu"}
# Failures that are named at the end
COMPLAINTS = 20
# What all of it takes on the disk of OUT (README)
ROOM = 10 * 10**9


def groups():
    return list(dict.fromkeys([c.group for c in checks.CHECKS] + BOOTS))


def run_check(label, check):
    """Run a check, or take the result that was kept of it."""
    slug = re.sub(r"\W+", "-", check.title)
    with lock.of_out(f"runs the check '{check.title}'"):
        try:
            kept = Kept(slug, checks.full_key(check))
            count = None if checks.forced() else kept.load()
            if count:
                say(f"{label}: {colour('passed', 'green')} (kept: nothing changed since)")
                return Result(check.group, check.title, count, kept=True)
            return run_fresh(label, check, kept, host.log(f"{slug}.log"))
        except (Failure, OSError, SyntaxError, lanefile.TestbedError) as failure:
            return failed(label, check, failure, 0.0, None)


def run_fresh(label, check, kept, log):
    step = progress.Step(check.title, f"check {check.title}")
    about = f" about {clock(step.expected)}" if step.expected > 5 else ""
    say(f"{label} ...{about}")
    progress.Progress.current = step
    try:
        count = check.func(log) or Count(1)
    except fresh.Skip as reason:
        say(f"{label}: skipped: {reason}")
        return Result(check.group, check.title, Count(skipped=1), step.spent(),
                      text=str(reason))
    except (Failure, OSError, SyntaxError, lanefile.TestbedError) as failure:
        return failed(label, check, failure, step.spent(), log)
    finally:
        progress.Progress.current = None
    step.remember()
    kept.store(count)
    say(f"{label}: {colour(count if count.passed > 1 else 'passed', 'green')} "
        f"in {clock(step.spent())}")
    return Result(check.group, check.title, count, step.spent(), log=log)


def failed(label, check, failure, seconds, log):
    text = explain(failure)
    say(f"{label}: {colour('FAILED', 'red')}: {text}" + (f"\n    log: {log}" if log else ""),
        always=True)
    result = Result(check.group, check.title, Count(0, 1), seconds, text=text, log=log)
    # that a command fails is what checks look for, unless the disk is full
    result.broken = (not isinstance(failure, (Failure, SyntaxError)) or
                     os.strerror(errno.ENOSPC) in text)
    return result


def explain(failure):
    return errors.explain(failure) if isinstance(failure, OSError) else str(failure)


def boot(command):
    """Run lanes that have not passed as they are; a list of results."""
    start = time.monotonic()
    result = Result(command, command, Count(), log=(
        host.out() / "log" / ("selfcheck" if command == "selfcheck" else "lanes") / "latest"))
    done, keep = [], {}
    with tempfile.TemporaryDirectory() as work:
        opts = lane_options(command, f"{work}/junit.xml")
        try:
            options = lanes.passed_on(command, opts)
            products = lanes.build_wanted(lanes.lanes_of(command, []))
            if command == "run":        # what selfcheck runs is the runner
                keep = {name: Kept(f"lane-{name}", checks.lane_key(name, product))
                        for name, product in products.items()}
            done = take_kept(keep)
            for each in done:
                del products[each.title]
            if done and not products:
                return done
            found, status = count_lines(command, lanes.lane_call(command, [], options, products))
        except (Failure, OSError, lanefile.TestbedError) as failure:
            say(f"{command}: {colour('FAILED', 'red')}: {explain(failure)}", always=True)
            result.text, found, status = explain(failure), None, 2
        result.cases = results.read_suites(f"{work}/junit.xml")
    result.seconds = time.monotonic() - start
    if not found or status > 1:
        result.text = result.text or f"the testbed is broken (exit {status})"
        say(f"{command}: {result.text}", always=True)
        result.count = Count(0, 1)
        result.broken = True
        result.cases = []       # one failed case says it, and not those that passed
    else:
        result.count = found
        if status and not found.failed:
            result.count.failed = 1
        store_passed(keep, result)
    return [*done, result]


def take_kept(keep):
    """The results of lanes that need not run."""
    done = []
    for name, kept in keep.items():
        count = None if checks.forced() else kept.load()
        if count:
            say(f"    {name}: {colour(count, 'green')} (kept)")
            done.append(Result("lanes", name, count, kept=True))
    return done


def store_passed(keep, result):
    """Keep what the suites of lanes say that passed, if they say all that was counted."""
    counts = {suite.get("name"): results.count_of(suite) for suite in result.cases}
    total = Count()
    for count in counts.values():
        total += count
    if total == result.count:
        for name, count in counts.items():
            if name in keep and not count.failed:
                keep[name].store(count)


def lane_options(command, junit):
    """What somebody who calls scripts/build gets, who leaves the machine to it."""
    opts = lanes.command_line().parse_args([command])
    opts.json, opts.junit = None, junit
    opts.at_once = str(lanes.several())
    return opts


def count_lines(command, call):
    """Let lib/lane print as it goes; returns its last count and its status."""
    found = None
    # the files of results are ours to write: lib/lane's are merged into them
    env = {k: v for k, v in process.plain_env().items() if k not in ("JSON", "JUNIT")}
    with process.child(call, env, stdout=subprocess.PIPE, encoding="utf-8", errors="replace",
                       bufsize=1) as proc:
        for line in proc.stdout:
            count = Count.parse(line)
            found = count or found
            say(f"{command}: {line.rstrip()}" if count else line.rstrip(), always=bool(count))
        status = proc.wait()
    return found, status


def table(done):
    say("", always=True)
    for result in done:
        name = "red" if result.count.failed else "green" if result.count.passed else "yellow"
        took = "" if result.kept else clock(result.seconds)
        say(f"{result.title:40} {took:>7}  {colour(result.word(), name)}", always=True)
    fresh = [r for r in done if not r.kept]
    say(f"{len(fresh)} of {len(done)} ran now, in {clock(sum(r.seconds for r in done))}; "
        f"the others are results of this machine that were kept", always=True)
    complaints(done)
    total = Count()
    for result in done:
        total += result.count
    return total


def complaints(done):
    """What failed, a line each, at the end: of a long log that is what is kept and read."""
    lines = [line for result in done for line in results.failures(result)]
    for line in lines[:COMPLAINTS]:
        say(f"failed: {line}", always=True)
    if len(lines) > COMPLAINTS:
        say(f"failed: {len(lines) - COMPLAINTS} more", always=True)


def parse_args():
    parser = Parser(prog="check", description=__doc__.format(names=" ".join(groups())))
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(groups()))
    lanes.add_options(parser)
    opts = parser.parse_args()
    lanes.apply_options(opts)
    lanes.refuse_release()
    unknown = sorted(set(opts.names) - set(groups()))
    if unknown:
        raise Failure(f"there is no check {' '.join(unknown)}; there are {' '.join(groups())}")
    opts.names = opts.names or [name for name in groups() if name not in WHEN_NAMED]
    if "mutants-qemu" in opts.names:
        model_mutants.wanted()      # says now if there is none of that name
    for name in ("json", "junit"):
        if getattr(opts, name):
            setattr(opts, name, lanes.writable(getattr(opts, name), name.upper()))
    return opts


def tell_room(names):
    """Now, not in half an hour, that the disk is likely to be too small."""
    out = host.out()
    free = shutil.disk_usage(out).free
    if "fresh" in names and free < ROOM:
        say(f"note: {free / 10**9:.1f} GB are free at {out}, all checks want about "
            f"{ROOM // 10**9}; free some space, or name another disk with OUT=DIR", always=True)


def run_all(opts, done):
    """Everything that was asked for; results are added to `done` as they come."""
    wanted = [c for c in checks.CHECKS if c.group in opts.names]
    boots = [name for name in BOOTS if name in opts.names]
    total = len(wanted) + len(boots)
    for number, check in enumerate(wanted, 1):
        done.append(run_check(f"[{number}/{total}] {check.title}", check))
    for number, name in enumerate(boots, len(wanted) + 1):
        say(f"[{number}/{total}] {name} ...")
        done += boot("run" if name == "lanes" else name)


def write_files(opts, done):
    if opts.junit:
        results.write_junit(opts.junit, done)
    if opts.json:
        results.write_json(opts.json, done)


def main():
    opts = parse_args()
    with lock.of_out("prepares the checks"):
        packages.install(packages.for_checks())
        for series in SERIES.values():
            base.repository(series.base)
    tell_room(opts.names)
    done = []
    try:
        run_all(opts, done)
    except Ended:
        if done:
            table(done)
        raise
    total = table(done)
    write_files(opts, done)
    print(total, flush=True)
    return exit_status(done)


def exit_status(done):
    if any(result.broken for result in done):
        return 2
    return 1 if any(result.count.failed for result in done) else 0

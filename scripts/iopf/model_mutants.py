# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Mutants of the QEMU series: each breaks one rule, and the test it names must notice.

Every file in tools/qemu/mutants is one: `Rule:`, `Test:` (program and path of a qtest)
and a diff on top of the series. QEMU is built once without any, all those tests have
to pass, and then once for each of them.
"""

import fnmatch
import os
import pathlib
import re
import subprocess
import typing

from iopf import base, build, host, patches, process, series
from iopf.errors import Failure
from iopf.process import run
from iopf.progress import say
from iopf.testbed import Count

FOLDER = patches.SERIES["qemu"].root / "mutants"
# The target of a test is that of the machine with which its path begins
TARGETS = {"virt": "aarch64", "smmuv3": "aarch64"}
OTHERS = "x86_64"
# Generous: only a mutant that hangs gets there
TEST_SECONDS = 600


class Mutant(typing.NamedTuple):
    name: str
    rule: str
    program: str
    path: str
    diff: str
    file: pathlib.Path

    @property
    def target(self):
        return TARGETS.get(self.path.split("/")[1], OTHERS)

    @property
    def emulator(self):
        return f"qemu-system-{self.target}"


def read(file):
    """A mutant from its file."""
    head, _, diff = file.read_text(encoding="utf-8").partition("\n\n")
    match = re.fullmatch(r"Rule: (.+)\nTest: (\S+-test) (/\S+)", head)
    if not match or not diff.startswith("diff --git "):
        raise Failure(f"{file}: wants a line 'Rule: ...', a line 'Test: PROGRAM /PATH', "
                      "an empty line and a diff")
    return Mutant(file.stem, *match.groups(), diff, file)


def every():
    return [read(file) for file in sorted(FOLDER.glob("*.diff"))]


def wanted():
    """Those that MUTANTS names by a pattern; all without."""
    pattern = os.environ.get("MUTANTS") or "*"
    found = [mutant for mutant in every() if fnmatch.fnmatch(mutant.name, pattern)]
    if not found:
        raise Failure(f"no mutant in {FOLDER} is called {pattern}")
    return found


def apply(tree, mutant, *options):
    """Put a mutant into the tree, or take it out again with -R."""
    try:
        run(["git", "-C", tree, "apply", *options, "-"], input=mutant.diff)
    except Failure as failure:
        raise Failure(f"mutant {mutant.name} does not fit the series any more: "
                      f"{process.cause(str(failure))}", 1) from failure


def test(work, env, mutant, log):
    """Run the one test; returns whether it passed."""
    path = f"/{mutant.target}{mutant.path}"
    env = {**env, "QTEST_QEMU_BINARY": f"./{mutant.emulator}"}
    command = [work / "tests/qtest" / mutant.program, "--tap", "-k", "-p", path]
    with open(log, "a", encoding="utf-8") as file, process.child(
            command, env, cwd=work, stdout=subprocess.PIPE, stderr=file,
            encoding="utf-8", errors="replace") as proc:
        try:
            said = proc.communicate(timeout=TEST_SECONDS)[0]
        except subprocess.TimeoutExpired:
            return False
        file.write(said)
    if proc.returncode:
        return False
    if not re.search(rf"^ok \d+ {re.escape(path)}$", said, re.M):
        raise Failure(f"mutant {mutant.name}: {mutant.program} has no test {mutant.path}", 1)
    return True


def place():
    """A tree of the series that is only for mutants: what a killed run left goes."""
    wanted_series = patches.SERIES["qemu"]
    repo = base.repository("qemu")
    tip = series.commit_series(repo, wanted_series, patches.BUILD_IDENT)[0]
    tree = host.out() / "qemu-mutants"
    if (tree / ".git").exists():
        series.git(tree, "checkout", "-q", "-f", "--", ".")
    series.put_tree(repo, tree, tip)
    return tree


def check(log):
    """Build and test QEMU without a mutant, then with each."""
    mutants = wanted()
    tree = place()
    with build.build_folder(host.out() / "build/qemu-mutants", keep=False) as work:
        env = build.configure_qemu(work, log, source=tree)
        programs = sorted({f"tests/qtest/{m.program}" for m in mutants})
        build.link_firmware(work)
        build.ninja(work, log, env, [*sorted({m.emulator for m in mutants}), *programs])
        for mutant in {(m.program, m.path): m for m in mutants}.values():
            if not test(work, env, mutant, log):
                raise Failure(f"{mutant.program} {mutant.path} fails without any mutant", 1)
        return judge([(m, survives(tree, work, env, m, log)) for m in mutants])


def survives(tree, work, env, mutant, log):
    apply(tree, mutant)
    try:
        build.ninja(work, log, env, [mutant.emulator])
        alive = test(work, env, mutant, log)
    finally:
        apply(tree, mutant, "-R")
    say(f"    {'SURVIVED' if alive else 'killed  '}  {mutant.name}: {mutant.path}")
    return alive


def judge(results):
    alive = [mutant.name for mutant, survived in results if survived]
    if alive:
        raise Failure(f"{len(alive)} of {len(results)} mutants survived: {' '.join(alive)}; "
                      "a test has to notice them", 1)
    return Count(len(results))

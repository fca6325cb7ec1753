# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The mutants of the kernel series: what the heads of ../mutants/*.diff say of them.

mutants/README says what may stand there.
"""

import configparser
import fnmatch
import os
import re
from dataclasses import dataclass

import lanefile
from lanefile import TestbedError

MUTANTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mutants")
KERNELS = "-mutants"    # what their names end with
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass
class Mutant:
    name: str
    out: str                # what it leaves out
    lane: str = ""
    test: str = ""          # as in the report: SUITE/TEST or PROGRAM/FIXTURE.TEST
    equivalent: str = ""    # why no test can see it


def _used(text: str) -> set[str]:
    return {name for line in text.splitlines() if line.startswith("+")
            for name in re.findall(r'iopf_mutant\("([^"]*)"\)', line)}


def _parse(path: str) -> list[Mutant]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            head, mark, diff = file.read().partition("\ndiff --git ")
        parser.read_string(head, path)
    except OSError as error:
        raise TestbedError(f"{path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise TestbedError(" ".join(f"{path}: {error}".split())) from error
    if not mark:
        raise TestbedError(f"{path}: no diff in it")
    mutants = [_mutant(path, parser[name]) for name in parser.sections()]
    named, used = {each.name for each in mutants}, _used(diff)
    for name in sorted(named ^ used):
        raise TestbedError(f"{path}: mutant {name} is "
                           + ("not in the diff" if name in named else "not described"))
    return mutants


def _mutant(path: str, section: configparser.SectionProxy) -> Mutant:
    name = section.name
    if not _NAME.fullmatch(name):
        raise TestbedError(f"{path}: {name} is no name for a mutant: a-z, 0-9 and -")
    unknown = set(section) - {"out", "test", "equivalent"}
    if unknown:
        raise TestbedError(f"{path}: mutant {name}: what is {sorted(unknown)[0]}?")
    if not section.get("out"):
        raise TestbedError(f"{path}: mutant {name}: out is missing, what it leaves out")
    if ("test" in section) == ("equivalent" in section):
        raise TestbedError(f"{path}: mutant {name}: either a test, or why it is equivalent")
    mutant = Mutant(name, section["out"], equivalent=section.get("equivalent", ""))
    if "test" in section:
        words = section["test"].split()
        if len(words) != 2 or "/" not in words[1]:
            raise TestbedError(f"{path}: mutant {name}: test = LANE STEP/TEST")
        mutant.lane, mutant.test = words
    return mutant


def load() -> list[Mutant]:
    """All of them, in the order of the files."""
    mutants: dict[str, Mutant] = {}
    for file in sorted(os.listdir(MUTANTS)):
        if not file.endswith(".diff"):
            continue
        for mutant in _parse(os.path.join(MUTANTS, file)):
            if mutant.name in mutants:
                raise TestbedError(f"two mutants are called {mutant.name}")
            mutants[mutant.name] = mutant
    return list(mutants.values())


def chosen(patterns: str) -> list[Mutant]:
    """Those of some names; TestbedError if there is none of one of them."""
    known = load()
    found = set()
    for pattern in patterns.split() or ["*"]:
        names = fnmatch.filter([each.name for each in known], pattern)
        if not names:
            raise TestbedError(f"no mutant is called {pattern}; there are "
                               f"{' '.join(each.name for each in known)}")
        found.update(names)
    return [each for each in known if each.name in found]


def kernel(arch: str) -> str:
    """The name of the kernel with all mutants of an architecture."""
    return f"{arch}{KERNELS}"


def architectures() -> list[str]:
    """Those that have such a kernel."""
    return [name[:-len(KERNELS)] for name in lanefile.kernel_names() if name.endswith(KERNELS)]


def architectures_of(mutants: list[Mutant]) -> list[str]:
    """Those whose lanes run the tests of some mutants."""
    return sorted({lanefile.load(mutant.lane).kernel.arch for mutant in mutants if mutant.test})

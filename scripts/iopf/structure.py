# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Which file needs which: by that no file may need itself."""

import pathlib
import re

from iopf.errors import Failure
from iopf.process import run


def circle(needs):
    """Names of a circle in {name: set of names}, the first one twice; None if there is none."""
    done = set()

    def follow(name, path):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return None
        for other in sorted(needs.get(name, ())):
            found = follow(other, path + [name])
            if found:
                return found
        done.add(name)
        return None

    return next(filter(None, (follow(name, []) for name in sorted(needs))), None)


def of_objects(objects):
    """{object: objects that define what it uses} by the symbols of object files."""
    defined, used = {}, {}
    for path in objects:
        used[path.name] = set()
        for line in run(["nm", "-g", path]).splitlines():
            *_, kind, symbol = line.split()
            if kind in "Uw":
                used[path.name].add(symbol)
            else:
                defined[symbol] = path.name
    return {name: {defined[s] for s in symbols & set(defined)} - {name}
            for name, symbols in used.items()}


def of_modules(folder):
    """{module: modules that it imports} of Python files in a folder."""
    files = {path.stem: path.read_text(encoding="utf-8")
             for path in pathlib.Path(folder).glob("*.py")}
    needs = {}
    for name, text in files.items():
        listed = re.findall(r"^ *(?:from [\w.]+ )?import (\([^)]*\)|.*)$", text, re.M)
        source = re.findall(r"^ *from ([\w.]+) import", text, re.M)
        words = {word for part in listed for word in re.findall(r"\w+", part)}
        needs[name] = (words | {part.rpartition(".")[2] for part in source}) & set(files) - {name}
    return needs


def refuse_circle(needs):
    """What has a circle in it can be understood, tested and changed only as a whole."""
    found = circle(needs)
    if found:
        raise Failure(f"files need each other in a circle: {' -> '.join(found)}", 1)
    if not any(needs.values()):
        raise Failure(f"none of {', '.join(sorted(needs)) or 'no files'} needs another", 1)

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Whether a part of the kernel that can be a module finds all that it uses.

The kernel's own check of that needs a whole kernel to be built. Here the objects of the
module alone are: what they do not define has to be exported in the source, and its
namespace imported by the module."""

import re

from iopf.errors import Failure
from iopf.process import run

EXPORT = re.compile(r"\bEXPORT_(?P<trace>TRACEPOINT_)?SYMBOL(?:_NS)?(?:_GPL)?\s*\(\s*(?P<name>\w+)"
                    r"(?:\s*,\s*\"?(?P<namespace>\w+))?")
# A macro that exports what it defines
DEFINES = re.compile(r"^define_dev_printk_level\((?P<name>\w+)", re.M)
# The first is made by modpost for each module, the others by the compiler for the linker
NOBODYS = re.compile(r"__this_module|_GLOBAL_OFFSET_TABLE_")


def names(tool, option, objects):
    """Symbols that `nm` lists, without the weak ones that may be missing."""
    lines = run([tool, option, *map(str, objects)]).splitlines()
    return {words[-1] for words in map(str.split, lines)
            if len(words) > 1 and words[-2] not in "wv"}


def exported(tree):
    """Namespace by symbol, "" for those without, of all that the source exports."""
    found = run(["git", "grep", "-hE", r"\bEXPORT_(TRACEPOINT_)?SYMBOL|^define_dev_printk_level"],
                cwd=tree)
    return {**{m["name"]: "" for m in DEFINES.finditer(found)},
            **{("__tracepoint_" if m["trace"] else "") + m["name"]: m["namespace"] or ""
               for m in EXPORT.finditer(found)}}


def imported(objects):
    """Namespaces that the module asks for."""
    data = b"".join(path.read_bytes() for path in objects)
    return {name.decode() for name in re.findall(rb"\bimport_ns=(\w+)\0", data)}


def check_module(tree, nm, objects):
    """A failure if a module of these objects could not be loaded."""
    have, spaces = exported(tree), imported(objects)
    wants = {s for s in names(nm, "-u", objects) if not NOBODYS.fullmatch(s)}
    wants -= names(nm, "--defined-only", objects)
    if not wants:
        raise Failure(f"{objects[0]}: uses nothing of the kernel, which cannot be")
    for name in sorted(wants):
        if name not in have:
            raise Failure(f"{name} is used by a module and not exported")
        if have[name] and have[name] not in spaces:
            raise Failure(f"{name} is used by a module that does not import {have[name]}")
    return len(wants)

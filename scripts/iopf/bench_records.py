# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the log of a counting QEMU says, and the table that is made of two of them.

The log has the lines of tools/testing/iopf/bench/count.c and those of QEMU's trace
events, in the order in which all of it happened.
"""

import fnmatch
import json
import re
import typing

MARK_KIND_BITS = 2              # as in bench/mark.h
BEGIN, READ, END = range(3)
# Of AMD-Vi these are the commands that its rows have, and those are not all there are.
TRACE_EVENTS = {
    "x86": ("vtd_reg_read", "vtd_reg_write", "vtd_inv_desc", "amdvi_whole_read",
            "amdvi_whole_write", "amdvi_completion_wait", "amdvi_inval_pages",
            "amdvi_inval_iotlb_pages"),
    "arm64": ("smmuv3_read_mmio", "smmuv3_write_mmio", "smmuv3_cmdq_opcode"),
}
LINE = re.compile(r"bench (?:mark (?P<mark>\d+)|(?P<halt>halt)) (?P<count>\d+)$|"
                  r"(?P<register>vtd_reg_(?:read|write)|amdvi_whole_(?:read|write)|"
                  r"smmuv3_(?:read|write)_mmio) |"
                  r"vtd_inv_desc invalidate desc type (?P<vtd>.+?) high |"
                  r"amdvi_(?P<amd>completion_wait|inval_pages|inval_iotlb_pages) |"
                  r"smmuv3_cmdq_opcode <--- SMMU_CMD_(?P<smmu>\w+)")
WAITS = ("wait", "completion_wait", "SYNC")


class Event(typing.NamedTuple):
    kind: str           # mark, halt, register, command
    count: int = 0      # instructions so far, of marks and halts
    mark: int = 0
    wait: bool = False  # of a command


class Round(typing.NamedTuple):
    """What one round of a row took."""
    read: int           # instructions until the requests were read; 0 without a mark for it
    all: int            # instructions until its end
    registers: int      # accesses to the IOMMU's registers
    commands: int       # in its invalidation queue, without those that wait
    waits: int


class Line(typing.NamedTuple):
    """A line of the table."""
    text: str
    row: str            # as the guest calls it
    what: str           # a field of Round


TABLE = [
    Line("group of 1 page: interrupt to read", "one-page", "read"),
    Line("group of 1 page: interrupt to read + MAP + write", "one-page", "all"),
    Line("group of 1 page: register accesses", "one-page", "registers"),
    Line("group of 512: interrupt to read", "group", "read"),
    Line("group of 512: all", "group", "all"),
    Line("group of 512: register accesses", "group", "registers"),
    Line("32 answers in one write()", "answers", "all"),
    Line("32 answers: commands", "answers", "commands"),
    Line("32 answers: waits", "answers", "waits"),
    Line("attach", "attach", "all"),
    Line("replace", "replace", "all"),
    Line("detach", "detach", "all"),
    Line("detach: commands", "detach", "commands"),
    Line("detach: waits", "detach", "waits"),
    Line("group of 1 page, map and answer in one call: all", "one-call", "all"),
    Line("group of 1 page, 8 devices attached: all", "devices", "all"),
    Line("group of 1 page, 1000 groups open: all", "many-open", "all"),
    Line("start with 128 MiB: pinned, 4 KiB pages", "pinned", "all"),
    Line("start with 128 MiB: pinned, huge pages", "pinned-huge", "all"),
    Line("start with 128 MiB: on demand, 5 % touched", "on-demand", "all"),
    Line("start with 1 GiB: pinned, 4 KiB pages", "pinned-gib", "all"),
    Line("start with 1 GiB: on demand, 5 % touched", "on-demand-gib", "all"),
    *[Line(f"{whose}: {nr} page{'s' * (nr > 1)}{how}{what and ', '}"
         f"{'register accesses' if what == 'registers' else what}",
           f"{row}-{each}{nr}", what or "all")
      for row, whose in (("inv", "invalidation, nested page table"),
                         ("guest", "invalidation, guest"),
                         ("amd-guest", "invalidation, guest on AMD-Vi"),
                         ("smmu-guest", "invalidation, guest on SMMUv3"))
      for each, nr, how in (("", 1, ""), ("", 32, " in one array"), ("each-", 32, " one by one"),
                            ("", 512, " in one array"), ("each-", 512, " one by one"))
      for what in ("", "commands", "waits", "registers")],
]
# Rows that cannot do without the IOMMU
TRACED = {line.row for line in TABLE if line.what == "waits"}


def wanted(patterns):
    """The rows of the table that one of some globs is about, all of them without one."""
    return [row for row in dict.fromkeys(line.row for line in TABLE)
            if not patterns or any(fnmatch.fnmatchcase(row, p) for p in patterns)]


def events(lines):
    """The events in the lines of a log; what else stands there is left out."""
    for line in lines:
        match = LINE.search(line)
        if not match:
            continue
        if match["mark"]:
            yield Event("mark", int(match["count"]), int(match["mark"]))
        elif match["halt"]:
            yield Event("halt", int(match["count"]))
        elif match["register"]:
            yield Event("register")
        else:
            yield Event("command", wait=(match["vtd"] or match["amd"] or match["smmu"]) in WAITS)


def rounds(found):
    """{number of a row: [the events of a round, from its first mark to its last]}"""
    rows, current = {}, None
    for event in found:
        row, kind = divmod(event.mark, 1 << MARK_KIND_BITS)
        if event.kind == "mark" and kind == BEGIN:
            current = [event]
            continue
        if current is None:
            continue
        current.append(event)
        if event.kind == "mark" and kind == END:
            if current[0].mark >> MARK_KIND_BITS == row:
                rows.setdefault(row, []).append(current)
            current = None
    return rows


def measure(window):
    """The Round of a window of events.

    With a mark for the read, it begins with the interrupt, which is where the processor
    last stopped before it. None if it had not stopped, or if the IOMMU was at work
    before: the program was not asleep when the requests came.
    """
    start, read = 0, next((n for n, event in enumerate(window) if event.kind == "mark" and
                           event.mark % (1 << MARK_KIND_BITS) == READ), None)
    if read is not None:
        start = max((n for n in range(read) if window[n].kind == "halt"), default=None)
        if start is None or any(event.kind in ("register", "command")
                                for event in window[:start]):
            return None
    commands = [event.wait for event in window[start:] if event.kind == "command"]
    return Round(0 if read is None else window[read].count - window[start].count,
                 window[-1].count - window[start].count,
                 sum(event.kind == "register" for event in window[start:]),
                 commands.count(False), commands.count(True))


def summary(lines, names):
    """{name of a row: [Round of each round that is good]}, of a log and {number: name}."""
    found = rounds(events(lines))
    return {name: [made for made in map(measure, found.get(number, [])) if made]
            for number, name in names.items()}


def wrong(samples):
    """What shows that the rounds are not what they should be; None if nothing does.

    No cost is judged: the row known-N has N instructions whatever the kernel, and what
    the table counts waits of does nothing without a command and a register.
    """
    for name, made in samples.items():
        if not made:
            return f"no round of the row {name} went as it has to"
        known = re.fullmatch(r"known-(\d+)", name)
        if known and lowest(made, "all") != int(known[1]):
            return f"{lowest(made, 'all')} of {known[1]} instructions were counted"
        if name in TRACED and not all(one.commands and one.registers and one.waits
                                      for one in made):
            return f"{name} without a command, a wait or a register: QEMU traces nothing"
    return None


def lowest(samples, what):
    """The lowest of a field; None if there is no round. All that comes between, a tick of
    the clock or somebody else's work, only adds, and it is not the same in every round."""
    return min((getattr(s, what) for s in samples), default=None)


def figures(ours, theirs, rows=None):
    """[(Line, ours, theirs, ratio)] of some rows, with None for what there is not."""
    made = []
    for line in TABLE:
        if rows is not None and line.row not in rows:
            continue
        pair = [lowest(side.get(line.row, []), line.what) for side in (ours, theirs)]
        ratio = pair[0] / pair[1] if pair[0] is not None and pair[1] else None
        made.append((line, *pair, ratio))
    return made


def start_share(samples):
    """How much less a start on demand takes than one with pinned small pages, as text."""
    pinned, on_demand = (lowest(samples.get(row, []), "all") for row in ("pinned-gib", "on-demand-gib"))
    return f"1/{pinned / on_demand:.1f}" if pinned and on_demand else "-"


def number(value):
    """With three or four digits that tell something."""
    if value is None:
        return "-"
    for limit, unit in ((10_000_000, "M"), (10_000, "k")):
        if value >= limit:
            scaled = value / (limit // 10)
            return f"{scaled:.{1 if scaled < 100 else 0}f} {unit}"
    return str(value)


def table(made):
    rows = [("", "ours", "theirs", "ratio")] + [
        (line.text, number(our), number(their), "-" if ratio is None else f"{ratio:.2f}")
        for line, our, their, ratio in made]
    width = max(len(row[0]) for row in rows)
    return [f"{text:{width}} {our:>9} {their:>9} {ratio:>7}".rstrip()
            for text, our, their, ratio in rows]


def as_json(made, sides):
    """All of it for other programs. `sides`: {"ours": (kernel, samples), "theirs": ...}"""
    return json.dumps({
        "version": 1,
        "unit": "guest instructions where nothing else is said",
        "kernels": {side: kernel for side, (kernel, _) in sides.items()},
        "table": [{"text": line.text, "row": line.row, "what": line.what, "ours": our,
                   "theirs": their, "ratio": ratio} for line, our, their, ratio in made],
        "rounds": {side: {row: [r._asdict() for r in samples]
                          for row, samples in found.items()}
                   for side, (_, found) in sides.items()}}, indent=1) + "\n"

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What is made of the records of a counting QEMU, and where the kernel to compare with is."""

import json
import os
import re
import types
import unittest
from unittest import mock

from testing import FakeApt, Sandboxed
from iopf import bench, bench_records as records, build, host, stock_kernel
from iopf.errors import Failure
from iopf.testbed import TESTBED

MARK = TESTBED / "bench/mark.h"
# A round with a read: asleep at 100, interrupt, two registers, read at 150, MAP, answer
GOOD = """
bench mark 4 50
bench halt 90
bench halt 100
vtd_reg_read addr 0xdc size 0x4
vtd_reg_write addr 0xdc size 0x4 value 0x1
something else
bench mark 5 150
vtd_reg_write addr 0x88 size 0x8 value 0x40
vtd_inv_desc invalidate desc type page group response high 0x0 low 0x9
vtd_inv_desc invalidate desc type wait high 0x1 low 0x25
bench mark 6 200
""".splitlines()


def mark(row, kind, count):
    return f"bench mark {row << records.MARK_KIND_BITS | kind} {count}"


class Reading(unittest.TestCase):
    def test_round(self):
        made = records.summary(GOOD, {1: "one-page"})
        self.assertEqual(made, {"one-page": [records.Round(50, 100, 3, 1, 1)]})

    def test_without_read(self):
        lines = [mark(2, 0, 1000), "bench halt 1001", "vtd_reg_read addr 0x0 size 0x4",
                 mark(2, 2, 1500)]
        self.assertEqual(records.summary(lines, {2: "attach"})["attach"],
                         [records.Round(0, 500, 1, 0, 0)])

    def test_amd(self):
        lines = [mark(3, 0, 10), "amdvi_inval_pages domain 0x0002 PASID 0x0 addr 0x1",
                 "amdvi_inval_iotlb_pages devid 0x0100 PASID 0x0 addr 0x1",
                 "amdvi_completion_wait completion wait requested with store address 0x1",
                 "amdvi_completion_wait_fail error: fail to write at address 0x1",
                 "amdvi_whole_write addr 0x2008 size 4 val 0x40", mark(3, 2, 20)]
        self.assertEqual(records.summary(lines, {3: "guest-1"})["guest-1"],
                         [records.Round(0, 10, 1, 2, 1)])

    def test_smmu(self):
        lines = [mark(3, 0, 10), "smmuv3_cmdq_opcode <--- SMMU_CMD_TLBI_NH_VA",
                 "smmuv3_cmdq_tlbi_nh vmid=1", "smmuv3_cmdq_opcode <--- SMMU_CMD_ATC_INV",
                 "smmuv3_cmdq_opcode <--- SMMU_CMD_SYNC",
                 "smmuv3_write_mmio addr: 0x98 val:0x3 size: 0x4(0)", mark(3, 2, 20)]
        self.assertEqual(records.summary(lines, {3: "guest-1"})["guest-1"],
                         [records.Round(0, 10, 1, 2, 1)])

    def test_not_asleep(self):
        """Nothing is known of when the interrupt came: the round does not count."""
        awake = [line for line in GOOD if "halt" not in line]
        early = [*GOOD[:2], "vtd_reg_read addr 0xdc size 0x4", *GOOD[2:]]
        command = [*GOOD[:2], "vtd_inv_desc invalidate desc type wait high 0x1 low 0x25",
                   *GOOD[2:]]
        for lines in (awake, early, command):
            self.assertEqual(records.summary(lines, {1: "x"}), {"x": []})
            self.assertEqual(records.summary([*lines, *GOOD], {1: "x"})["x"],
                             [records.Round(50, 100, 3, 1, 1)])

    def test_broken_rounds(self):
        """What is cut, and what belongs to no row, is no round."""
        for lines in (GOOD[:-1], GOOD[2:], [mark(1, 0, 5), mark(2, 2, 9)]):
            self.assertEqual(records.summary(lines, {1: "x", 2: "y"}), {"x": [], "y": []})
        # a row that was given up and begun again
        self.assertEqual(len(records.summary([*GOOD[:5], *GOOD], {1: "x"})["x"]), 1)

    def test_wrong(self):
        good = records.Round(0, 2002, 3, 2, 1)
        self.assertIsNone(records.wrong({"known-2002": [good], "answers": [good]}))
        self.assertIsNone(records.wrong({}))
        self.assertIsNone(records.wrong({"one-page": [good._replace(commands=0)]}))
        for samples, text in (
                ({"group": []}, "no round of the row group"),
                ({"known-2002": [good._replace(all=2001)]}, "2001 of 2002 instructions"),
                ({"answers": [good, good._replace(commands=0)]}, "answers without a command"),
                ({"guest-32": [good._replace(registers=0)]}, "traces nothing"),
                ({"amd-guest-1": [good._replace(waits=0)]}, "traces nothing")):
            self.assertIn(text, records.wrong(samples))

    def test_numbers_are_those_of_the_marks(self):
        text = MARK.read_text()
        bits = re.search(r"MARK_KIND_BITS\s+(\d+)", text)[1]
        kinds = re.findall(r"^\s(MARK_\w+),", text, re.M)
        self.assertEqual(int(bits), records.MARK_KIND_BITS)
        self.assertEqual([kinds.index(f"MARK_{name}") for name in ("BEGIN", "READ", "END")],
                         [records.BEGIN, records.READ, records.END])

    def test_rows_are_those_of_the_program(self):
        rows = re.findall(r'\[ROW_\w+\] = \{ "([\w-]+)"', (TESTBED / "bench/bench.c").read_text())
        lanes = bench.machines(records.wanted([])).values()
        self.assertLessEqual({name for names in lanes for name in names}, set(rows))
        for line in records.TABLE:
            self.assertIn(line.what, records.Round._fields)


class Table(unittest.TestCase):
    def setUp(self):
        one = [records.Round(n, n, 3, 2, 1) for n in (15000, 14000, 17000)]
        self.sides = ({"one-page": one, "group": []},
                      {"one-page": [records.Round(900, 900, 3, 2, 1)],
                       "answers": [records.Round(0, 5, 0, 0, 0)]})

    def line(self, text):
        return next(f for f in records.figures(*self.sides) if f[0].text == text)

    def test_figures(self):
        self.assertEqual(self.line("group of 1 page: interrupt to read")[1:],
                         (14000, 900, 14000 / 900))
        for text in ("group of 512: all", "detach"):
            self.assertEqual(self.line(text)[1:], (None, None, None))
        self.assertEqual(self.line("32 answers in one write()")[1:], (None, 5, None))
        # nothing is divided by nothing
        self.sides[0]["answers"] = [records.Round(0, 5, 0, 7, 0)]
        self.assertEqual(self.line("32 answers: commands")[1:], (7, 0, None))

    def test_numbers(self):
        for value, text in ((None, "-"), (0, "0"), (9999, "9999"), (14949, "14.9 k"),
                            (566_600, "567 k"), (9_999_000, "9999 k"), (71_400_000, "71.4 M"),
                            (795_000_000, "795 M")):
            self.assertEqual(records.number(value), text)

    def test_share(self):
        rounds = {"pinned-gib": [records.Round(0, 3000, 0, 0, 0)],
                  "on-demand-gib": [records.Round(0, 200, 0, 0, 0)]}
        self.assertEqual(records.start_share(rounds), "1/15.0")
        for row in rounds:
            self.assertEqual(records.start_share({**rounds, row: []}), "-")

    def test_rows(self):
        """Globs choose rows, and rows a machine."""
        self.assertEqual(records.wanted(["inv-each-*", "attach"]),
                         ["attach", "inv-each-32", "inv-each-512"])
        self.assertEqual(records.wanted(["nothing"]), [])
        self.assertEqual(set(records.wanted([])), {line.row for line in records.TABLE})
        self.assertEqual(bench.machines(["attach", "inv-1", "guest-1", "amd-guest-1",
                                         "smmu-guest-1"]),
                         {"bench/machine": {"attach": "attach"},
                          "bench/nested": {"inv-1": "inv-1", "guest-1": "guest-1"},
                          "bench/amd": {"guest-1": "amd-guest-1"},
                          "bench/smmu": {"guest-1": "smmu-guest-1"}})
        self.assertEqual([f[0].row for f in records.figures(*self.sides, ["answers", "attach"])],
                         ["answers"] * 3 + ["attach"])

    def test_several_machines(self):
        """What one program has counted in two machines are two rows."""
        log = types.SimpleNamespace(path=lambda name: name)
        with mock.patch.object(bench, "boot", lambda made, side, folder, lane, names: (
                {"guest-1": [folder], bench.KNOWN: [lane]}, {"guest-32": lane})):
            self.assertEqual(bench.count({}, "theirs", log, ["inv-1", "amd-guest-32"]),
                             ({"guest-1": ["theirs-nested"], bench.KNOWN: ["bench/nested"]},
                              {"guest-32": "bench/nested",
                               "amd-guest-32": "only the series has that type"}))
            self.assertEqual(
                bench.count({}, "ours", log, ["guest-1", "guest-32", "amd-guest-1", "amd-guest-32"]),
                ({"guest-1": ["ours-nested"], "amd-guest-1": ["ours-amd"],
                  bench.KNOWN: ["bench/amd"]},
                 {"guest-32": "bench/nested", "amd-guest-32": "bench/amd"}))

    def test_text(self):
        text = records.table(records.figures(*self.sides))
        self.assertEqual(text[0].split(), ["ours", "theirs", "ratio"])
        self.assertRegex(text[1], r"^group of 1 page: interrupt to read +14\.0 k +900 +15\.56$")
        self.assertTrue(all(len(line) <= len(text[1]) for line in text))

    def test_json(self):
        figures = records.figures(*self.sides)
        made = json.loads(records.as_json(figures, {"ours": ("6.12", self.sides[0]),
                                                    "theirs": ("9.9", self.sides[1])}))
        self.assertEqual(made["kernels"], {"ours": "6.12", "theirs": "9.9"})
        self.assertEqual(len(made["table"]), len(records.TABLE))
        self.assertEqual([r["all"] for r in made["rounds"]["ours"]["one-page"]],
                         [15000, 14000, 17000])
        self.assertIsNone(made["table"][-1]["ours"])


class Guest(unittest.TestCase):
    def test_names(self):
        def result(name, number, ok=True, skipped=False, note="", children=()):
            return types.SimpleNamespace(name=name, number=number, ok=ok, skipped=skipped,
                                         note=note, children=list(children))
        report = types.SimpleNamespace(results=[
            result("bind", 1, children=[result("x", 9)]),
            result("bench", 2, children=[result("one-page", 1), result(
                "group", 2, skipped=True, note="cannot"), result("answers", 3, ok=False),
                result("attach", 4, skipped=True, note=bench.NOT_ASKED)])])
        self.assertEqual(bench.names_of(report),
                         ({1: "one-page"}, {"group": "cannot", "answers": ""}))

    def test_kvm(self):
        with mock.patch.dict(os.environ, {"KVM": "1"}), \
                self.assertRaisesRegex(Failure, "leave KVM=1 out"):
            bench.measure(None)

    def test_no_row(self):
        with self.assertRaisesRegex(Failure, "ONLY=x y names no row; there are one-page group"):
            bench.measure(None, "x y")

    def test_lanes(self):
        for name in (bench.LANE, *bench.NESTED):
            lane = bench.machine_lane("/tools", "/log", name, ["inv-1"])
            self.assertEqual(lane.smp, "1")
            self.assertIn("-icount shift=0", lane.options)
            self.assertIn("nohz=off", lane.cmdline)

    def test_lane(self):
        lane = bench.machine_lane("/tools", "/log")
        self.assertEqual(lane.smp, "1")
        self.assertIn("-icount shift=0", lane.options)
        self.assertIn("-plugin file=/tools/count.so", lane.options)
        self.assertTrue(any(o.startswith("-d plugin,trace:vtd_reg_read") for o in lane.options))
        # all rows, or some
        self.assertEqual([s for s in lane.plan if "bench" in s],
                         ["test bench /usr/libexec/iopf/bench"])
        some = bench.machine_lane("/tools", "/log", "bench/nested", ["inv-1"])
        self.assertIn("test bench /usr/libexec/iopf/bench inv-1 known-2002", some.plan)
        known = re.search(r"#define KNOWN\t+(\d+)", (TESTBED / "bench/bench.c").read_text())
        self.assertEqual(bench.KNOWN, f"known-{known[1]}")
        # not one after the other in the same object
        self.assertEqual(len(bench.machine_lane("/tools", "/log").options), len(lane.options))


class Notes(unittest.TestCase):
    def test_left_out(self):
        """Rows that are left out for the same reason are one line."""
        with mock.patch.object(bench, "felt", lambda built: {}), \
                mock.patch.object(stock_kernel, "release", lambda built: built):
            notes = bench.footnotes({"qemu": "", "x86": {"ours": "6.12", "theirs": "9.9"}}, {
                "ours": {}, "theirs": {"guest-1": "no such type", "one-call": "no such call",
                                       "guest-32": "no such type"}})
        self.assertEqual(notes[2:], ["theirs, guest-1 guest-32: no such type",
                                     "theirs, one-call: no such call"])


class StockKernel(Sandboxed):
    def test_options(self):
        tree = self.top / "tree"
        (tree / "drivers").mkdir(parents=True)
        (tree / "drivers/Kconfig").write_text("config IOMMUFD\n\tbool\nmenuconfig VFIO\n")
        (tree / "Kconfig.more").write_text("if X\n\tconfig INDENTED\nendif\n# config NOT_ONE\n")
        known = stock_kernel.known_options(tree)
        self.assertEqual(known, {"IOMMUFD", "VFIO", "INDENTED"})
        text = "# note\nCONFIG_VFIO=y\nCONFIG_OURS=y\nCONFIG_IOMMUFD=m\n"
        self.assertEqual(stock_kernel.split_options(text, known),
                         ("# note\nCONFIG_VFIO=y\nCONFIG_IOMMUFD=m\n", ["CONFIG_OURS"]))
        # a later fragment takes it back
        unset = "# CONFIG_VFIO is not set\n"
        self.assertEqual(stock_kernel.split_options(f"CONFIG_VFIO=y\n{unset}", known),
                         (unset, []))

    def test_release(self):
        (self.top / "config").write_text("#\n# Linux/x86 7.3.4 Kernel Configuration\n#\n")
        self.assertEqual(stock_kernel.release(self.top), "7.3.4")

    def test_offline(self):
        os.environ["OFFLINE"] = "1"
        with self.assertRaisesRegex(Failure, "OFFLINE=1.*run once with the network"):
            stock_kernel.source()

    def test_key(self):
        """Another version and other options are other products."""
        kernel = types.SimpleNamespace(arch=host.machine(), configs=[], modules=[])
        self.patch(build, "fragments", lambda kernel: kernel.configs)
        file = self.top / "fragment"
        file.write_text("CONFIG_X=y\n")
        first = stock_kernel.place(kernel, self.top / "7.3.4-1")
        self.assertNotEqual(first, stock_kernel.place(kernel, self.top / "7.3.5-1"))
        kernel.configs = [file]
        second = stock_kernel.place(kernel, self.top / "7.3.4-1")
        self.assertNotEqual(first, second)
        kernel.modules = ["m"]      # has what they are built with
        self.assertNotEqual(second, stock_kernel.place(kernel, self.top / "7.3.4-1"))


# SUITE:PACKAGE=VERSION words in HAVE; download makes a .deb with that version's source
APT = r"""#!/bin/sh
for word; do
    case $word in Dir::Etc::sourcelist=*) suite=$(sed -n 's/^Suites: //p' "${word#*=}") ;; esac
done
suite=${suite##* }
echo "$(basename "$0") $suite" >>"$TRACE"
while [ "${1#-}" != "$1" ] && [ $# -gt 1 ]; do shift 2; done
verb=$1
shift
case $verb in
search)
    for have in $HAVE; do
        name=${have#*:}
        [ "${have%%:*}" = "$suite" ] && echo "${name%%=*} - source"
    done ;;
madison)
    for have in $HAVE; do
        name=${have#*:}
        [ "${have%%:*}" = "$suite" ] && [ "${name%%=*}" = "$1" ] &&
            echo "$1 | ${name#*=} | somewhere"
    done ;;
download)
    mkdir -p deb/DEBIAN deb/usr/src
    printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n' \
        >deb/DEBIAN/control
    echo "${1#*=}" >"deb/usr/src/${1%%=*}.tar.xz"
    dpkg-deb -b deb "${1%%=*}.deb" >/dev/null && rm -r deb ;;
esac
exit 0
"""


class StockSource(FakeApt):
    script_of_apt = APT

    def test_newest(self):
        """The youngest of the first suites that have one younger than ours."""
        os.environ["HAVE"] = ("trixie-backports:linux-source-6.12=6.12.99-1 "
                              "trixie-backports:linux-source-9.2=9.2.7-1 "
                              "trixie-backports:linux-source-9.10=9.10.4-1~bpo13+1 "
                              "forky:linux-source-9.11=9.11.1-1")
        made = stock_kernel.source()
        self.assertEqual(made.name, "9.10.4-1~bpo13+1")
        self.assertEqual((made / stock_kernel.ARCHIVE).read_text(), "9.10.4-1~bpo13+1\n")
        self.assertNotIn("forky", (self.top / "trace").read_text())
        # kept, and asked for again only by UPDATE=1
        os.environ["HAVE"] = "forky:linux-source-9.11=9.11.1-1"
        self.assertEqual(stock_kernel.source(), made)
        os.environ["UPDATE"] = "1"
        self.assertEqual(stock_kernel.source().name, "9.11.1-1")
        os.environ["OFFLINE"] = "1"
        self.assertEqual(stock_kernel.source().name, "9.11.1-1")

    def test_none(self):
        os.environ["HAVE"] = "trixie-backports:linux-source-6.12=6.12.99-1"
        with self.assertRaisesRegex(Failure, "no linux-source package newer than 6.12"):
            stock_kernel.source()


if __name__ == "__main__":
    unittest.main()

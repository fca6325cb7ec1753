# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The comparison of migration streams, with a checker that is simpler than QEMU's."""

import copy
import platform
import unittest
from unittest import mock

from testing import Sandboxed
from iopf import fresh, host, vmstate
from iopf.errors import Failure

X86, ARM = vmstate.EMULATORS

# Says which fields of the source the target lacks, as QEMU's does
CHECKER = r"""
import json, sys
src, dest = (json.load(open(sys.argv[n])) for n in (2, 4))
def names(item):
    if isinstance(item, dict):
        return {item.get("name", item.get("field", ""))}.union(*map(names, item.values()))
    return set().union(*map(names, item)) if isinstance(item, list) else set()
missing = sorted(n for n in names(src) - names(dest) if n)
print("\n".join(missing))
sys.exit(len(missing))
"""


def device(*extra):
    pci = {"name": "PCIDevice", "Fields": [{"field": "config"}], "Subsections": [
        {"name": name, "Fields": []} for name in ("PCIDevice/pri", *extra)]}
    return {"Name": "x", "Description": {"name": "x", "Fields": [{"field": "p",
                                                                  "Description": pci}]}}


class Compare(Sandboxed):
    def setUp(self):
        super().setUp()
        self.checker = self.top / "checker.py"
        self.checker.write_text(CHECKER)
        self.old = {name: vmstate.without_optional(device()) for name in X86.touched}
        self.new = {name: device() for name in X86.touched}

    def compare(self):
        vmstate.compare(self.checker, X86, (self.old, self.new), self.top, self.top / "log")

    def test_optional_is_no_difference(self):
        self.compare()
        self.assertIn("5 types", (self.top / "log").read_text())

    def test_new_device_is_no_difference(self):
        self.new["iopf-testdev"] = {"Name": "iopf-testdev"}
        self.compare()

    def test_subsection_of_ours(self):
        self.new["mch"] = device("smmuv3/ats", "other")
        with self.assertRaisesRegex(Failure, "from the series: other"):
            self.compare()

    def test_lost_field(self):
        self.old["nvme"] = copy.deepcopy(self.old["nvme"])
        self.old["nvme"]["Description"]["Fields"].append({"field": "lost"})
        with self.assertRaisesRegex(Failure, "to the series: lost"):
            self.compare()

    def test_device_that_must_be_there(self):
        del self.old["intel-iommu"]
        with self.assertRaisesRegex(Failure, "intel-iommu is in only one"):
            self.compare()

    def test_checker_that_crashes(self):
        self.checker.write_text("raise SystemExit(3)")
        with self.assertRaisesRegex(Failure, "exit status 3"):
            self.compare()


class Stock(Sandboxed):
    def test_release(self):
        self.assertEqual(vmstate.release("1:10.0.13+ds-0+deb13u1"), [10, 0])
        self.assertEqual(vmstate.release("10.2.2"), [10, 2])

    def test_offline(self):
        with mock.patch.dict("os.environ", OFFLINE="1"), \
                self.assertRaisesRegex(fresh.Skip, "OFFLINE"):
            vmstate.stock(X86, "10.0.13")

    def test_kept_one_of_the_release(self):
        host.claim_cache()
        for name in ("x86_64/1_9.2.1-1", "x86_64/1_10.0.13-1", "aarch64/1_10.0.15-1"):
            place = self.cache / f"vmstate-{name}"
            place.mkdir(parents=True)
            (place / "vmstate.json").write_text("{}")
            vmstate.cache.seal(place)
        self.assertEqual(vmstate.stock(X86, "10.0.14").name, "1_10.0.13-1")
        self.assertEqual(vmstate.stock(ARM, "10.0.14").name, "1_10.0.15-1")

    def test_other_machine(self):
        with mock.patch.object(platform, "machine", lambda: "aarch64"), \
                self.assertRaisesRegex(fresh.Skip, "amd64"):
            vmstate.check(self.top / "log")

    def test_machines(self):
        said = ("Supported machines are:\npc Standard PC (alias of pc-1)\npc-1 Standard PC\n"
                "none empty machine\nq35 Q35 (alias of pc-q35-1)\npc-q35-1 Q35 (deprecated)\n")
        program = self.top / "qemu"
        program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        program.chmod(0o755)
        self.assertEqual(vmstate.machines([program]), ["pc-1", "pc-q35-1"])


if __name__ == "__main__":
    unittest.main()

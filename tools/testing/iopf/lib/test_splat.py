# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The finder of kernel complaints."""

import unittest

import splat

COMPLAINTS = """\
WARNING: CPU: 0 PID: 1 at drivers/iommu/io-pgfault.c:43 iopf_group_response+0x1a/0x20
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
WARNING: inconsistent lock state
BUG: kernel NULL pointer dereference, address: 0000000000000000
BUG: unable to handle page fault for address: ffffc90000000000
BUG: KASAN: slab-use-after-free in iopf_queue_remove_device+0x1/0x2
BUG: sleeping function called from invalid context at mm/slab.h:1
BUG: scheduling while atomic: swapper/0/1/0x00000002
BUG: MAX_LOCKDEP_CHAINS too low!
BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 34s!
BUG kmalloc-64 (Not tainted): Redzone overwritten
watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [iopf:88]
kernel BUG at mm/slub.c:4321!
Oops: 0002 [#1] PREEMPT SMP KASAN NOPTI
Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]
general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP
Internal error: Oops: 0000000096000004 [#1] SMP
Unable to handle kernel paging request at virtual address 0000000000001000
Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b
INFO: task iopf:77 blocked for more than 122 seconds.
INFO: trying to register non-static key.
INFO: lockdep is turned off.
rcu: INFO: rcu_sched self-detected stall on CPU
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }
UBSAN: shift-out-of-bounds in drivers/iommu/intel/prq.c:10:2
UBSAN: array-index-out-of-bounds in a.c:1:1
KASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]
ODEBUG: free active (active state 0) object: ffff888 object type: timer_list
DEBUG_LOCKS_WARN_ON(1)
refcount_t: underflow; use-after-free.
list_del corruption. prev->next should be ffff, but was dead
list_add double add: new=ffff, prev=ffff, next=ffff. corruption
kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
DMA-API: pci 0000:01:00.0: device driver frees DMA memory with wrong function
irq 24: nobody cared (try booting with the "irqpoll" option)
DMAR: DRHD: handling fault status reg 2
DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x1000 [fault reason 0x59]
DMAR: VT-d detected Invalidation Queue Error: Reason 1, SID 0
pci 0000:00:03.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x1 address=0x1]
arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:
""".splitlines()

HARMLESS = """\
Linux version 6.12.117 (a@b) (gcc) #1 SMP PREEMPT_DYNAMIC WARNING is a word
clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1, max_idle_ns: 1 ns
DMAR: IOMMU enabled
DMAR: Host address width 39
DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap d2008c22260286 ecap 3fb0bdf00f5e
iommu: Default domain type: Translated
rcu: Hierarchical RCU implementation.
rcu: RCU calculated value of scheduler-enlistment delay is 100 jiffies.
kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)
KTAP version 1
Kernel command line: console=ttyS0 panic=-1 oops=panic
kmemleak: Automatic memory scanning thread started
lkdtm: No crash points registered, enable through debugfs
Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
arm-smmu-v3 arm-smmu-v3.0.auto: ias 44-bit, oas 44-bit (features 0x00008305)
AMD-Vi: Interrupt remapping enabled
""".splitlines()


class Heads(unittest.TestCase):
    def test_each_is_found(self) -> None:
        for line in COMPLAINTS:
            with self.subTest(line):
                self.assertEqual(len(splat.find([f"[   12.345678] {line}"])), 1)
                self.assertEqual(len(splat.find([line + "\r"])), 1)

    def test_stamp_with_caller(self) -> None:
        self.assertTrue(splat.find(["[    1.234567][   T77] BUG: no"]))

    def test_harmless(self) -> None:
        self.assertEqual(splat.find([f"[    0.000001] {line}" for line in HARMLESS]), [])


class Context(unittest.TestCase):
    def test_programs_are_not_the_kernel(self) -> None:
        lines = ["[ 1.000000] iopf: stderr: BUG: no", "ktap|     # WARNING: no",
                 "[ 1.000000] iopf: kmemleak: unreferenced object"]
        self.assertEqual(splat.find(lines), [])

    def test_names_the_test(self) -> None:
        lines = ["[ 1.0] iopf: start 3 iopf_vfio", "[    2.000000] BUG: yes"]
        lines[0] = "[    1.000000] iopf: start 3 iopf_vfio"
        found = splat.find(lines)[0]
        self.assertEqual((found.test, found.line), ("iopf_vfio", 2))

    def test_trace_is_part_of_it(self) -> None:
        lines = ["------------[ cut here ]------------", "WARNING: CPU: 0", "Call Trace:",
                 "RIP: 0010:f+0x1/0x2", "---[ end trace 0000000000000000 ]---"]
        self.assertEqual(len(splat.find(lines)), 1)

    def test_trace_alone(self) -> None:
        self.assertEqual(len(splat.find(["something new", "Call Trace:", "RIP: 0010:f"])), 1)

    def test_allowed(self) -> None:
        lines = ["DMAR: [DMA Read] Request device [01:00.0] fault addr 0x1", "Call Trace:"]
        self.assertEqual(splat.find(lines, [r"Request device \[01:"]), [])
        self.assertEqual(len(splat.find(lines + ["BUG: other"], [r"Request device"])), 1)


class Announced(unittest.TestCase):
    """Complaints that a test says it provokes."""

    FROM = "[    1.000000] iopf: expect from here: ^BUG: of a"
    TO = "[    1.000000] iopf: expect to here"
    A, B = "[    1.000000] BUG: of a", "[    1.000000] BUG: of b"

    def texts(self, *lines: str) -> list[str]:
        return [found.text for found in splat.find(lines)]

    def test_between_the_marks(self) -> None:
        self.assertEqual(self.texts(self.FROM, self.A, self.A, self.TO), [])

    def test_outside(self) -> None:
        self.assertEqual(self.texts(self.A, self.FROM, self.A, self.TO), ["BUG: of a"])
        self.assertEqual(self.texts(self.FROM, self.A, self.TO, self.A), ["BUG: of a"])

    def test_another_complaint(self) -> None:
        self.assertEqual(self.texts(self.FROM, self.B, self.A, self.TO), ["BUG: of b"])

    def test_several(self) -> None:
        more = self.FROM.replace("of a", "of b")
        self.assertEqual(self.texts(self.FROM, more, self.A, self.B, self.TO), [])
        self.assertEqual(len(self.texts(self.FROM, more, self.TO, self.A, self.B)), 2)

    def test_ends_with_the_step(self) -> None:
        for line in ("start 2 next", "ok 1 this: ", "not ok 1 this: because"):
            self.assertEqual(self.texts(self.FROM, f"[    1.000000] iopf: {line}", self.A),
                             ["BUG: of a"])

    def test_not_by_a_program(self) -> None:
        for line in ("iopf: stderr: iopf: expect from here: BUG", "ktap| iopf: expect from here: B",
                     "[    1.000000] something: iopf: expect from here: BUG"):
            self.assertEqual(self.texts(line, self.A), ["BUG: of a"])

    EVENT = "arm-smmu-v3 9050000.smmuv3: event 0x10 received:"
    WORDS = ["0x0000010000000010", "0x0000000800000000", "0x0000000100000000",
             "0x0000000000000000"]

    def record(self, *between: str) -> list[str]:
        """An event of SMMUv3 as its driver logs it, and lines of others between."""
        lines = [self.EVENT] + [f"arm-smmu-v3 9050000.smmuv3: \t{word}" for word in self.WORDS]
        lines[2:2] = between
        return [f"[    1.000000] {line}" for line in lines]

    def expect(self, pattern: str) -> str:
        return f"[    1.000000] iopf: expect from here: ^arm-smmu-v3 .*{pattern}"

    def test_record_of_an_event(self) -> None:
        whole = " ".join([self.EVENT, *self.WORDS])
        self.assertEqual(self.texts(*self.record()), [whole])
        self.assertEqual(self.texts(*self.record("something else", "more")), [whole])
        self.assertEqual(self.texts(*self.record(), *self.record()), [whole, whole])
        self.assertEqual(self.texts(self.record()[0]), [self.EVENT])

    def test_event_of_another_device(self) -> None:
        ours = self.expect("received: 0x00000100[0-9a-f]{8} 0x[0-9a-f]+ 0x0*100000000 ")
        other = self.expect("received: 0x00000200[0-9a-f]{8} ")
        self.assertEqual(self.texts(ours, *self.record(), self.TO), [])
        self.assertEqual(len(self.texts(other, *self.record(), self.TO)), 1)

    def test_no_pattern(self) -> None:
        text, = self.texts("iopf: expect from here: (")
        self.assertIn("not a pattern", text)


if __name__ == "__main__":
    unittest.main()

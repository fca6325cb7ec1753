/*
 * The q35 machine, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "iopf-q35-qtest.h"

const Machine machine = {
    .mmcfg = 0xb0000000ULL,
    .bars = 0xc0000000ULL,
};

void enable_mmcfg(QTestState *qts)
{
    /* PCIEXBAR of the host bridge, through the I/O ports */
    qtest_outl(qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(qts, 0xcfc, machine.mmcfg | 1);
}

void eject_root_port(QTestState *qts)
{
    /* Slot 0 of the only bus with hotplug, as ACPI has it */
    qtest_outl(qts, 0xcc0 + 0x10, 0);
    qtest_outl(qts, 0xcc0 + 0x08, 1);
}

/*
 * The q35 machine, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_IOPF_Q35_QTEST_H
#define TESTS_QTEST_IOPF_Q35_QTEST_H

#include "iopf-qtest.h"

/* Options of the machine; the devices follow */
#define Q35 "-M q35 -m 64 -nodefaults "

/* Guest memory from here on is for what the device accesses */
#define DATA            0x200000ULL

/* Have memory mapped configuration space; to be done after each reset */
void enable_mmcfg(QTestState *qts);

/* After a request to unplug what is there: the guest agrees */
void eject_root_port(QTestState *qts);

#endif

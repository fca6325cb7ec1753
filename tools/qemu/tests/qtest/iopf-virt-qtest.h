/*
 * The virt machine of Arm, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_IOPF_VIRT_QTEST_H
#define TESTS_QTEST_IOPF_VIRT_QTEST_H

#include "iopf-qtest.h"

/* Options of the machine; the devices follow */
#define VIRT "-machine virt,gic-version=3,iommu=smmuv3 -cpu cortex-a76 " \
    "-m 64 -nodefaults "

#define VIRT_RAM        0x40000000ULL
#define VIRT_RAM_END    (VIRT_RAM + 0x4000000)
#define VIRT_GICD       0x08000000ULL

/* Guest memory from here on is for what the device accesses */
#define DATA            (VIRT_RAM + 0x200000)

/*
 * Shared peripheral interrupts, which are edge triggered from here on: whether
 * there was an edge can be asked once
 */
void enable_spi(QTestState *qts, unsigned int spi);
bool take_spi(QTestState *qts, unsigned int spi);

/* Let a root port's slot have power, or take it, which removes what is there */
void power_root_port(QTestState *qts, uint16_t bdf, bool on);

#endif

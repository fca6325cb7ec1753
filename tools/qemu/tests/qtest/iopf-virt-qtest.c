/*
 * The virt machine of Arm, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-virt-qtest.h"

#define GICD_ISPENDR    0x200
#define GICD_ICPENDR    0x280
#define GICD_ICFGR      0xc00
#define GIC_FIRST_SPI   32

const Machine machine = {
    .mmcfg = 0x4010000000ULL,
    .bars = 0x10000000ULL,
};

void enable_spi(QTestState *qts, unsigned int spi)
{
    unsigned int irq = GIC_FIRST_SPI + spi;
    uint64_t reg = VIRT_GICD + GICD_ICFGR + irq / 16 * 4;

    qtest_writel(qts, reg, qtest_readl(qts, reg) | 2U << irq % 16 * 2);
    take_spi(qts, spi);
}

bool take_spi(QTestState *qts, unsigned int spi)
{
    unsigned int irq = GIC_FIRST_SPI + spi;
    uint64_t offset = irq / 32 * 4;
    uint32_t bit = 1U << irq % 32;
    bool pending = qtest_readl(qts, VIRT_GICD + GICD_ISPENDR + offset) & bit;

    qtest_writel(qts, VIRT_GICD + GICD_ICPENDR + offset, bit);
    return pending;
}

void power_root_port(QTestState *qts, uint16_t bdf, bool on)
{
    Endpoint port = { .qts = qts, .bdf = bdf };

    cfg_writew(&port, find_cap(&port, PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL,
               on ? PCI_EXP_SLTCTL_PWR_IND_ON :
               PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
}

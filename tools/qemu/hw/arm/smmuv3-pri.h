/*
 * ARM SMMUv3: page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMUV3_PRI_H
#define HW_ARM_SMMUV3_PRI_H

#include "hw/pci/pci.h"
#include "smmuv3-internal.h"

/* For the PCI core, of an SMMU that takes page requests */
extern const PCIIOMMUOps smmuv3_pri_ops;

/* The registers from PRIQ_BASE to PRIQ_IRQ_CFG2; @size is 4 or 8 */
uint64_t smmuv3_priq_read(SMMUv3State *s, hwaddr offset, unsigned int size);
void smmuv3_priq_write(SMMUv3State *s, hwaddr offset, uint64_t data,
                       unsigned int size);
void smmuv3_priq_reset(SMMUv3State *s);

/* The command.  Devices may send requests at once: the mutex must be free. */
SMMUCmdError smmuv3_cmd_pri_resp(SMMUv3State *s, const Cmd *cmd);

extern const VMStateDescription vmstate_smmuv3_priq;

/* smmuv3.c */
void smmuv3_trigger_irq(SMMUv3State *s, SMMUIrq irq, uint32_t gerror_mask);

#endif

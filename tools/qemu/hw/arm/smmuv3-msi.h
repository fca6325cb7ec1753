/*
 * ARM SMMUv3: message signalled interrupts of the SMMU itself
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMUV3_MSI_H
#define HW_ARM_SMMUV3_MSI_H

#include "smmuv3-internal.h"

/*
 * Raise an interrupt of a queue or of GERROR as a message, if software has
 * given an address.  It is sent by smmuv3_msi_flush().
 *
 * Returns: false if it is one of the wire
 */
bool smmuv3_msi_raise(SMMUv3State *s, SMMUIrq irq);

/* Have what the PCI core calls send what it raises; the others are there */
void smmuv3_msi_init(SMMUv3State *s, PCIIOMMUOps *ops);

/*
 * Send what was raised.  A message may reach any device, which may translate
 * at once: the mutex must be free.
 */
void smmuv3_msi_flush(SMMUv3State *s);

/* Say that a CMD_SYNC is complete, as it wants.  The mutex must be free. */
void smmuv3_cmd_sync_signal(SMMUv3State *s, const Cmd *cmd);

/*
 * The registers GERROR_IRQ_CFG and EVENTQ_IRQ_CFG; @size is 4 or 8.  Those of
 * the PRI queue are with the others of that.
 *
 * Returns: whether that is what is at @offset
 */
bool smmuv3_msi_write(SMMUv3State *s, hwaddr offset, uint64_t data,
                      unsigned int size);
bool smmuv3_msi_read(SMMUv3State *s, hwaddr offset, uint64_t *data,
                     unsigned int size);

#endif

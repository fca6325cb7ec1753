/*
 * ARM SMMUv3: accesses that wait for software
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMUV3_STALL_H
#define HW_ARM_SMMUV3_STALL_H

#include "smmuv3-internal.h"

/* IDR5.STALL_MAX */
#define SMMU_STALL_MAX 64

/**
 * struct SMMUAccess: an access with an untranslated address
 *
 * @ssid: its SSID or PCI_NO_PASID
 * @priv: whether it is privileged, which only matters with an SSID
 * @exec: whether it is an instruction fetch, likewise
 * @addr: the address
 * @flag: IOMMU_RO or IOMMU_WO, or IOMMU_NONE to see what is allowed
 */
typedef struct SMMUAccess {
    uint32_t ssid;
    bool priv;
    bool exec;
    hwaddr addr;
    IOMMUAccessFlags flag;
} SMMUAccess;

/**
 * smmuv3_translate_access: Translate an access with an untranslated address
 *
 * @sdev: the device
 * @access: what it does
 * @event: as smmuv3_new_event() has it; what the caller has to record or, with
 *     @stall set, may hold the access for.  Of type SMMU_EVT_NONE if the access
 *     is good, or fails without a record.
 *
 * The mutex must be free.
 *
 * Returns: the translation, without permissions if the access fails
 */
IOMMUTLBEntry smmuv3_translate_access(SMMUDevice *sdev,
                                      const SMMUAccess *access,
                                      SMMUEventInfo *event);

/* Add what the PCI core has to know of an SMMU that holds accesses */
void smmuv3_stall_init(SMMUv3State *s, PCIIOMMUOps *ops);

/* Describe it in the ID registers, at reset */
void smmuv3_stall_init_regs(SMMUv3State *s);

/* SMMUEN was cleared, or there is a reset: nothing is held any longer */
void smmuv3_stall_end_all(SMMUv3State *s);

/* Write what records are due, if the event queue takes them */
void smmuv3_stall_flush(SMMUv3State *s);

/* Commands.  Devices may translate at once: the mutex must be free. */
SMMUCmdError smmuv3_cmd_resume(SMMUv3State *s, const Cmd *cmd);
SMMUCmdError smmuv3_cmd_stall_term(SMMUv3State *s, const Cmd *cmd);

extern const VMStateDescription vmstate_smmuv3_stall;

#endif

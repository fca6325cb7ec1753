/*
 * ARM SMMUv3: translation requests and invalidation of device caches
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMUV3_ATS_H
#define HW_ARM_SMMUV3_ATS_H

#include "hw/pci/pci.h"
#include "smmuv3-internal.h"

/* Indexes of the IOMMU memory region */
enum {
    SMMU_IDX_UNTRANSLATED,
    SMMU_IDX_TRANSLATED,
    SMMU_IDX_NUM,
};

/* Virtual addresses have no more without IDR5.VAX */
#define SMMU_VA_BITS 48

/* For the PCI core */
extern const PCIIOMMUOps smmuv3_ats_ops;

/* The device that the PCI core means; it is made if there is none yet */
SMMUDevice *smmuv3_find_device(SMMUv3State *s, PCIBus *bus, int devfn);
void smmuv3_get_iotlb_info(void *opaque, uint8_t *addr_width,
                           uint32_t *min_page_size);
ssize_t smmuv3_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                       uint32_t pasid, bool priv_req,
                                       bool exec_req, hwaddr addr,
                                       size_t length, bool no_write,
                                       IOMMUTLBEntry *result,
                                       size_t result_length,
                                       uint32_t *err_count);
void smmuv3_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t n, bool completed);

/* Whether the STE of @ste has EATS legal; @cfg is what else it says */
bool smmuv3_ste_eats_valid(SMMUv3State *s, SMMUTransCfg *cfg, const STE *ste);

/* What a translation allows to whom, in stage 1 and in stage 2 */
IOMMUAccessFlags smmuv3_stage1_perm(const SMMUTransCfg *cfg,
                                    const SMMUTLBEntry *tlbe, bool priv);
IOMMUAccessFlags smmuv3_stage2_perm(const SMMUTransCfg *cfg,
                                    const SMMUTLBEntry *tlbe, bool priv);

/* An access with an address from an earlier translation request */
IOMMUTLBEntry smmuv3_translated_request(SMMUDevice *sdev, hwaddr addr,
                                        IOMMUAccessFlags flag);

/*
 * Record @event, which is about the configuration and was found by a
 * translation request, a translated access or a page request, if software wants
 * to hear of those.
 */
void smmuv3_record_ats_event(SMMUv3State *s, SMMUEventInfo *event);

/* Commands.  The device may translate at once, so the mutex must be free. */
SMMUCmdError smmuv3_cmd_atc_inv(SMMUv3State *s, const Cmd *cmd);

/*
 * What CMD_SYNC has to say of earlier invalidations.  With @wait set it cannot
 * complete yet.
 */
SMMUCmdError smmuv3_ats_sync(SMMUv3State *s, bool *wait);

void smmuv3_ats_reset(SMMUv3State *s);

extern const VMStateDescription vmstate_smmuv3_ats;

/* smmuv3.c; consume commands if that is possible */
int smmuv3_cmdq_consume(SMMUv3State *s);

#endif

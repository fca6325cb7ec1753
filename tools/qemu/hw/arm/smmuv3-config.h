/*
 * ARM SMMUv3: configuration of streams and substreams
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unless said otherwise the mutex of the SMMU must be held.  An SSID is
 * PCI_NO_PASID for what comes without one, which is not the same as SSID 0.
 */

#ifndef HW_ARM_SMMUV3_CONFIG_H
#define HW_ARM_SMMUV3_CONFIG_H

#include "smmuv3-internal.h"

void smmuv3_config_init(SMMUv3State *s);
void smmuv3_config_reset(SMMUv3State *s);

/* An event about a request, of no type yet; needs no mutex */
SMMUEventInfo smmuv3_new_event(SMMUDevice *sdev, uint32_t ssid);

/**
 * smmuv3_get_ste: Get and check the stream table entry of a device
 *
 * @sdev: the device
 * @cfg: zeroed; what the entry says is stored here
 * @ste: where to store the entry
 * @event: its type is set if something is wrong
 *
 * Entries that are right are cached until they are invalidated.
 *
 * Returns: 0 or -EINVAL
 */
int smmuv3_get_ste(SMMUDevice *sdev, SMMUTransCfg *cfg, STE *ste,
                   SMMUEventInfo *event);

/**
 * smmuv3_get_config: Get what a request has to be translated with
 *
 * @sdev: the device
 * @ssid: its SSID or PCI_NO_PASID
 * @event: as for smmuv3_get_ste().  A fault of stage 2 at the context
 *     descriptor that is not to be recorded has type SMMU_EVT_NONE.
 *
 * Returns: the cached configuration, valid until the mutex is released, or NULL
 */
SMMUTransCfg *smmuv3_get_config(SMMUDevice *sdev, uint32_t ssid,
                                SMMUEventInfo *event);

/* Forget what is cached of some streams, of one, of its context descriptors */
void smmuv3_flush_streams(SMMUv3State *s, SMMUSIDRange range);
void smmuv3_flush_stream(SMMUDevice *sdev);
void smmuv3_flush_cds(SMMUDevice *sdev);
void smmuv3_flush_cd(SMMUDevice *sdev, uint32_t ssid);

/* smmuv3-cd.c: whether what the STE says of substreams is legal */
bool smmuv3_ste_substreams_valid(SMMUv3State *s, const STE *ste);

/**
 * smmuv3_get_cd: Read the context descriptor of a request
 *
 * @s: the SMMU
 * @ste: an entry with stage 1, which has been checked
 * @cfg: what it says; changed if the request bypasses stage 1
 * @ssid: SSID or PCI_NO_PASID
 * @cd: where to store the descriptor
 * @event: as for smmuv3_get_config()
 *
 * Returns: 1 if there is a descriptor, 0 if the request bypasses stage 1,
 *     -EINVAL
 */
int smmuv3_get_cd(SMMUv3State *s, const STE *ste, SMMUTransCfg *cfg,
                  uint32_t ssid, CD *cd, SMMUEventInfo *event);

/* smmuv3.c */
int smmuv3_find_ste(SMMUv3State *s, uint32_t sid, STE *ste,
                    SMMUEventInfo *event);
int smmuv3_decode_ste(SMMUv3State *s, SMMUTransCfg *cfg, STE *ste,
                      SMMUEventInfo *event);
int smmuv3_decode_cd(SMMUv3State *s, SMMUTransCfg *cfg, CD *cd,
                     SMMUEventInfo *event);
SMMUTranslationStatus smmuv3_do_translate(SMMUv3State *s, hwaddr addr,
                                          SMMUTransCfg *cfg,
                                          SMMUEventInfo *event,
                                          IOMMUAccessFlags flag,
                                          SMMUTLBEntry **out_entry,
                                          SMMUTranslationClass class);

#endif

/*
 * ARM SMMU: hardware update of the access flag and of dirty state
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMU_HTTU_H
#define HW_ARM_SMMU_HTTU_H

#include "hw/arm/smmu-common.h"

/* A descriptor that a walk has found, and what there is to be set in it */
typedef struct SMMUHTTUDesc {
    dma_addr_t addr;    /* where it is */
    dma_addr_t ipa;     /* of stage 1, if there is a stage 2: the same there */
    uint64_t pte;
    bool af;            /* the access flag */
    bool clean;         /* it lets write, once it is marked dirty */
} SMMUHTTUDesc;

/* Of stage 1 and of stage 2 */
typedef struct SMMUHTTU {
    SMMUHTTUDesc s1;
    SMMUHTTUDesc s2;
} SMMUHTTU;

/**
 * smmu_httu_s1: Look at a stage 1 descriptor of a page or block
 *
 * @cfg: the configuration
 * @pte: the descriptor
 * @desc: its addresses are set; the rest is stored here
 *
 * Returns: AP, as if the page was dirty, if it may be made so
 */
uint8_t smmu_httu_s1(const SMMUTransCfg *cfg, uint64_t pte,
                     SMMUHTTUDesc *desc);

/* The same for stage 2 and S2AP */
uint8_t smmu_httu_s2(const SMMUTransCfg *cfg, uint64_t pte,
                     SMMUHTTUDesc *desc);

/**
 * smmu_httu_update: Update the descriptors of a walk that was successful
 *
 * @bs: the SMMU
 * @cfg: the configuration
 * @perm: the access
 * @tlbe: the result of the walk; permission to write is taken out if a page is
 *     not made dirty
 * @httu: the descriptors
 * @info: about the access; where to store what goes wrong
 *
 * Returns: 0, -EAGAIN if a descriptor has changed since the walk, or -EINVAL
 */
int smmu_httu_update(SMMUState *bs, SMMUTransCfg *cfg, IOMMUAccessFlags perm,
                     SMMUTLBEntry *tlbe, const SMMUHTTU *httu,
                     SMMUPTWEventInfo *info);

/* smmu-common.c: translate where a table of stage 1 is; for reading, or more */
int smmu_translate_table_ipa(SMMUState *bs, dma_addr_t *table_addr,
                             SMMUTransCfg *cfg, IOMMUAccessFlags flag,
                             SMMUPTWEventInfo *info);

#endif

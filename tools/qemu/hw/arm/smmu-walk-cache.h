/*
 * ARM SMMU: cache of tables above the last level
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMU_WALK_CACHE_H
#define HW_ARM_SMMU_WALK_CACHE_H

#include "hw/arm/smmu-common.h"

/* Where the walk of an address has got to */
typedef struct SMMUWalkStep {
    uint8_t level;          /* of the table */
    dma_addr_t table;
    uint64_t attrs;         /* of all table descriptors on the way to it */
} SMMUWalkStep;

/* Have the cache: without, the functions below do nothing */
void smmu_walk_cache_init(SMMUState *bs);

/**
 * smmu_walk_cache_lookup: Find the lowest table that is cached
 *
 * @bs: the SMMU
 * @cfg: whose walk it is; only stage 1 without stage 2 is cached
 * @granule_sz: log2 of the granule
 * @iova: the address
 * @step: where the walk begins; changed to where it can begin
 */
void smmu_walk_cache_lookup(SMMUState *bs, const SMMUTransCfg *cfg,
                            uint8_t granule_sz, dma_addr_t iova,
                            SMMUWalkStep *step);

/* Remember where a table is */
void smmu_walk_cache_add(SMMUState *bs, const SMMUTransCfg *cfg,
                         uint8_t granule_sz, dma_addr_t iova,
                         const SMMUWalkStep *step);

/**
 * smmu_walk_cache_drop: Forget tables
 *
 * @bs: the SMMU
 * @asid: of this ASID; -1 for any
 * @vmid: of this VMID; -1 for any
 * @iova: first address
 * @size: tables of any of so many bytes; 0 for all addresses
 */
void smmu_walk_cache_drop(SMMUState *bs, int asid, int vmid, dma_addr_t iova,
                          uint64_t size);

#endif

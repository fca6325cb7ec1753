/*
 * Intel IOMMU (VT-d): page walks
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_WALK_H
#define HW_I386_INTEL_IOMMU_WALK_H

#include "intel_iommu_psc.h"
#include "intel_iommu_tables.h"

#define VTD_PERM_RWX (IOMMU_RW | IOMMU_EXEC)

#define VTD_LEVEL_SHIFT(level) \
    (VTD_PAGE_SHIFT_4K + ((level) - 1) * VTD_LEVEL_BITS)
/* Offset bits of a page of that level */
#define VTD_LEVEL_MASK(level) MAKE_64BIT_MASK(0, VTD_LEVEL_SHIFT(level))

/* What a page walk found out */
typedef struct VTDWalk {
    hwaddr xlat;            /* where the page is, if the walk got there */
    uint32_t level;         /* of the page, or where the walk ended */
    IOMMUAccessFlags perm;  /* granted, and safe to cache */
} VTDWalk;

/* The lowest table that a walk came to, for walks of addresses close by */
typedef struct VTDWalkHint {
    hwaddr addr;
    VTDPSCTable table;      /* level 0 for none */
} VTDWalkHint;

/**
 * vtd_walk: Walk the page tables of a request, of either or of both stages
 *
 * @s: the IOMMU
 * @t: the tables of the request, not for pass-through
 * @addr: the address
 * @want: permissions asked for, and IOMMU_PRIV for a privileged request
 * @partial: whether less than all of @want is good enough
 * @hint: NULL, or what the walk before left there; of the same tables, and as
 *     long as no invalidation is carried out in between
 * @walk: where to store the result; the level is valid on error, too
 *
 * Sets accessed and dirty bits.  The caller holds the lock of the IOMMU.
 *
 * Returns: 0 or a negative VTDFaultReason, which is not reported yet
 */
int vtd_walk(IntelIOMMUState *s, const VTDTables *t, hwaddr addr,
             IOMMUAccessFlags want, bool partial, VTDWalkHint *hint,
             VTDWalk *walk);

#endif

/*
 * AMD IOMMU (AMD-Vi): page walks in the tables of the host (v1)
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"

/* Reserved in entries that are present */
#define AMDVI_PTE_RESERVED  MAKE_64BIT_MASK(52, 7)

static IOMMUAccessFlags amdvi_host_perm(uint64_t entry)
{
    return IOMMU_ACCESS_FLAG(entry & AMDVI_PTE_IR, entry & AMDVI_PTE_IW);
}

/* Size of the page of a leaf at @level. Returns: false for none */
static bool amdvi_host_leaf(uint64_t pte, unsigned level, AMDVIWalk *walk)
{
    unsigned shift = amdvi_level_shift(level), size;

    if (extract64(pte, 9, 3) == AMDVI_PTE_SIZED) {
        /* The first zero of the address */
        size = 13 + cto64(pte >> 12);
        if (size <= shift || size >= shift + AMDVI_LEVEL_BITS || size > 52) {
            return false;
        }
        shift = size;
    }
    walk->mask = MAKE_64BIT_MASK(0, shift);
    walk->xlat = pte & AMDVI_ADDR_MASK & ~walk->mask;
    walk->untranslated = pte & AMDVI_PTE_U;
    return true;
}

/* Set A, and D with a leaf that is written to */
static AMDVIWalkResult amdvi_host_flags(const AMDVIRequest *req,
                                        const AMDVIDTE *dte, hwaddr at,
                                        uint64_t *pte, bool leaf,
                                        AMDVIWalk *walk, bool *changed,
                                        AMDVIFault *fault)
{
    uint64_t flags = 0;

    *changed = false;
    if (dte->q[0] & AMDVI_DTE_HA) {
        flags |= AMDVI_PTE_A;
    }
    if (leaf && (dte->q[0] & AMDVI_DTE_HD) &&
        (req->want & walk->perm & IOMMU_WO)) {
        flags |= AMDVI_PTE_D;
    }
    if ((flags & ~*pte) &&
        !pci_iommu_update_entry(at, *pte, *pte | flags, changed)) {
        return amdvi_hw_error(fault, at);
    }
    /* Without D, a later write has to come back here */
    if (leaf && (dte->q[0] & AMDVI_DTE_HD) &&
        !((*pte | flags) & AMDVI_PTE_D)) {
        walk->perm &= ~IOMMU_WO;
    }
    return AMDVI_WALK_OK;
}

/* The entry at @at. *@next is the level that it leads to, 0 for a leaf */
static AMDVIWalkResult amdvi_host_entry(const AMDVIRequest *req,
                                        const AMDVIDTE *dte, hwaddr at,
                                        unsigned level, uint64_t *pte,
                                        unsigned *next, AMDVIWalk *walk,
                                        AMDVIFault *fault)
{
    IOMMUAccessFlags before = walk->perm;
    AMDVIWalkResult ret;
    bool changed;

    do {
        walk->perm = before;
        walk->mask = MAKE_64BIT_MASK(0, amdvi_level_shift(level));
        if (!amdvi_read_memory(at, pte, 1)) {
            return amdvi_hw_error(fault, at);
        }
        if (!(*pte & AMDVI_PTE_PR)) {
            return amdvi_fault(fault, 0);
        }
        *next = extract64(*pte, 9, 3);
        if (*next == AMDVI_PTE_SIZED) {
            *next = 0;
        }
        if ((*pte & AMDVI_PTE_RESERVED) || *next >= level ||
            (!*next && !amdvi_host_leaf(*pte, level, walk))) {
            return amdvi_fault(fault, AMDVI_EVF_PR | AMDVI_EVF_RZ);
        }
        walk->perm &= amdvi_host_perm(*pte);
        if (!amdvi_perm_suffices(req, walk->perm)) {
            return amdvi_fault(fault, AMDVI_EVF_PR | AMDVI_EVF_PE);
        }
        ret = amdvi_host_flags(req, dte, at, pte, !*next, walk, &changed,
                               fault);
        if (ret) {
            return ret;
        }
    } while (changed);
    return AMDVI_WALK_OK;
}

AMDVIWalkResult amdvi_walk_host(const AMDVIRequest *req, const AMDVIDTE *dte,
                                hwaddr addr, AMDVIWalk *walk,
                                AMDVIFault *fault)
{
    hwaddr table = dte->q[0] & AMDVI_ADDR_MASK;
    unsigned level = amdvi_dte_mode(dte), next, shift;
    AMDVIWalkResult ret;
    uint64_t pte;

    *walk = (AMDVIWalk) { .mask = AMDVI_PAGE_LOW, .perm = IOMMU_RW };
    if (level < 6 && addr >> amdvi_level_shift(level + 1)) {
        return amdvi_fault(fault, 0);
    }
    for (; ; level = next) {
        ret = amdvi_host_entry(req, dte, amdvi_entry_addr(table, addr, level),
                               level, &pte, &next, walk, fault);
        if (ret) {
            return ret;
        }
        if (!next) {
            return AMDVI_WALK_OK;
        }
        /* What a skipped level would look at has to be zero */
        shift = amdvi_level_shift(next + 1);
        if (next + 1 < level &&
            extract64(addr, shift, amdvi_level_shift(level) - shift)) {
            walk->mask = AMDVI_PAGE_LOW;
            return amdvi_fault(fault, 0);
        }
        table = pte & AMDVI_ADDR_MASK;
    }
}

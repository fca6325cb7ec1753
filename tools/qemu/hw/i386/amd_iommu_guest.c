/*
 * AMD IOMMU (AMD-Vi): page walks in the tables of the guest (v2)
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GCR3 tables, and page tables that are those of the processor.  Where there
 * are tables of the host too, what those of the guest lead to has addresses of
 * the guest, which the host's translate then: nested translation.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"

#define AMDVI_GCR3_RESERVED (MAKE_64BIT_MASK(1, 11) | MAKE_64BIT_MASK(52, 12))

/* Where in memory an address of the guest is */
static AMDVIWalkResult amdvi_guest_locate(const AMDVIRequest *req,
                                          const AMDVIDTE *dte, hwaddr addr,
                                          IOMMUAccessFlags want,
                                          hwaddr *located, AMDVIFault *fault)
{
    AMDVIRequest access = *req;
    AMDVIWalkResult ret;
    AMDVIWalk walk;

    *located = addr;
    if (!amdvi_dte_mode(dte)) {
        return AMDVI_WALK_OK;
    }
    access.kind = AMDVI_REQ_UNTRANSLATED;
    access.want = want;
    ret = amdvi_walk_host(&access, dte, addr, &walk, fault);
    if (ret) {
        fault->host = true;
        fault->addr = ret == AMDVI_WALK_HW ? fault->addr : addr;
        return ret;
    }
    *located = walk.xlat | (addr & walk.mask);
    return AMDVI_WALK_OK;
}

static AMDVIWalkResult amdvi_guest_read(const AMDVIRequest *req,
                                        const AMDVIDTE *dte, hwaddr addr,
                                        uint64_t *val, AMDVIFault *fault)
{
    hwaddr at;
    AMDVIWalkResult ret = amdvi_guest_locate(req, dte, addr, IOMMU_RO, &at,
                                             fault);

    if (ret) {
        return ret;
    }
    return amdvi_read_memory(at, val, 1) ? AMDVI_WALK_OK :
                                           amdvi_hw_error(fault, at);
}

AMDVIWalkResult amdvi_walk_gcr3(const AMDVIRequest *req, const AMDVIDTE *dte,
                                uint32_t pasid, hwaddr *root,
                                AMDVIFault *fault)
{
    unsigned level = extract64(dte->q[0], 56, 2);
    bool of_guest = amdvi_control(req->s, AMDVI_CONTROL_GCR3_TRP);
    hwaddr table = amdvi_dte_gcr3(dte), at;
    AMDVIWalkResult ret;
    uint64_t entry;

    if (pasid >> req->s->pasid_bits ||
        pasid >> (level + 1) * AMDVI_LEVEL_BITS) {
        return amdvi_fault(fault, 0);
    }
    for (; ; level--) {
        at = table + extract32(pasid, level * AMDVI_LEVEL_BITS,
                               AMDVI_LEVEL_BITS) * sizeof(entry);
        if (of_guest) {
            ret = amdvi_guest_read(req, dte, at, &entry, fault);
        } else {
            ret = amdvi_read_memory(at, &entry, 1) ? AMDVI_WALK_OK :
                  amdvi_hw_error(fault, at);
        }
        if (ret) {
            return ret;
        }
        if (!(entry & AMDVI_GCR3_V)) {
            return amdvi_fault(fault, 0);
        }
        if (entry & AMDVI_GCR3_RESERVED) {
            return amdvi_fault(fault, AMDVI_EVF_PR | AMDVI_EVF_RZ);
        }
        table = entry & AMDVI_ADDR_MASK;
        if (!level) {
            *root = table;
            return AMDVI_WALK_OK;
        }
        /* Only what the device table entry points to can be of the host */
        of_guest = true;
    }
}

typedef struct AMDVIGuestWalk {
    const AMDVIRequest *req;
    const AMDVIDTE *dte;
    hwaddr addr;
    bool us, rw, nx;
    AMDVIWalk *walk;
    AMDVIFault *fault;
} AMDVIGuestWalk;

static bool amdvi_guest_is_leaf(uint64_t pte, unsigned level)
{
    return level == 1 || (pte & AMDVI_GPTE_PS);
}

static bool amdvi_guest_reserved(uint64_t pte, unsigned level)
{
    if (level == 1 || !(pte & AMDVI_GPTE_PS)) {
        return false;
    }
    /* Bit 12 is the memory type */
    return level > 3 ||
           (pte & MAKE_64BIT_MASK(13, amdvi_level_shift(level) - 13));
}

/* Both grant it, in the smaller of the two pages */
static AMDVIWalkResult amdvi_guest_nested(AMDVIGuestWalk *g)
{
    AMDVIRequest req = *g->req;
    AMDVIWalk *walk = g->walk, host;
    hwaddr page = walk->xlat | (g->addr & walk->mask);
    AMDVIWalkResult ret;

    req.want &= walk->perm | IOMMU_PRIV;
    ret = amdvi_walk_host(&req, g->dte, page, &host, g->fault);
    walk->mask = MIN(walk->mask, host.mask);
    if (ret) {
        g->fault->host = true;
        g->fault->addr = ret == AMDVI_WALK_HW ? g->fault->addr : page;
        return ret;
    }
    walk->xlat = (host.xlat | (page & host.mask)) & ~walk->mask;
    walk->untranslated = host.untranslated;
    if (host.perm & IOMMU_RO) {
        /* The host has no say in this */
        host.perm |= IOMMU_EXEC;
    }
    walk->perm &= host.perm;
    return AMDVI_WALK_OK;
}

/* What the page may be used for; @flags are to be set in the leaf */
static AMDVIWalkResult amdvi_guest_leaf(AMDVIGuestWalk *g, uint64_t pte,
                                        unsigned level, uint64_t *flags)
{
    AMDVIWalk *walk = g->walk;
    AMDVIWalkResult ret;

    walk->mask = MAKE_64BIT_MASK(0, amdvi_level_shift(level));
    walk->xlat = pte & AMDVI_ADDR_MASK & ~walk->mask;
    walk->perm = IOMMU_ACCESS_FLAG(true, g->rw && (pte & AMDVI_GPTE_RW));
    if (!g->nx && !(pte & AMDVI_GPTE_NX)) {
        walk->perm |= IOMMU_EXEC;
    }
    if (!(g->req->want & IOMMU_PRIV) && !(g->us && (pte & AMDVI_GPTE_US))) {
        walk->perm = IOMMU_NONE;
    }
    if (!amdvi_perm_suffices(g->req, walk->perm)) {
        return amdvi_fault(g->fault, AMDVI_EVF_PR | AMDVI_EVF_PE);
    }
    if (amdvi_dte_mode(g->dte)) {
        ret = amdvi_guest_nested(g);
        if (ret) {
            return ret;
        }
    }
    if (g->req->want & walk->perm & IOMMU_WO) {
        *flags |= AMDVI_GPTE_D;
    }
    /* Without D, a later write has to come back here */
    if (!((pte | *flags) & AMDVI_GPTE_D)) {
        walk->perm &= ~IOMMU_WO;
    }
    return AMDVI_WALK_OK;
}

static AMDVIWalkResult amdvi_guest_set_flags(AMDVIGuestWalk *g, hwaddr addr,
                                             uint64_t pte, uint64_t flags,
                                             bool *changed)
{
    AMDVIWalkResult ret;
    hwaddr at;

    *changed = false;
    if (!(flags & ~pte)) {
        return AMDVI_WALK_OK;
    }
    ret = amdvi_guest_locate(g->req, g->dte, addr, IOMMU_WO, &at, g->fault);
    if (ret) {
        return ret;
    }
    return pci_iommu_update_entry(at, pte, pte | flags, changed) ?
           AMDVI_WALK_OK : amdvi_hw_error(g->fault, at);
}

/* The entry at @at, an address of the guest */
static AMDVIWalkResult amdvi_guest_entry(AMDVIGuestWalk *g, hwaddr at,
                                         unsigned level, uint64_t *pte)
{
    AMDVIWalkResult ret;
    uint64_t flags;
    bool changed = false;

    do {
        flags = AMDVI_GPTE_A;
        ret = amdvi_guest_read(g->req, g->dte, at, pte, g->fault);
        if (ret) {
            return ret;
        }
        if (!(*pte & AMDVI_GPTE_P)) {
            return amdvi_fault(g->fault, 0);
        }
        if (amdvi_guest_reserved(*pte, level)) {
            return amdvi_fault(g->fault, AMDVI_EVF_PR | AMDVI_EVF_RZ);
        }
        if (amdvi_guest_is_leaf(*pte, level)) {
            ret = amdvi_guest_leaf(g, *pte, level, &flags);
        }
        if (!ret) {
            ret = amdvi_guest_set_flags(g, at, *pte, flags, &changed);
        }
        if (ret) {
            return ret;
        }
    } while (changed);
    g->us &= !!(*pte & AMDVI_GPTE_US);
    g->rw &= !!(*pte & AMDVI_GPTE_RW);
    g->nx |= !!(*pte & AMDVI_GPTE_NX);
    return AMDVI_WALK_OK;
}

AMDVIWalkResult amdvi_walk_guest(const AMDVIRequest *req, const AMDVIDTE *dte,
                                 hwaddr root, hwaddr addr, AMDVIWalk *walk,
                                 AMDVIFault *fault)
{
    unsigned level = 4 + extract64(dte->q[2], 54, 2);
    AMDVIGuestWalk g = {
        .req = req,
        .dte = dte,
        .addr = addr,
        .us = true,
        .rw = true,
        .walk = walk,
        .fault = fault,
    };
    AMDVIWalkResult ret;
    uint64_t pte;

    *walk = (AMDVIWalk) { .mask = AMDVI_PAGE_LOW };
    if (sextract64(addr, 0, amdvi_level_shift(level + 1)) != (int64_t)addr) {
        return amdvi_fault(fault, 0);
    }
    for (; ; level--) {
        walk->mask = MAKE_64BIT_MASK(0, amdvi_level_shift(level));
        ret = amdvi_guest_entry(&g, amdvi_entry_addr(root, addr, level),
                                level, &pte);
        if (ret || amdvi_guest_is_leaf(pte, level)) {
            return ret;
        }
        root = pte & AMDVI_ADDR_MASK;
    }
}

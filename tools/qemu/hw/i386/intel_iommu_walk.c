/*
 * Intel IOMMU (VT-d): page walks
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * First stage, second stage, and the first stage on top of the second, which
 * is called nested translation: the tables and the pages of the first stage
 * have addresses that the second stage translates.  Section numbers are those
 * of the VT-d specification 4.1.
 */

#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "system/dma.h"
#include "hw/pci/pci_ats.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_walk.h"

static hwaddr vtd_pte_addr(hwaddr base, hwaddr addr, uint32_t level)
{
    return base + extract64(addr, VTD_LEVEL_SHIFT(level), VTD_LEVEL_BITS) *
                  sizeof(uint64_t);
}

static bool vtd_read_pte(hwaddr addr, uint64_t *pte)
{
    if (dma_memory_read(&address_space_memory, addr, pte, sizeof(*pte),
                        VTD_TABLE_ATTRS)) {
        return false;
    }
    *pte = le64_to_cpu(*pte);
    return true;
}

static bool vtd_is_leaf(uint64_t pte, uint32_t level)
{
    return level == VTD_PT_LEVEL || (pte & VTD_PT_PAGE_SIZE_MASK);
}

/* The hint knows the table that an address is in */
static bool vtd_hint_is_for(const VTDWalkHint *hint, hwaddr addr)
{
    return hint && hint->table.level &&
           !((addr ^ hint->addr) & ~VTD_LEVEL_MASK(hint->table.level));
}

/* A walk has found a table */
static void vtd_remember(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr,
                         const VTDPSCTable *table, VTDWalkHint *hint)
{
    vtd_psc_update(s, tag, addr, table);
    if (hint) {
        hint->addr = addr;
        hint->table = *table;
    }
}

/* Second stage tables, also those of legacy mode */
typedef struct VTDSecondStage {
    IntelIOMMUState *s;
    hwaddr base;
    uint32_t top;
    VTDPSCTag tag;
    VTDWalkHint *hint;
    bool ad;            /* maintain accessed and dirty bits */
} VTDSecondStage;

/* Which right is missing; a write is asked for alone if it must be granted */
static int vtd_fault_of_rights(IOMMUAccessFlags missing)
{
    return missing & IOMMU_WO ? -VTD_FR_SM_WRITE : -VTD_FR_SM_READ;
}

/* Bits that an access sets in a second stage entry */
static uint64_t vtd_ss_flags(uint64_t pte, uint32_t level,
                             IOMMUAccessFlags access)
{
    bool dirty = (access & IOMMU_WO) && vtd_is_leaf(pte, level);

    return VTD_SL_A | (dirty ? VTD_SL_D : 0);
}

static int vtd_ss_read_entry(const VTDSecondStage *ss, hwaddr pte_addr,
                             uint32_t level, uint64_t *pte)
{
    if (!vtd_read_pte(pte_addr, pte)) {
        return level == ss->top ? -VTD_FR_PASID_ENTRY_SSPTPTR_INV :
                                  -VTD_FR_SS_PAGING_ENTRY_INV;
    }
    if (!(*pte & VTD_SL_RW_MASK)) {
        return -VTD_FR_SS_PAGING_ENTRY_P;
    }
    return vtd_slpte_nonzero_rsvd(*pte, level) ? -VTD_FR_SS_PAGING_ENTRY_RSVD :
                                                 0;
}

/*
 * One second stage entry: take its rights off @walk->perm, and set its A and D
 * bits.
 */
static int vtd_ss_entry(const VTDSecondStage *ss, hwaddr pte_addr,
                        IOMMUAccessFlags want, bool partial, VTDWalk *walk,
                        uint64_t *pte)
{
    IOMMUAccessFlags perm;
    uint64_t flags;
    bool changed;
    int ret;

    do {
        changed = false;
        ret = vtd_ss_read_entry(ss, pte_addr, walk->level, pte);
        if (ret) {
            return ret;
        }
        perm = walk->perm & IOMMU_ACCESS_FLAG(*pte & VTD_SL_R,
                                              *pte & VTD_SL_W);
        if (!perm || (!partial && (want & ~perm & IOMMU_RW))) {
            return vtd_fault_of_rights(want & ~perm);
        }
        flags = ss->ad ? vtd_ss_flags(*pte, walk->level, want & perm) : 0;
        if ((flags & ~*pte) &&
            !pci_iommu_update_entry(pte_addr, *pte, *pte | flags, &changed)) {
            return -VTD_FR_SS_PAGING_ENTRY_INV;
        }
    } while (changed);
    *pte |= flags;
    walk->perm = perm;
    return 0;
}

/* Rights on the way to a second stage table, and rights a request needs */
static uint8_t vtd_ss_psc_rights(IOMMUAccessFlags perm)
{
    return (perm & IOMMU_RO ? VTD_PSC_READ : 0) |
           (perm & IOMMU_WO ? VTD_PSC_WRITE : 0);
}

/* Where a second stage walk starts: @walk->level says for what level it is */
static hwaddr vtd_ss_start(const VTDSecondStage *ss, hwaddr addr,
                           IOMMUAccessFlags want, VTDWalk *walk)
{
    VTDPSCTable table;

    walk->level = ss->top;
    if (vtd_hint_is_for(ss->hint, addr)) {
        table = ss->hint->table;
    } else if (!vtd_psc_lookup(ss->s, &ss->tag, addr, ss->top,
                               vtd_ss_psc_rights(want), &table)) {
        return ss->base;
    }
    walk->level = table.level - 1;
    walk->perm = IOMMU_ACCESS_FLAG(table.rights & VTD_PSC_READ,
                                   table.rights & VTD_PSC_WRITE);
    return table.base;
}

/* Second stage page walk (3.7), with the faults of scalable mode */
static int vtd_walk_ss(const VTDSecondStage *ss, hwaddr addr,
                       IOMMUAccessFlags want, bool partial, VTDWalk *walk)
{
    uint8_t aw_bits = ss->s->aw_bits;
    hwaddr base;
    uint64_t pte;
    int ret;

    walk->level = VTD_PT_LEVEL;
    walk->perm = IOMMU_RW;
    if (addr >> MIN(VTD_LEVEL_SHIFT(ss->top + 1), aw_bits)) {
        return -VTD_FR_SM_ADDR_BEYOND_MGAW;
    }
    for (base = vtd_ss_start(ss, addr, want, walk); ; walk->level--) {
        ret = vtd_ss_entry(ss, vtd_pte_addr(base, addr, walk->level), want,
                           partial, walk, &pte);
        if (ret) {
            return ret;
        }
        base = pte & VTD_PT_BASE_ADDR_MASK(aw_bits);
        if (vtd_is_leaf(pte, walk->level)) {
            break;
        }
        vtd_remember(ss->s, &ss->tag, addr, &(VTDPSCTable) {
            .base = base,
            .level = walk->level,
            .rights = vtd_ss_psc_rights(walk->perm),
        }, ss->hint);
    }
    /* Without D, a later write has to come back here */
    if (ss->ad && !(pte & VTD_SL_D)) {
        walk->perm &= ~IOMMU_WO;
    }
    walk->xlat = base & ~VTD_LEVEL_MASK(walk->level);
    return 0;
}

/* First stage tables of a request, and what it may do so far */
typedef struct VTDFirstStage {
    IntelIOMMUState *s;
    const VTDPASIDEntry *pe;
    uint32_t top;
    bool nested;            /* addresses are for the second stage */
    VTDSecondStage ss;
    VTDPSCTag tag;
    VTDWalkHint *hint;
    IOMMUAccessFlags want;
    bool partial;
    bool us, rw, xd;
} VTDFirstStage;

/* The second stage fails to find a first stage table (faults SFS.5 to SFS.8) */
static int vtd_fault_of_fs_table(int fault, bool top)
{
    switch (fault) {
    case -VTD_FR_SM_ADDR_BEYOND_MGAW:
        return -VTD_FR_FS_TABLE_BEYOND_AGAW;
    case -VTD_FR_SM_READ:
        return top ? -VTD_FR_FS_TOP_READ : -VTD_FR_FS_TABLE_READ;
    case -VTD_FR_SM_WRITE:
        return -VTD_FR_FS_TABLE_WRITE;
    default:
        return fault;
    }
}

/* Where the first stage entry at @addr is in memory */
static int vtd_fs_locate(const VTDFirstStage *fs, hwaddr addr, uint32_t level,
                         IOMMUAccessFlags want, hwaddr *pte_addr)
{
    VTDWalk walk;
    int ret;

    *pte_addr = addr;
    if (!fs->nested) {
        return 0;
    }
    ret = vtd_walk_ss(&fs->ss, addr, want, false, &walk);
    if (ret) {
        return vtd_fault_of_fs_table(ret, level == fs->top);
    }
    *pte_addr = walk.xlat | (addr & VTD_LEVEL_MASK(walk.level));
    return 0;
}

/* Rights of a first stage leaf, from those gathered on the way to it (3.6) */
static int vtd_fs_rights(const VTDFirstStage *fs, uint64_t pte,
                         IOMMUAccessFlags *perm)
{
    bool us = fs->us && (pte & VTD_FL_US);
    bool rw = fs->rw && (pte & VTD_FL_RW);
    bool xd = fs->xd || (pte & VTD_FL_XD);
    bool priv = fs->want & IOMMU_PRIV;

    if (!priv && !us) {
        return -VTD_FR_FS_PAGING_ENTRY_US;
    }
    if (priv && !(fs->pe->val[2] & VTD_SM_PASID_ENTRY_WPE)) {
        rw = true;
    }
    if (priv && us && (fs->pe->val[2] & VTD_SM_PASID_ENTRY_SMEP)) {
        xd = true;
    }
    *perm = IOMMU_ACCESS_FLAG(true, rw);
    if (!xd && (fs->pe->val[2] & VTD_SM_PASID_ENTRY_ERE)) {
        *perm |= IOMMU_EXEC;
    }
    return !fs->partial && (fs->want & ~*perm & IOMMU_WO) ? -VTD_FR_SM_WRITE :
                                                            0;
}

/*
 * Nested translation of the page that the first stage leads to (3.8): the
 * rights that both stages grant, in the smaller of the two pages.
 */
static int vtd_fs_nested_page(const VTDFirstStage *fs, hwaddr addr,
                              VTDWalk *walk)
{
    IOMMUAccessFlags perm = walk->perm;
    hwaddr mask = VTD_LEVEL_MASK(walk->level);
    hwaddr page = walk->xlat | (addr & mask);
    uint32_t level = walk->level;
    int ret;

    ret = vtd_walk_ss(&fs->ss, page, fs->want & perm, fs->partial, walk);
    if (ret == -VTD_FR_SM_ADDR_BEYOND_MGAW) {
        /* All of the page is */
        walk->level = level;
        return -VTD_FR_NESTED_BEYOND_AGAW;
    }
    walk->xlat |= page & VTD_LEVEL_MASK(walk->level);
    walk->level = MIN(walk->level, level);
    walk->xlat &= ~VTD_LEVEL_MASK(walk->level);
    if (ret) {
        return ret;
    }
    if (walk->perm & IOMMU_RO) {
        /* The second stage has no say in this: there is no SSEE */
        walk->perm |= IOMMU_EXEC;
    }
    walk->perm &= perm;
    return 0;
}

/* The page of a first stage leaf; @flags are to be set in the leaf */
static int vtd_fs_leaf(const VTDFirstStage *fs, hwaddr addr, uint64_t pte,
                       uint32_t level, VTDWalk *walk, uint64_t *flags)
{
    int ret;

    walk->level = level;
    ret = vtd_fs_rights(fs, pte, &walk->perm);
    if (ret) {
        return ret;
    }
    walk->xlat = pte & VTD_PT_BASE_ADDR_MASK(fs->s->aw_bits) &
                 ~VTD_LEVEL_MASK(level);
    if (fs->nested) {
        ret = vtd_fs_nested_page(fs, addr, walk);
        if (ret) {
            return ret;
        }
    }
    if (fs->want & walk->perm & IOMMU_WO) {
        *flags |= VTD_FL_D;
    }
    /* Without D, a later write has to come back here */
    if (!((pte | *flags) & VTD_FL_D)) {
        walk->perm &= ~IOMMU_WO;
    }
    return 0;
}

/* Set A and D, which takes write permission of the second stage (SFS.8) */
static int vtd_fs_set_flags(const VTDFirstStage *fs, hwaddr addr,
                            uint32_t level, uint64_t pte, uint64_t flags,
                            bool *changed)
{
    hwaddr pte_addr;
    int ret;

    *changed = false;
    if (!(flags & ~pte)) {
        return 0;
    }
    ret = vtd_fs_locate(fs, addr, level, IOMMU_WO, &pte_addr);
    if (ret) {
        return ret;
    }
    return pci_iommu_update_entry(pte_addr, pte, pte | flags, changed) ?
           0 : -VTD_FR_FS_BIT_UPDATE_FAILED;
}

static int vtd_fs_read_entry(const VTDFirstStage *fs, hwaddr gpa,
                             uint32_t level, uint64_t *pte)
{
    hwaddr pte_addr;
    int ret;

    ret = vtd_fs_locate(fs, gpa, level, IOMMU_RO, &pte_addr);
    if (ret) {
        return ret;
    }
    if (!vtd_read_pte(pte_addr, pte)) {
        return level == fs->top ? -VTD_FR_PASID_ENTRY_FSPTPTR_INV :
                                  -VTD_FR_FS_PAGING_ENTRY_INV;
    }
    if (!(*pte & VTD_FL_P)) {
        return -VTD_FR_FS_PAGING_ENTRY_P;
    }
    return vtd_flpte_nonzero_rsvd(*pte, level) ? -VTD_FR_FS_PAGING_ENTRY_RSVD :
                                                 0;
}

/*
 * One first stage entry, which is at @entry: sets its A and D bits and gathers
 * its rights; @walk gets the page if it is a leaf.
 */
static int vtd_fs_entry(VTDFirstStage *fs, hwaddr addr, hwaddr entry,
                        uint32_t level, VTDWalk *walk, uint64_t *pte)
{
    bool changed = false;
    int ret;

    do {
        uint64_t flags = VTD_FL_A;

        ret = vtd_fs_read_entry(fs, entry, level, pte);
        if (!ret && vtd_is_leaf(*pte, level)) {
            ret = vtd_fs_leaf(fs, addr, *pte, level, walk, &flags);
        }
        if (!ret) {
            ret = vtd_fs_set_flags(fs, entry, level, *pte, flags, &changed);
        }
        if (ret) {
            return ret;
        }
    } while (changed);
    fs->us &= !!(*pte & VTD_FL_US);
    fs->rw &= !!(*pte & VTD_FL_RW);
    fs->xd |= !!(*pte & VTD_FL_XD);
    return 0;
}

/* Rights on the way to a first stage table, as gathered so far */
static uint8_t vtd_fs_psc_rights(const VTDFirstStage *fs)
{
    return VTD_PSC_READ | (fs->rw ? VTD_PSC_WRITE : 0) |
           (fs->us ? VTD_PSC_USER : 0) | (fs->xd ? 0 : VTD_PSC_EXEC);
}

/* Where a first stage walk starts: in a table whose entries are of @level */
static hwaddr vtd_fs_start(VTDFirstStage *fs, hwaddr addr, uint32_t *level)
{
    uint8_t rights = (fs->want & IOMMU_WO ? VTD_PSC_WRITE : 0) |
                     (fs->want & IOMMU_PRIV ? 0 : VTD_PSC_USER) |
                     (fs->want & IOMMU_EXEC ? VTD_PSC_EXEC : 0);
    VTDPSCTable table;

    *level = fs->top;
    if (vtd_hint_is_for(fs->hint, addr)) {
        table = fs->hint->table;
    } else if (!vtd_psc_lookup(fs->s, &fs->tag, addr, fs->top, rights,
                               &table)) {
        return fs->pe->val[2] & VTD_SM_PASID_ENTRY_FLPTPTR;
    }
    *level = table.level - 1;
    fs->rw = table.rights & VTD_PSC_WRITE;
    fs->us = table.rights & VTD_PSC_USER;
    fs->xd = !(table.rights & VTD_PSC_EXEC);
    return table.base;
}

/* First stage page walk (3.6), nested or not */
static int vtd_walk_fs(VTDFirstStage *fs, hwaddr addr, VTDWalk *walk)
{
    hwaddr base;
    uint32_t level;
    uint64_t pte;
    int ret;

    walk->level = VTD_PT_LEVEL;
    if (sextract64(addr, 0, VTD_LEVEL_SHIFT(fs->top + 1)) != (int64_t)addr) {
        return -VTD_FR_FS_NON_CANONICAL;
    }
    for (base = vtd_fs_start(fs, addr, &level); ; level--) {
        walk->level = level;
        ret = vtd_fs_entry(fs, addr, vtd_pte_addr(base, addr, level), level,
                           walk, &pte);
        if (ret || vtd_is_leaf(pte, level)) {
            return ret;
        }
        base = pte & VTD_PT_BASE_ADDR_MASK(fs->s->aw_bits);
        vtd_remember(fs->s, &fs->tag, addr, &(VTDPSCTable) {
            .base = base,
            .level = level,
            .rights = vtd_fs_psc_rights(fs),
        }, fs->hint);
    }
}

/* Legacy mode knows fewer faults, and has other numbers for them */
static int vtd_legacy_fault(int fault, IOMMUAccessFlags want)
{
    switch (fault) {
    case -VTD_FR_SM_ADDR_BEYOND_MGAW:
        return -VTD_FR_ADDR_BEYOND_MGAW;
    case -VTD_FR_PASID_ENTRY_SSPTPTR_INV:
        return -VTD_FR_CONTEXT_ENTRY_INV;
    case -VTD_FR_SS_PAGING_ENTRY_INV:
        return -VTD_FR_PAGING_ENTRY_INV;
    case -VTD_FR_SS_PAGING_ENTRY_RSVD:
        return -VTD_FR_PAGING_ENTRY_RSVD;
    case -VTD_FR_SS_PAGING_ENTRY_P:
    case -VTD_FR_SM_WRITE:
    case -VTD_FR_SM_READ:
        return want & IOMMU_WO ? -VTD_FR_WRITE : -VTD_FR_READ;
    default:
        return fault;
    }
}

static int vtd_walk_legacy(IntelIOMMUState *s, const VTDTables *t, hwaddr addr,
                           IOMMUAccessFlags want, bool partial,
                           VTDWalkHint *hint, VTDWalk *walk)
{
    VTDSecondStage ss = {
        .s = s,
        .base = t->ce.lo & VTD_CONTEXT_ENTRY_SLPTPTR,
        .top = 2 + (t->ce.hi & VTD_CONTEXT_ENTRY_AW),
        .tag = { PCI_NO_PASID, t->sid, t->did },
        .hint = hint,
    };

    return vtd_legacy_fault(vtd_walk_ss(&ss, addr, want, partial, walk), want);
}

int vtd_walk(IntelIOMMUState *s, const VTDTables *t, hwaddr addr,
             IOMMUAccessFlags want, bool partial, VTDWalkHint *hint,
             VTDWalk *walk)
{
    const VTDPASIDEntry *pe = &t->pe;
    VTDFirstStage fs = {
        .s = s,
        .pe = pe,
        .top = VTD_PE_FS_LEVELS(pe),
        .nested = VTD_PE_PGTT(pe) == VTD_SM_PASID_ENTRY_NESTED,
        .ss = {
            .s = s,
            .base = pe->val[0] & VTD_SM_PASID_ENTRY_SLPTPTR,
            .top = VTD_PE_SS_LEVELS(pe),
            .tag = { PCI_NO_PASID, t->sid, t->did },
            .ad = pe->val[0] & VTD_SM_PASID_ENTRY_SSADE,
        },
        .tag = { t->pasid, t->sid, t->did },
        .hint = hint,
        .want = want,
        .partial = partial,
        .us = true,
        .rw = true,
    };

    if (!s->root_scalable) {
        return vtd_walk_legacy(s, t, addr, want, partial, hint, walk);
    }
    if (VTD_PE_PGTT(pe) == VTD_SM_PASID_ENTRY_SLT) {
        fs.ss.hint = hint;
        return vtd_walk_ss(&fs.ss, addr, want, partial, walk);
    }
    return vtd_walk_fs(&fs, addr, walk);
}

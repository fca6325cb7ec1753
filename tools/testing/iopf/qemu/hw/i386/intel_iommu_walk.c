/*
 * Intel IOMMU (VT-d): table look-up and page walk for one request
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything that decides how a request is translated is here, for requests
 * of each kind: untranslated, translation request (ATS), translated and page
 * request.  Section numbers are those of the VT-d specification 4.1.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "exec/address-spaces.h"
#include "system/dma.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_walk.h"
#include "trace.h"

/* PASID-cache invalidate descriptor (6.5.2.2) */
#define VTD_INV_DESC_PC_G           (3ULL << 4)
#define VTD_INV_DESC_PC_DOMAIN      (0ULL << 4)
#define VTD_INV_DESC_PC_PASID       (1ULL << 4)
#define VTD_INV_DESC_PC_RSVD_G      (2ULL << 4)
#define VTD_INV_DESC_PC_GLOBAL      (3ULL << 4)
#define VTD_INV_DESC_PC_RSVD_VAL0   0xfff000000000f1c0ULL

#define VTD_PERM_RWX (IOMMU_RW | IOMMU_EXEC)

#define VTD_LEVEL_SHIFT(level) \
    (VTD_PAGE_SHIFT_4K + ((level) - 1) * VTD_LEVEL_BITS)
/* Offset bits of a page of that level */
#define VTD_LEVEL_MASK(level) MAKE_64BIT_MASK(0, VTD_LEVEL_SHIFT(level))

/* What a page walk found out */
typedef struct VTDWalk {
    uint64_t pte;           /* the leaf, if the walk got there */
    uint32_t level;         /* where the walk ended, for better or worse */
    IOMMUAccessFlags perm;  /* granted, and safe to cache */
} VTDWalk;

/*
 * Root and context entry faults have numbers of their own in scalable mode,
 * the code that reads these entries only knows those of legacy mode.
 */
static VTDFaultReason vtd_fault_of_mode(IntelIOMMUState *s, int fault)
{
    if (!s->root_scalable) {
        return fault;
    }
    switch (fault) {
    case VTD_FR_ROOT_TABLE_INV:
        return VTD_FR_SM_ROOT_ENTRY_ACCESS_ERR;
    case VTD_FR_ROOT_ENTRY_P:
        return VTD_FR_SM_ROOT_ENTRY_P;
    case VTD_FR_ROOT_ENTRY_RSVD:
        return VTD_FR_SM_ROOT_ENTRY_RSVD;
    case VTD_FR_CONTEXT_TABLE_INV:
        return VTD_FR_SM_CONTEXT_ENTRY_ACCESS_ERR;
    case VTD_FR_CONTEXT_ENTRY_P:
        return VTD_FR_SM_CONTEXT_ENTRY_P;
    case VTD_FR_CONTEXT_ENTRY_RSVD:
        return VTD_FR_SM_CONTEXT_ENTRY_RSVD;
    case VTD_FR_CONTEXT_ENTRY_INV:
        return VTD_FR_SM_CONTEXT_ENTRY_INV;
    default:
        return fault;
    }
}

void vtd_report_request_fault(VTDAddressSpace *as, VTDRequestKind kind,
                              IOMMUAccessFlags want, hwaddr addr, int fault,
                              bool fpd)
{
    IntelIOMMUState *s = as->iommu_state;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(as->bus), as->devfn);
    uint64_t hi;

    fault = vtd_fault_of_mode(s, fault);
    if (fpd && vtd_is_qualified_fault(fault)) {
        trace_vtd_fault_disabled();
        return;
    }
    trace_vtd_dmar_fault(sid, fault, addr, want & IOMMU_WO);

    hi = VTD_FRCD_SID(sid) | VTD_FRCD_FR(fault);
    if (as->pasid != PCI_NO_PASID) {
        hi |= VTD_FRCD_PP(1) | VTD_FRCD_PV(as->pasid) |
              VTD_FRCD_EXE(!!(want & IOMMU_EXEC)) |
              VTD_FRCD_PRIV(!!(want & IOMMU_PRIV));
    }
    switch (kind) {
    case VTD_REQ_PAGE:
        hi |= VTD_FRCD_T2;
        break;
    case VTD_REQ_TRANSLATION:
        hi |= VTD_FRCD_AT(1);
        break;
    case VTD_REQ_TRANSLATED:
        hi |= VTD_FRCD_AT(2);
        break;
    default:
        break;
    }
    if (kind != VTD_REQ_PAGE && !(want & IOMMU_WO)) {
        hi |= VTD_FRCD_T;
    }
    vtd_report_frcd_fault(s, sid, hi, VTD_FRCD_FI(addr));
}

/* Context entry of the function, from the context cache or memory */
static int vtd_lookup_context(VTDAddressSpace *as, VTDContextEntry *ce)
{
    IntelIOMMUState *s = as->iommu_state;
    VTDContextCacheEntry *cc = &as->context_cache_entry;
    uint8_t bus_num = pci_bus_num(as->bus);
    int ret;

    if (cc->context_cache_gen == s->context_cache_gen) {
        *ce = cc->context_entry;
        trace_vtd_iotlb_cc_hit(bus_num, as->devfn, ce->hi, ce->lo,
                               cc->context_cache_gen);
        return 0;
    }
    ret = vtd_fetch_context_entry(s, bus_num, as->devfn, ce);
    if (ret) {
        return ret;
    }
    trace_vtd_iotlb_cc_update(bus_num, as->devfn, ce->hi, ce->lo,
                              cc->context_cache_gen, s->context_cache_gen);
    cc->context_entry = *ce;
    cc->context_cache_gen = s->context_cache_gen;
    return 0;
}

/* PASID directory entry and PASID table entry from memory */
static int vtd_fetch_pasid_entry(IntelIOMMUState *s, const VTDContextEntry *ce,
                                 uint32_t pasid, VTDPASIDEntry *pe, bool *fpd)
{
    VTDPASIDDirEntry pdire;
    int ret;

    ret = vtd_get_pdire_from_pdir_table(ce->val[0] &
                                        VTD_PASID_DIR_BASE_ADDR_MASK,
                                        pasid, &pdire);
    if (ret) {
        return ret;
    }
    /* Valid even if the entry is not present */
    *fpd |= !!(pdire.val & VTD_PASID_DIR_FPD);
    if (!(pdire.val & VTD_PASID_DIR_P)) {
        return -VTD_FR_PASID_DIR_ENTRY_P;
    }
    if (pdire.val & VTD_PASID_DIR_RSVD(s->aw_bits)) {
        return -VTD_FR_PASID_DIR_ENTRY_RSVD;
    }
    ret = vtd_get_pe_from_pdire(s, pasid, &pdire, pe);
    if (ret == -VTD_FR_PASID_TABLE_ACCESS_ERR) {
        return ret;
    }
    *fpd |= !!(pe->val[0] & VTD_PASID_ENTRY_FPD);
    if (!(pe->val[0] & VTD_PASID_ENTRY_P)) {
        return -VTD_FR_PASID_ENTRY_P;
    }
    return ret;
}

/* The same from the PASID cache; what is not present is never cached */
static int vtd_lookup_pasid_entry(VTDAddressSpace *as, VTDTables *t)
{
    VTDPASIDCacheEntry *pc = &as->pasid_cache_entry;
    int ret;

    if (!pc->valid || pc->pasid != t->pasid) {
        pc->fpd = false;
        ret = vtd_fetch_pasid_entry(as->iommu_state, &t->ce, t->pasid,
                                    &pc->pasid_entry, &pc->fpd);
        pc->valid = !ret;
        pc->pasid = t->pasid;
        if (ret) {
            t->fpd |= pc->fpd;
            return ret;
        }
    }
    t->fpd |= pc->fpd;
    t->pe = pc->pasid_entry;
    return 0;
}

/* Drop what the descriptor is about (6.5.2.2) */
bool vtd_process_pasid_cache_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc)
{
    uint64_t mask[4] = {VTD_INV_DESC_PC_RSVD_VAL0, VTD_INV_DESC_ALL_ONE,
                        VTD_INV_DESC_ALL_ONE, VTD_INV_DESC_ALL_ONE};
    uint64_t granularity = inv_desc->val[0] & VTD_INV_DESC_PC_G;
    uint16_t did = extract64(inv_desc->val[0], 16, 16);
    uint32_t pasid = extract64(inv_desc->val[0], 32, 20);
    VTDAddressSpace *as;
    GHashTableIter iter;

    if (!vtd_inv_desc_reserved_check(s, inv_desc, mask, true, __func__,
                                     "pasid cache inv") ||
        granularity == VTD_INV_DESC_PC_RSVD_G) {
        return false;
    }

    g_hash_table_iter_init(&iter, s->vtd_address_spaces);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&as)) {
        VTDPASIDCacheEntry *pc = &as->pasid_cache_entry;

        qemu_mutex_lock(&s->iommu_lock);
        if (granularity == VTD_INV_DESC_PC_GLOBAL ||
            (did == VTD_SM_PASID_ENTRY_DID(pc->pasid_entry.val[1]) &&
             (granularity == VTD_INV_DESC_PC_DOMAIN || pasid == pc->pasid))) {
            pc->valid = false;
        }
        qemu_mutex_unlock(&s->iommu_lock);
        /* The new entry may turn pass-through on or off */
        vtd_switch_address_space(as);
    }
    return true;
}

/* Checks on a scalable mode context entry */
static int vtd_check_context(VTDAddressSpace *as, VTDRequestKind kind,
                             VTDTables *t)
{
    const VTDContextEntry *ce = &t->ce;
    bool has_pasid = as->pasid != PCI_NO_PASID;

    if ((kind == VTD_REQ_TRANSLATION || kind == VTD_REQ_TRANSLATED) &&
        !(ce->val[0] & VTD_SM_CONTEXT_ENTRY_DTE)) {
        return -VTD_FR_SM_DTE_CLEAR;
    }
    if (kind == VTD_REQ_PAGE && !(ce->val[0] & VTD_SM_CONTEXT_ENTRY_PRE)) {
        return -VTD_FR_SM_PRE_CLEAR;
    }
    if (has_pasid && !(ce->val[0] & VTD_SM_CONTEXT_ENTRY_PASIDE)) {
        return -VTD_FR_SM_PASIDE_CLEAR;
    }
    t->pasid = has_pasid ? as->pasid :
                           ce->val[1] & VTD_SM_CONTEXT_ENTRY_RID2PASID_MASK;
    if (t->pasid >= VTD_SM_CONTEXT_ENTRY_PASID_LIMIT(ce->val[0])) {
        return has_pasid ? -VTD_FR_SM_PASID_LIMIT : -VTD_FR_SM_RID_PASID_INV;
    }
    return 0;
}

static int vtd_check_legacy_context(VTDAddressSpace *as, VTDRequestKind kind,
                                    VTDTables *t)
{
    if (as->pasid != PCI_NO_PASID) {
        return -VTD_FR_TTM_PASID;
    }
    if (kind == VTD_REQ_PAGE) {
        return -VTD_FR_TTM_PAGE_REQ;
    }
    if (kind != VTD_REQ_UNTRANSLATED &&
        (t->ce.lo & VTD_CONTEXT_ENTRY_TT) != VTD_CONTEXT_TT_DEV_IOTLB) {
        return -VTD_FR_CONTEXT_ENTRY_TT;
    }
    t->pasid = PCI_NO_PASID;
    return 0;
}

int vtd_lookup_tables(VTDAddressSpace *as, VTDRequestKind kind, VTDTables *t)
{
    IntelIOMMUState *s = as->iommu_state;
    int ret;

    memset(t, 0, sizeof(*t));
    ret = vtd_lookup_context(as, &t->ce);
    if (ret) {
        /* Not read at all if the fault came earlier: FPD is clear then */
        t->fpd = t->ce.lo & VTD_CONTEXT_ENTRY_FPD;
        return ret;
    }
    t->fpd = t->ce.lo & VTD_CONTEXT_ENTRY_FPD;
    if (!s->root_scalable) {
        ret = vtd_check_legacy_context(as, kind, t);
        t->did = VTD_CONTEXT_ENTRY_DID(t->ce.hi);
        return ret;
    }
    ret = vtd_check_context(as, kind, t);
    if (ret || kind == VTD_REQ_TRANSLATED) {
        return ret;
    }
    ret = vtd_lookup_pasid_entry(as, t);
    if (ret) {
        return ret;
    }
    t->did = VTD_SM_PASID_ENTRY_DID(t->pe.val[1]);
    return 0;
}

static hwaddr vtd_pte_addr(hwaddr base, hwaddr addr, uint32_t level)
{
    return base + extract64(addr, VTD_LEVEL_SHIFT(level), VTD_LEVEL_BITS) *
                  sizeof(uint64_t);
}

static bool vtd_read_pte(hwaddr addr, uint64_t *pte)
{
    if (dma_memory_read(&address_space_memory, addr, pte, sizeof(*pte),
                        MEMTXATTRS_UNSPECIFIED)) {
        return false;
    }
    *pte = le64_to_cpu(*pte);
    return true;
}

static bool vtd_is_leaf(uint64_t pte, uint32_t level)
{
    return level == VTD_PT_LEVEL || (pte & VTD_PT_PAGE_SIZE_MASK);
}

/*
 * Set bits in a paging entry if it still is what the walk has read.  The guest
 * may change it at any time, and a plain write would undo that.
 *
 * Returns: true, with *@changed telling whether to read the entry again, or
 * false if the entry is not in RAM.
 */
static bool vtd_set_pte_flags(hwaddr addr, uint64_t old, uint64_t flags,
                              bool *changed)
{
    uint64_t expected = cpu_to_le64(old);
    uint64_t wanted = cpu_to_le64(old | flags);
    hwaddr xlat, len = sizeof(old);
    MemoryRegion *mr;
    uint64_t *pte;

    *changed = false;
    if ((old & flags) == flags) {
        return true;
    }
    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, addr, &xlat, &len,
                                 true, MEMTXATTRS_UNSPECIFIED);
    if (len < sizeof(old) || !memory_access_is_direct(mr, true,
                                                  MEMTXATTRS_UNSPECIFIED)) {
        return false;
    }
    pte = memory_region_get_ram_ptr(mr) + xlat;
    *changed = qatomic_cmpxchg__nocheck(pte, expected, wanted) != expected;
    if (!*changed) {
        memory_region_set_dirty(mr, xlat, sizeof(old));
    }
    return true;
}

/* Rights of a first stage leaf, from those gathered on the way to it (3.6) */
static int vtd_fl_rights(IntelIOMMUState *s, const VTDPASIDEntry *pe,
                         IOMMUAccessFlags want, bool us, bool rw, bool xd,
                         IOMMUAccessFlags *perm)
{
    bool priv = want & IOMMU_PRIV;

    if (!priv && !us) {
        return -VTD_FR_FS_PAGING_ENTRY_US;
    }
    if (priv && !(pe->val[2] & VTD_SM_PASID_ENTRY_WPE)) {
        rw = true;
    }
    *perm = IOMMU_ACCESS_FLAG(true, rw);
    if (!xd && (s->ecap & VTD_ECAP_ERS) &&
        (pe->val[2] & VTD_SM_PASID_ENTRY_ERE)) {
        *perm |= IOMMU_EXEC;
    }
    return 0;
}

/* First stage page walk (3.6) */
static int vtd_walk_fl(IntelIOMMUState *s, const VTDPASIDEntry *pe,
                       hwaddr addr, IOMMUAccessFlags want, bool partial,
                       VTDWalk *walk)
{
    hwaddr base = pe->val[2] & VTD_SM_PASID_ENTRY_FLPTPTR;
    bool us = true, rw = true, xd = false;
    int top = VTD_PML4_LEVEL;

    walk->level = VTD_PT_LEVEL;
    if (sextract64(addr, 0, VTD_LEVEL_SHIFT(top + 1)) != (int64_t)addr) {
        return -VTD_FR_FS_NON_CANONICAL;
    }

    for (walk->level = top; ; ) {
        hwaddr pte_addr = vtd_pte_addr(base, addr, walk->level);
        uint64_t pte, flags = VTD_FL_A;
        IOMMUAccessFlags perm = IOMMU_NONE;
        bool leaf, changed;
        int ret;

        if (!vtd_read_pte(pte_addr, &pte)) {
            return walk->level == top ? -VTD_FR_PASID_ENTRY_FSPTPTR_INV :
                                        -VTD_FR_FS_PAGING_ENTRY_INV;
        }
        if (!(pte & VTD_FL_P)) {
            return -VTD_FR_FS_PAGING_ENTRY_P;
        }
        if (vtd_flpte_nonzero_rsvd(pte, walk->level)) {
            return -VTD_FR_FS_PAGING_ENTRY_RSVD;
        }
        leaf = vtd_is_leaf(pte, walk->level);
        if (leaf) {
            ret = vtd_fl_rights(s, pe, want, us && (pte & VTD_FL_US),
                                rw && (pte & VTD_FL_RW),
                                xd || (pte & VTD_FL_XD), &perm);
            if (ret) {
                return ret;
            }
            if (!partial && (want & ~perm & VTD_PERM_RWX)) {
                return want & ~perm & IOMMU_EXEC ? -VTD_FR_FS_NX :
                                                   -VTD_FR_SM_WRITE;
            }
            if (want & perm & IOMMU_WO) {
                flags |= VTD_FL_D;
            }
        }
        if (!vtd_set_pte_flags(pte_addr, pte, flags, &changed)) {
            return -VTD_FR_FS_BIT_UPDATE_FAILED;
        }
        if (changed) {
            continue;
        }
        if (leaf) {
            /* Without D, a later write has to come back here */
            if (!((pte | flags) & VTD_FL_D)) {
                perm &= ~IOMMU_WO;
            }
            walk->pte = pte;
            walk->perm = perm;
            return 0;
        }
        us &= !!(pte & VTD_FL_US);
        rw &= !!(pte & VTD_FL_RW);
        xd |= !!(pte & VTD_FL_XD);
        base = pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits);
        walk->level--;
    }
}

/* Second stage page walk (3.7), also that of legacy mode */
static int vtd_walk_sl(IntelIOMMUState *s, hwaddr base, uint32_t top,
                       hwaddr addr, IOMMUAccessFlags want, bool partial,
                       VTDWalk *walk)
{
    bool sm = s->root_scalable;
    bool r = true, w = true;
    int no_right;

    if (sm) {
        no_right = VTD_FR_SS_PAGING_ENTRY_P;
    } else {
        no_right = want & IOMMU_WO ? VTD_FR_WRITE : VTD_FR_READ;
    }

    walk->level = VTD_PT_LEVEL;
    if (addr >> MIN(VTD_LEVEL_SHIFT(top + 1), s->aw_bits)) {
        return sm ? -VTD_FR_SM_ADDR_BEYOND_MGAW : -VTD_FR_ADDR_BEYOND_MGAW;
    }

    for (walk->level = top; ; walk->level--) {
        uint64_t pte;

        if (!vtd_read_pte(vtd_pte_addr(base, addr, walk->level), &pte)) {
            if (walk->level == top) {
                return sm ? -VTD_FR_PASID_ENTRY_SSPTPTR_INV :
                            -VTD_FR_CONTEXT_ENTRY_INV;
            }
            return sm ? -VTD_FR_SS_PAGING_ENTRY_INV : -VTD_FR_PAGING_ENTRY_INV;
        }
        if (!(pte & VTD_SL_RW_MASK)) {
            return -no_right;
        }
        if (vtd_slpte_nonzero_rsvd(pte, walk->level)) {
            return sm ? -VTD_FR_SS_PAGING_ENTRY_RSVD :
                        -VTD_FR_PAGING_ENTRY_RSVD;
        }
        r &= !!(pte & VTD_SL_R);
        w &= !!(pte & VTD_SL_W);
        walk->perm = IOMMU_ACCESS_FLAG(r, w);
        if (!walk->perm || (!partial && (want & ~walk->perm & IOMMU_RW))) {
            return -no_right;
        }
        if (vtd_is_leaf(pte, walk->level)) {
            walk->pte = pte;
            return 0;
        }
        base = pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits);
    }
}

static int vtd_walk(IntelIOMMUState *s, const VTDTables *t, hwaddr addr,
                    IOMMUAccessFlags want, bool partial, VTDWalk *walk)
{
    if (!s->root_scalable) {
        return vtd_walk_sl(s, t->ce.lo & VTD_CONTEXT_ENTRY_SLPTPTR,
                           2 + (t->ce.hi & VTD_CONTEXT_ENTRY_AW), addr,
                           want, partial, walk);
    }
    if (VTD_PE_PGTT(&t->pe) == VTD_SM_PASID_ENTRY_FLT) {
        return vtd_walk_fl(s, &t->pe, addr, want, partial, walk);
    }
    return vtd_walk_sl(s, t->pe.val[0] & VTD_SM_PASID_ENTRY_SLPTPTR,
                       2 + ((t->pe.val[0] >> 2) & VTD_SM_PASID_ENTRY_AW),
                       addr, want, partial, walk);
}

/*
 * A translation request for which the walk failed is answered with an entry
 * without permissions.  What the device will ask a page for is not worth a
 * fault record, a broken table is.
 */
static bool vtd_is_recoverable_fault(int fault)
{
    switch (fault) {
    case VTD_FR_READ:
    case VTD_FR_WRITE:
    case VTD_FR_FS_PAGING_ENTRY_P:
    case VTD_FR_FS_PAGING_ENTRY_US:
    case VTD_FR_SS_PAGING_ENTRY_P:
        return true;
    default:
        return false;
    }
}

static bool vtd_is_pass_through(IntelIOMMUState *s, const VTDTables *t)
{
    if (s->root_scalable) {
        return VTD_PE_PGTT(&t->pe) == VTD_SM_PASID_ENTRY_PT;
    }
    return (t->ce.lo & VTD_CONTEXT_ENTRY_TT) == VTD_CONTEXT_TT_PASS_THROUGH;
}

static bool vtd_hits_interrupt_range(hwaddr addr, hwaddr mask)
{
    return (addr & ~mask) <= VTD_INTERRUPT_ADDR_LAST &&
           (addr | mask) >= VTD_INTERRUPT_ADDR_FIRST;
}

/* Describe the page of @addr, or the hole that the walk fell into */
static void vtd_fill_entry(IOMMUTLBEntry *entry, hwaddr addr, hwaddr mask,
                           hwaddr translated, IOMMUAccessFlags perm)
{
    entry->iova = addr & ~mask;
    entry->addr_mask = mask;
    entry->translated_addr = translated & ~mask;
    entry->perm = perm;
}

/*
 * A cached translation of a request without PASID must not cover the interrupt
 * range, which is no memory for such requests: answer with the largest part
 * of the page that stays clear of it.
 */
static void vtd_clip_interrupt_range(IOMMUTLBEntry *entry, hwaddr addr)
{
    hwaddr mask = entry->addr_mask;

    while (mask > ~VTD_PAGE_MASK_4K && vtd_hits_interrupt_range(addr, mask)) {
        mask >>= 1;
    }
    entry->translated_addr += (addr & ~mask) - entry->iova;
    entry->iova = addr & ~mask;
    entry->addr_mask = mask;
}

/* Walk, after all tables up to the PASID entry were found in order */
static int vtd_translate_walk(VTDAddressSpace *as, const VTDTables *t,
                              hwaddr addr, IOMMUAccessFlags want, bool ats,
                              IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = as->iommu_state;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(as->bus), as->devfn);
    bool priv = want & IOMMU_PRIV;
    VTDIOTLBEntry *cached;
    VTDWalk walk = {};
    hwaddr mask, xlat;
    int ret;

    if (priv && s->root_scalable &&
        !(t->pe.val[2] & VTD_SM_PASID_ENTRY_SRE)) {
        ret = -VTD_FR_PASID_ENTRY_SRE;
        walk.level = VTD_PT_LEVEL;
        goto out;
    }

    /* The IOTLB does not tell what is for privileged requests */
    cached = priv ? NULL : vtd_lookup_iotlb(s, sid, t->pasid, addr);
    if (cached && !(want & VTD_PERM_RWX & ~cached->access_flags)) {
        trace_vtd_iotlb_page_hit(sid, addr, cached->pte, cached->domain_id);
        vtd_fill_entry(entry, addr, ~cached->mask,
                       cached->pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits),
                       cached->access_flags);
        return 0;
    }

    ret = vtd_walk(s, t, addr, want, ats, &walk);
    if (ret) {
        goto out;
    }
    mask = VTD_LEVEL_MASK(walk.level);
    xlat = walk.pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits);
    /* No page may lead to the interrupt range (3.15) */
    if (vtd_hits_interrupt_range(xlat, mask)) {
        ret = s->root_scalable ? -VTD_FR_SM_INTERRUPT_ADDR :
                                 -VTD_FR_INTERRUPT_ADDR;
        goto out;
    }
    vtd_fill_entry(entry, addr, mask, xlat, walk.perm);
    if (!priv) {
        vtd_update_iotlb(s, sid, t->did, addr, walk.pte, walk.perm, walk.level,
                         t->pasid, s->root_scalable ? VTD_PE_PGTT(&t->pe) :
                                                      VTD_SM_PASID_ENTRY_SLT);
    }
out:
    if (ret) {
        mask = VTD_LEVEL_MASK(walk.level);
        vtd_fill_entry(entry, addr, mask, 0, IOMMU_NONE);
    }
    return ret;
}

int vtd_translate(VTDAddressSpace *as, hwaddr addr, IOMMUAccessFlags want,
                  bool ats, IOMMUTLBEntry *entry)
{
    VTDRequestKind kind = ats ? VTD_REQ_TRANSLATION : VTD_REQ_UNTRANSLATED;
    IntelIOMMUState *s = as->iommu_state;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(as->bus), as->devfn);
    bool no_pasid = as->pasid == PCI_NO_PASID;
    VTDTables t;
    int ret;

    vtd_fill_entry(entry, addr, ~VTD_PAGE_MASK_4K, 0, IOMMU_NONE);
    entry->target_as = &address_space_memory;
    entry->pasid = as->pasid;

    qemu_mutex_lock(&s->iommu_lock);
    ret = vtd_lookup_tables(as, kind, &t);
    if (ret) {
        vtd_report_request_fault(as, kind, want, addr, -ret, t.fpd);
        goto out;
    }
    if (no_pasid && s->root_scalable &&
        (t.ce.val[1] & VTD_SM_CONTEXT_ENTRY_RID_PRIV)) {
        want |= IOMMU_PRIV;
    }

    if (no_pasid && vtd_hits_interrupt_range(addr, 0)) {
        /* Untranslated writes there are interrupts and do not get here */
        ret = s->root_scalable ? -VTD_FR_SM_INTERRUPT_ADDR :
                                 -VTD_FR_INTERRUPT_ADDR;
    } else if (vtd_is_pass_through(s, &t)) {
        trace_vtd_translate_pt(sid, addr);
        if (vtd_hits_interrupt_range(addr, 0)) {
            ret = -VTD_FR_SM_INTERRUPT_ADDR;
        } else {
            vtd_fill_entry(entry, addr, ~VTD_PAGE_MASK_4K, addr, IOMMU_RW);
            if (!ats && no_pasid) {
                vtd_pt_enable_fast_path(s, sid);
            }
        }
    } else {
        ret = vtd_translate_walk(as, &t, addr, want, ats, entry);
    }

    if (ret && !(ats && vtd_is_recoverable_fault(-ret))) {
        vtd_report_request_fault(as, kind, want, addr, -ret, t.fpd);
    }
    if (ats) {
        /* Say no more than what was asked for, and nothing of RID_PRIV */
        entry->perm &= want;
        if (entry->perm && !no_pasid) {
            entry->perm |= want & IOMMU_PRIV;
        }
        if (no_pasid) {
            vtd_clip_interrupt_range(entry, addr);
        }
        ret = 0;
    } else {
        entry->perm &= IOMMU_RW;
    }
out:
    qemu_mutex_unlock(&s->iommu_lock);
    return ret;
}

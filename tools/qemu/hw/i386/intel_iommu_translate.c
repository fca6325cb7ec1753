/*
 * Intel IOMMU (VT-d): translation of one address
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The IOTLB, the page walk, and what is said to a device that asks for a
 * translation.  Section numbers are those of the VT-d specification 4.1.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_translate.h"
#include "trace.h"

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
    case VTD_FR_FS_TOP_READ:
    case VTD_FR_FS_TABLE_READ:
    case VTD_FR_FS_TABLE_WRITE:
    case VTD_FR_SS_PAGING_ENTRY_P:
    case VTD_FR_SM_WRITE:
    case VTD_FR_SM_READ:
        return true;
    default:
        return false;
    }
}

static bool vtd_hits_interrupt_range(hwaddr addr, hwaddr mask)
{
    return (addr & ~mask) <= VTD_INTERRUPT_ADDR_LAST &&
           (addr | mask) >= VTD_INTERRUPT_ADDR_FIRST;
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

/* What the PASID table entry says about the kind of request */
static int vtd_check_request(IntelIOMMUState *s, const VTDTables *t,
                             IOMMUAccessFlags want)
{
    if (!s->root_scalable) {
        return 0;
    }
    /* SRE may be set without the capability, and means nothing then */
    if ((want & IOMMU_PRIV) && (!(s->ecap & VTD_ECAP_SRS) ||
                                !(t->pe.val[2] & VTD_SM_PASID_ENTRY_SRE))) {
        return -VTD_FR_PASID_ENTRY_SRE;
    }
    if ((want & IOMMU_EXEC) && !(t->pe.val[2] & VTD_SM_PASID_ENTRY_ERE)) {
        return -VTD_FR_PASID_ENTRY_ERE;
    }
    return 0;
}

/*
 * A request that leads to the interrupt range is refused (3.15), one that leads
 * elsewhere in the same large page is not: take the part of the page that stays
 * clear of the range, if @addr does.
 */
static void vtd_split_result(hwaddr addr, VTDWalk *walk)
{
    while (walk->level > VTD_PT_LEVEL &&
           vtd_hits_interrupt_range(walk->xlat, VTD_LEVEL_MASK(walk->level))) {
        walk->xlat |= addr & VTD_LEVEL_MASK(walk->level) &
                      ~VTD_LEVEL_MASK(walk->level - 1);
        walk->level--;
    }
}

/* No page may lead to the interrupt range (3.15) */
static int vtd_check_result(IntelIOMMUState *s, const VTDWalk *walk)
{
    if (!vtd_hits_interrupt_range(walk->xlat, VTD_LEVEL_MASK(walk->level))) {
        return 0;
    }
    return s->root_scalable ? -VTD_FR_SM_INTERRUPT_ADDR :
                              -VTD_FR_INTERRUPT_ADDR;
}

/* What the IOTLB has under that domain, and is enough */
static bool vtd_translate_cached(IntelIOMMUState *s, uint16_t sid,
                                 const VTDTables *t, hwaddr addr,
                                 IOMMUAccessFlags want, IOMMUTLBEntry *entry)
{
    VTDIOTLBEntry *cached;

    cached = vtd_lookup_iotlb(s, sid, vtd_iotlb_pasid(t->pasid, want), addr);
    if (!cached || cached->domain_id != t->did ||
        (want & VTD_PERM_RWX & ~cached->access_flags)) {
        return false;
    }
    trace_vtd_iotlb_page_hit(sid, addr, cached->pte, cached->domain_id);
    pci_ats_fill_entry(entry, addr, ~cached->mask, cached->pte,
                       cached->access_flags);
    return true;
}

/* Walk, and describe the page or the hole */
static int vtd_walk_entry(IntelIOMMUState *s, const VTDTables *t, hwaddr addr,
                          IOMMUAccessFlags want, bool partial,
                          VTDWalkHint *hint, VTDWalk *walk,
                          IOMMUTLBEntry *entry)
{
    int ret = vtd_walk(s, t, addr, want, partial, hint, walk);

    if (!ret) {
        vtd_split_result(addr, walk);
        ret = vtd_check_result(s, walk);
    }
    if (ret) {
        walk->xlat = 0;
        walk->perm = IOMMU_NONE;
    }
    pci_ats_fill_entry(entry, addr, VTD_LEVEL_MASK(walk->level), walk->xlat,
                       walk->perm);
    return ret;
}

/* Walk, after all tables up to the PASID entry were found in order */
static int vtd_translate_walk(const VTDRequester *who, const VTDTables *t,
                              hwaddr addr, IOMMUAccessFlags want, bool ats,
                              IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = who->as->iommu_state;
    uint16_t sid = vtd_requester_sid(who);
    VTDWalk walk;
    int ret;

    ret = vtd_check_request(s, t, want);
    if (ret || vtd_translate_cached(s, sid, t, addr, want, entry)) {
        return ret;
    }
    ret = vtd_walk_entry(s, t, addr, want, ats, NULL, &walk, entry);
    if (ret) {
        return ret;
    }
    vtd_update_iotlb(s, sid, t->did, addr, walk.xlat, walk.perm, walk.level,
                     vtd_iotlb_pasid(t->pasid, want),
                     s->root_scalable ? VTD_PE_PGTT(&t->pe) :
                                        VTD_SM_PASID_ENTRY_SLT);
    return 0;
}

/* Interrupt range, pass-through, or walk */
static int vtd_translate_tables(const VTDRequester *who, const VTDTables *t,
                                hwaddr addr, IOMMUAccessFlags want, bool ats,
                                IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = who->as->iommu_state;
    uint16_t sid = vtd_requester_sid(who);
    bool no_pasid = who->pasid == PCI_NO_PASID;
    bool pass_through = vtd_is_pass_through(s, t);

    /* Untranslated writes to it are interrupts and do not get here */
    if ((no_pasid || pass_through) && vtd_hits_interrupt_range(addr, 0)) {
        return s->root_scalable ? -VTD_FR_SM_INTERRUPT_ADDR :
                                  -VTD_FR_INTERRUPT_ADDR;
    }
    if (!pass_through) {
        return vtd_translate_walk(who, t, addr, want, ats, entry);
    }
    trace_vtd_translate_pt(sid, addr);
    pci_ats_fill_entry(entry, addr, ~VTD_PAGE_MASK_4K, addr, IOMMU_RW);
    return 0;
}

/* Say no more than what was asked for, and nothing of RID_PRIV */
static void vtd_finish_ats(IOMMUTLBEntry *entry, hwaddr addr,
                           IOMMUAccessFlags want, bool no_pasid)
{
    entry->perm &= want;
    if (entry->perm && !no_pasid) {
        entry->perm |= want & IOMMU_PRIV;
    }
    if (no_pasid) {
        vtd_clip_interrupt_range(entry, addr);
    }
}

/* What the context entry makes of a request without PASID */
static IOMMUAccessFlags vtd_rid_priv(const IntelIOMMUState *s,
                                     const VTDTables *t)
{
    return s->root_scalable &&
           (t->ce.val[1] & VTD_SM_CONTEXT_ENTRY_RID_PRIV) ? IOMMU_PRIV : 0;
}

static void vtd_init_entry(const VTDRequester *who, hwaddr addr,
                           IOMMUTLBEntry *entry)
{
    pci_ats_fill_entry(entry, addr, ~VTD_PAGE_MASK_4K, 0, IOMMU_NONE);
    entry->target_as = &address_space_memory;
    entry->pasid = who->pasid;
}

/* With the lock of the IOMMU; *@t is for what comes after it */
static int vtd_translate_locked(const VTDRequester *who, hwaddr addr,
                                IOMMUAccessFlags want, bool ats, VTDTables *t,
                                IOMMUTLBEntry *entry)
{
    VTDRequestKind kind = ats ? VTD_REQ_TRANSLATION : VTD_REQ_UNTRANSLATED;
    IntelIOMMUState *s = who->as->iommu_state;
    bool no_pasid = who->pasid == PCI_NO_PASID;
    int ret;

    ret = vtd_lookup_tables(who, kind, t);
    if (ret) {
        vtd_report_request_fault(who, kind, want, addr, -ret, t->fpd);
        return ret;
    }
    if (no_pasid) {
        want |= vtd_rid_priv(s, t);
    }
    ret = vtd_translate_tables(who, t, addr, want, ats, entry);
    if (ret && !(ats && vtd_is_recoverable_fault(-ret))) {
        vtd_report_request_fault(who, kind, want, addr, -ret, t->fpd);
    }
    if (ats) {
        vtd_finish_ats(entry, addr, want, no_pasid);
        return 0;
    }
    entry->perm &= IOMMU_RW;
    return ret;
}

int vtd_translate(const VTDRequester *who, hwaddr addr, IOMMUAccessFlags want,
                  bool ats, IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = who->as->iommu_state;
    VTDTables t;
    int ret;

    vtd_init_entry(who, addr, entry);
    WITH_QEMU_LOCK_GUARD(&s->iommu_lock) {
        ret = vtd_translate_locked(who, addr, want, ats, &t, entry);
    }
    /* May want the BQL, and looks the tables up itself: not with the lock */
    if (!ret && !ats && who->pasid == PCI_NO_PASID &&
        vtd_is_pass_through(s, &t) && vtd_may_bypass(who->as, &t.ce)) {
        vtd_pt_enable_fast_path(s, vtd_requester_sid(who));
    }
    return ret;
}

void vtd_translate_next(VTDAddressSpace *as, const VTDTables *t, hwaddr addr,
                        VTDWalkHint *hint, IOMMUTLBEntry *entry)
{
    VTDRequester who = { as, PCI_NO_PASID };
    IntelIOMMUState *s = as->iommu_state;
    IOMMUAccessFlags want = IOMMU_RW | vtd_rid_priv(s, t);
    VTDWalk walk;

    vtd_init_entry(&who, addr, entry);
    if (vtd_hits_interrupt_range(addr, 0)) {
        return;
    }
    QEMU_LOCK_GUARD(&s->iommu_lock);
    if (vtd_check_request(s, t, want)) {
        /* It says so for every address */
        pci_ats_fill_entry(entry, 0, MAKE_64BIT_MASK(0, s->aw_bits), 0,
                           IOMMU_NONE);
        return;
    }
    vtd_walk_entry(s, t, addr, want, true, hint, &walk, entry);
    entry->perm &= IOMMU_RW;
    vtd_clip_interrupt_range(entry, addr);
}

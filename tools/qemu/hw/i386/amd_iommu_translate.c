/*
 * AMD IOMMU (AMD-Vi): translation of one address
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"
#include "trace.h"

static void amdvi_fill_entry(IOMMUTLBEntry *entry, hwaddr addr,
                             const AMDVIWalk *walk, IOMMUAccessFlags perm)
{
    pci_ats_fill_entry(entry, addr, walk->mask, walk->xlat, perm);
    if (perm && walk->untranslated) {
        entry->perm |= IOMMU_UNTRANSLATED_ONLY;
    }
}

static void amdvi_identity(IOMMUTLBEntry *entry, hwaddr addr,
                           IOMMUAccessFlags perm)
{
    pci_ats_fill_entry(entry, addr, AMDVI_PAGE_LOW, addr, perm);
}

static void amdvi_hole(IOMMUTLBEntry *entry, hwaddr addr, hwaddr mask)
{
    pci_ats_fill_entry(entry, addr, mask, 0, IOMMU_NONE);
}

/* Bits IR and IW of the entry, which are not those of a cached page */
static IOMMUAccessFlags amdvi_dte_perm(const AMDVIDTE *dte)
{
    IOMMUAccessFlags perm = IOMMU_ACCESS_FLAG(dte->q[0] & AMDVI_DTE_IR,
                                              dte->q[0] & AMDVI_DTE_IW);

    return perm | (perm & IOMMU_RO ? IOMMU_EXEC : 0);
}

static bool amdvi_is_excluded(AMDVIState *s, const AMDVIDTE *dte, hwaddr addr)
{
    uint64_t base = amdvi_reg(s, AMDVI_MMIO_EXCL_BASE);

    if (!(base & AMDVI_MMIO_EXCL_ENABLED_MASK)) {
        return false;
    }
    return ((base & AMDVI_MMIO_EXCL_ALLOW_MASK) ||
            (dte->q[1] & AMDVI_DTE_EX)) &&
           addr >= (base & AMDVI_RING_ADDR) &&
           addr <= (amdvi_reg(s, AMDVI_MMIO_EXCL_LIMIT) |
                    AMDVI_MMIO_EXCL_LIMIT_LOW);
}

/*
 * A device that may ask for pages is told of what is missing by the answer to
 * its translation request; of any other device software wants to know.
 */
static bool amdvi_is_silent(const AMDVIRequest *req, const AMDVIDTE *dte,
                            const AMDVIFault *fault)
{
    return req->kind == AMDVI_REQ_TRANSLATION &&
           (dte->q[0] & AMDVI_DTE_PPR) && !(fault->flags & AMDVI_EVF_RZ);
}

static AMDVITranslation amdvi_report(const AMDVIRequest *req, AMDVIDTE *dte,
                                     bool guest, hwaddr addr,
                                     AMDVIWalkResult result,
                                     const AMDVIFault *fault)
{
    if (result == AMDVI_WALK_HW) {
        amdvi_event_table(req, dte, guest && !fault->host, fault->addr);
        return AMDVI_TR_ABORTED;
    }
    if (!amdvi_is_silent(req, dte, fault)) {
        amdvi_event_page_fault(req, dte, guest && !fault->host,
                               fault->host ? fault->addr : addr,
                               fault->flags);
    }
    return AMDVI_TR_OK;
}

/* The walk, with the caches of what leads to it */
static AMDVIWalkResult amdvi_walk(const AMDVIRequest *req, const AMDVIDTE *dte,
                                  bool guest, hwaddr addr, AMDVIWalk *walk,
                                  AMDVIFault *fault)
{
    uint32_t pasid = amdvi_guest_pasid(req);
    uint16_t domain = amdvi_dte_domain(dte);
    AMDVIWalkResult ret;
    hwaddr root;

    if (!guest) {
        ret = amdvi_walk_host(req, dte, addr, walk, fault);
        if (walk->perm & IOMMU_RO) {
            walk->perm |= IOMMU_EXEC;
        }
        return ret;
    }
    *walk = (AMDVIWalk) { .mask = AMDVI_PAGE_LOW };
    if (!amdvi_cache_gcr3(req->s, domain, pasid, &root)) {
        ret = amdvi_walk_gcr3(req, dte, pasid, &root, fault);
        if (ret) {
            return ret;
        }
        amdvi_cache_add_gcr3(req->s, domain, pasid, root);
    }
    return amdvi_walk_guest(req, dte, root, addr, walk, fault);
}

static bool amdvi_page_suffices(const AMDVIRequest *req, const AMDVIPage *page)
{
    return !(req->want & (IOMMU_RW | IOMMU_EXEC) & ~page->walk.perm);
}

static AMDVITranslation amdvi_translate_paged(const AMDVIRequest *req,
                                              AMDVIDTE *dte, hwaddr addr,
                                              IOMMUTLBEntry *entry)
{
    bool guest = amdvi_uses_guest(req, dte);
    AMDVIPage page = {
        .domain = amdvi_dte_domain(dte),
        .pasid = guest ? amdvi_guest_pasid(req) : PCI_NO_PASID,
        .iova = addr & ~AMDVI_PAGE_LOW,
        .priv = guest && (req->want & IOMMU_PRIV),
        .nested = guest && amdvi_dte_mode(dte),
    };
    const AMDVIPage *cached = amdvi_cache_page(req->s, &page);
    AMDVIFault fault = {};
    AMDVIWalkResult ret;

    if (cached && amdvi_page_suffices(req, cached)) {
        amdvi_fill_entry(entry, addr, &cached->walk,
                         cached->walk.perm & amdvi_dte_perm(dte));
        return AMDVI_TR_OK;
    }
    ret = amdvi_walk(req, dte, guest, addr, &page.walk, &fault);
    if (ret) {
        amdvi_hole(entry, addr, page.walk.mask);
        return amdvi_report(req, dte, guest, addr, ret, &fault);
    }
    amdvi_cache_add_page(req->s, &page);
    amdvi_fill_entry(entry, addr, &page.walk,
                     page.walk.perm & amdvi_dte_perm(dte));
    return AMDVI_TR_OK;
}

/* After the entry was found in order, and valid */
static AMDVITranslation amdvi_translate_dte(const AMDVIRequest *req,
                                            AMDVIDTE *dte, hwaddr addr,
                                            IOMMUTLBEntry *entry)
{
    bool pasid = req->pasid != PCI_NO_PASID;

    if (req->kind == AMDVI_REQ_TRANSLATION && !(dte->q[1] & AMDVI_DTE_I)) {
        amdvi_event_device(req, addr);
        return AMDVI_TR_REFUSED;
    }
    if (!pasid && amdvi_is_excluded(req->s, dte, addr)) {
        amdvi_identity(entry, addr, IOMMU_RW | IOMMU_EXEC);
        return AMDVI_TR_OK;
    }
    if (!(dte->q[0] & AMDVI_DTE_TV) ||
        (pasid && !(dte->q[0] & AMDVI_DTE_GV))) {
        amdvi_event_page_fault(req, dte, pasid, addr, 0);
        return AMDVI_TR_REFUSED;
    }
    if (!amdvi_dte_mode(dte) && !amdvi_uses_guest(req, dte)) {
        amdvi_identity(entry, addr, amdvi_dte_perm(dte));
    } else {
        AMDVITranslation ret = amdvi_translate_paged(req, dte, addr, entry);

        if (ret || !entry->perm) {
            return ret;
        }
    }
    /* Nothing that the walk has granted, and IR and IW do not */
    if (req->kind != AMDVI_REQ_TRANSLATION &&
        (req->want & IOMMU_RW & ~entry->perm)) {
        amdvi_event_page_fault(req, dte, amdvi_uses_guest(req, dte), addr,
                               AMDVI_EVF_PR | AMDVI_EVF_PE);
        amdvi_hole(entry, addr, entry->addr_mask);
    }
    return AMDVI_TR_OK;
}

AMDVITranslation amdvi_translate_request(const AMDVIRequest *req, hwaddr addr,
                                         IOMMUTLBEntry *entry)
{
    AMDVIDTE *dte;
    bool hw;

    amdvi_hole(entry, addr, AMDVI_PAGE_LOW);
    dte = amdvi_find_dte(req, addr, &hw);
    if (!dte) {
        return hw ? AMDVI_TR_ABORTED : AMDVI_TR_REFUSED;
    }
    if (dte->q[0] & AMDVI_DTE_V) {
        return amdvi_translate_dte(req, dte, addr, entry);
    }
    if (req->kind == AMDVI_REQ_TRANSLATION) {
        amdvi_event_device(req, addr);
        return AMDVI_TR_REFUSED;
    }
    amdvi_identity(entry, addr, IOMMU_RW);
    return AMDVI_TR_OK;
}

/* An access with an address from an earlier translation request */
static void amdvi_translated(const AMDVIRequest *req, hwaddr addr,
                             IOMMUTLBEntry *entry)
{
    AMDVIDTE *dte;
    bool hw;

    amdvi_hole(entry, addr, AMDVI_PAGE_LOW);
    dte = amdvi_find_dte(req, addr, &hw);
    if (!dte) {
        return;
    }
    if ((dte->q[0] & AMDVI_DTE_V) && (dte->q[1] & AMDVI_DTE_I)) {
        amdvi_identity(entry, addr, IOMMU_RW);
    } else {
        amdvi_event_device(req, addr);
    }
}

IOMMUTLBEntry amdvi_whole_translate(AMDVIAddressSpace *as, hwaddr addr,
                                    IOMMUAccessFlags flag, bool translated)
{
    AMDVIRequest req = {
        .s = as->iommu_state,
        .devid = amdvi_as_devid(as),
        .pasid = PCI_NO_PASID,
        .kind = translated ? AMDVI_REQ_TRANSLATED : AMDVI_REQ_UNTRANSLATED,
        .want = flag & IOMMU_RW,
    };
    IOMMUTLBEntry entry = { .target_as = &address_space_memory };

    BQL_LOCK_GUARD();

    if (!req.s->enabled) {
        amdvi_identity(&entry, addr, translated ? IOMMU_NONE : IOMMU_RW);
    } else if (translated) {
        amdvi_translated(&req, addr, &entry);
    } else {
        amdvi_translate_request(&req, addr, &entry);
        entry.perm &= IOMMU_RW;
    }
    trace_amdvi_translation_result(PCI_BUS_NUM(req.devid),
                                   PCI_SLOT(as->devfn), PCI_FUNC(as->devfn),
                                   addr, entry.translated_addr);
    return entry;
}

/* Interrupts are untranslated writes; there is nothing to be read */
bool amdvi_is_interrupt(AMDVIState *s, hwaddr addr, bool is_write,
                        MemTxAttrs attrs)
{
    AMDVIRequest req = {
        .s = s,
        .devid = attrs.requester_id,
        .pasid = PCI_NO_PASID,
        .kind = attrs.address_type == PCI_AT_TRANSLATED ?
                AMDVI_REQ_TRANSLATED : AMDVI_REQ_UNTRANSLATED,
        .want = is_write ? IOMMU_WO : IOMMU_RO,
    };

    if (!s->whole || (is_write && req.kind == AMDVI_REQ_UNTRANSLATED)) {
        return true;
    }
    if (s->enabled && !attrs.unspecified) {
        amdvi_event_interrupt_range(&req, addr);
    }
    return false;
}

/*
 * Intel IOMMU (VT-d): tables that decide about a request, up to its PASID entry
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For requests of each kind: untranslated, translation request (ATS),
 * translated and page request.  Section numbers are those of the VT-d
 * specification 4.1.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_tables.h"
#include "trace.h"

/* PASID-cache invalidate descriptor (6.5.2.2) */
#define VTD_INV_DESC_PC_G           (3ULL << 4)
#define VTD_INV_DESC_PC_DOMAIN      (0ULL << 4)
#define VTD_INV_DESC_PC_PASID       (1ULL << 4)
#define VTD_INV_DESC_PC_RSVD_G      (2ULL << 4)
#define VTD_INV_DESC_PC_GLOBAL      (3ULL << 4)
#define VTD_INV_DESC_PC_RSVD_VAL0   0xfff000000000f1c0ULL

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

/* Whether the IOMMU has the kind of translation that an entry asks for */
static bool vtd_is_pgtt_supported(IntelIOMMUState *s, const VTDPASIDEntry *pe)
{
    switch (VTD_PE_PGTT(pe)) {
    case VTD_SM_PASID_ENTRY_FLT:
        return s->ecap & VTD_ECAP_FLTS;
    case VTD_SM_PASID_ENTRY_SLT:
        return s->ecap & VTD_ECAP_SLTS;
    case VTD_SM_PASID_ENTRY_NESTED:
        return s->ecap & VTD_ECAP_NEST;
    case VTD_SM_PASID_ENTRY_PT:
        return s->ecap & VTD_ECAP_PT;
    default:
        return false;
    }
}

/*
 * Reserved bits of the first three quadwords.  What belongs to a feature that
 * the IOMMU does not have is reserved, pointers that the translation type does
 * not use are not looked at, and a first stage pointer below a second stage is
 * an address like others.
 */
static void vtd_pasid_entry_rsvd(IntelIOMMUState *s, uint64_t pgtt,
                                 uint64_t rsvd[3])
{
    rsvd[0] = VTD_SM_PASID_ENTRY_RSVD_VAL0;
    rsvd[1] = VTD_SM_PASID_ENTRY_RSVD_VAL1;
    rsvd[2] = VTD_SM_PASID_ENTRY_RSVD_VAL2;
    if (pgtt == VTD_SM_PASID_ENTRY_SLT || pgtt == VTD_SM_PASID_ENTRY_NESTED) {
        rsvd[0] |= ~VTD_HAW_MASK(s->aw_bits);
    }
    if (pgtt == VTD_SM_PASID_ENTRY_FLT) {
        rsvd[2] |= ~VTD_HAW_MASK(s->aw_bits);
    }
    if (!(s->ecap & VTD_ECAP_SLADS)) {
        rsvd[0] |= VTD_SM_PASID_ENTRY_SSADE;
    }
    if (!(s->ecap & VTD_ECAP_SMPWC)) {
        rsvd[1] |= VTD_SM_PASID_ENTRY_PWSNP;
    }
    if (!(s->ecap & VTD_ECAP_SC)) {
        rsvd[1] |= VTD_SM_PASID_ENTRY_PGSNP;
    }
    if (!(s->ecap & VTD_ECAP_SRS)) {
        rsvd[2] |= VTD_SM_PASID_ENTRY_SRE | VTD_SM_PASID_ENTRY_WPE;
    }
    if (!(s->ecap & VTD_ECAP_ERS)) {
        rsvd[2] |= VTD_SM_PASID_ENTRY_ERE | VTD_SM_PASID_ENTRY_NXE |
                   VTD_SM_PASID_ENTRY_SMEP;
    }
}

static bool vtd_pasid_entry_has_rsvd(IntelIOMMUState *s,
                                     const VTDPASIDEntry *pe)
{
    uint64_t rsvd[3];
    int i;

    vtd_pasid_entry_rsvd(s, VTD_PE_PGTT(pe), rsvd);
    for (i = 0; i < ARRAY_SIZE(pe->val); i++) {
        if (pe->val[i] & (i < ARRAY_SIZE(rsvd) ? rsvd[i] : UINT64_MAX)) {
            return true;
        }
    }
    return false;
}

int vtd_check_pasid_entry(IntelIOMMUState *s, const VTDPASIDEntry *pe)
{
    uint64_t pgtt = VTD_PE_PGTT(pe);
    uint32_t fs_top = VTD_CAP_FS_TOP(s->cap);

    if (vtd_pasid_entry_has_rsvd(s, pe)) {
        return -VTD_FR_PASID_ENTRY_RSVD;
    }
    if (!vtd_is_pgtt_supported(s, pe)) {
        return -VTD_FR_PASID_TABLE_ENTRY_INV;
    }
    if ((pgtt == VTD_SM_PASID_ENTRY_SLT || pgtt == VTD_SM_PASID_ENTRY_NESTED) &&
        !vtd_is_sl_level_supported(s, VTD_PE_SS_LEVELS(pe))) {
        return -VTD_FR_PASID_TABLE_ENTRY_INV;
    }
    if ((pgtt == VTD_SM_PASID_ENTRY_FLT || pgtt == VTD_SM_PASID_ENTRY_NESTED) &&
        VTD_PE_FS_LEVELS(pe) > fs_top) {
        return -VTD_FR_PASID_TABLE_ENTRY_INV;
    }
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

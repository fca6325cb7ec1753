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
#include "qemu/lockable.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
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

uint16_t vtd_requester_sid(const VTDRequester *who)
{
    return PCI_BUILD_BDF(pci_bus_num(who->as->bus), who->as->devfn);
}

void vtd_report_request_fault(const VTDRequester *who, VTDRequestKind kind,
                              IOMMUAccessFlags want, hwaddr addr, int fault,
                              bool fpd)
{
    IntelIOMMUState *s = who->as->iommu_state;
    uint16_t sid = vtd_requester_sid(who);
    uint64_t hi;

    fault = vtd_fault_of_mode(s, fault);
    if (fpd && vtd_is_qualified_fault(fault)) {
        trace_vtd_fault_disabled();
        return;
    }
    trace_vtd_dmar_fault(sid, fault, addr, want & IOMMU_WO);

    hi = VTD_FRCD_SID(sid) | VTD_FRCD_FR(fault);
    if (who->pasid != PCI_NO_PASID) {
        hi |= VTD_FRCD_PP(1) | VTD_FRCD_PV(who->pasid) |
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
static int vtd_lookup_context(VTDAddressSpace *as, VTDRequestKind kind,
                              VTDContextEntry *ce)
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
    if (ret || kind == VTD_REQ_NONE) {
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
 *
 * Some bits of features that are not there are ignored, because released
 * kernels set them in every entry: NXE (Linux 6.1 to 6.11), SRE (up to 5.19)
 * and PGSNP (5.13 to 5.18).  SMEP says as little as NXE without requests for
 * execute permission.
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
    if (!(s->ecap & VTD_ECAP_SRS)) {
        rsvd[2] |= VTD_SM_PASID_ENTRY_WPE;
    }
    if (!(s->ecap & VTD_ECAP_ERS)) {
        rsvd[2] |= VTD_SM_PASID_ENTRY_ERE;
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

/*
 * PASID cache: entries by requester ID and PASID.  Those of each domain are in
 * a table of its own, by PASID, as software has thousands of PASIDs in one
 * domain and drops them one by one.  What is not present is never cached.
 */

/* Entries of one PASID in one domain: each of another function */
typedef struct VTDPASIDCacheList {
    QLIST_HEAD(, VTDPASIDCacheEntry) entries;
} VTDPASIDCacheList;

/* More than that is not worth the memory, which is the host's */
#define VTD_PASID_CACHE_MAX 4096

/* The PASID whose entry requests without one go by */
static uint32_t vtd_rid_pasid(const VTDContextEntry *ce)
{
    return ce->val[1] & VTD_SM_CONTEXT_ENTRY_RID2PASID_MASK;
}

static uint64_t vtd_pasid_cache_key(uint16_t sid, uint32_t pasid)
{
    return (uint64_t)sid << 32 | pasid;
}

void vtd_reset_pasid_cache(IntelIOMMUState *s)
{
    g_clear_pointer(&s->pasid_cache, g_hash_table_destroy);
    g_clear_pointer(&s->pasid_cache_domains, g_hash_table_destroy);
    s->pasid_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                           g_free);
    s->pasid_cache_domains =
        g_hash_table_new_full(NULL, NULL, NULL,
                              (GDestroyNotify)g_hash_table_destroy);
}

/*
 * Backends keep what the entry of a function has led to: only with that can an
 * invalidation by domain find the function, so such an entry stays.
 */
static bool vtd_is_shadowed(const VTDPASIDCacheEntry *pc)
{
    const VTDAddressSpace *as = pc->rid_as;

    /* That of an earlier context entry is not what backends have */
    return as && as->notifier_flags != IOMMU_NOTIFIER_NONE &&
           (uint32_t)pc->key ==
           vtd_rid_pasid(&as->context_cache_entry.context_entry);
}

static gboolean vtd_is_list_empty(gpointer pasid, gpointer value, gpointer none)
{
    const VTDPASIDCacheList *list = value;

    return QLIST_EMPTY(&list->entries);
}

static gboolean vtd_is_domain_empty(gpointer did, gpointer value, gpointer none)
{
    g_hash_table_foreach_remove(value, vtd_is_list_empty, NULL);
    return !g_hash_table_size(value);
}

static bool vtd_is_not_shadowed(const VTDPASIDCacheEntry *pc, uint16_t none)
{
    return !vtd_is_shadowed(pc);
}

static bool vtd_is_of_function(const VTDPASIDCacheEntry *pc, uint16_t sid)
{
    return pc->key >> 32 == sid;
}

/* Forget what one of the functions above says yes to */
static void vtd_shrink_pasid_cache(IntelIOMMUState *s,
                                   bool (*drop)(const VTDPASIDCacheEntry *pc,
                                                uint16_t sid), uint16_t sid)
{
    VTDPASIDCacheEntry *pc;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, s->pasid_cache);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pc)) {
        if (drop(pc, sid)) {
            QLIST_REMOVE(pc, same_domain);
            g_hash_table_iter_remove(&iter);
        }
    }
    g_hash_table_foreach_remove(s->pasid_cache_domains, vtd_is_domain_empty,
                                NULL);
}

/* Its memory is the host's, and nobody is there to use it */
void vtd_function_gone(PCIBus *bus, void *opaque, int devfn)
{
    IntelIOMMUState *s = opaque;

    QEMU_LOCK_GUARD(&s->iommu_lock);
    vtd_shrink_pasid_cache(s, vtd_is_of_function,
                           PCI_BUILD_BDF(pci_bus_num(bus), devfn));
}

static void vtd_insert_pasid_cache(IntelIOMMUState *s, VTDPASIDCacheEntry *pc)
{
    gpointer did = GUINT_TO_POINTER(VTD_SM_PASID_ENTRY_DID(pc->entry.val[1]));
    gpointer pasid = GUINT_TO_POINTER((uint32_t)pc->key);
    VTDPASIDCacheList *list;
    GHashTable *lists;

    if (g_hash_table_size(s->pasid_cache) >= VTD_PASID_CACHE_MAX) {
        vtd_shrink_pasid_cache(s, vtd_is_not_shadowed, 0);
    }
    lists = g_hash_table_lookup(s->pasid_cache_domains, did);
    if (!lists) {
        lists = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        g_hash_table_insert(s->pasid_cache_domains, did, lists);
    }
    list = g_hash_table_lookup(lists, pasid);
    if (!list) {
        list = g_new0(VTDPASIDCacheList, 1);
        g_hash_table_insert(lists, pasid, list);
    }
    QLIST_INSERT_HEAD(&list->entries, pc, same_domain);
    g_hash_table_insert(s->pasid_cache, &pc->key, pc);
}

static void vtd_drop_pasid_list(IntelIOMMUState *s, VTDPASIDCacheList *list)
{
    VTDPASIDCacheEntry *pc, *next;

    QLIST_FOREACH_SAFE(pc, &list->entries, same_domain, next) {
        trace_vtd_pasid_cache_drop(pc->key >> 32, pc->key);
        QLIST_REMOVE(pc, same_domain);
        g_hash_table_remove(s->pasid_cache, &pc->key);
    }
}

/* The entries of a domain, or those of them with @pasid */
static void vtd_drop_pasid_cache(IntelIOMMUState *s, uint16_t did,
                                 bool all_pasids, uint32_t pasid)
{
    gpointer id = GUINT_TO_POINTER(did);
    GHashTable *lists = g_hash_table_lookup(s->pasid_cache_domains, id);
    VTDPASIDCacheList *list;
    GHashTableIter iter;

    if (!lists) {
        return;
    }
    if (all_pasids) {
        g_hash_table_iter_init(&iter, lists);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&list)) {
            vtd_drop_pasid_list(s, list);
        }
        g_hash_table_remove(s->pasid_cache_domains, id);
        return;
    }
    list = g_hash_table_lookup(lists, GUINT_TO_POINTER(pasid));
    if (!list) {
        return;
    }
    vtd_drop_pasid_list(s, list);
    g_hash_table_remove(lists, GUINT_TO_POINTER(pasid));
    if (!g_hash_table_size(lists)) {
        g_hash_table_remove(s->pasid_cache_domains, id);
    }
}

static int vtd_lookup_pasid_entry(const VTDRequester *who, VTDRequestKind kind,
                                  VTDTables *t)
{
    IntelIOMMUState *s = who->as->iommu_state;
    uint64_t key = vtd_pasid_cache_key(vtd_requester_sid(who), t->pasid);
    VTDPASIDCacheEntry *pc = g_hash_table_lookup(s->pasid_cache, &key);
    bool fpd = false;
    int ret;

    if (!pc) {
        ret = vtd_fetch_pasid_entry(s, &t->ce, t->pasid, &t->pe, &fpd);
        t->fpd |= fpd;
        if (ret || kind == VTD_REQ_NONE ||
            (kind == VTD_REQ_SHADOW && vtd_is_pass_through(s, t))) {
            return ret;
        }
        pc = g_new0(VTDPASIDCacheEntry, 1);
        pc->key = key;
        pc->fpd = fpd;
        pc->entry = t->pe;
        vtd_insert_pasid_cache(s, pc);
    }
    if (who->pasid == PCI_NO_PASID) {
        pc->rid_as = who->as;
    }
    t->fpd |= pc->fpd;
    t->pe = pc->entry;
    return 0;
}

/* Whether the entry of requests without PASID of the function is cached */
static bool vtd_has_rid_pasid_entry(VTDAddressSpace *as)
{
    IntelIOMMUState *s = as->iommu_state;
    const VTDContextCacheEntry *cc = &as->context_cache_entry;
    VTDRequester who = { as, PCI_NO_PASID };
    uint64_t key;

    QEMU_LOCK_GUARD(&s->iommu_lock);
    key = vtd_pasid_cache_key(vtd_requester_sid(&who),
                              vtd_rid_pasid(&cc->context_entry));
    return cc->context_cache_gen == s->context_cache_gen &&
           g_hash_table_lookup(s->pasid_cache, &key);
}

/*
 * A new entry may turn pass-through on or off, which matters where untranslated
 * requests go: those without PASID.  It also is new to those who have been told
 * what the old one meant.
 */
static void vtd_refresh_rid_pasid(IntelIOMMUState *s)
{
    g_autoptr(GPtrArray) changed = g_ptr_array_new();
    VTDAddressSpace *as;
    GHashTableIter iter;
    int i;

    g_hash_table_iter_init(&iter, s->vtd_address_spaces);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&as)) {
        if (!vtd_has_rid_pasid_entry(as)) {
            g_ptr_array_add(changed, as);
        }
    }
    memory_region_transaction_begin();
    for (i = 0; i < changed->len; i++) {
        vtd_switch_address_space(g_ptr_array_index(changed, i));
    }
    memory_region_transaction_commit();
    for (i = 0; i < changed->len; i++) {
        as = g_ptr_array_index(changed, i);
        if (as->notifier_flags != IOMMU_NOTIFIER_NONE) {
            vtd_address_space_sync(as);
        }
    }
}

/* Drop what the descriptor is about (6.5.2.2) */
bool vtd_process_pasid_cache_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc)
{
    uint64_t mask[4] = {VTD_INV_DESC_PC_RSVD_VAL0, VTD_INV_DESC_ALL_ONE,
                        VTD_INV_DESC_ALL_ONE, VTD_INV_DESC_ALL_ONE};
    uint64_t granularity = inv_desc->val[0] & VTD_INV_DESC_PC_G;
    bool all_pasids = granularity != VTD_INV_DESC_PC_PASID;
    uint16_t did = extract64(inv_desc->val[0], 16, 16);
    uint32_t pasid = extract64(inv_desc->val[0], 32, 20);

    if (!vtd_inv_desc_reserved_check(s, inv_desc, mask, true, __func__,
                                     "pasid cache inv") ||
        granularity == VTD_INV_DESC_PC_RSVD_G) {
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&s->iommu_lock) {
        if (granularity == VTD_INV_DESC_PC_GLOBAL) {
            vtd_reset_pasid_cache(s);
        } else {
            vtd_drop_pasid_cache(s, did, all_pasids, pasid);
        }
    }
    vtd_refresh_rid_pasid(s);
    return true;
}

/* Checks on a scalable mode context entry */
static int vtd_check_context(const VTDRequester *who, VTDRequestKind kind,
                             VTDTables *t)
{
    const IntelIOMMUState *s = who->as->iommu_state;
    const VTDContextEntry *ce = &t->ce;
    bool has_pasid = who->pasid != PCI_NO_PASID;

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
    if (has_pasid && who->pasid >> s->pasid_bits) {
        return -VTD_FR_SM_PASID_LIMIT;
    }
    t->pasid = has_pasid ? who->pasid : vtd_rid_pasid(ce);
    if (t->pasid >= VTD_SM_CONTEXT_ENTRY_PASID_LIMIT(ce->val[0])) {
        return has_pasid ? -VTD_FR_SM_PASID_LIMIT : -VTD_FR_SM_RID_PASID_INV;
    }
    return 0;
}

static int vtd_check_legacy_context(const VTDRequester *who,
                                    VTDRequestKind kind, VTDTables *t)
{
    if (who->pasid != PCI_NO_PASID) {
        return -VTD_FR_TTM_PASID;
    }
    if (kind == VTD_REQ_PAGE) {
        return -VTD_FR_TTM_PAGE_REQ;
    }
    if ((kind == VTD_REQ_TRANSLATION || kind == VTD_REQ_TRANSLATED) &&
        (t->ce.lo & VTD_CONTEXT_ENTRY_TT) != VTD_CONTEXT_TT_DEV_IOTLB) {
        return -VTD_FR_CONTEXT_ENTRY_TT;
    }
    t->pasid = PCI_NO_PASID;
    return 0;
}

int vtd_lookup_tables(const VTDRequester *who, VTDRequestKind kind,
                      VTDTables *t)
{
    IntelIOMMUState *s = who->as->iommu_state;
    int ret;

    memset(t, 0, sizeof(*t));
    t->sid = vtd_requester_sid(who);
    ret = vtd_lookup_context(who->as, kind, &t->ce);
    if (ret) {
        /* Not read at all if the fault came earlier: FPD is clear then */
        t->fpd = t->ce.lo & VTD_CONTEXT_ENTRY_FPD;
        return ret;
    }
    t->fpd = t->ce.lo & VTD_CONTEXT_ENTRY_FPD;
    if (!s->root_scalable) {
        ret = vtd_check_legacy_context(who, kind, t);
        t->did = VTD_CONTEXT_ENTRY_DID(t->ce.hi);
        return ret;
    }
    ret = vtd_check_context(who, kind, t);
    if (ret || kind == VTD_REQ_TRANSLATED) {
        return ret;
    }
    ret = vtd_lookup_pasid_entry(who, kind, t);
    if (ret) {
        return ret;
    }
    t->did = VTD_SM_PASID_ENTRY_DID(t->pe.val[1]);
    return 0;
}

bool vtd_is_pass_through(const IntelIOMMUState *s, const VTDTables *t)
{
    if (s->root_scalable) {
        return VTD_PE_PGTT(&t->pe) == VTD_SM_PASID_ENTRY_PT;
    }
    return (t->ce.lo & VTD_CONTEXT_ENTRY_TT) == VTD_CONTEXT_TT_PASS_THROUGH;
}

bool vtd_may_bypass(VTDAddressSpace *as, const VTDContextEntry *ce)
{
    IntelIOMMUState *s = as->iommu_state;
    PCIDevice *dev = as->bus->devices[as->devfn];

    /* Vhost, which makes no translated accesses, does ATS alone */
    if (!(s->ecap & VTD_ECAP_DT) || !dev || !dev->exp.ats_cap ||
        !pcie_has_pri(dev)) {
        return true;
    }
    /* In legacy mode pass-through itself is without device TLB */
    return s->root_scalable && (ce->val[0] & VTD_SM_CONTEXT_ENTRY_DTE);
}

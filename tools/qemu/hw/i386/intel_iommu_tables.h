/*
 * Intel IOMMU (VT-d): tables that decide about a request, up to its PASID entry
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_TABLES_H
#define HW_I386_INTEL_IOMMU_TABLES_H

#include "intel_iommu_internal.h"

/* Levels of the tables that a PASID table entry points to */
#define VTD_PE_FS_LEVELS(pe) (4 + extract64((pe)->val[2], 2, 2))
#define VTD_PE_SS_LEVELS(pe) (2 + extract64((pe)->val[0], 2, 3))

/* What a request wants from the IOMMU */
typedef enum VTDRequestKind {
    VTD_REQ_NONE,           /* look only: nothing gets cached */
    VTD_REQ_SHADOW,         /* to map what is translated: only that is cached */
    VTD_REQ_UNTRANSLATED,
    VTD_REQ_TRANSLATION,    /* ATS translation request */
    VTD_REQ_TRANSLATED,     /* access with an address that ATS returned */
    VTD_REQ_PAGE,           /* page request */
} VTDRequestKind;

/*
 * Who makes a request: a function, which has an address space for what needs
 * the memory API, and a PASID, which has none.
 */
typedef struct VTDRequester {
    VTDAddressSpace *as;
    uint32_t pasid;         /* PCI_NO_PASID for a request without one */
} VTDRequester;

/* The tables that decide about a request */
typedef struct VTDTables {
    VTDContextEntry ce;
    VTDPASIDEntry pe;   /* scalable mode only */
    uint32_t pasid;     /* PASID or RID_PASID; PCI_NO_PASID in legacy mode */
    uint16_t sid;
    uint16_t did;
    bool fpd;           /* fault processing disabled; valid on error, too */
} VTDTables;

/**
 * vtd_check_pasid_entry: Check the fields of a PASID table entry (9.6)
 *
 * @s: the IOMMU
 * @pe: the entry, in the byte order of the host; present or not
 *
 * Returns: 0 or a negative VTDFaultReason
 */
int vtd_check_pasid_entry(IntelIOMMUState *s, const VTDPASIDEntry *pe);

/**
 * vtd_lookup_tables: Find and check the tables that decide about a request
 *
 * @who: whose request it is
 * @kind: what request it is
 * @t: where to store what was found
 *
 * The caller holds the lock of the IOMMU.
 *
 * Returns: 0 or a negative VTDFaultReason, which is not reported yet
 */
int vtd_lookup_tables(const VTDRequester *who, VTDRequestKind kind,
                      VTDTables *t);

/* Whether they say that addresses are not translated */
bool vtd_is_pass_through(const IntelIOMMUState *s, const VTDTables *t);

/**
 * vtd_report_request_fault: Record a fault unless software disabled that
 *
 * @who: whose request it is
 * @kind: what request it is
 * @want: what it wants to do
 * @addr: the address
 * @fault: a VTDFaultReason
 * @fpd: from the tables
 */
void vtd_report_request_fault(const VTDRequester *who, VTDRequestKind kind,
                              IOMMUAccessFlags want, hwaddr addr, int fault,
                              bool fpd);

/* Requester ID */
uint16_t vtd_requester_sid(const VTDRequester *who);

/**
 * vtd_reset_pasid_cache: Forget all PASID table entries, and have the cache
 *
 * The caller holds the lock of the IOMMU.
 */
void vtd_reset_pasid_cache(IntelIOMMUState *s);

/* PCIIOMMUOps.function_gone */
void vtd_function_gone(PCIBus *bus, void *opaque, int devfn);

/**
 * vtd_may_bypass: Whether the memory API may pass the IOMMU by where an entry
 * says pass-through
 *
 * Not if that would let translated accesses pass that the context entry does
 * not allow.
 */
bool vtd_may_bypass(VTDAddressSpace *as, const VTDContextEntry *ce);

/**
 * vtd_process_pasid_cache_desc: Process a PASID-cache invalidate descriptor
 *
 * Returns: false if it is malformed
 */
bool vtd_process_pasid_cache_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc);

#endif

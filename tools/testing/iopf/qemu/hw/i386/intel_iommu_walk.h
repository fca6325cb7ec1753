/*
 * Intel IOMMU (VT-d): table look-up and page walk for one request
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_WALK_H
#define HW_I386_INTEL_IOMMU_WALK_H

#include "intel_iommu_internal.h"

/* What a request wants from the IOMMU */
typedef enum VTDRequestKind {
    VTD_REQ_UNTRANSLATED,
    VTD_REQ_TRANSLATION,    /* ATS translation request */
    VTD_REQ_TRANSLATED,     /* access with an address that ATS returned */
    VTD_REQ_PAGE,           /* page request */
} VTDRequestKind;

/* The tables that decide about a request */
typedef struct VTDTables {
    VTDContextEntry ce;
    VTDPASIDEntry pe;   /* scalable mode only */
    uint32_t pasid;     /* PASID or RID_PASID; PCI_NO_PASID in legacy mode */
    uint16_t did;
    bool fpd;           /* fault processing disabled; valid on error, too */
} VTDTables;

/**
 * vtd_lookup_tables: Find and check the tables that decide about a request
 *
 * @as: whose request it is
 * @kind: what request it is
 * @t: where to store what was found
 *
 * The caller holds the lock of the IOMMU.
 *
 * Returns: 0 or a negative VTDFaultReason, which is not reported yet
 */
int vtd_lookup_tables(VTDAddressSpace *as, VTDRequestKind kind, VTDTables *t);

/**
 * vtd_report_request_fault: Record a fault unless software disabled that
 *
 * @as: whose request it is
 * @kind: what request it is
 * @want: what it wants to do
 * @addr: the address
 * @fault: a VTDFaultReason
 * @fpd: from the tables
 */
void vtd_report_request_fault(VTDAddressSpace *as, VTDRequestKind kind,
                              IOMMUAccessFlags want, hwaddr addr, int fault,
                              bool fpd);

/**
 * vtd_translate: Translate one address and report faults
 *
 * @as: the address space
 * @addr: the address
 * @want: permissions asked for, and IOMMU_PRIV for a privileged request
 * @ats: whether this is a translation request, which may be granted less than
 *     what it asks for
 * @entry: where to store the answer, without permissions if there is none
 *
 * Returns: 0 or a negative VTDFaultReason.  For a translation request only if
 * the tables do not allow the device to make it, not if there is no page.
 */
int vtd_translate(VTDAddressSpace *as, hwaddr addr, IOMMUAccessFlags want,
                  bool ats, IOMMUTLBEntry *entry);

/**
 * vtd_process_pasid_cache_desc: Process a PASID-cache invalidate descriptor
 *
 * Returns: false if it is malformed
 */
bool vtd_process_pasid_cache_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc);

#endif

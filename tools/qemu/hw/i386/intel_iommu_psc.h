/*
 * Intel IOMMU (VT-d): paging-structure cache
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_PSC_H
#define HW_I386_INTEL_IOMMU_PSC_H

#include "intel_iommu_internal.h"

/* Whose tables an entry is of */
typedef struct VTDPSCTag {
    uint32_t pasid;     /* PCI_NO_PASID for those of a second stage */
    uint16_t sid;
    uint16_t did;
} VTDPSCTag;

/* What all entries on the way to a table grant */
enum {
    VTD_PSC_READ = 1 << 0,
    VTD_PSC_WRITE = 1 << 1,
    VTD_PSC_USER = 1 << 2,
    VTD_PSC_EXEC = 1 << 3,
};

/* A table that was found once */
typedef struct VTDPSCTable {
    hwaddr base;
    uint32_t level;     /* of the entry that points to it */
    uint8_t rights;     /* VTD_PSC_ */
} VTDPSCTable;

/**
 * vtd_psc_lookup: Find the lowest table on the way to an address
 *
 * @s: the IOMMU
 * @tag: whose tables they are
 * @addr: input address
 * @top: level of the top table, which is never cached
 * @rights: what the entries have to grant; others may have been given more
 *     since, which the walk has to see
 * @table: where to store what was found
 *
 * The caller holds the lock of the IOMMU, also with the functions below.
 *
 * Returns: true if there is one
 */
bool vtd_psc_lookup(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr,
                    uint32_t top, uint8_t rights, VTDPSCTable *table);

/* Cache a table that a walk has found; does nothing with the cache off */
void vtd_psc_update(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr,
                    const VTDPSCTable *table);

/* Forget all, and have the cache */
void vtd_psc_reset(IntelIOMMUState *s);

/* Forget what is on the way to an address, for a page request */
void vtd_psc_drop_addr(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr);

/* Forget what is of a domain, or only what is of first stages in it */
void vtd_psc_drop_domain(IntelIOMMUState *s, uint16_t did);
void vtd_psc_drop_first_stages(IntelIOMMUState *s, uint16_t did);
/* Forget the first stage of a PASID */
void vtd_psc_drop_pasid(IntelIOMMUState *s, uint16_t did, uint32_t pasid);

/**
 * vtd_psc_drop_pages: Forget what is on the way to some pages
 *
 * @s: the IOMMU
 * @did: domain ID
 * @pasid: PASID of a first stage, PCI_NO_PASID for a second one
 * @addr: address of one of the pages
 * @am: address mask, there are 2^@am pages
 */
void vtd_psc_drop_pages(IntelIOMMUState *s, uint16_t did, uint32_t pasid,
                        hwaddr addr, uint8_t am);

#endif

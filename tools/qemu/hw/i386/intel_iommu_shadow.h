/*
 * Intel IOMMU (VT-d): what notifiers are told of the tables
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_SHADOW_H
#define HW_I386_INTEL_IOMMU_SHADOW_H

#include "intel_iommu_tables.h"

/*
 * Notifiers belong to backends that do DMA without asking the IOMMU for each
 * access: those with MAP events have all mappings (VFIO, vhost-vdpa), those
 * with UNMAP events alone a cache (vhost).  What they may do has to be what an
 * untranslated request without PASID of the function may do, at any time.
 *
 * The caller of these functions holds the BQL, but not the lock of the IOMMU.
 */

/* The tables of such a request. Returns: 0 or a negative VTDFaultReason */
int vtd_shadow_tables(VTDAddressSpace *as, VTDRequestKind kind, VTDTables *t);

/* Tell a new notifier with MAP events what there is */
void vtd_shadow_replay(VTDAddressSpace *as, IOMMUNotifier *n);

/* After an invalidation of a domain in the IOTLB */
void vtd_shadow_sync_domain(IntelIOMMUState *s, uint16_t did);

/* After an invalidation of the first stage of a PASID in the IOTLB */
void vtd_shadow_sync_pasid(IntelIOMMUState *s, uint16_t did, uint32_t pasid);

/**
 * vtd_shadow_sync_pages: Tell notifiers after an invalidation of some pages
 *
 * @s: the IOMMU
 * @did: domain ID
 * @pasid: PASID of a first stage, PCI_NO_PASID for a second one
 * @addr: address of one of the pages
 * @am: address mask, there are 2^@am pages
 */
void vtd_shadow_sync_pages(IntelIOMMUState *s, uint16_t did, uint32_t pasid,
                           hwaddr addr, uint8_t am);

#endif

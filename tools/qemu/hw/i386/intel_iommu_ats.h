/*
 * Intel IOMMU (VT-d): translation requests and device TLB invalidation
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_ATS_H
#define HW_I386_INTEL_IOMMU_ATS_H

#include "intel_iommu_tables.h"

/* A device that withheld completions of invalidations has made up its mind */
void vtd_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                               uint32_t n, bool completed);

/* Indexes of the IOMMU memory regions */
enum {
    VTD_IDX_UNTRANSLATED,
    VTD_IDX_TRANSLATED,
    VTD_IDX_NUM,
};

/* intel_iommu_ats.c; see PCIIOMMUOps for what implements these */
void vtd_get_iotlb_info(void *opaque, uint8_t *addr_width,
                        uint32_t *min_page_size);
ssize_t vtd_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                    uint32_t pasid, bool priv_req,
                                    bool exec_req, hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length, uint32_t *err_count);

/**
 * vtd_translated_request: Let an access with a translated address pass, or not
 *
 * Returns: true if the device may make such accesses
 */
bool vtd_translated_request(VTDAddressSpace *as, hwaddr addr,
                            IOMMUAccessFlags want, IOMMUTLBEntry *entry);

/**
 * vtd_check_pending: Check the Max Invs Pending of a device-TLB descriptor
 *
 * @s: the IOMMU
 * @sid: the requester ID
 * @mip: the field; 0 is 32
 *
 * The device says how many it takes.  That software lets the IOMMU send more
 * is logged as a guest error.
 */
void vtd_check_pending(IntelIOMMUState *s, uint16_t sid, unsigned int mip);

/**
 * vtd_invalidate_device_tlb: Invalidate a range in the cache of a device
 *
 * @s: the IOMMU
 * @sid: source id of the device
 * @pasid: PCI_NO_PASID to invalidate the range whatever the PASID is
 * @all_pasids: invalidate it for every PASID
 * @size: S field of the descriptor
 * @addr: address field of the descriptor, which encodes the size if @size
 */
void vtd_invalidate_device_tlb(IntelIOMMUState *s, uint16_t sid,
                               uint32_t pasid, bool all_pasids, bool size,
                               hwaddr addr);

#endif

/*
 * Intel IOMMU (VT-d): page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_PRQ_H
#define HW_I386_INTEL_IOMMU_PRQ_H

#include "intel_iommu_internal.h"

/* PQH_REG and PQT_REG */
#define VTD_PQ_OFFSET_MASK          0x7ffe0ULL

/* PQA_REG */
#define VTD_PQA_ADDR_MASK           0xfffffffffffff000ULL
#define VTD_PQA_SIZE_MASK           0x7ULL

/* PRS_REG */
#define VTD_PRS_PPR                 (1UL << 0)
#define VTD_PRS_PRO                 (1UL << 1)

/* PECTL_REG */
#define VTD_PECTL_IM                (1UL << 31)
#define VTD_PECTL_IP                (1UL << 30)

/* intel_iommu_prq.c; see PCIIOMMUOps for what implements these */
int vtd_pri_request_page(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                         bool priv_req, bool exec_req, hwaddr addr, bool lpig,
                         uint16_t prgi, bool is_read, bool is_write);

/* Define the registers, at creation and reset */
void vtd_prq_init(IntelIOMMUState *s);

/* To be called after a write to any of the registers */
void vtd_prq_handle_write(IntelIOMMUState *s, hwaddr addr, unsigned size);

/* Returns: false if the descriptor is malformed */
bool vtd_process_page_group_resp_desc(IntelIOMMUState *s,
                                      VTDInvDesc *inv_desc);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VT-d page request queue: descriptors and bookkeeping
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _INTEL_PRQ_H
#define _INTEL_PRQ_H

#include <linux/bits.h>
#include <linux/types.h>

#include "../iopf-hwq.h"

struct device;
struct intel_iommu;
struct iommu_fault_page_request;
struct iopf_fault;
struct qi_desc;

/* Page request descriptor, VT-d r4.1 section 7.4.1.1. qw[2] and qw[3] are 0. */
struct page_req_dsc {
	u64 qw[4];
};

#define PRQ_QW0_TYPE		GENMASK_ULL(7, 0)
#define PRQ_QW0_PASID_PRESENT	BIT_ULL(8)
#define PRQ_QW0_RID		GENMASK_ULL(31, 16)
#define PRQ_QW0_PASID		GENMASK_ULL(51, 32)
#define PRQ_QW0_EXEC		BIT_ULL(52)
#define PRQ_QW0_PRIV		BIT_ULL(53)
#define PRQ_QW1_READ		BIT_ULL(0)
#define PRQ_QW1_WRITE		BIT_ULL(1)
#define PRQ_QW1_LAST		BIT_ULL(2)
#define PRQ_QW1_GROUP		GENMASK_ULL(11, 3)
#define PRQ_QW1_ADDR		GENMASK_ULL(63, 12)

#define PRQ_TYPE_PAGE_REQ	0x1

/**
 * enum intel_prq_verdict - What to do with a page request descriptor
 * @INTEL_PRQ_REPORT: report it
 * @INTEL_PRQ_MALFORMED: it, and the group it belongs to, must not be granted
 * @INTEL_PRQ_IGNORE: nobody waits for an answer
 */
enum intel_prq_verdict {
	INTEL_PRQ_REPORT,
	INTEL_PRQ_MALFORMED,
	INTEL_PRQ_IGNORE,
};

enum intel_prq_verdict intel_prq_decode(const struct page_req_dsc *req,
					struct iopf_fault *event);
void intel_prq_encode_response(struct qi_desc *desc, u16 rid,
			       const struct iommu_fault_page_request *prm,
			       u32 code);

bool intel_prq_match(u64 qw0, u16 rid, u32 pasid);

void intel_prq_hwq_init(struct intel_iommu *iommu);
void intel_prq_hw_start(struct intel_iommu *iommu);
void intel_prq_suspend(struct intel_iommu *iommu);
void intel_prq_resume(struct intel_iommu *iommu);
bool intel_prq_work(struct intel_iommu *iommu);
void intel_prq_drain_device(struct device *dev);

#endif /* _INTEL_PRQ_H */

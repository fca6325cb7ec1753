/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD-Vi: peripheral page requests, what is logged of them and answered
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef AMD_IOMMU_PPR_H
#define AMD_IOMMU_PPR_H

#include <linux/bits.h>
#include <linux/types.h>

struct amd_iommu;
struct iommu_cmd;
struct iommu_dev_data;
struct iommu_fault_page_request;
struct iopf_fault;
struct iopf_response;

/* Entry of the log, type page service request */
#define PPR_QW0_DEVID		GENMASK_ULL(15, 0)
#define PPR_QW0_PASID_LOW	GENMASK_ULL(31, 16)
#define PPR_QW0_GROUP		GENMASK_ULL(40, 32)
#define PPR_QW0_LAST		BIT_ULL(41)
#define PPR_QW0_PASID_HIGH	GENMASK_ULL(45, 42)
#define PPR_QW0_EXEC		BIT_ULL(49)
#define PPR_QW0_READ		BIT_ULL(50)
#define PPR_QW0_WRITE		BIT_ULL(53)
#define PPR_QW0_USER		BIT_ULL(54)
#define PPR_QW0_RESERVED	BIT_ULL(55)
#define PPR_QW0_PASID_VALID	BIT_ULL(56)
#define PPR_QW0_TYPE		GENMASK_ULL(63, 60)
#define PPR_QW1_ADDR		GENMASK_ULL(63, 12)

/* Entry of the event log for a request that was not logged as one */
#define PPR_EVENT_QW0_PASID_VALID	BIT_ULL(57)

/* Command that answers a request */
#define PPR_CMD1_PASID		GENMASK(19, 0)
#define PPR_CMD3_GROUP		GENMASK(8, 0)
#define PPR_CMD3_CODE		GENMASK(15, 12)

/**
 * enum amd_ppr_verdict - What to do with an entry of the log
 * @AMD_PPR_REPORT: report it
 * @AMD_PPR_MALFORMED: it, and the group it belongs to, must not be granted
 * @AMD_PPR_IGNORE: nobody waits for an answer
 */
enum amd_ppr_verdict {
	AMD_PPR_REPORT,
	AMD_PPR_MALFORMED,
	AMD_PPR_IGNORE,
};

enum amd_ppr_verdict amd_ppr_decode(const u64 *entry, struct iopf_fault *event);
void amd_ppr_decode_event(const u64 *entry, struct iopf_fault *event);
void amd_ppr_encode_response(struct iommu_cmd *cmd, u16 devid,
			     const struct iommu_fault_page_request *prm,
			     u32 code);
bool amd_ppr_match(const void *entry, u32 devid, u32 pasid);

void amd_ppr_hwq_init(struct amd_iommu *iommu);
void amd_ppr_work_off(struct amd_iommu *iommu);
void amd_ppr_report_event(struct amd_iommu *iommu, const u64 *entry);
int amd_ppr_add_device(struct amd_iommu *iommu, struct iommu_dev_data *dev_data);
void amd_ppr_remove_device(struct amd_iommu *iommu,
			   struct iommu_dev_data *dev_data);
void amd_iommu_page_response_batch(const struct iopf_response *responses,
				   unsigned int nr);

#endif /* AMD_IOMMU_PPR_H */

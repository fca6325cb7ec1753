/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: what it shares with the IOMMU core and IOMMU drivers
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_CORE_H
#define __IOPF_CORE_H

#include <linux/iommu.h>

/* Response codes of a PRG Response message, PCIe r6.0 section 10.4.2.1 */
#define IOPF_PCIE_RESP_SUCCESS	0x0
#define IOPF_PCIE_RESP_INVALID	0x1
#define IOPF_PCIE_RESP_FAILURE	0xf

/**
 * iopf_resp_to_pcie() - Translate a response code for the wire
 * @code: value of &enum iommu_page_response_code
 *
 * The enum counts 0, 1, 2 while PCI knows 0, 1 and 0xf and reserves the rest.
 * Drivers of IOMMUs that put the PCI code into their commands use this.
 *
 * Return: the PCI response code; Response Failure for an unknown @code.
 */
static inline u8 iopf_resp_to_pcie(u32 code)
{
	switch (code) {
	case IOMMU_PAGE_RESP_SUCCESS:
		return IOPF_PCIE_RESP_SUCCESS;
	case IOMMU_PAGE_RESP_INVALID:
		return IOPF_PCIE_RESP_INVALID;
	default:
		return IOPF_PCIE_RESP_FAILURE;
	}
}

#ifdef CONFIG_IOMMU_IOPF
/*
 * How many requests whose group is still open are kept per device. No device
 * may have more requests outstanding than the IOMMU driver allotted to it, and
 * no driver allots more than this.
 */
#define IOPF_MAX_PARTIAL	2048

/*
 * How many requests, but the last of groups, are kept per device in all, those of
 * groups that are with handlers among them. A handler may still have groups that
 * were answered for it, so this is more than may be outstanding.
 */
#define IOPF_MAX_REQUESTS	(2 * IOPF_MAX_PARTIAL)

/*
 * How many groups of a device may be with handlers, answered or not. It is more
 * than that may be outstanding at a device that keeps to its allotment.
 */
#define IOPF_MAX_GROUPS		2048

/* After which time a device may try again, when there was no memory */
#define IOPF_BACKOFF_DELAY	msecs_to_jiffies(20)

/* For iopf_dev_sync() and iopf_partial_discard(): requests of every PASID */
#define IOPF_ANY_PASID		IOMMU_PASID_INVALID

/**
 * iopf_pasid_match() - Is a request of a PASID?
 * @valid: does it have a PASID?
 * @pasid: which, if @valid
 * @wanted: a PASID, IOMMU_NO_PASID for requests without PASID, IOPF_ANY_PASID
 *          for all
 *
 * Return: true if it is.
 */
static inline bool iopf_pasid_match(bool valid, u32 pasid, u32 wanted)
{
	return wanted == IOPF_ANY_PASID ||
	       wanted == (valid ? pasid : IOMMU_NO_PASID);
}

struct iommu_fault_param *iopf_get_dev_fault_param(struct device *dev);
void iopf_put_dev_fault_param(struct iommu_fault_param *fault_param);

void iopf_param_init(struct iommu_fault_param *param, struct device *dev);
int iopf_report(struct iommu_fault_param *param, struct iopf_fault *evt,
		struct iommu_attach_handle *(*find)(struct device *dev,
						    struct iopf_fault *evt));
int iopf_report_orphan(struct device *dev, struct iopf_fault *evt);
void iopf_report_malformed(struct device *dev, struct iopf_fault *evt);
void iopf_respond(struct iopf_group *group,
		  enum iommu_page_response_code code);
void iopf_group_keep(struct iopf_group *group);
void iopf_group_release(struct iopf_group *group);
void iopf_queue_overflow(struct iopf_queue *queue);
void iopf_partial_discard(struct iommu_fault_param *param, ioasid_t pasid);
void iopf_param_abort(struct iommu_fault_param *param, bool fence);
void iopf_dev_abort(struct device *dev);
void iopf_param_unfence(struct iommu_fault_param *param);
void iopf_param_shutdown(struct iommu_fault_param *param);
void iopf_dev_sync(struct device *dev, ioasid_t pasid,
		   struct iommu_attach_handle *handle);
#else
static inline void iopf_report_malformed(struct device *dev,
					 struct iopf_fault *evt)
{
}

static inline void iopf_dev_sync(struct device *dev, ioasid_t pasid,
				 struct iommu_attach_handle *handle)
{
}
#endif /* CONFIG_IOMMU_IOPF */
#endif /* __IOPF_CORE_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD-Vi: devices that do not complete invalidations of their IOTLB
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef AMD_IOMMU_IOTLB_H
#define AMD_IOMMU_IOTLB_H

#include <linux/iommu.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "../iopf-late.h"

struct amd_iommu;
struct dev_table_entry;
struct device;
struct iommu_dev_data;
struct protection_domain;

/* Event log of an IOMMU: where it was looked through, and worked off, up to */
struct amd_event_log {
	raw_spinlock_t lock;
	u32 seen;
	u32 head;
	u32 lost;
};

/* Does a device complete invalidations? See iotlb.c */
struct amd_iotlb {
	/* Held while its entry is changed to or from one without ATS */
	spinlock_t lock;
	bool blocked;
	/* It has not what its domain maps, but something that depends on that */
	bool whole;
	/* The rest by amd_event_log::lock */
	bool listed;
	bool silent;
	bool suspected;
	u32 error;
	u32 counted;
	struct iopf_late late;
	struct work_struct fence;
};

void amd_event_log_init(struct amd_iommu *iommu);
void amd_event_log_enabled(struct amd_iommu *iommu);
bool amd_event_log_next(struct amd_iommu *iommu, u32 *event);
void amd_event_log_restart(struct amd_iommu *iommu);

void amd_iotlb_alloc(struct iommu_dev_data *dev_data);
void amd_iotlb_probe(struct amd_iommu *iommu, struct iommu_dev_data *dev_data);
void amd_iotlb_release(struct amd_iommu *iommu, struct iommu_dev_data *dev_data);
bool amd_iotlb_silent(const struct iommu_dev_data *dev_data);
u32 amd_iotlb_errors(void);
void amd_iotlb_end(struct iommu_dev_data *dev_data, u64 address, size_t size,
		   ioasid_t pasid, bool gn, u32 since, int ret);
void amd_iotlb_end_domain(struct protection_domain *domain, u64 address,
			  size_t size, u32 since, int ret);
int amd_iotlb_tell(struct iommu_dev_data *dev_data, u64 address, size_t size,
		   ioasid_t pasid, bool gn);
void amd_iotlb_limit_dte(const struct iommu_dev_data *dev_data,
			 struct dev_table_entry *dte);
bool amd_iotlb_reset_done(struct device *dev);

#endif /* AMD_IOMMU_IOTLB_H */

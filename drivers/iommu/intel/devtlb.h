/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VT-d: devices that do not complete invalidations of their TLB
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _INTEL_DEVTLB_H
#define _INTEL_DEVTLB_H

#include <linux/types.h>

#include "../iopf-late.h"

struct device;
struct device_domain_info;
struct intel_iommu;
struct qi_desc;

/**
 * struct devtlb_try - What becomes of the device-TLB part of a submission
 * @aborts: how often it was aborted by a time-out, its own or another's
 * @by_nobody: when the hardware named no device, how often
 * @by_stranger: when it named one that it cannot have been, how often
 * @nameless: intel_iommu::devtlb_nameless when it was submitted last
 * @misnamed: intel_iommu::devtlb_misnamed then
 * @skipped: it was submitted without what is for devices that are given up
 */
struct devtlb_try {
	unsigned int aborts;
	unsigned int by_nobody;
	unsigned int by_stranger;
	unsigned int nameless;
	unsigned int misnamed;
	bool skipped;
};

#ifdef CONFIG_INTEL_IOMMU
void intel_devtlb_timed_out(struct intel_iommu *iommu, u16 sid);
void intel_devtlb_begin(struct intel_iommu *iommu, struct devtlb_try *try);
const struct qi_desc *intel_devtlb_desc(struct intel_iommu *iommu,
					struct devtlb_try *try,
					const struct qi_desc *desc);
void intel_devtlb_aborted(struct intel_iommu *iommu, struct devtlb_try *try,
			  const struct qi_desc *desc, unsigned int count);
int intel_devtlb_end(struct intel_iommu *iommu, const struct devtlb_try *try,
		     const struct qi_desc *desc, unsigned int count);
void intel_devtlb_init(struct device_domain_info *info);
void intel_devtlb_forget(struct device_domain_info *info);
bool intel_devtlb_reset_done(struct device *dev);
#else
static inline void intel_devtlb_timed_out(struct intel_iommu *iommu, u16 sid)
{
}

static inline void intel_devtlb_begin(struct intel_iommu *iommu,
				      struct devtlb_try *try)
{
}

static inline const struct qi_desc *
intel_devtlb_desc(struct intel_iommu *iommu, struct devtlb_try *try,
		  const struct qi_desc *desc)
{
	return desc;
}

static inline void intel_devtlb_aborted(struct intel_iommu *iommu,
					struct devtlb_try *try,
					const struct qi_desc *desc,
					unsigned int count)
{
}

static inline int intel_devtlb_end(struct intel_iommu *iommu,
				   const struct devtlb_try *try,
				   const struct qi_desc *desc,
				   unsigned int count)
{
	return 0;
}
#endif /* CONFIG_INTEL_IOMMU */
#endif /* _INTEL_DEVTLB_H */

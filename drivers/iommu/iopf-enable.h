/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: when the I/O page faults of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_ENABLE_H
#define __IOPF_ENABLE_H

#include <linux/iommu.h>

#ifdef CONFIG_IOMMU_IOPF
int iopf_dev_get(struct device *dev);
int iopf_dev_put(struct device *dev);
int iopf_attach_prepare(struct device *dev, struct iommu_domain *domain);
void iopf_attach_finish(struct device *dev, struct iommu_domain *domain);
int iopf_pasid_get(struct device *dev, struct iommu_domain *domain);
void iopf_pasid_put(struct device *dev, struct iommu_domain *domain);
void iopf_dev_fence(struct device *dev, const bool *silent);
void iopf_dev_end_resets(struct device *dev);
void iopf_dev_release(void);
#else
static inline int iopf_dev_get(struct device *dev)
{
	return -ENODEV;
}

static inline int iopf_dev_put(struct device *dev)
{
	return -EBUSY;
}

static inline int iopf_attach_prepare(struct device *dev,
				      struct iommu_domain *domain)
{
	return domain->iopf_handler ? -ENODEV : 0;
}

static inline void iopf_attach_finish(struct device *dev,
				      struct iommu_domain *domain)
{
}

static inline int iopf_pasid_get(struct device *dev,
				 struct iommu_domain *domain)
{
	return domain->iopf_handler && domain->type != IOMMU_DOMAIN_SVA ?
	       -ENODEV : 0;
}

static inline void iopf_pasid_put(struct device *dev,
				  struct iommu_domain *domain)
{
}

static inline void iopf_dev_fence(struct device *dev, const bool *silent)
{
}

static inline void iopf_dev_end_resets(struct device *dev)
{
}

static inline void iopf_dev_release(void)
{
}
#endif /* CONFIG_IOMMU_IOPF */
#endif /* __IOPF_ENABLE_H */

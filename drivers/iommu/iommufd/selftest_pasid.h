/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PASIDs of mock devices
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOMMUFD_SELFTEST_PASID_H
#define __IOMMUFD_SELFTEST_PASID_H

#include <linux/iommu.h>

struct iommu_test_cmd;
struct iommufd_device;
struct iommufd_ucmd;

int mock_pasid_test(struct iommufd_ucmd *ucmd, struct iommufd_device *idev,
		    struct iommu_test_cmd *cmd);
int mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
		       ioasid_t pasid, struct iommu_domain *old);
void mock_remove_dev_pasid(struct device *dev, ioasid_t pasid,
			   struct iommu_domain *domain);
int mock_replace_dev_pasid(struct device *dev, ioasid_t pasid,
			   struct iommu_domain *domain, struct iommu_domain *old);
struct iommu_domain *mock_domain_alloc_sva(struct device *dev,
					   struct mm_struct *mm);

#endif

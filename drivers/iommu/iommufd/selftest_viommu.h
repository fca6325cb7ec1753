/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vIOMMUs of the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOMMUFD_SELFTEST_VIOMMU_H
#define __IOMMUFD_SELFTEST_VIOMMU_H

#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/spinlock.h>

#include "iommufd_test.h"

/**
 * struct mock_viommu_dev - What a mock device has to do with a vIOMMU
 * @lock: protects the rest
 * @viommu: of the nested domain that it is attached to, or NULL
 * @virt_id: its id in the guest then, as it was when it was attached
 * @cache: what a guest can invalidate
 */
struct mock_viommu_dev {
	spinlock_t lock;	/* All of it */
	struct iommufd_viommu *viommu;
	unsigned long virt_id;
	u32 cache[MOCK_DEV_CACHE_NUM];
};

/* Of the mock driver */
struct mock_viommu_dev *mock_viommu_dev_get(struct device *dev);
struct iommu_domain *
mock_domain_alloc_nested(struct iommu_domain *parent,
			 struct iommufd_viommu *viommu, u32 flags,
			 const struct iommu_user_data *user_data);

void mock_viommu_dev_init(struct mock_viommu_dev *vdev);
int mock_viommu_dev_test(struct device *dev, const struct iommu_test_cmd *cmd);
int mock_viommu_attach(struct device *dev, struct iommufd_viommu *viommu);
size_t mock_get_viommu_size(struct device *dev, unsigned int type);
int mock_viommu_init(struct iommufd_viommu *viommu,
		     struct iommu_domain *parent,
		     const struct iommu_user_data *user_data);

#endif

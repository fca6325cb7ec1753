// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: what user space is told of the hardware
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "arm-smmu-v3.h"

/**
 * arm_smmu_hw_info() - Report the registers that identify an SMMU
 * @dev: a device behind it
 * @length: size of what is returned
 * @type: kind of what is returned
 *
 * Return: what the caller frees, or -ENOMEM.
 */
void *arm_smmu_hw_info(struct device *dev, u32 *length, u32 *type)
{
	static const u32 idr[] = {
		ARM_SMMU_IDR0, ARM_SMMU_IDR1, ARM_SMMU_IDR2,
		ARM_SMMU_IDR3, ARM_SMMU_IDR4, ARM_SMMU_IDR5,
	};
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);
	void __iomem *base = master->smmu->base;
	struct iommu_hw_info_arm_smmuv3 *info;
	unsigned int i;

	static_assert(ARRAY_SIZE(idr) == ARRAY_SIZE(info->idr));

	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < ARRAY_SIZE(idr); i++)
		info->idr[i] = readl_relaxed(base + idr[i]);
	info->iidr = readl_relaxed(base + ARM_SMMU_IIDR);
	info->aidr = readl_relaxed(base + ARM_SMMU_AIDR);
	*length = sizeof(*info);
	*type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3;
	return info;
}

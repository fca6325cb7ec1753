// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: what user space is told of the hardware
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/iommu.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "amd_iommu.h"

/**
 * amd_iommu_hw_info() - Report the feature registers
 * @dev: a device behind an IOMMU
 * @length: size of what is returned
 * @type: kind of what is returned
 *
 * What one of the IOMMUs lacks, none of them is used for.
 *
 * Return: what the caller frees, or -ENOMEM.
 */
void *amd_iommu_hw_info(struct device *dev, u32 *length, u32 *type)
{
	struct iommu_hw_info_amd *info;

	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return ERR_PTR(-ENOMEM);

	info->efr = amd_iommu_efr;
	info->efr2 = amd_iommu_efr2;
	*length = sizeof(*info);
	*type = IOMMU_HW_INFO_TYPE_AMD;
	return info;
}

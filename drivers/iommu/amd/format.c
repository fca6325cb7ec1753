// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: the kind of page table of a domain
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * PASIDs have guest page tables, and the RID beside them has one, too: with a host page
 * table there is no table of PASIDs. Dirty pages are tracked in host page tables alone,
 * and the second stage of guests is one.
 */
#include <linux/io-pgtable.h>
#include <uapi/linux/iommufd.h>

#include "amd_iommu.h"

#define HOST_TABLE	(IOMMU_HWPT_ALLOC_DIRTY_TRACKING | \
			 IOMMU_HWPT_ALLOC_NEST_PARENT)

/**
 * amd_iommu_takes_pasid() - Can a page table be for PASIDs, or beside those of PASIDs?
 * @flags: of &enum iommufd_hwpt_alloc_flags, with which the page table is to be made
 *
 * Return: true if it can be a guest page table.
 */
bool amd_iommu_takes_pasid(u32 flags)
{
	return amd_iommu_pasid_supported() && check_feature(FEATURE_GIOSUP) &&
	       !(flags & HOST_TABLE);
}

/**
 * amd_iommu_choose_table() - What kind of page table a domain gets
 * @flags: of &enum iommufd_hwpt_alloc_flags
 *
 * Return: the format.
 */
enum io_pgtable_fmt amd_iommu_choose_table(u32 flags)
{
	if (flags & HOST_TABLE)
		return AMD_IOMMU_V1;
	return flags & IOMMU_HWPT_ALLOC_PASID ? AMD_IOMMU_V2 : amd_iommu_pgtable;
}

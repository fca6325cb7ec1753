// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers of IOMMUs let guests access registers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Always built in, like driver.c. They are mapped in mmap.c.
 */
#include <linux/export.h>
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "iommufd_private.h"

/**
 * iommufd_viommu_alloc_mmap() - Let user space map registers of a vIOMMU
 * @viommu: the vIOMMU
 * @base: physical address of the registers, at the start of a page
 * @length: how long they are, a multiple of pages. All that is there can be accessed
 * @offset: what to give to mmap() is stored here
 *
 * Nobody can map them before the vIOMMU is there for user space, and the vIOMMU cannot
 * go while they are mapped.
 *
 * Return: 0, -EINVAL if these are not pages, or -ENOMEM.
 */
int iommufd_viommu_alloc_mmap(struct iommufd_viommu *viommu, phys_addr_t base,
			      size_t length, unsigned long *offset)
{
	struct iommufd_region *region;
	int rc;

	if (WARN_ON_ONCE(!length || offset_in_page(base) ||
			 offset_in_page(length)))
		return -EINVAL;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return -ENOMEM;
	region->owner = &viommu->obj;
	region->base = base;
	region->length = length;

	/* 0 is what a program has that did not ask. The offset of mmap() is signed. */
	rc = mtree_alloc_range(&viommu->ictx->regions, offset, region, length,
			       PAGE_SIZE, LONG_MAX, GFP_KERNEL_ACCOUNT);
	if (rc) {
		kfree(region);
		return rc == -EBUSY ? -ENOMEM : rc;
	}
	region->offset = *offset;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_alloc_mmap, IOMMUFD);

/**
 * iommufd_viommu_destroy_mmap() - Undo iommufd_viommu_alloc_mmap()
 * @viommu: the vIOMMU, which is being destroyed or could not be set up
 * @offset: what iommufd_viommu_alloc_mmap() had stored
 */
void iommufd_viommu_destroy_mmap(struct iommufd_viommu *viommu,
				 unsigned long offset)
{
	struct iommufd_region *region =
		mtree_erase(&viommu->ictx->regions, offset);

	if (WARN_ON_ONCE(!region))
		return;
	WARN_ON_ONCE(region->owner != &viommu->obj);
	kfree(region);
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_destroy_mmap, IOMMUFD);

// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap() of an iommufd: registers that are for one guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Drivers offer regions, see region.c. Each mapping, and each part of one that was
 * split, holds the object that the region belongs to. The region goes with that.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/fs.h>
#include <linux/iommufd.h>
#include <linux/mm.h>

#include "iommufd_private.h"

static void region_vma_open(struct vm_area_struct *vma)
{
	struct iommufd_region *region = vma->vm_private_data;

	refcount_inc(&region->owner->users);
}

static void region_vma_close(struct vm_area_struct *vma)
{
	struct iommufd_region *region = vma->vm_private_data;

	refcount_dec(&region->owner->users);
}

static const struct vm_operations_struct region_vm_ops = {
	.open = region_vma_open,
	.close = region_vma_close,
};

/* Find the region that starts there, and hold its owner. */
static struct iommufd_region *region_get(struct iommufd_ctx *ictx,
					 unsigned long pgoff, size_t length)
{
	struct iommufd_region *region;

	if (pgoff > ULONG_MAX >> PAGE_SHIFT)
		return NULL;

	/* The driver takes it out under the lock before its owner is freed. */
	mtree_lock(&ictx->regions);
	region = mtree_load(&ictx->regions, pgoff << PAGE_SHIFT);
	if (region && (region->offset >> PAGE_SHIFT != pgoff ||
		       region->length != length ||
		       !iommufd_object_hold(ictx, region->owner)))
		region = NULL;
	mtree_unlock(&ictx->regions);
	return region;
}

int iommufd_fops_mmap(struct file *filp, struct vm_area_struct *vma)
{
	size_t length = vma->vm_end - vma->vm_start;
	struct iommufd_ctx *ictx = filp->private_data;
	struct iommufd_region *region;
	int rc;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;

	region = region_get(ictx, vma->vm_pgoff, length);
	if (!region)
		return -ENXIO;

	/* Nor later on */
	vm_flags_clear(vma, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	rc = io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(region->base),
				length, vma->vm_page_prot);
	if (rc) {
		refcount_dec(&region->owner->users);
		return rc;
	}
	vma->vm_private_data = region;
	vma->vm_ops = &region_vm_ops;
	return 0;
}

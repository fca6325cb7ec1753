// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of an IOAS that hardware uses by its physical address
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * That memory has to stay where it is, and mapped: nobody could tell the hardware
 * in time. User space is told that it is in use instead.
 */
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "io_pagetable.h"

/* Pages of the IOAS have to be pages of memory. */
static bool lock_is_aligned(struct iopt_area *area, unsigned long iova,
			    unsigned long last)
{
	return !(iopt_area_start_byte(area, iova) % PAGE_SIZE) &&
	       iopt_area_start_byte(area, last) % PAGE_SIZE == PAGE_SIZE - 1;
}

static int lock_check(struct io_pagetable *iopt, unsigned long iova,
		      unsigned long last)
{
	struct iopt_area_contig_iter iter;
	struct iopt_area *area;

	iopt_for_each_contig_area(&iter, area, iopt, iova, last) {
		if (area->prevent_access ||
		    !lock_is_aligned(area, iter.cur_iova,
				     min(last, iopt_area_last_iova(area))))
			return -EINVAL;
		if (!(area->iommu_prot & IOMMU_READ))
			return -EPERM;
	}
	return iopt_area_contig_done(&iter) ? 0 : -ENOENT;
}

static void lock_count(struct iopt_area *area, int add)
{
	mutex_lock(&area->pages->mutex);
	area->num_locks += add;
	mutex_unlock(&area->pages->mutex);
}

static void lock_drop_area(struct iopt_area *area, unsigned long first_index,
			   unsigned long last_index)
{
	lock_count(area, -1);
	iopt_area_remove_access(area, first_index, last_index);
}

/* @next is where the pages have to be, or is set if it is PHYS_ADDR_MAX. */
static int lock_are_next(struct page **pages, unsigned long nr,
			 phys_addr_t *next)
{
	unsigned long i;

	if (*next == PHYS_ADDR_MAX)
		*next = page_to_phys(pages[0]);
	for (i = 0; i < nr; i++) {
		if (page_to_phys(pages[i]) != *next)
			return -EFAULT;
		*next += PAGE_SIZE;
	}
	return 0;
}

static int lock_area(struct iopt_area *area, unsigned long first_index,
		     unsigned long last_index, phys_addr_t *next)
{
	unsigned long nr = last_index - first_index + 1;
	struct page **pages;
	int rc;

	/* As much as user space has mapped: that may be more than there is memory. */
	pages = kvmalloc_array(nr, sizeof(*pages),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;

	rc = iopt_area_add_access(area, first_index, last_index, pages, 0);
	if (rc)
		goto out_free;
	lock_count(area, 1);

	if (next)
		rc = lock_are_next(pages, nr, next);
	if (rc)
		lock_drop_area(area, first_index, last_index);
out_free:
	kvfree(pages);
	return rc;
}

static void lock_drop(struct io_pagetable *iopt, unsigned long iova,
		      unsigned long last)
{
	struct iopt_area_contig_iter iter;
	struct iopt_area *area;
	unsigned long end;

	iopt_for_each_contig_area(&iter, area, iopt, iova, last) {
		end = min(last, iopt_area_last_iova(area));
		lock_drop_area(area, iopt_area_iova_to_index(area, iter.cur_iova),
			       iopt_area_iova_to_index(area, end));
	}
	WARN_ON(!iopt_area_contig_done(&iter));
}

/**
 * iopt_lock_range() - Keep memory where it is, and mapped
 * @iopt: where it is mapped
 * @iova: the first byte, at the start of a page
 * @last: the last byte, at the end of a page
 * @phys: the physical address is stored here; NULL if it need not be contiguous
 *
 * Return: 0, -ENOENT if not all of it is mapped, -EPERM if it cannot be read, -EINVAL
 * if it is mapped with another offset into a page or is being unmapped, -EFAULT if it
 * is not contiguous, or another errno of pinning it.
 */
int iopt_lock_range(struct io_pagetable *iopt, unsigned long iova,
		    unsigned long last, phys_addr_t *phys)
{
	phys_addr_t next = PHYS_ADDR_MAX;
	struct iopt_area_contig_iter iter;
	struct iopt_area *area;
	unsigned long end;
	int rc;

	down_read(&iopt->iova_rwsem);
	rc = lock_check(iopt, iova, last);
	if (rc)
		goto out_unlock;

	iopt_for_each_contig_area(&iter, area, iopt, iova, last) {
		end = min(last, iopt_area_last_iova(area));
		rc = lock_area(area,
			       iopt_area_iova_to_index(area, iter.cur_iova),
			       iopt_area_iova_to_index(area, end),
			       phys ? &next : NULL);
		if (rc) {
			if (iter.cur_iova != iova)
				lock_drop(iopt, iova, iter.cur_iova - 1);
			goto out_unlock;
		}
	}
	if (phys)
		*phys = next - (last - iova + 1);
out_unlock:
	up_read(&iopt->iova_rwsem);
	return rc;
}

/**
 * iopt_unlock_range() - Undo iopt_lock_range()
 * @iopt: as was given there
 * @iova: as was given there
 * @last: as was given there
 */
void iopt_unlock_range(struct io_pagetable *iopt, unsigned long iova,
		       unsigned long last)
{
	down_read(&iopt->iova_rwsem);
	lock_drop(iopt, iova, last);
	up_read(&iopt->iova_rwsem);
}

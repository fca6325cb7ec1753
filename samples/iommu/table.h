/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A page table of a driver's own for a PASID, filled when the device asks
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SVA_TABLE_H
#define IOPF_SVA_TABLE_H

#include <linux/iommu.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct mm_struct;

/**
 * struct table - a page table of its own, with pages of a process
 * @handle: of the attached domain
 * @dev: the device
 * @mm: the process
 * @pasid: for which the device uses the table
 * @lock: protects @pages, and that the table agrees with them
 * @pages: what is mapped, by virtual page number; marked if it can be written to
 */
struct table {
	struct iommu_attach_handle handle;
	struct device *dev;
	struct mm_struct *mm;
	u32 pasid;
	struct mutex lock;	/* of pages */
	struct xarray pages;
};

struct table *table_bind(struct device *dev, struct mm_struct *mm);
void table_unbind(struct table *table);

#endif

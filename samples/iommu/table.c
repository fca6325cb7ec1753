// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page table of a driver's own for a PASID, filled when the device asks
 *
 * The other way to have a device work on a process's memory: where the IOMMU, or
 * the kernel, does not share the process's page table, a driver can attach a paging
 * domain to a PASID, and map pages of the process there when the device asks for
 * them. They are pinned until the bond ends: the process gets no news of what
 * happens to its address space later.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "table.h"

#define TABLE_WRITABLE	XA_MARK_0

static struct table *group_table(struct iopf_group *group)
{
	return container_of(group->attach_handle, struct table, handle);
}

static int table_pin(struct table *table, u64 addr, bool write,
		     struct page **page)
{
	unsigned int flags = FOLL_LONGTERM | (write ? FOLL_WRITE : 0);
	long ret;

	mmap_read_lock(table->mm);
	ret = pin_user_pages_remote(table->mm, addr, 1, flags, page, NULL);
	mmap_read_unlock(table->mm);
	return ret == 1 ? 0 : -EFAULT;
}

/* The page table has nothing of the page, and the device forgets it, too. */
static void table_unmap(struct table *table, unsigned long nr)
{
	struct page *page = xa_load(&table->pages, nr);
	bool dirty = xa_get_mark(&table->pages, nr, TABLE_WRITABLE);

	iommu_unmap(table->handle.domain, (u64)nr << PAGE_SHIFT, PAGE_SIZE);
	xa_erase(&table->pages, nr);
	unpin_user_pages_dirty_lock(&page, 1, dirty);
}

static int table_map(struct table *table, unsigned long nr, struct page *page,
		     bool writable)
{
	int prot = IOMMU_READ | (writable ? IOMMU_WRITE : 0);
	int ret;

	ret = xa_err(xa_store(&table->pages, nr, page, GFP_KERNEL));
	if (ret)
		return ret;
	if (writable)
		xa_set_mark(&table->pages, nr, TABLE_WRITABLE);
	ret = iommu_map(table->handle.domain, (u64)nr << PAGE_SHIFT,
			page_to_phys(page), PAGE_SIZE, prot, GFP_KERNEL);
	if (ret)
		xa_erase(&table->pages, nr);
	return ret;
}

static int table_serve(struct table *table, u64 addr, bool write)
{
	unsigned long nr = addr >> PAGE_SHIFT;
	bool writable = true;
	struct page *page;
	int ret;

	lockdep_assert_held(&table->lock);

	if (xa_load(&table->pages, nr)) {
		/* Another request has been faster, or it is there for reading. */
		if (!write || xa_get_mark(&table->pages, nr, TABLE_WRITABLE))
			return 0;
		table_unmap(table, nr);
	}
	ret = table_pin(table, addr, true, &page);
	if (ret && !write) {
		writable = false;
		ret = table_pin(table, addr, false, &page);
	}
	if (ret)
		return ret;
	ret = table_map(table, nr, page, writable);
	if (ret)
		unpin_user_page(page);
	return ret;
}

static int table_serve_group(struct table *table, struct iopf_group *group)
{
	struct iopf_fault *fault;
	int ret = 0;

	if (!mmget_not_zero(table->mm))
		return -ESRCH;
	mutex_lock(&table->lock);
	list_for_each_entry(fault, &group->faults, list) {
		ret = table_serve(table, fault->fault.prm.addr,
				  fault->fault.prm.perm & IOMMU_FAULT_PERM_WRITE);
		if (ret)
			break;
	}
	mutex_unlock(&table->lock);
	mmput(table->mm);
	return ret;
}

static void table_work(struct work_struct *work)
{
	struct iopf_group *group = container_of(work, struct iopf_group, work);
	int ret = table_serve_group(group_table(group), group);

	iopf_group_response(group, ret ? IOMMU_PAGE_RESP_INVALID :
					 IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);
}

/* Called where the requests of all devices are worked off: no place to wait. */
static int table_fault(struct iopf_group *group)
{
	INIT_WORK(&group->work, table_work);
	return queue_work(system_unbound_wq, &group->work) ? 0 : -EBUSY;
}

static int table_attach(struct table *table)
{
	struct iommu_domain *domain;
	int ret;

	domain = iommu_paging_domain_alloc(table->dev);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	domain->iopf_handler = table_fault;
	table->pasid = iommu_alloc_global_pasid(table->dev);
	if (table->pasid == IOMMU_PASID_INVALID) {
		ret = -ENOSPC;
		goto err_free_domain;
	}
	table->handle.domain = domain;
	ret = iommu_attach_device_pasid(domain, table->dev, table->pasid,
					&table->handle);
	if (ret)
		goto err_free_pasid;
	return 0;

err_free_pasid:
	iommu_free_global_pasid(table->pasid);
err_free_domain:
	iommu_domain_free(domain);
	return ret;
}

/**
 * table_bind() - give a device a page table for a process
 * @dev: the device, whose page faults are on
 * @mm: the process
 *
 * Return: the table, or an ERR_PTR: what the IOMMU core returns, -ENOMEM, or
 * -ENOSPC if the device has no PASID left.
 */
struct table *table_bind(struct device *dev, struct mm_struct *mm)
{
	struct table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	int ret;

	if (!table)
		return ERR_PTR(-ENOMEM);
	mutex_init(&table->lock);
	xa_init(&table->pages);
	table->dev = dev;
	table->mm = mm;
	ret = table_attach(table);
	if (ret) {
		kfree(table);
		return ERR_PTR(ret);
	}
	mmgrab(mm);
	return table;
}

/**
 * table_unbind() - undo table_bind()
 * @table: the table, which the device does not use any more
 */
void table_unbind(struct table *table)
{
	struct iommu_domain *domain = table->handle.domain;
	struct page *page;
	unsigned long nr;

	iommu_detach_device_pasid(domain, table->dev, table->pasid);
	xa_for_each(&table->pages, nr, page)
		table_unmap(table, nr);
	xa_destroy(&table->pages);
	iommu_domain_free(domain);
	iommu_free_global_pasid(table->pasid);
	mmdrop(table->mm);
	kfree(table);
}

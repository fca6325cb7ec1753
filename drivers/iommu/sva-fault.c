// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests of the address spaces of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A page may take long to come, from a disk or from whoever serves a userfaultfd. What
 * waits for it:
 *
 * - Its group. Others of the same process are served meanwhile, as many as
 *   SVA_MAX_RUNNING at a time, those of other processes in any case: each address space
 *   has a workqueue of its own.
 * - Neither the lock of the address space nor that of an area. They are dropped before
 *   the wait and everything is looked up again after it, SVA_MAX_TRIES times. Then the
 *   device is told that it has the page, finds that it has not, and asks again.
 * - No detach, where the wait can be ended by SIGKILL: that is what the thread gets.
 *
 * Nothing is mapped that the device has not asked for, but what handle_mm_fault() does
 * by itself: pages of a file that are there already, up to fault_around_bytes, and huge
 * pages. More would be charged to a process that never touches it.
 */
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <trace/events/iopf.h>

#include "sva-fault.h"

/* So many groups of a process may wait for their pages, each with a thread */
#define SVA_MAX_RUNNING		16

/* So often the locks are dropped for one page */
#define SVA_MAX_TRIES		16

/**
 * struct iommu_sva_faults - what the domains of one address space have in common
 * @mm: the address space, which the domains keep from being used again
 * @users: domains, protected by sva_faults_mutex
 * @wq: where the groups are served
 * @lock: protects @running
 * @running: struct sva_run of the groups that are being served
 */
struct iommu_sva_faults {
	struct mm_struct *mm;
	unsigned int users;
	struct workqueue_struct *wq;
	spinlock_t lock;
	struct list_head running;
};

/* By their address space */
static DEFINE_XARRAY(sva_faults);
static DEFINE_MUTEX(sva_faults_mutex);

/* Who serves a group now, of which attachment */
struct sva_run {
	struct list_head node;
	struct iommu_attach_handle *handle;
	struct task_struct *task;
};

/*
 * The way through an address space. The requests of a group are for neighbours more often
 * than not: the area stays locked from one to the next.
 */
struct sva_walk {
	struct mm_struct *mm;
	struct vm_area_struct *vma;	/* NULL if nothing is locked */
	bool mmap_locked;		/* and not only the area */
	unsigned int lookups;
	unsigned int mmap_locks;	/* how many of them have taken it */
};

static struct iommu_sva_faults *sva_faults_alloc(struct mm_struct *mm)
{
	struct iommu_sva_faults *faults;

	faults = kzalloc(sizeof(*faults), GFP_KERNEL_ACCOUNT);
	if (!faults)
		return NULL;
	faults->mm = mm;
	spin_lock_init(&faults->lock);
	INIT_LIST_HEAD(&faults->running);
	faults->wq = alloc_workqueue("iopf_sva", WQ_UNBOUND, SVA_MAX_RUNNING);
	if (faults->wq &&
	    !xa_err(xa_store(&sva_faults, (unsigned long)mm, faults,
			     GFP_KERNEL_ACCOUNT)))
		return faults;
	if (faults->wq)
		destroy_workqueue(faults->wq);
	kfree(faults);
	return NULL;
}

/**
 * iommu_sva_init_faults() - Get the domain of an address space ready for page requests
 * @domain: the domain, whose &iommu_domain.mm is set
 *
 * Context: may sleep.
 *
 * Return: 0, after which iommu_sva_free_faults() has to be called, or -ENOMEM.
 */
int iommu_sva_init_faults(struct iommu_domain *domain)
{
	struct iommu_sva_faults *faults;

	mutex_lock(&sva_faults_mutex);
	faults = xa_load(&sva_faults, (unsigned long)domain->mm) ?:
		 sva_faults_alloc(domain->mm);
	if (faults)
		faults->users++;
	mutex_unlock(&sva_faults_mutex);
	domain->faults = faults;
	return faults ? 0 : -ENOMEM;
}

/**
 * iommu_sva_free_faults() - Undo iommu_sva_init_faults()
 * @domain: the domain, which is attached to nothing
 *
 * Context: may sleep.
 */
void iommu_sva_free_faults(struct iommu_domain *domain)
{
	struct iommu_sva_faults *faults = domain->faults;

	if (!faults)
		return;
	mutex_lock(&sva_faults_mutex);
	if (--faults->users)
		faults = NULL;
	else
		xa_erase(&sva_faults, (unsigned long)faults->mm);
	mutex_unlock(&sva_faults_mutex);
	if (!faults)
		return;
	/* The last thread may not be out of sva_work() yet. */
	destroy_workqueue(faults->wq);
	kfree(faults);
}

/* False if the attachment has ended. */
static bool sva_run_begin(struct iommu_sva_faults *faults, struct sva_run *run)
{
	bool ended;

	spin_lock(&faults->lock);
	ended = run->handle->faults_ended;
	if (!ended)
		list_add(&run->node, &faults->running);
	spin_unlock(&faults->lock);
	return !ended;
}

static void sva_run_end(struct iommu_sva_faults *faults, struct sva_run *run)
{
	spin_lock(&faults->lock);
	list_del(&run->node);
	spin_unlock(&faults->lock);
}

/**
 * iommu_sva_end_faults() - Do not wait for pages any more
 * @handle: an attach handle that page requests do not find any more, or NULL. Nothing
 *	    happens if it is not that of the address space of a process
 * @again: the device is to ask the domain that has taken the place. Does not matter when
 *	   this is not the first call for @handle
 *
 * Groups that have not got their pages are answered as invalid, or with success if the
 * device is to ask again, which takes until iopf_dev_sync(). The handle is of no use for
 * another attachment.
 *
 * Context: any but interrupts.
 */
void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again)
{
	struct iommu_sva_faults *faults;
	struct sva_run *run;

	if (!handle || handle->domain->type != IOMMU_DOMAIN_SVA)
		return;
	faults = handle->domain->faults;
	spin_lock(&faults->lock);
	if (!handle->faults_ended)
		handle->faults_again = again;
	handle->faults_ended = true;
	list_for_each_entry(run, &faults->running, node)
		if (run->handle == handle)
			send_sig(SIGKILL, run->task, 1);
	spin_unlock(&faults->lock);
}

static void sva_unlock(struct sva_walk *walk)
{
	if (walk->vma && walk->mmap_locked)
		mmap_read_unlock(walk->mm);
	else if (walk->vma)
		vma_end_read(walk->vma);
	walk->vma = NULL;
}

/* What cannot be done with the lock of the area alone is tried again without it. */
static struct vm_area_struct *sva_lock(struct sva_walk *walk, unsigned long addr,
				       bool again)
{
	if (walk->vma && addr >= walk->vma->vm_start && addr < walk->vma->vm_end)
		return walk->vma;
	sva_unlock(walk);

	walk->lookups++;
	walk->mmap_locked = false;
	if (!again)
		walk->vma = lock_vma_under_rcu(walk->mm, addr);
	if (walk->vma || mmap_read_lock_killable(walk->mm))
		return walk->vma;
	walk->mmap_locked = true;
	walk->mmap_locks++;
	walk->vma = vma_lookup(walk->mm, addr);
	if (!walk->vma)
		mmap_read_unlock(walk->mm);
	return walk->vma;
}

static bool sva_may(const struct vm_area_struct *vma, u32 perm)
{
	return (!(perm & IOMMU_FAULT_PERM_READ) || vma->vm_flags & VM_READ) &&
	       (!(perm & IOMMU_FAULT_PERM_WRITE) || vma->vm_flags & VM_WRITE) &&
	       (!(perm & IOMMU_FAULT_PERM_EXEC) || vma->vm_flags & VM_EXEC);
}

static unsigned int sva_fault_flags(const struct sva_walk *walk, u32 perm)
{
	return FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE |
	       (walk->mmap_locked ? 0 : FAULT_FLAG_VMA_LOCK) |
	       (perm & IOMMU_FAULT_PERM_WRITE ? FAULT_FLAG_WRITE : 0) |
	       (perm & IOMMU_FAULT_PERM_EXEC ? FAULT_FLAG_INSTRUCTION : 0) |
	       (perm & IOMMU_FAULT_PERM_PRIV ? 0 : FAULT_FLAG_USER);
}

static bool sva_serve(struct sva_walk *walk,
		      const struct iommu_fault_page_request *prm)
{
	struct vm_area_struct *vma;
	unsigned int tries;
	vm_fault_t ret;

	for (tries = 0; tries < SVA_MAX_TRIES; tries++) {
		vma = sva_lock(walk, prm->addr, tries);
		if (!vma || !sva_may(vma, prm->perm))
			return false;
		ret = handle_mm_fault(vma, prm->addr,
				      sva_fault_flags(walk, prm->perm), NULL);
		/* Both have dropped the lock. */
		if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
			walk->vma = NULL;
		if (ret & VM_FAULT_ERROR)
			return false;
		if (!(ret & VM_FAULT_RETRY))
			return true;
		if (fatal_signal_pending(current))
			return false;
	}
	/* See the top of this file. */
	return true;
}

/* What comes after a request that is refused is not looked at. */
static enum iommu_page_response_code sva_serve_group(struct iopf_group *group)
{
	struct sva_walk walk = { .mm = group->attach_handle->domain->mm };
	struct iopf_fault *iopf;
	bool served = true;

	if (!mmget_not_zero(walk.mm))
		return IOMMU_PAGE_RESP_INVALID;
	list_for_each_entry(iopf, &group->faults, list) {
		served = sva_serve(&walk, &iopf->fault.prm);
		if (!served)
			break;
	}
	sva_unlock(&walk);
	mmput(walk.mm);
	trace_iopf_serve(group->fault_param->dev, &group->last_fault.fault.prm,
			 group->fault_count, walk.lookups, walk.mmap_locks);
	return served ? IOMMU_PAGE_RESP_SUCCESS : IOMMU_PAGE_RESP_INVALID;
}

static void sva_work(struct work_struct *work)
{
	struct iopf_group *group = container_of(work, struct iopf_group, work);
	struct iommu_sva_faults *faults = group->attach_handle->domain->faults;
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	struct sva_run run = {
		.handle = group->attach_handle,
		.task = current,
	};

	/* From iommu_sva_end_faults() alone, and not from one sva_run to the next */
	allow_kernel_signal(SIGKILL);
	if (sva_run_begin(faults, &run)) {
		code = sva_serve_group(group);
		sva_run_end(faults, &run);
	}
	disallow_signal(SIGKILL);
	/* Whatever has become of it, another domain decides now. */
	if (run.handle->faults_again)
		code = IOMMU_PAGE_RESP_SUCCESS;
	iopf_group_response(group, code);
	iopf_free_group(group);
}

/**
 * iommu_sva_iopf_handler() - Serve page requests of the address space of a process
 * @group: the group of requests
 *
 * Return: 0
 */
int iommu_sva_iopf_handler(struct iopf_group *group)
{
	INIT_WORK(&group->work, sva_work);
	queue_work(group->attach_handle->domain->faults->wq, &group->work);
	return 0;
}

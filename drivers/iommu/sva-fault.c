// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests of the address spaces of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A page may take long to come, from a disk or from whoever serves a userfaultfd. What
 * waits for it:
 *
 * - Its group. SVA_MAX_RUNNING groups of a process are served at a time, each by a
 *   thread; others of it are on a list until one of those is done. Each address space has
 *   a workqueue, so that processes do not wait for each other.
 * - The lock of the address space or of an area only where a page fault of the process
 *   would keep it, too. Else it is dropped before the wait and everything is looked up
 *   again after it, SVA_MAX_TRIES times in all. Then the device is told that it has the
 *   page, finds that it has not, and asks again.
 * - No detach, where SIGKILL ends the wait: that is what the thread gets. What is on the
 *   list is answered at once.
 * - The end of the process, and the next groups of a device that was reset, for a second
 *   or so: see sva_look().
 *
 * Nothing is mapped that the device has not asked for, but what handle_mm_fault() does
 * by itself: pages of a file that are there already, up to fault_around_bytes, and huge
 * pages. More would be charged to a process that never touches it.
 */
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "sva-fault.h"

#define CREATE_TRACE_POINTS
#include <trace/events/iopf_sva.h>

/* How long a try waits for memory, in jiffies */
#define SVA_MEMORY_DELAY	max(HZ / 50, 1)

/* How often sva_look() looks, in jiffies */
#define SVA_LOOK_DELAY		HZ

/* By their address space */
static DEFINE_XARRAY(sva_faults);
static DEFINE_MUTEX(sva_faults_mutex);

/* A thread that serves a group */
struct sva_run {
	struct list_head node;
	struct iopf_group *group;
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

static void sva_kill(struct sva_run *run)
{
	send_sig(SIGKILL, run->task, 1);
}

/*
 * Nobody needs what a thread waits for if nobody but these threads has the address space,
 * which would live on, and what is mapped in it (a device, say), for as long as they wait.
 * Nor if the group has been answered: its device was reset, or has gone.
 */
static void sva_look(struct work_struct *work)
{
	struct iommu_sva_faults *faults =
		container_of(work, struct iommu_sva_faults, look.work);
	struct sva_run *run;
	bool ended;

	spin_lock(&faults->lock);
	ended = atomic_read(&faults->mm->mm_users) <=
		list_count_nodes(&faults->running);
	list_for_each_entry(run, &faults->running, node)
		if (ended || list_empty_careful(&run->group->pending_node))
			sva_kill(run);
	if (!list_empty(&faults->running))
		queue_delayed_work(faults->wq, &faults->look, SVA_LOOK_DELAY);
	spin_unlock(&faults->lock);
}

static struct iommu_sva_faults *sva_faults_alloc(struct mm_struct *mm)
{
	struct iommu_sva_faults *faults;

	faults = kzalloc(sizeof(*faults), GFP_KERNEL_ACCOUNT);
	if (!faults)
		return NULL;
	faults->mm = mm;
	INIT_DELAYED_WORK(&faults->look, sva_look);
	spin_lock_init(&faults->lock);
	INIT_LIST_HEAD(&faults->running);
	INIT_LIST_HEAD(&faults->waiting);
	/* A NUMA node gets its share of the most, which has to be SVA_MAX_RUNNING. */
	faults->wq = alloc_workqueue("iopf_sva", WQ_UNBOUND, WQ_MAX_ACTIVE);
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
	/* Nothing is served any more, but a thread may not be out of sva_work() yet. */
	cancel_delayed_work_sync(&faults->look);
	destroy_workqueue(faults->wq);
	kfree(faults);
}

/* Where another domain has taken the place, that decides: the device is to ask again. */
static void sva_answer(struct iopf_group *group,
		       enum iommu_page_response_code code)
{
	if (READ_ONCE(group->attach_handle->faults_again))
		code = IOMMU_PAGE_RESP_SUCCESS;
	iopf_group_response(group, code);
	iopf_free_group(group);
}

/* False if nobody waits for the group any more. */
static bool sva_run_begin(struct iommu_sva_faults *faults, struct sva_run *run)
{
	bool wanted;

	spin_lock(&faults->lock);
	wanted = !run->group->attach_handle->faults_ended &&
		 !list_empty_careful(&run->group->pending_node) &&
		 mmget_not_zero(faults->mm);
	if (wanted) {
		list_add(&run->node, &faults->running);
		queue_delayed_work(faults->wq, &faults->look, SVA_LOOK_DELAY);
	}
	spin_unlock(&faults->lock);
	return wanted;
}

static void sva_run_end(struct iommu_sva_faults *faults, struct sva_run *run)
{
	spin_lock(&faults->lock);
	list_del(&run->node);
	spin_unlock(&faults->lock);
	/* What ends with an address space may wait for this group. */
	mmput_async(faults->mm);
}

/* A group has been served: its thread's place is free for another one. */
static void sva_next(struct iommu_sva_faults *faults)
{
	struct iopf_group *next;

	spin_lock(&faults->lock);
	next = list_first_entry_or_null(&faults->waiting, struct iopf_group,
					node);
	if (next) {
		list_del_init(&next->node);
		queue_work(faults->wq, &next->work);
	} else {
		faults->nr_running--;
	}
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
 * device is to ask again: those without a thread when this returns, the others until
 * iopf_dev_sync() does.
 *
 * Context: may sleep.
 */
void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again)
{
	struct iommu_sva_faults *faults;
	struct iopf_group *group, *next;
	struct sva_run *run;
	LIST_HEAD(unserved);

	if (!handle || handle->domain->type != IOMMU_DOMAIN_SVA)
		return;
	faults = handle->domain->faults;
	spin_lock(&faults->lock);
	if (!handle->faults_ended)
		WRITE_ONCE(handle->faults_again, again);
	handle->faults_ended = true;
	list_for_each_entry(run, &faults->running, node)
		if (run->group->attach_handle == handle)
			sva_kill(run);
	list_for_each_entry_safe(group, next, &faults->waiting, node)
		if (group->attach_handle == handle)
			list_move_tail(&group->node, &unserved);
	spin_unlock(&faults->lock);
	list_for_each_entry_safe(group, next, &unserved, node)
		sva_answer(group, IOMMU_PAGE_RESP_INVALID);
}

static void sva_unlock(struct sva_walk *walk)
{
	if (walk->vma && walk->mmap_locked)
		mmap_read_unlock(walk->mm);
	else if (walk->vma)
		vma_end_read(walk->vma);
	walk->vma = NULL;
}

/* The first time with the lock of the area; @again: with that of the address space. */
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
		/* Either of these says that the lock has been dropped. */
		if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
			walk->vma = NULL;
		if (ret & VM_FAULT_OOM) {
			sva_unlock(walk);
			mem_cgroup_oom_synchronize(false);
			schedule_timeout_killable(SVA_MEMORY_DELAY);
		} else if (ret & VM_FAULT_ERROR) {
			return false;
		} else if (!(ret & VM_FAULT_RETRY)) {
			return true;
		}
		if (fatal_signal_pending(current))
			return false;
	}
	/* See the top of this file. */
	return true;
}

/* What comes after a request that is refused is not looked at. */
static enum iommu_page_response_code
sva_serve_group(struct iommu_sva_faults *faults, struct iopf_group *group)
{
	struct sva_walk walk = { .mm = faults->mm };
	struct mem_cgroup *memcg, *old;
	struct iopf_fault *iopf;
	bool served = true;

	/* As if the process had touched the pages: so are its page tables charged. */
	memcg = get_mem_cgroup_from_mm(faults->mm);
	old = set_active_memcg(memcg);
	list_for_each_entry(iopf, &group->faults, list) {
		served = sva_serve(&walk, &iopf->fault.prm);
		if (!served)
			break;
	}
	sva_unlock(&walk);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	trace_iopf_serve(&group->last_fault.fault.prm, group->fault_count,
			 walk.lookups, walk.mmap_locks);
	return served ? IOMMU_PAGE_RESP_SUCCESS : IOMMU_PAGE_RESP_INVALID;
}

static void sva_work(struct work_struct *work)
{
	struct iopf_group *group = container_of(work, struct iopf_group, work);
	struct iommu_sva_faults *faults = group->attach_handle->domain->faults;
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	struct sva_run run = { .group = group, .task = current };

	/* From sva_kill() alone, and not from one sva_run to the next */
	allow_kernel_signal(SIGKILL);
	if (sva_run_begin(faults, &run)) {
		code = sva_serve_group(faults, group);
		sva_run_end(faults, &run);
	}
	disallow_signal(SIGKILL);
	/* Once the group is answered and freed the domain may go. */
	sva_next(faults);
	sva_answer(group, code);
}

/**
 * iommu_sva_iopf_handler() - Serve page requests of the address space of a process
 * @group: the group of requests
 *
 * Context: may sleep.
 *
 * Return: 0
 */
int iommu_sva_iopf_handler(struct iopf_group *group)
{
	struct iommu_attach_handle *handle = group->attach_handle;
	struct iommu_sva_faults *faults = handle->domain->faults;
	bool ended;

	INIT_WORK(&group->work, sva_work);
	spin_lock(&faults->lock);
	ended = handle->faults_ended;
	if (!ended && faults->nr_running < SVA_MAX_RUNNING) {
		faults->nr_running++;
		queue_work(faults->wq, &group->work);
	} else if (!ended) {
		list_add_tail(&group->node, &faults->waiting);
	}
	spin_unlock(&faults->lock);
	if (ended)
		sva_answer(group, IOMMU_PAGE_RESP_INVALID);
	return 0;
}

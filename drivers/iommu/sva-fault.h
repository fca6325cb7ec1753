/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests of the address spaces of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOMMU_SVA_FAULT_H
#define __IOMMU_SVA_FAULT_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* So many groups of a process are served at a time */
#define SVA_MAX_RUNNING		16

/* So often a page is looked for, before the device is to ask again */
#define SVA_MAX_TRIES		16

/**
 * struct iommu_sva_faults - what the domains of one address space have in common
 * @mm: the address space, which the domains keep from being used again
 * @users: domains, protected by sva_faults_mutex
 * @wq: where the groups are served
 * @look: runs sva_look() while something is in @running
 * @lock: protects what follows
 * @running: struct sva_run of the groups that are being served, each of whose threads
 *	     keeps @mm in use
 * @nr_running: groups that have a thread, or will have one
 * @waiting: groups that have no thread yet, by &iopf_group.node
 */
struct iommu_sva_faults {
	struct mm_struct *mm;
	unsigned int users;
	struct workqueue_struct *wq;
	struct delayed_work look;
	/* Innermost but for the lock of a task's signals */
	spinlock_t lock;
	struct list_head running;
	unsigned int nr_running;
	struct list_head waiting;
};

/* A handle that is about to be attached may have been tried with another domain. */
static inline void iommu_sva_begin_faults(struct iommu_attach_handle *handle)
{
	handle->faults_ended = false;
	handle->faults_again = false;
}

#ifdef CONFIG_IOMMU_SVA
int iommu_sva_init_faults(struct iommu_domain *domain);
void iommu_sva_free_faults(struct iommu_domain *domain);
int iommu_sva_iopf_handler(struct iopf_group *group);
void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again);
#else
static inline void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again)
{
}
#endif

#endif /* __IOMMU_SVA_FAULT_H */

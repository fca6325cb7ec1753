// SPDX-License-Identifier: GPL-2.0-only
/*
 * SVA domains that user space makes, of any process it may trace
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Drivers share the address space of a process with iommu_sva_bind_device(), which gives
 * the process a PASID, the same for all devices. Here the domain is all: its owner
 * attaches it to whatever PASIDs of a device are the owner's.
 *
 * A domain does not keep the address space alive. IOMMU drivers take it away from their
 * devices when it ends, and would not hear of that any more if they got it afterwards.
 * So it has to be held while a domain is attached.
 */
#include <linux/iommu.h>
#include <linux/mmu_context.h>
#include <linux/pid.h>
#include <linux/ptrace.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/xarray.h>

#include "iommu-priv.h"

/*
 * Each domain is told whatever changes in the address space. As many of one serve all
 * the IOMMUs of a machine.
 */
#define PROCESS_DOMAINS_MAX	64

/* How many domains there are of an address space, which they keep from being reused */
static DEFINE_XARRAY(process_domains);

static int process_count(struct mm_struct *mm)
{
	unsigned long index = (unsigned long)mm;
	unsigned long nr;
	int ret = 0;

	xa_lock(&process_domains);
	nr = xa_to_value(xa_load(&process_domains, index) ?: xa_mk_value(0));
	if (nr >= PROCESS_DOMAINS_MAX)
		ret = -ENOSPC;
	else
		ret = xa_err(__xa_store(&process_domains, index,
					xa_mk_value(nr + 1),
					GFP_KERNEL_ACCOUNT));
	xa_unlock(&process_domains);
	return ret;
}

static void process_uncount(struct mm_struct *mm)
{
	unsigned long index = (unsigned long)mm;
	unsigned long nr;

	xa_lock(&process_domains);
	nr = xa_to_value(xa_load(&process_domains, index));
	/* An entry that is there takes no memory to change. */
	if (nr > 1)
		__xa_store(&process_domains, index, xa_mk_value(nr - 1), 0);
	else
		__xa_erase(&process_domains, index);
	xa_unlock(&process_domains);
}

/* A device writes to the memory of the process, so this is what a debugger needs. */
static struct mm_struct *process_mm(int pidfd)
{
	struct task_struct *task;
	struct mm_struct *mm;
	unsigned int flags;

	if (pidfd == IOMMU_SVA_SELF) {
		mm = current->mm;
		if (!mm || !mmget_not_zero(mm))
			return ERR_PTR(-ESRCH);
		return mm;
	}
	task = pidfd_get_task(pidfd, &flags);
	if (IS_ERR(task))
		return ERR_CAST(task);
	mm = mm_access(task, PTRACE_MODE_ATTACH_REALCREDS);
	put_task_struct(task);
	/* As process_vm_writev() has it */
	return mm == ERR_PTR(-EACCES) ? ERR_PTR(-EPERM) : mm;
}

static struct iommu_domain *process_domain(struct device *dev,
					   struct mm_struct *mm)
{
	struct iommu_domain *domain;
	int ret;

	if (!arch_pgtable_dma_compat(mm))
		return ERR_PTR(-EBUSY);
	ret = process_count(mm);
	if (ret)
		return ERR_PTR(ret);
	domain = iommu_sva_domain_alloc(dev, mm);
	if (IS_ERR(domain)) {
		process_uncount(mm);
		return domain;
	}
	/* See iommu_sva_is_process() */
	domain->fault_data = domain;
	return domain;
}

/**
 * iommu_sva_alloc_process() - Make a domain of the address space of a process
 * @dev: the device that it is to be attached to first
 * @pidfd: a pidfd of the process, or IOMMU_SVA_SELF for the caller
 *
 * Context: may sleep.
 *
 * Return: the domain, for iommu_sva_free_process(), or an ERR_PTR(): -EOPNOTSUPP if
 * the device has no PASIDs or its IOMMU cannot do this; -EBADF, -ESRCH, -EPERM, -EINTR
 * for the pidfd; -EBUSY if the process has tagged pointers; -ENOSPC; -ENOMEM.
 */
struct iommu_domain *iommu_sva_alloc_process(struct device *dev, int pidfd)
{
	struct iommu_domain *domain;
	struct mm_struct *mm;

	if (!dev_iommu_ops(dev)->domain_alloc_sva || !dev->iommu->max_pasids)
		return ERR_PTR(-EOPNOTSUPP);
	/* See iommu_sva_flush_walks() */
	if (IS_ENABLED(CONFIG_X86) && !IS_ENABLED(CONFIG_KERNEL_PGTABLE_WALKERS))
		return ERR_PTR(-EOPNOTSUPP);
	mm = process_mm(pidfd);
	if (IS_ERR(mm))
		return ERR_CAST(mm);
	domain = process_domain(dev, mm);
	mmput(mm);
	return domain;
}
EXPORT_SYMBOL_NS_GPL(iommu_sva_alloc_process, IOMMUFD_INTERNAL);

/**
 * iommu_sva_free_process() - Free a domain of iommu_sva_alloc_process()
 * @domain: the domain, which is attached to nothing
 *
 * Context: may sleep.
 */
void iommu_sva_free_process(struct iommu_domain *domain)
{
	process_uncount(domain->mm);
	iommu_sva_domain_free(domain);
}
EXPORT_SYMBOL_NS_GPL(iommu_sva_free_process, IOMMUFD_INTERNAL);

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of the kernel that devices walk
 *
 * A process's page table has the kernel's page tables in its upper part, on x86 for
 * one. An IOMMU that walks the table of a process remembers where the lower tables
 * are, those of the kernel too, and nothing that the processor is told of reaches it.
 * So the page of a table that the kernel takes away must not become anything else
 * before the IOMMU has forgotten it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _LINUX_KERNEL_PGTABLE_H
#define _LINUX_KERNEL_PGTABLE_H

#include <linux/jump_label.h>
#include <linux/types.h>

struct page;

/**
 * struct kernel_pgtable_walker - somebody who walks page tables of the kernel
 * @node: of the list of walkers
 * @flush: have the walker forget where page tables of the kernel are. When this
 *	returns it must not use what was not linked any more when this was called.
 *	May sleep, must not allocate memory for which others have to wait, and must not
 *	register walkers or unregister them.
 */
struct kernel_pgtable_walker {
	struct list_head node;
	void (*flush)(struct kernel_pgtable_walker *walker);
};

#ifdef CONFIG_KERNEL_PGTABLE_WALKERS

DECLARE_STATIC_KEY_FALSE(kernel_pgtable_walked);

void kernel_pgtable_walker_register(struct kernel_pgtable_walker *walker);
void kernel_pgtable_walker_unregister(struct kernel_pgtable_walker *walker);
void kernel_pgtable_defer(struct page *page);
void kernel_pgtable_settle(void);

/* How the architecture frees the page of a page table that it made when it booted */
void arch_free_boot_pgtable(struct page *page);

/**
 * kernel_pgtable_free_later() - Leave the page of a kernel page table to the walkers
 * @page: one page, of order 0, of which no entry says any more that it is a table
 *
 * The entry has to be cleared before: nobody whom the walkers have forgotten the page
 * for may find it again. Somebody who registers now finds it cleared.
 *
 * Context: any but interrupts.
 *
 * Return: true if the page will be freed later, false if nobody walks the kernel's
 * page tables and the caller has to free it.
 */
static inline bool kernel_pgtable_free_later(struct page *page)
{
	if (!static_branch_unlikely(&kernel_pgtable_walked))
		return false;
	kernel_pgtable_defer(page);
	return true;
}

#else /* !CONFIG_KERNEL_PGTABLE_WALKERS */

static inline void
kernel_pgtable_walker_register(struct kernel_pgtable_walker *walker)
{
}

static inline void
kernel_pgtable_walker_unregister(struct kernel_pgtable_walker *walker)
{
}

static inline bool kernel_pgtable_free_later(struct page *page)
{
	return false;
}

static inline void kernel_pgtable_settle(void)
{
}

#endif /* CONFIG_KERNEL_PGTABLE_WALKERS */

#endif /* _LINUX_KERNEL_PGTABLE_H */

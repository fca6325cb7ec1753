// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page table of the kernel that becomes something else
 *
 * For a test of what an IOMMU remembers of the kernel's page tables, which are in those
 * of every process: an address gets a page table, the device has it looked up, then a
 * large page takes the place of the table. The page that the table was in is looked for
 * among the free ones, and filled with entries that let a process read a page that it
 * must not see. If the IOMMU goes on where it was, the device gets at that page.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/cpu.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "ktable.h"

#ifdef CONFIG_X86_64

#if IS_ENABLED(CONFIG_KERNEL_PGTABLE_WALKERS)
#include <linux/kernel_pgtable.h>
#else
static void kernel_pgtable_settle(void)
{
}
#endif

/* How often an address is asked for until it is the one that is wanted */
#define KTABLE_TRIES	64

/* Free pages of a processor to look at */
#define KTABLE_PAGES	4096

/**
 * struct ktable - a page table, or what has become of it
 * @small: memory that is mapped with the table, or NULL
 * @large: memory that came in its place, the last one; and such that came elsewhere
 * @nr_large: how much of it there is
 * @addr: where the table begins to map
 * @frame: of the table
 * @secret: what must not be seen
 * @table: the page of the table when it was free, or NULL
 * @pages: what was found while it was looked for
 */
struct ktable {
	void *small;
	void *large[KTABLE_TRIES];
	unsigned int nr_large;
	unsigned long addr;
	unsigned long frame;
	struct page *secret;
	struct page *table;
	struct list_head pages;
};

/* The entry for an address that maps 2 MiB, or is a table that does */
static pmd_t *ktable_entry(unsigned long addr)
{
	pgd_t *pgd = pgd_offset(current->mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud) || pud_leaf(*pud))
		return NULL;
	return pmd_offset(pud, addr);
}

/**
 * ktable_make() - Map memory of the kernel with a page table
 *
 * Return: what to give to the other functions, or an ERR_PTR().
 */
struct ktable *ktable_make(void)
{
	struct ktable *table = kzalloc(sizeof(*table), GFP_KERNEL);
	pmd_t *pmd;

	if (!table)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&table->pages);
	table->secret = alloc_page(GFP_KERNEL | __GFP_ZERO);
	table->small = vmalloc(2 * PMD_SIZE);
	if (!table->secret || !table->small) {
		ktable_free(table);
		return ERR_PTR(-ENOMEM);
	}
	table->addr = ALIGN((unsigned long)table->small, PMD_SIZE);
	pmd = ktable_entry(table->addr);
	if (!pmd || pmd_none(*pmd) || pmd_leaf(*pmd)) {
		ktable_free(table);
		return ERR_PTR(-EAGAIN);
	}
	table->frame = pmd_pfn(*pmd);
	return table;
}

/**
 * ktable_addr() - Where the memory is
 * @table: of ktable_make()
 *
 * Return: the address, for a device to read.
 */
unsigned long ktable_addr(const struct ktable *table)
{
	return table->addr;
}

static int ktable_map_large(struct ktable *table)
{
	pmd_t *pmd;
	void *mem;

	vfree(table->small);
	table->small = NULL;
	vm_unmap_aliases();
	while (table->nr_large < KTABLE_TRIES) {
		mem = vmalloc_huge(PMD_SIZE, GFP_KERNEL);
		if (!mem)
			return -ENOMEM;
		table->large[table->nr_large++] = mem;
		if ((unsigned long)mem != table->addr)
			continue;
		pmd = ktable_entry(table->addr);
		return pmd && pmd_leaf(*pmd) ? 0 : -EAGAIN;
	}
	return -EAGAIN;
}

/* Free pages are kept by each processor, and apart by what may be done with them. */
static long ktable_look(void *arg)
{
	struct ktable *table = arg;
	struct page *page;
	int i;

	for (i = 0; i < KTABLE_PAGES && !table->table; i++) {
		page = alloc_page(i % 2 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE);
		if (!page)
			break;
		if (page_to_pfn(page) == table->frame)
			table->table = page;
		else
			list_add(&page->lru, &table->pages);
	}
	return 0;
}

static void ktable_fill(struct ktable *table)
{
	unsigned long entry = page_to_phys(table->secret) | _PAGE_PRESENT |
			      _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY;
	unsigned long *entries = page_address(table->table);
	unsigned int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		entries[i] = entry;
	/* before the device may look */
	wmb();
}

/**
 * ktable_replace() - Take the table away, and use its page for something else
 * @table: of ktable_make(), once
 *
 * Return: 0, or -EAGAIN if another address or another page came, or -ENOMEM.
 */
int ktable_replace(struct ktable *table)
{
	int cpu, ret;

	if (!table->small)
		return -EINVAL;
	ret = ktable_map_large(table);
	if (ret)
		return ret;
	kernel_pgtable_settle();
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		work_on_cpu(cpu, ktable_look, table);
		if (table->table)
			break;
	}
	cpus_read_unlock();
	if (!table->table)
		return -EAGAIN;
	ktable_fill(table);
	return 0;
}

/**
 * ktable_free() - Give everything back
 * @table: of ktable_make(), in any state
 */
void ktable_free(struct ktable *table)
{
	struct page *page, *next;

	while (table->nr_large)
		vfree(table->large[--table->nr_large]);
	vfree(table->small);
	list_for_each_entry_safe(page, next, &table->pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	if (table->table)
		__free_page(table->table);
	if (table->secret)
		__free_page(table->secret);
	kfree(table);
}

#else /* !CONFIG_X86_64 */

/* A device gets at nothing but the user part of a page table. */
struct ktable *ktable_make(void)
{
	return ERR_PTR(-EOPNOTSUPP);
}

unsigned long ktable_addr(const struct ktable *table)
{
	return 0;
}

int ktable_replace(struct ktable *table)
{
	return -EOPNOTSUPP;
}

void ktable_free(struct ktable *table)
{
}

#endif /* CONFIG_X86_64 */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of the kernel that devices walk, see include/linux/kernel_pgtable.h
 *
 * While somebody walks them, the pages of those that are taken away wait in a queue.
 * A work item has all walkers forget them, once for as many as there are, and frees
 * them then. While nobody does, there is no queue, and a jump label leads around it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/kernel_pgtable.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* More pages than this do not wait for others to come */
#define KERNEL_PGTABLE_BATCH	256

/* How long a page waits for others to come */
#define KERNEL_PGTABLE_DELAY	(HZ / 50)

DEFINE_STATIC_KEY_FALSE(kernel_pgtable_walked);

/* Protects the list of walkers, and has flush() end before a walker goes */
static DEFINE_MUTEX(walkers_lock);
static LIST_HEAD(walkers);

/* Protects the queue and its length */
static DEFINE_SPINLOCK(queue_lock);
static LIST_HEAD(queue);
static unsigned int queued;

static void kernel_pgtable_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(queue_work_item, kernel_pgtable_work);

/**
 * kernel_pgtable_walker_register() - Say that somebody will walk the kernel's tables
 * @walker: the walker, whose flush() may be called from now on
 *
 * To be called before the first walk can begin. A page table that was taken away
 * before has no entry any more that leads to it.
 *
 * Context: may sleep; takes the lock of CPU hotplug.
 */
void kernel_pgtable_walker_register(struct kernel_pgtable_walker *walker)
{
	mutex_lock(&walkers_lock);
	list_add_tail(&walker->node, &walkers);
	mutex_unlock(&walkers_lock);
	static_branch_inc(&kernel_pgtable_walked);
}

/**
 * kernel_pgtable_walker_unregister() - Say that a walker walks no more
 * @walker: the walker, which has nothing in its caches any more
 *
 * When this returns flush() is not running, nor will it be called.
 *
 * Context: may sleep; takes the lock of CPU hotplug.
 */
void kernel_pgtable_walker_unregister(struct kernel_pgtable_walker *walker)
{
	static_branch_dec(&kernel_pgtable_walked);
	mutex_lock(&walkers_lock);
	list_del(&walker->node);
	mutex_unlock(&walkers_lock);
}

/**
 * kernel_pgtable_defer() - Have the walkers forget a page table, then free its page
 * @page: see kernel_pgtable_free_later(), which is what to call
 */
void kernel_pgtable_defer(struct page *page)
{
	unsigned int nr;

	spin_lock(&queue_lock);
	list_add_tail(&page->lru, &queue);
	nr = ++queued;
	spin_unlock(&queue_lock);

	if (nr == 1)
		queue_delayed_work(system_unbound_wq, &queue_work_item,
				   KERNEL_PGTABLE_DELAY);
	else if (nr == KERNEL_PGTABLE_BATCH)
		mod_delayed_work(system_unbound_wq, &queue_work_item, 0);
}

static void kernel_pgtable_flush(void)
{
	struct kernel_pgtable_walker *walker;

	mutex_lock(&walkers_lock);
	list_for_each_entry(walker, &walkers, node)
		walker->flush(walker);
	mutex_unlock(&walkers_lock);
}

static void kernel_pgtable_release(struct page *page)
{
	if (IS_ENABLED(CONFIG_MEMORY_HOTPLUG) && PageReserved(page))
		arch_free_boot_pgtable(page);
	else
		__free_page(page);
}

static void kernel_pgtable_work(struct work_struct *work)
{
	struct page *page, *next;
	LIST_HEAD(pages);

	spin_lock(&queue_lock);
	list_splice_init(&queue, &pages);
	queued = 0;
	spin_unlock(&queue_lock);

	if (list_empty(&pages))
		return;
	kernel_pgtable_flush();
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		kernel_pgtable_release(page);
	}
}

/**
 * kernel_pgtable_settle() - Free what waits for walkers, and wait until it is done
 *
 * For tests, and for who is short of memory.
 *
 * Context: may sleep. Not under a lock that a flush() takes.
 */
void kernel_pgtable_settle(void)
{
	flush_delayed_work(&queue_work_item);
}
EXPORT_SYMBOL_GPL(kernel_pgtable_settle);

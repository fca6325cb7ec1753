// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: memory that an IOMMU has for itself, at private addresses
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Processors do not look at it but to make it zero. It is not cached by them, which
 * the specification is said to want (driver).
 */
#include <linux/iommu.h>
#include <linux/slab.h>
#include <asm/set_memory.h>

#include "amd_iommu.h"

static int map_block(struct amd_hw_host *host, u64 ipa, struct page *block,
		     unsigned int order)
{
	struct io_pgtable_ops *ops = &host->ipa->iop.pgtbl.ops;
	size_t mapped = 0;

	return ops->map_pages(ops, ipa, page_to_phys(block), PAGE_SIZE,
			      1UL << order, IOMMU_PROT_IR | IOMMU_PROT_IW,
			      GFP_KERNEL, &mapped);
}

static int add_block(struct amd_hw_host *host, struct amd_ipa_range *range,
		     gfp_t gfp)
{
	size_t size = PAGE_SIZE << range->order;
	struct page *block;
	int ret;

	block = alloc_pages_node(dev_to_node(&host->iommu->dev->dev),
				 gfp | __GFP_ZERO | __GFP_NOWARN, range->order);
	if (!block)
		return -ENOMEM;
	ret = set_pages_uc(block, 1 << range->order);
	if (ret) {
		__free_pages(block, range->order);
		return ret;
	}
	range->blocks[range->nr++] = block;
	/* A part that could be mapped is unmapped with the rest. */
	return map_block(host, range->ipa + (range->nr - 1) * size, block,
			 range->order);
}

/* Nothing is known of what was there. */
static void flush(struct amd_hw_host *host, const struct amd_ipa_range *range)
{
	size_t size = (size_t)range->nr << (PAGE_SHIFT + range->order);

	if (range->nr)
		amd_iommu_flush_domid(host->iommu, host->ipa->id, range->ipa,
				      size);
	iommu_completion_wait(host->iommu);
}

/**
 * amd_ipa_map() - Have memory at a private address
 * @host: of the IOMMU
 * @range: set up
 * @ipa: the address
 * @size: how much
 * @order: of the blocks of which it is made, so that there need not be a large one
 * @gfp: how to allocate it
 *
 * Return: 0, or an errno, upon which nothing is left.
 */
int amd_ipa_map(struct amd_hw_host *host, struct amd_ipa_range *range, u64 ipa,
		size_t size, unsigned int order, gfp_t gfp)
{
	unsigned int i, nr = size >> (PAGE_SHIFT + order);
	int ret = 0;

	range->blocks = kcalloc(nr, sizeof(*range->blocks), gfp);
	if (!range->blocks)
		return -ENOMEM;
	range->ipa = ipa;
	range->order = order;
	range->nr = 0;

	mutex_lock(&host->lock);
	for (i = 0; i < nr && !ret; i++)
		ret = add_block(host, range, gfp);
	/* Driver: so did the first ones, in case that absent entries are cached. */
	flush(host, range);
	mutex_unlock(&host->lock);

	if (ret)
		amd_ipa_unmap(host, range);
	return ret;
}

/**
 * amd_ipa_unmap() - Take memory away from a private address
 * @host: of the IOMMU
 * @range: what is there
 *
 * When this returns the hardware does not access it any more. The tables that have led
 * there stay for the next one.
 */
void amd_ipa_unmap(struct amd_hw_host *host, struct amd_ipa_range *range)
{
	struct io_pgtable_ops *ops = &host->ipa->iop.pgtbl.ops;
	unsigned int i, pages = 1 << range->order;

	mutex_lock(&host->lock);
	/* Where the last block is missing that is the end of it. */
	ops->unmap_pages(ops, range->ipa, PAGE_SIZE, (size_t)range->nr * pages,
			 NULL);
	flush(host, range);
	mutex_unlock(&host->lock);

	for (i = 0; i < range->nr; i++) {
		set_pages_wb(range->blocks[i], pages);
		__free_pages(range->blocks[i], range->order);
	}
	kfree(range->blocks);
	range->blocks = NULL;
	range->nr = 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests: pages of kernel page tables that wait for their walkers
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/kernel_pgtable.h>
#include <linux/mm.h>

#define NR_PAGES	600	/* more than two batches */

struct test_walker {
	struct kernel_pgtable_walker walker;
	struct page **page;
	unsigned int flushes;
	unsigned int gone;	/* pages that were free before a flush had begun */
};

static void test_flush(struct kernel_pgtable_walker *walker)
{
	struct test_walker *test_walker =
		container_of(walker, struct test_walker, walker);
	unsigned int i;

	/* Each has two references: the table's, and the test's. */
	for (i = 0; !test_walker->flushes && i < NR_PAGES; i++)
		if (test_walker->page[i] && page_count(test_walker->page[i]) != 2)
			test_walker->gone++;
	test_walker->flushes++;
}

static void test_nobody_walks(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	/* Another test or a bound process would make this true. */
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_free_later(page));
	__free_page(page);
}

/* One page waits for a flush, and is freed after it. */
static void test_freed_after_flush(struct kunit *test)
{
	struct test_walker walker = { .walker.flush = test_flush };

	walker.page = kunit_kcalloc(test, NR_PAGES, sizeof(*walker.page), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, walker.page);
	walker.page[0] = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, walker.page[0]);
	get_page(walker.page[0]);
	kernel_pgtable_walker_register(&walker.walker);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_free_later(walker.page[0]));
	kernel_pgtable_settle();
	kernel_pgtable_walker_unregister(&walker.walker);
	KUNIT_EXPECT_EQ(test, walker.flushes, 1);
	KUNIT_EXPECT_EQ(test, walker.gone, 0);
	KUNIT_EXPECT_EQ(test, page_count(walker.page[0]), 1);
	put_page(walker.page[0]);
}

/* Many take a few flushes: not one each. Each walker is told. */
static void test_batches(struct kunit *test)
{
	struct test_walker walker[2] = {
		{ .walker.flush = test_flush }, { .walker.flush = test_flush },
	};
	struct page **page;
	unsigned int i, freed = 0;

	page = kunit_kcalloc(test, NR_PAGES, sizeof(*page), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	for (i = 0; i < 2; i++) {
		walker[i].page = page;
		/* which of them wait at the first flush is not known here */
		walker[i].flushes = 1;
		kernel_pgtable_walker_register(&walker[i].walker);
	}
	for (i = 0; i < NR_PAGES; i++) {
		page[i] = alloc_page(GFP_KERNEL);
		if (!page[i])
			break;
		get_page(page[i]);
		KUNIT_EXPECT_TRUE(test, kernel_pgtable_free_later(page[i]));
	}
	kernel_pgtable_settle();
	for (i = 0; i < 2; i++)
		kernel_pgtable_walker_unregister(&walker[i].walker);
	for (i = 0; i < NR_PAGES && page[i]; i++) {
		freed += page_count(page[i]) == 1;
		put_page(page[i]);
	}
	KUNIT_EXPECT_EQ(test, freed, NR_PAGES);
	KUNIT_EXPECT_LT(test, 1, walker[0].flushes);
	KUNIT_EXPECT_LT(test, walker[0].flushes, NR_PAGES / 10);
	KUNIT_EXPECT_EQ(test, walker[0].flushes, walker[1].flushes);
}

/* What waits when the last walker goes is freed all the same. */
static void test_last_walker_goes(struct kunit *test)
{
	struct test_walker walker = { .walker.flush = test_flush, .flushes = 1 };
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	kernel_pgtable_walker_register(&walker.walker);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_free_later(page));
	kernel_pgtable_walker_unregister(&walker.walker);
	kernel_pgtable_settle();
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
}

static struct kunit_case kernel_pgtable_cases[] = {
	KUNIT_CASE(test_nobody_walks),
	KUNIT_CASE(test_freed_after_flush),
	KUNIT_CASE(test_batches),
	KUNIT_CASE(test_last_walker_goes),
	{}
};

static struct kunit_suite kernel_pgtable_suite = {
	.name = "kernel-pgtable",
	.test_cases = kernel_pgtable_cases,
};

kunit_test_suite(kernel_pgtable_suite);

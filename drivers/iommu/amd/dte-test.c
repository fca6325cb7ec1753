// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of AMD-Vi device table entries
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/iommu.h>

#include <asm/iommu.h>

#include "amd_iommu.h"

/* Literal bits, so that a wrong mask in amd_iommu_types.h is noticed. */
#define V		BIT_ULL(0)
#define TV		BIT_ULL(1)
#define HAD		(3ULL << 7)
#define MODE(n)		((u64)(n) << 9)
#define PPR		BIT_ULL(52)
#define GIOV		BIT_ULL(54)
#define GV		BIT_ULL(55)
#define GLX(n)		((u64)(n) << 56)
#define IR		BIT_ULL(61)
#define IW		BIT_ULL(62)
#define I		BIT_ULL(32)
#define EX		BIT_ULL(39)
#define SYSMGT		(3ULL << 40)

#define DOMID		0x1234
#define GCR3_DOMID	0x4321

struct dte_context {
	struct protection_domain *domain;
	struct iommu_dev_data *dev_data;
	u64 *table;
	u64 *gcr3_tbl;
	struct dev_table_entry old;
	struct dev_table_entry new;
};

static int dte_init(struct kunit *test)
{
	struct dte_context *ctx;

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->domain = kunit_kzalloc(test, sizeof(*ctx->domain), GFP_KERNEL);
	ctx->dev_data = kunit_kzalloc(test, sizeof(*ctx->dev_data), GFP_KERNEL);
	ctx->table = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	ctx->gcr3_tbl = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->domain);
	KUNIT_ASSERT_NOT_NULL(test, ctx->dev_data);
	KUNIT_ASSERT_NOT_NULL(test, ctx->table);
	KUNIT_ASSERT_NOT_NULL(test, ctx->gcr3_tbl);

	ctx->domain->id = DOMID;
	ctx->domain->pd_mode = PD_MODE_V1;
	ctx->domain->iop.mode = 4;
	ctx->domain->iop.root = ctx->table;
	ctx->dev_data->domain = ctx->domain;
	/* All that may be there already, and more */
	memset(&ctx->old, 0xff, sizeof(ctx->old));
	test->priv = ctx;
	return 0;
}

static void build(struct dte_context *ctx)
{
	memset(&ctx->new, 0x5a, sizeof(ctx->new));
	amd_iommu_build_dte(ctx->dev_data, &ctx->old, &ctx->new);
}

static u64 address(void *table)
{
	return virt_to_phys(table) | __sme_set(0);
}

static void test_host_table(struct kunit *test)
{
	struct dte_context *ctx = test->priv;

	memset(&ctx->old, 0, sizeof(ctx->old));
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0],
			V | TV | MODE(4) | IR | IW | address(ctx->table));
	KUNIT_EXPECT_EQ(test, ctx->new.data[1], DOMID);
	KUNIT_EXPECT_EQ(test, ctx->new.data[2], 0);
	KUNIT_EXPECT_EQ(test, ctx->new.data[3], 0);

	ctx->domain->dirty_tracking = true;
	ctx->domain->iop.mode = 6;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0],
			V | TV | HAD | MODE(6) | IR | IW | address(ctx->table));
}

/* What the firmware wants and what is about interrupts, and nothing else */
static void test_what_stays(struct kunit *test)
{
	struct dte_context *ctx = test->priv;

	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0],
			V | TV | MODE(4) | IR | IW | address(ctx->table));
	KUNIT_EXPECT_EQ(test, ctx->new.data[1],
			(GENMASK_ULL(41, 33) | DOMID));
	KUNIT_EXPECT_EQ(test, ctx->new.data[2], ~GENMASK_ULL(55, 54));
	/* Not of which guest the device is */
	KUNIT_EXPECT_EQ(test, ctx->new.data[3], ~GENMASK_ULL(47, 15));

	ctx->old.data[1] = EX | SYSMGT;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1], EX | SYSMGT | DOMID);
}

static void test_ats_and_ppr(struct kunit *test)
{
	struct dte_context *ctx = test->priv;

	ctx->dev_data->ats_allowed = 1;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1] & I, I);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0] & PPR, 0);

	ctx->dev_data->ppr = true;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1] & I, I);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0] & PPR, PPR);

	/* Off again, whatever the entry says */
	ctx->dev_data->ats_allowed = 0;
	ctx->dev_data->ppr = false;
	ctx->old = ctx->new;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1] & I, 0);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0] & PPR, 0);
}

static u64 gcr3_of(const struct dev_table_entry *dte)
{
	return (dte->data[0] >> 58 & 0x7) << 12 |
	       (dte->data[1] >> 16 & 0xffff) << 15 |
	       (dte->data[1] >> 43) << 31;
}

static void test_guest_table(struct kunit *test)
{
	struct dte_context *ctx = test->priv;
	struct gcr3_tbl_info *info = &ctx->dev_data->gcr3_info;

	/* Identity: PASIDs have tables, requests without are not translated */
	info->gcr3_tbl = ctx->gcr3_tbl;
	info->glx = 1;
	info->domid = GCR3_DOMID;
	ctx->domain->pd_mode = 0;
	ctx->domain->iop.mode = PAGE_MODE_NONE;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0] & ~(7ULL << 58),
			V | TV | GV | GLX(1) | IR | IW);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1] & 0xffff, GCR3_DOMID);
	KUNIT_EXPECT_EQ(test, gcr3_of(&ctx->new), address(ctx->gcr3_tbl));

	/* The same table serves requests without PASID */
	ctx->domain->pd_mode = PD_MODE_V2;
	info->glx = 2;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0] & ~(7ULL << 58),
			V | TV | GV | GLX(2) | GIOV | IR | IW);
	KUNIT_EXPECT_EQ(test, ctx->new.data[2] >> 54 & 3,
			amd_iommu_gpt_level == PAGE_MODE_5_LEVEL);

	/* And nothing of it is left afterwards */
	info->gcr3_tbl = NULL;
	ctx->domain->pd_mode = PD_MODE_V1;
	ctx->domain->iop.mode = 3;
	ctx->old = ctx->new;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0],
			V | TV | MODE(3) | IR | IW | address(ctx->table));
	KUNIT_EXPECT_EQ(test, ctx->new.data[1] & ~GENMASK_ULL(41, 33), DOMID);
}

static void test_blocked(struct kunit *test)
{
	struct dte_context *ctx = test->priv;

	memset(&ctx->new, 0x5a, sizeof(ctx->new));
	amd_iommu_build_blocked_dte(&ctx->old, &ctx->new);
	KUNIT_EXPECT_EQ(test, ctx->new.data[0], V | TV);
	KUNIT_EXPECT_EQ(test, ctx->new.data[1], GENMASK_ULL(41, 33));
	KUNIT_EXPECT_EQ(test, ctx->new.data[2], ~GENMASK_ULL(55, 54));
	/* Not of which guest the device is */
	KUNIT_EXPECT_EQ(test, ctx->new.data[3], ~GENMASK_ULL(47, 15));
}

static struct kunit_case dte_cases[] = {
	KUNIT_CASE(test_host_table),
	KUNIT_CASE(test_what_stays),
	KUNIT_CASE(test_ats_and_ppr),
	KUNIT_CASE(test_guest_table),
	KUNIT_CASE(test_blocked),
	{}
};

static struct kunit_suite dte_suite = {
	.name = "amd-iommu-dte",
	.init = dte_init,
	.test_cases = dte_cases,
};

kunit_test_suite(dte_suite);

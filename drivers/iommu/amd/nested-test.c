// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what AMD-Vi takes of a guest: device table entries, and commands
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"

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
#define GPM(n)		((u64)(n) << 54)

#define HOST_ROOT	0x12345000ULL
#define HOST_DOMID	0x77
#define GUEST_DOMID	0x88
#define NEW_DOMID	0x99
/* A root with bits in all of its three fields */
#define GCR3_A		(5ULL << 58)
#define GCR3_B		(0x8001ULL << 16)
#define GCR3_C		(0x10001ULL << 43)

struct nested_context {
	struct iommu_dev_data *dev_data;
	struct amd_viommu viommu;
	struct amd_nested nested;
	struct amd_guest_domid domid;
	struct dev_table_entry dte;
};

static int nested_init(struct kunit *test)
{
	struct nested_context *ctx;

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->dev_data = kunit_kzalloc(test, sizeof(*ctx->dev_data), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->dev_data);
	ctx->dev_data->guest.nested = &ctx->nested;
	ctx->nested.viommu = &ctx->viommu;
	ctx->domid.guest = GUEST_DOMID;
	ctx->domid.host = NEW_DOMID;
	test->priv = ctx;
	return 0;
}

/* What the second stage alone has */
static void build(struct nested_context *ctx)
{
	ctx->dte = (struct dev_table_entry) {
		.data = {
			V | TV | HAD | MODE(4) | HOST_ROOT | PPR | IR | IW,
			HOST_DOMID | I,
			GENMASK_ULL(51, 0),
			0,
		},
	};
	amd_nested_build_dte(ctx->dev_data, &ctx->dte);
}

static void test_no_guest(struct kunit *test)
{
	struct nested_context *ctx = test->priv;

	ctx->dev_data->guest.nested = NULL;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[0],
			V | TV | HAD | MODE(4) | HOST_ROOT | PPR | IR | IW);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[1], HOST_DOMID | I);
	KUNIT_EXPECT_FALSE(test, amd_nested_has_table(ctx->dev_data));
	KUNIT_EXPECT_FALSE(test, amd_nested_has_giov(ctx->dev_data));
}

/* Nothing but V counts then. */
static void test_not_valid(struct kunit *test)
{
	static const u64 entries[] = { ~V, TV, 0 };
	struct nested_context *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		ctx->nested.dte[0] = entries[i];
		build(ctx);
		KUNIT_EXPECT_EQ(test, ctx->dte.data[0],
				V | TV | HAD | MODE(4) | HOST_ROOT | PPR | IR |
				IW);
		KUNIT_EXPECT_EQ(test, ctx->dte.data[1], HOST_DOMID | I);
		KUNIT_EXPECT_FALSE(test, amd_nested_has_table(ctx->dev_data));
	}
}

static void test_blocked(struct kunit *test)
{
	struct nested_context *ctx = test->priv;

	ctx->nested.dte[0] = ~TV;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[0],
			V | TV | HAD | MODE(4) | HOST_ROOT);
	KUNIT_EXPECT_FALSE(test, amd_nested_has_table(ctx->dev_data));
}

static void test_rights(struct kunit *test)
{
	static const u64 rights[] = { 0, IR, IW, PPR, IR | PPR, IR | IW };
	struct nested_context *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rights); i++) {
		ctx->nested.dte[0] = V | TV | rights[i];
		build(ctx);
		KUNIT_EXPECT_EQ(test, ctx->dte.data[0],
				V | TV | HAD | MODE(4) | HOST_ROOT | rights[i]);
		KUNIT_EXPECT_EQ(test, ctx->dte.data[1], HOST_DOMID | I);
	}
}

static void test_tables(struct kunit *test)
{
	struct nested_context *ctx = test->priv;
	u64 tables = GV | GIOV | GLX(1) | GCR3_A;

	ctx->nested.domid = &ctx->domid;
	ctx->nested.dte[0] = V | TV | PPR | IR | IW | tables;
	/* What is not the guest's: I, cache and system management attributes */
	ctx->nested.dte[1] = GUEST_DOMID | GCR3_B | GCR3_C |
			     GENMASK_ULL(42, 32);
	/* Interrupts are not either. */
	ctx->nested.dte[2] = ~GPM(3) | GPM(1);
	ctx->nested.dte[3] = ~0ULL;
	build(ctx);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[0],
			V | TV | HAD | MODE(4) | HOST_ROOT | PPR | IR | IW |
			tables);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[1],
			NEW_DOMID | I | GCR3_B | GCR3_C);
	KUNIT_EXPECT_EQ(test, ctx->dte.data[2], GENMASK_ULL(51, 0) | GPM(1));
	KUNIT_EXPECT_EQ(test, ctx->dte.data[3], 0);
	KUNIT_EXPECT_TRUE(test, amd_nested_has_table(ctx->dev_data));
	KUNIT_EXPECT_TRUE(test, amd_nested_has_giov(ctx->dev_data));
}

static void test_who_flushes(struct kunit *test)
{
	struct nested_context *ctx = test->priv;

	ctx->nested.dte[0] = V | TV | GV | GCR3_A;
	/* No table, so nothing of it */
	KUNIT_EXPECT_TRUE(test, amd_nested_guest_flushes(ctx->dev_data,
							 GUEST_DOMID));
	ctx->nested.domid = &ctx->domid;
	KUNIT_EXPECT_FALSE(test, amd_nested_guest_flushes(ctx->dev_data,
							  GUEST_DOMID));
	KUNIT_EXPECT_TRUE(test, amd_nested_guest_flushes(ctx->dev_data,
							 GUEST_DOMID + 1));
	ctx->nested.dte[1] = I;
	KUNIT_EXPECT_TRUE(test, amd_nested_guest_flushes(ctx->dev_data,
							 GUEST_DOMID));
}

/* Registers, and what commands have been written, are memory. Nobody does them. */
static struct amd_iommu *make_iommu(struct kunit *test)
{
	struct amd_iommu *iommu = kunit_kzalloc(test, sizeof(*iommu), GFP_KERNEL);
	void *regs = kunit_kzalloc(test, MMIO_CNTR_CONF_OFFSET, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, iommu);
	KUNIT_ASSERT_NOT_NULL(test, regs);
	iommu->mmio_base = (u8 __iomem __force *)regs;
	iommu->cmd_buf = kunit_kzalloc(test, CMD_BUFFER_SIZE, GFP_KERNEL);
	iommu->cmd_sem = kunit_kzalloc(test, sizeof(*iommu->cmd_sem), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->cmd_buf);
	KUNIT_ASSERT_NOT_NULL(test, (void *)iommu->cmd_sem);
	raw_spin_lock_init(&iommu->lock);
	return iommu;
}

static u32 told(struct amd_iommu *iommu)
{
	return readl(iommu->mmio_base + MMIO_CMD_TAIL_OFFSET) / 16;
}

/* Commands that are put are told of by those that are queued, and by the wait. */
static void test_told_once(struct kunit *test)
{
	struct amd_iommu *iommu = make_iommu(test);
	struct iommu_cmd cmds[3] = { { { 1 } }, { { 2 } }, { { 3 } } };

	KUNIT_EXPECT_EQ(test, amd_iommu_put_commands(iommu, cmds, 3), 0);
	KUNIT_EXPECT_EQ(test, iommu->cmd_buf_tail, 3 * 16);
	KUNIT_EXPECT_MEMEQ(test, iommu->cmd_buf, cmds, sizeof(cmds));
	KUNIT_EXPECT_EQ(test, told(iommu), 0);
	KUNIT_EXPECT_TRUE(test, iommu->need_sync);

	KUNIT_EXPECT_EQ(test, amd_iommu_queue_commands(iommu, cmds, 2), 0);
	KUNIT_EXPECT_EQ(test, told(iommu), 5);

	KUNIT_EXPECT_EQ(test, amd_iommu_put_commands(iommu, cmds, 1), 0);
	KUNIT_EXPECT_EQ(test, told(iommu), 5);
	*iommu->cmd_sem = 1;
	KUNIT_EXPECT_EQ(test, iommu_completion_wait(iommu), 0);
	KUNIT_EXPECT_EQ(test, told(iommu), 7);
	KUNIT_EXPECT_FALSE(test, iommu->need_sync);
}

/* Without room the hardware has to be told, or there will never be room. */
static void test_told_when_full(struct kunit *test)
{
	struct amd_iommu *iommu = make_iommu(test);
	struct iommu_cmd cmd = {};
	unsigned int i;

	/* The hardware has got there, and the driver does not know that yet. */
	writel(100 * 16, iommu->mmio_base + MMIO_CMD_HEAD_OFFSET);
	for (i = 0; i < CMD_BUFFER_ENTRIES && !told(iommu); i++)
		KUNIT_ASSERT_EQ(test, amd_iommu_put_commands(iommu, &cmd, 1), 0);
	KUNIT_EXPECT_GT(test, i, CMD_BUFFER_ENTRIES - 8);
	KUNIT_EXPECT_LT(test, i, CMD_BUFFER_ENTRIES);
	/* Of all but the one that there was no room for */
	KUNIT_EXPECT_EQ(test, told(iommu), i - 1);
}

static struct kunit_case nested_cases[] = {
	KUNIT_CASE(test_no_guest),
	KUNIT_CASE(test_not_valid),
	KUNIT_CASE(test_blocked),
	KUNIT_CASE(test_rights),
	KUNIT_CASE(test_tables),
	KUNIT_CASE(test_who_flushes),
	KUNIT_CASE(test_told_once),
	KUNIT_CASE(test_told_when_full),
	{}
};

static struct kunit_suite nested_suite = {
	.name = "amd-iommu-nested",
	.init = nested_init,
	.test_cases = nested_cases,
};

kunit_test_suite(nested_suite);

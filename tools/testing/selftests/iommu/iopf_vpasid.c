// SPDX-License-Identifier: GPL-2.0-only
/*
 * PASIDs through VFIO and iommufd, end to end: the emulated test endpoint 1234:11f0
 * works with several of its PASIDs, each of which has a page table and a fault queue
 * of its own, beside that of its RID. It asks for its pages, or if it has no PRI the IOMMU
 * holds its accesses.
 *
 * The same addresses lead to other memory with each of them. So what is translated,
 * asked or answered for the wrong one is seen in the data, or leaves the endpoint
 * waiting. Nothing depends on timing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_late.h"

#define TEST_SECONDS	1800
#define NR_SPACES	3
#define NR_MANY		64
#define NR_OWNERS	1000
#define NR_ASKED	8

#define TEST_PASID(name) TEST_F_TIMEOUT(vpasid, name, TEST_SECONDS)

/* An address space of its own, with a page table and its fault queue */
struct space {
	__u32 pasid;	/* 0: that of the RID */
	__u32 ioas_id;
	__u32 hwpt_id;
	struct iopf_queue *queue;
	struct iopf_backing *backing;
};

/* How a transfer ends that gets no page, see find_any_endpoint() */
static __u32 refusal;

static bool asks(void)
{
	return refusal == IOPF_TD_ST_RSP_INVALID;
}

/* Nothing is attached yet. */
static int space_make(struct space *space, struct iopf_ctx *ctx,
		      struct iopf_dev *dev)
{
	int ret;

	ret = iopf_ioas_alloc(ctx, &space->ioas_id);
	if (!ret)
		ret = iopf_queue_open(ctx, &space->queue);
	if (!ret)
		ret = hwpt_alloc(ctx, iopf_dev_id(dev), space->ioas_id,
				 IOMMU_HWPT_ALLOC_PASID, space->queue,
				 &space->hwpt_id);
	if (!ret)
		ret = iopf_backing_anon(ctx, space->ioas_id, BASE, SPAN, IOPF_RW,
					0, &space->backing);
	return ret;
}

static void space_free(struct space *space, struct iopf_ctx *ctx)
{
	iopf_backing_close(space->backing);
	if (space->hwpt_id)
		iopf_destroy(ctx, space->hwpt_id);
	iopf_queue_close(space->queue);
	if (space->ioas_id)
		iopf_destroy(ctx, space->ioas_id);
	memset(space, 0, sizeof(*space));
}

FIXTURE(vpasid)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;	/* of which the queue and the backing are a space's */
	struct space space[NR_SPACES];	/* the first is the RID's */
};

FIXTURE_SETUP(vpasid)
{
	struct iopf_hw_info info;
	int i, ret;

	refusal = find_any_endpoint(&self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	self->ep.ctx = self->ctx;
	ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[0], &self->ep.dev));
	ASSERT_LIB(iopf_dev_hw_info(self->ep.dev, &info));
	if (!info.pasid_bits)
		SKIP(return, "the device has no PASIDs");
	for (i = 0; i < NR_SPACES; i++) {
		ret = space_make(&self->space[i], self->ctx, self->ep.dev);
		if (ret == -EOPNOTSUPP)
			SKIP(return, "no page tables for PASIDs in this kernel");
		ASSERT_EQ(0, ret)
			TH_LOG("%s", strerror(-ret));
		self->space[i].pasid = i ? 4 + i : 0;
	}
	ASSERT_EQ(0, iopf_dev_attach(self->ep.dev, self->space[0].hwpt_id));
	ASSERT_LIB(testdev_open(self->ep.dev, &self->ep.td));
	if (!asks() && !testdev_may_be_held(&self->ep.td))
		SKIP(return, "the endpoint neither asks nor waits");
}

FIXTURE_TEARDOWN(vpasid)
{
	int i;

	if (self->ep.td.dev)
		EXPECT_LIB(check_answers(&self->ep, -1, -1));
	testdev_close(&self->ep.td);
	iopf_dev_close(self->ep.dev);
	for (i = 0; i < NR_SPACES; i++)
		space_free(&self->space[i], self->ctx);
	iopf_ctx_close(self->ctx);
}

/* Let the helpers of the endpoint look at the queue and the memory of a space. */
static struct endpoint *in_space(struct endpoint *ep, struct space *space)
{
	ep->queue = space->queue;
	ep->backing = space->backing;
	return ep;
}

static int start_in(struct endpoint *ep, struct space *space, unsigned int opcode,
		    __u64 iova, __u32 length, __u32 seed, unsigned int *slot)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = space->pasid ? IOPF_TD_F_PASID : 0,
		.pasid = space->pasid,
		.iova = iova,
		.length = length,
		.data = seed,
	};

	return testdev_submit(&in_space(ep, space)->td, &op, slot);
}

/* Fill memory of a space, serving what the endpoint asks for. */
static int fill(struct endpoint *ep, struct space *space, __u64 iova,
		__u32 length, __u32 seed)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start_in(ep, space, IOPF_TD_OP_FILL, iova, length, seed, &slot);
	if (!ret)
		ret = serve_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK || r.done != length)
		return iopf_err(-EIO, "PASID %u: %s, %u bytes", space->pasid,
				testdev_status(r.status), r.done);
	return 0;
}

/* Something that must not work: its status, or a negative errno. Nobody serves. */
static int fail(struct endpoint *ep, struct space *space, __u64 iova)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start_in(ep, space, IOPF_TD_OP_FILL, iova, 8, SEED, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	return r.status;
}

#define ASSERT_DATA(space, iova, length, seed) do { \
	size_t __length = length; \
	\
	ASSERT_EQ(__length, \
		  testdev_pattern_check(iopf_backing_ptr((space)->backing, iova), \
					__length, seed, 0)); \
} while (0)

static int attach_all(struct endpoint *ep, struct space *space)
{
	int i, ret = 0;

	for (i = 1; i < NR_SPACES && !ret; i++)
		ret = iopf_dev_attach_pasid(ep->dev, space[i].pasid,
					    space[i].hwpt_id);
	return ret;
}

/* ---- where requests and data go --------------------------------------------- */

TEST_PASID(each_in_its_own)
{
	int round, i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	for (round = 0; round < 4; round++)
		for (i = 0; i < NR_SPACES; i++)
			ASSERT_LIB(fill(&self->ep, &self->space[i],
					BASE + round * 0x4000, 0x3000,
					SEED + 10 * i + round));
	for (round = 0; round < 4; round++)
		for (i = 0; i < NR_SPACES; i++)
			ASSERT_DATA(&self->space[i], BASE + round * 0x4000, 0x3000,
				    SEED + 10 * i + round);
}

/* The record says which PASID has asked, and all are there at the same time. */
TEST_PASID(records)
{
	unsigned int slot[NR_SPACES];
	struct iopf_group g[NR_SPACES];
	struct testdev_result r;
	int i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	testdev_set(&self->ep.td, IOPF_TD_REG_CONTEXTS, 8);
	for (i = 0; i < NR_SPACES; i++)
		ASSERT_LIB(start_in(&self->ep, &self->space[i], IOPF_TD_OP_FILL,
				    BASE, 4096, SEED + i, &slot[i]));
	for (i = 0; i < NR_SPACES; i++) {
		ASSERT_LIB(next_group(in_space(&self->ep, &self->space[i]), &g[i]));
		EXPECT_EQ(iopf_dev_id(self->ep.dev), g[i].dev_id);
		EXPECT_EQ(!!self->space[i].pasid, g[i].pasid_valid);
		EXPECT_EQ(self->space[i].pasid, g[i].rec[0].pasid);
		EXPECT_EQ(BASE, g[i].rec[0].addr & ~4095ULL);
	}
	for (i = NR_SPACES - 1; i >= 0; i--) {
		ASSERT_LIB(serve_group(in_space(&self->ep, &self->space[i]), &g[i]));
		ASSERT_LIB(wait_op(&self->ep, slot[i], &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
		ASSERT_DATA(&self->space[i], BASE, 4096, SEED + i);
	}
}

/* Nothing is attached to the PASID, before and after. */
TEST_PASID(detached)
{
	struct space *space = &self->space[1];

	expect_dma_faults(self->found.bdf[0], space->pasid, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, space, BASE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, space->pasid,
					   space->hwpt_id));
	ASSERT_LIB(fill(&self->ep, space, BASE, 4096, SEED));
	ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, space->pasid));
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, space, BASE));
	ASSERT_DATA(space, BASE, 4096, SEED);
	/* once more is no error, and neither is what was never attached */
	EXPECT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, space->pasid));
	EXPECT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, 77));
	/* the RID has noticed nothing */
	ASSERT_LIB(fill(&self->ep, &self->space[0], BASE, 4096, SEED));
	expect_no_more_on_console();
}

/* What is unmapped for one PASID is gone for it, and for no other. */
TEST_PASID(unmapped)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.iova = BASE,
		.length = 0x4000,
	};
	size_t length = 0x4000;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	int i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	for (i = 0; i < NR_SPACES; i++)
		ASSERT_LIB(fill(&self->ep, &self->space[i], BASE, length,
				SEED + i));
	unmap.ioas_id = self->space[1].ioas_id;
	ASSERT_EQ(0, ioctl(iopf_ctx_fd(self->ctx), IOMMU_IOAS_UNMAP, &unmap));
	/* The endpoint has them in its cache: it would not ask, but for a flush. */
	ASSERT_LIB(start_in(&self->ep, &self->space[1], IOPF_TD_OP_FILL, BASE, 4096,
			    ~SEED, &slot));
	ASSERT_LIB(next_group(&self->ep, &g));
	ASSERT_LIB(iopf_queue_answer(self->ep.queue, g.cookie, IOPF_INVALID));
	ASSERT_LIB(wait_op(&self->ep, slot, &r));
	EXPECT_EQ(refusal, r.status);
	ASSERT_DATA(&self->space[1], BASE, length, SEED + 1);
	ASSERT_LIB(fill(&self->ep, &self->space[2], BASE, length, ~SEED));
	ASSERT_DATA(&self->space[2], BASE, length, ~SEED);
}

/* ---- replace ------------------------------------------------------------------ */

TEST_PASID(replace)
{
	struct space *one = &self->space[1], *two = &self->space[2];
	__u32 pasid = one->pasid;
	int round;

	two->pasid = pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, pasid, one->hwpt_id));
	for (round = 0; round < 10; round++) {
		ASSERT_LIB(fill(&self->ep, one, BASE, 0x4000, SEED + round));
		ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, pasid,
						   two->hwpt_id));
		ASSERT_LIB(fill(&self->ep, two, BASE, 0x4000, ~SEED - round));
		ASSERT_DATA(one, BASE, 0x4000UL, SEED + round);
		ASSERT_DATA(two, BASE, 0x4000UL, ~SEED - round);
		ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, pasid,
						   one->hwpt_id));
	}
	/* by itself */
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, pasid, one->hwpt_id));
	ASSERT_LIB(fill(&self->ep, one, BASE, 0x4000, SEED));
}

/* An open request of the old page table is answered, and asked of the new one. */
TEST_PASID(replace_open_request)
{
	struct space *one = &self->space[1], *two = &self->space[2];
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	two->pasid = one->pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, one->hwpt_id));
	ASSERT_LIB(start_in(&self->ep, one, IOPF_TD_OP_FILL, BASE, 4096, SEED,
			    &slot));
	ASSERT_LIB(next_group(&self->ep, &g));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, two->hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(one->queue, g.cookie, IOPF_SUCCESS));
	ASSERT_LIB(next_group(in_space(&self->ep, two), &g));
	EXPECT_EQ(one->pasid, g.rec[0].pasid);
	ASSERT_LIB(serve_group(&self->ep, &g));
	ASSERT_LIB(wait_op(&self->ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_DATA(two, BASE, 4096, SEED);
}

/*
 * What the endpoint asks of an IOMMU that cannot replace a page table without a gap.
 * Everything is mapped.
 */
static int serve_gap(struct endpoint *ep, struct space *space)
{
	struct iopf_group g;
	int ret;

	while (iopf_queue_read(in_space(ep, space)->queue, &g) > 0) {
		ret = serve_group(ep, &g);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * The endpoint works all the time while the page table is replaced, by one with the same
 * content. It never notices, or if the IOMMU cannot rewrite a context descriptor, it
 * asks and goes on.
 */
TEST_PASID(replace_no_gap)
{
	struct space *one = &self->space[1], *two = &self->space[2];
	struct testdev_result r;
	struct iopf_hw_info info;
	unsigned int slot, round;
	bool gap;

	ASSERT_LIB(iopf_dev_hw_info(self->ep.dev, &info));
	gap = info.type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3;
	two->pasid = one->pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, two->hwpt_id));
	ASSERT_LIB(fill(&self->ep, two, BASE, 1 << 20, SEED));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, one->hwpt_id));
	ASSERT_LIB(fill(&self->ep, one, BASE, 1 << 20, SEED));
	if (gap)
		testdev_set(&self->ep.td, IOPF_TD_REG_PRI_RETRY, 1000);
	for (round = 0; round < 20; round++) {
		ASSERT_LIB(start_in(&self->ep, one, IOPF_TD_OP_FILL, BASE, 1 << 20,
				    SEED + round, &slot));
		while (!testdev_done(&self->ep.td, slot, &r)) {
			ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid,
							   two->hwpt_id));
			ASSERT_LIB(serve_gap(&self->ep, two));
			ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid,
							   one->hwpt_id));
			ASSERT_LIB(serve_gap(&self->ep, one));
		}
		ASSERT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s", testdev_status(r.status));
		if (!gap)
			EXPECT_EQ(0, r.nr_pr);
	}
}

/* What was unmapped from either page table is not there, before and after. */
TEST_PASID(replace_unmapped)
{
	struct space *one = &self->space[1], *two = &self->space[2];
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.iova = BASE,
		.length = 0x4000,
	};
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	two->pasid = one->pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, one->hwpt_id));
	ASSERT_LIB(fill(&self->ep, one, BASE, 0x4000, SEED));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, one->pasid, two->hwpt_id));
	ASSERT_LIB(fill(&self->ep, two, BASE, 0x4000, SEED));
	unmap.ioas_id = two->ioas_id;
	ASSERT_EQ(0, ioctl(iopf_ctx_fd(self->ctx), IOMMU_IOAS_UNMAP, &unmap));
	ASSERT_LIB(start_in(&self->ep, two, IOPF_TD_OP_FILL, BASE, 4096, ~SEED, &slot));
	ASSERT_LIB(next_group(&self->ep, &g));
	ASSERT_LIB(iopf_queue_answer(self->ep.queue, g.cookie, IOPF_INVALID));
	ASSERT_LIB(wait_op(&self->ep, slot, &r));
	EXPECT_EQ(refusal, r.status);
	ASSERT_DATA(one, BASE, 0x4000UL, SEED);
	ASSERT_DATA(two, BASE, 0x4000UL, SEED);
}

/* ---- the end, with requests open ----------------------------------------------- */

TEST_PASID(detach_open_requests)
{
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot[NR_SPACES];
	int i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	testdev_set(&self->ep.td, IOPF_TD_REG_CONTEXTS, 8);
	for (i = 0; i < NR_SPACES; i++)
		ASSERT_LIB(start_in(&self->ep, &self->space[i], IOPF_TD_OP_FILL,
				    BASE, 4096, SEED + i, &slot[i]));
	/* one that was read, one that was not, and that of the RID stays */
	ASSERT_LIB(next_group(in_space(&self->ep, &self->space[1]), &g));
	ASSERT_EQ(1, iopf_queue_wait(self->space[2].queue, LONG_MS));
	for (i = 1; i < NR_SPACES; i++) {
		ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev,
						   self->space[i].pasid));
		ASSERT_LIB(wait_op(&self->ep, slot[i], &r));
		EXPECT_EQ(refusal, r.status);
	}
	EXPECT_EQ(-EINVAL, iopf_queue_answer(self->space[1].queue, g.cookie,
					     IOPF_SUCCESS));
	ASSERT_LIB(next_group(in_space(&self->ep, &self->space[0]), &g));
	ASSERT_LIB(serve_group(&self->ep, &g));
	ASSERT_LIB(wait_op(&self->ep, slot[0], &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_DATA(&self->space[0], BASE, 4096, SEED);
}

/* One queue for all of them: a detach answers what its own PASID has asked for. */
TEST_PASID(detach_shared_queue)
{
	struct space *space = self->space;
	struct testdev_result r;
	struct iopf_group g, own = {};
	struct iopf_request rec;
	unsigned int slot[2], i;
	__u32 hwpt_id;

	ASSERT_EQ(0, hwpt_alloc(self->ctx, iopf_dev_id(self->ep.dev),
				space[2].ioas_id, IOMMU_HWPT_ALLOC_PASID,
				space[1].queue, &hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, space[1].pasid,
					   space[1].hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, space[2].pasid, hwpt_id));
	testdev_set(&self->ep.td, IOPF_TD_REG_CONTEXTS, 8);
	for (i = 0; i < 2; i++)
		ASSERT_LIB(start_in(&self->ep, &space[1 + i], IOPF_TD_OP_FILL, BASE,
				    4096, SEED + i, &slot[i]));
	in_space(&self->ep, &space[1]);
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(next_group(&self->ep, &g));
		if (g.rec[0].pasid != space[2].pasid)
			continue;
		/* the next one takes the place of the records */
		rec = g.rec[0];
		own = g;
		own.rec = &rec;
	}
	ASSERT_EQ(1, own.nr);
	ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, space[1].pasid));
	ASSERT_LIB(wait_op(&self->ep, slot[0], &r));
	EXPECT_EQ(refusal, r.status);
	/* the other one still waits for its answer */
	EXPECT_FALSE(testdev_done(&self->ep.td, slot[1], &r));
	self->ep.backing = space[2].backing;
	ASSERT_LIB(serve_group(&self->ep, &own));
	ASSERT_LIB(wait_op(&self->ep, slot[1], &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_DATA(&space[2], BASE, 4096, SEED + 1);
	ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, space[2].pasid));
	ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id));
}

/* A request that is in the queue of the IOMMU, which is worked off late */
static int late_request(struct endpoint *ep, struct space *space,
			struct late *late, unsigned int *slot)
{
	__u32 before = missed(ep, asks());
	int ret = late_begin(late);

	if (!ret)
		ret = start_in(ep, space, IOPF_TD_OP_FILL, BASE, 4096, SEED, slot);
	if (!ret)
		ret = wait_missed(ep, asks(), before, 1);
	if (!ret && iopf_queue_wait(space->queue, 0))
		ret = iopf_err(-EIO, "the request was not late");
	if (ret)
		late_end(late);
	return ret;
}

/* What the call in the other process is about */
static struct space late_space;

static int call_detach(struct endpoint *ep)
{
	return iopf_dev_detach_pasid(ep->dev, late_space.pasid);
}

static int call_attach(struct endpoint *ep)
{
	return iopf_dev_attach_pasid(ep->dev, late_space.pasid, late_space.hwpt_id);
}

/* When the attachment has ended nothing that was asked before is left. */
TEST_PASID(late_detach)
{
	struct space *space = &self->space[1], *next = &self->space[2];
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	struct late late;
	int ret;

	next->pasid = space->pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, space->pasid, space->hwpt_id));
	late_space = *space;
	ret = late_request(ep, space, &late, &slot);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(late_through(&late, call_detach, ep));
	EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, next->pasid, next->hwpt_id));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(refusal, r.status);
	EXPECT_EQ(0, iopf_queue_read(next->queue, &g));
	iopf_queue_drop(space->queue, iopf_dev_id(ep->dev));
	ASSERT_LIB(fill(ep, next, BASE, 0x4000, SEED));
	ASSERT_DATA(next, BASE, 0x4000UL, SEED);
}

/* What was asked of the old page table does not come to the new one's queue. */
TEST_PASID(late_replace)
{
	struct space *space = &self->space[1], *next = &self->space[2];
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	struct late late;
	int ret;

	next->pasid = space->pasid;
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, space->pasid, space->hwpt_id));
	late_space = *next;
	ret = late_request(ep, space, &late, &slot);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(late_through(&late, call_attach, ep));
	/* The device was told to ask again, and asks the new one. */
	ASSERT_LIB(serve_op(in_space(ep, next), slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_LIB(check_answers(ep, asks() ? 2 : 0, 0));
	EXPECT_EQ(0, iopf_queue_read(space->queue, &g));
	ASSERT_DATA(next, BASE, 4096, SEED);
}

/*
 * A PASID goes from one owner to the next, a thousand times, while the requests of the
 * old one are anywhere between the endpoint and the queue. None reaches the next one.
 */
TEST_PASID(recycled)
{
	struct space *owner = &self->space[1], *next = &self->space[2], *t;
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_ASKED], round, i;
	struct testdev_result r;
	struct iopf_group g;
	__u32 before;

	next->pasid = owner->pasid;
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, NR_ASKED);
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, owner->pasid, owner->hwpt_id));
	for (round = 0; round < NR_OWNERS; round++) {
		before = missed(ep, asks());
		for (i = 0; i < NR_ASKED; i++)
			ASSERT_LIB(start_in(ep, owner, IOPF_TD_OP_FILL,
					    BASE + i * 0x4000, 4096, SEED,
					    &slot[i]));
		/* They have left the endpoint, and nobody serves. */
		ASSERT_LIB(wait_missed(ep, asks(), before, NR_ASKED));
		ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, owner->pasid));
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, next->pasid,
						   next->hwpt_id));
		for (i = 0; i < NR_ASKED; i++) {
			ASSERT_LIB(wait_op(ep, slot[i], &r));
			ASSERT_EQ(refusal, r.status)
				TH_LOG("%s in round %u", testdev_status(r.status),
				       round);
		}
		ASSERT_EQ(0, iopf_queue_read(next->queue, &g))
			TH_LOG("round %u", round);
		iopf_queue_drop(owner->queue, iopf_dev_id(ep->dev));
		ASSERT_EQ(0, iopf_queue_read(owner->queue, &g));
		t = owner;
		owner = next;
		next = t;
	}
	EXPECT_LIB(check_answers(ep, 0, -1));
	ASSERT_LIB(fill(ep, owner, BASE, 0x4000, SEED));
	ASSERT_DATA(owner, BASE, 0x4000UL, SEED);
}

/* The file is closed with everything attached and open; then all can be freed. */
TEST_PASID(close_attached)
{
	unsigned int slot;
	int i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	ASSERT_LIB(start_in(&self->ep, &self->space[1], IOPF_TD_OP_FILL, BASE, 4096,
			    SEED, &slot));
	ASSERT_EQ(1, iopf_queue_wait(self->space[1].queue, LONG_MS));
	testdev_close(&self->ep.td);
	iopf_dev_close(self->ep.dev);
	self->ep.dev = NULL;
	memset(&self->ep.td, 0, sizeof(self->ep.td));
	for (i = 0; i < NR_SPACES; i++) {
		EXPECT_LIB(iopf_destroy(self->ctx, self->space[i].hwpt_id));
		self->space[i].hwpt_id = 0;
	}
}

TEST_PASID(many)
{
	struct space space = self->space[1];
	int round, i;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < NR_MANY; i++)
			ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, 10 + i,
							   self->space[1 + i % 2].hwpt_id));
		for (i = 0; i < NR_MANY; i++) {
			space = self->space[1 + i % 2];
			space.pasid = 10 + i;
			ASSERT_LIB(fill(&self->ep, &space, BASE + i * 0x1000, 4096,
					SEED + i));
			ASSERT_DATA(&space, BASE + i * 0x1000, 4096UL, SEED + i);
		}
		for (i = 0; i < NR_MANY; i++)
			ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, 10 + i));
	}
}

/* ---- rules and bad requests ------------------------------------------------------ */

TEST_PASID(compatible)
{
	struct iopf_dev *dev = self->ep.dev;
	struct space *space = self->space;
	__u32 plain, nobody;

	ASSERT_EQ(0, hwpt_alloc(self->ctx, iopf_dev_id(dev), space[0].ioas_id, 0,
				NULL, &plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 5, plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 5, space[0].ioas_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(dev, 5, space[1].hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 5, plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, space[0].ioas_id));
	ASSERT_EQ(0, iopf_dev_attach(dev, space[2].hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach(dev, space[0].hwpt_id));
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 4096, SEED));
	ASSERT_EQ(0, iopf_dev_detach_pasid(dev, 5));
	ASSERT_EQ(0, iopf_dev_attach(dev, plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 5, space[1].hwpt_id));
	ASSERT_LIB(iopf_dev_detach(dev));
	ASSERT_EQ(0, iopf_dev_attach_pasid(dev, 5, space[1].hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, plain));
	ASSERT_EQ(0, iopf_dev_attach(dev, space[0].hwpt_id));
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 4096, SEED));
	ASSERT_EQ(0, iopf_dev_detach_pasid(dev, 5));
	nobody = plain;
	ASSERT_LIB(iopf_destroy(self->ctx, plain));
	EXPECT_EQ(-ENOENT, iopf_dev_attach_pasid(dev, 5, nobody));
}

/* The RID is blocked when it has no page table, and its PASIDs have what they had. */
TEST_PASID(rid_detached)
{
	struct space *space = self->space;

	ASSERT_EQ(0, attach_all(&self->ep, space));
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 0x4000, SEED));
	expect_dma_faults(self->found.bdf[0], DMA_ANY_PASID, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	ASSERT_LIB(iopf_dev_detach(self->ep.dev));
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, &space[0], BASE));
	ASSERT_DATA(&space[0], BASE, 0x4000, SEED);
	ASSERT_LIB(fill(&self->ep, &space[1], BASE, 0x4000, SEED));
	ASSERT_LIB(fill(&self->ep, &space[2], BASE, 0x4000, ~SEED));
	ASSERT_DATA(&space[1], BASE, 0x4000, SEED);
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, &space[0], BASE));
	expect_no_more_on_console();
	ASSERT_EQ(0, iopf_dev_attach(self->ep.dev, space[0].hwpt_id));
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 0x8000, ~SEED));
	ASSERT_LIB(fill(&self->ep, &space[1], BASE, 0x8000, SEED + 1));
	ASSERT_DATA(&space[0], BASE, 0x8000, ~SEED);
}

/*
 * The endpoint works with a PASID while its RID has no page table. Its interrupts are
 * writes of the RID: an SMMUv3 translates them, and blocks them then.
 */
static int expect_blocked_interrupts(struct endpoint *ep, const char *bdf)
{
	struct iopf_hw_info info;
	int ret = iopf_dev_hw_info(ep->dev, &info);

	if (!ret && info.type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		expect_smmu_faults(bdf, DMA_NO_PASID, "", DMA_NO_TABLE);
	return ret;
}

/* A PASID has its page table first, and is left alone; the RID follows, and stays. */
TEST_PASID(rid_later)
{
	struct space *space = self->space;
	int round;

	ASSERT_LIB(expect_blocked_interrupts(&self->ep, self->found.bdf[0]));
	ASSERT_LIB(iopf_dev_detach(self->ep.dev));
	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, space[1].pasid,
						   space[1].hwpt_id));
		ASSERT_LIB(fill(&self->ep, &space[1], BASE + round * 0x4000, 0x3000,
				SEED + round));
		ASSERT_EQ(0, iopf_dev_attach(self->ep.dev, space[0].hwpt_id));
		ASSERT_LIB(fill(&self->ep, &space[0], BASE + round * 0x4000, 0x3000,
				~SEED - round));
		ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, space[1].pasid));
		ASSERT_LIB(fill(&self->ep, &space[0], BASE + round * 0x4000, 0x4000,
				~SEED - round));
		ASSERT_DATA(&space[1], BASE + round * 0x4000, 0x3000, SEED + round);
		ASSERT_DATA(&space[0], BASE + round * 0x4000, 0x4000, ~SEED - round);
		ASSERT_LIB(iopf_dev_detach(self->ep.dev));
	}
	/* The last PASID goes while there is no RID. */
	ASSERT_EQ(0, attach_all(&self->ep, space));
	ASSERT_LIB(fill(&self->ep, &space[2], BASE, 0x4000, SEED));
	for (round = 1; round < NR_SPACES; round++)
		ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev,
						   space[round].pasid));
	expect_dma_faults(self->found.bdf[0], DMA_ANY_PASID, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, &space[2], BASE));
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, &space[0], BASE));
	expect_no_more_on_console();
	ASSERT_EQ(0, iopf_dev_attach(self->ep.dev, space[0].hwpt_id));
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 0x4000, SEED));
}

/*
 * The page table of the RID is replaced, goes and comes, while the endpoint works with a
 * PASID, which does not notice.
 */
TEST_PASID(rid_moves)
{
	struct space *space = self->space;
	unsigned int slot, round;
	struct testdev_result r;

	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, space[1].pasid,
					   space[1].hwpt_id));
	ASSERT_LIB(fill(&self->ep, &space[1], BASE, 1 << 20, SEED));
	ASSERT_LIB(expect_blocked_interrupts(&self->ep, self->found.bdf[0]));
	for (round = 0; round < 10; round++) {
		ASSERT_LIB(start_in(&self->ep, &space[1], IOPF_TD_OP_FILL, BASE,
				    1 << 20, SEED + round, &slot));
		while (!testdev_done(&self->ep.td, slot, &r)) {
			ASSERT_EQ(0, iopf_dev_attach(self->ep.dev,
						     space[2].hwpt_id));
			ASSERT_LIB(iopf_dev_detach(self->ep.dev));
			ASSERT_EQ(0, iopf_dev_attach(self->ep.dev,
						     space[0].hwpt_id));
		}
		ASSERT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s", testdev_status(r.status));
		EXPECT_EQ(0, r.nr_pr);
		ASSERT_DATA(&space[1], BASE, 1UL << 20, SEED + round);
	}
	expect_no_more_on_console();
	ASSERT_LIB(fill(&self->ep, &space[0], BASE, 0x4000, SEED));
}

TEST_PASID(numbers)
{
	struct iopf_dev *dev = self->ep.dev;
	__u32 hwpt_id = self->space[1].hwpt_id;
	struct iopf_hw_info info;

	ASSERT_LIB(iopf_dev_hw_info(dev, &info));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 0, hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 1U << info.pasid_bits,
						 hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 1U << 20, hwpt_id));
	EXPECT_EQ(-ENOSPC, iopf_dev_attach_pasid(dev, 1U << 31, hwpt_id));
	EXPECT_EQ(0, iopf_dev_detach_pasid(dev, 1U << 31));
	EXPECT_EQ(0, iopf_dev_attach_pasid(dev, 1, hwpt_id));
	EXPECT_EQ(0, iopf_dev_attach_pasid(dev, (1U << info.pasid_bits) - 1,
					   hwpt_id));
	EXPECT_EQ(0, iopf_dev_detach_pasid(dev, 1));
	EXPECT_EQ(0, iopf_dev_detach_pasid(dev, (1U << info.pasid_bits) - 1));
}

/* The highest addresses that can be mapped are as good as any. */
TEST_PASID(below_limit)
{
	const size_t length = 0x4000;
	struct space high;
	__u64 last;
	int i;

	ASSERT_EQ(0, attach_all(&self->ep, self->space));
	for (i = 0; i < NR_SPACES; i++) {
		high = self->space[i];
		ASSERT_LIB(iopf_ioas_last(self->ctx, high.ioas_id, &last));
		/* No table of PASIDs can hold more. */
		ASSERT_GT(1ULL << 57, last);
		ASSERT_LIB(iopf_backing_anon(self->ctx, high.ioas_id,
					     last + 1 - length, length, IOPF_RW, 0,
					     &high.backing));
		ASSERT_LIB(fill(&self->ep, &high, last + 1 - length, length,
				SEED + i));
		ASSERT_DATA(&high, last + 1 - length, length, SEED + i);
		iopf_backing_close(high.backing);
	}
}

/* What cannot be beside PASIDs is refused when it is asked for, not when it is attached. */
TEST_PASID(flags)
{
	static const __u32 flags[] = {
		IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		IOMMU_HWPT_ALLOC_NEST_PARENT,
	};
	struct space *space = self->space;
	unsigned int i;
	__u32 hwpt_id;
	int ret;

	ASSERT_EQ(0, attach_all(&self->ep, space));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ret = hwpt_alloc(self->ctx, iopf_dev_id(self->ep.dev),
				 space[0].ioas_id,
				 IOMMU_HWPT_ALLOC_PASID | flags[i], NULL, &hwpt_id);
		if (ret) {
			EXPECT_EQ(-EOPNOTSUPP, ret);
			continue;
		}
		EXPECT_EQ(0, iopf_dev_attach(self->ep.dev, hwpt_id));
		ASSERT_EQ(0, iopf_dev_attach(self->ep.dev, space[0].hwpt_id));
		ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id));
	}
	ASSERT_LIB(fill(&self->ep, &space[1], BASE, 4096, SEED));
}

TEST_PASID(bad_sizes)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = offsetof(struct vfio_device_attach_iommufd_pt, pasid),
		.flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = self->space[1].hwpt_id,
		.pasid = 5,
	};
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = offsetof(struct vfio_device_detach_iommufd_pt, pasid),
		.flags = VFIO_DEVICE_DETACH_PASID,
	};
	int fd = iopf_dev_fd(self->ep.dev);

	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach));
	EXPECT_EQ(EINVAL, errno);
	attach.argsz = sizeof(attach);
	attach.flags = 2;
	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	EXPECT_EQ(EINVAL, errno);
	detach.argsz = sizeof(detach);
	detach.flags = 2;
	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach));
	EXPECT_EQ(EINVAL, errno);
	/* more than the kernel knows is not looked at */
	attach.argsz = 4096;
	attach.flags = VFIO_DEVICE_ATTACH_PASID;
	EXPECT_EQ(0, ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	EXPECT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, 5));
}

/* The id cannot be given back: nothing stays attached, and the RID is left alone. */
TEST_PASID(read_only_argument)
{
	struct vfio_device_attach_iommufd_pt *attach;
	struct space *space = &self->space[1];
	int fd = iopf_dev_fd(self->ep.dev);

	attach = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, attach);
	*attach = (struct vfio_device_attach_iommufd_pt){
		.argsz = sizeof(*attach),
		.flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = space->hwpt_id,
		.pasid = space->pasid,
	};
	ASSERT_EQ(0, mprotect(attach, 4096, PROT_READ));
	expect_dma_faults(self->found.bdf[0], space->pasid, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_LT(IOPF_TD_ST_OK, fail(&self->ep, space, BASE));
	ASSERT_LIB(fill(&self->ep, &self->space[0], BASE, 4096, SEED));
	/* nobody has the page table */
	EXPECT_LIB(iopf_destroy(self->ctx, space->hwpt_id));
	space->hwpt_id = 0;
	expect_no_more_on_console();
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices whose accesses the IOMMU holds until their page is there (stall model of the
 * Arm SMMUv3), through VFIO and iommufd, with the emulated test endpoint 1234:11f0.
 *
 * Such a device asks for nothing: it has neither ATS nor PRI. The record of a fault is
 * that of a page request with one page, and the answer makes the access be tried again
 * or fail.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_late.h"

#define TEST_SECONDS	900
#define PAGE		4096
/* As many transfers as the endpoint does at a time */
#define NR_CONTEXTS	16
#define TEST_STALL(name) TEST_F_TIMEOUT(stall, name, TEST_SECONDS)

static __u32 held(struct endpoint *ep)
{
	return testdev_reg(&ep->td, IOPF_TD_REG_CNT_STALL);
}

static __u8 *page(struct endpoint *ep, unsigned int nr)
{
	return iopf_backing_ptr(ep->backing, BASE + nr * PAGE);
}

static int start_write(struct endpoint *ep, unsigned int nr, unsigned int *slot)
{
	return start_op(ep, IOPF_TD_OP_FILL, 0, BASE + nr * PAGE, PAGE, slot);
}

/*
 * Start writes to @nr pages and read the fault of each, in the order of @g. Records of
 * the library are there until it reads again: these are copies.
 */
static int hold_writes(struct endpoint *ep, unsigned int nr, unsigned int *slot,
		       struct iopf_group *g)
{
	static struct iopf_request rec[NR_CONTEXTS];
	unsigned int i;
	int ret = 0;

	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, NR_CONTEXTS);
	for (i = 0; i < nr && !ret; i++)
		ret = start_write(ep, i, &slot[i]);
	for (i = 0; i < nr && !ret; i++) {
		ret = next_group(ep, &g[i]);
		if (!ret) {
			rec[i] = g[i].rec[0];
			g[i].rec = &rec[i];
		}
	}
	return ret;
}

/* A write that failed, and has written nothing. */
static int check_failed(struct endpoint *ep, unsigned int slot, unsigned int nr)
{
	struct testdev_result r;
	unsigned int i;
	int ret;

	ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_ACCESS_ERROR || r.done)
		return iopf_err(-EIO, "%s, %u bytes done",
				testdev_status(r.status), r.done);
	for (i = 0; i < PAGE; i++)
		if (page(ep, nr)[i])
			return iopf_err(-EIO, "byte %u was written", i);
	return 0;
}

/* A write that is done. */
static int check_done(struct endpoint *ep, unsigned int slot, unsigned int nr)
{
	struct testdev_result r;
	int ret;

	ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "%s", testdev_status(r.status));
	if (testdev_pattern_check(page(ep, nr), PAGE, SEED, 0) != PAGE)
		return iopf_err(-EIO, "page %u is not what was written", nr);
	return 0;
}

FIXTURE(stall)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;
};

FIXTURE_SETUP(stall)
{
	iopf_pci_scan(find_silent, &self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 without PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ASSERT_LIB(endpoint_open(&self->ep, self->ctx, self->found.bdf[0],
				 NULL));
	ASSERT_TRUE(testdev_may_be_held(&self->ep.td))
		TH_LOG("the endpoint cannot wait: stall=on");
}

FIXTURE_TEARDOWN(stall)
{
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
}

TEST_STALL(missing_write)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(start_write(ep, 0, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(1, g.nr);
	EXPECT_EQ(BASE, g.rec[0].addr & ~(PAGE - 1ULL));
	EXPECT_EQ(IOPF_WRITE, g.rec[0].perm & IOPF_WRITE);
	EXPECT_EQ(iopf_dev_id(ep->dev), g.dev_id);
	EXPECT_FALSE(g.pasid_valid);
	/* The access waits as long as the answer does. */
	EXPECT_FALSE(testdev_done(&ep->td, slot, &r));
	EXPECT_EQ(1, held(ep));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(check_done(ep, slot, 0));
	/* Mapped now: nothing is held. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, PAGE));
	EXPECT_EQ(1, held(ep));
}

TEST_STALL(missing_read)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	testdev_pattern(page(ep, 0), PAGE, SEED, 0);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_COMPARE, 0, BASE, PAGE, &slot));
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(IOPF_READ, g.rec[0].perm & IOPF_RW);
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
}

/* Over the edge of a page, and all of the memory. */
TEST_STALL(long_transfers)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 4093, 7));
	EXPECT_EQ(2, held(ep));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 1 << 20));
	EXPECT_EQ(256, held(ep));
	EXPECT_EQ(1 << 20, testdev_pattern_check(page(ep, 0), 1 << 20, SEED, 0));
}

TEST_STALL(refused)
{
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(start_write(ep, 0, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie, IOPF_INVALID));
	ASSERT_LIB(check_failed(ep, slot, 0));
	/* That was this access, and not the device. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, PAGE));
}

/* Success without a page: the access is tried again, and held again. */
TEST_STALL(success_without_page)
{
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot, i;

	ASSERT_LIB(start_write(ep, 0, &slot));
	for (i = 1; i <= 10; i++) {
		ASSERT_LIB(next_group(ep, &g));
		EXPECT_EQ(i, held(ep));
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie, IOPF_SUCCESS));
	}
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(check_done(ep, slot, 0));
}

/* The answer to one of several is for that one. */
TEST_STALL(answers_in_any_order)
{
	struct endpoint *ep = &self->ep;
	struct iopf_group g[NR_CONTEXTS];
	unsigned int slot[NR_CONTEXTS], nr;
	struct testdev_result r;
	int i;

	ASSERT_LIB(hold_writes(ep, NR_CONTEXTS, slot, g));
	for (i = NR_CONTEXTS - 1; i >= 0; i--) {
		nr = (g[i].rec[0].addr - BASE) / PAGE;
		ASSERT_GT(NR_CONTEXTS, nr);
		EXPECT_FALSE(testdev_done(&ep->td, slot[nr], &r));
		if (i % 3) {
			ASSERT_LIB(serve_group(ep, &g[i]));
			ASSERT_LIB(check_done(ep, slot[nr], nr));
		} else {
			ASSERT_LIB(iopf_queue_answer(ep->queue, g[i].cookie,
						     IOPF_INVALID));
			ASSERT_LIB(check_failed(ep, slot[nr], nr));
		}
	}
}

TEST_STALL(answers_in_one_write)
{
	struct endpoint *ep = &self->ep;
	struct iopf_response resp[NR_CONTEXTS];
	struct iopf_group g[NR_CONTEXTS];
	unsigned int slot[NR_CONTEXTS], i;
	struct iopf_served served;

	ASSERT_LIB(hold_writes(ep, NR_CONTEXTS, slot, g));
	for (i = 0; i < NR_CONTEXTS; i++) {
		ASSERT_LIB(iopf_backing_serve(ep->backing, &g[i], &served));
		resp[i].cookie = g[i].cookie;
		resp[i].code = served.code;
	}
	ASSERT_EQ(NR_CONTEXTS,
		  iopf_queue_answer_many(ep->queue, resp, NR_CONTEXTS));
	for (i = 0; i < NR_CONTEXTS; i++)
		ASSERT_LIB(check_done(ep, slot[i], i));
}

/* No device keeps a translation, but the IOMMU does. */
TEST_STALL(unmap_and_again)
{
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, PAGE));
	ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE, PAGE));
	memset(page(ep, 0), 0, PAGE);
	ASSERT_LIB(start_write(ep, 0, &slot));
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(0, page(ep, 0)[1]);
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(check_done(ep, slot, 0));
}

/* Nobody can answer any more, so the kernel does. */
TEST_STALL(close_fault_fd)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], later, i;
	struct iopf_group g[3];

	ASSERT_LIB(hold_writes(ep, 3, slot, g));
	iopf_queue_close(ep->queue);
	ep->queue = NULL;
	ep->shared_queue = true;
	for (i = 0; i < 3; i++)
		ASSERT_LIB(check_failed(ep, slot[i], i));
	/* And goes on with what comes later. */
	ASSERT_LIB(start_write(ep, 0, &later));
	ASSERT_LIB(check_failed(ep, later, 0));
}

/* What was held fails, and what comes later finds no page table. */
TEST_STALL(detach)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], later, i;
	struct iopf_group g[3];

	ASSERT_LIB(hold_writes(ep, 3, slot, g));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	for (i = 0; i < 3; i++)
		ASSERT_LIB(check_failed(ep, slot[i], i));
	ASSERT_LIB(start_write(ep, 3, &later));
	ASSERT_LIB(check_failed(ep, later, 3));
	ASSERT_NE(0, iopf_queue_answer(ep->queue, g[0].cookie, IOPF_SUCCESS));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4 * PAGE));
}

static int call_detach(struct endpoint *ep)
{
	return iopf_dev_detach(ep->dev);
}

/* The same for what the driver has not heard of yet. */
TEST_STALL(late_detach)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot;
	struct late late;
	pid_t pid;
	int ret;

	ret = late_begin(&late);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ret = start_write(ep, 0, &slot);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_CNT_STALL, 1);
	if (!ret && iopf_queue_wait(ep->queue, 0))
		ret = iopf_err(-EIO, "the driver was not late");
	if (!ret)
		ret = late_call(&pid, call_detach, ep);
	late_end(&late);
	ASSERT_LIB(ret);
	ASSERT_LIB(late_result(pid));
	ASSERT_LIB(check_failed(ep, slot, 0));
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, PAGE));
	EXPECT_EQ(2, held(ep));
}

/* What is held at a replace is tried again, in the new table. */
TEST_STALL(replace)
{
	struct endpoint *ep = &self->ep;
	__u32 old = ep->hwpt_id;
	unsigned int slot[3], i;
	struct iopf_group g[3];

	ASSERT_LIB(hold_writes(ep, 3, slot, g));
	ASSERT_LIB(endpoint_attach(ep));
	ASSERT_LIB(iopf_destroy(self->ctx, old));
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(next_group(ep, &g[i]));
		ASSERT_LIB(serve_group(ep, &g[i]));
	}
	for (i = 0; i < 3; i++)
		ASSERT_LIB(check_done(ep, slot[i], i));
}

/* The device forgets its accesses, and an answer to one of them hurts nobody. */
TEST_STALL(reset)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], i;
	struct iopf_group g[3];

	for (i = 0; i < 3; i++) {
		ASSERT_LIB(hold_writes(ep, 3, slot, g));
		ASSERT_LIB(iopf_dev_reset(ep->dev));
		iopf_queue_answer(ep->queue, g[0].cookie, IOPF_SUCCESS);
		ASSERT_LIB(testdev_start(&ep->td));
		ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4 * PAGE));
		ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE, 4 * PAGE));
		ASSERT_LIB(testdev_start(&ep->td));
		memset(page(ep, 0), 0, 4 * PAGE);
	}
}

/* A page table that takes no faults: the access fails, and nothing waits. */
TEST_STALL(no_queue)
{
	struct endpoint *ep = &self->ep;
	__u32 plain, old = ep->hwpt_id;
	unsigned int slot;

	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   NULL, &plain));
	ASSERT_LIB(iopf_dev_attach(ep->dev, plain));
	expect_dma_faults(self->found.bdf[0], DMA_NO_PASID, "100000000",
			  DMA_BEYOND_TABLE);
	ASSERT_LIB(start_write(ep, 0, &slot));
	ASSERT_LIB(check_failed(ep, slot, 0));
	expect_no_more_on_console();
	ASSERT_LIB(iopf_backing_map(ep->backing, BASE, PAGE, IOPF_RW));
	ASSERT_LIB(start_write(ep, 0, &slot));
	ASSERT_LIB(check_done(ep, slot, 0));
	ASSERT_LIB(iopf_dev_attach(ep->dev, old));
	ASSERT_LIB(iopf_destroy(self->ctx, plain));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 2 * PAGE));
}

/* The devices of one IOMMU do not wait for each other's programs. */
TEST_STALL(other_device)
{
	struct endpoint *ep = &self->ep, other;
	struct iopf_group g[NR_CONTEXTS];
	unsigned int slot[NR_CONTEXTS];

	if (self->found.nr < 2)
		SKIP(return, "takes two endpoints");
	ASSERT_LIB(endpoint_open(&other, self->ctx, self->found.bdf[1], NULL));
	ASSERT_LIB(hold_writes(ep, NR_CONTEXTS, slot, g));
	ASSERT_LIB(transfer(&other, IOPF_TD_OP_FILL, BASE, 64 * PAGE));
	EXPECT_EQ(64, held(&other));
	EXPECT_EQ(NR_CONTEXTS, held(ep));
	endpoint_close(&other);
}

/* A program that dies leaves nothing behind. */
TEST_STALL(killed)
{
	struct endpoint *ep = &self->ep;
	int status, i;
	pid_t pid;

	endpoint_close(ep);
	iopf_ctx_close(self->ctx);
	self->ctx = NULL;
	for (i = 0; i < 5; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			unsigned int slot[NR_CONTEXTS];
			struct iopf_group g[NR_CONTEXTS];

			if (!iopf_ctx_open(&self->ctx) &&
			    !endpoint_open(ep, self->ctx, self->found.bdf[0],
					   NULL) &&
			    !hold_writes(ep, NR_CONTEXTS, slot, g))
				kill(getpid(), SIGKILL);
			_exit(1);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 16 * PAGE));
}

TEST_HARNESS_MAIN

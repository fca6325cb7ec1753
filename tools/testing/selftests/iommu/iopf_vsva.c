// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces of processes through VFIO and iommufd, end to end: the emulated test
 * endpoint 1234:11f0 works with the memory of this program, and of others that this one
 * may trace, at their virtual addresses. No driver of the kernel has a part in it.
 *
 * The endpoint keeps translations in a cache like hardware does. So whenever the kernel
 * takes a page away and does not have the cache invalidated, the endpoint goes on with
 * the old page, and the data are wrong. Nothing depends on timing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <fcntl.h>
#include <linux/iopf_process.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_late.h"

#define TEST_SECONDS	1800
#define PASID		5
#define RID		0
#define PAGE		4096UL
#define AT		((char *)0x10000000000)
#define BIG		(4UL << 20)
#define NR_MANY		256
#define NR_OWNERS	100
#define NR_ASKED	8
/* What the kernel lets one process have */
#define NR_HWPTS	64
#define SOMEBODY	4242

#define TEST_VSVA(name) TEST_F_TIMEOUT(vsva, name, TEST_SECONDS)

/* How a transfer ends that gets no page, see iopf_vpasid.c */
static __u32 refusal;

/* All test endpoints on VFIO that can ask for no page. */
static int find_silent(const struct iopf_pci *pci, void *arg)
{
	struct found *found = arg;

	if (testdev_is(pci) && pci->cdev[0] && !pci->pri &&
	    found->nr < MAX_DEVICES)
		memcpy(found->bdf[found->nr++], pci->bdf, sizeof(pci->bdf));
	return 0;
}

static bool asks(void)
{
	return refusal == IOPF_TD_ST_RSP_INVALID;
}

/* The errno of the ioctl itself */
static int alloc_process(struct iopf_ctx *ctx, __u32 dev_id, int pidfd,
			 __u32 *hwpt_id)
{
	struct iopf_hwpt_alloc_process cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pidfd = pidfd,
	};

	if (ioctl(iopf_ctx_fd(ctx), IOPF_HWPT_ALLOC_PROCESS, &cmd))
		return -errno;
	*hwpt_id = cmd.out_hwpt_id;
	return 0;
}

FIXTURE(vsva)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;	/* with the queue and the memory of the RID */
	__u32 own;		/* page table of this process */
};

FIXTURE_SETUP(vsva)
{
	struct endpoint *ep = &self->ep;
	struct iopf_hw_info info;
	int ret;

	refusal = IOPF_TD_ST_RSP_INVALID;
	iopf_pci_scan(find_endpoint, &self->found);
	if (!self->found.nr) {
		refusal = IOPF_TD_ST_ACCESS_ERROR;
		iopf_pci_scan(find_silent, &self->found);
	}
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ep->ctx = self->ctx;
	ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[0], &ep->dev));
	ASSERT_LIB(iopf_dev_hw_info(ep->dev, &info));
	if (!info.pasid_bits)
		SKIP(return, "the device has no PASIDs");
	ret = iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
				      IOPF_PROCESS_SELF, &self->own);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ep->ioas_id));
	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ASSERT_LIB(iopf_hwpt_alloc_pasid(self->ctx, iopf_dev_id(ep->dev),
					 ep->ioas_id, ep->queue, &ep->hwpt_id));
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, BASE, SPAN, IOPF_RW, 0,
				     &ep->backing));
	ASSERT_EQ(0, iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(testdev_open(ep->dev, &ep->td));
	if (!asks() && !testdev_may_be_held(&ep->td))
		SKIP(return, "the endpoint neither asks nor waits");
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, NR_ASKED);
}

FIXTURE_TEARDOWN(vsva)
{
	struct endpoint *ep = &self->ep;

	if (ep->td.dev)
		EXPECT_LIB(check_answers(ep, -1, -1));
	testdev_close(&ep->td);
	iopf_dev_close(ep->dev);
	iopf_backing_close(ep->backing);
	if (ep->hwpt_id)
		iopf_destroy(self->ctx, ep->hwpt_id);
	iopf_queue_close(ep->queue);
	if (ep->ioas_id)
		iopf_destroy(self->ctx, ep->ioas_id);
	if (self->own)
		EXPECT_LIB(iopf_destroy(self->ctx, self->own));
	iopf_ctx_close(self->ctx);
}

static void *map(size_t length)
{
	void *mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static int start(struct endpoint *ep, __u32 pasid, unsigned int opcode,
		 const void *mem, __u32 length, __u32 seed, unsigned int *slot)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = pasid ? IOPF_TD_F_PASID : 0,
		.pasid = pasid,
		.iova = (uintptr_t)mem,
		.length = length,
		.data = seed,
	};

	return testdev_submit(&ep->td, &op, slot);
}

/* The status of a transfer, or a negative errno. The kernel serves. */
static int transfer_at(struct endpoint *ep, __u32 pasid, unsigned int opcode,
		       const void *mem, __u32 length, __u32 seed)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start(ep, pasid, opcode, mem, length, seed, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	return ret ?: r.status;
}

static int fill(struct endpoint *ep, __u32 pasid, const void *mem, __u32 length,
		__u32 seed)
{
	return transfer_at(ep, pasid, IOPF_TD_OP_FILL, mem, length, seed);
}

static int compare(struct endpoint *ep, __u32 pasid, const void *mem,
		   __u32 length, __u32 seed)
{
	return transfer_at(ep, pasid, IOPF_TD_OP_COMPARE, mem, length, seed);
}

static bool is_zero(const char *mem, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		if (mem[i])
			return false;
	return true;
}

#define ASSERT_STATUS(status, call) do { \
	int __got = (call); \
	\
	ASSERT_EQ(status, __got) \
		TH_LOG("%s", __got < 0 ? iopf_error() : testdev_status(__got)); \
} while (0)
#define ASSERT_OK(call)		ASSERT_STATUS(IOPF_TD_ST_OK, call)
#define ASSERT_REFUSED(call)	ASSERT_STATUS(refusal, call)

#define ASSERT_PATTERN(mem, length, seed) do { \
	size_t __length = length; \
	\
	ASSERT_EQ(__length, testdev_pattern_check(mem, __length, seed, 0)); \
} while (0)

/* ---- this process --------------------------------------------------------------- */

TEST_VSVA(own_memory)
{
	char *mem = map(BIG);

	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, PASID, self->own));
	ASSERT_OK(fill(&self->ep, PASID, mem, BIG, SEED));
	ASSERT_PATTERN(mem, BIG, SEED);
	ASSERT_OK(compare(&self->ep, PASID, mem, BIG, SEED));
	mem[BIG / 2] ^= 1;
	ASSERT_STATUS(IOPF_TD_ST_MISMATCH,
		      compare(&self->ep, PASID, mem, BIG, SEED));
	/* It has asked, and the kernel has served. */
	if (asks())
		EXPECT_LT(0, testdev_reg(&self->ep.td, IOPF_TD_REG_CNT_PR_LAST));
	ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, PASID));
}

TEST_HARNESS_MAIN

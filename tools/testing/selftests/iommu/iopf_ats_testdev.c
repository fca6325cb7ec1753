// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults through VFIO and iommufd with the smallest endpoint that has them:
 * pcie-ats-testdev of QEMU, 1234:11e9. It moves one page between memory and a buffer of
 * its own, asks for one page at a time and knows no PASID.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "iopf_console.h"
#include "iopf_endpoint.h"

#define TEST_SECONDS	900
#define PAGE		4096

#define VENDOR_ID	0x1234
#define DEVICE_ID	0x11e9

/* docs/specs/pcie-ats-testdev.rst of QEMU */
#define REG_ADDR	0x0
#define REG_CMD		0x8
#define CMD_RUN		0x1
#define CMD_TO_DEVICE	0x2
#define CMD_ERROR	0x80000000
/* Page requests for a page that does not come */
#define ASKS		8

FIXTURE(small)
{
	struct iopf_ctx *ctx;
	struct endpoint ep;		/* td is not used */
	struct iopf_region regs;
	char bdf[16];
};

static int find_small(const struct iopf_pci *pci, void *arg)
{
	if (pci->vendor == VENDOR_ID && pci->device == DEVICE_ID && pci->cdev[0])
		memcpy(arg, pci->bdf, sizeof(pci->bdf));
	return 0;
}

FIXTURE_SETUP(small)
{
	iopf_pci_scan(find_small, self->bdf);
	if (!self->bdf[0])
		SKIP(return, "no endpoint 1234:11e9 on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ASSERT_LIB(endpoint_prepare(&self->ep, self->ctx, self->bdf, NULL));
	ASSERT_LIB(iopf_dev_region(self->ep.dev, 0, &self->regs));
	ASSERT_LIB(iopf_dev_bus_master(self->ep.dev, true));
}

FIXTURE_TEARDOWN(small)
{
	iopf_region_close(&self->regs);
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
}

static void start(const struct iopf_region *regs, __u64 addr, __u32 direction)
{
	iopf_region_write32(regs, REG_ADDR, addr);
	iopf_region_write32(regs, REG_ADDR + 4, addr >> 32);
	iopf_region_write32(regs, REG_CMD, CMD_RUN | direction);
}

static __u32 status(const struct iopf_region *regs)
{
	return iopf_region_read32(regs, REG_CMD) & (CMD_RUN | CMD_ERROR);
}

/* How the transfer ends, if nobody serves it any more; or CMD_RUN after a long time */
static __u32 wait_end(const struct iopf_region *regs)
{
	unsigned int ms;

	for (ms = 0; ms < LONG_MS && status(regs) & CMD_RUN; ms++)
		nap();
	return status(regs);
}

/* The next request has to be for this page, and for nothing else. */
static int next_request(struct iopf_queue *queue, struct iopf_group *group,
			__u64 addr, __u32 perm)
{
	int ret = iopf_queue_wait(queue, LONG_MS);

	if (ret > 0)
		ret = iopf_queue_read(queue, group);
	if (ret <= 0)
		return ret ? ret : iopf_err(-ETIMEDOUT, "no page request came");
	if (group->nr != 1 || group->rec[0].flags != IOPF_REQUEST_LAST ||
	    group->rec[0].addr != addr || group->rec[0].perm != perm)
		return iopf_err(-EPROTO, "%u requests, flags %#x, perm %#x, at %#llx",
				group->nr, group->rec[0].flags,
				group->rec[0].perm, group->rec[0].addr);
	return 0;
}

/* Wait for the request for a page, map it, and say so. */
static int serve(struct endpoint *ep, __u64 addr, __u32 perm)
{
	struct iopf_group group;
	int ret = next_request(ep->queue, &group, addr, perm);

	return ret ? ret : serve_group(ep, &group);
}

/* From a page that is missing to another one; to write it asks for both permissions. */
TEST_F_TIMEOUT(small, copies_page, TEST_SECONDS)
{
	const __u64 from = BASE, to = BASE + 0x10000;
	__u8 *in = iopf_backing_ptr(self->ep.backing, from);
	__u8 *out = iopf_backing_ptr(self->ep.backing, to);

	testdev_pattern(in, PAGE, SEED, 0);
	start(&self->regs, from, CMD_TO_DEVICE);
	ASSERT_LIB(serve(&self->ep, from, IOPF_READ));
	ASSERT_EQ(0, wait_end(&self->regs));
	start(&self->regs, to, 0);
	ASSERT_LIB(serve(&self->ep, to, IOPF_RW));
	ASSERT_EQ(0, wait_end(&self->regs));
	EXPECT_EQ(0, memcmp(in, out, PAGE));
	/* The pages are there: it does not ask again. */
	start(&self->regs, to, CMD_TO_DEVICE);
	EXPECT_EQ(0, wait_end(&self->regs));
	EXPECT_EQ(0, iopf_queue_wait(self->ep.queue, 0));
}

/* Over the boundary of two pages, which are missing both */
TEST_F_TIMEOUT(small, crosses_pages, TEST_SECONDS)
{
	const __u64 at = BASE + PAGE - 64;
	__u8 *mem = iopf_backing_ptr(self->ep.backing, BASE);

	memset(mem, 0xff, 2 * PAGE);
	start(&self->regs, at, 0);
	ASSERT_LIB(serve(&self->ep, BASE, IOPF_RW));
	ASSERT_LIB(serve(&self->ep, BASE + PAGE, IOPF_RW));
	ASSERT_EQ(0, wait_end(&self->regs));
	/* A reset has left zeroes in the buffer. */
	EXPECT_EQ(0xff, mem[PAGE - 65]);
	EXPECT_EQ(0, mem[PAGE - 64]);
	EXPECT_EQ(0, mem[2 * PAGE - 65]);
	EXPECT_EQ(0xff, mem[2 * PAGE - 64]);
}

TEST_F_TIMEOUT(small, refused, TEST_SECONDS)
{
	__u8 *mem = iopf_backing_ptr(self->ep.backing, BASE);
	struct iopf_group group;

	memset(mem, 0xff, PAGE);
	start(&self->regs, BASE, 0);
	ASSERT_LIB(next_request(self->ep.queue, &group, BASE, IOPF_RW));
	ASSERT_EQ(CMD_RUN, status(&self->regs));
	ASSERT_LIB(iopf_queue_answer(self->ep.queue, group.cookie,
				     IOMMUFD_PAGE_RESP_INVALID));
	EXPECT_EQ(CMD_ERROR, wait_end(&self->regs));
	EXPECT_EQ(0xff, mem[0]);
	start(&self->regs, BASE, 0);
	ASSERT_LIB(serve(&self->ep, BASE, IOPF_RW));
	EXPECT_EQ(0, wait_end(&self->regs));
	EXPECT_EQ(0, mem[0]);
}

/* It hears yes, finds nothing, and gives up by itself. */
TEST_F_TIMEOUT(small, success_without_map, TEST_SECONDS)
{
	struct iopf_group group;
	unsigned int i;

	start(&self->regs, BASE, 0);
	for (i = 0; i < ASKS; i++) {
		ASSERT_LIB(next_request(self->ep.queue, &group, BASE, IOPF_RW));
		ASSERT_LIB(iopf_queue_answer(self->ep.queue, group.cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	}
	EXPECT_EQ(CMD_ERROR, wait_end(&self->regs));
	EXPECT_EQ(0, iopf_queue_wait(self->ep.queue, 0));
}

TEST_F_TIMEOUT(small, detach, TEST_SECONDS)
{
	struct iopf_group group;

	start(&self->regs, BASE, 0);
	ASSERT_LIB(next_request(self->ep.queue, &group, BASE, IOPF_RW));
	ASSERT_LIB(iopf_dev_detach(self->ep.dev));
	EXPECT_EQ(CMD_ERROR, wait_end(&self->regs));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(self->ep.queue, group.cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(iopf_dev_attach(self->ep.dev, self->ep.hwpt_id));
	start(&self->regs, BASE, 0);
	ASSERT_LIB(serve(&self->ep, BASE, IOPF_RW));
	EXPECT_EQ(0, wait_end(&self->regs));
}

TEST_F_TIMEOUT(small, unmap, TEST_SECONDS)
{
	__u8 *mem = iopf_backing_ptr(self->ep.backing, BASE);

	start(&self->regs, BASE, 0);
	ASSERT_LIB(serve(&self->ep, BASE, IOPF_RW));
	ASSERT_EQ(0, wait_end(&self->regs));
	ASSERT_LIB(iopf_backing_unmap(self->ep.backing, BASE, PAGE));
	memset(mem, 0xff, PAGE);
	start(&self->regs, BASE, 0);
	/* What was translated before would be written without asking. */
	ASSERT_LIB(serve(&self->ep, BASE, IOPF_RW));
	EXPECT_EQ(0, wait_end(&self->regs));
	EXPECT_EQ(0, mem[0]);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of a PCIe device through VFIO and iommufd, end to end: the
 * emulated test endpoint 1234:11f0 asks for pages, this program answers, and
 * the endpoint's own log says what reached it.
 *
 * All test endpoints that are bound to vfio-pci are used. Without one, all
 * tests are skipped. Nothing depends on timing: every wait ends with the event
 * it is for, or fails after a long time.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/iopf.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "iopf_console.h"
#include "iopf_counters.h"
#include "iopf_endpoint.h"
#include "iopf_failing.h"
#include "iopf_late.h"
#include "iopf_sysfs.h"
#include "iopf_trace.h"

#define TEST_SECONDS	900
/* What a page is full of that the device must not write */
#define UNTOUCHED	0x5a
#define TEST_IOPF(name) TEST_F_TIMEOUT(iopf, name, TEST_SECONDS)

static __u64 page_size;

/* A device that VFIO has and that cannot do page requests. */
static int find_without_pri(const struct iopf_pci *pci, void *arg)
{
	struct found *found = arg;

	if (!pci->cdev[0] || pci->pri)
		return 0;
	memcpy(found->bdf[found->nr++], pci->bdf, sizeof(pci->bdf));
	return 1;
}

FIXTURE(iopf)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;
};

FIXTURE_SETUP(iopf)
{
	int ret;

	page_size = sysconf(_SC_PAGESIZE);
	iopf_pci_scan(find_endpoint, &self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 with PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ret = endpoint_open(&self->ep, self->ctx, self->found.bdf[0], NULL);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "no fault queues on paging domains in this kernel");
	ASSERT_LIB(ret);
	ASSERT_NE(0, testdev_allocation(&self->ep.td))
		TH_LOG("page requests are off after the attach");
}

FIXTURE_TEARDOWN(iopf)
{
	/* Whatever the test did: nothing of it is left in the device. */
	if (self->ep.td.dev)
		EXPECT_LIB(check_answers(&self->ep, -1, -1));
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
}

TEST_IOPF(page_missing_write)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(1, g.nr);
	EXPECT_EQ(BASE, g.rec[0].addr);
	EXPECT_EQ(IOPF_WRITE, g.rec[0].perm & IOPF_WRITE);
	EXPECT_EQ(iopf_dev_id(ep->dev), g.dev_id);
	EXPECT_FALSE(g.pasid_valid);
	EXPECT_GT(512, g.grpid);
	/* The device waits as long as the answer does. */
	EXPECT_FALSE(testdev_done(&ep->td, slot, &r));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(1, r.nr_pr);
	EXPECT_EQ(4096, testdev_pattern_check(iopf_backing_ptr(ep->backing, BASE),
					      4096, SEED, 0));
	EXPECT_LIB(check_answers(ep, 1, 0));
	/* Mapped now: no more requests. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 4096));
	EXPECT_LIB(check_answers(ep, 1, 0));
}

TEST_IOPF(page_missing_read)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 4096));
	EXPECT_LIB(check_answers(ep, 1, 0));
}

/* Not at the start of a page, across a page boundary, and a single byte. */
TEST_IOPF(odd_transfers)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 4093, 7));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x10fff, 1));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE + 0x20801, 12289));
	EXPECT_LIB(check_answers(ep, -1, 0));
}

TEST_IOPF(device_ram)
{
	static const __u32 out[4] = { 0x11111111, 0x22222222, 0x33333333, 4 };
	struct endpoint *ep = &self->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_WRITE,
		.iova = BASE + 16,
		.length = sizeof(out),
		.ram = IOPF_TD_RAM_DATA,
	};
	struct testdev_result r;
	unsigned int slot;
	__u32 in[4] = { 0 };

	ASSERT_LIB(iopf_region_copy_out(&ep->td.ram, op.ram, out, sizeof(out)));
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(0, memcmp(iopf_backing_ptr(ep->backing, op.iova), out,
			    sizeof(out)));

	op.opcode = IOPF_TD_OP_READ;
	op.ram += 0x1000;
	op.iova = BASE + 0x100000;
	memcpy(iopf_backing_ptr(ep->backing, op.iova), out, sizeof(out));
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_LIB(iopf_region_copy_in(&ep->td.ram, op.ram, in, sizeof(in)));
	EXPECT_EQ(0, memcmp(in, out, sizeof(out)));
}

TEST_IOPF(atomic)
{
	struct endpoint *ep = &self->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FETCH_ADD,
		.iova = BASE + 0x40,
		.length = 8,
		.ram = IOPF_TD_RAM_DATA,
		.data = 5,
	};
	__u64 *value = iopf_backing_ptr(ep->backing, op.iova);
	struct testdev_result r;
	unsigned int slot;
	__u64 old = 0;

	*value = htole64(0x100000001ULL);
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(0x100000006ULL, le64toh(*value));
	ASSERT_LIB(iopf_region_copy_in(&ep->td.ram, op.ram, &old, sizeof(old)));
	EXPECT_EQ(0x100000001ULL, le64toh(old));
}

/* Every page once, in one group, with one answer and one map call. */
static void group_pages(struct __test_metadata *_metadata, struct endpoint *ep,
			unsigned int pages, unsigned int opcode)
{
	void *mem = iopf_backing_ptr(ep->backing, BASE);
	__u32 length = pages * 4096;
	bool seen[512] = { false };
	struct iopf_served served;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot, i;

	if (testdev_allocation(&ep->td) < pages)
		testdev_set(&ep->td, IOPF_TD_REG_HOSTILE,
			    IOPF_TD_HOSTILE_IGNORE_ALLOC);
	if (opcode == IOPF_TD_OP_COMPARE)
		testdev_pattern(mem, length, SEED, 0);
	ASSERT_LIB(start_op(ep, opcode, IOPF_TD_F_GROUP, BASE, length, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(pages, g.nr);
	for (i = 0; i < g.nr; i++) {
		__u64 page = (g.rec[i].addr - BASE) / 4096;

		ASSERT_GT(pages, page);
		EXPECT_FALSE(seen[page]);
		seen[page] = true;
	}
	ASSERT_LIB(iopf_backing_serve(ep->backing, &g, &served));
	EXPECT_EQ(1, served.runs);
	EXPECT_EQ((length + page_size - 1) / page_size, served.pages);
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie, served.code));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(length, r.done);
	EXPECT_EQ(length, testdev_pattern_check(mem, length, SEED, 0));
	EXPECT_LIB(check_answers(ep, 1, 0));
}

TEST_IOPF(group_write_2)
{
	group_pages(_metadata, &self->ep, 2, IOPF_TD_OP_FILL);
}

TEST_IOPF(group_read_16)
{
	group_pages(_metadata, &self->ep, 16, IOPF_TD_OP_COMPARE);
}

/* Just more records than fit in a page of memory. */
TEST_IOPF(group_write_103)
{
	group_pages(_metadata, &self->ep, 103, IOPF_TD_OP_FILL);
}

TEST_IOPF(group_write_512)
{
	group_pages(_metadata, &self->ep, 512, IOPF_TD_OP_FILL);
}

TEST_IOPF(group_read_512)
{
	group_pages(_metadata, &self->ep, 512, IOPF_TD_OP_COMPARE);
}

TEST_IOPF(many_transfers)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[100], i;
	struct testdev_result r;

	/* Several in flight at a time, answered in the order they come. */
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 16);
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP,
				    BASE + i * 0x10000, 0x3000, &slot[i]));
	}
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(serve_op(ep, slot[i], &r));
		ASSERT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s", testdev_status(r.status));
		ASSERT_EQ(0x3000,
			  testdev_pattern_check(iopf_backing_ptr(ep->backing,
								 BASE + i * 0x10000),
						0x3000, SEED, 0));
	}
	EXPECT_LIB(check_answers(ep, -1, 0));
}

TEST_IOPF(batched_answers)
{
	struct iopf_response resp[8];
	struct endpoint *ep = &self->ep;
	unsigned int slot[8], i;
	struct testdev_result r;
	struct iopf_served served;
	struct iopf_group g;

	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, ARRAY_SIZE(slot));
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE + i * 0x10000,
				    4096, &slot[i]));
	}
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(next_group(ep, &g));
		ASSERT_LIB(iopf_backing_serve(ep->backing, &g, &served));
		resp[i].cookie = g.cookie;
		resp[i].code = served.code;
	}
	ASSERT_EQ(ARRAY_SIZE(resp),
		  iopf_queue_answer_many(ep->queue, resp, ARRAY_SIZE(resp)));
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(wait_op(ep, slot[i], &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	}
	EXPECT_LIB(check_answers(ep, ARRAY_SIZE(slot), 0));
}

/* A write to the page at BASE, which was UNTOUCHED and has to be so still. */
static int check_refusal(struct endpoint *ep, const struct testdev_result *r)
{
	const __u8 *mem = iopf_backing_ptr(ep->backing, BASE);
	unsigned int i;

	if (r->status != IOPF_TD_ST_RSP_INVALID)
		return iopf_err(-EIO, "%s", testdev_status(r->status));
	if (r->fail_addr != BASE || r->done)
		return iopf_err(-EIO, "%u bytes done, failed at %#llx", r->done,
				r->fail_addr);
	for (i = 0; i < 4096; i++)
		if (mem[i] != UNTOUCHED)
			return iopf_err(-EIO, "byte %u was written", i);
	return 0;
}

TEST_IOPF(readonly_write)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot;

	iopf_backing_close(ep->backing);
	ep->backing = NULL;
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, BASE, SPAN,
				     IOPF_READ, 0, &ep->backing));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 4096));

	/* Mapped for reading: the device has to ask again, and may not. */
	memset(iopf_backing_ptr(ep->backing, BASE), UNTOUCHED, 4096);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_LIB(check_refusal(ep, &r));
	EXPECT_LIB(check_answers(ep, 1, 1));

	/* What it may do still works. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 4096));
	EXPECT_LIB(check_answers(ep, 1, 1));
}

TEST_IOPF(readonly_upgrade)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_served served;
	struct iopf_group g;
	unsigned int slot;

	iopf_backing_close(ep->backing);
	ep->backing = NULL;
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, BASE, SPAN,
				     IOPF_RW, IOPF_BACKING_EXACT, &ep->backing));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 8192));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_LIB(iopf_backing_serve(ep->backing, &g, &served));
	EXPECT_EQ(IOMMUFD_PAGE_RESP_SUCCESS, served.code);
	EXPECT_LE(1, served.upgraded);
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie, served.code));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	/* The page beside it kept its data and can be read. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, BASE, 8192));
	EXPECT_LIB(check_answers(ep, -1, 0));
}

/* Pages that are taken away come back, with nothing stale in the device. */
TEST_IOPF(unmap_and_again)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4096));
	ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE, 4096));
	EXPECT_EQ(0, iopf_backing_mapped(ep->backing));
	memset(iopf_backing_ptr(ep->backing, BASE), 0, 4096);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	/* A stale translation would write without asking. */
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(0, *(__u8 *)iopf_backing_ptr(ep->backing, BASE + 1));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(4096, testdev_pattern_check(iopf_backing_ptr(ep->backing, BASE),
					      4096, SEED, 0));
	EXPECT_LIB(check_answers(ep, 2, 0));
}

/* Memory of huge pages, if there are any */
static char *huge_memory(__u64 bytes)
{
	const __u64 huge = 2 << 20;
	char *at = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	at += -(unsigned long)at % huge;
	madvise(at, bytes, MADV_HUGEPAGE);
	memset(at, 0, bytes);
	return at;
}

/*
 * A range whose parts are unmapped one by one, as it does not begin where a page
 * table does. Its second part has a table of its own, which is freed. What the
 * memory is used for next must not be taken for a table.
 */
TEST_IOPF(unmap_tables)
{
	const __u64 mib = 1 << 20, iova = 2 * BASE + mib, at = iova + mib;
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot, i;
	char *memory, *other;

	memory = huge_memory(6 * mib);
	ASSERT_NE(NULL, memory);
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(iopf_ioas_map(self->ctx, ep->ioas_id,
					 memory + i * 3 * mib, 3 * mib, iova,
					 IOPF_RW));
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, at, 4096, &slot));
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
		EXPECT_EQ(4096, testdev_pattern_check(memory + i * 3 * mib + mib,
						      4096, SEED, 0));
		EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_CNT_PR));
		ASSERT_LIB(iopf_ioas_unmap(self->ctx, ep->ioas_id, iova,
					   3 * mib));
		/* Whoever gets the table next writes what no table may have. */
		other = mmap(NULL, 64 * mib, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, other);
		madvise(other, 64 * mib, MADV_NOHUGEPAGE);
		memset(other, 0xff, 64 * mib);
	}
}

TEST_IOPF(invalid)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	memset(iopf_backing_ptr(ep->backing, BASE), UNTOUCHED, 4096);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
				     IOMMUFD_PAGE_RESP_INVALID));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_LIB(check_refusal(ep, &r));
	EXPECT_LIB(check_answers(ep, 0, 1));

	/* INVALID is about this access, not about the interface. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4096));
	EXPECT_LIB(check_answers(ep, 1, 1));
}

/* The device asks, hears yes, and finds nothing: it gives up by itself. */
TEST_IOPF(success_without_map)
{
	struct endpoint *ep = &self->ep;
	__u32 rounds = testdev_reg(&ep->td, IOPF_TD_REG_PRI_RETRY);
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	__u32 i;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	for (i = 0; i < rounds; i++) {
		ASSERT_LIB(next_group(ep, &g));
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	}
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_NO_RETRY, r.status);
	EXPECT_LIB(check_answers(ep, rounds, 0));
}

/* All of them have to end with INVALID. */
static int closed_groups(struct endpoint *ep, const unsigned int *slot)
{
	struct testdev_result r;
	unsigned int i;
	int ret;

	for (i = 0; i < 3; i++) {
		ret = wait_op(ep, slot[i], &r);
		if (ret)
			return ret;
		if (r.status != IOPF_TD_ST_RSP_INVALID)
			return iopf_err(-EIO, "open transfer %u ended with: %s",
					i, testdev_status(r.status));
	}
	return check_answers(ep, -1, 3);
}

TEST_IOPF(detach)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3];
	struct iopf_group g;
	__u32 cookie;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(closed_groups(ep, slot));
	/* The kernel answered: there is nothing left to read or to answer. */
	EXPECT_EQ(0, iopf_queue_read(ep->queue, &g));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* A device at work meets the end of its page table: "not present". */
static void expect_faults_of_lost_table(const char *bdf)
{
	expect_dma_faults(bdf, DMA_NO_PASID, "1[0-9a-f]{8}", DMA_NO_TABLE);
}

TEST_IOPF(detach_attach_many)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot, i;

	expect_faults_of_lost_table(self->found.bdf[0]);
	for (i = 0; i < 20; i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, BASE,
				    0x4000, &slot));
		/* No wait: the request may be anywhere on its way. */
		ASSERT_LIB(iopf_dev_detach(ep->dev));
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_NE(IOPF_TD_ST_OK, r.status);
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	}
	expect_no_more_on_console();
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

TEST_IOPF(replace)
{
	struct endpoint *ep = &self->ep;
	struct iopf_queue *old_queue = ep->queue;
	struct iopf_backing *old_backing = ep->backing;
	__u32 old_hwpt = ep->hwpt_id, old_ioas = ep->ioas_id;
	struct testdev_result r;
	unsigned int slot[3], i;
	struct iopf_group g;
	__u32 cookie;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ep->ioas_id));
	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, BASE, SPAN, IOPF_RW,
				     0, &ep->backing));
	testdev_pattern(iopf_backing_ptr(ep->backing, BASE + 0x20000), 0x3000,
			SEED, 0);
	ASSERT_LIB(endpoint_attach(ep));
	/* What is open is asked of the new one again, and served by it. */
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(serve_op(ep, slot[i], &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%u: %s", i, testdev_status(r.status));
	}
	EXPECT_EQ(0, iopf_queue_read(old_queue, &g));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(old_queue, cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	/* Requests come to the new queue, pages from the new memory. */
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	EXPECT_EQ(0, iopf_queue_wait(old_queue, 0));
	/* Nothing holds the old objects any more. */
	iopf_backing_close(old_backing);
	EXPECT_LIB(iopf_destroy(self->ctx, old_hwpt));
	iopf_queue_close(old_queue);
	EXPECT_LIB(iopf_destroy(self->ctx, old_ioas));
}

TEST_IOPF(replace_same)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot[3], i;
	__u32 cookie;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	/* The same page table again changes nothing. */
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(iopf_backing_map(ep->backing, BASE, 4096, IOPF_RW));
	testdev_pattern(iopf_backing_ptr(ep->backing, BASE + 0x20000), 0x3000,
			SEED, 0);
	ASSERT_LIB(iopf_queue_answer(ep->queue, cookie,
				     IOMMUFD_PAGE_RESP_SUCCESS));
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(serve_op(ep, slot[i], &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s", testdev_status(r.status));
	}
	EXPECT_LIB(check_answers(ep, 3, 0));
}

/*
 * A driver may have to take a device off its page table, before the device gets one
 * that the hardware reads in another way. Page requests are off then, and cannot be
 * turned on while answers are due.
 */
TEST_IOPF(replace_other_format)
{
	static const __u32 format[] = {
		IOMMU_HWPT_ALLOC_PASID,
		IOMMU_HWPT_ALLOC_NEST_PARENT,
	};
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot[3], endless, i, k, nr = 0;
	__u32 cookie, table, open;

	for (k = 0; k < ARRAY_SIZE(format); k++) {
		if (hwpt_alloc(ep->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
			       format[k], ep->queue, &table))
			continue;
		nr++;
		testdev_pattern(iopf_backing_ptr(ep->backing, BASE + 0x20000),
				0x3000, SEED, 0);
		ASSERT_LIB(open_groups(ep, slot, &cookie));
		/* And one without an end, which nobody will ever answer. */
		open = testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING);
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL,
				    IOPF_TD_F_NOLAST | IOPF_TD_F_GROUP,
				    BASE + 0x60000, 0x3000, &endless));
		ASSERT_LIB(wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, open + 3));
		ASSERT_LIB(iopf_dev_attach(ep->dev, table));
		for (i = 0; i < 3; i++) {
			ASSERT_LIB(serve_op(ep, slot[i], &r));
			/* Asked of the new one again, or refused in between. */
			EXPECT_TRUE(r.status == IOPF_TD_ST_OK ||
				    r.status == IOPF_TD_ST_RSP_INVALID)
				TH_LOG("%u: %s", i, testdev_status(r.status));
		}
		EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, cookie,
						     IOMMUFD_PAGE_RESP_SUCCESS));
		ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x40000, 0x4000));
		/* And back. */
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
		ASSERT_LIB(iopf_destroy(ep->ctx, table));
		ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE, SPAN));
		ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x40000, 0x4000));
		/* Where page requests were on all the time the last group is open. */
		ASSERT_LIB(iopf_dev_detach(ep->dev));
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
		ASSERT_LIB(wait_op(ep, endless, &r));
		EXPECT_NE(IOPF_TD_ST_OK, r.status);
	}
	if (!nr)
		SKIP(return, "all page tables have one format");
}

/* The same with a device that does not listen: it has to forget what it waits for. */
TEST_IOPF(replace_deaf)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot[3], i;
	__u32 cookie, table;

	if (hwpt_alloc(ep->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
		       IOMMU_HWPT_ALLOC_PASID, ep->queue, &table))
		SKIP(return, "no page tables for PASIDs");
	ASSERT_LIB(open_groups(ep, slot, &cookie));
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_RSP);
	ASSERT_LIB(iopf_dev_attach(ep->dev, table));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, 0);
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(wait_op(ep, slot[i], &r));
		EXPECT_NE(IOPF_TD_ST_OK, r.status);
	}
	/* Its counters know of groups without an answer. */
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	ASSERT_LIB(iopf_destroy(ep->ctx, table));
}

/* To a page table without faults, and back. */
TEST_IOPF(replace_without_queue)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot[3], one;
	__u32 cookie, ioas_id;

	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ioas_id));
	ASSERT_LIB(open_groups(ep, slot, &cookie));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ioas_id));
	ASSERT_LIB(closed_groups(ep, slot));
	/*
	 * There nobody serves: the device is refused, or its ATS is off. AMD-Vi tells
	 * what is refused to a device that cannot ask for it.
	 */
	expect_amd_faults(self->found.bdf[0], DMA_NO_PASID, "100000000",
			  DMA_NO_ADDRESS);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &one));
	ASSERT_LIB(wait_op(ep, one, &r));
	expect_no_more_on_console();
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(0, iopf_queue_wait(ep->queue, 0));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	EXPECT_LIB(iopf_destroy(self->ctx, ioas_id));
}

/* Moving between page tables does not leak anything that shows. */
TEST_IOPF(replace_many)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	__u32 hwpt[2];
	unsigned int slot, i;

	hwpt[0] = ep->hwpt_id;
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   ep->queue, &hwpt[1]));
	for (i = 1; i < 20; i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP,
				    BASE + i * 0x10000, 0x4000, &slot));
		/* Answered by the replace, or asked again after it. */
		ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[i % 2]));
		ASSERT_LIB(serve_op(ep, slot, &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s", testdev_status(r.status));
	}
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[0]));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	EXPECT_LIB(iopf_destroy(self->ctx, hwpt[1]));
}

/*
 * Serve a bounded number of groups, so that a loop of replaces ends. What a replace
 * has answered meanwhile is none of ours.
 */
static int serve_some(struct endpoint *ep, int ms)
{
	struct iopf_group g;
	int ret;

	ret = iopf_queue_wait(ep->queue, ms);
	if (ret > 0)
		ret = iopf_queue_read(ep->queue, &g);
	if (ret > 0)
		ret = serve_group(ep, &g);
	return ret == -EINVAL ? 0 : ret;
}

/* Values of iommu_hw_info_type, which headers before 6.13, or 7.2, do not have */
#define HW_INFO_TYPE_ARM_SMMUV3	2
#define HW_INFO_TYPE_AMD	4

static __u32 iommu_type(struct endpoint *ep)
{
	struct iopf_hw_info info;

	return iopf_dev_hw_info(ep->dev, &info) ? IOMMU_HW_INFO_TYPE_NONE :
						  info.type;
}

/*
 * One entry of VT-d's PASID table, one pointer of an SMMUv3's stream table, and half
 * an entry of AMD-Vi's device table take another's place in one access. Where the
 * tables cannot be changed like that a device may have to ask once more, which is
 * answered: it does not fail.
 */
static bool replaces_unnoticed(struct endpoint *ep)
{
	__u32 type = iommu_type(ep);

	return type == IOMMU_HW_INFO_TYPE_INTEL_VTD ||
	       type == HW_INFO_TYPE_ARM_SMMUV3 || type == HW_INFO_TYPE_AMD;
}

/*
 * A device that asks for a translation as soon as it may, or as long as it may, is not
 * refused by an IOMMU that does not know of that yet, or does not any more.
 */
TEST_IOPF(asks_early)
{
	struct endpoint *ep = &self->ep;
	__u32 asked, refused;

	asked = testdev_reg(&ep->td, IOPF_TD_REG_CNT_TR);
	refused = testdev_reg(&ep->td, IOPF_TD_REG_CNT_TR_REFUSED);
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE,
		    IOPF_TD_HOSTILE_ASK_EARLY | IOPF_TD_HOSTILE_ASK_LATE);
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	EXPECT_EQ(asked + 1, testdev_reg(&ep->td, IOPF_TD_REG_CNT_TR));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	EXPECT_EQ(asked + 2, testdev_reg(&ep->td, IOPF_TD_REG_CNT_TR));
	EXPECT_EQ(refused, testdev_reg(&ep->td, IOPF_TD_REG_CNT_TR_REFUSED));
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, 0);
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/*
 * A device that finds everything mapped does not notice that its page table is
 * replaced by one with the same content, again and again.
 */
TEST_IOPF(replace_no_gap)
{
	struct endpoint *ep = &self->ep;
	bool unnoticed = replaces_unnoticed(ep);
	unsigned int slot[200], i, nr = 0;
	struct testdev_result r;
	__u32 hwpt[2];
	void *mem;

	hwpt[0] = ep->hwpt_id;
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   ep->queue, &hwpt[1]));
	ASSERT_LIB(iopf_backing_map(ep->backing, BASE, SPAN, IOPF_RW));
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 16);
	testdev_set(&ep->td, IOPF_TD_REG_PRI_RETRY, 1000);
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0,
				    BASE + i % 8 * (SPAN / 8), SPAN / 8,
				    &slot[i]));
	}
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		while (!testdev_done(&ep->td, slot[i], &r)) {
			ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[++nr & 1]));
			if (!unnoticed)
				ASSERT_LIB(serve_some(ep, 0));
		}
		ASSERT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%s at %#llx after %u replaces",
			       testdev_status(r.status), r.fail_addr, nr);
	}
	TH_LOG("%u replaces", nr);
	for (i = 0; i < 8; i++) {
		mem = iopf_backing_ptr(ep->backing, BASE + i * (SPAN / 8));
		EXPECT_EQ(SPAN / 8,
			  testdev_pattern_check(mem, SPAN / 8, SEED, 0));
	}
	EXPECT_LIB(check_answers(ep, unnoticed ? 0 : -1, 0));
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[0]));
	EXPECT_LIB(iopf_destroy(self->ctx, hwpt[1]));
}

/*
 * Nothing is mapped, everything is served, and the page table is replaced all
 * the time: no transfer fails that both would have served.
 */
TEST_IOPF(replace_serves_both)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[64], i, nr = 0;
	struct testdev_result r;
	__u32 hwpt[2];

	hwpt[0] = ep->hwpt_id;
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   ep->queue, &hwpt[1]));
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 16);
	testdev_set(&ep->td, IOPF_TD_REG_PRI_RETRY, 1000);
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, i % 2 ? IOPF_TD_F_GROUP : 0,
				    BASE + i * 0x10000, 0x8000, &slot[i]));
	}
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		while (!testdev_done(&ep->td, slot[i], &r)) {
			ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[++nr & 1]));
			ASSERT_LIB(serve_some(ep, 10));
		}
		EXPECT_EQ(IOPF_TD_ST_OK, r.status)
			TH_LOG("%u: %s at %#llx after %u replaces", i,
			       testdev_status(r.status), r.fail_addr, nr);
	}
	TH_LOG("%u replaces", nr);
	EXPECT_LIB(check_answers(ep, -1, 0));
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[0]));
	EXPECT_LIB(iopf_destroy(self->ctx, hwpt[1]));
}

TEST_IOPF(close_fault_fd)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], one;
	struct testdev_result r;
	__u32 cookie;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	iopf_queue_close(ep->queue);
	ep->queue = NULL;
	ep->shared_queue = true;
	/* Nobody can answer any more, so the kernel does. */
	ASSERT_LIB(closed_groups(ep, slot));
	/* And goes on with requests that come later. */
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &one));
	ASSERT_LIB(wait_op(ep, one, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	/* A new queue makes the device useful again. */
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(iopf_destroy(self->ctx, ep->hwpt_id));
	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ep->shared_queue = false;
	ASSERT_LIB(endpoint_attach(ep));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* In a child: requests on their way, read and unread, then wait for the end. */
static void fault_and_wait(const char *bdf, int ready)
{
	struct iopf_ctx *ctx;
	unsigned int slot[3];
	struct endpoint ep;
	__u32 cookie;
	char ok = 0;

	if (!iopf_ctx_open(&ctx) && !endpoint_open(&ep, ctx, bdf, NULL) &&
	    !open_groups(&ep, slot, &cookie))
		ok = 1;
	else
		fprintf(stderr, "# child: %s\n", iopf_error());
	if (write(ready, &ok, 1) == 1)
		pause();
	_exit(1);
}

TEST_IOPF(killed)
{
	struct pollfd pfd = { .events = POLLIN };
	int fds[2], status, i;
	char ok = 0;
	pid_t pid;

	/* The child needs the device for itself. */
	endpoint_close(&self->ep);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pipe(fds));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			fault_and_wait(self->found.bdf[0], fds[1]);
		close(fds[1]);
		pfd.fd = fds[0];
		ASSERT_EQ(1, poll(&pfd, 1, 4 * LONG_MS));
		EXPECT_EQ(1, read(fds[0], &ok, 1));
		EXPECT_EQ(1, ok);
		close(fds[0]);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* Nothing of the dead program is in the way. */
		ASSERT_LIB(endpoint_open(&self->ep, self->ctx, self->found.bdf[0],
					 NULL));
		ASSERT_LIB(transfer(&self->ep, IOPF_TD_OP_FILL, BASE, 0x4000));
		EXPECT_LIB(check_answers(&self->ep, -1, 0));
		endpoint_close(&self->ep);
	}
}

/* Send or receive a file and a number over a socket. */
static int send_file(int socket, int fd, unsigned int number)
{
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(socket, &msg, 0) == sizeof(number) ? 0 : -errno;
}

static int receive_file(int socket, unsigned int *number)
{
	int fd = -1;
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { .iov_base = number, .iov_len = sizeof(*number) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != sizeof(*number))
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/*
 * The program that serves dies, and the device lives on in another one: its
 * requests must not wait for ever.
 */
TEST_IOPF(orphaned)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], first = 0;
	struct testdev_result r;
	int sockets[2], status, fd;
	struct iopf_ctx *ctx;
	__u32 cookie;
	pid_t pid;

	endpoint_close(ep);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				sockets));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(sockets[0]);
		if (!iopf_ctx_open(&ctx) &&
		    !endpoint_open(ep, ctx, self->found.bdf[0], NULL) &&
		    !open_groups(ep, slot, &cookie) &&
		    !send_file(sockets[1], iopf_dev_fd(ep->dev), slot[0]))
			pause();
		fprintf(stderr, "# child: %s\n", iopf_error());
		_exit(1);
	}
	close(sockets[1]);
	fd = receive_file(sockets[0], &first);
	ASSERT_LE(0, fd);
	close(sockets[0]);
	ASSERT_LIB(iopf_dev_from_fd(NULL, fd, &ep->dev));
	ASSERT_LIB(iopf_dev_region(ep->dev, IOPF_TD_BAR_REGS, &ep->td.regs));
	ASSERT_LIB(iopf_dev_region(ep->dev, IOPF_TD_BAR_RAM, &ep->td.ram));
	EXPECT_FALSE(testdev_done(&ep->td, first, &r));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	slot[0] = first;
	slot[1] = first + 1;
	slot[2] = first + 2;
	ASSERT_LIB(closed_groups(ep, slot));
	/* Later requests are refused as well. */
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_PAGE_REQUEST,
			    IOPF_TD_F_WRITE | IOPF_TD_F_WAIT, BASE, 4096,
			    &slot[0]));
	ASSERT_LIB(wait_op(ep, slot[0], &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	iopf_region_close(&ep->td.ram);
	iopf_region_close(&ep->td.regs);
	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* A second descriptor of a queue keeps it alive. */
TEST_IOPF(close_one_of_two)
{
	struct endpoint *ep = &self->ep;
	struct iommu_hwpt_page_response resp = {
		.code = IOMMUFD_PAGE_RESP_INVALID,
	};
	struct iommu_hwpt_pgfault rec;
	unsigned int slot[3], one;
	struct testdev_result r;
	__u32 cookie;
	int fd;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	fd = dup(iopf_queue_fd(ep->queue));
	ASSERT_LE(0, fd);
	iopf_queue_close(ep->queue);
	ep->queue = NULL;
	ep->shared_queue = true;
	EXPECT_EQ(0, testdev_responses(&ep->td));
	/* The cookie that the first one got is good for the second. */
	resp.cookie = cookie;
	ASSERT_EQ(sizeof(resp), write(fd, &resp, sizeof(resp)));
	ASSERT_LIB(wait_op(ep, slot[0], &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	ASSERT_EQ(sizeof(rec), read(fd, &rec, sizeof(rec)));
	/* A cookie given out, a group unread, and then none to read it. */
	close(fd);
	ASSERT_LIB(wait_op(ep, slot[1], &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	ASSERT_LIB(wait_op(ep, slot[2], &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	EXPECT_LIB(check_answers(ep, 0, 3));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &one));
	ASSERT_LIB(wait_op(ep, one, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
}

/* Answers from a program against answers from a detach: one of them wins. */
TEST_IOPF(answer_against_detach)
{
	struct iommu_hwpt_page_response resp = { .cookie = 1 };
	struct endpoint *ep = &self->ep;
	struct iopf_group g[3];
	struct testdev_result r;
	unsigned int slot[3];
	unsigned int i, round;
	int status;
	pid_t pid;

	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 3);
	/* Whatever is open, something answers it at any moment. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (;; resp.cookie = resp.cookie % 3 + 1)
			if (write(iopf_queue_fd(ep->queue), &resp,
				  sizeof(resp)) < 0 && errno != EINVAL)
				_exit(1);
	}
	for (round = 0; round < 30; round++) {
		for (i = 0; i < 3; i++) {
			ASSERT_LIB(start_op(ep, IOPF_TD_OP_PAGE_REQUEST,
					    IOPF_TD_F_WRITE | IOPF_TD_F_WAIT,
					    BASE + i * 0x10000, 4096, &slot[i]));
		}
		for (i = 0; i < 3; i++)
			ASSERT_LIB(next_group(ep, &g[i]));
		ASSERT_LIB(iopf_dev_detach(ep->dev));
		for (i = 0; i < 3; i++) {
			ASSERT_LIB(wait_op(ep, slot[i], &r));
			EXPECT_TRUE(r.status == IOPF_TD_ST_OK ||
				    r.status == IOPF_TD_ST_RSP_INVALID)
				TH_LOG("%s", testdev_status(r.status));
		}
		ASSERT_LIB(check_answers(ep, -1, -1));
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	}
	EXPECT_EQ(90, testdev_responses(&ep->td));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

TEST_IOPF(short_read)
{
	struct iommu_hwpt_pgfault rec[4];
	struct endpoint *ep = &self->ep;
	int fd = iopf_queue_fd(ep->queue);
	struct testdev_result r;
	unsigned int slot, i;

	/* Nothing there: never blocks, never an error. */
	EXPECT_EQ(0, read(fd, rec, sizeof(rec)));

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, BASE, 0x4000,
			    &slot));
	ASSERT_EQ(1, iopf_queue_wait(ep->queue, LONG_MS));
	EXPECT_EQ(-1, read(fd, rec, sizeof(rec[0]) - 1));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, read(fd, rec, sizeof(rec[0]) + 8));
	EXPECT_EQ(ESPIPE, errno);
	/* A group comes whole or not at all. */
	EXPECT_EQ(-1, read(fd, rec, sizeof(rec[0])));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(fd, rec, 3 * sizeof(rec[0])));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, syscall(SYS_read, fd, 8UL, sizeof(rec)));
	EXPECT_EQ(EFAULT, errno);
	/* After all that it is still there. */
	ASSERT_EQ(sizeof(rec), read(fd, rec, sizeof(rec)));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(rec[0].cookie, rec[i].cookie);
	EXPECT_EQ(0, read(fd, rec, sizeof(rec)));
	EXPECT_EQ(-1, lseek(fd, 0, SEEK_SET));

	ASSERT_LIB(iopf_queue_answer(ep->queue, rec[0].cookie,
				     IOMMUFD_PAGE_RESP_INVALID));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
}

TEST_IOPF(poll)
{
	struct endpoint *ep = &self->ep;
	struct pollfd pfd = {
		.fd = iopf_queue_fd(ep->queue),
		.events = POLLIN | POLLOUT,
	};
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLOUT, pfd.revents);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	/* Sleeps until it can be read. */
	pfd.events = POLLIN;
	ASSERT_EQ(1, poll(&pfd, 1, LONG_MS));
	EXPECT_EQ(POLLIN, pfd.revents);
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
}

TEST_IOPF(wrong_cookie)
{
	struct iopf_response resp[2];
	struct endpoint *ep = &self->ep;
	int fd = iopf_queue_fd(ep->queue);
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	/* No group is open at all. */
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, 1,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, g.cookie + 1,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, ~0U,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, g.cookie, 2));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, g.cookie, ~0U));
	resp[0].cookie = g.cookie;
	resp[0].code = IOMMUFD_PAGE_RESP_SUCCESS;
	resp[1].cookie = g.cookie + 1;
	resp[1].code = IOMMUFD_PAGE_RESP_SUCCESS;
	EXPECT_EQ(-1, write(fd, resp, sizeof(resp[0]) - 1));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(0, write(fd, resp, 0));
	/* None of that answered the group. */
	EXPECT_EQ(0, testdev_responses(&ep->td));

	ASSERT_LIB(iopf_backing_map(ep->backing, BASE, 4096, IOPF_RW));
	/* A good one before a bad one counts. */
	EXPECT_EQ(1, iopf_queue_answer_many(ep->queue, resp, 2));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	/* A second answer to the same group is refused. */
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, g.cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x10000, 4096));
	EXPECT_LIB(check_answers(ep, 2, 0));
}

/* Answer all there is with INVALID until the storm is over. */
static int calm_storm(struct endpoint *ep, unsigned int *groups)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	struct iopf_group g;
	int ret;

	for (;;) {
		ret = iopf_queue_wait(ep->queue, 10);
		if (ret > 0)
			ret = iopf_queue_read(ep->queue, &g);
		if (ret < 0)
			return ret;
		if (ret) {
			ret = check_group(ep, &g);
			if (!ret)
				ret = iopf_queue_answer(ep->queue, g.cookie,
							IOMMUFD_PAGE_RESP_INVALID);
			if (ret)
				return ret;
			++*groups;
			end = iopf_now() + LONG_MS * 1000000ULL;
			continue;
		}
		if (!(testdev_reg(&ep->td, IOPF_TD_REG_STATUS) &
		      IOPF_TD_STATUS_STORM) &&
		    !testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING))
			return 0;
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"%u requests of the storm have no answer",
					testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
	}
}

/* Within what the kernel allowed the device. */
TEST_IOPF(storm)
{
	struct endpoint *ep = &self->ep;
	unsigned int groups = 0;

	storm(ep, 2000, 1);
	ASSERT_LIB(calm_storm(ep, &groups));
	EXPECT_EQ(2000, testdev_reg(&ep->td, IOPF_TD_REG_STORM_SENT) +
			testdev_reg(&ep->td, IOPF_TD_REG_STORM_FULL));
	EXPECT_EQ(testdev_reg(&ep->td, IOPF_TD_REG_STORM_GROUPS),
		  testdev_reg(&ep->td, IOPF_TD_REG_STORM_RESPONSES));
	EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_STORM_OTHER));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* Wait until a counter of the kernel, a member of struct counters, has a value. */
static int wait_counter(const char *bdf, size_t member,
			unsigned long long value, struct counters *c)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	unsigned long long is;
	int ret;

	for (;;) {
		ret = read_counters(bdf, c);
		if (ret)
			return iopf_err(ret, IOPF_COUNTERS ": %s",
					strerror(-ret));
		is = *(unsigned long long *)((char *)c + member);
		if (is == value)
			return 0;
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"a counter of %s stays %llu instead of %llu",
					bdf, is, value);
		nap();
	}
}

#define WAIT_COUNTER(bdf, name, value, c)				\
	ASSERT_LIB(wait_counter(bdf, offsetof(struct counters, name),	\
				value, c))

/* What the kernel counts is what the device has asked, and what came of it. */
TEST_IOPF(counters)
{
	struct iopf_queue_limits limits = { .size = sizeof(limits), .depth = 2 };
	struct counters before, now, all;
	struct endpoint *ep = &self->ep;
	const char *bdf = self->found.bdf[0];
	struct testdev *td = &ep->td;
	struct testdev_result r;
	unsigned int slot[3], i;
	unsigned int groups = 0;
	__u32 cookie;

	if (read_counters(NULL, &before))
		SKIP(return, "the kernel does not count: " IOPF_COUNTERS);
	ASSERT_EQ(0, read_counters(bdf, &now));
	EXPECT_EQ(1, now.devices);
	EXPECT_EQ(0, now.requests);

	/* Open groups are told of before they are answered. */
	ASSERT_LIB(open_groups(ep, slot, &cookie));
	WAIT_COUNTER(bdf, groups, 3, &now);
	EXPECT_EQ(3, now.open);
	EXPECT_EQ(5, now.requests);
	EXPECT_EQ(0, now.success + now.invalid + now.latencies);
	ASSERT_LIB(iopf_queue_answer(ep->queue, cookie,
				     IOMMUFD_PAGE_RESP_INVALID));
	for (i = 1; i < ARRAY_SIZE(slot); i++)
		ASSERT_LIB(serve_op(ep, slot[i], &r));
	storm(ep, 600, 3);
	ASSERT_LIB(calm_storm(ep, &groups));

	/* A group is freed after its answer was sent. */
	WAIT_COUNTER(bdf, open, 0, &now);
	EXPECT_EQ(testdev_reg(td, IOPF_TD_REG_CNT_PR), now.requests);
	EXPECT_EQ(testdev_reg(td, IOPF_TD_REG_CNT_PR_LAST), now.groups);
	EXPECT_EQ(testdev_reg(td, IOPF_TD_REG_CNT_RSP_SUCCESS), now.success);
	EXPECT_EQ(testdev_reg(td, IOPF_TD_REG_CNT_RSP_INVALID), now.invalid);
	EXPECT_EQ(3 + groups, now.groups);
	EXPECT_EQ(now.groups, now.latencies);
	EXPECT_EQ(0, now.refused + now.failure + now.dropped + now.lost);

	/* Groups that have no room in the fault queue */
	ASSERT_EQ(0, ioctl(iopf_queue_fd(ep->queue), IOPF_QUEUE_SET_LIMITS,
			   &limits));
	storm(ep, 10, 1);
	WAIT_COUNTER(bdf, lost, 8, &now);
	/* And those which are not answered in time, read or not */
	limits.timeout_ms = 1;
	ASSERT_EQ(0, ioctl(iopf_queue_fd(ep->queue), IOPF_QUEUE_SET_LIMITS,
			   &limits));
	ASSERT_LIB(wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 0));
	WAIT_COUNTER(bdf, open, 0, &now);
	EXPECT_EQ(2, now.timed_out);
	limits.timeout_ms = 0;
	limits.depth = 0;
	ASSERT_EQ(0, ioctl(iopf_queue_fd(ep->queue), IOPF_QUEUE_SET_LIMITS,
			   &limits));

	/* The device is gone with its attachment, the sums are not. */
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	EXPECT_EQ(-ENODEV, read_counters(bdf, &all));
	ASSERT_EQ(0, read_counters(NULL, &all));
	EXPECT_EQ(0, all.devices);
	EXPECT_EQ(before.requests + now.requests, all.requests);
	EXPECT_EQ(before.success + now.success, all.success);
	EXPECT_EQ(before.invalid + now.invalid, all.invalid);
	EXPECT_EQ(before.latencies + now.latencies, all.latencies);
	EXPECT_EQ(before.timed_out + 2, all.timed_out);
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/*
 * Far more than the queue of the IOMMU holds, from a device that ignores its
 * limit. What was lost is for the device to ask again; what was taken has to
 * be answered, and the queue has to work afterwards.
 */
TEST_IOPF(storm_overflow)
{
	struct endpoint *ep = &self->ep;
	unsigned int groups = 0, full = 0, round;

	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
	for (round = 0; round < 4; round++) {
		storm(ep, 16384, 32);
		ASSERT_LIB(calm_storm(ep, &groups));
		full += testdev_reg(&ep->td, IOPF_TD_REG_STORM_FULL);
		EXPECT_EQ(16384,
			  testdev_reg(&ep->td, IOPF_TD_REG_STORM_SENT) +
			  testdev_reg(&ep->td, IOPF_TD_REG_STORM_FULL) +
			  testdev_reg(&ep->td, IOPF_TD_REG_STORM_DROPPED));
		EXPECT_EQ(testdev_reg(&ep->td, IOPF_TD_REG_STORM_GROUPS),
			  testdev_reg(&ep->td, IOPF_TD_REG_STORM_RESPONSES));
		EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_STORM_OTHER));
	}
	TH_LOG("%u requests met a full queue, %u groups reached the program",
	       full, groups);
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, 0);
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* End the attachment, one way or the other, and attach again. */
static int storm_loses_queue(struct endpoint *ep, bool replace)
{
	struct iopf_group g;
	int ret;

	ret = next_group(ep, &g);
	if (!ret && replace)
		ret = iopf_dev_attach(ep->dev, ep->ioas_id);
	else if (!ret)
		ret = iopf_dev_detach(ep->dev);
	if (ret)
		return ret;
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));
	testdev_set(&ep->td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
	ret = wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 0);
	if (ret)
		return ret;
	ret = iopf_queue_answer(ep->queue, g.cookie, IOMMUFD_PAGE_RESP_SUCCESS);
	if (ret != -EINVAL)
		return iopf_err(-EIO, "an answer after the detach: %d", ret);
	return iopf_dev_attach(ep->dev, ep->hwpt_id);
}

/*
 * The end of an attachment in the middle of a storm answers all of it. Requests
 * may meet the end of the page table, but never an IOMMU that takes none from
 * this device (reason 0x47): the device is told to stop before that.
 */
TEST_IOPF(storm_detach)
{
	struct endpoint *ep = &self->ep;
	unsigned int round;

	expect_faults_of_lost_table(self->found.bdf[0]);
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
	for (round = 0; round < 8; round++) {
		storm(ep, 8192, 16);
		ASSERT_LIB(storm_loses_queue(ep, round % 2));
	}
	expect_no_more_on_console();
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/*
 * The same with a device that waits, for it may not ask for more: each answer
 * that the end of the attachment gives would let it go on.
 */
TEST_IOPF(storm_detach_waiting)
{
	struct endpoint *ep = &self->ep;
	__u32 allocation = testdev_allocation(&ep->td);
	unsigned int round;

	expect_faults_of_lost_table(self->found.bdf[0]);
	for (round = 0; round < 40; round++) {
		storm(ep, 8192, 1);
		ASSERT_LIB(wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, allocation));
		ASSERT_LIB(storm_loses_queue(ep, round % 2));
	}
	expect_no_more_on_console();
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* A group that never ends is not shown to anybody, and delays no other one. */
TEST_IOPF(partial_group)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_PAGE_REQUEST,
			    IOPF_TD_F_READ | IOPF_TD_F_NOLAST | IOPF_TD_F_GROUP,
			    BASE, 0x3000, &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	/* The whole group behind it is the first that comes. */
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE + 0x10000, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(1, g.nr);
	EXPECT_EQ(BASE + 0x10000, g.rec[0].addr);
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(1, testdev_responses(&ep->td));
	/* The end of the attachment forgets it. */
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	EXPECT_EQ(0, iopf_queue_read(ep->queue, &g));
	ASSERT_LIB(testdev_start(&ep->td));
}

/* A request that wants neither to read nor to write gets an answer, too. */
TEST_IOPF(no_access_wanted)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_PAGE_REQUEST, IOPF_TD_F_WAIT, BASE, 4096,
			    &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_LIB(check_answers(ep, 0, 1));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4096));
}

TEST_IOPF(reset)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[3], i;
	__u32 cookie;

	for (i = 0; i < 3; i++) {
		ASSERT_LIB(open_groups(ep, slot, &cookie));
		ASSERT_LIB(iopf_dev_reset(ep->dev));
		ASSERT_LIB(answer_late(ep, cookie, IOMMUFD_PAGE_RESP_INVALID));
		ASSERT_LIB(testdev_start(&ep->td));
		ASSERT_NE(0, testdev_allocation(&ep->td))
			TH_LOG("page requests are off after the reset");
		ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x40000, 0x4000));
		ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE + 0x40000,
					      0x4000));
		ASSERT_LIB(testdev_start(&ep->td));
	}
}

TEST_IOPF(two_devices)
{
	struct endpoint *one = &self->ep, two = { 0 }, *ep;
	unsigned int slot[2], nr[2] = { 0, 0 };
	struct testdev_result r;
	struct iopf_group g;
	unsigned int i;

	if (self->found.nr < 2)
		SKIP(return, "takes two test endpoints");
	ASSERT_LIB(endpoint_open(&two, self->ctx, self->found.bdf[1],
				 one->queue));
	ASSERT_NE(iopf_dev_id(one->dev), iopf_dev_id(two.dev));
	/* The same address in both, in memory of its own. */
	ASSERT_LIB(start_op(one, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, BASE, 0x4000,
			    &slot[0]));
	ASSERT_LIB(start_op(&two, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, BASE, 0x2000,
			    &slot[1]));
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(next_group(one, &g));
		ep = g.dev_id == iopf_dev_id(one->dev) ? one : &two;
		ASSERT_EQ(iopf_dev_id(ep->dev), g.dev_id);
		nr[ep == &two] += g.nr;
		ASSERT_LIB(serve_group(ep, &g));
	}
	EXPECT_EQ(4, nr[0]);
	EXPECT_EQ(2, nr[1]);
	ASSERT_LIB(wait_op(one, slot[0], &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_LIB(wait_op(&two, slot[1], &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(0x4000,
		  testdev_pattern_check(iopf_backing_ptr(one->backing, BASE),
					0x4000, SEED, 0));
	EXPECT_EQ(0x2000,
		  testdev_pattern_check(iopf_backing_ptr(two.backing, BASE),
					0x2000, SEED, 0));
	EXPECT_EQ(0, *(__u8 *)iopf_backing_ptr(two.backing, BASE + 0x2001));

	/* The end of one leaves the requests of the other alone. */
	ASSERT_LIB(start_op(one, IOPF_TD_OP_FILL, 0, BASE + 0x10000, 4096,
			    &slot[0]));
	ASSERT_LIB(start_op(&two, IOPF_TD_OP_FILL, 0, BASE + 0x10000, 4096,
			    &slot[1]));
	ASSERT_LIB(wait_reg(one, IOPF_TD_REG_PRI_GROUPS, 1));
	ASSERT_LIB(wait_reg(&two, IOPF_TD_REG_PRI_GROUPS, 1));
	ASSERT_LIB(iopf_dev_detach(two.dev));
	ASSERT_LIB(wait_op(&two, slot[1], &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	ASSERT_LIB(serve_op(one, slot[0], &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_LIB(check_answers(&two, 1, 1));
	endpoint_close(&two);
	EXPECT_LIB(check_answers(one, 2, 0));
}

/* Every endpoint there is. */
TEST_IOPF(all_devices)
{
	struct endpoint ep = { 0 };
	unsigned int i;

	for (i = 1; i < self->found.nr; i++) {
		ASSERT_LIB(endpoint_open(&ep, self->ctx, self->found.bdf[i], NULL));
		ASSERT_LIB(transfer(&ep, IOPF_TD_OP_FILL, BASE, 0x10000));
		ASSERT_LIB(transfer(&ep, IOPF_TD_OP_COMPARE, BASE + 0x100000,
				    0x10000));
		EXPECT_LIB(check_answers(&ep, -1, 0));
		endpoint_close(&ep);
	}
	ASSERT_LIB(transfer(&self->ep, IOPF_TD_OP_FILL, BASE, 0x10000));
}

/* Addresses that no page table can hold. */
TEST_IOPF(above_limit)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot;
	char addr[20];
	__u64 last;

	ASSERT_LIB(iopf_ioas_last(self->ctx, ep->ioas_id, &last));
	if (last == ~0ULL)
		SKIP(return, "every 64-bit address can be mapped");
	snprintf(addr, sizeof(addr), "%llx", last + 1);
	expect_dma_faults(self->found.bdf[0], DMA_NO_PASID, addr,
			  DMA_BEYOND_TABLE);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, last + 1, 4096, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	expect_no_more_on_console();
	EXPECT_TRUE(r.status == IOPF_TD_ST_RSP_INVALID ||
		    r.status == IOPF_TD_ST_TR_ERROR)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_EQ(0, r.done);
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_PAGE_REQUEST,
			    IOPF_TD_F_WRITE | IOPF_TD_F_WAIT,
			    0xfffffffffffff000ULL, 4096, &slot));
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_LIB(check_answers(ep, 0, -1));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* The highest addresses that can be mapped are as good as any. */
TEST_IOPF(below_limit)
{
	struct endpoint *ep = &self->ep;
	__u64 last, iova;

	ASSERT_LIB(iopf_ioas_last(self->ctx, ep->ioas_id, &last));
	iova = (last & ~(page_size - 1)) + page_size - 0x10000;
	iopf_backing_close(ep->backing);
	ep->backing = NULL;
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, iova, 0x10000,
				     IOPF_RW, 0, &ep->backing));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, iova, 0x4000));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_COMPARE, iova + 0xc000, 0x4000));
	EXPECT_LIB(check_answers(ep, -1, 0));
}

TEST_IOPF(without_pri)
{
	struct found found = { 0 };
	struct iopf_dev *dev;
	__u32 hwpt_id, plain;
	int ret;

	iopf_pci_scan(find_without_pri, &found);
	if (!found.nr)
		SKIP(return, "takes a device without PRI on vfio-pci");
	ASSERT_LIB(iopf_dev_open(self->ctx, found.bdf[0], &dev));
	ret = iopf_hwpt_alloc(self->ctx, iopf_dev_id(dev), self->ep.ioas_id,
			      self->ep.queue, &hwpt_id);
	if (!ret) {
		ret = iopf_dev_attach(dev, hwpt_id);
		EXPECT_LIB(iopf_destroy(self->ctx, hwpt_id));
	}
	EXPECT_NE(0, ret)
		TH_LOG("%s was attached although it has no PRI",
		       found.bdf[0]);
	/* Without faults it is as welcome as before. */
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(dev),
				   self->ep.ioas_id, NULL, &plain));
	EXPECT_LIB(iopf_dev_attach(dev, plain));
	EXPECT_LIB(iopf_dev_detach(dev));
	EXPECT_LIB(iopf_destroy(self->ctx, plain));
	iopf_dev_close(dev);
	ASSERT_LIB(transfer(&self->ep, IOPF_TD_OP_FILL, BASE, 4096));
}

static void pci_path(char *path, size_t size, const char *bdf, const char *name)
{
	snprintf(path, size, "/sys/bus/pci/devices/%s/%s", bdf, name);
}

/* Make a virtual function, which vfio-pci takes as it took the physical one. */
static int make_vf(const char *pf, char *vf, size_t size)
{
	char path[128], link[128];
	ssize_t len;
	int ret;

	ret = write_file("/sys/module/vfio_pci/parameters/enable_sriov", "Y");
	pci_path(path, sizeof(path), pf, "sriov_numvfs");
	if (!ret)
		ret = write_file(path, "1");
	if (ret)
		return iopf_err(ret, "no VF of %s: %s", pf, strerror(-ret));
	pci_path(path, sizeof(path), pf, "virtfn0");
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return iopf_err(-errno, "%s: %s", path, strerror(errno));
	link[len] = 0;
	snprintf(vf, size, "%s", basename(link));
	return 0;
}

static int find_pf(const struct iopf_pci *pci, void *arg)
{
	struct found *found = arg;
	char path[128];

	pci_path(path, sizeof(path), pci->bdf, "sriov_numvfs");
	if (!pci->cdev[0] || !testdev_is(pci) || access(path, W_OK))
		return 0;
	memcpy(found->bdf[found->nr++], pci->bdf, sizeof(pci->bdf));
	return 1;
}

/*
 * A virtual function uses the page request interface of its physical function,
 * which may be somebody else's: no faults for it, all else as ever.
 */
TEST_IOPF(virtual_function)
{
	struct found found = { 0 };
	struct iopf_dev *dev;
	char path[128], vf[16];
	__u32 hwpt_id;

	iopf_pci_scan(find_pf, &found);
	if (!found.nr)
		SKIP(return, "takes an endpoint with virtual functions");
	ASSERT_LIB(make_vf(found.bdf[0], vf, sizeof(vf)));
	ASSERT_LIB(iopf_dev_open(self->ctx, vf, &dev));
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(dev), self->ep.ioas_id,
				   self->ep.queue, &hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, hwpt_id));
	EXPECT_LIB(iopf_destroy(self->ctx, hwpt_id));
	EXPECT_LIB(iopf_dev_attach(dev, self->ep.ioas_id));
	EXPECT_LIB(iopf_dev_detach(dev));
	iopf_dev_close(dev);
	pci_path(path, sizeof(path), found.bdf[0], "sriov_numvfs");
	EXPECT_EQ(0, write_file(path, "0"));
	ASSERT_LIB(transfer(&self->ep, IOPF_TD_OP_FILL, BASE, 4096));
}

/* An eventfd that VFIO signals when it wants the device back. */
static int request_event(struct iopf_dev *dev)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = iopf_irq_eventfds(iopf_dev_fd(dev), VFIO_PCI_REQ_IRQ_INDEX, &fd, 1);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

TEST_IOPF(unbind)
{
	struct endpoint *ep = &self->ep;
	struct pollfd pfd = { .events = POLLIN };
	unsigned int slot[3];
	struct iopf_pci pci;
	struct iopf_group g;
	int fds[2], status;
	__u32 cookie;
	char driver[96];
	pid_t pid;

	ASSERT_LIB(iopf_pci_read(self->found.bdf[0], &pci));
	ASSERT_LIB(open_groups(ep, slot, &cookie));
	pfd.fd = request_event(ep->dev);
	ASSERT_LE(0, pfd.fd);
	ASSERT_EQ(0, pipe(fds));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* The device must not stay open or mapped in here. */
		iopf_region_close(&ep->td.regs);
		iopf_region_close(&ep->td.ram);
		dup2(fds[1], 3);
		syscall(SYS_close_range, 4, ~0U, 0);
		snprintf(driver, sizeof(driver),
			 "/sys/bus/pci/drivers/%s/unbind", pci.driver);
		_exit(write_file(driver, pci.bdf) ? 1 : 0);
	}
	close(fds[1]);
	/* VFIO asks us to let go, and waits for it. */
	ASSERT_EQ(1, poll(&pfd, 1, LONG_MS));
	close(pfd.fd);
	testdev_close(&ep->td);
	iopf_dev_close(ep->dev);
	ep->dev = NULL;
	/* The end of the pipe is the end of the child. */
	pfd.fd = fds[0];
	ASSERT_EQ(1, poll(&pfd, 1, 4 * LONG_MS));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fds[0]);

	/* Its requests went with it. */
	EXPECT_EQ(0, iopf_queue_read(ep->queue, &g));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, cookie,
					     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(iopf_pci_read(pci.bdf, &pci));
	EXPECT_STREQ("", pci.driver);

	/* After a new bind everything works again. */
	EXPECT_EQ(0, write_file("/sys/bus/pci/drivers/vfio-pci/bind",
				pci.bdf));
	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, pci.bdf, NULL));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
	EXPECT_LIB(check_answers(ep, -1, 0));
}

/* The other way round: the queue outlives the iommufd and the device. */
TEST_IOPF(fault_fd_last)
{
	struct endpoint *ep = &self->ep;
	struct iommu_hwpt_pgfault rec;
	struct pollfd pfd = { .events = POLLIN };
	struct iommu_hwpt_page_response resp = { .cookie = 1 };
	unsigned int slot[3];
	__u32 cookie;
	int fd;

	ASSERT_LIB(open_groups(ep, slot, &cookie));
	fd = dup(iopf_queue_fd(ep->queue));
	ASSERT_LE(0, fd);
	endpoint_close(ep);
	iopf_ctx_close(self->ctx);
	pfd.fd = fd;
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(0, read(fd, &rec, sizeof(rec)));
	EXPECT_EQ(-1, write(fd, &resp, sizeof(resp)));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* Objects in use stay. */
TEST_IOPF(destroy_busy)
{
	struct endpoint *ep = &self->ep;

	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, ep->hwpt_id));
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, iopf_queue_id(ep->queue)));
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, ep->ioas_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4096));
}

/* Device writes land in a file. */
TEST_IOPF(file_memory)
{
	struct endpoint *ep = &self->ep;
	char path[32];
	__u8 buf[8192];
	int fd;

	fd = memfd_create("iopf", MFD_CLOEXEC);
	if (fd < 0)
		SKIP(return, "takes a kernel with memfd");
	ASSERT_EQ(0, ftruncate(fd, sizeof(buf)));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (access(path, F_OK))
		SKIP(return, "takes /proc");
	iopf_backing_close(ep->backing);
	ep->backing = NULL;
	ASSERT_LIB(iopf_backing_file(self->ctx, ep->ioas_id, path, BASE, 0,
				     IOPF_RW, 0, &ep->backing));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, sizeof(buf)));
	ASSERT_EQ(sizeof(buf), pread(fd, buf, sizeof(buf), 0));
	EXPECT_EQ(sizeof(buf),
		  testdev_pattern_check(buf, sizeof(buf), SEED, 0));
	close(fd);
}

TEST_IOPF(interrupt)
{
	struct endpoint *ep = &self->ep;
	struct pollfd pfd = { .fd = ep->td.irq[0], .events = POLLIN };
	struct testdev_result r;
	unsigned int slot;
	__u64 count = 0;
	int fd = -1;

	/* More vectors than there are: said at once, and nothing is changed. */
	EXPECT_EQ(-EINVAL, iopf_dev_msix(ep->dev, &fd, 1U << 31));
	EXPECT_EQ(-1, fd);
	ASSERT_LIB(iopf_backing_map(ep->backing, BASE, 4096, IOPF_RW));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_IRQ, BASE, 4096, &slot));
	ASSERT_EQ(1, poll(&pfd, 1, LONG_MS));
	EXPECT_EQ(sizeof(count), read(pfd.fd, &count, sizeof(count)));
	EXPECT_LE(1, count);
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
}

TEST_IOPF(stop_marker)
{
	struct endpoint *ep = &self->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_STOP_MARKER,
		.flags = IOPF_TD_F_PASID,
		.pasid = 1,
	};
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	if (!(testdev_reg(&ep->td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PASID))
		SKIP(return, "the kernel has not enabled PASID in the device");
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_EQ(1, testdev_reg(&ep->td, IOPF_TD_REG_CNT_STOP_MARKER));
	/* The marker is no request: what comes behind it comes first. */
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &g));
	EXPECT_EQ(BASE, g.rec[0].addr);
	EXPECT_FALSE(g.pasid_valid);
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(1, testdev_responses(&ep->td));
}

/* Nothing is attached to this PASID: refused, and not shown to the program. */
TEST_IOPF(pasid_without_owner)
{
	struct endpoint *ep = &self->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_PAGE_REQUEST,
		.flags = IOPF_TD_F_PASID | IOPF_TD_F_WRITE | IOPF_TD_F_WAIT,
		.pasid = 5,
		.iova = BASE,
		.length = 4096,
	};
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	if (!(testdev_reg(&ep->td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PASID))
		SKIP(return, "the kernel has not enabled PASID in the device");
	/* By the kernel, or by an IOMMU that has no entry for the PASID. */
	expect_dma_faults(self->found.bdf[0], 5, "100000000", DMA_NO_TABLE);
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	expect_no_more_on_console();
	EXPECT_TRUE(r.status == IOPF_TD_ST_RSP_INVALID ||
		    r.status == IOPF_TD_ST_PR_ERROR)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_EQ(0, iopf_queue_read(ep->queue, &g));
	EXPECT_LIB(check_answers(ep, 0, -1));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 4096));
}

/* What a program has to be able to find out about its device. */
TEST_IOPF(information)
{
	struct endpoint *ep = &self->ep;
	struct iopf_hw_info info;
	struct iopf_pci pci;

	ASSERT_LIB(iopf_dev_hw_info(ep->dev, &info));
	ASSERT_LIB(iopf_pci_read(self->found.bdf[0], &pci));
	/* Register values of the IOMMU, if its driver gives any. */
	EXPECT_EQ(info.type == IOMMU_HW_INFO_TYPE_NONE, !info.raw_len);
	/*
	 * PASID is there when the device has it on, and no wider than that. AMD-Vi's
	 * driver turns it on with a page table that leaves room for it.
	 */
	EXPECT_EQ(info.type == HW_INFO_TYPE_AMD || pci.pasid_ctrl & 1,
		  info.pasid_bits != 0);
	EXPECT_GE(pci.pasid_cap >> 8 & 0x1f, info.pasid_bits);
	EXPECT_NE(0, pci.ats);
	EXPECT_NE(0, pci.ats_ctrl);
	EXPECT_FALSE(info.caps & IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
	EXPECT_EQ(1, pci.pri_ctrl & 1);
	EXPECT_EQ(testdev_allocation(&ep->td), pci.pri_alloc);
	/* ATS and PRI are shown by VFIO, and cannot be written through it. */
	EXPECT_EQ(pci.pri, iopf_dev_ext_cap(ep->dev, 0x13));
	ASSERT_LIB(iopf_dev_config_write(ep->dev, pci.pri + 4, "\0\0", 2));
	ASSERT_LIB(iopf_pci_read(self->found.bdf[0], &pci));
	EXPECT_EQ(1, pci.pri_ctrl & 1);
	/* Off again without an attachment. */
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(iopf_pci_read(self->found.bdf[0], &pci));
	EXPECT_EQ(0, pci.pri_ctrl & 1);
	EXPECT_EQ(0, pci.ats_ctrl & PCI_ATS_CTRL_ENABLE);
}

/*
 * A virtual function whose physical one uses the interface: of the two that
 * share it only one may.
 */
TEST_IOPF(virtual_function_of_user)
{
	struct endpoint pf = { 0 };
	struct found found = { 0 };
	char path[128], vf[16];
	struct iopf_dev *dev;
	__u32 hwpt_id;

	iopf_pci_scan(find_pf, &found);
	if (!found.nr)
		SKIP(return, "takes an endpoint with virtual functions");
	ASSERT_LIB(endpoint_open(&pf, self->ctx, found.bdf[0], NULL));
	ASSERT_NE(0, testdev_allocation(&pf.td));
	ASSERT_LIB(make_vf(found.bdf[0], vf, sizeof(vf)));
	ASSERT_LIB(iopf_dev_open(self->ctx, vf, &dev));
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(dev), self->ep.ioas_id,
				   self->ep.queue, &hwpt_id));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, hwpt_id));
	EXPECT_LIB(iopf_destroy(self->ctx, hwpt_id));
	iopf_dev_close(dev);
	pci_path(path, sizeof(path), found.bdf[0], "sriov_numvfs");
	EXPECT_EQ(0, write_file(path, "0"));
	ASSERT_LIB(transfer(&pf, IOPF_TD_OP_FILL, BASE, 4096));
	endpoint_close(&pf);
}

/* The index of a request that a reset has ended is soon that of another one. */
TEST_IOPF(reset_same_index)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group old, g;
	unsigned int slot;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
	ASSERT_LIB(next_group(ep, &old));
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(testdev_start(&ep->td));
	do {
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
		ASSERT_LIB(next_group(ep, &g));
		if (g.grpid == old.grpid)
			break;
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
					     IOMMUFD_PAGE_RESP_INVALID));
		ASSERT_LIB(wait_op(ep, slot, &r));
	} while (true);

	/* Whatever becomes of the old answer, it is not for the new request. */
	iopf_queue_answer(ep->queue, old.cookie, IOMMUFD_PAGE_RESP_INVALID);
	EXPECT_FALSE(testdev_done(&ep->td, slot, &r));
	ASSERT_LIB(serve_group(ep, &g));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status)
		TH_LOG("%s", testdev_status(r.status));
}

/* A request that is in the queue of the IOMMU, which is worked off late */
static int late_request(struct endpoint *ep, struct late *late,
			unsigned int *slot)
{
	int ret = late_begin(late);

	if (!ret)
		ret = start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, slot);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 1);
	if (!ret && iopf_queue_wait(ep->queue, 0))
		ret = iopf_err(-EIO, "the request was not late");
	if (ret)
		late_end(late);
	return ret;
}

static int call_detach(struct endpoint *ep)
{
	return iopf_dev_detach(ep->dev);
}

static int call_attach(struct endpoint *ep)
{
	return iopf_dev_attach(ep->dev, ep->hwpt_id);
}

static int call_reset(struct endpoint *ep)
{
	return iopf_dev_reset(ep->dev);
}

/* When the attachment has ended nothing that was asked before is left. */
TEST_IOPF(late_detach)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct late late;
	unsigned int slot;
	int ret;

	ret = late_request(ep, &late, &slot);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(late_through(&late, call_detach, ep));
	EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_RSP_INVALID, r.status);
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* What was asked of the old page table does not come to the new one's queue. */
TEST_IOPF(late_replace)
{
	struct endpoint *ep = &self->ep;
	struct iopf_queue *old_queue = ep->queue;
	__u32 old_hwpt = ep->hwpt_id;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	struct late late;
	int ret;

	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   ep->queue, &ep->hwpt_id));
	ret = late_request(ep, &late, &slot);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(late_through(&late, call_attach, ep));
	/* The device was told to ask again, and asks the new one. */
	ASSERT_LIB(serve_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_LIB(check_answers(ep, 2, 0));
	EXPECT_EQ(0, iopf_queue_read(old_queue, &g));
	EXPECT_LIB(iopf_destroy(self->ctx, old_hwpt));
	iopf_queue_close(old_queue);
}

/* A reset begins when all is known that the device has asked for. */
TEST_IOPF(late_reset)
{
	struct endpoint *ep = &self->ep;
	struct late late;
	unsigned int slot;
	int ret;

	ret = late_request(ep, &late, &slot);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(late_through(&late, call_reset, ep));
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/* The queue is full and requests get lost. The detach waits for its end. */
TEST_IOPF(late_overflow)
{
	struct endpoint *ep = &self->ep;
	struct late late;
	__u64 end;
	pid_t pid;
	int ret;

	expect_faults_of_lost_table(self->found.bdf[0]);
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
	ret = late_begin(&late);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	end = iopf_now() + LONG_MS * 1000000ULL;
	storm(ep, 16384, 32);
	while (!testdev_reg(&ep->td, IOPF_TD_REG_STORM_FULL) && iopf_now() < end)
		nap();
	ret = late_call(&pid, call_detach, ep);
	testdev_set(&ep->td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
	late_end(&late);
	ASSERT_LIB(ret);
	ASSERT_LIB(late_result(pid));
	EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
	expect_no_more_on_console();
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

#define TABLES 3

/* Page tables that have the same address in memory of their own */
static int more_tables(struct endpoint *ep, __u32 *hwpt, __u32 *ioas,
		       struct iopf_backing **backing)
{
	unsigned int i;
	int ret = 0;

	hwpt[0] = ep->hwpt_id;
	backing[0] = ep->backing;
	for (i = 1; i < TABLES && !ret; i++) {
		ret = iopf_ioas_alloc(ep->ctx, &ioas[i]);
		if (!ret)
			ret = iopf_hwpt_alloc(ep->ctx, iopf_dev_id(ep->dev),
					      ioas[i], ep->queue, &hwpt[i]);
		if (!ret)
			ret = iopf_backing_anon(ep->ctx, ioas[i], BASE, SPAN,
						IOPF_RW, 0, &backing[i]);
	}
	return ret;
}

/* The end of more_tables(): back to the first one, the others go. */
static int fewer_tables(struct endpoint *ep, __u32 *hwpt, __u32 *ioas,
			struct iopf_backing **backing)
{
	unsigned int i;
	int ret;

	ret = iopf_dev_attach(ep->dev, hwpt[0]);
	for (i = 1; i < TABLES && !ret; i++) {
		iopf_backing_close(backing[i]);
		ret = iopf_destroy(ep->ctx, hwpt[i]);
		if (!ret)
			ret = iopf_destroy(ep->ctx, ioas[i]);
	}
	return ret;
}

/* Write to the page at BASE, which must land in one of the memories only. */
static int write_to_table(struct endpoint *ep, struct iopf_backing **backing,
			  unsigned int at)
{
	struct testdev_result r;
	unsigned int slot, i;
	int ret;

	for (i = 0; i < TABLES; i++)
		memset(iopf_backing_ptr(backing[i], BASE), UNTOUCHED, 4096);
	ret = start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "table %u: %s", at, testdev_status(r.status));
	for (i = 0; i < TABLES; i++) {
		const __u8 *mem = iopf_backing_ptr(backing[i], BASE);
		bool good = i == at ?
			testdev_pattern_check(mem, 4096, SEED, 0) == 4096 :
			mem[0] == UNTOUCHED && !memcmp(mem, mem + 1, 4095);

		if (!good)
			return iopf_err(-EIO, "table %u: the memory of table %u is wrong",
					at, i);
	}
	return 0;
}

/*
 * From one page table to the next, seamlessly and by way of none, and what is
 * unmapped is unmapped at once: nothing of a table that was left may be found
 * in a cache, not even when the next one gets its number.
 */
TEST_IOPF(replace_rotates)
{
	struct iopf_backing *backing[TABLES];
	struct endpoint *ep = &self->ep;
	__u32 hwpt[TABLES], ioas[TABLES];
	struct testdev_result r;
	unsigned int i, at, slot;
	struct iopf_group g;

	ASSERT_LIB(more_tables(ep, hwpt, ioas, backing));
	for (i = 0; i < 6 * TABLES; i++) {
		at = i % TABLES;
		/* The order makes each kind of change meet each table. */
		if (i % 4 == 2)
			ASSERT_LIB(iopf_dev_detach(ep->dev));
		ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[at]));
		ASSERT_LIB(iopf_backing_map(backing[at], BASE, 4096, IOPF_RW));
		ASSERT_LIB(write_to_table(ep, backing, at));
		if (i % 2)
			continue;
		ASSERT_LIB(iopf_backing_unmap(backing[at], BASE, 4096));
		memset(iopf_backing_ptr(backing[at], BASE), UNTOUCHED, 4096);
		ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot));
		ASSERT_LIB(next_group(ep, &g));
		EXPECT_EQ(UNTOUCHED,
			  *(__u8 *)iopf_backing_ptr(backing[at], BASE));
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
					     IOMMUFD_PAGE_RESP_INVALID));
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_NE(IOPF_TD_ST_OK, r.status);
	}
	ASSERT_LIB(fewer_tables(ep, hwpt, ioas, backing));
}

/*
 * Every other page table replaces one and is not used. So what the IOTLB has of the
 * one before is replaced by nothing, and would be found by the next one that gets
 * its number, and is attached to a device without any, which flushes nothing.
 */
TEST_IOPF(replace_reuses_number)
{
	struct iopf_backing *backing[TABLES];
	struct endpoint *ep = &self->ep;
	__u32 hwpt[TABLES], ioas[TABLES];
	unsigned int i, at;

	ASSERT_LIB(more_tables(ep, hwpt, ioas, backing));
	for (i = 0; i < 4 * TABLES; i++) {
		at = i % TABLES;
		if (i % 2) {
			ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[at]));
			continue;
		}
		ASSERT_LIB(iopf_dev_detach(ep->dev));
		ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[at]));
		ASSERT_LIB(iopf_backing_map(backing[at], BASE, 4096, IOPF_RW));
		ASSERT_LIB(write_to_table(ep, backing, at));
	}
	ASSERT_LIB(fewer_tables(ep, hwpt, ioas, backing));
}

/* A kernel may have the driver's events, and the device be behind another IOMMU. */
static bool has_vtd_event(struct endpoint *ep, const char *event)
{
	char path[128];

	snprintf(path, sizeof(path), IOPF_TRACING "/events/%s", event);
	return iommu_type(ep) == IOMMU_HW_INFO_TYPE_INTEL_VTD &&
	       !access(path, F_OK);
}

/* A page table that was left costs the device no invalidations any more. */
TEST_IOPF(replace_leaves_old)
{
	static const char event[] = "intel_iommu/cache_tag_flush_range";
	struct iopf_backing *backing[TABLES];
	struct endpoint *ep = &self->ep;
	__u32 hwpt[TABLES], ioas[TABLES];
	unsigned int i;

	if (!has_vtd_event(ep, event))
		SKIP(return, "takes VT-d's tracepoint %s", event);
	ASSERT_EQ(0, trace_begin(event));
	ASSERT_LIB(more_tables(ep, hwpt, ioas, backing));
	ASSERT_LIB(iopf_backing_map(backing[0], BASE, 4096, IOPF_RW));
	ASSERT_LIB(write_to_table(ep, backing, 0));
	ASSERT_LIB(iopf_backing_unmap(backing[0], BASE, 4096));
	EXPECT_LT(0, trace_end(event, "cache_tag_flush_range", NULL, NULL));

	ASSERT_LIB(iopf_backing_map(backing[0], BASE, 4096, IOPF_RW));
	ASSERT_LIB(write_to_table(ep, backing, 0));
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[1]));
	ASSERT_EQ(0, trace_begin(event));
	ASSERT_LIB(iopf_backing_unmap(backing[0], BASE, 4096));
	EXPECT_EQ(0, trace_end(event, "cache_tag_flush_range", NULL, NULL));
	ASSERT_LIB(fewer_tables(ep, hwpt, ioas, backing));
}

/* The fence that a drain begins with, VT-d r4.1 section 7.10; others send none. */
static void count_drain(const char *line, void *arg)
{
	const char *at = strstr(line, ": 0x");
	unsigned int *drains = arg;
	unsigned long long qw0;

	if (at && sscanf(at, ": 0x%llx", &qw0) == 1 && qw0 & 0x40)
		++*drains;
}

/* As trace_end(), of what is recorded while @call runs */
static int trace_call(const char *event, const char *word,
		      int (*call)(struct endpoint *ep), struct endpoint *ep,
		      void (*func)(const char *line, void *arg), void *arg)
{
	if (trace_begin(event) || call(ep))
		return -1;
	return trace_end(event, word, func, arg);
}

static unsigned int drains_of(int (*call)(struct endpoint *ep),
			      struct endpoint *ep)
{
	unsigned int drains = 0;

	if (trace_call("intel_iommu/qi_submit", "inv_wait", call, ep,
		       count_drain, &drains) < 0)
		return 0;
	return drains;
}

/*
 * When the device asks for no more, which is before its page table goes;
 * before and after a reset; and once when a page table takes another's place. A
 * model that has nothing on its way shows that in no other manner.
 */
TEST_IOPF(drains)
{
	struct endpoint *ep = &self->ep;
	__u32 old = ep->hwpt_id;

	if (!has_vtd_event(ep, "intel_iommu/qi_submit"))
		SKIP(return, "takes VT-d's tracepoint intel_iommu/qi_submit");
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
				   ep->queue, &ep->hwpt_id));
	EXPECT_LE(1, drains_of(call_attach, ep));
	EXPECT_LE(2, drains_of(call_reset, ep));
	EXPECT_LE(1, drains_of(call_detach, ep));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	EXPECT_LIB(iopf_destroy(self->ctx, old));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

/*
 * A page table without a queue, and so ATS goes with it: all tags that came with
 * the device go as well, that of the device TLB among them. One that is left
 * names a device that may be gone, to be flushed with the page table.
 */
TEST_IOPF(detach_takes_tags)
{
	static const char assign[] = "intel_iommu/cache_tag_assign";
	static const char unassign[] = "intel_iommu/cache_tag_unassign";
	struct endpoint *ep = &self->ep;
	__u32 old = ep->hwpt_id;
	int tags;

	if (!has_vtd_event(ep, assign))
		SKIP(return, "takes VT-d's tracepoint %s", assign);
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ep->hwpt_id));
	tags = trace_call(assign, "cache_tag_assign", call_attach, ep, NULL,
			  NULL);
	EXPECT_LE(2, tags);
	EXPECT_EQ(tags, trace_call(unassign, "cache_tag_unassign", call_detach,
				   ep, NULL, NULL));
	EXPECT_LIB(iopf_destroy(self->ctx, ep->hwpt_id));
	ep->hwpt_id = old;
	ASSERT_LIB(iopf_dev_attach(ep->dev, old));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE, 0x4000));
}

static int attach_failing(struct iopf_dev *dev, __u32 hwpt_id, int fd,
			  unsigned int nth, bool *failed)
{
	int ret = failing_set(fd, nth);

	if (ret)
		return iopf_err(ret, "fail-nth: %s", strerror(-ret));
	ret = iopf_dev_attach(dev, hwpt_id);
	*failed = failing_done(fd);
	return ret;
}

/*
 * Two devices with one page table share the tag for the IOTLB. An attach that
 * fails, wherever it is, takes as many tags away as it has brought.
 */
TEST_IOPF(attach_fails_tags)
{
	static const char assign[] = "intel_iommu/cache_tag_assign";
	static const char unassign[] = "intel_iommu/cache_tag_unassign";
	struct endpoint *one = &self->ep, two = { 0 };
	bool failed = true, refused = false;
	int fd, ret, come, gone;
	unsigned int nth;

	if (self->found.nr < 2)
		SKIP(return, "takes two test endpoints");
	if (!has_vtd_event(one, assign))
		SKIP(return, "takes VT-d's tracepoints");
	fd = failing_open();
	if (fd < 0)
		SKIP(return, "takes failslab");
	ASSERT_LIB(endpoint_open(&two, self->ctx, self->found.bdf[1],
				 one->queue));
	for (nth = 1; failed; nth++) {
		ASSERT_LIB(iopf_dev_detach(two.dev));
		ASSERT_EQ(0, trace_begin(assign));
		ASSERT_EQ(0, trace_begin(unassign));
		ret = attach_failing(two.dev, one->hwpt_id, fd, nth, &failed);
		come = trace_end(assign, "cache_tag_assign", NULL, NULL);
		gone = trace_end(unassign, "cache_tag_unassign", NULL, NULL);
		if (!ret)
			continue;
		refused = true;
		EXPECT_EQ(come, gone)
			TH_LOG("allocation %u: %d tags came, %d went", nth, come,
			       gone);
	}
	failing_close(fd);
	EXPECT_EQ(0, ret);
	EXPECT_TRUE(refused);
	endpoint_close(&two);
	/* What is unmapped is flushed for the one that has stayed. */
	ASSERT_LIB(transfer(one, IOPF_TD_OP_FILL, BASE, 4096));
	ASSERT_LIB(iopf_backing_unmap(one->backing, BASE, 4096));
	memset(iopf_backing_ptr(one->backing, BASE), 0, 4096);
	ASSERT_LIB(transfer(one, IOPF_TD_OP_FILL, BASE, 4096));
	EXPECT_LIB(check_answers(one, 2, 0));
}

TEST_HARNESS_MAIN

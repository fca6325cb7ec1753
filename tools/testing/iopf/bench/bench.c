// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is measured inside of the machine: each row does its work some rounds long, with a
 * mark before and after it that the counting plugin sees (mark.h).
 *
 * The number of a test in the output is the row's number in its marks. A row that this
 * kernel cannot do is skipped, with the reason. Nothing here knows how much was counted.
 * With arguments, which are names of rows, the others are left out.
 *
 * In a row that begins with an interrupt the program has to be asleep when the endpoint
 * asks for pages. So the endpoint is kept busy with nothing for a while before, which on
 * the host takes much longer than to fall asleep in the machine; the host sees by the
 * order of its records whether that went well, and drops a round in which it did not.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <assert.h>
#include <errno.h>
#include <linux/iopf.h>
#include <linux/iommufd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "iopf_endpoint.h"
#include "iopf_viommu.h"
#include "mark.h"

#define PAGE		4096ULL
#define HUGE		(2ULL << 20)
#define IOVA		(2 * BASE)
#define GROUP		512	/* pages */
#define ANSWERS		32
#define ROUNDS		21
/* The memory of a program that starts, and what it touches first: 5 % in all */
#define START_BYTES	(128ULL << 20)
#define GIB		(1ULL << 30)
#define START_GROUP	16	/* pages */
#define START_STRIDE	(20 * START_GROUP * PAGE)
#define START_ROUNDS	3
/* Devices, and how many groups of two of them are open and not answered */
#define DEVICES		8
#define OPEN_EACH	500
#define OPEN_ROUNDS	5
/* Pages of an array of invalidations, not beside each other, and ids that a guest uses */
#define INVS		512
#define INV_GVA		0x10000000ULL
#define INV_STRIDE	(2 * PAGE)
#define GUEST_DEV	1
#define GUEST_DOMAIN	7
#define GUEST_PASID	5
/* Instructions from one mark to the next in the row that shows whether all are counted */
#define KNOWN_TURNS	1000
#define KNOWN		2002
#define STR(x)		#x
#define XSTR(x)		STR(x)
/* Descriptors that the endpoint's ring takes at once */
#define IN_RING		(TESTDEV_RING_SIZE - 1)

enum row {
	ROW_ONE_PAGE = 1,
	ROW_GROUP,
	ROW_ANSWERS,
	ROW_ATTACH,
	ROW_REPLACE,
	ROW_DETACH,
	ROW_PINNED,
	ROW_PINNED_HUGE,
	ROW_ON_DEMAND,
	ROW_KNOWN,
	ROW_ONE_CALL,
	ROW_DEVICES,
	ROW_MANY_OPEN,
	ROW_PINNED_GIB,
	ROW_ON_DEMAND_GIB,
	ROW_INV_1,
	ROW_INV_32,
	ROW_INV_512,
	ROW_INV_EACH_32,
	ROW_INV_EACH_512,
	ROW_GUEST_1,
	ROW_GUEST_32,
	ROW_GUEST_512,
	ROW_GUEST_EACH_32,
	ROW_GUEST_EACH_512,
	ROW_LAST = ROW_GUEST_EACH_512,
};

struct bench {
	struct iopf_ctx *ctx;
	struct endpoint ep;
	struct endpoint others[DEVICES - 1];	/* opened when they are needed */
	struct found found;
	int queue;		/* file of the fault queue */
	__u32 other;		/* a second page table, for replace */
	void *memory;		/* a group's, touched already */
	struct iopf_request rec[GROUP];
	/* The second device has a nested page table of VT-d, the third one a guest */
	__u32 nested;
	struct iommu_hwpt_vtd_s1_invalidate pages[INVS];
	struct guest guest;
	char guest_pages[2 * INVS * INV_MAX_LEN];
	unsigned int per_page;		/* elements that a guest has for a page */
};

static struct bench bench;

/* Memory of its own, aligned for huge pages and not touched yet; NULL if there is none. */
static void *fresh_memory(__u64 size, bool huge)
{
	char *at = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	__u64 before;

	if (at == MAP_FAILED)
		return NULL;
	before = -(unsigned long)at % HUGE;
	if (before)
		munmap(at, before);
	munmap(at + before + size, HUGE - before);
	at += before;
	if (madvise(at, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return NULL;
	return at;
}

static int map_of(struct endpoint *ep, void *memory, __u64 iova, __u64 length)
{
	return iopf_ioas_map(bench.ctx, ep->ioas_id, memory, length, iova, IOPF_RW);
}

static int map(void *memory, __u64 iova, __u64 length)
{
	return map_of(&bench.ep, memory, iova, length);
}

static int unmap_of(struct endpoint *ep, __u64 length)
{
	return iopf_ioas_unmap(bench.ctx, ep->ioas_id, IOVA, length);
}

static int unmap(__u64 length)
{
	return unmap_of(&bench.ep, length);
}

/* Keep the endpoint busy before what is submitted next. */
static int busy_for_a_while(struct endpoint *ep, unsigned int *slot)
{
	struct testdev_op nothing = { .opcode = IOPF_TD_OP_NOP, .delay = 0xffff };

	return testdev_submit(&ep->td, &nothing, slot);
}

/* Wait for a descriptor, which has to end well. */
static int wait_ok_of(struct endpoint *ep, unsigned int slot)
{
	struct testdev_result r;
	int ret = wait_op(ep, slot, &r);

	if (!ret && r.status != IOPF_TD_ST_OK)
		ret = iopf_err(-EIO, "the transfer ended with: %s", testdev_status(r.status));
	return ret;
}

static int wait_ok(unsigned int slot)
{
	return wait_ok_of(&bench.ep, slot);
}

/* System calls alone, for these are between marks. */
static unsigned int wait_and_read(unsigned int room)
{
	struct pollfd pfd = { .fd = bench.queue, .events = POLLIN };
	ssize_t len;

	/* for ever: a limit would be a timer more to start and to stop */
	poll(&pfd, 1, -1);
	len = read(bench.queue, bench.rec, room * sizeof(bench.rec[0]));
	return len > 0 ? len / sizeof(bench.rec[0]) : 0;
}

static bool answer(const struct iopf_request *rec)
{
	struct iopf_response resp = { .cookie = rec->cookie, .code = IOPF_SUCCESS };

	return write(bench.queue, &resp, sizeof(resp)) == sizeof(resp);
}

/* Map the pages of a group and answer it, in two calls or in one. Returns 0 or an errno. */
static __always_inline int serve(struct endpoint *ep, __u64 length, bool one_call)
{
	struct iopf_map_answer entry = {
		.user_va = (unsigned long)bench.memory,
		.length = length,
		.iova = IOVA,
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
		.cookie = bench.rec[0].cookie,
	};
	struct iopf_queue_map cmd = {
		.size = sizeof(cmd),
		.iommufd = iopf_ctx_fd(bench.ctx),
		.ioas_id = ep->ioas_id,
		.entries = (unsigned long)&entry,
		.entry_num = 1,
	};

	if (one_call)
		return ioctl(bench.queue, IOPF_QUEUE_MAP, &cmd) ? errno : 0;
	if (map_of(ep, bench.memory, IOVA, length))
		return EIO;
	return answer(&bench.rec[0]) ? 0 : EIO;
}

/* The marks of a row need its number when this is compiled. */
static __always_inline int fault_round(const enum row row, struct endpoint *ep,
				       unsigned int pages, bool one_call)
{
	unsigned int slot[2], nr;
	int ret, err;

	ret = busy_for_a_while(ep, &slot[0]);
	if (!ret)
		ret = start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, IOVA, pages * PAGE,
			       &slot[1]);
	if (ret)
		return ret;
	MARK(row, MARK_BEGIN);
	nr = wait_and_read(GROUP);
	MARK(row, MARK_READ);
	err = serve(ep, pages * PAGE, one_call);
	MARK(row, MARK_END);
	if (err)
		return iopf_err(-err, "cannot map and answer: %s", strerror(err));
	if (nr != pages)
		return iopf_err(-EIO, "read %u requests instead of %u", nr, pages);
	ret = wait_ok_of(ep, slot[0]);
	if (!ret)
		ret = wait_ok_of(ep, slot[1]);
	return ret ? ret : unmap_of(ep, pages * PAGE);
}

static int one_page(void)
{
	return fault_round(ROW_ONE_PAGE, &bench.ep, 1, false);
}

static int group(void)
{
	if (testdev_allocation(&bench.ep.td) < GROUP)
		return iopf_err(-EOPNOTSUPP, "the endpoint may have only %u requests open",
				testdev_allocation(&bench.ep.td));
	return fault_round(ROW_GROUP, &bench.ep, GROUP, false);
}

/* Has the kernel the call that maps and answers? */
static bool has_one_call(void)
{
	struct iopf_queue_map cmd = { 0 };

	return !ioctl(bench.queue, IOPF_QUEUE_MAP, &cmd) || errno != ENOTTY;
}

static int one_call(void)
{
	if (!has_one_call())
		return iopf_err(-EOPNOTSUPP, "this kernel has no such call");
	return fault_round(ROW_ONE_CALL, &bench.ep, 1, true);
}

/* Have all devices attached, each to a page table of its own with the same queue. */
static int open_others(void)
{
	unsigned int i;
	int ret = 0;

	if (bench.found.nr < DEVICES)
		return iopf_err(-EOPNOTSUPP, "%u endpoints instead of %u", bench.found.nr,
				DEVICES);
	for (i = 0; !ret && i < DEVICES - 1; i++)
		if (!bench.others[i].dev)
			ret = endpoint_open(&bench.others[i], bench.ctx,
					    bench.found.bdf[i + 1], bench.ep.queue);
	return ret;
}

static int devices(void)
{
	int ret = open_others();

	return ret ? ret : fault_round(ROW_DEVICES, &bench.others[DEVICES - 2], 1, false);
}

/* Read the groups that two devices have opened, and answer none of them. */
static int open_many(struct iopf_response *resp)
{
	unsigned int i, nr, found = 0;

	storm(&bench.others[0], OPEN_EACH, 1);
	storm(&bench.others[1], OPEN_EACH, 1);
	while (found < 2 * OPEN_EACH) {
		nr = wait_and_read(GROUP);
		if (!nr || found + nr > 2 * OPEN_EACH)
			return iopf_err(-EIO, "%u groups and %u more", found, nr);
		for (i = 0; i < nr; i++)
			resp[found++].cookie = bench.rec[i].cookie;
	}
	return 0;
}

static int many_open(void)
{
	struct iopf_response resp[2 * OPEN_EACH] = { 0 };
	int ret = open_others();

	if (!ret)
		ret = open_many(resp);
	if (!ret)
		ret = fault_round(ROW_MANY_OPEN, &bench.ep, 1, false);
	if (!ret && write(bench.queue, resp, sizeof(resp)) != sizeof(resp))
		ret = iopf_err(-EIO, "not all answers were taken");
	return ret;
}

static int many_answers(void)
{
	struct iopf_response resp[ANSWERS] = { 0 };
	unsigned int slot[ANSWERS], i, nr, found = 0;
	ssize_t written;
	int ret = 0;

	testdev_set(&bench.ep.td, IOPF_TD_REG_CONTEXTS, ANSWERS);
	for (i = 0; !ret && i < ANSWERS; i++)
		ret = start_op(&bench.ep, IOPF_TD_OP_FILL, 0, IOVA + i * PAGE, PAGE, &slot[i]);
	while (!ret && found < ANSWERS) {
		nr = wait_and_read(ANSWERS - found);
		if (!nr)
			ret = iopf_err(-EIO, "a read finds nothing");
		for (i = 0; i < nr; i++)
			resp[found++].cookie = bench.rec[i].cookie;
	}
	if (!ret)
		ret = map(bench.memory, IOVA, ANSWERS * PAGE);
	if (ret)
		return ret;
	MARK(ROW_ANSWERS, MARK_BEGIN);
	written = write(bench.queue, resp, sizeof(resp));
	MARK(ROW_ANSWERS, MARK_END);
	if (written != sizeof(resp))
		return iopf_err(-EIO, "%zd bytes of answers were taken", written);
	for (i = 0; !ret && i < ANSWERS; i++)
		ret = wait_ok(slot[i]);
	testdev_set(&bench.ep.td, IOPF_TD_REG_CONTEXTS, 1);
	return ret ? ret : unmap(ANSWERS * PAGE);
}

static int attach(void)
{
	int ret = iopf_dev_detach(bench.ep.dev);

	if (ret)
		return ret;
	MARK(ROW_ATTACH, MARK_BEGIN);
	ret = iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
	MARK(ROW_ATTACH, MARK_END);
	return ret;
}

static int replace(void)
{
	int ret;

	MARK(ROW_REPLACE, MARK_BEGIN);
	ret = iopf_dev_attach(bench.ep.dev, bench.other);
	MARK(ROW_REPLACE, MARK_END);
	return ret ? ret : iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
}

static int detach(void)
{
	int ret;

	MARK(ROW_DETACH, MARK_BEGIN);
	ret = iopf_dev_detach(bench.ep.dev);
	MARK(ROW_DETACH, MARK_END);
	return ret ? ret : iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
}

static __always_inline int pinned_round(const enum row row, __u64 bytes, bool huge)
{
	void *memory = fresh_memory(bytes, huge);
	int ret;

	if (!memory)
		return iopf_err(-ENOMEM, "no memory to start with");
	MARK(row, MARK_BEGIN);
	ret = map(memory, IOVA, bytes);
	MARK(row, MARK_END);
	if (!ret)
		ret = unmap(bytes);
	munmap(memory, bytes);
	return ret;
}

static int pinned(void)
{
	return pinned_round(ROW_PINNED, START_BYTES, false);
}

static int pinned_huge(void)
{
	return pinned_round(ROW_PINNED_HUGE, START_BYTES, true);
}

static int pinned_gib(void)
{
	return pinned_round(ROW_PINNED_GIB, GIB, false);
}

/* Serve one group of a program that starts. */
static int serve_start(char *memory, __u64 bytes)
{
	unsigned int nr = wait_and_read(GROUP);
	__u64 offset = bench.rec[0].addr - IOVA;
	int ret;

	if (nr != START_GROUP || offset % (START_GROUP * PAGE) || offset >= bytes)
		return iopf_err(-EIO, "%u requests from %#llx on", nr, bench.rec[0].addr);
	ret = map(memory + offset, IOVA + offset, START_GROUP * PAGE);
	if (!ret && !answer(&bench.rec[0]))
		ret = iopf_err(-EIO, "the answer was refused");
	return ret;
}

static int wait_all(const unsigned int *slot, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++)
		ret = wait_ok(slot[i]);
	return ret;
}

/* As many transfers as the ring takes, or as are left, from the page @first on */
static int start_some(char *memory, __u64 bytes, __u64 first, unsigned int nr,
		      unsigned int *slot)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++)
		ret = start_op(&bench.ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP,
			       first + i * START_STRIDE, START_GROUP * PAGE, &slot[i]);
	for (i = 0; !ret && i < nr; i++)
		ret = serve_start(memory, bytes);
	return ret;
}

static __always_inline int on_demand_round(const enum row row, __u64 bytes)
{
	unsigned int slot[IN_RING], now = 0, left = bytes / START_STRIDE;
	char *memory = fresh_memory(bytes, false);
	__u64 iova = IOVA;
	int ret = 0;

	if (!memory)
		return iopf_err(-ENOMEM, "no memory to start with");
	MARK(row, MARK_BEGIN);
	while (!ret && left) {
		/* Nothing at first, and nothing of the last ones */
		ret = wait_all(slot, now);
		now = left < IN_RING ? left : IN_RING;
		left -= now;
		if (!ret)
			ret = start_some(memory, bytes, iova, now, slot);
		iova += now * START_STRIDE;
	}
	MARK(row, MARK_END);
	if (!ret)
		ret = wait_all(slot, now);
	if (!ret)
		ret = unmap(bytes);
	munmap(memory, bytes);
	return ret;
}

static int on_demand(void)
{
	return on_demand_round(ROW_ON_DEMAND, START_BYTES);
}

static int on_demand_gib(void)
{
	return on_demand_round(ROW_ON_DEMAND_GIB, GIB);
}

/* A device of which nothing was opened yet */
static int open_nth(unsigned int nth, struct iopf_dev **dev)
{
	if (bench.found.nr <= nth)
		return iopf_err(-EOPNOTSUPP, "%u endpoints", bench.found.nr);
	return iopf_dev_open(bench.ctx, bench.found.bdf[nth], dev);
}

/* The device walks none of its tables, which may be anywhere. */
static int attach_vtd_s1(struct iopf_dev *dev)
{
	struct iommu_hwpt_vtd_s1 data = { .pgtbl_addr = BASE, .addr_width = 48 };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = iopf_dev_id(dev),
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data),
		.data_uptr = (unsigned long)&data,
	};
	int ret = alloc_parent(bench.ctx, cmd.dev_id, bench.ep.ioas_id,
			       IOMMU_HWPT_ALLOC_NEST_PARENT, &cmd.pt_id);

	if (!ret)
		ret = ctx_ioctl(bench.ctx, IOMMU_HWPT_ALLOC, &cmd, "nested page table");
	if (!ret)
		ret = iopf_dev_attach(dev, cmd.out_hwpt_id);
	if (!ret)
		bench.nested = cmd.out_hwpt_id;
	return ret;
}

static int open_nested(void)
{
	struct iopf_dev *dev;
	unsigned int i;
	int ret;

	if (bench.nested)
		return 0;
	ret = open_nth(1, &dev);
	if (ret)
		return ret;
	for (i = 0; i < INVS; i++) {
		bench.pages[i].addr = INV_GVA + i * INV_STRIDE;
		bench.pages[i].npages = 1;
	}
	ret = attach_vtd_s1(dev);
	if (ret)
		iopf_dev_close(dev);
	return ret;
}

/* What the guest has changed. On an SMMUv3 it has to tell the device itself. */
static void fill_guest_pages(const struct guest_dev *dev)
{
	struct inv inv = { .space = &dev->space, .dev = GUEST_DEV, .npages = 1 };
	const struct vendor *vendor = bench.guest.vendor;
	bool tells = vendor->inv_type == IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
	char *elem = bench.guest_pages;
	unsigned int i;

	bench.per_page = 1 + tells;
	for (i = 0; i < INVS; i++) {
		inv.gva = INV_GVA + i * INV_STRIDE;
		inv.what = INV_PAGES;
		vendor->inv(&inv, false, elem);
		elem += vendor->inv_len;
		if (!tells)
			continue;
		inv.what = INV_DEVICE_PAGE;
		vendor->inv(&inv, false, elem);
		elem += vendor->inv_len;
	}
}

/* The host is to invalidate what the device has, if the guest has the choice. */
static int open_guest(void)
{
	static struct guest_dev dev = { .space.host_devtlb = true };
	struct guest *guest = &bench.guest;
	int ret;

	if (dev.space.hwpt_id)
		return 0;
	ret = open_nth(2, &dev.ep.dev);
	if (ret)
		return ret;
	dev.ep.ctx = bench.ctx;
	guest->vendor = vendor_of(dev.ep.dev);
	ret = guest->vendor ? guest_open(guest, bench.ctx, dev.ep.dev) :
			      iopf_err(-EOPNOTSUPP, "this IOMMU has no vIOMMUs");
	if (ret) {
		guest_close(guest);
		*guest = (struct guest) { 0 };
		iopf_dev_close(dev.ep.dev);
		return ret;
	}
	ret = guest_add(guest, &dev, GUEST_DEV, GUEST_DOMAIN, GUEST_PASID);
	fill_guest_pages(&dev);
	return ret;
}

/* @nr pages of @per elements in one array, or in @nr arrays */
static __always_inline int invalidate(const enum row row, struct iommu_hwpt_invalidate *cmd,
				      unsigned int nr, unsigned int per, bool each)
{
	unsigned int i, calls = each ? nr : 1, done = 0;
	int ret = 0;

	cmd->size = sizeof(*cmd);
	cmd->entry_num = per * nr / calls;
	MARK(row, MARK_BEGIN);
	for (i = 0; !ret && i < calls; i++) {
		ret = ioctl(iopf_ctx_fd(bench.ctx), IOMMU_HWPT_INVALIDATE, cmd);
		done += cmd->entry_num;
		cmd->data_uptr += per * cmd->entry_len;
	}
	MARK(row, MARK_END);
	if (ret)
		return iopf_err(-errno, "invalidation: %s", strerror(errno));
	return done == per * nr ? 0 : iopf_err(-EIO, "%u of %u invalidations", done, per * nr);
}

static __always_inline int nested_round(const enum row row, unsigned int nr, bool each)
{
	struct iommu_hwpt_invalidate cmd = {
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.data_uptr = (unsigned long)bench.pages,
		.entry_len = sizeof(bench.pages[0]),
	};
	int ret = open_nested();

	cmd.hwpt_id = bench.nested;
	return ret ? ret : invalidate(row, &cmd, nr, 1, each);
}

static __always_inline int guest_round(const enum row row, unsigned int nr, bool each)
{
	struct iommu_hwpt_invalidate cmd = { .data_uptr = (unsigned long)bench.guest_pages };
	int ret = open_guest();

	if (ret)
		return ret;
	cmd.hwpt_id = bench.guest.viommu_id;
	cmd.data_type = bench.guest.vendor->inv_type;
	cmd.entry_len = bench.guest.vendor->inv_len;
	return invalidate(row, &cmd, nr, bench.per_page, each);
}

#define INV_ROUND(name, kind, row, nr, each)			\
	static int name(void)					\
	{							\
		return kind##_round(ROW_##row, nr, each);	\
	}

INV_ROUND(inv_1, nested, INV_1, 1, false)
INV_ROUND(inv_32, nested, INV_32, 32, false)
INV_ROUND(inv_512, nested, INV_512, INVS, false)
INV_ROUND(inv_each_32, nested, INV_EACH_32, 32, true)
INV_ROUND(inv_each_512, nested, INV_EACH_512, INVS, true)
INV_ROUND(guest_1, guest, GUEST_1, 1, false)
INV_ROUND(guest_32, guest, GUEST_32, 32, false)
INV_ROUND(guest_512, guest, GUEST_512, INVS, false)
INV_ROUND(guest_each_32, guest, GUEST_EACH_32, 32, true)
INV_ROUND(guest_each_512, guest, GUEST_EACH_512, INVS, true)

/* One to set the counter, two each turn, and a mark. */
static int known(void)
{
	static_assert(KNOWN == 1 + 2 * KNOWN_TURNS + 1, "number of instructions");
	MARK(ROW_KNOWN, MARK_BEGIN);
#if defined(__aarch64__)
	asm volatile("mov w9, %0\n"
		     "1:	subs w9, w9, 1\n"
		     "	b.ne 1b"
		     : : "i" (KNOWN_TURNS) : "w9", "cc");
#else
	asm volatile("movl %0, %%ecx\n"
		     "1:	decl %%ecx\n"
		     "	jnz 1b"
		     : : "i" (KNOWN_TURNS) : "ecx", "cc");
#endif
	MARK(ROW_KNOWN, MARK_END);
	return 0;
}

static const struct {
	const char *name;
	unsigned int rounds;
	int (*round)(void);
} rows[] = {
	[ROW_ONE_PAGE] = { "one-page", ROUNDS, one_page },
	[ROW_GROUP] = { "group", ROUNDS, group },
	[ROW_ANSWERS] = { "answers", ROUNDS, many_answers },
	[ROW_ATTACH] = { "attach", ROUNDS, attach },
	[ROW_REPLACE] = { "replace", ROUNDS, replace },
	[ROW_DETACH] = { "detach", ROUNDS, detach },
	[ROW_PINNED] = { "pinned", START_ROUNDS, pinned },
	[ROW_PINNED_HUGE] = { "pinned-huge", START_ROUNDS, pinned_huge },
	[ROW_ON_DEMAND] = { "on-demand", START_ROUNDS, on_demand },
	/* the host takes the number from the name */
	[ROW_KNOWN] = { "known-" XSTR(KNOWN), ROUNDS, known },
	[ROW_ONE_CALL] = { "one-call", ROUNDS, one_call },
	[ROW_DEVICES] = { "devices", ROUNDS, devices },
	[ROW_MANY_OPEN] = { "many-open", OPEN_ROUNDS, many_open },
	[ROW_PINNED_GIB] = { "pinned-gib", START_ROUNDS - 1, pinned_gib },
	[ROW_ON_DEMAND_GIB] = { "on-demand-gib", START_ROUNDS - 1, on_demand_gib },
	[ROW_INV_1] = { "inv-1", ROUNDS, inv_1 },
	[ROW_INV_32] = { "inv-32", ROUNDS, inv_32 },
	[ROW_INV_512] = { "inv-512", ROUNDS, inv_512 },
	[ROW_INV_EACH_32] = { "inv-each-32", ROUNDS, inv_each_32 },
	[ROW_INV_EACH_512] = { "inv-each-512", ROUNDS, inv_each_512 },
	[ROW_GUEST_1] = { "guest-1", ROUNDS, guest_1 },
	[ROW_GUEST_32] = { "guest-32", ROUNDS, guest_32 },
	[ROW_GUEST_512] = { "guest-512", ROUNDS, guest_512 },
	[ROW_GUEST_EACH_32] = { "guest-each-32", ROUNDS, guest_each_32 },
	[ROW_GUEST_EACH_512] = { "guest-each-512", ROUNDS, guest_each_512 },
};

static int setup(void)
{
	int ret;

	iopf_pci_scan(find_endpoint, &bench.found);
	if (!bench.found.nr)
		return iopf_err(-ENODEV, "no test endpoint 1234:11f0 with PRI on vfio-pci");
	ret = iopf_ctx_open(&bench.ctx);
	if (!ret)
		ret = endpoint_open(&bench.ep, bench.ctx, bench.found.bdf[0], NULL);
	if (!ret)
		ret = iopf_hwpt_alloc(bench.ctx, iopf_dev_id(bench.ep.dev), bench.ep.ioas_id,
				      bench.ep.queue, &bench.other);
	if (ret)
		return ret;
	bench.queue = iopf_queue_fd(bench.ep.queue);
	bench.memory = fresh_memory(GROUP * PAGE, false);
	if (!bench.memory)
		return iopf_err(-ENOMEM, "no memory for a group");
	memset(bench.memory, 1, GROUP * PAGE);
	return 0;
}

/* Returns 0, or what was wrong: -EOPNOTSUPP if this kernel cannot do it. */
static int run_row(enum row row)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < rows[row].rounds; i++)
		ret = rows[row].round();
	return ret;
}

static bool is_wanted(enum row row, char **names)
{
	if (!*names)
		return true;
	while (*names && strcmp(*names, rows[row].name))
		names++;
	return *names;
}

int main(int argc, char **argv)
{
	int ret, broken = setup(), failed = 0;
	enum row row;

	setlinebuf(stdout);
	printf("TAP version 13\n1..%d\n", ROW_LAST);
	for (row = ROW_ONE_PAGE; row <= ROW_LAST; row++) {
		if (!is_wanted(row, argv + !!argc)) {
			printf("ok %d %s # SKIP not asked for\n", row, rows[row].name);
			continue;
		}
		ret = broken ? broken : run_row(row);
		if (ret && ret != -EOPNOTSUPP) {
			printf("# %s: %s\nnot ok %d %s\n", rows[row].name, iopf_error(), row,
			       rows[row].name);
			/* what is open now would be part of the next row */
			broken = ret;
			failed = 1;
		} else {
			printf("ok %d %s%s%s\n", row, rows[row].name, ret ? " # SKIP " : "",
			       ret ? iopf_error() : "");
		}
	}
	return failed;
}

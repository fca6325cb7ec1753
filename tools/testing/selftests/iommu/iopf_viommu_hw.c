// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMUs of guests that AMD's hardware works off: this program is a guest with rings of
 * its own, and the VMM that lets it have those. Test endpoints 1234:11f0 work with the
 * guest's tables.
 *
 * The guest makes no system call while it invalidates something or answers page
 * requests: one that it makes nevertheless is a signal, and counted.
 *
 * Without two endpoints on vfio-pci, or where the IOMMU has no such vIOMMUs, all tests
 * are skipped.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_console.h"
#include "iopf_cost.h"
#include "iopf_viommu_rings.h"

#define TEST_SECONDS	900
#define NR_DEVS		2

/* Where devices work */
#define GVA		0x123456789000ULL
#define PLACE(nr)	(GVA + (nr) * 0x100000ULL)

/* Events, and page requests */
#define EV_FAULT	2
#define EV_ILLEGAL	5
#define EV_COMMAND	6
#define EV_GUEST_FAULT	0xb
#define EV_VIOMMU	0xc
#define EV_VPPR		0x40000000ULL
#define PPR_TAG(entry)	((entry) >> 32 & 0x1ff)
#define PPR_PASID(entry) ((entry) >> 16 & 0xffff)
#define PPR_GN		((__u64)1 << 56)
#define PPR_FAILED	((__u64)1 << 44)

/* Faults of a device at an address, one or more: it may try again */
static int take_faults(struct hw_guest *hw, __u32 dev, __u64 gva)
{
	__u64 event[2];
	int ret;

	ret = wait_for(hw, EVENT, event);
	if (ret)
		return ret;
	do {
		if (TYPE(event[0]) != EV_FAULT || (event[0] & 0xffff) != dev ||
		    (event[1] & ~0xfffULL) != gva)
			return iopf_err(-EPROTO, "another event: %#llx %#llx",
					(unsigned long long)event[0],
					(unsigned long long)event[1]);
	} while (take(hw, EVENT, event));
	return 0;
}

static int restart(struct hw_guest *hw, enum ring_kind kind)
{
	int ret = ring_off(hw, kind);

	return ret ? ret : ring_on(hw, kind);
}

/* What counts the guest's system calls does count, and carries them out. */
TEST(calls)
{
	pid_t pid = getpid(), seen[3];
	unsigned int i, nr;

	ASSERT_LIB(calls_begin());
	for (i = 0; i < ARRAY_SIZE(seen); i++)
		seen[i] = syscall(SYS_getpid);
	nr = calls_end();
	EXPECT_EQ(ARRAY_SIZE(seen), nr);
	for (i = 0; i < ARRAY_SIZE(seen); i++)
		EXPECT_EQ(pid, seen[i]);
	ASSERT_LIB(guest_begin());
	close(-1);
	EXPECT_EQ(-EPROTO, guest_end());
	ASSERT_LIB(guest_begin());
	EXPECT_LIB(guest_end());
}

/* One guest with both devices, which have each other's ids */
FIXTURE(hw)
{
	struct found found;
	struct iopf_ctx *ctx;
	struct hw_guest guest;
	struct guest_dev dev[NR_DEVS];
};

FIXTURE_VARIANT(hw)
{
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(hw, iotlb)
{
	.mode = IOPF_TD_MODE_UNTRANSLATED,
};

FIXTURE_VARIANT_ADD(hw, devtlb)
{
	.mode = IOPF_TD_MODE_TRANSLATED,
};

FIXTURE_SETUP(hw)
{
	struct hw_guest *hw = &self->guest;
	unsigned int i;
	int ret;

	iopf_pci_scan(find_endpoint, &self->found);
	if (self->found.nr < NR_DEVS)
		SKIP(return, "no two test endpoints 1234:11f0 with PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	for (i = 0; i < NR_DEVS; i++) {
		self->dev[i].ep.ctx = self->ctx;
		self->dev[i].mode = variant->mode;
		ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[i],
					 &self->dev[i].ep.dev));
	}
	if (!amd->nests(self->dev->ep.dev))
		SKIP(return, "this IOMMU has no vIOMMUs of hardware");
	ret = hw_open(hw, self->ctx, iopf_dev_id(self->dev->ep.dev));
	if (ret == -EOPNOTSUPP)
		SKIP(return, "this IOMMU has no vIOMMUs of hardware");
	ASSERT_LIB(ret);
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(dev_add(hw, &self->dev[i],
				   rid_of(self->found.bdf[1 - i]), 40 + i));
}

FIXTURE_TEARDOWN(hw)
{
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		if (!self->dev[i].ep.dev)
			continue;
		EXPECT_LIB(guest_del(&self->dev[i]));
		iopf_dev_close(self->dev[i].ep.dev);
	}
	EXPECT_LIB(hw_close(&self->guest));
	iopf_ctx_close(self->ctx);
}

#define TEST_HW(name) TEST_F_TIMEOUT(hw, name, TEST_SECONDS)

/* Map, remap and unmap: what was there is known until the guest says so, by its ring. */
TEST_HW(invalidate)
{
	struct hw_guest *hw = &self->guest;
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];
		__u64 old = guest_page(&hw->g), new = guest_page(&hw->g);
		struct guest_dev *other = &self->dev[1 - i];
		__u64 same = guest_page(&hw->g);

		amd->set_page(&dev->space, PLACE(i), old);
		amd->set_page(&other->space, PLACE(i), same);
		ASSERT_LIB(arrives(dev, PLACE(i), old));
		ASSERT_LIB(arrives(other, PLACE(i), same));
		amd->set_page(&dev->space, PLACE(i), new);
		amd->set_page(&other->space, PLACE(i), new);
		EXPECT_LIB(arrives(dev, PLACE(i), old));
		ASSERT_LIB(invalidate(hw, dev, PLACE(i)));
		EXPECT_LIB(arrives(dev, PLACE(i), new));
		/* Neither is the other's. */
		EXPECT_LIB(arrives(other, PLACE(i), same));
		ASSERT_LIB(invalidate(hw, other, PLACE(i)));
		EXPECT_LIB(arrives(other, PLACE(i), new));
	}
}

/* More commands than there is room for, so that the ring goes round */
TEST_HW(round)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	__u64 page[2] = { guest_page(&hw->g), guest_page(&hw->g) };
	unsigned int i;

	for (i = 0; i < RING_ENTRIES; i++) {
		amd->set_page(&dev->space, GVA, page[i & 1]);
		ASSERT_LIB(invalidate(hw, dev, GVA));
		if (i % 16 == 0)
			EXPECT_LIB(arrives(dev, GVA, page[i & 1]));
	}
}

/* What the guest's tables do not have is an event in its log, with its ids. */
TEST_HW(events)
{
	struct hw_guest *hw = &self->guest;
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];
		__u64 page = guest_page(&hw->g);

		amd->set_page(&dev->space, PLACE(i), page);
		ASSERT_LIB(arrives(dev, PLACE(i), page));
		amd->set_page(&dev->space, PLACE(i), 0);
		ASSERT_LIB(invalidate(hw, dev, PLACE(i)));
		ASSERT_LIB(write_fails(dev, PLACE(i)));
		EXPECT_LIB(take_faults(hw, dev->virt_id, PLACE(i)));
	}
}

/* Page requests are in the guest's log, and the guest answers them by its ring. */
TEST_HW(page_requests)
{
	struct hw_guest *hw = &self->guest;
	struct testdev_result r;
	unsigned int i, slot;
	__u64 entry[2];
	bool done;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	for (i = 0; i < 2 * NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i & 1];
		__u64 page = guest_page(&hw->g);
		bool refuse = i & 2;

		memset(host(&hw->g, page), 0, 4096);
		ASSERT_LIB(start_op(&dev->ep, IOPF_TD_OP_FILL, 0, PLACE(i), 4096,
				    &slot));
		ASSERT_LIB(wait_for(hw, PPR, entry));
		EXPECT_EQ(1, TYPE(entry[0]));
		EXPECT_EQ(dev->virt_id, entry[0] & 0xffff);
		EXPECT_EQ(PLACE(i), entry[1] & ~0xfffULL);
		ASSERT_LIB(guest_begin());
		if (!refuse)
			amd->set_page(&dev->space, PLACE(i), page);
		put(hw, ANSWER | dev->virt_id,
		    PPR_TAG(entry[0]) << 32 | (refuse ? PPR_FAILED : 0));
		done = complete(hw);
		ASSERT_LIB(guest_end());
		EXPECT_TRUE(done);
		ASSERT_LIB(wait_op(&dev->ep, slot, &r));
		if (refuse) {
			EXPECT_NE(IOPF_TD_ST_OK, r.status);
			continue;
		}
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
		EXPECT_EQ(4096, testdev_pattern_check(host(&hw->g, page), 4096,
						      SEED, 0));
	}
	/* The VMM has seen none of them. */
	for (i = 0; i < NR_DEVS; i++) {
		struct pollfd pfd = {
			.fd = iopf_queue_fd(self->dev[i].ep.queue),
			.events = POLLIN,
		};

		EXPECT_EQ(0, poll(&pfd, 1, 0));
	}
}

/* The lower 8 bits, which some commands have in a field of their own, are the same. */
static const __u32 pasids[] = { 5, 0x105 };

#define NR_SPACES (ARRAY_SIZE(pasids) + 1)

/* One for each of the PASIDs, beside what the device has without one, the last */
static void add_pasids(struct guest_dev *dev, struct space space[NR_SPACES])
{
	unsigned int i;

	for (i = 0; i < NR_SPACES; i++) {
		space[i] = dev->space;
		if (i == ARRAY_SIZE(pasids))
			break;
		space[i].root = guest_page(dev->space.guest);
		space[i].pasid = pasids[i];
		space[i].dma_pasid = pasids[i];
		amd->set_pasid(&dev->space, &space[i]);
	}
}

static struct guest_dev *with(struct guest_dev *dev, const struct space *space)
{
	dev->space = *space;
	return dev;
}

static bool has_pasids(struct guest_dev *dev)
{
	return testdev_reg(&dev->ep.td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PASID;
}

/* Where the device writes to in each of the spaces; and what is there now, or was before */
struct pasid_pages {
	__u64 gva;
	__u64 page[NR_SPACES][2];
};

static int map_spaces(struct guest_dev *dev, struct space space[NR_SPACES],
		      struct pasid_pages *pages)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < NR_SPACES && !ret; i++) {
		pages->page[i][0] = guest_page(space[i].guest);
		pages->page[i][1] = guest_page(space[i].guest);
		amd->set_page(&space[i], pages->gva, pages->page[i][1]);
		ret = arrives(with(dev, &space[i]), pages->gva,
			      pages->page[i][1]);
		amd->set_page(&space[i], pages->gva, pages->page[i][0]);
	}
	return ret;
}

/* Only the one of @nr has what the guest has there now. */
static int is_new(struct guest_dev *dev, struct space space[NR_SPACES],
		  const struct pasid_pages *pages, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < NR_SPACES && !ret; i++)
		ret = arrives(with(dev, &space[i]), pages->gva,
			      pages->page[i][i != nr]);
	return ret;
}

/* Commands without a system call */
static int command(struct hw_guest *hw, const struct inv *inv, unsigned int nr)
{
	bool done;
	int ret;

	ret = guest_begin();
	if (ret)
		return ret;
	while (nr--)
		put_inv(hw, inv++);
	done = complete(hw);
	ret = guest_end();
	if (!ret && !done)
		ret = iopf_err(-EPROTO, "the ring has stopped");
	return ret;
}

/* The table of the guest has PASIDs: what it says of one is not about another. */
TEST_HW(pasids)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	struct space space[NR_SPACES];
	unsigned int i;

	/* Whoever has a PASID has ATS. */
	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	if (!has_pasids(dev))
		SKIP(return, "the kernel has not enabled PASID in the device");
	add_pasids(dev, space);
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		struct pasid_pages iommu = { .gva = PLACE(2 * i) };
		struct pasid_pages device = { .gva = PLACE(2 * i + 1) };
		const struct inv in_iommu[] = {
			/* What the device has is derived from the IOMMU's. */
			{ INV_PAGES, &space[i], dev->virt_id, iommu.gva, 1 },
			{ INV_DEVICE, NULL, dev->virt_id },
		};

		ASSERT_LIB(map_spaces(dev, space, &iommu));
		EXPECT_LIB(is_new(dev, space, &iommu, NR_SPACES));
		ASSERT_LIB(command(hw, in_iommu, ARRAY_SIZE(in_iommu)));
		EXPECT_LIB(is_new(dev, space, &iommu, i));

		ASSERT_LIB(map_spaces(dev, space, &device));
		ASSERT_LIB(invalidate(hw, with(dev, &space[i]), device.gva));
		EXPECT_LIB(is_new(dev, space, &device, i));
	}
	with(dev, &space[ARRAY_SIZE(pasids)]);
}

/* And so is it with the table itself: a PASID gets another page table. */
TEST_HW(pasid_tables)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	const struct inv device = { INV_DEVICE, NULL, dev->virt_id };
	struct pasid_pages pages = { .gva = GVA };
	struct space space[NR_SPACES], other;
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	if (!has_pasids(dev))
		SKIP(return, "the kernel has not enabled PASID in the device");
	add_pasids(dev, space);
	ASSERT_LIB(map_spaces(dev, space, &pages));
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		other = space[i];
		other.root = guest_page(&hw->g);
		amd->set_page(&other, GVA, pages.page[i][0]);
		amd->set_pasid(&dev->space, &other);
	}
	/* The one of another, which is new, too */
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		const struct inv inv[] = {
			{ INV_TABLE, &space[i], dev->virt_id }, device,
		};

		ASSERT_LIB(command(hw, &device, 1));
		EXPECT_LIB(arrives(with(dev, &space[i]), GVA,
				   pages.page[i][1]));
		ASSERT_LIB(command(hw, inv, ARRAY_SIZE(inv)));
		EXPECT_LIB(arrives(with(dev, &space[i]), GVA,
				   pages.page[i][0]));
	}
	with(dev, &space[ARRAY_SIZE(pasids)]);
}

/* The answer is to the one with that PASID, and to no other. */
TEST_HW(pasid_requests)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_PASID,
		.length = 4096,
		.data = SEED,
	};
	unsigned int slot[ARRAY_SIZE(pasids)], i;
	struct space space[NR_SPACES];
	struct testdev_result r;
	__u64 entry[2], page;
	__u32 answers;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	if (!has_pasids(dev))
		SKIP(return, "the kernel has not enabled PASID in the device");
	add_pasids(dev, space);
	/* At the same address, so that nothing but the PASID tells them apart */
	op.iova = GVA;
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		op.pasid = pasids[i];
		ASSERT_LIB(testdev_submit(&dev->ep.td, &op, &slot[i]));
	}
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		unsigned int nr, tag;
		bool done;

		ASSERT_LIB(wait_for(hw, PPR, entry));
		EXPECT_EQ(1, TYPE(entry[0]));
		EXPECT_EQ(dev->virt_id, entry[0] & 0xffff);
		EXPECT_TRUE(entry[0] & PPR_GN);
		EXPECT_EQ(GVA, entry[1] & ~0xfffULL);
		nr = PPR_PASID(entry[0]) == pasids[1];
		ASSERT_EQ(pasids[nr], PPR_PASID(entry[0]));
		tag = PPR_TAG(entry[0]);
		page = guest_page(&hw->g);
		memset(host(&hw->g, page), 0, 4096);
		answers = testdev_responses(&dev->ep.td);
		ASSERT_LIB(guest_begin());
		amd->set_page(&space[nr], GVA, page);
		put(hw, ANSWER | dev->virt_id | (__u64)pasids[nr] << 32,
		    (__u64)tag << 32 | CMD_GN);
		done = complete(hw);
		ASSERT_LIB(guest_end());
		EXPECT_TRUE(done);
		ASSERT_LIB(wait_op(&dev->ep, slot[nr], &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
		EXPECT_EQ(4096, testdev_pattern_check(host(&hw->g, page), 4096,
						      SEED, 0));
		EXPECT_EQ(answers + 1, testdev_responses(&dev->ep.td));
		if (testdev_responses(&dev->ep.td) > answers) {
			struct testdev_response rsp;

			ASSERT_LIB(testdev_response(&dev->ep.td, answers, &rsp));
			EXPECT_EQ(pasids[nr], rsp.pasid);
			EXPECT_EQ(tag, rsp.prgi);
			EXPECT_EQ(0, rsp.flags);
		}
	}
	/* A PASID that the guest refuses */
	op.pasid = pasids[0];
	op.iova = PLACE(1);
	ASSERT_LIB(testdev_submit(&dev->ep.td, &op, &slot[0]));
	ASSERT_LIB(wait_for(hw, PPR, entry));
	put(hw, ANSWER | dev->virt_id | (__u64)pasids[0] << 32,
	    PPR_TAG(entry[0]) << 32 | PPR_FAILED | CMD_GN);
	EXPECT_TRUE(complete(hw));
	ASSERT_LIB(wait_op(&dev->ep, slot[0], &r));
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
	EXPECT_LIB(check_answers(&dev->ep, ARRAY_SIZE(pasids), 1));
}

/* A guest begins with all ids that there could be. It has none of most of them. */
TEST_HW(unused_ids)
{
	struct hw_guest *hw = &self->guest;
	const struct space none = { .guest = &hw->g, .domain = 0xfff0 };
	const struct inv inv = { .what = INV_TABLE, .space = &none };
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < 0x10000; i += 0x111) {
		put(hw, DEVTAB | i, 0);
		put_inv(hw, &inv);
		ASSERT_TRUE(complete(hw));
	}
	put(hw, DEVTAB | 0xffff, 0);
	ASSERT_TRUE(complete(hw));
}

/* A domain ID, and a device, that the guest gives up and has again */
TEST_HW(ids_again)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	__u64 old, new;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		__u32 virt_id = dev->virt_id;

		ASSERT_LIB(guest_del(dev));
		ASSERT_LIB(dev_add(hw, dev, virt_id, 50 + i % 2));
		old = guest_page(&hw->g);
		new = guest_page(&hw->g);
		amd->set_page(&dev->space, GVA, old);
		ASSERT_LIB(arrives(dev, GVA, old));
		amd->set_page(&dev->space, GVA, new);
		EXPECT_LIB(arrives(dev, GVA, old));
		ASSERT_LIB(invalidate(hw, dev, GVA));
		EXPECT_LIB(arrives(dev, GVA, new));
	}
}

/* What a device is to the guest goes with its vDEVICE: commands do not reach it. */
TEST_HW(vdevice)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	const struct inv inv = { .what = INV_DEVICE, .dev = dev->virt_id };
	__u64 page = guest_page(&hw->g);

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	amd->set_page(&dev->space, GVA, page);
	ASSERT_LIB(arrives(dev, GVA, page));
	ASSERT_NE(0, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	put_inv(hw, &inv);
	complete(hw);
	EXPECT_NE(0, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
	/* With another id, for the log, too */
	ASSERT_LIB(alloc_vdevice(self->ctx, hw->g.viommu_id,
				 iopf_dev_id(dev->ep.dev), 0xabc,
				 &dev->vdevice_id));
	dev->virt_id = 0xabc;
	put_inv(hw, &(const struct inv){ .what = INV_DEVICE, .dev = 0xabc });
	EXPECT_TRUE(complete(hw));
	EXPECT_EQ(0, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
}

/*
 * Something of the host's is invalidated, and waited for: on the model of these lanes
 * what has been begun for a guest is done by then.
 */
static int host_waits(struct hw_guest *hw)
{
	const __u64 gpa = GPA + 4 * GUEST_SIZE;
	void *mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (mem == MAP_FAILED)
		return iopf_err(-errno, "memory");
	ret = iopf_ioas_map(hw->g.ctx, hw->g.ioas_id, mem, 4096, gpa, IOPF_RW);
	if (!ret)
		ret = iopf_ioas_unmap(hw->g.ctx, hw->g.ioas_id, gpa, 4096);
	munmap(mem, 4096);
	return ret;
}

/* What was begun before a vDEVICE went is not sent to the device later. */
TEST_HW(vdevice_late)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	const struct inv inv = { .what = INV_DEVICE, .dev = dev->virt_id };
	__u64 page = guest_page(&hw->g);
	__u32 count;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	amd->set_page(&dev->space, GVA, page);
	ASSERT_LIB(arrives(dev, GVA, page));
	put_inv(hw, &inv);
	doorbell(hw);
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	count = testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT);
	ASSERT_LIB(host_waits(hw));
	EXPECT_EQ(count, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
}

/* What a ring has begun is over when it has gone: its memory is somebody else's. */
TEST_HW(rings_late)
{
	struct hw_guest *hw = &self->guest;
	char *log = host(&hw->g, hw->ring[EVENT].gpa), copy[RING_SIZE];
	struct guest_dev *dev = self->dev;
	bool stored;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	EXPECT_TRUE(complete(hw));
	put_wait(hw);
	doorbell(hw);
	ASSERT_LIB(ring_off(hw, CMD));
	stored = is_stored(hw);
	ASSERT_LIB(host_waits(hw));
	EXPECT_EQ(stored, is_stored(hw));
	ASSERT_LIB(ring_on(hw, CMD));
	EXPECT_TRUE(complete(hw));

	memset(log, 0, sizeof(copy));
	ASSERT_LIB(write_fails(dev, PLACE(1)));
	ASSERT_LIB(ring_off(hw, EVENT));
	memcpy(copy, log, sizeof(copy));
	ASSERT_LIB(host_waits(hw));
	EXPECT_EQ(0, memcmp(copy, log, sizeof(copy)));
	ASSERT_LIB(ring_on(hw, EVENT));
	ASSERT_LIB(write_fails(dev, PLACE(2)));
	EXPECT_LIB(take_faults(hw, dev->virt_id, PLACE(2)));
}

static int all_zero(struct hw_guest *hw)
{
	unsigned int reg;

	for (reg = 0; reg < VF_SIZE; reg += 4)
		if (vf_read(hw, reg))
			return iopf_err(-EPROTO, "register %#x is %#x", reg,
					vf_read(hw, reg));
	return 0;
}

/*
 * The next guest with the number of one that has gone begins from the beginning, though
 * its rings are where those were; and what was in the maps is not there any more.
 */
TEST_HW(next_guest)
{
	__u32 dev_id = iopf_dev_id(self->dev->ep.dev);
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	const __u64 first = hw->store;
	unsigned int i, round;
	__u64 page[2];

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	ASSERT_LIB(guest_del(&self->dev[1]));
	for (round = 0; round < 3; round++) {
		ASSERT_LIB(write_fails(dev, PLACE(1)));
		ASSERT_LIB(take_faults(hw, dev->virt_id, PLACE(1)));
		EXPECT_TRUE(complete(hw));
		ASSERT_LIB(guest_del(dev));
		ASSERT_LIB(hw_close_viommu(hw));
		hw->g.free = first;
		for (i = STEP_VIOMMU; i <= STEP_MMAP; i++)
			ASSERT_LIB(guest_step(hw, i, dev_id));
		EXPECT_LIB(all_zero(hw));
		for (; i < NR_STEPS; i++)
			ASSERT_LIB(guest_step(hw, i, dev_id));
		ASSERT_LIB(dev_add(hw, dev, dev->virt_id, 40));
		page[0] = guest_page(&hw->g);
		page[1] = guest_page(&hw->g);
		amd->set_page(&dev->space, GVA, page[0]);
		ASSERT_LIB(arrives(dev, GVA, page[0]));
		amd->set_page(&dev->space, GVA, page[1]);
		EXPECT_LIB(arrives(dev, GVA, page[0]));
		ASSERT_LIB(invalidate(hw, dev, GVA));
		EXPECT_LIB(arrives(dev, GVA, page[1]));
	}
}

/* The log has the id that the device has when it is attached, and not one of before. */
TEST_HW(new_id)
{
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 old = dev->space.hwpt_id;
	__u64 event[2];

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->virt_id = 0xabc;
	ASSERT_LIB(dev_step(hw, dev, STEP_VDEVICE));
	/* In place of the other, without a gap */
	ASSERT_LIB(dev_step(hw, dev, STEP_NESTED));
	ASSERT_LIB(dev_step(hw, dev, STEP_ATTACH));
	ASSERT_LIB(iopf_destroy(self->ctx, old));
	ASSERT_LIB(write_fails(dev, GVA));
	EXPECT_LIB(take_faults(hw, 0xabc, GVA));
	/* Without a page table of the guest it is the host's business. */
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, hw->g.parent_id));
	expect_on_console("Event logged \\[IO_PAGE_FAULT");
	ASSERT_LIB(write_fails(dev, GPA + 16 * GUEST_SIZE));
	expect_no_more_on_console();
	EXPECT_FALSE(take(hw, EVENT, event));
}

/* Into a log that has gone nothing is written any more. */
TEST_HW(log_off)
{
	struct hw_guest *hw = &self->guest;
	const __u64 *log = host(&hw->g, hw->ring[EVENT].gpa);
	struct guest_dev *dev = self->dev;
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	ASSERT_LIB(write_fails(dev, PLACE(1)));
	ASSERT_LIB(take_faults(hw, dev->virt_id, PLACE(1)));
	ASSERT_LIB(ring_off(hw, EVENT));
	memset(host(&hw->g, hw->ring[EVENT].gpa), 0, RING_SIZE);
	expect_on_console("Event logged");
	ASSERT_LIB(write_fails(dev, PLACE(2)));
	expect_no_more_on_console();
	for (i = 0; i < RING_SIZE / sizeof(*log); i++)
		ASSERT_EQ(0, log[i])
			TH_LOG("word %u", i);
	ASSERT_LIB(ring_on(hw, EVENT));
	ASSERT_LIB(write_fails(dev, PLACE(3)));
	EXPECT_LIB(take_faults(hw, dev->virt_id, PLACE(3)));
}

/* What the host does not have */
TEST_HW(bad_rings)
{
	struct hw_guest *hw = &self->guest;
	const __u64 gpa = guest_page(&hw->g), far = GPA + 4 * GUEST_SIZE;
	const __u32 cmd_type = IOPF_HW_QUEUE_TYPE_AMD_CMD;
	const struct {
		__u32 type, index;
		__u64 gpa, length;
		int err;
	} bad[] = {
		{ cmd_type, 0, gpa, 4096, EEXIST },
		{ cmd_type, 1, gpa, 4096, EINVAL },
		{ IOPF_HW_QUEUE_TYPE_AMD_EVENT, 1, gpa, 4096, EINVAL },
		{ IOPF_HW_QUEUE_TYPE_AMD_PPR, 1, gpa, 4096, EINVAL },
		{ cmd_type, 0, gpa + 16, 4096, EINVAL },
		{ cmd_type, 0, gpa, 2048, EINVAL },
		{ cmd_type, 0, GPA, 12288, EINVAL },
		{ cmd_type, 0, GPA, 1 << 20, EINVAL },
		{ cmd_type, 0, far, 4096, ENOENT },
		{ cmd_type, 0, GPA + GUEST_SIZE - 4096, 8192, ENOENT },
		{ cmd_type + 3, 0, gpa, 4096, EOPNOTSUPP },
		{ 1, 0, gpa, 4096, EOPNOTSUPP },
	};
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct iommu_hw_queue_alloc cmd = {
			.size = sizeof(cmd),
			.viommu_id = hw->g.viommu_id,
			.type = bad[i].type,
			.index = bad[i].index,
			.nesting_parent_iova = bad[i].gpa,
			.length = bad[i].length,
		};

		EXPECT_EQ(-bad[i].err,
			  ctx_ioctl(self->ctx, IOMMU_HW_QUEUE_ALLOC, &cmd, "ring"))
			TH_LOG("number %u", i);
	}
	/* The memory of a ring stays. */
	EXPECT_EQ(-EBUSY, iopf_ioas_unmap(self->ctx, hw->g.ioas_id, GPA,
					  GUEST_SIZE));
	EXPECT_TRUE(complete(hw));
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, hw->g.viommu_id));
	/* Nor more of the registers than the guest's own */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * VF_SIZE, PROT_READ, MAP_SHARED,
				   iopf_ctx_fd(self->ctx), hw->offset));
}

/* Interrupts, second logs and whatever else a queue could be asked for */
TEST_HW(not_there)
{
	/* Head and tail of second logs; automatic responses, early indicators */
	static const unsigned int regs[] = {
		0x50, 0x58, 0x70, 0x78, 0x80, 0x88, 0x90,
	};
	static const __u32 types[] = {
		IOPF_HW_QUEUE_TYPE_AMD_CMD, IOPF_HW_QUEUE_TYPE_AMD_EVENT,
		IOPF_HW_QUEUE_TYPE_AMD_PPR,
	};
	struct hw_guest *hw = &self->guest;
	unsigned int i, bit;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_LIB(ring_off(hw, i));
		for (bit = 0; bit < 32; bit++) {
			struct iommu_hw_queue_alloc cmd = {
				.size = sizeof(cmd),
				.flags = 1U << bit,
				.viommu_id = hw->g.viommu_id,
				.type = types[i],
				.nesting_parent_iova = hw->ring[i].gpa,
				.length = RING_SIZE,
			};

			EXPECT_EQ(-EOPNOTSUPP,
				  ctx_ioctl(self->ctx, IOMMU_HW_QUEUE_ALLOC, &cmd,
					    "ring"))
				TH_LOG("type %u, flag %u", i, bit);
		}
		ASSERT_LIB(ring_on(hw, i));
	}
	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		vf_write(hw, regs[i], ~0U);
		EXPECT_EQ(0, vf_read(hw, regs[i]))
			TH_LOG("register %#x", regs[i]);
	}
	/* One that wants an interrupt is carried out, and the status has it: poll. */
	EXPECT_FALSE(vf_read(hw, VF_STATUS) & STATUS_WAIT_INT);
	put(hw, WAIT | WAIT_INT | hw->store, ++hw->stored);
	EXPECT_TRUE(complete(hw));
	EXPECT_TRUE(vf_read(hw, VF_STATUS) & STATUS_WAIT_INT);
	vf_write(hw, VF_STATUS, STATUS_WAIT_INT);
	EXPECT_FALSE(vf_read(hw, VF_STATUS) & STATUS_WAIT_INT);
}

/* A vIOMMU with data that is none */
TEST_HW(bad_data)
{
	struct guest other = self->guest.g;
	__u32 dev_id = iopf_dev_id(self->dev->ep.dev), id;
	struct iopf_viommu_amd_hw data;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	EXPECT_EQ(-EINVAL, alloc_hw(&other, dev_id, 0, NULL));
	EXPECT_EQ(-EINVAL, alloc_hw(&other, dev_id, 8, &data));
	EXPECT_EQ(-EFAULT, alloc_hw(&other, dev_id, sizeof(data), (void *)8));
	/* Without the hardware there are no rings. */
	ASSERT_LIB(alloc_viommu(self->ctx, IOPF_VIOMMU_TYPE_AMD, dev_id,
				other.parent_id, &id));
	EXPECT_LIB(iopf_destroy(self->ctx, id));
}

/* Commands that no guest may give: its ring stops, and it finds out why. */
TEST_HW(illegal)
{
	static const __u64 bad[][2] = {
		{ 0, 0 },
		{ 9ULL << 60, 0 },
		{ 10ULL << 60 | 1ULL << 28, 0 },
		{ 15ULL << 60, 0 },
		{ 1ULL << 60 | 1ULL << 59 | 1, 0 },
		{ ~0ULL, ~0ULL },
	};
	struct hw_guest *hw = &self->guest;
	unsigned int i;
	__u64 event[2];

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		__u64 at = hw->ring[CMD].gpa + hw->ring[CMD].pos;

		put(hw, bad[i][0], bad[i][1]);
		EXPECT_FALSE(complete(hw));
		ASSERT_LIB(wait_for(hw, EVENT, event));
		EXPECT_EQ(EV_ILLEGAL, TYPE(event[0]));
		EXPECT_EQ(at, event[1]);
		ASSERT_LIB(restart(hw, CMD));
		EXPECT_TRUE(complete(hw));
	}
	/* A store to what is not the guest's */
	put(hw, WAIT | (GPA + 8 * GUEST_SIZE), 1);
	EXPECT_FALSE(complete(hw));
	ASSERT_LIB(wait_for(hw, EVENT, event));
	EXPECT_EQ(EV_COMMAND, TYPE(event[0]));
	ASSERT_LIB(restart(hw, CMD));
	EXPECT_TRUE(complete(hw));
}

/* Whatever a guest may think of, with doorbells beyond the ring */
TEST_HW(random)
{
	struct hw_guest *hw = &self->guest;
	__u64 *ring = host(&hw->g, hw->ring[CMD].gpa);
	__u64 event[2], page = guest_page(&hw->g);
	unsigned int i, round;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	srandom(4711);
	for (round = 0; round < 200; round++) {
		for (i = 0; i < RING_SIZE / 8; i++)
			ring[i] = (__u64)(random() % 11) << 60 * !(i & 1) |
				  (random() % 3 ? 0 : (__u64)random() << (random() % 32));
		vf_write(hw, VF_CMD + VF_TAIL, random() << 1);
		vf_write(hw, VF_CMD, random() << 1);
		while (take(hw, EVENT, event))
			;
		if (!runs(hw))
			ASSERT_LIB(restart(hw, CMD));
	}
	ASSERT_LIB(restart(hw, CMD));
	ASSERT_LIB(restart(hw, EVENT));
	memset(ring, 0, RING_SIZE);
	amd->set_page(&self->dev->space, GVA, page);
	ASSERT_LIB(invalidate(hw, self->dev, GVA));
	EXPECT_LIB(arrives(self->dev, GVA, page));
}

static int open_events(struct hw_guest *hw, __u32 *id, int *fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = hw->g.viommu_id,
		.type = IOPF_VEVENTQ_TYPE_AMD,
		.veventq_depth = 4,
	};
	int ret = ctx_ioctl(hw->g.ctx, IOMMU_VEVENTQ_ALLOC, &cmd, "vEVENTQ");

	*id = cmd.out_veventq_id;
	*fd = cmd.out_veventq_fd;
	return ret;
}

struct vevent {
	struct iommufd_vevent_header header;
	struct iopf_vevent_amd amd;
};

static int read_event(int fd, struct vevent *event)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (poll(&pfd, 1, LONG_MS) != 1)
		return iopf_err(-ETIMEDOUT, "no event came");
	return read(fd, event, sizeof(*event)) == sizeof(*event) ?
		       0 : iopf_err(-EIO, "half an event");
}

/* Logs that cannot be written: the VMM is told, and once for each time it starts them. */
TEST_HW(errors)
{
	static const enum ring_kind kinds[] = { EVENT, PPR };
	const __u64 gpa = GPA + 4 * GUEST_SIZE;
	struct hw_guest *hw = &self->guest;
	struct guest_dev *dev = self->dev;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_PRGI,
		.prgi = 5,
		.length = 4096,
		.data = SEED,
	};
	struct pollfd pfd = { .events = POLLIN };
	struct testdev_result r;
	struct vevent event;
	unsigned int i, slot;
	char *mem;
	__u32 id;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	mem = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_LIB(iopf_ioas_map(self->ctx, hw->g.ioas_id, mem, RING_SIZE, gpa,
				 IOPF_READ));
	ASSERT_LIB(open_events(hw, &id, &pfd.fd));
	for (i = 0; i < 4; i++) {
		enum ring_kind kind = kinds[i % 2];
		__u64 old = hw->ring[kind].gpa;

		ASSERT_LIB(ring_off(hw, kind));
		hw->ring[kind].gpa = gpa;
		ASSERT_LIB(ring_on(hw, kind));
		if (kind == EVENT) {
			ASSERT_LIB(write_fails(dev, PLACE(1)));
			ASSERT_LIB(write_fails(dev, PLACE(2)));
			ASSERT_LIB(read_event(pfd.fd, &event));
			EXPECT_EQ(EV_GUEST_FAULT, TYPE(event.amd.event[0]));
			EXPECT_EQ(0, event.amd.event[0] >> 32 & 0xffff);
		} else {
			op.iova = PLACE(i);
			ASSERT_LIB(testdev_submit(&dev->ep.td, &op, &slot));
			ASSERT_LIB(read_event(pfd.fd, &event));
			EXPECT_EQ(EV_VIOMMU, TYPE(event.amd.event[0]));
			EXPECT_EQ(0, event.amd.event[0] & 0xffff);
			EXPECT_TRUE(event.amd.event[0] & EV_VPPR);
			/* The guest does not know of the request. */
			put(hw, ANSWER | dev->virt_id,
			    (__u64)op.prgi << 32 | PPR_FAILED);
			EXPECT_TRUE(complete(hw));
			ASSERT_LIB(wait_op(&dev->ep, slot, &r));
			EXPECT_NE(IOPF_TD_ST_OK, r.status);
		}
		EXPECT_EQ(gpa, event.amd.event[1]);
		take_pending_interrupts();
		EXPECT_EQ(0, poll(&pfd, 1, 0));
		ASSERT_LIB(ring_off(hw, kind));
		hw->ring[kind].gpa = old;
		ASSERT_LIB(ring_on(hw, kind));
	}
	close(pfd.fd);
	EXPECT_LIB(iopf_destroy(self->ctx, id));

	/* Nobody has asked: the host's log has it. */
	ASSERT_LIB(ring_off(hw, EVENT));
	hw->ring[EVENT].gpa = gpa;
	ASSERT_LIB(ring_on(hw, EVENT));
	expect_on_console("Event logged \\[GUEST_EVENT_FAULT");
	ASSERT_LIB(write_fails(dev, PLACE(1)));
	expect_no_more_on_console();
	munmap(mem, RING_SIZE);
}

static int store_arrives(struct hw_guest *hw, __u64 gpa, __u64 *mem)
{
	__u64 value = ++hw->stored;

	__atomic_store_n(mem, 0, __ATOMIC_SEQ_CST);
	put(hw, WAIT | gpa, value);
	if (!complete(hw))
		return iopf_err(-EPROTO, "the ring has stopped");
	return __atomic_load_n(mem, __ATOMIC_SEQ_CST) == value ?
		       0 : iopf_err(-EXDEV, "it is somewhere else");
}

/* A second stage whose table grows, and a ring in what is new */
TEST_HW(grow)
{
	const __u64 gpa = 1ULL << 40;
	struct hw_guest *hw = &self->guest;
	char *mem;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	EXPECT_TRUE(complete(hw));
	mem = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_LIB(iopf_ioas_map(self->ctx, hw->g.ioas_id, mem, RING_SIZE, gpa,
				 IOPF_RW));
	EXPECT_TRUE(complete(hw));
	EXPECT_LIB(store_arrives(hw, gpa, (void *)mem));
	munmap(mem, RING_SIZE);
}

static int swap_memory(struct guest *guest, __u64 gpa, void *mem)
{
	int ret = iopf_ioas_unmap(guest->ctx, guest->ioas_id, gpa, 4096);

	return ret ? ret : iopf_ioas_map(guest->ctx, guest->ioas_id, mem, 4096,
					 gpa, IOPF_RW);
}

/* No device is attached: still the hardware is told of what the VMM takes away. */
TEST_HW(second_stage)
{
	const __u64 gpa = GPA + 4 * GUEST_SIZE;
	struct hw_guest *hw = &self->guest;
	void *mem[3];
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(guest_del(&self->dev[i]));
	for (i = 0; i < ARRAY_SIZE(mem); i++) {
		mem[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, mem[i]);
	}
	ASSERT_LIB(iopf_ioas_map(self->ctx, hw->g.ioas_id, mem[0], 4096, gpa,
				 IOPF_RW));
	ASSERT_LIB(store_arrives(hw, gpa, mem[0]));
	ASSERT_LIB(swap_memory(&hw->g, gpa, mem[1]));
	EXPECT_LIB(store_arrives(hw, gpa, mem[1]));
	/* While the guest is gone, too: this is another one. */
	ASSERT_LIB(hw_close_viommu(hw));
	ASSERT_LIB(swap_memory(&hw->g, gpa, mem[2]));
	for (i = STEP_VIOMMU; i < NR_STEPS; i++)
		ASSERT_LIB(guest_step(hw, i, iopf_dev_id(self->dev->ep.dev)));
	EXPECT_LIB(store_arrives(hw, gpa, mem[2]));
	for (i = 0; i < ARRAY_SIZE(mem); i++)
		munmap(mem[i], 4096);
}

/* Two guests with the same ids, of which each has one of the devices */
FIXTURE(guests)
{
	struct found found;
	struct iopf_ctx *ctx[NR_DEVS];
	struct hw_guest guest[NR_DEVS];
	struct guest_dev dev[NR_DEVS];
};

FIXTURE_SETUP(guests)
{
	unsigned int i;
	int ret;

	iopf_pci_scan(find_endpoint, &self->found);
	if (self->found.nr < NR_DEVS)
		SKIP(return, "no two test endpoints 1234:11f0 with PRI on vfio-pci");
	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];

		ASSERT_LIB(iopf_ctx_open(&self->ctx[i]));
		dev->ep.ctx = self->ctx[i];
		ASSERT_LIB(iopf_dev_open(self->ctx[i], self->found.bdf[i],
					 &dev->ep.dev));
		if (!amd->nests(dev->ep.dev))
			SKIP(return, "this IOMMU has no vIOMMUs of hardware");
		ret = hw_open(&self->guest[i], self->ctx[i],
			      iopf_dev_id(dev->ep.dev));
		if (ret == -EOPNOTSUPP)
			SKIP(return, "this IOMMU has no vIOMMUs of hardware");
		ASSERT_LIB(ret);
		ASSERT_LIB(dev_add(&self->guest[i], dev, 0x10, 7));
	}
}

FIXTURE_TEARDOWN(guests)
{
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		if (self->dev[i].ep.dev) {
			EXPECT_LIB(guest_del(&self->dev[i]));
			iopf_dev_close(self->dev[i].ep.dev);
		}
		if (self->ctx[i]) {
			EXPECT_LIB(hw_close(&self->guest[i]));
			iopf_ctx_close(self->ctx[i]);
		}
	}
}

/* Whatever one says, and whatever it has done wrong, the other has nothing of it. */
TEST_F_TIMEOUT(guests, apart, TEST_SECONDS)
{
	static const unsigned int modes[] = {
		IOPF_TD_MODE_UNTRANSLATED, IOPF_TD_MODE_TRANSLATED,
	};
	struct hw_guest *hw = self->guest;
	__u64 old[NR_DEVS], new[NR_DEVS], event[2];
	unsigned int i, m;

	for (m = 0; m < ARRAY_SIZE(modes); m++) {
		for (i = 0; i < NR_DEVS; i++) {
			struct guest_dev *dev = &self->dev[i];

			dev->mode = modes[m];
			old[i] = guest_page(&hw[i].g);
			new[i] = guest_page(&hw[i].g);
			amd->set_page(&dev->space, PLACE(m), old[i]);
			ASSERT_LIB(arrives(dev, PLACE(m), old[i]));
			amd->set_page(&dev->space, PLACE(m), new[i]);
		}
		ASSERT_LIB(invalidate(&hw[0], &self->dev[0], PLACE(m)));
		EXPECT_LIB(arrives(&self->dev[0], PLACE(m), new[0]));
		EXPECT_LIB(arrives(&self->dev[1], PLACE(m), old[1]));
		ASSERT_LIB(invalidate(&hw[1], &self->dev[1], PLACE(m)));
		EXPECT_LIB(arrives(&self->dev[1], PLACE(m), new[1]));
	}
	for (i = 0; i < NR_DEVS; i++) {
		ASSERT_LIB(write_fails(&self->dev[i], PLACE(10 + i)));
		EXPECT_FALSE(take(&hw[1 - i], EVENT, event));
		EXPECT_LIB(take_faults(&hw[i], 0x10, PLACE(10 + i)));
	}
	/* The ring of one stands, that of the other does not. */
	put(&hw[0], ALL | 1, 0);
	EXPECT_FALSE(complete(&hw[0]));
	EXPECT_TRUE(complete(&hw[1]));
	/* And when one has gone, the other is still there. */
	ASSERT_LIB(guest_del(&self->dev[0]));
	ASSERT_LIB(hw_close_viommu(&hw[0]));
	EXPECT_TRUE(complete(&hw[1]));
	EXPECT_LIB(arrives(&self->dev[1], PLACE(1), new[1]));
}

/* PASIDs, too, are each guest's own. */
TEST_F_TIMEOUT(guests, pasids_apart, TEST_SECONDS)
{
	struct space space[NR_DEVS][NR_SPACES];
	struct pasid_pages pages[NR_DEVS];
	struct hw_guest *hw = self->guest;
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];

		dev->mode = IOPF_TD_MODE_TRANSLATED;
		if (!has_pasids(dev))
			SKIP(return, "the kernel has not enabled PASID in the device");
		add_pasids(dev, space[i]);
		pages[i].gva = GVA;
		ASSERT_LIB(map_spaces(dev, space[i], &pages[i]));
	}
	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];
		const struct inv inv[] = {
			{ INV_PAGES, &space[i][0], dev->virt_id, GVA, 1 },
			{ INV_DEVICE, NULL, dev->virt_id },
		};

		EXPECT_LIB(is_new(dev, space[i], &pages[i], NR_SPACES));
		ASSERT_LIB(command(&hw[i], inv, ARRAY_SIZE(inv)));
		EXPECT_LIB(is_new(dev, space[i], &pages[i], 0));
		with(dev, &space[i][ARRAY_SIZE(pasids)]);
	}
}

/* Programs that are killed at each step */
static int run_steps(const char *bdf, unsigned int last)
{
	struct hw_guest hw = { .g.vendor = amd };
	unsigned int i, step = 0;
	struct guest_dev dev = { 0 };
	int ret;

	ret = iopf_ctx_open(&hw.g.ctx);
	if (!ret)
		ret = iopf_dev_open(hw.g.ctx, bdf, &dev.ep.dev);
	dev.ep.ctx = hw.g.ctx;
	if (!ret && !amd->nests(dev.ep.dev))
		return -EOPNOTSUPP;
	for (i = 0; !ret && i < NR_STEPS; i++) {
		if (step++ == last)
			raise(SIGKILL);
		ret = guest_step(&hw, i, iopf_dev_id(dev.ep.dev));
	}
	if (!ret)
		dev_prepare(&hw, &dev, 0x10, 7);
	for (i = 0; !ret && i < NR_DEV_STEPS; i++) {
		if (step++ == last)
			raise(SIGKILL);
		ret = dev_step(&hw, &dev, i);
	}
	if (!ret) {
		__u64 page = guest_page(&hw.g);

		amd->set_page(&dev.space, GVA, page);
		ret = arrives(&dev, GVA, page);
		amd->set_page(&dev.space, GVA, 0);
	}
	if (!ret)
		ret = invalidate(&hw, &dev, GVA);
	if (!ret && step++ == last) {
		/* In the middle of it: commands that nobody waits for */
		put(&hw, ALL, 0);
		doorbell(&hw);
		raise(SIGKILL);
	}
	for (i = 0; !ret && i < NR_RINGS; i++) {
		if (step++ == last)
			raise(SIGKILL);
		ret = ring_off(&hw, i);
	}
	if (!ret && step++ == last)
		raise(SIGKILL);
	if (!ret)
		ret = guest_del(&dev);
	if (!ret && step++ == last)
		raise(SIGKILL);
	if (!ret)
		ret = hw_close_viommu(&hw);
	if (!ret && step++ == last)
		raise(SIGKILL);
	return ret;
}

FIXTURE(killed)
{
	struct found found;
};

FIXTURE_SETUP(killed)
{
	iopf_pci_scan(find_endpoint, &self->found);
	if (self->found.nr < NR_DEVS)
		SKIP(return, "no two test endpoints 1234:11f0 with PRI on vfio-pci");
}

FIXTURE_TEARDOWN(killed)
{
}

TEST_F_TIMEOUT(killed, each_step, TEST_SECONDS)
{
	unsigned int step;
	int status;
	pid_t pid;

	for (step = 0; ; step++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int ret = run_steps(self->found.bdf[step & 1], step);

			if (ret && ret != -EOPNOTSUPP)
				fprintf(stderr, "# step %u: %s\n", step,
					iopf_error());
			_exit(!ret ? 0 : ret == -EOPNOTSUPP ? 2 : 1);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
			SKIP(return, "this IOMMU has no vIOMMUs of hardware");
		if (!WIFSIGNALED(status))
			break;
		ASSERT_EQ(SIGKILL, WTERMSIG(status));
	}
	/* The last one has come to its end, with what the others have left. */
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_LT(NR_STEPS + NR_DEV_STEPS, step);
}

TEST_HARNESS_MAIN

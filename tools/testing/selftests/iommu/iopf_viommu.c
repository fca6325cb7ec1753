// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs on hardware: this program is a guest with an IOMMU of its own, and the VMM
 * that lets it have that. Test endpoints 1234:11f0 work with the guest's tables.
 *
 * Where data arrive tells which translations the IOMMU and the device have: the
 * guest changes an entry, and they go to the old page until it has invalidated that.
 * So a test sees that something is gone, and that something else is still there.
 *
 * The ids of the guest are made so that each of them is wrong for the host.
 *
 * Without two endpoints on vfio-pci, or where the IOMMU has no vIOMMUs, all tests are
 * skipped.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include <linux/iopf_viommu.h>

#include "iopf_console.h"
#include "iopf_failing.h"
#include "iopf_late.h"
#include "iopf_trace.h"
#include "iopf_viommu.h"

#define TEST_SECONDS	900

/* Where devices work: different in each level of the tables */
#define GVA		0x123456789000ULL
/* No IOMMU has that many address bits: an entry with it is wrong, not missing. */
#define NO_GPA		0x8000000000000ULL
/* For what nobody has used before in a test */
#define PLACE(nr)	(GVA + (nr) * 0x100000ULL)
#define NR_DEVS		2

/* A page that the guest moves */
struct page {
	struct guest_dev *dev;
	__u64 gva;
	__u64 old;
	__u64 new;
};

/* One that has to work; @hwpt: by the page table and not by the vIOMMU */
static int invalidate_one(struct guest *guest, const struct inv *inv, bool hwpt)
{
	__u8 elem[INV_MAX_LEN];
	__u32 done;
	int ret;

	if (!guest->vendor->inv(inv, hwpt, elem))
		return iopf_err(-EOPNOTSUPP, "%s has no such command",
				guest->vendor->name);
	ret = invalidate_array(guest,
			       hwpt ? inv->space->hwpt_id : guest->viommu_id,
			       elem, 1, &done);
	if (!ret && done != 1)
		ret = iopf_err(-EPROTO, "%u of 1 done", done);
	return ret;
}

/* Where the host does not do it, a device has to forget as well. */
static int flush_device(struct guest *guest, __u32 dev)
{
	const struct inv inv = { .what = INV_DEVICE, .dev = dev };

	return guest->vendor->guest_devtlb ?
		       invalidate_one(guest, &inv, false) : 0;
}

static int invalidate(struct guest *guest, const struct inv *inv, bool hwpt)
{
	int ret = invalidate_one(guest, inv, hwpt);

	if (!ret && !inv->tlb_only &&
	    (inv->what == INV_PAGES || inv->what == INV_SPACE))
		ret = flush_device(guest, inv->space->dev);
	return ret;
}

static bool has_inv(struct guest *guest, enum inv_what what, bool hwpt)
{
	const struct space space = { .guest = guest };
	const struct inv inv = { .what = what, .space = &space, .npages = 1 };
	__u8 elem[INV_MAX_LEN];

	return guest->vendor->inv(&inv, hwpt, elem);
}

/* As much as there is a command for, if that is no more than @space */
static void inv_most(struct guest *guest, const struct space *space, void *elem)
{
	const struct inv inv = {
		.what = has_inv(guest, INV_ALL, false) ? INV_ALL : INV_SPACE,
		.space = space,
	};

	guest->vendor->inv(&inv, false, elem);
}

/* Move a page which the IOMMU, or the device, knows. */
static int move_page(struct page *page, struct guest_dev *dev, __u64 gva)
{
	struct guest *guest = dev->space.guest;
	int ret;

	page->dev = dev;
	page->gva = gva;
	page->old = guest_page(guest);
	page->new = guest_page(guest);
	guest->vendor->set_page(&dev->space, gva, page->old);
	ret = arrives(dev, gva, page->old);
	guest->vendor->set_page(&dev->space, gva, page->new);
	return ret;
}

static int is_stale(const struct page *page)
{
	return arrives(page->dev, page->gva, page->old);
}

static int is_gone(const struct page *page)
{
	return arrives(page->dev, page->gva, page->new);
}

static int open_dev(struct iopf_ctx *ctx, const char *bdf, struct guest_dev *dev)
{
	dev->ep.ctx = ctx;
	return iopf_dev_open(ctx, bdf, &dev->ep.dev);
}

FIXTURE(viommu)
{
	struct found found;
	struct iopf_ctx *ctx;
	struct guest guest;
	struct guest_dev dev[NR_DEVS];
};

FIXTURE_VARIANT(viommu)
{
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(viommu, iotlb)
{
	.mode = IOPF_TD_MODE_UNTRANSLATED,
};

FIXTURE_VARIANT_ADD(viommu, devtlb)
{
	.mode = IOPF_TD_MODE_TRANSLATED,
};

/* Its devices have each other's ids, and one domain ID is the other's PASID. */
FIXTURE_SETUP(viommu)
{
	struct guest *guest = &self->guest;
	unsigned int i;

	iopf_pci_scan(find_endpoint, &self->found);
	if (self->found.nr < NR_DEVS)
		SKIP(return, "no two test endpoints 1234:11f0 with PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	for (i = 0; i < NR_DEVS; i++) {
		ASSERT_LIB(open_dev(self->ctx, self->found.bdf[i], &self->dev[i]));
		self->dev[i].mode = variant->mode;
	}
	guest->vendor = vendor_of(self->dev[0].ep.dev);
	if (!guest->vendor)
		SKIP(return, "this IOMMU has no vIOMMUs");
	ASSERT_LIB(guest_open(guest, self->ctx, self->dev[0].ep.dev));
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(guest_add(guest, &self->dev[i],
				     rid_of(self->found.bdf[1 - i]), 40 + i,
				     41 - i));
}

FIXTURE_TEARDOWN(viommu)
{
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		if (self->dev[i].ep.td.dev)
			EXPECT_LIB(guest_del(&self->dev[i]));
		iopf_dev_close(self->dev[i].ep.dev);
	}
	EXPECT_LIB(guest_close(&self->guest));
	iopf_ctx_close(self->ctx);
}

#define TEST_VIOMMU(name) TEST_F_TIMEOUT(viommu, name, TEST_SECONDS)

/* Each device works with the tables of its own. */
TEST_VIOMMU(dma)
{
	struct guest *guest = &self->guest;
	__u64 page[NR_DEVS];
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		page[i] = guest_page(guest);
		guest->vendor->set_page(&self->dev[i].space, GVA, page[i]);
	}
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(arrives(&self->dev[i], GVA, page[i]));
}

/* One page: not the next, and not that of another device at the same place */
TEST_VIOMMU(pages)
{
	struct guest_dev *dev = self->dev;
	struct page page, next, other;
	struct inv inv = {
		.what = INV_PAGES,
		.space = &dev->space,
		.npages = 1,
	};
	unsigned int i;
	bool hwpt;

	for (i = 0; i < 4; i++) {
		hwpt = i & 2 && has_inv(&self->guest, INV_PAGES, true);
		inv.leaf = i & 1;
		inv.gva = PLACE(i);
		ASSERT_LIB(move_page(&page, dev, PLACE(i)));
		ASSERT_LIB(move_page(&next, dev, PLACE(i) + 4096));
		ASSERT_LIB(move_page(&other, dev + 1, PLACE(i)));
		ASSERT_LIB(is_stale(&page));
		ASSERT_LIB(invalidate(&self->guest, &inv, hwpt));
		EXPECT_LIB(is_gone(&page));
		EXPECT_LIB(is_stale(&next));
		EXPECT_LIB(is_stale(&other));
		inv.npages = 8;
		ASSERT_LIB(invalidate(&self->guest, &inv, hwpt));
		EXPECT_LIB(is_gone(&next));
		EXPECT_LIB(is_stale(&other));
		inv.npages = 1;
		inv.space = &dev[1].space;
		ASSERT_LIB(invalidate(&self->guest, &inv, hwpt));
		EXPECT_LIB(is_gone(&other));
		inv.space = &dev->space;
	}
}

/* All of an address space: not that of another */
TEST_VIOMMU(space)
{
	struct guest_dev *dev = self->dev;
	struct page page, far, other;
	struct inv inv = { .what = INV_SPACE, .space = &dev->space };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!has_inv(&self->guest, INV_SPACE, i))
			continue;
		ASSERT_LIB(move_page(&page, dev, PLACE(i)));
		ASSERT_LIB(move_page(&far, dev, 0x7000 + i * 4096));
		ASSERT_LIB(move_page(&other, dev + 1, PLACE(i)));
		ASSERT_LIB(is_stale(&far));
		ASSERT_LIB(invalidate(&self->guest, &inv, i));
		EXPECT_LIB(is_gone(&page));
		EXPECT_LIB(is_gone(&far));
		EXPECT_LIB(is_stale(&other));
		inv.space = &dev[1].space;
		ASSERT_LIB(invalidate(&self->guest, &inv, i));
		EXPECT_LIB(is_gone(&other));
		inv.space = &dev->space;
	}
}

/* Everything that the guest has */
TEST_VIOMMU(all)
{
	const struct inv inv = { .what = INV_ALL };
	struct page page[NR_DEVS];
	unsigned int i;

	if (!has_inv(&self->guest, INV_ALL, false))
		return;
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(move_page(&page[i], &self->dev[i], GVA));
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(is_stale(&page[i]));
	ASSERT_LIB(invalidate(&self->guest, &inv, false));
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(flush_device(&self->guest, self->dev[i].virt_id));
	for (i = 0; i < NR_DEVS; i++)
		EXPECT_LIB(is_gone(&page[i]));
}

/* What a device has, and no other: its ids are the guest's. */
TEST_VIOMMU(device)
{
	static const enum inv_what what[] = { INV_DEVICE, INV_DEVICE_SPACE };
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct page page, other;
	unsigned int i;

	if (variant->mode == IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < 4; i++) {
		struct inv inv = {
			.what = what[i & 1],
			.space = &dev->space,
			.dev = dev->virt_id,
		};

		if (!has_inv(guest, inv.what, i & 2))
			continue;
		ASSERT_LIB(move_page(&page, dev, PLACE(i)));
		ASSERT_LIB(move_page(&other, dev + 1, PLACE(i)));
		ASSERT_NE(0, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
		ASSERT_LIB(invalidate(guest, &inv, i & 2));
		EXPECT_EQ(0, testdev_reg(&dev->ep.td, IOPF_TD_REG_ATC_COUNT));
		EXPECT_NE(0, testdev_reg(&dev[1].ep.td, IOPF_TD_REG_ATC_COUNT));
		EXPECT_LIB(is_stale(&other));
		inv.dev = dev[1].virt_id;
		inv.space = &dev[1].space;
		ASSERT_LIB(invalidate(guest, &inv, i & 2));
		EXPECT_EQ(0, testdev_reg(&dev[1].ep.td, IOPF_TD_REG_ATC_COUNT));
		inv.what = INV_SPACE;
		inv.space = &dev->space;
		ASSERT_LIB(invalidate(guest, &inv, false));
		EXPECT_LIB(is_gone(&page));
	}
}

/* What is on top of the tables: the hardware has none of it. */
TEST_VIOMMU(tables)
{
	static const enum inv_what what[] = { INV_TABLE, INV_DOMAIN_TABLES };
	struct guest *guest = &self->guest;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		const struct inv inv = {
			.what = what[i & 1],
			.space = &self->dev[0].space,
		};
		struct page page;

		if (!has_inv(guest, inv.what, i & 2))
			continue;
		ASSERT_LIB(move_page(&page, &self->dev[0], PLACE(i)));
		ASSERT_LIB(invalidate(guest, &inv, i & 2));
		guest->vendor->set_page(&self->dev[0].space, PLACE(i), page.old);
		EXPECT_LIB(is_stale(&page));
	}
}

/* Elements of an array that invalidate a page each */
static char *page_array(struct guest_dev *dev, __u64 gva, __u64 stride,
			unsigned int nr)
{
	struct guest *guest = dev->space.guest;
	size_t len = guest->vendor->inv_len;
	struct inv inv = {
		.what = INV_PAGES,
		.space = &dev->space,
		.npages = 1,
	};
	char *array = calloc(nr, len);
	unsigned int i;

	for (i = 0; array && i < nr; i++) {
		inv.gva = gva + i * stride;
		guest->vendor->inv(&inv, false, array + i * len);
	}
	return array;
}

/* What is before an element that is wrong has gone, what is after it has not. */
TEST_VIOMMU(partial)
{
	struct guest *guest = &self->guest;
	size_t len = guest->vendor->inv_len;
	struct page page[4];
	unsigned int i;
	char *array;
	__u32 done;

	array = page_array(self->dev, PLACE(0), PLACE(1) - PLACE(0), 4);
	ASSERT_NE(NULL, array);
	for (i = 0; i < 4; i++)
		ASSERT_LIB(move_page(&page[i], self->dev, PLACE(i)));
	memcpy(array + 2 * len, guest->vendor->bad[0].elem, len);
	EXPECT_EQ(guest->vendor->bad[0].err,
		  invalidate_array(guest, guest->viommu_id, array, 4, &done));
	EXPECT_EQ(2, done);
	ASSERT_LIB(flush_device(guest, self->dev->virt_id));
	EXPECT_LIB(is_gone(&page[0]));
	EXPECT_LIB(is_gone(&page[1]));
	EXPECT_LIB(is_stale(&page[2]));
	EXPECT_LIB(is_stale(&page[3]));
	free(array);
}

/* The rest of the array cannot be read. */
TEST_VIOMMU(partial_fault)
{
	struct guest *guest = &self->guest;
	size_t len = guest->vendor->inv_len;
	long size = sysconf(_SC_PAGESIZE);
	unsigned int nr = size / len - 3;
	struct page page;
	char *array, *mem;
	__u32 done;

	array = page_array(self->dev, GVA, 0, nr);
	mem = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, mprotect(mem + size, size, PROT_NONE));
	memcpy(mem + size - nr * len, array, nr * len);
	ASSERT_LIB(move_page(&page, self->dev, GVA));
	EXPECT_EQ(-EFAULT, invalidate_array(guest, guest->viommu_id,
					    mem + size - nr * len, nr + 1,
					    &done));
	EXPECT_EQ(nr, done);
	ASSERT_LIB(flush_device(guest, self->dev->virt_id));
	EXPECT_LIB(is_gone(&page));
	munmap(mem, 2 * size);
	free(array);
}

/* More than the kernel does one by one: all are gone, and another's are not. */
TEST_VIOMMU(many)
{
	struct guest *guest = &self->guest;
	static const unsigned int nrs[] = { 31, 32, 33, 64, 200 };
	struct page first, last, other;
	unsigned int i, nr;
	char *array;
	__u32 done;

	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		nr = nrs[i];
		array = page_array(self->dev, PLACE(i), 0x2000, nr);
		ASSERT_NE(NULL, array);
		ASSERT_LIB(move_page(&first, self->dev, PLACE(i)));
		ASSERT_LIB(move_page(&last, self->dev,
				     PLACE(i) + (nr - 1) * 0x2000));
		ASSERT_LIB(move_page(&other, self->dev + 1, PLACE(i)));
		ASSERT_LIB(invalidate_array(guest, guest->viommu_id, array, nr,
					    &done));
		EXPECT_EQ(nr, done);
		ASSERT_LIB(flush_device(guest, self->dev->virt_id));
		EXPECT_LIB(is_gone(&first));
		EXPECT_LIB(is_gone(&last));
		EXPECT_LIB(is_stale(&other));
		free(array);
	}
}

/* Ids that the guest uses for nothing, and then two that count */
TEST_VIOMMU(many_spaces)
{
	struct guest *guest = &self->guest;
	size_t len = guest->vendor->inv_len;
	struct page page[NR_DEVS];
	unsigned int i, nr = 100;
	char *array;
	__u32 done;

	array = calloc(nr, len);
	ASSERT_NE(NULL, array);
	for (i = 0; i < nr; i++) {
		struct space space = {
			.domain = 1000 + i,
			.pasid = 2000 + i,
		};
		struct inv inv = { .what = INV_SPACE, .space = &space };

		if (i >= nr - NR_DEVS)
			inv.space = &self->dev[nr - 1 - i].space;
		guest->vendor->inv(&inv, false, array + i * len);
	}
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(move_page(&page[i], &self->dev[i], GVA));
	ASSERT_LIB(invalidate_array(guest, guest->viommu_id, array, 20, &done));
	EXPECT_EQ(20, done);
	for (i = 0; i < NR_DEVS; i++)
		EXPECT_LIB(is_stale(&page[i]));
	ASSERT_LIB(invalidate_array(guest, guest->viommu_id, array, nr, &done));
	EXPECT_EQ(nr, done);
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(flush_device(guest, self->dev[i].virt_id));
	for (i = 0; i < NR_DEVS; i++)
		EXPECT_LIB(is_gone(&page[i]));
	free(array);
}

/* As many as there may be, and a million */
TEST_VIOMMU(long_array)
{
	struct guest *guest = &self->guest;
	struct page first, last;
	unsigned int nr = 1 << 19;
	char *array;
	__u32 done;

	array = page_array(self->dev, GVA, 0x2000, 1000000);
	ASSERT_NE(NULL, array);
	ASSERT_LIB(move_page(&first, self->dev, GVA));
	ASSERT_LIB(move_page(&last, self->dev, GVA + (nr - 1) * 0x2000ULL));
	EXPECT_EQ(-EINVAL, invalidate_array(guest, guest->viommu_id, array,
					    1000000, &done));
	EXPECT_EQ(0, done);
	EXPECT_LIB(is_stale(&first));
	ASSERT_LIB(invalidate_array(guest, guest->viommu_id, array, nr, &done));
	EXPECT_EQ(nr, done);
	ASSERT_LIB(flush_device(guest, self->dev->virt_id));
	EXPECT_LIB(is_gone(&first));
	EXPECT_LIB(is_gone(&last));
	free(array);
}

static int count_commands(struct guest *guest, const void *array, unsigned int nr,
			  const char *word)
{
	__u32 done;
	int ret;

	ret = trace_begin(guest->vendor->trace_event);
	if (ret)
		return ret;
	ret = invalidate_array(guest, guest->viommu_id, array, nr, &done);
	if (ret)
		return ret;
	return trace_end(guest->vendor->trace_event, word, NULL, NULL);
}

/* How many commands of the hardware that becomes */
TEST_VIOMMU(commands)
{
	struct guest *guest = &self->guest;
	const struct inv tables = {
		.what = INV_DOMAIN_TABLES,
		.space = &self->dev->space,
	};
	const char *pages = guest->vendor->trace_pages;
	__u8 elem[INV_MAX_LEN];
	char *array;

	if (!pages || trace_begin(guest->vendor->trace_event))
		SKIP(return, "takes a tracepoint of the driver");
	/* Pages beside each other are one. */
	array = page_array(self->dev, GVA, 4096, 512);
	EXPECT_EQ(1, count_commands(guest, array, 1, pages));
	EXPECT_EQ(1, count_commands(guest, array, 512, pages));
	free(array);
	/* Others are as many, but not too many. */
	array = page_array(self->dev, GVA, 0x2000, 512);
	EXPECT_EQ(20, count_commands(guest, array, 20, pages));
	EXPECT_EQ(1, count_commands(guest, array, 512, pages));
	free(array);
	/* What no data tell of, as there is nothing to be invalidated */
	if (guest->vendor->inv(&tables, false, elem))
		EXPECT_EQ(1, count_commands(guest, elem, 1,
					    guest->vendor->trace_tables));
}

/* Commands that are wrong do nothing. */
TEST_VIOMMU(garbage)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	const struct bad_inv *bad;
	struct page page;
	__u32 done;

	ASSERT_LIB(move_page(&page, dev, GVA));
	if (guest->vendor->for_device)
		guest->vendor->for_device(dev->virt_id);
	for (bad = guest->vendor->bad; bad->what; bad++) {
		if (!bad->not_on_viommu) {
			done = 77;
			EXPECT_EQ(bad->err, invalidate_array(guest,
							     guest->viommu_id,
							     bad->elem, 1, &done))
				TH_LOG("%s, of the vIOMMU", bad->what);
			EXPECT_EQ(0, done);
		}
		if (!bad->not_on_hwpt) {
			done = 77;
			EXPECT_EQ(bad->err, invalidate_array(guest,
							     dev->space.hwpt_id,
							     bad->elem, 1, &done))
				TH_LOG("%s, of the HWPT", bad->what);
			EXPECT_EQ(0, done);
		}
	}
	EXPECT_LIB(is_stale(&page));
}

/* Arrays that are wrong as a whole */
TEST_VIOMMU(bad_array)
{
	struct guest *guest = &self->guest;
	__u8 elem[2 * INV_MAX_LEN] = { 0 };
	struct iommu_hwpt_invalidate good = {
		.size = sizeof(good),
		.hwpt_id = guest->viommu_id,
		.data_uptr = (__u64)(unsigned long)elem,
		.data_type = guest->vendor->inv_type,
		.entry_len = guest->vendor->inv_len,
		.entry_num = 1,
	}, cmd;
	const struct {
		const char *what;
		__u32 id, type, len, nr;
		int err;
	} bad[] = {
		{ "another type", good.hwpt_id, 0x7777, good.entry_len, 1, EINVAL },
		{ "another type, to ask", good.hwpt_id, 0x7777, 0, 0, EINVAL },
		{ "VT-d without a guest", good.hwpt_id, 0, good.entry_len, 1,
		  EINVAL },
		{ "to ask", good.hwpt_id, good.data_type, 0, 0, 0 },
		{ "short", good.hwpt_id, good.data_type, good.entry_len - 1, 1,
		  EINVAL },
		{ "long", good.hwpt_id, good.data_type, good.entry_len + 8, 1,
		  EINVAL },
		{ "nest parent", guest->parent_id, good.data_type,
		  good.entry_len, 1, EINVAL },
		{ "IOAS", guest->ioas_id, good.data_type, good.entry_len, 1,
		  EINVAL },
		{ "vDEVICE", self->dev->vdevice_id, good.data_type,
		  good.entry_len, 1, EINVAL },
		{ "nobody", 0x7fffffff, good.data_type, good.entry_len, 1,
		  ENOENT },
	};
	unsigned int i;

	inv_most(guest, &self->dev->space, elem);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (guest->vendor->zero_extends && bad[i].nr &&
		    bad[i].len != good.entry_len)
			continue;
		cmd = good;
		cmd.hwpt_id = bad[i].id;
		cmd.data_type = bad[i].type;
		cmd.entry_len = bad[i].len;
		cmd.entry_num = bad[i].nr;
		EXPECT_EQ(-bad[i].err, ctx_ioctl(guest->ctx,
						 IOMMU_HWPT_INVALIDATE, &cmd,
						 bad[i].what))
			TH_LOG("%s", bad[i].what);
		EXPECT_EQ(0, cmd.entry_num);
	}
	if (!guest->vendor->zero_extends)
		return;
	good.entry_len--;
	EXPECT_LIB(ctx_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE, &good, "short"));
	EXPECT_EQ(1, good.entry_num);
	good.entry_len += 9;
	EXPECT_LIB(ctx_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE, &good, "long"));
	EXPECT_EQ(1, good.entry_num);
	elem[good.entry_len - 1] = 1;
	EXPECT_EQ(-E2BIG, ctx_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE, &good,
				    "long, and used"));
	EXPECT_EQ(0, good.entry_num);
	good.entry_len -= 8;
	good.entry_num = 1;
	good.hwpt_id = self->dev->space.hwpt_id;
	EXPECT_EQ(-EOPNOTSUPP, ctx_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE,
					 &good, "HWPT"));
}

/* A vendor whose HWPTs cannot be invalidated says so. */
TEST_VIOMMU(no_hwpt_inv)
{
	struct guest *guest = &self->guest;
	__u8 elem[INV_MAX_LEN];
	__u32 done = 77;

	if (has_inv(guest, INV_SPACE, true))
		return;
	inv_most(guest, &self->dev->space, elem);
	EXPECT_EQ(-EOPNOTSUPP,
		  invalidate_array(guest, self->dev->space.hwpt_id, elem, 1,
				   &done));
	EXPECT_EQ(0, done);
}

/* Whatever a guest may think of */
TEST_VIOMMU(random)
{
	struct guest *guest = &self->guest;
	size_t len = guest->vendor->inv_len;
	unsigned int round, i, nr = 64;
	__u8 array[64 * INV_MAX_LEN];
	struct page page;
	__u32 done;
	int ret;

	srandom(4711);
	for (round = 0; round < 500; round++) {
		/* Few bits, so that some of it makes sense */
		for (i = 0; i < nr * len; i++)
			array[i] = random() % 5 ? 0 :
				   round & 1 ? 1 << random() % 8 : random();
		ret = invalidate_array(guest, guest->viommu_id, array, nr,
				       &done);
		ASSERT_TRUE(ret ? done < nr : done == nr);
		ASSERT_TRUE(!ret || ret == -EINVAL || ret == -EOPNOTSUPP ||
			    ret == -ENOENT || ret == -EIO);
	}
	ASSERT_LIB(move_page(&page, self->dev, PLACE(9)));
	EXPECT_LIB(is_stale(&page));
}

/* Each object holds what it was made from. */
TEST_VIOMMU(destroy)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	struct iopf_ctx *ctx = self->ctx;
	struct inv inv = { .what = INV_SPACE, .space = &dev->space,
			   .dev = dev->virt_id };
	/* A second stage, and a page table that is none */
	const __u32 others[] = { guest->parent_id, guest->ioas_id };
	const __u64 last = GPA + GUEST_SIZE - 4096;
	struct page page;
	unsigned int i;

	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, guest->ioas_id));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, guest->parent_id));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, guest->viommu_id));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, dev->space.hwpt_id));

	/* Without its vDEVICE the device is still attached. */
	ASSERT_LIB(move_page(&page, dev, GVA));
	ASSERT_LIB(iopf_destroy(ctx, dev->vdevice_id));
	EXPECT_EQ(-ENOENT, iopf_destroy(ctx, dev->vdevice_id));
	EXPECT_LIB(is_stale(&page));
	inv.tlb_only = true;
	ASSERT_LIB(invalidate(guest, &inv, false));
	inv.tlb_only = false;
	if (guest->vendor->guest_devtlb &&
	    variant->mode == IOPF_TD_MODE_TRANSLATED)
		EXPECT_LIB(is_stale(&page));
	else
		EXPECT_LIB(is_gone(&page));
	inv.what = INV_DEVICE;
	EXPECT_EQ(guest->vendor->no_dev, invalidate(guest, &inv, false));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, guest->viommu_id));

	/* But it cannot be attached without one. */
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	EXPECT_EQ(-ENOENT, iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		ASSERT_LIB(iopf_dev_attach(dev->ep.dev, others[i]));
		EXPECT_EQ(-ENOENT,
			  iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
		/* It has not been disturbed. */
		EXPECT_LIB(arrives(dev, last, last));
	}
	ASSERT_LIB(alloc_vdevice(ctx, guest->viommu_id, dev_id, dev->virt_id,
				 &dev->vdevice_id));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	ASSERT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(arrives(dev, GVA, page.new));

	/* What is not attached is invalidated as well as what is. */
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	inv.what = INV_SPACE;
	if (has_inv(guest, INV_SPACE, true))
		EXPECT_LIB(invalidate(guest, &inv, true));
	EXPECT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(iopf_destroy(ctx, dev->space.hwpt_id));
	dev->space.hwpt_id = 0;
	EXPECT_LIB(invalidate(guest, &inv, false));
}

/* Kinds and ids that are wrong */
TEST_VIOMMU(bad_alloc)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	struct iopf_ctx *ctx = self->ctx;
	__u32 type = guest->vendor->viommu_type;
	__u32 plain, parent, other, id;
	const struct {
		__u32 type, dev_id, hwpt_id;
		int err;
	} bad[] = {
		{ 0, dev_id, guest->parent_id, EOPNOTSUPP },
		/* Another vendor's */
		{ type ^ IOPF_TYPE_PREFIX, dev_id, guest->parent_id, EOPNOTSUPP },
		{ type + 1, dev_id, guest->parent_id, EOPNOTSUPP },
		{ ~0U, dev_id, guest->parent_id, EOPNOTSUPP },
		{ type, guest->ioas_id, guest->parent_id, ENOENT },
		{ type, 0x7fffffff, guest->parent_id, ENOENT },
		{ type, dev_id, 0x7fffffff, ENOENT },
		{ type, dev_id, guest->ioas_id, ENOENT },
		{ type, dev_id, dev->space.hwpt_id, ENOENT },
		{ type, dev_id, guest->viommu_id, ENOENT },
	};
	struct iommu_viommu_alloc data = {
		.size = sizeof(data),
		.type = type,
		.dev_id = dev_id,
		.hwpt_id = guest->parent_id,
		.data_len = 8,
		.data_uptr = (__u64)(unsigned long)&id,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-bad[i].err, alloc_viommu(ctx, bad[i].type,
						    bad[i].dev_id,
						    bad[i].hwpt_id, &id))
			TH_LOG("number %u", i);
	if (guest->vendor->ignores_data) {
		ASSERT_LIB(ctx_ioctl(ctx, IOMMU_VIOMMU_ALLOC, &data, "data"));
		EXPECT_LIB(iopf_destroy(ctx, data.out_viommu_id));
	} else {
		EXPECT_EQ(-EOPNOTSUPP, ctx_ioctl(ctx, IOMMU_VIOMMU_ALLOC, &data,
						 "data"));
	}
	ASSERT_LIB(alloc_parent(ctx, dev_id, guest->ioas_id, 0, &plain));
	EXPECT_EQ(-EINVAL, alloc_viommu(ctx, type, dev_id, plain, &id));
	EXPECT_LIB(iopf_destroy(ctx, plain));
	/* Where the guest's own tables hold the PASIDs, no page table is for one of them. */
	if (!guest->vendor->pasid_hwpt)
		EXPECT_EQ(-EOPNOTSUPP, alloc_nested_flags(&dev->space, dev_id,
							  IOMMU_HWPT_ALLOC_PASID, 0,
							  &id));

	/* Several may share a parent, or have one of their own. */
	ASSERT_LIB(alloc_parent(ctx, dev_id, guest->ioas_id,
				IOMMU_HWPT_ALLOC_NEST_PARENT, &parent));
	ASSERT_LIB(alloc_viommu(ctx, type, dev_id, parent, &other));
	ASSERT_LIB(alloc_viommu(ctx, type, dev_id, parent, &id));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, parent));
	EXPECT_LIB(iopf_destroy(ctx, id));
	EXPECT_EQ(-EBUSY, iopf_destroy(ctx, parent));

	/* A device is one thing to one guest. */
	EXPECT_EQ(-EEXIST, alloc_vdevice(ctx, other, dev_id, 1, &id));
	EXPECT_EQ(-EEXIST, alloc_vdevice(ctx, guest->viommu_id, dev_id, 1, &id));
	EXPECT_LIB(iopf_destroy(ctx, dev->vdevice_id));
	EXPECT_EQ(-EEXIST, alloc_vdevice(ctx, guest->viommu_id, dev_id,
					 dev[1].virt_id, &id));
	EXPECT_EQ(-EINVAL, alloc_vdevice(ctx, guest->viommu_id, dev_id,
					 guest->vendor->max_dev + 1ULL, &id));
	EXPECT_EQ(-EINVAL, alloc_vdevice(ctx, guest->viommu_id, dev_id, ~0ULL,
					 &id));
	/* That of another vIOMMU is none. */
	ASSERT_LIB(alloc_vdevice(ctx, other, dev_id, dev->virt_id,
				 &dev->vdevice_id));
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	EXPECT_EQ(-ENOENT, iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	EXPECT_LIB(iopf_destroy(ctx, dev->vdevice_id));
	ASSERT_LIB(alloc_vdevice(ctx, guest->viommu_id, dev_id,
				 guest->vendor->max_dev, &dev->vdevice_id));
	EXPECT_LIB(iopf_destroy(ctx, other));
	EXPECT_LIB(iopf_destroy(ctx, parent));
}

/* Tables that are none: the first two of each vendor have another length. */
TEST_VIOMMU(bad_nested)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	unsigned int nr;

	for (nr = 0; ; nr++) {
		__u64 blob[8] = { 0 };
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd),
			.dev_id = iopf_dev_id(dev->ep.dev),
			.pt_id = guest->viommu_id,
			.data_uptr = (__u64)(unsigned long)blob,
		};
		const char *what = "length";
		int err = -EINVAL;

		if (nr < 2) {
			guest->vendor->nested(&dev->space, &cmd, blob);
			cmd.data_len += nr ? 8 : -1;
		} else {
			what = guest->vendor->bad_nested(nr - 2, &dev->space,
							 &cmd, blob, &err);
		}
		if (!what)
			break;
		EXPECT_EQ(err, ctx_ioctl(guest->ctx, IOMMU_HWPT_ALLOC, &cmd,
					 what))
			TH_LOG("%s, number %u", what, nr);
	}
	EXPECT_LT(2, nr);
}

static int open_events(struct guest *guest, __u32 depth, __u32 *id, int *fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = guest->viommu_id,
		.type = guest->vendor->event_type,
		.veventq_depth = depth,
	};
	int ret = ctx_ioctl(guest->ctx, IOMMU_VEVENTQ_ALLOC, &cmd, "vEVENTQ");

	*id = cmd.out_veventq_id;
	*fd = cmd.out_veventq_fd;
	return ret;
}

static int wait_event(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, LONG_MS) == 1 ?
		       0 : iopf_err(-ETIMEDOUT, "no event came");
}

static int read_one(const struct vendor *vendor, int fd,
		    struct guest_fault *fault)
{
	char buf[sizeof(struct iommufd_vevent_header) + 64];
	struct iommufd_vevent_header header;
	size_t len = sizeof(header) + vendor->event_len;
	int ret;

	if (read(fd, buf, len) != (ssize_t)len)
		return iopf_err(-EIO, "no event");
	memcpy(&header, buf, sizeof(header));
	if (header.flags)
		return iopf_err(-EPROTO, "flags %#x", header.flags);
	ret = vendor->fault(buf + sizeof(header), fault);
	return ret ?: (int)header.sequence;
}

/* What has been read of a queue of events */
struct events {
	int fd;
	int next;	/* number of the next */
	struct guest_fault last;
};

/* Hardware may report a fault more than once: that is not the next. */
static int read_event(const struct vendor *vendor, struct events *events)
{
	struct guest_fault last = events->last;
	int ret;

	do {
		ret = wait_event(events->fd);
		if (!ret)
			ret = read_one(vendor, events->fd, &events->last);
		if (ret < 0)
			return ret;
		if (ret != events->next++)
			return iopf_err(-EPROTO, "event %d, not %d", ret,
					events->next - 1);
	} while (events->last.dev == last.dev && events->last.addr == last.addr);
	return 0;
}

/* The guest reads of the faults that its own tables are the reason for. */
TEST_VIOMMU(events)
{
	const struct vendor *vendor = self->guest.vendor;
	struct guest_dev *dev = self->dev;
	struct events events = { 0 };
	struct guest_fault *fault = &events.last;
	__u32 id;
	int i;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	/* Nobody wants to know, so it is in the log. Nothing else is. */
	expect_on_console(vendor->fault_log);
	ASSERT_LIB(write_fails(dev, GVA));
	expect_no_more_on_console();
	ASSERT_LIB(open_events(&self->guest, 16, &id, &events.fd));
	for (i = 0; i < 6; i++) {
		ASSERT_LIB(write_fails(&dev[i & 1], PLACE(i)));
		ASSERT_LIB(read_event(vendor, &events));
		EXPECT_EQ(dev[i & 1].virt_id, fault->dev);
		EXPECT_EQ(PLACE(i), fault->addr);
		EXPECT_EQ(0, fault->pasid);
		EXPECT_TRUE(fault->write);
	}
	/* What the second stage lacks is the VMM's. */
	vendor->set_page(&dev->space, PLACE(9), GPA + GUEST_SIZE);
	expect_on_console(vendor->fault_log);
	ASSERT_LIB(write_fails(dev, PLACE(9)));
	expect_no_more_on_console();
	/* The id of when it was attached */
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	ASSERT_LIB(write_fails(dev, PLACE(8)));
	ASSERT_LIB(read_event(vendor, &events));
	EXPECT_EQ(dev->virt_id, fault->dev);
	EXPECT_EQ(PLACE(8), fault->addr);
	/* And nothing of when it was not attached */
	ASSERT_LIB(iopf_dev_attach(dev[1].ep.dev, self->guest.ioas_id));
	expect_on_console(vendor->fault_log);
	ASSERT_LIB(write_fails(&dev[1], PLACE(6)));
	expect_no_more_on_console();
	ASSERT_LIB(iopf_dev_attach(dev[1].ep.dev, dev[1].space.hwpt_id));
	ASSERT_LIB(write_fails(&dev[1], PLACE(7)));
	ASSERT_LIB(read_event(vendor, &events));
	EXPECT_EQ(PLACE(7), events.last.addr);
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, id));
	/* What is still to come of it must not come into the log. */
	take_pending_interrupts();
	close(events.fd);
	EXPECT_LIB(iopf_destroy(self->ctx, id));
	expect_on_console(vendor->fault_log);
	ASSERT_LIB(write_fails(dev, GVA));
	expect_no_more_on_console();
}

/* A queue has its end, and goes on after that. */
TEST_VIOMMU(event_storm)
{
	const struct vendor *vendor = self->guest.vendor;
	char buf[4096];
	struct guest_fault fault;
	__u32 id;
	int i, fd;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	ASSERT_LIB(open_events(&self->guest, 2, &id, &fd));
	for (i = 0; i < 300; i++)
		ASSERT_LIB(write_fails(self->dev, GVA));
	ASSERT_LIB(wait_event(fd));
	EXPECT_GE(2 * (sizeof(struct iommufd_vevent_header) +
		       vendor->event_len) + sizeof(struct iommufd_vevent_header),
		  read(fd, buf, sizeof(buf)));
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	ASSERT_LIB(write_fails(self->dev, GVA));
	ASSERT_LIB(wait_event(fd));
	EXPECT_LT(0, read_one(vendor, fd, &fault))
		TH_LOG("%s", iopf_error());
	take_pending_interrupts();
	close(fd);
	EXPECT_LIB(iopf_destroy(self->ctx, id));
}

/* What a guest's own queue of page requests has in it, comes with a request. */
TEST_VIOMMU(page_requests)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct endpoint *ep = &dev->ep;
	struct testdev_response rsp;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int i, slot;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, GVA, 0x3000,
			    &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(3, g.nr);
	EXPECT_FALSE(g.pasid_valid);
	EXPECT_EQ(iopf_dev_id(ep->dev), g.dev_id);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(GVA + i * 4096, g.rec[i].addr);
		EXPECT_EQ(IOPF_WRITE, g.rec[i].perm & IOPF_WRITE);
		EXPECT_EQ(g.grpid, g.rec[i].grpid);
		guest->vendor->set_page(&dev->space, GVA + i * 4096,
					guest_page(guest));
	}
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
				     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_EQ(1, testdev_responses(&ep->td));
	ASSERT_LIB(testdev_response(&ep->td, 0, &rsp));
	EXPECT_EQ(g.grpid, rsp.prgi);
	EXPECT_EQ(3, rsp.count);
}

/* In a process of its own, which has no more than this */
static struct guest *drained;

static int call_drain(struct endpoint *ep)
{
	const struct inv inv = { .what = INV_DRAIN };

	return invalidate_one(drained, &inv, false);
}

/*
 * A guest that stops a PASID, or a device, waits for what was asked before: it is in
 * the fault queue then, however late the kernel is with it.
 */
TEST_VIOMMU(drain)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct endpoint *ep = &dev->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	struct late late;
	int ret;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED ||
	    !has_inv(guest, INV_DRAIN, false))
		return;
	drained = guest;
	/* Nothing to wait for, and then something that is late */
	ASSERT_LIB(call_drain(ep));
	ret = late_begin(&late);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ret = start_op(ep, IOPF_TD_OP_FILL, 0, GVA, 4096, &slot);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 1);
	if (!ret && iopf_queue_wait(ep->queue, 0))
		ret = iopf_err(-EIO, "the request was not late");
	if (!ret)
		ret = late_through(&late, call_drain, ep);
	late_end(&late);
	ASSERT_LIB(ret);
	ASSERT_EQ(1, iopf_queue_read(ep->queue, &g));
	EXPECT_EQ(GVA, g.rec[0].addr);
	guest->vendor->set_page(&dev->space, GVA, guest_page(guest));
	ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
				     IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
}

/* The device has what the guest has not told it to forget. */
TEST_VIOMMU(device_pages)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct inv inv = { .what = INV_PAGES, .space = &dev->space,
			   .npages = 1, .tlb_only = true };
	struct page page[3];
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED ||
	    !has_inv(guest, INV_DEVICE_PAGE, false))
		return;
	for (i = 0; i < 3; i++)
		ASSERT_LIB(move_page(&page[i], &dev[i / 2], PLACE(i & 1)));
	for (i = 0; i < 3; i++) {
		inv.gva = page[i].gva;
		inv.space = &page[i].dev->space;
		ASSERT_LIB(invalidate(guest, &inv, false));
	}
	for (i = 0; i < 3; i++)
		EXPECT_LIB(is_stale(&page[i]));
	inv.what = INV_DEVICE_PAGE;
	inv.dev = dev->virt_id;
	inv.gva = page[0].gva;
	ASSERT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(is_gone(&page[0]));
	EXPECT_LIB(is_stale(&page[1]));
	EXPECT_LIB(is_stale(&page[2]));
}

/* All of an array is for TLBs before any of it is for devices. */
TEST_VIOMMU(mixed)
{
	struct guest *guest = &self->guest;
	size_t len = guest->vendor->inv_len;
	struct guest_dev *dev = self->dev;
	struct inv inv = { .what = INV_DEVICE, .dev = dev->virt_id,
			   .space = &dev->space, .npages = 1 };
	unsigned int i, nr = 600;
	struct page page[2];
	char *array;
	__u32 done;

	if (!guest->vendor->guest_devtlb)
		return;
	array = calloc(nr, len);
	ASSERT_NE(NULL, array);
	for (i = 0; i < nr; i++) {
		inv.what = i & 1 ? INV_PAGES : INV_DEVICE;
		inv.gva = i == 1 ? PLACE(0) : i == nr - 1 ? PLACE(1) : PLACE(2);
		guest->vendor->inv(&inv, false, array + i * len);
	}
	for (i = 0; i < 2; i++)
		ASSERT_LIB(move_page(&page[i], dev, PLACE(i)));
	ASSERT_LIB(invalidate_array(guest, guest->viommu_id, array, nr, &done));
	EXPECT_EQ(nr, done);
	for (i = 0; i < 2; i++)
		EXPECT_LIB(is_gone(&page[i]));
	free(array);
}

/* A guest that does not know what devices have need not invalidate it. */
TEST_VIOMMU(host_devtlb)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct inv inv = { .what = INV_PAGES, .space = &dev->space,
			   .npages = 1, .tlb_only = true };
	__u32 old = dev->space.hwpt_id;
	struct page page;
	unsigned int i;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED ||
	    !guest->vendor->may_leave_devtlb)
		return;
	for (i = 0; i < 2; i++) {
		inv.gva = PLACE(i);
		ASSERT_LIB(move_page(&page, dev, PLACE(i)));
		ASSERT_LIB(invalidate(guest, &inv, false));
		if (!i)
			EXPECT_LIB(is_stale(&page));
		else
			EXPECT_LIB(is_gone(&page));
		if (i)
			break;
		dev->space.host_devtlb = true;
		ASSERT_LIB(alloc_nested(&dev->space, iopf_dev_id(dev->ep.dev),
					iopf_queue_id(dev->ep.queue),
					&dev->space.hwpt_id));
		ASSERT_LIB(iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
		ASSERT_LIB(iopf_destroy(self->ctx, old));
	}
}

/* What leads to the tables is the guest's, and it has to tell if that changes. */
TEST_VIOMMU(root)
{
	static const enum inv_what what[] = { INV_TABLE, INV_DOMAIN_TABLES };
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct space *space = &dev->space;
	struct inv inv = { .space = space };
	__u64 page[2];
	unsigned int i;

	if (!guest->vendor->set_root)
		return;
	for (i = 0; i < 2; i++) {
		page[0] = guest_page(guest);
		page[1] = guest_page(guest);
		guest->vendor->set_page(space, PLACE(i), page[0]);
		ASSERT_LIB(arrives(dev, PLACE(i), page[0]));
		space->root = guest_page(guest);
		guest->vendor->set_page(space, PLACE(i), page[1]);
		guest->vendor->set_root(space);
		inv.what = INV_SPACE;
		ASSERT_LIB(invalidate(guest, &inv, false));
		EXPECT_LIB(arrives(dev, PLACE(i), page[0]));
		/* That of the other device */
		inv.what = what[i];
		inv.space = &dev[1].space;
		ASSERT_LIB(invalidate(guest, &inv, false));
		inv.what = INV_SPACE;
		inv.space = space;
		ASSERT_LIB(invalidate(guest, &inv, false));
		EXPECT_LIB(arrives(dev, PLACE(i), page[0]));
		inv.what = what[i];
		ASSERT_LIB(invalidate(guest, &inv, false));
		inv.what = INV_SPACE;
		ASSERT_LIB(invalidate(guest, &inv, false));
		EXPECT_LIB(arrives(dev, PLACE(i), page[1]));
	}
}

/* A table of the guest's has PASIDs, which nothing of the host is attached to. */
TEST_VIOMMU(pasids)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct endpoint *ep = &dev->ep;
	struct space rid = dev->space;
	struct inv inv = { .what = INV_SPACE, .space = &dev->space,
			   .dev = dev->virt_id, .tlb_only = true };
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_PASID,
		.iova = PLACE(5),
		.length = 4096,
		.data = SEED,
		.pasid = 5,
	};
	struct testdev_result r;
	struct page page, other;
	struct iopf_group g;
	unsigned int slot;
	int i;

	/* Whoever has a PASID has ATS. */
	if (!guest->vendor->set_pasid ||
	    variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	if (!(testdev_reg(&ep->td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PASID))
		SKIP(return, "the kernel has not enabled PASID in the device");
	ASSERT_LIB(move_page(&other, dev, GVA));
	dev->space.root = guest_page(guest);
	dev->space.domain = 60;
	dev->space.pasid = 5;
	dev->space.dma_pasid = 5;
	guest->vendor->set_pasid(&rid, &dev->space);
	ASSERT_LIB(move_page(&page, dev, GVA));
	EXPECT_LIB(is_stale(&page));
	ASSERT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(is_stale(&page));
	inv.what = INV_DEVICE_SPACE;
	ASSERT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(is_gone(&page));
	dev->space.dma_pasid = 0;
	EXPECT_LIB(is_stale(&other));

	/* Requests have the PASID, and go with the page table of the RID. */
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
		ASSERT_LIB(next_group(ep, &g));
		EXPECT_TRUE(g.pasid_valid);
		EXPECT_EQ(5, g.pasid);
		EXPECT_EQ(op.iova, g.rec[0].addr);
		if (i) {
			ASSERT_LIB(iopf_dev_attach(ep->dev, guest->parent_id));
		} else {
			guest->vendor->set_page(&dev->space, op.iova,
						guest_page(guest));
			ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
						     IOMMUFD_PAGE_RESP_SUCCESS));
		}
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_EQ(i, r.status != IOPF_TD_ST_OK);
		op.iova = PLACE(6);
	}
	rid.hwpt_id = dev->space.hwpt_id;
	dev->space = rid;
}

/* Each first stage of a guest is a page table of the host's, and has a PASID of that. */
struct pasid_space {
	struct guest_dev *dev;
	struct space rid;
	struct space pasid;
};

/* The tests look at what the device does with the RID, or with the PASID. */
static struct guest_dev *with_rid(struct pasid_space *both)
{
	both->dev->space = both->rid;
	return both->dev;
}

static struct guest_dev *with_pasid(struct pasid_space *both)
{
	both->dev->space = both->pasid;
	return both->dev;
}

/* The device has a page table for the RID that leaves room for those of PASIDs. */
static int pasid_setup(struct pasid_space *both, struct guest_dev *dev)
{
	struct guest *guest = dev->space.guest;
	__u32 fault_id = iopf_queue_id(dev->ep.queue);
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	__u32 old = dev->space.hwpt_id;
	int ret;

	both->dev = dev;
	both->rid = dev->space;
	both->pasid = (struct space) {
		.guest = guest,
		.root = guest_page(guest),
		.domain = 60,
		.pasid = 5,
		.dev = dev->virt_id,
		.dma_pasid = 9,
	};
	ret = alloc_nested_flags(&both->pasid, dev_id, IOMMU_HWPT_ALLOC_PASID,
				 fault_id, &both->pasid.hwpt_id);
	if (ret)
		return ret;
	/* There is none yet. */
	ret = iopf_dev_attach_pasid(dev->ep.dev, 9, both->pasid.hwpt_id);
	if (ret != -EINVAL)
		return iopf_err(-EPROTO, "beside a RID that leaves no room: %d", ret);
	ret = alloc_nested_flags(&both->rid, dev_id, IOMMU_HWPT_ALLOC_PASID,
				 fault_id, &both->rid.hwpt_id);
	if (!ret)
		ret = iopf_dev_attach(dev->ep.dev, both->rid.hwpt_id);
	if (ret)
		return ret;
	with_rid(both);
	ret = iopf_dev_attach_pasid(dev->ep.dev, 9, old);
	if (ret != -EINVAL)
		return iopf_err(-EPROTO, "not made for PASIDs: %d", ret);
	ret = iopf_destroy(guest->ctx, old);
	if (!ret)
		ret = iopf_dev_attach_pasid(dev->ep.dev, 9, both->pasid.hwpt_id);
	return ret;
}

static int pasid_teardown(struct pasid_space *both)
{
	int ret = iopf_dev_detach_pasid(both->dev->ep.dev, 9);

	with_rid(both);
	return ret ?: iopf_destroy(both->rid.guest->ctx, both->pasid.hwpt_id);
}

/* PASIDs that a page table is attached to; whoever has a PASID has ATS. */
static bool has_pasid_hwpts(struct guest_dev *dev)
{
	return dev->space.guest->vendor->pasid_hwpt &&
	       dev->mode == IOPF_TD_MODE_TRANSLATED &&
	       testdev_reg(&dev->ep.td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PASID;
}

TEST_VIOMMU(pasid_pages)
{
	struct guest *guest = &self->guest;
	struct pasid_space both;
	struct inv inv = { .what = INV_SPACE, .dev = self->dev->virt_id };
	struct page rid, pasid;
	int i;

	if (!has_pasid_hwpts(self->dev))
		return;
	ASSERT_LIB(pasid_setup(&both, self->dev));
	/* By the ids of the guest, and by the page table */
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(move_page(&rid, with_rid(&both), PLACE(i)));
		ASSERT_LIB(move_page(&pasid, with_pasid(&both), PLACE(i)));
		EXPECT_LIB(is_stale(&pasid));
		inv.space = &both.pasid;
		ASSERT_LIB(invalidate(guest, &inv, i));
		EXPECT_LIB(is_gone(&pasid));
		with_rid(&both);
		EXPECT_LIB(is_stale(&rid));

		ASSERT_LIB(move_page(&pasid, with_pasid(&both), PLACE(4 + i)));
		inv.space = &both.rid;
		ASSERT_LIB(invalidate(guest, &inv, i));
		EXPECT_LIB(is_stale(&pasid));
		with_rid(&both);
		EXPECT_LIB(is_gone(&rid));
	}
	EXPECT_LIB(pasid_teardown(&both));
}

/* Requests have the PASID of the host, events that of the guest. */
TEST_VIOMMU(pasid_faults)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->dev->ep;
	struct pasid_space both;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_PASID,
		.length = 4096,
		.data = SEED,
		.pasid = 9,
	};
	struct events events = { 0 };
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	__u32 id;
	int i;

	if (!has_pasid_hwpts(self->dev))
		return;
	ASSERT_LIB(pasid_setup(&both, self->dev));
	with_pasid(&both);
	/* The last one is open when the page table goes. */
	for (i = 0; i < 3; i++) {
		op.iova = PLACE(i);
		ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
		ASSERT_LIB(next_group(ep, &g));
		EXPECT_TRUE(g.pasid_valid);
		EXPECT_EQ(9, g.pasid);
		EXPECT_EQ(op.iova, g.rec[0].addr);
		if (i == 2)
			break;
		if (!i)
			guest->vendor->set_page(&both.pasid, op.iova,
						guest_page(guest));
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie, i ?
					     IOMMUFD_PAGE_RESP_INVALID :
					     IOMMUFD_PAGE_RESP_SUCCESS));
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_EQ(i, r.status != IOPF_TD_ST_OK);
	}
	ASSERT_LIB(iopf_dev_detach_pasid(ep->dev, 9));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
	ASSERT_LIB(iopf_dev_attach_pasid(ep->dev, 9, both.pasid.hwpt_id));

	ASSERT_LIB(open_events(guest, 16, &id, &events.fd));
	for (i = 0; i < 4; i++) {
		if (i & 1) {
			op.iova = PLACE(10 + i);
			guest->vendor->set_page(&both.pasid, op.iova, NO_GPA);
			ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
			/* The device cannot tell that from one that is missing. */
			ASSERT_LIB(next_group(ep, &g));
			ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
						     IOMMUFD_PAGE_RESP_INVALID));
			ASSERT_LIB(wait_op(ep, slot, &r));
			EXPECT_NE(IOPF_TD_ST_OK, r.status);
		} else {
			ASSERT_LIB(write_fails(with_rid(&both), PLACE(10 + i)));
		}
		ASSERT_LIB(read_event(guest->vendor, &events));
		EXPECT_EQ(self->dev->virt_id, events.last.dev);
		EXPECT_EQ(PLACE(10 + i), events.last.addr);
		EXPECT_EQ(i & 1 ? 5 : 0, events.last.pasid);
	}
	take_pending_interrupts();
	close(events.fd);
	EXPECT_LIB(iopf_destroy(self->ctx, id));
	EXPECT_LIB(pasid_teardown(&both));
}

/* A page of @space that leaves the second stage is out of reach for @op. */
static void second_stage_loses(struct __test_metadata *_metadata, struct guest_dev *dev,
			       const struct space *space, struct testdev_op *op)
{
	struct guest *guest = space->guest;
	struct endpoint *ep = &dev->ep;
	const __u64 gpa = GPA + 2 * GUEST_SIZE;
	/* What has no translation of its own asks for the page, and is refused. */
	bool asks = op->mode != IOPF_TD_MODE_UNTRANSLATED;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	char *mem;

	op->opcode = IOPF_TD_OP_FILL;
	op->iova = GVA;
	op->length = 4096;
	op->data = SEED;
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_LIB(iopf_ioas_map(guest->ctx, guest->ioas_id, mem, 4096, gpa, IOPF_RW));
	guest->vendor->set_page(space, GVA, gpa);
	ASSERT_LIB(testdev_submit(&ep->td, op, &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_EQ(4096, testdev_pattern_check(mem, 4096, SEED, 0));
	memset(mem, 0, 4096);
	ASSERT_LIB(iopf_ioas_unmap(guest->ctx, guest->ioas_id, gpa, 4096));
	expect_on_console(guest->vendor->fault_log);
	if (asks)
		op->mode = IOPF_TD_MODE_AUTO;
	ASSERT_LIB(testdev_submit(&ep->td, op, &slot));
	if (asks) {
		ASSERT_LIB(next_group(ep, &g));
		ASSERT_LIB(iopf_queue_answer(ep->queue, g.cookie,
					     IOMMUFD_PAGE_RESP_INVALID));
	}
	ASSERT_LIB(wait_op(ep, slot, &r));
	expect_no_more_on_console();
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(0, mem[0]);
	munmap(mem, 4096);
}

/* What the second stage loses is lost for a PASID, too. */
TEST_VIOMMU(pasid_second_stage)
{
	struct testdev_op op = {
		.flags = IOPF_TD_F_PASID,
		.pasid = 9,
	};
	struct pasid_space both;

	if (!has_pasid_hwpts(self->dev))
		return;
	ASSERT_LIB(pasid_setup(&both, self->dev));
	second_stage_loses(_metadata, self->dev, &both.pasid, &op);
	EXPECT_LIB(pasid_teardown(&both));
}

/* From one space to the next, and for no device that the guest does not know */
TEST_VIOMMU(pasid_moves)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct pasid_space both;
	struct space first;
	struct page page;
	__u32 id;

	if (!has_pasid_hwpts(dev))
		return;
	ASSERT_LIB(pasid_setup(&both, dev));
	ASSERT_LIB(move_page(&page, with_pasid(&both), GVA));
	first = both.pasid;
	both.pasid.root = guest_page(guest);
	both.pasid.domain = 61;
	both.pasid.pasid = 6;
	ASSERT_LIB(alloc_nested_flags(&both.pasid, iopf_dev_id(dev->ep.dev),
				      IOMMU_HWPT_ALLOC_PASID,
				      iopf_queue_id(dev->ep.queue),
				      &both.pasid.hwpt_id));
	ASSERT_LIB(iopf_dev_attach_pasid(dev->ep.dev, 9, both.pasid.hwpt_id));
	ASSERT_LIB(iopf_destroy(self->ctx, first.hwpt_id));
	/* Not where the first one had it */
	ASSERT_LIB(move_page(&page, with_pasid(&both), GVA));
	EXPECT_LIB(is_stale(&page));

	/* The second device has no id any more. */
	ASSERT_LIB(iopf_destroy(self->ctx, dev[1].vdevice_id));
	dev[1].vdevice_id = 0;
	ASSERT_LIB(iopf_dev_detach(dev[1].ep.dev));
	EXPECT_EQ(-ENOENT, iopf_dev_attach_pasid(dev[1].ep.dev, 9,
						 both.pasid.hwpt_id));
	/* It does without, if there is no guest. */
	ASSERT_LIB(alloc_parent(self->ctx, iopf_dev_id(dev->ep.dev),
				guest->ioas_id, IOMMU_HWPT_ALLOC_PASID, &id));
	EXPECT_LIB(iopf_dev_attach_pasid(dev[1].ep.dev, 9, id));
	EXPECT_LIB(iopf_dev_detach_pasid(dev[1].ep.dev, 9));
	EXPECT_LIB(iopf_destroy(self->ctx, id));
	EXPECT_EQ(-ENOENT, iopf_dev_attach(dev[1].ep.dev,
					   dev[1].space.hwpt_id));
	EXPECT_LIB(pasid_teardown(&both));
}

/* Which pages of the guest's were written since the last call */
static int take_dirty(struct guest *guest, __u64 *bits, size_t size)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd),
		.hwpt_id = guest->parent_id,
		.iova = GPA,
		.length = GUEST_SIZE,
		.page_size = 4096,
		.data = (__u64)(unsigned long)bits,
	};

	memset(bits, 0, size);
	return ctx_ioctl(guest->ctx, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd,
			 "dirty bitmap");
}

static bool is_dirty(const __u64 *bits, __u64 gpa)
{
	__u64 page = (gpa - GPA) / 4096;

	return bits[page / 64] >> page % 64 & 1;
}

static int track_dirty(struct guest *guest, bool on)
{
	struct iommu_hwpt_set_dirty_tracking cmd = {
		.size = sizeof(cmd),
		.flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0,
		.hwpt_id = guest->parent_id,
	};

	return ctx_ioctl(guest->ctx, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd,
			 "dirty tracking");
}

/*
 * A VMM that moves its guest to another machine: it learns of what the device writes
 * without a PASID. With PASIDs it could not, so there is no such thing.
 */
TEST_VIOMMU(pasid_dirty)
{
	struct guest old = self->guest, *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	struct space rid = dev->space, pasid = dev->space;
	__u64 bits[GUEST_SIZE / 4096 / 64];
	__u64 page = guest_page(guest);
	struct iopf_hw_info info;
	unsigned int i;

	if (!has_pasid_hwpts(dev))
		return;
	ASSERT_LIB(iopf_dev_hw_info(dev->ep.dev, &info));
	if (!(info.caps & IOMMU_HW_CAP_DIRTY_TRACKING))
		SKIP(return, "this IOMMU has no dirty tracking");
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	ASSERT_LIB(iopf_destroy(self->ctx, dev->space.hwpt_id));
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->space.hwpt_id = 0;
	dev->vdevice_id = 0;

	ASSERT_LIB(alloc_parent(self->ctx, dev_id, guest->ioas_id,
				IOMMU_HWPT_ALLOC_NEST_PARENT |
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
				&guest->parent_id));
	ASSERT_LIB(alloc_viommu(self->ctx, guest->vendor->viommu_type, dev_id,
				guest->parent_id, &guest->viommu_id));
	ASSERT_LIB(alloc_vdevice(self->ctx, guest->viommu_id, dev_id,
				 dev->virt_id, &dev->vdevice_id));
	pasid.pasid = 5;
	ASSERT_LIB(alloc_nested_flags(&rid, dev_id, IOMMU_HWPT_ALLOC_PASID, 0,
				      &rid.hwpt_id));
	ASSERT_LIB(alloc_nested_flags(&pasid, dev_id, IOMMU_HWPT_ALLOC_PASID, 0,
				      &pasid.hwpt_id));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, rid.hwpt_id));
	guest->vendor->set_page(&rid, GVA, page);
	ASSERT_LIB(track_dirty(guest, true));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev->ep.dev, 9,
							 i ? guest->parent_id :
							     pasid.hwpt_id));
		ASSERT_LIB(arrives(dev, GVA, page));
		ASSERT_LIB(take_dirty(guest, bits, sizeof(bits)));
		EXPECT_TRUE(is_dirty(bits, page));
		ASSERT_LIB(take_dirty(guest, bits, sizeof(bits)));
		EXPECT_FALSE(is_dirty(bits, page));
	}
	ASSERT_LIB(track_dirty(guest, false));
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	EXPECT_LIB(iopf_destroy(self->ctx, pasid.hwpt_id));
	EXPECT_LIB(iopf_destroy(self->ctx, rid.hwpt_id));
	EXPECT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	EXPECT_LIB(iopf_destroy(self->ctx, guest->viommu_id));
	EXPECT_LIB(iopf_destroy(self->ctx, guest->parent_id));
	guest->viommu_id = old.viommu_id;
	guest->parent_id = old.parent_id;
}

/* A guest that has its IOMMU off, or blocks a device */
TEST_VIOMMU(without)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u64 gpa = guest_page(guest);
	__u32 id[2];
	int i;

	if (!guest->vendor->nested_without)
		return;
	for (i = 0; i < 2; i++) {
		__u64 blob[8] = { 0 };
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd),
			.dev_id = iopf_dev_id(dev->ep.dev),
			.pt_id = guest->viommu_id,
			.data_uptr = (__u64)(unsigned long)blob,
		};

		guest->vendor->nested_without(i, &cmd, blob);
		ASSERT_LIB(ctx_ioctl(guest->ctx, IOMMU_HWPT_ALLOC, &cmd, "HWPT"));
		id[i] = cmd.out_hwpt_id;
	}
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, id[0]));
	ASSERT_LIB(write_fails(dev, gpa));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, id[1]));
	EXPECT_LIB(arrives(dev, gpa, gpa));
	/* Without an id of the guest, too */
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, id[1]));
	EXPECT_LIB(arrives(dev, gpa, gpa));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, id[0]));
	ASSERT_LIB(write_fails(dev, gpa));
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	for (i = 0; i < 2; i++)
		EXPECT_LIB(iopf_destroy(self->ctx, id[i]));
}

/* A guest that does not invalidate what devices have */
TEST_VIOMMU(no_ats)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct testdev *td = &dev->ep.td;
	__u64 blob[8] = { 0 };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = iopf_dev_id(dev->ep.dev),
		.pt_id = guest->viommu_id,
		.data_uptr = (__u64)(unsigned long)blob,
	};
	__u64 page = guest_page(guest);

	if (!guest->vendor->nested_no_ats ||
	    variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	guest->vendor->set_page(&dev->space, GVA, page);
	EXPECT_TRUE(testdev_reg(td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_ATS);
	guest->vendor->nested_no_ats(&dev->space, &cmd, blob);
	ASSERT_LIB(ctx_ioctl(guest->ctx, IOMMU_HWPT_ALLOC, &cmd, "HWPT"));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, cmd.out_hwpt_id));
	EXPECT_FALSE(testdev_reg(td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_ATS);
	EXPECT_LIB(arrives(dev, GVA, page));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	EXPECT_TRUE(testdev_reg(td, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_ATS);
	EXPECT_LIB(iopf_destroy(self->ctx, cmd.out_hwpt_id));
}

/*
 * A device that completes no invalidations, as one that is gone: what the guest waits
 * for comes to an end, and what the device has is worth nothing by then.
 */
TEST_VIOMMU(silent)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	const char *bdf = strchr(self->found.bdf[0], ':') + 1;
	struct inv inv = { .what = INV_PAGES, .space = &dev->space,
			   .dev = dev->virt_id, .gva = GVA, .npages = 1 };
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_NO_PR,
		.mode = variant->mode,
		.iova = GVA,
		.length = 4096,
		.data = SEED,
	};
	struct testdev_result r;
	struct page page, other;
	char pattern[128];
	unsigned int i, slot;

	if (variant->mode != IOPF_TD_MODE_TRANSLATED)
		return;
	ASSERT_LIB(move_page(&page, dev, GVA));
	ASSERT_LIB(move_page(&other, dev + 1, GVA));
	expect_invalidation_time_outs();
	snprintf(pattern, sizeof(pattern),
		 "^vfio-pci (0000:)?%s: does not invalidate its TLB", bdf);
	expect_on_console(pattern);
	expect_dma_faults(bdf, DMA_NO_PASID, "[0-9a-f]+", DMA_NO_ATS);
	testdev_set(&dev->ep.td, IOPF_TD_REG_HOSTILE,
		    IOPF_TD_HOSTILE_IGNORE_INV | IOPF_TD_HOSTILE_REFUSE_INV);
	/* Once too often for who may be late, and then to one that is given up */
	for (i = 0; i < 3; i++)
		ASSERT_LIB(invalidate(guest, &inv, false));
	memset(host(guest, page.old), 0, 4096);
	ASSERT_LIB(testdev_submit(&dev->ep.td, &op, &slot));
	ASSERT_LIB(wait_op(&dev->ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_ACCESS_ERROR, r.status)
		TH_LOG("%s", testdev_status(r.status));
	EXPECT_EQ(0, *(char *)host(guest, page.old));
	EXPECT_LIB(is_stale(&other));
	inv.space = &dev[1].space;
	inv.dev = dev[1].virt_id;
	ASSERT_LIB(invalidate(guest, &inv, false));
	EXPECT_LIB(is_gone(&other));

	ASSERT_LIB(iopf_dev_reset(dev->ep.dev));
	ASSERT_LIB(testdev_start(&dev->ep.td));
	expect_no_more_on_console();
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, guest->parent_id));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	EXPECT_LIB(is_gone(&page));
}

/* What the VMM takes away has gone, whatever the guest does. */
TEST_VIOMMU(second_stage)
{
	struct testdev_op op = { .mode = variant->mode };

	second_stage_loses(_metadata, self->dev, &self->dev->space, &op);
}

/* The next guest does not find what the one before has had with the same ids. */
TEST_VIOMMU(again)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	__u32 virt_id = dev->virt_id;
	__u64 page = guest_page(guest);
	int i;

	guest->vendor->set_page(&dev->space, GVA, page);
	ASSERT_LIB(arrives(dev, GVA, page));
	for (i = 0; i < NR_DEVS; i++) {
		ASSERT_LIB(iopf_dev_detach(dev[i].ep.dev));
		ASSERT_LIB(iopf_destroy(self->ctx, dev[i].space.hwpt_id));
		ASSERT_LIB(iopf_destroy(self->ctx, dev[i].vdevice_id));
		dev[i].space.hwpt_id = 0;
		dev[i].vdevice_id = 0;
	}
	ASSERT_LIB(iopf_destroy(self->ctx, guest->viommu_id));
	guest->viommu_id = 0;
	ASSERT_LIB(alloc_viommu(self->ctx, guest->vendor->viommu_type, dev_id,
				guest->parent_id, &guest->viommu_id));
	ASSERT_LIB(alloc_vdevice(self->ctx, guest->viommu_id, dev_id, virt_id,
				 &dev->vdevice_id));
	dev->space.root = guest_page(guest);
	if (guest->vendor->prepare)
		guest->vendor->prepare(&dev->space);
	page = guest_page(guest);
	guest->vendor->set_page(&dev->space, GVA, page);
	ASSERT_LIB(alloc_nested(&dev->space, dev_id, iopf_queue_id(dev->ep.queue),
				&dev->space.hwpt_id));
	ASSERT_LIB(iopf_dev_attach(dev->ep.dev, dev->space.hwpt_id));
	EXPECT_LIB(arrives(dev, GVA, page));
}

/* Interrupts of a device that is set up, or is given to the guest after that */
TEST_VIOMMU(interrupts)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	struct endpoint *ep = &dev->ep;
	struct pollfd pfd = { .fd = ep->td.irq[0], .events = POLLIN };
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_IRQ,
		.mode = variant->mode,
		.iova = GVA,
		.length = 4096,
		.data = SEED,
	};
	struct testdev_result r;
	unsigned int i, slot;
	__u64 count;

	guest->vendor->set_page(&dev->space, GVA, guest_page(guest));
	for (i = 0; i < 2; i++) {
		ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
		ASSERT_EQ(1, poll(&pfd, 1, LONG_MS));
		ASSERT_EQ(sizeof(count), read(pfd.fd, &count, sizeof(count)));
		ASSERT_LIB(wait_op(ep, slot, &r));
		EXPECT_EQ(IOPF_TD_ST_OK, r.status);
		testdev_set(&ep->td, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_RING);
		ASSERT_LIB(iopf_dev_attach(ep->dev, guest->parent_id));
		ASSERT_LIB(iopf_dev_attach(ep->dev, dev->space.hwpt_id));
	}
}

/* What a VMM has for a device of its guest's */
struct made {
	struct guest guest;
	struct space space;
	__u32 vdevice_id;
	bool attached;
};

static int make_all(struct made *made, struct guest_dev *dev)
{
	struct guest *guest = &made->guest;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	__u8 elem[INV_MAX_LEN];
	__u32 done;
	int ret;

	ret = alloc_viommu(guest->ctx, guest->vendor->viommu_type, dev_id,
			   guest->parent_id, &guest->viommu_id);
	if (!ret)
		ret = alloc_vdevice(guest->ctx, guest->viommu_id, dev_id,
				    dev->virt_id, &made->vdevice_id);
	if (!ret)
		ret = alloc_nested(&made->space, dev_id, 0,
				   &made->space.hwpt_id);
	if (!ret)
		ret = iopf_dev_attach(dev->ep.dev, made->space.hwpt_id);
	made->attached = !ret;
	inv_most(guest, &made->space, elem);
	if (!ret)
		ret = invalidate_array(guest, guest->viommu_id, elem, 1, &done);
	return ret;
}

static int unmake_all(struct made *made, struct guest_dev *dev)
{
	struct iopf_ctx *ctx = made->guest.ctx;
	int ret = 0;

	if (made->attached)
		ret = iopf_dev_detach(dev->ep.dev);
	if (!ret && made->space.hwpt_id)
		ret = iopf_destroy(ctx, made->space.hwpt_id);
	if (!ret && made->vdevice_id)
		ret = iopf_destroy(ctx, made->vdevice_id);
	if (!ret && made->guest.viommu_id)
		ret = iopf_destroy(ctx, made->guest.viommu_id);
	return ret;
}

/* Whichever allocation fails: nothing is left, and all works after that. */
TEST_VIOMMU(fail_nth)
{
	struct guest_dev *dev = self->dev;
	unsigned int nth, failed = 0;
	bool reached = true;
	int fd, ret;

	fd = failing_open();
	if (fd < 0)
		SKIP(return, "takes failslab");
	ASSERT_LIB(iopf_dev_detach(dev->ep.dev));
	ASSERT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
	dev->vdevice_id = 0;
	for (nth = 1; reached; nth++) {
		struct made made = {
			.guest = self->guest,
			.space = dev->space,
		};

		ASSERT_GT(400, nth);
		made.guest.viommu_id = 0;
		made.space.guest = &made.guest;
		made.space.hwpt_id = 0;
		ASSERT_EQ(0, failing_set(fd, nth));
		ret = make_all(&made, dev);
		reached = failing_done(fd);
		failed += !!ret;
		ASSERT_LIB(unmake_all(&made, dev));
	}
	EXPECT_EQ(0, ret);
	EXPECT_LT(5, failed);
	failing_close(fd);
}

struct race {
	struct guest *guest;
	struct guest_dev *dev;
	atomic_bool stop;
	int err;
};

static void *race_invalidate(void *arg)
{
	struct race *race = arg;
	char *array = page_array(race->dev, GVA, 0x2000, 200);
	__u8 elem[INV_MAX_LEN];
	__u32 done;

	inv_most(race->guest, &race->dev->space, elem);
	while (!race->stop && !race->err) {
		race->err = invalidate_array(race->guest, race->guest->viommu_id,
					     array, 200, &done);
		if (!race->err)
			race->err = invalidate_array(race->guest,
						     race->guest->viommu_id,
						     elem, 1, &done);
	}
	free(array);
	return NULL;
}

/* A guest that invalidates while its devices, tables and ids come and go */
TEST_VIOMMU(race)
{
	struct guest *guest = &self->guest;
	struct guest_dev *dev = self->dev;
	__u32 dev_id = iopf_dev_id(dev->ep.dev);
	struct race race = { .guest = guest, .dev = dev + 1 };
	pthread_t thread;
	unsigned int i;
	__u32 old, id;

	ASSERT_EQ(0, pthread_create(&thread, NULL, race_invalidate, &race));
	for (i = 0; i < 60; i++) {
		if (i % 3 == 0) {
			EXPECT_LIB(iopf_dev_detach(dev->ep.dev));
			EXPECT_LIB(iopf_destroy(self->ctx, dev->vdevice_id));
			EXPECT_LIB(alloc_vdevice(self->ctx, guest->viommu_id,
						 dev_id, dev->virt_id,
						 &dev->vdevice_id));
		}
		old = dev->space.hwpt_id;
		EXPECT_LIB(alloc_nested(&dev->space, dev_id,
					iopf_queue_id(dev->ep.queue), &id));
		dev->space.hwpt_id = id;
		EXPECT_LIB(iopf_dev_attach(dev->ep.dev, id));
		EXPECT_LIB(iopf_destroy(self->ctx, old));
	}
	race.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(0, race.err);
}

/* Two guests with the same ids, of which each has one of the devices */
FIXTURE(guests)
{
	struct found found;
	struct iopf_ctx *ctx[NR_DEVS];
	struct guest guest[NR_DEVS];
	struct guest_dev dev[NR_DEVS];
};

FIXTURE_VARIANT(guests)
{
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(guests, iotlb)
{
	.mode = IOPF_TD_MODE_UNTRANSLATED,
};

FIXTURE_VARIANT_ADD(guests, devtlb)
{
	.mode = IOPF_TD_MODE_TRANSLATED,
};

FIXTURE_SETUP(guests)
{
	unsigned int i;

	iopf_pci_scan(find_endpoint, &self->found);
	if (self->found.nr < NR_DEVS)
		SKIP(return, "no two test endpoints 1234:11f0 with PRI on vfio-pci");
	for (i = 0; i < NR_DEVS; i++) {
		struct guest_dev *dev = &self->dev[i];
		struct guest *guest = &self->guest[i];

		ASSERT_LIB(iopf_ctx_open(&self->ctx[i]));
		ASSERT_LIB(open_dev(self->ctx[i], self->found.bdf[i], dev));
		dev->mode = variant->mode;
		guest->vendor = vendor_of(dev->ep.dev);
		if (!guest->vendor)
			SKIP(return, "this IOMMU has no vIOMMUs");
		ASSERT_LIB(guest_open(guest, self->ctx[i], dev->ep.dev));
		ASSERT_LIB(guest_add(guest, dev, 0x10, 7, 8));
	}
}

FIXTURE_TEARDOWN(guests)
{
	unsigned int i;

	for (i = 0; i < NR_DEVS; i++) {
		if (self->dev[i].ep.td.dev)
			EXPECT_LIB(guest_del(&self->dev[i]));
		iopf_dev_close(self->dev[i].ep.dev);
		EXPECT_LIB(guest_close(&self->guest[i]));
		iopf_ctx_close(self->ctx[i]);
	}
}

#define TEST_GUESTS(name) TEST_F_TIMEOUT(guests, name, TEST_SECONDS)

/* Whatever one invalidates, the other keeps what it has. */
TEST_GUESTS(apart)
{
	struct guest *guest = &self->guest[0];
	struct guest_dev *dev = self->dev;
	enum inv_what what;
	struct page page, other;

	for (what = 0; what < INV_NR; what++) {
		const struct inv inv = {
			.what = what,
			.space = &dev->space,
			.dev = dev->virt_id,
			.gva = PLACE(what),
			.npages = 1,
		};

		if (!has_inv(guest, what, false))
			continue;
		ASSERT_LIB(move_page(&page, dev, PLACE(what)));
		ASSERT_LIB(move_page(&other, dev + 1, PLACE(what)));
		ASSERT_LIB(invalidate(guest, &inv, false));
		EXPECT_LIB(is_stale(&other));
	}
}

/* An id is one of the context. */
TEST_GUESTS(ids)
{
	struct guest *guest = &self->guest[0], *other = &self->guest[1];
	__u32 dev_id = iopf_dev_id(self->dev[0].ep.dev), id;
	__u8 elem[INV_MAX_LEN];
	__u32 spare, done;

	/* One that the other has not */
	ASSERT_LIB(iopf_ioas_alloc(self->ctx[1], &spare));
	ASSERT_LIB(alloc_viommu(self->ctx[1], other->vendor->viommu_type,
				iopf_dev_id(self->dev[1].ep.dev),
				other->parent_id, &id));
	EXPECT_EQ(-ENOENT, iopf_destroy(self->ctx[0], id));
	EXPECT_EQ(-ENOENT, alloc_vdevice(self->ctx[0], id, dev_id, 1, &done));
	inv_most(guest, &self->dev[0].space, elem);
	EXPECT_EQ(-ENOENT, invalidate_array(guest, id, elem, 1, &done));
	EXPECT_LIB(iopf_destroy(self->ctx[1], id));
	EXPECT_LIB(iopf_destroy(self->ctx[1], spare));
}

/* The events of one are not those of the other. */
TEST_GUESTS(events)
{
	const struct vendor *vendor = self->guest[0].vendor;
	struct events events[NR_DEVS] = { 0 };
	__u32 id[NR_DEVS];
	int i, round;

	if (variant->mode != IOPF_TD_MODE_UNTRANSLATED)
		return;
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(open_events(&self->guest[i], 16, &id[i],
				       &events[i].fd));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < NR_DEVS; i++) {
			ASSERT_LIB(write_fails(&self->dev[i],
					       PLACE(2 * round + i)));
			ASSERT_LIB(read_event(vendor, &events[i]));
			EXPECT_EQ(PLACE(2 * round + i), events[i].last.addr);
			EXPECT_EQ(0x10, events[i].last.dev);
		}
	}
	take_pending_interrupts();
	for (i = 0; i < NR_DEVS; i++) {
		close(events[i].fd);
		EXPECT_LIB(iopf_destroy(self->ctx[i], id[i]));
	}
}

/* Both stages, and a second one that can force write-back */
static bool smmu_forces_write_back(struct iopf_dev *dev)
{
	struct iommu_hw_info_arm_smmuv3 smmu;
	struct iopf_hw_info info;

	if (iopf_dev_hw_info(dev, &info) ||
	    info.type != IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		return false;
	memcpy(&smmu, info.raw, sizeof(smmu));
	return (smmu.idr[0] & 3) == 3 && smmu.idr[3] & 0x100;
}

/*
 * A guest could let its devices write past the caches of the host, where the second stage
 * has no say in that. Firmware that vouches for the whole machine is not asked. Any other
 * IOMMU has no vIOMMU of this type.
 */
TEST(write_back)
{
	__u32 ioas_id, parent, viommu;
	struct found found = { 0 };
	struct iopf_dev *dev;
	struct iopf_ctx *ctx;
	bool forces;

	find_any_endpoint(&found);
	if (!found.nr)
		SKIP(return, "no test endpoint 1234:11f0 on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&ctx));
	ASSERT_LIB(iopf_dev_open(ctx, found.bdf[0], &dev));
	ASSERT_LIB(iopf_ioas_alloc(ctx, &ioas_id));
	ASSERT_LIB(alloc_parent(ctx, iopf_dev_id(dev), ioas_id,
				IOMMU_HWPT_ALLOC_NEST_PARENT, &parent));
	forces = smmu_forces_write_back(dev);
	EXPECT_EQ(forces ? 0 : -EOPNOTSUPP,
		  alloc_viommu(ctx, IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
			       iopf_dev_id(dev), parent, &viommu));
	iopf_dev_close(dev);
	iopf_ctx_close(ctx);
}

TEST_HARNESS_MAIN

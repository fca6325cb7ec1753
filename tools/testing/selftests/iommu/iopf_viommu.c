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
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_viommu.h"

#define TEST_SECONDS	900

/* Where devices work: different in each level of the tables */
#define GVA		0x123456789000ULL
/* For what nobody has used before in a test */
#define PLACE(nr)	(GVA + (nr) * 0x100000ULL)
#define NR_DEVS		2

/* An endpoint that the guest has */
struct guest_dev {
	struct endpoint ep;	/* without backing and IOAS */
	struct space space;
	__u32 virt_id;
	__u32 vdevice_id;
	unsigned int mode;	/* IOPF_TD_MODE_* */
};

/* A page that the guest moves */
struct page {
	struct guest_dev *dev;
	__u64 gva;
	__u64 old;
	__u64 new;
};

const struct vendor *vendor_of(struct iopf_dev *dev)
{
	static const struct vendor *const vendors[] = { &vendor_vtd };
	unsigned int i;

	for (i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++)
		if (vendors[i]->nests(dev))
			return vendors[i];
	return NULL;
}

/* All these return 0 or a negative errno. */
static int vmm_ioctl(struct iopf_ctx *ctx, unsigned long cmd, void *arg,
		     const char *what)
{
	if (!ioctl(iopf_ctx_fd(ctx), cmd, arg))
		return 0;
	return iopf_err(-errno, "%s: %s", what, strerror(errno));
}

static int alloc_parent(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
			__u32 flags, __u32 *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = ioas_id,
	};
	int ret = vmm_ioctl(ctx, IOMMU_HWPT_ALLOC, &cmd, "nesting parent");

	*id = cmd.out_hwpt_id;
	return ret;
}

static int alloc_viommu(struct iopf_ctx *ctx, __u32 type, __u32 dev_id,
			__u32 hwpt_id, __u32 *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = type,
		.dev_id = dev_id,
		.hwpt_id = hwpt_id,
	};
	int ret = vmm_ioctl(ctx, IOMMU_VIOMMU_ALLOC, &cmd, "vIOMMU");

	*id = cmd.out_viommu_id;
	return ret;
}

static int alloc_vdevice(struct iopf_ctx *ctx, __u32 viommu_id, __u32 dev_id,
			 __u64 virt_id, __u32 *id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.dev_id = dev_id,
		.virt_id = virt_id,
	};
	int ret = vmm_ioctl(ctx, IOMMU_VDEVICE_ALLOC, &cmd, "vDEVICE");

	*id = cmd.out_vdevice_id;
	return ret;
}

/* @fault_id: 0 for none */
static int alloc_nested(const struct space *space, __u32 dev_id, __u32 fault_id,
			__u32 *id)
{
	struct guest *guest = space->guest;
	__u64 blob[8] = { 0 };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = fault_id ? IOMMU_HWPT_FAULT_ID_VALID : 0,
		.dev_id = dev_id,
		.pt_id = guest->viommu_id,
		.data_uptr = (__u64)(unsigned long)blob,
		.fault_id = fault_id,
	};
	int ret;

	guest->vendor->nested(space, &cmd, blob);
	ret = vmm_ioctl(guest->ctx, IOMMU_HWPT_ALLOC, &cmd, "nested HWPT");
	*id = cmd.out_hwpt_id;
	return ret;
}

/* @done: how many the kernel says it has done */
static int invalidate_array(struct guest *guest, __u32 id, const void *array,
			    __u32 nr, __u32 *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = id,
		.data_uptr = (__u64)(unsigned long)array,
		.data_type = guest->vendor->inv_type,
		.entry_len = guest->vendor->inv_len,
		.entry_num = nr,
	};
	int ret;

	ret = vmm_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE, &cmd, "invalidation");
	*done = cmd.entry_num;
	return ret;
}

/* One that has to work; @hwpt: by the page table and not by the vIOMMU */
static int invalidate(struct guest *guest, const struct inv *inv, bool hwpt)
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

static bool has_inv(struct guest *guest, enum inv_what what, bool hwpt)
{
	const struct space space = { .guest = guest };
	const struct inv inv = { .what = what, .space = &space, .npages = 1 };
	__u8 elem[INV_MAX_LEN];

	return guest->vendor->inv(&inv, hwpt, elem);
}

static int guest_open(struct guest *guest, struct iopf_ctx *ctx,
		      struct iopf_dev *dev)
{
	__u32 dev_id = iopf_dev_id(dev);
	int ret;

	guest->ctx = ctx;
	guest->mem = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest->mem == MAP_FAILED)
		return iopf_err(-errno, "memory: %s", strerror(errno));
	guest->free = GPA;
	ret = iopf_ioas_alloc(ctx, &guest->ioas_id);
	if (!ret)
		ret = iopf_ioas_map(ctx, guest->ioas_id, guest->mem, GUEST_SIZE,
				    GPA, IOPF_RW);
	if (!ret)
		ret = alloc_parent(ctx, dev_id, guest->ioas_id,
				   IOMMU_HWPT_ALLOC_NEST_PARENT,
				   &guest->parent_id);
	if (!ret)
		ret = alloc_viommu(ctx, guest->vendor->viommu_type, dev_id,
				   guest->parent_id, &guest->viommu_id);
	return ret;
}

static int guest_close(struct guest *guest)
{
	int ret = 0;

	if (guest->viommu_id)
		ret = iopf_destroy(guest->ctx, guest->viommu_id);
	if (!ret && guest->parent_id)
		ret = iopf_destroy(guest->ctx, guest->parent_id);
	if (!ret && guest->ioas_id)
		ret = iopf_destroy(guest->ctx, guest->ioas_id);
	if (guest->mem)
		munmap(guest->mem, GUEST_SIZE);
	return ret;
}

/* Give a device that is open to the guest, with an address space. */
static int guest_add(struct guest *guest, struct guest_dev *dev, __u32 virt_id,
		     __u32 domain, __u32 pasid)
{
	struct endpoint *ep = &dev->ep;
	__u32 dev_id = iopf_dev_id(ep->dev);
	int ret;

	dev->virt_id = virt_id;
	dev->space = (struct space) {
		.guest = guest,
		.root = guest_page(guest),
		.domain = domain,
		.pasid = pasid,
	};
	ret = alloc_vdevice(guest->ctx, guest->viommu_id, dev_id, virt_id,
			    &dev->vdevice_id);
	if (!ret)
		ret = iopf_queue_open(guest->ctx, &ep->queue);
	if (!ret)
		ret = alloc_nested(&dev->space, dev_id, iopf_queue_id(ep->queue),
				   &dev->space.hwpt_id);
	if (!ret)
		ret = iopf_dev_attach(ep->dev, dev->space.hwpt_id);
	if (!ret)
		ret = testdev_open(ep->dev, &ep->td);
	return ret;
}

static int guest_del(struct guest_dev *dev)
{
	struct endpoint *ep = &dev->ep;
	int ret = 0;

	testdev_close(&ep->td);
	iopf_dev_detach(ep->dev);
	if (dev->space.hwpt_id)
		ret = iopf_destroy(ep->ctx, dev->space.hwpt_id);
	if (!ret && dev->vdevice_id)
		ret = iopf_destroy(ep->ctx, dev->vdevice_id);
	iopf_queue_close(ep->queue);
	return ret;
}

static __u32 rid_of(const char *bdf)
{
	unsigned int domain, bus, slot, func;

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &func) != 4)
		return 0;
	return bus << 8 | slot << 3 | func;
}

/* Does a write of the device at @gva arrive in the guest's page @gpa? */
static int arrives(struct guest_dev *dev, __u64 gva, __u64 gpa)
{
	struct endpoint *ep = &dev->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.mode = dev->mode,
		.iova = gva,
		.length = 4096,
		.data = SEED,
	};
	void *mem = host(dev->space.guest, gpa);
	struct testdev_result r;
	unsigned int slot;
	int ret;

	memset(mem, 0, 4096);
	ret = testdev_submit(&ep->td, &op, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "%#llx: %s, error %d", gva,
				testdev_status(r.status), r.ret);
	if (testdev_pattern_check(mem, 4096, SEED, 0) != 4096)
		return iopf_err(-EXDEV, "%#llx: not in page %#llx", gva, gpa);
	return 0;
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

	for (i = 0; i < 4; i++) {
		inv.leaf = i & 1;
		inv.gva = PLACE(i);
		ASSERT_LIB(move_page(&page, dev, PLACE(i)));
		ASSERT_LIB(move_page(&next, dev, PLACE(i) + 4096));
		ASSERT_LIB(move_page(&other, dev + 1, PLACE(i)));
		ASSERT_LIB(is_stale(&page));
		ASSERT_LIB(invalidate(&self->guest, &inv, i & 2));
		EXPECT_LIB(is_gone(&page));
		EXPECT_LIB(is_stale(&next));
		EXPECT_LIB(is_stale(&other));
		inv.npages = 8;
		ASSERT_LIB(invalidate(&self->guest, &inv, i & 2));
		EXPECT_LIB(is_gone(&next));
		EXPECT_LIB(is_stale(&other));
		inv.npages = 1;
		inv.space = &dev[1].space;
		ASSERT_LIB(invalidate(&self->guest, &inv, i & 2));
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

	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(move_page(&page[i], &self->dev[i], GVA));
	for (i = 0; i < NR_DEVS; i++)
		ASSERT_LIB(is_stale(&page[i]));
	ASSERT_LIB(invalidate(&self->guest, &inv, false));
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

TEST_HARNESS_MAIN

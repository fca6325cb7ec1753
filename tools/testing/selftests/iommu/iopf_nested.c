// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation with page faults, on VT-d: this program owns the first
 * stage like a guest kernel does, and the second stage like a VMM. The test
 * endpoint 1234:11f0 asks for pages that one or the other lacks.
 *
 * Without an endpoint on vfio-pci, or where the IOMMU does not nest, all tests
 * are skipped.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_endpoint.h"
#include "iopf_late.h"
#include "iopf_trace.h"

#define TEST_SECONDS	900
#define TEST_NESTED(name) TEST_F_TIMEOUT(nested, name, TEST_SECONDS)

/* Guest physical memory; clear of the interrupt range */
#define GPA		0x40000000ULL
#define GUEST_SIZE	0x800000ULL
/* A part of it that the second stage does not have at first */
#define HOLE		(GPA + GUEST_SIZE)
#define HOLE_SIZE	0x100000ULL
/* Where the device works: different in each level of the tables */
#define GVA		0x123456789000ULL

/* Entries of first-stage tables (VT-d 9.7) */
#define PTE_P		0x001ULL
#define PTE_RW		0x002ULL
#define PTE_US		0x004ULL
#define PTE_A		0x020ULL
#define PTE_D		0x040ULL
#define PTE_PS		0x080ULL
#define PTE_ADDR	0x000ffffffffff000ULL
#define PTE_USER	(PTE_P | PTE_RW | PTE_US)

#define ECAP_NEST_BIT	26

struct guest {
	char *mem;	/* all its memory, the hole included */
	__u64 root;	/* first-stage table, guest physical address */
	__u64 free;	/* first page that is in use for nothing yet */
};

FIXTURE(nested)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;		/* without a backing; hwpt_id is the nested one */
	__u32 parent_id;
	__u64 caps;		/* IOMMU_HW_CAP_* */
	struct guest guest;
};

/* With dirty tracking, where the IOMMU has that. */
static int alloc_parent(struct endpoint *ep, __u64 caps, __u32 *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT |
			 (caps & IOMMU_HW_CAP_DIRTY_TRACKING ?
			  IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0),
		.dev_id = iopf_dev_id(ep->dev),
		.pt_id = ep->ioas_id,
	};
	int ret;

	ret = ctx_ioctl(ep->ctx, IOMMU_HWPT_ALLOC, &cmd, "nesting parent");
	*id = cmd.out_hwpt_id;
	return ret;
}

/* With the queue of @ep, if it has one */
static int alloc_nested(struct endpoint *ep, __u32 parent, __u64 root, __u32 *id)
{
	struct iommu_hwpt_vtd_s1 s1 = {
		.pgtbl_addr = root,
		.addr_width = 48,
	};
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = ep->queue ? IOMMU_HWPT_FAULT_ID_VALID : 0,
		.dev_id = iopf_dev_id(ep->dev),
		.pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(s1),
		.data_uptr = (__u64)(unsigned long)&s1,
		.fault_id = ep->queue ? iopf_queue_id(ep->queue) : 0,
	};
	int ret;

	ret = ctx_ioctl(ep->ctx, IOMMU_HWPT_ALLOC, &cmd, "nested domain");
	*id = cmd.out_hwpt_id;
	return ret;
}

/* What a guest does after it changed an entry; @npages: or ~0 for all. */
static int flush(struct endpoint *ep, __u64 gva, __u64 npages)
{
	struct iommu_hwpt_vtd_s1_invalidate inv = {
		.addr = gva,
		.npages = npages,
	};
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = ep->hwpt_id,
		.data_uptr = (__u64)(unsigned long)&inv,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = sizeof(inv),
		.entry_num = 1,
	};

	return ctx_ioctl(ep->ctx, IOMMU_HWPT_INVALIDATE, &cmd, "invalidation");
}

/* What VT-d can do; nothing if it is another IOMMU. */
static struct iommu_hw_info_vtd vtd_info(struct iopf_dev *dev)
{
	struct iommu_hw_info_vtd vtd = { 0 };
	struct iopf_hw_info info;

	if (!iopf_dev_hw_info(dev, &info) &&
	    info.type == IOMMU_HW_INFO_TYPE_INTEL_VTD)
		memcpy(&vtd, info.raw, sizeof(vtd));
	return vtd;
}

static void *host(struct guest *guest, __u64 gpa)
{
	return guest->mem + (gpa - GPA);
}

/* A page of guest memory that is in use for nothing yet. */
static __u64 guest_page(struct guest *guest)
{
	__u64 gpa = guest->free;

	guest->free += 4096;
	return gpa;
}

/* The entry of @gva in the table of @level, with tables made on the way. */
static __u64 *entry(struct guest *guest, __u64 gva, int level)
{
	__u64 table = guest->root;
	__u64 *pte;
	int at;

	for (at = 4; ; at--) {
		pte = host(guest, table);
		pte += gva >> (12 + 9 * (at - 1)) & 511;
		if (at == level)
			return pte;
		if (!(*pte & PTE_P))
			__atomic_store_n(pte, guest_page(guest) | PTE_USER,
					 __ATOMIC_SEQ_CST);
		table = *pte & PTE_ADDR;
	}
}

static void set_entry(struct guest *guest, __u64 gva, int level,
		      __u64 pte)
{
	__atomic_store_n(entry(guest, gva, level), pte, __ATOMIC_SEQ_CST);
}

static void set_page(struct guest *guest, __u64 gva, __u64 pte)
{
	set_entry(guest, gva, 1, pte);
}

/* As the IOMMU has left it */
static __u64 get_entry(struct guest *guest, __u64 gva, int level)
{
	return __atomic_load_n(entry(guest, gva, level), __ATOMIC_SEQ_CST);
}

static int answer(struct endpoint *ep, const struct iopf_group *g, __u32 code)
{
	return iopf_queue_answer(ep->queue, g->cookie, code);
}

/* A write of a page that has to work without any page request. */
static int write_page(struct endpoint *ep, __u64 gva, const void *mem)
{
	__u32 before = testdev_reg(&ep->td, IOPF_TD_REG_CNT_PR_LAST);
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start_op(ep, IOPF_TD_OP_FILL, 0, gva, 4096, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "%s", testdev_status(r.status));
	if (testdev_pattern_check(mem, 4096, SEED, 0) != 4096)
		return iopf_err(-EIO, "the data are not there");
	if (testdev_reg(&ep->td, IOPF_TD_REG_CNT_PR_LAST) != before)
		return iopf_err(-EIO, "a page request came");
	return 0;
}

/* Start a write that has to ask for its page, and take the request. */
static int write_asks(struct endpoint *ep, __u64 gva, unsigned int *slot,
		      struct iopf_group *g)
{
	int ret;

	ret = start_op(ep, IOPF_TD_OP_FILL, 0, gva, 4096, slot);
	if (!ret)
		ret = next_group(ep, g);
	if (ret)
		return ret;
	if (g->nr != 1 || g->rec[0].addr != gva || g->pasid_valid ||
	    g->dev_id != iopf_dev_id(ep->dev))
		return iopf_err(-EPROTO, "%u requests, the first for %#llx",
				g->nr, g->rec[0].addr);
	return 0;
}

/* Let the transfer that write_asks() has started go on, and check it. */
static int write_goes_on(struct endpoint *ep, const struct iopf_group *g,
			 unsigned int slot, const void *mem)
{
	struct testdev_result r;
	int ret;

	ret = answer(ep, g, IOMMUFD_PAGE_RESP_SUCCESS);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "%s", testdev_status(r.status));
	if (testdev_pattern_check(mem, 4096, SEED, 0) != 4096)
		return iopf_err(-EIO, "the data are not there");
	return 0;
}

/* Refuse what write_asks() has started: the device has to give it up. */
static int write_gives_up(struct endpoint *ep, const struct iopf_group *g,
			  unsigned int slot)
{
	struct testdev_result r;
	int ret;

	ret = answer(ep, g, IOMMUFD_PAGE_RESP_INVALID);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (!ret && r.status == IOPF_TD_ST_OK)
		ret = iopf_err(-EIO, "the device went on");
	return ret;
}

/* A read of a page that has to work, and to find the pattern there. */
static int read_page(struct endpoint *ep, __u64 gva, void *mem)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	testdev_pattern(mem, 4096, SEED, 0);
	ret = start_op(ep, IOPF_TD_OP_COMPARE, 0, gva, 4096, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (!ret && r.status != IOPF_TD_ST_OK)
		ret = iopf_err(-EIO, "%s", testdev_status(r.status));
	return ret;
}

FIXTURE_SETUP(nested)
{
	struct guest *guest = &self->guest;
	struct iopf_hw_info info;
	struct endpoint *ep = &self->ep;

	iopf_pci_scan(find_endpoint, &self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 with PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ep->ctx = self->ctx;
	ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[0], &ep->dev));
	if (!(vtd_info(ep->dev).ecap_reg >> ECAP_NEST_BIT & 1))
		SKIP(return, "this IOMMU has no nested translation");
	guest->mem = mmap(NULL, GUEST_SIZE + HOLE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, guest->mem);
	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ep->ioas_id));
	ASSERT_LIB(iopf_ioas_map(self->ctx, ep->ioas_id, guest->mem, GUEST_SIZE,
				 GPA, IOPF_RW));
	/* An aligned page of 2 MiB stays free for the test that wants one. */
	guest->free = GPA + (4ULL << 20);
	guest->root = guest_page(guest);
	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ASSERT_LIB(iopf_dev_hw_info(ep->dev, &info));
	self->caps = info.caps;
	ASSERT_LIB(alloc_parent(ep, self->caps, &self->parent_id));
	ASSERT_LIB(alloc_nested(ep, self->parent_id, guest->root, &ep->hwpt_id));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(testdev_open(ep->dev, &ep->td));
	ASSERT_NE(0, testdev_allocation(&ep->td))
		TH_LOG("page requests are off after the attach");
}

FIXTURE_TEARDOWN(nested)
{
	struct endpoint *ep = &self->ep;

	if (ep->td.dev)
		EXPECT_LIB(check_answers(ep, -1, -1));
	testdev_close(&ep->td);
	iopf_dev_close(ep->dev);
	if (ep->hwpt_id)
		EXPECT_LIB(iopf_destroy(ep->ctx, ep->hwpt_id));
	if (self->parent_id)
		EXPECT_LIB(iopf_destroy(ep->ctx, self->parent_id));
	iopf_queue_close(ep->queue);
	if (ep->ioas_id)
		EXPECT_LIB(iopf_destroy(ep->ctx, ep->ioas_id));
	iopf_ctx_close(self->ctx);
}

/* The guest lacks the page, the VMM has all of the guest. */
TEST_NESTED(first_stage_missing)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	__u64 page = guest_page(guest);
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	EXPECT_EQ(IOPF_WRITE, g.rec[0].perm & IOPF_WRITE);
	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, page)));
	/* The tables are in guest memory, and so are the flags. */
	EXPECT_EQ(PTE_A | PTE_D, get_entry(guest, GVA, 1) & (PTE_A | PTE_D));
	EXPECT_EQ(PTE_A, get_entry(guest, GVA, 4) & PTE_A);
	EXPECT_LIB(check_answers(ep, 1, 0));
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
}

/* The guest has the page, the VMM does not: the fault is the VMM's. */
TEST_NESTED(second_stage_missing)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	set_page(guest, GVA, HOLE | PTE_USER);
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	ASSERT_LIB(iopf_ioas_map(ep->ctx, ep->ioas_id, host(guest, HOLE),
				 HOLE_SIZE, HOLE, IOPF_RW));
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, HOLE)));
	EXPECT_LIB(check_answers(ep, 1, 0));
}

/* Not even the table is there. */
TEST_NESTED(table_in_hole)
{
	struct guest *guest = &self->guest;
	__u64 page = guest_page(guest);
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	set_entry(guest, GVA, 2, HOLE | PTE_USER);
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(iopf_ioas_map(ep->ctx, ep->ioas_id, host(guest, HOLE),
				 HOLE_SIZE, HOLE, IOPF_RW));
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, page)));
	EXPECT_EQ(PTE_A | PTE_D, get_entry(guest, GVA, 1) & (PTE_A | PTE_D));
}

/* A guest moves a page and says so: the device has to see the new one. */
TEST_NESTED(guest_moves_page)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	__u64 page;
	int i;

	for (i = 0; i < 64; i++) {
		page = guest_page(guest);
		set_page(guest, GVA, page | PTE_USER);
		ASSERT_LIB(flush(ep, GVA, i & 1 ? 1 : 64));
		ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
	}
	page = guest_page(guest);
	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(flush(ep, 0, ~0ULL));
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
}

/* A page that the guest takes away is asked for again. */
TEST_NESTED(guest_unmaps)
{
	struct guest *guest = &self->guest;
	__u64 page = guest_page(guest);
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
	set_page(guest, GVA, 0);
	ASSERT_LIB(flush(ep, GVA, 1));
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	set_page(guest, GVA, page | PTE_USER);
	memset(host(guest, page), 0, 4096);
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, page)));
}

/* The VMM takes guest memory back: nothing of it stays in the device. */
TEST_NESTED(vmm_unmaps)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	set_page(guest, GVA, HOLE | PTE_USER);
	ASSERT_LIB(iopf_ioas_map(ep->ctx, ep->ioas_id, host(guest, HOLE),
				 HOLE_SIZE, HOLE, IOPF_RW));
	ASSERT_LIB(write_page(ep, GVA, host(guest, HOLE)));
	ASSERT_LIB(iopf_ioas_unmap(ep->ctx, ep->ioas_id, HOLE, HOLE_SIZE));
	memset(host(guest, HOLE), 0, 4096);
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	EXPECT_EQ(0, *(char *)host(guest, HOLE));
	/* Other memory of the VMM's at the same place */
	ASSERT_LIB(iopf_ioas_map(ep->ctx, ep->ioas_id, host(guest, HOLE) + 4096,
				 HOLE_SIZE - 4096, HOLE, IOPF_RW));
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, HOLE) + 4096));
	EXPECT_EQ(0, *(char *)host(guest, HOLE));
}

/* Either stage may forbid to write. */
TEST_NESTED(readonly_first_stage)
{
	struct guest *guest = &self->guest;
	__u64 page = guest_page(guest);
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;

	set_page(guest, GVA, page | PTE_P | PTE_US);
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	ASSERT_LIB(write_gives_up(ep, &g, slot));
	EXPECT_EQ(0, *(char *)host(guest, page));
	EXPECT_EQ(0, get_entry(guest, GVA, 1) & PTE_D);
	EXPECT_LIB(check_answers(ep, 0, 1));
}

TEST_NESTED(readonly_second_stage)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	unsigned int slot;
	int ret;

	ret = iopf_ioas_map(ep->ctx, ep->ioas_id, host(guest, HOLE), HOLE_SIZE,
			    HOLE, IOPF_READ);
	/* Some hardware must not have such pages; 6.12 says so of all. */
	if (vtd_info(ep->dev).flags & IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17) {
		EXPECT_EQ(-EINVAL, ret);
		return;
	}
	ASSERT_LIB(ret);
	set_page(guest, GVA, HOLE | PTE_USER);
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	ASSERT_LIB(write_gives_up(ep, &g, slot));
	EXPECT_EQ(0, *(char *)host(guest, HOLE));

	/* Reading is allowed. */
	ASSERT_LIB(read_page(ep, GVA, host(guest, HOLE)));
}

/* A large page of the guest, made of whatever pages the VMM has. */
TEST_NESTED(guest_huge_page)
{
	struct guest *guest = &self->guest;
	__u64 gva = GVA & ~((2ULL << 20) - 1);
	__u64 page = GPA + (2ULL << 20);
	struct endpoint *ep = &self->ep;
	int i;

	set_entry(guest, gva, 2, page | PTE_USER | PTE_PS);
	for (i = 0; i < 512; i += 73) {
		ASSERT_LIB(write_page(ep, gva + i * 4096,
				      host(guest, page + i * 4096)));
	}
	EXPECT_EQ(PTE_A | PTE_D, get_entry(guest, gva, 2) & (PTE_A | PTE_D));
}

/* Many pages in one group */
TEST_NESTED(group)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot, i;
	__u64 page;

	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, GVA, 32 * 4096,
			    &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(32, g.nr);
	for (i = 0; i < g.nr; i++) {
		EXPECT_EQ(GVA + i * 4096, g.rec[i].addr);
		set_page(guest, g.rec[i].addr, guest_page(guest) | PTE_USER);
	}
	ASSERT_LIB(answer(ep, &g, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(IOPF_TD_ST_OK, r.status);
	for (i = 0; i < 32; i++) {
		page = get_entry(guest, GVA + i * 4096, 1) & PTE_ADDR;
		EXPECT_EQ(4096, testdev_pattern_check(host(guest, page), 4096,
						      SEED, i * 4096));
	}
	EXPECT_LIB(check_answers(ep, 1, 0));
}

/* Requests that are open when their page table goes away are answered. */
TEST_NESTED(detach)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;

	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
	EXPECT_EQ(-EINVAL, answer(ep, &g, IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_LIB(check_answers(ep, 0, 1));
	iopf_queue_drop(ep->queue, iopf_dev_id(ep->dev));

	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(write_asks(ep, GVA, &slot, &g));
	set_page(guest, GVA, GPA | PTE_USER);
	ASSERT_LIB(write_goes_on(ep, &g, slot, host(guest, GPA)));
}

/* A guest that boots: no first stage at first, then one, then another. */
TEST_NESTED(replace)
{
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	__u64 page = guest_page(guest), other = guest_page(guest);
	__u64 root = guest->root;
	__u32 first = ep->hwpt_id;
	int i;

	set_page(guest, GVA, page | PTE_USER);
	guest->root = guest_page(guest);
	set_page(guest, GVA, other | PTE_USER);
	ASSERT_LIB(alloc_nested(ep, self->parent_id, guest->root, &ep->hwpt_id));
	for (i = 0; i < 8; i++) {
		memset(host(guest, page), 0, 4096);
		memset(host(guest, other), 0, 4096);
		memset(host(guest, GPA), 0, 4096);
		ASSERT_LIB(iopf_dev_attach(ep->dev, self->parent_id));
		ASSERT_LIB(write_page(ep, GPA, host(guest, GPA)));
		ASSERT_LIB(iopf_dev_attach(ep->dev, first));
		ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
		ASSERT_LIB(write_page(ep, GVA, host(guest, other)));
	}
	EXPECT_LIB(iopf_destroy(ep->ctx, first));
	guest->root = root;
}

/* Which pages of the guest the device has written since the last call */
static int take_dirty(struct endpoint *ep, __u32 parent, __u64 *bits, size_t size)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd),
		.hwpt_id = parent,
		.iova = GPA,
		.length = GUEST_SIZE,
		.page_size = 4096,
		.data = (__u64)(unsigned long)bits,
	};

	memset(bits, 0, size);
	return ctx_ioctl(ep->ctx, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd,
			 "dirty bitmap");
}

static bool is_dirty(const __u64 *bits, __u64 gpa)
{
	__u64 page = (gpa - GPA) / 4096;

	return bits[page / 64] >> page % 64 & 1;
}

/*
 * A VMM that moves its guest to another machine: it has to learn of every page
 * that the device writes, although device and IOMMU keep the translation.
 */
TEST_NESTED(dirty_pages)
{
	struct iommu_hwpt_set_dirty_tracking track = {
		.size = sizeof(track),
		.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
		.hwpt_id = self->parent_id,
	};
	struct guest *guest = &self->guest;
	__u64 bits[GUEST_SIZE / 4096 / 64];
	__u64 page = guest_page(guest), other = guest_page(guest);
	struct endpoint *ep = &self->ep;
	unsigned int i;

	if (!(self->caps & IOMMU_HW_CAP_DIRTY_TRACKING))
		SKIP(return, "this IOMMU has no dirty tracking");
	set_page(guest, GVA, page | PTE_USER);
	set_page(guest, GVA + 4096, other | PTE_USER);
	ASSERT_LIB(ctx_ioctl(ep->ctx, IOMMU_HWPT_SET_DIRTY_TRACKING, &track,
			     "dirty tracking"));
	for (i = 0; i < 8; i++) {
		ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
		ASSERT_LIB(read_page(ep, GVA + 4096, host(guest, other)));
		ASSERT_LIB(take_dirty(ep, self->parent_id, bits, sizeof(bits)));
		EXPECT_TRUE(is_dirty(bits, page));
		EXPECT_FALSE(is_dirty(bits, other));
		/* The IOMMU itself wrote to the guest's tables, the first time. */
		if (!i)
			EXPECT_TRUE(is_dirty(bits, guest->root));
		ASSERT_LIB(take_dirty(ep, self->parent_id, bits, sizeof(bits)));
		EXPECT_FALSE(is_dirty(bits, page));
	}
}

/* What a guest may ask the kernel to drop, and what it may not. */
TEST_NESTED(bad_invalidation)
{
	struct endpoint *ep = &self->ep;

	EXPECT_EQ(-EINVAL, flush(ep, GVA + 1, 1));
	EXPECT_EQ(-EINVAL, flush(ep, GVA, 0));
	EXPECT_EQ(-EINVAL, flush(ep, GVA, ~0ULL));
}

/* Translations that the device has are flushed without a fault queue, too. */
TEST_NESTED(without_queue)
{
	struct iopf_queue *queue = self->ep.queue;
	struct guest *guest = &self->guest;
	__u64 page = guest_page(guest);
	struct endpoint *ep = &self->ep;
	__u32 old = ep->hwpt_id;
	struct iopf_pci pci;

	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ep->queue = NULL;
	ASSERT_LIB(alloc_nested(ep, self->parent_id, guest->root, &ep->hwpt_id));
	ep->queue = queue;
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(iopf_pci_read(self->found.bdf[0], &pci));
	EXPECT_EQ(PCI_ATS_CTRL_ENABLE, pci.ats_ctrl & PCI_ATS_CTRL_ENABLE);
	EXPECT_EQ(0, pci.pri_ctrl & PCI_PRI_CTRL_ENABLE);
	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
	page = guest_page(guest);
	set_page(guest, GVA, page | PTE_USER);
	ASSERT_LIB(flush(ep, GVA, 1));
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
	EXPECT_LIB(iopf_destroy(ep->ctx, old));
}

struct widest {
	unsigned int flushes, mask;
};

/* The address mask of a PASID-based flush of pages, in what the kernel sends */
static void look_at_flush(const char *line, void *arg)
{
	unsigned long long qw0, qw1;
	struct widest *widest = arg;
	const char *at = strstr(line, ": 0x");

	if (!at || sscanf(at, ": 0x%llx 0x%llx", &qw0, &qw1) != 2)
		return;
	widest->flushes++;
	/* Granularity 3: pages of a PASID */
	if ((qw0 >> 4 & 3) == 3 && (qw1 & 0x3f) > widest->mask)
		widest->mask = qw1 & 0x3f;
}

/* No more pages at once than the hardware says that it can flush */
TEST_NESTED(wide_flush)
{
	static const char event[] = "intel_iommu/qi_submit";
	struct widest widest = { 0 };
	struct endpoint *ep = &self->ep;
	unsigned int limit = vtd_info(ep->dev).cap_reg >> 48 & 0x3f;
	unsigned int order;

	if (trace_begin(event))
		SKIP(return, "takes the tracepoint %s", event);
	for (order = 0; order < 40; order++)
		ASSERT_LIB(flush(ep, 0, 1ULL << order));
	ASSERT_LT(0, trace_end(event, "p_iotlb_inv", look_at_flush, &widest));
	EXPECT_LE(40, widest.flushes);
	EXPECT_EQ(limit, widest.mask);
}

static int set_tracking(struct endpoint *ep, __u32 hwpt_id, bool on)
{
	struct iommu_hwpt_set_dirty_tracking track = {
		.size = sizeof(track),
		.flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0,
		.hwpt_id = hwpt_id,
	};

	return ctx_ioctl(ep->ctx, IOMMU_HWPT_SET_DIRTY_TRACKING, &track,
			 "dirty tracking");
}

/* From one second stage to another: what the new one says of dirty pages holds. */
TEST_NESTED(replace_keeps_dirty_tracking)
{
	__u64 bits[GUEST_SIZE / 4096 / 64];
	struct guest *guest = &self->guest;
	struct endpoint *ep = &self->ep;
	__u32 hwpt[2];
	unsigned int i;

	if (!(self->caps & IOMMU_HW_CAP_DIRTY_TRACKING))
		SKIP(return, "this IOMMU has no dirty tracking");
	for (i = 0; i < 2; i++)
		ASSERT_LIB(alloc_parent(ep, self->caps, &hwpt[i]));
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[0]));
	/* On before the replace */
	ASSERT_LIB(set_tracking(ep, hwpt[1], true));
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[1]));
	ASSERT_LIB(write_page(ep, GPA, host(guest, GPA)));
	ASSERT_LIB(take_dirty(ep, hwpt[1], bits, sizeof(bits)));
	EXPECT_TRUE(is_dirty(bits, GPA));
	/* And after it */
	ASSERT_LIB(iopf_dev_attach(ep->dev, hwpt[0]));
	ASSERT_LIB(set_tracking(ep, hwpt[0], true));
	memset(host(guest, GPA), 0, 4096);
	ASSERT_LIB(write_page(ep, GPA, host(guest, GPA)));
	ASSERT_LIB(take_dirty(ep, hwpt[0], bits, sizeof(bits)));
	EXPECT_TRUE(is_dirty(bits, GPA));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	for (i = 0; i < 2; i++)
		EXPECT_LIB(iopf_destroy(ep->ctx, hwpt[i]));
}

static int call_attach(struct endpoint *ep)
{
	return iopf_dev_attach(ep->dev, ep->hwpt_id);
}

/* A replace that blocks the device first: what is open is answered by then. */
TEST_NESTED(late_replace)
{
	struct guest *guest = &self->guest;
	__u64 page = guest_page(guest);
	struct endpoint *ep = &self->ep;
	__u32 old = ep->hwpt_id;
	struct testdev_result r;
	struct iopf_group g;
	unsigned int slot;
	struct late late;
	pid_t pid;
	int ret;

	ASSERT_LIB(alloc_nested(ep, self->parent_id, guest->root, &ep->hwpt_id));
	ret = late_begin(&late);
	if (late_cannot(ret))
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ret = start_op(ep, IOPF_TD_OP_FILL, 0, GVA, 4096, &slot);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 1);
	if (!ret)
		ret = late_call(&pid, call_attach, ep);
	late_end(&late);
	ASSERT_LIB(ret);
	ASSERT_LIB(late_result(pid));
	/* The device asks again, or has given up while nothing was attached. */
	set_page(guest, GVA, page | PTE_USER);
	while (!testdev_done(&ep->td, slot, &r)) {
		ret = iopf_queue_wait(ep->queue, 10);
		if (ret > 0)
			ret = iopf_queue_read(ep->queue, &g);
		ASSERT_LE(0, ret);
		if (ret)
			ASSERT_LIB(answer(ep, &g, IOMMUFD_PAGE_RESP_SUCCESS));
	}
	memset(host(guest, page), 0, 4096);
	ASSERT_LIB(write_page(ep, GVA, host(guest, page)));
	EXPECT_LIB(iopf_destroy(ep->ctx, old));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what user space invalidates of first-stage domains
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A guest with two domains and three devices, on hardware that takes submissions and
 * does nothing with them.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <uapi/linux/iopf_viommu.h>

#include "invalidate.h"
#include "iommu.h"
#include "pasid.h"

#define MAMV		9
#define NR_DEVS		3

struct inv_test {
	struct intel_iommu iommu;
	struct intel_viommu viommu;
	struct dmar_domain domain[2];
	struct device_domain_info info[NR_DEVS];
	struct device dev[NR_DEVS];
	struct dev_iommu dev_iommu[NR_DEVS];
	struct intel_nested_dev ndev[NR_DEVS];
	struct intel_inv_work work;
	struct intel_inv room[INV_MAX];

	/* What was submitted */
	unsigned int submissions;
	unsigned int longest;
	bool unlocked;
	unsigned int nr;
	struct qi_desc desc[1024];
};

static unsigned int desc_type(const struct qi_desc *desc)
{
	return desc->qw0 & 0xf;
}

/* In the place of qi_submit_sync() */
static int submit(struct intel_iommu *iommu, struct qi_desc *desc,
		  unsigned int count, unsigned long options)
{
	struct kunit *test = kunit_get_current_test();
	struct inv_test *t = test->priv;

	KUNIT_EXPECT_PTR_EQ(test, iommu, &t->iommu);
	KUNIT_ASSERT_LE(test, t->nr + count, ARRAY_SIZE(t->desc));
	memcpy(&t->desc[t->nr], desc, count * sizeof(*desc));
	t->nr += count;
	t->submissions++;
	t->longest = max(t->longest, count);
	if (!mutex_is_locked(&t->viommu.lock))
		t->unlocked = true;
	return 0;
}

static void begin(struct inv_test *t)
{
	intel_inv_end(&t->work);
	intel_inv_begin(&t->work, t->room, INV_MAX);
}

static void add_domain(struct inv_test *t, unsigned int nr, u16 did, u32 pasid)
{
	struct intel_nested *nested = &t->domain[nr].nested;

	intel_nested_init(&t->domain[nr]);
	nested->viommu = &t->viommu;
	nested->lock = &t->viommu.lock;
	nested->guest_did = did;
	nested->guest_pasid = pasid;
	list_add_tail(&nested->node, &t->viommu.domains);
}

static void add_dev(struct inv_test *t, unsigned int nr, unsigned int domain)
{
	struct intel_nested_dev *ndev = &t->ndev[nr];
	struct device_domain_info *info = &t->info[nr];

	info->dev = &t->dev[nr];
	info->iommu = &t->iommu;
	info->bus = 1 + nr;
	ndev->domain = &t->domain[domain];
	ndev->info = info;
	ndev->did = 100 + domain;
	ndev->pasid = IOMMU_NO_PASID;
	ndev->ats = true;
	ndev->guest_sid = 0x300 - 0x100 * nr;
	INIT_LIST_HEAD(&ndev->guest_node);
	list_add_tail(&ndev->node, &t->domain[domain].nested.devs);
}

/* Domain 0 has devices 0 and 1, domain 1 has device 2. */
static int inv_test_init(struct kunit *test)
{
	struct inv_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	if (!t)
		return -ENOMEM;
	test->priv = t;
	t->iommu.cap = (u64)MAMV << 48;
	t->iommu.gcmd = DMA_GCMD_TE;
	mutex_init(&t->viommu.lock);
	INIT_LIST_HEAD(&t->viommu.domains);
	add_domain(t, 0, 7, 8);
	add_domain(t, 1, 8, 7);
	for (i = 0; i < NR_DEVS; i++)
		add_dev(t, i, i / 2);
	intel_inv_begin(&t->work, t->room, INV_MAX);
	kunit_activate_static_stub(test, qi_submit_sync, submit);
	return 0;
}

static void inv_test_exit(struct kunit *test)
{
	struct inv_test *t = test->priv;

	if (t)
		intel_inv_end(&t->work);
}

static struct intel_inv page_inv(u64 pfn)
{
	return (struct intel_inv) {
		.cache = IOPF_VTD_INV_CACHE_IOTLB,
		.gran = IOPF_VTD_INV_GRAN_ADDR,
		.did = 7,
		.pasid = 8,
		.first = pfn,
		.last = pfn,
	};
}

static void add_pages(struct inv_test *t, u64 pfn, unsigned int stride,
		      unsigned int nr)
{
	struct intel_inv inv;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		inv = page_inv(pfn + i * stride);
		intel_inv_add(&t->work.list, &inv);
	}
}

static unsigned int count_type(struct inv_test *t, unsigned int type)
{
	unsigned int i, nr = 0;

	for (i = 0; i < t->nr; i++)
		nr += desc_type(&t->desc[i]) == type;
	return nr;
}

static void list_joins(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv_list *list = &t->work.list;

	add_pages(t, 16, 1, 100);
	KUNIT_EXPECT_EQ(test, list->nr, 1);
	KUNIT_EXPECT_EQ(test, list->inv[0].first, 16);
	KUNIT_EXPECT_EQ(test, list->inv[0].last, 115);
	add_pages(t, 15, 0, 2);
	KUNIT_EXPECT_EQ(test, list->nr, 1);
	KUNIT_EXPECT_EQ(test, list->inv[0].first, 15);
	/* A gap, and the end of all addresses */
	add_pages(t, 117, 0, 2);
	add_pages(t, U64_MAX >> 12, 0, 2);
	KUNIT_EXPECT_EQ(test, list->nr, 3);
}

/* A hint that does not hold for all of it is none. */
static void list_leaf(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv inv = page_inv(5);

	inv.leaf = true;
	intel_inv_add(&t->work.list, &inv);
	KUNIT_EXPECT_TRUE(test, t->work.list.inv[0].leaf);
	inv = page_inv(6);
	intel_inv_add(&t->work.list, &inv);
	KUNIT_EXPECT_EQ(test, t->work.list.nr, 1);
	KUNIT_EXPECT_FALSE(test, t->work.list.inv[0].leaf);
}

/* Another PASID, domain ID, source ID or cache is something else. */
static void list_keeps_apart(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv_list *list = &t->work.list;
	struct intel_inv inv = page_inv(5);

	intel_inv_add(list, &inv);
	inv.pasid = 9;
	intel_inv_add(list, &inv);
	inv.did = 9;
	intel_inv_add(list, &inv);
	inv.gran = IOPF_VTD_INV_GRAN_PASID;
	inv.cache = IOPF_VTD_INV_CACHE_PASID;
	intel_inv_add(list, &inv);
	inv.cache = IOPF_VTD_INV_CACHE_DEVTLB;
	intel_inv_add(list, &inv);
	inv.sid = 9;
	intel_inv_add(list, &inv);
	KUNIT_EXPECT_EQ(test, list->nr, 6);
	/* All of the PASID, and then a page of it */
	inv = page_inv(1000);
	inv.gran = IOPF_VTD_INV_GRAN_PASID;
	intel_inv_add(list, &inv);
	KUNIT_EXPECT_EQ(test, list->nr, 7);
	add_pages(t, 2000, 2, 10);
	KUNIT_EXPECT_EQ(test, list->nr, 7);
}

static void list_is_full(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv_list *list = &t->work.list;
	struct intel_inv inv = page_inv(5);
	unsigned int i;

	add_pages(t, 0, 2, INV_MAX);
	KUNIT_EXPECT_EQ(test, list->nr, INV_MAX);
	KUNIT_EXPECT_EQ(test, list->inv[3].gran, IOPF_VTD_INV_GRAN_ADDR);
	add_pages(t, 1000, 2, 1);
	KUNIT_EXPECT_EQ(test, list->nr, 1);
	KUNIT_EXPECT_EQ(test, list->inv[0].gran, IOPF_VTD_INV_GRAN_PASID);
	add_pages(t, 0, 2, 1000);
	KUNIT_EXPECT_EQ(test, list->nr, 1);
	KUNIT_EXPECT_FALSE(test, list->all);

	for (i = 0; i < INV_MAX; i++) {
		KUNIT_EXPECT_FALSE(test, list->all);
		inv.pasid = 100 + i;
		intel_inv_add(list, &inv);
	}
	KUNIT_EXPECT_TRUE(test, list->all);
}

/* However long it is, an array is one submission, which has its limit. */
static void one_wait(struct kunit *test)
{
	static const unsigned int nrs[] = { 1, 2, 20, 21, INV_MAX + 1, 512, 100000 };
	struct inv_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		begin(t);
		t->nr = 0;
		t->submissions = 0;
		add_pages(t, 0, 2, nrs[i]);
		intel_inv_submit_guest(&t->work, &t->viommu);
		KUNIT_EXPECT_EQ(test, t->submissions, 1);
		/* Two devices with one domain */
		KUNIT_EXPECT_EQ(test, t->nr, 3 * (nrs[i] > INV_MAX ? 1 : nrs[i]));
		KUNIT_EXPECT_EQ(test, count_type(t, QI_EIOTLB_TYPE), t->nr / 3);
	}
	begin(t);
	t->submissions = 0;
	add_pages(t, 0, 2, INV_MAX);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_EXPECT_EQ(test, t->submissions, 2);
	KUNIT_EXPECT_LE(test, t->longest, INV_BATCH_MAX);
	KUNIT_EXPECT_FALSE(test, t->unlocked);
}

/* What a device has leaves it after it has left the IOMMU. */
static void order(struct kunit *test)
{
	struct inv_test *t = test->priv;

	add_pages(t, 0x12345, 1, 1);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_ASSERT_EQ(test, t->nr, 3);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw0,
			QI_EIOTLB_PASID(0) | QI_EIOTLB_DID(100) |
			QI_EIOTLB_GRAN(QI_GRAN_PSI_PASID) | QI_EIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw1, 0x12345000);
	KUNIT_EXPECT_EQ(test, desc_type(&t->desc[1]), QI_DIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[1].qw0 >> 32 & 0xffff, 0x100);
	KUNIT_EXPECT_EQ(test, t->desc[1].qw1, 0x12345000);
	KUNIT_EXPECT_EQ(test, t->desc[2].qw0 >> 32 & 0xffff, 0x200);
}

/* No masks that the hardware has not */
static void wide(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv inv = page_inv(0x1000);
	unsigned int order;

	for (order = 0; order <= 52; order++) {
		begin(t);
		t->nr = 0;
		inv.first = 0;
		inv.last = order < 52 ? BIT_ULL(order) - 1 : U64_MAX >> 12;
		intel_inv_add(&t->work.list, &inv);
		intel_inv_submit_domain(&t->work, &t->domain[1]);
		KUNIT_ASSERT_EQ(test, t->nr, 2);
		if (order <= MAMV) {
			KUNIT_EXPECT_EQ(test, t->desc[0].qw0 >> 4 & 3,
					QI_GRAN_PSI_PASID);
			KUNIT_EXPECT_EQ(test, t->desc[0].qw1, order);
		} else {
			KUNIT_EXPECT_EQ(test, t->desc[0].qw0 >> 4 & 3,
					QI_GRAN_NONG_PASID);
			KUNIT_EXPECT_EQ(test, t->desc[0].qw1, 0);
		}
		/* The size is where the lowest 0 is, from bit 12 on. */
		if (order)
			KUNIT_EXPECT_EQ(test, t->desc[1].qw1,
					((BIT_ULL(order - 1) - 1) << 12) | 1);
	}
	/* Two pages on both sides of a border need four. */
	begin(t);
	t->nr = 0;
	inv.first = 0x1001;
	inv.last = 0x1002;
	intel_inv_add(&t->work.list, &inv);
	intel_inv_submit_domain(&t->work, &t->domain[1]);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw1, 0x1000000 | 2);
}

/* Ids of the guest are what domains and devices are found by, and no more. */
static void ids(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv inv = {
		.cache = IOPF_VTD_INV_CACHE_PASID | IOPF_VTD_INV_CACHE_IOTLB,
		.gran = IOPF_VTD_INV_GRAN_PASID,
		.did = 8,
		.pasid = 7,
	};

	intel_inv_add(&t->work.list, &inv);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_ASSERT_EQ(test, t->nr, 3);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw0,
			QI_PC_DID(101) | QI_PC_GRAN(QI_PC_PASID_SEL) |
			QI_PC_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[1].qw0,
			QI_EIOTLB_DID(101) |
			QI_EIOTLB_GRAN(QI_GRAN_NONG_PASID) | QI_EIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[2].qw0 >> 32 & 0xffff, 0x300);

	/* With both of another there is nothing. */
	begin(t);
	t->nr = 0;
	inv.pasid = 8;
	intel_inv_add(&t->work.list, &inv);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_EXPECT_EQ(test, t->nr, 0);
}

static void devices(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv inv = {
		.cache = IOPF_VTD_INV_CACHE_DEVTLB,
		.gran = IOPF_VTD_INV_GRAN_DOMAIN,
		.sid = 0x200,
	};

	intel_inv_add(&t->work.list, &inv);
	inv.gran = IOPF_VTD_INV_GRAN_PASID;
	inv.sid = 0x300;
	inv.pasid = 7;
	intel_inv_add(&t->work.list, &inv);
	intel_inv_submit_guest(&t->work, &t->viommu);
	/* The second has nothing of that PASID. */
	KUNIT_ASSERT_EQ(test, t->nr, 1);
	KUNIT_EXPECT_EQ(test, desc_type(&t->desc[0]), QI_DIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw0 >> 32 & 0xffff, 0x200);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw1, (U64_MAX >> 1 & ~0xfffULL) | 1);
}

/* A device with a PASID, one that needs it twice, and one that has no TLB */
static void kinds(struct kunit *test)
{
	struct inv_test *t = test->priv;

	t->ndev[0].pasid = 5;
	t->info[0].dtlb_extra_inval = 1;
	t->ndev[1].ats = false;
	add_pages(t, 0x10, 1, 1);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_ASSERT_EQ(test, t->nr, 4);
	KUNIT_EXPECT_EQ(test, t->desc[0].qw0 >> 32, 5);
	KUNIT_EXPECT_EQ(test, desc_type(&t->desc[1]), QI_EIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[1].qw0 >> 32, 0);
	KUNIT_EXPECT_EQ(test, desc_type(&t->desc[2]), QI_DEIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, t->desc[2].qw0 >> 32, 5);
	KUNIT_EXPECT_EQ(test, desc_type(&t->desc[3]), QI_DEIOTLB_TYPE);

	/* While the IOMMU is off no device is asked. */
	begin(t);
	t->nr = 0;
	t->iommu.gcmd = 0;
	add_pages(t, 0x10, 1, 1);
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_EXPECT_EQ(test, t->nr, 2);
}

/* All of the guest's, once */
static void all(struct kunit *test)
{
	struct inv_test *t = test->priv;

	t->work.list.all = true;
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_EXPECT_EQ(test, t->submissions, 1);
	KUNIT_EXPECT_EQ(test, count_type(t, QI_PC_TYPE), 2);
	KUNIT_EXPECT_EQ(test, count_type(t, QI_EIOTLB_TYPE), 2);
	KUNIT_EXPECT_EQ(test, count_type(t, QI_DIOTLB_TYPE), NR_DEVS);
}

static int detach(void *arg)
{
	struct kunit *test = arg;
	struct inv_test *t = test->priv;

	intel_nested_detached(&t->domain[1], &t->dev[2], IOMMU_NO_PASID);
	return 0;
}

/* What is detached is not before submissions that may name it are done. */
static void detach_waits(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_nested_dev *ndev = kzalloc(sizeof(*ndev), GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, ndev);
	*ndev = t->ndev[2];
	INIT_LIST_HEAD(&ndev->guest_node);
	list_replace(&t->ndev[2].node, &ndev->node);

	mutex_lock(&t->viommu.lock);
	task = kthread_create(detach, test, "detach-kunit");
	if (IS_ERR(task)) {
		mutex_unlock(&t->viommu.lock);
		kfree(ndev);
		KUNIT_FAIL(test, "no thread");
		return;
	}
	get_task_struct(task);
	wake_up_process(task);
	/* It has come to an end, or to where it waits. */
	while (!list_empty(&t->domain[1].nested.devs) &&
	       !(READ_ONCE(task->__state) & TASK_UNINTERRUPTIBLE))
		usleep_range(100, 1000);
	KUNIT_EXPECT_FALSE(test, list_empty(&t->domain[1].nested.devs));
	mutex_unlock(&t->viommu.lock);
	kthread_stop_put(task);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->domain[1].nested.devs));
}

/* A wait takes no room, and is not lost when something gives way. */
static void list_drains(struct kunit *test)
{
	struct inv_test *t = test->priv;
	struct intel_inv_list *list = &t->work.list;
	struct intel_inv wait = { .gran = IOPF_VTD_INV_GRAN_GUEST, .drain = true };
	unsigned int i;

	intel_inv_add(list, &wait);
	KUNIT_EXPECT_TRUE(test, list->drain);
	KUNIT_EXPECT_EQ(test, list->nr, 0);
	wait.cache = IOPF_VTD_INV_CACHE_IOTLB;
	intel_inv_add(list, &wait);
	KUNIT_EXPECT_EQ(test, list->nr, 1);
	for (i = 0; i < 2 * INV_MAX; i++) {
		struct intel_inv inv = page_inv(2 * i);

		inv.pasid = i;
		intel_inv_add(list, &inv);
	}
	KUNIT_EXPECT_TRUE(test, list->all);
	KUNIT_EXPECT_TRUE(test, list->drain);
	/* Nobody has page requests on. */
	intel_inv_submit_guest(&t->work, &t->viommu);
	KUNIT_EXPECT_EQ(test, t->submissions, 1);
}

/* A wait is one for all that the guest has, with any of its caches or none. */
static void table_of_drains(struct kunit *test)
{
	struct intel_inv inv;
	u16 cache, gran;
	int guest, ret;

	for (guest = 0; guest < 2; guest++) {
		for (gran = 0; gran < 4; gran++) {
			for (cache = 0; cache < 8; cache++) {
				const struct iopf_vtd_invalidate user = {
					.cache = cache,
					.granularity = gran,
					.flags = IOPF_VTD_INV_FLAGS_DRAIN,
					.npages = gran == IOPF_VTD_INV_GRAN_ADDR,
				};

				ret = intel_inv_from_user(&user, guest, &inv);
				if (!guest || gran != IOPF_VTD_INV_GRAN_GUEST) {
					KUNIT_EXPECT_EQ(test, ret, -EINVAL);
					continue;
				}
				KUNIT_EXPECT_EQ(test, ret, 0);
				KUNIT_EXPECT_TRUE(test, inv.drain);
				KUNIT_EXPECT_EQ(test, inv.cache, cache);
			}
		}
	}
}

/* The table of combinations */
static void table(struct kunit *test)
{
	static const u16 good[2][4] = {
		/* of a HWPT: DOMAIN, PASID, ADDR, GUEST */
		{ 6, 7, 1, 0 },
		/* of a vIOMMU */
		{ 6, 7, 1, 7 },
	};
	struct intel_inv inv;
	u16 cache, gran;
	int guest, ret;

	for (guest = 0; guest < 2; guest++) {
		for (gran = 0; gran < 6; gran++) {
			for (cache = 0; cache < 16; cache++) {
				const struct iopf_vtd_invalidate user = {
					.cache = cache,
					.granularity = gran,
					.npages = gran == IOPF_VTD_INV_GRAN_ADDR,
				};

				ret = intel_inv_from_user(&user, guest, &inv);
				if (!cache || cache > 7 || gran > 3)
					KUNIT_EXPECT_EQ(test, ret, -EOPNOTSUPP);
				else if (cache & ~good[guest][gran])
					KUNIT_EXPECT_EQ(test, ret, -EINVAL);
				else
					KUNIT_EXPECT_EQ(test, ret, 0);
			}
		}
	}
}

static struct kunit_case inv_test_cases[] = {
	KUNIT_CASE(list_joins),
	KUNIT_CASE(list_leaf),
	KUNIT_CASE(list_keeps_apart),
	KUNIT_CASE(list_is_full),
	KUNIT_CASE(one_wait),
	KUNIT_CASE(order),
	KUNIT_CASE(wide),
	KUNIT_CASE(ids),
	KUNIT_CASE(devices),
	KUNIT_CASE(kinds),
	KUNIT_CASE(all),
	KUNIT_CASE(detach_waits),
	KUNIT_CASE(list_drains),
	KUNIT_CASE(table),
	KUNIT_CASE(table_of_drains),
	{}
};

static struct kunit_suite inv_test_suite = {
	.name = "intel-invalidate",
	.init = inv_test_init,
	.exit = inv_test_exit,
	.test_cases = inv_test_cases,
};

kunit_test_suite(inv_test_suite);

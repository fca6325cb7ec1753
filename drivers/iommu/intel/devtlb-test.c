// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what becomes of devices that do not complete invalidations
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Hardware that does not tell which device a time-out was for, and descriptors as
 * they would be submitted to it.
 */
#include <kunit/test.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include "iommu.h"

#define RID		0x0108
#define RID_GONE	0x0210

struct devtlb_test {
	struct intel_iommu iommu;
	struct device_domain_info info;
	struct device dev;
	struct dev_iommu dev_iommu;
	struct qi_desc desc[4];
};

enum { DEVTLB, DEVTLB_PASID, DEVTLB_GONE, IOTLB };

static int devtlb_test_init(struct kunit *test)
{
	struct devtlb_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	raw_spin_lock_init(&t->iommu.device_rbtree_lock);
	mutex_init(&t->dev_iommu.iopf_mutex);
	t->dev.iommu = &t->dev_iommu;
	t->dev.init_name = "devtlb-kunit";
	t->info.dev = &t->dev;
	t->info.iommu = &t->iommu;
	t->info.bus = RID >> 8;
	t->info.devfn = RID & 0xff;
	intel_devtlb_init(&t->info);
	rb_link_node(&t->info.node, NULL, &t->iommu.device_rbtree.rb_node);
	rb_insert_color(&t->info.node, &t->iommu.device_rbtree);

	qi_desc_dev_iotlb(RID, 0, 0, 0x1000, 0, &t->desc[DEVTLB]);
	qi_desc_dev_iotlb_pasid(RID, 0, 5, 0, 0x1000, 0, &t->desc[DEVTLB_PASID]);
	qi_desc_dev_iotlb(RID_GONE, 0, 0, 0x1000, 0, &t->desc[DEVTLB_GONE]);
	/* Its domain ID is where a requester ID is in others. */
	qi_desc_iotlb(&t->iommu, RID, 0, 0, DMA_TLB_DSI_FLUSH, &t->desc[IOTLB]);
	return 0;
}

static void devtlb_test_exit(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	intel_devtlb_forget(&t->info);
}

static bool submits(struct devtlb_test *t, struct devtlb_try *try, unsigned int i)
{
	return intel_devtlb_desc(&t->iommu, try, &t->desc[i]) == &t->desc[i];
}

static bool submits_all(struct devtlb_test *t, struct devtlb_try *try)
{
	unsigned int i;

	intel_devtlb_begin(&t->iommu, try);
	for (i = 0; i < ARRAY_SIZE(t->desc); i++)
		if (!submits(t, try, i))
			return false;
	return true;
}

/* Aborted as often as it may be, then without what is for the device */
static void test_nameless(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {}, later = {};
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, submits_all(t, &try));
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
		intel_devtlb_begin(&t->iommu, &try);
		KUNIT_EXPECT_TRUE(test, submits(t, &try, DEVTLB));
		intel_devtlb_timed_out(&t->iommu, 0);
		intel_devtlb_aborted(&t->iommu, &try, t->desc, 2);
	}
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);

	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_TRUE(test, submits(t, &try, IOTLB));
	KUNIT_EXPECT_FALSE(test, try.skipped);
	KUNIT_EXPECT_FALSE(test, submits(t, &try, DEVTLB));
	KUNIT_EXPECT_TRUE(test, try.skipped);
	KUNIT_EXPECT_FALSE(test, submits(t, &try, DEVTLB_PASID));

	/* Nor is it asked by the next, which asks others. */
	intel_devtlb_begin(&t->iommu, &later);
	KUNIT_EXPECT_FALSE(test, submits(t, &later, DEVTLB));
	KUNIT_EXPECT_TRUE(test, submits(t, &later, DEVTLB_GONE));
	KUNIT_EXPECT_TRUE(test, submits(t, &later, IOTLB));
}

/* Whoever is aborted by another's time-out has done nothing wrong. */
static void test_innocent(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {};
	unsigned int i;

	for (i = 0; i < 10; i++) {
		intel_devtlb_begin(&t->iommu, &try);
		KUNIT_EXPECT_TRUE(test, submits(t, &try, DEVTLB));
		/* of a device that is known by its name, and gone */
		intel_devtlb_timed_out(&t->iommu, RID_GONE);
		intel_devtlb_aborted(&t->iommu, &try, t->desc, 2);
	}
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);

	/* Two time-outs without a name, but each met another submission. */
	for (i = 0; i < 2; i++) {
		struct devtlb_try one = {};

		intel_devtlb_begin(&t->iommu, &one);
		intel_devtlb_timed_out(&t->iommu, 0);
		intel_devtlb_aborted(&t->iommu, &one, t->desc, 2);
	}
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
}

/* A device that was released is asked once. */
static void test_gone(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {};

	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_TRUE(test, submits(t, &try, DEVTLB_GONE));
	intel_devtlb_timed_out(&t->iommu, RID_GONE);
	intel_devtlb_aborted(&t->iommu, &try, &t->desc[DEVTLB_GONE], 1);
	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_FALSE(test, submits(t, &try, DEVTLB_GONE));
	KUNIT_EXPECT_TRUE(test, submits(t, &try, DEVTLB));
	KUNIT_EXPECT_TRUE(test, submits(t, &try, IOTLB));
}

/* What is not submitted is counted for as long as the device is there. */
static void test_release(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {};
	unsigned int i;

	for (i = 0; i < 2; i++) {
		intel_devtlb_begin(&t->iommu, &try);
		intel_devtlb_timed_out(&t->iommu, 0);
		intel_devtlb_aborted(&t->iommu, &try, t->desc, 1);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&t->iommu.devtlb_nr_silent), 1);
	rb_erase(&t->info.node, &t->iommu.device_rbtree);
	intel_devtlb_forget(&t->info);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->iommu.devtlb_nr_silent), 0);
	/* The fence was put up before the device went, or will not be. */
	KUNIT_EXPECT_FALSE(test, work_busy(&t->info.devtlb_fence));
	t->info.devtlb_silent = false;
}

/* A reset makes up for the time-outs before it. */
static void test_forgiven(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	t->dev.bus = &pci_bus_type;
	t->dev_iommu.priv = &t->info;
	t->info.ats_supported = 1;
	t->info.devtlb_timeouts = 1;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->dev));
	KUNIT_EXPECT_EQ(test, t->info.devtlb_timeouts, 0);
	t->dev.bus = NULL;
}

static struct kunit_case devtlb_cases[] = {
	KUNIT_CASE(test_nameless),
	KUNIT_CASE(test_innocent),
	KUNIT_CASE(test_gone),
	KUNIT_CASE(test_release),
	KUNIT_CASE(test_forgiven),
	{}
};

static struct kunit_suite devtlb_suite = {
	.name = "intel-devtlb",
	.init = devtlb_test_init,
	.exit = devtlb_test_exit,
	.test_cases = devtlb_cases,
};

kunit_test_suite(devtlb_suite);

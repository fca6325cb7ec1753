// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what becomes of devices that do not complete invalidations
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Hardware that does not tell which device a time-out was for, or the wrong one,
 * and descriptors as they would be submitted to it. The device has a context entry
 * of legacy mode, and as much of a configuration space as the tests need.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/dmar.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/pci.h>

#include "iommu.h"

#define RID		0x0108
#define RID_GONE	0x0210

#define ATS_CAP		0x100
#define GLOBAL_INV	BIT(6)

#define DEVTLB_ALLOWED	BIT_ULL(2)
#define PASS_THROUGH	BIT_ULL(3)

struct devtlb_test {
	struct intel_iommu iommu;
	struct device_domain_info info;
	struct pci_dev pdev;
	struct pci_bus bus;
	struct dev_iommu dev_iommu;
	struct qi_desc desc[5];
	struct context_entry *context;

	/* Configuration space */
	u16 ats_cap, ats_ctrl;

	/* Called for each submission, before it is done */
	void (*at_submit)(struct kunit *test, const struct qi_desc *desc,
			  unsigned int count);
	unsigned int nr_devtlb;
	bool all_pasids;
};

/* How often a submission may be aborted by time-outs of nobody, and of others */
#define MAX_NAMELESS	8
#define MAX_MISNAMED	64

enum { DEVTLB, DEVTLB_PASID, DEVTLB_GONE, IOTLB, RESPONSE };

static int read_config(struct pci_bus *bus, unsigned int devfn, int where,
		       int size, u32 *val)
{
	struct devtlb_test *t = container_of(bus, struct devtlb_test, bus);

	switch (where) {
	case PCI_VENDOR_ID:
		*val = 0x11f01234;
		break;
	case ATS_CAP + PCI_ATS_CAP:
		*val = t->ats_cap;
		break;
	case ATS_CAP + PCI_ATS_CTRL:
		*val = t->ats_ctrl;
		break;
	default:
		*val = 0;
	}
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = { .read = read_config };

static unsigned int desc_type(const struct qi_desc *desc)
{
	return desc->qw0 & 0xf;
}

/* In the place of qi_submit_sync() */
static int submit(struct intel_iommu *iommu, struct qi_desc *desc,
		  unsigned int count, unsigned long options)
{
	struct kunit *test = kunit_get_current_test();
	struct devtlb_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (desc_type(&desc[i]) == QI_DEIOTLB_TYPE)
			t->all_pasids = desc[i].qw1 & 1;
		if (desc_type(&desc[i]) == QI_DIOTLB_TYPE ||
		    desc_type(&desc[i]) == QI_DEIOTLB_TYPE)
			t->nr_devtlb++;
	}
	if (t->at_submit)
		t->at_submit(test, desc, count);
	return 0;
}

static int add_context(struct devtlb_test *t)
{
	struct root_entry *root;

	root = (struct root_entry *)get_zeroed_page(GFP_KERNEL);
	t->context = (struct context_entry *)get_zeroed_page(GFP_KERNEL);
	t->iommu.root_entry = root;
	if (!root || !t->context)
		return -ENOMEM;
	root[RID >> 8].lo = virt_to_phys(t->context) | 1;
	t->context += RID & 0xff;
	t->context->lo = DEVTLB_ALLOWED | 1;
	return 0;
}

static int devtlb_test_init(struct kunit *test)
{
	struct devtlb_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	raw_spin_lock_init(&t->iommu.device_rbtree_lock);
	mutex_init(&t->dev_iommu.iopf_mutex);
	t->bus.ops = &config_ops;
	t->pdev.bus = &t->bus;
	t->pdev.ats_cap = ATS_CAP;
	t->pdev.dev.iommu = &t->dev_iommu;
	t->pdev.dev.init_name = "devtlb-kunit";
	t->pdev.dev.bus = &pci_bus_type;
	t->dev_iommu.priv = &t->info;
	t->info.ats_supported = 1;
	t->info.dev = &t->pdev.dev;
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
	t->desc[RESPONSE].qw0 = QI_PGRP_RESP_TYPE;
	kunit_activate_static_stub(test, qi_submit_sync, submit);
	return add_context(t);
}

static void devtlb_test_exit(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	if (!t)
		return;
	intel_devtlb_forget(&t->info);
	free_page((unsigned long)t->context & PAGE_MASK);
	free_page((unsigned long)t->iommu.root_entry);
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
	for (i = 0; i < MAX_NAMELESS; i++) {
		KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
		intel_devtlb_begin(&t->iommu, &try);
		KUNIT_EXPECT_TRUE(test, submits(t, &try, DEVTLB));
		intel_devtlb_timed_out(&t->iommu, 0);
		intel_devtlb_aborted(&t->iommu, &try, t->desc, 2);
	}
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);
	/* The message says that it may be another. */
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_suspected);

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

	/* As many time-outs without a name, but each met another submission. */
	for (i = 0; i < MAX_NAMELESS; i++) {
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

static void give_up(struct devtlb_test *t)
{
	intel_devtlb_timed_out(&t->iommu, RID);
	intel_devtlb_timed_out(&t->iommu, RID);
}

struct forgetter {
	struct device_domain_info *info;
	struct completion done;
};

static int forget(void *data)
{
	struct forgetter *f = data;

	intel_devtlb_forget(f->info);
	complete(&f->done);
	return 0;
}

/*
 * What is not submitted is counted for as long as the device is there, and the
 * fence is not still being put up when it is gone.
 */
static void test_release(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct forgetter f = { .info = &t->info };
	struct task_struct *task;

	init_completion(&f.done);
	mutex_lock(&t->dev_iommu.iopf_mutex);
	give_up(t);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->iommu.devtlb_nr_silent), 1);
	rb_erase(&t->info.node, &t->iommu.device_rbtree);
	while (!(work_busy(&t->info.devtlb_fence) & WORK_BUSY_RUNNING))
		usleep_range(1000, 2000);
	task = kthread_run(forget, &f, "devtlb-kunit");
	/* Long enough for who does not wait to be found */
	msleep(100);
	KUNIT_EXPECT_FALSE(test, completion_done(&f.done));
	mutex_unlock(&t->dev_iommu.iopf_mutex);
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&f.done);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->iommu.devtlb_nr_silent), 0);
	t->info.devtlb_silent = false;
}

/* Not what was long ago: all devices are late once in a while. */
static void test_late_seldom(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		intel_devtlb_timed_out(&t->iommu, RID);
		KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
		t->info.devtlb_late.at -= 601 * HZ;
	}
	give_up(t);
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_suspected);
}

static void abort_by_stranger(struct devtlb_test *t, struct devtlb_try *try)
{
	intel_devtlb_begin(&t->iommu, try);
	intel_devtlb_timed_out(&t->iommu, RID_GONE);
	intel_devtlb_aborted(&t->iommu, try, t->desc, 1);
}

/* Hardware that names no device which it can be does not go on for ever. */
static void test_misnamed(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {}, other = {};
	unsigned int i;

	for (i = 1; i < MAX_MISNAMED; i++)
		abort_by_stranger(t, &try);
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
	/* Who has not met them has nothing to do with that. */
	abort_by_stranger(t, &other);
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);
	abort_by_stranger(t, &try);
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);

	/* Nor if it goes on to name one that is not asked any more. */
	memset(&try, 0, sizeof(try));
	intel_devtlb_begin(&t->iommu, &try);
	intel_devtlb_timed_out(&t->iommu, RID);
	intel_devtlb_aborted(&t->iommu, &try, t->desc, 1);
	KUNIT_EXPECT_EQ(test, try.by_stranger, 1);
}

/* What is sent to a device is sent once; nothing is left undone by that. */
static void test_response_once(struct kunit *test)
{
	struct devtlb_test *t = test->priv;
	struct devtlb_try try = {};

	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_TRUE(test, submits(t, &try, RESPONSE));
	intel_devtlb_timed_out(&t->iommu, RID_GONE);
	intel_devtlb_aborted(&t->iommu, &try, &t->desc[RESPONSE], 1);
	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_FALSE(test, submits(t, &try, RESPONSE));
	KUNIT_EXPECT_EQ(test, 0, intel_devtlb_end(&t->iommu, &try,
						  &t->desc[RESPONSE], 1));
	/* The next one is another. */
	memset(&try, 0, sizeof(try));
	give_up(t);
	intel_devtlb_begin(&t->iommu, &try);
	KUNIT_EXPECT_TRUE(test, submits(t, &try, RESPONSE));
}

static bool is_allowed(struct devtlb_test *t)
{
	return t->context->lo & DEVTLB_ALLOWED;
}

/* How a submission ends that has left the device out */
static int end_without(struct devtlb_test *t)
{
	struct devtlb_try try = { .skipped = true };

	return intel_devtlb_end(&t->iommu, &try, t->desc, 1);
}

static void test_blocked(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	give_up(t);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, end_without(t));
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_blocked);
	/* ATS is off: it was reset. */
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_devtlb, 0);
	KUNIT_EXPECT_TRUE(test, is_allowed(t));
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_silent);

	/* A translation type that has no device TLB stays what it is. */
	give_up(t);
	t->context->lo = PASS_THROUGH | 1;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->context->lo, PASS_THROUGH | 1);
}

/*
 * Somebody has left the device out, and has not come to block it when it can be
 * heard again: from then on nobody would.
 */
static void expect_blocked(struct kunit *test, const struct qi_desc *desc,
			   unsigned int count)
{
	struct devtlb_test *t = test->priv;

	if (t->info.devtlb_silent)
		return;
	if (desc_type(desc) != QI_DIOTLB_TYPE)
		return;
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_blocked);
	end_without(t);
}

static void test_block_before_asking(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	t->ats_ctrl = PCI_ATS_CTRL_ENABLE;
	give_up(t);
	t->at_submit = expect_blocked;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_devtlb, 1);
	KUNIT_EXPECT_TRUE(test, is_allowed(t));
}

/* A reset and the next give-up, while the flush of a block is on its way */
static void reset_meanwhile(struct kunit *test, const struct qi_desc *desc,
			    unsigned int count)
{
	struct devtlb_test *t = test->priv;

	t->at_submit = NULL;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	give_up(t);
}

static void test_block_is_old(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	give_up(t);
	t->at_submit = reset_meanwhile;
	end_without(t);
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);
	KUNIT_EXPECT_FALSE(test, t->info.devtlb_blocked);
	end_without(t);
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_blocked);
}

/* Asked to forget all of it, or not asked if it cannot be told so */
static void test_ask_all_pasids(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	t->ats_ctrl = PCI_ATS_CTRL_ENABLE;
	t->info.pasid_enabled = 1;
	give_up(t);
	end_without(t);
	KUNIT_EXPECT_FALSE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_devtlb, 0);
	KUNIT_EXPECT_TRUE(test, t->info.devtlb_silent);
	KUNIT_EXPECT_FALSE(test, is_allowed(t));

	t->ats_cap = GLOBAL_INV;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_devtlb, 2);
	KUNIT_EXPECT_TRUE(test, t->all_pasids);
	KUNIT_EXPECT_TRUE(test, is_allowed(t));
}

/* The errno is that of the fence, though its work has not run. */
static void test_refused(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	t->info.pri_supported = 1;
	/* It is not looked at. */
	t->iommu.iopf_queue = (struct iopf_queue *)t;
	give_up(t);
	KUNIT_EXPECT_EQ(test, -EIO,
			intel_iommu_ops.dev_enable_feat(&t->pdev.dev,
							IOMMU_DEV_FEAT_IOPF));
	/* Reset, with a page table that it got meanwhile */
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	t->info.domain_attached = 1;
	KUNIT_EXPECT_EQ(test, -EBUSY,
			intel_iommu_ops.dev_enable_feat(&t->pdev.dev,
							IOMMU_DEV_FEAT_IOPF));
	t->info.ats_supported = 0;
	KUNIT_EXPECT_EQ(test, -ENODEV,
			intel_iommu_ops.dev_enable_feat(&t->pdev.dev,
							IOMMU_DEV_FEAT_IOPF));
}

/* A reset makes up for the time-outs before it. */
static void test_not_forgiven(struct kunit *test)
{
	struct devtlb_test *t = test->priv;

	t->info.devtlb_late.timeouts = 1;
	KUNIT_EXPECT_TRUE(test, intel_devtlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->info.devtlb_late.timeouts, 1);
}

static struct kunit_case devtlb_cases[] = {
	KUNIT_CASE(test_nameless),
	KUNIT_CASE(test_innocent),
	KUNIT_CASE(test_gone),
	KUNIT_CASE(test_release),
	KUNIT_CASE(test_not_forgiven),
	KUNIT_CASE(test_late_seldom),
	KUNIT_CASE(test_misnamed),
	KUNIT_CASE(test_response_once),
	KUNIT_CASE(test_blocked),
	KUNIT_CASE(test_block_before_asking),
	KUNIT_CASE(test_block_is_old),
	KUNIT_CASE(test_ask_all_pasids),
	KUNIT_CASE(test_refused),
	{}
};

static struct kunit_suite devtlb_suite = {
	.name = "intel-devtlb",
	.init = devtlb_test_init,
	.exit = devtlb_test_exit,
	.test_cases = devtlb_cases,
};

kunit_test_suite(devtlb_suite);

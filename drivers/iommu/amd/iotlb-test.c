// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what becomes of devices that do not complete invalidations
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * An IOMMU whose registers, commands and event log are memory: each completion wait has
 * the commands up to it done. The device refuses as many invalidations as it is told to.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include <asm/iommu.h>

#include "amd_iommu.h"

#define DEVID		0x0108
#define MAX_PASIDS	600
#define ATS_CAP		0x100

/* Literal bits, so that a wrong one in the driver is noticed. */
#define DTE_ATS		BIT_ULL(32)
#define LOG_RUNS	BIT(3)
#define LOG_OVERFLOWN	BIT(0)
#define LOG_ENABLED	BIT(2)
#define INV_DTE		2
#define INV_IOTLB	4
#define GN		BIT(2)
#define TIME_OUT	0x70000000
#define PAGE_FAULT	0x20000000

struct iotlb_test {
	struct amd_iommu iommu;
	struct amd_iommu_pci_seg seg;
	struct iommu_dev_data dev_data;
	struct protection_domain domain;
	struct pci_dev pdev;
	struct pci_bus bus;
	struct pci_sysdata sysdata;
	struct dev_iommu dev_iommu;
	struct dev_table_entry *dte;

	u16 ats_ctrl;
	/* Up to where commands are done */
	u32 done;
	u32 tail;
	/* How many invalidations the device does not complete */
	unsigned int refuses;
	/* The log does not run again. */
	bool log_is_broken;
	/* What a completion wait returns */
	int ret;
	unsigned int nr_told, nr_gn, nr_dte;
};

static void put_reg(struct iotlb_test *t, unsigned int reg, u32 value)
{
	writel(value, t->iommu.mmio_base + reg);
}

static u32 get_reg(struct iotlb_test *t, unsigned int reg)
{
	return readl(t->iommu.mmio_base + reg);
}

static void log_event(struct iotlb_test *t, u32 type)
{
	u32 *entry = (u32 *)(t->iommu.evt_buf + t->tail);
	u32 next = (t->tail + 16) % amd_iommu_evtlog_size;

	if (!(get_reg(t, MMIO_STATUS_OFFSET) & LOG_RUNS))
		return;
	if (next == get_reg(t, MMIO_EVT_HEAD_OFFSET)) {
		/* Whoever enables it has restarted it. */
		put_reg(t, MMIO_STATUS_OFFSET, LOG_OVERFLOWN);
		put_reg(t, MMIO_CONTROL_OFFSET, 0);
		return;
	}
	entry[0] = DEVID;
	entry[1] = type;
	t->tail = next;
	put_reg(t, MMIO_EVT_TAIL_OFFSET, next);
}

static void do_command(struct iotlb_test *t, const struct iommu_cmd *cmd)
{
	switch (cmd->data[1] >> 28) {
	case INV_DTE:
		t->nr_dte++;
		break;
	case INV_IOTLB:
		t->nr_told++;
		if (cmd->data[2] & GN)
			t->nr_gn++;
		if (t->refuses) {
			t->refuses--;
			log_event(t, TIME_OUT);
		}
		break;
	}
}

/* In the place of iommu_completion_wait() */
static int do_commands(struct amd_iommu *iommu)
{
	struct kunit *test = kunit_get_current_test();
	struct iotlb_test *t = test->priv;

	if ((get_reg(t, MMIO_CONTROL_OFFSET) & LOG_ENABLED) &&
	    !t->log_is_broken)
		put_reg(t, MMIO_STATUS_OFFSET, LOG_RUNS);
	while (t->done != iommu->cmd_buf_tail) {
		do_command(t, (struct iommu_cmd *)(iommu->cmd_buf + t->done));
		t->done = (t->done + 16) % CMD_BUFFER_SIZE;
	}
	put_reg(t, MMIO_CMD_HEAD_OFFSET, t->done);
	return t->ret;
}

static int read_config(struct pci_bus *bus, unsigned int devfn, int where,
		       int size, u32 *val)
{
	struct iotlb_test *t = container_of(bus, struct iotlb_test, bus);

	*val = 0;
	if (where == PCI_VENDOR_ID)
		*val = 0x11f01234;
	else if (where == ATS_CAP + PCI_ATS_CTRL)
		*val = t->ats_ctrl;
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = { .read = read_config };

static int init_iommu(struct kunit *test, struct iotlb_test *t)
{
	void *regs = kunit_kzalloc(test, MMIO_CNTR_CONF_OFFSET, GFP_KERNEL);

	t->seg.dev_table = kunit_kcalloc(test, DEVID + 1, sizeof(*t->dte),
					 GFP_KERNEL);
	t->seg.alias_table = kunit_kcalloc(test, DEVID + 1, sizeof(u16),
					   GFP_KERNEL);
	t->iommu.cmd_buf = kunit_kzalloc(test, CMD_BUFFER_SIZE, GFP_KERNEL);
	t->iommu.evt_buf = kunit_kzalloc(test, amd_iommu_evtlog_size, GFP_KERNEL);
	if (!regs || !t->seg.dev_table || !t->seg.alias_table ||
	    !t->iommu.cmd_buf || !t->iommu.evt_buf)
		return -ENOMEM;
	t->iommu.mmio_base = (u8 __iomem __force *)regs;
	t->iommu.pci_seg = &t->seg;
	raw_spin_lock_init(&t->iommu.lock);
	amd_event_log_init(&t->iommu);
	amd_event_log_enabled(&t->iommu);
	t->seg.alias_table[DEVID] = DEVID;
	t->dte = &t->seg.dev_table[DEVID];
	t->dte->data[1] = DTE_ATS;
	put_reg(t, MMIO_STATUS_OFFSET, LOG_RUNS);
	return 0;
}

static void init_device(struct iotlb_test *t)
{
	mutex_init(&t->dev_iommu.iopf_mutex);
	t->bus.ops = &config_ops;
	t->bus.number = DEVID >> 8;
	t->bus.sysdata = &t->sysdata;
	t->pdev.bus = &t->bus;
	t->pdev.devfn = DEVID & 0xff;
	t->pdev.ats_cap = ATS_CAP;
	t->pdev.dev.iommu = &t->dev_iommu;
	t->pdev.dev.init_name = "iotlb-kunit";
	t->pdev.dev.bus = &pci_bus_type;
	t->dev_iommu.priv = &t->dev_data;
	t->dev_iommu.iommu_dev = &t->iommu.iommu;
	t->dev_data.dev = &t->pdev.dev;
	t->dev_data.devid = DEVID;
	t->dev_data.domain = &t->domain;
	t->dev_data.ats_allowed = true;
	t->dev_data.ats_enabled = 1;
	t->dev_data.max_pasids = MAX_PASIDS;
	spin_lock_init(&t->dev_data.dte_lock);
	amd_iotlb_alloc(&t->dev_data);
	llist_add(&t->dev_data.dev_data_list, &t->seg.dev_data_list);
	amd_iotlb_probe(&t->iommu, &t->dev_data);

	spin_lock_init(&t->domain.lock);
	INIT_LIST_HEAD(&t->domain.dev_list);
	INIT_LIST_HEAD(&t->domain.dev_data_list);
	list_add(&t->dev_data.list, &t->domain.dev_list);
	t->domain.pd_mode = PD_MODE_V1;
}

static int iotlb_test_init(struct kunit *test)
{
	struct iotlb_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int ret;

	if (!t)
		return -ENOMEM;
	ret = init_iommu(test, t);
	if (ret)
		return ret;
	init_device(t);
	test->priv = t;
	kunit_activate_static_stub(test, iommu_completion_wait, do_commands);
	return 0;
}

static void iotlb_test_exit(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	if (t)
		amd_iotlb_release(&t->iommu, &t->dev_data);
}

/* As for something that was unmapped */
static void invalidate(struct iotlb_test *t)
{
	bool gn = t->domain.pd_mode == PD_MODE_V2;
	u32 since = amd_iotlb_errors();
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&t->domain.lock, flags);
	device_flush_iotlb(&t->dev_data, 0x1000, 0x1000, IOMMU_NO_PASID, gn);
	ret = iommu_completion_wait(&t->iommu);
	amd_iotlb_end_domain(&t->domain, 0x1000, 0x1000, since, ret);
	spin_unlock_irqrestore(&t->domain.lock, flags);
}

static bool is_allowed(struct iotlb_test *t)
{
	return t->dte->data[1] & DTE_ATS;
}

/* One that completes what it is told is told once. */
static void test_on_time(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 1);
	KUNIT_EXPECT_EQ(test, t->nr_dte, 0);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
}

static void test_told_again(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	t->refuses = 1;
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 2);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_TRUE(test, is_allowed(t));
}

/* With a guest page table one invalidation takes two commands. */
static void test_counts_once(struct kunit *test)
{
	struct iotlb_test *t = test->priv;
	u32 since;

	t->domain.pd_mode = PD_MODE_V2;
	t->refuses = 2;
	since = amd_iotlb_errors();
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 4);
	KUNIT_EXPECT_EQ(test, t->nr_gn, 2);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	/* Somebody else has waited for the same. */
	amd_iotlb_end(&t->dev_data, 0x1000, 0x1000, IOMMU_NO_PASID, true,
		      since, 0);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_EQ(test, t->nr_told, 6);
}

static void test_given_up(struct kunit *test)
{
	struct iotlb_test *t = test->priv;
	struct dev_table_entry dte = { .data = { 0, DTE_ATS } };
	unsigned long flags;

	t->refuses = 100;
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 2);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_FALSE(test, t->dev_data.iotlb.suspected);
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
	KUNIT_EXPECT_EQ(test, t->nr_dte, 1);

	/* Nor by what is written next, and nobody asks it any more. */
	spin_lock_irqsave(&t->dev_data.dte_lock, flags);
	amd_iotlb_limit_dte(&t->dev_data, &dte);
	spin_unlock_irqrestore(&t->dev_data.dte_lock, flags);
	KUNIT_EXPECT_EQ(test, dte.data[1] & DTE_ATS, 0);
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 2);
	KUNIT_EXPECT_EQ(test, t->nr_dte, 1);
}

static void fill_log(struct iotlb_test *t)
{
	u32 size = amd_iommu_evtlog_size;

	while ((t->tail + 16) % size != get_reg(t, MMIO_EVT_HEAD_OFFSET))
		log_event(t, PAGE_FAULT);
}

/* The time-out was lost: it is told again until the log would have it. */
static void test_log_overflow(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	fill_log(t);
	t->refuses = 1;
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 3);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_EQ(test, get_reg(t, MMIO_EVT_HEAD_OFFSET), t->tail);
	KUNIT_EXPECT_TRUE(test, get_reg(t, MMIO_STATUS_OFFSET) & LOG_RUNS);

	fill_log(t);
	t->refuses = 100;
	invalidate(t);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
}

/* It was restarted by others before anybody has seen that it had stopped. */
static void test_log_restarted(struct kunit *test)
{
	struct iotlb_test *t = test->priv;
	u32 since = amd_iotlb_errors();

	put_reg(t, MMIO_STATUS_OFFSET, LOG_OVERFLOWN);
	amd_event_log_restart(&t->iommu);
	put_reg(t, MMIO_STATUS_OFFSET, LOG_RUNS);
	amd_iotlb_end(&t->dev_data, 0x1000, 0x1000, IOMMU_NO_PASID, false,
		      since, 0);
	KUNIT_EXPECT_EQ(test, t->nr_told, 1);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
}

static void test_log_broken(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	put_reg(t, MMIO_STATUS_OFFSET, 0);
	t->log_is_broken = true;
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 9);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_TRUE(test, t->dev_data.iotlb.suspected);
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
}

static void test_waits_in_vain(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	t->ret = -EIO;
	invalidate(t);
	KUNIT_EXPECT_EQ(test, t->nr_told, 2);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_TRUE(test, t->dev_data.iotlb.suspected);
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
}

static void give_up(struct iotlb_test *t)
{
	t->refuses = 2;
	invalidate(t);
	t->nr_told = 0;
	t->nr_dte = 0;
}

/* ATS is off after a real one: there is nothing to forget. */
static void test_reset(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	give_up(t);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_TRUE(test, is_allowed(t));
	KUNIT_EXPECT_EQ(test, t->nr_dte, 1);
	/* It has as many chances as before. */
	t->refuses = 1;
	invalidate(t);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
}

/* What has no ATS by then does not get it. */
static void test_reset_without(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	give_up(t);
	t->dev_data.ats_allowed = false;
	KUNIT_EXPECT_TRUE(test, amd_iotlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
}

static void test_ask_all_pasids(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	t->ats_ctrl = PCI_ATS_CTRL_ENABLE;
	t->dev_data.pasid_enabled = 1;
	give_up(t);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_gn, MAX_PASIDS - 1);
	KUNIT_EXPECT_TRUE(test, is_allowed(t));

	/* One chance, for each of them */
	give_up(t);
	t->refuses = 1;
	KUNIT_EXPECT_FALSE(test, amd_iotlb_reset_done(&t->pdev.dev));
	KUNIT_EXPECT_EQ(test, t->nr_told, 1);
	KUNIT_EXPECT_TRUE(test, amd_iotlb_silent(&t->dev_data));
	KUNIT_EXPECT_FALSE(test, is_allowed(t));
}

/* What happens to one that was released is nobody's. */
static void test_release(struct kunit *test)
{
	struct iotlb_test *t = test->priv;

	give_up(t);
	amd_iotlb_release(&t->iommu, &t->dev_data);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	t->ret = -EIO;
	invalidate(t);
	KUNIT_EXPECT_FALSE(test, amd_iotlb_silent(&t->dev_data));
	/* Another one in its place */
	t->ret = 0;
	amd_iotlb_probe(&t->iommu, &t->dev_data);
	KUNIT_EXPECT_FALSE(test, t->dev_data.iotlb.blocked);
}

/* Entries are taken in order, once, and are zero afterwards. */
static void test_log_entries(struct kunit *test)
{
	struct iotlb_test *t = test->priv;
	unsigned int i, round;
	u32 event[4];

	for (round = 0; round < 3; round++) {
		fill_log(t);
		for (i = 0; i < amd_iommu_evtlog_size / 16 - 1; i++) {
			KUNIT_ASSERT_TRUE(test,
					  amd_event_log_next(&t->iommu, event));
			KUNIT_ASSERT_EQ(test, event[0], DEVID);
			KUNIT_ASSERT_EQ(test, event[1], PAGE_FAULT);
		}
		KUNIT_EXPECT_FALSE(test, amd_event_log_next(&t->iommu, event));
		KUNIT_EXPECT_EQ(test, get_reg(t, MMIO_EVT_HEAD_OFFSET), t->tail);
		KUNIT_EXPECT_NULL(test, memchr_inv(t->iommu.evt_buf, 0,
						   amd_iommu_evtlog_size));
	}
}

static struct kunit_case iotlb_cases[] = {
	KUNIT_CASE(test_on_time),
	KUNIT_CASE(test_told_again),
	KUNIT_CASE(test_counts_once),
	KUNIT_CASE(test_given_up),
	KUNIT_CASE(test_log_overflow),
	KUNIT_CASE(test_log_restarted),
	KUNIT_CASE(test_log_broken),
	KUNIT_CASE(test_waits_in_vain),
	KUNIT_CASE(test_reset),
	KUNIT_CASE(test_reset_without),
	KUNIT_CASE(test_ask_all_pasids),
	KUNIT_CASE(test_release),
	KUNIT_CASE(test_log_entries),
	{}
};

static struct kunit_suite iotlb_suite = {
	.name = "amd-iommu-iotlb",
	.init = iotlb_test_init,
	.exit = iotlb_test_exit,
	.test_cases = iotlb_cases,
};

kunit_test_suite(iotlb_suite);

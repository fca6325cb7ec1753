// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the page request core
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device that exists in memory only, whose IOMMU driver writes down what it
 * is told to answer.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "iopf-core.h"
#include "iopf-enable.h"
#include "iopf-stat.h"
#include "iommu-priv.h"

#define MAX_ANSWERS	32
#define MAX_GROUPS	IOPF_MAX_GROUPS

#define LAST		IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE
/* Of a device that wants its PASID back, and of one that does not */
#define PASID		(IOMMU_FAULT_PAGE_REQUEST_PASID_VALID | \
			 IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID)
#define PASID_NOT_BACK	IOMMU_FAULT_PAGE_REQUEST_PASID_VALID

struct iopf_test {
	struct device dev;
	struct dev_iommu dev_iommu;
	struct iommu_device iommu_dev;
	struct iommu_ops ops;
	struct iommu_domain domain;
	struct iommu_attach_handle handle;
	/* What a look-up finds, and how often there was one */
	struct iommu_attach_handle *found;
	unsigned int nr_lookups;
	struct iopf_queue *queue;

	/* What the IOMMU driver was told to answer */
	struct {
		u32 grpid;
		u32 pasid;
		u32 flags;
		u32 code;
	} answer[MAX_ANSWERS];
	unsigned int nr_answers;
	unsigned int nr_submissions;
	void (*at_answer)(struct iopf_test *t);

	/* What the handler has got */
	struct iopf_group *group[MAX_GROUPS];
	unsigned int nr_groups;
	int handler_ret;
	bool handler_dequeues;
	struct work_struct work;
	bool work_done;

	/* How often the feature was switched, and what to say to that */
	unsigned int enabled, disabled;
	unsigned int nr_drains;
	unsigned int resets_done;
	bool silent;
	int enable_ret;
	bool enable_without_queue;
};

static struct iopf_test *dev_to_test(struct device *dev)
{
	return container_of(dev, struct iopf_test, dev);
}

static void log_answer(struct device *dev,
		       const struct iommu_fault_page_request *prm, u32 code)
{
	struct iopf_test *t = dev_to_test(dev);

	if (t->nr_answers < MAX_ANSWERS) {
		t->answer[t->nr_answers].grpid = prm->grpid;
		t->answer[t->nr_answers].pasid = prm->pasid;
		t->answer[t->nr_answers].flags = prm->flags;
		t->answer[t->nr_answers].code = code;
	}
	t->nr_answers++;
}

static void test_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *resp)
{
	dev_to_test(dev)->nr_submissions++;
	log_answer(dev, &evt->fault.prm, resp->code);
}

static void test_page_response_batch(const struct iopf_response *responses,
				     unsigned int nr)
{
	struct iopf_test *t = dev_to_test(responses->dev);
	unsigned int i;

	t->nr_submissions++;
	if (t->at_answer)
		t->at_answer(t);
	for (i = 0; i < nr; i++)
		log_answer(responses[i].dev, responses[i].prm,
			   responses[i].code);
}

static int test_enable_feat(struct device *dev, enum iommu_dev_features feat)
{
	struct iopf_test *t = dev_to_test(dev);

	if (t->enable_ret)
		return t->enable_ret;
	t->enabled++;
	if (t->enable_without_queue)
		return 0;
	return iopf_queue_add_device(t->queue, dev);
}

static int test_disable_feat(struct device *dev, enum iommu_dev_features feat)
{
	struct iopf_test *t = dev_to_test(dev);

	t->disabled++;
	if (!t->enable_without_queue)
		iopf_queue_remove_device(t->queue, dev);
	return 0;
}

static bool test_reset_done(struct device *dev)
{
	struct iopf_test *t = dev_to_test(dev);

	t->resets_done++;
	return !t->silent;
}

static void test_drain(struct device *dev)
{
	dev_to_test(dev)->nr_drains++;
}

static int test_handler(struct iopf_group *group)
{
	struct iopf_test *t = dev_to_test(group->fault_param->dev);

	if (t->handler_ret)
		return t->handler_ret;
	if (t->handler_dequeues)
		iopf_group_dequeue(group);
	if (t->nr_groups < MAX_GROUPS)
		t->group[t->nr_groups] = group;
	t->nr_groups++;
	return 0;
}

static struct iommu_fault_param *test_param(struct iopf_test *t)
{
	return rcu_dereference_protected(t->dev_iommu.fault_param, true);
}

static struct iommu_attach_handle *test_find(struct device *dev,
					     struct iopf_fault *evt)
{
	struct iopf_test *t = dev_to_test(dev);

	t->nr_lookups++;
	return t->found;
}

/* Report as iommu_report_device_fault() does, but for the look-up. */
static int __report(struct iopf_test *t, u32 grpid, u32 pasid, u32 flags,
		    u64 addr, struct iommu_attach_handle *handle)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = flags,
				.pasid = pasid,
				.grpid = grpid,
				.perm = IOMMU_FAULT_PERM_READ,
				.addr = addr,
			},
		},
	};
	struct iommu_fault_param *param = iopf_get_dev_fault_param(&t->dev);
	int ret;

	if (!param)
		return iopf_report_orphan(&t->dev, &evt);
	mutex_lock(&param->report_lock);
	t->found = handle;
	ret = iopf_report(param, &evt, test_find);
	mutex_unlock(&param->report_lock);
	iopf_put_dev_fault_param(param);
	return ret;
}

static int report(struct iopf_test *t, u32 grpid, u32 pasid, u32 flags,
		  u64 addr)
{
	return __report(t, grpid, pasid, flags, addr, &t->handle);
}

static void report_malformed(struct iopf_test *t, u32 grpid, u32 pasid,
			     u32 flags)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = flags,
				.pasid = pasid,
				.grpid = grpid,
			},
		},
	};

	iopf_report_malformed(&t->dev, &evt);
}

static void answer_and_free(struct iopf_test *t, unsigned int i, u32 code)
{
	iopf_group_response(t->group[i], code);
	iopf_free_group(t->group[i]);
	t->group[i] = NULL;
}

static void expect_answer(struct kunit *test, unsigned int i, u32 grpid,
			  u32 code)
{
	struct iopf_test *t = test->priv;

	KUNIT_ASSERT_LT(test, i, t->nr_answers);
	KUNIT_EXPECT_EQ(test, t->answer[i].grpid, grpid);
	KUNIT_EXPECT_EQ(test, t->answer[i].code, code);
}

static int iopf_test_init(struct kunit *test)
{
	struct iopf_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->dev.init_name = "iopf-kunit";
	t->dev.iommu = &t->dev_iommu;
	mutex_init(&t->dev_iommu.lock);
	mutex_init(&t->dev_iommu.iopf_mutex);
	t->dev_iommu.iommu_dev = &t->iommu_dev;
	t->iommu_dev.ops = &t->ops;
	t->ops.page_response_batch = test_page_response_batch;
	t->ops.dev_enable_feat = test_enable_feat;
	t->ops.dev_disable_feat = test_disable_feat;
	t->ops.dev_reset_done = test_reset_done;
	t->domain.iopf_handler = test_handler;
	t->handle.domain = &t->domain;
	t->handler_dequeues = true;
	t->queue = iopf_queue_alloc("iopf-kunit");
	KUNIT_ASSERT_NOT_NULL(test, t->queue);
	t->queue->drain = test_drain;
	test->priv = t;
	return 0;
}

/* For the tests which do not look at switching */
static int iopf_test_init_queued(struct kunit *test)
{
	struct iopf_test *t;

	iopf_test_init(test);
	t = test->priv;
	KUNIT_ASSERT_EQ(test, iopf_queue_add_device(t->queue, &t->dev), 0);
	return 0;
}

static void iopf_test_exit(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	if (test_param(t))
		iopf_queue_remove_device(t->queue, &t->dev);
	for (i = 0; i < min(t->nr_groups, MAX_GROUPS); i++)
		if (t->group[i])
			iopf_free_group(t->group[i]);
	iopf_queue_free(t->queue);
}

static void test_single(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_group *group;

	KUNIT_EXPECT_EQ(test, report(t, 7, 0, LAST, 0x1000), 0);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	group = t->group[0];
	KUNIT_EXPECT_EQ(test, group->fault_count, 1);
	KUNIT_EXPECT_PTR_EQ(test, group->attach_handle, &t->handle);
	KUNIT_EXPECT_EQ(test, group->last_fault.fault.prm.addr, 0x1000);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);

	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
}

static void test_order(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_fault *iopf;
	u64 addr = 0;

	report(t, 1, 0, 0, 0x0000);
	report(t, 2, 0, 0, 0xf000);
	report(t, 1, 0, 0, 0x1000);
	report(t, 1, 0, 0, 0x2000);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 4);
	report(t, 1, 0, LAST, 0x3000);

	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count, 4);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	list_for_each_entry(iopf, &t->group[0]->faults, list) {
		KUNIT_EXPECT_EQ(test, iopf->fault.prm.addr, addr);
		addr += 0x1000;
	}
	KUNIT_EXPECT_EQ(test, addr, 0x4000);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
}

/* The same index for two PASIDs and without PASID makes three groups. */
static void test_group_identity(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	unsigned int i;

	report(t, 5, 1, PASID, 0x1000);
	report(t, 5, 2, PASID, 0x2000);
	report(t, 5, 2, PASID, 0x3000);
	/* Without PASID the field means nothing. */
	report(t, 5, 1, 0, 0x4000);
	report(t, 5, 2, 0, 0x5000);
	report(t, 5, 3, 0, 0x6000);
	report(t, 5, 1, PASID | LAST, 0x7000);
	report(t, 5, 2, PASID | LAST, 0x8000);
	report(t, 5, 0, LAST, 0x9000);

	KUNIT_ASSERT_EQ(test, t->nr_groups, 3);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, t->group[i]->fault_count, i + 2);
		answer_and_free(t, i, IOMMU_PAGE_RESP_SUCCESS);
	}
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 3);
	KUNIT_EXPECT_EQ(test, t->answer[1].pasid, 2);
	KUNIT_EXPECT_TRUE(test, t->answer[1].flags & PASID);
	KUNIT_EXPECT_FALSE(test, t->answer[2].flags & PASID);
}

/* The index may be used again before the first group was answered. */
static void test_same_index_twice(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 9, 0, LAST, 0x1000);
	report(t, 9, 0, 0, 0x2000);
	report(t, 9, 0, LAST, 0x3000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 2);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count, 1);
	KUNIT_EXPECT_EQ(test, t->group[1]->fault_count, 2);
	answer_and_free(t, 1, IOMMU_PAGE_RESP_INVALID);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 2);
	expect_answer(test, 0, 9, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 1, 9, IOMMU_PAGE_RESP_SUCCESS);
}

static void test_malformed(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	/* In the middle: refused as a whole, with the last one. */
	report(t, 3, 0, 0, 0x1000);
	report(t, 3, 0, 0, 0x2000);
	report_malformed(t, 3, 0, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	report(t, 3, 0, 0, 0x3000);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	KUNIT_EXPECT_EQ(test, report(t, 3, 0, LAST, 0x4000), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 3, IOMMU_PAGE_RESP_INVALID);

	/* As the first, and as the last. */
	report_malformed(t, 4, 0, 0);
	report(t, 4, 0, LAST, 0x1000);
	expect_answer(test, 1, 4, IOMMU_PAGE_RESP_INVALID);
	report(t, 5, 0, 0, 0x1000);
	report_malformed(t, 5, 0, LAST);
	expect_answer(test, 2, 5, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 0);

	/* Nothing of it sticks. */
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	report(t, 3, 0, LAST, 0x1000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count, 1);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 4);
}

static void test_bound(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < IOPF_MAX_PARTIAL; i++)
		KUNIT_ASSERT_EQ(test, report(t, i % 4, 0, 0, i * 0x1000), 0);
	KUNIT_EXPECT_EQ(test, report(t, 0, 0, 0, 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, report(t, 4, 0, 0, 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, IOPF_MAX_PARTIAL);

	/* No room to remember this one. It will be asked for again. */
	report_malformed(t, 4, 0, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, IOPF_MAX_PARTIAL);
	/* This one is known, and gets smaller by it. */
	report_malformed(t, 3, 0, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial,
			IOPF_MAX_PARTIAL * 3 / 4 + 1);

	/* Last requests always get through. */
	report(t, 0, 0, LAST, 0);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count,
			IOPF_MAX_PARTIAL / 4 + 1);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);

	iopf_queue_discard_partial(t->queue);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&test_param(t)->partial));
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
}

static void test_discard_one_pasid(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 1, 1, PASID, 0x1000);
	report(t, 1, 2, PASID, 0x1000);
	report(t, 1, 0, 0, 0x1000);
	iopf_partial_discard(test_param(t), 1);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 2);
	iopf_partial_discard(test_param(t), IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	report(t, 1, 2, PASID | LAST, 0x2000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count, 2);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
}

static void test_no_handler(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, __report(t, 1, 0, 0, 0x1000, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	/* What is left from the time when there was one is dropped. */
	report(t, 1, 0, 0, 0x1000);
	KUNIT_EXPECT_EQ(test, __report(t, 1, 0, LAST, 0x1000, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
}

/* The work that answers later has nothing to do before the test wants it. */
static void stop_the_clock(struct iopf_test *t)
{
	test_param(t)->backoff.delay = 3600 * HZ;
}

static void let_time_pass(struct iopf_test *t)
{
	flush_delayed_work(&test_param(t)->backoff.work);
}

static void test_handler_fails(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->handler_ret = -EPIPE;
	report(t, 1, 0, 0, 0x1000);
	report(t, 1, 0, LAST, 0x2000);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_TRUE(test, list_empty(&test_param(t)->faults));
}

/* The device shall try again, but not at once, and never stop for this. */
static void test_back_off(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iommu_fault_param *param;
	unsigned int i;

	stop_the_clock(t);
	t->handler_ret = -ENOMEM;
	for (i = 0; i < IOPF_MAX_BACKOFF; i++)
		report(t, i, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_groups, 0);
	/* There is no memory for more than so many. */
	report(t, 100, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 100, IOMMU_PAGE_RESP_SUCCESS);

	let_time_pass(t);
	KUNIT_EXPECT_EQ(test, t->nr_answers, IOPF_MAX_BACKOFF + 1);
	expect_answer(test, 1, 0, IOMMU_PAGE_RESP_SUCCESS);

	/* Once more, now the device goes. Nobody comes back to it later. */
	t->nr_answers = 0;
	param = iopf_get_dev_fault_param(&t->dev);
	report(t, 7, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	iopf_queue_remove_device(t->queue, &t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_FALSE(test, cancel_delayed_work_sync(&param->backoff.work));
	iopf_put_dev_fault_param(param);
}

static unsigned long counted(struct iopf_test *t, enum iopf_stat_counter what)
{
	return test_param(t)->stat.count[what];
}

/* So many requests, groups, refusals, and answers of each code */
static void expect_counts(struct kunit *test, unsigned int requests,
			  unsigned int groups, unsigned int refused,
			  unsigned int success, unsigned int invalid)
{
	struct iopf_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_REQUESTS), requests);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_GROUPS), groups);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_REFUSED), refused);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_SUCCESS), success);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_INVALID), invalid);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_FAILURE), 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, success + invalid);
}

static unsigned long counted_latencies(const struct iopf_stat *stat)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < IOPF_STAT_BUCKETS; i++)
		sum += stat->latency[i];
	return sum;
}

/* Whatever becomes of a request, it is counted once, and so is its answer. */
static void test_counters(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_batch *batch = kunit_kzalloc(test, sizeof(*batch),
						 GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, batch);
	report(t, 1, 0, 0, 0x1000);
	report(t, 1, 0, LAST, 0x2000);
	report(t, 2, 0, LAST, 0x3000);
	expect_counts(test, 3, 2, 0, 0, 0);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	iopf_batch_add(batch, t->group[1], IOMMU_PAGE_RESP_INVALID);
	t->group[1] = NULL;
	iopf_batch_flush(batch);
	expect_counts(test, 3, 2, 0, 1, 1);
	KUNIT_EXPECT_EQ(test, counted_latencies(&test_param(t)->stat), 2);

	/* Nobody handles these, or may. */
	__report(t, 3, 0, LAST, 0x1000, NULL);
	report_malformed(t, 3, 0, LAST);
	expect_counts(test, 5, 2, 2, 1, 3);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_DROPPED), 0);

	/* These are forgotten: no handler, an overflow, a reset. */
	__report(t, 3, 0, 0, 0x1000, NULL);
	report(t, 4, 0, 0, 0x1000);
	report(t, 4, 0, 0, 0x2000);
	iopf_queue_overflow(t->queue);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_DROPPED), 3);
	report(t, 5, 0, LAST, 0x1000);
	iommu_iopf_reset_prepare(&t->dev);
	report(t, 6, 0, LAST, 0x1000);
	report_malformed(t, 6, 0, LAST);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_DROPPED), 5);
	/* The reset has answered the one before it. */
	expect_counts(test, 11, 3, 2, 1, 4);
	KUNIT_EXPECT_EQ(test, counted_latencies(&test_param(t)->stat), 3);
}

/* Reasons for which a handler, or who reads its queue, leaves a group to us */
static void test_counters_of_handler(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	stop_the_clock(t);
	t->handler_ret = -ENOSPC;
	report(t, 1, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_LOST), 1);
	t->handler_ret = -EPIPE;
	report(t, 2, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_LOST), 1);
	expect_counts(test, 2, 2, 0, 0, 2);

	/* The answer is counted when it is sent. */
	t->handler_ret = -ENOMEM;
	report(t, 3, 0, LAST, 0x1000);
	expect_counts(test, 3, 3, 0, 0, 2);
	let_time_pass(t);
	expect_counts(test, 3, 3, 0, 1, 2);

	t->handler_ret = 0;
	report(t, 4, 0, LAST, 0x1000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	iopf_group_timed_out(t->group[0]);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_TIMED_OUT), 1);
	expect_counts(test, 4, 4, 0, 1, 3);
	KUNIT_EXPECT_EQ(test, counted_latencies(&test_param(t)->stat), 3);
}

/* A bucket for each power of two, the last one for all that took longer */
static void test_latency(struct kunit *test)
{
	static const struct {
		u64 ns;
		unsigned int bucket;
	} cases[] = {
		{ 0, 0 }, { 1, 0 }, { 2, 1 }, { 3, 1 }, { 4, 2 }, { 1023, 9 },
		{ 1024, 10 }, { 1ULL << (IOPF_STAT_BUCKETS - 1),
				IOPF_STAT_BUCKETS - 1 },
		{ U64_MAX, IOPF_STAT_BUCKETS - 1 },
	};
	struct iopf_test *t = test->priv;
	struct iommu_fault_param *param = test_param(t);
	unsigned long *latency = param->stat.latency;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(latency, 0, sizeof(param->stat.latency));
		mutex_lock(&param->lock);
		iopf_stat_latency(param, cases[i].ns);
		mutex_unlock(&param->lock);
		KUNIT_EXPECT_EQ(test, latency[cases[i].bucket], 1);
	}
	/* An answer that took its time is found in a bucket of that time. */
	memset(latency, 0, sizeof(param->stat.latency));
	report(t, 1, 0, LAST, 0x1000);
	msleep(20);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	for (i = 0; i < ilog2(20 * NSEC_PER_MSEC); i++)
		KUNIT_EXPECT_EQ(test, latency[i], 0);
	KUNIT_EXPECT_EQ(test, counted_latencies(&param->stat), 1);
}

/* The queue keeps the sums of devices that have left it. */
static void test_counters_of_queue(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_stat *left = &t->queue->stat.left;
	unsigned int i;

	for (i = 1; i <= 2; i++) {
		report(t, 1, 0, 0, 0x1000);
		report(t, 1, 0, LAST, 0x2000);
		iopf_queue_remove_device(t->queue, &t->dev);
		KUNIT_EXPECT_EQ(test, left->count[IOPF_STAT_REQUESTS], 2 * i);
		KUNIT_EXPECT_EQ(test, left->count[IOPF_STAT_GROUPS], i);
		KUNIT_EXPECT_EQ(test, left->count[IOPF_STAT_INVALID], i);
		KUNIT_EXPECT_EQ(test, counted_latencies(left), i);
		KUNIT_ASSERT_EQ(test, iopf_queue_add_device(t->queue, &t->dev),
				0);
		KUNIT_EXPECT_EQ(test, counted(t, IOPF_STAT_REQUESTS), 0);
	}
	KUNIT_EXPECT_STREQ(test, t->queue->stat.name, "iopf-kunit");
}

/* A device that wants its answers without PASID has one group of an index. */
static void test_index_alone(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 5, 1, PASID_NOT_BACK, 0x1000);
	report(t, 5, 1, PASID_NOT_BACK | LAST, 0x2000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->group[0]->fault_count, 2);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);

	/* It mixes two: with which of them would the answer agree? */
	report(t, 5, 1, PASID_NOT_BACK, 0x1000);
	report(t, 5, 2, PASID_NOT_BACK, 0x1000);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	KUNIT_EXPECT_EQ(test, report(t, 5, 1, PASID_NOT_BACK | LAST, 0x2000),
			-EINVAL);
	report(t, 6, 1, PASID_NOT_BACK, 0x1000);
	KUNIT_EXPECT_EQ(test, report(t, 6, 0, LAST, 0x2000), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 3);
	expect_answer(test, 1, 5, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 2, 6, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
}

/* A device that asks without end, of one index, and is never answered */
static void test_group_bound(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < 100000; i++)
		report(t, 1, 0, LAST, 0x1000);
	KUNIT_EXPECT_EQ(test, t->nr_groups, IOPF_MAX_GROUPS);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_groups, IOPF_MAX_GROUPS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 100000 - IOPF_MAX_GROUPS);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_INVALID);

	/* A reset answers them, but they are with their handler as before. */
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), -ENOSPC);
	iopf_free_group(t->group[--t->nr_groups]);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), 0);
}

/* A device that gets no answers, and asks for more all the same */
static void test_request_bound(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	unsigned int i, kept = 0;

	for (i = 0; i < 4 * IOPF_MAX_REQUESTS; i++) {
		report(t, 1, 0, 0, 0x1000 * i);
		if (i % 512 == 511)
			report(t, 1, 0, LAST, 0x1000 * i);
	}
	KUNIT_ASSERT_EQ(test, t->nr_groups, 4 * IOPF_MAX_REQUESTS / 512);
	for (i = 0; i < t->nr_groups; i++)
		kept += t->group[i]->fault_count - 1;
	KUNIT_EXPECT_EQ(test, kept, IOPF_MAX_REQUESTS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, 0, 0x1000), -ENOSPC);
	report_malformed(t, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);

	/* There is room again for what was in a group that is answered and freed. */
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	for (i = 0; i < 512; i++)
		KUNIT_ASSERT_EQ(test, report(t, 1, 0, 0, 0x1000), 0);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, 0, 0x1000), -ENOSPC);
}

static void test_batch(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_batch *batch = kunit_kzalloc(test, sizeof(*batch),
						 GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, batch);
	for (i = 0; i < IOPF_BATCH_SIZE; i++)
		report(t, i, 0, LAST, 0x1000);
	/* This one is answered in the meantime. */
	iopf_group_response(t->group[3], IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, t->nr_submissions, 1);
	for (i = 0; i < IOPF_BATCH_SIZE; i++) {
		iopf_batch_add(batch, t->group[i], IOMMU_PAGE_RESP_SUCCESS);
		t->group[i] = NULL;
	}
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	iopf_batch_flush(batch);
	KUNIT_EXPECT_EQ(test, t->nr_submissions, 2);
	KUNIT_EXPECT_EQ(test, t->nr_answers, IOPF_BATCH_SIZE);
	expect_answer(test, 0, 3, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 1, 0, IOMMU_PAGE_RESP_SUCCESS);
	expect_answer(test, IOPF_BATCH_SIZE - 1, IOPF_BATCH_SIZE - 1,
		      IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_groups, 0);
	iopf_batch_flush(batch);
	KUNIT_EXPECT_EQ(test, t->nr_submissions, 2);

	/* A driver that answers one by one */
	t->ops.page_response_batch = NULL;
	t->ops.page_response = test_page_response;
	t->nr_groups = 0;
	for (i = 0; i < 2; i++) {
		report(t, i, 0, LAST, 0x1000);
		iopf_batch_add(batch, t->group[i], IOMMU_PAGE_RESP_SUCCESS);
		t->group[i] = NULL;
	}
	iopf_batch_flush(batch);
	KUNIT_EXPECT_EQ(test, t->nr_submissions, 4);
	KUNIT_EXPECT_EQ(test, t->nr_answers, IOPF_BATCH_SIZE + 2);
	/* Else the device could never leave. */
	KUNIT_EXPECT_EQ(test, atomic_xchg(&test_param(t)->answering, 0), 0);
}

static void remove_work(struct work_struct *work)
{
	struct iopf_test *t = container_of(work, struct iopf_test, work);

	iopf_queue_remove_device(t->queue, &t->dev);
	WRITE_ONCE(t->work_done, true);
}

/* In the middle of an answer the device is told to leave its queue. */
static void start_remove(struct iopf_test *t)
{
	t->at_answer = NULL;
	INIT_WORK(&t->work, remove_work);
	schedule_work(&t->work);
	msleep(50);
	/* Else the IOMMU driver could find it gone. */
	t->handler_ret = READ_ONCE(t->work_done);
}

static void test_answer_keeps_device(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_batch *batch = kunit_kzalloc(test, sizeof(*batch),
						 GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, batch);
	report(t, 1, 0, LAST, 0x1000);
	iopf_batch_add(batch, t->group[0], IOMMU_PAGE_RESP_SUCCESS);
	t->group[0] = NULL;
	t->at_answer = start_remove;
	iopf_batch_flush(batch);
	flush_work(&t->work);
	KUNIT_EXPECT_EQ(test, t->handler_ret, 0);
	KUNIT_EXPECT_TRUE(test, t->work_done);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
}

static void test_overflow(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 1, 0, 0, 0x1000);
	report(t, 2, 1, PASID, 0x1000);
	report(t, 3, 0, LAST, 0x1000);
	iopf_queue_overflow(t->queue);
	KUNIT_EXPECT_EQ(test, t->queue->overflows, 1);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&test_param(t)->partial));
	/* Complete groups are as good as before. */
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	expect_answer(test, 0, 3, IOMMU_PAGE_RESP_SUCCESS);
}

static void test_remove_answers_once(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 1, 0, LAST, 0x1000);
	t->handler_dequeues = false;
	report(t, 2, 0, LAST, 0x2000);
	report(t, 3, 0, LAST, 0x3000);
	report(t, 4, 0, 0, 0x4000);
	answer_and_free(t, 2, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);

	iopf_queue_remove_device(t->queue, &t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 3);
	expect_answer(test, 1, 1, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 2, 2, IOMMU_PAGE_RESP_INVALID);

	/* The handlers still own the groups, but are late with the answer. */
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	answer_and_free(t, 1, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 3);
}

static void test_report_after_remove(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iommu_fault_param *param = iopf_get_dev_fault_param(&t->dev);
	struct iopf_fault evt = { .fault.prm = { .grpid = 6, .flags = LAST } };

	KUNIT_ASSERT_NOT_NULL(test, param);
	iopf_queue_remove_device(t->queue, &t->dev);

	/* One that had its reference before, and one that comes later */
	mutex_lock(&param->report_lock);
	KUNIT_EXPECT_EQ(test, iopf_report(param, &evt, test_find), -ENODEV);
	mutex_unlock(&param->report_lock);
	iopf_put_dev_fault_param(param);
	KUNIT_EXPECT_EQ(test, report(t, 7, 0, LAST, 0x1000), -ENODEV);
	KUNIT_EXPECT_EQ(test, report(t, 8, 0, 0, 0x1000), -ENODEV);
	report_malformed(t, 9, 0, LAST);

	/* The handle that was found before may be freed. */
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 3);
	expect_answer(test, 0, 6, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 1, 7, IOMMU_PAGE_RESP_INVALID);
	expect_answer(test, 2, 9, IOMMU_PAGE_RESP_INVALID);
}

/* Answered before a reset, dropped while it lasts, and on again after that */
static void test_reset(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 1, 0, LAST, 0x1000);
	report(t, 2, 0, 0, 0x1000);
	iommu_iopf_reset_prepare(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 1);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);

	/* An answer to this would come when the index is in use again. */
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), -ESHUTDOWN);
	report(t, 3, 0, 0, 0x1000);
	report_malformed(t, 1, 0, LAST);
	/* One kind of reset is part of another. */
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 1);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 2);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 1);

	/* The index is in use again when the old answer comes. */
	report(t, 1, 0, LAST, 0x2000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 2);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	answer_and_free(t, 1, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 2);
	expect_answer(test, 1, 1, IOMMU_PAGE_RESP_SUCCESS);

	/* A done too many, and a device that is on no queue or has no IOMMU */
	iommu_iopf_reset_done(&t->dev);
	iopf_queue_remove_device(t->queue, &t->dev);
	iommu_iopf_reset_prepare(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 2);
	iommu_iopf_reset_done(&t->dev);
	t->dev.iommu = NULL;
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	t->dev.iommu = &t->dev_iommu;
}

static void test_sync_work(struct work_struct *work)
{
	struct iopf_test *t = container_of(work, struct iopf_test, work);

	/* Let the other side begin to wait. It must, but may also be late. */
	msleep(20);
	t->work_done = true;
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
}

static void test_sync_waits_for_handler(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->handler_dequeues = false;
	report(t, 1, 0, LAST, 0x1000);
	report(t, 2, 0, 0, 0x1000);
	KUNIT_ASSERT_EQ(test, t->nr_groups, 1);

	INIT_WORK(&t->work, test_sync_work);
	schedule_work(&t->work);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_TRUE(test, t->work_done);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
	flush_work(&t->work);
}

static void test_busy_work(struct work_struct *work)
{
	struct iopf_test *t = container_of(work, struct iopf_test, work);

	msleep(20);
	WRITE_ONCE(t->work_done, true);
	/* Answered by somebody else, and only now done with the handle */
	iopf_free_group(t->group[0]);
	t->group[0] = NULL;
}

/* The handler is at work on a group that was answered in its place. */
static void test_sync_after_reset(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->handler_dequeues = false;
	report(t, 1, 0, LAST, 0x1000);
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	INIT_WORK(&t->work, test_busy_work);
	schedule_work(&t->work);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->work_done));
	flush_work(&t->work);
}

static void test_sync_after_remove(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->handler_dequeues = false;
	report(t, 1, 0, LAST, 0x1000);
	iopf_queue_remove_device(t->queue, &t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	INIT_WORK(&t->work, test_busy_work);
	schedule_work(&t->work);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->work_done));
	flush_work(&t->work);
}

/* Where user space owns the PASIDs they all belong to the domain of the RID. */
static void test_sync_user_pasids(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	report(t, 1, 5, PASID, 0x1000);
	report(t, 1, 0, 0, 0x1000);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	t->ops.user_pasid_table = 1;
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 1);
	t->domain.type = IOMMU_DOMAIN_NESTED;
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_EQ(test, test_param(t)->nr_partial, 0);
}

/* Something that must not go on before the test lets it */
struct iopf_late {
	struct iopf_test *t;
	struct completion begun, go_on, done;
	void (*func)(struct iopf_test *t);
};

static struct iopf_late *late;

static void late_init(struct iopf_late *l, struct iopf_test *t,
		      void (*func)(struct iopf_test *t))
{
	l->t = t;
	l->func = func;
	init_completion(&l->begun);
	init_completion(&l->go_on);
	init_completion(&l->done);
}

static int late_thread(void *data)
{
	struct iopf_late *l = data;

	l->func(l->t);
	complete(&l->done);
	return 0;
}

static void late_start(struct kunit *test, struct iopf_late *l)
{
	struct task_struct *task = kthread_run(late_thread, l, "iopf-kunit");

	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
}

/* The handler, or the drain of a reset, is where the test has stopped it. */
static void late_stop(void)
{
	complete(&late->begun);
	wait_for_completion(&late->go_on);
}

static int late_handler(struct iopf_group *group)
{
	/* From now on the handle does not count as busy for the group. */
	iopf_group_dequeue(group);
	late_stop();
	return -EPIPE;
}

static void late_report(struct iopf_test *t)
{
	report(t, 1, 0, LAST, 0x1000);
}

static void late_sync(struct iopf_test *t)
{
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
}

static void late_drain(struct device *dev)
{
	late_stop();
}

static void late_reset(struct iopf_test *t)
{
	iommu_iopf_reset_prepare(&t->dev);
}

static void late_release(struct iopf_test *t)
{
	iopf_dev_release();
}

/* @second must wait until @first is over, which has begun before. */
static void expect_waits(struct kunit *test, void (*first)(struct iopf_test *t),
			 void (*second)(struct iopf_test *t))
{
	struct iopf_late *l = kunit_kcalloc(test, 2, sizeof(*l), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, l);
	late_init(&l[0], test->priv, first);
	late_init(&l[1], test->priv, second);
	late = &l[0];
	late_start(test, &l[0]);
	wait_for_completion(&l[0].begun);
	late_start(test, &l[1]);
	/* However late it is: it must not come to an end. */
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&l[1].done, HZ / 20));
	complete_all(&l[0].go_on);
	wait_for_completion(&l[0].done);
	wait_for_completion(&l[1].done);
}

static void check_report_lock(struct iopf_test *t)
{
	t->work_done = mutex_is_locked(&test_param(t)->report_lock);
}

/* From the look-up of the handle on, nobody may take it away. */
static void test_report_is_locked(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = { .grpid = 6, .flags = LAST },
		},
	};

	t->dev.iommu_group = iommu_group_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->dev.iommu_group));
	t->at_answer = check_report_lock;
	KUNIT_EXPECT_EQ(test, iommu_report_device_fault(&t->dev, &evt), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	KUNIT_EXPECT_TRUE(test, t->work_done);
	iommu_group_put(t->dev.iommu_group);
	t->dev.iommu_group = NULL;
}

/* The handler still looks at the handle, though it will not answer at once. */
static void test_sync_waits_for_report(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->domain.iopf_handler = late_handler;
	expect_waits(test, late_report, late_sync);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
}

/* A reset uses what belongs to a device that is about to be removed. */
static void test_release_waits(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->queue->drain = late_drain;
	expect_waits(test, late_reset, late_release);
	t->queue->drain = NULL;
	iommu_iopf_reset_done(&t->dev);
}

/* Must return, which is all there is to test. */
static void test_sync_leaves_others(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iommu_attach_handle other = { .domain = &t->domain };

	report(t, 1, 0, LAST, 0x1000);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	t->handler_dequeues = false;
	__report(t, 2, 1, PASID | LAST, 0x1000, &other);
	iopf_dev_sync(&t->dev, IOMMU_NO_PASID, &t->handle);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	answer_and_free(t, 1, IOMMU_PAGE_RESP_SUCCESS);
	/* The end of a group that was dequeued before does not count again. */
	KUNIT_EXPECT_EQ(test, atomic_read(&t->handle.iopf_busy), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&other.iopf_busy), 0);
}

static void test_response_codes(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, iopf_resp_to_pcie(IOMMU_PAGE_RESP_SUCCESS), 0);
	KUNIT_EXPECT_EQ(test, iopf_resp_to_pcie(IOMMU_PAGE_RESP_INVALID), 1);
	KUNIT_EXPECT_EQ(test, iopf_resp_to_pcie(IOMMU_PAGE_RESP_FAILURE), 0xf);
	KUNIT_EXPECT_EQ(test, iopf_resp_to_pcie(0xf), 0xf);
	KUNIT_EXPECT_EQ(test, iopf_resp_to_pcie(U32_MAX), 0xf);
}

static void test_enable_counts(struct kunit *test)
{
	struct iopf_test *t = test->priv;
	struct iommu_domain plain = {};

	/* A driver and a domain, in either order */
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain), 0);
	iopf_attach_finish(&t->dev, &t->domain);
	KUNIT_EXPECT_EQ(test, t->enabled, 1);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, t->disabled, 0);

	/* From one domain with handler to the next: still on */
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain), 0);
	iopf_attach_finish(&t->dev, &t->domain);
	KUNIT_EXPECT_EQ(test, t->dev_iommu.iopf_users, 1);

	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &plain), 0);
	KUNIT_EXPECT_EQ(test, t->disabled, 0);
	iopf_attach_finish(&t->dev, &plain);
	KUNIT_EXPECT_EQ(test, t->disabled, 1);

	/* An attach that fails leaves things as they were. */
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain), 0);
	KUNIT_EXPECT_EQ(test, t->enabled, 2);
	iopf_attach_finish(&t->dev, &plain);
	KUNIT_EXPECT_EQ(test, t->disabled, 2);
	KUNIT_EXPECT_EQ(test, t->dev_iommu.iopf_users, 0);

	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), -EINVAL);
}

static void test_enable_refused(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	t->enable_ret = -ENOTBLK;
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain),
			-ENOTBLK);
	KUNIT_EXPECT_EQ(test, t->dev_iommu.iopf_users, 0);
	t->enable_ret = 0;

	/* Accepted by the driver, but nothing would ever be delivered. */
	t->enable_without_queue = true;
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, t->enabled, 1);
	KUNIT_EXPECT_EQ(test, t->disabled, 1);
	/* Drivers which ask for the feature know what they do. */
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);

	t->ops.dev_enable_feat = NULL;
	KUNIT_EXPECT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain),
			-ENODEV);
	t->dev.iommu = NULL;
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), -ENODEV);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), -EBUSY);
	t->dev.iommu = &t->dev_iommu;
}

/* Faults that go on in the middle of a reset begin behind the fence. */
static void test_enable_in_reset(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	iommu_iopf_reset_prepare(&t->dev);
	KUNIT_ASSERT_EQ(test, iopf_dev_get(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), -ESHUTDOWN);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, report(t, 1, 0, LAST, 0x1000), 0);
	KUNIT_EXPECT_EQ(test, t->nr_groups, 1);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);
}

/* A device that does not react is fenced until a reset has helped. */
static void test_fence(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, iopf_dev_get(&t->dev), 0);
	report(t, 1, 0, LAST, 0x1000);
	/* It was reset before the driver came to say so. */
	iopf_dev_fence(&t->dev, &t->silent);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	t->silent = true;
	iopf_dev_fence(&t->dev, &t->silent);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_INVALID);
	iopf_dev_fence(&t->dev, &t->silent);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 1);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), -EIO);

	/* A reset that does not help leaves it as it is. */
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 1);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), -EIO);

	/* One that does need not be the outermost, which is waited for. */
	iommu_iopf_reset_prepare(&t->dev);
	iommu_iopf_reset_prepare(&t->dev);
	t->silent = false;
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 2);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 1);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 2);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);

	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);

	/* The driver, which has released it, is not asked any more. */
	iopf_dev_end_resets(&t->dev);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 3);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);
}

/* One that has its power again may be heard, if nobody is resetting it. */
static void test_device_back(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, iopf_dev_get(&t->dev), 0);
	t->silent = true;
	iopf_dev_fence(&t->dev, &t->silent);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 1);

	iommu_iopf_device_back(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 1);
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), -EIO);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), -ESHUTDOWN);

	t->silent = false;
	iommu_iopf_device_back(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 2);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 2);
	KUNIT_EXPECT_EQ(test, report(t, 2, 0, LAST, 0x1000), 0);
	/* What has not been off need not be waited for. */
	iommu_iopf_device_back(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 2);

	/* It is in the middle of somebody's reset, which goes on. */
	t->silent = true;
	iopf_dev_fence(&t->dev, &t->silent);
	iommu_iopf_reset_prepare(&t->dev);
	t->silent = false;
	iommu_iopf_device_back(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 3);
	KUNIT_EXPECT_EQ(test, report(t, 3, 0, LAST, 0x1000), -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, iopf_dev_get(&t->dev), 0);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);
	iommu_iopf_reset_done(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_drains, 4);
	KUNIT_EXPECT_EQ(test, report(t, 3, 0, LAST, 0x1000), 0);

	iopf_dev_end_resets(&t->dev);
	iommu_iopf_device_back(&t->dev);
	KUNIT_EXPECT_EQ(test, t->resets_done, 5);
	KUNIT_EXPECT_EQ(test, iopf_dev_put(&t->dev), 0);
}

/* When the last user goes, what is open is answered. */
static void test_disable_answers(struct kunit *test)
{
	struct iopf_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, iopf_attach_prepare(&t->dev, &t->domain), 0);
	report(t, 1, 0, LAST, 0x1000);
	report(t, 2, 0, LAST, 0x2000);
	answer_and_free(t, 0, IOMMU_PAGE_RESP_SUCCESS);
	iopf_attach_finish(&t->dev, NULL);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 2);
	expect_answer(test, 0, 1, IOMMU_PAGE_RESP_SUCCESS);
	expect_answer(test, 1, 2, IOMMU_PAGE_RESP_INVALID);
	answer_and_free(t, 1, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 2);
}

static struct kunit_case iopf_core_cases[] = {
	KUNIT_CASE(test_single),
	KUNIT_CASE(test_order),
	KUNIT_CASE(test_group_identity),
	KUNIT_CASE(test_same_index_twice),
	KUNIT_CASE(test_malformed),
	KUNIT_CASE(test_bound),
	KUNIT_CASE(test_discard_one_pasid),
	KUNIT_CASE(test_no_handler),
	KUNIT_CASE(test_handler_fails),
	KUNIT_CASE(test_back_off),
	KUNIT_CASE(test_counters),
	KUNIT_CASE(test_counters_of_handler),
	KUNIT_CASE(test_latency),
	KUNIT_CASE(test_counters_of_queue),
	KUNIT_CASE(test_index_alone),
	KUNIT_CASE(test_group_bound),
	KUNIT_CASE(test_request_bound),
	KUNIT_CASE(test_batch),
	KUNIT_CASE(test_answer_keeps_device),
	KUNIT_CASE(test_overflow),
	KUNIT_CASE(test_remove_answers_once),
	KUNIT_CASE(test_report_after_remove),
	KUNIT_CASE(test_reset),
	KUNIT_CASE(test_sync_waits_for_handler),
	KUNIT_CASE(test_sync_after_reset),
	KUNIT_CASE(test_sync_after_remove),
	KUNIT_CASE(test_sync_user_pasids),
	KUNIT_CASE(test_sync_leaves_others),
	KUNIT_CASE(test_report_is_locked),
	KUNIT_CASE(test_sync_waits_for_report),
	KUNIT_CASE(test_release_waits),
	KUNIT_CASE(test_response_codes),
	{}
};

static struct kunit_suite iopf_core_suite = {
	.name = "iopf-core",
	.init = iopf_test_init_queued,
	.exit = iopf_test_exit,
	.test_cases = iopf_core_cases,
};

static struct kunit_case iopf_enable_cases[] = {
	KUNIT_CASE(test_enable_counts),
	KUNIT_CASE(test_enable_refused),
	KUNIT_CASE(test_enable_in_reset),
	KUNIT_CASE(test_fence),
	KUNIT_CASE(test_device_back),
	KUNIT_CASE(test_disable_answers),
	{}
};

static struct kunit_suite iopf_enable_suite = {
	.name = "iopf-enable",
	.init = iopf_test_init,
	.exit = iopf_test_exit,
	.test_cases = iopf_enable_cases,
};

kunit_test_suites(&iopf_core_suite, &iopf_enable_suite);

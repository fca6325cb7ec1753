// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: what it counts of devices and of queues
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device is counted from when its page faults are turned on until they are
 * turned off. What it has counted then goes into the sums of its queue, which
 * only grow. All of that is in one file of debugfs, "iopf";
 * Documentation/ABI/testing/debugfs-iopf describes it.
 *
 * Locks, outer to inner: iopf_stat_mutex, iopf_queue::lock,
 * iommu_fault_param::lock. No lock is taken, and nothing is atomic, only to count:
 * whoever counts holds iommu_fault_param::lock, or report_lock for requests.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "iopf-core.h"
#include "iopf-stat.h"

/* All queues. Held while they are shown, so that they stay. */
static DEFINE_MUTEX(iopf_stat_mutex);
static LIST_HEAD(iopf_stat_queues);

static const char *const iopf_stat_names[IOPF_STAT_NR] = {
	[IOPF_STAT_REQUESTS] = "requests",
	[IOPF_STAT_GROUPS] = "groups",
	[IOPF_STAT_REFUSED] = "refused",
	[IOPF_STAT_SUCCESS] = "success",
	[IOPF_STAT_INVALID] = "invalid",
	[IOPF_STAT_FAILURE] = "failure",
	[IOPF_STAT_DROPPED] = "dropped",
	[IOPF_STAT_LOST] = "lost",
	[IOPF_STAT_TIMED_OUT] = "timed_out",
};

/**
 * iopf_stat_add_queue() - Show a queue
 * @queue: the queue, set up
 * @name: its name; cut if it is long
 *
 * Context: may sleep.
 */
void iopf_stat_add_queue(struct iopf_queue *queue, const char *name)
{
	strscpy(queue->stat.name, name, sizeof(queue->stat.name));
	mutex_lock(&iopf_stat_mutex);
	list_add_tail(&queue->stat.node, &iopf_stat_queues);
	mutex_unlock(&iopf_stat_mutex);
}

/**
 * iopf_stat_del_queue() - Do not show a queue any more
 * @queue: the queue
 *
 * When this returns nobody looks at it.
 *
 * Context: may sleep.
 */
void iopf_stat_del_queue(struct iopf_queue *queue)
{
	mutex_lock(&iopf_stat_mutex);
	list_del(&queue->stat.node);
	mutex_unlock(&iopf_stat_mutex);
}

/**
 * iopf_stat_request() - Count a request
 * @param: fault data of the device
 *
 * Context: iommu_fault_param::report_lock is held, which is enough.
 */
void iopf_stat_request(struct iommu_fault_param *param)
{
	unsigned long *count = &param->stat.count[IOPF_STAT_REQUESTS];

	lockdep_assert_held(&param->report_lock);

	/* Who shows it does not hold that lock, for which a report may wait. */
	WRITE_ONCE(*count, *count + 1);
}

/**
 * iopf_stat_count() - Count something else
 * @param: fault data of the device
 * @what: what it is
 * @nr: how often
 *
 * Context: iommu_fault_param::lock is held.
 */
void iopf_stat_count(struct iommu_fault_param *param,
		     enum iopf_stat_counter what, unsigned int nr)
{
	lockdep_assert_held(&param->lock);

	param->stat.count[what] += nr;
}

/**
 * iopf_stat_answer() - Count an answer
 * @param: fault data of the device
 * @code: the answer, of &enum iommu_page_response_code
 *
 * Context: iommu_fault_param::lock is held.
 */
void iopf_stat_answer(struct iommu_fault_param *param, u32 code)
{
	switch (code) {
	case IOMMU_PAGE_RESP_SUCCESS:
		iopf_stat_count(param, IOPF_STAT_SUCCESS, 1);
		break;
	case IOMMU_PAGE_RESP_INVALID:
		iopf_stat_count(param, IOPF_STAT_INVALID, 1);
		break;
	default:
		iopf_stat_count(param, IOPF_STAT_FAILURE, 1);
	}
}

/**
 * iopf_stat_latency() - Count how long the answer to a group took
 * @param: fault data of the device
 * @ns: nanoseconds since the last request of the group came
 *
 * Context: iommu_fault_param::lock is held.
 */
void iopf_stat_latency(struct iommu_fault_param *param, u64 ns)
{
	unsigned int bucket = min(ilog2(ns | 1), IOPF_STAT_BUCKETS - 1);

	lockdep_assert_held(&param->lock);

	param->stat.latency[bucket]++;
}

/* Add what has been counted for a device. */
static void iopf_stat_sum(struct iopf_stat *sum, struct iommu_fault_param *param)
{
	unsigned int i;

	mutex_lock(&param->lock);
	for (i = 0; i < IOPF_STAT_NR; i++)
		sum->count[i] += READ_ONCE(param->stat.count[i]);
	for (i = 0; i < IOPF_STAT_BUCKETS; i++)
		sum->latency[i] += param->stat.latency[i];
	mutex_unlock(&param->lock);
}

/**
 * iopf_stat_leave() - A device leaves its queue
 * @param: fault data of the device, for which nothing is counted any more
 *
 * Context: iopf_queue::lock is held.
 */
void iopf_stat_leave(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->queue->lock);

	iopf_stat_sum(&param->queue->stat.left, param);
}

static void iopf_stat_print(struct seq_file *seq, const struct iopf_stat *stat)
{
	unsigned int i;

	for (i = 0; i < IOPF_STAT_NR; i++)
		seq_printf(seq, "%s %lu\n", iopf_stat_names[i], stat->count[i]);
	for (i = 0; i < IOPF_STAT_BUCKETS; i++)
		if (stat->latency[i])
			seq_printf(seq, "latency %u %lu\n", i, stat->latency[i]);
}

static void iopf_stat_show_device(struct seq_file *seq,
				  struct iommu_fault_param *param)
{
	struct iopf_stat stat = {};
	unsigned int nr_open;

	iopf_stat_sum(&stat, param);
	mutex_lock(&param->lock);
	nr_open = param->nr_groups;
	mutex_unlock(&param->lock);

	seq_printf(seq, "device %s\nopen %u\n", dev_name(param->dev), nr_open);
	iopf_stat_print(seq, &stat);
}

static int iopf_stat_show(struct seq_file *seq, void *node)
{
	struct iopf_queue *queue = list_entry(node, struct iopf_queue,
					      stat.node);
	struct iommu_fault_param *param;
	struct iopf_stat sum;

	/* Keeps the devices on it, and those cannot go before they leave it. */
	mutex_lock(&queue->lock);
	sum = queue->stat.left;
	list_for_each_entry(param, &queue->devices, queue_list)
		iopf_stat_sum(&sum, param);
	seq_printf(seq, "queue %s\noverflows %u\n", queue->stat.name,
		   queue->overflows);
	iopf_stat_print(seq, &sum);
	list_for_each_entry(param, &queue->devices, queue_list)
		iopf_stat_show_device(seq, param);
	mutex_unlock(&queue->lock);
	return 0;
}

static void *iopf_stat_start(struct seq_file *seq, loff_t *pos)
{
	mutex_lock(&iopf_stat_mutex);
	return seq_list_start(&iopf_stat_queues, *pos);
}

static void *iopf_stat_next(struct seq_file *seq, void *node, loff_t *pos)
{
	return seq_list_next(node, &iopf_stat_queues, pos);
}

static void iopf_stat_stop(struct seq_file *seq, void *node)
{
	mutex_unlock(&iopf_stat_mutex);
}

static const struct seq_operations iopf_stat_sops = {
	.start = iopf_stat_start,
	.next = iopf_stat_next,
	.stop = iopf_stat_stop,
	.show = iopf_stat_show,
};
DEFINE_SEQ_ATTRIBUTE(iopf_stat);

static int __init iopf_stat_init(void)
{
	debugfs_create_file("iopf", 0400, NULL, NULL, &iopf_stat_fops);
	return 0;
}
late_initcall(iopf_stat_init);

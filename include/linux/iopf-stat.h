/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: what it counts of devices and of queues
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __LINUX_IOPF_STAT_H
#define __LINUX_IOPF_STAT_H

#include <linux/types.h>

struct iopf_group;

/**
 * enum iopf_stat_counter - What is counted
 * @IOPF_STAT_REQUESTS: page requests that the IOMMU driver reported
 * @IOPF_STAT_GROUPS: groups that went to a handler
 * @IOPF_STAT_REFUSED: last requests of groups that no handler has seen
 * @IOPF_STAT_SUCCESS: answers of this code
 * @IOPF_STAT_INVALID: answers of this code
 * @IOPF_STAT_FAILURE: answers of this code
 * @IOPF_STAT_DROPPED: requests that were forgotten without an answer; a
 *                     malformed group whose last request never came counts once
 * @IOPF_STAT_LOST: groups for which their fault queue had no room
 * @IOPF_STAT_TIMED_OUT: groups which user space did not answer in time
 * @IOPF_STAT_NR: how many counters there are
 *
 * Every group and every refused request has one answer:
 * groups + refused = success + invalid + failure, but for what is unanswered.
 */
enum iopf_stat_counter {
	IOPF_STAT_REQUESTS,
	IOPF_STAT_GROUPS,
	IOPF_STAT_REFUSED,
	IOPF_STAT_SUCCESS,
	IOPF_STAT_INVALID,
	IOPF_STAT_FAILURE,
	IOPF_STAT_DROPPED,
	IOPF_STAT_LOST,
	IOPF_STAT_TIMED_OUT,
	IOPF_STAT_NR
};

#define IOPF_STAT_BUCKETS	40

/**
 * struct iopf_stat - What a device has asked for, and was answered
 * @count: see &enum iopf_stat_counter
 * @latency: number of groups that were answered 2^n nanoseconds or more, and less
 *           than twice that, after their last request came. The first bucket has
 *           0 ns as well, the last one all that took longer
 *
 * The counters wrap.
 */
struct iopf_stat {
	unsigned long count[IOPF_STAT_NR];
	unsigned long latency[IOPF_STAT_BUCKETS];
};

/**
 * struct iopf_queue_stat - What is shown of a queue
 * @node: in the list of all queues
 * @name: of the queue
 * @left: sums over the devices that have left the queue
 */
struct iopf_queue_stat {
	struct list_head node;
	char name[32];
	struct iopf_stat left;
};

#ifdef CONFIG_IOMMU_IOPF
void iopf_group_read(struct iopf_group *group);
void iopf_group_timed_out(struct iopf_group *group);
#else
static inline void iopf_group_read(struct iopf_group *group)
{
}

static inline void iopf_group_timed_out(struct iopf_group *group)
{
}
#endif /* CONFIG_IOMMU_IOPF */

#endif /* __LINUX_IOPF_STAT_H */

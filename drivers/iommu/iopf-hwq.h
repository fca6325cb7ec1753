/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: the queues that IOMMUs put page requests into
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_HWQ_H
#define __IOPF_HWQ_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

struct iopf_hwq;
struct iopf_queue;

/* Largest entry there is: VT-d and SMMUv3 have 32 and 16 bytes, AMD 16 */
#define IOPF_HWQ_ENTRY_SIZE	32

/* The hardware gets slots back by that part of them, or when the queue is empty. */
#define IOPF_HWQ_HEAD_STEPS	16

/**
 * struct iopf_hwq_ops - What differs between the queues of IOMMUs
 * @tail: read the index behind the last entry, from the hardware
 * @set_head: tell the hardware the index of the first entry still in use
 * @handle: decode an entry and report it. May sleep
 * @match: is an entry a request of this requester and PASID? @pasid may be
 *         IOMMU_NO_PASID for requests without one, or IOPF_ANY_PASID
 * @overflown: does the hardware lose requests, because the queue was full?
 * @clear_overflow: let it take requests again. The queue is empty
 *
 * All but @handle are called with spin locks held.
 */
struct iopf_hwq_ops {
	u32 (*tail)(struct iopf_hwq *hwq);
	void (*set_head)(struct iopf_hwq *hwq, u32 head);
	void (*handle)(struct iopf_hwq *hwq, const void *entry);
	bool (*match)(const void *entry, u32 requester, u32 pasid);
	bool (*overflown)(struct iopf_hwq *hwq);
	void (*clear_overflow)(struct iopf_hwq *hwq);
};

/**
 * struct iopf_hwq - A queue of page requests, and how far it has been worked off
 * @ops: of the IOMMU driver
 * @ring: the entries, in memory that the hardware writes
 * @queue: the devices whose requests come this way, may be NULL
 * @entry_size: bytes of an entry, at most IOPF_HWQ_ENTRY_SIZE
 * @slots: number of entries, a power of two
 * @index_mask: of head and tail. @slots - 1, or 2 * @slots - 1 for hardware
 *              that counts with a wrap bit and so can fill every slot
 * @lock: protects what follows up to @overflows
 * @wait: woken when @handled grows and when an overflow was cleared
 * @fetched: number of entries taken out of the queue
 * @handled: number of entries dealt with; @fetched or one less
 * @head: index of the next entry to fetch
 * @tail: index behind the last entry known of
 * @told: the head that the hardware knows
 * @current_entry: the last entry fetched
 * @overflows: number of overflows that were cleared
 * @period: of the thread alone: when it began to count its work, in nanoseconds
 * @worked: of the thread alone: how much that was since then
 * @work_limit: after how much the thread pauses
 *
 * The counters wrap. The driver fills in the first six before
 * iopf_hwq_init().
 */
struct iopf_hwq {
	const struct iopf_hwq_ops *ops;
	const void *ring;
	struct iopf_queue *queue;
	u32 entry_size;
	u32 slots;
	u32 index_mask;

	spinlock_t lock;	/* What follows up to overflows, but wait */
	wait_queue_head_t wait;
	unsigned long fetched;
	unsigned long handled;
	u32 head;
	u32 tail;
	u32 told;
	u64 current_entry[IOPF_HWQ_ENTRY_SIZE / sizeof(u64)];
	unsigned long overflows;

	u64 period;
	u64 worked;
	u64 work_limit;
};

void iopf_hwq_init(struct iopf_hwq *hwq);
void iopf_hwq_restart(struct iopf_hwq *hwq);
bool iopf_hwq_work(struct iopf_hwq *hwq);
unsigned long iopf_hwq_target(struct iopf_hwq *hwq, u32 requester, u32 pasid);
void iopf_hwq_wait(struct iopf_hwq *hwq, u32 requester, u32 pasid);
void iopf_hwq_wait_no_overflow(struct iopf_hwq *hwq);
void iopf_hwq_drain(struct iopf_hwq *hwq, u32 requester, u32 pasid,
		    void (*flush)(struct iopf_hwq *hwq, void *data),
		    void *data);

#endif /* __IOPF_HWQ_H */

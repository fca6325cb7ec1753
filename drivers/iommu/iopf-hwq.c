// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: the queues that IOMMUs put page requests into
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A ring in memory which the hardware fills and one thread works off. What is
 * the same for all IOMMUs is how far that has got, who waits for it, and what
 * happens when the ring was full.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "iopf-core.h"
#include "iopf-hwq.h"

/*
 * The thread of a queue has a priority of real time, and a device can keep it at
 * work for ever. So it works for so many nanoseconds of a period, and then pauses
 * for so many jiffies, whether others want the processor or not. What comes
 * meanwhile waits in the queue, or the hardware answers it.
 */
#define HWQ_PERIOD	(100 * NSEC_PER_MSEC)
#define HWQ_WORK_LIMIT	(80 * NSEC_PER_MSEC)
#define HWQ_PAUSE	msecs_to_jiffies(20)

/* So often there is a look at the clock. */
#define HWQ_ACCOUNT_ENTRIES	64

/**
 * iopf_hwq_init() - Get a queue ready, whose head and tail are 0
 * @hwq: the queue, its first six members filled in
 */
void iopf_hwq_init(struct iopf_hwq *hwq)
{
	spin_lock_init(&hwq->lock);
	init_waitqueue_head(&hwq->wait);
	hwq->fetched = 0;
	hwq->handled = 0;
	hwq->head = 0;
	hwq->tail = 0;
	hwq->told = 0;
	hwq->overflows = 0;
	hwq->period = 0;
	hwq->worked = 0;
	hwq->work_limit = HWQ_WORK_LIMIT;
}
EXPORT_SYMBOL_GPL(iopf_hwq_init);

/**
 * iopf_hwq_restart() - Begin anew with a queue whose head and tail are 0
 * @hwq: the queue, whose hardware has lost its state
 *
 * What was in the queue is forgotten. Nobody works on the queue.
 */
void iopf_hwq_restart(struct iopf_hwq *hwq)
{
	spin_lock(&hwq->lock);
	hwq->handled = hwq->fetched;
	hwq->head = 0;
	hwq->tail = 0;
	hwq->told = 0;
	spin_unlock(&hwq->lock);
	wake_up_all(&hwq->wait);
}

static const void *hwq_entry(const struct iopf_hwq *hwq, u32 index)
{
	return hwq->ring + (index & (hwq->slots - 1)) * hwq->entry_size;
}

static void hwq_tell_head(struct iopf_hwq *hwq)
{
	lockdep_assert_held(&hwq->lock);

	if (hwq->told == hwq->head)
		return;
	hwq->ops->set_head(hwq, hwq->head);
	hwq->told = hwq->head;
}

/* The usual sizes are known to the compiler. */
static void hwq_copy(struct iopf_hwq *hwq, const void *entry)
{
	if (hwq->entry_size == IOPF_HWQ_ENTRY_SIZE)
		memcpy(hwq->current_entry, entry, IOPF_HWQ_ENTRY_SIZE);
	else
		memcpy(hwq->current_entry, entry, hwq->entry_size);
}

/*
 * Take the next entry. Registers are slow to read and write: the tail is read
 * when all that is known of is used up, the head written in steps.
 */
static bool hwq_fetch(struct iopf_hwq *hwq)
{
	bool found = false;

	spin_lock(&hwq->lock);
	if (hwq->head == hwq->tail)
		hwq->tail = hwq->ops->tail(hwq);
	if (hwq->head != hwq->tail) {
		hwq_copy(hwq, hwq_entry(hwq, hwq->head));
		hwq->head = (hwq->head + 1) & hwq->index_mask;
		hwq->fetched++;
		found = true;
	}
	if (!found || ((hwq->head - hwq->told) & hwq->index_mask) >=
			      hwq->slots / IOPF_HWQ_HEAD_STEPS)
		hwq_tell_head(hwq);
	spin_unlock(&hwq->lock);

	return found;
}

static void hwq_set_handled(struct iopf_hwq *hwq)
{
	spin_lock(&hwq->lock);
	hwq->handled++;
	spin_unlock(&hwq->lock);
	if (wq_has_sleeper(&hwq->wait))
		wake_up_all(&hwq->wait);
}

/*
 * Has something come since the queue was found empty? If not, nothing can any
 * more until the overflow is cleared.
 */
static bool hwq_is_empty(struct iopf_hwq *hwq)
{
	bool empty;

	spin_lock(&hwq->lock);
	hwq->tail = hwq->ops->tail(hwq);
	empty = hwq->head == hwq->tail;
	spin_unlock(&hwq->lock);
	return empty;
}

/*
 * The hardware has lost requests, and answered the last ones of groups by
 * itself. So partial groups are void: their last request may be among the lost.
 */
static void hwq_clear_overflow(struct iopf_hwq *hwq)
{
	if (hwq->queue)
		iopf_queue_overflow(hwq->queue);
	spin_lock(&hwq->lock);
	hwq->ops->clear_overflow(hwq);
	WRITE_ONCE(hwq->overflows, hwq->overflows + 1);
	spin_unlock(&hwq->lock);
	wake_up_all(&hwq->wait);
}

/*
 * Account for the work since @begin, and let others work if that was too much.
 * Returns when the next piece of work begins.
 */
static u64 hwq_account(struct iopf_hwq *hwq, u64 begin)
{
	u64 now = ktime_get_ns();

	hwq->worked += now - begin;
	if (hwq->worked >= hwq->work_limit) {
		schedule_timeout_uninterruptible(HWQ_PAUSE);
		now = ktime_get_ns();
	} else if (now - hwq->period < HWQ_PERIOD) {
		return now;
	}
	hwq->period = now;
	hwq->worked = 0;
	return now;
}

/**
 * iopf_hwq_work() - Work off a queue
 * @hwq: the queue
 *
 * Sleeps now and then if there is so much to do that others would not get at the
 * processor.
 *
 * Context: the thread of the queue, nobody else. May sleep.
 *
 * Return: true if there was something to do.
 */
bool iopf_hwq_work(struct iopf_hwq *hwq)
{
	u64 begin = ktime_get_ns();
	unsigned long nr = 0;

	for (;;) {
		while (hwq_fetch(hwq)) {
			hwq->ops->handle(hwq, hwq->current_entry);
			hwq_set_handled(hwq);
			if (!(++nr % HWQ_ACCOUNT_ENTRIES))
				begin = hwq_account(hwq, begin);
		}
		if (!hwq->ops->overflown(hwq))
			break;
		if (hwq_is_empty(hwq)) {
			hwq_clear_overflow(hwq);
			break;
		}
	}
	/* Also if it is empty: the thread may be called again at once. */
	hwq_account(hwq, begin);
	return nr;
}
EXPORT_SYMBOL_GPL(iopf_hwq_work);

/**
 * iopf_hwq_target() - Find out what a drain has to wait for
 * @hwq: the queue
 * @requester: ID of the device to drain, as in the entries
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * Return: value of iopf_hwq::handled from which on all matching requests, that
 * were in the queue at the time of the call, have been handled.
 */
unsigned long iopf_hwq_target(struct iopf_hwq *hwq, u32 requester, u32 pasid)
{
	unsigned long target, nr;
	u32 index;

	spin_lock(&hwq->lock);
	target = hwq->handled;
	nr = hwq->fetched;
	if (hwq->fetched != hwq->handled &&
	    hwq->ops->match(hwq->current_entry, requester, pasid))
		target = hwq->fetched;

	hwq->tail = hwq->ops->tail(hwq);
	for (index = hwq->head; index != hwq->tail;
	     index = (index + 1) & hwq->index_mask) {
		nr++;
		if (hwq->ops->match(hwq_entry(hwq, index), requester, pasid))
			target = nr;
	}
	spin_unlock(&hwq->lock);

	return target;
}

static bool hwq_has_handled(struct iopf_hwq *hwq, unsigned long target)
{
	bool done;

	spin_lock(&hwq->lock);
	done = (long)(hwq->handled - target) >= 0;
	spin_unlock(&hwq->lock);
	return done;
}

/**
 * iopf_hwq_wait() - Wait for the page requests of a device
 * @hwq: the queue
 * @requester: as for iopf_hwq_target()
 * @pasid: as for iopf_hwq_target()
 *
 * Every caller has its own target, so any number of them may wait at a time.
 * Requests that come after the call do not prolong the wait.
 *
 * Context: may sleep. Not called from the thread of the queue.
 */
void iopf_hwq_wait(struct iopf_hwq *hwq, u32 requester, u32 pasid)
{
	unsigned long target = iopf_hwq_target(hwq, requester, pasid);

	wait_event(hwq->wait, hwq_has_handled(hwq, target));
}

/* The next overflow may have come before who waits gets to look again. */
static bool hwq_overflow_ended(struct iopf_hwq *hwq, unsigned long seen)
{
	return !hwq->ops->overflown(hwq) || READ_ONCE(hwq->overflows) != seen;
}

/**
 * iopf_hwq_wait_no_overflow() - Wait until requests could get into the queue
 * @hwq: the queue
 *
 * Does not wait for the end of another overflow that follows: devices can bring
 * about one after the other.
 *
 * Context: may sleep. Not called from the thread of the queue.
 */
void iopf_hwq_wait_no_overflow(struct iopf_hwq *hwq)
{
	unsigned long seen = READ_ONCE(hwq->overflows);

	wait_event(hwq->wait, hwq_overflow_ended(hwq, seen));
}

/* How often a drain begins anew because requests were lost meanwhile */
#define HWQ_DRAIN_TRIES	16

/**
 * iopf_hwq_drain() - Wait for the requests of a device, on their way or queued
 * @hwq: the queue
 * @requester: as for iopf_hwq_target()
 * @pasid: as for iopf_hwq_target()
 * @flush: has the hardware put what is on its way into the queue; NULL if nothing
 *         can be on its way, or cannot be pushed
 * @data: for @flush
 *
 * Context: may sleep. Not called from the thread of the queue.
 */
void iopf_hwq_drain(struct iopf_hwq *hwq, u32 requester, u32 pasid,
		    void (*flush)(struct iopf_hwq *hwq, void *data), void *data)
{
	unsigned int tries;

	/*
	 * During an overflow requests are lost instead of queued, and other
	 * devices can bring it about again and again. The hardware answers what
	 * it loses, so this is not worth more than a few attempts.
	 */
	for (tries = 0; tries < HWQ_DRAIN_TRIES; tries++) {
		if (flush)
			flush(hwq, data);
		if (!hwq->ops->overflown(hwq))
			break;
		iopf_hwq_wait_no_overflow(hwq);
	}

	iopf_hwq_wait(hwq, requester, pasid);
}
EXPORT_SYMBOL_GPL(iopf_hwq_drain);

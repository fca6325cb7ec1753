// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the queues that IOMMUs put page requests into
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A queue in memory, whose hardware is a few counters.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/slab.h>

#include "iopf-core.h"
#include "iopf-hwq.h"

#define SLOTS	256

/* An entry is the requester, the PASID, and a number that counts up */
struct hwq_entry {
	u32 requester;
	u32 pasid;
	u32 nr;
	u32 unused;
};

struct hwq_test {
	struct iopf_hwq hwq;
	struct hwq_entry ring[SLOTS];

	/* The hardware's side */
	u32 hw_head, hw_tail;
	bool overflow;
	bool overflows_again;
	unsigned int looks;
	unsigned int overflows_left;
	bool loses;	/* seen by one look only */
	unsigned int tail_reads, head_writes, overflows_cleared;

	/* What was handled, and what happens at that */
	u32 next_nr;
	unsigned int handled;
	unsigned long targets[3];
	void (*at_handle)(struct hwq_test *t);
	void (*at_overflow)(struct hwq_test *t);

	struct completion waiting, go_on;
	bool wait_over;
};

static struct hwq_test *to_test(struct iopf_hwq *hwq)
{
	return container_of(hwq, struct hwq_test, hwq);
}

static u32 test_tail(struct iopf_hwq *hwq)
{
	to_test(hwq)->tail_reads++;
	return to_test(hwq)->hw_tail;
}

static void test_set_head(struct iopf_hwq *hwq, u32 head)
{
	to_test(hwq)->head_writes++;
	to_test(hwq)->hw_head = head;
}

static void test_handle(struct iopf_hwq *hwq, const void *entry)
{
	struct hwq_test *t = to_test(hwq);
	const struct hwq_entry *e = entry;

	if (e->nr == t->next_nr)
		t->handled++;
	t->next_nr = e->nr + 1;
	if (t->at_handle)
		t->at_handle(t);
}

static bool test_match(const void *entry, u32 requester, u32 pasid)
{
	const struct hwq_entry *e = entry;

	return e->requester == requester &&
	       (pasid == IOPF_ANY_PASID || pasid == e->pasid);
}

static bool test_overflown(struct iopf_hwq *hwq)
{
	struct hwq_test *t = to_test(hwq);

	WRITE_ONCE(t->looks, t->looks + 1);
	if (t->overflow && t->at_overflow) {
		t->at_overflow(t);
		t->at_overflow = NULL;
	}
	if (t->loses) {
		t->loses = false;
		return true;
	}
	return t->overflow;
}

static void test_clear_overflow(struct iopf_hwq *hwq)
{
	to_test(hwq)->overflow = to_test(hwq)->overflows_again;
	to_test(hwq)->overflows_cleared++;
}

static const struct iopf_hwq_ops test_ops = {
	.tail = test_tail,
	.set_head = test_set_head,
	.handle = test_handle,
	.match = test_match,
	.overflown = test_overflown,
	.clear_overflow = test_clear_overflow,
};

/* What the hardware does */
static void push(struct hwq_test *t, u32 requester, u32 pasid)
{
	struct hwq_entry *e = &t->ring[t->hw_tail % SLOTS];
	static u32 nr;

	*e = (struct hwq_entry){ requester, pasid, nr++ };
	t->hw_tail = (t->hw_tail + 1) & t->hwq.index_mask;
}

static void push_many(struct hwq_test *t, unsigned int count)
{
	while (count--)
		push(t, 1, 0);
}

static int hwq_test_init(struct kunit *test)
{
	struct hwq_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->hwq.ops = &test_ops;
	t->hwq.ring = t->ring;
	t->hwq.entry_size = sizeof(struct hwq_entry);
	t->hwq.slots = SLOTS;
	t->hwq.index_mask = SLOTS - 1;
	iopf_hwq_init(&t->hwq);
	init_completion(&t->waiting);
	init_completion(&t->go_on);
	test->priv = t;
	return 0;
}

static void work(struct kunit *test, unsigned int expected)
{
	struct hwq_test *t = test->priv;
	unsigned int before = t->handled;

	if (expected)
		t->next_nr = t->ring[t->hwq.head % SLOTS].nr;
	KUNIT_EXPECT_EQ(test, iopf_hwq_work(&t->hwq), expected != 0);
	KUNIT_EXPECT_EQ(test, t->handled - before, expected);
	/* All slots were given back. */
	KUNIT_EXPECT_EQ(test, t->hw_head, t->hw_tail);
	KUNIT_EXPECT_EQ(test, t->hwq.handled, t->hwq.fetched);
}

static void test_in_order(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	unsigned int i;

	work(test, 0);
	for (i = 1; i < 3 * SLOTS; i += 37) {
		push_many(t, i % SLOTS);
		work(test, i % SLOTS);
	}
}

/* With a wrap bit a queue can be full to the last slot. */
static void test_wrap_bit(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	t->hwq.index_mask = 2 * SLOTS - 1;
	push_many(t, SLOTS);
	work(test, SLOTS);
	push_many(t, SLOTS);
	work(test, SLOTS);
	push_many(t, 3);
	work(test, 3);
}

/* Registers are read and written when there is a reason to. */
static void test_register_accesses(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	push_many(t, 200);
	work(test, 200);
	KUNIT_EXPECT_EQ(test, t->tail_reads, 2);
	/* 12 steps of a sixteenth of the queue, and what is left */
	KUNIT_EXPECT_EQ(test, t->head_writes, 13);
	work(test, 0);
	KUNIT_EXPECT_EQ(test, t->head_writes, 13);
}

/* More comes while it is worked on, and none of it waits for another event. */
static void push_once(struct hwq_test *t)
{
	t->at_handle = NULL;
	push_many(t, 5);
}

static void test_more_meanwhile(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	push_many(t, 3);
	t->at_handle = push_once;
	work(test, 8);
}

static void push_late(struct hwq_test *t)
{
	push_many(t, 2);
}

static void test_overflow(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	/* What is in the queue comes first, also what came last. */
	push_many(t, 3);
	t->overflow = true;
	t->at_overflow = push_late;
	work(test, 5);
	KUNIT_EXPECT_EQ(test, t->overflows_cleared, 1);
	KUNIT_EXPECT_FALSE(test, t->overflow);

	/* Seen although nothing is in the queue */
	t->overflow = true;
	work(test, 0);
	KUNIT_EXPECT_EQ(test, t->overflows_cleared, 2);
}

static void check_current(struct hwq_test *t)
{
	t->at_handle = NULL;
	/* Of the requester of the entry that is at work, and of others */
	t->targets[0] = iopf_hwq_target(&t->hwq, 1, 0) - t->hwq.handled;
	t->targets[1] = iopf_hwq_target(&t->hwq, 3, 0) - t->hwq.handled;
	t->targets[2] = iopf_hwq_target(&t->hwq, 2, 0) - t->hwq.handled;
}

static void test_target(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	/* Close to the end of the ring */
	push_many(t, SLOTS - 2);
	work(test, SLOTS - 2);
	push(t, 1, 7);
	push(t, 1, 1);
	push(t, 1, 0);
	push(t, 1, 1);
	push(t, 1, 7);
#define TARGET(requester, pasid) \
	(iopf_hwq_target(&t->hwq, requester, pasid) - t->hwq.handled)
	KUNIT_EXPECT_EQ(test, TARGET(1, 1), 4);
	KUNIT_EXPECT_EQ(test, TARGET(1, 0), 3);
	KUNIT_EXPECT_EQ(test, TARGET(1, 7), 5);
	KUNIT_EXPECT_EQ(test, TARGET(1, 3), 0);
	KUNIT_EXPECT_EQ(test, TARGET(1, IOPF_ANY_PASID), 5);
	KUNIT_EXPECT_EQ(test, TARGET(2, IOPF_ANY_PASID), 0);

	/* Counters that wrap */
	t->hwq.fetched = ULONG_MAX;
	t->hwq.handled = ULONG_MAX;
	KUNIT_EXPECT_EQ(test, iopf_hwq_target(&t->hwq, 1, 1), 3);
#undef TARGET
	work(test, 5);

	/* The one that is at work is not in the ring any more. */
	push(t, 1, 0);
	push(t, 3, 0);
	t->at_handle = check_current;
	work(test, 2);
	KUNIT_EXPECT_EQ(test, t->targets[0], 1);
	KUNIT_EXPECT_EQ(test, t->targets[1], 2);
	KUNIT_EXPECT_EQ(test, t->targets[2], 0);
}

/* The hardware has lost its state. */
static void test_restart(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	push_many(t, 10);
	work(test, 10);
	push_many(t, 5);
	t->hw_head = 0;
	t->hw_tail = 0;
	iopf_hwq_restart(&t->hwq);
	work(test, 0);
	iopf_hwq_wait(&t->hwq, 1, IOPF_ANY_PASID);
	push_many(t, 2);
	work(test, 2);
}

static int waiter(void *data)
{
	struct hwq_test *t = data;

	complete(&t->waiting);
	iopf_hwq_wait(&t->hwq, 1, 0);
	WRITE_ONCE(t->wait_over, true);
	complete(&t->go_on);
	return 0;
}

/* The thread of the queue is late: a drain waits for it, and is woken. */
static void test_wait(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	struct task_struct *task;

	push(t, 1, 0);
	push(t, 2, 0);
	task = kthread_run(waiter, t, "iopf-hwq-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&t->waiting);
	/* It must not return before the entry was handled, however late. */
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&t->go_on, HZ / 20));
	KUNIT_EXPECT_FALSE(test, READ_ONCE(t->wait_over));
	work(test, 2);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->go_on, 60 * HZ));
}

static int overflow_waiter(void *data)
{
	struct hwq_test *t = data;

	complete(&t->waiting);
	iopf_hwq_wait_no_overflow(&t->hwq);
	complete(&t->go_on);
	return 0;
}

static void wait_overflow(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	struct task_struct *task;

	t->overflow = true;
	task = kthread_run(overflow_waiter, t, "iopf-hwq-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&t->waiting);
	while (!READ_ONCE(t->looks) && !completion_done(&t->go_on))
		msleep(20);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&t->go_on, HZ / 20));
	work(test, 0);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->go_on, 60 * HZ));
}

static void test_wait_overflow(struct kunit *test)
{
	wait_overflow(test);
}

/* The queue is full again before who waits has looked: it must not wait for ever. */
static void test_wait_overflows(struct kunit *test)
{
	struct hwq_test *t = test->priv;

	t->overflows_again = true;
	wait_overflow(test);
	KUNIT_EXPECT_EQ(test, t->overflows_cleared, 1);
}

/* A device that asks for more than can be handled */
static void push_endlessly(struct hwq_test *t)
{
	if (t->handled < 1000)
		push(t, 1, 0);
}

/* The thread leaves the processor to others, also if there is always more to do. */
static void test_pauses(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	unsigned long before;

	t->hwq.work_limit = U64_MAX;
	before = current->nvcsw;
	push(t, 1, 0);
	work(test, 1);
	KUNIT_EXPECT_EQ(test, current->nvcsw, before);

	t->hwq.work_limit = 0;
	push(t, 1, 0);
	work(test, 1);
	KUNIT_EXPECT_GT(test, current->nvcsw, before);

	before = current->nvcsw;
	t->at_handle = push_endlessly;
	push(t, 1, 0);
	work(test, 998);
	KUNIT_EXPECT_GT(test, current->nvcsw, before + 10);
}

/* The core, which keeps partial groups, is told that requests were lost. */
static void test_overflow_tells_core(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	struct iopf_queue *queue = iopf_queue_alloc("iopf-hwq-test");

	KUNIT_ASSERT_NOT_NULL(test, queue);
	t->hwq.queue = queue;
	t->overflow = true;
	work(test, 0);
	KUNIT_EXPECT_EQ(test, queue->overflows, 1);
	iopf_queue_free(queue);
}

/* What a drain waits for is gone with the state of the hardware. */
static void test_restart_wakes(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	struct task_struct *task;

	push(t, 1, 0);
	/* In the middle of its handling, which nobody goes on with */
	t->hwq.fetched++;
	t->hwq.head++;
	memcpy(t->hwq.current_entry, t->ring, sizeof(t->ring[0]));
	task = kthread_run(waiter, t, "iopf-hwq-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&t->waiting);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&t->go_on, HZ / 20));
	t->hw_head = 0;
	t->hw_tail = 0;
	iopf_hwq_restart(&t->hwq);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->go_on, 60 * HZ));
}

/* A drain in a thread of its own, and how often it has flushed */
struct drain {
	struct hwq_test *t;
	unsigned int flushes;
};

/* Requests that were on their way come now. */
static void flush_pushes(struct iopf_hwq *hwq, void *data)
{
	struct hwq_test *t = to_test(hwq);
	struct drain *drain = data;

	push(t, 1, 0);
	/* And one of them was lost. */
	if (drain->flushes < t->overflows_left)
		t->overflow = true;
	/* What it has done is to be seen with the number. */
	smp_store_release(&drain->flushes, drain->flushes + 1);
}

static int drainer(void *data)
{
	struct drain *drain = data;

	iopf_hwq_drain(&drain->t->hwq, 1, 0, flush_pushes, drain);
	complete(&drain->t->go_on);
	return 0;
}

/* It has flushed so often now, and waits: or is over, which is wrong. */
static void expect_flushes(struct kunit *test, struct drain *drain,
			   unsigned int flushes)
{
	struct hwq_test *t = drain->t;

	/* Pairs with the release in flush_pushes(). */
	while (smp_load_acquire(&drain->flushes) < flushes &&
	       !completion_done(&t->go_on))
		usleep_range(1000, 2000);
	/* However late it is: it must not come to an end. */
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&t->go_on, HZ / 20));
	KUNIT_EXPECT_EQ(test, READ_ONCE(drain->flushes), flushes);
}

static void drain_with_overflows(struct kunit *test, unsigned int overflows)
{
	struct hwq_test *t = test->priv;
	struct drain drain = { .t = t };
	struct task_struct *task;
	unsigned int i;

	t->overflows_left = overflows;
	task = kthread_run(drainer, &drain, "iopf-hwq-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i <= overflows; i++) {
		expect_flushes(test, &drain, i + 1);
		KUNIT_EXPECT_TRUE(test, iopf_hwq_work(&t->hwq));
	}
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->go_on, 60 * HZ));
}

static void test_drain(struct kunit *test)
{
	drain_with_overflows(test, 0);
}

/* What else was on its way may be lost: once more, until nothing is. */
static void test_drain_again(struct kunit *test)
{
	drain_with_overflows(test, 2);
}

static void flush_loses(struct iopf_hwq *hwq, void *data)
{
	unsigned int *flushes = data;

	++*flushes;
	to_test(hwq)->loses = true;
}

/* Lost again at each look, and cleared at once: this must come to an end. */
static void test_drain_ends(struct kunit *test)
{
	struct hwq_test *t = test->priv;
	unsigned int flushes = 0;

	iopf_hwq_drain(&t->hwq, 1, 0, flush_loses, &flushes);
	KUNIT_EXPECT_GT(test, flushes, 1);
	KUNIT_EXPECT_LT(test, flushes, 100);
}

static struct kunit_case hwq_cases[] = {
	KUNIT_CASE(test_in_order),
	KUNIT_CASE(test_wrap_bit),
	KUNIT_CASE(test_register_accesses),
	KUNIT_CASE(test_more_meanwhile),
	KUNIT_CASE(test_overflow),
	KUNIT_CASE(test_target),
	KUNIT_CASE(test_restart),
	KUNIT_CASE(test_wait),
	KUNIT_CASE(test_wait_overflow),
	KUNIT_CASE(test_wait_overflows),
	KUNIT_CASE(test_pauses),
	KUNIT_CASE(test_overflow_tells_core),
	KUNIT_CASE(test_restart_wakes),
	KUNIT_CASE(test_drain),
	KUNIT_CASE(test_drain_again),
	KUNIT_CASE(test_drain_ends),
	{}
};

static struct kunit_suite hwq_suite = {
	.name = "iopf-hwq",
	.init = hwq_test_init,
	.test_cases = hwq_cases,
};

kunit_test_suite(hwq_suite);

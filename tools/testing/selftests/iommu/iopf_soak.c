// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many page faults, of several devices, whose programs come and go
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 *	iopf_soak [FAULTS [OVERFLOWS [MINUTES [SEED]]]]
 *
 * Each test endpoint that is bound to vfio-pci has a program, which lets it
 * transfer data and send storms of page requests, far more than the IOMMU's queue
 * holds among them, answers them in one way or the other, and meanwhile attaches,
 * detaches, replaces and resets, limits its queue, or leaves with everything open.
 * The programs are stopped, and killed, and there are new ones.
 *
 * That goes on until the kernel has counted FAULTS requests (20000) and OVERFLOWS
 * overflows (10), MINUTES have passed (0), and everything has happened once; it
 * fails if that takes a hundred times as many requests. Both sides count what was
 * asked and answered: the endpoint, and the kernel for the device and for the fault
 * queue. Whenever nothing is open they are compared. A program that is stopped must
 * not hold up the others.
 *
 * The seed is printed. With the same one every program draws the same numbers;
 * when they meet each other is up to the machine.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/iopf.h>

#include "../kselftest.h"
#include "common.h"
#include "iopf_console.h"
#include "iopf_counters.h"
#include "iopf_endpoint.h"
#include "iopf_random.h"

#define PAGE		4096U
#define NR_TABLES	2	/* with a fault queue each */
#define PLAIN		NR_TABLES	/* the table that takes no faults */
#define MAX_LATE	32
#define MAX_PAGES	64	/* that are transferred */
#define HANG_SECONDS	900

/* What can happen. A run in which something did not has not tested it. */
enum event {
	TRANSFER, STORM, FLOOD, REPLACE, REPLACE_PLAIN, DETACH, RESET, LIMITS,
	REOPEN, LEFT, STOPPED, KILLED, COMPARED, COMPARED_ALL, NR_EVENTS
};

static const char *const event_name[NR_EVENTS] = {
	[TRANSFER] = "transfers",
	[STORM] = "storms",
	[FLOOD] = "storms of a device that ignores its limit",
	[REPLACE] = "replaced by a table that takes faults",
	[REPLACE_PLAIN] = "replaced by one that takes none",
	[DETACH] = "detached",
	[RESET] = "reset",
	[LIMITS] = "limits of a queue",
	[REOPEN] = "closed and opened again",
	[LEFT] = "ended with everything open",
	[STOPPED] = "stopped",
	[KILLED] = "killed",
	[COMPARED] = "compared with what the kernel counts",
	[COMPARED_ALL] = "the same, each request: no queue had an overflow",
};

/* A device and its program, as they and the supervisor see it */
struct program {
	char bdf[16];
	pid_t pid;
	unsigned int life;		/* how many there were before */
	atomic_ulong steps;
	atomic_ulong asked, answered;	/* groups, as the endpoint counts */
	atomic_uint events[NR_EVENTS];
	atomic_int at;			/* enum event */
	atomic_bool end;
	char why[256];			/* it has failed */
};

/* A fault queue, and what its program knows of it */
struct tracked {
	struct iopf_queue *queue;
	__u32 hwpt_id;
	struct iopf_response late[MAX_LATE];
	unsigned int nr_late;
	unsigned long accepted;		/* answers */
};

/* Counters of the endpoint */
struct seen {
	__u32 requests, last, success, invalid;
};

/* What a program has */
struct client {
	struct program *me;
	__u64 random;
	struct iopf_ctx *ctx;
	struct endpoint ep;
	struct tracked table[NR_TABLES];
	unsigned int current;		/* table */
	/* Since when the kernel counts, if nothing has disturbed that */
	bool exact;
	struct seen since;
	unsigned long long overflows;
	/* What is in program::asked and answered already */
	struct seen told;
};

static struct program *programs;
static unsigned int nr_programs;

static __u32 reg(struct client *c, unsigned int offset)
{
	return testdev_reg(&c->ep.td, offset);
}

static void happened(struct client *c, enum event what)
{
	c->me->events[what]++;
}

static void look(struct client *c, struct seen *seen)
{
	seen->requests = reg(c, IOPF_TD_REG_CNT_PR);
	seen->last = reg(c, IOPF_TD_REG_CNT_PR_LAST);
	seen->success = reg(c, IOPF_TD_REG_CNT_RSP_SUCCESS);
	seen->invalid = reg(c, IOPF_TD_REG_CNT_RSP_INVALID);
}

/* For the sum over all lives of all programs */
static void tell(struct client *c)
{
	struct seen now;

	look(c, &now);
	c->me->asked += now.last - c->told.last;
	c->me->answered += now.success - c->told.success +
			   now.invalid - c->told.invalid;
	c->told = now;
}

/* Start the endpoint's engine. It counts from 0 then. */
static int start_engine(struct client *c)
{
	int ret;

	ret = testdev_start(&c->ep.td);
	if (ret)
		return ret;
	testdev_set(&c->ep.td, IOPF_TD_REG_CONTEXTS, 8);
	/* Other devices fill the queue as long as they like. */
	testdev_set(&c->ep.td, IOPF_TD_REG_PRI_FULL_RETRY, 0xffff);
	memset(&c->told, 0, sizeof(c->told));
	return 0;
}

/*
 * Answering
 */

static int answered(struct tracked *t, int ret)
{
	if (ret > 0)
		t->accepted += ret;
	/* The kernel may have been faster, at a detach for example. */
	return ret < 0 && ret != -EINVAL ? ret : 0;
}

static int answer_late_ones(struct tracked *t)
{
	unsigned int at = 0;
	int ret;

	while (at < t->nr_late) {
		ret = iopf_queue_answer_many(t->queue, t->late + at,
					     t->nr_late - at);
		if (answered(t, ret))
			return ret;
		/* The one at which it stopped is not wanted any more. */
		at += ret > 0 ? ret : 1;
	}
	t->nr_late = 0;
	return 0;
}

static int answer_now(struct tracked *t, __u32 cookie, __u32 code)
{
	int ret = iopf_queue_answer(t->queue, cookie, code);

	return answered(t, ret ? ret : 1);
}

/* @good: map what is missing. Else the answer is any, now or later. */
static int answer_group(struct client *c, struct tracked *t,
			struct iopf_group *g, bool good)
{
	struct iopf_served served;
	__u32 code = draw_below(&c->random, 2);
	int ret;

	ret = check_group(&c->ep, g);
	if (ret)
		return ret;
	if (g->dev_id != iopf_dev_id(c->ep.dev))
		return iopf_err(-EIO, "a group of device %u", g->dev_id);
	if (good) {
		ret = iopf_backing_serve(c->ep.backing, g, &served);
		return ret ? ret : answer_now(t, g->cookie, served.code);
	}
	if (draw_below(&c->random, 4))
		return answer_now(t, g->cookie, code);
	if (t->nr_late == MAX_LATE) {
		ret = answer_late_ones(t);
		if (ret)
			return ret;
	}
	t->late[t->nr_late].cookie = g->cookie;
	t->late[t->nr_late++].code = code;
	return 0;
}

/* Answer what there is. Returns the number of groups, or an error. */
static int serve_once(struct client *c, bool good)
{
	struct pollfd pfd[NR_TABLES];
	struct iopf_group g;
	unsigned int i;
	int nr = 0, ret;

	for (i = 0; i < NR_TABLES; i++) {
		pfd[i].fd = iopf_queue_fd(c->table[i].queue);
		pfd[i].events = POLLIN;
	}
	if (poll(pfd, NR_TABLES, 10) < 0)
		return iopf_err(-errno, "poll: %s", strerror(errno));
	for (i = 0; i < NR_TABLES; i++) {
		while ((ret = iopf_queue_read(c->table[i].queue, &g)) > 0) {
			ret = answer_group(c, &c->table[i], &g, good);
			if (ret)
				return ret;
			nr++;
		}
		if (ret)
			return ret;
	}
	for (i = 0; i < NR_TABLES && !nr; i++) {
		ret = answer_late_ones(&c->table[i]);
		if (ret)
			return ret;
	}
	return nr;
}

/* The kernel has answered what is in a queue. Its cookies are others' soon. */
static void forget(struct client *c, unsigned int i)
{
	c->table[i].nr_late = 0;
	iopf_queue_drop(c->table[i].queue, iopf_dev_id(c->ep.dev));
}

/*
 * Checks
 */

static bool is_quiet(struct client *c)
{
	return !(reg(c, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_STORM) &&
	       !reg(c, IOPF_TD_REG_PRI_OUTSTANDING) &&
	       !reg(c, IOPF_TD_REG_PRI_GROUPS);
}

static int status_of(struct tracked *t, struct iopf_queue_status *status)
{
	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
	if (ioctl(iopf_queue_fd(t->queue), IOPF_QUEUE_GET_STATUS, status))
		return iopf_err(-errno, "IOPF_QUEUE_GET_STATUS: %s",
				strerror(errno));
	return 0;
}

/* Is nothing in the fault queues? After a reset they have what is answered. */
static int are_empty(struct client *c)
{
	struct iopf_queue_status status;
	unsigned int i;
	int ret;

	for (i = 0; i < NR_TABLES; i++) {
		ret = status_of(&c->table[i], &status);
		if (ret)
			return ret;
		if (status.out_unread || status.out_unanswered)
			return 0;
	}
	return 1;
}

static int check_queues(struct client *c)
{
	struct iopf_queue_status status;
	unsigned int i;
	int ret;

	for (i = 0; i < NR_TABLES; i++) {
		ret = status_of(&c->table[i], &status);
		if (ret)
			return ret;
		if (status.out_answered != c->table[i].accepted)
			return iopf_err(-EIO,
					"queue %u has taken %llu answers, of which %lu were ours",
					i, status.out_answered,
					c->table[i].accepted);
		if (status.out_answered + status.out_timed_out >
		    status.out_groups)
			return iopf_err(-EIO,
					"queue %u: %llu groups, %llu answers, %llu timed out",
					i, status.out_groups,
					status.out_answered,
					status.out_timed_out);
	}
	return 0;
}

/* What a device has asked for has one answer, and nothing else has. */
static int check_endpoint(struct client *c, const struct seen *now)
{
	__u32 unmatched = reg(c, IOPF_TD_REG_CNT_RSP_UNMATCHED);
	__u32 late = reg(c, IOPF_TD_REG_CNT_RSP_LATE);
	__u32 failure = reg(c, IOPF_TD_REG_CNT_RSP_FAILURE);

	if (now->success + now->invalid != now->last || unmatched || late ||
	    failure)
		return iopf_err(-EIO,
				"%u groups have %u answers; %u to no group, %u late, %u Failure",
				now->last, now->success + now->invalid,
				unmatched, late, failure);
	return 0;
}

/* Is that what the kernel has counted? An overflow may have cost some requests. */
static bool same_counts(const struct seen *delta,
			const struct counters *k, bool overflow)
{
	return !k->open && !k->failure &&
	       k->groups + k->refused == delta->last &&
	       k->success == delta->success && k->invalid == delta->invalid &&
	       (overflow ? k->requests <= delta->requests :
			   k->requests == delta->requests);
}

static int check_kernel(struct client *c, const struct seen *now)
{
	const struct seen delta = {
		.requests = now->requests - c->since.requests,
		.last = now->last - c->since.last,
		.success = now->success - c->since.success,
		.invalid = now->invalid - c->since.invalid,
	};
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	struct counters k, all;
	bool overflow;
	int ret;

	if (!c->exact)
		return 0;
	for (;;) {
		ret = read_counters(c->me->bdf, &k);
		if (!ret)
			ret = read_counters(NULL, &all);
		if (ret)
			return iopf_err(ret, "%s: %s", IOPF_COUNTERS,
					strerror(-ret));
		overflow = all.overflows != c->overflows;
		if (same_counts(&delta, &k, overflow))
			break;
		/*
		 * The device is told before a group is freed, and has heard of an
		 * overflow before the kernel has.
		 */
		if (iopf_now() > end)
			return iopf_err(-EIO,
					"the device: %u requests, %u groups, %u Success, %u Invalid; the kernel: %llu requests, %llu + %llu groups, %llu Success, %llu Invalid, %llu open",
					delta.requests, delta.last,
					delta.success, delta.invalid,
					k.requests, k.groups, k.refused,
					k.success, k.invalid, k.open);
		nap();
	}
	happened(c, COMPARED);
	if (!overflow && delta.requests)
		happened(c, COMPARED_ALL);
	return 0;
}

static int check_all(struct client *c)
{
	struct seen now;
	int ret;

	look(c, &now);
	ret = check_endpoint(c, &now);
	if (!ret)
		ret = check_queues(c);
	if (!ret)
		ret = check_kernel(c, &now);
	tell(c);
	return ret;
}

/* Serve until nothing is open, and see that all is right. */
static int settle(struct client *c)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	int nr, empty;

	for (;;) {
		nr = serve_once(c, false);
		if (nr < 0)
			return nr;
		if (nr) {
			end = iopf_now() + LONG_MS * 1000000ULL;
			continue;
		}
		empty = is_quiet(c) ? are_empty(c) : 0;
		if (empty < 0)
			return empty;
		if (empty)
			return check_all(c);
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"%u requests in %u groups have no answer",
					reg(c, IOPF_TD_REG_PRI_OUTSTANDING),
					reg(c, IOPF_TD_REG_PRI_GROUPS));
	}
}

/*
 * Tables
 */

/* From here on the kernel counts, from 0 on. */
static int begin_count(struct client *c)
{
	struct counters all;
	int ret = read_counters(NULL, &all);

	if (ret)
		return iopf_err(ret, "%s: %s", IOPF_COUNTERS, strerror(-ret));
	c->overflows = all.overflows;
	look(c, &c->since);
	c->exact = true;
	return 0;
}

/* Nobody takes what the device may still ask for, and all else is answered. */
static int faults_off(struct client *c)
{
	int ret;

	c->exact = false;
	forget(c, c->current);
	testdev_set(&c->ep.td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
	ret = wait_reg(&c->ep, IOPF_TD_REG_PRI_OUTSTANDING, 0);
	if (ret)
		return ret;
	if (!is_quiet(c))
		return iopf_err(-EIO, "a storm goes on without page requests");
	ret = are_empty(c);
	if (ret < 0)
		return ret;
	if (!ret)
		return iopf_err(-EIO, "the queue of a device that left has groups");
	return check_all(c);
}

static int attach(struct client *c, unsigned int table)
{
	int ret;

	ret = iopf_dev_attach(c->ep.dev, table == PLAIN ? c->ep.ioas_id :
			      c->table[table].hwpt_id);
	if (ret)
		return ret;
	if (table == PLAIN)
		ret = faults_off(c);
	else if (c->current == PLAIN)
		ret = begin_count(c);
	else if (table != c->current)
		forget(c, c->current);
	c->current = table;
	return ret;
}

static int detach(struct client *c)
{
	int ret;

	ret = iopf_dev_detach(c->ep.dev);
	if (!ret)
		ret = faults_off(c);
	c->current = PLAIN;
	return ret;
}

static int open_all(struct client *c)
{
	unsigned int i;
	int ret;

	ret = endpoint_open(&c->ep, c->ctx, c->me->bdf, NULL);
	if (ret)
		return ret;
	memset(c->table, 0, sizeof(c->table));
	c->table[0].queue = c->ep.queue;
	c->table[0].hwpt_id = c->ep.hwpt_id;
	for (i = 1; i < NR_TABLES && !ret; i++) {
		ret = iopf_queue_open(c->ctx, &c->table[i].queue);
		if (!ret)
			ret = iopf_hwpt_alloc(c->ctx, iopf_dev_id(c->ep.dev),
					      c->ep.ioas_id, c->table[i].queue,
					      &c->table[i].hwpt_id);
	}
	if (!ret)
		ret = start_engine(c);
	c->current = 0;
	return ret ? ret : begin_count(c);
}

static int close_all(struct client *c)
{
	unsigned int i;
	int ret;

	ret = detach(c);
	for (i = 1; i < NR_TABLES && !ret; i++) {
		ret = iopf_destroy(c->ctx, c->table[i].hwpt_id);
		iopf_queue_close(c->table[i].queue);
	}
	endpoint_close(&c->ep);
	return ret;
}

/*
 * Steps. Each begins and ends with a device that is attached to a table with a
 * fault queue, and with nothing open.
 */

static void begin_storm(struct client *c, bool flood)
{
	struct testdev *td = &c->ep.td;

	testdev_set(td, IOPF_TD_REG_HOSTILE,
		    flood ? IOPF_TD_HOSTILE_IGNORE_ALLOC : 0);
	testdev_set64(td, IOPF_TD_REG_STORM_ADDR, BASE);
	testdev_set(td, IOPF_TD_REG_STORM_STRIDE, PAGE);
	testdev_set(td, IOPF_TD_REG_STORM_COUNT, flood ?
		    4096 + draw_below(&c->random, 12288) :
		    1 + draw_below(&c->random, 1000));
	testdev_set(td, IOPF_TD_REG_STORM_GROUP,
		    1 + draw_below(&c->random, flood ? 512 : 40));
	testdev_set(td, IOPF_TD_REG_STORM_FLAGS,
		    IOPF_TD_STORM_F_READ | IOPF_TD_STORM_F_WRITE);
	testdev_set(td, IOPF_TD_REG_STORM_GO, 1);
	happened(c, flood ? FLOOD : STORM);
}

/* A storm, of which some has come already and some is on its way */
static int begin_some_storm(struct client *c)
{
	__u32 rounds = draw_below(&c->random, 4);
	int ret = 0;

	begin_storm(c, !draw_below(&c->random, 3));
	while (rounds-- && ret >= 0)
		ret = serve_once(c, false);
	return ret < 0 ? ret : 0;
}

static int do_storm(struct client *c)
{
	begin_storm(c, false);
	return settle(c);
}

static int do_flood(struct client *c)
{
	begin_storm(c, true);
	return settle(c);
}

static int finish_transfer(struct client *c, unsigned int slot,
			   struct testdev_result *r)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	int ret;

	while (!testdev_done(&c->ep.td, slot, r)) {
		ret = serve_once(c, true);
		if (ret < 0)
			return ret;
		if (ret)
			end = iopf_now() + LONG_MS * 1000000ULL;
		else if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "a transfer does not end");
	}
	return 0;
}

static int do_transfer(struct client *c)
{
	__u64 iova = BASE + draw_below(&c->random, MAX_PAGES) * PAGE;
	__u32 length = (1 + draw_below(&c->random, 16)) * PAGE;
	bool fill = draw_below(&c->random, 2);
	void *mem = iopf_backing_ptr(c->ep.backing, iova);
	struct testdev_result r;
	unsigned int slot;
	int ret = 0;

	testdev_set(&c->ep.td, IOPF_TD_REG_HOSTILE, 0);
	if (draw_below(&c->random, 4))
		ret = iopf_backing_unmap(c->ep.backing, BASE, SPAN);
	if (ret)
		return ret;
	if (fill)
		memset(mem, 0, length);
	else
		testdev_pattern(mem, length, SEED, 0);
	ret = start_op(&c->ep, fill ? IOPF_TD_OP_FILL : IOPF_TD_OP_COMPARE,
		       IOPF_TD_F_GROUP * draw_below(&c->random, 2), iova, length,
		       &slot);
	if (!ret)
		ret = finish_transfer(c, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK || r.done != length)
		return iopf_err(-EIO, "transfer: %s, %u of %u bytes",
				testdev_status(r.status), r.done, length);
	if (testdev_pattern_check(mem, length, SEED, 0) != length)
		return iopf_err(-EIO, "the data of a transfer are wrong");
	return settle(c);
}

static int do_replace(struct client *c)
{
	__u32 rounds = 1 + draw_below(&c->random, 4);
	int ret;

	ret = begin_some_storm(c);
	while (rounds-- && !ret) {
		ret = attach(c, (c->current + 1) % NR_TABLES);
		if (!ret && draw_below(&c->random, 2)) {
			ret = serve_once(c, false);
			ret = ret < 0 ? ret : 0;
		}
	}
	return ret ? ret : settle(c);
}

static int do_replace_plain(struct client *c)
{
	int ret;

	ret = begin_some_storm(c);
	if (!ret)
		ret = attach(c, PLAIN);
	if (!ret)
		ret = attach(c, draw_below(&c->random, NR_TABLES));
	return ret ? ret : settle(c);
}

static int do_detach(struct client *c)
{
	int ret;

	ret = begin_some_storm(c);
	if (!ret)
		ret = detach(c);
	if (!ret)
		ret = attach(c, draw_below(&c->random, NR_TABLES));
	return ret ? ret : settle(c);
}

static int do_reset(struct client *c)
{
	int ret;

	ret = begin_some_storm(c);
	if (ret)
		return ret;
	tell(c);
	/* What is sent during the reset is known to one side only. */
	c->exact = false;
	ret = iopf_dev_reset(c->ep.dev);
	if (!ret)
		ret = start_engine(c);
	if (!ret)
		ret = settle(c);
	if (ret || draw_below(&c->random, 2))
		return ret;
	/* The kernel counts anew. */
	ret = detach(c);
	return ret ? ret : attach(c, draw_below(&c->random, NR_TABLES));
}

static int set_limits(struct client *c, __u32 timeout_ms, __u32 depth)
{
	struct iopf_queue_limits limits = {
		.size = sizeof(limits),
		.timeout_ms = timeout_ms,
		.depth = depth,
	};
	unsigned int i;

	for (i = 0; i < NR_TABLES; i++)
		if (ioctl(iopf_queue_fd(c->table[i].queue),
			  IOPF_QUEUE_SET_LIMITS, &limits))
			return iopf_err(-errno, "IOPF_QUEUE_SET_LIMITS: %s",
					strerror(errno));
	return 0;
}

static int do_limits(struct client *c)
{
	int ret;

	ret = set_limits(c, draw_below(&c->random, 3),
			 draw_below(&c->random, 3) * 5);
	if (!ret)
		ret = begin_some_storm(c);
	if (!ret)
		ret = settle(c);
	return ret ? ret : set_limits(c, 0, 0);
}

static int do_reopen(struct client *c)
{
	int ret;

	ret = begin_some_storm(c);
	if (!ret)
		ret = close_all(c);
	return ret ? ret : open_all(c);
}

static int do_leave(struct client *c)
{
	int ret;

	ret = begin_some_storm(c);
	if (ret)
		return ret;
	happened(c, LEFT);
	_exit(0);
}

static const struct {
	int (*run)(struct client *c);
	enum event what;
	unsigned int weight;
} steps[] = {
	{ do_transfer, TRANSFER, 6 },
	{ do_storm, STORM, 4 },
	{ do_flood, FLOOD, 6 },
	{ do_replace, REPLACE, 4 },
	{ do_replace_plain, REPLACE_PLAIN, 2 },
	{ do_detach, DETACH, 2 },
	{ do_reset, RESET, 2 },
	{ do_limits, LIMITS, 2 },
	{ do_reopen, REOPEN, 1 },
	{ do_leave, LEFT, 1 },
};

static int do_something(struct client *c)
{
	unsigned int sum = 0, i;
	__u32 which;
	int ret;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		sum += steps[i].weight;
	which = draw_below(&c->random, sum);
	for (i = 0; which >= steps[i].weight; i++)
		which -= steps[i].weight;
	c->me->at = steps[i].what;
	ret = steps[i].run(c);
	/* Storms count themselves, and who leaves does not come here. */
	if (!ret && steps[i].what != STORM && steps[i].what != FLOOD)
		happened(c, steps[i].what);
	c->me->steps++;
	return ret;
}

static void run_program(struct program *me, __u64 random)
{
	struct client *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		_exit(2);
	c->me = me;
	c->random = random;
	c->current = PLAIN;
	ret = iopf_ctx_open(&c->ctx);
	if (!ret)
		ret = open_all(c);
	while (!ret && !me->end)
		ret = do_something(c);
	if (!ret)
		ret = close_all(c);
	if (ret) {
		snprintf(me->why, sizeof(me->why), "%s", iopf_error());
		_exit(1);
	}
	iopf_ctx_close(c->ctx);
	_exit(0);
}

/*
 * The supervisor
 */

static __u64 seed;
static __u64 random_state;

static void start_program(struct program *p)
{
	__u64 random = seed + ((__u64)(p - programs) << 32) + p->life;
	pid_t parent = getpid(), pid;

	p->life++;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (pid) {
		/* Not in the child, which shares this memory. */
		p->pid = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(2);
	run_program(p, draw_from(&random));
}

/* A program has ended. Whoever killed it does not come here. */
static void has_ended(struct program *p, int status)
{
	p->pid = 0;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	if (WIFEXITED(status))
		fail("%s, program %u, step %lu (%s): %s", p->bdf, p->life,
		     p->steps, event_name[p->at], p->why);
	else
		fail("%s, program %u, step %lu (%s): signal %d", p->bdf,
		     p->life, p->steps, event_name[p->at], WTERMSIG(status));
}

static void look_after_programs(bool restart)
{
	struct program *p;
	int status;

	for (p = programs; p < programs + nr_programs; p++) {
		if (p->pid && waitpid(p->pid, &status, WNOHANG) == p->pid)
			has_ended(p, status);
		if (!p->pid && restart && !failed)
			start_program(p);
	}
}

static unsigned long steps_but(const struct program *but)
{
	unsigned long sum = 0;
	struct program *p;

	for (p = programs; p < programs + nr_programs; p++)
		if (p != but)
			sum += p->steps;
	return sum;
}

/* Wait until programs, but one, have done some more steps. */
static void wait_for_steps(const struct program *but, unsigned long nr)
{
	__u64 end = iopf_now() + HANG_SECONDS * 1000000000ULL;
	unsigned long until = steps_but(but) + nr;
	struct program *p;

	while (!failed && steps_but(but) < until) {
		nap();
		look_after_programs(true);
		if (iopf_now() < end)
			continue;
		fail("%lu steps were to be done in %u seconds", nr,
		     HANG_SECONDS);
		for (p = programs; p < programs + nr_programs; p++)
			ksft_print_msg("%s is %s\n", p->bdf,
				       p == but ? "stopped" : event_name[p->at]);
	}
}

static void kill_program(struct program *p)
{
	int status;

	kill(p->pid, SIGKILL);
	if (waitpid(p->pid, &status, 0) != p->pid)
		ksft_exit_fail_perror("waitpid");
	/* It may have ended before. */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		p->events[KILLED]++;
		p->pid = 0;
	} else {
		has_ended(p, status);
	}
}

/* The others go on, whatever it was doing. */
static void stop_program(struct program *p)
{
	int status;

	kill(p->pid, SIGSTOP);
	if (waitpid(p->pid, &status, WUNTRACED) != p->pid)
		ksft_exit_fail_perror("waitpid");
	if (!WIFSTOPPED(status)) {
		has_ended(p, status);
		return;
	}
	p->events[STOPPED]++;
	if (nr_programs > 1)
		wait_for_steps(p, 3);
	/* Somebody else has killed it meanwhile. */
	if (!p->pid)
		return;
	if (draw_below(&random_state, 3))
		kill(p->pid, SIGCONT);
	else
		kill_program(p);
}

static void disturb(void)
{
	struct program *p = &programs[draw_below(&random_state, nr_programs)];

	wait_for_steps(NULL, 1 + draw_below(&random_state, 4 * nr_programs));
	if (failed || !p->pid)
		return;
	if (draw_below(&random_state, 2))
		stop_program(p);
	else
		kill_program(p);
}

static unsigned int events_of(enum event what)
{
	unsigned int sum = 0, i;

	for (i = 0; i < nr_programs; i++)
		sum += programs[i].events[what];
	return sum;
}

static bool all_happened(void)
{
	unsigned int i;

	/* The last one needs luck: overflows are many, and of all devices. */
	for (i = 0; i < COMPARED_ALL; i++)
		if (!events_of(i))
			return false;
	return true;
}

static void get_counters(struct counters *c)
{
	int ret = read_counters(NULL, c);

	if (ret)
		ksft_exit_fail_msg("%s: %s\n", IOPF_COUNTERS, strerror(-ret));
}

/* What has been counted since @before */
static void get_difference(const struct counters *before, struct counters *c)
{
	get_counters(c);
	c->overflows -= before->overflows;
	c->requests -= before->requests;
	c->groups -= before->groups;
	c->refused -= before->refused;
	c->success -= before->success;
	c->invalid -= before->invalid;
	c->failure -= before->failure;
	c->dropped -= before->dropped;
}

struct goal {
	unsigned long faults, overflows, minutes;
};

static void disturb_until(const struct goal *goal, const struct counters *before)
{
	__u64 end = iopf_now() + goal->minutes * 60000000000ULL;
	unsigned long told = 0;
	struct counters c;

	while (!failed) {
		get_difference(before, &c);
		if (c.requests >= goal->faults &&
		    c.overflows >= goal->overflows && all_happened() &&
		    iopf_now() >= end)
			return;
		/* Some ten lines, or one for so many more if it goes on */
		if (c.requests - told >= goal->faults / 10 + 1000) {
			told = c.requests;
			ksft_print_msg("%llu requests, %llu overflows, %lu steps so far\n",
				       c.requests, c.overflows,
				       steps_but(NULL));
		}
		/* What has not come by now will not: it is drawn all the time. */
		if (c.requests / 100 >= goal->faults + 1000 && iopf_now() >= end)
			fail("%llu requests and %llu overflows, and not all has happened",
			     c.requests, c.overflows);
		disturb();
	}
}

static void end_programs(void)
{
	__u64 end = iopf_now() + HANG_SECONDS * 1000000000ULL;
	bool running = true;
	unsigned int i;

	for (i = 0; i < nr_programs; i++)
		programs[i].end = true;
	while (running && iopf_now() < end) {
		nap();
		look_after_programs(false);
		running = false;
		for (i = 0; i < nr_programs; i++)
			running |= programs[i].pid;
	}
	for (i = 0; i < nr_programs; i++) {
		if (!programs[i].pid)
			continue;
		fail("%s does not end, is %s", programs[i].bdf,
		     event_name[programs[i].at]);
		kill(programs[i].pid, SIGKILL);
	}
}

static bool nothing_open(const struct counters *c)
{
	if (!c->devices)
		return true;
	ksft_print_msg("page faults of %u devices are on\n", c->devices);
	return false;
}

static bool answered_once(const struct counters *c)
{
	ksft_print_msg("kernel: %llu requests, %llu overflows, %llu groups, %llu refused\n",
		       c->requests, c->overflows, c->groups, c->refused);
	ksft_print_msg("kernel: %llu Success, %llu Invalid, %llu Failure, %llu dropped\n",
		       c->success, c->invalid, c->failure, c->dropped);
	return c->groups + c->refused == c->success + c->invalid &&
	       !c->failure;
}

/* Some lives have ended before they could tell. */
static bool devices_agree(const struct counters *c)
{
	unsigned long asked = 0, has_answers = 0;
	unsigned int i;

	for (i = 0; i < nr_programs; i++) {
		ksft_print_msg("%s: %u programs, %lu groups, %lu answers\n",
			       programs[i].bdf, programs[i].life,
			       programs[i].asked, programs[i].answered);
		asked += programs[i].asked;
		has_answers += programs[i].answered;
	}
	return has_answers <= asked && asked <= c->groups + c->refused + c->dropped &&
	       has_answers <= c->success + c->invalid;
}

static bool tell_events(void)
{
	unsigned int i;

	for (i = 0; i < NR_EVENTS; i++)
		ksft_print_msg("%8u  %s\n", events_of(i), event_name[i]);
	return all_happened();
}

static unsigned long argument(int argc, char **argv, int i,
			      unsigned long otherwise)
{
	unsigned long value;
	char *end;

	if (argc <= i)
		return otherwise;
	value = strtoul(argv[i], &end, 0);
	if (end == argv[i] || *end)
		ksft_exit_fail_msg("'%s' is no number\n", argv[i]);
	return value;
}

static void find_programs(void)
{
	struct found found = { 0 };
	unsigned int i;

	iopf_pci_scan(find_endpoint, &found);
	if (!found.nr)
		ksft_exit_skip("no test endpoint 1234:11f0 with PRI on vfio-pci\n");
	nr_programs = found.nr;
	programs = mmap(NULL, nr_programs * sizeof(*programs),
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			0);
	if (programs == MAP_FAILED)
		ksft_exit_fail_perror("memory");
	for (i = 0; i < nr_programs; i++)
		memcpy(programs[i].bdf, found.bdf[i], sizeof(programs[i].bdf));
}

int main(int argc, char **argv)
{
	struct counters before, c;
	struct goal goal;
	int ret;

	ksft_print_header();
	goal.faults = argument(argc, argv, 1, 20000);
	goal.overflows = argument(argc, argv, 2, 10);
	goal.minutes = argument(argc, argv, 3, 0);
	seed = argument(argc, argv, 4, (unsigned long)iopf_now() & 0xffffffff);
	random_state = seed;
	ret = read_counters(NULL, &before);
	if (ret)
		ksft_exit_skip("%s: %s\n", IOPF_COUNTERS, strerror(-ret));
	find_programs();
	ksft_print_msg("seed %llu: %u devices, %lu faults, %lu overflows, %lu minutes\n",
		       seed, nr_programs, goal.faults, goal.overflows,
		       goal.minutes);
	/* What a device asks for while no table, or a bad one, is attached */
	expect_dma_faults(DMA_ANY_DEVICE, DMA_ANY_PASID, ".*", DMA_ANY_FAULT);

	ksft_set_plan(5);
	look_after_programs(true);
	disturb_until(&goal, &before);
	end_programs();
	ksft_test_result(!failed, "programs and devices do what they should\n");
	ksft_test_result(tell_events(), "all has happened\n");
	get_difference(&before, &c);
	ksft_test_result(nothing_open(&c), "nothing is open\n");
	ksft_test_result(answered_once(&c), "every group has one answer\n");
	ksft_test_result(devices_agree(&c), "devices and kernel count the same\n");
	ksft_finished();
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is measured inside of the machine: each row does its work some rounds long, with a
 * mark before and after it that the counting plugin sees (mark.h).
 *
 * The number of a test in the output is the row's number in its marks. A row that this
 * kernel cannot do is skipped, with the reason. Nothing here knows how much was counted.
 *
 * In a row that begins with an interrupt the program has to be asleep when the endpoint
 * asks for pages. So the endpoint is kept busy with nothing for a while before, which on
 * the host takes much longer than to fall asleep in the machine; the host sees by the
 * order of its records whether that went well, and drops a round in which it did not.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "iopf_endpoint.h"
#include "mark.h"

#define PAGE		4096ULL
#define HUGE		(2ULL << 20)
#define IOVA		(2 * BASE)
#define GROUP		512	/* pages */
#define ANSWERS		32
#define ROUNDS		21
/* The memory of a program that starts, and what it touches first: 5 % in all */
#define START_BYTES	(128ULL << 20)
#define START_GROUP	16	/* pages */
#define START_STRIDE	(20 * START_GROUP * PAGE)
#define START_ROUNDS	3
/* Instructions from one mark to the next in the row that shows whether all are counted */
#define KNOWN_TURNS	1000
#define KNOWN		2002
#define STR(x)		#x
#define XSTR(x)		STR(x)
/* Descriptors that the endpoint's ring takes at once */
#define IN_RING		(TESTDEV_RING_SIZE - 1)

enum row {
	ROW_ONE_PAGE = 1,
	ROW_GROUP,
	ROW_ANSWERS,
	ROW_ATTACH,
	ROW_REPLACE,
	ROW_DETACH,
	ROW_PINNED,
	ROW_PINNED_HUGE,
	ROW_ON_DEMAND,
	ROW_KNOWN,
	ROW_LAST = ROW_KNOWN,
};

struct bench {
	struct iopf_ctx *ctx;
	struct endpoint ep;
	int queue;		/* file of the fault queue */
	__u32 other;		/* a second page table, for replace */
	void *memory;		/* a group's, touched already */
	struct iopf_request rec[GROUP];
};

static struct bench bench;

/* Memory of its own, aligned for huge pages and not touched yet; NULL if there is none. */
static void *fresh_memory(__u64 size, bool huge)
{
	char *at = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	__u64 before;

	if (at == MAP_FAILED)
		return NULL;
	before = -(unsigned long)at % HUGE;
	if (before)
		munmap(at, before);
	munmap(at + before + size, HUGE - before);
	at += before;
	if (madvise(at, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return NULL;
	return at;
}

static int map(void *memory, __u64 iova, __u64 length)
{
	return iopf_ioas_map(bench.ctx, bench.ep.ioas_id, memory, length, iova, IOPF_RW);
}

static int unmap(__u64 length)
{
	return iopf_ioas_unmap(bench.ctx, bench.ep.ioas_id, IOVA, length);
}

/* Keep the endpoint busy before what is submitted next. */
static int busy_for_a_while(unsigned int *slot)
{
	struct testdev_op nothing = { .opcode = IOPF_TD_OP_NOP, .delay = 0xffff };

	return testdev_submit(&bench.ep.td, &nothing, slot);
}

/* Wait for a descriptor, which has to end well. */
static int wait_ok(unsigned int slot)
{
	struct testdev_result r;
	int ret = wait_op(&bench.ep, slot, &r);

	if (!ret && r.status != IOPF_TD_ST_OK)
		ret = iopf_err(-EIO, "the transfer ended with: %s", testdev_status(r.status));
	return ret;
}

/* System calls alone, for these are between marks. */
static unsigned int wait_and_read(unsigned int room)
{
	struct pollfd pfd = { .fd = bench.queue, .events = POLLIN };
	ssize_t len;

	/* for ever: a limit would be a timer more to start and to stop */
	poll(&pfd, 1, -1);
	len = read(bench.queue, bench.rec, room * sizeof(bench.rec[0]));
	return len > 0 ? len / sizeof(bench.rec[0]) : 0;
}

static bool answer(const struct iopf_request *rec)
{
	struct iopf_response resp = { .cookie = rec->cookie, .code = IOPF_SUCCESS };

	return write(bench.queue, &resp, sizeof(resp)) == sizeof(resp);
}

/* The marks of a row need its number when this is compiled. */
static __always_inline int fault_round(const enum row row, unsigned int pages)
{
	unsigned int slot[2], nr;
	bool answered;
	int ret, mapped;

	ret = busy_for_a_while(&slot[0]);
	if (!ret)
		ret = start_op(&bench.ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP, IOVA, pages * PAGE,
			       &slot[1]);
	if (ret)
		return ret;
	MARK(row, MARK_BEGIN);
	nr = wait_and_read(GROUP);
	MARK(row, MARK_READ);
	mapped = map(bench.memory, IOVA, pages * PAGE);
	answered = answer(&bench.rec[0]);
	MARK(row, MARK_END);
	if (mapped)
		return mapped;
	if (nr != pages)
		return iopf_err(-EIO, "read %u requests instead of %u", nr, pages);
	if (!answered)
		return iopf_err(-EIO, "the answer was refused");
	ret = wait_ok(slot[0]);
	if (!ret)
		ret = wait_ok(slot[1]);
	return ret ? ret : unmap(pages * PAGE);
}

static int one_page(void)
{
	return fault_round(ROW_ONE_PAGE, 1);
}

static int group(void)
{
	if (testdev_allocation(&bench.ep.td) < GROUP)
		return iopf_err(-EOPNOTSUPP, "the endpoint may have only %u requests open",
				testdev_allocation(&bench.ep.td));
	return fault_round(ROW_GROUP, GROUP);
}

static int many_answers(void)
{
	struct iopf_response resp[ANSWERS] = { 0 };
	unsigned int slot[ANSWERS], i, nr, found = 0;
	ssize_t written;
	int ret = 0;

	testdev_set(&bench.ep.td, IOPF_TD_REG_CONTEXTS, ANSWERS);
	for (i = 0; !ret && i < ANSWERS; i++)
		ret = start_op(&bench.ep, IOPF_TD_OP_FILL, 0, IOVA + i * PAGE, PAGE, &slot[i]);
	while (!ret && found < ANSWERS) {
		nr = wait_and_read(ANSWERS - found);
		if (!nr)
			ret = iopf_err(-EIO, "a read finds nothing");
		for (i = 0; i < nr; i++)
			resp[found++].cookie = bench.rec[i].cookie;
	}
	if (!ret)
		ret = map(bench.memory, IOVA, ANSWERS * PAGE);
	if (ret)
		return ret;
	MARK(ROW_ANSWERS, MARK_BEGIN);
	written = write(bench.queue, resp, sizeof(resp));
	MARK(ROW_ANSWERS, MARK_END);
	if (written != sizeof(resp))
		return iopf_err(-EIO, "%zd bytes of answers were taken", written);
	for (i = 0; !ret && i < ANSWERS; i++)
		ret = wait_ok(slot[i]);
	testdev_set(&bench.ep.td, IOPF_TD_REG_CONTEXTS, 1);
	return ret ? ret : unmap(ANSWERS * PAGE);
}

static int attach(void)
{
	int ret = iopf_dev_detach(bench.ep.dev);

	if (ret)
		return ret;
	MARK(ROW_ATTACH, MARK_BEGIN);
	ret = iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
	MARK(ROW_ATTACH, MARK_END);
	return ret;
}

static int replace(void)
{
	int ret;

	MARK(ROW_REPLACE, MARK_BEGIN);
	ret = iopf_dev_attach(bench.ep.dev, bench.other);
	MARK(ROW_REPLACE, MARK_END);
	return ret ? ret : iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
}

static int detach(void)
{
	int ret;

	MARK(ROW_DETACH, MARK_BEGIN);
	ret = iopf_dev_detach(bench.ep.dev);
	MARK(ROW_DETACH, MARK_END);
	return ret ? ret : iopf_dev_attach(bench.ep.dev, bench.ep.hwpt_id);
}

static __always_inline int pinned_round(const enum row row, bool huge)
{
	void *memory = fresh_memory(START_BYTES, huge);
	int ret;

	if (!memory)
		return iopf_err(-ENOMEM, "no memory to start with");
	MARK(row, MARK_BEGIN);
	ret = map(memory, IOVA, START_BYTES);
	MARK(row, MARK_END);
	if (!ret)
		ret = unmap(START_BYTES);
	munmap(memory, START_BYTES);
	return ret;
}

static int pinned(void)
{
	return pinned_round(ROW_PINNED, false);
}

static int pinned_huge(void)
{
	return pinned_round(ROW_PINNED_HUGE, true);
}

/* Serve one group of a program that starts. */
static int serve_start(char *memory)
{
	unsigned int nr = wait_and_read(GROUP);
	__u64 offset = bench.rec[0].addr - IOVA;
	int ret;

	if (nr != START_GROUP || offset % (START_GROUP * PAGE) || offset >= START_BYTES)
		return iopf_err(-EIO, "%u requests from %#llx on", nr, bench.rec[0].addr);
	ret = map(memory + offset, IOVA + offset, START_GROUP * PAGE);
	if (!ret && !answer(&bench.rec[0]))
		ret = iopf_err(-EIO, "the answer was refused");
	return ret;
}

static int on_demand(void)
{
	const unsigned int groups = START_BYTES / START_STRIDE;
	char *memory = fresh_memory(START_BYTES, false);
	unsigned int slot[IN_RING], i;
	int ret = 0;

	static_assert(START_BYTES / START_STRIDE <= IN_RING, "more than the ring takes");
	if (!memory)
		return iopf_err(-ENOMEM, "no memory to start with");
	MARK(ROW_ON_DEMAND, MARK_BEGIN);
	for (i = 0; !ret && i < groups; i++)
		ret = start_op(&bench.ep, IOPF_TD_OP_FILL, IOPF_TD_F_GROUP,
			       IOVA + i * START_STRIDE, START_GROUP * PAGE, &slot[i]);
	for (i = 0; !ret && i < groups; i++)
		ret = serve_start(memory);
	MARK(ROW_ON_DEMAND, MARK_END);
	for (i = 0; !ret && i < groups; i++)
		ret = wait_ok(slot[i]);
	if (!ret)
		ret = unmap(START_BYTES);
	munmap(memory, START_BYTES);
	return ret;
}

/* One to set the counter, two each turn, and a mark. */
static int known(void)
{
	static_assert(KNOWN == 1 + 2 * KNOWN_TURNS + 1, "number of instructions");
	MARK(ROW_KNOWN, MARK_BEGIN);
	asm volatile("movl %0, %%ecx\n"
		     "1:	decl %%ecx\n"
		     "	jnz 1b"
		     : : "i" (KNOWN_TURNS) : "ecx", "cc");
	MARK(ROW_KNOWN, MARK_END);
	return 0;
}

static const struct {
	const char *name;
	unsigned int rounds;
	int (*round)(void);
} rows[] = {
	[ROW_ONE_PAGE] = { "one-page", ROUNDS, one_page },
	[ROW_GROUP] = { "group", ROUNDS, group },
	[ROW_ANSWERS] = { "answers", ROUNDS, many_answers },
	[ROW_ATTACH] = { "attach", ROUNDS, attach },
	[ROW_REPLACE] = { "replace", ROUNDS, replace },
	[ROW_DETACH] = { "detach", ROUNDS, detach },
	[ROW_PINNED] = { "pinned", START_ROUNDS, pinned },
	[ROW_PINNED_HUGE] = { "pinned-huge", START_ROUNDS, pinned_huge },
	[ROW_ON_DEMAND] = { "on-demand", START_ROUNDS, on_demand },
	/* the host takes the number from the name */
	[ROW_KNOWN] = { "known-" XSTR(KNOWN), ROUNDS, known },
};

static int setup(void)
{
	struct found found = { 0 };
	int ret;

	iopf_pci_scan(find_endpoint, &found);
	if (!found.nr)
		return iopf_err(-ENODEV, "no test endpoint 1234:11f0 with PRI on vfio-pci");
	ret = iopf_ctx_open(&bench.ctx);
	if (!ret)
		ret = endpoint_open(&bench.ep, bench.ctx, found.bdf[0], NULL);
	if (!ret)
		ret = iopf_hwpt_alloc(bench.ctx, iopf_dev_id(bench.ep.dev), bench.ep.ioas_id,
				      bench.ep.queue, &bench.other);
	if (ret)
		return ret;
	bench.queue = iopf_queue_fd(bench.ep.queue);
	bench.memory = fresh_memory(GROUP * PAGE, false);
	if (!bench.memory)
		return iopf_err(-ENOMEM, "no memory for a group");
	memset(bench.memory, 1, GROUP * PAGE);
	return 0;
}

/* Returns 0, or what was wrong: -EOPNOTSUPP if this kernel cannot do it. */
static int run_row(enum row row)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < rows[row].rounds; i++)
		ret = rows[row].round();
	return ret;
}

int main(void)
{
	int ret, broken = setup(), failed = 0;
	enum row row;

	setlinebuf(stdout);
	printf("TAP version 13\n1..%d\n", ROW_LAST);
	for (row = ROW_ONE_PAGE; row <= ROW_LAST; row++) {
		ret = broken ? broken : run_row(row);
		if (ret && ret != -EOPNOTSUPP) {
			printf("# %s: %s\nnot ok %d %s\n", rows[row].name, iopf_error(), row,
			       rows[row].name);
			/* what is open now would be part of the next row */
			broken = ret;
			failed = 1;
		} else {
			printf("ok %d %s%s%s\n", row, rows[row].name, ret ? " # SKIP " : "",
			       ret ? iopf_error() : "");
		}
	}
	return failed;
}

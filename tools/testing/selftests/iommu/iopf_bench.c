// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test endpoint on VFIO, with what a test does with it again and again.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "iopf_bench.h"

int find_endpoint(const struct iopf_pci *pci, void *arg)
{
	struct found *found = arg;

	if (testdev_is(pci) && pci->cdev[0] && pci->pri &&
	    found->nr < MAX_DEVICES)
		memcpy(found->bdf[found->nr++], pci->bdf, sizeof(pci->bdf));
	return 0;
}

int bench_attach(struct bench *b)
{
	int ret;

	ret = iopf_hwpt_alloc(b->ctx, iopf_dev_id(b->dev), b->ioas_id,
			      b->queue, &b->hwpt_id);
	if (ret)
		return ret;
	return iopf_dev_attach(b->dev, b->hwpt_id);
}

int bench_open(struct bench *b, struct iopf_ctx *ctx, const char *bdf,
	       struct iopf_queue *queue)
{
	int ret;

	memset(b, 0, sizeof(*b));
	b->ctx = ctx;
	b->queue = queue;
	b->shared_queue = queue;
	ret = iopf_dev_open(ctx, bdf, &b->dev);
	if (!ret)
		ret = iopf_ioas_alloc(ctx, &b->ioas_id);
	if (!ret && !queue)
		ret = iopf_queue_open(ctx, &b->queue);
	if (!ret)
		ret = bench_attach(b);
	if (!ret)
		ret = iopf_backing_anon(ctx, b->ioas_id, BASE, SPAN, IOPF_RW,
					0, &b->backing);
	if (!ret)
		ret = testdev_open(b->dev, &b->td);
	return ret;
}

void bench_close(struct bench *b)
{
	testdev_close(&b->td);
	iopf_dev_close(b->dev);
	iopf_backing_close(b->backing);
	if (b->hwpt_id)
		iopf_destroy(b->ctx, b->hwpt_id);
	if (!b->shared_queue)
		iopf_queue_close(b->queue);
	if (b->ioas_id)
		iopf_destroy(b->ctx, b->ioas_id);
	memset(b, 0, sizeof(*b));
}

int start(struct bench *b, unsigned int opcode, unsigned int flags, __u64 iova,
	  __u32 length, unsigned int *slot)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = flags,
		.iova = iova,
		.length = length,
		.data = SEED,
	};

	return testdev_submit(&b->td, &op, slot);
}

void rest(void)
{
	struct timespec ts = { .tv_nsec = 2000000 };

	nanosleep(&ts, NULL);
}

int finish(struct bench *b, unsigned int slot, struct testdev_result *r)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	while (!testdev_done(&b->td, slot, r)) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"descriptor %u does not end: status %#x, %u requests open",
					slot,
					testdev_reg(&b->td, IOPF_TD_REG_STATUS),
					testdev_reg(&b->td, IOPF_TD_REG_PRI_OUTSTANDING));
		rest();
	}
	return 0;
}

int wait_reg(struct bench *b, unsigned int reg, __u32 value)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	while (testdev_reg(&b->td, reg) != value) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"register %#x stays %#x instead of %#x",
					reg, testdev_reg(&b->td, reg), value);
		rest();
	}
	return 0;
}

int check_group(const struct iopf_group *g)
{
	const __u32 flags = IOPF_REQUEST_PASID | IOPF_REQUEST_LAST;
	const __u32 perms = IOPF_RW | IOPF_EXEC | IOPF_PRIV;
	const struct iopf_request *rec;
	unsigned int i;
	bool last;

	for (i = 0; i < g->nr; i++) {
		rec = &g->rec[i];
		last = rec->flags & IOPF_REQUEST_LAST;
		if (rec->flags & ~flags)
			return iopf_err(-EPROTO, "flags %#x", rec->flags);
		if (last != (i == g->nr - 1))
			return iopf_err(-EPROTO, "last flag in record %u of %u",
					i, g->nr);
		if (rec->perm & ~perms)
			return iopf_err(-EPROTO, "permissions %#x", rec->perm);
		if (rec->unused || rec->length)
			return iopf_err(-EPROTO, "reserved %#x, length %#x",
					rec->unused, rec->length);
		if (rec->cookie != g->cookie || rec->grpid != g->grpid ||
		    rec->dev_id != g->dev_id)
			return iopf_err(-EPROTO, "record %u is of another group",
					i);
		if (rec->addr & 0xfff)
			return iopf_err(-EPROTO, "address %#llx", rec->addr);
		if (!(rec->flags & IOPF_REQUEST_PASID) && rec->pasid)
			return iopf_err(-EPROTO, "PASID %u without its flag",
					rec->pasid);
	}
	return 0;
}

int next_group(struct bench *b, struct iopf_group *g)
{
	int ret;

	ret = iopf_queue_wait(b->queue, LONG_MS);
	if (ret < 0)
		return ret;
	if (!ret)
		return iopf_err(-ETIMEDOUT, "no page request came");
	ret = iopf_queue_read(b->queue, g);
	if (ret < 0)
		return ret;
	if (!ret)
		return iopf_err(-EPROTO, "poll says readable, read finds nothing");
	return check_group(g);
}

int serve_group(struct bench *b, struct iopf_group *g)
{
	struct iopf_served served;
	int ret;

	ret = iopf_backing_serve(b->backing, g, &served);
	if (ret)
		fprintf(stderr, "# %s\n", iopf_error());
	return iopf_queue_answer(b->queue, g->cookie, served.code);
}

int serve(struct bench *b, unsigned int slot, struct testdev_result *r)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	struct iopf_group g;
	int ret;

	while (!testdev_done(&b->td, slot, r)) {
		ret = iopf_queue_wait(b->queue, 10);
		if (ret < 0)
			return ret;
		ret = ret ? iopf_queue_read(b->queue, &g) : 0;
		if (ret > 0) {
			ret = check_group(&g);
			if (!ret)
				ret = serve_group(b, &g);
			end = iopf_now() + LONG_MS * 1000000ULL;
		}
		if (ret < 0)
			return ret;
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"descriptor %u does not end and asks for nothing",
					slot);
	}
	return 0;
}

int transfer(struct bench *b, unsigned int opcode, __u64 iova, __u32 length)
{
	void *mem = iopf_backing_ptr(b->backing, iova);
	struct testdev_result r;
	unsigned int slot;
	int ret;

	if (opcode == IOPF_TD_OP_COMPARE)
		testdev_pattern(mem, length, SEED, 0);
	ret = start(b, opcode, 0, iova, length, &slot);
	if (!ret)
		ret = serve(b, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK || r.done != length)
		return iopf_err(-EIO,
				"%#llx: %s, error %d, %u of %u bytes, at %#llx",
				iova, testdev_status(r.status), r.ret, r.done,
				length, r.fail_addr);
	if (testdev_pattern_check(mem, length, SEED, 0) != length)
		return iopf_err(-EIO, "%#llx: the data are wrong", iova);
	return 0;
}

int check_answers(struct bench *b, int success, int invalid)
{
	struct testdev *td = &b->td;
	__u32 asked = testdev_reg(td, IOPF_TD_REG_CNT_PR_LAST);
	int ok = testdev_reg(td, IOPF_TD_REG_CNT_RSP_SUCCESS);
	int bad = testdev_reg(td, IOPF_TD_REG_CNT_RSP_INVALID);
	__u32 nr = testdev_responses(td);
	struct testdev_response r;
	__u32 i;
	int ret;

	if (testdev_reg(td, IOPF_TD_REG_PRI_OUTSTANDING) ||
	    testdev_reg(td, IOPF_TD_REG_PRI_GROUPS))
		return iopf_err(-EIO, "%u requests have no answer",
				testdev_reg(td, IOPF_TD_REG_PRI_OUTSTANDING));
	if (testdev_reg(td, IOPF_TD_REG_CNT_RSP_FAILURE))
		return iopf_err(-EIO, "a Response Failure came");
	if (testdev_reg(td, IOPF_TD_REG_CNT_RSP_UNMATCHED))
		return iopf_err(-EIO, "%u answers to no request",
				testdev_reg(td, IOPF_TD_REG_CNT_RSP_UNMATCHED));
	if ((__u32)(ok + bad) != asked)
		return iopf_err(-EIO, "%u groups, %d answers", asked, ok + bad);
	if (success >= 0 && ok != success)
		return iopf_err(-EIO, "%d times Success instead of %d", ok,
				success);
	if (invalid >= 0 && bad != invalid)
		return iopf_err(-EIO, "%d times Invalid instead of %d", bad,
				invalid);
	for (i = nr > IOPF_TD_RSPLOG_ENTRIES ? nr - IOPF_TD_RSPLOG_ENTRIES : 0;
	     i < nr; i++) {
		ret = testdev_response(td, i, &r);
		if (ret)
			return ret;
		if (r.flags & (IOPF_TD_RSP_F_UNMATCHED | IOPF_TD_RSP_F_LATE))
			return iopf_err(-EIO, "response %u has flags %#x", i,
					r.flags);
	}
	return 0;
}

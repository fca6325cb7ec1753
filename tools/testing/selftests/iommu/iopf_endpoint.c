// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test endpoint on VFIO, with what a test does with it again and again.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <linux/pci_regs.h>

#include "iopf_endpoint.h"

int ctx_ioctl(struct iopf_ctx *ctx, unsigned long cmd, void *arg,
	      const char *what)
{
	if (!ioctl(iopf_ctx_fd(ctx), cmd, arg))
		return 0;
	return iopf_err(-errno, "%s: %s", what, strerror(errno));
}

static void add_found(struct found *found, const struct iopf_pci *pci, bool asks)
{
	if (testdev_is(pci) && pci->cdev[0] && !!pci->pri == asks &&
	    found->nr < MAX_DEVICES)
		memcpy(found->bdf[found->nr++], pci->bdf, sizeof(pci->bdf));
}

int find_endpoint(const struct iopf_pci *pci, void *arg)
{
	add_found(arg, pci, true);
	return 0;
}

int find_silent(const struct iopf_pci *pci, void *arg)
{
	add_found(arg, pci, false);
	return 0;
}

__u32 find_any_endpoint(struct found *found)
{
	iopf_pci_scan(find_endpoint, found);
	if (found->nr)
		return IOPF_TD_ST_RSP_INVALID;
	iopf_pci_scan(find_silent, found);
	return IOPF_TD_ST_ACCESS_ERROR;
}

__u32 missed(struct endpoint *ep, bool asks)
{
	return asks ? 0 : testdev_reg(&ep->td, IOPF_TD_REG_CNT_STALL);
}

int wait_missed(struct endpoint *ep, bool asks, __u32 before, unsigned int nr)
{
	return wait_reg(ep, asks ? IOPF_TD_REG_PRI_OUTSTANDING :
				   IOPF_TD_REG_CNT_STALL, before + nr);
}

int hwpt_alloc(struct iopf_ctx *ctx, __u32 dev_id, __u32 pt_id, __u32 flags,
	       struct iopf_queue *queue, __u32 *hwpt_id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = pt_id,
	};

	if (queue) {
		cmd.flags |= IOMMU_HWPT_FAULT_ID_VALID;
		cmd.fault_id = iopf_queue_id(queue);
	}
	if (ioctl(iopf_ctx_fd(ctx), IOMMU_HWPT_ALLOC, &cmd))
		return -errno;
	*hwpt_id = cmd.out_hwpt_id;
	return 0;
}

int endpoint_attach(struct endpoint *ep)
{
	int ret;

	ret = iopf_hwpt_alloc(ep->ctx, iopf_dev_id(ep->dev), ep->ioas_id,
			      ep->queue, &ep->hwpt_id);
	if (ret)
		return ret;
	return iopf_dev_attach(ep->dev, ep->hwpt_id);
}

int endpoint_prepare(struct endpoint *ep, struct iopf_ctx *ctx, const char *bdf,
		     struct iopf_queue *queue)
{
	int ret;

	memset(ep, 0, sizeof(*ep));
	ep->ctx = ctx;
	ep->queue = queue;
	ep->shared_queue = queue;
	ret = iopf_dev_open(ctx, bdf, &ep->dev);
	if (!ret)
		ret = iopf_ioas_alloc(ctx, &ep->ioas_id);
	if (!ret && !queue)
		ret = iopf_queue_open(ctx, &ep->queue);
	if (!ret)
		ret = endpoint_attach(ep);
	if (!ret)
		ret = iopf_backing_anon(ctx, ep->ioas_id, BASE, SPAN, IOPF_RW,
					0, &ep->backing);
	return ret;
}

int endpoint_open(struct endpoint *ep, struct iopf_ctx *ctx, const char *bdf,
		  struct iopf_queue *queue)
{
	int ret = endpoint_prepare(ep, ctx, bdf, queue);

	return ret ? ret : testdev_open(ep->dev, &ep->td);
}

void endpoint_close(struct endpoint *ep)
{
	testdev_close(&ep->td);
	iopf_dev_close(ep->dev);
	iopf_backing_close(ep->backing);
	if (ep->hwpt_id)
		iopf_destroy(ep->ctx, ep->hwpt_id);
	if (!ep->shared_queue)
		iopf_queue_close(ep->queue);
	if (ep->ioas_id)
		iopf_destroy(ep->ctx, ep->ioas_id);
	memset(ep, 0, sizeof(*ep));
}

int config_word(struct endpoint *ep, unsigned int offset)
{
	__le16 val;
	int ret;

	ret = iopf_dev_config_read(ep->dev, offset, &val, sizeof(val));
	return ret ? ret : le16toh(val);
}

int start_op(struct endpoint *ep, unsigned int opcode, unsigned int flags, __u64 iova,
	     __u32 length, unsigned int *slot)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = flags,
		.iova = iova,
		.length = length,
		.data = SEED,
	};

	return testdev_submit(&ep->td, &op, slot);
}

void nap(void)
{
	struct timespec ts = { .tv_nsec = 2000000 };

	nanosleep(&ts, NULL);
}

int wait_op(struct endpoint *ep, unsigned int slot, struct testdev_result *r)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	while (!testdev_done(&ep->td, slot, r)) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"descriptor %u does not end: status %#x, %u requests open",
					slot,
					testdev_reg(&ep->td, IOPF_TD_REG_STATUS),
					testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
		nap();
	}
	return 0;
}

int wait_reg(struct endpoint *ep, unsigned int reg, __u32 value)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	while (testdev_reg(&ep->td, reg) != value) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT,
					"register %#x stays %#x instead of %#x",
					reg, testdev_reg(&ep->td, reg), value);
		nap();
	}
	return 0;
}

int check_group(const struct endpoint *ep, const struct iopf_group *g)
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
		if (rec->addr & 0xfff && !testdev_may_be_held(&ep->td))
			return iopf_err(-EPROTO, "address %#llx", rec->addr);
		if (!(rec->flags & IOPF_REQUEST_PASID) && rec->pasid)
			return iopf_err(-EPROTO, "PASID %u without its flag",
					rec->pasid);
	}
	return 0;
}

int next_group(struct endpoint *ep, struct iopf_group *g)
{
	int ret;

	ret = iopf_queue_wait(ep->queue, LONG_MS);
	if (ret < 0)
		return ret;
	if (!ret)
		return iopf_err(-ETIMEDOUT, "no page request came");
	ret = iopf_queue_read(ep->queue, g);
	if (ret < 0)
		return ret;
	if (!ret)
		return iopf_err(-EPROTO, "poll says readable, read finds nothing");
	return check_group(ep, g);
}

int open_groups(struct endpoint *ep, unsigned int *slot, __u32 *cookie)
{
	struct iopf_group g;
	int ret;

	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 8);
	ret = start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot[0]);
	if (!ret)
		ret = next_group(ep, &g);
	if (ret)
		return ret;
	*cookie = g.cookie;
	ret = start_op(ep, IOPF_TD_OP_FILL, 0, BASE + 0x10000, 4096, &slot[1]);
	if (!ret)
		ret = start_op(ep, IOPF_TD_OP_COMPARE, IOPF_TD_F_GROUP,
			       BASE + 0x20000, 0x3000, &slot[2]);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_CNT_PR_LAST, 3);
	if (ret)
		return ret;
	ret = iopf_queue_wait(ep->queue, LONG_MS);
	return ret == 1 ? 0 : iopf_err(-ETIMEDOUT, "no page request came");
}

/*
 * Answer a request that the device has forgotten, and all that can be read
 * after it. The kernel refuses such an answer (EINVAL), or takes and drops it.
 */
int answer_late(struct endpoint *ep, __u32 cookie, __u32 code)
{
	struct iopf_group g = { .cookie = cookie };
	int ret;

	do {
		ret = iopf_queue_answer(ep->queue, g.cookie, code);
		if (ret && ret != -EINVAL)
			return ret;
		ret = iopf_queue_read(ep->queue, &g);
	} while (ret > 0);
	return ret;
}

int serve_group(struct endpoint *ep, struct iopf_group *g)
{
	struct iopf_served served;
	int ret;

	ret = iopf_backing_serve(ep->backing, g, &served);
	if (ret)
		fprintf(stderr, "# %s\n", iopf_error());
	return iopf_queue_answer(ep->queue, g->cookie, served.code);
}

int serve_op(struct endpoint *ep, unsigned int slot, struct testdev_result *r)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	struct iopf_group g;
	int ret;

	while (!testdev_done(&ep->td, slot, r)) {
		ret = iopf_queue_wait(ep->queue, 10);
		if (ret < 0)
			return ret;
		ret = ret ? iopf_queue_read(ep->queue, &g) : 0;
		if (ret > 0) {
			ret = check_group(ep, &g);
			if (!ret)
				ret = serve_group(ep, &g);
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

int transfer(struct endpoint *ep, unsigned int opcode, __u64 iova, __u32 length)
{
	void *mem = iopf_backing_ptr(ep->backing, iova);
	struct testdev_result r;
	unsigned int slot;
	int ret;

	if (opcode == IOPF_TD_OP_COMPARE)
		testdev_pattern(mem, length, SEED, 0);
	ret = start_op(ep, opcode, 0, iova, length, &slot);
	if (!ret)
		ret = serve_op(ep, slot, &r);
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

void storm(struct endpoint *ep, unsigned int count, unsigned int group)
{
	struct testdev *td = &ep->td;

	testdev_set64(td, IOPF_TD_REG_STORM_ADDR, BASE);
	testdev_set(td, IOPF_TD_REG_STORM_STRIDE, 4096);
	testdev_set(td, IOPF_TD_REG_STORM_COUNT, count);
	testdev_set(td, IOPF_TD_REG_STORM_GROUP, group);
	testdev_set(td, IOPF_TD_REG_STORM_FLAGS,
		    IOPF_TD_STORM_F_READ | IOPF_TD_STORM_F_WRITE);
	testdev_set(td, IOPF_TD_REG_STORM_GO, 1);
}

int check_answers(struct endpoint *ep, int success, int invalid)
{
	struct testdev *td = &ep->td;
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

int endpoint_works(struct endpoint *ep)
{
	int pri = iopf_dev_ext_cap(ep->dev, PCI_EXT_CAP_ID_PRI);
	int ret, status;

	if (pri <= 0)
		return iopf_err(-EIO, "the page request interface is gone");
	ret = testdev_start(&ep->td);
	if (ret)
		return ret;
	if (!testdev_allocation(&ep->td))
		return iopf_err(-EIO, "page requests are off");
	ret = transfer(ep, IOPF_TD_OP_FILL, BASE + 0x40000, 0x4000);
	if (!ret)
		ret = check_answers(ep, -1, 0);
	if (ret)
		return ret;
	status = config_word(ep, pri + PCI_PRI_STATUS);
	if (status < 0 || status & (PCI_PRI_STATUS_UPRGI | PCI_PRI_STATUS_RF))
		return iopf_err(-EIO, "status of page requests: %#x", status);
	return 0;
}

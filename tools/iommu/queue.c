// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Fault queues: groups out, answers in.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* The kernel's records are handed out as they are. */
#define SAME(type, member, kernel_type, kernel_member) \
	static_assert(offsetof(struct type, member) == \
		      offsetof(struct kernel_type, kernel_member), #member)
SAME(iopf_request, flags, iommu_hwpt_pgfault, flags);
SAME(iopf_request, dev_id, iommu_hwpt_pgfault, dev_id);
SAME(iopf_request, pasid, iommu_hwpt_pgfault, pasid);
SAME(iopf_request, grpid, iommu_hwpt_pgfault, grpid);
SAME(iopf_request, perm, iommu_hwpt_pgfault, perm);
SAME(iopf_request, addr, iommu_hwpt_pgfault, addr);
SAME(iopf_request, length, iommu_hwpt_pgfault, length);
SAME(iopf_request, cookie, iommu_hwpt_pgfault, cookie);
SAME(iopf_response, cookie, iommu_hwpt_page_response, cookie);
SAME(iopf_response, code, iommu_hwpt_page_response, code);
static_assert(sizeof(struct iopf_request) == sizeof(struct iommu_hwpt_pgfault),
	      "size of a request");
static_assert(sizeof(struct iopf_response) ==
	      sizeof(struct iommu_hwpt_page_response), "size of a response");
static_assert((int)IOPF_REQUEST_PASID == (int)IOMMU_PGFAULT_FLAGS_PASID_VALID &&
	      (int)IOPF_REQUEST_LAST == (int)IOMMU_PGFAULT_FLAGS_LAST_PAGE,
	      "flags");
static_assert((int)IOPF_READ == (int)IOMMU_PGFAULT_PERM_READ &&
	      (int)IOPF_WRITE == (int)IOMMU_PGFAULT_PERM_WRITE &&
	      (int)IOPF_EXEC == (int)IOMMU_PGFAULT_PERM_EXEC &&
	      (int)IOPF_PRIV == (int)IOMMU_PGFAULT_PERM_PRIV, "permissions");
static_assert((int)IOPF_SUCCESS == (int)IOMMUFD_PAGE_RESP_SUCCESS &&
	      (int)IOPF_INVALID == (int)IOMMUFD_PAGE_RESP_INVALID, "answers");

/* Records the buffer holds at first; it grows with the groups. */
#define FIRST_RECORDS	64
/* A kernel that has a larger group than this waiting is broken. */
#define MAX_RECORDS	1048576

struct iopf_queue {
	struct iopf_ctx *ctx;
	int fd;
	__u32 id;
	struct iopf_request *rec;
	unsigned int size;	/* records the buffer has room for */
	unsigned int nr;	/* records in the buffer */
	unsigned int next;	/* first record not handed out yet */
	__u64 t_read;		/* when the buffer was filled */
	bool no_map;		/* the kernel cannot map and answer in one call */
};

static int queue_alloc(struct iopf_queue *q)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	int err;

	if (!ioctl(q->ctx->fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd)) {
		q->fd = cmd.out_fault_fd;
		q->id = cmd.out_fault_id;
		return 0;
	}
	err = errno;
	if (err == ENOTTY)
		return iopf_err(-err,
				"this kernel's iommufd has no fault queues; use Linux 6.11 or later");
	return iopf_err(-err, "cannot make a fault queue: %s", strerror(err));
}

int iopf_queue_open(struct iopf_ctx *ctx, struct iopf_queue **queue)
{
	struct iopf_queue *q;
	int ret;

	q = calloc(1, sizeof(*q));
	if (!q)
		return iopf_err(-ENOMEM, "out of memory");
	q->ctx = ctx;
	q->size = FIRST_RECORDS;
	q->rec = calloc(q->size, sizeof(*q->rec));
	if (!q->rec) {
		ret = iopf_err(-ENOMEM, "out of memory");
		goto free_queue;
	}
	ret = queue_alloc(q);
	if (ret)
		goto free_rec;
	*queue = q;
	return 0;

free_rec:
	free(q->rec);
free_queue:
	free(q);
	return ret;
}

void iopf_queue_close(struct iopf_queue *queue)
{
	if (!queue)
		return;
	/* The kernel refuses to destroy the object while its file is open. */
	close(queue->fd);
	iopf_destroy(queue->ctx, queue->id);
	free(queue->rec);
	free(queue);
}

int iopf_queue_fd(const struct iopf_queue *queue)
{
	return queue->fd;
}

__u32 iopf_queue_id(const struct iopf_queue *queue)
{
	return queue->id;
}

int iopf_queue_wait(struct iopf_queue *queue, int timeout_ms)
{
	struct pollfd pfd = { .fd = queue->fd, .events = POLLIN };
	int ret, err;

	if (queue->next < queue->nr)
		return 1;
	ret = poll(&pfd, 1, timeout_ms);
	if (ret < 0) {
		err = errno;
		return iopf_err(-err, "cannot wait for page requests: %s",
				 strerror(err));
	}
	if (!ret)
		return 0;
	if (!(pfd.revents & POLLIN))
		return iopf_err(-EIO,
				"the fault queue reports an error (poll events %#x)",
				 pfd.revents);
	return 1;
}

static int queue_grow(struct iopf_queue *q)
{
	struct iopf_request *rec;

	if (q->size >= MAX_RECORDS)
		return iopf_err(-EPROTO,
				"a page request group has more than %u requests",
				 q->size);
	rec = reallocarray(q->rec, q->size * 2, sizeof(*rec));
	if (!rec)
		return iopf_err(-ENOMEM, "out of memory");
	q->rec = rec;
	q->size *= 2;
	return 0;
}

static int queue_fill(struct iopf_queue *q)
{
	ssize_t len;
	int err;

	q->nr = 0;
	q->next = 0;
	for (;;) {
		len = read(q->fd, q->rec, q->size * sizeof(*q->rec));
		if (len >= 0)
			break;
		err = errno;
		if (err == EINTR)
			continue;
		/* EINVAL: the first group does not fit in the buffer. */
		if (err != EINVAL)
			return iopf_err(-err, "cannot read page requests: %s",
					 strerror(err));
		err = queue_grow(q);
		if (err)
			return err;
	}
	q->t_read = iopf_now();
	q->nr = len / sizeof(*q->rec);
	return 0;
}

int iopf_queue_read(struct iopf_queue *queue, struct iopf_group *group)
{
	const struct iopf_request *rec;
	unsigned int i;
	int ret;

	if (queue->next == queue->nr) {
		ret = queue_fill(queue);
		if (ret)
			return ret;
		if (!queue->nr)
			return 0;
	}

	rec = &queue->rec[queue->next];
	for (i = queue->next; i < queue->nr; i++) {
		if (queue->rec[i].cookie != rec->cookie)
			break;
		if (!(queue->rec[i].flags & IOPF_REQUEST_LAST))
			continue;
		memset(group, 0, sizeof(*group));
		group->rec = rec;
		group->nr = i + 1 - queue->next;
		group->cookie = rec->cookie;
		group->dev_id = rec->dev_id;
		group->grpid = rec->grpid;
		if (rec->flags & IOPF_REQUEST_PASID) {
			group->pasid_valid = true;
			group->pasid = rec->pasid;
		}
		group->t_read = queue->t_read;
		queue->next = i + 1;
		return 1;
	}
	queue->next = queue->nr;
	return iopf_err(-EPROTO,
			"the kernel delivered a page request group without an end (cookie %u)",
			 rec->cookie);
}

void iopf_queue_drop(struct iopf_queue *queue, __u32 dev_id)
{
	unsigned int i, out = queue->next;

	/* All records of a group name the same device. */
	for (i = queue->next; i < queue->nr; i++)
		if (queue->rec[i].dev_id != dev_id)
			queue->rec[out++] = queue->rec[i];
	queue->nr = out;
}

int iopf_queue_answer_many(struct iopf_queue *queue,
			   const struct iopf_response *resp, unsigned int nr)
{
	ssize_t len;
	int err;

	do {
		len = write(queue->fd, resp, nr * sizeof(*resp));
	} while (len < 0 && errno == EINTR);
	if (len >= 0)
		return len / sizeof(*resp);
	err = errno;
	if (err == EINVAL)
		return iopf_err(-err,
				"answer to cookie %u refused: its group waits for none any more (a detach answers too), or code %u is unknown",
				 resp->cookie, resp->code);
	return iopf_err(-err, "cannot answer cookie %u: %s", resp->cookie,
			 strerror(err));
}

int iopf_queue_answer(struct iopf_queue *queue, __u32 cookie, __u32 code)
{
	struct iopf_response resp = {
		.cookie = cookie,
		.code = code,
	};
	int ret;

	ret = iopf_queue_answer_many(queue, &resp, 1);
	return ret < 0 ? ret : 0;
}

/* At most so many mappings are made by one call. */
#define MAPS_AT_ONCE	64

/* The kernel maps and answers. Returns how many are done; @err is 0 or an errno. */
static unsigned int map_and_answer(struct iopf_queue *q, __u32 ioas_id,
				   const struct iopf_mapping *maps,
				   unsigned int nr, int *err)
{
	struct iopf_map_answer entry[MAPS_AT_ONCE];
	struct iopf_queue_map cmd = {
		.size = sizeof(cmd),
		.iommufd = q->ctx->fd,
		.ioas_id = ioas_id,
		.entries = (uintptr_t)entry,
		.entry_num = nr,
	};
	unsigned int i;

	for (i = 0; i < nr; i++)
		entry[i] = (struct iopf_map_answer){
			.user_va = (uintptr_t)maps[i].va,
			.length = maps[i].length,
			.iova = maps[i].iova,
			.flags = iopf_map_flags(maps[i].prot),
			.cookie = maps[i].cookie,
		};
	*err = 0;
	if (!ioctl(q->fd, IOPF_QUEUE_MAP, &cmd))
		return nr;
	*err = errno;
	/* What is wrong with all of them is said before any is looked at. */
	return cmd.entry_num < nr ? cmd.entry_num : 0;
}

/* The same, of a kernel that has no such call. */
static unsigned int map_then_answer(struct iopf_queue *q, __u32 ioas_id,
				    const struct iopf_mapping *maps,
				    unsigned int nr, int *err)
{
	struct iopf_response resp[MAPS_AT_ONCE];
	unsigned int i, sent, answers = 0;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		ret = iopf_ioas_map(q->ctx, ioas_id, maps[i].va,
				    maps[i].length, maps[i].iova,
				    maps[i].prot);
		if (ret)
			break;
		if (!maps[i].cookie)
			continue;
		resp[answers++] = (struct iopf_response){
			.cookie = maps[i].cookie,
			.code = IOPF_SUCCESS,
		};
	}
	*err = -ret;

	for (sent = 0; sent < answers; sent++) {
		ret = iopf_queue_answer_many(q, resp + sent, answers - sent);
		if (ret > 0)
			sent += ret;
	}
	return i;
}

static int refused(const struct iopf_mapping *map, int err)
{
	if (err == EINVAL && map->cookie)
		return iopf_err(-err,
				"cannot map for cookie %u: its group waits for none any more, or the memory is not whole pages",
				map->cookie);
	return iopf_map_error(err, map->iova, map->length);
}

int iopf_queue_map(struct iopf_queue *queue, __u32 ioas_id,
		   const struct iopf_mapping *maps, unsigned int nr)
{
	unsigned int done = 0, now;
	int err = 0;

	while (!err && done < nr) {
		now = nr - done < MAPS_AT_ONCE ? nr - done : MAPS_AT_ONCE;
		if (queue->no_map) {
			done += map_then_answer(queue, ioas_id, maps + done,
						now, &err);
			continue;
		}
		done += map_and_answer(queue, ioas_id, maps + done, now, &err);
		if (err == ENOTTY) {
			queue->no_map = true;
			err = 0;
		}
	}
	if (err && !done)
		return queue->no_map ? -err : refused(maps, err);
	return done;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The serving loop of the iopf program: a queue, the memory behind it, what
 * to answer, and what happened so far.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SERVER_H
#define IOPF_SERVER_H

#include <stdio.h>

#include "libiopf.h"
#include "limit.h"

/**
 * struct server_count - what was served
 * @requests: page requests read
 * @groups: groups read
 * @pages: pages mapped
 * @calls: map calls
 * @invalid: groups answered INVALID
 * @stale: groups that were answered by someone else before us (a detach)
 * @errors: map calls that failed
 */
struct server_count {
	__u64 requests;
	__u64 groups;
	__u64 pages;
	__u64 calls;
	__u64 invalid;
	__u64 stale;
	__u64 errors;
};

/**
 * struct server - state of a serving loop
 * @pasid: PASID to serve, 0 for requests without one
 * @rid_ioas: empty address space of the RID, if a PASID is served
 * @rid_hwpt: its page table
 * @queue: fault queue
 * @backing: memory to map from
 * @answer_invalid: map nothing and answer INVALID
 * @log: file to write a line per group to, or NULL
 * @log_left: lines that may still be written
 * @limited: of these, no more than @lines allows
 * @lines: limit of lines per group
 * @complaints: limit of lines about pages that could not be mapped
 * @count: what was served
 * @time: from the read of a group to the end of the write of its answer
 */
struct server {
	__u32 pasid;
	__u32 rid_ioas;
	__u32 rid_hwpt;
	struct iopf_queue *queue;
	struct iopf_backing *backing;
	bool answer_invalid;
	FILE *log;
	__u64 log_left;
	bool limited;
	struct limit lines;
	struct limit complaints;
	struct server_count count;
	struct iopf_stat time;
};

/*
 * Groups that are served at once: a device that never stops to ask must not
 * keep the program from looking at anything else.
 */
#define SERVER_BATCH	64

/**
 * server_run - serve groups that wait now
 * @s: state
 *
 * A group that cannot be mapped is answered INVALID and counted, and the loop
 * goes on.
 *
 * Return: number of groups, or a negative errno when the queue is broken. If it
 * is SERVER_BATCH there may be more, which poll() need not tell.
 */
int server_run(struct server *s);

/**
 * server_open - queue, page table, memory and attach for a device
 * @ctx: context
 * @dev: device
 * @s: with @s->pasid; @s->queue and what the RID has are set
 * @ioas_id: set to the address space
 * @hwpt_id: set to the page table
 *
 * Return: 0 or a negative errno.
 */
int server_open(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s,
		__u32 *ioas_id, __u32 *hwpt_id);

/**
 * server_close - stop the device and undo server_open()
 * @ctx: context
 * @dev: device
 * @s: state; @s->backing is closed too
 * @ioas_id: address space
 * @hwpt_id: page table
 */
void server_close(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s,
		  __u32 ioas_id, __u32 hwpt_id);

/**
 * server_open_process - let a device have the addresses of a process
 * @ctx: context
 * @dev: device
 * @s: with @s->pasid, not 0; what the RID has is set. The kernel serves
 * @pidfd: of the process, or -1
 * @hwpt_id: set to the page table
 *
 * Return: 0 or a negative errno.
 */
int server_open_process(struct iopf_ctx *ctx, struct iopf_dev *dev,
			struct server *s, int pidfd, __u32 *hwpt_id);

/**
 * server_close_process - stop the device and undo server_open_process()
 * @ctx: context
 * @dev: device
 * @s: state
 * @hwpt_id: page table
 */
void server_close_process(struct iopf_ctx *ctx, struct iopf_dev *dev,
			  struct server *s, __u32 hwpt_id);

/**
 * server_log_end - say how many lines were left out, if any
 * @s: state
 */
void server_log_end(struct server *s);

/**
 * server_table - print what was served
 * @out: file
 * @s: state
 */
void server_table(FILE *out, const struct server *s);

/**
 * server_time_row - print a row of times: label, min, median, p99, max
 * @out: file
 * @label: text
 * @stat: times
 */
void server_time_row(FILE *out, const char *label,
		     const struct iopf_stat *stat);

#endif /* IOPF_SERVER_H */

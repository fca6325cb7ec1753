// SPDX-License-Identifier: GPL-2.0-only
/*
 * The serving loop of the iopf program.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "server.h"

static const char *perm_text(const struct iopf_group *group)
{
	static const char * const text[] = { "-", "r", "w", "rw" };
	unsigned int i, perm = 0;

	for (i = 0; i < group->nr; i++)
		perm |= group->rec[i].perm;
	return text[perm & IOPF_RW];
}

static void log_dropped(struct server *s, __u64 dropped)
{
	if (dropped)
		fprintf(s->log, "  ... %llu group%s more (--verbose shows all)\n",
			dropped, dropped == 1 ? "" : "s");
}

void server_log_end(struct server *s)
{
	if (s->log)
		log_dropped(s, s->lines.dropped);
	s->lines.dropped = 0;
	if (s->complaints.dropped)
		cli_error("%llu more of these errors",
			  s->complaints.dropped);
	s->complaints.dropped = 0;
}

static void log_group(struct server *s, const struct iopf_group *group,
		      const struct iopf_served *served, __u64 ns)
{
	__u64 first = ~0ULL, last = 0;
	char pasid[24] = "";
	char time[24];
	unsigned int i;
	__u64 dropped;

	if (!s->log || !s->log_left)
		return;
	if (s->limited) {
		if (!limit_pass(&s->lines, group->t_read, &dropped))
			return;
		log_dropped(s, dropped);
	}
	s->log_left--;
	for (i = 0; i < group->nr; i++) {
		if (group->rec[i].addr < first)
			first = group->rec[i].addr;
		if (group->rec[i].addr > last)
			last = group->rec[i].addr;
	}
	if (group->pasid_valid)
		snprintf(pasid, sizeof(pasid), " pasid %u", group->pasid);
	fprintf(s->log, "  group %-3u%s %3u request%s %-2s %#llx",
		group->grpid, pasid, group->nr, group->nr == 1 ? " " : "s",
		perm_text(group), first);
	if (last != first)
		fprintf(s->log, "..%#llx", last);
	if (served->code == IOPF_SUCCESS)
		fprintf(s->log, ": %u page%s in %u map call%s, SUCCESS, %s\n",
			served->pages + served->upgraded,
			served->pages + served->upgraded == 1 ? "" : "s",
			served->runs, served->runs == 1 ? "" : "s",
			cli_time(time, ns));
	else
		fprintf(s->log, ": %s, INVALID, %s\n", served->reason,
			cli_time(time, ns));
	if (!s->log_left)
		fputs("  ... (--verbose shows all groups)\n", s->log);
}

/* Mapping failed. The next groups may fail alike, so the lines are limited. */
static void complain(struct server *s, __u64 now)
{
	__u64 dropped;

	if (!limit_pass(&s->complaints, now, &dropped))
		return;
	if (dropped)
		cli_error("%s (and %llu more of these errors)", iopf_error(),
			  dropped);
	else
		cli_lib_error();
}

static int serve_group(struct server *s, const struct iopf_group *group)
{
	struct iopf_served served = {
		.code = IOPF_INVALID,
		.reason = "as told",
	};
	__u64 ns;
	int ret;

	if (!s->answer_invalid &&
	    iopf_backing_serve(s->backing, group, &served)) {
		s->count.errors++;
		complain(s, group->t_read);
	}
	ret = iopf_queue_answer(s->queue, group->cookie, served.code);
	ns = iopf_now() - group->t_read;
	if (ret == -EINVAL)
		s->count.stale++;
	else if (ret)
		return ret;

	iopf_stat_add(&s->time, ns);
	s->count.requests += group->nr;
	s->count.groups++;
	s->count.pages += served.pages + served.upgraded;
	s->count.calls += served.runs;
	if (served.code != IOPF_SUCCESS)
		s->count.invalid++;
	log_group(s, group, &served, ns);
	return 0;
}

int server_run(struct server *s)
{
	struct iopf_group group;
	int ret, nr = 0;

	while (nr < SERVER_BATCH) {
		ret = iopf_queue_read(s->queue, &group);
		if (ret <= 0)
			return ret ? ret : nr;
		ret = serve_group(s, &group);
		if (ret)
			return ret;
		nr++;
	}
	return nr;
}

/* Beside PASIDs the RID has a page table, with which its interrupts work. */
static int open_rid(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s)
{
	int ret;

	ret = iopf_ioas_alloc(ctx, &s->rid_ioas);
	if (ret)
		return ret;
	ret = iopf_hwpt_alloc_pasid(ctx, iopf_dev_id(dev), s->rid_ioas, NULL,
				    &s->rid_hwpt);
	if (ret)
		goto destroy_ioas;
	ret = iopf_dev_attach(dev, s->rid_hwpt);
	if (ret)
		goto destroy_hwpt;
	return 0;

destroy_hwpt:
	iopf_destroy(ctx, s->rid_hwpt);
destroy_ioas:
	iopf_destroy(ctx, s->rid_ioas);
	return ret;
}

static void close_rid(struct iopf_ctx *ctx, struct iopf_dev *dev,
		      struct server *s)
{
	iopf_dev_detach(dev);
	iopf_destroy(ctx, s->rid_hwpt);
	iopf_destroy(ctx, s->rid_ioas);
}

static int attach(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s,
		  __u32 hwpt_id)
{
	int ret;

	if (!s->pasid)
		return iopf_dev_attach(dev, hwpt_id);
	ret = open_rid(ctx, dev, s);
	if (ret)
		return ret;
	ret = iopf_dev_attach_pasid(dev, s->pasid, hwpt_id);
	if (ret)
		close_rid(ctx, dev, s);
	return ret;
}

static void detach(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s)
{
	if (!s->pasid) {
		iopf_dev_detach(dev);
		return;
	}
	iopf_dev_detach_pasid(dev, s->pasid);
	close_rid(ctx, dev, s);
}

int server_open(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s,
		__u32 *ioas_id, __u32 *hwpt_id)
{
	int ret;

	ret = iopf_ioas_alloc(ctx, ioas_id);
	if (ret)
		return ret;
	ret = iopf_queue_open(ctx, &s->queue);
	if (ret)
		goto destroy_ioas;
	if (s->pasid)
		ret = iopf_hwpt_alloc_pasid(ctx, iopf_dev_id(dev), *ioas_id,
					    s->queue, hwpt_id);
	else
		ret = iopf_hwpt_alloc(ctx, iopf_dev_id(dev), *ioas_id,
				      s->queue, hwpt_id);
	if (ret)
		goto close_queue;
	ret = attach(ctx, dev, s, *hwpt_id);
	if (ret)
		goto destroy_hwpt;
	return 0;

destroy_hwpt:
	iopf_destroy(ctx, *hwpt_id);
close_queue:
	iopf_queue_close(s->queue);
	s->queue = NULL;
destroy_ioas:
	iopf_destroy(ctx, *ioas_id);
	return ret;
}

void server_close(struct iopf_ctx *ctx, struct iopf_dev *dev, struct server *s,
		  __u32 ioas_id, __u32 hwpt_id)
{
	/* The device may still be in the middle of a transfer. */
	iopf_dev_bus_master(dev, false);
	detach(ctx, dev, s);
	iopf_backing_close(s->backing);
	s->backing = NULL;
	iopf_destroy(ctx, hwpt_id);
	iopf_queue_close(s->queue);
	s->queue = NULL;
	iopf_destroy(ctx, ioas_id);
}

int server_open_process(struct iopf_ctx *ctx, struct iopf_dev *dev,
			struct server *s, int pidfd, __u32 *hwpt_id)
{
	int ret;

	ret = iopf_hwpt_alloc_process(ctx, iopf_dev_id(dev), pidfd, hwpt_id);
	if (ret)
		return ret;
	ret = attach(ctx, dev, s, *hwpt_id);
	if (ret)
		iopf_destroy(ctx, *hwpt_id);
	return ret;
}

void server_close_process(struct iopf_ctx *ctx, struct iopf_dev *dev,
			  struct server *s, __u32 hwpt_id)
{
	iopf_dev_bus_master(dev, false);
	detach(ctx, dev, s);
	iopf_destroy(ctx, hwpt_id);
}

void server_time_row(FILE *out, const char *label,
		     const struct iopf_stat *stat)
{
	char min[24], median[24], p99[24], max[24];

	fprintf(out, "  %-28s %10s %10s %10s %10s\n", label,
		cli_time(min, stat->min),
		cli_time(median, iopf_stat_quantile(stat, 500)),
		cli_time(p99, iopf_stat_quantile(stat, 990)),
		cli_time(max, stat->max));
}

void server_table(FILE *out, const struct server *s)
{
	const struct server_count *c = &s->count;

	fprintf(out, "\n  %10s %10s %13s %10s %10s %10s\n", "requests",
		"groups", "pages mapped", "map calls", "INVALID", "errors");
	fprintf(out, "  %10llu %10llu %13llu %10llu %10llu %10llu\n",
		c->requests, c->groups, c->pages, c->calls, c->invalid,
		c->errors);
	if (c->stale)
		fprintf(out, "  %llu groups were answered by the kernel first\n",
			c->stale);
	if (c->groups) {
		fprintf(out, "\n  %-28s %10s %10s %10s %10s\n", "latency",
			"min", "median", "p99", "max");
		server_time_row(out, "program, read to answer", &s->time);
	}
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Several devices in one loop: each has an address space and memory of its
 * own, all of them share one fault queue, and each group says whose it is.
 *
 *	several 0000:01:00.0 0000:02:00.0
 *
 * Exit status: 0 all bytes are right, 1 they are not, 2 something failed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdio.h>
#include <stdlib.h>

#include "endpoint.h"

#define IOVA	0x100000000ULL
#define LENGTH	0x20000
#define MOST	8

struct one {
	struct iopf_dev *dev;
	struct iopf_backing *backing;
	struct endpoint ep;
	__u32 seed;
	unsigned int groups;
};

static int must(int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "several: %s\n", iopf_error());
	exit(2);
}

static void set_up(struct iopf_ctx *ctx, struct iopf_queue *queue,
		   const char *bdf, struct one *one)
{
	__u32 ioas, hwpt;

	must(iopf_dev_open(ctx, bdf, &one->dev));
	must(iopf_ioas_alloc(ctx, &ioas));
	must(iopf_hwpt_alloc(ctx, iopf_dev_id(one->dev), ioas, queue, &hwpt));
	must(iopf_dev_attach(one->dev, hwpt));
	must(iopf_backing_anon(ctx, ioas, IOVA, LENGTH, IOPF_RW, 0,
			       &one->backing));
	must(endpoint_open(one->dev, &one->ep));
}

static struct one *find(struct one *one, int nr, __u32 dev_id)
{
	for (; nr; nr--, one++)
		if (iopf_dev_id(one->dev) == dev_id)
			return one;
	fprintf(stderr, "several: a group of device %u, which is not ours\n",
		dev_id);
	exit(2);
}

static void serve(struct iopf_queue *queue, struct one *all, int nr)
{
	struct iopf_served served;
	struct iopf_group group;
	struct one *one;

	while (must(iopf_queue_read(queue, &group))) {
		one = find(all, nr, group.dev_id);
		must(iopf_backing_serve(one->backing, &group, &served));
		must(iopf_queue_answer(queue, group.cookie, served.code));
		one->groups++;
	}
}

static int busy(const struct one *one, int nr)
{
	while (nr--)
		if (!endpoint_status(&one[nr].ep))
			return 1;
	return 0;
}

static int check(const struct one *one)
{
	const unsigned char *mem;
	__u32 i;

	mem = (const unsigned char *)iopf_backing_ptr(one->backing, IOVA);
	for (i = 0; i < LENGTH; i++)
		if (mem[i] != endpoint_byte(one->seed, i))
			break;
	printf("%s: %u groups, %s\n", iopf_dev_bdf(one->dev), one->groups,
	       i == LENGTH ? "all bytes are right" : "wrong data");
	return i != LENGTH || endpoint_status(&one->ep) != ENDPOINT_OK;
}

int main(int argc, char **argv)
{
	static struct one one[MOST];
	struct iopf_queue *queue;
	struct iopf_ctx *ctx;
	int i, nr = argc - 1, ret = 0;

	if (nr < 1 || nr > MOST) {
		fprintf(stderr, "usage: several PCI-ADDRESS...\n");
		return 2;
	}
	must(iopf_ctx_open(&ctx));
	must(iopf_queue_open(ctx, &queue));
	for (i = 0; i < nr; i++)
		set_up(ctx, queue, argv[i + 1], &one[i]);
	for (i = 0; i < nr; i++) {
		one[i].seed = 0x1000 + i;
		endpoint_start(&one[i].ep, ENDPOINT_FILL, IOVA, LENGTH,
			       one[i].seed);
	}
	while (busy(one, nr))
		if (must(iopf_queue_wait(queue, 10)))
			serve(queue, one, nr);
	for (i = 0; i < nr; i++)
		ret |= check(&one[i]);
	/* The end of the process closes all that is open. */
	return ret;
}

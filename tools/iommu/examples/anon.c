// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Serve memory of this process: the device writes 64 KiB that no one mapped.
 *
 *	anon 0000:01:00.0
 *
 * Exit status: 0 all bytes are right, 1 they are not, 2 something failed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdio.h>
#include <stdlib.h>

#include "endpoint.h"

#define IOVA	0x100000000ULL
#define LENGTH	0x10000
#define SEED	0x12345678

/* The end of the process closes all that is open, in the right order. */
static int must(int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "anon: %s\n", iopf_error());
	exit(2);
}

static void serve_one(struct iopf_queue *queue, struct iopf_backing *backing)
{
	struct iopf_served served;
	struct iopf_group group;

	if (!must(iopf_queue_read(queue, &group)))
		return;
	must(iopf_backing_serve(backing, &group, &served));
	must(iopf_queue_answer(queue, group.cookie, served.code));
	printf("%u requests from %#llx on: %u pages mapped\n", group.nr,
	       (unsigned long long)group.rec[0].addr, served.pages);
}

static int check(const unsigned char *mem)
{
	__u32 i;

	for (i = 0; i < LENGTH; i++) {
		if (mem[i] == endpoint_byte(SEED, i))
			continue;
		printf("byte %u is wrong\n", i);
		return 1;
	}
	printf("all bytes are right\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct iopf_backing *backing;
	struct iopf_queue *queue;
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct endpoint ep;
	__u32 ioas, hwpt;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: anon PCI-ADDRESS\n");
		return 2;
	}
	/* The way: an address space, its page table with a queue, the device. */
	must(iopf_ctx_open(&ctx));
	must(iopf_dev_open(ctx, argv[1], &dev));
	must(iopf_ioas_alloc(ctx, &ioas));
	must(iopf_queue_open(ctx, &queue));
	must(iopf_hwpt_alloc(ctx, iopf_dev_id(dev), ioas, queue, &hwpt));
	must(iopf_dev_attach(dev, hwpt));
	must(iopf_backing_anon(ctx, ioas, IOVA, LENGTH, IOPF_RW, 0, &backing));

	must(endpoint_open(dev, &ep));
	endpoint_start(&ep, ENDPOINT_FILL, IOVA, LENGTH, SEED);

	/* The time limit is only for the look at the end of the transfer. */
	while (!endpoint_status(&ep))
		if (must(iopf_queue_wait(queue, 10)))
			serve_one(queue, backing);
	if (endpoint_status(&ep) != ENDPOINT_OK) {
		printf("the transfer failed, status %u\n",
		       endpoint_status(&ep));
		return 1;
	}
	ret = check((const unsigned char *)iopf_backing_ptr(backing, IOVA));

	/* The way back */
	endpoint_close(&ep);
	iopf_dev_detach(dev);
	iopf_backing_close(backing);
	iopf_destroy(ctx, hwpt);
	iopf_queue_close(queue);
	iopf_destroy(ctx, ioas);
	iopf_dev_close(dev);
	iopf_ctx_close(ctx);
	return ret;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Refuse: look at each request of a group, say no, and see the device give up.
 *
 *	refuse 0000:01:00.0
 *
 * Exit status: 0 the device reports the refusal, 1 it does not, 2 something
 * failed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdio.h>
#include <stdlib.h>

#include "endpoint.h"

static int must(int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "refuse: %s\n", iopf_error());
	exit(2);
}

static void show(const struct iopf_group *group)
{
	const struct iopf_request *rec;
	unsigned int i;

	for (i = 0; i < group->nr; i++) {
		rec = &group->rec[i];
		printf("group %u of device %u: %s%s %#llx%s\n", rec->grpid,
		       rec->dev_id, rec->perm & IOPF_READ ? "r" : "",
		       rec->perm & IOPF_WRITE ? "w" : "",
		       (unsigned long long)rec->addr,
		       rec->flags & IOPF_REQUEST_LAST ? ", last" : "");
	}
}

int main(int argc, char **argv)
{
	unsigned int refused = 0;
	struct iopf_queue *queue;
	struct iopf_group group;
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct endpoint ep;
	__u32 ioas, hwpt;

	if (argc != 2) {
		fprintf(stderr, "usage: refuse PCI-ADDRESS\n");
		return 2;
	}
	must(iopf_ctx_open(&ctx));
	must(iopf_dev_open(ctx, argv[1], &dev));
	must(iopf_ioas_alloc(ctx, &ioas));
	must(iopf_queue_open(ctx, &queue));
	must(iopf_hwpt_alloc(ctx, iopf_dev_id(dev), ioas, queue, &hwpt));
	must(iopf_dev_attach(dev, hwpt));

	must(endpoint_open(dev, &ep));
	endpoint_start(&ep, ENDPOINT_FILL, 0xdead0000, 4096, 0);
	while (!endpoint_status(&ep)) {
		if (!must(iopf_queue_wait(queue, 10)))
			continue;
		while (must(iopf_queue_read(queue, &group))) {
			show(&group);
			must(iopf_queue_answer(queue, group.cookie,
					       IOPF_INVALID));
			refused++;
		}
	}
	printf("%u groups refused, the device ended with status %u\n", refused,
	       endpoint_status(&ep));
	/* The end of the process closes all that is open. */
	return refused && endpoint_status(&ep) == ENDPOINT_REFUSED ? 0 : 1;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Serve a file: the device reads it at an address of its own, and gets each
 * page from the page cache when it asks for it.
 *
 *	file 0000:01:00.0 FILE
 *
 * Exit status: 0 the device has the file's bytes, 1 it has others, 2 something
 * failed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "endpoint.h"

#define IOVA		0x200000000ULL
#define MOST		0x20000		/* of the file, what the device reads */

static int must(int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "file: %s\n", iopf_error());
	exit(2);
}

/* The device's copy against the file, read in the usual way. */
static int compare(const struct endpoint *ep, int fd, size_t length)
{
	static unsigned char want[MOST], have[MOST];

	if (pread(fd, want, length, 0) != (ssize_t)length) {
		perror("file: cannot read");
		return 2;
	}
	must(iopf_region_copy_in(&ep->ram, ENDPOINT_DATA, have, length));
	if (memcmp(have, want, length)) {
		printf("the device has other bytes\n");
		return 1;
	}
	printf("the device has %zu bytes of the file\n", length);
	return 0;
}

int main(int argc, char **argv)
{
	struct iopf_backing *backing;
	struct iopf_served served;
	struct iopf_queue *queue;
	struct iopf_group group;
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct endpoint ep;
	__u32 ioas, hwpt;
	size_t length;
	struct stat st;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: file PCI-ADDRESS FILE\n");
		return 2;
	}
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		perror(argv[2]);
		return 2;
	}
	length = (st.st_size < MOST ? st.st_size : MOST) & ~3UL;

	must(iopf_ctx_open(&ctx));
	must(iopf_dev_open(ctx, argv[1], &dev));
	must(iopf_ioas_alloc(ctx, &ioas));
	must(iopf_queue_open(ctx, &queue));
	must(iopf_hwpt_alloc(ctx, iopf_dev_id(dev), ioas, queue, &hwpt));
	must(iopf_dev_attach(dev, hwpt));
	/* Length 0: all of the file. The device may only read. */
	must(iopf_backing_file(ctx, ioas, argv[2], IOVA, 0, IOPF_READ, 0,
			       &backing));

	must(endpoint_open(dev, &ep));
	endpoint_start(&ep, ENDPOINT_READ, IOVA, length, 0);
	while (!endpoint_status(&ep)) {
		if (!must(iopf_queue_wait(queue, 10)))
			continue;
		while (must(iopf_queue_read(queue, &group))) {
			must(iopf_backing_serve(backing, &group, &served));
			must(iopf_queue_answer(queue, group.cookie,
					       served.code));
		}
	}
	if (endpoint_status(&ep) != ENDPOINT_OK) {
		printf("the transfer failed, status %u\n",
		       endpoint_status(&ep));
		return 1;
	}
	printf("%llu pages were mapped\n",
	       (unsigned long long)iopf_backing_mapped(backing));
	/* The end of the process closes all that is open. */
	return compare(&ep, fd, length);
}

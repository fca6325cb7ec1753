// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boot the kernel that was loaded by kexec, with page requests in the queue of the
 * IOMMU: the one that an endpoint has sent, or with the argument "overflow" as many
 * as fit and some that were lost. Their interrupt is pending, and nobody has taken it
 * back, when the next kernel sets the queue up.
 *
 * Prints why if it fails.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/reboot.h>

#include "iopf_endpoint.h"
#include "iopf_late.h"

static int send_request(struct endpoint *ep)
{
	unsigned int slot;
	int ret;

	ret = start_op(ep, IOPF_TD_OP_FILL, 0, BASE, 4096, &slot);
	if (!ret)
		ret = wait_reg(ep, IOPF_TD_REG_PRI_OUTSTANDING, 1);
	return ret;
}

static int send_too_many(struct endpoint *ep)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
	storm(ep, 16384, 32);
	while (!testdev_reg(&ep->td, IOPF_TD_REG_STORM_FULL)) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "the queue does not overflow");
		nap();
	}
	return 0;
}

/* With a higher priority than what keeps the queue's thread from running. */
static int boot_next(void)
{
	struct sched_param param = { .sched_priority = 95 };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		return iopf_err(-errno, "no priority: %s", strerror(errno));
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	return iopf_err(-errno, "kexec: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	bool overflow = argc > 1 && !strcmp(argv[1], "overflow");
	struct found found = { 0 };
	struct endpoint ep;
	struct iopf_ctx *ctx;
	struct late late;
	int ret;

	iopf_pci_scan(find_endpoint, &found);
	if (!found.nr) {
		fprintf(stderr, "# no test endpoint on vfio-pci\n");
		return 1;
	}
	ret = iopf_ctx_open(&ctx);
	if (!ret)
		ret = endpoint_open(&ep, ctx, found.bdf[0], NULL);
	if (!ret)
		ret = late_begin(&late);
	if (!ret) {
		ret = overflow ? send_too_many(&ep) : send_request(&ep);
		if (!ret && iopf_queue_wait(ep.queue, 0))
			ret = iopf_err(-EIO, "a request was not late");
		if (!ret)
			ret = boot_next();
		late_end(&late);
	}
	fprintf(stderr, "# %s\n", iopf_error());
	return 1;
}

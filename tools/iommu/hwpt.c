// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * I/O page tables, with a fault queue or without.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

/* Newer than the headers of many a machine, which have the rest */
#define ALLOC_PASID	0x8

static int alloc(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
		 __u32 flags, struct iopf_queue *queue, __u32 *hwpt_id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = ioas_id,
	};
	int err;

	if (queue) {
		cmd.flags |= IOMMU_HWPT_FAULT_ID_VALID;
		cmd.fault_id = iopf_queue_id(queue);
	}
	if (!ioctl(ctx->fd, IOMMU_HWPT_ALLOC, &cmd)) {
		*hwpt_id = cmd.out_hwpt_id;
		return 0;
	}
	err = errno;
	if (flags && err == EOPNOTSUPP)
		return iopf_err(-EOPNOTSUPP,
				"the kernel has no I/O page tables for PASIDs of this device; use a kernel with the linux-iopf series and an IOMMU with PASIDs, see iopf probe");
	if (queue && (err == EOPNOTSUPP || err == E2BIG))
		return iopf_err(-EOPNOTSUPP,
				"this kernel's iommufd takes no fault queue on a paging domain; use a kernel with the linux-iopf series or a later one that has the feature");
	return iopf_err(-err, "cannot make an I/O page table: %s",
			 strerror(err));
}

int iopf_hwpt_alloc(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
		    struct iopf_queue *queue, __u32 *hwpt_id)
{
	return alloc(ctx, dev_id, ioas_id, 0, queue, hwpt_id);
}

int iopf_hwpt_alloc_pasid(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
			  struct iopf_queue *queue, __u32 *hwpt_id)
{
	return alloc(ctx, dev_id, ioas_id, ALLOC_PASID, queue, hwpt_id);
}

static const char *process_cure(int err)
{
	switch (err) {
	case ENOTTY:
		return "; use a kernel with the linux-iopf series";
	case EOPNOTSUPP:
		return "; device, IOMMU or kernel cannot share it, see iopf probe";
	case EPERM:
		return "; it must be one that you may attach a debugger to";
	case ESRCH:
		return "; it has ended, or is part of the kernel";
	}
	return "";
}

int iopf_hwpt_alloc_process(struct iopf_ctx *ctx, __u32 dev_id, int pidfd,
			    __u32 *hwpt_id)
{
	struct iopf_hwpt_alloc_process cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pidfd = pidfd,
	};
	int err;

	if (!ioctl(ctx->fd, IOPF_HWPT_ALLOC_PROCESS, &cmd)) {
		*hwpt_id = cmd.out_hwpt_id;
		return 0;
	}
	err = errno;
	return iopf_err(err == ENOTTY ? -EOPNOTSUPP : -err,
			"cannot share the address space of a process: %s%s",
			strerror(err), process_cure(err));
}

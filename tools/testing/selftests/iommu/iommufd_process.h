/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of processes, on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOMMUFD_PROCESS_H
#define IOMMUFD_PROCESS_H

#include <linux/iopf_process.h>

#include "iommufd_pasid.h"

static inline int alloc_process(int fd, __u32 dev_id, int pidfd, __u32 *hwpt_id)
{
	struct iopf_hwpt_alloc_process cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pidfd = pidfd,
	};

	if (ioctl(fd, IOPF_HWPT_ALLOC_PROCESS, &cmd))
		return -errno;
	*hwpt_id = cmd.out_hwpt_id;
	return 0;
}

#endif /* IOMMUFD_PROCESS_H */

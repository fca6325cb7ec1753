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

/* A mock device with PASIDs, whose RID has a page table beside which they may be used */
struct process_device {
	__u32 ioas_id, stdev_id, idev_id, rid_id;
};

static inline int process_device_open(int fd, struct process_device *dev)
{
	return _test_ioctl_ioas_alloc(fd, &dev->ioas_id) ||
	       _test_cmd_mock_domain_flags(fd, dev->ioas_id,
					   MOCK_FLAGS_DEVICE_PASID, &dev->stdev_id,
					   NULL, &dev->idev_id) ||
	       _test_cmd_hwpt_alloc(fd, dev->idev_id, dev->ioas_id, 0,
				    IOMMU_HWPT_ALLOC_PASID, &dev->rid_id,
				    IOMMU_HWPT_DATA_NONE, 0, 0) ||
	       _test_cmd_mock_domain_replace(fd, dev->stdev_id, dev->rid_id,
					     NULL) ? -1 : 0;
}

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

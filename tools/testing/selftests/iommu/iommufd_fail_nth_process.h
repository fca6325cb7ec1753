/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of processes with each allocation failing once, for iommufd_fail_nth.c
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "iommufd_process.h"

/* process.c, pasid.c, sva-process.c, sva-fault.c */
TEST_FAIL_NTH(basic_fail_nth, process)
{
	struct process_device dev;
	__u32 own;

	self->fd = open("/dev/iommu", O_RDWR);
	if (self->fd == -1)
		return -1;
	if (process_device_open(self->fd, &dev))
		return -1;

	fail_nth_enable();

	if (alloc_process(self->fd, dev.idev_id, IOPF_PROCESS_SELF, &own))
		return -1;
	if (pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, dev.stdev_id, PASID_EVEN, own) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, dev.stdev_id, PASID_EVEN, dev.rid_id) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, dev.stdev_id, PASID_EVEN, own) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, dev.stdev_id, PASID_ODD, dev.rid_id) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, dev.stdev_id, PASID_ODD, own))
		return -1;
	if (pasid_op(self->fd, IOMMU_TEST_OP_PASID_DETACH, dev.stdev_id, PASID_EVEN, 0) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_DETACH, dev.stdev_id, PASID_ODD, 0))
		return -1;
	return _test_ioctl_destroy(self->fd, own);
}

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
	__u32 ioas_id, stdev_id, idev_id, rid_id, own;

	self->fd = open("/dev/iommu", O_RDWR);
	if (self->fd == -1)
		return -1;
	if (_test_ioctl_ioas_alloc(self->fd, &ioas_id) ||
	    _test_cmd_mock_domain_flags(self->fd, ioas_id, MOCK_FLAGS_DEVICE_PASID,
					&stdev_id, NULL, &idev_id) ||
	    _test_cmd_hwpt_alloc(self->fd, idev_id, ioas_id, 0,
				 IOMMU_HWPT_ALLOC_PASID, &rid_id,
				 IOMMU_HWPT_DATA_NONE, 0, 0) ||
	    _test_cmd_mock_domain_replace(self->fd, stdev_id, rid_id, NULL))
		return -1;

	fail_nth_enable();

	if (alloc_process(self->fd, idev_id, IOPF_PROCESS_SELF, &own))
		return -1;
	if (pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, stdev_id, 100, own) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, stdev_id, 100, rid_id) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, stdev_id, 100, own) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, stdev_id, 101, rid_id) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, stdev_id, 101, own))
		return -1;
	if (pasid_op(self->fd, IOMMU_TEST_OP_PASID_DETACH, stdev_id, 100, 0) ||
	    pasid_op(self->fd, IOMMU_TEST_OP_PASID_DETACH, stdev_id, 101, 0))
		return -1;
	return _test_ioctl_destroy(self->fd, own);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ioctls of vIOMMUs, for tests on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * All of them return what ioctl() does. iommufd_utils.h has to be included before.
 */
#ifndef __SELFTEST_IOMMUFD_VIOMMU_H
#define __SELFTEST_IOMMUFD_VIOMMU_H

/* A device of the mock, and a nest parent in an IOAS for its guest */
static int alloc_parent(int fd, __u32 *ioas_id, __u32 *stdev_id,
			__u32 *idev_id, __u32 *parent_id)
{
	return _test_ioctl_ioas_alloc(fd, ioas_id) ?:
	       _test_cmd_mock_domain(fd, *ioas_id, stdev_id, NULL, idev_id) ?:
	       _test_cmd_hwpt_alloc(fd, *idev_id, *ioas_id, 0,
				    IOMMU_HWPT_ALLOC_NEST_PARENT, parent_id,
				    IOMMU_HWPT_DATA_NONE, NULL, 0);
}

/* With @data, it has memory that can be mapped, see there then. */
static int alloc_viommu_data(int fd, __u32 dev_id, __u32 hwpt_id,
			     struct iommu_viommu_selftest *data,
			     __u32 *viommu_id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = dev_id,
		.hwpt_id = hwpt_id,
		.data_len = data ? sizeof(*data) : 0,
		.data_uptr = (uintptr_t)data,
	};
	int ret = ioctl(fd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!ret)
		*viommu_id = cmd.out_viommu_id;
	return ret;
}

static int alloc_viommu(int fd, __u32 dev_id, __u32 hwpt_id, __u32 *viommu_id)
{
	return alloc_viommu_data(fd, dev_id, hwpt_id, NULL, viommu_id);
}

static int alloc_vdevice(int fd, __u32 viommu_id, __u32 dev_id, __u64 virt_id,
			 __u32 *vdevice_id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.dev_id = dev_id,
		.virt_id = virt_id,
	};
	int ret = ioctl(fd, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!ret)
		*vdevice_id = cmd.out_vdevice_id;
	return ret;
}

/* A nested page table. @fault_id is 0 if nobody takes its page faults. */
static int alloc_nested(int fd, __u32 dev_id, __u32 pt_id, __u32 fault_id,
			__u32 *hwpt_id)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOMMU_TEST_IOTLB_DEFAULT };

	return _test_cmd_hwpt_alloc(fd, dev_id, pt_id, fault_id,
				    fault_id ? IOMMU_HWPT_FAULT_ID_VALID : 0,
				    hwpt_id, IOMMU_HWPT_DATA_SELFTEST, &data,
				    sizeof(data));
}

static int check_cache(int fd, __u32 dev_id, __u32 id, __u32 value)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_DEV_CHECK_CACHE,
		.id = dev_id,
		.check_dev_cache = { .id = id, .cache = value },
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd);
}

static int alloc_veventq(int fd, __u32 viommu_id, __u32 type, __u32 depth,
			 __u32 *veventq_id, int *veventq_fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.type = type,
		.veventq_depth = depth,
	};
	int ret = ioctl(fd, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!ret) {
		*veventq_id = cmd.out_veventq_id;
		*veventq_fd = cmd.out_veventq_fd;
	}
	return ret;
}

static int trigger_vevent(int fd, __u32 dev_id)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_TRIGGER_VEVENT,
		.trigger_vevent = { .dev_id = dev_id },
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd);
}

static int alloc_hw_queue(int fd, __u32 viommu_id, __u32 index, __u64 iova,
			  __u64 length, __u32 *hw_queue_id)
{
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.index = index,
		.nesting_parent_iova = iova,
		.length = length,
	};
	int ret = ioctl(fd, IOMMU_HW_QUEUE_ALLOC, &cmd);

	if (!ret)
		*hw_queue_id = cmd.out_hw_queue_id;
	return ret;
}

#endif

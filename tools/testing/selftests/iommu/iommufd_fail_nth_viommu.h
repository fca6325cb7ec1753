/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vIOMMUs with each allocation failing once, for iommufd_fail_nth.c
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "iommufd_viommu.h"

FIXTURE(viommu_fail_nth)
{
	int fd;
	int event_fd;
	void *map;
	size_t map_len;
};

FIXTURE_SETUP(viommu_fail_nth)
{
	self->fd = -1;
	self->event_fd = -1;
	self->map = MAP_FAILED;
}

FIXTURE_TEARDOWN(viommu_fail_nth)
{
	if (self->event_fd != -1)
		EXPECT_EQ(0, close(self->event_fd));
	if (self->map != MAP_FAILED)
		EXPECT_EQ(0, munmap(self->map, self->map_len));
	teardown_iommufd(self->fd, _metadata);
}

/* viommu.c, vdevice.c, driver.c, mmap.c, region.c */
TEST_FAIL_NTH(viommu_fail_nth, viommu)
{
	struct iommu_viommu_selftest data = { .in_data = 1 };
	struct iommu_viommu_invalidate_selftest req = { .vdev_id = 0x12345678 };
	__u32 ioas_id, stdev_id, idev_id, parent_id;
	__u32 viommu_id, vdevice_id, nested_id, num = 1;

	self->fd = open("/dev/iommu", O_RDWR);
	if (self->fd == -1)
		return -1;
	if (alloc_parent(self->fd, &ioas_id, &stdev_id, &idev_id, &parent_id))
		return -1;

	fail_nth_enable();

	if (alloc_viommu_data(self->fd, idev_id, parent_id, &data, &viommu_id))
		return -1;
	if (alloc_vdevice(self->fd, viommu_id, idev_id, 0x12345678, &vdevice_id))
		return -1;
	if (alloc_nested(self->fd, idev_id, viommu_id, 0, &nested_id))
		return -1;
	if (_test_cmd_mock_domain_replace(self->fd, stdev_id, nested_id, NULL))
		return -1;
	if (_test_cmd_hwpt_invalidate(self->fd, viommu_id, &req,
				      IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
				      sizeof(req), &num))
		return -1;

	self->map_len = data.out_mmap_length;
	self->map = mmap(NULL, self->map_len, PROT_READ, MAP_SHARED, self->fd,
			 data.out_mmap_offset);
	if (self->map == MAP_FAILED)
		return -1;
	if (munmap(self->map, self->map_len))
		return -1;
	self->map = MAP_FAILED;

	if (_test_cmd_mock_domain_replace(self->fd, stdev_id, ioas_id, NULL))
		return -1;
	if (_test_ioctl_destroy(self->fd, nested_id) ||
	    _test_ioctl_destroy(self->fd, vdevice_id) ||
	    _test_ioctl_destroy(self->fd, viommu_id))
		return -1;
	/* The device goes with what it is to a guest. */
	if (alloc_viommu(self->fd, idev_id, parent_id, &viommu_id))
		return -1;
	if (alloc_vdevice(self->fd, viommu_id, idev_id, 1, &vdevice_id))
		return -1;
	if (_test_ioctl_destroy(self->fd, stdev_id))
		return -1;
	return 0;
}

/* veventq.c, report.c */
TEST_FAIL_NTH(viommu_fail_nth, veventq)
{
	struct {
		struct iommufd_vevent_header header;
		struct iommu_viommu_event_selftest event;
	} record;
	__u32 ioas_id, stdev_id, idev_id, parent_id;
	__u32 viommu_id, vdevice_id, nested_id, id;

	self->fd = open("/dev/iommu", O_RDWR);
	if (self->fd == -1)
		return -1;
	if (alloc_parent(self->fd, &ioas_id, &stdev_id, &idev_id, &parent_id) ||
	    alloc_viommu(self->fd, idev_id, parent_id, &viommu_id) ||
	    alloc_vdevice(self->fd, viommu_id, idev_id, 7, &vdevice_id) ||
	    alloc_nested(self->fd, idev_id, viommu_id, 0, &nested_id) ||
	    _test_cmd_mock_domain_replace(self->fd, stdev_id, nested_id, NULL))
		return -1;

	fail_nth_enable();

	if (alloc_veventq(self->fd, viommu_id, IOMMU_VEVENTQ_TYPE_SELFTEST, 3,
			  &id, &self->event_fd))
		return -1;
	if (trigger_vevent(self->fd, idev_id))
		return -1;
	/* An event for which there is no memory is told to be lost. */
	if (read(self->event_fd, &record, sizeof(record)) < 0)
		return -1;
	if (record.header.sequence != 0)
		abort();
	if (record.header.flags)
		return -1;
	return 0;
}

/* hw_queue.c, depend.c, lock_range.c */
TEST_FAIL_NTH(viommu_fail_nth, hw_queue)
{
	__u32 ioas_id, stdev_id, idev_id, parent_id, viommu_id, ids[2];
	__u64 iova = MOCK_APERTURE_START;

	self->fd = open("/dev/iommu", O_RDWR);
	if (self->fd == -1)
		return -1;
	if (alloc_parent(self->fd, &ioas_id, &stdev_id, &idev_id, &parent_id) ||
	    _test_ioctl_ioas_map(self->fd, ioas_id, buffer, PAGE_SIZE, &iova,
				 IOMMU_IOAS_MAP_FIXED_IOVA |
					 IOMMU_IOAS_MAP_READABLE) ||
	    alloc_viommu(self->fd, idev_id, parent_id, &viommu_id))
		return -1;

	fail_nth_enable();

	if (alloc_hw_queue(self->fd, viommu_id, 0, iova, PAGE_SIZE, &ids[0]))
		return -1;
	if (alloc_hw_queue(self->fd, viommu_id, 1, iova + 8, 64, &ids[1]))
		return -1;
	if (_test_ioctl_destroy(self->fd, ids[1]) ||
	    _test_ioctl_destroy(self->fd, ids[0]))
		return -1;
	/* It can be unmapped, whatever has failed. */
	if (_test_ioctl_ioas_unmap(self->fd, ioas_id, iova, PAGE_SIZE, NULL))
		return -1;
	return 0;
}

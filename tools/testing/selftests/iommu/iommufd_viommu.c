// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs and what belongs to them, on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define __EXPORTED_HEADERS__
#include <linux/userfaultfd.h>

#include "iommufd_utils.h"
#include "iommufd_viommu.h"

/* Not an id in any of these tests */
#define NO_ID 0x7ffffff0U

/* What a mock device is known by to its guest */
#define VIRT_ID 0x99U

#define ALL_CACHED IOMMU_TEST_DEV_CACHE_DEFAULT

#define MOCK_HUGE (2UL << 20)
#define MAP_RW                                                   \
	(IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |  \
	 IOMMU_IOAS_MAP_READABLE)

/* Emulated machines that are busy with other things take their time. */
#define TEST_VIOMMU(_name) TEST_F_TIMEOUT(viommu, _name, 600)

#define expect_cache(_dev, _id, _value) \
	EXPECT_EQ(0, check_cache(self->fd, _dev, _id, _value))

/* Fixtures begin with these. */
#define setup_parent()                                                    \
	({                                                                \
		self->fd = open("/dev/iommu", O_RDWR);                    \
		ASSERT_NE(-1, self->fd);                                  \
		ASSERT_EQ(0, alloc_parent(self->fd, &self->ioas_id,       \
					  &self->stdev_id,                \
					  &self->idev_id,                 \
					  &self->parent_id));             \
		ASSERT_NE(0, self->ioas_id);                              \
	})
#define setup_viommu()                                                    \
	({                                                                \
		setup_parent();                                           \
		ASSERT_EQ(0, alloc_viommu(self->fd, self->idev_id,        \
					  self->parent_id,                \
					  &self->viommu_id));             \
	})

FIXTURE(viommu)
{
	int fd;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 parent_id;
	__u32 viommu_id;
};

FIXTURE_SETUP(viommu)
{
	setup_viommu();
}

FIXTURE_TEARDOWN(viommu)
{
	EXPECT_EQ(0, close(self->fd));
}

/* A struct that the kernel can read but not write */
static void *read_only(const void *src, size_t len)
{
	void *map;

	map = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		abort();
	memcpy(map, src, len);
	if (mprotect(map, sysconf(_SC_PAGESIZE), PROT_READ))
		abort();
	return map;
}

/* The end of memory: what follows cannot be accessed */
static void *memory_end(void)
{
	char *map;

	PAGE_SIZE = sysconf(_SC_PAGESIZE);
	map = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + PAGE_SIZE, PAGE_SIZE, PROT_NONE))
		abort();
	return map + PAGE_SIZE;
}

TEST_VIOMMU(alloc)
{
	struct iommu_viommu_alloc good = {
		.size = sizeof(good),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = self->idev_id,
		.hwpt_id = self->parent_id,
	};
	struct iommu_viommu_alloc cmd;
	__u32 paging_id, nested_id, id;
	struct {
		struct iommu_viommu_alloc cmd;
		__u32 tail;
	} longer = { .cmd = good };

#define expect_alloc(_errno, _field, _value)                              \
	({                                                                \
		cmd = good;                                               \
		cmd._field = _value;                                      \
		EXPECT_ERRNO(_errno,                                      \
			     ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));  \
	})
	expect_alloc(EOPNOTSUPP, flags, 1);
	expect_alloc(EOPNOTSUPP, type, IOMMU_VIOMMU_TYPE_DEFAULT);
	expect_alloc(EOPNOTSUPP, type, IOMMU_VIOMMU_TYPE_SELFTEST + 1);
	expect_alloc(EINVAL, size, offsetof(typeof(cmd), out_viommu_id));
	expect_alloc(ENOENT, dev_id, NO_ID);
	expect_alloc(ENOENT, dev_id, 0);
	expect_alloc(ENOENT, dev_id, self->ioas_id);
	expect_alloc(ENOENT, dev_id, self->stdev_id);
	expect_alloc(ENOENT, hwpt_id, NO_ID);
	expect_alloc(ENOENT, hwpt_id, self->ioas_id);
	expect_alloc(ENOENT, hwpt_id, self->idev_id);
	expect_alloc(ENOENT, hwpt_id, self->viommu_id);

	/* The type is looked at before the page table. */
	cmd = good;
	cmd.type = IOMMU_VIOMMU_TYPE_SELFTEST + 1;
	cmd.hwpt_id = NO_ID;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));

	/* Not a nest parent, and nested itself */
	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, 0, &paging_id);
	expect_alloc(EINVAL, hwpt_id, paging_id);
	ASSERT_EQ(0, alloc_nested(self->fd, self->idev_id, self->parent_id, 0,
				  &nested_id));
	expect_alloc(ENOENT, hwpt_id, nested_id);

	/* What comes after the struct must be zero, and it may end early. */
	longer.cmd.size = sizeof(longer);
	longer.tail = 1;
	EXPECT_ERRNO(E2BIG, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &longer));
	cmd = good;
	cmd.size = offsetofend(typeof(cmd), out_viommu_id);
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	test_ioctl_destroy(cmd.out_viommu_id);

	/* Several have the same parent, which outlives them. */
	ASSERT_EQ(0, alloc_viommu(self->fd, self->idev_id, self->parent_id,
				  &id));
	EXPECT_NE(self->viommu_id, id);
	test_ioctl_destroy(nested_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->parent_id));
	test_ioctl_destroy(self->viommu_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->parent_id));
	test_ioctl_destroy(id);
	test_ioctl_destroy(self->parent_id);
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, self->viommu_id));
}

TEST_VIOMMU(alloc_data)
{
	struct iommu_viommu_selftest data[2] = { { .in_data = 0x1234567 } };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = self->idev_id,
		.hwpt_id = self->parent_id,
		.data_uptr = (uintptr_t)data,
	};

	/* Nobody looks at it if it has no length. */
	cmd.data_uptr = 8;
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	test_ioctl_destroy(cmd.out_viommu_id);

	cmd.data_len = sizeof(data[0]);
	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	cmd.data_uptr = (uintptr_t)read_only(data, sizeof(data[0]));
	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));

	cmd.data_uptr = (uintptr_t)data;
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	EXPECT_EQ(0x1234567, data[0].out_data);
	test_ioctl_destroy(cmd.out_viommu_id);

	/* Neither too short nor too long, even if that is all zeroes */
	cmd.data_len = offsetofend(typeof(data[0]), out_data);
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	test_ioctl_destroy(cmd.out_viommu_id);
	cmd.data_len = offsetofend(typeof(data[0]), out_data) - 1;
	EXPECT_ERRNO(EINVAL, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	cmd.data_len = sizeof(data[0]) + 1;
	EXPECT_ERRNO(EINVAL, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));
	cmd.data_len = UINT32_MAX;
	EXPECT_ERRNO(EINVAL, ioctl(self->fd, IOMMU_VIOMMU_ALLOC, &cmd));

	/* Nothing of all that is left. */
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

/* An object of which user space is not told does not exist. */
TEST_VIOMMU(alloc_no_answer)
{
	struct iommu_viommu_alloc viommu = {
		.size = sizeof(viommu),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = self->idev_id,
		.hwpt_id = self->parent_id,
	};
	struct iommu_vdevice_alloc vdev = {
		.size = sizeof(vdev),
		.viommu_id = self->viommu_id,
		.dev_id = self->idev_id,
		.virt_id = VIRT_ID,
	};
	__u32 vdevice_id;

	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_VIOMMU_ALLOC,
				   read_only(&viommu, sizeof(viommu))));
	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_VDEVICE_ALLOC,
				   read_only(&vdev, sizeof(vdev))));

	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &vdevice_id));
	test_ioctl_destroy(vdevice_id);
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

TEST_VIOMMU(vdevice)
{
	struct iommu_vdevice_alloc cmd = {
		.size = offsetof(typeof(cmd), virt_id),
		.viommu_id = self->viommu_id,
		.dev_id = self->idev_id,
	};
	__u32 stdev_id, idev_id, other_stdev_id, other_idev_id, viommu_id;
	__u32 vdevice_id, id;

	EXPECT_ERRNO(EINVAL, ioctl(self->fd, IOMMU_VDEVICE_ALLOC, &cmd));
	EXPECT_ERRNO(ENOENT, alloc_vdevice(self->fd, NO_ID, self->idev_id,
					   VIRT_ID, &id));
	EXPECT_ERRNO(ENOENT, alloc_vdevice(self->fd, self->parent_id,
					   self->idev_id, VIRT_ID, &id));
	EXPECT_ERRNO(ENOENT, alloc_vdevice(self->fd, self->viommu_id, NO_ID,
					   VIRT_ID, &id));
	EXPECT_ERRNO(ENOENT, alloc_vdevice(self->fd, self->viommu_id,
					   self->viommu_id, VIRT_ID, &id));

	/* Behind another IOMMU */
	test_cmd_mock_domain_flags(self->ioas_id, MOCK_FLAGS_DEVICE_OTHER_IOMMU,
				   &other_stdev_id, NULL, &other_idev_id);
	EXPECT_ERRNO(EINVAL, alloc_vdevice(self->fd, self->viommu_id,
					   other_idev_id, VIRT_ID, &id));

	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &vdevice_id));

	/* A device is one thing to one guest, */
	EXPECT_ERRNO(EEXIST, alloc_vdevice(self->fd, self->viommu_id,
					   self->idev_id, VIRT_ID, &id));
	EXPECT_ERRNO(EEXIST, alloc_vdevice(self->fd, self->viommu_id,
					   self->idev_id, VIRT_ID + 1, &id));
	ASSERT_EQ(0, alloc_viommu(self->fd, self->idev_id, self->parent_id,
				  &viommu_id));
	EXPECT_ERRNO(EEXIST, alloc_vdevice(self->fd, viommu_id, self->idev_id,
					   VIRT_ID, &id));

	/* and an id one device of a vIOMMU. */
	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &idev_id);
	EXPECT_ERRNO(EEXIST, alloc_vdevice(self->fd, self->viommu_id, idev_id,
					   VIRT_ID, &id));
	ASSERT_EQ(0, alloc_vdevice(self->fd, viommu_id, idev_id, VIRT_ID, &id));
	test_ioctl_destroy(id);
	/* Any 64 bits are an id. */
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, idev_id,
				   UINT64_MAX, &id));
	test_ioctl_destroy(id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, idev_id, 0, &id));

	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	test_ioctl_destroy(id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));

	/* What was destroyed can be made again. */
	test_ioctl_destroy(vdevice_id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, viommu_id, self->idev_id, VIRT_ID,
				   &vdevice_id));
	test_ioctl_destroy(self->viommu_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, viommu_id));
	/* It would go with the device, and so it does when the file is closed. */
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->idev_id));
}

/* A device that is unbound takes what it is to a guest with it. */
TEST_VIOMMU(vdevice_unbind)
{
	__u32 stdev_id, idev_id, vdevice_id, id;
	unsigned int i;

	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &idev_id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, idev_id, VIRT_ID,
				   &vdevice_id));
	test_ioctl_destroy(stdev_id);
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, vdevice_id));
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, idev_id));

	/* Its id in the guest is free, its own id is used for nothing else. */
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &id));
	EXPECT_NE(vdevice_id, id);
	for (i = 0; i < 10; i++) {
		test_ioctl_ioas_alloc(&id);
		EXPECT_NE(vdevice_id, id);
	}
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, vdevice_id));

	/* The device that the vIOMMU was made with is not needed for it. */
	test_ioctl_destroy(self->stdev_id);
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

TEST_VIOMMU(nested)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOMMU_TEST_IOTLB_DEFAULT };
	__u32 other_stdev_id, other_idev_id, viommu_id, vdevice_id;
	__u32 fault_id, fault_fd, nested_id, id;

	/* The flags of a nested page table are those of one without a vIOMMU. */
	EXPECT_ERRNO(EOPNOTSUPP,
		     _test_cmd_hwpt_alloc(self->fd, self->idev_id,
					  self->viommu_id, 0,
					  IOMMU_HWPT_ALLOC_NEST_PARENT, &id,
					  IOMMU_HWPT_DATA_SELFTEST, &data,
					  sizeof(data)));
	EXPECT_ERRNO(EOPNOTSUPP,
		     _test_cmd_hwpt_alloc(self->fd, self->idev_id,
					  self->viommu_id, 0,
					  IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &id,
					  IOMMU_HWPT_DATA_SELFTEST, &data,
					  sizeof(data)));
	EXPECT_ERRNO(EOPNOTSUPP,
		     _test_cmd_hwpt_alloc(self->fd, self->idev_id,
					  self->viommu_id, 0, 1U << 31, &id,
					  IOMMU_HWPT_DATA_SELFTEST, &data,
					  sizeof(data)));
	/* No data, that of another driver, too little of it */
	test_err_hwpt_alloc_nested(EOPNOTSUPP, self->idev_id, self->viommu_id,
				   0, &id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_err_hwpt_alloc_nested(EOPNOTSUPP, self->idev_id, self->viommu_id,
				   0, &id, IOMMU_HWPT_DATA_VTD_S1, &data,
				   sizeof(data));
	test_err_hwpt_alloc_nested(EINVAL, self->idev_id, self->viommu_id, 0,
				   &id, IOMMU_HWPT_DATA_SELFTEST, &data, 1);
	test_err_hwpt_alloc_nested(EFAULT, self->idev_id, self->viommu_id, 0,
				   &id, IOMMU_HWPT_DATA_SELFTEST, NULL,
				   sizeof(data));
	EXPECT_ERRNO(ENOENT, alloc_nested(self->fd, NO_ID, self->viommu_id, 0,
					  &id));
	EXPECT_ERRNO(ENOENT, alloc_nested(self->fd, self->idev_id,
					  self->viommu_id, NO_ID, &id));
	EXPECT_ERRNO(ENOENT, alloc_nested(self->fd, self->idev_id,
					  self->viommu_id, self->viommu_id,
					  &id));
	/* For a device behind another IOMMU */
	test_cmd_mock_domain_flags(self->ioas_id, MOCK_FLAGS_DEVICE_OTHER_IOMMU,
				   &other_stdev_id, NULL, &other_idev_id);
	EXPECT_ERRNO(EINVAL, alloc_nested(self->fd, other_idev_id,
					  self->viommu_id, 0, &id));

	test_ioctl_fault_alloc(&fault_id, &fault_fd);
	ASSERT_EQ(0, alloc_nested(self->fd, self->idev_id, self->viommu_id,
				  fault_id, &nested_id));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->parent_id));

	/* The guest has to know the device, at this vIOMMU, */
	test_err_mock_domain_replace(ENOENT, self->stdev_id, nested_id);
	ASSERT_EQ(0, alloc_viommu(self->fd, self->idev_id, self->parent_id,
				  &viommu_id));
	ASSERT_EQ(0, alloc_vdevice(self->fd, viommu_id, self->idev_id, VIRT_ID,
				   &vdevice_id));
	test_err_mock_domain_replace(ENOENT, self->stdev_id, nested_id);
	test_ioctl_destroy(vdevice_id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &vdevice_id));
	test_cmd_mock_domain_replace(self->stdev_id, nested_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, nested_id));
	/* but not any longer. */
	test_ioctl_destroy(vdevice_id);

	test_cmd_trigger_iopf(self->idev_id, fault_fd);

	/* Each holds what it is on. */
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	test_ioctl_destroy(nested_id);
	test_ioctl_destroy(self->viommu_id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->parent_id));
	test_ioctl_destroy(viommu_id);
	test_ioctl_destroy(self->parent_id);
	EXPECT_EQ(0, close(fault_fd));
	test_ioctl_destroy(fault_id);
}

TEST_VIOMMU(invalidate_hwpt)
{
	struct iommu_hwpt_invalidate_selftest req = { .iotlb_id = 1 };
	__u32 nested_id, num = 1;

	ASSERT_EQ(0, alloc_nested(self->fd, self->idev_id, self->viommu_id, 0,
				  &nested_id));
	test_cmd_hwpt_check_iotlb_all(nested_id, IOMMU_TEST_IOTLB_DEFAULT);
	test_cmd_hwpt_invalidate(nested_id, &req,
				 IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
				 sizeof(req), &num);
	EXPECT_EQ(1, num);
	test_cmd_hwpt_check_iotlb(nested_id, 0, IOMMU_TEST_IOTLB_DEFAULT);
	test_cmd_hwpt_check_iotlb(nested_id, 1, 0);
	test_cmd_hwpt_check_iotlb(nested_id, 2, IOMMU_TEST_IOTLB_DEFAULT);
}

#define inv_ok(_reqs, _num)                                             \
	({                                                              \
		__auto_type _r = (_reqs);                               \
		const __u32 _all = (_num);                              \
		__u32 _n = _all;                                        \
		ASSERT_EQ(0, _test_cmd_hwpt_invalidate(                 \
				     self->fd, self->viommu_id, _r,     \
				     IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, \
				     sizeof(*_r), &_n));                \
		EXPECT_EQ(_all, _n);                                    \
	})

#define inv_err(_errno, _type, _reqs, _len, _num, _done)                \
	({                                                              \
		__u32 _n = _num;                                        \
		EXPECT_ERRNO(_errno, _test_cmd_hwpt_invalidate(         \
					     self->fd, self->viommu_id, \
					     _reqs, _type, _len, &_n)); \
		EXPECT_EQ(_done, _n);                                   \
	})

#define INV_TYPE IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST

TEST_VIOMMU(invalidate)
{
	struct iommu_viommu_invalidate_selftest reqs[20] = {};
	struct {
		struct iommu_viommu_invalidate_selftest req;
		__u32 tail;
	} longer[2] = {};
	__u32 stdev_id, idev_id, vdevice_id, id, num;
	unsigned int i;

	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &idev_id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &vdevice_id));
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, idev_id,
				   self->idev_id, &id));

	/* Without entries only the type counts. */
	inv_ok(reqs, 0);
	num = 0;
	test_cmd_hwpt_invalidate(self->viommu_id, NULL, INV_TYPE, 0, &num);
	inv_err(EINVAL, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID, reqs,
		sizeof(reqs[0]), 0, 0);
	inv_err(EINVAL, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID, reqs,
		sizeof(reqs[0]), 1, 0);

	reqs[0].vdev_id = VIRT_ID;
	inv_err(EINVAL, INV_TYPE, NULL, sizeof(reqs[0]), 1, 0);
	inv_err(EINVAL, INV_TYPE, reqs, 0, 1, 0);
	inv_err(EINVAL, INV_TYPE, reqs, 1U << 20, 1, 0);
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), (1U << 19) + 1, 0);
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), UINT32_MAX, 0);
	inv_err(EFAULT, INV_TYPE, (void *)8, sizeof(reqs[0]), 1, 0);
	expect_cache(self->idev_id, 0, ALL_CACHED);

	/* One entry of one device */
	reqs[0].cache_id = 2;
	inv_ok(reqs, 1);
	expect_cache(self->idev_id, 1, ALL_CACHED);
	expect_cache(self->idev_id, 2, 0);
	expect_cache(self->idev_id, 3, ALL_CACHED);
	expect_cache(idev_id, 2, ALL_CACHED);

	/* Ids that mean nothing to the guest, even if they do to the host */
	reqs[0].vdev_id = VIRT_ID + 1;
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), 1, 0);
	reqs[0].vdev_id = idev_id;
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), 1, 0);
	/* and one that means something else */
	reqs[0].vdev_id = self->idev_id;
	inv_ok(reqs, 1);
	expect_cache(idev_id, 2, 0);
	expect_cache(idev_id, 0, ALL_CACHED);

	/* The first that cannot be done ends it. */
	for (i = 0; i < ARRAY_SIZE(reqs); i++)
		reqs[i] = (typeof(reqs[i])){ .vdev_id = VIRT_ID };
	reqs[1].cache_id = MOCK_DEV_CACHE_ID_MAX + 1;
	reqs[2].cache_id = 1;
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), 3, 1);
	expect_cache(self->idev_id, 0, 0);
	expect_cache(self->idev_id, 1, ALL_CACHED);
	reqs[1].cache_id = 0;
	reqs[17].flags = 2;
	reqs[18].cache_id = 1;
	inv_err(EOPNOTSUPP, INV_TYPE, reqs, sizeof(reqs[0]), 20, 17);
	expect_cache(self->idev_id, 1, 0);

	/* All of one device */
	reqs[0].flags = IOMMU_TEST_INVALIDATE_FLAG_ALL;
	inv_ok(reqs, 1);
	expect_cache(self->idev_id, 3, 0);
	expect_cache(idev_id, 3, ALL_CACHED);

	/* Entries of a program that knows less, or more, than the kernel */
	for (i = 0; i < ARRAY_SIZE(longer); i++)
		longer[i].req.vdev_id = self->idev_id;
	longer[1].req.cache_id = 1;
	longer[0].tail = 1;
	inv_err(E2BIG, INV_TYPE, longer, sizeof(longer[0]), 2, 0);
	longer[0].tail = 0;
	num = 2;
	test_cmd_hwpt_invalidate(self->viommu_id, longer, INV_TYPE,
				 sizeof(longer[0]), &num);
	EXPECT_EQ(2, num);
	expect_cache(idev_id, 0, 0);
	expect_cache(idev_id, 1, 0);
	reqs[0] = (typeof(reqs[0])){ .vdev_id = VIRT_ID, .cache_id = 77 };
	num = 1;
	test_cmd_hwpt_invalidate(self->viommu_id, reqs, INV_TYPE,
				 offsetof(typeof(reqs[0]), cache_id), &num);
	EXPECT_EQ(1, num);

	/* A device that is not there any more */
	test_ioctl_destroy(vdevice_id);
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(reqs[0]), 1, 0);
}

/* As many commands as one ioctl takes */
TEST_VIOMMU(invalidate_many)
{
	struct iommu_viommu_invalidate_selftest *reqs;
	const __u32 max = 1U << 19;
	__u32 vdevice_id, i;

	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &vdevice_id));
	reqs = calloc(max, sizeof(*reqs));
	ASSERT_NE(NULL, reqs);
	for (i = 0; i < max; i++)
		reqs[i].vdev_id = VIRT_ID;
	reqs[max - 1].cache_id = 3;
	inv_ok(reqs, max);
	expect_cache(self->idev_id, 3, 0);
	reqs[max - 1].vdev_id = VIRT_ID + 1;
	inv_err(EINVAL, INV_TYPE, reqs, sizeof(*reqs), max, max - 1);
	free(reqs);
}

/* Ids of one context mean nothing in another. */
TEST_VIOMMU(other_context)
{
	__u32 ioas_id, stdev_id, idev_id, parent_id, viommu_id, id;
	int fd, first_fd = self->fd;

	fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, fd);
	/* So that ids are not by chance those of the same kind there */
	self->fd = fd;
	test_ioctl_ioas_alloc(&ioas_id);
	test_ioctl_ioas_alloc(&id);
	test_cmd_mock_domain(ioas_id, &stdev_id, NULL, &idev_id);
	test_cmd_hwpt_alloc(idev_id, ioas_id, IOMMU_HWPT_ALLOC_NEST_PARENT,
			    &parent_id);
	ASSERT_EQ(0, alloc_viommu(fd, idev_id, parent_id, &viommu_id));
	self->fd = first_fd;

	EXPECT_ERRNO(ENOENT, alloc_vdevice(self->fd, viommu_id, self->idev_id,
					   VIRT_ID, &id));
	EXPECT_ERRNO(ENOENT, alloc_viommu(self->fd, self->idev_id, parent_id,
					  &id));
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, viommu_id));
	EXPECT_EQ(0, close(fd));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->parent_id));
}

/* A device that is attached to a nested page table, and an event queue */
FIXTURE(vevent)
{
	int fd;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 parent_id;
	__u32 viommu_id;
	__u32 vdevice_id;
	__u32 nested_id;
};

FIXTURE_SETUP(vevent)
{
	setup_viommu();
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &self->vdevice_id));
	ASSERT_EQ(0, alloc_nested(self->fd, self->idev_id, self->viommu_id, 0,
				  &self->nested_id));
	test_cmd_mock_domain_replace(self->stdev_id, self->nested_id);
}

FIXTURE_TEARDOWN(vevent)
{
	EXPECT_EQ(0, close(self->fd));
}

#define TEST_VEVENT(_name) TEST_F_TIMEOUT(vevent, _name, 600)

#define HEADER sizeof(struct iommufd_vevent_header)
#define EVENT_TYPE IOMMU_VEVENTQ_TYPE_SELFTEST
#define LOST IOMMU_VEVENTQ_FLAG_LOST_EVENTS

struct event {
	struct iommufd_vevent_header header;
	struct iommu_viommu_event_selftest data;
};

#define trigger(_n)                                                       \
	({                                                                \
		for (unsigned int _i = 0; _i < (_n); _i++)                \
			ASSERT_EQ(0, trigger_vevent(self->fd,             \
						    self->idev_id));      \
	})

#define expect_event(_fd, _sequence)                                      \
	({                                                                \
		struct event _event;                                      \
		ASSERT_EQ((ssize_t)sizeof(_event),                        \
			  read(_fd, &_event, sizeof(_event)));            \
		EXPECT_EQ(0, _event.header.flags);                        \
		EXPECT_EQ(_sequence, _event.header.sequence);             \
		EXPECT_EQ(VIRT_ID, _event.data.virt_id);                  \
	})

#define expect_lost(_fd, _sequence)                                       \
	({                                                                \
		struct iommufd_vevent_header _header;                     \
		ASSERT_EQ((ssize_t)HEADER,                                \
			  read(_fd, &_header, sizeof(_header)));          \
		EXPECT_EQ(LOST, _header.flags);                           \
		EXPECT_EQ(_sequence, _header.sequence);                   \
	})

static short poll_now(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };

	if (poll(&pfd, 1, 0) < 0)
		abort();
	return pfd.revents;
}

TEST_VEVENT(alloc)
{
	struct iommu_veventq_alloc good = {
		.size = sizeof(good),
		.viommu_id = self->viommu_id,
		.type = EVENT_TYPE,
		.veventq_depth = 1,
	};
	struct iommu_veventq_alloc cmd;
	__u32 id, other_id;
	int fd, other_fd;

#define expect_veventq(_errno, _field, _value)                            \
	({                                                                \
		cmd = good;                                               \
		cmd._field = _value;                                      \
		EXPECT_ERRNO(_errno,                                      \
			     ioctl(self->fd, IOMMU_VEVENTQ_ALLOC, &cmd)); \
	})
	expect_veventq(EOPNOTSUPP, flags, 1);
	expect_veventq(EOPNOTSUPP, __reserved, 1);
	expect_veventq(EOPNOTSUPP, type, IOMMU_VEVENTQ_TYPE_DEFAULT);
	expect_veventq(EINVAL, size, offsetof(typeof(cmd), out_veventq_fd));
	expect_veventq(EINVAL, veventq_depth, 0);
	expect_veventq(EINVAL, veventq_depth, (1U << 19) + 1);
	expect_veventq(ENOENT, viommu_id, NO_ID);
	expect_veventq(ENOENT, viommu_id, self->parent_id);

	/* Nothing is left, of the file either, if user space is not told. */
	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_VEVENTQ_ALLOC,
				   read_only(&good, sizeof(good))));

	cmd = good;
	cmd.size = offsetofend(typeof(cmd), out_veventq_fd);
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_VEVENTQ_ALLOC, &cmd));
	id = cmd.out_veventq_id;
	fd = cmd.out_veventq_fd;
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDWR, fcntl(fd, F_GETFL) & O_ACCMODE);

	/* One of a type, even if the file is closed */
	expect_veventq(EEXIST, veventq_depth, 2);
	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, 1, 1U << 19,
				   &other_id, &other_fd));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, id));
	EXPECT_EQ(0, close(fd));
	expect_veventq(EEXIST, veventq_depth, 2);
	EXPECT_ERRNO(EOPNOTSUPP, trigger_vevent(self->fd, self->idev_id));
	test_ioctl_destroy(id);
	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, EVENT_TYPE, 1,
				   &id, &fd));

	/* They hold the vIOMMU. */
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	test_ioctl_destroy(self->nested_id);
	test_ioctl_destroy(self->vdevice_id);
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(0, close(other_fd));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	test_ioctl_destroy(id);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	test_ioctl_destroy(other_id);
	test_ioctl_destroy(self->viommu_id);
}

TEST_VEVENT(read)
{
	char *bad = memory_end();
	struct event events[4];
	__u32 id, value = 0;
	int fd;

	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, EVENT_TYPE, 8, &id,
				   &fd));

	/* Nothing there: never waits */
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(0, read(fd, events, sizeof(events)));
	EXPECT_ERRNO(EINVAL, read(fd, events, 0));
	EXPECT_ERRNO(EINVAL, read(fd, events, HEADER - 1));
	EXPECT_EQ(0, read(fd, events, HEADER));
	EXPECT_ERRNO(EINVAL, write(fd, events, sizeof(events[0])));
	EXPECT_ERRNO(ENOTTY, ioctl(fd, IOMMU_DESTROY, &value));
	EXPECT_ERRNO(ESPIPE, lseek(fd, 8, SEEK_SET));

	trigger(1);
	EXPECT_EQ(POLLIN, poll_now(fd));
	/* It stays until there is room for it, that can be written. */
	EXPECT_ERRNO(EINVAL, read(fd, events, HEADER));
	EXPECT_ERRNO(EINVAL, read(fd, events, sizeof(events[0]) - 1));
	EXPECT_ERRNO(EFAULT, read(fd, bad, sizeof(events[0])));
	EXPECT_ERRNO(EFAULT, read(fd, bad - HEADER, sizeof(events[0])));
	EXPECT_EQ(POLLIN, poll_now(fd));
	expect_event(fd, 0);
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(0, read(fd, events, sizeof(events)));

	/* As many as fit, in order */
	trigger(3);
	ASSERT_EQ((ssize_t)(2 * sizeof(events[0])),
		  read(fd, events, 3 * sizeof(events[0]) - 1));
	EXPECT_EQ(1, events[0].header.sequence);
	EXPECT_EQ(2, events[1].header.sequence);
	EXPECT_EQ(VIRT_ID, events[1].data.virt_id);
	expect_event(fd, 3);

	/* As many as can be written */
	trigger(3);
	ASSERT_EQ((ssize_t)sizeof(events[0]),
		  read(fd, bad - sizeof(events[0]) - HEADER,
		       2 * sizeof(events[0])));
	expect_event(fd, 5);
	ASSERT_EQ((ssize_t)sizeof(events[0]), read(fd, events, sizeof(events)));
	EXPECT_EQ(6, events[0].header.sequence);
	EXPECT_EQ(0, close(fd));
}

TEST_VEVENT(lost)
{
	struct event events[4];
	__u32 id;
	int fd;

	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, EVENT_TYPE, 2, &id,
				   &fd));
	/* Two that fit and two that do not: one mark, of the last of them */
	trigger(4);
	ASSERT_EQ((ssize_t)(2 * sizeof(events[0]) + HEADER),
		  read(fd, events, sizeof(events)));
	EXPECT_EQ(0, events[0].header.sequence);
	EXPECT_EQ(1, events[1].header.sequence);
	EXPECT_EQ(LOST, events[2].header.flags);
	EXPECT_EQ(3, events[2].header.sequence);
	EXPECT_EQ(0, poll_now(fd));

	/* The next one follows. */
	trigger(1);
	expect_event(fd, 4);

	/* A mark that nobody has read goes when there is an event again. */
	trigger(3);
	expect_event(fd, 5);
	trigger(1);
	expect_event(fd, 6);
	expect_event(fd, 8);
	EXPECT_EQ(0, read(fd, events, sizeof(events)));

	/* It does not take the place of an event, and is there to poll. */
	trigger(3);
	expect_event(fd, 9);
	expect_event(fd, 10);
	EXPECT_EQ(POLLIN, poll_now(fd));
	EXPECT_ERRNO(EFAULT, read(fd, memory_end(), HEADER));
	expect_lost(fd, 11);
	EXPECT_EQ(0, poll_now(fd));
	trigger(2);
	expect_event(fd, 12);
	expect_event(fd, 13);
	EXPECT_EQ(0, close(fd));
}

/* Who has no guest, or a guest that does not know it, has no events. */
TEST_VEVENT(trigger)
{
	__u32 id, zero_id, stdev_id, idev_id, other_viommu, other_id;
	int fd, other_fd;

	EXPECT_ERRNO(EOPNOTSUPP, trigger_vevent(self->fd, self->idev_id));
	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, EVENT_TYPE, 2, &id,
				   &fd));
	trigger(1);
	expect_event(fd, 0);
	/* It is the number that it had when it was attached. */
	test_ioctl_destroy(self->vdevice_id);
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID + 1, &self->vdevice_id));
	trigger(1);
	expect_event(fd, 1);

	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	EXPECT_ERRNO(ENOENT, trigger_vevent(self->fd, self->idev_id));

	/* Events of another vIOMMU do not come here. */
	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &idev_id);
	EXPECT_ERRNO(ENOENT, trigger_vevent(self->fd, idev_id));
	ASSERT_EQ(0, alloc_viommu(self->fd, idev_id, self->parent_id,
				  &other_viommu));
	ASSERT_EQ(0, alloc_vdevice(self->fd, other_viommu, idev_id, VIRT_ID,
				   &zero_id));
	ASSERT_EQ(0, alloc_nested(self->fd, idev_id, other_viommu, 0,
				  &other_id));
	test_cmd_mock_domain_replace(stdev_id, other_id);
	EXPECT_ERRNO(EOPNOTSUPP, trigger_vevent(self->fd, idev_id));
	ASSERT_EQ(0, alloc_veventq(self->fd, other_viommu, EVENT_TYPE, 2,
				   &other_id, &other_fd));
	ASSERT_EQ(0, trigger_vevent(self->fd, idev_id));
	EXPECT_EQ(0, poll_now(fd));
	expect_event(other_fd, 0);
	EXPECT_EQ(0, close(other_fd));
	EXPECT_EQ(0, close(fd));
}

/* The files hold what they need when the iommufd is closed before them. */
TEST_VEVENT(file_last)
{
	struct event event;
	__u32 id;
	int fd;

	ASSERT_EQ(0, alloc_veventq(self->fd, self->viommu_id, EVENT_TYPE, 2, &id,
				   &fd));
	trigger(1);
	EXPECT_EQ(0, close(self->fd));
	expect_event(fd, 0);
	EXPECT_EQ(0, read(fd, &event, sizeof(event)));
	EXPECT_EQ(0, close(fd));
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
}

/* Memory of a guest, mapped in the IOAS of the parent */
FIXTURE(hw_queue)
{
	int fd;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 parent_id;
	__u32 viommu_id;
	size_t page;
	char *memory;
};

#define QUEUE_IOVA ((__u64)MOCK_APERTURE_START)
#define QUEUE_PAGES 4

FIXTURE_SETUP(hw_queue)
{
	__u64 iova = QUEUE_IOVA;

	self->page = sysconf(_SC_PAGESIZE);
	setup_viommu();
	/* Pages of the same huge page are next to each other in memory. */
	self->memory = mmap(NULL, MOCK_HUGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id, self->memory,
					  QUEUE_PAGES * self->page, &iova,
					  MAP_RW));
}

FIXTURE_TEARDOWN(hw_queue)
{
	EXPECT_EQ(0, close(self->fd));
	EXPECT_EQ(0, munmap(self->memory, MOCK_HUGE));
}

#define TEST_HW_QUEUE(_name) TEST_F_TIMEOUT(hw_queue, _name, 600)

#define queue_alloc(_index, _iova, _length, _id) \
	alloc_hw_queue(self->fd, self->viommu_id, _index, _iova, _length, _id)

TEST_HW_QUEUE(alloc)
{
	struct iommu_hw_queue_alloc good = {
		.size = sizeof(good),
		.viommu_id = self->viommu_id,
		.type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.nesting_parent_iova = QUEUE_IOVA,
		.length = self->page,
	};
	struct iommu_hw_queue_alloc cmd;
	__u32 ids[2], id;

#define expect_queue(_errno, _field, _value)                               \
	({                                                                 \
		cmd = good;                                                \
		cmd._field = _value;                                       \
		EXPECT_ERRNO(_errno,                                       \
			     ioctl(self->fd, IOMMU_HW_QUEUE_ALLOC, &cmd)); \
	})
	expect_queue(EOPNOTSUPP, flags, 1);
	expect_queue(EOPNOTSUPP, type, IOMMU_HW_QUEUE_TYPE_DEFAULT);
	expect_queue(EOPNOTSUPP, type, IOMMU_HW_QUEUE_TYPE_SELFTEST + 1);
	expect_queue(EINVAL, size, offsetof(typeof(cmd), length));
	expect_queue(EINVAL, length, 0);
	expect_queue(EOVERFLOW, length, UINT64_MAX);
	expect_queue(EOVERFLOW, nesting_parent_iova, UINT64_MAX);
	expect_queue(ERANGE, length, UINT64_MAX - QUEUE_IOVA);
	expect_queue(ENOENT, length, UINT64_MAX / 2);
	expect_queue(ENOENT, viommu_id, NO_ID);
	expect_queue(ENOENT, viommu_id, self->parent_id);
	expect_queue(ENOENT, nesting_parent_iova, QUEUE_IOVA - 1);
	expect_queue(ENOENT, length, QUEUE_PAGES * self->page + 1);
	expect_queue(EINVAL, index, IOMMU_TEST_HW_QUEUE_MAX);
	expect_queue(EINVAL, index, UINT32_MAX);
	/* In order */
	expect_queue(EIO, index, 1);
	EXPECT_ERRNO(EFAULT, ioctl(self->fd, IOMMU_HW_QUEUE_ALLOC,
				   read_only(&good, sizeof(good))));

	ASSERT_EQ(0, queue_alloc(0, QUEUE_IOVA, self->page, &ids[0]));
	expect_queue(EEXIST, index, 0);
	/* Any bytes of it, the same ones even */
	ASSERT_EQ(0, queue_alloc(1, QUEUE_IOVA + 17, 2 * self->page, &ids[1]));

	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->ioas_id));
	/* The first is needed by the second. */
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, ids[0]));
	test_ioctl_destroy(ids[1]);
	test_ioctl_destroy(ids[0]);
	expect_queue(EIO, index, 1);
	ASSERT_EQ(0, queue_alloc(0, QUEUE_IOVA, self->page, &id));
	test_ioctl_destroy(id);
	test_ioctl_destroy(self->viommu_id);
}

/* What hardware uses stays mapped. */
TEST_HW_QUEUE(unmap)
{
	__u64 other = QUEUE_IOVA + 16 * self->page;
	__u32 ids[2];

	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id,
					  self->memory + 16 * self->page,
					  self->page, &other, MAP_RW));
	ASSERT_EQ(0, queue_alloc(0, QUEUE_IOVA, self->page, &ids[0]));
	ASSERT_EQ(0, queue_alloc(1, QUEUE_IOVA, self->page, &ids[1]));
	test_err_ioctl_ioas_unmap(EBUSY, QUEUE_IOVA, QUEUE_PAGES * self->page);
	test_err_ioctl_ioas_unmap(EBUSY, 0, UINT64_MAX);
	/* Others do not. */
	test_ioctl_ioas_unmap(other, self->page);
	test_ioctl_destroy(ids[1]);
	test_err_ioctl_ioas_unmap(EBUSY, QUEUE_IOVA, QUEUE_PAGES * self->page);
	test_ioctl_destroy(ids[0]);
	test_ioctl_ioas_unmap(QUEUE_IOVA, QUEUE_PAGES * self->page);
	EXPECT_ERRNO(ENOENT, queue_alloc(0, QUEUE_IOVA, self->page, &ids[0]));
}

/* Which memory hardware can use */
TEST_HW_QUEUE(memory)
{
	__u64 iova = QUEUE_IOVA + QUEUE_PAGES * self->page;
	__u64 half = self->page / 2;
	__u32 id;

	/* Two areas that follow each other in both address spaces */
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id,
					  self->memory + QUEUE_PAGES * self->page,
					  self->page, &iova, MAP_RW));
	ASSERT_EQ(0, queue_alloc(0, QUEUE_IOVA, (QUEUE_PAGES + 1) * self->page,
				 &id));
	test_err_ioctl_ioas_unmap(EBUSY, iova, self->page);
	test_ioctl_destroy(id);

	/* That do not in memory: the first of them is not kept for that. */
	iova += self->page;
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id, self->memory,
					  self->page, &iova, MAP_RW));
	EXPECT_ERRNO(EFAULT, queue_alloc(0, QUEUE_IOVA,
					 (QUEUE_PAGES + 2) * self->page, &id));
	test_ioctl_ioas_unmap(iova, self->page);
	test_ioctl_ioas_unmap(iova - self->page, self->page);
	/* A hole */
	iova += self->page;
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id, self->memory,
					  self->page, &iova, MAP_RW));
	EXPECT_ERRNO(ENOENT, queue_alloc(0, QUEUE_IOVA,
					 (QUEUE_PAGES + 3) * self->page, &id));
	test_ioctl_ioas_unmap(QUEUE_IOVA, QUEUE_PAGES * self->page);

	/* That can only be written */
	iova = QUEUE_IOVA;
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id, self->memory,
					  self->page, &iova,
					  IOMMU_IOAS_MAP_FIXED_IOVA |
						  IOMMU_IOAS_MAP_WRITEABLE));
	EXPECT_ERRNO(EPERM, queue_alloc(0, iova, self->page, &id));
	test_ioctl_ioas_unmap(iova, self->page);
	/* That can only be read */
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id, self->memory,
					  self->page, &iova,
					  IOMMU_IOAS_MAP_FIXED_IOVA |
						  IOMMU_IOAS_MAP_READABLE));
	ASSERT_EQ(0, queue_alloc(0, iova, self->page, &id));
	test_ioctl_destroy(id);
	test_ioctl_ioas_unmap(iova, self->page);

	/* Pages that are not where pages of memory are */
	ASSERT_EQ(0, _test_ioctl_ioas_map(self->fd, self->ioas_id,
					  self->memory + half, 2 * self->page,
					  &iova, MAP_RW));
	EXPECT_ERRNO(EINVAL, queue_alloc(0, iova, self->page, &id));
	test_ioctl_ioas_unmap(iova, 2 * self->page);
}

FIXTURE(region)
{
	int fd;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 parent_id;
	__u32 viommu_id;
	size_t page;
	struct iommu_viommu_selftest data;
};

#define REGION_WORD 0x5a17e57U

FIXTURE_SETUP(region)
{
	self->page = sysconf(_SC_PAGESIZE);
	setup_parent();
	self->data.in_data = REGION_WORD;
	ASSERT_EQ(0, alloc_viommu_data(self->fd, self->idev_id, self->parent_id,
				       &self->data, &self->viommu_id));
}

FIXTURE_TEARDOWN(region)
{
	EXPECT_EQ(0, close(self->fd));
}

#define TEST_REGION(_name) TEST_F_TIMEOUT(region, _name, 600)

/* Another process, or the hardware, may write it. */
static __u32 map_word(const void *map, unsigned int i)
{
	return __atomic_load_n((const __u32 *)map + i, __ATOMIC_RELAXED);
}

#define map_region(_length, _prot, _flags, _offset) \
	mmap(NULL, _length, _prot, _flags, self->fd, _offset)

#define expect_no_map(_errno, _length, _prot, _flags, _offset)            \
	({                                                                \
		EXPECT_EQ(MAP_FAILED, map_region(_length, _prot, _flags,  \
						 _offset));               \
		EXPECT_EQ(_errno, errno);                                 \
	})

TEST_REGION(map)
{
	__u64 offset = self->data.out_mmap_offset;
	__u64 length = self->data.out_mmap_length;
	const int rw = PROT_READ | PROT_WRITE;
	struct iommu_viommu_selftest data = { .in_data = 77 };
	void *map;
	__u32 other_id;
	void *other;

	EXPECT_EQ(2 * self->page, length);
	EXPECT_EQ(self->page, offset);

	expect_no_map(EINVAL, length, rw, MAP_PRIVATE, offset);
	expect_no_map(EPERM, length, rw | PROT_EXEC, MAP_SHARED, offset);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, 0);
	expect_no_map(ENXIO, self->page, rw, MAP_SHARED, offset);
	expect_no_map(ENXIO, self->page, rw, MAP_SHARED, offset + self->page);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, offset + self->page);
	expect_no_map(ENXIO, length + self->page, rw, MAP_SHARED, offset);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, offset + length);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, 1LL << 62);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, offset | (1LL << 62));

	map = map_region(length, rw, MAP_SHARED, offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(REGION_WORD, map_word(map, 0));
	__atomic_store_n((__u32 *)map + 1, 4711, __ATOMIC_RELAXED);
	/* Nor can it be made executable later. */
	EXPECT_ERRNO(EACCES, mprotect(map, length, PROT_READ | PROT_EXEC));
	/* or longer */
	EXPECT_EQ(MAP_FAILED, mremap(map, length, 2 * length,
				     MREMAP_MAYMOVE));

	/* Once more, and another one */
	other = map_region(length, PROT_READ, MAP_SHARED, offset);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(4711, map_word(other, 1));
	EXPECT_EQ(0, munmap(other, length));
	ASSERT_EQ(0, alloc_viommu_data(self->fd, self->idev_id, self->parent_id,
				       &data, &other_id));
	EXPECT_EQ(offset + length, data.out_mmap_offset);
	other = map_region(length, PROT_READ, MAP_SHARED, data.out_mmap_offset);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(77, map_word(other, 0));

	/* Each piece holds its vIOMMU. */
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	EXPECT_EQ(0, munmap(map, self->page));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	EXPECT_EQ(0, munmap(map + self->page, self->page));
	test_ioctl_destroy(self->viommu_id);
	expect_no_map(ENXIO, length, rw, MAP_SHARED, offset);
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, other_id));
	EXPECT_EQ(0, munmap(other, length));
	test_ioctl_destroy(other_id);
	test_ioctl_destroy(self->parent_id);
}

/* A child has the mappings, too, and mappings outlive the file. */
TEST_REGION(fork)
{
	__u64 length = self->data.out_mmap_length;
	void *map;
	int to_child[2], status;
	pid_t child;
	char c;

	map = map_region(length, PROT_READ, MAP_SHARED,
			 self->data.out_mmap_offset);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, pipe(to_child));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(to_child[1]);
		status = read(to_child[0], &c, 1);
		_exit(status || map_word(map, 0) != REGION_WORD);
	}
	EXPECT_EQ(0, munmap(map, length));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->viommu_id));
	EXPECT_EQ(0, close(to_child[1]));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, close(to_child[0]));

	map = map_region(length, PROT_READ, MAP_SHARED,
			 self->data.out_mmap_offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, close(self->fd));
	EXPECT_EQ(REGION_WORD, map_word(map, 0));
	EXPECT_EQ(0, munmap(map, length));
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
}

/*
 * Calls that are held up when they write their answer: they are done but for that,
 * and nobody may use what they have made.
 */
struct held_call {
	pthread_t thread;
	int fd;
	unsigned long cmd;
	void *arg;	/* a page of its own */
	int uffd;
	atomic_int tid;
	int ret;
};

static void *held_thread(void *data)
{
	struct held_call *call = data;

	atomic_store(&call->tid, syscall(__NR_gettid));
	call->ret = ioctl(call->fd, call->cmd, call->arg) ? errno : 0;
	return NULL;
}

static int uffd_protect(int uffd, void *page, bool on)
{
	struct uffdio_writeprotect protect = {
		.range = { .start = (uintptr_t)page,
			   .len = sysconf(_SC_PAGESIZE) },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &protect);
}

static int uffd_open(void *page)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)page,
			   .len = sysconf(_SC_PAGESIZE) },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		return -1;
	if (ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg) || uffd_protect(uffd, page, true)) {
		close(uffd);
		return -1;
	}
	return uffd;
}

/* Returns when the call is held up, or -1 if that is not possible here. */
static int hold_call(struct held_call *call, int fd, unsigned long cmd,
		     const void *arg, size_t len)
{
	struct uffd_msg event;

	call->fd = fd;
	call->cmd = cmd;
	call->arg = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (call->arg == MAP_FAILED)
		abort();
	memcpy(call->arg, arg, len);
	call->uffd = uffd_open(call->arg);
	if (call->uffd < 0)
		return -1;
	if (pthread_create(&call->thread, NULL, held_thread, call))
		abort();
	/* A call that fails does not write, and this waits for ever. */
	if (read(call->uffd, &event, sizeof(event)) != sizeof(event))
		abort();
	return 0;
}

static int release_call(struct held_call *call)
{
	if (uffd_protect(call->uffd, call->arg, false))
		abort();
	pthread_join(call->thread, NULL);
	close(call->uffd);
	return call->ret;
}

TEST_REGION(map_unfinished)
{
	struct iommu_viommu_selftest data = { .in_data = 5 };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = self->idev_id,
		.hwpt_id = self->parent_id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	struct held_call call = {};
	void *map;

	if (hold_call(&call, self->fd, IOMMU_VIOMMU_ALLOC, &cmd, sizeof(cmd)))
		SKIP(return, "needs userfaultfd");
	EXPECT_EQ(5, data.out_data);
	expect_no_map(ENXIO, data.out_mmap_length, PROT_READ, MAP_SHARED,
		      data.out_mmap_offset);
	EXPECT_EQ(0, release_call(&call));
	map = map_region(data.out_mmap_length, PROT_READ, MAP_SHARED,
			 data.out_mmap_offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(5, map_word(map, 0));
	EXPECT_EQ(0, munmap(map, data.out_mmap_length));
}

TEST_HW_QUEUE(depend_unfinished)
{
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = self->viommu_id,
		.type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.nesting_parent_iova = QUEUE_IOVA,
		.length = self->page,
	};
	struct held_call call = {};
	__u32 id;

	if (hold_call(&call, self->fd, IOMMU_HW_QUEUE_ALLOC, &cmd, sizeof(cmd)))
		SKIP(return, "needs userfaultfd");
	EXPECT_ERRNO(EEXIST, queue_alloc(0, QUEUE_IOVA, self->page, &id));
	EXPECT_ERRNO(EIO, queue_alloc(1, QUEUE_IOVA, self->page, &id));
	EXPECT_EQ(0, release_call(&call));
	ASSERT_EQ(0, queue_alloc(1, QUEUE_IOVA, self->page, &id));
}

/* The state of a thread as /proc/PID/stat has it */
static char thread_state(int tid)
{
	char name[64], line[512] = "", *end;
	int fd;

	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", tid);
	fd = open(name, O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, line, sizeof(line) - 1) < 0)
		abort();
	close(fd);
	end = strrchr(line, ')');
	return end && end[1] ? end[2] : 0;
}

/* A device that is unbound waits for the call that has it, and not any longer. */
TEST_VIOMMU(unbind_unfinished)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = self->viommu_id,
		.virt_id = VIRT_ID,
	};
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	struct held_call call = {}, unbind = {
		.fd = self->fd,
		.cmd = IOMMU_DESTROY,
		.arg = &destroy,
	};
	__u32 stdev_id, id;
	struct timespec until;

	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &cmd.dev_id);
	if (hold_call(&call, self->fd, IOMMU_VDEVICE_ALLOC, &cmd, sizeof(cmd)))
		SKIP(return, "needs userfaultfd");
	destroy.id = stdev_id;
	ASSERT_EQ(0, pthread_create(&unbind.thread, NULL, held_thread, &unbind));
	while (!atomic_load(&unbind.tid) ||
	       thread_state(atomic_load(&unbind.tid)) != 'D')
		sched_yield();
	EXPECT_EQ(0, release_call(&call));

	/* It would give up after a minute. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 45;
	ASSERT_EQ(0, pthread_timedjoin_np(unbind.thread, NULL, &until));
	EXPECT_EQ(0, unbind.ret);

	cmd = *(struct iommu_vdevice_alloc *)call.arg;
	EXPECT_ERRNO(ENOENT, _test_ioctl_destroy(self->fd, cmd.out_vdevice_id));
	ASSERT_EQ(0, alloc_vdevice(self->fd, self->viommu_id, self->idev_id,
				   VIRT_ID, &id));
}

/*
 * Several threads, each of which does one thing over and over until the first is
 * done. A call of them may fail, but only as is said there.
 */
struct race {
	int fd;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 parent_id;
	__u32 viommu_id;
	char *memory;
	atomic_uint id;		/* of an object that others may destroy */
	atomic_int event_fd;
	atomic_bool done;
	atomic_int bad;		/* an errno that should not be */
};

#define RACE_ROUNDS 500

/* Returns whether the call was done. */
static bool race_call(struct race *race, int ret, int errno1, int errno2)
{
	if (!ret)
		return true;
	if (errno != errno1 && errno != errno2) {
		atomic_store(&race->bad, errno);
		atomic_store(&race->done, true);
	}
	return false;
}

static void race_destroy(struct race *race, __u32 id)
{
	while (!atomic_load(&race->done) &&
	       !race_call(race, _test_ioctl_destroy(race->fd, id), EBUSY, EBUSY))
		sched_yield();
}

static int race_run(struct race *race, void *(*const threads[])(void *),
		    unsigned int nr)
{
	pthread_t ids[4];
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (pthread_create(&ids[i], NULL, threads[i], race))
			abort();
	pthread_join(ids[0], NULL);
	atomic_store(&race->done, true);
	for (i = 1; i < nr; i++)
		pthread_join(ids[i], NULL);
	return atomic_load(&race->bad);
}

/* Destroys what the first thread has made, but does not always get there first. */
static void *race_destroy_id(void *data)
{
	struct race *race = data;

	__u32 id;

	/* What we have destroyed is soon the id of something else. */
	while (!atomic_load(&race->done)) {
		id = atomic_exchange(&race->id, NO_ID);
		while (!race_call(race, _test_ioctl_destroy(race->fd, id), ENOENT,
				  EBUSY) && errno == EBUSY)
			;
	}
	return NULL;
}

static void *race_unbind(void *data)
{
	struct race *race = data;
	__u32 stdev_id, idev_id, vdevice_id;
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS && !atomic_load(&race->done); i++) {
		if (!race_call(race,
			       _test_cmd_mock_domain(race->fd, race->ioas_id,
						     &stdev_id, NULL, &idev_id),
			       0, 0))
			break;
		if (race_call(race,
			      alloc_vdevice(race->fd, race->viommu_id, idev_id,
					    VIRT_ID, &vdevice_id), 0, 0))
			atomic_store(&race->id, vdevice_id);
		race_destroy(race, stdev_id);
	}
	return NULL;
}

static void *race_invalidate(void *data)
{
	struct race *race = data;
	struct iommu_viommu_invalidate_selftest req = { .vdev_id = VIRT_ID };
	__u32 num;

	while (!atomic_load(&race->done)) {
		num = 1;
		race_call(race,
			  _test_cmd_hwpt_invalidate(race->fd, race->viommu_id,
						    &req, INV_TYPE, sizeof(req),
						    &num), EINVAL, EINVAL);
	}
	return NULL;
}

TEST_VIOMMU(race_unbind)
{
	void *(*const threads[])(void *) = { race_unbind, race_destroy_id,
					     race_invalidate };
	struct race race = { .fd = self->fd, .ioas_id = self->ioas_id,
			     .viommu_id = self->viommu_id };

	/* An id that never is one */
	atomic_store(&race.id, NO_ID);
	EXPECT_EQ(0, race_run(&race, threads, ARRAY_SIZE(threads)));
	/* Nothing has a reference any more. */
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

static void *race_viommu(void *data)
{
	struct race *race = data;
	struct iommu_viommu_selftest blob = { .in_data = REGION_WORD };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = race->idev_id,
		.hwpt_id = race->parent_id,
		.data_len = sizeof(blob),
		.data_uptr = (uintptr_t)&blob,
	};
	void *fails = read_only(&cmd, sizeof(cmd));
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS && !atomic_load(&race->done); i++) {
		race_call(race, ioctl(race->fd, IOMMU_VIOMMU_ALLOC, fails),
			  EFAULT, EFAULT);
		if (!race_call(race, ioctl(race->fd, IOMMU_VIOMMU_ALLOC, &cmd), 0,
			       0))
			break;
		race_destroy(race, cmd.out_viommu_id);
	}
	return NULL;
}

static void *race_map(void *data)
{
	struct race *race = data;
	size_t length = 2 * sysconf(_SC_PAGESIZE);
	void *map;

	while (!atomic_load(&race->done)) {
		map = mmap(NULL, length, PROT_READ, MAP_SHARED, race->fd,
			   sysconf(_SC_PAGESIZE));
		if (!race_call(race, map == MAP_FAILED ? -1 : 0, ENXIO, ENXIO))
			continue;
		if (map_word(map, 0) != REGION_WORD)
			abort();
		munmap(map, length);
	}
	return NULL;
}

TEST_VIOMMU(race_map)
{
	void *(*const threads[])(void *) = { race_viommu, race_map, race_map };
	struct race race = { .fd = self->fd, .idev_id = self->idev_id,
			     .parent_id = self->parent_id };

	EXPECT_EQ(0, race_run(&race, threads, ARRAY_SIZE(threads)));
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

static void *race_queue(void *data)
{
	struct race *race = data;
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = race->viommu_id,
		.type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.nesting_parent_iova = QUEUE_IOVA,
		.length = sysconf(_SC_PAGESIZE),
	};
	void *fails = read_only(&cmd, sizeof(cmd));
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS && !atomic_load(&race->done); i++) {
		race_call(race, ioctl(race->fd, IOMMU_HW_QUEUE_ALLOC, fails),
			  EFAULT, ENOENT);
		if (race_call(race, ioctl(race->fd, IOMMU_HW_QUEUE_ALLOC, &cmd),
			      ENOENT, ENOENT))
			race_destroy(race, cmd.out_hw_queue_id);
	}
	return NULL;
}

static void *race_next_queue(void *data)
{
	struct race *race = data;
	__u32 id;

	while (!atomic_load(&race->done)) {
		if (race_call(race,
			      alloc_hw_queue(race->fd, race->viommu_id, 1,
					     QUEUE_IOVA, sysconf(_SC_PAGESIZE),
					     &id), EIO, ENOENT))
			race_call(race, _test_ioctl_destroy(race->fd, id), 0, 0);
	}
	return NULL;
}

static void *race_unmap(void *data)
{
	struct race *race = data;
	size_t length = QUEUE_PAGES * sysconf(_SC_PAGESIZE);
	__u64 iova = QUEUE_IOVA;

	while (!atomic_load(&race->done)) {
		if (!race_call(race,
			       _test_ioctl_ioas_unmap(race->fd, race->ioas_id,
						      iova, length, NULL),
			       EBUSY, EBUSY))
			continue;
		race_call(race,
			  _test_ioctl_ioas_map(race->fd, race->ioas_id,
					       race->memory, length, &iova,
					       MAP_RW), 0, 0);
	}
	return NULL;
}

TEST_HW_QUEUE(race_unmap)
{
	void *(*const threads[])(void *) = { race_queue, race_next_queue,
					     race_unmap };
	struct race race = { .fd = self->fd, .ioas_id = self->ioas_id,
			     .viommu_id = self->viommu_id,
			     .memory = self->memory };

	EXPECT_EQ(0, race_run(&race, threads, ARRAY_SIZE(threads)));
	test_ioctl_ioas_unmap(QUEUE_IOVA, QUEUE_PAGES * self->page);
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

static void *race_veventq(void *data)
{
	struct race *race = data;
	unsigned int i;
	__u32 id;
	int fd;

	for (i = 0; i < RACE_ROUNDS && !atomic_load(&race->done); i++) {
		if (!race_call(race,
			       alloc_veventq(race->fd, race->viommu_id,
					     EVENT_TYPE, 4, &id, &fd), 0, 0))
			break;
		atomic_store(&race->event_fd, fd);
		/* Let the others see it. */
		sched_yield();
		atomic_store(&race->event_fd, -1);
		close(fd);
		race_destroy(race, id);
	}
	return NULL;
}

static void *race_trigger(void *data)
{
	struct race *race = data;

	while (!atomic_load(&race->done))
		race_call(race, trigger_vevent(race->fd, race->idev_id),
			  EOPNOTSUPP, ENOENT);
	return NULL;
}

static void *race_read(void *data)
{
	struct race *race = data;
	struct event events[3];

	/* The file may be closed, and another one may have its number. */
	while (!atomic_load(&race->done))
		race_call(race,
			  read(atomic_load(&race->event_fd), events,
			       sizeof(events)) < 0 ? -1 : 0, EBADF, EINVAL);
	return NULL;
}

static void *race_attach(void *data)
{
	struct race *race = data;

	while (!atomic_load(&race->done)) {
		race_call(race,
			  _test_cmd_mock_domain_replace(race->fd, race->stdev_id,
							race->ioas_id, NULL),
			  0, 0);
		race_call(race,
			  _test_cmd_mock_domain_replace(race->fd, race->stdev_id,
							race->parent_id, NULL),
			  0, 0);
	}
	return NULL;
}

TEST_VEVENT(race)
{
	void *(*const threads[])(void *) = { race_veventq, race_trigger,
					     race_read, race_attach };
	struct race race = { .fd = self->fd, .idev_id = self->idev_id,
			     .ioas_id = self->ioas_id,
			     .stdev_id = self->stdev_id,
			     .parent_id = self->nested_id,
			     .viommu_id = self->viommu_id };

	atomic_store(&race.event_fd, -1);
	EXPECT_EQ(0, race_run(&race, threads, ARRAY_SIZE(threads)));
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	test_ioctl_destroy(self->nested_id);
	test_ioctl_destroy(self->vdevice_id);
	test_ioctl_destroy(self->viommu_id);
	test_ioctl_destroy(self->parent_id);
}

TEST_HARNESS_MAIN

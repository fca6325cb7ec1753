// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of PASIDs, on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdlib.h>
#include <sys/mman.h>

#define __EXPORTED_HEADERS__
#include <linux/vfio.h>

#include "iommufd_utils.h"
#include "iommufd_pasid.h"

#define MSG sizeof(struct iommu_hwpt_pgfault)

#define TEST_PASID(_name) TEST_F_TIMEOUT(pasid, _name, 600)

FIXTURE(pasid)
{
	int fd;
	__u32 ioas_id, stdev_id, idev_id;
	__u32 auto_id;	/* of the RID at first, with no room for PASIDs */
	__u32 rid_id;	/* with room for them; the RID is attached to it */
	__u32 hwpt[2];
	__u32 fault_id, fault_fd;
};

FIXTURE_VARIANT(pasid)
{
	__u32 flags;
};

FIXTURE_VARIANT_ADD(pasid, alone)
{
	.flags = MOCK_FLAGS_DEVICE_PASID,
};

/* A group of its own, in which others may come. */
FIXTURE_VARIANT_ADD(pasid, shared)
{
	.flags = MOCK_FLAGS_DEVICE_PASID | MOCK_FLAGS_DEVICE_SHARED_GROUP,
};

FIXTURE_SETUP(pasid)
{
	int i;

	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
	test_ioctl_ioas_alloc(&self->ioas_id);
	test_cmd_mock_domain_flags(self->ioas_id, variant->flags, &self->stdev_id,
				   &self->auto_id, &self->idev_id);
	test_ioctl_fault_alloc(&self->fault_id, &self->fault_fd);
	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, IOMMU_HWPT_ALLOC_PASID,
			    &self->rid_id);
	test_cmd_mock_domain_replace(self->stdev_id, self->rid_id);
	for (i = 0; i < 2; i++)
		test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id,
					 self->fault_id,
					 IOMMU_HWPT_FAULT_ID_VALID |
					 IOMMU_HWPT_ALLOC_PASID,
					 &self->hwpt[i], IOMMU_HWPT_DATA_NONE,
					 NULL, 0);
}

FIXTURE_TEARDOWN(pasid)
{
	close(self->fault_fd);
	close(self->fd);
}

TEST_PASID(attach_replace_detach)
{
	static const __u32 pasids[] = { PASID_EVEN, PASID_ODD };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, check(pasids[i], 0));
		ASSERT_EQ(-EINVAL, replace(pasids[i], self->hwpt[0]));
		ASSERT_EQ(0, attach(pasids[i], self->hwpt[0]));
		ASSERT_EQ(0, check(pasids[i], self->hwpt[0]));
		ASSERT_EQ(-EBUSY, attach(pasids[i], self->hwpt[0]));
		ASSERT_EQ(-EBUSY, attach(pasids[i], self->hwpt[1]));
		EXPECT_EQ(-1, _test_ioctl_destroy(self->fd, self->hwpt[0]));
		EXPECT_EQ(EBUSY, errno);
		ASSERT_EQ(0, replace(pasids[i], self->hwpt[0]));
		ASSERT_EQ(0, replace(pasids[i], self->hwpt[1]));
		ASSERT_EQ(0, check(pasids[i], self->hwpt[1]));
		ASSERT_EQ(0, detach(pasids[i]));
		ASSERT_EQ(0, check(pasids[i], 0));
		ASSERT_EQ(0, detach(pasids[i]));
	}
	/* nobody holds them any more */
	test_ioctl_destroy(self->hwpt[0]);
	test_ioctl_destroy(self->hwpt[1]);
}

TEST_PASID(bad_targets)
{
	__u32 plain;

	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, 0, &plain);
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, plain));
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, self->ioas_id));
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, self->fault_id));
	EXPECT_EQ(-ENOENT, attach(PASID_EVEN, 0x7ffffff0));
	EXPECT_EQ(-EINVAL, attach(0, self->hwpt[0]));
	EXPECT_EQ(-EINVAL, attach(1 << MOCK_PASID_WIDTH, self->hwpt[0]));
	EXPECT_EQ(0, attach((1 << MOCK_PASID_WIDTH) - 1, self->hwpt[0]));
	EXPECT_EQ(0, detach((1 << MOCK_PASID_WIDTH) - 1));
	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	EXPECT_EQ(-EINVAL, replace(PASID_EVEN, plain));
	EXPECT_EQ(-EINVAL, replace(PASID_EVEN, self->ioas_id));
	EXPECT_EQ(0, check(PASID_EVEN, self->hwpt[0]));
	EXPECT_EQ(0, check(0, self->rid_id));
}

/* Beside page tables of PASIDs, the RID has none that leaves no room for them. */
TEST_PASID(rid)
{
	__u32 plain, other;

	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, 0, &plain);
	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, IOMMU_HWPT_ALLOC_PASID,
			    &other);
	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	test_err_mock_domain_replace(EINVAL, self->stdev_id, plain);
	test_err_mock_domain_replace(EINVAL, self->stdev_id, self->ioas_id);
	test_cmd_mock_domain_replace(self->stdev_id, other);
	test_cmd_mock_domain_replace(self->stdev_id, self->rid_id);
	ASSERT_EQ(0, detach(PASID_EVEN));
	test_cmd_mock_domain_replace(self->stdev_id, plain);
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, self->hwpt[0]));
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, self->hwpt[0]));
}

/* What fails leaves everything as it was. */
TEST_PASID(driver_refuses)
{
	EXPECT_EQ(-ENOMEM, attach(MOCK_PASID_UNFIT, self->hwpt[0]));
	EXPECT_EQ(0, check(MOCK_PASID_UNFIT, 0));
	ASSERT_EQ(0, attach(IOMMU_TEST_PASID_RESERVED, self->hwpt[0]));
	/* In a group it is replaced by way of none, which works. */
	if (variant->flags & MOCK_FLAGS_DEVICE_SHARED_GROUP)
		return;
	EXPECT_EQ(-ENOMEM, replace(IOMMU_TEST_PASID_RESERVED, self->hwpt[1]));
	EXPECT_EQ(0, check(IOMMU_TEST_PASID_RESERVED, self->hwpt[0]));
	test_ioctl_destroy(self->hwpt[1]);
	EXPECT_EQ(0, send_one(self->fd, self->idev_id, IOMMU_TEST_PASID_RESERVED, 1));
	ASSERT_EQ(0, detach(IOMMU_TEST_PASID_RESERVED));
	expect_answers(1);
}

TEST_PASID(faults)
{
	struct iommu_hwpt_page_response resp = { .code = IOMMUFD_PAGE_RESP_SUCCESS };
	struct iommu_hwpt_pgfault msg;

	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	ASSERT_EQ(0, attach(PASID_ODD, self->hwpt[1]));
	ASSERT_EQ(0, send_one(self->fd, self->idev_id, PASID_ODD, 1));
	ASSERT_EQ(MSG, read(self->fault_fd, &msg, MSG));
	EXPECT_EQ(PASID_ODD, msg.pasid);
	EXPECT_EQ(IOMMU_PGFAULT_FLAGS_PASID_VALID | IOMMU_PGFAULT_FLAGS_LAST_PAGE,
		  msg.flags);
	EXPECT_EQ(self->idev_id, msg.dev_id);
	resp.cookie = msg.cookie;
	ASSERT_EQ(sizeof(resp), write(self->fault_fd, &resp, sizeof(resp)));
	expect_answer(0, 1, PASID_ODD, PCI_SUCCESS);
	/* one that is not attached, and the RID, whose page table takes no faults */
	send_one(self->fd, self->idev_id, 300, 2);
	expect_answer(1, 2, 300, PCI_INVALID);
	send_one(self->fd, self->idev_id, 0, 3);
	expect_answer(2, 3, 0, PCI_INVALID);
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));
}

/* The page tables share a queue: what another PASID has asked for stays there. */
TEST_PASID(faults_detach)
{
	struct iommu_hwpt_pgfault msg;

	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	ASSERT_EQ(0, attach(PASID_ODD, self->hwpt[1]));
	ASSERT_EQ(0, send_one(self->fd, self->idev_id, PASID_EVEN, 1));
	ASSERT_EQ(MSG, read(self->fault_fd, &msg, MSG));
	ASSERT_EQ(0, send_one(self->fd, self->idev_id, PASID_EVEN, 2));
	ASSERT_EQ(0, send_one(self->fd, self->idev_id, PASID_ODD, 3));
	ASSERT_EQ(0, detach(PASID_EVEN));
	expect_answers(2);
	ASSERT_EQ(MSG, read(self->fault_fd, &msg, MSG));
	EXPECT_EQ(PASID_ODD, msg.pasid);
	EXPECT_EQ(self->idev_id, msg.dev_id);
	ASSERT_EQ(0, detach(PASID_ODD));
	expect_answer(2, 3, PASID_ODD, PCI_INVALID);
	expect_answers(3);
}

TEST_PASID(faults_replace)
{
	static const __u32 pasids[] = { PASID_EVEN, PASID_ODD };
	struct iommu_hwpt_pgfault msg;
	unsigned int i;
	__u32 silent;

	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id, IOMMU_HWPT_ALLOC_PASID,
			    &silent);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, attach(pasids[i], self->hwpt[0]));
		ASSERT_EQ(0, send_one(self->fd, self->idev_id, pasids[i], 1));
		ASSERT_EQ(MSG, read(self->fault_fd, &msg, MSG));
		ASSERT_EQ(0, replace(pasids[i], self->hwpt[1]));
		/* it takes faults, too: the device is to ask again */
		expect_answer(2 * i, 1, pasids[i], PCI_SUCCESS);
		ASSERT_EQ(0, send_one(self->fd, self->idev_id, pasids[i], 2));
		ASSERT_EQ(0, replace(pasids[i], silent));
		expect_answer(2 * i + 1, 2, pasids[i], PCI_INVALID);
		ASSERT_EQ(0, detach(pasids[i]));
	}
	expect_answers(4);
}

/* Everything is given back when the device, or the whole file, goes. */
TEST_PASID(destroyed_attached)
{
	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	ASSERT_EQ(0, attach(PASID_ODD, self->hwpt[1]));
	ASSERT_EQ(0, send_one(self->fd, self->idev_id, PASID_EVEN, 1));
	test_ioctl_destroy(self->stdev_id);
	test_ioctl_destroy(self->hwpt[0]);
	test_ioctl_destroy(self->hwpt[1]);
}

/* The devices of a group have one page table for a PASID. */
TEST_PASID(group)
{
	__u32 stdev_id, idev_id;

	/* If it is alone there is nothing to see here. */
	if (!(variant->flags & MOCK_FLAGS_DEVICE_SHARED_GROUP))
		return;
	test_cmd_mock_domain_flags(self->rid_id, variant->flags, &stdev_id, NULL,
				   &idev_id);
	ASSERT_EQ(0, attach(PASID_EVEN, self->hwpt[0]));
	EXPECT_EQ(-EINVAL, pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, stdev_id,
				    PASID_EVEN, self->hwpt[1]));
	EXPECT_EQ(-EINVAL, pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, stdev_id,
				    PASID_EVEN, self->hwpt[1]));
	ASSERT_EQ(0, pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, stdev_id,
			      PASID_EVEN, self->hwpt[0]));
	/* both go */
	ASSERT_EQ(0, replace(PASID_EVEN, self->hwpt[1]));
	ASSERT_EQ(0, detach(PASID_EVEN));
	EXPECT_EQ(0, check(PASID_EVEN, self->hwpt[1]));
	EXPECT_EQ(0, send_one(self->fd, idev_id, PASID_EVEN, 1));
	test_ioctl_destroy(stdev_id);
	EXPECT_EQ(0, check(PASID_EVEN, 0));
	test_ioctl_destroy(self->hwpt[0]);
	test_ioctl_destroy(self->hwpt[1]);
}

TEST_PASID(nested)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOMMU_TEST_IOTLB_DEFAULT };
	__u32 parent, nested, plain;

	test_cmd_hwpt_alloc(self->idev_id, self->ioas_id,
			    IOMMU_HWPT_ALLOC_NEST_PARENT, &parent);
	test_cmd_hwpt_alloc_nested(self->idev_id, parent, IOMMU_HWPT_ALLOC_PASID,
				   &nested, IOMMU_HWPT_DATA_SELFTEST, &data,
				   sizeof(data));
	test_cmd_hwpt_alloc_nested(self->idev_id, parent, 0, &plain,
				   IOMMU_HWPT_DATA_SELFTEST, &data, sizeof(data));
	EXPECT_EQ(-EINVAL, attach(PASID_EVEN, plain));
	ASSERT_EQ(0, attach(PASID_EVEN, nested));
	ASSERT_EQ(0, check(PASID_EVEN, nested));
	ASSERT_EQ(0, replace(PASID_EVEN, self->hwpt[0]));
	ASSERT_EQ(0, detach(PASID_EVEN));
	test_ioctl_destroy(nested);
	test_ioctl_destroy(plain);
	test_ioctl_destroy(parent);
}

TEST_HARNESS_MAIN

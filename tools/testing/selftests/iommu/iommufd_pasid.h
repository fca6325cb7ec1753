/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PASIDs of mock devices, their page requests and the answers (after iommufd_utils.h)
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOMMUFD_PASID_H
#define IOMMUFD_PASID_H

#include <errno.h>
#include <sys/ioctl.h>

#define RW (IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE)

/* Odd ones are replaced by way of none, see selftest_pasid.c */
#define PASID_EVEN	100
#define PASID_ODD	101

/* Response codes as they are sent to a PCI device */
#define PCI_SUCCESS 0
#define PCI_INVALID 1

static inline int pasid_op(int fd, __u32 op, __u32 stdev_id, __u32 pasid, __u32 id)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = op,
		.id = stdev_id,
		.pasid_attach = { .pasid = pasid, .pt_id = id },
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

#define attach(_pasid, _id) \
	pasid_op(self->fd, IOMMU_TEST_OP_PASID_ATTACH, self->stdev_id, _pasid, _id)
#define replace(_pasid, _id) \
	pasid_op(self->fd, IOMMU_TEST_OP_PASID_REPLACE, self->stdev_id, _pasid, _id)
#define detach(_pasid) \
	pasid_op(self->fd, IOMMU_TEST_OP_PASID_DETACH, self->stdev_id, _pasid, 0)
#define check(_pasid, _id) \
	pasid_op(self->fd, IOMMU_TEST_OP_PASID_CHECK_HWPT, self->stdev_id, _pasid, _id)

static inline int send_at(int fd, __u32 dev_id, __u32 pasid, __u32 grpid, __u64 addr)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_IOPF_SEND,
		.iopf_send = {
			.dev_id = dev_id,
			.flags = MOCK_IOPF_LAST | (pasid ? MOCK_IOPF_PASID : 0),
			.pasid = pasid,
			.grpid = grpid,
			.addr = addr,
			.perm = RW,
		},
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

static inline int send_one(int fd, __u32 dev_id, __u32 pasid, __u32 grpid)
{
	return send_at(fd, dev_id, pasid, grpid, grpid * 0x1000ULL);
}

static inline int answers(int fd, __u32 dev_id, __u32 index, struct iommu_test_cmd *cmd)
{
	*cmd = (struct iommu_test_cmd){
		.size = sizeof(*cmd),
		.op = IOMMU_TEST_OP_IOPF_ANSWER,
		.iopf_answer = { .dev_id = dev_id, .index = index },
	};
	return ioctl(fd, IOMMU_TEST_CMD, cmd) ? -errno : 0;
}

#define expect_answer(_index, _grpid, _pasid, _code)                        \
	({                                                                  \
		struct iommu_test_cmd _cmd;                                 \
		ASSERT_EQ(0, answers(self->fd, self->idev_id, _index, &_cmd)); \
		ASSERT_EQ(1, _cmd.iopf_answer.out_valid);                   \
		EXPECT_EQ(_grpid, _cmd.iopf_answer.out_grpid);              \
		EXPECT_EQ(_pasid, _cmd.iopf_answer.out_pasid);              \
		EXPECT_EQ(_code, _cmd.iopf_answer.out_code);                \
	})
#define expect_answers(_total)                                              \
	({                                                                  \
		struct iommu_test_cmd _cmd;                                 \
		ASSERT_EQ(0, answers(self->fd, self->idev_id, 0, &_cmd));   \
		EXPECT_EQ(_total, _cmd.iopf_answer.out_total);              \
	})

#endif /* IOMMUFD_PASID_H */

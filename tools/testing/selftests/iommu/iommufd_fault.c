// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of paging HWPTs, on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Each test sends page requests through the mock device and looks at both
 * ends: what user space reads from the fault queue, and what the device is
 * answered. No request may be answered twice, or never.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define __EXPORTED_HEADERS__
#include <linux/iopf.h>
#include <linux/vfio.h>

#include "iommufd_utils.h"
#include "iopf_cgroup.h"
#include "iopf_held.h"
#include "iopf_sysfs.h"
#include "iopf_trace.h"

#define MSG sizeof(struct iommu_hwpt_pgfault)
#define RESP sizeof(struct iommu_hwpt_page_response)

/* Response codes as they are sent to a PCI device */
#define PCI_SUCCESS 0
#define PCI_INVALID 1

#define RW (IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE)

static int fault_send(int fd, __u32 dev_id, __u32 flags, __u32 pasid,
		      __u32 grpid, __u64 addr)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_IOPF_SEND,
		.iopf_send = {
			.dev_id = dev_id,
			.flags = flags,
			.pasid = pasid,
			.grpid = grpid,
			.addr = addr,
			.perm = RW,
		},
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd);
}

static int fault_answer_get(int fd, __u32 dev_id, __u32 index,
			    struct iommu_test_cmd *cmd)
{
	*cmd = (struct iommu_test_cmd){
		.size = sizeof(*cmd),
		.op = IOMMU_TEST_OP_IOPF_ANSWER,
		.iopf_answer = { .dev_id = dev_id, .index = index },
	};
	return ioctl(fd, IOMMU_TEST_CMD, cmd);
}

static int fault_respond(int fault_fd, __u32 cookie, __u32 code)
{
	struct iommu_hwpt_page_response resp = {
		.cookie = cookie,
		.code = code,
	};
	ssize_t ret = write(fault_fd, &resp, sizeof(resp));

	if (ret < 0)
		return -1;
	return ret == sizeof(resp) ? 0 : -2;
}

static bool fault_readable(int fault_fd)
{
	struct pollfd pfd = { .fd = fault_fd, .events = POLLIN | POLLOUT };

	if (poll(&pfd, 1, 0) != 1)
		abort();
	/* Answers can be written at any time. */
	if (!(pfd.revents & POLLOUT))
		abort();
	return pfd.revents & POLLIN;
}

/* An address that cannot be read or written */
static void *bad_address(void)
{
	void *map;

	PAGE_SIZE = sysconf(_SC_PAGESIZE);
	map = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (map == MAP_FAILED)
		abort();
	return map;
}

/* One request that is a group of its own */
static int fault_send_one(int fd, __u32 dev_id, __u32 grpid)
{
	return fault_send(fd, dev_id, MOCK_IOPF_LAST, 0, grpid,
			  grpid * 0x1000ULL);
}

#define test_send(grpid) \
	ASSERT_EQ(0, fault_send_one(self->fd, self->idev_id, grpid))
#define test_send_part(grpid, addr) \
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, 0, 0, grpid, addr))

#define expect_answers_of(_dev, _total)                                     \
	({                                                                  \
		struct iommu_test_cmd _cmd;                                 \
		ASSERT_EQ(0, fault_answer_get(self->fd, _dev, 0, &_cmd));   \
		EXPECT_EQ(_total, _cmd.iopf_answer.out_total);              \
	})
#define expect_answers(_total) expect_answers_of(self->idev_id, _total)

#define expect_answer(_index, _grpid, _code)                                \
	({                                                                  \
		struct iommu_test_cmd _cmd;                                 \
		ASSERT_EQ(0, fault_answer_get(self->fd, self->idev_id,      \
					      _index, &_cmd));              \
		ASSERT_EQ(1, _cmd.iopf_answer.out_valid);                   \
		EXPECT_EQ(_grpid, _cmd.iopf_answer.out_grpid);              \
		EXPECT_EQ(_code, _cmd.iopf_answer.out_code);                \
	})

/* Read one group of @_n messages that is alone in the queue */
#define test_read(_fault_fd, _msg, _n)                                      \
	({                                                                  \
		size_t _len = (_n) * MSG;                                   \
		ASSERT_EQ((ssize_t)_len, read(_fault_fd, _msg, _len));      \
	})

/* Emulated machines that are busy with other things take their time. */
#define TEST_FAULT(_name) TEST_F_TIMEOUT(fault, _name, 600)

FIXTURE(fault)
{
	int fd;
	int fault_fd;
	__u32 fault_id;
	__u32 ioas_id;
	__u32 stdev_id;
	__u32 idev_id;
	__u32 hwpt_id;
};

FIXTURE_SETUP(fault)
{
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
	test_ioctl_ioas_alloc(&self->ioas_id);
	test_cmd_mock_domain(self->ioas_id, &self->stdev_id, NULL,
			     &self->idev_id);
	test_ioctl_fault_alloc(&self->fault_id, (__u32 *)&self->fault_fd);
	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, self->fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID, &self->hwpt_id,
				 IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_cmd_mock_domain_replace(self->stdev_id, self->hwpt_id);
}

FIXTURE_TEARDOWN(fault)
{
	if (self->fault_fd != -1)
		EXPECT_EQ(0, close(self->fault_fd));
	EXPECT_EQ(0, close(self->fd));
}

TEST_FAULT(alloc)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = self->idev_id,
		.pt_id = self->ioas_id,
		.fault_id = self->fault_id,
	};
	__u32 hwpt_id;

	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, self->fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID |
					 IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
				 &hwpt_id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_ioctl_destroy(hwpt_id);

	/* The faults of a nested HWPT belong to it, not to its parent. */
	test_err_hwpt_alloc_iopf(EOPNOTSUPP, self->idev_id, self->ioas_id,
				 self->fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID |
					 IOMMU_HWPT_ALLOC_NEST_PARENT,
				 &hwpt_id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_err_hwpt_alloc_iopf(EOPNOTSUPP, self->idev_id, self->ioas_id,
				 self->fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID | (1U << 31),
				 &hwpt_id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	/* Not an object, and an object of another kind */
	test_err_hwpt_alloc_iopf(ENOENT, self->idev_id, self->ioas_id, 0,
				 IOMMU_HWPT_FAULT_ID_VALID, &hwpt_id,
				 IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_err_hwpt_alloc_iopf(ENOENT, self->idev_id, self->ioas_id,
				 self->ioas_id, IOMMU_HWPT_FAULT_ID_VALID,
				 &hwpt_id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	/* Without the flag nobody looks at the id. */
	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, self->ioas_id,
				 0, &hwpt_id, IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_ioctl_destroy(hwpt_id);

	cmd.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	/* A size from before there was a fault_id. It reads as 0. */
	cmd.__reserved = 0;
	cmd.size = offsetof(struct iommu_hwpt_alloc, fault_id);
	EXPECT_ERRNO(ENOENT, ioctl(self->fd, IOMMU_HWPT_ALLOC, &cmd));
}

TEST_FAULT(queue_alloc)
{
	struct iommu_fault_alloc cmd = {
		.size = sizeof(cmd),
		.flags = 1,
	};

	EXPECT_ERRNO(EOPNOTSUPP,
		     ioctl(self->fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd));
	/* In use by the file, and by the HWPT */
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->fault_id));
	EXPECT_EQ(0, close(self->fault_fd));
	self->fault_fd = -1;
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->fault_id));
	EXPECT_ERRNO(EBUSY, _test_ioctl_destroy(self->fd, self->hwpt_id));
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	test_ioctl_destroy(self->hwpt_id);
	test_ioctl_destroy(self->fault_id);
}

/* A device without ATS says so, which older kernels do not. */
TEST_FAULT(without_ats)
{
	__u32 caps;

	test_cmd_get_hw_capabilities(self->idev_id, caps);
	EXPECT_TRUE(caps & IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
}

TEST_FAULT(single)
{
	struct iommu_hwpt_pgfault msg;

	EXPECT_FALSE(fault_readable(self->fault_fd));
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));

	test_send(7);
	EXPECT_TRUE(fault_readable(self->fault_fd));
	memset(&msg, 0xff, MSG);
	test_read(self->fault_fd, &msg, 1);
	EXPECT_EQ(IOMMU_PGFAULT_FLAGS_LAST_PAGE, msg.flags);
	EXPECT_EQ(self->idev_id, msg.dev_id);
	EXPECT_EQ(0, msg.pasid);
	EXPECT_EQ(7, msg.grpid);
	EXPECT_EQ(RW, msg.perm);
	EXPECT_EQ(0, msg.__reserved);
	EXPECT_EQ(0x7000, msg.addr);
	EXPECT_EQ(0, msg.length);
	EXPECT_NE(0, msg.cookie);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));
	expect_answers(0);

	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);
	expect_answer(0, 7, PCI_SUCCESS);

	test_send(8);
	test_read(self->fault_fd, &msg, 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_INVALID));
	expect_answers(2);
	expect_answer(1, 8, PCI_INVALID);
}

/* No group has the cookie 0, also after somebody has tried to answer that. */
TEST_FAULT(cookie_zero)
{
	struct iommu_hwpt_pgfault msg[2];

	test_send(1);
	test_read(self->fault_fd, &msg[0], 1);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, 0,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	test_send(2);
	test_read(self->fault_fd, &msg[1], 1);
	EXPECT_NE(0, msg[0].cookie);
	EXPECT_NE(0, msg[1].cookie);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[1].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
}

/* PASID 0 is the RID. Flags for the kernel's own use must not be seen. */
TEST_FAULT(flags)
{
	struct iommu_hwpt_pgfault msg;

	ASSERT_EQ(0, fault_send(self->fd, self->idev_id,
				MOCK_IOPF_LAST | MOCK_IOPF_PASID, 0, 1, 0));
	test_read(self->fault_fd, &msg, 1);
	EXPECT_EQ(IOMMU_PGFAULT_FLAGS_LAST_PAGE |
		  IOMMU_PGFAULT_FLAGS_PASID_VALID, msg.flags);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);
}

TEST_FAULT(big_group)
{
	static struct iommu_hwpt_pgfault msg[512];
	unsigned int i;

	for (i = 0; i != 511; i++)
		test_send_part(3, i * 0x1000ULL);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_LAST, 0, 3,
				i * 0x1000ULL));
	EXPECT_TRUE(fault_readable(self->fault_fd));

	/* All or nothing */
	EXPECT_ERRNO(EINVAL, read(self->fault_fd, msg, 511 * MSG));
	test_read(self->fault_fd, msg, 512);
	for (i = 0; i != 512; i++) {
		ASSERT_EQ(i * 0x1000ULL, msg[i].addr);
		ASSERT_EQ(3, msg[i].grpid);
		ASSERT_EQ(msg[0].cookie, msg[i].cookie);
		ASSERT_EQ(i == 511 ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0,
			  msg[i].flags);
	}
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);
	expect_answer(0, 3, PCI_SUCCESS);
}

TEST_FAULT(interleaved_groups)
{
	struct iommu_hwpt_pgfault msg[8];

	test_send_part(1, 0x1000);
	test_send_part(2, 0x2000);
	test_send_part(1, 0x3000);
	/* The same index with a PASID, whose faults nobody handles */
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_PASID, 9, 1,
				0x4000));
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id,
				MOCK_IOPF_PASID | MOCK_IOPF_LAST, 9, 1,
				0x5000));
	expect_answers(1);
	expect_answer(0, 1, PCI_INVALID);
	EXPECT_EQ(0, read(self->fault_fd, msg, sizeof(msg)));

	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_LAST, 0, 2,
				0x6000));
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_LAST, 0, 1,
				0x7000));

	/* In the order in which they became complete */
	ASSERT_EQ((ssize_t)(5 * MSG), read(self->fault_fd, msg, sizeof(msg)));
	EXPECT_EQ(0x2000, msg[0].addr);
	EXPECT_EQ(0x6000, msg[1].addr);
	EXPECT_EQ(0x1000, msg[2].addr);
	EXPECT_EQ(0x3000, msg[3].addr);
	EXPECT_EQ(0x7000, msg[4].addr);
	EXPECT_EQ(msg[0].cookie, msg[1].cookie);
	EXPECT_EQ(msg[2].cookie, msg[4].cookie);
	EXPECT_NE(msg[0].cookie, msg[2].cookie);
	expect_answers(1);

	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[2].cookie,
				   IOMMUFD_PAGE_RESP_INVALID));
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(3);
	expect_answer(1, 1, PCI_INVALID);
	expect_answer(2, 2, PCI_SUCCESS);
}

/* A device may use an index again before it got its answer. */
TEST_FAULT(duplicate_index)
{
	struct iommu_hwpt_pgfault msg[2];

	test_send(5);
	test_send(5);
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));
	EXPECT_NE(msg[0].cookie, msg[1].cookie);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[1].cookie,
				   IOMMUFD_PAGE_RESP_INVALID));
	expect_answers(1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
	expect_answer(0, 5, PCI_INVALID);
	expect_answer(1, 5, PCI_SUCCESS);
}

TEST_FAULT(malformed)
{
	struct iommu_hwpt_pgfault msg[4];

	test_send_part(1, 0x1000);
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_MALFORMED,
				0, 1, 0x2000));
	test_send_part(1, 0x3000);
	/* Only the last request of a group is answered. */
	expect_answers(0);
	ASSERT_EQ(0, fault_send(self->fd, self->idev_id, MOCK_IOPF_LAST, 0, 1,
				0x4000));
	expect_answers(1);
	expect_answer(0, 1, PCI_INVALID);
	EXPECT_EQ(0, read(self->fault_fd, msg, sizeof(msg)));

	ASSERT_EQ(0, fault_send(self->fd, self->idev_id,
				MOCK_IOPF_MALFORMED | MOCK_IOPF_LAST, 0, 1,
				0x1000));
	expect_answers(2);

	/* The index is good again. */
	test_send(1);
	test_read(self->fault_fd, msg, 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(3);
}

/* A device that never ends its groups gets no more than so much memory. */
TEST_FAULT(endless_groups)
{
	static struct iommu_hwpt_pgfault msg[4096];
	unsigned int i;
	ssize_t len;

	for (i = 0; i != 4000; i++)
		test_send_part(1, i * 0x1000ULL);
	expect_answers(0);
	test_send(2);
	test_read(self->fault_fd, msg, 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);

	test_send(1);
	len = read(self->fault_fd, msg, sizeof(msg));
	ASSERT_LT(0, len);
	EXPECT_LT(512, len / MSG);
	EXPECT_GE(2049, len / MSG);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
}

TEST_FAULT(respond_errors)
{
	struct iommu_hwpt_page_response resp[3] = {};
	struct iommu_hwpt_pgfault msg[2];

	test_send(1);
	test_send(2);
	/* There is no cookie before the fault was read. */
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, 1,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));

	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, 0,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, 0xffffffff,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	/* Response Failure is not for user space. */
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[0].cookie, 2));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[0].cookie, 0xf));
	EXPECT_ERRNO(ESPIPE, write(self->fault_fd, resp, RESP - 1));
	EXPECT_ERRNO(ESPIPE, write(self->fault_fd, resp, RESP + 1));
	EXPECT_EQ(0, write(self->fault_fd, resp, 0));
	EXPECT_ERRNO(EFAULT, write(self->fault_fd, bad_address(), RESP));
	EXPECT_ERRNO(ESPIPE, pwrite(self->fault_fd, resp, RESP, 0));
	expect_answers(0);

	/* Stops at the first bad one */
	resp[0].cookie = msg[1].cookie;
	resp[1].cookie = msg[1].cookie;
	resp[2].cookie = msg[0].cookie;
	EXPECT_EQ((ssize_t)RESP, write(self->fault_fd, resp, sizeof(resp)));
	expect_answers(1);
	expect_answer(0, 2, PCI_SUCCESS);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[1].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);

	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_INVALID));
	expect_answers(2);
	expect_answer(1, 1, PCI_INVALID);
}

TEST_FAULT(read_errors)
{
	struct iommu_hwpt_pgfault msg[4];

	EXPECT_EQ(0, read(self->fault_fd, msg, 0));
	EXPECT_ERRNO(ESPIPE, read(self->fault_fd, msg, 1));
	EXPECT_ERRNO(ESPIPE, read(self->fault_fd, msg, MSG - 1));

	test_send_part(1, 0x1000);
	test_send(1);
	test_send(2);
	EXPECT_ERRNO(ESPIPE, read(self->fault_fd, msg, MSG + 1));
	EXPECT_ERRNO(ESPIPE, pread(self->fault_fd, msg, sizeof(msg), 0));
	EXPECT_ERRNO(ESPIPE, lseek(self->fault_fd, 0, SEEK_SET));
	EXPECT_ERRNO(EINVAL, read(self->fault_fd, msg, 0));
	EXPECT_ERRNO(EINVAL, read(self->fault_fd, msg, MSG));
	EXPECT_ERRNO(EFAULT, read(self->fault_fd, bad_address(), 2 * MSG));
	EXPECT_ERRNO(ENOTTY, ioctl(self->fault_fd, IOMMU_DESTROY, msg));
	EXPECT_TRUE(fault_readable(self->fault_fd));

	/* The first group fits, the second comes with the next read. */
	test_read(self->fault_fd, msg, 2);
	EXPECT_EQ(1, msg[0].grpid);
	test_read(self->fault_fd, msg + 2, 1);
	EXPECT_EQ(2, msg[2].grpid);
	expect_answers(0);

	/* Cookies are used again once they are free. */
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	test_send(3);
	test_read(self->fault_fd, msg + 3, 1);
	EXPECT_NE(msg[2].cookie, msg[3].cookie);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[2].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[3].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(3);
}

/* A user page that cannot be written, in the middle of what fits */
TEST_FAULT(read_bad_page)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct iommu_hwpt_pgfault msg[2];
	char *map;

	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));

	test_send(1);
	test_send(2);
	EXPECT_EQ((ssize_t)MSG, read(self->fault_fd, map + page - MSG, 2 * MSG));
	memcpy(&msg[0], map + page - MSG, MSG);
	EXPECT_EQ(1, msg[0].grpid);
	test_read(self->fault_fd, &msg[1], 1);
	EXPECT_EQ(2, msg[1].grpid);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[1].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
}

/* Nobody handles faults, and they are off: still one answer each */
TEST_FAULT(no_queue)
{
	struct iommu_hwpt_pgfault msg;

	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	test_send_part(1, 0x1000);
	expect_answers(0);
	test_send(1);
	expect_answers(1);
	expect_answer(0, 1, PCI_INVALID);
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));
}

TEST_FAULT(replace_by_fault)
{
	struct iommu_hwpt_pgfault msg[4];
	__u32 hwpt_id, fault_id;
	int fault_fd;

	test_ioctl_fault_alloc(&fault_id, (__u32 *)&fault_fd);
	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID, &hwpt_id,
				 IOMMU_HWPT_DATA_NONE, NULL, 0);

	/* One read, one not, one not complete */
	test_send(1);
	test_read(self->fault_fd, &msg[0], 1);
	test_send(2);
	test_send_part(3, 0x1000);
	expect_answers(0);

	/* The same again changes nothing. */
	test_cmd_mock_domain_replace(self->stdev_id, self->hwpt_id);
	expect_answers(0);
	EXPECT_TRUE(fault_readable(self->fault_fd));

	/* The device shall ask the new one. */
	test_cmd_mock_domain_replace(self->stdev_id, hwpt_id);
	expect_answers(2);
	expect_answer(0, 2, PCI_SUCCESS);
	expect_answer(1, 1, PCI_SUCCESS);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	EXPECT_EQ(0, read(self->fault_fd, &msg[1], MSG));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[0].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));

	test_send(3);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	test_read(fault_fd, &msg[2], 1);
	EXPECT_EQ(3, msg[2].grpid);
	ASSERT_EQ(0, fault_respond(fault_fd, msg[2].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(3);
	expect_answer(2, 3, PCI_SUCCESS);

	test_ioctl_destroy(self->hwpt_id);
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	test_ioctl_destroy(hwpt_id);
	EXPECT_EQ(0, close(fault_fd));
	test_ioctl_destroy(fault_id);
}

/* Off with the last HWPT that wants faults, on again with the next */
TEST_FAULT(replace_by_plain)
{
	struct iommu_hwpt_pgfault msg[2];

	test_send(1);
	test_read(self->fault_fd, &msg[0], 1);
	test_send(2);
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	expect_answers(2);
	EXPECT_EQ(0, read(self->fault_fd, &msg[1], MSG));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[0].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);

	test_cmd_mock_domain_replace(self->stdev_id, self->hwpt_id);
	test_send(3);
	test_read(self->fault_fd, &msg[1], 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[1].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(3);
	expect_answer(2, 3, PCI_SUCCESS);
}

TEST_FAULT(detach)
{
	struct iommu_hwpt_pgfault msg[2];

	test_send(1);
	test_read(self->fault_fd, &msg[0], 1);
	test_send(2);
	test_send_part(3, 0x1000);
	test_ioctl_destroy(self->stdev_id);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	EXPECT_EQ(0, read(self->fault_fd, &msg[1], MSG));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[0].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	test_ioctl_destroy(self->hwpt_id);
}

TEST_FAULT(close)
{
	struct iommu_hwpt_pgfault msg;

	test_send(1);
	test_read(self->fault_fd, &msg, 1);
	test_send(2);
	test_send_part(3, 0x1000);
	expect_answers(0);

	EXPECT_EQ(0, close(self->fault_fd));
	self->fault_fd = -1;
	expect_answers(2);
	expect_answer(0, 2, PCI_INVALID);
	expect_answer(1, 1, PCI_INVALID);

	/* Nobody can answer later ones either. */
	test_send(3);
	test_send(4);
	expect_answers(4);
	expect_answer(2, 3, PCI_INVALID);
	expect_answer(3, 4, PCI_INVALID);

	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	expect_answers(4);
	test_ioctl_destroy(self->hwpt_id);
	test_ioctl_destroy(self->fault_id);
}

/* The file outlives the process's other references to iommufd. */
TEST_FAULT(close_iommufd_first)
{
	struct iommu_hwpt_pgfault msg;

	test_send(1);
	EXPECT_EQ(0, close(self->fd));
	test_read(self->fault_fd, &msg, 1);
	EXPECT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
}

TEST_FAULT(attach_refused)
{
	static const __u32 flags[] = {
		MOCK_FLAGS_DEVICE_NO_IOPF,
		MOCK_FLAGS_DEVICE_DEAF_IOPF,
	};
	static const int error[] = { ENODEV, EOPNOTSUPP };
	unsigned int i;

	for (i = 0; i != ARRAY_SIZE(flags); i++) {
		__u32 stdev_id, auto_id, auto_id2;

		test_cmd_mock_domain_flags(self->ioas_id, flags[i], &stdev_id,
					   &auto_id, NULL);
		test_err_mock_domain_replace(error[i], stdev_id, self->hwpt_id);
		/* Still where it was */
		ASSERT_EQ(0, _test_cmd_mock_domain_replace(self->fd, stdev_id,
							   self->ioas_id,
							   &auto_id2));
		EXPECT_EQ(auto_id, auto_id2);
		test_ioctl_destroy(stdev_id);
		/* And straight from the blocking domain */
		EXPECT_ERRNO(error[i],
			     _test_cmd_mock_domain_flags(self->fd,
							 self->hwpt_id,
							 flags[i], NULL, NULL,
							 NULL));
	}
}

/* First attach to a HWPT with a fault queue, without a detour */
TEST_FAULT(first_attach)
{
	struct iommu_hwpt_pgfault msg;
	__u32 stdev_id, idev_id;

	test_cmd_mock_domain(self->hwpt_id, &stdev_id, NULL, &idev_id);
	ASSERT_EQ(0, fault_send(self->fd, idev_id, MOCK_IOPF_LAST, 0, 1,
				0x1000));
	test_read(self->fault_fd, &msg, 1);
	EXPECT_EQ(idev_id, msg.dev_id);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers_of(idev_id, 1);
	expect_answers(0);
	test_ioctl_destroy(stdev_id);
}

/* Two devices on one queue, one of which goes */
TEST_FAULT(two_devices)
{
	struct iommu_hwpt_pgfault msg[4];
	__u32 stdev_id, idev_id;

	test_cmd_mock_domain(self->hwpt_id, &stdev_id, NULL, &idev_id);
	test_send(1);
	ASSERT_EQ(0, fault_send(self->fd, idev_id, MOCK_IOPF_LAST, 0, 1,
				0x1000));
	ASSERT_EQ((ssize_t)(2 * MSG), read(self->fault_fd, msg, sizeof(msg)));
	EXPECT_EQ(self->idev_id, msg[0].dev_id);
	EXPECT_EQ(idev_id, msg[1].dev_id);
	test_send(2);
	ASSERT_EQ(0, fault_send(self->fd, idev_id, MOCK_IOPF_LAST, 0, 2,
				0x1000));

	test_cmd_mock_domain_replace(stdev_id, self->ioas_id);
	expect_answers_of(idev_id, 2);
	expect_answers(0);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[1].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ((ssize_t)MSG, read(self->fault_fd, &msg[2], 2 * MSG));
	EXPECT_EQ(self->idev_id, msg[2].dev_id);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[2].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
	expect_answers_of(idev_id, 2);
	test_ioctl_destroy(stdev_id);
}

/* What is written with one call goes to the IOMMU with one submission. */
TEST_FAULT(batch)
{
	struct iommu_hwpt_page_response resp[40] = {};
	struct iommu_hwpt_pgfault msg[40];
	struct iommu_test_cmd cmd;
	unsigned int i;

	for (i = 0; i != 40; i++)
		test_send(i);
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));
	for (i = 0; i != 40; i++) {
		resp[i].cookie = msg[i].cookie;
		resp[i].code = i % 2;
	}
	ASSERT_EQ((ssize_t)(32 * RESP),
		  write(self->fault_fd, resp, 32 * RESP));
	expect_answers(32);
	ASSERT_EQ(0, fault_answer_get(self->fd, self->idev_id, 31, &cmd));
	EXPECT_EQ(1, cmd.iopf_answer.out_submissions);
	EXPECT_EQ(31, cmd.iopf_answer.out_grpid);
	EXPECT_EQ(PCI_INVALID, cmd.iopf_answer.out_code);

	/* The bad one in the middle ends it, those before it count. */
	resp[36].code = 2;
	ASSERT_EQ((ssize_t)(4 * RESP),
		  write(self->fault_fd, resp + 32, 8 * RESP));
	expect_answers(36);
}

/* Two functions of one device, which cannot be told apart by the IOMMU alone */
TEST_FAULT(two_functions)
{
	struct iommu_hwpt_pgfault msg[4];
	__u32 stdev[2], idev[2];
	unsigned int i;

	for (i = 0; i != 2; i++)
		test_cmd_mock_domain_flags(self->hwpt_id,
					   MOCK_FLAGS_DEVICE_SHARED_GROUP,
					   &stdev[i], NULL, &idev[i]);

	/* Each with its own id, whoever was first */
	for (i = 0; i != 2; i++) {
		ASSERT_EQ(0, fault_send(self->fd, idev[1 - i], MOCK_IOPF_LAST,
					0, i, 0x1000));
	}
	ASSERT_EQ((ssize_t)(2 * MSG), read(self->fault_fd, msg, 2 * MSG));
	EXPECT_EQ(idev[1], msg[0].dev_id);
	EXPECT_EQ(idev[0], msg[1].dev_id);

	/* One more each that is not read. Then the first goes. */
	for (i = 0; i != 2; i++) {
		ASSERT_EQ(0, fault_send(self->fd, idev[i], MOCK_IOPF_LAST, 0,
					2 + i, 0x1000));
	}
	test_ioctl_destroy(stdev[0]);
	expect_answers_of(idev[1], 0);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg[1].cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	test_read(self->fault_fd, &msg[2], 1);
	EXPECT_EQ(idev[1], msg[2].dev_id);
	EXPECT_EQ(3, msg[2].grpid);
	EXPECT_FALSE(fault_readable(self->fault_fd));

	/* The other is as before, and is found without the one that has gone. */
	ASSERT_EQ(0, fault_send(self->fd, idev[1], MOCK_IOPF_LAST, 0, 4,
				0x1000));
	test_read(self->fault_fd, &msg[3], 1);
	EXPECT_EQ(idev[1], msg[3].dev_id);
	for (i = 0; i != 4; i++)
		if (i != 1)
			ASSERT_EQ(0, fault_respond(self->fault_fd, msg[i].cookie,
						   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers_of(idev[1], 3);
	test_ioctl_destroy(stdev[1]);
}

/* A function that can ask for nothing, and one that nobody would answer */
TEST_FAULT(function_without_faults)
{
	struct iommu_hwpt_pgfault msg;
	__u32 stdev[3], idev[3], old;
	__u32 flags[] = { 0, MOCK_FLAGS_DEVICE_NO_IOPF,
			  MOCK_FLAGS_DEVICE_DEAF_IOPF };
	unsigned int i;

	for (i = 0; i != 3; i++)
		test_cmd_mock_domain_flags(self->ioas_id,
					   flags[i] |
					   MOCK_FLAGS_DEVICE_SHARED_GROUP,
					   &stdev[i], &old, &idev[i]);
	test_err_mock_domain_replace(EOPNOTSUPP, stdev[0], self->hwpt_id);
	/* Nothing has changed for any of them. */
	ASSERT_EQ(0, fault_send(self->fd, idev[0], MOCK_IOPF_LAST, 0, 1,
				0x1000));
	expect_answers_of(idev[0], 1);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	test_ioctl_destroy(stdev[2]);

	test_cmd_mock_domain_replace(stdev[1], self->hwpt_id);
	ASSERT_EQ(0, fault_send(self->fd, idev[0], MOCK_IOPF_LAST, 0, 2,
				0x1000));
	test_read(self->fault_fd, &msg, 1);
	EXPECT_EQ(idev[0], msg.dev_id);
	ASSERT_EQ(0, fault_send(self->fd, idev[1], MOCK_IOPF_LAST, 0, 3,
				0x1000));
	expect_answers_of(idev[1], 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers_of(idev[0], 2);

	/* It goes first, then the one that can ask. */
	test_ioctl_destroy(stdev[1]);
	test_ioctl_destroy(stdev[0]);

	/* In a group of none but such functions there is nobody to serve. */
	test_cmd_mock_domain_flags(self->ioas_id, MOCK_FLAGS_DEVICE_NO_IOPF,
				   &stdev[0], &old, &idev[0]);
	test_err_mock_domain_replace(ENODEV, stdev[0], self->hwpt_id);
	test_ioctl_destroy(stdev[0]);
}

static int fault_limits(int fault_fd, __u32 flags, __u32 timeout_ms,
			__u32 depth)
{
	struct iopf_queue_limits limits = {
		.size = sizeof(limits),
		.flags = flags,
		.timeout_ms = timeout_ms,
		.depth = depth,
	};

	return ioctl(fault_fd, IOPF_QUEUE_SET_LIMITS, &limits);
}

static int fault_status(int fault_fd, struct iopf_queue_status *status)
{
	*status = (struct iopf_queue_status){ .size = sizeof(*status) };
	return ioctl(fault_fd, IOPF_QUEUE_GET_STATUS, status);
}

#define test_status(_status) \
	ASSERT_EQ(0, fault_status(self->fault_fd, _status))

/*
 * Wait until a device got so many answers. Whoever waits here for ever is ended
 * by the time limit of the test.
 */
static unsigned int fault_wait_answers(int fd, __u32 dev_id, unsigned int total)
{
	struct iommu_test_cmd cmd;

	do {
		usleep(1000);
		if (fault_answer_get(fd, dev_id, 0, &cmd))
			return 0;
	} while (cmd.iopf_answer.out_total < total);
	return cmd.iopf_answer.out_total;
}

#define wait_for_answers(_total)                                             \
	({                                                                   \
		unsigned int _t = (_total);                                  \
		EXPECT_EQ(_t, fault_wait_answers(self->fd, self->idev_id,    \
						 _t));                       \
	})

/* Has a fault queue in a cgroup until it is killed. */
static void fault_owner(int fd, int told)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };

	if (write_file(CGROUP "/cgroup.procs", "0") ||
	    ioctl(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd))
		_exit(1);
	if (write(told, &cmd.out_fault_id, sizeof(cmd.out_fault_id)) < 0)
		_exit(1);
	close(told);
	for (;;)
		pause();
}

/* What devices ask for is charged to whose queue it is, not to who runs now. */
TEST_FAULT(charged)
{
	struct iommu_test_cmd cmd = {};
	__u32 fault_id, hwpt_id;
	unsigned int i;
	int told[2];
	pid_t owner;

	if (!cgroup_make())
		SKIP(return, "no memory cgroups");
	ASSERT_EQ(0, pipe(told));
	owner = fork();
	ASSERT_NE(-1, owner);
	if (!owner)
		fault_owner(self->fd, told[1]);
	close(told[1]);
	ASSERT_EQ((ssize_t)sizeof(fault_id),
		  read(told[0], &fault_id, sizeof(fault_id)));
	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID, &hwpt_id,
				 IOMMU_HWPT_DATA_NONE, NULL, 0);
	test_cmd_mock_domain_replace(self->stdev_id, hwpt_id);

	for (i = 0; i != 500; i++)
		test_send(1);
	ASSERT_TRUE(cgroup_charges(500 * 128));
	for (i = 0; i != 1500; i++)
		test_send_part(2, 0x1000);
	ASSERT_TRUE(cgroup_charges(500 * 128 + 1500 * 48));
	expect_answers(0);

	/* The owner has used up what it may have: try again, a little later. */
	ASSERT_EQ(0, cgroup_close());
	for (i = 0; i != 1500; i++)
		test_send(1);
	/* There are many, and the last is not for long: one that is still known. */
	for (i = 0; i != 60000 && !cmd.iopf_answer.out_valid; i++) {
		ASSERT_EQ(0, fault_answer_get(self->fd, self->idev_id,
					      cmd.iopf_answer.out_total - 1,
					      &cmd));
		usleep(1000);
	}
	ASSERT_EQ(1, cmd.iopf_answer.out_valid);
	EXPECT_EQ(PCI_SUCCESS, cmd.iopf_answer.out_code);

	ASSERT_EQ(0, kill(owner, SIGKILL));
	ASSERT_EQ(owner, waitpid(owner, NULL, 0));
	test_cmd_mock_domain_replace(self->stdev_id, self->hwpt_id);
	test_ioctl_destroy(hwpt_id);
	close(told[0]);
	cgroup_remove();
}

static int fault_map(int fd, int fault_fd, __u32 ioas_id,
		     const struct iopf_map_answer *entry, __u32 *nr)
{
	struct iopf_queue_map map = {
		.size = sizeof(map),
		.iommufd = fd,
		.ioas_id = ioas_id,
		.entries = (uintptr_t)entry,
		.entry_num = *nr,
	};
	int ret = ioctl(fault_fd, IOPF_QUEUE_MAP, &map);

	*nr = map.entry_num;
	return ret;
}

static struct iopf_map_answer map_entry(void *va, __u64 iova, __u32 cookie)
{
	return (struct iopf_map_answer){
		.user_va = (uintptr_t)va,
		.length = PAGE_SIZE,
		.iova = iova,
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
		.cookie = cookie,
	};
}

#define MAP_IOVA	MOCK_APERTURE_START
#define MAP_PAGES	40

static void *map_memory(void)
{
	void *memory;

	PAGE_SIZE = sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, MAP_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	return memory;
}

/* Many mappings and their answers, which go in few submissions */
TEST_FAULT(map_answers)
{
	struct iopf_map_answer entry[MAP_PAGES];
	struct iommu_hwpt_pgfault msg[MAP_PAGES];
	struct iopf_queue_status status;
	struct iommu_test_cmd cmd;
	void *memory = map_memory();
	__u32 i, nr = MAP_PAGES;

	for (i = 0; i != MAP_PAGES; i++)
		test_send(i);
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));
	for (i = 0; i != MAP_PAGES; i++)
		entry[i] = map_entry(memory + i * PAGE_SIZE,
				     MAP_IOVA + i * PAGE_SIZE, msg[i].cookie);
	/* One that nobody waits for in the middle */
	entry[7].cookie = 0;
	ASSERT_EQ(0, fault_map(self->fd, self->fault_fd, self->ioas_id, entry,
			       &nr));
	EXPECT_EQ(MAP_PAGES, nr);
	expect_answers(39);
	for (i = 0; i != 39; i++)
		expect_answer(i, i + (i >= 7), PCI_SUCCESS);
	ASSERT_EQ(0, fault_answer_get(self->fd, self->idev_id, 38, &cmd));
	EXPECT_GE(5, cmd.iopf_answer.out_submissions);
	test_status(&status);
	EXPECT_EQ(39, status.out_answered);
	EXPECT_EQ(1, status.out_unanswered);

	/* It waits, and is not answered twice. */
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[7].cookie,
				   IOMMUFD_PAGE_RESP_INVALID));
	expect_answers(40);
	/* All of it is there. */
	for (i = 0; i != MAP_PAGES; i++)
		test_ioctl_ioas_unmap(MAP_IOVA + i * PAGE_SIZE, PAGE_SIZE);
	nr = 0;
	EXPECT_EQ(0, fault_map(self->fd, self->fault_fd, self->ioas_id, NULL,
			       &nr));
}

TEST_FAULT(map_errors)
{
	struct iopf_queue_map map = { .size = sizeof(map), .iommufd = self->fd,
				      .ioas_id = self->ioas_id };
	struct iopf_map_answer entry[2];
	struct iommu_hwpt_pgfault msg[2];
	void *memory = map_memory();
	__u32 nr, unread;
	int other;

#define test_map_error(_errno, _fd, _ioas, _done)                           \
	({                                                                  \
		nr = 2;                                                     \
		EXPECT_ERRNO(_errno, fault_map(_fd, self->fault_fd, _ioas,  \
					       entry, &nr));                \
		EXPECT_EQ(_done, nr);                                       \
	})
	test_send(1);
	test_send(2);
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));
	entry[0] = map_entry(memory, MAP_IOVA, msg[0].cookie);
	entry[1] = map_entry(memory, MAP_IOVA + PAGE_SIZE, msg[1].cookie);

	EXPECT_ERRNO(EFAULT, ioctl(self->fault_fd, IOPF_QUEUE_MAP,
				   bad_address()));
	map.size--;
	EXPECT_ERRNO(EINVAL, ioctl(self->fault_fd, IOPF_QUEUE_MAP, &map));
	map.size++;
	map.flags = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->fault_fd, IOPF_QUEUE_MAP, &map));
	map.flags = 0;
	map.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->fault_fd, IOPF_QUEUE_MAP, &map));
	map.__reserved = 0;
	map.entries = (uintptr_t)bad_address();
	map.entry_num = 1;
	EXPECT_ERRNO(EFAULT, ioctl(self->fault_fd, IOPF_QUEUE_MAP, &map));
	EXPECT_EQ(0, map.entry_num);
	/* Not on the file of iommufd */
	EXPECT_ERRNO(ENOTTY, ioctl(self->fd, IOPF_QUEUE_MAP, &map));

	/* The queue's file alone is not enough, nor is any iommufd. */
	other = open("/dev/iommu", O_RDWR);
	ASSERT_LE(0, other);
	test_map_error(EBADF, -1, self->ioas_id, 2);
	test_map_error(EBADFD, self->fault_fd, self->ioas_id, 2);
	test_map_error(EXDEV, other, self->ioas_id, 2);
	EXPECT_EQ(0, close(other));
	test_map_error(ENOENT, self->fd, self->hwpt_id, 2);

	/* Nothing is mapped for a group that does not wait, or is not read. */
	test_send(3);
	unread = msg[1].cookie + 1;
	entry[0].cookie = unread;
	test_map_error(EINVAL, self->fd, self->ioas_id, 0);
	EXPECT_ERRNO(ENOENT, _test_ioctl_ioas_unmap(self->fd, self->ioas_id,
						    MAP_IOVA, PAGE_SIZE, NULL));
	entry[0].cookie = msg[0].cookie;

	entry[0].flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE;
	test_map_error(EOPNOTSUPP, self->fd, self->ioas_id, 0);
	entry[0].flags = 0;
	test_map_error(EINVAL, self->fd, self->ioas_id, 0);
	entry[0].flags = IOMMU_IOAS_MAP_READABLE;
	entry[0].length = 0;
	test_map_error(EINVAL, self->fd, self->ioas_id, 0);
	entry[0].length = ~0ULL;
	test_map_error(EOVERFLOW, self->fd, self->ioas_id, 0);
	entry[0].length = PAGE_SIZE;
	expect_answers(0);

	/* What comes before the one that fails is answered. */
	entry[1].iova = MAP_IOVA;
	test_map_error(EEXIST, self->fd, self->ioas_id, 1);
	expect_answers(1);
	expect_answer(0, 1, PCI_SUCCESS);
	/* And is not answered again. */
	entry[0].iova += 2 * PAGE_SIZE;
	test_map_error(EINVAL, self->fd, self->ioas_id, 0);
	entry[1].iova += PAGE_SIZE;
	nr = 1;
	ASSERT_EQ(0, fault_map(self->fd, self->fault_fd, self->ioas_id,
			       entry + 1, &nr));
	EXPECT_EQ(1, nr);
	expect_answers(2);
	expect_answer(1, 2, PCI_SUCCESS);
#undef test_map_error
}

TEST_FAULT(limits_errors)
{
	struct {
		struct iopf_queue_limits limits;
		__u32 more;
	} arg = { .limits.size = sizeof(arg) };
	struct iopf_queue_status status = { .size = sizeof(status) };

	EXPECT_ERRNO(EOPNOTSUPP, fault_limits(self->fault_fd, 2, 0, 0));
	EXPECT_ERRNO(EFAULT, ioctl(self->fault_fd, IOPF_QUEUE_SET_LIMITS,
				   bad_address()));
	EXPECT_ERRNO(EFAULT, ioctl(self->fault_fd, IOPF_QUEUE_GET_STATUS,
				   bad_address()));
	EXPECT_EQ(0, ioctl(self->fault_fd, IOPF_QUEUE_SET_LIMITS, &arg));
	arg.more = 1;
	EXPECT_ERRNO(E2BIG, ioctl(self->fault_fd, IOPF_QUEUE_SET_LIMITS, &arg));
	arg.limits.size = sizeof(arg.limits) - 1;
	EXPECT_ERRNO(EINVAL, ioctl(self->fault_fd, IOPF_QUEUE_SET_LIMITS, &arg));
	status.flags = 1;
	EXPECT_ERRNO(EOPNOTSUPP, ioctl(self->fault_fd, IOPF_QUEUE_GET_STATUS,
				       &status));
	status.flags = 0;
	status.size--;
	EXPECT_ERRNO(EINVAL, ioctl(self->fault_fd, IOPF_QUEUE_GET_STATUS,
				   &status));
	/* Not on the file of iommufd, and nothing else on this one */
	EXPECT_ERRNO(ENOTTY, ioctl(self->fd, IOPF_QUEUE_GET_STATUS, &status));
	EXPECT_ERRNO(ENOTTY, ioctl(self->fault_fd, _IO(IOPF_QUEUE_TYPE, 3),
				   &status));
}

TEST_FAULT(timeout)
{
	struct iommu_hwpt_pgfault msg;
	struct iopf_queue_status status;
	struct iommu_test_cmd cmd;
	unsigned int i, late = 0;

	/* None, if nobody wants it, and one that is far off */
	test_send(1);
	test_read(self->fault_fd, &msg, 1);
	test_send(2);
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 0xffffffff, 0));
	test_send(3);
	expect_answers(0);
	test_status(&status);
	EXPECT_EQ(2, status.out_unread);
	EXPECT_EQ(1, status.out_unanswered);
	EXPECT_EQ(3, status.out_groups);
	EXPECT_EQ(0, status.out_answered);

	/* Read or not, and also those that were there before */
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 1, 0));
	wait_for_answers(3);
	/* In an order that depends on when each was found to be late */
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, fault_answer_get(self->fd, self->idev_id, i, &cmd));
		EXPECT_EQ(PCI_INVALID, cmd.iopf_answer.out_code);
		late |= 1U << cmd.iopf_answer.out_grpid;
	}
	EXPECT_EQ(1U << 1 | 1U << 2 | 1U << 3, late);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg.cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(0, read(self->fault_fd, &msg, MSG));
	test_send(4);
	wait_for_answers(4);
	test_status(&status);
	EXPECT_EQ(0, status.out_unread);
	EXPECT_EQ(0, status.out_unanswered);
	EXPECT_EQ(4, status.out_timed_out);
	EXPECT_EQ(3, status.out_lost);

	/* Off again */
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 0, 0));
	test_send(5);
	test_read(self->fault_fd, &msg, 1);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg.cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(5);
	expect_answer(4, 5, PCI_SUCCESS);
	test_status(&status);
	EXPECT_EQ(1, status.out_answered);
}

TEST_FAULT(depth)
{
	struct iommu_hwpt_pgfault msg[3];
	struct iopf_queue_status status;

	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 0, 2));
	test_send(1);
	test_read(self->fault_fd, msg, 1);
	test_send(2);
	expect_answers(0);
	test_send(3);
	expect_answers(1);
	expect_answer(0, 3, PCI_INVALID);
	/* Nobody is told who did not ask for it. */
	test_read(self->fault_fd, msg + 1, 1);
	EXPECT_EQ(2, msg[1].grpid);
	EXPECT_FALSE(fault_readable(self->fault_fd));
	EXPECT_EQ(0, read(self->fault_fd, msg + 2, MSG));

	/* What was lost before does not count. */
	ASSERT_EQ(0, fault_limits(self->fault_fd, IOPF_QUEUE_TELL_LOST, 0, 2));
	EXPECT_FALSE(fault_readable(self->fault_fd));
	test_send(4);
	test_send(5);
	expect_answers(3);
	EXPECT_TRUE(fault_readable(self->fault_fd));
	EXPECT_ERRNO(EINVAL, read(self->fault_fd, msg + 2, 0));
	EXPECT_ERRNO(EFAULT, read(self->fault_fd, bad_address(), MSG));
	memset(msg + 2, 0xff, MSG);
	test_read(self->fault_fd, msg + 2, 1);
	EXPECT_EQ(IOPF_PGFAULT_FLAGS_LOST, msg[2].flags);
	EXPECT_EQ(2, msg[2].addr);
	EXPECT_EQ(0, msg[2].cookie);
	EXPECT_EQ(0, msg[2].dev_id);
	EXPECT_FALSE(fault_readable(self->fault_fd));

	/* There is room again. The message comes first. */
	test_send(6);
	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[0].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	test_send(7);
	ASSERT_EQ((ssize_t)(2 * MSG), read(self->fault_fd, msg, sizeof(msg)));
	EXPECT_EQ(IOPF_PGFAULT_FLAGS_LOST, msg[0].flags);
	EXPECT_EQ(1, msg[0].addr);
	EXPECT_EQ(7, msg[1].grpid);
	test_status(&status);
	EXPECT_EQ(4, status.out_lost);
	EXPECT_EQ(0, status.out_timed_out);
}

struct stuck_reader {
	int fault_fd;
	pid_t tid;
	void *buf;
	ssize_t len;
};

static void *stuck_reader(void *arg)
{
	struct stuck_reader *r = arg;

	r->len = read(r->fault_fd, r->buf, MSG);
	return NULL;
}

/* A page whose first user waits until somebody gives it a content */
static int withheld_page(struct held *held, void **page)
{
	PAGE_SIZE = sysconf(_SC_PAGESIZE);
	*page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return *page == MAP_FAILED ? -1 : held_open(held, *page, PAGE_SIZE);
}

/* A reader whose memory does not come holds up nobody but readers. */
TEST_FAULT(stuck_reader)
{
	struct stuck_reader r = { .fault_fd = self->fault_fd };
	struct iommu_hwpt_pgfault *msg;
	pthread_t thread;
	struct held held;
	int ret;

	ret = withheld_page(&held, &r.buf);
	if (ret && access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(return, "no CONFIG_USERFAULTFD");
	ASSERT_EQ(0, ret);
	test_send(1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, stuck_reader, &r));
	/* Returns when the reader is where it shall be. */
	ASSERT_EQ(0, held_wait(&held, 1));

	test_send(2);
	EXPECT_TRUE(fault_readable(self->fault_fd));
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, 77,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	expect_answers(2);

	ASSERT_EQ(0, held_give(&held));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* It gets what is answered by now, which is of no harm. */
	EXPECT_EQ((ssize_t)MSG, r.len);
	msg = r.buf;
	EXPECT_EQ(1, msg->grpid);
	EXPECT_ERRNO(EINVAL, fault_respond(self->fault_fd, msg->cookie,
					   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(2);
	held_close(&held);
}

struct stuck_mapper {
	int fd;
	int fault_fd;
	__u32 ioas_id;
	struct iopf_map_answer entry;
	__u32 nr;
	int ret;
};

static void *stuck_mapper(void *arg)
{
	struct stuck_mapper *m = arg;

	m->ret = fault_map(m->fd, m->fault_fd, m->ioas_id, &m->entry, &m->nr);
	return NULL;
}

/*
 * While memory that is to be mapped does not come, other groups are answered, and
 * its own in its place, which is then not answered again.
 */
TEST_FAULT(map_stuck)
{
	struct stuck_mapper m = {
		.fd = self->fd,
		.fault_fd = self->fault_fd,
		.ioas_id = self->ioas_id,
		.nr = 1,
	};
	struct iommu_hwpt_pgfault msg[2];
	pthread_t thread;
	void *page;
	struct held held;
	int ret;

	ret = withheld_page(&held, &page);
	if (ret && access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(return, "no CONFIG_USERFAULTFD");
	ASSERT_EQ(0, ret);
	test_send(1);
	test_send(2);
	ASSERT_EQ((ssize_t)sizeof(msg),
		  read(self->fault_fd, msg, sizeof(msg)));
	m.entry = map_entry(page, MAP_IOVA, msg[0].cookie);
	ASSERT_EQ(0, pthread_create(&thread, NULL, stuck_mapper, &m));
	/* Returns when the other is where it shall be. */
	ASSERT_EQ(0, held_wait(&held, 1));

	ASSERT_EQ(0, fault_respond(self->fault_fd, msg[1].cookie,
				   IOMMUFD_PAGE_RESP_SUCCESS));
	expect_answers(1);
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 1, 0));
	wait_for_answers(2);
	expect_answer(1, 1, PCI_INVALID);

	ASSERT_EQ(0, held_give(&held));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, m.ret);
	EXPECT_EQ(1, m.nr);
	expect_answers(2);
	test_ioctl_ioas_unmap(MAP_IOVA, PAGE_SIZE);
	held_close(&held);
}

/*
 * One process sends, one answers, one moves the device from HWPT to HWPT, all
 * at full speed. At the end every group has been answered once.
 */
TEST_FAULT(race)
{
	const unsigned int count = 3000;
	__u32 hwpt_id, fault_id;
	int fault_fd, status;
	unsigned int moves;
	pid_t sender, server;

	test_ioctl_fault_alloc(&fault_id, (__u32 *)&fault_fd);
	test_cmd_hwpt_alloc_iopf(self->idev_id, self->ioas_id, fault_id,
				 IOMMU_HWPT_FAULT_ID_VALID, &hwpt_id,
				 IOMMU_HWPT_DATA_NONE, NULL, 0);

	sender = fork();
	ASSERT_NE(-1, sender);
	if (!sender) {
		unsigned int i;

		for (i = 0; i != count; i++) {
			if (fault_send(self->fd, self->idev_id, 0, 0, i % 512,
				       0x1000) ||
			    fault_send(self->fd, self->idev_id, MOCK_IOPF_LAST,
				       0, i % 512, 0x2000))
				_exit(1);
		}
		_exit(0);
	}

	server = fork();
	ASSERT_NE(-1, server);
	if (!server) {
		struct iommu_hwpt_pgfault msg[16];
		int fds[] = { self->fault_fd, fault_fd };
		unsigned int i;
		ssize_t len;

		for (;;) {
			for (i = 0; i != 2; i++) {
				len = read(fds[i], msg, sizeof(msg));
				if (len < 0)
					_exit(1);
				if (!len)
					continue;
				/* Answered already if the device was moved */
				fault_respond(fds[i], msg[0].cookie,
					      IOMMUFD_PAGE_RESP_SUCCESS);
			}
		}
	}

	for (moves = 0; !waitpid(sender, &status, WNOHANG); moves++) {
		test_cmd_mock_domain_replace(self->stdev_id, hwpt_id);
		test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
		test_cmd_mock_domain_replace(self->stdev_id, self->hwpt_id);
	}
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	ASSERT_EQ(0, kill(server, SIGKILL));
	ASSERT_EQ(server, waitpid(server, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));

	test_cmd_mock_domain_replace(self->stdev_id, self->ioas_id);
	expect_answers(count);
	TH_LOG("moved %u times", moves);

	test_ioctl_destroy(hwpt_id);
	EXPECT_EQ(0, close(fault_fd));
	test_ioctl_destroy(fault_id);
}

/* The timer looks again at what was there when it came and not yet late. */
TEST_FAULT(timeout_again)
{
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 0xffffffff, 0));
	test_send(1);
	/* A look that comes too early, however long it takes to come */
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 0xffffffff, 0));
	usleep(100000);
	expect_answers(0);
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 2000, 0));
	ASSERT_EQ(0, fault_limits(self->fault_fd, 0, 2000, 0));
	wait_for_answers(1);
	expect_answer(0, 1, PCI_INVALID);
}

static void *fault_poller(void *arg)
{
	struct stuck_reader *r = arg;
	struct pollfd pfd = { .fd = r->fault_fd, .events = POLLIN };

	__atomic_store_n(&r->tid, syscall(__NR_gettid), __ATOMIC_SEQ_CST);
	/* At an end of its own it would look, and need nobody to wake it. */
	r->len = poll(&pfd, 1, -1);
	return NULL;
}

/* Wait until a thread sleeps, which the poller does in one place only. */
static void fault_wait_sleeper(const pid_t *addr)
{
	char path[64], state = 0;
	pid_t tid;
	FILE *f;

	while (state != 'S') {
		usleep(1000);
		tid = __atomic_load_n(addr, __ATOMIC_SEQ_CST);
		if (!tid)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
		f = fopen(path, "re");
		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			abort();
		fclose(f);
	}
}

/* Who sleeps in poll() is woken by a fault, and by the loss of one. */
TEST_FAULT(poll_wakes)
{
	struct iommu_hwpt_pgfault msg;
	unsigned int i;

	ASSERT_EQ(0, fault_limits(self->fault_fd, IOPF_QUEUE_TELL_LOST, 0, 1));
	for (i = 1; i != 3; i++) {
		struct stuck_reader r = { .fault_fd = self->fault_fd };
		pthread_t thread;

		ASSERT_EQ(0, pthread_create(&thread, NULL, fault_poller, &r));
		fault_wait_sleeper(&r.tid);
		test_send(i);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(1, r.len);
		test_read(self->fault_fd, &msg, 1);
	}
	EXPECT_EQ(IOPF_PGFAULT_FLAGS_LOST, msg.flags);
}

/* An attach that is refused leaves the others' faults off, as they were. */
TEST_FAULT(refused_stays_off)
{
	static const char event[] = "iopf/iopf_report";
	__u32 flags[] = { 0, MOCK_FLAGS_DEVICE_DEAF_IOPF };
	__u32 stdev[2], idev[2], old;
	unsigned int i;

	if (trace_begin(event))
		SKIP(return, "takes the tracepoint %s", event);
	for (i = 0; i != 2; i++)
		test_cmd_mock_domain_flags(self->ioas_id,
					   flags[i] |
					   MOCK_FLAGS_DEVICE_SHARED_GROUP,
					   &stdev[i], &old, &idev[i]);
	test_err_mock_domain_replace(EOPNOTSUPP, stdev[0], self->hwpt_id);
	/* A device on a queue has its requests reported, others have not. */
	test_send(1);
	EXPECT_EQ(1, trace_end(event, "iopf_report", NULL, NULL));
	ASSERT_EQ(0, trace_begin(event));
	ASSERT_EQ(0, fault_send(self->fd, idev[0], MOCK_IOPF_LAST, 0, 2,
				0x1000));
	EXPECT_EQ(0, trace_end(event, "iopf_report", NULL, NULL));
	for (i = 0; i != 2; i++)
		test_ioctl_destroy(stdev[i]);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of processes, on the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define __EXPORTED_HEADERS__
#include <linux/vfio.h>

#include "iommufd_utils.h"
#include "iommufd_process.h"
#include "iopf_cgroup.h"
#include "iopf_held.h"

#define TEST_PROCESS(_name) TEST_F_TIMEOUT(process, _name, 600)

FIXTURE(process)
{
	int fd;
	__u32 ioas_id, stdev_id, idev_id;
	__u32 other_id;	/* of the RID, and for a PASID */
};

FIXTURE_SETUP(process)
{
	struct process_device dev;

	PAGE_SIZE = sysconf(_SC_PAGESIZE);
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
	ASSERT_EQ(0, process_device_open(self->fd, &dev));
	self->ioas_id = dev.ioas_id;
	self->stdev_id = dev.stdev_id;
	self->idev_id = dev.idev_id;
	self->other_id = dev.rid_id;
}

FIXTURE_TEARDOWN(process)
{
	close(self->fd);
}

/* What the kernel lets a device have with handlers, IOPF_MAX_GROUPS there */
#define NR_GROUPS	2048
/* and how many of a process it serves at once, SVA_MAX_RUNNING */
#define NR_SERVED	16

/* Threads of the kernel serve. Returns 0 when there are @total answers. */
static int wait_total(int fd, __u32 dev_id, __u32 total)
{
	struct iommu_test_cmd cmd;
	int ret, i;

	for (i = 0; i < 600000; i++) {
		ret = answers(fd, dev_id, 0, &cmd);
		if (ret || cmd.iopf_answer.out_total >= total)
			return ret ?: cmd.iopf_answer.out_total - total;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

#define send_to(_pasid, _grpid, _addr) \
	ASSERT_EQ(0, send_at(self->fd, self->idev_id, _pasid, _grpid, \
			     (uintptr_t)(_addr)))
#define wait_answers(_total) \
	ASSERT_EQ(0, wait_total(self->fd, self->idev_id, _total))

/* This process's own page table for a PASID, and a page of it that does not come */
static int held_attach(int fd, __u32 stdev_id, __u32 dev_id, struct held *held,
		       char *mem, __u32 *own)
{
	int ret = held_open(held, mem, PAGE_SIZE);

	if (!ret)
		ret = alloc_process(fd, dev_id, IOPF_PROCESS_SELF, own);
	return ret ?: pasid_op(fd, IOMMU_TEST_OP_PASID_ATTACH, stdev_id,
			       PASID_EVEN, *own);
}

#define attach_held(_held, _mem, _own) \
	ASSERT_EQ(0, held_attach(self->fd, self->stdev_id, self->idev_id, \
				 _held, _mem, _own))

static char *some_memory(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static bool is_there(void *page)
{
	unsigned char there = 0;

	return !mincore(page, PAGE_SIZE, &there) && there & 1;
}

TEST_PROCESS(served)
{
	static const __u32 pasids[] = { PASID_EVEN, PASID_ODD };
	char *mem = some_memory(4 * PAGE_SIZE);
	__u32 own, total = 0;
	int i;

	ASSERT_EQ(0, alloc_process(self->fd, self->idev_id, IOPF_PROCESS_SELF,
				   &own));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, attach(pasids[i], own));
		ASSERT_EQ(0, check(pasids[i], own));
		send_to(pasids[i], 1, mem + i * PAGE_SIZE);
		wait_answers(++total);
		expect_answer(total - 1, 1, pasids[i], PCI_SUCCESS);
		EXPECT_TRUE(is_there(mem + i * PAGE_SIZE));
		EXPECT_FALSE(is_there(mem + 2 * PAGE_SIZE));
		send_to(pasids[i], 2, 0x1000);
		wait_answers(++total);
		expect_answer(total - 1, 2, pasids[i], PCI_INVALID);
		ASSERT_EQ(0, replace(pasids[i], self->other_id));
		ASSERT_EQ(0, check(pasids[i], self->other_id));
		ASSERT_EQ(0, replace(pasids[i], own));
		ASSERT_EQ(0, check(pasids[i], own));
	}
	EXPECT_EQ(-1, _test_ioctl_destroy(self->fd, own));
	EXPECT_EQ(EBUSY, errno);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, detach(pasids[i]));
	send_to(PASID_EVEN, 3, mem + 2 * PAGE_SIZE);
	wait_answers(++total);
	expect_answer(total - 1, 3, PASID_EVEN, PCI_INVALID);
	EXPECT_FALSE(is_there(mem + 2 * PAGE_SIZE));
	test_ioctl_destroy(own);
}

static int alloc_process_error(int fd, void *arg)
{
	return ioctl(fd, IOPF_HWPT_ALLOC_PROCESS, arg) ? errno : 0;
}

TEST_PROCESS(arguments)
{
	struct {
		struct iopf_hwpt_alloc_process cmd;
		__u64 more;
	} arg = {
		.cmd.dev_id = self->idev_id,
		.cmd.pidfd = IOPF_PROCESS_SELF,
	};
	struct iopf_hwpt_alloc_process *cmd = &arg.cmd;
	__u32 stdev_id, idev_id, own;

	cmd->size = sizeof(*cmd) - 4;
	EXPECT_EQ(EINVAL, alloc_process_error(self->fd, &arg));
	cmd->size = sizeof(arg);
	arg.more = 1;
	EXPECT_EQ(E2BIG, alloc_process_error(self->fd, &arg));
	arg.more = 0;
	ASSERT_EQ(0, alloc_process_error(self->fd, &arg));
	own = cmd->out_hwpt_id;
	cmd->flags = 1;
	EXPECT_EQ(EOPNOTSUPP, alloc_process_error(self->fd, &arg));
	cmd->flags = 0;
	cmd->__reserved = 1;
	EXPECT_EQ(EOPNOTSUPP, alloc_process_error(self->fd, &arg));
	cmd->__reserved = 0;
	cmd->dev_id = 0;
	EXPECT_EQ(ENOENT, alloc_process_error(self->fd, &arg));
	cmd->dev_id = self->ioas_id;
	EXPECT_EQ(ENOENT, alloc_process_error(self->fd, &arg));
	cmd->dev_id = self->idev_id;
	cmd->pidfd = -2;
	EXPECT_EQ(EBADF, alloc_process_error(self->fd, &arg));
	cmd->pidfd = self->fd;
	EXPECT_EQ(EBADF, alloc_process_error(self->fd, &arg));
	EXPECT_EQ(EFAULT, alloc_process_error(self->fd, NULL));
	/* a device without PASIDs */
	test_cmd_mock_domain(self->ioas_id, &stdev_id, NULL, &idev_id);
	cmd->dev_id = idev_id;
	cmd->pidfd = IOPF_PROCESS_SELF;
	EXPECT_EQ(EOPNOTSUPP, alloc_process_error(self->fd, &arg));
	test_ioctl_destroy(stdev_id);
	/* not for a RID */
	test_err_mock_domain_replace(EINVAL, self->stdev_id, own);
	EXPECT_EQ(-EINVAL, attach(0, own));
	EXPECT_EQ(-ENOMEM, attach(MOCK_PASID_UNFIT, own));
	EXPECT_EQ(0, check(MOCK_PASID_UNFIT, 0));
	test_ioctl_destroy(own);
}

/* The kernel keeps so many groups of a device, whatever their pages wait for. */
TEST_PROCESS(groups)
{
	char *mem = some_memory(PAGE_SIZE);
	struct iommu_test_cmd cmd;
	struct held held;
	__u32 own, i;

	attach_held(&held, mem, &own);
	for (i = 0; i < NR_GROUPS; i++)
		send_to(PASID_EVEN, i % 512, mem);
	expect_answers(0);
	for (i = 0; i < 10; i++)
		send_to(PASID_EVEN, i, mem);
	expect_answers(10);
	for (i = 0; i < 10; i++)
		expect_answer(i, i, PASID_EVEN, PCI_INVALID);
	ASSERT_EQ(0, held_give(&held));
	wait_answers(10 + NR_GROUPS);
	ASSERT_EQ(0, answers(self->fd, self->idev_id, 9 + NR_GROUPS, &cmd));
	EXPECT_EQ(PCI_SUCCESS, cmd.iopf_answer.out_code);
	send_to(PASID_EVEN, 1, mem);
	wait_answers(11 + NR_GROUPS);
	expect_answer(10 + NR_GROUPS, 1, PASID_EVEN, PCI_SUCCESS);
	ASSERT_EQ(0, detach(PASID_EVEN));
	held_close(&held);
}

/*
 * A process in the cgroup, until it is killed, whose page at @mem, if there is one, does not
 * come. Returns its page table, or 0.
 */
static __u32 owner_start(int fd, __u32 dev_id, char *mem, pid_t *owner)
{
	__u32 own = 0;
	struct held held;
	int told[2];

	if (pipe(told))
		return 0;
	*owner = fork();
	if (!*owner) {
		if ((mem && held_open(&held, mem, PAGE_SIZE)) ||
		    write_file(CGROUP "/cgroup.procs", "0") ||
		    alloc_process(fd, dev_id, IOPF_PROCESS_SELF, &own) ||
		    write(told[1], &own, sizeof(own)) != sizeof(own))
			_exit(1);
		for (;;)
			pause();
	}
	close(told[1]);
	if (*owner > 0 && read(told[0], &own, sizeof(own)) != sizeof(own))
		own = 0;
	close(told[0]);
	return own;
}

/* What a device asks of a process is charged to who has made the page table. */
TEST_PROCESS(charged)
{
	char *mem = some_memory(PAGE_SIZE);
	pid_t owner;
	int i;
	__u32 own;

	if (!cgroup_make())
		SKIP(return, "no memory cgroups");
	own = owner_start(self->fd, self->idev_id, mem, &owner);
	ASSERT_NE(0, own);
	ASSERT_EQ(0, attach(PASID_EVEN, own));
	for (i = 0; i < NR_GROUPS; i++)
		send_to(PASID_EVEN, i % 512, mem);
	EXPECT_TRUE(cgroup_charges(NR_GROUPS * 128));
	expect_answers(0);
	/* a page that nobody gives any more is no page of that process */
	ASSERT_EQ(0, kill(owner, SIGKILL));
	ASSERT_EQ(owner, waitpid(owner, NULL, 0));
	wait_answers(NR_GROUPS);
	ASSERT_EQ(0, detach(PASID_EVEN));
	test_ioctl_destroy(own);
	cgroup_remove();
}

/* What waits for a page of a process is answered when the PASID is detached. */
TEST_PROCESS(detach)
{
	char *mem = some_memory(PAGE_SIZE);
	struct iommu_test_cmd cmd;
	struct held held;
	__u32 own, i;

	attach_held(&held, mem, &own);
	ASSERT_EQ(0, attach(PASID_ODD, own));
	send_to(PASID_ODD, 100, mem);
	ASSERT_EQ(0, held_wait(&held, 1));
	/* Some wait for the page, and others for a thread that does. */
	for (i = 0; i < 100; i++)
		send_to(PASID_EVEN, i, mem);
	ASSERT_EQ(0, held_wait(&held, NR_SERVED - 1));
	ASSERT_EQ(0, detach(PASID_EVEN));
	expect_answers(100);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, answers(self->fd, self->idev_id, i, &cmd));
		EXPECT_EQ(PCI_INVALID, cmd.iopf_answer.out_code);
	}
	/* not that of the other one */
	ASSERT_EQ(0, held_give(&held));
	wait_answers(101);
	expect_answer(100, 100, PASID_ODD, PCI_SUCCESS);
	ASSERT_EQ(0, detach(PASID_ODD));
	held_close(&held);
}

/* So many groups of a process are served at once, and no more. */
TEST_PROCESS(served_at_once)
{
	char *mem = some_memory(PAGE_SIZE);
	struct held held;
	__u32 own, i;

	attach_held(&held, mem, &own);
	for (i = 0; i < 4 * NR_SERVED; i++)
		send_to(PASID_EVEN, i, mem);
	ASSERT_EQ(0, held_wait(&held, NR_SERVED));
	/* Another one would soon wait for its page, too. */
	EXPECT_EQ(0, held_wait_ms(&held, 500));
	ASSERT_EQ(0, held_give(&held));
	wait_answers(4 * NR_SERVED);
	ASSERT_EQ(0, detach(PASID_EVEN));
	held_close(&held);
}

/* What waits for a thread, behind pages of others, does not keep a detach waiting. */
TEST_PROCESS(detach_behind)
{
	char *mem = some_memory(PAGE_SIZE), *there = some_memory(PAGE_SIZE);
	struct held held;
	__u32 own, i;

	there[0] = 1;
	attach_held(&held, mem, &own);
	ASSERT_EQ(0, attach(PASID_ODD, own));
	for (i = 0; i < 100; i++)
		send_to(PASID_EVEN, i, mem);
	ASSERT_EQ(0, held_wait(&held, NR_SERVED));
	send_to(PASID_ODD, 100, there);
	ASSERT_EQ(0, detach(PASID_ODD));
	expect_answers(1);
	expect_answer(0, 100, PASID_ODD, PCI_INVALID);
	ASSERT_EQ(0, held_give(&held));
	wait_answers(101);
	ASSERT_EQ(0, detach(PASID_EVEN));
	held_close(&held);
}

/* Serves its own pages, and does not: an owner as those of the other tests are */
static void process_stuck(char *mem, int told)
{
	struct process_device dev;
	struct held held;
	__u32 own, i;
	int fd;

	/* What is opened last is closed first: the iommufd. */
	if (held_open(&held, mem, PAGE_SIZE))
		_exit(1);
	fd = open("/dev/iommu", O_RDWR);
	if (process_device_open(fd, &dev) ||
	    alloc_process(fd, dev.idev_id, IOPF_PROCESS_SELF, &own) ||
	    pasid_op(fd, IOMMU_TEST_OP_PASID_ATTACH, dev.stdev_id, PASID_EVEN, own) ||
	    pasid_op(fd, IOMMU_TEST_OP_PASID_ATTACH, dev.stdev_id, PASID_ODD, own))
		_exit(2);
	for (i = 0; i < 100; i++)
		if (send_at(fd, dev.idev_id, PASID_ODD, i, (uintptr_t)mem))
			_exit(3);
	if (held_wait(&held, NR_SERVED) ||
	    send_at(fd, dev.idev_id, PASID_EVEN, 0, (uintptr_t)mem) ||
	    write(told, "", 1) != 1)
		_exit(4);
	for (;;)
		pause();
}

/* A process that serves its own pages can be killed, whatever waits for them. */
TEST_PROCESS(killed)
{
	char *mem = some_memory(PAGE_SIZE), ok;
	int told[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(told));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		process_stuck(mem, told[1]);
	close(told[1]);
	ASSERT_EQ(1, read(told[0], &ok, 1));
	close(told[0]);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
}

/* Page tables of pages that a device asks for are charged as the pages are. */
TEST_PROCESS(tables_charged)
{
	const size_t step = 2 << 20, nr = 500;
	char *mem = some_memory((nr + 1) * step);
	pid_t owner;
	int i;
	__u32 own;

	ASSERT_NE(MAP_FAILED, mem);
	mem += step - (uintptr_t)mem % step;
	ASSERT_EQ(0, madvise(mem, nr * step, MADV_NOHUGEPAGE));
	if (!cgroup_make())
		SKIP(return, "no memory cgroups");
	own = owner_start(self->fd, self->idev_id, NULL, &owner);
	ASSERT_NE(0, own);
	ASSERT_EQ(0, attach(PASID_EVEN, own));
	for (i = 0; i < nr; i++)
		send_to(PASID_EVEN, i, mem + i * step);
	wait_answers(nr);
	EXPECT_TRUE(cgroup_counts("pagetables", nr * PAGE_SIZE - 1));
	ASSERT_EQ(0, detach(PASID_EVEN));
	ASSERT_EQ(0, kill(owner, SIGKILL));
	ASSERT_EQ(owner, waitpid(owner, NULL, 0));
	test_ioctl_destroy(own);
	cgroup_remove();
}

TEST_HARNESS_MAIN

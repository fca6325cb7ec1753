// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces of processes through VFIO and iommufd, end to end: the emulated test
 * endpoint 1234:11f0 works with the memory of this program, and of others that this one
 * may trace, at their virtual addresses. No driver of the kernel has a part in it.
 *
 * The endpoint keeps translations in a cache like hardware does. So whenever the kernel
 * takes a page away and does not have the cache invalidated, the endpoint goes on with
 * the old page, and the data are wrong. Nothing depends on timing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <fcntl.h>
#include <linux/iopf_process.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_held.h"
#include "iopf_late.h"
#include "iopf_trace.h"

#define TEST_SECONDS	1800
#define PASID		5
#define RID		0
#define PAGE		4096UL
#define AT		((char *)0x10000000000)
#define BIG		(4UL << 20)
#define NR_MANY		256
#define NR_OWNERS	1000
#define NR_ASKED	8
/* So many groups of a process the kernel serves at once, and some more */
#define NR_SERVED	16
#define NR_HELD		24
/* What the kernel lets one process have */
#define NR_HWPTS	64
#define SOMEBODY	4242

#define TEST_VSVA(name) TEST_F_TIMEOUT(vsva, name, TEST_SECONDS)

/* How a transfer ends that gets no page, see find_any_endpoint() */
static __u32 refusal;

static bool asks(void)
{
	return refusal == IOPF_TD_ST_RSP_INVALID;
}

/* The errno of the ioctl itself */
static int alloc_process(struct iopf_ctx *ctx, __u32 dev_id, int pidfd,
			 __u32 *hwpt_id)
{
	struct iopf_hwpt_alloc_process cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pidfd = pidfd,
	};

	if (ioctl(iopf_ctx_fd(ctx), IOPF_HWPT_ALLOC_PROCESS, &cmd))
		return -errno;
	*hwpt_id = cmd.out_hwpt_id;
	return 0;
}

FIXTURE(vsva)
{
	struct iopf_ctx *ctx;
	struct found found;
	unsigned int pasids;	/* of the device, less one */
	struct endpoint ep;	/* with the queue and the memory of the RID */
	__u32 own;		/* page table of this process */
};

FIXTURE_SETUP(vsva)
{
	struct endpoint *ep = &self->ep;
	struct iopf_hw_info info;
	int ret;

	refusal = find_any_endpoint(&self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ep->ctx = self->ctx;
	ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[0], &ep->dev));
	ASSERT_LIB(iopf_dev_hw_info(ep->dev, &info));
	if (!info.pasid_bits)
		SKIP(return, "the device has no PASIDs");
	self->pasids = (1U << info.pasid_bits) - 1;
	ret = iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
				      IOPF_PROCESS_SELF, &self->own);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", iopf_error());
	ASSERT_LIB(ret);
	ASSERT_LIB(iopf_ioas_alloc(self->ctx, &ep->ioas_id));
	ASSERT_LIB(iopf_queue_open(self->ctx, &ep->queue));
	ASSERT_LIB(iopf_hwpt_alloc_pasid(self->ctx, iopf_dev_id(ep->dev),
					 ep->ioas_id, ep->queue, &ep->hwpt_id));
	ASSERT_LIB(iopf_backing_anon(self->ctx, ep->ioas_id, BASE, SPAN, IOPF_RW, 0,
				     &ep->backing));
	ASSERT_EQ(0, iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(testdev_open(ep->dev, &ep->td));
	if (!asks() && !testdev_may_be_held(&ep->td))
		SKIP(return, "the endpoint neither asks nor waits");
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, NR_ASKED);
}

FIXTURE_TEARDOWN(vsva)
{
	struct endpoint *ep = &self->ep;

	if (ep->td.dev)
		EXPECT_LIB(check_answers(ep, -1, -1));
	endpoint_close(ep);
	if (self->own)
		EXPECT_LIB(iopf_destroy(self->ctx, self->own));
	iopf_ctx_close(self->ctx);
}

static void *map(size_t length)
{
	void *mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static int start(struct endpoint *ep, __u32 pasid, unsigned int opcode,
		 const void *mem, __u32 length, __u32 seed, unsigned int *slot)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = pasid ? IOPF_TD_F_PASID : 0,
		.pasid = pasid,
		.iova = (uintptr_t)mem,
		.length = length,
		.data = seed,
	};

	return testdev_submit(&ep->td, &op, slot);
}

/* The status of a transfer, or a negative errno. The kernel serves. */
static int transfer_at(struct endpoint *ep, __u32 pasid, unsigned int opcode,
		       const void *mem, __u32 length, __u32 seed)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start(ep, pasid, opcode, mem, length, seed, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	return ret ?: r.status;
}

static int fill(struct endpoint *ep, __u32 pasid, const void *mem, __u32 length,
		__u32 seed)
{
	return transfer_at(ep, pasid, IOPF_TD_OP_FILL, mem, length, seed);
}

static int compare(struct endpoint *ep, __u32 pasid, const void *mem,
		   __u32 length, __u32 seed)
{
	return transfer_at(ep, pasid, IOPF_TD_OP_COMPARE, mem, length, seed);
}

static bool is_zero(const char *mem, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		if (mem[i])
			return false;
	return true;
}

static bool is_pattern(const char *mem, size_t length, __u32 seed)
{
	return testdev_pattern_check(mem, length, seed, 0) == length;
}

#define ASSERT_STATUS(status, call) do { \
	int __got = (call); \
	\
	ASSERT_EQ(status, __got) \
		TH_LOG("%s", __got < 0 ? iopf_error() : testdev_status(__got)); \
} while (0)
#define ASSERT_OK(call)		ASSERT_STATUS(IOPF_TD_ST_OK, call)
#define ASSERT_REFUSED(call)	ASSERT_STATUS(refusal, call)

#define ASSERT_PATTERN(mem, length, seed) do { \
	size_t __length = length; \
	\
	ASSERT_EQ(__length, testdev_pattern_check(mem, __length, seed, 0)); \
} while (0)

/* ---- other processes --------------------------------------------------------------- */

/* What a child is told to do; it answers with 1 if that has worked, else 0. */
enum order {
	CHECK_PATTERN,
	CHECK_ZERO,
	WRITE_PATTERN,
	MAP_AGAIN,
	READ_ONLY,
	FORK_AND_WRITE,
	BECOME_SOMEBODY,
	BE_DUMPABLE,
	BE_UNDUMPABLE,
	END,
	CRASH,
	EXECUTE,
};

struct command {
	enum order order;
	__u32 seed;
	size_t length;
};

struct child {
	pid_t pid;
	int pidfd;
	int to;
	int from;	/* is at its end when the child has executed a program or ended */
};

static bool child_map(void)
{
	return mmap(AT, BIG, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == AT;
}

/* What the device does not see, as it is the memory of somebody else by then */
static bool child_fork(const struct command *c)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		testdev_pattern(AT, c->length, ~c->seed, 0);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static bool child_do(const struct command *c)
{
	switch (c->order) {
	case CHECK_PATTERN:
		return is_pattern(AT, c->length, c->seed);
	case CHECK_ZERO:
		return is_zero(AT, c->length);
	case WRITE_PATTERN:
		testdev_pattern(AT, c->length, c->seed, 0);
		return true;
	case MAP_AGAIN:
		return child_map();
	case READ_ONLY:
		return !mprotect(AT, c->length, PROT_READ);
	case FORK_AND_WRITE:
		return child_fork(c);
	case BECOME_SOMEBODY:
		return !setresuid(SOMEBODY, SOMEBODY, SOMEBODY);
	case BE_DUMPABLE:
		return !prctl(PR_SET_DUMPABLE, 1);
	case BE_UNDUMPABLE:
		return !prctl(PR_SET_DUMPABLE, 0);
	case END:
		_exit(0);
	case CRASH:
		abort();
	case EXECUTE:
		execl("/bin/busybox", "sleep", "100000", NULL);
	}
	return false;
}

static void child_run(int from, int to)
{
	struct command c;
	char ok = child_map();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Nothing of the device is to be left in here. */
	if (from != 3)
		syscall(SYS_close_range, 3, from - 1, 0);
	syscall(SYS_close_range, from + 1, to - 1, 0);
	syscall(SYS_close_range, to + 1, ~0U, 0);
	fcntl(to, F_SETFD, FD_CLOEXEC);
	while (write(to, &ok, 1) == 1 && read(from, &c, sizeof(c)) == sizeof(c))
		ok = child_do(&c);
	_exit(0);
}

static int child_start(struct child *child)
{
	int there[2], back[2];
	char ok = 0;

	memset(child, 0, sizeof(*child));
	if (pipe(there) || pipe(back))
		return -errno;
	child->pid = fork();
	if (!child->pid)
		child_run(there[0], back[1]);
	close(there[0]);
	close(back[1]);
	child->to = there[1];
	child->from = back[0];
	child->pidfd = syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pid < 0 || child->pidfd < 0 || read(child->from, &ok, 1) != 1 ||
	    !ok)
		return -ECHILD;
	return 0;
}

static bool child_tell(struct child *child, enum order order, size_t length,
		       __u32 seed)
{
	struct command c = { .order = order, .length = length, .seed = seed };
	char ok = 0;

	return write(child->to, &c, sizeof(c)) == sizeof(c) &&
	       read(child->from, &ok, 1) == 1 && ok;
}

/* Something that it does not come back from: it is over when this returns. */
static void child_tell_last(struct child *child, enum order order)
{
	struct command c = { .order = order };
	char end;

	if (write(child->to, &c, sizeof(c)) != sizeof(c) ||
	    read(child->from, &end, 1))
		perror("# child");
	if (order != EXECUTE)
		waitpid(child->pid, NULL, 0);
}

static void child_end(struct child *child)
{
	if (child->pid > 0) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	close(child->pidfd);
	close(child->to);
	close(child->from);
}

/* A child with a page table for the PASID */
static int child_attach(struct endpoint *ep, struct child *child, __u32 *hwpt_id)
{
	int ret = child_start(child);

	if (!ret)
		ret = iopf_hwpt_alloc_process(ep->ctx, iopf_dev_id(ep->dev),
					      child->pidfd, hwpt_id);
	if (!ret)
		ret = iopf_dev_attach_pasid(ep->dev, PASID, *hwpt_id);
	return ret;
}

static int child_detach(struct endpoint *ep, struct child *child, __u32 hwpt_id)
{
	int ret = iopf_dev_detach_pasid(ep->dev, PASID);

	if (!ret)
		ret = iopf_destroy(ep->ctx, hwpt_id);
	child_end(child);
	return ret;
}

/* The device gets at nothing, and is not left waiting. */
#define ASSERT_FAILS(call) do { \
	int __status = (call); \
	\
	ASSERT_LT(IOPF_TD_ST_OK, __status) \
		TH_LOG("%s", __status < 0 ? iopf_error() : \
					    testdev_status(__status)); \
	ASSERT_NE(IOPF_TD_ST_MISMATCH, __status); \
} while (0)

/* ---- this process --------------------------------------------------------------- */

TEST_VSVA(own_memory)
{
	char *mem = map(BIG);

	ASSERT_EQ(0, iopf_dev_attach_pasid(self->ep.dev, PASID, self->own));
	ASSERT_OK(fill(&self->ep, PASID, mem, BIG, SEED));
	ASSERT_PATTERN(mem, BIG, SEED);
	ASSERT_OK(compare(&self->ep, PASID, mem, BIG, SEED));
	mem[BIG / 2] ^= 1;
	ASSERT_STATUS(IOPF_TD_ST_MISMATCH,
		      compare(&self->ep, PASID, mem, BIG, SEED));
	/* It has asked, and the kernel has served. */
	if (asks())
		EXPECT_LT(0, testdev_reg(&self->ep.td, IOPF_TD_REG_CNT_PR_LAST));
	ASSERT_EQ(0, iopf_dev_detach_pasid(self->ep.dev, PASID));
}

/* The device may what the process may. */
TEST_VSVA(rights)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(4 * PAGE);

	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	testdev_pattern(mem, 4 * PAGE, SEED, 0);
	ASSERT_EQ(0, mprotect(mem, 4 * PAGE, PROT_READ));
	ASSERT_REFUSED(fill(ep, PASID, mem, PAGE, ~SEED));
	ASSERT_OK(compare(ep, PASID, mem, 4 * PAGE, SEED));
	ASSERT_REFUSED(fill(ep, PASID, mem, PAGE, ~SEED));
	ASSERT_EQ(0, mprotect(mem, 4 * PAGE, PROT_NONE));
	ASSERT_REFUSED(compare(ep, PASID, mem, PAGE, SEED));
	ASSERT_EQ(0, mprotect(mem, 4 * PAGE, PROT_READ | PROT_WRITE));
	ASSERT_PATTERN(mem, 4 * PAGE, SEED);
	ASSERT_OK(fill(ep, PASID, mem, 4 * PAGE, ~SEED));
	ASSERT_PATTERN(mem, 4 * PAGE, ~SEED);
}

/* Neither where there is nothing, nor the kernel's half */
TEST_VSVA(no_memory)
{
	static const __u64 addr[] = {
		0xffffffff81000000, 0xffff888000100000, 0xfffffffffffff000,
		0x0000800000000000, 0x8000000000000000, 0,
	};
	struct endpoint *ep = &self->ep;
	char *mem = map(3 * PAGE);
	unsigned int i;

	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, munmap(mem + PAGE, PAGE));
	ASSERT_REFUSED(fill(ep, PASID, mem, 3 * PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
	EXPECT_TRUE(is_zero(mem + 2 * PAGE, PAGE));
	expect_dma_faults(DMA_ANY_DEVICE, DMA_ANY_PASID, "80+", DMA_NO_ADDRESS);
	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		ASSERT_FAILS(fill(ep, PASID, (void *)(uintptr_t)addr[i], 8, SEED));
		ASSERT_FAILS(compare(ep, PASID, (void *)(uintptr_t)addr[i], 8,
				     SEED));
	}
	expect_no_more_on_console();
}

/* The endpoint has the page in its cache. */
TEST_VSVA(map_again)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(BIG);
	int round;

	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	for (round = 0; round < 10; round++) {
		ASSERT_OK(fill(ep, PASID, mem, BIG, SEED + round));
		ASSERT_PATTERN(mem, BIG, SEED + round);
		if (round % 2) {
			ASSERT_EQ(0, madvise(mem, BIG, MADV_DONTNEED));
		} else {
			ASSERT_EQ(0, munmap(mem, BIG));
			ASSERT_REFUSED(fill(ep, PASID, mem, 8, SEED));
			ASSERT_EQ(mem, mmap(mem, BIG, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
					    -1, 0));
		}
		ASSERT_TRUE(is_zero(mem, BIG));
	}
}

TEST_VSVA(file)
{
	int fd = syscall(SYS_memfd_create, "vsva", MFD_CLOEXEC);
	struct endpoint *ep = &self->ep;
	char *shared, *private;

	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	shared = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, shared);
	ASSERT_NE(MAP_FAILED, private);
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_OK(fill(ep, PASID, shared, 8 * PAGE, SEED));
	ASSERT_OK(compare(ep, PASID, private, 8 * PAGE, SEED));
	/* that is a copy from now on */
	ASSERT_OK(fill(ep, PASID, private, 8 * PAGE, ~SEED));
	ASSERT_PATTERN(shared, 8 * PAGE, SEED);
	ASSERT_PATTERN(private, 8 * PAGE, ~SEED);
	/* no page behind the end of the file */
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_REFUSED(fill(ep, PASID, shared + PAGE, 8, SEED));
	close(fd);
}

/* A fork shares pages for reading: the device's right to write ends. */
TEST_VSVA(forked)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(BIG);
	int there[2], status;
	unsigned int slot[4];
	struct testdev_result r;
	pid_t pid;
	char c;
	int i;

	ASSERT_EQ(0, pipe(there));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_OK(fill(ep, PASID, mem, BIG, SEED));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(there[1]);
		/* What the device does is done in the parent. */
		if (read(there[0], &c, 1))
			_exit(2);
		_exit(testdev_pattern_check(mem, BIG, SEED, 0) == BIG ? 0 : 1);
	}
	close(there[0]);
	ASSERT_OK(fill(ep, PASID, mem, BIG, ~SEED));
	ASSERT_PATTERN(mem, BIG, ~SEED);
	close(there[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	/* and with transfers in flight, which may lose their page at each fork */
	testdev_set(&ep->td, IOPF_TD_REG_PRI_RETRY, 1000);
	for (i = 0; i < 4; i++)
		ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, mem + i * (BIG / 4),
				 BIG / 4, SEED + i, &slot[i]));
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
	}
	for (i = 0; i < 4; i++) {
		ASSERT_LIB(wait_op(ep, slot[i], &r));
		ASSERT_EQ(IOPF_TD_ST_OK, r.status);
		ASSERT_PATTERN(mem + i * (BIG / 4), BIG / 4, SEED + i);
	}
}

/* ---- another process -------------------------------------------------------------- */

TEST_VSVA(foreign)
{
	struct endpoint *ep = &self->ep;
	struct child child;
	__u32 hwpt_id;

	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	ASSERT_OK(fill(ep, PASID, AT, BIG, SEED));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, BIG, SEED));
	EXPECT_TRUE(child_tell(&child, WRITE_PATTERN, BIG, ~SEED));
	ASSERT_OK(compare(ep, PASID, AT, BIG, ~SEED));
	/* its pages come and go */
	EXPECT_TRUE(child_tell(&child, MAP_AGAIN, 0, 0));
	ASSERT_OK(fill(ep, PASID, AT, BIG, SEED + 1));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, BIG, SEED + 1));
	EXPECT_TRUE(child_tell(&child, READ_ONLY, BIG, 0));
	ASSERT_REFUSED(fill(ep, PASID, AT, PAGE, ~SEED));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, BIG, SEED + 1));
	EXPECT_TRUE(child_tell(&child, MAP_AGAIN, 0, 0));
	/* that of its child is another one */
	EXPECT_TRUE(child_tell(&child, WRITE_PATTERN, BIG, SEED + 2));
	ASSERT_OK(compare(ep, PASID, AT, BIG, SEED + 2));
	EXPECT_TRUE(child_tell(&child, FORK_AND_WRITE, BIG, SEED + 2));
	ASSERT_OK(compare(ep, PASID, AT, BIG, SEED + 2));
	/* what it may do itself does not matter any more */
	EXPECT_TRUE(child_tell(&child, BECOME_SOMEBODY, 0, 0));
	ASSERT_OK(fill(ep, PASID, AT, BIG, SEED + 3));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, BIG, SEED + 3));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
}

/* The same addresses lead to the memory of one or the other. */
TEST_VSVA(each_its_own)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct child child[3];
	__u32 hwpt_id[3];
	unsigned int slot;
	int round, i;

	ASSERT_TRUE(child_map());
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID + 3, self->own));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, child_start(&child[i]));
		ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
						   child[i].pidfd, &hwpt_id[i]));
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID + i, hwpt_id[i]));
	}
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 4; i++)
			ASSERT_OK(fill(ep, PASID + i, AT, BIG / 4, SEED + i));
		for (i = 0; i < 3; i++)
			ASSERT_TRUE(child_tell(&child[i], CHECK_PATTERN, BIG / 4,
					       SEED + i));
		ASSERT_PATTERN(AT, BIG / 4, SEED + 3);
		/* beside them the RID, with its own page table */
		ASSERT_LIB(start(ep, RID, IOPF_TD_OP_FILL, (void *)(BASE + round * PAGE),
				 PAGE, SEED + 4, &slot));
		ASSERT_LIB(serve_op(ep, slot, &r));
		ASSERT_EQ(IOPF_TD_ST_OK, r.status);
		ASSERT_PATTERN(iopf_backing_ptr(ep->backing, BASE + round * PAGE),
			       PAGE, SEED + 4);
		for (i = 0; i < 3; i++)
			ASSERT_TRUE(child_tell(&child[i], MAP_AGAIN, 0, 0));
		ASSERT_TRUE(child_map());
	}
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID + i));
		ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id[i]));
		child_end(&child[i]);
	}
	munmap(AT, BIG);
}

/* ---- its end ------------------------------------------------------------------------ */

/* Nothing of a process that has ended is left, not in caches either. */
TEST_VSVA(ended)
{
	static const enum order orders[] = { END, CRASH, EXECUTE };
	struct rlimit none = { 0, 0 };
	struct endpoint *ep = &self->ep;
	struct child child;
	unsigned int i;
	__u32 hwpt_id;

	ASSERT_EQ(0, setrlimit(RLIMIT_CORE, &none));
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
		ASSERT_OK(fill(ep, PASID, AT, BIG / 4, SEED));
		child_tell_last(&child, orders[i]);
		ASSERT_FAILS(fill(ep, PASID, AT, PAGE, SEED));
		ASSERT_FAILS(compare(ep, PASID, AT, PAGE, SEED));
		ASSERT_FAILS(fill(ep, PASID, AT + BIG / 2, PAGE, SEED));
		EXPECT_EQ(-ESRCH, iopf_dev_attach_pasid(ep->dev, PASID + 1, hwpt_id));
		/* it is still attached to this one, for the books */
		EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, hwpt_id));
		EXPECT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
		ASSERT_LIB(child_detach(ep, &child, hwpt_id));
	}
	/* the PASID has taken no harm */
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_TRUE(child_map());
	ASSERT_OK(fill(ep, PASID, AT, PAGE, SEED));
	ASSERT_PATTERN(AT, PAGE, SEED);
	munmap(AT, BIG);
}

/* How it ends; nobody waits for the transfers. */
static void end_in_flight(struct child *child, int how)
{
	switch (how) {
	case 0:
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
		return;
	case 1:
		return child_tell_last(child, END);
	case 2:
		return child_tell_last(child, EXECUTE);
	default:
		return child_tell_last(child, CRASH);
	}
}

/* Was there a dump that has the memory of the child in it? */
static bool has_core(void)
{
	struct stat st;

	return !stat("core", &st) && st.st_size >= (off_t)BIG && !unlink("core");
}

/* With transfers in flight, and a dump of the memory that they change */
TEST_VSVA(ended_in_flight)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_ASKED], i;
	struct testdev_result r;
	struct child child;
	__u32 hwpt_id;
	int round;

	if (mkdir("/tmp", 0777) && errno != EEXIST)
		SKIP(return, "no /tmp");
	ASSERT_EQ(0, chdir("/tmp"));
	ASSERT_EQ(0, setrlimit(RLIMIT_CORE, &limit));
	for (round = 0; round < 12; round++) {
		ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
		/* What nobody has written to is not dumped. */
		ASSERT_OK(fill(ep, PASID, AT, PAGE, SEED));
		for (i = 0; i < NR_ASKED; i++)
			ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL,
					 AT + i * (BIG / NR_ASKED), BIG / NR_ASKED,
					 SEED, &slot[i]));
		end_in_flight(&child, round % 4);
		for (i = 0; i < NR_ASKED; i++)
			ASSERT_LIB(wait_op(ep, slot[i], &r));
		ASSERT_FAILS(fill(ep, PASID, AT, PAGE, SEED));
		EXPECT_LIB(check_answers(ep, -1, -1));
		ASSERT_LIB(child_detach(ep, &child, hwpt_id));
		/* It has been written to its end, as the others have not. */
		EXPECT_EQ(round % 4 == 3, has_core());
	}
	ASSERT_EQ(0, chdir("/"));
}

/* Requests in the queue of the IOMMU, which is worked off late */
static int late_requests(struct endpoint *ep, struct late *late,
			 unsigned int *slot)
{
	__u32 before = asks() ? 0 : testdev_reg(&ep->td, IOPF_TD_REG_CNT_STALL);
	int ret = late_begin(late), i;

	for (i = 0; i < NR_ASKED && !ret; i++)
		ret = start(ep, PASID, IOPF_TD_OP_FILL, AT + i * 0x10000, PAGE, SEED,
			    &slot[i]);
	if (!ret)
		ret = wait_reg(ep, asks() ? IOPF_TD_REG_PRI_OUTSTANDING :
					    IOPF_TD_REG_CNT_STALL,
			       before + NR_ASKED);
	if (ret)
		late_end(late);
	return ret;
}

/* The process is gone when the kernel comes to what was asked. */
TEST_VSVA(late_end)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_ASKED], i;
	struct testdev_result r;
	struct child child;
	struct late late;
	__u32 hwpt_id;
	int ret;

	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	ret = late_requests(ep, &late, slot);
	if (late_cannot(ret)) {
		child_detach(ep, &child, hwpt_id);
		SKIP(return, "%s", iopf_error());
	}
	ASSERT_LIB(ret);
	child_tell_last(&child, END);
	late_end(&late);
	for (i = 0; i < NR_ASKED; i++) {
		ASSERT_LIB(wait_op(ep, slot[i], &r));
		EXPECT_LT(IOPF_TD_ST_OK, r.status);
	}
	EXPECT_LIB(check_answers(ep, 0, -1));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
}

static int call_detach(struct endpoint *ep)
{
	return iopf_dev_detach_pasid(ep->dev, PASID);
}

/*
 * A PASID goes from a process that has ended to this one, which has memory at the same
 * addresses, while requests of the old one are in the queue. None reaches this one.
 */
TEST_VSVA(recycled)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_ASKED], i;
	struct testdev_result r;
	struct child child;
	struct late late;
	__u32 hwpt_id;
	int round, ret;

	ASSERT_TRUE(child_map());
	for (round = 0; round < 5; round++) {
		ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
		ret = late_requests(ep, &late, slot);
		if (late_cannot(ret)) {
			child_detach(ep, &child, hwpt_id);
			SKIP(return, "%s", iopf_error());
		}
		ASSERT_LIB(ret);
		child_tell_last(&child, END);
		ASSERT_LIB(late_through(&late, call_detach, ep));
		EXPECT_EQ(0, testdev_reg(&ep->td, IOPF_TD_REG_PRI_OUTSTANDING));
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
		for (i = 0; i < NR_ASKED; i++) {
			ASSERT_LIB(wait_op(ep, slot[i], &r));
			EXPECT_LT(IOPF_TD_ST_OK, r.status);
		}
		EXPECT_TRUE(is_zero(AT, BIG));
		ASSERT_LIB(child_detach(ep, &child, hwpt_id));
	}
	munmap(AT, BIG);
}

/* ---- pages that take long ------------------------------------------------------------ */

/* Requests for pages of their own, which are held */
static int held_requests(struct endpoint *ep, __u32 pasid, struct held *held,
			 unsigned int *slot)
{
	char *mem = (char *)(uintptr_t)held->range.start;
	__u32 before = asks() ? 0 : testdev_reg(&ep->td, IOPF_TD_REG_CNT_STALL);
	int ret = 0, i;

	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 2 * NR_HELD);
	for (i = 0; i < NR_HELD && !ret; i++)
		ret = start(ep, pasid, IOPF_TD_OP_FILL, mem + i * PAGE, PAGE, SEED,
			    &slot[i]);
	if (!ret)
		ret = wait_reg(ep, asks() ? IOPF_TD_REG_PRI_OUTSTANDING :
					    IOPF_TD_REG_CNT_STALL,
			       before + NR_HELD);
	/* Some of them wait for their page, and others for that. */
	return ret ?: held_wait(held, NR_SERVED);
}

/* All of held_requests() have ended, as they should. The kernel serves. */
static int held_ended(struct endpoint *ep, const unsigned int *slot, bool well)
{
	struct testdev_result r;
	int ret, i;

	for (i = 0; i < NR_HELD; i++) {
		ret = wait_op(ep, slot[i], &r);
		if (ret)
			return ret;
		if (well ? r.status != IOPF_TD_ST_OK : r.status <= IOPF_TD_ST_OK)
			return iopf_err(-EPROTO, "transfer %d: %s", i,
					testdev_status(r.status));
	}
	return 0;
}

static bool held_filled(const char *mem)
{
	int i;

	for (i = 0; i < NR_HELD; i++)
		if (!is_pattern(mem + i * PAGE, PAGE, SEED))
			return false;
	return true;
}

/* A request that waits for its page holds no lock of the process. */
TEST_VSVA(held_page)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	char *mem = map(BIG), *other;
	struct held held;
	unsigned int slot;

	ASSERT_EQ(0, held_open(&held, mem, PAGE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, mem, PAGE, SEED, &slot));
	ASSERT_EQ(0, held_wait(&held, 1));
	other = map(PAGE);
	other[0] = 1;
	ASSERT_EQ(0, munmap(other, PAGE));
	/* nor other requests of it */
	testdev_set(&ep->td, IOPF_TD_REG_CONTEXTS, 2);
	ASSERT_OK(fill(ep, PASID, mem + PAGE, PAGE, ~SEED));
	ASSERT_PATTERN(mem + PAGE, PAGE, ~SEED);
	ASSERT_EQ(0, held_give(&held));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_PATTERN(mem, PAGE, SEED);
	held_close(&held);
}

/* However many requests wait for pages of one process, those of others are served. */
TEST_VSVA(held_many)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(NR_HELD * PAGE);
	unsigned int slot[NR_HELD];
	struct child child;
	struct held held;
	__u32 hwpt_id;

	ASSERT_EQ(0, held_open(&held, mem, NR_HELD * PAGE));
	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID + 1, self->own));
	ASSERT_EQ(0, held_requests(ep, PASID + 1, &held, slot));
	ASSERT_OK(fill(ep, PASID, AT, BIG / 8, SEED + 1));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, BIG / 8, SEED + 1));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
	ASSERT_EQ(0, held_give(&held));
	ASSERT_LIB(held_ended(ep, slot, true));
	ASSERT_TRUE(held_filled(mem));
	held_close(&held);
}

/* A detach ends the wait for pages. */
TEST_VSVA(held_detach)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(NR_HELD * PAGE);
	unsigned int slot[NR_HELD];
	struct held held;

	expect_dma_faults(self->found.bdf[0], PASID, "[0-9a-f]+", DMA_ANY_FAULT);
	ASSERT_EQ(0, held_open(&held, mem, NR_HELD * PAGE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, held_requests(ep, PASID, &held, slot));
	ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID));
	ASSERT_LIB(held_ended(ep, slot, false));
	EXPECT_LIB(check_answers(ep, 0, -1));
	expect_no_more_on_console();
	/* the threads that have waited are as good as new */
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, held_requests(ep, PASID, &held, slot));
	held_close(&held);
	ASSERT_LIB(held_ended(ep, slot, true));
	ASSERT_TRUE(held_filled(mem));
}

/* A replacement does so, too, and the device asks the page table that is new. */
TEST_VSVA(held_replace)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_HELD];
	struct child child;
	struct held held;
	__u32 hwpt_id;

	ASSERT_TRUE(child_map());
	ASSERT_EQ(0, held_open(&held, AT, NR_HELD * PAGE));
	ASSERT_EQ(0, child_start(&child));
	ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
					   child.pidfd, &hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, held_requests(ep, PASID, &held, slot));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
	ASSERT_LIB(held_ended(ep, slot, true));
	EXPECT_LIB(check_answers(ep, -1, 0));
	ASSERT_OK(compare(ep, PASID, AT + (NR_HELD - 1) * PAGE, PAGE, SEED));
	held_close(&held);
	EXPECT_TRUE(is_zero(AT, NR_HELD * PAGE));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
	munmap(AT, BIG);
}

/*
 * A PASID goes from this process to another one, and back, a thousand times, while all
 * that was asked of this one waits for its pages. None of it reaches the other one, which
 * has memory at the same addresses.
 */
TEST_VSVA(owners)
{
	struct endpoint *ep = &self->ep;
	unsigned int slot[NR_HELD];
	struct child child;
	struct held held;
	__u32 hwpt_id;
	int round;

	expect_dma_faults(self->found.bdf[0], PASID, "[0-9a-f]+", DMA_ANY_FAULT);
	ASSERT_TRUE(child_map());
	ASSERT_EQ(0, held_open(&held, AT, NR_HELD * PAGE));
	ASSERT_EQ(0, child_start(&child));
	ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
					   child.pidfd, &hwpt_id));
	for (round = 0; round < NR_OWNERS; round++) {
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
		ASSERT_EQ(0, held_requests(ep, PASID, &held, slot))
			TH_LOG("round %d", round);
		ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID));
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
		ASSERT_LIB(held_ended(ep, slot, false));
		ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID));
	}
	EXPECT_LIB(check_answers(ep, 0, -1));
	expect_no_more_on_console();
	EXPECT_TRUE(child_tell(&child, CHECK_ZERO, BIG, 0));
	/* The PASID has taken no harm. */
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
	ASSERT_OK(fill(ep, PASID, AT, PAGE, SEED));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, PAGE, SEED));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
	held_close(&held);
	EXPECT_TRUE(is_zero(AT, BIG));
	munmap(AT, BIG);
}

/*
 * A killed program's device is in use until a page fault that is being handled lets go of
 * the program's memory, the registers mapped there among it. That may be later than its
 * end.
 */
static int open_when_free(struct iopf_ctx *ctx, const char *bdf,
			  struct iopf_dev **dev)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	int ret;

	for (;;) {
		ret = iopf_dev_open(ctx, bdf, dev);
		if (ret != -EBUSY || iopf_now() > end)
			return ret;
		nap();
	}
}

/* A device that this process has alone, with its address space for a PASID */
static int own_device(struct endpoint *ep, const char *bdf)
{
	__u32 hwpt_id;
	int ret;

	ret = iopf_ctx_open(&ep->ctx);
	if (!ret)
		ret = open_when_free(ep->ctx, bdf, &ep->dev);
	if (!ret)
		ret = iopf_hwpt_alloc_process(ep->ctx, iopf_dev_id(ep->dev),
					      IOPF_PROCESS_SELF, &hwpt_id);
	if (!ret)
		ret = iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id);
	return ret ? ret : testdev_open(ep->dev, &ep->td);
}

/*
 * The device goes with its owner, and that with what it has mapped, although somebody
 * else holds its pages.
 */
TEST_VSVA(held_owner)
{
	struct endpoint other = { 0 };
	unsigned int slot[NR_HELD];
	int there[2], number, copy;
	struct held held;
	pid_t pid;

	if (self->found.nr < 2)
		SKIP(return, "takes two endpoints");
	expect_dma_faults(self->found.bdf[1], DMA_ANY_PASID, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	ASSERT_EQ(0, pipe(there));
	pid = fork();
	if (!pid) {
		if (own_device(&other, self->found.bdf[1]) ||
		    held_open(&held, map(NR_HELD * PAGE), NR_HELD * PAGE) ||
		    held_requests(&other, PASID, &held, slot) ||
		    write(there[1], &held.fd, sizeof(held.fd)) != sizeof(held.fd))
			_exit(1);
		for (;;)
			pause();
	}
	close(there[1]);
	ASSERT_EQ((ssize_t)sizeof(number), read(there[0], &number, sizeof(number)));
	copy = syscall(SYS_pidfd_getfd, (int)syscall(SYS_pidfd_open, pid, 0), number,
		       0);
	ASSERT_LE(0, copy);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	close(there[0]);
	ASSERT_LIB(open_when_free(self->ctx, self->found.bdf[1], &other.dev));
	expect_no_more_on_console();
	close(copy);
	iopf_dev_close(other.dev);
}

/* What a device has asked for before it is reset keeps nothing from it after that. */
TEST_VSVA(held_reset)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(NR_HELD * PAGE), *other = map(PAGE);
	unsigned int slot[NR_HELD];
	struct held held;

	if (!asks())
		SKIP(return, "an access that is held is not ended by a reset");
	ASSERT_EQ(0, held_open(&held, mem, NR_HELD * PAGE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, held_requests(ep, PASID, &held, slot));
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_OK(fill(ep, PASID, other, PAGE, SEED));
	ASSERT_PATTERN(other, PAGE, SEED);
	held_close(&held);
	EXPECT_TRUE(is_zero(mem, NR_HELD * PAGE));
}

/* Who lets a device look again without a page does not keep the kernel at it. */
TEST_VSVA(held_woken)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	int ret, woken = 0;
	char *mem = map(PAGE);
	struct held held;
	unsigned int slot;

	if (!asks())
		SKIP(return, "the endpoint would ask without end");
	ASSERT_EQ(0, held_open(&held, mem, PAGE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, mem, PAGE, SEED, &slot));
	while (!testdev_done(&ep->td, slot, &r) && woken < 1000) {
		ret = held_wait_ms(&held, 10);
		ASSERT_LE(0, ret);
		if (ret)
			ASSERT_EQ(0, held_wake(&held));
		woken += ret;
	}
	ASSERT_LT(woken, 1000);
	EXPECT_LT(IOPF_TD_ST_OK, r.status);
	/* it was told each time that it has the page */
	EXPECT_LIB(check_answers(ep, -1, 0));
	held_close(&held);
	ASSERT_OK(fill(ep, PASID, mem, PAGE, SEED));
}

static void trace_line(const char *line, void *arg)
{
	const char *numbers = strstr(line, "requests=");
	unsigned int *sum = arg, requests, lookups, locks;

	if (numbers && sscanf(numbers, "requests=%u lookups=%u mmap_locks=%u",
			      &requests, &lookups, &locks) == 3) {
		sum[0] += requests;
		sum[1] += lookups;
		sum[2] += locks;
	}
}

/* Neighbours are looked up once, and not with the lock of all of the address space. */
TEST_VSVA(one_walk)
{
	struct endpoint *ep = &self->ep;
	unsigned int sum[3] = { 0 }, slot;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.flags = IOPF_TD_F_PASID | IOPF_TD_F_GROUP,
		.pasid = PASID,
		.length = 16 * PAGE,
		.data = SEED,
	};
	struct testdev_result r;
	char *mem = map(32 * PAGE);

	if (!asks())
		SKIP(return, "accesses are held one by one");
	op.iova = (uintptr_t)mem;
	mem[31 * PAGE] = 1;
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, trace_begin("iopf_sva/iopf_serve"));
	ASSERT_LIB(testdev_submit(&ep->td, &op, &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_EQ(1, trace_end("iopf_sva/iopf_serve", "iopf_serve:", trace_line, sum));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_PATTERN(mem, 16 * PAGE, SEED);
	EXPECT_EQ(16, sum[0]);
	EXPECT_EQ(1, sum[1]);
	EXPECT_EQ(0, sum[2]);
}

/* ---- one page table after the other --------------------------------------------------- */

TEST_VSVA(replace)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	char *mem = map(BIG);
	struct child child;
	unsigned int slot;
	__u32 hwpt_id;
	int round;

	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	for (round = 0; round < 5; round++) {
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
		ASSERT_OK(fill(ep, PASID, AT, BIG / 4, SEED + round));
		ASSERT_TRUE(child_tell(&child, CHECK_PATTERN, BIG / 4,
				       SEED + round));
		/* from a process to a page table with a fault queue */
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, ep->hwpt_id));
		ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, (void *)BASE, BIG / 4,
				 ~SEED - round, &slot));
		ASSERT_LIB(serve_op(ep, slot, &r));
		ASSERT_EQ(IOPF_TD_ST_OK, r.status);
		ASSERT_PATTERN(iopf_backing_ptr(ep->backing, BASE), BIG / 4,
			       ~SEED - round);
		/* back, to another process */
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
		ASSERT_OK(fill(ep, PASID, mem, BIG / 4, SEED + round));
		ASSERT_PATTERN(mem, BIG / 4, SEED + round);
	}
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
}

/* What was asked of the fault queue is asked of the process. */
TEST_VSVA(replace_open_request)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	struct iopf_group g;
	char *mem = map(PAGE);
	unsigned int slot;

	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, ep->hwpt_id));
	ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, mem, PAGE, SEED, &slot));
	ASSERT_LIB(next_group(ep, &g));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	EXPECT_EQ(-EINVAL, iopf_queue_answer(ep->queue, g.cookie, IOPF_SUCCESS));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_PATTERN(mem, PAGE, SEED);
}

/* What it has already leaves a request alone that waits for its page. */
TEST_VSVA(replace_same)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	char *mem = map(PAGE);
	struct held held;
	unsigned int slot;

	if (!asks())
		SKIP(return, "nobody counts how often an access was held");
	ASSERT_EQ(0, held_open(&held, mem, PAGE));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_LIB(start(ep, PASID, IOPF_TD_OP_FILL, mem, PAGE, SEED, &slot));
	ASSERT_EQ(0, held_wait(&held, 1));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, held_give(&held));
	ASSERT_LIB(wait_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_PATTERN(mem, PAGE, SEED);
	/* else it has asked again */
	EXPECT_EQ(1, testdev_reg(&ep->td, IOPF_TD_REG_CNT_PR_LAST));
	held_close(&held);
}

/* A process that has ended makes room, and is nothing to go back to. */
TEST_VSVA(replace_ended)
{
	struct endpoint *ep = &self->ep;
	struct child child, other;
	__u32 hwpt_id, other_id;
	char *mem = map(PAGE);

	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	ASSERT_EQ(0, child_start(&other));
	ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
					   other.pidfd, &other_id));
	child_tell_last(&other, END);
	/* one that lives stays where it is */
	EXPECT_EQ(-ESRCH, iopf_dev_attach_pasid(ep->dev, PASID, other_id));
	ASSERT_OK(fill(ep, PASID, AT, PAGE, SEED));
	EXPECT_TRUE(child_tell(&child, CHECK_PATTERN, PAGE, SEED));
	child_tell_last(&child, END);
	EXPECT_EQ(-ESRCH, iopf_dev_attach_pasid(ep->dev, PASID, other_id));
	EXPECT_EQ(-ESRCH, iopf_dev_attach_pasid(ep->dev, PASID, other_id));
	expect_dma_faults(self->found.bdf[0], PASID, "[0-9a-f]+", DMA_ANY_FAULT);
	ASSERT_FAILS(fill(ep, PASID, AT, PAGE, SEED));
	expect_no_more_on_console();
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_OK(fill(ep, PASID, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
	ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id));
	ASSERT_LIB(iopf_destroy(self->ctx, other_id));
	child_end(&child);
	child_end(&other);
}

/* ---- how many ---------------------------------------------------------------------- */

TEST_VSVA(many_pasids)
{
	struct endpoint *ep = &self->ep;
	int i, nr = self->pasids > NR_MANY ? NR_MANY : self->pasids;
	struct child child;
	__u32 hwpt_id;

	ASSERT_TRUE(child_map());
	ASSERT_EQ(0, child_start(&child));
	ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
					   child.pidfd, &hwpt_id));
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, 1 + i,
						   i % 2 ? hwpt_id : self->own));
	for (i = 0; i < nr; i++) {
		ASSERT_OK(fill(ep, 1 + i, AT, PAGE, SEED + i));
		ASSERT_TRUE(i % 2 ? child_tell(&child, CHECK_PATTERN, PAGE, SEED + i) :
				    is_pattern(AT, PAGE, SEED + i));
	}
	/* all of them lose it */
	ASSERT_TRUE(child_tell(&child, MAP_AGAIN, 0, 0));
	ASSERT_TRUE(child_map());
	for (i = 0; i < nr; i++)
		ASSERT_FAILS(transfer_at(ep, 1 + i, IOPF_TD_OP_COMPARE, AT + BIG, 8,
					 SEED));
	ASSERT_OK(fill(ep, 1, AT, PAGE, SEED));
	ASSERT_TRUE(child_tell(&child, CHECK_ZERO, BIG, 0));
	child_tell_last(&child, END);
	for (i = 1; i < nr; i += 2)
		ASSERT_FAILS(fill(ep, 1 + i, AT, PAGE, SEED));
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, 1 + i));
	ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id));
	child_end(&child);
	munmap(AT, BIG);
}

TEST_VSVA(two_devices)
{
	struct endpoint other = { 0 };
	struct endpoint *ep = &self->ep;
	char *mem = map(BIG);
	struct child child;
	__u32 hwpt_id;

	if (self->found.nr < 2)
		SKIP(return, "takes two endpoints");
	ASSERT_LIB(child_attach(ep, &child, &hwpt_id));
	other.ctx = self->ctx;
	ASSERT_LIB(iopf_dev_open(self->ctx, self->found.bdf[1], &other.dev));
	ASSERT_EQ(0, iopf_dev_attach(other.dev, ep->hwpt_id));
	ASSERT_LIB(testdev_open(other.dev, &other.td));
	ASSERT_EQ(0, iopf_dev_attach_pasid(other.dev, PASID, hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(other.dev, PASID + 1, self->own));
	ASSERT_OK(fill(&other, PASID, AT, BIG / 4, SEED));
	ASSERT_OK(compare(ep, PASID, AT, BIG / 4, SEED));
	ASSERT_OK(fill(&other, PASID + 1, mem, BIG / 4, SEED));
	ASSERT_PATTERN(mem, BIG / 4, SEED);
	/* both of them lose the page */
	ASSERT_TRUE(child_tell(&child, MAP_AGAIN, 0, 0));
	ASSERT_OK(fill(&other, PASID, AT, PAGE, ~SEED));
	ASSERT_OK(compare(ep, PASID, AT, PAGE, ~SEED));
	ASSERT_TRUE(child_tell(&child, CHECK_PATTERN, PAGE, ~SEED));
	child_tell_last(&child, END);
	ASSERT_FAILS(fill(&other, PASID, AT, PAGE, SEED));
	ASSERT_FAILS(fill(ep, PASID, AT, PAGE, SEED));
	ASSERT_OK(fill(&other, PASID + 1, mem, BIG / 4, ~SEED));
	EXPECT_LIB(check_answers(&other, -1, -1));
	testdev_close(&other.td);
	iopf_dev_close(other.dev);
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
}

/* A process that has its own device, and is killed with everything open. */
TEST_VSVA(killed_owner)
{
	struct endpoint other = { 0 };
	struct testdev_result r;
	int there[2], i, round;
	unsigned int slot;
	char *mem;
	pid_t pid;
	char ok;

	if (self->found.nr < 2)
		SKIP(return, "takes two endpoints");
	/* It goes on until it is reset. */
	expect_dma_faults(self->found.bdf[1], DMA_ANY_PASID, "[0-9a-f]+",
			  DMA_ANY_FAULT);
	for (round = 0; round < 5; round++) {
		ASSERT_EQ(0, pipe(there));
		pid = fork();
		if (!pid) {
			mem = map(8 * BIG);
			if (own_device(&other, self->found.bdf[1]))
				_exit(1);
			for (i = 0; i < 8; i++)
				if (start(&other, PASID, IOPF_TD_OP_FILL,
					  mem + i * BIG, BIG, SEED, &slot))
					_exit(1);
			if (write(there[1], "", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		close(there[1]);
		ASSERT_EQ(1, read(there[0], &ok, 1));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(there[0]);
	}
	/* It is free, works, and waits for nothing. */
	ASSERT_LIB(open_when_free(self->ctx, self->found.bdf[1], &other.dev));
	expect_no_more_on_console();
	ASSERT_EQ(0, iopf_dev_attach(other.dev, self->ep.hwpt_id));
	ASSERT_EQ(0, iopf_dev_attach_pasid(other.dev, PASID, self->own));
	ASSERT_LIB(testdev_open(other.dev, &other.td));
	mem = map(PAGE);
	ASSERT_OK(fill(&other, PASID, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
	ASSERT_LIB(start(&other, RID, IOPF_TD_OP_FILL, (void *)BASE, 8, SEED, &slot));
	other.queue = self->ep.queue;
	other.backing = self->ep.backing;
	ASSERT_LIB(serve_op(&other, slot, &r));
	EXPECT_LIB(check_answers(&other, -1, -1));
	testdev_close(&other.td);
	iopf_dev_close(other.dev);
}

/* ---- rules and bad requests ------------------------------------------------------ */

TEST_VSVA(attach_rules)
{
	struct iommu_hwpt_invalidate invalidate = {
		.size = sizeof(invalidate),
		.hwpt_id = self->own,
	};
	struct iommu_hwpt_set_dirty_tracking dirty = {
		.size = sizeof(dirty),
		.hwpt_id = self->own,
	};
	struct iommu_hwpt_alloc nested = {
		.size = sizeof(nested),
		.dev_id = iopf_dev_id(self->ep.dev),
		.pt_id = self->own,
	};
	struct iopf_dev *dev = self->ep.dev;
	int fd = iopf_ctx_fd(self->ctx);
	__u32 plain;

	/* not for a RID */
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, self->own));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 0, self->own));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, 1 << 20, self->own));
	ASSERT_EQ(0, iopf_dev_attach_pasid(dev, PASID, self->own));
	ASSERT_EQ(0, iopf_dev_attach_pasid(dev, PASID, self->own));
	EXPECT_EQ(-EBUSY, iopf_destroy(self->ctx, self->own));
	ASSERT_LIB(iopf_hwpt_alloc(self->ctx, iopf_dev_id(dev), self->ep.ioas_id,
				   NULL, &plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach(dev, plain));
	EXPECT_EQ(-EINVAL, iopf_dev_attach_pasid(dev, PASID, plain));
	ASSERT_LIB(iopf_destroy(self->ctx, plain));
	ASSERT_EQ(0, iopf_dev_detach_pasid(dev, PASID));
	ASSERT_EQ(0, iopf_dev_detach_pasid(dev, PASID));
	/* nothing else can be done with it */
	EXPECT_EQ(-1, ioctl(fd, IOMMU_HWPT_INVALIDATE, &invalidate));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &dirty));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, ioctl(fd, IOMMU_HWPT_ALLOC, &nested));
	EXPECT_EQ(EINVAL, errno);
}

TEST_VSVA(without_rid)
{
	struct endpoint *ep = &self->ep;
	char *mem = map(PAGE);

	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_EQ(0, iopf_dev_detach(ep->dev));
	ASSERT_OK(fill(ep, PASID, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
	ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, self->own));
	ASSERT_OK(fill(ep, PASID, mem, PAGE, ~SEED));
	ASSERT_EQ(0, iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_OK(fill(ep, PASID, mem, PAGE, SEED));
}

/* One that cannot ask for pages is not attached. */
TEST_VSVA(no_page_requests)
{
	struct found found = { 0 };
	struct iopf_dev *dev;

	if (!asks())
		SKIP(return, "accesses are held");
	iopf_pci_scan(find_silent, &found);
	if (!found.nr)
		SKIP(return, "takes an endpoint without PRI");
	ASSERT_LIB(iopf_dev_open(self->ctx, found.bdf[0], &dev));
	EXPECT_EQ(-ENODEV, iopf_dev_attach_pasid(dev, PASID, self->own));
	iopf_dev_close(dev);
}

static int open_pidfd(pid_t pid)
{
	return syscall(SYS_pidfd_open, pid, 0);
}

static int exit_code(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -ECHILD;
	return -WEXITSTATUS(status);
}

/* As somebody else, whose errno is the exit code. Returns that. */
static int alloc_as(struct iopf_ctx *ctx, __u32 dev_id, int pidfd, uid_t uid)
{
	__u32 hwpt_id;
	pid_t pid = fork();

	if (!pid) {
		if (setresuid(uid, uid, uid))
			_exit(255);
		_exit(-alloc_process(ctx, dev_id, pidfd, &hwpt_id));
	}
	return exit_code(pid);
}

/* The same as somebody who reads files as @fsuid */
static int alloc_with_fsuid(struct iopf_ctx *ctx, __u32 dev_id, int pidfd,
			    uid_t uid, uid_t fsuid)
{
	__u32 hwpt_id;
	pid_t pid = fork();

	if (!pid) {
		if (setresuid(uid, uid, fsuid))
			_exit(255);
		setfsuid(fsuid);
		if (setfsuid(fsuid) != (int)fsuid)
			_exit(254);
		_exit(-alloc_process(ctx, dev_id, pidfd, &hwpt_id));
	}
	return exit_code(pid);
}

/* One of SOMEBODY's, which may be traced by its user */
static int child_of_somebody(struct child *child)
{
	int ret = child_start(child);

	if (!ret && (!child_tell(child, BECOME_SOMEBODY, 0, 0) ||
		     !child_tell(child, BE_DUMPABLE, 0, 0)))
		ret = -ECHILD;
	return ret;
}

/* Who may write to its memory with process_vm_writev(), and nobody else */
TEST_VSVA(who_may)
{
	__u32 dev_id = iopf_dev_id(self->ep.dev);
	struct child child;

	ASSERT_EQ(0, child_start(&child));
	EXPECT_EQ(0, alloc_as(self->ctx, dev_id, child.pidfd, 0));
	EXPECT_EQ(-EPERM, alloc_as(self->ctx, dev_id, child.pidfd, SOMEBODY));
	/* of the same user, but it has been somebody else */
	ASSERT_TRUE(child_tell(&child, BECOME_SOMEBODY, 0, 0));
	EXPECT_EQ(-EPERM, alloc_as(self->ctx, dev_id, child.pidfd, SOMEBODY));
	ASSERT_TRUE(child_tell(&child, BE_DUMPABLE, 0, 0));
	EXPECT_EQ(0, alloc_as(self->ctx, dev_id, child.pidfd, SOMEBODY));
	EXPECT_EQ(-EPERM, alloc_as(self->ctx, dev_id, child.pidfd, SOMEBODY + 1));
	/* whoever somebody is for files */
	EXPECT_EQ(-EPERM, alloc_with_fsuid(self->ctx, dev_id, child.pidfd,
					   SOMEBODY + 1, SOMEBODY));
	EXPECT_EQ(0, alloc_with_fsuid(self->ctx, dev_id, child.pidfd, SOMEBODY,
				      SOMEBODY + 1));
	/* oneself, whatever one is */
	EXPECT_EQ(0, alloc_as(self->ctx, dev_id, IOPF_PROCESS_SELF, SOMEBODY));
	child_end(&child);
}

/* It is asked once: who has the page table keeps it, whoever the process becomes. */
TEST_VSVA(rights_stay)
{
	struct endpoint *ep = &self->ep;
	struct child child;
	__u32 hwpt_id;

	ASSERT_EQ(0, child_of_somebody(&child));
	ASSERT_LIB(iopf_hwpt_alloc_process(self->ctx, iopf_dev_id(ep->dev),
					   child.pidfd, &hwpt_id));
	ASSERT_TRUE(child_tell(&child, MAP_AGAIN, 0, 0));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID, hwpt_id));
	ASSERT_OK(fill(ep, PASID, AT, PAGE, SEED));
	ASSERT_TRUE(child_tell(&child, BE_UNDUMPABLE, 0, 0));
	EXPECT_EQ(-EPERM, alloc_as(self->ctx, iopf_dev_id(ep->dev), child.pidfd,
				   SOMEBODY));
	ASSERT_OK(fill(ep, PASID, AT + PAGE, PAGE, SEED));
	ASSERT_EQ(0, iopf_dev_attach_pasid(ep->dev, PASID + 1, hwpt_id));
	ASSERT_OK(fill(ep, PASID + 1, AT + 2 * PAGE, PAGE, SEED));
	ASSERT_TRUE(child_tell(&child, CHECK_PATTERN, PAGE, SEED));
	/* But a program with other rights is not reached. */
	child_tell_last(&child, EXECUTE);
	ASSERT_FAILS(fill(ep, PASID, AT, PAGE, SEED));
	ASSERT_FAILS(fill(ep, PASID + 1, AT, PAGE, SEED));
	ASSERT_EQ(0, iopf_dev_detach_pasid(ep->dev, PASID + 1));
	ASSERT_LIB(child_detach(ep, &child, hwpt_id));
}

TEST_VSVA(no_process)
{
	__u32 dev_id = iopf_dev_id(self->ep.dev), hwpt_id;
	struct child child;
	int pidfd;

	EXPECT_EQ(-EBADF, alloc_process(self->ctx, dev_id, -2, &hwpt_id));
	EXPECT_EQ(-EBADF, alloc_process(self->ctx, dev_id, 9999, &hwpt_id));
	EXPECT_EQ(-EBADF, alloc_process(self->ctx, dev_id, 0, &hwpt_id));
	EXPECT_EQ(-EBADF, alloc_process(self->ctx, dev_id, iopf_ctx_fd(self->ctx),
					&hwpt_id));
	/* a thread of the kernel */
	pidfd = open_pidfd(2);
	ASSERT_LE(0, pidfd);
	EXPECT_EQ(-ESRCH, alloc_process(self->ctx, dev_id, pidfd, &hwpt_id));
	close(pidfd);
	/* one that has ended, before somebody asks how and after that */
	ASSERT_EQ(0, child_start(&child));
	kill(child.pid, SIGKILL);
	ASSERT_EQ(0, waitid(P_PID, child.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT));
	EXPECT_EQ(-ESRCH, alloc_process(self->ctx, dev_id, child.pidfd, &hwpt_id));
	ASSERT_EQ(child.pid, waitpid(child.pid, NULL, 0));
	EXPECT_EQ(-ESRCH, alloc_process(self->ctx, dev_id, child.pidfd, &hwpt_id));
	child.pid = 0;
	child_end(&child);
}

/* No more than so many of one process, however many others have */
TEST_VSVA(limit)
{
	__u32 dev_id = iopf_dev_id(self->ep.dev), hwpt_id[NR_HWPTS + 1];
	struct child child;
	int i, round;

	ASSERT_EQ(0, child_start(&child));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < NR_HWPTS; i++)
			ASSERT_EQ(0, alloc_process(self->ctx, dev_id, child.pidfd,
						   &hwpt_id[i]));
		EXPECT_EQ(-ENOSPC, alloc_process(self->ctx, dev_id, child.pidfd,
						 &hwpt_id[i]));
		ASSERT_EQ(0, alloc_process(self->ctx, dev_id, IOPF_PROCESS_SELF,
					   &hwpt_id[i]));
		ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id[i]));
		while (i--)
			ASSERT_LIB(iopf_destroy(self->ctx, hwpt_id[i]));
	}
	child_end(&child);
}

static int alloc_error(int fd, void *arg)
{
	return ioctl(fd, IOPF_HWPT_ALLOC_PROCESS, arg) ? errno : 0;
}

TEST_VSVA(bad_arguments)
{
	struct {
		struct iopf_hwpt_alloc_process cmd;
		__u64 more;
	} arg = {
		.cmd.dev_id = iopf_dev_id(self->ep.dev),
		.cmd.pidfd = IOPF_PROCESS_SELF,
	};
	struct iopf_hwpt_alloc_process *cmd = &arg.cmd;
	int fd = iopf_ctx_fd(self->ctx);

	cmd->size = sizeof(*cmd) - 4;
	ASSERT_EQ(EINVAL, alloc_error(fd, &arg));
	cmd->size = sizeof(arg);
	arg.more = 1;
	ASSERT_EQ(E2BIG, alloc_error(fd, &arg));
	arg.more = 0;
	ASSERT_EQ(0, alloc_error(fd, &arg));
	ASSERT_LIB(iopf_destroy(self->ctx, cmd->out_hwpt_id));
	cmd->size = sizeof(*cmd);
	cmd->flags = 1;
	ASSERT_EQ(EOPNOTSUPP, alloc_error(fd, &arg));
	cmd->flags = 0;
	cmd->__reserved = 1;
	ASSERT_EQ(EOPNOTSUPP, alloc_error(fd, &arg));
	cmd->__reserved = 0;
	cmd->dev_id = 0;
	ASSERT_EQ(ENOENT, alloc_error(fd, &arg));
	cmd->dev_id = self->own;
	ASSERT_EQ(ENOENT, alloc_error(fd, &arg));
	/* other numbers of the type */
	ASSERT_EQ(-1, ioctl(fd, _IO(0xFB, 0x80), &arg));
	ASSERT_EQ(ENOTTY, errno);
	ASSERT_EQ(-1, ioctl(fd, _IO(0xFB, 0x1f), &arg));
	ASSERT_EQ(ENOTTY, errno);
	ASSERT_EQ(-1, ioctl(fd, IOPF_HWPT_ALLOC_PROCESS, NULL));
	ASSERT_EQ(EFAULT, errno);
}

/* What the program cannot be told of does not stay, nor attached. */
TEST_VSVA(read_only_argument)
{
	struct vfio_device_attach_iommufd_pt *attach;
	struct iopf_hwpt_alloc_process *cmd = map(PAGE);
	int fd = iopf_ctx_fd(self->ctx), i;
	__u32 before, after, *word;

	ASSERT_EQ(0, alloc_process(self->ctx, iopf_dev_id(self->ep.dev),
				   IOPF_PROCESS_SELF, &before));
	ASSERT_LIB(iopf_destroy(self->ctx, before));
	cmd->size = sizeof(*cmd);
	cmd->dev_id = iopf_dev_id(self->ep.dev);
	cmd->pidfd = IOPF_PROCESS_SELF;
	ASSERT_EQ(0, mprotect(cmd, PAGE, PROT_READ));
	for (i = 0; i < 2 * NR_HWPTS; i++) {
		ASSERT_EQ(-1, ioctl(fd, IOPF_HWPT_ALLOC_PROCESS, cmd));
		ASSERT_EQ(EFAULT, errno);
	}
	ASSERT_EQ(0, alloc_process(self->ctx, iopf_dev_id(self->ep.dev),
				   IOPF_PROCESS_SELF, &after));
	EXPECT_EQ(before, after);
	word = map(PAGE);
	attach = (void *)word;
	attach->argsz = 16;
	attach->flags = 1;
	attach->pt_id = after;
	word[3] = PASID;
	ASSERT_EQ(0, mprotect(word, PAGE, PROT_READ));
	ASSERT_EQ(-1, ioctl(iopf_dev_fd(self->ep.dev),
			    VFIO_DEVICE_ATTACH_IOMMUFD_PT, word));
	ASSERT_EQ(EFAULT, errno);
	/* else it would be busy */
	ASSERT_LIB(iopf_destroy(self->ctx, after));
}

TEST_HARNESS_MAIN

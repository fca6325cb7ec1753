// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared virtual addresses: the emulated test endpoint 1234:11f0 works on this
 * program's memory at its virtual addresses, through the sample driver
 * samples/iommu and the kernel's own SVA code.
 *
 * The endpoint keeps translations in a cache like hardware does. So whenever
 * the kernel takes a page away and does not have the cache invalidated, the
 * endpoint goes on with the old page, and the data are wrong.
 *
 * Where the kernel refuses SVA, that is tested and the rest is skipped. Nothing
 * depends on timing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* mremap(), memfd_create() */
#endif
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "iopf_bond.h"
#include "iopf_console.h"
#include "iopf_failing.h"
#include "iopf_held.h"
#include "iopf_sysfs.h"

#define TEST_SECONDS	900

#define BASE		((char *)0x10000000000)
#define HUGE		(2UL << 20)
#define NR_PROCESSES	16

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define TEST_SVA(name) TEST_F_TIMEOUT(sva, name, TEST_SECONDS)

/* In a child process, whose exit code is the result. */
#define CHECK(cond) do { \
	if (!(cond)) { \
		fprintf(stderr, "# line %d: %s: false\n", __LINE__, #cond); \
		_exit(1); \
	} \
} while (0)

/* The physical page of an address, 0 if there is none. */
static __u64 page_frame(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (pread(fd, &entry, 8, (uintptr_t)addr / PAGE * 8) != 8)
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* Without SVA: the kernel says so, and nothing else happens. */
TEST(bind_refused)
{
	struct iopf_sva_info info;
	int fd, ret;

	fd = sva_open(DEVICE);
	if (fd < 0)
		SKIP(return, "no %s: %s", DEVICE, strerror(-fd));
	ret = sva_bind(fd, NULL);
	if (!ret)
		SKIP(return, "this kernel has SVA");
	ASSERT_EQ(-EOPNOTSUPP, ret);
	ASSERT_EQ(-EOPNOTSUPP, sva_bind(fd, NULL));
	EXPECT_EQ(-ENOTCONN, sva_unbind(fd));
	EXPECT_EQ(-ENOTCONN, sva_submit(fd, IOPF_SVA_FILL, BASE, 8, 0));
	ASSERT_EQ(0, ioctl(fd, IOPF_SVA_INFO, &info));
	EXPECT_EQ(0, info.bound);
	EXPECT_EQ(0, info.requests);
	close(fd);
}

FIXTURE(sva)
{
	struct iopf_sva_info before;
	int fd;
	__u32 pasid;
};

FIXTURE_SETUP(sva)
{
	int ret;

	self->fd = sva_open(DEVICE);
	if (self->fd < 0)
		SKIP(return, "no %s: %s", DEVICE, strerror(-self->fd));
	ret = sva_bind(self->fd, &self->pasid);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "this kernel refuses SVA");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, bond_look(self->fd, &self->before));
}

FIXTURE_TEARDOWN(sva)
{
	sva_unbind(self->fd);
	EXPECT_TRUE(all_answered(self->fd));
	close(self->fd);
}

/* ---- data -------------------------------------------------------------- */

TEST_SVA(writes_untouched_memory)
{
	char *mem = map(1 << 20);

	ASSERT_OK(fill(self->fd, mem, 1 << 20, SEED));
	EXPECT_TRUE(page_was_missed(self->fd, &self->before));
	ASSERT_PATTERN(mem, 1UL << 20, SEED);
}

TEST_SVA(reads_untouched_memory)
{
	char *mem = map(8 * PAGE), *copy = map(8 * PAGE);

	memset(copy, 0x55, 8 * PAGE);
	ASSERT_OK(transfer(self->fd, IOPF_SVA_READ, mem, 8 * PAGE, 0));
	EXPECT_TRUE(page_was_missed(self->fd, &self->before));
	ASSERT_OK(transfer(self->fd, IOPF_SVA_WRITE, copy, 8 * PAGE, 0));
	EXPECT_TRUE(is_zero(copy, 8 * PAGE));
	/* what was read was the zero page: a write gives it a page of its own */
	testdev_pattern(mem, 8 * PAGE, SEED, 0);
	ASSERT_OK(compare(self->fd, mem, 8 * PAGE, SEED));
}

TEST_SVA(reads_what_was_written)
{
	char *mem = map(16 * PAGE);

	testdev_pattern(mem, 16 * PAGE, SEED, 0);
	ASSERT_OK(compare(self->fd, mem, 16 * PAGE, SEED));
	mem[9 * PAGE + 7] ^= 1;
	ASSERT_EQ(IOPF_SVA_MISMATCH,
		  compare(self->fd, mem, 16 * PAGE, SEED));
	EXPECT_EQ((uintptr_t)mem + 9 * PAGE + 7, last.fail_addr);
}

TEST_SVA(copies_odd_ranges)
{
	char *mem = map(12 * PAGE), *copy = mem + 6 * PAGE;
	size_t length = 3 * PAGE + 1234;

	testdev_pattern(mem + 4093, length, SEED, 0);
	ASSERT_OK(transfer(self->fd, IOPF_SVA_READ, mem + 4093, length, 0));
	ASSERT_OK(transfer(self->fd, IOPF_SVA_WRITE, copy + 17, length, 0));
	ASSERT_PATTERN(copy + 17, length, SEED);
	EXPECT_TRUE(is_zero(copy, 17));
	EXPECT_TRUE(is_zero(copy + 17 + length, PAGE));
}

TEST_SVA(adds)
{
	__u64 *mem = (__u64 *)map(PAGE);

	mem[3] = 40;
	ASSERT_OK(transfer(self->fd, IOPF_SVA_FETCH_ADD, &mem[3], 8, 2));
	EXPECT_EQ(42, mem[3]);
	ASSERT_OK(transfer(self->fd, IOPF_SVA_FETCH_ADD, &mem[3], 8, -43));
	EXPECT_EQ(-1, (__s64)mem[3]);
	ASSERT_OK(transfer(self->fd, IOPF_SVA_WRITE, &mem[4], 8, 0));
	EXPECT_EQ(42, mem[4]);
}

/* More than the endpoint's cache holds, and four transfers at once. */
TEST_SVA(large_ranges)
{
	size_t quarter = 8 << 20;
	char *mem = map(4 * quarter);
	int ticket[4], i;

	for (i = 0; i < 4; i++)
		ticket[i] = sva_submit(self->fd, IOPF_SVA_FILL,
				       mem + i * quarter, quarter, SEED + i);
	ASSERT_EQ(-EBUSY, sva_submit(self->fd, IOPF_SVA_FILL, mem, 8, 0));
	for (i = 0; i < 4; i++)
		ASSERT_OK(sva_wait(self->fd, ticket[i]));
	for (i = 0; i < 4; i++) {
		ASSERT_PATTERN(mem + i * quarter, quarter, SEED + i);
		ASSERT_OK(compare(self->fd, mem + i * quarter, quarter,
				  SEED + i));
	}
}

/* ---- what must be refused ------------------------------------------------ */

TEST_SVA(write_to_read_only_memory)
{
	char *mem = map(4 * PAGE);

	testdev_pattern(mem, 4 * PAGE, SEED, 0);
	ASSERT_EQ(0, mprotect(mem, 4 * PAGE, PROT_READ));
	ASSERT_REFUSED(fill(self->fd, mem, 4 * PAGE, ~SEED));
	EXPECT_EQ(0, last.done);
	EXPECT_EQ((uintptr_t)mem, last.fail_addr);
	ASSERT_PATTERN(mem, 4 * PAGE, SEED);
	ASSERT_OK(compare(self->fd, mem, 4 * PAGE, SEED));
	/* now that the cache has a translation that is for reading */
	ASSERT_REFUSED(fill(self->fd, mem, 4 * PAGE, ~SEED));
	ASSERT_PATTERN(mem, 4 * PAGE, SEED);
}

TEST_SVA(unmapped_memory)
{
	char *mem = map(4 * PAGE);

	ASSERT_EQ(0, munmap(mem + 2 * PAGE, PAGE));
	ASSERT_REFUSED(fill(self->fd, mem, 4 * PAGE, SEED));
	EXPECT_EQ(2 * PAGE, last.done);
	EXPECT_EQ((uintptr_t)mem + 2 * PAGE, last.fail_addr);
	ASSERT_PATTERN(mem, 2 * PAGE, SEED);
	EXPECT_TRUE(is_zero(mem + 3 * PAGE, PAGE));
	ASSERT_REFUSED(compare(self->fd, mem + 2 * PAGE, 8, SEED));
	/* the next one is not affected */
	ASSERT_OK(fill(self->fd, mem + 3 * PAGE, PAGE, SEED));
}

TEST_SVA(memory_without_access)
{
	char *mem = map(PAGE);

	testdev_pattern(mem, PAGE, SEED, 0);
	ASSERT_OK(compare(self->fd, mem, PAGE, SEED));
	ASSERT_EQ(0, mprotect(mem, PAGE, PROT_NONE));
	ASSERT_REFUSED(compare(self->fd, mem, PAGE, SEED));
	ASSERT_REFUSED(fill(self->fd, mem, PAGE, ~SEED));
	ASSERT_EQ(0, mprotect(mem, PAGE, PROT_READ | PROT_WRITE));
	ASSERT_PATTERN(mem, PAGE, SEED);
	ASSERT_OK(fill(self->fd, mem, PAGE, SEED));
}

/* Neither the kernel's half, nor what is no address, nor the interrupt range */
TEST_SVA(addresses_of_no_process)
{
	static const __u64 addr[] = {
		0xffffffff81000000, 0xffff888000100000, 0xfffffffffffff000,
		0x0000800000000000, 0x8000000000000000, 0, 0xfee00000,
	};
	unsigned int i;
	int status;

	expect_dma_faults(DMA_ANY_DEVICE, DMA_ANY_PASID, "80+", DMA_NO_ADDRESS);
	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		status = fill(self->fd, (void *)(uintptr_t)addr[i], 8, SEED);
		EXPECT_LT(IOPF_SVA_OK, status)
			TH_LOG("%#llx: %s", addr[i], status_name(status));
		EXPECT_EQ(0, last.done);
		status = compare(self->fd, (void *)(uintptr_t)addr[i], 8, SEED);
		EXPECT_LT(IOPF_SVA_OK, status);
		EXPECT_NE(IOPF_SVA_MISMATCH, status);
	}
	expect_no_more_on_console();
}

static int ktable(int fd, __u32 step, __u64 *addr)
{
	struct iopf_sva_ktable ktable = { .step = step };

	if (ioctl(fd, IOPF_SVA_KTABLE, &ktable))
		return -errno;
	*addr = ktable.addr;
	return 0;
}

/* Without a page request, with which the IOMMU forgets what is on the way. */
static int read_silently(int fd, __u64 addr)
{
	struct iopf_sva_submit submit = {
		.opcode = IOPF_SVA_READ,
		.flags = IOPF_SVA_NO_FAULT,
		.addr = addr,
		.length = 8,
	};

	if (ioctl(fd, IOPF_SVA_SUBMIT, &submit))
		return -errno;
	return sva_wait(fd, submit.ticket);
}

/*
 * The kernel takes a page table of its own away that the IOMMU has walked, and the page
 * becomes what looks like a table that lets the device in. The driver looks for that very
 * page among the free ones, which others may have taken: so it tries again.
 */
TEST_SVA(kernel_tables)
{
	int round, tries = 100, ret = -EAGAIN;
	__u64 addr, same;

	for (round = 0; round < 5 && tries; round += !ret) {
		ret = ktable(self->fd, IOPF_SVA_KTABLE_MAKE, &addr);
		if (ret == -EOPNOTSUPP)
			SKIP(return, "no device walks tables of this kernel");
		if (ret == -EAGAIN && tries--)
			continue;
		ASSERT_EQ(0, ret);
		ASSERT_EQ(IOPF_SVA_NO_ACCESS, read_silently(self->fd, addr));
		ret = ktable(self->fd, IOPF_SVA_KTABLE_REPLACE, &same);
		if (!ret) {
			ASSERT_EQ(addr, same);
			ASSERT_EQ(IOPF_SVA_NO_ACCESS,
				  read_silently(self->fd, addr));
		}
		ASSERT_EQ(0, ktable(self->fd, IOPF_SVA_KTABLE_FREE, &same));
		if (ret) {
			ASSERT_EQ(-EAGAIN, ret);
			tries--;
		}
	}
	/* Not with this series, which has pages waited for. */
	if (ret)
		SKIP(return, "the page of the table has not become free");
}

TEST_SVA(no_fault_flag)
{
	struct iopf_sva_submit submit = {
		.opcode = IOPF_SVA_FILL,
		.flags = IOPF_SVA_NO_FAULT,
		.length = PAGE,
	};
	char *mem = map(PAGE);

	if (refusal != IOPF_SVA_INVALID)
		SKIP(return, "the IOMMU holds accesses, whether or not they say so");
	submit.addr = (uintptr_t)mem;
	ASSERT_EQ(0, ioctl(self->fd, IOPF_SVA_SUBMIT, &submit));
	ASSERT_EQ(IOPF_SVA_NO_ACCESS, sva_wait(self->fd, submit.ticket));
	EXPECT_EQ(0, last.nr_pr);
	mem[0] = 1;
	ASSERT_EQ(0, ioctl(self->fd, IOPF_SVA_SUBMIT, &submit));
	ASSERT_OK(sva_wait(self->fd, submit.ticket));
}

/* ---- pages that move while the endpoint has them cached -------------------- */

TEST_SVA(munmap_and_map_again)
{
	size_t length = 8 * PAGE;
	__u32 seed;
	char *mem;

	for (seed = SEED; seed < SEED + 200; seed += 2) {
		mem = map_at(BASE, length);
		ASSERT_EQ(BASE, mem);
		testdev_pattern(mem, length, seed, 0);
		ASSERT_OK(compare(self->fd, mem, length, seed));
		ASSERT_OK(fill(self->fd, mem, length, seed + 1));
		ASSERT_PATTERN(mem, length, seed + 1);
		ASSERT_EQ(0, munmap(mem, length));
		ASSERT_REFUSED(fill(self->fd, mem, length, seed));
	}
}

/* Map new memory over the old, so that no moment without any lies between. */
TEST_SVA(map_over)
{
	size_t length = 8 * PAGE;
	__u32 seed;
	char *mem;

	for (seed = SEED; seed < SEED + 200; seed += 2) {
		mem = map_at(BASE, length);
		ASSERT_OK(fill(self->fd, mem, length, seed));
		ASSERT_PATTERN(mem, length, seed);
		mem = map_at(BASE, length);
		ASSERT_TRUE(is_zero(mem, length));
		testdev_pattern(mem, length, seed + 1, 0);
		ASSERT_OK(compare(self->fd, mem, length, seed + 1));
	}
}

TEST_SVA(dontneed)
{
	size_t length = 8 * PAGE;
	char *mem = map(length), *copy = map(length);
	int i;

	for (i = 0; i < 100; i++) {
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		ASSERT_EQ(0, madvise(mem, length, MADV_DONTNEED));
		ASSERT_OK(transfer(self->fd, IOPF_SVA_READ, mem, length, 0));
		ASSERT_OK(transfer(self->fd, IOPF_SVA_WRITE, copy, length, 0));
		ASSERT_TRUE(is_zero(copy, length));
		ASSERT_TRUE(is_zero(mem, length));
		testdev_pattern(mem, length, ~SEED - i, 0);
		ASSERT_OK(compare(self->fd, mem, length, ~SEED - i));
	}
}

TEST_SVA(mprotect)
{
	size_t length = 8 * PAGE;
	char *mem = map(length);
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		ASSERT_EQ(0, mprotect(mem, length, PROT_READ));
		ASSERT_REFUSED(fill(self->fd, mem, length, ~SEED));
		ASSERT_PATTERN(mem, length, SEED + i);
		ASSERT_OK(compare(self->fd, mem, length, SEED + i));
		ASSERT_EQ(0, mprotect(mem, length, PROT_READ | PROT_WRITE));
	}
}

TEST_SVA(mremap)
{
	size_t length = 8 * PAGE;
	char *to = BASE + HUGE, *mem;
	int i;

	for (i = 0; i < 50; i++) {
		mem = map_at(BASE, length);
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		ASSERT_EQ(to, mremap(mem, length, length,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		ASSERT_REFUSED(fill(self->fd, mem, length, ~SEED));
		ASSERT_OK(compare(self->fd, to, length, SEED + i));
		/* other memory at the old address, the old memory elsewhere */
		mem = map_at(BASE, length);
		ASSERT_OK(fill(self->fd, mem, length, ~SEED));
		ASSERT_PATTERN(to, length, SEED + i);
		ASSERT_OK(fill(self->fd, to, length, SEED - i));
		ASSERT_PATTERN(mem, length, ~SEED);
	}
}

/* Whole page tables go, with what the IOMMU has cached of them. */
TEST_SVA(page_tables_come_and_go)
{
	size_t length = 16 * PAGE;
	char *mem;
	int i;

	for (i = 0; i < 50; i++) {
		mem = map_at(BASE + ((size_t)(i % 5) << 39), length);
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		ASSERT_PATTERN(mem, length, SEED + i);
		ASSERT_EQ(0, munmap(mem, length));
		/* pages for whoever gets those of the tables */
		mem = map(HUGE);
		memset(mem, 0xff, HUGE);
		ASSERT_REFUSED(compare(self->fd,
				       BASE + ((size_t)(i % 5) << 39), 8, 0));
		munmap(mem, HUGE);
	}
}

/* Move pages to another memory node. Returns how many are there, or -errno. */
static int move_to(char *mem, size_t nr_pages, int node)
{
	void **page = calloc(nr_pages, sizeof(*page));
	int *nodes = calloc(nr_pages, sizeof(*nodes));
	int *status = calloc(nr_pages, sizeof(*status));
	int arrived = 0;
	size_t i;

	for (i = 0; i < nr_pages; i++) {
		page[i] = mem + i * PAGE;
		nodes[i] = node;
	}
	if (syscall(SYS_move_pages, 0, nr_pages, page, nodes, status,
		    MPOL_MF_MOVE) < 0)
		arrived = -errno;
	for (i = 0; i < nr_pages && arrived >= 0; i++)
		arrived += status[i] == node;
	free(page);
	free(nodes);
	free(status);
	return arrived;
}

/*
 * Until all of them are there: a page that somebody holds for a moment stays
 * where it is, and has to be asked for again.
 */
static int move_all_to(char *mem, int nr_pages, int node)
{
	int arrived, tries = 10000;

	do {
		arrived = move_to(mem, nr_pages, node);
		if (arrived < 0 || arrived == nr_pages)
			break;
		usleep(1000);
	} while (--tries);
	return arrived;
}

TEST_SVA(migration)
{
	int nr_pages = 64, i;
	size_t length = nr_pages * PAGE;
	char *mem = map(length);
	__u64 frame;

	madvise(mem, length, MADV_NOHUGEPAGE);
	memset(mem, 1, length);
	i = move_all_to(mem, nr_pages, 1);
	if (i < 0)
		SKIP(return, "takes two memory nodes: %s", strerror(-i));
	/* else the first move below would leave some where they are */
	ASSERT_EQ(nr_pages, i);
	for (i = 0; i < 20; i++) {
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		frame = page_frame(mem);
		ASSERT_EQ(nr_pages, move_all_to(mem, nr_pages, i % 2));
		ASSERT_NE(frame, page_frame(mem));
		ASSERT_PATTERN(mem, length, SEED + i);
		ASSERT_OK(compare(self->fd, mem, length, SEED + i));
		testdev_pattern(mem, length, ~SEED - i, 0);
		ASSERT_OK(compare(self->fd, mem, length, ~SEED - i));
	}
}

/* Not a word of what the endpoint writes meanwhile may be lost. */
TEST_SVA(migration_in_flight)
{
	int nr_pages = 512, ticket, i, j;
	size_t length = nr_pages * PAGE;
	struct iopf_sva_wait wait;
	char *mem = map(length);

	madvise(mem, length, MADV_NOHUGEPAGE);
	memset(mem, 1, length);
	if (move_to(mem, nr_pages, 1) < 0)
		SKIP(return, "takes two memory nodes: %s", strerror(errno));
	for (i = 0; i < 10; i++) {
		ticket = sva_submit(self->fd, IOPF_SVA_FILL, mem, length,
				    SEED + i);
		wait = (struct iopf_sva_wait){
			.ticket = ticket,
			.flags = IOPF_SVA_NOWAIT,
		};
		for (j = 0; ioctl(self->fd, IOPF_SVA_WAIT, &wait); j++) {
			ASSERT_EQ(EAGAIN, errno);
			ASSERT_LE(0, move_to(mem, nr_pages, j % 2));
		}
		ASSERT_EQ(IOPF_SVA_OK, wait.status)
			TH_LOG("%s", status_name(wait.status));
		ASSERT_PATTERN(mem, length, SEED + i);
	}
}

static bool is_huge(const char *mem)
{
	__u64 first = page_frame(mem);

	return first && !(first % (HUGE / PAGE)) &&
	       page_frame(mem + HUGE - PAGE) == first + HUGE / PAGE - 1;
}

/* Small pages become a huge one, with the same content elsewhere. */
TEST_SVA(huge_page_collapse)
{
	char *mem = map_at(BASE, HUGE);
	__u64 frame;

	madvise(mem, HUGE, MADV_NOHUGEPAGE);
	ASSERT_OK(fill(self->fd, mem, HUGE, SEED));
	frame = page_frame(mem);
	madvise(mem, HUGE, MADV_HUGEPAGE);
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_COLLAPSE));
	ASSERT_TRUE(is_huge(mem));
	ASSERT_NE(frame, page_frame(mem + PAGE) - 1);
	ASSERT_OK(compare(self->fd, mem, HUGE, SEED));
	testdev_pattern(mem, HUGE, ~SEED, 0);
	ASSERT_OK(compare(self->fd, mem, HUGE, ~SEED));
	ASSERT_OK(fill(self->fd, mem, HUGE, SEED + 1));
	ASSERT_PATTERN(mem, HUGE, SEED + 1);
}

/* A huge page loses its middle; the endpoint may have it as one entry. */
TEST_SVA(huge_page_split)
{
	char *mem = map_at(BASE, HUGE), *hole = mem + HUGE / 2;

	madvise(mem, HUGE, MADV_HUGEPAGE);
	mem[0] = 1;
	ASSERT_TRUE(is_huge(mem));
	ASSERT_OK(fill(self->fd, mem, HUGE, SEED));
	ASSERT_PATTERN(mem, HUGE, SEED);
	ASSERT_EQ(0, madvise(hole, PAGE, MADV_DONTNEED));
	ASSERT_TRUE(is_zero(hole, PAGE));
	testdev_pattern(hole, PAGE, ~SEED, 0);
	ASSERT_OK(compare(self->fd, hole, PAGE, ~SEED));
	ASSERT_OK(compare(self->fd, mem, HUGE / 2, SEED));
	ASSERT_EQ(0, munmap(hole, PAGE));
	ASSERT_REFUSED(compare(self->fd, hole, PAGE, ~SEED));
	ASSERT_OK(compare(self->fd, mem, HUGE / 2, SEED));
	ASSERT_OK(fill(self->fd, hole + PAGE, HUGE / 2 - PAGE, SEED));
}

TEST_SVA(shared_file)
{
	int file = memfd_create("iopf_sva", MFD_CLOEXEC);
	char *mem, *text = map(4 * PAGE);

	ASSERT_EQ(0, ftruncate(file, 4 * PAGE));
	mem = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_OK(fill(self->fd, mem, 4 * PAGE, SEED));
	ASSERT_EQ(4 * PAGE, pread(file, text, 4 * PAGE, 0));
	ASSERT_PATTERN(text, 4 * PAGE, SEED);
	/* write() reaches the pages that the endpoint has cached */
	testdev_pattern(text, 4 * PAGE, ~SEED, 0);
	ASSERT_EQ(4 * PAGE, pwrite(file, text, 4 * PAGE, 0));
	ASSERT_OK(compare(self->fd, mem, 4 * PAGE, ~SEED));
	/* new pages after a truncation, and none beyond the end */
	ASSERT_EQ(0, ftruncate(file, 0));
	ASSERT_REFUSED(compare(self->fd, mem, 8, ~SEED));
	ASSERT_EQ(0, ftruncate(file, 2 * PAGE));
	testdev_pattern(text, 2 * PAGE, SEED, 0);
	ASSERT_EQ(2 * PAGE, pwrite(file, text, 2 * PAGE, 0));
	ASSERT_OK(compare(self->fd, mem, 2 * PAGE, SEED));
	ASSERT_REFUSED(fill(self->fd, mem + 2 * PAGE, 8, SEED));
	close(file);
}

/* Memory goes while the endpoint is at it: an end of some kind, and no harm. */
/* Kilobytes of a line of smaps, of the mapping at an address; -1 if it is not there. */
static long smaps_kb(const void *addr, const char *key)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start;
	bool here = false;
	char line[256];
	long kb = -1;

	while (f && kb < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-", &start) == 1 && strchr(line, '-') &&
		    strchr(line, '-') < strchr(line, ' '))
			here = start == (uintptr_t)addr;
		else if (here && !strncmp(line, key, strlen(key)))
			kb = atol(line + strlen(key));
	}
	if (f)
		fclose(f);
	return kb;
}

/* Have no page of this process been accessed, as far as its page tables say. */
static bool forget_accesses(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	close(fd);
	return done;
}

/*
 * Pages that are there need no page fault to be marked as accessed, or as written to,
 * where the IOMMU does that itself. Where it does not the device has to ask.
 */
TEST_SVA(marks_pages)
{
	size_t length = 8 * PAGE;
	struct iopf_sva_info info, after;
	char *mem, *file;
	bool marks;
	int fd;

	ASSERT_EQ(0, bond_look(self->fd, &info));
	marks = info.marks;
	mem = map(length);
	madvise(mem, length, MADV_NOHUGEPAGE);
	testdev_pattern(mem, length, SEED, 0);
	fd = memfd_create("marks", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(fd, length));
	file = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	ASSERT_EQ(0, madvise(file, length, MADV_POPULATE_READ));
	ASSERT_EQ(0, smaps_kb(file, "Private_Dirty:"));

	ASSERT_TRUE(forget_accesses());
	ASSERT_EQ(0, smaps_kb(mem, "Referenced:"));
	ASSERT_OK(compare(self->fd, mem, length, SEED));
	ASSERT_EQ((long)length / 1024, smaps_kb(mem, "Referenced:"));
	ASSERT_EQ(0, bond_look(self->fd, &after));
	EXPECT_EQ(!marks, after.requests + after.held != info.requests + info.held);

	ASSERT_EQ(0, bond_look(self->fd, &info));
	ASSERT_OK(fill(self->fd, file, length, SEED));
	ASSERT_EQ((long)length / 1024, smaps_kb(file, "Private_Dirty:"));
	ASSERT_EQ(0, bond_look(self->fd, &after));
	EXPECT_EQ(!marks, after.requests + after.held != info.requests + info.held);
	ASSERT_PATTERN(file, length, SEED);
	munmap(file, length);
	close(fd);
}

TEST_SVA(munmap_in_flight)
{
	size_t length = 2 << 20;
	int i, ticket[2], status;
	char *mem;

	for (i = 0; i < 30; i++) {
		mem = map_at(BASE, length);
		madvise(mem, length, MADV_NOHUGEPAGE);
		ticket[0] = sva_submit(self->fd, IOPF_SVA_FILL, mem, length,
				       SEED);
		ticket[1] = sva_submit(self->fd, IOPF_SVA_COMPARE, mem, length,
				       SEED);
		/* wait for a sign of the endpoint's progress, now and then */
		while (i % 2 && !__atomic_load_n(mem + i * PAGE + 3,
						 __ATOMIC_RELAXED))
			;
		ASSERT_EQ(0, munmap(mem, length));
		status = sva_wait(self->fd, ticket[0]);
		ASSERT_TRUE(status == IOPF_SVA_OK ||
			    status == refusal)
			TH_LOG("%s", status_name(status));
		status = sva_wait(self->fd, ticket[1]);
		ASSERT_TRUE(status == IOPF_SVA_OK ||
			    status == IOPF_SVA_MISMATCH ||
			    status == refusal)
			TH_LOG("%s", status_name(status));
		/* nothing may come any more */
		mem = map_at(BASE, length);
		ASSERT_TRUE(is_zero(mem, length));
	}
}

/* ---- processes ------------------------------------------------------------- */

/* A child that looks at its memory when it is told to. */
static pid_t fork_checker(int gate[2], const char *mem, size_t length,
			  __u32 seed)
{
	pid_t pid;
	char go;

	if (pipe(gate))
		return -1;
	pid = fork();
	if (pid)
		return pid;
	CHECK(read(gate[0], &go, 1) == 1);
	CHECK(testdev_pattern_check(mem, length, seed, 0) == length);
	_exit(0);
}

static bool check_child(pid_t pid, int gate[2])
{
	bool good = write(gate[1], "", 1) == 1 && exited_well(pid);

	close(gate[0]);
	close(gate[1]);
	return good;
}

/*
 * After a fork both have the page until one writes: @write_all does, and the child
 * still sees what was there before.
 */
static bool write_after_fork(int fd, char *mem, size_t length, __u32 seed,
			     int (*write_all)(int fd, void *mem, size_t length,
					      __u32 seed))
{
	int gate[2];
	pid_t pid;
	bool good;

	if (fill(fd, mem, length, seed) != IOPF_SVA_OK)
		return false;
	pid = fork_checker(gate, mem, length, seed);
	if (pid < 0)
		return false;
	good = write_all(fd, mem, length, ~seed) == IOPF_SVA_OK &&
	       testdev_pattern_check(mem, length, ~seed, 0) == length;
	return check_child(pid, gate) && good;
}

TEST_SVA(fork_then_device_writes)
{
	size_t length = 8 * PAGE;
	char *mem = map(length);
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_TRUE(write_after_fork(self->fd, mem, length, SEED + i,
					     fill));
	}
}

/* The program gets a new page: the endpoint has to follow, for both ways. */
static int write_and_follow(int fd, void *mem, size_t length, __u32 seed)
{
	int ret;

	ret = compare(fd, mem, length, ~seed);
	if (ret != IOPF_SVA_OK)
		return ret;
	testdev_pattern(mem, length, ~seed - 1, 0);
	ret = compare(fd, mem, length, ~seed - 1);
	return ret == IOPF_SVA_OK ? fill(fd, mem, length, seed) : ret;
}

TEST_SVA(fork_then_program_writes)
{
	size_t length = 8 * PAGE;
	char *mem = map(length);
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_TRUE(write_after_fork(self->fd, mem, length, SEED + i,
					     write_and_follow));
	}
}

/* The child's writes must not reach what the endpoint sees. */
TEST_SVA(fork_then_child_writes)
{
	size_t length = 8 * PAGE;
	char *mem = map(length);
	pid_t pid;

	ASSERT_OK(fill(self->fd, mem, length, SEED));
	pid = fork();
	if (!pid) {
		testdev_pattern(mem, length, ~SEED, 0);
		_exit(0);
	}
	ASSERT_TRUE(exited_well(pid));
	ASSERT_OK(compare(self->fd, mem, length, SEED));
	ASSERT_PATTERN(mem, length, SEED);
}

/* A file that is bound is of no use to any other process. */
TEST_SVA(file_in_a_child)
{
	char *mem = map(PAGE);
	int ticket, fd = self->fd;
	pid_t pid;

	ticket = sva_submit(fd, IOPF_SVA_FILL, mem, PAGE, SEED);
	ASSERT_LE(0, ticket);
	pid = fork();
	if (!pid) {
		CHECK(sva_submit(fd, IOPF_SVA_FILL, mem, 8, 0) == -EPERM);
		CHECK(sva_wait(fd, ticket) == -EPERM);
		CHECK(sva_bind(fd, NULL) == -EPERM);
		CHECK(sva_unbind(fd) == -EPERM);
		close(fd);
		_exit(0);
	}
	ASSERT_TRUE(exited_well(pid));
	ASSERT_OK(sva_wait(fd, ticket));
	ASSERT_PATTERN(mem, PAGE, SEED);
}

/* One process of many with the same addresses */
static void many_work(__u32 seed)
{
	size_t length = 8 * PAGE;
	int fd = sva_open(DEVICE), i;
	char *mem;

	CHECK(fd >= 0);
	CHECK(!sva_bind(fd, NULL));
	for (i = 0; i < 10; i++, seed++) {
		mem = map_at(BASE, length);
		CHECK(fill(fd, mem, length, seed) == IOPF_SVA_OK);
		CHECK(testdev_pattern_check(mem, length, seed, 0) == length);
		testdev_pattern(mem, length, ~seed, 0);
		CHECK(compare(fd, mem, length, ~seed) == IOPF_SVA_OK);
		CHECK(!munmap(mem, length));
	}
	_exit(0);
}

TEST_SVA(many_processes)
{
	size_t length = 8 * PAGE;
	char *mem = map_at(BASE, length);
	pid_t pid[NR_PROCESSES];
	int i;

	testdev_pattern(mem, length, SEED, 0);
	for (i = 0; i < NR_PROCESSES; i++) {
		pid[i] = fork();
		if (!pid[i])
			many_work(i << 16);
	}
	for (i = 0; i < 20; i++)
		EXPECT_EQ(IOPF_SVA_OK, compare(self->fd, mem, length, SEED));
	for (i = 0; i < NR_PROCESSES; i++)
		EXPECT_TRUE(exited_well(pid[i]));
	ASSERT_PATTERN(mem, length, SEED);
}

/* Bind, say which PASID, and stay until the gate is closed. */
static void stay_bound(int tell, int gate)
{
	__u32 pasid = 0;
	char end;
	int fd = sva_open(DEVICE), ret;

	ret = sva_bind(fd, &pasid);
	if (ret)
		pasid = ret;
	CHECK(write(tell, &pasid, 4) == 4);
	CHECK(read(gate, &end, 1) == 0);
	_exit(0);
}

/*
 * Start a process that stays bound until @gate is closed. @pasid is a negative errno
 * if it could not bind.
 */
static pid_t fork_bound(const int *gate, __s32 *pasid)
{
	int tell[2];
	pid_t pid;

	if (pipe(tell))
		return -1;
	pid = fork();
	if (!pid) {
		close(gate[1]);
		stay_bound(tell[1], gate[0]);
	}
	if (read(tell[0], pasid, 4) != 4)
		pid = -1;
	close(tell[0]);
	close(tell[1]);
	return pid;
}

TEST_SVA(as_many_as_there_may_be)
{
	__s32 pasid[IOPF_SVA_FILES] = { self->pasid };
	pid_t pid[IOPF_SVA_FILES];
	int gate[2], i, j;

	ASSERT_EQ(0, pipe(gate));
	for (i = 1; i < IOPF_SVA_FILES; i++) {
		pid[i] = fork_bound(gate, &pasid[i]);
		ASSERT_LT(0, pid[i]);
		ASSERT_LT(0, pasid[i])
			TH_LOG("%d: %s", i, strerror(-pasid[i]));
		for (j = 0; j < i; j++) {
			ASSERT_NE(pasid[j], pasid[i])
				TH_LOG("files %d and %d", j, i);
		}
	}
	pid[0] = fork();
	if (!pid[0])
		_exit(sva_bind(sva_open(DEVICE), NULL) == -ENOSPC ? 0 : 1);
	EXPECT_TRUE(exited_well(pid[0]));
	close(gate[1]);
	for (i = 1; i < IOPF_SVA_FILES; i++)
		EXPECT_TRUE(exited_well(pid[i]));
}

/* Start as much as may be, of which little can be done before the end. */
static void start_much(int fd)
{
	size_t quarter = 16 << 20;
	char *mem = map(IOPF_SVA_TICKETS * quarter);
	int i;

	CHECK(fd >= 0);
	CHECK(!sva_bind(fd, NULL));
	for (i = 0; i < IOPF_SVA_TICKETS; i++)
		CHECK(sva_submit(fd, IOPF_SVA_FILL, mem + i * quarter, quarter,
				 SEED) >= 0);
}

/*
 * A kernel may take the PASID of a process that ends away before it switches the
 * faults of its entry off; the device meets that. With this series VT-d's driver does
 * both at once.
 */
static void expect_faults_of_lost_pasid(void)
{
	if (!access("/sys/kernel/tracing/events/iopf", F_OK) &&
	    !access("/sys/class/iommu/dmar0", F_OK))
		return;
	expect_dma_faults(DMA_ANY_DEVICE, DMA_ANY_PASID, "7[0-9a-f]+", DMA_NO_TABLE);
}

TEST_SVA(exit_in_flight)
{
	char *mem = map(PAGE);
	pid_t pid;
	int i;

	expect_faults_of_lost_pasid();
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			start_much(sva_open(DEVICE));
			_exit(0);
		}
		ASSERT_TRUE(exited_well(pid));
		ASSERT_OK(fill(self->fd, mem, PAGE, SEED + i));
		ASSERT_PATTERN(mem, PAGE, SEED + i);
	}
	expect_no_more_on_console();
}

TEST_SVA(killed_in_flight)
{
	char *mem = map(PAGE), ready;
	int tell[2], i, status;
	pid_t pid;

	expect_faults_of_lost_pasid();
	ASSERT_EQ(0, pipe(tell));
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			int fd = sva_open(DEVICE);

			start_much(fd);
			CHECK(write(tell[1], "", 1) == 1);
			/* killed asleep in a wait */
			for (;;)
				sva_wait(fd, 0);
		}
		ASSERT_EQ(1, read(tell[0], &ready, 1));
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_OK(fill(self->fd, mem, PAGE, SEED + i));
		ASSERT_PATTERN(mem, PAGE, SEED + i);
	}
	expect_no_more_on_console();
}

/* The process that is bound dies, its file lives on in its parent. */
TEST_SVA(file_outlives_process)
{
	struct iopf_sva_info info;
	int fd, i;
	pid_t pid;

	expect_faults_of_lost_pasid();
	for (i = 0; i < 10; i++) {
		fd = sva_open(DEVICE);
		ASSERT_LE(0, fd);
		pid = fork();
		if (!pid) {
			start_much(fd);
			_exit(0);
		}
		ASSERT_TRUE(exited_well(pid));
		ASSERT_EQ(-EPERM, sva_submit(fd, IOPF_SVA_FILL, BASE, 8, 0));
		ASSERT_EQ(-EPERM, sva_wait(fd, 0));
		ASSERT_EQ(0, ioctl(fd, IOPF_SVA_INFO, &info));
		ASSERT_EQ(2, info.bound);
		close(fd);
		ASSERT_EQ(0, ioctl(self->fd, IOPF_SVA_INFO, &info));
		ASSERT_EQ(1, info.bound);
	}
	expect_no_more_on_console();
	EXPECT_TRUE(all_answered(self->fd));
}

/* ---- pages that take long -------------------------------------------------------- */

/* Kernels without this series refuse a page that is not there yet. */
static bool waits_for_pages(void)
{
	return !access("/sys/kernel/tracing/events/iopf_sva/iopf_serve", F_OK);
}

/* A request that waits for its page holds no lock of the process. */
TEST_SVA(held_page)
{
	char *mem = map(2 * PAGE), *other;
	struct held held;
	int ticket;

	if (!waits_for_pages())
		SKIP(return, "this kernel does not wait for such pages");
	ASSERT_EQ(0, held_open(&held, mem, PAGE));
	ticket = sva_submit(self->fd, IOPF_SVA_FILL, mem, PAGE, SEED);
	ASSERT_LE(0, ticket);
	ASSERT_EQ(0, held_wait(&held, 1));
	other = map(PAGE);
	other[0] = 1;
	ASSERT_EQ(0, munmap(other, PAGE));
	ASSERT_OK(fill(self->fd, mem + PAGE, PAGE, ~SEED));
	ASSERT_EQ(0, held_give(&held));
	ASSERT_OK(sva_wait(self->fd, ticket));
	ASSERT_PATTERN(mem, PAGE, SEED);
	ASSERT_PATTERN(mem + PAGE, PAGE, ~SEED);
	held_close(&held);
}

/* Others are not held up, nor is the end of the bond. */
TEST_SVA(held_and_unbound)
{
	char *mem = map(IOPF_SVA_TICKETS * PAGE);
	int ticket[IOPF_SVA_TICKETS], i;
	struct held held;
	pid_t pid;

	if (!waits_for_pages())
		SKIP(return, "this kernel does not wait for such pages");
	ASSERT_EQ(0, held_open(&held, mem, IOPF_SVA_TICKETS * PAGE));
	for (i = 0; i < IOPF_SVA_TICKETS; i++) {
		ticket[i] = sva_submit(self->fd, IOPF_SVA_FILL, mem + i * PAGE,
				       PAGE, SEED);
		ASSERT_LE(0, ticket[i]);
	}
	ASSERT_EQ(0, held_wait(&held, IOPF_SVA_TICKETS));
	pid = fork();
	if (!pid)
		many_work(SEED);
	ASSERT_TRUE(exited_well(pid));
	ASSERT_EQ(0, sva_unbind(self->fd));
	for (i = 0; i < IOPF_SVA_TICKETS; i++)
		ASSERT_EQ(IOPF_SVA_ABORTED, sva_wait(self->fd, ticket[i]));
	held_close(&held);
	ASSERT_TRUE(is_zero(mem, IOPF_SVA_TICKETS * PAGE));
	ASSERT_EQ(0, sva_bind(self->fd, NULL));
	ASSERT_OK(fill(self->fd, mem, IOPF_SVA_TICKETS * PAGE, SEED));
}

/* ---- the life of a bond ------------------------------------------------------ */

TEST_SVA(bind_twice)
{
	int fd = sva_open(DEVICE);
	__u32 pasid = 0;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, sva_bind(self->fd, NULL));
	EXPECT_EQ(-EBUSY, sva_bind(fd, NULL));
	ASSERT_EQ(0, sva_unbind(self->fd));
	ASSERT_EQ(-ENOTCONN, sva_unbind(self->fd));
	ASSERT_EQ(0, sva_bind(fd, &pasid));
	EXPECT_EQ(self->pasid, pasid);
	EXPECT_EQ(-EBUSY, sva_bind(self->fd, NULL));
	close(fd);
	ASSERT_EQ(0, sva_bind(self->fd, NULL));
}

TEST_SVA(bind_loop)
{
	size_t length = 4 * PAGE;
	char *mem = map_at(BASE, length);
	int i;

	for (i = 0; i < 100; i++) {
		ASSERT_OK(fill(self->fd, mem, length, SEED + i));
		ASSERT_PATTERN(mem, length, SEED + i);
		ASSERT_EQ(0, sva_unbind(self->fd));
		/* no one tells the endpoint while it is not bound */
		mem = map_at(BASE, length);
		testdev_pattern(mem, length, ~SEED, 0);
		ASSERT_EQ(0, sva_bind(self->fd, NULL));
		ASSERT_OK(compare(self->fd, mem, length, ~SEED));
	}
}

/*
 * The entries of the device stay, since another process is bound; and while this one is
 * not, a third takes the number that the IOMMU knew its address space by. What the IOMMU
 * has not forgotten of the first time is told of no change any more.
 */
TEST_SVA(bind_beside_others)
{
	size_t length = 8 * PAGE;
	char *mem = map_at(BASE, length);
	int gate[2], i;
	pid_t other[2];
	__s32 pasid;

	ASSERT_EQ(0, pipe(gate));
	other[0] = fork_bound(gate, &pasid);
	ASSERT_LT(0, other[0]);
	ASSERT_LT(0, pasid);
	ASSERT_OK(fill(self->fd, mem, length, SEED));
	ASSERT_EQ(0, sva_unbind(self->fd));
	other[1] = fork_bound(gate, &pasid);
	ASSERT_LT(0, other[1]);
	ASSERT_LT(0, pasid);
	ASSERT_EQ(0, sva_bind(self->fd, NULL));
	for (i = 1; i <= 10; i++) {
		ASSERT_OK(fill(self->fd, mem, length, SEED));
		mem = map_at(BASE, length);
		testdev_pattern(mem, length, SEED + i, 0);
		ASSERT_OK(compare(self->fd, mem, length, SEED + i));
	}
	close(gate[1]);
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(exited_well(other[i]));
}

TEST_SVA(unbind_in_flight)
{
	size_t length = 8 << 20;
	int ticket[IOPF_SVA_TICKETS], i, round, status;
	char *mem;

	for (round = 0; round < 20; round++) {
		mem = map_at(BASE, 4 * length);
		for (i = 0; i < IOPF_SVA_TICKETS; i++)
			ticket[i] = sva_submit(self->fd, IOPF_SVA_FILL,
					       mem + i * length, length, SEED);
		ASSERT_EQ(0, sva_unbind(self->fd));
		mem = map_at(BASE, 4 * length);
		for (i = 0; i < IOPF_SVA_TICKETS; i++) {
			status = sva_wait(self->fd, ticket[i]);
			EXPECT_TRUE(status == IOPF_SVA_ABORTED ||
				    status == IOPF_SVA_OK)
				TH_LOG("%s", status_name(status));
		}
		ASSERT_TRUE(is_zero(mem, HUGE));
		ASSERT_TRUE(all_answered(self->fd));
		ASSERT_EQ(-ENOTCONN,
			  sva_submit(self->fd, IOPF_SVA_FILL, mem, 8, 0));
		ASSERT_EQ(0, sva_bind(self->fd, NULL));
	}
}

/*
 * A second device is first tried with the page table that the first one has. Where that
 * fails, wherever it is, it gets one of its own, which takes page faults as well.
 */
TEST_SVA(bind_after_failure)
{
	unsigned int nth;
	bool failed = true;
	int fd, file, ret;
	char *mem;

	file = failing_open();
	if (file < 0)
		SKIP(return, "takes failslab");
	for (nth = 1; failed; nth++) {
		ASSERT_GT(400, nth);
		fd = sva_open(DEVICE2);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, failing_set(file, nth));
		ret = sva_bind(fd, NULL);
		failed = failing_done(file);
		if (!ret) {
			mem = map(PAGE);
			EXPECT_EQ(IOPF_SVA_OK, fill(fd, mem, PAGE, SEED))
				TH_LOG("allocation %u has failed", nth);
			munmap(mem, PAGE);
		}
		close(fd);
	}
	failing_close(file);
	EXPECT_EQ(0, ret);
	EXPECT_LT(2, nth);
}

/* One address space on two functions: each has a cache to be told. */
TEST_SVA(two_devices)
{
	size_t length = 8 * PAGE;
	int fd = sva_open(DEVICE2), i;
	__u32 pasid = 0, seed;
	char *mem;

	if (fd < 0)
		SKIP(return, "no %s", DEVICE2);
	ASSERT_EQ(0, sva_bind(fd, &pasid));
	EXPECT_EQ(self->pasid, pasid);
	for (i = 0; i < 50; i++) {
		seed = SEED + 3 * i;
		mem = map_at(BASE, length);
		ASSERT_OK(fill(self->fd, mem, length, seed));
		ASSERT_OK(compare(fd, mem, length, seed));
		ASSERT_OK(fill(fd, mem, length, seed + 1));
		ASSERT_OK(compare(self->fd, mem, length, seed + 1));
		mem = map_at(BASE, length);
		testdev_pattern(mem, length, seed + 2, 0);
		ASSERT_OK(compare(self->fd, mem, length, seed + 2));
		ASSERT_OK(compare(fd, mem, length, seed + 2));
	}
	/* the end of one bond is not that of the other */
	ASSERT_EQ(0, sva_unbind(fd));
	ASSERT_OK(fill(self->fd, mem, length, SEED));
	ASSERT_PATTERN(mem, length, SEED);
	EXPECT_TRUE(all_answered(fd));
	close(fd);
}

/* ---- bad requests --------------------------------------------------------------- */

/* Each has one thing that is wrong. */
static const struct iopf_sva_submit bad_submit[] = {
	{ .length = PAGE },
	{ .opcode = 6, .length = PAGE },
	{ .opcode = 12, .length = PAGE },
	{ .opcode = 0x100 | IOPF_SVA_FILL, .length = PAGE },
	{ .opcode = UINT_MAX, .length = PAGE },
	{ .opcode = IOPF_SVA_FILL, .flags = 2, .length = PAGE },
	{ .opcode = IOPF_SVA_FILL, .flags = UINT_MAX, .length = PAGE },
	{ .opcode = IOPF_SVA_FILL },
	{ .opcode = IOPF_SVA_FILL, .length = 2, .addr = ULLONG_MAX },
	{ .opcode = IOPF_SVA_READ, .length = IOPF_SVA_WINDOW + 1 },
	{ .opcode = IOPF_SVA_WRITE, .length = UINT_MAX },
	{ .opcode = IOPF_SVA_READ, .length = 2, .window = IOPF_SVA_WINDOW - 1 },
	{ .opcode = IOPF_SVA_WRITE, .length = 1, .window = UINT_MAX },
	{ .opcode = IOPF_SVA_FETCH_ADD, .length = 4 },
	{ .opcode = IOPF_SVA_FETCH_ADD, .length = 16 },
	{ .opcode = IOPF_SVA_FETCH_ADD, .length = 8, .addr = 4 },
	{ .opcode = IOPF_SVA_FETCH_ADD, .length = 8,
	  .window = IOPF_SVA_WINDOW - 4 },
};

TEST_SVA(bad_transfers)
{
	struct iopf_sva_submit submit;
	char *mem = map(PAGE);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad_submit); i++) {
		submit = bad_submit[i];
		if (submit.addr != ULLONG_MAX)
			submit.addr += (uintptr_t)mem;
		EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_SUBMIT, &submit))
			TH_LOG("bad submit %u", i);
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_TRUE(is_zero(mem, PAGE));
	ASSERT_OK(fill(self->fd, mem, PAGE, SEED));
}

TEST_SVA(bad_requests)
{
	struct iopf_sva_bind bind = { .flags = 1U << 31 };
	struct iopf_sva_wait wait = { .ticket = UINT_MAX };
	__u64 addr;

	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_BIND, &bind));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_BIND, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_SUBMIT, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_INFO, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_WAIT, &wait));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-ENOENT, sva_wait(self->fd, 0));
	EXPECT_EQ(-ENOENT, sva_wait(self->fd, IOPF_SVA_TICKETS));
	wait.flags = 2;
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_WAIT, &wait));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-ENOENT, ktable(self->fd, IOPF_SVA_KTABLE_FREE, &addr));
	EXPECT_EQ(-ENOENT, ktable(self->fd, IOPF_SVA_KTABLE_REPLACE, &addr));
	EXPECT_EQ(-1, ioctl(self->fd, _IO(IOPF_SVA_MAGIC, 9)));
	EXPECT_EQ(ENOTTY, errno);
}

/* A result is delivered once, and stays until it could be. */
TEST_SVA(results)
{
	struct iopf_sva_wait wait = { .flags = IOPF_SVA_NOWAIT };
	char *mem = map(PAGE);

	ASSERT_EQ(0, sva_submit(self->fd, IOPF_SVA_FILL, mem, PAGE, SEED));
	while (ioctl(self->fd, IOPF_SVA_WAIT, &wait)) {
		ASSERT_EQ(EAGAIN, errno)
			TH_LOG("%s", strerror(errno));
	}
	EXPECT_EQ(IOPF_SVA_OK, wait.status);
	EXPECT_EQ(PAGE, wait.done);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_WAIT, &wait));
	EXPECT_EQ(ENOENT, errno);
}

/* ---- the device goes ---------------------------------------------------------------- */

static bool device_path(char *path, size_t size, const char *tail)
{
	char real[PATH_MAX];

	if (!realpath("/sys/class/misc/iopf-sva0/device", real))
		return false;
	snprintf(path, size, "%s/%s", real, tail);
	return true;
}

static void start_and_lose(struct __test_metadata *_metadata, int fd,
			   const char *path, const char *text, int error)
{
	char *mem = map(64 << 20);
	int ticket[IOPF_SVA_TICKETS], i, status;

	for (i = 0; i < IOPF_SVA_TICKETS; i++)
		ticket[i] = sva_submit(fd, IOPF_SVA_FILL, mem + (i << 24),
				       1 << 24, SEED);
	ASSERT_EQ(0, write_file(path, text));
	for (i = 0; i < IOPF_SVA_TICKETS; i++) {
		status = sva_wait(fd, ticket[i]);
		EXPECT_TRUE(status == IOPF_SVA_ABORTED ||
			    status == IOPF_SVA_OK)
			TH_LOG("%s", status_name(status));
	}
	EXPECT_EQ(-ENOTCONN, sva_submit(fd, IOPF_SVA_FILL, mem, 8, SEED));
	EXPECT_EQ(error, sva_bind(fd, NULL));
}

TEST_SVA(reset_in_flight)
{
	char path[PATH_MAX + 16], *mem = map(PAGE);

	ASSERT_TRUE(device_path(path, sizeof(path), "reset"));
	start_and_lose(_metadata, self->fd, path, "1", 0);
	ASSERT_OK(fill(self->fd, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
}

/* Put the device back, for this test's end and the tests that follow. */
static int reopen(int *fd)
{
	close(*fd);
	*fd = sva_open(DEVICE);
	return *fd < 0 ? *fd : sva_bind(*fd, NULL);
}

TEST_SVA(driver_unbound_in_flight)
{
	char path[PATH_MAX + 16], bdf[16], *mem = map(PAGE);
	struct iopf_sva_info info;
	int fd = sva_open(DEVICE);

	ASSERT_TRUE(device_path(path, sizeof(path), ""));
	snprintf(bdf, sizeof(bdf), "%s", strrchr(path, '/') - 12);
	bdf[12] = '\0';
	start_and_lose(_metadata, self->fd, "/sys/bus/pci/drivers/iopf-sva/unbind",
		       bdf, -ENODEV);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_SVA_INFO, &info));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-ENODEV, sva_bind(fd, NULL));
	close(fd);
	/* the name is free again with the last file */
	close(self->fd);
	ASSERT_EQ(0, write_file("/sys/bus/pci/drivers/iopf-sva/bind", bdf));
	ASSERT_EQ(0, reopen(&self->fd));
	ASSERT_OK(fill(self->fd, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
}

TEST_SVA(device_removed_in_flight)
{
	char path[PATH_MAX + 16], *mem = map(PAGE);

	ASSERT_TRUE(device_path(path, sizeof(path), "remove"));
	start_and_lose(_metadata, self->fd, path, "1", -ENODEV);
	close(self->fd);
	ASSERT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
	ASSERT_EQ(0, reopen(&self->fd));
	ASSERT_OK(fill(self->fd, mem, PAGE, SEED));
	ASSERT_PATTERN(mem, PAGE, SEED);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paging domains of PASIDs: the emulated test endpoint 1234:11f0 works on this
 * program's memory with page tables that the sample driver samples/iommu makes for
 * PASIDs, and fills when the endpoint asks for a page.
 *
 * The endpoint keeps translations in a cache like hardware does, and wants its PASID
 * back with the answer. So what is said of the wrong PASID, or of none, leaves it with
 * an old page, or waiting. Nothing depends on timing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../kselftest_harness.h"

#include "iopf_bond.h"

#define TEST_SECONDS	900
#define NR_BONDS	8

#define TEST_OWN(name) TEST_F_TIMEOUT(own, name, TEST_SECONDS)

static int own_bind(int fd, __u32 *pasid)
{
	return bond_bind(fd, IOPF_SVA_OWN_TABLE, pasid);
}

FIXTURE(own)
{
	int fd;
	__u32 pasid;
};

FIXTURE_SETUP(own)
{
	int ret;

	self->fd = sva_open(DEVICE);
	if (self->fd < 0)
		SKIP(return, "no %s: %s", DEVICE, strerror(-self->fd));
	ret = own_bind(self->fd, &self->pasid);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "no paging domains of PASIDs in this kernel");
	ASSERT_EQ(0, ret)
		TH_LOG("%s", strerror(-ret));
	ASSERT_NE(0, self->pasid);
}

FIXTURE_TEARDOWN(own)
{
	sva_unbind(self->fd);
	EXPECT_TRUE(all_answered(self->fd));
	close(self->fd);
}

/* How often the endpoint was told to forget something */
static int forgotten(int fd)
{
	struct iopf_sva_info info;

	return ioctl(fd, IOPF_SVA_INFO, &info) ? -1 : (int)info.invalidations;
}

TEST_OWN(writes)
{
	char *mem = map(64 * PAGE);

	ASSERT_OK(fill(self->fd, mem, 64 * PAGE, SEED));
	EXPECT_LE(64, last.nr_pr);
	ASSERT_PATTERN(mem, 64 * PAGE, SEED);
	/* What is there is not asked for again. */
	ASSERT_OK(compare(self->fd, mem, 64 * PAGE, SEED));
	EXPECT_EQ(0, last.nr_pr);
}

TEST_OWN(reads)
{
	char *mem = map(16 * PAGE);

	testdev_pattern(mem, 16 * PAGE, SEED, 0);
	ASSERT_OK(compare(self->fd, mem, 16 * PAGE, SEED));
	mem[9 * PAGE + 7] ^= 1;
	ASSERT_EQ(IOPF_SVA_MISMATCH,
		  compare(self->fd, mem, 16 * PAGE, SEED));
	EXPECT_EQ((uintptr_t)mem + 9 * PAGE + 7, last.fail_addr);
}

TEST_OWN(refuses)
{
	char *mem = map(4 * PAGE);

	ASSERT_EQ(0, munmap(mem + 2 * PAGE, PAGE));
	ASSERT_REFUSED(fill(self->fd, mem, 4 * PAGE, SEED));
	EXPECT_EQ(2 * PAGE, last.done);
	ASSERT_EQ(0, mprotect(mem + 3 * PAGE, PAGE, PROT_READ));
	ASSERT_REFUSED(fill(self->fd, mem + 3 * PAGE, PAGE, SEED));
	ASSERT_OK(fill(self->fd, mem, 2 * PAGE, ~SEED));
	ASSERT_PATTERN(mem, 2 * PAGE, ~SEED);
}

/*
 * A page for reading is taken away to be one for writing, which the driver flushes for
 * the PASID. The endpoint has the old one in its cache, and the IOMMU in its own.
 */
TEST_OWN(read_only_first)
{
	char *mem = map(PAGE);
	int before;

	testdev_pattern(mem, PAGE, SEED, 0);
	ASSERT_EQ(0, mprotect(mem, PAGE, PROT_READ));
	ASSERT_OK(compare(self->fd, mem, PAGE, SEED));
	ASSERT_EQ(0, mprotect(mem, PAGE, PROT_READ | PROT_WRITE));
	/* Private memory is copied for a write: another page than the one it has. */
	before = forgotten(self->fd);
	ASSERT_OK(fill(self->fd, mem, PAGE, ~SEED));
	EXPECT_LT(before, forgotten(self->fd));
	ASSERT_PATTERN(mem, PAGE, ~SEED);
}

/* A PASID that is used again has nothing of what it was before. */
TEST_OWN(binds_again)
{
	char *mem = map(8 * PAGE);
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_OK(fill(self->fd, mem, 8 * PAGE, SEED + i));
		ASSERT_PATTERN(mem, 8 * PAGE, SEED + i);
		ASSERT_EQ(0, sva_unbind(self->fd));
		ASSERT_EQ(-ENOTCONN, sva_submit(self->fd, IOPF_SVA_FILL, mem,
						PAGE, SEED));
		/* other pages at the same addresses */
		ASSERT_EQ(mem, map_at(mem, 8 * PAGE));
		ASSERT_EQ(0, own_bind(self->fd, NULL));
	}
}

/* The bond ends while the device has asked for a page, or is about to. */
TEST_OWN(unbinds_at_work)
{
	char *mem = map(64 * PAGE);
	int ticket[IOPF_SVA_TICKETS], i, j, ret;

	for (i = 0; i < 20; i++) {
		for (j = 0; j < IOPF_SVA_TICKETS; j++)
			ticket[j] = sva_submit(self->fd, IOPF_SVA_FILL,
					       mem + j * 16 * PAGE, 16 * PAGE,
					       SEED + i);
		ASSERT_EQ(0, sva_unbind(self->fd));
		for (j = 0; j < IOPF_SVA_TICKETS; j++) {
			ret = sva_wait(self->fd, ticket[j]);
			ASSERT_LE(IOPF_SVA_OK, ret);
		}
		ASSERT_TRUE(all_answered(self->fd));
		ASSERT_EQ(0, own_bind(self->fd, NULL));
		ASSERT_OK(fill(self->fd, mem, 64 * PAGE, ~SEED));
		ASSERT_PATTERN(mem, 64 * PAGE, ~SEED);
	}
}

static void child(const char *device, unsigned int seed)
{
	char *mem = map_at((void *)0x10000000000, 32 * PAGE);
	int fd = sva_open(device), i;

	if (fd < 0 || own_bind(fd, NULL))
		_exit(1);
	for (i = 0; i < 10; i++) {
		if (fill(fd, mem, 32 * PAGE, seed + i) != IOPF_SVA_OK ||
		    testdev_pattern_check(mem, 32 * PAGE, seed + i, 0) !=
		    32 * PAGE ||
		    compare(fd, mem, 32 * PAGE, seed + i) != IOPF_SVA_OK)
			_exit(2);
	}
	_exit(0);
}

/* Processes with other memory at the same addresses, and two devices */
TEST_OWN(many)
{
	pid_t pid[NR_BONDS];
	int i;

	for (i = 0; i < NR_BONDS; i++) {
		pid[i] = fork();
		if (!pid[i])
			child(i % 2 ? DEVICE2 : DEVICE, SEED + 1000 * i);
		ASSERT_LT(0, pid[i]);
	}
	for (i = 0; i < NR_BONDS; i++)
		EXPECT_TRUE(exited_well(pid[i]));
}

TEST_HARNESS_MAIN

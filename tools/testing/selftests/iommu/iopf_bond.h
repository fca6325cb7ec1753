/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transfers between the emulated test endpoint 1234:11f0 and this program, through
 * the sample driver samples/iommu
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_BOND_H
#define IOPF_BOND_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iopf-sva.h"
#include "testdev.h"

#define DEVICE		"/dev/iopf-sva0"
#define DEVICE2		"/dev/iopf-sva1"

#define PAGE		4096UL
#define SEED		0x600d0000

/* A transfer that has to end well. */
#define ASSERT_OK(call) do { \
	int __ret = (call); \
	\
	ASSERT_EQ(IOPF_SVA_OK, __ret) \
		TH_LOG("%s at %#llx, %u bytes done", status_name(__ret), \
		       (unsigned long long)last.fail_addr, last.done); \
} while (0)
#define ASSERT_REFUSED(call) do { \
	int __ret = (call); \
	\
	ASSERT_EQ(refusal, __ret) \
		TH_LOG("%s", status_name(__ret)); \
} while (0)
#define ASSERT_PATTERN(mem, length, seed) do { \
	size_t __length = (length); \
	\
	ASSERT_EQ(__length, testdev_pattern_check(mem, __length, seed, 0)); \
} while (0)

/* How the last transfer of this process ended */
static struct iopf_sva_wait last;

/*
 * How one ends that gets no page: by the answer to its page request, or by the IOMMU
 * that had held the access. See bond_look().
 */
static int refusal = IOPF_SVA_INVALID;

static inline const char *status_name(int status)
{
	return status < 0 ? strerror(-status) : testdev_status(status);
}

static inline int sva_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* See what the IOMMU does when a page is not there, and what it has done so far. */
static inline int bond_look(int fd, struct iopf_sva_info *info)
{
	if (ioctl(fd, IOPF_SVA_INFO, info))
		return -errno;
	refusal = info->may_hold ? IOPF_SVA_ACCESS_ERROR : IOPF_SVA_INVALID;
	return 0;
}

/* Whether a page was missing in the last transfer, or in one since @before. */
static inline bool page_was_missed(int fd, const struct iopf_sva_info *before)
{
	struct iopf_sva_info now;

	return last.nr_pr ||
	       (!ioctl(fd, IOPF_SVA_INFO, &now) && now.held != before->held);
}

static inline int bond_bind(int fd, __u32 flags, __u32 *pasid)
{
	struct iopf_sva_bind bind = { .flags = flags };

	if (ioctl(fd, IOPF_SVA_BIND, &bind))
		return -errno;
	if (pasid)
		*pasid = bind.pasid;
	return 0;
}

static inline int sva_bind(int fd, __u32 *pasid)
{
	return bond_bind(fd, 0, pasid);
}

static inline int sva_unbind(int fd)
{
	return ioctl(fd, IOPF_SVA_UNBIND) ? -errno : 0;
}

/* Returns a ticket or -errno. */
static inline int sva_submit(int fd, __u32 opcode, const void *addr,
			     size_t length, __u32 data)
{
	struct iopf_sva_submit submit = {
		.opcode = opcode,
		.addr = (uintptr_t)addr,
		.length = length,
		.data = data,
	};

	return ioctl(fd, IOPF_SVA_SUBMIT, &submit) ? -errno :
						     (int)submit.ticket;
}

/* Returns the status of the transfer or -errno. */
static inline int sva_wait(int fd, int ticket)
{
	memset(&last, 0, sizeof(last));
	if (ticket < 0)
		return ticket;
	last.ticket = ticket;
	return ioctl(fd, IOPF_SVA_WAIT, &last) ? -errno : (int)last.status;
}

static inline int transfer(int fd, __u32 opcode, const void *addr,
			   size_t length, __u32 data)
{
	return sva_wait(fd, sva_submit(fd, opcode, addr, length, data));
}

static inline int fill(int fd, void *addr, size_t length, __u32 seed)
{
	return transfer(fd, IOPF_SVA_FILL, addr, length, seed);
}

static inline int compare(int fd, const void *addr, size_t length,
			  __u32 seed)
{
	return transfer(fd, IOPF_SVA_COMPARE, addr, length, seed);
}

static inline char *map_at(void *addr, size_t length)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0);

	return mmap(addr, length, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static inline char *map(size_t length)
{
	return map_at(NULL, length);
}

static inline bool is_zero(const char *mem, size_t length)
{
	return !mem[0] && !memcmp(mem, mem + 1, length - 1);
}

static inline bool exited_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

/* Whether every page request was answered exactly once, and none is open. */
static inline bool all_answered(int fd)
{
	struct iopf_sva_info i;

	if (ioctl(fd, IOPF_SVA_INFO, &i))
		return false;
	if (!i.waiting && !i.stale && !i.unmatched && !i.failure &&
	    i.groups == i.success + i.invalid)
		return true;
	fprintf(stderr,
		"# %u groups; %u success, %u invalid, %u failure, %u unmatched; %u waiting, %u stale\n",
		i.groups, i.success, i.invalid, i.failure, i.unmatched,
		i.waiting, i.stale);
	return false;
}

#endif /* IOPF_BOND_H */

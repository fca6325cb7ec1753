// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of libiopf that take no device: the kernel's side of iommufd is played
 * by this program, which stands in for ioctl().
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "examples/endpoint.h"
#include "internal.h"
#include "kconfig.h"
#include "testdev.h"
#include "unittest.h"

/* The examples name the few registers that they need themselves. */
#define SAME(ours, regs) static_assert((ours) == (regs), #ours)
SAME(ENDPOINT_REG_ID, IOPF_TD_REG_ID);
SAME(ENDPOINT_ID, IOPF_TD_ID);
SAME(ENDPOINT_REG_CTRL, IOPF_TD_REG_CTRL);
SAME(ENDPOINT_RUN, IOPF_TD_CTRL_RUN);
SAME(ENDPOINT_REG_COMMAND, IOPF_TD_REG_COMMAND);
SAME(ENDPOINT_RESET, IOPF_TD_CMD_RESET);
SAME(ENDPOINT_REG_RING_LOG2, IOPF_TD_REG_RING_LOG2);
SAME(ENDPOINT_REG_RING_TAIL, IOPF_TD_REG_RING_TAIL);
SAME(ENDPOINT_DESC_SIZE, IOPF_TD_DESC_SIZE);
SAME(ENDPOINT_DESC_OP, IOPF_TD_DESC_OPCODE);
SAME(ENDPOINT_DESC_IOVA, IOPF_TD_DESC_IOVA);
SAME(ENDPOINT_DESC_LENGTH, IOPF_TD_DESC_LENGTH);
SAME(ENDPOINT_DESC_RAM, IOPF_TD_DESC_RAM);
SAME(ENDPOINT_DESC_SEED, IOPF_TD_DESC_DATA);
SAME(ENDPOINT_DESC_STATUS, IOPF_TD_DESC_STATUS);
SAME(ENDPOINT_READ, IOPF_TD_OP_READ);
SAME(ENDPOINT_FILL, IOPF_TD_OP_FILL);
SAME(ENDPOINT_DATA, IOPF_TD_RAM_DATA);
SAME(ENDPOINT_OK, IOPF_TD_ST_OK);
SAME(ENDPOINT_REFUSED, IOPF_TD_ST_RSP_INVALID);

/*
 * What a program that was built long ago takes for granted: sizes of all
 * structures that it allocates, and where their members are.
 */
#define AT(type, member, offset) \
	static_assert(offsetof(struct type, member) == (offset), #member)
#define SIZE(type, size) \
	static_assert(sizeof(struct type) == (size), #type)
AT(iopf_request, flags, 0);
AT(iopf_request, dev_id, 4);
AT(iopf_request, pasid, 8);
AT(iopf_request, grpid, 12);
AT(iopf_request, perm, 16);
AT(iopf_request, addr, 24);
AT(iopf_request, length, 32);
AT(iopf_request, cookie, 36);
SIZE(iopf_request, 40);
AT(iopf_response, cookie, 0);
AT(iopf_response, code, 4);
SIZE(iopf_response, 8);
#ifdef __LP64__
AT(iopf_group, rec, 0);
AT(iopf_group, nr, 8);
AT(iopf_group, cookie, 12);
AT(iopf_group, dev_id, 16);
AT(iopf_group, grpid, 20);
AT(iopf_group, pasid, 24);
AT(iopf_group, pasid_valid, 28);
AT(iopf_group, t_read, 32);
SIZE(iopf_group, 72);
AT(iopf_run, iova, 0);
AT(iopf_run, length, 8);
AT(iopf_run, prot, 16);
SIZE(iopf_run, 24);
AT(iopf_served, code, 0);
AT(iopf_served, runs, 4);
AT(iopf_served, pages, 8);
AT(iopf_served, upgraded, 12);
AT(iopf_served, reason, 16);
SIZE(iopf_served, 56);
AT(iopf_hw_info, type, 0);
AT(iopf_hw_info, pasid_bits, 4);
AT(iopf_hw_info, caps, 8);
AT(iopf_hw_info, raw_len, 16);
AT(iopf_hw_info, raw, 20);
SIZE(iopf_hw_info, 120);
AT(iopf_region, size, 0);
AT(iopf_region, offset, 8);
AT(iopf_region, mem, 16);
AT(iopf_region, fd, 24);
SIZE(iopf_region, 64);
AT(iopf_pci, bdf, 0);
AT(iopf_pci, vendor, 16);
AT(iopf_pci, device, 18);
AT(iopf_pci, class_code, 20);
AT(iopf_pci, known, 24);
AT(iopf_pci, driver, 28);
AT(iopf_pci, cdev, 60);
AT(iopf_pci, iommu, 92);
AT(iopf_pci, group, 156);
AT(iopf_pci, virtfn, 160);
AT(iopf_pci, external, 161);
AT(iopf_pci, ats, 164);
AT(iopf_pci, ats_cap, 168);
AT(iopf_pci, ats_ctrl, 170);
AT(iopf_pci, pri, 172);
AT(iopf_pci, pri_ctrl, 176);
AT(iopf_pci, pri_status, 178);
AT(iopf_pci, pri_max, 180);
AT(iopf_pci, pri_alloc, 184);
AT(iopf_pci, pasid, 188);
AT(iopf_pci, pasid_cap, 192);
AT(iopf_pci, pasid_ctrl, 194);
SIZE(iopf_pci, 264);
AT(iopf_stat, nr, 0);
AT(iopf_stat, min, 8);
AT(iopf_stat, max, 16);
AT(iopf_stat, bucket, 24);
SIZE(iopf_stat, 24 + 8 * 64 * 64);
#endif

/* What is mapped in the only address space there is, as map calls made it. */
#define MAX_AREAS	1024

static struct iopf_ctx fake = { .fd = -1 };

struct area {
	__u64 iova;
	__u64 length;
	__u64 va;
	unsigned int flags;
};

static struct area areas[MAX_AREAS];
static unsigned int nr_areas;
static unsigned int map_calls;
static int map_error;		/* errno of the next map call */
static int hwpt_error;		/* errno of IOMMU_HWPT_ALLOC */
static int process_pidfd;
static __u32 hwpt_flags;	/* its flags */
static unsigned int nr_ranges;	/* usable addresses */
static int fault_fds[2];	/* [1] is the kernel's end of a fault queue */
static bool has_map;		/* IOPF_QUEUE_MAP */
static unsigned int queue_map_calls;

static int fail(int err)
{
	errno = err;
	return -1;
}

static int fake_map(const struct iommu_ioas_map *cmd)
{
	unsigned int i;

	map_calls++;
	if (map_error) {
		errno = map_error;
		map_error = 0;
		return -1;
	}
	if (cmd->size != sizeof(*cmd) || nr_areas == MAX_AREAS)
		return fail(EINVAL);
	for (i = 0; i < nr_areas; i++)
		if (cmd->iova < areas[i].iova + areas[i].length &&
		    areas[i].iova < cmd->iova + cmd->length)
			return fail(EEXIST);
	areas[nr_areas].iova = cmd->iova;
	areas[nr_areas].length = cmd->length;
	areas[nr_areas].va = cmd->user_va;
	areas[nr_areas].flags = cmd->flags;
	nr_areas++;
	return 0;
}

/* Answers are not sent, only counted by what is mapped. */
static int fake_queue_map(struct iopf_queue_map *cmd)
{
	const struct iopf_map_answer *entry = (void *)(uintptr_t)cmd->entries;
	struct iommu_ioas_map map = { .size = sizeof(map) };
	unsigned int i, nr = cmd->entry_num;

	queue_map_calls++;
	if (!has_map)
		return fail(ENOTTY);
	if (cmd->size != sizeof(*cmd) || cmd->iommufd != fake.fd ||
	    cmd->flags || cmd->__reserved)
		return fail(EINVAL);
	for (i = 0; i < nr; i++) {
		cmd->entry_num = i;
		map.iova = entry[i].iova;
		map.length = entry[i].length;
		map.user_va = entry[i].user_va;
		map.flags = entry[i].flags;
		if (entry[i].cookie > 1000)
			return fail(EINVAL);
		if (fake_map(&map))
			return -1;
	}
	cmd->entry_num = nr;
	return 0;
}

/* Takes whole areas only, as the kernel does. */
static int fake_unmap(const struct iommu_ioas_unmap *cmd)
{
	__u64 last = cmd->iova + cmd->length - 1;
	unsigned int i, hit = 0;

	for (i = 0; i < nr_areas; i++) {
		__u64 end = areas[i].iova + areas[i].length - 1;

		if (end < cmd->iova || areas[i].iova > last)
			continue;
		if (areas[i].iova < cmd->iova || end > last)
			return fail(ENOENT);
		hit++;
	}
	if (!hit)
		return fail(ENOENT);
	for (i = 0; i < nr_areas;) {
		if (areas[i].iova >= cmd->iova && areas[i].iova <= last)
			areas[i] = areas[--nr_areas];
		else
			i++;
	}
	return 0;
}

/* Hand out nr_ranges ranges of one page, with gaps of a page. */
static int fake_ranges(struct iommu_ioas_iova_ranges *cmd)
{
	struct iommu_iova_range *range = (void *)(uintptr_t)cmd->allowed_iovas;
	unsigned int i, room = cmd->num_iovas;

	cmd->num_iovas = nr_ranges;
	for (i = 0; i < room && i < nr_ranges; i++) {
		range[i].start = i * 8192;
		range[i].last = range[i].start + 4095;
	}
	return room < nr_ranges ? fail(EMSGSIZE) : 0;
}

static int fake_fault_alloc(struct iommu_fault_alloc *cmd)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fault_fds))
		return -1;
	cmd->out_fault_fd = fault_fds[0];
	cmd->out_fault_id = 7;
	return 0;
}

/* linux/iopf_process.h, which the headers of this machine may lack */
#define ALLOC_PROCESS	0xfb10UL

static int fake_process(__u32 *cmd)
{
	process_pidfd = cmd[3];
	if (cmd[0] != 24 || cmd[1] || cmd[5])
		return fail(EINVAL);
	if (hwpt_error)
		return fail(hwpt_error);
	cmd[4] = cmd[2] + 1;
	return 0;
}

int __wrap_ioctl(int fd, unsigned long nr, ...)
{
	va_list ap;
	void *arg;

	(void)fd;
	va_start(ap, nr);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (nr) {
	case IOMMU_IOAS_MAP:
		return fake_map(arg);
	case IOMMU_IOAS_UNMAP:
		return fake_unmap(arg);
	case IOMMU_IOAS_IOVA_RANGES:
		return fake_ranges(arg);
	case IOMMU_FAULT_QUEUE_ALLOC:
		return fake_fault_alloc(arg);
	case IOPF_QUEUE_MAP:
		return fake_queue_map(arg);
	case IOMMU_HWPT_ALLOC:
		hwpt_flags = ((struct iommu_hwpt_alloc *)arg)->flags;
		return fail(hwpt_error);
	case IOMMU_DESTROY:
		return 0;
	case ALLOC_PROCESS:
		return fake_process(arg);
	}
	return fail(ENOTTY);
}

/* Map flags of an address, 0 if it is not mapped. */
static unsigned int mapped_as(__u64 iova)
{
	unsigned int i;

	for (i = 0; i < nr_areas; i++)
		if (iova >= areas[i].iova &&
		    iova - areas[i].iova < areas[i].length)
			return areas[i].flags & (IOMMU_IOAS_MAP_READABLE |
						 IOMMU_IOAS_MAP_WRITEABLE);
	return 0;
}

#define R	IOMMU_IOAS_MAP_READABLE
#define RW	(R | IOMMU_IOAS_MAP_WRITEABLE)
#define PAGE	((__u64)sysconf(_SC_PAGESIZE))
#define BASE	0x100000000ULL

static struct iopf_request records[1024];

/* A group of requests for @nr pages from @page on, every @step pages. */
static struct iopf_group group_of(unsigned int page, unsigned int nr,
				  unsigned int step, unsigned int perm)
{
	struct iopf_group g = { .rec = records, .nr = nr, .cookie = 1 };
	unsigned int i;

	memset(records, 0, sizeof(records));
	for (i = 0; i < nr; i++) {
		records[i].addr = BASE + (page + i * step) * PAGE;
		records[i].perm = perm;
		records[i].cookie = 1;
	}
	records[nr - 1].flags = IOPF_REQUEST_LAST;
	return g;
}

static struct iopf_backing *new_backing(unsigned int prot, unsigned int flags)
{
	struct iopf_backing *b = NULL;

	nr_areas = 0;
	map_calls = 0;
	CHECK(!iopf_backing_anon(&fake, 1, BASE, 1024 * PAGE, prot, flags, &b));
	return b;
}

static void test_coalesce(void)
{
	struct iopf_run run[1024];
	struct iopf_group g;

	g = group_of(0, 512, 1, IOPF_READ);
	CHECK(iopf_coalesce(&g, PAGE, run) == 1);
	CHECK(run[0].iova == BASE && run[0].length == 512 * PAGE);
	CHECK(run[0].prot == IOPF_READ);

	/* Every other page, then one of the holes. */
	g = group_of(0, 4, 2, IOPF_READ);
	CHECK(iopf_coalesce(&g, PAGE, run) == 4);
	records[3].addr = BASE + PAGE;
	CHECK(iopf_coalesce(&g, PAGE, run) == 2);
	CHECK(run[0].length == 3 * PAGE && run[1].iova == BASE + 4 * PAGE);

	/* Out of order, twice the same page, and different permissions. */
	g = group_of(0, 4, 1, IOPF_READ);
	records[0].addr = BASE + 3 * PAGE;
	records[3].addr = BASE;
	records[3].perm = IOPF_WRITE;
	records[1].addr = BASE + 123;
	CHECK(iopf_coalesce(&g, PAGE, run) == 2);
	CHECK(run[0].iova == BASE && run[0].length == PAGE);
	CHECK(run[0].prot == IOPF_RW);
	CHECK(run[1].iova == BASE + 2 * PAGE && run[1].length == 2 * PAGE);

	/* Up to the end of the address space, and nothing wanted at all. */
	g = group_of(0, 2, 1, IOPF_READ);
	records[0].addr = -PAGE;
	records[1].addr = 0;
	CHECK(iopf_coalesce(&g, PAGE, run) == 2);
	g = group_of(0, 2, 1, 0);
	CHECK(iopf_coalesce(&g, PAGE, run) == 0);
}

static void test_serve(void)
{
	struct iopf_backing *b = new_backing(IOPF_RW, 0);
	struct iopf_served s;
	struct iopf_group g;

	g = group_of(8, 16, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS && !s.reason);
	CHECK(s.runs == 1 && s.pages == 16 && map_calls == 1);
	CHECK(mapped_as(BASE + 8 * PAGE) == RW);
	CHECK(areas[0].va ==
	      (uintptr_t)iopf_backing_ptr(b, BASE + 8 * PAGE));
	/* Again: nothing to do. */
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS && !s.runs);
	/* Around it: two calls. */
	g = group_of(0, 32, 1, IOPF_WRITE);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.runs == 2 && s.pages == 16);
	CHECK(iopf_backing_mapped(b) == 32);
	/* Reads and writes side by side are mapped alike, so in one call. */
	g = group_of(40, 2, 1, IOPF_READ);
	records[1].perm = IOPF_WRITE;
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.runs == 1 && s.pages == 2);
	iopf_backing_close(b);
	CHECK(!nr_areas);
}

static void test_refuse(void)
{
	struct iopf_backing *b = new_backing(IOPF_READ, 0);
	struct iopf_served s;
	struct iopf_group g;

	g = group_of(0, 4, 1, IOPF_READ);
	records[2].perm = IOPF_RW;
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID && s.reason);
	CHECK(!map_calls);
	g = group_of(1022, 4, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID && !map_calls);
	g = group_of(0, 1, 1, IOPF_READ);
	records[0].addr = BASE - PAGE;
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID && !map_calls);
	g = group_of(0, 1, 1, IOPF_READ | IOPF_EXEC);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID && !map_calls);
	g = group_of(0, 1, 1, 0);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID && !map_calls);
	CHECK(iopf_backing_map(b, BASE, PAGE, IOPF_RW) == -EACCES);
	CHECK(iopf_backing_map(b, BASE + 1024 * PAGE, 1, IOPF_READ) == -ERANGE);
	CHECK(iopf_backing_map(b, BASE, ~0ULL, IOPF_READ) == -ERANGE);
	CHECK(!iopf_backing_ptr(b, BASE - 1));
	CHECK(!iopf_backing_ptr(b, BASE + 1024 * PAGE));
	/* A failed map call is an error, and INVALID for the device. */
	g = group_of(0, 4, 1, IOPF_READ);
	map_error = ENOMEM;
	CHECK(iopf_backing_serve(b, &g, &s) == -ENOMEM);
	CHECK(s.code == IOPF_INVALID && s.reason);
	CHECK(strstr(iopf_error(), "ulimit"));
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS);
	iopf_backing_close(b);
}

static void test_upgrade(void)
{
	struct iopf_backing *b = new_backing(IOPF_RW, IOPF_BACKING_EXACT);
	struct iopf_served s;
	struct iopf_group g;

	g = group_of(0, 8, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	g = group_of(8, 8, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(mapped_as(BASE + 3 * PAGE) == R && nr_areas == 2);
	/* The map call that has the page changes, its neighbour does not. */
	g = group_of(3, 1, 1, IOPF_WRITE);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS && s.upgraded == 8);
	CHECK(mapped_as(BASE) == RW && mapped_as(BASE + 7 * PAGE) == RW);
	CHECK(mapped_as(BASE + 8 * PAGE) == R && nr_areas == 2);
	CHECK(iopf_backing_mapped(b) == 16);
	/* Across mapped, upgradable and missing pages. */
	g = group_of(6, 12, 1, IOPF_WRITE);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.upgraded == 8 && s.pages == 2);
	CHECK(mapped_as(BASE + 17 * PAGE) == RW);
	CHECK(!mapped_as(BASE + 18 * PAGE));
	/* Unmapping a page takes its whole map call. */
	CHECK(!iopf_backing_unmap(b, BASE + 9 * PAGE, 1));
	CHECK(!mapped_as(BASE + 8 * PAGE) && !mapped_as(BASE + 15 * PAGE));
	CHECK(mapped_as(BASE + 7 * PAGE) && mapped_as(BASE + 16 * PAGE));
	CHECK(iopf_backing_mapped(b) == 10);
	CHECK(!iopf_backing_unmap(b, BASE, 1024 * PAGE));
	CHECK(!nr_areas && !iopf_backing_mapped(b));
	iopf_backing_close(b);
}

static void test_file(void)
{
	struct iopf_backing *b = NULL;
	struct iopf_served s;
	struct iopf_group g;
	char path[64], *mem;
	int fd;

	fd = memfd_create("unittest", 0);
	CHECK(fd >= 0 && !ftruncate(fd, 4 * PAGE + 1));
	CHECK(pwrite(fd, "hello", 5, PAGE) == 5);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(!iopf_backing_file(&fake, 1, path, BASE, 16 * PAGE, IOPF_RW, 0,
				 &b));
	mem = iopf_backing_ptr(b, BASE + PAGE);
	CHECK(!memcmp(mem, "hello", 5));
	nr_areas = 0;
	/* The page with the last byte is there, the one behind it is not. */
	g = group_of(4, 1, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS);
	g = group_of(5, 1, 1, IOPF_READ);
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_INVALID);
	/* Until the file grows. */
	CHECK(!ftruncate(fd, 8 * PAGE));
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(s.code == IOPF_SUCCESS);
	mem[0] = 'j';
	iopf_backing_close(b);
	CHECK(pread(fd, path, 1, PAGE) == 1 && path[0] == 'j');

	/* Private: the file does not change. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(!iopf_backing_file(&fake, 1, path, BASE, 0, IOPF_RW,
				 IOPF_BACKING_PRIVATE, &b));
	mem = iopf_backing_ptr(b, BASE + PAGE);
	CHECK(mem[0] == 'j');
	mem[0] = 'c';
	CHECK(!iopf_backing_ptr(b, BASE + 8 * PAGE));
	iopf_backing_close(b);
	CHECK(pread(fd, path, 1, PAGE) == 1 && path[0] == 'j');
	close(fd);
	CHECK(iopf_backing_file(&fake, 1, "/nonexistent", BASE, 0, IOPF_RW, 0,
				&b) == -ENOENT);
	CHECK(iopf_backing_anon(&fake, 1, BASE + 1, PAGE, IOPF_RW, 0, &b) ==
	      -EINVAL);
	CHECK(iopf_backing_anon(&fake, 1, BASE, PAGE, 0, 0, &b) == -EINVAL);
	CHECK(iopf_backing_anon(&fake, 1, -PAGE, 2 * PAGE, IOPF_RW, 0, &b) ==
	      -EINVAL);
}

static void put_record(unsigned int *n, __u32 cookie, bool last)
{
	struct iopf_request *rec = &records[(*n)++];

	memset(rec, 0, sizeof(*rec));
	rec->cookie = cookie;
	rec->grpid = cookie + 100;
	rec->flags = IOPF_REQUEST_PASID;
	rec->pasid = 3;
	if (last)
		rec->flags |= IOPF_REQUEST_LAST;
}

#define MAPS	70

/* Map and answer, with and without a call for it in the kernel */
static void test_queue_map(void)
{
	struct iopf_mapping maps[MAPS];
	struct iopf_response resp[MAPS];
	struct iopf_queue *q = NULL;
	unsigned int i;

	CHECK(!iopf_queue_open(&fake, &q));
	nr_areas = 0;
	for (i = 0; i < MAPS; i++)
		maps[i] = (struct iopf_mapping){
			.va = (void *)(uintptr_t)((i + 1) * PAGE),
			.length = PAGE,
			.iova = BASE + i * PAGE,
			.prot = i ? IOPF_READ : IOPF_RW,
			.cookie = i == 3 ? 0 : i + 1,
		};

	has_map = true;
	queue_map_calls = 0;
	CHECK(iopf_queue_map(q, 1, maps, 40) == 40);
	CHECK(queue_map_calls == 1 && nr_areas == 40);
	CHECK(areas[0].flags == (IOMMU_IOAS_MAP_READABLE |
				 IOMMU_IOAS_MAP_WRITEABLE));
	CHECK(areas[1].flags == IOMMU_IOAS_MAP_READABLE);
	/* Those before the one that fails are done. */
	CHECK(iopf_queue_map(q, 1, maps, 1) == -EEXIST);
	CHECK(strstr(iopf_error(), "cannot map"));
	maps[42].cookie = 1001;
	CHECK(iopf_queue_map(q, 1, maps + 40, 3) == 2);
	CHECK(iopf_queue_map(q, 1, maps + 42, 1) == -EINVAL);
	CHECK(strstr(iopf_error(), "cookie 1001"));
	CHECK(nr_areas == 42);
	maps[42].cookie = 43;

	/* Asked once, and then done in two steps. */
	has_map = false;
	queue_map_calls = 0;
	nr_areas = 0;
	CHECK(iopf_queue_map(q, 1, maps, 40) == 40);
	CHECK(iopf_queue_map(q, 1, maps + 40, 3) == 3);
	CHECK(queue_map_calls == 1 && nr_areas == 43);
	CHECK(read(fault_fds[1], resp, sizeof(resp)) == 39 * sizeof(resp[0]));
	CHECK(resp[0].cookie == 1 && resp[0].code == IOPF_SUCCESS);
	CHECK(resp[3].cookie == 5 && resp[38].cookie == 40);
	CHECK(read(fault_fds[1], resp, sizeof(resp)) == 3 * sizeof(resp[0]));
	map_error = ENOMEM;
	CHECK(iopf_queue_map(q, 1, maps + 50, 2) == -ENOMEM);
	nr_areas = 0;
	iopf_queue_close(q);
}

static void test_queue(void)
{
	struct iopf_response resp = { 0 };
	struct iopf_queue *q = NULL;
	struct iopf_group g;
	unsigned int n = 0;
	__u32 id;

	CHECK(!iopf_queue_open(&fake, &q));
	CHECK(iopf_queue_id(q) == 7);
	CHECK(iopf_queue_wait(q, 0) == 0);
	/* Three groups in one read: of 1, 3 and 1 records. */
	put_record(&n, 1, true);
	put_record(&n, 2, false);
	put_record(&n, 2, false);
	put_record(&n, 2, true);
	put_record(&n, 3, true);
	CHECK(write(fault_fds[1], records, n * sizeof(records[0])) > 0);
	CHECK(iopf_queue_wait(q, 0) == 1);
	CHECK(iopf_queue_read(q, &g) == 1 && g.nr == 1 && g.cookie == 1);
	CHECK(iopf_queue_wait(q, 0) == 1);
	CHECK(iopf_queue_read(q, &g) == 1 && g.nr == 3 && g.cookie == 2);
	CHECK(g.pasid_valid && g.pasid == 3 && g.grpid == 102);
	CHECK(iopf_queue_read(q, &g) == 1 && g.nr == 1 && g.cookie == 3);
	CHECK(iopf_queue_wait(q, 0) == 0);
	CHECK(!iopf_queue_answer(q, 2, IOPF_INVALID));
	CHECK(read(fault_fds[1], &resp, sizeof(resp)) == sizeof(resp));
	CHECK(resp.cookie == 2 && resp.code == IOPF_INVALID);
	/* Groups of a device that is gone, among those of another. */
	n = 0;
	put_record(&n, 1, true);
	put_record(&n, 2, true);
	put_record(&n, 3, false);
	put_record(&n, 3, true);
	put_record(&n, 4, true);
	records[0].dev_id = 8;
	records[1].dev_id = 9;
	records[2].dev_id = 8;
	records[3].dev_id = 8;
	records[4].dev_id = 9;
	CHECK(write(fault_fds[1], records, n * sizeof(records[0])) > 0);
	CHECK(iopf_queue_read(q, &g) == 1 && g.cookie == 1);
	iopf_queue_drop(q, 9);
	CHECK(iopf_queue_read(q, &g) == 1 && g.nr == 2 && g.cookie == 3);
	CHECK(iopf_queue_wait(q, 0) == 0);
	/* Groups that do not end, or run into each other. */
	n = 0;
	put_record(&n, 4, false);
	CHECK(write(fault_fds[1], records, n * sizeof(records[0])) > 0);
	CHECK(iopf_queue_read(q, &g) == -EPROTO);
	n = 0;
	put_record(&n, 5, false);
	put_record(&n, 6, true);
	CHECK(write(fault_fds[1], records, n * sizeof(records[0])) > 0);
	CHECK(iopf_queue_read(q, &g) == -EPROTO);

	hwpt_error = EOPNOTSUPP;
	CHECK(iopf_hwpt_alloc(&fake, 1, 2, q, &id) == -EOPNOTSUPP);
	CHECK(strstr(iopf_error(), "fault queue on a paging domain"));
	CHECK(iopf_hwpt_alloc_pasid(&fake, 1, 2, NULL, &id) == -EOPNOTSUPP);
	CHECK(strstr(iopf_error(), "PASIDs"));
	CHECK(hwpt_flags == 1 << 3);
	CHECK(iopf_hwpt_alloc_pasid(&fake, 1, 2, q, &id) == -EOPNOTSUPP);
	CHECK(hwpt_flags == (1 << 3 | 1 << 2));
	hwpt_error = EINVAL;
	CHECK(iopf_hwpt_alloc(&fake, 1, 2, NULL, &id) == -EINVAL);
	CHECK(!hwpt_flags);
	close(fault_fds[1]);
	iopf_queue_close(q);
}

static void test_process(void)
{
	__u32 id = 0;

	hwpt_error = 0;
	CHECK(iopf_hwpt_alloc_process(&fake, 41, -1, &id) == 0 && id == 42);
	CHECK(process_pidfd == -1);
	id = 1;
	hwpt_error = EPERM;
	CHECK(iopf_hwpt_alloc_process(&fake, 41, 9, &id) == -EPERM && id == 1);
	CHECK(process_pidfd == 9 && strstr(iopf_error(), "debugger"));
	hwpt_error = ESRCH;
	CHECK(iopf_hwpt_alloc_process(&fake, 41, 9, &id) == -ESRCH);
	CHECK(strstr(iopf_error(), "has ended"));
	hwpt_error = EOPNOTSUPP;
	CHECK(iopf_hwpt_alloc_process(&fake, 41, 9, &id) == -EOPNOTSUPP);
	CHECK(strstr(iopf_error(), "iopf probe"));
	/* a kernel that does not know the call */
	hwpt_error = ENOTTY;
	CHECK(iopf_hwpt_alloc_process(&fake, 41, 9, &id) == -EOPNOTSUPP);
	CHECK(strstr(iopf_error(), "linux-iopf series"));
	hwpt_error = 0;
}

/* However many reserved regions cut the address space. */
static void test_last(void)
{
	__u64 last = 1;

	nr_ranges = 0;
	CHECK(iopf_ioas_last(&fake, 1, &last) == -ENOSPC && last == 1);
	nr_ranges = 1;
	CHECK(!iopf_ioas_last(&fake, 1, &last) && last == 4095);
	nr_ranges = 500;
	CHECK(!iopf_ioas_last(&fake, 1, &last) && last == 499 * 8192 + 4095);
}

static void test_stat(void)
{
	static struct iopf_stat s;
	__u64 i, q;

	CHECK(iopf_stat_quantile(&s, 500) == 0);
	for (i = 1; i <= 1000; i++)
		iopf_stat_add(&s, i * 1000);
	CHECK(s.nr == 1000 && s.min == 1000 && s.max == 1000000);
	q = iopf_stat_quantile(&s, 500);
	CHECK(q >= 500000 && q <= 508000);
	q = iopf_stat_quantile(&s, 990);
	CHECK(q >= 990000 && q <= 1000000);
	CHECK(iopf_stat_quantile(&s, 1000) == 1000000);
	CHECK(iopf_stat_quantile(&s, 0) == 1000);

	memset(&s, 0, sizeof(s));
	iopf_stat_add(&s, 0);
	iopf_stat_add(&s, ~0ULL);
	CHECK(iopf_stat_quantile(&s, 1) == 0);
	CHECK(iopf_stat_quantile(&s, 1000) == ~0ULL);
	memset(&s, 0, sizeof(s));
	for (i = 0; i < 64; i++)
		iopf_stat_add(&s, i);
	CHECK(iopf_stat_quantile(&s, 500) == 31);
}

static void test_bdf(void)
{
	static const char * const wrong[] = {
		"", "1", "01:00", "01:00.8", "01:20.0", "01:00.0x", ":00.0",
		"0000:01:00", "zz:00.0", "-1:00.0", " 01:00.0", "01:00.00",
		"10000000:01:00.0", "0x0:01:00.0", "0:01:0x.0", "0: 1:00.0",
		"0:-1:00.0", "0:+1:00.0",
	};
	char bdf[16];
	unsigned int i;

	CHECK(!iopf_pci_bdf("01:00.0", bdf) && !strcmp(bdf, "0000:01:00.0"));
	CHECK(!iopf_pci_bdf("0000:AB:1F.7", bdf) &&
	      !strcmp(bdf, "0000:ab:1f.7"));
	CHECK(!iopf_pci_bdf("10000:e1:00.0", bdf) &&
	      !strcmp(bdf, "10000:e1:00.0"));
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		if (iopf_pci_bdf(wrong[i], bdf) != -EINVAL) {
			printf("# '%s' was taken\n", wrong[i]);
			ok = false;
		}
}

static void test_pattern(void)
{
	__u8 a[64], b[64];

	testdev_pattern(a, sizeof(a), 0x01020304, 0);
	CHECK(a[0] == 4 && a[1] == 3 && a[2] == 2 && a[3] == 1);
	CHECK(a[4] == ((0x01020304U + IOPF_TD_PATTERN_STEP) & 0xff));
	testdev_pattern(b, 20, 0x01020304, 0);
	testdev_pattern(b + 20, 44, 0x01020304, 20);
	CHECK(!memcmp(a, b, sizeof(a)));
	CHECK(testdev_pattern_check(a, 64, 0x01020304, 0) == 64);
	a[33] ^= 1;
	CHECK(testdev_pattern_check(a, 64, 0x01020304, 0) == 33);
	CHECK(!strcmp(testdev_status(12345), "unknown status"));
}

static void write_tree(const char *root, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	if (file) {
		fputs(text, file);
		fclose(file);
	}
}

static void test_kconfig(void)
{
	char root[] = "/tmp/iopf-unittest-XXXXXX";
	char path[256];

	CHECK(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/proc", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/boot", root);
	mkdir(path, 0755);
	iopf_set_root(root);
	kconfig_load("6.0");
	CHECK(!kconfig_known() && kconfig_option("IOMMUFD") == '?');
	write_tree(root, "proc/cmdline",
		   "quiet intel_iommu=on,sm_on noats=1 x=\n");
	write_tree(root, "boot/config-6.0",
		   "CONFIG_VFIO_PCI_CORE=y\n# CONFIG_IOMMUFD is not set\n"
		   "CONFIG_VFIO_PCI=m\nCONFIG_A=\"CONFIG_B=y\"\n");
	kconfig_load("6.0");
	CHECK(kconfig_known());
	CHECK(kconfig_option("VFIO_PCI") == 'm');
	CHECK(kconfig_option("VFIO_PCI_CORE") == 'y');
	CHECK(kconfig_option("IOMMUFD") == 'n');
	CHECK(kconfig_option("B") == 'n');
	CHECK(kcmdline_has("intel_iommu", "sm_on"));
	CHECK(kcmdline_has("intel_iommu", "on"));
	CHECK(!kcmdline_has("intel_iommu", "sm"));
	CHECK(!kcmdline_has("iommu", "on"));
	CHECK(kcmdline_has("quiet", NULL));
	CHECK(!kcmdline_has("x", "y"));
	kconfig_free();
	iopf_set_root("");
	snprintf(path, sizeof(path), "rm -r %s", root);
	CHECK(!system(path));
}

/* Room for more members is zero, whatever the caller had there. */
static void test_reserved(void)
{
	struct iopf_backing *b = new_backing(IOPF_RW, 0);
	static const __u64 zero[8];
	struct iopf_queue *q = NULL;
	struct iopf_served s;
	struct iopf_group g;
	struct iopf_pci pci;
	unsigned int n = 0;

	memset(&g, 0x55, sizeof(g));
	memset(&s, 0x55, sizeof(s));
	memset(&pci, 0x55, sizeof(pci));
	CHECK(!iopf_queue_open(&fake, &q));
	put_record(&n, 1, true);
	CHECK(write(fault_fds[1], records, sizeof(records[0])) > 0);
	CHECK(iopf_queue_read(q, &g) == 1);
	CHECK(!memcmp(g.reserved, zero, sizeof(g.reserved)));
	CHECK(!iopf_backing_serve(b, &g, &s));
	CHECK(!memcmp(s.reserved, zero, sizeof(s.reserved)));
	/* There may be no sysfs where a package is built. */
	CHECK(iopf_pci_read("ffff:ff:1f.7", &pci) ==
	      (access("/sys/bus/pci/devices", F_OK) ? -EIO : -ENODEV));
	CHECK(!memcmp(pci.reserved, zero, sizeof(pci.reserved)));
	iopf_backing_close(b);
	close(fault_fds[1]);
	iopf_queue_close(q);
}

static void *other_thread(void *arg)
{
	*(bool *)arg = !strcmp(iopf_error(), "no error");
	iopf_err(-EIO, "of the other thread");
	return NULL;
}

static void test_error(void)
{
	char line[600];
	pthread_t thread;
	bool clean = false;
	char bdf[16];

	CHECK(!strcmp(iopf_version(), IOPF_VERSION));
	CHECK(iopf_err(-EIO, "cause %d", 7) == -EIO);
	CHECK(!strcmp(iopf_error(), "cause 7"));
	/* The text before it may be part of it. */
	iopf_err(-EIO, "more: %s", iopf_error());
	CHECK(!strcmp(iopf_error(), "more: cause 7"));
	/* One line, whatever is in a name, and no orders to a terminal. */
	iopf_err(-EIO, "%s", "a\nb\x1b[1m\x7f\xc2\x9b\xc3\xa9\xc2");
	CHECK(!strcmp(iopf_error(), "a?b?[1m???\xc3\xa9\xc2"));
	iopf_err(-EIO, "more: %s", "cause 7");
	/* Success leaves it alone, other threads do not see it. */
	CHECK(!iopf_pci_bdf("01:00.0", bdf));
	CHECK(!strcmp(iopf_error(), "more: cause 7"));
	CHECK(!pthread_create(&thread, NULL, other_thread, &clean));
	CHECK(!pthread_join(thread, NULL));
	CHECK(clean && !strcmp(iopf_error(), "more: cause 7"));
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = 0;
	iopf_err(-EIO, "%s", line);
	CHECK(strlen(iopf_error()) == 511);
}

/* Device memory that is mapped, and the same that is not. */
static void test_region(void)
{
	static const char text[] = "0123456789abcdef";
	struct iopf_region in_memory = { .size = 32, .fd = -1 };
	struct iopf_region in_file = { .size = 32, .offset = 4096 };
	struct iopf_region *r;
	__u32 words[8] = { 0 };
	char buf[16];
	int i, fd;

	fd = memfd_create("region", 0);
	CHECK(fd >= 0 && !ftruncate(fd, 8192));
	in_memory.mem = words;
	in_file.fd = fd;
	for (i = 0; i < 2; i++) {
		r = i ? &in_file : &in_memory;
		CHECK(!iopf_region_copy_out(r, 16, text, 16));
		memset(buf, 0, sizeof(buf));
		CHECK(!iopf_region_copy_in(r, 16, buf, 16));
		CHECK(!memcmp(buf, text, 16));
		CHECK(iopf_region_read32(r, 20) == 0x37363534);
		iopf_region_write32(r, 0, 0x01020304);
		CHECK(!iopf_region_copy_in(r, 0, buf, 4));
		CHECK(buf[0] == 4 && buf[3] == 1);
		/* Outside, across the end, not aligned, no whole word. */
		CHECK(iopf_region_copy_in(r, 32, buf, 4) == -ERANGE);
		CHECK(iopf_region_copy_in(r, 20, buf, 16) == -ERANGE);
		CHECK(iopf_region_copy_out(r, -4ULL, text, 8) == -ERANGE);
		CHECK(iopf_region_copy_out(r, 2, text, 4) == -ERANGE);
		CHECK(iopf_region_copy_out(r, 0, text, 6) == -ERANGE);
		CHECK(iopf_region_read32(r, 32) == ~0U);
		CHECK(iopf_region_read32(r, 1) == ~0U);
		iopf_region_write32(r, 30, 0);
		iopf_region_write32(r, 32, 0);
		CHECK(iopf_region_read32(r, 28) == 0x66656463);
	}
	CHECK(!memcmp((char *)words + 16, text, 16));
	CHECK(pread(fd, buf, 16, 4096 + 16) == 16 && !memcmp(buf, text, 16));
	/* Nothing behind the end was written. */
	CHECK(pread(fd, buf, 4, 4096 + 32) == 4 && !memcmp(buf, "\0\0\0", 4));
	close(fd);
}

static void test_sysfile(void)
{
	char root[] = "/tmp/iopf-unittest-XXXXXX";
	char buf[8], path[64];

	CHECK(mkdtemp(root));
	iopf_set_root(root);
	write_tree(root, "text", "1234567890\n");
	write_tree(root, "short", "12\n\n");
	snprintf(path, sizeof(path), "%s/link", root);
	CHECK(!symlink("../a/b", path));
	CHECK(iopf_read_file(buf, sizeof(buf), "/%s", "text") == 7);
	CHECK(!strcmp(buf, "1234567"));
	CHECK(iopf_read_file(buf, sizeof(buf), "/short") == 2);
	CHECK(!strcmp(buf, "12"));
	CHECK(iopf_read_bytes(buf, sizeof(buf), "/short") == 4);
	CHECK(iopf_read_bytes(buf, sizeof(buf), "/text") == 8);
	CHECK(iopf_read_file(buf, sizeof(buf), "/none") == -ENOENT && !buf[0]);
	CHECK(!iopf_read_link(buf, sizeof(buf), "/link") && !strcmp(buf, "b"));
	CHECK(iopf_read_link(buf, sizeof(buf), "/text") == -EINVAL && !buf[0]);
	iopf_set_root("");
	snprintf(path, sizeof(path), "rm -r %s", root);
	CHECK(!system(path));
}

int main(void)
{
	printf("TAP version 13\n1..16\n");
	run("coalesce", test_coalesce);
	run("serve", test_serve);
	run("refuse", test_refuse);
	run("upgrade", test_upgrade);
	run("file", test_file);
	run("queue", test_queue);
	run("process", test_process);
	run("queue_map", test_queue_map);
	run("last", test_last);
	run("stat", test_stat);
	run("bdf", test_bdf);
	run("pattern", test_pattern);
	run("kconfig", test_kconfig);
	run("reserved", test_reserved);
	run("error", test_error);
	run("region", test_region);
	run("sysfile", test_sysfile);
	return failed ? 1 : 0;
}

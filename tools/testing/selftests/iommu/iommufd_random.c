// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls of what fault queues of iommufd are made of, vIOMMUs, PASIDs and processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 *	iommufd_random mock|vfio [STEPS [SEED]]
 *
 * Several threads make STEPS calls together, with arguments of which most are
 * right, on objects that the other threads use, replace and destroy: on mock
 * devices of iommufd, or on a test endpoint that is bound to vfio-pci. Each call
 * must end, with what it may end with, and what it returns must be in itself
 * right. After the last one everything is given up; no page request may be left
 * without its answer then, or have two, and no object may remain.
 *
 * The seed is printed. With the same one every thread draws the same numbers; in
 * which order the threads meet is up to the machine. IOMMUFD_RANDOM_SEED and
 * IOMMUFD_RANDOM_STEPS in the environment do as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define __EXPORTED_HEADERS__
#include <linux/iommufd.h>
#include <linux/iopf.h>
#include <linux/iopf_viommu.h>
#include <linux/vfio.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "../kselftest.h"
#include "common.h"
#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_random.h"

#define MSG		sizeof(struct iommu_hwpt_pgfault)
#define RESP		sizeof(struct iommu_hwpt_page_response)

#define NR_THREADS	4
#define MAX_ROUNDS	50
#define NR_IDS		8
#define NR_QUEUES	4
#define NR_COOKIES	16
#define NR_STABLE	2	/* mock devices that stay until the end */
#define NR_PASIDS	3	/* from 1 on */
#define NR_PROCESSES	2
#define NR_PAGES	64
#define PAGE		4096UL
#define MAX_CMD		8192	/* bytes, more than a call may have */
#define HANG_SECONDS	600

enum kind {
	IOAS, HWPT, QUEUE, DEV, STDEV, VIOMMU, VDEVICE, VEVENTQ, HW_QUEUE,
	NR_KINDS
};

struct queue {
	pthread_rwlock_t lock;	/* writers open and close the file */
	int fd;
	atomic_uint cookie[NR_COOKIES];
};

/* Those of linux/iopf_process.h, which is newer than this program */
#define ALLOC_PROCESS		_IO(0xFB, 0x10)
#define PROCESS_SELF		(-1)

struct alloc_process {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__s32 pidfd;
	__u32 out_hwpt_id;
	__u32 reserved;
};

/* Whose address space may become a page table */
struct process {
	pthread_mutex_t lock;
	pid_t pid;
	int pidfd;
};

struct stable {
	__u32 stdev_id;
	__u32 dev_id;
	atomic_uint asked;
};

struct thread {
	pthread_t id;
	__u64 state;		/* of the random numbers */
	unsigned long steps;
	bool careless;
	const char *at;		/* the call it is in, if that never ends */
	atomic_ulong done;
	bool ended;
	union {
		__u8 cmd[MAX_CMD];
		__u64 aligned;
	};
	__u64 data[8];		/* that the call points to */
};

static bool on_mock;
static int iommufd;
static __u64 iova_base;
static __u8 *pages;		/* NR_PAGES to map */
static __u8 *buffer;		/* NR_PAGES to read and write, nothing behind it */
static atomic_uint ids[NR_KINDS][NR_IDS];
static atomic_uint max_id;
static struct queue queues[NR_QUEUES];
static struct process processes[NR_PROCESSES];
static struct stable stable[NR_STABLE];
static struct thread threads[NR_THREADS];

/* How often each call was made, and how often it did something */
static struct tally {
	const char *name;
	unsigned int made, well;
} tallies[33];
static pthread_mutex_t tally_lock = PTHREAD_MUTEX_INITIALIZER;

/* The endpoint; one thread at a time drives it. */
static struct endpoint endpoint;
static pthread_mutex_t endpoint_lock = PTHREAD_MUTEX_INITIALIZER;
static bool slot_busy[TESTDEV_RING_SIZE];

static __u64 draw(struct thread *t)
{
	return draw_from(&t->state);
}

static __u32 below(struct thread *t, __u32 limit)
{
	return draw_below(&t->state, limit);
}

static bool one_in(struct thread *t, __u32 n)
{
	return !below(t, n);
}

/* Whether to make a mistake. Half of the calls are made without any. */
static bool slip(struct thread *t, __u32 n)
{
	return t->careless && one_in(t, n);
}

static __u32 any_of(struct thread *t, const __u32 *values, unsigned int nr)
{
	return values[below(t, nr)];
}

#define ANY_OF(t, ...)							\
	any_of(t, (const __u32[]){ __VA_ARGS__ },			\
	       sizeof((const __u32[]){ __VA_ARGS__ }) / sizeof(__u32))

static __u32 draw_id(struct thread *t, enum kind kind)
{
	switch (t->careless ? below(t, 16) : 16) {
	case 0:
		return ANY_OF(t, 0, 1, 0x7fffffff, ~0U, 1U << 20);
	case 1:
	case 2:
		kind = below(t, NR_KINDS);
	}
	return ids[kind][below(t, kind == QUEUE ? NR_QUEUES : NR_IDS)];
}

/* What a pointer can point to: memory, its last bytes, or nothing. */
static __u64 draw_pointer(struct thread *t)
{
	switch (t->careless ? below(t, 12) : 12) {
	case 0:
		return 0;
	case 1:
		return (uintptr_t)buffer + NR_PAGES * PAGE;
	case 2:
		return (uintptr_t)buffer + NR_PAGES * PAGE - below(t, 64);
	case 3:
		return 0xffff888000000000ULL;
	}
	return (uintptr_t)buffer + below(t, NR_PAGES / 2) * PAGE +
	       below(t, 64) * 8;
}

static __u64 draw_iova(struct thread *t)
{
	if (slip(t, 16))
		return one_in(t, 2) ? 0 : draw(t);
	return iova_base + below(t, NR_PAGES) * PAGE +
	       (one_in(t, 8) ? below(t, PAGE) : 0);
}

static __u64 draw_length(struct thread *t)
{
	if (slip(t, 16))
		return one_in(t, 2) ? 0 : draw(t);
	return (1 + below(t, 8)) * PAGE + (one_in(t, 8) ? below(t, PAGE) : 0);
}

static void count_call(const char *name, bool well)
{
	struct tally *c = tallies;

	pthread_mutex_lock(&tally_lock);
	while (c->name && strcmp(c->name, name))
		c++;
	c->name = name;
	c->made++;
	c->well += well;
	pthread_mutex_unlock(&tally_lock);
}

/*
 * Make a call with the structure that begins t->cmd, of @size bytes. Sometimes
 * the size of an older or a newer structure is given. The test fails if the
 * errno is none of @allowed, a list that ends with 0. Returns 0 or -1.
 */
static int make_call(struct thread *t, int fd, const char *name,
		     unsigned long request, __u32 size, const int *allowed)
{
	__u32 *told = (__u32 *)t->cmd;
	void *arg = t->cmd;

	memset(t->cmd + size, 0, MAX_CMD - size);
	*told = size;
	switch (t->careless ? below(t, 20) : 20) {
	case 0:
		*told = below(t, size);
		break;
	case 1:
		*told = size + below(t, 64);
		break;
	case 2:
		*told = size + 1 + below(t, 64);
		memset(t->cmd + size, 0xff, 65);
		break;
	case 3:
		*told = ~0U;
		break;
	case 4:
		arg = (void *)draw_pointer(t);
		break;
	}
	t->at = name;
	if (!ioctl(fd, request, arg)) {
		count_call(name, true);
		/* Only what was returned in t->cmd is of use. */
		return arg == t->cmd ? 0 : -1;
	}
	count_call(name, false);
	for (; *allowed; allowed++)
		if (errno == *allowed)
			return -1;
	/* Any call may be made with a bad size or address. */
	if (errno != EINVAL && errno != EFAULT && errno != E2BIG)
		fail("%s: %s, which it may not say", name, strerror(errno));
	return -1;
}

#define CALL(t, fd, request, type, ...)					\
	make_call(t, fd, #request, request, sizeof(type),		\
		  (const int[]){ __VA_ARGS__, 0 })

static bool is_stable(__u32 id)
{
	unsigned int i;

	for (i = 0; i < NR_STABLE; i++)
		if (id && (stable[i].stdev_id == id || stable[i].dev_id == id))
			return true;
	return !on_mock && id == iopf_dev_id(endpoint.dev);
}

static int destroy(__u32 id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return ioctl(iommufd, IOMMU_DESTROY, &cmd);
}

/* Keep a new object in the place of another one: their number is bounded. */
static void keep_id_at(enum kind kind, unsigned int i, __u32 id)
{
	atomic_uint *place = &ids[kind][i];
	__u32 old, max = max_id;

	if (!id) {
		fail("a new object has id 0");
		return;
	}
	while (id > max && !atomic_compare_exchange_weak(&max_id, &max, id))
		;
	old = atomic_exchange(place, id);
	if (!old || old == id)
		return;
	if (is_stable(old) || (destroy(old) && errno == EBUSY)) {
		atomic_store(place, old);
		destroy(id);
	}
}

static void keep_id(struct thread *t, enum kind what, __u32 id)
{
	keep_id_at(what, below(t, NR_IDS), id);
}

static void do_ioas_alloc(struct thread *t)
{
	struct iommu_ioas_alloc *cmd = (void *)t->cmd;

	*cmd = (struct iommu_ioas_alloc){ .flags = slip(t, 8) };
	if (!CALL(t, iommufd, IOMMU_IOAS_ALLOC, *cmd, EOPNOTSUPP))
		keep_id(t, IOAS, cmd->out_ioas_id);
}

static void do_map(struct thread *t)
{
	struct iommu_ioas_map *cmd = (void *)t->cmd;

	*cmd = (struct iommu_ioas_map){
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (one_in(t, 4) ? 0 : IOMMU_IOAS_MAP_WRITEABLE) |
			 (slip(t, 32) ? 1U << 31 : 0),
		.ioas_id = draw_id(t, IOAS),
		.__reserved = slip(t, 64),
		/* A bad address keeps devices from this IOAS: seldom. */
		.user_va = one_in(t, 100) ? draw_pointer(t) :
			   (uintptr_t)pages + below(t, NR_PAGES - 10) * PAGE,
		.length = one_in(t, 20) ? draw_length(t) :
					  (1 + below(t, 8)) * PAGE,
		/* Likewise an address that no device reaches. */
		.iova = one_in(t, 100) ? draw_iova(t) :
			iova_base + below(t, NR_PAGES) * PAGE,
	};
	/* Past the end of the memory the kernel finds nothing to pin. */
	CALL(t, iommufd, IOMMU_IOAS_MAP, *cmd, ENOENT, EEXIST, EOPNOTSUPP,
	     EOVERFLOW, ENOSPC, ENOMEM, EADDRINUSE);
}

static void do_unmap(struct thread *t)
{
	struct iommu_ioas_unmap *cmd = (void *)t->cmd;

	*cmd = (struct iommu_ioas_unmap){
		.ioas_id = draw_id(t, IOAS),
		.iova = slip(t, 16) ? 0 : draw_iova(t),
		.length = one_in(t, 8) ? ~0ULL : draw_length(t),
	};
	if (cmd->length == ~0ULL)
		cmd->iova = 0;
	CALL(t, iommufd, IOMMU_IOAS_UNMAP, *cmd, ENOENT, EOVERFLOW, EBUSY,
	     ENOSPC);
}

static void draw_hwpt_data(struct thread *t, struct iommu_hwpt_alloc *cmd)
{
	struct iommu_hwpt_selftest *mock = (void *)t->data;
	struct iommu_hwpt_vtd_s1 *s1 = (void *)t->data;

	cmd->data_type = ANY_OF(t, IOMMU_HWPT_DATA_SELFTEST,
				IOMMU_HWPT_DATA_VTD_S1, 0x5555);
	cmd->data_uptr = draw_pointer(t);
	cmd->data_len = one_in(t, 4) ? (__u32)draw(t) : below(t, 64);
	if (one_in(t, 4))
		return;
	cmd->data_uptr = (uintptr_t)t->data;
	if (on_mock) {
		mock->iotlb = IOMMU_TEST_IOTLB_DEFAULT;
		cmd->data_type = IOMMU_HWPT_DATA_SELFTEST;
		cmd->data_len = sizeof(*mock);
	} else {
		/* A table somewhere in what is mapped */
		*s1 = (struct iommu_hwpt_vtd_s1){
			.flags = one_in(t, 4) ? draw(t) : 0,
			.pgtbl_addr = draw_iova(t),
			.addr_width = one_in(t, 8) ? below(t, 80) : 48,
		};
		cmd->data_type = IOMMU_HWPT_DATA_VTD_S1;
		cmd->data_len = sizeof(*s1);
	}
}

static void do_hwpt_alloc(struct thread *t)
{
	struct iommu_hwpt_alloc *cmd = (void *)t->cmd;
	bool nested = one_in(t, 6), parent = !nested && one_in(t, 6);

	*cmd = (struct iommu_hwpt_alloc){
		.flags = (parent || one_in(t, 8) ? 0 :
						   IOMMU_HWPT_FAULT_ID_VALID) |
			 (parent || slip(t, 8) ?
				  IOMMU_HWPT_ALLOC_NEST_PARENT : 0) |
			 (slip(t, 6) ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0) |
			 (one_in(t, 4) ? IOMMU_HWPT_ALLOC_PASID : 0) |
			 (slip(t, 32) ? 1U << 31 : 0),
		.dev_id = draw_id(t, DEV),
		.pt_id = draw_id(t, !nested ? IOAS :
				    one_in(t, 2) ? VIOMMU : HWPT),
		.__reserved = slip(t, 64),
		.fault_id = draw_id(t, QUEUE),
	};
	if (nested || slip(t, 8))
		draw_hwpt_data(t, cmd);
	/* EADDRINUSE: something is mapped where the device cannot reach. */
	if (!CALL(t, iommufd, IOMMU_HWPT_ALLOC, *cmd, ENOENT, EOPNOTSUPP,
		  ENODEV, EADDRINUSE))
		keep_id(t, HWPT, cmd->out_hwpt_id);
}

/* One that others may be about to ask for goes, and there is another one. */
static void change_process(unsigned int i)
{
	struct process *p = &processes[i];
	pid_t pid;

	if (pthread_mutex_trylock(&p->lock))
		return;
	pid = fork();
	if (!pid) {
		syscall(SYS_close_range, 0, ~0U, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (p->pid > 0) {
		close(p->pidfd);
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->pid = pid;
	p->pidfd = pid > 0 ? syscall(SYS_pidfd_open, pid, 0) : -1;
	pthread_mutex_unlock(&p->lock);
}

static void do_hwpt_process(struct thread *t)
{
	struct alloc_process *cmd = (void *)t->cmd;
	unsigned int i = below(t, NR_PROCESSES);

	if (one_in(t, 4))
		change_process(i);
	*cmd = (struct alloc_process){
		.flags = slip(t, 16),
		.dev_id = draw_id(t, DEV),
		.pidfd = one_in(t, 16) ? (__s32)draw(t) :
			 one_in(t, 4) ? PROCESS_SELF : processes[i].pidfd,
		.reserved = slip(t, 64),
	};
	if (!CALL(t, iommufd, ALLOC_PROCESS, *cmd, ENOENT, EOPNOTSUPP,
		  EBADF, ESRCH, ENOSPC))
		keep_id(t, HWPT, cmd->out_hwpt_id);
}

static void end_processes(void)
{
	unsigned int i;

	for (i = 0; i < NR_PROCESSES; i++)
		if (processes[i].pid > 0)
			kill(processes[i].pid, SIGKILL);
}

static void do_queue_alloc(struct thread *t)
{
	struct iommu_fault_alloc *cmd = (void *)t->cmd;
	unsigned int i = below(t, NR_QUEUES);
	struct queue *q = &queues[i];

	*cmd = (struct iommu_fault_alloc){ .flags = slip(t, 16) };
	if (CALL(t, iommufd, IOMMU_FAULT_QUEUE_ALLOC, *cmd, EOPNOTSUPP))
		return;
	if (fcntl(cmd->out_fault_fd, F_GETFD) < 0) {
		fail("a new fault queue has no file");
		return;
	}
	keep_id_at(QUEUE, i, cmd->out_fault_id);
	pthread_rwlock_wrlock(&q->lock);
	if (q->fd >= 0 && close(q->fd))
		fail("close of a fault queue: %s", strerror(errno));
	q->fd = cmd->out_fault_fd;
	pthread_rwlock_unlock(&q->lock);
}

static void do_hw_info(struct thread *t)
{
	const __u64 known = IOMMU_HW_CAP_DIRTY_TRACKING |
			    IOMMU_HW_CAP_PCI_PASID_EXEC |
			    IOMMU_HW_CAP_PCI_PASID_PRIV |
			    IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
	struct iommu_hw_info *cmd = (void *)t->cmd;
	__u32 type = ANY_OF(t, 0, IOMMU_HW_INFO_TYPE_INTEL_VTD,
			    IOMMU_HW_INFO_TYPE_SELFTEST, 0x7777);

	*cmd = (struct iommu_hw_info){
		.flags = one_in(t, 2) ? IOMMU_HW_INFO_FLAG_INPUT_TYPE :
					slip(t, 16) << 7,
		.dev_id = draw_id(t, DEV),
		.data_len = one_in(t, 8) ? (__u32)draw(t) : below(t, 128),
		.data_uptr = draw_pointer(t),
		.in_data_type = type,
	};
	if (CALL(t, iommufd, IOMMU_GET_HW_INFO, *cmd, ENOENT, EOPNOTSUPP))
		return;
	if (cmd->out_capabilities & ~known)
		fail("hardware capabilities %#llx", cmd->out_capabilities);
	if (cmd->flags && type && cmd->out_data_type != type)
		fail("hardware data of type %#x instead of %#x",
		     cmd->out_data_type, type);
	if (!cmd->data_len != !cmd->out_data_type)
		fail("hardware data of type %#x with %u bytes",
		     cmd->out_data_type, cmd->data_len);
}

static void do_invalidate(struct thread *t)
{
	struct iommu_hwpt_invalidate *cmd = (void *)t->cmd;
	__u32 asked;

	*cmd = (struct iommu_hwpt_invalidate){
		.hwpt_id = draw_id(t, one_in(t, 3) ? VIOMMU : HWPT),
		.data_uptr = draw_pointer(t),
		.data_type = ANY_OF(t, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
				    IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
				    IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
				    IOPF_HWPT_INVALIDATE_DATA_VTD, 0x99),
		.entry_len = below(t, 64),
		.entry_num = slip(t, 16) ? (__u32)draw(t) : below(t, 4),
		.__reserved = slip(t, 64),
	};
	if (!t->careless) {
		cmd->data_type = on_mock ? IOMMU_HWPT_INVALIDATE_DATA_SELFTEST :
					   IOMMU_HWPT_INVALIDATE_DATA_VTD_S1;
		cmd->entry_len = on_mock ?
			sizeof(struct iommu_hwpt_invalidate_selftest) :
			sizeof(struct iommu_hwpt_vtd_s1_invalidate);
	}
	asked = cmd->entry_num;
	CALL(t, iommufd, IOMMU_HWPT_INVALIDATE, *cmd, ENOENT, EOPNOTSUPP);
	if (cmd->entry_num > asked)
		fail("%u of %u invalidations are done", cmd->entry_num, asked);
}

static void do_dirty_tracking(struct thread *t)
{
	struct iommu_hwpt_set_dirty_tracking *cmd = (void *)t->cmd;

	*cmd = (struct iommu_hwpt_set_dirty_tracking){
		.flags = slip(t, 16) ? 1U << 5 : below(t, 2),
		.hwpt_id = draw_id(t, HWPT),
	};
	CALL(t, iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, *cmd, ENOENT,
	     EOPNOTSUPP);
}

static void do_destroy(struct thread *t)
{
	struct iommu_destroy *cmd = (void *)t->cmd;

	*cmd = (struct iommu_destroy){
		.id = draw_id(t, ANY_OF(t, QUEUE, HWPT, HWPT, HWPT, VIOMMU,
					VDEVICE, VEVENTQ, HW_QUEUE)),
	};
	if (!is_stable(cmd->id))
		CALL(t, iommufd, IOMMU_DESTROY, *cmd, ENOENT, EBUSY);
}

static void do_viommu_alloc(struct thread *t)
{
	struct iommu_viommu_alloc *cmd = (void *)t->cmd;

	*cmd = (struct iommu_viommu_alloc){
		.flags = slip(t, 16),
		.type = on_mock ? IOMMU_VIOMMU_TYPE_SELFTEST :
				  IOPF_VIOMMU_TYPE_VTD,
		.dev_id = draw_id(t, DEV),
		.hwpt_id = draw_id(t, HWPT),
		.__reserved = slip(t, 64),
	};
	if (slip(t, 8))
		cmd->type = draw(t);
	if (one_in(t, 3)) {
		cmd->data_len = sizeof(struct iommu_viommu_selftest);
		cmd->data_uptr = (uintptr_t)t->data;
	} else if (slip(t, 4)) {
		cmd->data_len = draw(t);
		cmd->data_uptr = draw_pointer(t);
	}
	if (!CALL(t, iommufd, IOMMU_VIOMMU_ALLOC, *cmd, ENOENT, EOPNOTSUPP,
		  ENODEV))
		keep_id(t, VIOMMU, cmd->out_viommu_id);
}

static void do_vdevice_alloc(struct thread *t)
{
	struct iommu_vdevice_alloc *cmd = (void *)t->cmd;

	*cmd = (struct iommu_vdevice_alloc){
		.viommu_id = draw_id(t, VIOMMU),
		.dev_id = draw_id(t, DEV),
		.virt_id = slip(t, 8) ? draw(t) : below(t, 4),
	};
	if (!CALL(t, iommufd, IOMMU_VDEVICE_ALLOC, *cmd, ENOENT, EOPNOTSUPP,
		  EEXIST))
		keep_id(t, VDEVICE, cmd->out_vdevice_id);
}

static void do_veventq_alloc(struct thread *t)
{
	struct iommu_veventq_alloc *cmd = (void *)t->cmd;
	int fd;

	*cmd = (struct iommu_veventq_alloc){
		.flags = slip(t, 16),
		.viommu_id = draw_id(t, VIOMMU),
		.type = on_mock ? IOMMU_VEVENTQ_TYPE_SELFTEST :
				  IOPF_VEVENTQ_TYPE_VTD,
		.veventq_depth = slip(t, 8) ? draw(t) : 1 + below(t, 64),
		.__reserved = slip(t, 64),
	};
	if (CALL(t, iommufd, IOMMU_VEVENTQ_ALLOC, *cmd, ENOENT, EOPNOTSUPP,
		 EEXIST))
		return;
	fd = cmd->out_veventq_fd;
	keep_id(t, VEVENTQ, cmd->out_veventq_id);
	if (read(fd, (void *)draw_pointer(t), below(t, 2 * PAGE)) < 0 &&
	    errno != EINVAL && errno != EFAULT)
		fail("read of events: %s", strerror(errno));
	if (close(fd))
		fail("close of an event queue: %s", strerror(errno));
}

static void do_hw_queue_alloc(struct thread *t)
{
	struct iommu_hw_queue_alloc *cmd = (void *)t->cmd;

	*cmd = (struct iommu_hw_queue_alloc){
		.flags = slip(t, 16),
		.viommu_id = draw_id(t, VIOMMU),
		.type = slip(t, 8) ? draw(t) : IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.index = slip(t, 8) ? draw(t) : below(t, 2),
		.nesting_parent_iova = draw_iova(t),
		.length = draw_length(t),
	};
	if (!CALL(t, iommufd, IOMMU_HW_QUEUE_ALLOC, *cmd, ENOENT, EOPNOTSUPP,
		  EEXIST, EOVERFLOW, EBUSY, EIO))
		keep_id(t, HW_QUEUE, cmd->out_hw_queue_id);
}

static __u32 draw_pasid(struct thread *t)
{
	return slip(t, 16) ? ANY_OF(t, 0, ~0U, 1U << 20, 1U << 19) :
			     1 + below(t, NR_PASIDS);
}

static void do_mock_pasid(struct thread *t)
{
	struct iommu_test_cmd *cmd = (void *)t->cmd;

	*cmd = (struct iommu_test_cmd){
		.op = ANY_OF(t, IOMMU_TEST_OP_PASID_ATTACH,
			     IOMMU_TEST_OP_PASID_REPLACE,
			     IOMMU_TEST_OP_PASID_DETACH),
		.id = draw_id(t, STDEV),
		.pasid_attach.pasid = draw_pasid(t),
		.pasid_attach.pt_id = draw_id(t, HWPT),
	};
	if (cmd->op == IOMMU_TEST_OP_PASID_DETACH)
		cmd->pasid_attach.pt_id = 0;
	CALL(t, iommufd, IOMMU_TEST_CMD, *cmd, ENOENT, ENODEV, EOPNOTSUPP,
	     EBUSY, EADDRINUSE);
}

static void do_mock_create(struct thread *t)
{
	struct iommu_test_cmd *cmd = (void *)t->cmd;

	*cmd = (struct iommu_test_cmd){
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
		.id = draw_id(t, one_in(t, 4) ? HWPT : IOAS),
		.mock_domain_flags.dev_flags = ANY_OF(t, 0,
			MOCK_FLAGS_DEVICE_SHARED_GROUP,
			MOCK_FLAGS_DEVICE_PASID, MOCK_FLAGS_DEVICE_NO_IOPF,
			MOCK_FLAGS_DEVICE_DEAF_IOPF, MOCK_FLAGS_DEVICE_NO_DIRTY,
			1U << 27),
	};
	if (CALL(t, iommufd, IOMMU_TEST_CMD, *cmd, ENOENT, ENODEV, EOPNOTSUPP,
		 EADDRINUSE))
		return;
	keep_id(t, DEV, cmd->mock_domain_flags.out_idev_id);
	keep_id(t, STDEV, cmd->mock_domain_flags.out_stdev_id);
}

static void do_mock_replace(struct thread *t)
{
	struct iommu_test_cmd *cmd = (void *)t->cmd;

	*cmd = (struct iommu_test_cmd){
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
		.id = draw_id(t, STDEV),
		.mock_domain_replace.pt_id =
			draw_id(t, one_in(t, 4) ? IOAS : HWPT),
	};
	if (one_in(t, 2))
		cmd->id = stable[below(t, NR_STABLE)].stdev_id;
	CALL(t, iommufd, IOMMU_TEST_CMD, *cmd, ENOENT, ENODEV, EOPNOTSUPP,
	     EBUSY, EADDRINUSE);
}

static void do_mock_destroy(struct thread *t)
{
	__u32 id = draw_id(t, STDEV);

	t->at = "destroy of a mock device";
	if (!is_stable(id) && destroy(id) && errno != ENOENT && errno != EBUSY)
		fail("%s: %s", t->at, strerror(errno));
}

/* The call that is counted has right sizes: it is the device's, not a user's. */
static void do_mock_ask(struct thread *t)
{
	struct stable *dev = &stable[below(t, NR_STABLE)];
	bool old = one_in(t, 8);
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = old ? IOMMU_TEST_OP_TRIGGER_IOPF : IOMMU_TEST_OP_IOPF_SEND,
	};
	bool known = !slip(t, 2);
	__u32 dev_id = known ? dev->dev_id : draw_id(t, DEV);
	bool last = old;

	if (old) {
		cmd.trigger_iopf.dev_id = dev_id;
		cmd.trigger_iopf.pasid = one_in(t, 4) ? below(t, 4) : 0;
		cmd.trigger_iopf.grpid = below(t, 512);
	} else {
		cmd.iopf_send.dev_id = dev_id;
		cmd.iopf_send.flags = (one_in(t, 3) ? 0 : MOCK_IOPF_LAST) |
				      (slip(t, 4) ? MOCK_IOPF_PASID : 0) |
				      (slip(t, 12) ? MOCK_IOPF_MALFORMED : 0);
		cmd.iopf_send.pasid = one_in(t, 4) ? below(t, 4) : 0;
		cmd.iopf_send.grpid = below(t, 512);
		cmd.iopf_send.addr = draw_iova(t) & ~(PAGE - 1);
		cmd.iopf_send.perm = below(t, 4);
		last = cmd.iopf_send.flags & MOCK_IOPF_LAST;
	}
	t->at = "page request of a mock device";
	if (!ioctl(iommufd, IOMMU_TEST_CMD, &cmd)) {
		if (known && last)
			dev->asked++;
		else if (!known && last && dev_id == stable[0].dev_id)
			stable[0].asked++;
		else if (!known && last && dev_id == stable[1].dev_id)
			stable[1].asked++;
	} else if (known || (errno != ENOENT && errno != EINVAL)) {
		fail("%s: %s", t->at, strerror(errno));
	}
}

static void do_vfio_detach(struct thread *t)
{
	struct vfio_device_detach_iommufd_pt *cmd = (void *)t->cmd;

	*cmd = (struct vfio_device_detach_iommufd_pt){
		.flags = slip(t, 32) ? 1U << 31 :
			 one_in(t, 2) ? VFIO_DEVICE_DETACH_PASID : 0,
		.pasid = draw_pasid(t),
	};
	CALL(t, iopf_dev_fd(endpoint.dev), VFIO_DEVICE_DETACH_IOMMUFD_PT, *cmd,
	     EOPNOTSUPP);
}

static void do_vfio_bind(struct thread *t)
{
	struct vfio_device_bind_iommufd *cmd = (void *)t->cmd;

	*cmd = (struct vfio_device_bind_iommufd){
		.flags = slip(t, 4),
		.iommufd = one_in(t, 2) ? iommufd : -1,
	};
	if (!CALL(t, iopf_dev_fd(endpoint.dev), VFIO_DEVICE_BIND_IOMMUFD, *cmd,
		  EINVAL))
		fail("the device could be bound twice");
}

static void sweep_slots(void)
{
	struct testdev_result r;
	unsigned int i;

	for (i = 0; i < TESTDEV_RING_SIZE; i++)
		if (slot_busy[i] && testdev_done(&endpoint.td, i, &r))
			slot_busy[i] = false;
}

static void do_transfer(struct thread *t)
{
	static const __u32 opcodes[] = {
		IOPF_TD_OP_FILL, IOPF_TD_OP_COMPARE, IOPF_TD_OP_PAGE_REQUEST,
	};
	unsigned int slot;
	int ret;

	t->at = "transfer of the endpoint";
	pthread_mutex_lock(&endpoint_lock);
	sweep_slots();
	ret = start_op(&endpoint, any_of(t, opcodes, 3),
		       IOPF_TD_F_GROUP * below(t, 2),
		       iova_base + below(t, NR_PAGES) * PAGE,
		       1 + below(t, 8 * PAGE), &slot);
	if (!ret)
		slot_busy[slot] = true;
	else if (ret != -EBUSY)
		fail("%s: %s", t->at, iopf_error());
	pthread_mutex_unlock(&endpoint_lock);
}

static void do_storm(struct thread *t)
{
	struct testdev *td = &endpoint.td;

	t->at = "storm of the endpoint";
	pthread_mutex_lock(&endpoint_lock);
	if (!(testdev_reg(td, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_STORM)) {
		testdev_set(td, IOPF_TD_REG_HOSTILE,
			    IOPF_TD_HOSTILE_IGNORE_ALLOC * one_in(t, 8));
		testdev_set64(td, IOPF_TD_REG_STORM_ADDR, iova_base);
		testdev_set(td, IOPF_TD_REG_STORM_COUNT, below(t, 600));
		testdev_set(td, IOPF_TD_REG_STORM_GROUP, 1 + below(t, 32));
		testdev_set(td, IOPF_TD_REG_STORM_FLAGS,
			    IOPF_TD_STORM_F_READ | IOPF_TD_STORM_F_WRITE);
		testdev_set(td, IOPF_TD_REG_STORM_GO, 1);
	}
	pthread_mutex_unlock(&endpoint_lock);
}

static void do_reset(struct thread *t)
{
	int ret;

	t->at = "VFIO_DEVICE_RESET";
	pthread_mutex_lock(&endpoint_lock);
	ret = iopf_dev_reset(endpoint.dev);
	if (!ret)
		ret = testdev_start(&endpoint.td);
	memset(slot_busy, 0, sizeof(slot_busy));
	if (ret)
		fail("%s: %s", t->at, iopf_error());
	pthread_mutex_unlock(&endpoint_lock);
}

static void check_messages(struct queue *q, struct thread *t,
			   const struct iommu_hwpt_pgfault *msg, size_t nr)
{
	const __u32 flags = IOMMU_PGFAULT_FLAGS_PASID_VALID |
			    IOMMU_PGFAULT_FLAGS_LAST_PAGE;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (msg[i].flags == IOPF_PGFAULT_FLAGS_LOST) {
			if (i || !msg[i].addr || msg[i].cookie)
				fail("message %zu tells of %llu lost, cookie %u",
				     i, msg[i].addr, msg[i].cookie);
			continue;
		}
		if ((msg[i].flags & ~flags) || msg[i].__reserved ||
		    msg[i].length || !msg[i].dev_id || !msg[i].cookie)
			fail("message %zu: %#x, %#x, %#x, device %u, cookie %u",
			     i, msg[i].flags, msg[i].__reserved, msg[i].length,
			     msg[i].dev_id, msg[i].cookie);
		if (!(msg[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE) &&
		    (i + 1 == nr || msg[i + 1].cookie != msg[i].cookie))
			fail("message %zu of %zu: its group has no end", i, nr);
		q->cookie[below(t, NR_COOKIES)] = msg[i].cookie;
	}
}

static void do_read(struct queue *q, struct thread *t)
{
	struct iommu_hwpt_pgfault *msg = (void *)t->cmd;
	bool mine = !slip(t, 3);
	void *to = mine ? msg : (void *)draw_pointer(t);
	size_t count = below(t, MAX_CMD / MSG + 1) * MSG + slip(t, 16);
	ssize_t len = read(q->fd, to, count);

	if (len < 0) {
		if (errno != EINVAL && errno != EFAULT && errno != ESPIPE)
			fail("read: %s", strerror(errno));
	} else if (len > (ssize_t)count || len % MSG) {
		fail("read returns %zd of %zu bytes", len, count);
	} else if (mine) {
		check_messages(q, t, msg, len / MSG);
	}
	count_call("read of faults", len > 0);
}

static void do_write(struct queue *q, struct thread *t)
{
	struct iommu_hwpt_page_response *resp = (void *)t->cmd;
	size_t nr = below(t, one_in(t, 8) ? 70 : 4), i;
	size_t count = nr * RESP + slip(t, 16);
	ssize_t len;

	for (i = 0; i < nr; i++) {
		resp[i].cookie = slip(t, 4) ? (__u32)draw(t) :
				 q->cookie[below(t, NR_COOKIES)];
		resp[i].code = slip(t, 12) ? (__u32)draw(t) : below(t, 2);
	}
	len = write(q->fd, slip(t, 12) ? (void *)draw_pointer(t) : resp,
		    count);
	if (len < 0) {
		if (errno != EINVAL && errno != EFAULT && errno != ESPIPE)
			fail("write: %s", strerror(errno));
	} else if (len > (ssize_t)count || len % RESP) {
		fail("write returns %zd of %zu bytes", len, count);
	}
	count_call("write of answers", len > 0);
}

/* What a program does: map what is missing, and answer. */
static void do_serve(struct queue *q, struct thread *t)
{
	struct iommu_hwpt_page_response resp = { 0 };
	struct iommu_hwpt_pgfault *msg = (void *)t->cmd;
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.length = PAGE,
		.user_va = (uintptr_t)pages,
	};
	ssize_t len = read(q->fd, msg, MAX_CMD / MSG * MSG), i;

	if (len <= 0)
		return;
	check_messages(q, t, msg, len / MSG);
	for (i = 0; i < (ssize_t)(len / MSG); i++) {
		if (!(msg[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE))
			continue;
		map.ioas_id = ids[IOAS][below(t, NR_IDS)];
		map.iova = msg[i].addr;
		ioctl(iommufd, IOMMU_IOAS_MAP, &map);
		resp.cookie = msg[i].cookie;
		resp.code = below(t, 2);
		len = write(q->fd, &resp, RESP);
		/* Others answer as well, and some of them at random. */
		if (len != RESP && errno != EINVAL)
			fail("write: %s", strerror(errno));
		count_call("answer in time", len == RESP);
		return;
	}
}

static void do_limits(struct queue *q, struct thread *t)
{
	struct iopf_queue_limits *cmd = (void *)t->cmd;

	*cmd = (struct iopf_queue_limits){
		.flags = slip(t, 16) ? (__u32)draw(t) :
			 below(t, 2) * IOPF_QUEUE_TELL_LOST,
		.timeout_ms = ANY_OF(t, 0, 0, 0, 0, 0, 1, 100, ~0U),
		.depth = ANY_OF(t, 0, 0, 0, 0, 1, 7, 100, ~0U),
	};
	CALL(t, q->fd, IOPF_QUEUE_SET_LIMITS, *cmd, EOPNOTSUPP);
}

/* Map and answer in one call, some entries of which are right. */
static void do_map_answer(struct queue *q, struct thread *t)
{
	struct iopf_queue_map *cmd = (void *)t->cmd;
	__u32 nr = below(t, one_in(t, 8) ? 40 : 4), i;
	struct iopf_map_answer entry[40];

	for (i = 0; i < nr; i++)
		entry[i] = (struct iopf_map_answer){
			.user_va = one_in(t, 100) ? draw_pointer(t) :
				(uintptr_t)pages +
				below(t, NR_PAGES - 10) * PAGE,
			.length = one_in(t, 20) ? draw_length(t) : PAGE,
			.iova = one_in(t, 100) ? draw_iova(t) :
				iova_base + below(t, NR_PAGES) * PAGE,
			.flags = slip(t, 16) ? (__u32)draw(t) :
				 IOMMU_IOAS_MAP_READABLE |
				 (one_in(t, 4) ? 0 : IOMMU_IOAS_MAP_WRITEABLE),
			.cookie = slip(t, 4) ? (__u32)draw(t) :
				  one_in(t, 4) ? 0 :
				  q->cookie[below(t, NR_COOKIES)],
		};
	*cmd = (struct iopf_queue_map){
		.flags = slip(t, 32),
		.iommufd = slip(t, 16) ? q->fd : slip(t, 16) ? -1 : iommufd,
		.ioas_id = draw_id(t, IOAS),
		.entries = slip(t, 16) ? draw_pointer(t) : (uintptr_t)entry,
		.entry_num = nr,
		.__reserved = slip(t, 64),
	};
	CALL(t, q->fd, IOPF_QUEUE_MAP, *cmd, ENOENT, EEXIST, EOPNOTSUPP,
	     EOVERFLOW, ENOSPC, ENOMEM, EADDRINUSE, EBADF, EBADFD);
	if (cmd->entry_num > nr && cmd->size == sizeof(*cmd))
		fail("%u of %u mappings were done", cmd->entry_num, nr);
}

static void do_status(struct queue *q, struct thread *t)
{
	struct iopf_queue_status *cmd = (void *)t->cmd;

	*cmd = (struct iopf_queue_status){ .flags = slip(t, 16) };
	if (CALL(t, q->fd, IOPF_QUEUE_GET_STATUS, *cmd, EOPNOTSUPP))
		return;
	if (cmd->out_unread + (__u64)cmd->out_unanswered + cmd->out_answered >
	    cmd->out_groups)
		fail("%llu groups, of which %u are unread, %u unanswered, %llu answered",
		     cmd->out_groups, cmd->out_unread, cmd->out_unanswered,
		     cmd->out_answered);
	if (cmd->out_timed_out > cmd->out_groups)
		fail("%llu groups, of which %llu timed out", cmd->out_groups,
		     cmd->out_timed_out);
}

static void do_other_ioctl(struct queue *q, struct thread *t)
{
	unsigned long request = ANY_OF(t, _IO(IOPF_QUEUE_TYPE, 3),
				       IOMMU_IOAS_ALLOC, IOMMU_HWPT_ALLOC,
				       0x12345678);

	if (!ioctl(q->fd, request, t->cmd) || errno != ENOTTY)
		fail("ioctl %#lx of a fault queue: %s", request,
		     strerror(errno));
}

static void do_poll(struct queue *q, struct thread *t)
{
	struct pollfd pfd = { .fd = q->fd, .events = POLLIN | POLLOUT };

	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT) ||
	    (pfd.revents & ~(POLLIN | POLLOUT)))
		fail("poll says %#x", pfd.revents);
}

static void do_fdinfo(struct queue *q, struct thread *t)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", q->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, t->cmd, MAX_CMD - 1);
	if (fd >= 0)
		close(fd);
	t->cmd[len > 0 ? len : 0] = 0;
	if (!strstr((char *)t->cmd, "iopf-groups:"))
		fail("%s says nothing of groups", path);
}

static void do_queue_file(struct thread *t)
{
	static const struct {
		const char *name;
		void (*run)(struct queue *q, struct thread *t);
	} calls[] = {
		{ "read", do_read }, { "read", do_read }, { "read", do_read },
		{ "write", do_write }, { "write", do_write },
		{ "write", do_write }, { "limits", do_limits },
		{ "status", do_status }, { "status", do_status },
		{ "ioctl", do_other_ioctl }, { "poll", do_poll },
		{ "fdinfo", do_fdinfo }, { "map", do_map_answer },
		{ "map", do_map_answer }, { "serve", do_serve },
		{ "serve", do_serve }, { "serve", do_serve },
		{ "serve", do_serve }, { "serve", do_serve },
	};
	struct queue *q = &queues[below(t, NR_QUEUES)];
	unsigned int i = below(t, ARRAY_SIZE(calls));

	pthread_rwlock_rdlock(&q->lock);
	t->at = calls[i].name;
	if (q->fd >= 0)
		calls[i].run(q, t);
	pthread_rwlock_unlock(&q->lock);
}

/* The endpoint takes its time. Meanwhile other threads may do anything. */
static void serve_a_while(struct thread *t)
{
	unsigned int round, i;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < NR_QUEUES; i++) {
			pthread_rwlock_rdlock(&queues[i].lock);
			t->at = "serve";
			if (queues[i].fd >= 0)
				do_serve(&queues[i], t);
			pthread_rwlock_unlock(&queues[i].lock);
		}
		nap();
	}
}

static void do_vfio_attach(struct thread *t)
{
	struct vfio_device_attach_iommufd_pt *cmd = (void *)t->cmd;

	*cmd = (struct vfio_device_attach_iommufd_pt){
		.flags = slip(t, 32) ? 1U << 31 :
			 one_in(t, 4) ? VFIO_DEVICE_ATTACH_PASID : 0,
		.pt_id = draw_id(t, one_in(t, 4) ? IOAS : HWPT),
		.pasid = draw_pasid(t),
	};
	if (CALL(t, iopf_dev_fd(endpoint.dev), VFIO_DEVICE_ATTACH_IOMMUFD_PT,
		 *cmd, ENOENT, ENODEV, EOPNOTSUPP, EBUSY, EADDRINUSE, ENOSPC,
		 ESRCH) ||
	    (cmd->flags & VFIO_DEVICE_ATTACH_PASID))
		return;
	do_transfer(t);
	serve_a_while(t);
}

struct action {
	void (*run)(struct thread *t);
	unsigned int weight[2];		/* on the endpoint, on the mock */
};

static const struct action actions[] = {
	{ do_queue_file, { 120, 40 } },
	{ do_mock_ask, { 0, 40 } },
	{ do_transfer, { 40, 0 } },
	{ do_storm, { 1, 0 } },
	{ do_ioas_alloc, { 3, 3 } },
	{ do_map, { 8, 8 } },
	{ do_unmap, { 4, 4 } },
	{ do_hwpt_alloc, { 8, 8 } },
	{ do_hwpt_process, { 4, 1 } },
	{ do_queue_alloc, { 1, 1 } },
	{ do_hw_info, { 3, 3 } },
	{ do_invalidate, { 3, 3 } },
	{ do_dirty_tracking, { 2, 2 } },
	{ do_destroy, { 3, 4 } },
	{ do_viommu_alloc, { 2, 4 } },
	{ do_vdevice_alloc, { 2, 4 } },
	{ do_veventq_alloc, { 2, 4 } },
	{ do_hw_queue_alloc, { 1, 4 } },
	{ do_mock_pasid, { 0, 4 } },
	{ do_mock_create, { 0, 2 } },
	{ do_mock_replace, { 0, 8 } },
	{ do_mock_destroy, { 0, 2 } },
	{ do_vfio_attach, { 4, 0 } },
	{ do_vfio_detach, { 1, 0 } },
	{ do_vfio_bind, { 1, 0 } },
	{ do_reset, { 1, 0 } },
};

static void do_something(struct thread *t)
{
	unsigned int sum = 0, i;
	__u32 which;

	t->careless = one_in(t, 2);

	for (i = 0; i < ARRAY_SIZE(actions); i++)
		sum += actions[i].weight[on_mock];
	which = below(t, sum);
	for (i = 0; which >= actions[i].weight[on_mock]; i++)
		which -= actions[i].weight[on_mock];
	actions[i].run(t);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	for (; t->done < t->steps && !failed; t->done++)
		do_something(t);
	return NULL;
}

/* Returns false if a thread does not come back. */
static bool join_threads(void)
{
	unsigned long done[NR_THREADS] = { 0 }, now;
	unsigned int i, seconds = 0;
	struct timespec until;

	for (i = 0; i < NR_THREADS; i++) {
		seconds = 0;
		for (;;) {
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec++;
			if (!pthread_timedjoin_np(threads[i].id, NULL, &until))
				break;
			now = threads[i].done;
			seconds = now == done[i] ? seconds + 1 : 0;
			done[i] = now;
			if (seconds > HANG_SECONDS) {
				fail("thread %u does not return from %s", i,
				     threads[i].at);
				return false;
			}
		}
	}
	return true;
}

static void run_threads(unsigned long steps, __u64 seed)
{
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++) {
		threads[i].state = seed * NR_THREADS + i;
		threads[i].steps = steps / NR_THREADS;
		threads[i].done = 0;
		threads[i].at = "nothing";
		if (pthread_create(&threads[i].id, NULL, thread_main,
				   &threads[i]))
			ksft_exit_fail_msg("no threads\n");
	}
	if (!join_threads()) {
		/* A thread still uses the memory: exit without freeing it. */
		ksft_test_result_fail("calls end as they may\n");
		ksft_exit_fail();
	}
}

/*
 * A run in which nothing did well has tested nothing. How many faults the endpoint
 * gets to send is up to the machine.
 */
static bool proven(void)
{
	const char *proof = on_mock ? "answer in time" :
				      "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
	const struct tally *c;

	for (c = tallies; c < tallies + ARRAY_SIZE(tallies) && c->name; c++)
		if (!strcmp(c->name, proof))
			return c->well;
	return false;
}

static void tell_tallies(void)
{
	const struct tally *c;

	for (c = tallies; c < tallies + ARRAY_SIZE(tallies) && c->name; c++)
		ksft_print_msg("%6u of %6u  %s\n", c->well, c->made, c->name);
}

/*
 * Some seeds spend a short run without a device on a HWPT with a fault queue. So
 * such a run is followed by more, each with a seed of its own, until one has proven
 * something or MAX_ROUNDS did not.
 */
static void run_rounds(unsigned long steps, __u64 seed)
{
	unsigned int round = 0;

	do {
		if (round)
			ksft_print_msg("nothing proven yet, now seed %llu\n",
				       seed + round);
		run_threads(steps, seed + round);
	} while (!failed && !proven() && ++round < MAX_ROUNDS);
}

static void close_queues(void)
{
	unsigned int i;

	for (i = 0; i < NR_QUEUES; i++) {
		if (queues[i].fd >= 0 && close(queues[i].fd))
			fail("close of a fault queue: %s", strerror(errno));
		queues[i].fd = -1;
	}
}

static bool mock_answered(unsigned int i, unsigned int *answers)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_IOPF_ANSWER,
		.iopf_answer.dev_id = stable[i].dev_id,
	};

	if (ioctl(iommufd, IOMMU_TEST_CMD, &cmd))
		ksft_exit_fail_perror("IOMMU_TEST_OP_IOPF_ANSWER");
	*answers = cmd.iopf_answer.out_total;
	return *answers >= stable[i].asked;
}

/* Every last request was answered once, if late for want of memory. */
static bool mock_settled(void)
{
	unsigned int i, answers;
	bool good = true;
	__u64 end;

	for (i = 0; i < NR_STABLE; i++) {
		end = iopf_now() + LONG_MS * 1000000ULL;
		while (!mock_answered(i, &answers) && iopf_now() < end)
			nap();
		ksft_print_msg("device %u: %u groups, %u answers\n", i,
			       stable[i].asked, answers);
		good &= answers == stable[i].asked;
	}
	return good;
}

static bool endpoint_settled(void)
{
	struct testdev *td = &endpoint.td;

	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
	};
	__u32 pasid;

	ksft_print_msg("last: %u requests, %u groups, %u done, %u failed\n",
		       testdev_reg(td, IOPF_TD_REG_CNT_PR),
		       testdev_reg(td, IOPF_TD_REG_CNT_PR_LAST),
		       testdev_reg(td, IOPF_TD_REG_CNT_DESC_OK),
		       testdev_reg(td, IOPF_TD_REG_CNT_DESC_ERROR));
	if (ioctl(iopf_dev_fd(endpoint.dev), VFIO_DEVICE_DETACH_IOMMUFD_PT,
		  &detach)) {
		ksft_print_msg("detach: %s\n", strerror(errno));
		return false;
	}
	detach.flags = VFIO_DEVICE_DETACH_PASID;
	for (pasid = 1; pasid <= NR_PASIDS; pasid++) {
		detach.pasid = pasid;
		if (!ioctl(iopf_dev_fd(endpoint.dev),
			   VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
			continue;
		ksft_print_msg("detach of a PASID: %s\n", strerror(errno));
		return false;
	}
	testdev_set(td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
	if (wait_reg(&endpoint, IOPF_TD_REG_PRI_OUTSTANDING, 0) ||
	    check_answers(&endpoint, -1, -1)) {
		ksft_print_msg("%s\n", iopf_error());
		return false;
	}
	return true;
}

/* Objects hold each other, so it takes some rounds. */
static bool nothing_remains(void)
{
	bool busy = true, progress = true;
	__u32 id;

	while (busy && progress) {
		busy = false;
		progress = false;
		for (id = 1; id <= max_id; id++) {
			if (!on_mock && id == iopf_dev_id(endpoint.dev))
				continue;
			if (!destroy(id))
				progress = true;
			else if (errno != ENOENT)
				busy = true;
		}
	}
	if (busy)
		ksft_print_msg("there are objects which cannot be destroyed\n");
	return !busy;
}

/* Make the first objects, so that the first calls have a chance to succeed. */
static void fill_ids(const __u32 *dev, const __u32 *stdev, unsigned int nr)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	unsigned int i;

	for (i = 0; i < NR_IDS; i++) {
		if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
			ksft_exit_fail_perror("IOMMU_IOAS_ALLOC");
		ids[IOAS][i] = alloc.out_ioas_id;
		ids[DEV][i] = dev[i % nr];
		ids[STDEV][i] = stdev ? stdev[i % nr] : 0;
	}
	max_id = alloc.out_ioas_id;
}

static void open_mock(void)
{
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	__u32 dev[NR_STABLE], stdev[NR_STABLE];
	struct iommu_test_cmd cmd;
	unsigned int i;

	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommufd < 0)
		ksft_exit_skip("no /dev/iommu\n");
	iova_base = MOCK_APERTURE_START;
	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &ioas))
		ksft_exit_fail_perror("IOMMU_IOAS_ALLOC");
	for (i = 0; i < NR_STABLE; i++) {
		cmd = (struct iommu_test_cmd){
			.size = sizeof(cmd),
			.op = IOMMU_TEST_OP_MOCK_DOMAIN,
			.id = ioas.out_ioas_id,
		};
		if (ioctl(iommufd, IOMMU_TEST_CMD, &cmd))
			ksft_exit_skip("no mock devices: CONFIG_IOMMUFD_TEST\n");
		stdev[i] = cmd.mock_domain.out_stdev_id;
		dev[i] = cmd.mock_domain.out_idev_id;
		stable[i].stdev_id = stdev[i];
		stable[i].dev_id = dev[i];
	}
	fill_ids(dev, stdev, NR_STABLE);
}

static void open_vfio(void)
{
	struct found found = { 0 };
	struct iopf_ctx *ctx;
	__u32 dev_id;
	int ret;

	iopf_pci_scan(find_endpoint, &found);
	if (!found.nr)
		ksft_exit_skip("no test endpoint 1234:11f0 with PRI on vfio-pci\n");
	ret = iopf_ctx_open(&ctx);
	if (!ret)
		ret = iopf_dev_open(ctx, found.bdf[0], &endpoint.dev);
	if (!ret)
		ret = testdev_open(endpoint.dev, &endpoint.td);
	if (ret)
		ksft_exit_fail_msg("%s: %s\n", found.bdf[0], iopf_error());
	iommufd = iopf_ctx_fd(ctx);
	iova_base = BASE;
	dev_id = iopf_dev_id(endpoint.dev);
	fill_ids(&dev_id, NULL, 1);
	/* What it asks for while no table, or a bad one, is attached */
	expect_dma_faults(DMA_ANY_DEVICE, DMA_ANY_PASID, ".*", DMA_ANY_FAULT);
}

/* @nr pages, and after them nothing */
static void *map_pages(unsigned int nr)
{
	__u8 *p = mmap(NULL, (nr + 1) * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + nr * PAGE, PAGE, PROT_NONE))
		ksft_exit_fail_perror("memory");
	return p;
}

static unsigned long argument(int argc, char **argv, int i, const char *name,
			      unsigned long otherwise)
{
	const char *text = argc > i ? argv[i] : getenv(name);
	unsigned long value;
	char *end;

	if (!text)
		return otherwise;
	value = strtoul(text, &end, 0);
	if (end == text || *end)
		ksft_exit_fail_msg("'%s' is no number\n", text);
	return value;
}

int main(int argc, char **argv)
{
	unsigned long steps, seed;
	unsigned int i;

	ksft_print_header();
	on_mock = argc < 2 || !strcmp(argv[1], "mock");
	if (!on_mock && strcmp(argv[1], "vfio"))
		ksft_exit_fail_msg("usage: iommufd_random mock|vfio [STEPS [SEED]]\n");
	steps = argument(argc, argv, 2, "IOMMUFD_RANDOM_STEPS", 20000);
	seed = argument(argc, argv, 3, "IOMMUFD_RANDOM_SEED",
			(unsigned long)iopf_now() & 0xffffffff);
	ksft_print_msg("seed %lu, %lu steps\n", seed, steps);

	pages = map_pages(NR_PAGES);
	buffer = map_pages(NR_PAGES);
	for (i = 0; i < NR_QUEUES; i++) {
		pthread_rwlock_init(&queues[i].lock, NULL);
		queues[i].fd = -1;
	}
	for (i = 0; i < NR_PROCESSES; i++) {
		pthread_mutex_init(&processes[i].lock, NULL);
		processes[i].pidfd = -1;
	}
	if (on_mock)
		open_mock();
	else
		open_vfio();

	/* All of them, or nearly so */
	for (i = 0; i < 4 * NR_QUEUES; i++)
		do_queue_alloc(&threads[0]);

	ksft_set_plan(4);
	run_rounds(steps, seed);
	ksft_test_result(!failed, "calls end as they may\n");
	end_processes();
	tell_tallies();
	ksft_test_result(proven(), "some of the calls did well\n");
	close_queues();
	ksft_test_result(on_mock ? mock_settled() : endpoint_settled(),
			 "every group has one answer\n");
	ksft_test_result(nothing_remains(), "nothing remains\n");
	ksft_finished();
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test endpoint on VFIO, with what a test does with it again and again.
 *
 * Functions that return int return 0 or a negative errno, with iopf_error()
 * saying what is wrong; ASSERT_LIB() shows that. None depends on timing: a
 * wait ends with its event, or fails after a long time.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_ENDPOINT_H
#define IOPF_ENDPOINT_H

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "libiopf.h"
#include "testdev.h"

/* Longer than anything takes, even with all debugging on in an emulator. */
#define LONG_MS		120000

#define BASE		0x100000000ULL
#define SPAN		(8 << 20)
#define SEED		0x600d0000
#define MAX_DEVICES	8

/* A library call that has to work. */
#define ASSERT_LIB(call) do { \
	int __ret = (call); \
	\
	ASSERT_EQ(0, __ret) \
		TH_LOG("%s", iopf_error()); \
} while (0)
#define EXPECT_LIB(call) do { \
	int __ret = (call); \
	\
	EXPECT_EQ(0, __ret) \
		TH_LOG("%s", iopf_error()); \
} while (0)

/* What a scan for devices has found. */
struct found {
	unsigned int nr;
	char bdf[MAX_DEVICES][16];
};

/* One endpoint with its address space, page table and memory. */
struct endpoint {
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct iopf_queue *queue;
	struct iopf_backing *backing;
	struct testdev td;
	__u32 ioas_id;
	__u32 hwpt_id;
	bool shared_queue;
};

/* An ioctl of the iommufd; @what is what cannot be done then. */
int ctx_ioctl(struct iopf_ctx *ctx, unsigned long cmd, void *arg,
	      const char *what);

/* For iopf_pci_scan(): all test endpoints on VFIO that have PRI. */
int find_endpoint(const struct iopf_pci *pci, void *arg);

/* The same for those that can ask for no page */
int find_silent(const struct iopf_pci *pci, void *arg);

/*
 * Those that ask, or if there are none those that do not. Returns how a transfer ends
 * that gets no page: by the answer to its page request, or by the IOMMU that had held
 * the access.
 */
__u32 find_any_endpoint(struct found *found);

/* A page table with any flags, and with a fault queue unless @queue is NULL. */
int hwpt_alloc(struct iopf_ctx *ctx, __u32 dev_id, __u32 pt_id, __u32 flags,
	       struct iopf_queue *queue, __u32 *hwpt_id);

/* A page table with the fault queue, attached. */
int endpoint_attach(struct endpoint *ep);

/*
 * Everything in struct endpoint, with a queue of its own if @queue is NULL. What
 * is open when this fails goes away with the process.
 */
int endpoint_open(struct endpoint *ep, struct iopf_ctx *ctx, const char *bdf,
		  struct iopf_queue *queue);
/* The same for a device with another driver than that of 1234:11f0: without @td */
int endpoint_prepare(struct endpoint *ep, struct iopf_ctx *ctx, const char *bdf,
		     struct iopf_queue *queue);
void endpoint_close(struct endpoint *ep);

/* A word of its configuration space, or a negative errno */
int config_word(struct endpoint *ep, unsigned int offset);

/* Start a transfer or whatever the opcode is. */
int start_op(struct endpoint *ep, unsigned int opcode, unsigned int flags,
	     __u64 iova, __u32 length, unsigned int *slot);

/* Wait for the end of a descriptor; nobody serves meanwhile. */
int wait_op(struct endpoint *ep, unsigned int slot, struct testdev_result *r);

/* Serve until a descriptor has ended. */
int serve_op(struct endpoint *ep, unsigned int slot, struct testdev_result *r);

/* A transfer that has to work, and the data after it. */
int transfer(struct endpoint *ep, unsigned int opcode, __u64 iova, __u32 length);

/* A moment of rest for a loop that has nothing to sleep on. */
void nap(void);

/* Wait until a register has a value. */
int wait_reg(struct endpoint *ep, unsigned int reg, __u32 value);

/* To be looked at before transfers are started, for wait_missed() */
__u32 missed(struct endpoint *ep, bool asks);

/* Wait until @nr transfers, which nobody serves, have all missed a page. */
int wait_missed(struct endpoint *ep, bool asks, __u32 before, unsigned int nr);

/* Only what is in the ABI may be in a record. */
int check_group(const struct endpoint *ep, const struct iopf_group *g);

/* Wait for a group and read it. */
int next_group(struct endpoint *ep, struct iopf_group *g);

/* Three open groups: one that was read, two that were not. */
int open_groups(struct endpoint *ep, unsigned int *slot, __u32 *cookie);
int answer_late(struct endpoint *ep, __u32 cookie, __u32 code);

/* Answer a group, mapping its pages if there is a backing to serve from. */
int serve_group(struct endpoint *ep, struct iopf_group *g);

/* @count page requests from BASE on, in groups of @group, one after the other. */
void storm(struct endpoint *ep, unsigned int count, unsigned int group);

/*
 * The endpoint's log: one response for each group it asked for, none for
 * anything else, and nothing open. @success and @invalid: how many, or -1.
 */
int check_answers(struct endpoint *ep, int success, int invalid);

/*
 * The endpoint, which was reset, knows nothing of old requests: no answer to one
 * has reached it. Start it again and see that it works.
 */
int endpoint_works(struct endpoint *ep);

#endif /* IOPF_ENDPOINT_H */

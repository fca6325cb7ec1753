/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest whose IOMMU is worked off by AMD's hardware: its registers and rings, what it
 * does with them, and the steps of the VMM that lets it have those.
 *
 * What returns int returns 0 or a negative errno, with iopf_error() saying what is wrong.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_VIOMMU_RINGS_H
#define IOPF_VIOMMU_RINGS_H

#include <linux/iopf_viommu.h>

#include "iopf_viommu.h"

#define VF_SIZE		4096
#define RING_SIZE	4096
#define RING_ENTRIES	(RING_SIZE / 16)

/* Registers of the guest: of each ring the head, and behind it the tail */
#define VF_CMD		0x00
#define VF_EVENT	0x10
#define VF_STATUS	0x20
#define VF_PPR		0x30
#define VF_TAIL		0x08
#define STATUS_WAIT_INT	0x04
#define STATUS_EVT_RUN	0x08
#define STATUS_CMD_RUN	0x10
#define STATUS_PPR_RUN	0x80

/* Commands */
#define WAIT		0x1000000000000001ULL
#define WAIT_INT	2ULL
#define DEVTAB		(2ULL << 60)
#define ANSWER		(7ULL << 60)
#define ALL		(8ULL << 60)
#define CMD_GN		4ULL

/* Of a command, or of an entry of a log */
#define TYPE(event)	((event) >> 60)

enum ring_kind { CMD, EVENT, PPR, NR_RINGS };

struct ring {
	__u64 gpa;
	__u32 id;
	__u32 pos;	/* tail of commands, head of the others */
};

struct hw_guest {
	struct guest g;
	char *vf;
	__u64 offset;
	struct ring ring[NR_RINGS];
	__u64 store;		/* what COMPLETION_WAIT writes to */
	__u64 stored;
};

/* The vendor that a program with this file is for */
extern const struct vendor *const amd;

/* The guest */

/* From here on it makes no system calls; guest_end() fails if it has made one. */
int guest_begin(void);
int guest_end(void);

__u32 vf_read(struct hw_guest *hw, unsigned int reg);
void vf_write(struct hw_guest *hw, unsigned int reg, __u32 val);

/* A command into the ring */
void put(struct hw_guest *hw, __u64 first, __u64 second);
void put_inv(struct hw_guest *hw, const struct inv *inv);

/* Those that a page of a space needs, in the IOMMU and in the device */
void put_page_inv(struct hw_guest *hw, const struct guest_dev *dev, __u64 gva);

/* What is stored when all commands before it have been carried out */
void put_wait(struct hw_guest *hw);

/* Has that been stored? */
bool is_stored(struct hw_guest *hw);

/* Tell the hardware how far the ring is filled. */
void doorbell(struct hw_guest *hw);

/* Does it take commands? */
bool runs(struct hw_guest *hw);

/* All commands that were put have been carried out: true, or the ring has stopped. */
bool complete(struct hw_guest *hw);

/* A page of a space, without a system call */
int invalidate(struct hw_guest *hw, struct guest_dev *dev, __u64 gva);

/* Take an entry out of a log; false if there is none */
bool take(struct hw_guest *hw, enum ring_kind kind, __u64 entry[2]);
int wait_for(struct hw_guest *hw, enum ring_kind kind, __u64 entry[2]);

/* The VMM */

int ring_on(struct hw_guest *hw, enum ring_kind kind);
int ring_off(struct hw_guest *hw, enum ring_kind kind);

int alloc_hw(struct guest *guest, __u32 dev_id, __u32 len,
	     struct iopf_viommu_amd_hw *data);

/* What a VMM does one after the other; a test stops at each of it. */
enum step {
	STEP_MEMORY,
	STEP_PARENT,
	STEP_VIOMMU,
	STEP_MMAP,
	STEP_CMD,
	STEP_EVENT,
	STEP_PPR,
	NR_STEPS,
};

int guest_step(struct hw_guest *hw, enum step step, __u32 dev_id);

/* All of these */
int hw_open(struct hw_guest *hw, struct iopf_ctx *ctx, __u32 dev_id);

/* The vIOMMU alone, with its rings; or the guest */
int hw_close_viommu(struct hw_guest *hw);
int hw_close(struct hw_guest *hw);

/* Steps of a device that is open */
enum dev_step {
	STEP_VDEVICE,
	STEP_QUEUE,
	STEP_NESTED,
	STEP_ATTACH,
	STEP_OPEN,
	NR_DEV_STEPS,
};

/* Tables of the guest for a device that it is going to have */
void dev_prepare(struct hw_guest *hw, struct guest_dev *dev, __u32 virt_id,
		 __u32 domain);
int dev_step(struct hw_guest *hw, struct guest_dev *dev, enum dev_step step);

/* All steps; or the tables, too */
int dev_give(struct hw_guest *hw, struct guest_dev *dev);
int dev_add(struct hw_guest *hw, struct guest_dev *dev, __u32 virt_id,
	    __u32 domain);

#endif /* IOPF_VIOMMU_RINGS_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The DMA engine of the test endpoint: its descriptor ring and its interrupt
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SVA_ENGINE_H
#define IOPF_SVA_ENGINE_H

#include <linux/completion.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "iopf-testdev-regs.h"

#define ENGINE_RING_LOG2	IOPF_TD_RING_LOG2_MAX
#define ENGINE_RING_SIZE	1024	/* 2 to the power of it */

/**
 * struct engine_op - one descriptor and how it ended
 * @opcode: IOPF_TD_OP_*
 * @flags: IOPF_TD_F_*; F_PASID and F_IRQ are added
 * @pasid: address space
 * @addr: virtual address
 * @length: bytes
 * @ram: offset in the device's memory
 * @data: pattern or addend
 * @done: completed when the fields below are valid
 * @status: IOPF_TD_ST_*
 * @ret: negative errno of the IOMMU, or 0
 * @fail_addr: where it failed
 * @bytes: bytes done
 * @nr_pr: page requests
 *
 * Belongs to the engine from engine_submit() to the completion of @done.
 */
struct engine_op {
	u8 opcode;
	u16 flags;
	u32 pasid;
	u64 addr;
	u32 length;
	u32 ram;
	u32 data;
	struct completion done;
	u32 status;
	s32 ret;
	u64 fail_addr;
	u32 bytes;
	u16 nr_pr;
};

/**
 * struct engine - one function's engine
 * @pdev: the function
 * @regs: registers
 * @ram: the device's memory
 * @hostile: IOPF_TD_HOSTILE_*, how the device is to misbehave
 * @lock: protects the ring, taken in the interrupt handler
 * @slot: who waits for a descriptor
 * @tail: index of the next descriptor
 * @oldest: index of the oldest descriptor that has not ended, or @tail
 */
struct engine {
	struct pci_dev *pdev;
	void __iomem *regs;
	void __iomem *ram;
	u32 hostile;
	spinlock_t lock;	/* of the ring */
	struct engine_op *slot[ENGINE_RING_SIZE];
	unsigned int tail;
	unsigned int oldest;
};

int engine_open(struct engine *engine, struct pci_dev *pdev);
void engine_close(struct engine *engine);
void engine_reset(struct engine *engine);
int engine_submit(struct engine *engine, struct engine_op *op,
		  unsigned int reserve);
void engine_stop_pasid(struct engine *engine, u32 pasid);
u32 engine_reg(const struct engine *engine, unsigned int reg);

#endif

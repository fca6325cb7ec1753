// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA engine of the test endpoint: its descriptor ring and its interrupt
 *
 * Descriptors are in the device's own memory, so no DMA but that of the
 * transfers is ever done. They end in any order; a slot of the ring is used
 * again when all before it have ended, too.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>

#include "engine.h"

static_assert(ENGINE_RING_SIZE == 1 << ENGINE_RING_LOG2);

#define DESC_WORDS	(IOPF_TD_DESC_SIZE / sizeof(u32))

/*
 * The device ends a stop by itself, whatever the processes do. This is for a
 * device that is broken, on a host that is slow.
 */
#define STOP_SLICES	30
#define STOP_SLICE	(2 * HZ)
#define DRAIN_US	(60 * USEC_PER_SEC)

/* A page that was asked for may be gone again before it is used, and again. */
#define PRI_RETRY	1000

/**
 * engine_reg() - read a register
 * @engine: the engine
 * @reg: IOPF_TD_REG_*
 *
 * Return: the value, all ones if the device is gone.
 */
u32 engine_reg(const struct engine *engine, unsigned int reg)
{
	return readl(engine->regs + reg);
}

static bool engine_present(const struct engine *engine)
{
	return engine_reg(engine, IOPF_TD_REG_ID) == IOPF_TD_ID;
}

static void __iomem *engine_desc(const struct engine *engine, unsigned int nr)
{
	return engine->ram + IOPF_TD_RAM_RING + nr * IOPF_TD_DESC_SIZE;
}

static void engine_advance(struct engine *engine)
{
	while (engine->oldest != engine->tail && !engine->slot[engine->oldest])
		engine->oldest = (engine->oldest + 1) % ENGINE_RING_SIZE;
}

/* Take the result of a descriptor that has ended; its status came last. */
static void engine_finish(struct engine *engine, unsigned int nr, u32 status)
{
	void __iomem *desc = engine_desc(engine, nr);
	struct engine_op *op = engine->slot[nr];

	engine->slot[nr] = NULL;
	op->ret = readl(desc + IOPF_TD_DESC_RET);
	op->fail_addr = readl(desc + IOPF_TD_DESC_FAIL_ADDR) |
			(u64)readl(desc + IOPF_TD_DESC_FAIL_ADDR + 4) << 32;
	op->bytes = readl(desc + IOPF_TD_DESC_DONE);
	op->nr_pr = readl(desc + IOPF_TD_DESC_NR_TR) >> 16;
	op->status = status;
	complete_all(&op->done);
}

static void engine_reap(struct engine *engine)
{
	unsigned int nr;
	u32 status;

	lockdep_assert_held(&engine->lock);
	for (nr = engine->oldest; nr != engine->tail;
	     nr = (nr + 1) % ENGINE_RING_SIZE) {
		if (!engine->slot[nr])
			continue;
		status = readl(engine_desc(engine, nr) + IOPF_TD_DESC_STATUS);
		/* all ones: the device is gone, engine_reset() will tell */
		if (status != IOPF_TD_ST_NONE && status != U32_MAX)
			engine_finish(engine, nr, status);
	}
	engine_advance(engine);
}

static irqreturn_t engine_irq(int irq, void *data)
{
	struct engine *engine = data;

	spin_lock(&engine->lock);
	/* before the look at the ring: what ends after it interrupts again */
	writel(IOPF_TD_IRQ_RING, engine->regs + IOPF_TD_REG_IRQ_CAUSE);
	engine_reap(engine);
	spin_unlock(&engine->lock);
	return IRQ_HANDLED;
}

/* Bring the device to its initial state, with nothing under way. */
static void engine_start(struct engine *engine)
{
	void __iomem *regs = engine->regs;

	writel(IOPF_TD_CMD_RESET, regs + IOPF_TD_REG_COMMAND);
	writel(ENGINE_RING_LOG2, regs + IOPF_TD_REG_RING_LOG2);
	writel(IOPF_TD_CONTEXTS_MAX, regs + IOPF_TD_REG_CONTEXTS);
	writel(IOPF_TD_IRQ_ALL, regs + IOPF_TD_REG_IRQ_CAUSE);
	writel(IOPF_TD_IRQ_RING, regs + IOPF_TD_REG_IRQ_ENABLE);
	writel(PRI_RETRY, regs + IOPF_TD_REG_PRI_RETRY);
	writel(engine->hostile, regs + IOPF_TD_REG_HOSTILE);
	writel(IOPF_TD_CTRL_RUN, regs + IOPF_TD_REG_CTRL);
}

/**
 * engine_reset() - forget everything that is under way and start anew
 * @engine: the engine
 *
 * What was under way ends with IOPF_TD_ST_ABORTED. Works on a device that is
 * gone as well. Process context.
 */
void engine_reset(struct engine *engine)
{
	struct engine_op *op;
	unsigned int nr;

	spin_lock_irq(&engine->lock);
	engine_start(engine);
	for (nr = 0; nr < ENGINE_RING_SIZE; nr++) {
		op = engine->slot[nr];
		if (!op)
			continue;
		engine->slot[nr] = NULL;
		op->status = IOPF_TD_ST_ABORTED;
		complete_all(&op->done);
	}
	engine->tail = 0;
	engine->oldest = 0;
	spin_unlock_irq(&engine->lock);
}

static void engine_write_desc(struct engine *engine, const struct engine_op *op)
{
	u16 flags = op->flags | IOPF_TD_F_PASID | IOPF_TD_F_IRQ;
	__le32 word[DESC_WORDS] = {
		[IOPF_TD_DESC_OPCODE / 4] =
			cpu_to_le32(op->opcode | IOPF_TD_MODE_AUTO << 8 |
				    (u32)flags << 16),
		[IOPF_TD_DESC_PASID / 4] = cpu_to_le32(op->pasid),
		[IOPF_TD_DESC_IOVA / 4] = cpu_to_le32(op->addr),
		[IOPF_TD_DESC_IOVA / 4 + 1] = cpu_to_le32(op->addr >> 32),
		[IOPF_TD_DESC_LENGTH / 4] = cpu_to_le32(op->length),
		[IOPF_TD_DESC_RAM / 4] = cpu_to_le32(op->ram),
		[IOPF_TD_DESC_DATA / 4] = cpu_to_le32(op->data),
		[IOPF_TD_DESC_STATUS / 4] = cpu_to_le32(IOPF_TD_ST_NONE),
	};

	memcpy_toio(engine_desc(engine, engine->tail), word, sizeof(word));
}

/**
 * engine_submit() - give a descriptor to the device
 * @engine: the engine
 * @op: what to do; stays the engine's until @op->done is complete
 * @reserve: descriptors that must be left over in the ring
 *
 * Return: 0, or -EAGAIN if there is no room.
 */
int engine_submit(struct engine *engine, struct engine_op *op,
		  unsigned int reserve)
{
	unsigned int room;

	reinit_completion(&op->done);
	spin_lock_irq(&engine->lock);
	room = (engine->oldest - engine->tail - 1) % ENGINE_RING_SIZE;
	if (room <= reserve) {
		spin_unlock_irq(&engine->lock);
		return -EAGAIN;
	}
	engine_write_desc(engine, op);
	engine->slot[engine->tail] = op;
	engine->tail = (engine->tail + 1) % ENGINE_RING_SIZE;
	/* orders the descriptor, too */
	writel(engine->tail, engine->regs + IOPF_TD_REG_RING_TAIL);
	spin_unlock_irq(&engine->lock);
	return 0;
}

static bool engine_wait_stop(struct engine *engine, struct engine_op *op)
{
	unsigned int i;

	for (i = 0; i < STOP_SLICES && engine_present(engine); i++)
		if (wait_for_completion_timeout(&op->done, STOP_SLICE))
			return true;
	return false;
}

/*
 * Wait until the kernel has answered what the device has given up. A fault that
 * is still being handled holds a reference to the address space, and the last
 * one ends it: no bond should be taken away at that very moment. Where a fault
 * takes longer than this, it is left to the kernel.
 */
static void engine_drain(struct engine *engine)
{
	u32 stale;

	if (read_poll_timeout(engine_reg, stale, !stale || stale == U32_MAX,
			      USEC_PER_MSEC, DRAIN_US, false, engine,
			      IOPF_TD_REG_PRI_STALE))
		pci_warn(engine->pdev, "%u page requests stay open\n", stale);
}

/**
 * engine_stop_pasid() - have the device stop the use of an address space
 * @engine: the engine
 * @pasid: the address space
 *
 * When this returns, all transfers of the PASID have ended, no request with it
 * will be sent any more, a stop marker closes those that were, and they are
 * answered. This is what iommu_sva_unbind_device() wants first.
 */
void engine_stop_pasid(struct engine *engine, u32 pasid)
{
	struct engine_op op = {
		.opcode = IOPF_TD_OP_STOP_PASID,
		.pasid = pasid,
	};

	init_completion(&op.done);
	if (engine_submit(engine, &op, 0) || !engine_wait_stop(engine, &op)) {
		/* gone or broken; afterwards no one refers to @op */
		pci_err(engine->pdev, "PASID %u does not stop: reset\n", pasid);
		engine_reset(engine);
	}
	engine_drain(engine);
}

static int engine_map(struct engine *engine)
{
	struct pci_dev *pdev = engine->pdev;

	engine->regs = pci_iomap(pdev, IOPF_TD_BAR_REGS, 0);
	engine->ram = pci_iomap(pdev, IOPF_TD_BAR_RAM, 0);
	if (!engine->regs || !engine->ram)
		return -ENOMEM;
	if (!engine_present(engine) ||
	    engine_reg(engine, IOPF_TD_REG_VERSION) != IOPF_TD_VERSION)
		return -ENODEV;
	return 0;
}

static void engine_unmap(struct engine *engine)
{
	if (engine->ram)
		pci_iounmap(engine->pdev, engine->ram);
	if (engine->regs)
		pci_iounmap(engine->pdev, engine->regs);
}

/**
 * engine_open() - take a function into use
 * @engine: zeroed memory, but for @engine->hostile
 * @pdev: the function, enabled and with its regions requested
 *
 * Return: 0, or a negative errno.
 */
int engine_open(struct engine *engine, struct pci_dev *pdev)
{
	int ret;

	engine->pdev = pdev;
	spin_lock_init(&engine->lock);
	ret = engine_map(engine);
	if (ret)
		goto err_unmap;
	/* cause n raises vector n, and the only one that is wanted is cause 0 */
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX);
	if (ret < 0)
		goto err_unmap;
	ret = request_irq(pci_irq_vector(pdev, 0), engine_irq, 0, "iopf-sva",
			  engine);
	if (ret)
		goto err_free_vectors;
	pci_set_master(pdev);
	engine_reset(engine);
	return 0;

err_free_vectors:
	pci_free_irq_vectors(pdev);
err_unmap:
	engine_unmap(engine);
	return ret;
}

/**
 * engine_close() - undo engine_open()
 * @engine: the engine; no one may use it any more
 */
void engine_close(struct engine *engine)
{
	writel(IOPF_TD_CMD_RESET, engine->regs + IOPF_TD_REG_COMMAND);
	pci_clear_master(engine->pdev);
	free_irq(pci_irq_vector(engine->pdev, 0), engine);
	pci_free_irq_vectors(engine->pdev);
	engine_unmap(engine);
}

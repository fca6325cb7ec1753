/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The device of the examples: the emulated test endpoint 1234:11f0. This is
 * where the driver of your own device goes; libiopf needs nothing of it.
 *
 * The endpoint takes descriptors from a ring in its memory (BAR 2) and does
 * what they say, one after the other. It asks for pages that it cannot reach.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <libiopf.h>
#include <errno.h>
#include <string.h>

/* Registers in BAR 0 */
#define ENDPOINT_REG_ID		0x000
#define   ENDPOINT_ID		0x50455031
#define ENDPOINT_REG_CTRL	0x010
#define   ENDPOINT_RUN		1
#define ENDPOINT_REG_COMMAND	0x014
#define   ENDPOINT_RESET	1
#define ENDPOINT_REG_RING_LOG2	0x030
#define ENDPOINT_REG_RING_TAIL	0x038

/* A descriptor: 64 bytes, all fields 32 bits, little endian */
#define ENDPOINT_DESC_SIZE	64
#define   ENDPOINT_DESC_OP	0
#define   ENDPOINT_DESC_IOVA	8	/* two of them */
#define   ENDPOINT_DESC_LENGTH	16
#define   ENDPOINT_DESC_RAM	20
#define   ENDPOINT_DESC_SEED	24
#define   ENDPOINT_DESC_STATUS	32	/* 0 until the end */

#define ENDPOINT_READ		1	/* memory to BAR 2 */
#define ENDPOINT_FILL		3	/* a pattern to memory */
#define ENDPOINT_DATA		0x40000	/* room for transfers in BAR 2 */
#define ENDPOINT_OK		1
#define ENDPOINT_REFUSED	7	/* the answer was INVALID */

struct endpoint {
	struct iopf_dev *dev;
	struct iopf_region regs;
	struct iopf_region ram;
	__u32 slot;		/* of the last descriptor */
};

static inline int endpoint_open(struct iopf_dev *dev, struct endpoint *ep)
{
	int ret;

	memset(ep, 0, sizeof(*ep));
	ep->dev = dev;
	ret = iopf_dev_region(dev, 0, &ep->regs);
	if (!ret)
		ret = iopf_dev_region(dev, 2, &ep->ram);
	if (!ret &&
	    iopf_region_read32(&ep->regs, ENDPOINT_REG_ID) != ENDPOINT_ID)
		ret = iopf_err(-ENODEV, "%s is not the test endpoint",
			       iopf_dev_bdf(dev));
	if (ret)
		return ret;
	iopf_region_write32(&ep->regs, ENDPOINT_REG_COMMAND, ENDPOINT_RESET);
	iopf_region_write32(&ep->regs, ENDPOINT_REG_RING_LOG2, 1);
	ret = iopf_dev_bus_master(dev, true);
	if (!ret)
		iopf_region_write32(&ep->regs, ENDPOINT_REG_CTRL, ENDPOINT_RUN);
	return ret;
}

static inline void endpoint_close(struct endpoint *ep)
{
	iopf_region_close(&ep->ram);
	iopf_region_close(&ep->regs);
}

/* Starts a transfer; the one before it has to have ended. */
static inline void endpoint_start(struct endpoint *ep, __u32 op, __u64 iova,
				  __u32 length, __u32 seed)
{
	__u64 desc = 0;
	__u32 i;

	ep->slot = iopf_region_read32(&ep->regs, ENDPOINT_REG_RING_TAIL);
	desc = ep->slot * ENDPOINT_DESC_SIZE;
	for (i = 0; i < ENDPOINT_DESC_SIZE; i += 4)
		iopf_region_write32(&ep->ram, desc + i, 0);
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_OP, op);
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_IOVA, (__u32)iova);
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_IOVA + 4,
			    (__u32)(iova >> 32));
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_LENGTH, length);
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_RAM, ENDPOINT_DATA);
	iopf_region_write32(&ep->ram, desc + ENDPOINT_DESC_SEED, seed);
	iopf_region_write32(&ep->regs, ENDPOINT_REG_RING_TAIL, ep->slot ^ 1);
}

/* How the transfer ended, 0 as long as it goes on */
static inline __u32 endpoint_status(const struct endpoint *ep)
{
	return iopf_region_read32(&ep->ram, ep->slot * ENDPOINT_DESC_SIZE +
				  ENDPOINT_DESC_STATUS);
}

/* The byte that ENDPOINT_FILL writes at an offset */
static inline unsigned char endpoint_byte(__u32 seed, __u32 offset)
{
	return (seed + offset / 4 * 0x9e3779b1) >> offset % 4 * 8 & 0xff;
}

#endif /* ENDPOINT_H */

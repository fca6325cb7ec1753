// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver of the emulated test endpoint.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "testdev.h"

/* Memory of a descriptor and of a log record, as 32-bit words. */
#define DESC_WORDS	(IOPF_TD_DESC_SIZE / 4)
#define LOG_WORDS	(IOPF_TD_LOG_ENTRY_SIZE / 4)

bool testdev_is(const struct iopf_pci *pci)
{
	return pci->vendor == IOPF_TD_VENDOR_ID &&
	       pci->device == IOPF_TD_DEVICE_ID;
}

__u32 testdev_reg(const struct testdev *td, unsigned int reg)
{
	return iopf_region_read32(&td->regs, reg);
}

void testdev_set(struct testdev *td, unsigned int reg, __u32 value)
{
	iopf_region_write32(&td->regs, reg, value);
}

void testdev_set64(struct testdev *td, unsigned int reg, __u64 value)
{
	iopf_region_write32(&td->regs, reg, value);
	iopf_region_write32(&td->regs, reg + 4, value >> 32);
}

unsigned int testdev_allocation(const struct testdev *td)
{
	__u32 live = testdev_reg(td, IOPF_TD_REG_LIVE);

	if (!(live & IOPF_TD_LIVE_PRI))
		return 0;
	return live >> IOPF_TD_LIVE_ALLOC_SHIFT;
}

bool testdev_may_be_held(const struct testdev *td)
{
	return td->caps & IOPF_TD_CAPS_STALL && !testdev_allocation(td);
}

static int check_identity(struct testdev *td)
{
	__u32 id = testdev_reg(td, IOPF_TD_REG_ID);
	__u32 version = testdev_reg(td, IOPF_TD_REG_VERSION);

	if (id != IOPF_TD_ID)
		return iopf_err(-ENODEV, "%s is no test endpoint (id %#x)",
				iopf_dev_bdf(td->dev), id);
	if (version != IOPF_TD_VERSION)
		return iopf_err(-ENODEV,
				"%s is a test endpoint of version %u, this program knows %u",
				iopf_dev_bdf(td->dev), version,
				IOPF_TD_VERSION);
	td->caps = testdev_reg(td, IOPF_TD_REG_CAPS);
	return 0;
}

int testdev_start(struct testdev *td)
{
	int ret;

	testdev_set(td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_RESET);
	testdev_set(td, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_CLEAR);
	td->tail = 0;
	memset(td->busy, 0, sizeof(td->busy));
	testdev_set(td, IOPF_TD_REG_RING_LOG2, TESTDEV_RING_LOG2);
	testdev_set(td, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_ALL);
	testdev_set(td, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);
	ret = iopf_dev_bus_master(td->dev, true);
	if (ret)
		return ret;
	testdev_set(td, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
	return 0;
}

int testdev_open(struct iopf_dev *dev, struct testdev *td)
{
	int ret;

	memset(td, 0, sizeof(*td));
	td->dev = dev;
	ret = iopf_dev_region(dev, IOPF_TD_BAR_REGS, &td->regs);
	if (ret)
		return ret;
	ret = iopf_dev_region(dev, IOPF_TD_BAR_RAM, &td->ram);
	if (ret)
		goto close_regs;
	ret = check_identity(td);
	if (ret)
		goto close_ram;
	ret = iopf_dev_msix(dev, td->irq, IOPF_TD_VECTORS);
	if (ret)
		goto close_ram;
	ret = testdev_start(td);
	if (ret)
		goto close_irq;
	return 0;

close_irq:
	testdev_close(td);
	return ret;
close_ram:
	iopf_region_close(&td->ram);
close_regs:
	iopf_region_close(&td->regs);
	td->dev = NULL;
	return ret;
}

void testdev_close(struct testdev *td)
{
	unsigned int i;

	if (!td->dev)
		return;
	iopf_dev_bus_master(td->dev, false);
	iopf_dev_msix(td->dev, NULL, 0);
	for (i = 0; i < IOPF_TD_VECTORS; i++)
		close(td->irq[i]);
	iopf_region_close(&td->ram);
	iopf_region_close(&td->regs);
	td->dev = NULL;
}

static void put64(__u32 *word, unsigned int offset, __u64 value)
{
	word[offset / 4] = htole32(value);
	word[offset / 4 + 1] = htole32(value >> 32);
}

static __u64 get64(const __u32 *word, unsigned int offset)
{
	return le32toh(word[offset / 4]) |
	       (__u64)le32toh(word[offset / 4 + 1]) << 32;
}

int testdev_submit(struct testdev *td, const struct testdev_op *op,
		   unsigned int *slot)
{
	unsigned int next = (td->tail + 1) % TESTDEV_RING_SIZE;
	__u32 word[DESC_WORDS] = { 0 };
	int ret;

	if (td->busy[td->tail] || td->busy[next])
		return iopf_err(-EBUSY, "the ring of the test endpoint is full");
	word[0] = htole32(op->opcode | op->mode << 8 | (__u32)op->flags << 16);
	word[IOPF_TD_DESC_PASID / 4] = htole32(op->pasid);
	put64(word, IOPF_TD_DESC_IOVA, op->iova);
	word[IOPF_TD_DESC_LENGTH / 4] = htole32(op->length);
	word[IOPF_TD_DESC_RAM / 4] = htole32(op->ram);
	word[IOPF_TD_DESC_DATA / 4] = htole32(op->data);
	word[IOPF_TD_DESC_PRGI / 4] = htole32(op->prgi |
					      (__u32)op->delay << 16);
	ret = iopf_region_copy_out(&td->ram, IOPF_TD_RAM_RING +
				   td->tail * IOPF_TD_DESC_SIZE, word,
				   sizeof(word));
	if (ret)
		return ret;
	*slot = td->tail;
	td->busy[td->tail] = true;
	td->tail = next;
	testdev_set(td, IOPF_TD_REG_RING_TAIL, next);
	return 0;
}

bool testdev_done(struct testdev *td, unsigned int slot,
		  struct testdev_result *result)
{
	__u64 base = IOPF_TD_RAM_RING + slot * IOPF_TD_DESC_SIZE;
	__u32 word[DESC_WORDS], count;

	/* The status is written last. */
	if (!iopf_region_read32(&td->ram, base + IOPF_TD_DESC_STATUS))
		return false;
	if (iopf_region_copy_in(&td->ram, base, word, sizeof(word)))
		return false;
	result->status = le32toh(word[IOPF_TD_DESC_STATUS / 4]);
	result->ret = le32toh(word[IOPF_TD_DESC_RET / 4]);
	result->fail_addr = get64(word, IOPF_TD_DESC_FAIL_ADDR);
	result->done = le32toh(word[IOPF_TD_DESC_DONE / 4]);
	count = le32toh(word[IOPF_TD_DESC_NR_TR / 4]);
	result->nr_tr = count;
	result->nr_pr = count >> 16;
	result->elapsed_us = le32toh(word[IOPF_TD_DESC_ELAPSED_US / 4]);
	td->busy[slot] = false;
	return true;
}

const char *testdev_status(__u32 status)
{
	static const char * const name[] = {
		[IOPF_TD_ST_NONE] = "not ended",
		[IOPF_TD_ST_OK] = "ok",
		[IOPF_TD_ST_BAD_DESC] = "malformed descriptor",
		[IOPF_TD_ST_UNSUPPORTED] = "not supported",
		[IOPF_TD_ST_REFUSED] = "not enabled",
		[IOPF_TD_ST_NO_ACCESS] = "no access",
		[IOPF_TD_ST_TR_ERROR] = "translation request failed",
		[IOPF_TD_ST_RSP_INVALID] = "page response Invalid",
		[IOPF_TD_ST_RSP_FAILURE] = "page response Failure",
		[IOPF_TD_ST_RSP_TIMEOUT] = "no page response in time",
		[IOPF_TD_ST_QUEUE_FULL] = "page request queue full",
		[IOPF_TD_ST_ACCESS_ERROR] = "memory access failed",
		[IOPF_TD_ST_MISMATCH] = "data differ",
		[IOPF_TD_ST_NO_RETRY] = "no access after all retries",
		[IOPF_TD_ST_ABORTED] = "aborted",
		[IOPF_TD_ST_NO_CREDIT] = "no page request allocation",
		[IOPF_TD_ST_PR_ERROR] = "page request failed",
		[IOPF_TD_ST_NO_PASID] = "too many PASIDs",
	};

	if (status < ARRAY_SIZE(name) && name[status])
		return name[status];
	return "unknown status";
}

__u32 testdev_responses(const struct testdev *td)
{
	return testdev_reg(td, IOPF_TD_REG_RSPLOG_HEAD);
}

int testdev_response(const struct testdev *td, __u32 index,
		     struct testdev_response *response)
{
	__u64 base = IOPF_TD_RAM_RSPLOG + index % IOPF_TD_RSPLOG_ENTRIES *
		     IOPF_TD_LOG_ENTRY_SIZE;
	__u32 word[LOG_WORDS], head;
	int ret;

	ret = iopf_region_copy_in(&td->ram, base, word, sizeof(word));
	if (ret)
		return ret;
	if (le32toh(word[IOPF_TD_RSP_SEQ / 4]) != index + 1)
		return iopf_err(-ENOENT,
				"response %u is not in the log of the test endpoint",
				index);
	head = le32toh(word[IOPF_TD_RSP_CODE / 4]);
	response->code = head;
	response->flags = head >> 8;
	response->prgi = head >> 16;
	response->pasid = le32toh(word[IOPF_TD_RSP_PASID / 4]);
	response->count = le32toh(word[IOPF_TD_RSP_COUNT / 4]);
	response->addr = get64(word, IOPF_TD_RSP_ADDR);
	response->age_ns = get64(word, IOPF_TD_RSP_AGE_NS);
	return 0;
}

static __u8 pattern_byte(__u32 seed, size_t at)
{
	return (seed + (__u32)(at / 4) * IOPF_TD_PATTERN_STEP) >> at % 4 * 8;
}

void testdev_pattern(void *buf, size_t length, __u32 seed, size_t offset)
{
	__u8 *byte = buf;
	size_t i;

	for (i = 0; i < length; i++)
		byte[i] = pattern_byte(seed, offset + i);
}

size_t testdev_pattern_check(const void *buf, size_t length, __u32 seed,
			     size_t offset)
{
	const __u8 *byte = buf;
	size_t i;

	for (i = 0; i < length; i++)
		if (byte[i] != pattern_byte(seed, offset + i))
			break;
	return i;
}

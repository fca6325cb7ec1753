/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Driver of the emulated test endpoint 1234:11f0 ("iopf-testdev"): a PCIe
 * device with a DMA engine, an address translation cache and a page request
 * interface. The registers are in iopf-testdev-regs.h.
 *
 * Errors and threads are as in libiopf.h.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_TESTDEV_H
#define IOPF_TESTDEV_H

#include "libiopf.h"
#include "iopf-testdev-regs.h"

#define TESTDEV_RING_LOG2	8
#define TESTDEV_RING_SIZE	256	/* descriptors, 2 to the power of it */

/**
 * struct testdev_op - one descriptor to execute
 * @opcode: IOPF_TD_OP_*
 * @mode: IOPF_TD_MODE_*
 * @flags: IOPF_TD_F_*
 * @pasid: PASID, with IOPF_TD_F_PASID
 * @iova: address on the bus
 * @length: bytes
 * @ram: offset in device RAM
 * @data: pattern seed or addend
 * @prgi: page request group index, with IOPF_TD_F_PRGI
 * @delay: micro-steps between translation and access
 */
struct testdev_op {
	__u8 opcode;
	__u8 mode;
	__u16 flags;
	__u32 pasid;
	__u64 iova;
	__u32 length;
	__u32 ram;
	__u32 data;
	__u16 prgi;
	__u16 delay;
};

/**
 * struct testdev_result - how a descriptor ended
 * @status: IOPF_TD_ST_*
 * @ret: negative errno of the device model, or 0
 * @fail_addr: address that failed
 * @done: bytes done
 * @nr_tr: translation requests
 * @nr_pr: page requests
 * @elapsed_us: microseconds of the device's clock
 */
struct testdev_result {
	__u32 status;
	__s32 ret;
	__u64 fail_addr;
	__u32 done;
	__u16 nr_tr;
	__u16 nr_pr;
	__u32 elapsed_us;
};

/**
 * struct testdev_response - one page request group response, as received
 * @code: IOPF_TD_RSP_CODE_*
 * @flags: IOPF_TD_RSP_F_*
 * @prgi: group index
 * @pasid: PASID or IOPF_TD_NO_PASID
 * @count: requests it closes
 * @addr: first page of the group
 * @age_ns: nanoseconds of the device's clock since the last request was sent
 */
struct testdev_response {
	__u8 code;
	__u8 flags;
	__u16 prgi;
	__u32 pasid;
	__u32 count;
	__u64 addr;
	__u64 age_ns;
};

/**
 * struct testdev - an open test endpoint
 * @dev: its VFIO device, property of the caller
 * @regs: BAR with the registers
 * @ram: BAR with the device RAM
 * @irq: eventfds of the MSI-X vectors
 * @caps: IOPF_TD_CAPS_*
 * @tail: next descriptor to fill
 * @busy: descriptors whose end was not taken yet
 */
struct testdev {
	struct iopf_dev *dev;
	struct iopf_region regs;
	struct iopf_region ram;
	int irq[IOPF_TD_VECTORS];
	__u32 caps;
	unsigned int tail;
	bool busy[TESTDEV_RING_SIZE];
};

/**
 * testdev_is - is this function a test endpoint
 * @pci: function
 *
 * Return: true if the ids say so.
 */
bool testdev_is(const struct iopf_pci *pci);

/**
 * testdev_open - take a test endpoint into use
 * @dev: its VFIO device; it has to outlive @td
 * @td: filled
 *
 * Maps the BARs, sets the interrupts up, starts the engine and allows DMA.
 *
 * Return: 0, -ENODEV if it is no such device or has another version, or
 * another negative errno.
 */
int testdev_open(struct iopf_dev *dev, struct testdev *td);

/**
 * testdev_close - stop DMA and free what testdev_open() took
 * @td: endpoint; one of zeroes is ignored
 */
void testdev_close(struct testdev *td);

/**
 * testdev_start - set the engine up again, after a reset
 * @td: endpoint
 *
 * All work is dropped.
 *
 * Return: 0 or a negative errno.
 */
int testdev_start(struct testdev *td);

/**
 * testdev_reg - read a register
 * @td: endpoint
 * @reg: IOPF_TD_REG_*
 *
 * Return: its value.
 */
__u32 testdev_reg(const struct testdev *td, unsigned int reg);

/**
 * testdev_set - write a register
 * @td: endpoint
 * @reg: IOPF_TD_REG_*
 * @value: value
 */
void testdev_set(struct testdev *td, unsigned int reg, __u32 value);

/**
 * testdev_set64 - write a register of 64 bits
 * @td: endpoint
 * @reg: IOPF_TD_REG_*
 * @value: value
 */
void testdev_set64(struct testdev *td, unsigned int reg, __u64 value);

/**
 * testdev_allocation - page requests the kernel lets the device have open
 * @td: endpoint
 *
 * Return: the number, 0 while page requests are off.
 */
unsigned int testdev_allocation(const struct testdev *td);

/**
 * testdev_may_be_held - the IOMMU may hold accesses until their page is there
 * @td: endpoint
 *
 * Return: true if the device can wait for that. It sends no page requests then.
 */
bool testdev_may_be_held(const struct testdev *td);

/**
 * testdev_submit - give a descriptor to the engine
 * @td: endpoint
 * @op: descriptor
 * @slot: set to its place in the ring, for testdev_done()
 *
 * Return: 0, or -EBUSY when the end of the descriptor that was in this place
 * was not taken yet.
 */
int testdev_submit(struct testdev *td, const struct testdev_op *op,
		   unsigned int *slot);

/**
 * testdev_done - take the end of a descriptor
 * @td: endpoint
 * @slot: place in the ring
 * @result: filled when the return value is true
 *
 * Return: false as long as the engine works on it.
 */
bool testdev_done(struct testdev *td, unsigned int slot,
		  struct testdev_result *result);

/**
 * testdev_status - name of a descriptor status
 * @status: IOPF_TD_ST_*
 *
 * Return: static text.
 */
const char *testdev_status(__u32 status);

/**
 * testdev_responses - number of responses in the log so far
 * @td: endpoint
 *
 * Return: free running count.
 */
__u32 testdev_responses(const struct testdev *td);

/**
 * testdev_response - read a record of the response log
 * @td: endpoint
 * @index: count from testdev_responses() before it was written
 * @response: filled
 *
 * Return: 0, or -ENOENT when the record is not there yet or any more.
 */
int testdev_response(const struct testdev *td, __u32 index,
		     struct testdev_response *response);

/**
 * testdev_pattern - what IOPF_TD_OP_FILL writes
 * @buf: memory to fill
 * @length: bytes
 * @seed: @data of the descriptor
 * @offset: bytes of the pattern to skip
 */
void testdev_pattern(void *buf, size_t length, __u32 seed, size_t offset);

/**
 * testdev_pattern_check - compare memory with the pattern
 * @buf: memory
 * @length: bytes
 * @seed: @data of the descriptor
 * @offset: bytes of the pattern to skip
 *
 * Return: offset of the first byte in @buf that differs, @length if none.
 */
size_t testdev_pattern_check(const void *buf, size_t length, __u32 seed,
			     size_t offset);

#endif /* IOPF_TESTDEV_H */

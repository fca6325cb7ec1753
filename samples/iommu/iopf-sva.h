/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/iopf-svaN: transfers between the test endpoint and a process
 *
 * Each function of the endpoint 1234:11f0 has a character device. A file that
 * was opened there binds the address space of the process that asks for it, and
 * from then on the endpoint uses that process's virtual addresses: nothing is
 * mapped, pinned or registered before.
 *
 * A transfer is submitted, which gives a ticket, and waited for with that
 * ticket. Several may be under way at once. The endpoint keeps translations in
 * a cache, takes page faults, and reports what it could not do.
 *
 * Only the process that bound a file can use it. Closing the last reference to
 * the file ends what is under way and unbinds. If the device goes away or is
 * reset, its files are unbound; after a reset they may bind again.
 *
 * Errors that all requests have in common: ENOTTY for an unknown request,
 * EFAULT, EINVAL for a flag that is not known, EPERM for a process that is not
 * the one that is bound, ENODEV when the function is gone.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SVA_H
#define IOPF_SVA_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Transfers of a file that may be under way, or whose result is not fetched */
#define IOPF_SVA_TICKETS	4
/* Files that may be bound to a function at a time */
#define IOPF_SVA_FILES		24
/* Bytes of the device's memory that belong to a file, zeroed by a bind */
#define IOPF_SVA_WINDOW		32768

/*
 * Not the process's page table but one of the driver's own, which gets pages of the
 * process when the endpoint asks for them, and keeps them until the end of the bond.
 */
#define IOPF_SVA_OWN_TABLE	0x1

/**
 * struct iopf_sva_bind - bind the caller's address space (IOPF_SVA_BIND)
 * @flags: IOPF_SVA_OWN_TABLE
 * @pasid: output, the process address space ID
 *
 * Errors besides those of the kernel's SVA code (EOPNOTSUPP: it refuses SVA), or of
 * its code for paging domains (EINVAL: the device has no PASIDs):
 * EBUSY if this file is bound, or if the process is bound to this function
 * through another file; ENOSPC if IOPF_SVA_FILES files are bound.
 */
struct iopf_sva_bind {
	__u32 flags;
	__u32 pasid;
};

/**
 * enum iopf_sva_opcode - what to transfer
 * @IOPF_SVA_READ: memory to the file's window
 * @IOPF_SVA_WRITE: the file's window to memory
 * @IOPF_SVA_FILL: a pattern to memory
 * @IOPF_SVA_COMPARE: compare memory with the pattern
 * @IOPF_SVA_FETCH_ADD: add to a 64-bit word, its old value to the window
 *
 * The values are those of the endpoint. Byte b of the pattern is byte b % 4,
 * least significant first, of data + b / 4 * IOPF_SVA_PATTERN_STEP.
 */
enum iopf_sva_opcode {
	IOPF_SVA_READ = 1,
	IOPF_SVA_WRITE = 2,
	IOPF_SVA_FILL = 3,
	IOPF_SVA_COMPARE = 4,
	IOPF_SVA_FETCH_ADD = 5,
};

#define IOPF_SVA_PATTERN_STEP	0x9e3779b1U

/*
 * The endpoint must not ask for what is missing: the transfer fails instead. Of no use
 * where the IOMMU may hold accesses: it does not ask the endpoint.
 */
#define IOPF_SVA_NO_FAULT	0x1

/**
 * struct iopf_sva_submit - start a transfer (IOPF_SVA_SUBMIT)
 * @opcode: enum iopf_sva_opcode
 * @flags: IOPF_SVA_NO_FAULT
 * @addr: virtual address; a multiple of 8 for IOPF_SVA_FETCH_ADD
 * @length: bytes, at least 1; 8 for IOPF_SVA_FETCH_ADD
 * @window: offset in the window, for the opcodes that use it
 * @data: first word of the pattern, or what to add (sign extended)
 * @ticket: output, for struct iopf_sva_wait
 *
 * Whether the process may access the address is found out by the transfer.
 * Errors: ENOTCONN if the file is not bound; EINVAL for an unknown opcode, for
 * ranges that wrap or leave the window, and for a bad alignment; EBUSY if all
 * tickets are in use; EAGAIN if the device has no room for now.
 */
struct iopf_sva_submit {
	__u32 opcode;
	__u32 flags;
	__u64 addr;
	__u32 length;
	__u32 window;
	__u32 data;
	__u32 ticket;
};

/**
 * enum iopf_sva_result - how a transfer has ended
 * @IOPF_SVA_OK: completely
 * @IOPF_SVA_NO_ACCESS: no permission, and IOPF_SVA_NO_FAULT
 * @IOPF_SVA_INVALID: a page request was answered with Invalid Request
 * @IOPF_SVA_FAILURE: a page request was answered with Response Failure
 * @IOPF_SVA_ACCESS_ERROR: the access to memory failed, perhaps after it was held
 * @IOPF_SVA_MISMATCH: IOPF_SVA_COMPARE found a difference
 * @IOPF_SVA_NO_RETRY: no access, although page requests were answered well
 * @IOPF_SVA_ABORTED: ended by an unbind, a reset or the end of the device
 *
 * The values are those of the endpoint, which has more of them.
 */
enum iopf_sva_result {
	IOPF_SVA_OK = 1,
	IOPF_SVA_NO_ACCESS = 5,
	IOPF_SVA_INVALID = 7,
	IOPF_SVA_FAILURE = 8,
	IOPF_SVA_ACCESS_ERROR = 11,
	IOPF_SVA_MISMATCH = 12,
	IOPF_SVA_NO_RETRY = 13,
	IOPF_SVA_ABORTED = 14,
};

/* Do not sleep: EAGAIN if the transfer has not ended */
#define IOPF_SVA_NOWAIT		0x1

/**
 * struct iopf_sva_wait - the result of a transfer (IOPF_SVA_WAIT)
 * @ticket: of the transfer; can be used again after this
 * @flags: IOPF_SVA_NOWAIT
 * @status: output, enum iopf_sva_result or another status of the endpoint
 * @ret: output, negative errno of the IOMMU, or 0
 * @fail_addr: output, address at which it failed
 * @done: output, bytes done
 * @nr_pr: output, page requests sent, saturating
 *
 * A signal ends the wait, the transfer goes on. Works after an unbind, too.
 * Errors: ENOENT for a ticket that is not in use.
 */
struct iopf_sva_wait {
	__u32 ticket;
	__u32 flags;
	__u32 status;
	__s32 ret;
	__u64 fail_addr;
	__u32 done;
	__u32 nr_pr;
};

/**
 * struct iopf_sva_info - counters and state of the function (IOPF_SVA_INFO)
 * @live: what is enabled: bit 0 bus master, 1 ATS, 2 PRI, 3 PASID
 * @bound: files that are bound
 * @requests: page requests
 * @groups: page request groups, each of which must get one response
 * @success: responses Success
 * @invalid: responses Invalid Request
 * @failure: responses Response Failure
 * @automatic: groups that the IOMMU answered by refusing their last request
 * @unmatched: responses to no known group
 * @late: responses to a group that the device had given up
 * @waiting: groups that wait for their response now
 * @stale: groups given up whose response is due
 * @invalidations: requests to drop translations
 * @stop_markers: stop markers sent
 * @held: accesses that the IOMMU held, to be made once their page is there
 * @may_hold: not 0 if the IOMMU may hold accesses of the device, which has no ATS then
 * @marks: not 0 if the IOMMU can mark pages of processes as accessed and as dirty
 *
 * Counters start at 0 with the driver and after a reset.
 */
struct iopf_sva_info {
	__u32 live;
	__u32 bound;
	__u32 requests;
	__u32 groups;
	__u32 success;
	__u32 invalid;
	__u32 failure;
	__u32 automatic;
	__u32 unmatched;
	__u32 late;
	__u32 waiting;
	__u32 stale;
	__u32 invalidations;
	__u32 stop_markers;
	__u32 held;
	__u32 may_hold;
	__u32 marks;
};

/**
 * enum iopf_sva_ktable_step - what becomes of a page table of the kernel
 * @IOPF_SVA_KTABLE_MAKE: map memory of the kernel with a page table
 * @IOPF_SVA_KTABLE_REPLACE: map it without, and use the page of the table again
 * @IOPF_SVA_KTABLE_FREE: give everything back; so does a close
 */
enum iopf_sva_ktable_step {
	IOPF_SVA_KTABLE_MAKE = 1,
	IOPF_SVA_KTABLE_REPLACE = 2,
	IOPF_SVA_KTABLE_FREE = 3,
};

/**
 * struct iopf_sva_ktable - a page table of the kernel (IOPF_SVA_KTABLE)
 * @step: enum iopf_sva_ktable_step
 * @flags: 0
 * @addr: output, an address in the memory, which no device must be able to read
 *
 * What is found in the page afterwards are entries that allow it.
 *
 * Errors: EOPNOTSUPP where devices do not walk page tables of the kernel; EBUSY if there
 * is such a table; ENOENT if there is none; EAGAIN if the page did not become free,
 * or the address: all has to be given back and tried again; EPERM without CAP_SYS_ADMIN.
 */
struct iopf_sva_ktable {
	__u32 step;
	__u32 flags;
	__u64 addr;
};

#define IOPF_SVA_MAGIC		0xf5

#define IOPF_SVA_BIND		_IOWR(IOPF_SVA_MAGIC, 0, struct iopf_sva_bind)
/* End what is under way and unbind; ENOTCONN if the file is not bound */
#define IOPF_SVA_UNBIND		_IO(IOPF_SVA_MAGIC, 1)
#define IOPF_SVA_SUBMIT		_IOWR(IOPF_SVA_MAGIC, 2, struct iopf_sva_submit)
#define IOPF_SVA_WAIT		_IOWR(IOPF_SVA_MAGIC, 3, struct iopf_sva_wait)
#define IOPF_SVA_INFO		_IOR(IOPF_SVA_MAGIC, 4, struct iopf_sva_info)
#define IOPF_SVA_KTABLE		_IOWR(IOPF_SVA_MAGIC, 5, struct iopf_sva_ktable)

#endif

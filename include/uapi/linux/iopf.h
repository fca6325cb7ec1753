/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Additions to the fault queues of iommufd
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * These are ioctls of the file that IOMMU_FAULT_QUEUE_ALLOC returns. That file
 * has no others, and the type of these numbers is not iommufd's, so that they
 * cannot meet with what iommufd may get one day. A kernel without them answers
 * ENOTTY. All is off until it is asked for: a program that does not know of it
 * sees no difference.
 */
#ifndef _UAPI_LINUX_IOPF_H
#define _UAPI_LINUX_IOPF_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IOPF_QUEUE_TYPE 0xFB

/**
 * enum iopf_queue_flags - Flags for struct iopf_queue_limits
 * @IOPF_QUEUE_TELL_LOST: read() tells when faults were lost: it returns a
 *                        &struct iommu_hwpt_pgfault with
 *                        IOPF_PGFAULT_FLAGS_LOST among its flags
 */
enum iopf_queue_flags {
	IOPF_QUEUE_TELL_LOST = 1 << 0,
};

/**
 * enum iopf_pgfault_flags - More flags of struct iommu_hwpt_pgfault
 * @IOPF_PGFAULT_FLAGS_LOST: this is no fault and is not answered. The kernel has
 *                           answered groups which the reader has not seen; addr
 *                           is their number since the last such message. All
 *                           other fields are 0. It comes before the groups that
 *                           are still in the queue.
 */
enum iopf_pgfault_flags {
	IOPF_PGFAULT_FLAGS_LOST = 1U << 31,
};

/**
 * struct iopf_queue_limits - ioctl(IOPF_QUEUE_SET_LIMITS)
 * @size: sizeof(struct iopf_queue_limits)
 * @flags: Combination of enum iopf_queue_flags. Others fail with EOPNOTSUPP
 * @timeout_ms: Groups that user space has not answered this many milliseconds
 *              after they came are answered as invalid, at the latest twice the
 *              time after. Their cookies are void from then on: an answer fails
 *              with EINVAL. 0 is no limit
 * @depth: As many groups may be open, read or not, from all devices together.
 *         One that comes when so many are open is answered as invalid at once.
 *         0 is no limit of the queue. The kernel has one for each device
 *
 * Limits the groups of a fault queue. Can be called again at any time and counts
 * for groups that are open already. A queue has none in the beginning.
 */
struct iopf_queue_limits {
	__u32 size;
	__u32 flags;
	__u32 timeout_ms;
	__u32 depth;
};

#define IOPF_QUEUE_SET_LIMITS _IO(IOPF_QUEUE_TYPE, 0x00)

/**
 * struct iopf_queue_status - ioctl(IOPF_QUEUE_GET_STATUS)
 * @size: sizeof(struct iopf_queue_status)
 * @flags: Must be 0
 * @out_unread: Groups that wait to be read
 * @out_unanswered: Groups that were read and wait for their answer
 * @out_groups: All groups that came into the queue
 * @out_answered: Of these, those that user space has answered
 * @out_lost: Groups that the kernel has answered before they were read, for want
 *            of room or of time
 * @out_timed_out: Groups that the kernel has answered for want of time, read or
 *                 not
 */
struct iopf_queue_status {
	__u32 size;
	__u32 flags;
	__u32 out_unread;
	__u32 out_unanswered;
	__aligned_u64 out_groups;
	__aligned_u64 out_answered;
	__aligned_u64 out_lost;
	__aligned_u64 out_timed_out;
};

#define IOPF_QUEUE_GET_STATUS _IO(IOPF_QUEUE_TYPE, 0x01)

#endif /* _UAPI_LINUX_IOPF_H */

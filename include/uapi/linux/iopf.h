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

/**
 * struct iopf_map_answer - One mapping, and the group that waits for it
 * @user_va: Memory of the calling process
 * @length: Its bytes
 * @iova: Where it is to be in the I/O address space
 * @flags: IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE or both. The address
 *         is always a fixed one. Others fail with EOPNOTSUPP, none with EINVAL
 * @cookie: A group that was read and not answered, which is answered with success
 *          when the memory is mapped; 0 if there is none, which only maps. Any
 *          other number fails with EINVAL, and nothing is mapped
 */
struct iopf_map_answer {
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
	__u32 flags;
	__u32 cookie;
};

/**
 * struct iopf_queue_map - ioctl(IOPF_QUEUE_MAP)
 * @size: sizeof(struct iopf_queue_map)
 * @flags: Must be 0
 * @iommufd: File descriptor of the iommufd that the queue is from: who only has
 *           the queue's file must not map anything. Another iommufd fails with
 *           EXDEV, what is none with EBADFD, no file with EBADF
 * @ioas_id: The I/O address space
 * @entries: Array of struct iopf_map_answer
 * @entry_num: Its length; set to the number of those that are done, always
 * @__reserved: Must be 0
 *
 * Does what IOMMU_IOAS_MAP of each entry and one write() of all answers do. The
 * entries are dealt with in order, up to the first that fails, whose errno is that
 * of IOMMU_IOAS_MAP or one of those above. What is done is answered also then. If
 * the kernel answers a group itself while the memory is being mapped, for want of
 * time or as its device leaves, the memory stays mapped and the entry is done.
 */
struct iopf_queue_map {
	__u32 size;
	__u32 flags;
	__s32 iommufd;
	__u32 ioas_id;
	__aligned_u64 entries;
	__u32 entry_num;
	__u32 __reserved;
};

#define IOPF_QUEUE_MAP _IO(IOPF_QUEUE_TYPE, 0x02)

#endif /* _UAPI_LINUX_IOPF_H */

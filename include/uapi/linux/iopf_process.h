/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The address space of a process as a page table of iommufd
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * An ioctl of /dev/iommu with the type of those in linux/iopf.h, which is not iommufd's,
 * so that it cannot meet with what iommufd may get one day. A kernel without it answers
 * ENOTTY.
 */
#ifndef _UAPI_LINUX_IOPF_PROCESS_H
#define _UAPI_LINUX_IOPF_PROCESS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* In the place of a pidfd: the process that calls */
#define IOPF_PROCESS_SELF (-1)

/**
 * struct iopf_hwpt_alloc_process - ioctl(IOPF_HWPT_ALLOC_PROCESS)
 * @size: sizeof(struct iopf_hwpt_alloc_process)
 * @flags: Must be 0
 * @dev_id: The device to allocate this HWPT for
 * @pidfd: A pidfd of the process, or IOPF_PROCESS_SELF
 * @out_hwpt_id: The ID of the new HWPT
 * @__reserved: Must be 0
 *
 * Make a HWPT whose addresses are those of a process. It is attached to PASIDs of devices,
 * and not to a RID (EINVAL). What a device may do is what the process may: the kernel
 * serves the page requests, and refuses those for addresses where the process has
 * nothing, or has it for something else. Nothing is pinned. IOMMU_DESTROY ends it.
 *
 * The caller must be allowed to attach to the process with ptrace(), at the time of the
 * call. The HWPT is bound to the address space that the process has then. When that
 * ends, by exit or exec, devices that are attached get at nothing any more, their
 * requests are answered as invalid, and attaching the HWPT fails with ESRCH.
 *
 * Return: 0 on success. EOPNOTSUPP for a flag or a reserved field, and if device or
 * IOMMU cannot share the address space of a process; ENOENT if there is no such device;
 * EBADF if @pidfd is not a pidfd; ESRCH if the process is gone or has no address space;
 * EPERM if the caller may not attach to it; EBUSY if the process has its pointers tagged
 * in a way that devices do not know; ENOSPC if there are too many HWPTs of it; EINTR;
 * ENOMEM; EFAULT.
 */
struct iopf_hwpt_alloc_process {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__s32 pidfd;
	__u32 out_hwpt_id;
	__u32 __reserved;
};

#define IOPF_HWPT_ALLOC_PROCESS _IO(0xFB, 0x10)

#endif /* _UAPI_LINUX_IOPF_PROCESS_H */

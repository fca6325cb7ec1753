/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The iommufd and VFIO user ABI, whatever age the installed headers have.
 *
 * Only the library reads this. The Makefile looks once whether
 * <linux/iommufd.h> knows fault queues and defines IOPF_OLD_UAPI when it does
 * not (or when there is no such file). The part of the ABI that the library
 * uses is then defined here. Layouts and numbers are those of Linux 6.11 and
 * later, so the library that comes out is the same.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_UAPI_COMPAT_H
#define IOPF_UAPI_COMPAT_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/vfio.h>

#ifndef IOPF_OLD_UAPI
#include <linux/iommufd.h>
#else

#define IOMMU_DESTROY			_IO(';', 0x80)
#define IOMMU_IOAS_ALLOC		_IO(';', 0x81)
#define IOMMU_IOAS_IOVA_RANGES		_IO(';', 0x84)
#define IOMMU_IOAS_MAP			_IO(';', 0x85)
#define IOMMU_IOAS_UNMAP		_IO(';', 0x86)
#define IOMMU_HWPT_ALLOC		_IO(';', 0x89)
#define IOMMU_GET_HW_INFO		_IO(';', 0x8a)
#define IOMMU_FAULT_QUEUE_ALLOC		_IO(';', 0x8e)

struct iommu_destroy {
	__u32 size;
	__u32 id;
};

struct iommu_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_ioas_id;
};

struct iommu_iova_range {
	__aligned_u64 start;
	__aligned_u64 last;
};

struct iommu_ioas_iova_ranges {
	__u32 size;
	__u32 ioas_id;
	__u32 num_iovas;
	__u32 __reserved;
	__aligned_u64 allowed_iovas;
	__aligned_u64 out_iova_alignment;
};

enum iommufd_ioas_map_flags {
	IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
	IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
	IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

struct iommu_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 __reserved;
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
};

struct iommu_ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__aligned_u64 iova;
	__aligned_u64 length;
};

enum iommufd_hwpt_alloc_flags {
	IOMMU_HWPT_FAULT_ID_VALID = 1 << 2,
};

struct iommu_hwpt_alloc {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 pt_id;
	__u32 out_hwpt_id;
	__u32 __reserved;
	__u32 data_type;
	__u32 data_len;
	__aligned_u64 data_uptr;
	__u32 fault_id;
	__u32 __reserved2;
};

struct iommu_hw_info {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 data_len;
	__aligned_u64 data_uptr;
	__u32 out_data_type;
	__u8 out_max_pasid_log2;
	__u8 __reserved[3];
	__aligned_u64 out_capabilities;
};

enum iommu_hw_info_type {
	IOMMU_HW_INFO_TYPE_NONE = 0,
	IOMMU_HW_INFO_TYPE_INTEL_VTD = 1,
};

enum iommu_hwpt_pgfault_flags {
	IOMMU_PGFAULT_FLAGS_PASID_VALID = 1 << 0,
	IOMMU_PGFAULT_FLAGS_LAST_PAGE = 1 << 1,
};

enum iommu_hwpt_pgfault_perm {
	IOMMU_PGFAULT_PERM_READ = 1 << 0,
	IOMMU_PGFAULT_PERM_WRITE = 1 << 1,
	IOMMU_PGFAULT_PERM_EXEC = 1 << 2,
	IOMMU_PGFAULT_PERM_PRIV = 1 << 3,
};

struct iommu_hwpt_pgfault {
	__u32 flags;
	__u32 dev_id;
	__u32 pasid;
	__u32 grpid;
	__u32 perm;
	__u32 __reserved;
	__aligned_u64 addr;
	__u32 length;
	__u32 cookie;
};

enum iommufd_page_response_code {
	IOMMUFD_PAGE_RESP_SUCCESS = 0,
	IOMMUFD_PAGE_RESP_INVALID = 1,
};

struct iommu_hwpt_page_response {
	__u32 cookie;
	__u32 code;
};

struct iommu_fault_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_fault_id;
	__u32 out_fault_fd;
};

#endif /* IOPF_OLD_UAPI */

#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)

struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};
#endif

#ifndef VFIO_DEVICE_ATTACH_IOMMUFD_PT
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};
#endif

#ifndef VFIO_DEVICE_DETACH_IOMMUFD_PT
#define VFIO_DEVICE_DETACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 20)

struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
};
#endif

/* What is no part of mainline is in headers that nobody may have. */
#if defined(__has_include) && __has_include("linux/iopf.h")
#include <linux/iopf.h>
#endif
#if defined(__has_include) && __has_include("linux/iopf_process.h")
#include <linux/iopf_process.h>
#endif

#ifndef IOPF_QUEUE_MAP
#define IOPF_QUEUE_MAP			_IO(0xFB, 0x02)

struct iopf_map_answer {
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
	__u32 flags;
	__u32 cookie;
};

struct iopf_queue_map {
	__u32 size;
	__u32 flags;
	__s32 iommufd;
	__u32 ioas_id;
	__aligned_u64 entries;
	__u32 entry_num;
	__u32 __reserved;
};
#endif

#ifndef IOPF_HWPT_ALLOC_PROCESS
#define IOPF_HWPT_ALLOC_PROCESS		_IO(0xFB, 0x10)

struct iopf_hwpt_alloc_process {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__s32 pidfd;
	__u32 out_hwpt_id;
	__u32 __reserved;
};
#endif

#endif /* IOPF_UAPI_COMPAT_H */

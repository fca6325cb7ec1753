/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Kinds of vIOMMU that iommufd does not have, and what belongs to them
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * All numbers that stand in for a number of iommufd's are here, and have
 * IOPF_TYPE_PREFIX in their upper half. iommufd counts from 0 and does not come to
 * that. Should it get a number for the same thing one day, these stay valid beside
 * it. A kernel without them answers EOPNOTSUPP to the types of a vIOMMU and of a
 * HWPT, and EINVAL to that of an invalidation.
 */
#ifndef _UAPI_LINUX_IOPF_VIOMMU_H
#define _UAPI_LINUX_IOPF_VIOMMU_H

#include <linux/types.h>

#define IOPF_TYPE_PREFIX 0xFB000000U

/* Intel VT-d */

/* enum iommu_viommu_type: part of an IOMMU in scalable mode. Has no data */
#define IOPF_VIOMMU_TYPE_VTD		(IOPF_TYPE_PREFIX | 1)
/* enum iommu_hwpt_data_type: &struct iopf_hwpt_vtd_guest */
#define IOPF_HWPT_DATA_VTD_GUEST	(IOPF_TYPE_PREFIX | 1)
/* enum iommu_hwpt_invalidate_data_type: &struct iopf_vtd_invalidate */
#define IOPF_HWPT_INVALIDATE_DATA_VTD	(IOPF_TYPE_PREFIX | 1)
/* enum iommu_veventq_type: &struct iopf_vevent_vtd */
#define IOPF_VEVENTQ_TYPE_VTD		(IOPF_TYPE_PREFIX | 1)

/**
 * struct iopf_hwpt_vtd_guest - What a guest has in an entry of a PASID table
 *                              (IOPF_HWPT_DATA_VTD_GUEST)
 * @flags: Combination of enum iommu_hwpt_vtd_s1_flags. Others fail with EOPNOTSUPP
 * @pgtbl_addr: Where the first-stage table is, a guest physical address
 * @addr_width: Its address width, 48 or 57 bits
 * @pasid: The PASID by which the guest invalidates it: the number of the entry, or
 *         RID_PASID of the context entry if it is for requests without a PASID
 * @domain_id: The domain ID by which the guest invalidates it
 * @__reserved: Must be 0
 *
 * For a HWPT that is allocated through a vIOMMU. An entry that others use with
 * another PASID is another HWPT. The host has its own ids for all of them.
 */
struct iopf_hwpt_vtd_guest {
	__aligned_u64 flags;
	__aligned_u64 pgtbl_addr;
	__u32 addr_width;
	__u32 pasid;
	__u16 domain_id;
	__u16 __reserved[3];
};

/**
 * enum iopf_vtd_inv_cache - What to invalidate, one or more
 * @IOPF_VTD_INV_CACHE_IOTLB: Translations of the first stage in the IOMMU, with all
 *                            that is derived from them, and in the TLBs of the
 *                            devices that may have them
 * @IOPF_VTD_INV_CACHE_DEVTLB: Translations in the TLB of a device, alone
 * @IOPF_VTD_INV_CACHE_PASID: Entries of PASID tables
 */
enum iopf_vtd_inv_cache {
	IOPF_VTD_INV_CACHE_IOTLB = 1 << 0,
	IOPF_VTD_INV_CACHE_DEVTLB = 1 << 1,
	IOPF_VTD_INV_CACHE_PASID = 1 << 2,
};

/**
 * enum iopf_vtd_inv_gran - How much of it
 * @IOPF_VTD_INV_GRAN_DOMAIN: Of a domain ID, or with IOPF_VTD_INV_CACHE_DEVTLB all
 *                            that a device has, whatever the PASID
 * @IOPF_VTD_INV_GRAN_PASID: Of a PASID
 * @IOPF_VTD_INV_GRAN_ADDR: Of a range of addresses of a PASID
 * @IOPF_VTD_INV_GRAN_GUEST: All of the guest's
 */
enum iopf_vtd_inv_gran {
	IOPF_VTD_INV_GRAN_DOMAIN = 0,
	IOPF_VTD_INV_GRAN_PASID = 1,
	IOPF_VTD_INV_GRAN_ADDR = 2,
	IOPF_VTD_INV_GRAN_GUEST = 3,
};

/**
 * enum iopf_vtd_inv_flags - Flags for struct iopf_vtd_invalidate
 * @IOPF_VTD_INV_FLAGS_LEAF: Only last entries were changed (the hint IH), with
 *                           IOPF_VTD_INV_GRAN_ADDR
 * @IOPF_VTD_INV_FLAGS_DRAIN: Wait for page requests (PD in a guest's inv_wait_dsc),
 *                            with IOPF_VTD_INV_GRAN_GUEST on a vIOMMU
 */
enum iopf_vtd_inv_flags {
	IOPF_VTD_INV_FLAGS_LEAF = 1 << 0,
	IOPF_VTD_INV_FLAGS_DRAIN = 1 << 1,
};

/**
 * struct iopf_vtd_invalidate - An invalidation (IOPF_HWPT_INVALIDATE_DATA_VTD)
 * @cache: Combination of enum iopf_vtd_inv_cache
 * @granularity: One of enum iopf_vtd_inv_gran
 * @flags: Combination of enum iopf_vtd_inv_flags
 * @domain_id: Domain ID of the guest
 * @source_id: virt_id of a vDEVICE
 * @pasid: PASID of the guest
 * @addr: First address, a multiple of 4096
 * @npages: How many pages of 4096 bytes
 *
 * An element of the array of IOMMU_HWPT_INVALIDATE, whose hwpt_id is that of a vIOMMU,
 * or of a HWPT of VT-d's first stage. These are the combinations, with the fields that
 * count for them on a vIOMMU. "-" fails with EINVAL, for more than one cache all have
 * to be there:
 *
 * ======  =====================  ====================  ====================  =====
 *         DOMAIN                 PASID                 ADDR                  GUEST
 * ======  =====================  ====================  ====================  =====
 * IOTLB   \-                     domain_id, pasid      domain_id, pasid,     all
 *                                                      addr, npages
 * DEVTLB  source_id              source_id, pasid      \-                    all
 * PASID   domain_id              domain_id, pasid      \-                    all
 * ======  =====================  ====================  ====================  =====
 *
 * On a HWPT, that is what domain_id, source_id and pasid are about: it has its own, and
 * DEVTLB is about all devices that are attached. GUEST is "-" there.
 *
 * A field that does not count must be 0 (EINVAL), as must be bits that are not defined
 * (EOPNOTSUPP). EINVAL, too, for a pasid of more than 20 bits, and pages that are none
 * or go beyond 2^64. A source_id that no vDEVICE has fails with ENOENT. A domain ID or
 * PASID that the guest uses for nothing does not fail, as it does not for a guest on
 * hardware: nothing is invalidated.
 *
 * IOPF_VTD_INV_FLAGS_DRAIN fails with EINVAL where GUEST is not there. With it the
 * caches may be none. When the ioctl returns, all page requests of the guest's devices
 * that have reached the IOMMU by the time that the invalidations of the array were
 * complete are in the fault queues of their HWPTs, or answered. Those that a device has
 * sent before it completes an invalidation of its TLB are among these, as on hardware.
 * A kernel that does not know the flag answers EOPNOTSUPP.
 *
 * Only the first stage is invalidated, nothing of another guest, and nothing of the
 * host. When the ioctl returns all of entry_num elements have left the caches, also if
 * the one after them has failed. More than what was asked for may have left them. An
 * array is submitted at once, with one wait, if no more than 64 descriptors come of it:
 * one for the IOTLB of each range and HWPT, and one for each of its devices with ATS.
 * More are submitted 64 at a time, each time with a wait.
 */
struct iopf_vtd_invalidate {
	__u16 cache;
	__u16 granularity;
	__u32 flags;
	__u16 domain_id;
	__u16 source_id;
	__u32 pasid;
	__aligned_u64 addr;
	__aligned_u64 npages;
};

/**
 * struct iopf_vevent_vtd - A fault of the guest (IOPF_VEVENTQ_TYPE_VTD)
 * @frcd: A fault recording register, lower half first, with F set
 *
 * The hardware has refused an access of a device, for a reason that is in the first
 * stage: 0x70 to 0x74, 0x80 to 0x82, 0x90, 0x91. Or 0x85 and 0x86, with which it does
 * not say which of the stages lacks the right to write or to read. The source ID is
 * the guest's, and so is the PASID. Page requests are not among these faults, but in
 * the fault queue of the HWPT.
 */
struct iopf_vevent_vtd {
	__aligned_u64 frcd[2];
};

/* AMD-Vi */

/*
 * enum iommu_viommu_type: part of an IOMMU with tables of PASIDs in memory of guests.
 * Has no data. Its HWPTs have IOMMU_HWPT_DATA_AMD_GUEST, and are invalidated through
 * the vIOMMU only
 */
#define IOPF_VIOMMU_TYPE_AMD		(IOPF_TYPE_PREFIX | 2)
/* enum iommu_hwpt_invalidate_data_type: &struct iopf_amd_invalidate */
#define IOPF_HWPT_INVALIDATE_DATA_AMD	(IOPF_TYPE_PREFIX | 2)
/* enum iommu_veventq_type: &struct iopf_vevent_amd */
#define IOPF_VEVENTQ_TYPE_AMD		(IOPF_TYPE_PREFIX | 2)

/**
 * struct iopf_amd_invalidate - A command of a guest (IOPF_HWPT_INVALIDATE_DATA_AMD)
 * @cmd: The command, as the guest has put it into its command buffer
 *
 * An element of the array of IOMMU_HWPT_INVALIDATE, whose hwpt_id is that of a vIOMMU.
 * These are passed on, with the ids of the host:
 *
 * - INVALIDATE_IOMMU_PAGES, with the domain ID of the guest. Without GN it is about all
 *   that the domain has. A domain ID that no HWPT has does not fail, as it does not for
 *   a guest on hardware: nothing is invalidated. Of devices whose entry does not have I
 *   the IOTLB is invalidated, too.
 * - INVALIDATE_IOTLB_PAGES, with a device ID that is the virt_id of a vDEVICE (ENOENT).
 *   Queue ID and the number of pending commands are the host's.
 *
 * All others fail with EOPNOTSUPP: INVALIDATE_DEVTAB_ENTRY is a new HWPT that the
 * device is attached to, COMPLETE_PPR_REQUEST an answer that is written to the fault
 * queue, and COMPLETION_WAIT the end of the array. A guest is not told of a feature
 * that brings more of them (EFR.IASup, PreFSup, InvIotlbTypeSup).
 *
 * Bits that are reserved, and a PASID without GN, fail with EINVAL. When the ioctl
 * returns all of entry_num commands are complete, also if the one after them has
 * failed.
 */
struct iopf_amd_invalidate {
	__aligned_u64 cmd[2];
};

/**
 * struct iopf_vevent_amd - A fault of the guest (IOPF_VEVENTQ_TYPE_AMD)
 * @event: An entry of the event log, with the device ID of the guest
 *
 * An IO_PAGE_FAULT with GN, so in the tables of the guest. Page requests are not among
 * these, but in the fault queue of the HWPT. With IOPF_VIOMMU_TYPE_AMD_HW it is something
 * else, see &struct iopf_viommu_amd_hw.
 */
struct iopf_vevent_amd {
	__aligned_u64 event[2];
};

/*
 * enum iommu_viommu_type: the same, but that the hardware works off the commands of the
 * guest and writes its logs. The data is &struct iopf_viommu_amd_hw. EOPNOTSUPP without
 * such hardware, or unless the kernel was started with amd_iommu=hw_viommu
 */
#define IOPF_VIOMMU_TYPE_AMD_HW		(IOPF_TYPE_PREFIX | 4)

/* enum iommu_hw_queue_type: rings of such a vIOMMU, see &struct iopf_viommu_amd_hw */
#define IOPF_HW_QUEUE_TYPE_AMD_CMD	(IOPF_TYPE_PREFIX | 1)
#define IOPF_HW_QUEUE_TYPE_AMD_EVENT	(IOPF_TYPE_PREFIX | 2)
#define IOPF_HW_QUEUE_TYPE_AMD_PPR	(IOPF_TYPE_PREFIX | 3)

/**
 * struct iopf_viommu_amd_hw - A part of an IOMMU that the hardware works off
 *                             (IOPF_VIOMMU_TYPE_AMD_HW)
 * @out_vf_offset: Where to mmap() the registers of the guest in the iommufd
 * @out_vf_length: How long they are, 4096
 *
 * Those registers are what the guest has from 0x2000 on: head and tail of its rings, and
 * its status.
 *
 * A ring of the guest is an IOMMU_HW_QUEUE of index 0, of which each type can be there
 * once: commands, events, page requests. nesting_parent_iova is where it is for the
 * guest, a multiple of 4096, and length is a power of two from 4096 to 524288 (both
 * EINVAL). It is on for as long as the queue is there, and that is how a VMM starts a
 * ring again that has stopped. The memory stays mapped for as long.
 *
 * The hardware carries out COMPLETION_WAIT, INVALIDATE_DEVTAB_ENTRY,
 * INVALIDATE_IOMMU_PAGES, INVALIDATE_IOTLB_PAGES, INVALIDATE_INTERRUPT_TABLE and
 * COMPLETE_PPR_REQUEST. It knows the devices that are vDEVICEs, and the domain IDs of
 * HWPTs. There are no interrupts: the guest polls.
 *
 * IO_PAGE_FAULTs of a device with a nested HWPT are in the log of the guest, and so are
 * its page requests: a HWPT with a fault queue turns them on, but the queue has none of
 * them. What the hardware cannot do for the guest is in a vEVENTQ of type
 * IOPF_VEVENTQ_TYPE_AMD: GUEST_EVENT_FAULT and VIOMMU_HARDWARE_ERROR, with 0 in place of
 * the number that the guest has on the host. The ring has stopped then.
 */
struct iopf_viommu_amd_hw {
	__aligned_u64 out_vf_offset;
	__aligned_u64 out_vf_length;
};

#endif /* _UAPI_LINUX_IOPF_VIOMMU_H */

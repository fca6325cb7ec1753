/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD-Vi: IOMMUs of guests that the hardware has
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Not all of it is in a specification that can be had. Comments name the source:
 *
 * - "driver": from AMD's drivers, of 2023 and later, that ran on hardware
 * - "inference": from neither a driver nor a transcription of the specification
 */
#ifndef AMD_IOMMU_VIOMMU_HW_H
#define AMD_IOMMU_VIOMMU_HW_H

#include <linux/bits.h>
#include <linux/iommufd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct amd_guest_domid;
struct amd_hw_ring;
struct amd_iommu;
struct amd_viommu;
struct dev_table_entry;
struct iommu_dev_data;
struct iommu_user_data;
struct page;
struct protection_domain;

/* Of the upper half of a device table entry (driver) */
#define AMD_HW_DTE_VIMUEN	BIT_ULL(15)
#define AMD_HW_DTE_DEVID	GENMASK_ULL(31, 16)
#define AMD_HW_DTE_GID		GENMASK_ULL(47, 32)

/* Slot of the host for a guest (driver) */
#define AMD_HW_SLOT_SIZE	64
#define AMD_HW_DEVICE_MAP	0x00
#define AMD_HW_DOMAIN_MAP	0x08
#define AMD_HW_MISC		0x10
#define AMD_HW_CMD		0x20
#define AMD_HW_EVENT		0x28
#define AMD_HW_PPR		0x30

#define AMD_HW_RINGS		3

/**
 * struct amd_ipa_range - Memory at private addresses of an IOMMU
 * @ipa: where
 * @order: of each of the blocks
 * @nr: how many of them there are
 * @blocks: the memory
 */
struct amd_ipa_range {
	u64 ipa;
	unsigned int order;
	unsigned int nr;
	struct page **blocks;
};

/**
 * struct amd_hw_host - What the host has to do with vIOMMUs of an IOMMU
 * @iommu: the IOMMU
 * @lock: serializes changes of the private address space
 * @ipa: the page table of private addresses
 * @state: what the hardware keeps of guests
 * @vf: where the pages of guests are, physical
 * @cntl: the slots
 * @guests: &struct amd_hw_guest by their IDs. Its lock is taken with interrupts off
 */
struct amd_hw_host {
	struct amd_iommu *iommu;
	struct mutex lock; /* ipa */
	struct protection_domain *ipa;
	struct amd_ipa_range state;
	phys_addr_t vf;
	u8 __iomem *cntl;
	struct xarray guests;
};

/**
 * struct amd_hw_guest - What the hardware has of a guest
 * @viommu: the guest
 * @host: of the IOMMU
 * @node: in protection_domain::viommus of the second stage, protected by its lock
 * @gid: its ID, on this IOMMU
 * @translate: the device ID by which its rings are translated. Changed with the lock
 *	       of the second stage held
 * @maps: of device IDs and of domain IDs
 * @mmap_offset: where user space maps the page of the guest
 * @rings: those that there are, by type. Protected by the lock of @viommu
 */
struct amd_hw_guest {
	struct amd_viommu *viommu;
	struct amd_hw_host *host;
	struct list_head node;
	u32 gid;
	u16 translate;
	struct amd_ipa_range maps[2];
	unsigned long mmap_offset;
	struct amd_hw_ring *rings[AMD_HW_RINGS];
};

/* Private addresses */
int amd_ipa_map(struct amd_hw_host *host, struct amd_ipa_range *range, u64 ipa,
		size_t size, unsigned int order, gfp_t gfp);
void amd_ipa_unmap(struct amd_hw_host *host, struct amd_ipa_range *range);

/* Numbers and translate devices */
int amd_hw_get_gid(struct amd_hw_guest *guest);
void amd_hw_put_gid(struct amd_hw_guest *guest);
int amd_hw_get_translate(struct amd_hw_guest *guest);
void amd_hw_put_translate(struct amd_hw_guest *guest);

/* Slots */
void amd_hw_write(struct amd_hw_guest *guest, unsigned int reg, u64 val);
void amd_hw_sync(struct amd_hw_guest *guest);
int amd_hw_reset(struct amd_hw_guest *guest, u32 what);
int amd_hw_wait(struct amd_iommu *iommu);

#define AMD_HW_RESET_ALL	BIT(28)
#define AMD_HW_RESET_VCMD	BIT(31)

/* Registers are lost */
void amd_hw_restore_guest(struct amd_hw_guest *guest);
void amd_hw_restore_rings(struct amd_hw_guest *guest);

#ifdef CONFIG_AMD_IOMMU_HW_VIOMMU
void amd_hw_want(void);
void amd_hw_init(void);
void amd_hw_resume(void);
bool amd_hw_supported(struct amd_iommu *iommu);
bool amd_hw_report(struct amd_iommu *iommu, const u32 *event);
int amd_hw_guest_init(struct amd_viommu *viommu,
		      const struct iommu_user_data *user_data);
void amd_hw_guest_destroy(struct amd_viommu *viommu);
size_t amd_hw_ring_size(struct iommufd_viommu *core, unsigned int type);
int amd_hw_ring_init(struct iommufd_hw_queue *queue, u32 index);
void amd_hw_set_domid(struct amd_viommu *viommu,
		      const struct amd_guest_domid *domid, bool set);
int amd_hw_vdevice_init(struct iommufd_vdevice *vdev);
void amd_hw_build_dte(const struct iommu_dev_data *dev_data,
		      struct dev_table_entry *dte);
void amd_hw_parent_changed(struct protection_domain *parent);
void amd_hw_devid_in_use(struct amd_iommu *iommu, u16 devid);
#else
static inline void amd_hw_want(void)
{
	pr_warn("AMD-Vi: This kernel has no CONFIG_AMD_IOMMU_HW_VIOMMU\n");
}

static inline void amd_hw_init(void)
{
}

static inline void amd_hw_resume(void)
{
}

static inline bool amd_hw_supported(struct amd_iommu *iommu)
{
	return false;
}

static inline bool amd_hw_report(struct amd_iommu *iommu, const u32 *event)
{
	return false;
}

static inline int amd_hw_guest_init(struct amd_viommu *viommu,
				    const struct iommu_user_data *user_data)
{
	return -EOPNOTSUPP;
}

static inline void amd_hw_guest_destroy(struct amd_viommu *viommu)
{
}

static inline size_t amd_hw_ring_size(struct iommufd_viommu *core,
				      unsigned int type)
{
	return 0;
}

static inline int amd_hw_ring_init(struct iommufd_hw_queue *queue, u32 index)
{
	return -EOPNOTSUPP;
}

static inline void amd_hw_set_domid(struct amd_viommu *viommu,
				    const struct amd_guest_domid *domid,
				    bool set)
{
}

static inline int amd_hw_vdevice_init(struct iommufd_vdevice *vdev)
{
	return 0;
}

static inline void amd_hw_build_dte(const struct iommu_dev_data *dev_data,
				    struct dev_table_entry *dte)
{
}

static inline void amd_hw_parent_changed(struct protection_domain *parent)
{
}

static inline void amd_hw_devid_in_use(struct amd_iommu *iommu, u16 devid)
{
}
#endif /* CONFIG_AMD_IOMMU_HW_VIOMMU */

#endif /* AMD_IOMMU_VIOMMU_HW_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: what the hardware has of a guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A guest has a number (GID) on an IOMMU. By that there are a page of registers, which
 * the guest has for itself, a slot of registers for the host, and two maps: what the
 * device IDs and the domain IDs of the guest are for the host. The hardware replaces
 * the IDs in commands of the guest by them.
 *
 * All IDs have an entry from the beginning, as for the hardware it is an error when one
 * has none, and a guest that begins invalidates by all of them. What the guest does not
 * have leads to device 0, which has no caches, and to the domain ID of the second
 * stage (driver).
 */
#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"

#define CMD_RESET_VMMIO		0x0a

/* Writes to the maps (driver) */
#define MAP_WRITE		BIT_ULL(63)
#define MAP_GUEST		GENMASK_ULL(61, 46)
#define MAP_HOST		GENMASK_ULL(29, 14)
#define MAP_VALID		BIT_ULL(0)

/* Where the maps are, for the first guest, and how large they are (driver) */
#define IPA_DEVICE_MAP		0x1000000000ULL
#define IPA_DEVICE_SIZE		SZ_1M
#define IPA_DOMAIN_MAP		0x2000000000ULL
#define IPA_DOMAIN_SIZE		SZ_512K
/* Of the blocks they are made of */
#define IPA_MAP_ORDER		PAGE_ALLOC_COSTLY_ORDER

/* In events about guests (driver) */
#define EVENT_GID		0xffffU

/**
 * amd_hw_write() - Write to the slot of a guest
 * @guest: the guest
 * @reg: which register
 * @val: what to write
 */
void amd_hw_write(struct amd_hw_guest *guest, unsigned int reg, u64 val)
{
	writeq(val, guest->host->cntl + guest->gid * AMD_HW_SLOT_SIZE + reg);
}

/**
 * amd_hw_sync() - Have what was written to the slot of a guest there
 * @guest: the guest
 *
 * Inference: the writes are posted, and a read of the same slot is behind them.
 */
void amd_hw_sync(struct amd_hw_guest *guest)
{
	readq(guest->host->cntl + guest->gid * AMD_HW_SLOT_SIZE + AMD_HW_MISC);
}

/* One that comes without a command before it would not be sent. */
static int queue_and_wait(struct amd_iommu *iommu, struct iommu_cmd *cmd)
{
	int ret = amd_iommu_queue_commands(iommu, cmd, 1);

	return ret ?: iommu_completion_wait(iommu);
}

/**
 * amd_hw_wait() - What the hardware has begun for guests is over
 * @iommu: the IOMMU
 *
 * Inference: that it is with what the host waits for.
 *
 * Return: 0 or an errno.
 */
int amd_hw_wait(struct amd_iommu *iommu)
{
	/* Of all commands the one that costs least */
	struct iommu_cmd cmd = {
		.data = { iommu->devid, CMD_INV_DEV_ENTRY << 28 },
	};

	return queue_and_wait(iommu, &cmd);
}

/**
 * amd_hw_reset() - Forget what a guest, or the host for it, has written
 * @guest: the guest
 * @what: AMD_HW_RESET_*. Inference: what each of them is about
 *
 * Return: 0 or an errno.
 */
int amd_hw_reset(struct amd_hw_guest *guest, u32 what)
{
	struct iommu_cmd cmd = {
		.data = { guest->gid | what, CMD_RESET_VMMIO << 28 },
	};

	return queue_and_wait(guest->host->iommu, &cmd);
}

static void map_id(struct amd_hw_guest *guest, unsigned int map, u16 id,
		   u16 host)
{
	amd_hw_write(guest, map, MAP_WRITE | FIELD_PREP(MAP_GUEST, id) |
				 FIELD_PREP(MAP_HOST, host) | MAP_VALID);
}

static void fill_maps(struct amd_hw_guest *guest)
{
	u16 parent = guest->viommu->parent->id;
	unsigned int id;

	for (id = 0; id <= U16_MAX; id++) {
		map_id(guest, AMD_HW_DOMAIN_MAP, id, parent);
		map_id(guest, AMD_HW_DEVICE_MAP, id, 0);
		cond_resched();
	}
	amd_hw_sync(guest);
}

static int alloc_maps(struct amd_hw_guest *guest)
{
	int ret;

	ret = amd_ipa_map(guest->host, &guest->maps[0],
			  IPA_DEVICE_MAP + (u64)guest->gid * IPA_DEVICE_SIZE,
			  IPA_DEVICE_SIZE, IPA_MAP_ORDER, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	ret = amd_ipa_map(guest->host, &guest->maps[1],
			  IPA_DOMAIN_MAP + (u64)guest->gid * IPA_DOMAIN_SIZE,
			  IPA_DOMAIN_SIZE, IPA_MAP_ORDER, GFP_KERNEL_ACCOUNT);
	if (ret)
		amd_ipa_unmap(guest->host, &guest->maps[0]);
	return ret;
}

static void free_maps(struct amd_hw_guest *guest)
{
	amd_ipa_unmap(guest->host, &guest->maps[1]);
	amd_ipa_unmap(guest->host, &guest->maps[0]);
}

/* It has no rings here, and no map that the hardware could look at. */
static int set_up(struct amd_hw_guest *guest)
{
	int ret;

	/* What the one before with this number has left */
	ret = amd_hw_reset(guest, AMD_HW_RESET_ALL | AMD_HW_RESET_VCMD);
	if (ret)
		return ret;
	ret = amd_hw_get_translate(guest);
	if (ret)
		return ret;
	ret = alloc_maps(guest);
	if (!ret) {
		fill_maps(guest);
		return 0;
	}
	amd_hw_write(guest, AMD_HW_MISC, 0);
	amd_hw_sync(guest);
	amd_hw_put_translate(guest);
	return ret;
}

/*
 * Neither a ring nor an entry of a device is there any more, nor is the page mapped:
 * all of that holds the guest. Inference: the order, so that the hardware does not find
 * anything that has gone.
 */
static void tear_down(struct amd_hw_guest *guest)
{
	amd_hw_reset(guest, AMD_HW_RESET_ALL | AMD_HW_RESET_VCMD);
	/* As long as there are maps: nothing of the host's is left behind. */
	fill_maps(guest);
	amd_hw_write(guest, AMD_HW_MISC, 0);
	amd_hw_sync(guest);
	free_maps(guest);
	amd_hw_put_translate(guest);
}

static int publish(struct amd_hw_guest *guest,
		   const struct iommu_user_data *user_data)
{
	phys_addr_t page = guest->host->vf + (phys_addr_t)guest->gid * SZ_4K;
	struct iopf_viommu_amd_hw data = {
		.out_vf_length = SZ_4K,
	};
	int ret;

	ret = iommufd_viommu_alloc_mmap(&guest->viommu->core, page, SZ_4K,
					&guest->mmap_offset);
	if (ret)
		return ret;
	data.out_vf_offset = guest->mmap_offset;
	ret = iommu_copy_struct_to_user(user_data, &data,
					IOPF_VIOMMU_TYPE_AMD_HW, out_vf_length);
	if (ret)
		iommufd_viommu_destroy_mmap(&guest->viommu->core,
					    guest->mmap_offset);
	return ret;
}

/**
 * amd_hw_guest_init() - Have the hardware work for a guest
 * @viommu: the guest
 * @user_data: filled in, &struct iopf_viommu_amd_hw
 *
 * Return: 0 or an errno, upon which nothing is left.
 */
int amd_hw_guest_init(struct amd_viommu *viommu,
		      const struct iommu_user_data *user_data)
{
	struct amd_iommu *iommu = amd_viommu_iommu(viommu);
	struct amd_hw_guest *guest;
	int ret;

	if (!user_data)
		return -EINVAL;
	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		return -ENOMEM;
	guest->viommu = viommu;
	guest->host = iommu->hw;
	INIT_LIST_HEAD(&guest->node);
	ret = amd_hw_get_gid(guest);
	if (ret)
		goto err_free;
	ret = set_up(guest);
	if (ret)
		goto err_put_gid;
	ret = publish(guest, user_data);
	if (ret)
		goto err_tear_down;
	viommu->hw = guest;
	return 0;

err_tear_down:
	tear_down(guest);
err_put_gid:
	amd_hw_put_gid(guest);
err_free:
	kfree(guest);
	return ret;
}

/**
 * amd_hw_guest_destroy() - The hardware does not work for a guest any more
 * @viommu: the guest
 */
void amd_hw_guest_destroy(struct amd_viommu *viommu)
{
	struct amd_hw_guest *guest = viommu->hw;

	iommufd_viommu_destroy_mmap(&viommu->core, guest->mmap_offset);
	tear_down(guest);
	amd_hw_put_gid(guest);
	kfree(guest);
}

/**
 * amd_hw_restore_guest() - The IOMMU has lost its registers
 * @guest: a guest
 *
 * The maps are in memory, and so is (inference) how far the rings are.
 */
void amd_hw_restore_guest(struct amd_hw_guest *guest)
{
	amd_hw_write(guest, AMD_HW_MISC, (u64)guest->translate << 16);
	amd_hw_restore_rings(guest);
	amd_hw_sync(guest);
}

/**
 * amd_hw_set_domid() - A guest has a domain ID, or does not have it any more
 * @viommu: the guest, with its lock held
 * @domid: the ID
 * @set: which of both
 *
 * When this returns, commands of the guest that the hardware takes up have the new
 * one of the host.
 */
void amd_hw_set_domid(struct amd_viommu *viommu,
		      const struct amd_guest_domid *domid, bool set)
{
	struct amd_hw_guest *guest = viommu->hw;

	lockdep_assert_held(&viommu->lock);

	if (!guest)
		return;
	map_id(guest, AMD_HW_DOMAIN_MAP, domid->guest,
	       set ? domid->host : viommu->parent->id);
	amd_hw_sync(guest);
}

static void set_device(struct iommufd_vdevice *vdev, u16 host)
{
	struct amd_hw_guest *guest = to_amd_viommu(vdev->viommu)->hw;

	map_id(guest, AMD_HW_DEVICE_MAP, vdev->virt_id, host);
	amd_hw_sync(guest);
	/* A command that was taken up before has been carried out (inference). */
	amd_hw_wait(guest->host->iommu);
}

static void vdevice_destroy(struct iommufd_vdevice *vdev)
{
	set_device(vdev, 0);
}

/**
 * amd_hw_vdevice_init() - A guest has a device
 * @vdev: the device
 *
 * Return: 0.
 */
int amd_hw_vdevice_init(struct iommufd_vdevice *vdev)
{
	const struct iommu_dev_data *dev_data =
		dev_iommu_priv_get(iommufd_vdevice_to_device(vdev));

	if (!to_amd_viommu(vdev->viommu)->hw)
		return 0;
	set_device(vdev, dev_data->devid);
	vdev->destroy = vdevice_destroy;
	return 0;
}

/**
 * amd_hw_build_dte() - Tell the hardware of which guest a device is
 * @dev_data: the device, with page tables of a guest
 * @dte: its device table entry
 *
 * What goes wrong in these tables is an event in the log of the guest, and page
 * requests are in its log of them (inference).
 */
void amd_hw_build_dte(const struct iommu_dev_data *dev_data,
		      struct dev_table_entry *dte)
{
	const struct amd_hw_guest *guest = dev_data->guest.nested->viommu->hw;

	if (!guest)
		return;
	dte->data[3] |= AMD_HW_DTE_VIMUEN |
			FIELD_PREP(AMD_HW_DTE_DEVID, dev_data->guest.devid) |
			FIELD_PREP(AMD_HW_DTE_GID, guest->gid);
}

/* Of the event, 0 if it is not about a guest */
static u32 event_gid(const u32 *event)
{
	switch (event[1] >> EVENT_TYPE_SHIFT) {
	case EVENT_TYPE_GUEST_FAULT:
		return event[1] & EVENT_GID;
	case EVENT_TYPE_VIOMMU_ERR:
		return event[0] & EVENT_GID;
	default:
		return 0;
	}
}

/**
 * amd_hw_report() - Tell the VMM what the hardware could not do for a guest
 * @iommu: the IOMMU
 * @event: the entry of the event log
 *
 * The number of the guest is the host's: the VMM finds 0 there.
 *
 * Context: any.
 *
 * Return: true if there is such a guest, and a VMM that has asked for these.
 */
bool amd_hw_report(struct amd_iommu *iommu, const u32 *event)
{
	u32 gid = event_gid(event), copy[4];
	struct amd_hw_guest *guest;
	struct iopf_vevent_amd out;
	unsigned long flags;
	bool told = false;

	if (!gid || !iommu->hw)
		return false;
	memcpy(copy, event, sizeof(copy));
	copy[event[1] >> EVENT_TYPE_SHIFT == EVENT_TYPE_GUEST_FAULT] &= ~EVENT_GID;
	out.event[0] = (u64)copy[1] << 32 | copy[0];
	out.event[1] = (u64)copy[3] << 32 | copy[2];

	xa_lock_irqsave(&iommu->hw->guests, flags);
	guest = xa_load(&iommu->hw->guests, gid);
	if (guest)
		told = !iommufd_viommu_report_event(&guest->viommu->core,
						    IOPF_VEVENTQ_TYPE_AMD, &out,
						    sizeof(out));
	xa_unlock_irqrestore(&iommu->hw->guests, flags);
	return told;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: numbers and translate devices of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The rings of a guest have addresses of the guest. The hardware translates them as if
 * they were those of a device, whose ID the host chooses: its device table entry has
 * the second stage. No such device may exist. An ID that nobody has had until now can
 * still turn out to be that of a device which is plugged in later: then the guest gets
 * another one.
 */
#define pr_fmt(fmt)     "AMD-Vi: " fmt
#define dev_fmt(fmt)    pr_fmt(fmt)

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#include "amd_iommu.h"

/* The upper half of the numbers is for secure guests (driver). */
#define GID_LIMIT		XA_LIMIT(1, 0x7fff)

/* amd_hw_guest::translate of all guests, who may have which, and that guests stay */
static DEFINE_MUTEX(ids_lock);

static bool is_special(const struct list_head *map, u16 seg, u16 devid)
{
	const struct devid_map *entry;

	list_for_each_entry(entry, map, list)
		if (entry->devid == PCI_SEG_DEVID_TO_SBDF(seg, devid))
			return true;
	return false;
}

static bool is_acpi_device(u16 seg, u16 devid)
{
	const struct acpihid_map_entry *entry;
	u32 sbdf = PCI_SEG_DEVID_TO_SBDF(seg, devid);

	list_for_each_entry(entry, &acpihid_map, list)
		if (entry->devid == sbdf || entry->root_devid == sbdf)
			return true;
	return false;
}

static bool is_alias(const struct amd_iommu_pci_seg *seg, u16 devid)
{
	unsigned int i;

	if (seg->alias_table[devid] != devid)
		return true;
	for (i = 0; i <= seg->last_bdf; i++)
		if (i != devid && seg->alias_table[i] == devid)
			return true;
	return false;
}

/* By an IOMMU itself, or by a guest that has the same device table */
static bool is_taken(const struct amd_iommu_pci_seg *seg, u16 devid)
{
	struct amd_hw_guest *guest;
	struct amd_iommu *iommu;
	unsigned long gid;

	lockdep_assert_held(&ids_lock);

	for_each_iommu(iommu) {
		if (iommu->pci_seg != seg)
			continue;
		if (iommu->devid == devid)
			return true;
		if (!iommu->hw)
			continue;
		xa_for_each(&iommu->hw->guests, gid, guest)
			if (guest->translate == devid)
				return true;
	}
	return false;
}

static bool is_pci_device(u16 seg, u16 devid)
{
	struct pci_dev *pdev =
		pci_get_domain_bus_and_slot(seg, PCI_BUS_NUM(devid),
					    devid & 0xff);

	pci_dev_put(pdev);
	return pdev;
}

/* The highest that is free: buses are numbered from 0 on. 0 if there is none */
static u16 find_free(struct amd_iommu *iommu)
{
	const struct amd_iommu_pci_seg *seg = iommu->pci_seg;
	unsigned int id;

	/* What the device table does not have cannot be one (inference). */
	for (id = seg->last_bdf; id; id--) {
		if (!search_dev_data(iommu, id) && !is_taken(seg, id) &&
		    !is_special(&ioapic_map, seg->id, id) &&
		    !is_special(&hpet_map, seg->id, id) &&
		    !is_acpi_device(seg->id, id) && !is_alias(seg, id) &&
		    !is_pci_device(seg->id, id))
			return id;
	}
	return 0;
}

static void write_dte(struct amd_hw_guest *guest)
{
	struct protection_domain *parent = guest->viommu->parent;

	lockdep_assert_held(&parent->lock);

	amd_iommu_set_bare_dte(guest->host->iommu, guest->translate, parent);
}

/* @id: 0 for none. The entry that the guest has had is left alone. */
static void set_translate(struct amd_hw_guest *guest, u16 id)
{
	struct protection_domain *parent = guest->viommu->parent;
	unsigned long flags;

	lockdep_assert_held(&ids_lock);

	spin_lock_irqsave(&parent->lock, flags);
	guest->translate = id;
	list_del_init(&guest->node);
	/* Whoever changes the second stage from now on changes the entry, too. */
	if (id) {
		list_add(&guest->node, &parent->viommus);
		write_dte(guest);
	}
	spin_unlock_irqrestore(&parent->lock, flags);
}

/* The entry is there before the hardware knows of it (driver). */
static int choose(struct amd_hw_guest *guest)
{
	u16 id = find_free(guest->host->iommu);

	set_translate(guest, id);
	amd_hw_write(guest, AMD_HW_MISC, (u64)id << 16);
	amd_hw_sync(guest);
	return id ? 0 : -ENOSPC;
}

/**
 * amd_hw_get_gid() - Have a number for a guest
 * @guest: the guest, whose number is set
 *
 * The lowest that is free: tables of private addresses are there already.
 *
 * Return: 0, -ENOSPC if there are none left, or -ENOMEM.
 */
int amd_hw_get_gid(struct amd_hw_guest *guest)
{
	int ret;

	ret = xa_alloc_irq(&guest->host->guests, &guest->gid, guest, GID_LIMIT,
			   GFP_KERNEL_ACCOUNT);
	return ret == -EBUSY ? -ENOSPC : ret;
}

/**
 * amd_hw_put_gid() - Give the number of a guest back
 * @guest: the guest, which nobody finds any more
 */
void amd_hw_put_gid(struct amd_hw_guest *guest)
{
	mutex_lock(&ids_lock);
	xa_erase_irq(&guest->host->guests, guest->gid);
	mutex_unlock(&ids_lock);
}

/**
 * amd_hw_get_translate() - Have the rings of a guest translated
 * @guest: the guest, which is among those of its IOMMU
 *
 * Return: 0, -ENOSPC if there is no device ID for that, or -ENOMEM.
 */
int amd_hw_get_translate(struct amd_hw_guest *guest)
{
	struct protection_domain *parent = guest->viommu->parent;
	int ret;

	/* The second stage is invalidated on the IOMMUs that it knows of. */
	ret = pdom_attach_iommu(guest->host->iommu, parent);
	if (ret)
		return ret;
	mutex_lock(&ids_lock);
	ret = choose(guest);
	mutex_unlock(&ids_lock);
	if (ret)
		pdom_detach_iommu(guest->host->iommu, parent);
	return ret;
}

/**
 * amd_hw_put_translate() - The rings of a guest are not translated any more
 * @guest: the guest, whose slot does not name the device any more
 */
void amd_hw_put_translate(struct amd_hw_guest *guest)
{
	struct protection_domain *parent = guest->viommu->parent;
	struct amd_iommu *iommu = guest->host->iommu;
	u16 id;

	mutex_lock(&ids_lock);
	id = guest->translate;
	set_translate(guest, 0);
	/* None if a device has turned up for it, and there was no other. */
	if (id)
		amd_iommu_set_bare_dte(iommu, id, NULL);
	mutex_unlock(&ids_lock);

	/* Nobody tells the IOMMU any more what changes there. */
	amd_iommu_flush_domid(iommu, parent->id, 0,
			      CMD_INV_IOMMU_ALL_PAGES_ADDRESS);
	iommu_completion_wait(iommu);
	pdom_detach_iommu(iommu, parent);
}

/**
 * amd_hw_parent_changed() - A second stage has a new root, or domain ID
 * @parent: the second stage, with its lock held
 */
void amd_hw_parent_changed(struct protection_domain *parent)
{
	struct amd_hw_guest *guest;

	lockdep_assert_held(&parent->lock);

	list_for_each_entry(guest, &parent->viommus, node)
		write_dte(guest);
}

static struct amd_hw_guest *find_translate(struct amd_iommu *iommu, u16 devid)
{
	struct amd_hw_guest *guest;
	struct amd_iommu *other;
	unsigned long gid;

	for_each_iommu(other) {
		if (!other->hw || other->pci_seg != iommu->pci_seg)
			continue;
		xa_for_each(&other->hw->guests, gid, guest)
			if (guest->translate == devid)
				return guest;
	}
	return NULL;
}

/**
 * amd_hw_devid_in_use() - A device ID is that of a device, or is used by one
 * @iommu: the IOMMU of the device
 * @devid: the ID, which nobody has used before, and which is found from now on
 *
 * Context: may sleep.
 */
void amd_hw_devid_in_use(struct amd_iommu *iommu, u16 devid)
{
	struct amd_hw_guest *guest;

	mutex_lock(&ids_lock);
	guest = find_translate(iommu, devid);
	if (guest && choose(guest))
		pci_err(iommu->dev, "No translate device is left for a guest\n");
	if (guest)
		amd_iommu_set_bare_dte(iommu, devid, NULL);
	mutex_unlock(&ids_lock);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: from one page table to another without a gap
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A domain is usually replaced by way of blocked translation. What the device
 * does meanwhile fails, and not in a way from which page requests help.
 *
 * All that differs between two host (v1) page tables is in the first half of the
 * device table entry: pointer, levels, tracking of dirty pages, and domain ID. That
 * half is written in one access, so the hardware sees either table.
 *
 * Guest page tables (v2) are found by way of the table of PASIDs, which belongs to the
 * device and stays. The one for requests without PASID is one entry there.
 */
#include <linux/iommu.h>
#include <linux/minmax.h>

#include "amd_iommu.h"

static bool has_table(const struct protection_domain *domain,
		      enum protection_domain_mode mode)
{
	return (domain->domain.type & __IOMMU_DOMAIN_PAGING) &&
	       domain->pd_mode == mode;
}

/**
 * amd_iommu_can_replace() - Is a seamless change of domain possible?
 * @dev_data: the device
 * @domain: the domain that shall be attached to it
 *
 * Context: the group mutex is held.
 *
 * Return: true if amd_iommu_replace() may be called.
 */
bool amd_iommu_can_replace(struct iommu_dev_data *dev_data,
			   struct protection_domain *domain)
{
	enum protection_domain_mode mode = dev_data->gcr3_info.gcr3_tbl ?
					   PD_MODE_V2 : PD_MODE_V1;

	/* Without ATS the page requests of the new domain would never come. */
	return dev_data->domain && dev_data->domain != domain &&
	       (!domain->domain.iopf_handler || dev_data->ats_enabled) &&
	       has_table(dev_data->domain, mode) && has_table(domain, mode);
}

static void move_locked(struct iommu_dev_data *dev_data,
			struct protection_domain *to,
			void (*change)(struct iommu_dev_data *dev_data,
				       void *data), void *data)
{
	list_move(&dev_data->list, &to->dev_list);
	dev_data->domain = to;
	if (change)
		change(dev_data, data);
	if (to->pd_mode == PD_MODE_V2)
		/* There is an entry to write to, which is all that can be missing. */
		WARN_ON(amd_iommu_set_gcr3_rid(dev_data, to));
	else
		/* Flushes entry, device and what is known by the old domain's ID. */
		dev_update_dte(dev_data, true);
}

/*
 * Whoever unmaps something from either of the domains finds the device in it until
 * its caches have nothing of it. Neither table grows meanwhile.
 */
static void move_device(struct iommu_dev_data *dev_data,
			struct protection_domain *to,
			void (*change)(struct iommu_dev_data *dev_data,
				       void *data), void *data)
{
	struct protection_domain *from = dev_data->domain;
	struct protection_domain *first = min(from, to);
	struct protection_domain *second = max(from, to);
	unsigned long flags;

	/* Locks of two domains are taken in the order of their addresses. */
	spin_lock_irqsave(&first->lock, flags);
	if (first == second) {
		move_locked(dev_data, to, change, data);
	} else {
		spin_lock_nested(&second->lock, SINGLE_DEPTH_NESTING);
		move_locked(dev_data, to, change, data);
		spin_unlock(&second->lock);
	}
	spin_unlock_irqrestore(&first->lock, flags);
}

/**
 * amd_iommu_move() - Change the domain of a device without a gap
 * @dev_data: the device, with its mutex held
 * @domain: the new domain, or the old one if it is something else that changes
 * @pasid: whose page requests may be on their way
 * @change: called with the locks of both domains held, before the hardware knows; or
 *	    NULL
 * @data: for @change
 *
 * Return: 0 on success. On failure the old domain remains.
 */
int amd_iommu_move(struct iommu_dev_data *dev_data,
		   struct protection_domain *domain, ioasid_t pasid,
		   void (*change)(struct iommu_dev_data *dev_data, void *data),
		   void *data)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	struct protection_domain *old = dev_data->domain;
	int ret;

	lockdep_assert_held(&dev_data->mutex);

	ret = pdom_attach_iommu(iommu, domain);
	if (ret)
		return ret;

	move_device(dev_data, domain, change, data);
	/* What was asked of the old domain shall not be asked of the new. */
	amd_iommu_iopf_drain(dev_data, pasid);
	pdom_detach_iommu(iommu, old);
	return 0;
}

/**
 * amd_iommu_replace() - Change the domain of a device
 * @dev_data: the device, see amd_iommu_can_replace()
 * @domain: the new domain, checked to be fit for the device
 *
 * DMA of the device is translated by the old or the new domain at any time.
 * When this returns, the old one is no longer in use.
 *
 * Context: the group mutex is held.
 *
 * Return: 0 on success. On failure the old domain remains.
 */
int amd_iommu_replace(struct iommu_dev_data *dev_data,
		      struct protection_domain *domain)
{
	int ret;

	mutex_lock(&dev_data->mutex);
	ret = amd_iommu_move(dev_data, domain, IOMMU_NO_PASID, NULL, NULL);
	mutex_unlock(&dev_data->mutex);
	return ret;
}

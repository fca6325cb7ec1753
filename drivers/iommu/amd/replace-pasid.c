// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: from one page table of a PASID to another without a gap
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A PASID has one entry in the table of PASIDs, which is written in one access.
 */
#include <linux/iommu.h>
#include <linux/minmax.h>

#include "amd_iommu.h"

static struct pdom_dev_data *find_pasid(struct protection_domain *domain,
					const struct iommu_dev_data *dev_data,
					ioasid_t pasid)
{
	struct pdom_dev_data *entry;

	for_each_pdom_dev_data(entry, domain)
		if (entry->dev_data == dev_data && entry->pasid == pasid)
			return entry;
	return NULL;
}

/*
 * Whoever unmaps something from either of the domains finds the PASID in it until the
 * caches have nothing of it.
 */
static int move_pasid(struct iommu_dev_data *dev_data, ioasid_t pasid,
		      struct protection_domain *from,
		      struct protection_domain *to)
{
	struct protection_domain *first = min(from, to);
	struct protection_domain *second = max(from, to);
	struct pdom_dev_data *entry;
	unsigned long flags;
	int ret = -EINVAL;

	/* Locks of two domains are taken in the order of their addresses. */
	spin_lock_irqsave(&first->lock, flags);
	spin_lock_nested(&second->lock, SINGLE_DEPTH_NESTING);
	entry = find_pasid(from, dev_data, pasid);
	if (entry)
		ret = amd_iommu_exchange_gcr3(dev_data, pasid, to);
	if (!ret)
		list_move(&entry->list, &to->dev_data_list);
	spin_unlock(&second->lock);
	spin_unlock_irqrestore(&first->lock, flags);
	return ret;
}

/**
 * amd_iommu_replace_dev_pasid() - Change the domain of a PASID
 * @dev: the device
 * @pasid: the PASID, attached to @old
 * @domain: the new domain
 * @old: the old one
 *
 * What the device does with the PASID is translated by one of them at any time.
 *
 * Context: the group mutex is held.
 *
 * Return: 0 on success, upon which @old is no longer in use. On failure @old remains:
 * -EOPNOTSUPP if it can be done by way of none only, -EINVAL if @domain does not fit,
 * -EIO if it takes page faults that would not come, or -ENOMEM.
 */
int amd_iommu_replace_dev_pasid(struct device *dev, ioasid_t pasid,
				struct iommu_domain *domain,
				struct iommu_domain *old)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	struct amd_iommu *iommu = get_amd_iommu_from_dev(dev);
	struct protection_domain *pdom = to_pdomain(domain);
	int ret;

	/* The entry of a process goes when the process ends. */
	if (!(domain->type & old->type & __IOMMU_DOMAIN_PAGING))
		return -EOPNOTSUPP;
	if (pdom->pd_mode != PD_MODE_V2)
		return -EINVAL;
	ret = amd_iommu_pasid_faults(dev_data, domain);
	if (ret)
		return ret;
	/* Flushes wait for the IOMMUs that are known to the domain. */
	ret = pdom_attach_iommu(iommu, pdom);
	if (ret)
		return ret;
	ret = move_pasid(dev_data, pasid, to_pdomain(old), pdom);
	if (ret) {
		pdom_detach_iommu(iommu, pdom);
		return ret;
	}
	/* What was asked of the old domain shall not be asked of the new. */
	amd_iommu_iopf_drain(dev_data, pasid);
	pdom_detach_iommu(iommu, to_pdomain(old));
	return 0;
}

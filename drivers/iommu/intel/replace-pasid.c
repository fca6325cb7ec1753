// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: from one second-stage domain of a PASID to another without a gap
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/iommu.h>
#include <linux/slab.h>

#include "iommu.h"
#include "pasid.h"

/* The domain has one entry for each of its PASIDs of each device. */
static struct dev_pasid_info *take_from_list(struct dmar_domain *domain,
					     struct device *dev, ioasid_t pasid)
{
	struct dev_pasid_info *curr, *found = NULL;
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	list_for_each_entry(curr, &domain->dev_pasids, link_domain) {
		if (curr->dev == dev && curr->pasid == pasid) {
			list_del(&curr->link_domain);
			found = curr;
			break;
		}
	}
	spin_unlock_irqrestore(&domain->lock, flags);
	return found;
}

static void put_on_list(struct dmar_domain *domain,
			struct dev_pasid_info *dev_pasid)
{
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	list_add(&dev_pasid->link_domain, &domain->dev_pasids);
	spin_unlock_irqrestore(&domain->lock, flags);
}

static void leave_old(struct dmar_domain *old, struct device *dev,
		      ioasid_t pasid, u16 old_did)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct dev_pasid_info *dev_pasid;

	/* VT-d r4.1 section 6.5.3.3, for an entry that stays present */
	pasid_cache_invalidation_with_pasid(iommu, old_did, pasid);
	iommu->flush.flush_iotlb(iommu, old_did, 0, 0, DMA_TLB_DSI_FLUSH);
	devtlb_invalidation_with_pasid(iommu, dev, pasid);

	/* What was asked of the old domain shall not be asked of the new. */
	intel_iommu_drain_pasid_prq(dev, pasid);

	dev_pasid = take_from_list(old, dev, pasid);
	cache_tag_unassign_domain(old, dev, pasid);
	domain_detach_iommu(old, iommu);
	if (WARN_ON_ONCE(!dev_pasid))
		return;
	intel_iommu_debugfs_remove_dev_pasid(dev_pasid);
	kfree(dev_pasid);
}

/**
 * intel_replace_dev_pasid() - Change the domain of a PASID
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
 * or -ENOMEM.
 */
int intel_replace_dev_pasid(struct device *dev, ioasid_t pasid,
			    struct iommu_domain *domain, struct iommu_domain *old)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct dmar_domain *dmar_domain, *old_domain;
	struct dev_pasid_info *dev_pasid;
	u16 old_did;
	int ret;

	if (!(domain->type & old->type & __IOMMU_DOMAIN_PAGING))
		return -EOPNOTSUPP;
	dmar_domain = to_dmar_domain(domain);
	old_domain = to_dmar_domain(old);
	if (!intel_can_exchange_second_stage(old_domain, dmar_domain))
		return -EOPNOTSUPP;
	if (domain->dirty_ops)
		return -EINVAL;
	ret = prepare_domain_attach_device(domain, dev);
	if (ret)
		return ret;

	dev_pasid = kzalloc(sizeof(*dev_pasid), GFP_KERNEL);
	if (!dev_pasid)
		return -ENOMEM;
	dev_pasid->dev = dev;
	dev_pasid->pasid = pasid;

	ret = domain_attach_iommu(dmar_domain, info->iommu);
	if (ret)
		goto err_free;
	/* From now on unmapping from either of them reaches the device. */
	ret = cache_tag_assign_domain(dmar_domain, dev, pasid);
	if (ret)
		goto err_detach;
	put_on_list(dmar_domain, dev_pasid);
	ret = intel_exchange_second_stage(dmar_domain, dev, pasid, &old_did);
	if (ret)
		goto err_list;
	leave_old(old_domain, dev, pasid, old_did);
	intel_iommu_debugfs_create_dev_pasid(dev_pasid);
	return 0;

err_list:
	take_from_list(dmar_domain, dev, pasid);
	cache_tag_unassign_domain(dmar_domain, dev, pasid);
err_detach:
	domain_detach_iommu(dmar_domain, info->iommu);
err_free:
	kfree(dev_pasid);
	return ret;
}

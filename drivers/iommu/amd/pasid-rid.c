// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: the RID of a device whose PASIDs are in use
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The table of PASIDs is part of the translation of the device, and comes and goes
 * with the domain of its RID. But the RID may be attached to a domain later than the
 * first PASID, and may leave it earlier than the last one.
 *
 * Then the device is in a domain that maps nothing, for which entry 0 of the table of
 * PASIDs, that of requests without PASID, is not valid. It is like any domain with a
 * guest page table otherwise, so the device moves from one to the other without a gap
 * for its PASIDs. Each PASID counts as a user of the domain, so that a device can
 * always enter it, which must not fail.
 */
#include <linux/iommu.h>

#include "amd_iommu.h"

static struct protection_domain no_rid_domain = {
	.dev_list = LIST_HEAD_INIT(no_rid_domain.dev_list),
	.domain = {
		.type = IOMMU_DOMAIN_UNMANAGED,
	},
	.lock = __SPIN_LOCK_UNLOCKED(no_rid_domain.lock),
	.pd_mode = PD_MODE_V2,
	.iommu_array = XARRAY_INIT(no_rid_domain.iommu_array, 0),
	.dev_data_list = LIST_HEAD_INIT(no_rid_domain.dev_data_list),
};

/**
 * amd_iommu_pasid_begin() - A domain is about to be attached to a PASID
 * @dev: the device, which has PASIDs
 * @domain: the domain
 *
 * Context: the group mutex is held.
 *
 * Return: 0 if the device has a table of PASIDs now, unless the domain of its RID
 * leaves no room for one; then amd_iommu_pasid_end() has to be called once. -EIO if
 * the domain takes page faults that would not come, or what attaching a domain to the
 * RID returns.
 */
int amd_iommu_pasid_begin(struct device *dev, struct iommu_domain *domain)
{
	const struct iommu_domain_ops *ops = amd_iommu_ops.default_domain_ops;
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	int ret;

	ret = pdom_attach_iommu(get_amd_iommu_from_dev(dev), &no_rid_domain);
	if (ret)
		return ret;
	if (!dev_data->domain && !dev_data->defer_attach)
		ret = ops->attach_dev(&no_rid_domain.domain, dev);
	if (!ret)
		ret = amd_iommu_pasid_faults(dev_data, domain);
	if (ret)
		amd_iommu_pasid_end(dev);
	return ret;
}

/**
 * amd_iommu_pasid_end() - A domain was detached from a PASID
 * @dev: the device
 *
 * Context: the group mutex is held.
 */
void amd_iommu_pasid_end(struct device *dev)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	struct iommu_domain *blocked = amd_iommu_ops.blocked_domain;

	if (dev_data->domain == &no_rid_domain &&
	    !dev_data->gcr3_info.pasid_cnt)
		blocked->ops->attach_dev(blocked, dev);
	pdom_detach_iommu(get_amd_iommu_from_dev(dev), &no_rid_domain);
}

/**
 * amd_iommu_pasid_faults() - Do the page faults come that a domain is to take?
 * @dev_data: the device, to a PASID of which the domain is to be attached
 * @domain: the domain
 *
 * Return: 0, or -EIO if PRI or ATS is off, which is needed for it.
 */
int amd_iommu_pasid_faults(struct iommu_dev_data *dev_data,
			   const struct iommu_domain *domain)
{
	/* fault_data of the address space of a process: no driver has asked for them. */
	return ((domain->type & __IOMMU_DOMAIN_PAGING) || domain->fault_data) &&
	       domain->iopf_handler && !READ_ONCE(dev_data->pri_on) ? -EIO : 0;
}

/**
 * amd_iommu_block_rid() - Leave the PASIDs of a device alone when its RID is blocked
 * @dev_data: the device
 *
 * Context: the group mutex is held.
 *
 * Return: 1 if the device has no PASIDs in use and is to be blocked as a whole, 0 if
 * its RID alone is blocked now, or -EBUSY if the domain of the RID is one that cannot
 * be left.
 */
int amd_iommu_block_rid(struct iommu_dev_data *dev_data)
{
	if (!dev_data->gcr3_info.pasid_cnt)
		return 1;
	if (dev_data->domain == &no_rid_domain)
		return 0;
	if (!amd_iommu_can_replace(dev_data, &no_rid_domain))
		return -EBUSY;
	return amd_iommu_replace(dev_data, &no_rid_domain);
}

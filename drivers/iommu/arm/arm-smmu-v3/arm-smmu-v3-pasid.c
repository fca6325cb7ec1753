// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: page tables of PASIDs for user space
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A PASID has a context descriptor, so its page table is one of the first stage. So is
 * that of the RID beside it; or the RID has none, and the stream table entry says what
 * becomes of requests without PASID.
 *
 * A descriptor cannot be rewritten without being invalid for a moment, and the table
 * that it is in has those of other PASIDs, too, which may be written at any time. So
 * translation is disabled in the descriptor while it changes, see
 * arm-smmu-v3-replace.c.
 */
#include <linux/iommu.h>
#include <uapi/linux/iommufd.h>

#include "arm-smmu-v3.h"

/**
 * arm_smmu_takes_pasid() - Can a page table be for PASIDs, or beside those of PASIDs?
 * @smmu: the SMMU
 * @flags: of &enum iommufd_hwpt_alloc_flags, with which the page table is to be made
 *
 * Return: false if it would be one of the second stage.
 */
bool arm_smmu_takes_pasid(const struct arm_smmu_device *smmu, u32 flags)
{
	return (smmu->features & ARM_SMMU_FEAT_TRANS_S1) &&
	       !(flags & IOMMU_HWPT_ALLOC_NEST_PARENT);
}

/**
 * arm_smmu_replace_dev_pasid() - Change the domain of a PASID
 * @dev: the device
 * @pasid: the PASID, attached to @old
 * @domain: the new domain
 * @old: the old one
 *
 * What the device does with the PASID meanwhile faults as if nothing was mapped: it
 * asks for the page, or is stalled, if its page faults are on.
 *
 * Context: the group mutex is held.
 *
 * Return: 0 on success, upon which @old is no longer in use. On failure @old remains:
 * -EOPNOTSUPP if it can be done by way of none only, -EINVAL if @domain does not fit,
 * or -ENOMEM.
 */
int arm_smmu_replace_dev_pasid(struct device *dev, ioasid_t pasid,
			       struct iommu_domain *domain,
			       struct iommu_domain *old)
{
	int ret;

	/* The descriptor of a process is written when the process ends. */
	if (!(domain->type & old->type & __IOMMU_DOMAIN_PAGING))
		return -EOPNOTSUPP;
	ret = domain->ops->set_dev_pasid(domain, dev, pasid, old);
	if (ret)
		return ret;
	/* What was asked of the old domain shall not be asked of the new. */
	arm_smmu_iopf_drain(dev_iommu_priv_get(dev), pasid);
	return 0;
}

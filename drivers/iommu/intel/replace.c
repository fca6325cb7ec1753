// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: from one second-stage domain to another without a gap
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A domain is usually replaced by way of blocked translation. What the device
 * does meanwhile fails, and not in a way from which page requests help: its
 * translation requests are refused as unsupported.
 *
 * All that differs between two second-stage tables is in the first 16 bytes of
 * the PASID table entry: pointer, width and accessed/dirty enable in the first
 * quadword, domain ID and snoop bits in the second. The hardware reads entries
 * in pieces of 16 bytes, so if these are written as one, it sees either table.
 */
#include <linux/iommu.h>

#include "iommu.h"
#include "pasid.h"

static bool can_write_16_bytes(void)
{
#ifdef system_has_cmpxchg128
	return system_has_cmpxchg128();
#else
	return false;
#endif
}

static bool is_second_stage(struct dmar_domain *domain)
{
	return (domain->domain.type & __IOMMU_DOMAIN_PAGING) &&
	       !domain->use_first_level;
}

/**
 * intel_can_exchange_second_stage() - Can a PASID table entry change seamlessly?
 * @old: the domain of the entry
 * @domain: the one that shall take its place
 *
 * Return: true if intel_exchange_second_stage() may be called.
 */
bool intel_can_exchange_second_stage(struct dmar_domain *old,
				     struct dmar_domain *domain)
{
	return can_write_16_bytes() && is_second_stage(old) &&
	       is_second_stage(domain);
}

/**
 * intel_can_replace_second_stage() - Is a seamless change of domain possible?
 * @domain: the domain that shall be attached to the RID of @dev
 * @dev: the device
 *
 * Context: the group mutex is held.
 *
 * Return: true if intel_replace_second_stage() may be called.
 */
bool intel_can_replace_second_stage(struct dmar_domain *domain,
				    struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return sm_supported(info->iommu) &&
	       !context_copied(info->iommu, info->bus, info->devfn) &&
	       info->domain_attached && info->domain &&
	       info->domain != domain &&
	       intel_can_exchange_second_stage(info->domain, domain);
}

static void write_first_half(struct pasid_entry *pte, u64 lo, u64 hi)
{
#ifdef system_has_cmpxchg128
	u128 val = (u128)hi << 64 | lo;
	u128 *ptr = (u128 *)&pte->val[0];
	u128 old = *ptr;

	/* No one else writes: cmpxchg is used for its width of 16 bytes. */
	while (!try_cmpxchg128(ptr, &old, val))
		;
#endif
}

/**
 * intel_exchange_second_stage() - Write the PASID table entry of another domain
 * @domain: the other domain, which knows the IOMMU
 * @dev: the device
 * @pasid: whose entry, which is there
 * @old_did: set to the number of the domain that was in it
 *
 * The IOMMU has to be told.
 *
 * Return: 0, -EINVAL if the IOMMU cannot walk that many levels, or -ENODEV if there is no
 * entry. On failure nothing has changed.
 */
int intel_exchange_second_stage(struct dmar_domain *domain, struct device *dev,
				u32 pasid, u16 *old_did)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct pasid_entry new = {};
	struct pasid_entry *pte;
	struct dma_pte *pgd = domain->pgd;
	int agaw;

	agaw = iommu_skip_agaw(domain, iommu, &pgd);
	if (agaw < 0)
		return -EINVAL;

	pasid_set_domain_id(&new, domain_id_iommu(domain, iommu));
	pasid_set_slptr(&new, virt_to_phys(pgd));
	pasid_set_address_width(&new, agaw);
	pasid_set_translation_type(&new, PASID_ENTRY_PGTT_SL_ONLY);
	pasid_set_page_snoop(&new, !!ecap_smpwc(iommu->ecap));
	if (domain->dirty_tracking)
		pasid_set_ssade(&new);
	pasid_set_present(&new);

	spin_lock(&iommu->lock);
	pte = intel_pasid_get_entry(dev, pasid);
	if (!pte || !pasid_pte_is_present(pte)) {
		spin_unlock(&iommu->lock);
		return -ENODEV;
	}
	*old_did = pasid_get_domain_id(pte);
	write_first_half(pte, new.val[0], new.val[1]);
	if (!ecap_coherent(iommu->ecap))
		clflush_cache_range(pte, sizeof(*pte));
	spin_unlock(&iommu->lock);

	return 0;
}

static void move_device(struct device_domain_info *info,
			struct dmar_domain *from, struct dmar_domain *to)
{
	unsigned long flags;

	spin_lock_irqsave(&from->lock, flags);
	list_del(&info->link);
	spin_unlock_irqrestore(&from->lock, flags);

	info->domain = to;
	spin_lock_irqsave(&to->lock, flags);
	list_add(&info->link, &to->devices);
	spin_unlock_irqrestore(&to->lock, flags);
}

/**
 * intel_replace_second_stage() - Change the second-stage domain of a device
 * @domain: the new domain, checked to be fit for @dev
 * @dev: the device, see intel_can_replace_second_stage()
 *
 * DMA of the device is translated by the old or the new domain at any time.
 * When this returns, the old one is no longer in use.
 *
 * Context: the group mutex is held.
 *
 * Return: 0 on success. On failure the old domain remains.
 */
int intel_replace_second_stage(struct dmar_domain *domain, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct dmar_domain *old = info->domain;
	unsigned long flags;
	u16 old_did;
	int ret;

	ret = domain_attach_iommu(domain, iommu);
	if (ret)
		return ret;

	/* From now on unmapping from either of them reaches the device. */
	ret = cache_tag_assign_domain(domain, dev, IOMMU_NO_PASID);
	if (ret)
		goto detach_iommu;

	move_device(info, old, domain);
	ret = intel_exchange_second_stage(domain, dev, IOMMU_NO_PASID, &old_did);
	if (ret)
		goto move_back;

	/* VT-d r4.1 section 6.5.3.3, for an entry that stays present */
	pasid_cache_invalidation_with_pasid(iommu, old_did, IOMMU_NO_PASID);
	iommu->flush.flush_iotlb(iommu, old_did, 0, 0, DMA_TLB_DSI_FLUSH);
	devtlb_invalidation_with_pasid(iommu, dev, IOMMU_NO_PASID);

	/* What was asked of the old domain shall not be asked of the new. */
	intel_iommu_drain_pasid_prq(dev, IOMMU_NO_PASID);

	cache_tag_unassign_domain(old, dev, IOMMU_NO_PASID);
	domain_detach_iommu(old, iommu);

	/*
	 * Dirty tracking may have been switched for all devices of the domain
	 * after it was looked at and before the entry was written.
	 */
	spin_lock_irqsave(&domain->lock, flags);
	intel_pasid_setup_dirty_tracking(iommu, dev, IOMMU_NO_PASID,
					 domain->dirty_tracking);
	spin_unlock_irqrestore(&domain->lock, flags);
	return 0;

move_back:
	move_device(info, domain, old);
	cache_tag_unassign_domain(domain, dev, IOMMU_NO_PASID);
detach_iommu:
	domain_detach_iommu(domain, iommu);
	return ret;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: guests that have an IOMMU of their own
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A guest in scalable mode has tables of its own, and gives domain IDs, PASIDs and
 * source IDs to what is in them. The hardware sees nothing of these tables but the
 * first stage that an entry of a PASID table points to: that is a nested domain. All
 * ids that the hardware gets are the host's.
 *
 * So that an id of the guest leads to those of the host, each domain knows what it is
 * attached to, and what that is for the guest.
 *
 * Locks, outer to inner:
 *
 * intel_nested::lock - the list of a domain, or of all domains of a guest. Held while
 *	invalidations are submitted, so that a detach waits for those which may name
 *	what is detached. No user memory is accessed under it.
 * guest_devs_lock - the list of what guests have, in which the fault handler looks.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "iommu.h"
#include "pasid.h"

/* Upper half of a fault recording register */
#define FRCD_SID		GENMASK_ULL(15, 0)
#define FRCD_PP			BIT_ULL(31)
#define FRCD_REASON		GENMASK_ULL(39, 32)
#define FRCD_PASID		GENMASK_ULL(59, 40)

static LIST_HEAD(guest_devs);
static DEFINE_SPINLOCK(guest_devs_lock);

static struct intel_viommu *to_intel_viommu(struct iommufd_viommu *core)
{
	return container_of(core, struct intel_viommu, core);
}

/**
 * intel_nested_init() - Get a new first-stage domain ready to be attached
 * @domain: the domain, which no guest has yet
 */
void intel_nested_init(struct dmar_domain *domain)
{
	struct intel_nested *nested = &domain->nested;

	INIT_LIST_HEAD(&nested->node);
	INIT_LIST_HEAD(&nested->devs);
	mutex_init(&nested->own_lock);
	nested->lock = &nested->own_lock;
}

/**
 * intel_nested_forget() - A first-stage domain is freed
 * @domain: the domain, attached to nothing
 *
 * Context: may sleep.
 */
void intel_nested_forget(struct dmar_domain *domain)
{
	struct intel_nested *nested = &domain->nested;

	mutex_lock(nested->lock);
	WARN_ON_ONCE(!list_empty(&nested->devs));
	list_del(&nested->node);
	mutex_unlock(nested->lock);
	mutex_destroy(&nested->own_lock);
}

static int guest_sid(struct dmar_domain *domain, struct device *dev, u16 *sid)
{
	struct intel_viommu *viommu = domain->nested.viommu;
	unsigned long virt_id;
	int ret;

	if (!viommu)
		return 0;
	ret = iommufd_viommu_get_vdev_id(&viommu->core, dev, &virt_id);
	if (!ret)
		*sid = virt_id;
	return ret;
}

/**
 * intel_nested_may_attach() - Does a guest know a device?
 * @domain: a first-stage domain
 * @dev: the device that is to be attached to it
 *
 * So that a device which it does not know is not disturbed.
 *
 * Return: 0, or -ENOENT if the domain is that of a guest for which the device has no
 * id.
 */
int intel_nested_may_attach(struct dmar_domain *domain, struct device *dev)
{
	u16 sid;

	return guest_sid(domain, dev, &sid);
}

/**
 * intel_nested_attached() - A first-stage domain is attached
 * @domain: the domain
 * @did: its ID in the IOMMU of @dev
 * @dev: the device
 * @pasid: the PASID, or IOMMU_NO_PASID
 *
 * Called before the hardware uses it, so that what user space invalidates from then
 * on leaves the caches, and ATS is on if it will be.
 *
 * Context: may sleep.
 *
 * Return: 0 or an errno.
 */
int intel_nested_attached(struct dmar_domain *domain, u16 did,
			  struct device *dev, u32 pasid)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_nested *nested = &domain->nested;
	struct intel_nested_dev *ndev;
	unsigned long flags;
	int ret;

	ndev = kzalloc(sizeof(*ndev), GFP_KERNEL_ACCOUNT);
	if (!ndev)
		return -ENOMEM;
	ndev->domain = domain;
	ndev->info = info;
	ndev->did = did;
	ndev->pasid = pasid;
	ndev->ats = info->ats_enabled;
	INIT_LIST_HEAD(&ndev->guest_node);
	ret = guest_sid(domain, dev, &ndev->guest_sid);
	if (ret) {
		kfree(ndev);
		return ret;
	}

	mutex_lock(nested->lock);
	list_add_tail(&ndev->node, &nested->devs);
	mutex_unlock(nested->lock);

	if (nested->viommu) {
		spin_lock_irqsave(&guest_devs_lock, flags);
		list_add(&ndev->guest_node, &guest_devs);
		spin_unlock_irqrestore(&guest_devs_lock, flags);
	}
	return 0;
}

/**
 * intel_nested_detached() - The hardware does not use a first-stage domain any more
 * @domain: the domain
 * @dev: the device it was attached to
 * @pasid: the PASID it was attached to, or IOMMU_NO_PASID
 *
 * When this returns no invalidation is on its way that names @dev, or the ID of
 * @domain, and no fault.
 *
 * Context: may sleep.
 */
void intel_nested_detached(struct dmar_domain *domain, struct device *dev,
			   u32 pasid)
{
	struct intel_nested *nested = &domain->nested;
	struct intel_nested_dev *ndev, *found = NULL;
	unsigned long flags;

	mutex_lock(nested->lock);
	list_for_each_entry(ndev, &nested->devs, node) {
		if (ndev->info->dev == dev && ndev->pasid == pasid) {
			list_del(&ndev->node);
			found = ndev;
			break;
		}
	}
	mutex_unlock(nested->lock);
	if (WARN_ON_ONCE(!found))
		return;

	spin_lock_irqsave(&guest_devs_lock, flags);
	list_del(&found->guest_node);
	spin_unlock_irqrestore(&guest_devs_lock, flags);
	kfree(found);
}

static bool is_first_stage_fault(u8 reason)
{
	switch (reason) {
	case 0x70 ... 0x74:	/* first-stage entries, and where they lead to */
	case 0x80 ... 0x82:	/* canonical address, user mode, execution */
	case 0x85 ... 0x86:	/* write and read, of either stage */
	case 0x90 ... 0x91:	/* accessed and dirty flags */
		return true;
	default:
		return false;
	}
}

static struct intel_nested_dev *find_guest_dev(struct intel_iommu *iommu,
					       u16 sid, u32 pasid)
{
	struct intel_nested_dev *ndev;

	lockdep_assert_held(&guest_devs_lock);

	list_for_each_entry(ndev, &guest_devs, guest_node) {
		if (ndev->info->iommu == iommu && ndev->pasid == pasid &&
		    PCI_DEVID(ndev->info->bus, ndev->info->devfn) == sid)
			return ndev;
	}
	return NULL;
}

/* With the ids of the guest. One without a PASID has none for the guest, too. */
static bool report_to_guest(struct intel_nested_dev *ndev, u64 lo, u64 hi)
{
	struct intel_nested *nested = &ndev->domain->nested;
	struct iopf_vevent_vtd event;

	hi &= ~(FRCD_SID | FRCD_PASID);
	hi |= FIELD_PREP(FRCD_SID, ndev->guest_sid);
	if (hi & FRCD_PP)
		hi |= FIELD_PREP(FRCD_PASID, nested->guest_pasid);
	event.frcd[0] = lo;
	event.frcd[1] = hi;
	return !iommufd_viommu_report_event(&nested->viommu->core,
					    IOPF_VEVENTQ_TYPE_VTD, &event,
					    sizeof(event));
}

/**
 * intel_viommu_report() - Tell a guest of a fault
 * @iommu: the IOMMU
 * @lo: lower half of the fault recording register
 * @hi: upper half
 *
 * Context: any.
 *
 * Return: true if the fault is one of a guest which has asked for them.
 */
bool intel_viommu_report(struct intel_iommu *iommu, u64 lo, u64 hi)
{
	u32 pasid = hi & FRCD_PP ? FIELD_GET(FRCD_PASID, hi) : IOMMU_NO_PASID;
	struct intel_nested_dev *ndev;
	unsigned long flags;
	bool told = false;

	if (!is_first_stage_fault(FIELD_GET(FRCD_REASON, hi)))
		return false;

	spin_lock_irqsave(&guest_devs_lock, flags);
	ndev = find_guest_dev(iommu, FIELD_GET(FRCD_SID, hi), pasid);
	if (ndev)
		told = report_to_guest(ndev, lo, hi);
	spin_unlock_irqrestore(&guest_devs_lock, flags);
	return told;
}

static int copy_guest_entry(struct iopf_hwpt_vtd_guest *guest,
			    const struct iommu_user_data *user_data)
{
	int ret;

	if (user_data->type != IOPF_HWPT_DATA_VTD_GUEST)
		return -EOPNOTSUPP;
	ret = iommu_copy_struct_from_user(guest, user_data,
					  IOPF_HWPT_DATA_VTD_GUEST, __reserved);
	if (ret)
		return ret;
	if (guest->flags & ~(u64)(IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_EAFE |
				  IOMMU_VTD_S1_WPE) ||
	    memchr_inv(guest->__reserved, 0, sizeof(guest->__reserved)))
		return -EOPNOTSUPP;
	if ((guest->addr_width != 48 && guest->addr_width != 57) ||
	    guest->pgtbl_addr & ~VTD_PAGE_MASK ||
	    guest->pasid >= PASID_MAX)
		return -EINVAL;
	return 0;
}

static struct iommu_domain *
intel_viommu_alloc_nested(struct iommufd_viommu *core, u32 flags,
			  const struct iommu_user_data *user_data)
{
	struct intel_viommu *viommu = to_intel_viommu(core);
	struct iopf_hwpt_vtd_guest guest;
	struct dmar_domain *domain;
	struct intel_nested *nested;
	int ret;

	if (flags)
		return ERR_PTR(-EOPNOTSUPP);
	ret = copy_guest_entry(&guest, user_data);
	if (ret)
		return ERR_PTR(ret);

	domain = intel_nested_domain_create(viommu->s2_domain,
					    &(struct iommu_hwpt_vtd_s1) {
		.flags = guest.flags,
		.pgtbl_addr = guest.pgtbl_addr,
		.addr_width = guest.addr_width,
	});
	if (IS_ERR(domain))
		return ERR_CAST(domain);

	nested = &domain->nested;
	nested->viommu = viommu;
	nested->guest_did = guest.domain_id;
	nested->guest_pasid = guest.pasid;
	nested->lock = &viommu->lock;
	mutex_lock(&viommu->lock);
	list_add_tail(&nested->node, &viommu->domains);
	mutex_unlock(&viommu->lock);
	return &domain->domain;
}

static int intel_vdevice_init(struct iommufd_vdevice *vdev)
{
	/* A requester ID */
	return vdev->virt_id > U16_MAX ? -EINVAL : 0;
}

static void intel_viommu_destroy(struct iommufd_viommu *core)
{
	struct intel_viommu *viommu = to_intel_viommu(core);

	WARN_ON_ONCE(!list_empty(&viommu->domains));
	mutex_destroy(&viommu->lock);
}

static const struct iommufd_viommu_ops intel_viommu_ops = {
	.destroy		= intel_viommu_destroy,
	.alloc_domain_nested	= intel_viommu_alloc_nested,
	.cache_invalidate	= intel_viommu_invalidate,
	.vdevice_init		= intel_vdevice_init,
};

/**
 * intel_viommu_size() - Can a guest have a part of the IOMMU of a device?
 * @dev: the device
 * @type: what kind of part
 *
 * Return: size of the struct, or 0.
 */
size_t intel_viommu_size(struct device *dev, unsigned int type)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	if (type != IOPF_VIOMMU_TYPE_VTD || !dev_is_pci(dev) ||
	    !nested_supported(info->iommu))
		return 0;
	return iommufd_viommu_size(struct intel_viommu, core);
}

/**
 * intel_viommu_init() - Set up a part of an IOMMU for a guest
 * @core: the struct
 * @parent: the second stage
 * @user_data: must be NULL
 *
 * Return: 0, or -EOPNOTSUPP for data, of which there is none.
 */
int intel_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		      const struct iommu_user_data *user_data)
{
	struct intel_viommu *viommu = to_intel_viommu(core);

	if (user_data)
		return -EOPNOTSUPP;
	viommu->s2_domain = to_dmar_domain(parent);
	mutex_init(&viommu->lock);
	INIT_LIST_HEAD(&viommu->domains);
	core->ops = &intel_viommu_ops;
	return 0;
}

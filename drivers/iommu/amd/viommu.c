// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: the part of an IOMMU that a guest has
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The hardware tells what is in its caches apart by domain IDs. Those of guests are
 * replaced: each that a guest uses has one of the host, for as long as there is a
 * domain with it. The same one for all of these, as the guest has for them.
 *
 * Locks, outer to inner:
 *
 * iommu_dev_data::mutex - a device's change of domain.
 * amd_viommu::lock - which devices the guest has, and its domain IDs. Held while
 *	commands are submitted, so that a detach waits for those which may name what is
 *	detached. No user memory is accessed under it.
 * protection_domain::lock of the second stage - what is told of its changes.
 */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"

static struct amd_guest_domid *new_domid(struct amd_viommu *viommu, u16 guest)
{
	struct amd_guest_domid *domid;
	int ret;

	domid = kzalloc(sizeof(*domid), GFP_KERNEL_ACCOUNT);
	if (!domid)
		return ERR_PTR(-ENOMEM);
	domid->guest = guest;
	domid->host = amd_iommu_alloc_domid();
	ret = domid->host ? 0 : -ENOSPC;
	if (!ret)
		ret = xa_err(xa_store(&viommu->domids, guest, domid,
				      GFP_KERNEL_ACCOUNT));
	if (!ret) {
		amd_hw_set_domid(viommu, domid, true);
		return domid;
	}
	if (domid->host)
		amd_iommu_free_domid(domid->host);
	kfree(domid);
	return ERR_PTR(ret);
}

/**
 * amd_viommu_get_domid() - Have a domain ID of the host for one of a guest
 * @viommu: the guest
 * @guest: its domain ID
 * @domid: set to both of them
 *
 * Return: 0, -ENOMEM, or -ENOSPC if the host has none left.
 */
int amd_viommu_get_domid(struct amd_viommu *viommu, u16 guest,
			 struct amd_guest_domid **domid)
{
	int ret = 0;

	mutex_lock(&viommu->lock);
	*domid = xa_load(&viommu->domids, guest);
	if (!*domid)
		*domid = new_domid(viommu, guest);
	if (IS_ERR(*domid))
		ret = PTR_ERR(*domid);
	else
		(*domid)->users++;
	mutex_unlock(&viommu->lock);
	return ret;
}

/**
 * amd_viommu_iommu() - Which IOMMU does a guest have a part of?
 * @viommu: the guest
 *
 * Return: the IOMMU.
 */
struct amd_iommu *amd_viommu_iommu(struct amd_viommu *viommu)
{
	return container_of(viommu->core.iommu_dev, struct amd_iommu, iommu);
}

/**
 * amd_viommu_put_domid() - A domain with a domain ID of a guest is freed
 * @viommu: the guest
 * @domid: the ID. No device has it any more
 *
 * The next one to get it may be another guest: nothing is known by it then, whichever
 * PASIDs this one has used.
 */
void amd_viommu_put_domid(struct amd_viommu *viommu,
			  struct amd_guest_domid *domid)
{
	mutex_lock(&viommu->lock);
	if (!--domid->users) {
		xa_erase(&viommu->domids, domid->guest);
		amd_hw_set_domid(viommu, domid, false);
		amd_iommu_flush_all(amd_viommu_iommu(viommu));
		amd_iommu_free_domid(domid->host);
		kfree(domid);
	}
	mutex_unlock(&viommu->lock);
}

static struct iommu_domain *
viommu_alloc_nested(struct iommufd_viommu *core, u32 flags,
		    const struct iommu_user_data *user_data)
{
	if (flags)
		return ERR_PTR(-EOPNOTSUPP);
	return amd_nested_alloc(to_amd_viommu(core), user_data);
}

static int vdevice_init(struct iommufd_vdevice *vdev)
{
	/* A requester ID */
	if (vdev->virt_id > U16_MAX)
		return -EINVAL;
	return amd_hw_vdevice_init(vdev);
}

static void viommu_destroy(struct iommufd_viommu *core)
{
	struct amd_viommu *viommu = to_amd_viommu(core);

	WARN_ON_ONCE(!list_empty(&viommu->devs) ||
		     !xa_empty(&viommu->domids));
	if (viommu->hw)
		amd_hw_guest_destroy(viommu);
	xa_destroy(&viommu->domids);
	mutex_destroy(&viommu->lock);
}

static const struct iommufd_viommu_ops viommu_ops = {
	.destroy		= viommu_destroy,
	.alloc_domain_nested	= viommu_alloc_nested,
	.cache_invalidate	= amd_viommu_invalidate,
	.vdevice_init		= vdevice_init,
	.get_hw_queue_size	= amd_hw_ring_size,
	.hw_queue_init		= amd_hw_ring_init,
};

/**
 * amd_viommu_size() - Can a guest have a part of the IOMMU of a device?
 * @dev: the device
 * @type: what kind of part
 *
 * Return: size of the struct, or 0.
 */
size_t amd_viommu_size(struct device *dev, unsigned int type)
{
	if (!dev_is_pci(dev) || !amd_nested_supported())
		return 0;
	if (type != IOPF_VIOMMU_TYPE_AMD &&
	    !(type == IOPF_VIOMMU_TYPE_AMD_HW &&
	      amd_hw_supported(get_amd_iommu_from_dev(dev))))
		return 0;
	return iommufd_viommu_size(struct amd_viommu, core);
}

/**
 * amd_viommu_init() - Set up a part of an IOMMU for a guest
 * @core: the struct
 * @parent: the second stage
 * @user_data: what the hardware has for the guest. NULL without that
 *
 * Return: 0 or an errno, among them -EOPNOTSUPP for data of which there is none.
 */
int amd_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		    const struct iommu_user_data *user_data)
{
	struct amd_viommu *viommu = to_amd_viommu(core);
	bool hw = core->type == IOPF_VIOMMU_TYPE_AMD_HW;

	if (user_data && !hw)
		return -EOPNOTSUPP;
	viommu->parent = to_pdomain(parent);
	mutex_init(&viommu->lock);
	xa_init(&viommu->domids);
	INIT_LIST_HEAD(&viommu->devs);
	core->ops = &viommu_ops;
	return hw ? amd_hw_guest_init(viommu, user_data) : 0;
}

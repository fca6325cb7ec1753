// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: when the I/O page faults of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Page requests cost hardware resources, and a device that may send them can
 * keep a CPU busy. So they are on only while somebody wants them:
 *
 * - a domain with an iopf_handler is attached to the RID of the device, or
 * - a driver asked for IOMMU_DEV_FEAT_IOPF.
 *
 * Each of them counts as one user. The first turns the faults on and the last
 * turns them off, through the ops the IOMMU drivers have for the feature.
 */
#include <linux/lockdep.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iopf-core.h"
#include "iopf-enable.h"
#include "iommu-priv.h"

static bool iopf_has_iommu(struct device *dev)
{
	return dev->iommu && dev->iommu->iommu_dev;
}

/**
 * iopf_dev_get() - Become a user of the I/O page faults of a device
 * @dev: the device
 *
 * Context: may sleep. The group mutex may be held.
 *
 * Return: 0 on success, -ENODEV if device or IOMMU driver know no I/O page
 * faults, else what the IOMMU driver returns.
 */
int iopf_dev_get(struct device *dev)
{
	const struct iommu_ops *ops;
	int ret = 0;

	if (!iopf_has_iommu(dev))
		return -ENODEV;
	ops = dev_iommu_ops(dev);
	if (!ops->dev_enable_feat || !ops->dev_disable_feat)
		return -ENODEV;

	mutex_lock(&dev->iommu->iopf_mutex);
	if (!dev->iommu->iopf_users)
		ret = ops->dev_enable_feat(dev, IOMMU_DEV_FEAT_IOPF);
	if (!ret)
		dev->iommu->iopf_users++;
	mutex_unlock(&dev->iommu->iopf_mutex);

	return ret;
}

/**
 * iopf_dev_put() - Undo one iopf_dev_get()
 * @dev: the device
 *
 * When the last user goes, all requests of the device that nobody has answered
 * are answered as invalid.
 *
 * Context: may sleep. The group mutex may be held.
 *
 * Return: 0 on success, -EINVAL if there are no users, else what the IOMMU
 * driver returns; the caller then still is a user.
 */
int iopf_dev_put(struct device *dev)
{
	int ret = 0;

	if (!iopf_has_iommu(dev))
		return -EBUSY;

	mutex_lock(&dev->iommu->iopf_mutex);
	if (!dev->iommu->iopf_users)
		ret = -EINVAL;
	else if (dev->iommu->iopf_users == 1)
		ret = dev_iommu_ops(dev)->dev_disable_feat(dev,
							   IOMMU_DEV_FEAT_IOPF);
	if (!ret)
		dev->iommu->iopf_users--;
	mutex_unlock(&dev->iommu->iopf_mutex);

	return ret;
}

/*
 * VFs have no page request interface of their own, they share that of their
 * PF. Nothing coordinates its users: a Response Failure to one of them, or PRI
 * disabled for one, stops all.
 */
static bool iopf_shares_pri(struct device *dev)
{
	struct pci_dev *pdev;

	if (!dev_is_pci(dev))
		return false;
	pdev = to_pci_dev(dev);
	return pdev->is_virtfn && pci_pri_supported(pdev);
}

/**
 * iopf_attach_prepare() - Get a device ready for a domain
 * @dev: the device
 * @domain: the domain that is about to be attached to the RID of @dev
 *
 * If @domain handles page faults, turn them on for @dev. The faults of a device
 * that cannot be served would wait for ever, so this is when it is refused.
 * This concerns all devices of a group, since they share the domain.
 *
 * On success the caller must call iopf_attach_finish() in any case.
 *
 * Context: may sleep. The group mutex is held.
 *
 * Return: 0 on success, -EINVAL if the device shares its page request interface
 * with other functions or cannot use it as it is set up, -ENODEV if the device
 * cannot send page requests or its IOMMU driver does not deliver them.
 */
int iopf_attach_prepare(struct device *dev, struct iommu_domain *domain)
{
	int ret;

	if (!domain->iopf_handler || dev->iommu->iopf_attached)
		return 0;

	/* May be in the group of the device below, but has no DMA of its own. */
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return 0;

	if (iopf_shares_pri(dev))
		return -EINVAL;

	ret = iopf_dev_get(dev);
	if (ret)
		return ret;

	/* Some IOMMU drivers accept the feature but have no queue for it. */
	if (!rcu_access_pointer(dev->iommu->fault_param)) {
		iopf_dev_put(dev);
		return -ENODEV;
	}

	dev->iommu->iopf_attached = true;
	return 0;
}

/**
 * iopf_attach_finish() - Account for the domain a device ended up with
 * @dev: the device
 * @domain: the domain attached to the RID of @dev now, may be NULL
 *
 * If @domain does not handle page faults, the device no longer needs them on
 * for the sake of its RID. DMA of the device to what the old domain mapped is
 * blocked at this point, but the attach handle of the old domain can still be
 * found. So page requests which are under way are delivered or refused, all
 * that is unanswered is answered, and then the faults are off.
 *
 * Context: may sleep. The group mutex is held.
 */
void iopf_attach_finish(struct device *dev, struct iommu_domain *domain)
{
	if (!dev->iommu->iopf_attached || (domain && domain->iopf_handler))
		return;

	dev->iommu->iopf_attached = false;
	WARN_ON_ONCE(iopf_dev_put(dev));
}

/**
 * iommu_iopf_abort() - Answer all open page requests of a device as invalid
 * @dev: the device, which sends no new requests
 *
 * To be called before a device is reset. It forgets its requests by that, and
 * may use their group indices for new ones, so that a late answer would go to
 * the wrong request. Handlers still see the groups, but their answers are
 * ignored.
 *
 * Page faults stay on. Does nothing if they are off.
 *
 * Context: may sleep.
 */
void iommu_iopf_abort(struct device *dev)
{
	struct iommu_fault_param *param;

	if (!iopf_has_iommu(dev))
		return;

	/* Keeps the device on its queue. */
	mutex_lock(&dev->iommu->iopf_mutex);
	param = iopf_get_dev_fault_param(dev);
	if (param) {
		/* Else it would be taken for a request after the reset. */
		if (param->queue->drain)
			param->queue->drain(dev);
		iopf_param_abort(param);
		iopf_put_dev_fault_param(param);
	}
	mutex_unlock(&dev->iommu->iopf_mutex);
}

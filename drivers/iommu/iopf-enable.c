// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: when the I/O page faults of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Page requests cost hardware resources, and a device that may send them can
 * keep a CPU busy. So they are on only while somebody wants them:
 *
 * - a domain with an iopf_handler is attached to the RID of the device,
 * - one is attached to a PASID of the device, unless it is that of a process
 *   and was attached by a driver, or
 * - a driver asked for IOMMU_DEV_FEAT_IOPF.
 *
 * Each of them counts as one user. The first turns the faults on and the last
 * turns them off, through the ops the IOMMU drivers have for the feature.
 */
#include <linux/lockdep.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/srcu.h>

#include "iopf-core.h"
#include "iopf-enable.h"
#include "iommu-priv.h"

static bool iopf_has_iommu(struct device *dev)
{
	return dev->iommu && dev->iommu->iommu_dev;
}

/* Wait until requests that are on their way were reported or refused. */
static void iopf_reset_drain(struct device *dev,
			     struct iommu_fault_param *param)
{
	if (param->queue->drain)
		param->queue->drain(dev);
}

static void iopf_reset_start(struct device *dev)
{
	struct iommu_fault_param *param;

	param = iopf_get_dev_fault_param(dev);
	if (!param)
		return;
	iopf_reset_drain(dev, param);
	iopf_param_abort(param, true);
	iopf_put_dev_fault_param(param);
}

static void iopf_reset_end(struct device *dev)
{
	struct iommu_fault_param *param;

	param = iopf_get_dev_fault_param(dev);
	if (!param)
		return;
	iopf_reset_drain(dev, param);
	iopf_param_unfence(param);
	iopf_put_dev_fault_param(param);
}

/**
 * iopf_dev_get() - Become a user of the I/O page faults of a device
 * @dev: the device
 *
 * Context: may sleep. The group mutex may be held.
 *
 * Return: 0 on success, -ENODEV if device or IOMMU driver know no I/O page
 * faults, -EIO if the device has to be reset first, else what the IOMMU driver
 * returns.
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
	if (dev->iommu->iopf_fenced)
		ret = -EIO;
	else if (!dev->iommu->iopf_users)
		ret = ops->dev_enable_feat(dev, IOMMU_DEV_FEAT_IOPF);
	if (!ret && !dev->iommu->iopf_users++ && dev->iommu->iopf_resets)
		iopf_reset_start(dev);
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

/* Turn faults on for a domain that handles them. */
static int iopf_domain_get(struct device *dev)
{
	int ret;

	if (iopf_shares_pri(dev))
		return -EINVAL;

	ret = iopf_dev_get(dev);
	if (ret)
		return ret;

	/* Some IOMMU drivers accept the feature but have no queue for it. */
	if (!rcu_access_pointer(dev->iommu->fault_param)) {
		iopf_dev_put(dev);
		return -EOPNOTSUPP;
	}
	return 0;
}

/**
 * iopf_attach_prepare() - Get a device ready for a domain
 * @dev: the device
 * @domain: the domain that is about to be attached to the RID of @dev
 *
 * If @domain handles page faults, turn them on for @dev. The faults of a device
 * that cannot be served would wait for ever, so this is when it is refused. One
 * that had such a domain before, and does not react any more, goes on without.
 *
 * On success, and if another device of the group makes it fail after that, the
 * caller must call iopf_attach_finish().
 *
 * Context: may sleep. The group mutex is held.
 *
 * Return: 0 on success, -EINVAL if the device shares its page request interface
 * with other functions or cannot use it as it is set up, -ENODEV if the device
 * cannot send page requests or its IOMMU does not take them, -EIO if it does not
 * react any more and has not been reset, -EOPNOTSUPP if the IOMMU driver does not
 * deliver them.
 */
int iopf_attach_prepare(struct device *dev, struct iommu_domain *domain)
{
	int ret;

	if (!domain->iopf_handler || dev->iommu->iopf_attached)
		return 0;

	/* May be in the group of the device below, but has no DMA of its own. */
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return 0;

	ret = iopf_domain_get(dev);
	if (ret)
		return ret;

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

/* fault_data of an address space: its device has no driver that has asked. */
static bool iopf_pasid_counts(struct iommu_domain *domain)
{
	return domain->iopf_handler &&
	       (domain->type != IOMMU_DOMAIN_SVA || domain->fault_data);
}

/**
 * iopf_pasid_get() - Get a device ready for a domain of one of its PASIDs
 * @dev: the device, which has PASIDs
 * @domain: the domain that is about to be attached to one of them
 *
 * The same as iopf_attach_prepare() for a RID. Drivers that share the address space of
 * a process have asked for IOMMU_DEV_FEAT_IOPF, if their device takes its page faults
 * to the IOMMU at all.
 *
 * Context: may sleep. The group mutex is held.
 *
 * Return: 0 on success, after which iopf_pasid_put() has to be called once, or an errno
 * of iopf_attach_prepare().
 */
int iopf_pasid_get(struct device *dev, struct iommu_domain *domain)
{
	return iopf_pasid_counts(domain) ? iopf_domain_get(dev) : 0;
}

/**
 * iopf_pasid_put() - A domain was detached from a PASID, or could not be attached
 * @dev: the device
 * @domain: the domain, for which iopf_pasid_get() has succeeded
 *
 * Context: may sleep. The group mutex is held.
 */
void iopf_pasid_put(struct device *dev, struct iommu_domain *domain)
{
	if (iopf_pasid_counts(domain))
		WARN_ON_ONCE(iopf_dev_put(dev));
}

/**
 * iopf_dev_fence() - A device does not react any more
 * @dev: the device, known to the IOMMU driver that calls this
 * @silent: does not react; iommu_ops::dev_reset_done may have found otherwise
 *          meanwhile
 *
 * All open page requests are answered as invalid, and what comes from now on is
 * dropped, as in a reset. That ends when the device is reset, and
 * iommu_ops::dev_reset_done says that it reacts again. Until then page faults
 * cannot be turned on.
 *
 * Context: may sleep. The group mutex may be held.
 */
void iopf_dev_fence(struct device *dev, const bool *silent)
{
	struct dev_iommu *iommu = dev->iommu;

	mutex_lock(&iommu->iopf_mutex);
	if (READ_ONCE(*silent) && !iommu->iopf_fenced) {
		iommu->iopf_fenced = true;
		if (!iommu->iopf_resets)
			iopf_reset_start(dev);
	}
	mutex_unlock(&iommu->iopf_mutex);
}
EXPORT_SYMBOL_GPL(iopf_dev_fence);

/**
 * iopf_dev_end_resets() - A device is about to be released by the IOMMU driver
 * @dev: the device
 *
 * The driver is not told of resets any more.
 *
 * Context: may sleep. The group mutex may be held.
 */
void iopf_dev_end_resets(struct device *dev)
{
	mutex_lock(&dev->iommu->iopf_mutex);
	dev->iommu->iopf_released = true;
	mutex_unlock(&dev->iommu->iopf_mutex);
}

/* A device may be removed while it, or its bus, is being reset. */
DEFINE_STATIC_SRCU(iopf_reset_srcu);

/**
 * iopf_dev_release() - A device has lost its IOMMU data
 *
 * To be called after device::iommu was cleared and before what it pointed to is
 * freed.
 *
 * Context: may sleep.
 */
void iopf_dev_release(void)
{
	synchronize_srcu(&iopf_reset_srcu);
}

/* Take a step, under the mutex, of a device that has an IOMMU and keeps it */
static void iopf_take_step(struct device *dev,
			   void (*step)(struct device *dev,
					struct dev_iommu *iommu))
{
	struct dev_iommu *iommu;
	int idx;

	idx = srcu_read_lock(&iopf_reset_srcu);
	iommu = READ_ONCE(dev->iommu);
	if (iommu && iommu->iommu_dev) {
		/* Keeps the device on its queue. */
		mutex_lock(&iommu->iopf_mutex);
		step(dev, iommu);
		mutex_unlock(&iommu->iopf_mutex);
	}
	srcu_read_unlock(&iopf_reset_srcu, idx);
}

static void iopf_prepare_step(struct device *dev, struct dev_iommu *iommu)
{
	if (!iommu->iopf_resets++ && !iommu->iopf_fenced)
		iopf_reset_start(dev);
}

/**
 * iommu_iopf_reset_prepare() - A device is about to be reset, or to lose its power
 * @dev: the device
 *
 * All open page requests are answered as invalid, while the device still knows
 * them. It forgets them by the reset, and may use their group indices for new
 * ones, so that a late answer would go to the wrong request. Handlers still see
 * the groups, but their answers are ignored.
 *
 * A device that is not quiet, or wakes up early, may send requests while it is
 * reset. They are dropped without an answer, until the reset is done.
 *
 * Page faults stay on. Does nothing if they are off. Calls nest, since one kind
 * of reset may be part of another.
 *
 * Context: may sleep.
 */
void iommu_iopf_reset_prepare(struct device *dev)
{
	iopf_take_step(dev, iopf_prepare_step);
}
EXPORT_SYMBOL_GPL(iommu_iopf_reset_prepare);

/* Has the driver, which is asked, no reason for a fence, or none any more? */
static void iopf_lower_fence(struct device *dev, struct dev_iommu *iommu)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);

	if (ops->dev_reset_done && !iommu->iopf_released &&
	    ops->dev_reset_done(dev))
		iommu->iopf_fenced = false;
}

static void iopf_reset_step(struct device *dev, struct dev_iommu *iommu)
{
	bool was_off = iommu->iopf_resets || iommu->iopf_fenced;

	/* The device may have got its IOMMU in the middle. */
	if (iommu->iopf_resets)
		iommu->iopf_resets--;
	/* Each of them: only the innermost may have reset the device. */
	iopf_lower_fence(dev, iommu);
	if (was_off && !iommu->iopf_resets && !iommu->iopf_fenced)
		iopf_reset_end(dev);
}

/**
 * iommu_iopf_reset_done() - The reset of a device is over
 * @dev: the device, see iommu_iopf_reset_prepare()
 *
 * What the device has sent during the reset is dropped, also if it is still in
 * the queue of the IOMMU.
 *
 * Context: may sleep.
 */
void iommu_iopf_reset_done(struct device *dev)
{
	iopf_take_step(dev, iopf_reset_step);
}
EXPORT_SYMBOL_GPL(iommu_iopf_reset_done);

static void iopf_back_step(struct device *dev, struct dev_iommu *iommu)
{
	bool was_fenced = iommu->iopf_fenced;

	/* In any case: the fence may be about to be put up. */
	iopf_lower_fence(dev, iommu);
	if (was_fenced && !iommu->iopf_fenced && !iommu->iopf_resets)
		iopf_reset_end(dev);
}

/**
 * iommu_iopf_device_back() - A device has lost what its registers held
 * @dev: the device, which can be reached again
 *
 * For who is about to restore the registers of a device that was reset, or has
 * its power again. Something that the driver of the IOMMU had against the device
 * may have ended by that, which can be seen best before ATS is on again. Until
 * then a device that did not react, perhaps only because it had no power, stays
 * blocked.
 *
 * This is no end of a reset: what iommu_iopf_reset_prepare() has begun goes on.
 *
 * Context: may sleep, and waits for the queue of page requests. Interrupts of
 * devices must not be off, as they are in the noirq phase of system sleep.
 */
void iommu_iopf_device_back(struct device *dev)
{
	iopf_take_step(dev, iopf_back_step);
}
EXPORT_SYMBOL_GPL(iommu_iopf_device_back);

// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: when the page faults of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Page requests (PRI) of a device need ATS, and a device table entry that lets
 * them into the log. ATS comes and goes with the domains of the device. So PRI has
 * two conditions, which come and go independently of each other: page faults are
 * wanted, and ATS is on. The order is entry, ATS, PRI, and the reverse.
 *
 * iommu_dev_data::mutex protects these conditions. The mutex of the group may be
 * held outside of it. Nothing that works off the log of page requests, or handles
 * them, takes any of the two.
 */
#define pr_fmt(fmt)     "AMD-Vi: " fmt
#define dev_fmt(fmt)    pr_fmt(fmt)

#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/processor.h>

#include <asm/iommu.h>

#include "amd_iommu.h"
#include "../iopf-core.h"
#include "../iopf-pci.h"

#define IOPF_DEVICE_FLAGS	(AMD_IOMMU_DEVICE_FLAG_ATS_SUP | \
				 AMD_IOMMU_DEVICE_FLAG_PRI_SUP)

/* The first models of this family have no page requests while SNP is on. */
static bool has_snp_erratum(void)
{
	return amd_iommu_snp_en && boot_cpu_data.x86 == 0x19 &&
	       boot_cpu_data.x86_model < 0x10;
}

/* NULL if the IOMMU serves page requests, else why it does not */
static const char *iopf_why_not(struct amd_iommu *iommu)
{
	if (!amd_iommu_ppr_supported() || !iommu->ppr_log || !iommu->iopf_queue)
		return "the IOMMU has no page requests";
	if (!amd_iommu_iotlb_sup)
		return "an IOMMU does not support ATS";
	/* Who waits for an answer to a request that was lost waits for ever. */
	if (!check_feature(FEATURE_PPR_AUTORSP))
		return "the IOMMU does not answer requests that find its log full";
	if (has_snp_erratum())
		return "an erratum of the IOMMU forbids them while SNP is on";
	if (!iommu->int_enabled)
		return "the IOMMU has no interrupt";
	return NULL;
}

static int iopf_check(struct amd_iommu *iommu, struct iommu_dev_data *dev_data)
{
	const char *why;

	if (!dev_is_pci(dev_data->dev) ||
	    (dev_data->flags & IOPF_DEVICE_FLAGS) != IOPF_DEVICE_FLAGS)
		return -ENODEV;
	why = iopf_why_not(iommu);
	if (!why)
		return 0;
	dev_info_ratelimited(dev_data->dev, "no page faults: %s\n", why);
	return -ENODEV;
}

/**
 * amd_iommu_iopf_init_device() - Get ready for the page faults of a device
 * @dev_data: the device, not attached to anything yet
 */
void amd_iommu_iopf_init_device(struct iommu_dev_data *dev_data)
{
	struct pci_dev *pdev;

	if (!dev_is_pci(dev_data->dev))
		return;
	pdev = to_pci_dev(dev_data->dev);
	iopf_pci_quiet(pdev);
	dev_data->pri_tlp = iopf_pci_needs_pasid(pdev);
}

/* Completed by the device only behind the page requests it has sent before. */
static void iopf_flush(struct iopf_hwq *hwq, void *data)
{
	amd_iommu_dev_flush_ats(data);
}

static void iopf_drain_log(struct iommu_dev_data *dev_data, ioasid_t pasid,
			   void (*flush)(struct iopf_hwq *hwq, void *data))
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);

	iopf_hwq_drain(&iommu->ppr_hwq, dev_data->devid, pasid, flush, dev_data);
}

/**
 * amd_iommu_iopf_drain() - Have page requests of a device reported
 * @dev_data: the device
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * To be called when the translation has been changed or blocked, and caches
 * were invalidated. When this returns all requests that were sent before have
 * been reported, or answered by the IOMMU. They may still be with their handlers:
 * the IOMMU core waits for these, see iopf_dev_sync().
 *
 * Context: may sleep.
 */
void amd_iommu_iopf_drain(struct iommu_dev_data *dev_data, ioasid_t pasid)
{
	/* Who has turned PRI off has drained. */
	if (!READ_ONCE(dev_data->pri_on))
		return;
	/* A device that is gone would let the invalidation time out. */
	iopf_drain_log(dev_data, pasid,
		       pci_device_is_present(to_pci_dev(dev_data->dev)) ?
		       iopf_flush : NULL);
}

/**
 * amd_iommu_iopf_drain_reset() - Have page requests of a device reported
 * @dev: the device, which is about to be reset and perhaps does not react
 */
void amd_iommu_iopf_drain_reset(struct device *dev)
{
	iopf_drain_log(dev_iommu_priv_get(dev), IOPF_ANY_PASID, NULL);
}

static int iopf_start_pri(struct iommu_dev_data *dev_data)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	int ret;

	lockdep_assert_held(&dev_data->mutex);

	if (!dev_data->ppr || !dev_data->ats_enabled || dev_data->pri_on)
		return 0;
	ret = iopf_pci_enable_pri(to_pci_dev(dev_data->dev),
				  iommu->ppr_hwq.slots);
	WRITE_ONCE(dev_data->pri_on, !ret);
	return ret;
}

static void iopf_stop_pri(struct iommu_dev_data *dev_data)
{
	lockdep_assert_held(&dev_data->mutex);

	if (!dev_data->pri_on)
		return;
	/* The owner of the device may go on with DMA: it has to stop asking. */
	iopf_pci_disable_pri(to_pci_dev(dev_data->dev));
	amd_iommu_iopf_drain(dev_data, IOPF_ANY_PASID);
	WRITE_ONCE(dev_data->pri_on, false);
}

/**
 * amd_iommu_iopf_attached() - A device got a domain, and ATS if there is any
 * @dev_data: the device, whose device table entry was written
 * @needed: somebody waits for the page faults of the domain
 *
 * Return: 0 on success. On failure the domain would wait for page faults that do
 * not come.
 */
int amd_iommu_iopf_attached(struct iommu_dev_data *dev_data, bool needed)
{
	int ret;

	if (!dev_data->ppr)
		return 0;
	ret = dev_data->ats_enabled ? iopf_start_pri(dev_data) : -EIO;
	if (!ret)
		return 0;
	dev_err_ratelimited(dev_data->dev, "Failed to enable PRI (%d)\n", ret);
	return needed ? ret : 0;
}

/**
 * amd_iommu_iopf_detaching() - ATS of a device is about to be turned off
 * @dev_data: the device, whose domain is still the old one
 */
void amd_iommu_iopf_detaching(struct iommu_dev_data *dev_data)
{
	iopf_stop_pri(dev_data);
}

/**
 * amd_iommu_iopf_leave() - A device is about to be without a domain, and to get
 *			    another one
 * @dev_data: the device, whose domain is still the old one
 * @needed: somebody waits for the page faults of the new domain
 *
 * Page requests cannot be turned on again while the device waits for answers, and the
 * handlers of the old domain may take their time. So what is open is answered now, as
 * invalid, while there still is a domain to stay with.
 *
 * Context: may sleep. The group mutex is held.
 *
 * Return: 0 on success, else an errno of iopf_pci_reset_pri(): the page requests of
 * the new domain would never come. Page requests are off then.
 */
int amd_iommu_iopf_leave(struct iommu_dev_data *dev_data, bool needed)
{
	int ret;

	if (!dev_data->ppr)
		return 0;

	mutex_lock(&dev_data->mutex);
	iopf_stop_pri(dev_data);
	mutex_unlock(&dev_data->mutex);

	iopf_dev_abort(dev_data->dev);
	/* The answers are in the queue of commands, and have to reach the device. */
	iommu_completion_wait(get_amd_iommu_from_dev_data(dev_data));
	ret = iopf_pci_reset_pri(to_pci_dev(dev_data->dev));
	if (!ret || !needed)
		return 0;
	dev_err_ratelimited(dev_data->dev,
			    "Failed to stop page requests (%d)\n", ret);
	return ret;
}

/* Let requests into the log, or keep them out. */
static void iopf_set_ppr(struct iommu_dev_data *dev_data, bool ppr)
{
	struct protection_domain *domain = dev_data->domain;
	unsigned long flags;

	lockdep_assert_held(&dev_data->mutex);

	dev_data->ppr = ppr;
	if (!domain)
		return;
	/* The page table may grow, and dirty tracking be switched. */
	spin_lock_irqsave(&domain->lock, flags);
	dev_update_dte(dev_data, true);
	spin_unlock_irqrestore(&domain->lock, flags);
}

static int iopf_want(struct iommu_dev_data *dev_data)
{
	int ret;

	mutex_lock(&dev_data->mutex);
	iopf_set_ppr(dev_data, true);
	ret = iopf_start_pri(dev_data);
	if (ret)
		iopf_set_ppr(dev_data, false);
	mutex_unlock(&dev_data->mutex);
	return ret;
}

/**
 * amd_iommu_enable_iopf() - Turn page faults of a device on
 * @dev: the device
 *
 * Page requests wait for ATS, which comes with a domain.
 *
 * Return: 0 on success, -ENODEV if the device cannot send page requests or the
 * IOMMU does not serve them, -EBUSY if the device waits for answers to requests of
 * before or its faults are on, or -ENOMEM.
 */
int amd_iommu_enable_iopf(struct device *dev)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	struct amd_iommu *iommu = get_amd_iommu_from_dev(dev);
	int ret;

	if (dev_data->ppr)
		return -EBUSY;
	ret = iopf_check(iommu, dev_data);
	if (ret)
		return ret;

	/* Answers may still be in the queue; those that are not, have been sent. */
	iommu_completion_wait(iommu);
	ret = iopf_pci_reset_pri(to_pci_dev(dev));
	if (ret)
		return ret;

	ret = iopf_queue_add_device(iommu->iopf_queue, dev);
	if (ret)
		return ret;
	ret = amd_ppr_add_device(iommu, dev_data);
	if (ret)
		goto err_leave_queue;
	ret = iopf_want(dev_data);
	if (ret)
		goto err_remove_device;
	return 0;

err_remove_device:
	amd_ppr_remove_device(iommu, dev_data);
err_leave_queue:
	iopf_queue_remove_device(iommu->iopf_queue, dev);
	return ret;
}

/**
 * amd_iommu_disable_iopf() - Turn page faults of a device off
 * @dev: the device
 *
 * All requests that nobody has answered are answered as invalid.
 *
 * Return: 0 on success, -EINVAL if they are not on.
 */
int amd_iommu_disable_iopf(struct device *dev)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	struct amd_iommu *iommu = get_amd_iommu_from_dev(dev);

	if (!dev_data->ppr)
		return -EINVAL;

	mutex_lock(&dev_data->mutex);
	iopf_stop_pri(dev_data);
	mutex_unlock(&dev_data->mutex);

	amd_ppr_remove_device(iommu, dev_data);
	iopf_queue_remove_device(iommu->iopf_queue, dev);

	mutex_lock(&dev_data->mutex);
	iopf_set_ppr(dev_data, false);
	mutex_unlock(&dev_data->mutex);
	return 0;
}

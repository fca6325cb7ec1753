// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: when ATS and page requests of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device with ATS on may ask for a translation at once. If its RID or PASID has no
 * table yet, or none any more, it is refused as if it had no business to ask, and many
 * devices do not ask again. So the order is table, ATS, page requests, and the reverse.
 *
 * Who unmaps something has to know of all caches it may be in. Hence
 * device_domain_info::ats_enabled, which decides about cache tags of the device TLB, is
 * there before ATS is on, and until it is off and the tags are gone. What is
 * invalidated meanwhile a device without ATS does not have.
 *
 * If a domain is replaced by way of none, and page requests are on, they and ATS stay
 * on: a device that has to wait for answers cannot have them turned off and on again.
 *
 * The mutex of the group protects all this. A driver that has page requests turned on or
 * off by itself, and holds dev_iommu::iopf_mutex then, does so while it has the device:
 * domains of the RID do not change meanwhile.
 */
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iommu.h"
#include "pasid.h"
#include "../iopf-core.h"

/**
 * intel_ats_possible() - Can a device have ATS now?
 * @info: the device
 *
 * Return: false if it has none, if it has been given up, or if it is a VF whose PF was
 * set up for other units.
 */
bool intel_ats_possible(struct device_domain_info *info)
{
	struct pci_dev *pdev;

	if (!dev_is_pci(info->dev) || !info->ats_supported ||
	    READ_ONCE(info->devtlb_silent))
		return false;
	pdev = to_pci_dev(info->dev);
	return pci_ats_page_aligned(pdev) &&
	       (!pdev->is_virtfn ||
		pci_physfn(pdev)->ats_stu == VTD_PAGE_SHIFT);
}

/**
 * intel_ats_prepare() - ATS of a device will be turned on if that is possible
 * @info: the device, which is about to get cache tags of its only domain
 *
 * Domains that others of its PASIDs have got without ATS have no tags for it.
 */
void intel_ats_prepare(struct device_domain_info *info)
{
	if (!info->ats_enabled && !info->nr_pasids && intel_ats_possible(info))
		info->ats_enabled = 1;
}

/**
 * intel_pri_start() - Turn page requests on if they are wanted
 * @info: the device
 *
 * They wait for ATS, which waits for a table.
 *
 * Return: 0 on success, or what pci_enable_pri() returns.
 */
int intel_pri_start(struct device_domain_info *info)
{
	struct pci_dev *pdev = to_pci_dev(info->dev);
	int ret;

	if (!info->pri_enabled || info->pri_on || !pdev->ats_enabled)
		return 0;
	ret = pci_enable_pri(pdev, PRQ_DEPTH);
	if (!ret)
		info->pri_on = 1;
	return ret;
}

/**
 * intel_ats_start() - Turn ATS on, and page requests if they are wanted
 * @info: the device, whose table is there
 * @domain: the domain it belongs to
 *
 * Return: 0 on success. On failure the domain would wait for page faults that do not
 * come.
 */
int intel_ats_start(struct device_domain_info *info,
		    struct iommu_domain *domain)
{
	struct pci_dev *pdev;
	int ret;

	if (!info->ats_enabled)
		return info->pri_enabled && domain->iopf_handler ? -EIO : 0;
	pdev = to_pci_dev(info->dev);
	if (!pdev->ats_enabled) {
		ret = pci_enable_ats(pdev, VTD_PAGE_SHIFT);
		if (ret)
			return ret;
	}
	ret = intel_pri_start(info);
	return domain->iopf_handler ? ret : 0;
}

/**
 * intel_pri_stop() - Turn page requests off
 * @info: the device
 *
 * The owner of the device may be a program that goes on with DMA. So the device has to
 * stop asking before the IOMMU stops listening: a request that meets a cleared PRE is a
 * fault, and every answer would bring the device's next request.
 */
void intel_pri_stop(struct device_domain_info *info)
{
	if (!info->pri_on)
		return;
	pci_disable_pri(to_pci_dev(info->dev));
	/* Report what is on its way, so that it is answered. */
	intel_iommu_drain_pasid_prq(info->dev, IOPF_ANY_PASID);
	info->pri_on = 0;
}

/* May a device keep ATS when its RID has no table any more? */
static bool ats_is_used(struct device_domain_info *info)
{
	return info->pri_on || info->nr_pasids;
}

/**
 * intel_ats_stop() - Turn ATS off while the table of a device is still there
 * @info: the device
 *
 * Nothing happens if page requests are on, or the device has domains of PASIDs.
 */
void intel_ats_stop(struct device_domain_info *info)
{
	struct pci_dev *pdev;

	if (!info->ats_enabled || ats_is_used(info))
		return;
	pdev = to_pci_dev(info->dev);
	if (pdev->ats_enabled)
		pci_disable_ats(pdev);
}

/**
 * intel_ats_leave() - Translation for the RID of a device is about to be blocked
 * @info: the device
 */
void intel_ats_leave(struct device_domain_info *info)
{
	if (info->nr_pasids)
		return;
	intel_pri_stop(info);
	intel_ats_stop(info);
}

/**
 * intel_ats_stopped() - The cache tags of a domain of a device are gone
 * @info: the device
 */
void intel_ats_stopped(struct device_domain_info *info)
{
	if (info->ats_enabled && !to_pci_dev(info->dev)->ats_enabled)
		info->ats_enabled = 0;
}

/**
 * intel_ats_unused() - A domain of a PASID, or page requests, are not used any more
 * @info: the device
 *
 * ATS goes with the last that needs it.
 */
void intel_ats_unused(struct device_domain_info *info)
{
	if (info->domain_attached)
		return;
	intel_ats_stop(info);
	intel_ats_stopped(info);
}

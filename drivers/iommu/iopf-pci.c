// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: what IOMMU drivers do with a PCI device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iopf-pci.h"

/*
 * Most that a device may have outstanding. Less if the queue is small: if all
 * devices together have no more than there are entries, nothing is ever lost.
 */
#define PRI_MAX_REQS		128
#define PRI_QUEUE_SHARE		8

static void quiet_bit(struct pci_dev *pdev, int reg, u16 bit)
{
	u16 ctrl;

	pci_read_config_word(pdev, reg, &ctrl);
	if (ctrl & bit)
		pci_write_config_word(pdev, reg, ctrl & ~bit);
}

/**
 * iopf_pci_quiet() - Turn off what the kernel does not know to be on
 * @pdev: the device
 *
 * A kernel that this one follows by kexec, or that has crashed, may have left
 * page requests and ATS on. Page requests have to go first, and both before PASID
 * is touched.
 *
 * Context: nobody else uses the capabilities.
 */
void iopf_pci_quiet(struct pci_dev *pdev)
{
#ifdef CONFIG_PCI_PRI
	if (pdev->pri_cap && !pdev->pri_enabled)
		quiet_bit(pdev, pdev->pri_cap + PCI_PRI_CTRL,
			  PCI_PRI_CTRL_ENABLE);
#endif
#ifdef CONFIG_PCI_ATS
	if (pdev->ats_cap && !pdev->ats_enabled)
		quiet_bit(pdev, pdev->ats_cap + PCI_ATS_CTRL,
			  PCI_ATS_CTRL_ENABLE);
#endif
}
EXPORT_SYMBOL_GPL(iopf_pci_quiet);

#ifdef CONFIG_PCI_PRI
/**
 * iopf_pci_needs_pasid() - Does a device want its PASID back with the answer?
 * @pdev: the device
 *
 * Return: true if answers to requests with PASID have to have it.
 */
bool iopf_pci_needs_pasid(struct pci_dev *pdev)
{
	return pci_pri_supported(pdev) && pci_prg_resp_pasid_required(pdev);
}
EXPORT_SYMBOL_GPL(iopf_pci_needs_pasid);

/**
 * iopf_pci_reset_pri() - Have a device forget its page requests
 * @pdev: the device, whose page requests are off
 *
 * Answers to what it has asked before must have been sent.
 *
 * Return: 0 on success, -EBUSY if the device still waits for answers, or page
 * requests are on, else what pci_reset_pri() returns.
 */
int iopf_pci_reset_pri(struct pci_dev *pdev)
{
	u16 status;
	int ret;

	ret = pci_reset_pri(pdev);
	if (ret)
		return ret;
	if (pdev->is_virtfn)
		return 0;
	pci_read_config_word(pdev, pdev->pri_cap + PCI_PRI_STATUS, &status);
	return status & PCI_PRI_STATUS_STOPPED ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(iopf_pci_reset_pri);

/**
 * iopf_pci_enable_pri() - Turn page requests of a device on
 * @pdev: the device
 * @slots: entries of the queue which takes them
 *
 * Return: what pci_enable_pri() returns.
 */
int iopf_pci_enable_pri(struct pci_dev *pdev, u32 slots)
{
	/* So many answers may have to be put off. */
	static_assert(PRI_MAX_REQS <= IOPF_MAX_BACKOFF);

	return pci_enable_pri(pdev, clamp_t(u32, slots / PRI_QUEUE_SHARE, 1,
					    PRI_MAX_REQS));
}
EXPORT_SYMBOL_GPL(iopf_pci_enable_pri);

/**
 * iopf_pci_disable_pri() - Turn page requests of a device off
 * @pdev: the device
 */
void iopf_pci_disable_pri(struct pci_dev *pdev)
{
	pci_disable_pri(pdev);
}
EXPORT_SYMBOL_GPL(iopf_pci_disable_pri);
#endif /* CONFIG_PCI_PRI */

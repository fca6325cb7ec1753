// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: what IOMMU drivers do with a PCI device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/export.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iopf-pci.h"

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
#ifdef CONFIG_PCI_PRI
	u16 status;
	int ret;

	ret = pci_reset_pri(pdev);
	if (ret)
		return ret;
	if (pdev->is_virtfn)
		return 0;
	pci_read_config_word(pdev, pdev->pri_cap + PCI_PRI_STATUS, &status);
	return status & PCI_PRI_STATUS_STOPPED ? 0 : -EBUSY;
#else
	return -ENODEV;
#endif
}
EXPORT_SYMBOL_GPL(iopf_pci_reset_pri);

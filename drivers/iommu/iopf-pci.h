/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: what IOMMU drivers do with a PCI device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_PCI_H
#define __IOPF_PCI_H

#include <linux/errno.h>
#include <linux/types.h>

struct pci_dev;

void iopf_pci_quiet(struct pci_dev *pdev);

#ifdef CONFIG_PCI_PRI
bool iopf_pci_needs_pasid(struct pci_dev *pdev);
int iopf_pci_reset_pri(struct pci_dev *pdev);
int iopf_pci_enable_pri(struct pci_dev *pdev, u32 slots);
void iopf_pci_disable_pri(struct pci_dev *pdev);
#else
static inline bool iopf_pci_needs_pasid(struct pci_dev *pdev)
{
	return false;
}

static inline int iopf_pci_reset_pri(struct pci_dev *pdev)
{
	return -ENODEV;
}

static inline int iopf_pci_enable_pri(struct pci_dev *pdev, u32 slots)
{
	return -ENODEV;
}

static inline void iopf_pci_disable_pri(struct pci_dev *pdev)
{
}
#endif

#endif /* __IOPF_PCI_H */

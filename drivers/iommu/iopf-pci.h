/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: what IOMMU drivers do with a PCI device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_PCI_H
#define __IOPF_PCI_H

struct pci_dev;

void iopf_pci_quiet(struct pci_dev *pdev);
int iopf_pci_reset_pri(struct pci_dev *pdev);

#endif /* __IOPF_PCI_H */

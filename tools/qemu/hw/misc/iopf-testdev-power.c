/*
 * PCIe I/O page fault test endpoint: power states and error reports
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In D3hot a function answers configuration accesses and takes messages, which
 * responses and invalidations are; it sends no requests, neither page requests
 * nor memory accesses, interrupts included.  Without No_Soft_Reset it comes
 * back from there as from a reset.
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "hw/pci/pcie_aer.h"
#include "trace.h"
#include "iopf-testdev.h"

bool iopf_pm_init(IOPFTestDev *s, Error **errp)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    int pm = pci_pm_init(pci_dev, 0, errp);

    if (pm < 0) {
        return false;
    }
    /* Version 3, neither D1, D2 nor PME */
    pci_set_word(pci_dev->config + pm + PCI_PM_PMC, 3);
    pci_set_word(pci_dev->config + pm + PCI_PM_CTRL,
                 s->no_soft_reset ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
    pci_set_word(pci_dev->wmask + pm + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

/* VFs have no such capability and follow their PF */
bool iopf_asleep(IOPFTestDev *s)
{
    const PCIDevice *pci_dev = PCI_DEVICE(iopf_pf(s));

    return (pci_dev->cap_present & QEMU_PCI_CAP_PM) &&
           (pci_get_word(pci_dev->config + pci_dev->pm_cap + PCI_PM_CTRL) &
            PCI_PM_CTRL_STATE_MASK);
}

void iopf_power_changed(IOPFTestDev *s, bool was_asleep)
{
    bool asleep = iopf_asleep(s);

    if (pci_is_vf(PCI_DEVICE(s)) || asleep == was_asleep) {
        return;
    }
    trace_iopf_testdev_power(asleep);
    if (!asleep && !s->no_soft_reset) {
        pci_device_reset(PCI_DEVICE(s));
    }
}

void iopf_report_error(IOPFTestDev *s, uint32_t status)
{
    PCIEAERErr err = {
        .status = status,
        .source_id = pci_requester_id(PCI_DEVICE(s)),
    };

    if (!s->aer || pcie_aer_inject_error(PCI_DEVICE(s), &err)) {
        qemu_log_mask(LOG_GUEST_ERROR, "%s: no error 0x%" PRIx32 " to report\n",
                      TYPE_IOPF_TESTDEV, status);
    }
}

/*
 * Untranslated accesses of PCI device models that wait for the IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_stall.h"
#include "pci-internal.h"
#include "trace.h"

/* The IOMMU of a device if it may hold accesses, and how it knows the device */
static const PCIIOMMUOps *pci_stall_ops(PCIDevice *dev, void **opaque,
                                        PCIBus **bus, int *devfn)
{
    PCIBus *iommu_bus;

    g_assert(bql_locked());

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, bus, devfn);
    if (!iommu_bus || !iommu_bus->iommu_ops->stall_translate) {
        return NULL;
    }
    *opaque = iommu_bus->iommu_opaque;
    return iommu_bus->iommu_ops;
}

bool pci_stall_supported(PCIDevice *dev)
{
    void *opaque;
    PCIBus *bus;
    int devfn;

    return pci_stall_ops(dev, &opaque, &bus, &devfn);
}

void pci_stall_set_notifier(PCIDevice *dev, PCIStallNotifier *notifier)
{
    dev->stall_notifier = notifier;
}

int pci_stall_translate(PCIDevice *dev, uint32_t pasid, bool priv_req,
                        bool exec_req, hwaddr addr, bool is_write,
                        uint64_t cookie, IOMMUTLBEntry *entry)
{
    const PCIIOMMUOps *ops;
    void *opaque;
    PCIBus *bus;
    int devfn, ret;

    g_assert(dev->stall_notifier);

    if (!pci_is_master(dev)) {
        return -EPERM;
    }
    ret = pci_check_prefix(dev, pasid, priv_req, exec_req);
    if (ret) {
        return ret;
    }
    if (exec_req && is_write) {
        return -EINVAL;
    }
    ops = pci_stall_ops(dev, &opaque, &bus, &devfn);
    if (!ops) {
        return -ENODEV;
    }
    ret = ops->stall_translate(bus, opaque, devfn, pasid, priv_req, exec_req,
                               addr, is_write, cookie, entry);
    trace_pci_stall_translate(dev->name, pasid, addr, is_write, cookie, ret);
    return ret;
}

void pci_stall_over(PCIBus *bus, int devfn, PCIStallVerdict verdict,
                    uint64_t cookie)
{
    PCIDevice *dev = bus->devices[devfn];

    g_assert(bql_locked());

    if (dev && dev->stall_notifier) {
        trace_pci_stall_over(dev->name, verdict, cookie);
        dev->stall_notifier->notify(dev->stall_notifier, verdict, cookie);
    }
}

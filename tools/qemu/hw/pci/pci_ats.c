/*
 * Translation requests (ATS) and page requests (PRI) of PCI device models
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_bus.h"
#include "pci-internal.h"
#include "trace.h"

#define PCI_PASID_MASK ((1U << PCI_EXT_CAP_PASID_MAX_WIDTH) - 1)

/* How an IOMMU knows a device */
typedef struct PCIIOMMUTarget {
    const PCIIOMMUOps *ops;
    void *opaque;
    PCIBus *bus;
    int devfn;
} PCIIOMMUTarget;

static bool pci_iommu_get_target(PCIDevice *dev, PCIIOMMUTarget *t)
{
    PCIBus *iommu_bus;

    g_assert(bql_locked());

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, &t->bus, &t->devfn);
    if (!iommu_bus) {
        return false;
    }
    t->ops = iommu_bus->iommu_ops;
    t->opaque = iommu_bus->iommu_opaque;
    return true;
}

bool pci_is_master(const PCIDevice *dev)
{
    return dev->enabled &&
           (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER);
}

/* Whether the configuration of the device lets it use @pasid */
static int pci_check_pasid(const PCIDevice *dev, uint32_t pasid)
{
    if (pasid == PCI_NO_PASID) {
        return 0;
    }
    if (pasid & ~PCI_PASID_MASK) {
        return -EINVAL;
    }
    return pcie_pasid_enabled(dev) ? 0 : -EPERM;
}

/* Whether it lets it set what else is in the prefix that carries the PASID */
static int pci_check_prefix(const PCIDevice *dev, uint32_t pasid,
                            bool priv_req, bool exec_req)
{
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (pasid == PCI_NO_PASID && (priv_req || exec_req)) {
        return -EINVAL;
    }
    if ((priv_req && !pcie_pasid_priv_enabled(dev)) ||
        (exec_req && !pcie_pasid_exec_enabled(dev))) {
        return -EPERM;
    }
    return 0;
}

int pci_iommu_get_iotlb_info(PCIDevice *dev, uint8_t *addr_width,
                             uint32_t *min_page_size)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->get_iotlb_info) {
        return -ENODEV;
    }
    t.ops->get_iotlb_info(t.opaque, addr_width, min_page_size);
    return 0;
}

int pci_iommu_init_iotlb_notifier(PCIDevice *dev, IOMMUNotifier *n,
                                  IOMMUNotify fn, void *opaque)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->init_iotlb_notifier) {
        return -ENODEV;
    }
    t.ops->init_iotlb_notifier(t.bus, t.opaque, t.devfn, n, fn, opaque);
    return 0;
}

int pci_iommu_register_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                      IOMMUNotifier *n)
{
    PCIIOMMUTarget t;
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->register_iotlb_notifier) {
        return -ENODEV;
    }
    return t.ops->register_iotlb_notifier(t.bus, t.opaque, t.devfn, pasid, n);
}

int pci_iommu_unregister_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                        IOMMUNotifier *n)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->unregister_iotlb_notifier) {
        return -ENODEV;
    }
    t.ops->unregister_iotlb_notifier(t.bus, t.opaque, t.devfn, pasid, n);
    return 0;
}

ssize_t pci_ats_request_translation(PCIDevice *dev, uint32_t pasid,
                                    bool priv_req, bool exec_req,
                                    hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length,
                                    uint32_t *err_count)
{
    PCIIOMMUTarget t;
    ssize_t ret;

    if (!pci_is_master(dev) || !pcie_ats_enabled(dev)) {
        return -EPERM;
    }
    ret = pci_check_prefix(dev, pasid, priv_req, exec_req);
    if (ret) {
        return ret;
    }
    if (!length || addr + (length - 1) < addr) {
        return -EINVAL;
    }
    if (!result_length) {
        return -ENOSPC;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->ats_request_translation) {
        return -ENODEV;
    }
    ret = t.ops->ats_request_translation(t.bus, t.opaque, t.devfn, pasid,
                                         priv_req, exec_req, addr, length,
                                         no_write, result, result_length,
                                         err_count);
    trace_pci_ats_request(dev->name, pasid, addr, length, no_write, ret);
    return ret;
}

int pci_pri_register_notifier(PCIDevice *dev, uint32_t pasid,
                              IOMMUPRINotifier *notifier)
{
    PCIIOMMUTarget t;
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->pri_register_notifier) {
        return -ENODEV;
    }
    return t.ops->pri_register_notifier(t.bus, t.opaque, t.devfn, pasid,
                                        notifier);
}

void pci_pri_unregister_notifier(PCIDevice *dev, uint32_t pasid)
{
    PCIIOMMUTarget t;

    if (pci_iommu_get_target(dev, &t) && t.ops->pri_unregister_notifier) {
        t.ops->pri_unregister_notifier(t.bus, t.opaque, t.devfn, pasid);
    }
}

int pci_pri_request_page(PCIDevice *dev, uint32_t pasid, bool priv_req,
                         bool exec_req, hwaddr addr, bool lpig,
                         uint16_t prgi, bool is_read, bool is_write)
{
    PCIIOMMUTarget t;
    int ret;

    if (!pci_is_master(dev) || !pcie_pri_enabled(dev)) {
        return -EPERM;
    }
    ret = pci_check_prefix(dev, pasid, priv_req, exec_req);
    if (ret) {
        return ret;
    }
    if ((prgi & ~PCI_PRI_PRGI_MASK) || (exec_req && !is_read)) {
        return -EINVAL;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->pri_request_page) {
        return -ENODEV;
    }
    ret = t.ops->pri_request_page(t.bus, t.opaque, t.devfn, pasid, priv_req,
                                  exec_req, addr, lpig, prgi, is_read,
                                  is_write);
    trace_pci_pri_request(dev->name, pasid, addr, prgi, lpig, is_read,
                          is_write, ret);
    return ret;
}

ssize_t pci_ats_translate_range(PCIATSTranslateFn fn, void *opaque,
                                IOMMUAccessFlags want, hwaddr addr,
                                size_t length, IOMMUTLBEntry *result,
                                size_t result_length, uint32_t *err_count)
{
    hwaddr last = addr + (length - 1);
    uint32_t errors = 0;
    size_t n = 0;

    while (true) {
        IOMMUTLBEntry *entry = &result[n];
        hwaddr entry_last;
        int ret;

        if (n == result_length) {
            return -ENOMEM;
        }
        ret = fn(opaque, addr, entry);
        if (ret) {
            return ret;
        }
        n++;
        if ((entry->perm & want) != want) {
            errors++;
        }
        entry_last = entry->iova | entry->addr_mask;
        g_assert(entry->iova <= addr && entry_last >= addr);
        if (entry_last >= last) {
            break;
        }
        addr = entry_last + 1;
    }
    if (err_count) {
        *err_count = errors;
    }
    return n;
}

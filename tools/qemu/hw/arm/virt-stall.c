/*
 * Device tree nodes of PCI devices whose accesses the SMMU may hold
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No capability tells software of them: firmware has to, by the property
 * dma-can-stall of the device tree.  Only devices of the root complex have it
 * here.  What is held behind a port is held on a link, where it stands in the
 * way of others, and of what would end it.
 */

#include "qemu/osdep.h"
#include "hw/arm/virt.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_stall.h"
#include "system/device_tree.h"
#include "virt-stall.h"

static void virt_stall_add_node(PCIBus *bus, PCIDevice *dev, void *opaque)
{
    VirtMachineState *vms = opaque;
    void *fdt = MACHINE(vms)->fdt;
    g_autofree char *node = NULL;

    if (!dev->stall_notifier || !pci_stall_supported(dev)) {
        return;
    }
    node = g_strdup_printf("%s/dma-controller@%x,%x", vms->pciehb_nodename,
                           PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn));
    qemu_fdt_add_subnode(fdt, node);
    /* In the words of a PCI bus: bus, device and function, and no size */
    qemu_fdt_setprop_cells(fdt, node, "reg", dev->devfn << 8, 0, 0, 0, 0);
    qemu_fdt_setprop(fdt, node, "dma-can-stall", NULL, 0);
}

void virt_stall_add_nodes(VirtMachineState *vms)
{
    pci_for_each_device(vms->bus, pci_bus_num(vms->bus), virt_stall_add_node,
                        vms);
}

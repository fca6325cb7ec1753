/*
 * PCIe I/O page fault test endpoint: virtual functions
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A virtual function (VF) is the same device with an ATS capability of its
 * own.  PASID and page request interface are those of the physical function
 * (PF) and shared by all: enable bits, credits and what a Response Failure
 * stops.  So these have their state in the PF, and a change there is told to
 * every function.
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "iopf-testdev.h"

#define TYPE_IOPF_TESTDEV_VF "iopf-testdev-vf"

/* The VF outlives the PF while it does its work, and looks at it then */
void iopf_vf_init(IOPFTestDev *s)
{
    IOPFTestDev *pf = iopf_pf(s);

    object_ref(OBJECT(pf));
    s->pf_held = pf;

    s->ats = pf->ats;
    s->pri = pf->pri;
    s->pasid_width = pf->pasid_width;
    s->rsp_pasid = pf->rsp_pasid;
    s->page_aligned = pf->page_aligned;
    s->global_inv = pf->global_inv;
    s->pri_capacity = pf->pri_capacity;
    s->atc_entries = pf->atc_entries;
    s->ram_size = pf->ram_size;
    s->flr = pf->flr;
    s->stall = pf->stall;
    /* Whatever -global has to say */
    s->inv_queue_depth = 0;
    s->aer = false;
    s->pm = false;
    s->no_soft_reset = false;
    s->sriov_vfs = 0;
}

bool iopf_vfs_create(IOPFTestDev *s, uint16_t offset, Error **errp)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);

    if (!pcie_sriov_pf_init(pci_dev, offset, TYPE_IOPF_TESTDEV_VF,
                            IOPF_TD_DEVICE_ID, s->sriov_vfs, s->sriov_vfs, 1,
                            1, errp)) {
        /* There is nothing left to be undone */
        pci_dev->exp.sriov_cap = 0;
        return false;
    }
    pcie_sriov_pf_init_vf_bar(pci_dev, IOPF_TD_BAR_REGS,
                              PCI_BASE_ADDRESS_MEM_TYPE_64,
                              memory_region_size(&s->regs));
    pcie_sriov_pf_init_vf_bar(pci_dev, IOPF_TD_BAR_RAM,
                              PCI_BASE_ADDRESS_MEM_TYPE_64 |
                              PCI_BASE_ADDRESS_MEM_PREFETCH,
                              memory_region_size(&s->ram));
    pcie_sriov_pf_init_vf_bar(pci_dev, IOPF_TD_BAR_MSIX, 0,
                              memory_region_size(&pci_dev->
                                                 msix_exclusive_bar));
    s->nr_vfs = s->sriov_vfs;
    return true;
}

void iopf_vfs_destroy(IOPFTestDev *s)
{
    s->nr_vfs = 0;
    pcie_sriov_pf_exit(PCI_DEVICE(s));
}

static void iopf_vf_finalize(Object *obj)
{
    IOPFTestDev *s = IOPF_TESTDEV(obj);

    if (s->pf_held) {
        object_unref(OBJECT(s->pf_held));
    }
}

static void iopf_vf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "Virtual function of " TYPE_IOPF_TESTDEV;
    dc->user_creatable = false;
}

static const TypeInfo iopf_vf_info = {
    .name = TYPE_IOPF_TESTDEV_VF,
    .parent = TYPE_IOPF_TESTDEV,
    .instance_finalize = iopf_vf_finalize,
    .class_init = iopf_vf_class_init,
};

static void iopf_vf_register_types(void)
{
    type_register_static(&iopf_vf_info);
}

type_init(iopf_vf_register_types)

/*
 * Small PCIe endpoint with address translation and page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Moves one page between memory and a buffer of its own.  For each piece it
 * asks the IOMMU for the translation, uses it at once and keeps nothing, so
 * there is nothing to invalidate.  Where it lacks permission it asks for the
 * page, without PASID, and tries again when that is answered.  See
 * docs/specs/pcie-ats-testdev.rst.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qom/object.h"

#define TYPE_PCIE_ATS_TESTDEV "pcie-ats-testdev"
OBJECT_DECLARE_SIMPLE_TYPE(ATSTestDev, PCIE_ATS_TESTDEV)

#define ATS_TESTDEV_DEVICE_ID   0x11e9
#define ATS_TESTDEV_SIZE        4096    /* of BAR 0 and of the buffer */

#define ATS_TESTDEV_ADDR        0x0
#define ATS_TESTDEV_CMD         0x8
#define   ATS_TESTDEV_RUN           (1u << 0)
#define   ATS_TESTDEV_TO_DEVICE     (1u << 1)
#define   ATS_TESTDEV_ERROR         (1u << 31)  /* read only */

#define ATS_TESTDEV_PRGI        0
#define ATS_TESTDEV_REQUESTS    8       /* for one page, then it is an error */

struct ATSTestDev {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    QEMUBH *bh;
    IOMMUPRINotifier pri_notifier;
    bool pri_registered;

    uint64_t addr;
    uint32_t cmd;
    uint32_t done;          /* bytes of the transfer */
    uint32_t requests;      /* for the page at hand */
    bool waiting;           /* for the response to a page request */
    uint8_t buf[ATS_TESTDEV_SIZE];
};

static void ats_testdev_end(ATSTestDev *s, bool error)
{
    s->cmd &= ~ATS_TESTDEV_RUN;
    if (error) {
        s->cmd |= ATS_TESTDEV_ERROR;
    }
    s->waiting = false;
}

static void ats_testdev_answered(ATSTestDev *s, IOMMUPRIResponse *response)
{
    PCIDevice *dev = PCI_DEVICE(s);

    s->waiting = false;
    pcie_pri_request_done(dev, 1);
    switch (response->response_code) {
    case IOMMU_PRI_RESP_SUCCESS:
        qemu_bh_schedule(s->bh);
        break;
    case IOMMU_PRI_RESP_INVALID_REQUEST:
        ats_testdev_end(s, true);
        break;
    case IOMMU_PRI_RESP_FAILURE:
        pcie_pri_response_failure(dev);
        ats_testdev_end(s, true);
        break;
    }
}

static void ats_testdev_pri_notify(IOMMUPRINotifier *n,
                                   IOMMUPRIResponse *response)
{
    ATSTestDev *s = container_of(n, ATSTestDev, pri_notifier);

    if (s->waiting && response->prgi == ATS_TESTDEV_PRGI &&
        response->pasid == PCI_NO_PASID) {
        ats_testdev_answered(s, response);
    } else {
        pcie_pri_unexpected_prgi(PCI_DEVICE(s));
    }
}

static void ats_testdev_register(ATSTestDev *s)
{
    if (!s->pri_registered) {
        s->pri_notifier.notify = ats_testdev_pri_notify;
        s->pri_registered = !pci_pri_register_notifier(PCI_DEVICE(s),
                                                       PCI_NO_PASID,
                                                       &s->pri_notifier);
    }
}

/* Ask for the page at @addr */
static void ats_testdev_request(ATSTestDev *s, hwaddr addr)
{
    PCIDevice *dev = PCI_DEVICE(s);

    if (s->requests++ >= ATS_TESTDEV_REQUESTS || !pcie_pri_get_credits(dev)) {
        ats_testdev_end(s, true);
        return;
    }
    ats_testdev_register(s);
    s->waiting = true;
    pcie_pri_request_sent(dev);
    /* The response may come before this returns */
    if (pci_pri_request_page(dev, PCI_NO_PASID, false, false, addr, true,
                             ATS_TESTDEV_PRGI, true,
                             !(s->cmd & ATS_TESTDEV_TO_DEVICE))) {
        pcie_pri_request_done(dev, 1);
        ats_testdev_end(s, true);
    }
}

/*
 * Where an access to @addr goes.  Returns: false if there is no access, which
 * has been asked for or was given up.
 */
static bool ats_testdev_translate(ATSTestDev *s, hwaddr *addr, uint32_t length,
                                  MemTxAttrs *attrs)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint32_t errors = 0;
    IOMMUTLBEntry entry;

    if (!pcie_ats_enabled(dev)) {
        return true;
    }
    if (pci_ats_request_translation(dev, PCI_NO_PASID, false, false, *addr,
                                    length, s->cmd & ATS_TESTDEV_TO_DEVICE,
                                    &entry, 1, NULL) != 1) {
        errors = 1;
        ats_testdev_end(s, true);
    } else if (!(entry.perm & (s->cmd & ATS_TESTDEV_TO_DEVICE ? IOMMU_RO :
                                                                IOMMU_WO))) {
        errors = 1;
        ats_testdev_request(s, *addr);
    } else if (!(entry.perm & IOMMU_UNTRANSLATED_ONLY)) {
        *addr = (entry.translated_addr & ~entry.addr_mask) |
                (*addr & entry.addr_mask);
        attrs->address_type = PCI_AT_TRANSLATED;
    }
    return !errors;
}

static void ats_testdev_step(ATSTestDev *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    MemTxAttrs attrs = { .requester_id = pci_requester_id(dev) };
    hwaddr addr = s->addr + s->done;
    uint32_t length = MIN(ATS_TESTDEV_SIZE - s->done,
                          ATS_TESTDEV_SIZE - addr % ATS_TESTDEV_SIZE);

    if (!ats_testdev_translate(s, &addr, length, &attrs)) {
        return;
    }
    if (address_space_rw(pci_get_address_space(dev), addr, attrs,
                         s->buf + s->done, length,
                         !(s->cmd & ATS_TESTDEV_TO_DEVICE))) {
        ats_testdev_end(s, true);
        return;
    }
    s->requests = 0;
    s->done += length;
    if (s->done == ATS_TESTDEV_SIZE) {
        ats_testdev_end(s, false);
    }
}

static void ats_testdev_bh(void *opaque)
{
    ATSTestDev *s = opaque;

    while ((s->cmd & ATS_TESTDEV_RUN) && !s->waiting) {
        ats_testdev_step(s);
    }
}

static uint64_t ats_testdev_read(void *opaque, hwaddr addr, unsigned size)
{
    ATSTestDev *s = opaque;

    switch (addr) {
    case ATS_TESTDEV_ADDR:
        return (uint32_t)s->addr;
    case ATS_TESTDEV_ADDR + 4:
        return s->addr >> 32;
    case ATS_TESTDEV_CMD:
        return s->cmd;
    default:
        return 0;
    }
}

static void ats_testdev_write(void *opaque, hwaddr addr, uint64_t val,
                              unsigned size)
{
    ATSTestDev *s = opaque;

    if (s->cmd & ATS_TESTDEV_RUN) {
        return;
    }
    switch (addr) {
    case ATS_TESTDEV_ADDR:
        s->addr = deposit64(s->addr, 0, 32, val);
        break;
    case ATS_TESTDEV_ADDR + 4:
        s->addr = deposit64(s->addr, 32, 32, val);
        break;
    case ATS_TESTDEV_CMD:
        s->cmd = val & (ATS_TESTDEV_RUN | ATS_TESTDEV_TO_DEVICE);
        s->done = 0;
        s->requests = 0;
        qemu_bh_schedule(s->bh);
        break;
    }
}

static const MemoryRegionOps ats_testdev_ops = {
    .read = ats_testdev_read,
    .write = ats_testdev_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 4,
    },
};

/* The response to what is open will be an unexpected one */
static void ats_testdev_forget(PCIDevice *dev)
{
    ATSTestDev *s = PCIE_ATS_TESTDEV(dev);

    if (s->waiting) {
        ats_testdev_end(s, true);
    }
}

static void ats_testdev_unregister(ATSTestDev *s)
{
    if (s->pri_registered) {
        pci_pri_unregister_notifier(PCI_DEVICE(s), PCI_NO_PASID);
        s->pri_registered = false;
    }
}

static void ats_testdev_reset(DeviceState *qdev)
{
    ATSTestDev *s = PCIE_ATS_TESTDEV(qdev);

    ats_testdev_unregister(s);
    s->addr = 0;
    s->cmd = 0;
    s->done = 0;
    s->requests = 0;
    s->waiting = false;
    memset(s->buf, 0, sizeof(s->buf));
    pcie_ats_pasid_pri_reset(PCI_DEVICE(s));
}

static void ats_testdev_config_write(PCIDevice *dev, uint32_t addr,
                                     uint32_t val, int len)
{
    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
}

static void ats_testdev_realize(PCIDevice *dev, Error **errp)
{
    ATSTestDev *s = PCIE_ATS_TESTDEV(dev);
    uint16_t offset = PCI_CONFIG_SPACE_SIZE;

    if (pcie_endpoint_cap_init(dev, 0) < 0) {
        error_setg(errp, "failed to add the PCI Express capability");
        return;
    }
    pcie_cap_flr_init(dev);
    pcie_ats_init(dev, offset, true);
    offset += PCI_EXT_CAP_ATS_SIZEOF;
    /*
     * Systems that want to see PASID before they use page requests exist, and
     * those that use no device which has PASID and does not want it in its
     * responses.
     */
    pcie_pri_init(dev, offset, 1, true);
    pcie_pri_set_forget_handler(dev, ats_testdev_forget);
    offset += PCI_EXT_CAP_PRI_SIZEOF;
    pcie_pasid_init(dev, offset, 1, false, false);

    memory_region_init_io(&s->mmio, OBJECT(s), &ats_testdev_ops, s,
                          TYPE_PCIE_ATS_TESTDEV, ATS_TESTDEV_SIZE);
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &s->mmio);
    s->bh = qemu_bh_new_guarded(ats_testdev_bh, s,
                                &DEVICE(s)->mem_reentrancy_guard);
}

static void ats_testdev_exit(PCIDevice *dev)
{
    ATSTestDev *s = PCIE_ATS_TESTDEV(dev);

    ats_testdev_unregister(s);
    qemu_bh_delete(s->bh);
    pcie_cap_exit(dev);
}

static int ats_testdev_post_load(void *opaque, int version_id)
{
    ATSTestDev *s = opaque;

    if (s->done >= ATS_TESTDEV_SIZE && (s->cmd & ATS_TESTDEV_RUN)) {
        return -EINVAL;
    }
    if (s->waiting) {
        ats_testdev_register(s);
    }
    qemu_bh_schedule(s->bh);
    return 0;
}

static const VMStateDescription ats_testdev_vmstate = {
    .name = TYPE_PCIE_ATS_TESTDEV,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = ats_testdev_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, ATSTestDev),
        VMSTATE_UINT64(addr, ATSTestDev),
        VMSTATE_UINT32(cmd, ATSTestDev),
        VMSTATE_UINT32(done, ATSTestDev),
        VMSTATE_UINT32(requests, ATSTestDev),
        VMSTATE_BOOL(waiting, ATSTestDev),
        VMSTATE_BUFFER(buf, ATSTestDev),
        VMSTATE_END_OF_LIST()
    }
};

static void ats_testdev_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = ats_testdev_realize;
    k->exit = ats_testdev_exit;
    k->config_write = ats_testdev_config_write;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = ATS_TESTDEV_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "Small endpoint with ATS and PRI, for tests";
    dc->vmsd = &ats_testdev_vmstate;
    device_class_set_legacy_reset(dc, ats_testdev_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo ats_testdev_info = {
    .name = TYPE_PCIE_ATS_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(ATSTestDev),
    .class_init = ats_testdev_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { },
    },
};

static void ats_testdev_register_types(void)
{
    type_register_static(&ats_testdev_info);
}

type_init(ats_testdev_register_types)

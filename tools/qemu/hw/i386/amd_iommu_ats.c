/*
 * AMD IOMMU (AMD-Vi): translation requests and invalidation of device caches
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device has been told stays with it until INVALIDATE_IOTLB_PAGES says
 * otherwise: no other command reaches it.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"
#include "trace.h"

#define AMDVI_HOST_ADDR_BITS 64

void amdvi_get_iotlb_info(void *opaque, uint8_t *addr_width,
                          uint32_t *min_page_size)
{
    /* Tables of six levels */
    *addr_width = AMDVI_HOST_ADDR_BITS;
    *min_page_size = AMDVI_PAGE_SIZE;
}

/*
 * Interrupts are no memory for requests without PASID: nothing is granted
 * there, and of a larger page the largest part that stays clear of them.
 */
static void amdvi_clip_interrupts(IOMMUTLBEntry *entry, hwaddr addr)
{
    hwaddr mask = entry->addr_mask;

    if (addr >= AMDVI_INT_ADDR_FIRST && addr <= AMDVI_INT_ADDR_LAST) {
        mask = AMDVI_PAGE_LOW;
        entry->perm = IOMMU_NONE;
    }
    /* A hole may cover it as well */
    while (entry->perm && mask > AMDVI_PAGE_LOW &&
           (addr & ~mask) <= AMDVI_INT_ADDR_LAST &&
           (addr | mask) >= AMDVI_INT_ADDR_FIRST) {
        mask >>= 1;
    }
    entry->translated_addr += (addr & ~mask) - entry->iova;
    entry->iova = addr & ~mask;
    entry->addr_mask = mask;
}

/* See PCIATSTranslateFn */
static int amdvi_ats_translate(void *opaque, hwaddr addr, IOMMUTLBEntry *entry)
{
    const AMDVIRequest *req = opaque;

    entry->target_as = &address_space_memory;
    entry->pasid = req->pasid;
    /* Nobody to answer: the bridge does not support the request */
    if (!req->s->enabled) {
        return -EACCES;
    }
    switch (amdvi_translate_request(req, addr, entry)) {
    case AMDVI_TR_OK:
        break;
    case AMDVI_TR_REFUSED:
        return -EACCES;
    case AMDVI_TR_ABORTED:
        return -EIO;
    }
    if (req->pasid == PCI_NO_PASID) {
        amdvi_clip_interrupts(entry, addr);
    }
    entry->perm &= req->want | IOMMU_UNTRANSLATED_ONLY;
    if (!(entry->perm & IOMMU_RO)) {
        entry->perm &= ~IOMMU_EXEC;
    }
    if (!(entry->perm & IOMMU_RW)) {
        entry->perm = IOMMU_NONE;
    } else {
        entry->perm |= req->want & IOMMU_PRIV;
    }
    return 0;
}

ssize_t amdvi_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t pasid, bool priv_req,
                                      bool exec_req, hwaddr addr,
                                      size_t length, bool no_write,
                                      IOMMUTLBEntry *result,
                                      size_t result_length,
                                      uint32_t *err_count)
{
    AMDVIRequest req = {
        .s = opaque,
        .devid = PCI_BUILD_BDF(pci_bus_num(bus), devfn),
        .pasid = pasid,
        .kind = AMDVI_REQ_TRANSLATION,
        .want = IOMMU_ACCESS_FLAG_FULL(true, !no_write, exec_req, priv_req,
                                       false, false),
    };
    ssize_t ret;

    g_assert(bql_locked());

    ret = pci_ats_translate_range(amdvi_ats_translate, &req,
                                  req.want & ~IOMMU_PRIV,
                                  pci_ats_get_stu(bus, devfn), addr, length,
                                  result, result_length, err_count);
    trace_amdvi_ats_request(req.devid, pasid, addr, length, ret);
    return ret;
}

AMDVIAddressSpace *amdvi_as_of_devid(AMDVIState *s, uint16_t devid)
{
    AMDVIAddressSpace *as;

    QLIST_FOREACH(as, &s->address_spaces, next) {
        if (amdvi_as_devid(as) == devid && as->bus->devices[as->devfn]) {
            return as;
        }
    }
    return NULL;
}

static void amdvi_inval_timeout(AMDVIState *s, uint16_t devid, hwaddr cmd_addr)
{
    trace_amdvi_inval_timeout(devid, cmd_addr);
    amdvi_event(s, AMDVI_EVENT(AMDVI_EVT_INV_TIMEOUT) | devid, cmd_addr);
}

int amdvi_send_inval_iotlb(AMDVIState *s, const uint64_t cmd[2])
{
    uint16_t devid = extract64(cmd[0], 0, 16);
    AMDVIAddressSpace *as = amdvi_as_of_devid(s, devid);
    uint32_t pasid = PCI_NO_PASID;
    hwaddr addr, mask;

    if (cmd[1] & AMDVI_CMD_GN) {
        pasid = extract64(cmd[0], 48, 8) | extract64(cmd[0], 16, 8) << 8 |
                extract64(cmd[0], 56, 4) << 16;
    }
    addr = pci_ats_decode_range(cmd[1] & AMDVI_CMD_ADDR,
                                cmd[1] & AMDVI_CMD_S, &mask);
    trace_amdvi_inval_iotlb_pages(devid, pasid, addr, mask);
    if (!as) {
        /* The request comes back as not supported, which ends it as well */
        return PCI_ATS_INV_DONE;
    }
    /* MaxPend */
    pcie_ats_check_pending(as->bus->devices[as->devfn],
                           extract64(cmd[0], 24, 8));
    return pci_ats_invalidate(as->bus, as->devfn, pasid, false, addr, mask);
}

AMDVICmdResult amdvi_cmd_inval_iotlb(AMDVIState *s, const uint64_t cmd[2],
                                     hwaddr cmd_addr)
{
    switch (amdvi_send_inval_iotlb(s, cmd)) {
    case PCI_ATS_INV_DONE:
        break;
    case PCI_ATS_INV_FAILED:
        if (amdvi_control(s, AMDVI_CONTROL_INV_TIMEOUT)) {
            amdvi_inval_timeout(s, extract64(cmd[0], 0, 16), cmd_addr);
            break;
        }
        /* Fall through: waits for ever */
    case PCI_ATS_INV_HELD:
        s->inv_held++;
        break;
    }
    return AMDVI_CMD_DONE;
}

/* Nothing waits for completions any more, nor will it for those of by now */
void amdvi_forget_held(AMDVIState *s)
{
    AMDVIAddressSpace *as;

    s->inv_held = 0;
    QLIST_FOREACH(as, &s->address_spaces, next) {
        pci_ats_forget_held(as->bus, as->devfn);
    }
    if (s->viommu_ops) {
        s->viommu_ops->held_forgotten(s);
    }
}

void amdvi_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                                 uint32_t n, bool completed)
{
    AMDVIState *s = opaque;

    if (!completed && !amdvi_control(s, AMDVI_CONTROL_INV_TIMEOUT)) {
        return;
    }
    if (s->viommu_ops) {
        n = s->viommu_ops->invalidation_over(
            s, PCI_BUILD_BDF(pci_bus_num(bus), devfn), n, completed);
    }
    /* Nobody waits for those of before the commands were switched off */
    n = MIN(n, s->inv_held);
    if (!completed) {
        /* Where the command was is not known any more */
        if (n) {
            amdvi_inval_timeout(s, PCI_BUILD_BDF(pci_bus_num(bus), devfn),
                                amdvi_ring_addr(s, AMDVI_MMIO_COMMAND_BASE));
        }
    }
    s->inv_held -= n;
    amdvi_run_commands(s);
}

const PCIIOMMUOps amdvi_ats_ops = {
    .get_address_space = amdvi_host_dma_iommu,
    .get_iotlb_info = amdvi_get_iotlb_info,
    .ats_request_translation = amdvi_ats_request_translation,
    .ats_invalidation_over = amdvi_ats_invalidation_over,
};

/*
 * Intel IOMMU (VT-d): translation requests and device TLB invalidation
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Section numbers are those of the VT-d specification 4.1.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "intel_iommu_ats.h"
#include "intel_iommu_translate.h"
#include "trace.h"

void vtd_get_iotlb_info(void *opaque, uint8_t *addr_width,
                        uint32_t *min_page_size)
{
    IntelIOMMUState *s = opaque;

    *addr_width = s->cap & VTD_CAP_FL5LP ? VTD_FS5LP_ADDR_WIDTH : s->aw_bits;
    *min_page_size = VTD_PAGE_SIZE;
}

typedef struct VTDATSRequest {
    VTDRequester who;
    IOMMUAccessFlags want;
} VTDATSRequest;

/* While remapping is off every address stands for itself */
static void vtd_ats_identity(VTDATSRequest *req, hwaddr addr,
                             IOMMUTLBEntry *entry)
{
    bool is_memory = addr < VTD_INTERRUPT_ADDR_FIRST ||
                     addr > VTD_INTERRUPT_ADDR_LAST;

    entry->target_as = &address_space_memory;
    entry->iova = addr & VTD_PAGE_MASK_4K;
    entry->translated_addr = entry->iova;
    entry->addr_mask = ~VTD_PAGE_MASK_4K;
    entry->perm = is_memory ? req->want & IOMMU_RW : IOMMU_NONE;
    entry->pasid = req->who.pasid;
}

static int vtd_ats_translate(void *opaque, hwaddr addr, IOMMUTLBEntry *entry)
{
    VTDATSRequest *req = opaque;
    IntelIOMMUState *s = req->who.as->iommu_state;

    if (!s->dmar_enabled) {
        if (req->who.pasid != PCI_NO_PASID &&
            req->who.pasid >> s->pasid_bits) {
            return -EACCES;
        }
        vtd_ats_identity(req, addr, entry);
        return 0;
    }
    switch (-vtd_translate(&req->who, addr, req->want, true, entry)) {
    case 0:
        return 0;
    case VTD_FR_ROOT_TABLE_INV:
    case VTD_FR_CONTEXT_TABLE_INV:
    case VTD_FR_PASID_DIR_ACCESS_ERR:
    case VTD_FR_PASID_TABLE_ACCESS_ERR:
        return -EIO;
    default:
        return -EACCES;
    }
}

ssize_t vtd_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                    uint32_t pasid, bool priv_req,
                                    bool exec_req, hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length, uint32_t *err_count)
{
    IntelIOMMUState *s = opaque;
    VTDATSRequest req;

    g_assert(bql_locked());

    if (!(s->ecap & VTD_ECAP_DT)) {
        return -ENODEV;
    }
    if (!(s->ecap & VTD_ECAP_NWFS)) {
        no_write = false;
    }
    req.want = IOMMU_ACCESS_FLAG_FULL(true, !no_write, exec_req, priv_req,
                                      false, false);
    req.who.as = vtd_find_add_as(s, bus, devfn, PCI_NO_PASID);
    req.who.pasid = pasid;
    return pci_ats_translate_range(vtd_ats_translate, &req,
                                   req.want & ~IOMMU_PRIV,
                                   pci_ats_get_stu(bus, devfn), addr, length,
                                   result, result_length, err_count);
}

bool vtd_translated_request(VTDAddressSpace *as, hwaddr addr,
                            IOMMUAccessFlags want, IOMMUTLBEntry *entry)
{
    VTDRequester who = { .as = as, .pasid = PCI_NO_PASID };
    IntelIOMMUState *s = as->iommu_state;
    VTDTables t;
    int ret;

    qemu_mutex_lock(&s->iommu_lock);
    ret = vtd_lookup_tables(&who, VTD_REQ_TRANSLATED, &t);
    if (ret) {
        vtd_report_request_fault(&who, VTD_REQ_TRANSLATED, want, addr, -ret,
                                 t.fpd);
    }
    qemu_mutex_unlock(&s->iommu_lock);

    entry->iova = addr & VTD_PAGE_MASK_4K;
    entry->translated_addr = entry->iova;
    entry->addr_mask = ~VTD_PAGE_MASK_4K;
    entry->perm = ret ? IOMMU_NONE : IOMMU_RW;
    return !ret;
}

void vtd_check_pending(IntelIOMMUState *s, uint16_t sid, unsigned int mip)
{
    VTDAddressSpace *as = vtd_get_as_by_sid_and_pasid(s, sid, PCI_NO_PASID);

    if (as) {
        pcie_ats_check_pending(as->bus->devices[as->devfn], mip ? mip : 32);
    }
}

void vtd_invalidate_device_tlb(IntelIOMMUState *s, uint16_t sid,
                               uint32_t pasid, bool all_pasids, bool size,
                               hwaddr addr)
{
    VTDAddressSpace *as = vtd_get_as_by_sid_and_pasid(s, sid, PCI_NO_PASID);
    IOMMUTLBEvent event = {
        .type = IOMMU_NOTIFIER_DEVIOTLB_UNMAP,
        .entry = {
            .perm = IOMMU_NONE,
            .pasid = PCI_NO_PASID,
        },
    };

    trace_vtd_inv_device_tlb(sid, pasid, all_pasids, size, addr);
    if (!as) {
        return;
    }
    event.entry.iova = pci_ats_decode_range(addr, size, &event.entry.addr_mask);
    switch (pci_ats_invalidate(as->bus, as->devfn, pasid, all_pasids,
                               event.entry.iova, event.entry.addr_mask)) {
    case PCI_ATS_INV_DONE:
        break;
    case PCI_ATS_INV_HELD:
        s->inv_held++;
        break;
    case PCI_ATS_INV_FAILED:
        vtd_inv_timeout(s, sid);
        break;
    }
    /* Vhost knows nothing of PASIDs, and registers with the memory API */
    if (pasid == PCI_NO_PASID) {
        event.entry.target_as = &as->as;
        memory_region_notify_iommu(&as->iommu, VTD_IDX_UNTRANSLATED, event);
    }
}

void vtd_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                               uint32_t n, bool completed)
{
    IntelIOMMUState *s = opaque;

    s->inv_held -= MIN(n, s->inv_held);
    if (!completed) {
        vtd_inv_timeout(s, PCI_BUILD_BDF(pci_bus_num(bus), devfn));
    }
    vtd_fetch_inv_desc(s);
}

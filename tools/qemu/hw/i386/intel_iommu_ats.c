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
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
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

void vtd_init_iotlb_notifier(PCIBus *bus, void *opaque, int devfn,
                             IOMMUNotifier *n, IOMMUNotify fn,
                             void *user_opaque)
{
    iommu_notifier_init(n, fn, IOMMU_NOTIFIER_DEVIOTLB_EVENTS, 0, HWADDR_MAX,
                        VTD_IDX_UNTRANSLATED);
    n->opaque = user_opaque;
}

bool vtd_pasid_is_supported(IntelIOMMUState *s, uint32_t pasid)
{
    return pasid == PCI_NO_PASID ||
           (s->pasid && pasid < (1U << VTD_PASID_BITS));
}

int vtd_register_iotlb_notifier(PCIBus *bus, void *opaque, int devfn,
                                uint32_t pasid, IOMMUNotifier *n)
{
    IntelIOMMUState *s = opaque;
    VTDAddressSpace *as;
    Error *err = NULL;
    int ret;

    if (!vtd_pasid_is_supported(s, pasid)) {
        /* Requests with it will fail, so there is nothing to invalidate */
        return 0;
    }
    as = vtd_find_add_as(s, bus, devfn, pasid);
    ret = memory_region_register_iommu_notifier(MEMORY_REGION(&as->iommu), n,
                                                &err);
    if (ret) {
        /* The caller knows what to tell the guest, which is why we are here */
        error_free(err);
    }
    return ret;
}

void vtd_unregister_iotlb_notifier(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid, IOMMUNotifier *n)
{
    IntelIOMMUState *s = opaque;
    VTDAddressSpace *as;

    if (vtd_pasid_is_supported(s, pasid)) {
        as = vtd_find_add_as(s, bus, devfn, pasid);
        memory_region_unregister_iommu_notifier(MEMORY_REGION(&as->iommu), n);
    }
}

void vtd_report_unsupported_pasid(IntelIOMMUState *s, PCIBus *bus, int devfn,
                                  uint32_t pasid, VTDRequestKind kind,
                                  IOMMUAccessFlags want, hwaddr addr)
{
    /* Only to name the requester: there is no address space for that PASID */
    g_autofree VTDAddressSpace *as = g_new0(VTDAddressSpace, 1);
    VTDTables t;
    int ret;

    if (!s->dmar_enabled) {
        return;
    }
    as->bus = bus;
    as->devfn = devfn;
    as->pasid = pasid;
    as->iommu_state = s;
    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = vtd_lookup_tables(as, kind, &t);
    if (!ret || -ret >= VTD_FR_PASID_DIR_ACCESS_ERR) {
        /* The context entry lets it pass, and there the tables end */
        ret = -VTD_FR_SM_PASID_LIMIT;
    }
    vtd_report_request_fault(as, kind, want, addr, -ret, t.fpd);
}

typedef struct VTDATSRequest {
    VTDAddressSpace *as;
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
    entry->pasid = req->as->pasid;
}

static int vtd_ats_translate(void *opaque, hwaddr addr, IOMMUTLBEntry *entry)
{
    VTDATSRequest *req = opaque;

    if (!req->as->iommu_state->dmar_enabled) {
        vtd_ats_identity(req, addr, entry);
        return 0;
    }
    switch (-vtd_translate(req->as, addr, req->want, true, entry)) {
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
    if (!vtd_pasid_is_supported(s, pasid)) {
        vtd_report_unsupported_pasid(s, bus, devfn, pasid, VTD_REQ_TRANSLATION,
                                     req.want, addr);
        return -EACCES;
    }
    req.as = vtd_find_add_as(s, bus, devfn, pasid);
    return pci_ats_translate_range(vtd_ats_translate, &req,
                                   req.want & ~IOMMU_PRIV, addr, length,
                                   result, result_length, err_count);
}

bool vtd_translated_request(VTDAddressSpace *as, hwaddr addr,
                            IOMMUAccessFlags want, IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = as->iommu_state;
    VTDTables t;
    int ret;

    qemu_mutex_lock(&s->iommu_lock);
    ret = vtd_lookup_tables(as, VTD_REQ_TRANSLATED, &t);
    if (ret) {
        vtd_report_request_fault(as, VTD_REQ_TRANSLATED, want, addr, -ret,
                                 t.fpd);
    }
    qemu_mutex_unlock(&s->iommu_lock);

    entry->iova = addr & VTD_PAGE_MASK_4K;
    entry->translated_addr = entry->iova;
    entry->addr_mask = ~VTD_PAGE_MASK_4K;
    entry->perm = ret ? IOMMU_NONE : IOMMU_RW;
    return !ret;
}

/* Tell the notifiers of one address space; decodes the range (6.5.2.5) */
static void vtd_invalidate_device_tlb_as(VTDAddressSpace *as, bool size,
                                         hwaddr addr)
{
    /* With S, each one from bit 12 up doubles 8 KiB; 52 of them are all */
    uint64_t mask = VTD_PAGE_SIZE - 1;
    IOMMUTLBEvent event = {
        .type = IOMMU_NOTIFIER_DEVIOTLB_UNMAP,
        .entry = {
            .target_as = &as->as,
            .perm = IOMMU_NONE,
            .pasid = as->pasid,
        },
    };

    if (size) {
        unsigned int ones = cto64(addr >> VTD_PAGE_SHIFT);

        mask = ones >= 51 ? UINT64_MAX :
                            MAKE_64BIT_MASK(0, VTD_PAGE_SHIFT + 1 + ones);
    }
    event.entry.iova = addr & ~mask;
    event.entry.addr_mask = mask;
    memory_region_notify_iommu(&as->iommu, VTD_IDX_UNTRANSLATED, event);
}

void vtd_invalidate_device_tlb(IntelIOMMUState *s, uint16_t sid,
                               uint32_t pasid, bool all_pasids, bool size,
                               hwaddr addr)
{
    VTDAddressSpace *as, *tmp;

    trace_vtd_inv_device_tlb(sid, pasid, all_pasids, size, addr);
    QLIST_FOREACH_SAFE(as, &s->vtd_as_with_notifiers, next, tmp) {
        if (PCI_BUILD_BDF(pci_bus_num(as->bus), as->devfn) != sid) {
            continue;
        }
        /*
         * An invalidation without PASID is about the function, so it is also
         * about all its PASIDs.  One for all PASIDs leaves alone what was
         * cached for requests without PASID.
         */
        if (pasid == PCI_NO_PASID || as->pasid == pasid ||
            (all_pasids && as->pasid != PCI_NO_PASID)) {
            vtd_invalidate_device_tlb_as(as, size, addr);
        }
    }
}

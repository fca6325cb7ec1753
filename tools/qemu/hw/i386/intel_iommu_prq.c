/*
 * Intel IOMMU (VT-d): page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The page request queue, its registers and its event, and the page group
 * response descriptor.  Section numbers are those of the VT-d specification
 * 4.1.  The BQL protects all of it.
 *
 * Devices call in synchronously, so every request that was made is in the
 * queue, or was answered, before anything else can happen.  That is all that
 * the drain flag of the wait descriptor asks for (7.10).
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/range.h"
#include "exec/address-spaces.h"
#include "system/dma.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_ats.h"
#include "intel_iommu_prq.h"
#include "intel_iommu_psc.h"
#include "trace.h"

/* Page request descriptor (7.4.1) */
#define VTD_PRD_SIZE            32
#define VTD_PRD_TYPE            0x1ULL
#define VTD_PRD_PP              (1ULL << 8)
#define VTD_PRD_RID(val)        ((uint64_t)(val) << 16)
#define VTD_PRD_PASID(val)      ((uint64_t)(val) << 32)
#define VTD_PRD_EXR             (1ULL << 52)
#define VTD_PRD_PMR             (1ULL << 53)
#define VTD_PRD_R               (1ULL << 0)
#define VTD_PRD_W               (1ULL << 1)
#define VTD_PRD_LPIG            (1ULL << 2)
#define VTD_PRD_PRGI(val)       ((uint64_t)(val) << 3)

/* Page group response descriptor (7.7.1) */
#define VTD_PGRP_RESP_PP(lo)    extract64(lo, 4, 1)
#define VTD_PGRP_RESP_RC(lo)    extract64(lo, 12, 4)
#define VTD_PGRP_RESP_RID(lo)   extract64(lo, 16, 16)
#define VTD_PGRP_RESP_PASID(lo) extract64(lo, 32, 20)
#define VTD_PGRP_RESP_PRGI(hi)  extract64(hi, 3, 9)
#define VTD_PGRP_RESP_RSVD_LO   0xfff00000000001e0ULL
/* Bit 2 was "last page in group" in older specifications: not looked at */
#define VTD_PGRP_RESP_RSVD_HI   0xfffffffffffff003ULL
#define VTD_RC_SUCCESS          0x0
#define VTD_RC_INVALID_REQUEST  0x1

void vtd_prq_init(IntelIOMMUState *s)
{
    if (!(s->ecap & VTD_ECAP_PRS)) {
        return;
    }
    vtd_define_quad(s, DMAR_PQH_REG, 0, VTD_PQ_OFFSET_MASK, 0);
    vtd_define_quad(s, DMAR_PQT_REG, 0, VTD_PQ_OFFSET_MASK, 0);
    vtd_define_quad(s, DMAR_PQA_REG, 0, VTD_PQA_ADDR_MASK | VTD_PQA_SIZE_MASK,
                    0);
    vtd_define_long(s, DMAR_PRS_REG, 0, 0, VTD_PRS_PPR | VTD_PRS_PRO);
    vtd_define_long(s, DMAR_PECTL_REG, VTD_PECTL_IM, VTD_PECTL_IM, 0);
    vtd_define_long(s, DMAR_PEDATA_REG, 0,
                    s->ecap & VTD_ECAP_EIM ? 0xffffffffUL : 0xffffUL, 0);
    vtd_define_long(s, DMAR_PEADDR_REG, 0, 0xfffffffcUL, 0);
    vtd_define_long(s, DMAR_PEUADDR_REG, 0,
                    s->ecap & VTD_ECAP_EIM ? 0xffffffffUL : 0, 0);
}

static void vtd_prq_send_event(IntelIOMMUState *s)
{
    vtd_generate_interrupt(s, DMAR_PEADDR_REG, DMAR_PEDATA_REG);
    vtd_set_clear_mask_long(s, DMAR_PECTL_REG, VTD_PECTL_IP, 0);
}

/* An event is raised for the first of the conditions only */
static void vtd_prq_set_status(IntelIOMMUState *s, uint32_t condition)
{
    uint32_t old = vtd_get_long_raw(s, DMAR_PRS_REG);

    vtd_set_clear_mask_long(s, DMAR_PRS_REG, 0, condition);
    if (old & (VTD_PRS_PPR | VTD_PRS_PRO)) {
        return;
    }
    vtd_set_clear_mask_long(s, DMAR_PECTL_REG, 0, VTD_PECTL_IP);
    if (!(vtd_get_long_raw(s, DMAR_PECTL_REG) & VTD_PECTL_IM)) {
        vtd_prq_send_event(s);
    }
}

void vtd_prq_handle_write(IntelIOMMUState *s, hwaddr addr, unsigned size)
{
    if (!(s->ecap & VTD_ECAP_PRS)) {
        return;
    }
    if (ranges_overlap(addr, size, DMAR_PRS_REG, 4)) {
        if (!(vtd_get_long_raw(s, DMAR_PRS_REG) &
              (VTD_PRS_PPR | VTD_PRS_PRO))) {
            vtd_set_clear_mask_long(s, DMAR_PECTL_REG, VTD_PECTL_IP, 0);
        }
    }
    if (ranges_overlap(addr, size, DMAR_PECTL_REG, 4)) {
        uint32_t pectl = vtd_get_long_raw(s, DMAR_PECTL_REG);

        if ((pectl & VTD_PECTL_IP) && !(pectl & VTD_PECTL_IM)) {
            vtd_prq_send_event(s);
        }
    }
}

/* What became of a request */
typedef enum VTDPRQResult {
    VTD_PRQ_QUEUED,
    VTD_PRQ_REFUSED,    /* by the tables, or there is no queue */
    VTD_PRQ_FULL,
    VTD_PRQ_FAILED,     /* the queue is not in memory */
} VTDPRQResult;

/* Whether the tables let the device send page requests; reports if not */
static bool vtd_prq_check_request(const VTDRequester *who,
                                  IOMMUAccessFlags want, hwaddr addr,
                                  bool stop_marker)
{
    IntelIOMMUState *s = who->as->iommu_state;
    VTDTables t;
    int ret;

    if (!s->dmar_enabled) {
        return false;
    }
    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = vtd_lookup_tables(who, VTD_REQ_PAGE, &t);
    if (stop_marker && -ret >= VTD_FR_PASID_DIR_ACCESS_ERR) {
        /* Comes after the PASID was taken down, and has no address */
        return true;
    }
    if (ret) {
        vtd_report_request_fault(who, VTD_REQ_PAGE, want, addr, -ret, t.fpd);
        return false;
    }
    /* The page may have been given more rights since it was cached (6.6) */
    vtd_drop_iotlb_page(s, t.sid, t.pasid, addr);
    vtd_psc_drop_addr(s, &(VTDPSCTag) { t.pasid, t.sid, t.did }, addr);
    vtd_psc_drop_addr(s, &(VTDPSCTag) { PCI_NO_PASID, t.sid, t.did }, addr);
    return true;
}

/* Append a descriptor (7.4) */
static VTDPRQResult vtd_prq_push(IntelIOMMUState *s, const uint64_t desc[4])
{
    uint64_t pqa = vtd_get_quad_raw(s, DMAR_PQA_REG);
    uint64_t size = VTD_PAGE_SIZE << (pqa & VTD_PQA_SIZE_MASK);
    uint64_t mask = (size - 1) & VTD_PQ_OFFSET_MASK;
    uint64_t head = vtd_get_quad_raw(s, DMAR_PQH_REG) & mask;
    uint64_t tail = vtd_get_quad_raw(s, DMAR_PQT_REG) & mask;
    uint64_t next = (tail + VTD_PRD_SIZE) & mask;

    if (!pqa) {
        /* There is no enable bit: not programmed means not in use */
        return VTD_PRQ_REFUSED;
    }
    if (vtd_get_long_raw(s, DMAR_PRS_REG) & VTD_PRS_PRO) {
        return VTD_PRQ_FULL;
    }
    if (next == head) {
        trace_vtd_prq_overflow(head, tail);
        vtd_prq_set_status(s, VTD_PRS_PRO);
        return VTD_PRQ_FULL;
    }
    if (dma_memory_write(&address_space_memory,
                         (pqa & VTD_PQA_ADDR_MASK) + tail, desc, VTD_PRD_SIZE,
                         MEMTXATTRS_UNSPECIFIED)) {
        return VTD_PRQ_FAILED;
    }
    vtd_set_quad_raw(s, DMAR_PQT_REG, next);
    vtd_prq_set_status(s, VTD_PRS_PPR);
    return VTD_PRQ_QUEUED;
}

/*
 * A group whose last request does not get to software is answered here, with
 * the PASID if that had one.  Of the other requests nothing remains.
 */
static void vtd_prq_answer(const VTDRequester *who, VTDPRQResult result,
                           uint16_t prgi)
{
    IOMMUPRIResponse resp = {
        .prgi = prgi,
        .pasid = who->pasid,
        .automatic = true,
    };

    switch (result) {
    case VTD_PRQ_QUEUED:
        return;
    case VTD_PRQ_FULL:
        /* The device translates again, and comes back */
        resp.response_code = IOMMU_PRI_RESP_SUCCESS;
        break;
    case VTD_PRQ_REFUSED:
        resp.response_code = IOMMU_PRI_RESP_INVALID_REQUEST;
        break;
    case VTD_PRQ_FAILED:
        resp.response_code = IOMMU_PRI_RESP_FAILURE;
        break;
    }
    pci_pri_respond(who->as->bus, who->as->devfn, &resp);
}

int vtd_pri_request_page(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                         bool priv_req, bool exec_req, hwaddr addr, bool lpig,
                         uint16_t prgi, bool is_read, bool is_write)
{
    IntelIOMMUState *s = opaque;
    bool has_pasid = pasid != PCI_NO_PASID;
    bool stop_marker = has_pasid && lpig && !is_read && !is_write;
    IOMMUAccessFlags want = IOMMU_ACCESS_FLAG_FULL(is_read, is_write, exec_req,
                                                   priv_req, false, false);
    VTDRequester who = { .pasid = pasid };
    VTDPRQResult result = VTD_PRQ_REFUSED;
    uint64_t desc[4] = {};
    uint16_t rid;

    g_assert(bql_locked());

    if (!(s->ecap & VTD_ECAP_PRS)) {
        return -ENODEV;
    }
    who.as = vtd_find_add_as(s, bus, devfn, PCI_NO_PASID);
    rid = vtd_requester_sid(&who);
    desc[0] = VTD_PRD_TYPE | VTD_PRD_RID(rid) |
              (has_pasid ? VTD_PRD_PP | VTD_PRD_PASID(pasid) : 0) |
              (exec_req ? VTD_PRD_EXR : 0) | (priv_req ? VTD_PRD_PMR : 0);
    desc[1] = (is_read ? VTD_PRD_R : 0) | (is_write ? VTD_PRD_W : 0) |
              (lpig ? VTD_PRD_LPIG : 0) | VTD_PRD_PRGI(prgi) |
              (addr & VTD_PAGE_MASK_4K);
    trace_vtd_prq_request(rid, pasid, desc[0], desc[1]);
    desc[0] = cpu_to_le64(desc[0]);
    desc[1] = cpu_to_le64(desc[1]);

    if (vtd_prq_check_request(&who, want, addr, stop_marker)) {
        result = vtd_prq_push(s, desc);
    }
    if (lpig && !stop_marker) {
        vtd_prq_answer(&who, result, prgi);
    }
    return 0;
}

bool vtd_process_page_group_resp_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc)
{
    uint64_t mask[4] = {VTD_PGRP_RESP_RSVD_LO, VTD_PGRP_RESP_RSVD_HI,
                        VTD_INV_DESC_ALL_ONE, VTD_INV_DESC_ALL_ONE};
    IOMMUPRIResponse resp = { .pasid = PCI_NO_PASID };
    VTDAddressSpace *as;
    uint16_t rid;

    if (!vtd_inv_desc_reserved_check(s, inv_desc, mask, true, __func__,
                                     "page group response")) {
        return false;
    }
    rid = VTD_PGRP_RESP_RID(inv_desc->lo);
    if (VTD_PGRP_RESP_PP(inv_desc->lo)) {
        resp.pasid = VTD_PGRP_RESP_PASID(inv_desc->lo);
    }
    resp.prgi = VTD_PGRP_RESP_PRGI(inv_desc->hi);
    switch (VTD_PGRP_RESP_RC(inv_desc->lo)) {
    case VTD_RC_SUCCESS:
        resp.response_code = IOMMU_PRI_RESP_SUCCESS;
        break;
    case VTD_RC_INVALID_REQUEST:
        resp.response_code = IOMMU_PRI_RESP_INVALID_REQUEST;
        break;
    default:
        /* Devices take reserved codes for this one as well */
        resp.response_code = IOMMU_PRI_RESP_FAILURE;
        break;
    }

    trace_vtd_prq_response(rid, resp.pasid, resp.prgi, resp.response_code);
    as = vtd_get_as_by_sid_and_pasid(s, rid, PCI_NO_PASID);
    if (as) {
        pci_pri_respond(as->bus, as->devfn, &resp);
    }
    /* Nobody there: the response is lost on the bus, which is no error */
    return true;
}

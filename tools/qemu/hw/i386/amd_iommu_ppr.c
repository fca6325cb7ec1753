/*
 * AMD IOMMU (AMD-Vi): page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The log of page requests (PPR), what the IOMMU answers by itself, and
 * COMPLETE_PPR_REQUEST.
 *
 * A request that finds no room in the log is lost, and so is the answer to its
 * group, unless software has the IOMMU answer automatically.  A request that
 * the device table does not allow goes to the event log.  With EPHEn software
 * answers it from there, else the IOMMU has answered it.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"
#include "trace.h"

typedef struct AMDVIPageRequest {
    AMDVIRequest req;
    PCIBus *bus;
    int devfn;
    hwaddr addr;
    uint16_t prgi;
    bool last;
    bool stop_marker;
} AMDVIPageRequest;

/* Returns: false for a reserved one */
static bool amdvi_response_code(unsigned code, IOMMUPRIResponseCode *response)
{
    switch (code) {
    case AMDVI_PPR_SUCCESS:
        *response = IOMMU_PRI_RESP_SUCCESS;
        return true;
    case AMDVI_PPR_INVALID:
        *response = IOMMU_PRI_RESP_INVALID_REQUEST;
        return true;
    case AMDVI_PPR_FAILURE:
        *response = IOMMU_PRI_RESP_FAILURE;
        return true;
    default:
        return false;
    }
}

static bool amdvi_wants_answer(const AMDVIPageRequest *p)
{
    return p->last && !p->stop_marker;
}

static void amdvi_answer(const AMDVIPageRequest *p, IOMMUPRIResponseCode code,
                         uint32_t pasid)
{
    IOMMUPRIResponse resp = {
        .response_code = code,
        .prgi = p->prgi,
        .pasid = pasid,
        .automatic = true,
    };

    trace_amdvi_ppr_automatic(p->req.devid, pasid, p->prgi, code);
    pci_pri_respond(p->bus, p->devfn, &resp);
}

/*
 * Automatic responses, with what the register says.  They have a PASID if the
 * device table entry wants that of responses, and the register does not take
 * it away.
 */
static void amdvi_auto_respond(const AMDVIPageRequest *p, const AMDVIDTE *dte)
{
    uint64_t reg = amdvi_reg(p->req.s, AMDVI_MMIO_PPR_AUTO);
    IOMMUPRIResponseCode code;
    bool pasid = (dte->q[0] & AMDVI_DTE_GPRP) &&
                 !(reg & AMDVI_PPR_AUTO_MASK_GN);

    if (!amdvi_response_code(reg & AMDVI_PPR_AUTO_CODE, &code)) {
        code = IOMMU_PRI_RESP_FAILURE;
    }
    if (amdvi_wants_answer(p)) {
        amdvi_answer(p, code, pasid ? p->req.pasid : PCI_NO_PASID);
    }
}

static uint64_t amdvi_invalid_entry(const AMDVIPageRequest *p, bool software)
{
    uint64_t q0 = AMDVI_EVENT(AMDVI_EVT_INVALID_PPR) | p->req.devid |
                  AMDVI_PPR_TAG(p->prgi) | (p->last ? AMDVI_PPR_LAST : 0) |
                  (software ? 0 : AMDVI_EVF_PPR_RX);

    if (p->req.pasid != PCI_NO_PASID) {
        q0 |= AMDVI_EVF_PPR_GN | amdvi_ppr_pasid(p->req.pasid);
    }
    return q0;
}

/*
 * The guest gets it, or else the device an answer: a guest that takes none is
 * no matter for the log of the host.
 */
static void amdvi_request_of_guest(const AMDVIPageRequest *p,
                                   const AMDVIDTE *dte, uint64_t entry[2])
{
    entry[0] = amdvi_as_guest_knows(dte, entry[0]);
    if (p->req.s->viommu_ops->page_request(p->req.s, amdvi_dte_guest(dte),
                                           entry, p->stop_marker)) {
        return;
    }
    amdvi_event_of(p->req.s, dte, true, amdvi_invalid_entry(p, false),
                   entry[1]);
    if (amdvi_wants_answer(p)) {
        amdvi_answer(p, IOMMU_PRI_RESP_INVALID_REQUEST, p->req.pasid);
    }
}

static void amdvi_log_request(const AMDVIPageRequest *p, const AMDVIDTE *dte)
{
    AMDVIState *s = p->req.s;
    IOMMUAccessFlags want = p->req.want;
    bool gn = p->req.pasid != PCI_NO_PASID;
    uint64_t entry[2] = {
        AMDVI_PPR_TYPE | p->req.devid | AMDVI_PPR_TAG(p->prgi) |
        (p->last ? AMDVI_PPR_LAST : 0) |
        (gn ? AMDVI_PPR_GN | amdvi_ppr_pasid(p->req.pasid) : 0) |
        (want & IOMMU_RO ? AMDVI_PPR_READ : 0) |
        (want & IOMMU_WO ? AMDVI_PPR_WRITE : 0) |
        (want & IOMMU_EXEC ? AMDVI_PPR_EXEC : 0) |
        (want & IOMMU_PRIV ? 0 : AMDVI_PPR_USER),
        p->addr & ~AMDVI_PAGE_LOW,
    };
    bool always = amdvi_control(s, AMDVI_CONTROL_PPR_AUTO_ALWAYS);
    bool auto_respond = s->ppr_autoresp &&
                        amdvi_control(s, AMDVI_CONTROL_PPR_AUTO);
    uint64_t early = amdvi_reg(s, AMDVI_MMIO_PPR_EARLY);
    AMDVILogResult result;

    if (amdvi_of_guest(s, dte)) {
        amdvi_request_of_guest(p, dte, entry);
        return;
    }
    if (auto_respond && always) {
        amdvi_auto_respond(p, dte);
        return;
    }
    result = amdvi_log_append(s, &amdvi_ppr_log, entry);
    trace_amdvi_ppr_request(entry[0], entry[1], result);
    if (result == AMDVI_LOG_DONE) {
        if ((early & AMDVI_PPR_EARLY_ENABLE) &&
            amdvi_log_used(s, &amdvi_ppr_log) >=
            (early & AMDVI_PPR_EARLY_THRESHOLD)) {
            amdvi_change_status(s, 0, AMDVI_STATUS_PPR_EARLY);
        }
    } else if (auto_respond) {
        amdvi_auto_respond(p, dte);
    }
}

/* A request that the device should not have made */
static void amdvi_invalid_request(const AMDVIPageRequest *p)
{
    bool software = amdvi_control(p->req.s, AMDVI_CONTROL_EPH) &&
                    amdvi_wants_answer(p);

    amdvi_event(p->req.s, amdvi_invalid_entry(p, software),
                p->addr & ~AMDVI_PAGE_LOW);
    if (!software && amdvi_wants_answer(p)) {
        amdvi_answer(p, IOMMU_PRI_RESP_INVALID_REQUEST, p->req.pasid);
    }
}

static bool amdvi_may_request(const AMDVIPageRequest *p, const AMDVIDTE *dte)
{
    return dte && (dte->q[0] & AMDVI_DTE_V) && (dte->q[0] & AMDVI_DTE_PPR) &&
           amdvi_control(p->req.s, AMDVI_CONTROL_PPR) &&
           (p->req.pasid == PCI_NO_PASID || (dte->q[0] & AMDVI_DTE_GV));
}

static int amdvi_pri_request_page(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t pasid, bool priv_req,
                                  bool exec_req, hwaddr addr, bool lpig,
                                  uint16_t prgi, bool is_read, bool is_write)
{
    AMDVIState *s = opaque;
    AMDVIPageRequest p = {
        .req = {
            .s = s,
            .devid = PCI_BUILD_BDF(pci_bus_num(bus), devfn),
            .pasid = pasid,
            .kind = AMDVI_REQ_PAGE,
            .want = IOMMU_ACCESS_FLAG_FULL(is_read, is_write, exec_req,
                                           priv_req, false, false),
        },
        .bus = bus,
        .devfn = devfn,
        .addr = addr,
        .prgi = prgi,
        .last = lpig,
        .stop_marker = pasid != PCI_NO_PASID && lpig && !is_read && !is_write,
    };
    AMDVIDTE *dte;
    bool hw;

    g_assert(bql_locked());

    if (!s->enabled) {
        if (amdvi_wants_answer(&p)) {
            amdvi_answer(&p, IOMMU_PRI_RESP_FAILURE, pasid);
        }
        return 0;
    }
    if (p.stop_marker && s->ppr_block_stop &&
        amdvi_control(s, AMDVI_CONTROL_BLOCK_STOP)) {
        return 0;
    }
    dte = amdvi_find_dte(&p.req, addr, &hw);
    if (amdvi_may_request(&p, dte)) {
        amdvi_log_request(&p, dte);
    } else {
        amdvi_invalid_request(&p);
    }
    return 0;
}

AMDVICmdResult amdvi_cmd_complete_ppr(AMDVIState *s, const uint64_t cmd[2])
{
    IOMMUPRIResponse resp = {
        .prgi = extract64(cmd[1], 32, 9),
        .pasid = cmd[1] & AMDVI_CMD_GN ? extract64(cmd[0], 32, 20) :
                                         PCI_NO_PASID,
    };
    uint16_t devid = extract64(cmd[0], 0, 16);
    AMDVIAddressSpace *as;

    if (!amdvi_response_code(extract64(cmd[1], 44, 4), &resp.response_code)) {
        return AMDVI_CMD_ILLEGAL;
    }
    trace_amdvi_complete_ppr(devid, resp.pasid, resp.prgi,
                             extract64(cmd[1], 44, 4));
    /* Nobody there: the response is lost on the bus, which is no error */
    as = amdvi_as_of_devid(s, devid);
    if (as) {
        pci_pri_respond(as->bus, as->devfn, &resp);
    }
    return AMDVI_CMD_DONE;
}

const PCIIOMMUOps amdvi_ppr_ops = {
    .get_address_space = amdvi_host_dma_iommu,
    .get_iotlb_info = amdvi_get_iotlb_info,
    .ats_request_translation = amdvi_ats_request_translation,
    .ats_invalidation_over = amdvi_ats_invalidation_over,
    .pri_request_page = amdvi_pri_request_page,
};

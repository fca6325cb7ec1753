/*
 * AMD IOMMU (AMD-Vi): device table entries, and events about requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "amd_iommu_internal.h"
#include "trace.h"

/*
 * Events
 */

/* What requests have in common in events; GN depends on the event */
static uint64_t amdvi_request_flags(const AMDVIRequest *req)
{
    return (req->want & IOMMU_WO ? AMDVI_EVF_RW : 0) |
           (req->kind == AMDVI_REQ_TRANSLATION ? AMDVI_EVF_TR : 0) |
           (req->kind == AMDVI_REQ_INTERRUPT ? AMDVI_EVF_I : 0);
}

/* The device, and in the other half the domain or the PASID */
static uint64_t amdvi_event_who(const AMDVIRequest *req, const AMDVIDTE *dte,
                                bool guest)
{
    uint32_t pasid = amdvi_guest_pasid(req);
    uint64_t q0 = req->devid;

    if (guest) {
        return q0 | AMDVI_EVF_GN | extract64(pasid, 16, 4) << 16 |
               extract64(pasid, 0, 16) << 32;
    }
    return q0 | (dte ? (uint64_t)amdvi_dte_domain(dte) << 32 : 0);
}

bool amdvi_of_guest(AMDVIState *s, const AMDVIDTE *dte)
{
    return s->viommu_ops && s->viommu_ops->is_on(s) &&
           (dte->q[3] & AMDVI_DTE_VIMU);
}

/* Inference: only what the tables of the guest are about is for the guest */
void amdvi_event_of(AMDVIState *s, const AMDVIDTE *dte, bool guest,
                    uint64_t q0, uint64_t q1)
{
    if (!amdvi_of_guest(s, dte)) {
        amdvi_event(s, q0, q1);
    } else if (guest) {
        s->viommu_ops->event(s, amdvi_dte_guest(dte),
                             amdvi_as_guest_knows(dte, q0), q1);
    } else {
        amdvi_event(s, q0 | AMDVI_EVF_VNR, q1);
    }
}

void amdvi_event_page_fault(const AMDVIRequest *req, AMDVIDTE *dte, bool guest,
                            hwaddr addr, uint64_t flags)
{
    uint64_t q0 = AMDVI_EVENT(AMDVI_EVT_PAGE_FAULT) | flags |
                  amdvi_request_flags(req) | amdvi_event_who(req, dte, guest);

    if (guest) {
        q0 |= (req->want & IOMMU_EXEC ? AMDVI_EVF_NX : 0) |
              (req->want & IOMMU_PRIV ? 0 : AMDVI_EVF_US);
    }
    if ((dte->q[1] & AMDVI_DTE_SA) ||
        ((dte->q[1] & AMDVI_DTE_SE) && dte->fault_logged)) {
        return;
    }
    dte->fault_logged = true;
    amdvi_event_of(req->s, dte, guest, q0, addr);
}

void amdvi_event_table(const AMDVIRequest *req, const AMDVIDTE *dte,
                       bool guest, hwaddr addr)
{
    amdvi_event_of(req->s, dte, guest, AMDVI_EVENT(AMDVI_EVT_PAGE_HW) |
                   AMDVI_EVF_MASTER_ABORT | amdvi_request_flags(req) |
                   amdvi_event_who(req, dte, guest), addr);
}

void amdvi_event_device(const AMDVIRequest *req, hwaddr addr)
{
    amdvi_event(req->s, AMDVI_EVENT(AMDVI_EVT_INVALID_DEV) |
                AMDVI_EVF_PRETRANSLATED |
                (amdvi_request_flags(req) & (AMDVI_EVF_TR | AMDVI_EVF_RW)) |
                amdvi_event_who(req, NULL, req->pasid != PCI_NO_PASID), addr);
}

void amdvi_event_interrupt_range(const AMDVIRequest *req, hwaddr addr)
{
    amdvi_event(req->s, AMDVI_EVENT(AMDVI_EVT_INVALID_DEV) |
                (amdvi_request_flags(req) & AMDVI_EVF_RW) |
                amdvi_event_who(req, NULL, false), addr);
}

static void amdvi_event_dte(const AMDVIRequest *req, hwaddr addr,
                            uint64_t flags)
{
    amdvi_event(req->s, AMDVI_EVENT(AMDVI_EVT_ILLEGAL_DTE) | flags |
                amdvi_request_flags(req) |
                amdvi_event_who(req, NULL, req->pasid != PCI_NO_PASID), addr);
}

/*
 * Entries
 */

/* Bits that must be zero in an entry of this IOMMU */
static bool amdvi_dte_reserved(const AMDVIState *s, const uint64_t q[4])
{
    uint64_t r0 = MAKE_64BIT_MASK(2, 5) | (1ULL << 63);
    uint64_t r1 = AMDVI_DTE_SATS;
    uint64_t r2 = MAKE_64BIT_MASK(52, 2);
    uint64_t r3 = MAKE_64BIT_MASK(0, 15) | MAKE_64BIT_MASK(48, 6);

    if (!s->host_ad) {
        r0 |= AMDVI_DTE_HA | AMDVI_DTE_HD;
    }
    if (!s->ppr) {
        r0 |= AMDVI_DTE_PPR | AMDVI_DTE_GPRP;
    }
    if (!s->pasid_bits) {
        r0 |= AMDVI_DTE_GIOV | AMDVI_DTE_GV | MAKE_64BIT_MASK(56, 5);
        r1 |= MAKE_64BIT_MASK(16, 16) | MAKE_64BIT_MASK(43, 21);
        r2 |= MAKE_64BIT_MASK(54, 2);
    }
    if (!s->ats) {
        r1 |= AMDVI_DTE_I;
    }
    if (!s->viommu) {
        r3 |= AMDVI_DTE_GUEST(UINT16_MAX, UINT16_MAX);
    }
    if ((q[0] & AMDVI_DTE_V) && ((q[0] & r0) || (q[1] & r1))) {
        return true;
    }
    return ((q[0] & AMDVI_DTE_V) || (q[2] & AMDVI_DTE_IV)) &&
           ((q[2] & r2) || (q[3] & r3));
}

/* Values that this IOMMU does not know */
static bool amdvi_dte_illegal(const AMDVIState *s, const AMDVIDTE *dte)
{
    uint64_t both = AMDVI_DTE_V | AMDVI_DTE_TV;

    if ((dte->q[0] & both) != both) {
        return false;
    }
    if (amdvi_dte_mode(dte) == 7 ||
        (dte->q[0] & (AMDVI_DTE_HA | AMDVI_DTE_HD)) == AMDVI_DTE_HD) {
        return true;
    }
    if (!(dte->q[0] & AMDVI_DTE_GV)) {
        return dte->q[0] & AMDVI_DTE_GIOV;
    }
    return !amdvi_control(s, AMDVI_CONTROL_GT) ||
           extract64(dte->q[0], 56, 2) >= s->gcr3_levels ||
           extract64(dte->q[2], 54, 2) > s->guest_levels - 4;
}

/* Returns: whether it is there, with @hw for an entry that cannot be read */
static bool amdvi_load_dte(AMDVIState *s, uint16_t devid, AMDVIDTE *dte,
                           bool *hw)
{
    *hw = false;
    *dte = (AMDVIDTE) { };
    if (devid >= s->devtab_len) {
        return false;
    }
    *hw = !amdvi_read_memory(s->devtab + devid * AMDVI_DEVTAB_ENTRY_SIZE,
                             dte->q, 4);
    return !*hw;
}

AMDVIDTE *amdvi_find_dte(const AMDVIRequest *req, hwaddr addr, bool *hw)
{
    AMDVIState *s = req->s;
    AMDVIDTE *dte = amdvi_cache_dte(s, req->devid);
    AMDVIDTE loaded;

    *hw = false;
    if (!dte) {
        if (!amdvi_load_dte(s, req->devid, &loaded, hw)) {
            if (*hw) {
                amdvi_event(s, AMDVI_EVENT(AMDVI_EVT_DTE_HW) | req->devid |
                            AMDVI_EVF_MASTER_ABORT | amdvi_request_flags(req),
                            s->devtab + req->devid * AMDVI_DEVTAB_ENTRY_SIZE);
            } else {
                amdvi_event_dte(req, addr, 0);
            }
            return NULL;
        }
        dte = amdvi_cache_add_dte(s, req->devid, &loaded);
    }
    if (amdvi_dte_reserved(s, dte->q)) {
        trace_amdvi_invalid_dte(dte->q[0]);
        amdvi_event_dte(req, addr, AMDVI_EVF_RZ);
        return NULL;
    }
    if (amdvi_dte_illegal(s, dte)) {
        trace_amdvi_invalid_dte(dte->q[0]);
        amdvi_event_dte(req, addr, 0);
        return NULL;
    }
    return dte;
}

bool amdvi_cached_dte(AMDVIState *s, uint16_t devid, uint64_t entry[4])
{
    AMDVIRequest req = {
        .s = s,
        .devid = devid,
        .pasid = PCI_NO_PASID,
        .kind = AMDVI_REQ_INTERRUPT,
        .want = IOMMU_WO,
    };
    AMDVIDTE *dte;
    bool hw;

    dte = amdvi_find_dte(&req, AMDVI_INT_ADDR_FIRST, &hw);
    if (dte) {
        memcpy(entry, dte->q, sizeof(dte->q));
    }
    return dte;
}

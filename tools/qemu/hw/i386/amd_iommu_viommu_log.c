/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, logs of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As those of the host: one that overflows stops, until it is switched off and
 * on again.  One that cannot be written stops, too, so that a guest leaves no
 * more than one event in the log of the host for each time that the VMM starts
 * it.
 */

#include "qemu/osdep.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

static void amdvi_guest_append(AMDVIGuest *g, const AMDVIGuestRing *ring,
                               const uint64_t entry[2])
{
    uint32_t size = amdvi_guest_ring_size(g, ring), tail, next;
    uint64_t copy[2] = { entry[0], entry[1] };
    hwaddr addr;

    if (!(g->word[ring->control] & AMDVI_CNTL_ENABLE) || !size ||
        !(amdvi_guest_status(g) & ring->run)) {
        return;
    }
    tail = amdvi_guest_pointer(g, ring, ring->tail) & (size - 1);
    next = (tail + AMDVI_RING_ENTRY) & (size - 1);
    if (next == (amdvi_guest_pointer(g, ring, ring->head) & (size - 1))) {
        amdvi_guest_set_status(g, ring->run, ring->overflow);
    } else if (amdvi_guest_ring_access(g, ring, tail, copy, true, &addr)) {
        amdvi_guest_set_pointer(g, ring, ring->tail, next);
        amdvi_guest_set_status(g, 0, ring->interrupt);
    } else {
        amdvi_guest_set_status(g, ring->run, 0);
    }
    trace_amdvi_guest_log(g->gid, ring->flag, entry[0], entry[1],
                          amdvi_guest_status(g));
    amdvi_guest_save(g, ring->flag);
}

void amdvi_guest_event(AMDVIState *s, uint16_t gid, uint64_t q0, uint64_t q1)
{
    const uint64_t entry[2] = { q0, q1 };
    AMDVIGuest g;

    if (amdvi_guest_load(s, gid, AMDVI_EVF_VEVENT, &g)) {
        amdvi_guest_append(&g, &amdvi_guest_events, entry);
    }
}

bool amdvi_guest_page_request(AMDVIState *s, uint16_t gid,
                              const uint64_t entry[2], bool stop_marker)
{
    uint64_t control;
    AMDVIGuest g;

    if (!amdvi_guest_load(s, gid, AMDVI_EVF_VPPR, &g)) {
        return false;
    }
    control = g.word[AMDVI_WORD_PPR];
    if (!(control & AMDVI_CNTL_PPR_ENABLE)) {
        return false;
    }
    if (!stop_marker || !(control & AMDVI_CNTL_PPR_BLOCK_STOP)) {
        amdvi_guest_append(&g, &amdvi_guest_ppr, entry);
    }
    return true;
}

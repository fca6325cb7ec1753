/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, interrupts of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt table of the IOMMU's own device table entry leads to an entry
 * for the events of each guest and one for its page requests (driver).
 * Without such a table, or with an entry that is not of a guest, there are no
 * interrupts and guests have to poll.
 *
 * Inference: that of completion waits is the one of events.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

static uint64_t amdvi_ring_conditions(const uint64_t word[AMDVI_WORDS],
                                      const AMDVIGuestRing *ring)
{
    if (!(word[ring->control] & AMDVI_CNTL_INTERRUPT)) {
        return 0;
    }
    return extract64(word[AMDVI_WORD_STATUS], 32, 32) &
           (ring->interrupt | ring->overflow);
}

uint64_t amdvi_guest_conditions(const uint64_t word[AMDVI_WORDS])
{
    return amdvi_ring_conditions(word, &amdvi_guest_cmd) |
           amdvi_ring_conditions(word, &amdvi_guest_events) |
           amdvi_ring_conditions(word, &amdvi_guest_ppr);
}

/* Put it where the processor looks for interrupts of a guest */
static bool amdvi_post(hwaddr backing, uint8_t vector)
{
    hwaddr at = backing + AMDVI_BACKING_IRR + vector / 32 * 16;
    uint64_t irr;
    bool changed;

    do {
        if (!amdvi_read_memory(at, &irr, 1) ||
            !pci_iommu_update_entry(at, irr, irr | BIT(vector % 32),
                                    &changed)) {
            return false;
        }
    } while (changed);
    return true;
}

/* Returns: false if the tables are not in memory, which @at says then */
static bool amdvi_guest_send(AMDVIState *s, hwaddr table, uint32_t id,
                             hwaddr *at)
{
    uint64_t entry, irte[2];

    *at = table + extract32(id, 8, 10) * sizeof(entry);
    if (!amdvi_read_memory(*at, &entry, 1)) {
        return false;
    }
    if (!(entry & AMDVI_GIRQ_L1_V) ||
        (entry & AMDVI_GIRQ_L1_LEN) != AMDVI_GIRQ_L1_LEN_256) {
        return true;
    }
    *at = (entry & AMDVI_GIRQ_L1_ADDR) + extract32(id, 0, 8) * sizeof(irte);
    if (!amdvi_read_memory(*at, irte, 2)) {
        return false;
    }
    trace_amdvi_guest_irq(id, irte[0], irte[1]);
    if (!(irte[0] & AMDVI_IRTE_V) || !(irte[0] & AMDVI_IRTE_GUEST)) {
        return true;
    }
    *at = irte[1] & AMDVI_IRTE_BACKING;
    return amdvi_post(*at, AMDVI_IRTE_VECTOR(irte[1]));
}

static void amdvi_guest_irq(AMDVIState *s, uint16_t gid, unsigned type,
                            uint64_t flag)
{
    uint16_t own = PCI_BUILD_BDF(pci_dev_bus_num(&s->pci.dev),
                                 s->pci.dev.devfn);
    uint64_t dte[4];
    hwaddr at;

    if (!amdvi_cached_dte(s, own, dte) || !(dte[2] & AMDVI_DTE_IV) ||
        extract64(dte[2], 1, 4) != AMDVI_GIRQ_TABLE_LEN ||
        extract64(dte[2], 60, 2) != AMDVI_GIRQ_INT_CTL) {
        return;
    }
    if (!amdvi_guest_send(s, dte[2] & AMDVI_IR_PHYS_ADDR_MASK,
                          AMDVI_GIRQ_ID(type, gid), &at)) {
        amdvi_viommu_error(s, gid, flag, at);
    }
}

void amdvi_guest_send_irqs(AMDVIState *s, uint16_t gid, uint64_t conditions)
{
    uint64_t ppr = amdvi_guest_ppr.interrupt | amdvi_guest_ppr.overflow;

    if (conditions & ~ppr) {
        amdvi_guest_irq(s, gid, AMDVI_GIRQ_EVENT, AMDVI_EVF_VEVENT);
    }
    if (conditions & ppr) {
        amdvi_guest_irq(s, gid, AMDVI_GIRQ_PPR, AMDVI_EVF_VPPR);
    }
}

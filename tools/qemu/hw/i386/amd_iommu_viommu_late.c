/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, as strict as hardware may be
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With x-viommu-late=on software sees that it does not wait, or invalidate:
 *
 * The last store for a guest, be it of a completion wait or into a log, and the
 * last invalidation that it has sent to a device, are done late: when the next
 * one comes, when the page of registers of any guest is read, or when the host
 * waits for the completion of its own commands.  Where in memory, and in which
 * device, is found out at the beginning.
 *
 * That nothing is at a private address is cached as well, and a private address
 * that is not in the tables as it is in the cache is an error.  RESET_VMMIO
 * looks where the maps of the guest are.
 *
 * A reset of the IOMMU loses the registers of guests.
 *
 * Inference: all of it is what hardware may do.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

void amdvi_late_over(AMDVIState *s)
{
    /* What it does may come back here */
    AMDVILate late = s->vi->late;

    s->vi->late.kind = AMDVI_LATE_NONE;
    switch (late.kind) {
    case AMDVI_LATE_NONE:
        break;
    case AMDVI_LATE_STORE:
        amdvi_write_memory(late.addr, late.val, late.n);
        break;
    case AMDVI_LATE_INVAL:
        late.inval(s, late.gid, late.guest_devid, late.val, late.addr);
        break;
    }
}

bool amdvi_late_store(AMDVIState *s, hwaddr addr, const uint64_t *val,
                      unsigned n)
{
    AMDVILate *late = &s->vi->late;

    if (!s->viommu_late) {
        return amdvi_write_memory(addr, val, n);
    }
    amdvi_late_over(s);
    late->kind = AMDVI_LATE_STORE;
    late->addr = addr;
    late->n = n;
    memcpy(late->val, val, n * sizeof(*val));
    return true;
}

void amdvi_late_inval(AMDVIState *s, AMDVIGuestInval *inval, uint16_t gid,
                      uint16_t guest_devid, const uint64_t cmd[2], hwaddr addr)
{
    if (!s->viommu_late) {
        inval(s, gid, guest_devid, cmd, addr);
        return;
    }
    amdvi_late_over(s);
    s->vi->late = (AMDVILate) {
        .kind = AMDVI_LATE_INVAL,
        .inval = inval,
        .gid = gid,
        .guest_devid = guest_devid,
        .val = { cmd[0], cmd[1] },
        .addr = addr,
    };
}

void amdvi_late_reset(AMDVIState *s)
{
    s->vi->late.kind = AMDVI_LATE_NONE;
    if (s->viommu_late) {
        bitmap_fill(s->vi->lost, AMDVI_GUESTS);
    }
}

bool amdvi_late_lost(AMDVIState *s, uint16_t gid)
{
    return test_and_clear_bit(gid, s->vi->lost);
}

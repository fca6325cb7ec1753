/*
 * AMD IOMMU (AMD-Vi): the logs
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The event log and the log of page requests are rings of the same kind.  One
 * that overflows stops: what comes is lost until software switches the log off,
 * clears the overflow and switches the log on again.
 */

#include "qemu/osdep.h"
#include "amd_iommu_internal.h"
#include "trace.h"

const AMDVILog amdvi_event_log = {
    .base = AMDVI_MMIO_EVENT_BASE,
    .head = AMDVI_MMIO_EVENT_HEAD,
    .tail = AMDVI_MMIO_EVENT_TAIL,
    .enable = AMDVI_MMIO_CONTROL_EVENTLOGEN,
    .run = AMDVI_STATUS_EVT_RUN,
    .overflow = AMDVI_STATUS_EVT_OVERFLOW,
    .interrupt = AMDVI_STATUS_EVT_INT,
};

const AMDVILog amdvi_ppr_log = {
    .base = AMDVI_MMIO_PPR_BASE,
    .head = AMDVI_MMIO_PPR_HEAD,
    .tail = AMDVI_MMIO_PPR_TAIL,
    .enable = AMDVI_CONTROL_PPR_LOG,
    .run = AMDVI_STATUS_PPR_RUN,
    .overflow = AMDVI_STATUS_PPR_OVERFLOW,
    .interrupt = AMDVI_STATUS_PPR_INT,
};

AMDVILogResult amdvi_log_append(AMDVIState *s, const AMDVILog *log,
                                const uint64_t entry[2])
{
    uint64_t status = amdvi_reg(s, AMDVI_MMIO_STATUS);
    uint32_t size = amdvi_ring_size(s, log->base);
    uint32_t tail, next;

    if (!(status & log->run)) {
        return status & log->overflow ? AMDVI_LOG_OVERFLOW : AMDVI_LOG_OFF;
    }
    tail = amdvi_reg(s, log->tail) & (size - 1);
    next = (tail + AMDVI_RING_ENTRY) & (size - 1);
    if (next == (amdvi_reg(s, log->head) & (size - 1))) {
        trace_amdvi_log_overflow(log->base, tail);
        amdvi_change_status(s, log->run, log->overflow);
        return AMDVI_LOG_OVERFLOW;
    }
    if (!amdvi_write_memory(amdvi_ring_addr(s, log->base) + tail, entry, 2)) {
        trace_amdvi_evntlog_fail(amdvi_ring_addr(s, log->base), tail);
        return AMDVI_LOG_OFF;
    }
    amdvi_set_reg(s, log->tail, next);
    amdvi_change_status(s, 0, log->interrupt);
    return AMDVI_LOG_DONE;
}

uint32_t amdvi_log_used(AMDVIState *s, const AMDVILog *log)
{
    uint32_t size = amdvi_ring_size(s, log->base);

    return ((amdvi_reg(s, log->tail) - amdvi_reg(s, log->head)) &
            (size - 1)) / AMDVI_RING_ENTRY;
}

void amdvi_log_update(AMDVIState *s, const AMDVILog *log, uint64_t old)
{
    uint64_t enable = log->enable | AMDVI_MMIO_CONTROL_AMDVIEN;
    uint64_t now = amdvi_reg(s, AMDVI_MMIO_CONTROL);
    bool was_on = (old & enable) == enable;
    bool is_on = (now & enable) == enable;

    if (!is_on) {
        amdvi_change_status(s, log->run, 0);
    } else if (!was_on && amdvi_ring_size(s, log->base) &&
               !(amdvi_reg(s, AMDVI_MMIO_STATUS) & log->overflow)) {
        amdvi_change_status(s, 0, log->run);
    }
}

void amdvi_event(AMDVIState *s, uint64_t q0, uint64_t q1)
{
    uint64_t entry[2] = { q0, q1 };

    trace_amdvi_event(q0, q1, amdvi_log_append(s, &amdvi_event_log, entry));
}

/*
 * PCIe I/O page fault test endpoint: accesses that wait for the IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An access that the IOMMU holds leaves its context where it is, with what was
 * done before; the same piece is tried again when the IOMMU says so.
 */

#include "qemu/osdep.h"
#include "trace.h"
#include "iopf-testdev.h"

/* Contexts change hands: what was held for an earlier user is not theirs */
static uint64_t iopf_stall_cookie(IOPFTestDev *s, const IOPFContext *ctx)
{
    return (uint64_t)(ctx - s->contexts) << 32 | ctx->generation;
}

bool iopf_may_stall(IOPFTestDev *s)
{
    return s->stall && pci_stall_supported(PCI_DEVICE(s));
}

int iopf_stall_translate(IOPFTestDev *s, IOPFContext *ctx, hwaddr addr,
                         bool is_write, IOMMUTLBEntry *entry)
{
    uint32_t generation = ctx->generation;
    IOPFForced saved;
    int ret;

    /* The answer may come in before the call returns */
    ctx->state = IOPF_CTX_STALLED;
    iopf_force_enables(s, &saved);
    ret = pci_stall_translate(PCI_DEVICE(s), ctx->pasid,
                              ctx->flags & IOPF_TD_F_PRIV,
                              (ctx->flags & IOPF_TD_F_EXEC) && !is_write, addr,
                              is_write, iopf_stall_cookie(s, ctx), entry);
    iopf_restore_enables(s, &saved);
    if (ctx->generation != generation) {
        return ret;
    }
    switch (ret) {
    case -EINPROGRESS:
        iopf_count(s, IOPF_TD_REG_CNT_STALL);
        break;
    case -EBUSY:
        iopf_count(s, IOPF_TD_REG_CNT_STALL_FULL);
        ctx->state = IOPF_CTX_ROOM;
        break;
    default:
        ctx->state = IOPF_CTX_ACCESS;
    }
    return ret;
}

static void iopf_stall_room(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        if (s->contexts[i].state == IOPF_CTX_ROOM) {
            s->contexts[i].state = IOPF_CTX_ACCESS;
        }
    }
}

static void iopf_stall_notify(PCIStallNotifier *notifier,
                              PCIStallVerdict verdict, uint64_t cookie)
{
    IOPFTestDev *s = container_of(notifier, IOPFTestDev, stall_notifier);
    uint32_t index = cookie >> 32;
    IOPFContext *ctx;

    iopf_kick(s);
    if (verdict == PCI_STALL_ROOM) {
        iopf_stall_room(s);
        return;
    }
    g_assert(index < IOPF_TD_CONTEXTS_MAX);
    ctx = &s->contexts[index];
    trace_iopf_testdev_stall_over(index, verdict,
                                  ctx->state == IOPF_CTX_STALLED &&
                                  iopf_stall_cookie(s, ctx) == cookie);
    if (ctx->state != IOPF_CTX_STALLED ||
        iopf_stall_cookie(s, ctx) != cookie) {
        return;
    }
    if (verdict == PCI_STALL_RETRY) {
        ctx->state = IOPF_CTX_ACCESS;
    } else {
        s->up->access_failed(s, ctx);
    }
}

void iopf_stall_init(IOPFTestDev *s)
{
    s->stall_notifier.notify = iopf_stall_notify;
    if (s->stall) {
        pci_stall_set_notifier(PCI_DEVICE(s), &s->stall_notifier);
    }
}

void iopf_stall_exit(IOPFTestDev *s)
{
    pci_stall_set_notifier(PCI_DEVICE(s), NULL);
}

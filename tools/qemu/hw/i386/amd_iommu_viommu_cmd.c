/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, commands of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A command of a guest is one of the host with IDs from the maps of the guest.
 * One that fails stops the ring, and the VMM has to start it again: that
 * bounds what a guest can put into the log of the host.  How many are carried
 * out at a time is bounded, too.
 *
 * Inference: what the guest has done wrong is in its own log, as the host has
 * it in its own; a store that cannot be made is.  Commands of the host and
 * INVALIDATE_IOMMU_ALL are illegal.  A completion wait waits for what the
 * guest itself has sent to devices.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

#define AMDVI_GUEST_BATCH 512

typedef enum AMDVIGuestTurn {
    AMDVI_TURN_OVER,
    AMDVI_TURN_MORE,        /* others first */
    AMDVI_TURN_WAITS,       /* for a device */
} AMDVIGuestTurn;

/*
 * What devices have not completed
 */

static AMDVIGuestHeld *amdvi_find_held(AMDVIViommu *vi, uint32_t gid,
                                       uint16_t devid, uint16_t guest_devid)
{
    AMDVIGuestHeld *held;

    QLIST_FOREACH(held, &vi->held, next) {
        if (held->gid == gid && held->devid == devid &&
            held->guest_devid == guest_devid) {
            return held;
        }
    }
    held = g_new0(AMDVIGuestHeld, 1);
    held->gid = gid;
    held->devid = devid;
    held->guest_devid = guest_devid;
    QLIST_INSERT_HEAD(&vi->held, held, next);
    return held;
}

static bool amdvi_guest_has_held(AMDVIViommu *vi, uint16_t gid)
{
    AMDVIGuestHeld *held;

    QLIST_FOREACH(held, &vi->held, next) {
        if (held->gid == gid) {
            return true;
        }
    }
    return false;
}

/* Completions of what nobody waits for must not count for somebody else */
static void amdvi_forget_guest_held(AMDVIViommu *vi, uint16_t gid)
{
    AMDVIGuestHeld *held, *next;

    QLIST_FOREACH_SAFE(held, &vi->held, next, next) {
        if (held->gid == gid) {
            QLIST_REMOVE(held, next);
            amdvi_find_held(vi, AMDVI_GUESTS, held->devid, 0)->count +=
                held->count;
            g_free(held);
        }
    }
}

static void amdvi_guest_timeout(AMDVIState *s, uint32_t gid,
                                uint16_t guest_devid, hwaddr addr)
{
    if (gid < AMDVI_GUESTS) {
        amdvi_guest_event(s, gid, AMDVI_EVENT(AMDVI_EVT_INV_TIMEOUT) |
                          guest_devid, addr);
    }
}

uint32_t amdvi_guest_invalidation_over(AMDVIState *s, uint16_t devid,
                                       uint32_t n, bool completed)
{
    AMDVIGuestHeld *held, *next;
    uint32_t over;

    QLIST_FOREACH_SAFE(held, &s->vi->held, next, next) {
        if (held->devid != devid) {
            continue;
        }
        over = MIN(n, held->count);
        n -= over;
        held->count -= over;
        if (over && !completed) {
            /* Where the command was is not known any more */
            amdvi_guest_timeout(s, held->gid, held->guest_devid, 0);
        }
        if (!held->count) {
            QLIST_REMOVE(held, next);
            g_free(held);
        }
    }
    amdvi_guest_resume(s);
    return n;
}

/*
 * The host has switched its commands off.  What guests have sent is not known
 * to be done, which is what a time-out is.
 */
void amdvi_guest_held_forgotten(AMDVIState *s)
{
    AMDVIGuestHeld *held;

    while ((held = QLIST_FIRST(&s->vi->held))) {
        QLIST_REMOVE(held, next);
        if (amdvi_viommu_on(s)) {
            amdvi_guest_timeout(s, held->gid, held->guest_devid, 0);
        }
        g_free(held);
    }
    amdvi_guest_resume(s);
}

/*
 * Commands
 */

static AMDVICmdResult amdvi_guest_wait(const AMDVIGuest *g,
                                       const uint64_t cmd[2])
{
    hwaddr addr = extract64(cmd[0], 3, 49) << 3;
    uint64_t data = cmd[1];
    AMDVIGuest now;

    if (amdvi_guest_has_held(g->s->vi, g->gid)) {
        return AMDVI_CMD_WAITS;
    }
    if ((cmd[0] & AMDVI_CMD_WAIT_STORE) &&
        !amdvi_gpa_access(g, addr, &data, 1, true)) {
        amdvi_guest_event(g->s, g->gid, AMDVI_EVENT(AMDVI_EVT_CMD_HW) |
                          AMDVI_EVF_MASTER_ABORT, addr);
        return AMDVI_CMD_FAILED;
    }
    if ((cmd[0] & AMDVI_CMD_WAIT_INT) &&
        amdvi_guest_load(g->s, g->gid, AMDVI_EVF_VCMD, &now)) {
        amdvi_guest_set_status(&now, 0, AMDVI_STATUS_WAIT_INT);
        amdvi_guest_save(&now, AMDVI_EVF_VCMD);
    }
    return AMDVI_CMD_DONE;
}

static void amdvi_guest_inval_iotlb(AMDVIState *s, uint16_t gid,
                                    uint16_t guest_devid,
                                    const uint64_t cmd[2], hwaddr addr)
{
    switch (amdvi_send_inval_iotlb(s, cmd)) {
    case PCI_ATS_INV_DONE:
        break;
    case PCI_ATS_INV_FAILED:
        if (amdvi_control(s, AMDVI_CONTROL_INV_TIMEOUT)) {
            amdvi_guest_timeout(s, gid, guest_devid, addr);
            break;
        }
        /* Fall through: waits for ever */
    case PCI_ATS_INV_HELD:
        amdvi_find_held(s->vi, gid, extract64(cmd[0], 0, 16),
                        guest_devid)->count++;
        break;
    }
}

/* Replace an ID by that of the host */
static bool amdvi_guest_map(const AMDVIGuest *g, bool domain, uint64_t *q0,
                            unsigned shift)
{
    uint16_t host;

    if (!amdvi_map_lookup(g, domain, extract64(*q0, shift, 16), &host)) {
        return false;
    }
    *q0 = deposit64(*q0, shift, 16, host);
    return true;
}

static AMDVICmdResult amdvi_guest_exec(const AMDVIGuest *g,
                                       const uint64_t of_guest[2], hwaddr addr)
{
    uint64_t cmd[2] = { of_guest[0], of_guest[1] };
    bool mapped;

    amdvi_late_over(g->s);
    if (!amdvi_cmd_legal(g->s, cmd)) {
        return AMDVI_CMD_ILLEGAL;
    }
    switch (amdvi_cmd_op(cmd)) {
    case AMDVI_CMD_COMPLETION_WAIT:
        return amdvi_guest_wait(g, cmd);
    case AMDVI_CMD_INVAL_AMDVI_PAGES:
        mapped = amdvi_guest_map(g, true, &cmd[0], 32);
        break;
    case AMDVI_CMD_INVAL_IOTLB_PAGES:
        /* Driver: the queue has the number of the device. Inference: mapped */
        mapped = amdvi_guest_map(g, false, &cmd[0], 0) &&
                 amdvi_guest_map(g, false, &cmd[0], 32);
        break;
    case AMDVI_CMD_INVAL_DEVTAB_ENTRY:
    case AMDVI_CMD_INVAL_INTR_TABLE:
    case AMDVI_CMD_COMPLETE_PPR_REQUEST:
        mapped = amdvi_guest_map(g, false, &cmd[0], 0);
        break;
    default:
        return AMDVI_CMD_ILLEGAL;
    }
    if (!mapped) {
        return AMDVI_CMD_FAILED;
    }
    if (amdvi_cmd_op(cmd) == AMDVI_CMD_INVAL_IOTLB_PAGES) {
        amdvi_late_inval(g->s, amdvi_guest_inval_iotlb, g->gid, of_guest[0],
                         cmd, addr);
        return AMDVI_CMD_DONE;
    }
    return amdvi_cmd_exec(g->s, cmd, addr);
}

/*
 * Rings
 */

static bool amdvi_guest_may_run(const AMDVIGuest *g)
{
    return amdvi_viommu_on(g->s) &&
           amdvi_control(g->s, AMDVI_CONTROL_VCMD) &&
           (g->word[AMDVI_WORD_CMD] & AMDVI_CNTL_ENABLE) &&
           (amdvi_guest_status(g) & AMDVI_STATUS_CMD_RUN);
}

static AMDVIGuestTurn amdvi_guest_command(AMDVIState *s, uint16_t gid)
{
    const AMDVIGuestRing *ring = &amdvi_guest_cmd;
    AMDVICmdResult result = AMDVI_CMD_FAILED;
    uint32_t size, head, tail;
    uint64_t cmd[2];
    AMDVIGuest g;
    hwaddr addr;

    if (!amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return AMDVI_TURN_OVER;
    }
    size = amdvi_guest_ring_size(&g, ring);
    head = amdvi_guest_pointer(&g, ring, ring->head) & (size - 1);
    tail = amdvi_guest_pointer(&g, ring, ring->tail) & (size - 1);
    if (!amdvi_guest_may_run(&g) || !size || head == tail) {
        return AMDVI_TURN_OVER;
    }
    if (amdvi_guest_ring_access(&g, ring, head, cmd, false, &addr)) {
        result = amdvi_guest_exec(&g, cmd, addr);
        trace_amdvi_guest_command(gid, cmd[0], cmd[1], result);
    }
    if (result == AMDVI_CMD_WAITS) {
        return AMDVI_TURN_WAITS;
    }
    if (result == AMDVI_CMD_ILLEGAL) {
        amdvi_guest_event(s, gid, AMDVI_EVENT(AMDVI_EVT_ILLEGAL_CMD), addr);
    }
    /* It has changed, if only by events */
    if (!amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return AMDVI_TURN_OVER;
    }
    if (result == AMDVI_CMD_DONE) {
        amdvi_guest_set_pointer(&g, ring, ring->head,
                                (head + AMDVI_RING_ENTRY) & (size - 1));
    } else {
        amdvi_guest_set_status(&g, AMDVI_STATUS_CMD_RUN, 0);
    }
    amdvi_guest_save(&g, AMDVI_EVF_VCMD);
    return AMDVI_TURN_MORE;
}

static void amdvi_guest_turn(AMDVIState *s, uint16_t gid, unsigned max)
{
    AMDVIGuestTurn turn = AMDVI_TURN_MORE;

    /* A device that is told something may come back here */
    if (s->vi->running) {
        set_bit(gid, s->vi->waits);
        qemu_bh_schedule(s->vi->bh);
        return;
    }
    s->vi->running = true;
    while (max-- && turn == AMDVI_TURN_MORE) {
        turn = amdvi_guest_command(s, gid);
    }
    s->vi->running = false;
    if (turn == AMDVI_TURN_OVER) {
        clear_bit(gid, s->vi->waits);
        return;
    }
    set_bit(gid, s->vi->waits);
    if (turn == AMDVI_TURN_MORE && !s->lazy_inv) {
        qemu_bh_schedule(s->vi->bh);
    }
}

void amdvi_guest_run(AMDVIState *s, uint16_t gid)
{
    if (!s->lazy_inv) {
        amdvi_guest_turn(s, gid, AMDVI_GUEST_BATCH);
    }
}

void amdvi_guest_run_lazily(AMDVIState *s, uint16_t gid)
{
    if (s->lazy_inv) {
        amdvi_guest_turn(s, gid, 1);
    }
}

void amdvi_guest_stop(AMDVIState *s, uint16_t gid)
{
    clear_bit(gid, s->vi->waits);
    amdvi_forget_guest_held(s->vi, gid);
}

void amdvi_guest_stop_all(AMDVIState *s)
{
    AMDVIGuestHeld *held, *next;

    bitmap_zero(s->vi->waits, AMDVI_GUESTS);
    QLIST_FOREACH_SAFE(held, &s->vi->held, next, next) {
        if (held->gid < AMDVI_GUESTS) {
            amdvi_forget_guest_held(s->vi, held->gid);
            /* What it has put into the list is no guest's */
            next = QLIST_FIRST(&s->vi->held);
        }
    }
}

void amdvi_guest_resume(AMDVIState *s)
{
    unsigned long gid = find_first_bit(s->vi->waits, AMDVI_GUESTS);

    /* Memory of a machine that is stopped must not change */
    if (s->lazy_inv || !runstate_is_running()) {
        return;
    }
    for (; gid < AMDVI_GUESTS;
         gid = find_next_bit(s->vi->waits, AMDVI_GUESTS, gid + 1)) {
        amdvi_guest_turn(s, gid, AMDVI_GUEST_BATCH);
    }
}

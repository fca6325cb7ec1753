/*
 * ARM SMMUv3: accesses that wait for software
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An access that faults under CD.S or STE.S2S is kept here until CMD_RESUME or
 * CMD_STALL_TERM ends that, if its device can wait: see hw/pci/pci_stall.h.
 * The BQL protects all of it.
 *
 * A record of such an access is never lost.  While the event queue does not
 * take it, it is due.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_stall.h"
#include "migration/vmstate.h"
#include "smmuv3-ats.h"
#include "smmuv3-config.h"
#include "smmuv3-stall.h"
#include "trace.h"

#define SMMU_STALL_INDEX_BITS 6

/* Fields of the commands; everything else is reserved */
#define SMMU_CMD_RESUME_WORD0       0x000030ff
#define SMMU_CMD_RESUME_WORD2       0x0000ffff
#define SMMU_CMD_STALL_TERM_WORD0   0x000000ff

typedef enum SMMUStallState {
    SMMU_STALL_FREE,
    SMMU_STALL_DUE,         /* its record was not written yet */
    SMMU_STALL_RECORDED,    /* software knows of it */
    SMMU_STALL_STATES,
} SMMUStallState;

typedef struct SMMUStall {
    uint8_t state;
    uint16_t stag;
    uint64_t number;        /* of all that there have been */
    uint64_t cookie;        /* by which the device knows it */
    SMMUDevice *sdev;       /* NULL after migration: find it by @sid */

    /* The record */
    uint32_t type;
    uint32_t sid;
    bool ssv;
    uint32_t ssid;
    bool s2;
    bool rnw;
    bool pnu;
    bool ind;
    uint8_t class;
    bool ttrnw;
    uint64_t addr;
    uint64_t addr2;
} SMMUStall;

struct SMMUStalls {
    SMMUStall stalls[SMMU_STALL_MAX];
    uint64_t number;        /* of the next one */
    unsigned int due;       /* records */
    bool room_wanted;       /* by a device with stall_room, or by any */
    bool room_unknown;      /* after migration: by any */
    bool flushing;
};

static bool smmuv3_has_stalls(SMMUv3State *s)
{
    return s->stalls && FIELD_EX32(s->idr[0], IDR0, STALL_MODEL) == 0;
}

/*
 * Records
 */

static bool smmuv3_eventq_failed(SMMUv3State *s)
{
    return FIELD_EX32(s->gerror ^ s->gerrorn, GERROR, EVENTQ_ABT_ERR);
}

static bool smmuv3_eventq_writable(SMMUv3State *s)
{
    return smmuv3_eventq_enabled(s) && !smmuv3_eventq_failed(s) &&
           !smmuv3_q_full(&s->eventq);
}

static SMMUStall *smmuv3_stall_oldest_due(struct SMMUStalls *st)
{
    SMMUStall *oldest = NULL;
    int i;

    for (i = 0; i < SMMU_STALL_MAX; i++) {
        SMMUStall *stall = &st->stalls[i];

        if (stall->state == SMMU_STALL_DUE &&
            (!oldest || stall->number < oldest->number)) {
            oldest = stall;
        }
    }
    return oldest;
}

static void smmuv3_stall_record(SMMUv3State *s, const SMMUStall *stall)
{
    SMMUEventInfo event = {
        .type = stall->type,
        .sid = stall->sid,
        .ssv = stall->ssv,
        .ssid = stall->ssid,
        .u.f_walk_eabt = {
            .stall = true,
            .stag = stall->stag,
            .s2 = stall->s2,
            .addr = stall->addr,
            .rnw = stall->rnw,
            .pnu = stall->pnu,
            .ind = stall->ind,
            .class = stall->class,
            .ttrnw = stall->ttrnw,
            .addr2 = stall->addr2,
        },
    };

    smmuv3_record_event(s, &event);
}

void smmuv3_stall_flush(SMMUv3State *s)
{
    struct SMMUStalls *st = s->stalls;

    /* The queue may lie where a write does something */
    if (!st || st->flushing) {
        return;
    }
    st->flushing = true;
    while (st->due && smmuv3_eventq_writable(s)) {
        SMMUStall *stall = smmuv3_stall_oldest_due(st);
        uint64_t number = stall->number;

        stall->state = SMMU_STALL_RECORDED;
        st->due--;
        smmuv3_stall_record(s, stall);
        if (smmuv3_eventq_failed(s) && stall->number == number &&
            stall->state == SMMU_STALL_RECORDED) {
            /* Once more when software has acknowledged that */
            stall->state = SMMU_STALL_DUE;
            st->due++;
        }
    }
    st->flushing = false;
}

/*
 * Accesses
 */

static SMMUStall *smmuv3_stall_find_free(struct SMMUStalls *st)
{
    int i;

    for (i = 0; i < SMMU_STALL_MAX; i++) {
        if (st->stalls[i].state == SMMU_STALL_FREE) {
            return &st->stalls[i];
        }
    }
    return NULL;
}

static int smmuv3_stall_add(SMMUDevice *sdev, const SMMUEventInfo *event,
                            uint64_t cookie)
{
    SMMUv3State *s = sdev->smmu;
    struct SMMUStalls *st = s->stalls;
    SMMUStall *stall = smmuv3_stall_find_free(st);

    if (!stall) {
        sdev->stall_room = true;
        st->room_wanted = true;
        return -EBUSY;
    }
    *stall = (SMMUStall) {
        .state = SMMU_STALL_DUE,
        /* A tag of old does not fit what uses its place next */
        .stag = st->number << SMMU_STALL_INDEX_BITS | (stall - st->stalls),
        .number = st->number,
        .cookie = cookie,
        .sdev = sdev,
        .type = event->type,
        .sid = event->sid,
        .ssv = event->ssv,
        .ssid = event->ssid,
        .s2 = event->u.f_walk_eabt.s2,
        .rnw = event->u.f_walk_eabt.rnw,
        .pnu = event->u.f_walk_eabt.pnu,
        .ind = event->u.f_walk_eabt.ind,
        .class = event->u.f_walk_eabt.class,
        .ttrnw = event->u.f_walk_eabt.ttrnw,
        .addr = event->u.f_walk_eabt.addr,
        .addr2 = event->u.f_walk_eabt.addr2,
    };
    st->number++;
    st->due++;
    trace_smmuv3_stall(stall->sid, stall->ssv ? stall->ssid : PCI_NO_PASID,
                       stall->addr, stall->stag);
    smmuv3_stall_flush(s);
    return -EINPROGRESS;
}

static int smmuv3_stall_translate(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t pasid, bool priv_req, bool exec_req,
                                  hwaddr addr, bool is_write, uint64_t cookie,
                                  IOMMUTLBEntry *entry)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUDevice *sdev = smmuv3_find_device(s, bus, devfn);
    SMMUEventInfo event = smmuv3_new_event(sdev, pasid);
    SMMUAccess access = {
        .ssid = pasid,
        .priv = priv_req,
        .exec = exec_req,
        .addr = addr,
        .flag = is_write ? IOMMU_WO : IOMMU_RO,
    };

    g_assert(bql_locked());

    *entry = smmuv3_translate_access(sdev, &access, &event);
    if (entry->perm & access.flag) {
        return 0;
    }
    if (event.stall) {
        return smmuv3_stall_add(sdev, &event, cookie);
    }
    smmuv3_record_event(s, &event);
    return -EACCES;
}

/*
 * The end of it
 */

static void smmuv3_stall_tell(SMMUDevice *sdev, PCIStallVerdict verdict,
                              uint64_t cookie)
{
    pci_stall_over(sdev->bus, sdev->devfn, verdict, cookie);
}

static void smmuv3_stall_end(SMMUv3State *s, SMMUStall *stall,
                             PCIStallVerdict verdict)
{
    SMMUDevice *sdev = stall->sdev;

    trace_smmuv3_stall_end(stall->sid, stall->stag, verdict);
    if (stall->state == SMMU_STALL_DUE) {
        s->stalls->due--;
    }
    stall->state = SMMU_STALL_FREE;
    if (!sdev) {
        sdev = smmu_find_sdev(&s->smmu_state, stall->sid);
    }
    if (sdev) {
        smmuv3_stall_tell(sdev, verdict, stall->cookie);
    }
}

static void smmuv3_stall_tell_bus(SMMUPciBus *bus, bool everybody)
{
    int i;

    for (i = 0; i < SMMU_PCI_DEVFN_MAX; i++) {
        SMMUDevice *sdev = bus->pbdev[i];

        if (sdev && (sdev->stall_room || everybody)) {
            sdev->stall_room = false;
            smmuv3_stall_tell(sdev, PCI_STALL_ROOM, 0);
        }
    }
}

/* Whoever waits for a place may try; not all of them will have one */
static void smmuv3_stall_room(SMMUv3State *s)
{
    struct SMMUStalls *st = s->stalls;
    bool everybody = st->room_unknown;
    GHashTableIter iter;
    void *bus;

    if (!st->room_wanted) {
        return;
    }
    st->room_wanted = false;
    st->room_unknown = false;
    g_hash_table_iter_init(&iter, s->smmu_state.smmu_pcibus_by_busptr);
    while (g_hash_table_iter_next(&iter, NULL, &bus)) {
        smmuv3_stall_tell_bus(bus, everybody);
    }
}

/* @sid: NULL for all.  What comes in meanwhile is not meant. */
static void smmuv3_stall_abort(SMMUv3State *s, const uint32_t *sid)
{
    struct SMMUStalls *st = s->stalls;
    uint64_t number = st->number;
    int i;

    for (i = 0; i < SMMU_STALL_MAX; i++) {
        SMMUStall *stall = &st->stalls[i];

        if (stall->state != SMMU_STALL_FREE && stall->number < number &&
            (!sid || stall->sid == *sid)) {
            smmuv3_stall_end(s, stall, PCI_STALL_ABORT);
        }
    }
    smmuv3_stall_room(s);
}

void smmuv3_stall_end_all(SMMUv3State *s)
{
    if (s->stalls) {
        smmuv3_stall_abort(s, NULL);
    }
}

SMMUCmdError smmuv3_cmd_resume(SMMUv3State *s, const Cmd *cmd)
{
    uint16_t stag = CMD_RESUME_STAG(cmd);
    SMMUStall *stall;

    if (!smmuv3_has_stalls(s) || (cmd->word[0] & ~SMMU_CMD_RESUME_WORD0) ||
        (cmd->word[2] & ~SMMU_CMD_RESUME_WORD2) || cmd->word[3]) {
        return SMMU_CERROR_ILL;
    }
    stall = &s->stalls->stalls[extract32(stag, 0, SMMU_STALL_INDEX_BITS)];
    /* A tag that nobody was told, or another stream's: without effect */
    if (stall->state == SMMU_STALL_RECORDED && stall->stag == stag &&
        stall->sid == CMD_SID(cmd)) {
        /* With IDR0.TERM_MODEL all that is terminated is aborted: no Ab */
        smmuv3_stall_end(s, stall, CMD_RESUME_AC(cmd) ? PCI_STALL_RETRY :
                                                        PCI_STALL_ABORT);
        smmuv3_stall_room(s);
    }
    return SMMU_CERROR_NONE;
}

SMMUCmdError smmuv3_cmd_stall_term(SMMUv3State *s, const Cmd *cmd)
{
    uint32_t sid = CMD_SID(cmd);

    if (!smmuv3_has_stalls(s) || (cmd->word[0] & ~SMMU_CMD_STALL_TERM_WORD0) ||
        cmd->word[2] || cmd->word[3]) {
        return SMMU_CERROR_ILL;
    }
    smmuv3_stall_abort(s, &sid);
    return SMMU_CERROR_NONE;
}

void smmuv3_stall_init(SMMUv3State *s, PCIIOMMUOps *ops)
{
    QEMU_BUILD_BUG_ON(SMMU_STALL_MAX != 1 << SMMU_STALL_INDEX_BITS);

    s->stalls = g_new0(struct SMMUStalls, 1);
    ops->stall_translate = smmuv3_stall_translate;
}

void smmuv3_stall_init_regs(SMMUv3State *s)
{
    /* Stall and terminate, or terminate only */
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, STALL_MODEL, s->stall ? 0 : 1);
    s->idr[5] = FIELD_DP32(s->idr[5], IDR5, STALL_MAX,
                           s->stall ? SMMU_STALL_MAX : 0);
}

/*
 * Migration
 */

static bool smmuv3_stall_needed(void *opaque)
{
    SMMUv3State *s = opaque;
    int i;

    for (i = 0; s->stalls && i < SMMU_STALL_MAX; i++) {
        if (s->stalls->stalls[i].state != SMMU_STALL_FREE) {
            return true;
        }
    }
    return false;
}

static int smmuv3_stalls_post_load(void *opaque, int version_id)
{
    struct SMMUStalls *st = opaque;
    int i;

    st->due = 0;
    st->room_wanted = true;
    st->room_unknown = true;
    for (i = 0; i < SMMU_STALL_MAX; i++) {
        SMMUStall *stall = &st->stalls[i];

        if (stall->state == SMMU_STALL_FREE) {
            continue;
        }
        if (stall->state >= SMMU_STALL_STATES ||
            extract32(stall->stag, 0, SMMU_STALL_INDEX_BITS) != i ||
            stall->number >= st->number ||
            stall->type < SMMU_EVT_F_TRANSLATION ||
            stall->type > SMMU_EVT_F_PERMISSION) {
            return -EINVAL;
        }
        stall->sdev = NULL;
        st->due += stall->state == SMMU_STALL_DUE;
    }
    return 0;
}

static const VMStateDescription vmstate_stall = {
    .name = "smmuv3/stall/access",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT8(state, SMMUStall),
        VMSTATE_UINT16(stag, SMMUStall),
        VMSTATE_UINT64(number, SMMUStall),
        VMSTATE_UINT64(cookie, SMMUStall),
        VMSTATE_UINT32(type, SMMUStall),
        VMSTATE_UINT32(sid, SMMUStall),
        VMSTATE_BOOL(ssv, SMMUStall),
        VMSTATE_UINT32(ssid, SMMUStall),
        VMSTATE_BOOL(s2, SMMUStall),
        VMSTATE_BOOL(rnw, SMMUStall),
        VMSTATE_BOOL(pnu, SMMUStall),
        VMSTATE_BOOL(ind, SMMUStall),
        VMSTATE_UINT8(class, SMMUStall),
        VMSTATE_BOOL(ttrnw, SMMUStall),
        VMSTATE_UINT64(addr, SMMUStall),
        VMSTATE_UINT64(addr2, SMMUStall),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_stalls = {
    .name = "smmuv3/stall/all",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = smmuv3_stalls_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(number, struct SMMUStalls),
        VMSTATE_STRUCT_ARRAY(stalls, struct SMMUStalls, SMMU_STALL_MAX, 1,
                             vmstate_stall, SMMUStall),
        VMSTATE_END_OF_LIST()
    }
};

static int smmuv3_stall_pre_load(void *opaque)
{
    SMMUv3State *s = opaque;

    /* stall=on there, and not here */
    return s->stalls ? 0 : -EINVAL;
}

const VMStateDescription vmstate_smmuv3_stall = {
    .name = "smmuv3/stall",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = smmuv3_stall_needed,
    .pre_load = smmuv3_stall_pre_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(stalls, SMMUv3State, vmstate_stalls,
                               struct SMMUStalls),
        VMSTATE_END_OF_LIST()
    }
};

/*
 * ARM SMMUv3: page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The PRI queue, its registers and its interrupt, what the SMMU answers by
 * itself, and CMD_PRI_RESP.  The BQL protects all of it.
 *
 * A page request is only a message: no table is asked whether the device may
 * send it.  All that there is to decide is up to software.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_bus.h"
#include "migration/vmstate.h"
#include "system/dma.h"
#include "smmuv3-ats.h"
#include "smmuv3-config.h"
#include "smmuv3-pri.h"
#include "trace.h"

/* PRIQ_BASE */
#define SMMU_PRIQ_ADDR          MAKE_64BIT_MASK(5, 47)
#define SMMU_PRIQ_LOG2SIZE      MAKE_64BIT_MASK(0, 5)
#define SMMU_PRIQ_BASE_MASK     (SMMU_PRIQ_ADDR | SMMU_PRIQ_LOG2SIZE | \
                                 BIT_ULL(62))
/* PRIQ_PROD and PRIQ_CONS */
#define SMMU_PRIQ_INDEX_MASK    (SMMU_Q_OVERFLOW | MAKE_64BIT_MASK(0, 20))

#define SMMU_PRIQ_IRQ_CFG0_MASK MAKE_64BIT_MASK(2, 50)
#define SMMU_PRIQ_IRQ_CFG2_LO   (1U << 31)
#define SMMU_PRIQ_IRQ_CFG2_MASK (SMMU_PRIQ_IRQ_CFG2_LO | 0x3f)

/* An entry */
#define SMMU_PRI_ENTRY_SIZE     16
#define SMMU_PRI_SSID(val)      ((uint64_t)(val) << 32)
#define SMMU_PRI_PRIV           (1ULL << 58)
#define SMMU_PRI_X              (1ULL << 59)
#define SMMU_PRI_R              (1ULL << 60)
#define SMMU_PRI_W              (1ULL << 61)
#define SMMU_PRI_LAST           (1ULL << 62)
#define SMMU_PRI_SSV            (1ULL << 63)
#define SMMU_PRI_ADDR           MAKE_64BIT_MASK(12, 52)

/* CMD_PRI_RESP.Resp */
#define SMMU_PRI_RESP_FAILURE   0
#define SMMU_PRI_RESP_INVALID   1
#define SMMU_PRI_RESP_SUCCESS   2

static bool smmuv3_has_pri(SMMUv3State *s)
{
    return FIELD_EX32(s->idr[0], IDR0, PRI);
}

/*
 * Registers
 */

static bool smmuv3_priq_guarded(SMMUv3State *s, hwaddr offset)
{
    bool guarded;

    switch (offset) {
    case A_PRIQ_BASE:
    case A_PRIQ_BASE + 4:
    case A_PRIQ_PROD:
        guarded = FIELD_EX32(s->cr[0], CR0, PRIQEN);
        break;
    case A_PRIQ_CONS:
        guarded = false;
        break;
    default:
        guarded = FIELD_EX32(s->irq_ctrl, IRQ_CTRL, PRI_IRQEN);
        break;
    }
    if (guarded) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "SMMUv3: write to 0x%" HWADDR_PRIx " while the PRI queue "
                      "or its interrupt is enabled\n", offset);
    }
    return guarded;
}

static void smmuv3_priq_set_base(SMMUv3State *s, uint64_t base)
{
    s->priq.base = base & SMMU_PRIQ_BASE_MASK;
    s->priq.log2size = MIN(extract64(base, 0, 5),
                           FIELD_EX32(s->idr[1], IDR1, PRIQS));
}

void smmuv3_priq_write(SMMUv3State *s, hwaddr offset, uint64_t data,
                       unsigned int size)
{
    unsigned int bits = size * 8;

    if (!smmuv3_has_pri(s) || smmuv3_priq_guarded(s, offset)) {
        return;
    }
    switch (offset) {
    case A_PRIQ_BASE:
        smmuv3_priq_set_base(s, deposit64(s->priq.base, 0, bits, data));
        return;
    case A_PRIQ_IRQ_CFG0:
        s->priq_irq_cfg0 = deposit64(s->priq_irq_cfg0, 0, bits, data) &
                           SMMU_PRIQ_IRQ_CFG0_MASK;
        return;
    }
    if (size == 8) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "SMMUv3: 64-bit write to 0x%" HWADDR_PRIx "\n", offset);
        return;
    }
    switch (offset) {
    case A_PRIQ_BASE + 4:
        smmuv3_priq_set_base(s, deposit64(s->priq.base, 32, 32, data));
        break;
    case A_PRIQ_PROD:
        s->priq.prod = data & SMMU_PRIQ_INDEX_MASK;
        break;
    case A_PRIQ_CONS:
        s->priq.cons = data & SMMU_PRIQ_INDEX_MASK;
        break;
    case A_PRIQ_IRQ_CFG0 + 4:
        s->priq_irq_cfg0 = deposit64(s->priq_irq_cfg0, 32, 32, data) &
                           SMMU_PRIQ_IRQ_CFG0_MASK;
        break;
    case A_PRIQ_IRQ_CFG1:
        s->priq_irq_cfg1 = data;
        break;
    case A_PRIQ_IRQ_CFG2:
        s->priq_irq_cfg2 = data & SMMU_PRIQ_IRQ_CFG2_MASK;
        break;
    }
}

uint64_t smmuv3_priq_read(SMMUv3State *s, hwaddr offset, unsigned int size)
{
    if (!smmuv3_has_pri(s)) {
        return 0;
    }
    switch (offset) {
    case A_PRIQ_BASE:
        return extract64(s->priq.base, 0, size * 8);
    case A_PRIQ_BASE + 4:
        return extract64(s->priq.base, 32, 32);
    case A_PRIQ_PROD:
        return s->priq.prod;
    case A_PRIQ_CONS:
        return s->priq.cons;
    case A_PRIQ_IRQ_CFG0:
        return extract64(s->priq_irq_cfg0, 0, size * 8);
    case A_PRIQ_IRQ_CFG0 + 4:
        return extract64(s->priq_irq_cfg0, 32, 32);
    case A_PRIQ_IRQ_CFG1:
        return s->priq_irq_cfg1;
    case A_PRIQ_IRQ_CFG2:
        return s->priq_irq_cfg2;
    default:
        return 0;
    }
}

void smmuv3_priq_reset(SMMUv3State *s)
{
    s->priq.prod = 0;
    s->priq.cons = 0;
    s->priq.entry_size = SMMU_PRI_ENTRY_SIZE;
    smmuv3_priq_set_base(s, FIELD_EX32(s->idr[1], IDR1, PRIQS));
    s->priq_irq_cfg0 = 0;
    s->priq_irq_cfg1 = 0;
    s->priq_irq_cfg2 = 0;
}

/*
 * Requests
 */

/* What becomes of a request */
typedef enum SMMUPRIResult {
    SMMU_PRI_QUEUED,
    SMMU_PRI_DISABLED,  /* there is no queue, or it has failed */
    SMMU_PRI_OVERFLOW,
} SMMUPRIResult;

/* The effective value of CR0.PRIQEN */
static bool smmuv3_priq_enabled(SMMUv3State *s)
{
    return FIELD_EX32(s->cr[0], CR0, PRIQEN) && smmu_enabled(s) &&
           !FIELD_EX32(s->gerror ^ s->gerrorn, GERROR, PRIQ_ABT_ERR);
}

/* The queue is aligned to its size, which is no less than 32 bytes */
static dma_addr_t smmuv3_priq_entry(SMMUQueue *q)
{
    uint64_t size = MAX(32, (uint64_t)SMMU_PRI_ENTRY_SIZE << q->log2size);

    return (q->base & SMMU_PRIQ_ADDR & ~(size - 1)) +
           (dma_addr_t)Q_PROD(q) * SMMU_PRI_ENTRY_SIZE;
}

static SMMUPRIResult smmuv3_priq_push(SMMUv3State *s, const uint64_t entry[2])
{
    SMMUQueue *q = &s->priq;
    uint64_t data[2] = { cpu_to_le64(entry[0]), cpu_to_le64(entry[1]) };
    bool was_empty = smmuv3_q_empty(q);

    if (!smmuv3_priq_enabled(s)) {
        return SMMU_PRI_DISABLED;
    }
    if (!queue_overflow_active(q) && smmuv3_q_full(q)) {
        trace_smmuv3_priq_overflow(q->prod, q->cons);
        queue_set_overflow(q);
    }
    /* Until software acknowledges it, even if there is room again */
    if (queue_overflow_active(q)) {
        return SMMU_PRI_OVERFLOW;
    }
    if (dma_memory_write(&address_space_memory, smmuv3_priq_entry(q), data,
                         sizeof(data), MEMTXATTRS_UNSPECIFIED)) {
        smmuv3_trigger_irq(s, SMMU_IRQ_GERROR, R_GERROR_PRIQ_ABT_ERR_MASK);
        return SMMU_PRI_DISABLED;
    }
    queue_prod_incr(q);
    if (was_empty && !(s->priq_irq_cfg2 & SMMU_PRIQ_IRQ_CFG2_LO)) {
        smmuv3_trigger_irq(s, SMMU_IRQ_PRIQ, 0);
    }
    return SMMU_PRI_QUEUED;
}

/* Whether an answer to an overflow has the PASID, or may be Success at all */
static void smmuv3_priq_answer_overflow(SMMUDevice *sdev, uint32_t ssid,
                                        IOMMUPRIResponse *resp)
{
    SMMUv3State *s = sdev->smmu;
    SMMUEventInfo event = smmuv3_new_event(sdev, ssid);
    SMMUTransCfg cfg = {};
    STE ste;

    resp->response_code = IOMMU_PRI_RESP_SUCCESS;
    if (ssid == PCI_NO_PASID) {
        return;
    }
    if (FIELD_EX32(s->idr[3], IDR3, PPS)) {
        resp->pasid = ssid;
        return;
    }
    QEMU_LOCK_GUARD(&s->mutex);
    if (smmuv3_get_ste(sdev, &cfg, &ste, &event)) {
        resp->response_code = IOMMU_PRI_RESP_FAILURE;
        smmuv3_record_ats_event(s, &event);
    } else if (FIELD_EX32(s->idr[1], IDR1, SSIDSIZE) && STE_PPAR(&ste)) {
        resp->pasid = ssid;
    }
}

/* A group whose last request does not get to software is answered here */
static void smmuv3_priq_answer(SMMUDevice *sdev, uint32_t ssid, uint16_t prgi,
                               SMMUPRIResult result)
{
    IOMMUPRIResponse resp = {
        .response_code = IOMMU_PRI_RESP_FAILURE,
        .prgi = prgi,
        .pasid = PCI_NO_PASID,
        .automatic = true,
    };

    if (result == SMMU_PRI_QUEUED) {
        return;
    }
    if (result == SMMU_PRI_OVERFLOW) {
        smmuv3_priq_answer_overflow(sdev, ssid, &resp);
    }
    trace_smmuv3_pri_automatic(smmu_get_sid(sdev), resp.pasid, prgi,
                               resp.response_code);
    pci_pri_respond(sdev->bus, sdev->devfn, &resp);
}

static int smmuv3_pri_request_page(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid, bool priv_req,
                                   bool exec_req, hwaddr addr, bool lpig,
                                   uint16_t prgi, bool is_read, bool is_write)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUDevice *sdev = smmuv3_find_device(s, bus, devfn);
    bool ssv = pasid != PCI_NO_PASID;
    bool stop_marker = ssv && lpig && !is_read && !is_write;
    uint64_t entry[2] = {
        smmu_get_sid(sdev) |
        (ssv ? SMMU_PRI_SSV | SMMU_PRI_SSID(pasid) : 0) |
        (ssv && priv_req ? SMMU_PRI_PRIV : 0) |
        (ssv && exec_req ? SMMU_PRI_X : 0) |
        (is_read ? SMMU_PRI_R : 0) | (is_write ? SMMU_PRI_W : 0) |
        (lpig ? SMMU_PRI_LAST : 0),
        (addr & SMMU_PRI_ADDR) | prgi,
    };
    SMMUPRIResult result;

    g_assert(bql_locked());

    result = smmuv3_priq_push(s, entry);
    trace_smmuv3_pri_request(smmu_get_sid(sdev), pasid, entry[0], entry[1],
                             result);
    /* Said of a group when its last request arrives, even if that is lost */
    if (lpig && result != SMMU_PRI_DISABLED &&
        (s->priq_irq_cfg2 & SMMU_PRIQ_IRQ_CFG2_LO)) {
        smmuv3_trigger_irq(s, SMMU_IRQ_PRIQ, 0);
    }
    if (lpig && !stop_marker) {
        smmuv3_priq_answer(sdev, pasid, prgi, result);
    }
    return 0;
}

/*
 * Responses
 */

SMMUCmdError smmuv3_cmd_pri_resp(SMMUv3State *s, const Cmd *cmd)
{
    IOMMUPRIResponse resp = {
        .prgi = CMD_PRGI(cmd),
        .pasid = CMD_SSV(cmd) ? CMD_SSID(cmd) : PCI_NO_PASID,
    };
    SMMUDevice *sdev;

    if (!smmuv3_has_pri(s) || CMD_SSEC(cmd)) {
        return SMMU_CERROR_ILL;
    }
    switch (CMD_RESP(cmd)) {
    case SMMU_PRI_RESP_FAILURE:
        resp.response_code = IOMMU_PRI_RESP_FAILURE;
        break;
    case SMMU_PRI_RESP_INVALID:
        resp.response_code = IOMMU_PRI_RESP_INVALID_REQUEST;
        break;
    case SMMU_PRI_RESP_SUCCESS:
        resp.response_code = IOMMU_PRI_RESP_SUCCESS;
        break;
    default:
        return SMMU_CERROR_ILL;
    }
    trace_smmuv3_cmdq_pri_resp(CMD_SID(cmd), resp.pasid, resp.prgi,
                               CMD_RESP(cmd));
    if (!smmu_enabled(s)) {
        return SMMU_CERROR_NONE;
    }
    sdev = smmu_find_sdev(&s->smmu_state, CMD_SID(cmd));
    if (sdev) {
        pci_pri_respond(sdev->bus, sdev->devfn, &resp);
    }
    /* Nobody there: the response is lost on the bus, which is no error */
    return SMMU_CERROR_NONE;
}

static bool smmuv3_priq_needed(void *opaque)
{
    SMMUv3State *s = opaque;

    return s->pri;
}

static int smmuv3_priq_post_load(void *opaque, int version_id)
{
    SMMUv3State *s = opaque;

    /* What indexes the queue must fit the size that we know */
    smmuv3_priq_set_base(s, s->priq.base);
    return 0;
}

const VMStateDescription vmstate_smmuv3_priq = {
    .name = "smmuv3/priq",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = smmuv3_priq_needed,
    .post_load = smmuv3_priq_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(priq.base, SMMUv3State),
        VMSTATE_UINT32(priq.prod, SMMUv3State),
        VMSTATE_UINT32(priq.cons, SMMUv3State),
        VMSTATE_UINT64(priq_irq_cfg0, SMMUv3State),
        VMSTATE_UINT32(priq_irq_cfg1, SMMUv3State),
        VMSTATE_UINT32(priq_irq_cfg2, SMMUv3State),
        VMSTATE_END_OF_LIST()
    }
};

const PCIIOMMUOps smmuv3_pri_ops = {
    .get_address_space = smmu_find_add_as,
    .get_iotlb_info = smmuv3_get_iotlb_info,
    .ats_request_translation = smmuv3_ats_request_translation,
    .ats_invalidation_over = smmuv3_ats_invalidation_over,
    .pri_request_page = smmuv3_pri_request_page,
};

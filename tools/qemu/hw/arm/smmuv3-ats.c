/*
 * ARM SMMUv3: translation requests and invalidation of device caches
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device has been told stays with it until CMD_ATC_INV says otherwise:
 * no other command reaches it.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"
#include "smmuv3-ats.h"
#include "smmuv3-config.h"
#include "trace.h"

/* STE.EATS; the value of a feature that is not there acts as the first */
#define SMMU_EATS_OFF       0
#define SMMU_EATS_FULL      1
#define SMMU_EATS_SPLIT     2

/* CMD_ATC_INV: 4096 << size, or everything */
#define SMMU_ATC_INV_ALL    52

#define SMMU_PAGE_MASK      MAKE_64BIT_MASK(0, 12)

static bool smmuv3_has_ats(SMMUv3State *s)
{
    return FIELD_EX32(s->idr[0], IDR0, ATS);
}

static hwaddr smmuv3_oas_limit(SMMUv3State *s)
{
    return 1ULL << oas2bits(FIELD_EX32(s->idr[5], IDR5, OAS));
}

void smmuv3_get_iotlb_info(void *opaque, uint8_t *addr_width,
                           uint32_t *min_page_size)
{
    *addr_width = SMMU_VA_BITS;
    *min_page_size = SMMU_PAGE_MASK + 1;
}

void smmuv3_record_ats_event(SMMUv3State *s, SMMUEventInfo *event)
{
    if (FIELD_EX32(s->idr[0], IDR0, ATSRECERR) &&
        FIELD_EX32(s->cr[2], CR2, REC_CFG_ATS)) {
        smmuv3_record_event(s, event);
    }
}

bool smmuv3_ste_eats_valid(SMMUv3State *s, SMMUTransCfg *cfg, const STE *ste)
{
    cfg->ats = false;
    if (!smmuv3_has_ats(s)) {
        return true;
    }
    switch (STE_EATS(ste)) {
    case SMMU_EATS_FULL:
        cfg->ats = true;
        /* A translation request cannot wait for stage 2 */
        return !STE_CFG_S2_ENABLED(STE_CONFIG(ste)) || !STE_S2S(ste);
    case SMMU_EATS_SPLIT:
        /* IDR0.NS1ATS, or there is no second stage: not offered */
        return false;
    default:
        return true;
    }
}

/*
 * Translation requests
 */

typedef struct SMMUATSRequest {
    SMMUDevice *sdev;
    uint32_t ssid;
    bool priv;
    bool exec;
    bool no_write;
    hwaddr length;
} SMMUATSRequest;

IOMMUAccessFlags smmuv3_stage1_perm(const SMMUTransCfg *cfg,
                                    const SMMUTLBEntry *tlbe, bool priv)
{
    IOMMUAccessFlags perm = tlbe->entry.perm & IOMMU_RW;
    bool xn = priv ? tlbe->pxn : tlbe->uxn;

    if (cfg->stage == SMMU_STAGE_2) {
        return IOMMU_RW | IOMMU_EXEC;
    }
    if (priv ? cfg->pan && tlbe->user : !tlbe->user) {
        return IOMMU_NONE;
    }
    if (perm & IOMMU_WO) {
        /* Nothing is executable at EL1 that EL0 can write */
        xn |= cfg->wxn || (priv && tlbe->user);
    }
    return perm | (xn ? 0 : IOMMU_EXEC);
}

IOMMUAccessFlags smmuv3_stage2_perm(const SMMUTransCfg *cfg,
                                    const SMMUTLBEntry *tlbe, bool priv)
{
    IOMMUAccessFlags perm = tlbe->parent_perm & IOMMU_RW;
    /* XN[1] and XN[0]: 00 for all, 01 for EL0, 10 for none, 11 for EL1 */
    bool xn = tlbe->s2_xn == 2 || tlbe->s2_xn == (priv ? 1 : 3);

    if (cfg->stage == SMMU_STAGE_1) {
        return IOMMU_RW | IOMMU_EXEC;
    }
    return perm | (xn ? 0 : IOMMU_EXEC);
}

/* What the completion says */
static IOMMUAccessFlags smmuv3_ats_perm(const SMMUATSRequest *req,
                                        const SMMUTransCfg *cfg,
                                        const SMMUTLBEntry *tlbe)
{
    IOMMUAccessFlags perm = smmuv3_stage1_perm(cfg, tlbe, req->priv) &
                            smmuv3_stage2_perm(cfg, tlbe, req->priv);

    if (!req->exec || !(perm & IOMMU_RO)) {
        perm &= ~IOMMU_EXEC;
    }
    if (req->no_write) {
        perm &= ~IOMMU_WO;
    }
    return perm && req->priv ? perm | IOMMU_PRIV : perm;
}

static void smmuv3_bad_ats_treq(const SMMUATSRequest *req, hwaddr addr,
                                SMMUEventInfo *event)
{
    event->type = SMMU_EVT_F_BAD_ATS_TREQ;
    event->u.f_bad_ats_treq.addr = addr;
    event->u.f_bad_ats_treq.span = MIN(DIV_ROUND_UP(req->length, 4096), 255);
    event->u.f_bad_ats_treq.write = !req->no_write;
    event->u.f_bad_ats_treq.exec = req->exec;
    event->u.f_bad_ats_treq.priv = req->priv;
    smmuv3_record_event(req->sdev->smmu, event);
}

/* Returns 1 if the request is answered with an entry without permissions */
static int smmuv3_ats_config_fault(SMMUv3State *s, SMMUEventInfo *event)
{
    switch (event->type) {
    case SMMU_EVT_NONE:
    case SMMU_EVT_F_TRANSLATION:
    case SMMU_EVT_F_ADDR_SIZE:
    case SMMU_EVT_F_ACCESS:
    case SMMU_EVT_F_PERMISSION:
        /* Stage 2, at a context descriptor or a table of stage 1 */
        return 1;
    default:
        smmuv3_record_ats_event(s, event);
        return -EIO;
    }
}

/* Whether the stream may make translation requests */
static int smmuv3_ats_check_stream(const SMMUATSRequest *req, hwaddr addr,
                                   SMMUEventInfo *event)
{
    SMMUv3State *s = req->sdev->smmu;
    SMMUTransCfg cfg = {};
    STE ste;

    if (!smmu_enabled(s)) {
        smmuv3_bad_ats_treq(req, addr, event);
        return -EACCES;
    }
    if (smmuv3_get_ste(req->sdev, &cfg, &ste, event)) {
        smmuv3_record_ats_event(s, event);
        return -EIO;
    }
    if (cfg.aborted) {
        return -EACCES;
    }
    if (cfg.bypassed || !cfg.ats) {
        smmuv3_bad_ats_treq(req, addr, event);
        return -EACCES;
    }
    return 0;
}

/* See PCIATSTranslateFn */
static int smmuv3_ats_translate(void *opaque, hwaddr addr,
                                IOMMUTLBEntry *entry)
{
    const SMMUATSRequest *req = opaque;
    SMMUv3State *s = req->sdev->smmu;
    SMMUEventInfo event = smmuv3_new_event(req->sdev, req->ssid);
    SMMUPTWEventInfo info = {
        .ats = true,
        .write = !req->no_write,
        .check = true,
        .priv = req->priv,
    };
    IOMMUAccessFlags want = IOMMU_ACCESS_FLAG(true, !req->no_write);
    SMMUTLBEntry *tlbe;
    SMMUTransCfg *cfg;
    int ret;

    QEMU_LOCK_GUARD(&s->mutex);

    entry->target_as = &address_space_memory;
    entry->pasid = req->ssid;
    pci_ats_fill_entry(entry, addr, SMMU_PAGE_MASK, addr, IOMMU_NONE);

    ret = smmuv3_ats_check_stream(req, addr, &event);
    if (ret) {
        return ret;
    }
    cfg = smmuv3_get_config(req->sdev, req->ssid, &event);
    if (!cfg) {
        ret = smmuv3_ats_config_fault(s, &event);
        return ret < 0 ? ret : 0;
    }
    if (cfg->bypassed) {
        /* No SSID, and no stage 1 without: the address is that of memory */
        if (addr < smmuv3_oas_limit(s)) {
            entry->perm = want;
        }
        return 0;
    }
    tlbe = smmu_translate(&s->smmu_state, cfg, addr, want, &info);
    if (tlbe) {
        pci_ats_fill_entry(entry, addr, tlbe->entry.addr_mask,
                           tlbe->entry.translated_addr,
                           smmuv3_ats_perm(req, cfg, tlbe));
        return 0;
    }
    if (info.type == SMMU_PTW_ERR_WALK_EABT) {
        event.type = SMMU_EVT_F_WALK_EABT;
        event.u.f_walk_eabt.addr = addr;
        event.u.f_walk_eabt.addr2 = info.addr;
        event.u.f_walk_eabt.s2 = info.stage == SMMU_STAGE_2;
        event.u.f_walk_eabt.class = info.stage == SMMU_STAGE_2 &&
                                    !info.is_ipa_descriptor ? SMMU_CLASS_IN
                                                            : SMMU_CLASS_TT;
        event.u.f_walk_eabt.pnu = req->priv;
        event.u.f_walk_eabt.ind = req->exec;
        smmuv3_record_ats_event(s, &event);
        return -EIO;
    }
    /* What the device asks a page for is not worth an event */
    return 0;
}

SMMUDevice *smmuv3_find_device(SMMUv3State *s, PCIBus *bus, int devfn)
{
    AddressSpace *as = smmu_find_add_as(bus, &s->smmu_state, devfn);

    return container_of(as, SMMUDevice, as);
}

ssize_t smmuv3_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                       uint32_t pasid, bool priv_req,
                                       bool exec_req, hwaddr addr,
                                       size_t length, bool no_write,
                                       IOMMUTLBEntry *result,
                                       size_t result_length,
                                       uint32_t *err_count)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUATSRequest req = {
        .sdev = smmuv3_find_device(s, bus, devfn),
        .ssid = pasid,
        .priv = priv_req,
        .exec = exec_req,
        .no_write = no_write,
        .length = length,
    };
    ssize_t ret;

    g_assert(bql_locked());

    ret = pci_ats_translate_range(smmuv3_ats_translate, &req,
                                  IOMMU_ACCESS_FLAG_FULL(true, !no_write,
                                                         exec_req, false,
                                                         false, false),
                                  pci_ats_get_stu(bus, devfn), addr, length,
                                  result, result_length, err_count);
    trace_smmuv3_ats_request(smmu_get_sid(req.sdev), pasid, addr, length, ret);
    return ret;
}

/*
 * Translated accesses
 */

static bool smmuv3_check_translated(SMMUDevice *sdev, hwaddr addr,
                                    IOMMUAccessFlags flag)
{
    SMMUv3State *s = sdev->smmu;
    SMMUEventInfo event = smmuv3_new_event(sdev, PCI_NO_PASID);
    SMMUTransCfg cfg = {};
    STE ste;

    if (smmu_enabled(s) && smmuv3_has_ats(s)) {
        if (!FIELD_EX32(s->cr[0], CR0, ATSCHK)) {
            return addr < smmuv3_oas_limit(s);
        }
        if (smmuv3_get_ste(sdev, &cfg, &ste, &event)) {
            smmuv3_record_ats_event(s, &event);
            return false;
        }
        if (cfg.aborted) {
            return false;
        }
        if (!cfg.bypassed && cfg.ats) {
            return addr < smmuv3_oas_limit(s);
        }
    }
    event.type = SMMU_EVT_F_TRANS_FORBIDDEN;
    event.u.f_transl_forbidden.addr = addr;
    event.u.f_transl_forbidden.rnw = !(flag & IOMMU_WO);
    smmuv3_record_event(s, &event);
    return false;
}

IOMMUTLBEntry smmuv3_translated_request(SMMUDevice *sdev, hwaddr addr,
                                        IOMMUAccessFlags flag)
{
    SMMUv3State *s = sdev->smmu;
    IOMMUTLBEntry entry = { .target_as = &address_space_memory };
    bool allowed;

    WITH_QEMU_LOCK_GUARD(&s->mutex) {
        allowed = smmuv3_check_translated(sdev, addr, flag);
    }
    trace_smmuv3_translated_request(smmu_get_sid(sdev), addr, allowed);
    pci_ats_fill_entry(&entry, addr, SMMU_PAGE_MASK, addr,
                       allowed ? IOMMU_RW : IOMMU_NONE);
    return entry;
}

/*
 * Invalidation
 */

/* Whether the function answers by itself that it does not know the request */
static bool smmuv3_ats_unsupported(SMMUDevice *sdev)
{
    PCIDevice *dev = sdev->bus->devices[sdev->devfn];

    return !dev || (dev->enabled && !pcie_ats_enabled(dev));
}

static void smmuv3_atc_inv(SMMUDevice *sdev, uint32_t ssid, bool global,
                           hwaddr addr, hwaddr mask)
{
    SMMUv3State *s = sdev->smmu;
    IOMMUTLBEvent event = {
        .type = IOMMU_NOTIFIER_DEVIOTLB_UNMAP,
        .entry = {
            .target_as = &sdev->as,
            .iova = addr,
            .addr_mask = mask,
            .perm = IOMMU_NONE,
            .pasid = PCI_NO_PASID,
        },
    };

    /* Vhost knows nothing of PASIDs, and registers with the memory API */
    if (ssid == PCI_NO_PASID) {
        memory_region_notify_iommu(&sdev->iommu, SMMU_IDX_UNTRANSLATED, event);
    }
    if (smmuv3_ats_unsupported(sdev)) {
        return;
    }
    switch (pci_ats_invalidate(sdev->bus, sdev->devfn, ssid, global, addr,
                               mask)) {
    case PCI_ATS_INV_DONE:
        break;
    case PCI_ATS_INV_HELD:
        s->atc_inv_held++;
        break;
    case PCI_ATS_INV_FAILED:
        s->atc_inv_failed = true;
        break;
    }
}

SMMUCmdError smmuv3_cmd_atc_inv(SMMUv3State *s, const Cmd *cmd)
{
    bool ssv = CMD_SSV(cmd);
    uint32_t ssid = ssv ? CMD_SSID(cmd) : PCI_NO_PASID;
    uint8_t size = CMD_ATC_SIZE(cmd);
    hwaddr mask, addr;
    SMMUDevice *sdev;

    if (!smmuv3_has_ats(s) || CMD_SSEC(cmd) || size > SMMU_ATC_INV_ALL) {
        return SMMU_CERROR_ILL;
    }
    mask = size == SMMU_ATC_INV_ALL ? UINT64_MAX : (4096ULL << size) - 1;
    addr = CMD_ADDR(cmd) & ~mask;
    trace_smmuv3_cmdq_atc_inv(CMD_SID(cmd), ssid, ssv && CMD_ATC_GLOBAL(cmd),
                              addr, mask);
    if (!smmu_enabled(s)) {
        return SMMU_CERROR_NONE;
    }
    sdev = smmu_find_sdev(&s->smmu_state, CMD_SID(cmd));
    if (sdev) {
        smmuv3_atc_inv(sdev, ssid, ssv && CMD_ATC_GLOBAL(cmd), addr, mask);
    }
    return SMMU_CERROR_NONE;
}

SMMUCmdError smmuv3_ats_sync(SMMUv3State *s, bool *wait)
{
    *wait = s->atc_inv_held;
    if (*wait || !s->atc_inv_failed) {
        return SMMU_CERROR_NONE;
    }
    /* Software that goes on here has been told */
    s->atc_inv_failed = false;
    return SMMU_CERROR_ATC_INV_SYNC;
}

void smmuv3_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t n, bool completed)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    /* After a reset of the SMMU nobody waits for them */
    n = MIN(n, s->atc_inv_held);
    trace_smmuv3_atc_inv_over(devfn, n, completed);
    if (!n) {
        return;
    }
    s->atc_inv_held -= n;
    if (!completed) {
        s->atc_inv_failed = true;
    }
    smmuv3_cmdq_consume(s);
}

void smmuv3_ats_reset(SMMUv3State *s)
{
    s->atc_inv_held = 0;
    s->atc_inv_failed = false;
}

static bool smmuv3_ats_needed(void *opaque)
{
    SMMUv3State *s = opaque;

    return s->atc_inv_held || s->atc_inv_failed;
}

const VMStateDescription vmstate_smmuv3_ats = {
    .name = "smmuv3/ats",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = smmuv3_ats_needed,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(atc_inv_held, SMMUv3State),
        VMSTATE_BOOL(atc_inv_failed, SMMUv3State),
        VMSTATE_END_OF_LIST()
    }
};

const PCIIOMMUOps smmuv3_ats_ops = {
    .get_address_space = smmu_find_add_as,
    .get_iotlb_info = smmuv3_get_iotlb_info,
    .ats_request_translation = smmuv3_ats_request_translation,
    .ats_invalidation_over = smmuv3_ats_invalidation_over,
};

/*
 * ARM SMMU: hardware update of the access flag and of dirty state
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A walk only notes what there is to be set.  That is done once it is known
 * that the access goes through, in both stages: dirty state must not come of
 * anything else.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_ats.h"
#include "smmu-httu.h"
#include "smmu-internal.h"
#include "trace.h"

#define SMMU_PTE_AF     (1ULL << 10)
/* Writable of stage 2, and its opposite of stage 1 */
#define SMMU_PTE_AP2    (1ULL << 7)

uint8_t smmu_httu_s1(const SMMUTransCfg *cfg, uint64_t pte, SMMUHTTUDesc *desc)
{
    uint8_t ap = PTE_AP(pte);

    desc->pte = pte;
    desc->af = cfg->ha && !PTE_AF(pte);
    desc->clean = cfg->hd && PTE_DBM(pte) && (ap & 2);
    return desc->clean ? ap & ~2 : ap;
}

uint8_t smmu_httu_s2(const SMMUTransCfg *cfg, uint64_t pte, SMMUHTTUDesc *desc)
{
    uint8_t ap = PTE_AP(pte);

    desc->pte = pte;
    desc->af = cfg->s2cfg.ha && !PTE_AF(pte);
    desc->clean = cfg->s2cfg.hd && PTE_DBM(pte) && !(ap & 2);
    return desc->clean ? ap | 2 : ap;
}

/* What is not in RAM cannot be updated */
static int smmu_httu_write(dma_addr_t addr, uint64_t old, uint64_t new,
                           SMMUPTWEventInfo *info)
{
    bool changed;

    if (!pci_iommu_update_entry(addr, old, new, &changed)) {
        info->type = SMMU_PTW_ERR_WALK_EABT;
        info->addr = addr;
        return -EINVAL;
    }
    trace_smmu_httu(addr, old, new, !changed);
    return changed ? -EAGAIN : 0;
}

/* Stage 2 has to let the SMMU write to a table of stage 1 */
static int smmu_httu_write_s1(SMMUState *bs, SMMUTransCfg *cfg,
                              const SMMUHTTUDesc *desc, uint64_t new,
                              SMMUPTWEventInfo *info)
{
    dma_addr_t addr = desc->addr;
    int ret;

    if (new == desc->pte) {
        return 0;
    }
    if (cfg->stage == SMMU_NESTED) {
        addr = desc->ipa;
        ret = smmu_translate_table_ipa(bs, &addr, cfg, IOMMU_RW, info);
        if (ret) {
            info->table_write = true;
            return ret;
        }
    }
    ret = smmu_httu_write(addr, desc->pte, new, info);
    if (ret == -EINVAL) {
        info->stage = SMMU_STAGE_1;
    }
    return ret;
}

static int smmu_httu_write_s2(const SMMUHTTUDesc *desc, uint64_t new,
                              SMMUPTWEventInfo *info)
{
    int ret;

    if (new == desc->pte) {
        return 0;
    }
    ret = smmu_httu_write(desc->addr, desc->pte, new, info);
    if (ret == -EINVAL) {
        info->stage = SMMU_STAGE_2;
    }
    return ret;
}

/* Whether stage 1 lets whoever asks have access at all */
static bool smmu_httu_accessible(const SMMUTransCfg *cfg,
                                 const SMMUTLBEntry *tlbe,
                                 const SMMUPTWEventInfo *info)
{
    if (!info->check || cfg->stage == SMMU_STAGE_2) {
        return true;
    }
    return info->priv ? !cfg->pan || !tlbe->user : tlbe->user;
}

int smmu_httu_update(SMMUState *bs, SMMUTransCfg *cfg, IOMMUAccessFlags perm,
                     SMMUTLBEntry *tlbe, const SMMUHTTU *httu,
                     SMMUPTWEventInfo *info)
{
    bool wants = (perm & IOMMU_WO) || (info->ats && info->write);
    bool dirty = wants && (tlbe->entry.perm & tlbe->parent_perm & IOMMU_WO) &&
                 smmu_httu_accessible(cfg, tlbe, info);
    uint64_t s1 = httu->s1.pte | (httu->s1.af ? SMMU_PTE_AF : 0);
    uint64_t s2 = httu->s2.pte | (httu->s2.af ? SMMU_PTE_AF : 0);
    int ret;

    if (dirty) {
        s1 &= httu->s1.clean ? ~SMMU_PTE_AP2 : UINT64_MAX;
        s2 |= httu->s2.clean ? SMMU_PTE_AP2 : 0;
    } else {
        if (httu->s1.clean) {
            tlbe->entry.perm &= ~IOMMU_WO;
        }
        if (httu->s2.clean) {
            tlbe->parent_perm &= ~IOMMU_WO;
        }
        if (cfg->stage != SMMU_NESTED) {
            tlbe->entry.perm &= tlbe->parent_perm;
            tlbe->parent_perm = tlbe->entry.perm;
        }
    }
    ret = smmu_httu_write_s1(bs, cfg, &httu->s1, s1, info);
    return ret ? ret : smmu_httu_write_s2(&httu->s2, s2, info);
}

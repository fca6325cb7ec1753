/*
 * ARM SMMUv3: context descriptor tables
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "hw/pci/pci_bus.h"
#include "exec/address-spaces.h"
#include "system/dma.h"
#include "smmuv3-config.h"
#include "trace.h"

/* STE.S1Fmt, of those with two levels; the reserved value is a linear table */
#define SMMU_S1FMT_4K       1
#define SMMU_S1FMT_64K      2

/* STE.S1DSS, for what comes without SSID; other values terminate it */
#define SMMU_S1DSS_BYPASS   1
#define SMMU_S1DSS_SSID0    2

#define SMMU_CD_SHIFT       6
#define SMMU_L1CD_SHIFT     3
#define SMMU_L1CD_VALID     1
#define SMMU_L1CD_L2PTR     MAKE_64BIT_MASK(12, 44)

static uint8_t smmuv3_ssidsize(SMMUv3State *s)
{
    return FIELD_EX32(s->idr[1], IDR1, SSIDSIZE);
}

/* log2 of the number of context descriptors; 0 if there is only one */
static uint8_t smmuv3_s1cdmax(SMMUv3State *s, const STE *ste)
{
    return smmuv3_ssidsize(s) ? STE_S1CDMAX(ste) : 0;
}

bool smmuv3_ste_substreams_valid(SMMUv3State *s, const STE *ste)
{
    uint8_t s1cdmax = smmuv3_s1cdmax(s, ste);

    if (!STE_CFG_S1_ENABLED(STE_CONFIG(ste))) {
        return true;
    }
    if (s1cdmax > smmuv3_ssidsize(s)) {
        return false;
    }
    if (s1cdmax && STE_S1FMT(ste) && !FIELD_EX32(s->idr[0], IDR0, CD2L)) {
        return false;
    }
    return !STE_S1STALLD(ste) ||
           FIELD_EX32(s->idr[0], IDR0, STALL_MODEL) == 0;
}

/* Read from a context descriptor table, at an IPA if there is a second stage */
static int smmuv3_read_cd_table(SMMUv3State *s, SMMUTransCfg *cfg,
                                dma_addr_t addr, uint32_t *words, size_t n,
                                SMMUEventInfo *event)
{
    SMMUTLBEntry *entry;
    size_t i;

    if (cfg->stage == SMMU_NESTED) {
        if (smmuv3_do_translate(s, addr, cfg, event, IOMMU_RO, &entry,
                                SMMU_CLASS_CD) != SMMU_TRANS_SUCCESS) {
            return -EINVAL;
        }
        addr = CACHED_ENTRY_TO_ADDR(entry, addr);
    }
    if (dma_memory_read(&address_space_memory, addr, words,
                        n * sizeof(*words), MEMTXATTRS_UNSPECIFIED)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "SMMUv3: no context descriptor table at 0x%" PRIx64 "\n",
                      addr);
        event->type = SMMU_EVT_F_CD_FETCH;
        event->u.f_cd_fetch.addr = addr;
        return -EINVAL;
    }
    for (i = 0; i < n; i++) {
        le32_to_cpus(&words[i]);
    }
    return 0;
}

/* Tables are aligned to their size: lower bits of the pointer are ignored */
static dma_addr_t smmuv3_cd_table_base(const STE *ste, unsigned int log2size)
{
    return STE_CTXPTR(ste) & ~MAKE_64BIT_MASK(0, log2size);
}

static int smmuv3_find_cd(SMMUv3State *s, const STE *ste, SMMUTransCfg *cfg,
                          uint32_t ssid, dma_addr_t *addr,
                          SMMUEventInfo *event)
{
    uint8_t s1cdmax = smmuv3_s1cdmax(s, ste);
    unsigned int split, l1_bits;
    dma_addr_t l1_addr;
    CDDesc l1cd;
    uint64_t desc;

    switch (s1cdmax ? STE_S1FMT(ste) : 0) {
    case SMMU_S1FMT_4K:
        split = 12 - SMMU_CD_SHIFT;
        break;
    case SMMU_S1FMT_64K:
        split = 16 - SMMU_CD_SHIFT;
        break;
    default:
        *addr = smmuv3_cd_table_base(ste, s1cdmax + SMMU_CD_SHIFT) +
                ((dma_addr_t)ssid << SMMU_CD_SHIFT);
        return 0;
    }
    l1_bits = s1cdmax > split ? s1cdmax - split : 0;
    l1_addr = smmuv3_cd_table_base(ste, l1_bits + SMMU_L1CD_SHIFT) +
              ((dma_addr_t)(ssid >> split) << SMMU_L1CD_SHIFT);
    if (smmuv3_read_cd_table(s, cfg, l1_addr, l1cd.word,
                             ARRAY_SIZE(l1cd.word), event)) {
        return -EINVAL;
    }
    desc = l1cd.word[0] | (uint64_t)l1cd.word[1] << 32;
    trace_smmuv3_get_l1cd(l1_addr, desc);
    if (!(desc & SMMU_L1CD_VALID)) {
        event->type = SMMU_EVT_C_BAD_SUBSTREAMID;
        return -EINVAL;
    }
    *addr = (desc & SMMU_L1CD_L2PTR &
             ~MAKE_64BIT_MASK(0, split + SMMU_CD_SHIFT)) +
            ((dma_addr_t)extract32(ssid, 0, split) << SMMU_CD_SHIFT);
    return 0;
}

/*
 * Which descriptor a request uses.  Returns 1, or 0 if it bypasses stage 1, or
 * -EINVAL.
 */
static int smmuv3_select_cd(SMMUv3State *s, const STE *ste, uint32_t *ssid,
                            SMMUEventInfo *event)
{
    uint8_t s1cdmax = smmuv3_s1cdmax(s, ste);
    uint8_t s1dss = STE_S1DSS(ste);

    if (*ssid != PCI_NO_PASID) {
        if (!s1cdmax || *ssid >> s1cdmax) {
            event->type = SMMU_EVT_C_BAD_SUBSTREAMID;
            return -EINVAL;
        }
        if (*ssid == 0 && s1dss == SMMU_S1DSS_SSID0) {
            event->type = SMMU_EVT_F_STREAM_DISABLED;
            return -EINVAL;
        }
        return 1;
    }
    *ssid = 0;
    if (!s1cdmax || s1dss == SMMU_S1DSS_SSID0) {
        return 1;
    }
    if (s1dss == SMMU_S1DSS_BYPASS) {
        return 0;
    }
    event->type = SMMU_EVT_F_STREAM_DISABLED;
    return -EINVAL;
}

int smmuv3_get_cd(SMMUv3State *s, const STE *ste, SMMUTransCfg *cfg,
                  uint32_t ssid, CD *cd, SMMUEventInfo *event)
{
    dma_addr_t addr;
    int ret = smmuv3_select_cd(s, ste, &ssid, event);

    if (ret < 0) {
        return ret;
    }
    if (!ret) {
        cfg->s1_bypassed = true;
        if (cfg->stage == SMMU_NESTED) {
            cfg->stage = SMMU_STAGE_2;
        } else {
            cfg->bypassed = true;
        }
        return 0;
    }
    ret = smmuv3_find_cd(s, ste, cfg, ssid, &addr, event);
    if (ret) {
        return ret;
    }
    trace_smmuv3_get_cd(addr);
    if (smmuv3_read_cd_table(s, cfg, addr, cd->word, ARRAY_SIZE(cd->word),
                             event)) {
        return -EINVAL;
    }
    return 1;
}

/*
 * ARM SMMUv3: configuration of streams and substreams
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Stream table entries are cached by device, what a request is translated with
 * by device and SSID.  Both are kept until software invalidates them, so that
 * a forgotten command shows.  Nothing that is wrong is cached.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_bus.h"
#include "smmuv3-config.h"
#include "trace.h"

/* Software decides how many SSIDs there are, but not how much memory we use */
#define SMMU_CONFIGS_MAX 1024

void smmuv3_config_init(SMMUv3State *s)
{
    s->stes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
}

void smmuv3_config_reset(SMMUv3State *s)
{
    g_hash_table_remove_all(s->stes);
    g_hash_table_remove_all(s->smmu_state.configs);
}

SMMUEventInfo smmuv3_new_event(SMMUDevice *sdev, uint32_t ssid)
{
    bool ssv = ssid != PCI_NO_PASID;

    return (SMMUEventInfo) {
        .type = SMMU_EVT_NONE,
        .sid = smmu_get_sid(sdev),
        .ssv = ssv,
        .ssid = ssv ? ssid : 0,
    };
}

int smmuv3_get_ste(SMMUDevice *sdev, SMMUTransCfg *cfg, STE *ste,
                   SMMUEventInfo *event)
{
    SMMUv3State *s = sdev->smmu;
    const STE *cached = g_hash_table_lookup(s->stes, sdev);
    int ret;

    if (cached) {
        *ste = *cached;
    } else {
        ret = smmuv3_find_ste(s, smmu_get_sid(sdev), ste, event);
        if (ret) {
            return ret;
        }
    }
    /* ASID defaults to -1 (if s1 is not supported). */
    cfg->asid = -1;
    ret = smmuv3_decode_ste(s, cfg, ste, event);
    if (!ret && !cached) {
        g_hash_table_insert(s->stes, sdev, g_memdup2(ste, sizeof(*ste)));
    }
    return ret;
}

static int smmuv3_decode_config(SMMUDevice *sdev, uint32_t ssid,
                                SMMUTransCfg *cfg, SMMUEventInfo *event)
{
    SMMUv3State *s = sdev->smmu;
    STE ste;
    CD cd;
    int ret = smmuv3_get_ste(sdev, cfg, &ste, event);

    if (ret) {
        return ret;
    }
    /* Without stage 1 the SSID means nothing */
    if (cfg->aborted || cfg->bypassed || cfg->stage == SMMU_STAGE_2) {
        return 0;
    }
    ret = smmuv3_get_cd(s, &ste, cfg, ssid, &cd, event);
    if (ret <= 0) {
        return ret;
    }
    return smmuv3_decode_cd(s, cfg, &cd, event);
}

SMMUTransCfg *smmuv3_get_config(SMMUDevice *sdev, uint32_t ssid,
                                SMMUEventInfo *event)
{
    SMMUConfigKey key = { .sdev = sdev, .ssid = ssid };
    SMMUv3State *s = sdev->smmu;
    GHashTable *configs = s->smmu_state.configs;
    SMMUTransCfg *cfg = g_hash_table_lookup(configs, &key);
    uint32_t hits, misses;

    if (cfg) {
        sdev->cfg_cache_hits++;
    } else {
        sdev->cfg_cache_misses++;
    }
    hits = sdev->cfg_cache_hits;
    misses = sdev->cfg_cache_misses;
    if (cfg) {
        trace_smmuv3_config_cache_hit(smmu_get_sid(sdev), ssid, hits, misses);
        return cfg;
    }
    trace_smmuv3_config_cache_miss(smmu_get_sid(sdev), ssid, hits, misses);

    cfg = g_new0(SMMUTransCfg, 1);
    if (smmuv3_decode_config(sdev, ssid, cfg, event)) {
        g_free(cfg);
        return NULL;
    }
    if (g_hash_table_size(configs) >= SMMU_CONFIGS_MAX) {
        g_hash_table_remove_all(configs);
    }
    g_hash_table_insert(configs, g_memdup2(&key, sizeof(key)), cfg);
    return cfg;
}

/*
 * Invalidation
 */

static gboolean smmuv3_ste_in_range(gpointer key, gpointer value,
                                    gpointer opaque)
{
    const SMMUSIDRange *range = opaque;
    uint32_t sid = smmu_get_sid(key);

    return sid >= range->start && sid <= range->end;
}

static gboolean smmuv3_config_of_device(gpointer key, gpointer value,
                                        gpointer opaque)
{
    const SMMUConfigKey *config = key;

    return config->sdev == opaque;
}

void smmuv3_flush_streams(SMMUv3State *s, SMMUSIDRange range)
{
    g_hash_table_foreach_remove(s->stes, smmuv3_ste_in_range, &range);
    smmu_configs_inv_sid_range(&s->smmu_state, range);
}

void smmuv3_flush_stream(SMMUDevice *sdev)
{
    SMMUv3State *s = sdev->smmu;

    g_hash_table_remove(s->stes, sdev);
    smmuv3_flush_cds(sdev);
}

void smmuv3_flush_cds(SMMUDevice *sdev)
{
    SMMUv3State *s = sdev->smmu;

    trace_smmu_config_cache_inv(smmu_get_sid(sdev));
    g_hash_table_foreach_remove(s->smmu_state.configs,
                                smmuv3_config_of_device, sdev);
}

void smmuv3_flush_cd(SMMUDevice *sdev, uint32_t ssid)
{
    SMMUConfigKey key = { .sdev = sdev, .ssid = ssid };
    SMMUv3State *s = sdev->smmu;

    trace_smmuv3_flush_cd(smmu_get_sid(sdev), ssid);
    g_hash_table_remove(s->smmu_state.configs, &key);
    if (ssid == 0) {
        /* What comes without SSID may use that one, too */
        key.ssid = PCI_NO_PASID;
        g_hash_table_remove(s->smmu_state.configs, &key);
    }
}

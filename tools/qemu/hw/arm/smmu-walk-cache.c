/*
 * ARM SMMU: cache of tables above the last level
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the tables of stage 1 are below the top one, by what a descriptor was
 * found for.  Hardware may have such a cache, so software that takes a table
 * away has to say so in the invalidation (Leaf clear), or the walk goes on in
 * what is no table any more.
 *
 * Entries are never dropped but by an invalidation, or for lack of room: what
 * is wrong with the hints of software is to be seen each time.  What is not
 * valid is not cached.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "smmu-walk-cache.h"
#include "smmu-internal.h"

/* More than that is not worth the memory, which is the host's */
#define SMMU_WALK_CACHE_MAX 1024

typedef struct SMMUWalkKey {
    int asid;
    int vmid;
    dma_addr_t prefix;      /* of the addresses that the table is for */
    uint8_t granule_sz;
    uint8_t level;
} SMMUWalkKey;

typedef struct SMMUWalkEntry {
    SMMUWalkKey key;
    SMMUWalkStep step;
} SMMUWalkEntry;

/* Address bits that a table of that level decodes, and those below it */
static uint64_t smmu_walk_mask(uint8_t granule_sz, uint8_t level)
{
    return MAKE_64BIT_MASK(0, level_shift(level - 1, granule_sz));
}

static SMMUWalkKey smmu_walk_key(const SMMUTransCfg *cfg, uint8_t granule_sz,
                                 dma_addr_t iova, uint8_t level)
{
    return (SMMUWalkKey) {
        .asid = cfg->asid,
        .vmid = cfg->s2cfg.vmid,
        .prefix = iova & ~smmu_walk_mask(granule_sz, level),
        .granule_sz = granule_sz,
        .level = level,
    };
}

static guint smmu_walk_hash(gconstpointer v)
{
    const SMMUWalkKey *key = v;
    uint64_t mix = key->prefix ^ key->level ^ (uint64_t)key->asid << 40 ^
                   (uint64_t)key->vmid << 20;

    return g_int64_hash(&mix);
}

static gboolean smmu_walk_equal(gconstpointer v1, gconstpointer v2)
{
    const SMMUWalkKey *a = v1, *b = v2;

    return a->prefix == b->prefix && a->asid == b->asid &&
           a->vmid == b->vmid && a->level == b->level &&
           a->granule_sz == b->granule_sz;
}

void smmu_walk_cache_init(SMMUState *bs)
{
    bs->walk_cache = g_hash_table_new_full(smmu_walk_hash, smmu_walk_equal,
                                           NULL, g_free);
}

void smmu_walk_cache_lookup(SMMUState *bs, const SMMUTransCfg *cfg,
                            uint8_t granule_sz, dma_addr_t iova,
                            SMMUWalkStep *step)
{
    uint8_t level;

    if (!bs->walk_cache || cfg->stage != SMMU_STAGE_1) {
        return;
    }
    for (level = VMSA_LEVELS - 1; level > step->level; level--) {
        SMMUWalkKey key = smmu_walk_key(cfg, granule_sz, iova, level);
        SMMUWalkEntry *entry = g_hash_table_lookup(bs->walk_cache, &key);

        if (entry) {
            *step = entry->step;
            return;
        }
    }
}

void smmu_walk_cache_add(SMMUState *bs, const SMMUTransCfg *cfg,
                         uint8_t granule_sz, dma_addr_t iova,
                         const SMMUWalkStep *step)
{
    SMMUWalkEntry *entry;

    if (!bs->walk_cache || cfg->stage != SMMU_STAGE_1) {
        return;
    }
    if (g_hash_table_size(bs->walk_cache) >= SMMU_WALK_CACHE_MAX) {
        g_hash_table_remove_all(bs->walk_cache);
    }
    entry = g_new(SMMUWalkEntry, 1);
    entry->key = smmu_walk_key(cfg, granule_sz, iova, step->level);
    entry->step = *step;
    g_hash_table_replace(bs->walk_cache, &entry->key, entry);
}

void smmu_walk_cache_drop(SMMUState *bs, int asid, int vmid, dma_addr_t iova,
                          uint64_t size)
{
    dma_addr_t last = iova + (size - 1);
    const SMMUWalkKey *key;
    GHashTableIter iter;

    if (!bs->walk_cache) {
        return;
    }
    g_hash_table_iter_init(&iter, bs->walk_cache);
    while (g_hash_table_iter_next(&iter, (void **)&key, NULL)) {
        dma_addr_t end = key->prefix |
                         smmu_walk_mask(key->granule_sz, key->level);

        if ((asid < 0 || key->asid == asid) &&
            (vmid < 0 || key->vmid == vmid) &&
            (!size || (key->prefix <= last && end >= iova))) {
            g_hash_table_iter_remove(&iter);
        }
    }
}

/*
 * AMD IOMMU (AMD-Vi): caches
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Device table entries, entries of GCR3 tables, and pages.  What is in them
 * stays until a command says otherwise, whatever software does to its tables
 * and registers.  Pages and GCR3 entries belong to a domain, so software must
 * not have different ones under one domain ID.
 */

#include "qemu/osdep.h"
#include "amd_iommu_internal.h"

#define AMDVI_PAGE_CACHE_MAX 4096
#define AMDVI_GCR3_CACHE_MAX 1024

static guint amdvi_page_hash(gconstpointer v)
{
    const AMDVIPage *page = v;
    uint64_t h = page->iova >> 12;

    h = h * 31 + page->domain;
    h = h * 31 + page->pasid;
    return (guint)(h ^ h >> 32) * 2 + page->priv;
}

static gboolean amdvi_page_equal(gconstpointer v1, gconstpointer v2)
{
    const AMDVIPage *a = v1, *b = v2;

    return a->iova == b->iova && a->domain == b->domain &&
           a->pasid == b->pasid && a->priv == b->priv;
}

void amdvi_init_caches(AMDVIState *s)
{
    s->dte_cache = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    s->gcr3_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                          g_free);
    s->page_cache = g_hash_table_new_full(amdvi_page_hash, amdvi_page_equal,
                                          g_free, NULL);
}

void amdvi_drop_caches(AMDVIState *s)
{
    g_hash_table_remove_all(s->dte_cache);
    g_hash_table_remove_all(s->gcr3_cache);
    g_hash_table_remove_all(s->page_cache);
}

AMDVIDTE *amdvi_cache_dte(AMDVIState *s, uint16_t devid)
{
    return g_hash_table_lookup(s->dte_cache, GUINT_TO_POINTER(devid));
}

AMDVIDTE *amdvi_cache_add_dte(AMDVIState *s, uint16_t devid,
                              const AMDVIDTE *dte)
{
    AMDVIDTE *copy = g_memdup2(dte, sizeof(*dte));

    g_hash_table_replace(s->dte_cache, GUINT_TO_POINTER(devid), copy);
    return copy;
}

void amdvi_cache_drop_dte(AMDVIState *s, uint16_t devid)
{
    g_hash_table_remove(s->dte_cache, GUINT_TO_POINTER(devid));
}

static uint64_t amdvi_gcr3_key(uint16_t domain, uint32_t pasid)
{
    return (uint64_t)domain << 32 | pasid;
}

bool amdvi_cache_gcr3(AMDVIState *s, uint16_t domain, uint32_t pasid,
                      hwaddr *root)
{
    uint64_t key = amdvi_gcr3_key(domain, pasid);
    hwaddr *cached = g_hash_table_lookup(s->gcr3_cache, &key);

    if (cached) {
        *root = *cached;
    }
    return cached;
}

void amdvi_cache_add_gcr3(AMDVIState *s, uint16_t domain, uint32_t pasid,
                          hwaddr root)
{
    uint64_t key = amdvi_gcr3_key(domain, pasid);

    if (g_hash_table_size(s->gcr3_cache) >= AMDVI_GCR3_CACHE_MAX) {
        g_hash_table_remove_all(s->gcr3_cache);
    }
    g_hash_table_replace(s->gcr3_cache, g_memdup2(&key, sizeof(key)),
                         g_memdup2(&root, sizeof(root)));
}

const AMDVIPage *amdvi_cache_page(AMDVIState *s, const AMDVIPage *key)
{
    return g_hash_table_lookup(s->page_cache, key);
}

void amdvi_cache_add_page(AMDVIState *s, const AMDVIPage *page)
{
    if (g_hash_table_size(s->page_cache) >= AMDVI_PAGE_CACHE_MAX) {
        g_hash_table_remove_all(s->page_cache);
    }
    g_hash_table_add(s->page_cache, g_memdup2(page, sizeof(*page)));
}

typedef struct AMDVIDrop {
    uint16_t domain;
    uint32_t pasid;
    hwaddr addr, mask;
} AMDVIDrop;

static gboolean amdvi_page_matches(gpointer key, gpointer value,
                                   gpointer opaque)
{
    const AMDVIPage *page = key;
    const AMDVIDrop *drop = opaque;
    hwaddr mask = page->walk.mask | drop->mask;

    if (page->domain != drop->domain) {
        return false;
    }
    if (drop->pasid == PCI_NO_PASID && page->nested) {
        /* Its address of the guest is not known any more */
        return true;
    }
    return page->pasid == drop->pasid &&
           !((page->iova ^ drop->addr) & ~mask);
}

void amdvi_cache_drop_pages(AMDVIState *s, uint16_t domain, uint32_t pasid,
                            bool tables, hwaddr addr, hwaddr mask)
{
    AMDVIDrop drop = { domain, pasid, addr, mask };
    uint64_t key = amdvi_gcr3_key(domain, pasid);

    g_hash_table_foreach_remove(s->page_cache, amdvi_page_matches, &drop);
    if (tables && pasid != PCI_NO_PASID) {
        g_hash_table_remove(s->gcr3_cache, &key);
    }
}

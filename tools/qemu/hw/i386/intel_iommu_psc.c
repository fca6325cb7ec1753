/*
 * Intel IOMMU (VT-d): paging-structure cache
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the tables below the top one are, by what an entry of them was found
 * for.  Hardware has such a cache, so software that takes a table down has to
 * say so in the invalidation (IH clear), or the walk goes on in what is no
 * table any more.  Section numbers are those of the VT-d specification 4.1.
 *
 * Entries are never dropped but by an invalidation, a page request, or for lack
 * of room: what is wrong with the hints of software is to be seen each time.
 * What is not present is not cached.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_psc.h"
#include "trace.h"

/* More than that is not worth the memory, which is the host's */
#define VTD_PSC_MAX 1024

#define VTD_PSC_LEVEL_MAX 5

typedef struct VTDPSCKey {
    VTDPSCTag tag;
    hwaddr prefix;      /* of the addresses that the table is for */
    uint32_t level;
} VTDPSCKey;

typedef struct VTDPSCEntry {
    VTDPSCKey key;
    VTDPSCTable table;
} VTDPSCEntry;

/* Address bits that the table at the end of an entry of that level decodes */
static hwaddr vtd_psc_mask(uint32_t level)
{
    return MAKE_64BIT_MASK(0, VTD_PAGE_SHIFT_4K + (level - 1) * VTD_LEVEL_BITS);
}

static VTDPSCKey vtd_psc_key(const VTDPSCTag *tag, hwaddr addr, uint32_t level)
{
    return (VTDPSCKey) {
        .tag = *tag,
        .prefix = addr & ~vtd_psc_mask(level),
        .level = level,
    };
}

static guint vtd_psc_hash(gconstpointer v)
{
    const VTDPSCKey *key = v;
    uint64_t mix = key->prefix ^ key->level ^ (uint64_t)key->tag.sid << 40 ^
                   (uint64_t)key->tag.pasid << 20 ^ key->tag.did;

    return g_int64_hash(&mix);
}

static gboolean vtd_psc_equal(gconstpointer v1, gconstpointer v2)
{
    const VTDPSCKey *a = v1, *b = v2;

    return a->prefix == b->prefix && a->level == b->level &&
           a->tag.sid == b->tag.sid && a->tag.did == b->tag.did &&
           a->tag.pasid == b->tag.pasid;
}

bool vtd_psc_lookup(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr,
                    uint32_t top, uint8_t rights, VTDPSCTable *table)
{
    uint32_t level;

    if (!s->psc_enabled) {
        return false;
    }
    for (level = 2; level <= top; level++) {
        VTDPSCKey key = vtd_psc_key(tag, addr, level);
        VTDPSCEntry *entry = g_hash_table_lookup(s->psc, &key);

        if (entry && !(rights & ~entry->table.rights)) {
            trace_vtd_psc_hit(tag->sid, tag->pasid, addr, level,
                              entry->table.base);
            *table = entry->table;
            return true;
        }
    }
    return false;
}

void vtd_psc_update(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr,
                    const VTDPSCTable *table)
{
    VTDPSCEntry *entry;

    if (!s->psc_enabled) {
        return;
    }
    if (g_hash_table_size(s->psc) >= VTD_PSC_MAX) {
        g_hash_table_remove_all(s->psc);
    }
    entry = g_new(VTDPSCEntry, 1);
    entry->key = vtd_psc_key(tag, addr, table->level);
    entry->table = *table;
    g_hash_table_replace(s->psc, &entry->key, entry);
}

void vtd_psc_reset(IntelIOMMUState *s)
{
    g_clear_pointer(&s->psc, g_hash_table_destroy);
    s->psc = g_hash_table_new_full(vtd_psc_hash, vtd_psc_equal, NULL, g_free);
}

void vtd_psc_drop_addr(IntelIOMMUState *s, const VTDPSCTag *tag, hwaddr addr)
{
    uint32_t level;

    for (level = 2; level <= VTD_PSC_LEVEL_MAX; level++) {
        VTDPSCKey key = vtd_psc_key(tag, addr, level);

        g_hash_table_remove(s->psc, &key);
    }
}

/* What an invalidation is about */
typedef struct VTDPSCRange {
    uint16_t did;
    uint32_t pasid;
    hwaddr first, last;
} VTDPSCRange;

static gboolean vtd_psc_in_domain(gpointer key, gpointer value, gpointer opaque)
{
    const VTDPSCEntry *entry = value;
    const VTDPSCRange *range = opaque;

    return entry->key.tag.did == range->did;
}

static gboolean vtd_psc_first_stage_in_domain(gpointer key, gpointer value,
                                              gpointer opaque)
{
    const VTDPSCEntry *entry = value;

    return vtd_psc_in_domain(key, value, opaque) &&
           entry->key.tag.pasid != PCI_NO_PASID;
}

static gboolean vtd_psc_in_range(gpointer key, gpointer value, gpointer opaque)
{
    const VTDPSCEntry *entry = value;
    const VTDPSCRange *range = opaque;
    hwaddr last = entry->key.prefix | vtd_psc_mask(entry->key.level);

    return entry->key.tag.did == range->did &&
           entry->key.tag.pasid == range->pasid &&
           entry->key.prefix <= range->last && last >= range->first;
}

void vtd_psc_drop_domain(IntelIOMMUState *s, uint16_t did)
{
    VTDPSCRange range = { .did = did };

    g_hash_table_foreach_remove(s->psc, vtd_psc_in_domain, &range);
}

void vtd_psc_drop_first_stages(IntelIOMMUState *s, uint16_t did)
{
    VTDPSCRange range = { .did = did };

    g_hash_table_foreach_remove(s->psc, vtd_psc_first_stage_in_domain, &range);
}

void vtd_psc_drop_pasid(IntelIOMMUState *s, uint16_t did, uint32_t pasid)
{
    VTDPSCRange range = { .did = did, .pasid = pasid, .last = HWADDR_MAX };

    g_hash_table_foreach_remove(s->psc, vtd_psc_in_range, &range);
}

void vtd_psc_drop_pages(IntelIOMMUState *s, uint16_t did, uint32_t pasid,
                        hwaddr addr, uint8_t am)
{
    hwaddr mask = MAKE_64BIT_MASK(0, MIN(VTD_PAGE_SHIFT_4K + am, 64));
    VTDPSCRange range = {
        .did = did,
        .pasid = pasid,
        .first = addr & ~mask,
        .last = addr | mask,
    };

    g_hash_table_foreach_remove(s->psc, vtd_psc_in_range, &range);
}

/*
 * Address translation cache (ATC) of a PCIe device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/queue.h"
#include "qemu/atc.h"

/*
 * A tree node is its own key: the comparison calls ranges that overlap equal.
 * This is an order as long as the nodes in one tree are disjoint, which
 * atc_update() sees to.  A search with a range finds any node that overlaps.
 */
typedef struct ATCRange {
    hwaddr first;
    hwaddr last;    /* inclusive: the top page of 64 bits is a legal one */
} ATCRange;

typedef struct ATCSpace ATCSpace;

typedef struct ATCNode {
    ATCRange range; /* must be first, nodes are compared as ranges */
    IOMMUTLBEntry entry;
    ATCSpace *space;
    QTAILQ_ENTRY(ATCNode) lru;
} ATCNode;

struct ATCSpace {
    uint32_t pasid;
    GTree *nodes;
};

struct ATC {
    uint64_t page_mask;
    uint8_t addr_width;
    size_t capacity;
    size_t count;
    GHashTable *spaces;             /* &ATCSpace.pasid -> ATCSpace */
    QTAILQ_HEAD(, ATCNode) lru;     /* all nodes, least recently used first */
    ATCStats stats;
};

static gint atc_range_compare(gconstpointer a, gconstpointer b, gpointer data)
{
    const ATCRange *ra = a;
    const ATCRange *rb = b;

    if (ra->last < rb->first) {
        return -1;
    }
    return ra->first > rb->last ? 1 : 0;
}

static void atc_space_free(gpointer data)
{
    ATCSpace *space = data;

    g_tree_destroy(space->nodes);
    g_free(space);
}

static bool atc_geometry_valid(uint64_t page_size, uint8_t addr_width)
{
    unsigned page_shift, level_bits;

    if (!is_power_of_2(page_size) || page_size <= 8) {
        return false;
    }
    page_shift = ctz64(page_size);
    level_bits = page_shift - 3;
    if (addr_width > 64 || addr_width <= page_shift) {
        return false;
    }
    return (addr_width - page_shift) % level_bits == 0;
}

ATC *atc_new(uint64_t page_size, uint8_t addr_width, size_t capacity)
{
    ATC *atc;

    if (!atc_geometry_valid(page_size, addr_width) || !capacity) {
        return NULL;
    }

    atc = g_new0(ATC, 1);
    atc->page_mask = page_size - 1;
    atc->addr_width = addr_width;
    atc->capacity = capacity;
    atc->spaces = g_hash_table_new_full(g_int_hash, g_int_equal, NULL,
                                        atc_space_free);
    QTAILQ_INIT(&atc->lru);
    return atc;
}

static ATCSpace *atc_find_space(const ATC *atc, uint32_t pasid)
{
    return g_hash_table_lookup(atc->spaces, &pasid);
}

static void atc_remove_node(ATC *atc, ATCNode *node)
{
    QTAILQ_REMOVE(&atc->lru, node, lru);
    atc->count--;
    /* Frees the node */
    g_tree_remove(node->space->nodes, &node->range);
}

static size_t atc_remove_range(ATC *atc, ATCSpace *space,
                               const ATCRange *range)
{
    ATCNode *node;
    size_t removed = 0;

    while ((node = g_tree_lookup(space->nodes, range))) {
        atc_remove_node(atc, node);
        removed++;
    }
    return removed;
}

static ATCRange atc_make_range(hwaddr addr, hwaddr mask)
{
    ATCRange range;

    /* mask + 1 is 0 for all ones: that is the whole space, too */
    if (!(mask & (mask + 1))) {
        addr &= ~mask;
    }
    range.first = addr;
    range.last = mask > HWADDR_MAX - addr ? HWADDR_MAX : addr + mask;
    return range;
}

static bool atc_address_fits(const ATC *atc, hwaddr addr)
{
    uint64_t high;

    if (atc->addr_width == 64) {
        return true;
    }
    high = addr >> (atc->addr_width - 1);
    /* Zero-extended, or sign-extended as processors have it */
    return high <= 1 || high == UINT64_MAX >> (atc->addr_width - 1);
}

void atc_destroy(ATC *atc)
{
    if (!atc) {
        return;
    }
    g_hash_table_destroy(atc->spaces);
    g_free(atc);
}

void atc_create_address_space_cache(ATC *atc, uint32_t pasid)
{
    ATCSpace *space;

    if (atc_find_space(atc, pasid)) {
        return;
    }
    space = g_new0(ATCSpace, 1);
    space->pasid = pasid;
    space->nodes = g_tree_new_full(atc_range_compare, NULL, NULL, g_free);
    g_hash_table_insert(atc->spaces, &space->pasid, space);
}

void atc_delete_address_space_cache(ATC *atc, uint32_t pasid)
{
    ATCSpace *space = atc_find_space(atc, pasid);
    const ATCRange all = { 0, HWADDR_MAX };

    if (space) {
        atc_remove_range(atc, space, &all);
        g_hash_table_remove(atc->spaces, &pasid);
    }
}

static bool atc_entry_valid(const ATC *atc, const IOMMUTLBEntry *entry)
{
    hwaddr mask = entry->addr_mask;
    hwaddr first = entry->iova & ~mask;

    if ((mask & (mask + 1)) || mask < atc->page_mask) {
        return false;
    }
    return atc_address_fits(atc, first) && atc_address_fits(atc, first | mask);
}

int atc_update(ATC *atc, const IOMMUTLBEntry *entry)
{
    ATCSpace *space = atc_find_space(atc, entry->pasid);
    ATCNode *node;

    if (!space) {
        return -ENODEV;
    }
    if (!atc_entry_valid(atc, entry)) {
        return -EINVAL;
    }

    node = g_new0(ATCNode, 1);
    node->entry = *entry;
    node->entry.iova &= ~entry->addr_mask;
    node->entry.translated_addr &= ~entry->addr_mask;
    node->range = atc_make_range(entry->iova, entry->addr_mask);
    node->space = space;

    atc->stats.replaced += atc_remove_range(atc, space, &node->range);
    if (atc->count == atc->capacity) {
        atc_remove_node(atc, QTAILQ_FIRST(&atc->lru));
        atc->stats.evictions++;
    }

    g_tree_insert(space->nodes, &node->range, node);
    QTAILQ_INSERT_TAIL(&atc->lru, node, lru);
    atc->count++;
    return 0;
}

static ATCNode *atc_find_node(const ATC *atc, uint32_t pasid, hwaddr addr)
{
    ATCSpace *space = atc_find_space(atc, pasid);
    const ATCRange key = { addr, addr };

    return space ? g_tree_lookup(space->nodes, &key) : NULL;
}

const IOMMUTLBEntry *atc_lookup(ATC *atc, uint32_t pasid, hwaddr addr)
{
    ATCNode *node = atc_find_node(atc, pasid, addr);

    if (!node) {
        atc->stats.misses++;
        return NULL;
    }
    atc->stats.hits++;
    QTAILQ_REMOVE(&atc->lru, node, lru);
    QTAILQ_INSERT_TAIL(&atc->lru, node, lru);
    return &node->entry;
}

const IOMMUTLBEntry *atc_peek(const ATC *atc, uint32_t pasid, hwaddr addr)
{
    ATCNode *node = atc_find_node(atc, pasid, addr);

    return node ? &node->entry : NULL;
}

size_t atc_invalidate(ATC *atc, uint32_t pasid, hwaddr addr, hwaddr mask)
{
    ATCSpace *space = atc_find_space(atc, pasid);
    ATCRange range = atc_make_range(addr, mask);
    size_t removed;

    if (!space) {
        return 0;
    }
    removed = atc_remove_range(atc, space, &range);
    atc->stats.invalidated += removed;
    return removed;
}

size_t atc_invalidate_all(ATC *atc, hwaddr addr, hwaddr mask)
{
    ATCRange range = atc_make_range(addr, mask);
    GHashTableIter iter;
    gpointer space;
    size_t removed = 0;

    g_hash_table_iter_init(&iter, atc->spaces);
    while (g_hash_table_iter_next(&iter, NULL, &space)) {
        removed += atc_remove_range(atc, space, &range);
    }
    atc->stats.invalidated += removed;
    return removed;
}

void atc_reset(ATC *atc)
{
    QTAILQ_INIT(&atc->lru);
    atc->count = 0;
    g_hash_table_remove_all(atc->spaces);
}

uint64_t atc_get_max_number_of_pages(const ATC *atc, hwaddr addr,
                                     uint64_t length)
{
    unsigned page_shift = ctz64(~atc->page_mask);
    hwaddr last;

    if (!length) {
        return 0;
    }
    last = length - 1 > HWADDR_MAX - addr ? HWADDR_MAX : addr + length - 1;
    return (last >> page_shift) - (addr >> page_shift) + 1;
}

size_t atc_count(const ATC *atc)
{
    return atc->count;
}

const ATCStats *atc_get_stats(const ATC *atc)
{
    return &atc->stats;
}

/*
 * Intel IOMMU (VT-d): what notifiers are told of the tables
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * There is one walk, that of requests, and one set of cached entries.  Here it
 * is done for one address after the other, and the outcome compared with what
 * the backends were told before.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/iova-tree.h"
#include "qemu/lockable.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_shadow.h"
#include "intel_iommu_translate.h"
#include "trace.h"

/* A walk over many addresses */
typedef struct VTDShadow {
    VTDAddressSpace *as;
    const VTDTables *t;
    IOMMUNotifier *fresh;   /* Has nothing yet; NULL for none */
    hwaddr next, last;
} VTDShadow;

int vtd_shadow_tables(VTDAddressSpace *as, VTDRequestKind kind, VTDTables *t)
{
    VTDRequester who = { as, PCI_NO_PASID };
    IntelIOMMUState *s = as->iommu_state;

    /* Nothing to read, let alone to cache, before there is a root table */
    if (!s->dmar_enabled) {
        return -VTD_FR_ROOT_ENTRY_P;
    }
    QEMU_LOCK_GUARD(&s->iommu_lock);
    return vtd_lookup_tables(&who, kind, t);
}

static bool vtd_has_first_stage(IntelIOMMUState *s, const VTDTables *t)
{
    return s->root_scalable &&
           (VTD_PE_PGTT(&t->pe) == VTD_SM_PASID_ENTRY_FLT ||
            VTD_PE_PGTT(&t->pe) == VTD_SM_PASID_ENTRY_NESTED);
}

/*
 * Last address that is shadowed.  The upper half of a first stage is not:
 * backends take addresses for numbers without a sign.
 */
static hwaddr vtd_shadow_last(IntelIOMMUState *s, const VTDTables *t)
{
    unsigned bits;

    if (!s->root_scalable) {
        bits = 30 + 9 * (t->ce.hi & VTD_CONTEXT_ENTRY_AW);
    } else if (vtd_has_first_stage(s, t)) {
        bits = 11 + 9 * VTD_PE_FS_LEVELS(&t->pe);
    } else {
        bits = 12 + 9 * VTD_PE_SS_LEVELS(&t->pe);
    }
    return MAKE_64BIT_MASK(0, MIN(bits, s->aw_bits));
}

/* Tell all, or @only that one */
static void vtd_shadow_notify(VTDShadow *sh, IOMMUNotifier *only,
                              IOMMUNotifierFlag type, const DMAMap *map)
{
    bool told = false;
    IOMMUNotifier *n;
    IOMMUTLBEvent event = {
        .type = type,
        .entry = {
            .target_as = &address_space_memory,
            .iova = map->iova,
            .translated_addr = map->translated_addr,
            .addr_mask = map->size,
            .perm = type == IOMMU_NOTIFIER_MAP ? map->perm : IOMMU_NONE,
        },
    };

    trace_vtd_page_walk_one(sh->t->did, map->iova, map->translated_addr,
                            map->size, event.entry.perm);
    IOMMU_NOTIFIER_FOREACH(n, &sh->as->iommu) {
        if (!only || n == only) {
            memory_region_notify_iommu_one(n, &event);
        }
        told |= n == sh->fresh;
    }
    /* Who only wants to know what there is need not be registered */
    if (sh->fresh && !told) {
        memory_region_notify_iommu_one(sh->fresh, &event);
    }
}

/*
 * Take a mapping away, and always as a whole: a backend can not unmap a part.
 * What of it is outside of the range may still be mapped: look there, too.
 */
static void vtd_shadow_unmap(VTDShadow *sh, DMAMap old)
{
    iova_tree_remove(sh->as->iova_tree, old);
    vtd_shadow_notify(sh, NULL, IOMMU_NOTIFIER_UNMAP, &old);
    sh->next = MIN(sh->next, old.iova);
    sh->last = MAX(sh->last, old.iova + old.size);
}

static bool vtd_shadow_is_same(const DMAMap *a, const DMAMap *b)
{
    return a->iova == b->iova && a->size == b->size && a->perm == b->perm &&
           a->translated_addr == b->translated_addr;
}

/* A page or a hole, where @sh->next is; moves that on */
static void vtd_shadow_entry(VTDShadow *sh, const DMAMap *now)
{
    const DMAMap *old;

    while ((old = iova_tree_find(sh->as->iova_tree, now))) {
        bool wider = old->size > now->size;

        if (vtd_shadow_is_same(old, now)) {
            if (sh->fresh) {
                vtd_shadow_notify(sh, sh->fresh, IOMMU_NOTIFIER_MAP, now);
            }
            sh->next = now->iova + now->size + 1;
            return;
        }
        vtd_shadow_unmap(sh, *old);
        if (wider) {
            /* Begin where that began */
            return;
        }
    }
    if (now->perm) {
        iova_tree_insert(sh->as->iova_tree, now);
        vtd_shadow_notify(sh, NULL, IOMMU_NOTIFIER_MAP, now);
    }
    sh->next = now->iova + now->size + 1;
}

/* All that backends have of the function goes */
static void vtd_shadow_drop(VTDAddressSpace *as)
{
    IOMMUNotifier *n;

    IOMMU_NOTIFIER_FOREACH(n, &as->iommu) {
        vtd_address_space_unmap(as, n);
    }
}

/*
 * A few tables that point at each other map more than the host has memory to
 * note, or have more holes than it has time to look at.
 */
static bool vtd_shadow_is_too_much(const VTDShadow *sh, uint64_t steps)
{
    uint64_t limit = sh->as->iommu_state->shadow_limit;

    return iova_tree_count(sh->as->iova_tree) > limit || steps > 2 * limit;
}

/* From @first to @last, or as far as there are addresses */
static void vtd_shadow_walk(VTDShadow *sh, hwaddr first, hwaddr last)
{
    hwaddr limit = vtd_shadow_last(sh->as->iommu_state, sh->t);
    DMAMap beyond = { .iova = limit + 1, .size = HWADDR_MAX - limit - 1 };
    const DMAMap *old;
    VTDWalkHint hint = { };
    IOMMUTLBEntry entry;
    uint64_t steps = 0;

    /* The tables before may have been for more addresses */
    while ((old = iova_tree_find(sh->as->iova_tree, &beyond))) {
        vtd_shadow_unmap(sh, *old);
    }
    sh->next = first;
    sh->last = MIN(last, limit);
    while (sh->next <= sh->last) {
        vtd_translate_next(sh->as, sh->t, sh->next, &hint, &entry);
        vtd_shadow_entry(sh, &(DMAMap) {
            .iova = entry.iova,
            .size = entry.addr_mask,
            .translated_addr = entry.translated_addr,
            .perm = entry.perm,
        });
        if (vtd_shadow_is_too_much(sh, ++steps)) {
            warn_report_once("intel-iommu: the tables of device %02x:%02x.%x "
                             "map too much for x-shadow-limit=%" PRIu32 ", "
                             "all its mappings are dropped",
                             pci_bus_num(sh->as->bus),
                             PCI_SLOT(sh->as->devfn), PCI_FUNC(sh->as->devfn),
                             sh->as->iommu_state->shadow_limit);
            vtd_shadow_drop(sh->as);
            return;
        }
    }
}

static bool vtd_has_map_notifier(VTDAddressSpace *as)
{
    return as->notifier_flags & IOMMU_NOTIFIER_MAP;
}

/*
 * Tables that can not be used map nothing, and pass-through needs no mappings:
 * the function gets at memory without this region then.
 */
static bool vtd_can_shadow(VTDAddressSpace *as, VTDTables *t)
{
    /*
     * An entry for pass-through does not get into the cache by this: it would
     * look as if the function had been switched to that.
     */
    return !vtd_shadow_tables(as, VTD_REQ_SHADOW, t) &&
           !vtd_is_pass_through(as->iommu_state, t);
}

void vtd_address_space_sync(VTDAddressSpace *as)
{
    VTDTables t;
    VTDShadow sh = { .as = as, .t = &t };
    IOMMUNotifier *n;

    if (!vtd_has_map_notifier(as)) {
        IOMMU_NOTIFIER_FOREACH(n, &as->iommu) {
            memory_region_unmap_iommu_notifier_range(n);
        }
    } else if (vtd_can_shadow(as, &t)) {
        vtd_shadow_walk(&sh, 0, HWADDR_MAX);
    } else {
        vtd_shadow_drop(as);
    }
}

void vtd_shadow_replay(VTDAddressSpace *as, IOMMUNotifier *n)
{
    VTDTables t;
    VTDShadow sh = { .as = as, .t = &t, .fresh = n };

    /*
     * The tables may have changed since the others were told: they have to hear
     * of it here, as the tree will not tell any more that they have not.
     */
    if ((n->notifier_flags & IOMMU_NOTIFIER_MAP) && vtd_can_shadow(as, &t)) {
        vtd_shadow_walk(&sh, n->start, n->end);
    }
}

/* Whether an invalidation is about a function; PCI_NO_PASID: of the domain */
static bool vtd_shadow_concerns(VTDAddressSpace *as, uint16_t did,
                                uint32_t pasid, VTDTables *t)
{
    return !vtd_shadow_tables(as, VTD_REQ_NONE, t) && t->did == did &&
           (pasid == PCI_NO_PASID || t->pasid == pasid);
}

void vtd_shadow_sync_pasid(IntelIOMMUState *s, uint16_t did, uint32_t pasid)
{
    VTDAddressSpace *as;
    VTDTables t;

    QLIST_FOREACH(as, &s->vtd_as_with_notifiers, next) {
        if (vtd_shadow_concerns(as, did, pasid, &t)) {
            vtd_address_space_sync(as);
        }
    }
}

void vtd_shadow_sync_domain(IntelIOMMUState *s, uint16_t did)
{
    vtd_shadow_sync_pasid(s, did, PCI_NO_PASID);
}

/* To those that have a cache alone, each in the range that it is for */
static void vtd_shadow_unmap_pages(VTDAddressSpace *as, hwaddr first,
                                   hwaddr last)
{
    IOMMUNotifier *n;

    IOMMU_NOTIFIER_FOREACH(n, &as->iommu) {
        hwaddr start = MAX(first, n->start);
        hwaddr end = MIN(last, n->end);
        IOMMUTLBEvent event = {
            .type = IOMMU_NOTIFIER_UNMAP,
            .entry = {
                .target_as = &address_space_memory,
                .iova = start,
                .addr_mask = end - start,
                .perm = IOMMU_NONE,
            },
        };

        if (start <= end) {
            memory_region_notify_iommu_one(n, &event);
        }
    }
}

void vtd_shadow_sync_pages(IntelIOMMUState *s, uint16_t did, uint32_t pasid,
                           hwaddr addr, uint8_t am)
{
    hwaddr mask = MAKE_64BIT_MASK(0, MIN(VTD_PAGE_SHIFT_4K + am, 64));
    hwaddr first = addr & ~mask, last = addr | mask;
    VTDAddressSpace *as;
    VTDTables t;
    VTDShadow sh = { .t = &t };

    QLIST_FOREACH(as, &s->vtd_as_with_notifiers, next) {
        if (!vtd_shadow_concerns(as, did, pasid, &t)) {
            continue;
        }
        if (pasid == PCI_NO_PASID && vtd_has_first_stage(s, &t)) {
            /*
             * A second stage address, or one that may stand for any of the
             * first stage: like in the IOTLB.
             */
            vtd_address_space_sync(as);
        } else if (!vtd_has_map_notifier(as)) {
            vtd_shadow_unmap_pages(as, first, last);
        } else if (!vtd_is_pass_through(s, &t)) {
            sh.as = as;
            vtd_shadow_walk(&sh, first, last);
        }
    }
}

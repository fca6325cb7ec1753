/*
 * Address translation cache (ATC) of a PCIe device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_ATC_H
#define QEMU_ATC_H

#include "exec/memory.h"

/*
 * An ATC holds the results of translation requests (PCIe ATS), keyed by PASID
 * and address.  It belongs to one device; there is no locking, all calls come
 * with the lock that protects the device (usually the BQL).
 *
 * Entries of one PASID never overlap: a new one replaces all it touches, so
 * that two pages of different sizes cannot both answer for an address.  The
 * number of entries is bounded; the least recently used one makes room.
 *
 * The cache never judges permissions: an entry is found whatever its perm, and
 * the device decides whether it is enough (IOMMU_RO, IOMMU_WO, IOMMU_EXEC),
 * whether it was made for the same privilege (IOMMU_PRIV) and whether it may
 * be used for translated accesses at all (IOMMU_UNTRANSLATED_ONLY).
 */
typedef struct ATC ATC;

/* Counters since creation; atc_reset() keeps them */
typedef struct ATCStats {
    uint64_t hits;          /* atc_lookup() found an entry */
    uint64_t misses;        /* atc_lookup() found none */
    uint64_t evictions;     /* entries dropped for lack of room */
    uint64_t replaced;      /* entries dropped because a new one overlaps */
    uint64_t invalidated;   /* entries dropped by an invalidation */
} ATCStats;

/**
 * atc_new: create an empty cache without address spaces
 *
 * @page_size: smallest page in bytes, a power of two above 8
 * @addr_width: bits of an input address, at most 64. It has to fit a table of
 *              whole levels: (@addr_width - log2 @page_size) is a multiple of
 *              (log2 @page_size - 3), as tables of 8-byte entries have it.
 * @capacity: most entries to hold, all address spaces together, at least 1
 *
 * Returns: the cache, to be freed with atc_destroy(), or NULL when a parameter
 * is out of range.
 */
ATC *atc_new(uint64_t page_size, uint8_t addr_width, size_t capacity);

/**
 * atc_destroy: free a cache and all that is in it
 *
 * @atc: the cache, may be NULL
 */
void atc_destroy(ATC *atc);

/**
 * atc_create_address_space_cache: make room for the entries of a PASID
 *
 * @atc: the cache
 * @pasid: PASID, or PCI_NO_PASID for requests without one
 *
 * Does nothing when it exists.  The number of address spaces is not bounded
 * here: a device whose guest chooses PASIDs has to limit it.
 */
void atc_create_address_space_cache(ATC *atc, uint32_t pasid);

/**
 * atc_delete_address_space_cache: forget a PASID and its entries
 *
 * @atc: the cache
 * @pasid: PASID or PCI_NO_PASID; does nothing when it is unknown
 */
void atc_delete_address_space_cache(ATC *atc, uint32_t pasid);

/**
 * atc_update: insert an entry
 *
 * @atc: the cache
 * @entry: the entry, copied.  @entry->pasid selects the address space; the low
 *         bits of iova and translated_addr that addr_mask covers are ignored.
 *
 * Entries of that address space which overlap are dropped first.
 *
 * Returns: 0, -ENODEV for an unknown PASID, -EINVAL when addr_mask is not a
 * power of two minus one, is below the page size, or the address does not fit
 * the address width (sign-extended addresses do).
 */
int atc_update(ATC *atc, const IOMMUTLBEntry *entry);

/**
 * atc_lookup: find the entry that covers an address
 *
 * @atc: the cache
 * @pasid: PASID or PCI_NO_PASID
 * @addr: any address within the page
 *
 * The entry becomes the most recently used one, and the access is counted.
 *
 * Returns: the entry or NULL.  It is valid until the next call that changes
 * the cache; copy it before doing anything that may cause an invalidation,
 * such as an access to memory.
 */
const IOMMUTLBEntry *atc_lookup(ATC *atc, uint32_t pasid, hwaddr addr);

/**
 * atc_peek: atc_lookup() without influence on order and counters
 *
 * @atc: the cache
 * @pasid: PASID or PCI_NO_PASID
 * @addr: any address within the page
 *
 * Returns: as atc_lookup().
 */
const IOMMUTLBEntry *atc_peek(const ATC *atc, uint32_t pasid, hwaddr addr);

/**
 * atc_invalidate: drop the entries of one PASID in a range
 *
 * @atc: the cache
 * @pasid: PASID or PCI_NO_PASID; nothing is dropped when it is unknown
 * @addr: start of the range
 * @mask: size of the range minus one.  If it is a power of two minus one, the
 *        low bits of @addr are ignored as PCIe has it; otherwise the range is
 *        @addr to @addr + @mask.  All ones mean the whole address space.
 *
 * An entry that overlaps the range at all is dropped as a whole.
 *
 * Returns: the number of entries dropped.
 */
size_t atc_invalidate(ATC *atc, uint32_t pasid, hwaddr addr, hwaddr mask);

/**
 * atc_invalidate_all: drop the entries of every address space in a range
 *
 * @atc: the cache
 * @addr: as for atc_invalidate()
 * @mask: as for atc_invalidate()
 *
 * For invalidation requests without PASID, which by PCIe reach the entries of
 * all PASIDs.
 *
 * Returns: the number of entries dropped.
 */
size_t atc_invalidate_all(ATC *atc, hwaddr addr, hwaddr mask);

/**
 * atc_reset: drop all entries and all address spaces
 *
 * @atc: the cache
 */
void atc_reset(ATC *atc);

/**
 * atc_get_max_number_of_pages: how many pages a range touches
 *
 * @atc: the cache
 * @addr: start of the range
 * @length: bytes; the range ends at the top of the 64-bit space at the latest
 *
 * Returns: the number of smallest pages, thus an upper bound for the number of
 * entries that a translation request for the range can return.
 */
uint64_t atc_get_max_number_of_pages(const ATC *atc, hwaddr addr,
                                     uint64_t length);

/**
 * atc_count: number of entries
 *
 * @atc: the cache
 *
 * Returns: entries in all address spaces.
 */
size_t atc_count(const ATC *atc);

/**
 * atc_get_stats: counters
 *
 * @atc: the cache
 *
 * Returns: the counters, valid as long as the cache.
 */
const ATCStats *atc_get_stats(const ATC *atc);

#endif

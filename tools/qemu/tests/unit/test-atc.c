/*
 * Tests of the address translation cache (ATC)
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atc.h"
#include "qemu/units.h"
#include "hw/pci/pci_bus.h"

#define K4      (4 * KiB)
#define M2      (2 * MiB)
#define G1      (1 * GiB)
#define PLENTY  100000

static IOMMUTLBEntry entry_perm(uint32_t pasid, hwaddr iova, uint64_t size,
                                hwaddr translated, IOMMUAccessFlags perm)
{
    IOMMUTLBEntry entry = {
        .iova = iova,
        .translated_addr = translated,
        .addr_mask = size - 1,
        .perm = perm,
        .pasid = pasid,
    };

    return entry;
}

static int update(ATC *atc, uint32_t pasid, hwaddr iova, uint64_t size,
                  hwaddr translated)
{
    IOMMUTLBEntry entry = entry_perm(pasid, iova, size, translated, IOMMU_RW);

    return atc_update(atc, &entry);
}

static void assert_hit(ATC *atc, uint32_t pasid, hwaddr addr,
                       hwaddr translated)
{
    const IOMMUTLBEntry *entry = atc_lookup(atc, pasid, addr);

    g_assert_nonnull(entry);
    g_assert_cmpuint(entry->pasid, ==, pasid);
    g_assert_cmphex(entry->iova & entry->addr_mask, ==, 0);
    g_assert_cmphex(addr & ~entry->addr_mask, ==, entry->iova);
    g_assert_cmphex(entry->translated_addr | (addr & entry->addr_mask), ==,
                    translated);
}

static void assert_miss(ATC *atc, uint32_t pasid, hwaddr addr)
{
    g_assert_null(atc_lookup(atc, pasid, addr));
}

/* A cache for 4 KiB pages and 48 bits that knows some PASIDs */
static ATC *new_atc(size_t capacity)
{
    ATC *atc = atc_new(K4, 48, capacity);

    g_assert_nonnull(atc);
    atc_create_address_space_cache(atc, PCI_NO_PASID);
    atc_create_address_space_cache(atc, 1);
    atc_create_address_space_cache(atc, 2);
    return atc;
}

static void check_geometry(uint64_t page_size, uint8_t addr_width, bool good)
{
    ATC *atc = atc_new(page_size, addr_width, 1);

    g_assert_cmpint(!!atc, ==, good);
    atc_destroy(atc);
}

static void test_creation_parameters(void)
{
    check_geometry(8, 39, false);
    check_geometry(4095, 39, false);
    check_geometry(4097, 39, false);
    check_geometry(8192, 48, false);
    check_geometry(K4, 38, false);
    check_geometry(K4, 39, true);
    check_geometry(K4, 40, false);
    check_geometry(K4, 47, false);
    check_geometry(K4, 48, true);
    check_geometry(K4, 49, false);
    check_geometry(K4, 56, false);
    check_geometry(K4, 57, true);
    check_geometry(K4, 58, false);
    check_geometry(16 * KiB, 35, false);
    check_geometry(16 * KiB, 36, true);
    check_geometry(16 * KiB, 37, false);
    check_geometry(16 * KiB, 46, false);
    check_geometry(16 * KiB, 47, true);
    check_geometry(16 * KiB, 48, false);
    check_geometry(16 * KiB, 57, false);
    check_geometry(16 * KiB, 58, true);
    check_geometry(16 * KiB, 59, false);
    check_geometry(8 * KiB, 43, true);
}

static void test_geometry_extremes(void)
{
    check_geometry(0, 48, false);
    check_geometry(1, 48, false);
    check_geometry(2, 48, false);
    check_geometry(4, 48, false);
    check_geometry(16, 48, true);
    check_geometry(1ULL << 63, 64, false);
    check_geometry(K4, 0, false);
    check_geometry(K4, 12, false);
    check_geometry(K4, 21, true);
    check_geometry(K4, 64, false);
    check_geometry(K4, 66, false);
    check_geometry(K4, 255, false);
    /* 64 bits with 64 KiB pages: 48 is not a multiple of 13, 52 is */
    check_geometry(64 * KiB, 64, false);
    check_geometry(K4 * 4, 255, false);

    /* A bound is needed */
    g_assert_null(atc_new(K4, 48, 0));
    /* Like free() */
    atc_destroy(NULL);
}

static void test_single_entry(void)
{
    ATC *atc = new_atc(PLENTY);

    assert_miss(atc, 1, 0x123456789000ULL);
    g_assert_cmpint(update(atc, 1, 0x123456789000ULL, K4, 0xdeadbe0000ULL), ==,
                    0);
    assert_hit(atc, 1, 0x123456789000ULL, 0xdeadbe0000ULL);
    assert_hit(atc, 1, 0x123456789abcULL, 0xdeadbe0abcULL);
    assert_hit(atc, 1, 0x123456789fffULL, 0xdeadbe0fffULL);
    g_assert_cmpuint(atc_count(atc), ==, 1);
    atc_destroy(atc);
}

/* The address that was asked for need not be the start of the page */
static void test_single_entry_2(void)
{
    ATC *atc = new_atc(PLENTY);
    const IOMMUTLBEntry *entry;

    g_assert_cmpint(update(atc, 1, 0xabcdef012345ULL, K4, 0x98765fffULL), ==,
                    0);
    assert_hit(atc, 1, 0xabcdef012000ULL, 0x98765000ULL);
    assert_hit(atc, 1, 0xabcdef012345ULL, 0x98765345ULL);
    assert_miss(atc, 1, 0xabcdef011fffULL);
    assert_miss(atc, 1, 0xabcdef013000ULL);

    /* Written again: one entry, the new value */
    g_assert_cmpint(update(atc, 1, 0xabcdef012000ULL, K4, 0x1000ULL), ==, 0);
    assert_hit(atc, 1, 0xabcdef012345ULL, 0x1345ULL);
    g_assert_cmpuint(atc_count(atc), ==, 1);
    g_assert_cmpuint(atc_get_stats(atc)->replaced, ==, 1);

    entry = atc_peek(atc, 1, 0xabcdef012fffULL);
    g_assert_nonnull(entry);
    g_assert_cmphex(entry->addr_mask, ==, K4 - 1);
    g_assert_cmpint(entry->perm, ==, IOMMU_RW);
    atc_destroy(atc);
}

static void test_page_boundaries(void)
{
    ATC *atc = new_atc(PLENTY);
    hwaddr iova = 0x7000000000ULL;

    /* Neighbours that are mapped to anything but neighbours */
    g_assert_cmpint(update(atc, 1, iova, K4, 0x5000), ==, 0);
    g_assert_cmpint(update(atc, 1, iova + K4, K4, 0x1000), ==, 0);
    g_assert_cmpint(update(atc, 1, iova + 3 * K4, K4, 0x9000), ==, 0);
    assert_hit(atc, 1, iova, 0x5000);
    assert_hit(atc, 1, iova + K4 - 1, 0x5fff);
    assert_hit(atc, 1, iova + K4, 0x1000);
    assert_hit(atc, 1, iova + 2 * K4 - 1, 0x1fff);
    assert_miss(atc, 1, iova + 2 * K4);
    assert_miss(atc, 1, iova + 3 * K4 - 1);
    assert_hit(atc, 1, iova + 3 * K4, 0x9000);
    assert_miss(atc, 1, iova - 1);
    assert_miss(atc, 1, iova + 4 * K4);
    atc_destroy(atc);
}

static void test_huge_page(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 1, 2 * M2, M2, 0x40000000), ==, 0);
    g_assert_cmpint(update(atc, 1, 8 * (hwaddr)G1 + 0x1234, G1,
                           16 * (hwaddr)G1), ==, 0);
    assert_miss(atc, 1, 2 * M2 - 1);
    assert_hit(atc, 1, 2 * M2, 0x40000000);
    assert_hit(atc, 1, 2 * M2 + 0x12345, 0x40012345);
    assert_hit(atc, 1, 3 * M2 - 1, 0x40000000 + M2 - 1);
    assert_miss(atc, 1, 3 * M2);
    assert_miss(atc, 1, 8 * (hwaddr)G1 - 1);
    assert_hit(atc, 1, 8 * (hwaddr)G1, 16 * (hwaddr)G1);
    assert_hit(atc, 1, 9 * (hwaddr)G1 - 1, 17 * (hwaddr)G1 - 1);
    assert_miss(atc, 1, 9 * (hwaddr)G1);
    g_assert_cmpuint(atc_count(atc), ==, 2);
    atc_destroy(atc);
}

static void test_pasid(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0x11000), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x1000, K4, 0x22000), ==, 0);
    g_assert_cmpint(update(atc, PCI_NO_PASID, 0x1000, K4, 0x33000), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x5000, K4, 0x44000), ==, 0);
    assert_hit(atc, 1, 0x1010, 0x11010);
    assert_hit(atc, 2, 0x1010, 0x22010);
    assert_hit(atc, PCI_NO_PASID, 0x1010, 0x33010);
    assert_hit(atc, 2, 0x5000, 0x44000);
    assert_miss(atc, 1, 0x5000);
    assert_miss(atc, PCI_NO_PASID, 0x5000);
    g_assert_cmpuint(atc_count(atc), ==, 4);
    atc_destroy(atc);
}

static void test_large_address(void)
{
    ATC *atc = atc_new(K4, 57, PLENTY);
    hwaddr top = (1ULL << 57) - K4;

    atc_create_address_space_cache(atc, 1);
    g_assert_cmpint(update(atc, 1, 0xffffffffff000ULL, K4, 0x7000), ==, 0);
    g_assert_cmpint(update(atc, 1, 0x123456789abc000ULL, K4, 0x8000), ==, 0);
    g_assert_cmpint(update(atc, 1, top, K4, 0x9000), ==, 0);
    /* Beyond the width, not a sign extension */
    g_assert_cmpint(update(atc, 1, top + K4, K4, 0xa000), ==, -EINVAL);
    /* The upper half of a processor's address space */
    g_assert_cmpint(update(atc, 1, 0xff00000000000000ULL, K4, 0xb000), ==, 0);
    assert_hit(atc, 1, 0xffffffffff123ULL, 0x7123);
    assert_hit(atc, 1, 0x123456789abcfffULL, 0x8fff);
    assert_hit(atc, 1, top + 1, 0x9001);
    assert_hit(atc, 1, 0xff00000000000fffULL, 0xbfff);
    assert_miss(atc, 1, 0xfffffffff000ULL);
    assert_miss(atc, 1, 0x3456789abc000ULL);
    assert_miss(atc, 1, 0x100000000000000ULL);
    atc_destroy(atc);
}

static void test_bigger_page(void)
{
    ATC *atc = atc_new(8 * KiB, 43, PLENTY);

    g_assert_nonnull(atc);
    atc_create_address_space_cache(atc, 1);
    g_assert_cmpint(update(atc, 1, 0x2000, K4, 0x1000), ==, -EINVAL);
    g_assert_cmpint(update(atc, 1, 0x2000, 8 * KiB, 0x10000), ==, 0);
    assert_miss(atc, 1, 0x1fff);
    assert_hit(atc, 1, 0x2000, 0x10000);
    assert_hit(atc, 1, 0x3fff, 0x11fff);
    assert_miss(atc, 1, 0x4000);
    atc_destroy(atc);
}

static void test_unknown_pasid(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 3, 0x1000, K4, 0x1000), ==, -ENODEV);
    assert_miss(atc, 3, 0x1000);
    g_assert_null(atc_peek(atc, 3, 0x1000));
    g_assert_cmpuint(atc_invalidate(atc, 3, 0, HWADDR_MAX), ==, 0);
    atc_delete_address_space_cache(atc, 3);
    g_assert_cmpuint(atc_count(atc), ==, 0);
    atc_destroy(atc);
}

static void test_bad_entries(void)
{
    ATC *atc = new_atc(PLENTY);
    IOMMUTLBEntry entry = entry_perm(1, 0x1000, K4, 0x1000, IOMMU_RW);

    entry.addr_mask = 0;
    g_assert_cmpint(atc_update(atc, &entry), ==, -EINVAL);
    entry.addr_mask = 0x7ff;
    g_assert_cmpint(atc_update(atc, &entry), ==, -EINVAL);
    entry.addr_mask = 0x1ffe;
    g_assert_cmpint(atc_update(atc, &entry), ==, -EINVAL);
    entry.addr_mask = 0x2fff;
    g_assert_cmpint(atc_update(atc, &entry), ==, -EINVAL);
    g_assert_cmpuint(atc_count(atc), ==, 0);
    /* All of it */
    entry.addr_mask = HWADDR_MAX;
    g_assert_cmpint(atc_update(atc, &entry), ==, 0);
    g_assert_nonnull(atc_lookup(atc, 1, 0));
    g_assert_nonnull(atc_lookup(atc, 1, HWADDR_MAX));
    atc_destroy(atc);
}

static void test_overlap(void)
{
    ATC *atc = new_atc(PLENTY);
    hwaddr iova = 4 * (hwaddr)G1;
    int i;

    /* Small, then huge at the same place */
    g_assert_cmpint(update(atc, 1, iova, K4, 0x1000), ==, 0);
    g_assert_cmpint(update(atc, 1, iova, M2, 0x200000), ==, 0);
    assert_hit(atc, 1, iova, 0x200000);
    assert_hit(atc, 1, iova + K4, 0x201000);
    g_assert_cmpuint(atc_count(atc), ==, 1);

    /* Huge, then small: nothing of the huge one may be left */
    g_assert_cmpint(update(atc, 1, iova, K4, 0x1000), ==, 0);
    assert_hit(atc, 1, iova, 0x1000);
    assert_miss(atc, 1, iova + K4);
    g_assert_cmpuint(atc_count(atc), ==, 1);

    /* A huge one over many, one over all */
    for (i = 0; i < 512; i++) {
        g_assert_cmpint(update(atc, 1, iova + i * K4, K4, i * K4), ==, 0);
    }
    g_assert_cmpint(update(atc, 1, iova + M2, K4, 0x9000), ==, 0);
    g_assert_cmpint(update(atc, 2, iova, K4, 0x2000), ==, 0);
    g_assert_cmpuint(atc_count(atc), ==, 514);
    g_assert_cmpint(update(atc, 1, iova + 5 * K4, M2, 0x200000), ==, 0);
    g_assert_cmpuint(atc_count(atc), ==, 3);
    assert_hit(atc, 1, iova + 511 * K4, 0x200000 + 511 * K4);
    assert_hit(atc, 1, iova + M2, 0x9000);
    g_assert_cmpint(update(atc, 1, iova, G1, 0x40000000), ==, 0);
    g_assert_cmpuint(atc_count(atc), ==, 2);
    assert_hit(atc, 1, iova + M2, 0x40000000 + M2);
    assert_hit(atc, 2, iova, 0x2000);

    /* Sizes of other architectures: 16 KiB and 64 KiB */
    g_assert_cmpint(update(atc, 2, iova + 16 * KiB, 16 * KiB, 0x10000), ==, 0);
    assert_hit(atc, 2, iova + 32 * KiB - 1, 0x13fff);
    g_assert_cmpint(update(atc, 2, iova, 64 * KiB, 0x30000), ==, 0);
    assert_hit(atc, 2, iova, 0x30000);
    assert_hit(atc, 2, iova + 32 * KiB - 1, 0x37fff);
    g_assert_cmpuint(atc_count(atc), ==, 2);
    atc_destroy(atc);
}

static void test_top_of_address_space(void)
{
    ATC *atc = new_atc(PLENTY);
    hwaddr top = 0 - (hwaddr)K4;

    g_assert_cmpint(update(atc, 1, top, K4, 0x5000), ==, 0);
    g_assert_cmpint(update(atc, 1, 0, K4, 0x6000), ==, 0);
    assert_hit(atc, 1, HWADDR_MAX, 0x5fff);
    assert_hit(atc, 1, 0, 0x6000);

    /* A range that ends at the top, and does not go on at 0 */
    g_assert_cmpuint(atc_invalidate(atc, 1, top + 8, 0xffe), ==, 1);
    assert_miss(atc, 1, top);
    assert_hit(atc, 1, 0, 0x6000);

    g_assert_cmpint(update(atc, 1, top, K4, 0x5000), ==, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, 0, K4 - 1), ==, 1);
    assert_hit(atc, 1, top, 0x5000);
    atc_destroy(atc);
}

static void test_invalidation(void)
{
    ATC *atc = new_atc(PLENTY);
    hwaddr iova = 16 * (hwaddr)M2;
    int i;

#define FILL() \
    do { \
        atc_invalidate(atc, 1, 0, HWADDR_MAX); \
        for (i = 0; i < 8; i++) { \
            g_assert_cmpint(update(atc, 1, iova + i * K4, K4, 0), ==, 0); \
        } \
    } while (0)

    /* Equal, inside, around */
    FILL();
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + K4, K4 - 1), ==, 1);
    assert_hit(atc, 1, iova, 0);
    assert_miss(atc, 1, iova + K4);
    assert_hit(atc, 1, iova + 2 * K4, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + 2 * K4 + 8, 7), ==, 1);
    assert_miss(atc, 1, iova + 2 * K4);
    assert_hit(atc, 1, iova + 3 * K4, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova, 8 * K4 - 1), ==, 6);
    g_assert_cmpuint(atc_count(atc), ==, 0);

    /* The low bits of an address do not count if the size is a power of 2 */
    FILL();
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + 3 * K4, 4 * K4 - 1), ==, 4);
    assert_miss(atc, 1, iova);
    assert_miss(atc, 1, iova + 3 * K4);
    assert_hit(atc, 1, iova + 4 * K4, 0);

    /* Otherwise they do: pages 1, 2 and 3 */
    FILL();
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + K4, 3 * K4 - 1), ==, 3);
    assert_hit(atc, 1, iova, 0);
    assert_miss(atc, 1, iova + K4);
    assert_miss(atc, 1, iova + 3 * K4);
    assert_hit(atc, 1, iova + 4 * K4, 0);

    /* Over the start and over the end of entries, to the byte */
    FILL();
    g_assert_cmpuint(atc_invalidate(atc, 1, iova - K4, K4), ==, 1);
    assert_miss(atc, 1, iova);
    assert_hit(atc, 1, iova + K4, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + 8 * K4 - 1, 2 * K4), ==, 1);
    assert_miss(atc, 1, iova + 7 * K4);
    assert_hit(atc, 1, iova + 6 * K4, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova - K4, K4 - 1), ==, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + 8 * K4, K4 - 1), ==, 0);

    /* Not in others */
    g_assert_cmpint(update(atc, 2, iova + K4, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, PCI_NO_PASID, iova + K4, K4, 0), ==, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, iova + K4, K4 - 1), ==, 1);
    assert_hit(atc, 2, iova + K4, 0);
    assert_hit(atc, PCI_NO_PASID, iova + K4, 0);
    atc_destroy(atc);
#undef FILL
}

/* A huge page goes as a whole */
static void test_invalidation_huge(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 1, M2, M2, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, 2 * M2, M2, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, G1, G1, 0), ==, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, M2 + 17 * K4, K4 - 1), ==, 1);
    assert_miss(atc, 1, M2);
    assert_miss(atc, 1, 2 * M2 - 1);
    assert_hit(atc, 1, 2 * M2, 0);
    g_assert_cmpuint(atc_invalidate(atc, 1, 2 * (hwaddr)G1 - 1, 0), ==, 1);
    assert_miss(atc, 1, G1);
    g_assert_cmpuint(atc_count(atc), ==, 1);
    atc_destroy(atc);
}

static void test_invalidate_all_pasids(void)
{
    ATC *atc = new_atc(PLENTY);
    uint32_t pasids[] = { 1, 2, PCI_NO_PASID };
    int i;

    for (i = 0; i < ARRAY_SIZE(pasids); i++) {
        g_assert_cmpint(update(atc, pasids[i], 0x1000, K4, 0), ==, 0);
        g_assert_cmpint(update(atc, pasids[i], 0x2000, K4, 0x1000), ==, 0);
    }
    g_assert_cmpuint(atc_invalidate_all(atc, 0x1000, K4 - 1), ==, 3);
    for (i = 0; i < ARRAY_SIZE(pasids); i++) {
        assert_miss(atc, pasids[i], 0x1000);
        assert_hit(atc, pasids[i], 0x2000, 0x1000);
    }
    g_assert_cmpuint(atc_get_stats(atc)->invalidated, ==, 3);
    g_assert_cmpuint(atc_invalidate_all(atc, 0, HWADDR_MAX), ==, 3);
    g_assert_cmpuint(atc_count(atc), ==, 0);
    atc_destroy(atc);
}

static void test_invalidate_many(void)
{
    ATC *atc = new_atc(PLENTY);
    int i;

    for (i = 0; i < 10000; i++) {
        g_assert_cmpint(update(atc, 1, i * (hwaddr)K4, K4, i * K4), ==, 0);
    }
    g_assert_cmpuint(atc_count(atc), ==, 10000);
    g_assert_cmpuint(atc_invalidate(atc, 1, 1000 * K4, 1000 * K4 - 1), ==,
                     1000);
    assert_hit(atc, 1, 999 * K4, 999 * K4);
    assert_miss(atc, 1, 1000 * K4);
    assert_miss(atc, 1, 1999 * K4);
    assert_hit(atc, 1, 2000 * K4, 2000 * K4);
    g_assert_cmpuint(atc_count(atc), ==, 9000);
    atc_destroy(atc);
}

static void test_invalidate_entire_address_space(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, 0x7ffffffff000ULL, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, M2, M2, 0), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x1000, K4, 0), ==, 0);
    /* Whatever address comes with it */
    g_assert_cmpuint(atc_invalidate(atc, 1, 0x123000, HWADDR_MAX), ==, 3);
    assert_miss(atc, 1, 0x1000);
    assert_miss(atc, 1, 0x7ffffffff000ULL);
    assert_miss(atc, 1, M2);
    assert_hit(atc, 2, 0x1000, 0);
    /* It is still there */
    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    atc_destroy(atc);
}

static void test_delete_address_space_cache(void)
{
    ATC *atc = new_atc(PLENTY);

    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x1000, K4, 0), ==, 0);
    /* Adding what is there changes nothing */
    atc_create_address_space_cache(atc, 1);
    assert_hit(atc, 1, 0x1000, 0);

    atc_delete_address_space_cache(atc, 1);
    assert_miss(atc, 1, 0x1000);
    assert_hit(atc, 2, 0x1000, 0);
    g_assert_cmpuint(atc_count(atc), ==, 1);
    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, -ENODEV);
    atc_delete_address_space_cache(atc, 1);

    atc_create_address_space_cache(atc, 1);
    assert_miss(atc, 1, 0x1000);
    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    assert_hit(atc, 1, 0x1000, 0);
    atc_destroy(atc);
}

static void test_reset(void)
{
    ATC *atc = new_atc(2);

    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x1000, K4, 0), ==, 0);
    atc_reset(atc);
    g_assert_cmpuint(atc_count(atc), ==, 0);
    assert_miss(atc, 1, 0x1000);
    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, -ENODEV);
    atc_reset(atc);

    /* Usable again, and nothing of the old order is left */
    atc_create_address_space_cache(atc, 1);
    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, 0x2000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, 0x3000, K4, 0), ==, 0);
    g_assert_cmpuint(atc_count(atc), ==, 2);
    atc_destroy(atc);
}

static void test_get_max_number_of_pages(void)
{
    ATC *atc = new_atc(1);

    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, 0), ==, 0);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0xfff, 0), ==, 0);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, 1), ==, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, K4), ==, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, K4 + 1), ==, 2);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0xfff, 1), ==, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0xfff, 2), ==, 2);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 1, K4), ==, 2);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 1, K4 - 1), ==, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0x123456, 20 * K4), ==,
                     21);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0 - (hwaddr)K4, K4), ==,
                     1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, HWADDR_MAX, HWADDR_MAX),
                     ==, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, HWADDR_MAX), ==,
                     1ULL << 52);
    atc_destroy(atc);

    atc = atc_new(8 * KiB, 43, 1);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, K4, 8 * KiB), ==, 2);
    g_assert_cmpuint(atc_get_max_number_of_pages(atc, 0, 8 * KiB), ==, 1);
    atc_destroy(atc);
}

static void test_capacity(void)
{
    ATC *atc = new_atc(3);
    const ATCStats *stats = atc_get_stats(atc);

    g_assert_cmpint(update(atc, 1, 0x1000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 2, 0x2000, K4, 0), ==, 0);
    g_assert_cmpint(update(atc, 1, 0x3000, K4, 0), ==, 0);
    g_assert_cmpuint(stats->evictions, ==, 0);

    /* Use makes 0x1000 the youngest, a mere look does not help 0x2000 */
    assert_hit(atc, 1, 0x1000, 0);
    g_assert_nonnull(atc_peek(atc, 2, 0x2000));
    g_assert_cmpint(update(atc, 1, 0x4000, K4, 0), ==, 0);
    g_assert_cmpuint(atc_count(atc), ==, 3);
    g_assert_cmpuint(stats->evictions, ==, 1);
    g_assert_null(atc_peek(atc, 2, 0x2000));
    g_assert_nonnull(atc_peek(atc, 1, 0x1000));
    g_assert_nonnull(atc_peek(atc, 1, 0x3000));

    /* What replaces needs no room */
    g_assert_cmpint(update(atc, 1, 0x3000, K4, 0x9000), ==, 0);
    g_assert_cmpuint(stats->evictions, ==, 1);
    g_assert_cmpuint(stats->replaced, ==, 1);
    g_assert_cmpuint(atc_count(atc), ==, 3);

    /* Next in turn: 0x1000, then 0x4000, then 0x3000 */
    g_assert_cmpint(update(atc, 1, 0x5000, K4, 0), ==, 0);
    g_assert_null(atc_peek(atc, 1, 0x1000));
    g_assert_cmpint(update(atc, 1, 0x6000, K4, 0), ==, 0);
    g_assert_null(atc_peek(atc, 1, 0x4000));
    g_assert_nonnull(atc_peek(atc, 1, 0x3000));

    assert_miss(atc, 1, 0x1000);
    g_assert_cmpuint(stats->hits, ==, 1);
    g_assert_cmpuint(stats->misses, ==, 1);
    atc_destroy(atc);
}

static void test_permissions(void)
{
    ATC *atc = new_atc(PLENTY);
    IOMMUTLBEntry entry;
    const IOMMUTLBEntry *found;

    /* The cache has no opinion: a read-only entry is found and stays */
    entry = entry_perm(1, 0x1000, K4, 0x5000, IOMMU_RO);
    g_assert_cmpint(atc_update(atc, &entry), ==, 0);
    found = atc_lookup(atc, 1, 0x1000);
    g_assert_cmpint(found->perm, ==, IOMMU_RO);
    g_assert_nonnull(atc_lookup(atc, 1, 0x1000));

    entry = entry_perm(1, 0x1000, K4, 0x5000,
                       IOMMU_RW | IOMMU_EXEC | IOMMU_PRIV | IOMMU_GLOBAL);
    g_assert_cmpint(atc_update(atc, &entry), ==, 0);
    found = atc_lookup(atc, 1, 0x1000);
    g_assert_cmpint(found->perm, ==, entry.perm);

    entry = entry_perm(1, 0x2000, K4, 0,
                       IOMMU_RW | IOMMU_UNTRANSLATED_ONLY);
    g_assert_cmpint(atc_update(atc, &entry), ==, 0);
    found = atc_lookup(atc, 1, 0x2abc);
    g_assert_cmpint(found->perm & IOMMU_UNTRANSLATED_ONLY, !=, 0);
    atc_destroy(atc);
}

/*
 * A model that is simple enough to be right: a list in order of use, every
 * question answered by looking at all of it.
 */
typedef struct Model {
    GArray *entries;    /* of IOMMUTLBEntry, least recently used first */
    size_t capacity;
} Model;

static bool model_overlaps(const IOMMUTLBEntry *entry, uint32_t pasid,
                           hwaddr first, hwaddr last)
{
    return entry->pasid == pasid && entry->iova <= last &&
           entry->iova + entry->addr_mask >= first;
}

static size_t model_drop(Model *m, uint32_t pasid, hwaddr first, hwaddr last)
{
    size_t dropped = 0;
    int i;

    for (i = m->entries->len - 1; i >= 0; i--) {
        if (model_overlaps(&g_array_index(m->entries, IOMMUTLBEntry, i),
                           pasid, first, last)) {
            g_array_remove_index(m->entries, i);
            dropped++;
        }
    }
    return dropped;
}

static void model_insert(Model *m, const IOMMUTLBEntry *entry)
{
    model_drop(m, entry->pasid, entry->iova, entry->iova + entry->addr_mask);
    if (m->entries->len == m->capacity) {
        g_array_remove_index(m->entries, 0);
    }
    g_array_append_val(m->entries, *entry);
}

static bool model_lookup(Model *m, uint32_t pasid, hwaddr addr,
                         IOMMUTLBEntry *found)
{
    guint i;

    for (i = 0; i < m->entries->len; i++) {
        *found = g_array_index(m->entries, IOMMUTLBEntry, i);
        if (model_overlaps(found, pasid, addr, addr)) {
            g_array_remove_index(m->entries, i);
            g_array_append_val(m->entries, *found);
            return true;
        }
    }
    return false;
}

#define RANDOM_SPACES   4
#define RANDOM_SPAN     (64 * (uint64_t)MiB)

static void random_insert(GRand *rand, ATC *atc, Model *m)
{
    static const uint64_t sizes[] = {
        K4, K4, K4, K4, 8 * KiB, 16 * KiB, 64 * KiB, M2
    };
    uint64_t size = sizes[g_rand_int_range(rand, 0, ARRAY_SIZE(sizes))];
    IOMMUTLBEntry entry = {
        .iova = g_rand_int_range(rand, 0, RANDOM_SPAN) & ~(size - 1),
        .translated_addr = ((hwaddr)g_rand_int(rand) << 25) & ~(size - 1),
        .addr_mask = size - 1,
        .perm = g_rand_int_range(rand, 0, 64),
        .pasid = g_rand_int_range(rand, 0, RANDOM_SPACES),
    };

    g_assert_cmpint(atc_update(atc, &entry), ==, 0);
    model_insert(m, &entry);
}

static void random_lookup(GRand *rand, ATC *atc, Model *m)
{
    uint32_t pasid = g_rand_int_range(rand, 0, RANDOM_SPACES);
    hwaddr addr = g_rand_int_range(rand, 0, RANDOM_SPAN);
    const IOMMUTLBEntry *found;
    IOMMUTLBEntry expected;

    if (m->entries->len && g_rand_boolean(rand)) {
        /* Near an entry, mostly inside */
        guint i = g_rand_int_range(rand, 0, m->entries->len);

        expected = g_array_index(m->entries, IOMMUTLBEntry, i);
        pasid = expected.pasid;
        addr = expected.iova + g_rand_int_range(rand, 0, 2 * K4);
    }
    found = atc_lookup(atc, pasid, addr);
    g_assert_cmpint(!!found, ==, model_lookup(m, pasid, addr, &expected));
    if (found) {
        g_assert_cmphex(found->iova, ==, expected.iova);
        g_assert_cmphex(found->translated_addr, ==, expected.translated_addr);
        g_assert_cmphex(found->addr_mask, ==, expected.addr_mask);
        g_assert_cmpint(found->perm, ==, expected.perm);
    }
}

static void random_invalidate(GRand *rand, ATC *atc, Model *m)
{
    hwaddr first = g_rand_int_range(rand, 0, RANDOM_SPAN);
    hwaddr mask, last;
    uint32_t pasid;
    size_t dropped = 0;

    if (g_rand_boolean(rand)) {
        mask = (1ULL << g_rand_int_range(rand, 0, 22)) - 1;
        last = first | mask;
    } else {
        /* Odd sizes, but never a power of two, whose start is aligned */
        mask = g_rand_int_range(rand, 0, 256 * KiB) * 4 + 1;
        if (!(mask & (mask + 1))) {
            mask++;
        }
        last = first + mask;
    }

    if (g_rand_int_range(rand, 0, 4) == 0) {
        for (pasid = 0; pasid < RANDOM_SPACES; pasid++) {
            dropped += model_drop(m, pasid, mask & (mask + 1) ? first
                                  : first & ~mask, last);
        }
        g_assert_cmpuint(atc_invalidate_all(atc, first, mask), ==, dropped);
    } else {
        pasid = g_rand_int_range(rand, 0, RANDOM_SPACES);
        dropped = model_drop(m, pasid, mask & (mask + 1) ? first
                             : first & ~mask, last);
        g_assert_cmpuint(atc_invalidate(atc, pasid, first, mask), ==, dropped);
    }
}

/* Always the same, unless IOPF_FUZZ_SEED in the environment is another seed */
static void test_random(void)
{
    const char *seed = g_getenv("IOPF_FUZZ_SEED");
    g_autoptr(GRand) rand =
        g_rand_new_with_seed(seed ? g_ascii_strtoull(seed, NULL, 0) : 0x10bf);
    Model m = { .capacity = 100 };
    ATC *atc = atc_new(K4, 48, m.capacity);
    uint32_t pasid;
    int i;

    m.entries = g_array_new(false, false, sizeof(IOMMUTLBEntry));
    for (pasid = 0; pasid < RANDOM_SPACES; pasid++) {
        atc_create_address_space_cache(atc, pasid);
    }

    for (i = 0; i < 200000; i++) {
        switch (g_rand_int_range(rand, 0, 100)) {
        case 0 ... 39:
            random_insert(rand, atc, &m);
            break;
        case 40 ... 89:
            random_lookup(rand, atc, &m);
            break;
        case 90 ... 98:
            random_invalidate(rand, atc, &m);
            break;
        default:
            pasid = g_rand_int_range(rand, 0, RANDOM_SPACES);
            atc_delete_address_space_cache(atc, pasid);
            atc_create_address_space_cache(atc, pasid);
            model_drop(&m, pasid, 0, HWADDR_MAX);
        }
        g_assert_cmpuint(atc_count(atc), ==, m.entries->len);
        g_assert_cmpuint(atc_count(atc), <=, m.capacity);
    }

    /* The run has to have met what it is about */
    g_assert_cmpuint(atc_get_stats(atc)->hits, >, 1000);
    g_assert_cmpuint(atc_get_stats(atc)->misses, >, 1000);
    g_assert_cmpuint(atc_get_stats(atc)->evictions, >, 1000);
    g_assert_cmpuint(atc_get_stats(atc)->replaced, >, 1000);
    g_assert_cmpuint(atc_get_stats(atc)->invalidated, >, 1000);

    g_array_free(m.entries, true);
    /* With entries in it: leaks show under ASan */
    atc_destroy(atc);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*fn)(void);
    } tests[] = {
        { "/atc/creation-parameters", test_creation_parameters },
        { "/atc/geometry-extremes", test_geometry_extremes },
        { "/atc/single-entry", test_single_entry },
        { "/atc/single-entry-2", test_single_entry_2 },
        { "/atc/page-boundaries", test_page_boundaries },
        { "/atc/huge-page", test_huge_page },
        { "/atc/pasid", test_pasid },
        { "/atc/large-address", test_large_address },
        { "/atc/bigger-page", test_bigger_page },
        { "/atc/unknown-pasid", test_unknown_pasid },
        { "/atc/bad-entries", test_bad_entries },
        { "/atc/overlap", test_overlap },
        { "/atc/top-of-address-space", test_top_of_address_space },
        { "/atc/invalidation", test_invalidation },
        { "/atc/invalidation-huge", test_invalidation_huge },
        { "/atc/invalidate-all-pasids", test_invalidate_all_pasids },
        { "/atc/invalidate-many", test_invalidate_many },
        { "/atc/invalidate-entire-address-space",
          test_invalidate_entire_address_space },
        { "/atc/delete-address-space-cache", test_delete_address_space_cache },
        { "/atc/reset", test_reset },
        { "/atc/get-max-number-of-pages", test_get_max_number_of_pages },
        { "/atc/capacity", test_capacity },
        { "/atc/permissions", test_permissions },
        { "/atc/random", test_random },
    };
    int i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add_func(tests[i].path, tests[i].fn);
    }
    return g_test_run();
}

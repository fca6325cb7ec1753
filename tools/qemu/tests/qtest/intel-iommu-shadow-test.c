/*
 * QTest of what intel-iommu tells those who keep its mappings
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pci-shadow-testdev has what a device of the host would use; whatever happens,
 * that is what a request of the device gets at the same time.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-vtd-qtest.h"

#define SHADOW          " -device pci-shadow-testdev,bus=pcie.0,addr=4.0"
#define IOMMU \
    Q35 "-device intel-iommu,caching-mode=on,aw-bits=48,x-scalable-mode=on"
#define MACHINE \
    IOMMU ",x-flts=on,x-slts=on,x-nest=on,x-fs5lp=on,x-ssads=on" SHADOW

/* Registers of the device */
#define REG_IOVA        0x00
#define REG_ADDR        0x08
#define REG_SIZE        0x10
#define REG_PERM        0x18
#define REG_DATA        0x20
#define REG_EVENTS      0x28
#define REG_ERRORS      0x30
#define REG_REGIONS     0x38
#define REG_REPLAY      0x40

#define NONE            UINT64_MAX
#define R               1
#define RW              3

#define DID             7
#define OTHER_DID       8
#define RID_PASID       0
#define OTHER_TABLES    (SL_TABLES + 0x8000)
#define PASID_ENTRY     (PASID_TABLES + RID_PASID * VTD_PASID_ENTRY_SIZE)

/* Memory, each page of which has its address in it */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_2M         0x400000ULL
#define PAGE_2M_PAGES   4               /* as many are used */

/* Machine */

static void write_data(Test *t)
{
    int i;

    qtest_writeq(t->qts, PAGE_A, PAGE_A);
    qtest_writeq(t->qts, PAGE_B, PAGE_B);
    for (i = 0; i < PAGE_2M_PAGES; i++) {
        qtest_writeq(t->qts, PAGE_2M + i * PAGE, PAGE_2M + i * PAGE);
    }
}

static void start_shadow(Test *t, unsigned slot)
{
    Endpoint *ep = &t->ep[slot];

    ep_init(ep, t, (4 + slot) << 3, slot);
    cfg_writel(ep, PCI_BASE_ADDRESS_0, ep->bar0);
    cfg_writel(ep, PCI_BASE_ADDRESS_1, ep->bar0 >> 32);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static Test *test_start_with(const char *options)
{
    Test *t = test_new(options);
    Endpoint *ep = &t->ep[0];

    enable_mmcfg(t->qts);
    start_shadow(t, 0);
    clear_tables(t);
    write_data(t);
    write_context(ep, VTD_CONTEXT_ENTRY_P);
    write_paging(t, SL_TABLES, PTE_RW);
    write_paging(t, OTHER_TABLES, PTE_RW);
    write_paging(t, FL_TABLES, PTE_FL);
    return t;
}

/* Scalable mode, second stage */
static Test *test_start(void)
{
    Test *t = test_start_with(MACHINE);

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    start_vtd(t, 0);
    return t;
}

static uint64_t shadow(Test *t, unsigned reg)
{
    return ep_readq(&t->ep[0], reg);
}

static void shadow_end(Test *t)
{
    g_assert_cmpuint(shadow(t, REG_ERRORS), ==, 0);
    test_end(t);
}

/* Mapped to @addr, for requests and in the shadow */
static void check_mapped(Test *t, uint64_t iova, uint64_t addr, unsigned perm)
{
    ep_writeq(&t->ep[0], REG_IOVA, iova);
    g_assert_cmphex(shadow(t, REG_DATA), ==, addr);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, addr);
    g_assert_cmphex(shadow(t, REG_PERM), ==, perm);
}

/* Neither for these nor there */
static void check_hole(Test *t, uint64_t iova)
{
    ep_writeq(&t->ep[0], REG_IOVA, iova);
    g_assert_cmphex(shadow(t, REG_DATA), ==, NONE);
    g_assert_cmphex(take_fault(t, NULL), !=, 0);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
}

static void inv_pages(Test *t, uint64_t iova, unsigned am, bool leaf_only)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_PAGE |
              (uint64_t)DID << 16, iova | leaf_only << 6 | am);
}

static void inv_first_stage_pages(Test *t, uint32_t pasid, uint64_t iova,
                                  unsigned am)
{
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              (uint64_t)DID << 16 | (uint64_t)pasid << 32, iova | am);
}

static void inv_first_stage(Test *t, uint32_t pasid)
{
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_ALL_IN_PASID |
              (uint64_t)DID << 16 | (uint64_t)pasid << 32, 0);
}

static void inv_pasid_entry(Test *t, uint16_t did, uint32_t pasid)
{
    iq_submit(t, VTD_INV_DESC_PC | PC_PASID | (uint64_t)did << 16 |
              (uint64_t)pasid << 32, 0);
}

/* Pages come, change and go */
static void test_pages(void)
{
    Test *t = test_start();
    uint64_t events;

    check_hole(t, IOVA);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    check_hole(t, IOVA + PAGE);

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_R);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_B | PTE_RW);
    inv_pages(t, IOVA, 1, false);
    check_mapped(t, IOVA, PAGE_A, R);
    check_mapped(t, IOVA + PAGE, PAGE_B, RW);

    /* Nobody hears of what is as it was */
    events = shadow(t, REG_EVENTS);
    inv_iotlb(t);
    inv_tables(t);
    inv_pages(t, IOVA, 1, false);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events);

    write_leaf(t, SL_TABLES, IOVA, 0);
    inv_iotlb_domain(t, DID);
    check_hole(t, IOVA);
    check_mapped(t, IOVA + PAGE, PAGE_B, RW);
    write_leaf(t, SL_TABLES, IOVA + PAGE, 0);
    inv_iotlb(t);
    check_hole(t, IOVA + PAGE);
    shadow_end(t);
}

/* The PASID table entry that counts is the cached one */
static void test_pasid_entry(void)
{
    Test *t = test_start();

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, OTHER_TABLES, IOVA, PAGE_B | PTE_RW);
    inv_iotlb_domain(t, DID);
    check_mapped(t, IOVA, PAGE_A, RW);

    write_pasid_sl(t, RID_PASID, OTHER_DID, OTHER_TABLES);
    inv_iotlb_domain(t, OTHER_DID);
    inv_iotlb_domain(t, DID);
    inv_context(t);
    check_mapped(t, IOVA, PAGE_A, RW);

    inv_pasid_entry(t, OTHER_DID, RID_PASID);
    inv_pasid_entry(t, DID, RID_PASID + 1);
    check_mapped(t, IOVA, PAGE_A, RW);
    inv_pasid_entry(t, DID, RID_PASID);
    check_mapped(t, IOVA, PAGE_B, RW);
    shadow_end(t);
}

/* As software takes a domain from a device: entry, PASID cache, IOTLB */
static void test_detach(void)
{
    Test *t = test_start();

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    qtest_writeq(t->qts, PASID_ENTRY, 0);
    inv_pasid_entry(t, DID, RID_PASID);
    check_hole(t, IOVA);
    inv_iotlb_domain(t, DID);
    check_hole(t, IOVA);

    /* With caching mode, there is an invalidation after a new entry, too */
    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    inv_pasid_entry(t, DID, RID_PASID);
    check_mapped(t, IOVA, PAGE_A, RW);
    shadow_end(t);
}

/* The same with the context entry */
static void test_context_entry(void)
{
    Test *t = test_start();

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    write_context(&t->ep[0], 0);
    inv_iotlb(t);
    inv_iotlb_domain(t, DID);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    inv_context(t);
    check_hole(t, IOVA);
    write_context(&t->ep[0], VTD_CONTEXT_ENTRY_P);
    inv_context(t);
    check_mapped(t, IOVA, PAGE_A, RW);
    shadow_end(t);
}

static void test_first_stage(void)
{
    Test *t = test_start_with(MACHINE);

    write_pasid_fl(t, RID_PASID, DID, FL_TABLES, 0);
    start_vtd(t, 0);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    write_leaf(t, FL_TABLES, IOVA + PAGE, PAGE_B | PTE_FL);
    inv_first_stage_pages(t, RID_PASID, IOVA, 1);
    check_mapped(t, IOVA, PAGE_A, RW);
    check_mapped(t, IOVA + PAGE, PAGE_B, RW);
    /* Who has it does not come back to have them set */
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & (VTD_FL_A | VTD_FL_D), ==,
                    VTD_FL_A | VTD_FL_D);

    write_leaf(t, FL_TABLES, IOVA, PAGE_B | VTD_FL_P | VTD_FL_US);
    write_leaf(t, FL_TABLES, IOVA + PAGE, 0);
    inv_first_stage_pages(t, RID_PASID + 1, IOVA, 1);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, PAGE_B);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, PAGE_A);
    g_assert_cmphex(shadow(t, REG_PERM), ==, RW);
    inv_first_stage(t, RID_PASID);
    check_mapped(t, IOVA, PAGE_B, R);
    check_hole(t, IOVA + PAGE);

    /* Not for requests without privileges */
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | VTD_FL_P | VTD_FL_RW);
    inv_iotlb_domain(t, DID);
    check_hole(t, IOVA);
    /* The address of one page may stand for any page of the first stage */
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    inv_pages(t, IOVA + 16 * PAGE, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    shadow_end(t);
}

/* The first stage knows pages and tables by addresses of the second one */
static void test_nested(void)
{
    const uint64_t gpa_tables = IOVA + 0x100000, gpa = IOVA + 0x10000;
    Test *t = test_start_with(MACHINE);
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t table = (4 - level) * PAGE;

        qtest_writeq(t->qts, FL_TABLES + table +
                     extract64(IOVA, 12 + 9 * (level - 1), 9) * 8,
                     (gpa_tables + table + PAGE) | PTE_FL);
    }
    for (level = 0; level < 4; level++) {
        write_leaf(t, SL_TABLES, gpa_tables + level * PAGE,
                   (FL_TABLES + level * PAGE) | PTE_RW);
    }
    write_pasid_entry(t, RID_PASID, SL_TABLES | VTD_SM_PASID_ENTRY_NESTED |
                      AW_4_LEVELS | VTD_PASID_ENTRY_P, DID, gpa_tables);
    start_vtd(t, 0);

    write_leaf(t, FL_TABLES, IOVA, gpa | PTE_FL);
    write_leaf(t, SL_TABLES, gpa, PAGE_A | PTE_RW);
    inv_first_stage_pages(t, RID_PASID, IOVA, 0);
    check_mapped(t, IOVA, PAGE_A, RW);

    /* The second stage says no, or less */
    write_leaf(t, SL_TABLES, gpa, PAGE_B | PTE_R);
    inv_pages(t, gpa, 0, false);
    check_mapped(t, IOVA, PAGE_B, R);
    write_leaf(t, SL_TABLES, gpa, 0);
    inv_pages(t, gpa, 0, false);
    check_hole(t, IOVA);
    shadow_end(t);
}

static void test_five_levels(void)
{
    Test *t = test_start_with(MACHINE);

    /* A table above the others */
    qtest_writeq(t->qts, OTHER_TABLES, FL_TABLES | PTE_FL);
    write_pasid_fl(t, RID_PASID, DID, OTHER_TABLES, 1 << 2);
    start_vtd(t, 0);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    inv_first_stage_pages(t, RID_PASID, IOVA, 0);
    check_mapped(t, IOVA, PAGE_A, RW);
    qtest_writeq(t->qts, OTHER_TABLES, 0);
    inv_first_stage(t, RID_PASID);
    check_hole(t, IOVA);
    shadow_end(t);
}

/* A large page becomes small ones, of which one alone is invalidated */
static void test_large_page(void)
{
    Test *t = test_start();
    int i;

    write_leaf_2m(t, SL_TABLES, IOVA, PAGE_2M | PTE_RW | PTE_PS);
    inv_pages(t, IOVA, 9, false);
    check_mapped(t, IOVA + PAGE, PAGE_2M + PAGE, RW);
    g_assert_cmphex(shadow(t, REG_SIZE), ==, 0x200000);

    for (i = 0; i < PAGE_2M_PAGES; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * PAGE,
                   (PAGE_2M + i * PAGE) | PTE_RW);
    }
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_A | PTE_RW);
    write_leaf_2m(t, SL_TABLES, IOVA, (SL_TABLES + 3 * PAGE) | PTE_RW);
    inv_pages(t, IOVA + PAGE, 0, false);
    check_mapped(t, IOVA + PAGE, PAGE_A, RW);
    for (i = 0; i < PAGE_2M_PAGES; i++) {
        if (i != 1) {
            check_mapped(t, IOVA + i * PAGE, PAGE_2M + i * PAGE, RW);
        }
    }
    check_hole(t, IOVA + PAGE_2M_PAGES * PAGE);

    /* And a large one again */
    write_leaf_2m(t, SL_TABLES, IOVA, PAGE_2M | PTE_RW | PTE_PS);
    inv_pages(t, IOVA, 9, false);
    check_mapped(t, IOVA + PAGE, PAGE_2M + PAGE, RW);
    shadow_end(t);
}

/*
 * It is no memory, so a page that has it inside is mapped around it; taking the
 * table above away concerns both sides.
 */
static void test_interrupt_range(void)
{
    const uint64_t table = SL_TABLES + 5 * PAGE, first = 0xfee00000;
    const uint64_t entry = SL_TABLES + PAGE + extract64(first, 30, 9) * 8;
    Test *t = test_start();

    qtest_writeq(t->qts, entry, table | PTE_RW);
    qtest_writeq(t->qts, table + extract64(first, 21, 9) * 8,
                 PAGE_2M | PTE_RW | PTE_PS);
    qtest_writeq(t->qts, table + (extract64(first, 21, 9) - 1) * 8,
                 PAGE_2M | PTE_RW | PTE_PS);
    qtest_writeq(t->qts, PAGE_2M + 0x100000, PAGE_2M + 0x100000);
    inv_pages(t, first, 9, false);
    inv_pages(t, first - 0x200000, 9, false);
    check_mapped(t, first - 0x200000, PAGE_2M, RW);
    check_mapped(t, first + 0x100000, PAGE_2M + 0x100000, RW);
    ep_writeq(&t->ep[0], REG_IOVA, first);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    ep_writeq(&t->ep[0], REG_IOVA, first + 0xff000);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);

    qtest_writeq(t->qts, entry, 0);
    inv_pages(t, first, 9, false);
    check_hole(t, first + 0x100000);
    inv_pages(t, 0xc0000000, 18, false);
    check_hole(t, first - 0x200000);
    shadow_end(t);
}

/* What a request can not use is not mapped any more */
static void test_broken_entry(void)
{
    Test *t = test_start();

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 2 * PAGE, PAGE_B | PTE_RW);
    inv_pages(t, IOVA, 2, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    check_mapped(t, IOVA + PAGE, PAGE_A, RW);

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW | 1ULL << 51);
    write_leaf(t, SL_TABLES, IOVA + PAGE, 0xfee00000 | PTE_RW);
    inv_pages(t, IOVA, 1, false);
    check_hole(t, IOVA);
    check_hole(t, IOVA + PAGE);
    check_mapped(t, IOVA + 2 * PAGE, PAGE_B, RW);
    shadow_end(t);
}

/* Bits of second stage entries are set for what may be done from now on */
static void test_dirty(void)
{
    Test *t = test_start_with(MACHINE);

    write_pasid_entry(t, RID_PASID, SL_TABLES | VTD_SM_PASID_ENTRY_SLT |
                      VTD_SM_PASID_ENTRY_SSADE | AW_4_LEVELS |
                      VTD_PASID_ENTRY_P, DID, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_B | PTE_R);
    start_vtd(t, 0);
    check_mapped(t, IOVA, PAGE_A, RW);
    check_mapped(t, IOVA + PAGE, PAGE_B, R);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA), ==,
                    PAGE_A | PTE_RW | VTD_SL_A | VTD_SL_D);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA + PAGE), ==,
                    PAGE_B | PTE_R | VTD_SL_A);
    shadow_end(t);
}

static void write_pass_through(Test *t)
{
    write_pasid_entry(t, RID_PASID, VTD_SM_PASID_ENTRY_PT | AW_4_LEVELS |
                      VTD_PASID_ENTRY_P, DID, 0);
}

/* No part of the address space is translated then, so there is no shadow */
static void test_pass_through(void)
{
    Test *t = test_start();
    uint64_t regions = shadow(t, REG_REGIONS);

    g_assert_cmpuint(regions, >, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);

    write_pass_through(t);
    inv_pasid_entry(t, DID, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_REGIONS), ==, 0);
    ep_writeq(&t->ep[0], REG_IOVA, PAGE_B);
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_B);

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    inv_pasid_entry(t, DID, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_REGIONS), ==, regions);
    check_mapped(t, IOVA, PAGE_A, RW);
    shadow_end(t);
}

/* An entry that was not present needs no invalidation: a request finds it */
static void test_pass_through_later(void)
{
    Test *t = test_start_with(MACHINE);

    start_vtd(t, 0);
    g_assert_cmpuint(shadow(t, REG_REGIONS), >, 0);
    check_hole(t, PAGE_B);
    write_pass_through(t);
    ep_writeq(&t->ep[0], REG_IOVA, PAGE_B);
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_B);
    g_assert_cmpuint(shadow(t, REG_REGIONS), ==, 0);
    shadow_end(t);
}

/*
 * An entry that was not present, and an IOTLB invalidation that somebody else
 * asks for: the PASID-cache invalidation after it has to find a new entry.
 */
static void test_pass_through_unseen(void)
{
    Test *t = test_start_with(MACHINE);

    start_vtd(t, 0);
    write_pass_through(t);
    inv_iotlb(t);
    g_assert_cmpuint(shadow(t, REG_REGIONS), >, 0);
    /* Caching mode tags what is not present with domain 0 */
    inv_pasid_entry(t, 0, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_REGIONS), ==, 0);
    shadow_end(t);
}

/* Somebody asks what there is while software is at work on the tables */
static void test_replay(void)
{
    Test *t = test_start();

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 2 * PAGE, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 2, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    ep_writeq(&t->ep[0], REG_REPLAY, 0);
    g_assert_cmpuint(shadow(t, REG_REPLAY), ==, 3);

    /* One goes, one changes, one comes; only then the IOMMU is told */
    write_leaf(t, SL_TABLES, IOVA, 0);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_B | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 3 * PAGE, PAGE_B | PTE_RW);
    ep_writeq(&t->ep[0], REG_REPLAY, 0);
    g_assert_cmpuint(shadow(t, REG_REPLAY), ==, 3);
    inv_pages(t, IOVA, 2, false);
    check_hole(t, IOVA);
    check_mapped(t, IOVA + PAGE, PAGE_B, RW);
    check_mapped(t, IOVA + 2 * PAGE, PAGE_A, RW);
    check_mapped(t, IOVA + 3 * PAGE, PAGE_B, RW);
    ep_writeq(&t->ep[0], REG_REPLAY, 0);
    g_assert_cmpuint(shadow(t, REG_REPLAY), ==, 3);

    /* Tables that can not be used any more lead nowhere for anybody */
    qtest_writeq(t->qts, SL_TABLES, 0);
    ep_writeq(&t->ep[0], REG_REPLAY, 0);
    g_assert_cmpuint(shadow(t, REG_REPLAY), ==, 0);
    inv_iotlb(t);
    check_hole(t, IOVA + PAGE);
    shadow_end(t);
}

/*
 * Requests with privileges, which the PASID table entry does not let through:
 * one no for all addresses, not one for each
 */
static void test_privileged(void)
{
    const uint64_t rid_priv = CONTEXT + (4 << 3) * VTD_CTX_ENTRY_SCALABLE_SIZE +
                              8;
    /* No first stage, so there is supervisor support */
    Test *t = test_start_with(IOMMU ",x-shadow-limit=2048" SHADOW);
    uint64_t events;

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    start_vtd(t, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);

    /* The page goes by itself, and not because there was too much to look at */
    events = shadow(t, REG_EVENTS);
    qtest_writeq(t->qts, rid_priv, VTD_SM_CONTEXT_ENTRY_RID_PRIV);
    inv_context(t);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events + 1);
    check_hole(t, IOVA);
    inv_iotlb(t);
    check_hole(t, IOVA);
    write_pasid_entry(t, RID_PASID, SL_TABLES | VTD_SM_PASID_ENTRY_SLT |
                      AW_4_LEVELS | VTD_PASID_ENTRY_P, DID,
                      VTD_SM_PASID_ENTRY_SRE);
    inv_pasid_entry(t, DID, RID_PASID);
    check_mapped(t, IOVA, PAGE_A, RW);
    shadow_end(t);
}

/* A page that leads out of the second stage is one hole, not one per 4 KiB */
static void test_nested_beyond(void)
{
    Test *t = test_start_with(IOMMU ",x-shadow-limit=2048,x-flts=on,x-slts=on,"
                              "x-nest=on" SHADOW);
    const uint64_t gpa_tables = IOVA;
    uint64_t events;
    int i;

    /* The first stage has 512 pages of 1 GiB, all beyond 39 bits */
    qtest_writeq(t->qts, FL_TABLES, (gpa_tables + PAGE) | PTE_FL);
    for (i = 0; i < 512; i++) {
        qtest_writeq(t->qts, FL_TABLES + PAGE + i * 8,
                     1ULL << 39 | PTE_FL | PTE_PS);
    }
    for (i = 0; i < 2; i++) {
        write_leaf(t, SL_TABLES, gpa_tables + i * PAGE,
                   (FL_TABLES + i * PAGE) | PTE_RW);
    }
    write_pasid_entry(t, RID_PASID, (SL_TABLES + PAGE) |
                      VTD_SM_PASID_ENTRY_NESTED | 1 << 2 | VTD_PASID_ENTRY_P,
                      DID, gpa_tables);
    start_vtd(t, 0);
    /* Had there been too much to look at, all would have been unmapped */
    events = shadow(t, REG_EVENTS);
    inv_first_stage(t, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events);
    check_hole(t, IOVA);
    shadow_end(t);
}

/* Tables that point at each other: the memory and time are the host's */
static void test_limit(void)
{
    const uint64_t pdes = SL_TABLES + 2 * PAGE, empty = SL_TABLES + 4 * PAGE;
    Test *t = test_start_with(IOMMU ",x-shadow-limit=2048" SHADOW);
    int i;

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    for (i = 0; i < 512; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * PAGE, PAGE_A | PTE_RW);
    }
    start_vtd(t, 0);
    check_mapped(t, IOVA, PAGE_A, RW);

    /* All of that fits, ... */
    for (i = 1; i < 4; i++) {
        qtest_writeq(t->qts, pdes + i * 8, (SL_TABLES + 3 * PAGE) | PTE_RW);
    }
    inv_iotlb_domain(t, DID);
    check_mapped(t, IOVA + 2047 * PAGE, PAGE_A, RW);
    /* ... one more page does not, as little as many of them */
    qtest_writeq(t->qts, empty, PAGE_B | PTE_RW);
    qtest_writeq(t->qts, pdes + 4 * 8, empty | PTE_RW);
    inv_pages(t, IOVA + 2048 * PAGE, 0, false);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    for (i = 4; i < 64; i++) {
        qtest_writeq(t->qts, pdes + i * 8, (SL_TABLES + 3 * PAGE) | PTE_RW);
    }
    inv_iotlb_domain(t, DID);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    /* Requests do not need it */
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_A);

    /* Less than that is mapped again, unless it has more holes than pages */
    for (i = 1; i < 64; i++) {
        qtest_writeq(t->qts, pdes + i * 8, 0);
    }
    inv_iotlb_domain(t, DID);
    check_mapped(t, IOVA, PAGE_A, RW);
    qtest_writeq(t->qts, empty, 0);
    for (i = 1; i < 64; i++) {
        qtest_writeq(t->qts, pdes + i * 8, empty | PTE_RW);
    }
    inv_iotlb_domain(t, DID);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_A);
    shadow_end(t);
}

/* What the IOMMU reads is RAM: a register of a device is no table */
static void check_not_ram(Test *t, uint8_t fault)
{
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_DATA), ==, NONE);
    g_assert_cmphex(take_fault(t, NULL), ==, fault);
}

static void test_tables_not_ram(void)
{
    const uint64_t context = CONTEXT + (4 << 3) * VTD_CTX_ENTRY_SCALABLE_SIZE;
    Test *t = test_start_with(MACHINE " -device pci-shadow-testdev,bus=pcie.0,"
                              "addr=5.0");
    Endpoint *other = &t->ep[1];
    uint64_t regs;

    start_shadow(t, 1);
    regs = other->bar0;
    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    start_vtd(t, 0);

    /* This would be an entry, and the one of DATA wants the same lock */
    write_leaf_2m(t, SL_TABLES, IOVA, regs | PTE_RW);
    ep_writeq(other, REG_IOVA, PAGE_A | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    check_not_ram(t, VTD_FR_SS_PAGING_ENTRY_INV);
    inv_pages(t, IOVA, 9, false);
    check_hole(t, IOVA + REG_DATA / 8 * PAGE);
    ep_writeq(other, REG_IOVA, 0);

    /* The tables before these; there, no entry would be present */
    qtest_writeq(t->qts, PASID_DIR, regs | VTD_PASID_DIR_P);
    qtest_writeq(t->qts, context + 8, 16);      /* RID_PASID: not REG_DATA */
    inv_tables(t);
    check_not_ram(t, VTD_FR_PASID_TABLE_ACCESS_ERR);
    qtest_writeq(t->qts, context, (regs & ~(PAGE - 1)) | VTD_CONTEXT_ENTRY_P);
    inv_tables(t);
    check_not_ram(t, VTD_FR_PASID_DIR_ACCESS_ERR);
    qtest_writeq(t->qts, ROOT, regs | VTD_ROOT_ENTRY_P);
    inv_tables(t);
    check_not_ram(t, VTD_FR_SM_CONTEXT_ENTRY_ACCESS_ERR);
    vtd_writeq(t, DMAR_RTADDR_REG, regs | VTD_RTADDR_SMT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    check_not_ram(t, VTD_FR_SM_ROOT_ENTRY_ACCESS_ERR);
    shadow_end(t);
}

/* A large page that leads to the interrupt range leads elsewhere, too */
static void test_result_around_interrupts(void)
{
    const uint64_t pde = SL_TABLES + PAGE + extract64(IOVA, 30, 9) * 8;
    const uint64_t offset = 0xfee00000 - 0xc0000000;
    Test *t = test_start();

    /* 1 GiB from 0xc0000000 on */
    qtest_writeq(t->qts, pde, 0xc0000000 | PTE_RW | PTE_PS);
    inv_iotlb_domain(t, DID);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA + 0x20000000);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, 0xe0000000);
    shadow(t, REG_DATA);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    check_hole(t, IOVA + offset);
    check_hole(t, IOVA + offset + 0xff000);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA + offset + 0x100000);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, 0xfef00000);
    g_assert_cmphex(shadow(t, REG_SIZE), ==, PAGE);
    shadow(t, REG_DATA);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    qtest_writeq(t->qts, pde, 0);
    inv_iotlb_domain(t, DID);
    check_hole(t, IOVA);
    shadow_end(t);
}

/*
 * More PASIDs than the cache has room for, of another device: the entry that
 * the shadow was made for has to stay, or nobody knows whose domain that was.
 */
static void test_many_pasids(void)
{
    const uint64_t dir = 0x800000, tables = 0x810000;
    Test *t = test_start_with(IOMMU ",device-iotlb=on,svm=on,pasid-bits=13"
                              SHADOW " -device iopf-testdev,bus=pcie.0,"
                              "addr=5.0,pasid=20");
    Endpoint *other = &t->ep[1];
    uint64_t context = CONTEXT + (5 << 3) * VTD_CTX_ENTRY_SCALABLE_SIZE;
    uint32_t pasid;

    ep_init(other, t, 5 << 3, 1);
    ep_map(other);
    ep_enable(other, 16);
    ep_start_ring(other, 8, 16);
    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    start_vtd(t, 0);
    inv_iotlb_domain(t, DID);
    check_mapped(t, IOVA, PAGE_A, RW);

    /* The other device has tables of its own */
    qtest_memset(t->qts, dir, 0, PAGE);
    qtest_writeq(t->qts, context, dir | CONTEXT_FLAGS);
    for (pasid = 0; pasid < 1 << 13; pasid++) {
        uint64_t entry = tables + pasid * VTD_PASID_ENTRY_SIZE;

        if (!(pasid % 64)) {
            qtest_writeq(t->qts, dir + pasid / 64 * 8, entry | VTD_PASID_DIR_P);
            qtest_memset(t->qts, entry, 0, PAGE);
        }
        qtest_writeq(t->qts, entry + 8, OTHER_DID + pasid % 2);
        qtest_writeq(t->qts, entry, SL_TABLES | VTD_SM_PASID_ENTRY_SLT |
                     AW_4_LEVELS | VTD_PASID_ENTRY_P);
    }
    for (pasid = 1; pasid < 4200; pasid++) {
        check_translation(other, pasid, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    }
    /* The last entry is still known, the first one had to make room */
    qtest_writeq(t->qts, tables + (pasid - 1) * VTD_PASID_ENTRY_SIZE, 0);
    check_translation(other, pasid - 1, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    qtest_writeq(t->qts, tables + VTD_PASID_ENTRY_SIZE, 0);
    g_assert_cmpint(translate(other, 1, IOVA, WANT_R).ret, ==, -EACCES);

    /* Software takes a page away before it tells that the entry is gone */
    qtest_writeq(t->qts, PASID_ENTRY, 0);
    write_leaf(t, SL_TABLES, IOVA, 0);
    inv_pages(t, IOVA, 0, false);
    g_assert_cmphex(shadow(t, REG_ADDR), ==, NONE);
    inv_pasid_entry(t, DID, RID_PASID);
    check_hole(t, IOVA);
    shadow_end(t);
}

/* A guest turns on an IOMMU that can not notify: QEMU goes on without */
static void test_refused(void)
{
    Test *t = test_start_with(Q35 "-device intel-iommu,x-scalable-mode=on,"
                              "aw-bits=48" SHADOW);

    g_assert_cmpuint(shadow(t, REG_ERRORS), ==, 0);
    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    start_vtd(t, 0);
    g_assert_cmpuint(shadow(t, REG_ERRORS), >, 0);
    g_assert_cmpuint(shadow(t, REG_REGIONS), ==, 0);
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_A);
    qtest_quit(t->qts);
    g_free(t);
}

/* From four levels to three: what was beyond them is gone, too */
static void test_narrow(void)
{
    const uint64_t far = 1ULL << 40;
    Test *t = test_start();

    qtest_writeq(t->qts, SL_TABLES + extract64(far, 39, 9) * 8,
                 (SL_TABLES + PAGE) | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    inv_iotlb_domain(t, DID);
    check_mapped(t, far + IOVA, PAGE_A, RW);

    write_pasid_entry(t, RID_PASID, (SL_TABLES + PAGE) | 1 << 2 |
                      VTD_SM_PASID_ENTRY_SLT | VTD_PASID_ENTRY_P, DID, 0);
    inv_pasid_entry(t, DID, RID_PASID);
    inv_iotlb_domain(t, DID);
    check_mapped(t, IOVA, PAGE_A, RW);
    check_hole(t, far + IOVA);
    shadow_end(t);
}

/* The walk goes on in a table that software has not told of */
static void test_paging_structures(void)
{
    Test *t = test_start_with(IOMMU ",x-paging-structure-cache=on" SHADOW);

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    start_vtd(t, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, OTHER_TABLES, IOVA, PAGE_B | PTE_RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_A, RW);
    write_leaf_2m(t, SL_TABLES, IOVA, (OTHER_TABLES + 3 * PAGE) | PTE_RW);
    inv_pages(t, IOVA, 0, true);
    check_mapped(t, IOVA, PAGE_A, RW);
    inv_pages(t, IOVA, 0, false);
    check_mapped(t, IOVA, PAGE_B, RW);
    shadow_end(t);
}

static void write_legacy_context(Test *t, uint64_t tables, uint16_t did)
{
    uint64_t addr = CONTEXT + t->ep[0].bdf * 16;

    qtest_writeq(t->qts, addr, tables | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(t->qts, addr + 8, did << 8 | 2);
}

/* Legacy mode, whose only entry is the context entry */
static void test_legacy(void)
{
    Test *t = test_start_with(Q35 "-device intel-iommu,caching-mode=on,"
                              "aw-bits=48" SHADOW);

    write_legacy_context(t, SL_TABLES, DID);
    vtd_writeq(t, DMAR_RTADDR_REG, ROOT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_TE);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, OTHER_TABLES, IOVA, PAGE_B | PTE_RW);
    vtd_writeq(t, DMAR_IVA_REG, IOVA);
    vtd_writeq(t, DMAR_IOTLB_REG, VTD_TLB_IVT | VTD_TLB_PSI_FLUSH |
               (uint64_t)DID << 32);
    check_mapped(t, IOVA, PAGE_A, RW);

    write_legacy_context(t, OTHER_TABLES, OTHER_DID);
    vtd_writeq(t, DMAR_IOTLB_REG, VTD_TLB_IVT | VTD_TLB_DSI_FLUSH |
               (uint64_t)DID << 32);
    vtd_writeq(t, DMAR_IOTLB_REG, VTD_TLB_IVT | VTD_TLB_DSI_FLUSH |
               (uint64_t)OTHER_DID << 32);
    check_mapped(t, IOVA, PAGE_A, RW);
    vtd_writeq(t, DMAR_CCMD_REG, VTD_CCMD_ICC | VTD_CCMD_DEVICE_INVL |
               t->ep[0].bdf << 16);
    check_mapped(t, IOVA, PAGE_B, RW);
    shadow_end(t);
}

/* Those who have a cache are told of all that may be in it, and no more */
static void test_unmap_only(void)
{
    Test *t = test_start_with(IOMMU SHADOW ",maps=off");
    uint64_t events;

    write_pasid_sl(t, RID_PASID, DID, SL_TABLES);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    start_vtd(t, 0);
    /* A request, so that there is something in the caches */
    ep_writeq(&t->ep[0], REG_IOVA, IOVA);
    g_assert_cmphex(shadow(t, REG_DATA), ==, PAGE_A);
    events = shadow(t, REG_EVENTS);
    inv_pages(t, IOVA, 0, false);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events + 1);
    /* The interrupt range, which has no notifiers, is inside */
    inv_pages(t, 0xc0000000, 18, false);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events + 3);

    events = shadow(t, REG_EVENTS);
    inv_iotlb_domain(t, OTHER_DID);
    inv_pasid_entry(t, OTHER_DID, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_EVENTS), ==, events);
    qtest_writeq(t->qts, PASID_ENTRY, 0);
    inv_pasid_entry(t, DID, RID_PASID);
    g_assert_cmpuint(shadow(t, REG_EVENTS), >, events);
    shadow_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/intel-iommu/shadow/pages", test_pages);
    qtest_add_func("/q35/intel-iommu/shadow/pasid-entry", test_pasid_entry);
    qtest_add_func("/q35/intel-iommu/shadow/detach", test_detach);
    qtest_add_func("/q35/intel-iommu/shadow/context-entry", test_context_entry);
    qtest_add_func("/q35/intel-iommu/shadow/first-stage", test_first_stage);
    qtest_add_func("/q35/intel-iommu/shadow/nested", test_nested);
    qtest_add_func("/q35/intel-iommu/shadow/five-levels", test_five_levels);
    qtest_add_func("/q35/intel-iommu/shadow/large-page", test_large_page);
    qtest_add_func("/q35/intel-iommu/shadow/interrupt-range",
                   test_interrupt_range);
    qtest_add_func("/q35/intel-iommu/shadow/broken-entry", test_broken_entry);
    qtest_add_func("/q35/intel-iommu/shadow/dirty", test_dirty);
    qtest_add_func("/q35/intel-iommu/shadow/pass-through", test_pass_through);
    qtest_add_func("/q35/intel-iommu/shadow/pass-through-later",
                   test_pass_through_later);
    qtest_add_func("/q35/intel-iommu/shadow/pass-through-unseen",
                   test_pass_through_unseen);
    qtest_add_func("/q35/intel-iommu/shadow/replay", test_replay);
    qtest_add_func("/q35/intel-iommu/shadow/privileged", test_privileged);
    qtest_add_func("/q35/intel-iommu/shadow/nested-beyond", test_nested_beyond);
    qtest_add_func("/q35/intel-iommu/shadow/limit", test_limit);
    qtest_add_func("/q35/intel-iommu/shadow/tables-not-ram",
                   test_tables_not_ram);
    qtest_add_func("/q35/intel-iommu/shadow/result-around-interrupts",
                   test_result_around_interrupts);
    if (qtest_has_device("iopf-testdev")) {
        qtest_add_func("/q35/intel-iommu/shadow/many-pasids", test_many_pasids);
    }
    qtest_add_func("/q35/intel-iommu/shadow/refused", test_refused);
    qtest_add_func("/q35/intel-iommu/shadow/narrow", test_narrow);
    qtest_add_func("/q35/intel-iommu/shadow/paging-structures",
                   test_paging_structures);
    qtest_add_func("/q35/intel-iommu/shadow/legacy", test_legacy);
    qtest_add_func("/q35/intel-iommu/shadow/unmap-only", test_unmap_only);

    return g_test_run();
}

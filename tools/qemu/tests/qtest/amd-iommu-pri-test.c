/*
 * QTest of guest translation, translation requests and page requests of AMD-Vi
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs: the test writes the tables and commands that an operating
 * system would write, and makes two iopf-testdev functions issue requests.
 */

#include "qemu/osdep.h"
#include "iopf-amd-qtest.h"
#include "iopf-pri-cases.h"

#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=512 " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,pri-capacity=512 "

/* What the tables map */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_C          (DATA + 0x3000)
#define PAGE_2M         (DATA + 0x200000)
#define IOVA_2M         (IOVA + 0x200000)

#define PASID           9
#define DOMAIN(ep)      (0x10 + ((ep)->bdf >> 3))

/* Requests without PASID use the tables of the host, the others those of GCR3 */
static void write_tables(Test *t)
{
    int i;

    clear_tables(t);
    for (i = 0; i < 2; i++) {
        write_dte(&t->ep[i], DTE_Q0, DTE_Q1(DOMAIN(&t->ep[i])), 0);
    }
    write_paging_host(t, TABLES_0);
    write_paging(t, TABLES_1, GPTE_RW);
    write_gcr3(t, 1, PASID, TABLES_1 | AMDVI_GCR3_V);
}

static void start_machine(Test *t)
{
    enable_mmcfg(t->qts);
    start_endpoints(t, 512);
    write_tables(t);
    start_amd(t);
}

static Test *test_start_with(const char *options)
{
    g_autofree char *args = g_strconcat(Q35_AMD, options, DEVICES, NULL);
    Test *t = g_new0(Test, 1);

    t->qts = qtest_init(args);
    start_machine(t);
    return t;
}

static Test *test_start(void)
{
    return test_start_with("");
}

static void test_end(Test *t)
{
    qtest_quit(t->qts);
    g_free(t);
}

static void map_page(Endpoint *ep, uint64_t iova, uint64_t addr, bool write)
{
    write_leaf(ep->t, TABLES_0, iova, addr | (write ? PTE_RW : PTE_R));
}

/* Change the entry of a function, and make the IOMMU forget the old one */
static void set_dte(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2)
{
    write_dte(ep, q0, q1, q2);
    inv_dte(ep);
}

/* Only the guest's tables, without those of the host */
static void set_guest(Endpoint *ep, uint64_t q0)
{
    write_dte_gcr3(ep, DTE_Q0_GUEST | q0, DTE_Q1(DOMAIN(ep)), 0, GCR3, 1);
    inv_dte(ep);
}

static void check_treq(Endpoint *ep, uint32_t pasid, int32_t ret)
{
    Translation tr = translate(ep, pasid, IOVA, WANT_RW);

    g_assert_cmpuint(tr.status, ==, IOPF_TD_ST_TR_ERROR);
    g_assert_cmpint(tr.ret, ==, ret);
}

/* A write to an address that the function takes for a translated one */
static uint32_t write_raw(Endpoint *ep, uint64_t addr)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_RAW,
        .iova = addr,
        .length = 4,
    };

    return ep_run(ep, &d);
}

static uint32_t outstanding(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING);
}

/*
 * Test cases: translation requests
 */

static void test_translate(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_0, IOVA + PAGE, PAGE_B | PTE_R);
    write_leaf(t, TABLES_0, IOVA + 2 * PAGE, PAGE_C | PTE_W);
    write_leaf(t, TABLES_0, IOVA + 3 * PAGE, PAGE_C | (PTE_RW & ~1ULL));
    write_leaf_2m(t, TABLES_0, IOVA_2M, PAGE_2M | PTE_RW);

    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, NOP, IOVA + 0x123, WANT_RW, PAGE_A, PAGE, PERM_RW);
    /* Not more than what was asked for */
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    /* The part that is allowed */
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    check_translation(ep, NOP, IOVA + 2 * PAGE, WANT_RW, PAGE_C, PAGE, PERM_W);
    check_translation(ep, NOP, IOVA_2M + 0x5678, WANT_RW, PAGE_2M, 0x200000,
                      PERM_RW);
    /* Missing: a page, a table of the level above and of the top */
    check_translation(ep, NOP, IOVA + 3 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + 5 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + 0x400000, WANT_RW, 0, 1ULL << 21, 0);
    check_translation(ep, NOP, 0, WANT_RW, 0, 1ULL << 30, 0);
    /* An address that is too large */
    check_translation(ep, NOP, 1ULL << 48, WANT_RW, 0, PAGE, 0);
    /* None of that is worth an event, as the device may ask for pages */
    check_no_event(t);

    /* For an untranslated write it is */
    check_untranslated(ep, IOVA, PAGE_A);
    check_untranslated_fault(ep, IOVA + PAGE, AMDVI_EVT_PAGE_FAULT);
    check_untranslated_fault(ep, IOVA + 5 * PAGE, AMDVI_EVT_PAGE_FAULT);
    test_end(t);
}

/* Page sizes, and levels that are left out */
static void test_host_pages(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t top = TABLES_0 + extract64(IOVA, 39, 9) * 8;
    uint64_t second = TABLES_0 + PAGE + extract64(IOVA, 30, 9) * 8;

    /* 64 KiB in sixteen entries; 16 MiB; not of the size of another level */
    write_leaf(t, TABLES_0, IOVA + 0x10000, 0x10007000 | PTE_RW |
               AMDVI_PTE_NEXT(AMDVI_PTE_SIZED));
    check_translation(ep, NOP, IOVA + 0x10000, WANT_RW, 0x10000000, 0x10000,
                      PERM_RW);
    write_leaf_2m(t, TABLES_0, IOVA + 0x1000000, 0x117ff000 | PTE_RW |
                  AMDVI_PTE_NEXT(AMDVI_PTE_SIZED));
    check_translation(ep, NOP, IOVA + 0x1000000, WANT_RW, 0x11000000,
                      0x1000000, PERM_RW);
    write_leaf(t, TABLES_0, IOVA + 0x20000, 0x100ff000 | PTE_RW |
               AMDVI_PTE_NEXT(AMDVI_PTE_SIZED));
    check_translation(ep, NOP, IOVA + 0x20000, WANT_RW, 0, PAGE, 0);
    g_assert(check_event(ep, AMDVI_EVT_PAGE_FAULT).q[0] & AMDVI_EVF_RZ);

    /* 1 GiB, and 512 GiB; nothing is there, so no access */
    qtest_writeq(t->qts, second, 0x80000000 | PTE_RW);
    inv_all(t);
    check_translation(ep, NOP, IOVA + 0x12345000, WANT_RW, 0x80000000, 1 << 30,
                      PERM_RW);
    qtest_writeq(t->qts, top, 1ULL << 39 | PTE_RW);
    inv_all(t);
    check_translation(ep, NOP, IOVA, WANT_RW, 1ULL << 39, 1ULL << 39,
                      PERM_RW);

    /* From the top to the last but one */
    qtest_writeq(t->qts, top, (TABLES_0 + 2 * PAGE) | PTE_RW |
                 AMDVI_PTE_NEXT(2));
    write_leaf_2m(t, TABLES_0, 0, (TABLES_0 + 3 * PAGE) | PTE_RW |
                  AMDVI_PTE_NEXT(1));
    write_leaf(t, TABLES_0, 0, PAGE_A | PTE_RW);
    inv_all(t);
    check_translation(ep, NOP, 0x10, WANT_RW, PAGE_A, PAGE, PERM_RW);
    /* What no level looks at must be zero */
    check_translation(ep, NOP, 1 << 30, WANT_RW, 0, PAGE, 0);
    check_no_event(t);
    /* A table cannot lead up, or to its own level */
    qtest_writeq(t->qts, top, TABLES_0 | PTE_RW | AMDVI_PTE_NEXT(4));
    inv_all(t);
    check_translation(ep, NOP, 0, WANT_RW, 0, 1ULL << 39, 0);
    g_assert(check_event(ep, AMDVI_EVT_PAGE_FAULT).q[0] & AMDVI_EVF_RZ);

    /* One level, and six */
    set_dte(ep, (DTE_Q0 & ~AMDVI_DTE_MODE(7)) | AMDVI_DTE_MODE(1),
            DTE_Q1(DOMAIN(ep)), 0);
    qtest_writeq(t->qts, TABLES_0 + 8, PAGE_B | PTE_RW);
    check_translation(ep, NOP, PAGE, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_translation(ep, NOP, 1 << 21, WANT_RW, 0, PAGE, 0);
    set_dte(ep, (DTE_Q0 & ~AMDVI_DTE_MODE(7)) | AMDVI_DTE_MODE(6),
            DTE_Q1(DOMAIN(ep)), 0);
    qtest_writeq(t->qts, TABLES_0 + 127 * 8, (TABLES_0 + PAGE) | PTE_RW |
                 AMDVI_PTE_NEXT(1));
    qtest_writeq(t->qts, TABLES_0 + PAGE, PAGE_C | PTE_RW);
    inv_all(t);
    check_translation(ep, NOP, 127ULL << 57, WANT_RW, PAGE_C, PAGE, PERM_RW);
    check_no_event(t);
    test_end(t);
}

/* A record in full */
static void test_fault_record(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t iova = IOVA + 5 * PAGE + 0x128;
    uint64_t q0 = AMDVI_EVENT(AMDVI_EVT_PAGE_FAULT) | ep->bdf |
                  (uint64_t)DOMAIN(ep) << 32;
    Desc d = {
        .op = IOPF_TD_OP_READ,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 4,
        .ram = IOPF_TD_RAM_DATA,
    };
    Event e;

    e = check_untranslated_fault(ep, iova, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_EVF_RW);
    g_assert_cmphex(e.q[1], ==, iova);
    g_assert_cmpuint(ep_run(ep, &d), ==, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0], ==, q0);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_R);
    e = check_untranslated_fault(ep, IOVA, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_EVF_RW | AMDVI_EVF_PR |
                    AMDVI_EVF_PE);

    /* A device that cannot ask for pages has its translation requests told */
    set_dte(ep, DTE_Q0 & ~AMDVI_DTE_PPR, DTE_Q1(DOMAIN(ep)), 0);
    check_translation(ep, NOP, IOVA + PAGE, WANT_R, 0, PAGE, 0);
    e = check_event(ep, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_EVF_TR);

    /* SE: one until the entry is read again; SA: none */
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)) | AMDVI_DTE_SE, 0);
    check_untranslated_fault(ep, iova, AMDVI_EVT_PAGE_FAULT);
    ep_write_untranslated(ep, iova);
    check_no_event(t);
    inv_dte(ep);
    check_untranslated_fault(ep, iova, AMDVI_EVT_PAGE_FAULT);
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)) | AMDVI_DTE_SA, 0);
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);
    test_end(t);
}

/* Tables of the guest, by PASID */
static void test_guest(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t priv = WANT_RW | IOPF_TD_F_PRIV;
    uint16_t exec = WANT_R | IOPF_TD_F_EXEC;
    uint64_t dirty = AMDVI_GPTE_A | AMDVI_GPTE_D;

    set_guest(ep, 0);
    write_leaf(t, TABLES_1, IOVA, PAGE_A | GPTE_RW);
    write_leaf(t, TABLES_1, IOVA + PAGE, PAGE_B | GPTE_R);
    write_leaf(t, TABLES_1, IOVA + 2 * PAGE, PAGE_C | AMDVI_GPTE_P |
               AMDVI_GPTE_RW | AMDVI_GPTE_NX);
    write_leaf_2m(t, TABLES_1, IOVA_2M, PAGE_2M | GPTE_RW | AMDVI_GPTE_PS);

    /* A and D, and D only if the write is granted */
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA) & dirty, ==, AMDVI_GPTE_A);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA) & dirty, ==, dirty);
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA + PAGE) & dirty, ==,
                    AMDVI_GPTE_A);
    g_assert_cmphex(qtest_readq(t->qts, TABLES_1) & dirty, ==, AMDVI_GPTE_A);
    check_translation(ep, PASID, IOVA_2M, WANT_RW, PAGE_2M, 0x200000, PERM_RW);

    /* User and supervisor, execute */
    check_translation(ep, PASID, IOVA + 2 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, PASID, IOVA + 2 * PAGE, priv, PAGE_C, PAGE,
                      PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA, exec, PAGE_A, PAGE, PERM_R | PERM_X);
    check_translation(ep, PASID, IOVA + 2 * PAGE, exec | IOPF_TD_F_PRIV,
                      PAGE_C, PAGE, PERM_R | PERM_P);
    /* Holes, and addresses that are not canonical */
    check_translation(ep, PASID, IOVA + 5 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, PASID, 1ULL << 47, WANT_RW, 0, PAGE, 0);
    check_translation(ep, PASID, 0xffff000000000000ULL, WANT_RW, 0, PAGE, 0);
    /* PASIDs without entry, beyond the table, beyond all tables */
    check_translation(ep, PASID + 1, IOVA, WANT_RW, 0, PAGE, 0);
    check_translation(ep, 512 + PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_translation(ep, 0xfffff, IOVA, WANT_RW, 0, PAGE, 0);
    check_no_event(t);

    /* Reserved bits of a large page */
    write_leaf_2m(t, TABLES_1, IOVA_2M + 0x200000,
                  PAGE_2M | PAGE * 2 | GPTE_RW | AMDVI_GPTE_PS);
    check_translation(ep, PASID, IOVA_2M + 0x200000, WANT_RW, 0, 0x200000, 0);
    g_assert(check_event(ep, AMDVI_EVT_PAGE_FAULT).q[0] & AMDVI_EVF_RZ);

    /* Others pass through, or use PASID 0 with GIoV */
    check_translation(ep, NOP, PAGE_B, WANT_RW, PAGE_B, PAGE, PERM_RW);
    set_guest(ep, AMDVI_DTE_GIOV);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, PAGE, 0);
    write_gcr3(t, 1, 0, TABLES_1 | AMDVI_GCR3_V);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_untranslated(ep, IOVA, PAGE_A);
    check_untranslated_fault(ep, IOVA + PAGE, AMDVI_EVT_PAGE_FAULT);

    /* A function that has none */
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)), 0);
    check_treq(ep, PASID, -EACCES);
    g_assert(check_event(ep, AMDVI_EVT_PAGE_FAULT).q[0] & AMDVI_EVF_GN);
    test_end(t);
}

static void test_gcr3_levels(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t pasids[] = { 0x1ff, 0x3fffe, 0xf4321 };
    int i;

    write_leaf(t, TABLES_1, IOVA, PAGE_A | GPTE_RW);
    for (i = 0; i < 3; i++) {
        qtest_memset(t->qts, GCR3, 0, GCR3_PAGES * PAGE);
        write_gcr3(t, i + 1, pasids[i], TABLES_1 | AMDVI_GCR3_V);
        write_dte_gcr3(ep, DTE_Q0_GUEST, DTE_Q1(DOMAIN(ep)), 0,
                       GCR3 + i * PAGE, i + 1);
        inv_all(t);
        check_translation(ep, pasids[i], IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
        check_translation(ep, pasids[i] - 1, IOVA, WANT_RW, 0, PAGE, 0);
    }
    /* An entry with reserved bits; not for this IOMMU: four levels */
    write_gcr3(t, 3, pasids[2], TABLES_1 | AMDVI_GCR3_V | 2);
    inv_all(t);
    check_translation(ep, pasids[2], IOVA, WANT_RW, 0, PAGE, 0);
    g_assert(check_event(ep, AMDVI_EVT_PAGE_FAULT).q[0] & AMDVI_EVF_RZ);
    write_dte_gcr3(ep, DTE_Q0_GUEST, DTE_Q1(DOMAIN(ep)), 0, GCR3, 4);
    inv_dte(ep);
    check_treq(ep, PASID, -EACCES);
    check_event(ep, AMDVI_EVT_ILLEGAL_DTE);
    test_end(t);
}

/*
 * Test cases: caches
 */

/* Each stays as it is until its command comes */
static void test_caches(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t domain = DOMAIN(ep);

    /* Pages of the host */
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_0, IOVA, PAGE_B | PTE_RW);
    inv_dte(ep);
    inv_pages(t, domain + 1, NOP, INV_ALL, AMDVI_CMD_S);
    inv_pages(t, domain, PASID, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    inv_pages(t, domain, NOP, IOVA + PAGE, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    inv_pages(t, domain, NOP, IOVA, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    write_leaf(t, TABLES_0, IOVA, PAGE_C | PTE_RW);
    inv_pages(t, domain, NOP, IOVA | 0x7000, AMDVI_CMD_S);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    /* Of functions with one domain */
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    set_dte(&t->ep[1], DTE_Q0, DTE_Q1(domain), 0);
    check_translation(&t->ep[1], NOP, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    /* What is not there is not cached, nor is what is missing */
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, 0, PAGE, 0);
    write_leaf(t, TABLES_0, IOVA + PAGE, PAGE_A | PTE_R);
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_A, PAGE, PERM_R);
    write_leaf(t, TABLES_0, IOVA + PAGE, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_A, PAGE, PERM_RW);

    /* Device table entry */
    write_dte_gcr3(ep, DTE_Q0_GUEST, DTE_Q1(domain), 0, GCR3, 1);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    inv_dte(&t->ep[1]);
    inv_pages(t, domain, NOP, INV_ALL, AMDVI_CMD_S);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    inv_dte(ep);
    check_translation(ep, NOP, IOVA, WANT_RW, IOVA, PAGE, PERM_RW);

    /* Pages of the guest, and its table for the PASID */
    write_leaf(t, TABLES_1, IOVA, PAGE_A | GPTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | GPTE_RW);
    write_gcr3(t, 1, PASID, 0);
    inv_dte(ep);
    inv_pages(t, domain, NOP, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    inv_pages(t, domain, PASID + 1, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    inv_pages(t, domain, PASID, IOVA, 0);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    inv_pages(t, domain, PASID, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_no_event(t);
    test_end(t);
}

/* The device is told by one command and by no other */
static void test_device_cache(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    set_guest(ep, AMDVI_DTE_GIOV);
    write_gcr3(t, 1, 0, TABLES_1 | AMDVI_GCR3_V);
    write_gcr3(t, 1, PASID + 1, TABLES_1 | AMDVI_GCR3_V);
    write_leaf(t, TABLES_1, IOVA, PAGE_A | GPTE_RW);
    write_leaf(t, TABLES_1, IOVA + PAGE, PAGE_B | GPTE_RW);
    fill_atc(ep, NOP, IOVA);
    fill_atc(ep, PASID, IOVA);
    fill_atc(ep, PASID, IOVA + PAGE);
    fill_atc(ep, PASID + 1, IOVA);

    inv_dte(ep);
    inv_all(t);
    inv_pages(t, DOMAIN(ep), PASID, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    inv_pages(t, DOMAIN(ep), NOP, INV_ALL, AMDVI_CMD_S | AMDVI_CMD_PDE);
    cmd_submit(t, AMDVI_CMD(AMDVI_CMD_INVAL_INTR_TABLE) | ep->bdf, 0);
    inv_iotlb(&t->ep[1], NOP, INV_ALL, true);
    inv_iotlb(ep, PASID, IOVA + 2 * PAGE, false);
    g_assert(in_atc(ep, NOP, IOVA));
    g_assert(in_atc(ep, PASID, IOVA));
    g_assert(in_atc(ep, PASID + 1, IOVA));

    inv_iotlb(ep, PASID, IOVA, false);
    g_assert(!in_atc(ep, PASID, IOVA));
    g_assert(in_atc(ep, PASID, IOVA + PAGE));
    g_assert(in_atc(ep, PASID + 1, IOVA));
    inv_iotlb(ep, PASID, IOVA, true);
    g_assert(!in_atc(ep, PASID, IOVA + PAGE));
    g_assert(in_atc(ep, NOP, IOVA));
    inv_iotlb(ep, NOP, INV_ALL, true);
    g_assert(!in_atc(ep, NOP, IOVA));
    g_assert(!in_atc(ep, PASID + 1, IOVA));
    /* Nobody there */
    cmd_submit(t, AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES) | 0x1f8, 0);
    check_no_event(t);
    test_end(t);
}

/* A completion wait waits for the device */
static void test_held(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    hold_inv(ep, true);
    put_inv_iotlb(ep, NOP, INV_ALL, true);
    put_wait(t, 0x1234);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), !=, t->iq_tail);
    hold_inv(ep, false);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x1234);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, t->iq_tail);

    /* And with the queue switched off there is nothing to wait for */
    hold_inv(ep, true);
    put_inv_iotlb(ep, NOP, INV_ALL, true);
    put_wait(t, 0x4321);
    cmd_restart(t);
    put_wait(t, 0x5678);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x5678);
    check_no_event(t);
    test_end(t);
}

/* Addresses that are translated already */
static void test_translated(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Event e;

    qtest_writeq(t->qts, PAGE_A, UINT64_MAX);
    g_assert_cmpuint(write_raw(ep, PAGE_A), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, UINT64_MAX);
    /* No ATS, or no valid entry */
    set_dte(ep, DTE_Q0, DOMAIN(ep), 0);
    g_assert_cmpuint(write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_TR, ==, 0);
    check_treq(ep, NOP, -EACCES);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_TR, ==, AMDVI_EVF_TR);
    set_dte(ep, 0, DTE_Q1(0), 0);
    g_assert_cmpuint(write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    check_treq(ep, NOP, -EACCES);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    /* But other requests pass */
    check_untranslated(ep, PAGE_B, PAGE_B);
    /* The IOMMU is off */
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)), 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, 0);
    check_treq(ep, NOP, -EACCES);
    g_assert_cmpuint(write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    check_untranslated(ep, PAGE_B, PAGE_B);
    test_end(t);
}

/*
 * Test cases: page requests
 */

/* An entry in full */
static void test_entry(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t pasid = 0xa5432;
    Desc d = group_request(pasid, IOVA, 2, WANT_RW, 0x155);
    uint64_t who = AMDVI_PPR_TYPE | ep->bdf;
    uint64_t q0 = who | AMDVI_PPR_GN | AMDVI_PPR_TAG(0x155) |
                  AMDVI_PPR_USER | AMDVI_PPR_READ | AMDVI_PPR_WRITE |
                  0x5432ULL << 16 | 0xaULL << 42;

    set_guest(ep, 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG), ==, q0);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG + 8), ==, IOVA);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG + 16), ==, q0 | AMDVI_PPR_LAST);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG + 24), ==, IOVA + PAGE);
    g_assert_cmphex(amd_status(t) & AMDVI_STATUS_PPR_INT, ==,
                    AMDVI_STATUS_PPR_INT);
    page_response(ep, pasid, RSP_SUCCESS, 0x155);
    check_only_response(ep, RSP_SUCCESS, 0x155, pasid, 2);

    /* Without PASID */
    d = group_request(NOP, IOVA, 1, WANT_R, 7);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG + 32), ==, who |
                    AMDVI_PPR_TAG(7) | AMDVI_PPR_USER | AMDVI_PPR_READ |
                    AMDVI_PPR_LAST);
    page_response(ep, NOP, RSP_INVALID, 7);
    check_response(ep, RSP_INVALID, 0, 7, NOP, 1);

    /* To execute, by a supervisor */
    d = group_request(pasid, IOVA, 1, WANT_R | IOPF_TD_F_EXEC |
                      IOPF_TD_F_PRIV, 8);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    q0 = qtest_readq(t->qts, PPRLOG + 48);
    g_assert_cmphex(q0 & (AMDVI_PPR_EXEC | AMDVI_PPR_READ | AMDVI_PPR_WRITE |
                          AMDVI_PPR_USER), ==, AMDVI_PPR_EXEC |
                    AMDVI_PPR_READ);
    page_response(ep, pasid, RSP_SUCCESS, 8);
    check_no_event(t);
    test_end(t);
}

static void test_wrong_pasid(void)
{
    Test *t = test_start();

    set_guest(&t->ep[0], 0);
    check_wrong_pasid(t, PASID);
    test_end(t);
}

static void test_bus_master(void)
{
    Test *t = test_start();

    check_without_bus_master(&t->ep[0]);
    test_end(t);
}

static void make_requests(Endpoint *ep, unsigned n, uint16_t prgi)
{
    Desc d = group_request(NOP, IOVA, n, WANT_R, prgi);

    ep_check(ep, &d, IOPF_TD_ST_OK);
}

/* A full log stops, and what comes is lost until it is started again */
static void test_overflow(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t run = AMDVI_STATUS_PPR_RUN, overflow = AMDVI_STATUS_PPR_OVERFLOW;
    uint64_t full = (RING_ENTRIES - 1) * AMDVI_RING_ENTRY;

    make_requests(ep, RING_ENTRIES - 1, 1);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, run);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, full);
    make_requests(ep, 2, 2);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, overflow);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, full);
    g_assert_cmpuint(outstanding(ep), ==, RING_ENTRIES + 1);

    /* Room alone is not enough, nor is to forget of the overflow */
    amd_writel(t, AMDVI_MMIO_PPR_HEAD, full);
    make_requests(ep, 1, 3);
    amd_writeq(t, AMDVI_MMIO_STATUS, overflow);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, 0);
    make_requests(ep, 1, 4);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, full);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL & ~AMDVI_CONTROL_PPR_LOG);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, run);
    make_requests(ep, 1, 5);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, 0);

    /* It does not start with the overflow still told */
    amd_writel(t, AMDVI_MMIO_PPR_HEAD, AMDVI_RING_ENTRY);
    make_requests(ep, 1, 6);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, overflow);
    amd_writel(t, AMDVI_MMIO_PPR_HEAD, 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL & ~AMDVI_CONTROL_PPR_LOG);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, overflow);

    /* What was lost has no answer: only software can give one */
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, 0);
    page_response(ep, NOP, RSP_SUCCESS, 2);
    check_only_response(ep, RSP_SUCCESS, 2, NOP, 2);
    check_no_event(t);
    test_end(t);
}

/* A request that the device should not make */
static void test_invalid_ppr(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 2, WANT_R, 0x21);
    uint64_t q0 = AMDVI_EVENT(AMDVI_EVT_INVALID_PPR) | ep->bdf |
                  AMDVI_PPR_TAG(0x21);
    Event e = {};

    /* Software answers it, if there is anything to answer */
    set_dte(ep, DTE_Q0 & ~AMDVI_DTE_PPR, DTE_Q1(DOMAIN(ep)), 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_INVALID_PPR);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_EVF_PPR_RX);
    g_assert_cmphex(e.q[1], ==, IOVA);
    e = check_event(ep, AMDVI_EVT_INVALID_PPR);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_PPR_LAST);
    g_assert_cmphex(e.q[1], ==, IOVA + PAGE);
    g_assert_cmpuint(outstanding(ep), ==, 2);
    page_response(ep, NOP, RSP_INVALID, 0x21);
    check_only_response(ep, RSP_INVALID, 0x21, NOP, 2);
    g_assert(!have_request(t));

    /* With a PASID, and no table for that */
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)), 0);
    d = group_request(0xa5432, IOVA, 1, WANT_R, 0x22);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    e = check_event(ep, AMDVI_EVT_INVALID_PPR);
    g_assert_cmphex(e.q[0], ==, AMDVI_EVENT(AMDVI_EVT_INVALID_PPR) | ep->bdf |
                    AMDVI_PPR_TAG(0x22) | AMDVI_PPR_LAST | AMDVI_EVF_PPR_GN |
                    0x5432ULL << 16 | 0xaULL << 42);
    page_response(ep, 0xa5432, RSP_INVALID, 0x22);
    g_assert_cmpuint(outstanding(ep), ==, 0);

    /* Without EPHEn the IOMMU answers */
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL & ~AMDVI_CONTROL_EPH);
    d = group_request(PASID, IOVA, 1, WANT_R, 0x23);
    check_automatic(ep, &d, RSP_INVALID);
    e = check_event(ep, AMDVI_EVT_INVALID_PPR);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_PPR_RX, ==, AMDVI_EVF_PPR_RX);
    /* Page requests are off */
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL & ~AMDVI_CONTROL_EPH &
               ~AMDVI_CONTROL_PPR);
    d = group_request(NOP, IOVA, 1, WANT_R, 0x24);
    check_automatic(ep, &d, RSP_INVALID);
    check_event(ep, AMDVI_EVT_INVALID_PPR);
    g_assert(!have_request(t));
    test_end(t);
}

static void test_demand_paging(void)
{
    Test *t = test_start();

    check_demand_paging(&t->ep[0], PAGE_A, map_page);
    check_no_event(t);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/amd-iommu-pri/translate", test_translate);
    qtest_add_func("/amd-iommu-pri/host-pages", test_host_pages);
    qtest_add_func("/amd-iommu-pri/fault-record", test_fault_record);
    qtest_add_func("/amd-iommu-pri/guest", test_guest);
    qtest_add_func("/amd-iommu-pri/gcr3-levels", test_gcr3_levels);
    qtest_add_func("/amd-iommu-pri/caches", test_caches);
    qtest_add_func("/amd-iommu-pri/device-cache", test_device_cache);
    qtest_add_func("/amd-iommu-pri/held", test_held);
    qtest_add_func("/amd-iommu-pri/translated", test_translated);
    qtest_add_func("/amd-iommu-pri/entry", test_entry);
    qtest_add_func("/amd-iommu-pri/demand-paging", test_demand_paging);
    qtest_add_func("/amd-iommu-pri/wrong-pasid", test_wrong_pasid);
    qtest_add_func("/amd-iommu-pri/bus-master", test_bus_master);
    qtest_add_func("/amd-iommu-pri/overflow", test_overflow);
    qtest_add_func("/amd-iommu-pri/invalid-ppr", test_invalid_ppr);

    return g_test_run();
}

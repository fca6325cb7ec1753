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

/* Without PASID the tables of the host count, with one those of GCR3 */
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
    Test *t = test_new(args);

    start_machine(t);
    return t;
}

static Test *test_start(void)
{
    return test_start_with("");
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

static uint32_t outstanding(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING);
}

/* What the IOMMU sends, once software has it send to memory */
static Endpoint iommu_function(Test *t)
{
    Endpoint ep = { .t = t, .qts = t->qts };

    for (ep.bdf = 0; ep.bdf < 0x100; ep.bdf += 8) {
        if (cfg_readl(&ep, PCI_VENDOR_ID) == 0x14191022) {
            return ep;
        }
    }
    g_assert_not_reached();
}

static void enable_msi(Test *t)
{
    Endpoint ep = iommu_function(t);
    uint8_t msi = find_cap(&ep, PCI_CAP_ID_MSI);

    g_assert(cfg_readw(&ep, msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_64BIT);
    cfg_writel(&ep, msi + PCI_MSI_ADDRESS_LO, MSI_TARGET);
    cfg_writel(&ep, msi + PCI_MSI_ADDRESS_HI, 0);
    cfg_writew(&ep, msi + PCI_MSI_DATA_64, 0x77);
    cfg_writew(&ep, msi + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
}

static bool take_msi(Test *t)
{
    uint32_t val = qtest_readl(t->qts, MSI_TARGET);

    qtest_writel(t->qts, MSI_TARGET, 0);
    g_assert(!val || val == 0x77);
    return val;
}

static void set_control(Test *t, uint64_t control)
{
    amd_writeq(t, AMDVI_MMIO_CONTROL, control);
}

static void make_requests(Endpoint *ep, unsigned n, uint16_t prgi)
{
    Desc d = group_request(NOP, IOVA, n, WANT_R, prgi);

    ep_check(ep, &d, IOPF_TD_ST_OK);
}

/*
 * Test cases: registers
 */

static void check_half(Test *t, uint64_t reg, uint64_t val)
{
    amd_writeq(t, reg, 0);
    amd_writel(t, reg, val);
    g_assert_cmphex(amd_readq(t, reg), ==, extract64(val, 0, 32));
    amd_writel(t, reg + 4, val >> 32);
    g_assert_cmphex(amd_readq(t, reg), ==, val);
    g_assert_cmphex(amd_readl(t, reg), ==, extract64(val, 0, 32));
    g_assert_cmphex(amd_readl(t, reg + 4), ==, val >> 32);
}

static void test_registers(void)
{
    Test *t = test_start();
    Endpoint iommu = iommu_function(t);
    uint8_t cap = find_cap(&iommu, AMDVI_CAPAB_ID_SEC);

    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EXT_FEATURES), ==,
                    AMDVI_FEATURE_PPR | AMDVI_EFR_NX | AMDVI_FEATURE_GT |
                    AMDVI_FEATURE_IA | AMDVI_FEATURE_GA | AMDVI_EFR_HATS_6 |
                    AMDVI_EFR_GLX(3) | AMDVI_EFR_PASMAX(20) | AMDVI_EFR_US |
                    AMDVI_EFR_GIO | AMDVI_EFR_EPH);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EFR2), ==, 0);
    g_assert_cmphex(cfg_readl(&iommu, cap) & (AMDVI_CAPAB_FLAG_IOTLBSUP |
                    AMDVI_CAPAB_FLAG_NPCACHE | AMDVI_CAPAB_EFR_SUP), ==,
                    AMDVI_CAPAB_FLAG_IOTLBSUP | AMDVI_CAPAB_EFR_SUP);
    amd_writeq(t, AMDVI_MMIO_EXT_FEATURES, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EXT_FEATURES), !=, 0);

    /* While they run */
    make_requests(&t->ep[0], 1, 1);
    amd_writeq(t, AMDVI_MMIO_COMMAND_BASE, RING(DATA));
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_BASE), ==, RING(CMDBUF));
    amd_writeq(t, AMDVI_MMIO_COMMAND_HEAD, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, 0x10);
    amd_writeq(t, AMDVI_MMIO_PPR_TAIL, 0x40);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, 0x10);
    amd_writeq(t, AMDVI_MMIO_EVENT_TAIL, 0x40);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EVENT_TAIL), ==, 0);
    g_assert_cmphex(amd_status(t), ==, AMDVI_STATUS_EVT_RUN |
                    AMDVI_STATUS_CMD_RUN | AMDVI_STATUS_PPR_RUN |
                    AMDVI_STATUS_PPR_INT);
    /* One to clear, but not what runs */
    amd_writel(t, AMDVI_MMIO_STATUS, UINT32_MAX);
    g_assert_cmphex(amd_status(t), ==, AMDVI_STATUS_EVT_RUN |
                    AMDVI_STATUS_CMD_RUN | AMDVI_STATUS_PPR_RUN);

    set_control(t, 0);
    g_assert_cmphex(amd_status(t), ==, 0);
    /* A new base, and everything starts at the beginning */
    amd_writeq(t, AMDVI_MMIO_PPR_HEAD, 0x30);
    amd_writeq(t, AMDVI_MMIO_COMMAND_TAIL, 0x30);
    amd_writeq(t, AMDVI_MMIO_EVENT_HEAD, 0x30);
    check_half(t, AMDVI_MMIO_PPR_BASE, 0x0f0123456789a000ULL);
    check_half(t, AMDVI_MMIO_COMMAND_BASE, 0x0f0123456789a000ULL);
    check_half(t, AMDVI_MMIO_EVENT_BASE, 0x0f0123456789a000ULL);
    check_half(t, AMDVI_MMIO_DEVICE_TABLE, 0x000123456789a1ffULL);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_HEAD), ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_TAIL), ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EVENT_HEAD), ==, 0);
    amd_writeq(t, AMDVI_MMIO_PPR_HEAD, UINT64_MAX);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_HEAD), ==, 0x7fff0);

    /* What is not offered */
    amd_writeq(t, AMDVI_MMIO_PPR_AUTO, UINT64_MAX);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_AUTO), ==, 0);
    amd_writeq(t, AMDVI_MMIO_PPR_EARLY, UINT64_MAX);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_EARLY), ==, 0);
    amd_writeq(t, AMDVI_MMIO_XT_PPR, UINT64_MAX);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_XT_PPR), ==, 0);
    set_control(t, AMDVI_CONTROL_GCR3_TRP);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_CONTROL), ==, 0);

    /* A length that is none, with which nothing runs */
    amd_writeq(t, AMDVI_MMIO_PPR_BASE, PPRLOG | 7ULL << 56);
    amd_writeq(t, AMDVI_MMIO_COMMAND_BASE, CMDBUF | 7ULL << 56);
    set_control(t, CONTROL_ALL);
    g_assert_cmphex(amd_status(t), ==, AMDVI_STATUS_EVT_RUN);
    test_end(t);
}

/* The plain model is as it was */
static void test_off(void)
{
    Test t = { .qts = qtest_init(Q35 "-device amd-iommu") };
    Endpoint iommu;

    enable_mmcfg(t.qts);
    iommu = iommu_function(&t);
    g_assert_cmphex(amd_readq(&t, AMDVI_MMIO_EXT_FEATURES), ==,
                    AMDVI_DEFAULT_EXT_FEATURES);
    g_assert_cmphex(cfg_readl(&iommu, find_cap(&iommu, AMDVI_CAPAB_ID_SEC)) &
                    0xffff00ff, ==, AMDVI_CAPAB_FEATURES);
    g_assert_cmphex(amd_readq(&t, AMDVI_MMIO_EFR2), ==, 0);
    qtest_quit(t.qts);
}

static bool starts(const char *options)
{
    return machine_starts(Q35 "-device amd-iommu", options);
}

static void test_options(void)
{
    g_assert(starts(""));
    g_assert(starts(",ats=on"));
    g_assert(starts(",ats=on,ppr=on,ppr-autoresp=on,ppr-overflow-early=on"));
    g_assert(starts(",pasid=20,gcr3-levels=3,guest-levels=5"));
    g_assert(starts(",pasid=9,gcr3-levels=3,gcr3-trp=on"));
    g_assert(starts(",host-ad=on,x-lazy-invalidation=on"));
    g_assert(!starts(",x-lazy-invalidation=on"));
    g_assert(!starts(",ppr=on"));
    g_assert(!starts(",ats=on,ppr-autoresp=on"));
    g_assert(!starts(",ats=on,ppr-overflow-early=on"));
    g_assert(!starts(",pasid=21"));
    g_assert(!starts(",pasid=20,gcr3-levels=2"));
    g_assert(!starts(",pasid=20,gcr3-levels=4"));
    g_assert(!starts(",gcr3-levels=2"));
    g_assert(!starts(",pasid=16,guest-levels=6"));
}

/* An interrupt for what is new, not for what was told */
static void test_interrupts(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t wait = AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | AMDVI_CMD_WAIT_INT;

    enable_msi(t);
    make_requests(ep, 1, 1);
    ep_write_untranslated(ep, IOVA);
    cmd_submit(t, wait, 0);
    g_assert_cmphex(amd_status(t) & 0x7f, ==, AMDVI_STATUS_EVT_INT |
                    AMDVI_STATUS_WAIT_INT | AMDVI_STATUS_EVT_RUN |
                    AMDVI_STATUS_CMD_RUN | AMDVI_STATUS_PPR_INT);
    g_assert(!take_msi(t));
    /* Enabled with the condition there already */
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_PPR_INT);
    g_assert(take_msi(t));
    make_requests(ep, 1, 2);
    g_assert(!take_msi(t));
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_PPR_INT);
    g_assert(!take_msi(t));
    make_requests(ep, 1, 3);
    g_assert(take_msi(t));

    /* Each has its enable bit */
    set_control(t, CONTROL_ALL | AMDVI_MMIO_CONTROL_EVENTINTEN);
    g_assert(take_msi(t));
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_EVT_INT);
    ep_write_untranslated(ep, IOVA);
    g_assert(take_msi(t));
    ep_write_untranslated(ep, IOVA);
    g_assert(!take_msi(t));
    set_control(t, CONTROL_ALL | AMDVI_MMIO_CONTROL_COMWAITINTEN);
    g_assert(take_msi(t));
    cmd_submit(t, wait, 0);
    g_assert(!take_msi(t));
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_WAIT_INT);
    cmd_submit(t, wait, 0);
    g_assert(take_msi(t));

    /* An overflow is one more condition */
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_PPR_INT);
    take_msi(t);
    amd_writeq(t, AMDVI_MMIO_PPR_HEAD, 4 * AMDVI_RING_ENTRY);
    make_requests(ep, 1, 4);
    g_assert_cmphex(amd_status(t) & AMDVI_STATUS_PPR_OVERFLOW, !=, 0);
    g_assert(take_msi(t));
    test_end(t);
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

/* Sizes of answers */
static void test_unit(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    check_translation_unit(ep, DATA + 0x40000, map_page);
    check_largest_unit(ep, IOVA);
    /* Without tables, and with those of the guest for PASIDs alone */
    set_guest(ep, 0);
    check_largest_unit(ep, IOVA);
    check_no_event(t);
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
    check_translation(ep, NOP, 1ULL << 38, WANT_RW, 3ULL << 38, 1ULL << 38,
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
    Event e;

    e = check_untranslated_fault(ep, iova, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0], ==, q0 | AMDVI_EVF_RW);
    g_assert_cmphex(e.q[1], ==, iova);
    g_assert_cmpuint(ep_read_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
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

/* What is cached is for requests of its kind, and for what it grants */
static void test_cached_rights(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t priv = WANT_RW | IOPF_TD_F_PRIV;
    uint64_t supervisor = AMDVI_GPTE_P | AMDVI_GPTE_RW;

    set_guest(ep, 0);
    write_leaf(t, TABLES_1, IOVA, PAGE_A | supervisor);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, PAGE, PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | GPTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, PAGE, PERM_RW | PERM_P);

    write_leaf(t, TABLES_1, IOVA + PAGE, PAGE_C | GPTE_RW | AMDVI_GPTE_NX);
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, PAGE_C, PAGE, PERM_RW);
    write_leaf(t, TABLES_1, IOVA + PAGE, PAGE_C | GPTE_RW);
    check_translation(ep, PASID, IOVA + PAGE, WANT_R | IOPF_TD_F_EXEC, PAGE_C,
                      PAGE, PERM_R | PERM_X);
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

    /* What was withheld by then does not count for what another device owes */
    hold_inv(&t->ep[1], true);
    put_inv_iotlb(&t->ep[1], NOP, INV_ALL, true);
    put_wait(t, 0x8765);
    hold_inv(ep, false);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x5678);
    hold_inv(&t->ep[1], false);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x8765);
    check_no_event(t);
    test_end(t);
}

/* One command for each register that is read: too early, and in this order */
static void test_lazy_invalidation(void)
{
    Test *t = test_start_with(",x-lazy-invalidation=on");
    Endpoint *ep = &t->ep[0];
    uint64_t all = AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_ALL);

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_0, IOVA, PAGE_B | PTE_RW);
    cmd_put(t, all, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert(cmd_running(t));
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);

    /* The device before the IOMMU: it fetches what is to go */
    fill_atc(ep, NOP, IOVA);
    write_leaf(t, TABLES_0, IOVA, PAGE_C | PTE_RW);
    put_inv_iotlb(ep, NOP, IOVA, false);
    cmd_put(t, all, 0);
    g_assert(cmd_running(t));
    g_assert(!in_atc(ep, NOP, IOVA));
    fill_atc(ep, NOP, IOVA);
    g_assert(cmd_running(t));
    g_assert_cmphex(write_translated(ep, PAGE_B), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_C), ==, UINT64_MAX);

    /* The right order, and what is waited for */
    cmd_put(t, all, 0);
    put_inv_iotlb(ep, NOP, IOVA, false);
    put_wait(t, 0x1234);
    g_assert(cmd_running(t));
    fill_atc(ep, NOP, IOVA);
    g_assert(cmd_running(t));
    g_assert(!in_atc(ep, NOP, IOVA));
    fill_atc(ep, NOP, IOVA);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0);
    g_assert(cmd_running(t));
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x1234);
    g_assert_cmphex(write_translated(ep, PAGE_C), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_B), ==, UINT64_MAX);
    test_end(t);
}

static uint32_t read_raw(Endpoint *ep, uint64_t addr)
{
    Desc d = {
        .op = IOPF_TD_OP_READ,
        .mode = IOPF_TD_MODE_RAW,
        .iova = addr,
        .length = 4,
        .ram = IOPF_TD_RAM_DATA,
    };

    return ep_run(ep, &d);
}

/* Interrupts are untranslated writes, and there is nothing to be read */
static void test_translated_interrupt(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Event e;

    g_assert_cmpuint(ep_write_raw(ep, 0xfee00000), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[1], ==, 0xfee00000);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_RW, ==, AMDVI_EVF_RW);
    g_assert_cmpuint(read_raw(ep, 0xfeeffffc), ==, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[1], ==, 0xfeeffffc);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_RW, ==, 0);
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
    g_assert_cmpuint(ep_write_raw(ep, PAGE_A), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, UINT64_MAX);
    /* No ATS, or no valid entry */
    set_dte(ep, DTE_Q0, DOMAIN(ep), 0);
    g_assert_cmpuint(ep_write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_TR, ==, 0);
    check_treq(ep, NOP, -EACCES);
    e = check_event(ep, AMDVI_EVT_INVALID_DEV);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_TR, ==, AMDVI_EVF_TR);
    set_dte(ep, 0, DTE_Q1(0), 0);
    g_assert_cmpuint(ep_write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    check_treq(ep, NOP, -EACCES);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    /* Nor as soon as it can */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_ASK_EARLY);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    check_no_event(t);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    /* Nor as long as it can */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_ASK_LATE);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    check_no_event(t);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    check_event(ep, AMDVI_EVT_INVALID_DEV);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    check_no_event(t);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, 0);
    /* But other requests pass */
    check_untranslated(ep, PAGE_B, PAGE_B);
    /* The IOMMU is off */
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)), 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, 0);
    check_treq(ep, NOP, -EACCES);
    g_assert_cmpuint(ep_write_raw(ep, PAGE_A), ==, IOPF_TD_ST_ACCESS_ERROR);
    check_untranslated(ep, PAGE_B, PAGE_B);
    test_end(t);
}

/*
 * Test cases: tables that are wrong
 *
 * @ret: end of a translation request
 * @treq, @event: code of its event, and of that of an untranslated write, 0
 *     for none
 * @rz: that a reserved bit was the reason
 */
typedef struct Malformed {
    const char *name;
    uint64_t q0, q1, q2, q3;
    uint32_t pasid;
    int32_t ret;
    uint8_t treq, event;
    bool rz;
} Malformed;

#define Q1 DTE_Q1(0x21)
#define ILLEGAL AMDVI_EVT_ILLEGAL_DTE
#define FAULT AMDVI_EVT_PAGE_FAULT
#define HW AMDVI_EVT_PAGE_HW
#define NOWHERE 0x8000000000000ULL
/* Not memory, but a device: the IOMMU itself */
#define DEVICE AMDVI_BASE_ADDR

static const Malformed malformed[] = {
    { "q0-low", DTE_Q0 | 4, Q1, 0, 0, NOP, -EACCES, ILLEGAL, ILLEGAL, true },
    { "q0-high", DTE_Q0 | 1ULL << 63, Q1, 0, 0, NOP, -EACCES, ILLEGAL,
      ILLEGAL, true },
    { "had", DTE_Q0 | AMDVI_DTE_HA, Q1, 0, 0, NOP, -EACCES, ILLEGAL, ILLEGAL,
      true },
    { "sats", DTE_Q0, Q1 | AMDVI_DTE_SATS, 0, 0, NOP, -EACCES, ILLEGAL,
      ILLEGAL, true },
    { "q2", DTE_Q0, Q1, 1ULL << 52, 0, NOP, -EACCES, ILLEGAL, ILLEGAL, true },
    { "q3-low", DTE_Q0, Q1, 0, 1, NOP, -EACCES, ILLEGAL, ILLEGAL, true },
    { "viommu", DTE_Q0, Q1, 0, 1 << 15, NOP, -EACCES, ILLEGAL, ILLEGAL,
      true },
    { "guest-id", DTE_Q0, Q1, 0, 1ULL << 32, NOP, -EACCES, ILLEGAL, ILLEGAL,
      true },
    { "mode-7", DTE_Q0 | AMDVI_DTE_MODE(7), Q1, 0, 0, NOP, -EACCES, ILLEGAL,
      ILLEGAL },
    { "glx-3", DTE_Q0_GUEST | AMDVI_DTE_GLX(4), Q1, 0, 0, NOP, -EACCES,
      ILLEGAL, ILLEGAL },
    { "giov-alone", DTE_Q0 | AMDVI_DTE_GIOV, Q1, 0, 0, NOP, -EACCES, ILLEGAL,
      ILLEGAL },
    { "five-levels", DTE_Q0_GUEST, Q1, AMDVI_DTE_GUEST_MODE(5), 0, NOP,
      -EACCES, ILLEGAL, ILLEGAL },
    { "guest-mode-2", DTE_Q0_GUEST, Q1, AMDVI_DTE_GUEST_MODE(6), 0, NOP,
      -EACCES, ILLEGAL, ILLEGAL },
    { "tv", DTE_Q0 & ~AMDVI_DTE_TV, Q1, 0, 0, NOP, -EACCES, FAULT, FAULT },
    { "no-write", DTE_Q0_GUEST & ~AMDVI_DTE_IW, Q1, 0, 0, NOP, 0, 0, FAULT },
    { "root-nowhere", DTE_Q0 | NOWHERE, Q1, 0, 0, NOP, -EIO, HW, HW },
    { "root-device", (DTE_Q0 & ~TABLES_0) | DEVICE, Q1, 0, 0, NOP, -EIO, HW,
      HW },
    { "gcr3-nowhere", DTE_Q0_GUEST, Q1 | 1ULL << 63, 0, 0, PASID, -EIO, HW,
      0 },
    { "gcr3-device", DTE_Q0_GUEST, Q1 | (DEVICE >> 15 & 0xffff) << 16 |
      DEVICE >> 31 << 43, 0, 0, PASID, -EIO, HW, 0 },
};

static void test_malformed(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    const Malformed *m;
    Event e;

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    for (m = malformed; m < malformed + ARRAY_SIZE(malformed); m++) {
        Translation tr;

        g_test_message("%s", m->name);
        write_dte(ep, m->q0, m->q1, m->q2);
        qtest_writeq(t->qts, DEVTAB + ep->bdf * 32 + 24, m->q3);
        inv_all(t);
        tr = translate(ep, m->pasid, IOVA, WANT_RW);
        g_assert_cmpint(tr.ret, ==, m->ret);
        if (m->treq) {
            e = check_event(ep, m->treq);
            g_assert_cmpint(!!(e.q[0] & AMDVI_EVF_RZ), ==, m->rz);
            g_assert(e.q[0] & AMDVI_EVF_TR);
        }
        check_no_event(t);
        if (m->event) {
            e = check_untranslated_fault(ep, IOVA, m->event);
            g_assert_cmpint(!!(e.q[0] & AMDVI_EVF_RZ), ==, m->rz);
            g_assert(!(e.q[0] & AMDVI_EVF_TR));
        }
    }
    /* None of that for the other function, which was valid all the time */
    check_translation(&t->ep[1], NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);

    /* Guest translation is off */
    set_guest(ep, 0);
    set_control(t, CONTROL_ALL & ~AMDVI_CONTROL_GT);
    check_treq(ep, NOP, -EACCES);
    check_event(ep, AMDVI_EVT_ILLEGAL_DTE);
    set_control(t, CONTROL_ALL);

    /* The device table: too short, and not in memory */
    amd_writeq(t, AMDVI_MMIO_DEVICE_TABLE, NOWHERE | 1);
    inv_all(t);
    check_treq(ep, NOP, -EIO);
    e = check_event(ep, AMDVI_EVT_DTE_HW);
    g_assert_cmphex(e.q[1], ==, NOWHERE + ep->bdf * 32);
    amd_writeq(t, AMDVI_MMIO_DEVICE_TABLE, DEVICE | 1);
    check_treq(ep, NOP, -EIO);
    check_event(ep, AMDVI_EVT_DTE_HW);
    test_end(t);
}

static void test_root_port(void)
{
    Test *t = g_new0(Test, 1);
    Endpoint *ep = &t->ep[0];

    t->qts = qtest_init(Q35_AMD " -device pcie-root-port,id=rp1,addr=6.0 "
                        "-device iopf-testdev,bus=rp1,pasid=20");
    enable_mmcfg(t->qts);
    ep_init(ep, t, 1 << 8, 0);
    enable_root_port(ep, 6 << 3);
    ep_map(ep);
    ep_enable(ep, 64);
    ep_start_ring(ep, 8, 8);
    clear_tables(t);
    write_dte(ep, DTE_Q0, DTE_Q1(0x55), 0);
    write_paging_host(t, TABLES_0);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    start_amd(t);

    /* A device on a bus of its own, which had no number when it was made */
    check_untranslated(ep, IOVA, PAGE_A);
    fill_atc(ep, NOP, IOVA);
    inv_iotlb(ep, NOP, IOVA, false);
    g_assert(!in_atc(ep, NOP, IOVA));
    inv_all(t);
    check_demand_paging(ep, PAGE_A, map_page);

    amd_writeq(t, AMDVI_MMIO_DEVICE_TABLE, DEVTAB | 1);
    inv_all(t);
    check_treq(ep, NOP, -EACCES);
    check_event(ep, AMDVI_EVT_ILLEGAL_DTE);
    test_end(t);
}

/* The tables of the guest have addresses that those of the host translate */
static void test_nested(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t gpa = 0x12345000, root = IOVA, dirty = AMDVI_GPTE_D;
    uint64_t q0 = DTE_Q0 | AMDVI_DTE_GIOV;
    int i;

    /* Tables at IOVA for the guest, GCR3 entries with that; the page at GPA */
    for (i = 0; i < 4; i++) {
        write_leaf(t, TABLES_0, root + i * PAGE, (TABLES_1 + i * PAGE) |
                   PTE_RW);
        if (i < 3) {
            qtest_writeq(t->qts, TABLES_1 + i * PAGE +
                         extract64(IOVA, 39 - 9 * i, 9) * 8,
                         (root + (i + 1) * PAGE) | GPTE_RW);
        }
    }
    write_gcr3(t, 1, 0, root | AMDVI_GCR3_V);
    write_leaf(t, TABLES_1, IOVA, (root + 0x10000) | GPTE_RW);
    write_leaf(t, TABLES_0, root + 0x10000, PAGE_A | PTE_RW);
    write_dte_gcr3(ep, q0, DTE_Q1(DOMAIN(ep)), 0, GCR3, 1);
    inv_all(t);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_untranslated(ep, IOVA, PAGE_A);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA) & dirty, ==, dirty);

    /* Rights are those of both, and the smaller page */
    write_leaf(t, TABLES_1, IOVA + PAGE, (root + 0x11000) | GPTE_R);
    write_leaf(t, TABLES_0, root + 0x11000, PAGE_B | PTE_RW);
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    write_leaf(t, TABLES_1, IOVA + 2 * PAGE, (root + 0x12000) | GPTE_RW);
    write_leaf(t, TABLES_0, root + 0x12000, PAGE_C | PTE_R);
    check_translation(ep, NOP, IOVA + 2 * PAGE, WANT_RW, PAGE_C, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA + 2 * PAGE) & dirty, ==, 0);
    qtest_writeq(t->qts, TABLES_1 + 2 * PAGE +
                 extract64(IOVA_2M, 21, 9) * 8, IOVA | GPTE_RW |
                 AMDVI_GPTE_PS);
    check_translation(ep, NOP, IOVA_2M + 0x10000, WANT_RW, PAGE_A, PAGE,
                      PERM_RW);

    /* A hole of the host, under the page and under a table */
    check_no_event(t);
    write_leaf(t, TABLES_1, IOVA + 3 * PAGE, gpa | GPTE_RW);
    check_translation(ep, NOP, IOVA + 3 * PAGE, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(check_untranslated_fault(ep, IOVA + 3 * PAGE,
                    AMDVI_EVT_PAGE_FAULT).q[1], ==, gpa);
    inv_all(t);
    write_leaf(t, TABLES_0, root + 3 * PAGE, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, PAGE, 0);
    /* A table that the host lets nobody write: A cannot be set */
    write_leaf(t, TABLES_0, root + 3 * PAGE, (TABLES_1 + 3 * PAGE) | PTE_R);
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    write_leaf(t, TABLES_1, IOVA, (root + 0x10000) | GPTE_RW);
    inv_all(t);
    check_translation(ep, NOP, IOVA, WANT_R, 0, PAGE, 0);

    /* GN = 0 takes what was found by the guest's tables with it */
    write_leaf(t, TABLES_0, root + 3 * PAGE, (TABLES_1 + 3 * PAGE) | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_0, root + 0x10000, PAGE_B | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    inv_pages(t, DOMAIN(ep), NOP, root + 0x10000, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    test_end(t);
}

/* The root of the GCR3 table is an address of the guest */
static void test_gcr3_trp(void)
{
    Test *t = test_start_with(",gcr3-trp=on");
    Endpoint *ep = &t->ep[0];

    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EFR2), ==, AMDVI_EFR2_GCR3_TRP);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_GCR3_TRP);
    g_assert(amd_readq(t, AMDVI_MMIO_CONTROL) & AMDVI_CONTROL_GCR3_TRP);
    /* The first 2 MiB are where they are for the guest, but for GCR3 */
    qtest_writeq(t->qts, TABLES_0, (TABLES_0 + PAGE) | PTE_RW |
                 AMDVI_PTE_NEXT(2));
    qtest_writeq(t->qts, TABLES_0 + PAGE, 0 | PTE_RW);
    qtest_writeq(t->qts, TABLES_0 + PAGE + 8, 0 | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_A | GPTE_RW);
    write_leaf(t, TABLES_1, IOVA + PAGE, MSI_TARGET | GPTE_RW);
    write_dte_gcr3(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)), 0, GCR3 + 0x200000, 1);
    inv_all(t);
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, MSI_TARGET, PAGE,
                      PERM_RW);
    set_control(t, CONTROL_ALL);
    inv_all(t);
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, 0, PAGE, 0);
    test_end(t);
}

/*
 * Whatever the guest says: the fault is one of the host's tables, at the
 * guest's address, and only that of the function
 */
static void test_gcr3_trp_beyond(void)
{
    Test *t = test_start_with(",gcr3-trp=on");
    Endpoint *ep = &t->ep[0];
    static const struct {
        uint64_t root, pte;
        uint8_t event;
    } cases[] = {
        /* Not mapped by the host; more than its tables reach */
        { GCR3 + 0x200000, 0, AMDVI_EVT_PAGE_FAULT },
        { NOWHERE | GCR3, 0, AMDVI_EVT_PAGE_FAULT },
        /* Mapped to what is no memory, and to a device */
        { IOVA, NOWHERE | PTE_RW, AMDVI_EVT_PAGE_HW },
        { IOVA, AMDVI_BASE_ADDR | PTE_RW, AMDVI_EVT_PAGE_HW },
    };
    int i;

    set_control(t, CONTROL_ALL | AMDVI_CONTROL_GCR3_TRP);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        Event e;

        write_leaf(t, TABLES_0, IOVA, cases[i].pte);
        write_dte_gcr3(ep, DTE_Q0 | AMDVI_DTE_GIOV, DTE_Q1(DOMAIN(ep)), 0,
                       cases[i].root, 1);
        inv_all(t);
        e = check_untranslated_fault(ep, IOVA, cases[i].event);
        if (cases[i].event == AMDVI_EVT_PAGE_FAULT) {
            g_assert(!(e.q[0] & AMDVI_EVF_GN));
            g_assert_cmphex(e.q[1] & ~(PAGE - 1), ==, cases[i].root);
        }
    }
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    inv_all(t);
    check_untranslated(&t->ep[1], IOVA, PAGE_A);
    check_no_event(t);
    test_end(t);
}

static void test_five_levels(void)
{
    Test *t = test_start_with(",guest-levels=5");
    Endpoint *ep = &t->ep[0];
    uint64_t top = TABLES_1 + 8 * PAGE, iova = IOVA | 3ULL << 48;

    g_assert_cmphex(extract64(amd_readq(t, AMDVI_MMIO_EXT_FEATURES), 12, 2),
                    ==, 1);
    write_gcr3(t, 1, PASID, top | AMDVI_GCR3_V);
    qtest_writeq(t->qts, top + 3 * 8, TABLES_1 | GPTE_RW);
    write_leaf(t, TABLES_1, iova, PAGE_A | GPTE_RW);
    write_dte_gcr3(ep, DTE_Q0_GUEST, DTE_Q1(DOMAIN(ep)),
                   AMDVI_DTE_GUEST_MODE(5), GCR3, 1);
    inv_all(t);
    check_translation(ep, PASID, iova, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, 1ULL << 48, 0);
    check_translation(ep, PASID, 1ULL << 56, WANT_RW, 0, PAGE, 0);
    check_no_event(t);
    test_end(t);
}

/* Accessed and dirty bits of the host */
static void test_host_bits(void)
{
    Test *t = test_start_with(",host-ad=on");
    Endpoint *ep = &t->ep[0];
    uint64_t both = AMDVI_PTE_A | AMDVI_PTE_D;
    uint64_t top = TABLES_0 + extract64(IOVA, 39, 9) * 8;

    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EXT_FEATURES) & (AMDVI_EFR_HA |
                    AMDVI_EFR_HD), ==, AMDVI_EFR_HA | AMDVI_EFR_HD);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, TABLES_0, IOVA) & both, ==, 0);
    inv_all(t);
    set_dte(ep, DTE_Q0 | AMDVI_DTE_HA, DTE_Q1(DOMAIN(ep)), 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, TABLES_0, IOVA) & both, ==, AMDVI_PTE_A);
    g_assert_cmphex(qtest_readq(t->qts, top) & both, ==, AMDVI_PTE_A);
    inv_all(t);
    set_dte(ep, DTE_Q0 | AMDVI_DTE_HA | AMDVI_DTE_HD, DTE_Q1(DOMAIN(ep)), 0);
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, TABLES_0, IOVA) & both, ==, AMDVI_PTE_A);
    check_untranslated(ep, IOVA, PAGE_A);
    g_assert_cmphex(read_leaf(t, TABLES_0, IOVA) & both, ==, both);
    /* D without A */
    set_dte(ep, DTE_Q0 | AMDVI_DTE_HD, DTE_Q1(DOMAIN(ep)), 0);
    check_treq(ep, NOP, -EACCES);
    check_event(ep, AMDVI_EVT_ILLEGAL_DTE);
    test_end(t);
}

/* An answer says that the address itself is to be used */
static void test_untranslated_only(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW | AMDVI_PTE_U);
    g_assert_cmphex(translate(ep, NOP, IOVA, WANT_RW).perm, ==, PERM_RW |
                    IOPF_TD_TRREC_UNTRANSLATED);
    check_untranslated(ep, IOVA, PAGE_A);
    test_end(t);
}

/* Where interrupts go nothing is granted, whatever the tables say */
static void test_interrupt_range(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    qtest_writeq(t->qts, TABLES_0 + PAGE + 3 * 8, 0xc0000000 | PTE_RW);
    check_translation(ep, NOP, 0xfee00000, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, 0xfeefffff, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, 0xfed12345, WANT_RW, 0xfec00000, 0x200000,
                      PERM_RW);
    check_translation(ep, NOP, 0xfef00000, WANT_RW, 0xfef00000, 0x100000,
                      PERM_RW);
    check_translation(ep, NOP, 0xd2345678, WANT_RW, 0xc0000000, 0x20000000,
                      PERM_RW);
    /* For a PASID they are addresses like others */
    set_guest(ep, 0);
    check_translation(ep, NOP, 0xfee00000, WANT_RW, 0, PAGE, 0);
    qtest_writeq(t->qts, TABLES_1 + PAGE + 3 * 8, 0xc0000000 | GPTE_RW |
                 AMDVI_GPTE_PS);
    check_translation(ep, PASID, 0xfee00000, WANT_RW, 0xc0000000, 1 << 30,
                      PERM_RW);
    check_no_event(t);
    test_end(t);
}

static void test_exclusion(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    amd_writeq(t, AMDVI_MMIO_EXCL_LIMIT, PAGE_B);
    amd_writeq(t, AMDVI_MMIO_EXCL_BASE, PAGE_A | 1);
    check_untranslated_fault(ep, PAGE_A, AMDVI_EVT_PAGE_FAULT);
    set_dte(ep, DTE_Q0, DTE_Q1(DOMAIN(ep)) | AMDVI_DTE_EX, 0);
    check_untranslated(ep, PAGE_A, PAGE_A);
    check_untranslated(ep, PAGE_B + 0x800, PAGE_B + 0x800);
    check_translation(ep, NOP, PAGE_A, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_untranslated_fault(ep, PAGE_C, AMDVI_EVT_PAGE_FAULT);
    check_untranslated_fault(&t->ep[1], PAGE_A, AMDVI_EVT_PAGE_FAULT);
    amd_writeq(t, AMDVI_MMIO_EXCL_BASE, PAGE_A | 3);
    check_untranslated(&t->ep[1], PAGE_A, PAGE_A);
    test_end(t);
}

/*
 * Test cases: commands and events
 */

static void test_bad_commands(void)
{
    Test *t = test_start();
    unsigned i;
    static const uint64_t bad[][2] = {
        { AMDVI_CMD(0) },
        { AMDVI_CMD(AMDVI_CMD_PREFETCH_AMDVI_PAGES) },
        { AMDVI_CMD(9) }, { AMDVI_CMD(10) }, { AMDVI_CMD(15) },
        { AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | 1ULL << 52 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY) | 1 << 16 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY), 1 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES) | 1 << 20 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES), 8 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES), 2 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES), 1 << 4 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_INTR_TABLE), 1ULL << 63 },
        { AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST), 1 },
        { AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST), 2ULL << 44 },
        { AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST), 1ULL << 48 },
        { AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_ALL) | 1 },
    };

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        cmd_submit_bad(t, bad[i][0], bad[i][1]);
    }
    /* A response for nobody, and for a group that there is not */
    cmd_submit(t, AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST) | 0x1f8, 0);
    page_response(&t->ep[0], NOP, RSP_SUCCESS, 0x77);
    g_assert(take_unexpected(&t->ep[0]));
    check_no_event(t);
    test_end(t);
}

/* Without the features their commands are not there either */
static void test_absent_commands(void)
{
    Test t = { .qts = qtest_init(Q35 "-device amd-iommu,pasid=4") };

    clear_tables(&t);
    start_amd(&t);
    cmd_submit(&t, AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES), AMDVI_CMD_GN);
    cmd_submit_bad(&t, AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES), 0);
    cmd_submit_bad(&t, AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST), 0);
    qtest_quit(t.qts);

    t = (Test) { .qts = qtest_init(Q35 "-device amd-iommu,ats=on") };
    clear_tables(&t);
    start_amd(&t);
    cmd_submit(&t, AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES), 0);
    cmd_submit_bad(&t, AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES), AMDVI_CMD_GN);
    cmd_submit_bad(&t, AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES), AMDVI_CMD_GN);
    qtest_quit(t.qts);
}

/* What cannot be read or written */
static void test_command_memory(void)
{
    Test *t = test_start();
    Event e = {};

    cmd_put(t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | NOWHERE |
            AMDVI_CMD_WAIT_STORE, 1);
    g_assert(!cmd_running(t));
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_CMD_HW);
    g_assert_cmphex(e.q[1], ==, NOWHERE);
    cmd_restart(t);
    cmd_put(t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | DEVICE |
            AMDVI_CMD_WAIT_STORE, 1);
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_CMD_HW);
    set_control(t, 0);
    amd_writeq(t, AMDVI_MMIO_COMMAND_BASE, RING(NOWHERE));
    set_control(t, CONTROL_ALL);
    amd_writeq(t, AMDVI_MMIO_COMMAND_TAIL, 0x10);
    g_assert(!cmd_running(t));
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_CMD_HW);
    g_assert_cmphex(e.q[1], ==, NOWHERE);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, 0);
    test_end(t);
}

static void test_event_overflow(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t bits = AMDVI_STATUS_EVT_RUN | AMDVI_STATUS_EVT_OVERFLOW;
    uint64_t full = (RING_ENTRIES - 1) * AMDVI_RING_ENTRY;
    int i;

    for (i = 0; i < RING_ENTRIES; i++) {
        ep_write_untranslated(ep, IOVA);
        g_assert_cmphex(amd_status(t) & bits, ==,
                        i < RING_ENTRIES - 1 ? AMDVI_STATUS_EVT_RUN :
                        AMDVI_STATUS_EVT_OVERFLOW);
    }
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EVENT_TAIL), ==, full);
    amd_writeq(t, AMDVI_MMIO_EVENT_HEAD, full);
    t->evq_head = full;
    ep_write_untranslated(ep, IOVA);
    check_no_event(t);
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_EVT_OVERFLOW);
    ep_write_untranslated(ep, IOVA);
    check_no_event(t);
    set_control(t, CONTROL_ALL & ~AMDVI_MMIO_CONTROL_EVENTLOGEN);
    set_control(t, CONTROL_ALL);
    check_untranslated_fault(ep, IOVA, AMDVI_EVT_PAGE_FAULT);
    test_end(t);
}

/* A device that never completes an invalidation */
static void test_timeout(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t cmd;
    Event e;

    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_REFUSE_INV);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_INV_TIMEOUT);
    cmd = CMDBUF + t->iq_tail;
    put_inv_iotlb(ep, NOP, INV_ALL, true);
    put_wait(t, 0x1234);
    e = check_event(ep, AMDVI_EVT_INV_TIMEOUT);
    g_assert_cmphex(e.q[1], ==, cmd);
    /* The queue goes on */
    g_assert(cmd_running(t));
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x1234);

    /* Without a time-out it is waited for, until software gives up */
    set_control(t, CONTROL_ALL);
    put_inv_iotlb(ep, NOP, INV_ALL, true);
    put_wait(t, 0x5678);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x1234);
    check_no_event(t);
    cmd_restart(t);
    put_wait(t, 0x4321);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x4321);
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

/*
 * A function that has filled the log, and is unplugged: what software still has
 * to say to it is lost, and the log is there for the others.
 */
static void test_gone(void)
{
    Test *t = test_new(Q35_AMD " -device pcie-root-port,id=rp1,addr=6.0 "
                       "-device iopf-testdev,id=td0,bus=rp1,pasid=20,"
                       "pri-capacity=512 "
                       "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,"
                       "pri-capacity=512");
    Endpoint *gone = &t->ep[0], *other = &t->ep[1];
    uint64_t run = AMDVI_STATUS_PPR_RUN, overflow = AMDVI_STATUS_PPR_OVERFLOW;
    uint64_t full = (RING_ENTRIES - 1) * AMDVI_RING_ENTRY;
    int i;

    enable_mmcfg(t->qts);
    ep_init(gone, t, 1 << 8, 0);
    enable_root_port(gone, 6 << 3);
    ep_init(other, t, 5 << 3, 1);
    for (i = 0; i < 2; i++) {
        ep_map(&t->ep[i]);
        ep_enable(&t->ep[i], 512);
        ep_start_ring(&t->ep[i], 8, 16);
        ep_writel(&t->ep[i], IOPF_TD_REG_PRI_FULL_RETRY, 0);
    }
    clear_tables(t);
    for (i = 0; i < 2; i++) {
        write_dte(&t->ep[i], DTE_Q0, DTE_Q1(i + 1), 0);
    }
    write_paging_host(t, TABLES_0);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    start_amd(t);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_INV_TIMEOUT);

    make_requests(gone, RING_ENTRIES - 1, 1);
    hold_inv(gone, true);
    put_inv_iotlb(gone, NOP, INV_ALL, true);
    put_wait(t, 0x1234);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0);

    qtest_qmp_device_del_send(t->qts, "td0");
    eject_root_port(t->qts);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    /* What was waited for is over */
    check_event(gone, AMDVI_EVT_INV_TIMEOUT);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x1234);

    /* The requests are still there, and their answer reaches nobody */
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, run);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, full);
    page_response(gone, NOP, RSP_INVALID, 1);
    inv_iotlb(gone, NOP, IOVA, false);
    inv_iotlb(gone, PASID, INV_ALL, true);
    check_no_event(t);

    make_requests(other, 1, 2);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, overflow);
    amd_writel(t, AMDVI_MMIO_PPR_HEAD, full);
    amd_writeq(t, AMDVI_MMIO_STATUS, overflow);
    set_control(t, CONTROL_ALL & ~AMDVI_CONTROL_PPR_LOG);
    set_control(t, CONTROL_ALL);
    g_assert_cmphex(amd_status(t) & (run | overflow), ==, run);
    page_response(other, NOP, RSP_INVALID, 2);
    check_only_response(other, RSP_INVALID, 2, NOP, 1);
    make_requests(other, 1, 3);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, 0);
    check_untranslated(other, IOVA, PAGE_A);
    check_no_event(t);
    test_end(t);
}

/* Answers that nobody waits for, beside one that somebody does */
static void test_unasked(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    make_requests(ep, 2, 0x11);
    page_response(ep, NOP, RSP_SUCCESS, 0x12);
    g_assert(take_unexpected(ep));
    page_response(ep, PASID, RSP_SUCCESS, 0x11);
    g_assert(take_unexpected(ep));
    page_response(&t->ep[1], NOP, RSP_SUCCESS, 0x11);
    g_assert(take_unexpected(&t->ep[1]));
    g_assert(!take_unexpected(ep));
    g_assert_cmpuint(outstanding(ep), ==, 2);
    g_assert_cmpuint(outstanding(&t->ep[1]), ==, 0);

    page_response(ep, NOP, RSP_SUCCESS, 0x11);
    check_response(ep, RSP_SUCCESS, 0, 0x11, NOP, 2);
    g_assert(!take_unexpected(ep));
    g_assert_cmpuint(outstanding(ep), ==, 0);
    /* Once is enough */
    page_response(ep, NOP, RSP_SUCCESS, 0x11);
    g_assert(take_unexpected(ep));
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

static void test_stop_marker(void)
{
    Test *t = test_start_with(",ppr-block-stop=on");
    Endpoint *ep = &t->ep[0];
    Desc stop = {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };

    set_guest(ep, 0);
    ep_check(ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PPRLOG), ==, AMDVI_PPR_TYPE |
                    ep->bdf | AMDVI_PPR_GN | AMDVI_PPR_USER | AMDVI_PPR_LAST |
                    11 << 16);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_BLOCK_STOP);
    ep_check(ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, AMDVI_RING_ENTRY);
    make_requests(ep, 1, 1);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==,
                    2 * AMDVI_RING_ENTRY);
    test_end(t);
}

/* The IOMMU answers what finds no room */
static void test_automatic(void)
{
    Test *t = test_start_with(",ppr-autoresp=on");
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 2);

    write_dte_gcr3(ep, DTE_Q0_GUEST | AMDVI_DTE_GPRP, DTE_Q1(DOMAIN(ep)), 0,
                   GCR3, 1);
    inv_dte(ep);
    make_requests(ep, RING_ENTRIES - 1, 1);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_PPR_AUTO);
    check_automatic(ep, &d, RSP_SUCCESS);
    g_assert(amd_status(t) & AMDVI_STATUS_PPR_OVERFLOW);
    check_stop_marker_lost(ep);
    d = group_request(PASID, IOVA, 1, WANT_R, 3);
    check_automatic(ep, &d, RSP_SUCCESS);
    amd_writeq(t, AMDVI_MMIO_PPR_AUTO, AMDVI_PPR_INVALID);
    d = group_request(NOP, IOVA, 1, WANT_R, 4);
    check_automatic(ep, &d, RSP_INVALID);
    /* Without the PASID: the device does not know what that is about */
    amd_writeq(t, AMDVI_MMIO_PPR_AUTO, AMDVI_PPR_AUTO_MASK_GN);
    d = group_request(PASID, IOVA, 1, WANT_R, 5);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert(take_unexpected(ep));
    page_response(ep, PASID, RSP_SUCCESS, 5);

    /* Always, with room in the log */
    amd_writeq(t, AMDVI_MMIO_PPR_AUTO, 0);
    amd_writeq(t, AMDVI_MMIO_PPR_HEAD, (RING_ENTRIES - 1) * AMDVI_RING_ENTRY);
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_PPR_OVERFLOW);
    set_control(t, CONTROL_ALL & ~AMDVI_CONTROL_PPR_LOG);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_PPR_AUTO |
                AMDVI_CONTROL_PPR_AUTO_ALWAYS);
    d = group_request(NOP, IOVA, 1, WANT_R, 6);
    check_automatic(ep, &d, RSP_SUCCESS);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==,
                    (RING_ENTRIES - 1) * AMDVI_RING_ENTRY);
    test_end(t);
}

static void test_early(void)
{
    Test *t = test_start_with(",ppr-overflow-early=on");
    Endpoint *ep = &t->ep[0];

    enable_msi(t);
    amd_writeq(t, AMDVI_MMIO_PPR_EARLY, AMDVI_PPR_EARLY_ENABLE |
               AMDVI_PPR_EARLY_INT | 3);
    set_control(t, CONTROL_ALL | AMDVI_CONTROL_PPR_INT);
    make_requests(ep, 2, 1);
    g_assert(take_msi(t));
    g_assert_cmphex(amd_status(t) & AMDVI_STATUS_PPR_EARLY, ==, 0);
    make_requests(ep, 1, 2);
    g_assert(take_msi(t));
    g_assert(amd_status(t) & AMDVI_STATUS_PPR_EARLY);
    /* The log goes on */
    make_requests(ep, 1, 3);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==,
                    4 * AMDVI_RING_ENTRY);
    amd_writeq(t, AMDVI_MMIO_PPR_HEAD, 4 * AMDVI_RING_ENTRY);
    amd_writeq(t, AMDVI_MMIO_STATUS, AMDVI_STATUS_PPR_EARLY);
    make_requests(ep, 1, 4);
    g_assert_cmphex(amd_status(t) & AMDVI_STATUS_PPR_EARLY, ==, 0);
    test_end(t);
}

static void send_pending(Endpoint *ep, unsigned int pending)
{
    cmd_submit(ep->t, AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES) | ep->bdf |
               (uint64_t)pending << 24 | (uint64_t)ep->bdf << 32, IOVA);
}

static void test_inv_depth(void)
{
    check_inv_depth(test_start_with, send_pending);
}

static void test_guest_errors(void)
{
    check_guest_errors(test_start_with);
}

/* The log is not in memory, or the IOMMU is off */
static void test_no_log(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 3);

    set_control(t, CONTROL_ALL & ~AMDVI_CONTROL_PPR_LOG);
    make_requests(ep, 1, 1);
    amd_writeq(t, AMDVI_MMIO_PPR_BASE, RING(NOWHERE));
    set_control(t, CONTROL_ALL);
    make_requests(ep, 1, 2);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_PPR_TAIL), ==, 0);
    g_assert_cmpuint(outstanding(ep), ==, 2);
    page_response(ep, NOP, RSP_SUCCESS, 1);
    page_response(ep, NOP, RSP_SUCCESS, 2);
    set_control(t, 0);
    check_automatic(ep, &d, RSP_FAILURE);
    test_end(t);
}

static void test_demand_paging(void)
{
    Test *t = test_start();

    check_demand_paging(&t->ep[0], PAGE_A, map_page);
    check_no_event(t);
    test_end(t);
}

/* Registers and interrupt of the IOMMU, which goes on with its commands */
static void test_migration(void)
{
    Test t = { .qts = qtest_init(Q35_AMD) };
    uint64_t tail;

    enable_mmcfg(t.qts);
    clear_tables(&t);
    start_amd(&t);
    enable_msi(&t);
    cmd_submit_bad(&t, AMDVI_CMD(0), 0);
    put_wait(&t, 0x1234);
    set_control(&t, CONTROL_ALL | AMDVI_MMIO_CONTROL_COMWAITINTEN);
    tail = t.iq_tail;
    migrate_machine(&t, Q35_AMD);
    g_assert_cmphex(amd_readq(&t, AMDVI_MMIO_CONTROL), ==, CONTROL_ALL |
                    AMDVI_MMIO_CONTROL_COMWAITINTEN);
    g_assert_cmphex(amd_readq(&t, AMDVI_MMIO_COMMAND_HEAD), ==, tail);
    g_assert_cmphex(amd_readq(&t, AMDVI_MMIO_EVENT_TAIL), ==,
                    AMDVI_RING_ENTRY);
    cmd_submit(&t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | AMDVI_CMD_WAIT_INT |
               AMDVI_CMD_WAIT_STORE | STATUS_WORD, 0x5678);
    g_assert_cmphex(qtest_readq(t.qts, STATUS_WORD), ==, 0x5678);
    g_assert(take_msi(&t));
    qtest_quit(t.qts);
}

/* The plain model says that it cannot */
static void test_no_migration(void)
{
    QTestState *qts = qtest_init(Q35 "-device amd-iommu");
    QDict *rsp = qtest_qmp(qts, "{'execute': 'migrate', 'arguments': "
                           "{'uri': 'file:/dev/null'}}");

    g_assert(qdict_haskey(rsp, "error"));
    qobject_unref(rsp);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/amd-iommu-pri/registers", test_registers);
    qtest_add_func("/amd-iommu-pri/off", test_off);
    qtest_add_func("/amd-iommu-pri/options", test_options);
    qtest_add_func("/amd-iommu-pri/interrupts", test_interrupts);
    qtest_add_func("/amd-iommu-pri/translate", test_translate);
    qtest_add_func("/amd-iommu-pri/unit", test_unit);
    qtest_add_func("/amd-iommu-pri/host-pages", test_host_pages);
    qtest_add_func("/amd-iommu-pri/fault-record", test_fault_record);
    qtest_add_func("/amd-iommu-pri/guest", test_guest);
    qtest_add_func("/amd-iommu-pri/gcr3-levels", test_gcr3_levels);
    qtest_add_func("/amd-iommu-pri/caches", test_caches);
    qtest_add_func("/amd-iommu-pri/cached-rights", test_cached_rights);
    qtest_add_func("/amd-iommu-pri/device-cache", test_device_cache);
    qtest_add_func("/amd-iommu-pri/held", test_held);
    qtest_add_func("/amd-iommu-pri/lazy-invalidation", test_lazy_invalidation);
    qtest_add_func("/amd-iommu-pri/translated", test_translated);
    qtest_add_func("/amd-iommu-pri/translated-interrupt",
                   test_translated_interrupt);
    qtest_add_func("/amd-iommu-pri/malformed", test_malformed);
    qtest_add_func("/amd-iommu-pri/root-port", test_root_port);
    qtest_add_func("/amd-iommu-pri/nested", test_nested);
    qtest_add_func("/amd-iommu-pri/gcr3-trp", test_gcr3_trp);
    qtest_add_func("/amd-iommu-pri/gcr3-trp-beyond", test_gcr3_trp_beyond);
    qtest_add_func("/amd-iommu-pri/five-levels", test_five_levels);
    qtest_add_func("/amd-iommu-pri/host-bits", test_host_bits);
    qtest_add_func("/amd-iommu-pri/untranslated-only", test_untranslated_only);
    qtest_add_func("/amd-iommu-pri/interrupt-range", test_interrupt_range);
    qtest_add_func("/amd-iommu-pri/exclusion", test_exclusion);
    qtest_add_func("/amd-iommu-pri/bad-commands", test_bad_commands);
    qtest_add_func("/amd-iommu-pri/absent-commands", test_absent_commands);
    qtest_add_func("/amd-iommu-pri/command-memory", test_command_memory);
    qtest_add_func("/amd-iommu-pri/event-overflow", test_event_overflow);
    qtest_add_func("/amd-iommu-pri/timeout", test_timeout);
    qtest_add_func("/amd-iommu-pri/stop-marker", test_stop_marker);
    qtest_add_func("/amd-iommu-pri/automatic", test_automatic);
    qtest_add_func("/amd-iommu-pri/early", test_early);
    qtest_add_func("/amd-iommu-pri/guest-errors", test_guest_errors);
    qtest_add_func("/amd-iommu-pri/inv-depth", test_inv_depth);
    qtest_add_func("/amd-iommu-pri/no-log", test_no_log);
    qtest_add_func("/amd-iommu-pri/entry", test_entry);
    qtest_add_func("/amd-iommu-pri/demand-paging", test_demand_paging);
    qtest_add_func("/amd-iommu-pri/wrong-pasid", test_wrong_pasid);
    qtest_add_func("/amd-iommu-pri/bus-master", test_bus_master);
    qtest_add_func("/amd-iommu-pri/overflow", test_overflow);
    qtest_add_func("/amd-iommu-pri/gone", test_gone);
    qtest_add_func("/amd-iommu-pri/unasked", test_unasked);
    qtest_add_func("/amd-iommu-pri/invalid-ppr", test_invalid_ppr);
    qtest_add_func("/amd-iommu-pri/migration", test_migration);
    qtest_add_func("/amd-iommu-pri/no-migration", test_no_migration);

    return g_test_run();
}

/*
 * QTest of nested translation of intel-iommu, and of what its tables may hold
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The first stage tables are at guest addresses that have nothing to do with
 * where they are in memory, so nothing works without the second stage.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-vtd-qtest.h"

#define ENDPOINT \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=64"
#define MACHINE \
    Q35_VTD ",x-flts=on,x-slts=on,x-nest=on,x-fs5lp=on,x-ssads=on" ENDPOINT

#define PASID           9
#define DID             7

/* What the device uses: 512 pages, like IOVA and not below 4 GiB */
#define VA              0x123440000000ULL
#define VA_5LP          0x12345640000000ULL
/* What the first stage makes of it; the second stage knows 512 pages at IOVA */
#define GPA             (IOVA + 0x10000)
#define GPA_TABLES      (IOVA + 0x100000)
/* Memory */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_2M         0x400000ULL

#define FL_AD           (VTD_FL_A | VTD_FL_D)
#define SL_AD           (VTD_SL_A | VTD_SL_D)
#define NOWHERE         (1ULL << 46)

#define NESTED_Q0 \
    (SL_TABLES | VTD_SM_PASID_ENTRY_NESTED | AW_4_LEVELS | VTD_PASID_ENTRY_P)

/* Machine */

/* All that leads to the entries of the 512 pages at @va */
static void write_first_stage(Test *t, int levels, uint64_t va)
{
    int level, i = 0;

    for (level = levels; level > 1; level--, i++) {
        uint64_t index = extract64(va, 12 + 9 * (level - 1), 9);

        qtest_writeq(t->qts, FL_TABLES + i * PAGE + index * 8,
                     (GPA_TABLES + (i + 1) * PAGE) | PTE_FL);
    }
    for (i = 0; i < levels; i++) {
        write_leaf(t, SL_TABLES, GPA_TABLES + i * PAGE,
                   (FL_TABLES + i * PAGE) | PTE_RW);
    }
}

static void write_nested(Test *t, uint32_t pasid, uint64_t q0, uint64_t q2)
{
    write_pasid_entry(t, pasid, NESTED_Q0 | q0, DID, GPA_TABLES | q2);
}

static void write_tables(Test *t)
{
    clear_tables(t);
    write_context(&t->ep[0], CONTEXT_FLAGS);
    write_paging(t, SL_TABLES, PTE_RW);
    write_first_stage(t, 4, VA);
    write_nested(t, 0, 0, 0);
    write_nested(t, PASID, 0, 0);
}

static Test *test_start_with(const char *options)
{
    Test *t = test_new(options);
    Endpoint *ep = &t->ep[0];

    enable_mmcfg(t->qts);
    ep_init(ep, t, 4 << 3, 0);
    ep_map(ep);
    ep_enable(ep, 64);
    ep_start_ring(ep, 8, 16);
    write_tables(t);
    start_vtd(t, 0);
    return t;
}

static Test *test_start(void)
{
    return test_start_with(MACHINE);
}

/* First stage page and second stage page */
static void map_fs(Test *t, uint64_t va, uint64_t gpa, uint64_t flags)
{
    qtest_writeq(t->qts, leaf_addr(FL_TABLES, va), gpa | flags);
}

static void map_ss(Test *t, uint64_t gpa, uint64_t addr, uint64_t flags)
{
    write_leaf(t, SL_TABLES, gpa, addr | flags);
}

static void map_both(Test *t, uint64_t offset, uint64_t addr)
{
    map_fs(t, VA + offset, GPA + offset, PTE_FL);
    map_ss(t, GPA + offset, addr, PTE_RW);
}

static uint32_t read_untranslated(Endpoint *ep, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_READ,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 8,
        .ram = IOPF_TD_RAM_DATA,
    };

    return ep_run(ep, &d);
}

static void check_read_fault(Endpoint *ep, uint64_t iova, uint8_t fault)
{
    uint64_t hi;

    g_assert_cmpuint(read_untranslated(ep, iova), ==, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(take_fault(ep->t, &hi), ==, fault);
    /* It says that it was a read */
    g_assert_cmphex(extract64(hi, 60, 3), ==, 4);
}

static void check_no_fault(Test *t)
{
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
}

/* Test cases: properties */

static void check_caps(const char *options, bool nest, bool fs5lp, bool ssads)
{
    Test t = { .qts = qtest_init(options) };
    uint64_t cap = vtd_readq(&t, DMAR_CAP_REG);
    uint64_t ecap = vtd_readq(&t, DMAR_ECAP_REG);

    g_assert_cmpuint(extract64(ecap, 26, 1), ==, nest);
    g_assert_cmpuint(extract64(cap, 60, 1), ==, fs5lp);
    g_assert_cmpuint(extract64(ecap, 45, 1), ==, ssads);
    qtest_quit(t.qts);
}

static void test_properties(void)
{
    check_caps(Q35 "-device intel-iommu", false, false, false);
    check_caps(Q35_VTD, false, false, false);
    check_caps(Q35_VTD ",x-flts=on,x-slts=on", false, false, false);
    check_caps(Q35_VTD ",x-flts=on,x-slts=on,x-nest=on", true, false, false);
    check_caps(Q35_VTD ",x-flts=on,x-fs5lp=on", false, true, false);
    check_caps(Q35_VTD ",x-ssads=on", false, false, true);
    check_caps(MACHINE, true, true, true);
}

static void check_options_refused(const char *vtd, const char *message)
{
    const char *argv[] = {
        g_getenv("QTEST_QEMU_BINARY"), "-M", "q35", "-nodefaults", "-display",
        "none", "-S", "-device", vtd, NULL
    };
    g_autofree char *err = NULL;
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, NULL, &err,
                          &status, NULL));
    g_assert_cmpint(status, !=, 0);
    g_assert_nonnull(strstr(err, message));
}

#define SM "intel-iommu,x-scalable-mode=on"

static void test_bad_properties(void)
{
    check_options_refused(SM ",x-nest=on", "x-nest=on needs x-flts=on");
    check_options_refused(SM ",x-flts=on,x-nest=on",
                          "x-nest=on needs x-flts=on and x-slts=on");
    check_options_refused(SM ",x-slts=on,x-nest=on", "x-nest=on needs");
    check_options_refused(SM ",x-fs5lp=on", "x-fs5lp=on needs x-flts=on");
    check_options_refused("intel-iommu,x-ssads=on", "x-ssads=on needs");
    check_options_refused(SM ",x-flts=on,x-ssads=on", "x-ssads=on needs");
}

/* Test cases: nested translation */

static void test_walk(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    map_both(t, 0, PAGE_A);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, PASID, VA + 0x123, WANT_R, PAGE_A, PAGE, PERM_R);
    check_translation(ep, NOP, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_untranslated(ep, VA + 8, PAGE_A + 8);

    /* Guest addresses mean nothing to the device */
    check_translation(ep, PASID, GPA, WANT_RW, 0, 1ULL << 39, 0);
    /* A hole of the first stage, and one of the second */
    check_translation(ep, PASID, VA + PAGE, WANT_RW, 0, PAGE, 0);
    map_fs(t, VA + PAGE, GPA + PAGE, PTE_FL);
    check_translation(ep, PASID, VA + PAGE, WANT_RW, 0, PAGE, 0);
    check_no_fault(t);
    check_untranslated_fault(ep, VA + PAGE, VTD_FR_SS_PAGING_ENTRY_P);
    check_untranslated_fault(ep, VA + 2 * PAGE, VTD_FR_FS_PAGING_ENTRY_P);
    check_translation(ep, PASID, 1ULL << 47, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_NON_CANONICAL);
    test_end(t);
}

/* The smaller of the two pages, whichever stage it is of */
static void test_page_sizes(void)
{
    const uint64_t size_2m = 0x200000;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t va = VA + size_2m, gpa = IOVA + size_2m;

    /* First stage 2 MiB, second stage 4 KiB */
    write_leaf_2m(t, FL_TABLES, va, IOVA | PTE_FL | PTE_PS);
    map_ss(t, IOVA + 0x5000, PAGE_A, PTE_RW);
    check_translation(ep, PASID, va + 0x5678, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, PASID, va + 0x6000, WANT_RW, 0, PAGE, 0);

    /* The other way round */
    write_leaf_2m(t, SL_TABLES, gpa, PAGE_2M | PTE_RW | PTE_PS);
    map_fs(t, VA, gpa + 0x7000, PTE_FL);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_2M + 0x7000, PAGE, PERM_RW);

    /* Both of them large; the address is not that of the cached small page */
    va += size_2m;
    write_leaf_2m(t, FL_TABLES, va, gpa | PTE_FL | PTE_PS);
    check_translation(ep, PASID, va + 0x12345, WANT_RW, PAGE_2M, size_2m,
                      PERM_RW);
    check_translation(ep, PASID, va + 0x1000, WANT_RW, PAGE_2M, size_2m,
                      PERM_RW);

    /* A hole of 2 MiB in the second stage below a page of the first */
    va += size_2m;
    write_leaf_2m(t, FL_TABLES, va, (gpa + size_2m) | PTE_FL | PTE_PS);
    check_translation(ep, PASID, va, WANT_RW, 0, size_2m, 0);
    check_no_fault(t);
    test_end(t);
}

typedef struct Rights {
    uint64_t fs, ss;
    uint32_t perm;      /* of a translation request for both */
    uint8_t read, write; /* fault of an untranslated request */
} Rights;

static void test_rights(void)
{
    static const Rights rights[] = {
        { PTE_FL, PTE_RW, PERM_RW },
        { PTE_FL, PTE_R, PERM_R, 0, VTD_FR_SM_WRITE },
        { PTE_FL, PTE_W, PERM_W, VTD_FR_SM_READ, 0 },
        { PTE_FL & ~VTD_FL_RW, PTE_RW, PERM_R, 0, VTD_FR_SM_WRITE },
        { PTE_FL & ~VTD_FL_RW, PTE_W, 0, VTD_FR_SM_READ, VTD_FR_SM_WRITE },
        { PTE_FL & ~VTD_FL_US, PTE_RW, 0, VTD_FR_FS_PAGING_ENTRY_US,
          VTD_FR_FS_PAGING_ENTRY_US },
        { PTE_FL & ~VTD_FL_US, 0, 0, VTD_FR_FS_PAGING_ENTRY_US,
          VTD_FR_FS_PAGING_ENTRY_US },
        { PTE_FL, 0, 0, VTD_FR_SS_PAGING_ENTRY_P, VTD_FR_SS_PAGING_ENTRY_P },
        { 0, PTE_RW, 0, VTD_FR_FS_PAGING_ENTRY_P, VTD_FR_FS_PAGING_ENTRY_P },
    };
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    for (i = 0; i < ARRAY_SIZE(rights); i++) {
        const Rights *r = &rights[i];
        uint64_t va = VA + i * PAGE, gpa = GPA + i * PAGE;

        map_fs(t, va, gpa, r->fs);
        map_ss(t, gpa, PAGE_A, r->ss);
        check_translation(ep, PASID, va, WANT_RW, PAGE_A, PAGE, r->perm);
        check_translation(ep, NOP, va, WANT_R, PAGE_A, PAGE, r->perm & PERM_R);
        check_no_fault(t);
        if (r->read) {
            check_read_fault(ep, va, r->read);
        } else {
            g_assert_cmpuint(read_untranslated(ep, va), ==, IOPF_TD_ST_OK);
        }
        if (r->write) {
            check_untranslated_fault(ep, va, r->write);
        } else {
            check_untranslated(ep, va, PAGE_A);
        }
    }
    test_end(t);
}

/* Privilege and execute permission are matters of the first stage */
static void test_modes(void)
{
    const uint64_t enable = VTD_SM_PASID_ENTRY_SRE | VTD_SM_PASID_ENTRY_ERE |
                            VTD_SM_PASID_ENTRY_WPE;
    const uint16_t want_x = WANT_R | IOPF_TD_F_EXEC;
    const uint16_t want_px = want_x | IOPF_TD_F_PRIV;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_nested(t, PASID, 0, enable);
    map_fs(t, VA, GPA, PTE_FL & ~VTD_FL_US);
    map_ss(t, GPA, PAGE_A, PTE_R);
    check_translation(ep, PASID, VA, WANT_RW | IOPF_TD_F_PRIV, PAGE_A, PAGE,
                      PERM_R | PERM_P);
    check_translation(ep, PASID, VA, WANT_RW, 0, PAGE, 0);
    check_translation(ep, PASID, VA, want_px, PAGE_A, PAGE,
                      PERM_R | PERM_X | PERM_P);

    map_both(t, PAGE, PAGE_B);
    check_translation(ep, PASID, VA + PAGE, want_x, PAGE_B, PAGE,
                      PERM_R | PERM_X);
    check_translation(ep, PASID, VA + PAGE, want_px, PAGE_B, PAGE,
                      PERM_R | PERM_X | PERM_P);
    /* Nothing to execute where nothing can be read */
    map_fs(t, VA + 2 * PAGE, GPA + 2 * PAGE, PTE_FL);
    map_ss(t, GPA + 2 * PAGE, PAGE_B, PTE_W);
    check_translation(ep, PASID, VA + 2 * PAGE, want_x, 0, PAGE, 0);

    /* With SMEP the supervisor does not execute what is the user's */
    write_nested(t, PASID, 0, enable | VTD_SM_PASID_ENTRY_SMEP);
    inv_tables(t);
    check_translation(ep, PASID, VA + PAGE, want_px, PAGE_B, PAGE,
                      PERM_R | PERM_P);
    check_translation(ep, PASID, VA + PAGE, want_x, PAGE_B, PAGE,
                      PERM_R | PERM_X);
    check_translation(ep, PASID, VA, want_px, PAGE_A, PAGE,
                      PERM_R | PERM_X | PERM_P);
    check_no_fault(t);
    test_end(t);
}

/* A translation request gets nothing, and a fault record unless recoverable */
static void check_tables(Test *t, uint8_t fault, bool recoverable)
{
    Endpoint *ep = &t->ep[0];

    inv_tables(t);
    g_assert_cmphex(translate(ep, PASID, VA, WANT_RW).perm, ==, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, recoverable ? 0 : fault);
    check_untranslated_fault(ep, VA, fault);
}

/* First stage tables that the second stage does not let the walk get at */
static void test_tables(void)
{
    static const struct {
        uint64_t flags;
        uint8_t top, below;
        bool recoverable;
    } faults[] = {
        { 0, VTD_FR_SS_PAGING_ENTRY_P, VTD_FR_SS_PAGING_ENTRY_P, true },
        { PTE_W, VTD_FR_FS_TOP_READ, VTD_FR_FS_TABLE_READ, true },
        { PTE_R, VTD_FR_FS_TABLE_WRITE, VTD_FR_FS_TABLE_WRITE, true },
        { PTE_RW | 1ULL << 51, VTD_FR_SS_PAGING_ENTRY_RSVD,
          VTD_FR_SS_PAGING_ENTRY_RSVD, false },
        { PTE_RW | NOWHERE, VTD_FR_PASID_ENTRY_FSPTPTR_INV,
          VTD_FR_FS_PAGING_ENTRY_INV, false },
    };
    Test *t = test_start();
    int i, level;

    map_both(t, 0, PAGE_A);
    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        for (level = 0; level < 4; level++) {
            /* No accessed bits, which have to be set on the way */
            write_first_stage(t, 4, VA);
            map_both(t, 0, PAGE_A);
            map_ss(t, GPA_TABLES + level * PAGE, FL_TABLES + level * PAGE,
                   faults[i].flags);
            check_tables(t, level ? faults[i].below : faults[i].top,
                         faults[i].recoverable);
        }
    }

    /* Nothing has to be written if the bits are set */
    write_first_stage(t, 4, VA);
    map_fs(t, VA, GPA, PTE_FL | FL_AD);
    inv_iotlb(t);
    check_translation(&t->ep[0], PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    inv_iotlb(t);
    for (i = 0; i < 4; i++) {
        map_ss(t, GPA_TABLES + i * PAGE, FL_TABLES + i * PAGE, PTE_R);
    }
    check_translation(&t->ep[0], PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_no_fault(t);
    test_end(t);
}

/* Tables of the second stage that are not there or not in order */
static void test_second_stage_tables(void)
{
    const uint64_t index = extract64(IOVA, 30, 9) * 8;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    map_both(t, 0, PAGE_A);
    write_pasid_entry(t, 0, (NESTED_Q0 & ~SL_TABLES) | NOWHERE, DID,
                      GPA_TABLES);
    write_pasid_entry(t, PASID, (NESTED_Q0 & ~SL_TABLES) | NOWHERE, DID,
                      GPA_TABLES);
    check_tables(t, VTD_FR_PASID_ENTRY_SSPTPTR_INV, false);
    write_nested(t, 0, 0, 0);
    write_nested(t, PASID, 0, 0);
    qtest_writeq(t->qts, SL_TABLES + PAGE + index, NOWHERE | PTE_RW);
    check_tables(t, VTD_FR_SS_PAGING_ENTRY_INV, false);
    qtest_writeq(t->qts, SL_TABLES + PAGE + index,
                 (SL_TABLES + 2 * PAGE) | PTE_RW | 1ULL << 50);
    check_tables(t, VTD_FR_SS_PAGING_ENTRY_RSVD, false);
    qtest_writeq(t->qts, SL_TABLES + PAGE + index,
                 (SL_TABLES + 2 * PAGE) | PTE_RW);

    /* Three levels: 39 bits.  First the page, then the tables are beyond */
    write_pasid_entry(t, 0, (NESTED_Q0 & ~(SL_TABLES | AW_4_LEVELS)) |
                      (SL_TABLES + PAGE) | 1 << 2, DID, GPA_TABLES);
    write_pasid_entry(t, PASID, (NESTED_Q0 & ~(SL_TABLES | AW_4_LEVELS)) |
                      (SL_TABLES + PAGE) | 1 << 2, DID, GPA_TABLES);
    inv_tables(t);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    map_fs(t, VA, 1ULL << 39 | GPA, PTE_FL);
    check_tables(t, VTD_FR_NESTED_BEYOND_AGAW, false);
    qtest_writeq(t->qts, FL_TABLES + 2 * PAGE + extract64(VA, 21, 9) * 8,
                 (1ULL << 39 | (GPA_TABLES + 3 * PAGE)) | PTE_FL);
    check_tables(t, VTD_FR_FS_TABLE_BEYOND_AGAW, false);
    test_end(t);
}

static uint64_t fs_entry(Test *t, int level)
{
    return qtest_readq(t->qts, FL_TABLES + (4 - level) * PAGE +
                       extract64(VA, 12 + 9 * (level - 1), 9) * 8);
}

/* Bits of the first stage, which go through the second stage as well */
static void test_first_stage_bits(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int level;

    map_both(t, 0, PAGE_A);
    check_translation(ep, PASID, VA, WANT_R, PAGE_A, PAGE, PERM_R);
    for (level = 4; level >= 1; level--) {
        g_assert_cmphex(fs_entry(t, level) & FL_AD, ==, VTD_FL_A);
    }
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(fs_entry(t, 1) & FL_AD, ==, FL_AD);
    g_assert_cmphex(fs_entry(t, 2) & FL_AD, ==, VTD_FL_A);

    /* Not dirty if the second stage does not let it be written */
    map_fs(t, VA, GPA, PTE_FL);
    map_ss(t, GPA, PAGE_A, PTE_R);
    inv_iotlb(t);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_R);
    g_assert_cmphex(fs_entry(t, 1) & FL_AD, ==, VTD_FL_A);
    /* Not even accessed if there is no page */
    map_fs(t, VA, GPA, PTE_FL);
    map_ss(t, GPA, 0, 0);
    inv_iotlb(t);
    check_translation(ep, PASID, VA, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(fs_entry(t, 1) & FL_AD, ==, 0);
    /* Without SSADE the second stage keeps no such bits */
    g_assert_cmphex(read_leaf(t, SL_TABLES, GPA_TABLES) & SL_AD, ==, 0);
    check_no_fault(t);
    test_end(t);
}

/* Bits of the second stage: for pages, and for the tables of the first */
static void test_nested_second_stage_bits(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    write_nested(t, PASID, VTD_SM_PASID_ENTRY_SSADE, 0);
    map_both(t, 0, PAGE_A);
    check_translation(ep, PASID, VA, WANT_R, PAGE_A, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, SL_TABLES, GPA) & SL_AD, ==, VTD_SL_A);
    /* The walk has written accessed bits to all of these */
    for (i = 0; i < 4; i++) {
        g_assert_cmphex(read_leaf(t, SL_TABLES, GPA_TABLES + i * PAGE) & SL_AD,
                        ==, SL_AD);
        map_ss(t, GPA_TABLES + i * PAGE, FL_TABLES + i * PAGE, PTE_RW);
    }
    /* Another read only reads */
    inv_iotlb(t);
    check_translation(ep, PASID, VA, WANT_R, PAGE_A, PAGE, PERM_R);
    for (i = 0; i < 4; i++) {
        g_assert_cmphex(read_leaf(t, SL_TABLES, GPA_TABLES + i * PAGE) & SL_AD,
                        ==, VTD_SL_A);
    }
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, SL_TABLES, GPA) & SL_AD, ==, SL_AD);
    g_assert_cmphex(read_leaf(t, SL_TABLES, GPA_TABLES + 3 * PAGE) & SL_AD, ==,
                    SL_AD);

    /* The first stage refuses the write: clean */
    map_fs(t, VA + PAGE, GPA + PAGE, PTE_FL & ~VTD_FL_RW);
    map_ss(t, GPA + PAGE, PAGE_B, PTE_RW);
    check_translation(ep, PASID, VA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, SL_TABLES, GPA + PAGE) & SL_AD, ==, VTD_SL_A);
    check_no_fault(t);
    test_end(t);
}

/* One stage alone, as dirty tracking of a second stage domain has it */
static void test_second_stage_bits(void)
{
    const uint64_t q0 = SL_TABLES | VTD_SM_PASID_ENTRY_SLT | AW_4_LEVELS |
                        VTD_PASID_ENTRY_P;
    const uint64_t upper = SL_TABLES + 2 * PAGE + extract64(IOVA, 21, 9) * 8;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_pasid_entry(t, 0, q0, DID, 0);
    map_ss(t, IOVA, PAGE_A, PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA) & SL_AD, ==, 0);

    write_pasid_entry(t, 0, q0 | VTD_SM_PASID_ENTRY_SSADE, DID, 0);
    inv_tables(t);
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA) & SL_AD, ==, VTD_SL_A);
    g_assert_cmphex(qtest_readq(t->qts, upper) & SL_AD, ==, VTD_SL_A);
    /* A read that was cached does not hide the first write */
    check_untranslated(ep, IOVA, PAGE_A);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA) & SL_AD, ==, SL_AD);

    /* Software takes the bit away, and gets it back after invalidation */
    map_ss(t, IOVA, PAGE_A, PTE_RW | VTD_SL_A);
    inv_iotlb_domain(t, DID);
    g_assert_cmpuint(read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA) & SL_AD, ==, VTD_SL_A);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA) & SL_AD, ==, SL_AD);

    map_ss(t, IOVA + PAGE, PAGE_B, PTE_R);
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    g_assert_cmphex(read_leaf(t, SL_TABLES, IOVA + PAGE) & SL_AD, ==, VTD_SL_A);
    check_no_fault(t);
    test_end(t);
}

/* Test cases: IOTLB */

static uint64_t piotlb(uint64_t granularity, uint16_t did, uint32_t pasid)
{
    return VTD_INV_DESC_PIOTLB | granularity | (uint64_t)did << 16 |
           (uint64_t)pasid << 32;
}

/*
 * Two pages are in the IOTLB while the tables have others.
 * Returns: bit n set if page n was walked anew after that descriptor
 */
static unsigned int dropped(Test *t, uint64_t q0, uint64_t q1)
{
    Endpoint *ep = &t->ep[0];
    unsigned int ret = 0;
    int i;

    for (i = 0; i < 2; i++) {
        map_both(t, i * PAGE, PAGE_A);
    }
    inv_iotlb(t);
    for (i = 0; i < 2; i++) {
        check_translation(ep, PASID, VA + i * PAGE, WANT_RW, PAGE_A, PAGE,
                          PERM_RW);
        map_ss(t, GPA + i * PAGE, PAGE_B, PTE_RW);
    }
    iq_submit(t, q0, q1);
    for (i = 0; i < 2; i++) {
        Translation tr = translate(ep, PASID, VA + i * PAGE, WANT_RW);

        g_assert(tr.addr == PAGE_A || tr.addr == PAGE_B);
        ret |= (tr.addr == PAGE_B) << i;
    }
    return ret;
}

static void test_invalidation(void)
{
    const uint64_t pages = VTD_INV_DESC_PIOTLB_PSI_IN_PASID;
    const uint64_t all = VTD_INV_DESC_PIOTLB_ALL_IN_PASID;
    const uint64_t iotlb = VTD_INV_DESC_IOTLB;
    Test *t = test_start();

    /* It is cached, or there would be nothing to test */
    g_assert_cmphex(dropped(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN, 0),
                    ==, 0);
    /* By PASID, with addresses of the first stage */
    g_assert_cmphex(dropped(t, piotlb(pages, DID, PASID), VA), ==, 1);
    g_assert_cmphex(dropped(t, piotlb(pages, DID, PASID), VA + PAGE), ==, 2);
    g_assert_cmphex(dropped(t, piotlb(pages, DID, PASID), VA | 1), ==, 3);
    g_assert_cmphex(dropped(t, piotlb(pages, DID, PASID), 52), ==, 3);
    g_assert_cmphex(dropped(t, piotlb(all, DID, PASID), 0), ==, 3);
    /* Another domain, another PASID, another page */
    g_assert_cmphex(dropped(t, piotlb(all, DID + 1, PASID), 0), ==, 0);
    g_assert_cmphex(dropped(t, piotlb(all, DID, PASID + 1), 0), ==, 0);
    g_assert_cmphex(dropped(t, piotlb(pages, DID, PASID), VA + 2 * PAGE), ==,
                    0);

    /* By domain, of the second stage whose pages may be of anything */
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_GLOBAL, 0), ==, 3);
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_DOMAIN | DID << 16,
                            0), ==, 3);
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_DOMAIN |
                            (DID + 1) << 16, 0), ==, 0);
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_PAGE | DID << 16,
                            GPA) & 1, ==, 1);
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_PAGE | DID << 16,
                            GPA_TABLES), ==, 3);
    g_assert_cmphex(dropped(t, iotlb | VTD_INV_DESC_IOTLB_PAGE |
                            (DID + 1) << 16, GPA), ==, 0);
    check_no_fault(t);
    test_end(t);
}

/* The translation type is cached with the PASID table entry */
static void test_change_of_type(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    map_both(t, 0, PAGE_A);
    map_ss(t, IOVA, PAGE_B, PTE_RW);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_pasid_sl(t, PASID, DID, SL_TABLES);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    iq_submit(t, VTD_INV_DESC_PC | PC_PASID | DID << 16 |
              (uint64_t)PASID << 32, 0);
    inv_iotlb_domain(t, DID);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_translation(ep, PASID, VA, WANT_RW, 0, 1ULL << 39, 0);
    check_no_fault(t);
    test_end(t);
}

static void test_interrupt_range(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    /* A result of the second stage, no matter how it got there */
    map_both(t, 0, 0xfee00000);
    check_translation(ep, PASID, VA, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);
    check_untranslated_fault(ep, VA, VTD_FR_SM_INTERRUPT_ADDR);

    /* As an address of the guest it is like any other */
    qtest_writeq(t->qts, SL_TABLES + PAGE + 3 * 8, PTE_RW | PTE_PS);
    map_fs(t, VA, 0xfee00000, PTE_FL);
    check_translation(ep, PASID, VA, WANT_RW, 0x3ee00000, PAGE, PERM_RW);
    check_no_fault(t);

    /* For requests without PASID it is no memory */
    check_translation(ep, NOP, 0xfee00000, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    /* Nor is it with pass-through */
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P,
                      DID, 0);
    inv_tables(t);
    check_translation(ep, PASID, PAGE_A, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_no_fault(t);
    check_translation(ep, PASID, 0xfee00000, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);
    test_end(t);
}

/* Both stages need a page, then the transfer goes on */
static void check_demand_paging(Test *t, uint32_t pasid, uint64_t va,
                                uint64_t gpa)
{
    Endpoint *ep = &t->ep[0];
    Desc d = with_pasid((Desc) {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_AUTO,
        .iova = va,
        .length = PAGE,
        .data = 0x1234,
    }, pasid);
    uint64_t desc = ep_start(ep, &d);
    Request r = take_request(t);

    g_assert_cmphex(r.addr, ==, va);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert(r.write && r.last);
    map_fs(t, va, gpa, PTE_FL);
    page_response(ep, pasid, 0, r.prgi);

    r = take_request(t);
    g_assert_cmphex(r.addr, ==, va);
    map_ss(t, gpa, PAGE_A, PTE_RW);
    page_response(ep, pasid, 0, r.prgi);
    g_assert_cmpuint(ep_finish(ep, desc), ==, IOPF_TD_ST_OK);
    check_pattern(t->qts, PAGE_A, 0x1234, PAGE);
    check_no_fault(t);
}

static void test_demand_paging(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, VA, 1, WANT_RW, 1);

    check_demand_paging(t, PASID, VA, GPA);
    check_demand_paging(t, NOP, VA + PAGE, GPA + PAGE);

    /* A page request drops what was cached of the page */
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    map_ss(t, GPA, PAGE_B, PTE_RW);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    test_end(t);
}

/* Test cases: five levels */

static uint64_t leaf_5lp(uint64_t va)
{
    return FL_TABLES + 4 * PAGE + extract64(va, 12, 9) * 8;
}

static void test_five_levels_nested(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    qtest_memset(t->qts, FL_TABLES, 0, 5 * PAGE);
    write_first_stage(t, 5, VA_5LP);
    write_nested(t, PASID, 0, VTD_SM_PASID_ENTRY_FS5LP);
    qtest_writeq(t->qts, leaf_5lp(VA_5LP), GPA | PTE_FL);
    map_ss(t, GPA, PAGE_A, PTE_RW);
    check_translation(ep, PASID, VA_5LP, WANT_RW, PAGE_A, PAGE, PERM_RW);
    fill_atc(ep, PASID, VA_5LP);
    g_assert(in_atc(ep, PASID, VA_5LP));
    /* 57 bits; not canonical for four levels, but for five */
    check_translation(ep, PASID, 1ULL << 47, WANT_RW, 0, 1ULL << 48, 0);
    check_no_fault(t);
    check_translation(ep, PASID, 1ULL << 56, WANT_RW, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_NON_CANONICAL);
    test_end(t);
}

static void test_five_levels(void)
{
    const uint64_t top = FL_TABLES + extract64(VA_5LP, 48, 9) * 8;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int level, i = 0;

    qtest_memset(t->qts, FL_TABLES, 0, 5 * PAGE);
    for (level = 5; level > 1; level--, i++) {
        qtest_writeq(t->qts, FL_TABLES + i * PAGE +
                     extract64(VA_5LP, 12 + 9 * (level - 1), 9) * 8,
                     (FL_TABLES + (i + 1) * PAGE) | PTE_FL);
    }
    qtest_writeq(t->qts, leaf_5lp(VA_5LP), PAGE_A | PTE_FL);
    write_pasid_fl(t, PASID, DID, FL_TABLES, VTD_SM_PASID_ENTRY_FS5LP);
    write_pasid_fl(t, 0, DID, FL_TABLES, VTD_SM_PASID_ENTRY_FS5LP);
    check_translation(ep, PASID, VA_5LP, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_untranslated(ep, VA_5LP, PAGE_A);
    g_assert_cmphex(qtest_readq(t->qts, top) & FL_AD, ==, VTD_FL_A);

    /* No pages of 256 TiB or 512 GiB */
    inv_iotlb(t);
    qtest_writeq(t->qts, top, (FL_TABLES + PAGE) | PTE_FL | PTE_PS);
    check_translation(ep, PASID, VA_5LP, WANT_RW, 0, 1ULL << 48, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_PAGING_ENTRY_RSVD);
    qtest_writeq(t->qts, top, 0);
    check_translation(ep, PASID, VA_5LP, WANT_RW, 0, 1ULL << 48, 0);
    check_no_fault(t);
    qtest_writeq(t->qts, top, NOWHERE | PTE_FL);
    check_translation(ep, PASID, VA_5LP, WANT_RW, 0, 1ULL << 39, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_PAGING_ENTRY_INV);
    test_end(t);
}

/* Test cases: PASID table entries */

typedef struct Entry {
    uint64_t q0, q1, q2;
    uint8_t fault;
} Entry;

#define Q0_FL   (VTD_SM_PASID_ENTRY_FLT | VTD_PASID_ENTRY_P)
#define Q0_SL   (SL_TABLES | VTD_SM_PASID_ENTRY_SLT | AW_4_LEVELS | \
                 VTD_PASID_ENTRY_P)
#define Q0_PT   (VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P)
#define RSVD    VTD_FR_PASID_ENTRY_RSVD
#define INVALID VTD_FR_PASID_TABLE_ENTRY_INV

static void check_entries(Test *t, const Entry *entries, int n)
{
    Endpoint *ep = &t->ep[0];
    int i;

    for (i = 0; i < n; i++) {
        const Entry *e = &entries[i];

        g_test_message("entry %d", i);
        write_pasid_entry(t, PASID, e->q0, e->q1 | DID, e->q2);
        inv_tables(t);
        if (e->fault) {
            check_refused(ep, PASID, e->fault);
        } else {
            g_assert_cmpint(translate(ep, PASID, IOVA, WANT_RW).ret, ==, 0);
            check_no_fault(t);
        }
    }
}

/* What is reserved and invalid whatever the IOMMU can do */
static void test_entries(void)
{
    static const Entry entries[] = {
        { Q0_FL, 0, FL_TABLES },
        { Q0_SL },
        { Q0_PT },
        { NESTED_Q0, 0, GPA_TABLES },
        { Q0_SL | 1 << 5, 0, 0, RSVD },
        { Q0_SL | 1 << 10, 0, 0, RSVD },
        { Q0_SL | 1 << 11, 0, 0, RSVD },
        { Q0_SL | 1ULL << 48, 0, 0, RSVD },
        { NESTED_Q0 | 1ULL << 63, 0, GPA_TABLES, RSVD },
        { Q0_SL, 1 << 16, 0, RSVD },
        { Q0_SL, 1 << 22, 0, RSVD },
        { Q0_SL, 1 << 25, 0, RSVD },
        { Q0_SL, 1ULL << 32, 0, RSVD },
        { Q0_SL, 1ULL << 63, 0, RSVD },
        { Q0_FL, 0, FL_TABLES | 1 << 7, RSVD },
        { Q0_FL, 0, FL_TABLES | 1 << 8, RSVD },
        { Q0_FL, 0, FL_TABLES | 1 << 11, RSVD },
        { Q0_FL, 0, FL_TABLES | 1ULL << 48, RSVD },
        /* Pointers that the type does not use */
        { Q0_FL | 1ULL << 60, 0, FL_TABLES },
        { Q0_SL, 0, 1ULL << 60 },
        /* There are types 1 to 4 */
        { VTD_PASID_ENTRY_P, 0, FL_TABLES, INVALID },
        { 5 << 6 | VTD_PASID_ENTRY_P, 0, FL_TABLES, INVALID },
        { 6 << 6 | VTD_PASID_ENTRY_P, 0, FL_TABLES, INVALID },
        { 7 << 6 | VTD_PASID_ENTRY_P, 0, FL_TABLES, INVALID },
        /* Second stages have three or four levels */
        { (Q0_SL & ~AW_4_LEVELS) | 1 << 2 },
        { (Q0_SL & ~AW_4_LEVELS), 0, 0, INVALID },
        { (Q0_SL & ~AW_4_LEVELS) | 3 << 2, 0, 0, INVALID },
        { (NESTED_Q0 & ~AW_4_LEVELS) | 3 << 2, 0, GPA_TABLES, INVALID },
        { Q0_FL | 3 << 2, 0, FL_TABLES },
        /* First stages have four or five */
        { Q0_FL, 0, FL_TABLES | 1 << 2 },
        { Q0_FL, 0, FL_TABLES | 2 << 2, INVALID },
        { Q0_FL, 0, FL_TABLES | 3 << 2, INVALID },
        { NESTED_Q0, 0, GPA_TABLES | 2 << 2, INVALID },
        { Q0_SL, 0, 3 << 2 },
        /* Features that are there */
        { Q0_SL | VTD_SM_PASID_ENTRY_SSADE },
        { Q0_SL, VTD_SM_PASID_ENTRY_PWSNP },
        { Q0_FL, 0, FL_TABLES | 0x73 },
        /* The rest is not even read if it is not present */
        { 7 << 6, ~0ULL, ~0ULL, VTD_FR_PASID_ENTRY_P },
    };
    uint64_t entry = PASID_TABLES + PASID * VTD_PASID_ENTRY_SIZE;
    Test *t = test_start();
    int i;

    check_entries(t, entries, ARRAY_SIZE(entries));
    for (i = 3; i < 8; i++) {
        const Entry e = { Q0_SL, 0, 0, RSVD };

        qtest_writeq(t->qts, entry + i * 8, 1ULL << (i * 8));
        check_entries(t, &e, 1);
        qtest_writeq(t->qts, entry + i * 8, 0);
    }
    test_end(t);
}

/* Without a feature, its bits are reserved and its types are invalid */
static void test_entries_without_features(void)
{
    static const Entry first_stage[] = {
        { Q0_FL, 0, FL_TABLES },
        { Q0_PT },
        { Q0_SL, 0, 0, INVALID },
        { NESTED_Q0, 0, GPA_TABLES, INVALID },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_FS5LP, INVALID },
        { Q0_FL | VTD_SM_PASID_ENTRY_SSADE, 0, FL_TABLES, RSVD },
        { Q0_FL, VTD_SM_PASID_ENTRY_PWSNP, FL_TABLES, RSVD },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_ERE, RSVD },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_WPE, RSVD },
        /* Released kernels set these without a look at the capabilities */
        { Q0_FL, VTD_SM_PASID_ENTRY_PGSNP, FL_TABLES },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_SRE },
        { Q0_PT, 0, VTD_SM_PASID_ENTRY_SRE },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_NXE },
        { Q0_FL, 0, FL_TABLES | VTD_SM_PASID_ENTRY_SMEP },
    };
    static const Entry second_stage[] = {
        { Q0_SL },
        { Q0_FL, 0, FL_TABLES, INVALID },
        { NESTED_Q0, 0, GPA_TABLES, INVALID },
        { Q0_SL, VTD_SM_PASID_ENTRY_PGSNP },
        { Q0_SL | VTD_SM_PASID_ENTRY_SSADE, 0, 0, RSVD },
        /* There are supervisor requests */
        { Q0_SL, 0, VTD_SM_PASID_ENTRY_SRE },
        { Q0_PT, 0, 0, INVALID },
    };
    static const Entry both_stages[] = {
        { Q0_FL, 0, FL_TABLES },
        { Q0_SL },
        { NESTED_Q0, 0, GPA_TABLES, INVALID },
    };
    /* Without page requests, so the context entry must not ask for them */
    const uint64_t context = CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE;
    Test *t;

    t = test_start_with(Q35 "-device intel-iommu,x-scalable-mode=on,"
                        "x-pasid-mode=on,device-iotlb=on,x-flts=on" ENDPOINT);
    write_context(&t->ep[0], context);
    check_entries(t, first_stage, ARRAY_SIZE(first_stage));
    test_end(t);

    t = test_start_with(Q35 "-device intel-iommu,x-scalable-mode=on,pt=off,"
                        "x-pasid-mode=on,device-iotlb=on,svm=on" ENDPOINT);
    check_entries(t, second_stage, ARRAY_SIZE(second_stage));
    test_end(t);

    t = test_start_with(Q35_VTD ",x-flts=on,x-slts=on" ENDPOINT);
    check_entries(t, both_stages, ARRAY_SIZE(both_stages));
    test_end(t);
}

/* The same for the bits of the context entry */
static void test_context_entries(void)
{
    const uint64_t bits[] = {
        VTD_SM_CONTEXT_ENTRY_DTE, VTD_SM_CONTEXT_ENTRY_PASIDE,
        VTD_SM_CONTEXT_ENTRY_PRE
    };
    Test *t = test_start_with(Q35 "-device intel-iommu,x-scalable-mode=on"
                              ENDPOINT);
    Endpoint *ep = &t->ep[0];
    uint64_t addr = CONTEXT + ep->bdf * VTD_CTX_ENTRY_SCALABLE_SIZE;
    int i;

    write_pasid_sl(t, 0, DID, SL_TABLES);
    map_ss(t, IOVA, PAGE_A, PTE_RW);
    for (i = 0; i < ARRAY_SIZE(bits); i++) {
        write_context(ep, VTD_CONTEXT_ENTRY_P | bits[i]);
        inv_tables(t);
        check_untranslated_fault(ep, IOVA, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    }
    write_context(ep, VTD_CONTEXT_ENTRY_P);
    inv_tables(t);
    check_untranslated(ep, IOVA, PAGE_A);

    qtest_writeq(t->qts, addr + 8, 1 << 21);
    inv_tables(t);
    check_untranslated_fault(ep, IOVA, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    for (i = 2; i < 4; i++) {
        write_context(ep, VTD_CONTEXT_ENTRY_P);
        qtest_writeq(t->qts, addr + i * 8, 1);
        inv_tables(t);
        check_untranslated_fault(ep, IOVA, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    }
    test_end(t);

    /* Privileged by RID_PRIV, where there are no privileged requests */
    t = test_start_with(Q35 "-device intel-iommu,x-scalable-mode=on,x-flts=on"
                        ENDPOINT);
    ep = &t->ep[0];
    write_pasid_fl(t, 0, DID, FL_TABLES, 0);
    write_context(ep, VTD_CONTEXT_ENTRY_P);
    qtest_writeq(t->qts, addr + 8, VTD_SM_CONTEXT_ENTRY_RID_PRIV);
    check_untranslated_fault(ep, VA, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    test_end(t);
}

/* Which is no reason to refuse translation requests of a device */
static void test_snoop_control(void)
{
    Test *t = test_start_with(Q35_VTD ",snoop-control=on" ENDPOINT);
    Endpoint *ep = &t->ep[0];

    write_pasid_entry(t, 0, Q0_SL, VTD_SM_PASID_ENTRY_PGSNP | DID, 0);
    map_ss(t, IOVA, PAGE_A, PTE_RW);
    check_untranslated(ep, IOVA, PAGE_A);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    fill_atc(ep, NOP, IOVA);
    g_assert(in_atc(ep, NOP, IOVA));
    inv_dev_tlb(ep, IOVA, false);
    g_assert(!in_atc(ep, NOP, IOVA));
    test_end(t);
}

static void test_no_large_pages(void)
{
    Test *t = test_start_with(Q35_VTD ",x-flts=on,fs1gp=off" ENDPOINT);
    Endpoint *ep = &t->ep[0];
    uint64_t entry = FL_TABLES + PAGE + extract64(IOVA, 30, 9) * 8;

    write_paging(t, FL_TABLES, PTE_FL);
    write_pasid_fl(t, PASID, DID, FL_TABLES, 0);
    write_leaf_2m(t, FL_TABLES, IOVA, PAGE_2M | PTE_FL | PTE_PS);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_2M, 0x200000, PERM_RW);
    inv_iotlb(t);
    qtest_writeq(t->qts, entry, PTE_FL | PTE_PS);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, 0x40000000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_PAGING_ENTRY_RSVD);
    test_end(t);
}

/* Test cases: faults */

/* Something to be wrong with a request for VA; @addr is where it is written */
typedef struct Fault {
    uint8_t reason;
    uint64_t addr, val;
    bool silent;        /* for a translation request, which gets nothing */
    bool refused;       /* a translation request gets Unsupported Request */
    bool unqualified;   /* reported although FPD is set */
} Fault;

#define ENTRY           (PASID_TABLES + PASID * VTD_PASID_ENTRY_SIZE)
#define CONTEXT_ENTRY   (CONTEXT + (4 << 3) * VTD_CTX_ENTRY_SCALABLE_SIZE)
#define FS_INDEX(level) ((VA >> (12 + 9 * ((level) - 1)) & 511) * 8)
#define SS_INDEX(level) ((GPA >> (12 + 9 * ((level) - 1)) & 511) * 8)
#define FPD             VTD_PASID_ENTRY_FPD

static const Fault faults[] = {
    { VTD_FR_SM_ROOT_ENTRY_P, ROOT, 0, .refused = true, .unqualified = true },
    { VTD_FR_SM_ROOT_ENTRY_RSVD, ROOT, CONTEXT | VTD_ROOT_ENTRY_P | 4,
      .refused = true, .unqualified = true },
    { VTD_FR_SM_CONTEXT_ENTRY_ACCESS_ERR, ROOT, NOWHERE | VTD_ROOT_ENTRY_P,
      .unqualified = true },
    { VTD_FR_SM_CONTEXT_ENTRY_P, CONTEXT_ENTRY, FPD, .refused = true },
    { VTD_FR_SM_CONTEXT_ENTRY_RSVD, CONTEXT_ENTRY,
      PASID_DIR | CONTEXT_FLAGS | FPD | 1 << 8, .refused = true },
    { VTD_FR_PASID_DIR_ACCESS_ERR, CONTEXT_ENTRY,
      NOWHERE | CONTEXT_FLAGS | FPD, .unqualified = true },
    { VTD_FR_PASID_DIR_ENTRY_P, PASID_DIR, FPD, .refused = true },
    { VTD_FR_PASID_DIR_ENTRY_RSVD, PASID_DIR,
      PASID_TABLES | VTD_PASID_DIR_P | FPD | 4, .refused = true },
    { VTD_FR_PASID_TABLE_ACCESS_ERR, PASID_DIR,
      NOWHERE | VTD_PASID_DIR_P | FPD, .unqualified = true },
    { VTD_FR_PASID_ENTRY_P, ENTRY, FPD, .refused = true },
    { VTD_FR_PASID_ENTRY_RSVD, ENTRY, NESTED_Q0 | FPD | 1 << 5,
      .refused = true },
    { VTD_FR_PASID_TABLE_ENTRY_INV, ENTRY, 7 << 6 | FPD | VTD_PASID_ENTRY_P,
      .refused = true },
    { VTD_FR_FS_PAGING_ENTRY_INV, FL_TABLES + FS_INDEX(4),
      (GPA_TABLES + 9 * PAGE) | PTE_FL },
    { VTD_FR_FS_PAGING_ENTRY_P, FL_TABLES + FS_INDEX(4), 0, .silent = true },
    { VTD_FR_FS_PAGING_ENTRY_RSVD, FL_TABLES + FS_INDEX(4),
      (GPA_TABLES + PAGE) | PTE_FL | 1ULL << 51 },
    { VTD_FR_PASID_ENTRY_FSPTPTR_INV, ENTRY + 16, GPA_TABLES + 9 * PAGE },
    { VTD_FR_FS_TABLE_BEYOND_AGAW, ENTRY + 16, 1ULL << 48 },
    { VTD_FR_FS_TOP_READ, ENTRY + 16, GPA_TABLES + 10 * PAGE, .silent = true },
    { VTD_FR_FS_TABLE_READ, FL_TABLES + FS_INDEX(4),
      (GPA_TABLES + 10 * PAGE) | PTE_FL, .silent = true },
    { VTD_FR_FS_TABLE_WRITE, ENTRY + 16, GPA_TABLES + 11 * PAGE,
      .silent = true },
    { VTD_FR_SS_PAGING_ENTRY_INV, SL_TABLES + SS_INDEX(4), NOWHERE | PTE_RW },
    { VTD_FR_SS_PAGING_ENTRY_P, SL_TABLES + SS_INDEX(4), 0, .silent = true },
    { VTD_FR_SS_PAGING_ENTRY_RSVD, SL_TABLES + SS_INDEX(4),
      (SL_TABLES + PAGE) | PTE_RW | PTE_PS },
    { VTD_FR_PASID_ENTRY_SSPTPTR_INV, ENTRY,
      (NESTED_Q0 & ~SL_TABLES) | NOWHERE },
    { VTD_FR_FS_PAGING_ENTRY_US, FL_TABLES + FS_INDEX(4),
      (GPA_TABLES + PAGE) | (PTE_FL & ~VTD_FL_US), .silent = true },
    { VTD_FR_SM_INTERRUPT_ADDR, SL_TABLES + 3 * PAGE + SS_INDEX(1),
      0xfee00000ULL | PTE_RW },
};

/* Tables with nothing wrong, and some odd second stage pages for tables */
static void write_good_tables(Test *t)
{
    write_tables(t);
    map_both(t, 0, PAGE_A);
    map_ss(t, GPA_TABLES + 9 * PAGE, NOWHERE, PTE_RW);
    map_ss(t, GPA_TABLES + 10 * PAGE, FL_TABLES, PTE_W);
    map_ss(t, GPA_TABLES + 11 * PAGE, FL_TABLES, PTE_R);
    inv_tables(t);
}

static void write_fault(Test *t, const Fault *f, bool fpd)
{
    /* Page tables have no such bit */
    bool has_fpd = f->addr < SL_TABLES;

    write_good_tables(t);
    qtest_writeq(t->qts, f->addr, f->val & ~(has_fpd && !fpd ? FPD : 0ULL));
    if (fpd && f->addr >= PASID_TABLES) {
        /* A fault of the PASID table entry, or of something behind it */
        qtest_writeq(t->qts, ENTRY, qtest_readq(t->qts, ENTRY) | FPD);
    }
}

static void check_fault(Test *t, const Fault *f, bool fpd)
{
    Endpoint *ep = &t->ep[0];
    bool logged = !f->silent && (!fpd || f->unqualified);
    Translation tr;
    uint64_t hi;

    write_good_tables(t);
    check_translation(ep, PASID, VA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_fault(t, f, fpd);
    tr = translate(ep, PASID, VA, WANT_RW);
    g_assert_cmphex(tr.perm, ==, 0);
    if (f->refused) {
        g_assert_cmpint(tr.ret, ==, -EACCES);
    } else if (f->unqualified) {
        g_assert_cmpint(tr.ret, ==, -EIO);
    } else {
        g_assert_cmpint(tr.ret, ==, 0);
    }
    g_assert_cmphex(take_fault(t, &hi), ==, logged ? f->reason : 0);
    if (logged) {
        /* Translation request with PASID, at that address */
        g_assert_cmphex(extract64(hi, 60, 2), ==, 1);
        g_assert_cmphex(extract64(hi, 31, 1), ==, 1);
        g_assert_cmphex(extract64(hi, 40, 20), ==, PASID);
        g_assert_cmphex(vtd_readq(t, DMAR_FRCD_REG_0_0), ==, VA);
    }
}

/* Every reason, for translation requests, with FPD clear and set */
static void test_faults(void)
{
    Test *t = test_start();
    int i;

    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        g_test_message("fault 0x%x", faults[i].reason);
        check_fault(t, &faults[i], false);
        check_fault(t, &faults[i], true);
    }
    test_end(t);
}

/* The same without PASID: nothing is silent for an untranslated request */
static void test_untranslated_faults(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    /* PASID is RID_PASID, too */
    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        const Fault *f = &faults[i];

        g_test_message("fault 0x%x", f->reason);
        write_fault(t, f, false);
        qtest_writeq(t->qts, CONTEXT_ENTRY + 8, PASID);
        inv_tables(t);
        check_untranslated_fault(ep, VA, f->reason);
    }
    test_end(t);
}

/* Reasons that take another request, or a register */
static void test_other_faults(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    write_good_tables(t);
    check_translation(ep, PASID, VA, WANT_R | IOPF_TD_F_PRIV, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_SRE);
    check_translation(ep, PASID, VA, WANT_R | IOPF_TD_F_EXEC, 0, PAGE, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_ERE);

    qtest_writeq(t->qts, CONTEXT_ENTRY + 8, 0xfffff);
    inv_tables(t);
    check_untranslated_fault(ep, VA, VTD_FR_SM_RID_PASID_INV);
    write_good_tables(t);

    /* A second stage alone */
    write_pasid_sl(t, 0, DID, SL_TABLES);
    inv_tables(t);
    map_ss(t, IOVA, PAGE_A, PTE_R);
    map_ss(t, IOVA + PAGE, PAGE_A, PTE_W);
    check_untranslated_fault(ep, IOVA, VTD_FR_SM_WRITE);
    check_read_fault(ep, IOVA + PAGE, VTD_FR_SM_READ);
    check_read_fault(ep, IOVA + 2 * PAGE, VTD_FR_SS_PAGING_ENTRY_P);
    check_read_fault(ep, 1ULL << 48, VTD_FR_SM_ADDR_BEYOND_MGAW);

    /* A register that looks like an entry is none: tables are in RAM */
    write_pasid_fl(t, 0, DID, Q35_HOST_BRIDGE_IOMMU_ADDR, 0);
    vtd_writeq(t, DMAR_PQA_REG, DATA | PTE_FL);
    inv_tables(t);
    check_untranslated_fault(ep, DMAR_PQA_REG / 8ULL << 39,
                             VTD_FR_PASID_ENTRY_FSPTPTR_INV);

    vtd_writeq(t, DMAR_RTADDR_REG, NOWHERE | VTD_RTADDR_SMT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    inv_tables(t);
    check_untranslated_fault(ep, VA, VTD_FR_SM_ROOT_ENTRY_ACCESS_ERR);

    /* A reserved mode, and one that aborts everything and is not offered */
    for (i = 2; i < 4; i++) {
        vtd_writeq(t, DMAR_RTADDR_REG, ROOT | i << 10);
        vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE |
                   VTD_GCMD_SRTP);
        inv_tables(t);
        check_untranslated_fault(ep, VA, VTD_FR_RTADDR_TTM);
        check_refused(ep, PASID, VTD_FR_RTADDR_TTM);
    }
    test_end(t);
}

/* PASIDs beyond what the IOMMU has, where the tables say something first */
static void test_unsupported_pasid(void)
{
    const uint64_t context = PASID_DIR | CONTEXT_FLAGS;
    const uint32_t pasid = 1 << VTD_PASID_BITS;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    check_refused(ep, pasid, VTD_FR_SM_PASID_LIMIT);
    write_context(ep, context & ~VTD_SM_CONTEXT_ENTRY_PASIDE);
    inv_tables(t);
    check_refused(ep, pasid, VTD_FR_SM_PASIDE_CLEAR);
    write_context(ep, context | FPD);
    inv_tables(t);
    g_assert_cmpint(translate(ep, pasid, VA, WANT_RW).ret, ==, -EACCES);
    check_no_fault(t);

    write_context(ep, context);
    vtd_writeq(t, DMAR_RTADDR_REG, ROOT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    qtest_writeq(t->qts, CONTEXT + ep->bdf * VTD_CTX_ENTRY_LEGACY_SIZE,
                 SL_TABLES | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(t->qts, CONTEXT + ep->bdf * VTD_CTX_ENTRY_LEGACY_SIZE + 8, 2);
    inv_tables(t);
    check_refused(ep, pasid, VTD_FR_TTM_PASID);

    /* No faults while remapping is off */
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    g_assert_cmpint(translate(ep, pasid, VA, WANT_RW).ret, ==, -EACCES);
    check_no_fault(t);
    test_end(t);
}

/* Test cases: descriptors */

/* There is no private data any more, so these bits and words are reserved */
static void test_descriptors(void)
{
    const uint64_t resp = VTD_INV_DESC_PGRP_RESP | 4 << 3 << 16;
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, VA, 1, WANT_RW, 5);
    unsigned int slot;
    int i;

    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PRQ) & 0xfe00, ==, 0);
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 16), ==, 0);
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 24), ==, 0);

    for (i = 5; i < 9; i++) {
        iq_submit_bad(t, resp | 1 << i, 5 << 3, 0);
    }
    for (i = 52; i < 64; i++) {
        iq_submit_bad(t, resp | 1ULL << i, 5 << 3, 0);
    }
    for (i = 0; i < 64; i++) {
        /* But for bit 2, which is ignored, and the group index */
        if (i < 2 || i > 11) {
            iq_submit_bad(t, resp, 5 << 3 | 1ULL << i, 0);
        }
    }
    iq_submit_bad(t, resp, 5 << 3, 1ULL << 40);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);

    /* The last quadword is not one that iq_submit_bad() has */
    slot = t->iq_tail;
    iq_put(t, resp, 5 << 3, 0, 1);
    g_assert_cmphex(vtd_readl(t, DMAR_FSTS_REG) & VTD_FSTS_IQE, ==,
                    VTD_FSTS_IQE);
    qtest_writeq(t->qts, IQ + slot * 32, resp | 1 << 4 |
                 (uint64_t)PASID << 32);
    qtest_writeq(t->qts, IQ + slot * 32 + 24, 0);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* Page stream response */
    iq_submit_bad(t, 0xa, 0, 0);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/intel-iommu/nest/properties", test_properties);
    qtest_add_func("/q35/intel-iommu/nest/bad-properties",
                   test_bad_properties);
    qtest_add_func("/q35/intel-iommu/nest/walk", test_walk);
    qtest_add_func("/q35/intel-iommu/nest/page-sizes", test_page_sizes);
    qtest_add_func("/q35/intel-iommu/nest/rights", test_rights);
    qtest_add_func("/q35/intel-iommu/nest/modes", test_modes);
    qtest_add_func("/q35/intel-iommu/nest/tables", test_tables);
    qtest_add_func("/q35/intel-iommu/nest/second-stage-tables",
                   test_second_stage_tables);
    qtest_add_func("/q35/intel-iommu/nest/first-stage-bits",
                   test_first_stage_bits);
    qtest_add_func("/q35/intel-iommu/nest/second-stage-bits",
                   test_nested_second_stage_bits);
    qtest_add_func("/q35/intel-iommu/nest/invalidation", test_invalidation);
    qtest_add_func("/q35/intel-iommu/nest/change-of-type",
                   test_change_of_type);
    qtest_add_func("/q35/intel-iommu/nest/interrupt-range",
                   test_interrupt_range);
    qtest_add_func("/q35/intel-iommu/nest/demand-paging", test_demand_paging);
    qtest_add_func("/q35/intel-iommu/nest/five-levels",
                   test_five_levels_nested);
    qtest_add_func("/q35/intel-iommu/tables/five-levels", test_five_levels);
    qtest_add_func("/q35/intel-iommu/tables/second-stage-bits",
                   test_second_stage_bits);
    qtest_add_func("/q35/intel-iommu/tables/pasid-entries", test_entries);
    qtest_add_func("/q35/intel-iommu/tables/no-features",
                   test_entries_without_features);
    qtest_add_func("/q35/intel-iommu/tables/context-entries",
                   test_context_entries);
    qtest_add_func("/q35/intel-iommu/tables/snoop-control",
                   test_snoop_control);
    qtest_add_func("/q35/intel-iommu/tables/no-large-pages",
                   test_no_large_pages);
    qtest_add_func("/q35/intel-iommu/faults/translation-request", test_faults);
    qtest_add_func("/q35/intel-iommu/faults/untranslated",
                   test_untranslated_faults);
    qtest_add_func("/q35/intel-iommu/faults/others", test_other_faults);
    qtest_add_func("/q35/intel-iommu/faults/unsupported-pasid",
                   test_unsupported_pasid);
    qtest_add_func("/q35/intel-iommu/faults/descriptors", test_descriptors);

    return g_test_run();
}

/*
 * QTest of access flags and dirty state that the SMMUv3 updates
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs: the test writes the tables and commands that an operating
 * system would write, and makes two iopf-testdev functions issue requests.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-smmu-qtest.h"

#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,stall=on " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,stall=on "
#define HTTU            "-global arm-smmuv3.httu=on "

/* What the tables map */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_2M         (VIRT_RAM + 0x400000)
#define IOVA_2M         (IOVA + 0x200000)

/* Faults of stage 2 are recorded */
#define S2_CFG          (STE_Q2 | STE_S2R)
#define S2_AFFD         (1ULL << 53)
#define S2_HD           (1ULL << 55)
#define S2_HA           (1ULL << 56)
#define PTE_S2_W        (1ULL << 7)

#define CD_AFFD         (1ULL << 35)
#define CD_HA_HD        (CD_HA | CD_HD)

/* Leaves: writable once marked dirty */
#define PTE_CLEAN       (PTE_RW | PTE_RO | PTE_DBM)
#define PTE_OLD_CLEAN   (PTE_CLEAN & ~PTE_AF)
#define PTE_DIRTY       (PTE_RW | PTE_DBM)
#define PTE_APTABLE_RO  (1ULL << 62)

static Test *test_start_with(const char *options)
{
    g_autofree char *more = g_strconcat(options, DEVICES, NULL);

    return test_start_smmu(more, CD_Q0 | CD_HA_HD);
}

static Test *test_start(void)
{
    return test_start_with(HTTU);
}

static void set_leaf(Test *t, uint32_t pasid, uint64_t flags)
{
    write_leaf(t, TABLES(pasid), IOVA, PAGE_A | flags);
    tlbi_all(t);
}

static void check_leaf(Test *t, uint32_t pasid, uint64_t flags)
{
    g_assert_cmphex(read_leaf(t, TABLES(pasid), IOVA), ==, PAGE_A | flags);
}

static void check_no_error(Test *t)
{
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
}

/*
 * Test cases
 */

static void test_registers(void)
{
    Test *t = test_start();

    /* The access flag and dirty state, but not the access flag of tables */
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR0), 6, 2), ==, 2);
    test_end(t);
}

/* Nothing of it is there unless asked for */
static void test_off(void)
{
    static const uint64_t cds[] = { CD_HA, CD_HD, CD_HA_HD };
    static const uint64_t stes[] = { S2_HA, S2_HD, S2_HA | S2_HD };
    Test *t = test_start_with("");
    Endpoint *ep = &t->ep[0];
    int i;

    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR0), 6, 2), ==, 0);
    for (i = 0; i < ARRAY_SIZE(cds); i++) {
        set_cd(ep, NOP, CD_Q0 | cds[i]);
        check_untranslated_fault(ep, IOVA, C_BAD_CD);
    }
    for (i = 0; i < ARRAY_SIZE(stes); i++) {
        write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG | stes[i], TABLES_S2);
        cfgi_ste(ep);
        check_untranslated_fault(ep, IOVA, C_BAD_STE);
    }
    /* DBM is any bit then */
    set_ste(ep, STE_Q0, STE_Q1);
    set_cd(ep, NOP, CD_Q0);
    set_leaf(t, NOP, PTE_CLEAN);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    set_leaf(t, NOP, PTE_OLD_CLEAN);
    check_untranslated_fault(ep, IOVA, F_ACCESS);
    check_leaf(t, NOP, PTE_OLD_CLEAN);
    test_end(t);
}

static void test_access_flag(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    set_leaf(t, NOP, PTE_RW & ~PTE_AF);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_leaf(t, NOP, PTE_RW);
    set_leaf(t, NOP, PTE_RW & ~PTE_AF);
    check_untranslated(ep, IOVA, PAGE_A);
    check_leaf(t, NOP, PTE_RW);

    /* By HA alone; DBM means nothing then */
    set_cd(ep, NOP, CD_Q0 | CD_HA);
    set_leaf(t, NOP, PTE_OLD_CLEAN);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_leaf(t, NOP, PTE_CLEAN);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_leaf(t, NOP, PTE_CLEAN);

    /* HD does nothing without HA */
    set_cd(ep, NOP, CD_Q0 | CD_HD);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    set_leaf(t, NOP, PTE_OLD_CLEAN);
    check_untranslated_fault(ep, IOVA, F_ACCESS);
    check_leaf(t, NOP, PTE_OLD_CLEAN);

    /* AFFD: no fault, and no update; HA has its way */
    set_cd(ep, NOP, CD_Q0 | CD_AFFD);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_leaf(t, NOP, PTE_OLD_CLEAN);
    set_cd(ep, NOP, CD_Q0 | CD_AFFD | CD_HA);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_leaf(t, NOP, PTE_CLEAN);
    check_no_error(t);
    test_end(t);
}

static void test_dirty(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    /* A read leaves it clean, and the write that hits the cache does not */
    set_leaf(t, NOP, PTE_OLD_CLEAN);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_leaf(t, NOP, PTE_CLEAN);
    check_untranslated(ep, IOVA, PAGE_A);
    check_leaf(t, NOP, PTE_DIRTY);

    /* Dirty is dirty: what is cached is used */
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_CLEAN);
    check_untranslated(ep, IOVA, PAGE_A);
    check_leaf(t, NOP, PTE_CLEAN);
    tlbi_all(t);
    check_untranslated(ep, IOVA, PAGE_A);
    check_leaf(t, NOP, PTE_DIRTY);

    /* Read only for good */
    set_leaf(t, NOP, PTE_RW | PTE_RO);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_leaf(t, NOP, PTE_RW | PTE_RO);

    /* ... and by the tables above */
    write_paging(t, TABLES_0, PTE_TABLE | PTE_APTABLE_RO);
    set_leaf(t, NOP, PTE_CLEAN);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_leaf(t, NOP, PTE_CLEAN);
    write_paging(t, TABLES_0, PTE_TABLE);

    /* A result that is too large is not worth an update */
    set_cd(ep, NOP, (CD_Q0 & ~CD_IPS_48) | CD_HA_HD | 1ULL << 32);
    write_leaf(t, TABLES_0, IOVA, 0x10000000000ULL | PTE_OLD_CLEAN);
    check_untranslated_fault(ep, IOVA, F_ADDR_SIZE);
    g_assert_cmphex(read_leaf(t, TABLES_0, IOVA), ==,
                    0x10000000000ULL | PTE_OLD_CLEAN);
    set_cd(ep, NOP, CD_Q0 | CD_HA_HD);

    /* A block */
    write_leaf_2m(t, TABLES_0, IOVA_2M, PAGE_2M | (PTE_OLD_CLEAN & ~2ULL));
    check_untranslated(ep, IOVA_2M + 0x5678, PAGE_2M + 0x5678);
    g_assert_cmphex(qtest_readq(t->qts, TABLES_0 + 2 * PAGE +
                                extract64(IOVA_2M, 21, 9) * 8), ==,
                    PAGE_2M | (PTE_DIRTY & ~2ULL));

    check_no_error(t);
    test_end(t);
}

/* Untranslated accesses with a PASID, which need stalls to be there */
static void test_pasid(void)
{
    Test *t = test_start_with(HTTU "-global arm-smmuv3.stall=on ");
    Endpoint *ep = &t->ep[0];
    Desc d = with_pasid((Desc) {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = IOVA,
        .length = 8,
    }, PASID);

    set_leaf(t, PASID, PTE_OLD_CLEAN & ~PTE_USER);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    check_event(ep, F_PERMISSION, PASID);
    g_assert_cmphex(read_leaf(t, TABLES_1, IOVA) & PTE_RO, ==, PTE_RO);
    d.flags |= IOPF_TD_F_PRIV;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_leaf(t, PASID, PTE_DIRTY & ~PTE_USER);
    d.flags &= ~IOPF_TD_F_PRIV;
    set_leaf(t, PASID, PTE_OLD_CLEAN);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_leaf(t, PASID, PTE_DIRTY);
    check_no_error(t);
    test_end(t);
}

/*
 * A translation request updates when it is answered: later accesses with the
 * translated address are not seen
 */
static void test_ats(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t priv = WANT_RW | IOPF_TD_F_PRIV;

    /* "No write" sets the access flag, and that only */
    set_leaf(t, PASID, PTE_OLD_CLEAN);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    check_leaf(t, PASID, PTE_CLEAN);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    check_leaf(t, PASID, PTE_CLEAN);
    /* Without, it is dirty as soon as it may be written to */
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_leaf(t, PASID, PTE_DIRTY);
    set_leaf(t, NOP, PTE_OLD_CLEAN);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_leaf(t, NOP, PTE_DIRTY);

    /* What is granted without write permission stays clean */
    set_leaf(t, PASID, PTE_RW | PTE_RO);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_leaf(t, PASID, PTE_RW | PTE_RO);
    write_paging(t, TABLES_1, PTE_TABLE | PTE_APTABLE_RO);
    set_leaf(t, PASID, PTE_CLEAN);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_leaf(t, PASID, PTE_CLEAN);
    write_paging(t, TABLES_1, PTE_TABLE);
    set_leaf(t, PASID, PTE_CLEAN & ~PTE_USER);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_leaf(t, PASID, PTE_CLEAN & ~PTE_USER);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, PAGE, PERM_RW | PERM_P);
    check_leaf(t, PASID, PTE_DIRTY & ~PTE_USER);

    /* Without HD it may not be written to; without HA it is not there */
    set_cd(ep, PASID, CD_Q0 | CD_HA);
    set_leaf(t, PASID, PTE_OLD_CLEAN);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_leaf(t, PASID, PTE_CLEAN);
    set_cd(ep, PASID, CD_Q0);
    set_leaf(t, PASID, PTE_OLD_CLEAN);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_leaf(t, PASID, PTE_OLD_CLEAN);
    check_no_error(t);
    test_end(t);
}

/* The write through the cache of the device is not seen any more */
static void test_atc(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    set_leaf(t, NOP, PTE_OLD_CLEAN);
    fill_atc(ep, NOP, IOVA);
    check_leaf(t, NOP, PTE_DIRTY);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_CLEAN);
    tlbi_all(t);
    write_translated(ep, PAGE_A);
    check_leaf(t, NOP, PTE_CLEAN);
    atc_inv(ep, NOP, false, IOVA, 0);
    write_translated(ep, PAGE_A);
    check_leaf(t, NOP, PTE_DIRTY);
    check_no_error(t);
    test_end(t);
}

/* Flash: two chips of 16 bits side by side */
#define FLASH           0x04000000ULL

static void write_flash(QTestState *qts, uint64_t addr, uint32_t val)
{
    qtest_writel(qts, addr, 0x00400040);
    qtest_writel(qts, addr, val);
    qtest_writel(qts, addr, 0x00ff00ff);
    g_assert_cmphex(qtest_readl(qts, addr), ==, val);
}

/* A table that can be read and not be written to */
static void test_no_memory(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t pte = PAGE_A | (PTE_RW & ~PTE_AF);
    Event e;

    write_flash(t->qts, FLASH, pte);
    write_flash(t->qts, FLASH + 4, pte >> 32);
    write_flash(t->qts, FLASH + 8, pte | PTE_AF);
    write_flash(t->qts, FLASH + 12, pte >> 32);
    qtest_writeq(t->qts, TABLES_0 + 2 * PAGE + extract64(IOVA, 21, 9) * 8,
                 FLASH | PTE_TABLE);
    tlbi_all(t);
    check_untranslated(ep, IOVA + PAGE, PAGE_A);
    e = check_untranslated_fault(ep, IOVA, F_WALK_EABT);
    g_assert_cmphex(extract64(e.q[1], 39, 3), ==, 2);
    g_assert_cmphex(e.q[3], ==, FLASH);
    test_end(t);
}

/*
 * Both stages
 */

#define IPA             (VIRT_RAM + 0x800000)
#define S2_LEAF_2M      (PTE_S2_R & ~2ULL)      /* without S2AP[1] */

static uint64_t s2_addr(uint64_t ipa)
{
    return TABLES_S2 + 2 * PAGE + extract64(ipa, 21, 9) * 8;
}

static void set_s2(Test *t, uint64_t ipa, uint64_t flags)
{
    uint64_t addr = ipa == IPA ? DATA & ~0x1fffffULL : VIRT_RAM;

    write_leaf_2m(t, TABLES_S2, ipa, addr | flags);
    tlbi_all(t);
}

static void check_s2(Test *t, uint64_t ipa, uint64_t flags)
{
    uint64_t addr = ipa == IPA ? DATA & ~0x1fffffULL : VIRT_RAM;

    g_assert_cmphex(qtest_readq(t->qts, s2_addr(ipa)), ==, addr | flags);
}

static Test *start_nested(uint64_t flags)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_paging(t, TABLES_S2, PTE_TABLE);
    qtest_writeq(t->qts, TABLES_S2 + 2 * PAGE,
                 (TABLES_S2 + 3 * PAGE) | PTE_TABLE);
    /* The tables of stage 1 lie where they are, the page does not */
    set_s2(t, VIRT_RAM, S2_LEAF_2M | PTE_S2_W);
    set_s2(t, IPA, S2_LEAF_2M | PTE_S2_W);
    write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG | flags, TABLES_S2);
    inv_tables(t);
    return t;
}

static void set_s1(Test *t, uint64_t flags)
{
    write_leaf(t, TABLES_1, IOVA, (IPA + 0x1000) | flags);
    write_leaf(t, TABLES_0, IOVA, (IPA + 0x1000) | flags);
    tlbi_all(t);
}

static void check_s1(Test *t, uint32_t pasid, uint64_t flags)
{
    g_assert_cmphex(read_leaf(t, TABLES(pasid), IOVA), ==,
                    (IPA + 0x1000) | flags);
}

static void test_stage2(void)
{
    Test *t = start_nested(S2_HA | S2_HD);
    Endpoint *ep = &t->ep[0];
    uint64_t old = (S2_LEAF_2M | PTE_DBM) & ~PTE_AF;

    /* A page: flag and state */
    set_s1(t, PTE_DIRTY);
    set_s2(t, IPA, old);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    check_s2(t, IPA, old | PTE_AF);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_s2(t, IPA, old | PTE_AF | PTE_S2_W);
    set_s2(t, IPA, old);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_s2(t, IPA, old | PTE_AF);
    check_untranslated(ep, IOVA, PAGE_A);
    check_s2(t, IPA, old | PTE_AF | PTE_S2_W);

    /* A write that stage 1 denies does not make stage 2 dirty */
    set_s1(t, PTE_RW | PTE_RO);
    set_s2(t, IPA, old);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_s2(t, IPA, old);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_s2(t, IPA, old | PTE_AF);

    /* ... and the other way round */
    set_s1(t, PTE_OLD_CLEAN);
    set_s2(t, IPA, S2_LEAF_2M);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_s1(t, PASID, PTE_CLEAN);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_s1(t, NOP, PTE_OLD_CLEAN);

    /* Both at once */
    set_s1(t, PTE_OLD_CLEAN);
    set_s2(t, IPA, old);
    check_untranslated(ep, IOVA, PAGE_A);
    check_s1(t, NOP, PTE_DIRTY);
    check_s2(t, IPA, old | PTE_AF | PTE_S2_W);
    check_no_error(t);
    test_end(t);
}

/* Reads of tables and of descriptors set the flag in stage 2, and no more */
static void test_tables(void)
{
    Test *t = start_nested(S2_HA | S2_HD);
    Endpoint *ep = &t->ep[0];
    uint64_t old = (S2_LEAF_2M | PTE_DBM) & ~PTE_AF;
    Event e;

    set_s1(t, PTE_DIRTY);
    set_s2(t, VIRT_RAM, old);
    inv_tables(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_s2(t, VIRT_RAM, old | PTE_AF);

    /* An update of stage 1 is a write to its table */
    set_s1(t, PTE_CLEAN);
    check_untranslated(ep, IOVA, PAGE_A);
    check_s1(t, NOP, PTE_DIRTY);
    check_s2(t, VIRT_RAM, old | PTE_AF | PTE_S2_W);
    set_s2(t, VIRT_RAM, old);
    set_s1(t, PTE_RW & ~PTE_AF);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    check_s1(t, PASID, PTE_RW);
    check_s2(t, VIRT_RAM, old | PTE_AF | PTE_S2_W);

    /* It is not allowed: S2, CLASS of a table, which was to be written */
    set_s2(t, VIRT_RAM, S2_LEAF_2M);
    set_s1(t, PTE_CLEAN);
    e = check_untranslated_fault(ep, IOVA, F_PERMISSION);
    g_assert_cmphex(extract64(e.q[1], 39, 3), ==, 3);
    g_assert_cmphex(extract64(e.q[1], 44, 1), ==, 0);
    g_assert_cmphex(extract64(e.q[3], 12, 40), ==,
                    leaf_addr(TABLES_0, IOVA) >> 12);
    check_s1(t, NOP, PTE_CLEAN);
    check_s2(t, VIRT_RAM, S2_LEAF_2M);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_s1(t, PASID, PTE_CLEAN);
    /* Nothing is to be set: nothing is wrong */
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);

    /* A table that cannot be read: TTRnW */
    set_s2(t, VIRT_RAM, 0);
    e = check_untranslated_fault(ep, IOVA, F_TRANSLATION);
    g_assert_cmphex(extract64(e.q[1], 39, 3), ==, 3);
    g_assert_cmphex(extract64(e.q[1], 44, 1), ==, 1);
    test_end(t);
}

/* S2HD is nothing without S2HA, and S2AFFD nothing with it */
static void test_stage2_bits(void)
{
    Test *t = start_nested(S2_HD);
    Endpoint *ep = &t->ep[0];
    uint64_t clean = S2_LEAF_2M | PTE_DBM;

    set_s1(t, PTE_DIRTY);
    set_s2(t, IPA, clean);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    set_s2(t, IPA, clean & ~PTE_AF);
    check_untranslated_fault(ep, IOVA, F_ACCESS);
    check_s2(t, IPA, clean & ~PTE_AF);

    write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG | S2_HA | S2_AFFD, TABLES_S2);
    inv_tables(t);
    check_untranslated_fault(ep, IOVA, F_PERMISSION);
    check_s2(t, IPA, clean & ~PTE_AF);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_s2(t, IPA, clean);
    write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG | S2_AFFD, TABLES_S2);
    inv_tables(t);
    set_s2(t, IPA, clean & ~PTE_AF);
    g_assert_cmpuint(ep_read_untranslated(ep, IOVA), ==, IOPF_TD_ST_OK);
    check_s2(t, IPA, clean & ~PTE_AF);

    /* Stage 2 alone */
    write_ste_s2(ep, STE_V | STE_S2, STE_Q1, S2_CFG | S2_HA | S2_HD,
                 TABLES_S2);
    inv_tables(t);
    g_assert_cmpuint(ep_read_untranslated(ep, IPA + 0x1000), ==,
                     IOPF_TD_ST_OK);
    check_s2(t, IPA, clean);
    check_untranslated(ep, IPA + 0x1000, PAGE_A);
    check_s2(t, IPA, clean | PTE_S2_W);
    set_s2(t, IPA, clean & ~PTE_AF);
    check_translation(ep, NOP, IPA, WANT_R, DATA & ~0x1fffffULL, 0x200000,
                      PERM_R);
    check_s2(t, IPA, clean);
    check_translation(ep, NOP, IPA, WANT_RW, DATA & ~0x1fffffULL, 0x200000,
                      PERM_RW);
    check_s2(t, IPA, clean | PTE_S2_W);
    check_no_error(t);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/smmuv3-httu/registers", test_registers);
    qtest_add_func("/smmuv3-httu/off", test_off);
    qtest_add_func("/smmuv3-httu/access-flag", test_access_flag);
    qtest_add_func("/smmuv3-httu/dirty", test_dirty);
    qtest_add_func("/smmuv3-httu/pasid", test_pasid);
    qtest_add_func("/smmuv3-httu/ats", test_ats);
    qtest_add_func("/smmuv3-httu/atc", test_atc);
    qtest_add_func("/smmuv3-httu/no-memory", test_no_memory);
    qtest_add_func("/smmuv3-httu/stage-2", test_stage2);
    qtest_add_func("/smmuv3-httu/tables", test_tables);
    qtest_add_func("/smmuv3-httu/stage-2-bits", test_stage2_bits);
    return g_test_run();
}

/*
 * QTest of substreams, translation requests and page requests of the SMMUv3
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
#include "iopf-pri-cases.h"
#include "iopf-smmu-qtest.h"

#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=512 " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,pri-capacity=512 "

#define PRIQ_ENTRIES    (1 << PRIQ_ORDER)

/* What the tables map */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_C          (DATA + 0x3000)
#define PAGE_2M         (VIRT_RAM + 0x400000)
#define IOVA_2M         (IOVA + 0x200000)

static Test *test_start_with(const char *options)
{
    g_autofree char *more = g_strconcat(options, DEVICES, NULL);

    return test_start_smmu(more, CD_Q0);
}

static Test *test_start(void)
{
    return test_start_with("");
}

static void map_page(Endpoint *ep, uint64_t iova, uint64_t addr, bool write)
{
    write_leaf(ep->t, TABLES_0, iova, addr | PTE_RW | (write ? 0 : PTE_RO));
}

/* A translation request that ends with that errno */
static void check_treq(Endpoint *ep, uint32_t pasid, int32_t ret)
{
    Translation tr = translate(ep, pasid, IOVA, WANT_RW);

    g_assert_cmpuint(tr.status, ==, IOPF_TD_ST_TR_ERROR);
    g_assert_cmpint(tr.ret, ==, ret);
}

/* Unsupported Request, of which software hears */
static void check_bad_treq(Endpoint *ep, uint32_t pasid)
{
    Event e;

    check_treq(ep, pasid, -EACCES);
    e = check_event(ep, F_BAD_ATS_TREQ, pasid);
    g_assert_cmphex(extract64(e.q[2], 12, 52), ==, IOVA >> 12);
    g_assert_cmpuint(extract64(e.q[1], 44, 8), ==, 1);
}

static bool raw_arrives(Endpoint *ep, uint64_t addr)
{
    uint32_t status;
    bool changed;

    qtest_writeq(ep->qts, addr, UINT64_MAX);
    status = ep_write_raw(ep, addr);
    changed = qtest_readq(ep->qts, addr) != UINT64_MAX;
    g_assert_cmpuint(status, ==, changed ? IOPF_TD_ST_OK :
                     IOPF_TD_ST_ACCESS_ERROR);
    return changed;
}

static uint32_t outstanding(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING);
}

static uint32_t responses(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD);
}

/* After a Response Failure */
static void enable_pri_anew(Endpoint *ep)
{
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    cfg_writew(ep, ep->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF |
               PCI_PRI_STATUS_UPRGI);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
}

/* A request that the SMMU answers with a Response Failure, without PASID */
static void check_auto_failure(Endpoint *ep, uint16_t prgi)
{
    Desc d = group_request(NOP, IOVA, 1, WANT_R, prgi);

    check_automatic(ep, &d, RSP_FAILURE);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    enable_pri_anew(ep);
}

/* The first command of @behind that were not consumed is a CMD_SYNC with */
static void check_sync_error(Test *t, unsigned behind)
{
    g_assert_cmphex(gerror(t), ==, GERROR_CMDQ);
    g_assert_cmpuint(cmd_behind(t), ==, behind);
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_CMDQ_CONS), 24, 7), ==,
                     CERROR_ATC_INV_SYNC);
}

/*
 * Test cases: registers
 */

static void test_registers(void)
{
    Test *t = test_start();
    uint32_t idr0 = smmu_readl(t, SMMU_IDR0);
    uint32_t idr1 = smmu_readl(t, SMMU_IDR1);
    uint32_t priqs = extract32(idr1, 11, 5);

    g_assert_cmphex(idr0 & IDR0_ATS, ==, IDR0_ATS);
    g_assert_cmphex(idr0 & IDR0_PRI, ==, IDR0_PRI);
    g_assert_cmphex(idr0 & IDR0_CD2L, ==, IDR0_CD2L);
    /* The two stages are not split */
    g_assert_cmphex(idr0 & (IDR0_S2P | IDR0_NS1ATS), ==,
                    IDR0_S2P | IDR0_NS1ATS);
    g_assert_cmpuint(extract32(idr1, 6, 5), ==, 16);
    g_assert_cmpuint(priqs, >=, PRIQ_LOG2_MAX);
    g_assert_cmpuint(priqs, <=, 19);
    g_assert_cmphex(smmu_readl(t, SMMU_IDR3) & IDR3_PPS, ==, 0);
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR5), 0, 3), ==, 5);

    /* Guarded while the queue or its interrupt is enabled */
    smmu_writeq(t, SMMU_PRIQ_BASE, DATA | 3);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_BASE), ==, PRIQ | PRIQ_ORDER);
    smmu_writel(t, SMMU_PRIQ_PROD, 5);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
    smmu_writeq(t, SMMU_PRIQ_IRQ_CFG0, DATA);
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG1, 7);
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG2, PRIQ_LO);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_IRQ_CFG0), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG1), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG2), ==, 0);

    /* The field is what is acknowledged, not what comes of it */
    write_cr0(t, CR0_PRIQEN | CR0_ATSCHK);
    write_cr0(t, 0);
    smmu_writel(t, SMMU_IRQ_CTRL, IRQ_PRIQ);
    g_assert_cmphex(smmu_readl(t, SMMU_IRQ_CTRL + 4), ==, IRQ_PRIQ);
    smmu_writel(t, SMMU_IRQ_CTRL, 0);

    smmu_writeq(t, SMMU_PRIQ_BASE, UINT64_MAX);
    g_assert_cmphex(extract64(smmu_readq(t, SMMU_PRIQ_BASE), 63, 1), ==, 0);
    g_assert_cmphex(extract64(smmu_readq(t, SMMU_PRIQ_BASE), 52, 10), ==, 0);
    smmu_writel(t, SMMU_PRIQ_BASE, 0x12345fe3);
    smmu_writel(t, SMMU_PRIQ_BASE + 4, 0x1);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_BASE), ==, 0x112345fe3);
    smmu_writel(t, SMMU_PRIQ_PROD, UINT32_MAX);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD) & OVERFLOW_FLAG, ==,
                    OVERFLOW_FLAG);
    smmu_writel(t, SMMU_PRIQ_CONS, OVERFLOW_FLAG | 3);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_CONS), ==, OVERFLOW_FLAG | 3);
    smmu_writeq(t, SMMU_PRIQ_IRQ_CFG0, UINT64_MAX);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_IRQ_CFG0), ==,
                    MAKE_64BIT_MASK(2, 50));
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG1, 0xcafe);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG1), ==, 0xcafe);
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG2, UINT32_MAX);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG2), ==, PRIQ_LO | 0x3f);

    qtest_system_reset(t->qts);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_CONS), ==, 0);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_IRQ_CFG0), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG2), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_CR0ACK), ==, 0);
    test_end(t);
}

/* Nothing of it is there unless asked for, and the commands are not either */
static void test_off(void)
{
    Test t = { .qts = qtest_init(VIRT) };
    uint32_t idr0 = smmu_readl(&t, SMMU_IDR0);

    g_assert_cmphex(idr0 & (IDR0_ATS | IDR0_NS1ATS | IDR0_PRI | IDR0_CD2L |
                            IDR0_ATSRECERR), ==, 0);
    g_assert_cmphex(smmu_readl(&t, SMMU_IDR1) & 0xffc0, ==, 0);
    g_assert_cmpuint(extract32(smmu_readl(&t, SMMU_IDR5), 0, 3), ==, 4);
    smmu_writeq(&t, SMMU_PRIQ_BASE, UINT64_MAX);
    g_assert_cmphex(smmu_readq(&t, SMMU_PRIQ_BASE), ==, 0);
    smmu_writel(&t, SMMU_PRIQ_CONS, UINT32_MAX);
    g_assert_cmphex(smmu_readl(&t, SMMU_PRIQ_CONS), ==, 0);

    clear_tables(&t);
    start_smmu(&t, 0);
    cmd_submit_bad(&t, CMD_ATC_INV, SIZE_ALL, CERROR_ILL);
    cmd_submit_bad(&t, CMD_PRI_RESP, 1 << 12, CERROR_ILL);
    qtest_quit(t.qts);
}

/* The machine once had one stage, with which there is nothing to split */
static void test_one_stage(void)
{
    Test t = { .qts = qtest_init("-machine virt-9.1,gic-version=3,"
                                 "iommu=smmuv3 -nodefaults -cpu cortex-a76 "
                                 "-global arm-smmuv3.ats=on") };
    uint32_t idr0 = smmu_readl(&t, SMMU_IDR0);

    g_assert_cmphex(idr0 & (IDR0_ATS | IDR0_S2P | IDR0_NS1ATS), ==, IDR0_ATS);
    clear_tables(&t);
    start_smmu(&t, 0);
    cmd_submit_bad(&t, CMD_TLBI_S12_VMALL, 0, CERROR_ILL);
    cmd_submit_bad(&t, CMD_TLBI_S12_VMALL + 2, 0, CERROR_ILL);
    qtest_quit(t.qts);
}

static bool starts(const char *options)
{
    return machine_starts(VIRT, options);
}

static void test_options(void)
{
    g_assert(starts(""));
    g_assert(starts("-global arm-smmuv3.ats=on"));
    g_assert(starts("-global arm-smmuv3.ats=on -global arm-smmuv3.pri=on"));
    g_assert(starts("-global arm-smmuv3.ssidsize=20"));
    g_assert(!starts("-global arm-smmuv3.ssidsize=21"));
    g_assert(!starts("-global arm-smmuv3.oas=43"));
    /* The architecture has no page requests without translation requests */
    g_assert(!starts("-global arm-smmuv3.pri=on"));
}

/*
 * Test cases: translation requests
 */

static void test_translate(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_0, IOVA + PAGE, PAGE_B | PTE_RW | PTE_RO);
    write_leaf(t, TABLES_0, IOVA + 2 * PAGE, PAGE_C | (PTE_RW & ~PTE_AF));
    write_leaf(t, TABLES_0, IOVA + 3 * PAGE, PAGE_C | (PTE_RW & ~PTE_USER));
    write_leaf(t, TABLES_0, IOVA + 4 * PAGE, PAGE_C | (PTE_RW & ~2ULL));
    write_leaf_2m(t, TABLES_0, IOVA_2M, PAGE_2M | (PTE_RW & ~2ULL));

    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, NOP, IOVA + 0x123, WANT_RW, PAGE_A, PAGE, PERM_RW);
    /* Not more than what was asked for */
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, PAGE, PERM_R);
    /* The part that is allowed */
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_R);
    check_translation(ep, NOP, IOVA_2M + 0x5678, WANT_RW, PAGE_2M, 0x200000,
                      PERM_RW);
    /* No access flag; not for EL0, which is what has no PASID; not valid */
    check_translation(ep, NOP, IOVA + 2 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + 3 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + 4 * PAGE, WANT_RW, 0, PAGE, 0);
    /* Missing: a page, a table of the level above and of the top */
    check_translation(ep, NOP, IOVA + 5 * PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + 0x400000, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA + (1ULL << 39), WANT_RW, 0, PAGE, 0);
    /* An address that is too large, on either side */
    check_translation(ep, NOP, 1ULL << 48, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, 0xffff000000000000ULL, WANT_RW, 0, PAGE, 0);

    /* Another address space */
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | PTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    /* None of that is worth an event */
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);

    /* For an untranslated write it is */
    check_untranslated(ep, IOVA, PAGE_A);
    check_untranslated_fault(ep, IOVA + PAGE, F_PERMISSION);
    check_untranslated_fault(ep, IOVA + 2 * PAGE, F_ACCESS);
    check_untranslated_fault(ep, IOVA + 4 * PAGE, F_TRANSLATION);
    check_untranslated_fault(ep, IOVA + 5 * PAGE, F_TRANSLATION);
    test_end(t);
}

/* Sizes of answers */
static void test_unit(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    check_translation_unit(ep, VIRT_RAM + 0x200000, map_page);
    check_largest_unit(ep, IOVA);
    check_largest_unit(ep, 1ULL << 45);
    check_no_event(t);
    test_end(t);
}

/* A record in full */
static void test_fault_record(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t iova = IOVA + 5 * PAGE + 0x128;
    Event e;

    e = check_untranslated_fault(ep, iova, F_TRANSLATION);
    g_assert_cmphex(e.q[0], ==, F_TRANSLATION | CMD_SID(ep->bdf));
    /* CLASS: the input address; a write */
    g_assert_cmphex(extract64(e.q[1], 32, 32) & 0x38a, ==, 2 << 8);
    g_assert_cmphex(extract64(e.q[1], 31, 1), ==, 0);
    g_assert_cmphex(e.q[2], ==, iova);

    g_assert_cmpuint(ep_read_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, F_TRANSLATION, NOP);
    g_assert_cmphex(extract64(e.q[1], 35, 1), ==, 1);
    g_assert_cmphex(e.q[2], ==, iova);

    /* R is clear: it is aborted without a record */
    set_cd(ep, NOP, CD_Q0 & ~CD_R);
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);
    test_end(t);
}

/* Bits that only requests with PASID have */
static void test_privilege(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t priv = WANT_RW | IOPF_TD_F_PRIV;
    uint16_t exec = WANT_R | IOPF_TD_F_EXEC;

    /* For everybody, but not to execute */
    write_leaf(t, TABLES_1, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, PAGE, PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA, exec, PAGE_A, PAGE, PERM_R);

    /* For EL1 only */
    write_leaf(t, TABLES_1, IOVA + PAGE, PAGE_B | (PTE_RW & ~PTE_USER));
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, 0, PAGE, 0);
    check_translation(ep, PASID, IOVA + PAGE, priv, PAGE_B, PAGE,
                      PERM_RW | PERM_P);

    /* To execute for EL0; EL1 does not execute what EL0 can write */
    write_leaf(t, TABLES_1, IOVA + 2 * PAGE, PAGE_C | PTE_RWX);
    check_translation(ep, PASID, IOVA + 2 * PAGE, exec, PAGE_C, PAGE,
                      PERM_R | PERM_X);
    check_translation(ep, PASID, IOVA + 2 * PAGE, exec | IOPF_TD_F_PRIV,
                      PAGE_C, PAGE, PERM_R | PERM_P);
    /* Only if asked for */
    check_translation(ep, PASID, IOVA + 2 * PAGE, WANT_R, PAGE_C, PAGE,
                      PERM_R);

    /* Each level has its bit */
    write_leaf(t, TABLES_1, IOVA + 3 * PAGE,
               PAGE_C | PTE_RWX | PTE_RO | PTE_UXN);
    check_translation(ep, PASID, IOVA + 3 * PAGE, exec, PAGE_C, PAGE, PERM_R);
    check_translation(ep, PASID, IOVA + 3 * PAGE, exec | IOPF_TD_F_PRIV,
                      PAGE_C, PAGE, PERM_R | PERM_X | PERM_P);
    write_leaf(t, TABLES_1, IOVA + 4 * PAGE,
               PAGE_C | PTE_RWX | PTE_RO | PTE_PXN);
    check_translation(ep, PASID, IOVA + 4 * PAGE, exec, PAGE_C, PAGE,
                      PERM_R | PERM_X);
    check_translation(ep, PASID, IOVA + 4 * PAGE, exec | IOPF_TD_F_PRIV,
                      PAGE_C, PAGE, PERM_R | PERM_P);
    check_no_event(t);
    test_end(t);
}

/*
 * Something is wrong with the tables.
 * @break_it: do it to a function
 * @pasid: of the translation request
 * @ret: its end
 * @treq: it leaves F_BAD_ATS_TREQ
 * @event: of an untranslated write, 0 if that is aborted without
 * @passes: it is not aborted
 */
typedef struct Malformed {
    const char *name;
    void (*break_it)(Endpoint *ep);
    uint32_t pasid;
    int32_t ret;
    bool treq;
    uint8_t event;
    bool passes;
} Malformed;

static void break_ste_v(Endpoint *ep)
{
    write_ste(ep, STE_Q0 & ~STE_V, STE_Q1);
}

static void break_ste_config(Endpoint *ep)
{
    /* Its fields say that it is one of AArch32 */
    write_ste(ep, (STE_Q0 & ~STE_CONFIG) | STE_S2, STE_Q1);
}

static void break_ste_s1cdmax(Endpoint *ep)
{
    write_ste(ep, STE_Q0 | STE_S1CDMAX(17), STE_Q1);
}

static void break_ste_s1stalld(Endpoint *ep)
{
    /* Illegal unless STALL_MODEL is 0 */
    write_ste(ep, STE_Q0, STE_Q1 | STE_S1STALLD);
}

static void break_ste_split(Endpoint *ep)
{
    write_ste(ep, STE_Q0, STE_Q1 ^ STE_EATS(3));
}

static void break_ste_span(Endpoint *ep)
{
    qtest_writeq(ep->qts, STREAM_L1, 0);
}

static void break_ste_short_span(Endpoint *ep)
{
    /* 32 entries, which is as far as the function before */
    g_assert_cmphex(ep->bdf, ==, 32);
    qtest_writeq(ep->qts, STREAM_L1, STREAM_L2 | 6);
}

static void break_ste_shorter_span(Endpoint *ep)
{
    qtest_writeq(ep->qts, STREAM_L1, STREAM_L2 | 1);
}

static void break_ste_fetch(Endpoint *ep)
{
    qtest_writeq(ep->qts, STREAM_L1, NOWHERE | 9);
}

static void break_no_substreams(Endpoint *ep)
{
    write_ste(ep, STE_Q0 & ~STE_S1CDMAX(31), STE_Q1);
}

static void break_few_substreams(Endpoint *ep)
{
    write_ste(ep, (STE_Q0 & ~STE_S1CDMAX(31)) | STE_S1CDMAX(3), STE_Q1);
}

static void break_l1cd(Endpoint *ep)
{
    write_ste(ep, STE_V | STE_S1 | STE_FMT_64K | CD_L1 | STE_S1CDMAX(16),
              STE_Q1);
}

static void break_terminate(Endpoint *ep)
{
    write_ste(ep, STE_Q0, STE_Q1 & ~STE_S1DSS);
}

static void break_reserved_s1dss(Endpoint *ep)
{
    write_ste(ep, STE_Q0, STE_Q1 | STE_S1DSS);
}

static void break_nothing(Endpoint *ep)
{
}

static void break_cd_fetch(Endpoint *ep)
{
    write_ste(ep, (STE_Q0 & ~CDS) | NOWHERE, STE_Q1);
}

static void break_l1cd_fetch(Endpoint *ep)
{
    write_ste(ep, STE_V | STE_S1 | STE_FMT_64K | NOWHERE | STE_S1CDMAX(16),
              STE_Q1);
}

static void break_cds(Endpoint *ep, uint64_t flags)
{
    write_cd(ep->t, 0, 1, TABLES_0, flags);
    write_cd(ep->t, PASID, 2, TABLES_1, flags);
}

static void break_cd_v(Endpoint *ep)
{
    break_cds(ep, CD_Q0 & ~CD_V);
}

static void break_cd_aa64(Endpoint *ep)
{
    break_cds(ep, CD_Q0 & ~CD_AA64);
}

static void break_cd_stall(Endpoint *ep)
{
    break_cds(ep, CD_Q0 | CD_S);
}

static void break_cd_ha(Endpoint *ep)
{
    break_cds(ep, CD_Q0 | CD_HA);
}

static void break_cd_a(Endpoint *ep)
{
    break_cds(ep, CD_Q0 & ~CD_A);
}

static void break_cd_tsz(Endpoint *ep)
{
    break_cds(ep, CD_Q0 & ~CD_T0SZ(63));
}

static void break_cd_tg(Endpoint *ep)
{
    break_cds(ep, CD_Q0 | 3 << 6);
}

static void break_walk(Endpoint *ep)
{
    write_cd(ep->t, 0, 1, NOWHERE, CD_Q0);
    write_cd(ep->t, PASID, 2, NOWHERE, CD_Q0);
}

static void break_config_abort(Endpoint *ep)
{
    write_ste(ep, STE_V | STE_ABORT, STE_Q1);
}

static void break_config_bypass(Endpoint *ep)
{
    write_ste(ep, STE_V | STE_BYPASS, STE_Q1);
}

static void break_eats(Endpoint *ep)
{
    write_ste(ep, STE_Q0, STE_Q1 & ~STE_EATS(3));
}

static void break_reserved_eats(Endpoint *ep)
{
    write_ste(ep, STE_Q0, STE_Q1 | STE_EATS(3));
}

static const Malformed malformed[] = {
    { "STE.V", break_ste_v, NOP, -EIO, .event = C_BAD_STE },
    { "STE.Config", break_ste_config, NOP, -EIO, .event = C_BAD_STE },
    { "S1CDMax", break_ste_s1cdmax, NOP, -EIO, .event = C_BAD_STE },
    { "S1STALLD", break_ste_s1stalld, NOP, -EIO, .event = C_BAD_STE },
    { "EATS split", break_ste_split, NOP, -EIO, .event = C_BAD_STE },
    { "L1STD span", break_ste_span, NOP, -EIO, .event = C_BAD_STREAMID },
    { "L1STD short", break_ste_short_span, NOP, -EIO,
      .event = C_BAD_STREAMID },
    { "L1STD shorter", break_ste_shorter_span, NOP, -EIO,
      .event = C_BAD_STREAMID },
    { "STE fetch", break_ste_fetch, NOP, -EIO, .event = F_STE_FETCH },
    { "abort", break_config_abort, NOP, -EACCES },
    { "bypass", break_config_bypass, NOP, -EACCES, true, 0, true },
    { "EATS off", break_eats, NOP, -EACCES, true, 0, true },
    { "EATS reserved", break_reserved_eats, NOP, -EACCES, true, 0, true },
    { "EATS off, PASID", break_eats, PASID, -EACCES, true, 0, true },
    { "no substreams", break_no_substreams, PASID, -EIO, .passes = true },
    { "few substreams", break_few_substreams, PASID, -EIO, .passes = true },
    { "large SSID", break_nothing, 256, -EIO, .passes = true },
    { "largest SSID", break_nothing, 0xfffff, -EIO, .passes = true },
    { "L1CD.V", break_l1cd, PASID, -EIO, .event = C_BAD_SUBSTREAMID },
    { "L1CD.V of CD 0", break_l1cd, NOP, -EIO, .event = C_BAD_SUBSTREAMID },
    { "S1DSS terminate", break_terminate, NOP, -EIO,
      .event = F_STREAM_DISABLED },
    { "S1DSS reserved", break_reserved_s1dss, NOP, -EIO,
      .event = F_STREAM_DISABLED },
    { "SSID 0", break_nothing, 0, -EIO, .passes = true },
    { "CD fetch", break_cd_fetch, NOP, -EIO, .event = F_CD_FETCH },
    { "CD fetch, PASID", break_cd_fetch, PASID, -EIO, .event = F_CD_FETCH },
    { "L1CD fetch", break_l1cd_fetch, PASID, -EIO, .event = F_CD_FETCH },
    { "unused CD", break_nothing, PASID + 1, -EIO, .passes = true },
    { "CD.V", break_cd_v, PASID, -EIO, .event = C_BAD_CD },
    { "CD.AA64", break_cd_aa64, NOP, -EIO, .event = C_BAD_CD },
    { "CD.S", break_cd_stall, PASID, -EIO, .event = C_BAD_CD },
    { "CD.HA", break_cd_ha, PASID, -EIO, .event = C_BAD_CD },
    { "CD.A", break_cd_a, PASID, -EIO, .event = C_BAD_CD },
    { "CD.T0SZ", break_cd_tsz, PASID, -EIO, .event = C_BAD_CD },
    { "CD.TG0", break_cd_tg, PASID, -EIO, .event = C_BAD_CD },
    { "walk", break_walk, NOP, -EIO, .event = F_WALK_EABT },
    { "walk, PASID", break_walk, PASID, -EIO, .event = F_WALK_EABT },
};

/* What a translation request with REC_CFG_ATS leaves: as an untranslated one */
static uint8_t recorded(const Malformed *m)
{
    if (m->event || m->pasid == NOP) {
        return m->event;
    }
    return m->pasid == 0 ? F_STREAM_DISABLED :
           m->pasid == PASID + 1 ? C_BAD_CD : C_BAD_SUBSTREAMID;
}

static void check_malformed(Endpoint *ep, const Malformed *m, bool record)
{
    Test *t = ep->t;

    g_test_message("%s%s", m->name, record ? ", recorded" : "");
    write_tables(t, CD_Q0);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    inv_tables(t);
    check_untranslated(ep, IOVA, PAGE_A);
    check_translation(ep, PASID, IOVA, WANT_R, 0, PAGE, 0);
    m->break_it(ep);
    inv_tables(t);

    if (m->treq) {
        check_bad_treq(ep, m->pasid);
    } else {
        check_treq(ep, m->pasid, m->ret);
        if (record && m->ret == -EIO) {
            check_event(ep, recorded(m), m->pasid);
        }
    }
    check_no_event(t);
    if (m->passes) {
        g_assert_cmpuint(ep_write_untranslated(ep, m->break_it ==
                         break_config_bypass ? PAGE_A : IOVA), ==,
                         IOPF_TD_ST_OK);
    } else if (m->event) {
        check_untranslated_fault(ep, IOVA, m->event);
    } else {
        g_assert_cmpuint(ep_write_untranslated(ep, IOVA), ==,
                         IOPF_TD_ST_ACCESS_ERROR);
    }
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
}

static void test_malformed(void)
{
    Test *t = test_start();
    int i;

    for (i = 0; i < ARRAY_SIZE(malformed); i++) {
        check_malformed(&t->ep[0], &malformed[i], false);
    }
    if (smmu_readl(t, SMMU_IDR0) & IDR0_ATSRECERR) {
        write_cr2(t, CR2_PTM | CR2_RECINVSID | CR2_REC_CFG_ATS);
        for (i = 0; i < ARRAY_SIZE(malformed); i++) {
            check_malformed(&t->ep[0], &malformed[i], true);
        }
        /* This one is for RECINVSID, too */
        write_cr2(t, CR2_PTM | CR2_REC_CFG_ATS);
        write_tables(t, CD_Q0);
        break_ste_span(&t->ep[0]);
        inv_tables(t);
        check_treq(&t->ep[0], NOP, -EIO);
        check_no_event(t);
    } else {
        g_test_message("no ATSRECERR: records of translation requests");
    }
    test_end(t);
}

/* Where the record of a table that could not be read says so */
static void test_fetch_address(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Event e;

    break_ste_fetch(ep);
    inv_tables(t);
    e = check_untranslated_fault(ep, IOVA, F_STE_FETCH);
    g_assert_cmphex(e.q[3] & MAKE_64BIT_MASK(3, 53), ==,
                    NOWHERE + ep->bdf * 64);

    write_tables(t, CD_Q0);
    break_cd_fetch(ep);
    inv_tables(t);
    e = check_untranslated_fault(ep, IOVA, F_CD_FETCH);
    g_assert_cmphex(e.q[3] & MAKE_64BIT_MASK(3, 53), ==, NOWHERE);

    write_tables(t, CD_Q0);
    break_walk(ep);
    inv_tables(t);
    e = check_untranslated_fault(ep, IOVA, F_WALK_EABT);
    g_assert_cmphex(e.q[2], ==, IOVA);
    g_assert_cmphex(e.q[3] & MAKE_64BIT_MASK(3, 53), ==, NOWHERE);
    g_assert_cmphex(extract64(e.q[1], 40, 2), ==, 1);
    test_end(t);
}

static void test_disabled(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_cr0(t, CR0_ALL & ~CR0_SMMUEN);
    check_bad_treq(ep, NOP);
    check_bad_treq(ep, PASID);
    /* All else passes, as GBPA says */
    check_untranslated(ep, PAGE_B, PAGE_B);
    write_cr0(t, CR0_ALL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_no_event(t);
    test_end(t);
}

/* Stage 1 is for requests with PASID only */
static void test_s1dss_bypass(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t q1 = (STE_Q1 & ~STE_S1DSS) | STE_S1DSS_BYPASS;
    Translation tr;

    write_leaf(t, TABLES_0, IOVA, PAGE_B | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | PTE_RW);
    set_ste(ep, STE_Q0, q1);
    tr = translate(ep, NOP, PAGE_A, WANT_RW);
    g_assert_cmpint(tr.ret, ==, 0);
    g_assert_cmphex(tr.perm, ==, PERM_RW);
    g_assert_cmphex(tr.size, >=, PAGE);
    g_assert_cmphex(tr.addr, ==, tr.iova);
    g_assert_cmphex(tr.iova, ==, PAGE_A & ~(tr.size - 1));
    check_untranslated(ep, PAGE_A, PAGE_A);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_no_event(t);
    /* Beyond what there is */
    check_translation(ep, NOP, 1ULL << 48, WANT_RW, 0, PAGE, 0);
    check_no_event(t);
    check_untranslated_fault(ep, 1ULL << 48, F_ADDR_SIZE);

    /* SSID 0 is one like others then */
    check_translation(ep, 0, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    /* No context descriptor is read for what bypasses them */
    write_cd(t, 0, 1, TABLES_0, 0);
    cfgi_all(t);
    check_untranslated(ep, PAGE_A, PAGE_A);
    g_assert_cmpint(translate(ep, NOP, PAGE_A, WANT_RW).ret, ==, 0);
    check_no_event(t);

    /* Without substreams the field means nothing */
    write_cd(t, 0, ASID(NOP), TABLES_0, CD_Q0);
    set_ste(ep, STE_Q0 & ~STE_S1CDMAX(31), q1);
    tlbi_all(t);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    test_end(t);
}

static void test_cd_formats(void)
{
    static const uint32_t ssids[] = { 1, 9, 63, 64, 255, 256, 1023 };
    static const uint64_t formats[] = {
        STE_FMT_LINEAR, STE_FMT_4K, STE_FMT_64K, STE_FMT,
    };
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i, j;

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | PTE_RW);
    for (i = 0; i < ARRAY_SIZE(ssids); i++) {
        write_cd(t, ssids[i], ASID(ssids[i]), TABLES_1, CD_Q0);
    }
    for (i = 0; i < ARRAY_SIZE(formats); i++) {
        bool linear = formats[i] == STE_FMT_LINEAR || formats[i] == STE_FMT;

        if (!linear) {
            write_cd_l1(t, formats[i]);
        }
        write_ste(ep, STE_V | STE_S1 | formats[i] | (linear ? CDS : CD_L1) |
                  STE_S1CDMAX(linear ? 10 : 16), STE_Q1);
        inv_tables(t);
        check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
        for (j = 0; j < ARRAY_SIZE(ssids); j++) {
            check_translation(ep, ssids[j], IOVA, WANT_RW, PAGE_B, PAGE,
                              PERM_RW);
        }
        /* No descriptor, no table of them, or beyond all of them */
        check_treq(ep, 2, -EIO);
        check_treq(ep, 1024, -EIO);
        check_treq(ep, 65536, -EIO);
    }
    check_no_event(t);

    /* A table that comes later */
    qtest_writeq(t->qts, CD_L1, 0);
    write_ste(ep, STE_V | STE_S1 | STE_FMT_64K | CD_L1 | STE_S1CDMAX(16),
              STE_Q1);
    inv_tables(t);
    check_treq(ep, 1, -EIO);
    write_cd_l1(t, STE_FMT_64K);
    cfgi_cd(ep, 1, false);
    check_translation(ep, 1, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    test_end(t);
}

#define SPARE_TABLE     (TABLES_1 + 5 * PAGE)
#define OLD_TABLE       (TABLES_1 + 3 * PAGE)

/* The table of last levels of that address, of TABLES_1 */
static void write_last_table(Test *t, uint64_t iova, uint64_t desc)
{
    qtest_writeq(t->qts, TABLES_1 + 2 * PAGE + extract64(iova, 21, 9) * 8,
                 desc | PTE_TABLE);
}

/* Page n of IOVA is A in the table that there is, and B in the spare one */
static Test *test_start_tables(const char *options)
{
    Test *t = test_start_with(options);
    int i;

    for (i = 0; i < 16; i++) {
        write_leaf(t, TABLES_1, IOVA + i * PAGE, PAGE_A | PTE_RW);
        qtest_writeq(t->qts, SPARE_TABLE + i * 8, PAGE_B | PTE_RW);
    }
    write_cd(t, 10, ASID(10), TABLES_1, CD_Q0);
    return t;
}

static void check_page(Test *t, uint32_t pasid, unsigned int page,
                       uint64_t addr)
{
    check_translation(&t->ep[0], pasid, IOVA + page * PAGE, WANT_RW, addr,
                      PAGE, PERM_RW);
}

static void tlbi_va(Test *t, uint32_t pasid, uint64_t iova, bool leaf)
{
    cmd_submit(t, CMD_TLBI_NH_VA | CMD_ASID(ASID(pasid)), iova | leaf);
}

/*
 * A table is replaced, which a hint that says of last levels alone that they
 * have changed hides.  Each page is used once, so that none is in the TLB.
 */
static void test_walk_cache(void)
{
    Test *t = test_start_tables(" -global arm-smmuv3.x-walk-cache=on");

    check_page(t, PASID, 0, PAGE_A);
    check_page(t, 10, 0, PAGE_A);
    write_last_table(t, IOVA, SPARE_TABLE);
    tlbi_va(t, PASID, IOVA, true);
    check_page(t, PASID, 0, PAGE_A);
    check_page(t, PASID, 1, PAGE_A);
    /* Another address, another table: its walk is from the top */
    write_last_table(t, IOVA_2M, SPARE_TABLE);
    check_page(t, PASID, 0x200, PAGE_B);
    /* Nor do invalidations of other addresses and ASIDs help */
    tlbi_va(t, PASID, IOVA + 0x400000, false);
    tlbi_va(t, PASID, IOVA_2M, false);
    tlbi_va(t, 10, IOVA + 0x400000, false);
    check_page(t, PASID, 2, PAGE_A);
    tlbi_va(t, 10, IOVA, false);
    check_page(t, PASID, 3, PAGE_A);
    check_page(t, 10, 1, PAGE_B);
    /* The right one does, whichever address of the table it has */
    tlbi_va(t, PASID, IOVA + 8 * PAGE, false);
    check_page(t, PASID, 4, PAGE_B);

    /* By ASID, and all */
    write_last_table(t, IOVA, OLD_TABLE);
    check_page(t, PASID, 5, PAGE_B);
    cmd_submit(t, CMD_TLBI_NH_ASID | CMD_ASID(ASID(10)), 0);
    check_page(t, PASID, 6, PAGE_B);
    cmd_submit(t, CMD_TLBI_NH_ASID | CMD_ASID(ASID(PASID)), 0);
    check_page(t, PASID, 7, PAGE_A);
    write_last_table(t, IOVA, SPARE_TABLE);
    check_page(t, PASID, 8, PAGE_A);
    cmd_submit(t, CMD_TLBI_NH_ALL, 0);
    check_page(t, PASID, 9, PAGE_B);
    write_last_table(t, IOVA, OLD_TABLE);
    check_page(t, PASID, 10, PAGE_B);
    tlbi_all(t);
    check_page(t, PASID, 11, PAGE_A);
    test_end(t);
}

/* What table descriptors take away comes from the cache as well */
static void test_walk_cache_rights(void)
{
    Test *t = test_start_tables(" -global arm-smmuv3.x-walk-cache=on");
    Endpoint *ep = &t->ep[0];

    /* APTable: no write access below */
    write_last_table(t, IOVA, OLD_TABLE | 2ULL << 61);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    check_translation(ep, PASID, IOVA + PAGE, WANT_RW, PAGE_A, PAGE, PERM_R);
    write_last_table(t, IOVA, OLD_TABLE);
    tlbi_va(t, PASID, IOVA, true);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_R);
    tlbi_va(t, PASID, IOVA, false);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    test_end(t);
}

/* Without it a wrong hint does no harm */
static void test_no_walk_cache(void)
{
    Test *t = test_start_tables("");

    check_page(t, PASID, 0, PAGE_A);
    write_last_table(t, IOVA, SPARE_TABLE);
    tlbi_va(t, PASID, IOVA, true);
    check_page(t, PASID, 0, PAGE_B);
    check_page(t, PASID, 1, PAGE_B);
    test_end(t);
}

/* What was read is used until software says that it is no more */
static void test_caching(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | PTE_RW);
    write_cd(t, 10, ASID(10), TABLES_1, CD_Q0);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_translation(ep, 10, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);

    /* Page tables: by ASID and address */
    write_leaf(t, TABLES_1, IOVA, PAGE_C | PTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    cmd_submit(t, CMD_TLBI_NH_VA | CMD_ASID(ASID(NOP)), IOVA | 1);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    cmd_submit(t, CMD_TLBI_NH_VA | CMD_ASID(ASID(PASID)), IOVA | 1);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    check_translation(ep, 10, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    cmd_submit(t, CMD_TLBI_NH_ASID | CMD_ASID(ASID(10)), 0);
    check_translation(ep, 10, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);

    /* Context descriptors: by SSID */
    write_cd(t, PASID, ASID(PASID), TABLES_0, CD_Q0);
    write_cd(t, 10, ASID(10), TABLES_0, CD_Q0);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    cfgi_cd(ep, 10, true);
    cfgi_cd(&t->ep[1], PASID, true);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    check_translation(ep, 10, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    cfgi_cd(ep, PASID, true);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_cd(t, PASID, ASID(PASID), TABLES_1, CD_Q0);
    cmd_submit(t, CMD_CFGI_CD_ALL | CMD_SID(ep->bdf), 0);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);

    /* The stream table entry, which takes the others along */
    write_cd(t, PASID, ASID(PASID), TABLES_0, CD_Q0);
    write_ste(ep, STE_Q0, STE_Q1 & ~STE_EATS(3));
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    cfgi_ste(&t->ep[1]);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_C, PAGE, PERM_RW);
    cfgi_ste(ep);
    check_bad_treq(ep, PASID);
    set_ste(ep, STE_Q0, STE_Q1);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);

    /* What is not there, or is not right, is not kept */
    check_treq(ep, 11, -EIO);
    write_cd(t, 11, ASID(11), TABLES_0, CD_Q0);
    check_translation(ep, 11, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, 11, IOVA + PAGE, WANT_RW, 0, PAGE, 0);
    write_leaf(t, TABLES_0, IOVA + PAGE, PAGE_B | PTE_RW);
    check_translation(ep, 11, IOVA + PAGE, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_no_event(t);
    test_end(t);
}

/*
 * A process has gone, its device has not: with EPD0 nothing is translated, and
 * the other fields do not count
 */
static void test_unbound(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 1, WANT_R, 4);

    write_leaf(t, TABLES_1, IOVA, PAGE_A | PTE_RW);
    fill_atc(ep, PASID, IOVA);
    write_cd(t, PASID, ASID(PASID), 0,
             CD_EPD0 | CD_EPD1 | CD_V | CD_AA64 | CD_A | CD_ASET);
    cfgi_cd(ep, PASID, true);
    tlbi_all(t);
    atc_inv(ep, PASID, false, 0, SIZE_ALL);
    g_assert(!in_atc(ep, PASID, IOVA));
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    /* It may ask; that is for software to refuse */
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, PASID, true, false, true, NULL);
    page_response(ep, PASID, RSP_INVALID, 4);
    check_only_response(ep, RSP_INVALID, 4, PASID, 1);

    /* No descriptor at all, and the same again */
    set_cd(ep, PASID, 0);
    check_treq(ep, PASID, -EIO);
    d.prgi = 5;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, PASID, true, false, true, NULL);
    page_response(ep, PASID, RSP_INVALID, 5);
    check_response(ep, RSP_INVALID, 0, 5, PASID, 1);
    check_no_event(t);
    test_end(t);
}

static void test_many_pasids(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t pasid;
    int round;

    write_ste(ep, STE_V | STE_S1 | CDS | STE_S1CDMAX(10), STE_Q1);
    cfgi_ste(ep);
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, PAGE_B | PTE_RW);
    for (round = 0; round < 2; round++) {
        uint64_t tables = round ? TABLES_1 : TABLES_0;

        for (pasid = 1; pasid < 1024; pasid++) {
            write_cd(t, pasid, ASID(pasid), tables, CD_Q0);
        }
        cmd_submit(t, CMD_CFGI_CD_ALL | CMD_SID(ep->bdf), 0);
        tlbi_all(t);
        for (pasid = 1; pasid < 1024; pasid++) {
            check_translation(ep, pasid, IOVA, WANT_R,
                              round ? PAGE_B : PAGE_A, PAGE, PERM_R);
        }
    }
    check_no_event(t);
    test_end(t);
}

/*
 * Test cases: device caches
 */

static void fill_atc_all(Endpoint *ep)
{
    int i;

    for (i = 0; i < 4; i++) {
        fill_atc(ep, NOP, IOVA + i * PAGE);
        fill_atc(ep, PASID, IOVA + i * PAGE);
    }
}

/* Bit n of each mask is page n */
static void check_atc(Endpoint *ep, unsigned int no_pasid, unsigned int pasid)
{
    int i;

    for (i = 0; i < 4; i++) {
        g_assert_cmpint(in_atc(ep, NOP, IOVA + i * PAGE), ==,
                        no_pasid >> i & 1);
        g_assert_cmpint(in_atc(ep, PASID, IOVA + i * PAGE), ==,
                        pasid >> i & 1);
    }
}

static Test *start_atc(void)
{
    Test *t = test_start();
    int i;

    for (i = 0; i < 4; i++) {
        write_leaf(t, TABLES_0, IOVA + i * PAGE, (PAGE_A + i * PAGE) | PTE_RW);
        write_leaf(t, TABLES_1, IOVA + i * PAGE, (PAGE_A + i * PAGE) | PTE_RW);
    }
    return t;
}

static void test_atc(void)
{
    Test *t = start_atc();
    Endpoint *ep = &t->ep[0];

    fill_atc_all(&t->ep[1]);
    fill_atc_all(ep);
    check_atc(ep, 0xf, 0xf);
    /* One page, two pages; without SSID it is about all of them */
    atc_inv(ep, NOP, false, IOVA + 3 * PAGE, 0);
    check_atc(ep, 0x7, 0x7);
    atc_inv(ep, NOP, false, IOVA, 1);
    check_atc(ep, 0x4, 0x4);
    fill_atc_all(ep);
    /* Global means nothing then */
    atc_inv(ep, NOP, true, IOVA, 2);
    check_atc(ep, 0x0, 0x0);

    fill_atc_all(ep);
    atc_inv(ep, PASID, false, IOVA + 2 * PAGE, 0);
    check_atc(ep, 0xf, 0xb);
    atc_inv(ep, PASID + 1, false, 0, SIZE_ALL);
    check_atc(ep, 0xf, 0xb);
    /* For all SSIDs, whatever the field says */
    write_cd(t, PASID + 1, ASID(PASID + 1), TABLES_1, CD_Q0);
    fill_atc(ep, PASID + 1, IOVA);
    fill_atc(ep, PASID + 1, IOVA + 2 * PAGE);
    atc_inv(ep, 0, true, IOVA, 1);
    check_atc(ep, 0xf, 0x8);
    g_assert(!in_atc(ep, PASID + 1, IOVA));
    g_assert(in_atc(ep, PASID + 1, IOVA + 2 * PAGE));
    check_atc(&t->ep[1], 0xf, 0xf);
    atc_inv(ep, PASID, false, 0, SIZE_ALL);
    check_atc(ep, 0xf, 0x0);
    g_assert(in_atc(ep, PASID + 1, IOVA + 2 * PAGE));

    fill_atc_all(ep);
    atc_inv(ep, NOP, false, 0, SIZE_ALL);
    check_atc(ep, 0x0, 0x0);
    g_assert(!in_atc(ep, PASID + 1, IOVA + 2 * PAGE));
    check_atc(&t->ep[1], 0xf, 0xf);

    /* The largest range that is one, and any address in it */
    fill_atc_all(ep);
    atc_inv(ep, NOP, false, 0, 51);
    check_atc(ep, 0x0, 0x0);

    /* Nobody there, nobody with such a number, and ATS is off */
    cmd_submit(t, CMD_ATC_INV | CMD_SID(0x1234), IOVA);
    cmd_submit(t, CMD_ATC_INV | CMD_SID(0xffffffff), SIZE_ALL);
    cmd_sync(t);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    atc_inv(ep, NOP, false, 0, SIZE_ALL);
    atc_inv(ep, PASID, false, IOVA, 0);
    check_no_event(t);
    test_end(t);
}

/* Only CMD_ATC_INV gets to the cache of a device */
static void test_atc_only(void)
{
    Test *t = start_atc();
    Endpoint *ep = &t->ep[0];

    fill_atc_all(ep);
    write_leaf(t, TABLES_0, IOVA, PAGE_C | PTE_RW);
    tlbi_all(t);
    cmd_submit(t, CMD_TLBI_NH_ALL, 0);
    cmd_submit(t, CMD_TLBI_NH_ASID | CMD_ASID(ASID(NOP)), 0);
    cmd_submit(t, CMD_TLBI_NH_VA | CMD_ASID(ASID(NOP)), IOVA);
    cfgi_all(t);
    cfgi_ste(ep);
    cfgi_cd(ep, 0, true);
    cmd_submit(t, CMD_CFGI_CD_ALL | CMD_SID(ep->bdf), 0);
    check_atc(ep, 0xf, 0xf);
    /* Software that leaves it out finds its data in the wrong place */
    g_assert_cmphex(write_translated(ep, PAGE_C), ==, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_A), !=, UINT64_MAX);
    atc_inv(ep, NOP, false, IOVA, 0);
    g_assert_cmphex(write_translated(ep, PAGE_A), ==, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_C), !=, UINT64_MAX);

    /* The wrong order: the device fetches what is to go */
    write_leaf(t, TABLES_0, IOVA, PAGE_B | PTE_RW);
    atc_inv(ep, NOP, false, IOVA, 0);
    fill_atc(ep, NOP, IOVA);
    cmd_submit(t, CMD_TLBI_NH_VA | CMD_ASID(ASID(NOP)), IOVA);
    cmd_sync(t);
    g_assert_cmphex(write_translated(ep, PAGE_B), ==, UINT64_MAX);

    /* The SMMU is off: the command is taken and does nothing */
    write_cr0(t, CR0_ALL & ~CR0_SMMUEN);
    atc_inv(ep, NOP, false, 0, SIZE_ALL);
    g_assert(in_atc(ep, NOP, IOVA));
    test_end(t);
}

/* CMD_SYNC waits for what devices owe, and for nothing else */
static void test_sync_waits(void)
{
    Test *t = start_atc();
    Endpoint *ep = &t->ep[0];

    fill_atc_all(ep);
    hold_inv(ep, true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, atc_inv_q0(ep, PASID, false), IOVA);
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    g_assert(!in_atc(ep, NOP, IOVA));
    g_assert(!in_atc(ep, PASID, IOVA));
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    take_spi(t->qts, SPI_SYNC);
    cmd_put(t, CMD_SYNC | CMD_SYNC_IRQ, 0);
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 2);
    g_assert_cmphex(gerror(t), ==, 0);
    g_assert(!take_spi(t->qts, SPI_SYNC));
    /* Nor by a ring of the bell */
    smmu_writel(t, SMMU_CMDQ_PROD, t->iq_tail);
    g_assert_cmpuint(cmd_behind(t), ==, 2);
    hold_inv(ep, false);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    g_assert_cmphex(gerror(t), ==, 0);
    g_assert(take_spi(t->qts, SPI_SYNC));

    /* Another device has nothing to do with that */
    hold_inv(&t->ep[1], true);
    atc_inv(ep, NOP, false, IOVA, 0);
    hold_inv(&t->ep[1], false);

    /* One without ATS has completed it: it does not know such requests */
    hold_inv(ep, true);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    atc_inv(ep, NOP, false, IOVA, 0);
    hold_inv(ep, false);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);

    /* Two of them: the last one counts */
    hold_inv(ep, true);
    hold_inv(&t->ep[1], true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, atc_inv_q0(&t->ep[1], NOP, false), IOVA);
    cmd_put(t, CMD_SYNC, 0);
    hold_inv(ep, false);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    hold_inv(&t->ep[1], false);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    test_end(t);
}

/* One command for each register that is read: too early, and in this order */
static void test_lazy_invalidation(void)
{
    Test *t = test_start_with(" -global arm-smmuv3.x-lazy-invalidation=on ");
    Endpoint *ep = &t->ep[0];

    WAIT_FOR(t->qts, !cmd_behind(t));
    write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_0, IOVA, PAGE_B | PTE_RW);
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);

    /* The device before the TLB: it fetches what is to go */
    fill_atc(ep, NOP, IOVA);
    write_leaf(t, TABLES_0, IOVA, PAGE_C | PTE_RW);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    g_assert(!in_atc(ep, NOP, IOVA));
    fill_atc(ep, NOP, IOVA);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    g_assert_cmphex(write_translated(ep, PAGE_B), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_C), ==, UINT64_MAX);

    /* The right order, and what is waited for */
    take_spi(t->qts, SPI_SYNC);
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, CMD_SYNC | CMD_SYNC_IRQ, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 2);
    fill_atc(ep, NOP, IOVA);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    g_assert(!in_atc(ep, NOP, IOVA));
    fill_atc(ep, NOP, IOVA);
    g_assert(!take_spi(t->qts, SPI_SYNC));
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    g_assert(take_spi(t->qts, SPI_SYNC));
    g_assert_cmphex(write_translated(ep, PAGE_C), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_B), ==, UINT64_MAX);
    test_end(t);
}

static void test_timeout(void)
{
    Test *t = start_atc();
    Endpoint *ep = &t->ep[0];

    fill_atc_all(ep);
    take_spi(t->qts, SPI_GERROR);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_REFUSE_INV);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    g_assert_cmphex(gerror(t), ==, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    cmd_put(t, CMD_SYNC, 0);
    check_sync_error(t, 1);
    g_assert(take_spi(t->qts, SPI_GERROR));
    /* Nothing happens until software has acknowledged it */
    cmd_put(t, CMD_TLBI_NSNH_ALL, 0);
    check_sync_error(t, 2);
    g_assert(!take_spi(t->qts, SPI_GERROR));
    ack_gerror(t);
    g_assert_cmphex(gerror(t), ==, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, 0);
    atc_inv(ep, NOP, false, IOVA, 0);

    /* A reset loses what was withheld */
    hold_inv(ep, true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, CMD_SYNC, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    reset_function(ep);
    check_sync_error(t, 1);
    ack_gerror(t);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    atc_inv(ep, NOP, false, IOVA, 0);

    /* One is late, the other one is not */
    ep_map(ep);
    ep_enable(ep, 32);
    hold_inv(ep, true);
    hold_inv(&t->ep[1], true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, atc_inv_q0(&t->ep[1], NOP, false), IOVA);
    cmd_put(t, CMD_SYNC, 0);
    hold_inv(&t->ep[1], false);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    reset_function(ep);
    check_sync_error(t, 1);
    ack_gerror(t);
    cmd_sync(t);

    /* The system is reset while the queue waits */
    ep_map(ep);
    ep_enable(ep, 32);
    hold_inv(ep, true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, CMD_SYNC, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    qtest_system_reset(t->qts);
    start_machine(t, CD_Q0);
    cmd_sync(t);
    atc_inv(ep, NOP, false, IOVA, 0);
    test_end(t);
}

/*
 * Test cases: translated accesses
 */

static void test_translated_access(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = {
        .op = IOPF_TD_OP_READ,
        .mode = IOPF_TD_MODE_RAW,
        .iova = PAGE_B,
        .length = 4,
        .ram = IOPF_TD_RAM_DATA,
    };
    Event e;

    g_assert(raw_arrives(ep, PAGE_A));
    /* No memory there, and beyond any: no event of the SMMU */
    g_assert_cmpuint(ep_write_raw(ep, 1ULL << 48), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);

    set_ste(ep, STE_Q0, STE_Q1 & ~STE_EATS(3));
    g_assert(!raw_arrives(ep, PAGE_B));
    e = check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    g_assert_cmphex(e.q[2], ==, PAGE_B);
    g_assert_cmphex(extract64(e.q[1], 35, 1), ==, 0);
    g_assert_cmpuint(ep_run(ep, &d), ==, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    g_assert_cmphex(extract64(e.q[1], 35, 1), ==, 1);
    /* Not asked */
    write_cr0(t, CR0_ALL & ~CR0_ATSCHK);
    g_assert(raw_arrives(ep, PAGE_B));
    check_no_event(t);
    write_cr0(t, CR0_ALL);
    g_assert(!raw_arrives(ep, PAGE_B));
    check_event(ep, F_TRANSL_FORBIDDEN, NOP);

    set_ste(ep, STE_V | STE_BYPASS, STE_Q1);
    g_assert(!raw_arrives(ep, PAGE_B));
    check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    /* In silence */
    set_ste(ep, STE_V | STE_ABORT, STE_Q1);
    g_assert(!raw_arrives(ep, PAGE_B));
    set_ste(ep, STE_Q0 & ~STE_V, STE_Q1);
    g_assert(!raw_arrives(ep, PAGE_B));
    check_no_event(t);
    /* A context descriptor is not needed */
    write_cd(t, 0, 1, 0, 0);
    set_ste(ep, STE_Q0, STE_Q1);
    g_assert(raw_arrives(ep, PAGE_B));

    write_cr0(t, CR0_ALL & ~CR0_SMMUEN);
    g_assert(!raw_arrives(ep, PAGE_B));
    check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    write_cr0(t, CR0_ALL & ~(CR0_SMMUEN | CR0_ATSCHK));
    g_assert(!raw_arrives(ep, PAGE_B));
    check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    test_end(t);
}

/*
 * Software takes the right to translated accesses from a function, and forgets
 * to invalidate its cache: what the function does with it goes nowhere.
 */
static void test_translated_cached(void)
{
    Test *t = start_atc();
    Endpoint *ep = &t->ep[0];
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = IOVA,
        .length = 4,
    };

    fill_atc(ep, NOP, IOVA);
    g_assert_cmphex(write_translated(ep, PAGE_A), !=, UINT64_MAX);
    set_ste(ep, STE_Q0, STE_Q1 & ~STE_EATS(3));
    g_assert(in_atc(ep, NOP, IOVA));
    qtest_writeq(t->qts, PAGE_A, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), ==, UINT64_MAX);
    check_event(ep, F_TRANSL_FORBIDDEN, NOP);
    /* Untranslated accesses are a matter of their own */
    check_untranslated(ep, IOVA, PAGE_A);
    check_no_event(t);

    /* A device that goes on when software has switched it off */
    set_ste(ep, STE_Q0, STE_Q1);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_KEEP_ATC |
              IOPF_TD_HOSTILE_FORCE_ATS);
    set_ste(ep, STE_Q0, STE_Q1 & ~STE_EATS(3));
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    g_assert_cmpuint(ep_run(ep, &d), !=, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, 0);
    test_end(t);
}

/*
 * Test cases: both stages
 */

/* Faults of stage 2 are recorded */
#define S2_CFG      (STE_Q2 | STE_S2R)
#define VMID        3

/* The tables and the second half of that gigabyte where they are */
static Test *start_nested(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t block = PTE_S2_RW & ~2ULL;

    write_paging(t, TABLES_S2, PTE_TABLE);
    /* 2 MiB of tables, and 2 MiB where they are two MiB further */
    write_leaf_2m(t, TABLES_S2, VIRT_RAM, VIRT_RAM | block);
    qtest_writeq(t->qts, TABLES_S2 + 2 * PAGE,
                 (TABLES_S2 + 3 * PAGE) | PTE_TABLE);
    write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG, TABLES_S2);
    inv_tables(t);
    return t;
}

static void test_nested(void)
{
    Test *t = start_nested();
    Endpoint *ep = &t->ep[0];
    uint64_t block = PTE_S2_RW & ~2ULL;
    uint64_t ipa = VIRT_RAM + 0x800000;

    /* The tables lie where they are; the page does not */
    write_leaf_2m(t, TABLES_S2, VIRT_RAM, VIRT_RAM | block);
    write_leaf_2m(t, TABLES_S2, ipa, (DATA & ~0x1fffffULL) | block);
    write_leaf(t, TABLES_0, IOVA, (ipa + 0x1000) | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, (ipa + 0x2000) | PTE_RW);
    inv_tables(t);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    check_untranslated(ep, IOVA, PAGE_A);

    /* What the second stage does not allow, or have */
    write_leaf_2m(t, TABLES_S2, ipa,
                  (DATA & ~0x1fffffULL) | (PTE_S2_R & ~2ULL));
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_R);
    write_leaf_2m(t, TABLES_S2, ipa, 0);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, PAGE, 0);
    /* The tables of the first one */
    write_leaf_2m(t, TABLES_S2, VIRT_RAM, 0);
    tlbi_all(t);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    /* ... and the context descriptors */
    inv_tables(t);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_no_event(t);

    /* There is no split */
    write_ste_s2(ep, NESTED_Q0, STE_Q1 ^ STE_EATS(3), S2_CFG, TABLES_S2);
    inv_tables(t);
    check_treq(ep, NOP, -EIO);
    check_untranslated_fault(ep, IOVA, C_BAD_STE);
    test_end(t);
}

/* Only the second stage: without the first one, or for what has no PASID */
static void test_second_stage(void)
{
    Test *t = start_nested();
    Endpoint *ep = &t->ep[0];
    uint64_t block = PTE_S2_RW & ~2ULL;

    write_leaf_2m(t, TABLES_S2, VIRT_RAM, VIRT_RAM | block);
    write_leaf_2m(t, TABLES_S2, IOVA_2M, PAGE_2M | block);
    write_leaf(t, TABLES_1, IOVA, (IOVA_2M + 0x3000) | PTE_RW);
    write_ste_s2(ep, NESTED_Q0, (STE_Q1 & ~STE_S1DSS) | STE_S1DSS_BYPASS,
                 S2_CFG, TABLES_S2);
    inv_tables(t);
    check_translation(ep, NOP, IOVA_2M, WANT_RW, PAGE_2M, 0x200000, PERM_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_2M + 0x3000, PAGE,
                      PERM_RW);
    check_untranslated(ep, IOVA_2M + 0x100, PAGE_2M + 0x100);
    check_translation(ep, NOP, IOVA_2M + 0x200000, WANT_RW, 0, PAGE, 0);

    write_ste_s2(ep, STE_V | STE_S2, STE_Q1, S2_CFG, TABLES_S2);
    inv_tables(t);
    check_translation(ep, NOP, IOVA_2M, WANT_RW, PAGE_2M, 0x200000, PERM_RW);
    check_translation(ep, NOP, IOVA_2M + 0x200000, WANT_RW, 0, PAGE, 0);
    check_no_event(t);
    check_untranslated_fault(ep, IOVA_2M + 0x200000, F_TRANSLATION);
    test_end(t);
}

/*
 * Test cases: page requests
 */

static void test_page_request(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 3, WANT_RW, 17);
    uint64_t rw = PRI_R | PRI_W;
    int i;

    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 3);
    for (i = 0; i < 3; i++) {
        check_entry(t, i, pri_entry_q0(ep, NOP, i < 2 ? rw : rw | PRI_LAST),
                    IOVA + i * PAGE, 17);
    }
    g_assert_cmpuint(outstanding(ep), ==, 3);
    page_response(ep, NOP, RSP_SUCCESS, 17);
    check_only_response(ep, RSP_SUCCESS, 17, NOP, 3);
    g_assert_cmpuint(outstanding(ep), ==, 0);

    /* From the other device, with PASID, and with the bits that it brings */
    d = group_request(PASID, IOVA + 7 * PAGE, 1, WANT_R | IOPF_TD_F_EXEC |
                      IOPF_TD_F_PRIV, 511);
    ep_check(&t->ep[1], &d, IOPF_TD_ST_OK);
    check_entry(t, 3, pri_entry_q0(&t->ep[1], PASID, PRI_R | PRI_X | PRI_PRIV |
                                   PRI_LAST), IOVA + 7 * PAGE, 511);
    /* The answer finds its device and PASID */
    page_response(ep, PASID, RSP_INVALID, 511);
    page_response(&t->ep[1], PASID, RSP_INVALID, 511);
    check_only_response(&t->ep[1], RSP_INVALID, 511, PASID, 1);
    /* The one that goes to the wrong device is noticed there */
    check_response(ep, RSP_INVALID, IOPF_TD_RSP_F_UNMATCHED, 511, PASID, 0);
    g_assert(take_unexpected(ep));

    /* The whole of a PASID, and of an address */
    d = group_request(0xfffff, 0xfffffffffffff000ULL, 1, WANT_W, 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_entry(t, 4, pri_entry_q0(ep, 0xfffff, PRI_W | PRI_LAST),
                0xfffffffffffff000ULL, 0);
    page_response(ep, 0xfffff, RSP_INVALID, 0);

    /* A stop marker takes a slot and no credit, even without the PASID */
    d = (Desc) {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 6);
    g_assert_cmphex(qtest_readq(t->qts, PRIQ + 5 * 16), ==,
                    pri_entry_q0(ep, 11, PRI_LAST));
    /* That is no stop marker, but a request for nothing */
    d = group_request(NOP, IOVA, 1, 0, 9);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_entry(t, 6, pri_entry_q0(ep, NOP, PRI_LAST), IOVA, 9);
    g_assert_cmpuint(outstanding(ep), ==, 1);
    page_response(ep, NOP, RSP_SUCCESS, 9);
    g_assert_cmpuint(outstanding(ep), ==, 0);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

static void test_groups(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d;

    /* The same index with and without PASID, and of two PASIDs */
    d = group_request(NOP, IOVA, 1, WANT_R, 3);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    d = group_request(PASID, IOVA, 1, WANT_R, 3);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    d = group_request(PASID + 1, IOVA, 1, WANT_R, 3);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(outstanding(ep), ==, 3);
    page_response(ep, PASID + 1, RSP_SUCCESS, 3);
    check_response(ep, RSP_SUCCESS, 0, 3, PASID + 1, 1);
    page_response(ep, NOP, RSP_INVALID, 3);
    check_response(ep, RSP_INVALID, 0, 3, NOP, 1);
    page_response(ep, PASID, RSP_SUCCESS, 3);
    check_response(ep, RSP_SUCCESS, 0, 3, PASID, 1);
    g_assert_cmpuint(outstanding(ep), ==, 0);

    /* Without an end: the SMMU does not wait for one, and never answers */
    d = group_request(PASID, IOVA, 3, WANT_R, 8);
    d.flags |= IOPF_TD_F_NOLAST;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 6);
    check_entry(t, 5, pri_entry_q0(ep, PASID, PRI_R), IOVA + 2 * PAGE, 8);
    g_assert_cmpuint(responses(ep), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_PARTIAL), ==, 1);
    check_no_event(t);
    test_end(t);
}

static void test_wrong_pasid(void)
{
    Test *t = test_start();

    check_wrong_pasid(t, PASID);
    test_end(t);
}

static void test_without_bus_master(void)
{
    Test *t = test_start();

    check_without_bus_master(&t->ep[0]);
    test_end(t);
}

static void test_guest_errors(void)
{
    check_guest_errors(test_start_with);
}

static void test_demand_paging(void)
{
    Test *t = test_start();

    check_demand_paging(&t->ep[0], PAGE_A, map_page);
    check_no_event(t);
    test_end(t);
}

static void test_response_codes(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 1, WANT_R, 1);
    uint64_t q0 = CMD_PRI_RESP | CMD_SSV | CMD_SSID(PASID) | CMD_SID(ep->bdf);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    pri_resp(ep, PASID, 1, 2);
    check_response(ep, RSP_SUCCESS, 0, 1, PASID, 1);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    pri_resp(ep, PASID, 1, 1);
    check_response(ep, RSP_INVALID, 0, 1, PASID, 1);

    /* Neither of these gets to the device */
    ep_check(ep, &d, IOPF_TD_ST_OK);
    cmd_submit_bad(t, q0, 1 | 3 << 12, CERROR_ILL);
    cmd_submit_bad(t, q0 | CMD_SSEC, 1 | 2 << 12, CERROR_ILL);
    write_cr0(t, CR0_ALL & ~CR0_SMMUEN);
    pri_resp(ep, PASID, 1, 2);
    write_cr0(t, CR0_ALL);
    /* Nobody there, or nobody with such a number */
    cmd_submit(t, CMD_PRI_RESP | CMD_SID(0x1234), 2 << 12);
    cmd_submit(t, CMD_PRI_RESP | CMD_SID(0xffffffff), 2 << 12);
    g_assert_cmpuint(responses(ep), ==, 2);
    g_assert_cmpuint(outstanding(ep), ==, 1);
    g_assert(!take_unexpected(ep));

    /* A group that nobody asked for */
    pri_resp(ep, PASID, 100, 2);
    check_response(ep, RSP_SUCCESS, IOPF_TD_RSP_F_UNMATCHED, 100, PASID, 0);
    g_assert(take_unexpected(ep));

    /* This one stops it until the interface is enabled anew */
    pri_resp(ep, PASID, 1, 0);
    g_assert_cmphex(last_response(ep).code, ==, RSP_FAILURE);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    ep_check(ep, &d, IOPF_TD_ST_RSP_FAILURE);
    enable_pri_anew(ep);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    pri_resp(ep, PASID, 1, 2);
    check_response(ep, RSP_SUCCESS, 0, 1, PASID, 1);
    test_end(t);
}

/* A device whose responses carry no PASID */
static void test_response_without_pasid(void)
{
    g_autofree char *args = g_strconcat(VIRT_SMMU,
        "-device iopf-testdev,bus=pcie.0,addr=4.0,prg-resp-pasid=off "
        "-device iopf-testdev,bus=pcie.0,addr=5.0,prg-resp-pasid=on ", NULL);
    Test *t = test_new(args);
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 1, WANT_R, 1);

    start_machine(t, CD_Q0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    page_response(ep, NOP, RSP_SUCCESS, 1);
    g_assert_cmpuint(outstanding(ep), ==, 0);
    g_assert(!take_unexpected(ep));
    test_end(t);
}

/* No table is asked whether a device may send a message */
static void test_no_table_needed(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 1, WANT_R, 0);
    int i;

    for (i = 0; i < ARRAY_SIZE(malformed); i++) {
        const Malformed *m = &malformed[i];

        g_test_message("%s", m->name);
        write_tables(t, CD_Q0);
        m->break_it(ep);
        inv_tables(t);
        d.prgi++;
        ep_check(ep, &d, IOPF_TD_ST_OK);
        check_request(ep, IOVA, PASID, true, false, true, NULL);
        page_response(ep, PASID, RSP_SUCCESS, d.prgi);
        check_response(ep, RSP_SUCCESS, 0, d.prgi, PASID, 1);
    }
    write_cr0(t, CR0_ALL & ~CR0_ATSCHK);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, PASID, true, false, true, NULL);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

/* PRIQEN is effective with SMMUEN only */
static void test_queue_disabled(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);
    Desc stop = {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };

    ep_check(ep, &d, IOPF_TD_ST_OK);
    write_cr0(t, CR0_ALL & ~CR0_PRIQEN);
    /* What was in the queue stays, and what is not is lost */
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 1);
    page_response(ep, NOP, RSP_SUCCESS, 1);
    check_auto_failure(ep, 2);
    write_cr0(t, CR0_ALL & ~CR0_SMMUEN);
    check_auto_failure(ep, 3);
    /* No answer to a stop marker, nor to what is not the last of its group */
    ep_check(ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmpuint(responses(ep), ==, 3);
    d = group_request(NOP, IOVA, 2, WANT_R, 4);
    d.flags |= IOPF_TD_F_NOLAST;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(responses(ep), ==, 3);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 1);
    enable_pri_anew(ep);

    write_cr0(t, CR0_ALL);
    d = group_request(NOP, IOVA, 1, WANT_R, 5);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 2);
    page_response(ep, NOP, RSP_SUCCESS, 5);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

static void move_priq(Test *t, uint64_t base)
{
    write_cr0(t, CR0_ALL & ~CR0_PRIQEN);
    smmu_writeq(t, SMMU_PRIQ_BASE, base | PRIQ_ORDER);
    write_cr0(t, CR0_ALL);
}

/* The queue is not in memory */
static void test_queue_abort(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 5);

    take_spi(t->qts, SPI_GERROR);
    take_spi(t->qts, SPI_PRIQ);
    move_priq(t, NOWHERE);
    check_auto_failure(ep, 1);
    g_assert_cmphex(gerror(t), ==, GERROR_PRIQ_ABT);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
    g_assert(take_spi(t->qts, SPI_GERROR));
    g_assert(!take_spi(t->qts, SPI_PRIQ));

    /* The queue is off until software has seen that */
    move_priq(t, PRIQ);
    check_auto_failure(ep, 2);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
    g_assert_cmphex(smmu_readl(t, SMMU_CR0ACK), ==, CR0_ALL);
    g_assert(!take_spi(t->qts, SPI_GERROR));
    ack_gerror(t);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, NOP, true, false, true, NULL);
    page_response(ep, NOP, RSP_SUCCESS, 5);
    /* Commands go on meanwhile */
    move_priq(t, NOWHERE);
    check_auto_failure(ep, 3);
    cmd_sync(t);
    ack_gerror(t);
    check_no_event(t);
    test_end(t);
}

/* Fill the queue by one group without PASID, with index 1 */
static void fill_queue(Endpoint *ep)
{
    Desc d = group_request(NOP, IOVA, PRIQ_ENTRIES, WANT_R, 1);
    uint32_t prod = smmu_readl(ep->t, SMMU_PRIQ_PROD);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(smmu_readl(ep->t, SMMU_PRIQ_PROD), ==,
                    prod ^ PRIQ_ENTRIES);
}

/* An overflow has to be there, and nothing is written whatever room there is */
static void check_overflow_active(Test *t, uint32_t prod)
{
    uint32_t now = smmu_readl(t, SMMU_PRIQ_PROD);

    g_assert_cmphex(now & ~OVERFLOW_FLAG, ==, prod & ~OVERFLOW_FLAG);
    g_assert_cmphex((now ^ smmu_readl(t, SMMU_PRIQ_CONS)) & OVERFLOW_FLAG, ==,
                    OVERFLOW_FLAG);
}

static void test_overflow(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc stop = {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };
    uint32_t prod, flag = 0;
    unsigned before;
    Desc d;
    int i;

    /* Not at the beginning, so that the index has to wrap */
    d = group_request(NOP, IOVA, 3, WANT_R, 2);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    page_response(ep, NOP, RSP_SUCCESS, 2);
    drain_requests(t);

    for (i = 0; i < 4; i++) {
        fill_queue(ep);
        prod = smmu_readl(t, SMMU_PRIQ_PROD);
        g_assert_cmphex(prod & OVERFLOW_FLAG, ==, flag);

        /* One more does not fit */
        d = group_request(NOP, IOVA, 1, WANT_R, 2);
        check_automatic(ep, &d, RSP_SUCCESS);
        check_overflow_active(t, prod);
        flag ^= OVERFLOW_FLAG;
        g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==,
                        (prod & ~OVERFLOW_FLAG) | flag);
        /* The flag does not come and go */
        check_automatic(ep, &d, RSP_SUCCESS);
        check_overflow_active(t, prod);

        /* There is room; all but the flag is acknowledged */
        smmu_writel(t, SMMU_PRIQ_CONS, (prod & ~OVERFLOW_FLAG) |
                    (flag ^ OVERFLOW_FLAG));
        check_automatic(ep, &d, RSP_SUCCESS);
        before = responses(ep);
        ep_check(ep, &stop, IOPF_TD_ST_OK);
        d = group_request(NOP, IOVA, 2, WANT_R, 3 + i);
        d.flags |= IOPF_TD_F_NOLAST;
        ep_check(ep, &d, IOPF_TD_ST_OK);
        g_assert_cmpuint(responses(ep), ==, before);
        check_overflow_active(t, prod);

        drain_requests(t);
        d = group_request(NOP, IOVA, 1, WANT_R, 2);
        ep_check(ep, &d, IOPF_TD_ST_OK);
        check_request(ep, IOVA, NOP, true, false, true, NULL);
        page_response(ep, NOP, RSP_SUCCESS, 2);
        page_response(ep, NOP, RSP_SUCCESS, 1);
        check_response(ep, RSP_SUCCESS, 0, 1, NOP, PRIQ_ENTRIES);
    }
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

/* The answer to a request with PASID that did not fit */
static void check_overflow_answer(Endpoint *ep, uint32_t pasid, uint8_t code,
                                  bool with_pasid)
{
    Desc d = group_request(pasid, IOVA, 1, WANT_R, 77);
    unsigned before = responses(ep);
    Response r;

    ep_run(ep, &d);
    g_assert_cmpuint(responses(ep), ==, before + 1);
    r = last_response(ep);
    g_assert_cmphex(r.code, ==, code);
    g_assert_cmpuint(r.prgi, ==, 77);
    g_assert_cmphex(r.pasid, ==, with_pasid ? pasid : NOP);
    /* The device wants one, so without it is none of its groups */
    g_assert_cmphex(r.flags, ==, with_pasid ? IOPF_TD_RSP_F_AUTO :
                    IOPF_TD_RSP_F_UNMATCHED);
    enable_pri_anew(ep);
}

/* PPAR of the STE, and what is wrong with it, matter only there */
static void test_overflow_ppar(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Endpoint *other = &t->ep[1];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 2);

    fill_queue(ep);
    check_automatic(ep, &d, RSP_SUCCESS);

    set_ste(other, STE_Q0, STE_Q1 | STE_PPAR);
    check_overflow_answer(other, PASID, RSP_SUCCESS, true);
    /* Neither the SSID nor EATS counts */
    check_overflow_answer(other, 0xfffff, RSP_SUCCESS, true);
    set_ste(other, STE_Q0, (STE_Q1 | STE_PPAR) & ~STE_EATS(3));
    check_overflow_answer(other, PASID, RSP_SUCCESS, true);
    set_ste(other, STE_Q0, STE_Q1);
    check_overflow_answer(other, PASID, RSP_SUCCESS, false);

    set_ste(other, STE_Q0 & ~STE_V, STE_Q1 | STE_PPAR);
    check_overflow_answer(other, PASID, RSP_FAILURE, false);
    /* Without PASID there is nothing to look up */
    check_overflow_answer(other, NOP, RSP_SUCCESS, true);
    set_ste(other, STE_Q0, STE_Q1 | STE_PPAR | STE_S1STALLD);
    check_overflow_answer(other, PASID, RSP_FAILURE, false);
    break_ste_fetch(other);
    inv_tables(t);
    check_overflow_answer(other, PASID, RSP_FAILURE, false);
    break_ste_span(other);
    inv_tables(t);
    check_overflow_answer(other, PASID, RSP_FAILURE, false);
    check_no_event(t);

    if (smmu_readl(t, SMMU_IDR0) & IDR0_ATSRECERR) {
        write_cr2(t, CR2_PTM | CR2_RECINVSID | CR2_REC_CFG_ATS);
        check_overflow_answer(other, PASID, RSP_FAILURE, false);
        check_event(other, C_BAD_STREAMID, PASID);
    }
    test_end(t);
}

/* Ten thousand requests that do not fit, and nothing grows of it */
static void test_overflow_storm(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t prod;
    Desc d;

    fill_queue(ep);
    prod = smmu_readl(t, SMMU_PRIQ_PROD);
    ep_writel(ep, IOPF_TD_REG_STORM_COUNT, 10000);
    ep_writeq(ep, IOPF_TD_REG_STORM_ADDR, IOVA);
    ep_writel(ep, IOPF_TD_REG_STORM_FLAGS, IOPF_TD_STORM_F_READ);
    ep_writel(ep, IOPF_TD_REG_STORM_GO, 1);
    WAIT_FOR(t->qts, !(ep_readl(ep, IOPF_TD_REG_STATUS) &
                       IOPF_TD_STATUS_STORM));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_FULL), ==, 10000);
    check_overflow_active(t, prod);
    g_assert_cmpuint(outstanding(ep), ==, PRIQ_ENTRIES);
    g_assert(!take_unexpected(ep));

    drain_requests(t);
    page_response(ep, NOP, RSP_SUCCESS, 1);
    d = group_request(NOP, IOVA, 1, WANT_R, 2);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, NOP, true, false, true, NULL);
    page_response(ep, NOP, RSP_SUCCESS, 2);
    g_assert_cmpuint(outstanding(ep), ==, 0);
    check_no_event(t);
    test_end(t);
}

/* A device that was never told to send requests, or that may not any more */
static void test_unasked(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 6);

    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    ep_run(ep, &d);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FORCE_PRI);
    ep_run(ep, &d);
    /* Whatever the bus made of it, an answer does no harm */
    page_response(ep, NOP, RSP_INVALID, 6);
    drain_requests(t);
    cmd_sync(t);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

static void run_request(Endpoint *ep, uint16_t prgi, uint16_t flags)
{
    Desc d = group_request(NOP, IOVA, 1, WANT_R, prgi);

    d.flags |= flags;
    ep_check(ep, &d, IOPF_TD_ST_OK);
}

static void test_interrupt(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    /* Only when the queue was empty */
    take_spi(t->qts, SPI_PRIQ);
    run_request(ep, 1, IOPF_TD_F_NOLAST);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    run_request(ep, 2, 0);
    g_assert(!take_spi(t->qts, SPI_PRIQ));
    drain_requests(t);
    g_assert(!take_spi(t->qts, SPI_PRIQ));
    run_request(ep, 3, 0);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    drain_requests(t);

    /* Switched off */
    smmu_writel(t, SMMU_IRQ_CTRL, IRQ_GERROR | IRQ_EVENTQ);
    run_request(ep, 4, 0);
    g_assert(!take_spi(t->qts, SPI_PRIQ));
    drain_requests(t);

    /* By the last of each group, and only by it */
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG2, PRIQ_LO);
    smmu_writel(t, SMMU_IRQ_CTRL, IRQ_GERROR | IRQ_EVENTQ | IRQ_PRIQ);
    run_request(ep, 5, IOPF_TD_F_NOLAST);
    g_assert(!take_spi(t->qts, SPI_PRIQ));
    run_request(ep, 6, 0);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    run_request(ep, 7, 0);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    drain_requests(t);
    /* Even if it is lost by an overflow */
    fill_queue(ep);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    ep_writel(ep, IOPF_TD_REG_PRI_FULL_RETRY, 0);
    run_request(ep, 8, 0);
    g_assert(take_spi(t->qts, SPI_PRIQ));
    run_request(ep, 9, IOPF_TD_F_NOLAST);
    g_assert(!take_spi(t->qts, SPI_PRIQ));

    /* The others have lines of their own */
    take_spi(t->qts, SPI_EVENTQ);
    check_untranslated_fault(ep, IOVA, F_TRANSLATION);
    g_assert(take_spi(t->qts, SPI_EVENTQ));
    g_assert(!take_spi(t->qts, SPI_PRIQ));
    g_assert(!take_spi(t->qts, SPI_GERROR));
    take_spi(t->qts, SPI_SYNC);
    cmd_sync(t);
    g_assert(!take_spi(t->qts, SPI_SYNC));
    cmd_submit(t, CMD_SYNC | CMD_SYNC_IRQ, 0);
    g_assert(take_spi(t->qts, SPI_SYNC));
    test_end(t);
}

/*
 * Test cases: commands and events
 */

static void test_commands(void)
{
    static const uint64_t absent[] = {
        0x00, 0x07, 0x0f, CMD_TLBI_EL3_ALL, CMD_TLBI_EL3_ALL + 2,
        CMD_TLBI_EL2_ALL, CMD_TLBI_EL2_ALL + 1, CMD_TLBI_EL2_ALL + 2,
        CMD_TLBI_EL2_ALL + 3, 0x42, 0x43, CMD_RESUME, CMD_STALL_TERM, 0x47,
        0x50, 0x60, 0x7f, 0x80, 0xff, CMD_SYNC | CMD_SYNC_ILL,
    };
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    for (i = 0; i < ARRAY_SIZE(absent); i++) {
        g_test_message("command 0x%" PRIx64, absent[i]);
        cmd_submit_bad(t, absent[i] | CMD_SID(ep->bdf), 0, CERROR_ILL);
    }
    /* An invalidation that is for the secure world */
    cmd_submit_bad(t, CMD_ATC_INV | CMD_SSEC | CMD_SID(ep->bdf), SIZE_ALL,
                   CERROR_ILL);
    /* These are there */
    cmd_submit(t, CMD_PREFETCH_CONFIG | CMD_SID(ep->bdf), 0);
    cmd_submit(t, CMD_CFGI_STE | CMD_SID(0xffff), 1);
    cmd_submit(t, CMD_CFGI_STE_RANGE | CMD_SID(ep->bdf), 3);
    cmd_submit(t, CMD_CFGI_CD | CMD_SID(ep->bdf) | CMD_SSID(0xfffff), 1);
    cmd_submit(t, CMD_CFGI_CD_ALL | CMD_SID(0x1234), 0);
    cmd_submit(t, CMD_TLBI_NH_ALL, 0);
    cmd_sync(t);

    /* The queue is not in memory */
    take_spi(t->qts, SPI_GERROR);
    write_cr0(t, CR0_ALL & ~CR0_CMDQEN);
    smmu_writeq(t, SMMU_CMDQ_BASE, NOWHERE | CMDQ_LOG2);
    write_cr0(t, CR0_ALL);
    cmd_put(t, CMD_SYNC, 0);
    g_assert_cmphex(gerror(t), ==, GERROR_CMDQ);
    g_assert(take_spi(t->qts, SPI_GERROR));
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_CMDQ_CONS), 24, 7), ==,
                     CERROR_ABT);
    write_cr0(t, CR0_ALL & ~CR0_CMDQEN);
    smmu_writeq(t, SMMU_CMDQ_BASE, CMDQ | CMDQ_LOG2);
    write_cr0(t, CR0_ALL);
    ack_gerror(t);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    test_end(t);
}

/* The event queue is full: events are lost, and software can know */
static void test_event_overflow(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t prod;
    Event e;
    int i;

    for (i = 0; i < 1 << EVTQ_LOG2; i++) {
        ep_write_untranslated(ep, IOVA + i * PAGE);
    }
    prod = smmu_readl(t, SMMU_EVENTQ_PROD);
    g_assert_cmphex(prod, ==, 1 << EVTQ_LOG2);
    ep_write_untranslated(ep, IOVA);
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==, prod | OVERFLOW_FLAG);
    ep_write_untranslated(ep, IOVA);
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==, prod | OVERFLOW_FLAG);
    g_assert_cmphex(gerror(t), ==, 0);

    /* As soon as there is room, acknowledged or not */
    smmu_writel(t, SMMU_EVENTQ_CONS, 1);
    t->evq_head = 1;
    ep_write_untranslated(ep, IOVA + 0x1ff * PAGE);
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==,
                    (prod + 1) | OVERFLOW_FLAG);
    for (i = 1; i < 1 << EVTQ_LOG2; i++) {
        g_assert_cmphex(take_event(t, &e), ==, F_TRANSLATION);
        g_assert_cmphex(e.q[2], ==, IOVA + i * PAGE);
    }
    g_assert_cmphex(take_event(t, &e), ==, F_TRANSLATION);
    g_assert_cmphex(e.q[2], ==, IOVA + 0x1ff * PAGE);
    check_no_event(t);
    /* Acknowledged by now; the next one toggles the flag back */
    for (i = 0; i <= 1 << EVTQ_LOG2; i++) {
        ep_write_untranslated(ep, IOVA);
    }
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD) & OVERFLOW_FLAG, ==, 0);

    /* Not in memory */
    take_spi(t->qts, SPI_GERROR);
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    smmu_writel(t, SMMU_EVENTQ_CONS, smmu_readl(t, SMMU_EVENTQ_PROD));
    smmu_writeq(t, SMMU_EVENTQ_BASE, NOWHERE | EVTQ_LOG2);
    write_cr0(t, CR0_ALL);
    ep_write_untranslated(ep, IOVA);
    g_assert_cmphex(gerror(t), ==, GERROR_EVENTQ_ABT);
    g_assert(take_spi(t->qts, SPI_GERROR));
    ack_gerror(t);
    test_end(t);
}

/* Reset with everything under way; then it works again */
static void test_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 8, WANT_RW, 5);
    Desc fill = {
        .op = IOPF_TD_OP_FILL, .iova = IOVA + 9 * PAGE, .length = PAGE,
    };
    int i;

    for (i = 0; i < 3; i++) {
        write_leaf(t, TABLES_0, IOVA, PAGE_A | PTE_RW);
        fill_atc(ep, NOP, IOVA);
        ep_check(ep, &d, IOPF_TD_ST_OK);
        ep_start(ep, &fill);
        WAIT_FOR(t->qts, smmu_readl(t, SMMU_PRIQ_PROD) == 9);
        switch (i) {
        case 0:
            break;
        case 1:
            d.prgi++;
            d.length = 16 * PAGE;
            ep_check(ep, &d, IOPF_TD_ST_OK);
            d.prgi--;
            d.length = 8 * PAGE;
            break;
        case 2:
            hold_inv(ep, true);
            cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
            cmd_put(t, CMD_SYNC, 0);
            break;
        }
        qtest_system_reset(t->qts);

        start_machine(t, CD_Q0);
        g_assert_cmpuint(outstanding(ep), ==, 0);
        g_assert(!in_atc(ep, NOP, IOVA));
        check_translation(ep, NOP, IOVA, WANT_RW, 0, PAGE, 0);
        g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 0);
        ep_check(ep, &d, IOPF_TD_ST_OK);
        page_response(ep, PASID, RSP_SUCCESS, 5);
        check_only_response(ep, RSP_SUCCESS, 5, PASID, 8);
        drain_requests(t);
        write_cr0(t, 0);
        start_machine(t, CD_Q0);
        reset_function(ep);
        start_machine(t, CD_Q0);
    }
    test_end(t);
}

/* Only the function, with requests and a transfer open */
static void test_function_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 4, WANT_RW, 5);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    reset_function(ep);
    /* Answers to what it does not know any more */
    page_response(ep, PASID, RSP_SUCCESS, 5);
    atc_inv(ep, PASID, false, 0, SIZE_ALL);
    drain_requests(t);
    ep_map(ep);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 16);
    take_unexpected(ep);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, PASID, true, true, false, NULL);
    page_response(ep, PASID, RSP_SUCCESS, 5);
    g_assert(!take_unexpected(ep));
    g_assert_cmpuint(outstanding(ep), ==, 0);
    test_end(t);
}

#define MIGRATED \
    VIRT_SMMU " -device pcie-root-port,id=rp1,addr=6.0 "

/*
 * The device, which cannot be migrated, has gone, without completing an
 * invalidation.  What it asked for is in the queue.
 */
static void test_migration(void)
{
    Test *t = test_new(MIGRATED "-device iopf-testdev,bus=rp1,id=td0,pasid=20");
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 2, WANT_R, 1);
    uint64_t base;

    ep_init(ep, t, 1 << 8, 1);
    enable_root_port(ep, 6 << 3);
    ep_map(ep);
    ep_enable(ep, 8);
    ep_start_ring(ep, 8, 1);
    clear_tables(t);
    write_ste(ep, STE_Q0, STE_Q1);
    write_cds(t, CD_Q0);
    smmu_writeq(t, SMMU_PRIQ_IRQ_CFG0, DATA);
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG1, 0x1234);
    smmu_writel(t, SMMU_PRIQ_IRQ_CFG2, 1U << 31 | 5);
    start_smmu(t, PRIQ_ORDER);
    base = smmu_readq(t, SMMU_PRIQ_BASE);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    smmu_writel(t, SMMU_PRIQ_CONS, 1);
    hold_inv(ep, true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);

    qtest_qmp_device_del_send(t->qts, "td0");
    power_root_port(t->qts, 6 << 3, false);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    migrate_machine(t, MIGRATED);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_BASE), ==, base);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_PROD), ==, 2);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_CONS), ==, 1);
    g_assert_cmphex(smmu_readq(t, SMMU_PRIQ_IRQ_CFG0), ==, DATA);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG1), ==, 0x1234);
    g_assert_cmphex(smmu_readl(t, SMMU_PRIQ_IRQ_CFG2), ==, 1U << 31 | 5);
    g_assert_cmphex(gerror(t), ==, 0);
    cmd_put(t, CMD_SYNC, 0);
    check_sync_error(t, 1);
    ack_gerror(t);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/smmuv3/registers", test_registers);
    qtest_add_func("/smmuv3/off", test_off);
    qtest_add_func("/smmuv3/one-stage", test_one_stage);
    qtest_add_func("/smmuv3/options", test_options);
    qtest_add_func("/smmuv3/commands", test_commands);
    qtest_add_func("/smmuv3/event-overflow", test_event_overflow);
    qtest_add_func("/smmuv3/fault-record", test_fault_record);
    qtest_add_func("/smmuv3/fetch-address", test_fetch_address);
    qtest_add_func("/smmuv3/ats/translate", test_translate);
    qtest_add_func("/smmuv3/ats/unit", test_unit);
    qtest_add_func("/smmuv3/ats/privilege", test_privilege);
    qtest_add_func("/smmuv3/ats/malformed", test_malformed);
    qtest_add_func("/smmuv3/ats/disabled", test_disabled);
    qtest_add_func("/smmuv3/ats/s1dss-bypass", test_s1dss_bypass);
    qtest_add_func("/smmuv3/ats/cd-formats", test_cd_formats);
    qtest_add_func("/smmuv3/ats/caching", test_caching);
    qtest_add_func("/smmuv3/ats/walk-cache", test_walk_cache);
    qtest_add_func("/smmuv3/ats/walk-cache-rights", test_walk_cache_rights);
    qtest_add_func("/smmuv3/ats/no-walk-cache", test_no_walk_cache);
    qtest_add_func("/smmuv3/ats/unbound", test_unbound);
    qtest_add_func("/smmuv3/ats/many-pasids", test_many_pasids);
    qtest_add_func("/smmuv3/ats/atc", test_atc);
    qtest_add_func("/smmuv3/ats/atc-only", test_atc_only);
    qtest_add_func("/smmuv3/ats/sync-waits", test_sync_waits);
    qtest_add_func("/smmuv3/ats/lazy-invalidation", test_lazy_invalidation);
    qtest_add_func("/smmuv3/ats/timeout", test_timeout);
    qtest_add_func("/smmuv3/ats/translated-access", test_translated_access);
    qtest_add_func("/smmuv3/ats/translated-cached", test_translated_cached);
    qtest_add_func("/smmuv3/ats/nested", test_nested);
    qtest_add_func("/smmuv3/ats/second-stage", test_second_stage);
    qtest_add_func("/smmuv3/pri/request", test_page_request);
    qtest_add_func("/smmuv3/pri/groups", test_groups);
    qtest_add_func("/smmuv3/pri/wrong-pasid", test_wrong_pasid);
    qtest_add_func("/smmuv3/pri/no-bus-master", test_without_bus_master);
    qtest_add_func("/smmuv3/pri/guest-errors", test_guest_errors);
    qtest_add_func("/smmuv3/pri/demand-paging", test_demand_paging);
    qtest_add_func("/smmuv3/pri/response-codes", test_response_codes);
    qtest_add_func("/smmuv3/pri/response-without-pasid",
                   test_response_without_pasid);
    qtest_add_func("/smmuv3/pri/no-table-needed", test_no_table_needed);
    qtest_add_func("/smmuv3/pri/queue-disabled", test_queue_disabled);
    qtest_add_func("/smmuv3/pri/queue-abort", test_queue_abort);
    qtest_add_func("/smmuv3/pri/overflow", test_overflow);
    qtest_add_func("/smmuv3/pri/overflow-ppar", test_overflow_ppar);
    qtest_add_func("/smmuv3/pri/overflow-storm", test_overflow_storm);
    qtest_add_func("/smmuv3/pri/unasked", test_unasked);
    qtest_add_func("/smmuv3/pri/interrupt", test_interrupt);
    qtest_add_func("/smmuv3/reset", test_reset);
    qtest_add_func("/smmuv3/function-reset", test_function_reset);
    qtest_add_func("/smmuv3/migration", test_migration);

    return g_test_run();
}

/*
 * QTest of accesses that wait for software, on the SMMUv3
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

#define DEVICE(addr, more) \
    " -device iopf-testdev,bus=pcie.0,pasid=20,addr=" addr "," more " "
#define DEVICES         DEVICE("4.0", "stall=on") DEVICE("5.0", "stall=on")
#define STALL           "-global arm-smmuv3.stall=on "

/* What the tables map */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)

#define STALL_MAX       64

/* Faults of stage 2 wait */
#define S2_CFG          (STE_Q2 | STE_S2S)
#define NESTED_Q1       (STE_Q1 & ~STE_EATS(3))
#define S2_BLOCK        (PTE_S2_RW & ~2ULL)

/* CMD_RESUME, actions */
#define RESUME_RAZWI    0
#define RESUME_RETRY    1
#define RESUME_ABORT    2

static void start_rings(Test *t)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(t->ep); i++) {
        ep_start_ring(&t->ep[i], 8, 128);
    }
}

static Test *test_start_devices(const char *options)
{
    Test *t = test_start_smmu(options, CD_Q0 | CD_S);

    start_rings(t);
    return t;
}

static Test *test_start(void)
{
    return test_start_devices(STALL DEVICES);
}

static void map_page(Test *t, uint32_t pasid, uint64_t iova, uint64_t pte)
{
    write_leaf(t, TABLES(pasid), iova, pte);
}

/* A write of four bytes, one transaction, without translation request */
static Desc untranslated(uint32_t pasid, uint64_t iova)
{
    return with_pasid((Desc) {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 4,
        .data = 0x1234567,
    }, pasid);
}

static uint64_t start_write(Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    Desc d = untranslated(pasid, iova);

    return ep_start(ep, &d);
}

static uint32_t stalls(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_CNT_STALL);
}

static bool waits(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_STALLED;
}

/* All that the function can do now it has done */
static void settle(Endpoint *ep)
{
    int i;

    for (i = 0; i < 100; i++) {
        qtest_clock_step(ep->qts, 10000);
    }
}

static bool have_event(Test *t)
{
    return (smmu_readl(t, SMMU_EVENTQ_PROD) & ~OVERFLOW_FLAG) != t->evq_head;
}

static uint16_t stag_of(const Event *e)
{
    g_assert_cmphex(extract64(e->q[1], 31, 1), ==, 1);
    return e->q[1];
}

/* There has to be that one record, of an access that waits */
static Event check_stall(Endpoint *ep, uint8_t id, uint32_t pasid,
                         uint64_t iova)
{
    Event e;

    WAIT_FOR(ep->qts, have_event(ep->t));
    e = check_event(ep, id, pasid);
    stag_of(&e);
    g_assert_cmphex(e.q[2], ==, iova);
    g_assert_true(waits(ep));
    return e;
}

/* Have a write that waits. Returns: its descriptor and tag */
static uint64_t stall_write(Endpoint *ep, uint32_t pasid, uint64_t iova,
                            uint16_t *stag)
{
    uint64_t desc = start_write(ep, pasid, iova);
    Event e = check_stall(ep, F_TRANSLATION, pasid, iova);

    *stag = stag_of(&e);
    g_assert_cmpuint(ep_desc_status(ep, desc), ==, IOPF_TD_ST_NONE);
    return desc;
}

static void resume(Endpoint *ep, uint16_t stag, unsigned action)
{
    cmd_submit(ep->t, CMD_RESUME | CMD_SID(ep->bdf) | action << 12, stag);
}

static void check_waits(Endpoint *ep, uint64_t desc)
{
    settle(ep);
    g_assert_true(waits(ep));
    g_assert_cmpuint(ep_desc_status(ep, desc), ==, IOPF_TD_ST_NONE);
}

static void check_end(Endpoint *ep, uint64_t desc, uint32_t status)
{
    g_assert_cmpuint(ep_finish(ep, desc), ==, status);
}

/* An access that must not wait, and leaves that record */
static Event check_terminated(Endpoint *ep, uint8_t id, uint32_t pasid,
                              uint64_t iova)
{
    Desc d = untranslated(pasid, iova);
    Event e;

    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    e = check_event(ep, id, pasid);
    g_assert_cmphex(extract64(e.q[1], 0, 16), ==, 0);
    g_assert_cmphex(extract64(e.q[1], 31, 1), ==, 0);
    return e;
}

/*
 * Test cases
 */

static void test_registers(void)
{
    Test *t = test_start();

    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR0), 24, 2), ==, 0);
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR5), 16, 16), ==,
                     STALL_MAX);
    g_assert_cmphex(ep_readl(&t->ep[0], IOPF_TD_REG_CAPS) & IOPF_TD_CAPS_STALL,
                    ==, IOPF_TD_CAPS_STALL);
    test_end(t);
}

/* Nothing of it is there unless asked for */
static void test_off(void)
{
    Test *t = test_start_devices(DEVICES);
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(PASID, IOVA);

    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR0), 24, 2), ==, 1);
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR5), 16, 16), ==, 0);
    cmd_submit_bad(t, CMD_RESUME, 0, CERROR_ILL);
    cmd_submit_bad(t, CMD_STALL_TERM, 0, CERROR_ILL);

    check_terminated(ep, C_BAD_CD, NOP, IOVA);
    ep_check(ep, &d, IOPF_TD_ST_UNSUPPORTED);
    set_ste(ep, STE_Q0, STE_Q1 | STE_S1STALLD);
    check_terminated(ep, C_BAD_STE, NOP, IOVA);
    write_ste_s2(ep, NESTED_Q0, NESTED_Q1, S2_CFG, TABLES_S2);
    cfgi_ste(ep);
    check_terminated(ep, C_BAD_STE, NOP, IOVA);
    set_ste(ep, STE_Q0, STE_Q1);
    set_cd(ep, NOP, CD_Q0);
    check_terminated(ep, F_TRANSLATION, NOP, IOVA);
    g_assert_cmpuint(stalls(ep), ==, 0);
    test_end(t);
}

/* Without translation requests, too */
static void test_no_ats(void)
{
    Test *t = test_start_devices("-global arm-smmuv3.ats=off "
                                 "-global arm-smmuv3.pri=off " STALL DEVICES);
    Endpoint *ep = &t->ep[0];
    uint16_t stag;
    uint64_t desc;

    desc = stall_write(ep, PASID, IOVA, &stag);
    map_page(t, PASID, IOVA, PAGE_A | PTE_RW);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    g_assert_cmpint(translate(ep, NOP, IOVA, WANT_R).ret, ==, -ENODEV);
    test_end(t);
}

static void test_retry(uint32_t pasid)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t iova = IOVA + 0x128, desc;
    Event e;

    take_spi(t->qts, SPI_EVENTQ);
    desc = start_write(ep, pasid, iova);
    e = check_stall(ep, F_TRANSLATION, pasid, iova);
    g_assert_true(take_spi(t->qts, SPI_EVENTQ));
    /* A write of EL0, stage 1, CLASS: the input address */
    g_assert_cmphex(extract64(e.q[1], 32, 32) & 0x38e, ==, 2 << 8);
    check_waits(ep, desc);
    g_assert_cmpuint(stalls(ep), ==, 1);

    map_page(t, pasid, IOVA, PAGE_A | PTE_RW);
    check_waits(ep, desc);
    resume(ep, stag_of(&e), RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_pattern(t->qts, PAGE_A + 0x128, 0x1234567, 4);
    g_assert_false(waits(ep));

    /* Still nothing there: it waits once more, with a tag of its own */
    desc = start_write(ep, pasid, iova + PAGE);
    e = check_stall(ep, F_TRANSLATION, pasid, iova + PAGE);
    resume(ep, stag_of(&e), RESUME_RETRY);
    e = check_stall(ep, F_TRANSLATION, pasid, iova + PAGE);
    map_page(t, pasid, IOVA + PAGE, PAGE_B | PTE_RW);
    resume(ep, stag_of(&e), RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_pattern(t->qts, PAGE_B + 0x128, 0x1234567, 4);
    check_no_event(t);
    g_assert_cmpuint(stalls(ep), ==, 3);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

static void test_retry_no_pasid(void)
{
    test_retry(NOP);
}

static void test_retry_pasid(void)
{
    test_retry(PASID);
}

/* Ab makes no difference: IDR0.TERM_MODEL is 1 */
static void test_abort(void)
{
    static const unsigned actions[] = { RESUME_ABORT, RESUME_RAZWI };
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t stag;
    uint64_t desc;
    int i;

    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR0), 26, 1), ==, 1);
    for (i = 0; i < ARRAY_SIZE(actions); i++) {
        desc = stall_write(ep, PASID, IOVA, &stag);
        resume(ep, stag, actions[i]);
        check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    }
    /* Ac comes first */
    desc = stall_write(ep, PASID, IOVA, &stag);
    map_page(t, PASID, IOVA, PAGE_A | PTE_RW);
    resume(ep, stag, RESUME_RETRY | RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_no_event(t);
    test_end(t);
}

/* What waits, and what does not */
static void test_faults(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t iova = IOVA + 5 * PAGE, desc;
    Event e;
    int i;
    const struct {
        uint8_t id;
        uint64_t pte;
    } faults[] = {
        { F_TRANSLATION, 0 },
        { F_ACCESS, PAGE_A | (PTE_RW & ~PTE_AF) },
        { F_PERMISSION, PAGE_A | PTE_RW | PTE_RO },
        { F_ADDR_SIZE, 0x10000000000ULL | PTE_RW },
    };

    set_cd(ep, NOP, (CD_Q0 & ~CD_IPS_48) | CD_S | 1ULL << 32);
    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        map_page(t, NOP, iova, faults[i].pte);
        tlbi_all(t);
        desc = start_write(ep, NOP, iova);
        e = check_stall(ep, faults[i].id, NOP, iova);
        map_page(t, NOP, iova, PAGE_A | PTE_RW);
        resume(ep, stag_of(&e), RESUME_RETRY);
        check_end(ep, desc, IOPF_TD_ST_OK);
    }
    /* A table that cannot be read is not to be mended */
    qtest_writeq(t->qts, TABLES_0, NOWHERE | PTE_TABLE);
    tlbi_all(t);
    check_terminated(ep, F_WALK_EABT, NOP, iova);
    /* ... and neither is configuration */
    set_cd(ep, PASID, 0);
    check_terminated(ep, C_BAD_CD, PASID, iova);
    check_terminated(ep, C_BAD_SUBSTREAMID, 256, iova);
    set_cd(ep, PASID, CD_Q0 | CD_S);
    set_ste(ep, STE_Q0, STE_Q1 | STE_S1STALLD);
    check_terminated(ep, C_BAD_CD, PASID, iova);
    test_end(t);
}

/* R only says whether a fault that does not wait is recorded */
static void test_record(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(NOP, IOVA);
    uint16_t stag;
    uint64_t desc;

    set_cd(ep, NOP, (CD_Q0 & ~CD_R) | CD_S);
    desc = stall_write(ep, NOP, IOVA, &stag);
    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);

    set_cd(ep, NOP, CD_Q0);
    check_terminated(ep, F_TRANSLATION, NOP, IOVA);
    set_cd(ep, NOP, CD_Q0 & ~CD_R);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);
    test_end(t);
}

/* With a PASID, privilege and execution matter */
static void test_privilege(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(PASID, IOVA);
    uint64_t desc;
    Event e;

    map_page(t, PASID, IOVA, PAGE_A | (PTE_RW & ~PTE_USER));
    desc = ep_start(ep, &d);
    e = check_stall(ep, F_PERMISSION, PASID, IOVA);
    g_assert_cmphex(extract64(e.q[1], 33, 3), ==, 0);
    resume(ep, stag_of(&e), RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    d.flags |= IOPF_TD_F_PRIV;
    ep_check(ep, &d, IOPF_TD_ST_OK);

    /* A privileged instruction fetch */
    d.op = IOPF_TD_OP_READ;
    d.ram = IOPF_TD_RAM_DATA;
    d.flags |= IOPF_TD_F_EXEC;
    desc = ep_start(ep, &d);
    e = check_stall(ep, F_PERMISSION, PASID, IOVA);
    g_assert_cmphex(extract64(e.q[1], 33, 3), ==, 7);
    map_page(t, PASID, IOVA, PAGE_A | (PTE_RWX & ~PTE_USER));
    tlbi_all(t);
    resume(ep, stag_of(&e), RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_no_event(t);
    test_end(t);
}

/* A device that cannot wait, and what must not */
static void test_no_wait(void)
{
    Test *t = test_start_devices(STALL DEVICE("4.0", "stall=off")
                                 DEVICE("5.0", "stall=on"));
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(PASID, IOVA);

    check_terminated(ep, F_TRANSLATION, NOP, IOVA);
    ep_check(ep, &d, IOPF_TD_ST_UNSUPPORTED);
    /* Even if faults without S would not be recorded */
    set_cd(ep, NOP, (CD_Q0 & ~CD_R) | CD_S);
    check_terminated(ep, F_TRANSLATION, NOP, IOVA);

    check_translation(&t->ep[1], PASID, IOVA, WANT_RW, 0, PAGE, 0);
    check_translation(&t->ep[1], NOP, IOVA, WANT_RW, 0, PAGE, 0);
    g_assert_cmpuint(stalls(&t->ep[1]), ==, 0);
    check_no_event(t);
    test_end(t);
}

/* The device must be allowed to use the PASID at all */
static void test_enables(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(PASID, IOVA);

    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, 0);
    ep_check(ep, &d, IOPF_TD_ST_REFUSED);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
    d.flags |= IOPF_TD_F_PRIV;
    ep_check(ep, &d, IOPF_TD_ST_REFUSED);
    d.flags = 0;
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    ep_check(ep, &d, IOPF_TD_ST_REFUSED);
    check_no_event(t);
    test_end(t);
}

/* Which access a command is about */
static void test_tags(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0], *other = &t->ep[1];
    uint16_t stag, stag2, old;
    uint64_t desc, desc2;

    desc = stall_write(ep, NOP, IOVA, &stag);
    desc2 = stall_write(ep, PASID, IOVA, &stag2);
    g_assert_cmphex(stag, !=, stag2);

    /* Another stream's, and nobody's */
    resume(other, stag, RESUME_ABORT);
    resume(ep, ~stag, RESUME_ABORT);
    resume(ep, stag ^ 0x8000, RESUME_ABORT);
    resume(ep, stag + STALL_MAX - 1, RESUME_ABORT);
    cmd_submit(t, CMD_RESUME | CMD_SID(0xffff), stag);
    cmd_submit(t, CMD_RESUME | CMD_SID(0x10000 | ep->bdf), stag);
    check_waits(ep, desc);
    check_waits(ep, desc2);

    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_waits(ep, desc2);

    /* What was resumed is no more, whoever has its place */
    old = stag;
    desc = stall_write(ep, NOP, IOVA, &stag);
    resume(ep, old, RESUME_ABORT);
    check_waits(ep, desc);
    resume(ep, stag2, RESUME_ABORT);
    check_end(ep, desc2, IOPF_TD_ST_ACCESS_ERROR);
    check_waits(ep, desc);
    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    test_end(t);
}

/* Reserved fields, and a command for the other world */
static void test_bad_commands(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t sid = CMD_SID(ep->bdf), desc;
    uint16_t stag;

    desc = stall_write(ep, NOP, IOVA, &stag);
    cmd_submit_bad(t, CMD_RESUME | sid | CMD_SSEC, stag, CERROR_ILL);
    cmd_submit_bad(t, CMD_RESUME | sid | CMD_SSV, stag, CERROR_ILL);
    cmd_submit_bad(t, CMD_RESUME | sid | 1ULL << 14, stag, CERROR_ILL);
    cmd_submit_bad(t, CMD_RESUME | sid, stag | 1 << 16, CERROR_ILL);
    cmd_submit_bad(t, CMD_RESUME | sid, stag | 1ULL << 32, CERROR_ILL);
    cmd_submit_bad(t, CMD_STALL_TERM | sid | CMD_SSEC, 0, CERROR_ILL);
    cmd_submit_bad(t, CMD_STALL_TERM | sid | CMD_SSV, 0, CERROR_ILL);
    cmd_submit_bad(t, CMD_STALL_TERM | sid, 1, CERROR_ILL);
    cmd_submit_bad(t, CMD_STALL_TERM | sid, 1ULL << 63, CERROR_ILL);
    check_waits(ep, desc);
    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    test_end(t);
}

static void test_stall_term(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0], *other = &t->ep[1];
    uint64_t desc[3];
    uint16_t stag[3];

    desc[0] = stall_write(ep, NOP, IOVA, &stag[0]);
    desc[1] = stall_write(other, NOP, IOVA, &stag[1]);
    desc[2] = stall_write(ep, PASID, IOVA, &stag[2]);
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(0xffff), 0);
    check_waits(ep, desc[0]);
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(ep->bdf), 0);
    check_end(ep, desc[0], IOPF_TD_ST_ACCESS_ERROR);
    check_end(ep, desc[2], IOPF_TD_ST_ACCESS_ERROR);
    check_waits(other, desc[1]);

    /* Their tags are no more */
    resume(ep, stag[0], RESUME_RETRY);
    resume(ep, stag[2], RESUME_RETRY);
    resume(other, stag[1], RESUME_ABORT);
    check_end(other, desc[1], IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);
    test_end(t);
}

/* As many as IDR5 says; the next ones wait without a record */
static void test_many(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0], *other = &t->ep[1];
    uint64_t desc[STALL_MAX], late, late_other;
    uint16_t stag[STALL_MAX];
    Event e;
    int i, j;

    for (i = 0; i < STALL_MAX; i++) {
        desc[i] = stall_write(ep, i % 2 ? PASID : NOP, IOVA + i * PAGE,
                              &stag[i]);
        for (j = 0; j < i; j++) {
            g_assert_cmphex(stag[j], !=, stag[i]);
        }
    }
    late = start_write(ep, NOP, IOVA + 100 * PAGE);
    late_other = start_write(other, NOP, IOVA + 200 * PAGE);
    check_waits(ep, late);
    check_waits(other, late_other);
    check_no_event(t);
    g_assert_cmpuint(stalls(ep), ==, STALL_MAX);
    g_assert_cmpuint(stalls(other), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_STALL_FULL), ==, 1);
    g_assert_cmpuint(ep_readl(other, IOPF_TD_REG_CNT_STALL_FULL), ==, 1);

    /* One place: one of them has it, the other goes on waiting */
    resume(ep, stag[7], RESUME_ABORT);
    check_end(ep, desc[7], IOPF_TD_ST_ACCESS_ERROR);
    WAIT_FOR(t->qts, have_event(t));
    settle(ep);
    g_assert_cmphex(take_event(t, &e), ==, F_TRANSLATION);
    check_no_event(t);
    g_assert_cmpuint(stalls(ep) + stalls(other), ==, STALL_MAX + 1);
    check_waits(ep, late);
    check_waits(other, late_other);

    /* In any order */
    for (i = STALL_MAX - 1; i >= 0; i--) {
        if (i == 7) {
            continue;
        }
        resume(ep, stag[i], RESUME_ABORT);
        check_end(ep, desc[i], IOPF_TD_ST_ACCESS_ERROR);
    }
    WAIT_FOR(t->qts, have_event(t));
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(ep->bdf), 0);
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(other->bdf), 0);
    check_end(ep, late, IOPF_TD_ST_ACCESS_ERROR);
    check_end(other, late_other, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_false(waits(ep));
    g_assert_false(waits(other));
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

/* A record of what waits is never lost */
static void test_queue_full(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint32_t full = 1 << EVTQ_LOG2;
    Desc bad = untranslated(PASID + 1, IOVA);
    uint64_t desc, desc2;
    uint16_t stag;
    Event e;

    /* By the registers there is no room */
    smmu_writel(t, SMMU_EVENTQ_CONS, full);
    desc = start_write(ep, NOP, IOVA);
    check_waits(ep, desc);
    desc2 = start_write(ep, PASID, IOVA + PAGE);
    check_waits(ep, desc2);
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==, 0);

    /* Any other is lost, which is an overflow */
    ep_check(ep, &bad, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==, OVERFLOW_FLAG);
    /* A tag that software does not know yet means nothing */
    resume(ep, 0, RESUME_ABORT);
    check_waits(ep, desc);

    /* Room comes with the acknowledgement, and they with the room, in order */
    take_spi(t->qts, SPI_EVENTQ);
    smmu_writel(t, SMMU_EVENTQ_CONS, OVERFLOW_FLAG);
    g_assert_true(take_spi(t->qts, SPI_EVENTQ));
    g_assert_cmphex(smmu_readl(t, SMMU_EVENTQ_PROD), ==, OVERFLOW_FLAG | 2);
    g_assert_cmphex(take_event(t, &e), ==, F_TRANSLATION);
    g_assert_cmphex(e.q[2], ==, IOVA);
    stag = stag_of(&e);
    e = check_event(ep, F_TRANSLATION, PASID);
    g_assert_cmphex(e.q[2], ==, IOVA + PAGE);
    resume(ep, stag, RESUME_ABORT);
    resume(ep, stag_of(&e), RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_end(ep, desc2, IOPF_TD_ST_ACCESS_ERROR);

    /* What is terminated before is not recorded any more */
    smmu_writel(t, SMMU_EVENTQ_CONS, OVERFLOW_FLAG | (t->evq_head ^ full));
    desc = start_write(ep, NOP, IOVA);
    check_waits(ep, desc);
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(ep->bdf), 0);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    smmu_writel(t, SMMU_EVENTQ_CONS, OVERFLOW_FLAG | t->evq_head);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

static void test_queue_off(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t desc;
    Event e;

    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    desc = start_write(ep, NOP, IOVA);
    check_waits(ep, desc);
    write_cr0(t, CR0_ALL);
    e = check_stall(ep, F_TRANSLATION, NOP, IOVA);
    resume(ep, stag_of(&e), RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);

    /* It cannot be written to: until that is acknowledged, it is not tried */
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    smmu_writeq(t, SMMU_EVENTQ_BASE, NOWHERE | EVTQ_LOG2);
    write_cr0(t, CR0_ALL);
    desc = start_write(ep, NOP, IOVA);
    check_waits(ep, desc);
    g_assert_cmphex(gerror(t), ==, GERROR_EVENTQ_ABT);
    g_assert_true(take_spi(t->qts, SPI_GERROR));
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    smmu_writeq(t, SMMU_EVENTQ_BASE, EVTQ | EVTQ_LOG2);
    write_cr0(t, CR0_ALL);
    check_no_event(t);
    check_waits(ep, desc);
    ack_gerror(t);
    e = check_stall(ep, F_TRANSLATION, NOP, IOVA);
    resume(ep, stag_of(&e), RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

/* SMMUEN ends all of them, whether they were recorded or not */
static void test_disable(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t desc[STALL_MAX + 1];
    uint16_t stag;
    int i;

    desc[0] = stall_write(ep, NOP, IOVA, &stag);
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    for (i = 1; i < ARRAY_SIZE(desc); i++) {
        desc[i] = start_write(ep, PASID, IOVA + i * PAGE);
    }
    WAIT_FOR(t->qts, ep_readl(ep, IOPF_TD_REG_CNT_STALL_FULL) == 1);
    g_assert_cmpuint(stalls(ep), ==, STALL_MAX);
    /* The one without a place finds an SMMU that aborts everything */
    smmu_writel(t, SMMU_GBPA, 1U << 31 | 1 << 20);
    write_cr0(t, CR0_CMDQEN);
    for (i = 0; i < ARRAY_SIZE(desc); i++) {
        check_end(ep, desc[i], IOPF_TD_ST_ACCESS_ERROR);
    }
    write_cr0(t, CR0_ALL);
    check_no_event(t);
    resume(ep, stag, RESUME_RETRY);
    desc[0] = stall_write(ep, NOP, IOVA, &stag);
    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc[0], IOPF_TD_ST_ACCESS_ERROR);
    test_end(t);
}

/* No invalidation ends it, but the next try sees what is there then */
static void test_config(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t desc;
    uint16_t stag;

    desc = stall_write(ep, NOP, IOVA, &stag);
    write_ste(ep, STE_V | STE_ABORT, 0);
    inv_tables(t);
    cfgi_ste(ep);
    check_waits(ep, desc);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);

    set_ste(ep, STE_Q0, STE_Q1);
    desc = stall_write(ep, PASID, IOVA, &stag);
    set_cd(ep, PASID, 0);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_event(ep, C_BAD_CD, PASID);

    /* Stage 1 has stopped to stall: what waits goes on, by another rule */
    set_cd(ep, PASID, CD_Q0 | CD_S);
    desc = stall_write(ep, PASID, IOVA, &stag);
    set_cd(ep, PASID, CD_Q0);
    set_ste(ep, STE_Q0, STE_Q1 | STE_S1STALLD);
    check_waits(ep, desc);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_event(ep, F_TRANSLATION, PASID);

    /* The address is that of memory now */
    set_ste(ep, STE_Q0, STE_Q1);
    set_cd(ep, PASID, CD_Q0 | CD_S);
    desc = stall_write(ep, PASID, PAGE_A, &stag);
    set_ste(ep, STE_V | STE_BYPASS, 0);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_pattern(t->qts, PAGE_A, 0x1234567, 4);
    test_end(t);
}

/*
 * Stage 2 has nothing where the tables of stage 1 and the descriptors are, of
 * which the SMMU forgets some
 */
static void check_no_tables(Endpoint *ep, void (*forget)(Test *t),
                            unsigned s2_and_class)
{
    Test *t = ep->t;
    uint64_t desc;
    Event e;

    write_leaf_2m(t, TABLES_S2, VIRT_RAM, 0);
    forget(t);
    desc = start_write(ep, PASID, IOVA);
    e = check_stall(ep, F_TRANSLATION, PASID, IOVA);
    g_assert_cmphex(extract64(e.q[1], 39, 3), ==, s2_and_class);
    write_leaf_2m(t, TABLES_S2, VIRT_RAM, VIRT_RAM | S2_BLOCK);
    resume(ep, stag_of(&e), RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
}

static void test_stage2(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t ipa = VIRT_RAM + 0x800000, desc;
    Event e;

    write_paging(t, TABLES_S2, PTE_TABLE);
    qtest_writeq(t->qts, TABLES_S2 + 2 * PAGE,
                 (TABLES_S2 + 3 * PAGE) | PTE_TABLE);
    write_leaf_2m(t, TABLES_S2, VIRT_RAM, VIRT_RAM | S2_BLOCK);
    write_leaf(t, TABLES_1, IOVA, (ipa + 0x1000) | PTE_RW);
    write_ste_s2(ep, NESTED_Q0, NESTED_Q1, S2_CFG, TABLES_S2);
    set_cd(ep, PASID, CD_Q0);
    inv_tables(t);

    /* The page: S2, CLASS, and the intermediate address */
    desc = start_write(ep, PASID, IOVA + 8);
    e = check_stall(ep, F_TRANSLATION, PASID, IOVA + 8);
    g_assert_cmphex(extract64(e.q[1], 39, 3), ==, 5);
    g_assert_cmphex(extract64(e.q[3], 12, 40), ==, (ipa + 0x1000) >> 12);
    write_leaf_2m(t, TABLES_S2, ipa, (DATA & ~0x1fffffULL) | S2_BLOCK);
    resume(ep, stag_of(&e), RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_pattern(t->qts, PAGE_A + 8, 0x1234567, 4);

    /* Not to be executed */
    write_leaf(t, TABLES_1, IOVA, (ipa + 0x1000) | PTE_RWX);
    write_leaf_2m(t, TABLES_S2, ipa,
                  (DATA & ~0x1fffffULL) | S2_BLOCK | 2ULL << 53);
    tlbi_all(t);
    {
        Desc d = untranslated(PASID, IOVA + 8);

        d.op = IOPF_TD_OP_READ;
        d.ram = IOPF_TD_RAM_DATA;
        d.flags |= IOPF_TD_F_EXEC;
        desc = ep_start(ep, &d);
        e = check_stall(ep, F_PERMISSION, PASID, IOVA + 8);
        g_assert_cmphex(extract64(e.q[1], 39, 3), ==, 5);
        g_assert_cmphex(extract64(e.q[3], 12, 40), ==, (ipa + 0x1000) >> 12);
        resume(ep, stag_of(&e), RESUME_ABORT);
        check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    }

    /* A table of stage 1, and the context descriptor */
    check_no_tables(ep, tlbi_all, 3);
    check_no_tables(ep, inv_tables, 1);

    /* Stage 1 waits by its own bit, and so does stage 2 */
    check_terminated(ep, F_TRANSLATION, PASID, IOVA + PAGE);
    set_cd(ep, PASID, CD_Q0 | CD_S);
    desc = start_write(ep, PASID, IOVA + PAGE);
    e = check_stall(ep, F_TRANSLATION, PASID, IOVA + PAGE);
    resume(ep, stag_of(&e), RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    write_ste_s2(ep, NESTED_Q0, NESTED_Q1, STE_Q2 | STE_S2R, TABLES_S2);
    cfgi_ste(ep);
    write_leaf(t, TABLES_1, IOVA, (ipa + 0x200000) | PTE_RW);
    tlbi_all(t);
    check_terminated(ep, F_TRANSLATION, PASID, IOVA);

    /* A translation request could not wait for stage 2 */
    write_ste_s2(ep, NESTED_Q0, STE_Q1, S2_CFG, TABLES_S2);
    cfgi_ste(ep);
    check_terminated(ep, C_BAD_STE, PASID, IOVA);
    test_end(t);
}

/* What the device has done before it does not do once more */
static void test_transfer(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = untranslated(PASID, IOVA + 0x100);
    uint64_t desc;
    int i;

    d.length = 3 * PAGE;
    desc = ep_start(ep, &d);
    for (i = 0; i < 4; i++) {
        Event e = check_stall(ep, F_TRANSLATION, PASID,
                              IOVA + i * PAGE + (i ? 0 : 0x100));

        map_page(t, PASID, IOVA + i * PAGE, (DATA + i * PAGE) | PTE_RW);
        resume(ep, stag_of(&e), RESUME_RETRY);
    }
    check_end(ep, desc, IOPF_TD_ST_OK);
    check_pattern(t->qts, DATA + 0x100, d.data, d.length);

    /* The read of an atomic operation, and its write */
    d = (Desc) {
        .op = IOPF_TD_OP_FETCH_ADD,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = IOVA,
        .length = 8,
        .ram = IOPF_TD_RAM_DATA,
        .data = 5,
    };
    d = with_pasid(d, PASID);
    map_page(t, PASID, IOVA, 0);
    tlbi_all(t);
    qtest_writeq(t->qts, DATA, 37);
    desc = ep_start(ep, &d);
    for (i = 0; i < 2; i++) {
        Event e = check_stall(ep, i ? F_PERMISSION : F_TRANSLATION, PASID,
                              IOVA);

        g_assert_cmphex(extract64(e.q[1], 35, 1), ==, !i);
        map_page(t, PASID, IOVA, DATA | PTE_RW | (i ? 0 : PTE_RO));
        resume(ep, stag_of(&e), RESUME_RETRY);
    }
    check_end(ep, desc, IOPF_TD_ST_OK);
    g_assert_cmpuint(qtest_readq(t->qts, DATA), ==, 42);
    g_assert_cmpuint(qtest_readq(t->qts, ep->bar2 + d.ram), ==, 37);
    test_end(t);
}

/* The device forgets what it waited for, the SMMU does not */
static void test_device_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t desc;
    uint16_t stag, stag2;

    desc = stall_write(ep, PASID, IOVA, &stag);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ABORTED);
    desc = stall_write(ep, PASID, IOVA, &stag2);
    g_assert_cmphex(stag2, !=, stag);
    resume(ep, stag, RESUME_ABORT);
    check_waits(ep, desc);

    reset_function(ep);
    ep_map(ep);
    g_assert_false(waits(ep));
    ep_enable(ep, 512);
    ep_start_ring(ep, 8, 128);
    desc = stall_write(ep, PASID, IOVA, &stag);
    g_assert_cmphex(stag2, !=, stag);
    map_page(t, PASID, IOVA, PAGE_A | PTE_RW);
    resume(ep, stag2, RESUME_RETRY);
    check_waits(ep, desc);
    resume(ep, stag, RESUME_RETRY);
    check_end(ep, desc, IOPF_TD_ST_OK);
    test_end(t);
}

static void test_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t desc;
    uint16_t stag, old;

    stall_write(ep, NOP, IOVA, &old);
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    start_write(ep, PASID, IOVA);
    settle(ep);
    qtest_system_reset(t->qts);
    g_assert_cmpuint(extract32(smmu_readl(t, SMMU_IDR5), 16, 16), ==,
                     STALL_MAX);

    start_endpoints(t, 512);
    start_rings(t);
    start_smmu(t, PRIQ_ORDER);
    check_no_event(t);
    g_assert_false(waits(ep));
    desc = stall_write(ep, PASID, IOVA, &stag);
    resume(ep, stag, RESUME_ABORT);
    check_end(ep, desc, IOPF_TD_ST_ACCESS_ERROR);
    check_no_event(t);
    test_end(t);
}

#define MIGRATED_DEVICE \
    "-device iopf-testdev,bus=rp1,id=td0,pasid=20,stall=on "
#define MIGRATED \
    VIRT_SMMU STALL "-device pcie-root-port,id=rp1,addr=6.0 "

/*
 * The device, which cannot be migrated, has gone; what it waited for is in the
 * SMMU until software ends that.  One was recorded, one is due.
 */
static void test_migration(void)
{
    Test *t = test_new(MIGRATED MIGRATED_DEVICE);
    Endpoint *ep = &t->ep[0];
    uint16_t stag;
    Event e;

    ep_init(ep, t, 1 << 8, 1);
    enable_root_port(ep, 6 << 3);
    ep_map(ep);
    ep_enable(ep, 1);
    ep_start_ring(ep, 8, 128);
    clear_tables(t);
    write_ste(ep, STE_Q0, STE_Q1);
    write_cds(t, CD_Q0 | CD_S);
    start_smmu(t, PRIQ_ORDER);
    stall_write(ep, NOP, IOVA, &stag);
    write_cr0(t, CR0_ALL & ~CR0_EVENTQEN);
    start_write(ep, PASID, IOVA + PAGE);
    WAIT_FOR(t->qts, stalls(ep) == 2);

    qtest_qmp_device_del_send(t->qts, "td0");
    power_root_port(t->qts, 6 << 3, false);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    migrate_machine(t, MIGRATED);
    check_no_event(t);
    write_cr0(t, CR0_ALL);
    e = check_event(ep, F_TRANSLATION, PASID);
    g_assert_cmphex(e.q[2], ==, IOVA + PAGE);
    g_assert_cmphex(stag_of(&e), !=, stag);
    resume(ep, stag, RESUME_ABORT);
    resume(ep, stag_of(&e), RESUME_RETRY);
    cmd_submit(t, CMD_STALL_TERM | CMD_SID(ep->bdf), 0);
    check_no_event(t);
    g_assert_cmphex(gerror(t), ==, 0);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/smmuv3-stall/registers", test_registers);
    qtest_add_func("/smmuv3-stall/off", test_off);
    qtest_add_func("/smmuv3-stall/no-ats", test_no_ats);
    qtest_add_func("/smmuv3-stall/retry", test_retry_no_pasid);
    qtest_add_func("/smmuv3-stall/retry-pasid", test_retry_pasid);
    qtest_add_func("/smmuv3-stall/abort", test_abort);
    qtest_add_func("/smmuv3-stall/faults", test_faults);
    qtest_add_func("/smmuv3-stall/record", test_record);
    qtest_add_func("/smmuv3-stall/privilege", test_privilege);
    qtest_add_func("/smmuv3-stall/no-wait", test_no_wait);
    qtest_add_func("/smmuv3-stall/enables", test_enables);
    qtest_add_func("/smmuv3-stall/tags", test_tags);
    qtest_add_func("/smmuv3-stall/bad-commands", test_bad_commands);
    qtest_add_func("/smmuv3-stall/stall-term", test_stall_term);
    qtest_add_func("/smmuv3-stall/many", test_many);
    qtest_add_func("/smmuv3-stall/queue-full", test_queue_full);
    qtest_add_func("/smmuv3-stall/queue-off", test_queue_off);
    qtest_add_func("/smmuv3-stall/disable", test_disable);
    qtest_add_func("/smmuv3-stall/config", test_config);
    qtest_add_func("/smmuv3-stall/stage-2", test_stage2);
    qtest_add_func("/smmuv3-stall/transfer", test_transfer);
    qtest_add_func("/smmuv3-stall/device-reset", test_device_reset);
    qtest_add_func("/smmuv3-stall/reset", test_reset);
    qtest_add_func("/smmuv3-stall/migration", test_migration);
    return g_test_run();
}

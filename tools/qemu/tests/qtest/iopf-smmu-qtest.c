/*
 * Arm SMMUv3, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-smmu-qtest.h"

#define CMD_SIZE        16
#define EVENT_SIZE      32
#define PRI_SIZE        16
#define STE_SIZE        64

#define STREAM_BUSES    2
#define STREAM_L1_SPAN  9               /* 2^(9 - 1) entries */
#define STRTAB_CFG      (1 << 16 | 8 << 6 | 16) /* two levels, of SIDs of 16 */

uint32_t smmu_readl(Test *t, uint64_t offset)
{
    return qtest_readl(t->qts, SMMU + offset);
}

uint64_t smmu_readq(Test *t, uint64_t offset)
{
    return qtest_readq(t->qts, SMMU + offset);
}

void smmu_writel(Test *t, uint64_t offset, uint32_t val)
{
    qtest_writel(t->qts, SMMU + offset, val);
}

void smmu_writeq(Test *t, uint64_t offset, uint64_t val)
{
    qtest_writeq(t->qts, SMMU + offset, val);
}

uint32_t gerror(Test *t)
{
    return smmu_readl(t, SMMU_GERROR) ^ smmu_readl(t, SMMU_GERRORN);
}

void ack_gerror(Test *t)
{
    smmu_writel(t, SMMU_GERRORN, smmu_readl(t, SMMU_GERROR));
}

/*
 * Tables
 */

void clear_tables(Test *t)
{
    int i;

    qtest_memset(t->qts, STREAM_L1, 0, DATA - STREAM_L1);
    for (i = 0; i < STREAM_BUSES; i++) {
        qtest_writeq(t->qts, STREAM_L1 + i * 8,
                     (STREAM_L2 + i * STREAM_L2_SIZE) | STREAM_L1_SPAN);
    }
}

void write_ste_s2(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2,
                  uint64_t tables)
{
    uint64_t addr = STREAM_L2 + ep->bdf * STE_SIZE;
    int i;

    g_assert_cmpuint(ep->bdf >> 8, <, STREAM_BUSES);
    qtest_writeq(ep->qts, addr + 8, q1);
    qtest_writeq(ep->qts, addr + 16, q2);
    qtest_writeq(ep->qts, addr + 24, tables);
    for (i = 4; i < 8; i++) {
        qtest_writeq(ep->qts, addr + i * 8, 0);
    }
    qtest_writeq(ep->qts, addr, q0);
}

void write_ste(Endpoint *ep, uint64_t q0, uint64_t q1)
{
    write_ste_s2(ep, q0, q1, 0, 0);
}

uint64_t cd_addr(uint32_t ssid)
{
    return CDS + ssid * CD_SIZE;
}

void write_cd(Test *t, uint32_t ssid, uint16_t asid, uint64_t tables,
              uint64_t flags)
{
    uint64_t addr = cd_addr(ssid);

    qtest_writeq(t->qts, addr + 8, tables);
    qtest_writeq(t->qts, addr + 16, 0);
    qtest_writeq(t->qts, addr + 24, 0xff);
    qtest_writeq(t->qts, addr, flags | (uint64_t)asid << 48);
}

void write_cd_l1(Test *t, uint64_t format)
{
    uint64_t leaf = format == STE_FMT_64K ? 0x10000 : 0x1000;
    int i;

    qtest_memset(t->qts, CD_L1, 0, CDS - CD_L1);
    for (i = 0; i < 1024 * CD_SIZE / leaf; i++) {
        qtest_writeq(t->qts, CD_L1 + i * 8, (CDS + i * leaf) | 1);
    }
}

void write_cds(Test *t, uint64_t flags)
{
    write_cd(t, 0, ASID(NOP), TABLES_0, flags);
    write_cd(t, PASID, ASID(PASID), TABLES_1, flags);
    write_paging(t, TABLES_0, PTE_TABLE);
    write_paging(t, TABLES_1, PTE_TABLE);
}

void write_tables(Test *t, uint64_t flags)
{
    int i;

    clear_tables(t);
    for (i = 0; i < ARRAY_SIZE(t->ep); i++) {
        write_ste(&t->ep[i], STE_Q0, STE_Q1);
    }
    write_cds(t, flags);
}

void write_cr0(Test *t, uint32_t val)
{
    smmu_writel(t, SMMU_CR0, val);
    g_assert_cmphex(smmu_readl(t, SMMU_CR0ACK), ==, val);
}

void write_cr2(Test *t, uint32_t val)
{
    uint32_t cr0 = smmu_readl(t, SMMU_CR0);

    write_cr0(t, cr0 & ~CR0_SMMUEN);
    smmu_writel(t, SMMU_CR2, val);
    write_cr0(t, cr0);
}

void start_smmu(Test *t, unsigned prq_order)
{
    g_assert_cmpuint(prq_order, <=, PRIQ_LOG2_MAX);
    t->iq_tail = 0;
    t->evq_head = 0;
    t->prq_head = 0;
    t->prq_order = prq_order;

    smmu_writel(t, SMMU_CR0, 0);
    smmu_writel(t, SMMU_IRQ_CTRL, 0);
    ack_gerror(t);
    smmu_writel(t, SMMU_CR1, 3 << 10 | 1 << 8 | 1 << 6 | 3 << 4 | 1 << 2 | 1);
    smmu_writel(t, SMMU_CR2, CR2_PTM | CR2_RECINVSID);
    smmu_writeq(t, SMMU_STRTAB_BASE, STREAM_L1);
    smmu_writel(t, SMMU_STRTAB_BASE_CFG, STRTAB_CFG);
    smmu_writeq(t, SMMU_CMDQ_BASE, CMDQ | CMDQ_LOG2);
    smmu_writel(t, SMMU_CMDQ_PROD, 0);
    smmu_writel(t, SMMU_CMDQ_CONS, 0);
    smmu_writeq(t, SMMU_EVENTQ_BASE, EVTQ | EVTQ_LOG2);
    smmu_writel(t, SMMU_EVENTQ_PROD, 0);
    smmu_writel(t, SMMU_EVENTQ_CONS, 0);
    smmu_writeq(t, SMMU_PRIQ_BASE, PRIQ | prq_order);
    smmu_writel(t, SMMU_PRIQ_PROD, 0);
    smmu_writel(t, SMMU_PRIQ_CONS, 0);
    smmu_writel(t, SMMU_IRQ_CTRL, IRQ_GERROR | IRQ_PRIQ | IRQ_EVENTQ);
    enable_spi(t->qts, SPI_EVENTQ);
    enable_spi(t->qts, SPI_PRIQ);
    enable_spi(t->qts, SPI_SYNC);
    enable_spi(t->qts, SPI_GERROR);
    write_cr0(t, CR0_CMDQEN);
    inv_tables(t);
    write_cr0(t, CR0_ALL);
}

void start_machine(Test *t, uint64_t cd_flags)
{
    start_endpoints(t, 512);
    write_tables(t, cd_flags);
    start_smmu(t, PRIQ_ORDER);
}

Test *test_start_smmu(const char *options, uint64_t cd_flags)
{
    g_autofree char *args = g_strconcat(VIRT_SMMU, options, NULL);
    Test *t = test_new(args);

    start_machine(t, cd_flags);
    return t;
}

/*
 * Command queue
 */

static uint32_t next_index(uint32_t index, unsigned log2)
{
    return (index + 1) & ((2U << log2) - 1);
}

static uint64_t cmd_addr(uint32_t index)
{
    return CMDQ + (index & ((1U << CMDQ_LOG2) - 1)) * CMD_SIZE;
}

void cmd_put(Test *t, uint64_t q0, uint64_t q1)
{
    qtest_writeq(t->qts, cmd_addr(t->iq_tail), q0);
    qtest_writeq(t->qts, cmd_addr(t->iq_tail) + 8, q1);
    t->iq_tail = next_index(t->iq_tail, CMDQ_LOG2);
    smmu_writel(t, SMMU_CMDQ_PROD, t->iq_tail);
}

static uint32_t cmd_cons(Test *t)
{
    return smmu_readl(t, SMMU_CMDQ_CONS) & ((2U << CMDQ_LOG2) - 1);
}

unsigned cmd_behind(Test *t)
{
    return (t->iq_tail - cmd_cons(t)) & ((2U << CMDQ_LOG2) - 1);
}

void cmd_submit(Test *t, uint64_t q0, uint64_t q1)
{
    cmd_put(t, q0, q1);
    g_assert_cmphex(gerror(t) & GERROR_CMDQ, ==, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
}

void cmd_submit_bad(Test *t, uint64_t q0, uint64_t q1, unsigned error)
{
    uint32_t index = t->iq_tail;

    cmd_put(t, q0, q1);
    g_assert_cmphex(gerror(t) & GERROR_CMDQ, ==, GERROR_CMDQ);
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    g_assert_cmphex(extract32(smmu_readl(t, SMMU_CMDQ_CONS), 24, 7), ==,
                    error);

    qtest_writeq(t->qts, cmd_addr(index), CMD_SYNC);
    qtest_writeq(t->qts, cmd_addr(index) + 8, 0);
    ack_gerror(t);
    g_assert_cmphex(gerror(t), ==, 0);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
}

void cmd_sync(Test *t)
{
    cmd_submit(t, CMD_SYNC, 0);
}

void cfgi_ste(Endpoint *ep)
{
    cmd_submit(ep->t, CMD_CFGI_STE | CMD_SID(ep->bdf), 1);
    cmd_sync(ep->t);
}

void cfgi_cd(Endpoint *ep, uint32_t ssid, bool leaf)
{
    cmd_submit(ep->t, CMD_CFGI_CD | CMD_SID(ep->bdf) | CMD_SSID(ssid), leaf);
    cmd_sync(ep->t);
}

void cfgi_all(Test *t)
{
    cmd_submit(t, CMD_CFGI_STE_RANGE, 31);
    cmd_sync(t);
}

void tlbi_all(Test *t)
{
    cmd_submit(t, CMD_TLBI_NSNH_ALL, 0);
    cmd_sync(t);
}

void set_ste(Endpoint *ep, uint64_t q0, uint64_t q1)
{
    write_ste(ep, q0, q1);
    cfgi_ste(ep);
}

void set_cd(Endpoint *ep, uint32_t pasid, uint64_t flags)
{
    write_cd(ep->t, SSID(pasid), ASID(pasid), TABLES(pasid), flags);
    cfgi_cd(ep, SSID(pasid), true);
    tlbi_all(ep->t);
}

void inv_tables(Test *t)
{
    cfgi_all(t);
    tlbi_all(t);
}

uint64_t atc_inv_q0(Endpoint *ep, uint32_t pasid, bool global)
{
    return CMD_ATC_INV | CMD_SID(ep->bdf) | (global ? CMD_GLOBAL : 0) |
           (pasid != NOP ? CMD_SSV | CMD_SSID(pasid) : 0);
}

void atc_inv(Endpoint *ep, uint32_t pasid, bool global, uint64_t addr,
             unsigned size)
{
    cmd_submit(ep->t, atc_inv_q0(ep, pasid, global), addr | size);
    cmd_sync(ep->t);
}

void pri_resp(Endpoint *ep, uint32_t pasid, uint16_t prgi, unsigned resp)
{
    cmd_submit(ep->t, CMD_PRI_RESP | CMD_SID(ep->bdf) |
               (pasid != NOP ? CMD_SSV | CMD_SSID(pasid) : 0),
               prgi | resp << 12);
}

void page_response(Endpoint *ep, uint32_t pasid, uint8_t code, uint16_t prgi)
{
    pri_resp(ep, pasid, prgi, code == RSP_SUCCESS ? 2 :
             code == RSP_INVALID ? 1 : 0);
}

/*
 * Event queue
 */

uint8_t take_event(Test *t, Event *event)
{
    uint32_t prod = smmu_readl(t, SMMU_EVENTQ_PROD);
    uint64_t addr = EVTQ + (t->evq_head & ((1U << EVTQ_LOG2) - 1)) *
                    EVENT_SIZE;
    Event e;
    int i;

    if ((prod & ~OVERFLOW_FLAG) == t->evq_head) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(e.q); i++) {
        e.q[i] = qtest_readq(t->qts, addr + i * 8);
    }
    if (event) {
        *event = e;
    }
    t->evq_head = next_index(t->evq_head, EVTQ_LOG2);
    smmu_writel(t, SMMU_EVENTQ_CONS, t->evq_head | (prod & OVERFLOW_FLAG));
    return e.q[0];
}

void check_no_event(Test *t)
{
    g_assert_cmphex(take_event(t, NULL), ==, 0);
}

Event check_event(Endpoint *ep, uint8_t id, uint32_t pasid)
{
    bool ssid = pasid != NOP && id != F_STREAM_DISABLED &&
                id != F_TRANSL_FORBIDDEN;
    Event e = {};

    g_assert_cmphex(take_event(ep->t, &e), ==, id);
    g_assert_cmphex(extract64(e.q[0], 32, 32), ==, ep->bdf);
    g_assert_cmphex(extract64(e.q[0], 12, 20), ==, ssid ? pasid : 0);
    g_assert_cmphex(extract64(e.q[0], 11, 1), ==,
                    ssid && id != C_BAD_SUBSTREAMID);
    check_no_event(ep->t);
    return e;
}

/*
 * PRI queue
 */

static uint64_t pri_addr(Test *t, unsigned index)
{
    return PRIQ + (index & ((1U << t->prq_order) - 1)) * PRI_SIZE;
}

bool have_request(Test *t)
{
    return (smmu_readl(t, SMMU_PRIQ_PROD) & ~OVERFLOW_FLAG) != t->prq_head;
}

Request take_request(Test *t)
{
    uint64_t addr = pri_addr(t, t->prq_head);
    uint64_t lo, hi;

    WAIT_FOR(t->qts, have_request(t));
    lo = qtest_readq(t->qts, addr);
    hi = qtest_readq(t->qts, addr + 8);
    t->prq_head = next_index(t->prq_head, t->prq_order);
    smmu_writel(t, SMMU_PRIQ_CONS, t->prq_head |
                (smmu_readl(t, SMMU_PRIQ_CONS) & OVERFLOW_FLAG));
    return (Request) {
        .rid = lo,
        .pasid = lo & PRI_SSV ? extract64(lo, 32, 20) : NOP,
        .addr = hi & ~(PAGE - 1),
        .prgi = extract64(hi, 0, 9),
        .read = lo & PRI_R,
        .write = lo & PRI_W,
        .last = lo & PRI_LAST,
    };
}

uint64_t pri_entry_q0(Endpoint *ep, uint32_t pasid, uint64_t flags)
{
    return ep->bdf | flags |
           (pasid != NOP ? PRI_SSV | (uint64_t)pasid << 32 : 0);
}

void check_entry(Test *t, unsigned index, uint64_t q0, uint64_t addr,
                 uint16_t prgi)
{
    g_assert_cmphex(qtest_readq(t->qts, pri_addr(t, index)), ==, q0);
    g_assert_cmphex(qtest_readq(t->qts, pri_addr(t, index) + 8), ==,
                    addr | prgi);
}

void drain_requests(Test *t)
{
    uint32_t prod = smmu_readl(t, SMMU_PRIQ_PROD);

    t->prq_head = prod & ~OVERFLOW_FLAG;
    smmu_writel(t, SMMU_PRIQ_CONS, prod);
}

Event check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t id)
{
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    return check_event(ep, id, NOP);
}

/*
 * AMD-Vi, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "iopf-amd-qtest.h"

#define RING_SIZE (RING_ENTRIES * AMDVI_RING_ENTRY)

uint32_t amd_readl(Test *t, uint64_t offset)
{
    return qtest_readl(t->qts, AMDVI_BASE_ADDR + offset);
}

uint64_t amd_readq(Test *t, uint64_t offset)
{
    return qtest_readq(t->qts, AMDVI_BASE_ADDR + offset);
}

void amd_writel(Test *t, uint64_t offset, uint32_t val)
{
    qtest_writel(t->qts, AMDVI_BASE_ADDR + offset, val);
}

void amd_writeq(Test *t, uint64_t offset, uint64_t val)
{
    qtest_writeq(t->qts, AMDVI_BASE_ADDR + offset, val);
}

uint64_t amd_status(Test *t)
{
    return amd_readq(t, AMDVI_MMIO_STATUS);
}

/*
 * Tables
 */

void clear_tables(Test *t)
{
    qtest_memset(t->qts, DEVTAB, 0, DATA - DEVTAB);
}

void write_dte(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2)
{
    uint64_t addr = DEVTAB + ep->bdf * AMDVI_DEVTAB_ENTRY_SIZE;

    g_assert_cmpuint(ep->bdf >> 8, <, 2);
    qtest_writeq(ep->qts, addr + 24, 0);
    qtest_writeq(ep->qts, addr + 16, q2);
    qtest_writeq(ep->qts, addr + 8, q1);
    qtest_writeq(ep->qts, addr, q0);
}

void write_dte_gcr3(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2,
                    uint64_t gcr3, unsigned levels)
{
    q0 |= AMDVI_DTE_GV | AMDVI_DTE_GLX(levels) | extract64(gcr3, 12, 3) << 58;
    q1 |= extract64(gcr3, 15, 16) << 16 | extract64(gcr3, 31, 21) << 43;
    write_dte(ep, q0, q1, q2);
}

void write_gcr3(Test *t, unsigned levels, uint32_t pasid, uint64_t entry)
{
    unsigned level;

    g_assert_cmpuint(levels, <=, GCR3_PAGES);
    for (level = levels - 1; level; level--) {
        qtest_writeq(t->qts, GCR3 + level * PAGE +
                     extract32(pasid, level * 9, 9) * 8,
                     (GCR3 + (level - 1) * PAGE) | AMDVI_GCR3_V);
    }
    qtest_writeq(t->qts, GCR3 + extract32(pasid, 0, 9) * 8, entry);
}

void write_paging_host(Test *t, uint64_t tables)
{
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t table = tables + (4 - level) * PAGE;
        uint64_t index = extract64(IOVA, 12 + 9 * (level - 1), 9);

        qtest_writeq(t->qts, table + index * 8, (table + PAGE) | PTE_RW |
                     AMDVI_PTE_NEXT(level - 1));
    }
}

void start_amd(Test *t)
{
    t->iq_tail = 0;
    t->evq_head = 0;
    t->prq_head = 0;

    amd_writeq(t, AMDVI_MMIO_CONTROL, 0);
    amd_writeq(t, AMDVI_MMIO_DEVICE_TABLE, DEVTAB | (DEVTAB_PAGES - 1));
    amd_writeq(t, AMDVI_MMIO_COMMAND_BASE, RING(CMDBUF));
    amd_writeq(t, AMDVI_MMIO_EVENT_BASE, RING(EVTLOG));
    amd_writeq(t, AMDVI_MMIO_PPR_BASE, RING(PPRLOG));
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_ALL);
    inv_all(t);
}

/*
 * Commands
 */

void cmd_put(Test *t, uint64_t q0, uint64_t q1)
{
    qtest_writeq(t->qts, CMDBUF + t->iq_tail, q0);
    qtest_writeq(t->qts, CMDBUF + t->iq_tail + 8, q1);
    t->iq_tail = (t->iq_tail + AMDVI_RING_ENTRY) % RING_SIZE;
    amd_writel(t, AMDVI_MMIO_COMMAND_TAIL, t->iq_tail);
}

bool cmd_running(Test *t)
{
    return amd_status(t) & AMDVI_STATUS_CMD_RUN;
}

void cmd_submit(Test *t, uint64_t q0, uint64_t q1)
{
    cmd_put(t, q0, q1);
    g_assert(cmd_running(t));
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, t->iq_tail);
}

void cmd_restart(Test *t)
{
    uint64_t control = amd_readq(t, AMDVI_MMIO_CONTROL);

    amd_writeq(t, AMDVI_MMIO_CONTROL,
               control & ~AMDVI_MMIO_CONTROL_CMDBUFLEN);
    t->iq_tail = 0;
    amd_writel(t, AMDVI_MMIO_COMMAND_HEAD, 0);
    amd_writel(t, AMDVI_MMIO_COMMAND_TAIL, 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, control);
    g_assert(cmd_running(t));
}

void cmd_submit_bad(Test *t, uint64_t q0, uint64_t q1)
{
    uint64_t head = t->iq_tail;
    Event e = {};

    cmd_put(t, q0, q1);
    g_assert(!cmd_running(t));
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, head);
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_ILLEGAL_CMD);
    g_assert_cmphex(e.q[1], ==, CMDBUF + head);
    /* Nothing starts it but that */
    cmd_put(t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT), 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_COMMAND_HEAD), ==, head);
    cmd_restart(t);
}

void inv_dte(Endpoint *ep)
{
    cmd_submit(ep->t, AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY) | ep->bdf, 0);
}

void inv_pages(Test *t, uint16_t domain, uint32_t pasid, uint64_t addr,
               uint64_t flags)
{
    uint64_t q0 = AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES) |
                  (uint64_t)domain << 32;

    if (pasid != NOP) {
        q0 |= pasid;
        flags |= AMDVI_CMD_GN;
    }
    cmd_submit(t, q0, addr | flags);
}

void inv_all(Test *t)
{
    cmd_submit(t, AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_ALL), 0);
}

void put_inv_iotlb(Endpoint *ep, uint32_t pasid, uint64_t addr, bool size)
{
    uint64_t q0 = AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES) | ep->bdf |
                  (uint64_t)ep->bdf << 32;
    uint64_t q1 = addr | (size ? AMDVI_CMD_S : 0);

    if (pasid != NOP) {
        q0 |= extract64(pasid, 0, 8) << 48 | extract64(pasid, 8, 8) << 16 |
              extract64(pasid, 16, 4) << 56;
        q1 |= AMDVI_CMD_GN;
    }
    cmd_put(ep->t, q0, q1);
}

void inv_iotlb(Endpoint *ep, uint32_t pasid, uint64_t addr, bool size)
{
    put_inv_iotlb(ep, pasid, addr, size);
    g_assert(cmd_running(ep->t));
    g_assert_cmphex(amd_readq(ep->t, AMDVI_MMIO_COMMAND_HEAD), ==,
                    ep->t->iq_tail);
}

void put_wait(Test *t, uint64_t val)
{
    cmd_put(t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | STATUS_WORD |
            AMDVI_CMD_WAIT_STORE, val);
}

void page_response(Endpoint *ep, uint32_t pasid, uint8_t code, uint16_t prgi)
{
    uint64_t q0 = AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST) | ep->bdf;
    uint64_t q1 = (uint64_t)prgi << 32 | (uint64_t)code << 44;

    if (pasid != NOP) {
        q0 |= (uint64_t)pasid << 32;
        q1 |= AMDVI_CMD_GN;
    }
    cmd_submit(ep->t, q0, q1);
}

/*
 * Events
 */

uint8_t take_event(Test *t, Event *event)
{
    Event e;

    if (amd_readq(t, AMDVI_MMIO_EVENT_TAIL) == t->evq_head) {
        return 0;
    }
    e.q[0] = qtest_readq(t->qts, EVTLOG + t->evq_head);
    e.q[1] = qtest_readq(t->qts, EVTLOG + t->evq_head + 8);
    if (event) {
        *event = e;
    }
    t->evq_head = (t->evq_head + AMDVI_RING_ENTRY) % RING_SIZE;
    amd_writel(t, AMDVI_MMIO_EVENT_HEAD, t->evq_head);
    return AMDVI_EVENT_CODE(e.q[0]);
}

Event check_event(Endpoint *ep, uint8_t code)
{
    Event e = {};

    g_assert_cmphex(take_event(ep->t, &e), ==, code);
    g_assert_cmphex(extract64(e.q[0], 0, 16), ==, ep->bdf);
    check_no_event(ep->t);
    return e;
}

void check_no_event(Test *t)
{
    g_assert_cmphex(take_event(t, NULL), ==, 0);
}

Event check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t code)
{
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    return check_event(ep, code);
}

/*
 * Page requests
 */

bool have_request(Test *t)
{
    return amd_readq(t, AMDVI_MMIO_PPR_TAIL) != t->prq_head;
}

Request take_request(Test *t)
{
    uint64_t q0, q1;

    WAIT_FOR(t->qts, have_request(t));
    q0 = qtest_readq(t->qts, PPRLOG + t->prq_head);
    q1 = qtest_readq(t->qts, PPRLOG + t->prq_head + 8);
    t->prq_head = (t->prq_head + AMDVI_RING_ENTRY) % RING_SIZE;
    amd_writel(t, AMDVI_MMIO_PPR_HEAD, t->prq_head);
    g_assert_cmpuint(extract64(q0, 60, 4), ==, 1);
    return (Request) {
        .rid = q0,
        .pasid = q0 & AMDVI_PPR_GN ? extract64(q0, 16, 16) |
                 extract64(q0, 42, 4) << 16 : NOP,
        .addr = q1 & ~(PAGE - 1),
        .prgi = extract64(q0, 32, 9),
        .read = q0 & AMDVI_PPR_READ,
        .write = q0 & AMDVI_PPR_WRITE,
        .last = q0 & AMDVI_PPR_LAST,
    };
}

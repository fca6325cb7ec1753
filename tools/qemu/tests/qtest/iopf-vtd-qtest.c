/*
 * Intel VT-d, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-vtd-qtest.h"

uint32_t vtd_readl(Test *t, uint64_t offset)
{
    return qtest_readl(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset);
}

uint64_t vtd_readq(Test *t, uint64_t offset)
{
    return qtest_readq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset);
}

void vtd_writel(Test *t, uint64_t offset, uint32_t val)
{
    qtest_writel(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

void vtd_writeq(Test *t, uint64_t offset, uint64_t val)
{
    qtest_writeq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

uint8_t take_fault(Test *t, uint64_t *hi)
{
    uint64_t val = vtd_readq(t, DMAR_FRCD_REG_0_2);

    if (hi) {
        *hi = val;
    }
    if (!(val & VTD_FRCD_F)) {
        return 0;
    }
    vtd_writeq(t, DMAR_FRCD_REG_0_2, VTD_FRCD_F);
    return extract64(val, 32, 8);
}

void clear_tables(Test *t)
{
    int i;

    qtest_memset(t->qts, ROOT, 0, DATA - ROOT);
    for (i = 0; i < 4; i++) {
        qtest_writeq(t->qts, PASID_DIR + i * 8,
                     (PASID_TABLES + i * PAGE) | VTD_PASID_DIR_P);
    }
}

void write_context(Endpoint *ep, uint64_t flags)
{
    /* Devices 16 to 31 have a table of their own */
    uint64_t root = ROOT + (ep->bdf >> 8) * 16;
    uint64_t addr = CONTEXT + (ep->bdf & 0x7f) * VTD_CTX_ENTRY_SCALABLE_SIZE;

    g_assert(!(ep->bdf & 0x80));
    qtest_writeq(ep->qts, root, CONTEXT | VTD_ROOT_ENTRY_P);
    qtest_writeq(ep->qts, addr + 8, 0);
    qtest_writeq(ep->qts, addr + 16, 0);
    qtest_writeq(ep->qts, addr + 24, 0);
    qtest_writeq(ep->qts, addr, flags ? PASID_DIR | flags : 0);
}

void write_pasid_entry(Test *t, uint32_t pasid, uint64_t q0, uint64_t q1,
                       uint64_t q2)
{
    uint64_t addr = PASID_TABLES + pasid * VTD_PASID_ENTRY_SIZE;

    qtest_writeq(t->qts, addr + 8, q1);
    qtest_writeq(t->qts, addr + 16, q2);
    qtest_writeq(t->qts, addr, q0);
}

void write_pasid_sl(Test *t, uint32_t pasid, uint16_t did, uint64_t tables)
{
    write_pasid_entry(t, pasid, tables | VTD_SM_PASID_ENTRY_SLT |
                      AW_4_LEVELS | VTD_PASID_ENTRY_P, did, 0);
}

void write_pasid_fl(Test *t, uint32_t pasid, uint16_t did, uint64_t tables,
                    uint64_t flags)
{
    write_pasid_entry(t, pasid, VTD_SM_PASID_ENTRY_FLT | VTD_PASID_ENTRY_P,
                      did, tables | flags);
}

void start_vtd(Test *t, unsigned prq_order)
{
    g_assert_cmpuint(prq_order, <=, PRQ_ORDER_MAX);
    t->iq_tail = 0;
    t->prq_head = 0;
    t->prq_order = prq_order;

    vtd_writeq(t, DMAR_RTADDR_REG, ROOT | VTD_RTADDR_SMT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    vtd_writeq(t, DMAR_IQT_REG, 0);
    vtd_writeq(t, DMAR_IQA_REG, IQ | VTD_IQA_DW_MASK);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    vtd_writeq(t, DMAR_PQH_REG, 0);
    vtd_writeq(t, DMAR_PQT_REG, 0);
    vtd_writeq(t, DMAR_PQA_REG, PRQ | prq_order);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE);
    g_assert(vtd_readl(t, DMAR_GSTS_REG) & VTD_GSTS_TES);
}

void iq_put(Test *t, uint64_t q0, uint64_t q1, uint64_t q2, uint64_t q3)
{
    uint64_t addr = IQ + t->iq_tail * 32;

    qtest_writeq(t->qts, addr, q0);
    qtest_writeq(t->qts, addr + 8, q1);
    qtest_writeq(t->qts, addr + 16, q2);
    qtest_writeq(t->qts, addr + 24, q3);
    t->iq_tail = (t->iq_tail + 1) % IQ_ENTRIES;
    if (!t->iq_held) {
        vtd_writeq(t, DMAR_IQT_REG, t->iq_tail << 5);
    }
}

void iq_hold(Test *t)
{
    t->iq_held = true;
}

void iq_release(Test *t)
{
    t->iq_held = false;
    vtd_writeq(t, DMAR_IQT_REG, t->iq_tail << 5);
}

static bool iq_error(Test *t)
{
    return vtd_readl(t, DMAR_FSTS_REG) & VTD_FSTS_IQE;
}

void iq_submit(Test *t, uint64_t q0, uint64_t q1)
{
    iq_put(t, q0, q1, 0, 0);
    g_assert(!iq_error(t));
    g_assert_cmphex(vtd_readq(t, DMAR_IQH_REG), ==, t->iq_tail << 5);
}

void iq_submit_bad(Test *t, uint64_t q0, uint64_t q1, uint64_t q2)
{
    unsigned slot = t->iq_tail;

    iq_put(t, q0, q1, q2, 0);
    g_assert(iq_error(t));
    g_assert_cmphex(vtd_readq(t, DMAR_IQH_REG), ==, slot << 5);

    qtest_writeq(t->qts, IQ + slot * 32,
                 VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN);
    qtest_writeq(t->qts, IQ + slot * 32 + 8, 0);
    qtest_writeq(t->qts, IQ + slot * 32 + 16, 0);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    g_assert(!iq_error(t));
    g_assert_cmphex(vtd_readq(t, DMAR_IQH_REG), ==, t->iq_tail << 5);
}

void put_dev_tlb(Endpoint *ep, uint64_t addr, bool size)
{
    iq_put(ep->t, VTD_INV_DESC_DEVICE | (uint64_t)ep->bdf << 32, addr | size,
           0, 0);
}

void put_iotlb(Test *t)
{
    iq_put(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0, 0, 0);
}

void put_wait(Test *t, uint32_t val)
{
    iq_put(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW | (uint64_t)val << 32,
           STATUS_WORD, 0, 0);
}

void inv_context(Test *t)
{
    iq_submit(t, VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL, 0);
}

void inv_pasid_cache(Test *t)
{
    iq_submit(t, VTD_INV_DESC_PC | PC_GLOBAL, 0);
}

void inv_iotlb(Test *t)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
}

void inv_iotlb_domain(Test *t, uint16_t did)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_DOMAIN |
              (uint64_t)did << 16, 0);
}

void inv_tables(Test *t)
{
    inv_context(t);
    inv_pasid_cache(t);
    inv_iotlb(t);
}

void inv_dev_tlb(Endpoint *ep, uint64_t addr, bool size)
{
    iq_submit(ep->t, VTD_INV_DESC_DEVICE | (uint64_t)ep->bdf << 32,
              addr | size);
}

void inv_dev_tlb_pasid(Endpoint *ep, uint32_t pasid, bool global,
                       uint64_t addr, bool size)
{
    iq_submit(ep->t, VTD_INV_DESC_DEV_PIOTLB | (uint64_t)ep->bdf << 16 |
              (uint64_t)pasid << 32, addr | (uint64_t)size << 11 | global);
}

void page_response(Endpoint *ep, uint32_t pasid, uint8_t code, uint16_t prgi)
{
    uint64_t lo = VTD_INV_DESC_PGRP_RESP | (uint64_t)code << 12 |
                  (uint64_t)ep->bdf << 16;

    if (pasid != NOP) {
        lo |= 1 << 4 | (uint64_t)pasid << 32;
    }
    iq_submit(ep->t, lo, (uint64_t)prgi << 3);
}

bool have_request(Test *t)
{
    return vtd_readq(t, DMAR_PQT_REG) != t->prq_head << 5;
}

Request take_request(Test *t)
{
    uint64_t addr = PRQ + t->prq_head * 32;
    uint64_t lo, hi;

    WAIT_FOR(t->qts, have_request(t));
    lo = qtest_readq(t->qts, addr);
    hi = qtest_readq(t->qts, addr + 8);
    t->prq_head = (t->prq_head + 1) % (128 << t->prq_order);
    vtd_writeq(t, DMAR_PQH_REG, t->prq_head << 5);
    return (Request) {
        .rid = extract64(lo, 16, 16),
        .pasid = extract64(lo, 8, 1) ? extract64(lo, 32, 20) : NOP,
        .addr = hi & ~(PAGE - 1),
        .prgi = extract64(hi, 3, 9),
        .read = hi & 1,
        .write = hi & 2,
        .last = hi & 4,
    };
}

void check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t fault)
{
    uint64_t hi;

    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(take_fault(ep->t, &hi), ==, fault);
    /* An untranslated write without PASID, at that address */
    g_assert_cmphex(extract64(hi, 60, 3), ==, 0);
    g_assert_cmphex(extract64(hi, 31, 1), ==, 0);
    g_assert_cmphex(extract64(hi, 0, 16), ==, ep->bdf);
    g_assert_cmphex(vtd_readq(ep->t, DMAR_FRCD_REG_0_0), ==,
                    iova & ~(PAGE - 1));
}

void check_refused(Endpoint *ep, uint32_t pasid, uint8_t fault)
{
    Translation tr = translate(ep, pasid, IOVA, WANT_RW);
    uint64_t hi;

    g_assert_cmpuint(tr.status, ==, IOPF_TD_ST_TR_ERROR);
    g_assert_cmpint(tr.ret, ==, -EACCES);
    g_assert_cmphex(take_fault(ep->t, &hi), ==, fault);
    /* A translation request of that device */
    g_assert_cmphex(extract64(hi, 60, 2), ==, 1);
    g_assert_cmphex(extract64(hi, 0, 16), ==, ep->bdf);
    g_assert_cmphex(extract64(hi, 31, 1), ==, pasid != NOP);
    g_assert_cmphex(extract64(hi, 40, 20), ==, pasid != NOP ? pasid : 0);
}

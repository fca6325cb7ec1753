/*
 * What the qtests of iopf-testdev and of intel-iommu with it have in common
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/units.h"
#include "iopf-qtest.h"

#define MMCFG_BASE      0xb0000000ULL
#define BARS_BASE       0xc0000000ULL
#define BARS_SIZE       0x2000000ULL
#define BAR4_OFFSET     0x100000
#define BAR2_OFFSET     0x1000000

/*
 * Configuration space
 */

uint64_t cfg_addr(Endpoint *ep, uint16_t offset)
{
    return MMCFG_BASE + ((uint64_t)ep->bdf << 12) + offset;
}

uint16_t cfg_readw(Endpoint *ep, uint16_t offset)
{
    return qtest_readw(ep->qts, cfg_addr(ep, offset));
}

uint32_t cfg_readl(Endpoint *ep, uint16_t offset)
{
    return qtest_readl(ep->qts, cfg_addr(ep, offset));
}

void cfg_writew(Endpoint *ep, uint16_t offset, uint16_t val)
{
    qtest_writew(ep->qts, cfg_addr(ep, offset), val);
}

void cfg_writel(Endpoint *ep, uint16_t offset, uint32_t val)
{
    qtest_writel(ep->qts, cfg_addr(ep, offset), val);
}

uint16_t find_ext_cap(Endpoint *ep, uint16_t id)
{
    uint16_t offset = PCI_CFG_SPACE_SIZE;

    while (offset) {
        uint32_t header = cfg_readl(ep, offset);

        if (PCI_EXT_CAP_ID(header) == id) {
            return offset;
        }
        offset = PCI_EXT_CAP_NEXT(header);
    }
    return 0;
}

uint8_t find_cap(Endpoint *ep, uint8_t id)
{
    uint8_t offset = cfg_readw(ep, PCI_CAPABILITY_LIST) & 0xff;

    while (offset) {
        uint16_t header = cfg_readw(ep, offset);

        if ((header & 0xff) == id) {
            return offset;
        }
        offset = header >> 8;
    }
    g_assert_not_reached();
}

void enable_mmcfg(QTestState *qts)
{
    /* PCIEXBAR of the host bridge, through the I/O ports */
    qtest_outl(qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(qts, 0xcfc, MMCFG_BASE | 1);
}

void enable_root_port(Endpoint *ep, uint16_t bdf)
{
    Endpoint port = { .qts = ep->qts, .bdf = bdf };
    uint16_t bus = ep->bdf >> 8;

    cfg_writel(&port, PCI_PRIMARY_BUS, bus << 16 | bus << 8);
    cfg_writew(&port, PCI_MEMORY_BASE, ep->bar0 >> 16);
    cfg_writew(&port, PCI_MEMORY_LIMIT, (ep->bar0 + 2 * BARS_SIZE - 1) >> 16);
    cfg_writew(&port, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void eject_root_port(QTestState *qts)
{
    /* Slot 0 of the only bus with hotplug, as ACPI has it */
    qtest_outl(qts, 0xcc0 + 0x10, 0);
    qtest_outl(qts, 0xcc0 + 0x08, 1);
}

/*
 * Endpoint
 */

uint32_t ep_readl(Endpoint *ep, uint32_t reg)
{
    return qtest_readl(ep->qts, ep->bar0 + reg);
}

uint64_t ep_readq(Endpoint *ep, uint32_t reg)
{
    return qtest_readq(ep->qts, ep->bar0 + reg);
}

void ep_writel(Endpoint *ep, uint32_t reg, uint32_t val)
{
    qtest_writel(ep->qts, ep->bar0 + reg, val);
}

void ep_writeq(Endpoint *ep, uint32_t reg, uint64_t val)
{
    qtest_writeq(ep->qts, ep->bar0 + reg, val);
}

void ep_init(Endpoint *ep, Test *t, uint16_t bdf, unsigned slot)
{
    uint64_t base = BARS_BASE + slot * BARS_SIZE;

    *ep = (Endpoint) {
        .t = t,
        .qts = t->qts,
        .bdf = bdf,
        .bar0 = base,
        .bar2 = base + BAR2_OFFSET,
        .bar4 = base + BAR4_OFFSET,
    };
}

void ep_find_caps(Endpoint *ep)
{
    ep->ats = find_ext_cap(ep, PCI_EXT_CAP_ID_ATS);
    ep->pri = find_ext_cap(ep, PCI_EXT_CAP_ID_PRI);
    ep->pasid = find_ext_cap(ep, PCI_EXT_CAP_ID_PASID);
    ep->sriov = find_ext_cap(ep, PCI_EXT_CAP_ID_SRIOV);
    ep->exp = find_cap(ep, PCI_CAP_ID_EXP);
}

void ep_map(Endpoint *ep)
{
    cfg_writel(ep, PCI_BASE_ADDRESS_0, ep->bar0);
    cfg_writel(ep, PCI_BASE_ADDRESS_1, ep->bar0 >> 32);
    cfg_writel(ep, PCI_BASE_ADDRESS_2, ep->bar2);
    cfg_writel(ep, PCI_BASE_ADDRESS_3, ep->bar2 >> 32);
    cfg_writel(ep, PCI_BASE_ADDRESS_4, ep->bar4);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_ID), ==, IOPF_TD_ID);
    if (!ep->exp) {
        ep_find_caps(ep);
    }
}

void ep_enable(Endpoint *ep, uint32_t allocation)
{
    if (ep->pasid) {
        cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE |
                   PCI_PASID_CTRL_EXEC | PCI_PASID_CTRL_PRIV);
    }
    if (ep->ats) {
        cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    }
    if (ep->pri) {
        cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, allocation);
        cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    }
}

static void init_vf(Endpoint *pf, Endpoint *vf, unsigned n, unsigned slot)
{
    ep_init(vf, pf->t, pf->bdf +
            cfg_readw(pf, pf->sriov + PCI_SRIOV_VF_OFFSET) +
            n * cfg_readw(pf, pf->sriov + PCI_SRIOV_VF_STRIDE), slot);
    vf->bar0 += n * IOPF_TD_REGS_SIZE;
    vf->bar2 += n * 4 * MiB;
    vf->bar4 += n * PAGE;
}

void enable_vf(Endpoint *vf)
{
    /* The PCI core wants to see more than MSE of the PF */
    cfg_writew(vf, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_assert_cmphex(ep_readl(vf, IOPF_TD_REG_ID), ==, IOPF_TD_ID);
}

void enable_vfs(Endpoint *pf, Endpoint *vf, unsigned n, unsigned slot)
{
    uint16_t bars = pf->sriov + PCI_SRIOV_BAR;
    unsigned i;

    for (i = 0; i < n; i++) {
        init_vf(pf, &vf[i], i, slot);
    }
    cfg_writel(pf, bars + IOPF_TD_BAR_REGS * 4, vf[0].bar0);
    cfg_writel(pf, bars + IOPF_TD_BAR_RAM * 4, vf[0].bar2);
    cfg_writel(pf, bars + IOPF_TD_BAR_MSIX * 4, vf[0].bar4);
    cfg_writew(pf, pf->sriov + PCI_SRIOV_NUM_VF, n);
    cfg_writew(pf, pf->sriov + PCI_SRIOV_CTRL,
               PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
    for (i = 0; i < n; i++) {
        ep_find_caps(&vf[i]);
        enable_vf(&vf[i]);
    }
}

void ep_start_ring(Endpoint *ep, unsigned log2, unsigned contexts)
{
    ep_writel(ep, IOPF_TD_REG_RING_LOG2, log2);
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, contexts);
    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    ep->ring_mask = (1u << log2) - 1;
    ep->tail = 0;
}

uint64_t ep_desc_addr(Endpoint *ep, uint32_t index)
{
    return ep->bar2 + IOPF_TD_RAM_RING + index * IOPF_TD_DESC_SIZE;
}

uint64_t ep_put(Endpoint *ep, const Desc *d)
{
    uint64_t addr = ep_desc_addr(ep, ep->tail);

    qtest_writeq(ep->qts, addr, d->op | d->mode << 8 |
                 (uint64_t)d->flags << 16 | (uint64_t)d->pasid << 32);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_IOVA, d->iova);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_LENGTH,
                 d->length | (uint64_t)d->ram << 32);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_DATA,
                 d->data | (uint64_t)d->prgi << 32 | (uint64_t)d->delay << 48);
    qtest_writel(ep->qts, addr + IOPF_TD_DESC_STATUS, IOPF_TD_ST_NONE);
    ep->tail = (ep->tail + 1) & ep->ring_mask;
    return addr;
}

void ep_ring(Endpoint *ep)
{
    ep_writel(ep, IOPF_TD_REG_RING_TAIL, ep->tail);
}

uint64_t ep_start(Endpoint *ep, const Desc *d)
{
    uint64_t addr = ep_put(ep, d);

    ep_ring(ep);
    return addr;
}

uint32_t ep_desc_status(Endpoint *ep, uint64_t desc)
{
    return qtest_readl(ep->qts, desc + IOPF_TD_DESC_STATUS);
}

int32_t ep_desc_ret(Endpoint *ep, uint64_t desc)
{
    return qtest_readl(ep->qts, desc + IOPF_TD_DESC_RET);
}

uint32_t ep_finish(Endpoint *ep, uint64_t desc)
{
    WAIT_FOR(ep->qts, ep_desc_status(ep, desc) != IOPF_TD_ST_NONE);
    return ep_desc_status(ep, desc);
}

uint32_t ep_run(Endpoint *ep, const Desc *d)
{
    return ep_finish(ep, ep_start(ep, d));
}

void ep_check(Endpoint *ep, const Desc *d, uint32_t status)
{
    g_assert_cmpuint(ep_run(ep, d), ==, status);
}

void ep_check_ret(Endpoint *ep, const Desc *d, int32_t ret)
{
    uint64_t desc = ep_start(ep, d);

    g_assert_cmpuint(ep_finish(ep, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint(ep_desc_ret(ep, desc), ==, ret);
}

Desc with_pasid(Desc d, uint32_t pasid)
{
    if (pasid != NOP) {
        d.flags |= IOPF_TD_F_PASID;
        d.pasid = pasid;
    }
    return d;
}

uint32_t ep_write_untranslated(Endpoint *ep, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 8,
    };

    return ep_run(ep, &d);
}

void check_untranslated(Endpoint *ep, uint64_t iova, uint64_t addr)
{
    qtest_writeq(ep->qts, addr, UINT64_MAX);
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(ep->qts, addr), !=, UINT64_MAX);
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

static Translation read_translation(Endpoint *ep, uint64_t rec)
{
    uint64_t addr = qtest_readq(ep->qts, rec + IOPF_TD_TRREC_ADDR);
    Translation tr = {};

    tr.iova = qtest_readq(ep->qts, rec + IOPF_TD_TRREC_IOVA);
    tr.size = 1ULL << (tr.iova & IOPF_TD_TRREC_IOVA_SIZE);
    tr.iova &= ~(uint64_t)IOPF_TD_TRREC_IOVA_SIZE;
    tr.perm = addr & 0x3f;
    tr.addr = addr & ~(PAGE - 1);
    return tr;
}

Translation translate(Endpoint *ep, uint32_t pasid, uint64_t iova,
                      uint16_t want)
{
    Desc d = {
        .op = IOPF_TD_OP_TRANSLATE,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = want | IOPF_TD_F_NOLOOKUP | IOPF_TD_F_NOFILL,
        .iova = iova,
        .length = 1,
        .ram = IOPF_TD_RAM_DATA,
    };
    uint64_t rec = ep->bar2 + d.ram;
    Translation tr;
    uint64_t desc;
    uint32_t status;

    d = with_pasid(d, pasid);
    if (!(want & WANT_W)) {
        d.flags |= IOPF_TD_F_NW;
    }
    qtest_writeq(ep->qts, rec, 0);
    qtest_writeq(ep->qts, rec + 8, 0);

    desc = ep_start(ep, &d);
    status = ep_finish(ep, desc);
    tr = read_translation(ep, rec);
    tr.status = status;
    tr.ret = ep_desc_ret(ep, desc);
    return tr;
}

void check_translation(Endpoint *ep, uint32_t pasid, uint64_t iova,
                       uint16_t want, uint64_t addr, uint64_t size,
                       uint32_t perm)
{
    Translation tr = translate(ep, pasid, iova, want);

    g_assert_cmpint(tr.ret, ==, 0);
    g_assert_cmphex(tr.iova, ==, iova & ~(size - 1));
    g_assert_cmphex(tr.size, ==, size);
    g_assert_cmphex(tr.perm, ==, perm);
    if (perm) {
        g_assert_cmphex(tr.addr, ==, addr & ~(size - 1));
    }
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

void fill_atc(Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = iova,
        .length = PAGE,
    };

    d = with_pasid(d, pasid);
    ep_check(ep, &d, IOPF_TD_ST_OK);
}

bool in_atc(Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    ep_writel(ep, IOPF_TD_REG_ATC_PASID, pasid);
    ep_writeq(ep, IOPF_TD_REG_ATC_ADDR, iova);
    ep_writel(ep, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    return ep_readq(ep, IOPF_TD_REG_ATC_RESULT) & IOPF_TD_ATC_RESULT_VALID;
}

Desc group_request(uint32_t pasid, uint64_t iova, uint32_t pages,
                   uint16_t want, uint16_t prgi)
{
    Desc d = {
        .op = IOPF_TD_OP_PAGE_REQUEST,
        .flags = want | IOPF_TD_F_PRGI | IOPF_TD_F_GROUP,
        .iova = iova,
        .length = pages * PAGE,
        .prgi = prgi,
    };

    return with_pasid(d, pasid);
}

Response last_response(Endpoint *ep)
{
    uint32_t head = ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD);
    uint64_t rec = ep->bar2 + IOPF_TD_RAM_RSPLOG +
                   (head - 1) % IOPF_TD_RSPLOG_ENTRIES *
                   IOPF_TD_LOG_ENTRY_SIZE;

    g_assert_cmpuint(head, >, 0);
    g_assert_cmpuint(qtest_readl(ep->qts, rec), ==, head);
    return (Response) {
        .code = qtest_readb(ep->qts, rec + IOPF_TD_RSP_CODE),
        .flags = qtest_readb(ep->qts, rec + IOPF_TD_RSP_FLAGS),
        .prgi = qtest_readw(ep->qts, rec + IOPF_TD_RSP_PRGI),
        .pasid = qtest_readl(ep->qts, rec + IOPF_TD_RSP_PASID),
        .count = qtest_readl(ep->qts, rec + IOPF_TD_RSP_COUNT),
        .addr = qtest_readq(ep->qts, rec + IOPF_TD_RSP_ADDR),
    };
}

void check_response(Endpoint *ep, uint8_t code, uint8_t flags, uint16_t prgi,
                    uint32_t pasid, uint32_t count)
{
    Response r = last_response(ep);

    g_assert_cmphex(r.code, ==, code);
    g_assert_cmphex(r.flags, ==, flags);
    g_assert_cmpuint(r.prgi, ==, prgi);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpuint(r.count, ==, count);
}

void check_pattern(QTestState *qts, uint64_t addr, uint32_t seed,
                   uint32_t length)
{
    g_autofree uint8_t *want = g_malloc(length);
    g_autofree uint8_t *got = g_malloc(length);
    uint32_t i;

    for (i = 0; i < length; i++) {
        want[i] = (seed + i / 4 * IOPF_TD_PATTERN_STEP) >> (i % 4 * 8);
    }
    qtest_memread(qts, addr, got, length);
    g_assert_cmpmem(got, length, want, length);
}

/*
 * VT-d
 */

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

void write_paging(Test *t, uint64_t tables, uint64_t flags)
{
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t table = tables + (4 - level) * PAGE;
        uint64_t index = extract64(IOVA, 12 + 9 * (level - 1), 9);

        qtest_writeq(t->qts, table + index * 8, (table + PAGE) | flags);
    }
}

uint64_t leaf_addr(uint64_t tables, uint64_t iova)
{
    return tables + 3 * PAGE + extract64(iova, 12, 9) * 8;
}

void write_leaf(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, leaf_addr(tables, iova), pte);
}

uint64_t read_leaf(Test *t, uint64_t tables, uint64_t iova)
{
    return qtest_readq(t->qts, leaf_addr(tables, iova));
}

void write_leaf_2m(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, tables + 2 * PAGE + extract64(iova, 21, 9) * 8, pte);
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

void check_request(Endpoint *ep, uint64_t addr, uint32_t pasid, bool read,
                   bool write, bool last, uint16_t *prgi)
{
    Request r = take_request(ep->t);

    g_assert_cmphex(r.rid, ==, ep->bdf);
    g_assert_cmphex(r.addr, ==, addr);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpint(r.read, ==, read);
    g_assert_cmpint(r.write, ==, write);
    g_assert_cmpint(r.last, ==, last);
    if (prgi) {
        *prgi = r.prgi;
    }
}

/*
 * QTest of the I/O page fault test endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs. The first part needs no IOMMU; the second part uses
 * intel-iommu, because somebody has to answer translation and page requests,
 * but it is about the endpoint.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/bitops.h"
#include "qobject/qdict.h"
#include "iopf-vtd-qtest.h"

#define DEVFN           (4 << 3)
#define ROOT_PORT       (6 << 3)
#define REQUESTS_MAX    (128 << PRQ_ORDER_MAX)
#define DEVICE          " -device iopf-testdev,id=td0,bus=pcie.0,addr=4.0"

static Endpoint *test_start_bdf(const char *args, uint16_t bdf)
{
    Test *t = test_new(args);
    Endpoint *ep = &t->ep[0];

    ep_init(ep, t, bdf, 0);
    enable_mmcfg(t->qts);
    if (bdf >> 8) {
        enable_root_port(ep, ROOT_PORT);
    }
    ep_map(ep);
    ep_start_ring(ep, 8, 1);
    return ep;
}

static Endpoint *test_start_args(const char *args)
{
    return test_start_bdf(args, DEVFN);
}

/* Without IOMMU */
static Endpoint *test_start(void)
{
    return test_start_args(Q35 DEVICE);
}

static void wait_status(Endpoint *ep, uint32_t bit)
{
    WAIT_FOR(ep->qts, ep_readl(ep, IOPF_TD_REG_STATUS) & bit);
}

static void wait_idle(Endpoint *ep)
{
    WAIT_FOR(ep->qts,
             !(ep_readl(ep, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_BUSY));
}

/*
 * Part 1: no IOMMU
 */

static void test_config(void)
{
    Endpoint *ep = test_start();
    uint16_t status;

    g_assert_cmphex(cfg_readw(ep, PCI_VENDOR_ID), ==, IOPF_TD_VENDOR_ID);
    g_assert_cmphex(cfg_readw(ep, PCI_DEVICE_ID), ==, IOPF_TD_DEVICE_ID);
    g_assert_cmphex(cfg_readl(ep, PCI_CLASS_REVISION) >> 8, ==, 0x00ff00);
    /* On the root complex it is an integrated endpoint */
    g_assert_cmphex(cfg_readw(ep, ep->exp + PCI_EXP_FLAGS) &
                    PCI_EXP_FLAGS_TYPE, ==, PCI_EXP_TYPE_RC_END << 4);
    g_assert_cmphex(cfg_readl(ep, ep->exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, PCI_EXP_DEVCAP_FLR);
    g_assert_cmphex(find_cap(ep, PCI_CAP_ID_MSIX), !=, 0);
    g_assert_cmphex(find_ext_cap(ep, PCI_EXT_CAP_ID_ERR), ==, 0);

    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CAP), ==,
                    PCI_ATS_CAP_PAGE_ALIGNED | PCI_ATS_CAP_GLOBAL_INV);
    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_MAX_REQ), ==, 64);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_ALLOC_REQ), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CAP), ==,
                    PCI_PASID_CAP_EXEC | PCI_PASID_CAP_PRIV | 8 << 8);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CTRL), ==, 0);

    /* Capacity is read only, allocation is not; Reset reads as 0 */
    cfg_writel(ep, ep->pri + PCI_PRI_MAX_REQ, 1);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_MAX_REQ), ==, 64);
    cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, 1000);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_ALLOC_REQ), ==, 1000);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_CTRL), ==, 0);

    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, 7);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE | 3);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    status = cfg_readw(ep, ep->pri + PCI_PRI_STATUS);
    g_assert_cmphex(status & PCI_PRI_STATUS_STOPPED, ==, 0);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER | IOPF_TD_LIVE_ATS |
                    IOPF_TD_LIVE_PRI | IOPF_TD_LIVE_PASID |
                    IOPF_TD_LIVE_PASID_EXEC | IOPF_TD_LIVE_PASID_PRIV |
                    3 << IOPF_TD_LIVE_STU_SHIFT |
                    64 << IOPF_TD_LIVE_ALLOC_SHIFT);
    /* What is in use stays */
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE | 5);
    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CTRL), ==,
                    PCI_ATS_CTRL_ENABLE | 3);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CTRL), ==, 7);
    cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, 5);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_ALLOC_REQ), ==, 1000);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    status = cfg_readw(ep, ep->pri + PCI_PRI_STATUS);
    g_assert_cmphex(status & PCI_PRI_STATUS_STOPPED, ==,
                    PCI_PRI_STATUS_STOPPED);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_BUS_MASTER,
                    ==, 0);
    test_end(ep->t);
}

static void test_properties(void)
{
    Endpoint *ep = test_start_args(Q35 DEVICE ",ats=off,pri=off,pasid=0,"
                                   "aer=on,flr=off,atc-entries=7,ram-size=1M");

    g_assert_cmphex(ep->ats, ==, 0);
    g_assert_cmphex(ep->pri, ==, 0);
    g_assert_cmphex(ep->pasid, ==, 0);
    g_assert_cmphex(find_ext_cap(ep, PCI_EXT_CAP_ID_ERR), ==, 0x100);
    g_assert_cmphex(cfg_readl(ep, ep->exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, 0);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_CAPS), ==,
                    IOPF_TD_CAPS_RSP_PASID |
                    7 << IOPF_TD_CAPS_ATC_ENTRIES_SHIFT);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER);
    cfg_writel(ep, PCI_BASE_ADDRESS_2, 0xffffffff);
    g_assert_cmphex(cfg_readl(ep, PCI_BASE_ADDRESS_2) & ~0xf, ==, 0xfff00000);
    test_end(ep->t);

    ep = test_start_args(Q35 DEVICE ",aer=on,prg-resp-pasid=off,pasid=20,"
                         "page-aligned=off,global-inv=off,inv-queue-depth=5,"
                         "pri-capacity=3");
    g_assert_cmphex(ep->ats, >, 0x100);
    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CAP), ==, 5);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_MAX_REQ), ==, 3);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CAP) >> 8, ==, 20);
    test_end(ep->t);
}

static void check_device_add(Endpoint *ep, const char *property, int64_t value,
                             bool good)
{
    QDict *args = qdict_new();
    QDict *response;

    qdict_put_str(args, "driver", "iopf-testdev");
    qdict_put_str(args, "id", "td1");
    qdict_put_str(args, "bus", "rp1");
    qdict_put_int(args, property, value);
    response = qtest_qmp(ep->qts, "{'execute': 'device_add',"
                                 " 'arguments': %p }", args);
    g_assert_cmpint(qdict_haskey(response, "return"), ==, good);
    qobject_unref(response);
}

static void test_bad_properties(void)
{
    Endpoint *ep = test_start_args(Q35 "-device pcie-root-port,id=rp1 " DEVICE);

    check_device_add(ep, "pasid", 21, false);
    check_device_add(ep, "inv-queue-depth", 32, false);
    check_device_add(ep, "pri-capacity", 0, false);
    check_device_add(ep, "atc-entries", 0, false);
    check_device_add(ep, "atc-entries", 65536, false);
    check_device_add(ep, "ram-size", 256 * 1024, false);
    check_device_add(ep, "ram-size", 3 * 1024 * 1024, false);
    check_device_add(ep, "ram-size", 512 * 1024 * 1024, false);
    /* None of the failures left anything behind */
    check_device_add(ep, "pasid", 20, true);
    test_end(ep->t);
}

static void check_default_registers(Endpoint *ep)
{
    static const struct {
        uint32_t reg, val;
    } regs[] = {
        { IOPF_TD_REG_ID, IOPF_TD_ID },
        { IOPF_TD_REG_VERSION, IOPF_TD_VERSION },
        { IOPF_TD_REG_CTRL, 0 },
        { IOPF_TD_REG_STATUS, 0 },
        { IOPF_TD_REG_STEP, 0 },
        { IOPF_TD_REG_IRQ_CAUSE, 0 },
        { IOPF_TD_REG_IRQ_ENABLE, 0 },
        { IOPF_TD_REG_CONTEXTS, 1 },
        { IOPF_TD_REG_RING_LOG2, 0 },
        { IOPF_TD_REG_RING_HEAD, 0 },
        { IOPF_TD_REG_RING_TAIL, 0 },
        { IOPF_TD_REG_RING_DONE, 0 },
        { IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE },
        { IOPF_TD_REG_ATC_PASID, IOPF_TD_NO_PASID },
        { IOPF_TD_REG_ATC_ADDR, 0 },
        { IOPF_TD_REG_ATC_COUNT, 0 },
        { IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK },
        { IOPF_TD_REG_PRI_GROUP_MAX, 512 },
        { IOPF_TD_REG_PRI_PRGI, 0 },
        { IOPF_TD_REG_PRI_OUTSTANDING, 0 },
        { IOPF_TD_REG_PRI_TIMEOUT_MS, 0 },
        { IOPF_TD_REG_PRI_RETRY, 3 },
        { IOPF_TD_REG_PRI_FULL_RETRY, 1000 },
        { IOPF_TD_REG_PRI_FULL_PAUSE_US, 1000 },
        { IOPF_TD_REG_PRI_GROUPS, 0 },
        { IOPF_TD_REG_PRI_PARTIAL, 0 },
        { IOPF_TD_REG_PRI_STALE, 0 },
        { IOPF_TD_REG_STORM_ADDR, 0 },
        { IOPF_TD_REG_STORM_STRIDE, 4096 },
        { IOPF_TD_REG_STORM_COUNT, 0 },
        { IOPF_TD_REG_STORM_FLAGS, 0 },
        { IOPF_TD_REG_STORM_GROUP, 1 },
        { IOPF_TD_REG_STORM_SENT, 0 },
        { IOPF_TD_REG_HOSTILE, 0 },
        { IOPF_TD_REG_INVLOG_HEAD, 0 },
        { IOPF_TD_REG_RSPLOG_HEAD, 0 },
        /* No such registers */
        { 0x200, 0 },
        { IOPF_TD_REGS_SIZE - 4, 0 },
    };
    uint32_t reg;
    int i;

    for (i = 0; i < ARRAY_SIZE(regs); i++) {
        g_assert_cmphex(ep_readl(ep, regs[i].reg), ==, regs[i].val);
    }
    for (reg = IOPF_TD_REG_COUNTERS; reg < IOPF_TD_REG_COUNTERS_END; reg += 4) {
        g_assert_cmphex(ep_readl(ep, reg), ==, 0);
    }
}

static void test_registers(void)
{
    Endpoint *ep = test_start();

    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_RESET);
    check_default_registers(ep);

    /* Read only */
    ep_writel(ep, IOPF_TD_REG_ID, 0);
    ep_writel(ep, IOPF_TD_REG_RING_DONE, 5);
    ep_writel(ep, IOPF_TD_REG_CNT_TR, 5);
    ep_writel(ep, IOPF_TD_REG_RSPLOG_HEAD, 5);
    ep_writel(ep, IOPF_TD_REG_STORM_SENT, 5);
    check_default_registers(ep);

    /* Limits */
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CONTEXTS), ==, 1);
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 1000);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CONTEXTS), ==,
                     IOPF_TD_CONTEXTS_MAX);
    ep_writel(ep, IOPF_TD_REG_RING_LOG2, 4);
    ep_writel(ep, IOPF_TD_REG_RING_LOG2, IOPF_TD_RING_LOG2_MAX + 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RING_LOG2), ==, 4);
    ep_writel(ep, IOPF_TD_REG_RING_TAIL, 0x123);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RING_TAIL), ==, 3);
    ep_writel(ep, IOPF_TD_REG_PRI_GROUP_MAX, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUP_MAX), ==, 1);
    ep_writel(ep, IOPF_TD_REG_PRI_GROUP_MAX, 513);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUP_MAX), ==, 512);
    ep_writel(ep, IOPF_TD_REG_PRI_PRGI, 0xffff);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_PRGI), ==, 511);
    ep_writel(ep, IOPF_TD_REG_PRI_RETRY, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_RETRY), ==, 1);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, 0xffffffff);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_HOSTILE), ==,
                    IOPF_TD_HOSTILE_ALL);
    ep_writel(ep, IOPF_TD_REG_STORM_FLAGS, 0xffffffff);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_STORM_FLAGS), ==,
                    IOPF_TD_STORM_F_ALL);

    /* 64 bits in one go */
    ep_writeq(ep, IOPF_TD_REG_ATC_ADDR, 0x123456789abcdef0ULL);
    g_assert_cmphex(ep_readq(ep, IOPF_TD_REG_ATC_ADDR), ==,
                    0x123456789abcdef0ULL);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_ATC_ADDR + 4), ==, 0x12345678);
    ep_writeq(ep, IOPF_TD_REG_STORM_ADDR, 0x5000000040000000ULL);
    g_assert_cmphex(ep_readq(ep, IOPF_TD_REG_STORM_ADDR), ==,
                    0x5000000040000000ULL);

    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_RESET);
    check_default_registers(ep);
    test_end(ep->t);
}

static void test_dma(void)
{
    Endpoint *ep = test_start();
    uint8_t buf[10000];
    uint64_t addr;
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = DATA + 0x123, .length = 9001,
               .data = 0xdeadbeef };

    /* Neither aligned nor within a page */
    qtest_memset(ep->qts, DATA, 0x55, 0x4000);
    addr = ep_start(ep, &d);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(qtest_readl(ep->qts, addr + IOPF_TD_DESC_DONE), ==, 9001);
    g_assert_cmpuint(qtest_readl(ep->qts, addr + IOPF_TD_DESC_SEQ), ==, 1);
    g_assert_cmpuint(ep_desc_ret(ep, addr), ==, 0);
    check_pattern(ep->qts, DATA + 0x123, 0xdeadbeef, 9001);
    g_assert_cmphex(qtest_readb(ep->qts, DATA + 0x122), ==, 0x55);
    g_assert_cmphex(qtest_readb(ep->qts, DATA + 0x123 + 9001), ==, 0x55);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_ACC_UNTRANSLATED), ==, 3);

    d.op = IOPF_TD_OP_COMPARE;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    qtest_writeb(ep->qts, DATA + 0x123 + 8000, 0x77);
    addr = ep_start(ep, &d);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_MISMATCH);
    g_assert_cmphex(qtest_readq(ep->qts, addr + IOPF_TD_DESC_FAIL_ADDR), ==,
                    DATA + 0x123 + 8000);
    g_assert_cmpuint(qtest_readl(ep->qts, addr + IOPF_TD_DESC_DONE), ==, 8000);

    /* Host to device RAM and back to another place */
    d.op = IOPF_TD_OP_FILL;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    d.op = IOPF_TD_OP_READ;
    d.ram = IOPF_TD_RAM_DATA + 7;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_pattern(ep->qts, ep->bar2 + d.ram, 0xdeadbeef, 9001);
    d.op = IOPF_TD_OP_WRITE;
    d.iova = DATA + 0x8fff;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_pattern(ep->qts, d.iova, 0xdeadbeef, 9001);

    /* The pattern is what the header says, also without our own code */
    d = (Desc) { .op = IOPF_TD_OP_FILL, .iova = DATA, .length = 9,
                 .data = 0x11223344 };
    ep_check(ep, &d, IOPF_TD_ST_OK);
    qtest_memread(ep->qts, DATA, buf, 9);
    g_assert_cmphex(ldl_le_p(buf), ==, 0x11223344);
    g_assert_cmphex((uint32_t)ldl_le_p(buf + 4), ==,
                    0x11223344u + 0x9e3779b1u);
    g_assert_cmphex(buf[8], ==, (uint8_t)(0x11223344u + 2 * 0x9e3779b1u));

    qtest_writeq(ep->qts, DATA + 8, 0xffffffffULL);
    d = (Desc) { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA + 8, .length = 8,
                 .ram = IOPF_TD_RAM_DATA, .data = 1 };
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(ep->qts, DATA + 8), ==, 0x100000000ULL);
    g_assert_cmphex(qtest_readq(ep->qts, ep->bar2 + IOPF_TD_RAM_DATA), ==,
                    0xffffffffULL);
    d.data = -2;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(ep->qts, DATA + 8), ==, 0xfffffffeULL);
    test_end(ep->t);
}

static void test_bad_descriptors(void)
{
    Endpoint *ep = test_start();
    uint32_t ram_size = 4 * 1024 * 1024;
    const Desc bad[] = {
        { .op = IOPF_TD_OP_MAX + 1 },
        { .op = 0xff },
        { .op = IOPF_TD_OP_NOP, .mode = IOPF_TD_MODE_MAX + 1 },
        { .op = IOPF_TD_OP_NOP, .flags = 0x8000 },
        { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_PASID, .pasid = 1 << 20 },
        { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_PRGI, .prgi = 512 },
        { .op = IOPF_TD_OP_FILL, .iova = DATA },
        { .op = IOPF_TD_OP_FILL, .iova = UINT64_MAX, .length = 2 },
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 1, .ram = ram_size },
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 2,
          .ram = ram_size - 1 },
        { .op = IOPF_TD_OP_WRITE, .iova = DATA, .length = UINT32_MAX,
          .ram = UINT32_MAX },
        { .op = IOPF_TD_OP_WRITE, .iova = DATA, .length = 0x100,
          .ram = 0xffffff80 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 4 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA + 4, .length = 8 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 8,
          .ram = ram_size - 7 },
        { .op = IOPF_TD_OP_TRANSLATE, .iova = IOVA, .length = 1 },
        { .op = IOPF_TD_OP_TRANSLATE, .iova = IOVA, .length = 0x1001,
          .flags = IOPF_TD_F_READ, .ram = ram_size - 16 },
        { .op = IOPF_TD_OP_PAGE_REQUEST, .iova = IOVA },
        { .op = IOPF_TD_OP_STOP_MARKER },
        { .op = IOPF_TD_OP_STOP_PASID },
        { .op = IOPF_TD_OP_ATC_DROP, .iova = UINT64_MAX, .length = 2 },
    };
    const Desc good[] = {
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 1,
          .ram = ram_size - 1 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 8,
          .ram = ram_size - 8 },
        /* PASID is ignored without its flag */
        { .op = IOPF_TD_OP_NOP, .pasid = UINT32_MAX, .prgi = UINT16_MAX },
        { .op = IOPF_TD_OP_ATC_DROP, .iova = UINT64_MAX, .length = 1 },
        { .op = IOPF_TD_OP_ATC_DROP },
        { .op = IOPF_TD_OP_FENCE },
        { .op = IOPF_TD_OP_MARK, .data = 1 },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        g_test_message("bad descriptor %d", i);
        ep_check(ep, &bad[i], IOPF_TD_ST_BAD_DESC);
    }
    for (i = 0; i < ARRAY_SIZE(good); i++) {
        ep_check(ep, &good[i], IOPF_TD_ST_OK);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_DESC_ERROR), ==,
                     ARRAY_SIZE(bad));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_DESC_OK), ==,
                     ARRAY_SIZE(good));
    test_end(ep->t);
}

static void check_refusal(Endpoint *ep, uint8_t op, uint8_t mode,
                          uint16_t flags, uint32_t status, int ret)
{
    Desc d = { .op = op, .mode = mode, .flags = flags, .pasid = 3,
               .iova = IOVA, .length = 8, .ram = IOPF_TD_RAM_DATA };
    uint64_t addr = ep_start(ep, &d);

    g_assert_cmpuint(ep_finish(ep, addr), ==, status);
    g_assert_cmpint(ep_desc_ret(ep, addr), ==, ret);
}

static void test_refusals(void)
{
    Endpoint *ep = test_start();
    uint16_t rd = IOPF_TD_F_READ;
    uint16_t pasid = IOPF_TD_F_PASID;

    /* There is no IOMMU at all */
    check_refusal(ep, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_UNSUPPORTED, -ENODEV);
    check_refusal(ep, IOPF_TD_OP_TRANSLATE, 0, rd, IOPF_TD_ST_UNSUPPORTED,
                  -ENODEV);
    check_refusal(ep, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_UNSUPPORTED,
                  -ENODEV);
    check_refusal(ep, IOPF_TD_OP_STOP_MARKER, 0, pasid,
                  IOPF_TD_ST_UNSUPPORTED, -ENODEV);
    check_refusal(ep, IOPF_TD_OP_FILL, IOPF_TD_MODE_UNTRANSLATED, pasid,
                  IOPF_TD_ST_UNSUPPORTED, 0);
    check_refusal(ep, IOPF_TD_OP_FILL, IOPF_TD_MODE_RAW, pasid,
                  IOPF_TD_ST_UNSUPPORTED, 0);

    /* A bus master it has to be */
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    check_refusal(ep, IOPF_TD_OP_READ, IOPF_TD_MODE_UNTRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(ep, IOPF_TD_OP_READ, IOPF_TD_MODE_RAW, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    test_end(ep->t);

    /* With an IOMMU that could, and nothing enabled in the device */
    ep = test_start_args(Q35_VTD DEVICE);
    check_refusal(ep, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(ep, IOPF_TD_OP_TRANSLATE, 0, rd | pasid, IOPF_TD_ST_REFUSED,
                  -EPERM);
    check_refusal(ep, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_REFUSED,
                  -EPERM);
    check_refusal(ep, IOPF_TD_OP_PAGE_REQUEST, 0, rd | pasid,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(ep, IOPF_TD_OP_STOP_MARKER, 0, pasid, IOPF_TD_ST_REFUSED,
                  -EPERM);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    /* No allocation */
    check_refusal(ep, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_NO_CREDIT, 0);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    check_refusal(ep, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_TR_OK), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR), ==, 0);
    test_end(ep->t);
}

static void test_ring(void)
{
    Endpoint *ep = test_start();
    Desc d = { .op = IOPF_TD_OP_NOP };
    uint64_t addr[3];
    uint32_t done = 0;
    int i, round;

    /* Three at a time in a ring of four: every slot is last and first */
    ep_start_ring(ep, 2, 1);
    for (round = 0; round < 10; round++) {
        for (i = 0; i < 3; i++) {
            addr[i] = ep_put(ep, &d);
        }
        ep_ring(ep);
        for (i = 0; i < 3; i++) {
            g_assert_cmpuint(ep_finish(ep, addr[i]), ==, IOPF_TD_ST_OK);
            g_assert_cmpuint(qtest_readl(ep->qts, addr[i] + IOPF_TD_DESC_SEQ),
                             ==, ++done);
        }
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RING_HEAD), ==, ep->tail);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RING_DONE), ==, done);
    }
    wait_idle(ep);

    /* A ring of one entry is always empty */
    ep_start_ring(ep, 0, 1);
    ep_writel(ep, IOPF_TD_REG_RING_TAIL, 1);
    wait_idle(ep);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RING_DONE), ==, done);

    /* The largest one, filled */
    ep_start_ring(ep, IOPF_TD_RING_LOG2_MAX, IOPF_TD_CONTEXTS_MAX);
    for (i = 0; i < (1 << IOPF_TD_RING_LOG2_MAX) - 1; i++) {
        ep_put(ep, &d);
    }
    ep_ring(ep);
    done += (1 << IOPF_TD_RING_LOG2_MAX) - 1;
    WAIT_FOR(ep->qts, ep_readl(ep, IOPF_TD_REG_RING_DONE) == done);
    g_assert_cmpuint(ep_desc_status(ep, ep_desc_addr(ep, 1022)), ==,
                     IOPF_TD_ST_OK);
    test_end(ep->t);
}

static void test_order(void)
{
    Endpoint *ep = test_start();
    Desc slow = { .op = IOPF_TD_OP_NOP, .delay = 1000 };
    Desc fast = { .op = IOPF_TD_OP_NOP };
    Desc ordered = { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_ORDERED };
    uint64_t addr[4];
    uint32_t seq[4];
    int i;

    /* Out of order with contexts, except around the ordered one */
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 4);
    addr[0] = ep_put(ep, &slow);
    addr[1] = ep_put(ep, &fast);
    addr[2] = ep_put(ep, &ordered);
    addr[3] = ep_put(ep, &fast);
    ep_ring(ep);
    for (i = 0; i < 4; i++) {
        g_assert_cmpuint(ep_finish(ep, addr[i]), ==, IOPF_TD_ST_OK);
        seq[i] = qtest_readl(ep->qts, addr[i] + IOPF_TD_DESC_SEQ);
    }
    g_assert_cmpuint(seq[1], ==, 1);
    g_assert_cmpuint(seq[0], ==, 2);
    g_assert_cmpuint(seq[2], ==, 3);
    g_assert_cmpuint(seq[3], ==, 4);
    test_end(ep->t);
}

static void test_stop_and_abort(void)
{
    Endpoint *ep = test_start();
    Desc bad = { .op = 0xff };
    Desc nop = { .op = IOPF_TD_OP_NOP };
    Desc slow = { .op = IOPF_TD_OP_NOP, .delay = 0xffff };
    uint64_t addr;

    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN |
              IOPF_TD_CTRL_STOP_ON_ERROR);
    ep_put(ep, &bad);
    addr = ep_start(ep, &nop);
    wait_status(ep, IOPF_TD_STATUS_ERROR_STOP);
    wait_idle(ep);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    /* Off and on again */
    ep_writel(ep, IOPF_TD_REG_CTRL, 0);
    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);

    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
    addr = ep_start(ep, &slow);
    ep_writel(ep, IOPF_TD_REG_STEP, 10);
    WAIT_FOR(ep->qts, !ep_readl(ep, IOPF_TD_REG_STEP));
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_ABORTED);
    wait_idle(ep);
    ep_writel(ep, IOPF_TD_REG_COMMAND, 0);
    ep_writel(ep, IOPF_TD_REG_COMMAND, 99);
    test_end(ep->t);
}

/* How many micro-steps a descriptor takes */
static void test_step(void)
{
    Endpoint *ep = test_start();
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = DATA, .length = 4, .delay = 2 };
    uint64_t addr;
    int i;

    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
    addr = ep_start(ep, &d);
    qtest_writel(ep->qts, DATA, 0);
    /* Fetch, chunk, two of delay, access, chunk, end */
    for (i = 0; i < 7; i++) {
        g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
        g_assert_cmphex(!!qtest_readl(ep->qts, DATA), ==, i >= 5);
        d.data = 0;
        ep_writel(ep, IOPF_TD_REG_STEP, 1);
        WAIT_FOR(ep->qts, !ep_readl(ep, IOPF_TD_REG_STEP));
        if (!i) {
            /* A fetched descriptor is the device's copy */
            qtest_writel(ep->qts, addr + IOPF_TD_DESC_DATA, 1);
        }
        if (i == 4) {
            g_assert_cmphex(qtest_readl(ep->qts, DATA), ==, 0);
            qtest_writel(ep->qts, DATA, 1);
        }
    }
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_OK);

    /* Steps that find nothing to do are gone */
    ep_writel(ep, IOPF_TD_REG_STEP, 1000);
    WAIT_FOR(ep->qts, !ep_readl(ep, IOPF_TD_REG_STEP));
    addr = ep_start(ep, &d);
    qtest_clock_step(ep->qts, 1000000);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    test_end(ep->t);
}

static void test_interrupts(void)
{
    Endpoint *ep = test_start();
    Desc d = { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_IRQ };
    Desc bad = { .op = 0xff };
    uint8_t msix = find_cap(ep, PCI_CAP_ID_MSIX);
    uint16_t flags = cfg_readw(ep, msix + PCI_MSIX_FLAGS);
    int i;

    g_assert_cmpuint((flags & PCI_MSIX_FLAGS_QSIZE) + 1, ==, IOPF_TD_VECTORS);
    for (i = 0; i < IOPF_TD_VECTORS; i++) {
        uint64_t entry = ep->bar4 + i * PCI_MSIX_ENTRY_SIZE;

        qtest_writel(ep->qts, entry, MSI_TARGET + i * 4);
        qtest_writel(ep->qts, entry + 4, 0);
        qtest_writel(ep->qts, entry + 8, 0x1000 + i);
        qtest_writel(ep->qts, entry + 12, 0);
    }
    cfg_writew(ep, msix + PCI_MSIX_FLAGS, flags | PCI_MSIX_FLAGS_ENABLE);
    qtest_memset(ep->qts, MSI_TARGET, 0, 64);

    /* Not enabled: the cause only; enabling it then raises the vector */
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_IRQ_CAUSE), ==, IOPF_TD_IRQ_RING);
    g_assert_cmphex(qtest_readl(ep->qts, MSI_TARGET), ==, 0);
    ep_writel(ep, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);
    WAIT_FOR(ep->qts, qtest_readl(ep->qts, MSI_TARGET) == 0x1000);

    /* Once until it is acknowledged */
    qtest_writel(ep->qts, MSI_TARGET, 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    qtest_clock_step(ep->qts, 1000000);
    g_assert_cmphex(qtest_readl(ep->qts, MSI_TARGET), ==, 0);
    ep_writel(ep, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_RING);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_IRQ_CAUSE), ==, 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    WAIT_FOR(ep->qts, qtest_readl(ep->qts, MSI_TARGET) == 0x1000);

    ep_check(ep, &bad, IOPF_TD_ST_BAD_DESC);
    WAIT_FOR(ep->qts, qtest_readl(ep->qts, MSI_TARGET + 4) == 0x1001);

    /* By hand; what does not exist is not raised */
    qtest_memset(ep->qts, MSI_TARGET, 0, 64);
    ep_writel(ep, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_ALL);
    ep_writel(ep, IOPF_TD_REG_IRQ_TEST, 0xffffffff);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_IRQ_CAUSE), ==, IOPF_TD_IRQ_ALL);
    for (i = 0; i < IOPF_TD_VECTORS; i++) {
        WAIT_FOR(ep->qts,
                 qtest_readl(ep->qts, MSI_TARGET + i * 4) == 0x1000 + i);
    }
    g_assert_cmphex(qtest_readl(ep->qts, MSI_TARGET + 32), ==, 0);
    test_end(ep->t);
}

/* A DMA into the own registers must not get through, nor harm */
static void test_own_registers(void)
{
    Endpoint *ep = test_start();
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = ep->bar0 + IOPF_TD_REG_COMMAND,
               .length = 4, .data = IOPF_TD_CMD_RESET };
    uint64_t addr = ep_start(ep, &d);

    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_CTRL), ==, IOPF_TD_CTRL_RUN);

    /* Function level reset of itself, in the middle of the transfer */
    d.iova = cfg_addr(ep, ep->exp + PCI_EXP_DEVCTL);
    d.data = PCI_EXP_DEVCTL_BCR_FLR;
    d.length = 2;
    ep_start(ep, &d);
    WAIT_FOR(ep->qts, cfg_readl(ep, PCI_BASE_ADDRESS_0) != ep->bar0);
    ep_map(ep);
    check_default_registers(ep);
    test_end(ep->t);
}

static void test_logs(void)
{
    Endpoint *ep = test_start();
    Desc d = { .op = IOPF_TD_OP_MARK };
    uint64_t rec;
    int i;

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 1);
    for (i = 0; i < IOPF_TD_RSPLOG_ENTRIES + 10; i++) {
        d.data = i;
        ep_start(ep, &d);
        if (i % 200 == 199) {
            wait_idle(ep);
        }
    }
    wait_idle(ep);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, i);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_INVLOG_HEAD), ==, i);
    /* The newest record, in a slot that was used before */
    rec = ep->bar2 + IOPF_TD_RAM_RSPLOG + 9 * IOPF_TD_LOG_ENTRY_SIZE;
    g_assert_cmpuint(qtest_readl(ep->qts, rec + IOPF_TD_RSP_SEQ), ==, i);
    g_assert_cmpuint(qtest_readl(ep->qts, rec + IOPF_TD_RSP_COUNT), ==, i - 1);
    g_assert_cmphex(qtest_readb(ep->qts, rec + IOPF_TD_RSP_FLAGS), ==,
                    IOPF_TD_RSP_F_MARK);
    rec = ep->bar2 + IOPF_TD_RAM_INVLOG +
          (i - 1) % IOPF_TD_INVLOG_ENTRIES * IOPF_TD_LOG_ENTRY_SIZE;
    g_assert_cmpuint(qtest_readl(ep->qts, rec + IOPF_TD_INV_SEQ), ==, i);
    g_assert_cmpuint(qtest_readl(ep->qts, rec + IOPF_TD_INV_DROPPED), ==,
                     i - 1);
    /* Nothing outside */
    g_assert_cmpuint(qtest_readl(ep->qts, ep->bar2 + IOPF_TD_RAM_DATA), ==, 0);

    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_CLEAR);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_DESC_OK), ==, 0);
    g_assert_cmpuint(qtest_readl(ep->qts, rec + IOPF_TD_INV_SEQ), ==, 0);
    test_end(ep->t);
}

/*
 * Part 2: with intel-iommu
 */

/* All PASIDs, and requests without one, share a second stage table */
static void start_iommu(Endpoint *ep)
{
    uint32_t pasid;

    clear_tables(ep->t);
    write_context(ep, CONTEXT_FLAGS);
    for (pasid = 0; pasid < 256; pasid++) {
        write_pasid_sl(ep->t, pasid, 7, SL_TABLES);
    }
    write_paging(ep->t, SL_TABLES, PTE_RW);
    start_vtd(ep->t, PRQ_ORDER_MAX);
}

static Endpoint *test_start_iommu_args(const char *device, uint32_t allocation)
{
    g_autofree char *args = g_strconcat(Q35_VTD, device, NULL);
    Endpoint *ep = test_start_args(args);

    start_iommu(ep);
    ep_enable(ep, allocation);
    return ep;
}

static Endpoint *test_start_iommu(void)
{
    return test_start_iommu_args(DEVICE ",pri-capacity=512", 512);
}

/* Page n of IOVA becomes page n of DATA */
static void map(Endpoint *ep, unsigned page, uint64_t flags)
{
    write_leaf(ep->t, SL_TABLES, IOVA + page * PAGE,
               flags ? (DATA + page * PAGE) | flags : 0);
}

static void map_to(Endpoint *ep, unsigned page, uint64_t addr)
{
    write_leaf(ep->t, SL_TABLES, IOVA + page * PAGE, addr | PTE_RW);
}

static void map_all(Endpoint *ep, unsigned first, unsigned pages)
{
    while (pages--) {
        map(ep, first++, PTE_RW);
    }
}

/* The IOMMU's cache and the device's */
static void invalidate(Endpoint *ep, unsigned page)
{
    inv_iotlb(ep->t);
    inv_dev_tlb(ep, IOVA + page * PAGE, false);
}

static void check_no_request(Endpoint *ep)
{
    qtest_clock_step(ep->qts, 100000);
    g_assert(!have_request(ep->t));
}

static Desc fill(unsigned page, unsigned pages, uint32_t seed)
{
    return (Desc) { .op = IOPF_TD_OP_FILL, .iova = IOVA + page * PAGE,
                    .length = pages * PAGE, .data = seed };
}

static Desc page_request(unsigned page, unsigned pages, uint16_t flags)
{
    return (Desc) { .op = IOPF_TD_OP_PAGE_REQUEST, .flags = flags,
                    .iova = IOVA + page * PAGE, .length = pages * PAGE };
}

static void set_storm(Endpoint *ep, unsigned page, uint32_t count,
                      uint32_t group, uint32_t flags)
{
    ep_writeq(ep, IOPF_TD_REG_STORM_ADDR, IOVA + page * PAGE);
    ep_writel(ep, IOPF_TD_REG_STORM_COUNT, count);
    ep_writel(ep, IOPF_TD_REG_STORM_GROUP, group);
    ep_writel(ep, IOPF_TD_REG_STORM_FLAGS, flags);
    ep_writel(ep, IOPF_TD_REG_STORM_GO, 1);
}

static bool storm_over(Endpoint *ep)
{
    return !(ep_readl(ep, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_STORM);
}

/* A page that is not there, with and without PASID */
static void test_page_fault(void)
{
    Endpoint *ep = test_start_iommu();
    static const uint32_t pasids[] = { NOP, 5, 255 };
    uint16_t prgi;
    uint64_t addr;
    int i;

    for (i = 0; i < ARRAY_SIZE(pasids); i++) {
        uint32_t pasid = pasids[i];
        Desc d = fill(i, 1, 0x1111 * (i + 1));

        if (pasid != NOP) {
            d = with_pasid(d, pasid);
        }
        addr = ep_start(ep, &d);
        check_request(ep, IOVA + i * PAGE, pasid, true, true, true, &prgi);
        wait_status(ep, IOPF_TD_STATUS_WAITING);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 1);
        g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
        map(ep, i, PTE_RW);
        page_response(ep, pasid, 0, prgi);
        g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
        check_response(ep, 0, 0, prgi, pasid, 1);
        check_pattern(ep->qts, DATA + i * PAGE, d.data, PAGE);
        g_assert_cmpuint(qtest_readw(ep->qts, addr + IOPF_TD_DESC_NR_PR), ==,
                         1);
        g_assert_cmpuint(qtest_readw(ep->qts, addr + IOPF_TD_DESC_NR_TR), ==,
                         2);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

        /* From the cache now */
        d.op = IOPF_TD_OP_COMPARE;
        addr = ep_start(ep, &d);
        g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
        g_assert_cmpuint(qtest_readw(ep->qts, addr + IOPF_TD_DESC_NR_TR), ==,
                         0);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, i + 1);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR_LAST), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_SUCCESS), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_ACC_UNTRANSLATED), ==, 0);
    test_end(ep->t);
}

/* Many transfers wait at once; answers come in reverse order */
static void test_many_pending(void)
{
    Endpoint *ep = test_start_iommu();
    uint64_t addr[64];
    uint16_t prgi[64];
    uint64_t seen = 0;
    int i;

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 64);
    for (i = 0; i < 64; i++) {
        Desc d = fill(i, 1, i);

        if (i % 2) {
            d = with_pasid(d, i);
        }
        addr[i] = ep_put(ep, &d);
    }
    ep_ring(ep);
    for (i = 0; i < 64; i++) {
        Request r = take_request(ep->t);
        unsigned page = (r.addr - IOVA) / PAGE;

        g_assert_cmpuint(page, <, 64);
        g_assert_cmphex(r.pasid, ==, page % 2 ? page : NOP);
        g_assert(!(seen & (1ULL << page)));
        seen |= 1ULL << page;
        prgi[page] = r.prgi;
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 64);
    for (i = 63; i >= 0; i--) {
        g_assert_cmpuint(ep_desc_status(ep, addr[i]), ==, IOPF_TD_ST_NONE);
        map(ep, i, PTE_RW);
        page_response(ep, i % 2 ? i : NOP, 0, prgi[i]);
        g_assert_cmpuint(ep_finish(ep, addr[i]), ==, IOPF_TD_ST_OK);
        check_pattern(ep->qts, DATA + i * PAGE, i, PAGE);
    }
    test_end(ep->t);
}

/* One group of 512 pages, of which some are there */
static void test_group(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 512, 0x5eed);
    Request r = {};
    uint16_t prgi = 0;
    uint64_t addr;
    int i;

    d.flags |= IOPF_TD_F_GROUP;
    map_all(ep, 100, 12);
    addr = ep_start(ep, &d);
    for (i = 0; i < 500; i++) {
        r = take_request(ep->t);
        g_assert_cmphex(r.addr, ==, IOVA + (i < 100 ? i : i + 12) * PAGE);
        g_assert_cmpint(r.last, ==, i == 499);
        if (i) {
            g_assert_cmpuint(r.prgi, ==, prgi);
        }
        prgi = r.prgi;
    }
    check_no_request(ep);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 500);
    map_all(ep, 0, 512);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    check_response(ep, 0, 0, prgi, NOP, 500);
    check_pattern(ep->qts, DATA, 0x5eed, 512 * PAGE);
    test_end(ep->t);
}

/* Four credits limit groups, and transfers wait for each other */
static void check_four_credits(Endpoint *ep)
{
    Desc d = fill(0, 6, 1);
    Desc e = fill(10, 1, 2);
    uint16_t prgi;
    uint64_t addr[2];
    int i;

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 2);
    d.flags |= IOPF_TD_F_GROUP;
    addr[0] = ep_start(ep, &d);
    for (i = 0; i < 4; i++) {
        check_request(ep, IOVA + i * PAGE, NOP, true, true, i == 3, &prgi);
    }
    addr[1] = ep_start(ep, &e);
    check_no_request(ep);
    g_assert(ep_readl(ep, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_BUSY);

    map_all(ep, 0, 4);
    page_response(ep, NOP, 0, prgi);
    for (i = 0; i < 3; i++) {
        Request r = take_request(ep->t);

        if (r.addr == IOVA + 10 * PAGE) {
            g_assert(r.last);
            map(ep, 10, PTE_RW);
            page_response(ep, NOP, 0, r.prgi);
        } else if (r.last) {
            g_assert_cmphex(r.addr, ==, IOVA + 5 * PAGE);
            map_all(ep, 4, 2);
            page_response(ep, NOP, 0, r.prgi);
        } else {
            g_assert_cmphex(r.addr, ==, IOVA + 4 * PAGE);
        }
    }
    g_assert_cmpuint(ep_finish(ep, addr[0]), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_finish(ep, addr[1]), ==, IOPF_TD_ST_OK);
    check_no_request(ep);

    /* Without waiting */
    ep_writel(ep, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_NO_CREDIT_WAIT);
    d = fill(20, 4, 3);
    d.flags |= IOPF_TD_F_GROUP;
    addr[0] = ep_start(ep, &d);
    for (i = 0; i < 4; i++) {
        check_request(ep, IOVA + (20 + i) * PAGE, NOP, true, true, i == 3,
                      &prgi);
    }
    e = fill(30, 1, 4);
    ep_check(ep, &e, IOPF_TD_ST_NO_CREDIT);

    /* A device that does not care */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
    addr[1] = ep_start(ep, &e);
    check_request(ep, IOVA + 30 * PAGE, NOP, true, true, true, NULL);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
    g_assert_cmpuint(ep_desc_status(ep, addr[0]), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(ep_desc_status(ep, addr[1]), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_STALE), ==, 2);
    test_end(ep->t);
}

static void test_allocation(void)
{
    check_four_credits(test_start_iommu_args(DEVICE, 4));
    /* What software allows is no more than what the function can have */
    check_four_credits(test_start_iommu_args(DEVICE ",pri-capacity=4", 1000));
}

static void test_write_to_read_only(void)
{
    Endpoint *ep = test_start_iommu();
    Desc rd = { .op = IOPF_TD_OP_READ, .iova = IOVA, .length = 16,
                .ram = IOPF_TD_RAM_DATA };
    Desc wr = fill(0, 1, 0xabcd);
    uint16_t prgi;
    uint64_t addr;

    map(ep, 0, VTD_SL_R);
    ep_check(ep, &rd, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR), ==, 0);

    /* The hit is not good enough */
    ep_writel(ep, IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE |
              IOPF_TD_ATC_CTRL_NO_REASK);
    ep_check(ep, &wr, IOPF_TD_ST_NO_ACCESS);
    ep_writel(ep, IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE);
    wr.flags = IOPF_TD_F_NO_PR;
    ep_check(ep, &wr, IOPF_TD_ST_NO_ACCESS);
    wr.flags = 0;

    ep_writel(ep, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_WRITE_ONLY);
    addr = ep_start(ep, &wr);
    check_request(ep, IOVA, NOP, false, true, true, &prgi);
    map(ep, 0, PTE_RW);
    iq_submit(ep->t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    check_pattern(ep->qts, DATA, 0xabcd, PAGE);
    test_end(ep->t);
}

static void test_bad_answers(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi;
    uint64_t addr;
    int i;

    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    page_response(ep, NOP, 1, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_RSP_INVALID);
    g_assert_cmphex(qtest_readq(ep->qts, addr + IOPF_TD_DESC_FAIL_ADDR), ==,
                    IOVA);
    check_response(ep, 1, 0, prgi, NOP, 1);

    /* Success, but nothing was mapped: asked as often as allowed */
    addr = ep_start(ep, &d);
    for (i = 0; i < 3; i++) {
        check_request(ep, IOVA, NOP, true, true, true, &prgi);
        page_response(ep, NOP, 0, prgi);
    }
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_NO_RETRY);
    check_no_request(ep);

    /* A group nobody knows */
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);
    page_response(ep, NOP, 0, 77);
    check_response(ep, 0, IOPF_TD_RSP_F_UNMATCHED, 77, NOP, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, PCI_PRI_STATUS_UPRGI);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_IRQ_CAUSE) &
                    IOPF_TD_IRQ_PRI_ERROR, ==, IOPF_TD_IRQ_PRI_ERROR);
    cfg_writew(ep, ep->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);

    /* The same index in another address space is another group */
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    d = with_pasid(d, 9);
    map(ep, 1, PTE_RW);
    page_response(ep, 9, 0, prgi);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    map(ep, 0, PTE_RW);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    test_end(ep->t);
}

/* The IOMMU refuses requests: that is an answer like others */
static void test_refused_by_iommu(void)
{
    Endpoint *ep = test_start_iommu();
    uint64_t context = CONTEXT + DEVFN * VTD_CTX_ENTRY_SCALABLE_SIZE;
    Desc d = page_request(0, 3, IOPF_TD_F_READ | IOPF_TD_F_PRGI);
    uint64_t val;

    /* A PASID without tables */
    qtest_writeq(ep->qts, PASID_TABLES + 8 * VTD_PASID_ENTRY_SIZE, 0);
    d.prgi = 17;
    d = with_pasid(d, 8);
    d.flags |= IOPF_TD_F_WAIT;
    ep_check(ep, &d, IOPF_TD_ST_RSP_INVALID);
    check_response(ep, 1, IOPF_TD_RSP_F_AUTO, 17, 8, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR_REFUSED), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_AUTO), ==, 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_INVALID), ==, 0);

    /* Page requests of the device are disabled */
    val = qtest_readq(ep->qts, context);
    qtest_writeq(ep->qts, context, val & ~VTD_SM_CONTEXT_ENTRY_PRE);
    iq_submit(ep->t, VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL, 0);
    d = fill(0, 2, 1);
    d.flags = IOPF_TD_F_GROUP;
    ep_check(ep, &d, IOPF_TD_ST_RSP_INVALID);
    check_response(ep, 1, IOPF_TD_RSP_F_AUTO, 0, NOP, 2);

    set_storm(ep, 0, 20, 4, IOPF_TD_STORM_F_READ);
    WAIT_FOR(ep->qts, storm_over(ep));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_OTHER), ==, 20);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_AUTO), ==, 7);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_RESPONSES), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    check_no_request(ep);

    /* In the device itself it is something else */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    ep_check(ep, &d, IOPF_TD_ST_REFUSED);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_AUTO), ==, 7);
    test_end(ep->t);
}

static void test_response_failure(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d[3] = { fill(0, 1, 1), fill(1, 1, 2), fill(2, 1, 3) };
    uint64_t addr[2];
    uint16_t prgi[2];

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 2);
    addr[0] = ep_start(ep, &d[0]);
    check_request(ep, IOVA, NOP, true, true, true, &prgi[0]);
    addr[1] = ep_start(ep, &d[1]);
    check_request(ep, IOVA + PAGE, NOP, true, true, true, &prgi[1]);

    /* Ends both, and all that come */
    page_response(ep, NOP, 0xf, prgi[0]);
    g_assert_cmpuint(ep_finish(ep, addr[0]), ==, IOPF_TD_ST_RSP_FAILURE);
    g_assert_cmpuint(ep_finish(ep, addr[1]), ==, IOPF_TD_ST_RSP_FAILURE);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    g_assert(ep_readl(ep, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_PRI_FAILED);
    ep_check(ep, &d[2], IOPF_TD_ST_RSP_FAILURE);
    check_no_request(ep);
    /* The other answer finds a group that nobody waits for */
    page_response(ep, NOP, 0, prgi[1]);
    g_assert_cmphex(last_response(ep).flags, ==, IOPF_TD_RSP_F_LATE);

    /*
     * Until software has disabled and enabled the interface, which has nothing
     * to wait for
     */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, PCI_PRI_STATUS_STOPPED);
    cfg_writew(ep, ep->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, 0);
    addr[0] = ep_start(ep, &d[2]);
    check_request(ep, IOVA + 2 * PAGE, NOP, true, true, true, &prgi[0]);
    map(ep, 2, PTE_RW);
    page_response(ep, NOP, 0, prgi[0]);
    g_assert_cmpuint(ep_finish(ep, addr[0]), ==, IOPF_TD_ST_OK);
    test_end(ep->t);
}

static void test_timeout(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi, other;
    uint64_t addr;

    ep_writel(ep, IOPF_TD_REG_PRI_TIMEOUT_MS, 5);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    qtest_clock_step(ep->qts, 10 * 1000 * 1000);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_RSP_TIMEOUT);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_TIMEOUT), ==, 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_STALE), ==, 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);

    /* The index is not used again before the answer; no timeout, by hand */
    ep_writel(ep, IOPF_TD_REG_PRI_TIMEOUT_MS, 0);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &other);
    g_assert_cmpuint(other, !=, prgi);
    qtest_clock_step(ep->qts, 10 * 1000 * 1000);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_EXPIRE);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_RSP_TIMEOUT);

    page_response(ep, NOP, 0, prgi);
    check_response(ep, 0, IOPF_TD_RSP_F_LATE, prgi, NOP, 1);
    page_response(ep, NOP, 0, other);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_LATE), ==, 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_STALE), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    /* And is afterwards */
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &other);
    g_assert_cmpuint(other, ==, prgi);
    test_end(ep->t);
}

/* An invalidation between translation and use */
static void test_step_invalidate(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 1, 0x77);
    bool hostile;

    for (hostile = false; ; hostile = true) {
        uint64_t addr;

        qtest_memset(ep->qts, DATA, 0, 2 * PAGE);
        map_to(ep, 0, DATA);
        invalidate(ep, 0);
        ep_writel(ep, IOPF_TD_REG_HOSTILE,
                  hostile ? IOPF_TD_HOSTILE_IGNORE_INV : 0);
        ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
        d.delay = 1;
        addr = ep_start(ep, &d);
        /* Fetch, lookup, translation */
        ep_writel(ep, IOPF_TD_REG_STEP, 3);
        WAIT_FOR(ep->qts, !ep_readl(ep, IOPF_TD_REG_STEP));
        map_to(ep, 0, DATA + PAGE);
        invalidate(ep, 0);
        ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
        g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
        check_pattern(ep->qts, hostile ? DATA : DATA + PAGE, 0x77, PAGE);
        g_assert_cmphex(qtest_readl(ep->qts, hostile ? DATA + PAGE : DATA), ==,
                        0);
        if (hostile) {
            break;
        }
    }
    test_end(ep->t);
}

static void test_storm(void)
{
    Endpoint *ep = test_start_iommu();
    uint32_t rw = IOPF_TD_STORM_F_READ | IOPF_TD_STORM_F_WRITE;
    Desc d = fill(0, 1, 5);
    uint32_t sent, full;
    uint16_t prgi;
    uint64_t addr;
    int i;

    /* Groups of 8, with a queue that takes 2047 and nobody who empties it */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
    set_storm(ep, 0, 100000, 8, rw);
    WAIT_FOR(ep->qts, storm_over(ep));
    sent = ep_readl(ep, IOPF_TD_REG_STORM_SENT);
    full = ep_readl(ep, IOPF_TD_REG_STORM_FULL);
    /* The group that filled it was cut short, and is lost as a whole */
    g_assert_cmpuint(sent, ==, 255 * 8);
    g_assert_cmpuint(sent + full, ==, 100000);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_OTHER), ==, 0);
    g_assert_cmpint((int32_t)ep_readl(ep, IOPF_TD_REG_STORM_RET), ==, 0);
    /* Every group is closed by the device, or awaits its answer */
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_GROUPS), ==, 255);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 255);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_PARTIAL), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_AUTO), ==, 12500 - 255);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_IRQ_CAUSE) &
                    (IOPF_TD_IRQ_OVERFLOW | IOPF_TD_IRQ_STORM), ==,
                    IOPF_TD_IRQ_OVERFLOW | IOPF_TD_IRQ_STORM);

    /* A transfer meets the full queue and tries again until it is emptied */
    addr = ep_start(ep, &d);
    WAIT_FOR(ep->qts, ep_readl(ep, IOPF_TD_REG_STORM_FULL) == full &&
             ep_readl(ep, IOPF_TD_REG_CNT_PR_FULL) > full + 3);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    for (i = 0; i < REQUESTS_MAX - 1; i++) {
        Request r = take_request(ep->t);

        if (r.last) {
            page_response(ep, NOP, 0, r.prgi);
        }
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_RESPONSES), ==, 255);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 0);
    vtd_writel(ep->t, DMAR_PRS_REG, 2);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    map(ep, 0, PTE_RW);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    test_end(ep->t);
}

/* The allocation and the number of indices hold back a well behaved storm */
static void test_storm_waits(void)
{
    Endpoint *ep = test_start_iommu();
    uint32_t rd = IOPF_TD_STORM_F_READ;
    int i;

    set_storm(ep, 0, 600, 1, rd);
    for (i = 0; i < 512; i++) {
        take_request(ep->t);
    }
    check_no_request(ep);
    g_assert(!storm_over(ep));
    /* In any order: one answer, one request */
    for (i = 0; i < 88; i++) {
        page_response(ep, NOP, 0, (i * 5) % 512);
        g_assert_cmphex(take_request(ep->t).addr, ==, IOVA + (512 + i) * PAGE);
    }
    WAIT_FOR(ep->qts, storm_over(ep));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_SENT), ==, 600);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);

    /* No waiting: what finds no index is left out */
    set_storm(ep, 0, 10, 1, rd | IOPF_TD_STORM_F_NO_WAIT);
    WAIT_FOR(ep->qts, storm_over(ep));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_DROPPED), ==, 10);

    /* Software that resets the interface forgets it all */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, 0);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, PCI_PRI_STATUS_STOPPED);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_STALE), ==, 0);
    page_response(ep, NOP, 0, 3);
    g_assert_cmphex(last_response(ep).flags, ==, IOPF_TD_RSP_F_UNMATCHED);

    /* One group for all, cut where the allocation ends */
    cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, 4);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    set_storm(ep, 0, 6, 0, rd);
    for (i = 0; i < 4; i++) {
        g_assert_cmpint(take_request(ep->t).last, ==, i == 3);
    }
    check_no_request(ep);
    page_response(ep, NOP, 0, 0);
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(take_request(ep->t).last, ==, i == 1);
    }
    WAIT_FOR(ep->qts, storm_over(ep));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_STORM_GROUPS), ==, 2);
    test_end(ep->t);
}

/* Requests with nothing behind them, and groups without an end */
static void test_page_request_only(void)
{
    Endpoint *ep = test_start_iommu();
    uint16_t flags = IOPF_TD_F_READ | IOPF_TD_F_PRGI;
    Desc d = page_request(0, 2, flags | IOPF_TD_F_NOLAST);
    Desc fence = { .op = IOPF_TD_OP_FENCE };
    uint64_t addr;

    /* A group put together from two descriptors */
    d.prgi = 300;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, NOP, true, false, false, NULL);
    check_request(ep, IOVA + PAGE, NOP, true, false, false, NULL);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_PARTIAL), ==, 1);
    ep_check(ep, &fence, IOPF_TD_ST_OK);
    d = page_request(7, 1, flags | IOPF_TD_F_WRITE);
    d.prgi = 300;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA + 7 * PAGE, NOP, true, true, true, NULL);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_PARTIAL), ==, 0);

    /* The fence waits for the answer */
    addr = ep_start(ep, &fence);
    qtest_clock_step(ep->qts, 100000);
    g_assert_cmpuint(ep_desc_status(ep, addr), ==, IOPF_TD_ST_NONE);
    page_response(ep, NOP, 0, 300);
    check_response(ep, 0, 0, 300, NOP, 3);
    g_assert_cmphex(last_response(ep).addr, ==, IOVA);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);

    /* Neither read nor write is legal */
    d = page_request(0, 1, IOPF_TD_F_WAIT);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, false, false, true, NULL);
    page_response(ep, NOP, 1, 0);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_RSP_INVALID);

    /* More pages than a group may have */
    ep_writel(ep, IOPF_TD_REG_PRI_GROUP_MAX, 3);
    d = page_request(0, 5, IOPF_TD_F_READ | IOPF_TD_F_WAIT);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, false, false, NULL);
    check_request(ep, IOVA + PAGE, NOP, true, false, false, NULL);
    check_request(ep, IOVA + 2 * PAGE, NOP, true, false, true, NULL);
    check_no_request(ep);
    page_response(ep, NOP, 0, 0);
    check_request(ep, IOVA + 3 * PAGE, NOP, true, false, false, NULL);
    check_request(ep, IOVA + 4 * PAGE, NOP, true, false, true, NULL);
    page_response(ep, NOP, 0, 0);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(qtest_readl(ep->qts, addr + IOPF_TD_DESC_DONE), ==,
                     5 * PAGE);

    /* A partial group is gone with the interface */
    d = page_request(0, 1, IOPF_TD_F_READ | IOPF_TD_F_NOLAST | IOPF_TD_F_WAIT);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, false, false, NULL);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, PCI_PRI_STATUS_STOPPED);
    test_end(ep->t);
}

static void test_stop_pasid(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = with_pasid(fill(0, 1, 1), 6);
    Desc e = with_pasid(fill(1, 1, 1), 6);
    Desc f = with_pasid(fill(2, 1, 1), 7);
    Desc marker = { .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID,
                    .pasid = 6 };
    uint16_t prgi;
    uint64_t addr, other[2];

    ep_check(ep, &marker, IOPF_TD_ST_OK);
    check_request(ep, 0, 6, false, false, true, NULL);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_STOP_MARKER), ==, 1);

    /* One waits for an answer, one has not sent its request yet */
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 4);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, 6, true, true, true, &prgi);
    ep_writel(ep, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_HOLD);
    other[0] = ep_start(ep, &e);
    other[1] = ep_start(ep, &f);
    wait_status(ep, IOPF_TD_STATUS_HELD);
    marker.op = IOPF_TD_OP_STOP_PASID;
    ep_check(ep, &marker, IOPF_TD_ST_OK);
    check_request(ep, 0, 6, false, false, true, NULL);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(ep_finish(ep, other[0]), ==, IOPF_TD_ST_ABORTED);
    /* Others are not concerned */
    ep_writel(ep, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK);
    check_request(ep, IOVA + 2 * PAGE, 7, true, true, true, NULL);
    check_no_request(ep);
    g_assert_cmpuint(ep_desc_status(ep, other[1]), ==, IOPF_TD_ST_NONE);
    /* The answer is swallowed */
    page_response(ep, 6, 0, prgi);
    check_response(ep, 0, IOPF_TD_RSP_F_LATE, prgi, 6, 1);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);
    test_end(ep->t);
}

static void test_hold(void)
{
    Endpoint *ep = test_start_iommu();
    uint64_t addr[3];
    int i;

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 3);
    ep_writel(ep, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_HOLD);
    for (i = 0; i < 3; i++) {
        Desc d = fill(i, 1, i);

        addr[i] = ep_start(ep, &d);
    }
    wait_status(ep, IOPF_TD_STATUS_HELD);
    check_no_request(ep);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_FLUSH_HELD);
    map_all(ep, 0, 3);
    for (i = 0; i < 3; i++) {
        Request r = take_request(ep->t);

        page_response(ep, NOP, 0, r.prgi);
    }
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(ep_finish(ep, addr[i]), ==, IOPF_TD_ST_OK);
    }
    test_end(ep->t);
}

static void test_hostile(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 1, 1);
    Desc p = with_pasid(fill(1, 1, 2), 4);
    uint16_t prgi;
    uint64_t addr[2];

    /* One index in two address spaces: the PASID tells them apart */
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 2);
    ep_writel(ep, IOPF_TD_REG_PRI_PRGI, 111);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FIXED_PRGI);
    addr[0] = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    g_assert_cmpuint(prgi, ==, 111);
    addr[1] = ep_start(ep, &p);
    check_request(ep, IOVA + PAGE, 4, true, true, true, &prgi);
    g_assert_cmpuint(prgi, ==, 111);
    map_all(ep, 0, 2);
    page_response(ep, 4, 0, 111);
    g_assert_cmpuint(ep_finish(ep, addr[1]), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_desc_status(ep, addr[0]), ==, IOPF_TD_ST_NONE);
    page_response(ep, NOP, 0, 111);
    g_assert_cmpuint(ep_finish(ep, addr[0]), ==, IOPF_TD_ST_OK);

    /* Deaf */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_RSP);
    d = fill(2, 1, 3);
    addr[0] = ep_start(ep, &d);
    check_request(ep, IOVA + 2 * PAGE, NOP, true, true, true, &prgi);
    page_response(ep, NOP, 0, prgi);
    check_response(ep, 0, IOPF_TD_RSP_F_IGNORED, prgi, NOP, 1);
    qtest_clock_step(ep->qts, 100000);
    g_assert_cmpuint(ep_desc_status(ep, addr[0]), ==, IOPF_TD_ST_NONE);
    ep_writel(ep, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);

    /* Requests and translated accesses although nothing is enabled */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, 0);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FORCE_PRI |
              IOPF_TD_HOSTILE_FORCE_ATS | IOPF_TD_HOSTILE_FORCE_PASID);
    p = with_pasid(fill(3, 1, 4), 4);
    addr[0] = ep_start(ep, &p);
    check_request(ep, IOVA + 3 * PAGE, 4, true, true, true, &prgi);
    map(ep, 3, PTE_RW);
    page_response(ep, 4, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr[0]), ==, IOPF_TD_ST_OK);
    check_pattern(ep->qts, DATA + 3 * PAGE, 4, PAGE);
    /* The configuration space does not show any of it */
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_LIVE) &
                    (IOPF_TD_LIVE_ATS | IOPF_TD_LIVE_PRI |
                     IOPF_TD_LIVE_PASID), ==, 0);
    test_end(ep->t);
}

static void test_atc(void)
{
    Endpoint *ep = test_start_iommu_args(DEVICE ",atc-entries=4", 32);
    Desc d;
    uint64_t result;
    int i;

    map_all(ep, 0, 8);
    for (i = 0; i < 6; i++) {
        d = fill(i, 1, i);
        ep_check(ep, &d, IOPF_TD_ST_OK);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 4);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_EVICTIONS), ==, 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_MISSES), ==, 6);

    ep_writeq(ep, IOPF_TD_REG_ATC_ADDR, IOVA + 5 * PAGE + 8);
    ep_writel(ep, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    result = ep_readq(ep, IOPF_TD_REG_ATC_RESULT);
    g_assert_cmphex(result, ==, (DATA + 5 * PAGE) | 12 << 6 |
                    IOPF_TD_ATC_RESULT_VALID | IOPF_TD_ATC_RESULT_READ |
                    IOPF_TD_ATC_RESULT_WRITE);
    ep_writel(ep, IOPF_TD_REG_ATC_PASID, 1);
    ep_writel(ep, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    g_assert_cmphex(ep_readq(ep, IOPF_TD_REG_ATC_RESULT), ==, 0);

    /* An invalidation of one page */
    invalidate(ep, 5);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_INVALIDATIONS), ==, 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_INVLOG_HEAD), ==, 1);
    g_assert_cmphex(qtest_readq(ep->qts, ep->bar2 + IOPF_TD_RAM_INVLOG +
                                IOPF_TD_INV_ADDR), ==, IOVA + 5 * PAGE);
    g_assert_cmphex(qtest_readq(ep->qts, ep->bar2 + IOPF_TD_RAM_INVLOG +
                                IOPF_TD_INV_MASK), ==, PAGE - 1);
    g_assert_cmpuint(qtest_readl(ep->qts, ep->bar2 + IOPF_TD_RAM_INVLOG +
                                 IOPF_TD_INV_DROPPED), ==, 1);

    d = (Desc) { .op = IOPF_TD_OP_ATC_DROP, .iova = IOVA + 4 * PAGE,
                 .length = 1 };
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 2);

    /* Neither looked up nor filled */
    d = fill(7, 1, 1);
    d.flags = IOPF_TD_F_NOFILL | IOPF_TD_F_NOLOOKUP;
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_HITS), ==, 0);

    /* Gone with ATS, unless the device cheats */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_KEEP_ATC);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 2);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, 0);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 0);
    test_end(ep->t);
}

/* More PASIDs than the device keeps at a time */
static void test_many_pasids(void)
{
    Endpoint *ep = test_start_iommu();
    uint32_t pasid;
    uint16_t prgi;
    uint64_t addr;
    Desc d;

    /* The first one is not done yet, so it cannot be given up */
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 2);
    d = with_pasid(fill(8, 1, 88), 200);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA + 8 * PAGE, 200, true, true, true, &prgi);

    map_all(ep, 0, 2);
    for (pasid = 1; pasid <= IOPF_TD_PASIDS_MAX + 10; pasid++) {
        d = with_pasid(fill(0, 2, pasid), pasid);
        ep_check(ep, &d, IOPF_TD_ST_OK);
    }
    map(ep, 8, PTE_RW);
    page_response(ep, 200, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    check_pattern(ep->qts, DATA + 8 * PAGE, 88, PAGE);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==,
                     2 * (IOPF_TD_PASIDS_MAX - 1) + 1);
    /* An invalidation without PASID reaches them all */
    invalidate(ep, 1);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==,
                     IOPF_TD_PASIDS_MAX);
    /* A PASID that was given up works again */
    d = with_pasid(fill(0, 2, 1), 1);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    /* PASID off: nothing is left of them */
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 0);
    test_end(ep->t);
}

static void make_busy(Endpoint *ep)
{
    int i;

    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 4);
    for (i = 0; i < 3; i++) {
        Desc d = with_pasid(fill(i, 1, i), i + 1);

        ep_start(ep, &d);
        take_request(ep->t);
    }
    set_storm(ep, 100, 5, 1, IOPF_TD_STORM_F_READ);
    for (i = 0; i < 5; i++) {
        take_request(ep->t);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 8);
}

static void test_flr(void)
{
    Endpoint *ep = test_start_iommu();
    uint16_t prgi;
    uint64_t addr;
    Desc d;
    int i;

    make_busy(ep);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CTRL), ==, 0);
    ep_map(ep);
    check_default_registers(ep);
    g_assert_cmpuint(ep_desc_status(ep, ep_desc_addr(ep, 0)), ==,
                     IOPF_TD_ST_NONE);

    /* Answers that come now are for nobody */
    for (i = 0; i < 8; i++) {
        page_response(ep, i < 3 ? i + 1 : NOP, 0, i);
    }
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 1);
    d = fill(0, 1, 42);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    map(ep, 0, PTE_RW);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    test_end(ep->t);
}

static void test_system_reset(void)
{
    Endpoint *ep = test_start_iommu();

    make_busy(ep);
    qtest_system_reset(ep->qts);
    enable_mmcfg(ep->qts);
    ep_map(ep);
    check_default_registers(ep);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    /* Up again */
    start_iommu(ep);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 1);
    make_busy(ep);
    /* And out with work under way */
    test_end(ep->t);
}

static void test_bus_master_off(void)
{
    Endpoint *ep = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi;
    uint64_t addr;

    addr = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    map(ep, 0, PTE_RW);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_REFUSED);
    g_assert_cmpint(ep_desc_ret(ep, addr), ==, -EPERM);
    /* What is in the cache is of no use either */
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    ep_check(ep, &d, IOPF_TD_ST_REFUSED);
    test_end(ep->t);
}

/* Removed while transfers and a storm wait for answers */
static void test_unplug(void)
{
    Endpoint *ep = test_start_bdf(Q35_VTD
                                  " -device pcie-root-port,id=rp1,addr=6.0 "
                                  "-device iopf-testdev,id=td1,bus=rp1",
                                  1 << 8);

    /* Not integrated here */
    g_assert_cmphex(cfg_readw(ep, ep->exp + PCI_EXP_FLAGS) &
                    PCI_EXP_FLAGS_TYPE, ==, PCI_EXP_TYPE_ENDPOINT << 4);
    start_iommu(ep);
    ep_enable(ep, 32);
    make_busy(ep);
    qtest_qmp_device_del_send(ep->qts, "td1");
    eject_root_port(ep->qts);
    qtest_qmp_eventwait(ep->qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, 0xffffffff);
    /* Answers for what is not there any more */
    page_response(ep, 1, 0, 0);
    page_response(ep, NOP, 0, 3);
    invalidate(ep, 0);

    /* A successor works */
    qtest_qmp_device_add(ep->qts, "iopf-testdev", "td2", "{'bus': 'rp1'}");
    ep_map(ep);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 1);
    make_busy(ep);

    /* It goes while the machine is reset */
    qtest_qmp_device_del_send(ep->qts, "td2");
    qtest_system_reset_nowait(ep->qts);
    qtest_qmp_eventwait(ep->qts, "DEVICE_DELETED");
    test_end(ep->t);
}

/*
 * The device switches off its own slot, by a DMA to the root port: it is gone
 * when the access returns, in the middle of its own work.
 */
static void test_unplug_itself(void)
{
    Endpoint *ep = test_start_bdf(Q35 "-global ICH9-LPC."
                                  "acpi-pci-hotplug-with-bridge-support=off "
                                  "-device pcie-root-port,id=rp1,addr=6.0 "
                                  "-device iopf-testdev,id=td1,bus=rp1",
                                  1 << 8);
    Desc d = { .op = IOPF_TD_OP_FILL, .length = 2,
               .data = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF,
               .flags = IOPF_TD_F_IRQ };

    ep->bdf = ROOT_PORT;
    d.iova = cfg_addr(ep, find_cap(ep, PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL);
    g_assert_cmphex(qtest_readw(ep->qts, d.iova) & PCI_EXP_SLTCTL_PCC, ==, 0);
    ep->bdf = 1 << 8;

    ep_writel(ep, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);
    ep_start(ep, &d);
    qtest_qmp_eventwait(ep->qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, 0xffffffff);
    qtest_clock_step(ep->qts, 1000000);
    test_end(ep->t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-testdev/config", test_config);
    qtest_add_func("/iopf-testdev/properties", test_properties);
    qtest_add_func("/iopf-testdev/bad-properties", test_bad_properties);
    qtest_add_func("/iopf-testdev/registers", test_registers);
    qtest_add_func("/iopf-testdev/dma", test_dma);
    qtest_add_func("/iopf-testdev/bad-descriptors", test_bad_descriptors);
    qtest_add_func("/iopf-testdev/ring", test_ring);
    qtest_add_func("/iopf-testdev/order", test_order);
    qtest_add_func("/iopf-testdev/stop-and-abort", test_stop_and_abort);
    qtest_add_func("/iopf-testdev/step", test_step);
    qtest_add_func("/iopf-testdev/interrupts", test_interrupts);
    qtest_add_func("/iopf-testdev/own-registers", test_own_registers);
    qtest_add_func("/iopf-testdev/logs", test_logs);

    qtest_add_func("/iopf-testdev/refusals", test_refusals);
    qtest_add_func("/iopf-testdev/page-fault", test_page_fault);
    qtest_add_func("/iopf-testdev/many-pending", test_many_pending);
    qtest_add_func("/iopf-testdev/group", test_group);
    qtest_add_func("/iopf-testdev/allocation", test_allocation);
    qtest_add_func("/iopf-testdev/write-to-read-only",
                   test_write_to_read_only);
    qtest_add_func("/iopf-testdev/bad-answers", test_bad_answers);
    qtest_add_func("/iopf-testdev/refused-by-iommu", test_refused_by_iommu);
    qtest_add_func("/iopf-testdev/response-failure", test_response_failure);
    qtest_add_func("/iopf-testdev/timeout", test_timeout);
    qtest_add_func("/iopf-testdev/step-invalidate", test_step_invalidate);
    qtest_add_func("/iopf-testdev/storm", test_storm);
    qtest_add_func("/iopf-testdev/storm-waits", test_storm_waits);
    qtest_add_func("/iopf-testdev/page-request-only", test_page_request_only);
    qtest_add_func("/iopf-testdev/stop-pasid", test_stop_pasid);
    qtest_add_func("/iopf-testdev/hold", test_hold);
    qtest_add_func("/iopf-testdev/hostile", test_hostile);
    qtest_add_func("/iopf-testdev/atc", test_atc);
    qtest_add_func("/iopf-testdev/many-pasids", test_many_pasids);
    qtest_add_func("/iopf-testdev/flr", test_flr);
    qtest_add_func("/iopf-testdev/system-reset", test_system_reset);
    qtest_add_func("/iopf-testdev/bus-master-off", test_bus_master_off);
    qtest_add_func("/iopf-testdev/unplug", test_unplug);
    qtest_add_func("/iopf-testdev/unplug-itself", test_unplug_itself);
    return g_test_run();
}

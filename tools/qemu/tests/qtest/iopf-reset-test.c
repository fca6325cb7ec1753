/*
 * QTest of everything that resets the I/O page fault endpoint, or stops it,
 * with page requests open
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever the kind of reset: the enable bits of ATS, PASID and PRI are clear,
 * no request is outstanding and all credits are there, the cache is empty, an
 * answer to what was asked before is unexpected, an invalidation whose
 * completion the function owes times out, and the function works again once
 * it is set up.
 */

#include "qemu/osdep.h"
#include "iopf-vtd-qtest.h"

#define ROOT_PORT       (6 << 3)
#define BELOW           (1 << 8)
#define DEVICE          " -device pcie-root-port,id=rp1,addr=6.0 " \
                        "-device iopf-testdev,id=td0,bus=rp1"
#define TRANSFERS       3
#define STORM           5
#define MSI_PAGE        16
#define MSI_DATA        0x1234

static void set_up_iommu(Endpoint *ep)
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

static Endpoint *test_start(const char *options)
{
    g_autofree char *args = g_strconcat(Q35_VTD DEVICE, options, NULL);
    Test *t = test_new(args);
    Endpoint *ep = &t->ep[0];

    ep_init(ep, t, BELOW, 0);
    enable_mmcfg(t->qts);
    enable_root_port(ep, ROOT_PORT);
    ep_map(ep);
    set_up_iommu(ep);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 8);
    return ep;
}

static Endpoint root_port(Endpoint *ep)
{
    return (Endpoint) { .qts = ep->qts, .bdf = ROOT_PORT };
}

static void map(Endpoint *ep, unsigned page)
{
    write_leaf(ep->t, SL_TABLES, IOVA + page * PAGE,
               (DATA + page * PAGE) | PTE_RW);
}

static Desc fill(unsigned page, uint32_t seed)
{
    return (Desc) { .op = IOPF_TD_OP_FILL, .iova = IOVA + page * PAGE,
                    .length = PAGE, .data = seed };
}

/* Transfers and a storm wait for answers; something is in the cache */
static void make_busy(Endpoint *ep)
{
    int i;

    map(ep, 40);
    fill_atc(ep, NOP, IOVA + 40 * PAGE);
    for (i = 0; i < TRANSFERS; i++) {
        Desc d = with_pasid(fill(i, i), i + 1);

        qtest_memset(ep->qts, DATA + i * PAGE, 0xee, PAGE);
        ep_start(ep, &d);
        take_request(ep->t);
    }
    ep_writeq(ep, IOPF_TD_REG_STORM_ADDR, IOVA + 100 * PAGE);
    ep_writel(ep, IOPF_TD_REG_STORM_COUNT, STORM);
    ep_writel(ep, IOPF_TD_REG_STORM_FLAGS, IOPF_TD_STORM_F_READ);
    ep_writel(ep, IOPF_TD_REG_STORM_GO, 1);
    for (i = 0; i < STORM; i++) {
        take_request(ep->t);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==,
                     TRANSFERS + STORM);
}

/* An invalidation of the device that it does not complete */
static void hold_invalidation(Endpoint *ep)
{
    qtest_writel(ep->qts, STATUS_WORD, 0);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_HOLD_INV);
    put_dev_tlb(ep, IOVA + 41 * PAGE, false);
    put_wait(ep->t, 0x1111);
    g_assert_cmphex(vtd_readl(ep->t, DMAR_FSTS_REG), ==, 0);
    g_assert_cmphex(qtest_readl(ep->qts, STATUS_WORD), ==, 0);
}

static void check_invalidation_lost(Endpoint *ep)
{
    g_assert_cmphex(vtd_readl(ep->t, DMAR_FSTS_REG), ==, VTD_FSTS_ITE);
    vtd_writel(ep->t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    /* The wait descriptor was aborted with it */
    g_assert_cmphex(qtest_readl(ep->qts, STATUS_WORD), ==, 0);
}

static void answer_all(Endpoint *ep)
{
    int i;

    for (i = 0; i < TRANSFERS + STORM; i++) {
        page_response(ep, i < TRANSFERS ? i + 1 : NOP, 0, i);
    }
}

static uint16_t pri_status(Endpoint *ep)
{
    return cfg_readw(ep, ep->pri + PCI_PRI_STATUS);
}

static void check_untouched(Endpoint *ep)
{
    int i;

    qtest_clock_step(ep->qts, 1000000);
    for (i = 0; i < TRANSFERS; i++) {
        g_assert_cmphex(qtest_readq(ep->qts, DATA + i * PAGE), ==,
                        0xeeeeeeeeeeeeeeeeULL);
    }
}

/* What each reset leaves, but for what the IOMMU knows */
static void check_reset(Endpoint *ep)
{
    const uint16_t clean = PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID;

    g_assert_cmphex(cfg_readw(ep, PCI_COMMAND), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pasid + PCI_PASID_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_CTRL), ==, 0);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_ALLOC_REQ), ==, 0);
    g_assert_cmphex(pri_status(ep), ==, clean);
    ep_map(ep);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_GROUPS), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_STALE), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), ==, 0);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_STATUS), ==, 0);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_HOSTILE), ==, 0);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_CTRL), ==, 0);
}

/* As software sets it up again: all credits can be used, a transfer works */
static void check_works(Endpoint *ep)
{
    Desc d = fill(9, 99);
    uint16_t prgi;
    uint64_t addr;

    ep_enable(ep, 1);
    ep->tail = 0;
    ep_start_ring(ep, 8, 1);
    write_leaf(ep->t, SL_TABLES, IOVA + 9 * PAGE, 0);
    addr = ep_start(ep, &d);
    check_request(ep, IOVA + 9 * PAGE, NOP, true, true, true, &prgi);
    map(ep, 9);
    page_response(ep, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, addr), ==, IOPF_TD_ST_OK);
    check_pattern(ep->qts, DATA + 9 * PAGE, 99, PAGE);
}

/* What make_busy() wants to find */
static void set_up_again(Endpoint *ep)
{
    int i;

    for (i = 0; i < TRANSFERS; i++) {
        write_leaf(ep->t, SL_TABLES, IOVA + i * PAGE, 0);
    }
    inv_iotlb(ep->t);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, 32);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, 8);
}

/* After a reset that the IOMMU had no part in */
static void check_after(Endpoint *ep)
{
    check_reset(ep);
    check_invalidation_lost(ep);
    /* The pages are there now, and nobody is to make use of that */
    map(ep, 0);
    map(ep, 1);
    map(ep, 2);
    answer_all(ep);
    check_untouched(ep);
    g_assert_cmphex(pri_status(ep) & PCI_PRI_STATUS_UPRGI, ==,
                    PCI_PRI_STATUS_UPRGI);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert(!have_request(ep->t));
    check_works(ep);
}

static void set_power(Endpoint *ep, uint16_t state)
{
    uint8_t pm = find_cap(ep, PCI_CAP_ID_PM);

    cfg_writew(ep, pm + PCI_PM_CTRL, state);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK,
                    ==, state);
}

static void hot_reset(Endpoint *ep)
{
    Endpoint port = root_port(ep);
    uint16_t control = cfg_readw(&port, PCI_BRIDGE_CONTROL);

    cfg_writew(&port, PCI_BRIDGE_CONTROL, control | PCI_BRIDGE_CTL_BUS_RESET);
    cfg_writew(&port, PCI_BRIDGE_CONTROL, control);
}

static void test_flr(void)
{
    Endpoint *ep = test_start("");

    make_busy(ep);
    hold_invalidation(ep);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    check_after(ep);
    test_end(ep->t);
}

static void test_hot_reset(void)
{
    Endpoint *ep = test_start("");

    make_busy(ep);
    hold_invalidation(ep);
    hot_reset(ep);
    check_after(ep);
    test_end(ep->t);
}

static void test_system_reset(void)
{
    Endpoint *ep = test_start(",pm=on");

    make_busy(ep);
    hold_invalidation(ep);
    /* It comes up from whatever state in D0 */
    set_power(ep, 3);
    qtest_system_reset(ep->qts);
    enable_mmcfg(ep->qts);
    enable_root_port(ep, ROOT_PORT);
    check_reset(ep);
    /* The IOMMU forgot it all, too */
    set_up_iommu(ep);
    g_assert(!have_request(ep->t));
    check_works(ep);
    test_end(ep->t);
}

static void test_pm_capability(void)
{
    Endpoint *ep = test_start(",pm=on");
    uint8_t pm = find_cap(ep, PCI_CAP_ID_PM);

    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_PMC), ==, 3);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL), ==, 0);
    /* There are no D1 and D2, and the way out of D3hot leads to D0 only */
    cfg_writew(ep, pm + PCI_PM_CTRL, 1);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL), ==, 0);
    cfg_writew(ep, pm + PCI_PM_CTRL, 0xffff);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL), ==, 3);
    cfg_writew(ep, pm + PCI_PM_CTRL, 2);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL), ==, 3);
    cfg_writew(ep, pm + PCI_PM_CTRL, 0);
    check_reset(ep);
    test_end(ep->t);

    ep = test_start(",pm=on,no-soft-reset=on");
    pm = find_cap(ep, PCI_CAP_ID_PM);
    g_assert_cmphex(cfg_readw(ep, pm + PCI_PM_CTRL), ==,
                    PCI_PM_CTRL_NO_SOFT_RESET);
    test_end(ep->t);
}

/* The function sleeps, takes answers, and comes back as from a reset */
static void test_d3hot(void)
{
    Endpoint *ep = test_start(",pm=on");

    make_busy(ep);
    hold_invalidation(ep);
    set_power(ep, 3);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_ID), !=, IOPF_TD_ID);
    /* Going there is no reset */
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_CTRL), ==,
                    PCI_PRI_CTRL_ENABLE);
    g_assert_cmphex(vtd_readl(ep->t, DMAR_FSTS_REG), ==, 0);
    set_power(ep, 0);
    check_after(ep);

    /* Again, with a function level reset in between */
    set_up_again(ep);
    make_busy(ep);
    hold_invalidation(ep);
    set_power(ep, 3);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmphex(cfg_readw(ep, find_cap(ep, PCI_CAP_ID_PM) + PCI_PM_CTRL),
                    ==, 0);
    check_reset(ep);
    check_invalidation_lost(ep);
    check_works(ep);
    test_end(ep->t);
}

/* Answers are messages, which count in D3hot; what follows from them waits */
static void test_d3hot_answers(void)
{
    Endpoint *ep = test_start(",pm=on");
    int i;

    make_busy(ep);
    for (i = 0; i < TRANSFERS; i++) {
        map(ep, i);
    }
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    set_power(ep, 3);
    g_assert_cmphex(pri_status(ep) & PCI_PRI_STATUS_STOPPED, ==, 0);
    answer_all(ep);
    g_assert_cmphex(pri_status(ep), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    check_untouched(ep);
    set_power(ep, 0);
    check_reset(ep);
    check_untouched(ep);
    check_works(ep);
    test_end(ep->t);
}

/* Without a reset on the way back everything goes on where it was */
static void test_d3hot_no_soft_reset(void)
{
    Endpoint *ep = test_start(",pm=on,no-soft-reset=on");
    uint8_t msix = find_cap(ep, PCI_CAP_ID_MSIX);
    uint64_t entry = ep->bar4 + 2 * PCI_MSIX_ENTRY_SIZE;
    uint64_t msi = DATA + MSI_PAGE * PAGE;
    uint32_t cached;
    int i;

    make_busy(ep);
    cached = ep_readl(ep, IOPF_TD_REG_ATC_COUNT);
    g_assert_cmpuint(cached, >, 0);
    map(ep, MSI_PAGE);
    qtest_writel(ep->qts, msi, 0);
    qtest_writel(ep->qts, entry, IOVA + MSI_PAGE * PAGE);
    qtest_writel(ep->qts, entry + 4, 0);
    qtest_writel(ep->qts, entry + 8, MSI_DATA);
    qtest_writel(ep->qts, entry + 12, 0);
    cfg_writew(ep, msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
    ep_writel(ep, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_RESPONSE);

    set_power(ep, 3);
    for (i = 0; i < TRANSFERS; i++) {
        map(ep, i);
    }
    answer_all(ep);
    check_untouched(ep);
    g_assert_cmphex(qtest_readl(ep->qts, msi), ==, 0);

    set_power(ep, 0);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_CTRL), ==,
                    PCI_PRI_CTRL_ENABLE);
    WAIT_FOR(ep->qts, qtest_readl(ep->qts, msi) == MSI_DATA);
    WAIT_FOR(ep->qts, !(ep_readl(ep, IOPF_TD_REG_STATUS) &
                        IOPF_TD_STATUS_BUSY));
    for (i = 0; i < TRANSFERS; i++) {
        check_pattern(ep->qts, DATA + i * PAGE, i, PAGE);
    }
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_ATC_COUNT), >=, cached);
    g_assert_cmphex(pri_status(ep) & PCI_PRI_STATUS_UPRGI, ==, 0);
    test_end(ep->t);
}

/* A PF takes its VFs along */
static void test_d3hot_virtual_function(void)
{
    Endpoint *ep = test_start(",pm=on,no-soft-reset=on,sriov-vfs=1");
    Endpoint vf;
    Desc d = fill(0, 7);
    uint16_t prgi;

    enable_vfs(ep, &vf, 1, 1);
    write_context(&vf, CONTEXT_FLAGS);
    inv_context(ep->t);
    cfg_writew(&vf, vf.ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    ep_start_ring(&vf, 8, 1);
    qtest_memset(ep->qts, DATA, 0xee, TRANSFERS * PAGE);
    ep_start(&vf, &d);
    check_request(&vf, IOVA, NOP, true, true, true, &prgi);
    set_power(ep, 3);
    map(ep, 0);
    page_response(&vf, NOP, 0, prgi);
    check_untouched(ep);
    set_power(ep, 0);
    g_assert_cmpuint(ep_finish(&vf, ep_desc_addr(&vf, 0)), ==, IOPF_TD_ST_OK);
    check_pattern(ep->qts, DATA, 7, PAGE);
    test_end(ep->t);
}

/* The error gets to the root port, whose driver resets the link then */
static void test_error(void)
{
    Endpoint *ep = test_start(",aer=on");
    Endpoint port = root_port(ep);
    uint16_t aer = find_ext_cap(ep, PCI_EXT_CAP_ID_ERR);
    uint16_t root = find_ext_cap(&port, PCI_EXT_CAP_ID_ERR);
    uint16_t port_exp = find_cap(&port, PCI_CAP_ID_EXP);
    const uint16_t reports = PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE;
    uint32_t status;

    make_busy(ep);
    hold_invalidation(ep);
    cfg_writew(&port, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_SERR);
    cfg_writew(&port, port_exp + PCI_EXP_DEVCTL, reports);

    /* Not reported unless enabled, but seen; nothing else stops */
    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
    g_assert_cmphex(cfg_readl(ep, aer + PCI_ERR_UNCOR_STATUS), ==,
                    PCI_ERR_UNC_MALF_TLP);
    g_assert_cmphex(cfg_readl(&port, root + PCI_ERR_ROOT_STATUS), ==, 0);
    cfg_writel(ep, aer + PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_MALF_TLP);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, reports);
    /* No such error, and more than one */
    ep_writel(ep, IOPF_TD_REG_ERROR, 1u << 3);
    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP | PCI_ERR_UNC_ECRC);
    g_assert_cmphex(cfg_readl(ep, aer + PCI_ERR_UNCOR_STATUS), ==, 0);

    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
    status = cfg_readl(&port, root + PCI_ERR_ROOT_STATUS);
    g_assert_cmphex(status, ==, PCI_ERR_ROOT_UNCOR_RCV |
                    PCI_ERR_ROOT_FIRST_FATAL | PCI_ERR_ROOT_FATAL_RCV);
    g_assert_cmphex(cfg_readl(&port, root + PCI_ERR_ROOT_ERR_SRC) >> 16, ==,
                    BELOW);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==,
                     TRANSFERS + STORM);
    hot_reset(ep);
    g_assert_cmphex(cfg_readw(ep, ep->exp + PCI_EXP_DEVCTL) & reports, ==, 0);
    check_after(ep);
    /* What had happened outlives the reset */
    g_assert_cmphex(cfg_readl(ep, aer + PCI_ERR_UNCOR_STATUS), ==,
                    PCI_ERR_UNC_MALF_TLP);
    test_end(ep->t);

    /* Without AER it cannot be had */
    ep = test_start("");
    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
    g_assert_cmphex(cfg_readw(ep, ep->exp + PCI_EXP_DEVSTA) &
                    (PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED), ==, 0);
    test_end(ep->t);
}

/* Error messages and bits of control that get the port to act */
#define DPC_SW_TRIGGER  0x40
#define DPC_STATUS      (PCI_EXP_DPC_STATUS_TRIGGER | \
                         PCI_EXP_DPC_STATUS_INTERRUPT)
#define DPC_REASON_SW   (PCI_EXP_DPC_STATUS_TRIGGER_RSN_IN_EXT | \
                         PCI_EXP_DPC_STATUS_TRIGGER_RSN_SW_TRIGGER)

static Endpoint *test_start_dpc(Endpoint *port, uint16_t *dpc)
{
    Endpoint *ep = test_start(",aer=on -global pcie-root-port.dpc=on");
    const uint16_t reports = PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE;

    *port = root_port(ep);
    *dpc = find_ext_cap(port, PCI_EXT_CAP_ID_DPC);
    cfg_writew(port, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_SERR);
    cfg_writew(port, find_cap(port, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL, reports);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, reports);
    return ep;
}

/* Nothing gets to the function, nothing comes from it */
static void check_contained(Endpoint *ep)
{
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, UINT32_MAX);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_ID), !=, IOPF_TD_ID);
    check_invalidation_lost(ep);

    put_dev_tlb(ep, IOVA, false);
    g_assert_cmphex(vtd_readl(ep->t, DMAR_FSTS_REG), ==, VTD_FSTS_ITE);
    vtd_writel(ep->t, DMAR_FSTS_REG, VTD_FSTS_ITE);

    map(ep, 0);
    map(ep, 1);
    map(ep, 2);
    answer_all(ep);
    check_untouched(ep);
    g_assert(!have_request(ep->t));
}

/* The link comes up; an answer got lost, so the device does not know of any */
static void check_released(Endpoint *ep)
{
    check_reset(ep);
    check_works(ep);
}

static uint16_t link_status(Endpoint *port)
{
    return cfg_readw(port, find_cap(port, PCI_CAP_ID_EXP) + PCI_EXP_LNKSTA);
}

static void test_containment(void)
{
    Endpoint port;
    uint16_t dpc, root;
    Endpoint *ep = test_start_dpc(&port, &dpc);

    root = find_ext_cap(&port, PCI_EXT_CAP_ID_ERR) + PCI_ERR_ROOT_STATUS;
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_CAP), ==,
                    PCI_EXP_DPC_CAP_SW_TRIGGER);
    make_busy(ep);
    hold_invalidation(ep);

    /* An error that it is not enabled for goes the usual way */
    cfg_writew(&port, dpc + PCI_EXP_DPC_CTL, PCI_EXP_DPC_CTL_EN_FATAL);
    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_COMP_TIME);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==, 0);
    g_assert_cmphex(cfg_readl(&port, root) & PCI_ERR_ROOT_NONFATAL_RCV, ==,
                    PCI_ERR_ROOT_NONFATAL_RCV);
    cfg_writel(&port, root, UINT32_MAX);

    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==,
                    DPC_STATUS | PCI_EXP_DPC_STATUS_TRIGGER_RSN_FE);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_SOURCE_ID), ==, BELOW);
    g_assert_cmphex(cfg_readl(&port, root), ==, 0);
    check_contained(ep);

    g_assert_cmphex(link_status(&port) & PCI_EXP_LNKSTA_DLLLA, ==, 0);
    /* It takes the right bit to get out of it */
    cfg_writew(&port, dpc + PCI_EXP_DPC_STATUS, PCI_EXP_DPC_STATUS_INTERRUPT);
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, UINT32_MAX);
    cfg_writew(&port, dpc + PCI_EXP_DPC_STATUS, PCI_EXP_DPC_STATUS_TRIGGER);
    g_assert_cmphex(link_status(&port) & PCI_EXP_LNKSTA_DLLLA, ==,
                    PCI_EXP_LNKSTA_DLLLA);
    check_released(ep);

    /* Each error that it is enabled for, and no other */
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_NFERE);
    cfg_writew(&port, dpc + PCI_EXP_DPC_CTL, PCI_EXP_DPC_CTL_EN_NONFATAL);
    ep_writel(ep, IOPF_TD_REG_ERROR, PCI_ERR_UNC_COMP_TIME);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==,
                    DPC_STATUS | PCI_EXP_DPC_STATUS_TRIGGER_RSN_NFE);
    test_end(ep->t);
}

/* An error that the port itself finds need not be fatal, and goes no further */
static void test_containment_own_error(void)
{
    Endpoint port;
    uint16_t dpc, root;
    Endpoint *ep = test_start_dpc(&port, &dpc);

    root = find_ext_cap(&port, PCI_EXT_CAP_ID_ERR) + PCI_ERR_ROOT_STATUS;
    cfg_writew(&port, dpc + PCI_EXP_DPC_CTL, PCI_EXP_DPC_CTL_EN_FATAL);
    g_free(qtest_hmp(ep->qts, "pcie_aer_inject_error rp1 COMP_TIME"));
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==,
                    DPC_STATUS | PCI_EXP_DPC_STATUS_TRIGGER_RSN_UNCOR);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_SOURCE_ID), ==, 0);
    g_assert_cmphex(cfg_readl(&port, root), ==, 0);
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, UINT32_MAX);
    test_end(ep->t);
}

#define MIGRATED_PORT   "-M q35 -m 64 -nodefaults " \
                        "-device pcie-root-port,id=rp1,addr=6.0,dpc=on "

/* A port that is contained is so in another process, which can release it */
static void test_containment_migrates(void)
{
    Test *t = test_new(MIGRATED_PORT);
    Endpoint *port = &t->ep[0];
    uint16_t dpc;

    ep_init(port, t, ROOT_PORT, 0);
    enable_mmcfg(t->qts);
    dpc = find_ext_cap(port, PCI_EXT_CAP_ID_DPC);
    cfg_writew(port, dpc + PCI_EXP_DPC_CTL,
               PCI_EXP_DPC_CTL_EN_FATAL | DPC_SW_TRIGGER);
    migrate_machine(t, MIGRATED_PORT);
    g_assert_cmphex(cfg_readw(port, dpc + PCI_EXP_DPC_STATUS), ==,
                    DPC_STATUS | DPC_REASON_SW);
    cfg_writew(port, dpc + PCI_EXP_DPC_STATUS, DPC_STATUS);
    g_assert_cmphex(cfg_readw(port, dpc + PCI_EXP_DPC_STATUS) & DPC_STATUS,
                    ==, 0);
    test_end(t);
}

static void test_containment_by_software(void)
{
    Endpoint port;
    uint16_t dpc;
    Endpoint *ep = test_start_dpc(&port, &dpc);

    make_busy(ep);
    hold_invalidation(ep);
    cfg_writew(&port, dpc + PCI_EXP_DPC_CTL, DPC_SW_TRIGGER);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==, 0);
    cfg_writew(&port, dpc + PCI_EXP_DPC_CTL,
               PCI_EXP_DPC_CTL_EN_FATAL | DPC_SW_TRIGGER);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_CTL), ==,
                    PCI_EXP_DPC_CTL_EN_FATAL);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==,
                    DPC_STATUS | DPC_REASON_SW);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_SOURCE_ID), ==, 0);
    check_contained(ep);
    /* A reset of the bus does not bring it back, one of the machine does */
    hot_reset(ep);
    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, UINT32_MAX);
    qtest_system_reset(ep->qts);
    enable_mmcfg(ep->qts);
    enable_root_port(ep, ROOT_PORT);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_STATUS), ==, 0);
    g_assert_cmphex(cfg_readw(&port, dpc + PCI_EXP_DPC_CTL), ==, 0);
    g_assert_cmphex(link_status(&port) & PCI_EXP_LNKSTA_DLLLA, ==,
                    PCI_EXP_LNKSTA_DLLLA);
    check_reset(ep);
    set_up_iommu(ep);
    check_works(ep);
    test_end(ep->t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-reset/flr", test_flr);
    qtest_add_func("/iopf-reset/hot-reset", test_hot_reset);
    qtest_add_func("/iopf-reset/system-reset", test_system_reset);
    qtest_add_func("/iopf-reset/pm-capability", test_pm_capability);
    qtest_add_func("/iopf-reset/d3hot", test_d3hot);
    qtest_add_func("/iopf-reset/d3hot-answers", test_d3hot_answers);
    qtest_add_func("/iopf-reset/d3hot-no-soft-reset",
                   test_d3hot_no_soft_reset);
    qtest_add_func("/iopf-reset/d3hot-virtual-function",
                   test_d3hot_virtual_function);
    qtest_add_func("/iopf-reset/error", test_error);
    qtest_add_func("/iopf-reset/containment", test_containment);
    qtest_add_func("/iopf-reset/containment-by-software",
                   test_containment_by_software);
    qtest_add_func("/iopf-reset/containment-own-error",
                   test_containment_own_error);
    qtest_add_func("/iopf-reset/containment-migrates",
                   test_containment_migrates);
    return g_test_run();
}

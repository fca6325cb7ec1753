/*
 * QTest of the virtual functions of the I/O page fault test endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qobject/qdict.h"
#include "iopf-vtd-qtest.h"

#define VFS         3
#define DEVICE      " -device iopf-testdev,bus=pcie.0,addr=4.0,sriov-vfs=3"
#define PASID       7

typedef struct Functions {
    Test t;
    Endpoint *pf;
    Endpoint vf[VFS];
} Functions;

/* What is at @offset of the SR-IOV capability */
static uint16_t sriov_readw(Endpoint *pf, uint16_t offset)
{
    return cfg_readw(pf, pf->sriov + offset);
}

static void vf_reset(Endpoint *vf)
{
    cfg_writew(vf, vf->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    enable_vf(vf);
}

static void disable_vfs(Functions *f)
{
    cfg_writew(f->pf, f->pf->sriov + PCI_SRIOV_CTRL, 0);
}

/* Whoever asks, without PASID or with @PASID, uses one second stage table */
static void start_iommu(Functions *f)
{
    unsigned n;

    clear_tables(&f->t);
    write_context(f->pf, CONTEXT_FLAGS);
    for (n = 0; n < VFS; n++) {
        write_context(&f->vf[n], CONTEXT_FLAGS);
    }
    write_pasid_sl(&f->t, 0, 1, SL_TABLES);
    write_pasid_sl(&f->t, PASID, 1, SL_TABLES);
    write_paging(&f->t, SL_TABLES, PTE_RW);
    start_vtd(&f->t, 0);
}

static void start_functions(Functions *f)
{
    unsigned n;

    ep_map(f->pf);
    enable_vfs(f->pf, f->vf, VFS, 1);
    start_iommu(f);
    ep_start_ring(f->pf, 8, 4);
    for (n = 0; n < VFS; n++) {
        ep_enable(&f->vf[n], 0);
        ep_start_ring(&f->vf[n], 8, 4);
    }
}

static Functions *test_start(void)
{
    Functions *f = g_new0(Functions, 1);

    f->t.qts = qtest_init(Q35_VTD DEVICE);
    f->pf = &f->t.ep[0];
    ep_init(f->pf, &f->t, 4 << 3, 0);
    enable_mmcfg(f->t.qts);
    start_functions(f);
    return f;
}

static void functions_end(Functions *f)
{
    qtest_quit(f->t.qts);
    g_free(f);
}

static uint16_t pri_status(Functions *f)
{
    return cfg_readw(f->pf, f->pf->pri + PCI_PRI_STATUS);
}

static Desc fill(unsigned page)
{
    return (Desc) { .op = IOPF_TD_OP_FILL, .iova = IOVA + page * PAGE,
                    .length = PAGE, .data = 0x1000 + page };
}

static void map(Functions *f, unsigned page)
{
    write_leaf(&f->t, SL_TABLES, IOVA + page * PAGE,
               (DATA + page * PAGE) | PTE_RW);
}

static void check_filled(Functions *f, unsigned page)
{
    check_pattern(f->t.qts, DATA + page * PAGE, 0x1000 + page, PAGE);
}

static void test_config(void)
{
    Functions *f = test_start();
    Endpoint *vf = &f->vf[VFS - 1];

    g_assert_cmpuint(sriov_readw(f->pf, PCI_SRIOV_TOTAL_VF), ==, VFS);
    g_assert_cmpuint(sriov_readw(f->pf, PCI_SRIOV_INITIAL_VF), ==, VFS);
    g_assert_cmphex(sriov_readw(f->pf, PCI_SRIOV_VF_DID), ==,
                    IOPF_TD_DEVICE_ID);
    g_assert_cmphex(vf->bdf, ==, f->pf->bdf + VFS);

    /* What a VF has of its own, and what not */
    g_assert_cmphex(cfg_readl(vf, PCI_VENDOR_ID), ==, 0xffffffff);
    g_assert_cmphex(cfg_readl(vf, PCI_CLASS_REVISION) >> 8, ==, 0x00ff00);
    g_assert_cmphex(vf->ats, !=, 0);
    g_assert_cmphex(vf->pri, ==, 0);
    g_assert_cmphex(vf->pasid, ==, 0);
    g_assert_cmphex(vf->sriov, ==, 0);
    g_assert_cmphex(cfg_readw(vf, vf->ats + PCI_ATS_CAP), ==,
                    PCI_ATS_CAP_PAGE_ALIGNED | PCI_ATS_CAP_GLOBAL_INV);
    g_assert_cmphex(cfg_readl(vf, vf->exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, PCI_EXP_DEVCAP_FLR);

    /* The smallest translation unit is that of the PF */
    cfg_writew(vf, vf->ats + PCI_ATS_CTRL, 0);
    cfg_writew(vf, vf->ats + PCI_ATS_CTRL, 3);
    g_assert_cmphex(cfg_readw(vf, vf->ats + PCI_ATS_CTRL), ==, 0);
    cfg_writew(f->pf, f->pf->ats + PCI_ATS_CTRL, 5);
    g_assert_cmphex(ep_readl(vf, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER | 5 << IOPF_TD_LIVE_STU_SHIFT);

    g_assert_cmphex(ep_readl(vf, IOPF_TD_REG_CAPS), ==,
                    ep_readl(f->pf, IOPF_TD_REG_CAPS) | IOPF_TD_CAPS_VF);
    ep_enable(f->pf, 9);
    g_assert_cmphex(ep_readl(vf, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER | IOPF_TD_LIVE_PRI |
                    IOPF_TD_LIVE_PASID | IOPF_TD_LIVE_PASID_EXEC |
                    IOPF_TD_LIVE_PASID_PRIV | 9 << IOPF_TD_LIVE_ALLOC_SHIFT);

    /* Registers and device RAM of each are its own */
    ep_writel(vf, IOPF_TD_REG_STORM_COUNT, 77);
    g_assert_cmpuint(ep_readl(&f->vf[0], IOPF_TD_REG_STORM_COUNT), ==, 0);
    qtest_writel(f->t.qts, vf->bar2 + IOPF_TD_RAM_DATA, 77);
    g_assert_cmpuint(qtest_readl(f->t.qts, f->vf[1].bar2 + IOPF_TD_RAM_DATA),
                     ==, 0);

    disable_vfs(f);
    g_assert_cmphex(cfg_readl(vf, PCI_CLASS_REVISION), ==, 0xffffffff);
    functions_end(f);
}

static void check_device_add(QTestState *qts, const char *id, int function,
                             int vfs, bool good)
{
    g_autofree char *addr = g_strdup_printf("0.%d", function);
    QDict *response;

    response = qtest_qmp(qts, "{'execute': 'device_add', 'arguments': {"
                         "'driver': 'iopf-testdev', 'bus': 'rp1', 'id': %s,"
                         "'addr': %s, 'multifunction': true,"
                         "'sriov-vfs': %d } }", id, addr, vfs);
    g_assert_cmpint(qdict_haskey(response, "return"), ==, good);
    qobject_unref(response);
}

static void test_properties(void)
{
    QTestState *qts = qtest_init(Q35 "-device pcie-root-port,id=rp1");
    QDict *response;

    check_device_add(qts, "td0", 0, IOPF_TD_VFS_MAX + 1, false);
    /* The third function is taken */
    check_device_add(qts, "td2", 2, 0, true);
    check_device_add(qts, "td0", 0, 4, false);
    check_device_add(qts, "td0", 0, 1, true);
    /* A VF is nothing to be added */
    response = qtest_qmp(qts, "{'execute': 'device_add', 'arguments': {"
                         "'driver': 'iopf-testdev-vf', 'bus': 'rp1' } }");
    g_assert(qdict_haskey(response, "error"));
    qobject_unref(response);
    qtest_quit(qts);
}

static void test_transfer(void)
{
    Functions *f = test_start();
    Endpoint *vf = &f->vf[1];
    Desc d = fill(0);

    map(f, 0);
    map(f, 1);
    ep_check(vf, &d, IOPF_TD_ST_OK);
    check_filled(f, 0);
    g_assert_cmpuint(ep_readl(vf, IOPF_TD_REG_CNT_ACC_TRANSLATED), ==, 1);
    g_assert(in_atc(vf, NOP, IOVA));

    /* PASID is for the PF to enable, as long as its ATS is off */
    d = with_pasid(fill(1), PASID);
    ep_check(vf, &d, IOPF_TD_ST_REFUSED);
    cfg_writew(f->pf, f->pf->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
    ep_check(vf, &d, IOPF_TD_ST_OK);
    check_filled(f, 1);
    g_assert(in_atc(vf, PASID, IOVA + PAGE));

    /* Invalidations find their function */
    fill_atc(&f->vf[0], NOP, IOVA);
    inv_dev_tlb(&f->vf[0], IOVA, false);
    g_assert(!in_atc(&f->vf[0], NOP, IOVA));
    g_assert(in_atc(vf, NOP, IOVA));
    inv_dev_tlb_pasid(vf, PASID, false, IOVA + PAGE, false);
    g_assert(!in_atc(vf, PASID, IOVA + PAGE));

    /* PASID off in the PF: nothing with PASID is left in the VF */
    ep_check(vf, &d, IOPF_TD_ST_OK);
    cfg_writew(f->pf, f->pf->pasid + PCI_PASID_CTRL, 0);
    g_assert(!in_atc(vf, PASID, IOVA + PAGE));
    g_assert(in_atc(vf, NOP, IOVA));

    /* ATS is its own */
    cfg_writew(vf, vf->ats + PCI_ATS_CTRL, 0);
    g_assert(!in_atc(vf, NOP, IOVA));
    ep_enable(f->pf, 0);
    d.mode = IOPF_TD_MODE_TRANSLATED;
    ep_check(vf, &d, IOPF_TD_ST_REFUSED);
    g_assert_cmphex(take_fault(&f->t, NULL), ==, 0);
    functions_end(f);
}

static void test_page_request(void)
{
    Functions *f = test_start();
    Endpoint *vf = &f->vf[2];
    Desc d = fill(0), pr = group_request(NOP, IOVA, 1, WANT_R, 5);
    Desc open = group_request(NOP, IOVA, 1, WANT_R, 6);
    uint64_t desc;
    uint16_t prgi;

    /* The interface is that of the PF, and it is off */
    ep_check(vf, &pr, IOPF_TD_ST_REFUSED);
    g_assert(!have_request(&f->t));

    ep_enable(f->pf, 64);
    desc = ep_start(vf, &d);
    check_request(vf, IOVA, NOP, true, true, true, &prgi);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_STOPPED, ==, 0);
    map(f, 0);
    /* An answer to another function is none */
    page_response(&f->vf[0], NOP, 0, prgi);
    g_assert_cmpuint(ep_desc_status(vf, desc), ==, IOPF_TD_ST_NONE);
    page_response(vf, NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(vf, desc), ==, IOPF_TD_ST_OK);
    check_filled(f, 0);

    d = with_pasid(fill(1), PASID);
    desc = ep_start(vf, &d);
    check_request(vf, IOVA + PAGE, PASID, true, true, true, &prgi);
    map(f, 1);
    page_response(vf, PASID, 0, prgi);
    g_assert_cmpuint(ep_finish(vf, desc), ==, IOPF_TD_ST_OK);

    /* Stopped has to wait for the VF, but not for what is never answered */
    ep_check(vf, &pr, IOPF_TD_ST_OK);
    open.flags |= IOPF_TD_F_NOLAST;
    ep_check(vf, &open, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(vf, IOPF_TD_REG_PRI_PARTIAL), ==, 1);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, 0);
    g_assert_cmpuint(ep_readl(vf, IOPF_TD_REG_PRI_PARTIAL), ==, 0);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_STOPPED, ==, 0);
    page_response(vf, NOP, 1, 5);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_STOPPED, ==,
                    PCI_PRI_STATUS_STOPPED);
    ep_check(vf, &pr, IOPF_TD_ST_REFUSED);
    functions_end(f);
}

/* Three functions with a transfer each, when there are two credits */
static void check_credits(Functions *f, Endpoint *const *ep)
{
    Desc d[3] = { fill(0), fill(1), fill(2) };
    uint16_t prgi[3];
    uint64_t desc[3];
    int i;

    for (i = 0; i < 2; i++) {
        desc[i] = ep_start(ep[i], &d[i]);
        check_request(ep[i], d[i].iova, NOP, true, true, true, &prgi[i]);
    }
    desc[2] = ep_start(ep[2], &d[2]);
    qtest_clock_step(f->t.qts, 1000000);
    g_assert(!have_request(&f->t));
    /* An answer to one lets the other go on */
    map(f, 0);
    page_response(ep[0], NOP, 0, prgi[0]);
    check_request(ep[2], d[2].iova, NOP, true, true, true, &prgi[2]);
    for (i = 1; i < 3; i++) {
        map(f, i);
        page_response(ep[i], NOP, 0, prgi[i]);
    }
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(ep_finish(ep[i], desc[i]), ==, IOPF_TD_ST_OK);
        check_filled(f, i);
        write_leaf(&f->t, SL_TABLES, IOVA + i * PAGE, 0);
        inv_iotlb(&f->t);
        inv_dev_tlb(ep[i], IOVA + i * PAGE, false);
    }
}

/* The allocation is for all functions together */
static void test_credits(void)
{
    Functions *f = test_start();
    Endpoint *const pf_first[3] = { f->pf, &f->vf[0], &f->vf[1] };
    Endpoint *const pf_last[3] = { &f->vf[0], &f->vf[1], f->pf };

    ep_enable(f->pf, 2);
    check_credits(f, pf_first);
    check_credits(f, pf_last);
    functions_end(f);
}

/* What a group is going to need is not there for others */
static void test_promised_credits(void)
{
    Functions *f = test_start();
    Desc group = group_request(NOP, IOVA + 8 * PAGE, 4, WANT_R, 9);
    Desc d = fill(0);
    uint64_t desc;
    uint16_t prgi;
    int i;

    ep_enable(f->pf, 4);
    ep_writel(f->pf, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
    ep_start(f->pf, &group);
    while (!have_request(&f->t)) {
        ep_writel(f->pf, IOPF_TD_REG_STEP, 1);
        WAIT_FOR(f->t.qts, !ep_readl(f->pf, IOPF_TD_REG_STEP));
    }
    check_request(f->pf, group.iova, NOP, true, false, false, NULL);

    desc = ep_start(&f->vf[0], &d);
    qtest_clock_step(f->t.qts, 1000000);
    g_assert(!have_request(&f->t));
    ep_writel(f->pf, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    for (i = 1; i < 4; i++) {
        check_request(f->pf, group.iova + i * PAGE, NOP, true, false, i == 3,
                      NULL);
    }
    page_response(f->pf, NOP, 0, 9);
    check_request(&f->vf[0], IOVA, NOP, true, true, true, &prgi);
    map(f, 0);
    page_response(&f->vf[0], NOP, 0, prgi);
    g_assert_cmpuint(ep_finish(&f->vf[0], desc), ==, IOPF_TD_ST_OK);
    functions_end(f);
}

/* Each function waits for one answer to a transfer, and has a group open */
static void make_busy(Functions *f, uint64_t *desc)
{
    Desc open = group_request(NOP, IOVA + 20 * PAGE, 1, WANT_R, 100);
    Endpoint *ep[VFS + 1] = { f->pf };
    unsigned n;

    open.flags |= IOPF_TD_F_NOLAST;
    for (n = 0; n <= VFS; n++) {
        Desc d = fill(n);

        if (n) {
            ep[n] = &f->vf[n - 1];
        }
        desc[n] = ep_start(ep[n], &d);
        take_request(&f->t);
        ep_check(ep[n], &open, IOPF_TD_ST_OK);
        take_request(&f->t);
    }
}

/* What an interface that failed or was reset means for all functions */
static void test_shared_failure(void)
{
    Functions *f = test_start();
    Desc pr = group_request(NOP, IOVA, 1, WANT_R, 5);
    uint64_t desc[VFS + 1];
    unsigned n;

    ep_enable(f->pf, 64);
    make_busy(f, desc);
    page_response(&f->vf[1], NOP, 0xf, 0);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    g_assert_cmpuint(ep_finish(f->pf, desc[0]), ==, IOPF_TD_ST_RSP_FAILURE);
    for (n = 0; n < VFS; n++) {
        g_assert_cmpuint(ep_finish(&f->vf[n], desc[n + 1]), ==,
                         IOPF_TD_ST_RSP_FAILURE);
        g_assert_cmphex(ep_readl(&f->vf[n], IOPF_TD_REG_STATUS) &
                        IOPF_TD_STATUS_PRI_FAILED, !=, 0);
        ep_check(&f->vf[n], &pr, IOPF_TD_ST_RSP_FAILURE);
    }
    /* A reset of a VF does not heal it, Reset and Enable in the PF do */
    vf_reset(&f->vf[0]);
    g_assert_cmphex(ep_readl(&f->vf[0], IOPF_TD_REG_STATUS) &
                    IOPF_TD_STATUS_PRI_FAILED, !=, 0);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, 0);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    ep_check(&f->vf[1], &pr, IOPF_TD_ST_OK);
    check_request(&f->vf[1], IOVA, NOP, true, false, true, NULL);

    /* Reset: nobody remembers anything */
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, 0);
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(pri_status(f), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    g_assert_cmpuint(ep_readl(&f->vf[1], IOPF_TD_REG_PRI_GROUPS), ==, 0);
    page_response(&f->vf[1], NOP, 0, 5);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_UPRGI, ==,
                    PCI_PRI_STATUS_UPRGI);
    functions_end(f);
}

static void check_credits_free(Functions *f)
{
    cfg_writew(f->pf, f->pf->pri + PCI_PRI_CTRL, 0);
    g_assert_cmphex(pri_status(f) & PCI_PRI_STATUS_STOPPED, ==,
                    PCI_PRI_STATUS_STOPPED);
}

/* Reset and removal with answers due; those that come then are for nobody */
static void test_vf_reset(void)
{
    Functions *f = test_start();
    uint64_t desc[VFS + 1];
    unsigned n;

    ep_enable(f->pf, 64);
    make_busy(f, desc);
    /* One VF: the others go on waiting */
    vf_reset(&f->vf[0]);
    g_assert_cmpuint(ep_readl(&f->vf[0], IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert_cmphex(cfg_readw(&f->vf[0], f->vf[0].ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmpuint(ep_readl(&f->vf[1], IOPF_TD_REG_PRI_OUTSTANDING), ==, 2);
    page_response(&f->vf[0], NOP, 0, 0);
    g_assert(take_unexpected(f->pf));
    g_assert_cmphex(ep_readl(f->pf, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_PRI, !=,
                    0);

    /*
     * All of them; one that is disabled completes no invalidation, and what is
     * sent to it is lost: it has no interface that could tell of it
     */
    disable_vfs(f);
    for (n = 0; n < VFS; n++) {
        page_response(&f->vf[n], NOP, 0, 0);
        g_assert(!take_unexpected(f->pf));
        put_dev_tlb(&f->vf[n], IOVA, false);
        g_assert_cmphex(vtd_readl(&f->t, DMAR_FSTS_REG), ==, VTD_FSTS_ITE);
        vtd_writel(&f->t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    }
    g_assert_cmpuint(ep_desc_status(f->pf, desc[0]), ==, IOPF_TD_ST_NONE);
    page_response(f->pf, NOP, 1, 0);
    g_assert_cmpuint(ep_finish(f->pf, desc[0]), ==, IOPF_TD_ST_RSP_INVALID);
    check_credits_free(f);

    /* Once more */
    start_functions(f);
    ep_enable(f->pf, 64);
    make_busy(f, desc);
    functions_end(f);
}

static void test_pf_reset(void)
{
    Functions *f = test_start();
    uint64_t desc[VFS + 1];
    unsigned n;

    ep_enable(f->pf, 64);
    make_busy(f, desc);
    cfg_writew(f->pf, f->pf->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmphex(cfg_readl(&f->vf[0], PCI_CLASS_REVISION), ==, 0xffffffff);
    g_assert_cmphex(pri_status(f), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    for (n = 0; n < VFS; n++) {
        page_response(&f->vf[n], NOP, 0, 0);
    }
    start_functions(f);
    ep_enable(f->pf, 64);
    make_busy(f, desc);

    qtest_system_reset(f->t.qts);
    enable_mmcfg(f->t.qts);
    start_functions(f);
    ep_enable(f->pf, 64);
    make_busy(f, desc);
    check_translation(&f->vf[2], PASID, IOVA, WANT_RW, 0, PAGE, 0);
    functions_end(f);
}

static void test_unplug(void)
{
    Functions *f = g_new0(Functions, 1);
    uint64_t desc[VFS + 1];
    unsigned n;

    f->t.qts = qtest_init(Q35_VTD " -device pcie-root-port,id=rp1,addr=6.0 "
                          "-device iopf-testdev,bus=rp1,id=td0,sriov-vfs=3");
    f->pf = &f->t.ep[0];
    ep_init(f->pf, &f->t, 1 << 8, 0);
    enable_mmcfg(f->t.qts);
    enable_root_port(f->pf, 6 << 3);
    start_functions(f);
    ep_enable(f->pf, 64);
    make_busy(f, desc);
    qtest_qmp_device_del_send(f->t.qts, "td0");
    eject_root_port(f->t.qts);
    qtest_qmp_eventwait(f->t.qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(f->pf, PCI_VENDOR_ID), ==, 0xffffffff);
    g_assert_cmphex(cfg_readl(&f->vf[0], PCI_CLASS_REVISION), ==, 0xffffffff);
    for (n = 0; n < VFS; n++) {
        page_response(&f->vf[n], NOP, 0, 0);
        inv_dev_tlb(&f->vf[n], IOVA, false);
    }

    qtest_qmp_device_add(f->t.qts, "iopf-testdev", "td1",
                         "{'bus': 'rp1', 'sriov-vfs': 3}");
    start_functions(f);
    ep_enable(f->pf, 64);
    make_busy(f, desc);
    functions_end(f);
}

/*
 * A VF switches off the slot that it is in, by a DMA to the root port: PF and
 * VF are gone when the access returns, in the middle of the work of the VF.
 */
static void test_unplug_itself(void)
{
    Functions *f = g_new0(Functions, 1);
    Desc d = { .op = IOPF_TD_OP_FILL, .length = 2,
               .data = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF,
               .flags = IOPF_TD_F_IRQ };
    Endpoint port;

    f->t.qts = qtest_init(Q35 "-global ICH9-LPC."
                          "acpi-pci-hotplug-with-bridge-support=off "
                          "-global iopf-testdev.sriov-vfs=3 "
                          "-device pcie-root-port,id=rp1,addr=6.0 "
                          "-device iopf-testdev,bus=rp1,id=td0");
    f->pf = &f->t.ep[0];
    ep_init(f->pf, &f->t, 1 << 8, 0);
    ep_init(&port, &f->t, 6 << 3, 0);
    enable_mmcfg(f->t.qts);
    enable_root_port(f->pf, port.bdf);
    ep_map(f->pf);
    enable_vfs(f->pf, f->vf, VFS, 1);
    ep_start_ring(&f->vf[1], 8, 1);
    ep_writel(&f->vf[1], IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);

    d.iova = cfg_addr(&port, find_cap(&port, PCI_CAP_ID_EXP) +
                      PCI_EXP_SLTCTL);
    ep_start(&f->vf[1], &d);
    qtest_qmp_eventwait(f->t.qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(f->pf, PCI_VENDOR_ID), ==, 0xffffffff);
    qtest_clock_step(f->t.qts, 1000000);
    functions_end(f);
}

/* Enable bits that a hostile VF does not need are those of the PF */
static void test_hostile(void)
{
    Functions *f = test_start();
    Endpoint *vf = &f->vf[0];
    Desc pr = group_request(PASID, IOVA, 1, WANT_R, 5);

    cfg_writew(vf, vf->ats + PCI_ATS_CTRL, 0);
    ep_check(vf, &pr, IOPF_TD_ST_REFUSED);
    ep_writel(vf, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FORCE_ATS |
              IOPF_TD_HOSTILE_FORCE_PRI | IOPF_TD_HOSTILE_FORCE_PASID);
    ep_check(vf, &pr, IOPF_TD_ST_OK);
    check_request(vf, IOVA, PASID, true, false, true, NULL);
    g_assert_cmphex(cfg_readw(f->pf, f->pf->pri + PCI_PRI_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(f->pf, f->pf->pasid + PCI_PASID_CTRL), ==, 0);
    map(f, 0);
    fill_atc(vf, PASID, IOVA);
    g_assert_cmphex(cfg_readw(vf, vf->ats + PCI_ATS_CTRL), ==, 0);
    functions_end(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-sriov/config", test_config);
    qtest_add_func("/iopf-sriov/properties", test_properties);
    qtest_add_func("/iopf-sriov/transfer", test_transfer);
    qtest_add_func("/iopf-sriov/page-request", test_page_request);
    qtest_add_func("/iopf-sriov/credits", test_credits);
    qtest_add_func("/iopf-sriov/promised-credits", test_promised_credits);
    qtest_add_func("/iopf-sriov/shared-failure", test_shared_failure);
    qtest_add_func("/iopf-sriov/vf-reset", test_vf_reset);
    qtest_add_func("/iopf-sriov/pf-reset", test_pf_reset);
    qtest_add_func("/iopf-sriov/unplug", test_unplug);
    qtest_add_func("/iopf-sriov/unplug-itself", test_unplug_itself);
    qtest_add_func("/iopf-sriov/hostile", test_hostile);
    return g_test_run();
}

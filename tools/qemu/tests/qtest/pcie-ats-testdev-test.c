/*
 * QTest of pcie-ats-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The first user of the PCI functions for ATS and PRI that can be migrated, so
 * what the PCI core has to migrate is tested here, too.
 */

#include "qemu/osdep.h"
#include "iopf-vtd-qtest.h"

#define MACHINE Q35_VTD " -device pcie-ats-testdev,bus=pcie.0,addr=4.0 "

#define REG_ADDR        0x0
#define REG_CMD         0x8
#define CMD_RUN         1
#define CMD_TO_DEVICE   2
#define CMD_ERROR       0x80000000

#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_C          (DATA + 0x4000)
#define DID             3

static void start_endpoint(Test *t)
{
    Endpoint *ep = &t->ep[0];

    enable_mmcfg(t->qts);
    ep_init(ep, t, 4 << 3, 0);
    cfg_writel(ep, PCI_BASE_ADDRESS_0, ep->bar0);
    cfg_writel(ep, PCI_BASE_ADDRESS_1, 0);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    ep_find_caps(ep);
    ep_enable(ep, 1);
}

static Test *test_start(void)
{
    Test *t = test_new(MACHINE);

    start_endpoint(t);
    clear_tables(t);
    write_context(&t->ep[0], CONTEXT_FLAGS);
    write_pasid_sl(t, 0, DID, SL_TABLES);
    write_paging(t, SL_TABLES, PTE_RW);
    start_vtd(t, 0);
    return t;
}

static void start(Endpoint *ep, uint64_t iova, uint32_t direction)
{
    ep_writeq(ep, REG_ADDR, iova);
    ep_writel(ep, REG_CMD, CMD_RUN | direction);
}

static uint32_t finish(Endpoint *ep)
{
    WAIT_FOR(ep->qts, !(ep_readl(ep, REG_CMD) & CMD_RUN));
    return ep_readl(ep, REG_CMD) & CMD_ERROR;
}

static uint32_t run(Endpoint *ep, uint64_t iova, uint32_t direction)
{
    start(ep, iova, direction);
    return finish(ep);
}

static void respond(Endpoint *ep, uint8_t code)
{
    page_response(ep, NOP, code, 0);
}

static bool has_uprgi(Endpoint *ep)
{
    return cfg_readw(ep, ep->pri + PCI_PRI_STATUS) & PCI_PRI_STATUS_UPRGI;
}

static void test_identity(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    g_assert_cmphex(cfg_readl(ep, PCI_VENDOR_ID), ==, 0x11e91234);
    /* BAR 0: 64 bits, not prefetchable, 4 KiB */
    cfg_writew(ep, PCI_COMMAND, 0);
    cfg_writel(ep, PCI_BASE_ADDRESS_0, UINT32_MAX);
    g_assert_cmphex(cfg_readl(ep, PCI_BASE_ADDRESS_0), ==, 0xfffff004);
    g_assert_cmphex(cfg_readl(ep, ep->pri + PCI_PRI_MAX_REQ), ==, 1);
    test_end(t);
}

/* Pages that are mapped, not in a row, at an address that is not aligned */
static void test_mapped(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint8_t out[PAGE], in[PAGE];
    int i;

    for (i = 0; i < PAGE; i++) {
        out[i] = i * 7 + i / 256;
    }
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + PAGE, PAGE_C | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 2 * PAGE, PAGE_B | PTE_RW);
    qtest_memwrite(t->qts, PAGE_A, out, PAGE);
    g_assert_cmphex(run(ep, IOVA, CMD_TO_DEVICE), ==, 0);
    g_assert_cmphex(run(ep, IOVA + PAGE + 0x800, 0), ==, 0);
    qtest_memread(t->qts, PAGE_C + 0x800, in, 0x800);
    qtest_memread(t->qts, PAGE_B, in + 0x800, 0x800);
    g_assert_cmpmem(in, PAGE, out, PAGE);
    g_assert(!have_request(t));

    /* A page to read from is not one to write to */
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_R);
    inv_iotlb(t);
    g_assert_cmphex(run(ep, IOVA, CMD_TO_DEVICE), ==, 0);
    start(ep, IOVA, 0);
    check_request(ep, IOVA, NOP, true, true, true, NULL);
    respond(ep, 1);
    g_assert_cmphex(finish(ep), ==, CMD_ERROR);

    /* Without ATS its accesses are untranslated */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    qtest_memset(t->qts, PAGE_B, 0, PAGE);
    g_assert_cmphex(run(ep, IOVA, CMD_TO_DEVICE), ==, 0);
    g_assert_cmphex(run(ep, IOVA + 2 * PAGE, 0), ==, 0);
    qtest_memread(t->qts, PAGE_B, in, PAGE);
    g_assert_cmpmem(in, PAGE, out, PAGE);
    test_end(t);
}

static void test_page_request(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    qtest_memset(t->qts, PAGE_A, 0x5a, PAGE);
    start(ep, IOVA, CMD_TO_DEVICE);
    check_request(ep, IOVA, NOP, true, false, true, NULL);
    g_assert_cmphex(ep_readl(ep, REG_CMD), ==, CMD_RUN | CMD_TO_DEVICE);
    /* Not the answer that it waits for: another index, a PASID */
    page_response(ep, NOP, 0, 1);
    g_assert(has_uprgi(ep));
    cfg_writew(ep, ep->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
    page_response(ep, 1, 0, 0);
    g_assert(has_uprgi(ep));
    g_assert(!have_request(t));
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_R);
    respond(ep, 0);
    g_assert_cmphex(finish(ep), ==, 0);

    /* It gives up where it is told success and there is none */
    start(ep, IOVA + PAGE, 0);
    for (i = 0; i < 8; i++) {
        check_request(ep, IOVA + PAGE, NOP, true, true, true, NULL);
        respond(ep, 0);
    }
    g_assert_cmphex(finish(ep), ==, CMD_ERROR);
    g_assert(!have_request(t));

    /* An answer of the IOMMU itself is one, too */
    vtd_writeq(t, DMAR_PQA_REG, 0);
    g_assert_cmphex(run(ep, IOVA + PAGE, 0), ==, CMD_ERROR);
    vtd_writeq(t, DMAR_PQA_REG, PRQ);

    start(ep, IOVA + PAGE, 0);
    check_request(ep, IOVA + PAGE, NOP, true, true, true, NULL);
    respond(ep, 0xf);
    g_assert_cmphex(finish(ep), ==, CMD_ERROR);
    g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    /* No more until PRI is enabled anew */
    g_assert_cmphex(run(ep, IOVA + PAGE, 0), ==, CMD_ERROR);
    g_assert(!have_request(t));
    test_end(t);
}

/* Each kind of reset with a request open, whose answer comes afterwards */
static void test_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    start(ep, IOVA, 0);
    check_request(ep, IOVA, NOP, true, true, true, NULL);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    start_endpoint(t);
    g_assert_cmphex(ep_readl(ep, REG_CMD), ==, 0);
    respond(ep, 0);
    g_assert(has_uprgi(ep));
    start(ep, IOVA, 0);
    check_request(ep, IOVA, NOP, true, true, true, NULL);

    /* The reset of the interface */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    g_assert(!(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
               PCI_PRI_STATUS_STOPPED));
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(finish(ep), ==, CMD_ERROR);
    g_assert(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) & PCI_PRI_STATUS_STOPPED);

    ep_enable(ep, 1);
    start(ep, IOVA, 0);
    check_request(ep, IOVA, NOP, true, true, true, NULL);
    qtest_system_reset(t->qts);
    start_endpoint(t);
    g_assert_cmphex(ep_readl(ep, REG_CMD), ==, 0);
    test_end(t);
}

/* A request is open, and the interface is disabled: all of that moves along */
static void test_migration(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    start(ep, IOVA, 0);
    check_request(ep, IOVA, NOP, true, true, true, NULL);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    migrate_machine(t, MACHINE);
    g_assert_cmphex(ep_readl(ep, REG_CMD), ==, CMD_RUN);
    g_assert(!(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
               PCI_PRI_STATUS_STOPPED));
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    respond(ep, 0);
    g_assert_cmphex(finish(ep), ==, 0);
    g_assert(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) & PCI_PRI_STATUS_STOPPED);
    g_assert(!has_uprgi(ep));
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/pcie-ats-testdev/identity", test_identity);
    qtest_add_func("/q35/pcie-ats-testdev/mapped", test_mapped);
    qtest_add_func("/q35/pcie-ats-testdev/page-request", test_page_request);
    qtest_add_func("/q35/pcie-ats-testdev/reset", test_reset);
    qtest_add_func("/q35/pcie-ats-testdev/migration", test_migration);

    return g_test_run();
}

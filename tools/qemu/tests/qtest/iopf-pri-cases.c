/*
 * Test cases about requests of devices that are the same for each IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "iopf-pri-cases.h"

void check_demand_paging(Endpoint *ep, uint64_t addr, MapPage *map)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_AUTO,
        .iova = IOVA + 0x800,
        .length = PAGE,
    };
    uint64_t a = addr, b = addr + PAGE, c = addr + 2 * PAGE;
    uint64_t desc;
    uint16_t prgi;

    qtest_writeq(ep->qts, a + 0x800, UINT64_MAX);
    qtest_writeq(ep->qts, b, UINT64_MAX);
    /* The first page is read only, which is what the IOTLB knows */
    map(ep, IOVA, c, false);
    check_translation(ep, NOP, IOVA, WANT_R, c, PAGE, PERM_R);

    desc = ep_start(ep, &d);
    check_request(ep, IOVA, NOP, true, true, true, &prgi);
    map(ep, IOVA, a, true);
    page_response(ep, NOP, RSP_SUCCESS, prgi);
    check_request(ep, IOVA + PAGE, NOP, true, true, true, &prgi);
    map(ep, IOVA + PAGE, b, true);
    page_response(ep, NOP, RSP_SUCCESS, prgi);

    g_assert_cmpuint(ep_finish(ep, desc), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(ep->qts, a + 0x800), !=, UINT64_MAX);
    g_assert_cmphex(qtest_readq(ep->qts, b), !=, UINT64_MAX);

    /* And one that is refused */
    d.iova = IOVA + 5 * PAGE;
    desc = ep_start(ep, &d);
    check_request(ep, d.iova, NOP, true, true, true, &prgi);
    page_response(ep, NOP, RSP_INVALID, prgi);
    g_assert_cmpuint(ep_finish(ep, desc), ==, IOPF_TD_ST_RSP_INVALID);
}

void check_wrong_pasid(Test *t, uint32_t pasid)
{
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(pasid, IOVA, 2, WANT_R, 7);
    uint32_t wrong[] = { NOP, pasid + 1, 0xfffff };
    int i;

    ep_check(ep, &d, IOPF_TD_ST_OK);
    for (i = 0; i < ARRAY_SIZE(wrong); i++) {
        page_response(ep, wrong[i], RSP_SUCCESS, 7);
        check_response(ep, RSP_SUCCESS, IOPF_TD_RSP_F_UNMATCHED, 7, wrong[i],
                       0);
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_RSP_UNMATCHED), ==,
                         i + 1);
        g_assert(take_unexpected(ep));
        g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 2);
    }
    page_response(ep, pasid, RSP_SUCCESS, 7);
    check_response(ep, RSP_SUCCESS, 0, 7, pasid, 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* A function that never asked for anything notices, too */
    page_response(&t->ep[1], NOP, RSP_SUCCESS, 1);
    g_assert(take_unexpected(&t->ep[1]));
}

void set_stu(Endpoint *ep, unsigned stu)
{
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE | stu);
}

void check_translation_unit(Endpoint *ep, uint64_t addr, MapPage *map)
{
    int i;

    set_stu(ep, 2);
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, 0, 4 * PAGE, 0);
    for (i = 0; i < 4; i++) {
        map(ep, IOVA + i * PAGE, addr + i * PAGE, true);
    }
    check_translation(ep, NOP, IOVA + PAGE, WANT_RW, addr, 4 * PAGE, PERM_RW);
    map(ep, IOVA + 4 * PAGE, addr, true);
    check_translation(ep, NOP, IOVA + 4 * PAGE, WANT_RW, 0, 4 * PAGE, 0);
}

void check_largest_unit(Endpoint *ep, uint64_t iova)
{
    /* The first that is too large, and the largest */
    set_stu(ep, 17);
    check_translation(ep, NOP, iova, WANT_RW, 0, 1ULL << 29, 0);
    set_stu(ep, 31);
    check_translation(ep, NOP, iova, WANT_RW, 0, 1ULL << 43, 0);
}

void check_stop_marker_lost(Endpoint *ep)
{
    uint32_t responses = ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD);
    Desc stop = {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };

    ep_check(ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, responses);
    g_assert(!take_unexpected(ep));
}

void check_without_bus_master(Endpoint *ep)
{
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);

    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, NOP, true, false, true, NULL);
    page_response(ep, NOP, RSP_SUCCESS, 1);
    check_only_response(ep, RSP_SUCCESS, 1, NOP, 1);
    /* Translation requests are not */
    g_assert_cmpint(translate(ep, NOP, IOVA, WANT_R).ret, ==, -EPERM);
}

/* Lines of the log with @text in them */
static unsigned int count_lines(const char *file, const char *text)
{
    g_autofree char *log = NULL;
    unsigned int n = 0;
    const char *at;

    g_assert(g_file_get_contents(file, &log, NULL, NULL));
    for (at = log; (at = strstr(at, text)); at++) {
        n++;
    }
    return n;
}

void check_guest_errors(StartTest *start)
{
    const char *credits = "more page requests than software allows";
    const char *halted = "page request after a Response Failure";
    g_autofree char *file = NULL, *options = NULL;
    int fd = g_file_open_tmp("iopf-guest-errors-XXXXXX", &file, NULL);
    Endpoint *ep;
    Test *t;
    Desc d;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    options = g_strdup_printf(" -d guest_errors -D %s ", file);
    t = start(options);
    ep = &t->ep[0];

    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, 0);
    cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, 2);
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC |
              IOPF_TD_HOSTILE_IGNORE_RF);
    d = group_request(NOP, IOVA, 2, WANT_R, 1);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(count_lines(file, credits), ==, 0);
    d = group_request(NOP, IOVA, 1, WANT_R, 2);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(count_lines(file, credits), ==, 1);

    g_assert_cmpuint(count_lines(file, halted), ==, 0);
    page_response(ep, NOP, RSP_FAILURE, 1);
    d = group_request(NOP, IOVA, 1, WANT_R, 3);
    ep_run(ep, &d);
    g_assert_cmpuint(count_lines(file, halted), ==, 1);
    test_end(t);
    unlink(file);
}

void check_inv_depth(StartTest *start, SendInvalidation *invalidate)
{
    const char *error = "invalidations at a time, more than it takes";
    g_autofree char *file = NULL, *options = NULL;
    int fd = g_file_open_tmp("iopf-guest-errors-XXXXXX", &file, NULL);
    Test *t;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    options = g_strdup_printf(" -global iopf-testdev.inv-queue-depth=4 "
                              "-d guest_errors -D %s ", file);
    t = start(options);
    invalidate(&t->ep[0], 4);
    g_assert_cmpuint(count_lines(file, error), ==, 0);
    invalidate(&t->ep[0], 5);
    g_assert_cmpuint(count_lines(file, error), ==, 1);
    test_end(t);
    unlink(file);
}

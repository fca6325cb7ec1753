/*
 * QTest of translation requests and page requests of intel-iommu
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs: the test writes the tables and descriptors that an operating
 * system would write, and makes two iopf-testdev functions issue requests.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/units.h"
#include "iopf-pri-cases.h"
#include "iopf-vtd-qtest.h"

#define IOMMU   Q35_VTD ",x-flts=on,x-slts=on"
#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=512 " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,pri-capacity=512 "

#define PRQ_ENTRIES     128             /* PQA.PQS = 0 */

/* What the tables map */
#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)
#define PAGE_C          (DATA + 0x3000)
#define PAGE_2M         0x400000ULL
#define IOVA_2M         0x40200000ULL

#define DID_SL          5
#define DID_FL          6
#define PASID           9

/* RID_PASID is 0 and has a second stage, PASID a first stage */
static void write_tables(Test *t)
{
    int i;

    clear_tables(t);
    for (i = 0; i < 2; i++) {
        write_context(&t->ep[i], CONTEXT_FLAGS);
    }
    write_pasid_sl(t, 0, DID_SL, SL_TABLES);
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES, 0);
    write_paging(t, SL_TABLES, PTE_RW);
    write_paging(t, FL_TABLES, PTE_FL);
}

static void start_iommu(Test *t)
{
    enable_mmcfg(t->qts);
    start_endpoints(t, 512);
    write_tables(t);
    start_vtd(t, 0);
}

static Test *test_start_with(const char *options)
{
    g_autofree char *machine = g_strconcat(IOMMU, options, DEVICES, NULL);
    Test *t = test_new(machine);

    start_iommu(t);
    return t;
}

static Test *test_start(void)
{
    return test_start_with("");
}

static void check_prq(Test *t, unsigned int slot, uint64_t q0, uint64_t q1)
{
    uint64_t addr = PRQ + (slot % PRQ_ENTRIES) * 32;

    g_assert_cmphex(qtest_readq(t->qts, addr), ==, q0);
    g_assert_cmphex(qtest_readq(t->qts, addr + 8), ==, q1);
    g_assert_cmphex(qtest_readq(t->qts, addr + 16), ==, 0);
    g_assert_cmphex(qtest_readq(t->qts, addr + 24), ==, 0);
}

static uint64_t prd_lo(Endpoint *ep, uint32_t pasid)
{
    uint64_t lo = 1 | (uint64_t)ep->bdf << 16;

    return pasid == NOP ? lo : lo | 1 << 8 | (uint64_t)pasid << 32;
}

#define PRD_R    1ULL
#define PRD_W    2ULL
#define PRD_LPIG 4ULL

static uint64_t prd_hi(uint64_t iova, uint16_t prgi, uint64_t flags)
{
    return iova | prgi << 3 | flags;
}

/* Test cases */

static void test_registers(void)
{
    Test *t = test_start();
    uint64_t ecap = vtd_readq(t, DMAR_ECAP_REG);

    g_assert_cmphex(ecap & VTD_ECAP_PRS, ==, VTD_ECAP_PRS);
    g_assert_cmphex(ecap & VTD_ECAP_PDS, ==, VTD_ECAP_PDS);
    g_assert_cmphex(ecap & VTD_ECAP_NWFS, ==, VTD_ECAP_NWFS);
    g_assert_cmphex(ecap & VTD_ECAP_SMPWC, ==, VTD_ECAP_SMPWC);
    g_assert_cmphex(extract64(ecap, 35, 5), ==, VTD_PASID_BITS - 1);
    g_assert_cmphex(ecap & VTD_ECAP_SLTS, ==, VTD_ECAP_SLTS);
    g_assert_cmphex(ecap & VTD_ECAP_FLTS, ==, VTD_ECAP_FLTS);

    vtd_writeq(t, DMAR_PQA_REG, UINT64_MAX);
    g_assert_cmphex(vtd_readq(t, DMAR_PQA_REG), ==, 0xfffffffffffff007);
    vtd_writeq(t, DMAR_PQA_REG, 0);
    vtd_writel(t, DMAR_PQA_REG, 0x12345fff);
    vtd_writel(t, DMAR_PQA_REG_HI, 0x1);
    g_assert_cmphex(vtd_readq(t, DMAR_PQA_REG), ==, 0x112345007);
    vtd_writeq(t, DMAR_PQA_REG, 0);

    vtd_writeq(t, DMAR_PQH_REG, UINT64_MAX);
    g_assert_cmphex(vtd_readq(t, DMAR_PQH_REG), ==, 0x7ffe0);
    vtd_writel(t, DMAR_PQT_REG, UINT32_MAX);
    vtd_writel(t, DMAR_PQT_REG_HI, UINT32_MAX);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, 0x7ffe0);

    /* Masked at reset; IP is not for software to set */
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    vtd_writel(t, DMAR_PECTL_REG, UINT32_MAX);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    vtd_writel(t, DMAR_PECTL_REG, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, 0);
    vtd_writeq(t, DMAR_PECTL_REG, UINT64_MAX);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    g_assert_cmphex(vtd_readl(t, DMAR_PEDATA_REG), ==, 0xffff);
    vtd_writeq(t, DMAR_PEADDR_REG, UINT64_MAX);
    /* The upper half exists with extended interrupt mode only */
    g_assert_cmphex(vtd_readq(t, DMAR_PEADDR_REG), ==, 0xfffffffc);

    vtd_writel(t, DMAR_PRS_REG, UINT32_MAX);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, 0);

    /* Registers of 32 bits that a 64-bit access can hit */
    vtd_writeq(t, DMAR_FECTL_REG, VTD_FECTL_IM);
    vtd_writeq(t, DMAR_IECTL_REG, VTD_IECTL_IM);
    vtd_writeq(t, DMAR_IEADDR_REG, 0xfee00000);
    g_assert_cmphex(vtd_readl(t, DMAR_IEADDR_REG), ==, 0xfee00000);

    qtest_system_reset(t->qts);
    g_assert_cmphex(vtd_readq(t, DMAR_PQA_REG), ==, 0);
    g_assert_cmphex(vtd_readq(t, DMAR_PQH_REG), ==, 0);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    g_assert_cmphex(vtd_readl(t, DMAR_PEDATA_REG), ==, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PEADDR_REG), ==, 0);
    test_end(t);
}

/* Nothing of it is there without svm=on */
static void test_no_svm(void)
{
    Test t = {};

    t.qts = qtest_init(Q35 "-device intel-iommu,x-scalable-mode=on,"
                       "x-pasid-mode=on,device-iotlb=on");
    g_assert_cmphex(vtd_readq(&t, DMAR_ECAP_REG) &
                    (VTD_ECAP_PRS | VTD_ECAP_PDS | VTD_ECAP_NWFS |
                     VTD_ECAP_SMPWC), ==, 0);
    vtd_writeq(&t, DMAR_PQA_REG, UINT64_MAX);
    g_assert_cmphex(vtd_readq(&t, DMAR_PQA_REG), ==, 0);
    vtd_writel(&t, DMAR_PECTL_REG, UINT32_MAX);
    g_assert_cmphex(vtd_readl(&t, DMAR_PECTL_REG), ==, 0);

    vtd_writeq(&t, DMAR_IQA_REG, IQ | VTD_IQA_DW_MASK);
    vtd_writel(&t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    iq_submit_bad(&t, VTD_INV_DESC_PGRP_RESP, 0, 0);
    iq_submit_bad(&t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN |
                  VTD_INV_DESC_WAIT_PD, 0, 0);
    qtest_quit(t.qts);
}

static uint64_t read_ecap(const char *options)
{
    Test t = { .qts = qtest_init(options) };
    uint64_t ecap = vtd_readq(&t, DMAR_ECAP_REG);

    qtest_quit(t.qts);
    return ecap;
}

/* Later names of options, and what old machines show */
static void test_options(void)
{
    const char *pasid = "-device intel-iommu,x-scalable-mode=on,"
                        "x-pasid-mode=on";
    g_autofree char *now = g_strconcat("-M q35 -nodefaults ", pasid, NULL);
    g_autofree char *old = g_strconcat("-M pc-q35-9.2 -nodefaults ", pasid,
                                       NULL);
    uint64_t ecap;

    g_assert_cmphex(extract64(read_ecap(now), 35, 5), ==, 7);
    g_assert_cmphex(extract64(read_ecap(old), 35, 5), ==, 0);
    /* With the default of that version there is nothing new to be seen */
    g_assert_cmphex(read_ecap(old), ==, 0x0000490080f00f4aULL);

    ecap = read_ecap(Q35 "-device intel-iommu,scalable-mode=on,fsts=on,"
                     "aw-bits=48,pasid-bits=16,device-iotlb=on,svm=on");
    g_assert_cmphex(extract64(ecap, 35, 5), ==, 15);
    g_assert_cmphex(ecap & VTD_ECAP_PASID, ==, VTD_ECAP_PASID);
    g_assert_cmphex(ecap & VTD_ECAP_FLTS, ==, VTD_ECAP_FLTS);
    g_assert_cmphex(ecap & VTD_ECAP_PRS, ==, VTD_ECAP_PRS);
    ecap = read_ecap(Q35 "-device intel-iommu,scalable-mode=on");
    g_assert_cmphex(ecap & VTD_ECAP_PASID, ==, 0);
}

static void test_ats_second_stage(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t hi;

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_R);
    write_leaf(t, SL_TABLES, IOVA + 0x2000, PAGE_C | PTE_W);
    write_leaf_2m(t, SL_TABLES, IOVA_2M, PAGE_2M | PTE_RW | PTE_PS);

    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    /* Not more than what was asked for */
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    check_translation(ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    check_translation(ep, NOP, IOVA + 0x2000, WANT_RW, PAGE_C, 0x1000,
                      PERM_W);
    check_translation(ep, NOP, IOVA_2M + 0x5678, WANT_RW, PAGE_2M, 0x200000,
                      PERM_RW);
    /* Missing: a page, a table of the level above and of the top */
    check_translation(ep, NOP, IOVA + 0x3000, WANT_RW, 0, 0x1000, 0);
    check_translation(ep, NOP, IOVA + 0x400000, WANT_RW, 0, 0x200000, 0);
    check_translation(ep, NOP, IOVA + (1ULL << 39), WANT_RW, 0, 1ULL << 39,
                      0);
    /* None of that is worth a fault record */
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* These are */
    write_leaf(t, SL_TABLES, IOVA + 0x4000, PAGE_A | PTE_RW | 1ULL << 51);
    check_translation(ep, NOP, IOVA + 0x4000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SS_PAGING_ENTRY_RSVD);
    g_assert_cmphex(extract64(hi, 60, 2), ==, 1);
    check_translation(ep, NOP, 1ULL << 48, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_ADDR_BEYOND_MGAW);
    test_end(t);
}

static void test_ats_interrupt_range(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Translation tr;

    /* No page leads there ... */
    write_leaf(t, SL_TABLES, IOVA, 0xfee00000ULL | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    /* ... and no translation of a request without PASID starts there */
    check_translation(ep, NOP, 0xfee01000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    /* A page around it is not given out as a whole */
    qtest_writeq(t->qts, SL_TABLES + 0x1000 + 3 * 8,
                 0x40000000ULL | PTE_RW | PTE_PS);
    tr = translate(ep, NOP, 0xfec00000, WANT_RW);
    g_assert_cmphex(tr.perm, ==, PERM_RW);
    g_assert_cmphex(tr.iova, ==, 0xfec00000);
    g_assert_cmphex(tr.size, ==, 0x200000);
    g_assert_cmphex(tr.addr, ==, 0x7ec00000);

    /* With PASID it is an address like others */
    qtest_writeq(t->qts, FL_TABLES + 0x1000 + 3 * 8,
                 0x40000000ULL | PTE_FL | PTE_PS);
    check_translation(ep, PASID, 0xfee01000, WANT_RW, 0x40000000,
                      0x40000000, PERM_RW);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

static void test_ats_refused(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Translation tr;

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    /* The context cache holds until it is invalidated */
    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_context(t);
    check_refused(ep, NOP, VTD_FR_SM_DTE_CLEAR);
    check_translation(&t->ep[1], NOP, IOVA, WANT_RW, PAGE_A, 0x1000,
                      PERM_RW);

    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PASIDE);
    inv_tables(t);
    check_refused(ep, PASID, VTD_FR_SM_PASIDE_CLEAR);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    write_context(ep, CONTEXT_FLAGS);
    inv_tables(t);
    /* In the last table of the directory, and beyond what the IOMMU has */
    qtest_writeq(t->qts, PASID_DIR + 3 * 8, 0);
    check_refused(ep, 200, VTD_FR_PASID_DIR_ENTRY_P);
    check_refused(ep, 256, VTD_FR_SM_PASID_LIMIT);
    check_refused(ep, 0xfffff, VTD_FR_SM_PASID_LIMIT);
    check_refused(ep, 10, VTD_FR_PASID_ENTRY_P);
    write_pasid_entry(t, 10, 7 << 6 | VTD_PASID_ENTRY_P, DID_FL, 0);
    check_refused(ep, 10, VTD_FR_PASID_TABLE_ENTRY_INV);
    write_pasid_entry(t, 10, SL_TABLES | VTD_SM_PASID_ENTRY_SLT | 5 << 2 |
                      VTD_PASID_ENTRY_P, DID_FL, 0);
    check_refused(ep, 10, VTD_FR_PASID_TABLE_ENTRY_INV);
    qtest_writeq(t->qts, PASID_DIR, PASID_TABLES | VTD_PASID_DIR_P | 1 << 5);
    check_refused(ep, 10, VTD_FR_PASID_DIR_ENTRY_RSVD);
    qtest_writeq(t->qts, PASID_DIR, PASID_TABLES | VTD_PASID_DIR_P);

    write_context(ep, 0);
    inv_tables(t);
    check_refused(ep, NOP, VTD_FR_SM_CONTEXT_ENTRY_P);
    write_context(ep, CONTEXT_FLAGS | 1 << 5);
    check_refused(ep, NOP, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    qtest_writeq(t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P | 1 << 4);
    check_refused(ep, NOP, VTD_FR_SM_ROOT_ENTRY_RSVD);
    qtest_writeq(t->qts, ROOT, 0);
    check_refused(ep, NOP, VTD_FR_SM_ROOT_ENTRY_P);

    /* Faults can be switched off */
    qtest_writeq(t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    write_context(ep, VTD_CONTEXT_ENTRY_P | VTD_CONTEXT_ENTRY_FPD);
    tr = translate(ep, NOP, IOVA, WANT_RW);
    g_assert_cmpint(tr.ret, ==, -EACCES);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

static void test_ats_caching(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    /* What is not present is not cached */
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_R);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_R);
    /* Less than what is asked for is walked again, more is not */
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, SL_TABLES, IOVA, PAGE_B | PTE_R);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_iotlb_domain(t, DID_SL + 1);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_iotlb_domain(t, DID_SL);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_R);

    /* Page selective, with a neighbour that stays */
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_C | PTE_RW);
    check_translation(ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_C, 0x1000,
                      PERM_RW);
    write_leaf(t, SL_TABLES, IOVA, 0);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, 0);
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_PAGE | DID_SL << 16,
              IOVA);
    check_translation(ep, NOP, IOVA, WANT_R, 0, 0x1000, 0);
    check_translation(ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_C, 0x1000,
                      PERM_RW);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

static void test_pasid_cache(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t pc = VTD_INV_DESC_PC;

    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    write_leaf(t, SL_TABLES, IOVA, PAGE_B | PTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    /* Another stage for the PASID: seen after the right invalidation only */
    write_pasid_sl(t, PASID, DID_FL, SL_TABLES);
    inv_iotlb(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, pc | PC_PASID | DID_FL << 16 |
              (PASID + 1ULL) << 32, 0);
    iq_submit(t, pc | PC_DOMAIN | (DID_FL + 1) << 16, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, pc | PC_PASID | DID_FL << 16 |
              (uint64_t)PASID << 32, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);

    /* Pass-through, with the interrupt range left out */
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P,
                      DID_FL, 0);
    iq_submit(t, pc | PC_DOMAIN | DID_FL << 16, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, IOVA, 0x1000, PERM_RW);
    check_translation(ep, PASID, 0xfee00000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    iq_submit_bad(t, pc | PC_RESERVED, 0, 0);
    iq_submit_bad(t, pc | 1 << 6, 0, 0);
    iq_submit_bad(t, pc, 1, 0);
    test_end(t);
}

static void test_ats_first_stage(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    const uint64_t ad = VTD_FL_A | VTD_FL_D;

    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    write_leaf(t, FL_TABLES, IOVA + 0x1000, PAGE_B | (PTE_FL & ~VTD_FL_RW));
    write_leaf(t, FL_TABLES, IOVA + 0x2000, PAGE_C | (PTE_FL & ~VTD_FL_US));
    write_leaf(t, FL_TABLES, IOVA + 0x3000, PAGE_C | PTE_FL | VTD_FL_XD);

    /* A read sets A, a write D as well even though the read was cached */
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & ad, ==, VTD_FL_A);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & ad, ==, ad);

    /* No write permission, no D */
    check_translation(ep, PASID, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA + 0x1000) & ad, ==, VTD_FL_A);

    /* A page of the supervisor */
    check_translation(ep, PASID, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA + 0x2000) & ad, ==, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* Privileged requests need SRE, execute permission needs ERE */
    check_translation(ep, PASID, IOVA + 0x2000, WANT_RW | IOPF_TD_F_PRIV,
                      0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_SRE);
    check_translation(ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_ERE);
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES,
                   VTD_SM_PASID_ENTRY_SRE | VTD_SM_PASID_ENTRY_ERE |
                   VTD_SM_PASID_ENTRY_WPE);
    inv_tables(t);
    check_translation(ep, PASID, IOVA + 0x2000, WANT_RW | IOPF_TD_F_PRIV,
                      PAGE_C, 0x1000, PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA + 0x1000, WANT_RW | IOPF_TD_F_PRIV,
                      PAGE_B, 0x1000, PERM_R | PERM_P);
    /* What the supervisor got does not leak through the IOTLB */
    check_translation(ep, PASID, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    check_translation(ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC, PAGE_A,
                      0x1000, PERM_R | PERM_X);
    check_translation(ep, PASID, IOVA + 0x3000, WANT_R | IOPF_TD_F_EXEC,
                      PAGE_C, 0x1000, PERM_R);

    /* Not canonical */
    check_translation(ep, PASID, 1ULL << 47, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_NON_CANONICAL);

    /* Invalidation by PASID with every mask, also ones that CAP.MAMV lacks */
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, IOVA + 0x1000);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, IOVA | 1);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, 52);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    test_end(t);
}

static void fill_atc_all(Endpoint *ep)
{
    int i;

    for (i = 0; i < 4; i++) {
        fill_atc(ep, NOP, IOVA + i * 0x1000);
        fill_atc(ep, PASID, IOVA + i * 0x1000);
    }
}

/* Bit n of each mask is page n */
static void check_atc(Endpoint *ep, unsigned int no_pasid,
                      unsigned int pasid)
{
    int i;

    for (i = 0; i < 4; i++) {
        g_assert_cmpint(in_atc(ep, NOP, IOVA + i * 0x1000), ==,
                        no_pasid >> i & 1);
        g_assert_cmpint(in_atc(ep, PASID, IOVA + i * 0x1000), ==,
                        pasid >> i & 1);
    }
}

static void test_device_tlb(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    int i;

    for (i = 0; i < 4; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * 0x1000,
                   (PAGE_A + i * 0x1000) | PTE_RW);
        write_leaf(t, FL_TABLES, IOVA + i * 0x1000,
                   (PAGE_A + i * 0x1000) | PTE_FL);
    }
    fill_atc_all(&t->ep[1]);

    fill_atc_all(ep);
    check_atc(ep, 0xf, 0xf);
    /* One page, two pages; without PASID it is about all PASIDs */
    inv_dev_tlb(ep, IOVA + 0x3000, false);
    check_atc(ep, 0x7, 0x7);
    inv_dev_tlb(ep, IOVA, true);
    check_atc(ep, 0x4, 0x4);
    fill_atc_all(ep);
    /* Four pages: bit 12 set, bit 13 clear */
    inv_dev_tlb(ep, IOVA + 0x1000, true);
    check_atc(ep, 0x0, 0x0);

    fill_atc_all(ep);
    inv_dev_tlb_pasid(ep, PASID, false, IOVA + 0x2000, false);
    check_atc(ep, 0xf, 0xb);
    inv_dev_tlb_pasid(ep, PASID + 1, false, INV_ALL, true);
    check_atc(ep, 0xf, 0xb);
    /* For all PASIDs, whatever the field says: not for requests without */
    write_pasid_fl(t, PASID + 1, DID_FL, FL_TABLES, 0);
    fill_atc(ep, PASID + 1, IOVA);
    fill_atc(ep, PASID + 1, IOVA + 0x2000);
    inv_dev_tlb_pasid(ep, 0, true, IOVA, true);
    check_atc(ep, 0xf, 0x8);
    g_assert(!in_atc(ep, PASID + 1, IOVA));
    g_assert(in_atc(ep, PASID + 1, IOVA + 0x2000));
    fill_atc(ep, PASID + 1, IOVA);
    inv_dev_tlb_pasid(ep, PASID, true, IOVA, false);
    g_assert(!in_atc(ep, PASID + 1, IOVA));
    g_assert(in_atc(ep, PASID + 1, IOVA + 0x2000));
    check_atc(ep, 0xf, 0x8);
    check_atc(&t->ep[1], 0xf, 0xf);
    inv_dev_tlb_pasid(ep, PASID, false, INV_ALL, true);
    check_atc(ep, 0xf, 0x0);

    fill_atc_all(ep);
    inv_dev_tlb(ep, INV_ALL, true);
    check_atc(ep, 0x0, 0x0);
    check_atc(&t->ep[1], 0xf, 0xf);

    /* Nobody there */
    iq_submit(t, VTD_INV_DESC_DEVICE | 0x1234ULL << 32, IOVA);
    iq_submit(t, VTD_INV_DESC_DEV_PIOTLB | 0x1234ULL << 16, IOVA);
    test_end(t);
}

/*
 * Without the capability a device does not say that it will not write, and
 * there are no privileged requests, whatever its tables say
 */
static void test_no_features(void)
{
    Test *t = test_start_with(",svm=off");
    Endpoint *ep = &t->ep[0];

    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE);
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES, VTD_SM_PASID_ENTRY_SRE);
    inv_tables(t);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, 0x1000, PERM_RW);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & VTD_FL_D, ==, VTD_FL_D);
    check_translation(ep, PASID, IOVA, WANT_RW | IOPF_TD_F_PRIV, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_SRE);
    test_end(t);
}

/* Page tables that can be read and not written: in the firmware's ROM */
static void test_tables_in_rom(void)
{
    const uint64_t top = 4 * GiB, ad = VTD_FL_A | VTD_FL_D;
    const uint64_t ptes[] = {
        PAGE_A | PTE_FL,
        PAGE_A | PTE_FL | VTD_FL_A,
        PAGE_A | PTE_FL | ad,
        PAGE_A | (PTE_FL & ~VTD_FL_RW) | VTD_FL_A,
    };
    g_autofree uint64_t *rom = g_malloc0(64 * KiB);
    g_autofree char *path = NULL;
    g_autofree char *option = NULL;
    const uint64_t first = IOVA & ~(2 * MiB - 1);
    Endpoint *ep;
    uint64_t hi;
    Test *t;
    int fd;

    memcpy(rom, ptes, sizeof(ptes));
    fd = g_file_open_tmp("iopf-rom-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(qemu_write_full(fd, rom, 64 * KiB), ==, 64 * KiB);
    close(fd);
    option = g_strdup_printf(" -bios %s", path);
    t = test_start_with(option);
    ep = &t->ep[0];
    write_leaf_2m(t, FL_TABLES, first, (top - 64 * KiB) | PTE_FL | VTD_FL_A);

    /* The first has to be told of an access, the second of a write */
    check_translation(ep, PASID, first, WANT_R, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_FS_BIT_UPDATE_FAILED);
    check_translation(ep, PASID, first + PAGE, WANT_R, PAGE_A, 0x1000, PERM_R);
    check_translation(ep, PASID, first + PAGE, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_FS_BIT_UPDATE_FAILED);
    check_translation(ep, PASID, first + 2 * PAGE, WANT_RW, PAGE_A, 0x1000,
                      PERM_RW);
    check_translation(ep, PASID, first + 3 * PAGE, WANT_RW, PAGE_A, 0x1000,
                      PERM_R);
    g_assert_cmphex(take_fault(t, &hi), ==, 0);
    g_assert_cmphex(qtest_readq(t->qts, top - 64 * KiB), ==, ptes[0]);
    test_end(t);
    unlink(path);
}

/* A device without Global Invalidate looks at the PASID all the same */
static void test_no_global_invalidate(void)
{
    Test *t = test_start_with(" -global iopf-testdev.global-inv=off");
    Endpoint *ep = &t->ep[0];

    write_pasid_fl(t, PASID + 1, DID_FL, FL_TABLES, 0);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    fill_atc(ep, PASID, IOVA);
    fill_atc(ep, PASID + 1, IOVA);
    inv_dev_tlb_pasid(ep, PASID, true, INV_ALL, true);
    g_assert(!in_atc(ep, PASID, IOVA));
    g_assert(in_atc(ep, PASID + 1, IOVA));
    test_end(t);
}

static void test_translated_access(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_RAW,
        .iova = PAGE_A,
        .length = 8,
    };
    uint64_t hi;

    qtest_writeq(t->qts, PAGE_A, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, UINT64_MAX);

    /* To interrupts only by untranslated writes, and nothing is read there */
    d.iova = 0xfee00000;
    d.length = 4;
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    d.op = IOPF_TD_OP_READ;
    d.ram = IOPF_TD_RAM_DATA;
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    d.op = IOPF_TD_OP_FILL;
    d.ram = 0;

    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    inv_context(t);
    d.iova = PAGE_B;
    qtest_writeq(t->qts, PAGE_B, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_B), ==, UINT64_MAX);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SM_DTE_CLEAR);
    g_assert_cmphex(extract64(hi, 60, 2), ==, 2);
    test_end(t);
}

/*
 * Software takes the right to translated accesses from a function, and forgets
 * to invalidate its cache: what the function does with it goes nowhere.
 */
static void test_translated_cached(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = IOVA,
        .length = 8,
    };
    uint64_t hi;

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    fill_atc(ep, NOP, IOVA);
    qtest_writeq(t->qts, PAGE_A, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, UINT64_MAX);

    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    inv_context(t);
    g_assert(in_atc(ep, NOP, IOVA));
    qtest_writeq(t->qts, PAGE_A, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), ==, UINT64_MAX);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SM_DTE_CLEAR);
    g_assert_cmphex(extract64(hi, 60, 2), ==, 2);

    /* The same where untranslated accesses pass the IOMMU by */
    write_pasid_entry(t, 0, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P, DID_SL,
                      0);
    inv_tables(t);
    check_untranslated(ep, PAGE_B, PAGE_B);
    check_untranslated(ep, PAGE_B, PAGE_B);
    ep_check(ep, &d, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), ==, UINT64_MAX);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_DTE_CLEAR);
    test_end(t);
}

/* No answer is about less than the smallest translation unit, holes neither */
static void test_stu(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    const uint64_t data = 0x240000;
    int i;

    set_stu(ep, 4);
    /* A hole, and pages in a row */
    check_translation(ep, NOP, IOVA + 0x5000, WANT_RW, 0, 0x10000, 0);
    for (i = 0; i < 16; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * PAGE, (data + i * PAGE) | PTE_RW);
    }
    check_translation(ep, NOP, IOVA + 0x5000, WANT_RW, data, 0x10000, PERM_RW);
    /* What one of them lacks, all of them lack */
    write_leaf(t, SL_TABLES, IOVA + 15 * PAGE, (data + 15 * PAGE) | PTE_R);
    inv_iotlb(t);
    check_translation(ep, NOP, IOVA, WANT_RW, data, 0x10000, PERM_R);
    write_leaf(t, SL_TABLES, IOVA + 7 * PAGE, 0);
    inv_iotlb(t);
    check_translation(ep, NOP, IOVA, WANT_RW, data, 0x10000, 0);
    /* Not in a row, not aligned: of no use */
    write_leaf(t, SL_TABLES, IOVA + 7 * PAGE, data | PTE_RW);
    inv_iotlb(t);
    check_translation(ep, NOP, IOVA, WANT_RW, data, 0x10000, 0);
    for (i = 0; i < 16; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * PAGE,
                   (data + (i + 1) * PAGE) | PTE_RW);
    }
    inv_iotlb(t);
    check_translation(ep, NOP, IOVA, WANT_RW, data, 0x10000, 0);
    /* A larger page is what it was */
    write_leaf_2m(t, SL_TABLES, IOVA_2M, PAGE_2M | PTE_RW | PTE_PS);
    check_translation(ep, NOP, IOVA_2M, WANT_RW, PAGE_2M, 0x200000, PERM_RW);

    check_largest_unit(ep, IOVA);
    write_pasid_entry(t, 0, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P, DID_SL,
                      0);
    inv_tables(t);
    check_largest_unit(ep, IOVA);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

/* A translation is good for the domain that it was made for */
static void test_domain_tag(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
    write_pasid_fl(t, PASID, DID_FL + 1, FL_TABLES, 0);
    inv_pasid_cache(t);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    test_end(t);
}

/* What is in the prefix besides the PASID has enable bits of its own */
static void test_prefix(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    const uint16_t flags[] = { IOPF_TD_F_PRIV, IOPF_TD_F_EXEC };
    Desc d;
    int i;

    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, 0);
    cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
    cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    for (i = 0; i < ARRAY_SIZE(flags); i++) {
        g_assert_cmpint(translate(ep, PASID, IOVA, WANT_R | flags[i]).ret, ==,
                        -EPERM);
        d = group_request(PASID, IOVA, 1, WANT_R | flags[i], 1);
        ep_check_ret(ep, &d, -EPERM);
    }
    g_assert(!have_request(t));
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

/* The device does not hear that software made it privileged */
static void test_rid_privileged(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_pasid_fl(t, 0, DID_FL, FL_TABLES, VTD_SM_PASID_ENTRY_SRE);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | (PTE_FL & ~VTD_FL_US));
    inv_tables(t);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    qtest_writeq(t->qts, CONTEXT + (ep->bdf & 0x7f) *
                 VTD_CTX_ENTRY_SCALABLE_SIZE + 8,
                 VTD_SM_CONTEXT_ENTRY_RID_PRIV);
    inv_tables(t);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    test_end(t);
}

/* Privileged translations are cached like others, and only for their like */
static void test_privileged_caching(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint16_t priv = WANT_RW | IOPF_TD_F_PRIV;
    uint64_t user = PTE_FL, supervisor = PTE_FL & ~VTD_FL_US;

    write_pasid_fl(t, PASID, DID_FL, FL_TABLES, VTD_SM_PASID_ENTRY_SRE);
    inv_tables(t);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | supervisor);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, 0x1000,
                      PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA, WANT_RW, 0, 0x1000, 0);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | user);
    check_translation(ep, PASID, IOVA, priv, PAGE_A, 0x1000,
                      PERM_RW | PERM_P);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    inv_iotlb(t);
    check_translation(ep, PASID, IOVA, priv, PAGE_B, 0x1000,
                      PERM_RW | PERM_P);
    test_end(t);
}

static uint32_t fsts(Test *t)
{
    return vtd_readl(t, DMAR_FSTS_REG);
}

static void check_iqh(Test *t, int behind)
{
    g_assert_cmphex(vtd_readq(t, DMAR_IQH_REG) >> 5, ==,
                    (t->iq_tail + IQ_ENTRIES - behind) % IQ_ENTRIES);
}

/* A device takes its time to complete an invalidation, or never does */
static void test_withheld_completion(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    fill_atc(ep, NOP, IOVA);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_HOLD_INV);
    put_dev_tlb(ep, IOVA, false);
    put_dev_tlb(ep, IOVA, false);
    put_iotlb(t);
    g_assert(!in_atc(ep, NOP, IOVA));
    check_iqh(t, 0);
    put_wait(t, 0x1111);
    put_iotlb(t);
    check_iqh(t, 2);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0);
    g_assert_cmphex(fsts(t), ==, 0);
    ep_writel(ep, IOPF_TD_REG_HOSTILE, 0);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x1111);

    /* Another device has nothing to do with that */
    ep_writel(&t->ep[1], IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_HOLD_INV);
    put_dev_tlb(ep, IOVA, false);
    put_wait(t, 0x2222);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x2222);
    ep_writel(&t->ep[1], IOPF_TD_REG_HOSTILE, 0);

    /* Time-out: nothing happens until software clears that */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_REFUSE_INV);
    put_dev_tlb(ep, IOVA, false);
    put_wait(t, 0x3333);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_ITE);
    g_assert_cmphex(vtd_readl(t, DMAR_FECTL_REG) & VTD_FECTL_IP, ==,
                    VTD_FECTL_IP);
    check_iqh(t, 1);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x2222);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    g_assert_cmphex(fsts(t), ==, 0);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x3333);

    /* A reset loses what was withheld */
    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_HOLD_INV);
    put_dev_tlb(ep, IOVA, false);
    put_wait(t, 0x4444);
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_ITE);
    check_iqh(t, 0);
    put_wait(t, 0x5555);
    check_iqh(t, 1);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x5555);
    put_dev_tlb(ep, IOVA, false);
    put_wait(t, 0x6666);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x6666);
    test_end(t);
}

/*
 * What is pending at a time-out is aborted, and it is known who was late.  With
 * @reads, the queue takes them to go on.
 */
static void check_timeout(const char *options, unsigned reads)
{
    Test *t = test_start_with(options);
    Endpoint *ep = &t->ep[0];
    unsigned i;

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    fill_atc(ep, NOP, IOVA);
    put_wait(t, 0x1111);
    for (i = 0; i < reads; i++) {
        fsts(t);
    }
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x1111);

    ep_writel(ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_REFUSE_INV);
    iq_hold(t);
    put_dev_tlb(ep, IOVA, false);
    put_iotlb(t);
    put_wait(t, 0x2222);
    put_wait(t, 0x3333);
    iq_release(t);
    for (i = 0; i < reads; i++) {
        fsts(t);
    }
    /* The first wait has gone without a word, the other was not fetched */
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_ITE);
    check_iqh(t, 1);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x1111);
    g_assert_cmphex(vtd_readq(t, DMAR_IQERCD_REG), ==,
                    VTD_IQERCD_ITESID(ep->bdf));
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    for (i = 0; i < reads; i++) {
        fsts(t);
    }
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x3333);
    test_end(t);
}

static void test_timeout(void)
{
    check_timeout("", 0);
    check_timeout(",x-lazy-invalidation=on", 4);
}

/* Two devices hold an invalidation each, and the queue waits for both */
static Test *start_timeouts(void)
{
    Test *t = test_start();
    int i;

    for (i = 0; i < 2; i++) {
        hold_inv(&t->ep[i], true);
        put_dev_tlb(&t->ep[i], IOVA, false);
    }
    put_wait(t, 0x1111);
    return t;
}

/* A second device is late before software has seen to the first one */
static void test_timeout_again(void)
{
    Test *t = start_timeouts();

    put_iotlb(t);
    put_wait(t, 0x2222);
    check_iqh(t, 3);
    reset_function(&t->ep[0]);
    check_iqh(t, 2);
    /* Nothing more is fetched, so there is nothing to abort */
    reset_function(&t->ep[1]);
    check_iqh(t, 2);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_ITE);
    g_assert_cmphex(vtd_readq(t, DMAR_IQERCD_REG), ==,
                    VTD_IQERCD_ITESID(t->ep[0].bdf));
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x2222);
    test_end(t);
}

/* One device being late does not complete what another one holds */
static void test_timeout_other(void)
{
    Test *t = start_timeouts();

    reset_function(&t->ep[0]);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    put_wait(t, 0x2222);
    check_iqh(t, 1);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0);
    hold_inv(&t->ep[1], false);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x2222);
    test_end(t);
}

/* With the wait descriptor aborted, the queue is at rest */
static void test_timeout_disable(void)
{
    Test *t = start_timeouts();

    reset_function(&t->ep[0]);
    hold_inv(&t->ep[1], false);
    check_iqh(t, 0);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_TE);
    g_assert(!(vtd_readl(t, DMAR_GSTS_REG) & VTD_GSTS_QIES));
    test_end(t);
}

/* Repair the descriptor that the queue is at: a wait that writes @val */
static void repair_last(Test *t, uint32_t val)
{
    t->iq_tail = (t->iq_tail + IQ_ENTRIES - 1) % IQ_ENTRIES;
    iq_hold(t);
    put_wait(t, val);
    t->iq_held = false;
}

/* After an error nothing happens until software clears that */
static void test_error_and_completion(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    hold_inv(ep, true);
    put_dev_tlb(ep, IOVA, false);
    iq_put(t, UINT64_MAX, 0, 0, 0);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_IQE);
    check_iqh(t, 1);
    repair_last(t, 0x1111);
    hold_inv(ep, false);
    check_iqh(t, 1);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x1111);

    /* A time-out at that time has nothing to abort, neither then nor later */
    hold_inv(ep, true);
    put_dev_tlb(ep, IOVA, false);
    iq_put(t, UINT64_MAX, 0, 0, 0);
    repair_last(t, 0x2222);
    reset_function(ep);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_IQE | VTD_FSTS_ITE);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    check_iqh(t, 1);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x2222);
    test_end(t);
}

/* The same with a tail that is wrong */
static void test_error_tail(void)
{
    Test *t = test_start_with(",x-lazy-invalidation=on");
    Endpoint *ep = &t->ep[0];

    hold_inv(ep, true);
    put_dev_tlb(ep, IOVA, false);
    g_assert_cmphex(fsts(t), ==, 0);
    iq_hold(t);
    put_wait(t, 0x1111);
    vtd_writeq(t, DMAR_IQT_REG, IQ_ENTRIES << 5);
    reset_function(ep);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_IQE | VTD_FSTS_ITE);
    iq_release(t);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    g_assert_cmphex(fsts(t), ==, VTD_FSTS_ITE);
    check_iqh(t, 1);
    vtd_writel(t, DMAR_FSTS_REG, VTD_FSTS_ITE);
    g_assert_cmphex(fsts(t), ==, 0);
    check_iqh(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0x1111);
    test_end(t);
}

/*
 * With invalidations that take their time, software that does not wait for
 * them, or has them in the wrong order, finds that out.
 */
static void test_lazy_invalidation(void)
{
    Test *t = test_start_with(",x-lazy-invalidation=on");
    Endpoint *ep = &t->ep[0];

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, SL_TABLES, IOVA, PAGE_B | PTE_RW);
    put_iotlb(t);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    g_assert_cmphex(fsts(t), ==, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);

    /* Device TLB before IOTLB: the device fetches what is to go */
    fill_atc(ep, NOP, IOVA);
    write_leaf(t, SL_TABLES, IOVA, PAGE_C | PTE_RW);
    put_dev_tlb(ep, IOVA, false);
    put_iotlb(t);
    g_assert_cmphex(fsts(t), ==, 0);
    g_assert(!in_atc(ep, NOP, IOVA));
    fill_atc(ep, NOP, IOVA);
    g_assert_cmphex(fsts(t), ==, 0);
    g_assert_cmphex(write_translated(ep, PAGE_B), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_C), ==, UINT64_MAX);

    /* The right order */
    put_iotlb(t);
    put_dev_tlb(ep, IOVA, false);
    g_assert_cmphex(fsts(t), ==, 0);
    fill_atc(ep, NOP, IOVA);
    g_assert_cmphex(fsts(t), ==, 0);
    g_assert_cmphex(write_translated(ep, PAGE_C), !=, UINT64_MAX);
    g_assert_cmphex(write_translated(ep, PAGE_B), ==, UINT64_MAX);
    test_end(t);
}

static void test_untranslated_access(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_R);
    write_leaf_2m(t, SL_TABLES, IOVA_2M, PAGE_2M | PTE_RW | PTE_PS);
    check_untranslated(ep, IOVA + 8, PAGE_A + 8);
    check_untranslated(ep, IOVA_2M + 0x12340, PAGE_2M + 0x12340);
    check_untranslated_fault(ep, IOVA + 0x1000, VTD_FR_SM_WRITE);
    check_untranslated_fault(ep, IOVA + 0x2000, VTD_FR_SS_PAGING_ENTRY_P);
    check_untranslated_fault(ep, 1ULL << 48, VTD_FR_SM_ADDR_BEYOND_MGAW);

    /* RID_PASID pointing at first stage tables: a write sets D at last */
    write_pasid_fl(t, 0, DID_FL, FL_TABLES, 0);
    inv_tables(t);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
    write_leaf(t, FL_TABLES, IOVA + 0x1000, PAGE_B | (PTE_FL & ~VTD_FL_RW));
    check_translation(ep, NOP, IOVA, WANT_R, PAGE_B, 0x1000, PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & VTD_FL_D, ==, 0);
    check_untranslated(ep, IOVA, PAGE_B);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & VTD_FL_D, ==, VTD_FL_D);
    check_untranslated_fault(ep, IOVA + 0x1000, VTD_FR_SM_WRITE);
    check_untranslated_fault(ep, IOVA + 0x2000, VTD_FR_FS_PAGING_ENTRY_P);

    /* Without RID_PASID entry, requests with PASID go on */
    write_pasid_entry(t, 0, 0, 0, 0);
    inv_tables(t);
    check_untranslated_fault(ep, IOVA, VTD_FR_PASID_ENTRY_P);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    test_end(t);
}

/* Direct access has to end with the PASID table entry that asked for it */
static void test_pass_through(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_pasid_entry(t, 0, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P, DID_SL,
                      0);
    inv_tables(t);
    check_untranslated(ep, PAGE_B, PAGE_B);
    check_untranslated(ep, PAGE_B, PAGE_B);
    check_translation(ep, NOP, PAGE_B, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    check_translation(ep, NOP, 0xfee00000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    write_pasid_sl(t, 0, DID_SL, SL_TABLES);
    inv_pasid_cache(t);
    inv_iotlb_domain(t, DID_SL);
    check_untranslated(ep, IOVA, PAGE_A);
    check_untranslated_fault(ep, PAGE_B, VTD_FR_SS_PAGING_ENTRY_P);
    test_end(t);
}

static void write_legacy_context(Endpoint *ep, uint64_t tt)
{
    uint64_t addr = CONTEXT + ep->bdf * VTD_CTX_ENTRY_LEGACY_SIZE;

    qtest_writeq(ep->qts, addr, SL_TABLES | tt | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(ep->qts, addr + 8, DID_SL << 8 | 2);
    inv_context(ep->t);
}

static void test_legacy_mode(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);
    Desc translated = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_RAW,
        .iova = PAGE_A,
        .length = 8,
    };

    vtd_writeq(t, DMAR_RTADDR_REG, ROOT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    qtest_memset(t->qts, CONTEXT, 0, 0x1000);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_R);

    write_legacy_context(ep, VTD_CONTEXT_TT_DEV_IOTLB);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    check_translation(ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    check_translation(ep, NOP, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    check_untranslated(ep, IOVA, PAGE_A);
    check_untranslated_fault(ep, IOVA + 0x1000, VTD_FR_WRITE);
    check_refused(ep, PASID, VTD_FR_TTM_PASID);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_TTM_PAGE_REQ);
    ep_check(ep, &translated, IOPF_TD_ST_OK);

    write_legacy_context(ep, VTD_CONTEXT_TT_MULTI_LEVEL);
    check_refused(ep, NOP, VTD_FR_CONTEXT_ENTRY_TT);
    check_untranslated(ep, IOVA, PAGE_A);
    ep_check(ep, &translated, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_CONTEXT_ENTRY_TT);

    /* The same where untranslated accesses pass the IOMMU by */
    write_legacy_context(ep, VTD_CONTEXT_TT_PASS_THROUGH);
    check_untranslated(ep, PAGE_B, PAGE_B);
    check_untranslated(ep, PAGE_B, PAGE_B);
    ep_check(ep, &translated, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_CONTEXT_ENTRY_TT);
    test_end(t);
}

/* While remapping is off there is nothing to translate and nobody to ask */
static void test_disabled(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);

    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    check_translation(ep, NOP, PAGE_A, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    check_translation(ep, NOP, 0xfee00000, WANT_RW, 0, 0x1000, 0);
    check_translation(ep, PASID, PAGE_A, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    /* A PASID that the IOMMU has no bits for stays one */
    g_assert_cmpint(translate(ep, 1 << VTD_PASID_BITS, PAGE_A, WANT_R).ret, ==,
                    -EACCES);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    test_end(t);
}

static unsigned int count_in(const char *text, const char *what)
{
    unsigned int n = 0;

    while ((text = strstr(text, what))) {
        n++;
        text++;
    }
    return n;
}

/* Address spaces of the model, by what the monitor shows */
static unsigned int count_address_spaces(Test *t)
{
    g_autofree char *tree = qtest_hmp(t->qts, "info mtree -f");

    return count_in(tree, "AS \"vtd-root\"");
}

/* For who compares: what the machine has, which no test can know */
static void tell_size(Test *t, const char *when)
{
    g_autofree char *tree = qtest_hmp(t->qts, "info mtree");
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            (int)qtest_pid(t->qts));
    g_autofree char *status = NULL;
    const char *rss = NULL;

    if (g_file_get_contents(path, &status, NULL, NULL)) {
        rss = strstr(status, "VmRSS:");
    }
    g_test_message("%s: %u address spaces of the IOMMU, %u memory regions, "
                   "%ld KiB resident", when, count_address_spaces(t),
                   count_in(tree, "(prio "), rss ? atol(rss + 6) : -1);
}

/* Lines of a trace */
static unsigned int count_lines(const char *path)
{
    g_autofree char *text = NULL;
    const char *at;
    unsigned int n = 0;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    for (at = text; (at = strchr(at, '\n')); at++) {
        n++;
    }
    return n;
}

static void inv_pasids(Test *t, uint64_t granularity, uint16_t did,
                       uint32_t pasid)
{
    iq_submit(t, VTD_INV_DESC_PC | granularity << 4 | (uint64_t)did << 16 |
              (uint64_t)pasid << 32, 0);
}

/* The cost of a descriptor grows with what it names, not with what there is */
static void test_pasid_cache_drops(void)
{
    g_autofree char *path = NULL, *options = NULL;
    int fd = g_file_open_tmp("vtd-drops-XXXXXX", &path, NULL);
    unsigned int seen = 0, now;
    uint32_t pasid;
    Test *t;
    int i;
    static const struct {
        uint64_t granularity;
        uint16_t did;
        uint32_t pasid;
        unsigned int drops;
    } descs[] = {
        { 1, DID_FL, 7, 2 },            /* of two functions */
        { 1, DID_FL, 7, 0 },            /* it is gone */
        { 1, DID_FL, 200, 0 },          /* in another domain */
        { 1, DID_FL, 8, 1 },
        { 0, DID_FL + 1, 0, 50 },
        { 0, DID_FL + 1, 0, 0 },
        { 0, DID_FL, 0, 148 },
        { 0, DID_FL, 0, 0 },
    };

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    options = g_strdup_printf(" -trace vtd_pasid_cache_drop -D %s", path);
    t = test_start_with(options);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    for (pasid = 1; pasid <= 200; pasid++) {
        write_pasid_fl(t, pasid, DID_FL + (pasid > 150), FL_TABLES, 0);
        check_translation(&t->ep[0], pasid, IOVA, WANT_R, PAGE_A, 0x1000,
                          PERM_R);
    }
    check_translation(&t->ep[1], 7, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    for (i = 0; i < ARRAY_SIZE(descs); i++) {
        inv_pasids(t, descs[i].granularity, descs[i].did, descs[i].pasid);
        now = count_lines(path);
        g_test_message("descriptor %d: %u entries", i, now - seen);
        g_assert_cmpuint(now - seen, ==, descs[i].drops);
        seen = now;
    }
    test_end(t);
    unlink(path);
}

/* A function that goes leaves nothing behind for the one that comes after it */
static void test_unplug_forgets(void)
{
    Test *t = test_new(IOMMU " -device pcie-root-port,id=rp1,addr=6.0 -device "
                       "iopf-testdev,id=td1,bus=rp1,pasid=20");
    Endpoint *ep = &t->ep[0];

    ep_init(ep, t, 1 << 8, 0);
    enable_mmcfg(t->qts);
    enable_root_port(ep, 6 << 3);
    ep_map(ep);
    ep_start_ring(ep, 8, 1);
    clear_tables(t);
    write_context(ep, CONTEXT_FLAGS);
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES, 0);
    write_paging(t, FL_TABLES, PTE_FL);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    start_vtd(t, 0);
    ep_enable(ep, 32);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P,
                      DID_FL, 0);
    check_translation(ep, PASID, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);

    qtest_qmp_device_del_send(t->qts, "td1");
    eject_root_port(t->qts);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    qtest_qmp_device_add(t->qts, "iopf-testdev", "td2",
                         "{'bus': 'rp1', 'pasid': 20}");
    ep_map(ep);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 1);
    check_translation(ep, PASID, PAGE_B, WANT_R, PAGE_B, 0x1000, PERM_R);
    test_end(t);
}

/*
 * A PASID costs what its cached entry needs, and no address space: what is
 * done to all of them, or to the memory map, would take minutes and gigabytes
 * otherwise.
 */
static void test_many_pasids(void)
{
    Test *t = test_start();
    unsigned int spaces = count_address_spaces(t);
    uint32_t pasid;
    int i;

    tell_size(t, "without PASIDs");
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    for (pasid = 1; pasid < 256; pasid++) {
        write_pasid_fl(t, pasid, DID_FL, FL_TABLES, 0);
        check_translation(&t->ep[0], pasid, IOVA, WANT_R, PAGE_A, 0x1000,
                          PERM_R);
    }
    g_assert_cmpuint(count_address_spaces(t), ==, spaces);
    /* All to pass-through, and back */
    for (pasid = 1; pasid < 256; pasid++) {
        write_pasid_entry(t, pasid, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P,
                          DID_FL, 0);
    }
    inv_pasid_cache(t);
    check_translation(&t->ep[0], 7, PAGE_B, WANT_R, PAGE_B, 0x1000, PERM_R);
    for (pasid = 1; pasid < 256; pasid++) {
        write_pasid_fl(t, pasid, DID_FL, FL_TABLES, 0);
    }
    for (i = 0; i < 4095; i++) {
        inv_pasid_cache(t);
    }
    g_assert_cmpuint(count_address_spaces(t), ==, spaces);
    tell_size(t, "255 PASIDs in use, and 4096 global descriptors");
    for (i = 0; i < 100; i++) {
        vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
        g_assert(!(vtd_readl(t, DMAR_GSTS_REG) & VTD_GSTS_TES));
        vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE);
        g_assert(vtd_readl(t, DMAR_GSTS_REG) & VTD_GSTS_TES);
    }
    check_translation(&t->ep[0], 255, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    test_end(t);
}

static void test_page_request(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 3, WANT_RW, 17);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, 3 * 32);
    check_prq(t, 0, prd_lo(ep, NOP), prd_hi(IOVA, 17, PRD_R | PRD_W));
    check_prq(t, 1, prd_lo(ep, NOP), prd_hi(IOVA + 0x1000, 17, PRD_R | PRD_W));
    check_prq(t, 2, prd_lo(ep, NOP),
              prd_hi(IOVA + 0x2000, 17, PRD_R | PRD_W | PRD_LPIG));
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 3);
    page_response(ep, NOP, 0, 17);
    check_only_response(ep, 0, 17, NOP, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* From the other device, with PASID, and with the prefix bits */
    d = group_request(PASID, IOVA + 0x7000, 1, WANT_R | IOPF_TD_F_EXEC |
                      IOPF_TD_F_PRIV, 511);
    ep_check(&t->ep[1], &d, IOPF_TD_ST_OK);
    check_prq(t, 3, prd_lo(&t->ep[1], PASID) | 1ULL << 52 | 1ULL << 53,
              prd_hi(IOVA + 0x7000, 511, PRD_R | PRD_LPIG));
    /* The answer finds its device and PASID */
    page_response(ep, PASID, 1, 511);
    page_response(&t->ep[1], PASID, 1, 511);
    check_only_response(&t->ep[1], 1, 511, PASID, 1);
    /* The one that goes to the wrong device is noticed there */
    check_response(ep, 1, IOPF_TD_RSP_F_UNMATCHED, 511, PASID, 0);
    g_assert(take_unexpected(ep));

    /* The same group index with and without PASID */
    d = group_request(NOP, IOVA, 1, WANT_R, 3);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    d = group_request(PASID, IOVA, 1, WANT_R, 3);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 2);
    /* Reset is for a function that has the interface disabled */
    cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE |
               PCI_PRI_CTRL_RESET);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 2);
    page_response(ep, PASID, 1, 3);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);
    /* Bit 2 is what it was in older specifications */
    iq_submit(t, VTD_INV_DESC_PGRP_RESP | 1 << 12 | (uint64_t)ep->bdf << 16,
              3 << 3 | 1 << 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* A stop marker takes a slot and no credit, even without the PASID */
    d = (Desc) {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, 7 * 32);
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 6 * 32), ==, prd_lo(ep, 11));
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 6 * 32 + 8) & 7, ==, PRD_LPIG);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* Malformed responses */
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP | 1 << 5 |
                  (uint64_t)ep->bdf << 16, 0, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP | 1ULL << 52, 0, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 1, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 1 << 12, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 0, 1);
    /* Page stream response is no more */
    iq_submit_bad(t, 0xa, 0, 0);
    /* Nobody there, or no such group: no error of the queue */
    iq_submit(t, VTD_INV_DESC_PGRP_RESP | 0x1234 << 16, 0);
    page_response(ep, NOP, 0, 100);
    g_assert(take_unexpected(ep));
    test_end(t);
}

static void test_response_wrong_pasid(void)
{
    Test *t = test_start();

    check_wrong_pasid(t, PASID);
    test_end(t);
}

static void test_request_without_bme(void)
{
    Test *t = test_start();

    check_without_bus_master(&t->ep[0]);
    test_end(t);
}

static void test_response_failure(void)
{
    static const uint8_t codes[] = { 0xf, 0x2, 0x8 };
    Endpoint *ep;
    Test *t;
    Desc d;
    int i;

    for (i = 0; i < ARRAY_SIZE(codes); i++) {
        t = test_start();
        ep = &t->ep[0];
        d = group_request(NOP, IOVA, 1, WANT_R, 1);
        ep_check(ep, &d, IOPF_TD_ST_OK);
        page_response(ep, NOP, codes[i], 1);
        check_only_response(ep, IOPF_TD_RSP_CODE_FAILURE, 1, NOP, 1);
        g_assert_cmphex(cfg_readw(ep, ep->pri + PCI_PRI_STATUS) &
                        PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
        /* Stopped until the interface is enabled anew */
        ep_check(ep, &d, IOPF_TD_ST_RSP_FAILURE);
        test_end(t);
    }
}

static void test_page_request_refused(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);
    uint64_t hi;

    write_context(ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE);
    inv_context(t);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SM_PRE_CLEAR);
    g_assert_cmphex(extract64(hi, 28, 1), ==, 1);

    write_context(ep, 0);
    inv_context(t);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_CONTEXT_ENTRY_P);

    /* The queue is not set up */
    write_context(ep, CONTEXT_FLAGS);
    inv_context(t);
    vtd_writeq(t, DMAR_PQA_REG, 0);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    /* The answer has the PASID, which the device asks for */
    d = with_pasid(d, PASID);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_INVALID);
    check_stop_marker_lost(ep);
    d = group_request(NOP, IOVA, 1, WANT_R, 1);

    /* The queue is not in memory */
    vtd_writeq(t, DMAR_PQA_REG, 1ULL << 46);
    check_automatic(ep, &d, IOPF_TD_RSP_CODE_FAILURE);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, 0);
    test_end(t);
}

static void send_pending(Endpoint *ep, unsigned int pending)
{
    iq_submit(ep->t, VTD_INV_DESC_DEVICE | (uint64_t)ep->bdf << 32 |
              pending << 16, IOVA);
}

static void send_pending_pasid(Endpoint *ep, unsigned int pending)
{
    iq_submit(ep->t, VTD_INV_DESC_DEV_PIOTLB | (uint64_t)PASID << 32 |
              (uint64_t)ep->bdf << 16 | pending << 4, IOVA);
}

static void test_inv_depth(void)
{
    check_inv_depth(test_start_with, send_pending);
    check_inv_depth(test_start_with, send_pending_pasid);
}

static void test_guest_errors(void)
{
    check_guest_errors(test_start_with);
}

static void test_event(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 1);

    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    ep_run(ep, &d);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    /* Sent when unmasked */
    vtd_writel(t, DMAR_PEADDR_REG, 0xfee00000);
    vtd_writel(t, DMAR_PEDATA_REG, 0x41);
    vtd_writel(t, DMAR_PECTL_REG, 0);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, 0);
    /* Not again while PPR is set */
    d.prgi = 2;
    vtd_writel(t, DMAR_PECTL_REG, VTD_PECTL_IM);
    ep_run(ep, &d);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    vtd_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, 0);
    d.prgi = 3;
    ep_run(ep, &d);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    /* What was pending is not, once software has seen to it */
    vtd_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    test_end(t);
}

static void test_wait_descriptor(void)
{
    Test *t = test_start();

    iq_submit(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN, 0);
    iq_submit(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN |
              VTD_INV_DESC_WAIT_PD, 0);
    qtest_writel(t->qts, STATUS_WORD, 0);
    iq_submit(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW |
              VTD_INV_DESC_WAIT_FN | VTD_INV_DESC_WAIT_PD | 0xcafeULL << 32,
              STATUS_WORD);
    g_assert_cmphex(qtest_readl(t->qts, STATUS_WORD), ==, 0xcafe);
    /* It does nothing at all, and a reserved bit */
    iq_submit_bad(t, VTD_INV_DESC_WAIT, 0, 0);
    iq_submit_bad(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN | 1 << 8, 0, 0);
    test_end(t);
}

static void test_overflow(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    uint64_t size = PRQ_ENTRIES * 32;
    uint64_t head = size - 4 * 32;
    Desc d;

    /* Start near the end, so that the tail has to wrap */
    vtd_writeq(t, DMAR_PQH_REG, head);
    vtd_writeq(t, DMAR_PQT_REG, head);

    d = group_request(NOP, IOVA, PRQ_ENTRIES - 1, WANT_R, 1);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, head - 32);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    check_prq(t, PRQ_ENTRIES - 4, prd_lo(ep, NOP), prd_hi(IOVA, 1, PRD_R));
    check_prq(t, 2 * PRQ_ENTRIES - 6, prd_lo(ep, NOP),
              prd_hi(IOVA + (PRQ_ENTRIES - 2) * 0x1000, 1, PRD_R | PRD_LPIG));

    /* One more does not fit */
    vtd_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    d = group_request(NOP, IOVA, 1, WANT_R, 2);
    d.flags |= IOPF_TD_F_WAIT;
    ep_check(ep, &d, IOPF_TD_ST_QUEUE_FULL);
    check_response(ep, IOPF_TD_RSP_CODE_SUCCESS, IOPF_TD_RSP_F_AUTO, 2, NOP,
                   1);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PRO);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, head - 32);

    /* Nothing is queued until software clears PRO, room or not */
    vtd_writeq(t, DMAR_PQH_REG, head - 32);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_CNT_PR_FULL), ==, 1);
    d = with_pasid(d, PASID);
    ep_check(ep, &d, IOPF_TD_ST_QUEUE_FULL);
    check_response(ep, IOPF_TD_RSP_CODE_SUCCESS, IOPF_TD_RSP_F_AUTO, 2, PASID,
                   1);
    d = group_request(NOP, IOVA, 1, WANT_R, 2);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, head - 32);
    vtd_writel(t, DMAR_PRS_REG, VTD_PRS_PRO);
    g_assert_cmphex(vtd_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(vtd_readq(t, DMAR_PQT_REG), ==, head);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    check_prq(t, PRQ_ENTRIES - 5, prd_lo(ep, NOP),
              prd_hi(IOVA, 2, PRD_R | PRD_LPIG));
    page_response(ep, NOP, 0, 1);
    page_response(ep, NOP, 0, 2);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    test_end(t);
}

/* A page request drops the page from the IOTLB, and only that page */
static void test_implicit_invalidation(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_RW, 1);
    int i;

    for (i = 0; i < 2; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * 0x1000, PAGE_A | PTE_RW);
        check_translation(ep, NOP, IOVA + i * 0x1000, WANT_RW, PAGE_A,
                          0x1000, PERM_RW);
        write_leaf(t, SL_TABLES, IOVA + i * 0x1000, PAGE_B | PTE_RW);
        check_translation(ep, NOP, IOVA + i * 0x1000, WANT_RW, PAGE_A,
                          0x1000, PERM_RW);
    }
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_translation(ep, NOP, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    check_translation(ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_A, 0x1000,
                      PERM_RW);

    /* Whether it is privileged or not, of both kinds */
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES, VTD_SM_PASID_ENTRY_SRE);
    inv_tables(t);
    for (i = 0; i < 2; i++) {
        uint16_t kind = i ? WANT_RW | IOPF_TD_F_PRIV : WANT_RW;
        uint32_t perm = i ? PERM_RW | PERM_P : PERM_RW;

        write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
        inv_iotlb(t);
        check_translation(ep, PASID, IOVA, kind, PAGE_A, 0x1000, perm);
        write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
        check_translation(ep, PASID, IOVA, kind, PAGE_A, 0x1000, perm);
        d = group_request(PASID, IOVA, 1, WANT_R | (i ? 0 : IOPF_TD_F_PRIV),
                          2 + i);
        ep_check(ep, &d, IOPF_TD_ST_OK);
        check_translation(ep, PASID, IOVA, kind, PAGE_B, 0x1000, perm);
    }
    test_end(t);
}

static void map_page(Endpoint *ep, uint64_t iova, uint64_t addr, bool write)
{
    write_leaf(ep->t, SL_TABLES, iova, addr | (write ? PTE_RW : PTE_R));
}

static void test_demand_paging(void)
{
    Test *t = test_start();

    check_demand_paging(&t->ep[0], PAGE_A, map_page);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

/* Reset with everything under way; then it works again */
static void test_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 8, WANT_RW, 5);

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    fill_atc(ep, NOP, IOVA);
    ep_check(ep, &d, IOPF_TD_ST_OK);

    qtest_system_reset(t->qts);

    start_iommu(t);
    g_assert_cmphex(vtd_readl(t, DMAR_PRS_REG), ==, 0);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert(!in_atc(ep, NOP, IOVA));
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    page_response(ep, NOP, 0, 5);
    check_only_response(ep, 0, 5, NOP, 8);
    test_end(t);
}

/*
 * Test cases: paging-structure cache.  A table is replaced by another one, and
 * the page that is found shows whether the walk knew.
 */

#define PSC ",x-paging-structure-cache=on"
#define LEAF_ONLY (1 << 6)

/* Of the first page of IOVA, by the old and the new table of the last level */
#define OLD_PAGE PAGE_A
#define NEW_PAGE PAGE_B

static uint64_t new_table(uint64_t tables)
{
    return tables + 8 * PAGE;
}

/* Entry that leads to the table of the last level */
static void write_pde(Test *t, uint64_t tables, uint64_t pde)
{
    write_leaf_2m(t, tables, IOVA, pde);
}

static void write_both_tables(Test *t, uint64_t tables, uint64_t flags)
{
    write_leaf(t, tables, IOVA, OLD_PAGE | flags);
    qtest_writeq(t->qts, new_table(tables) + extract64(IOVA, 12, 9) * 8,
                 NEW_PAGE | flags);
    write_pde(t, tables, (tables + 3 * PAGE) | flags);
}

/* Have the old table in the cache, if there is one, and replace it */
static void replace_table(Endpoint *ep, uint32_t pasid, uint64_t tables,
                          uint64_t flags)
{
    write_pde(ep->t, tables, (tables + 3 * PAGE) | flags);
    inv_iotlb(ep->t);
    check_translation(ep, pasid, IOVA, WANT_RW, OLD_PAGE, PAGE, PERM_RW);
    write_pde(ep->t, tables, new_table(tables) | flags);
}

static void inv_pages(Test *t, uint16_t did, uint64_t addr)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_PAGE | did << 16,
              addr);
}

static void inv_pasid_pages(Test *t, uint16_t did, uint32_t pasid,
                            uint64_t addr)
{
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              did << 16 | (uint64_t)pasid << 32, addr);
}

static void check_page(Endpoint *ep, uint32_t pasid, uint64_t page)
{
    check_translation(ep, pasid, IOVA, WANT_RW, page, PAGE, PERM_RW);
}

static void test_psc_second_stage(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_RW, 1);

    write_both_tables(t, SL_TABLES, PTE_RW);

    /* A hint that was wrong; then what is about something else */
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, OLD_PAGE);
    inv_pages(t, DID_SL + 1, IOVA);
    inv_pages(t, DID_SL, IOVA + 0x200000);
    inv_iotlb_domain(t, DID_SL + 1);
    inv_pasid_pages(t, DID_SL, 0, IOVA);
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, OLD_PAGE);
    /* Another page of the same table */
    inv_pages(t, DID_SL, IOVA + 0x1ff000);
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, NEW_PAGE);

    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    inv_pages(t, DID_SL, (IOVA + 0x200000) | 10);
    check_page(ep, NOP, NEW_PAGE);
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    inv_iotlb_domain(t, DID_SL);
    check_page(ep, NOP, NEW_PAGE);
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    inv_iotlb(t);
    check_page(ep, NOP, NEW_PAGE);

    /* A page request */
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_page(ep, NOP, NEW_PAGE);
    test_end(t);
}

/* Each table on the way is one that the walk may know */
static void test_psc_levels(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];
    uint64_t top = SL_TABLES + extract64(IOVA, 39, 9) * 8;

    write_both_tables(t, SL_TABLES, PTE_RW);
    check_page(ep, NOP, OLD_PAGE);
    /* Nothing leads there any more, but for the cache */
    qtest_writeq(t->qts, top, 0);
    write_pde(t, SL_TABLES, 0);
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, OLD_PAGE);
    /* The same for a page whose table of the last level is not known */
    write_leaf_2m(t, SL_TABLES, IOVA_2M, new_table(SL_TABLES) | PTE_RW);
    check_translation(ep, NOP, IOVA_2M, WANT_RW, NEW_PAGE, PAGE, PERM_RW);
    inv_pages(t, DID_SL, IOVA);
    /* The top entry is not present: a hole, clear of the interrupt range */
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x80000000, 0);
    test_end(t);
}

static void test_psc_first_stage(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(PASID, IOVA, 1, WANT_RW, 1);

    write_both_tables(t, FL_TABLES, PTE_FL);

    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    inv_pasid_pages(t, DID_FL, PASID, IOVA | LEAF_ONLY);
    check_page(ep, PASID, OLD_PAGE);
    /* The hint counts whatever the mask */
    inv_pasid_pages(t, DID_FL, PASID, LEAF_ONLY | 52);
    check_page(ep, PASID, OLD_PAGE);
    inv_pasid_pages(t, DID_FL, PASID + 1, IOVA);
    inv_pasid_pages(t, DID_FL + 1, PASID, IOVA);
    inv_pasid_pages(t, DID_FL, PASID, IOVA + 0x200000);
    inv_pasid_pages(t, DID_FL, PASID, IOVA | LEAF_ONLY);
    check_page(ep, PASID, OLD_PAGE);
    inv_pasid_pages(t, DID_FL, PASID, IOVA);
    check_page(ep, PASID, NEW_PAGE);

    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    inv_pasid_pages(t, DID_FL, PASID, 52);
    check_page(ep, PASID, NEW_PAGE);
    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_ALL_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, 0);
    check_page(ep, PASID, NEW_PAGE);

    /* Without PASID it may be about any address of the first stage */
    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    inv_pages(t, DID_FL, LEAF_ONLY);
    check_page(ep, PASID, NEW_PAGE);

    /* A page request */
    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_page(ep, PASID, NEW_PAGE);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

static uint64_t gpa_table(int n)
{
    return FL_TABLES + (8 + n) * PAGE;
}

/* Addresses of the first stage are known as the second stage has them */
static void test_psc_nested(void)
{
    Test *t = test_start_with(",x-nest=on" PSC);
    Endpoint *ep = &t->ep[0];

    /* The tables and pages of the first stage are where the second has them */
    qtest_writeq(t->qts, SL_TABLES + PAGE, PTE_RW | PTE_PS);
    write_pasid_entry(t, PASID, SL_TABLES | VTD_SM_PASID_ENTRY_NESTED |
                      AW_4_LEVELS | VTD_PASID_ENTRY_P, DID_FL, FL_TABLES);
    inv_tables(t);
    write_both_tables(t, FL_TABLES, PTE_FL);
    replace_table(ep, PASID, FL_TABLES, PTE_FL);
    inv_pasid_pages(t, DID_FL, PASID, IOVA | LEAF_ONLY);
    check_page(ep, PASID, OLD_PAGE);
    inv_pasid_pages(t, DID_FL, PASID, IOVA);
    check_page(ep, PASID, NEW_PAGE);

    /* The page of the first stage has a table of the second one now */
    write_both_tables(t, SL_TABLES, PTE_RW);
    qtest_writeq(t->qts, gpa_table(0) + extract64(IOVA, 12, 9) * 8,
                 IOVA | PTE_FL);
    replace_table(ep, PASID, SL_TABLES, PTE_RW);
    inv_pasid_pages(t, DID_FL, PASID, IOVA);
    check_page(ep, PASID, OLD_PAGE);
    inv_pages(t, DID_FL, IOVA | LEAF_ONLY);
    check_page(ep, PASID, OLD_PAGE);
    inv_pages(t, DID_FL, IOVA);
    check_page(ep, PASID, NEW_PAGE);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

/* Entries that grant less than what is wanted are read again */
static void test_psc_rights(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];
    uint64_t sl_pde = SL_TABLES + 3 * PAGE, fl_pde = FL_TABLES + 3 * PAGE;

    write_both_tables(t, SL_TABLES, PTE_RW);
    write_pde(t, SL_TABLES, sl_pde | PTE_R);
    check_translation(ep, NOP, IOVA, WANT_RW, OLD_PAGE, PAGE, PERM_R);
    check_translation(ep, NOP, IOVA, WANT_R, OLD_PAGE, PAGE, PERM_R);
    write_pde(t, SL_TABLES, sl_pde | PTE_RW);
    check_page(ep, NOP, OLD_PAGE);

    write_both_tables(t, FL_TABLES, PTE_FL);
    write_pde(t, FL_TABLES, fl_pde | (PTE_FL & ~VTD_FL_RW));
    check_translation(ep, PASID, IOVA, WANT_RW, OLD_PAGE, PAGE, PERM_R);
    write_pde(t, FL_TABLES, fl_pde | PTE_FL);
    check_page(ep, PASID, OLD_PAGE);

    /* And what they do not grant stays so */
    write_pasid_fl(t, PASID, DID_FL, FL_TABLES,
                   VTD_SM_PASID_ENTRY_SRE | VTD_SM_PASID_ENTRY_ERE);
    write_pde(t, FL_TABLES, fl_pde | VTD_FL_XD | (PTE_FL & ~VTD_FL_US));
    inv_tables(t);
    check_translation(ep, PASID, IOVA, WANT_RW | IOPF_TD_F_PRIV, OLD_PAGE,
                      PAGE, PERM_RW | PERM_P);
    inv_pasid_pages(t, DID_FL, PASID, IOVA | LEAF_ONLY);
    check_translation(ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC |
                      IOPF_TD_F_PRIV, OLD_PAGE, PAGE, PERM_R | PERM_P);
    check_translation(ep, PASID, IOVA, WANT_R, 0, PAGE, 0);
    write_pde(t, FL_TABLES, fl_pde | PTE_FL);
    check_translation(ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC, OLD_PAGE, PAGE,
                      PERM_R | PERM_X);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

/* Each function and domain has its own; what is not present nobody has */
static void test_psc_tags(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];

    write_pde(t, SL_TABLES, 0);
    check_translation(ep, NOP, IOVA, WANT_RW, 0, 0x200000, 0);
    write_both_tables(t, SL_TABLES, PTE_RW);
    check_page(ep, NOP, OLD_PAGE);
    write_pde(t, SL_TABLES, new_table(SL_TABLES) | PTE_RW);
    check_page(&t->ep[1], NOP, NEW_PAGE);
    check_page(ep, NOP, OLD_PAGE);
    write_pasid_sl(t, 0, DID_SL + 1, SL_TABLES);
    inv_pasid_cache(t);
    check_page(ep, NOP, NEW_PAGE);

    /* With remapping switched off and on again there is nothing left */
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE);
    check_page(ep, NOP, NEW_PAGE);
    test_end(t);
}

/* Invalidation by registers, of legacy mode */
static void test_psc_registers(void)
{
    const uint64_t did = (uint64_t)DID_SL << 32;
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];

    vtd_writeq(t, DMAR_RTADDR_REG, ROOT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    qtest_memset(t->qts, CONTEXT, 0, 0x1000);
    write_legacy_context(ep, VTD_CONTEXT_TT_DEV_IOTLB);
    write_both_tables(t, SL_TABLES, PTE_RW);
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    iq_submit(t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN, 0);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_TE);
    g_assert(!(vtd_readl(t, DMAR_GSTS_REG) & VTD_GSTS_QIES));

    vtd_writeq(t, DMAR_IVA_REG, IOVA | LEAF_ONLY);
    vtd_writeq(t, DMAR_IOTLB_REG, VTD_TLB_IVT | VTD_TLB_PSI_FLUSH | did);
    check_page(ep, NOP, OLD_PAGE);
    vtd_writeq(t, DMAR_IVA_REG, IOVA);
    vtd_writeq(t, DMAR_IOTLB_REG, VTD_TLB_IVT | VTD_TLB_PSI_FLUSH | did);
    check_page(ep, NOP, NEW_PAGE);
    test_end(t);
}

/* The memory is the host's: a guest gets no more of it for more tables */
static void test_psc_limit(void)
{
    Test *t = test_start_with(PSC);
    Endpoint *ep = &t->ep[0];
    const uint64_t pdes = SL_TABLES + 2 * PAGE;
    int i;

    write_both_tables(t, SL_TABLES, PTE_RW);
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    /* The next GiBs have one table of PDEs, and all those the old table */
    for (i = 0; i < 512; i++) {
        qtest_writeq(t->qts, pdes + PAGE * 7 + i * 8,
                     (SL_TABLES + 3 * PAGE) | PTE_RW);
    }
    for (i = 2; i < 5; i++) {
        qtest_writeq(t->qts, SL_TABLES + PAGE + i * 8,
                     (pdes + PAGE * 7) | PTE_RW);
    }
    for (i = 0; i < 1024; i++) {
        /* Clear of the interrupt range */
        uint64_t iova = (i < 512 ? 2ULL : 4ULL) << 30 | (i % 512) << 21;

        check_translation(ep, NOP, iova, WANT_RW, OLD_PAGE, PAGE, PERM_RW);
    }
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, NEW_PAGE);
    test_end(t);
}

/* Off by default */
static void test_psc_off(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_both_tables(t, SL_TABLES, PTE_RW);
    replace_table(ep, NOP, SL_TABLES, PTE_RW);
    inv_pages(t, DID_SL, IOVA | LEAF_ONLY);
    check_page(ep, NOP, NEW_PAGE);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/intel-iommu/prq/registers", test_registers);
    qtest_add_func("/q35/intel-iommu/prq/no-svm", test_no_svm);
    qtest_add_func("/q35/intel-iommu/options", test_options);
    qtest_add_func("/q35/intel-iommu/ats/second-stage", test_ats_second_stage);
    qtest_add_func("/q35/intel-iommu/ats/first-stage", test_ats_first_stage);
    qtest_add_func("/q35/intel-iommu/ats/tables-in-rom", test_tables_in_rom);
    qtest_add_func("/q35/intel-iommu/ats/interrupt-range",
                   test_ats_interrupt_range);
    qtest_add_func("/q35/intel-iommu/ats/refused", test_ats_refused);
    qtest_add_func("/q35/intel-iommu/ats/caching", test_ats_caching);
    qtest_add_func("/q35/intel-iommu/ats/pasid-cache", test_pasid_cache);
    qtest_add_func("/q35/intel-iommu/ats/device-tlb", test_device_tlb);
    qtest_add_func("/q35/intel-iommu/ats/no-features", test_no_features);
    qtest_add_func("/q35/intel-iommu/ats/no-global-invalidate",
                   test_no_global_invalidate);
    qtest_add_func("/q35/intel-iommu/ats/translated-access",
                   test_translated_access);
    qtest_add_func("/q35/intel-iommu/ats/translated-cached",
                   test_translated_cached);
    qtest_add_func("/q35/intel-iommu/ats/withheld-completion",
                   test_withheld_completion);
    qtest_add_func("/q35/intel-iommu/ats/timeout", test_timeout);
    qtest_add_func("/q35/intel-iommu/ats/timeout-again", test_timeout_again);
    qtest_add_func("/q35/intel-iommu/ats/timeout-other", test_timeout_other);
    qtest_add_func("/q35/intel-iommu/ats/timeout-disable",
                   test_timeout_disable);
    qtest_add_func("/q35/intel-iommu/ats/error-and-completion",
                   test_error_and_completion);
    qtest_add_func("/q35/intel-iommu/ats/error-tail", test_error_tail);
    qtest_add_func("/q35/intel-iommu/ats/lazy-invalidation",
                   test_lazy_invalidation);
    qtest_add_func("/q35/intel-iommu/ats/stu", test_stu);
    qtest_add_func("/q35/intel-iommu/ats/domain-tag", test_domain_tag);
    qtest_add_func("/q35/intel-iommu/ats/prefix", test_prefix);
    qtest_add_func("/q35/intel-iommu/ats/rid-privileged", test_rid_privileged);
    qtest_add_func("/q35/intel-iommu/ats/privileged-caching",
                   test_privileged_caching);
    qtest_add_func("/q35/intel-iommu/ats/untranslated-access",
                   test_untranslated_access);
    qtest_add_func("/q35/intel-iommu/ats/pass-through", test_pass_through);
    qtest_add_func("/q35/intel-iommu/ats/legacy-mode", test_legacy_mode);
    qtest_add_func("/q35/intel-iommu/ats/disabled", test_disabled);
    qtest_add_func("/q35/intel-iommu/ats/many-pasids", test_many_pasids);
    qtest_add_func("/q35/intel-iommu/ats/pasid-cache-drops",
                   test_pasid_cache_drops);
    qtest_add_func("/q35/intel-iommu/ats/unplug-forgets", test_unplug_forgets);
    qtest_add_func("/q35/intel-iommu/prq/request", test_page_request);
    qtest_add_func("/q35/intel-iommu/prq/response-wrong-pasid",
                   test_response_wrong_pasid);
    qtest_add_func("/q35/intel-iommu/prq/no-bus-master",
                   test_request_without_bme);
    qtest_add_func("/q35/intel-iommu/prq/response-failure",
                   test_response_failure);
    qtest_add_func("/q35/intel-iommu/prq/refused", test_page_request_refused);
    qtest_add_func("/q35/intel-iommu/prq/guest-errors", test_guest_errors);
    qtest_add_func("/q35/intel-iommu/ats/inv-depth", test_inv_depth);
    qtest_add_func("/q35/intel-iommu/prq/event", test_event);
    qtest_add_func("/q35/intel-iommu/prq/wait", test_wait_descriptor);
    qtest_add_func("/q35/intel-iommu/prq/overflow", test_overflow);
    qtest_add_func("/q35/intel-iommu/prq/implicit-invalidation",
                   test_implicit_invalidation);
    qtest_add_func("/q35/intel-iommu/prq/demand-paging", test_demand_paging);
    qtest_add_func("/q35/intel-iommu/prq/reset", test_reset);
    qtest_add_func("/q35/intel-iommu/psc/second-stage", test_psc_second_stage);
    qtest_add_func("/q35/intel-iommu/psc/levels", test_psc_levels);
    qtest_add_func("/q35/intel-iommu/psc/first-stage", test_psc_first_stage);
    qtest_add_func("/q35/intel-iommu/psc/nested", test_psc_nested);
    qtest_add_func("/q35/intel-iommu/psc/rights", test_psc_rights);
    qtest_add_func("/q35/intel-iommu/psc/tags", test_psc_tags);
    qtest_add_func("/q35/intel-iommu/psc/registers", test_psc_registers);
    qtest_add_func("/q35/intel-iommu/psc/limit", test_psc_limit);
    qtest_add_func("/q35/intel-iommu/psc/off", test_psc_off);

    return g_test_run();
}

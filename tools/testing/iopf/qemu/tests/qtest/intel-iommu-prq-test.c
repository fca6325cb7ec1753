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
#include "libqtest.h"
#include "hw/pci/pci_regs.h"
#include "hw/i386/intel_iommu_ats.h"
#include "hw/i386/intel_iommu_prq.h"
#include "hw/misc/iopf-testdev-regs.h"

#define MACHINE \
    "-M q35 -m 64 -nodefaults " \
    "-device intel-iommu,x-scalable-mode=on,x-pasid-mode=on,device-iotlb=on," \
    "svm=on,x-flts=on,x-slts=on,aw-bits=48 " \
    "-device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=512 " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,pri-capacity=512 "

#define MMCFG_BASE      0xb0000000ULL

/* Guest memory: the tables ... */
#define ROOT            0x100000ULL
#define CONTEXT         0x101000ULL
#define PASID_DIR       0x102000ULL
#define PASID_TABLE     0x103000ULL     /* PASIDs 0 to 63 */
#define SL_TABLES       0x110000ULL     /* one page per level, top first */
#define FL_TABLES       0x120000ULL
#define IQ              0x130000ULL
#define IQ_ENTRIES      128             /* of 32 bytes, IQA.QS = 0 */
#define PRQ             0x140000ULL
#define PRQ_ENTRIES     128             /* PQA.PQS = 0 */
#define STATUS_WORD     0x150000ULL
/* ... and what they map */
#define PAGE_A          0x201000ULL
#define PAGE_B          0x202000ULL
#define PAGE_C          0x203000ULL
#define PAGE_2M         0x400000ULL

#define IOVA            0x40000000ULL   /* first of the 512 pages of a table */
#define IOVA_2M         0x40200000ULL

/* Granularities of the PASID-cache invalidate descriptor */
#define PC_DOMAIN       (0 << 4)
#define PC_PASID        (1 << 4)
#define PC_RESERVED     (2 << 4)
#define PC_GLOBAL       (3 << 4)

#define DID_SL          5
#define DID_FL          6
#define PASID           9

#define PTE_R           VTD_SL_R
#define PTE_W           VTD_SL_W
#define PTE_RW          (VTD_SL_R | VTD_SL_W)
#define PTE_FL          (VTD_FL_P | VTD_FL_RW | VTD_FL_US)
#define PTE_PS          VTD_PT_PAGE_SIZE_MASK

typedef struct Endpoint {
    uint8_t devfn;
    uint64_t bar0, bar2;
    uint16_t ats, pri, pasid;   /* capability offsets */
    uint32_t tail;
} Endpoint;

typedef struct Test {
    QTestState *qts;
    Endpoint ep[2];
    unsigned int iq_tail;
} Test;

/* Registers */

static uint32_t reg_readl(Test *t, uint64_t offset)
{
    return qtest_readl(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset);
}

static uint64_t reg_readq(Test *t, uint64_t offset)
{
    return qtest_readq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset);
}

static void reg_writel(Test *t, uint64_t offset, uint32_t val)
{
    qtest_writel(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

static void reg_writeq(Test *t, uint64_t offset, uint64_t val)
{
    qtest_writeq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

/* Fault reason of the recording register, 0 if it is empty; empties it */
static uint8_t take_fault(Test *t, uint64_t *hi)
{
    uint64_t val = reg_readq(t, DMAR_FRCD_REG_0_2);

    if (hi) {
        *hi = val;
    }
    if (!(val & VTD_FRCD_F)) {
        return 0;
    }
    reg_writeq(t, DMAR_FRCD_REG_0_2, VTD_FRCD_F);
    return extract64(val, 32, 8);
}

/* PCI */

static uint64_t cfg_addr(Endpoint *ep, uint16_t offset)
{
    return MMCFG_BASE + ((uint64_t)ep->devfn << 12) + offset;
}

static uint16_t cfg_readw(Test *t, Endpoint *ep, uint16_t offset)
{
    return qtest_readw(t->qts, cfg_addr(ep, offset));
}

static uint32_t cfg_readl(Test *t, Endpoint *ep, uint16_t offset)
{
    return qtest_readl(t->qts, cfg_addr(ep, offset));
}

static void cfg_writew(Test *t, Endpoint *ep, uint16_t offset, uint16_t val)
{
    qtest_writew(t->qts, cfg_addr(ep, offset), val);
}

static void cfg_writel(Test *t, Endpoint *ep, uint16_t offset, uint32_t val)
{
    qtest_writel(t->qts, cfg_addr(ep, offset), val);
}

static uint16_t find_ext_cap(Test *t, Endpoint *ep, uint16_t id)
{
    uint16_t offset = PCI_CFG_SPACE_SIZE;
    uint32_t header;

    do {
        header = cfg_readl(t, ep, offset);
        if (PCI_EXT_CAP_ID(header) == id) {
            return offset;
        }
        offset = PCI_EXT_CAP_NEXT(header);
    } while (offset);
    g_assert_not_reached();
}

static uint32_t ep_readl(Test *t, Endpoint *ep, uint16_t reg)
{
    return qtest_readl(t->qts, ep->bar0 + reg);
}

static void ep_writel(Test *t, Endpoint *ep, uint16_t reg, uint32_t val)
{
    qtest_writel(t->qts, ep->bar0 + reg, val);
}

static void ep_enable_pci(Test *t, Endpoint *ep)
{
    cfg_writel(t, ep, PCI_BASE_ADDRESS_0, ep->bar0);
    cfg_writel(t, ep, PCI_BASE_ADDRESS_1, ep->bar0 >> 32);
    cfg_writel(t, ep, PCI_BASE_ADDRESS_2, ep->bar2);
    cfg_writel(t, ep, PCI_BASE_ADDRESS_3, ep->bar2 >> 32);
    cfg_writew(t, ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    ep->ats = find_ext_cap(t, ep, PCI_EXT_CAP_ID_ATS);
    ep->pri = find_ext_cap(t, ep, PCI_EXT_CAP_ID_PRI);
    ep->pasid = find_ext_cap(t, ep, PCI_EXT_CAP_ID_PASID);

    cfg_writew(t, ep, ep->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE |
               PCI_PASID_CTRL_EXEC | PCI_PASID_CTRL_PRIV);
    cfg_writew(t, ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    cfg_writel(t, ep, ep->pri + PCI_PRI_ALLOC_REQ, 512);
    cfg_writew(t, ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);

    g_assert_cmphex(ep_readl(t, ep, IOPF_TD_REG_ID), ==, IOPF_TD_ID);
    ep_writel(t, ep, IOPF_TD_REG_RING_LOG2, 8);
    ep_writel(t, ep, IOPF_TD_REG_CONTEXTS, 16);
    ep_writel(t, ep, IOPF_TD_REG_PRI_FULL_RETRY, 0);
    ep_writel(t, ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    ep->tail = 0;
}

/* Tables */

static void write_context(Test *t, Endpoint *ep, uint64_t flags)
{
    uint64_t addr = CONTEXT + ep->devfn * VTD_CTX_ENTRY_SCALABLE_SIZE;

    qtest_writeq(t->qts, addr + 8, 0);
    qtest_writeq(t->qts, addr + 16, 0);
    qtest_writeq(t->qts, addr + 24, 0);
    qtest_writeq(t->qts, addr, flags ? PASID_DIR | flags : 0);
}

#define CONTEXT_FLAGS (VTD_CONTEXT_ENTRY_P | VTD_SM_CONTEXT_ENTRY_DTE | \
                       VTD_SM_CONTEXT_ENTRY_PASIDE | VTD_SM_CONTEXT_ENTRY_PRE)

static void write_pasid_entry(Test *t, uint32_t pasid, uint64_t q0,
                              uint64_t q1, uint64_t q2)
{
    uint64_t addr = PASID_TABLE + pasid * VTD_PASID_ENTRY_SIZE;

    qtest_writeq(t->qts, addr + 8, q1);
    qtest_writeq(t->qts, addr + 16, q2);
    qtest_writeq(t->qts, addr, q0);
}

/* Tables of four levels, all but the leaves of IOVA filled in */
static void write_paging(Test *t, uint64_t tables, uint64_t flags)
{
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t table = tables + (4 - level) * 0x1000;
        uint64_t index = extract64(IOVA, 12 + 9 * (level - 1), 9);

        qtest_writeq(t->qts, table + index * 8, (table + 0x1000) | flags);
    }
}

static uint64_t leaf_addr(uint64_t tables, uint64_t iova)
{
    return tables + 3 * 0x1000 + extract64(iova, 12, 9) * 8;
}

static void write_leaf(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, leaf_addr(tables, iova), pte);
}

static uint64_t read_leaf(Test *t, uint64_t tables, uint64_t iova)
{
    return qtest_readq(t->qts, leaf_addr(tables, iova));
}

/* Entry of the level above, for IOVA_2M */
static void write_leaf_2m(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, tables + 2 * 0x1000 + extract64(iova, 21, 9) * 8, pte);
}

static void write_tables(Test *t)
{
    int i;

    qtest_memset(t->qts, ROOT, 0, 0x100000);
    qtest_writeq(t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    for (i = 0; i < 2; i++) {
        write_context(t, &t->ep[i], CONTEXT_FLAGS);
    }
    qtest_writeq(t->qts, PASID_DIR, PASID_TABLE | VTD_PASID_DIR_P);
    /* RID_PASID is 0, second stage with four levels */
    write_pasid_entry(t, 0, SL_TABLES | VTD_SM_PASID_ENTRY_SLT | 2 << 2 |
                      VTD_PASID_ENTRY_P, DID_SL, 0);
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_FLT | VTD_PASID_ENTRY_P,
                      DID_FL, FL_TABLES);
    write_paging(t, SL_TABLES, PTE_RW);
    write_paging(t, FL_TABLES, PTE_FL);
}

/* Invalidation queue */

static void iq_put(Test *t, uint64_t q0, uint64_t q1, uint64_t q2, uint64_t q3)
{
    uint64_t addr = IQ + t->iq_tail * 32;

    qtest_writeq(t->qts, addr, q0);
    qtest_writeq(t->qts, addr + 8, q1);
    qtest_writeq(t->qts, addr + 16, q2);
    qtest_writeq(t->qts, addr + 24, q3);
    t->iq_tail = (t->iq_tail + 1) % IQ_ENTRIES;
    reg_writeq(t, DMAR_IQT_REG, t->iq_tail << 5);
}

static bool iq_error(Test *t)
{
    return reg_readl(t, DMAR_FSTS_REG) & VTD_FSTS_IQE;
}

/* A good descriptor */
static void iq_submit(Test *t, uint64_t q0, uint64_t q1)
{
    iq_put(t, q0, q1, 0, 0);
    g_assert(!iq_error(t));
    g_assert_cmphex(reg_readq(t, DMAR_IQH_REG), ==, t->iq_tail << 5);
}

/* A bad one: IQE, and the queue goes on once the descriptor was replaced */
static void iq_submit_bad(Test *t, uint64_t q0, uint64_t q1, uint64_t q2)
{
    unsigned int slot = t->iq_tail;

    iq_put(t, q0, q1, q2, 0);
    g_assert(iq_error(t));
    g_assert_cmphex(reg_readq(t, DMAR_IQH_REG), ==, slot << 5);

    qtest_writeq(t->qts, IQ + slot * 32,
                 VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN);
    qtest_writeq(t->qts, IQ + slot * 32 + 8, 0);
    qtest_writeq(t->qts, IQ + slot * 32 + 16, 0);
    reg_writel(t, DMAR_FSTS_REG, VTD_FSTS_IQE);
    g_assert(!iq_error(t));
    g_assert_cmphex(reg_readq(t, DMAR_IQH_REG), ==, t->iq_tail << 5);
}

static uint64_t rid(Endpoint *ep)
{
    return ep->devfn;
}

static void inv_context(Test *t)
{
    iq_submit(t, VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL, 0);
}

static void inv_pasid_cache(Test *t)
{
    iq_submit(t, VTD_INV_DESC_PC | PC_GLOBAL, 0);
}

static void inv_iotlb_domain(Test *t, uint16_t did)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_DOMAIN |
              (uint64_t)did << 16, 0);
}

static void inv_tables(Test *t)
{
    inv_context(t);
    inv_pasid_cache(t);
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
}

#define INV_ALL 0x7ffffffffffff000ULL

static void inv_dev_tlb(Test *t, Endpoint *ep, uint64_t addr, bool size)
{
    iq_submit(t, VTD_INV_DESC_DEVICE | rid(ep) << 32, addr | size);
}

static void inv_dev_tlb_pasid(Test *t, Endpoint *ep, uint32_t pasid,
                              bool global, uint64_t addr, bool size)
{
    iq_submit(t, VTD_INV_DESC_DEV_PIOTLB | rid(ep) << 16 |
              (uint64_t)pasid << 32, addr | (uint64_t)size << 11 | global);
}

#define RESP_PP (1ULL << 4)

static void page_response(Test *t, Endpoint *ep, uint32_t pasid, uint8_t code,
                          uint16_t prgi)
{
    uint64_t lo = VTD_INV_DESC_PGRP_RESP | (uint64_t)code << 12 |
                  rid(ep) << 16;

    if (pasid != IOPF_TD_NO_PASID) {
        lo |= RESP_PP | (uint64_t)pasid << 32;
    }
    iq_submit(t, lo, prgi << 3);
}

/* Machine */

static void start_iommu(Test *t)
{
    write_tables(t);
    t->iq_tail = 0;

    reg_writeq(t, DMAR_RTADDR_REG, ROOT | VTD_RTADDR_SMT);
    reg_writel(t, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    reg_writeq(t, DMAR_IQT_REG, 0);
    reg_writeq(t, DMAR_IQA_REG, IQ | VTD_IQA_DW_MASK);
    reg_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    reg_writeq(t, DMAR_PQH_REG, 0);
    reg_writeq(t, DMAR_PQT_REG, 0);
    reg_writeq(t, DMAR_PQA_REG, PRQ);
    reg_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE);
    g_assert(reg_readl(t, DMAR_GSTS_REG) & VTD_GSTS_TES);
}

static Test *test_start(void)
{
    Test *t = g_new0(Test, 1);
    int i;

    t->qts = qtest_init(MACHINE);
    /* PCIEXBAR of the host bridge, through the I/O ports */
    qtest_outl(t->qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(t->qts, 0xcfc, MMCFG_BASE | 1);

    for (i = 0; i < 2; i++) {
        t->ep[i].devfn = (4 + i) << 3;
        t->ep[i].bar0 = 0xc0000000ULL + i * 0x1000000;
        t->ep[i].bar2 = t->ep[i].bar0 + 0x800000;
        ep_enable_pci(t, &t->ep[i]);
    }
    start_iommu(t);
    return t;
}

static void test_end(Test *t)
{
    qtest_quit(t->qts);
    g_free(t);
}

/* Endpoint */

typedef struct Desc {
    uint8_t op, mode;
    uint16_t flags;
    uint32_t pasid;
    uint64_t iova;
    uint32_t length;
    uint16_t prgi;
} Desc;

/* Returns: address of the descriptor */
static uint64_t ep_start(Test *t, Endpoint *ep, const Desc *d)
{
    uint64_t addr = ep->bar2 + IOPF_TD_RAM_RING + ep->tail * IOPF_TD_DESC_SIZE;

    qtest_writeq(t->qts, addr, d->op | d->mode << 8 |
                 (uint64_t)d->flags << 16 | (uint64_t)d->pasid << 32);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_IOVA, d->iova);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_LENGTH,
                 d->length | (uint64_t)IOPF_TD_RAM_DATA << 32);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_DATA, (uint64_t)d->prgi << 32);
    qtest_writel(t->qts, addr + IOPF_TD_DESC_STATUS, IOPF_TD_ST_NONE);
    ep->tail = (ep->tail + 1) & 255;
    ep_writel(t, ep, IOPF_TD_REG_RING_TAIL, ep->tail);
    return addr;
}

/* The device works in a bottom half, one round of the main loop away */
static uint32_t ep_finish(Test *t, uint64_t addr)
{
    uint32_t status = IOPF_TD_ST_NONE;
    int i;

    for (i = 0; i < 10000 && status == IOPF_TD_ST_NONE; i++) {
        qtest_clock_step(t->qts, 1000000);
        status = qtest_readl(t->qts, addr + IOPF_TD_DESC_STATUS);
    }
    g_assert_cmpuint(status, !=, IOPF_TD_ST_NONE);
    return status;
}

static uint32_t ep_run(Test *t, Endpoint *ep, const Desc *d)
{
    return ep_finish(t, ep_start(t, ep, d));
}

/* Translation of one address, always asked of the IOMMU */
typedef struct Translation {
    uint32_t status;
    int32_t ret;
    uint64_t iova, addr, size;
    uint32_t perm;
} Translation;

#define WANT_R  IOPF_TD_F_READ
#define WANT_RW (IOPF_TD_F_READ | IOPF_TD_F_WRITE)

static Translation translate(Test *t, Endpoint *ep, uint32_t pasid,
                             uint64_t iova, uint16_t want)
{
    Desc d = {
        .op = IOPF_TD_OP_TRANSLATE,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = want | IOPF_TD_F_NOLOOKUP | IOPF_TD_F_NOFILL,
        .iova = iova,
        .length = 1,
    };
    Translation tr = {};
    uint64_t rec, desc, addr;

    if (pasid != IOPF_TD_NO_PASID) {
        d.flags |= IOPF_TD_F_PASID;
        d.pasid = pasid;
    }
    if (!(want & IOPF_TD_F_WRITE)) {
        d.flags |= IOPF_TD_F_NW;
    }
    rec = ep->bar2 + IOPF_TD_RAM_DATA;
    qtest_writeq(t->qts, rec, 0);
    qtest_writeq(t->qts, rec + 8, 0);

    desc = ep_start(t, ep, &d);
    tr.status = ep_finish(t, desc);
    tr.ret = qtest_readl(t->qts, desc + IOPF_TD_DESC_RET);
    tr.iova = qtest_readq(t->qts, rec + IOPF_TD_TRREC_IOVA);
    tr.size = 1ULL << (tr.iova & IOPF_TD_TRREC_IOVA_SIZE);
    tr.iova &= ~(uint64_t)IOPF_TD_TRREC_IOVA_SIZE;
    addr = qtest_readq(t->qts, rec + IOPF_TD_TRREC_ADDR);
    tr.perm = addr & 0x3f;
    tr.addr = addr & ~0xfffULL;
    return tr;
}

static void check_translation(Test *t, Endpoint *ep, uint32_t pasid,
                              uint64_t iova, uint16_t want, uint64_t addr,
                              uint64_t size, uint32_t perm)
{
    Translation tr = translate(t, ep, pasid, iova, want);

    g_assert_cmpint(tr.ret, ==, 0);
    g_assert_cmphex(tr.iova, ==, iova & ~(size - 1));
    g_assert_cmphex(tr.size, ==, size);
    g_assert_cmphex(tr.perm, ==, perm);
    if (perm) {
        g_assert_cmphex(tr.addr, ==, addr & ~(size - 1));
    }
}

#define PERM_R  IOPF_TD_TRREC_READ
#define PERM_W  IOPF_TD_TRREC_WRITE
#define PERM_RW (PERM_R | PERM_W)
#define PERM_X  IOPF_TD_TRREC_EXEC
#define PERM_P  IOPF_TD_TRREC_PRIV

#define NOP     IOPF_TD_NO_PASID

static void check_refused(Test *t, Endpoint *ep, uint32_t pasid,
                          uint8_t fault)
{
    Translation tr = translate(t, ep, pasid, IOVA, WANT_RW);
    uint64_t hi;

    g_assert_cmpuint(tr.status, ==, IOPF_TD_ST_TR_ERROR);
    g_assert_cmpint(tr.ret, ==, -EACCES);
    g_assert_cmphex(take_fault(t, &hi), ==, fault);
    /* A translation request of that device */
    g_assert_cmphex(extract64(hi, 60, 2), ==, 1);
    g_assert_cmphex(extract64(hi, 0, 16), ==, rid(ep));
    g_assert_cmphex(extract64(hi, 31, 1), ==, pasid != NOP);
    g_assert_cmphex(extract64(hi, 40, 20), ==, pasid != NOP ? pasid : 0);
}

/* Page requests */

static Desc page_request(uint32_t pasid, uint64_t iova, uint32_t pages,
                         uint16_t want, uint16_t prgi)
{
    Desc d = {
        .op = IOPF_TD_OP_PAGE_REQUEST,
        .flags = want | IOPF_TD_F_PRGI | IOPF_TD_F_GROUP,
        .iova = iova,
        .length = pages * 0x1000,
        .prgi = prgi,
    };

    if (pasid != NOP) {
        d.flags |= IOPF_TD_F_PASID;
        d.pasid = pasid;
    }
    return d;
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
    uint64_t lo = 1 | rid(ep) << 16;

    return pasid == NOP ? lo : lo | 1 << 8 | (uint64_t)pasid << 32;
}

#define PRD_R    1ULL
#define PRD_W    2ULL
#define PRD_LPIG 4ULL

static uint64_t prd_hi(uint64_t iova, uint16_t prgi, uint64_t flags)
{
    return iova | prgi << 3 | flags;
}

static void check_response(Test *t, Endpoint *ep, unsigned int n, uint8_t code,
                           uint16_t prgi, uint32_t pasid, uint32_t count)
{
    uint64_t rec = ep->bar2 + IOPF_TD_RAM_RSPLOG +
                   n * IOPF_TD_LOG_ENTRY_SIZE;

    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_RSPLOG_HEAD), ==, n + 1);
    g_assert_cmphex(qtest_readb(t->qts, rec + IOPF_TD_RSP_CODE), ==, code);
    g_assert_cmpuint(qtest_readw(t->qts, rec + IOPF_TD_RSP_PRGI), ==, prgi);
    g_assert_cmphex(qtest_readl(t->qts, rec + IOPF_TD_RSP_PASID), ==, pasid);
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_RSP_COUNT), ==, count);
}

/* Test cases */

static void test_registers(void)
{
    Test *t = test_start();
    uint64_t ecap = reg_readq(t, DMAR_ECAP_REG);

    g_assert_cmphex(ecap & VTD_ECAP_PRS, ==, VTD_ECAP_PRS);
    g_assert_cmphex(ecap & VTD_ECAP_PDS, ==, VTD_ECAP_PDS);
    g_assert_cmphex(ecap & VTD_ECAP_NWFS, ==, VTD_ECAP_NWFS);
    g_assert_cmphex(ecap & VTD_ECAP_SMPWC, ==, VTD_ECAP_SMPWC);
    g_assert_cmphex(extract64(ecap, 35, 5), ==, VTD_PASID_BITS - 1);
    g_assert_cmphex(ecap & VTD_ECAP_SLTS, ==, VTD_ECAP_SLTS);
    g_assert_cmphex(ecap & VTD_ECAP_FLTS, ==, VTD_ECAP_FLTS);

    reg_writeq(t, DMAR_PQA_REG, UINT64_MAX);
    g_assert_cmphex(reg_readq(t, DMAR_PQA_REG), ==, 0xfffffffffffff007);
    reg_writeq(t, DMAR_PQA_REG, 0);
    reg_writel(t, DMAR_PQA_REG, 0x12345fff);
    reg_writel(t, DMAR_PQA_REG_HI, 0x1);
    g_assert_cmphex(reg_readq(t, DMAR_PQA_REG), ==, 0x112345007);
    reg_writeq(t, DMAR_PQA_REG, 0);

    reg_writeq(t, DMAR_PQH_REG, UINT64_MAX);
    g_assert_cmphex(reg_readq(t, DMAR_PQH_REG), ==, 0x7ffe0);
    reg_writel(t, DMAR_PQT_REG, UINT32_MAX);
    reg_writel(t, DMAR_PQT_REG_HI, UINT32_MAX);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 0x7ffe0);

    /* Masked at reset; IP is not for software to set */
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    reg_writel(t, DMAR_PECTL_REG, UINT32_MAX);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    reg_writel(t, DMAR_PECTL_REG, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, 0);
    reg_writeq(t, DMAR_PECTL_REG, UINT64_MAX);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    g_assert_cmphex(reg_readl(t, DMAR_PEDATA_REG), ==, 0xffff);
    reg_writeq(t, DMAR_PEADDR_REG, UINT64_MAX);
    /* The upper half exists with extended interrupt mode only */
    g_assert_cmphex(reg_readq(t, DMAR_PEADDR_REG), ==, 0xfffffffc);

    reg_writel(t, DMAR_PRS_REG, UINT32_MAX);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, 0);

    /* Registers of 32 bits that a 64-bit access can hit */
    reg_writeq(t, DMAR_FECTL_REG, VTD_FECTL_IM);
    reg_writeq(t, DMAR_IECTL_REG, VTD_IECTL_IM);
    reg_writeq(t, DMAR_IEADDR_REG, 0xfee00000);
    g_assert_cmphex(reg_readl(t, DMAR_IEADDR_REG), ==, 0xfee00000);

    qobject_unref(qtest_qmp(t->qts, "{ 'execute': 'system_reset' }"));
    qtest_qmp_eventwait(t->qts, "RESET");
    g_assert_cmphex(reg_readq(t, DMAR_PQA_REG), ==, 0);
    g_assert_cmphex(reg_readq(t, DMAR_PQH_REG), ==, 0);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    g_assert_cmphex(reg_readl(t, DMAR_PEDATA_REG), ==, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PEADDR_REG), ==, 0);
    test_end(t);
}

/* Nothing of it is there without svm=on */
static void test_no_svm(void)
{
    Test t = {};

    t.qts = qtest_init("-M q35 -m 64 -nodefaults -device intel-iommu,"
                       "x-scalable-mode=on,x-pasid-mode=on,device-iotlb=on");
    g_assert_cmphex(reg_readq(&t, DMAR_ECAP_REG) &
                    (VTD_ECAP_PRS | VTD_ECAP_PDS | VTD_ECAP_NWFS |
                     VTD_ECAP_SMPWC), ==, 0);
    reg_writeq(&t, DMAR_PQA_REG, UINT64_MAX);
    g_assert_cmphex(reg_readq(&t, DMAR_PQA_REG), ==, 0);
    reg_writel(&t, DMAR_PECTL_REG, UINT32_MAX);
    g_assert_cmphex(reg_readl(&t, DMAR_PECTL_REG), ==, 0);

    reg_writeq(&t, DMAR_IQA_REG, IQ | VTD_IQA_DW_MASK);
    reg_writel(&t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    iq_submit_bad(&t, VTD_INV_DESC_PGRP_RESP, 0, 0);
    iq_submit_bad(&t, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_FN |
                  VTD_INV_DESC_WAIT_PD, 0, 0);
    qtest_quit(t.qts);
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

    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    /* Not more than what was asked for */
    check_translation(t, ep, NOP, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    check_translation(t, ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    check_translation(t, ep, NOP, IOVA + 0x2000, WANT_RW, PAGE_C, 0x1000,
                      PERM_W);
    check_translation(t, ep, NOP, IOVA_2M + 0x5678, WANT_RW, PAGE_2M, 0x200000,
                      PERM_RW);
    /* Missing: a page, a table of the level above and of the top */
    check_translation(t, ep, NOP, IOVA + 0x3000, WANT_RW, 0, 0x1000, 0);
    check_translation(t, ep, NOP, IOVA + 0x400000, WANT_RW, 0, 0x200000, 0);
    check_translation(t, ep, NOP, IOVA + (1ULL << 39), WANT_RW, 0, 1ULL << 39,
                      0);
    /* None of that is worth a fault record */
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* These are */
    write_leaf(t, SL_TABLES, IOVA + 0x4000, PAGE_A | PTE_RW | 1ULL << 51);
    check_translation(t, ep, NOP, IOVA + 0x4000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SS_PAGING_ENTRY_RSVD);
    g_assert_cmphex(extract64(hi, 60, 2), ==, 1);
    check_translation(t, ep, NOP, 1ULL << 48, WANT_RW, 0, 0x1000, 0);
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
    check_translation(t, ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    /* ... and no translation of a request without PASID starts there */
    check_translation(t, ep, NOP, 0xfee01000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    /* A page around it is not given out as a whole */
    qtest_writeq(t->qts, SL_TABLES + 0x1000 + 3 * 8,
                 0x40000000ULL | PTE_RW | PTE_PS);
    tr = translate(t, ep, NOP, 0xfec00000, WANT_RW);
    g_assert_cmphex(tr.perm, ==, PERM_RW);
    g_assert_cmphex(tr.iova, ==, 0xfec00000);
    g_assert_cmphex(tr.size, ==, 0x200000);
    g_assert_cmphex(tr.addr, ==, 0x7ec00000);

    /* With PASID it is an address like others */
    qtest_writeq(t->qts, FL_TABLES + 0x1000 + 3 * 8,
                 0x40000000ULL | PTE_FL | PTE_PS);
    check_translation(t, ep, PASID, 0xfee01000, WANT_RW, 0x40000000,
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
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    /* The context cache holds until it is invalidated */
    write_context(t, ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_context(t);
    check_refused(t, ep, NOP, VTD_FR_SM_DTE_CLEAR);
    check_translation(t, &t->ep[1], NOP, IOVA, WANT_RW, PAGE_A, 0x1000,
                      PERM_RW);

    write_context(t, ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PASIDE);
    inv_tables(t);
    check_refused(t, ep, PASID, VTD_FR_SM_PASIDE_CLEAR);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    write_context(t, ep, CONTEXT_FLAGS);
    inv_tables(t);
    /* In the last table of the directory, and beyond what the IOMMU has */
    check_refused(t, ep, 200, VTD_FR_PASID_DIR_ENTRY_P);
    check_refused(t, ep, 256, VTD_FR_SM_PASID_LIMIT);
    check_refused(t, ep, 0xfffff, VTD_FR_SM_PASID_LIMIT);
    check_refused(t, ep, 10, VTD_FR_PASID_ENTRY_P);
    write_pasid_entry(t, 10, 7 << 6 | VTD_PASID_ENTRY_P, DID_FL, 0);
    check_refused(t, ep, 10, VTD_FR_PASID_TABLE_ENTRY_INV);
    write_pasid_entry(t, 10, SL_TABLES | VTD_SM_PASID_ENTRY_SLT | 5 << 2 |
                      VTD_PASID_ENTRY_P, DID_FL, 0);
    check_refused(t, ep, 10, VTD_FR_PASID_TABLE_ENTRY_INV);
    qtest_writeq(t->qts, PASID_DIR, PASID_TABLE | VTD_PASID_DIR_P | 1 << 5);
    check_refused(t, ep, 10, VTD_FR_PASID_DIR_ENTRY_RSVD);
    qtest_writeq(t->qts, PASID_DIR, PASID_TABLE | VTD_PASID_DIR_P);

    write_context(t, ep, 0);
    inv_tables(t);
    check_refused(t, ep, NOP, VTD_FR_SM_CONTEXT_ENTRY_P);
    write_context(t, ep, CONTEXT_FLAGS | 1 << 5);
    check_refused(t, ep, NOP, VTD_FR_SM_CONTEXT_ENTRY_RSVD);
    qtest_writeq(t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P | 1 << 4);
    check_refused(t, ep, NOP, VTD_FR_SM_ROOT_ENTRY_RSVD);
    qtest_writeq(t->qts, ROOT, 0);
    check_refused(t, ep, NOP, VTD_FR_SM_ROOT_ENTRY_P);

    /* Faults can be switched off */
    qtest_writeq(t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    write_context(t, ep, VTD_CONTEXT_ENTRY_P | VTD_CONTEXT_ENTRY_FPD);
    tr = translate(t, ep, NOP, IOVA, WANT_RW);
    g_assert_cmpint(tr.ret, ==, -EACCES);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    test_end(t);
}

static void test_ats_caching(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    /* What is not present is not cached */
    check_translation(t, ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_R);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_R);
    /* Less than what is asked for is walked again, more is not */
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, SL_TABLES, IOVA, PAGE_B | PTE_R);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_iotlb_domain(t, DID_SL + 1);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    inv_iotlb_domain(t, DID_SL);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_R);

    /* Page selective, with a neighbour that stays */
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_C | PTE_RW);
    check_translation(t, ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_C, 0x1000,
                      PERM_RW);
    write_leaf(t, SL_TABLES, IOVA, 0);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, 0);
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_PAGE | DID_SL << 16,
              IOVA);
    check_translation(t, ep, NOP, IOVA, WANT_R, 0, 0x1000, 0);
    check_translation(t, ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_C, 0x1000,
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
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);

    /* Another stage for the PASID: seen after the right invalidation only */
    write_pasid_entry(t, PASID, SL_TABLES | VTD_SM_PASID_ENTRY_SLT | 2 << 2 |
                      VTD_PASID_ENTRY_P, DID_FL, 0);
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, pc | PC_PASID | DID_FL << 16 |
              (PASID + 1ULL) << 32, 0);
    iq_submit(t, pc | PC_DOMAIN | (DID_FL + 1) << 16, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, pc | PC_PASID | DID_FL << 16 |
              (uint64_t)PASID << 32, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);

    /* Pass-through, with the interrupt range left out */
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_PT | VTD_PASID_ENTRY_P,
                      DID_FL, 0);
    iq_submit(t, pc | PC_DOMAIN | DID_FL << 16, 0);
    inv_iotlb_domain(t, DID_FL);
    check_translation(t, ep, PASID, IOVA, WANT_RW, IOVA, 0x1000, PERM_RW);
    check_translation(t, ep, PASID, 0xfee00000, WANT_RW, 0, 0x1000, 0);
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
    check_translation(t, ep, PASID, IOVA, WANT_R, PAGE_A, 0x1000, PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & ad, ==, VTD_FL_A);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & ad, ==, ad);

    /* No write permission, no D */
    check_translation(t, ep, PASID, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA + 0x1000) & ad, ==, VTD_FL_A);

    /* A page of the supervisor */
    check_translation(t, ep, PASID, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA + 0x2000) & ad, ==, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* Privileged requests need SRE, execute permission needs ERE */
    check_translation(t, ep, PASID, IOVA + 0x2000, WANT_RW | IOPF_TD_F_PRIV,
                      0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_PASID_ENTRY_SRE);
    check_translation(t, ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC, PAGE_A,
                      0x1000, PERM_R);
    write_pasid_entry(t, PASID, VTD_SM_PASID_ENTRY_FLT | VTD_PASID_ENTRY_P,
                      DID_FL, FL_TABLES | VTD_SM_PASID_ENTRY_SRE |
                      VTD_SM_PASID_ENTRY_ERE | VTD_SM_PASID_ENTRY_WPE);
    inv_tables(t);
    check_translation(t, ep, PASID, IOVA + 0x2000, WANT_RW | IOPF_TD_F_PRIV,
                      PAGE_C, 0x1000, PERM_RW | PERM_P);
    check_translation(t, ep, PASID, IOVA + 0x1000, WANT_RW | IOPF_TD_F_PRIV,
                      PAGE_B, 0x1000, PERM_R | PERM_P);
    /* What the supervisor got does not leak through the IOTLB */
    check_translation(t, ep, PASID, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    check_translation(t, ep, PASID, IOVA, WANT_R | IOPF_TD_F_EXEC, PAGE_A,
                      0x1000, PERM_R | PERM_X);
    check_translation(t, ep, PASID, IOVA + 0x3000, WANT_R | IOPF_TD_F_EXEC,
                      PAGE_C, 0x1000, PERM_R);

    /* Not canonical */
    check_translation(t, ep, PASID, 1ULL << 47, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_FS_NON_CANONICAL);

    /* Invalidation by PASID with every mask, also ones that CAP.MAMV lacks */
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, IOVA + 0x1000);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, IOVA | 1);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    write_leaf(t, FL_TABLES, IOVA, PAGE_A | PTE_FL);
    iq_submit(t, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_PSI_IN_PASID |
              DID_FL << 16 | (uint64_t)PASID << 32, 52);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    test_end(t);
}

/* Fill the cache of the device by a write of one page */
static void fill_atc(Test *t, Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = iova,
        .length = 0x1000,
    };

    if (pasid != NOP) {
        d.flags |= IOPF_TD_F_PASID;
        d.pasid = pasid;
    }
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
}

static bool in_atc(Test *t, Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    ep_writel(t, ep, IOPF_TD_REG_ATC_PASID, pasid);
    qtest_writeq(t->qts, ep->bar0 + IOPF_TD_REG_ATC_ADDR, iova);
    ep_writel(t, ep, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    return qtest_readq(t->qts, ep->bar0 + IOPF_TD_REG_ATC_RESULT) &
           IOPF_TD_ATC_RESULT_VALID;
}

static void fill_atc_all(Test *t, Endpoint *ep)
{
    int i;

    for (i = 0; i < 4; i++) {
        fill_atc(t, ep, NOP, IOVA + i * 0x1000);
        fill_atc(t, ep, PASID, IOVA + i * 0x1000);
    }
}

/* Bit n of each mask is page n */
static void check_atc(Test *t, Endpoint *ep, unsigned int no_pasid,
                      unsigned int pasid)
{
    int i;

    for (i = 0; i < 4; i++) {
        g_assert_cmpint(in_atc(t, ep, NOP, IOVA + i * 0x1000), ==,
                        no_pasid >> i & 1);
        g_assert_cmpint(in_atc(t, ep, PASID, IOVA + i * 0x1000), ==,
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
    fill_atc_all(t, &t->ep[1]);

    fill_atc_all(t, ep);
    check_atc(t, ep, 0xf, 0xf);
    /* One page, two pages; without PASID it is about all PASIDs */
    inv_dev_tlb(t, ep, IOVA + 0x3000, false);
    check_atc(t, ep, 0x7, 0x7);
    inv_dev_tlb(t, ep, IOVA, true);
    check_atc(t, ep, 0x4, 0x4);
    fill_atc_all(t, ep);
    /* Four pages: bit 12 set, bit 13 clear */
    inv_dev_tlb(t, ep, IOVA + 0x1000, true);
    check_atc(t, ep, 0x0, 0x0);

    fill_atc_all(t, ep);
    inv_dev_tlb_pasid(t, ep, PASID, false, IOVA + 0x2000, false);
    check_atc(t, ep, 0xf, 0xb);
    inv_dev_tlb_pasid(t, ep, PASID + 1, false, INV_ALL, true);
    check_atc(t, ep, 0xf, 0xb);
    /* For all PASIDs: not for requests without */
    inv_dev_tlb_pasid(t, ep, 0, true, IOVA, true);
    check_atc(t, ep, 0xf, 0x8);
    inv_dev_tlb_pasid(t, ep, PASID, false, INV_ALL, true);
    check_atc(t, ep, 0xf, 0x0);

    fill_atc_all(t, ep);
    inv_dev_tlb(t, ep, INV_ALL, true);
    check_atc(t, ep, 0x0, 0x0);
    check_atc(t, &t->ep[1], 0xf, 0xf);

    /* Nobody there */
    iq_submit(t, VTD_INV_DESC_DEVICE | 0x1234ULL << 32, IOVA);
    iq_submit(t, VTD_INV_DESC_DEV_PIOTLB | 0x1234ULL << 16, IOVA);
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
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A), !=, UINT64_MAX);

    /* To interrupts only by untranslated writes */
    d.iova = 0xfee00000;
    d.length = 4;
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_ACCESS_ERROR);

    write_context(t, ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    inv_context(t);
    d.iova = PAGE_B;
    qtest_writeq(t->qts, PAGE_B, UINT64_MAX);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_B), ==, UINT64_MAX);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SM_DTE_CLEAR);
    g_assert_cmphex(extract64(hi, 60, 2), ==, 2);
    test_end(t);
}

static uint32_t fill_untranslated(Test *t, Endpoint *ep, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 8,
    };

    return ep_run(t, ep, &d);
}

static void check_untranslated(Test *t, Endpoint *ep, uint64_t iova,
                               uint64_t addr)
{
    qtest_writeq(t->qts, addr, UINT64_MAX);
    g_assert_cmpuint(fill_untranslated(t, ep, iova), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, addr), !=, UINT64_MAX);
}

static void check_untranslated_fault(Test *t, Endpoint *ep, uint64_t iova,
                                     uint8_t fault)
{
    uint64_t hi;

    g_assert_cmpuint(fill_untranslated(t, ep, iova), ==,
                     IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(take_fault(t, &hi), ==, fault);
    /* An untranslated write without PASID, at that address */
    g_assert_cmphex(extract64(hi, 60, 3), ==, 0);
    g_assert_cmphex(extract64(hi, 31, 1), ==, 0);
    g_assert_cmphex(extract64(hi, 0, 16), ==, rid(ep));
    g_assert_cmphex(reg_readq(t, DMAR_FRCD_REG_0_0), ==, iova & ~0xfffULL);
}

static void test_untranslated_access(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_R);
    write_leaf_2m(t, SL_TABLES, IOVA_2M, PAGE_2M | PTE_RW | PTE_PS);
    check_untranslated(t, ep, IOVA + 8, PAGE_A + 8);
    check_untranslated(t, ep, IOVA_2M + 0x12340, PAGE_2M + 0x12340);
    check_untranslated_fault(t, ep, IOVA + 0x1000, VTD_FR_SS_PAGING_ENTRY_P);
    check_untranslated_fault(t, ep, IOVA + 0x2000, VTD_FR_SS_PAGING_ENTRY_P);
    check_untranslated_fault(t, ep, 1ULL << 48, VTD_FR_SM_ADDR_BEYOND_MGAW);

    /* RID_PASID pointing at first stage tables: a write sets D at last */
    write_pasid_entry(t, 0, VTD_SM_PASID_ENTRY_FLT | VTD_PASID_ENTRY_P,
                      DID_FL, FL_TABLES);
    inv_tables(t);
    write_leaf(t, FL_TABLES, IOVA, PAGE_B | PTE_FL);
    write_leaf(t, FL_TABLES, IOVA + 0x1000, PAGE_B | (PTE_FL & ~VTD_FL_RW));
    check_translation(t, ep, NOP, IOVA, WANT_R, PAGE_B, 0x1000, PERM_R);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & VTD_FL_D, ==, 0);
    check_untranslated(t, ep, IOVA, PAGE_B);
    g_assert_cmphex(read_leaf(t, FL_TABLES, IOVA) & VTD_FL_D, ==, VTD_FL_D);
    check_untranslated_fault(t, ep, IOVA + 0x1000, VTD_FR_SM_WRITE);
    check_untranslated_fault(t, ep, IOVA + 0x2000, VTD_FR_FS_PAGING_ENTRY_P);

    /* Without RID_PASID entry, requests with PASID go on */
    write_pasid_entry(t, 0, 0, 0, 0);
    inv_tables(t);
    check_untranslated_fault(t, ep, IOVA, VTD_FR_PASID_ENTRY_P);
    check_translation(t, ep, PASID, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
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
    check_untranslated(t, ep, PAGE_B, PAGE_B);
    check_untranslated(t, ep, PAGE_B, PAGE_B);
    check_translation(t, ep, NOP, PAGE_B, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    check_translation(t, ep, NOP, 0xfee00000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_INTERRUPT_ADDR);

    write_pasid_entry(t, 0, SL_TABLES | VTD_SM_PASID_ENTRY_SLT | 2 << 2 |
                      VTD_PASID_ENTRY_P, DID_SL, 0);
    inv_pasid_cache(t);
    inv_iotlb_domain(t, DID_SL);
    check_untranslated(t, ep, IOVA, PAGE_A);
    check_untranslated_fault(t, ep, PAGE_B, VTD_FR_SS_PAGING_ENTRY_P);
    test_end(t);
}

static void write_legacy_context(Test *t, Endpoint *ep, uint64_t tt)
{
    uint64_t addr = CONTEXT + ep->devfn * VTD_CTX_ENTRY_LEGACY_SIZE;

    qtest_writeq(t->qts, addr, SL_TABLES | tt | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(t->qts, addr + 8, DID_SL << 8 | 2);
    inv_context(t);
}

static void test_legacy_mode(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 1, WANT_R, 1);
    uint64_t desc;

    reg_writeq(t, DMAR_RTADDR_REG, ROOT);
    reg_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
    qtest_memset(t->qts, CONTEXT, 0, 0x1000);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_R);

    write_legacy_context(t, ep, VTD_CONTEXT_TT_DEV_IOTLB);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    check_translation(t, ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_B, 0x1000,
                      PERM_R);
    check_translation(t, ep, NOP, IOVA + 0x2000, WANT_RW, 0, 0x1000, 0);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);
    check_untranslated(t, ep, IOVA, PAGE_A);
    check_untranslated_fault(t, ep, IOVA + 0x1000, VTD_FR_WRITE);
    check_refused(t, ep, PASID, VTD_FR_TTM_PASID);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EACCES);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_TTM_PAGE_REQ);

    write_legacy_context(t, ep, VTD_CONTEXT_TT_MULTI_LEVEL);
    check_refused(t, ep, NOP, VTD_FR_CONTEXT_ENTRY_TT);
    check_untranslated(t, ep, IOVA, PAGE_A);
    test_end(t);
}

/* While remapping is off there is nothing to translate and nobody to ask */
static void test_disabled(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 1, WANT_R, 1);
    uint64_t desc;

    reg_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    check_translation(t, ep, NOP, PAGE_A, WANT_RW, PAGE_A, 0x1000, PERM_RW);
    check_translation(t, ep, NOP, 0xfee00000, WANT_RW, 0, 0x1000, 0);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EACCES);
    test_end(t);
}

static void test_page_request(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 3, WANT_RW, 17);

    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 3 * 32);
    check_prq(t, 0, prd_lo(ep, NOP), prd_hi(IOVA, 17, PRD_R | PRD_W));
    check_prq(t, 1, prd_lo(ep, NOP), prd_hi(IOVA + 0x1000, 17, PRD_R | PRD_W));
    check_prq(t, 2, prd_lo(ep, NOP),
              prd_hi(IOVA + 0x2000, 17, PRD_R | PRD_W | PRD_LPIG));
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 3);
    page_response(t, ep, NOP, 0, 17);
    check_response(t, ep, 0, 0, 17, NOP, 3);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* From the other device, with PASID, and with the prefix bits */
    d = page_request(PASID, IOVA + 0x7000, 1, WANT_R | IOPF_TD_F_EXEC |
                     IOPF_TD_F_PRIV, 511);
    g_assert_cmpuint(ep_run(t, &t->ep[1], &d), ==, IOPF_TD_ST_OK);
    check_prq(t, 3, prd_lo(&t->ep[1], PASID) | 1ULL << 52 | 1ULL << 53,
              prd_hi(IOVA + 0x7000, 511, PRD_R | PRD_LPIG));
    /* The answer finds its device and PASID */
    page_response(t, ep, PASID, 1, 511);
    page_response(t, &t->ep[1], PASID, 1, 511);
    check_response(t, &t->ep[1], 0, 1, 511, PASID, 1);

    /* The same group index with and without PASID */
    d = page_request(NOP, IOVA, 1, WANT_R, 3);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    d = page_request(PASID, IOVA, 1, WANT_R, 3);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 2);
    page_response(t, ep, PASID, 1, 3);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);
    /* Bit 2 is what it was in older specifications */
    iq_submit(t, VTD_INV_DESC_PGRP_RESP | 1 << 12 | rid(ep) << 16,
              3 << 3 | 1 << 2);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

    /* A stop marker takes a slot and no credit, even without the PASID */
    d = (Desc) {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = 11,
    };
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 7 * 32);
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 6 * 32), ==, prd_lo(ep, 11));
    g_assert_cmphex(qtest_readq(t->qts, PRQ + 6 * 32 + 8) & 7, ==, PRD_LPIG);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* Malformed responses */
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP | 1 << 5 | rid(ep) << 16, 0, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP | 1ULL << 52, 0, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 1, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 1 << 12, 0);
    iq_submit_bad(t, VTD_INV_DESC_PGRP_RESP, 0, 1);
    /* Page stream response is no more */
    iq_submit_bad(t, 0xa, 0, 0);
    /* Nobody there, or no such group: no error of the queue */
    iq_submit(t, VTD_INV_DESC_PGRP_RESP | 0x1234 << 16, 0);
    page_response(t, ep, NOP, 0, 100);
    g_assert_cmphex(cfg_readw(t, ep, ep->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, PCI_PRI_STATUS_UPRGI);
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
        d = page_request(NOP, IOVA, 1, WANT_R, 1);
        g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
        page_response(t, ep, NOP, codes[i], 1);
        check_response(t, ep, 0, IOPF_TD_RSP_CODE_FAILURE, 1, NOP, 1);
        g_assert_cmphex(cfg_readw(t, ep, ep->pri + PCI_PRI_STATUS) &
                        PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
        /* Stopped until the interface is enabled anew */
        g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_RSP_FAILURE);
        test_end(t);
    }
}

static void test_page_request_refused(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 1, WANT_R, 1);
    uint64_t desc, hi;

    write_context(t, ep, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE);
    inv_context(t);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EPERM);
    g_assert_cmphex(take_fault(t, &hi), ==, VTD_FR_SM_PRE_CLEAR);
    g_assert_cmphex(extract64(hi, 28, 1), ==, 1);

    write_context(t, ep, 0);
    inv_context(t);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EACCES);
    g_assert_cmphex(take_fault(t, NULL), ==, VTD_FR_SM_CONTEXT_ENTRY_P);

    /* The queue is not set up */
    write_context(t, ep, CONTEXT_FLAGS);
    inv_context(t);
    reg_writeq(t, DMAR_PQA_REG, 0);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EACCES);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* The queue is not in memory */
    reg_writeq(t, DMAR_PQA_REG, 1ULL << 46);
    desc = ep_start(t, ep, &d);
    g_assert_cmpuint(ep_finish(t, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -EIO);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, 0);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    test_end(t);
}

static void test_event(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 1, WANT_R, 1);

    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    ep_run(t, ep, &d);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    /* Sent when unmasked */
    reg_writel(t, DMAR_PEADDR_REG, 0xfee00000);
    reg_writel(t, DMAR_PEDATA_REG, 0x41);
    reg_writel(t, DMAR_PECTL_REG, 0);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, 0);
    /* Not again while PPR is set */
    d.prgi = 2;
    reg_writel(t, DMAR_PECTL_REG, VTD_PECTL_IM);
    ep_run(t, ep, &d);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
    reg_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, 0);
    d.prgi = 3;
    ep_run(t, ep, &d);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    /* What was pending is not, once software has seen to it */
    reg_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);
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
    uint64_t desc;
    Desc d;

    /* Start near the end, so that the tail has to wrap */
    reg_writeq(t, DMAR_PQH_REG, head);
    reg_writeq(t, DMAR_PQT_REG, head);

    d = page_request(NOP, IOVA, PRQ_ENTRIES - 1, WANT_R, 1);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, head - 32);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    check_prq(t, PRQ_ENTRIES - 4, prd_lo(ep, NOP), prd_hi(IOVA, 1, PRD_R));
    check_prq(t, 2 * PRQ_ENTRIES - 6, prd_lo(ep, NOP),
              prd_hi(IOVA + (PRQ_ENTRIES - 2) * 0x1000, 1, PRD_R | PRD_LPIG));

    /* One more does not fit */
    reg_writel(t, DMAR_PRS_REG, VTD_PRS_PPR);
    d = page_request(NOP, IOVA, 1, WANT_R, 2);
    desc = ep_start(t, ep, &d);
    ep_finish(t, desc);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -ENOSPC);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PRO);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==,
                    VTD_PECTL_IM | VTD_PECTL_IP);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, head - 32);

    /* Nothing is queued until software clears PRO, room or not */
    reg_writeq(t, DMAR_PQH_REG, head - 32);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_CNT_PR_FULL), ==, 1);
    desc = ep_start(t, ep, &d);
    ep_finish(t, desc);
    g_assert_cmpint((int32_t)qtest_readl(t->qts, desc + IOPF_TD_DESC_RET), ==,
                    -ENOSPC);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, head - 32);
    reg_writel(t, DMAR_PRS_REG, VTD_PRS_PRO);
    g_assert_cmphex(reg_readl(t, DMAR_PECTL_REG), ==, VTD_PECTL_IM);

    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, head);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, VTD_PRS_PPR);
    check_prq(t, PRQ_ENTRIES - 5, prd_lo(ep, NOP),
              prd_hi(IOVA, 2, PRD_R | PRD_LPIG));
    page_response(t, ep, NOP, 0, 1);
    page_response(t, ep, NOP, 0, 2);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    test_end(t);
}

/* A page request drops the page from the IOTLB, and only that page */
static void test_implicit_invalidation(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 1, WANT_RW, 1);
    int i;

    for (i = 0; i < 2; i++) {
        write_leaf(t, SL_TABLES, IOVA + i * 0x1000, PAGE_A | PTE_RW);
        check_translation(t, ep, NOP, IOVA + i * 0x1000, WANT_RW, PAGE_A,
                          0x1000, PERM_RW);
        write_leaf(t, SL_TABLES, IOVA + i * 0x1000, PAGE_B | PTE_RW);
        check_translation(t, ep, NOP, IOVA + i * 0x1000, WANT_RW, PAGE_A,
                          0x1000, PERM_RW);
    }
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    check_translation(t, ep, NOP, IOVA, WANT_RW, PAGE_B, 0x1000, PERM_RW);
    check_translation(t, ep, NOP, IOVA + 0x1000, WANT_RW, PAGE_A, 0x1000,
                      PERM_RW);
    test_end(t);
}

/* The whole way: miss, page request, page mapped, response, transfer done */
static void test_demand_paging(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_AUTO,
        .iova = IOVA + 0x800,
        .length = 0x1000,
    };
    uint64_t desc, q1;

    qtest_writeq(t->qts, PAGE_A + 0x800, UINT64_MAX);
    qtest_writeq(t->qts, PAGE_B, UINT64_MAX);
    /* The first page is read only, which is what the IOTLB knows */
    write_leaf(t, SL_TABLES, IOVA, PAGE_C | PTE_R);
    check_translation(t, ep, NOP, IOVA, WANT_R, PAGE_C, 0x1000, PERM_R);

    desc = ep_start(t, ep, &d);
    qtest_clock_step(t->qts, 1000000);
    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 32);
    q1 = qtest_readq(t->qts, PRQ + 8);
    g_assert_cmphex(q1 & ~0xfffULL, ==, IOVA);
    g_assert_cmphex(q1 & (PRD_W | PRD_LPIG), ==, PRD_W | PRD_LPIG);
    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    page_response(t, ep, NOP, 0, extract64(q1, 3, 9));
    qtest_clock_step(t->qts, 1000000);

    g_assert_cmphex(reg_readq(t, DMAR_PQT_REG), ==, 64);
    q1 = qtest_readq(t->qts, PRQ + 32 + 8);
    g_assert_cmphex(q1 & ~0xfffULL, ==, IOVA + 0x1000);
    write_leaf(t, SL_TABLES, IOVA + 0x1000, PAGE_B | PTE_RW);
    page_response(t, ep, NOP, 0, extract64(q1, 3, 9));

    g_assert_cmpuint(ep_finish(t, desc), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_A + 0x800), !=, UINT64_MAX);
    g_assert_cmphex(qtest_readq(t->qts, PAGE_B), !=, UINT64_MAX);
    g_assert_cmphex(take_fault(t, NULL), ==, 0);

    /* And one that is refused */
    d.iova = IOVA + 0x5000;
    desc = ep_start(t, ep, &d);
    qtest_clock_step(t->qts, 1000000);
    q1 = qtest_readq(t->qts, PRQ + 64 + 8);
    page_response(t, ep, NOP, 1, extract64(q1, 3, 9));
    g_assert_cmpuint(ep_finish(t, desc), ==, IOPF_TD_ST_RSP_INVALID);
    test_end(t);
}

/* Reset with everything under way; then it works again */
static void test_reset(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];
    Desc d = page_request(NOP, IOVA, 8, WANT_RW, 5);
    int i;

    write_leaf(t, SL_TABLES, IOVA, PAGE_A | PTE_RW);
    fill_atc(t, ep, NOP, IOVA);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);

    qobject_unref(qtest_qmp(t->qts, "{ 'execute': 'system_reset' }"));
    qtest_qmp_eventwait(t->qts, "RESET");

    qtest_outl(t->qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(t->qts, 0xcfc, MMCFG_BASE | 1);
    for (i = 0; i < 2; i++) {
        ep_enable_pci(t, &t->ep[i]);
    }
    start_iommu(t);
    g_assert_cmphex(reg_readl(t, DMAR_PRS_REG), ==, 0);
    g_assert_cmpuint(ep_readl(t, ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert(!in_atc(t, ep, NOP, IOVA));
    check_translation(t, ep, NOP, IOVA, WANT_RW, 0, 0x1000, 0);
    g_assert_cmpuint(ep_run(t, ep, &d), ==, IOPF_TD_ST_OK);
    page_response(t, ep, NOP, 0, 5);
    check_response(t, ep, 0, 0, 5, NOP, 8);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/intel-iommu/prq/registers", test_registers);
    qtest_add_func("/q35/intel-iommu/prq/no-svm", test_no_svm);
    qtest_add_func("/q35/intel-iommu/ats/second-stage", test_ats_second_stage);
    qtest_add_func("/q35/intel-iommu/ats/first-stage", test_ats_first_stage);
    qtest_add_func("/q35/intel-iommu/ats/interrupt-range",
                   test_ats_interrupt_range);
    qtest_add_func("/q35/intel-iommu/ats/refused", test_ats_refused);
    qtest_add_func("/q35/intel-iommu/ats/caching", test_ats_caching);
    qtest_add_func("/q35/intel-iommu/ats/pasid-cache", test_pasid_cache);
    qtest_add_func("/q35/intel-iommu/ats/device-tlb", test_device_tlb);
    qtest_add_func("/q35/intel-iommu/ats/translated-access",
                   test_translated_access);
    qtest_add_func("/q35/intel-iommu/ats/untranslated-access",
                   test_untranslated_access);
    qtest_add_func("/q35/intel-iommu/ats/pass-through", test_pass_through);
    qtest_add_func("/q35/intel-iommu/ats/legacy-mode", test_legacy_mode);
    qtest_add_func("/q35/intel-iommu/ats/disabled", test_disabled);
    qtest_add_func("/q35/intel-iommu/prq/request", test_page_request);
    qtest_add_func("/q35/intel-iommu/prq/response-failure",
                   test_response_failure);
    qtest_add_func("/q35/intel-iommu/prq/refused", test_page_request_refused);
    qtest_add_func("/q35/intel-iommu/prq/event", test_event);
    qtest_add_func("/q35/intel-iommu/prq/wait", test_wait_descriptor);
    qtest_add_func("/q35/intel-iommu/prq/overflow", test_overflow);
    qtest_add_func("/q35/intel-iommu/prq/implicit-invalidation",
                   test_implicit_invalidation);
    qtest_add_func("/q35/intel-iommu/prq/demand-paging", test_demand_paging);
    qtest_add_func("/q35/intel-iommu/prq/reset", test_reset);

    return g_test_run();
}

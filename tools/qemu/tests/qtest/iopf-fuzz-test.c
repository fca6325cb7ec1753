/*
 * Anything anywhere, on intel-iommu and on three iopf-testdev functions
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Software that does not know what it is doing, or means ill: tables, queues,
 * registers, descriptors and configuration space are written at random, near
 * enough to what makes sense that the models get far.  QEMU has to survive,
 * and everything has to work after a reset.
 *
 * IOPF_FUZZ_STEPS and IOPF_FUZZ_SEED in the environment are for longer runs.
 * The same seed does the same again.  IOPF_FUZZ_IOMMU has further properties of
 * the IOMMU in scalable mode, each with a comma before it.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "iopf-vtd-qtest.h"

#define STEPS_DEFAULT   1500
#define SEED_DEFAULT    0x1234

/* Steps after which there are good tables and running devices again */
#define STEPS_REPAIR    40

/* PASIDs with good entries: first and second stage, and one with both */
#define PASIDS          5

#define ROOT_PORT       (6 << 3)
#define MEMORY_END      (64ULL * 1024 * 1024)
#define TABLES_END      IQ

/* One on the root complex, one that comes and goes, a VF of the first */
#define FUNCTIONS       3

typedef struct Fuzz {
    Test *t;
    Endpoint vf;
    GRand *rand;
    bool scalable;
    unsigned plugged;       /* counts the devices at the root port */
    uint32_t gcmd;
} Fuzz;

/* Below n */
static uint32_t pick(Fuzz *f, uint32_t n)
{
    return g_rand_int_range(f->rand, 0, n);
}

static uint64_t random64(Fuzz *f)
{
    return (uint64_t)g_rand_int(f->rand) << 32 | g_rand_int(f->rand);
}

static Endpoint *endpoint(Fuzz *f, unsigned n)
{
    return n < 2 ? &f->t->ep[n] : &f->vf;
}

static Endpoint *pick_endpoint(Fuzz *f)
{
    return endpoint(f, pick(f, FUNCTIONS));
}

static uint32_t pick_pasid(Fuzz *f)
{
    switch (pick(f, 4)) {
    case 0:
        return pick(f, 300);
    case 1:
        return NOP;
    default:
        return pick(f, PASIDS);
    }
}

/* A page that means something to somebody, most of the time */
static uint64_t pick_page(Fuzz *f)
{
    switch (pick(f, 8)) {
    case 0:
        return random64(f) & ~(PAGE - 1);
    case 1:
        return 0xfee00000;
    case 2:
        return MEMORY_END - PAGE;
    case 3:
        return DATA + pick(f, 512) * PAGE;
    default:
        return ROOT + pick(f, (TABLES_END - ROOT) / PAGE) * PAGE;
    }
}

static uint64_t pick_iova(Fuzz *f)
{
    switch (pick(f, 24)) {
    case 0:
        return random64(f);
    case 1:
        return 0xfee00000 + pick(f, 0x100000) - 0x8000;
    case 2:
        return pick(f, 2) ? 0 : UINT64_MAX - pick(f, 0x3000);
    case 3:
        return (1ULL << (pick(f, 18) + 38)) - pick(f, 0x3000);
    default:
        return IOVA + pick(f, 600) * PAGE + pick(f, PAGE);
    }
}

/* One bit changed now and then, or some more */
static uint64_t disturb(Fuzz *f, uint64_t val)
{
    while (!pick(f, 12)) {
        val ^= 1ULL << pick(f, 64);
    }
    return val;
}

static void write_words(Fuzz *f, uint64_t addr, const uint64_t *words,
                        unsigned n)
{
    g_autofree uint64_t *le = g_new(uint64_t, n);
    unsigned i;

    for (i = 0; i < n; i++) {
        le[i] = cpu_to_le64(words[i]);
    }
    qtest_memwrite(f->t->qts, addr, le, n * 8);
}

/*
 * VT-d
 */

static uint64_t pick_register_value(Fuzz *f)
{
    switch (pick(f, 6)) {
    case 0:
        return random64(f);
    case 1:
        return UINT64_MAX;
    case 2:
        return pick(f, 16);
    case 3:
        return 1ULL << pick(f, 64);
    default:
        return pick_page(f) | pick(f, PAGE);
    }
}

static void fuzz_vtd_register(Fuzz *f)
{
    uint32_t reg = pick(f, (DMAR_REG_SIZE + 16) / 4) * 4;
    uint64_t val = pick_register_value(f);

    switch (pick(f, 5)) {
    case 0:
        vtd_readl(f->t, reg);
        break;
    case 1:
        vtd_readq(f->t, reg);
        break;
    case 2:
        vtd_writeq(f->t, reg, val);
        break;
    default:
        vtd_writel(f->t, reg, val);
    }
}

/* The registers where things begin */
static void fuzz_vtd_command(Fuzz *f)
{
    static const uint32_t bits[] = {
        VTD_GCMD_TE, VTD_GCMD_QIE, VTD_GCMD_IRE, VTD_GCMD_SRTP,
        VTD_GCMD_SIRTP, VTD_GCMD_CFI, VTD_GCMD_WBF,
    };

    switch (pick(f, 8)) {
    case 0:
        vtd_writeq(f->t, DMAR_RTADDR_REG, disturb(f, ROOT |
                   (f->scalable ? VTD_RTADDR_SMT : 0)));
        break;
    case 1:
        vtd_writeq(f->t, DMAR_IQA_REG, disturb(f, IQ | pick(f, 3) |
                   (pick(f, 4) ? VTD_IQA_DW_MASK : 0)));
        break;
    case 2:
        vtd_writeq(f->t, DMAR_PQA_REG, disturb(f, PRQ | pick(f, 5)));
        break;
    case 3:
        vtd_writeq(f->t, pick(f, 2) ? DMAR_CCMD_REG : DMAR_IOTLB_REG,
                   random64(f) | 1ULL << 63);
        break;
    case 4:
        vtd_writeq(f->t, DMAR_IRTA_REG, disturb(f, DATA | pick(f, 8)));
        break;
    default:
        f->gcmd ^= bits[pick(f, ARRAY_SIZE(bits))];
        vtd_writel(f->t, DMAR_GCMD_REG, f->gcmd);
    }
}

static uint64_t pick_table_entry(Fuzz *f)
{
    static const uint64_t flags[] = {
        1, PTE_R, PTE_W, PTE_RW, PTE_FL, PTE_RW | PTE_PS, PTE_FL | PTE_PS,
        CONTEXT_FLAGS, VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_SLT | AW_4_LEVELS,
        VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_FLT,
        VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_PT,
        VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_NESTED | AW_4_LEVELS,
        0,
    };

    return disturb(f, pick_page(f) | flags[pick(f, ARRAY_SIZE(flags))]);
}

/* Leaves most of the time, or what is above those in use, or any other */
static uint64_t pick_table_slot(Fuzz *f)
{
    uint64_t tables = pick(f, 2) ? SL_TABLES : FL_TABLES;
    const uint64_t slots[] = {
        ROOT + pick(f, 4) * 8,
        CONTEXT + (pick_endpoint(f)->bdf & 0xff) * 32 + pick(f, 4) * 8,
        PASID_DIR + pick(f, 4) * 8,
        PASID_TABLES + pick(f, 4) * VTD_PASID_ENTRY_SIZE + pick(f, 8) * 8,
        tables + pick(f, 4 * 512) * 8,
        ROOT + pick(f, (TABLES_END - ROOT) / 8) * 8,
    };

    if (pick(f, 8)) {
        return leaf_addr(tables, IOVA + pick(f, 64) * PAGE);
    }
    return slots[pick(f, ARRAY_SIZE(slots))];
}

static void fuzz_tables(Fuzz *f)
{
    int i;

    for (i = 0; i < 4; i++) {
        qtest_writeq(f->t->qts, pick_table_slot(f), pick_table_entry(f));
    }
}

/* What makes the caches forget it */
static void fuzz_flush(Fuzz *f)
{
    static const uint64_t all[][2] = {
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL },
        { VTD_INV_DESC_PC | PC_GLOBAL },
        { VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL },
        { VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW, STATUS_WORD },
    };
    uint64_t head = vtd_readq(f->t, DMAR_IQH_REG) & 0x7fff0;
    int i;

    for (i = f->scalable ? 0 : 2; i < ARRAY_SIZE(all); i++) {
        uint64_t q[4] = { all[i][0], all[i][1] };
        unsigned size = f->scalable ? 32 : 16;

        write_words(f, IQ + head % (4 * PAGE), q, size / 8);
        head += size;
    }
    vtd_writel(f->t, DMAR_IQT_REG, head);
}

static uint64_t pick_rid(Fuzz *f)
{
    return pick(f, 8) ? pick_endpoint(f)->bdf : g_rand_int(f->rand) & 0xffff;
}

/* A descriptor of that type with fields that are its own, more or less */
static void pick_descriptor(Fuzz *f, unsigned type, uint64_t *q)
{
    uint64_t pasid = pick_pasid(f) & 0xfffff;
    uint64_t did = pick(f, 8);

    q[0] = type | pick(f, 4) << 4;
    q[1] = pick_iova(f) & ~(PAGE - 1);
    switch (type) {
    case VTD_INV_DESC_CC:
        q[0] |= did << 16 | pick_rid(f) << 32 | (uint64_t)pick(f, 4) << 48;
        break;
    case VTD_INV_DESC_IOTLB:
        q[0] |= did << 16 | pick(f, 4) << 6;
        q[1] |= pick(f, 64);
        break;
    case VTD_INV_DESC_DEVICE:
        q[0] = type | pick_rid(f) << 32;
        q[1] |= pick(f, 2);
        break;
    case VTD_INV_DESC_WAIT:
        q[0] |= (uint64_t)pick(f, 16) << 4 | random64(f) << 32;
        q[1] = STATUS_WORD;
        break;
    case VTD_INV_DESC_PIOTLB:
        q[0] |= did << 16 | pasid << 32;
        q[1] |= pick(f, 64);
        break;
    case VTD_INV_DESC_PC:
        q[0] |= did << 16 | pasid << 32;
        q[1] = 0;
        break;
    case VTD_INV_DESC_DEV_PIOTLB:
        q[0] = type | pick_rid(f) << 16 | pasid << 32;
        q[1] |= pick(f, 2) << 11 | pick(f, 2);
        break;
    case VTD_INV_DESC_PGRP_RESP:
        q[0] = type | pick(f, 2) << 4 | pick(f, 3) << 12 | pick_rid(f) << 16 |
               pasid << 32;
        q[1] = pick(f, 512) << 3;
        break;
    }
    q[0] = disturb(f, q[0]);
    q[1] = disturb(f, q[1]);
}

/*
 * Where the queue is, and how wide its entries are, changes under way: so put
 * it where the head is, or where it would be with the other width
 */
static void fuzz_invalidation(Fuzz *f)
{
    uint64_t head = vtd_readq(f->t, DMAR_IQH_REG) & 0x7fff0;
    unsigned i, n = pick(f, 3) + 1;
    bool wide = f->scalable != !pick(f, 16);

    for (i = 0; i < n; i++) {
        unsigned size = wide ? 32 : 16;
        uint64_t addr = IQ + (head + i * size) % (4 * PAGE);
        uint64_t q[4] = {};

        pick_descriptor(f, pick(f, 16) ? pick(f, 9) + 1 : pick(f, 16), q);
        if (!pick(f, 64)) {
            q[2] = random64(f);
        }
        write_words(f, addr, q, size / 8);
        head += size;
    }
    vtd_writel(f->t, DMAR_IQT_REG, pick(f, 16) ? head : g_rand_int(f->rand));
    if (pick(f, 8)) {
        vtd_writel(f->t, DMAR_FSTS_REG, UINT32_MAX);
    }
}

/* Some order in the page request queue, and an answer to what is in it */
static void fuzz_page_requests(Fuzz *f)
{
    static const uint8_t codes[] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 0xf };
    uint64_t tail = vtd_readq(f->t, DMAR_PQT_REG) & 0xffe0;
    uint64_t addr = PRQ + (tail - 32 * (pick(f, 3) + 1)) % (16 * PAGE);
    uint64_t q[4] = { qtest_readq(f->t->qts, addr),
                      qtest_readq(f->t->qts, addr + 8) };
    uint64_t head = vtd_readq(f->t, DMAR_IQH_REG) & 0x7ffe0;

    q[0] = VTD_INV_DESC_PGRP_RESP | (q[0] & 0xfffffffff0000ULL) |
           extract64(q[0], 8, 1) << 4 |
           (uint64_t)codes[pick(f, ARRAY_SIZE(codes))] << 12;
    q[1] &= 0xff8;
    q[2] = q[3] = 0;
    write_words(f, IQ + head % (4 * PAGE), q, ARRAY_SIZE(q));
    vtd_writel(f->t, DMAR_IQT_REG, head + 32);
    vtd_writel(f->t, DMAR_PQH_REG, pick(f, 8) ? tail : g_rand_int(f->rand));
    vtd_writel(f->t, DMAR_PRS_REG, 3);
    vtd_writel(f->t, DMAR_PECTL_REG, pick(f, 2) ? VTD_PECTL_IM : 0);
}

/*
 * Endpoint
 */

static void fuzz_register(Fuzz *f)
{
    Endpoint *ep = pick_endpoint(f);
    uint32_t reg = pick(f, 0x190 / 4) * 4;
    uint32_t val = g_rand_int(f->rand);

    /* Small values reach more than large ones */
    if (pick(f, 2)) {
        val &= 0x3f;
    }
    switch (pick(f, 8)) {
    case 0:
        ep_readl(ep, reg);
        break;
    case 1:
        ep_writeq(ep, reg & ~4, pick_iova(f));
        break;
    default:
        ep_writel(ep, reg, val);
    }
}

static void fuzz_descriptor(Fuzz *f)
{
    Endpoint *ep = pick_endpoint(f);
    Desc d = {
        .op = pick(f, IOPF_TD_OP_MAX + 2),
        .mode = pick(f, IOPF_TD_MODE_MAX + 1),
        .flags = g_rand_int(f->rand) & IOPF_TD_F_ALL & ~IOPF_TD_F_ORDERED,
        .pasid = pick_pasid(f),
        .iova = pick_iova(f),
        .length = pick(f, 64 * PAGE),
        .ram = pick(f, 5 * 1024 * 1024),
        .data = g_rand_int(f->rand),
        .prgi = pick(f, 600),
        .delay = pick(f, 4),
    };

    if (pick(f, 4)) {
        /* One that the device can make sense of */
        d.op = pick(f, IOPF_TD_OP_PAGE_REQUEST) + 1;
        d.mode = pick(f, 8) ? IOPF_TD_MODE_AUTO : d.mode;
        d.flags &= g_rand_int(f->rand) & ~(IOPF_TD_F_PRIV | IOPF_TD_F_EXEC |
                                           IOPF_TD_F_PASID);
        d.flags |= IOPF_TD_F_READ;
        d.ram %= 1024 * 1024;
        d.prgi %= 512;
        d.length = pick(f, 2) ? 8 : d.length;
        d.iova &= ~7ULL;
        d = with_pasid(d, d.pasid);
    }
    ep_start(ep, &d);
}

static void fuzz_config(Fuzz *f)
{
    Endpoint *ep = pick_endpoint(f);
    const uint16_t regs[] = {
        ep->ats + PCI_ATS_CTRL, ep->pri + PCI_PRI_CTRL,
        ep->pri + PCI_PRI_STATUS, ep->pasid + PCI_PASID_CTRL,
        ep->pri + PCI_PRI_ALLOC_REQ, PCI_COMMAND,
        ep->exp + PCI_EXP_DEVCTL, PCI_BASE_ADDRESS_0,
        ep->sriov + PCI_SRIOV_CTRL, ep->sriov + PCI_SRIOV_NUM_VF,
    };

    if (pick(f, 4)) {
        ep_enable(ep, pick(f, 100));
    } else if (pick(f, 4)) {
        cfg_writew(ep, regs[pick(f, ARRAY_SIZE(regs))], g_rand_int(f->rand));
    } else {
        cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    }
}

static void fuzz_map(Fuzz *f, Endpoint *ep)
{
    if (ep == &f->vf) {
        enable_vfs(&f->t->ep[0], &f->vf, 1, 3);
    } else {
        ep_map(ep);
    }
}

static void fuzz_start(Fuzz *f, Endpoint *ep)
{
    fuzz_map(f, ep);
    ep_enable(ep, pick(f, 100));
    ep_start_ring(ep, pick(f, 10) + 1, pick(f, 20) + 1);
}

/*
 * Life and death
 */

static void fuzz_leaves_good(Fuzz *f)
{
    uint64_t sl[512] = {}, fl[512] = {};
    int i;

    for (i = 0; i < 512; i += 1 + pick(f, 3)) {
        sl[i] = (DATA + i * PAGE) | PTE_RW;
        fl[i] = (DATA + i * PAGE) | PTE_FL;
    }
    write_words(f, leaf_addr(SL_TABLES, IOVA), sl, ARRAY_SIZE(sl));
    write_words(f, leaf_addr(FL_TABLES, IOVA), fl, ARRAY_SIZE(fl));
}

static void fuzz_tables_good(Fuzz *f)
{
    Test *t = f->t;
    int i;

    clear_tables(t);
    for (i = 0; i < FUNCTIONS; i++) {
        write_context(endpoint(f, i), CONTEXT_FLAGS);
    }
    for (i = 0; i < PASIDS - 1; i++) {
        if (i % 2) {
            write_pasid_fl(t, i, i, FL_TABLES, 0);
        } else {
            write_pasid_sl(t, i, i, SL_TABLES);
        }
    }
    write_pasid_entry(t, i, SL_TABLES | VTD_SM_PASID_ENTRY_NESTED |
                      AW_4_LEVELS | VTD_PASID_ENTRY_P, i, FL_TABLES);
    write_paging(t, SL_TABLES, PTE_RW);
    write_paging(t, FL_TABLES, PTE_FL);
    /* The first stage tables, and what they lead to, for the second stage */
    qtest_writeq(t->qts, SL_TABLES + PAGE, PTE_RW | PTE_PS);
    fuzz_leaves_good(f);
}

static void fuzz_repair(Fuzz *f)
{
    int i;

    fuzz_tables_good(f);
    if (!f->scalable) {
        /* Not what legacy mode has, but nearly */
        qtest_writeq(f->t->qts, CONTEXT + f->t->ep[0].bdf * 16,
                     SL_TABLES | VTD_CONTEXT_TT_DEV_IOTLB | 1);
        qtest_writeq(f->t->qts, CONTEXT + f->t->ep[0].bdf * 16 + 8, 2);
    }
    vtd_writeq(f->t, DMAR_RTADDR_REG, ROOT |
               (f->scalable ? VTD_RTADDR_SMT : 0));
    vtd_writeq(f->t, DMAR_IQA_REG, IQ |
               (f->scalable ? VTD_IQA_DW_MASK : 0));
    vtd_writeq(f->t, DMAR_PQA_REG, PRQ | PRQ_ORDER_MAX);
    f->gcmd = VTD_GCMD_QIE | VTD_GCMD_TE;
    vtd_writel(f->t, DMAR_GCMD_REG, f->gcmd | VTD_GCMD_SRTP);
    vtd_writel(f->t, DMAR_FSTS_REG, UINT32_MAX);
    vtd_writel(f->t, DMAR_FRCD_REG_0_3, UINT32_MAX);
    for (i = 0; i < FUNCTIONS; i++) {
        fuzz_start(f, endpoint(f, i));
    }
}

/* What firmware does */
static void fuzz_boot(Fuzz *f)
{
    int i;

    enable_mmcfg(f->t->qts);
    enable_root_port(&f->t->ep[1], ROOT_PORT);
    for (i = 0; i < FUNCTIONS; i++) {
        fuzz_map(f, endpoint(f, i));
    }
    f->gcmd = 0;
}

static void fuzz_reset(Fuzz *f)
{
    qtest_system_reset(f->t->qts);
    fuzz_boot(f);
}

static void fuzz_unplug(Fuzz *f)
{
    g_autofree char *old = g_strdup_printf("td%u", f->plugged);
    g_autofree char *new = g_strdup_printf("td%u", f->plugged + 1);

    qtest_qmp_device_del_send(f->t->qts, old);
    eject_root_port(f->t->qts);
    qtest_qmp_eventwait(f->t->qts, "DEVICE_DELETED");
    if (pick(f, 2)) {
        /* Requests for what is not there */
        fuzz_invalidation(f);
        fuzz_page_requests(f);
    }
    qtest_qmp_device_add(f->t->qts, "iopf-testdev", new, "{'bus': 'rp1'}");
    f->plugged++;
    ep_map(&f->t->ep[1]);
}

static void fuzz_step(Fuzz *f)
{
    switch (pick(f, 1000)) {
    case 0 ... 39:
        fuzz_vtd_register(f);
        break;
    case 40 ... 59:
        fuzz_vtd_command(f);
        break;
    case 60 ... 159:
        fuzz_tables(f);
        break;
    case 160 ... 199:
        fuzz_flush(f);
        break;
    case 200 ... 399:
        fuzz_invalidation(f);
        break;
    case 400 ... 549:
        fuzz_page_requests(f);
        break;
    case 550 ... 579:
        fuzz_register(f);
        break;
    case 580 ... 919:
        fuzz_descriptor(f);
        break;
    case 920 ... 939:
        fuzz_config(f);
        break;
    case 940 ... 989:
        qtest_clock_step(f->t->qts, pick(f, 10000000));
        break;
    case 990:
        fuzz_reset(f);
        break;
    case 991:
        fuzz_unplug(f);
        break;
    default:
        fuzz_start(f, pick_endpoint(f));
    }
}

/* From reset on, the way a driver does it: a fault that gets its page */
static void check_fault(Fuzz *f, Endpoint *ep, uint32_t pasid)
{
    Desc d = with_pasid((Desc) { .op = IOPF_TD_OP_FILL, .iova = IOVA,
                                 .length = PAGE, .data = 99 }, pasid);
    uint64_t desc = ep_start(ep, &d);
    uint16_t prgi;

    check_request(ep, IOVA, pasid, true, true, true, &prgi);
    write_leaf(f->t, SL_TABLES, IOVA, DATA | PTE_RW);
    page_response(ep, pasid, 0, prgi);
    g_assert_cmpuint(ep_finish(ep, desc), ==, IOPF_TD_ST_OK);
    check_pattern(f->t->qts, DATA, 99, PAGE);

    write_leaf(f->t, SL_TABLES, IOVA, 0);
    inv_iotlb(f->t);
    inv_dev_tlb(ep, IOVA, false);
}

static void check_works(Fuzz *f)
{
    int i;

    fuzz_reset(f);
    clear_tables(f->t);
    write_pasid_sl(f->t, 0, 1, SL_TABLES);
    write_pasid_sl(f->t, 3, 1, SL_TABLES);
    write_paging(f->t, SL_TABLES, PTE_RW);
    qtest_memset(f->t->qts, DATA, 0, PAGE);
    for (i = 0; i < FUNCTIONS; i++) {
        write_context(endpoint(f, i), CONTEXT_FLAGS);
    }
    start_vtd(f->t, 0);
    for (i = 0; i < FUNCTIONS; i++) {
        Endpoint *ep = endpoint(f, i);

        ep_enable(ep, 32);
        ep_start_ring(ep, 8, 1);
        check_fault(f, ep, NOP);
        check_fault(f, ep, 3);
    }
    g_assert_cmphex(take_fault(f->t, NULL), ==, 0);
}

/* The same in legacy mode, where there are no faults */
static void check_works_legacy(Fuzz *f)
{
    Endpoint *ep = &f->t->ep[0];
    uint64_t context = CONTEXT + ep->bdf * VTD_CTX_ENTRY_LEGACY_SIZE;

    fuzz_reset(f);
    clear_tables(f->t);
    qtest_writeq(f->t->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    qtest_writeq(f->t->qts, context,
                 SL_TABLES | VTD_CONTEXT_TT_DEV_IOTLB | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(f->t->qts, context + 8, 1 << 8 | 2);
    write_paging(f->t, SL_TABLES, PTE_RW);
    write_leaf(f->t, SL_TABLES, IOVA, DATA | PTE_RW);
    vtd_writeq(f->t, DMAR_RTADDR_REG, ROOT);
    vtd_writel(f->t, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    vtd_writel(f->t, DMAR_GCMD_REG, VTD_GCMD_TE);
    ep_enable(ep, 32);
    ep_start_ring(ep, 8, 1);
    fill_atc(ep, NOP, IOVA);
    check_pattern(f->t->qts, DATA, 0, PAGE);
    g_assert_cmphex(take_fault(f->t, NULL), ==, 0);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *val = g_getenv(name);

    return val ? g_ascii_strtoull(val, NULL, 0) : otherwise;
}

static void fuzz(const char *iommu, bool scalable)
{
    uint64_t steps = from_environment("IOPF_FUZZ_STEPS", STEPS_DEFAULT);
    uint64_t seed = from_environment("IOPF_FUZZ_SEED", SEED_DEFAULT);
    g_autofree char *args =
        g_strdup_printf("%s -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,"
                        "atc-entries=16,sriov-vfs=1 "
                        "-device pcie-root-port,id=rp1,addr=6.0 "
                        "-device iopf-testdev,bus=rp1,id=td0", iommu);
    Test t = { .qts = qtest_init(args) };
    Fuzz f = { .t = &t, .scalable = scalable,
               .rand = g_rand_new_with_seed(seed) };
    uint64_t i;

    ep_init(&t.ep[0], &t, 4 << 3, 0);
    ep_init(&t.ep[1], &t, 1 << 8, 1);
    fuzz_boot(&f);
    for (i = 0; i < steps; i++) {
        if (i % STEPS_REPAIR == 0) {
            fuzz_repair(&f);
        }
        fuzz_step(&f);
    }
    if (scalable) {
        check_works(&f);
    } else {
        check_works_legacy(&f);
    }
    g_rand_free(f.rand);
    qtest_quit(t.qts);
}

static void fuzz_scalable(const char *properties)
{
    const char *more = g_getenv("IOPF_FUZZ_IOMMU");
    g_autofree char *args = g_strconcat(Q35_VTD, properties, more, NULL);

    fuzz(args, true);
}

static void test_both_stages(void)
{
    fuzz_scalable(",x-flts=on,x-slts=on,x-nest=on,x-fs5lp=on,x-ssads=on");
}

static void test_second_stage(void)
{
    fuzz_scalable(",intremap=on,eim=on");
}

static void test_legacy_mode(void)
{
    fuzz(Q35 "-device intel-iommu,device-iotlb=on,caching-mode=on,intremap=on",
         false);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-fuzz/both-stages", test_both_stages);
    qtest_add_func("/iopf-fuzz/second-stage", test_second_stage);
    qtest_add_func("/iopf-fuzz/legacy-mode", test_legacy_mode);
    return g_test_run();
}

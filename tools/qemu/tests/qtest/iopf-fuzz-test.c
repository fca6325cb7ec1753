/*
 * Anything anywhere, on intel-iommu and on three iopf-testdev functions
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * IOPF_FUZZ_IOMMU in the environment has further properties of the IOMMU in
 * scalable mode, each with a comma before it.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-fuzz.h"
#include "iopf-vtd-qtest.h"

static bool is_scalable(Fuzz *f);

/*
 * VT-d
 */

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
                   (is_scalable(f) ? VTD_RTADDR_SMT : 0)));
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
        f->control ^= bits[pick(f, ARRAY_SIZE(bits))];
        vtd_writel(f->t, DMAR_GCMD_REG, f->control);
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
        ROOT + pick(f, (IQ - ROOT) / 8) * 8,
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

    for (i = is_scalable(f) ? 0 : 2; i < ARRAY_SIZE(all); i++) {
        uint64_t q[4] = { all[i][0], all[i][1] };
        unsigned size = is_scalable(f) ? 32 : 16;

        write_words(f, IQ + head % (4 * PAGE), q, size / 8);
        head += size;
    }
    vtd_writel(f->t, DMAR_IQT_REG, head);
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
    bool wide = is_scalable(f) != !pick(f, 16);

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

static void fuzz_tables_good(Fuzz *f)
{
    const uint64_t leaves[] = { leaf_addr(SL_TABLES, IOVA),
                                leaf_addr(FL_TABLES, IOVA) };
    static const uint64_t flags[] = { PTE_RW, PTE_FL };
    Test *t = f->t;
    int i;

    clear_tables(t);
    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        write_context(endpoint(f, i), CONTEXT_FLAGS);
    }
    for (i = 0; i < FUZZ_PASIDS - 1; i++) {
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
    fuzz_leaves_good(f, leaves, flags, ARRAY_SIZE(leaves));
}

static void fuzz_repair(Fuzz *f)
{
    fuzz_tables_good(f);
    if (!is_scalable(f)) {
        /* Not what legacy mode has, but nearly */
        qtest_writeq(f->t->qts, CONTEXT + f->t->ep[0].bdf * 16,
                     SL_TABLES | VTD_CONTEXT_TT_DEV_IOTLB | 1);
        qtest_writeq(f->t->qts, CONTEXT + f->t->ep[0].bdf * 16 + 8, 2);
    }
    vtd_writeq(f->t, DMAR_RTADDR_REG, ROOT |
               (is_scalable(f) ? VTD_RTADDR_SMT : 0));
    vtd_writeq(f->t, DMAR_IQA_REG, IQ |
               (is_scalable(f) ? VTD_IQA_DW_MASK : 0));
    vtd_writeq(f->t, DMAR_PQA_REG, PRQ | PRQ_ORDER_MAX);
    f->control = VTD_GCMD_QIE | VTD_GCMD_TE;
    vtd_writel(f->t, DMAR_GCMD_REG, f->control | VTD_GCMD_SRTP);
    vtd_writel(f->t, DMAR_FSTS_REG, UINT32_MAX);
    vtd_writel(f->t, DMAR_FRCD_REG_0_3, UINT32_MAX);
}

static void vtd_boot(Fuzz *f)
{
    enable_mmcfg(f->t->qts);
}

static void vtd_slot(Fuzz *f, bool on)
{
    if (!on) {
        eject_root_port(f->t->qts);
    }
}

static void vtd_start(Fuzz *f)
{
    int i;

    clear_tables(f->t);
    write_pasid_sl(f->t, 0, 1, SL_TABLES);
    write_pasid_sl(f->t, FUZZ_PASID, 1, SL_TABLES);
    write_paging(f->t, SL_TABLES, PTE_RW);
    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        write_context(endpoint(f, i), CONTEXT_FLAGS);
    }
    start_vtd(f->t, 0);
}

static void vtd_map(Fuzz *f)
{
    write_leaf(f->t, SL_TABLES, IOVA, DATA | PTE_RW);
}

static void vtd_unmap(Endpoint *ep)
{
    write_leaf(ep->t, SL_TABLES, IOVA, 0);
    inv_iotlb(ep->t);
    inv_dev_tlb(ep, IOVA, false);
}

static void vtd_check_no_fault(Fuzz *f)
{
    g_assert_cmphex(take_fault(f->t, NULL), ==, 0);
}

/* Legacy mode, where there are no faults */
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

#define VTD_OPS \
    .tables = ROOT, \
    .tables_end = IQ, \
    .data = DATA, \
    .memory_end = 64ULL * 1024 * 1024, \
    .special = 0xfee00000, \
    .iommu_register = fuzz_vtd_register, \
    .command = fuzz_vtd_command, \
    .change_tables = fuzz_tables, \
    .flush = fuzz_flush, \
    .invalidate = fuzz_invalidation, \
    .answer = fuzz_page_requests, \
    .repair = fuzz_repair, \
    .boot = vtd_boot, \
    .slot = vtd_slot

static const FuzzOps scalable_ops = {
    VTD_OPS,
    .start = vtd_start,
    .map = vtd_map,
    .unmap = vtd_unmap,
    .check_no_fault = vtd_check_no_fault,
};

static const FuzzOps legacy_ops = {
    VTD_OPS,
    .check = check_works_legacy,
};

static bool is_scalable(Fuzz *f)
{
    return f->ops == &scalable_ops;
}

static void fuzz_scalable(const char *properties)
{
    const char *more = g_getenv("IOPF_FUZZ_IOMMU");
    g_autofree char *args = g_strconcat(Q35_VTD, properties, more, NULL);

    fuzz(args, &scalable_ops);
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
         &legacy_ops);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-fuzz/both-stages", test_both_stages);
    qtest_add_func("/iopf-fuzz/second-stage", test_second_stage);
    qtest_add_func("/iopf-fuzz/legacy-mode", test_legacy_mode);
    return g_test_run();
}

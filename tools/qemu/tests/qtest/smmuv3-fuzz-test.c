/*
 * Anything anywhere, on the SMMUv3 and on three iopf-testdev functions
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * IOPF_FUZZ_IOMMU in the environment has further options for QEMU.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-fuzz.h"
#include "iopf-smmu-qtest.h"

/* Faults of stage 2 are recorded */
#define S2_CFG          (STE_Q2 | STE_S2R)

/* Registers where something is */
static const uint32_t registers[] = {
    SMMU_IDR0, SMMU_CR0, SMMU_CR0ACK, SMMU_CR1, SMMU_CR2, SMMU_GBPA,
    SMMU_IRQ_CTRL, SMMU_IRQ_CTRL + 4, SMMU_GERROR, SMMU_GERRORN,
    SMMU_GERRORN + 4, SMMU_STRTAB_BASE, SMMU_STRTAB_BASE_CFG, SMMU_CMDQ_BASE,
    SMMU_CMDQ_PROD, SMMU_CMDQ_CONS, SMMU_EVENTQ_BASE, SMMU_EVENTQ_PROD,
    SMMU_EVENTQ_CONS, SMMU_EVENTQ_BASE + 0x10, SMMU_PRIQ_BASE, SMMU_PRIQ_PROD,
    SMMU_PRIQ_CONS, SMMU_PRIQ_IRQ_CFG0, SMMU_PRIQ_IRQ_CFG1, SMMU_PRIQ_IRQ_CFG2,
};

static bool is_nested(Fuzz *f);
static bool has_stalls(Fuzz *f);

static void fuzz_smmu_register(Fuzz *f)
{
    uint32_t reg = pick(f, 8) ? registers[pick(f, ARRAY_SIZE(registers))] :
                   pick(f, 0x20000 / 4) * 4;
    uint64_t val = pick_register_value(f);

    switch (pick(f, 5)) {
    case 0:
        smmu_readl(f->t, reg);
        break;
    case 1:
        smmu_readq(f->t, reg & ~7);
        break;
    case 2:
        smmu_writeq(f->t, reg & ~7, val);
        break;
    default:
        smmu_writel(f->t, reg, val);
    }
}

/* The registers where things begin */
static void fuzz_smmu_command(Fuzz *f)
{
    switch (pick(f, 8)) {
    case 0:
        smmu_writeq(f->t, SMMU_STRTAB_BASE, disturb(f, STREAM_L1));
        smmu_writel(f->t, SMMU_STRTAB_BASE_CFG,
                    disturb(f, pick(f, 4) << 16 | 8 << 6 | 16));
        break;
    case 1:
        smmu_writeq(f->t, SMMU_CMDQ_BASE, disturb(f, CMDQ | pick(f, 20)));
        break;
    case 2:
        smmu_writeq(f->t, SMMU_PRIQ_BASE,
                    disturb(f, PRIQ | pick(f, PRIQ_LOG2_MAX + 1)));
        break;
    case 3:
        smmu_writeq(f->t, SMMU_EVENTQ_BASE,
                    disturb(f, EVTQ | pick(f, EVTQ_LOG2 + 2)));
        break;
    case 4:
        smmu_writel(f->t, SMMU_CR2, pick(f, 16));
        smmu_writel(f->t, SMMU_IRQ_CTRL, pick(f, 8));
        break;
    default:
        f->control ^= 1 << pick(f, 5);
        smmu_writel(f->t, SMMU_CR0, f->control);
    }
}

static uint64_t pick_table_entry(Fuzz *f)
{
    static const uint64_t flags[] = {
        1, PTE_TABLE, PTE_RW, PTE_RWX, PTE_RW | PTE_RO, PTE_RW & ~2ULL,
        PTE_S2_RW, PTE_S2_R & ~2ULL, PTE_RW & ~PTE_USER, PTE_RW | PTE_DBM,
        STE_V | STE_S1 | STE_S1CDMAX(8), STE_V | STE_NESTED | STE_S1CDMAX(4),
        STE_V | STE_S2, STE_V | STE_BYPASS, STE_V,
        STE_V | STE_S1 | STE_FMT_4K | STE_S1CDMAX(16),
        STE_V | STE_S1 | STE_FMT_64K | STE_S1CDMAX(16), 9,
        0,
    };

    return disturb(f, pick_page(f) | flags[pick(f, ARRAY_SIZE(flags))]);
}

/* What does not have an address in it */
static uint64_t pick_table_flags(Fuzz *f)
{
    static const uint64_t flags[] = {
        STE_Q1, STE_Q1 | STE_PPAR, STE_Q1 | STE_S1STALLD,
        (STE_Q1 & ~STE_S1DSS) | STE_S1DSS_BYPASS, STE_Q1 & ~STE_S1DSS,
        STE_Q1 & ~STE_EATS(3), STE_Q1 ^ STE_EATS(3), S2_CFG,
        CD_Q0, CD_Q0 | CD_S, CD_Q0 | CD_HA | CD_HD, CD_Q0 & ~CD_EPD1,
        CD_Q0 | CD_EPD0, CD_Q0 & ~CD_R,
    };

    return disturb(f, flags[pick(f, ARRAY_SIZE(flags))]);
}

static uint64_t pick_tables(Fuzz *f)
{
    static const uint64_t tables[] = { TABLES_0, TABLES_1, TABLES_S2 };

    return tables[pick(f, ARRAY_SIZE(tables))];
}

static uint64_t pick_ste(Fuzz *f)
{
    return STREAM_L2 + pick_endpoint(f)->bdf * 64;
}

/* Leaves most of the time, or what is above those in use, or any other */
static uint64_t pick_table_slot(Fuzz *f)
{
    const uint64_t slots[] = {
        STREAM_L1 + pick(f, 2) * 8,
        pick_ste(f) + pick(f, 8) * 8,
        CD_L1 + pick(f, 4) * 8,
        cd_addr(pick(f, FUZZ_PASIDS)) + pick(f, 8) * 8,
        pick_tables(f) + pick(f, 4 * 512) * 8,
        STREAM_L1 + pick(f, (CMDQ - STREAM_L1) / 8) * 8,
    };

    if (pick(f, 8)) {
        return leaf_addr(pick_tables(f), IOVA + pick(f, 64) * PAGE);
    }
    return slots[pick(f, ARRAY_SIZE(slots))];
}

static void fuzz_tables(Fuzz *f)
{
    int i;

    for (i = 0; i < 4; i++) {
        qtest_writeq(f->t->qts, pick_table_slot(f), pick_table_entry(f));
    }
    if (!pick(f, 4)) {
        qtest_writeq(f->t->qts, pick_ste(f) + pick(f, 3) * 8,
                     pick_table_flags(f));
        qtest_writeq(f->t->qts, cd_addr(pick(f, FUZZ_PASIDS)),
                     pick_table_flags(f));
    }
}

/*
 * Where the queue is, and how long, changes under way: so put it where the
 * consumer is by its register
 */
static void put_commands(Fuzz *f, const uint64_t (*q)[2], unsigned n)
{
    uint64_t base = smmu_readq(f->t, SMMU_CMDQ_BASE);
    uint32_t size = 1U << (base & 31);
    uint32_t cons = smmu_readl(f->t, SMMU_CMDQ_CONS) & 0xfffff;
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t addr = CMDQ + (cons & (size - 1)) % 1024 * 16;

        write_words(f, addr, q[i], 2);
        cons = (cons + 1) & (2 * size - 1);
    }
    smmu_writel(f->t, SMMU_CMDQ_PROD, pick(f, 32) ? cons :
                g_rand_int(f->rand));
    if (pick(f, 8)) {
        ack_gerror(f->t);
    }
}

/* What makes the caches forget */
static void fuzz_flush(Fuzz *f)
{
    static const uint64_t all[][2] = {
        { CMD_CFGI_STE_RANGE, 31 },
        { CMD_TLBI_NSNH_ALL },
        { CMD_SYNC },
    };

    put_commands(f, all, ARRAY_SIZE(all));
}

/* A command with fields that are its own, more or less */
static void pick_command(Fuzz *f, uint64_t *q)
{
    static const uint8_t types[] = {
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x20, 0x28,
        0x2a, 0x30, 0x40, 0x40, 0x40, 0x41, 0x41, 0x44, 0x45, 0x46, 0x46,
    };
    uint64_t type = pick(f, 16) ? types[pick(f, ARRAY_SIZE(types))] :
                    pick(f, 256);
    uint64_t address = pick_iova(f) & ~(PAGE - 1);

    q[0] = type | CMD_SID(pick_rid(f));
    q[1] = pick(f, 2);
    switch (type) {
    case CMD_CFGI_STE_RANGE:
        q[1] = pick(f, 32);
        break;
    case CMD_CFGI_CD:
        q[0] |= CMD_SSID(pick_pasid(f) & 0xfffff);
        break;
    case 0x10 ... 0x3f:
        /* NUM, SCALE, VMID and ASID; leaf, TTL and TG */
        q[0] = type | (uint64_t)pick(f, 32) << 12 |
               (uint64_t)pick(f, 32) << 20 | (uint64_t)pick(f, 4) << 32 |
               CMD_ASID(pick(f, FUZZ_PASIDS + 2));
        q[1] = address | pick(f, 2) | pick(f, 16) << 8;
        break;
    case CMD_ATC_INV:
        q[0] |= pick(f, 2) ? CMD_SSV | CMD_SSID(pick_pasid(f) & 0xfffff) : 0;
        q[0] |= pick(f, 4) ? 0 : CMD_GLOBAL;
        q[1] = address | (pick(f, 2) ? pick(f, 4) : pick(f, 64));
        break;
    case CMD_PRI_RESP:
        q[0] |= pick(f, 2) ? CMD_SSV | CMD_SSID(pick_pasid(f) & 0xfffff) : 0;
        q[1] = pick(f, 512) | pick(f, 4) << 12;
        break;
    case CMD_RESUME:
        q[0] |= (uint64_t)pick(f, 4) << 12;
        q[1] = pick(f, 64);
        break;
    case CMD_SYNC:
        q[0] = type | (uint64_t)pick(f, 4) << 12 | random64(f) << 32;
        q[1] = STATUS_WORD;
        break;
    }
    q[0] = disturb(f, q[0]);
    q[1] = disturb(f, q[1]);
}

static void fuzz_invalidation(Fuzz *f)
{
    uint64_t q[3][2] = {};
    unsigned i, n = pick(f, ARRAY_SIZE(q)) + 1;

    for (i = 0; i < n; i++) {
        pick_command(f, q[i]);
    }
    put_commands(f, q, n);
}

/* Some order in the PRI queue, and an answer to what is in it */
static void fuzz_page_requests(Fuzz *f)
{
    static const uint8_t codes[] = { 2, 2, 2, 2, 2, 2, 1, 1, 1, 0 };
    uint32_t prod = smmu_readl(f->t, SMMU_PRIQ_PROD);
    uint32_t size = 1U << (smmu_readq(f->t, SMMU_PRIQ_BASE) & 31);
    uint64_t addr = PRIQ + ((prod - 1 - pick(f, 3)) & (size - 1)) % 1024 * 16;
    uint64_t lo = qtest_readq(f->t->qts, addr);
    uint64_t hi = qtest_readq(f->t->qts, addr + 8);
    uint64_t q[1][2] = { {
        CMD_PRI_RESP | CMD_SID(extract64(lo, 0, 32)) |
        (lo & PRI_SSV ? CMD_SSV | CMD_SSID(extract64(lo, 32, 20)) : 0),
        extract64(hi, 0, 9) | codes[pick(f, ARRAY_SIZE(codes))] << 12,
    } };

    put_commands(f, q, 1);
    smmu_writel(f->t, SMMU_PRIQ_CONS, pick(f, 8) ? prod :
                g_rand_int(f->rand));
    if (pick(f, 2)) {
        smmu_writel(f->t, SMMU_EVENTQ_CONS,
                    smmu_readl(f->t, SMMU_EVENTQ_PROD));
    }
}

/* Resume what waits, as the event queue has it, or somebody else */
static void fuzz_events(Fuzz *f)
{
    uint32_t prod = smmu_readl(f->t, SMMU_EVENTQ_PROD);
    uint32_t size = 1U << (smmu_readq(f->t, SMMU_EVENTQ_BASE) & 31);
    uint64_t q[8][2];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(q); i++) {
        uint64_t addr = EVTQ + ((prod - 1 - i) & (size - 1)) % 512 * 32;
        uint64_t sid = qtest_readq(f->t->qts, addr) & ~0xffffffffULL;
        uint16_t stag = qtest_readw(f->t->qts, addr + 8);

        q[i][0] = disturb(f, sid | (pick(f, 32) ? CMD_RESUME | pick(f, 4) << 12
                                                : CMD_STALL_TERM));
        q[i][1] = disturb(f, q[i][0] & 1 ? 0 : stag);
    }
    put_commands(f, q, pick(f, ARRAY_SIZE(q)) + 1);
    smmu_writel(f->t, SMMU_EVENTQ_CONS, pick(f, 8) ? prod :
                g_rand_int(f->rand));
}

static void fuzz_answers(Fuzz *f)
{
    if (has_stalls(f) && pick(f, 4)) {
        fuzz_events(f);
    } else {
        fuzz_page_requests(f);
    }
}

static void write_stes(Fuzz *f)
{
    int i;

    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        if (is_nested(f) && i) {
            write_ste_s2(endpoint(f, i), NESTED_Q0,
                         STE_Q1, S2_CFG, TABLES_S2);
        } else {
            write_ste(endpoint(f, i), STE_Q0, STE_Q1);
        }
    }
}

static void smmu_repair(Fuzz *f)
{
    const uint64_t leaves[] = { leaf_addr(TABLES_0, IOVA),
                                leaf_addr(TABLES_1, IOVA) };
    static const uint64_t flags[] = { PTE_RW, PTE_RWX };
    Test *t = f->t;
    int i;

    clear_tables(t);
    write_stes(f);
    for (i = 0; i < FUZZ_PASIDS; i++) {
        write_cd(t, i, i + 1, i % 2 ? TABLES_1 : TABLES_0,
                 CD_Q0 | (has_stalls(f) ? CD_S | CD_HA | CD_HD : 0));
    }
    write_cd_l1(t, STE_FMT_64K);
    write_paging(t, TABLES_0, PTE_TABLE);
    write_paging(t, TABLES_1, PTE_TABLE);
    write_paging(t, TABLES_S2, PTE_TABLE);
    /* All of the memory is where it is */
    qtest_writeq(t->qts, TABLES_S2 + PAGE + 8,
                 VIRT_RAM | (PTE_S2_RW & ~2ULL));
    fuzz_leaves_good(f, leaves, flags, ARRAY_SIZE(leaves));

    smmu_writel(t, SMMU_CR0, 0);
    smmu_writeq(t, SMMU_STRTAB_BASE, STREAM_L1);
    smmu_writel(t, SMMU_STRTAB_BASE_CFG, 1 << 16 | 8 << 6 | 16);
    smmu_writeq(t, SMMU_CMDQ_BASE, CMDQ | CMDQ_LOG2);
    smmu_writeq(t, SMMU_EVENTQ_BASE, EVTQ | EVTQ_LOG2);
    smmu_writeq(t, SMMU_PRIQ_BASE, PRIQ | PRIQ_LOG2_MAX);
    smmu_writel(t, SMMU_CMDQ_CONS, 0);
    smmu_writel(t, SMMU_CMDQ_PROD, 0);
    ack_gerror(t);
    f->control = CR0_ALL;
    smmu_writel(t, SMMU_CR0, f->control);
}

static void smmu_slot(Fuzz *f, bool on)
{
    power_root_port(f->t->qts, FUZZ_ROOT_PORT, on);
}

static void smmu_start(Fuzz *f)
{
    clear_tables(f->t);
    write_stes(f);
    write_cd(f->t, 0, 1, TABLES_0, CD_Q0);
    write_cd(f->t, FUZZ_PASID, 2, TABLES_0, CD_Q0);
    write_paging(f->t, TABLES_0, PTE_TABLE);
    write_paging(f->t, TABLES_S2, PTE_TABLE);
    qtest_writeq(f->t->qts, TABLES_S2 + PAGE + 8,
                 VIRT_RAM | (PTE_S2_RW & ~2ULL));
    start_smmu(f->t, 4);
}

static void smmu_map(Fuzz *f)
{
    write_leaf(f->t, TABLES_0, IOVA, DATA | PTE_RW);
}

static void smmu_unmap(Endpoint *ep)
{
    write_leaf(ep->t, TABLES_0, IOVA, 0);
    tlbi_all(ep->t);
    atc_inv(ep, NOP, false, IOVA, 0);
}

static void smmu_check_no_fault(Fuzz *f)
{
    check_no_event(f->t);
    g_assert_cmphex(gerror(f->t), ==, 0);
}

#define SMMU_OPS \
    .tables = STREAM_L1, \
    .tables_end = CMDQ, \
    .data = DATA, \
    .memory_end = VIRT_RAM_END, \
    .special = VIRT_GICD, \
    .low = VIRT_GICD, \
    .iommu_register = fuzz_smmu_register, \
    .command = fuzz_smmu_command, \
    .change_tables = fuzz_tables, \
    .flush = fuzz_flush, \
    .invalidate = fuzz_invalidation, \
    .answer = fuzz_answers, \
    .repair = smmu_repair, \
    .slot = smmu_slot, \
    .start = smmu_start, \
    .map = smmu_map, \
    .unmap = smmu_unmap, \
    .check_no_fault = smmu_check_no_fault

static const FuzzOps stage1_ops = { SMMU_OPS };
static const FuzzOps nested_ops = { SMMU_OPS };
/* ... and whatever else is off in the others */
static const FuzzOps stall_ops = {
    SMMU_OPS,
    .mode = IOPF_TD_MODE_UNTRANSLATED,
};

static bool is_nested(Fuzz *f)
{
    return f->ops == &nested_ops;
}

static bool has_stalls(Fuzz *f)
{
    return f->ops == &stall_ops;
}

static void fuzz_smmu(const FuzzOps *ops)
{
    const char *more = g_getenv("IOPF_FUZZ_IOMMU");
    const char *stall = ops == &stall_ops ? "-global arm-smmuv3.stall=on "
                        "-global arm-smmuv3.httu=on "
                        "-global arm-smmuv3.msi=on "
                        "-global iopf-testdev.stall=on " : "";
    g_autofree char *args = g_strconcat(VIRT_SMMU, stall, more, NULL);

    fuzz(args, ops);
}

static void test_first_stage(void)
{
    fuzz_smmu(&stage1_ops);
}

static void test_both_stages(void)
{
    fuzz_smmu(&nested_ops);
}

static void test_stalls(void)
{
    fuzz_smmu(&stall_ops);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/smmuv3-fuzz/first-stage", test_first_stage);
    qtest_add_func("/smmuv3-fuzz/both-stages", test_both_stages);
    qtest_add_func("/smmuv3-fuzz/stalls", test_stalls);
    return g_test_run();
}

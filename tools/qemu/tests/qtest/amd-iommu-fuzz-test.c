/*
 * Anything anywhere, on AMD-Vi and on three iopf-testdev functions
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * IOPF_FUZZ_IOMMU in the environment has further options for QEMU.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "iopf-amd-qtest.h"
#include "iopf-fuzz.h"

#define OPTIONS \
    ",ppr-autoresp=on,ppr-overflow-early=on,ppr-block-stop=on,gcr3-trp=on," \
    "guest-levels=5,host-ad=on,xtsup=on"

#define DOMAIN 0x33

/* Registers where something is */
static const uint32_t registers[] = {
    AMDVI_MMIO_DEVICE_TABLE, AMDVI_MMIO_COMMAND_BASE, AMDVI_MMIO_EVENT_BASE,
    AMDVI_MMIO_CONTROL, AMDVI_MMIO_EXCL_BASE, AMDVI_MMIO_EXCL_LIMIT,
    AMDVI_MMIO_EXT_FEATURES, AMDVI_MMIO_PPR_BASE, AMDVI_MMIO_EFR2,
    AMDVI_MMIO_COMMAND_HEAD, AMDVI_MMIO_COMMAND_TAIL, AMDVI_MMIO_EVENT_HEAD,
    AMDVI_MMIO_EVENT_TAIL, AMDVI_MMIO_STATUS, AMDVI_MMIO_PPR_HEAD,
    AMDVI_MMIO_PPR_TAIL, AMDVI_MMIO_PPR_AUTO, AMDVI_MMIO_PPR_EARLY,
};

/* Bits of the control register: the upper half is near the end */
static const uint8_t control_bits[] = {
    0, 2, 3, 4, 5, 12, 13, 14, 15, 16, 39, 41, 42, 45, 58,
};

static bool is_nested(Fuzz *f);

static void fuzz_register(Fuzz *f)
{
    uint32_t reg = pick(f, 8) ? registers[pick(f, ARRAY_SIZE(registers))] :
                   pick(f, AMDVI_MMIO_SIZE / 4) * 4;
    uint64_t val = pick_register_value(f);

    switch (pick(f, 8)) {
    case 0:
        amd_readl(f->t, reg);
        break;
    case 1:
        amd_readq(f->t, reg & ~7);
        break;
    case 2:
        amd_writeq(f->t, reg & ~7, val);
        break;
    case 3:
        qtest_writew(f->t->qts, AMDVI_BASE_ADDR + reg + pick(f, 2) * 2, val);
        break;
    case 4:
        qtest_writeb(f->t->qts, AMDVI_BASE_ADDR + reg + pick(f, 4), val);
        break;
    default:
        amd_writel(f->t, reg, val);
    }
}

/* The registers where things begin */
static void fuzz_begin(Fuzz *f)
{
    uint64_t length = (uint64_t)pick(f, 16) << 56;

    switch (pick(f, 8)) {
    case 0:
        amd_writeq(f->t, AMDVI_MMIO_DEVICE_TABLE,
                   disturb(f, DEVTAB | pick(f, 2 * DEVTAB_PAGES)));
        break;
    case 1:
        amd_writeq(f->t, AMDVI_MMIO_COMMAND_BASE, disturb(f, CMDBUF) | length);
        break;
    case 2:
        amd_writeq(f->t, AMDVI_MMIO_PPR_BASE, disturb(f, PPRLOG) | length);
        break;
    case 3:
        amd_writeq(f->t, AMDVI_MMIO_EVENT_BASE, disturb(f, EVTLOG) | length);
        break;
    case 4:
        amd_writel(f->t, AMDVI_MMIO_PPR_EARLY, g_rand_int(f->rand));
        amd_writel(f->t, AMDVI_MMIO_PPR_AUTO, pick(f, 32));
        amd_writeq(f->t, AMDVI_MMIO_STATUS, g_rand_int(f->rand));
        break;
    default:
        amd_writeq(f->t, AMDVI_MMIO_CONTROL,
                   amd_readq(f->t, AMDVI_MMIO_CONTROL) ^ 1ULL <<
                   control_bits[pick(f, ARRAY_SIZE(control_bits))]);
    }
}

static uint64_t pick_table_entry(Fuzz *f)
{
    static const uint64_t flags[] = {
        0, PTE_R, PTE_RW, PTE_RW | AMDVI_PTE_NEXT(1),
        PTE_RW | AMDVI_PTE_NEXT(2), PTE_RW | AMDVI_PTE_NEXT(3),
        PTE_RW | AMDVI_PTE_NEXT(5), PTE_RW | AMDVI_PTE_NEXT(7),
        PTE_RW | AMDVI_PTE_U, GPTE_RW, GPTE_R, GPTE_RW | AMDVI_GPTE_PS,
        GPTE_RW | AMDVI_GPTE_NX, AMDVI_GCR3_V,
        AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_MODE(3) | AMDVI_DTE_IR |
        AMDVI_DTE_IW | AMDVI_DTE_PPR, DTE_Q0 & ~TABLES_0, DTE_Q0_GUEST,
    };

    return disturb(f, pick_page(f) | flags[pick(f, ARRAY_SIZE(flags))]);
}

static uint64_t pick_dte(Fuzz *f)
{
    return DEVTAB + pick_endpoint(f)->bdf * AMDVI_DEVTAB_ENTRY_SIZE;
}

static uint64_t pick_tables(Fuzz *f)
{
    return pick(f, 2) ? TABLES_0 : TABLES_1;
}

/* Leaves most of the time, or what is above those in use, or any other */
static uint64_t pick_table_slot(Fuzz *f)
{
    const uint64_t slots[] = {
        pick_dte(f) + pick(f, 4) * 8,
        GCR3 + pick(f, FUZZ_PASIDS) * 8,
        pick_tables(f) + pick(f, 4 * 512) * 8,
        DEVTAB + pick(f, (CMDBUF - DEVTAB) / 8) * 8,
    };

    if (pick(f, 8)) {
        return leaf_addr(pick_tables(f), IOVA + pick(f, 64) * PAGE);
    }
    return slots[pick(f, ARRAY_SIZE(slots))];
}

/* What does not have an address in it */
static void fuzz_entry_flags(Fuzz *f)
{
    static const uint8_t bits[] = {
        0, 1, 7, 8, 9, 10, 11, 52, 53, 54, 55, 56, 57, 61, 62,
        64 + 32, 64 + 33, 64 + 34, 64 + 39, 64 + 42, 64 + 0, 128 + 54,
        128 + 0, 192 + 15,
    };
    unsigned bit = bits[pick(f, ARRAY_SIZE(bits))];
    uint64_t addr = pick_dte(f) + bit / 64 * 8;

    qtest_writeq(f->t->qts, addr, qtest_readq(f->t->qts, addr) ^
                 1ULL << bit % 64);
}

static void fuzz_tables(Fuzz *f)
{
    int i;

    for (i = 0; i < 4; i++) {
        qtest_writeq(f->t->qts, pick_table_slot(f), pick_table_entry(f));
    }
    if (!pick(f, 4)) {
        fuzz_entry_flags(f);
    }
}

/*
 * Where the queue is, and how long, changes under way: so put it where the
 * head is by its register
 */
static void put_commands(Fuzz *f, const uint64_t (*q)[2], unsigned n)
{
    uint64_t base = amd_readq(f->t, AMDVI_MMIO_COMMAND_BASE);
    uint32_t mask = (AMDVI_RING_ENTRY << AMDVI_RING_LENGTH(base)) - 1;
    uint32_t head = amd_readq(f->t, AMDVI_MMIO_COMMAND_HEAD) & mask;
    unsigned i;

    for (i = 0; i < n; i++) {
        write_words(f, CMDBUF + head % PAGE, q[i], 2);
        head = (head + AMDVI_RING_ENTRY) & mask;
    }
    amd_writel(f->t, AMDVI_MMIO_COMMAND_TAIL, pick(f, 32) ? head :
               g_rand_int(f->rand));
    /* After a bad one: switch it off and on */
    if (!cmd_running(f->t) && pick(f, 8)) {
        uint64_t control = amd_readq(f->t, AMDVI_MMIO_CONTROL);

        amd_writeq(f->t, AMDVI_MMIO_CONTROL,
                   control & ~AMDVI_MMIO_CONTROL_CMDBUFLEN);
        amd_writel(f->t, AMDVI_MMIO_COMMAND_HEAD, head);
        amd_writel(f->t, AMDVI_MMIO_COMMAND_TAIL, head);
        amd_writeq(f->t, AMDVI_MMIO_CONTROL, control |
                   AMDVI_MMIO_CONTROL_AMDVIEN | AMDVI_MMIO_CONTROL_CMDBUFLEN);
    }
}

/* What makes the caches forget */
static void fuzz_flush(Fuzz *f)
{
    static const uint64_t all[][2] = {
        { AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_ALL) },
        { AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | AMDVI_CMD_WAIT_INT },
    };

    put_commands(f, all, ARRAY_SIZE(all));
}

/* A command with fields that are its own, more or less */
static void pick_command(Fuzz *f, uint64_t *q)
{
    static const uint8_t types[] = { 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 7, 7, 8 };
    uint64_t type = pick(f, 16) ? types[pick(f, ARRAY_SIZE(types))] :
                    pick(f, 16);
    uint64_t address = pick_iova(f) & ~(PAGE - 1);
    uint64_t rid = pick_rid(f) & 0xffff;
    uint32_t pasid = pick_pasid(f) & 0xfffff;

    q[0] = AMDVI_CMD(type) | rid;
    q[1] = 0;
    switch (type) {
    case AMDVI_CMD_COMPLETION_WAIT:
        q[0] = AMDVI_CMD(type) | STATUS_WORD | pick(f, 8);
        q[1] = random64(f);
        break;
    case AMDVI_CMD_INVAL_AMDVI_PAGES:
        q[0] = AMDVI_CMD(type) | pasid |
               (uint64_t)(DOMAIN + pick(f, 3)) << 32;
        q[1] = address | pick(f, 8);
        break;
    case AMDVI_CMD_INVAL_IOTLB_PAGES:
        q[0] |= rid << 32;
        q[1] = address | pick(f, 2);
        if (pick(f, 2)) {
            q[0] |= extract64(pasid, 0, 8) << 48 |
                    extract64(pasid, 8, 8) << 16 |
                    extract64(pasid, 16, 4) << 56;
            q[1] |= AMDVI_CMD_GN;
        }
        break;
    case AMDVI_CMD_COMPLETE_PPR_REQUEST:
        q[0] |= (uint64_t)pasid << 32;
        q[1] = (uint64_t)pick(f, 512) << 32 | (uint64_t)pick(f, 2) << 44 |
               (pick(f, 2) ? AMDVI_CMD_GN : 0);
        break;
    case AMDVI_CMD_INVAL_AMDVI_ALL:
        q[0] = AMDVI_CMD(type);
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

/* Start a log again that has overflowed */
static void restart_log(Fuzz *f, uint64_t enable, uint64_t overflow)
{
    uint64_t control = amd_readq(f->t, AMDVI_MMIO_CONTROL);

    if (amd_status(f->t) & overflow) {
        amd_writeq(f->t, AMDVI_MMIO_CONTROL, control & ~enable);
        amd_writeq(f->t, AMDVI_MMIO_STATUS, overflow);
        amd_writeq(f->t, AMDVI_MMIO_CONTROL, control | enable);
    }
}

/* Some order in the logs, and an answer to what is in that of requests */
static void fuzz_page_requests(Fuzz *f)
{
    static const uint8_t codes[] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 15 };
    uint32_t tail = amd_readq(f->t, AMDVI_MMIO_PPR_TAIL);
    uint64_t addr = PPRLOG + (tail - AMDVI_RING_ENTRY * (1 + pick(f, 3))) %
                    PAGE;
    uint64_t entry = qtest_readq(f->t->qts, addr);
    uint64_t pasid = extract64(entry, 16, 16) | extract64(entry, 42, 4) << 16;
    uint64_t q[1][2] = { {
        AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST) | (entry & 0xffff) |
        pasid << 32,
        extract64(entry, 32, 9) << 32 |
        (uint64_t)codes[pick(f, ARRAY_SIZE(codes))] << 44 |
        (entry & AMDVI_PPR_GN ? AMDVI_CMD_GN : 0),
    } };

    put_commands(f, q, 1);
    amd_writel(f->t, AMDVI_MMIO_PPR_HEAD, pick(f, 8) ? tail :
               g_rand_int(f->rand));
    if (pick(f, 2)) {
        amd_writel(f->t, AMDVI_MMIO_EVENT_HEAD,
                   amd_readl(f->t, AMDVI_MMIO_EVENT_TAIL));
        restart_log(f, AMDVI_CONTROL_PPR_LOG, AMDVI_STATUS_PPR_OVERFLOW);
        restart_log(f, AMDVI_MMIO_CONTROL_EVENTLOGEN,
                    AMDVI_STATUS_EVT_OVERFLOW);
    }
}

/* All memory is where it is for the tables of the host under those of guests */
static void write_dtes(Fuzz *f, uint64_t flags)
{
    int i;

    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        write_dte_gcr3(endpoint(f, i), is_nested(f) ? DTE_Q0 | AMDVI_DTE_GIOV :
                       DTE_Q0_GUEST | AMDVI_DTE_GIOV | flags,
                       DTE_Q1(DOMAIN), 0, GCR3, 1);
    }
}

static void write_identity(Test *t)
{
    int i;

    for (i = 0; i < 3; i++) {
        qtest_writeq(t->qts, TABLES_0 + i * PAGE,
                     (TABLES_0 + (i + 1) * PAGE) | PTE_RW |
                     AMDVI_PTE_NEXT(3 - i));
    }
    for (i = 1; i < 32; i++) {
        qtest_writeq(t->qts, TABLES_0 + 2 * PAGE + i * 8,
                     (uint64_t)i << 21 | PTE_RW);
    }
    for (i = 0; i < 512; i++) {
        qtest_writeq(t->qts, TABLES_0 + 3 * PAGE + i * 8, i * PAGE | PTE_RW);
    }
}

static void write_guest(Fuzz *f)
{
    int i;

    write_paging(f->t, TABLES_1, GPTE_RW);
    for (i = 0; i < FUZZ_PASIDS; i++) {
        write_gcr3(f->t, 1, i, TABLES_1 | AMDVI_GCR3_V);
    }
    if (is_nested(f)) {
        write_identity(f->t);
    }
}

static void amd_repair(Fuzz *f)
{
    const uint64_t leaves[] = { leaf_addr(TABLES_1, IOVA) };
    static const uint64_t flags[] = { GPTE_RW };

    clear_tables(f->t);
    write_dtes(f, 0);
    write_guest(f);
    fuzz_leaves_good(f, leaves, flags, ARRAY_SIZE(leaves));
    amd_writeq(f->t, AMDVI_MMIO_CONTROL, 0);
    amd_writeq(f->t, AMDVI_MMIO_STATUS, UINT64_MAX);
    amd_writeq(f->t, AMDVI_MMIO_DEVICE_TABLE, DEVTAB | (DEVTAB_PAGES - 1));
    amd_writeq(f->t, AMDVI_MMIO_COMMAND_BASE, RING(CMDBUF));
    amd_writeq(f->t, AMDVI_MMIO_EVENT_BASE, RING(EVTLOG));
    amd_writeq(f->t, AMDVI_MMIO_PPR_BASE, RING(PPRLOG));
    amd_writeq(f->t, AMDVI_MMIO_EXCL_BASE, 0);
    amd_writeq(f->t, AMDVI_MMIO_CONTROL, CONTROL_ALL);
}

static void amd_boot(Fuzz *f)
{
    enable_mmcfg(f->t->qts);
}

static void amd_slot(Fuzz *f, bool on)
{
    if (!on) {
        eject_root_port(f->t->qts);
    }
}

static void amd_start(Fuzz *f)
{
    clear_tables(f->t);
    write_dtes(f, 0);
    write_guest(f);
    start_amd(f->t);
}

static void amd_map(Fuzz *f)
{
    write_leaf(f->t, TABLES_1, IOVA, DATA | GPTE_RW);
}

static void amd_unmap(Endpoint *ep)
{
    write_leaf(ep->t, TABLES_1, IOVA, 0);
    inv_all(ep->t);
    inv_iotlb(ep, NOP, IOVA, false);
}

static void amd_check_no_fault(Fuzz *f)
{
    check_no_event(f->t);
}

#define AMD_OPS \
    .tables = DEVTAB, \
    .tables_end = CMDBUF, \
    .data = DATA, \
    .memory_end = 64 * MiB, \
    .special = AMDVI_BASE_ADDR, \
    .iommu_register = fuzz_register, \
    .command = fuzz_begin, \
    .change_tables = fuzz_tables, \
    .flush = fuzz_flush, \
    .invalidate = fuzz_invalidation, \
    .answer = fuzz_page_requests, \
    .repair = amd_repair, \
    .boot = amd_boot, \
    .slot = amd_slot, \
    .start = amd_start, \
    .map = amd_map, \
    .unmap = amd_unmap, \
    .check_no_fault = amd_check_no_fault

static const FuzzOps guest_ops = { AMD_OPS };
static const FuzzOps nested_ops = { AMD_OPS };

static bool is_nested(Fuzz *f)
{
    return f->ops == &nested_ops;
}

static void fuzz_amd(const FuzzOps *ops)
{
    const char *more = g_getenv("IOPF_FUZZ_IOMMU");
    g_autofree char *args = g_strconcat(Q35_AMD OPTIONS, more, NULL);

    fuzz(args, ops);
}

static void test_guest(void)
{
    fuzz_amd(&guest_ops);
}

static void test_nested(void)
{
    fuzz_amd(&nested_ops);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/amd-iommu-fuzz/guest", test_guest);
    qtest_add_func("/amd-iommu-fuzz/nested", test_nested);
    return g_test_run();
}

/*
 * QTest of the I/O page fault test endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs. The first part needs no IOMMU; the second part uses
 * intel-iommu, because somebody has to answer translation and page requests,
 * but it is about the endpoint.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/bitops.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "hw/pci/pci_regs.h"
#include "hw/i386/intel_iommu_internal.h"
#include "hw/misc/iopf-testdev-regs.h"

#define MMCFG_BASE      0xb0000000ULL
#define BAR0            0xc0000000ULL
#define BAR2            0xc4000000ULL
#define BAR4            0xc1000000ULL
#define DEVFN           (4 << 3)

#define PAGE            0x1000ULL

/* Guest memory */
#define ROOT            0x100000ULL
#define CONTEXT         0x101000ULL
#define PASID_DIR       0x102000ULL
#define PASID_TABLES    0x104000ULL     /* for 256 PASIDs, 64 in a page */
#define SL_TABLES       0x110000ULL     /* one page per level, top first */
#define IQ              0x120000ULL
#define IQ_ENTRIES      128
#define PRQ             0x130000ULL
#define PRQ_LOG2_PAGES  4
#define PRQ_ENTRIES     (128 << PRQ_LOG2_PAGES)
#define MSI_TARGET      0x180000ULL
#define DATA            0x200000ULL     /* 512 pages */
#define IOVA            0x40000000ULL   /* the same 512 pages */

#define NO_PASID        IOPF_TD_NO_PASID
#define PTE_RW          (VTD_SL_R | VTD_SL_W)

#define MACHINE         "-M q35 -m 64 -nodefaults "
#define DEVICE          "-device iopf-testdev,id=td0,bus=pcie.0,addr=4.0"
#define IOMMU \
    "-device intel-iommu,x-scalable-mode=on,x-pasid-mode=on," \
    "device-iotlb=on,svm=on,aw-bits=48 "

typedef struct Test {
    QTestState *qts;
    uint16_t bdf;                   /* bus, device and function */
    uint16_t ats, pri, pasid, exp;  /* capability offsets */
    uint32_t ring_mask;
    uint32_t tail;
    unsigned iq_tail;
    unsigned prq_head;
} Test;

/*
 * PCI
 */

static uint64_t cfg_addr(Test *t, uint16_t offset)
{
    return MMCFG_BASE + ((uint64_t)t->bdf << 12) + offset;
}

static uint16_t cfg_readw(Test *t, uint16_t offset)
{
    return qtest_readw(t->qts, cfg_addr(t, offset));
}

static uint32_t cfg_readl(Test *t, uint16_t offset)
{
    return qtest_readl(t->qts, cfg_addr(t, offset));
}

static void cfg_writew(Test *t, uint16_t offset, uint16_t val)
{
    qtest_writew(t->qts, cfg_addr(t, offset), val);
}

static void cfg_writel(Test *t, uint16_t offset, uint32_t val)
{
    qtest_writel(t->qts, cfg_addr(t, offset), val);
}

/* Returns: offset, 0 if there is none */
static uint16_t find_ext_cap(Test *t, uint16_t id)
{
    uint16_t offset = PCI_CFG_SPACE_SIZE;

    while (offset) {
        uint32_t header = cfg_readl(t, offset);

        if (PCI_EXT_CAP_ID(header) == id) {
            return offset;
        }
        offset = PCI_EXT_CAP_NEXT(header);
    }
    return 0;
}

static uint8_t find_cap(Test *t, uint8_t id)
{
    uint8_t offset = cfg_readw(t, PCI_CAPABILITY_LIST) & 0xff;

    while (offset) {
        uint16_t header = cfg_readw(t, offset);

        if ((header & 0xff) == id) {
            return offset;
        }
        offset = header >> 8;
    }
    g_assert_not_reached();
}

static uint32_t reg_read(Test *t, uint32_t reg)
{
    return qtest_readl(t->qts, BAR0 + reg);
}

static void reg_write(Test *t, uint32_t reg, uint32_t val)
{
    qtest_writel(t->qts, BAR0 + reg, val);
}

static void map_bars(Test *t)
{
    cfg_writel(t, PCI_BASE_ADDRESS_0, BAR0);
    cfg_writel(t, PCI_BASE_ADDRESS_1, 0);
    cfg_writel(t, PCI_BASE_ADDRESS_2, BAR2);
    cfg_writel(t, PCI_BASE_ADDRESS_3, 0);
    cfg_writel(t, PCI_BASE_ADDRESS_4, BAR4);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void start_ring(Test *t, unsigned log2, unsigned contexts)
{
    reg_write(t, IOPF_TD_REG_RING_LOG2, log2);
    reg_write(t, IOPF_TD_REG_CONTEXTS, contexts);
    reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    t->ring_mask = (1u << log2) - 1;
    t->tail = 0;
}

static void enable_mmcfg(Test *t)
{
    /* PCIEXBAR of the host bridge, through the I/O ports */
    qtest_outl(t->qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(t->qts, 0xcfc, MMCFG_BASE | 1);
}

/* The root port at 6.0: the secondary bus is 1 */
static void enable_root_port(Test *t)
{
    uint16_t bdf = t->bdf;

    t->bdf = 6 << 3;
    cfg_writel(t, PCI_PRIMARY_BUS, 0x00010100);
    cfg_writew(t, PCI_MEMORY_BASE, BAR0 >> 16);
    cfg_writew(t, PCI_MEMORY_LIMIT, (BAR2 + 0x1000000 - 1) >> 16);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    t->bdf = bdf;
}

static Test *test_start_bdf(const char *args, uint16_t bdf)
{
    Test *t = g_new0(Test, 1);

    t->bdf = bdf;
    t->qts = qtest_init(args);
    enable_mmcfg(t);
    if (bdf >> 8) {
        enable_root_port(t);
    }
    map_bars(t);
    t->ats = find_ext_cap(t, PCI_EXT_CAP_ID_ATS);
    t->pri = find_ext_cap(t, PCI_EXT_CAP_ID_PRI);
    t->pasid = find_ext_cap(t, PCI_EXT_CAP_ID_PASID);
    t->exp = find_cap(t, PCI_CAP_ID_EXP);
    start_ring(t, 8, 1);
    return t;
}

static Test *test_start_args(const char *args)
{
    return test_start_bdf(args, DEVFN);
}

/* Without IOMMU */
static Test *test_start(void)
{
    return test_start_args(MACHINE DEVICE);
}

static void test_end(Test *t)
{
    qtest_quit(t->qts);
    g_free(t);
}

/*
 * Descriptors
 */

typedef struct Desc {
    uint8_t op, mode;
    uint16_t flags;
    uint32_t pasid;
    uint64_t iova;
    uint32_t length;
    uint32_t ram;
    uint32_t data;
    uint16_t prgi, delay;
} Desc;

static uint64_t desc_addr(uint32_t index)
{
    return BAR2 + IOPF_TD_RAM_RING + index * IOPF_TD_DESC_SIZE;
}

/* Returns: address of the descriptor */
static uint64_t put(Test *t, const Desc *d)
{
    uint64_t addr = desc_addr(t->tail);

    qtest_writeq(t->qts, addr, d->op | d->mode << 8 |
                 (uint64_t)d->flags << 16 | (uint64_t)d->pasid << 32);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_IOVA, d->iova);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_LENGTH,
                 d->length | (uint64_t)d->ram << 32);
    qtest_writeq(t->qts, addr + IOPF_TD_DESC_DATA,
                 d->data | (uint64_t)d->prgi << 32 | (uint64_t)d->delay << 48);
    qtest_writel(t->qts, addr + IOPF_TD_DESC_STATUS, IOPF_TD_ST_NONE);
    t->tail = (t->tail + 1) & t->ring_mask;
    return addr;
}

static void ring(Test *t)
{
    reg_write(t, IOPF_TD_REG_RING_TAIL, t->tail);
}

static uint64_t start(Test *t, const Desc *d)
{
    uint64_t addr = put(t, d);

    ring(t);
    return addr;
}

static uint32_t desc_status(Test *t, uint64_t addr)
{
    return qtest_readl(t->qts, addr + IOPF_TD_DESC_STATUS);
}

/* The device works in a bottom half, some rounds of the main loop away */
#define WAIT_FOR(t, condition) \
    do { \
        int tries_ = 0; \
        while (!(condition)) { \
            g_assert_cmpint(tries_++, <, 20000); \
            qtest_clock_step((t)->qts, 10000); \
        } \
    } while (0)

static uint32_t finish(Test *t, uint64_t addr)
{
    WAIT_FOR(t, desc_status(t, addr) != IOPF_TD_ST_NONE);
    return desc_status(t, addr);
}

static uint32_t run(Test *t, const Desc *d)
{
    return finish(t, start(t, d));
}

static void check(Test *t, const Desc *d, uint32_t status)
{
    g_assert_cmpuint(run(t, d), ==, status);
}

static int32_t desc_ret(Test *t, uint64_t addr)
{
    return qtest_readl(t->qts, addr + IOPF_TD_DESC_RET);
}

static void wait_status(Test *t, uint32_t bit)
{
    WAIT_FOR(t, reg_read(t, IOPF_TD_REG_STATUS) & bit);
}

static void wait_idle(Test *t)
{
    WAIT_FOR(t, !(reg_read(t, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_BUSY));
}

static void pattern(uint8_t *buf, uint32_t seed, uint32_t length)
{
    uint32_t i;

    for (i = 0; i < length; i++) {
        buf[i] = (seed + i / 4 * IOPF_TD_PATTERN_STEP) >> (i % 4 * 8);
    }
}

static void check_pattern(Test *t, uint64_t addr, uint32_t seed,
                          uint32_t length)
{
    g_autofree uint8_t *want = g_malloc(length);
    g_autofree uint8_t *got = g_malloc(length);

    pattern(want, seed, length);
    qtest_memread(t->qts, addr, got, length);
    g_assert_cmpmem(got, length, want, length);
}

/*
 * Part 1: no IOMMU
 */

static void test_config(void)
{
    Test *t = test_start();
    uint16_t status;

    g_assert_cmphex(cfg_readw(t, PCI_VENDOR_ID), ==, IOPF_TD_VENDOR_ID);
    g_assert_cmphex(cfg_readw(t, PCI_DEVICE_ID), ==, IOPF_TD_DEVICE_ID);
    g_assert_cmphex(cfg_readl(t, PCI_CLASS_REVISION) >> 8, ==, 0x00ff00);
    /* On the root complex it is an integrated endpoint */
    g_assert_cmphex(cfg_readw(t, t->exp + PCI_EXP_FLAGS) &
                    PCI_EXP_FLAGS_TYPE, ==, PCI_EXP_TYPE_RC_END << 4);
    g_assert_cmphex(cfg_readl(t, t->exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, PCI_EXP_DEVCAP_FLR);
    g_assert_cmphex(find_cap(t, PCI_CAP_ID_MSIX), !=, 0);
    g_assert_cmphex(find_ext_cap(t, PCI_EXT_CAP_ID_ERR), ==, 0);

    g_assert_cmphex(cfg_readw(t, t->ats + PCI_ATS_CAP), ==,
                    PCI_ATS_CAP_PAGE_ALIGNED | PCI_ATS_CAP_GLOBAL_INV);
    g_assert_cmphex(cfg_readw(t, t->ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readl(t, t->pri + PCI_PRI_MAX_REQ), ==, 64);
    g_assert_cmphex(cfg_readl(t, t->pri + PCI_PRI_ALLOC_REQ), ==, 0);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    g_assert_cmphex(cfg_readw(t, t->pasid + PCI_PASID_CAP), ==,
                    PCI_PASID_CAP_EXEC | PCI_PASID_CAP_PRIV | 8 << 8);
    g_assert_cmphex(cfg_readw(t, t->pasid + PCI_PASID_CTRL), ==, 0);

    /* Capacity is read only, allocation is not; Reset reads as 0 */
    cfg_writel(t, t->pri + PCI_PRI_MAX_REQ, 1);
    g_assert_cmphex(cfg_readl(t, t->pri + PCI_PRI_MAX_REQ), ==, 64);
    cfg_writel(t, t->pri + PCI_PRI_ALLOC_REQ, 1000);
    g_assert_cmphex(cfg_readl(t, t->pri + PCI_PRI_ALLOC_REQ), ==, 1000);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_CTRL), ==, 0);

    cfg_writew(t, t->pasid + PCI_PASID_CTRL, 7);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE | 3);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    status = cfg_readw(t, t->pri + PCI_PRI_STATUS);
    g_assert_cmphex(status & PCI_PRI_STATUS_STOPPED, ==, 0);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER | IOPF_TD_LIVE_ATS |
                    IOPF_TD_LIVE_PRI | IOPF_TD_LIVE_PASID |
                    IOPF_TD_LIVE_PASID_EXEC | IOPF_TD_LIVE_PASID_PRIV |
                    3 << IOPF_TD_LIVE_STU_SHIFT |
                    64 << IOPF_TD_LIVE_ALLOC_SHIFT);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    status = cfg_readw(t, t->pri + PCI_PRI_STATUS);
    g_assert_cmphex(status & PCI_PRI_STATUS_STOPPED, ==,
                    PCI_PRI_STATUS_STOPPED);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_LIVE) & IOPF_TD_LIVE_BUS_MASTER,
                    ==, 0);
    test_end(t);
}

static void test_properties(void)
{
    Test *t = test_start_args(MACHINE DEVICE ",ats=off,pri=off,pasid=0,"
                              "aer=on,flr=off,atc-entries=7,ram-size=1M");

    g_assert_cmphex(t->ats, ==, 0);
    g_assert_cmphex(t->pri, ==, 0);
    g_assert_cmphex(t->pasid, ==, 0);
    g_assert_cmphex(find_ext_cap(t, PCI_EXT_CAP_ID_ERR), ==, 0x100);
    g_assert_cmphex(cfg_readl(t, t->exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, 0);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_CAPS), ==,
                    IOPF_TD_CAPS_RSP_PASID |
                    7 << IOPF_TD_CAPS_ATC_ENTRIES_SHIFT);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_LIVE), ==,
                    IOPF_TD_LIVE_BUS_MASTER);
    cfg_writel(t, PCI_BASE_ADDRESS_2, 0xffffffff);
    g_assert_cmphex(cfg_readl(t, PCI_BASE_ADDRESS_2) & ~0xf, ==, 0xfff00000);
    test_end(t);

    t = test_start_args(MACHINE DEVICE ",aer=on,prg-resp-pasid=off,pasid=20,"
                        "page-aligned=off,global-inv=off,inv-queue-depth=5,"
                        "pri-capacity=3");
    g_assert_cmphex(t->ats, >, 0x100);
    g_assert_cmphex(cfg_readw(t, t->ats + PCI_ATS_CAP), ==, 5);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED);
    g_assert_cmphex(cfg_readl(t, t->pri + PCI_PRI_MAX_REQ), ==, 3);
    g_assert_cmphex(cfg_readw(t, t->pasid + PCI_PASID_CAP) >> 8, ==, 20);
    test_end(t);
}

static void check_device_add(Test *t, const char *property, int64_t value,
                             bool good)
{
    QDict *args = qdict_new();
    QDict *response;

    qdict_put_str(args, "driver", "iopf-testdev");
    qdict_put_str(args, "id", "td1");
    qdict_put_str(args, "bus", "rp1");
    qdict_put_int(args, property, value);
    response = qtest_qmp(t->qts, "{'execute': 'device_add',"
                                 " 'arguments': %p }", args);
    g_assert_cmpint(qdict_haskey(response, "return"), ==, good);
    qobject_unref(response);
}

static void test_bad_properties(void)
{
    Test *t = test_start_args(MACHINE "-device pcie-root-port,id=rp1 " DEVICE);

    check_device_add(t, "pasid", 21, false);
    check_device_add(t, "inv-queue-depth", 32, false);
    check_device_add(t, "pri-capacity", 0, false);
    check_device_add(t, "atc-entries", 0, false);
    check_device_add(t, "atc-entries", 65536, false);
    check_device_add(t, "ram-size", 256 * 1024, false);
    check_device_add(t, "ram-size", 3 * 1024 * 1024, false);
    check_device_add(t, "ram-size", 512 * 1024 * 1024, false);
    /* None of the failures left anything behind */
    check_device_add(t, "pasid", 20, true);
    test_end(t);
}

static void check_default_registers(Test *t)
{
    static const struct {
        uint32_t reg, val;
    } regs[] = {
        { IOPF_TD_REG_ID, IOPF_TD_ID },
        { IOPF_TD_REG_VERSION, IOPF_TD_VERSION },
        { IOPF_TD_REG_CTRL, 0 },
        { IOPF_TD_REG_STATUS, 0 },
        { IOPF_TD_REG_STEP, 0 },
        { IOPF_TD_REG_IRQ_CAUSE, 0 },
        { IOPF_TD_REG_IRQ_ENABLE, 0 },
        { IOPF_TD_REG_CONTEXTS, 1 },
        { IOPF_TD_REG_RING_LOG2, 0 },
        { IOPF_TD_REG_RING_HEAD, 0 },
        { IOPF_TD_REG_RING_TAIL, 0 },
        { IOPF_TD_REG_RING_DONE, 0 },
        { IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE },
        { IOPF_TD_REG_ATC_PASID, IOPF_TD_NO_PASID },
        { IOPF_TD_REG_ATC_ADDR, 0 },
        { IOPF_TD_REG_ATC_COUNT, 0 },
        { IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK },
        { IOPF_TD_REG_PRI_GROUP_MAX, 512 },
        { IOPF_TD_REG_PRI_PRGI, 0 },
        { IOPF_TD_REG_PRI_OUTSTANDING, 0 },
        { IOPF_TD_REG_PRI_TIMEOUT_MS, 0 },
        { IOPF_TD_REG_PRI_RETRY, 3 },
        { IOPF_TD_REG_PRI_FULL_RETRY, 1000 },
        { IOPF_TD_REG_PRI_FULL_PAUSE_US, 1000 },
        { IOPF_TD_REG_PRI_GROUPS, 0 },
        { IOPF_TD_REG_PRI_PARTIAL, 0 },
        { IOPF_TD_REG_PRI_STALE, 0 },
        { IOPF_TD_REG_STORM_ADDR, 0 },
        { IOPF_TD_REG_STORM_STRIDE, 4096 },
        { IOPF_TD_REG_STORM_COUNT, 0 },
        { IOPF_TD_REG_STORM_FLAGS, 0 },
        { IOPF_TD_REG_STORM_GROUP, 1 },
        { IOPF_TD_REG_STORM_SENT, 0 },
        { IOPF_TD_REG_HOSTILE, 0 },
        { IOPF_TD_REG_INVLOG_HEAD, 0 },
        { IOPF_TD_REG_RSPLOG_HEAD, 0 },
        /* No such registers */
        { 0x200, 0 },
        { IOPF_TD_REGS_SIZE - 4, 0 },
    };
    uint32_t reg;
    int i;

    for (i = 0; i < ARRAY_SIZE(regs); i++) {
        g_assert_cmphex(reg_read(t, regs[i].reg), ==, regs[i].val);
    }
    for (reg = IOPF_TD_REG_COUNTERS; reg < IOPF_TD_REG_COUNTERS_END; reg += 4) {
        g_assert_cmphex(reg_read(t, reg), ==, 0);
    }
}

static void test_registers(void)
{
    Test *t = test_start();

    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_RESET);
    check_default_registers(t);

    /* Read only */
    reg_write(t, IOPF_TD_REG_ID, 0);
    reg_write(t, IOPF_TD_REG_RING_DONE, 5);
    reg_write(t, IOPF_TD_REG_CNT_TR, 5);
    reg_write(t, IOPF_TD_REG_RSPLOG_HEAD, 5);
    reg_write(t, IOPF_TD_REG_STORM_SENT, 5);
    check_default_registers(t);

    /* Limits */
    reg_write(t, IOPF_TD_REG_CONTEXTS, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CONTEXTS), ==, 1);
    reg_write(t, IOPF_TD_REG_CONTEXTS, 1000);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CONTEXTS), ==,
                     IOPF_TD_CONTEXTS_MAX);
    reg_write(t, IOPF_TD_REG_RING_LOG2, 4);
    reg_write(t, IOPF_TD_REG_RING_LOG2, IOPF_TD_RING_LOG2_MAX + 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RING_LOG2), ==, 4);
    reg_write(t, IOPF_TD_REG_RING_TAIL, 0x123);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RING_TAIL), ==, 3);
    reg_write(t, IOPF_TD_REG_PRI_GROUP_MAX, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUP_MAX), ==, 1);
    reg_write(t, IOPF_TD_REG_PRI_GROUP_MAX, 513);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUP_MAX), ==, 512);
    reg_write(t, IOPF_TD_REG_PRI_PRGI, 0xffff);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_PRGI), ==, 511);
    reg_write(t, IOPF_TD_REG_PRI_RETRY, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_RETRY), ==, 1);
    reg_write(t, IOPF_TD_REG_HOSTILE, 0xffffffff);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_HOSTILE), ==,
                    IOPF_TD_HOSTILE_ALL);

    /* 64 bits in one go */
    qtest_writeq(t->qts, BAR0 + IOPF_TD_REG_ATC_ADDR, 0x123456789abcdef0ULL);
    g_assert_cmphex(qtest_readq(t->qts, BAR0 + IOPF_TD_REG_ATC_ADDR), ==,
                    0x123456789abcdef0ULL);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_ATC_ADDR + 4), ==, 0x12345678);
    qtest_writeq(t->qts, BAR0 + IOPF_TD_REG_STORM_ADDR, 0x5000000040000000ULL);
    g_assert_cmphex(qtest_readq(t->qts, BAR0 + IOPF_TD_REG_STORM_ADDR), ==,
                    0x5000000040000000ULL);

    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_RESET);
    check_default_registers(t);
    test_end(t);
}

static void test_dma(void)
{
    Test *t = test_start();
    uint8_t buf[10000];
    uint64_t addr;
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = DATA + 0x123, .length = 9001,
               .data = 0xdeadbeef };

    /* Neither aligned nor within a page */
    qtest_memset(t->qts, DATA, 0x55, 0x4000);
    addr = start(t, &d);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(qtest_readl(t->qts, addr + IOPF_TD_DESC_DONE), ==, 9001);
    g_assert_cmpuint(qtest_readl(t->qts, addr + IOPF_TD_DESC_SEQ), ==, 1);
    g_assert_cmpuint(desc_ret(t, addr), ==, 0);
    check_pattern(t, DATA + 0x123, 0xdeadbeef, 9001);
    g_assert_cmphex(qtest_readb(t->qts, DATA + 0x122), ==, 0x55);
    g_assert_cmphex(qtest_readb(t->qts, DATA + 0x123 + 9001), ==, 0x55);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_ACC_UNTRANSLATED), ==, 3);

    d.op = IOPF_TD_OP_COMPARE;
    check(t, &d, IOPF_TD_ST_OK);
    qtest_writeb(t->qts, DATA + 0x123 + 8000, 0x77);
    addr = start(t, &d);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_MISMATCH);
    g_assert_cmphex(qtest_readq(t->qts, addr + IOPF_TD_DESC_FAIL_ADDR), ==,
                    DATA + 0x123 + 8000);
    g_assert_cmpuint(qtest_readl(t->qts, addr + IOPF_TD_DESC_DONE), ==, 8000);

    /* Host to device RAM and back to another place */
    d.op = IOPF_TD_OP_FILL;
    check(t, &d, IOPF_TD_ST_OK);
    d.op = IOPF_TD_OP_READ;
    d.ram = IOPF_TD_RAM_DATA + 7;
    check(t, &d, IOPF_TD_ST_OK);
    check_pattern(t, BAR2 + d.ram, 0xdeadbeef, 9001);
    d.op = IOPF_TD_OP_WRITE;
    d.iova = DATA + 0x8fff;
    check(t, &d, IOPF_TD_ST_OK);
    check_pattern(t, d.iova, 0xdeadbeef, 9001);

    /* The pattern is what the header says, also without our own code */
    d = (Desc) { .op = IOPF_TD_OP_FILL, .iova = DATA, .length = 9,
                 .data = 0x11223344 };
    check(t, &d, IOPF_TD_ST_OK);
    qtest_memread(t->qts, DATA, buf, 9);
    g_assert_cmphex(ldl_le_p(buf), ==, 0x11223344);
    g_assert_cmphex((uint32_t)ldl_le_p(buf + 4), ==,
                    0x11223344u + 0x9e3779b1u);
    g_assert_cmphex(buf[8], ==, (uint8_t)(0x11223344u + 2 * 0x9e3779b1u));

    qtest_writeq(t->qts, DATA + 8, 0xffffffffULL);
    d = (Desc) { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA + 8, .length = 8,
                 .ram = IOPF_TD_RAM_DATA, .data = 1 };
    check(t, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, DATA + 8), ==, 0x100000000ULL);
    g_assert_cmphex(qtest_readq(t->qts, BAR2 + IOPF_TD_RAM_DATA), ==,
                    0xffffffffULL);
    d.data = -2;
    check(t, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(t->qts, DATA + 8), ==, 0xfffffffeULL);
    test_end(t);
}

static void test_bad_descriptors(void)
{
    Test *t = test_start();
    uint32_t ram_size = 4 * 1024 * 1024;
    const Desc bad[] = {
        { .op = IOPF_TD_OP_MAX + 1 },
        { .op = 0xff },
        { .op = IOPF_TD_OP_NOP, .mode = IOPF_TD_MODE_MAX + 1 },
        { .op = IOPF_TD_OP_NOP, .flags = 0x8000 },
        { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_PASID, .pasid = 1 << 20 },
        { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_PRGI, .prgi = 512 },
        { .op = IOPF_TD_OP_FILL, .iova = DATA },
        { .op = IOPF_TD_OP_FILL, .iova = UINT64_MAX, .length = 2 },
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 1, .ram = ram_size },
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 2,
          .ram = ram_size - 1 },
        { .op = IOPF_TD_OP_WRITE, .iova = DATA, .length = UINT32_MAX,
          .ram = UINT32_MAX },
        { .op = IOPF_TD_OP_WRITE, .iova = DATA, .length = 0x100,
          .ram = 0xffffff80 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 4 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA + 4, .length = 8 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 8,
          .ram = ram_size - 7 },
        { .op = IOPF_TD_OP_TRANSLATE, .iova = IOVA, .length = 1 },
        { .op = IOPF_TD_OP_TRANSLATE, .iova = IOVA, .length = 0x1001,
          .flags = IOPF_TD_F_READ, .ram = ram_size - 16 },
        { .op = IOPF_TD_OP_PAGE_REQUEST, .iova = IOVA },
        { .op = IOPF_TD_OP_STOP_MARKER },
        { .op = IOPF_TD_OP_STOP_PASID },
        { .op = IOPF_TD_OP_ATC_DROP, .iova = UINT64_MAX, .length = 2 },
    };
    const Desc good[] = {
        { .op = IOPF_TD_OP_READ, .iova = DATA, .length = 1,
          .ram = ram_size - 1 },
        { .op = IOPF_TD_OP_FETCH_ADD, .iova = DATA, .length = 8,
          .ram = ram_size - 8 },
        /* PASID is ignored without its flag */
        { .op = IOPF_TD_OP_NOP, .pasid = UINT32_MAX, .prgi = UINT16_MAX },
        { .op = IOPF_TD_OP_ATC_DROP, .iova = UINT64_MAX, .length = 1 },
        { .op = IOPF_TD_OP_ATC_DROP },
        { .op = IOPF_TD_OP_FENCE },
        { .op = IOPF_TD_OP_MARK, .data = 1 },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        g_test_message("bad descriptor %d", i);
        check(t, &bad[i], IOPF_TD_ST_BAD_DESC);
    }
    for (i = 0; i < ARRAY_SIZE(good); i++) {
        check(t, &good[i], IOPF_TD_ST_OK);
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_DESC_ERROR), ==,
                     ARRAY_SIZE(bad));
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_DESC_OK), ==,
                     ARRAY_SIZE(good));
    test_end(t);
}

static void check_refusal(Test *t, uint8_t op, uint8_t mode, uint16_t flags,
                          uint32_t status, int ret)
{
    Desc d = { .op = op, .mode = mode, .flags = flags, .pasid = 3,
               .iova = IOVA, .length = 8, .ram = IOPF_TD_RAM_DATA };
    uint64_t addr = start(t, &d);

    g_assert_cmpuint(finish(t, addr), ==, status);
    g_assert_cmpint(desc_ret(t, addr), ==, ret);
}

static void test_refusals(void)
{
    Test *t = test_start();
    uint16_t rd = IOPF_TD_F_READ;
    uint16_t pasid = IOPF_TD_F_PASID;

    /* There is no IOMMU at all */
    check_refusal(t, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_UNSUPPORTED, -ENODEV);
    check_refusal(t, IOPF_TD_OP_TRANSLATE, 0, rd, IOPF_TD_ST_UNSUPPORTED,
                  -ENODEV);
    check_refusal(t, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_UNSUPPORTED,
                  -ENODEV);
    check_refusal(t, IOPF_TD_OP_STOP_MARKER, 0, pasid,
                  IOPF_TD_ST_UNSUPPORTED, -ENODEV);
    check_refusal(t, IOPF_TD_OP_FILL, IOPF_TD_MODE_UNTRANSLATED, pasid,
                  IOPF_TD_ST_UNSUPPORTED, 0);
    check_refusal(t, IOPF_TD_OP_FILL, IOPF_TD_MODE_RAW, pasid,
                  IOPF_TD_ST_UNSUPPORTED, 0);

    /* A bus master it has to be */
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY);
    check_refusal(t, IOPF_TD_OP_READ, IOPF_TD_MODE_UNTRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(t, IOPF_TD_OP_READ, IOPF_TD_MODE_RAW, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    test_end(t);

    /* With an IOMMU that could, and nothing enabled in the device */
    t = test_start_args(MACHINE IOMMU DEVICE);
    check_refusal(t, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(t, IOPF_TD_OP_TRANSLATE, 0, rd | pasid, IOPF_TD_ST_REFUSED,
                  -EPERM);
    check_refusal(t, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_REFUSED,
                  -EPERM);
    check_refusal(t, IOPF_TD_OP_PAGE_REQUEST, 0, rd | pasid,
                  IOPF_TD_ST_REFUSED, -EPERM);
    check_refusal(t, IOPF_TD_OP_STOP_MARKER, 0, pasid, IOPF_TD_ST_REFUSED,
                  -EPERM);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    /* No allocation */
    check_refusal(t, IOPF_TD_OP_PAGE_REQUEST, 0, rd, IOPF_TD_ST_NO_CREDIT, 0);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY);
    check_refusal(t, IOPF_TD_OP_READ, IOPF_TD_MODE_TRANSLATED, 0,
                  IOPF_TD_ST_REFUSED, -EPERM);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_TR_OK), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_PR), ==, 0);
    test_end(t);
}

static void test_ring(void)
{
    Test *t = test_start();
    Desc d = { .op = IOPF_TD_OP_NOP };
    uint64_t addr[3];
    uint32_t done = 0;
    int i, round;

    /* Three at a time in a ring of four: every slot is last and first */
    start_ring(t, 2, 1);
    for (round = 0; round < 10; round++) {
        for (i = 0; i < 3; i++) {
            addr[i] = put(t, &d);
        }
        ring(t);
        for (i = 0; i < 3; i++) {
            g_assert_cmpuint(finish(t, addr[i]), ==, IOPF_TD_ST_OK);
            g_assert_cmpuint(qtest_readl(t->qts, addr[i] + IOPF_TD_DESC_SEQ),
                             ==, ++done);
        }
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RING_HEAD), ==, t->tail);
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RING_DONE), ==, done);
    }
    wait_idle(t);

    /* A ring of one entry is always empty */
    start_ring(t, 0, 1);
    reg_write(t, IOPF_TD_REG_RING_TAIL, 1);
    wait_idle(t);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RING_DONE), ==, done);

    /* The largest one, filled */
    start_ring(t, IOPF_TD_RING_LOG2_MAX, IOPF_TD_CONTEXTS_MAX);
    for (i = 0; i < (1 << IOPF_TD_RING_LOG2_MAX) - 1; i++) {
        put(t, &d);
    }
    ring(t);
    done += (1 << IOPF_TD_RING_LOG2_MAX) - 1;
    WAIT_FOR(t, reg_read(t, IOPF_TD_REG_RING_DONE) == done);
    g_assert_cmpuint(desc_status(t, desc_addr(1022)), ==, IOPF_TD_ST_OK);
    test_end(t);
}

static void test_order(void)
{
    Test *t = test_start();
    Desc slow = { .op = IOPF_TD_OP_NOP, .delay = 1000 };
    Desc fast = { .op = IOPF_TD_OP_NOP };
    Desc ordered = { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_ORDERED };
    uint64_t addr[4];
    uint32_t seq[4];
    int i;

    /* Out of order with contexts, except around the ordered one */
    reg_write(t, IOPF_TD_REG_CONTEXTS, 4);
    addr[0] = put(t, &slow);
    addr[1] = put(t, &fast);
    addr[2] = put(t, &ordered);
    addr[3] = put(t, &fast);
    ring(t);
    for (i = 0; i < 4; i++) {
        g_assert_cmpuint(finish(t, addr[i]), ==, IOPF_TD_ST_OK);
        seq[i] = qtest_readl(t->qts, addr[i] + IOPF_TD_DESC_SEQ);
    }
    g_assert_cmpuint(seq[1], ==, 1);
    g_assert_cmpuint(seq[0], ==, 2);
    g_assert_cmpuint(seq[2], ==, 3);
    g_assert_cmpuint(seq[3], ==, 4);
    test_end(t);
}

static void test_stop_and_abort(void)
{
    Test *t = test_start();
    Desc bad = { .op = 0xff };
    Desc nop = { .op = IOPF_TD_OP_NOP };
    Desc slow = { .op = IOPF_TD_OP_NOP, .delay = 0xffff };
    uint64_t addr;

    reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN |
              IOPF_TD_CTRL_STOP_ON_ERROR);
    put(t, &bad);
    addr = start(t, &nop);
    wait_status(t, IOPF_TD_STATUS_ERROR_STOP);
    wait_idle(t);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    /* Off and on again */
    reg_write(t, IOPF_TD_REG_CTRL, 0);
    reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);

    reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
    addr = start(t, &slow);
    reg_write(t, IOPF_TD_REG_STEP, 10);
    WAIT_FOR(t, !reg_read(t, IOPF_TD_REG_STEP));
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_ABORTED);
    wait_idle(t);
    reg_write(t, IOPF_TD_REG_COMMAND, 0);
    reg_write(t, IOPF_TD_REG_COMMAND, 99);
    test_end(t);
}

/* How many micro-steps a descriptor takes */
static void test_step(void)
{
    Test *t = test_start();
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = DATA, .length = 4, .delay = 2 };
    uint64_t addr;
    int i;

    reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
    addr = start(t, &d);
    qtest_writel(t->qts, DATA, 0);
    /* Fetch, chunk, two of delay, access, chunk, end */
    for (i = 0; i < 7; i++) {
        g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
        g_assert_cmphex(!!qtest_readl(t->qts, DATA), ==, i >= 5);
        d.data = 0;
        reg_write(t, IOPF_TD_REG_STEP, 1);
        WAIT_FOR(t, !reg_read(t, IOPF_TD_REG_STEP));
        if (!i) {
            /* A fetched descriptor is the device's copy */
            qtest_writel(t->qts, addr + IOPF_TD_DESC_DATA, 1);
        }
        if (i == 4) {
            g_assert_cmphex(qtest_readl(t->qts, DATA), ==, 0);
            qtest_writel(t->qts, DATA, 1);
        }
    }
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_OK);

    /* Steps that find nothing to do are gone */
    reg_write(t, IOPF_TD_REG_STEP, 1000);
    WAIT_FOR(t, !reg_read(t, IOPF_TD_REG_STEP));
    addr = start(t, &d);
    qtest_clock_step(t->qts, 1000000);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    test_end(t);
}

static void test_interrupts(void)
{
    Test *t = test_start();
    Desc d = { .op = IOPF_TD_OP_NOP, .flags = IOPF_TD_F_IRQ };
    Desc bad = { .op = 0xff };
    uint8_t msix = find_cap(t, PCI_CAP_ID_MSIX);
    uint16_t flags = cfg_readw(t, msix + PCI_MSIX_FLAGS);
    int i;

    g_assert_cmpuint((flags & PCI_MSIX_FLAGS_QSIZE) + 1, ==, IOPF_TD_VECTORS);
    for (i = 0; i < IOPF_TD_VECTORS; i++) {
        uint64_t entry = BAR4 + i * PCI_MSIX_ENTRY_SIZE;

        qtest_writel(t->qts, entry, MSI_TARGET + i * 4);
        qtest_writel(t->qts, entry + 4, 0);
        qtest_writel(t->qts, entry + 8, 0x1000 + i);
        qtest_writel(t->qts, entry + 12, 0);
    }
    cfg_writew(t, msix + PCI_MSIX_FLAGS, flags | PCI_MSIX_FLAGS_ENABLE);
    qtest_memset(t->qts, MSI_TARGET, 0, 64);

    /* Not enabled: the cause only; enabling it then raises the vector */
    check(t, &d, IOPF_TD_ST_OK);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_IRQ_CAUSE), ==, IOPF_TD_IRQ_RING);
    g_assert_cmphex(qtest_readl(t->qts, MSI_TARGET), ==, 0);
    reg_write(t, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);
    WAIT_FOR(t, qtest_readl(t->qts, MSI_TARGET) == 0x1000);

    /* Once until it is acknowledged */
    qtest_writel(t->qts, MSI_TARGET, 0);
    check(t, &d, IOPF_TD_ST_OK);
    qtest_clock_step(t->qts, 1000000);
    g_assert_cmphex(qtest_readl(t->qts, MSI_TARGET), ==, 0);
    reg_write(t, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_RING);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_IRQ_CAUSE), ==, 0);
    check(t, &d, IOPF_TD_ST_OK);
    WAIT_FOR(t, qtest_readl(t->qts, MSI_TARGET) == 0x1000);

    check(t, &bad, IOPF_TD_ST_BAD_DESC);
    WAIT_FOR(t, qtest_readl(t->qts, MSI_TARGET + 4) == 0x1001);

    /* By hand; what does not exist is not raised */
    qtest_memset(t->qts, MSI_TARGET, 0, 64);
    reg_write(t, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_ALL);
    reg_write(t, IOPF_TD_REG_IRQ_TEST, 0xffffffff);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_IRQ_CAUSE), ==, IOPF_TD_IRQ_ALL);
    for (i = 0; i < IOPF_TD_VECTORS; i++) {
        WAIT_FOR(t, qtest_readl(t->qts, MSI_TARGET + i * 4) == 0x1000 + i);
    }
    g_assert_cmphex(qtest_readl(t->qts, MSI_TARGET + 32), ==, 0);
    test_end(t);
}

/* A DMA into the own registers must not get through, nor harm */
static void test_own_registers(void)
{
    Test *t = test_start();
    Desc d = { .op = IOPF_TD_OP_FILL, .iova = BAR0 + IOPF_TD_REG_COMMAND,
               .length = 4, .data = IOPF_TD_CMD_RESET };
    uint64_t addr = start(t, &d);

    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_ACCESS_ERROR);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_CTRL), ==, IOPF_TD_CTRL_RUN);

    /* Function level reset of itself, in the middle of the transfer */
    d.iova = cfg_addr(t, t->exp + PCI_EXP_DEVCTL);
    d.data = PCI_EXP_DEVCTL_BCR_FLR;
    d.length = 2;
    start(t, &d);
    WAIT_FOR(t, cfg_readl(t, PCI_BASE_ADDRESS_0) != BAR0);
    map_bars(t);
    check_default_registers(t);
    test_end(t);
}

static void test_logs(void)
{
    Test *t = test_start();
    Desc d = { .op = IOPF_TD_OP_MARK };
    uint64_t rec;
    int i;

    reg_write(t, IOPF_TD_REG_CONTEXTS, 1);
    for (i = 0; i < IOPF_TD_RSPLOG_ENTRIES + 10; i++) {
        d.data = i;
        start(t, &d);
        if (i % 200 == 199) {
            wait_idle(t);
        }
    }
    wait_idle(t);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RSPLOG_HEAD), ==, i);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_INVLOG_HEAD), ==, i);
    /* The newest record, in a slot that was used before */
    rec = BAR2 + IOPF_TD_RAM_RSPLOG + 9 * IOPF_TD_LOG_ENTRY_SIZE;
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_RSP_SEQ), ==, i);
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_RSP_COUNT), ==, i - 1);
    g_assert_cmphex(qtest_readb(t->qts, rec + IOPF_TD_RSP_FLAGS), ==,
                    IOPF_TD_RSP_F_MARK);
    rec = BAR2 + IOPF_TD_RAM_INVLOG +
          (i - 1) % IOPF_TD_INVLOG_ENTRIES * IOPF_TD_LOG_ENTRY_SIZE;
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_INV_SEQ), ==, i);
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_INV_DROPPED), ==,
                     i - 1);
    /* Nothing outside */
    g_assert_cmpuint(qtest_readl(t->qts, BAR2 + IOPF_TD_RAM_DATA), ==, 0);

    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_CLEAR);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_RSPLOG_HEAD), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_DESC_OK), ==, 0);
    g_assert_cmpuint(qtest_readl(t->qts, rec + IOPF_TD_INV_SEQ), ==, 0);
    test_end(t);
}

/*
 * Part 2: with intel-iommu
 */

static void vtd_writeq(Test *t, uint64_t offset, uint64_t val)
{
    qtest_writeq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

static void vtd_writel(Test *t, uint64_t offset, uint32_t val)
{
    qtest_writel(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

static uint64_t vtd_readq(Test *t, uint64_t offset)
{
    return qtest_readq(t->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset);
}

/* All PASIDs, and requests without one, share a second stage table */
static void write_tables(Test *t)
{
    uint64_t context = CONTEXT + (t->bdf & 0xff) * VTD_CTX_ENTRY_SCALABLE_SIZE;
    uint32_t pasid;
    int level;

    qtest_memset(t->qts, ROOT, 0, DATA - ROOT);
    qtest_writeq(t->qts, ROOT + (t->bdf >> 8) * 16,
                 CONTEXT | VTD_ROOT_ENTRY_P);
    qtest_writeq(t->qts, context, PASID_DIR | VTD_CONTEXT_ENTRY_P |
                 VTD_SM_CONTEXT_ENTRY_DTE | VTD_SM_CONTEXT_ENTRY_PASIDE |
                 VTD_SM_CONTEXT_ENTRY_PRE);
    for (pasid = 0; pasid < 256; pasid++) {
        uint64_t entry = PASID_TABLES + pasid * VTD_PASID_ENTRY_SIZE;

        if (pasid % 64 == 0) {
            qtest_writeq(t->qts, PASID_DIR + pasid / 64 * 8,
                         (PASID_TABLES + pasid / 64 * PAGE) |
                         VTD_PASID_DIR_P);
        }
        qtest_writeq(t->qts, entry + 8, 7);
        qtest_writeq(t->qts, entry, SL_TABLES | VTD_SM_PASID_ENTRY_SLT |
                     2 << 2 | VTD_PASID_ENTRY_P);
    }
    for (level = 4; level > 1; level--) {
        uint64_t table = SL_TABLES + (4 - level) * PAGE;

        qtest_writeq(t->qts, table +
                     extract64(IOVA, 12 + 9 * (level - 1), 9) * 8,
                     (table + PAGE) | PTE_RW);
    }
}

/* Page n of IOVA becomes page n of DATA */
static void map(Test *t, unsigned page, uint64_t flags)
{
    qtest_writeq(t->qts, SL_TABLES + 3 * PAGE + page * 8,
                 flags ? (DATA + page * PAGE) | flags : 0);
}

static void map_to(Test *t, unsigned page, uint64_t addr)
{
    qtest_writeq(t->qts, SL_TABLES + 3 * PAGE + page * 8, addr | PTE_RW);
}

static void map_all(Test *t, unsigned first, unsigned pages)
{
    while (pages--) {
        map(t, first++, PTE_RW);
    }
}

static void iq_submit(Test *t, uint64_t q0, uint64_t q1)
{
    uint64_t addr = IQ + t->iq_tail * 32;

    qtest_writeq(t->qts, addr, q0);
    qtest_writeq(t->qts, addr + 8, q1);
    qtest_writeq(t->qts, addr + 16, 0);
    qtest_writeq(t->qts, addr + 24, 0);
    t->iq_tail = (t->iq_tail + 1) % IQ_ENTRIES;
    vtd_writeq(t, DMAR_IQT_REG, t->iq_tail << 5);
    g_assert_cmphex(vtd_readq(t, DMAR_IQH_REG), ==, t->iq_tail << 5);
}

/* The IOMMU's cache and the device's */
static void invalidate(Test *t, unsigned page)
{
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
    iq_submit(t, VTD_INV_DESC_DEVICE | (uint64_t)t->bdf << 32,
              IOVA + page * PAGE);
}

/* codes: those of the protocol */
static void respond(Test *t, uint32_t pasid, uint8_t code, uint16_t prgi)
{
    uint64_t lo = VTD_INV_DESC_PGRP_RESP | (uint64_t)code << 12 |
                  (uint64_t)t->bdf << 16;

    if (pasid != NO_PASID) {
        lo |= 1 << 4 | (uint64_t)pasid << 32;
    }
    iq_submit(t, lo, (uint64_t)prgi << 3);
}

typedef struct Request {
    bool pasid_present;
    uint32_t pasid;
    uint64_t addr;
    uint16_t prgi;
    bool read, write, last;
} Request;

static bool have_request(Test *t)
{
    return vtd_readq(t, DMAR_PQT_REG) != t->prq_head << 5;
}

static Request take_request(Test *t)
{
    uint64_t addr = PRQ + t->prq_head * 32;
    uint64_t lo, hi;

    WAIT_FOR(t, have_request(t));
    lo = qtest_readq(t->qts, addr);
    hi = qtest_readq(t->qts, addr + 8);
    t->prq_head = (t->prq_head + 1) % PRQ_ENTRIES;
    vtd_writeq(t, DMAR_PQH_REG, t->prq_head << 5);
    g_assert_cmphex(extract64(lo, 16, 16), ==, t->bdf);
    return (Request) {
        .pasid_present = extract64(lo, 8, 1),
        .pasid = extract64(lo, 8, 1) ? extract64(lo, 32, 20) : NO_PASID,
        .addr = hi & ~0xfffULL,
        .prgi = extract64(hi, 3, 9),
        .read = hi & 1,
        .write = hi & 2,
        .last = hi & 4,
    };
}

static void check_request(Test *t, uint64_t addr, uint32_t pasid, bool read,
                          bool write, bool last, uint16_t *prgi)
{
    Request r = take_request(t);

    g_assert_cmphex(r.addr, ==, addr);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpint(r.read, ==, read);
    g_assert_cmpint(r.write, ==, write);
    g_assert_cmpint(r.last, ==, last);
    if (prgi) {
        *prgi = r.prgi;
    }
}

static void check_no_request(Test *t)
{
    qtest_clock_step(t->qts, 100000);
    g_assert(!have_request(t));
}

static void enable_device(Test *t, uint32_t allocation)
{
    cfg_writew(t, t->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE |
               PCI_PASID_CTRL_EXEC | PCI_PASID_CTRL_PRIV);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    cfg_writel(t, t->pri + PCI_PRI_ALLOC_REQ, allocation);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
}

static void start_iommu(Test *t)
{
    write_tables(t);
    vtd_writeq(t, DMAR_RTADDR_REG, ROOT | VTD_RTADDR_SMT);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    vtd_writeq(t, DMAR_IQT_REG, 0);
    vtd_writeq(t, DMAR_IQA_REG, IQ | VTD_IQA_DW_MASK);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE);
    vtd_writeq(t, DMAR_PQH_REG, 0);
    vtd_writeq(t, DMAR_PQT_REG, 0);
    vtd_writeq(t, DMAR_PQA_REG, PRQ | PRQ_LOG2_PAGES);
    vtd_writel(t, DMAR_GCMD_REG, VTD_GCMD_QIE | VTD_GCMD_TE);
    t->iq_tail = 0;
    t->prq_head = 0;
}

static Test *test_start_iommu_args(const char *device, uint32_t allocation)
{
    g_autofree char *args = g_strconcat(MACHINE IOMMU, device, NULL);
    Test *t = test_start_args(args);

    start_iommu(t);
    enable_device(t, allocation);
    return t;
}

static Test *test_start_iommu(void)
{
    return test_start_iommu_args(DEVICE ",pri-capacity=512", 512);
}

static Desc fill(unsigned page, unsigned pages, uint32_t seed)
{
    return (Desc) { .op = IOPF_TD_OP_FILL, .iova = IOVA + page * PAGE,
                    .length = pages * PAGE, .data = seed };
}

static Desc with_pasid(Desc d, uint32_t pasid)
{
    d.flags |= IOPF_TD_F_PASID;
    d.pasid = pasid;
    return d;
}

static Desc page_request(unsigned page, unsigned pages, uint16_t flags)
{
    return (Desc) { .op = IOPF_TD_OP_PAGE_REQUEST, .flags = flags,
                    .iova = IOVA + page * PAGE, .length = pages * PAGE };
}

static void set_storm(Test *t, unsigned page, uint32_t count, uint32_t group,
                      uint32_t flags)
{
    qtest_writeq(t->qts, BAR0 + IOPF_TD_REG_STORM_ADDR, IOVA + page * PAGE);
    reg_write(t, IOPF_TD_REG_STORM_COUNT, count);
    reg_write(t, IOPF_TD_REG_STORM_GROUP, group);
    reg_write(t, IOPF_TD_REG_STORM_FLAGS, flags);
    reg_write(t, IOPF_TD_REG_STORM_GO, 1);
}

static bool storm_over(Test *t)
{
    return !(reg_read(t, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_STORM);
}

typedef struct Response {
    uint8_t code, flags;
    uint16_t prgi;
    uint32_t pasid, count;
    uint64_t addr;
} Response;

static Response last_response(Test *t)
{
    uint32_t head = reg_read(t, IOPF_TD_REG_RSPLOG_HEAD);
    uint64_t rec = BAR2 + IOPF_TD_RAM_RSPLOG +
                   (head - 1) % IOPF_TD_RSPLOG_ENTRIES *
                   IOPF_TD_LOG_ENTRY_SIZE;

    g_assert_cmpuint(head, >, 0);
    g_assert_cmpuint(qtest_readl(t->qts, rec), ==, head);
    return (Response) {
        .code = qtest_readb(t->qts, rec + IOPF_TD_RSP_CODE),
        .flags = qtest_readb(t->qts, rec + IOPF_TD_RSP_FLAGS),
        .prgi = qtest_readw(t->qts, rec + IOPF_TD_RSP_PRGI),
        .pasid = qtest_readl(t->qts, rec + IOPF_TD_RSP_PASID),
        .count = qtest_readl(t->qts, rec + IOPF_TD_RSP_COUNT),
        .addr = qtest_readq(t->qts, rec + IOPF_TD_RSP_ADDR),
    };
}

static void check_response(Test *t, uint8_t code, uint8_t flags,
                           uint16_t prgi, uint32_t pasid, uint32_t count)
{
    Response r = last_response(t);

    g_assert_cmphex(r.code, ==, code);
    g_assert_cmphex(r.flags, ==, flags);
    g_assert_cmpuint(r.prgi, ==, prgi);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpuint(r.count, ==, count);
}

/* A page that is not there, with and without PASID */
static void test_page_fault(void)
{
    Test *t = test_start_iommu();
    static const uint32_t pasids[] = { NO_PASID, 5, 255 };
    uint16_t prgi;
    uint64_t addr;
    int i;

    for (i = 0; i < ARRAY_SIZE(pasids); i++) {
        uint32_t pasid = pasids[i];
        Desc d = fill(i, 1, 0x1111 * (i + 1));

        if (pasid != NO_PASID) {
            d = with_pasid(d, pasid);
        }
        addr = start(t, &d);
        check_request(t, IOVA + i * PAGE, pasid, true, true, true, &prgi);
        wait_status(t, IOPF_TD_STATUS_WAITING);
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUPS), ==, 1);
        g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
        map(t, i, PTE_RW);
        respond(t, pasid, 0, prgi);
        g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
        check_response(t, 0, 0, prgi, pasid, 1);
        check_pattern(t, DATA + i * PAGE, d.data, PAGE);
        g_assert_cmpuint(qtest_readw(t->qts, addr + IOPF_TD_DESC_NR_PR), ==,
                         1);
        g_assert_cmpuint(qtest_readw(t->qts, addr + IOPF_TD_DESC_NR_TR), ==,
                         2);
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);

        /* From the cache now */
        d.op = IOPF_TD_OP_COMPARE;
        addr = start(t, &d);
        g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
        g_assert_cmpuint(qtest_readw(t->qts, addr + IOPF_TD_DESC_NR_TR), ==,
                         0);
        g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, i + 1);
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_PR), ==, 3);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_PR_LAST), ==, 3);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_SUCCESS), ==, 3);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_ACC_UNTRANSLATED), ==, 0);
    test_end(t);
}

/* Many transfers wait at once; answers come in reverse order */
static void test_many_pending(void)
{
    Test *t = test_start_iommu();
    uint64_t addr[64];
    uint16_t prgi[64];
    uint64_t seen = 0;
    int i;

    reg_write(t, IOPF_TD_REG_CONTEXTS, 64);
    for (i = 0; i < 64; i++) {
        Desc d = fill(i, 1, i);

        if (i % 2) {
            d = with_pasid(d, i);
        }
        addr[i] = put(t, &d);
    }
    ring(t);
    for (i = 0; i < 64; i++) {
        Request r = take_request(t);
        unsigned page = (r.addr - IOVA) / PAGE;

        g_assert_cmpuint(page, <, 64);
        g_assert_cmphex(r.pasid, ==, page % 2 ? page : NO_PASID);
        g_assert(!(seen & (1ULL << page)));
        seen |= 1ULL << page;
        prgi[page] = r.prgi;
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUPS), ==, 64);
    for (i = 63; i >= 0; i--) {
        g_assert_cmpuint(desc_status(t, addr[i]), ==, IOPF_TD_ST_NONE);
        map(t, i, PTE_RW);
        respond(t, i % 2 ? i : NO_PASID, 0, prgi[i]);
        g_assert_cmpuint(finish(t, addr[i]), ==, IOPF_TD_ST_OK);
        check_pattern(t, DATA + i * PAGE, i, PAGE);
    }
    test_end(t);
}

/* One group of 512 pages, of which some are there */
static void test_group(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 512, 0x5eed);
    Request r = {};
    uint16_t prgi = 0;
    uint64_t addr;
    int i;

    d.flags |= IOPF_TD_F_GROUP;
    map_all(t, 100, 12);
    addr = start(t, &d);
    for (i = 0; i < 500; i++) {
        r = take_request(t);
        g_assert_cmphex(r.addr, ==, IOVA + (i < 100 ? i : i + 12) * PAGE);
        g_assert_cmpint(r.last, ==, i == 499);
        if (i) {
            g_assert_cmpuint(r.prgi, ==, prgi);
        }
        prgi = r.prgi;
    }
    check_no_request(t);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 500);
    map_all(t, 0, 512);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    check_response(t, 0, 0, prgi, NO_PASID, 500);
    check_pattern(t, DATA, 0x5eed, 512 * PAGE);
    test_end(t);
}

/* The allocation limits groups, and transfers wait for each other */
static void test_allocation(void)
{
    Test *t = test_start_iommu_args(DEVICE, 4);
    Desc d = fill(0, 6, 1);
    Desc e = fill(10, 1, 2);
    uint16_t prgi;
    uint64_t addr[2];
    int i;

    reg_write(t, IOPF_TD_REG_CONTEXTS, 2);
    d.flags |= IOPF_TD_F_GROUP;
    addr[0] = start(t, &d);
    for (i = 0; i < 4; i++) {
        check_request(t, IOVA + i * PAGE, NO_PASID, true, true, i == 3, &prgi);
    }
    addr[1] = start(t, &e);
    check_no_request(t);
    g_assert(reg_read(t, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_BUSY);

    map_all(t, 0, 4);
    respond(t, NO_PASID, 0, prgi);
    for (i = 0; i < 3; i++) {
        Request r = take_request(t);

        if (r.addr == IOVA + 10 * PAGE) {
            g_assert(r.last);
            map(t, 10, PTE_RW);
            respond(t, NO_PASID, 0, r.prgi);
        } else if (r.last) {
            g_assert_cmphex(r.addr, ==, IOVA + 5 * PAGE);
            map_all(t, 4, 2);
            respond(t, NO_PASID, 0, r.prgi);
        } else {
            g_assert_cmphex(r.addr, ==, IOVA + 4 * PAGE);
        }
    }
    g_assert_cmpuint(finish(t, addr[0]), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(finish(t, addr[1]), ==, IOPF_TD_ST_OK);
    check_no_request(t);

    /* Without waiting */
    reg_write(t, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_NO_CREDIT_WAIT);
    d = fill(20, 4, 3);
    d.flags |= IOPF_TD_F_GROUP;
    addr[0] = start(t, &d);
    for (i = 0; i < 4; i++) {
        check_request(t, IOVA + (20 + i) * PAGE, NO_PASID, true, true, i == 3,
                      &prgi);
    }
    e = fill(30, 1, 4);
    check(t, &e, IOPF_TD_ST_NO_CREDIT);

    /* A device that does not care */
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
    addr[1] = start(t, &e);
    check_request(t, IOVA + 30 * PAGE, NO_PASID, true, true, true, NULL);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);
    g_assert_cmpuint(desc_status(t, addr[0]), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(desc_status(t, addr[1]), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_STALE), ==, 2);
    test_end(t);
}

static void test_write_to_read_only(void)
{
    Test *t = test_start_iommu();
    Desc rd = { .op = IOPF_TD_OP_READ, .iova = IOVA, .length = 16,
                .ram = IOPF_TD_RAM_DATA };
    Desc wr = fill(0, 1, 0xabcd);
    uint16_t prgi;
    uint64_t addr;

    map(t, 0, VTD_SL_R);
    check(t, &rd, IOPF_TD_ST_OK);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_PR), ==, 0);

    /* The hit is not good enough */
    reg_write(t, IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE |
              IOPF_TD_ATC_CTRL_NO_REASK);
    check(t, &wr, IOPF_TD_ST_NO_ACCESS);
    reg_write(t, IOPF_TD_REG_ATC_CTRL, IOPF_TD_ATC_CTRL_ENABLE);
    wr.flags = IOPF_TD_F_NO_PR;
    check(t, &wr, IOPF_TD_ST_NO_ACCESS);
    wr.flags = 0;

    reg_write(t, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_WRITE_ONLY);
    addr = start(t, &wr);
    check_request(t, IOVA, NO_PASID, false, true, true, &prgi);
    map(t, 0, PTE_RW);
    iq_submit(t, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    check_pattern(t, DATA, 0xabcd, PAGE);
    test_end(t);
}

static void test_bad_answers(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi;
    uint64_t addr;
    int i;

    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    respond(t, NO_PASID, 1, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_INVALID);
    g_assert_cmphex(qtest_readq(t->qts, addr + IOPF_TD_DESC_FAIL_ADDR), ==,
                    IOVA);
    check_response(t, 1, 0, prgi, NO_PASID, 1);

    /* Success, but nothing was mapped: asked as often as allowed */
    addr = start(t, &d);
    for (i = 0; i < 3; i++) {
        check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
        respond(t, NO_PASID, 0, prgi);
    }
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_NO_RETRY);
    check_no_request(t);

    /* A group nobody knows */
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);
    respond(t, NO_PASID, 0, 77);
    check_response(t, 0, IOPF_TD_RSP_F_UNMATCHED, 77, NO_PASID, 0);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, PCI_PRI_STATUS_UPRGI);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_IRQ_CAUSE) &
                    IOPF_TD_IRQ_PRI_ERROR, ==, IOPF_TD_IRQ_PRI_ERROR);
    cfg_writew(t, t->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);

    /* The same index in another address space is another group */
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    d = with_pasid(d, 9);
    map(t, 1, PTE_RW);
    respond(t, 9, 0, prgi);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    map(t, 0, PTE_RW);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    test_end(t);
}

/* The IOMMU refuses requests: no message, but an answer all the same */
static void test_refused_by_iommu(void)
{
    Test *t = test_start_iommu();
    uint64_t context = CONTEXT + DEVFN * VTD_CTX_ENTRY_SCALABLE_SIZE;
    Desc d = page_request(0, 3, IOPF_TD_F_READ | IOPF_TD_F_PRGI);
    uint64_t addr, val;

    /* A PASID without tables */
    qtest_writeq(t->qts, PASID_TABLES + 8 * VTD_PASID_ENTRY_SIZE, 0);
    d.prgi = 17;
    d = with_pasid(d, 8);
    addr = start(t, &d);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_INVALID);
    g_assert_cmpint(desc_ret(t, addr), ==, -EACCES);
    check_response(t, 1, IOPF_TD_RSP_F_AUTO, 17, 8, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_PR_REFUSED), ==, 3);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_AUTO), ==, 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_INVALID), ==, 0);

    /* Page requests of the device are disabled */
    val = qtest_readq(t->qts, context);
    qtest_writeq(t->qts, context, val & ~VTD_SM_CONTEXT_ENTRY_PRE);
    iq_submit(t, VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL, 0);
    d = fill(0, 2, 1);
    d.flags = IOPF_TD_F_GROUP;
    addr = start(t, &d);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_INVALID);
    g_assert_cmpint(desc_ret(t, addr), ==, -EPERM);
    check_response(t, 1, IOPF_TD_RSP_F_AUTO, 0, NO_PASID, 0);

    set_storm(t, 0, 20, 4, IOPF_TD_STORM_F_READ);
    WAIT_FOR(t, storm_over(t));
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_OTHER), ==, 20);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_AUTO), ==, 7);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_RESPONSES), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    check_no_request(t);

    /* In the device itself it is something else */
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    check(t, &d, IOPF_TD_ST_REFUSED);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_AUTO), ==, 7);
    test_end(t);
}

static void test_response_failure(void)
{
    Test *t = test_start_iommu();
    Desc d[3] = { fill(0, 1, 1), fill(1, 1, 2), fill(2, 1, 3) };
    uint64_t addr[2];
    uint16_t prgi[2];

    reg_write(t, IOPF_TD_REG_CONTEXTS, 2);
    addr[0] = start(t, &d[0]);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi[0]);
    addr[1] = start(t, &d[1]);
    check_request(t, IOVA + PAGE, NO_PASID, true, true, true, &prgi[1]);

    /* Ends both, and all that come */
    respond(t, NO_PASID, 0xf, prgi[0]);
    g_assert_cmpuint(finish(t, addr[0]), ==, IOPF_TD_ST_RSP_FAILURE);
    g_assert_cmpuint(finish(t, addr[1]), ==, IOPF_TD_ST_RSP_FAILURE);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, PCI_PRI_STATUS_RF);
    g_assert(reg_read(t, IOPF_TD_REG_STATUS) & IOPF_TD_STATUS_PRI_FAILED);
    check(t, &d[2], IOPF_TD_ST_RSP_FAILURE);
    check_no_request(t);
    /* The other answer finds a group that nobody waits for */
    respond(t, NO_PASID, 0, prgi[1]);
    g_assert_cmphex(last_response(t).flags, ==, IOPF_TD_RSP_F_LATE);

    /* Until software has disabled and enabled the interface */
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    cfg_writew(t, t->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_RF, ==, 0);
    addr[0] = start(t, &d[2]);
    check_request(t, IOVA + 2 * PAGE, NO_PASID, true, true, true, &prgi[0]);
    map(t, 2, PTE_RW);
    respond(t, NO_PASID, 0, prgi[0]);
    g_assert_cmpuint(finish(t, addr[0]), ==, IOPF_TD_ST_OK);
    test_end(t);
}

static void test_timeout(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi, other;
    uint64_t addr;

    reg_write(t, IOPF_TD_REG_PRI_TIMEOUT_MS, 5);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    qtest_clock_step(t->qts, 10 * 1000 * 1000);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_TIMEOUT);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_TIMEOUT), ==, 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_STALE), ==, 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 1);

    /* The index is not used again before the answer; no timeout, by hand */
    reg_write(t, IOPF_TD_REG_PRI_TIMEOUT_MS, 0);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &other);
    g_assert_cmpuint(other, !=, prgi);
    qtest_clock_step(t->qts, 10 * 1000 * 1000);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_EXPIRE);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_TIMEOUT);

    respond(t, NO_PASID, 0, prgi);
    check_response(t, 0, IOPF_TD_RSP_F_LATE, prgi, NO_PASID, 1);
    respond(t, NO_PASID, 0, other);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_LATE), ==, 2);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_STALE), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    /* And is afterwards */
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &other);
    g_assert_cmpuint(other, ==, prgi);
    test_end(t);
}

/* An invalidation between translation and use */
static void test_step_invalidate(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 1, 0x77);
    bool hostile;

    for (hostile = false; ; hostile = true) {
        uint64_t addr;

        qtest_memset(t->qts, DATA, 0, 2 * PAGE);
        map_to(t, 0, DATA);
        invalidate(t, 0);
        reg_write(t, IOPF_TD_REG_HOSTILE,
                  hostile ? IOPF_TD_HOSTILE_IGNORE_INV : 0);
        reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP);
        d.delay = 1;
        addr = start(t, &d);
        /* Fetch, lookup, translation */
        reg_write(t, IOPF_TD_REG_STEP, 3);
        WAIT_FOR(t, !reg_read(t, IOPF_TD_REG_STEP));
        map_to(t, 0, DATA + PAGE);
        invalidate(t, 0);
        reg_write(t, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
        g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
        check_pattern(t, hostile ? DATA : DATA + PAGE, 0x77, PAGE);
        g_assert_cmphex(qtest_readl(t->qts, hostile ? DATA + PAGE : DATA), ==,
                        0);
        if (hostile) {
            break;
        }
    }
    test_end(t);
}

static void test_storm(void)
{
    Test *t = test_start_iommu();
    uint32_t rw = IOPF_TD_STORM_F_READ | IOPF_TD_STORM_F_WRITE;
    Desc d = fill(0, 1, 5);
    uint32_t sent, full;
    uint16_t prgi;
    uint64_t addr;
    int i;

    /* Groups of 8, with a queue that takes 2047 and nobody who empties it */
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_ALLOC);
    set_storm(t, 0, 100000, 8, rw);
    WAIT_FOR(t, storm_over(t));
    sent = reg_read(t, IOPF_TD_REG_STORM_SENT);
    full = reg_read(t, IOPF_TD_REG_STORM_FULL);
    g_assert_cmpuint(sent, ==, PRQ_ENTRIES - 1);
    g_assert_cmpuint(sent + full, ==, 100000);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_OTHER), ==, 0);
    g_assert_cmpint((int32_t)reg_read(t, IOPF_TD_REG_STORM_RET), ==, -ENOSPC);
    /* Every group is closed by the device, or awaits its answer */
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_GROUPS), ==, 255);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUPS), ==, 255);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_PARTIAL), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_RSP_AUTO), ==, 12500 - 255);
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_IRQ_CAUSE) &
                    (IOPF_TD_IRQ_OVERFLOW | IOPF_TD_IRQ_STORM), ==,
                    IOPF_TD_IRQ_OVERFLOW | IOPF_TD_IRQ_STORM);

    /* A transfer meets the full queue and tries again until it is emptied */
    addr = start(t, &d);
    WAIT_FOR(t, reg_read(t, IOPF_TD_REG_STORM_FULL) == full &&
                reg_read(t, IOPF_TD_REG_CNT_PR_FULL) > full + 3);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    for (i = 0; i < PRQ_ENTRIES - 1; i++) {
        Request r = take_request(t);

        if (r.last) {
            respond(t, NO_PASID, 0, r.prgi);
        }
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_RESPONSES), ==, 255);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUPS), ==, 0);
    vtd_writel(t, DMAR_PRS_REG, 2);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    map(t, 0, PTE_RW);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    test_end(t);
}

/* The allocation and the number of indices hold back a well behaved storm */
static void test_storm_waits(void)
{
    Test *t = test_start_iommu();
    uint32_t rd = IOPF_TD_STORM_F_READ;
    int i;

    set_storm(t, 0, 600, 1, rd);
    for (i = 0; i < 512; i++) {
        take_request(t);
    }
    check_no_request(t);
    g_assert(!storm_over(t));
    /* In any order: one answer, one request */
    for (i = 0; i < 88; i++) {
        respond(t, NO_PASID, 0, (i * 5) % 512);
        g_assert_cmphex(take_request(t).addr, ==, IOVA + (512 + i) * PAGE);
    }
    WAIT_FOR(t, storm_over(t));
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_SENT), ==, 600);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);

    /* No waiting: what finds no index is left out */
    set_storm(t, 0, 10, 1, rd | IOPF_TD_STORM_F_NO_WAIT);
    WAIT_FOR(t, storm_over(t));
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_DROPPED), ==, 10);

    /* Software that resets the interface forgets it all */
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, 0);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, PCI_PRI_STATUS_STOPPED);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_STALE), ==, 0);
    respond(t, NO_PASID, 0, 3);
    g_assert_cmphex(last_response(t).flags, ==, IOPF_TD_RSP_F_UNMATCHED);

    /* One group for all, cut where the allocation ends */
    cfg_writel(t, t->pri + PCI_PRI_ALLOC_REQ, 4);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    set_storm(t, 0, 6, 0, rd);
    for (i = 0; i < 4; i++) {
        g_assert_cmpint(take_request(t).last, ==, i == 3);
    }
    check_no_request(t);
    respond(t, NO_PASID, 0, 0);
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(take_request(t).last, ==, i == 1);
    }
    WAIT_FOR(t, storm_over(t));
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_STORM_GROUPS), ==, 2);
    test_end(t);
}

/* Requests with nothing behind them, and groups without an end */
static void test_page_request_only(void)
{
    Test *t = test_start_iommu();
    uint16_t flags = IOPF_TD_F_READ | IOPF_TD_F_PRGI;
    Desc d = page_request(0, 2, flags | IOPF_TD_F_NOLAST);
    Desc fence = { .op = IOPF_TD_OP_FENCE };
    uint64_t addr;

    /* A group put together from two descriptors */
    d.prgi = 300;
    check(t, &d, IOPF_TD_ST_OK);
    check_request(t, IOVA, NO_PASID, true, false, false, NULL);
    check_request(t, IOVA + PAGE, NO_PASID, true, false, false, NULL);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_PARTIAL), ==, 1);
    check(t, &fence, IOPF_TD_ST_OK);
    d = page_request(7, 1, flags | IOPF_TD_F_WRITE);
    d.prgi = 300;
    check(t, &d, IOPF_TD_ST_OK);
    check_request(t, IOVA + 7 * PAGE, NO_PASID, true, true, true, NULL);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_PARTIAL), ==, 0);

    /* The fence waits for the answer */
    addr = start(t, &fence);
    qtest_clock_step(t->qts, 100000);
    g_assert_cmpuint(desc_status(t, addr), ==, IOPF_TD_ST_NONE);
    respond(t, NO_PASID, 0, 300);
    check_response(t, 0, 0, 300, NO_PASID, 3);
    g_assert_cmphex(last_response(t).addr, ==, IOVA);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);

    /* Neither read nor write is legal */
    d = page_request(0, 1, IOPF_TD_F_WAIT);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, false, false, true, NULL);
    respond(t, NO_PASID, 1, 0);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_RSP_INVALID);

    /* More pages than a group may have */
    reg_write(t, IOPF_TD_REG_PRI_GROUP_MAX, 3);
    d = page_request(0, 5, IOPF_TD_F_READ | IOPF_TD_F_WAIT);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, false, false, NULL);
    check_request(t, IOVA + PAGE, NO_PASID, true, false, false, NULL);
    check_request(t, IOVA + 2 * PAGE, NO_PASID, true, false, true, NULL);
    check_no_request(t);
    respond(t, NO_PASID, 0, 0);
    check_request(t, IOVA + 3 * PAGE, NO_PASID, true, false, false, NULL);
    check_request(t, IOVA + 4 * PAGE, NO_PASID, true, false, true, NULL);
    respond(t, NO_PASID, 0, 0);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(qtest_readl(t->qts, addr + IOPF_TD_DESC_DONE), ==,
                     5 * PAGE);

    /* A partial group is gone with the interface */
    d = page_request(0, 1, IOPF_TD_F_READ | IOPF_TD_F_NOLAST | IOPF_TD_F_WAIT);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, false, false, NULL);
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_STOPPED, ==, PCI_PRI_STATUS_STOPPED);
    test_end(t);
}

static void test_stop_pasid(void)
{
    Test *t = test_start_iommu();
    Desc d = with_pasid(fill(0, 1, 1), 6);
    Desc e = with_pasid(fill(1, 1, 1), 6);
    Desc f = with_pasid(fill(2, 1, 1), 7);
    Desc marker = { .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID,
                    .pasid = 6 };
    uint16_t prgi;
    uint64_t addr, other[2];

    check(t, &marker, IOPF_TD_ST_OK);
    check_request(t, 0, 6, false, false, true, NULL);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_OUTSTANDING), ==, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_CNT_STOP_MARKER), ==, 1);

    /* One waits for an answer, one has not sent its request yet */
    reg_write(t, IOPF_TD_REG_CONTEXTS, 4);
    addr = start(t, &d);
    check_request(t, IOVA, 6, true, true, true, &prgi);
    reg_write(t, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_HOLD);
    other[0] = start(t, &e);
    other[1] = start(t, &f);
    wait_status(t, IOPF_TD_STATUS_HELD);
    marker.op = IOPF_TD_OP_STOP_PASID;
    check(t, &marker, IOPF_TD_ST_OK);
    check_request(t, 0, 6, false, false, true, NULL);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_ABORTED);
    g_assert_cmpuint(finish(t, other[0]), ==, IOPF_TD_ST_ABORTED);
    /* Others are not concerned */
    reg_write(t, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK);
    check_request(t, IOVA + 2 * PAGE, 7, true, true, true, NULL);
    check_no_request(t);
    g_assert_cmpuint(desc_status(t, other[1]), ==, IOPF_TD_ST_NONE);
    /* The answer is swallowed */
    respond(t, 6, 0, prgi);
    check_response(t, 0, IOPF_TD_RSP_F_LATE, prgi, 6, 1);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);
    test_end(t);
}

static void test_hold(void)
{
    Test *t = test_start_iommu();
    uint64_t addr[3];
    int i;

    reg_write(t, IOPF_TD_REG_CONTEXTS, 3);
    reg_write(t, IOPF_TD_REG_PRI_CTRL, IOPF_TD_PRI_CTRL_ASK |
              IOPF_TD_PRI_CTRL_HOLD);
    for (i = 0; i < 3; i++) {
        Desc d = fill(i, 1, i);

        addr[i] = start(t, &d);
    }
    wait_status(t, IOPF_TD_STATUS_HELD);
    check_no_request(t);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_FLUSH_HELD);
    map_all(t, 0, 3);
    for (i = 0; i < 3; i++) {
        Request r = take_request(t);

        respond(t, NO_PASID, 0, r.prgi);
    }
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(finish(t, addr[i]), ==, IOPF_TD_ST_OK);
    }
    test_end(t);
}

static void test_hostile(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 1, 1);
    Desc p = with_pasid(fill(1, 1, 2), 4);
    uint16_t prgi;
    uint64_t addr[2];

    /* One index in two address spaces: the PASID tells them apart */
    reg_write(t, IOPF_TD_REG_CONTEXTS, 2);
    reg_write(t, IOPF_TD_REG_PRI_PRGI, 111);
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FIXED_PRGI);
    addr[0] = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    g_assert_cmpuint(prgi, ==, 111);
    addr[1] = start(t, &p);
    check_request(t, IOVA + PAGE, 4, true, true, true, &prgi);
    g_assert_cmpuint(prgi, ==, 111);
    map_all(t, 0, 2);
    respond(t, 4, 0, 111);
    g_assert_cmpuint(finish(t, addr[1]), ==, IOPF_TD_ST_OK);
    g_assert_cmpuint(desc_status(t, addr[0]), ==, IOPF_TD_ST_NONE);
    respond(t, NO_PASID, 0, 111);
    g_assert_cmpuint(finish(t, addr[0]), ==, IOPF_TD_ST_OK);

    /* Deaf */
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_IGNORE_RSP);
    d = fill(2, 1, 3);
    addr[0] = start(t, &d);
    check_request(t, IOVA + 2 * PAGE, NO_PASID, true, true, true, &prgi);
    respond(t, NO_PASID, 0, prgi);
    check_response(t, 0, IOPF_TD_RSP_F_IGNORED, prgi, NO_PASID, 1);
    qtest_clock_step(t->qts, 100000);
    g_assert_cmpuint(desc_status(t, addr[0]), ==, IOPF_TD_ST_NONE);
    reg_write(t, IOPF_TD_REG_COMMAND, IOPF_TD_CMD_ABORT);

    /* Requests and translated accesses although nothing is enabled */
    cfg_writew(t, t->pri + PCI_PRI_CTRL, 0);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, 0);
    cfg_writew(t, t->pasid + PCI_PASID_CTRL, 0);
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_FORCE_PRI |
              IOPF_TD_HOSTILE_FORCE_ATS | IOPF_TD_HOSTILE_FORCE_PASID);
    p = with_pasid(fill(3, 1, 4), 4);
    addr[0] = start(t, &p);
    check_request(t, IOVA + 3 * PAGE, 4, true, true, true, &prgi);
    map(t, 3, PTE_RW);
    respond(t, 4, 0, prgi);
    g_assert_cmpuint(finish(t, addr[0]), ==, IOPF_TD_ST_OK);
    check_pattern(t, DATA + 3 * PAGE, 4, PAGE);
    /* The configuration space does not show any of it */
    g_assert_cmphex(reg_read(t, IOPF_TD_REG_LIVE) &
                    (IOPF_TD_LIVE_ATS | IOPF_TD_LIVE_PRI |
                     IOPF_TD_LIVE_PASID), ==, 0);
    test_end(t);
}

static void test_atc(void)
{
    Test *t = test_start_iommu_args(DEVICE ",atc-entries=4", 32);
    Desc d;
    uint64_t result;
    int i;

    map_all(t, 0, 8);
    for (i = 0; i < 6; i++) {
        d = fill(i, 1, i);
        check(t, &d, IOPF_TD_ST_OK);
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 4);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_EVICTIONS), ==, 2);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_MISSES), ==, 6);

    qtest_writeq(t->qts, BAR0 + IOPF_TD_REG_ATC_ADDR, IOVA + 5 * PAGE + 8);
    reg_write(t, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    result = qtest_readq(t->qts, BAR0 + IOPF_TD_REG_ATC_RESULT);
    g_assert_cmphex(result, ==, (DATA + 5 * PAGE) | 12 << 6 |
                    IOPF_TD_ATC_RESULT_VALID | IOPF_TD_ATC_RESULT_READ |
                    IOPF_TD_ATC_RESULT_WRITE);
    reg_write(t, IOPF_TD_REG_ATC_PASID, 1);
    reg_write(t, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    g_assert_cmphex(qtest_readq(t->qts, BAR0 + IOPF_TD_REG_ATC_RESULT), ==, 0);

    /* An invalidation of one page */
    invalidate(t, 5);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 3);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_INVALIDATIONS), ==, 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_INVLOG_HEAD), ==, 1);
    g_assert_cmphex(qtest_readq(t->qts, BAR2 + IOPF_TD_RAM_INVLOG +
                                IOPF_TD_INV_ADDR), ==, IOVA + 5 * PAGE);
    g_assert_cmphex(qtest_readq(t->qts, BAR2 + IOPF_TD_RAM_INVLOG +
                                IOPF_TD_INV_MASK), ==, PAGE - 1);
    g_assert_cmpuint(qtest_readl(t->qts, BAR2 + IOPF_TD_RAM_INVLOG +
                                 IOPF_TD_INV_DROPPED), ==, 1);

    d = (Desc) { .op = IOPF_TD_OP_ATC_DROP, .iova = IOVA + 4 * PAGE,
                 .length = 1 };
    check(t, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 2);

    /* Neither looked up nor filled */
    d = fill(7, 1, 1);
    d.flags = IOPF_TD_F_NOFILL | IOPF_TD_F_NOLOOKUP;
    check(t, &d, IOPF_TD_ST_OK);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 2);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_HITS), ==, 0);

    /* Gone with ATS, unless the device cheats */
    reg_write(t, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_KEEP_ATC);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 2);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    reg_write(t, IOPF_TD_REG_HOSTILE, 0);
    cfg_writew(t, t->ats + PCI_ATS_CTRL, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 0);
    test_end(t);
}

/* More PASIDs than the device keeps at a time */
static void test_many_pasids(void)
{
    Test *t = test_start_iommu();
    uint32_t pasid;
    uint16_t prgi;
    uint64_t addr;
    Desc d;

    /* The first one is not done yet, so it cannot be given up */
    reg_write(t, IOPF_TD_REG_CONTEXTS, 2);
    d = with_pasid(fill(8, 1, 88), 200);
    addr = start(t, &d);
    check_request(t, IOVA + 8 * PAGE, 200, true, true, true, &prgi);

    map_all(t, 0, 2);
    for (pasid = 1; pasid <= IOPF_TD_PASIDS_MAX + 10; pasid++) {
        d = with_pasid(fill(0, 2, pasid), pasid);
        check(t, &d, IOPF_TD_ST_OK);
    }
    map(t, 8, PTE_RW);
    respond(t, 200, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    check_pattern(t, DATA + 8 * PAGE, 88, PAGE);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==,
                     2 * (IOPF_TD_PASIDS_MAX - 1) + 1);
    /* An invalidation without PASID reaches them all */
    invalidate(t, 1);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==,
                     IOPF_TD_PASIDS_MAX);
    /* A PASID that was given up works again */
    d = with_pasid(fill(0, 2, 1), 1);
    check(t, &d, IOPF_TD_ST_OK);
    /* PASID off: nothing is left of them */
    cfg_writew(t, t->ats + PCI_ATS_CTRL, 0);
    cfg_writew(t, t->pasid + PCI_PASID_CTRL, 0);
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_ATC_COUNT), ==, 0);
    test_end(t);
}

static void make_busy(Test *t)
{
    int i;

    reg_write(t, IOPF_TD_REG_CONTEXTS, 4);
    for (i = 0; i < 3; i++) {
        Desc d = with_pasid(fill(i, 1, i), i + 1);

        start(t, &d);
        take_request(t);
    }
    set_storm(t, 100, 5, 1, IOPF_TD_STORM_F_READ);
    for (i = 0; i < 5; i++) {
        take_request(t);
    }
    g_assert_cmpuint(reg_read(t, IOPF_TD_REG_PRI_GROUPS), ==, 8);
}

static void test_flr(void)
{
    Test *t = test_start_iommu();
    uint16_t prgi;
    uint64_t addr;
    Desc d;
    int i;

    make_busy(t);
    cfg_writew(t, t->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    g_assert_cmphex(cfg_readw(t, t->ats + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(t, t->pasid + PCI_PASID_CTRL), ==, 0);
    map_bars(t);
    check_default_registers(t);
    g_assert_cmpuint(desc_status(t, desc_addr(0)), ==, IOPF_TD_ST_NONE);

    /* Answers that come now are for nobody */
    for (i = 0; i < 8; i++) {
        respond(t, i < 3 ? i + 1 : NO_PASID, 0, i);
    }
    enable_device(t, 32);
    start_ring(t, 8, 1);
    d = fill(0, 1, 42);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    map(t, 0, PTE_RW);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    test_end(t);
}

static void test_system_reset(void)
{
    Test *t = test_start_iommu();

    make_busy(t);
    qtest_system_reset(t->qts);
    enable_mmcfg(t);
    map_bars(t);
    check_default_registers(t);
    g_assert_cmphex(cfg_readw(t, t->pri + PCI_PRI_STATUS), ==,
                    PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    /* Up again */
    start_iommu(t);
    enable_device(t, 32);
    start_ring(t, 8, 1);
    make_busy(t);
    /* And out with work under way */
    test_end(t);
}

static void test_bus_master_off(void)
{
    Test *t = test_start_iommu();
    Desc d = fill(0, 1, 1);
    uint16_t prgi;
    uint64_t addr;

    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY);
    map(t, 0, PTE_RW);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_REFUSED);
    g_assert_cmpint(desc_ret(t, addr), ==, -EPERM);
    /* What is in the cache is of no use either */
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    check(t, &d, IOPF_TD_ST_OK);
    cfg_writew(t, PCI_COMMAND, PCI_COMMAND_MEMORY);
    check(t, &d, IOPF_TD_ST_REFUSED);
    test_end(t);
}

/* Removed while transfers and a storm wait for answers */
static void test_unplug(void)
{
    Test *t = test_start_bdf(MACHINE IOMMU
                             "-device pcie-root-port,id=rp1,addr=6.0 "
                             "-device iopf-testdev,id=td1,bus=rp1", 1 << 8);

    /* Not integrated here */
    g_assert_cmphex(cfg_readw(t, t->exp + PCI_EXP_FLAGS) &
                    PCI_EXP_FLAGS_TYPE, ==, PCI_EXP_TYPE_ENDPOINT << 4);
    start_iommu(t);
    enable_device(t, 32);
    make_busy(t);
    qtest_qmp_device_del_send(t->qts, "td1");
    /* The guest agrees: eject slot 0 of the only hotplug bus, as ACPI has it */
    qtest_outl(t->qts, 0xcc0 + 0x10, 0);
    qtest_outl(t->qts, 0xcc0 + 0x08, 1);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(t, PCI_VENDOR_ID), ==, 0xffffffff);
    /* Answers for what is not there any more */
    respond(t, 1, 0, 0);
    respond(t, NO_PASID, 0, 3);
    invalidate(t, 0);

    /* A successor works */
    qtest_qmp_device_add(t->qts, "iopf-testdev", "td2", "{'bus': 'rp1'}");
    map_bars(t);
    enable_device(t, 32);
    start_ring(t, 8, 1);
    make_busy(t);

    /* It goes while the machine is reset */
    qtest_qmp_device_del_send(t->qts, "td2");
    qtest_system_reset_nowait(t->qts);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    test_end(t);
}

/*
 * The device switches off its own slot, by a DMA to the root port: it is gone
 * when the access returns, in the middle of its own work.
 */
static void test_unplug_itself(void)
{
    Test *t = test_start_bdf(MACHINE
                             "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-"
                             "support=off "
                             "-device pcie-root-port,id=rp1,addr=6.0 "
                             "-device iopf-testdev,id=td1,bus=rp1", 1 << 8);
    Desc d = { .op = IOPF_TD_OP_FILL, .length = 2,
               .data = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF,
               .flags = IOPF_TD_F_IRQ };

    t->bdf = 6 << 3;
    d.iova = cfg_addr(t, find_cap(t, PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL);
    g_assert_cmphex(qtest_readw(t->qts, d.iova) & PCI_EXP_SLTCTL_PCC, ==, 0);
    t->bdf = 1 << 8;

    reg_write(t, IOPF_TD_REG_IRQ_ENABLE, IOPF_TD_IRQ_ALL);
    start(t, &d);
    qtest_qmp_eventwait(t->qts, "DEVICE_DELETED");
    g_assert_cmphex(cfg_readl(t, PCI_VENDOR_ID), ==, 0xffffffff);
    qtest_clock_step(t->qts, 1000000);
    test_end(t);
}

/*
 * Anything anywhere: the device has to survive, and to work after a reset
 */
static void fuzz_register(Test *t, GRand *rand)
{
    uint32_t reg = g_rand_int_range(rand, 0, 0x190 / 4) * 4;
    uint32_t val = g_rand_int(rand);

    /* Small values reach more than large ones */
    if (g_rand_boolean(rand)) {
        val &= 0x3f;
    }
    if (g_rand_int_range(rand, 0, 8) == 0) {
        reg_read(t, reg);
    } else {
        reg_write(t, reg, val);
    }
}

static void fuzz_descriptor(Test *t, GRand *rand)
{
    Desc d = {
        .op = g_rand_int_range(rand, 0, IOPF_TD_OP_MAX + 2),
        .mode = g_rand_int_range(rand, 0, IOPF_TD_MODE_MAX + 1),
        .flags = g_rand_int(rand) & IOPF_TD_F_ALL & ~IOPF_TD_F_ORDERED,
        .pasid = g_rand_int_range(rand, 0, 300),
        .iova = IOVA + g_rand_int_range(rand, 0, 600 * PAGE),
        .length = g_rand_int_range(rand, 0, 64 * PAGE),
        .ram = g_rand_int_range(rand, 0, 5 * 1024 * 1024),
        .data = g_rand_int(rand),
        .prgi = g_rand_int_range(rand, 0, 600),
        .delay = g_rand_int_range(rand, 0, 4),
    };

    start(t, &d);
}

static void fuzz_config(Test *t, GRand *rand)
{
    uint16_t regs[] = {
        t->ats + PCI_ATS_CTRL, t->pri + PCI_PRI_CTRL,
        t->pri + PCI_PRI_STATUS, t->pasid + PCI_PASID_CTRL,
        t->pri + PCI_PRI_ALLOC_REQ, PCI_COMMAND,
        t->exp + PCI_EXP_DEVCTL,
    };
    uint16_t reg = regs[g_rand_int_range(rand, 0, ARRAY_SIZE(regs))];

    if (g_rand_int_range(rand, 0, 4)) {
        enable_device(t, g_rand_int_range(rand, 0, 100));
    } else {
        cfg_writew(t, reg, g_rand_int(rand));
    }
    map_bars(t);
}

static void fuzz_response(Test *t, GRand *rand)
{
    static const uint8_t codes[] = { 0, 0, 0, 1, 0xf };

    if (g_rand_boolean(rand) && have_request(t)) {
        Request r = take_request(t);

        map(t, g_rand_int_range(rand, 0, 512),
            g_rand_boolean(rand) ? PTE_RW : 0);
        respond(t, r.pasid, codes[g_rand_int_range(rand, 0, 5)], r.prgi);
    } else if (g_rand_boolean(rand)) {
        invalidate(t, g_rand_int_range(rand, 0, 512));
    } else {
        respond(t, g_rand_boolean(rand) ? NO_PASID
                                        : g_rand_int_range(rand, 0, 256),
                codes[g_rand_int_range(rand, 0, 5)],
                g_rand_int_range(rand, 0, 512));
    }
}

static void test_fuzz(void)
{
    Test *t = test_start_iommu_args(DEVICE ",atc-entries=16", 64);
    g_autoptr(GRand) rand = g_rand_new_with_seed(0x1234);
    Desc d = fill(0, 1, 99);
    uint16_t prgi;
    uint64_t addr;
    int i;

    for (i = 0; i < (g_test_slow() ? 200000 : 10000); i++) {
        switch (g_rand_int_range(rand, 0, 20)) {
        case 0 ... 7:
            fuzz_register(t, rand);
            break;
        case 8 ... 13:
            fuzz_descriptor(t, rand);
            break;
        case 14 ... 18:
            fuzz_response(t, rand);
            break;
        default:
            fuzz_config(t, rand);
        }
        if (i % 100 == 0) {
            start_ring(t, g_rand_int_range(rand, 1, 11),
                       g_rand_int_range(rand, 1, 20));
            qtest_clock_step(t->qts, 1000000);
        }
    }

    cfg_writew(t, t->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
    map_bars(t);
    check_default_registers(t);
    map(t, 0, 0);
    invalidate(t, 0);
    while (have_request(t)) {
        take_request(t);
    }
    vtd_writel(t, DMAR_PRS_REG, 2);
    enable_device(t, 32);
    start_ring(t, 8, 1);
    addr = start(t, &d);
    check_request(t, IOVA, NO_PASID, true, true, true, &prgi);
    map(t, 0, PTE_RW);
    respond(t, NO_PASID, 0, prgi);
    g_assert_cmpuint(finish(t, addr), ==, IOPF_TD_ST_OK);
    check_pattern(t, DATA, 99, PAGE);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/iopf-testdev/config", test_config);
    qtest_add_func("/iopf-testdev/properties", test_properties);
    qtest_add_func("/iopf-testdev/bad-properties", test_bad_properties);
    qtest_add_func("/iopf-testdev/registers", test_registers);
    qtest_add_func("/iopf-testdev/dma", test_dma);
    qtest_add_func("/iopf-testdev/bad-descriptors", test_bad_descriptors);
    qtest_add_func("/iopf-testdev/ring", test_ring);
    qtest_add_func("/iopf-testdev/order", test_order);
    qtest_add_func("/iopf-testdev/stop-and-abort", test_stop_and_abort);
    qtest_add_func("/iopf-testdev/step", test_step);
    qtest_add_func("/iopf-testdev/interrupts", test_interrupts);
    qtest_add_func("/iopf-testdev/own-registers", test_own_registers);
    qtest_add_func("/iopf-testdev/logs", test_logs);

    qtest_add_func("/iopf-testdev/refusals", test_refusals);
    qtest_add_func("/iopf-testdev/page-fault", test_page_fault);
    qtest_add_func("/iopf-testdev/many-pending", test_many_pending);
    qtest_add_func("/iopf-testdev/group", test_group);
    qtest_add_func("/iopf-testdev/allocation", test_allocation);
    qtest_add_func("/iopf-testdev/write-to-read-only",
                   test_write_to_read_only);
    qtest_add_func("/iopf-testdev/bad-answers", test_bad_answers);
    qtest_add_func("/iopf-testdev/refused-by-iommu", test_refused_by_iommu);
    qtest_add_func("/iopf-testdev/response-failure", test_response_failure);
    qtest_add_func("/iopf-testdev/timeout", test_timeout);
    qtest_add_func("/iopf-testdev/step-invalidate", test_step_invalidate);
    qtest_add_func("/iopf-testdev/storm", test_storm);
    qtest_add_func("/iopf-testdev/storm-waits", test_storm_waits);
    qtest_add_func("/iopf-testdev/page-request-only", test_page_request_only);
    qtest_add_func("/iopf-testdev/stop-pasid", test_stop_pasid);
    qtest_add_func("/iopf-testdev/hold", test_hold);
    qtest_add_func("/iopf-testdev/hostile", test_hostile);
    qtest_add_func("/iopf-testdev/atc", test_atc);
    qtest_add_func("/iopf-testdev/many-pasids", test_many_pasids);
    qtest_add_func("/iopf-testdev/flr", test_flr);
    qtest_add_func("/iopf-testdev/system-reset", test_system_reset);
    qtest_add_func("/iopf-testdev/bus-master-off", test_bus_master_off);
    qtest_add_func("/iopf-testdev/unplug", test_unplug);
    qtest_add_func("/iopf-testdev/unplug-itself", test_unplug_itself);
    qtest_add_func("/iopf-testdev/fuzz", test_fuzz);
    return g_test_run();
}

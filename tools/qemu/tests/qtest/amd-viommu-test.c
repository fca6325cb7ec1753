/*
 * QTest of virtual IOMMUs in hardware of AMD-Vi
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the host, the VMM and the guests: no system runs.
 */

#include "qemu/osdep.h"
#include "hw/i386/amd_iommu_viommu_regs.h"
#include "iopf-amd-qtest.h"

#define VIOMMU          ",viommu=on,gst-buffer-trp=on"
#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,pri-capacity=512 " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,pri-capacity=512 "

#define CONTROL_VIOMMU \
    (CONTROL_ALL | AMDVI_MMIO_CONTROL_GAEN | AMDVI_CONTROL_VCMD | \
     AMDVI_CONTROL_VIOMMU | AMDVI_CONTROL_GST_BUFFER_TRP)

/* Memory: tables of four levels, whose pages are taken one after the other */
#define PRIVATE         0x800000ULL
#define STAGE2(g)       (0x900000ULL + (g)->index * 0x100000)
#define SLOTS           0xb00000ULL     /* whatever has private addresses */
#define IRQ_L1          0xc00000ULL
#define IRQ_L2          0xc10000ULL
#define BACKING         0xc20000ULL

#define PRIVATE_DOMAIN  0x100

/* Addresses of a guest, the same for both, and where they are in memory */
#define G_CMD           0x10000ULL
#define G_EVENT         0x20000ULL
#define G_PPR           0x30000ULL
#define G_WAIT          0x40000ULL
#define G_PAGE          0x50000ULL
#define G_BEYOND        0x70000ULL
#define G_MEMORY(g, a)  (0x1000000ULL + (g)->index * 0x100000 + (a))
#define G_SIZE          (RING_ENTRIES * AMDVI_RING_ENTRY)

/* IDs that both guests have, and those of the host */
#define G_DEVICE        0x08
#define G_DOMAIN        7
#define H_DOMAIN(g)     (0x30 + (g)->index)
#define PARENT(g)       (0x40 + (g)->index)
#define TRANSLATE(g)    (0x1f0 + (g)->index)
#define PASID           3

#define PAGE_A          (DATA + 0x1000)
#define PAGE_B          (DATA + 0x2000)

typedef struct Guest {
    Test *t;
    Endpoint *ep;
    unsigned index;
    uint16_t gid;
    unsigned tail, event_head, ppr_head;
} Guest;

static Guest guests[2];
static uint64_t next_table[2];          /* of PRIVATE and of STAGE2 */

/*
 * Tables of the host
 */

static void map_host(Test *t, uint64_t root, uint64_t *next, uint64_t addr,
                     uint64_t pte)
{
    uint64_t table = root, entry;
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t at = table + extract64(addr, 12 + 9 * (level - 1), 9) * 8;

        entry = qtest_readq(t->qts, at);
        if (!entry) {
            entry = (root + *next) | PTE_RW | AMDVI_PTE_NEXT(level - 1);
            qtest_writeq(t->qts, at, entry);
            *next += PAGE;
        }
        table = entry & MAKE_64BIT_MASK(12, 40);
    }
    qtest_writeq(t->qts, table + extract64(addr, 12, 9) * 8, pte);
}

static void map_private(Test *t, uint64_t ipa, uint64_t pte)
{
    map_host(t, PRIVATE, &next_table[0], ipa, pte);
}

static void map_guest(Guest *g, uint64_t gpa, uint64_t pte)
{
    map_host(g->t, STAGE2(g), &next_table[1], gpa, pte);
}

static uint64_t ipa_slot(Guest *g)
{
    return AMDVI_IPA_SLOTS + g->gid * AMDVI_VF_CNTL_SLOT;
}

static uint64_t ipa_devices(Guest *g)
{
    return AMDVI_IPA_DEVICE_MAP + g->gid * AMDVI_IPA_DEVICE_STRIDE;
}

static uint64_t ipa_domains(Guest *g)
{
    return AMDVI_IPA_DOMAIN_MAP + g->gid * AMDVI_IPA_DOMAIN_STRIDE;
}

/* Where in memory the first page of each is */
static uint64_t in_memory(Guest *g, unsigned what)
{
    return SLOTS + (g->index * 8 + what) * PAGE;
}

enum { SLOT, DEVICE_MAP, DOMAIN_MAP, CMD_RING, EVENT_RING, PPR_RING };

static void map_private_pages(Guest *g)
{
    map_private(g->t, ipa_slot(g) & ~(PAGE - 1), in_memory(g, SLOT) | PTE_RW);
    map_private(g->t, ipa_devices(g), in_memory(g, DEVICE_MAP) | PTE_RW);
    map_private(g->t, ipa_domains(g), in_memory(g, DOMAIN_MAP) | PTE_RW);
}

/*
 * Registers
 */

static uint64_t vf(Guest *g, uint64_t reg)
{
    return AMDVI_VF_BASE + g->gid * AMDVI_VF_PAGE + reg;
}

static uint64_t vf_read(Guest *g, uint64_t reg)
{
    return qtest_readq(g->t->qts, vf(g, reg));
}

/* As a guest does it */
static void vf_write(Guest *g, uint64_t reg, uint32_t val)
{
    qtest_writel(g->t->qts, vf(g, reg), val);
}

static uint64_t cntl(Guest *g, uint64_t reg)
{
    return AMDVI_VF_CNTL_BASE + g->gid * AMDVI_VF_CNTL_SLOT + reg;
}

static uint64_t cntl_read(Guest *g, uint64_t reg)
{
    return qtest_readq(g->t->qts, cntl(g, reg));
}

static void cntl_write(Guest *g, uint64_t reg, uint64_t val)
{
    qtest_writeq(g->t->qts, cntl(g, reg), val);
}

static void map_device(Guest *g, uint16_t id, uint16_t host)
{
    cntl_write(g, AMDVI_CNTL_DEVICE_MAP, AMDVI_MAP_WRITE | AMDVI_MAP_VALID |
               AMDVI_MAP(id, host));
}

static void map_domain(Guest *g, uint16_t id, uint16_t host)
{
    cntl_write(g, AMDVI_CNTL_DOMAIN_MAP, AMDVI_MAP_WRITE | AMDVI_MAP_VALID |
               AMDVI_MAP(id, host));
}

#define RING_ON         (AMDVI_RING_LENGTH_MIN | AMDVI_CNTL_ENABLE)
#define CMD_ON          (G_CMD | RING_ON)
#define EVENT_ON        (G_EVENT | RING_ON)
#define PPR_ON          (G_PPR << 4 | RING_ON | AMDVI_CNTL_PPR_ENABLE)

static void start_rings(Guest *g)
{
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    cntl_write(g, AMDVI_CNTL_EVENT, EVENT_ON);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON);
    g->tail = g->event_head = g->ppr_head = 0;
}

static void pause_ring(Guest *g)
{
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON & ~AMDVI_CNTL_ENABLE);
}

static void resume_ring(Guest *g)
{
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
}

/* The ring of commands goes on with nothing in it: it is a new one */
static void restart_ring(Guest *g)
{
    cntl_write(g, AMDVI_CNTL_CMD, 0);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    g->tail = 0;
}

/*
 * Device table entries
 */

static void write_plain_dte(Test *t, uint16_t devid, uint64_t root,
                            uint16_t domain, uint64_t q2)
{
    Endpoint ep = { .t = t, .qts = t->qts, .bdf = devid };

    write_dte(&ep, AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_MODE(4) | root |
              AMDVI_DTE_IR | AMDVI_DTE_IW, domain, q2);
}

static void inv_devid(Test *t, uint16_t devid)
{
    Endpoint ep = { .t = t, .qts = t->qts, .bdf = devid };

    inv_dte(&ep);
}

static uint16_t own_devid(Test *t)
{
    Endpoint ep = { .t = t, .qts = t->qts };

    for (ep.bdf = 0; ep.bdf < 0x100; ep.bdf += 8) {
        if (cfg_readl(&ep, PCI_VENDOR_ID) == 0x14191022) {
            return ep.bdf;
        }
    }
    g_assert_not_reached();
}

/* The guest's GCR3 table and page tables are where they are in memory */
static void write_nested_dte(Guest *g)
{
    Endpoint *ep = g->ep;

    write_dte_gcr3(ep, AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_MODE(4) |
                   STAGE2(g) | AMDVI_DTE_PPR | AMDVI_DTE_IR | AMDVI_DTE_IW,
                   DTE_Q1(H_DOMAIN(g)), 0, GCR3, 1);
    qtest_writeq(ep->qts, DEVTAB + ep->bdf * AMDVI_DEVTAB_ENTRY_SIZE + 24,
                 AMDVI_DTE_GUEST(g->gid, G_DEVICE));
}

static void map_tables_of_guest(Guest *g)
{
    uint64_t a;

    for (a = TABLES_1; a < TABLES_1 + 4 * PAGE; a += PAGE) {
        map_guest(g, a, a | PTE_RW);
    }
}

static void reset_guest(Guest *g, uint64_t what)
{
    cmd_submit(g->t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) | what | g->gid, 0);
}

/* Section by section as a driver has to */
static void start_guest(Guest *g)
{
    Test *t = g->t;
    uint64_t a;

    map_private_pages(g);
    reset_guest(g, AMDVI_CMD_RESET_ALL | AMDVI_CMD_RESET_VCMD);
    for (a = G_CMD; a <= G_PAGE; a += 0x10000) {
        map_guest(g, a, G_MEMORY(g, a) | PTE_RW);
    }
    map_tables_of_guest(g);
    write_plain_dte(t, TRANSLATE(g), STAGE2(g), PARENT(g), 0);
    inv_devid(t, TRANSLATE(g));
    cntl_write(g, AMDVI_CNTL_MISC, AMDVI_MISC_DEVICE(TRANSLATE(g)));
    map_device(g, G_DEVICE, g->ep->bdf);
    map_domain(g, G_DOMAIN, H_DOMAIN(g));
    write_nested_dte(g);
    inv_devid(t, g->ep->bdf);
    start_rings(g);
}

static void start_host(Test *t, uint64_t control)
{
    unsigned i;

    enable_mmcfg(t->qts);
    start_endpoints(t, 512);
    clear_tables(t);
    qtest_memset(t->qts, PRIVATE, 0, IRQ_L2 + 0x20000 - PRIVATE);
    next_table[0] = PAGE;
    next_table[1] = PAGE;
    write_paging(t, TABLES_1, GPTE_RW);
    write_gcr3(t, 1, PASID, TABLES_1 | AMDVI_GCR3_V);
    /* What leads to GCR3 is of the host, what it has is of the guest */
    start_amd(t);
    write_plain_dte(t, own_devid(t), PRIVATE, PRIVATE_DOMAIN, 0);
    inv_devid(t, own_devid(t));
    amd_writeq(t, AMDVI_MMIO_CONTROL, control);
    for (i = 0; i < 2; i++) {
        guests[i] = (Guest) {
            .t = t, .ep = &t->ep[i], .index = i, .gid = i ? 0x1234 : 5,
        };
    }
}

static Test *test_start_host(const char *options, uint64_t control)
{
    g_autofree char *args = g_strconcat(Q35_AMD, options, DEVICES, NULL);
    Test *t = test_new(args);

    start_host(t, control);
    return t;
}

/* Both guests are up */
static Test *test_start_with(const char *options)
{
    Test *t = test_start_host(options, CONTROL_VIOMMU);

    start_guest(&guests[0]);
    start_guest(&guests[1]);
    check_no_event(t);
    return t;
}

static Test *test_start(void)
{
    return test_start_with(VIOMMU);
}

/*
 * Commands of guests
 */

static void put_command(Guest *g, uint64_t q0, uint64_t q1)
{
    uint64_t at = G_MEMORY(g, G_CMD) + g->tail;

    qtest_writeq(g->t->qts, at, q0);
    qtest_writeq(g->t->qts, at + 8, q1);
    g->tail = (g->tail + AMDVI_RING_ENTRY) % G_SIZE;
}

static void ring_doorbell(Guest *g)
{
    vf_write(g, AMDVI_VF_CMD_TAIL, g->tail);
}

static void guest_command(Guest *g, uint64_t q0, uint64_t q1)
{
    put_command(g, q0, q1);
    ring_doorbell(g);
}

static bool guest_running(Guest *g)
{
    return vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_CMD_RUN;
}

static void check_done(Guest *g)
{
    g_assert(guest_running(g));
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, g->tail);
}

static void good_command(Guest *g, uint64_t q0, uint64_t q1)
{
    guest_command(g, q0, q1);
    check_done(g);
}

static void put_guest_wait(Guest *g, uint64_t gpa, uint64_t val)
{
    guest_command(g, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | gpa |
                  AMDVI_CMD_WAIT_STORE, val);
}

static uint64_t wait_word(Guest *g)
{
    return qtest_readq(g->t->qts, G_MEMORY(g, G_WAIT));
}

static void check_works(Guest *g)
{
    static uint64_t val = 0x1000;

    put_guest_wait(g, G_WAIT, ++val);
    check_done(g);
    g_assert_cmphex(wait_word(g), ==, val);
}

/* It has stopped at its last command */
static void check_stopped(Guest *g)
{
    uint64_t head = (g->tail - AMDVI_RING_ENTRY) % G_SIZE;

    g_assert(!guest_running(g));
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, head);
    /* And nothing that the guest does starts it */
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_CMD_RUN);
    ring_doorbell(g);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, head);
}

/* Of the log of the host */
static void check_viommu_error(Guest *g, uint64_t flag, uint64_t addr)
{
    Event e = {};

    g_assert_cmphex(take_event(g->t, &e), ==, AMDVI_EVT_VIOMMU_HW);
    g_assert_cmphex(e.q[0], ==, AMDVI_EVENT(AMDVI_EVT_VIOMMU_HW) | flag |
                    g->gid);
    g_assert_cmphex(e.q[1], ==, addr);
}

static void check_one_viommu_error(Guest *g, uint64_t flag, uint64_t addr)
{
    check_viommu_error(g, flag, addr);
    check_no_event(g->t);
}

/* Of the log of a guest. Returns: its code, 0 for none */
static uint8_t take_guest_event(Guest *g, Event *e)
{
    uint64_t at = G_MEMORY(g, G_EVENT) + g->event_head;

    if (vf_read(g, AMDVI_VF_EVENT_TAIL) == g->event_head) {
        return 0;
    }
    e->q[0] = qtest_readq(g->t->qts, at);
    e->q[1] = qtest_readq(g->t->qts, at + 8);
    g->event_head = (g->event_head + AMDVI_RING_ENTRY) % G_SIZE;
    vf_write(g, AMDVI_VF_EVENT_HEAD, g->event_head);
    return AMDVI_EVENT_CODE(e->q[0]);
}

static Event check_guest_event(Guest *g, uint8_t code)
{
    Event e = {}, other = {};

    g_assert_cmphex(take_guest_event(g, &e), ==, code);
    g_assert_cmphex(take_guest_event(g, &other), ==, 0);
    check_no_event(g->t);
    return e;
}

static void check_illegal(Guest *g, uint64_t q0, uint64_t q1)
{
    uint64_t head = g->tail;
    Event e;

    guest_command(g, q0, q1);
    check_stopped(g);
    e = check_guest_event(g, AMDVI_EVT_ILLEGAL_CMD);
    g_assert_cmphex(e.q[1], ==, G_CMD + head);
    restart_ring(g);
    check_works(g);
}

static uint64_t inv_pages_cmd(uint16_t domain)
{
    return AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_PAGES) | (uint64_t)domain << 32 |
           PASID;
}

#define ALL_PAGES       (INV_ALL | AMDVI_CMD_S | AMDVI_CMD_GN | AMDVI_CMD_PDE)

static uint64_t inv_iotlb_cmd(uint16_t id, uint16_t queue)
{
    return AMDVI_CMD(AMDVI_CMD_INVAL_IOTLB_PAGES) | id |
           (uint64_t)queue << 32 | (uint64_t)PASID << 48;
}

/*
 * Test cases: the host
 */

static uint8_t find_vendor_cap(Endpoint *ep)
{
    uint8_t at = cfg_readl(ep, PCI_CAPABILITY_LIST);

    while (at && (cfg_readl(ep, at) & 0xff) != PCI_CAP_ID_VNDR) {
        at = cfg_readl(ep, at) >> 8;
    }
    return at;
}

static void test_registers(void)
{
    Test *t = test_start_host(VIOMMU, CONTROL_ALL);
    Endpoint own = { .t = t, .qts = t->qts, .bdf = own_devid(t) };
    Guest *g = &guests[0];
    uint8_t cap = find_vendor_cap(&own);
    uint64_t odd;

    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EXT_FEATURES) & AMDVI_EFR_VIOMMU,
                    ==, AMDVI_EFR_VIOMMU);
    g_assert_cmphex(cap, ==, AMDVI_VSC_OFFSET);
    g_assert_cmphex(cfg_readl(&own, cap) >> 16, ==, AMDVI_VSC_SIZE);
    g_assert_cmphex(cfg_readl(&own, cap + AMDVI_VSC_VF), ==,
                    (uint32_t)AMDVI_VF_BASE | AMDVI_VSC_ENABLE);
    g_assert_cmphex(cfg_readl(&own, cap + AMDVI_VSC_VF + 4), ==,
                    AMDVI_VF_BASE >> 32);
    g_assert_cmphex(cfg_readl(&own, cap + AMDVI_VSC_VF_CNTL), ==,
                    (uint32_t)AMDVI_VF_CNTL_BASE | AMDVI_VSC_ENABLE);
    g_assert_cmphex(cfg_readl(&own, cap + AMDVI_VSC_VF_CNTL + 4), ==,
                    AMDVI_VF_CNTL_BASE >> 32);
    cfg_writel(&own, cap + AMDVI_VSC_VF, 0);
    g_assert_cmphex(cfg_readl(&own, cap + AMDVI_VSC_VF), !=, 0);

    /* Nothing is there until vIommuEn, which does nothing without GAEn */
    map_private_pages(g);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU &
               ~AMDVI_MMIO_CONTROL_GAEN);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x40);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, 0);
    cmd_submit_bad(t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) |
                   AMDVI_CMD_RESET_ALL | g->gid, 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_CONTROL), ==, CONTROL_VIOMMU);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_TAIL), ==, 0);

    /* What there is of the slot, in 64 bits */
    qtest_writel(t->qts, cntl(g, AMDVI_CNTL_MISC), 0x560000);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_MISC), ==, 0);
    cntl_write(g, AMDVI_CNTL_MISC, UINT64_MAX);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_MISC), ==, 0xffff0000);
    cntl_write(g, AMDVI_CNTL_CMD, ~AMDVI_CNTL_ENABLE);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, 0xffffffffff20f);
    cntl_write(g, AMDVI_CNTL_EVENT, ~AMDVI_CNTL_ENABLE);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_EVENT), ==, 0xffffffffff20f);
    cntl_write(g, AMDVI_CNTL_PPR, ~AMDVI_CNTL_ENABLE);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_PPR), ==, 0xffffffffff060f);
    for (odd = 0; odd < 0x40; odd += 8) {
        if (odd < 0x10 || odd == 0x18 || odd == 0x38) {
            cntl_write(g, odd, INT64_MAX);
            g_assert_cmphex(cntl_read(g, odd), ==, 0);
        }
    }
    /* And of the page */
    vf_write(g, AMDVI_VF_EVENT_HEAD, UINT32_MAX);
    g_assert_cmphex(vf_read(g, AMDVI_VF_EVENT_HEAD), ==, 0x7fff0);
    qtest_writeq(t->qts, vf(g, AMDVI_VF_PPR_HEAD), UINT64_MAX);
    g_assert_cmphex(vf_read(g, AMDVI_VF_PPR_HEAD), ==, 0x7fff0);
    g_assert_cmphex(qtest_readl(t->qts, vf(g, AMDVI_VF_PPR_HEAD)), ==, 0x7fff0);
    g_assert_cmphex(qtest_readl(t->qts, vf(g, AMDVI_VF_PPR_HEAD) + 4), ==, 0);
    vf_write(g, 0x88, UINT32_MAX);
    g_assert_cmphex(vf_read(g, 0x88), ==, 0);
    /* The other guest has none of it */
    map_private_pages(&guests[1]);
    g_assert_cmphex(cntl_read(&guests[1], AMDVI_CNTL_MISC), ==, 0);
    g_assert_cmphex(vf_read(&guests[1], AMDVI_VF_PPR_HEAD), ==, 0);
    check_no_event(t);
    test_end(t);
}

static void test_options(void)
{
    Test *t = test_start_host("", CONTROL_VIOMMU);
    Endpoint own = { .t = t, .qts = t->qts, .bdf = own_devid(t) };

    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_EXT_FEATURES) & AMDVI_EFR_VIOMMU,
                    ==, 0);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_CONTROL) &
                    AMDVI_CONTROL_GST_BUFFER_TRP, ==, 0);
    g_assert_cmphex(find_vendor_cap(&own), ==, 0);
    cmd_submit_bad(t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) |
                   AMDVI_CMD_RESET_ALL | 1, 0);
    /* The fields of guests are reserved in device table entries */
    write_nested_dte(&guests[0]);
    inv_dte(&t->ep[0]);
    check_untranslated_fault(&t->ep[0], IOVA, AMDVI_EVT_ILLEGAL_DTE);
    test_end(t);

    t = test_start_host(",viommu=on", CONTROL_VIOMMU);
    g_assert_cmphex(amd_readq(t, AMDVI_MMIO_CONTROL) &
                    AMDVI_CONTROL_GST_BUFFER_TRP, ==, 0);
    test_end(t);

    g_assert(!machine_starts(Q35 "-device amd-iommu,ats=on", ",viommu=on"));
    g_assert(!machine_starts(Q35_AMD, ",gst-buffer-trp=on"));
    g_assert(!machine_starts(Q35_AMD, ",x-viommu-late=on"));
}

/* Each access to private memory is checked, by what is cached */
static void test_private(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    uint16_t own = own_devid(t);
    uint64_t slot = ipa_slot(g) & ~(PAGE - 1);
    uint64_t at = DEVTAB + own * AMDVI_DEVTAB_ENTRY_SIZE;
    unsigned i;

    /* Software forgets an invalidation: nothing changes until it comes */
    map_private(t, slot, 0);
    check_works(g);
    inv_pages(t, PRIVATE_DOMAIN, NOP, slot, 0);
    ring_doorbell(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g));
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_MISC), ==, 0);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g));
    map_private(t, slot, in_memory(g, SLOT) | PTE_RW);
    check_works(g);

    /* Read only */
    map_private(t, slot, in_memory(g, SLOT) | PTE_R);
    inv_pages(t, PRIVATE_DOMAIN, NOP, slot, 0);
    cntl_write(g, AMDVI_CNTL_MISC, 0);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g) + AMDVI_CNTL_MISC);
    map_private(t, slot, in_memory(g, SLOT) | PTE_RW);
    inv_pages(t, PRIVATE_DOMAIN, NOP, slot, 0);
    check_works(g);

    /* The entry of the IOMMU is cached, too */
    write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN + 1, 0);
    qtest_writeq(t->qts, at, 0);
    check_works(g);
    inv_devid(t, own);
    ring_doorbell(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g));
    /* All of it, but V or TV */
    for (i = 0; i < 2; i++) {
        write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN, 0);
        qtest_writeq(t->qts, at, qtest_readq(t->qts, at) ^ 1ULL << i);
        inv_devid(t, own);
        ring_doorbell(g);
        check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g));
    }
    /* Without tables it is no private address space */
    qtest_writeq(t->qts, at, AMDVI_DTE_V |
                 AMDVI_DTE_TV | AMDVI_DTE_IR | AMDVI_DTE_IW);
    inv_devid(t, own);
    ring_doorbell(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g));
    write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN, 0);
    qtest_writeq(t->qts, at, AMDVI_DTE_V |
                 AMDVI_DTE_TV | AMDVI_DTE_MODE(4) | PRIVATE | AMDVI_DTE_IR);
    inv_devid(t, own);
    cntl_write(g, AMDVI_CNTL_MISC, 0);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_slot(g) + AMDVI_CNTL_MISC);
    write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN, 0);
    inv_devid(t, own);
    check_works(g);
    test_end(t);
}

static void test_maps(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    uint64_t devtab = AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY);
    uint64_t device = ipa_devices(g) + 0x21 * AMDVI_DEVICE_MAP_ENTRY;
    uint64_t domain = ipa_domains(g) + 0x21 * AMDVI_DOMAIN_MAP_ENTRY;

    /* An ID without an entry stops the ring, and is told to the host */
    guest_command(g, devtab | 0x21, 0);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, device);
    restart_ring(g);
    check_works(g);
    guest_command(g, inv_pages_cmd(0x21), ALL_PAGES);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, domain);
    pause_ring(g);

    /* Without the strobe nothing is written; each guest has its own map */
    cntl_write(g, AMDVI_CNTL_DOMAIN_MAP, AMDVI_MAP_VALID |
               AMDVI_MAP(0x21, 0x21));
    map_domain(other, 0x21, 0x21);
    map_device(g, 0x21, 0x21);
    resume_ring(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, domain);
    map_domain(g, 0x21, 0x21);
    pause_ring(g);
    resume_ring(g);
    check_done(g);
    good_command(g, devtab | 0x21, 0);
    good_command(other, inv_pages_cmd(0x21), ALL_PAGES);
    /* An entry that is not valid any more */
    cntl_write(g, AMDVI_CNTL_DEVICE_MAP, AMDVI_MAP_WRITE |
               AMDVI_MAP(0x21, 0x21));
    guest_command(g, devtab | 0x21, 0);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, device);

    /* The memory of a map is not there */
    map_device(g, 0x121, 5);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           ipa_devices(g) + 0x121 * AMDVI_DEVICE_MAP_ENTRY);
    map_domain(g, 0xffff, 5);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           ipa_domains(g) + 0xffff * AMDVI_DOMAIN_MAP_ENTRY);
    restart_ring(g);
    guest_command(g, devtab | 0x121, 0);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           ipa_devices(g) + 0x121 * AMDVI_DEVICE_MAP_ENTRY);
    check_works(other);
    test_end(t);
}

/* RESET_VMMIO: all of it, or what commands have; never the maps */
static void test_reset(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];

    check_works(g);
    vf_write(g, AMDVI_VF_EVENT_HEAD, 0x40);
    reset_guest(g, 0);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, CMD_ON);
    reset_guest(g, AMDVI_CMD_RESET_VCMD);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_TAIL), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS), ==,
                    AMDVI_STATUS_EVT_RUN | AMDVI_STATUS_PPR_RUN);
    g_assert_cmphex(vf_read(g, AMDVI_VF_EVENT_HEAD), ==, 0x40);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_EVENT), ==, EVENT_ON);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    g->tail = 0;
    check_works(g);

    reset_guest(g, AMDVI_CMD_RESET_ALL);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_MISC), ==, 0);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, 0);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_EVENT), ==, 0);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_PPR), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_EVENT_HEAD), ==, 0);
    check_works(&guests[1]);

    cntl_write(g, AMDVI_CNTL_MISC, AMDVI_MISC_DEVICE(TRANSLATE(g)));
    start_rings(g);
    good_command(g, inv_pages_cmd(G_DOMAIN), ALL_PAGES);
    /* Reserved */
    cmd_submit_bad(t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) | 1ULL << 27 | g->gid,
                   0);
    cmd_submit_bad(t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) | g->gid, 1);
    cmd_submit_bad(t, AMDVI_CMD(AMDVI_CMD_INSERT_GUEST_EVENT), 0);
    test_end(t);
}

/*
 * Test cases: the ring of commands
 */

static void test_commands(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    unsigned i;

    /* Two guests, the same addresses, and all the way round */
    check_works(g);
    g_assert_cmphex(wait_word(other), ==, 0);
    for (i = 0; i < RING_ENTRIES + 10; i++) {
        check_works(g);
    }
    check_works(other);
    g_assert_cmphex(vf_read(other, AMDVI_VF_CMD_HEAD), ==, AMDVI_RING_ENTRY);

    /* While it runs, it stays where it is */
    cntl_write(g, AMDVI_CNTL_CMD, G_BEYOND | RING_ON);
    g_assert_cmphex(cntl_read(g, AMDVI_CNTL_CMD), ==, CMD_ON);
    vf_write(g, AMDVI_VF_CMD_HEAD, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, g->tail);
    /* Off, and on again: it goes on; elsewhere it begins anew */
    pause_ring(g);
    g_assert(!guest_running(g));
    put_guest_wait(g, G_WAIT, 0x77);
    g_assert_cmphex(wait_word(g), !=, 0x77);
    resume_ring(g);
    g_assert_cmphex(wait_word(g), ==, 0x77);
    check_done(g);
    restart_ring(g);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, 0);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_TAIL), ==, 0);

    /* A tail beyond the ring, and no legal length */
    put_command(g, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT), 0);
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x40000 + g->tail);
    check_done(g);
    cntl_write(g, AMDVI_CNTL_CMD, 0);
    cntl_write(g, AMDVI_CNTL_CMD, G_CMD | AMDVI_CNTL_ENABLE | 7);
    g_assert(!guest_running(g));
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x10);
    g_assert_cmphex(vf_read(g, AMDVI_VF_CMD_HEAD), ==, 0);
    restart_ring(g);

    /* vCmdEn */
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU & ~AMDVI_CONTROL_VCMD);
    put_guest_wait(g, G_WAIT, 0x78);
    g_assert_cmphex(wait_word(g), !=, 0x78);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    ring_doorbell(g);
    g_assert_cmphex(wait_word(g), ==, 0x78);
    check_no_event(t);
    test_end(t);
}

/* Where the ring and what is stored are: in the memory of the guest, or not */
static void test_second_stage(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    uint64_t at = DEVTAB + TRANSLATE(g) * AMDVI_DEVTAB_ENTRY_SIZE;
    Event e;

    cntl_write(g, AMDVI_CNTL_CMD, 0);
    cntl_write(g, AMDVI_CNTL_CMD, G_BEYOND | RING_ON);
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x10);
    g_assert(!guest_running(g));
    check_one_viommu_error(g, AMDVI_EVF_VCMD, G_BEYOND);
    /* Doorbells leave no more of these */
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x20);
    check_no_event(t);
    restart_ring(g);

    put_guest_wait(g, G_BEYOND, 1);
    check_stopped(g);
    e = check_guest_event(g, AMDVI_EVT_CMD_HW);
    g_assert_cmphex(e.q[1], ==, G_BEYOND);
    cntl_write(g, AMDVI_CNTL_CMD, 0);

    /* Read only: commands can be read, and nothing stored */
    map_guest(g, G_WAIT, G_MEMORY(g, G_WAIT) | PTE_R);
    restart_ring(g);
    put_guest_wait(g, G_WAIT, 2);
    check_stopped(g);
    check_guest_event(g, AMDVI_EVT_CMD_HW);
    map_guest(g, G_WAIT, G_MEMORY(g, G_WAIT) | PTE_RW);
    restart_ring(g);
    check_works(g);

    /* What it is translated by is cached */
    map_guest(g, G_WAIT, G_MEMORY(g, G_PAGE) | PTE_RW);
    check_works(g);
    inv_pages(t, PARENT(g), NOP, G_WAIT, 0);
    put_guest_wait(g, G_WAIT, 0x99);
    g_assert_cmphex(qtest_readq(t->qts, G_MEMORY(g, G_PAGE)), ==, 0x99);
    map_guest(g, G_WAIT, G_MEMORY(g, G_WAIT) | PTE_RW);
    inv_pages(t, PARENT(g), NOP, G_WAIT, 0);
    qtest_writeq(t->qts, at, 0);
    check_works(g);
    inv_devid(t, TRANSLATE(g));
    guest_command(g, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT), 0);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           G_CMD + g->tail - AMDVI_RING_ENTRY);

    /* No translate device is not device 0 */
    write_plain_dte(t, 0, STAGE2(g), PARENT(g), 0);
    inv_devid(t, 0);
    write_plain_dte(t, TRANSLATE(g), STAGE2(g), PARENT(g), 0);
    inv_devid(t, TRANSLATE(g));
    cntl_write(g, AMDVI_CNTL_MISC, 0);
    pause_ring(g);
    resume_ring(g);
    g_assert(!guest_running(g));
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           G_CMD + g->tail - AMDVI_RING_ENTRY);
    test_end(t);
}

static void test_illegal(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    unsigned op;

    check_illegal(g, 0, 0);
    for (op = AMDVI_CMD_INVAL_AMDVI_ALL; op < 16; op++) {
        check_illegal(g, AMDVI_CMD(op), 0);
    }
    check_illegal(g, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) | AMDVI_CMD_RESET_ALL |
                  g->gid, 0);
    check_illegal(g, AMDVI_CMD(AMDVI_CMD_PREFETCH_AMDVI_PAGES) | G_DEVICE, 0);
    check_illegal(g, AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY) | G_DEVICE, 1);
    check_illegal(g, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | 1ULL << 52, 0);
    check_illegal(g, AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST) | G_DEVICE,
                  7ULL << 44);
    check_works(g);
    test_end(t);
}

/* More than is carried out at a time */
static void test_many(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    unsigned i, n = 3000;

    /* The ring lies in several pages */
    for (i = 0; i < 16; i++) {
        map_guest(g, G_CMD + i * PAGE, (G_MEMORY(g, G_CMD) + i * PAGE) |
                  PTE_RW);
    }
    cntl_write(g, AMDVI_CNTL_CMD, 0);
    cntl_write(g, AMDVI_CNTL_CMD, G_CMD | AMDVI_CNTL_ENABLE | 12);
    for (i = 0; i < n; i++) {
        qtest_writeq(t->qts, G_MEMORY(g, G_CMD) + i * AMDVI_RING_ENTRY,
                     AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | G_WAIT |
                     AMDVI_CMD_WAIT_STORE);
        qtest_writeq(t->qts, G_MEMORY(g, G_CMD) + i * AMDVI_RING_ENTRY + 8,
                     i + 1);
    }
    vf_write(g, AMDVI_VF_CMD_TAIL, n * AMDVI_RING_ENTRY);
    WAIT_FOR(t->qts, vf_read(g, AMDVI_VF_CMD_HEAD) == n * AMDVI_RING_ENTRY);
    g_assert_cmphex(wait_word(g), ==, n);
    check_no_event(t);
    test_end(t);
}

/* The rings are where private addresses say, whatever the base */
static void test_private_rings(void)
{
    Test *t = test_start_host(VIOMMU, CONTROL_VIOMMU &
                              ~AMDVI_CONTROL_GST_BUFFER_TRP);
    Guest *g = &guests[0];
    uint64_t ring = AMDVI_IPA_CMD + g->gid * AMDVI_IPA_RING_STRIDE;
    Event e;

    start_guest(g);
    vf_write(g, AMDVI_VF_CMD_TAIL, 0x10);
    g_assert(!guest_running(g));
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ring);
    map_private(t, ring, G_MEMORY(g, G_CMD) | PTE_RW);
    vf_write(g, AMDVI_VF_CMD_TAIL, 0);
    restart_ring(g);
    check_works(g);

    /* The log of events, which is not there at first */
    guest_command(g, 0, 0);
    check_one_viommu_error(g, AMDVI_EVF_VEVENT, AMDVI_IPA_EVENT +
                           g->gid * AMDVI_IPA_RING_STRIDE);
    map_private(t, AMDVI_IPA_EVENT + g->gid * AMDVI_IPA_RING_STRIDE,
                G_MEMORY(g, G_EVENT) | PTE_RW);
    cntl_write(g, AMDVI_CNTL_EVENT, 0);
    cntl_write(g, AMDVI_CNTL_EVENT, EVENT_ON);
    restart_ring(g);
    guest_command(g, 0, 0);
    e = check_guest_event(g, AMDVI_EVT_ILLEGAL_CMD);
    g_assert_cmphex(e.q[1], ==, 0);
    test_end(t);
}

/*
 * Test cases: invalidation
 */

static void test_invalidation(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    Endpoint *ep = g->ep;

    map_guest(g, G_BEYOND, PAGE_A | PTE_RW);
    map_guest(g, G_BEYOND + PAGE, PAGE_B | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, G_BEYOND | GPTE_RW);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    write_leaf(t, TABLES_1, IOVA, (G_BEYOND + PAGE) | GPTE_RW);
    /* The same number is another domain for the other guest */
    good_command(other, inv_pages_cmd(G_DOMAIN), ALL_PAGES);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_A, PAGE, PERM_RW);
    good_command(g, inv_pages_cmd(G_DOMAIN), ALL_PAGES);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);

    /* The cache of the device */
    fill_atc(ep, PASID, IOVA);
    good_command(other, inv_iotlb_cmd(G_DEVICE, G_DEVICE), INV_ALL |
                 AMDVI_CMD_S | AMDVI_CMD_GN);
    g_assert(in_atc(ep, PASID, IOVA));
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), INV_ALL | AMDVI_CMD_S |
                 AMDVI_CMD_GN);
    g_assert(!in_atc(ep, PASID, IOVA));
    /* The number of the queue is one of the guest, too */
    guest_command(g, inv_iotlb_cmd(G_DEVICE, 0x21), INV_ALL | AMDVI_CMD_S |
                  AMDVI_CMD_GN);
    check_stopped(g);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, ipa_devices(g) +
                           0x21 * AMDVI_DEVICE_MAP_ENTRY);
    restart_ring(g);

    /* Device table entries */
    write_dte(ep, AMDVI_DTE_V, 0, 0);
    good_command(other, AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY) | G_DEVICE, 0);
    check_translation(ep, PASID, IOVA, WANT_RW, PAGE_B, PAGE, PERM_RW);
    good_command(g, AMDVI_CMD(AMDVI_CMD_INVAL_DEVTAB_ENTRY) | G_DEVICE, 0);
    g_assert_cmpint(translate(ep, PASID, IOVA, WANT_RW).ret, !=, 0);
    test_end(t);
}

/* A device that withholds completions delays its guest, and nobody else */
static void test_held(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    uint64_t q1 = INV_ALL | AMDVI_CMD_S | AMDVI_CMD_GN;
    uint64_t before = wait_word(g);
    Event e;

    hold_inv(g->ep, true);
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), q1);
    put_guest_wait(g, G_WAIT, 0x1234);
    g_assert_cmphex(wait_word(g), ==, before);
    check_works(other);
    put_wait(t, 0x4321);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x4321);
    hold_inv(g->ep, false);
    WAIT_FOR(t->qts, wait_word(g) == 0x1234);
    check_done(g);

    /* Off and on: nothing is waited for, and what was is for nobody */
    hold_inv(g->ep, true);
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), q1);
    put_guest_wait(g, G_WAIT, 0x2345);
    restart_ring(g);
    check_works(g);
    hold_inv(other->ep, true);
    put_inv_iotlb(other->ep, NOP, INV_ALL, true);
    put_wait(t, 0x5432);
    hold_inv(g->ep, false);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x4321);
    hold_inv(other->ep, false);
    g_assert_cmphex(qtest_readq(t->qts, STATUS_WORD), ==, 0x5432);
    check_no_event(t);

    /* The host forgets all of them: the guest is told that it cannot know */
    hold_inv(g->ep, true);
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), q1);
    put_guest_wait(g, G_WAIT, 0x3456);
    cmd_restart(t);
    WAIT_FOR(t->qts, wait_word(g) == 0x3456);
    e = check_guest_event(g, AMDVI_EVT_INV_TIMEOUT);
    g_assert_cmphex(extract64(e.q[0], 0, 16), ==, G_DEVICE);
    hold_inv(g->ep, false);

    /* The switch of all is one, too */
    hold_inv(g->ep, true);
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), q1);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU & ~AMDVI_CONTROL_VIOMMU);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    check_works(g);
    hold_inv(g->ep, false);
    check_no_event(t);
    test_end(t);
}

/* One command for each register of the page that is read */
static void test_lazy(void)
{
    Test *t = test_start_with(VIOMMU ",x-lazy-invalidation=on");
    Guest *g = &guests[0];

    put_guest_wait(g, G_WAIT, 0x11);
    put_guest_wait(g, G_WAIT, 0x22);
    g_assert_cmphex(wait_word(g), ==, 0);
    /* Of another guest it is not */
    g_assert(guest_running(&guests[1]));
    g_assert_cmphex(wait_word(g), ==, 0);
    g_assert(guest_running(g));
    g_assert_cmphex(wait_word(g), ==, 0x11);
    g_assert(guest_running(g));
    g_assert_cmphex(wait_word(g), ==, 0x22);
    check_done(g);
    test_end(t);
}

/* A device that never completes: told to its guest, not to the host */
static void test_timeout(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    uint64_t at;
    Event e;

    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU |
               AMDVI_CONTROL_INV_TIMEOUT);
    ep_writel(g->ep, IOPF_TD_REG_HOSTILE, IOPF_TD_HOSTILE_REFUSE_INV);
    at = G_CMD + g->tail;
    good_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), INV_ALL | AMDVI_CMD_S |
                 AMDVI_CMD_GN);
    e = check_guest_event(g, AMDVI_EVT_INV_TIMEOUT);
    g_assert_cmphex(extract64(e.q[0], 0, 16), ==, G_DEVICE);
    g_assert_cmphex(e.q[1], ==, at);
    check_works(g);
    test_end(t);
}

/*
 * Test cases: logs
 */

static Request take_guest_request(Guest *g)
{
    uint64_t at = G_MEMORY(g, G_PPR) + g->ppr_head, q0, q1;

    WAIT_FOR(g->t->qts, vf_read(g, AMDVI_VF_PPR_TAIL) != g->ppr_head);
    q0 = qtest_readq(g->t->qts, at);
    q1 = qtest_readq(g->t->qts, at + 8);
    g->ppr_head = (g->ppr_head + AMDVI_RING_ENTRY) % G_SIZE;
    vf_write(g, AMDVI_VF_PPR_HEAD, g->ppr_head);
    g_assert_cmphex(extract64(q0, 60, 4), ==, 1);
    return (Request) {
        .rid = q0,
        .pasid = extract64(q0, 16, 16) | extract64(q0, 42, 4) << 16,
        .addr = q1,
        .prgi = extract64(q0, 32, 9),
        .last = q0 & AMDVI_PPR_LAST,
    };
}

static uint32_t outstanding(Endpoint *ep)
{
    return ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING);
}

static void make_requests(Guest *g, unsigned n, uint16_t prgi)
{
    Desc d = group_request(PASID, IOVA, n, WANT_R, prgi);

    ep_check(g->ep, &d, IOPF_TD_ST_OK);
}

static uint64_t complete_cmd(void)
{
    return AMDVI_CMD(AMDVI_CMD_COMPLETE_PPR_REQUEST) | G_DEVICE |
           (uint64_t)PASID << 32;
}

static void test_ppr(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    Request r;
    Desc d;
    Event e;

    make_requests(g, 1, 0x11);
    r = take_guest_request(g);
    g_assert_cmphex(r.rid, ==, G_DEVICE);
    g_assert_cmphex(r.pasid, ==, PASID);
    g_assert_cmphex(r.addr, ==, IOVA);
    g_assert_cmphex(r.prgi, ==, 0x11);
    g_assert(r.last);
    g_assert(!have_request(t));
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_PPR_INT, ==,
                    AMDVI_STATUS_PPR_INT);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_PPR_INT);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS), ==, AMDVI_STATUS_CMD_RUN |
                    AMDVI_STATUS_EVT_RUN | AMDVI_STATUS_PPR_RUN);
    g_assert_cmphex(vf_read(other, AMDVI_VF_PPR_TAIL), ==, 0);
    /* The device of the other guest has the same number there */
    g_assert_cmpuint(outstanding(g->ep), ==, 1);
    good_command(g, complete_cmd(), AMDVI_CMD_GN | 0x11ULL << 32);
    g_assert_cmpuint(outstanding(g->ep), ==, 0);
    check_only_response(g->ep, RSP_SUCCESS, 0x11, PASID, 1);
    g_assert(!take_unexpected(other->ep));

    /* PPREn is off: the device gets an answer, the guest an event */
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON & ~AMDVI_CNTL_PPR_ENABLE);
    d = group_request(PASID, IOVA, 1, WANT_R, 0x12);
    check_automatic(g->ep, &d, RSP_INVALID);
    e = check_guest_event(g, AMDVI_EVT_INVALID_PPR);
    g_assert_cmphex(extract64(e.q[0], 0, 16), ==, G_DEVICE);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_PPR_RX, ==, AMDVI_EVF_PPR_RX);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON);

    /* It is full: what comes is lost, until it is switched off and on */
    make_requests(g, RING_ENTRIES - 1, 0x13);
    g_assert(vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_PPR_RUN);
    make_requests(g, 1, 0x14);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS) & (AMDVI_STATUS_PPR_RUN |
                    AMDVI_STATUS_PPR_OVERFLOW), ==, AMDVI_STATUS_PPR_OVERFLOW);
    cntl_write(g, AMDVI_CNTL_PPR, 0);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_PPR_RUN, ==, 0);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_PPR_OVERFLOW);
    cntl_write(g, AMDVI_CNTL_PPR, 0);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON);
    g->ppr_head = 0;
    make_requests(g, 1, 0x15);
    g_assert_cmphex(take_guest_request(g).prgi, ==, 0x15);

    /* A log outside the second stage: one error, and it stops */
    cntl_write(g, AMDVI_CNTL_PPR, 0);
    cntl_write(g, AMDVI_CNTL_PPR, G_BEYOND << 4 | RING_ON |
               AMDVI_CNTL_PPR_ENABLE);
    make_requests(g, 1, 0x16);
    check_one_viommu_error(g, AMDVI_EVF_VPPR, G_BEYOND);
    make_requests(g, 1, 0x17);
    check_no_event(t);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_PPR_RUN, ==, 0);
    test_end(t);
}

static void test_stop_marker(void)
{
    Test *t = test_start_with(VIOMMU ",ppr-block-stop=on");
    Guest *g = &guests[0];
    Desc stop = {
        .op = IOPF_TD_OP_STOP_MARKER, .flags = IOPF_TD_F_PASID, .pasid = PASID,
    };

    ep_check(g->ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmphex(vf_read(g, AMDVI_VF_PPR_TAIL), ==, AMDVI_RING_ENTRY);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON | AMDVI_CNTL_PPR_BLOCK_STOP);
    ep_check(g->ep, &stop, IOPF_TD_ST_OK);
    g_assert_cmphex(vf_read(g, AMDVI_VF_PPR_TAIL), ==, AMDVI_RING_ENTRY);
    test_end(t);
}

/* A translation request without PPR in the entry leaves an event */
static void fault(Guest *g)
{
    translate(g->ep, PASID, IOVA, WANT_RW);
}

static void test_events(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    Endpoint *ep = g->ep;
    uint64_t q0 = DEVTAB + ep->bdf * AMDVI_DEVTAB_ENTRY_SIZE, at;
    Event e;

    qtest_writeq(t->qts, q0, qtest_readq(t->qts, q0) & ~AMDVI_DTE_PPR);
    inv_dte(ep);

    /* In tables of the guest: for the guest, as it knows the device */
    fault(g);
    e = check_guest_event(g, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(extract64(e.q[0], 0, 16), ==, G_DEVICE);
    g_assert_cmphex(extract64(e.q[0], 32, 16), ==, PASID);
    g_assert_cmphex(e.q[1], ==, IOVA);
    /* In those of the host: for the host, as that does */
    write_leaf(t, TABLES_1, IOVA, (G_BEYOND + PAGE) | GPTE_RW);
    fault(g);
    e = check_event(ep, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_VNR, ==, AMDVI_EVF_VNR);
    g_assert_cmphex(e.q[1], ==, G_BEYOND + PAGE);
    g_assert_cmphex(take_guest_event(g, &e), ==, 0);
    /* A device that is not of a guest, and all of them while that is off */
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU & ~AMDVI_CONTROL_VIOMMU);
    write_leaf(t, TABLES_1, IOVA, 0);
    fault(g);
    e = check_event(ep, AMDVI_EVT_PAGE_FAULT);
    g_assert_cmphex(e.q[0] & AMDVI_EVF_VNR, ==, 0);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    qtest_writeq(t->qts, q0 + 24, 0);
    inv_dte(ep);
    fault(g);
    check_event(ep, AMDVI_EVT_PAGE_FAULT);
    qtest_writeq(t->qts, q0 + 24, AMDVI_DTE_GUEST(g->gid, G_DEVICE));
    inv_dte(ep);

    /* While it runs its tail is the hardware's */
    at = vf_read(g, AMDVI_VF_EVENT_TAIL);
    vf_write(g, AMDVI_VF_EVENT_TAIL, 0x80);
    g_assert_cmphex(vf_read(g, AMDVI_VF_EVENT_TAIL), ==, at);
    /* Full */
    vf_write(g, AMDVI_VF_EVENT_HEAD, at + AMDVI_RING_ENTRY);
    fault(g);
    g_assert_cmphex(vf_read(g, AMDVI_VF_EVENT_TAIL), ==, at);
    g_assert_cmphex(vf_read(g, AMDVI_VF_STATUS) & (AMDVI_STATUS_EVT_RUN |
                    AMDVI_STATUS_EVT_OVERFLOW), ==, AMDVI_STATUS_EVT_OVERFLOW);
    check_no_event(t);
    check_works(g);

    /* Not in memory: GUEST_EVENT_FAULT, once */
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_EVT_OVERFLOW);
    cntl_write(g, AMDVI_CNTL_EVENT, 0);
    cntl_write(g, AMDVI_CNTL_EVENT, G_BEYOND | RING_ON);
    map_guest(g, G_BEYOND, 0);
    fault(g);
    g_assert_cmphex(take_event(t, &e), ==, AMDVI_EVT_GUEST_FAULT);
    g_assert_cmphex(e.q[0], ==, AMDVI_EVENT(AMDVI_EVT_GUEST_FAULT) |
                    AMDVI_EVF_VEVENT | (uint64_t)g->gid << 32);
    g_assert_cmphex(e.q[1], ==, G_BEYOND);
    fault(g);
    check_no_event(t);
    test_end(t);
}

/*
 * Test cases: interrupts
 */

#define VECTOR_EVENT    0x41
#define VECTOR_PPR      0x87

static uint32_t take_irr(Test *t, uint8_t vector)
{
    uint64_t at = BACKING + AMDVI_BACKING_IRR + vector / 32 * 16;
    uint32_t irr = qtest_readl(t->qts, at);

    qtest_writel(t->qts, at, 0);
    return irr & BIT(vector % 32);
}

static void write_irte(Guest *g, unsigned type, uint64_t lo, uint8_t vector)
{
    uint32_t id = AMDVI_GIRQ_ID(type, g->gid);
    uint64_t l2 = IRQ_L2 + type * PAGE;

    qtest_writeq(g->t->qts, IRQ_L1 + extract32(id, 8, 10) * 8,
                 l2 | AMDVI_GIRQ_L1_LEN_256 | AMDVI_GIRQ_L1_V);
    qtest_writeq(g->t->qts, l2 + (id & 0xff) * 16, lo);
    qtest_writeq(g->t->qts, l2 + (id & 0xff) * 16 + 8, BACKING | vector);
}

static void test_interrupts(void)
{
    Test *t = test_start();
    Guest *g = &guests[0];
    uint64_t iv = AMDVI_DTE_IV | AMDVI_GIRQ_TABLE_LEN << 1 |
                  (uint64_t)AMDVI_GIRQ_INT_CTL << 60 | IRQ_L1;
    uint64_t irte = AMDVI_IRTE_V | AMDVI_IRTE_GUEST;
    uint64_t wait = AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT) | AMDVI_CMD_WAIT_INT;
    uint16_t own = own_devid(t);
    uint64_t l1 = IRQ_L1 + extract32(g->gid, 8, 8) * 8;
    const uint64_t not_iv[] = { AMDVI_DTE_IV, 1 << 1, 1ULL << 60 };
    unsigned i;

    write_irte(g, AMDVI_GIRQ_EVENT, irte, VECTOR_EVENT);
    write_irte(g, AMDVI_GIRQ_PPR, irte, VECTOR_PPR);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON | AMDVI_CNTL_INTERRUPT);
    /* No such table: the guest has to look */
    for (i = 0; i < ARRAY_SIZE(not_iv); i++) {
        write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN, iv ^ not_iv[i]);
        inv_devid(t, own);
        good_command(g, wait, 0);
        g_assert(vf_read(g, AMDVI_VF_STATUS) & AMDVI_STATUS_WAIT_INT);
        vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
        g_assert(!take_irr(t, VECTOR_EVENT));
    }

    write_plain_dte(t, own, PRIVATE, PRIVATE_DOMAIN, iv);
    inv_devid(t, own);
    good_command(g, wait, 0);
    g_assert(take_irr(t, VECTOR_EVENT));
    /* Once, until it is cleared; or when it becomes enabled */
    good_command(g, wait, 0);
    g_assert(!take_irr(t, VECTOR_EVENT));
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON);
    good_command(g, wait, 0);
    g_assert(!take_irr(t, VECTOR_EVENT));
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON | AMDVI_CNTL_INTERRUPT);
    g_assert(take_irr(t, VECTOR_EVENT));
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);

    /* Of events, of page requests */
    cntl_write(g, AMDVI_CNTL_EVENT, EVENT_ON | AMDVI_CNTL_INTERRUPT);
    cntl_write(g, AMDVI_CNTL_PPR, PPR_ON | AMDVI_CNTL_INTERRUPT);
    make_requests(g, 1, 1);
    g_assert(take_irr(t, VECTOR_PPR));
    g_assert(!take_irr(t, VECTOR_EVENT));
    guest_command(g, 0, 0);
    g_assert(take_irr(t, VECTOR_EVENT));
    g_assert(!take_irr(t, VECTOR_PPR));
    restart_ring(g);
    cntl_write(g, AMDVI_CNTL_CMD, CMD_ON | AMDVI_CNTL_INTERRUPT);

    /* Entries that are none of a guest, or not valid, at either level */
    write_irte(g, AMDVI_GIRQ_EVENT, AMDVI_IRTE_V, VECTOR_EVENT);
    good_command(g, wait, 0);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
    write_irte(g, AMDVI_GIRQ_EVENT, AMDVI_IRTE_GUEST, VECTOR_EVENT);
    good_command(g, wait, 0);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
    write_irte(g, AMDVI_GIRQ_EVENT, irte, VECTOR_EVENT);
    qtest_writeq(t->qts, l1, IRQ_L2 | AMDVI_GIRQ_L1_LEN_256);
    good_command(g, wait, 0);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
    qtest_writeq(t->qts, l1, IRQ_L2 | AMDVI_GIRQ_L1_V);
    good_command(g, wait, 0);
    vf_write(g, AMDVI_VF_STATUS, AMDVI_STATUS_WAIT_INT);
    g_assert(!take_irr(t, VECTOR_EVENT));
    check_no_event(t);
    /* Not in memory */
    qtest_writeq(t->qts, l1, 0x8000000000000ULL | AMDVI_GIRQ_L1_LEN_256 |
                 AMDVI_GIRQ_L1_V);
    good_command(g, wait, 0);
    check_one_viommu_error(g, AMDVI_EVF_VEVENT, 0x8000000000000ULL +
                           g->gid * 16);
    check_done(g);
    test_end(t);
}

/*
 * Test cases: whatever a guest does
 */

static uint64_t random64(void)
{
    return (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

static void random_commands(Guest *g)
{
    unsigned i;

    for (i = 0; i < 8; i++) {
        uint64_t at = G_MEMORY(g, G_CMD) + i * AMDVI_RING_ENTRY;
        uint64_t q0 = AMDVI_CMD(g_test_rand_int_range(1, 11)) |
                      (random64() & 0x10000000ff);

        if (q0 >> 60 == AMDVI_CMD_COMPLETION_WAIT) {
            q0 |= G_WAIT;
        }
        qtest_writeq(g->t->qts, at, q0);
        qtest_writeq(g->t->qts, at + 8, random64() & AMDVI_CMD_GN);
    }
    vf_write(g, AMDVI_VF_CMD_HEAD, 0);
    vf_write(g, AMDVI_VF_CMD_TAIL, 8 * AMDVI_RING_ENTRY);
}

static void test_hostile(void)
{
    Test *t = test_start();
    Guest *g = &guests[0], *other = &guests[1];
    unsigned i, tail;

    for (i = 0; i < 300; i++) {
        random_commands(g);
        vf_write(g, g_test_rand_int_range(0, 0x20) * 4, g_test_rand_int());
        vf_write(g, AMDVI_VF_CMD_HEAD, 0);
        vf_write(g, AMDVI_VF_CMD_TAIL, g_test_rand_int());
        if (!(i % 4)) {
            restart_ring(g);
        }
        if (!(i % 16)) {
            check_works(other);
        }
    }
    /* One entry at most for each start by the VMM */
    tail = amd_readq(t, AMDVI_MMIO_EVENT_TAIL) / AMDVI_RING_ENTRY;
    g_assert_cmpuint(tail, <=, 300 / 4 + 1);
    g_assert(amd_status(t) & AMDVI_STATUS_EVT_RUN);
    check_works(other);

    /* Private memory that says whatever it likes, too */
    for (i = 0; i < 200; i++) {
        uint64_t at = in_memory(g, SLOT) +
                      g->gid * AMDVI_VF_CNTL_SLOT;

        qtest_writeq(t->qts, at + g_test_rand_int_range(0, 8) * 8,
                     (uint64_t)g_test_rand_int() << 32 | g_test_rand_int());
        vf_write(g, AMDVI_VF_CMD_TAIL, g_test_rand_int());
        vf_read(g, AMDVI_VF_STATUS);
    }
    check_works(other);
    /* And it can be had again */
    reset_guest(g, AMDVI_CMD_RESET_ALL | AMDVI_CMD_RESET_VCMD);
    cntl_write(g, AMDVI_CNTL_MISC, AMDVI_MISC_DEVICE(TRANSLATE(g)));
    start_rings(g);
    check_works(g);
    test_end(t);
}

/* Some table entry, or a number like one */
static void random_entry(Test *t, uint64_t table)
{
    uint64_t val = random64() & 0x1fff000, at = table +
                   g_test_rand_int_range(0, 8 * PAGE / 8) * 8;

    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        val = random64();
        break;
    case 1:
        val = 0;
        break;
    default:
        val |= PTE_RW | AMDVI_PTE_NEXT(g_test_rand_int_range(0, 8));
        break;
    }
    qtest_writeq(t->qts, at, val);
}

static void random_dte(Test *t, uint16_t devid)
{
    uint64_t at = DEVTAB + devid * AMDVI_DEVTAB_ENTRY_SIZE +
                  g_test_rand_int_range(0, 4) * 8;

    qtest_writeq(t->qts, at, qtest_readq(t->qts, at) ^
                 1ULL << g_test_rand_int_range(0, 64));
}

static void random_slot(Guest *g)
{
    uint64_t regs[] = { AMDVI_CNTL_CMD, AMDVI_CNTL_EVENT, AMDVI_CNTL_PPR };
    uint16_t id = g_test_rand_int_range(0, 0x100);
    unsigned n = g_test_rand_int_range(0, 3);

    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        cntl_write(g, g_test_rand_int_range(0, 8) * 8, random64());
        break;
    case 1:
        cntl_write(g, AMDVI_CNTL_MISC, AMDVI_MISC_DEVICE(TRANSLATE(g) + n));
        break;
    case 2:
        map_device(g, id, g_test_rand_int_range(0, 0x200));
        map_domain(g, id, H_DOMAIN(g) + n);
        break;
    default:
        cntl_write(g, regs[n], 0);
        cntl_write(g, regs[n], (G_CMD + n * 0x10000) << (n == 2 ? 4 : 0) |
                   RING_ON | (random64() & 0x61f));
        break;
    }
}

/* The host does, too */
static void random_step(Test *t, Guest *g)
{
    uint64_t off = AMDVI_MMIO_CONTROL_GAEN | AMDVI_CONTROL_VCMD |
                   AMDVI_CONTROL_VIOMMU | AMDVI_CONTROL_GST_BUFFER_TRP |
                   AMDVI_MMIO_CONTROL_CMDBUFLEN;

    switch (g_test_rand_int_range(0, 12)) {
    case 0:
        random_entry(t, PRIVATE);
        break;
    case 1:
        random_entry(t, STAGE2(g));
        break;
    case 2:
        random_dte(t, own_devid(t));
        random_dte(t, TRANSLATE(g));
        break;
    case 3:
        random_dte(t, g->ep->bdf);
        break;
    case 4:
        cmd_put(t, AMDVI_CMD(AMDVI_CMD_INVAL_AMDVI_ALL), 0);
        break;
    case 5:
        cmd_put(t, AMDVI_CMD(AMDVI_CMD_RESET_VMMIO) | g->gid |
                (random64() & (AMDVI_CMD_RESET_ALL | AMDVI_CMD_RESET_VCMD)),
                0);
        break;
    case 6:
        amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU & ~(random64() &
                   random64() & off));
        amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
        amd_writeq(t, AMDVI_MMIO_STATUS, UINT32_MAX);
        break;
    case 7:
        vf_write(g, g_test_rand_int_range(0, 0x40) * 4, random64());
        vf_read(g, g_test_rand_int_range(0, 0x20) * 8);
        break;
    case 8:
        translate(g->ep, PASID, IOVA + (random64() & 0x1ff000), WANT_RW);
        break;
    case 9:
        hold_inv(g->ep, random64() & 1);
        break;
    case 10:
        random_slot(g);
        break;
    default:
        random_commands(g);
        break;
    }
}

/* Anything anywhere; and after a reset everything works */
static void test_random(void)
{
    Test *t = test_start();
    unsigned i, n = g_test_slow() ? 100000 : 4000;

    for (i = 0; i < n; i++) {
        random_step(t, &guests[g_test_rand_int_range(0, 2)]);
        if (!(i % 500)) {
            /* So that not all of it is for nothing */
            hold_inv(guests[0].ep, false);
            hold_inv(guests[1].ep, false);
            qtest_system_reset(t->qts);
            start_host(t, CONTROL_VIOMMU);
            start_guest(&guests[0]);
            start_guest(&guests[1]);
        }
    }
    qtest_system_reset(t->qts);
    start_host(t, CONTROL_VIOMMU);
    start_guest(&guests[0]);
    start_guest(&guests[1]);
    check_works(&guests[0]);
    check_works(&guests[1]);
    check_no_event(t);
    test_end(t);
}

/* A store, or what a device is told, is done when somebody waits, or looks */
static void check_late(Guest *g, void (*wait)(Guest *g))
{
    Endpoint *ep = g->ep;

    qtest_writeq(g->t->qts, G_MEMORY(g, G_WAIT), 0);
    put_guest_wait(g, G_WAIT, 1);
    g_assert_cmphex(wait_word(g), ==, 0);
    wait(g);
    g_assert_cmphex(wait_word(g), ==, 1);

    fill_atc(ep, PASID, IOVA);
    guest_command(g, inv_iotlb_cmd(G_DEVICE, G_DEVICE), INV_ALL | AMDVI_CMD_S |
                  AMDVI_CMD_GN);
    g_assert(in_atc(ep, PASID, IOVA));
    wait(g);
    g_assert(!in_atc(ep, PASID, IOVA));
}

static void wait_of_host(Guest *g)
{
    cmd_submit(g->t, AMDVI_CMD(AMDVI_CMD_COMPLETION_WAIT), 0);
}

static void look_at_page(Guest *g)
{
    vf_read(g, AMDVI_VF_STATUS);
}

/* Another guest's next command does not overtake it */
static void next_command(Guest *g)
{
    Guest *other = &guests[!g->index];

    guest_command(other, inv_pages_cmd(G_DOMAIN), ALL_PAGES);
}

static void stop_machine(Guest *g)
{
    qtest_qmp_assert_success(g->t->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(g->t->qts, "{ 'execute': 'cont' }");
}

static void turn_off(Guest *g)
{
    amd_writeq(g->t, AMDVI_MMIO_CONTROL,
               CONTROL_VIOMMU & ~AMDVI_CONTROL_VIOMMU);
    amd_writeq(g->t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
}

static void check_private_late(Guest *g)
{
    uint64_t all = AMDVI_CMD_RESET_ALL | AMDVI_CMD_RESET_VCMD;
    uint64_t map = ipa_devices(g);
    Test *t = g->t;

    /* What is not there any more, but is not invalidated */
    map_private(t, map, 0);
    reset_guest(g, all);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, map);
    map_device(g, G_DEVICE, g->ep->bdf);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           map + G_DEVICE * AMDVI_DEVICE_MAP_ENTRY);
    inv_pages(t, PRIVATE_DOMAIN, NOP, map, 0);
    reset_guest(g, all);
    check_no_event(t);
    /* And that it was not there */
    map_private(t, map, in_memory(g, DEVICE_MAP) | PTE_RW);
    map_device(g, G_DEVICE, g->ep->bdf);
    check_one_viommu_error(g, AMDVI_EVF_VCMD,
                           map + G_DEVICE * AMDVI_DEVICE_MAP_ENTRY);
    inv_pages(t, PRIVATE_DOMAIN, NOP, map, 0);
    map_device(g, G_DEVICE, g->ep->bdf);
    /* Somewhere else */
    map_private(t, map, in_memory(g, PPR_RING + 1) | PTE_RW);
    reset_guest(g, all);
    check_one_viommu_error(g, AMDVI_EVF_VCMD, map);
    inv_pages(t, PRIVATE_DOMAIN, NOP, map, 0);
    reset_guest(g, all);
    check_no_event(t);
}

/* What hardware may do, to software that does not wait or invalidate */
static void test_late(void)
{
    static void (*const waits[])(Guest *g) = {
        wait_of_host, look_at_page, next_command, stop_machine, turn_off,
    };
    Test *t = test_start_with(VIOMMU ",x-viommu-late=on");
    Guest *g = &guests[0];
    unsigned i;

    map_guest(g, G_BEYOND, PAGE_A | PTE_RW);
    write_leaf(t, TABLES_1, IOVA, G_BEYOND | GPTE_RW);
    for (i = 0; i < ARRAY_SIZE(waits); i++) {
        check_late(g, waits[i]);
    }
    check_private_late(g);
    check_works(&guests[1]);

    /* All registers are lost with the power, though their memory is not */
    g_assert_cmphex(cntl_read(&guests[1], AMDVI_CNTL_CMD), ==, CMD_ON);
    put_guest_wait(&guests[1], G_WAIT, 0);
    qtest_system_reset(t->qts);
    enable_mmcfg(t->qts);
    start_amd(t);
    amd_writeq(t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    g_assert_cmphex(cntl_read(&guests[1], AMDVI_CNTL_CMD), ==, 0);
    g_assert_cmphex(vf_read(&guests[1], AMDVI_VF_CMD_HEAD), ==, 0);
    test_end(t);
}

/* All that guests have is in memory */
static void test_migration(void)
{
    Test t = { .qts = qtest_init(Q35_AMD VIOMMU) };
    Guest g = { .t = &t, .gid = 5 };

    enable_mmcfg(t.qts);
    clear_tables(&t);
    qtest_memset(t.qts, PRIVATE, 0, IRQ_L2 + 0x20000 - PRIVATE);
    next_table[0] = next_table[1] = PAGE;
    start_amd(&t);
    write_plain_dte(&t, own_devid(&t), PRIVATE, PRIVATE_DOMAIN, 0);
    inv_devid(&t, own_devid(&t));
    amd_writeq(&t, AMDVI_MMIO_CONTROL, CONTROL_VIOMMU);
    map_private_pages(&g);
    map_guest(&g, G_CMD, G_MEMORY(&g, G_CMD) | PTE_RW);
    map_guest(&g, G_WAIT, G_MEMORY(&g, G_WAIT) | PTE_RW);
    write_plain_dte(&t, TRANSLATE(&g), STAGE2(&g), PARENT(&g), 0);
    inv_devid(&t, TRANSLATE(&g));
    cntl_write(&g, AMDVI_CNTL_MISC, AMDVI_MISC_DEVICE(TRANSLATE(&g)));
    cntl_write(&g, AMDVI_CNTL_CMD, CMD_ON);
    check_works(&g);
    migrate_machine(&t, Q35_AMD VIOMMU);
    g_assert_cmphex(vf_read(&g, AMDVI_VF_CMD_HEAD), ==, AMDVI_RING_ENTRY);
    check_works(&g);
    qtest_quit(t.qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/amd-viommu/registers", test_registers);
    qtest_add_func("/amd-viommu/options", test_options);
    qtest_add_func("/amd-viommu/private", test_private);
    qtest_add_func("/amd-viommu/maps", test_maps);
    qtest_add_func("/amd-viommu/reset", test_reset);
    qtest_add_func("/amd-viommu/commands", test_commands);
    qtest_add_func("/amd-viommu/second-stage", test_second_stage);
    qtest_add_func("/amd-viommu/illegal", test_illegal);
    qtest_add_func("/amd-viommu/many", test_many);
    qtest_add_func("/amd-viommu/private-rings", test_private_rings);
    qtest_add_func("/amd-viommu/invalidation", test_invalidation);
    qtest_add_func("/amd-viommu/held", test_held);
    qtest_add_func("/amd-viommu/lazy", test_lazy);
    qtest_add_func("/amd-viommu/timeout", test_timeout);
    qtest_add_func("/amd-viommu/ppr", test_ppr);
    qtest_add_func("/amd-viommu/stop-marker", test_stop_marker);
    qtest_add_func("/amd-viommu/events", test_events);
    qtest_add_func("/amd-viommu/interrupts", test_interrupts);
    qtest_add_func("/amd-viommu/hostile", test_hostile);
    qtest_add_func("/amd-viommu/random", test_random);
    qtest_add_func("/amd-viommu/late", test_late);
    qtest_add_func("/amd-viommu/migration", test_migration);

    return g_test_run();
}

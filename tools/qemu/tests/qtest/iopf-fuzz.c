/*
 * Anything anywhere: the part that does not depend on the IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "iopf-fuzz.h"

#define STEPS_DEFAULT   1500
#define SEED_DEFAULT    0x1234

/* Steps after which there are good tables and running devices again */
#define STEPS_REPAIR    40

uint32_t pick(Fuzz *f, uint32_t n)
{
    return g_rand_int_range(f->rand, 0, n);
}

uint64_t random64(Fuzz *f)
{
    return (uint64_t)g_rand_int(f->rand) << 32 | g_rand_int(f->rand);
}

Endpoint *endpoint(Fuzz *f, unsigned n)
{
    return n < 2 ? &f->t->ep[n] : &f->vf;
}

Endpoint *pick_endpoint(Fuzz *f)
{
    return endpoint(f, pick(f, FUZZ_FUNCTIONS));
}

uint32_t pick_pasid(Fuzz *f)
{
    switch (pick(f, 4)) {
    case 0:
        return pick(f, 300);
    case 1:
        return NOP;
    default:
        return pick(f, FUZZ_PASIDS);
    }
}

uint64_t pick_page(Fuzz *f)
{
    switch (pick(f, 8)) {
    case 0:
        return random64(f) & ~(PAGE - 1);
    case 1:
        return f->ops->special;
    case 2:
        return f->ops->memory_end - PAGE;
    case 3:
        return f->ops->data + pick(f, 512) * PAGE;
    default:
        return f->ops->tables + PAGE *
               pick(f, (f->ops->tables_end - f->ops->tables) / PAGE);
    }
}

uint64_t pick_iova(Fuzz *f)
{
    switch (pick(f, 24)) {
    case 0:
        return random64(f);
    case 1:
        return f->ops->special + pick(f, 0x100000) - 0x8000;
    case 2:
        return pick(f, 2) ? f->ops->low : UINT64_MAX - pick(f, 0x3000);
    case 3:
        return (1ULL << (pick(f, 18) + 38)) - pick(f, 0x3000);
    default:
        return IOVA + pick(f, 600) * PAGE + pick(f, PAGE);
    }
}

uint64_t disturb(Fuzz *f, uint64_t val)
{
    while (!pick(f, 12)) {
        val ^= 1ULL << pick(f, 64);
    }
    return val;
}

void write_words(Fuzz *f, uint64_t addr, const uint64_t *words, unsigned n)
{
    g_autofree uint64_t *le = g_new(uint64_t, n);
    unsigned i;

    for (i = 0; i < n; i++) {
        le[i] = cpu_to_le64(words[i]);
    }
    qtest_memwrite(f->t->qts, addr, le, n * 8);
}

uint64_t pick_register_value(Fuzz *f)
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

uint64_t pick_rid(Fuzz *f)
{
    return pick(f, 8) ? pick_endpoint(f)->bdf : g_rand_int(f->rand) & 0xffff;
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
        d.mode = pick(f, 8) ? f->ops->mode : d.mode;
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

void fuzz_leaves_good(Fuzz *f, const uint64_t *tables, const uint64_t *flags,
                      unsigned n)
{
    bool there[512] = {};
    unsigned i, k;

    for (i = 0; i < 512; i += 1 + pick(f, 3)) {
        there[i] = true;
    }
    for (k = 0; k < n; k++) {
        uint64_t leaves[512];

        for (i = 0; i < 512; i++) {
            leaves[i] = there[i] ? (f->ops->data + i * PAGE) | flags[k] : 0;
        }
        write_words(f, tables[k], leaves, ARRAY_SIZE(leaves));
    }
}

/* What firmware does */
static void fuzz_boot(Fuzz *f)
{
    int i;

    if (f->ops->boot) {
        f->ops->boot(f);
    }
    enable_root_port(&f->t->ep[1], FUZZ_ROOT_PORT);
    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        fuzz_map(f, endpoint(f, i));
    }
    f->control = 0;
}

void fuzz_reset(Fuzz *f)
{
    qtest_system_reset(f->t->qts);
    fuzz_boot(f);
}

static void fuzz_unplug(Fuzz *f)
{
    g_autofree char *old = g_strdup_printf("td%u", f->plugged);
    g_autofree char *new = g_strdup_printf("td%u", f->plugged + 1);

    qtest_qmp_device_del_send(f->t->qts, old);
    f->ops->slot(f, false);
    qtest_qmp_eventwait(f->t->qts, "DEVICE_DELETED");
    if (pick(f, 2)) {
        /* The device is not there now */
        f->ops->invalidate(f);
        f->ops->answer(f);
    }
    qtest_qmp_device_add(f->t->qts, "iopf-testdev", new, "{'bus': 'rp1'}");
    f->plugged++;
    f->ops->slot(f, true);
    ep_map(&f->t->ep[1]);
}

static void fuzz_step(Fuzz *f)
{
    unsigned n = pick(f, 1000);

    switch (n) {
    case 0 ... 39:
        f->ops->iommu_register(f);
        break;
    case 40 ... 59:
        f->ops->command(f);
        break;
    case 60 ... 159:
        f->ops->change_tables(f);
        break;
    case 160 ... 199:
        f->ops->flush(f);
        break;
    case 200 ... 399:
        f->ops->invalidate(f);
        break;
    case 400 ... 549:
        f->ops->answer(f);
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
    f->ops->map(f);
    page_response(ep, pasid, RSP_SUCCESS, prgi);
    g_assert_cmpuint(ep_finish(ep, desc), ==, IOPF_TD_ST_OK);
    check_pattern(f->t->qts, f->ops->data, 99, PAGE);
    f->ops->unmap(ep);
}

static void check_works(Fuzz *f)
{
    int i;

    fuzz_reset(f);
    f->ops->start(f);
    qtest_memset(f->t->qts, f->ops->data, 0, PAGE);
    for (i = 0; i < FUZZ_FUNCTIONS; i++) {
        Endpoint *ep = endpoint(f, i);

        ep_enable(ep, 32);
        ep_start_ring(ep, 8, 1);
        check_fault(f, ep, NOP);
        check_fault(f, ep, FUZZ_PASID);
    }
    f->ops->check_no_fault(f);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *val = g_getenv(name);

    return val ? g_ascii_strtoull(val, NULL, 0) : otherwise;
}

void fuzz(const char *machine_args, const FuzzOps *ops)
{
    uint64_t steps = from_environment("IOPF_FUZZ_STEPS", STEPS_DEFAULT);
    uint64_t seed = from_environment("IOPF_FUZZ_SEED", SEED_DEFAULT);
    g_autofree char *args =
        g_strdup_printf("%s -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,"
                        "atc-entries=16,sriov-vfs=1 "
                        "-device pcie-root-port,id=rp1,addr=6.0 "
                        "-device iopf-testdev,bus=rp1,id=td0", machine_args);
    Test t = { .qts = qtest_init(args) };
    Fuzz f = { .t = &t, .ops = ops, .rand = g_rand_new_with_seed(seed) };
    uint64_t i;
    int n;

    ep_init(&t.ep[0], &t, 4 << 3, 0);
    ep_init(&t.ep[1], &t, 1 << 8, 1);
    fuzz_boot(&f);
    for (i = 0; i < steps; i++) {
        if (i % STEPS_REPAIR == 0) {
            ops->repair(&f);
            for (n = 0; n < FUZZ_FUNCTIONS; n++) {
                fuzz_start(&f, endpoint(&f, n));
            }
        }
        fuzz_step(&f);
    }
    if (ops->check) {
        ops->check(&f);
    } else {
        check_works(&f);
    }
    g_rand_free(f.rand);
    qtest_quit(t.qts);
}

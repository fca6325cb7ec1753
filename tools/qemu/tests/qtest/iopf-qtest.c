/*
 * What the qtests of iopf-testdev have in common: PCI and the endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "iopf-qtest.h"

#define BARS_SIZE       0x2000000ULL
#define BAR4_OFFSET     0x100000
#define BAR2_OFFSET     0x1000000

/*
 * Machine
 */

Test *test_new(const char *args)
{
    Test *t = g_new0(Test, 1);

    t->qts = qtest_init(args);
    return t;
}

void test_end(Test *t)
{
    qtest_quit(t->qts);
    g_free(t);
}

static void wait_migrated(QTestState *qts)
{
    bool done = false;

    while (!done) {
        QDict *rsp = qtest_qmp_assert_success_ref(qts, "{'execute': "
                                                  "'query-migrate'}");
        const char *status = qdict_get_str(rsp, "status");

        g_assert_cmpstr(status, !=, "failed");
        done = g_str_equal(status, "completed");
        qobject_unref(rsp);
    }
}

void migrate_machine(Test *t, const char *args)
{
    g_autofree char *dir = g_dir_make_tmp("iopf-qtest-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "state", NULL);
    g_autofree char *uri = g_strconcat("file:", path, NULL);
    g_autofree char *incoming = g_strdup_printf("%s -incoming %s", args, uri);
    int i;

    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'migrate', 'arguments': "
                             "{'uri': %s}}", uri);
    wait_migrated(t->qts);
    qtest_quit(t->qts);

    t->qts = qtest_init(incoming);
    for (i = 0; i < ARRAY_SIZE(t->ep); i++) {
        t->ep[i].qts = t->qts;
    }
    wait_migrated(t->qts);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    unlink(path);
    rmdir(dir);
}

bool machine_starts(const char *args, const char *more)
{
    g_autofree char *command =
        g_strdup_printf("echo quit | %s -accel qtest -display none "
                        "-monitor stdio %s%s",
                        g_getenv("QTEST_QEMU_BINARY"), args, more);
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL,
                          G_SPAWN_STDOUT_TO_DEV_NULL |
                          G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                          &status, NULL));
    return g_spawn_check_exit_status(status, NULL);
}

/*
 * Configuration space
 */

uint64_t cfg_addr(Endpoint *ep, uint16_t offset)
{
    return machine.mmcfg + ((uint64_t)ep->bdf << 12) + offset;
}

uint16_t cfg_readw(Endpoint *ep, uint16_t offset)
{
    return qtest_readw(ep->qts, cfg_addr(ep, offset));
}

uint32_t cfg_readl(Endpoint *ep, uint16_t offset)
{
    return qtest_readl(ep->qts, cfg_addr(ep, offset));
}

void cfg_writew(Endpoint *ep, uint16_t offset, uint16_t val)
{
    qtest_writew(ep->qts, cfg_addr(ep, offset), val);
}

void cfg_writel(Endpoint *ep, uint16_t offset, uint32_t val)
{
    qtest_writel(ep->qts, cfg_addr(ep, offset), val);
}

uint16_t find_ext_cap(Endpoint *ep, uint16_t id)
{
    uint16_t offset = PCI_CFG_SPACE_SIZE;

    while (offset) {
        uint32_t header = cfg_readl(ep, offset);

        if (PCI_EXT_CAP_ID(header) == id) {
            return offset;
        }
        offset = PCI_EXT_CAP_NEXT(header);
    }
    return 0;
}

uint8_t find_cap(Endpoint *ep, uint8_t id)
{
    uint8_t offset = cfg_readw(ep, PCI_CAPABILITY_LIST) & 0xff;

    while (offset) {
        uint16_t header = cfg_readw(ep, offset);

        if ((header & 0xff) == id) {
            return offset;
        }
        offset = header >> 8;
    }
    g_assert_not_reached();
}

void enable_root_port(Endpoint *ep, uint16_t bdf)
{
    Endpoint port = { .qts = ep->qts, .bdf = bdf };
    uint16_t bus = ep->bdf >> 8;

    cfg_writel(&port, PCI_PRIMARY_BUS, bus << 16 | bus << 8);
    cfg_writew(&port, PCI_MEMORY_BASE, ep->bar0 >> 16);
    cfg_writew(&port, PCI_MEMORY_LIMIT, (ep->bar0 + 2 * BARS_SIZE - 1) >> 16);
    cfg_writew(&port, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/*
 * Endpoint
 */

uint32_t ep_readl(Endpoint *ep, uint32_t reg)
{
    return qtest_readl(ep->qts, ep->bar0 + reg);
}

uint64_t ep_readq(Endpoint *ep, uint32_t reg)
{
    return qtest_readq(ep->qts, ep->bar0 + reg);
}

void ep_writel(Endpoint *ep, uint32_t reg, uint32_t val)
{
    qtest_writel(ep->qts, ep->bar0 + reg, val);
}

void ep_writeq(Endpoint *ep, uint32_t reg, uint64_t val)
{
    qtest_writeq(ep->qts, ep->bar0 + reg, val);
}

void ep_init(Endpoint *ep, Test *t, uint16_t bdf, unsigned slot)
{
    uint64_t base = machine.bars + slot * BARS_SIZE;

    *ep = (Endpoint) {
        .t = t,
        .qts = t->qts,
        .bdf = bdf,
        .bar0 = base,
        .bar2 = base + BAR2_OFFSET,
        .bar4 = base + BAR4_OFFSET,
    };
}

void ep_find_caps(Endpoint *ep)
{
    ep->ats = find_ext_cap(ep, PCI_EXT_CAP_ID_ATS);
    ep->pri = find_ext_cap(ep, PCI_EXT_CAP_ID_PRI);
    ep->pasid = find_ext_cap(ep, PCI_EXT_CAP_ID_PASID);
    ep->sriov = find_ext_cap(ep, PCI_EXT_CAP_ID_SRIOV);
    ep->exp = find_cap(ep, PCI_CAP_ID_EXP);
}

void ep_map(Endpoint *ep)
{
    cfg_writel(ep, PCI_BASE_ADDRESS_0, ep->bar0);
    cfg_writel(ep, PCI_BASE_ADDRESS_1, ep->bar0 >> 32);
    cfg_writel(ep, PCI_BASE_ADDRESS_2, ep->bar2);
    cfg_writel(ep, PCI_BASE_ADDRESS_3, ep->bar2 >> 32);
    cfg_writel(ep, PCI_BASE_ADDRESS_4, ep->bar4);
    cfg_writew(ep, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_assert_cmphex(ep_readl(ep, IOPF_TD_REG_ID), ==, IOPF_TD_ID);
    if (!ep->exp) {
        ep_find_caps(ep);
    }
}

void ep_enable(Endpoint *ep, uint32_t allocation)
{
    if (ep->pasid) {
        cfg_writew(ep, ep->pasid + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE |
                   PCI_PASID_CTRL_EXEC | PCI_PASID_CTRL_PRIV);
    }
    if (ep->ats) {
        cfg_writew(ep, ep->ats + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    }
    if (ep->pri) {
        cfg_writel(ep, ep->pri + PCI_PRI_ALLOC_REQ, allocation);
        cfg_writew(ep, ep->pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    }
}

static void init_vf(Endpoint *pf, Endpoint *vf, unsigned n, unsigned slot)
{
    ep_init(vf, pf->t, pf->bdf +
            cfg_readw(pf, pf->sriov + PCI_SRIOV_VF_OFFSET) +
            n * cfg_readw(pf, pf->sriov + PCI_SRIOV_VF_STRIDE), slot);
    vf->bar0 += n * IOPF_TD_REGS_SIZE;
    vf->bar2 += n * 4 * MiB;
    vf->bar4 += n * PAGE;
}

void enable_vf(Endpoint *vf)
{
    /* The PCI core wants to see more than MSE of the PF */
    cfg_writew(vf, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_assert_cmphex(ep_readl(vf, IOPF_TD_REG_ID), ==, IOPF_TD_ID);
}

void enable_vfs(Endpoint *pf, Endpoint *vf, unsigned n, unsigned slot)
{
    uint16_t bars = pf->sriov + PCI_SRIOV_BAR;
    unsigned i;

    for (i = 0; i < n; i++) {
        init_vf(pf, &vf[i], i, slot);
    }
    cfg_writel(pf, bars + IOPF_TD_BAR_REGS * 4, vf[0].bar0);
    cfg_writel(pf, bars + IOPF_TD_BAR_RAM * 4, vf[0].bar2);
    cfg_writel(pf, bars + IOPF_TD_BAR_MSIX * 4, vf[0].bar4);
    cfg_writew(pf, pf->sriov + PCI_SRIOV_NUM_VF, n);
    cfg_writew(pf, pf->sriov + PCI_SRIOV_CTRL,
               PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
    for (i = 0; i < n; i++) {
        ep_find_caps(&vf[i]);
        enable_vf(&vf[i]);
    }
}

void ep_start_ring(Endpoint *ep, unsigned log2, unsigned contexts)
{
    ep_writel(ep, IOPF_TD_REG_RING_LOG2, log2);
    ep_writel(ep, IOPF_TD_REG_CONTEXTS, contexts);
    ep_writel(ep, IOPF_TD_REG_CTRL, IOPF_TD_CTRL_RUN);
    ep->ring_mask = (1u << log2) - 1;
    ep->tail = 0;
}

void start_endpoints(Test *t, uint32_t allocation)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(t->ep); i++) {
        Endpoint *ep = &t->ep[i];

        ep_init(ep, t, (4 + i) << 3, i);
        ep_map(ep);
        ep_enable(ep, allocation);
        ep_start_ring(ep, 8, 16);
        ep_writel(ep, IOPF_TD_REG_PRI_FULL_RETRY, 0);
    }
}

uint64_t ep_desc_addr(Endpoint *ep, uint32_t index)
{
    return ep->bar2 + IOPF_TD_RAM_RING + index * IOPF_TD_DESC_SIZE;
}

uint64_t ep_put(Endpoint *ep, const Desc *d)
{
    uint64_t addr = ep_desc_addr(ep, ep->tail);

    qtest_writeq(ep->qts, addr, d->op | d->mode << 8 |
                 (uint64_t)d->flags << 16 | (uint64_t)d->pasid << 32);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_IOVA, d->iova);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_LENGTH,
                 d->length | (uint64_t)d->ram << 32);
    qtest_writeq(ep->qts, addr + IOPF_TD_DESC_DATA,
                 d->data | (uint64_t)d->prgi << 32 | (uint64_t)d->delay << 48);
    qtest_writel(ep->qts, addr + IOPF_TD_DESC_STATUS, IOPF_TD_ST_NONE);
    ep->tail = (ep->tail + 1) & ep->ring_mask;
    return addr;
}

void ep_ring(Endpoint *ep)
{
    ep_writel(ep, IOPF_TD_REG_RING_TAIL, ep->tail);
}

uint64_t ep_start(Endpoint *ep, const Desc *d)
{
    uint64_t addr = ep_put(ep, d);

    ep_ring(ep);
    return addr;
}

uint32_t ep_desc_status(Endpoint *ep, uint64_t desc)
{
    return qtest_readl(ep->qts, desc + IOPF_TD_DESC_STATUS);
}

int32_t ep_desc_ret(Endpoint *ep, uint64_t desc)
{
    return qtest_readl(ep->qts, desc + IOPF_TD_DESC_RET);
}

uint32_t ep_finish(Endpoint *ep, uint64_t desc)
{
    WAIT_FOR(ep->qts, ep_desc_status(ep, desc) != IOPF_TD_ST_NONE);
    return ep_desc_status(ep, desc);
}

uint32_t ep_run(Endpoint *ep, const Desc *d)
{
    return ep_finish(ep, ep_start(ep, d));
}

void ep_check(Endpoint *ep, const Desc *d, uint32_t status)
{
    g_assert_cmpuint(ep_run(ep, d), ==, status);
}

void ep_check_ret(Endpoint *ep, const Desc *d, int32_t ret)
{
    uint64_t desc = ep_start(ep, d);

    g_assert_cmpuint(ep_finish(ep, desc), !=, IOPF_TD_ST_OK);
    g_assert_cmpint(ep_desc_ret(ep, desc), ==, ret);
}

Desc with_pasid(Desc d, uint32_t pasid)
{
    if (pasid != NOP) {
        d.flags |= IOPF_TD_F_PASID;
        d.pasid = pasid;
    }
    return d;
}

uint32_t ep_write_untranslated(Endpoint *ep, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 4,
    };

    return ep_run(ep, &d);
}

uint32_t ep_read_untranslated(Endpoint *ep, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_READ,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = iova,
        .length = 4,
        .ram = IOPF_TD_RAM_DATA,
    };

    return ep_run(ep, &d);
}

uint32_t ep_write_raw(Endpoint *ep, uint64_t addr)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_RAW,
        .iova = addr,
        .length = 4,
    };

    return ep_run(ep, &d);
}

void check_untranslated(Endpoint *ep, uint64_t iova, uint64_t addr)
{
    qtest_writeq(ep->qts, addr, UINT64_MAX);
    g_assert_cmpuint(ep_write_untranslated(ep, iova), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(qtest_readq(ep->qts, addr), !=, UINT64_MAX);
}

static Translation read_translation(Endpoint *ep, uint64_t rec)
{
    uint64_t addr = qtest_readq(ep->qts, rec + IOPF_TD_TRREC_ADDR);
    Translation tr = {};

    tr.iova = qtest_readq(ep->qts, rec + IOPF_TD_TRREC_IOVA);
    tr.size = 1ULL << (tr.iova & IOPF_TD_TRREC_IOVA_SIZE);
    tr.iova &= ~(uint64_t)IOPF_TD_TRREC_IOVA_SIZE;
    tr.perm = addr & 0x3f;
    tr.addr = addr & ~(PAGE - 1);
    return tr;
}

Translation translate(Endpoint *ep, uint32_t pasid, uint64_t iova,
                      uint16_t want)
{
    Desc d = {
        .op = IOPF_TD_OP_TRANSLATE,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = want | IOPF_TD_F_NOLOOKUP | IOPF_TD_F_NOFILL,
        .iova = iova,
        .length = 1,
        .ram = IOPF_TD_RAM_DATA,
    };
    uint64_t rec = ep->bar2 + d.ram;
    Translation tr;
    uint64_t desc;
    uint32_t status;

    d = with_pasid(d, pasid);
    if (!(want & WANT_W)) {
        d.flags |= IOPF_TD_F_NW;
    }
    qtest_writeq(ep->qts, rec, 0);
    qtest_writeq(ep->qts, rec + 8, 0);

    desc = ep_start(ep, &d);
    status = ep_finish(ep, desc);
    tr = read_translation(ep, rec);
    tr.status = status;
    tr.ret = ep_desc_ret(ep, desc);
    return tr;
}

void check_translation(Endpoint *ep, uint32_t pasid, uint64_t iova,
                       uint16_t want, uint64_t addr, uint64_t size,
                       uint32_t perm)
{
    Translation tr = translate(ep, pasid, iova, want);

    g_assert_cmpint(tr.ret, ==, 0);
    g_assert_cmphex(tr.iova, ==, iova & ~(size - 1));
    g_assert_cmphex(tr.size, ==, size);
    g_assert_cmphex(tr.perm, ==, perm);
    if (perm) {
        g_assert_cmphex(tr.addr, ==, addr & ~(size - 1));
    }
}

void fill_atc(Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = iova,
        .length = PAGE,
    };

    d = with_pasid(d, pasid);
    ep_check(ep, &d, IOPF_TD_ST_OK);
}

bool in_atc(Endpoint *ep, uint32_t pasid, uint64_t iova)
{
    ep_writel(ep, IOPF_TD_REG_ATC_PASID, pasid);
    ep_writeq(ep, IOPF_TD_REG_ATC_ADDR, iova);
    ep_writel(ep, IOPF_TD_REG_ATC_CMD, IOPF_TD_ATC_CMD_PROBE);
    return ep_readq(ep, IOPF_TD_REG_ATC_RESULT) & IOPF_TD_ATC_RESULT_VALID;
}

Desc group_request(uint32_t pasid, uint64_t iova, uint32_t pages,
                   uint16_t want, uint16_t prgi)
{
    Desc d = {
        .op = IOPF_TD_OP_PAGE_REQUEST,
        .flags = want | IOPF_TD_F_PRGI | IOPF_TD_F_GROUP,
        .iova = iova,
        .length = pages * PAGE,
        .prgi = prgi,
    };

    return with_pasid(d, pasid);
}

Response last_response(Endpoint *ep)
{
    uint32_t head = ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD);
    uint64_t rec = ep->bar2 + IOPF_TD_RAM_RSPLOG +
                   (head - 1) % IOPF_TD_RSPLOG_ENTRIES *
                   IOPF_TD_LOG_ENTRY_SIZE;

    g_assert_cmpuint(head, >, 0);
    g_assert_cmpuint(qtest_readl(ep->qts, rec), ==, head);
    return (Response) {
        .code = qtest_readb(ep->qts, rec + IOPF_TD_RSP_CODE),
        .flags = qtest_readb(ep->qts, rec + IOPF_TD_RSP_FLAGS),
        .prgi = qtest_readw(ep->qts, rec + IOPF_TD_RSP_PRGI),
        .pasid = qtest_readl(ep->qts, rec + IOPF_TD_RSP_PASID),
        .count = qtest_readl(ep->qts, rec + IOPF_TD_RSP_COUNT),
        .addr = qtest_readq(ep->qts, rec + IOPF_TD_RSP_ADDR),
    };
}

void check_response(Endpoint *ep, uint8_t code, uint8_t flags, uint16_t prgi,
                    uint32_t pasid, uint32_t count)
{
    Response r = last_response(ep);

    g_assert_cmphex(r.code, ==, code);
    g_assert_cmphex(r.flags, ==, flags);
    g_assert_cmpuint(r.prgi, ==, prgi);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpuint(r.count, ==, count);
}

void check_only_response(Endpoint *ep, uint8_t code, uint16_t prgi,
                         uint32_t pasid, uint32_t count)
{
    check_response(ep, code, 0, prgi, pasid, count);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, 1);
}

bool take_unexpected(Endpoint *ep)
{
    uint16_t status = cfg_readw(ep, ep->pri + PCI_PRI_STATUS);

    if (!(status & PCI_PRI_STATUS_UPRGI)) {
        return false;
    }
    cfg_writew(ep, ep->pri + PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
    return true;
}

void check_automatic(Endpoint *ep, const Desc *d, uint8_t code)
{
    uint32_t head = ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD);
    uint32_t open = ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING);
    Response r;

    ep_check(ep, d, IOPF_TD_ST_OK);
    g_assert_cmpuint(ep_readl(ep, IOPF_TD_REG_RSPLOG_HEAD), ==, head + 1);
    r = last_response(ep);
    g_assert_cmphex(r.code, ==, code);
    g_assert_cmphex(r.flags, ==, IOPF_TD_RSP_F_AUTO);
    g_assert_cmpuint(r.prgi, ==, d->prgi);
    g_assert_cmphex(r.pasid, ==, d->flags & IOPF_TD_F_PASID ? d->pasid : NOP);
    g_assert_cmpint(ep_readl(ep, IOPF_TD_REG_PRI_OUTSTANDING), ==, open);
}

void check_request(Endpoint *ep, uint64_t addr, uint32_t pasid, bool read,
                   bool write, bool last, uint16_t *prgi)
{
    Request r = take_request(ep->t);

    g_assert_cmphex(r.rid, ==, ep->bdf);
    g_assert_cmphex(r.addr, ==, addr);
    g_assert_cmphex(r.pasid, ==, pasid);
    g_assert_cmpint(r.read, ==, read);
    g_assert_cmpint(r.write, ==, write);
    g_assert_cmpint(r.last, ==, last);
    if (prgi) {
        *prgi = r.prgi;
    }
}

void write_paging(Test *t, uint64_t tables, uint64_t flags)
{
    int level;

    for (level = 4; level > 1; level--) {
        uint64_t table = tables + (4 - level) * PAGE;
        uint64_t index = extract64(IOVA, 12 + 9 * (level - 1), 9);

        qtest_writeq(t->qts, table + index * 8, (table + PAGE) | flags);
    }
}

uint64_t leaf_addr(uint64_t tables, uint64_t iova)
{
    return tables + 3 * PAGE + extract64(iova, 12, 9) * 8;
}

void write_leaf(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, leaf_addr(tables, iova), pte);
}

uint64_t read_leaf(Test *t, uint64_t tables, uint64_t iova)
{
    return qtest_readq(t->qts, leaf_addr(tables, iova));
}

void write_leaf_2m(Test *t, uint64_t tables, uint64_t iova, uint64_t pte)
{
    qtest_writeq(t->qts, tables + 2 * PAGE + extract64(iova, 21, 9) * 8, pte);
}

void hold_inv(Endpoint *ep, bool on)
{
    ep_writel(ep, IOPF_TD_REG_HOSTILE, on ? IOPF_TD_HOSTILE_HOLD_INV : 0);
}

void reset_function(Endpoint *ep)
{
    cfg_writew(ep, ep->exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
}

uint64_t write_translated(Endpoint *ep, uint64_t addr)
{
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_TRANSLATED,
        .flags = IOPF_TD_F_NO_PR,
        .iova = IOVA,
        .length = 8,
    };

    qtest_writeq(ep->qts, addr, UINT64_MAX);
    ep_check(ep, &d, IOPF_TD_ST_OK);
    return qtest_readq(ep->qts, addr);
}

void check_pattern(QTestState *qts, uint64_t addr, uint32_t seed,
                   uint32_t length)
{
    g_autofree uint8_t *want = g_malloc(length);
    g_autofree uint8_t *got = g_malloc(length);
    uint32_t i;

    for (i = 0; i < length; i++) {
        want[i] = (seed + i / 4 * IOPF_TD_PATTERN_STEP) >> (i % 4 * 8);
    }
    qtest_memread(qts, addr, got, length);
    g_assert_cmpmem(got, length, want, length);
}

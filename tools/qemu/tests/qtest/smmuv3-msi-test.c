/*
 * QTest of message signalled interrupts of the SMMUv3
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs: the test writes the tables and commands that an operating
 * system would write, and makes two iopf-testdev functions issue requests.
 * Messages go to memory, where it sees them.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "iopf-smmu-qtest.h"

#define DEVICES \
    " -device iopf-testdev,bus=pcie.0,addr=4.0,pasid=20,stall=on " \
    "-device iopf-testdev,bus=pcie.0,addr=5.0,pasid=20,stall=on "
#define MSI             "-global arm-smmuv3.msi=on "

#define SMMU_GERROR_IRQ_CFG0 0x68
#define SMMU_EVENTQ_IRQ_CFG0 0xb0

#define GERROR_MSI_CMDQ 0x10
#define GERROR_MSI_EVENTQ 0x20
#define GERROR_MSI_PRIQ 0x40
#define GERROR_MSI_GERROR 0x80

/* Where messages go, four bytes each, and what they are */
#define MESSAGES        (VIRT_RAM + 0x190000)
#define MESSAGE(n)      (MESSAGES + (n) * 8)
#define MESSAGE_DATA(n) (0xa5000001 + (n))

/* The sources with registers */
typedef struct Source {
    unsigned n;
    uint32_t cfg0;
    uint32_t enable;
    unsigned spi;
    uint32_t abort;
} Source;

static const Source gerror_source = {
    0, SMMU_GERROR_IRQ_CFG0, IRQ_GERROR, SPI_GERROR, GERROR_MSI_GERROR,
};
static const Source eventq_source = {
    1, SMMU_EVENTQ_IRQ_CFG0, IRQ_EVENTQ, SPI_EVENTQ, GERROR_MSI_EVENTQ,
};
static const Source priq_source = {
    2, SMMU_PRIQ_IRQ_CFG0, IRQ_PRIQ, SPI_PRIQ, GERROR_MSI_PRIQ,
};
static const Source *const sources[] = {
    &gerror_source, &eventq_source, &priq_source,
};

static Test *test_start_with(const char *options)
{
    g_autofree char *more = g_strconcat(options, DEVICES, NULL);

    return test_start_smmu(more, CD_Q0);
}

static void set_msi(Test *t, const Source *source, uint64_t addr)
{
    uint32_t enabled = smmu_readl(t, SMMU_IRQ_CTRL);

    smmu_writel(t, SMMU_IRQ_CTRL, enabled & ~source->enable);
    smmu_writeq(t, source->cfg0, addr);
    smmu_writel(t, source->cfg0 + 8, MESSAGE_DATA(source->n));
    smmu_writel(t, source->cfg0 + 12, 0x2f);
    smmu_writel(t, SMMU_IRQ_CTRL, enabled);
    qtest_memset(t->qts, MESSAGES, 0, 0x100);
    take_spi(t->qts, source->spi);
}

/* Messages for all of them */
static Test *test_start(void)
{
    Test *t = test_start_with(MSI);
    int i;

    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        set_msi(t, sources[i], MESSAGE(sources[i]->n));
    }
    return t;
}

/* Four bytes, and no more; forgets it */
static bool take_message(Test *t, unsigned n)
{
    uint64_t got = qtest_readq(t->qts, MESSAGE(n));

    qtest_writeq(t->qts, MESSAGE(n), 0);
    g_assert_true(got == 0 || got == MESSAGE_DATA(n));
    return got;
}

/* The message came and the wire did not, or the other way round */
static void check_message(Test *t, const Source *source)
{
    g_assert_true(take_message(t, source->n));
    g_assert_false(take_spi(t->qts, source->spi));
}

static void check_wire(Test *t, const Source *source)
{
    g_assert_false(take_message(t, source->n));
    g_assert_true(take_spi(t->qts, source->spi));
}

static void check_nothing(Test *t, const Source *source)
{
    g_assert_false(take_message(t, source->n));
    g_assert_false(take_spi(t->qts, source->spi));
}

/* Make the source want to interrupt, and make good what was done for that */
static void raise_gerror(Test *t)
{
    cmd_submit_bad(t, CMD_TLBI_EL3_ALL, 0, CERROR_ILL);
}

static void raise_event(Test *t)
{
    check_untranslated_fault(&t->ep[0], IOVA, F_TRANSLATION);
}

static void raise_request(Test *t)
{
    Endpoint *ep = &t->ep[0];
    Desc d = group_request(NOP, IOVA, 1, WANT_R, 5);

    ep_check(ep, &d, IOPF_TD_ST_OK);
    check_request(ep, IOVA, NOP, true, false, true, NULL);
    page_response(ep, NOP, RSP_SUCCESS, 5);
}

static void raise_source(Test *t, const Source *source)
{
    if (source == &gerror_source) {
        raise_gerror(t);
    } else if (source == &eventq_source) {
        raise_event(t);
    } else {
        raise_request(t);
    }
}

static uint64_t sync_q0(unsigned cs, uint32_t data)
{
    return CMD_SYNC | cs << 12 | (uint64_t)data << 32;
}

/*
 * Test cases
 */

static void test_off(void)
{
    Test *t = test_start_with("");
    int i;

    g_assert_cmphex(smmu_readl(t, SMMU_IDR0) & IDR0_MSI, ==, 0);
    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        set_msi(t, sources[i], MESSAGE(sources[i]->n));
        raise_source(t, sources[i]);
        check_wire(t, sources[i]);
    }
    cmd_submit(t, sync_q0(1, MESSAGE_DATA(4)), MESSAGE(4));
    g_assert_false(take_message(t, 4));
    g_assert_true(take_spi(t->qts, SPI_SYNC));
    test_end(t);
}

static void test_registers(void)
{
    Test *t = test_start_with(MSI);
    int i;

    g_assert_cmphex(smmu_readl(t, SMMU_IDR0) & IDR0_MSI, ==, IDR0_MSI);
    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        uint32_t cfg0 = sources[i]->cfg0;

        /* Guarded while the interrupt is enabled */
        smmu_writeq(t, cfg0, MESSAGES);
        smmu_writel(t, cfg0, MESSAGES);
        smmu_writel(t, cfg0 + 4, 1);
        smmu_writel(t, cfg0 + 8, 1);
        smmu_writel(t, cfg0 + 12, 1);
        g_assert_cmphex(smmu_readq(t, cfg0), ==, 0);
        g_assert_cmphex(smmu_readl(t, cfg0 + 8), ==, 0);
        g_assert_cmphex(smmu_readl(t, cfg0 + 12), ==, 0);
    }
    smmu_writel(t, SMMU_IRQ_CTRL, 0);
    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        uint32_t cfg0 = sources[i]->cfg0;

        smmu_writeq(t, cfg0, UINT64_MAX);
        g_assert_cmphex(smmu_readq(t, cfg0), ==, MAKE_64BIT_MASK(2, 50));
        smmu_writel(t, cfg0, 0x12345678);
        smmu_writel(t, cfg0 + 4, 0x9);
        g_assert_cmphex(smmu_readq(t, cfg0), ==, 0x912345678);
        g_assert_cmphex(smmu_readl(t, cfg0), ==, 0x12345678);
        g_assert_cmphex(smmu_readl(t, cfg0 + 4), ==, 9);
        smmu_writel(t, cfg0 + 8, 0xcafe);
        g_assert_cmphex(smmu_readl(t, cfg0 + 8), ==, 0xcafe);
        smmu_writel(t, cfg0 + 12, 0x7fffffff);
        g_assert_cmphex(smmu_readl(t, cfg0 + 12), ==, 0x3f);
    }
    qtest_system_reset(t->qts);
    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        g_assert_cmphex(smmu_readq(t, sources[i]->cfg0), ==, 0);
        g_assert_cmphex(smmu_readl(t, sources[i]->cfg0 + 8), ==, 0);
    }
    test_end(t);
}

static void test_messages(void)
{
    Test *t = test_start();
    int i, j;

    for (i = 0; i < ARRAY_SIZE(sources); i++) {
        raise_source(t, sources[i]);
        check_message(t, sources[i]);
        for (j = 0; j < ARRAY_SIZE(sources); j++) {
            check_nothing(t, sources[j]);
        }

        /* Not enabled */
        smmu_writel(t, SMMU_IRQ_CTRL, 7 & ~sources[i]->enable);
        raise_source(t, sources[i]);
        check_nothing(t, sources[i]);
        smmu_writel(t, SMMU_IRQ_CTRL, 7);
        check_nothing(t, sources[i]);

        /* No address: the wire */
        set_msi(t, sources[i], 0);
        raise_source(t, sources[i]);
        check_wire(t, sources[i]);
    }
    test_end(t);
}

/* A message that does not arrive is an error of its own */
static void test_abort(void)
{
    Test *t = test_start();

    set_msi(t, &eventq_source, NOWHERE);
    raise_event(t);
    check_message(t, &gerror_source);
    g_assert_cmphex(gerror(t), ==, GERROR_MSI_EVENTQ);
    /* Said once */
    raise_event(t);
    check_nothing(t, &gerror_source);
    ack_gerror(t);
    raise_event(t);
    check_message(t, &gerror_source);
    ack_gerror(t);

    set_msi(t, &priq_source, NOWHERE);
    raise_request(t);
    check_message(t, &gerror_source);
    g_assert_cmphex(gerror(t), ==, GERROR_MSI_PRIQ);
    ack_gerror(t);

    /* That of this one is not signalled */
    set_msi(t, &gerror_source, NOWHERE);
    set_msi(t, &eventq_source, 0);
    cmd_put(t, CMD_TLBI_EL3_ALL, 0);
    g_assert_cmphex(gerror(t), ==, GERROR_MSI_GERROR | GERROR_CMDQ);
    g_assert_false(take_spi(t->qts, SPI_GERROR));
    test_end(t);
}

static void test_sync(void)
{
    Test *t = test_start();

    cmd_submit(t, sync_q0(1, MESSAGE_DATA(4)), MESSAGE(4));
    g_assert_true(take_message(t, 4));
    g_assert_false(take_spi(t->qts, SPI_SYNC));
    /* No address, no signal, an event */
    cmd_submit(t, sync_q0(1, MESSAGE_DATA(4)), 0);
    g_assert_true(take_spi(t->qts, SPI_SYNC));
    cmd_submit(t, sync_q0(0, MESSAGE_DATA(4)), MESSAGE(4));
    cmd_submit(t, sync_q0(2, MESSAGE_DATA(4)), MESSAGE(4));
    g_assert_false(take_message(t, 4));
    g_assert_false(take_spi(t->qts, SPI_SYNC));
    cmd_submit_bad(t, sync_q0(3, MESSAGE_DATA(4)), MESSAGE(4), CERROR_ILL);
    g_assert_false(take_message(t, 4));
    check_message(t, &gerror_source);

    /* It is complete even if nobody hears of that */
    cmd_put(t, sync_q0(1, 1), NOWHERE);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    g_assert_cmphex(gerror(t), ==, GERROR_MSI_CMDQ);
    check_message(t, &gerror_source);
    ack_gerror(t);

    /* Over the command itself, as Linux does */
    cmd_submit(t, sync_q0(1, 0), CMDQ + (t->iq_tail & 0xff) * 16);
    test_end(t);
}

/* It waits for the invalidations before it */
static void test_sync_waits(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    hold_inv(ep, true);
    cmd_put(t, atc_inv_q0(ep, NOP, false), IOVA);
    cmd_put(t, sync_q0(1, MESSAGE_DATA(4)), MESSAGE(4));
    g_assert_cmpuint(cmd_behind(t), ==, 1);
    g_assert_false(take_message(t, 4));
    hold_inv(ep, false);
    g_assert_cmpuint(cmd_behind(t), ==, 0);
    g_assert_true(take_message(t, 4));
    test_end(t);
}

/* To the device that has caused it, and to the SMMU: nothing breaks */
static void test_loops(void)
{
    Test *t = test_start();
    Endpoint *ep = &t->ep[0];

    set_msi(t, &eventq_source, ep->bar0 + IOPF_TD_REG_RING_TAIL);
    raise_event(t);
    set_msi(t, &eventq_source, SMMU + SMMU_CMDQ_PROD);
    set_msi(t, &gerror_source, SMMU + SMMU_GERRORN);
    ep_start_ring(ep, 4, 1);
    ep_write_untranslated(ep, IOVA);
    cmd_put(t, sync_q0(1, 0xff), SMMU + SMMU_CMDQ_PROD);
    cmd_put(t, sync_q0(1, 0), ep->bar0 + IOPF_TD_REG_COMMAND);
    smmu_writel(t, SMMU_CR0, 0);
    test_end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/smmuv3-msi/off", test_off);
    qtest_add_func("/smmuv3-msi/registers", test_registers);
    qtest_add_func("/smmuv3-msi/messages", test_messages);
    qtest_add_func("/smmuv3-msi/abort", test_abort);
    qtest_add_func("/smmuv3-msi/sync", test_sync);
    qtest_add_func("/smmuv3-msi/sync-waits", test_sync_waits);
    qtest_add_func("/smmuv3-msi/loops", test_loops);
    return g_test_run();
}

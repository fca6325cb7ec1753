/*
 * QTest of intel-iommu with a CPU that executes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A page has code and paging entries.  The IOMMU sets flags in an entry, then
 * the CPU changes its code: what it executes next has to be the new one.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "iopf-vtd-qtest.h"

#define COMMAND         0x500ULL        /* for the loop; 0: it is done */
#define COMMAND_CALL    1
#define COMMAND_PATCH   2
#define RESULT          0x600ULL
/* Four levels of tables, the last one in the page of the function */
#define TABLES          0x5000ULL
#define FUNCTION        0x8000ULL
#define MAPPED          (IOVA + 64 * PAGE)
#define PAGE_A          (DATA + 0x1000)

/* At F000:0000, 16 bits */
static const uint8_t loop[] = {
    0x31, 0xc0,                         /*    xor ax, ax */
    0x8e, 0xd8,                         /*    mov ds, ax */
    0x8e, 0xd0,                         /*    mov ss, ax */
    0xbc, 0x00, 0x40,                   /*    mov sp, 0x4000 */
    0xa0, 0x00, 0x05,                   /* 0: mov al, [COMMAND] */
    0x3c, COMMAND_CALL,                 /*    cmp al, COMMAND_CALL */
    0x74, 0x06,                         /*    je 1 */
    0x3c, COMMAND_PATCH,                /*    cmp al, COMMAND_PATCH */
    0x74, 0x11,                         /*    je 2 */
    0xeb, 0xf3,                         /*    jmp 0 */
    0x9a, 0x00, 0x80, 0x00, 0x00,       /* 1: call 0000:FUNCTION */
    0xa2, 0x00, 0x06,                   /*    mov [RESULT], al */
    0xc6, 0x06, 0x00, 0x05, 0x00,       /*    mov byte [COMMAND], 0 */
    0xeb, 0xe4,                         /*    jmp 0 */
    0xc6, 0x06, 0x01, 0x80, 0x22,       /* 2: mov byte [FUNCTION + 1], 0x22 */
    0xc6, 0x06, 0x00, 0x05, 0x00,       /*    mov byte [COMMAND], 0 */
    0xeb, 0xd8,                         /*    jmp 0 */
};
static const uint8_t function[] = {
    0xb0, 0x11,                         /* mov al, 0x11 */
    0xcb,                               /* retf */
};
static const uint8_t reset_vector[] = {
    0xea, 0x00, 0x00, 0x00, 0xf0,       /* jmp F000:0000 */
};

static char *write_firmware(void)
{
    g_autofree uint8_t *image = g_malloc0(64 * KiB);
    char *path = NULL;
    int fd = g_file_open_tmp("iommu-tcg-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    memcpy(image, loop, sizeof(loop));
    memcpy(image + 0xfff0, reset_vector, sizeof(reset_vector));
    g_assert_cmpint(write(fd, image, 64 * KiB), ==, 64 * KiB);
    close(fd);
    return path;
}

/* The clock runs by itself here */
#define WAIT_REAL(condition) \
    do { \
        int tries_ = 0; \
        while (!(condition)) { \
            g_assert_cmpint(tries_++, <, 120 * 1000); \
            g_usleep(1000); \
        } \
    } while (0)

static void command(Test *t, uint8_t val)
{
    qtest_writeb(t->qts, COMMAND, val);
    WAIT_REAL(!qtest_readb(t->qts, COMMAND));
}

static void test_code_page(void)
{
    g_autofree char *path = write_firmware();
    g_autofree char *options = g_strdup_printf(
        "-accel tcg -bios %s %s,x-flts=on "
        "-device iopf-testdev,bus=pcie.0,addr=4.0", path, Q35_VTD);
    Test t = {};
    Endpoint *ep = &t.ep[0];
    Desc d = {
        .op = IOPF_TD_OP_FILL,
        .mode = IOPF_TD_MODE_UNTRANSLATED,
        .iova = MAPPED,
        .length = 8,
    };
    uint64_t desc;

    t.qts = qtest_init(options);
    enable_mmcfg(t.qts);
    ep_init(ep, &t, 4 << 3, 0);
    ep_map(ep);
    ep_start_ring(ep, 4, 1);
    clear_tables(&t);
    write_context(ep, CONTEXT_FLAGS);
    write_pasid_fl(&t, 0, 1, TABLES, 0);
    qtest_memset(t.qts, TABLES, 0, 4 * PAGE);
    write_paging(&t, TABLES, PTE_FL);
    write_leaf(&t, TABLES, MAPPED, PAGE_A | PTE_FL);
    qtest_memwrite(t.qts, FUNCTION, function, sizeof(function));
    start_vtd(&t, 0);

    command(&t, COMMAND_CALL);
    g_assert_cmphex(qtest_readb(t.qts, RESULT), ==, 0x11);
    desc = ep_start(ep, &d);
    WAIT_REAL(ep_desc_status(ep, desc) != IOPF_TD_ST_NONE);
    g_assert_cmpuint(ep_desc_status(ep, desc), ==, IOPF_TD_ST_OK);
    g_assert_cmphex(read_leaf(&t, TABLES, MAPPED) & VTD_FL_D, ==, VTD_FL_D);
    command(&t, COMMAND_PATCH);
    command(&t, COMMAND_CALL);
    g_assert_cmphex(qtest_readb(t.qts, RESULT), ==, 0x22);

    qtest_quit(t.qts);
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_skip("no TCG");
        return 0;
    }
    qtest_add_func("/q35/intel-iommu/tcg/code-page", test_code_page);

    return g_test_run();
}

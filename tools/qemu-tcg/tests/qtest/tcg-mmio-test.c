/*
 * QTest of MMIO under TCG while the memory map changes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One instruction writes into the configuration space of a device.  Its third
 * access has the device decode its BAR, which is below that space: from there
 * on every section above has another number.  The accesses after it have to
 * reach the configuration space all the same.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "libqtest.h"

#define COMMAND         0x500ULL        /* 1: go; 0: it is done */
#define ECAM            0xb0000000ULL
#define CONFIG          (ECAM + (4 << 15))
#define BAR             0xa0000000ULL

/* At F000:0000, 16 bits, with a flat data segment */
static const uint8_t code[] = {
    0x31, 0xc0,                                 /*    xor ax, ax */
    0x8e, 0xd8,                                 /*    mov ds, ax */
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x40, 0x00,   /*    lgdt cs:[0x40] */
    0x0f, 0x20, 0xc0,                           /*    mov eax, cr0 */
    0x0c, 0x01,                                 /*    or al, 1 */
    0x0f, 0x22, 0xc0,                           /*    mov cr0, eax */
    0xb8, 0x08, 0x00,                           /*    mov ax, 8 */
    0x8e, 0xd8,                                 /*    mov ds, ax */
    /* Register 1 alone is valid, so the byte of tags is 2 */
    0xdb, 0xe3,                                 /*    fninit */
    0xd9, 0xf7,                                 /*    fincstp */
    0xd9, 0xf7,                                 /*    fincstp */
    0xd9, 0xee,                                 /*    fldz */
    0x80, 0x3e, 0x00, 0x05, 0x00,               /* 0: cmp byte [COMMAND], 0 */
    0x74, 0xf9,                                 /*    je 0 */
    0x67, 0x0f, 0xae, 0x05,                     /*    fxsave [CONFIG] */
    0x00, 0x00, 0x02, 0xb0,
    0xc6, 0x06, 0x00, 0x05, 0x00,               /*    mov byte [COMMAND], 0 */
    0xeb, 0xea,                                 /*    jmp 0 */
};
static const uint8_t gdt_register[] = {
    0x0f, 0x00, 0x50, 0x00, 0x0f, 0x00,         /* 16 bytes at F0050 */
};
static const uint8_t gdt[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00,
};
static const uint8_t reset_vector[] = {
    0xea, 0x00, 0x00, 0x00, 0xf0,               /* jmp F000:0000 */
};

static char *write_firmware(void)
{
    g_autofree uint8_t *image = g_malloc0(64 * KiB);
    char *path = NULL;
    int fd = g_file_open_tmp("tcg-mmio-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    memcpy(image, code, sizeof(code));
    memcpy(image + 0x40, gdt_register, sizeof(gdt_register));
    memcpy(image + 0x50, gdt, sizeof(gdt));
    memcpy(image + 0xfff0, reset_vector, sizeof(reset_vector));
    g_assert_cmpint(write(fd, image, 64 * KiB), ==, 64 * KiB);
    close(fd);
    return path;
}

static void test_map_change(void)
{
    g_autofree char *path = write_firmware();
    QTestState *qts = qtest_initf("-machine q35 -accel tcg -bios %s "
                                  "-device edu,bus=pcie.0,addr=4.0", path);
    int tries = 0;

    /* PCIEXBAR of the host bridge, through the I/O ports */
    qtest_outl(qts, 0xcf8, 0x80000000 | 0x60);
    qtest_outl(qts, 0xcfc, ECAM | 1);
    qtest_writel(qts, CONFIG + 0x10, BAR);
    g_assert_cmphex(qtest_readl(qts, CONFIG + 0x10), ==, BAR);
    g_assert_cmphex(qtest_readw(qts, CONFIG + 4), ==, 0);

    qtest_writeb(qts, COMMAND, 1);
    while (qtest_readb(qts, COMMAND)) {
        g_assert_cmpint(tries++, <, 120 * 1000);
        g_usleep(1000);
    }

    /* The third access, and the first of those that write a BAR, after it */
    g_assert_cmphex(qtest_readw(qts, CONFIG + 4), ==, 2);
    g_assert_cmphex(qtest_readl(qts, CONFIG + 0x10), ==, 0);

    qtest_quit(qts);
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_skip("no TCG");
        return 0;
    }
    qtest_add_func("/q35/tcg/map-change", test_map_change);

    return g_test_run();
}

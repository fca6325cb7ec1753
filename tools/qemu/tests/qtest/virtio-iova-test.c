/*
 * QTest of virtio devices behind intel-iommu
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pages that lie in a row for the device do not in memory.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "hw/i386/intel_iommu_internal.h"
#include "hw/pci/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"

#define DEVFN           (4 << 3)
#define PAGE            0x1000ULL
#define ROOT            0x100000ULL
#define CONTEXT         0x101000ULL
#define TABLES          0x102000ULL     /* one page per level */
#define IOVA            0x40000000ULL
#define MEMORY          0x200000ULL     /* every other page of it is mapped */

/* Pages at IOVA; the rings begin at the end of a page */
#define DESC            (IOVA + 0 * PAGE + 0xff8)
#define AVAIL           (IOVA + 2 * PAGE)
#define USED            (IOVA + 4 * PAGE + 0xff8)
#define BUFFER          (IOVA + 6 * PAGE)
#define BUFFER_SIZE     64

/* BAR 4, and what QEMU has in it */
#define BAR             0xe0000000ULL
#define COMMON          BAR
#define NOTIFY          (BAR + 0x3000)
#define DRIVER_FEATURE_SELECT   0x08
#define DRIVER_FEATURE          0x0c
#define DEVICE_STATUS           0x14
#define QUEUE_SIZE              0x18
#define QUEUE_ENABLE            0x1c
#define QUEUE_DESC              0x20
#define QUEUE_DRIVER            0x28
#define QUEUE_DEVICE            0x30

static void cfg_select(QTestState *qts, uint8_t offset)
{
    qtest_outl(qts, 0xcf8, 0x80000000 | DEVFN << 8 | (offset & ~3));
}

static void cfg_writel(QTestState *qts, uint8_t offset, uint32_t val)
{
    cfg_select(qts, offset);
    qtest_outl(qts, 0xcfc, val);
}

static uint64_t memory_of(uint64_t iova)
{
    uint64_t page = (iova - IOVA) / PAGE;

    return MEMORY + 2 * page * PAGE + iova % PAGE;
}

static void vtd_writel(QTestState *qts, uint64_t offset, uint32_t val)
{
    qtest_writel(qts, Q35_HOST_BRIDGE_IOMMU_ADDR + offset, val);
}

/* Legacy mode, four levels */
static void start_iommu(QTestState *qts)
{
    int level, i;

    qtest_memset(qts, ROOT, 0, TABLES + 4 * PAGE - ROOT);
    qtest_memset(qts, MEMORY, 0xff, 32 * PAGE);
    qtest_writeq(qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    qtest_writeq(qts, CONTEXT + DEVFN * 16, TABLES | VTD_CONTEXT_ENTRY_P);
    qtest_writeq(qts, CONTEXT + DEVFN * 16 + 8, 1 << 8 | 2);
    for (level = 4; level > 1; level--) {
        uint64_t table = TABLES + (4 - level) * PAGE;

        qtest_writeq(qts, table + (IOVA >> (12 + 9 * (level - 1)) & 0x1ff) * 8,
                     (table + PAGE) | VTD_SL_R | VTD_SL_W);
    }
    for (i = 0; i < 8; i++) {
        qtest_writeq(qts, TABLES + 3 * PAGE + i * 8,
                     memory_of(IOVA + i * PAGE) | VTD_SL_R | VTD_SL_W);
    }
    qtest_writeq(qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_RTADDR_REG, ROOT);
    vtd_writel(qts, DMAR_GCMD_REG, VTD_GCMD_SRTP);
    vtd_writel(qts, DMAR_GCMD_REG, VTD_GCMD_TE);
}

/* What the device sees: byte by byte, so that pages do not matter here */
static void write_iova(QTestState *qts, uint64_t iova, const void *data,
                       size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        qtest_writeb(qts, memory_of(iova + i), ((const uint8_t *)data)[i]);
    }
}

static void read_iova(QTestState *qts, uint64_t iova, void *data, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        ((uint8_t *)data)[i] = qtest_readb(qts, memory_of(iova + i));
    }
}

static void start_device(QTestState *qts)
{
    cfg_writel(qts, PCI_BASE_ADDRESS_4, BAR);
    cfg_writel(qts, PCI_BASE_ADDRESS_5, 0);
    cfg_writel(qts, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);

    qtest_writeb(qts, COMMON + DEVICE_STATUS, 0);
    qtest_writeb(qts, COMMON + DEVICE_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                 VIRTIO_CONFIG_S_DRIVER);
    qtest_writel(qts, COMMON + DRIVER_FEATURE_SELECT, 1);
    qtest_writel(qts, COMMON + DRIVER_FEATURE,
                 1 << (VIRTIO_F_VERSION_1 - 32) |
                 1 << (VIRTIO_F_ACCESS_PLATFORM - 32));
    qtest_writeb(qts, COMMON + DEVICE_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                 VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    qtest_writew(qts, COMMON + QUEUE_SIZE, 8);
    qtest_writel(qts, COMMON + QUEUE_DESC, DESC);
    qtest_writel(qts, COMMON + QUEUE_DRIVER, AVAIL);
    qtest_writel(qts, COMMON + QUEUE_DEVICE, USED);
    qtest_writew(qts, COMMON + QUEUE_ENABLE, 1);
    qtest_writeb(qts, COMMON + DEVICE_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                 VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
                 VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Whatever is not mapped is what it was */
static void check_rest(QTestState *qts)
{
    uint8_t page[PAGE];
    int i, j;

    for (i = 1; i < 16; i += 2) {
        qtest_memread(qts, MEMORY + i * PAGE, page, sizeof(page));
        for (j = 0; j < sizeof(page); j++) {
            g_assert_cmphex(page[j], ==, 0xff);
        }
    }
}

/* A descriptor and an element of the used ring in two pages each */
static void test_ring_across_pages(void)
{
    struct vring_desc desc = {
        .addr = cpu_to_le64(BUFFER),
        .len = cpu_to_le32(BUFFER_SIZE),
        .flags = cpu_to_le16(VRING_DESC_F_WRITE),
    };
    const uint16_t avail[] = { 0, cpu_to_le16(1), 0 };
    const uint16_t used_idx = 0;
    struct vring_used_elem elem;
    uint16_t idx;
    int tries = 0;
    QTestState *qts;

    qts = qtest_init("-M q35 -m 64 -nodefaults -device intel-iommu,aw-bits=48 "
                     "-device virtio-rng-pci,iommu_platform=on,"
                     "disable-legacy=on,addr=4.0");
    start_iommu(qts);
    write_iova(qts, DESC, &desc, sizeof(desc));
    write_iova(qts, AVAIL, avail, sizeof(avail));
    write_iova(qts, USED + 2, &used_idx, sizeof(used_idx));
    start_device(qts);
    qtest_writew(qts, NOTIFY, 0);

    do {
        qtest_clock_step(qts, 10000);
        read_iova(qts, USED + 2, &idx, sizeof(idx));
        g_assert_cmpint(tries++, <, 10000);
    } while (!idx);
    g_assert_cmpuint(le16_to_cpu(idx), ==, 1);
    read_iova(qts, USED + 4, &elem, sizeof(elem));
    g_assert_cmpuint(le32_to_cpu(elem.id), ==, 0);
    g_assert_cmpuint(le32_to_cpu(elem.len), ==, BUFFER_SIZE);
    check_rest(qts);
    qtest_quit(qts);
}

/* Reset disables ATS, and then the smallest translation unit may change */
static void test_ats_reset(void)
{
    QTestState *qts;
    uint64_t port = 0xb0000000ULL + ((uint64_t)1 << 15);
    uint64_t cfg = 0xb0000000ULL + ((uint64_t)1 << 20), cap = 0x100;

    qts = qtest_init("-M q35 -m 64 -nodefaults -device intel-iommu,"
                     "device-iotlb=on -device pcie-root-port,id=rp,addr=1.0 "
                     "-device virtio-rng-pci,bus=rp,iommu_platform=on,"
                     "disable-legacy=on,ats=on");
    qtest_outl(qts, 0xcf8, 0x80000060);
    qtest_outl(qts, 0xcfc, 0xb0000001);
    qtest_writel(qts, port + PCI_PRIMARY_BUS, 0x010100);
    while (PCI_EXT_CAP_ID(qtest_readl(qts, cfg + cap)) != PCI_EXT_CAP_ID_ATS) {
        cap = PCI_EXT_CAP_NEXT(qtest_readl(qts, cfg + cap));
        g_assert_cmphex(cap, !=, 0);
    }
    qtest_writew(qts, cfg + cap + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE | 3);
    g_assert_cmphex(qtest_readw(qts, cfg + cap + PCI_ATS_CTRL), ==,
                    PCI_ATS_CTRL_ENABLE | 3);

    qtest_system_reset(qts);
    qtest_outl(qts, 0xcf8, 0x80000060);
    qtest_outl(qts, 0xcfc, 0xb0000001);
    qtest_writel(qts, port + PCI_PRIMARY_BUS, 0x010100);
    g_assert_cmphex(qtest_readw(qts, cfg + cap + PCI_ATS_CTRL), ==, 0);
    qtest_writew(qts, cfg + cap + PCI_ATS_CTRL, 5);
    g_assert_cmphex(qtest_readw(qts, cfg + cap + PCI_ATS_CTRL), ==, 5);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/q35/virtio-iova/ring-across-pages",
                   test_ring_across_pages);
    qtest_add_func("/q35/virtio-iova/ats-reset", test_ats_reset);

    return g_test_run();
}

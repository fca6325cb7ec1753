/*
 * Test of an IOMMU model that keeps the notifiers of devices itself
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * By its operations alone.  That they fit the ones of QEMU 10.2 is what the
 * compiler finds out.
 */

#include "qemu/osdep.h"
#include "pci-test-iommu.h"

#define DEVFN 0x18

static hwaddr dropped;
static uint16_t answered;

static void drop(IOMMUNotifier *n, IOMMUTLBEntry *entry)
{
    dropped += entry->addr_mask + 1;
}

static void answer(IOMMUPRINotifier *notifier, IOMMUPRIResponse *response)
{
    answered = response->prgi;
}

static void test_operations(void)
{
    TestIOMMU s = { .addr_width = 48, .page_size = 4096, .offset = 0x100000 };
    const PCIIOMMUOps *ops = &test_iommu_ops;
    IOMMUPRINotifier pri = { .notify = answer };
    IOMMUTLBEntry result[2];
    uint32_t page_size, errors = 9;
    uint8_t addr_width;
    IOMMUNotifier n;

    ops->get_iotlb_info(&s, &addr_width, &page_size);
    g_assert_cmpuint(addr_width, ==, 48);
    g_assert_cmpuint(page_size, ==, 4096);
    ops->init_iotlb_notifier(NULL, &s, DEVFN, &n, drop, NULL);
    ops->register_iotlb_notifier(NULL, &s, DEVFN, 5, &n);
    ops->pri_register_notifier(NULL, &s, DEVFN, 5, &pri);
    g_assert_cmpint(ops->ats_request_translation(NULL, &s, DEVFN, 5, false,
                                                 false, 0x1ff8, 16, true,
                                                 result, 2, &errors), ==, 2);
    g_assert_cmphex(result[1].translated_addr, ==, 0x102000);
    g_assert_cmpint(result[1].perm, ==, IOMMU_RO);
    g_assert_cmpuint(errors, ==, 0);
    g_assert_cmpint(ops->pri_request_page(NULL, &s, DEVFN, 5, false, false,
                                          0x3000, true, 7, true, false), ==, 0);
    g_assert_cmphex(s.last.addr, ==, 0x3000);
    g_assert_cmpint(test_iommu_invalidate(&s, DEVFN, 5, 0x1000, 0xfff), ==, 1);
    g_assert_cmphex(dropped, ==, 0x1000);
    g_assert_cmpint(test_iommu_respond(&s, DEVFN, 5, 7, IOMMU_PRI_RESP_SUCCESS),
                    ==, 1);
    g_assert_cmpuint(answered, ==, 7);
    ops->unregister_iotlb_notifier(NULL, &s, DEVFN, 5, &n);
    ops->pri_unregister_notifier(NULL, &s, DEVFN, 5);
    g_assert_cmpint(test_iommu_count(&s), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci-iommu-ops/operations", test_operations);
    return g_test_run();
}

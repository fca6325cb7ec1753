/*
 * IOMMU model with all operations of its own, for tests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It is written against the operations that QEMU 10.2 has, and is built there,
 * too: a prototype that differs does not compile.
 */

#ifndef TESTS_UNIT_PCI_TEST_IOMMU_H
#define TESTS_UNIT_PCI_TEST_IOMMU_H

#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"

#define TEST_IOMMU_NOTIFIERS 8

/* A request that came in: a translation or page request */
typedef struct TestIOMMURequest {
    PCIBus *bus;
    int devfn;
    uint32_t pasid;
    bool priv_req;
    bool exec_req;
    hwaddr addr;
    size_t length;
    bool no_write;
    bool lpig;
    uint16_t prgi;
    bool is_read;
    bool is_write;
} TestIOMMURequest;

/* What is registered, for one function and PASID */
typedef struct TestIOMMUNotifier {
    int devfn;
    uint32_t pasid;
    IOMMUNotifier *iotlb;
    IOMMUPRINotifier *pri;
} TestIOMMUNotifier;

typedef struct TestIOMMU {
    uint8_t addr_width;
    uint32_t page_size;
    hwaddr offset;              /* what is added to an address */
    int pri_result;             /* of page requests */
    int requests;
    TestIOMMURequest last;
    TestIOMMUNotifier notifiers[TEST_IOMMU_NOTIFIERS];
} TestIOMMU;

/* It keeps the notifiers itself */
extern const PCIIOMMUOps test_iommu_ops;

/* Call the notifiers that are registered for that PASID; returns how many */
int test_iommu_invalidate(TestIOMMU *s, int devfn, uint32_t pasid,
                          hwaddr addr, hwaddr mask);
int test_iommu_respond(TestIOMMU *s, int devfn, uint32_t pasid,
                       uint16_t prgi, IOMMUPRIResponseCode code);

/* How many it keeps */
int test_iommu_count(const TestIOMMU *s);

#endif

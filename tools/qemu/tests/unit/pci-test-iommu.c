/*
 * IOMMU model with all operations of its own, for tests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pci-test-iommu.h"

/* An assignment alone would be a warning for some compilers */
#define CHECK_OP(op, ret, ...) \
    QEMU_BUILD_BUG_ON(!__builtin_types_compatible_p( \
        typeof(((PCIIOMMUOps *)0)->op), ret(*)(__VA_ARGS__)))

CHECK_OP(get_address_space, AddressSpace *, PCIBus *, void *, int);
CHECK_OP(get_iotlb_info, void, void *, uint8_t *, uint32_t *);
CHECK_OP(init_iotlb_notifier, void, PCIBus *, void *, int, IOMMUNotifier *,
         IOMMUNotify, void *);
CHECK_OP(register_iotlb_notifier, void, PCIBus *, void *, int, uint32_t,
         IOMMUNotifier *);
CHECK_OP(unregister_iotlb_notifier, void, PCIBus *, void *, int, uint32_t,
         IOMMUNotifier *);
CHECK_OP(ats_request_translation, ssize_t, PCIBus *, void *, int, uint32_t,
         bool, bool, hwaddr, size_t, bool, IOMMUTLBEntry *, size_t,
         uint32_t *);
CHECK_OP(pri_register_notifier, void, PCIBus *, void *, int, uint32_t,
         IOMMUPRINotifier *);
CHECK_OP(pri_unregister_notifier, void, PCIBus *, void *, int, uint32_t);
CHECK_OP(pri_request_page, int, PCIBus *, void *, int, uint32_t, bool, bool,
         hwaddr, bool, uint16_t, bool, bool);
QEMU_BUILD_BUG_ON(!__builtin_types_compatible_p(
    IOMMUPRINotify, void (*)(IOMMUPRINotifier *, IOMMUPRIResponse *)));

static TestIOMMUNotifier *test_iommu_find(TestIOMMU *s, int devfn,
                                          uint32_t pasid)
{
    TestIOMMUNotifier *n = s->notifiers;

    while ((n->iotlb || n->pri) && (n->devfn != devfn || n->pasid != pasid)) {
        n++;
        g_assert(n < s->notifiers + TEST_IOMMU_NOTIFIERS);
    }
    n->devfn = devfn;
    n->pasid = pasid;
    return n;
}

static AddressSpace *test_iommu_address_space(PCIBus *bus, void *opaque,
                                              int devfn)
{
    return NULL;
}

static void test_iommu_info(void *opaque, uint8_t *addr_width,
                            uint32_t *min_page_size)
{
    TestIOMMU *s = opaque;

    *addr_width = s->addr_width;
    *min_page_size = s->page_size;
}

static void test_iommu_init_notifier(PCIBus *bus, void *opaque, int devfn,
                                     IOMMUNotifier *n, IOMMUNotify fn,
                                     void *user_opaque)
{
    TestIOMMU *s = opaque;

    iommu_notifier_init(n, fn, IOMMU_NOTIFIER_DEVIOTLB_EVENTS, 0,
                        MAKE_64BIT_MASK(0, s->addr_width), 0);
    n->opaque = user_opaque;
}

static void test_iommu_register(PCIBus *bus, void *opaque, int devfn,
                                uint32_t pasid, IOMMUNotifier *n)
{
    test_iommu_find(opaque, devfn, pasid)->iotlb = n;
}

static void test_iommu_unregister(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t pasid, IOMMUNotifier *n)
{
    TestIOMMUNotifier *kept = test_iommu_find(opaque, devfn, pasid);

    g_assert(kept->iotlb == n);
    kept->iotlb = NULL;
}

static ssize_t test_iommu_translate(PCIBus *bus, void *opaque, int devfn,
                                    uint32_t pasid, bool priv_req,
                                    bool exec_req, hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length, uint32_t *err_count)
{
    TestIOMMU *s = opaque;
    hwaddr mask = s->page_size - 1, at = addr & ~mask;
    size_t n = 0;

    s->requests++;
    s->last = (TestIOMMURequest) {
        .bus = bus,
        .devfn = devfn,
        .pasid = pasid,
        .priv_req = priv_req,
        .exec_req = exec_req,
        .addr = addr,
        .length = length,
        .no_write = no_write,
    };
    do {
        if (n == result_length) {
            return -ENOMEM;
        }
        result[n++] = (IOMMUTLBEntry) {
            .iova = at,
            .addr_mask = mask,
            .translated_addr = at + s->offset,
            .perm = no_write ? IOMMU_RO : IOMMU_RW,
            .pasid = pasid,
        };
        at += s->page_size;
    } while (at <= addr + (length - 1));
    if (err_count) {
        *err_count = 0;
    }
    return n;
}

static void test_iommu_pri_register(PCIBus *bus, void *opaque, int devfn,
                                    uint32_t pasid, IOMMUPRINotifier *notifier)
{
    test_iommu_find(opaque, devfn, pasid)->pri = notifier;
}

static void test_iommu_pri_unregister(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t pasid)
{
    test_iommu_find(opaque, devfn, pasid)->pri = NULL;
}

static int test_iommu_request_page(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid, bool priv_req,
                                   bool exec_req, hwaddr addr, bool lpig,
                                   uint16_t prgi, bool is_read, bool is_write)
{
    TestIOMMU *s = opaque;

    s->requests++;
    s->last = (TestIOMMURequest) {
        .bus = bus,
        .devfn = devfn,
        .pasid = pasid,
        .priv_req = priv_req,
        .exec_req = exec_req,
        .addr = addr,
        .lpig = lpig,
        .prgi = prgi,
        .is_read = is_read,
        .is_write = is_write,
    };
    return s->pri_result;
}

const PCIIOMMUOps test_iommu_ops = {
    .get_address_space = test_iommu_address_space,
    .get_iotlb_info = test_iommu_info,
    .init_iotlb_notifier = test_iommu_init_notifier,
    .register_iotlb_notifier = test_iommu_register,
    .unregister_iotlb_notifier = test_iommu_unregister,
    .ats_request_translation = test_iommu_translate,
    .pri_register_notifier = test_iommu_pri_register,
    .pri_unregister_notifier = test_iommu_pri_unregister,
    .pri_request_page = test_iommu_request_page,
};

int test_iommu_invalidate(TestIOMMU *s, int devfn, uint32_t pasid,
                          hwaddr addr, hwaddr mask)
{
    IOMMUNotifier *n = test_iommu_find(s, devfn, pasid)->iotlb;
    IOMMUTLBEntry entry = {
        .iova = addr,
        .addr_mask = mask,
        .perm = IOMMU_NONE,
        .pasid = pasid,
    };

    if (n) {
        n->notify(n, &entry);
    }
    return !!n;
}

int test_iommu_respond(TestIOMMU *s, int devfn, uint32_t pasid,
                       uint16_t prgi, IOMMUPRIResponseCode code)
{
    IOMMUPRINotifier *n = test_iommu_find(s, devfn, pasid)->pri;
    IOMMUPRIResponse response = {
        .response_code = code,
        .prgi = prgi,
    };

    if (n) {
        n->notify(n, &response);
    }
    return !!n;
}

int test_iommu_count(const TestIOMMU *s)
{
    int i, n = 0;

    for (i = 0; i < TEST_IOMMU_NOTIFIERS; i++) {
        n += !!s->notifiers[i].iotlb + !!s->notifiers[i].pri;
    }
    return n;
}

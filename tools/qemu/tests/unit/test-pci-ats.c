/*
 * Test of translation requests and page requests at the PCI level
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hw/pci/pci_ats.c between functions without a model and IOMMUs of this test:
 * one that leaves the notifiers to the PCI core, and one that does not.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "exec/address-spaces.h"
#include "../../hw/pci/pci-internal.h"
#include "pci-test-iommu.h"

#define DEVFN   0x18
#define OTHER   0x20
#define NOP     PCI_NO_PASID
#define NOTIFIERS 4

/* A function, and the capabilities that the code under test asks for */
typedef struct Function {
    PCIDevice dev;
    uint8_t config[PCI_CONFIG_SPACE_SIZE];
    PCIBus *bus;
    int devfn;
    hwaddr stu;
    bool ats;
    bool pasid;
    bool priv;
    bool exec;
    bool global;
    bool pri;
    int unexpected;
    bool halted;
    bool exceeds;
} Function;

static PCIBus bus, iommu_bus;
static Function functions[2];
static TestIOMMU iommu;
static PCIIOMMUOps core_ops;
static uint32_t over;
static bool over_completed;

static Function *of(const PCIDevice *dev)
{
    return container_of(dev, Function, dev);
}

/*
 * What hw/pci/pci_ats.c calls
 */

void pci_device_get_iommu_bus_devfn(PCIDevice *dev, PCIBus **piommu_bus,
                                    PCIBus **aliased_bus, int *aliased_devfn)
{
    *piommu_bus = iommu_bus.iommu_ops ? &iommu_bus : NULL;
    *aliased_bus = &bus;
    *aliased_devfn = of(dev)->devfn;
}

bool pcie_ats_enabled(const PCIDevice *dev)
{
    return of(dev)->ats;
}

hwaddr pcie_ats_get_stu(const PCIDevice *dev)
{
    return of(dev)->stu;
}

bool pcie_ats_global_invalidate(const PCIDevice *dev)
{
    return of(dev)->global;
}

bool pcie_pasid_enabled(const PCIDevice *dev)
{
    return of(dev)->pasid;
}

bool pcie_pasid_exec_enabled(const PCIDevice *dev)
{
    return of(dev)->exec;
}

bool pcie_pasid_priv_enabled(const PCIDevice *dev)
{
    return of(dev)->priv;
}

bool pcie_has_pri(const PCIDevice *dev)
{
    return true;
}

bool pcie_pri_enabled(const PCIDevice *dev)
{
    return of(dev)->pri;
}

bool pcie_pri_is_halted(const PCIDevice *dev)
{
    return of(dev)->halted;
}

bool pcie_pri_exceeds_credits(const PCIDevice *dev)
{
    return of(dev)->exceeds;
}

void pcie_pri_unexpected_prgi(PCIDevice *dev)
{
    of(dev)->unexpected++;
}

/* The memory is that of pci_iommu_update_entry(), which is not tested here */
AddressSpace address_space_memory;

MemoryRegion *flatview_translate(FlatView *fv, hwaddr addr, hwaddr *xlat,
                                 hwaddr *len, bool is_write, MemTxAttrs attrs)
{
    g_assert_not_reached();
}

void *address_space_map(AddressSpace *as, hwaddr addr, hwaddr *plen,
                        bool is_write, MemTxAttrs attrs)
{
    g_assert_not_reached();
}

void address_space_unmap(AddressSpace *as, void *buffer, hwaddr len,
                         bool is_write, hwaddr access_len)
{
    g_assert_not_reached();
}

bool memory_region_is_ram_device(MemoryRegion *mr)
{
    g_assert_not_reached();
}

/*
 * What devices see
 */

typedef struct Listener {
    IOMMUNotifier n;
    IOMMUPRINotifier pri;
    int drops;
    uint32_t pasid;
    hwaddr addr;
    hwaddr mask;
    int answers;
    IOMMUPRIResponse answer;
} Listener;

static Listener notifiers[NOTIFIERS];

static void drop(IOMMUNotifier *n, IOMMUTLBEntry *entry)
{
    Listener *to = container_of(n, Listener, n);

    g_assert(n->opaque == to);
    g_assert_cmpint(entry->perm, ==, IOMMU_NONE);
    to->drops++;
    to->pasid = entry->pasid;
    to->addr = entry->iova;
    to->mask = entry->addr_mask;
}

static void answer(IOMMUPRINotifier *n, IOMMUPRIResponse *response)
{
    Listener *to = container_of(n, Listener, pri);

    to->answers++;
    to->answer = *response;
}

static void inv_over(PCIBus *b, void *opaque, int devfn, uint32_t n,
                     bool completed)
{
    g_assert(b == &bus && opaque == &iommu && devfn == DEVFN);
    over += n;
    over_completed = completed;
}

static PCIDevice *start(const PCIIOMMUOps *ops)
{
    int i;

    memset(functions, 0, sizeof(functions));
    memset(notifiers, 0, sizeof(notifiers));
    memset(&bus, 0, sizeof(bus));
    over = 0;
    iommu = (TestIOMMU) {
        .addr_width = 48,
        .page_size = 4096,
        .offset = 0x100000000ULL,
    };
    iommu_bus.iommu_ops = ops;
    iommu_bus.iommu_opaque = &iommu;
    for (i = 0; i < ARRAY_SIZE(functions); i++) {
        Function *f = &functions[i];

        f->devfn = i ? OTHER : DEVFN;
        f->stu = 4096;
        f->ats = f->pasid = f->priv = f->exec = f->pri = true;
        f->dev.enabled = true;
        f->dev.config = f->config;
        pci_set_word(f->config + PCI_COMMAND, PCI_COMMAND_MASTER);
        bus.devices[f->devfn] = &f->dev;
    }
    for (i = 0; i < NOTIFIERS; i++) {
        notifiers[i].pri.notify = answer;
        if (ops) {
            g_assert_cmpint(pci_iommu_init_iotlb_notifier(
                &functions[0].dev, &notifiers[i].n, drop, &notifiers[i]), ==,
                0);
        }
    }
    return &functions[0].dev;
}

static void end(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(functions); i++) {
        pci_ats_forget_notifiers(&functions[i].dev);
        g_assert_null(functions[i].dev.ats_notifiers);
    }
}

static void register_iotlb(PCIDevice *dev, uint32_t pasid, int i)
{
    g_assert_cmpint(pci_iommu_register_iotlb_notifier(dev, pasid,
                                                      &notifiers[i].n), ==, 0);
}

static void register_pri(PCIDevice *dev, uint32_t pasid, int i)
{
    g_assert_cmpint(pci_pri_register_notifier(dev, pasid, &notifiers[i].pri),
                    ==, 0);
}

/* Whom it has reached since the last time, as a mask */
static unsigned int take_drops(void)
{
    unsigned int i, mask = 0;

    for (i = 0; i < NOTIFIERS; i++) {
        g_assert_cmpint(notifiers[i].drops, <=, 1);
        mask |= notifiers[i].drops << i;
        notifiers[i].drops = 0;
    }
    return mask;
}

static unsigned int take_answers(void)
{
    unsigned int i, mask = 0;

    for (i = 0; i < NOTIFIERS; i++) {
        g_assert_cmpint(notifiers[i].answers, <=, 1);
        mask |= notifiers[i].answers << i;
        notifiers[i].answers = 0;
    }
    return mask;
}

static unsigned int invalidate(uint32_t pasid, bool global)
{
    g_assert_cmpint(pci_ats_invalidate(&bus, DEVFN, pasid, global, 0x5000,
                                       0xfff), ==, PCI_ATS_INV_DONE);
    return take_drops();
}

static void test_invalidation(void)
{
    PCIDevice *dev = start(&core_ops), *other = &functions[1].dev;
    int i;

    register_iotlb(dev, NOP, 0);
    register_iotlb(dev, 1, 1);
    register_iotlb(dev, 2, 2);
    register_iotlb(other, 1, 3);
    /* A PASID reaches its own notifier, of its own function */
    g_assert_cmphex(invalidate(1, false), ==, 1 << 1);
    g_assert_cmphex(notifiers[1].addr, ==, 0x5000);
    g_assert_cmphex(notifiers[1].mask, ==, 0xfff);
    g_assert_cmphex(invalidate(7, false), ==, 0);
    /* None reaches all, each with what it was registered for */
    g_assert_cmphex(invalidate(NOP, false), ==, 1 << 0 | 1 << 1 | 1 << 2);
    g_assert_cmphex(notifiers[0].pasid, ==, NOP);
    g_assert_cmpuint(notifiers[1].pasid, ==, 1);
    g_assert_cmpuint(notifiers[2].pasid, ==, 2);
    /* Global is for functions that announce it, and spares those without */
    g_assert_cmphex(invalidate(1, true), ==, 1 << 1);
    functions[0].global = true;
    g_assert_cmphex(invalidate(1, true), ==, 1 << 1 | 1 << 2);
    g_assert_cmphex(invalidate(NOP, true), ==, 1 << 0 | 1 << 1 | 1 << 2);
    /* Nobody there, or without power */
    g_assert_cmpint(pci_ats_invalidate(&bus, 0x28, 1, false, 0, 0xfff), ==,
                    PCI_ATS_INV_DONE);
    dev->enabled = false;
    g_assert_cmpint(pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff), ==,
                    PCI_ATS_INV_FAILED);
    g_assert_cmphex(take_drops(), ==, 0);
    dev->enabled = true;
    /* All of it is given back */
    for (i = 0; i < 3; i++) {
        g_assert_cmpint(pci_iommu_unregister_iotlb_notifier(
            dev, i ? i : NOP, &notifiers[i].n), ==, 0);
    }
    g_assert_null(dev->ats_notifiers);
    g_assert_cmphex(invalidate(NOP, false), ==, 0);
    end();
}

static void test_completions(void)
{
    PCIDevice *dev = start(&core_ops);

    register_iotlb(dev, 1, 1);
    pci_ats_set_completions(dev, PCI_ATS_INV_HELD);
    g_assert_cmpint(pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff), ==,
                    PCI_ATS_INV_HELD);
    g_assert_cmpint(pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff), ==,
                    PCI_ATS_INV_HELD);
    pci_ats_set_completions(dev, PCI_ATS_INV_HELD);
    g_assert_cmpuint(over, ==, 0);
    pci_ats_set_completions(dev, PCI_ATS_INV_DONE);
    g_assert_cmpuint(over, ==, 2);
    g_assert(over_completed);
    /* Once */
    pci_ats_set_completions(dev, PCI_ATS_INV_DONE);
    g_assert_cmpuint(over, ==, 2);
    pci_ats_set_completions(dev, PCI_ATS_INV_HELD);
    pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff);
    pci_ats_set_completions(dev, PCI_ATS_INV_FAILED);
    g_assert_cmpuint(over, ==, 3);
    g_assert(!over_completed);
    g_assert_cmpint(pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff), ==,
                    PCI_ATS_INV_FAILED);
    /* The IOMMU waits no longer */
    pci_ats_set_completions(dev, PCI_ATS_INV_HELD);
    pci_ats_invalidate(&bus, DEVFN, 1, false, 0, 0xfff);
    pci_ats_forget_held(&bus, DEVFN);
    pci_ats_set_completions(dev, PCI_ATS_INV_DONE);
    g_assert_cmpuint(over, ==, 3);
    end();
}

static unsigned int respond(uint32_t pasid)
{
    IOMMUPRIResponse response = {
        .response_code = IOMMU_PRI_RESP_INVALID_REQUEST,
        .prgi = 3,
        .pasid = pasid,
    };

    pci_pri_respond(&bus, DEVFN, &response);
    return take_answers();
}

static void test_responses(void)
{
    PCIDevice *dev = start(&core_ops);

    /* By requester ID: whatever the PASID is, the function gets it */
    g_assert_cmphex(respond(1), ==, 0);
    g_assert_cmpint(functions[0].unexpected, ==, 1);
    register_pri(dev, 1, 1);
    g_assert_cmphex(respond(1), ==, 1 << 1);
    g_assert_cmphex(respond(9), ==, 1 << 1);
    g_assert_cmpuint(notifiers[1].answer.pasid, ==, 9);
    g_assert_cmphex(respond(NOP), ==, 1 << 1);
    g_assert_cmphex(notifiers[1].answer.pasid, ==, NOP);
    g_assert_cmpint(notifiers[1].answer.response_code, ==,
                    IOMMU_PRI_RESP_INVALID_REQUEST);
    register_pri(dev, NOP, 0);
    register_pri(&functions[1].dev, 9, 3);
    g_assert_cmphex(respond(9), ==, 1 << 0);
    g_assert_cmphex(respond(1), ==, 1 << 1);
    pci_pri_unregister_notifier(dev, 1);
    g_assert_cmphex(respond(1), ==, 1 << 0);
    pci_pri_unregister_notifier(dev, NOP);
    g_assert_null(dev->ats_notifiers);
    g_assert_cmphex(respond(1), ==, 0);
    g_assert_cmpint(functions[0].unexpected, ==, 2);
    /* Without power nobody is there, so it is lost */
    register_pri(dev, 1, 1);
    dev->enabled = false;
    g_assert_cmphex(respond(1), ==, 0);
    pci_pri_unregister_notifier(dev, 1);
    g_assert_cmphex(respond(1), ==, 0);
    g_assert_cmpint(functions[0].unexpected, ==, 2);
    end();
}

static ssize_t translate(uint32_t pasid, bool priv, bool exec, hwaddr addr,
                         size_t length)
{
    IOMMUTLBEntry result[4];

    return pci_ats_request_translation(&functions[0].dev, pasid, priv, exec,
                                       addr, length, false, result,
                                       ARRAY_SIZE(result), NULL);
}

static int request_page(uint32_t pasid, bool priv, bool exec, bool read,
                        uint16_t prgi)
{
    return pci_pri_request_page(&functions[0].dev, pasid, priv, exec, 0x1000,
                                true, prgi, read, false);
}

/* What the configuration of the function forbids does not get to the IOMMU */
static void test_checks(void)
{
    PCIDevice *dev = start(&core_ops);
    Function *f = &functions[0];

    g_assert_cmpint(translate(1, true, true, 0x1000, 0x2000), ==, 2);
    g_assert(iommu.last.bus == &bus && iommu.last.devfn == DEVFN);
    g_assert(iommu.last.priv_req && iommu.last.exec_req);
    g_assert_cmpint(request_page(1, true, true, true, 0x1ff), ==, 0);
    g_assert_cmpuint(iommu.last.prgi, ==, 0x1ff);
    g_assert_cmpint(iommu.requests, ==, 2);
    iommu.requests = 0;

    g_assert_cmpint(translate(NOP, true, false, 0, 1), ==, -EINVAL);
    g_assert_cmpint(translate(NOP, false, true, 0, 1), ==, -EINVAL);
    g_assert_cmpint(translate(1 << 20, false, false, 0, 1), ==, -EINVAL);
    g_assert_cmpint(translate(1, false, false, 0, 0), ==, -EINVAL);
    g_assert_cmpint(translate(1, false, false, -1ULL, 2), ==, -EINVAL);
    g_assert_cmpint(request_page(1, false, false, true, 0x200), ==, -EINVAL);
    g_assert_cmpint(request_page(1, false, true, false, 1), ==, -EINVAL);
    f->priv = false;
    g_assert_cmpint(translate(1, true, false, 0, 1), ==, -EPERM);
    g_assert_cmpint(request_page(1, true, false, true, 1), ==, -EPERM);
    f->exec = false;
    g_assert_cmpint(translate(1, false, true, 0, 1), ==, -EPERM);
    f->pasid = false;
    g_assert_cmpint(translate(1, false, false, 0, 1), ==, -EPERM);
    g_assert_cmpint(request_page(1, false, false, true, 1), ==, -EPERM);
    g_assert_cmpint(pci_iommu_register_iotlb_notifier(dev, 1,
                                                      &notifiers[0].n), ==,
                    -EPERM);
    g_assert_cmpint(pci_pri_register_notifier(dev, 1, &notifiers[0].pri), ==,
                    -EPERM);
    f->ats = false;
    g_assert_cmpint(translate(NOP, false, false, 0, 1), ==, -EPERM);
    f->ats = true;
    f->pri = false;
    g_assert_cmpint(request_page(NOP, false, false, true, 1), ==, -EPERM);
    f->pri = true;
    dev->enabled = false;
    g_assert_cmpint(translate(NOP, false, false, 0, 1), ==, -EPERM);
    g_assert_cmpint(request_page(NOP, false, false, true, 1), ==, -EPERM);
    dev->enabled = true;
    g_assert_cmpint(iommu.requests, ==, 0);
    /* A message is no memory request */
    pci_set_word(f->config + PCI_COMMAND, 0);
    g_assert_cmpint(translate(NOP, false, false, 0, 1), ==, -EPERM);
    g_assert_cmpint(request_page(NOP, false, false, true, 1), ==, 0);
    g_assert_cmpint(iommu.requests, ==, 1);
    /* The errno of an IOMMU gets through */
    iommu.pri_result = -ENXIO;
    g_assert_cmpint(request_page(NOP, false, false, true, 1), ==, -ENXIO);
    end();

    dev = start(NULL);
    g_assert_cmpint(translate(NOP, false, false, 0, 1), ==, -ENODEV);
    g_assert_cmpint(request_page(NOP, false, false, true, 1), ==, -ENODEV);
    g_assert_cmpint(pci_iommu_register_iotlb_notifier(dev, NOP,
                                                      &notifiers[0].n), ==,
                    -ENODEV);
    end();
}

/* An IOMMU written for QEMU 10.2, which keeps notifiers itself */
static void test_own_notifiers(void)
{
    PCIDevice *dev = start(&test_iommu_ops);
    uint32_t page_size;
    uint8_t addr_width;

    g_assert_cmpint(pci_iommu_get_iotlb_info(dev, &addr_width, &page_size), ==,
                    0);
    g_assert_cmpuint(addr_width, ==, 48);
    g_assert_cmphex(notifiers[0].n.end, ==, MAKE_64BIT_MASK(0, 48));
    register_iotlb(dev, 1, 1);
    register_pri(dev, 1, 1);
    g_assert_null(dev->ats_notifiers);
    g_assert_cmpint(test_iommu_count(&iommu), ==, 2);
    g_assert_cmpint(test_iommu_invalidate(&iommu, DEVFN, 1, 0x1000, 0xfff), ==,
                    1);
    g_assert_cmphex(take_drops(), ==, 1 << 1);
    g_assert_cmpint(translate(1, false, false, 0x1000, 0x1000), ==, 1);
    g_assert_cmpint(request_page(1, false, false, true, 5), ==, 0);
    g_assert_cmpint(test_iommu_respond(&iommu, DEVFN, 1, 5,
                                       IOMMU_PRI_RESP_FAILURE), ==, 1);
    g_assert_cmphex(take_answers(), ==, 1 << 1);
    g_assert_cmpint(notifiers[1].answer.response_code, ==,
                    IOMMU_PRI_RESP_FAILURE);
    g_assert_cmpint(pci_iommu_unregister_iotlb_notifier(dev, 1,
                                                        &notifiers[1].n), ==,
                    0);
    pci_pri_unregister_notifier(dev, 1);
    g_assert_cmpint(test_iommu_count(&iommu), ==, 0);
    end();
}

static void check_range(uint64_t addr, bool size, hwaddr first, hwaddr mask)
{
    hwaddr found;

    g_assert_cmphex(pci_ats_decode_range(addr, size, &found), ==, first);
    g_assert_cmphex(found, ==, mask);
}

static void test_ranges(void)
{
    int ones;

    check_range(0x12345000, false, 0x12345000, 0xfff);
    check_range(0x12345fff, false, 0x12345000, 0xfff);
    check_range(0x12344000, true, 0x12344000, 0x1fff);
    check_range(0x12345000, true, 0x12344000, 0x3fff);
    check_range(0x000ff000, true, 0, 0x1fffff);
    for (ones = 1; ones < 51; ones++) {
        check_range(MAKE_64BIT_MASK(12, ones), true, 0,
                    MAKE_64BIT_MASK(0, 13 + ones));
    }
    check_range(MAKE_64BIT_MASK(12, 51), true, 0, UINT64_MAX);
    check_range(UINT64_MAX, true, 0, UINT64_MAX);
}

/*
 * Pages of 4 KiB up to 1 MiB, each one where the one before it ends, but for a
 * hole, a page that only can be read, and one that lies elsewhere
 */
#define HOLE    0x6000
#define READ    0xa000
#define MOVED   0xe000

static int pages;

static int translate_page(void *opaque, hwaddr addr, IOMMUTLBEntry *entry)
{
    hwaddr page = addr & ~0xfffULL, to = page + (page == MOVED ? 0x80000000 :
                                                 0x40000000);

    pages++;
    if (addr >= 1 * MiB) {
        return -EIO;
    }
    *entry = (IOMMUTLBEntry) { };
    pci_ats_fill_entry(entry, addr, 0xfff, to, page == HOLE ? IOMMU_NONE :
                       page == READ ? IOMMU_RO : IOMMU_RW);
    return 0;
}

static void check_unit(hwaddr addr, hwaddr stu, IOMMUAccessFlags perm,
                       uint32_t wrong)
{
    IOMMUTLBEntry entry;
    uint32_t errors;

    g_assert_cmpint(pci_ats_translate_range(translate_page, NULL, IOMMU_RW, stu,
                                            addr, 1, &entry, 1, &errors), ==,
                    1);
    g_assert_cmphex(entry.iova, ==, addr & ~(stu - 1));
    g_assert_cmphex(entry.addr_mask, ==, stu - 1);
    g_assert_cmpint(entry.perm, ==, perm);
    if (perm != IOMMU_NONE) {
        g_assert_cmphex(entry.translated_addr, ==, entry.iova + 0x40000000);
    }
    g_assert_cmpuint(errors, ==, wrong);
}

/* The smallest unit of a function sizes the answers */
static void test_units(void)
{
    IOMMUTLBEntry entries[4];
    uint32_t errors;

    check_unit(0x1234, 0x1000, IOMMU_RW, 0);
    check_unit(0x1234, 0x4000, IOMMU_RW, 0);
    check_unit(HOLE, 0x1000, IOMMU_NONE, 1);
    check_unit(0x4000, 0x4000, IOMMU_NONE, 1);
    check_unit(0x9000, 0x4000, IOMMU_RO, 1);
    check_unit(0xc000, 0x4000, IOMMU_NONE, 1);
    /* Of a hole no more is read than shows it */
    pages = 0;
    check_unit(0x4000, 0x4000, IOMMU_NONE, 1);
    g_assert_cmpint(pages, <=, 4);
    /* Several, the first of which begins before what is asked for */
    g_assert_cmpint(pci_ats_translate_range(translate_page, NULL, IOMMU_RW,
                                            0x4000, 0x3ff0, 0x8000, entries, 4,
                                            &errors), ==, 3);
    g_assert_cmphex(entries[0].iova, ==, 0);
    g_assert_cmphex(entries[2].iova, ==, 0x8000);
    g_assert_cmpuint(errors, ==, 2);
    g_assert_cmpint(pci_ats_translate_range(translate_page, NULL, IOMMU_RW,
                                            0x4000, 0x3ff0, 0x8000, entries, 2,
                                            NULL), ==, -ENOMEM);
    g_assert_cmpint(pci_ats_translate_range(translate_page, NULL, IOMMU_RW,
                                            0x1000, 1 * MiB, 1, entries, 4,
                                            NULL), ==, -EIO);
}

/* The STU that an IOMMU is told is that of its function */
static void test_stu(void)
{
    start(&core_ops);
    functions[1].stu = 0x10000;
    g_assert_cmphex(pci_ats_get_stu(&bus, DEVFN), ==, 0x1000);
    g_assert_cmphex(pci_ats_get_stu(&bus, OTHER), ==, 0x10000);
    g_assert_cmphex(pci_ats_get_stu(&bus, 0x28), ==, 0x1000);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rust_bql_mock_lock();
    core_ops = test_iommu_ops;
    core_ops.init_iotlb_notifier = NULL;
    core_ops.register_iotlb_notifier = NULL;
    core_ops.unregister_iotlb_notifier = NULL;
    core_ops.pri_register_notifier = NULL;
    core_ops.pri_unregister_notifier = NULL;
    core_ops.ats_invalidation_over = inv_over;
    g_test_add_func("/pci-ats/invalidation", test_invalidation);
    g_test_add_func("/pci-ats/completions", test_completions);
    g_test_add_func("/pci-ats/responses", test_responses);
    g_test_add_func("/pci-ats/checks", test_checks);
    g_test_add_func("/pci-ats/own-notifiers", test_own_notifiers);
    g_test_add_func("/pci-ats/ranges", test_ranges);
    g_test_add_func("/pci-ats/units", test_units);
    g_test_add_func("/pci-ats/stu", test_stu);
    return g_test_run();
}

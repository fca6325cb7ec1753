/*
 * Translation requests (ATS) and page requests (PRI) of PCI device models
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_bus.h"
#include "pci-internal.h"
#include "trace.h"

#define PCI_PASID_MASK ((1U << PCI_EXT_CAP_PASID_MAX_WIDTH) - 1)

#define PCI_ATS_RIGHTS (IOMMU_RW | IOMMU_EXEC)

/* Of all translation units that a request is about */
#define PCI_ATS_UNIT_PARTS_MAX 65536

/* What a device registered for one PASID, or for requests without */
typedef struct PCIATSNotifiers {
    QLIST_HEAD(, IOMMUNotifier) iotlb;
    IOMMUPRINotifier *pri;
} PCIATSNotifiers;

/* How an IOMMU knows a device */
typedef struct PCIIOMMUTarget {
    const PCIIOMMUOps *ops;
    void *opaque;
    PCIBus *bus;
    int devfn;
} PCIIOMMUTarget;

static bool pci_iommu_get_target(PCIDevice *dev, PCIIOMMUTarget *t)
{
    PCIBus *iommu_bus;

    g_assert(bql_locked());

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, &t->bus, &t->devfn);
    if (!iommu_bus) {
        return false;
    }
    t->ops = iommu_bus->iommu_ops;
    t->opaque = iommu_bus->iommu_opaque;
    return true;
}

bool pci_is_master(const PCIDevice *dev)
{
    return dev->enabled &&
           (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER);
}

/* Whether the configuration of the device lets it use @pasid */
static int pci_check_pasid(const PCIDevice *dev, uint32_t pasid)
{
    if (pasid == PCI_NO_PASID) {
        return 0;
    }
    if (pasid & ~PCI_PASID_MASK) {
        return -EINVAL;
    }
    return pcie_pasid_enabled(dev) ? 0 : -EPERM;
}

/* Whether it lets it set what else is in the prefix that carries the PASID */
int pci_check_prefix(const PCIDevice *dev, uint32_t pasid, bool priv_req,
                     bool exec_req)
{
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (pasid == PCI_NO_PASID && (priv_req || exec_req)) {
        return -EINVAL;
    }
    if ((priv_req && !pcie_pasid_priv_enabled(dev)) ||
        (exec_req && !pcie_pasid_exec_enabled(dev))) {
        return -EPERM;
    }
    return 0;
}

int pci_iommu_get_iotlb_info(PCIDevice *dev, uint8_t *addr_width,
                             uint32_t *min_page_size)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->get_iotlb_info) {
        return -ENODEV;
    }
    t.ops->get_iotlb_info(t.opaque, addr_width, min_page_size);
    return 0;
}

int pci_iommu_init_iotlb_notifier(PCIDevice *dev, IOMMUNotifier *n,
                                  IOMMUNotify fn, void *opaque)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->ats_request_translation) {
        return -ENODEV;
    }
    if (t.ops->init_iotlb_notifier) {
        t.ops->init_iotlb_notifier(t.bus, t.opaque, t.devfn, n, fn, opaque);
    } else {
        iommu_notifier_init(n, fn, IOMMU_NOTIFIER_DEVIOTLB_EVENTS, 0,
                            HWADDR_MAX, 0);
        n->opaque = opaque;
    }
    return 0;
}

static PCIATSNotifiers *pci_ats_find_notifiers(PCIDevice *dev, uint32_t pasid)
{
    return dev->ats_notifiers ? g_hash_table_lookup(dev->ats_notifiers,
                                                    GUINT_TO_POINTER(pasid))
                              : NULL;
}

static PCIATSNotifiers *pci_ats_add_notifiers(PCIDevice *dev, uint32_t pasid)
{
    PCIATSNotifiers *notifiers = pci_ats_find_notifiers(dev, pasid);

    if (!notifiers) {
        if (!dev->ats_notifiers) {
            dev->ats_notifiers = g_hash_table_new_full(NULL, NULL, NULL,
                                                       g_free);
        }
        notifiers = g_new0(PCIATSNotifiers, 1);
        g_hash_table_insert(dev->ats_notifiers, GUINT_TO_POINTER(pasid),
                            notifiers);
    }
    return notifiers;
}

static void pci_ats_free_notifiers(PCIDevice *dev)
{
    g_clear_pointer(&dev->ats_notifiers, g_hash_table_destroy);
}

/* Keep nothing for a PASID that has no notifier left */
static void pci_ats_trim_notifiers(PCIDevice *dev, uint32_t pasid)
{
    PCIATSNotifiers *notifiers = pci_ats_find_notifiers(dev, pasid);

    if (notifiers && !notifiers->pri && QLIST_EMPTY(&notifiers->iotlb)) {
        g_hash_table_remove(dev->ats_notifiers, GUINT_TO_POINTER(pasid));
        if (!g_hash_table_size(dev->ats_notifiers)) {
            pci_ats_free_notifiers(dev);
        }
    }
}

void pci_ats_forget_notifiers(PCIDevice *dev)
{
    PCIIOMMUTarget t;

    pci_ats_free_notifiers(dev);
    if (pci_iommu_get_target(dev, &t) && t.ops->function_gone) {
        t.ops->function_gone(t.bus, t.opaque, t.devfn);
    }
}

int pci_iommu_register_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                      IOMMUNotifier *n)
{
    PCIIOMMUTarget t;
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->ats_request_translation) {
        return -ENODEV;
    }
    if (t.ops->register_iotlb_notifier) {
        t.ops->register_iotlb_notifier(t.bus, t.opaque, t.devfn, pasid, n);
    } else {
        QLIST_INSERT_HEAD(&pci_ats_add_notifiers(dev, pasid)->iotlb, n, node);
    }
    return 0;
}

int pci_iommu_unregister_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                        IOMMUNotifier *n)
{
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t) || !t.ops->ats_request_translation) {
        return -ENODEV;
    }
    if (t.ops->unregister_iotlb_notifier) {
        t.ops->unregister_iotlb_notifier(t.bus, t.opaque, t.devfn, pasid, n);
    } else if (pci_ats_find_notifiers(dev, pasid)) {
        QLIST_REMOVE(n, node);
        pci_ats_trim_notifiers(dev, pasid);
    }
    return 0;
}

ssize_t pci_ats_request_translation(PCIDevice *dev, uint32_t pasid,
                                    bool priv_req, bool exec_req,
                                    hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length,
                                    uint32_t *err_count)
{
    PCIIOMMUTarget t;
    ssize_t ret;

    if (!pci_is_master(dev) || !pcie_ats_enabled(dev)) {
        return -EPERM;
    }
    ret = pci_check_prefix(dev, pasid, priv_req, exec_req);
    if (ret) {
        return ret;
    }
    if (!length || addr + (length - 1) < addr) {
        return -EINVAL;
    }
    if (!result_length) {
        return -ENOSPC;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->ats_request_translation) {
        return -ENODEV;
    }
    ret = t.ops->ats_request_translation(t.bus, t.opaque, t.devfn, pasid,
                                         priv_req, exec_req, addr, length,
                                         no_write, result, result_length,
                                         err_count);
    trace_pci_ats_request(dev->name, pasid, addr, length, no_write, ret);
    return ret;
}

int pci_pri_register_notifier(PCIDevice *dev, uint32_t pasid,
                              IOMMUPRINotifier *notifier)
{
    PCIIOMMUTarget t;
    int ret = pci_check_pasid(dev, pasid);

    if (ret) {
        return ret;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->pri_request_page) {
        return -ENODEV;
    }
    if (t.ops->pri_register_notifier) {
        t.ops->pri_register_notifier(t.bus, t.opaque, t.devfn, pasid,
                                     notifier);
    } else {
        pci_ats_add_notifiers(dev, pasid)->pri = notifier;
    }
    return 0;
}

void pci_pri_unregister_notifier(PCIDevice *dev, uint32_t pasid)
{
    PCIATSNotifiers *notifiers;
    PCIIOMMUTarget t;

    if (!pci_iommu_get_target(dev, &t)) {
        return;
    }
    notifiers = pci_ats_find_notifiers(dev, pasid);
    if (t.ops->pri_unregister_notifier) {
        t.ops->pri_unregister_notifier(t.bus, t.opaque, t.devfn, pasid);
    } else if (notifiers) {
        notifiers->pri = NULL;
        pci_ats_trim_notifiers(dev, pasid);
    }
}

/* The architecture leaves it to the device not to send these */
static void pci_pri_check_credits(PCIDevice *dev)
{
    if (pcie_pri_is_halted(dev)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "%s: page request after a Response Failure\n",
                      dev->name);
    } else if (pcie_pri_exceeds_credits(dev)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "%s: more page requests than software allows\n",
                      dev->name);
    }
}

int pci_pri_request_page(PCIDevice *dev, uint32_t pasid, bool priv_req,
                         bool exec_req, hwaddr addr, bool lpig,
                         uint16_t prgi, bool is_read, bool is_write)
{
    bool stop_marker = pasid != PCI_NO_PASID && lpig && !is_read && !is_write;
    PCIIOMMUTarget t;
    int ret;

    /* A message is no memory request: Bus Master Enable has no say in it */
    if (!dev->enabled || !pcie_pri_enabled(dev)) {
        return -EPERM;
    }
    ret = pci_check_prefix(dev, pasid, priv_req, exec_req);
    if (ret) {
        return ret;
    }
    if ((prgi & ~PCI_PRI_PRGI_MASK) || (exec_req && !is_read)) {
        return -EINVAL;
    }
    if (!pci_iommu_get_target(dev, &t) || !t.ops->pri_request_page) {
        return -ENODEV;
    }
    if (!stop_marker) {
        pci_pri_check_credits(dev);
    }
    ret = t.ops->pri_request_page(t.bus, t.opaque, t.devfn, pasid, priv_req,
                                  exec_req, addr, lpig, prgi, is_read,
                                  is_write);
    trace_pci_pri_request(dev->name, pasid, addr, prgi, lpig, is_read,
                          is_write, ret);
    return ret;
}

/*
 * For IOMMU models
 */

static PCIDevice *pci_ats_function(PCIBus *bus, int devfn)
{
    g_assert(bql_locked());
    return bus->devices[devfn];
}

hwaddr pci_ats_get_stu(PCIBus *bus, int devfn)
{
    PCIDevice *dev = pci_ats_function(bus, devfn);

    return dev ? pcie_ats_get_stu(dev) : 1ULL << PCI_ATS_MIN_STU;
}

hwaddr pci_ats_decode_range(uint64_t addr, bool size, hwaddr *mask)
{
    unsigned int ones = cto64(addr >> PCI_ATS_MIN_STU);

    /* Each one doubles 8 KiB; what has 51 of them is everything */
    if (!size) {
        *mask = MAKE_64BIT_MASK(0, PCI_ATS_MIN_STU);
    } else if (ones >= 51) {
        *mask = UINT64_MAX;
    } else {
        *mask = MAKE_64BIT_MASK(0, PCI_ATS_MIN_STU + 1 + ones);
    }
    return addr & ~*mask;
}

static void pci_ats_notify(PCIATSNotifiers *notifiers, uint32_t pasid,
                           hwaddr addr, hwaddr mask)
{
    IOMMUNotifier *n, *next;

    QLIST_FOREACH_SAFE(n, &notifiers->iotlb, node, next) {
        IOMMUTLBEntry entry = {
            .iova = addr,
            .addr_mask = mask,
            .perm = IOMMU_NONE,
            .pasid = pasid,
        };

        n->notify(n, &entry);
    }
}

void pci_ats_set_completions(PCIDevice *dev, PCIATSInvResult mode)
{
    uint32_t held = dev->ats_inv_held;
    PCIIOMMUTarget t;

    dev->ats_inv_mode = mode;
    if (mode == PCI_ATS_INV_HELD || !held) {
        return;
    }
    dev->ats_inv_held = 0;
    if (pci_iommu_get_target(dev, &t) && t.ops->ats_invalidation_over) {
        t.ops->ats_invalidation_over(t.bus, t.opaque, t.devfn, held,
                                     mode == PCI_ATS_INV_DONE);
    }
}

static void pci_ats_notify_all(PCIDevice *dev, uint32_t pasid, bool global,
                               hwaddr addr, hwaddr mask)
{
    PCIATSNotifiers *notifiers;
    GHashTableIter iter;
    gpointer key;

    if (!dev->ats_notifiers) {
        return;
    }
    if (pasid != PCI_NO_PASID && !(global && pcie_ats_global_invalidate(dev))) {
        notifiers = pci_ats_find_notifiers(dev, pasid);
        if (notifiers) {
            pci_ats_notify(notifiers, pasid, addr, mask);
        }
        return;
    }
    g_hash_table_iter_init(&iter, dev->ats_notifiers);
    while (g_hash_table_iter_next(&iter, &key, (void **)&notifiers)) {
        uint32_t other = GPOINTER_TO_UINT(key);

        if (pasid == PCI_NO_PASID || other != PCI_NO_PASID) {
            pci_ats_notify(notifiers, other, addr, mask);
        }
    }
}

PCIATSInvResult pci_ats_invalidate(PCIBus *bus, int devfn, uint32_t pasid,
                                   bool global, hwaddr addr, hwaddr mask)
{
    PCIDevice *dev = pci_ats_function(bus, devfn);

    if (!dev) {
        return PCI_ATS_INV_DONE;
    }
    /* Its slot is without power, or its link down */
    if (!dev->enabled) {
        return PCI_ATS_INV_FAILED;
    }
    pci_ats_notify_all(dev, pasid, global, addr, mask);
    if (dev->ats_inv_mode == PCI_ATS_INV_HELD) {
        dev->ats_inv_held++;
    }
    return dev->ats_inv_mode;
}

void pci_ats_forget_held(PCIBus *bus, int devfn)
{
    PCIDevice *dev = pci_ats_function(bus, devfn);

    if (dev) {
        dev->ats_inv_held = 0;
    }
}

static IOMMUPRINotifier *pci_pri_find_notifier(PCIDevice *dev, uint32_t pasid)
{
    PCIATSNotifiers *notifiers = pci_ats_find_notifiers(dev, pasid);
    GHashTableIter iter;

    if (notifiers && notifiers->pri) {
        return notifiers->pri;
    }
    notifiers = pci_ats_find_notifiers(dev, PCI_NO_PASID);
    if (notifiers && notifiers->pri) {
        return notifiers->pri;
    }
    if (dev->ats_notifiers) {
        g_hash_table_iter_init(&iter, dev->ats_notifiers);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&notifiers)) {
            if (notifiers->pri) {
                return notifiers->pri;
            }
        }
    }
    return NULL;
}

void pci_pri_respond(PCIBus *bus, int devfn, IOMMUPRIResponse *response)
{
    PCIDevice *dev = pci_ats_function(bus, devfn);
    IOMMUPRINotifier *notifier;

    /* A VF that is disabled is nobody either, which its PF does not hear of */
    if (!dev || !dev->enabled) {
        return;
    }
    notifier = pci_pri_find_notifier(dev, response->pasid);
    trace_pci_pri_response(dev->name, response->pasid, response->prgi,
                           response->response_code, response->automatic);
    if (notifier) {
        notifier->notify(notifier, response);
    } else if (pcie_has_pri(dev)) {
        pcie_pri_unexpected_prgi(dev);
    }
}

/*
 * Put together what a translation unit consists of, as an answer must not be
 * about less.  The device can use it only if it is one piece, of no more than
 * *@parts parts: software chooses the size, and may have one page at a time in
 * terabytes.
 */
static int pci_ats_translate_unit(PCIATSTranslateFn fn, void *opaque,
                                  hwaddr stu, hwaddr addr,
                                  IOMMUTLBEntry *entry, unsigned int *parts)
{
    hwaddr base = addr & ~(stu - 1), next = base, offset = 0;
    IOMMUTLBEntry part;
    int ret;

    do {
        ret = fn(opaque, next, &part);
        if (ret) {
            return ret;
        }
        if (next == base) {
            *entry = part;
            offset = part.translated_addr - part.iova;
        }
        if (!*parts || part.translated_addr - part.iova != offset ||
            (offset & (stu - 1)) || part.target_as != entry->target_as) {
            part.perm = IOMMU_NONE;
        }
        *parts -= !!*parts;
        entry->perm = (entry->perm & part.perm) |
                      ((entry->perm | part.perm) & IOMMU_UNTRANSLATED_ONLY);
        next = (part.iova | part.addr_mask) + 1;
        /* Nothing is added by what follows */
    } while ((entry->perm & PCI_ATS_RIGHTS) && (next & (stu - 1)));
    if (!(entry->perm & PCI_ATS_RIGHTS)) {
        entry->perm = IOMMU_NONE;
    }
    entry->iova = base;
    entry->addr_mask = stu - 1;
    entry->translated_addr = base + offset;
    return 0;
}

ssize_t pci_ats_translate_range(PCIATSTranslateFn fn, void *opaque,
                                IOMMUAccessFlags want, hwaddr stu,
                                hwaddr addr, size_t length,
                                IOMMUTLBEntry *result, size_t result_length,
                                uint32_t *err_count)
{
    unsigned int parts = PCI_ATS_UNIT_PARTS_MAX;
    hwaddr last = addr + (length - 1);
    uint32_t errors = 0;
    size_t n = 0;

    while (true) {
        IOMMUTLBEntry *entry = &result[n];
        hwaddr entry_last;
        int ret;

        if (n == result_length) {
            return -ENOMEM;
        }
        ret = fn(opaque, addr, entry);
        if (!ret && entry->addr_mask < stu - 1) {
            ret = pci_ats_translate_unit(fn, opaque, stu, addr, entry, &parts);
        }
        if (ret) {
            return ret;
        }
        n++;
        if ((entry->perm & want) != want) {
            errors++;
        }
        entry_last = entry->iova | entry->addr_mask;
        g_assert(entry->iova <= addr && entry_last >= addr);
        if (entry_last >= last) {
            break;
        }
        addr = entry_last + 1;
    }
    if (err_count) {
        *err_count = errors;
    }
    return n;
}

/*
 * The lower half has to do for hosts that cannot do more: what the guest writes
 * to the upper half at the same time is not undone either.
 */
static bool pci_iommu_cmpxchg_entry(uint64_t *entry, uint64_t old,
                                    uint64_t new)
{
#ifdef CONFIG_ATOMIC64
    uint64_t expected = cpu_to_le64(old);

    return qatomic_cmpxchg__nocheck(entry, expected, cpu_to_le64(new)) ==
           expected;
#else
    uint32_t *low = (uint32_t *)entry;  /* little endian, whatever the host */
    uint32_t expected = cpu_to_le32((uint32_t)old);

    return qatomic_cmpxchg(low, expected, cpu_to_le32((uint32_t)new)) ==
           expected;
#endif
}

bool pci_iommu_update_entry(hwaddr addr, uint64_t old, uint64_t new,
                            bool *changed)
{
    hwaddr xlat, len = sizeof(old);
    MemoryRegion *mr;
    uint64_t *entry;

    g_assert(!((old ^ new) >> 32));

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, addr, &xlat, &len,
                                 true, MEMTXATTRS_UNSPECIFIED);
    if (len < sizeof(old) ||
        !memory_access_is_direct(mr, true, MEMTXATTRS_UNSPECIFIED)) {
        return false;
    }
    /* No bounce buffer then; what unmaps knows whom a write concerns */
    entry = address_space_map(&address_space_memory, addr, &len, true,
                              MEMTXATTRS_UNSPECIFIED);
    if (!entry) {
        return false;
    }
    *changed = !pci_iommu_cmpxchg_entry(entry, old, new);
    address_space_unmap(&address_space_memory, entry, len, true, sizeof(old));
    return true;
}

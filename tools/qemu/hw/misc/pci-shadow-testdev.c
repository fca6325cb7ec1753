/*
 * PCI device that keeps the mappings of its IOMMU, as passed-through devices do
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A device of the host does DMA without asking the IOMMU of the machine each
 * time: VFIO and vhost-vdpa have notifiers, and map and unmap for the host what
 * these tell.  This one does that into a tree and can be asked what is there,
 * so that a test sees what they would see, without a device.  See
 * docs/specs/pci-shadow-testdev.rst.
 */

#include "qemu/osdep.h"
#include "qemu/iova-tree.h"
#include "qemu/module.h"
#include "exec/memory.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qom/object.h"

#define TYPE_PCI_SHADOW_TESTDEV "pci-shadow-testdev"
OBJECT_DECLARE_SIMPLE_TYPE(ShadowTestDev, PCI_SHADOW_TESTDEV)

#define SHADOW_TESTDEV_DEVICE_ID    0x11ea
#define SHADOW_TESTDEV_SIZE         4096

#define SHADOW_TESTDEV_IOVA         0x00
#define SHADOW_TESTDEV_ADDR         0x08
#define SHADOW_TESTDEV_SIZE_OF      0x10
#define SHADOW_TESTDEV_PERM         0x18
#define SHADOW_TESTDEV_DATA         0x20
#define SHADOW_TESTDEV_EVENTS       0x28
#define SHADOW_TESTDEV_ERRORS       0x30
#define SHADOW_TESTDEV_REGIONS      0x38
#define SHADOW_TESTDEV_REPLAY       0x40

#define SHADOW_TESTDEV_NONE         UINT64_MAX

/* A part of the address space that the IOMMU translates */
typedef struct ShadowRegion {
    struct ShadowTestDev *dev;
    IOMMUMemoryRegion *mr;
    hwaddr offset;
    IOMMUNotifier n;
    QLIST_ENTRY(ShadowRegion) next;
} ShadowRegion;

struct ShadowTestDev {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    MemoryListener listener;
    QLIST_HEAD(, ShadowRegion) regions;
    IOVATree *tree;
    bool maps;              /* property */

    uint64_t iova;
    uint64_t events;
    uint64_t errors;
    uint64_t nr_regions;
    uint64_t nr_replayed;
};

/* Whether a mapping begins before @first, or goes on after @last */
static bool shadow_is_cut(ShadowTestDev *s, hwaddr first, hwaddr last)
{
    const DMAMap *map;

    map = iova_tree_find(s->tree, &(DMAMap) { .iova = first });
    if (map && map->iova < first) {
        return true;
    }
    map = iova_tree_find(s->tree, &(DMAMap) { .iova = last });
    return map && map->iova + map->size > last;
}

static void shadow_notify(IOMMUNotifier *n, IOMMUTLBEntry *entry)
{
    ShadowTestDev *s = container_of(n, ShadowRegion, n)->dev;
    DMAMap map = {
        .iova = entry->iova,
        .size = entry->addr_mask,
        .translated_addr = entry->translated_addr,
        .perm = entry->perm,
    };

    s->events++;
    if (map.perm != IOMMU_NONE) {
        /* The host knows no second mapping of the same address */
        if (iova_tree_insert(s->tree, &map) != IOVA_OK) {
            s->errors++;
        }
        return;
    }
    if (shadow_is_cut(s, map.iova, map.iova + map.size)) {
        s->errors++;
    }
    iova_tree_remove(s->tree, map);
}

static void shadow_region_add(MemoryListener *listener,
                              MemoryRegionSection *section)
{
    ShadowTestDev *s = container_of(listener, ShadowTestDev, listener);
    ShadowRegion *region;
    Error *err = NULL;
    Int128 end;

    if (!memory_region_is_iommu(section->mr)) {
        return;
    }
    region = g_new0(ShadowRegion, 1);
    region->dev = s;
    region->mr = IOMMU_MEMORY_REGION(section->mr);
    region->offset = section->offset_within_region;
    end = int128_sub(int128_add(int128_make64(region->offset), section->size),
                     int128_one());
    iommu_notifier_init(&region->n, shadow_notify,
                        s->maps ? IOMMU_NOTIFIER_IOTLB_EVENTS :
                                  IOMMU_NOTIFIER_UNMAP,
                        region->offset, int128_get64(end), 0);
    if (memory_region_register_iommu_notifier(section->mr, &region->n, &err)) {
        /* When it is the guest that switches the IOMMU on, QEMU goes on */
        warn_report_err_once(err);
        s->errors++;
        g_free(region);
        return;
    }
    QLIST_INSERT_HEAD(&s->regions, region, next);
    s->nr_regions++;
    if (s->maps) {
        memory_region_iommu_replay(region->mr, &region->n);
    }
}

static void shadow_region_free(ShadowRegion *region)
{
    ShadowTestDev *s = region->dev;

    memory_region_unregister_iommu_notifier(MEMORY_REGION(region->mr),
                                            &region->n);
    iova_tree_remove(s->tree, (DMAMap) {
        .iova = region->n.start,
        .size = region->n.end - region->n.start,
    });
    QLIST_REMOVE(region, next);
    s->nr_regions--;
    g_free(region);
}

static void shadow_region_del(MemoryListener *listener,
                              MemoryRegionSection *section)
{
    ShadowTestDev *s = container_of(listener, ShadowTestDev, listener);
    ShadowRegion *region, *next;

    QLIST_FOREACH_SAFE(region, &s->regions, next, next) {
        if (MEMORY_REGION(region->mr) == section->mr &&
            region->offset == section->offset_within_region) {
            shadow_region_free(region);
        }
    }
}

/* A notifier that is not registered, as VFIO has one to look for dirty pages */
typedef struct ShadowReplay {
    IOMMUNotifier n;
    uint64_t nr_maps;
} ShadowReplay;

static void shadow_replay_notify(IOMMUNotifier *n, IOMMUTLBEntry *entry)
{
    container_of(n, ShadowReplay, n)->nr_maps++;
}

/* Ask what there is. Returns: number of mappings */
static uint64_t shadow_replay(ShadowTestDev *s)
{
    ShadowReplay replay = { };
    ShadowRegion *region;

    QLIST_FOREACH(region, &s->regions, next) {
        iommu_notifier_init(&replay.n, shadow_replay_notify, IOMMU_NOTIFIER_MAP,
                            region->n.start, region->n.end, 0);
        memory_region_iommu_replay(region->mr, &replay.n);
    }
    return replay.nr_maps;
}

/* Eight bytes by ordinary DMA, which the IOMMU translates when it happens */
static uint64_t shadow_dma_read(ShadowTestDev *s)
{
    uint64_t data;

    return pci_dma_read(PCI_DEVICE(s), s->iova, &data, sizeof(data)) ?
           SHADOW_TESTDEV_NONE : le64_to_cpu(data);
}

static uint64_t shadow_read(void *opaque, hwaddr addr, unsigned size)
{
    ShadowTestDev *s = opaque;
    const DMAMap *map = iova_tree_find(s->tree, &(DMAMap) { .iova = s->iova });

    switch (addr) {
    case SHADOW_TESTDEV_IOVA:
        return s->iova;
    case SHADOW_TESTDEV_ADDR:
        return map ? map->translated_addr + (s->iova - map->iova) :
                     SHADOW_TESTDEV_NONE;
    case SHADOW_TESTDEV_SIZE_OF:
        return map ? map->size + 1 : 0;
    case SHADOW_TESTDEV_PERM:
        return map ? map->perm : IOMMU_NONE;
    case SHADOW_TESTDEV_DATA:
        return shadow_dma_read(s);
    case SHADOW_TESTDEV_EVENTS:
        return s->events;
    case SHADOW_TESTDEV_ERRORS:
        return s->errors;
    case SHADOW_TESTDEV_REGIONS:
        return s->nr_regions;
    case SHADOW_TESTDEV_REPLAY:
        return s->nr_replayed;
    default:
        return 0;
    }
}

static void shadow_write(void *opaque, hwaddr addr, uint64_t val,
                         unsigned size)
{
    ShadowTestDev *s = opaque;

    switch (addr) {
    case SHADOW_TESTDEV_IOVA:
        s->iova = val;
        break;
    case SHADOW_TESTDEV_REPLAY:
        s->nr_replayed = shadow_replay(s);
        break;
    }
}

static const MemoryRegionOps shadow_ops = {
    .read = shadow_read,
    .write = shadow_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 8,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 8,
        .max_access_size = 8,
    },
};

static void shadow_realize(PCIDevice *dev, Error **errp)
{
    ShadowTestDev *s = PCI_SHADOW_TESTDEV(dev);

    QLIST_INIT(&s->regions);
    s->tree = iova_tree_new();
    memory_region_init_io(&s->mmio, OBJECT(s), &shadow_ops, s,
                          TYPE_PCI_SHADOW_TESTDEV, SHADOW_TESTDEV_SIZE);
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &s->mmio);
    s->listener = (MemoryListener) {
        .name = TYPE_PCI_SHADOW_TESTDEV,
        .region_add = shadow_region_add,
        .region_del = shadow_region_del,
    };
    memory_listener_register(&s->listener,
                             pci_device_iommu_address_space(dev));
}

static void shadow_exit(PCIDevice *dev)
{
    ShadowTestDev *s = PCI_SHADOW_TESTDEV(dev);
    ShadowRegion *region, *next;

    memory_listener_unregister(&s->listener);
    QLIST_FOREACH_SAFE(region, &s->regions, next, next) {
        shadow_region_free(region);
    }
    iova_tree_destroy(s->tree);
}

static void shadow_reset(DeviceState *dev)
{
    PCI_SHADOW_TESTDEV(dev)->iova = 0;
}

/* What it has been told of is only good for the machine that it is in */
static const VMStateDescription shadow_vmstate = {
    .name = TYPE_PCI_SHADOW_TESTDEV,
    .unmigratable = 1,
};

static const Property shadow_properties[] = {
    DEFINE_PROP_BOOL("maps", ShadowTestDev, maps, true),
};

static void shadow_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = shadow_realize;
    k->exit = shadow_exit;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = SHADOW_TESTDEV_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "Keeps the mappings of its IOMMU, for tests";
    dc->vmsd = &shadow_vmstate;
    device_class_set_props(dc, shadow_properties);
    device_class_set_legacy_reset(dc, shadow_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo shadow_info = {
    .name = TYPE_PCI_SHADOW_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(ShadowTestDev),
    .class_init = shadow_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void shadow_register_types(void)
{
    type_register_static(&shadow_info);
}

type_init(shadow_register_types)

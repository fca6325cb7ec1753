/*
 * AMD IOMMU (AMD-Vi): migration
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The registers are all state there is.  Caches start empty: what is not in
 * them is as right as what would be.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/blocker.h"
#include "migration/vmstate.h"
#include "amd_iommu_internal.h"

static int amdvi_post_load(void *opaque, int version_id)
{
    AMDVIState *s = opaque;

    amdvi_drop_caches(s);
    amdvi_decode_control(s);
    amdvi_decode_devtab(s);
    /* What the IOMMU can is what it was started with */
    if (amdvi_reg(s, AMDVI_MMIO_EXT_FEATURES) != amdvi_whole_efr(s)) {
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_amdvi_whole = {
    .name = "amd-iommu",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = amdvi_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT8_ARRAY(mmior, AMDVIState, AMDVI_MMIO_SIZE),
        VMSTATE_UINT32(inv_held, AMDVIState),
        VMSTATE_END_OF_LIST()
    }
};

/* Not for the class: whether it migrates depends on the properties */
bool amdvi_register_vmstate(AMDVIState *s, Error **errp)
{
    if (s->whole) {
        return !vmstate_register(VMSTATE_IF(s), 0, &vmstate_amdvi_whole, s);
    }
    error_setg(&s->migration_blocker,
               "amd-iommu without ats, pasid and host-ad does not migrate");
    return !migrate_add_blocker(&s->migration_blocker, errp);
}

const VMStateDescription vmstate_amdvi_pci = {
    .name = "amd-iommu-pci",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(dev, AMDVIPCIState),
        VMSTATE_END_OF_LIST()
    }
};

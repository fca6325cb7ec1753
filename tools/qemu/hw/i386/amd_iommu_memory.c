/*
 * AMD IOMMU (AMD-Vi): memory of the guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "system/dma.h"
#include "amd_iommu_internal.h"

#define AMDVI_MEMORY_ATTRS ((MemTxAttrs) { .memory = 1 })

bool amdvi_read_memory(hwaddr addr, uint64_t *val, unsigned n)
{
    unsigned i;

    if (dma_memory_read(&address_space_memory, addr, val, n * sizeof(*val),
                        AMDVI_MEMORY_ATTRS)) {
        return false;
    }
    for (i = 0; i < n; i++) {
        val[i] = le64_to_cpu(val[i]);
    }
    return true;
}

bool amdvi_write_memory(hwaddr addr, const uint64_t *val, unsigned n)
{
    uint64_t data[2];
    unsigned i;

    g_assert(n <= ARRAY_SIZE(data));
    for (i = 0; i < n; i++) {
        data[i] = cpu_to_le64(val[i]);
    }
    return !dma_memory_write(&address_space_memory, addr, data,
                             n * sizeof(*val), AMDVI_MEMORY_ATTRS);
}

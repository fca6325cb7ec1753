/*
 * AMD IOMMU (AMD-Vi): memory of the guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
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

/*
 * All flags that the IOMMU sets are in the lower half, which has to do for
 * hosts that cannot do more: what the guest writes to the upper half at the
 * same time is not undone either.
 */
static bool amdvi_exchange_entry(uint64_t *entry, uint64_t old, uint64_t flags)
{
#ifdef CONFIG_ATOMIC64
    uint64_t expected = cpu_to_le64(old);

    return qatomic_cmpxchg__nocheck(entry, expected,
                                    cpu_to_le64(old | flags)) == expected;
#else
    uint32_t *low = (uint32_t *)entry;  /* little endian, whatever the host */
    uint32_t expected = cpu_to_le32((uint32_t)old);

    return qatomic_cmpxchg(low, expected,
                           cpu_to_le32((uint32_t)(old | flags))) == expected;
#endif
}

bool amdvi_set_entry_flags(hwaddr addr, uint64_t old, uint64_t flags,
                           bool *changed)
{
    hwaddr xlat, len = sizeof(old);
    MemoryRegion *mr;
    uint64_t *entry;

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
    *changed = !amdvi_exchange_entry(entry, old, flags);
    address_space_unmap(&address_space_memory, entry, len, true, sizeof(old));
    return true;
}

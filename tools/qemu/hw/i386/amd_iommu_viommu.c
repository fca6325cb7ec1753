/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The capability, the two windows of registers, and resets.
 *
 * Inference: there are no second logs and no automatic responses here, and
 * what would be their registers is 0.  A map cannot be read by its port.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/i386/x86.h"
#include "migration/vmstate.h"
#include "system/runstate.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

#define AMDVI_GUEST_STATUS_W1C \
    (AMDVI_STATUS_EVT_OVERFLOW | AMDVI_STATUS_EVT_INT | \
     AMDVI_STATUS_WAIT_INT | AMDVI_STATUS_PPR_OVERFLOW | AMDVI_STATUS_PPR_INT)

/*
 * Page of a guest
 */

/* The pointer at that offset. Returns: NULL for another register */
static const AMDVIGuestRing *amdvi_vf_pointer(hwaddr reg, unsigned *shift,
                                              bool *by_hardware)
{
    const AMDVIGuestRing *ring;
    bool tail = reg & 8;

    switch (reg & ~8ULL) {
    case AMDVI_VF_CMD_HEAD:
        ring = &amdvi_guest_cmd;
        break;
    case AMDVI_VF_EVENT_HEAD:
        ring = &amdvi_guest_events;
        break;
    case AMDVI_VF_PPR_HEAD:
        ring = &amdvi_guest_ppr;
        break;
    default:
        return NULL;
    }
    *shift = tail ? ring->tail : ring->head;
    *by_hardware = tail != (ring == &amdvi_guest_cmd);
    return ring;
}

static uint64_t amdvi_vf_read(void *opaque, hwaddr addr, unsigned size)
{
    uint16_t gid = addr / AMDVI_VF_PAGE;
    hwaddr reg = addr & (AMDVI_VF_PAGE - 1) & ~7ULL;
    const AMDVIGuestRing *ring;
    AMDVIState *s = opaque;
    bool by_hardware;
    unsigned shift;
    uint64_t val = 0;
    AMDVIGuest g;

    if (!amdvi_viommu_on(s)) {
        return 0;
    }
    amdvi_late_over(s);
    amdvi_guest_run_lazily(s, gid);
    if (!amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return 0;
    }
    ring = amdvi_vf_pointer(reg, &shift, &by_hardware);
    if (ring) {
        val = amdvi_guest_pointer(&g, ring, shift);
    } else if (reg == AMDVI_VF_STATUS) {
        val = amdvi_guest_status(&g);
    }
    val = extract64(val, (addr & 7) * 8, size * 8);
    trace_amdvi_vf_read(gid, reg, size, val);
    return val;
}

static void amdvi_vf_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    uint16_t gid = addr / AMDVI_VF_PAGE;
    hwaddr reg = addr & (AMDVI_VF_PAGE - 1) & ~7ULL;
    uint64_t mask = MAKE_64BIT_MASK((addr & 7) * 8, size * 8), old;
    const AMDVIGuestRing *ring;
    AMDVIState *s = opaque;
    bool by_hardware;
    unsigned shift;
    AMDVIGuest g;

    trace_amdvi_vf_write(gid, reg, size, val);
    if (!amdvi_viommu_on(s) ||
        !amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return;
    }
    val = val << (addr & 7) * 8 & mask;
    ring = amdvi_vf_pointer(reg, &shift, &by_hardware);
    if (ring) {
        /* As for the host: what we move is ours while it runs */
        if (!by_hardware || !(amdvi_guest_status(&g) & ring->run)) {
            old = amdvi_guest_pointer(&g, ring, shift);
            amdvi_guest_set_pointer(&g, ring, shift, (old & ~mask) | val);
        }
    } else if (reg == AMDVI_VF_STATUS) {
        amdvi_guest_set_status(&g, val & AMDVI_GUEST_STATUS_W1C, 0);
    }
    amdvi_guest_save(&g, AMDVI_EVF_VCMD);
    if (reg == AMDVI_VF_CMD_TAIL) {
        amdvi_guest_run(s, gid);
    }
}

static const MemoryRegionOps amdvi_vf_ops = {
    .read = amdvi_vf_read,
    .write = amdvi_vf_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
};

/*
 * Slot of the host
 */

static uint64_t amdvi_cntl_writable(const AMDVIState *s, hwaddr reg)
{
    uint64_t ring = AMDVI_CNTL_LENGTH | AMDVI_CNTL_ENABLE |
                    AMDVI_CNTL_INTERRUPT;

    switch (reg) {
    case AMDVI_CNTL_MISC:
        return AMDVI_MISC_TRANSLATE;
    case AMDVI_CNTL_CMD:
    case AMDVI_CNTL_EVENT:
        return ring | AMDVI_RING_ADDR;
    case AMDVI_CNTL_PPR:
        return !s->ppr ? 0 : ring | AMDVI_RING_ADDR << 4 |
               AMDVI_CNTL_PPR_ENABLE |
               (s->ppr_block_stop ? AMDVI_CNTL_PPR_BLOCK_STOP : 0);
    default:
        return 0;
    }
}

static uint64_t amdvi_cntl_read(void *opaque, hwaddr addr, unsigned size)
{
    uint16_t gid = addr / AMDVI_VF_CNTL_SLOT;
    hwaddr reg = addr & (AMDVI_VF_CNTL_SLOT - 1);
    AMDVIState *s = opaque;
    AMDVIGuest g;

    if (!amdvi_viommu_on(s) || !amdvi_cntl_writable(s, reg) ||
        !amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return 0;
    }
    return g.word[reg / 8] & amdvi_cntl_writable(s, reg);
}

static void amdvi_cntl_ring(AMDVIGuest *g)
{
    bool was_on = g->old[AMDVI_WORD_CMD] & AMDVI_CNTL_ENABLE;

    amdvi_guest_ring_update(g, &amdvi_guest_cmd);
    amdvi_guest_ring_update(g, &amdvi_guest_events);
    amdvi_guest_ring_update(g, &amdvi_guest_ppr);
    if (was_on && !(g->word[AMDVI_WORD_CMD] & AMDVI_CNTL_ENABLE)) {
        amdvi_guest_stop(g->s, g->gid);
    }
}

static void amdvi_cntl_write(void *opaque, hwaddr addr, uint64_t val,
                             unsigned size)
{
    uint16_t gid = addr / AMDVI_VF_CNTL_SLOT;
    hwaddr reg = addr & (AMDVI_VF_CNTL_SLOT - 1);
    AMDVIState *s = opaque;
    AMDVIGuest g;

    trace_amdvi_vf_cntl_write(gid, reg, val);
    if (!amdvi_viommu_on(s)) {
        return;
    }
    if (reg == AMDVI_CNTL_DEVICE_MAP || reg == AMDVI_CNTL_DOMAIN_MAP) {
        amdvi_map_write(s, gid, reg == AMDVI_CNTL_DOMAIN_MAP, val);
        return;
    }
    if (!amdvi_cntl_writable(s, reg) ||
        !amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return;
    }
    g.word[reg / 8] = val & amdvi_cntl_writable(s, reg);
    if (reg != AMDVI_CNTL_MISC) {
        amdvi_cntl_ring(&g);
    }
    amdvi_guest_save(&g, AMDVI_EVF_VCMD);
    amdvi_guest_run(s, gid);
}

/* All drivers use 64 bits, and others are not known to work */
static const MemoryRegionOps amdvi_cntl_ops = {
    .read = amdvi_cntl_read,
    .write = amdvi_cntl_write,
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

/*
 * Hooks
 */

static void amdvi_viommu_reset(AMDVIState *s)
{
    bitmap_zero(s->vi->waits, AMDVI_GUESTS);
    amdvi_guest_held_forgotten(s);
    amdvi_late_reset(s);
}

static void amdvi_viommu_control_changed(AMDVIState *s)
{
    if (!amdvi_viommu_on(s)) {
        amdvi_late_over(s);
        amdvi_guest_stop_all(s);
    }
}

/*
 * Inference: All is whatever the guest and the host have written, vCmd is what
 * there is of commands.  The maps stay.
 */
static void amdvi_reset_guest(AMDVIState *s, const uint64_t cmd[2])
{
    bool all = cmd[0] & AMDVI_CMD_RESET_ALL;
    uint16_t gid = cmd[0];
    AMDVIGuest g;

    if (!all && !(cmd[0] & AMDVI_CMD_RESET_VCMD)) {
        return;
    }
    amdvi_guest_stop(s, gid);
    if (!amdvi_guest_load(s, gid, AMDVI_EVF_VCMD, &g)) {
        return;
    }
    if (all) {
        memset(g.word, 0, sizeof(g.word));
        amdvi_look_at_maps(s, gid);
    } else {
        g.word[AMDVI_WORD_CMD] = 0;
        amdvi_guest_set_pointer(&g, &amdvi_guest_cmd, amdvi_guest_cmd.head, 0);
        amdvi_guest_set_pointer(&g, &amdvi_guest_cmd, amdvi_guest_cmd.tail, 0);
        amdvi_guest_set_status(&g, AMDVI_STATUS_CMD_RUN |
                               AMDVI_STATUS_WAIT_INT, 0);
    }
    amdvi_guest_save(&g, AMDVI_EVF_VCMD);
}

static const AMDVIViommuOps amdvi_viommu_ops = {
    .reset = amdvi_viommu_reset,
    .control_changed = amdvi_viommu_control_changed,
    .is_on = amdvi_viommu_on,
    .reset_guest = amdvi_reset_guest,
    .completion_wait = amdvi_late_over,
    .event = amdvi_guest_event,
    .page_request = amdvi_guest_page_request,
    .invalidation_over = amdvi_guest_invalidation_over,
    .held_forgotten = amdvi_guest_held_forgotten,
};

/*
 * Set-up
 */

static void amdvi_viommu_bh(void *opaque)
{
    amdvi_guest_resume(opaque);
}

static void amdvi_viommu_vm_change(void *opaque, bool running, RunState state)
{
    AMDVIState *s = opaque;

    if (running) {
        qemu_bh_schedule(s->vi->bh);
    } else {
        amdvi_late_over(s);
    }
}

/*
 * What guests have is in memory.  Invalidations that devices withhold are not
 * among it: such devices do not migrate.
 */
static const VMStateDescription vmstate_amdvi_viommu = {
    .name = "amd-iommu-viommu",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BITMAP(waits, AMDVIViommu, 0, guests),
        VMSTATE_END_OF_LIST()
    }
};

static void amdvi_add_capability(AMDVIState *s, Error **errp)
{
    uint8_t *cap = s->pci.dev.config + AMDVI_VSC_OFFSET;

    if (pci_add_capability(&s->pci.dev, PCI_CAP_ID_VNDR, AMDVI_VSC_OFFSET,
                           AMDVI_VSC_SIZE, errp) < 0) {
        return;
    }
    cap[PCI_CAP_FLAGS] = AMDVI_VSC_SIZE;
    pci_set_quad(cap + AMDVI_VSC_VF, AMDVI_VF_BASE | AMDVI_VSC_ENABLE);
    pci_set_quad(cap + AMDVI_VSC_VF_CNTL,
                 AMDVI_VF_CNTL_BASE | AMDVI_VSC_ENABLE);
}

bool amdvi_viommu_realize(AMDVIState *s, Error **errp)
{
    X86MachineState *x86ms = X86_MACHINE(qdev_get_machine());
    AMDVIViommu *vi;
    ERRP_GUARD();

    if (x86ms->above_4g_mem_start < AMDVI_VF_CNTL_BASE + AMDVI_VF_CNTL_SIZE &&
        x86ms->above_4g_mem_start + x86ms->above_4g_mem_size > AMDVI_VF_BASE) {
        error_setg(errp, "viommu=on: the memory of the machine is where the "
                   "registers would be, at 0x%llx", AMDVI_VF_BASE);
        return false;
    }
    amdvi_add_capability(s, errp);
    if (*errp) {
        return false;
    }
    vi = g_new0(AMDVIViommu, 1);
    vi->guests = AMDVI_GUESTS;
    vi->waits = bitmap_new(AMDVI_GUESTS);
    vi->lost = bitmap_new(AMDVI_GUESTS);
    vi->bh = qemu_bh_new(amdvi_viommu_bh, s);
    QLIST_INIT(&vi->held);
    memory_region_init_io(&vi->vf, OBJECT(s), &amdvi_vf_ops, s, "amdvi-vf",
                          AMDVI_VF_SIZE);
    memory_region_init_io(&vi->vf_cntl, OBJECT(s), &amdvi_cntl_ops, s,
                          "amdvi-vf-cntl", AMDVI_VF_CNTL_SIZE);
    memory_region_add_subregion(get_system_memory(), AMDVI_VF_BASE, &vi->vf);
    memory_region_add_subregion(get_system_memory(), AMDVI_VF_CNTL_BASE,
                                &vi->vf_cntl);
    s->vi = vi;
    s->viommu_ops = &amdvi_viommu_ops;
    vi->vm_change = qemu_add_vm_change_state_handler(amdvi_viommu_vm_change,
                                                     s);
    vmstate_register(VMSTATE_IF(s), 0, &vmstate_amdvi_viommu, vi);
    return true;
}

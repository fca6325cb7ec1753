/*
 * AMD IOMMU (AMD-Vi): registers, and the interrupts that follow from them
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Software may write a register in one piece or in several; whatever it does
 * takes effect with what the whole register says then.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/i386/apic_internal.h"
#include "amd_iommu_internal.h"
#include "trace.h"

#define AMDVI_STATUS_W1C \
    (AMDVI_STATUS_EVT_OVERFLOW | AMDVI_STATUS_EVT_INT | \
     AMDVI_STATUS_WAIT_INT | AMDVI_STATUS_PPR_OVERFLOW | \
     AMDVI_STATUS_PPR_INT | AMDVI_STATUS_PPR_EARLY)

/* Where interrupts come from: each has a destination of its own */
#define AMDVI_IRQ_EVENT (1 << 0)
#define AMDVI_IRQ_PPR   (1 << 1)

uint64_t amdvi_reg(const AMDVIState *s, hwaddr addr)
{
    return ldq_le_p(&s->mmior[addr]);
}

void amdvi_set_reg(AMDVIState *s, hwaddr addr, uint64_t val)
{
    stq_le_p(&s->mmior[addr], val);
}

uint32_t amdvi_ring_size(const AMDVIState *s, hwaddr base)
{
    unsigned length = AMDVI_RING_LENGTH(amdvi_reg(s, base));

    return length < AMDVI_RING_LENGTH_MIN ? 0 : AMDVI_RING_ENTRY << length;
}

/*
 * Interrupts
 */

/* The conditions that are there and want an interrupt */
static uint64_t amdvi_irq_conditions(AMDVIState *s)
{
    uint64_t status = amdvi_reg(s, AMDVI_MMIO_STATUS);
    uint64_t enabled = 0;

    if (amdvi_control(s, AMDVI_MMIO_CONTROL_EVENTINTEN)) {
        enabled |= AMDVI_STATUS_EVT_INT | AMDVI_STATUS_EVT_OVERFLOW;
    }
    if (amdvi_control(s, AMDVI_MMIO_CONTROL_COMWAITINTEN)) {
        enabled |= AMDVI_STATUS_WAIT_INT;
    }
    if (amdvi_control(s, AMDVI_CONTROL_PPR_INT)) {
        enabled |= AMDVI_STATUS_PPR_INT | AMDVI_STATUS_PPR_OVERFLOW;
        if (amdvi_reg(s, AMDVI_MMIO_PPR_EARLY) & AMDVI_PPR_EARLY_INT) {
            enabled |= AMDVI_STATUS_PPR_EARLY;
        }
    }
    return status & enabled;
}

static void amdvi_send_xt(AMDVIState *s, hwaddr reg)
{
    uint64_t val = amdvi_reg(s, reg);
    X86IOMMUIrq irq = {
        .vector = extract64(val, 32, 8),
        .dest = extract64(val, 8, 24) | extract64(val, 56, 8) << 24,
        .dest_mode = extract64(val, 2, 1),
    };
    MSIMessage msg;

    /* Vectors below are exceptions: software has not set it up */
    if (irq.vector < 16) {
        return;
    }
    x86_iommu_irq_to_msi_message(&irq, &msg);
    apic_get_class(NULL)->send_msi(&msg);
}

static void amdvi_send_irqs(AMDVIState *s, unsigned irqs)
{
    trace_amdvi_interrupt(irqs, amdvi_reg(s, AMDVI_MMIO_STATUS));
    if (s->xtsup && amdvi_control(s, AMDVI_CONTROL_INT_CAP_XT)) {
        if (irqs & AMDVI_IRQ_EVENT) {
            amdvi_send_xt(s, AMDVI_MMIO_XT_EVENT);
        }
        if (irqs & AMDVI_IRQ_PPR) {
            amdvi_send_xt(s, AMDVI_MMIO_XT_PPR);
        }
    } else {
        /* MsiNum and MsiNumPPR are the same */
        amdvi_generate_msi_interrupt(s);
    }
}

/* A condition that was there, and was told, is not told again */
static void amdvi_update_irqs(AMDVIState *s, uint64_t old)
{
    uint64_t new = amdvi_irq_conditions(s) & ~old;
    uint64_t ppr = AMDVI_STATUS_PPR_INT | AMDVI_STATUS_PPR_OVERFLOW |
                   AMDVI_STATUS_PPR_EARLY;

    if (new) {
        amdvi_send_irqs(s, (new & ppr ? AMDVI_IRQ_PPR : 0) |
                        (new & ~ppr ? AMDVI_IRQ_EVENT : 0));
    }
}

void amdvi_change_status(AMDVIState *s, uint64_t clear, uint64_t set)
{
    uint64_t old = amdvi_irq_conditions(s);

    amdvi_set_reg(s, AMDVI_MMIO_STATUS,
                  (amdvi_reg(s, AMDVI_MMIO_STATUS) & ~clear) | set);
    amdvi_update_irqs(s, old);
}

/*
 * Registers
 */

/* What software may change */
static uint64_t amdvi_writable(const AMDVIState *s, hwaddr reg)
{
    uint64_t status = amdvi_reg(s, AMDVI_MMIO_STATUS);

    switch (reg) {
    case AMDVI_MMIO_DEVICE_TABLE:
        return AMDVI_MMIO_DEVTAB_BASE_MASK | AMDVI_MMIO_DEVTAB_SIZE_MASK;
    case AMDVI_MMIO_COMMAND_BASE:
        return status & AMDVI_STATUS_CMD_RUN ? 0 :
               AMDVI_RING_ADDR | MAKE_64BIT_MASK(56, 4);
    case AMDVI_MMIO_EVENT_BASE:
        return AMDVI_RING_ADDR | MAKE_64BIT_MASK(56, 4);
    case AMDVI_MMIO_PPR_BASE:
        return s->ppr ? AMDVI_RING_ADDR | MAKE_64BIT_MASK(56, 4) : 0;
    case AMDVI_MMIO_CONTROL:
        return (~(s->gcr3_trp ? 0 : AMDVI_CONTROL_GCR3_TRP) &
                MAKE_64BIT_MASK(0, 59)) |
               (s->gst_trp ? AMDVI_CONTROL_GST_BUFFER_TRP : 0);
    case AMDVI_MMIO_EXCL_BASE:
        return AMDVI_RING_ADDR | AMDVI_MMIO_EXCL_ENABLED_MASK |
               AMDVI_MMIO_EXCL_ALLOW_MASK;
    case AMDVI_MMIO_EXCL_LIMIT:
        return AMDVI_MMIO_EXCL_LIMIT_MASK;
    case AMDVI_MMIO_XT_EVENT:
    case AMDVI_MMIO_XT_PPR:
    case AMDVI_MMIO_XT_GA:
        return s->xtsup ? UINT64_MAX : 0;
    case AMDVI_MMIO_COMMAND_HEAD:
        return status & AMDVI_STATUS_CMD_RUN ? 0 : AMDVI_RING_POINTER;
    case AMDVI_MMIO_COMMAND_TAIL:
    case AMDVI_MMIO_EVENT_HEAD:
        return AMDVI_RING_POINTER;
    case AMDVI_MMIO_EVENT_TAIL:
        return status & AMDVI_STATUS_EVT_RUN ? 0 : AMDVI_RING_POINTER;
    case AMDVI_MMIO_PPR_HEAD:
        return s->ppr ? AMDVI_RING_POINTER : 0;
    case AMDVI_MMIO_PPR_TAIL:
        return s->ppr && !(status & AMDVI_STATUS_PPR_RUN) ?
               AMDVI_RING_POINTER : 0;
    case AMDVI_MMIO_STATUS:
        return AMDVI_STATUS_W1C;
    case AMDVI_MMIO_PPR_AUTO:
        return s->ppr_autoresp ? AMDVI_PPR_AUTO_CODE | AMDVI_PPR_AUTO_MASK_GN
                               : 0;
    case AMDVI_MMIO_PPR_EARLY:
        return s->ppr_early ? AMDVI_PPR_EARLY_THRESHOLD |
               AMDVI_PPR_EARLY_INT | AMDVI_PPR_EARLY_ENABLE : 0;
    default:
        return 0;
    }
}

void amdvi_decode_control(AMDVIState *s)
{
    s->enabled = amdvi_control(s, AMDVI_MMIO_CONTROL_AMDVIEN);
    s->ga_enabled = amdvi_control(s, AMDVI_MMIO_CONTROL_GAEN);
}

void amdvi_decode_devtab(AMDVIState *s)
{
    uint64_t table = amdvi_reg(s, AMDVI_MMIO_DEVICE_TABLE);

    s->devtab = table & AMDVI_MMIO_DEVTAB_BASE_MASK;
    s->devtab_len = ((table & AMDVI_MMIO_DEVTAB_SIZE_MASK) + 1) *
                    (AMDVI_MMIO_DEVTAB_SIZE_UNIT /
                     AMDVI_MMIO_DEVTAB_ENTRY_SIZE);
}

static void amdvi_update_control(AMDVIState *s, uint64_t old)
{
    uint64_t run = AMDVI_MMIO_CONTROL_AMDVIEN | AMDVI_MMIO_CONTROL_CMDBUFLEN;
    uint64_t now = amdvi_reg(s, AMDVI_MMIO_CONTROL);

    amdvi_decode_control(s);
    trace_amdvi_control_status(now);

    amdvi_log_update(s, &amdvi_event_log, old);
    if (s->ppr) {
        amdvi_log_update(s, &amdvi_ppr_log, old);
    }
    if ((now & run) != run) {
        /* Whatever it waited for */
        amdvi_forget_held(s);
        amdvi_change_status(s, AMDVI_STATUS_CMD_RUN, 0);
    } else if ((old & run) != run &&
               amdvi_ring_size(s, AMDVI_MMIO_COMMAND_BASE)) {
        amdvi_change_status(s, 0, AMDVI_STATUS_CMD_RUN);
    }
    if (s->viommu_ops) {
        s->viommu_ops->control_changed(s);
    }
    amdvi_run_commands(s);
}

/* A write to the register has changed it from @old to what it says now */
static void amdvi_reg_written(AMDVIState *s, hwaddr reg, uint64_t old)
{
    switch (reg) {
    case AMDVI_MMIO_DEVICE_TABLE:
        amdvi_decode_devtab(s);
        break;
    case AMDVI_MMIO_COMMAND_BASE:
        amdvi_set_reg(s, AMDVI_MMIO_COMMAND_HEAD, 0);
        amdvi_set_reg(s, AMDVI_MMIO_COMMAND_TAIL, 0);
        break;
    case AMDVI_MMIO_EVENT_BASE:
        amdvi_set_reg(s, AMDVI_MMIO_EVENT_HEAD, 0);
        amdvi_set_reg(s, AMDVI_MMIO_EVENT_TAIL, 0);
        break;
    case AMDVI_MMIO_PPR_BASE:
        amdvi_set_reg(s, AMDVI_MMIO_PPR_HEAD, 0);
        amdvi_set_reg(s, AMDVI_MMIO_PPR_TAIL, 0);
        break;
    case AMDVI_MMIO_CONTROL:
        amdvi_update_control(s, old);
        break;
    case AMDVI_MMIO_COMMAND_TAIL:
        amdvi_run_commands(s);
        break;
    }
}

void amdvi_whole_mmio_write(AMDVIState *s, hwaddr addr, uint64_t val,
                            unsigned size)
{
    hwaddr reg = addr & ~7ULL;
    unsigned shift = (addr & 7) * 8;
    uint64_t mask = MAKE_64BIT_MASK(shift, size * 8) & amdvi_writable(s, reg);
    uint64_t old = amdvi_reg(s, reg), irqs = amdvi_irq_conditions(s);

    trace_amdvi_whole_write(addr, size, val);
    if (reg == AMDVI_MMIO_STATUS) {
        amdvi_set_reg(s, reg, old & ~(val << shift & mask));
    } else if (mask) {
        amdvi_set_reg(s, reg, (old & ~mask) | (val << shift & mask));
        amdvi_reg_written(s, reg, old);
    }
    /* It may have enabled the interrupt of what there was already */
    amdvi_update_irqs(s, irqs);
}

uint64_t amdvi_whole_mmio_read(AMDVIState *s, hwaddr addr, unsigned size)
{
    uint64_t val;

    amdvi_run_lazily(s);
    val = extract64(amdvi_reg(s, addr & ~7ULL), (addr & 7) * 8, size * 8);
    trace_amdvi_whole_read(addr, size, val);
    return val;
}

void amdvi_whole_reset(AMDVIState *s)
{
    amdvi_drop_caches(s);
    amdvi_forget_held(s);
    if (s->viommu_ops) {
        s->viommu_ops->reset(s);
    }
    amdvi_set_reg(s, AMDVI_MMIO_STATUS, 0);
    amdvi_set_reg(s, AMDVI_MMIO_EXT_FEATURES, amdvi_whole_efr(s));
    amdvi_set_reg(s, AMDVI_MMIO_EFR2, amdvi_extended_feature_register2(s));
    amdvi_set_reg(s, AMDVI_MMIO_COMMAND_BASE,
                  (uint64_t)AMDVI_RING_LENGTH_MIN << 56);
    amdvi_set_reg(s, AMDVI_MMIO_EVENT_BASE,
                  (uint64_t)AMDVI_RING_LENGTH_MIN << 56);
    if (s->ppr) {
        amdvi_set_reg(s, AMDVI_MMIO_PPR_BASE,
                      (uint64_t)AMDVI_RING_LENGTH_MIN << 56);
    }
}

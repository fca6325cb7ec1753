/*
 * PCIe I/O page fault test endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A DMA engine with an address translation cache that asks the IOMMU for what
 * it lacks: translations (ATS) and pages (PRI), with and without PASID.  It
 * works with any IOMMU model that implements the PCIIOMMUOps for these, and
 * shows a device model how to use them.  See docs/specs/iopf-testdev.rst.
 *
 * This file: PCI function, registers, logs, interrupts and the bottom half
 * that does all the work.
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "trace.h"
#include "iopf-testdev.h"

/* Micro-steps per run of the bottom half, so that others get their turn */
#define IOPF_BATCH      256

#define IOPF_RAM_MIN    (512 * KiB)
#define IOPF_RAM_MAX    (256 * MiB)

/*
 * Bottom half
 */

static bool iopf_may_step(IOPFTestDev *s)
{
    return !s->dying && !iopf_asleep(s) &&
           (!(s->ctrl & IOPF_TD_CTRL_STEP) || s->step);
}

static void iopf_run(IOPFTestDev *s)
{
    unsigned used = 0;

    while (used < IOPF_BATCH && iopf_may_step(s)) {
        unsigned cost = iopf_engine_step(s);

        if (!cost) {
            /* Steps do not wait for something to do */
            s->step = 0;
            return;
        }
        used += cost;
        if (s->ctrl & IOPF_TD_CTRL_STEP && s->step) {
            s->step--;
        }
    }
}

static void iopf_signal(IOPFTestDev *s)
{
    while (s->irq_pending && !s->dying && !iopf_asleep(s)) {
        unsigned vector = ctz32(s->irq_pending);

        s->irq_pending &= s->irq_pending - 1;
        msix_notify(PCI_DEVICE(s), vector);
    }
}

static void iopf_expire(IOPFTestDev *s)
{
    int64_t now = iopf_now();
    int64_t next;

    next = iopf_engine_expire(s, now);
    next = MIN(next, iopf_groups_expire(s, now));
    if (next == INT64_MAX) {
        timer_del(s->timer);
    } else {
        timer_mod(s->timer, next);
    }
}

static void iopf_bh(void *opaque)
{
    IOPFTestDev *s = opaque;

    /* A DMA can reach a register that unplugs the device */
    object_ref(OBJECT(s));
    iopf_expire(s);
    iopf_run(s);
    if (!s->dying) {
        /* Waits may have begun */
        iopf_expire(s);
        if (iopf_may_step(s) && iopf_engine_runnable(s)) {
            iopf_kick(s);
        }
        iopf_signal(s);
    }
    object_unref(OBJECT(s));
}

static void iopf_timer(void *opaque)
{
    iopf_kick(opaque);
}

/*
 * Reset
 */

static void iopf_reset_registers(IOPFTestDev *s)
{
    s->ctrl = 0;
    s->step = 0;
    s->irq_cause = 0;
    s->irq_enable = 0;
    s->irq_pending = 0;
    s->ring_log2 = 0;
    s->ring_head = 0;
    s->ring_tail = 0;
    s->ring_done = 0;
    s->max_contexts = 1;
    s->error_stop = false;
    s->atc_ctrl = IOPF_TD_ATC_CTRL_ENABLE;
    s->atc_pasid = IOPF_TD_NO_PASID;
    s->atc_addr = 0;
    s->atc_result = 0;
    s->pri_ctrl = IOPF_TD_PRI_CTRL_ASK;
    s->pri_group_max = IOPF_TD_GROUP_PAGES_MAX;
    s->pri_prgi = 0;
    s->pri_timeout_ms = 0;
    s->pri_retry = 3;
    s->pri_full_retry = 1000;
    s->pri_full_pause_us = 1000;
    s->hostile = 0;
    memset(&s->storm, 0, sizeof(s->storm));
    s->storm.stride = IOPF_PAGE_SIZE;
    s->storm.group_size = 1;
    s->storm.group_none = true;
    iopf_pf(s)->credit_seq++;
}

/* Invalidations whose completion was withheld are lost, later ones work */
static void iopf_give_up_completions(IOPFTestDev *s)
{
    pci_ats_set_completions(PCI_DEVICE(s), PCI_ATS_INV_FAILED);
    pci_ats_set_completions(PCI_DEVICE(s), PCI_ATS_INV_DONE);
}

static void iopf_clear_statistics(IOPFTestDev *s)
{
    memset(s->counters, 0, sizeof(s->counters));
    s->atc_base = *atc_get_stats(s->atc);
    s->atc_invalidations = 0;
    s->invlog_head = 0;
    s->rsplog_head = 0;
    memset(s->ram_ptr + IOPF_TD_RAM_INVLOG, 0,
           IOPF_TD_RAM_DATA - IOPF_TD_RAM_INVLOG);
}

/* What is outstanding stays so: the IOMMU does not know about this reset */
static void iopf_soft_reset(IOPFTestDev *s)
{
    iopf_groups_abandon(s, true, 0);
    iopf_engine_reset(s);
    iopf_reset_registers(s);
    iopf_give_up_completions(s);
    iopf_atc_flush(s);
    iopf_clear_statistics(s);
    iopf_kick(s);
}

/* Function level reset and all above it */
static void iopf_device_reset(DeviceState *dev)
{
    IOPFTestDev *s = IOPF_TESTDEV(dev);

    iopf_give_up_completions(s);
    iopf_engine_reset(s);
    iopf_reset_registers(s);
    iopf_groups_drop_all(s);
    if (!pci_is_vf(PCI_DEVICE(s))) {
        s->pri_failed = false;
    }
    iopf_pasids_forget(s, true);
    pcie_ats_pasid_pri_reset(PCI_DEVICE(s));
    if (s->aer) {
        pcie_cap_deverr_reset(PCI_DEVICE(s));
    }
    iopf_clear_statistics(s);
    memset(s->ram_ptr + IOPF_TD_RAM_RING, 0,
           IOPF_TD_RAM_INVLOG - IOPF_TD_RAM_RING);
    timer_del(s->timer);
}

/*
 * Registers
 */

static void iopf_set_completions(IOPFTestDev *s)
{
    PCIATSInvResult mode = PCI_ATS_INV_DONE;

    if (s->hostile & IOPF_TD_HOSTILE_REFUSE_INV) {
        mode = PCI_ATS_INV_FAILED;
    } else if (s->hostile & IOPF_TD_HOSTILE_HOLD_INV) {
        mode = PCI_ATS_INV_HELD;
    }
    pci_ats_set_completions(PCI_DEVICE(s), mode);
}

static uint32_t iopf_read_caps(IOPFTestDev *s)
{
    uint32_t caps = 0;

    caps |= s->ats ? IOPF_TD_CAPS_ATS : 0;
    caps |= s->pri ? IOPF_TD_CAPS_PRI : 0;
    caps |= s->pasid_width ? IOPF_TD_CAPS_PASID : 0;
    caps |= s->rsp_pasid ? IOPF_TD_CAPS_RSP_PASID : 0;
    caps |= pci_is_vf(PCI_DEVICE(s)) ? IOPF_TD_CAPS_VF : 0;
    caps |= s->stall ? IOPF_TD_CAPS_STALL : 0;
    caps |= s->pasid_width << IOPF_TD_CAPS_PASID_WIDTH_SHIFT;
    caps |= s->atc_entries << IOPF_TD_CAPS_ATC_ENTRIES_SHIFT;
    return caps;
}

static uint32_t iopf_read_live(IOPFTestDev *s)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    uint32_t live = 0, alloc;

    live |= pci_is_master(pci_dev) ? IOPF_TD_LIVE_BUS_MASTER : 0;
    if (s->ats) {
        live |= pcie_ats_enabled(pci_dev) ? IOPF_TD_LIVE_ATS : 0;
        live |= (ctz64(pcie_ats_get_stu(pci_dev)) - PCI_ATS_MIN_STU)
                << IOPF_TD_LIVE_STU_SHIFT;
    }
    if (s->pri) {
        live |= pcie_pri_enabled(pci_dev) ? IOPF_TD_LIVE_PRI : 0;
        alloc = MIN(pcie_pri_get_req_alloc(pci_dev), s->pri_capacity);
        live |= MIN(alloc, UINT16_MAX) << IOPF_TD_LIVE_ALLOC_SHIFT;
    }
    if (s->pasid_width) {
        live |= pcie_pasid_enabled(pci_dev) ? IOPF_TD_LIVE_PASID : 0;
        live |= pcie_pasid_exec_enabled(pci_dev) ? IOPF_TD_LIVE_PASID_EXEC : 0;
        live |= pcie_pasid_priv_enabled(pci_dev) ? IOPF_TD_LIVE_PASID_PRIV : 0;
    }
    return live;
}

static uint32_t iopf_read_status(IOPFTestDev *s)
{
    uint32_t status = iopf_engine_status(s);

    status |= s->error_stop ? IOPF_TD_STATUS_ERROR_STOP : 0;
    status |= s->storm.active ? IOPF_TD_STATUS_STORM : 0;
    status |= iopf_pf(s)->pri_failed ? IOPF_TD_STATUS_PRI_FAILED : 0;
    return status;
}

static uint32_t iopf_read_atc(IOPFTestDev *s, hwaddr addr)
{
    const ATCStats *stats = atc_get_stats(s->atc);

    switch (addr) {
    case IOPF_TD_REG_ATC_CTRL:
        return s->atc_ctrl;
    case IOPF_TD_REG_ATC_PASID:
        return s->atc_pasid;
    case IOPF_TD_REG_ATC_ADDR:
        return s->atc_addr;
    case IOPF_TD_REG_ATC_ADDR + 4:
        return s->atc_addr >> 32;
    case IOPF_TD_REG_ATC_RESULT:
        return s->atc_result;
    case IOPF_TD_REG_ATC_RESULT + 4:
        return s->atc_result >> 32;
    case IOPF_TD_REG_ATC_HITS:
        return stats->hits - s->atc_base.hits;
    case IOPF_TD_REG_ATC_MISSES:
        return stats->misses - s->atc_base.misses;
    case IOPF_TD_REG_ATC_EVICTIONS:
        return stats->evictions - s->atc_base.evictions;
    case IOPF_TD_REG_ATC_INVALIDATIONS:
        return s->atc_invalidations;
    case IOPF_TD_REG_ATC_COUNT:
        return atc_count(s->atc);
    default:
        return 0;
    }
}

static uint32_t iopf_read_pri(IOPFTestDev *s, hwaddr addr)
{
    switch (addr) {
    case IOPF_TD_REG_PRI_CTRL:
        return s->pri_ctrl;
    case IOPF_TD_REG_PRI_GROUP_MAX:
        return s->pri_group_max;
    case IOPF_TD_REG_PRI_PRGI:
        return s->pri_prgi;
    case IOPF_TD_REG_PRI_OUTSTANDING:
        return iopf_groups_requests(s);
    case IOPF_TD_REG_PRI_TIMEOUT_MS:
        return s->pri_timeout_ms;
    case IOPF_TD_REG_PRI_RETRY:
        return s->pri_retry;
    case IOPF_TD_REG_PRI_FULL_RETRY:
        return s->pri_full_retry;
    case IOPF_TD_REG_PRI_FULL_PAUSE_US:
        return s->pri_full_pause_us;
    case IOPF_TD_REG_PRI_GROUPS:
        return s->nr_groups[IOPF_GROUP_SENT];
    case IOPF_TD_REG_PRI_PARTIAL:
        return s->nr_groups[IOPF_GROUP_OPEN];
    case IOPF_TD_REG_PRI_STALE:
        return s->nr_groups[IOPF_GROUP_STALE];
    default:
        return 0;
    }
}

static uint32_t iopf_read_storm(IOPFTestDev *s, hwaddr addr)
{
    switch (addr) {
    case IOPF_TD_REG_STORM_ADDR:
        return s->storm.addr;
    case IOPF_TD_REG_STORM_ADDR + 4:
        return s->storm.addr >> 32;
    case IOPF_TD_REG_STORM_STRIDE:
        return s->storm.stride;
    case IOPF_TD_REG_STORM_COUNT:
        return s->storm.count;
    case IOPF_TD_REG_STORM_FLAGS:
        return s->storm.flags;
    case IOPF_TD_REG_STORM_PASID:
        return s->storm.pasid;
    case IOPF_TD_REG_STORM_GROUP:
        return s->storm.group_size;
    case IOPF_TD_REG_STORM_SENT:
        return s->storm.sent;
    case IOPF_TD_REG_STORM_FULL:
        return s->storm.full;
    case IOPF_TD_REG_STORM_OTHER:
        return s->storm.other;
    case IOPF_TD_REG_STORM_DROPPED:
        return s->storm.dropped;
    case IOPF_TD_REG_STORM_GROUPS:
        return s->storm.groups;
    case IOPF_TD_REG_STORM_RESPONSES:
        return s->storm.responses;
    case IOPF_TD_REG_STORM_RET:
        return s->storm.ret;
    default:
        return 0;
    }
}

static uint32_t iopf_read_engine(IOPFTestDev *s, hwaddr addr)
{
    switch (addr) {
    case IOPF_TD_REG_ID:
        return IOPF_TD_ID;
    case IOPF_TD_REG_VERSION:
        return IOPF_TD_VERSION;
    case IOPF_TD_REG_CAPS:
        return iopf_read_caps(s);
    case IOPF_TD_REG_LIVE:
        return iopf_read_live(s);
    case IOPF_TD_REG_CTRL:
        return s->ctrl;
    case IOPF_TD_REG_STATUS:
        return iopf_read_status(s);
    case IOPF_TD_REG_STEP:
        return s->step;
    case IOPF_TD_REG_IRQ_CAUSE:
        return s->irq_cause;
    case IOPF_TD_REG_IRQ_ENABLE:
        return s->irq_enable;
    case IOPF_TD_REG_RING_LOG2:
        return s->ring_log2;
    case IOPF_TD_REG_RING_HEAD:
        return s->ring_head;
    case IOPF_TD_REG_RING_TAIL:
        return s->ring_tail;
    case IOPF_TD_REG_RING_DONE:
        return s->ring_done;
    case IOPF_TD_REG_CONTEXTS:
        return s->max_contexts;
    default:
        return 0;
    }
}

static uint64_t iopf_regs_read(void *opaque, hwaddr addr, unsigned size)
{
    IOPFTestDev *s = opaque;
    uint32_t val;

    switch (addr) {
    case 0 ... IOPF_TD_REG_ATC_CTRL - 1:
        val = iopf_read_engine(s, addr);
        break;
    case IOPF_TD_REG_ATC_CTRL ... IOPF_TD_REG_PRI_CTRL - 1:
        val = iopf_read_atc(s, addr);
        break;
    case IOPF_TD_REG_PRI_CTRL ... IOPF_TD_REG_STORM_ADDR - 1:
    case IOPF_TD_REG_PRI_GROUPS ... IOPF_TD_REG_PRI_STALE:
        val = iopf_read_pri(s, addr);
        break;
    case IOPF_TD_REG_STORM_ADDR ... IOPF_TD_REG_PRI_GROUPS - 1:
    case IOPF_TD_REG_STORM_GROUP ... IOPF_TD_REG_STORM_RET:
        val = iopf_read_storm(s, addr);
        break;
    case IOPF_TD_REG_HOSTILE:
        val = s->hostile;
        break;
    case IOPF_TD_REG_COUNTERS ... IOPF_TD_REG_COUNTERS_END - 1:
        val = s->counters[(addr - IOPF_TD_REG_COUNTERS) / 4];
        break;
    case IOPF_TD_REG_INVLOG_HEAD:
        val = s->invlog_head;
        break;
    case IOPF_TD_REG_RSPLOG_HEAD:
        val = s->rsplog_head;
        break;
    default:
        val = 0;
    }
    trace_iopf_testdev_reg_read(addr, val);
    return val;
}

static void iopf_command(IOPFTestDev *s, uint32_t command)
{
    switch (command) {
    case IOPF_TD_CMD_RESET:
        iopf_soft_reset(s);
        break;
    case IOPF_TD_CMD_ABORT:
        iopf_storm_end(s);
        iopf_groups_abandon(s, true, 0);
        iopf_engine_abort(s);
        break;
    case IOPF_TD_CMD_EXPIRE:
        iopf_expire_all(s);
        break;
    case IOPF_TD_CMD_FLUSH_HELD:
        iopf_engine_release(s);
        break;
    case IOPF_TD_CMD_CLEAR:
        iopf_clear_statistics(s);
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "%s: unknown command %" PRIu32 "\n",
                      TYPE_IOPF_TESTDEV, command);
    }
}

static void iopf_write_ring(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case IOPF_TD_REG_RING_LOG2:
        if (val > IOPF_TD_RING_LOG2_MAX) {
            qemu_log_mask(LOG_GUEST_ERROR, "%s: ring too large\n",
                          TYPE_IOPF_TESTDEV);
            return;
        }
        s->ring_log2 = val;
        s->ring_head = 0;
        s->ring_tail = 0;
        break;
    case IOPF_TD_REG_RING_TAIL:
        s->ring_tail = val & ((1u << s->ring_log2) - 1);
        break;
    case IOPF_TD_REG_CONTEXTS:
        s->max_contexts = MIN(MAX(val, 1), IOPF_TD_CONTEXTS_MAX);
        break;
    }
}

static void iopf_write_irq(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    uint32_t fresh;

    switch (addr) {
    case IOPF_TD_REG_IRQ_CAUSE:
        s->irq_cause &= ~val;
        break;
    case IOPF_TD_REG_IRQ_ENABLE:
        fresh = val & ~s->irq_enable & s->irq_cause;
        s->irq_enable = val & IOPF_TD_IRQ_ALL;
        s->irq_pending = (s->irq_pending | fresh) & s->irq_enable;
        break;
    case IOPF_TD_REG_IRQ_TEST:
        iopf_raise(s, val & IOPF_TD_IRQ_ALL);
        break;
    }
}

static void iopf_write_engine(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case IOPF_TD_REG_CTRL:
        if (!(s->ctrl & IOPF_TD_CTRL_RUN)) {
            s->error_stop = false;
        }
        s->ctrl = val & (IOPF_TD_CTRL_RUN | IOPF_TD_CTRL_STEP |
                         IOPF_TD_CTRL_STOP_ON_ERROR);
        break;
    case IOPF_TD_REG_COMMAND:
        iopf_command(s, val);
        break;
    case IOPF_TD_REG_STEP:
        s->step = val;
        break;
    case IOPF_TD_REG_IRQ_CAUSE:
    case IOPF_TD_REG_IRQ_ENABLE:
    case IOPF_TD_REG_IRQ_TEST:
        iopf_write_irq(s, addr, val);
        break;
    default:
        iopf_write_ring(s, addr, val);
    }
}

static void iopf_write_atc(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case IOPF_TD_REG_ATC_CTRL:
        s->atc_ctrl = val & (IOPF_TD_ATC_CTRL_ENABLE |
                             IOPF_TD_ATC_CTRL_NO_REASK);
        break;
    case IOPF_TD_REG_ATC_CMD:
        if (val == IOPF_TD_ATC_CMD_FLUSH) {
            iopf_atc_flush(s);
        } else if (val == IOPF_TD_ATC_CMD_PROBE) {
            iopf_atc_probe(s);
        }
        break;
    case IOPF_TD_REG_ATC_PASID:
        s->atc_pasid = val;
        break;
    case IOPF_TD_REG_ATC_ADDR:
        s->atc_addr = deposit64(s->atc_addr, 0, 32, val);
        break;
    case IOPF_TD_REG_ATC_ADDR + 4:
        s->atc_addr = deposit64(s->atc_addr, 32, 32, val);
        break;
    }
}

static void iopf_write_pri(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case IOPF_TD_REG_PRI_CTRL:
        s->pri_ctrl = val & (IOPF_TD_PRI_CTRL_ASK | IOPF_TD_PRI_CTRL_HOLD |
                             IOPF_TD_PRI_CTRL_GROUP |
                             IOPF_TD_PRI_CTRL_ALWAYS |
                             IOPF_TD_PRI_CTRL_WRITE_ONLY |
                             IOPF_TD_PRI_CTRL_NO_CREDIT_WAIT);
        iopf_credits_changed(s);
        break;
    case IOPF_TD_REG_PRI_GROUP_MAX:
        s->pri_group_max = MIN(MAX(val, 1), IOPF_TD_GROUP_PAGES_MAX);
        break;
    case IOPF_TD_REG_PRI_PRGI:
        s->pri_prgi = val & PCI_PRI_PRGI_MASK;
        break;
    case IOPF_TD_REG_PRI_TIMEOUT_MS:
        s->pri_timeout_ms = val;
        break;
    case IOPF_TD_REG_PRI_RETRY:
        s->pri_retry = MIN(MAX(val, 1), UINT16_MAX);
        break;
    case IOPF_TD_REG_PRI_FULL_RETRY:
        s->pri_full_retry = MIN(val, UINT16_MAX);
        break;
    case IOPF_TD_REG_PRI_FULL_PAUSE_US:
        s->pri_full_pause_us = MIN(val, 1000000);
        break;
    }
}

static void iopf_write_storm(IOPFTestDev *s, hwaddr addr, uint32_t val)
{
    /* A storm under way is not to be changed */
    if (s->storm.active) {
        return;
    }
    switch (addr) {
    case IOPF_TD_REG_STORM_ADDR:
        s->storm.addr = deposit64(s->storm.addr, 0, 32, val);
        break;
    case IOPF_TD_REG_STORM_ADDR + 4:
        s->storm.addr = deposit64(s->storm.addr, 32, 32, val);
        break;
    case IOPF_TD_REG_STORM_STRIDE:
        s->storm.stride = val;
        break;
    case IOPF_TD_REG_STORM_COUNT:
        s->storm.count = val;
        break;
    case IOPF_TD_REG_STORM_FLAGS:
        s->storm.flags = val & IOPF_TD_STORM_F_ALL;
        break;
    case IOPF_TD_REG_STORM_PASID:
        s->storm.pasid = val;
        break;
    case IOPF_TD_REG_STORM_GROUP:
        s->storm.group_size = val;
        break;
    case IOPF_TD_REG_STORM_GO:
        iopf_storm_start(s);
        break;
    }
}

static void iopf_regs_write(void *opaque, hwaddr addr, uint64_t val,
                            unsigned size)
{
    IOPFTestDev *s = opaque;

    trace_iopf_testdev_reg_write(addr, val);
    switch (addr) {
    case 0 ... IOPF_TD_REG_ATC_CTRL - 1:
        iopf_write_engine(s, addr, val);
        break;
    case IOPF_TD_REG_ATC_CTRL ... IOPF_TD_REG_PRI_CTRL - 1:
        iopf_write_atc(s, addr, val);
        break;
    case IOPF_TD_REG_PRI_CTRL ... IOPF_TD_REG_STORM_ADDR - 1:
        iopf_write_pri(s, addr, val);
        break;
    case IOPF_TD_REG_STORM_ADDR ... IOPF_TD_REG_STORM_RET:
        iopf_write_storm(s, addr, val);
        break;
    case IOPF_TD_REG_ERROR:
        iopf_report_error(s, val);
        break;
    case IOPF_TD_REG_HOSTILE:
        s->hostile = val & IOPF_TD_HOSTILE_ALL;
        iopf_set_completions(s);
        iopf_credits_changed(s);
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      "%s: write to unknown register 0x%" HWADDR_PRIx "\n",
                      TYPE_IOPF_TESTDEV, addr);
    }
    iopf_kick(s);
}

static const MemoryRegionOps iopf_regs_ops = {
    .read = iopf_regs_read,
    .write = iopf_regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 4,
    },
};

/*
 * Configuration space
 */

static void iopf_pri_forget(PCIDevice *pci_dev)
{
    IOPFTestDev *s = IOPF_TESTDEV(pci_dev), *f;
    unsigned n;

    s->pri_failed = false;
    for (n = 0; (f = iopf_function(s, n)); n++) {
        iopf_groups_drop_all(f);
    }
}

/* What was enabled in the PF, for every function */
static void iopf_shared_config_changed(IOPFTestDev *s, bool pri, bool pasid)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    IOPFTestDev *f;
    unsigned n;

    if (!pri && pcie_pri_enabled(pci_dev)) {
        iopf_pf(s)->pri_failed = false;
    }
    for (n = 0; (f = iopf_function(s, n)); n++) {
        if (pri && !pcie_pri_enabled(pci_dev)) {
            iopf_groups_drop_open(f);
        }
        if (pasid && !pcie_pasid_enabled(pci_dev)) {
            iopf_pasids_forget(f, false);
            iopf_groups_drop_pasids(f);
        }
    }
}

static void iopf_config_changed(IOPFTestDev *s, bool ats, bool pri,
                                bool pasid)
{
    if (ats && !pcie_ats_enabled(PCI_DEVICE(s)) &&
        !(s->hostile & IOPF_TD_HOSTILE_KEEP_ATC)) {
        iopf_atc_flush(s);
    }
    if (!ats && pcie_ats_enabled(PCI_DEVICE(s)) &&
        (s->hostile & IOPF_TD_HOSTILE_ASK_EARLY)) {
        iopf_translate(s, PCI_NO_PASID, false, false, 0, 1, false);
    }
    iopf_shared_config_changed(s, pri, pasid);
    iopf_credits_changed(s);
}

/* Would the write disable ATS? */
static bool iopf_config_ends_ats(PCIDevice *pci_dev, uint32_t addr,
                                 uint32_t val, int len)
{
    /* Its bit is in the upper byte */
    uint32_t enable = pci_dev->exp.ats_cap + PCI_ATS_CTRL + 1;

    return pcie_ats_enabled(pci_dev) && addr <= enable && enable < addr + len &&
           !(val >> 8 * (enable - addr) & PCI_ATS_CTRL_ENABLE >> 8);
}

static void iopf_config_write(PCIDevice *pci_dev, uint32_t addr, uint32_t val,
                              int len)
{
    IOPFTestDev *s = IOPF_TESTDEV(pci_dev);
    bool ats = pcie_ats_enabled(pci_dev);
    bool pri = pcie_pri_enabled(pci_dev);
    bool pasid = pcie_pasid_enabled(pci_dev);
    bool asleep = iopf_asleep(s);

    if ((s->hostile & IOPF_TD_HOSTILE_ASK_LATE) &&
        iopf_config_ends_ats(pci_dev, addr, val, len)) {
        iopf_translate(s, PCI_NO_PASID, false, false, 0, 1, false);
    }
    pci_default_write_config(pci_dev, addr, val, len);
    if (s->aer) {
        pcie_aer_write_config(pci_dev, addr, val, len);
    }
    iopf_config_changed(s, ats, pri, pasid);
    if (s->flr) {
        pcie_cap_flr_write_config(pci_dev, addr, val, len);
    }
    iopf_power_changed(s, asleep);
}

static bool iopf_check_properties(IOPFTestDev *s, Error **errp)
{
    if (s->pri && !s->ats) {
        error_setg(errp, "'pri' requires 'ats'");
        return false;
    }
    if (s->pasid_width > PCI_EXT_CAP_PASID_MAX_WIDTH) {
        error_setg(errp, "'pasid' must be at most %d",
                   PCI_EXT_CAP_PASID_MAX_WIDTH);
        return false;
    }
    if (s->inv_queue_depth > 31) {
        error_setg(errp, "'inv-queue-depth' must be at most 31 (0 is 32)");
        return false;
    }
    if (!s->pri_capacity) {
        error_setg(errp, "'pri-capacity' must not be 0");
        return false;
    }
    if (!s->atc_entries || s->atc_entries > UINT16_MAX) {
        error_setg(errp, "'atc-entries' must be within 1 and 65535");
        return false;
    }
    if (!is_power_of_2(s->ram_size) || s->ram_size < IOPF_RAM_MIN ||
        s->ram_size > IOPF_RAM_MAX) {
        error_setg(errp, "'ram-size' must be a power of two within 512 KiB "
                   "and 256 MiB");
        return false;
    }
    if (s->no_soft_reset && !s->pm) {
        error_setg(errp, "'no-soft-reset' requires 'pm'");
        return false;
    }
    if (s->sriov_vfs > IOPF_TD_VFS_MAX) {
        error_setg(errp, "'sriov-vfs' must be at most %d", IOPF_TD_VFS_MAX);
        return false;
    }
    return true;
}

/* Of a PF; a VF uses them, too.  Returns: offset of what comes next */
static uint16_t iopf_add_shared_capabilities(IOPFTestDev *s, uint16_t offset)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);

    if (s->pri) {
        pcie_pri_init(pci_dev, offset, s->pri_capacity, s->rsp_pasid);
        pcie_pri_set_forget_handler(pci_dev, iopf_pri_forget);
        offset += PCI_EXT_CAP_PRI_SIZEOF;
    }
    if (s->pasid_width) {
        pcie_pasid_init(pci_dev, offset, s->pasid_width, true, true);
        offset += PCI_EXT_CAP_PASID_SIZEOF;
    }
    return offset;
}

/* Returns: offset of what comes next, 0 on failure */
static uint16_t iopf_add_capabilities(IOPFTestDev *s, Error **errp)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    uint16_t offset = PCI_CONFIG_SPACE_SIZE;

    if (pcie_endpoint_cap_init(pci_dev, 0) < 0) {
        error_setg(errp, "failed to add the PCI Express capability");
        return 0;
    }
    if (s->flr) {
        pcie_cap_flr_init(pci_dev);
    }
    if (s->pm && !iopf_pm_init(s, errp)) {
        return 0;
    }
    /* The first extended capability has to be at the beginning */
    if (s->aer) {
        if (pcie_aer_init(pci_dev, PCI_ERR_VER, offset, PCI_ERR_SIZEOF,
                          errp) < 0) {
            return 0;
        }
        pcie_cap_deverr_init(pci_dev);
        offset += PCI_ERR_SIZEOF;
    }
    if (s->ats) {
        pcie_ats_init(pci_dev, offset, s->page_aligned);
        pci_word_test_and_set_mask(pci_dev->config + offset + PCI_ATS_CAP,
                                   PCI_ATS_CAP_QDEP(s->inv_queue_depth));
        if (s->global_inv) {
            pcie_ats_set_global_invalidate(pci_dev);
        }
        offset += PCI_EXT_CAP_ATS_SIZEOF;
    }
    return pci_is_vf(pci_dev) ? offset
                              : iopf_add_shared_capabilities(s, offset);
}

/* The cache fits any IOMMU; one that is known to be there says how wide */
static ATC *iopf_create_atc(IOPFTestDev *s)
{
    uint8_t addr_width;
    uint32_t page_size;
    ATC *atc = NULL;

    if (pci_iommu_get_iotlb_info(PCI_DEVICE(s), &addr_width, &page_size)) {
        addr_width = 57;
        page_size = IOPF_PAGE_SIZE;
    }
    /* The next full number of levels */
    while (!atc && addr_width <= 64) {
        atc = atc_new(page_size, addr_width++, s->atc_entries);
    }
    return atc ? atc : atc_new(IOPF_PAGE_SIZE, 57, s->atc_entries);
}

static void iopf_exit(PCIDevice *pci_dev)
{
    IOPFTestDev *s = IOPF_TESTDEV(pci_dev);

    s->dying = true;
    iopf_give_up_completions(s);
    iopf_vfs_destroy(s);
    iopf_engine_reset(s);
    iopf_reset_registers(s);
    iopf_groups_drop_all(s);
    iopf_pasids_forget(s, true);
    iopf_stall_exit(s);
    timer_free(s->timer);
    s->timer = NULL;
    qemu_bh_delete(s->bh);
    s->bh = NULL;
    atc_destroy(s->atc);
    s->atc = NULL;
    msix_uninit_exclusive_bar(pci_dev);
    if (s->aer) {
        pcie_aer_exit(pci_dev);
    }
    pcie_cap_exit(pci_dev);
}

static void iopf_realize(PCIDevice *pci_dev, Error **errp)
{
    IOPFTestDev *s = IOPF_TESTDEV(pci_dev);
    uint16_t offset;

    if (pci_is_vf(pci_dev)) {
        iopf_vf_init(s);
    }
    if (!iopf_check_properties(s, errp) ||
        !memory_region_init_ram(&s->ram, OBJECT(s), "iopf-testdev-ram",
                                s->ram_size, errp)) {
        return;
    }
    s->ram_ptr = memory_region_get_ram_ptr(&s->ram);
    memory_region_init_io(&s->regs, OBJECT(s), &iopf_regs_ops, s,
                          "iopf-testdev-regs", IOPF_TD_REGS_SIZE);
    pci_register_bar(pci_dev, IOPF_TD_BAR_REGS,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &s->regs);
    pci_register_bar(pci_dev, IOPF_TD_BAR_RAM,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->ram);

    offset = iopf_add_capabilities(s, errp);
    if (!offset) {
        goto fail_caps;
    }
    if (msix_init_exclusive_bar(pci_dev, IOPF_TD_VECTORS, IOPF_TD_BAR_MSIX,
                                errp)) {
        goto fail_msix;
    }
    for (int i = 0; i < IOPF_TD_VECTORS; i++) {
        msix_vector_use(pci_dev, i);
    }

    iopf_engine_init(s);
    iopf_stall_init(s);
    s->atc = iopf_create_atc(s);
    s->nr_groups[IOPF_GROUP_FREE] = IOPF_TD_GROUPS_MAX;
    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, iopf_timer, s);
    s->bh = qemu_bh_new_guarded(iopf_bh, s,
                                &DEVICE(s)->mem_reentrancy_guard);
    s->dying = false;
    iopf_reset_registers(s);
    if (s->sriov_vfs && !iopf_vfs_create(s, offset, errp)) {
        iopf_exit(pci_dev);
    }
    return;

fail_msix:
    if (s->aer) {
        pcie_aer_exit(pci_dev);
    }
fail_caps:
    if (pci_dev->exp.exp_cap) {
        pcie_cap_exit(pci_dev);
    }
}

static const Property iopf_properties[] = {
    DEFINE_PROP_BOOL("ats", IOPFTestDev, ats, true),
    DEFINE_PROP_BOOL("pri", IOPFTestDev, pri, true),
    DEFINE_PROP_UINT8("pasid", IOPFTestDev, pasid_width, 8),
    DEFINE_PROP_BOOL("prg-resp-pasid", IOPFTestDev, rsp_pasid, true),
    DEFINE_PROP_BOOL("page-aligned", IOPFTestDev, page_aligned, true),
    DEFINE_PROP_BOOL("global-inv", IOPFTestDev, global_inv, true),
    DEFINE_PROP_UINT8("inv-queue-depth", IOPFTestDev, inv_queue_depth, 0),
    DEFINE_PROP_UINT32("pri-capacity", IOPFTestDev, pri_capacity, 64),
    DEFINE_PROP_UINT32("atc-entries", IOPFTestDev, atc_entries, 1024),
    DEFINE_PROP_SIZE("ram-size", IOPFTestDev, ram_size, 4 * MiB),
    DEFINE_PROP_BOOL("aer", IOPFTestDev, aer, false),
    DEFINE_PROP_BOOL("flr", IOPFTestDev, flr, true),
    DEFINE_PROP_BOOL("pm", IOPFTestDev, pm, false),
    DEFINE_PROP_BOOL("no-soft-reset", IOPFTestDev, no_soft_reset, false),
    DEFINE_PROP_BOOL("stall", IOPFTestDev, stall, false),
    DEFINE_PROP_UINT16("sriov-vfs", IOPFTestDev, sriov_vfs, 0),
};

static const VMStateDescription iopf_vmstate = {
    .name = TYPE_IOPF_TESTDEV,
    .unmigratable = 1,
};

static void iopf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = iopf_realize;
    k->exit = iopf_exit;
    k->config_write = iopf_config_write;
    k->vendor_id = IOPF_TD_VENDOR_ID;
    k->device_id = IOPF_TD_DEVICE_ID;
    k->revision = IOPF_TD_VERSION;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "I/O page fault test endpoint (ATS, PRI, PASID)";
    dc->vmsd = &iopf_vmstate;
    device_class_set_props(dc, iopf_properties);
    device_class_set_legacy_reset(dc, iopf_device_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo iopf_info = {
    .name = TYPE_IOPF_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(IOPFTestDev),
    .class_init = iopf_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { },
    },
};

static void iopf_register_types(void)
{
    type_register_static(&iopf_info);
}

type_init(iopf_register_types)

/*
 * AMD IOMMU (AMD-Vi): commands
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A command that is illegal or cannot be read stops the queue, until software
 * switches it off and on again.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_internal.h"
#include "trace.h"

/* Bits that must be zero; the opcode is in none of them */
static const uint64_t amdvi_cmd_reserved[][2] = {
    [AMDVI_CMD_COMPLETION_WAIT] = { MAKE_64BIT_MASK(52, 8), 0 },
    [AMDVI_CMD_INVAL_DEVTAB_ENTRY] = { MAKE_64BIT_MASK(16, 44), UINT64_MAX },
    [AMDVI_CMD_INVAL_AMDVI_PAGES] = {
        MAKE_64BIT_MASK(20, 12) | MAKE_64BIT_MASK(48, 12),
        MAKE_64BIT_MASK(3, 9)
    },
    [AMDVI_CMD_INVAL_IOTLB_PAGES] = {
        0, MAKE_64BIT_MASK(1, 1) | MAKE_64BIT_MASK(3, 9)
    },
    [AMDVI_CMD_INVAL_INTR_TABLE] = { MAKE_64BIT_MASK(16, 44), UINT64_MAX },
    [AMDVI_CMD_COMPLETE_PPR_REQUEST] = {
        MAKE_64BIT_MASK(16, 16) | MAKE_64BIT_MASK(52, 8),
        MAKE_64BIT_MASK(0, 2) | MAKE_64BIT_MASK(3, 29) |
        MAKE_64BIT_MASK(42, 2) | MAKE_64BIT_MASK(48, 16)
    },
    [AMDVI_CMD_INVAL_AMDVI_ALL] = { MAKE_64BIT_MASK(0, 60), UINT64_MAX },
    [AMDVI_CMD_RESET_VMMIO] = {
        MAKE_64BIT_MASK(16, 12) | MAKE_64BIT_MASK(29, 2) |
        MAKE_64BIT_MASK(32, 28), UINT64_MAX
    },
};

bool amdvi_cmd_legal(const AMDVIState *s, const uint64_t cmd[2])
{
    unsigned op = amdvi_cmd_op(cmd);

    if (op >= ARRAY_SIZE(amdvi_cmd_reserved) ||
        (cmd[0] & amdvi_cmd_reserved[op][0]) ||
        (cmd[1] & amdvi_cmd_reserved[op][1])) {
        return false;
    }
    switch (op) {
    case AMDVI_CMD_INVAL_IOTLB_PAGES:
        if (!s->ats) {
            return false;
        }
        /* Fall through: GN is for PASIDs */
    case AMDVI_CMD_INVAL_AMDVI_PAGES:
        return s->pasid_bits || !(cmd[1] & AMDVI_CMD_GN);
    case AMDVI_CMD_COMPLETE_PPR_REQUEST:
        return s->ppr && (s->pasid_bits || !(cmd[1] & AMDVI_CMD_GN));
    case AMDVI_CMD_COMPLETION_WAIT:
    case AMDVI_CMD_INVAL_DEVTAB_ENTRY:
    case AMDVI_CMD_INVAL_INTR_TABLE:
    case AMDVI_CMD_INVAL_AMDVI_ALL:
        return true;
    case AMDVI_CMD_RESET_VMMIO:
        /* Inference: there is nothing to reset while it is off */
        return s->viommu_ops && s->viommu_ops->is_on(s);
    default:
        /* Neither prefetching nor events for guests are offered */
        return false;
    }
}

static void amdvi_event_cmd_hw(AMDVIState *s, hwaddr addr)
{
    amdvi_event(s, AMDVI_EVENT(AMDVI_EVT_CMD_HW) | AMDVI_EVF_MASTER_ABORT,
                addr);
}

static AMDVICmdResult amdvi_cmd_completion_wait(AMDVIState *s,
                                                const uint64_t cmd[2])
{
    hwaddr addr = extract64(cmd[0], 3, 49) << 3;

    if (s->viommu_ops) {
        s->viommu_ops->completion_wait(s);
    }
    if (s->inv_held) {
        return AMDVI_CMD_WAITS;
    }
    trace_amdvi_completion_wait(addr, cmd[1]);
    if ((cmd[0] & AMDVI_CMD_WAIT_STORE) &&
        !amdvi_write_memory(addr, &cmd[1], 1)) {
        amdvi_event_cmd_hw(s, addr);
        return AMDVI_CMD_FAILED;
    }
    if (cmd[0] & AMDVI_CMD_WAIT_INT) {
        amdvi_change_status(s, 0, AMDVI_STATUS_WAIT_INT);
    }
    return AMDVI_CMD_DONE;
}

static void amdvi_cmd_inval_pages(AMDVIState *s, const uint64_t cmd[2])
{
    uint16_t domain = extract64(cmd[0], 32, 16);
    uint32_t pasid = PCI_NO_PASID;
    hwaddr addr, mask;

    if (cmd[1] & AMDVI_CMD_GN) {
        pasid = extract64(cmd[0], 0, 20);
    }
    addr = pci_ats_decode_range(cmd[1] & AMDVI_CMD_ADDR,
                                cmd[1] & AMDVI_CMD_S, &mask);
    trace_amdvi_inval_pages(domain, pasid, addr, mask);
    amdvi_cache_drop_pages(s, domain, pasid, cmd[1] & AMDVI_CMD_PDE, addr,
                           mask);
}

AMDVICmdResult amdvi_cmd_exec(AMDVIState *s, const uint64_t cmd[2],
                              hwaddr addr)
{
    if (!amdvi_cmd_legal(s, cmd)) {
        return AMDVI_CMD_ILLEGAL;
    }
    switch (amdvi_cmd_op(cmd)) {
    case AMDVI_CMD_COMPLETION_WAIT:
        return amdvi_cmd_completion_wait(s, cmd);
    case AMDVI_CMD_INVAL_DEVTAB_ENTRY:
        amdvi_cache_drop_dte(s, extract64(cmd[0], 0, 16));
        return AMDVI_CMD_DONE;
    case AMDVI_CMD_INVAL_AMDVI_PAGES:
        amdvi_cmd_inval_pages(s, cmd);
        return AMDVI_CMD_DONE;
    case AMDVI_CMD_INVAL_IOTLB_PAGES:
        return amdvi_cmd_inval_iotlb(s, cmd, addr);
    case AMDVI_CMD_INVAL_INTR_TABLE:
        x86_iommu_iec_notify_all(X86_IOMMU_DEVICE(s), true, 0, 0);
        return AMDVI_CMD_DONE;
    case AMDVI_CMD_COMPLETE_PPR_REQUEST:
        return amdvi_cmd_complete_ppr(s, cmd);
    case AMDVI_CMD_INVAL_AMDVI_ALL:
        x86_iommu_iec_notify_all(X86_IOMMU_DEVICE(s), true, 0, 0);
        amdvi_drop_caches(s);
        return AMDVI_CMD_DONE;
    case AMDVI_CMD_RESET_VMMIO:
        s->viommu_ops->reset_guest(s, cmd);
        return AMDVI_CMD_DONE;
    default:
        g_assert_not_reached();
    }
}

/* Returns: whether to go on with the next command */
static bool amdvi_run_command(AMDVIState *s, uint32_t head)
{
    hwaddr addr = amdvi_ring_addr(s, AMDVI_MMIO_COMMAND_BASE) + head;
    AMDVICmdResult result;
    uint64_t cmd[2];

    if (amdvi_read_memory(addr, cmd, 2)) {
        result = amdvi_cmd_exec(s, cmd, addr);
    } else {
        amdvi_event_cmd_hw(s, addr);
        result = AMDVI_CMD_FAILED;
    }
    switch (result) {
    case AMDVI_CMD_DONE:
        return true;
    case AMDVI_CMD_WAITS:
        return false;
    case AMDVI_CMD_ILLEGAL:
        trace_amdvi_unhandled_command(amdvi_cmd_op(cmd));
        amdvi_event(s, AMDVI_EVENT(AMDVI_EVT_ILLEGAL_CMD), addr);
        break;
    case AMDVI_CMD_FAILED:
        break;
    }
    amdvi_change_status(s, AMDVI_STATUS_CMD_RUN, 0);
    return false;
}

/* Carry out up to @max commands */
static void amdvi_step_commands(AMDVIState *s, unsigned max)
{
    uint32_t size = amdvi_ring_size(s, AMDVI_MMIO_COMMAND_BASE);
    uint32_t head, tail;

    /* A device that is told something may come back here */
    if (s->cmd_running || !size) {
        return;
    }
    s->cmd_running = true;
    while (max-- &&
           (amdvi_reg(s, AMDVI_MMIO_STATUS) & AMDVI_STATUS_CMD_RUN)) {
        head = amdvi_reg(s, AMDVI_MMIO_COMMAND_HEAD) & (size - 1);
        tail = amdvi_reg(s, AMDVI_MMIO_COMMAND_TAIL) & (size - 1);
        if (head == tail || !amdvi_run_command(s, head)) {
            break;
        }
        amdvi_set_reg(s, AMDVI_MMIO_COMMAND_HEAD,
                      (head + AMDVI_RING_ENTRY) & (size - 1));
    }
    s->cmd_running = false;
}

void amdvi_run_commands(AMDVIState *s)
{
    if (!s->lazy_inv) {
        amdvi_step_commands(s, UINT_MAX);
    }
}

void amdvi_run_lazily(AMDVIState *s)
{
    if (s->lazy_inv) {
        amdvi_step_commands(s, 1);
    }
}

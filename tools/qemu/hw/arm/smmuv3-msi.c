/*
 * ARM SMMUv3: message signalled interrupts of the SMMU itself
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where software gives no address, the wire is used, as without MSIs.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "exec/address-spaces.h"
#include "smmuv3-msi.h"
#include "smmuv3-pri.h"
#include "trace.h"

#define SMMU_MSI_ADDR       MAKE_64BIT_MASK(2, 50)
#define SMMU_MSI_CFG2       0x3f

/* One of the sources that have registers */
typedef struct SMMUMSI {
    uint64_t addr;
    uint32_t data;
    uint32_t abort;     /* bit of GERROR */
} SMMUMSI;

static SMMUMSI smmuv3_msi(SMMUv3State *s, SMMUIrq irq)
{
    switch (irq) {
    case SMMU_IRQ_EVTQ:
        return (SMMUMSI) { s->eventq_irq_cfg0, s->eventq_irq_cfg1,
                           R_GERROR_MSI_EVENTQ_ABT_ERR_MASK };
    case SMMU_IRQ_PRIQ:
        return (SMMUMSI) { s->priq_irq_cfg0, s->priq_irq_cfg1,
                           R_GERROR_MSI_PRIQ_ABT_ERR_MASK };
    case SMMU_IRQ_GERROR:
        return (SMMUMSI) { s->gerror_irq_cfg0, s->gerror_irq_cfg1,
                           R_GERROR_MSI_GERROR_ABT_ERR_MASK };
    default:
        return (SMMUMSI) {};
    }
}

/* Returns: whether it arrived */
static bool smmuv3_msi_send(uint64_t addr, uint32_t data)
{
    MemTxAttrs attrs = { .requester_id = SMMU_MSI_DEVICE_ID };
    MemTxResult result;

    address_space_stl_le(&address_space_memory, addr & SMMU_MSI_ADDR, data,
                         attrs, &result);
    trace_smmuv3_msi(addr, data, result);
    return result == MEMTX_OK;
}

bool smmuv3_msi_raise(SMMUv3State *s, SMMUIrq irq)
{
    if (!s->msi || !(smmuv3_msi(s, irq).addr & SMMU_MSI_ADDR)) {
        return false;
    }
    s->msi_raised |= 1U << irq;
    return true;
}

void smmuv3_msi_flush(SMMUv3State *s)
{
    while (s->msi_raised) {
        SMMUIrq irq = ctz32(s->msi_raised);
        SMMUMSI msi = smmuv3_msi(s, irq);

        s->msi_raised &= s->msi_raised - 1;
        if (smmuv3_msi_send(msi.addr, msi.data)) {
            continue;
        }
        if (irq == SMMU_IRQ_GERROR) {
            /* No use to say that in the same way */
            s->gerror ^= msi.abort & ~(s->gerror ^ s->gerrorn);
        } else {
            smmuv3_trigger_irq(s, SMMU_IRQ_GERROR, msi.abort);
        }
    }
}

void smmuv3_cmd_sync_signal(SMMUv3State *s, const Cmd *cmd)
{
    if (CMD_SYNC_CS(cmd) != CMD_SYNC_SIG_IRQ) {
        return;
    }
    if (!s->msi || !CMD_SYNC_MSIADDR(cmd)) {
        smmuv3_trigger_irq(s, SMMU_IRQ_CMD_SYNC, 0);
    } else if (!smmuv3_msi_send(CMD_SYNC_MSIADDR(cmd),
                                CMD_SYNC_MSIDATA(cmd))) {
        smmuv3_trigger_irq(s, SMMU_IRQ_GERROR,
                           R_GERROR_MSI_CMDQ_ABT_ERR_MASK);
    }
}

/*
 * Entries from the PCI core
 */

static ssize_t smmuv3_msi_request_translation(PCIBus *bus, void *opaque,
                                              int devfn, uint32_t pasid,
                                              bool priv_req, bool exec_req,
                                              hwaddr addr, size_t length,
                                              bool no_write,
                                              IOMMUTLBEntry *result,
                                              size_t result_length,
                                              uint32_t *err_count)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    ssize_t ret = s->wired_ops.ats_request_translation(
        bus, opaque, devfn, pasid, priv_req, exec_req, addr, length, no_write,
        result, result_length, err_count);

    smmuv3_msi_flush(s);
    return ret;
}

static void smmuv3_msi_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                                         uint32_t n, bool completed)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    s->wired_ops.ats_invalidation_over(bus, opaque, devfn, n, completed);
    smmuv3_msi_flush(s);
}

static int smmuv3_msi_request_page(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid, bool priv_req,
                                   bool exec_req, hwaddr addr, bool lpig,
                                   uint16_t prgi, bool is_read, bool is_write)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    int ret = s->wired_ops.pri_request_page(bus, opaque, devfn, pasid,
                                            priv_req, exec_req, addr, lpig,
                                            prgi, is_read, is_write);

    smmuv3_msi_flush(s);
    return ret;
}

static int smmuv3_msi_stall_translate(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t pasid, bool priv_req,
                                      bool exec_req, hwaddr addr,
                                      bool is_write, uint64_t cookie,
                                      IOMMUTLBEntry *entry)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    int ret = s->wired_ops.stall_translate(bus, opaque, devfn, pasid, priv_req,
                                           exec_req, addr, is_write, cookie,
                                           entry);

    smmuv3_msi_flush(s);
    return ret;
}

void smmuv3_msi_init(SMMUv3State *s, PCIIOMMUOps *ops)
{
    s->wired_ops = *ops;
    if (ops->ats_request_translation) {
        ops->ats_request_translation = smmuv3_msi_request_translation;
        ops->ats_invalidation_over = smmuv3_msi_invalidation_over;
    }
    if (ops->pri_request_page) {
        ops->pri_request_page = smmuv3_msi_request_page;
    }
    if (ops->stall_translate) {
        ops->stall_translate = smmuv3_msi_stall_translate;
    }
}

/*
 * Registers
 */

/* Of one source */
typedef struct SMMUMSIRegs {
    hwaddr base;
    uint64_t *cfg0;
    uint32_t *cfg1;
    uint32_t *cfg2;
    uint32_t enable;    /* in IRQ_CTRL; guards them */
} SMMUMSIRegs;

static bool smmuv3_msi_regs(SMMUv3State *s, hwaddr offset, SMMUMSIRegs *regs)
{
    if (!s->msi) {
        return false;
    }
    switch (offset) {
    case A_GERROR_IRQ_CFG0 ... A_GERROR_IRQ_CFG2:
        *regs = (SMMUMSIRegs) {
            A_GERROR_IRQ_CFG0, &s->gerror_irq_cfg0, &s->gerror_irq_cfg1,
            &s->gerror_irq_cfg2, R_IRQ_CTRL_GERROR_IRQEN_MASK,
        };
        return true;
    case A_EVENTQ_IRQ_CFG0 ... A_EVENTQ_IRQ_CFG2:
        *regs = (SMMUMSIRegs) {
            A_EVENTQ_IRQ_CFG0, &s->eventq_irq_cfg0, &s->eventq_irq_cfg1,
            &s->eventq_irq_cfg2, R_IRQ_CTRL_EVENTQ_IRQEN_MASK,
        };
        return true;
    default:
        return false;
    }
}

bool smmuv3_msi_write(SMMUv3State *s, hwaddr offset, uint64_t data,
                      unsigned int size)
{
    SMMUMSIRegs r;

    if (!smmuv3_msi_regs(s, offset, &r)) {
        return false;
    }
    if (s->irq_ctrl & r.enable) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "SMMUv3: write to 0x%" HWADDR_PRIx " while the interrupt "
                      "is enabled\n", offset);
        return true;
    }
    switch (offset - r.base) {
    case 0:
        *r.cfg0 = deposit64(*r.cfg0, 0, size * 8, data) & SMMU_MSI_ADDR;
        break;
    case 4:
        *r.cfg0 = deposit64(*r.cfg0, 32, 32, data) & SMMU_MSI_ADDR;
        break;
    case 8:
        *r.cfg1 = data;
        break;
    case 12:
        *r.cfg2 = data & SMMU_MSI_CFG2;
        break;
    }
    return true;
}

bool smmuv3_msi_read(SMMUv3State *s, hwaddr offset, uint64_t *data,
                     unsigned int size)
{
    SMMUMSIRegs r;

    if (!smmuv3_msi_regs(s, offset, &r)) {
        return false;
    }
    switch (offset - r.base) {
    case 0:
        *data = extract64(*r.cfg0, 0, size * 8);
        break;
    case 4:
        *data = extract64(*r.cfg0, 32, 32);
        break;
    case 8:
        *data = *r.cfg1;
        break;
    case 12:
        *data = *r.cfg2;
        break;
    default:
        *data = 0;
    }
    return true;
}

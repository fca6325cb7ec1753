/*
 * ATS, PASID and page request interface (PRI) capabilities of a PCIe function
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/range.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"

/* PASID and PRI capability of a VF are those of its PF */
static const PCIDevice *pcie_shared_cap_owner(const PCIDevice *dev)
{
    return pci_is_vf(dev) ? dev->exp.sriov_vf.pf : dev;
}

static bool pcie_test_cap_word(const PCIDevice *dev, uint16_t cap,
                               uint16_t offset, uint16_t mask)
{
    return cap && (pci_get_word(dev->config + cap + offset) & mask) == mask;
}

bool pcie_ats_enabled(const PCIDevice *dev)
{
    return pcie_test_cap_word(dev, dev->exp.ats_cap, PCI_ATS_CTRL,
                              PCI_ATS_CTRL_ENABLE);
}

hwaddr pcie_ats_get_stu(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);
    uint16_t ctrl = 0;

    if (owner->exp.ats_cap) {
        ctrl = pci_get_word(owner->config + owner->exp.ats_cap + PCI_ATS_CTRL);
    }
    return 1ULL << (PCI_ATS_MIN_STU + (ctrl & PCI_ATS_CTRL_STU_MASK));
}

void pcie_ats_set_global_invalidate(PCIDevice *dev)
{
    assert(dev->exp.ats_cap);
    pci_word_test_and_set_mask(dev->config + dev->exp.ats_cap + PCI_ATS_CAP,
                               PCI_ATS_CAP_GLOBAL_INV);
}

bool pcie_ats_global_invalidate(const PCIDevice *dev)
{
    return pcie_test_cap_word(dev, dev->exp.ats_cap, PCI_ATS_CAP,
                              PCI_ATS_CAP_GLOBAL_INV);
}

void pcie_ats_check_pending(const PCIDevice *dev, unsigned int pending)
{
    unsigned int depth;

    /* The field of a VF is 0: it has a share in that of the PF */
    if (!dev || !dev->exp.ats_cap || pci_is_vf(dev)) {
        return;
    }
    depth = PCI_ATS_CAP_QDEP(pci_get_word(dev->config + dev->exp.ats_cap +
                                          PCI_ATS_CAP));
    if (pending > (depth ? depth : PCI_ATS_MAX_QDEP)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "%s: software allows %u invalidations at a time, more "
                      "than it takes\n", dev->name, pending);
    }
}

void pcie_pasid_common_init(PCIDevice *dev, uint16_t offset,
                            uint8_t pasid_width, bool exec_perm, bool priv_mod)
{
    uint16_t ctrl_mask = PCI_PASID_CTRL_ENABLE;
    uint16_t cap;

    assert(pasid_width <= PCI_EXT_CAP_PASID_MAX_WIDTH);
    assert(!pci_is_vf(dev));

    dev->exp.pasid_cap = offset;

    cap = pasid_width << PCI_PASID_CAP_WIDTH_SHIFT;
    if (exec_perm) {
        cap |= PCI_PASID_CAP_EXEC;
        ctrl_mask |= PCI_PASID_CTRL_EXEC;
    }
    if (priv_mod) {
        cap |= PCI_PASID_CAP_PRIV;
        ctrl_mask |= PCI_PASID_CTRL_PRIV;
    }
    pci_set_word(dev->config + offset + PCI_PASID_CAP, cap);
    pci_set_word(dev->wmask + offset + PCI_PASID_CTRL, ctrl_mask);
    /* Locked at times, yet free to differ in a migration stream */
    pci_set_word(dev->cmask + offset + PCI_PASID_CTRL, 0);
}

static bool pcie_pasid_test_ctrl(const PCIDevice *dev, uint16_t bits)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);

    return pcie_test_cap_word(owner, owner->exp.pasid_cap, PCI_PASID_CTRL,
                              PCI_PASID_CTRL_ENABLE | bits);
}

void pcie_pasid_init(PCIDevice *dev, uint16_t offset, uint8_t pasid_width,
                     bool exec_perm, bool priv_mod)
{
    pcie_add_capability(dev, PCI_EXT_CAP_ID_PASID, PCI_PASID_VER, offset,
                        PCI_EXT_CAP_PASID_SIZEOF);
    pcie_pasid_common_init(dev, offset, pasid_width, exec_perm, priv_mod);
}

bool pcie_pasid_enabled(const PCIDevice *dev)
{
    return pcie_pasid_test_ctrl(dev, 0);
}

bool pcie_pasid_exec_enabled(const PCIDevice *dev)
{
    return pcie_pasid_test_ctrl(dev, PCI_PASID_CTRL_EXEC);
}

bool pcie_pasid_priv_enabled(const PCIDevice *dev)
{
    return pcie_pasid_test_ctrl(dev, PCI_PASID_CTRL_PRIV);
}

void pcie_pri_init(PCIDevice *dev, uint16_t offset, uint32_t outstanding_pr_cap,
                   bool prg_response_pasid_req)
{
    uint16_t status = PCI_PRI_STATUS_STOPPED;

    assert(!pci_is_vf(dev));

    pcie_add_capability(dev, PCI_EXT_CAP_ID_PRI, PCI_PRI_VER, offset,
                        PCI_EXT_CAP_PRI_SIZEOF);
    dev->exp.pri_cap = offset;

    if (prg_response_pasid_req) {
        status |= PCI_PRI_STATUS_PASID;
    }
    pci_set_word(dev->config + offset + PCI_PRI_STATUS, status);
    pci_set_long(dev->config + offset + PCI_PRI_MAX_REQ, outstanding_pr_cap);

    pci_set_word(dev->wmask + offset + PCI_PRI_CTRL,
                 PCI_PRI_CTRL_ENABLE | PCI_PRI_CTRL_RESET);
    pci_set_word(dev->w1cmask + offset + PCI_PRI_STATUS,
                 PCI_PRI_STATUS_RF | PCI_PRI_STATUS_UPRGI);
    pci_set_long(dev->wmask + offset + PCI_PRI_ALLOC_REQ, UINT32_MAX);

    /* These live: free to differ in a migration stream */
    pci_set_word(dev->cmask + offset + PCI_PRI_STATUS, PCI_PRI_STATUS_PASID);
    pci_set_long(dev->cmask + offset + PCI_PRI_ALLOC_REQ, 0);
}

bool pcie_pri_enabled(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);

    return pcie_test_cap_word(owner, owner->exp.pri_cap, PCI_PRI_CTRL,
                              PCI_PRI_CTRL_ENABLE);
}

uint32_t pcie_pri_get_req_alloc(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);

    if (!pcie_pri_enabled(owner)) {
        return 0;
    }
    return pci_get_long(owner->config + owner->exp.pri_cap +
                        PCI_PRI_ALLOC_REQ);
}

bool pcie_pri_response_pasid_required(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);

    return pcie_test_cap_word(owner, owner->exp.pri_cap, PCI_PRI_STATUS,
                              PCI_PRI_STATUS_PASID);
}

bool pcie_has_pri(const PCIDevice *dev)
{
    return pcie_shared_cap_owner(dev)->exp.pri_cap;
}

bool pcie_pri_is_halted(const PCIDevice *dev)
{
    return pcie_shared_cap_owner(dev)->exp.pri.halted;
}

/* The most requests that may be outstanding */
static uint32_t pcie_pri_get_limit(const PCIDevice *owner)
{
    return MIN(pcie_pri_get_req_alloc(owner),
               pci_get_long(owner->config + owner->exp.pri_cap +
                            PCI_PRI_MAX_REQ));
}

bool pcie_pri_exceeds_credits(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);

    return owner->exp.pri.outstanding > pcie_pri_get_limit(owner);
}

uint32_t pcie_pri_get_credits(const PCIDevice *dev)
{
    const PCIDevice *owner = pcie_shared_cap_owner(dev);
    const PCIEPRIState *pri = &owner->exp.pri;
    uint32_t limit;

    if (!pcie_pri_enabled(owner) || pri->halted) {
        return 0;
    }
    limit = pcie_pri_get_limit(owner);
    return limit > pri->outstanding ? limit - pri->outstanding : 0;
}

/* Stopped: nothing is outstanding and nothing new will be sent */
static void pcie_pri_update_stopped(PCIDevice *owner)
{
    uint8_t *status = owner->config + owner->exp.pri_cap + PCI_PRI_STATUS;

    if (!pcie_pri_enabled(owner) && !owner->exp.pri.outstanding) {
        pci_word_test_and_set_mask(status, PCI_PRI_STATUS_STOPPED);
    } else {
        pci_word_test_and_clear_mask(status, PCI_PRI_STATUS_STOPPED);
    }
}

void pcie_pri_request_sent(PCIDevice *dev)
{
    PCIDevice *owner = (PCIDevice *)pcie_shared_cap_owner(dev);

    assert(owner->exp.pri_cap);
    owner->exp.pri.outstanding++;
    pcie_pri_update_stopped(owner);
}

void pcie_pri_request_done(PCIDevice *dev, uint32_t n)
{
    PCIDevice *owner = (PCIDevice *)pcie_shared_cap_owner(dev);
    PCIEPRIState *pri = &owner->exp.pri;

    assert(owner->exp.pri_cap);
    pri->outstanding -= MIN(n, pri->outstanding);
    pcie_pri_update_stopped(owner);
}

void pcie_pri_response_failure(PCIDevice *dev)
{
    PCIDevice *owner = (PCIDevice *)pcie_shared_cap_owner(dev);

    assert(owner->exp.pri_cap);
    pci_word_test_and_set_mask(owner->config + owner->exp.pri_cap +
                               PCI_PRI_STATUS, PCI_PRI_STATUS_RF);
    owner->exp.pri.halted = true;
    owner->exp.pri.outstanding = 0;
    pcie_pri_update_stopped(owner);
}

void pcie_pri_unexpected_prgi(PCIDevice *dev)
{
    PCIDevice *owner = (PCIDevice *)pcie_shared_cap_owner(dev);

    assert(owner->exp.pri_cap);
    pci_word_test_and_set_mask(owner->config + owner->exp.pri_cap +
                               PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
}

void pcie_pri_set_forget_handler(PCIDevice *dev,
                                 void (*forget)(PCIDevice *dev))
{
    dev->exp.pri.forget = forget;
}

/* What software must not change while something is enabled is read only then */
static void pcie_ats_pasid_pri_update_locks(PCIDevice *dev)
{
    PCIExpressDevice *exp = &dev->exp;
    uint16_t ctrl;

    if (exp->ats_cap) {
        ctrl = PCI_ATS_CTRL_ENABLE;
        /* The STU of a VF is that of its PF, the field is 0 */
        if (!pcie_ats_enabled(dev) && !pci_is_vf(dev)) {
            ctrl |= PCI_ATS_CTRL_STU_MASK;
        }
        pci_set_word(dev->wmask + exp->ats_cap + PCI_ATS_CTRL, ctrl);
    }
    if (exp->pasid_cap) {
        ctrl = 0;
        if (!pcie_ats_enabled(dev)) {
            /* EXEC and PRIV have the same place in capability and control */
            ctrl = pci_get_word(dev->config + exp->pasid_cap + PCI_PASID_CAP);
            ctrl &= PCI_PASID_CTRL_EXEC | PCI_PASID_CTRL_PRIV;
            ctrl |= PCI_PASID_CTRL_ENABLE;
        }
        pci_set_word(dev->wmask + exp->pasid_cap + PCI_PASID_CTRL, ctrl);
    }
    if (exp->pri_cap) {
        pci_set_long(dev->wmask + exp->pri_cap + PCI_PRI_ALLOC_REQ,
                     pcie_pri_enabled(dev) ? 0 : UINT32_MAX);
    }
}

static void pcie_pri_handle_ctrl_write(PCIDevice *dev)
{
    PCIEPRIState *pri = &dev->exp.pri;
    bool enabled = pcie_pri_enabled(dev);
    uint16_t reset;

    reset = pci_word_test_and_clear_mask(dev->config + dev->exp.pri_cap +
                                         PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    if (reset && !enabled) {
        pri->outstanding = 0;
        pri->halted = false;
        if (pri->forget) {
            pri->forget(dev);
        }
    }
    if (enabled && !pri->enabled) {
        pri->halted = false;
    }
    pri->enabled = enabled;
    pcie_pri_update_stopped(dev);
}

void pcie_ats_pasid_pri_write_config(PCIDevice *dev, uint32_t addr,
                                     uint32_t len)
{
    PCIExpressDevice *exp = &dev->exp;

    if (!exp->ats_cap && !exp->pasid_cap && !exp->pri_cap) {
        return;
    }
    if (exp->pri_cap &&
        ranges_overlap(addr, len, exp->pri_cap + PCI_PRI_CTRL, 2)) {
        pcie_pri_handle_ctrl_write(dev);
    }
    pcie_ats_pasid_pri_update_locks(dev);
}

void pcie_ats_pasid_pri_reset(PCIDevice *dev)
{
    PCIExpressDevice *exp = &dev->exp;

    if (exp->ats_cap) {
        pci_set_word(dev->config + exp->ats_cap + PCI_ATS_CTRL, 0);
    }
    if (exp->pasid_cap) {
        pci_set_word(dev->config + exp->pasid_cap + PCI_PASID_CTRL, 0);
    }
    if (exp->pri_cap) {
        exp->pri.outstanding = 0;
        exp->pri.halted = false;
        exp->pri.enabled = false;
        pci_set_word(dev->config + exp->pri_cap + PCI_PRI_CTRL, 0);
        pci_word_test_and_clear_mask(dev->config + exp->pri_cap +
                                     PCI_PRI_STATUS,
                                     PCI_PRI_STATUS_RF | PCI_PRI_STATUS_UPRGI);
        pci_set_long(dev->config + exp->pri_cap + PCI_PRI_ALLOC_REQ, 0);
        pcie_pri_update_stopped(dev);
    }
    pcie_ats_pasid_pri_update_locks(dev);
}

/* Nothing of it is in the stream of a machine that does not use it */
static bool pcie_pri_state_needed(void *opaque)
{
    PCIDevice *dev = opaque;

    return dev->exp.pri_cap &&
           (dev->exp.pri.outstanding || dev->exp.pri.enabled ||
            dev->exp.pri.halted);
}

/* The configuration space came before, when nothing was outstanding yet */
static int pcie_pri_state_post_load(void *opaque, int version_id)
{
    PCIDevice *dev = opaque;

    if (!dev->exp.pri_cap) {
        return -EINVAL;
    }
    pcie_pri_update_stopped(dev);
    return 0;
}

const VMStateDescription vmstate_pcie_pri = {
    .name = "PCIDevice/pri",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = pcie_pri_state_post_load,
    .needed = pcie_pri_state_needed,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(exp.pri.outstanding, PCIDevice),
        VMSTATE_BOOL(exp.pri.enabled, PCIDevice),
        VMSTATE_BOOL(exp.pri.halted, PCIDevice),
        VMSTATE_END_OF_LIST()
    }
};

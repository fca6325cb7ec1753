/*
 * PCIe Downstream Port Containment (DPC)
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCIe 6.0, sections 6.2.11 and 7.9.14.  An error takes the link down: all
 * functions below the port are reset, no request reaches them and none comes
 * from them, until software clears the trigger status.  They are reset once
 * more then, as the link comes up.  A switch below the port loses its bus
 * numbers by that, so what is behind it cannot be reached either.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_dpc.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "trace.h"

#define PCIE_DPC_VER            1
#define PCIE_DPC_SIZEOF         0x0c

#define PCIE_DPC_CTL_EN         (PCI_EXP_DPC_CTL_EN_FATAL | \
                                 PCI_EXP_DPC_CTL_EN_NONFATAL)
#define PCIE_DPC_CTL_SW_TRIGGER 0x0040

#define PCIE_DPC_STATUS_REASON  (PCI_EXP_DPC_STATUS_TRIGGER_RSN | \
                                 PCI_EXP_DPC_STATUS_TRIGGER_RSN_EXT)
#define PCIE_DPC_REASON_SW      (PCI_EXP_DPC_STATUS_TRIGGER_RSN_IN_EXT | \
                                 PCI_EXP_DPC_STATUS_TRIGGER_RSN_SW_TRIGGER)

static uint8_t *pcie_dpc_cap(const PCIDevice *port)
{
    return port->config + port->exp.dpc_cap;
}

void pcie_dpc_init(PCIDevice *port, uint16_t offset, uint8_t vector)
{
    assert(!(vector & ~PCI_EXP_DPC_IRQ));

    pcie_add_capability(port, PCI_EXT_CAP_ID_DPC, PCIE_DPC_VER, offset,
                        PCIE_DPC_SIZEOF);
    port->exp.dpc_cap = offset;
    pci_set_word(port->config + offset + PCI_EXP_DPC_CAP,
                 vector | PCI_EXP_DPC_CAP_SW_TRIGGER);
    pci_set_word(port->wmask + offset + PCI_EXP_DPC_CTL,
                 PCIE_DPC_CTL_EN | PCI_EXP_DPC_CTL_INT_EN |
                 PCIE_DPC_CTL_SW_TRIGGER);
    pci_set_word(port->w1cmask + offset + PCI_EXP_DPC_STATUS,
                 PCI_EXP_DPC_STATUS_TRIGGER | PCI_EXP_DPC_STATUS_INTERRUPT);
    /* What tells of an error may differ from the port that state comes to */
    pci_set_word(port->cmask + offset + PCI_EXP_DPC_STATUS,
                 (uint16_t)~PCIE_DPC_STATUS_REASON);
    pci_set_word(port->cmask + offset + PCI_EXP_DPC_SOURCE_ID, 0);
}

uint16_t pcie_dpc_status(const PCIDevice *port)
{
    return port->exp.dpc_cap ?
           pci_get_word(pcie_dpc_cap(port) + PCI_EXP_DPC_STATUS) : 0;
}

bool pcie_dpc_contained(const PCIDevice *port)
{
    return pcie_dpc_status(port) & PCI_EXP_DPC_STATUS_TRIGGER;
}

/* What is at the other end of the link, if anything, comes or goes with it */
static void pcie_dpc_set_link(PCIDevice *port)
{
    uint8_t *exp = port->config + port->exp.exp_cap;
    PCIBus *bus = pci_bridge_get_sec_bus(PCI_BRIDGE(port));

    if (pcie_dpc_contained(port)) {
        pci_word_test_and_clear_mask(exp + PCI_EXP_LNKSTA,
                                     PCI_EXP_LNKSTA_DLLLA);
    } else if ((pci_get_long(exp + PCI_EXP_LNKCAP) & PCI_EXP_LNKCAP_DLLLARC) &&
               bus->devices[0]) {
        pci_word_test_and_set_mask(exp + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA);
    }
    pcie_cap_update_power(port);
}

void pcie_dpc_reset(PCIDevice *port)
{
    bool contained = pcie_dpc_contained(port);

    if (!port->exp.dpc_cap) {
        return;
    }
    pci_set_word(pcie_dpc_cap(port) + PCI_EXP_DPC_CTL, 0);
    pci_set_word(pcie_dpc_cap(port) + PCI_EXP_DPC_STATUS, 0);
    pci_set_word(pcie_dpc_cap(port) + PCI_EXP_DPC_SOURCE_ID, 0);
    port->exp.dpc_notified = false;
    if (contained) {
        pcie_dpc_set_link(port);
    }
}

static bool pcie_dpc_wants_interrupt(PCIDevice *port)
{
    uint8_t *cap = pcie_dpc_cap(port);

    return (pci_get_word(cap + PCI_EXP_DPC_CTL) & PCI_EXP_DPC_CTL_INT_EN) &&
           (pci_get_word(cap + PCI_EXP_DPC_STATUS) &
            PCI_EXP_DPC_STATUS_INTERRUPT);
}

/*
 * A message when both bits come to be set.  INTx is a level that the port's
 * functions share: AER sets it to what it wants at each write, and what others
 * want comes on top of that.
 */
static void pcie_dpc_update_interrupt(PCIDevice *port)
{
    uint8_t vector = pci_get_word(pcie_dpc_cap(port) + PCI_EXP_DPC_CAP) &
                     PCI_EXP_DPC_IRQ;
    bool was = port->exp.dpc_notified;

    port->exp.dpc_notified = pcie_dpc_wants_interrupt(port);
    if (msix_enabled(port)) {
        if (port->exp.dpc_notified && !was) {
            msix_notify(port, vector);
        }
    } else if (msi_enabled(port)) {
        if (port->exp.dpc_notified && !was) {
            msi_notify(port, vector);
        }
    } else if (pci_intx(port) != -1 &&
               (port->exp.dpc_notified || port->exp.hpev_notified)) {
        pci_irq_assert(port);
    }
}

void pcie_dpc_post_load(PCIDevice *port)
{
    if (port->exp.dpc_cap) {
        port->exp.dpc_notified = pcie_dpc_wants_interrupt(port);
    }
}

static void pcie_dpc_trigger(PCIDevice *port, uint16_t reason, uint16_t source)
{
    uint8_t *cap = pcie_dpc_cap(port);
    uint16_t old = pci_get_word(cap + PCI_EXP_DPC_STATUS);

    trace_pcie_dpc_trigger(port->name, reason, source);
    pci_set_word(cap + PCI_EXP_DPC_STATUS,
                 (old & ~PCIE_DPC_STATUS_REASON) | reason |
                 PCI_EXP_DPC_STATUS_TRIGGER | PCI_EXP_DPC_STATUS_INTERRUPT);
    pci_set_word(cap + PCI_EXP_DPC_SOURCE_ID, source);
    pcie_dpc_set_link(port);
    pcie_dpc_update_interrupt(port);
}

static bool pcie_dpc_is_own(PCIDevice *port, const PCIEAERMsg *msg)
{
    return msg->source_id == pci_requester_id(port);
}

/*
 * What has to be enabled for an error of that kind, 0: nothing helps.  Whether
 * it is fatal is a question for what the port receives, not for its own errors.
 */
static uint16_t pcie_dpc_enable_mask(PCIDevice *port, const PCIEAERMsg *msg)
{
    switch (msg->severity) {
    case PCI_ERR_ROOT_CMD_FATAL_EN:
        return PCIE_DPC_CTL_EN;
    case PCI_ERR_ROOT_CMD_NONFATAL_EN:
        return pcie_dpc_is_own(port, msg) ? PCIE_DPC_CTL_EN :
                                            PCI_EXP_DPC_CTL_EN_NONFATAL;
    default:
        return 0;
    }
}

static uint16_t pcie_dpc_reason(PCIDevice *port, const PCIEAERMsg *msg)
{
    if (pcie_dpc_is_own(port, msg)) {
        return PCI_EXP_DPC_STATUS_TRIGGER_RSN_UNCOR;
    }
    return msg->severity == PCI_ERR_ROOT_CMD_FATAL_EN ?
           PCI_EXP_DPC_STATUS_TRIGGER_RSN_FE :
           PCI_EXP_DPC_STATUS_TRIGGER_RSN_NFE;
}

bool pcie_dpc_message(PCIDevice *port, const PCIEAERMsg *msg)
{
    if (!port->exp.dpc_cap ||
        !(pci_get_word(pcie_dpc_cap(port) + PCI_EXP_DPC_CTL) &
          pcie_dpc_enable_mask(port, msg))) {
        return false;
    }
    if (!pcie_dpc_contained(port)) {
        pcie_dpc_trigger(port, pcie_dpc_reason(port, msg),
                         pcie_dpc_is_own(port, msg) ? 0 : msg->source_id);
    }
    return true;
}

void pcie_dpc_write_config(PCIDevice *port, uint16_t old_status)
{
    uint8_t *cap = pcie_dpc_cap(port);
    uint16_t control;

    if (!port->exp.dpc_cap) {
        return;
    }
    if ((old_status & PCI_EXP_DPC_STATUS_TRIGGER) &&
        !pcie_dpc_contained(port)) {
        trace_pcie_dpc_release(port->name);
        pcie_dpc_set_link(port);
    }
    /* That bit is an order, and reads as 0 */
    control = pci_word_test_and_clear_mask(cap + PCI_EXP_DPC_CTL,
                                           PCIE_DPC_CTL_SW_TRIGGER);
    if (control &&
        (pci_get_word(cap + PCI_EXP_DPC_CTL) & PCIE_DPC_CTL_EN) &&
        !pcie_dpc_contained(port)) {
        pcie_dpc_trigger(port, PCIE_DPC_REASON_SW, 0);
    }
    pcie_dpc_update_interrupt(port);
}

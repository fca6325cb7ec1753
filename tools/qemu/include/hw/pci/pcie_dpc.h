/*
 * PCIe Downstream Port Containment (DPC)
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_PCIE_DPC_H
#define QEMU_PCIE_DPC_H

#include "hw/pci/pcie_aer.h"

/**
 * pcie_dpc_init: Add the capability to a downstream port
 *
 * @port: a root port or a downstream port of a switch, with AER
 * @offset: of the capability
 * @vector: of its interrupt, in MSI or MSI-X
 *
 * No extension for root ports and no blocking of poisoned requests.
 */
void pcie_dpc_init(PCIDevice *port, uint16_t offset, uint8_t vector);

/* All bits as after a reset; pcie_cap_slot_reset() follows and ends it */
void pcie_dpc_reset(PCIDevice *port);

/**
 * pcie_dpc_contained: Is the link of a port down because of an error?
 *
 * @port: any device
 */
bool pcie_dpc_contained(const PCIDevice *port);

/**
 * pcie_dpc_message: An error message comes to a port, or comes from it
 *
 * @port: any device
 * @msg: the message
 *
 * Returns whether it goes no further.
 */
bool pcie_dpc_message(PCIDevice *port, const PCIEAERMsg *msg);

/* To be called after the configuration space has come by migration */
void pcie_dpc_post_load(PCIDevice *port);

/* DPC status, for pcie_dpc_write_config(); 0 for a device without */
uint16_t pcie_dpc_status(const PCIDevice *port);

/**
 * pcie_dpc_write_config: The configuration space of a port was written
 *
 * @port: the port
 * @old_status: what pcie_dpc_status() was before
 */
void pcie_dpc_write_config(PCIDevice *port, uint16_t old_status);

#endif

/*
 * Device tree nodes of PCI devices whose accesses the SMMU may hold
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_VIRT_STALL_H
#define HW_ARM_VIRT_STALL_H

#include "hw/arm/virt.h"

/* Once the devices are there, and before the tree is loaded */
void virt_stall_add_nodes(VirtMachineState *vms);

#endif

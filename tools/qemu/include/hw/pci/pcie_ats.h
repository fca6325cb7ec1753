/*
 * ATS, PASID and page request interface (PRI) capabilities of a PCIe function
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A device model adds the capabilities with pcie_ats_init() (hw/pci/pcie.h),
 * pcie_pasid_init() and pcie_pri_init(), and calls pcie_ats_pasid_pri_reset()
 * from its reset function.  The rules of the specification for the registers
 * (Stopped, Reset, what may change while what is enabled) are kept by
 * pci_default_write_config(), so a model that overrides config_write has to
 * call that function.
 *
 * All functions need the BQL.
 */

#ifndef QEMU_PCIE_ATS_H
#define QEMU_PCIE_ATS_H

#include "exec/hwaddr.h"

/**
 * struct PCIEPRIState: state of the page request interface that has no
 * register of its own.  Private to hw/pci/pcie_ats.c.
 *
 * @outstanding: requests sent that were not answered
 * @enabled: last value seen of the Enable bit
 * @halted: a Response Failure came in; no requests until Enable is set anew
 * @forget: see pcie_pri_set_forget_handler()
 */
typedef struct PCIEPRIState {
    uint32_t outstanding;
    bool enabled;
    bool halted;
    void (*forget)(PCIDevice *dev);
} PCIEPRIState;

/**
 * pcie_ats_enabled: Test ATS Enable of a function
 */
bool pcie_ats_enabled(const PCIDevice *dev);

/**
 * pcie_ats_get_stu: Get the smallest translation unit
 *
 * Returns: the size in bytes of the smallest range that a translation or an
 * invalidation is about, at least 4096.  The value of a VF is that of its PF.
 */
hwaddr pcie_ats_get_stu(const PCIDevice *dev);

/**
 * pcie_ats_set_global_invalidate: Announce that the function understands an
 * invalidation for all PASIDs.  Call after pcie_ats_init().
 */
void pcie_ats_set_global_invalidate(PCIDevice *dev);

/**
 * pcie_ats_global_invalidate: Test whether it does
 */
bool pcie_ats_global_invalidate(const PCIDevice *dev);

/**
 * pcie_ats_check_pending: Log a guest error if software has the IOMMU send more
 * invalidations than fit into the queue of the function
 *
 * @dev: the function; may be NULL
 * @pending: how many may be under way at a time
 */
void pcie_ats_check_pending(const PCIDevice *dev, unsigned int pending);

/**
 * pcie_pasid_common_init: Fill in a PASID capability that is there already
 *
 * The parameters are those of pcie_pasid_init().
 */
void pcie_pasid_common_init(PCIDevice *dev, uint16_t offset,
                            uint8_t pasid_width, bool exec_perm,
                            bool priv_mod);

/**
 * pcie_pasid_init: Add a PASID capability
 *
 * @dev: the function; not a VF, which uses that of its PF
 * @offset: where in the extended configuration space
 * @pasid_width: number of PASID bits, at most PCI_EXT_CAP_PASID_MAX_WIDTH
 * @exec_perm: whether the function can ask for execute permission
 * @priv_mod: whether the function can make privileged requests
 */
void pcie_pasid_init(PCIDevice *dev, uint16_t offset, uint8_t pasid_width,
                     bool exec_perm, bool priv_mod);

/**
 * pcie_pasid_enabled: Test PASID Enable of a function, or of the PF of a VF
 */
bool pcie_pasid_enabled(const PCIDevice *dev);

/**
 * pcie_pasid_exec_enabled: Test whether requests for execute permission are
 * allowed now
 */
bool pcie_pasid_exec_enabled(const PCIDevice *dev);

/**
 * pcie_pasid_priv_enabled: Test whether privileged requests are allowed now
 */
bool pcie_pasid_priv_enabled(const PCIDevice *dev);

/**
 * pcie_pri_init: Add a page request interface capability
 *
 * @dev: the function; not a VF, which uses that of its PF
 * @offset: where in the extended configuration space
 * @outstanding_pr_cap: how many page requests the function can have
 *     outstanding
 * @prg_response_pasid_req: whether the response to a request with PASID has to
 *     carry the PASID
 */
void pcie_pri_init(PCIDevice *dev, uint16_t offset, uint32_t outstanding_pr_cap,
                   bool prg_response_pasid_req);

/**
 * pcie_pri_enabled: Test Enable of the page request interface
 */
bool pcie_pri_enabled(const PCIDevice *dev);

/**
 * pcie_pri_get_req_alloc: Get the Outstanding Page Request Allocation
 *
 * Returns: what software programmed, 0 while the interface is disabled.  The
 * value is guest controlled and may exceed the capacity.
 */
uint32_t pcie_pri_get_req_alloc(const PCIDevice *dev);

/**
 * pcie_pri_response_pasid_required: Test PRG Response PASID Required
 */
bool pcie_pri_response_pasid_required(const PCIDevice *dev);

/**
 * pcie_has_pri: Test whether there is a page request interface
 */
bool pcie_has_pri(const PCIDevice *dev);

/**
 * pcie_pri_is_halted: Test whether a Response Failure forbids page requests
 */
bool pcie_pri_is_halted(const PCIDevice *dev);

/**
 * pcie_pri_exceeds_credits: Test whether more requests were accounted for than
 * software allows to be outstanding
 */
bool pcie_pri_exceeds_credits(const PCIDevice *dev);

/**
 * pcie_pri_get_credits: Get the number of page requests that may be sent now
 *
 * Returns: allocation, limited by the capacity, less what is outstanding;
 * 0 while the interface is disabled or was stopped by a Response Failure.
 */
uint32_t pcie_pri_get_credits(const PCIDevice *dev);

/**
 * pcie_pri_request_sent: Account for one page request that awaits a response
 *
 * To be called before the request, whose response may come at once.  A stop
 * marker awaits none and is not accounted for.
 */
void pcie_pri_request_sent(PCIDevice *dev);

/**
 * pcie_pri_request_done: Account for @n page requests that were answered, or
 * for which no answer will come
 *
 * The last of them sets the Stopped bit if the interface was disabled.  @n may
 * exceed what is outstanding, as it does for responses that come in after the
 * state was forgotten.
 */
void pcie_pri_request_done(PCIDevice *dev, uint32_t n);

/**
 * pcie_pri_response_failure: A response with code Response Failure came in
 *
 * Sets the RF status bit and takes every outstanding request as lost.  There
 * are no credits until software disables and enables the interface.
 */
void pcie_pri_response_failure(PCIDevice *dev);

/**
 * pcie_pri_unexpected_prgi: A response for an unknown group came in
 *
 * Sets the UPRGI status bit.
 */
void pcie_pri_unexpected_prgi(PCIDevice *dev);

/**
 * pcie_pri_set_forget_handler: Ask to be told when groups have to be forgotten
 *
 * @forget: called when software resets the interface (the Reset bit, PCIe
 *     6.0 10.5.2.1) while requests may be outstanding: the function drops its
 *     record of all groups, later responses to them are unexpected ones
 */
void pcie_pri_set_forget_handler(PCIDevice *dev,
                                 void (*forget)(PCIDevice *dev));

/**
 * pcie_ats_pasid_pri_reset: Bring the capabilities that the function has to
 * their state after a function level or conventional reset
 *
 * Does not call the forget handler.
 */
void pcie_ats_pasid_pri_reset(PCIDevice *dev);

/**
 * pcie_ats_pasid_pri_write_config: Apply the register rules after a write
 *
 * For the PCI core only; @addr and @len are those of the write, or cover all
 * of the configuration space after it was loaded from a migration stream.
 */
void pcie_ats_pasid_pri_write_config(PCIDevice *dev, uint32_t addr,
                                     uint32_t len);

/* For the PCI core: the state of the page request interface, if there is any */
extern const VMStateDescription vmstate_pcie_pri;

#endif /* QEMU_PCIE_ATS_H */

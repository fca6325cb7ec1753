/*
 * Untranslated accesses of PCI device models that wait for the IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An IOMMU may hold an access that faults until software has dealt with the
 * fault.  QEMU's memory API cannot suspend an access, so the device model does
 * it: it asks for the translation of each access first, and asks once more when
 * the IOMMU says so.  With this it can also use a PASID in untranslated
 * accesses, for which the memory API has no room.
 *
 * What accesses memory in the usual way never waits: where such an access
 * would, the IOMMU ends it.
 *
 * All functions need the BQL.
 */

#ifndef QEMU_PCI_STALL_H
#define QEMU_PCI_STALL_H

#include "exec/memory.h"

/* What becomes of an access that was held */
typedef enum PCIStallVerdict {
    PCI_STALL_RETRY,    /* ask again, as for a new access */
    PCI_STALL_ABORT,    /* it failed */
    PCI_STALL_ROOM,     /* of no access: the IOMMU can hold one more */
} PCIStallVerdict;

struct PCIStallNotifier;
typedef void (*PCIStallNotify)(struct PCIStallNotifier *notifier,
                               PCIStallVerdict verdict, uint64_t cookie);

/**
 * struct PCIStallNotifier: how a device hears of accesses that were held
 *
 * @notify: called once for each of them, with the cookie it was given, perhaps
 *     before pci_stall_translate() returns; and for PCI_STALL_ROOM.  A device
 *     that was reset in between does not know the cookie any more, and ignores
 *     it.
 */
typedef struct PCIStallNotifier {
    PCIStallNotify notify;
} PCIStallNotifier;

/**
 * pci_stall_supported: Test whether there is an IOMMU that may hold accesses
 *
 * @dev: the device
 *
 * Says nothing of whether software lets it.
 */
bool pci_stall_supported(PCIDevice *dev);

/**
 * pci_stall_set_notifier: Say who is told
 *
 * @dev: the device
 * @notifier: NULL for nobody, before the device goes away
 */
void pci_stall_set_notifier(PCIDevice *dev, PCIStallNotifier *notifier);

/**
 * pci_stall_translate: Translate an access that may wait
 *
 * @dev: the device, which has a notifier
 * @pasid: PCI_NO_PASID or the PASID of the access
 * @priv_req: make it a privileged access; needs a PASID
 * @exec_req: make it an instruction fetch; needs a PASID, and no write
 * @addr: where; the access must not cross a boundary of 4 KiB
 * @is_write: whether it writes
 * @cookie: for the notifier; the device knows the access by it
 * @entry: where to store the translation, which is good for this access, and
 *     to be used at once
 *
 * Returns: 0 or a negative errno value:
 *
 * -EINPROGRESS: the IOMMU holds the access: the notifier will be called;
 * -EBUSY: it would, but holds as many as it can: try again after
 *   PCI_STALL_ROOM;
 * -EACCES: the access failed;
 * -EPERM: the device is not bus master, or PASID or the execute or privileged
 *   permission is not enabled;
 * -EINVAL: the PASID has more than 20 bits, or @exec_req or @priv_req without
 *   PASID, or @exec_req with @is_write;
 * -ENODEV: there is no IOMMU that may hold accesses.
 */
int pci_stall_translate(PCIDevice *dev, uint32_t pasid, bool priv_req,
                        bool exec_req, hwaddr addr, bool is_write,
                        uint64_t cookie, IOMMUTLBEntry *entry);

/*
 * For IOMMU models
 */

/**
 * pci_stall_over: Tell a function that it need not wait any longer
 *
 * @bus: as PCIIOMMUOps.stall_translate got it
 * @devfn: likewise.  Without a device there nothing happens.
 * @verdict: what becomes of the access
 * @cookie: which one; 0 with PCI_STALL_ROOM
 */
void pci_stall_over(PCIBus *bus, int devfn, PCIStallVerdict verdict,
                    uint64_t cookie);

#endif /* QEMU_PCI_STALL_H */

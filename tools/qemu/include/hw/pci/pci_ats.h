/*
 * Translation requests (ATS) and page requests (PRI) of PCI device models
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How a device model uses an IOMMU that is in the machine:
 *
 * - Once software has enabled ATS, register an invalidation notifier for
 *   requests without PASID (pci_iommu_register_iotlb_notifier()), and one for
 *   each PASID before the first translation request with it.
 * - Ask for translations with pci_ats_request_translation() and keep them in a
 *   cache (an ATC) until they are invalidated, ATS is disabled or the device is
 *   reset.
 * - An entry without the permission asked for may be requested as a page with
 *   pci_pri_request_page(); the response comes in through the notifier
 *   registered by pci_pri_register_notifier(), after which the translation is
 *   asked for again.
 *
 * A PASID is PCI_NO_PASID (hw/pci/pci_bus.h) or a number of at most 20 bits.
 * All functions need the BQL.
 */

#ifndef QEMU_PCI_ATS_H
#define QEMU_PCI_ATS_H

#include "exec/memory.h"

/* Width of the page request group index, 9 bits */
#define PCI_PRI_PRGI_MASK 0x1ff

/* Values of MemTxAttrs.address_type */
typedef enum PCIAddressType {
    PCI_AT_UNTRANSLATED = 0,
    PCI_AT_TRANSLATED = 1,
} PCIAddressType;

/* Meaning of a page request group response, not its encoding on the wire */
typedef enum IOMMUPRIResponseCode {
    IOMMU_PRI_RESP_SUCCESS,
    IOMMU_PRI_RESP_INVALID_REQUEST,
    IOMMU_PRI_RESP_FAILURE,
} IOMMUPRIResponseCode;

/**
 * struct IOMMUPRIResponse: a page request group response
 *
 * @response_code: what it says
 * @prgi: page request group index, PCI_PRI_PRGI_MASK
 * @pasid: PCI_NO_PASID if it carries none
 * @automatic: it is the IOMMU's own, software does not know of it.  Not to be
 *     seen on the wire: for statistics only.
 */
typedef struct IOMMUPRIResponse {
    IOMMUPRIResponseCode response_code;
    uint16_t prgi;
    uint32_t pasid;
    bool automatic;
} IOMMUPRIResponse;

struct IOMMUPRINotifier;
typedef void (*IOMMUPRINotify)(struct IOMMUPRINotifier *notifier,
                               IOMMUPRIResponse *response);

typedef struct IOMMUPRINotifier {
    IOMMUPRINotify notify;
} IOMMUPRINotifier;

/**
 * pci_is_master: Test whether a device may issue requests on the bus
 *
 * @dev: the device
 *
 * Returns: true while Bus Master Enable is set and the device has power.  The
 * messages of the page request interface do not need that.
 */
bool pci_is_master(const PCIDevice *dev);

/**
 * pci_iommu_get_iotlb_info: Get the properties of an IOMMU that the cache of a
 * device depends on
 *
 * @dev: the device
 * @addr_width: where to store the number of address bits that the IOMMU
 *     translates
 * @min_page_size: where to store the size in bytes of its smallest page
 *
 * Returns: 0, or -ENODEV if the device has no IOMMU that answers translation
 * requests.
 */
int pci_iommu_get_iotlb_info(PCIDevice *dev, uint8_t *addr_width,
                             uint32_t *min_page_size);

/**
 * pci_iommu_init_iotlb_notifier: Initialize a notifier for invalidations of
 * the device's cache
 *
 * @dev: the device
 * @n: the notifier; can be registered for one PASID at a time
 * @fn: called for each invalidation.  The entry says which range (@iova and
 *     @addr_mask, whose size need not be a power of two) and which PASID, that
 *     of the registration.  All cached entries that overlap have to be gone on
 *     return.  It must not register or unregister notifiers.
 * @opaque: value of the @opaque field of the notifier
 *
 * Returns: 0, or -ENODEV if the device has no IOMMU that answers translation
 * requests.
 */
int pci_iommu_init_iotlb_notifier(PCIDevice *dev, IOMMUNotifier *n,
                                  IOMMUNotify fn, void *opaque);

/**
 * pci_iommu_register_iotlb_notifier: Start to receive invalidations
 *
 * @dev: the device
 * @pasid: PCI_NO_PASID for entries of requests without PASID; else the PASID
 *     whose entries the notifier is about.  An invalidation without PASID
 *     reaches the notifiers of every PASID of the device.
 * @n: the notifier
 *
 * A PASID that the IOMMU does not have is no error here: requests with it fail.
 *
 * Returns: 0; -EPERM if a PASID is given and PASID is not enabled in the
 * device; -EINVAL if the PASID has more than 20 bits; -ENODEV if there is no
 * IOMMU that answers translation requests.
 */
int pci_iommu_register_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                      IOMMUNotifier *n);

/**
 * pci_iommu_unregister_iotlb_notifier: Stop to receive invalidations
 *
 * @dev: the device
 * @pasid: the value given at registration
 * @n: the notifier, which must be registered
 *
 * Works whatever is enabled in the device, so that it can be used after
 * software has disabled ATS or PASID.
 *
 * Returns: 0 or -ENODEV
 */
int pci_iommu_unregister_iotlb_notifier(PCIDevice *dev, uint32_t pasid,
                                        IOMMUNotifier *n);

/**
 * pci_ats_request_translation: Translate a range
 *
 * @dev: the device
 * @pasid: PCI_NO_PASID or the PASID of the request
 * @priv_req: make a privileged request; needs a PASID
 * @exec_req: ask for execute permission; needs a PASID
 * @addr: first address; need not be aligned
 * @length: number of bytes, at least one
 * @no_write: promise not to write, so the IOMMU neither grants write
 *     permission nor sets dirty bits
 * @result: where to store the answers
 * @result_length: number of elements of @result
 * @err_count: where to store the number of answers that lack something of what
 *     was asked for: read, write unless @no_write, execute if @exec_req.  May
 *     be NULL.
 *
 * The answers describe consecutive ranges, the first one holds @addr and the
 * last one holds the end of the range.  @iova and @addr_mask of each are valid
 * even if it has no permissions (IOMMU_NONE), which is what a page that is not
 * present looks like.  The IOMMU may grant more than was asked for, except that
 * IOMMU_WO is never granted to a request with @no_write.  An answer with
 * IOMMU_UNTRANSLATED_ONLY has no usable address.
 *
 * Accesses with a translated address go to @target_as of the answer, or,
 * checked by the IOMMU, to the bus master address space of the device with
 * MemTxAttrs.address_type set to PCI_AT_TRANSLATED.
 *
 * Returns: the number of answers, or a negative errno value:
 *
 * -EPERM: the device is not bus master, ATS is not enabled, or PASID or the
 *   execute or privileged permission is not enabled;
 * -EINVAL: the range is empty or wraps, the PASID has more than 20 bits, or
 *   @exec_req or @priv_req without PASID;
 * -ENODEV: there is no IOMMU that answers translation requests;
 * -ENOSPC: @result_length is 0;
 * -ENOMEM: the range has more pages than @result_length;
 * -EACCES: the IOMMU refuses requests of this device or PASID (completion with
 *   status Unsupported Request);
 * -EIO: the IOMMU could not read its tables (status Completer Abort).
 */
ssize_t pci_ats_request_translation(PCIDevice *dev, uint32_t pasid,
                                    bool priv_req, bool exec_req,
                                    hwaddr addr, size_t length,
                                    bool no_write, IOMMUTLBEntry *result,
                                    size_t result_length,
                                    uint32_t *err_count);

/**
 * pci_pri_register_notifier: Start to receive page request responses
 *
 * @dev: the device
 * @pasid: PCI_NO_PASID for responses without PASID, else the PASID
 * @notifier: its @notify is called for each response, also for one that no
 *     request was sent for.  Replaces an earlier notifier for that PASID.
 *
 * A response reaches the function by its requester ID, whatever PASID it
 * carries.  The notifier of that PASID gets it; without one, that for responses
 * without PASID; without that, any other.  So a notifier has to look at @pasid
 * of the response, and to call pcie_pri_unexpected_prgi() for what it did not
 * ask for.  If the device has no notifier at all, the PCI core does that.
 *
 * Returns: 0, or -EPERM, -EINVAL and -ENODEV as in
 * pci_iommu_register_iotlb_notifier().
 */
int pci_pri_register_notifier(PCIDevice *dev, uint32_t pasid,
                              IOMMUPRINotifier *notifier);

/**
 * pci_pri_unregister_notifier: Stop to receive page request responses
 *
 * @dev: the device
 * @pasid: the value given at registration
 */
void pci_pri_unregister_notifier(PCIDevice *dev, uint32_t pasid);

/**
 * pci_pri_request_page: Send a page request
 *
 * @dev: the device
 * @pasid: PCI_NO_PASID or the PASID of the request
 * @priv_req: make a privileged request; needs a PASID
 * @exec_req: ask for execute permission; needs a PASID
 * @addr: address of the page; the low 12 bits are ignored
 * @lpig: last request of its group: asks for the response
 * @prgi: page request group index, PCI_PRI_PRGI_MASK
 * @is_read: ask for read permission
 * @is_write: ask for write permission
 *
 * @lpig with a PASID and neither @is_read nor @is_write is a stop marker, which
 * has no response.  Credits are the business of the caller, see
 * pcie_pri_get_credits() and pcie_pri_request_sent(), which is to be called
 * before; a request without credit goes out, and is logged as a guest error.
 *
 * Once the request is on the wire, all there is to know about it comes in
 * through the notifier: one response for each group whose last request was
 * sent, from software or, where the architecture has that, from the IOMMU
 * itself, for example because its queue is full or the tables do not let the
 * device make page requests.  The notifier may be called before the function
 * returns.  What the IOMMU drops without an answer is lost.
 *
 * Returns: 0 or a negative errno value, which says that nothing was sent:
 *
 * -EPERM: the device has no power, PRI is not enabled, or PASID or the execute
 *   or privileged permission is not enabled;
 * -EINVAL: the PASID has more than 20 bits, @prgi more than 9, @exec_req
 *   without @is_read, or @exec_req or @priv_req without PASID;
 * -ENODEV: there is no IOMMU that takes page requests.
 */
int pci_pri_request_page(PCIDevice *dev, uint32_t pasid, bool priv_req,
                         bool exec_req, hwaddr addr, bool lpig,
                         uint16_t prgi, bool is_read, bool is_write);

/* What becomes of an invalidation request */
typedef enum PCIATSInvResult {
    PCI_ATS_INV_DONE,
    PCI_ATS_INV_HELD,       /* the completion is withheld */
    PCI_ATS_INV_FAILED,     /* there will be none: to the IOMMU, a time-out */
} PCIATSInvResult;

/**
 * pci_ats_set_completions: Have a device misbehave with invalidations
 *
 * @dev: the device
 * @mode: what becomes of invalidations from now on.  PCI_ATS_INV_DONE is what
 *     a device should do, and completes those that were withheld;
 *     PCI_ATS_INV_FAILED gives these up.
 *
 * For devices that test software.  The notifiers are called all the same, so
 * a device can drop what it has cached and not say so.
 */
void pci_ats_set_completions(PCIDevice *dev, PCIATSInvResult mode);

/*
 * For IOMMU models
 *
 * @bus and @devfn of these functions are those that the PCIIOMMUOps get, which
 * stand for the requester ID.  Without a device there nothing happens.
 */

/**
 * pci_ats_get_stu: Get the smallest translation unit of a function
 *
 * Returns: size in bytes, a power of two of at least 4096
 */
hwaddr pci_ats_get_stu(PCIBus *bus, int devfn);

/**
 * pci_ats_decode_range: Decode a range as ATS messages have it
 *
 * @addr: address field; if @size is set, the ones from bit 12 up to the first
 *     zero tell the size
 * @size: the S field
 * @mask: where to store the size less one, UINT64_MAX for all addresses
 *
 * Returns: the first address
 */
hwaddr pci_ats_decode_range(uint64_t addr, bool size, hwaddr *mask);

/**
 * pci_ats_invalidate: Send an invalidation request to a function
 *
 * @pasid: PCI_NO_PASID to invalidate the range whatever the PASID is
 * @global: the Global Invalidate bit: the range of every PASID.  What was
 *     cached for requests without PASID stays.  A function that does not
 *     announce it does not look at the bit.
 * @addr: first address
 * @mask: size less one
 *
 * The function has dropped what it is about on return.
 *
 * Returns: PCI_ATS_INV_DONE, unless the device is there to misbehave
 */
PCIATSInvResult pci_ats_invalidate(PCIBus *bus, int devfn, uint32_t pasid,
                                   bool global, hwaddr addr, hwaddr mask);

/**
 * pci_pri_respond: Send a page request group response to a function
 *
 * Reaches a notifier as said at pci_pri_register_notifier().  Is lost if the
 * function has no power, or is a VF that is disabled.
 */
void pci_pri_respond(PCIBus *bus, int devfn, IOMMUPRIResponse *response);

/**
 * pci_ats_forget_held: Do not report completions that a function withholds
 *
 * For an IOMMU that waits for them no longer, so that those of later
 * invalidations can be told from them.
 */
void pci_ats_forget_held(PCIBus *bus, int devfn);

/**
 * typedef PCIATSTranslateFn: translate one address, for
 * pci_ats_translate_range()
 *
 * @opaque: what pci_ats_translate_range() was given
 * @addr: the address
 * @entry: where to store the answer.  @iova, @addr_mask and @perm have to be
 *     set, the range has to hold @addr.
 *
 * Returns: 0 or a negative errno value that ends the whole request
 */
typedef int (*PCIATSTranslateFn)(void *opaque, hwaddr addr,
                                 IOMMUTLBEntry *entry);

/**
 * pci_ats_fill_entry: Answer with a page, or with a hole
 *
 * @entry: the answer
 * @addr: any address of the page
 * @mask: size of the page less one
 * @translated: any address of what it is translated to
 * @perm: IOMMU_NONE for a hole
 */
static inline void pci_ats_fill_entry(IOMMUTLBEntry *entry, hwaddr addr,
                                      hwaddr mask, hwaddr translated,
                                      IOMMUAccessFlags perm)
{
    entry->iova = addr & ~mask;
    entry->addr_mask = mask;
    entry->translated_addr = translated & ~mask;
    entry->perm = perm;
}

/**
 * pci_ats_translate_range: Split a translation request into entries
 *
 * For the implementation of PCIIOMMUOps.ats_request_translation in an IOMMU.
 *
 * @fn: translates one address
 * @opaque: for @fn
 * @want: permissions whose lack counts as an error
 * @stu: smallest translation unit, see pci_ats_get_stu().  An answer about
 *     less than that, a hole too, is made as large, with the permissions that
 *     all of it has; without any, if its parts do not lie in a row, or if there
 *     are more than 65536 of them in what is asked for.
 * @addr: first address
 * @length: number of bytes, at least one
 * @result: where to store the answers
 * @result_length: number of elements of @result
 * @err_count: where to store the number of answers without @want; may be NULL
 *
 * Returns: as pci_ats_request_translation()
 */
ssize_t pci_ats_translate_range(PCIATSTranslateFn fn, void *opaque,
                                IOMMUAccessFlags want, hwaddr stu,
                                hwaddr addr, size_t length,
                                IOMMUTLBEntry *result, size_t result_length,
                                uint32_t *err_count);

/**
 * pci_iommu_update_entry: Change a paging entry, if it still is what was read
 *
 * For an IOMMU that sets flags in tables.  Software may change the entry at any
 * time, and a plain write would undo that.
 *
 * @addr: where the entry of eight bytes, little endian, is in memory
 * @old: what it was
 * @new: what it is to be; the upper half is that of @old
 * @changed: where to store whether it was something else, and is to be read
 *     again
 *
 * Returns: false if it is not in RAM
 */
bool pci_iommu_update_entry(hwaddr addr, uint64_t old, uint64_t new,
                            bool *changed);

/*
 * For the PCI core: a device that goes away needs no notifiers any more, nor
 * what the IOMMU keeps for it
 */
void pci_ats_forget_notifiers(PCIDevice *dev);

#endif /* QEMU_PCI_ATS_H */

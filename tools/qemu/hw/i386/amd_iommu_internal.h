/*
 * AMD IOMMU (AMD-Vi): what the parts of the model know of each other
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For an IOMMU with ATS, page requests or guest translation.  All of it needs
 * the BQL.
 */

#ifndef HW_I386_AMD_IOMMU_INTERNAL_H
#define HW_I386_AMD_IOMMU_INTERNAL_H

#include "hw/pci/pci_bus.h"
#include "amd_iommu.h"
#include "amd_iommu_regs.h"

#define AMDVI_PAGE_LOW MAKE_64BIT_MASK(0, 12)

/*
 * Features: amd_iommu_features.c
 */

bool amdvi_check_features(AMDVIState *s, Error **errp);
uint64_t amdvi_whole_efr(const AMDVIState *s);
/* First word of the capability, and the word about address sizes */
uint32_t amdvi_capability_header(const AMDVIState *s);
uint32_t amdvi_capability_misc(const AMDVIState *s);

/*
 * Registers: amd_iommu_mmio.c
 */

/* A register as it is, and as the hardware changes it */
uint64_t amdvi_reg(const AMDVIState *s, hwaddr addr);
void amdvi_set_reg(AMDVIState *s, hwaddr addr, uint64_t val);
static inline bool amdvi_control(const AMDVIState *s, uint64_t bit)
{
    return amdvi_reg(s, AMDVI_MMIO_CONTROL) & bit;
}

/* What the model keeps of a register besides: after it has changed */
void amdvi_decode_control(AMDVIState *s);
void amdvi_decode_devtab(AMDVIState *s);

/* Whether an access to the addresses of interrupts is one; reports if not */
bool amdvi_is_interrupt(AMDVIState *s, hwaddr addr, bool is_write,
                        MemTxAttrs attrs);
uint64_t amdvi_whole_mmio_read(AMDVIState *s, hwaddr addr, unsigned size);
void amdvi_whole_mmio_write(AMDVIState *s, hwaddr addr, uint64_t val,
                            unsigned size);
void amdvi_whole_reset(AMDVIState *s);

/* Change the status register, and send what interrupts follow from it */
void amdvi_change_status(AMDVIState *s, uint64_t clear, uint64_t set);
/* Bytes of the ring with that base register, 0 if it is no legal length */
uint32_t amdvi_ring_size(const AMDVIState *s, hwaddr base);
static inline hwaddr amdvi_ring_addr(const AMDVIState *s, hwaddr base)
{
    return amdvi_reg(s, base) & AMDVI_RING_ADDR;
}

/* The message of the PCI function, which nothing translates: amd_iommu.c */
void amdvi_generate_msi_interrupt(AMDVIState *s);

/*
 * Memory of the guest: amd_iommu_memory.c
 */

/* Only RAM: nothing that has side effects, and not the IOMMU itself */
bool amdvi_read_memory(hwaddr addr, uint64_t *val, unsigned n);
bool amdvi_write_memory(hwaddr addr, const uint64_t *val, unsigned n);

/*
 * Logs: amd_iommu_log.c
 */

/* Registers of a log, and its bits in the control and status registers */
typedef struct AMDVILog {
    hwaddr base, head, tail;
    uint64_t enable, run, overflow, interrupt;
} AMDVILog;

extern const AMDVILog amdvi_event_log;
extern const AMDVILog amdvi_ppr_log;

typedef enum AMDVILogResult {
    AMDVI_LOG_DONE,
    AMDVI_LOG_OFF,          /* it does not run, or is not in memory */
    AMDVI_LOG_OVERFLOW,     /* or has not been started again since */
} AMDVILogResult;

AMDVILogResult amdvi_log_append(AMDVIState *s, const AMDVILog *log,
                                const uint64_t entry[2]);
/* Entries that software has not taken yet */
uint32_t amdvi_log_used(AMDVIState *s, const AMDVILog *log);
/* The control register has changed */
void amdvi_log_update(AMDVIState *s, const AMDVILog *log, uint64_t old);
void amdvi_event(AMDVIState *s, uint64_t q0, uint64_t q1);

/*
 * Requests and device table entries: amd_iommu_dte.c
 */

typedef enum AMDVIRequestKind {
    AMDVI_REQ_UNTRANSLATED,
    AMDVI_REQ_TRANSLATION,
    AMDVI_REQ_TRANSLATED,
    AMDVI_REQ_PAGE,
    AMDVI_REQ_INTERRUPT,
} AMDVIRequestKind;

/*
 * @pasid: PCI_NO_PASID or that of the request
 * @want: what it asks for, with IOMMU_EXEC and IOMMU_PRIV
 */
typedef struct AMDVIRequest {
    AMDVIState *s;
    uint16_t devid;
    uint32_t pasid;
    AMDVIRequestKind kind;
    IOMMUAccessFlags want;
} AMDVIRequest;

typedef struct AMDVIDTE {
    uint64_t q[4];
    bool fault_logged;      /* for SE */
} AMDVIDTE;

static inline uint16_t amdvi_dte_domain(const AMDVIDTE *dte)
{
    return dte->q[1];
}

static inline unsigned amdvi_dte_mode(const AMDVIDTE *dte)
{
    return extract64(dte->q[0], 9, 3);
}

static inline uint16_t amdvi_dte_guest(const AMDVIDTE *dte)
{
    return dte->q[3] >> 32;
}

/* The first word of a log entry, with the device ID of the guest */
static inline uint64_t amdvi_as_guest_knows(const AMDVIDTE *dte, uint64_t q0)
{
    return deposit64(q0, 0, 16, extract64(dte->q[3], 16, 16));
}

static inline hwaddr amdvi_dte_gcr3(const AMDVIDTE *dte)
{
    return extract64(dte->q[0], 58, 3) << 12 |
           extract64(dte->q[1], 16, 16) << 15 |
           extract64(dte->q[1], 43, 21) << 31;
}

/* Whether a request is for the tables of the guest */
static inline bool amdvi_uses_guest(const AMDVIRequest *req,
                                    const AMDVIDTE *dte)
{
    return (dte->q[0] & AMDVI_DTE_GV) &&
           (req->pasid != PCI_NO_PASID || (dte->q[0] & AMDVI_DTE_GIOV));
}

/* Those of the guest have a PASID for any request: 0 if it has none */
static inline uint32_t amdvi_guest_pasid(const AMDVIRequest *req)
{
    return req->pasid == PCI_NO_PASID ? 0 : req->pasid;
}

/*
 * The entry for a request, from the cache if it is there.
 *
 * Returns: NULL with an event in the log, *@hw telling whether it could not be
 * read
 */
AMDVIDTE *amdvi_find_dte(const AMDVIRequest *req, hwaddr addr, bool *hw);
/* For interrupts */
bool amdvi_cached_dte(AMDVIState *s, uint16_t devid, uint64_t entry[4]);

/* Whether the device is one of a virtual IOMMU in hardware */
bool amdvi_of_guest(AMDVIState *s, const AMDVIDTE *dte);
/* To the log of the guest if that is for it; @q0 names the device as we do */
void amdvi_event_of(AMDVIState *s, const AMDVIDTE *dte, bool guest,
                    uint64_t q0, uint64_t q1);
void amdvi_event_page_fault(const AMDVIRequest *req, AMDVIDTE *dte, bool guest,
                            hwaddr addr, uint64_t flags);
void amdvi_event_table(const AMDVIRequest *req, const AMDVIDTE *dte,
                       bool guest, hwaddr addr);
void amdvi_event_device(const AMDVIRequest *req, hwaddr addr);
void amdvi_event_interrupt_range(const AMDVIRequest *req, hwaddr addr);

/*
 * Page walks: amd_iommu_walk.c, amd_iommu_guest.c
 */

#define AMDVI_ADDR_MASK     MAKE_64BIT_MASK(12, 40)
#define AMDVI_LEVEL_BITS    9

/* What a walk has found.  Without permissions it is a hole. */
typedef struct AMDVIWalk {
    hwaddr mask, xlat;
    IOMMUAccessFlags perm;
    bool untranslated;
} AMDVIWalk;

typedef enum AMDVIWalkResult {
    AMDVI_WALK_OK,
    AMDVI_WALK_FAULT,       /* @flags of the event are set */
    AMDVI_WALK_HW,          /* @addr cannot be read */
} AMDVIWalkResult;

typedef struct AMDVIFault {
    uint64_t flags;
    hwaddr addr;
    bool host;              /* in a table of the host, under one of the guest */
} AMDVIFault;

static inline unsigned amdvi_level_shift(unsigned level)
{
    return 12 + (level - 1) * AMDVI_LEVEL_BITS;
}

static inline hwaddr amdvi_entry_addr(hwaddr table, hwaddr addr,
                                      unsigned level)
{
    unsigned shift = amdvi_level_shift(level);

    return table + extract64(addr, shift, MIN(AMDVI_LEVEL_BITS, 64 - shift)) *
                   sizeof(uint64_t);
}

static inline AMDVIWalkResult amdvi_fault(AMDVIFault *fault, uint64_t flags)
{
    fault->flags = flags;
    return AMDVI_WALK_FAULT;
}

static inline AMDVIWalkResult amdvi_hw_error(AMDVIFault *fault, hwaddr addr)
{
    fault->addr = addr;
    return AMDVI_WALK_HW;
}

/*
 * Whether a walk can end here: a translation request is told what is granted,
 * any other request must be granted all that it asks for
 */
static inline bool amdvi_perm_suffices(const AMDVIRequest *req,
                                       IOMMUAccessFlags perm)
{
    if (req->kind == AMDVI_REQ_TRANSLATION) {
        return perm & IOMMU_RW;
    }
    return !(req->want & IOMMU_RW & ~perm);
}

AMDVIWalkResult amdvi_walk_host(const AMDVIRequest *req, const AMDVIDTE *dte,
                                hwaddr addr, AMDVIWalk *walk,
                                AMDVIFault *fault);
/* @root is the root of the guest tables, what the GCR3 table says */
AMDVIWalkResult amdvi_walk_guest(const AMDVIRequest *req, const AMDVIDTE *dte,
                                 hwaddr root, hwaddr addr, AMDVIWalk *walk,
                                 AMDVIFault *fault);
/* Entry of a GCR3 table, with addresses as above */
AMDVIWalkResult amdvi_walk_gcr3(const AMDVIRequest *req, const AMDVIDTE *dte,
                                uint32_t pasid, hwaddr *root,
                                AMDVIFault *fault);

/*
 * Translation: amd_iommu_translate.c
 */

typedef enum AMDVITranslation {
    AMDVI_TR_OK,            /* @entry is filled, maybe without permissions */
    AMDVI_TR_REFUSED,       /* the tables have nothing for such a request */
    AMDVI_TR_ABORTED,       /* they could not be read */
} AMDVITranslation;

AMDVITranslation amdvi_translate_request(const AMDVIRequest *req, hwaddr addr,
                                         IOMMUTLBEntry *entry);
/* For the memory region; @translated as the AT field of the request says */
IOMMUTLBEntry amdvi_whole_translate(AMDVIAddressSpace *as, hwaddr addr,
                                    IOMMUAccessFlags flag, bool translated);

/*
 * Caches: amd_iommu_cache.c
 */

/* PCI_NO_PASID for what the host tables translate */
typedef struct AMDVIPage {
    uint16_t domain;
    uint32_t pasid;
    hwaddr iova;
    AMDVIWalk walk;
    bool priv;              /* of a privileged request */
    bool nested;
} AMDVIPage;

void amdvi_init_caches(AMDVIState *s);
void amdvi_drop_caches(AMDVIState *s);
AMDVIDTE *amdvi_cache_dte(AMDVIState *s, uint16_t devid);
AMDVIDTE *amdvi_cache_add_dte(AMDVIState *s, uint16_t devid,
                              const AMDVIDTE *dte);
void amdvi_cache_drop_dte(AMDVIState *s, uint16_t devid);
bool amdvi_cache_gcr3(AMDVIState *s, uint16_t domain, uint32_t pasid,
                      hwaddr *root);
void amdvi_cache_add_gcr3(AMDVIState *s, uint16_t domain, uint32_t pasid,
                          hwaddr root);
const AMDVIPage *amdvi_cache_page(AMDVIState *s, const AMDVIPage *key);
void amdvi_cache_add_page(AMDVIState *s, const AMDVIPage *page);
/* INVALIDATE_IOMMU_PAGES; PCI_NO_PASID for GN = 0 */
void amdvi_cache_drop_pages(AMDVIState *s, uint16_t domain, uint32_t pasid,
                            bool tables, hwaddr addr, hwaddr mask);

/*
 * Commands: amd_iommu_cmd.c
 */

typedef enum AMDVICmdResult {
    AMDVI_CMD_DONE,
    AMDVI_CMD_ILLEGAL,
    AMDVI_CMD_FAILED,       /* and the event is in the log */
    AMDVI_CMD_WAITS,        /* to be tried again */
} AMDVICmdResult;

bool amdvi_cmd_legal(const AMDVIState *s, const uint64_t cmd[2]);
/* @addr is where the command is, for events */
AMDVICmdResult amdvi_cmd_exec(AMDVIState *s, const uint64_t cmd[2],
                              hwaddr addr);
static inline unsigned amdvi_cmd_op(const uint64_t cmd[2])
{
    return extract64(cmd[0], 60, 4);
}

void amdvi_run_commands(AMDVIState *s);
/* With x-lazy-invalidation=on: carry out one command, for one read */
void amdvi_run_lazily(AMDVIState *s);

/*
 * Devices: amd_iommu_ats.c, amd_iommu_ppr.c
 */

extern const PCIIOMMUOps amdvi_ats_ops;
extern const PCIIOMMUOps amdvi_ppr_ops;

AddressSpace *amdvi_host_dma_iommu(PCIBus *bus, void *opaque, int devfn);
void amdvi_get_iotlb_info(void *opaque, uint8_t *addr_width,
                          uint32_t *min_page_size);
ssize_t amdvi_ats_request_translation(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t pasid, bool priv_req,
                                      bool exec_req, hwaddr addr,
                                      size_t length, bool no_write,
                                      IOMMUTLBEntry *result,
                                      size_t result_length,
                                      uint32_t *err_count);
void amdvi_ats_invalidation_over(PCIBus *bus, void *opaque, int devfn,
                                 uint32_t n, bool completed);
/* NULL if there is no such function */
AMDVIAddressSpace *amdvi_as_of_devid(AMDVIState *s, uint16_t devid);
void amdvi_forget_held(AMDVIState *s);
/* INVALIDATE_IOTLB_PAGES, without what comes of it. Returns: PCI_ATS_INV_* */
int amdvi_send_inval_iotlb(AMDVIState *s, const uint64_t cmd[2]);
AMDVICmdResult amdvi_cmd_inval_iotlb(AMDVIState *s, const uint64_t cmd[2],
                                     hwaddr cmd_addr);
AMDVICmdResult amdvi_cmd_complete_ppr(AMDVIState *s, const uint64_t cmd[2]);

/*
 * Virtual IOMMUs in hardware.  These are other files, which come in with the
 * property: NULL without it.
 */

typedef struct AMDVIViommuOps {
    void (*reset)(AMDVIState *s);
    /* After the control register was written */
    void (*control_changed)(AMDVIState *s);
    bool (*is_on)(const AMDVIState *s);
    /* RESET_VMMIO */
    void (*reset_guest)(AMDVIState *s, const uint64_t cmd[2]);
    /* What was begun for guests is over when COMPLETION_WAIT is */
    void (*completion_wait)(AMDVIState *s);
    /* An entry for the event log of a guest */
    void (*event)(AMDVIState *s, uint16_t gid, uint64_t q0, uint64_t q1);
    /*
     * One for its log of page requests. Returns: whether the guest takes any;
     * it may be lost all the same
     */
    bool (*page_request)(AMDVIState *s, uint16_t gid, const uint64_t entry[2],
                         bool stop_marker);
    /*
     * @n invalidations of a device are over. Returns: how many of them were
     * not those of guests
     */
    uint32_t (*invalidation_over)(AMDVIState *s, uint16_t devid, uint32_t n,
                                  bool completed);
    /* Completions of devices are not told any more */
    void (*held_forgotten)(AMDVIState *s);
} AMDVIViommuOps;

/*
 * Migration: amd_iommu_vmstate.c
 */

/* Returns: false if this IOMMU must not be there, as it does not migrate */
bool amdvi_register_vmstate(AMDVIState *s, Error **errp);
extern const VMStateDescription vmstate_amdvi_pci;

#endif

/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest has a number.  Its page of registers is mapped into it; a slot of
 * the host says where its rings are.  All else of it is in the memory that the
 * IOMMU reaches by private addresses: its registers, and the maps of its
 * device and domain IDs.
 */

#ifndef HW_I386_AMD_IOMMU_VIOMMU_H
#define HW_I386_AMD_IOMMU_VIOMMU_H

#include "amd_iommu_internal.h"
#include "amd_iommu_viommu_regs.h"

/*
 * Words of a guest's state.  Inference: that it is 64 bytes is known, and what
 * they are is not.  Where the slot has ports, these are the registers of the
 * page, and the others are those of the slot.
 */
enum {
    AMDVI_WORD_POINTERS,        /* of commands and events */
    AMDVI_WORD_STATUS,          /* and pointers of page requests */
    AMDVI_WORD_MISC = AMDVI_CNTL_MISC / 8,
    AMDVI_WORD_CMD = AMDVI_CNTL_CMD / 8,
    AMDVI_WORD_EVENT = AMDVI_CNTL_EVENT / 8,
    AMDVI_WORD_PPR = AMDVI_CNTL_PPR / 8,
    AMDVI_WORDS = AMDVI_VF_CNTL_SLOT / 8,
};

/* A ring of a guest; shifts are of pointers in their word */
typedef struct AMDVIGuestRing {
    unsigned control;           /* word with base, length, enable */
    unsigned base_shift;
    unsigned pointers, head, tail;
    hwaddr ipa;
    uint64_t run, overflow, interrupt;
    uint64_t flag;              /* of events */
    unsigned irq;
} AMDVIGuestRing;

extern const AMDVIGuestRing amdvi_guest_cmd;
extern const AMDVIGuestRing amdvi_guest_events;
extern const AMDVIGuestRing amdvi_guest_ppr;

/* The state of a guest, for a while: nothing else may change it meanwhile */
typedef struct AMDVIGuest {
    AMDVIState *s;
    uint16_t gid;
    uint64_t word[AMDVI_WORDS];
    uint64_t old[AMDVI_WORDS];
} AMDVIGuest;

/* Invalidations of a guest that a device has not completed yet */
typedef struct AMDVIGuestHeld {
    uint32_t gid;               /* AMDVI_GUESTS: of none that waits */
    uint16_t devid, guest_devid;
    uint32_t count;
    QLIST_ENTRY(AMDVIGuestHeld) next;
} AMDVIGuestHeld;

/* INVALIDATE_IOTLB_PAGES with IDs of the host, which was at that address */
typedef void AMDVIGuestInval(AMDVIState *s, uint16_t gid, uint16_t guest_devid,
                             const uint64_t cmd[2], hwaddr addr);

/* What was begun for a guest, see amd_iommu_viommu_late.c */
typedef struct AMDVILate {
    enum {
        AMDVI_LATE_NONE,
        AMDVI_LATE_STORE,
        AMDVI_LATE_INVAL,
    } kind;
    hwaddr addr;                /* in memory, or of the command */
    uint64_t val[2];            /* or the command */
    unsigned n;
    uint16_t gid, guest_devid;
    AMDVIGuestInval *inval;
} AMDVILate;

typedef struct AMDVIViommu {
    MemoryRegion vf, vf_cntl;
    /* Guests whose commands wait for something */
    unsigned long *waits;
    int32_t guests;             /* bits of that */
    QLIST_HEAD(, AMDVIGuestHeld) held;
    QEMUBH *bh;
    VMChangeStateEntry *vm_change;
    bool running;
    AMDVILate late;
    unsigned long *lost;        /* guests whose registers are */
} AMDVIViommu;

/*
 * Private addresses and those of guests: amd_iommu_viommu_ipa.c
 */

/* vIommuEn; GAEn has to be set before */
bool amdvi_viommu_on(const AMDVIState *s);
/* VIOMMU_HARDWARE_ERROR, @flag says what for */
void amdvi_viommu_error(AMDVIState *s, uint16_t gid, uint64_t flag,
                        hwaddr addr);
/* Words of one page. Returns: false, with an event in the log */
bool amdvi_ipa_access(AMDVIState *s, uint16_t gid, uint64_t flag, hwaddr ipa,
                      uint64_t *val, unsigned n, bool write);
/* By the translate device. Returns: false, without an event */
bool amdvi_gpa_access(const AMDVIGuest *g, hwaddr gpa, uint64_t *val,
                      unsigned n, bool write);

/* Cache where the maps of a guest are, or that they are not there */
void amdvi_look_at_maps(AMDVIState *s, uint16_t gid);

/* Take the state of a guest. Returns: false, with an event in the log */
bool amdvi_guest_load(AMDVIState *s, uint16_t gid, uint64_t flag,
                      AMDVIGuest *g);
/* Put back what has changed, and send what interrupts follow from it */
void amdvi_guest_save(AMDVIGuest *g, uint64_t flag);

void amdvi_map_write(AMDVIState *s, uint16_t gid, bool domains, uint64_t val);
/* Returns: false, with an event in the log */
bool amdvi_map_lookup(const AMDVIGuest *g, bool domains, uint16_t id,
                      uint16_t *host);

static inline uint64_t amdvi_guest_status(const AMDVIGuest *g)
{
    return extract64(g->word[AMDVI_WORD_STATUS], 32, 32);
}

static inline void amdvi_guest_set_status(AMDVIGuest *g, uint64_t clear,
                                          uint64_t set)
{
    g->word[AMDVI_WORD_STATUS] = deposit64(g->word[AMDVI_WORD_STATUS], 32, 32,
                                           (amdvi_guest_status(g) & ~clear) |
                                           set);
}

/* Pointers are those of the registers */
static inline uint32_t amdvi_guest_pointer(const AMDVIGuest *g,
                                           const AMDVIGuestRing *ring,
                                           unsigned shift)
{
    return extract64(g->word[ring->pointers], shift, 15) << 4;
}

static inline void amdvi_guest_set_pointer(AMDVIGuest *g,
                                           const AMDVIGuestRing *ring,
                                           unsigned shift, uint32_t val)
{
    g->word[ring->pointers] = deposit64(g->word[ring->pointers], shift, 15,
                                        val >> 4);
}

/* Bytes of a ring, 0 if it is no legal length */
uint32_t amdvi_guest_ring_size(const AMDVIGuest *g, const AMDVIGuestRing *ring);
/*
 * An entry of a ring. *@addr is where it is, as the guest knows it, or as the
 * IOMMU does
 */
bool amdvi_guest_ring_access(const AMDVIGuest *g, const AMDVIGuestRing *ring,
                             uint32_t offset, uint64_t val[2], bool write,
                             hwaddr *addr);
/* The control word has been written: start or stop the ring */
void amdvi_guest_ring_update(AMDVIGuest *g, const AMDVIGuestRing *ring);

/*
 * Logs: amd_iommu_viommu_log.c
 */

void amdvi_guest_event(AMDVIState *s, uint16_t gid, uint64_t q0, uint64_t q1);
bool amdvi_guest_page_request(AMDVIState *s, uint16_t gid,
                              const uint64_t entry[2], bool stop_marker);

/*
 * Interrupts: amd_iommu_viommu_irq.c
 */

/* Conditions that are there and want an interrupt */
uint64_t amdvi_guest_conditions(const uint64_t word[AMDVI_WORDS]);
void amdvi_guest_send_irqs(AMDVIState *s, uint16_t gid, uint64_t conditions);

/*
 * Commands: amd_iommu_viommu_cmd.c
 */

void amdvi_guest_run(AMDVIState *s, uint16_t gid);
/* With x-lazy-invalidation=on: carry out one command, for one read */
void amdvi_guest_run_lazily(AMDVIState *s, uint16_t gid);
/* The ring of the guest is off: nothing waits for its commands */
void amdvi_guest_stop(AMDVIState *s, uint16_t gid);
void amdvi_guest_stop_all(AMDVIState *s);
/* Go on with those that wait for something */
void amdvi_guest_resume(AMDVIState *s);
void amdvi_guest_held_forgotten(AMDVIState *s);
uint32_t amdvi_guest_invalidation_over(AMDVIState *s, uint16_t devid,
                                       uint32_t n, bool completed);

/*
 * What is done late with x-viommu-late=on: amd_iommu_viommu_late.c
 */

/* Do it now, if there is any */
void amdvi_late_over(AMDVIState *s);
bool amdvi_late_store(AMDVIState *s, hwaddr addr, const uint64_t *val,
                      unsigned n);
void amdvi_late_inval(AMDVIState *s, AMDVIGuestInval *inval, uint16_t gid,
                      uint16_t guest_devid, const uint64_t cmd[2],
                      hwaddr addr);
void amdvi_late_reset(AMDVIState *s);
/* Returns: whether the registers of the guest were lost, once */
bool amdvi_late_lost(AMDVIState *s, uint16_t gid);

/*
 * Set-up and registers: amd_iommu_viommu.c
 */

bool amdvi_viommu_realize(AMDVIState *s, Error **errp);

#endif

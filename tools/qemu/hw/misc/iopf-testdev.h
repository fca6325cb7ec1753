/*
 * PCIe I/O page fault test endpoint: internal interfaces
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_IOPF_TESTDEV_H
#define HW_MISC_IOPF_TESTDEV_H

#include "qemu/atc.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "hw/misc/iopf-testdev-regs.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_stall.h"

#define TYPE_IOPF_TESTDEV "iopf-testdev"
OBJECT_DECLARE_SIMPLE_TYPE(IOPFTestDev, IOPF_TESTDEV)

/* Page requests are about 4 KiB whatever the smallest translation unit is */
#define IOPF_PAGE_SIZE  4096ULL
#define IOPF_PAGE_MASK  (IOPF_PAGE_SIZE - 1)

typedef enum IOPFContextState {
    IOPF_CTX_FREE,
    IOPF_CTX_CHUNK,         /* find the next piece of the transfer */
    IOPF_CTX_TRANSLATE,     /* send a translation request */
    IOPF_CTX_REQUEST,       /* send a page request */
    IOPF_CTX_CREDIT,        /* wait for allocation or a group */
    IOPF_CTX_WAIT,          /* wait for the response of a group */
    IOPF_CTX_RESPONDED,     /* the response is there */
    IOPF_CTX_PAUSE,         /* the queue was full, wait a while */
    IOPF_CTX_DELAY,         /* as the descriptor wants it */
    IOPF_CTX_ACCESS,        /* access memory */
    IOPF_CTX_STALLED,       /* the IOMMU holds the access */
    IOPF_CTX_ROOM,          /* the IOMMU cannot hold one more */
    IOPF_CTX_SIMPLE,        /* operations of one step */
    IOPF_CTX_FENCE,         /* wait for all groups */
    IOPF_CTX_END,           /* write the result */
} IOPFContextState;

/* A descriptor in flight */
typedef struct IOPFContext {
    IOPFContextState state;
    uint32_t generation;    /* changes whenever the context changes hands */
    unsigned index;         /* of the descriptor in the ring */

    /* From the descriptor */
    uint8_t opcode;
    uint8_t mode;           /* AUTO has been resolved */
    uint16_t flags;
    uint32_t pasid;         /* PCI_NO_PASID without F_PASID */
    uint64_t iova;
    uint32_t length;
    uint32_t ram;
    uint32_t data;
    uint16_t prgi;
    uint16_t delay;

    /* Result */
    uint32_t status;
    int32_t ret;
    uint64_t fail_addr;
    uint32_t done;
    uint32_t nr_tr;
    uint32_t nr_pr;
    int64_t start_ns;

    /*
     * The translation in use.  An invalidation clears tlb_valid, so there is
     * none left in use when the notifier returns.
     */
    IOMMUTLBEntry tlb;
    bool tlb_valid;
    uint16_t delay_left;

    /* The pages to ask for: bit n is page n from request_base */
    DECLARE_BITMAP(missing, IOPF_TD_GROUP_PAGES_MAX);
    uint64_t request_base;
    unsigned group;         /* index of a group, valid unless group_none */
    uint32_t group_generation;
    bool group_none;
    bool asked;             /* PRI_CTRL.ALWAYS is satisfied for this chunk */
    bool released;          /* CMD_FLUSH_HELD */
    bool met_full;          /* a request of the group met a full queue */
    bool waits;             /* the access was not made: it has to wait */
    uint32_t credit_seq;    /* of the device, when there was no credit */
    uint32_t out;           /* bytes of results of a TRANSLATE */
    uint32_t rounds;
    uint32_t full_rounds;
    uint8_t response;       /* IOPF_TD_RSP_CODE_* */
    int64_t deadline;       /* INT64_MAX: none */
} IOPFContext;

typedef enum IOPFGroupState {
    IOPF_GROUP_FREE,
    IOPF_GROUP_OPEN,        /* its last request was not sent */
    IOPF_GROUP_SENT,        /* a response is due */
    IOPF_GROUP_STALE,       /* nobody waits for the response that is due */
} IOPFGroupState;

/* A page request group */
typedef struct IOPFGroup {
    IOPFGroupState state;
    uint32_t generation;
    uint16_t prgi;
    uint32_t pasid;
    uint32_t requests;      /* sent, less those the IOMMU refused */
    uint32_t promised;      /* credits kept for requests to be sent */
    uint64_t addr;          /* first page */
    int64_t sent_ns;
    int64_t deadline;       /* INT64_MAX: none */
    bool storm;
} IOPFGroup;

/* An address space the IOMMU knows us by */
typedef struct IOPFPasid {
    IOPFTestDev *dev;
    bool used;
    bool pri_registered;
    uint32_t pasid;
    uint64_t last_use;
    IOMMUNotifier iotlb;
    IOMMUPRINotifier pri;
} IOPFPasid;

typedef struct IOPFStorm {
    /* Registers */
    uint64_t addr;
    uint32_t stride;
    uint32_t count;
    uint32_t flags;
    uint32_t pasid;
    uint32_t group_size;
    uint32_t sent;
    uint32_t full;
    uint32_t other;
    uint32_t dropped;
    uint32_t groups;
    uint32_t responses;
    int32_t ret;

    /* Progress */
    bool active;
    uint32_t position;
    bool group_none;
    unsigned group;
    uint32_t group_generation;
    uint32_t group_position;
    bool blocked;           /* no credit when credit_seq had its value */
    uint32_t credit_seq;
    int64_t deadline;       /* of a blocked storm, INT64_MAX: none */
} IOPFStorm;

typedef struct IOPFUpcalls IOPFUpcalls;

struct IOPFTestDev {
    PCIDevice parent_obj;

    const IOPFUpcalls *up;

    /* Properties */
    bool ats;
    bool pri;
    uint8_t pasid_width;
    bool rsp_pasid;
    bool page_aligned;
    bool global_inv;
    uint8_t inv_queue_depth;
    uint32_t pri_capacity;
    uint32_t atc_entries;
    uint64_t ram_size;
    bool aer;
    bool flr;
    bool pm;
    bool no_soft_reset;
    bool stall;
    uint16_t sriov_vfs;

    MemoryRegion regs;
    MemoryRegion ram;
    uint8_t *ram_ptr;
    QEMUBH *bh;
    QEMUTimer *timer;
    bool in_bh;
    bool dying;

    /* Registers */
    uint32_t ctrl;
    uint32_t step;
    uint32_t irq_cause;
    uint32_t irq_enable;
    uint32_t irq_pending;       /* vectors to signal from the bottom half */
    uint32_t ring_log2;
    uint32_t ring_head;
    uint32_t ring_tail;
    uint32_t ring_done;
    uint32_t max_contexts;
    bool error_stop;
    uint32_t atc_ctrl;
    uint32_t atc_pasid;
    uint64_t atc_addr;
    uint64_t atc_result;
    uint32_t pri_ctrl;
    uint32_t pri_group_max;
    uint32_t pri_prgi;
    uint32_t pri_timeout_ms;
    uint32_t pri_retry;
    uint32_t pri_full_retry;
    uint32_t pri_full_pause_us;
    uint32_t hostile;
    uint32_t counters[(IOPF_TD_REG_COUNTERS_END - IOPF_TD_REG_COUNTERS) / 4];
    uint32_t invlog_head;
    uint32_t rsplog_head;

    /* Engine */
    IOPFContext contexts[IOPF_TD_CONTEXTS_MAX];
    unsigned active;            /* contexts that are not free */
    bool barrier;               /* an ordered descriptor is among them */
    unsigned turn;              /* whose turn it is, storm last */
    uint32_t inv_seq;           /* counts invalidations */
    uint64_t use_seq;           /* orders the uses of PASIDs */
    IOMMUTLBEntry results[IOPF_TD_GROUP_PAGES_MAX];

    ATC *atc;
    ATCStats atc_base;          /* statistics at the last CMD_CLEAR */
    uint32_t atc_invalidations;

    IOPFGroup groups[IOPF_TD_GROUPS_MAX];
    uint16_t prgi_refs[IOPF_TD_GROUPS_MAX];     /* groups by index */
    uint32_t nr_groups[IOPF_GROUP_STALE + 1];   /* groups by state */
    /* In the PF, for all functions: see iopf_pf() */
    uint32_t promised;          /* of all groups */
    uint32_t credit_seq;        /* changes when credits may be had again */
    bool pri_failed;            /* a Response Failure came in */
    unsigned nr_vfs;            /* none while they are made and destroyed */

    PCIStallNotifier stall_notifier;

    /* In a VF */
    IOPFTestDev *pf_held;

    IOPFStorm storm;

    IOPFPasid no_pasid;
    IOPFPasid pasids[IOPF_TD_PASIDS_MAX];
};

/* How a group ends */
typedef struct IOPFGroupEnd {
    bool answered;
    bool automatic;     /* answered by the IOMMU itself */
    uint8_t code;       /* of the answer, IOPF_TD_RSP_CODE_* */
    uint32_t status;    /* without an answer: what the descriptor ends with */
} IOPFGroupEnd;

/* What a layer tells those above it; see iopf-testdev-base.c */
struct IOPFUpcalls {
    /* Drop translations in use */
    void (*invalidated)(IOPFTestDev *s, uint32_t pasid, hwaddr addr,
                        hwaddr mask);
    /* Whether somebody would miss the notifiers of a PASID */
    bool (*uses_pasid)(IOPFTestDev *s, uint32_t pasid);
    /* A page request group response came in */
    void (*response)(IOPFTestDev *s, const IOMMUPRIResponse *response);
    /* A group that contexts may wait for is no more */
    void (*group_over)(IOPFTestDev *s, unsigned group, uint32_t generation,
                       IOPFGroupEnd end);
    /* An access that was held has failed */
    void (*access_failed)(IOPFTestDev *s, IOPFContext *ctx);
};

static inline uint32_t *iopf_counter(IOPFTestDev *s, unsigned reg)
{
    return &s->counters[(reg - IOPF_TD_REG_COUNTERS) / 4];
}

static inline void iopf_count_n(IOPFTestDev *s, unsigned reg, uint32_t n)
{
    *iopf_counter(s, reg) += n;
}

static inline void iopf_count(IOPFTestDev *s, unsigned reg)
{
    iopf_count_n(s, reg, 1);
}

/* iopf-testdev-base.c */

/* Note a cause; the vector is signalled from the bottom half */
void iopf_raise(IOPFTestDev *s, uint32_t causes);
/* Have the bottom half run */
void iopf_kick(IOPFTestDev *s);
/*
 * The next record of a log, to be filled and then published by its sequence
 * number: see iopf_log_publish()
 */
uint8_t *iopf_log_record(IOPFTestDev *s, uint32_t base, uint32_t entries,
                         uint32_t head);
void iopf_log_publish(uint8_t *record, uint32_t *head);
/* PASID as registers and logs have it */
static inline uint32_t iopf_show_pasid(uint32_t pasid)
{
    return pasid == PCI_NO_PASID ? IOPF_TD_NO_PASID : pasid;
}
/* log2 of the size of an entry, as far as six bits can tell */
static inline unsigned iopf_entry_log2(const IOMMUTLBEntry *entry)
{
    return MIN(ctz64(~entry->addr_mask), 63);
}
int64_t iopf_now(void);
/* When a wait that begins now times out */
int64_t iopf_wait_deadline(IOPFTestDev *s);
/* The physical function of a function */
IOPFTestDev *iopf_pf(IOPFTestDev *s);
/* PF and VFs of a function, by number from 0 on; NULL after the last one */
IOPFTestDev *iopf_function(IOPFTestDev *s, unsigned n);
/* There may be credits again: whoever waits for them shall try */
void iopf_credits_changed(IOPFTestDev *s);
/* Whether translation requests may be made */
bool iopf_ats_live(IOPFTestDev *s);
/*
 * A hostile device does not care what its enable bits say, the PCI core does:
 * these set them for the time of a call.
 */
typedef struct IOPFForced {
    uint16_t ats;
    uint16_t pri;
    uint16_t pasid;
} IOPFForced;
void iopf_force_enables(IOPFTestDev *s, IOPFForced *saved);
void iopf_restore_enables(IOPFTestDev *s, const IOPFForced *saved);

/* iopf-testdev-power.c */

bool iopf_pm_init(IOPFTestDev *s, Error **errp);
/* Whether the function is in D3hot, so that it must not send anything */
bool iopf_asleep(IOPFTestDev *s);
/* After a write to the configuration space */
void iopf_power_changed(IOPFTestDev *s, bool was_asleep);
/* Have that uncorrectable error, by its bit in the AER status register */
void iopf_report_error(IOPFTestDev *s, uint32_t status);

/* iopf-testdev-engine.c */

void iopf_engine_init(IOPFTestDev *s);

/*
 * Run one micro-step.  Returns what it cost, 0 if nothing can run before
 * something happens.
 */
unsigned iopf_engine_step(IOPFTestDev *s);
/* Whether iopf_engine_step() would do something */
bool iopf_engine_runnable(IOPFTestDev *s);
/* Time out waits; returns when the next one ends, INT64_MAX for never */
int64_t iopf_engine_expire(IOPFTestDev *s, int64_t now);
/* Empty the ATC, and drop translations in use of every PASID */
void iopf_atc_flush(IOPFTestDev *s);
/* End what is in flight with ST_ABORTED */
void iopf_engine_abort(IOPFTestDev *s);
/* Forget what is in flight */
void iopf_engine_reset(IOPFTestDev *s);
/* Every wait ends at the next occasion */
void iopf_expire_all(IOPFTestDev *s);
/* For the STATUS register */
uint32_t iopf_engine_status(IOPFTestDev *s);
/* FLUSH_HELD */
void iopf_engine_release(IOPFTestDev *s);

/* iopf-testdev-pri.c */

/*
 * Start a group or continue an open one.  Returns its index, -EAGAIN if there
 * is none to be had now, -ENOSPC likewise for lack of credits and -EDQUOT if
 * the allocation is 0.  *pages is reduced to what the group may have.
 */
int iopf_group_begin(IOPFTestDev *s, uint32_t pasid, int prgi, hwaddr addr,
                     unsigned *pages);
/*
 * Send one request of a group.  Returns 0 or a negative errno.  The response
 * may come in before it returns.
 */
int iopf_group_send(IOPFTestDev *s, unsigned group, bool priv, bool exec,
                    hwaddr addr, bool last, bool read, bool write);
/* Have credit for one more request of an open group */
bool iopf_group_extend(IOPFTestDev *s, unsigned group);
/* Credits left, UINT32_MAX if they do not matter */
uint32_t iopf_credits(IOPFTestDev *s);
/* Whether requests are stopped by a Response Failure */
bool iopf_pri_halted(IOPFTestDev *s);
/* Nobody waits for the group any longer */
void iopf_group_abandon(IOPFTestDev *s, unsigned group);
/* No response will come */
void iopf_group_drop(IOPFTestDev *s, unsigned group);
/* All of them; contexts that wait end with ST_ABORTED */
void iopf_groups_drop_all(IOPFTestDev *s);
/* PRI was disabled: open groups will never be answered */
void iopf_groups_drop_open(IOPFTestDev *s);
/* The groups of a PASID or, with @all, of everybody become stale */
void iopf_groups_abandon(IOPFTestDev *s, bool all, uint32_t pasid);
/* Requests without answer */
uint32_t iopf_groups_requests(IOPFTestDev *s);
/* Drop the groups with a PASID, as PASID was disabled */
void iopf_groups_drop_pasids(IOPFTestDev *s);
void iopf_pri_response(IOPFTestDev *s, const IOMMUPRIResponse *response);
/* Waits for groups end at the next occasion, and the storm does */
void iopf_groups_expire_all(IOPFTestDev *s);
bool iopf_groups_use_pasid(IOPFTestDev *s, uint32_t pasid);
/* Time out groups; returns when the next one does */
int64_t iopf_groups_expire(IOPFTestDev *s, int64_t now);
int iopf_send_stop_marker(IOPFTestDev *s, uint32_t pasid);

bool iopf_storm_runnable(IOPFTestDev *s);
void iopf_storm_step(IOPFTestDev *s);
void iopf_storm_start(IOPFTestDev *s);
void iopf_storm_end(IOPFTestDev *s);

/* iopf-testdev-stall.c */

void iopf_stall_init(IOPFTestDev *s);
void iopf_stall_exit(IOPFTestDev *s);
/* Whether the IOMMU may hold untranslated accesses */
bool iopf_may_stall(IOPFTestDev *s);
/*
 * Translate an access as pci_stall_translate() does.  With -EINPROGRESS and
 * -EBUSY the context is not to be touched: it may go on already.
 */
int iopf_stall_translate(IOPFTestDev *s, IOPFContext *ctx, hwaddr addr,
                         bool is_write, IOMMUTLBEntry *entry);

/* iopf-testdev-vf.c */

/* Give a VF the properties of its PF */
void iopf_vf_init(IOPFTestDev *s);
/* Add the SR-IOV capability of a PF, and its VFs */
bool iopf_vfs_create(IOPFTestDev *s, uint16_t offset, Error **errp);
void iopf_vfs_destroy(IOPFTestDev *s);

/* iopf-testdev-ats.c */

/*
 * Have the notifiers registered for a PASID. Returns 0 or a negative errno,
 * -ENOBUFS when too many are in use.
 */
int iopf_pasid_use(IOPFTestDev *s, uint32_t pasid);
/* Forget all PASIDs, with @no_pasid also the requests without one */
void iopf_pasids_forget(IOPFTestDev *s, bool no_pasid);
/* Translation request, fills s->results; see pci_ats_request_translation() */
ssize_t iopf_translate(IOPFTestDev *s, uint32_t pasid, bool priv, bool exec,
                       hwaddr addr, size_t length, bool no_write);
void iopf_atc_probe(IOPFTestDev *s);

#endif

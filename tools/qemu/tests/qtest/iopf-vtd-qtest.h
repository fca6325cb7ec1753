/*
 * Intel VT-d, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_IOPF_VTD_QTEST_H
#define TESTS_QTEST_IOPF_VTD_QTEST_H

#include "hw/i386/intel_iommu_ats.h"
#include "hw/i386/intel_iommu_prq.h"
#include "iopf-q35-qtest.h"

/* Options of the machine; the devices follow */
#define Q35_VTD \
    Q35 "-device intel-iommu,x-scalable-mode=on,x-pasid-mode=on," \
    "device-iotlb=on,svm=on,aw-bits=48"

/* Guest memory: the tables ... */
#define ROOT            0x100000ULL
#define CONTEXT         0x101000ULL     /* of whatever bus */
#define PASID_DIR       0x102000ULL
#define PASID_TABLES    0x104000ULL     /* for 256 PASIDs, 64 in a page */
#define SL_TABLES       0x110000ULL     /* one page per level, top first */
#define FL_TABLES       0x120000ULL
#define IQ              0x130000ULL
#define IQ_ENTRIES      128             /* of 32 bytes, IQA.QS = 0 */
#define PRQ             0x140000ULL
#define PRQ_ORDER_MAX   4
#define STATUS_WORD     0x180000ULL
#define MSI_TARGET      0x181000ULL
/* ... up to DATA */

#define CONTEXT_FLAGS (VTD_CONTEXT_ENTRY_P | VTD_SM_CONTEXT_ENTRY_DTE | \
                       VTD_SM_CONTEXT_ENTRY_PASIDE | VTD_SM_CONTEXT_ENTRY_PRE)
#define AW_4_LEVELS     (2 << 2)        /* of a PASID table entry */

#define PTE_R           VTD_SL_R
#define PTE_W           VTD_SL_W
#define PTE_RW          (VTD_SL_R | VTD_SL_W)
#define PTE_FL          (VTD_FL_P | VTD_FL_RW | VTD_FL_US)
#define PTE_PS          VTD_PT_PAGE_SIZE_MASK

/* VT-d: registers */

uint32_t vtd_readl(Test *t, uint64_t offset);
uint64_t vtd_readq(Test *t, uint64_t offset);
void vtd_writel(Test *t, uint64_t offset, uint32_t val);
void vtd_writeq(Test *t, uint64_t offset, uint64_t val);

/* Fault reason of the recording register, 0 if it is empty; empties it */
uint8_t take_fault(Test *t, uint64_t *hi);

/* VT-d: tables */

/* Empty tables: what they need first, up to the PASID tables */
void clear_tables(Test *t);
/* Point the root entry of the bus at CONTEXT, and write the context entry */
void write_context(Endpoint *ep, uint64_t flags);
void write_pasid_entry(Test *t, uint32_t pasid, uint64_t q0, uint64_t q1,
                       uint64_t q2);
/* Of a second stage with four levels at @tables */
void write_pasid_sl(Test *t, uint32_t pasid, uint16_t did, uint64_t tables);
/* Of a first stage; @flags as in the third quadword */
void write_pasid_fl(Test *t, uint32_t pasid, uint16_t did, uint64_t tables,
                    uint64_t flags);

/*
 * VT-d: scalable mode with the tables in place, invalidation queue of 256-bit
 * descriptors, page request queue of 2^@prq_order pages
 */
void start_vtd(Test *t, unsigned prq_order);

/* VT-d: invalidation queue */

/* No check whatsoever */
void iq_put(Test *t, uint64_t q0, uint64_t q1, uint64_t q2, uint64_t q3);
/* What is put from the one to the other is for the IOMMU to see at once */
void iq_hold(Test *t);
void iq_release(Test *t);
/* A good descriptor */
void iq_submit(Test *t, uint64_t q0, uint64_t q1);
/* Put these without a check; they are carried out by the rules of the queue */
void put_dev_tlb(Endpoint *ep, uint64_t addr, bool size);
void put_iotlb(Test *t);
/* That writes @val to STATUS_WORD */
void put_wait(Test *t, uint32_t val);
/* A bad one: IQE, and the queue goes on once the descriptor was replaced */
void iq_submit_bad(Test *t, uint64_t q0, uint64_t q1, uint64_t q2);

/* Granularities of the PASID-cache invalidate descriptor */
#define PC_DOMAIN       (0 << 4)
#define PC_PASID        (1 << 4)
#define PC_RESERVED     (2 << 4)
#define PC_GLOBAL       (3 << 4)

#define INV_ALL         0x7ffffffffffff000ULL   /* with @size */

void inv_context(Test *t);
void inv_pasid_cache(Test *t);
void inv_iotlb(Test *t);
void inv_iotlb_domain(Test *t, uint16_t did);
/* The three caches */
void inv_tables(Test *t);
/* @addr has the size code if @size is set */
void inv_dev_tlb(Endpoint *ep, uint64_t addr, bool size);
void inv_dev_tlb_pasid(Endpoint *ep, uint32_t pasid, bool global,
                       uint64_t addr, bool size);

/* VT-d: page request queue */

bool have_request(Test *t);

/* Endpoint and IOMMU together */

/* An untranslated write has to leave a fault record */
void check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t fault);

/* Unsupported Request for IOVA, and this fault record */
void check_refused(Endpoint *ep, uint32_t pasid, uint8_t fault);

#endif

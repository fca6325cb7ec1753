/*
 * AMD-Vi, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_IOPF_AMD_QTEST_H
#define TESTS_QTEST_IOPF_AMD_QTEST_H

#include "hw/i386/amd_iommu.h"
#include "hw/i386/amd_iommu_regs.h"
#include "iopf-q35-qtest.h"

/* Options of the machine; more of the IOMMU, and the devices, follow */
#define Q35_AMD Q35 "-device amd-iommu,ats=on,ppr=on,pasid=20"

/* Guest memory: the tables ... */
#define DEVTAB          0x100000ULL     /* for two buses */
#define DEVTAB_PAGES    4
#define GCR3            0x104000ULL     /* the lowest level first */
#define GCR3_PAGES      3
#define TABLES_0        0x110000ULL     /* of the host, the top first */
#define TABLES_1        0x120000ULL     /* of the guest */
#define CMDBUF          0x130000ULL     /* the rings have 256 entries each */
#define EVTLOG          0x131000ULL
#define PPRLOG          0x132000ULL
#define RING_ENTRIES    256
#define STATUS_WORD     0x180000ULL
#define MSI_TARGET      0x181000ULL
/* ... up to DATA */

#define RING(addr)      ((addr) | (uint64_t)AMDVI_RING_LENGTH_MIN << 56)

/* Control register of the tests */
#define CONTROL_ALL \
    (AMDVI_MMIO_CONTROL_AMDVIEN | AMDVI_MMIO_CONTROL_EVENTLOGEN | \
     AMDVI_MMIO_CONTROL_CMDBUFLEN | AMDVI_CONTROL_PPR_LOG | \
     AMDVI_CONTROL_PPR | AMDVI_CONTROL_GT | AMDVI_CONTROL_EPH)

/* Device table entry: four levels of the host, and PASIDs with those of GCR3 */
#define DTE_Q0 \
    (AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_MODE(4) | TABLES_0 | \
     AMDVI_DTE_PPR | AMDVI_DTE_IR | AMDVI_DTE_IW)
/* Only PASIDs, the others pass through */
#define DTE_Q0_GUEST \
    (AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_GV | AMDVI_DTE_PPR | \
     AMDVI_DTE_IR | AMDVI_DTE_IW)
#define DTE_Q1(domain)  (AMDVI_DTE_I | (uint64_t)(domain))

/* Leaves */
#define PTE_R           (AMDVI_PTE_PR | AMDVI_PTE_IR)
#define PTE_W           (AMDVI_PTE_PR | AMDVI_PTE_IW)
#define PTE_RW          (AMDVI_PTE_PR | AMDVI_PTE_IR | AMDVI_PTE_IW)
#define GPTE_RW         (AMDVI_GPTE_P | AMDVI_GPTE_RW | AMDVI_GPTE_US)
#define GPTE_R          (AMDVI_GPTE_P | AMDVI_GPTE_US)

#define INV_ALL         0x7ffffffffffff000ULL   /* with S */

/* Registers */
uint32_t amd_readl(Test *t, uint64_t offset);
uint64_t amd_readq(Test *t, uint64_t offset);
void amd_writel(Test *t, uint64_t offset, uint32_t val);
void amd_writeq(Test *t, uint64_t offset, uint64_t val);
uint64_t amd_status(Test *t);

/* Tables */

void clear_tables(Test *t);
/* First the upper half of the entry, so that it is whole when it is valid */
void write_dte(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2);
/* The same with the GCR3 table at @gcr3, of that many levels */
void write_dte_gcr3(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2,
                    uint64_t gcr3, unsigned levels);
/* GCR3 tables of 1 to 3 levels at GCR3, with one entry */
void write_gcr3(Test *t, unsigned levels, uint32_t pasid, uint64_t entry);
/* Four levels of host tables; leaves are those of write_leaf() */
void write_paging_host(Test *t, uint64_t tables);

/* Switch it on, with CONTROL_ALL */
void start_amd(Test *t);

/* Commands */

/* No check whatsoever */
void cmd_put(Test *t, uint64_t q0, uint64_t q1);
/* A good one */
void cmd_submit(Test *t, uint64_t q0, uint64_t q1);
/* A bad one: it stops the queue, and leaves an event; then the queue goes on */
void cmd_submit_bad(Test *t, uint64_t q0, uint64_t q1);
/* Start the queue again with nothing in it */
void cmd_restart(Test *t);
bool cmd_running(Test *t);

void inv_dte(Endpoint *ep);
/* NOP for what the host translates */
void inv_pages(Test *t, uint16_t domain, uint32_t pasid, uint64_t addr,
               uint64_t flags);
void inv_all(Test *t);
void put_inv_iotlb(Endpoint *ep, uint32_t pasid, uint64_t addr, bool size);
void inv_iotlb(Endpoint *ep, uint32_t pasid, uint64_t addr, bool size);
void put_wait(Test *t, uint64_t val);

/* Events */

typedef struct Event {
    uint64_t q[2];
} Event;

/* Returns: code, 0 if there is none */
uint8_t take_event(Test *t, Event *event);
/* Take the only one */
Event check_event(Endpoint *ep, uint8_t code);
void check_no_event(Test *t);
Event check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t code);

/* Page requests */

bool have_request(Test *t);

#endif

/*
 * Arm SMMUv3, for the qtests of iopf-testdev
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The numbers are those of the architecture, written down here once more: with
 * the model's own the tests would not notice a wrong one.
 */

#ifndef TESTS_QTEST_IOPF_SMMU_QTEST_H
#define TESTS_QTEST_IOPF_SMMU_QTEST_H

#include "iopf-virt-qtest.h"

/* Options of the machine; the devices follow */
#define VIRT_SMMU \
    VIRT "-global arm-smmuv3.ats=on -global arm-smmuv3.pri=on " \
    "-global arm-smmuv3.ssidsize=16 -global arm-smmuv3.oas=48 "

/* Guest memory: the tables ... */
#define STREAM_L1       (VIRT_RAM + 0x100000)   /* of 256 buses */
#define STREAM_L2       (VIRT_RAM + 0x104000)   /* of the first two */
#define STREAM_L2_SIZE  0x4000ULL
#define CD_L1           (VIRT_RAM + 0x110000)
#define CDS             (VIRT_RAM + 0x120000)   /* 1024, in all formats */
#define TABLES_0        (VIRT_RAM + 0x130000)   /* a page per level */
#define TABLES_1        (VIRT_RAM + 0x138000)
#define TABLES_S2       (VIRT_RAM + 0x140000)
#define CMDQ            (VIRT_RAM + 0x150000)
#define CMDQ_LOG2       8
#define EVTQ            (VIRT_RAM + 0x154000)
#define EVTQ_LOG2       7
#define PRIQ            (VIRT_RAM + 0x158000)
#define PRIQ_LOG2_MAX   10
#define STATUS_WORD     (VIRT_RAM + 0x180000)
/* ... up to DATA */

#define CD_SIZE         64
#define NOWHERE         0x3f00000000ULL         /* no memory */

/* Registers */
#define SMMU            0x09050000ULL
#define SMMU_IDR0       0x00
#define   IDR0_S2P      (1U << 0)
#define   IDR0_ATS      (1U << 10)
#define   IDR0_NS1ATS   (1U << 11)
#define   IDR0_MSI      (1U << 13)
#define   IDR0_PRI      (1U << 16)
#define   IDR0_CD2L     (1U << 19)
#define   IDR0_ATSRECERR (1U << 23)
#define SMMU_IDR1       0x04
#define SMMU_IDR3       0x0c
#define   IDR3_PPS      (1U << 5)
#define SMMU_IDR5       0x14
#define SMMU_CR0        0x20
#define   CR0_SMMUEN    1
#define   CR0_PRIQEN    2
#define   CR0_EVENTQEN  4
#define   CR0_CMDQEN    8
#define   CR0_ATSCHK    0x10
#define   CR0_ALL       0x1f
#define SMMU_CR0ACK     0x24
#define SMMU_CR1        0x28
#define SMMU_CR2        0x2c
#define   CR2_RECINVSID 2
#define   CR2_PTM       4
#define   CR2_REC_CFG_ATS 8
#define SMMU_GBPA       0x44
#define SMMU_IRQ_CTRL   0x50
#define   IRQ_GERROR    1
#define   IRQ_PRIQ      2
#define   IRQ_EVENTQ    4
#define SMMU_GERROR     0x60
#define   GERROR_CMDQ   1
#define   GERROR_EVENTQ_ABT 4
#define   GERROR_PRIQ_ABT 8
#define SMMU_GERRORN    0x64
#define SMMU_STRTAB_BASE 0x80
#define SMMU_STRTAB_BASE_CFG 0x88
#define SMMU_CMDQ_BASE  0x90
#define SMMU_CMDQ_PROD  0x98
#define SMMU_CMDQ_CONS  0x9c
#define SMMU_EVENTQ_BASE 0xa0
#define SMMU_EVENTQ_PROD 0x100a8
#define SMMU_EVENTQ_CONS 0x100ac
#define SMMU_PRIQ_BASE  0xc0
#define SMMU_PRIQ_PROD  0x100c8
#define SMMU_PRIQ_CONS  0x100cc
#define SMMU_PRIQ_IRQ_CFG0 0xd0
#define SMMU_PRIQ_IRQ_CFG1 0xd8
#define SMMU_PRIQ_IRQ_CFG2 0xdc
#define   PRIQ_LO       (1U << 31)
#define OVERFLOW_FLAG   (1U << 31)      /* of PROD and CONS */

/* Interrupt lines */
#define SPI_EVENTQ      74
#define SPI_PRIQ        75
#define SPI_SYNC        76
#define SPI_GERROR      77

/* Stream table entry, the first quadwords */
#define STE_V           1ULL
#define STE_ABORT       (0ULL << 1)
#define STE_BYPASS      (4ULL << 1)
#define STE_S1          (5ULL << 1)
#define STE_S2          (6ULL << 1)
#define STE_NESTED      (7ULL << 1)
#define STE_CONFIG      (7ULL << 1)
#define STE_FMT_LINEAR  (0ULL << 4)
#define STE_FMT_4K      (1ULL << 4)
#define STE_FMT_64K     (2ULL << 4)
#define STE_FMT         (3ULL << 4)
#define STE_S1CDMAX(n)  ((uint64_t)(n) << 59)
#define STE_S1DSS_TERMINATE 0ULL
#define STE_S1DSS_BYPASS 1ULL
#define STE_S1DSS_SSID0 2ULL
#define STE_S1DSS       3ULL
#define STE_PPAR        (1ULL << 18)
#define STE_S1STALLD    (1ULL << 27)
#define STE_EATS(n)     ((uint64_t)(n) << 28)
#define STE_SHCFG_IN    (1ULL << 44)

/* What the tests have: stage 1, 256 substreams, ATS */
#define STE_Q0          (STE_V | STE_S1 | STE_FMT_LINEAR | CDS | \
                         STE_S1CDMAX(8))
#define STE_Q1          (STE_S1DSS_SSID0 | STE_EATS(1) | STE_SHCFG_IN)
/* ... and with stage 2 below: S2VMID 3, 48 bits of 4 KiB granule, AArch64 */
#define NESTED_Q0       ((STE_Q0 & ~STE_CONFIG) | STE_NESTED)
#define STE_Q2          (3ULL | (uint64_t)(16 | 2 << 6 | 1 << 8 | 1 << 10 | \
                         3 << 12 | 5 << 16 | 1 << 19) << 32)
#define STE_S2S         (1ULL << 57)
#define STE_S2R         (1ULL << 58)

/* Context descriptor, the first quadword */
#define CD_T0SZ(n)      ((uint64_t)(n))
#define CD_EPD0         (1ULL << 14)
#define CD_EPD1         (1ULL << 30)
#define CD_V            (1ULL << 31)
#define CD_IPS_48       (5ULL << 32)
#define CD_AA64         (1ULL << 41)
#define CD_HD           (1ULL << 42)
#define CD_HA           (1ULL << 43)
#define CD_S            (1ULL << 44)
#define CD_R            (1ULL << 45)
#define CD_A            (1ULL << 46)
#define CD_ASET         (1ULL << 47)

/* What the tests have: 48 bits, four levels; write-back tables */
#define CD_Q0           (CD_T0SZ(16) | 1 << 8 | 1 << 10 | 3 << 12 | CD_EPD1 | \
                         CD_V | CD_IPS_48 | CD_AA64 | CD_R | CD_A | CD_ASET)

/* Entries of page tables */
#define PTE_TABLE       3ULL
#define PTE_PAGE        3ULL
#define PTE_BLOCK       1ULL
#define PTE_USER        (1ULL << 6)
#define PTE_RO          (1ULL << 7)
#define PTE_SH          (3ULL << 8)
#define PTE_AF          (1ULL << 10)
#define PTE_NG          (1ULL << 11)
#define PTE_DBM         (1ULL << 51)
#define PTE_PXN         (1ULL << 53)
#define PTE_UXN         (1ULL << 54)
/* For everybody, to read and write; without execute permission or with */
#define PTE_RWX         (PTE_PAGE | PTE_USER | PTE_SH | PTE_AF | PTE_NG)
#define PTE_RW          (PTE_RWX | PTE_PXN | PTE_UXN)
/* Of the second stage */
#define PTE_S2_R        (PTE_PAGE | 0xf << 2 | 1 << 6 | PTE_SH | PTE_AF)
#define PTE_S2_RW       (PTE_S2_R | 1 << 7)

/* Commands; the first quadword */
#define CMD_PREFETCH_CONFIG 0x01ULL
#define CMD_CFGI_STE    0x03ULL
#define CMD_CFGI_STE_RANGE 0x04ULL
#define CMD_CFGI_CD     0x05ULL
#define CMD_CFGI_CD_ALL 0x06ULL
#define CMD_TLBI_NH_ALL 0x10ULL
#define CMD_TLBI_NH_ASID 0x11ULL
#define CMD_TLBI_NH_VA  0x12ULL
#define CMD_TLBI_EL3_ALL 0x18ULL
#define CMD_TLBI_EL2_ALL 0x20ULL
#define CMD_TLBI_S12_VMALL 0x28ULL
#define CMD_TLBI_NSNH_ALL 0x30ULL
#define CMD_ATC_INV     0x40ULL
#define CMD_PRI_RESP    0x41ULL
#define CMD_RESUME      0x44ULL
#define CMD_STALL_TERM  0x45ULL
#define CMD_SYNC        0x46ULL
#define   CMD_SYNC_IRQ  (1ULL << 12)
#define   CMD_SYNC_ILL  (3ULL << 12)
#define CMD_GLOBAL      (1ULL << 9)
#define CMD_SSEC        (1ULL << 10)
#define CMD_SSV         (1ULL << 11)
#define CMD_SSID(n)     ((uint64_t)(n) << 12)
#define CMD_SID(n)      ((uint64_t)(n) << 32)
#define CMD_ASID(n)     ((uint64_t)(n) << 48)

#define CERROR_ILL      1
#define CERROR_ABT      2
#define CERROR_ATC_INV_SYNC 3

/* For CMD_ATC_INV */
#define SIZE_ALL        52

/* Event records */
#define F_UUT           0x01
#define C_BAD_STREAMID  0x02
#define F_STE_FETCH     0x03
#define C_BAD_STE       0x04
#define F_BAD_ATS_TREQ  0x05
#define F_STREAM_DISABLED 0x06
#define F_TRANSL_FORBIDDEN 0x07
#define C_BAD_SUBSTREAMID 0x08
#define F_CD_FETCH      0x09
#define C_BAD_CD        0x0a
#define F_WALK_EABT     0x0b
#define F_TRANSLATION   0x10
#define F_ADDR_SIZE     0x11
#define F_ACCESS        0x12
#define F_PERMISSION    0x13

/* Entry of the PRI queue, the first quadword */
#define PRI_PRIV        (1ULL << 58)
#define PRI_X           (1ULL << 59)
#define PRI_R           (1ULL << 60)
#define PRI_W           (1ULL << 61)
#define PRI_LAST        (1ULL << 62)
#define PRI_SSV         (1ULL << 63)

/*
 * Requests without PASID use the first tables, and the context descriptor of
 * SSID 0; those with PASID the others
 */
#define PASID           9
#define ASID(pasid)     ((pasid) == NOP ? 1 : (pasid) + 1)
#define SSID(pasid)     ((pasid) == NOP ? 0 : (pasid))
#define TABLES(pasid)   ((pasid) == NOP ? TABLES_0 : TABLES_1)

#define PRIQ_ORDER      4

/* SMMU: registers */

uint32_t smmu_readl(Test *t, uint64_t offset);
uint64_t smmu_readq(Test *t, uint64_t offset);
void smmu_writel(Test *t, uint64_t offset, uint32_t val);
void smmu_writeq(Test *t, uint64_t offset, uint64_t val);

/* Errors that software has not acknowledged */
uint32_t gerror(Test *t);
void ack_gerror(Test *t);

/* SMMU: tables */

/* Empty tables: what they need first, up to the context descriptors */
void clear_tables(Test *t);
/* Entry of a device on one of the first two buses; @q2 as in S2VMID to S2R */
void write_ste(Endpoint *ep, uint64_t q0, uint64_t q1);
void write_ste_s2(Endpoint *ep, uint64_t q0, uint64_t q1, uint64_t q2,
                  uint64_t tables);
/* Where the context descriptor is, whatever the format of the table */
uint64_t cd_addr(uint32_t ssid);
void write_cd(Test *t, uint32_t ssid, uint16_t asid, uint64_t tables,
              uint64_t flags);
/* A first level table that leads to the first 1024 of them */
void write_cd_l1(Test *t, uint64_t format);

/* Those two context descriptors, and the tables with nothing mapped */
void write_cds(Test *t, uint64_t flags);
/* All of the tables, with that, for the functions of the test */
void write_tables(Test *t, uint64_t flags);

/*
 * SMMU: the tables in place, all that CR0 has switched on, and 2^@prq_order
 * entries in the page request queue
 */
void start_smmu(Test *t, unsigned prq_order);
/* The functions of the test, their tables and the SMMU; after a reset, too */
void start_machine(Test *t, uint64_t cd_flags);
/* Options of VIRT_SMMU and devices: a machine whose functions are started */
Test *test_start_smmu(const char *options, uint64_t cd_flags);
/* Write CR0, and see that it is acknowledged */
void write_cr0(Test *t, uint32_t val);
/* Off and on again, with another value of CR2 */
void write_cr2(Test *t, uint32_t val);

/* SMMU: command queue */

/* No check whatsoever */
void cmd_put(Test *t, uint64_t q0, uint64_t q1);
/* Commands that were not consumed */
unsigned cmd_behind(Test *t);
/* A good command */
void cmd_submit(Test *t, uint64_t q0, uint64_t q1);
/*
 * A bad one: it is refused with that error, and the queue goes on once it was
 * replaced
 */
void cmd_submit_bad(Test *t, uint64_t q0, uint64_t q1, unsigned error);

void cmd_sync(Test *t);
void cfgi_ste(Endpoint *ep);
void cfgi_cd(Endpoint *ep, uint32_t ssid, bool leaf);
void cfgi_all(Test *t);
void tlbi_all(Test *t);
/* Change what there is for a function, and have the SMMU forget the old */
void set_ste(Endpoint *ep, uint64_t q0, uint64_t q1);
void set_cd(Endpoint *ep, uint32_t pasid, uint64_t flags);
/* Configuration and translations */
void inv_tables(Test *t);
uint64_t atc_inv_q0(Endpoint *ep, uint32_t pasid, bool global);
/* 4096 << @size bytes */
void atc_inv(Endpoint *ep, uint32_t pasid, bool global, uint64_t addr,
             unsigned size);
/* Resp as in the command */
void pri_resp(Endpoint *ep, uint32_t pasid, uint16_t prgi, unsigned resp);

/* SMMU: event queue */

typedef struct Event {
    uint64_t q[4];
} Event;

/* Number of the event, 0 if there is none; @event may be NULL */
uint8_t take_event(Test *t, Event *event);
void check_no_event(Test *t);
/* There has to be exactly one, of that function and PASID. Returns: it */
Event check_event(Endpoint *ep, uint8_t id, uint32_t pasid);

/* SMMU: PRI queue */

bool have_request(Test *t);
/* The entry of a request */
uint64_t pri_entry_q0(Endpoint *ep, uint32_t pasid, uint64_t flags);
void check_entry(Test *t, unsigned index, uint64_t q0, uint64_t addr,
                 uint16_t prgi);
/* Let the SMMU know that all was read, and that there was an overflow */
void drain_requests(Test *t);

/* Endpoint and SMMU together */

/* An untranslated write has to leave that event. Returns: it */
Event check_untranslated_fault(Endpoint *ep, uint64_t iova, uint8_t id);

#endif

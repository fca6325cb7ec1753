/*
 * AMD IOMMU (AMD-Vi): registers, tables, commands and log entries
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What amd_iommu.h does not have.  For the model and for tests.
 */

#ifndef HW_I386_AMD_IOMMU_REGS_H
#define HW_I386_AMD_IOMMU_REGS_H

#include "qemu/bitops.h"

/* Extended feature register */
#define AMDVI_EFR_NX                    (1ULL << 3)
#define AMDVI_EFR_HATS_6                (2ULL << 10)
#define AMDVI_EFR_GATS(levels)          ((uint64_t)((levels) - 4) << 12)
#define AMDVI_EFR_GLX(levels)           ((uint64_t)((levels) - 1) << 14)
#define AMDVI_EFR_PASMAX(bits)          ((uint64_t)((bits) - 1) << 32)
#define AMDVI_EFR_US                    (1ULL << 37)
#define AMDVI_EFR_PPR_EARLY             (1ULL << 40)
#define AMDVI_EFR_PPR_AUTO              (1ULL << 41)
#define AMDVI_EFR_BLOCK_STOP            (1ULL << 44)
#define AMDVI_EFR_GIO                   (1ULL << 48)
#define AMDVI_EFR_HA                    (1ULL << 49)
#define AMDVI_EFR_EPH                   (1ULL << 50)
#define AMDVI_EFR_HD                    (1ULL << 52)
#define AMDVI_EFR_VIOMMU                (1ULL << 55)

#define AMDVI_EFR2_GCR3_TRP             (1ULL << 3)

/* Control register */
#define AMDVI_CONTROL_INV_TIMEOUT       MAKE_64BIT_MASK(5, 3)
#define AMDVI_CONTROL_PPR_LOG           (1ULL << 13)
#define AMDVI_CONTROL_PPR_INT           (1ULL << 14)
#define AMDVI_CONTROL_PPR               (1ULL << 15)
#define AMDVI_CONTROL_GT                (1ULL << 16)
#define AMDVI_CONTROL_PPR_AUTO          (1ULL << 39)
#define AMDVI_CONTROL_BLOCK_STOP        (1ULL << 41)
#define AMDVI_CONTROL_PPR_AUTO_ALWAYS   (1ULL << 42)
#define AMDVI_CONTROL_EPH               (1ULL << 45)
#define AMDVI_CONTROL_XT                (1ULL << 50)
#define AMDVI_CONTROL_INT_CAP_XT        (1ULL << 51)
#define AMDVI_CONTROL_VCMD              (1ULL << 52)
#define AMDVI_CONTROL_VIOMMU            (1ULL << 53)
#define AMDVI_CONTROL_GCR3_TRP          (1ULL << 58)
#define AMDVI_CONTROL_GST_BUFFER_TRP    (1ULL << 60)

/* Registers */
#define AMDVI_MMIO_XT_EVENT             0x0170
#define AMDVI_MMIO_XT_PPR               0x0178
#define AMDVI_MMIO_XT_GA                0x0180
#define AMDVI_MMIO_EFR2                 0x01a0
#define AMDVI_MMIO_PPR_AUTO             0x2080
#define AMDVI_MMIO_PPR_EARLY            0x2088

/* Bases of the command buffer and of the logs */
#define AMDVI_RING_ADDR                 MAKE_64BIT_MASK(12, 40)
#define AMDVI_RING_LENGTH(base)         extract64(base, 56, 4)
#define AMDVI_RING_LENGTH_MIN           8
#define AMDVI_RING_POINTER              MAKE_64BIT_MASK(4, 15)
#define AMDVI_RING_ENTRY                16

/* Status register */
#define AMDVI_STATUS_EVT_OVERFLOW       (1ULL << 0)
#define AMDVI_STATUS_EVT_INT            (1ULL << 1)
#define AMDVI_STATUS_WAIT_INT           (1ULL << 2)
#define AMDVI_STATUS_EVT_RUN            (1ULL << 3)
#define AMDVI_STATUS_CMD_RUN            (1ULL << 4)
#define AMDVI_STATUS_PPR_OVERFLOW       (1ULL << 5)
#define AMDVI_STATUS_PPR_INT            (1ULL << 6)
#define AMDVI_STATUS_PPR_RUN            (1ULL << 7)
#define AMDVI_STATUS_PPR_EARLY          (1ULL << 18)

/* Early indicator of overflow */
#define AMDVI_PPR_EARLY_THRESHOLD       MAKE_64BIT_MASK(0, 15)
#define AMDVI_PPR_EARLY_INT             (1ULL << 30)
#define AMDVI_PPR_EARLY_ENABLE          (1ULL << 31)

/* Automatic response */
#define AMDVI_PPR_AUTO_CODE             MAKE_64BIT_MASK(0, 4)
#define AMDVI_PPR_AUTO_MASK_GN          (1ULL << 4)

/* Device table entry, first quadword */
#define AMDVI_DTE_V                     (1ULL << 0)
#define AMDVI_DTE_TV                    (1ULL << 1)
#define AMDVI_DTE_HA                    (1ULL << 7)
#define AMDVI_DTE_HD                    (1ULL << 8)
#define AMDVI_DTE_MODE(mode)            ((uint64_t)(mode) << 9)
#define AMDVI_DTE_PPR                   (1ULL << 52)
#define AMDVI_DTE_GPRP                  (1ULL << 53)
#define AMDVI_DTE_GIOV                  (1ULL << 54)
#define AMDVI_DTE_GV                    (1ULL << 55)
#define AMDVI_DTE_GLX(levels)           ((uint64_t)((levels) - 1) << 56)
#define AMDVI_DTE_IR                    (1ULL << 61)
#define AMDVI_DTE_IW                    (1ULL << 62)
/* The second one */
#define AMDVI_DTE_I                     (1ULL << 32)
#define AMDVI_DTE_SE                    (1ULL << 33)
#define AMDVI_DTE_SA                    (1ULL << 34)
#define AMDVI_DTE_EX                    (1ULL << 39)
#define AMDVI_DTE_SATS                  (1ULL << 42)
/* The third one */
#define AMDVI_DTE_IV                    (1ULL << 0)
#define AMDVI_DTE_GUEST_MODE(levels)    ((uint64_t)((levels) - 4) << 54)

/* The fourth one: of which virtual IOMMU, and what it is there */
#define AMDVI_DTE_VIMU                  (1ULL << 15)
#define AMDVI_DTE_GUEST(gid, gdevid) \
    (AMDVI_DTE_VIMU | (uint64_t)(gid) << 32 | (uint64_t)(gdevid) << 16)

/* Paging entries of the host */
#define AMDVI_PTE_PR                    (1ULL << 0)
#define AMDVI_PTE_A                     (1ULL << 5)
#define AMDVI_PTE_D                     (1ULL << 6)
#define AMDVI_PTE_NEXT(level)           ((uint64_t)(level) << 9)
#define AMDVI_PTE_SIZED                 7   /* of NEXT */
#define AMDVI_PTE_U                     (1ULL << 59)
#define AMDVI_PTE_IR                    (1ULL << 61)
#define AMDVI_PTE_IW                    (1ULL << 62)

/* Entries of GCR3 tables, and paging entries of the guest */
#define AMDVI_GCR3_V                    (1ULL << 0)
#define AMDVI_GPTE_P                    (1ULL << 0)
#define AMDVI_GPTE_RW                   (1ULL << 1)
#define AMDVI_GPTE_US                   (1ULL << 2)
#define AMDVI_GPTE_A                    (1ULL << 5)
#define AMDVI_GPTE_D                    (1ULL << 6)
#define AMDVI_GPTE_PS                   (1ULL << 7)
#define AMDVI_GPTE_NX                   (1ULL << 63)

/* Commands: the opcode, and flags of the second quadword */
#define AMDVI_CMD(op)                   ((uint64_t)(op) << 60)
#define AMDVI_CMD_S                     (1ULL << 0)
#define AMDVI_CMD_PDE                   (1ULL << 1)
#define AMDVI_CMD_GN                    (1ULL << 2)
#define AMDVI_CMD_ADDR                  MAKE_64BIT_MASK(12, 52)
#define AMDVI_CMD_WAIT_STORE            (1ULL << 0)
#define AMDVI_CMD_WAIT_INT              (1ULL << 1)

/* Those about virtual IOMMUs */
#define AMDVI_CMD_INSERT_GUEST_EVENT    0x09
#define AMDVI_CMD_RESET_VMMIO           0x0a
#define AMDVI_CMD_RESET_ALL             (1ULL << 28)
#define AMDVI_CMD_RESET_VCMD            (1ULL << 31)

/* Response codes */
#define AMDVI_PPR_SUCCESS               0x0
#define AMDVI_PPR_INVALID               0x1
#define AMDVI_PPR_FAILURE               0xf

/* Events */
#define AMDVI_EVENT(code)               ((uint64_t)(code) << 60)
#define AMDVI_EVENT_CODE(evt)           extract64(evt, 60, 4)
enum {
    AMDVI_EVT_ILLEGAL_DTE = 1,
    AMDVI_EVT_PAGE_FAULT = 2,
    AMDVI_EVT_DTE_HW = 3,
    AMDVI_EVT_PAGE_HW = 4,
    AMDVI_EVT_ILLEGAL_CMD = 5,
    AMDVI_EVT_CMD_HW = 6,
    AMDVI_EVT_INV_TIMEOUT = 7,
    AMDVI_EVT_INVALID_DEV = 8,
    AMDVI_EVT_INVALID_PPR = 9,
    AMDVI_EVT_GUEST_FAULT = 0xb,
    AMDVI_EVT_VIOMMU_HW = 0xc,
};
/* Their flags */
/* vNR: the request is nested; what a virtual IOMMU was about */
#define AMDVI_EVF_VNR                   (1ULL << 27)
#define AMDVI_EVF_VEVENT                (1ULL << 29)
#define AMDVI_EVF_VPPR                  (1ULL << 30)
#define AMDVI_EVF_VCMD                  (1ULL << 31)
#define AMDVI_EVF_GN                    (1ULL << 48)
#define AMDVI_EVF_NX                    (1ULL << 49)
#define AMDVI_EVF_US                    (1ULL << 50)
#define AMDVI_EVF_I                     (1ULL << 51)
#define AMDVI_EVF_PR                    (1ULL << 52)
#define AMDVI_EVF_RW                    (1ULL << 53)
#define AMDVI_EVF_PE                    (1ULL << 54)
#define AMDVI_EVF_RZ                    (1ULL << 55)
#define AMDVI_EVF_TR                    (1ULL << 56)
#define AMDVI_EVF_MASTER_ABORT          (1ULL << 57)
/* Type of an invalid device request: translated, or for translation */
#define AMDVI_EVF_PRETRANSLATED         (1ULL << 57)
#define AMDVI_EVF_PPR_RX                (1ULL << 48)
#define AMDVI_EVF_PPR_GN                (1ULL << 57)

/* Log of page requests */
#define AMDVI_PPR_TYPE                  (1ULL << 60)
#define AMDVI_PPR_EXEC                  (1ULL << 49)
#define AMDVI_PPR_READ                  (1ULL << 50)
#define AMDVI_PPR_WRITE                 (1ULL << 53)
#define AMDVI_PPR_USER                  (1ULL << 54)
#define AMDVI_PPR_GN                    (1ULL << 56)
#define AMDVI_PPR_LAST                  (1ULL << 41)
#define AMDVI_PPR_TAG(prgi)             ((uint64_t)(prgi) << 32)

/* PASID in the layout of that log */
static inline uint64_t amdvi_ppr_pasid(uint32_t pasid)
{
    return extract64(pasid, 0, 16) << 16 | extract64(pasid, 16, 4) << 42;
}

#endif

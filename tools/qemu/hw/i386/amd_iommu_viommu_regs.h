/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, registers and tables
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the model and for tests.  "Driver" marks what is known from drivers that
 * ran on hardware, and "inference" what follows from neither a driver nor a
 * transcription of the specification.
 */

#ifndef HW_I386_AMD_IOMMU_VIOMMU_REGS_H
#define HW_I386_AMD_IOMMU_VIOMMU_REGS_H

#include "qemu/bitops.h"
#include "qemu/units.h"

/*
 * Capability; where it is on silicon.  Its ID and revision are not known: 0.
 */
#define AMDVI_VSC_OFFSET                0xc8
#define AMDVI_VSC_SIZE                  0x18
#define AMDVI_VSC_VF                    0x08
#define AMDVI_VSC_VF_CNTL               0x10
#define AMDVI_VSC_ENABLE                (1U << 0)

/*
 * The two windows.  They are at fixed addresses that firmware would have
 * chosen, in 40 bits and below what HyperTransport has there.
 */
#define AMDVI_GUESTS                    0x10000
#define AMDVI_VF_BASE                   0xf800000000ULL
#define AMDVI_VF_PAGE                   0x1000
#define AMDVI_VF_SIZE                   ((uint64_t)AMDVI_GUESTS * AMDVI_VF_PAGE)
#define AMDVI_VF_CNTL_BASE              (AMDVI_VF_BASE + AMDVI_VF_SIZE)
#define AMDVI_VF_CNTL_SLOT              64
#define AMDVI_VF_CNTL_SIZE \
    ((uint64_t)AMDVI_GUESTS * AMDVI_VF_CNTL_SLOT)

/*
 * Page of a guest: the low bits of 0x2000 and up.  Driver: those of commands;
 * inference: the others, from what the page stands for.
 */
#define AMDVI_VF_CMD_HEAD               0x00
#define AMDVI_VF_CMD_TAIL               0x08
#define AMDVI_VF_EVENT_HEAD             0x10
#define AMDVI_VF_EVENT_TAIL             0x18
#define AMDVI_VF_STATUS                 0x20
#define AMDVI_VF_PPR_HEAD               0x30
#define AMDVI_VF_PPR_TAIL               0x38

/* Slot of the host for a guest (driver) */
#define AMDVI_CNTL_DEVICE_MAP           0x00
#define AMDVI_CNTL_DOMAIN_MAP           0x08
#define AMDVI_CNTL_MISC                 0x10
#define AMDVI_CNTL_CMD                  0x20
#define AMDVI_CNTL_EVENT                0x28
#define AMDVI_CNTL_PPR                  0x30

#define AMDVI_MAP_WRITE                 (1ULL << 63)
#define AMDVI_MAP_VALID                 (1ULL << 0)
#define AMDVI_MAP(guest, host) \
    ((uint64_t)(guest) << 46 | (uint64_t)(host) << 14)
#define AMDVI_MAP_GUEST(val)            extract64(val, 46, 16)
#define AMDVI_MAP_HOST(val)             extract64(val, 14, 16)

#define AMDVI_MISC_TRANSLATE            MAKE_64BIT_MASK(16, 16)
#define AMDVI_MISC_DEVICE(id)           ((uint64_t)(id) << 16)

#define AMDVI_CNTL_LENGTH               MAKE_64BIT_MASK(0, 4)
#define AMDVI_CNTL_ENABLE               (1ULL << 8)
/* Of completion waits, of events, of page requests */
#define AMDVI_CNTL_INTERRUPT            (1ULL << 9)
#define AMDVI_CNTL_PPR_ENABLE           (1ULL << 10)
#define AMDVI_CNTL_PPR_BLOCK_STOP       (1ULL << 14)

/*
 * Private addresses of the IOMMU (driver).  Rings are only there while
 * GstBufferTRPMode is off.
 */
#define AMDVI_IPA_SLOTS                 0x0000000000ULL
#define AMDVI_IPA_DEVICE_MAP            0x1000000000ULL
#define AMDVI_IPA_DEVICE_STRIDE         (1 * MiB)
#define AMDVI_IPA_DOMAIN_MAP            0x2000000000ULL
#define AMDVI_IPA_DOMAIN_STRIDE         (512 * KiB)
#define AMDVI_IPA_CMD                   0x2800000000ULL
#define AMDVI_IPA_PPR                   0x3000000000ULL
#define AMDVI_IPA_EVENT                 0x4000000000ULL
#define AMDVI_IPA_RING_STRIDE           (512 * KiB)

/*
 * Entries of the two maps.  Driver: where the device ID is.  Inference: V, and
 * that the domain ID is in the same place.  Software writes them by the port.
 */
#define AMDVI_DEVICE_MAP_ENTRY          16
#define AMDVI_DOMAIN_MAP_ENTRY          8
#define AMDVI_MAP_ENTRY_V               (1ULL << 0)
#define AMDVI_MAP_ENTRY_ID(entry)       extract64(entry, 24, 16)

/*
 * Interrupts of guests (driver): the interrupt table of the IOMMU's own device
 * table entry has two levels.
 */
#define AMDVI_GIRQ_EVENT                0
#define AMDVI_GIRQ_PPR                  1
#define AMDVI_GIRQ_ID(type, gid)        ((uint32_t)(type) << 16 | (gid))
#define AMDVI_GIRQ_TABLE_LEN            10
#define AMDVI_GIRQ_INT_CTL              2
#define AMDVI_GIRQ_L1_V                 (1ULL << 0)
#define AMDVI_GIRQ_L1_LEN               MAKE_64BIT_MASK(2, 4)
#define AMDVI_GIRQ_L1_LEN_256           (8ULL << 2)
#define AMDVI_GIRQ_L1_ADDR              MAKE_64BIT_MASK(6, 46)
#define AMDVI_IRTE_V                    (1ULL << 0)
#define AMDVI_IRTE_GUEST                (1ULL << 7)
/* Of the second half, for a guest: its backing page */
#define AMDVI_IRTE_VECTOR(hi)           extract64(hi, 0, 8)
#define AMDVI_IRTE_BACKING              MAKE_64BIT_MASK(12, 40)
#define AMDVI_BACKING_IRR               0x200

#endif

/*
 * AMD IOMMU (AMD-Vi): what the IVRS says of it
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An IOMMU without the properties of amd_iommu_features.c is described as it
 * ever was.
 */

#include "qemu/osdep.h"
#include "amd_iommu_internal.h"

/* IVHD flags */
#define AMDVI_IVHD_HT_TUNNEL            (1 << 0)
#define AMDVI_IVHD_IOTLB                (1 << 4)
#define AMDVI_IVHD_COHERENT             (1 << 5)
#define AMDVI_IVHD_PREFETCH             (1 << 6)
#define AMDVI_IVHD_PPR                  (1 << 7)

/* Feature report of type 0x10 */
#define AMDVI_IVHD_FEATURE_XT           (1U << 0)
#define AMDVI_IVHD_FEATURE_NX           (1U << 1)
#define AMDVI_IVHD_FEATURE_GT           (1U << 2)
#define AMDVI_IVHD_FEATURE_GLX(levels)  (((levels) - 1U) << 3)
#define AMDVI_IVHD_FEATURE_IA           (1U << 5)
#define AMDVI_IVHD_FEATURE_GA           (1U << 6)
#define AMDVI_IVHD_FEATURE_PASMAX(bits) (((bits) - 1U) << 8)
#define AMDVI_IVHD_FEATURE_GATS(levels) (((levels) - 4U) << 28)
#define AMDVI_IVHD_FEATURE_HATS_6       (2U << 30)

uint8_t amdvi_ivhd_flags(const AMDVIState *s, uint8_t type)
{
    uint8_t flags = AMDVI_IVHD_HT_TUNNEL | AMDVI_IVHD_IOTLB;

    if (!s->whole) {
        return type == 0x10 ? flags | AMDVI_IVHD_PREFETCH | AMDVI_IVHD_PPR :
                              flags;
    }
    /* The other types have the EFR for that */
    return AMDVI_IVHD_COHERENT | (s->ats ? AMDVI_IVHD_IOTLB : 0) |
           (s->ppr && type == 0x10 ? AMDVI_IVHD_PPR : 0);
}

uint32_t amdvi_ivhd_features(const AMDVIState *s)
{
    uint32_t features = AMDVI_IVHD_FEATURE_GA |
                        (s->xtsup ? AMDVI_IVHD_FEATURE_XT : 0);

    if (!s->whole) {
        return features | AMDVI_IVHD_FEATURE_GT;
    }
    features |= AMDVI_IVHD_FEATURE_IA | AMDVI_IVHD_FEATURE_HATS_6;
    if (s->pasid_bits) {
        features |= AMDVI_IVHD_FEATURE_GT | AMDVI_IVHD_FEATURE_NX |
                    AMDVI_IVHD_FEATURE_GLX(s->gcr3_levels) |
                    AMDVI_IVHD_FEATURE_PASMAX(s->pasid_bits) |
                    AMDVI_IVHD_FEATURE_GATS(s->guest_levels);
    }
    return features;
}

/*
 * AMD IOMMU (AMD-Vi): what the model offers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Properties, and what the registers and the capability say of them.  An IOMMU
 * without any of these properties is as it ever was.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "amd_iommu_internal.h"

#define AMDVI_PASID_BITS_MAX 20
#define AMDVI_GCR3_LEVEL_BITS 9

static bool amdvi_check_pasid(AMDVIState *s, Error **errp)
{
    uint8_t levels = MAX(1, DIV_ROUND_UP(s->pasid_bits,
                                         AMDVI_GCR3_LEVEL_BITS));

    if (s->pasid_bits > AMDVI_PASID_BITS_MAX) {
        error_setg(errp, "pasid=%u is more than the %u bits of a PASID",
                   s->pasid_bits, AMDVI_PASID_BITS_MAX);
        return false;
    }
    if (!s->pasid_bits && (s->gcr3_levels || s->gcr3_trp)) {
        error_setg(errp, "gcr3-levels and gcr3-trp need pasid=BITS");
        return false;
    }
    if (s->guest_levels != 4 && s->guest_levels != 5) {
        error_setg(errp, "guest-levels=%u: guest page tables have 4 or 5",
                   s->guest_levels);
        return false;
    }
    if (!s->gcr3_levels) {
        s->gcr3_levels = levels;
    }
    if (s->gcr3_levels < levels || s->gcr3_levels > 3) {
        error_setg(errp, "gcr3-levels=%u: must be %u to 3 for pasid=%u",
                   s->gcr3_levels, levels, s->pasid_bits);
        return false;
    }
    return true;
}

bool amdvi_check_features(AMDVIState *s, Error **errp)
{
    if (s->ppr && !s->ats) {
        error_setg(errp, "ppr=on needs ats=on");
        return false;
    }
    if (!s->ppr && (s->ppr_autoresp || s->ppr_early || s->ppr_block_stop)) {
        error_setg(errp, "ppr-autoresp, ppr-overflow-early and ppr-block-stop "
                   "need ppr=on");
        return false;
    }
    if (!amdvi_check_pasid(s, errp)) {
        return false;
    }
    if (s->viommu && !s->pasid_bits) {
        error_setg(errp, "viommu=on needs pasid=BITS");
        return false;
    }
    if (s->gst_trp && !s->viommu) {
        error_setg(errp, "gst-buffer-trp=on needs viommu=on");
        return false;
    }
    if (s->viommu_late && !s->viommu) {
        error_setg(errp, "x-viommu-late=on needs viommu=on");
        return false;
    }
    s->whole = s->ats || s->pasid_bits || s->host_ad;
    if (s->lazy_inv && !s->whole) {
        error_setg(errp, "x-lazy-invalidation=on needs ats=on, pasid=BITS or "
                   "host-ad=on");
        return false;
    }
    return true;
}

uint64_t amdvi_whole_efr(const AMDVIState *s)
{
    uint64_t efr = AMDVI_FEATURE_IA | AMDVI_FEATURE_GA | AMDVI_EFR_HATS_6;

    if (s->xtsup) {
        efr |= AMDVI_FEATURE_XT;
    }
    if (s->pasid_bits) {
        efr |= AMDVI_FEATURE_GT | AMDVI_EFR_NX | AMDVI_EFR_US | AMDVI_EFR_GIO |
               AMDVI_EFR_GATS(s->guest_levels) |
               AMDVI_EFR_GLX(s->gcr3_levels) |
               AMDVI_EFR_PASMAX(s->pasid_bits);
    }
    if (s->ppr) {
        efr |= AMDVI_FEATURE_PPR | AMDVI_EFR_EPH |
               (s->ppr_early ? AMDVI_EFR_PPR_EARLY : 0) |
               (s->ppr_autoresp ? AMDVI_EFR_PPR_AUTO : 0) |
               (s->ppr_block_stop ? AMDVI_EFR_BLOCK_STOP : 0);
    }
    if (s->viommu) {
        efr |= AMDVI_EFR_VIOMMU;
    }
    if (s->host_ad) {
        efr |= AMDVI_EFR_HA | AMDVI_EFR_HD;
    }
    return efr;
}

uint32_t amdvi_capability_header(const AMDVIState *s)
{
    if (!s->whole) {
        return AMDVI_CAPAB_FEATURES;
    }
    /* What is not present is not cached, and there is no HyperTransport */
    return AMDVI_CAPAB_FLAT_EXT | AMDVI_CAPAB_EFR_SUP | AMDVI_CAPAB_INIT_TYPE |
           AMDVI_CAPAB_ID_SEC | (s->ats ? AMDVI_CAPAB_FLAG_IOTLBSUP : 0);
}

uint32_t amdvi_capability_misc(const AMDVIState *s)
{
    uint32_t gva = AMDVI_MAX_GVA_ADDR;

    if (s->whole && s->guest_levels == 5) {
        gva = 4 << 5;   /* 57 bits */
    }
    return AMDVI_MAX_PH_ADDR | gva | AMDVI_MAX_VA_ADDR;
}

uint64_t amdvi_extended_feature_register2(AMDVIState *s)
{
    return s->gcr3_trp ? AMDVI_EFR2_GCR3_TRP : 0;
}

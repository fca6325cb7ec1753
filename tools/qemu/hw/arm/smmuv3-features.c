/*
 * ARM SMMUv3: what the model offers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Properties, and the fields of the ID registers that follow from them.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "smmuv3-features.h"
#include "smmuv3-internal.h"

#define SMMU_SSIDSIZE_MAX 20

/* Values of IDR5.OAS; there are no tables for 52 bits */
static const uint8_t smmuv3_oas_bits[] = { 32, 36, 40, 42, 44, 48 };

static int smmuv3_oas_field(uint8_t bits)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(smmuv3_oas_bits); i++) {
        if (smmuv3_oas_bits[i] == bits) {
            return i;
        }
    }
    return -1;
}

bool smmuv3_check_features(SMMUv3State *s, Error **errp)
{
    if (smmuv3_oas_field(s->oas) < 0) {
        error_setg(errp, "oas=%u is not an output address size of the SMMU",
                   s->oas);
        error_append_hint(errp, "It is 32, 36, 40, 42, 44 or 48.\n");
        return false;
    }
    if (s->pri && !s->ats) {
        error_setg(errp, "pri=on needs ats=on");
        return false;
    }
    if (!s->priqs || s->priqs > SMMU_PRIQS) {
        error_setg(errp, "priqs=%u is not the log2 of a queue size, 1 to %u",
                   s->priqs, SMMU_PRIQS);
        return false;
    }
    if (s->ssidsize > SMMU_SSIDSIZE_MAX) {
        error_setg(errp, "ssidsize=%u is more than the %u bits of a PASID",
                   s->ssidsize, SMMU_SSIDSIZE_MAX);
        return false;
    }
    if (s->ssidsize && s->stage && !strcmp(s->stage, "2")) {
        error_setg(errp, "ssidsize=%u needs stage 1, which stage=2 leaves out",
                   s->ssidsize);
        return false;
    }
    if (s->fwb && !(s->stage && (!strcmp(s->stage, "2") ||
                                 !strcmp(s->stage, "nested")))) {
        error_setg(errp, "fwb=on needs stage 2, which stage=1 leaves out");
        return false;
    }
    return true;
}

void smmuv3_init_features(SMMUv3State *s)
{
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, ATS, s->ats);
    /* An endpoint that is given addresses of the first stage: not offered */
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, NS1ATS, s->ats &&
                           STAGE1_SUPPORTED(s) && STAGE2_SUPPORTED(s));
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, ATSRECERR, s->ats);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, PRI, s->pri);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, CD2L, s->ssidsize > 0);
    s->idr[1] = FIELD_DP32(s->idr[1], IDR1, SSIDSIZE, s->ssidsize);
    s->idr[1] = FIELD_DP32(s->idr[1], IDR1, PRIQS, s->pri ? s->priqs : 0);
    s->idr[3] = FIELD_DP32(s->idr[3], IDR3, RIL, s->ril);
    /* Nothing is cached here, so STE.S2FWB has nothing to change */
    s->idr[3] = FIELD_DP32(s->idr[3], IDR3, FWB, s->fwb);
    s->idr[5] = FIELD_DP32(s->idr[5], IDR5, OAS, smmuv3_oas_field(s->oas));
}

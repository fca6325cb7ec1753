/*
 * ARM SMMUv3: what the model offers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ARM_SMMUV3_FEATURES_H
#define HW_ARM_SMMUV3_FEATURES_H

#include "hw/arm/smmuv3.h"

/* Whether the properties go together */
bool smmuv3_check_features(SMMUv3State *s, Error **errp);

/* Describe them in the ID registers, at reset */
void smmuv3_init_features(SMMUv3State *s);

#endif

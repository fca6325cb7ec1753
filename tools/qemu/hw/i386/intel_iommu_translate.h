/*
 * Intel IOMMU (VT-d): translation of one address
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_TRANSLATE_H
#define HW_I386_INTEL_IOMMU_TRANSLATE_H

#include "intel_iommu_tables.h"

/**
 * vtd_translate: Translate one address and report faults
 *
 * @who: whose request it is
 * @addr: the address
 * @want: permissions asked for, and IOMMU_PRIV for a privileged request
 * @ats: whether this is a translation request, which may be granted less than
 *     what it asks for
 * @entry: where to store the answer, without permissions if there is none
 *
 * Returns: 0 or a negative VTDFaultReason.  For a translation request only if
 * the tables do not allow the device to make it, not if there is no page.
 */
int vtd_translate(const VTDRequester *who, hwaddr addr, IOMMUAccessFlags want,
                  bool ats, IOMMUTLBEntry *entry);

#endif

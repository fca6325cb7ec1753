/*
 * Intel IOMMU (VT-d): translation of one address
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_INTEL_IOMMU_TRANSLATE_H
#define HW_I386_INTEL_IOMMU_TRANSLATE_H

#include "intel_iommu_walk.h"

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

/**
 * vtd_translate_next: Translate one of many addresses, ahead of requests
 *
 * @as: the function, whose untranslated requests without PASID these would be
 * @t: their tables, not for pass-through
 * @addr: the address
 * @hint: what is known from the address before, all zero for the first one
 * @entry: where to store the page with all its permissions, or the hole
 *
 * Nothing is reported, and the IOTLB has no part in it.  Whoever has the answer
 * uses it without coming back, so accessed and dirty bits are set now.
 */
void vtd_translate_next(VTDAddressSpace *as, const VTDTables *t, hwaddr addr,
                        VTDWalkHint *hint, IOMMUTLBEntry *entry);

#endif

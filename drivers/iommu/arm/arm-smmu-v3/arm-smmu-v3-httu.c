// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arm SMMUv3: access and dirty bits of the page tables of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * An SMMU with HTTU sets the access flag of a page that a device uses, and makes a page
 * that may be written to (DBM) dirty. Without that the device has to ask for a page which
 * is there, because the kernel has forgotten how long ago it was used, or it is clean.
 *
 * The kernel is ready for page table entries that change by themselves when it lets the
 * processors do the same. So the SMMU does no more than they do.
 */
#include <kunit/visibility.h>
#include <linux/cpufeature.h>
#include <linux/kconfig.h>

#include "arm-smmu-v3.h"

/**
 * arm_smmu_sva_httu() - What the SMMU updates in the page table of a process
 * @features: those of the SMMU
 * @mmfr1: ID_AA64MMFR1_EL1, what all processors have in common
 *
 * Context descriptors with one ASID have to agree about it. All of an SMMU do.
 *
 * Return: bits of the first quadword of a context descriptor.
 */
u64 arm_smmu_sva_httu(u32 features, u64 mmfr1)
{
	unsigned int cpu;

	if (!IS_ENABLED(CONFIG_ARM64_HW_AFDBM) ||
	    !(features & ARM_SMMU_FEAT_COHERENCY) ||
	    !(features & ARM_SMMU_FEAT_HA))
		return 0;
	cpu = cpuid_feature_extract_unsigned_field(mmfr1,
						   ID_AA64MMFR1_EL1_HAFDBS_SHIFT);
	if (cpu < ID_AA64MMFR1_EL1_HAFDBS_AF)
		return 0;
	if (!(features & ARM_SMMU_FEAT_HD) || cpu < ID_AA64MMFR1_EL1_HAFDBS_DBM)
		return CTXDESC_CD_0_TCR_HA;
	return CTXDESC_CD_0_TCR_HA | CTXDESC_CD_0_TCR_HD;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_sva_httu);

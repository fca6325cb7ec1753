// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: from one first-stage domain to another without a gap
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Page table and ASID are in different quadwords of a context descriptor, so it
 * cannot be rewritten without being invalid for a moment. What the device does
 * then fails: a translation request is aborted, for which page requests do not
 * help, and an interrupt is lost.
 *
 * The pointer to the descriptors is in one quadword of the stream table entry. So
 * a table is made that has the new descriptor, and put in the place of the old
 * table by one write.
 *
 * If PASIDs are in use, their descriptors are in the table as well, and may be
 * written at any time: a process may end. It stays, then, and translation is
 * disabled in the descriptor while it changes. Translations fault, so the device
 * asks, or is stalled, if its page faults are on.
 */
#include <linux/iommu.h>
#include <kunit/visibility.h>

#include "arm-smmu-v3.h"

/**
 * arm_smmu_make_held_cd() - Make a context descriptor that translates nothing
 * @target: where to put it
 * @cur: the descriptor that it follows
 *
 * All that the SMMU ignores because of EPD0 is 0.
 */
VISIBLE_IF_KUNIT
void arm_smmu_make_held_cd(struct arm_smmu_cd *target,
			   const struct arm_smmu_cd *cur)
{
	*target = *cur;
	target->data[0] &= ~cpu_to_le64(CTXDESC_CD_0_TCR_T0SZ |
					CTXDESC_CD_0_TCR_TG0 |
					CTXDESC_CD_0_TCR_IRGN0 |
					CTXDESC_CD_0_TCR_ORGN0 |
					CTXDESC_CD_0_TCR_SH0);
	target->data[0] |= cpu_to_le64(CTXDESC_CD_0_TCR_EPD0);
	target->data[1] &= ~cpu_to_le64(CTXDESC_CD_1_TTB0_MASK);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_make_held_cd);

/**
 * arm_smmu_hold_walks() - A context descriptor is about to become another one
 * @master: the device
 * @ssid: the PASID, or IOMMU_NO_PASID
 * @cdptr: its descriptor, which is valid
 *
 * If page faults are on, the device asks instead of finding it invalid.
 *
 * Context: the mutex of the group is held.
 */
void arm_smmu_hold_walks(struct arm_smmu_master *master, int ssid,
			 struct arm_smmu_cd *cdptr)
{
	struct arm_smmu_cd held;

	if (!master->iopf_enabled)
		return;
	arm_smmu_make_held_cd(&held, cdptr);
	arm_smmu_write_cd_entry(master, ssid, cdptr, &held);
}

/**
 * arm_smmu_replace_begin() - Get ready for another descriptor of the RID
 * @master: the device
 * @cdptr: the descriptor of its RID
 * @target: what it will be
 * @ats_enabled: will ATS be on?
 * @old: filled in, for arm_smmu_replace_end()
 *
 * Context: the mutex of the group is held.
 *
 * Return: where to write @target. The stream table entry has to be written after
 * that.
 */
struct arm_smmu_cd *arm_smmu_replace_begin(struct arm_smmu_master *master,
					   struct arm_smmu_cd *cdptr,
					   const struct arm_smmu_cd *target,
					   bool ats_enabled,
					   struct arm_smmu_ctx_desc_cfg *old)
{
	struct arm_smmu_ctx_desc_cfg *cd_table = &master->cd_table;
	struct arm_smmu_cd *new;

	memset(old, 0, sizeof(*old));
	if (!cd_table->in_ste ||
	    !(cdptr->data[0] & cpu_to_le64(CTXDESC_CD_0_V)) ||
	    !memcmp(cdptr, target, sizeof(*target)))
		return cdptr;

	/* EATS is in another quadword. */
	if (!arm_smmu_ssids_in_use(cd_table) &&
	    master->ste_ats_enabled == ats_enabled) {
		*old = *cd_table;
		memset(cd_table, 0, sizeof(*cd_table));
		new = arm_smmu_alloc_cd_ptr(master, IOMMU_NO_PASID);
		if (new)
			return new;
		if (arm_smmu_cdtab_allocated(cd_table))
			arm_smmu_free_cd_tables(master);
		*cd_table = *old;
		memset(old, 0, sizeof(*old));
	}

	arm_smmu_hold_walks(master, IOMMU_NO_PASID, cdptr);
	return cdptr;
}

/**
 * arm_smmu_replace_end() - The stream table entry has been written
 * @master: the device
 * @old: from arm_smmu_replace_begin()
 */
void arm_smmu_replace_end(struct arm_smmu_master *master,
			  struct arm_smmu_ctx_desc_cfg *old)
{
	if (!arm_smmu_cdtab_allocated(old))
		return;
	swap(master->cd_table, *old);
	arm_smmu_free_cd_tables(master);
	master->cd_table = *old;
}

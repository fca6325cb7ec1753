// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: what the device table says about the DMA of a device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * An entry is built as a whole, from what is known of the device, and then
 * written by who knows in which order the hardware may see its halves. Nothing is
 * left over from the entry before, except what does not belong to translation:
 * what the firmware has asked for, and all about interrupts.
 */
#include <asm/iommu.h>

#include "amd_iommu.h"

/*
 * What firmware may have set: all flags of the second quadword but one. Whether the
 * device may use ATS depends on whether it does.
 */
#define DTE_DATA1_KEEP		(DTE_FLAG_MASK & ~DTE_FLAG_IOTLB)

/* Of which guest the device is, for hardware that works off rings of guests */
#define DTE_DATA3_GUEST		GENMASK_ULL(47, 15)

static void dte_keep(struct dev_table_entry *new,
		     const struct dev_table_entry *old)
{
	new->data[0] = 0;
	new->data[1] = old->data[1] & DTE_DATA1_KEEP;
	new->data[2] = old->data[2] & ~DTE_GPT_LEVEL_MASK;
	new->data[3] = old->data[3] & ~DTE_DATA3_GUEST;
}

static void dte_set_gcr3(struct dev_table_entry *new,
			 const struct gcr3_tbl_info *info)
{
	u64 gcr3 = iommu_virt_to_phys(info->gcr3_tbl);

	new->data[0] |= DTE_FLAG_GV |
			((u64)info->glx & DTE_GLX_MASK) << DTE_GLX_SHIFT |
			DTE_GCR3_VAL_A(gcr3) << DTE_GCR3_SHIFT_A;
	new->data[1] |= DTE_GCR3_VAL_B(gcr3) << DTE_GCR3_SHIFT_B |
			DTE_GCR3_VAL_C(gcr3) << DTE_GCR3_SHIFT_C;
	if (amd_iommu_gpt_level == PAGE_MODE_5_LEVEL)
		new->data[2] |= (u64)GUEST_PGTABLE_5_LEVEL << DTE_GPT_LEVEL_SHIFT;
}

/**
 * amd_iommu_build_dte() - Build the entry of a device that has a domain
 * @dev_data: the device
 * @old: its entry up to now
 * @new: filled in
 */
void amd_iommu_build_dte(const struct iommu_dev_data *dev_data,
			 const struct dev_table_entry *old,
			 struct dev_table_entry *new)
{
	const struct gcr3_tbl_info *gcr3_info = &dev_data->gcr3_info;
	const struct protection_domain *domain = dev_data->domain;
	u16 domid = gcr3_info->gcr3_tbl ? gcr3_info->domid : domain->id;

	dte_keep(new, old);
	new->data[0] |= DTE_FLAG_V | DTE_FLAG_IR | DTE_FLAG_IW;
	new->data[1] |= domid;

	if (domain->iop.mode != PAGE_MODE_NONE)
		new->data[0] |= iommu_virt_to_phys(domain->iop.root);
	new->data[0] |= ((u64)domain->iop.mode & DEV_ENTRY_MODE_MASK)
			<< DEV_ENTRY_MODE_SHIFT;
	/* With SNP only if there is a page table. */
	if (!amd_iommu_snp_en || domid)
		new->data[0] |= DTE_FLAG_TV;
	if (domain->dirty_tracking)
		new->data[0] |= DTE_FLAG_HAD;
	if (dev_data->ats_allowed)
		new->data[1] |= DTE_FLAG_IOTLB;
	if (dev_data->ppr)
		new->data[0] |= BIT_ULL(DEV_ENTRY_PPR);

	if (!gcr3_info->gcr3_tbl)
		return;
	dte_set_gcr3(new, gcr3_info);
	/* Requests without PASID have a table of this kind, or none at all. */
	if (domain->pd_mode == PD_MODE_V2)
		new->data[0] |= DTE_FLAG_GIOV;
}

/**
 * amd_iommu_build_blocked_dte() - Build the entry of a device that has no domain
 * @old: its entry up to now
 * @new: filled in
 */
void amd_iommu_build_blocked_dte(const struct dev_table_entry *old,
				 struct dev_table_entry *new)
{
	dte_keep(new, old);
	new->data[0] |= DTE_FLAG_V;
	if (!amd_iommu_snp_en)
		new->data[0] |= DTE_FLAG_TV;
}

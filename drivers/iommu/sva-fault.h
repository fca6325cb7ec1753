/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests of the address spaces of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOMMU_SVA_FAULT_H
#define __IOMMU_SVA_FAULT_H

#include <linux/iommu.h>

/* A handle that is about to be attached may have been tried with another domain. */
static inline void iommu_sva_begin_faults(struct iommu_attach_handle *handle)
{
	handle->faults_ended = false;
	handle->faults_again = false;
}

#ifdef CONFIG_IOMMU_SVA
int iommu_sva_init_faults(struct iommu_domain *domain);
void iommu_sva_free_faults(struct iommu_domain *domain);
int iommu_sva_iopf_handler(struct iopf_group *group);
void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again);
#else
static inline void iommu_sva_end_faults(struct iommu_attach_handle *handle, bool again)
{
}
#endif

#endif /* __IOMMU_SVA_FAULT_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: Arm SMMUv3.
 *
 * The kernel denies all page requests of PCIe devices here, and sysfs does not
 * tell what the hardware can do.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "probe.h"

static void probe_smmu_iommu(struct probe *p)
{
	struct probe_link *link;

	link = probe_add(p, PROBE_NO, "iommu",
			 "%s, Arm SMMUv3: the kernel does not serve page requests of PCIe devices there yet",
			 p->pci.iommu);
	probe_cure(link, "for now, use a machine with Intel VT-d");
}

const struct probe_iommu probe_smmu = {
	.prefix = "smmu3",
	.option = "ARM_SMMU_V3",
	.iommu = probe_smmu_iommu,
};

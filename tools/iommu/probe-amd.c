// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: AMD-Vi.
 *
 * The kernel has page requests of this IOMMU delivered to no one but SVA yet,
 * so it is refused here whatever the hardware can do.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdlib.h>

#include "probe.h"

/* Extended feature register: peripheral page requests */
#define EFR_PPR		BIT_ULL(1)

static void probe_amd_iommu(struct probe *p)
{
	struct probe_link *link;
	char buf[64], *end;
	const char *can;
	__u64 efr;

	iopf_read_file(buf, sizeof(buf), "/sys/class/iommu/%s/amd-iommu/features",
		       p->pci.iommu);
	efr = strtoull(buf, &end, 16);
	if (end == buf)
		can = "what the hardware can do is not visible";
	else if (efr & EFR_PPR)
		can = "the hardware has page requests";
	else
		can = "the hardware has no page requests";
	link = probe_add(p, PROBE_NO, "iommu",
			 "%s, AMD-Vi: the kernel does not serve its page requests to user space yet; %s",
			 p->pci.iommu, can);
	if (end != buf && !(efr & EFR_PPR))
		probe_cure(link,
			   "use another machine, unless the firmware switches it off");
	else
		probe_cure(link, "for now, use a machine with Intel VT-d");
}

const struct probe_iommu probe_amd = {
	.prefix = "ivhd",
	.options = { "AMD_IOMMU" },
	.iommu = probe_amd_iommu,
};

// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: AMD-Vi.
 *
 * The kernel shows the extended feature registers, as far as all IOMMUs of the machine
 * agree, and the capability of each.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdio.h>
#include <stdlib.h>

#include "kconfig.h"
#include "probe.h"

/* Bits of the extended feature register */
static const struct {
	__u64 bit;
	const char *missing;
} needed[] = {
	{ BIT_ULL(1), "page requests" },			/* PPRSup */
	{ BIT_ULL(50), "enhanced handling of them" },		/* EPHSup */
	{ BIT_ULL(41), "answer when their log is full" },	/* PprAutoRspSup */
};

#define EFR_GT		BIT_ULL(4)	/* page tables for PASIDs */
#define EFR_PASMAX(r)	((unsigned int)((r) >> 32 & 0x1f))

/* Bit of the capability header: the IOMMU supports ATS */
#define CAP_IOTLB	BIT_ULL(24)

static bool read_register(struct probe *p, const char *name, __u64 *value)
{
	char buf[64], *end;
	int ret;

	ret = iopf_read_file(buf, sizeof(buf), "/sys/class/iommu/%s/amd-iommu/%s",
			     p->pci.iommu, name);
	if (ret >= 0) {
		*value = strtoull(buf, &end, 16);
		if (end != buf)
			return true;
	}
	probe_add(p, PROBE_UNKNOWN, "iommu",
		  "%s, AMD-Vi: its register values in sysfs: %s", p->pci.iommu,
		  ret < 0 ? probe_why(ret) : "no number");
	return false;
}

/* Returns false when something is missing. */
static bool look_at_features(struct probe *p, __u64 efr, __u64 cap)
{
	struct probe_link *link;
	char missing[160] = "";
	size_t len = 0;
	unsigned int i;

	if (!(cap & CAP_IOTLB))
		len = snprintf(missing, sizeof(missing), ", no ATS");
	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(efr & needed[i].bit))
			len += snprintf(missing + len, sizeof(missing) - len,
					", no %s", needed[i].missing);
	if (!len)
		return true;
	link = probe_add(p, PROBE_NO, "iommu",
			 "%s, AMD-Vi: %s (EFR %#llx)", p->pci.iommu,
			 missing + 2, efr);
	probe_cure(link,
		   "use another machine, unless the firmware switches it off");
	return false;
}

static void probe_amd_iommu(struct probe *p)
{
	struct probe_link *link;
	char pasids[32] = "no PASIDs";
	__u64 efr, cap;

	if (!read_register(p, "features", &efr) ||
	    !read_register(p, "cap", &cap) || !look_at_features(p, efr, cap))
		return;
	if (kcmdline_known() && kcmdline_has("amd_iommu", "force_isolation")) {
		link = probe_add(p, PROBE_NO, "iommu",
				 "%s, AMD-Vi: ATS is not used",
				 p->pci.iommu);
		probe_cure(link, "boot without amd_iommu=force_isolation");
		return;
	}
	if (efr & EFR_GT)
		snprintf(pasids, sizeof(pasids), "%u bits of PASID",
			 EFR_PASMAX(efr) + 1);
	probe_add(p, PROBE_OK, "iommu",
		  "%s, AMD-Vi: ATS, page requests, %s (EFR %#llx)",
		  p->pci.iommu, pasids, efr);
}

const struct probe_iommu probe_amd = {
	.prefix = "ivhd",
	.options = { "AMD_IOMMU" },
	.iommu = probe_amd_iommu,
};

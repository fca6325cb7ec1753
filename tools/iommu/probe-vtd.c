// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: Intel VT-d.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kconfig.h"
#include "probe.h"

/* Bits of the extended capability register that page faults need */
static const struct {
	__u64 bit;
	const char *missing;
} needed[] = {
	{ BIT_ULL(2), "device TLB" },			/* DT */
	{ BIT_ULL(29), "page requests" },		/* PRS */
	{ BIT_ULL(42), "page request drain" },		/* PDS */
	{ BIT_ULL(43), "scalable mode" },		/* SMTS */
	{ BIT_ULL(46), "second-stage translation" },	/* SLTS */
};

#define ECAP_SC		BIT_ULL(7)	/* snoop control */

/* ATS capability register: page aligned request */
#define ATS_CAP_PAGE_ALIGNED	BIT_ULL(5)

/* Scalable mode: 1 on, 0 off, -1 not visible. */
static int scalable_mode(void)
{
	if (!kcmdline_known())
		return -1;
	if (kcmdline_has("intel_iommu", "sm_on"))
		return 1;
	if (kcmdline_has("intel_iommu", "sm_off"))
		return 0;
	switch (kconfig_option("INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON")) {
	case 'y':
		return 1;
	case 'n':
		return 0;
	}
	return -1;
}

/* Returns false when something is missing. */
static bool look_at_ecap(struct probe *p, __u64 ecap)
{
	struct probe_link *link;
	char missing[160] = "";
	size_t len = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(ecap & needed[i].bit))
			len += snprintf(missing + len, sizeof(missing) - len,
					", no %s", needed[i].missing);
	if (!len)
		return true;
	link = probe_add(p, PROBE_NO, "iommu",
			 "%s, Intel VT-d: %s (ecap %#llx)", p->pci.iommu,
			 missing + 2, ecap);
	probe_cure(link,
		   "use another machine, unless the firmware switches it off");
	return false;
}

static void look_at_mode(struct probe *p, __u64 ecap)
{
	struct probe_link *link;

	switch (scalable_mode()) {
	case 1:
		probe_add(p, PROBE_OK, "iommu",
			  "%s, Intel VT-d: scalable mode, ATS, page requests (ecap %#llx)",
			  p->pci.iommu, ecap);
		return;
	case 0:
		link = probe_add(p, PROBE_NO, "iommu",
				 "%s, Intel VT-d: scalable mode is off",
				 p->pci.iommu);
		break;
	default:
		link = probe_add(p, PROBE_UNKNOWN, "iommu",
				 "%s, Intel VT-d: has all (ecap %#llx), but it is not visible whether scalable mode is on",
				 p->pci.iommu, ecap);
	}
	probe_cure(link, "boot with intel_iommu=on,sm_on");
}

static void probe_vtd_iommu(struct probe *p)
{
	char buf[32], *end;
	__u64 ecap;
	int ret;

	ret = iopf_read_file(buf, sizeof(buf),
			     "/sys/class/iommu/%s/intel-iommu/ecap",
			     p->pci.iommu);
	ecap = strtoull(buf, &end, 16);
	if (ret < 0 || end == buf) {
		probe_add(p, PROBE_UNKNOWN, "iommu",
			  "%s, Intel VT-d: its register values in sysfs: %s",
			  p->pci.iommu,
			  ret < 0 ? probe_why(ret) : "no number");
		return;
	}
	if (!look_at_ecap(p, ecap))
		return;
	look_at_mode(p, ecap);
	if (!(ecap & ECAP_SC))
		probe_add(p, PROBE_NOTE, "iommu",
			  "no snoop control: accesses that the device marks as no-snoop bypass the caches");
}

static const char *probe_vtd_device(const struct iopf_pci *pci,
				    const char **cure)
{
	*cure = "the device cannot do it; use another one";
	if (!(pci->ats_cap & ATS_CAP_PAGE_ALIGNED))
		return "its translation requests are not page aligned";
	if (pci->pasid_ctrl & PCI_PASID_CTRL_ENABLE &&
	    !(pci->pri_status & PCI_PRI_STATUS_PASID))
		return "its page responses take no PASID, but its PASID is enabled";
	return NULL;
}

const struct probe_iommu probe_vtd = {
	.prefix = "dmar",
	.options = { "INTEL_IOMMU" },
	.iommu = probe_vtd_iommu,
	.device = probe_vtd_device,
};

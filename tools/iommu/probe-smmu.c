// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: Arm SMMUv3.
 *
 * What the hardware can do stands in its ID registers, which iommufd tells of a device
 * that is opened: ours and that of kernels newer than 6.12. Whether ATS may be used is
 * firmware's to say. A device faults by PRI, or it stalls: its transaction waits in the
 * SMMU, which only devices do that look like PCI and are none.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"
#include "probe-firmware.h"

/* The type of what iommufd tells, in Linux 6.13 and later: six registers behind two words */
#define HW_INFO_SMMUV3		2
#define FIRST_IDR		2

/* Bits of ID registers 0 and 1 */
#define IDR0_S2P		BIT_ULL(0)
#define IDR0_S1P		BIT_ULL(1)
#define IDR0_ATS		BIT_ULL(10)
#define IDR0_PRI		BIT_ULL(16)
#define IDR0_STALL_MODEL(r)	((r) >> 24 & 3)
#define   STALL_NEVER		1
#define IDR1_SSIDSIZE(r)	((r) >> 6 & 0x1f)
#define IDR1_PRIQS(r)		((r) >> 11 & 0x1f)

/* Reads the first @nr ID registers; says so if they are not visible. */
static bool get_ids(struct probe *p, __u32 *idr, unsigned int nr)
{
	const char *why = "iommufd tells them of a device that is bound to vfio-pci";
	struct probe_link *link;

	if (p->hw_known && p->hw.type == HW_INFO_SMMUV3 &&
	    p->hw.raw_len >= (FIRST_IDR + nr) * sizeof(*idr)) {
		memcpy(idr, p->hw.raw + FIRST_IDR * sizeof(*idr),
		       nr * sizeof(*idr));
		return true;
	}
	if (p->hw_known)
		why = "this kernel does not tell them";
	else if (p->hw_error[0])
		why = p->hw_error;
	link = probe_add(p, PROBE_UNKNOWN, "iommu",
			 "%s, Arm SMMUv3: its ID registers are not visible: %s",
			 p->pci.iommu, why);
	if (p->hw_known)
		probe_cure(link,
			   "see what the kernel logs of it: dmesg | grep arm-smmu-v3");
	return false;
}

static void lacks(char *text, size_t size, const char *what)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, ", no %s", what);
}

static void look_at_ids(struct probe *p, bool stalls)
{
	char missing[160] = "", can[80] = "";
	struct probe_link *link;
	__u32 idr0, idr1, idr[2];

	if (!get_ids(p, idr, ARRAY_SIZE(idr)))
		return;
	idr0 = idr[0];
	idr1 = idr[1];
	if (!(idr0 & (IDR0_S1P | IDR0_S2P)))
		lacks(missing, sizeof(missing), "translation");
	if (stalls && IDR0_STALL_MODEL(idr0) == STALL_NEVER)
		lacks(missing, sizeof(missing), "stalls");
	if (!stalls && !(idr0 & IDR0_ATS))
		lacks(missing, sizeof(missing), "ATS");
	if (!stalls && !(idr0 & IDR0_PRI))
		lacks(missing, sizeof(missing), "page requests");
	if (missing[0]) {
		link = probe_add(p, PROBE_NO, "iommu",
				 "%s, Arm SMMUv3: %s (IDR0 %#x, IDR1 %#x)",
				 p->pci.iommu, missing + 2, idr0, idr1);
		probe_cure(link,
			   "use another machine, unless the firmware switches it off");
		return;
	}
	if (stalls)
		snprintf(can, sizeof(can), "stalls");
	else
		snprintf(can, sizeof(can), "ATS, %u page requests",
			 1U << IDR1_PRIQS(idr1));
	probe_add(p, PROBE_OK, "iommu",
		  "%s, Arm SMMUv3: %s, %u bits of PASID (IDR0 %#x, IDR1 %#x)",
		  p->pci.iommu, can, IDR1_SSIDSIZE(idr1), idr0, idr1);
}

static void look_at_firmware(struct probe *p)
{
	struct probe_link *link;
	char where[128];
	int ret;

	ret = probe_firmware_ats(p->pci.bdf, where, sizeof(where));
	if (ret > 0) {
		probe_add(p, PROBE_OK, "firmware", "%s allows ATS", where);
	} else if (!ret) {
		link = probe_add(p, PROBE_NO, "firmware",
				 "%s does not allow ATS", where);
		probe_cure(link,
			   "use firmware that has the ATS attribute in its IORT, or ats-supported in its device tree");
	} else {
		probe_add(p, PROBE_UNKNOWN, "firmware",
			  "%s, which says whether ATS is allowed: %s", where,
			  probe_why(ret));
	}
}

static bool probe_smmu_stalls(const struct iopf_pci *pci)
{
	static const unsigned int fake_pci[] = {
		0xa250, 0xa251, 0xa255, 0xa256, 0xa258, 0xa259,
	};
	unsigned int i;
	char c;

	if (pci->pri)
		return false;
	if (iopf_read_bytes(&c, 1, "/sys/bus/pci/devices/%s/of_node/dma-can-stall",
			    pci->bdf) >= 0)
		return true;
	for (i = 0; i < ARRAY_SIZE(fake_pci); i++)
		if (pci->vendor == 0x19e5 && pci->device == fake_pci[i])
			return true;
	return false;
}

static void probe_smmu_iommu(struct probe *p)
{
	bool stalls = probe_smmu_stalls(&p->pci);

	look_at_ids(p, stalls);
	if (!stalls)
		look_at_firmware(p);
	if (p->pci.pasid_ctrl & PCI_PASID_CTRL_ENABLE && p->pci.pri &&
	    !(p->pci.pri_status & PCI_PRI_STATUS_PASID))
		probe_add(p, PROBE_NOTE, "device",
			  "its page responses take no PASID: the index alone names a group of requests");
}

/* The driver serves faults of devices with one stream each. */
static const char *probe_smmu_device(const struct iopf_pci *pci,
				     const char **cure)
{
	if (!probe_firmware_aliased(pci->bdf))
		return NULL;
	*cure = "put it into a slot without a bridge to conventional PCI above";
	return "a bridge above gives its requests another number: it has more than one stream";
}

const struct probe_iommu probe_smmu = {
	.prefix = "smmu3",
	.options = { "ARM_SMMU_V3", "PCI_ATS", "PCI_PRI" },
	.iommu = probe_smmu_iommu,
	.device = probe_smmu_device,
	.stalls = probe_smmu_stalls,
};

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test of vIOMMUs on Intel VT-d
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <linux/iopf_viommu.h>
#include <string.h>

#include "../kselftest.h"

#include "iopf_viommu.h"

#define ECAP_NEST_BIT	26

/* Upper half of a fault recording register */
#define FRCD_SID	0xffffULL
#define FRCD_T1_READ	0x4000000000000000ULL
#define FRCD_PP		0x80000000ULL
#define FRCD_PASID_SHIFT 40
#define FRCD_PASID	0xfffffULL
#define FRCD_F		0x8000000000000000ULL

static bool vtd_nests(struct iopf_dev *dev)
{
	struct iommu_hw_info_vtd vtd;
	struct iopf_hw_info info;

	if (iopf_dev_hw_info(dev, &info) ||
	    info.type != IOMMU_HW_INFO_TYPE_INTEL_VTD)
		return false;
	memcpy(&vtd, info.raw, sizeof(vtd));
	return vtd.ecap_reg >> ECAP_NEST_BIT & 1;
}

static void vtd_nested(const struct space *space, struct iommu_hwpt_alloc *cmd,
		       void *blob)
{
	struct iopf_hwpt_vtd_guest *entry = blob;

	*entry = (struct iopf_hwpt_vtd_guest) {
		.pgtbl_addr = space->root,
		.addr_width = 48,
		.pasid = space->pasid,
		.domain_id = space->domain,
	};
	cmd->data_type = IOPF_HWPT_DATA_VTD_GUEST;
	cmd->data_len = sizeof(*entry);
}

static const char *vtd_bad_nested(unsigned int nr, const struct space *space,
				  struct iommu_hwpt_alloc *cmd, void *blob,
				  int *err)
{
	struct iopf_hwpt_vtd_guest *entry = blob;

	vtd_nested(space, cmd, blob);
	*err = -EINVAL;
	switch (nr) {
	case 0:
		entry->addr_width = 39;
		return "width of 39 bits";
	case 1:
		entry->addr_width = 0;
		return "no width";
	case 2:
		entry->pgtbl_addr |= 8;
		return "odd table";
	case 3:
		entry->pasid = 1 << 20;
		return "PASID of 21 bits";
	}
	*err = -EOPNOTSUPP;
	switch (nr) {
	case 4:
		entry->flags = 8;
		return "unknown flag";
	case 5:
		entry->flags = 1ULL << 63;
		return "high flag";
	case 6:
		entry->__reserved[2] = 1;
		return "reserved field";
	case 7:
		cmd->data_type = IOMMU_HWPT_DATA_VTD_S1;
		cmd->data_len = sizeof(struct iommu_hwpt_vtd_s1);
		return "data without ids";
	case 8:
		cmd->data_type++;
		return "unknown data";
	default:
		return NULL;
	}
}

static void vtd_set_page(const struct space *space, __u64 gva, __u64 gpa)
{
	x86_set_page(space->guest, space->root, gva, gpa);
}

static bool vtd_inv(const struct inv *inv, bool on_hwpt, void *elem)
{
	struct iopf_vtd_invalidate *cmd = elem;
	bool ids = !on_hwpt;

	memset(cmd, 0, sizeof(*cmd));
	switch (inv->what) {
	case INV_PAGES:
		cmd->cache = IOPF_VTD_INV_CACHE_IOTLB;
		cmd->granularity = IOPF_VTD_INV_GRAN_ADDR;
		cmd->flags = inv->leaf ? IOPF_VTD_INV_FLAGS_LEAF : 0;
		cmd->addr = inv->gva;
		cmd->npages = inv->npages;
		break;
	case INV_SPACE:
		cmd->cache = IOPF_VTD_INV_CACHE_IOTLB;
		cmd->granularity = IOPF_VTD_INV_GRAN_PASID;
		break;
	case INV_TABLE:
		cmd->cache = IOPF_VTD_INV_CACHE_PASID;
		cmd->granularity = IOPF_VTD_INV_GRAN_PASID;
		break;
	case INV_DOMAIN_TABLES:
		cmd->cache = IOPF_VTD_INV_CACHE_PASID;
		cmd->granularity = IOPF_VTD_INV_GRAN_DOMAIN;
		break;
	case INV_DEVICE:
		cmd->cache = IOPF_VTD_INV_CACHE_DEVTLB;
		cmd->granularity = IOPF_VTD_INV_GRAN_DOMAIN;
		cmd->source_id = ids ? inv->dev : 0;
		return true;
	case INV_DEVICE_SPACE:
		cmd->cache = IOPF_VTD_INV_CACHE_DEVTLB;
		cmd->granularity = IOPF_VTD_INV_GRAN_PASID;
		cmd->source_id = ids ? inv->dev : 0;
		cmd->pasid = ids ? inv->space->pasid : 0;
		return true;
	case INV_ALL:
		cmd->cache = IOPF_VTD_INV_CACHE_IOTLB |
			     IOPF_VTD_INV_CACHE_DEVTLB |
			     IOPF_VTD_INV_CACHE_PASID;
		cmd->granularity = IOPF_VTD_INV_GRAN_GUEST;
		return ids;
	case INV_DRAIN:
		cmd->granularity = IOPF_VTD_INV_GRAN_GUEST;
		cmd->flags = IOPF_VTD_INV_FLAGS_DRAIN;
		return ids;
	default:
		return false;
	}
	if (ids) {
		cmd->domain_id = inv->space->domain;
		if (cmd->granularity != IOPF_VTD_INV_GRAN_DOMAIN)
			cmd->pasid = inv->space->pasid;
	}
	return true;
}

static int vtd_fault(const void *event, struct guest_fault *fault)
{
	struct iopf_vevent_vtd vtd;

	memcpy(&vtd, event, sizeof(vtd));
	if (!(vtd.frcd[1] & FRCD_F))
		return iopf_err(-EPROTO, "F is not set: %#llx", vtd.frcd[1]);
	fault->pasid = vtd.frcd[1] & FRCD_PP ?
			       vtd.frcd[1] >> FRCD_PASID_SHIFT & FRCD_PASID : 0;
	fault->dev = vtd.frcd[1] & FRCD_SID;
	fault->addr = vtd.frcd[0] & ~0xfffULL;
	fault->write = !(vtd.frcd[1] & FRCD_T1_READ);
	return 0;
}

static const struct vtd_bad {
	const char *what;
	int err;
	bool not_on_hwpt, not_on_viommu;
	struct iopf_vtd_invalidate cmd;
} vtd_bad[] = {
#define IOTLB	IOPF_VTD_INV_CACHE_IOTLB
#define DEVTLB	IOPF_VTD_INV_CACHE_DEVTLB
#define PASID	IOPF_VTD_INV_CACHE_PASID
#define DOMAIN	IOPF_VTD_INV_GRAN_DOMAIN
#define ADDR	IOPF_VTD_INV_GRAN_ADDR
#define GUEST	IOPF_VTD_INV_GRAN_GUEST
#define ONE	IOPF_VTD_INV_GRAN_PASID
	{ "no cache", -EOPNOTSUPP, .cmd = { 0, ONE } },
	{ "cache unknown", -EOPNOTSUPP, .cmd = { IOTLB | 8, ONE } },
	{ "high cache", -EOPNOTSUPP, .cmd = { 0x8000, ONE } },
	{ "granularity unknown", -EOPNOTSUPP, .cmd = { IOTLB, 4 } },
	{ "granularity -1", -EOPNOTSUPP, .cmd = { IOTLB, 0xffff } },
	{ "flag unknown", -EOPNOTSUPP,
	  .cmd = { IOTLB, ADDR, 4, .npages = 1 } },
	{ "high flag", -EOPNOTSUPP,
	  .cmd = { IOTLB, ADDR, 1U << 31, .npages = 1 } },
	/* "-" in the table */
	{ "IOTLB of a domain", -EINVAL, .cmd = { IOTLB, DOMAIN } },
	{ "device TLB of a domain, with the IOTLB", -EINVAL,
	  .cmd = { IOTLB | DEVTLB, DOMAIN } },
	{ "device TLB of pages", -EINVAL,
	  .cmd = { DEVTLB, ADDR, .npages = 1 } },
	{ "both TLBs of pages", -EINVAL,
	  .cmd = { IOTLB | DEVTLB, ADDR, .npages = 1 } },
	{ "PASID cache of pages", -EINVAL,
	  .cmd = { PASID, ADDR, .npages = 1 } },
	{ "drain of a PASID", -EINVAL, .cmd = { IOTLB, ONE, 2 } },
	{ "drain of nothing", -EINVAL, .cmd = { 0, ONE, 2 } },
	{ "drain of a HWPT", -EINVAL, .not_on_viommu = true,
	  .cmd = { 0, GUEST, 2 } },
	{ "pages of a drain", -EINVAL, .cmd = { 0, GUEST, 2, .npages = 1 } },
	{ "PASID of a drain", -EINVAL, .cmd = { 0, GUEST, 2, .pasid = 1 } },
	{ "all of a guest", -EINVAL, .not_on_viommu = true,
	  .cmd = { IOTLB, GUEST } },
	/* What does not count */
	{ "leaves of all", -EINVAL, .cmd = { IOTLB, ONE, 1 } },
	{ "leaves of the PASID cache", -EINVAL, .cmd = { PASID, DOMAIN, 1 } },
	{ "address of all", -EINVAL, .cmd = { IOTLB, ONE, .addr = 4096 } },
	{ "pages of all", -EINVAL, .cmd = { IOTLB, ONE, .npages = 1 } },
	{ "pages of a guest", -EINVAL, .cmd = { IOTLB, GUEST, .npages = 1 } },
	{ "source ID of an IOTLB", -EINVAL,
	  .cmd = { IOTLB, ONE, .source_id = 1 } },
	{ "domain ID of a device", -EINVAL,
	  .cmd = { DEVTLB, ONE, .domain_id = 1 } },
	{ "PASID of a whole device", -EINVAL,
	  .cmd = { DEVTLB, DOMAIN, .pasid = 1 } },
	{ "PASID of a domain", -EINVAL, .cmd = { PASID, DOMAIN, .pasid = 1 } },
	{ "domain ID of all", -EINVAL, .cmd = { IOTLB, GUEST, .domain_id = 1 } },
	{ "source ID of all", -EINVAL, .cmd = { DEVTLB, GUEST, .source_id = 1 } },
	{ "PASID of all", -EINVAL, .cmd = { IOTLB, GUEST, .pasid = 1 } },
	{ "domain ID of a HWPT", -EINVAL, .not_on_viommu = true,
	  .cmd = { IOTLB, ONE, .domain_id = 1 } },
	{ "PASID of a HWPT", -EINVAL, .not_on_viommu = true,
	  .cmd = { IOTLB, ONE, .pasid = 1 } },
	{ "source ID of a HWPT", -EINVAL, .not_on_viommu = true,
	  .cmd = { DEVTLB, DOMAIN, .source_id = 1 } },
	/* Out of range */
	{ "PASID of 21 bits", -EINVAL, .cmd = { IOTLB, ONE, .pasid = 1 << 20 } },
	{ "PASID -1", -EINVAL, .cmd = { IOTLB, ONE, .pasid = ~0U } },
	{ "no pages", -EINVAL, .cmd = { IOTLB, ADDR } },
	{ "odd address", -EINVAL,
	  .cmd = { IOTLB, ADDR, .addr = 0x1800, .npages = 1 } },
	{ "beyond the end", -EINVAL,
	  .cmd = { IOTLB, ADDR, .addr = -4096ULL, .npages = 2 } },
	{ "more than all", -EINVAL,
	  .cmd = { IOTLB, ADDR, .npages = (1ULL << 52) + 1 } },
	{ "-1 pages", -EINVAL, .cmd = { IOTLB, ADDR, .npages = ~0ULL } },
	{ "device unknown", -ENOENT, .not_on_hwpt = true,
	  .cmd = { DEVTLB, DOMAIN, .source_id = 0xdead } },
	{ "device 0", -ENOENT, .not_on_hwpt = true,
	  .cmd = { DEVTLB, ONE, .source_id = 0 } },
};

static struct bad_inv vtd_bad_inv[ARRAY_SIZE(vtd_bad) + 1];

static const struct vendor vendor_vtd = {
	.name = "VT-d",
	.viommu_type = IOPF_VIOMMU_TYPE_VTD,
	.event_type = IOPF_VEVENTQ_TYPE_VTD,
	.inv_type = IOPF_HWPT_INVALIDATE_DATA_VTD,
	.inv_len = sizeof(struct iopf_vtd_invalidate),
	.event_len = sizeof(struct iopf_vevent_vtd),
	.max_dev = 0xffff,
	.no_dev = -ENOENT,
	.pasid_hwpt = true,
	.nests = vtd_nests,
	.nested = vtd_nested,
	.set_page = vtd_set_page,
	.inv = vtd_inv,
	.fault = vtd_fault,
	.bad = vtd_bad_inv,
	.bad_nested = vtd_bad_nested,
	.trace_event = "intel_iommu/qi_submit",
	.trace_pages = "p_iotlb_inv",
	.trace_tables = "pc_inv",
	.fault_log = "DMAR: (DRHD: handling fault status|\\[DMA Write )",
};

/* Ends with one that is empty */
__attribute__((constructor)) static void vtd_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vtd_bad); i++) {
		vtd_bad_inv[i] = (struct bad_inv) {
			.what = vtd_bad[i].what,
			.err = vtd_bad[i].err,
			.not_on_hwpt = vtd_bad[i].not_on_hwpt,
			.not_on_viommu = vtd_bad[i].not_on_viommu,
		};
		memcpy(vtd_bad_inv[i].elem, &vtd_bad[i].cmd,
		       sizeof(vtd_bad[i].cmd));
	}
	vendor_add(&vendor_vtd);
}

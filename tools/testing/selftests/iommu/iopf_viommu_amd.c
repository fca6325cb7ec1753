// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test of vIOMMUs on AMD-Vi
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * What leads to the page tables of a space is a table of PASIDs (GCR3). Requests without
 * PASID are those of PASID 0 there. The guest invalidates what devices have by itself: it
 * has set I in its device table entry.
 */
#include <errno.h>
#include <linux/iopf_viommu.h>
#include <string.h>

#include "../kselftest.h"

#include "iopf_viommu.h"

/* Extended feature registers */
#define EFR_GT		0x10ULL
#define EFR_GIO		0x1000000000000ULL
#define EFR2_GCR3TRP	0x8ULL

/* Device table entry */
#define DTE_V		0x1ULL
#define DTE_TV		0x2ULL
#define DTE_MODE	0x200ULL
#define DTE_PPR		0x10000000000000ULL
#define DTE_GIOV	0x40000000000000ULL
#define DTE_GV		0x80000000000000ULL
#define DTE_GLX		0x100000000000000ULL
#define DTE_IR		0x2000000000000000ULL
#define DTE_IW		0x4000000000000000ULL
/* Of the second and the third quadword */
#define DTE_I		0x100000000ULL
#define DTE_LEVELS	0x40000000000000ULL

/* Both in tables of PASIDs, with the address, and in page tables */
#define ENTRY_P		0x001ULL
#define ENTRY_ADDR	0x000ffffffffff000ULL

/* Commands */
#define PAGES		(3ULL << 60)
#define IOTLB		(4ULL << 60)
#define DOMID(id)	((__u64)(id) << 32)
#define QUEUE(id)	((__u64)(id) << 32)
#define CMD_S		1ULL
#define CMD_PDE		2ULL
#define CMD_GN		4ULL
#define CMD_ALL		(0x7ffffffffffff000ULL | CMD_S)

/* Events */
#define EVENT_TYPE	(0xfULL << 60)
#define EVENT_FAULT	(2ULL << 60)
#define EVENT_RW	0x20000000000000ULL
#define EVENT_GN	0x1000000000000ULL
#define EVENT_PASID	(0xffffULL << 32 | 0xfULL << 16)
#define EVENT_DEVID	0xffffULL

static bool amd_nests(struct iopf_dev *dev)
{
	struct iommu_hw_info_amd amd;
	struct iopf_hw_info info;

	if (iopf_dev_hw_info(dev, &info) || info.type != IOMMU_HW_INFO_TYPE_AMD)
		return false;
	memcpy(&amd, info.raw, sizeof(amd));
	return amd.efr & EFR_GT && amd.efr & EFR_GIO && amd.efr2 & EFR2_GCR3TRP;
}

static void set_gcr3(__u64 *dte, __u64 root)
{
	dte[0] |= (root >> 12 & 7) << 58;
	dte[1] |= (root >> 15 & 0xffff) << 16 | (root >> 31 & 0x1fffff) << 43;
}

static void amd_nested(const struct space *space, struct iommu_hwpt_alloc *cmd,
		       void *blob)
{
	struct iommu_hwpt_amd_guest *guest = blob;

	*guest = (struct iommu_hwpt_amd_guest) {
		.dte = {
			DTE_V | DTE_TV | DTE_PPR | DTE_GIOV | DTE_GV | DTE_IR |
			DTE_IW,
			space->domain | (space->host_devtlb ? 0 : DTE_I),
		},
	};
	set_gcr3(guest->dte, space->table);
	cmd->data_type = IOMMU_HWPT_DATA_AMD_GUEST;
	cmd->data_len = sizeof(*guest);
}

static const char *amd_bad_nested(unsigned int nr, const struct space *space,
				  struct iommu_hwpt_alloc *cmd, void *blob,
				  int *err)
{
	struct iommu_hwpt_amd_guest *guest = blob;

	amd_nested(space, cmd, blob);
	*err = -EINVAL;
	switch (nr) {
	case 0:
		guest->dte[0] |= DTE_MODE;
		return "levels of the host";
	case 1:
		guest->dte[0] |= 0x1000;
		return "a table of the host";
	case 2:
		guest->dte[0] |= 1 << 7;
		return "HA";
	case 3:
		guest->dte[0] &= ~DTE_GV;
		return "GIoV without GV";
	case 4:
		guest->dte[0] &= ~(7ULL << 58);
		guest->dte[1] = space->domain;
		return "no root";
	case 5:
		guest->dte[0] |= 3 * DTE_GLX;
		return "reserved levels of PASIDs";
	case 6:
		guest->dte[2] |= 2 * DTE_LEVELS;
		return "reserved paging mode";
	}
	*err = -EOPNOTSUPP;
	switch (nr) {
	case 7:
		guest->dte[0] |= 2 * DTE_GLX;
		return "more levels of PASIDs than there are";
	case 8:
		guest->dte[2] |= DTE_LEVELS;
		return "five levels";
	case 9:
		cmd->data_type = IOMMU_HWPT_DATA_VTD_S1;
		return "data of VT-d";
	case 10:
		cmd->data_type = IOPF_TYPE_PREFIX | 2;
		return "unknown data";
	default:
		return NULL;
	}
}

static bool amd_nested_without(bool bypass, struct iommu_hwpt_alloc *cmd,
			       void *blob)
{
	struct iommu_hwpt_amd_guest *guest = blob;

	/* What does not count */
	guest->dte[0] = bypass ? ~DTE_V : ~DTE_TV;
	guest->dte[1] = ~0ULL;
	cmd->data_type = IOMMU_HWPT_DATA_AMD_GUEST;
	cmd->data_len = sizeof(*guest);
	return true;
}

/* Requests without PASID are those of PASID 0. */
static void amd_set_root(struct space *space)
{
	__u64 *table = host(space->guest, space->table);

	__atomic_store_n(table, space->root | ENTRY_P, __ATOMIC_SEQ_CST);
}

static void amd_prepare(struct space *space)
{
	space->table = guest_page(space->guest);
	amd_set_root(space);
}

/* A domain ID is one of the device, for all of its PASIDs. */
static __u32 rid_domain;

static void amd_set_pasid(const struct space *rid, const struct space *space)
{
	__u64 *table = host(rid->guest, rid->table);

	rid_domain = rid->domain;
	__atomic_store_n(&table[space->pasid], space->root | ENTRY_P,
			 __ATOMIC_SEQ_CST);
}

static void amd_set_page(const struct space *space, __u64 gva, __u64 gpa)
{
	x86_set_page(space->guest, space->root, gva, gpa);
}

/* The bits of it, except for the highest */
static __u64 iotlb_pasid(__u64 pasid)
{
	return (pasid & 0xff) << 48 | (pasid >> 8 & 0xff) << 16;
}

/* The lowest bit that is 0 tells the size. */
static __u64 pages(__u64 gva, __u64 npages)
{
	__u64 last = gva + npages * 4096 - 1, low = 4096;

	if (npages == 1)
		return gva;
	while ((gva ^ last) & ~(2 * low - 1))
		low *= 2;
	return (gva & ~(2 * low - 1)) | (low - 4096) | CMD_S;
}

static bool amd_inv(const struct inv *inv, bool on_hwpt, void *elem)
{
	struct iopf_amd_invalidate *cmd = elem;
	const struct space *space = inv->space;
	__u64 domain, pasid = 0;

	memset(cmd, 0, sizeof(*cmd));
	if (on_hwpt)
		return false;
	domain = space ? DOMID(space->domain) : 0;
	if (space && space->dma_pasid) {
		domain = DOMID(rid_domain);
		pasid = space->pasid;
	}
	switch (inv->what) {
	case INV_PAGES:
		cmd->cmd[0] = PAGES | domain | pasid;
		cmd->cmd[1] = pages(inv->gva, inv->npages) | CMD_GN |
			      (inv->leaf ? 0 : CMD_PDE);
		return true;
	case INV_SPACE:
		cmd->cmd[0] = PAGES | domain | pasid;
		cmd->cmd[1] = CMD_ALL | CMD_GN;
		return true;
	case INV_TABLE:
	case INV_DOMAIN_TABLES:
		cmd->cmd[0] = PAGES | domain | pasid;
		cmd->cmd[1] = CMD_ALL | CMD_GN | CMD_PDE;
		return true;
	case INV_DEVICE:
		cmd->cmd[0] = IOTLB | QUEUE(inv->dev) | inv->dev;
		cmd->cmd[1] = CMD_ALL;
		return true;
	case INV_DEVICE_SPACE:
		cmd->cmd[0] = IOTLB | QUEUE(inv->dev) | inv->dev |
			      iotlb_pasid(pasid);
		cmd->cmd[1] = CMD_ALL | CMD_GN;
		return true;
	case INV_DEVICE_PAGE:
		cmd->cmd[0] = IOTLB | QUEUE(inv->dev) | inv->dev |
			      iotlb_pasid(pasid);
		cmd->cmd[1] = inv->gva | CMD_GN;
		return true;
	default:
		return false;
	}
}

static int amd_fault(const void *event, struct guest_fault *fault)
{
	struct iopf_vevent_amd amd;

	memcpy(&amd, event, sizeof(amd));
	if ((amd.event[0] & EVENT_TYPE) != EVENT_FAULT)
		return iopf_err(-EPROTO, "another event: %#llx", amd.event[0]);
	if (!(amd.event[0] & EVENT_GN) || amd.event[0] & EVENT_PASID)
		return iopf_err(-EPROTO, "not of PASID 0: %#llx", amd.event[0]);
	fault->dev = amd.event[0] & EVENT_DEVID;
	fault->addr = amd.event[1] & ~0xfffULL;
	fault->write = amd.event[0] & EVENT_RW;
	return 0;
}

#define BAD(text, errno_, first, second)                     \
	{ .what = text, .err = -(errno_), .not_on_hwpt = true, \
	  .cmd = { { first, second } } }

static const struct amd_bad {
	const char *what;
	int err;
	bool not_on_hwpt;
	struct iopf_amd_invalidate cmd;
} amd_bad[] = {
	BAD("nothing", EOPNOTSUPP, 0, 0),
	BAD("COMPLETION_WAIT", EOPNOTSUPP, 1ULL << 60 | 1, 0),
	BAD("INVALIDATE_DEVTAB_ENTRY", EOPNOTSUPP, 2ULL << 60, 0),
	BAD("INVALIDATE_INTERRUPT_TABLE", EOPNOTSUPP, 5ULL << 60, 0),
	BAD("PREFETCH_IOMMU_PAGES", EOPNOTSUPP, 6ULL << 60, 0),
	BAD("COMPLETE_PPR_REQUEST", EOPNOTSUPP, 7ULL << 60, 0),
	BAD("INVALIDATE_IOMMU_ALL", EOPNOTSUPP, 8ULL << 60, 0),
	BAD("INSERT_GUEST_EVENT", EOPNOTSUPP, 9ULL << 60, 0),
	BAD("RESET_VMMIO", EOPNOTSUPP, 10ULL << 60 | 1ULL << 28, 0),
	BAD("opcode 15", EOPNOTSUPP, 15ULL << 60, 0),
	BAD("pages, reserved bit 20", EINVAL, PAGES | 1 << 20, CMD_ALL | CMD_GN),
	BAD("pages, reserved bit 31", EINVAL, PAGES | 1ULL << 31,
	    CMD_ALL | CMD_GN),
	BAD("pages, reserved bit 48", EINVAL, PAGES | 1ULL << 48, CMD_ALL),
	BAD("pages, reserved bit 59", EINVAL, PAGES | 1ULL << 59, CMD_ALL),
	BAD("pages, reserved bit 67", EINVAL, PAGES, CMD_ALL | 8),
	BAD("pages, reserved bit 75", EINVAL, PAGES, CMD_ALL | 1 << 11),
	BAD("pages, a PASID without GN", EINVAL, PAGES | 1, CMD_ALL),
	BAD("device, PDE", EINVAL, IOTLB, CMD_ALL | CMD_PDE),
	BAD("device, type", EINVAL, IOTLB, CMD_ALL | 1 << 4),
	BAD("device, reserved bit 60 of it", EINVAL, IOTLB, CMD_ALL | 1 << 6),
	BAD("device, a PASID without GN", EINVAL, IOTLB | 1ULL << 48, CMD_ALL),
	BAD("device, PASID bit 16 without GN", EINVAL, IOTLB | 1ULL << 56,
	    CMD_ALL),
	BAD("device unknown", ENOENT, IOTLB | 0xdead, CMD_ALL),
	BAD("device 0", ENOENT, IOTLB | QUEUE(0xdead), CMD_ALL | CMD_GN),
};

static struct bad_inv amd_bad_inv[ARRAY_SIZE(amd_bad) + 1];

const struct vendor vendor_amd = {
	.name = "AMD-Vi",
	.viommu_type = IOPF_VIOMMU_TYPE_AMD,
	.event_type = IOPF_VEVENTQ_TYPE_AMD,
	.inv_type = IOPF_HWPT_INVALIDATE_DATA_AMD,
	.inv_len = sizeof(struct iopf_amd_invalidate),
	.event_len = sizeof(struct iopf_vevent_amd),
	.max_dev = 0xffff,
	.no_dev = -ENOENT,
	.guest_devtlb = true,
	.may_leave_devtlb = true,
	.nests = amd_nests,
	.prepare = amd_prepare,
	.set_root = amd_set_root,
	.set_pasid = amd_set_pasid,
	.nested = amd_nested,
	.nested_without = amd_nested_without,
	.set_page = amd_set_page,
	.inv = amd_inv,
	.fault = amd_fault,
	.bad = amd_bad_inv,
	.bad_nested = amd_bad_nested,
	.fault_log = "Event logged \\[IO_PAGE_FAULT",
};

/* Ends with one that is empty */
__attribute__((constructor)) static void amd_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(amd_bad); i++) {
		amd_bad_inv[i] = (struct bad_inv) {
			.what = amd_bad[i].what,
			.err = amd_bad[i].err,
			.not_on_hwpt = amd_bad[i].not_on_hwpt,
		};
		memcpy(amd_bad_inv[i].elem, &amd_bad[i].cmd,
		       sizeof(amd_bad[i].cmd));
	}
	vendor_add(&vendor_amd);
}

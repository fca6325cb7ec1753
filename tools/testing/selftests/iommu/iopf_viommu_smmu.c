// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test of vIOMMUs on Arm SMMUv3
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "../kselftest.h"

#include "iopf_viommu.h"

#define IDR0_STAGES	0x3U
#define IDR3_FWB	0x100U
#define IDR3_RIL	0x400U
#define IDR5_OAS	0x7U
#define OAS_48		5

/* Stream table entry */
#define STE_V		0x1ULL
#define STE_CONFIG(x)	((__u64)(x) << 1)
#define STE_ABORT	STE_CONFIG(0)
#define STE_BYPASS	STE_CONFIG(4)
#define STE_S1		STE_CONFIG(5)
#define STE_CACHED	(0x4ULL | 0x10ULL | 3ULL << 6)
#define STE_S1CDMAX(x)	((__u64)(x) << 59)
#define STE_S1DSS_SSID0	2ULL
#define STE_EATS(x)	((__u64)(x) << 28)

/* Context descriptor: 48 bits, pages of 4 KiB, all walks cached, TTB0 alone */
#define CD_TCR		(16ULL | 0x100ULL | 0x400ULL | 3ULL << 12 | 0x40000000ULL)
#define CD_V		0x80000000ULL
#define CD_IPS(x)	((__u64)(x) << 32)
#define CD_FLAGS	0xe20000000000ULL
#define CD_ASID(x)	((__u64)(x) << 48)
#define CD_MAIR		0xffULL
/* As many as are in a page */
#define CD_LOG2		6
#define CD_WORDS	8

/* Entries of page tables: user, inner shareable, accessed, not global */
#define PTE_TABLE	0x3ULL
#define PTE_PAGE	(0x3ULL | 0x40ULL | 3ULL << 8 | 0x400ULL | 0x800ULL)
#define PTE_ADDR	0x0000fffffffff000ULL

/* Where the host has doorbells of interrupts, which the guest maps to itself */
#define MSI_WINDOW	0x8000000ULL
#define MSI_PAGES	2

/* Commands, word 0 */
#define OP_CFGI_CD	0x05ULL
#define OP_CFGI_CD_ALL	0x06ULL
#define OP_NH_ALL	0x10ULL
#define OP_NH_ASID	0x11ULL
#define OP_NH_VA	0x12ULL
#define OP_NH_VAA	0x13ULL
#define OP_NSNH_ALL	0x30ULL
#define OP_ATC_INV	0x40ULL
#define SSV		0x800ULL
#define SSID(x)		((__u64)(x) << 12)
#define NUM(x)		((__u64)(x) << 12)
#define SCALE(x)	((__u64)(x) << 20)
#define SID(x)		((__u64)(x) << 32)
#define VMID(x)		((__u64)(x) << 32)
#define ASID(x)		((__u64)(x) << 48)
/* Word 1 */
#define LEAF		1ULL
#define TTL(x)		((__u64)(x) << 8)
#define TG_4K		0x400ULL

/* Events */
#define EVT_TRANSLATION	0x10
#define EVT_SSV		0x800ULL
#define EVT_READ	0x800000000ULL
#define EVT_S2		0x8000000000ULL

static struct iommu_hw_info_arm_smmuv3 smmu;

static bool smmu_nests(struct iopf_dev *dev)
{
	struct iopf_hw_info info;

	if (iopf_dev_hw_info(dev, &info) ||
	    info.type != IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		return false;
	memcpy(&smmu, info.raw, sizeof(smmu));
	return (smmu.idr[0] & IDR0_STAGES) == IDR0_STAGES &&
	       smmu.idr[3] & IDR3_FWB;
}

static void smmu_set_page(const struct space *space, __u64 gva, __u64 gpa)
{
	struct guest *guest = space->guest;
	__u64 table = space->root;
	__u64 *pte;
	int level;

	for (level = 0; ; level++) {
		pte = host(guest, table);
		pte += gva >> (39 - 9 * level) & 511;
		if (level == 3)
			break;
		if (!*pte)
			__atomic_store_n(pte, guest_page(guest) | PTE_TABLE,
					 __ATOMIC_SEQ_CST);
		table = *pte & PTE_ADDR;
	}
	__atomic_store_n(pte, gpa ? gpa | PTE_PAGE : 0, __ATOMIC_SEQ_CST);
}

static void set_descriptor(const struct space *space, __u64 *cd)
{
	unsigned int oas = smmu.idr[5] & IDR5_OAS;

	__atomic_store_n(&cd[1], space->root, __ATOMIC_SEQ_CST);
	cd[3] = CD_MAIR;
	__atomic_store_n(&cd[0], CD_TCR | CD_V | CD_FLAGS |
				 CD_IPS(oas > OAS_48 ? OAS_48 : oas) |
				 CD_ASID(space->domain), __ATOMIC_SEQ_CST);
}

static void smmu_set_root(struct space *space)
{
	unsigned int i;

	set_descriptor(space, host(space->guest, space->table));
	for (i = 0; i < MSI_PAGES; i++)
		smmu_set_page(space, MSI_WINDOW + i * 4096,
			      MSI_WINDOW + i * 4096);
}

static void smmu_set_pasid(const struct space *rid, const struct space *space)
{
	__u64 *table = host(rid->guest, rid->table);

	set_descriptor(space, table + CD_WORDS * space->pasid);
}

static void smmu_prepare(struct space *space)
{
	space->table = guest_page(space->guest);
	smmu_set_root(space);
}

static void smmu_nested(const struct space *space, struct iommu_hwpt_alloc *cmd,
			void *blob)
{
	struct iommu_hwpt_arm_smmuv3 *ste = blob;

	ste->ste[0] = STE_V | STE_S1 | space->table | STE_S1CDMAX(CD_LOG2);
	ste->ste[1] = STE_S1DSS_SSID0 | STE_CACHED | STE_EATS(1);
	cmd->data_type = IOMMU_HWPT_DATA_ARM_SMMUV3;
	cmd->data_len = sizeof(*ste);
}

static void smmu_nested_no_ats(const struct space *space,
			       struct iommu_hwpt_alloc *cmd, void *blob)
{
	struct iommu_hwpt_arm_smmuv3 *ste = blob;

	smmu_nested(space, cmd, blob);
	ste->ste[1] &= ~STE_EATS(3);
}

static bool smmu_nested_without(bool bypass, struct iommu_hwpt_alloc *cmd,
				void *blob)
{
	struct iommu_hwpt_arm_smmuv3 *ste = blob;

	ste->ste[0] = STE_V | (bypass ? STE_BYPASS : STE_ABORT);
	cmd->data_type = IOMMU_HWPT_DATA_ARM_SMMUV3;
	cmd->data_len = sizeof(*ste);
	return true;
}

static const char *smmu_bad_nested(unsigned int nr, const struct space *space,
				   struct iommu_hwpt_alloc *cmd, void *blob,
				   int *err)
{
	struct iommu_hwpt_arm_smmuv3 *ste = blob;
	/* What a guest may set */
	static const __u64 good[] = { 0xf80fffffffffffffULL, 0x380000ffULL };
	unsigned int bit;

	smmu_nested(space, cmd, blob);
	*err = -EINVAL;
	switch (nr) {
	case 0:
		cmd->data_type = IOMMU_HWPT_DATA_VTD_S1;
		return "VT-d's data";
	case 1:
		cmd->data_type = 0x7777;
		return "unknown data";
	}
	*err = -EIO;
	switch (nr) {
	case 2:
		ste->ste[0] |= STE_CONFIG(2);
		return "two stages";
	case 3:
		ste->ste[0] = STE_V | STE_CONFIG(6);
		return "a second stage";
	case 4:
		ste->ste[0] = STE_V | STE_CONFIG(1);
		return "reserved Config";
	case 5:
		ste->ste[1] |= STE_EATS(2);
		return "EATS of 3";
	case 6:
		ste->ste[1] ^= STE_EATS(3);
		return "EATS of 2";
	}
	/* Each of the other bits */
	for (bit = 0, nr -= 6; bit < 128; bit++)
		if (!(good[bit / 64] >> bit % 64 & 1) && !--nr)
			break;
	if (bit == 128)
		return NULL;
	ste->ste[bit / 64] |= 1ULL << bit % 64;
	return "reserved bit";
}

static bool smmu_inv(const struct inv *inv, bool on_hwpt, void *elem)
{
	struct iommu_viommu_arm_smmuv3_invalidate *inval = elem;
	__u64 *cmd = (__u64 *)inval->cmd;

	if (on_hwpt)
		return false;
	memset(inval, 0, sizeof(*inval));
	switch (inv->what) {
	case INV_PAGES:
		/* The VMID is that of nobody. */
		cmd[0] = OP_NH_VA | VMID(0x77) | ASID(inv->space->domain);
		cmd[1] = inv->gva | (inv->leaf ? LEAF : 0);
		if (inv->npages == 1)
			return true;
		if (!(smmu.idr[3] & IDR3_RIL))
			cmd[0] = OP_NH_ASID | ASID(inv->space->domain);
		else
			cmd[0] |= NUM(inv->npages - 1);
		cmd[1] = smmu.idr[3] & IDR3_RIL ? cmd[1] | TG_4K : 0;
		return true;
	case INV_SPACE:
		cmd[0] = OP_NH_ASID | ASID(inv->space->domain);
		return true;
	case INV_TABLE:
		cmd[0] = OP_CFGI_CD | SID(inv->space->dev);
		cmd[1] = LEAF;
		return true;
	case INV_DOMAIN_TABLES:
		cmd[0] = OP_CFGI_CD_ALL | SID(inv->space->dev);
		return true;
	case INV_DEVICE:
		cmd[0] = OP_ATC_INV | SID(inv->dev);
		cmd[1] = 52;
		return true;
	case INV_DEVICE_SPACE:
		if (!inv->space->dma_pasid)
			return false;
		cmd[0] = OP_ATC_INV | SSV | SSID(inv->space->pasid) |
			 SID(inv->dev);
		cmd[1] = 52;
		return true;
	case INV_DEVICE_PAGE:
		cmd[0] = OP_ATC_INV | SID(inv->dev);
		cmd[1] = inv->gva;
		return true;
	case INV_ALL:
		cmd[0] = OP_NSNH_ALL;
		return true;
	default:
		return false;
	}
}

static int smmu_fault(const void *event, struct guest_fault *fault)
{
	__u64 evt[4];

	memcpy(evt, event, sizeof(evt));
	if ((evt[0] & 0xff) != EVT_TRANSLATION || evt[0] & EVT_SSV ||
	    evt[1] & EVT_S2)
		return iopf_err(-EPROTO, "event %#llx %#llx", evt[0], evt[1]);
	fault->dev = evt[0] >> 32;
	fault->addr = evt[2] & ~0xfffULL;
	fault->write = !(evt[1] & EVT_READ);
	return 0;
}

/* All of them end with EIO. */
static const struct smmu_bad {
	const char *what;
	__u64 cmd[2];
} smmu_bad[] = {
	{ "no opcode", { 0 } },
	{ "PREFETCH_CONFIG", { 0x01 } },
	{ "PREFETCH_ADDR", { 0x02 } },
	{ "CFGI_STE", { 0x03, 1 } },
	{ "CFGI_STE_RANGE", { 0x04, 31 } },
	{ "CFGI_VMS_PIDM", { 0x07 } },
	{ "TLBI_EL3_ALL", { 0x18 } },
	{ "TLBI_EL2_ALL", { 0x20 } },
	{ "TLBI_EL2_ASID", { 0x21 } },
	{ "TLBI_EL2_VA", { 0x22 } },
	{ "TLBI_S12_VMALL", { 0x28 } },
	{ "TLBI_S2_IPA", { 0x2a } },
	{ "TLBI_SNH_ALL", { 0x60 } },
	{ "PRI_RESP", { 0x41 } },
	{ "RESUME", { 0x44 } },
	{ "STALL_TERM", { 0x45 } },
	{ "SYNC", { 0x46 } },
	{ "last opcode", { 0xff } },
	/* What must be 0 */
	{ "NSNH_ALL, bit 8", { OP_NSNH_ALL | 1 << 8 } },
	{ "NSNH_ALL with a VMID", { OP_NSNH_ALL | VMID(1) } },
	{ "NSNH_ALL with an ASID", { OP_NSNH_ALL | ASID(40) } },
	{ "NSNH_ALL, word 1", { OP_NSNH_ALL, 1ULL << 63 } },
	{ "NH_ALL, bit 10", { OP_NH_ALL | 1 << 10 } },
	{ "NH_ALL with an ASID", { OP_NH_ALL | ASID(40) } },
	{ "NH_ALL, word 1", { OP_NH_ALL, 1 } },
	{ "NH_ASID, bit 12", { OP_NH_ASID | NUM(1) | ASID(40) } },
	{ "NH_ASID, word 1", { OP_NH_ASID | ASID(40), 4096 } },
	{ "NH_VA, bit 17", { OP_NH_VA | 1 << 17 | ASID(40) } },
	{ "NH_VA, bit 25", { OP_NH_VA | 1 << 25 | ASID(40) } },
	{ "NH_VA, bit 1 of word 1", { OP_NH_VA | ASID(40), 2 } },
	{ "NH_VA of a range without a granule", { OP_NH_VA | NUM(1) | ASID(40) } },
	{ "NH_VA of a scale without a granule",
	  { OP_NH_VA | SCALE(1) | ASID(40) } },
	{ "NH_VA of a level without a granule",
	  { OP_NH_VA | ASID(40), TTL(3) } },
	{ "NH_VA of a reserved range", { OP_NH_VA | ASID(40), TG_4K } },
	{ "NH_VAA with an ASID", { OP_NH_VAA | ASID(40) } },
	{ "NH_VAA, bit 4 of word 1", { OP_NH_VAA, 16 } },
	{ "NH_VAA of a reserved range", { OP_NH_VAA, TG_4K } },
	/* Streams: that of the host is none of the guest's */
	{ "CFGI_CD of nobody", { OP_CFGI_CD | SID(0xdead) } },
	{ "CFGI_CD of 32 bits", { OP_CFGI_CD | SID(0xffffffff) } },
	{ "CFGI_CD, bit 10", { OP_CFGI_CD | 1 << 10 | SID(0xdead) } },
	{ "CFGI_CD_ALL of nobody", { OP_CFGI_CD_ALL | SID(0xdead) } },
	{ "ATC_INV of nobody", { OP_ATC_INV | SID(0xdead), 52 } },
	{ "ATC_INV of device 0", { OP_ATC_INV, 52 } },
};

/* The same of a device that the guest has: the ids are filled in. */
static const struct smmu_bad smmu_bad_dev[] = {
	{ "CFGI_CD, bit 10", { OP_CFGI_CD | 1 << 10 } },
	{ "CFGI_CD with a range", { OP_CFGI_CD, 31 } },
	{ "CFGI_CD of an SSID of 20 bits", { OP_CFGI_CD | SSID(0xfffff) } },
	{ "CFGI_CD_ALL with an SSID", { OP_CFGI_CD_ALL | SSID(1) } },
	{ "CFGI_CD_ALL, word 1", { OP_CFGI_CD_ALL, 1 } },
	{ "ATC_INV, bit 8", { OP_ATC_INV | 1 << 8, 52 } },
	{ "ATC_INV, bit 10", { OP_ATC_INV | 1 << 10, 52 } },
	{ "ATC_INV of 2^65", { OP_ATC_INV, 53 } },
	{ "ATC_INV of 2^75", { OP_ATC_INV, 63 } },
	{ "ATC_INV, bit 6 of word 1", { OP_ATC_INV, 64 } },
	{ "ATC_INV of an SSID of 20 bits",
	  { OP_ATC_INV | SSV | SSID(0xfffff), 52 } },
};

static struct bad_inv smmu_bad_inv[ARRAY_SIZE(smmu_bad) +
				   ARRAY_SIZE(smmu_bad_dev) + 1];

static void smmu_for_device(__u32 dev)
{
	struct bad_inv *bad = &smmu_bad_inv[ARRAY_SIZE(smmu_bad)];
	unsigned int i;
	__u64 cmd;

	for (i = 0; i < ARRAY_SIZE(smmu_bad_dev); i++) {
		cmd = smmu_bad_dev[i].cmd[0] | SID(dev);
		memcpy(bad[i].elem, &cmd, sizeof(cmd));
	}
}

static void add_bad(struct bad_inv *to, const struct smmu_bad *bad)
{
	*to = (struct bad_inv) {
		.what = bad->what,
		.err = -EIO,
		.not_on_hwpt = true,
	};
	memcpy(to->elem, bad->cmd, sizeof(bad->cmd));
}

static const struct vendor vendor_smmu = {
	.name = "SMMUv3",
	.viommu_type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
	.event_type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
	.inv_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
	.inv_len = sizeof(struct iommu_viommu_arm_smmuv3_invalidate),
	.event_len = sizeof(struct iommu_vevent_arm_smmuv3),
	.max_dev = UINT32_MAX,
	.no_dev = -EIO,
	.guest_devtlb = true,
	.ignores_data = true,
	.zero_extends = true,
	.nests = smmu_nests,
	.prepare = smmu_prepare,
	.set_root = smmu_set_root,
	.set_pasid = smmu_set_pasid,
	.nested = smmu_nested,
	.nested_without = smmu_nested_without,
	.nested_no_ats = smmu_nested_no_ats,
	.set_page = smmu_set_page,
	.inv = smmu_inv,
	.fault = smmu_fault,
	.bad = smmu_bad_inv,
	.for_device = smmu_for_device,
	.bad_nested = smmu_bad_nested,
	.fault_log = "^arm-smmu-v3 [^ ]+: event 0x10 received: ",
};

/* Ends with one that is empty */
__attribute__((constructor)) static void smmu_init(void)
{
	struct bad_inv *bad = smmu_bad_inv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(smmu_bad); i++)
		add_bad(bad++, &smmu_bad[i]);
	for (i = 0; i < ARRAY_SIZE(smmu_bad_dev); i++)
		add_bad(bad++, &smmu_bad_dev[i]);
	vendor_add(&vendor_smmu);
}

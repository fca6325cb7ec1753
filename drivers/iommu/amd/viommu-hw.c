// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: IOMMUs of guests that the hardware has
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Some of these IOMMUs work off the commands of guests by themselves, and write the
 * logs of guests: no exit is needed to invalidate something. What belongs to the host
 * as a whole is here: whether there is such a thing, and to turn it on and off.
 *
 * The hardware keeps what it knows of guests in memory, which it finds by private
 * addresses: those are translated by the device table entry of the IOMMU's own
 * function. Nothing else has that entry, since the IOMMU itself has no domain.
 *
 * Locks, outer to inner:
 *
 * amd_viommu::lock - the rings of a guest.
 * amd_hw_host::lock - the private address space.
 * ids_lock (viommu-hw-ids.c) - who has which translate device.
 * protection_domain::lock of a second stage - the guests on top of it.
 * amd_hw_host::guests - which guest an event is for. Any context.
 */
#define pr_fmt(fmt)     "AMD-Vi: " fmt
#define dev_fmt(fmt)    pr_fmt(fmt)

#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <asm/iommu.h>
#include <uapi/linux/iommufd.h>

#include "amd_iommu.h"

#define FEATURE_VIOMMU		BIT_ULL(55)

/* Of a vendor-specific capability, whose ID and revision no driver looks at (driver) */
#define VSC_VF			0x08
#define VSC_CNTL		0x10
#define VSC_ENABLE		BIT(0)
#define VSC_VF_BASE		GENMASK_ULL(63, 28)
#define VSC_CNTL_BASE		GENMASK_ULL(63, 22)

#define NR_SLOTS		0x10000
#define VF_SIZE			((resource_size_t)NR_SLOTS * SZ_4K)
#define CNTL_SIZE		((resource_size_t)NR_SLOTS * AMD_HW_SLOT_SIZE)

/*
 * What the hardware keeps of guests (driver). Nobody knows all of it, and the hardware
 * may write there.
 */
#define IPA_STATE		0ULL
#define IPA_STATE_SIZE		SZ_8M
#define IPA_STATE_ORDER		get_order(SZ_2M)

static bool wanted;

/**
 * amd_hw_want() - The command line asks for it
 */
void amd_hw_want(void)
{
	wanted = true;
}

/**
 * amd_hw_supported() - Can guests have a part of an IOMMU that the hardware works off?
 * @iommu: the IOMMU
 *
 * Return: true if they can.
 */
bool amd_hw_supported(struct amd_iommu *iommu)
{
	return iommu->hw;
}

static u64 read_bar(struct pci_dev *pdev, int pos)
{
	u32 low, high;

	pci_read_config_dword(pdev, pos, &low);
	pci_read_config_dword(pdev, pos + 4, &high);
	return (u64)high << 32 | low;
}

/* NULL, or what is wrong with the windows of registers */
static const char *find_windows(struct pci_dev *pdev, u64 *vf, u64 *cntl)
{
	int pos = pci_find_capability(pdev, PCI_CAP_ID_VNDR);

	if (!pos)
		return "it has no capability for that";
	*vf = read_bar(pdev, pos + VSC_VF);
	*cntl = read_bar(pdev, pos + VSC_CNTL);
	if (!(*vf & VSC_ENABLE) || !(*cntl & VSC_ENABLE))
		return "the firmware has not enabled its registers";
	*vf &= VSC_VF_BASE;
	*cntl &= VSC_CNTL_BASE;
	if (!*vf || !*cntl)
		return "the firmware has given its registers no address";
	return NULL;
}

static const char *why_not(struct amd_iommu *iommu)
{
	if (!check_feature(FEATURE_VIOMMU))
		return "not all IOMMUs have it";
	/* Without those there is nothing that a guest could invalidate. */
	if (!amd_nested_supported())
		return "there are no page tables of guests";
	/* Inference: what becomes of the memory at private addresses is not known. */
	if (amd_iommu_snp_en)
		return "SNP is on";
	/* Driver: the specification is said to want this. */
	if (!(readq(iommu->mmio_base + MMIO_CONTROL_OFFSET) &
	      BIT_ULL(CONTROL_GA_EN)))
		return "interrupts are not remapped with entries of 128 bits";
	return NULL;
}

/*
 * Driver: whether rings can have addresses of guests is known by whether the bit
 * stays. The mode without that is for older hardware only.
 */
static bool enable_trp(struct amd_iommu *iommu)
{
	iommu_feature_enable(iommu, CONTROL_GSTBUFFERTRPMODE);
	return readq(iommu->mmio_base + MMIO_CONTROL_OFFSET) &
	       BIT_ULL(CONTROL_GSTBUFFERTRPMODE);
}

/* In this order, and not before there is the entry of the IOMMU itself (driver) */
static const char *turn_on(struct amd_iommu *iommu)
{
	if (!enable_trp(iommu))
		return "rings cannot have addresses of guests";
	iommu_feature_enable(iommu, CONTROL_VCMD_EN);
	iommu_feature_enable(iommu, CONTROL_VIOMMU_EN);
	return NULL;
}

/* The entry of the IOMMU's own function, which leads to its private addresses */
static void set_own_dte(struct amd_hw_host *host, bool set)
{
	amd_iommu_set_bare_dte(host->iommu, host->iommu->devid,
			       set ? host->ipa : NULL);
}

static const char *map_windows(struct amd_hw_host *host, u64 vf, u64 cntl)
{
	if (!request_mem_region(vf, VF_SIZE, "amd_iommu guests"))
		return "its pages for guests are where something else is";
	if (!request_mem_region(cntl, CNTL_SIZE, "amd_iommu guests of host"))
		goto err_release_vf;
	host->vf = vf;
	host->cntl = ioremap(cntl, CNTL_SIZE);
	if (host->cntl)
		return NULL;
	release_mem_region(cntl, CNTL_SIZE);
err_release_vf:
	release_mem_region(vf, VF_SIZE);
	return "its registers cannot be mapped";
}

static const char *set_up_ipa(struct amd_hw_host *host)
{
	int nid = dev_to_node(&host->iommu->dev->dev);

	/* As for a second stage: a host page table */
	host->ipa = protection_domain_alloc(IOMMU_DOMAIN_UNMANAGED, nid,
					    IOMMU_HWPT_ALLOC_NEST_PARENT);
	if (!host->ipa)
		return "no memory";
	if (!amd_ipa_map(host, &host->state, IPA_STATE, IPA_STATE_SIZE,
			 IPA_STATE_ORDER, GFP_KERNEL))
		return NULL;
	protection_domain_free(host->ipa);
	return "no memory";
}

static const char *set_up(struct amd_hw_host *host)
{
	struct amd_iommu *iommu = host->iommu;
	const char *why;
	u64 vf, cntl;

	why = why_not(iommu);
	if (!why)
		why = find_windows(iommu->dev, &vf, &cntl);
	if (!why)
		why = set_up_ipa(host);
	if (why)
		return why;
	why = map_windows(host, vf, cntl);
	if (why)
		goto err_ipa;
	set_own_dte(host, true);
	why = turn_on(iommu);
	if (!why)
		return NULL;
	set_own_dte(host, false);
	iounmap(host->cntl);
	release_mem_region(cntl, CNTL_SIZE);
	release_mem_region(vf, VF_SIZE);
err_ipa:
	amd_ipa_unmap(host, &host->state);
	protection_domain_free(host->ipa);
	return why;
}

static void init_one(struct amd_iommu *iommu)
{
	struct amd_hw_host *host = kzalloc(sizeof(*host), GFP_KERNEL);
	const char *why = "no memory";

	if (host) {
		host->iommu = iommu;
		mutex_init(&host->lock);
		xa_init_flags(&host->guests, XA_FLAGS_ALLOC | XA_FLAGS_LOCK_IRQ);
		why = set_up(host);
	}
	if (why) {
		pci_info(iommu->dev, "No vIOMMUs of hardware: %s\n", why);
		kfree(host);
		return;
	}
	iommu->hw = host;
	pci_info(iommu->dev, "vIOMMUs of hardware enabled\n");
}

/**
 * amd_hw_init() - Turn it on where it is there, if it is wanted
 */
void amd_hw_init(void)
{
	struct amd_iommu *iommu;

	if (!wanted)
		return;
	for_each_iommu(iommu)
		init_one(iommu);
}

/**
 * amd_hw_resume() - The IOMMUs have lost their registers, but no memory
 *
 * Inference: the state of guests is in memory, so this is what there is to do. The
 * entries are still there, and all caches empty.
 */
void amd_hw_resume(void)
{
	struct amd_hw_guest *guest;
	struct amd_iommu *iommu;
	unsigned long gid;

	for_each_iommu(iommu) {
		if (!iommu->hw)
			continue;
		if (turn_on(iommu)) {
			pci_err(iommu->dev, "vIOMMUs of hardware are lost\n");
			continue;
		}
		xa_for_each(&iommu->hw->guests, gid, guest)
			amd_hw_restore_guest(guest);
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: when the page faults of a device are on
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device stalls, or sends page requests (PRI). Page requests need ATS, and
 * whether ATS is on depends on the domains of the device: it is off while the
 * stream table entry aborts or bypasses, since the SMMU would not serve it then.
 * So PRI has two conditions, which come and go independently of each other: page
 * faults are wanted, and ATS is on. The order is ATS, PRI, and the reverse.
 *
 * arm_smmu_master::iopf_mutex protects these conditions. The mutex of the group,
 * and arm_smmu_asid_lock, may be held outside of it. Nothing that works off the
 * queue of page requests, or handles them, takes any of the three.
 */
#include <linux/crash_dump.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "arm-smmu-v3.h"
#include "../../iopf-core.h"
#include "../../iopf-pci.h"

static bool pri_allowed(struct arm_smmu_master *master)
{
	struct arm_smmu_device *smmu = master->smmu;

	/* The queue is off in a kdump kernel: the SMMU refuses everything. */
	return (smmu->features & ARM_SMMU_FEAT_PRI) && smmu->priq.irq_ready &&
	       !is_kdump_kernel() && arm_smmu_ats_supported(master) &&
	       pci_pri_supported(to_pci_dev(master->dev));
}

/* Leaves PRI off; fails if the device still waits for answers. */
static int pri_reset(struct arm_smmu_master *master)
{
	struct arm_smmu_device *smmu = master->smmu;

	/* Answers may still be in the queue; those that are not, have been sent. */
	arm_smmu_cmdq_issue_cmdlist(smmu, &smmu->cmdq, NULL, 0, true);
	return iopf_pci_reset_pri(to_pci_dev(master->dev));
}

/**
 * arm_smmu_iopf_init() - Get ready for the page faults of a device
 * @master: the device, not attached to anything yet
 */
void arm_smmu_iopf_init(struct arm_smmu_master *master)
{
	struct pci_dev *pdev;

	mutex_init(&master->iopf_mutex);
	if (!dev_is_pci(master->dev))
		return;
	pdev = to_pci_dev(master->dev);
	iopf_pci_quiet(pdev);
	master->prg_resp_needs_pasid =
		(master->smmu->features & ARM_SMMU_FEAT_PRI) &&
		iopf_pci_needs_pasid(pdev);
}

/* Completed by the device only behind the page requests it has sent before. */
static void iopf_flush(struct iopf_hwq *hwq, void *data)
{
	arm_smmu_atc_inv_master(data, IOMMU_NO_PASID);
}

static void iopf_drain_queue(struct arm_smmu_master *master, ioasid_t pasid,
			     void (*flush)(struct iopf_hwq *hwq, void *data))
{
	iopf_hwq_drain(&master->smmu->priq.shwq.hwq, master->streams[0].id,
		       pasid, flush, master);
}

/**
 * arm_smmu_iopf_drain() - Have page requests or stalls of a device reported
 * @master: the device
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * To be called when the translation has been changed or blocked, and caches
 * were invalidated. When this returns all requests that were sent before have
 * been reported, or answered by the SMMU. They may still be with their handlers:
 * the IOMMU core waits for these, see iopf_dev_sync().
 *
 * Context: may sleep.
 */
void arm_smmu_iopf_drain(struct arm_smmu_master *master, ioasid_t pasid)
{
	struct device *dev = master->dev;

	if (!master->iopf_enabled)
		return;
	if (master->stall_enabled) {
		arm_smmu_evtq_drain(master, pasid);
		return;
	}
	/* Who has turned PRI off has drained. */
	if (!READ_ONCE(master->pri_on))
		return;
	/* A device that is gone would let the invalidation time out. */
	iopf_drain_queue(master, pasid,
			 pci_device_is_present(to_pci_dev(dev)) ?
			 iopf_flush : NULL);
}

/**
 * arm_smmu_iopf_drain_reset() - Have page requests of a device reported
 * @dev: the device, which is about to be reset and perhaps does not react
 */
void arm_smmu_iopf_drain_reset(struct device *dev)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);

	if (master->stall_enabled)
		arm_smmu_evtq_drain(master, IOPF_ANY_PASID);
	else
		iopf_drain_queue(master, IOPF_ANY_PASID, NULL);
}

static int iopf_start_pri(struct arm_smmu_master *master)
{
	int ret;

	lockdep_assert_held(&master->iopf_mutex);

	if (!master->pri_wanted || !master->pri_ats || master->pri_on)
		return 0;
	ret = iopf_pci_enable_pri(to_pci_dev(master->dev),
				  master->smmu->priq.shwq.hwq.slots);
	WRITE_ONCE(master->pri_on, !ret);
	return ret;
}

static void iopf_stop_pri(struct arm_smmu_master *master)
{
	lockdep_assert_held(&master->iopf_mutex);

	if (!master->pri_on)
		return;
	/* The owner of the device may go on with DMA: it has to stop asking. */
	iopf_pci_disable_pri(to_pci_dev(master->dev));
	arm_smmu_iopf_drain(master, IOPF_ANY_PASID);
	WRITE_ONCE(master->pri_on, false);
}

/**
 * arm_smmu_iopf_ats_on() - ATS of a device was turned on
 * @master: the device
 */
void arm_smmu_iopf_ats_on(struct arm_smmu_master *master)
{
	int ret;

	mutex_lock(&master->iopf_mutex);
	master->pri_ats = to_pci_dev(master->dev)->ats_enabled;
	ret = iopf_start_pri(master);
	mutex_unlock(&master->iopf_mutex);
	if (ret)
		dev_err(master->dev, "Failed to enable PRI (%d)\n", ret);
}

/**
 * arm_smmu_iopf_ats_off() - ATS of a device is about to be turned off
 * @master: the device, whose domain is still the old one
 */
void arm_smmu_iopf_ats_off(struct arm_smmu_master *master)
{
	mutex_lock(&master->iopf_mutex);
	iopf_stop_pri(master);
	master->pri_ats = false;
	mutex_unlock(&master->iopf_mutex);
}

static int iopf_want_pri(struct arm_smmu_master *master)
{
	int ret;

	mutex_lock(&master->iopf_mutex);
	master->pri_wanted = true;
	ret = iopf_start_pri(master);
	if (ret)
		master->pri_wanted = false;
	mutex_unlock(&master->iopf_mutex);
	return ret;
}

/**
 * arm_smmu_enable_iopf() - Turn page faults of a device on
 * @master: the device
 *
 * Page requests wait for ATS, which comes with a domain.
 *
 * Return: 0 on success, -ENODEV if the device can neither stall nor send page
 * requests which the SMMU takes, -EIO if it is given up, -EINVAL if its faults
 * cannot be told from those of others, -EBUSY if it waits for answers to requests of
 * before or its faults are on, or -ENOMEM.
 */
int arm_smmu_enable_iopf(struct arm_smmu_master *master)
{
	struct iopf_queue *queue = master->smmu->evtq.iopf;
	int ret;

	if (master->iopf_enabled)
		return -EBUSY;
	if (!queue || (!master->stall_enabled && !pri_allowed(master)))
		return -ENODEV;
	/* The fence, which has this errno, may still be to come. */
	if (arm_smmu_atc_silent(master))
		return -EIO;
	/* Answers go to the one stream. */
	if (master->num_streams != 1)
		return -EINVAL;

	if (!master->stall_enabled) {
		ret = pri_reset(master);
		if (ret)
			return ret;
	}

	ret = iopf_queue_add_device(queue, master->dev);
	if (ret)
		return ret;
	WRITE_ONCE(master->iopf_enabled, true);
	if (master->stall_enabled)
		return 0;

	ret = iopf_want_pri(master);
	if (ret) {
		WRITE_ONCE(master->iopf_enabled, false);
		iopf_queue_remove_device(queue, master->dev);
	}
	return ret;
}

/**
 * arm_smmu_disable_iopf() - Turn page faults of a device off
 * @master: the device
 *
 * All requests that nobody has answered are answered as invalid.
 *
 * Return: 0 on success, -EINVAL if they are not on.
 */
int arm_smmu_disable_iopf(struct arm_smmu_master *master)
{
	if (!master->iopf_enabled)
		return -EINVAL;

	if (master->stall_enabled) {
		arm_smmu_iopf_drain(master, IOPF_ANY_PASID);
	} else {
		mutex_lock(&master->iopf_mutex);
		iopf_stop_pri(master);
		master->pri_wanted = false;
		mutex_unlock(&master->iopf_mutex);
	}

	iopf_queue_remove_device(master->smmu->evtq.iopf, master->dev);
	WRITE_ONCE(master->iopf_enabled, false);
	return 0;
}

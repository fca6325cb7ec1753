/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices that are late with an invalidation of their cache of translations: when
 * they are given up, and what is in the cache after a reset
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_LATE_H
#define __IOPF_LATE_H

#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/pci.h>

/* One that was only slow, or met an error of the link, gets another chance. */
#define IOPF_LATE_MAX		2
/*
 * In jiffies: what was longer ago has nothing to do with it. Time alone counts: a
 * device that completes some invalidations and not others must not be able to keep
 * a CPU busy with the latter.
 */
#define IOPF_LATE_FORGET_AFTER	(600 * HZ)

/**
 * struct iopf_late - How often a device was late of late
 * @timeouts: number of times
 * @at: when the last was, in jiffies
 *
 * Whoever has it serializes the calls.
 */
struct iopf_late {
	unsigned int timeouts;
	u64 at;
};

/**
 * iopf_late_allow() - Say how often a device may still be late
 * @late: the device's
 * @left: number of times before it is given up, at most IOPF_LATE_MAX
 */
static inline void iopf_late_allow(struct iopf_late *late, unsigned int left)
{
	late->timeouts = IOPF_LATE_MAX - left;
	late->at = get_jiffies_64();
}

/**
 * iopf_late_again() - A device was late
 * @late: the device's
 *
 * Return: true if that was too often, and the device is to be given up.
 */
static inline bool iopf_late_again(struct iopf_late *late)
{
	u64 now = get_jiffies_64();

	if (time_after64(now, late->at + IOPF_LATE_FORGET_AFTER))
		late->timeouts = 0;
	late->timeouts++;
	late->at = now;
	return late->timeouts >= IOPF_LATE_MAX;
}

/**
 * iopf_late_tell() - Say that a device was given up
 * @dev: the device
 * @suspected: nobody knows whether it was this one
 * @iommu: what its IOMMU is called
 */
static inline void iopf_late_tell(struct device *dev, bool suspected,
				  const char *iommu)
{
	if (suspected)
		dev_err_ratelimited(dev,
				    "or another does not invalidate its TLB, the %s does not say which; ATS and page requests are blocked until it is reset\n",
				    iommu);
	else
		dev_err_ratelimited(dev,
				    "does not invalidate its TLB, ATS and page requests are blocked until it is reset\n");
}

/* Global Invalidate Supported, PCIe r6.0 section 10.5.1.2 */
#define IOPF_ATS_CAP_GLOBAL_INV	BIT(6)

#ifdef CONFIG_PCI_ATS
static inline u16 iopf_late_ats(struct pci_dev *pdev, int at)
{
	u16 val = 0;

	pci_read_config_word(pdev, pdev->ats_cap + at, &val);
	return val;
}
#else
static inline u16 iopf_late_ats(struct pci_dev *pdev, int at)
{
	return 0;
}
#endif

/**
 * iopf_late_reset() - What does a device that was given up have after a reset?
 * @pdev: the device
 * @pasids: it may have translations of PASIDs
 *
 * ATS is off after a reset, and there is nothing in the cache when it is turned on.
 * It is on if somebody has turned it on already, or if what is called a reset was
 * none.
 *
 * Context: may sleep. The device is not released meanwhile.
 *
 * Return: 0 if the cache is empty, 1 if the device is to be told to forget all that
 * it has, -ENODEV if it is gone, or -EOPNOTSUPP if it cannot be told so.
 */
static inline int iopf_late_reset(struct pci_dev *pdev, bool pasids)
{
	if (!pci_device_is_present(pdev))
		return -ENODEV;
	if (!(iopf_late_ats(pdev, PCI_ATS_CTRL) & PCI_ATS_CTRL_ENABLE))
		return 0;
	if (!pasids ||
	    (iopf_late_ats(pdev, PCI_ATS_CAP) & IOPF_ATS_CAP_GLOBAL_INV))
		return 1;
	dev_err_ratelimited(&pdev->dev,
			    "cannot be told to invalidate all of its TLB, reset it by itself to use ATS again\n");
	return -EOPNOTSUPP;
}

#endif /* __IOPF_LATE_H */

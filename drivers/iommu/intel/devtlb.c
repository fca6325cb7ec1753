// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: devices that do not complete invalidations of their TLB
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The hardware waits for a device to complete an invalidation, and reports a
 * time-out (ITE) if it does not. Every submission whose wait descriptor was in
 * the queue then is aborted and has to be made again, whomever it was for. A
 * device that is there and silent would be asked for ever like that, by a caller
 * which has interrupts off.
 *
 * So a device may be late IOPF_LATE_MAX times, not too far from each other. Then it
 * is given up:
 *
 * - Submissions leave out what is for it. What is for others is still done.
 * - What it has in its TLB is worth nothing any more. Before the submission that
 *   had to do without it returns, its translated requests are blocked, and so
 *   are its requests for translations.
 * - Its page requests are dropped, and nobody can turn them on.
 *
 * All of that ends with a reset, if the device has lost its TLB by it or flushes
 * it when it is asked to.
 *
 * intel_iommu::device_rbtree_lock protects what is in device_domain_info, and the
 * device from going away meanwhile. It is taken with the queue locked and interrupts
 * off, so nothing that takes its time is done under it.
 */
#include <linux/bitfield.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iommu.h"
#include "pasid.h"
#include "../iopf-enable.h"

/* Hardware that names no device: others meet the late one again by chance. */
#define DEVTLB_MAX_NAMELESS	8
/* Whomever the hardware names, it comes to an end. */
#define DEVTLB_MAX_MISNAMED	64

#define DEVTLB_QW0_TYPE		GENMASK_ULL(3, 0)
#define DEVTLB_QW0_SID		GENMASK_ULL(47, 32)
#define DEVTLB_QW0_PASID_SID	GENMASK_ULL(31, 16)
#define DEVTLB_QW1_ALL_PASIDS	BIT_ULL(0)

/*
 * Allows translated requests, and requests for translations: DTE in scalable
 * mode, in legacy mode the bit that the translation types with and without device
 * TLB (01b and 00b) differ in.
 */
#define CONTEXT_DEVTLB_BIT	2
#define CONTEXT_PASS_THROUGH_BIT	BIT(3)

/* Stands in for what is left out: a wait descriptor that tells nobody */
static const struct qi_desc devtlb_no_desc = {
	.qw0 = QI_IWD_STATUS_DATA(QI_DONE) | QI_IWD_FENCE | QI_IWD_TYPE,
};

static bool devtlb_sid(const struct qi_desc *desc, u16 *sid)
{
	switch (FIELD_GET(DEVTLB_QW0_TYPE, desc->qw0)) {
	case QI_DIOTLB_TYPE:
		*sid = FIELD_GET(DEVTLB_QW0_SID, desc->qw0);
		return true;
	case QI_DEIOTLB_TYPE:
		*sid = FIELD_GET(DEVTLB_QW0_PASID_SID, desc->qw0);
		return true;
	default:
		return false;
	}
}

/* @suspected: nobody knows which device it is */
static void devtlb_give_up(struct device_domain_info *info, bool suspected)
{
	lockdep_assert_held(&info->iommu->device_rbtree_lock);

	if (info->devtlb_silent)
		return;
	WRITE_ONCE(info->devtlb_suspected, suspected);
	WRITE_ONCE(info->devtlb_silent, true);
	atomic_inc(&info->iommu->devtlb_nr_silent);
	schedule_work(&info->devtlb_fence);
}

/**
 * intel_devtlb_timed_out() - A device has not completed an invalidation in time
 * @iommu: the IOMMU
 * @sid: requester ID of the device, 0 if the hardware does not tell
 *
 * Context: any.
 */
void intel_devtlb_timed_out(struct intel_iommu *iommu, u16 sid)
{
	struct device_domain_info *info;
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	info = sid ? device_rbtree_find_info(iommu, sid) : NULL;
	if (!sid)
		WRITE_ONCE(iommu->devtlb_nameless, iommu->devtlb_nameless + 1);
	else if (!info || info->devtlb_silent)
		WRITE_ONCE(iommu->devtlb_misnamed, iommu->devtlb_misnamed + 1);
	else if (iopf_late_again(&info->devtlb_late))
		devtlb_give_up(info, false);
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
}

/**
 * intel_devtlb_begin() - A submission is made, perhaps not for the first time
 * @iommu: the IOMMU
 * @try: zeroed before the first time
 *
 * Context: any.
 */
void intel_devtlb_begin(struct intel_iommu *iommu, struct devtlb_try *try)
{
	try->nameless = READ_ONCE(iommu->devtlb_nameless);
	try->misnamed = READ_ONCE(iommu->devtlb_misnamed);
	try->skipped = false;
}

/**
 * intel_devtlb_desc() - What to submit for a descriptor
 * @iommu: the IOMMU
 * @try: see intel_devtlb_begin()
 * @desc: the descriptor
 *
 * Context: any.
 *
 * Return: @desc, or one that does nothing if @desc is for a device which has
 * been given up, or a response that was sent before the abort. A device that has
 * been released, and may be what the time-out was for, is not asked twice.
 */
const struct qi_desc *intel_devtlb_desc(struct intel_iommu *iommu,
					struct devtlb_try *try,
					const struct qi_desc *desc)
{
	struct device_domain_info *info;
	unsigned long flags;
	bool skip;
	u16 sid;

	if (!try->aborts && !atomic_read(&iommu->devtlb_nr_silent))
		return desc;
	/*
	 * The wait descriptor that was aborted is behind it: it was sent. An
	 * invalidation may be repeated, a message to a device may not.
	 */
	if (try->aborts &&
	    FIELD_GET(DEVTLB_QW0_TYPE, desc->qw0) == QI_PGRP_RESP_TYPE)
		return &devtlb_no_desc;
	if (!devtlb_sid(desc, &sid))
		return desc;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	info = device_rbtree_find_info(iommu, sid);
	skip = info ? info->devtlb_silent : try->aborts;
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
	if (!skip)
		return desc;

	try->skipped = true;
	return &devtlb_no_desc;
}

/**
 * intel_devtlb_aborted() - A submission was aborted and will be made again
 * @iommu: the IOMMU
 * @try: see intel_devtlb_begin()
 * @desc: the descriptors
 * @count: how many
 *
 * If the hardware tells which devices are late, they have been counted. If not,
 * or if it names what it cannot be, any that this submission is for may be: all of
 * them are given up when it is aborted once too often.
 *
 * Context: any.
 */
void intel_devtlb_aborted(struct intel_iommu *iommu, struct devtlb_try *try,
			  const struct qi_desc *desc, unsigned int count)
{
	struct device_domain_info *info;
	unsigned long flags;
	unsigned int i;
	u16 sid;

	try->aborts++;
	if (try->nameless != READ_ONCE(iommu->devtlb_nameless))
		try->by_nobody++;
	if (try->misnamed != READ_ONCE(iommu->devtlb_misnamed))
		try->by_stranger++;
	if (try->by_nobody < DEVTLB_MAX_NAMELESS &&
	    try->by_stranger < DEVTLB_MAX_MISNAMED)
		return;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	for (i = 0; i < count; i++) {
		if (!devtlb_sid(&desc[i], &sid))
			continue;
		info = device_rbtree_find_info(iommu, sid);
		if (info)
			devtlb_give_up(info, true);
	}
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
}

static struct context_entry *devtlb_context(struct intel_iommu *iommu, u16 sid)
{
	struct context_entry *context;

	context = iommu_context_addr(iommu, PCI_BUS_NUM(sid), sid & 0xff, 0);
	return context && context_present(context) ? context : NULL;
}

static void devtlb_flush_context(struct intel_iommu *iommu,
				 struct context_entry *context, u16 sid)
{
	__iommu_flush_cache(iommu, context, sizeof(*context));
	qi_flush_context(iommu, context_domain_id(context), sid,
			 DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
}

static bool devtlb_is_allowed(const struct context_entry *context)
{
	return READ_ONCE(context->lo) & BIT(CONTEXT_DEVTLB_BIT);
}

/*
 * Returns true if caches have to be flushed, since nobody else has done so.
 * @round: for devtlb_set_blocked() after that
 */
static bool devtlb_forbid(struct intel_iommu *iommu, u16 sid,
			  struct context_entry *context, unsigned int *round)
{
	struct device_domain_info *info;
	bool forbid = false;
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	info = device_rbtree_find_info(iommu, sid);
	if (info && info->devtlb_silent) {
		forbid = !info->devtlb_blocked || devtlb_is_allowed(context);
		*round = info->devtlb_round;
	}
	if (forbid)
		clear_bit(CONTEXT_DEVTLB_BIT, (unsigned long *)&context->lo);
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
	return forbid;
}

/* A flush that is older than the last unblock has not done it. */
static void devtlb_set_blocked(struct intel_iommu *iommu, u16 sid,
			       unsigned int round)
{
	struct device_domain_info *info;
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	info = device_rbtree_find_info(iommu, sid);
	if (info && info->devtlb_silent && info->devtlb_round == round)
		info->devtlb_blocked = true;
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
}

/*
 * Not under the lock for context entries, which the caller may hold. It is one
 * bit, as is what others change in an entry that is present.
 */
static void devtlb_block(struct intel_iommu *iommu, u16 sid)
{
	struct context_entry *context = devtlb_context(iommu, sid);
	unsigned int round;

	if (!context || !devtlb_forbid(iommu, sid, context, &round))
		return;

	devtlb_flush_context(iommu, context, sid);
	/* Any cache that was filled by way of the entry may have kept the bit. */
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, 0, QI_PC_GLOBAL, 0);
	qi_flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
	devtlb_set_blocked(iommu, sid, round);
}

/**
 * intel_devtlb_end() - A submission is complete
 * @iommu: the IOMMU
 * @try: see intel_devtlb_begin()
 * @desc: the descriptors
 * @count: how many
 *
 * If something was left out, the device must not use any more what it should
 * have forgotten.
 *
 * Context: any; what @iommu is told here has no device-TLB part.
 *
 * Return: 0, or -ETIMEDOUT if a device TLB could not be invalidated.
 */
int intel_devtlb_end(struct intel_iommu *iommu, const struct devtlb_try *try,
		     const struct qi_desc *desc, unsigned int count)
{
	unsigned int i;
	u16 sid;

	if (!try->skipped)
		return 0;

	for (i = 0; i < count; i++) {
		if (devtlb_sid(&desc[i], &sid))
			devtlb_block(iommu, sid);
	}
	return -ETIMEDOUT;
}

static void devtlb_fence(struct work_struct *work)
{
	struct device_domain_info *info =
		container_of(work, struct device_domain_info, devtlb_fence);

	if (READ_ONCE(info->devtlb_silent))
		iopf_late_tell(info->dev, READ_ONCE(info->devtlb_suspected),
			       "IOMMU");
	iopf_dev_fence(info->dev, &info->devtlb_silent);
}

/**
 * intel_devtlb_init() - Get a device ready to be given up
 * @info: the device
 */
void intel_devtlb_init(struct device_domain_info *info)
{
	RB_CLEAR_NODE(&info->node);
	INIT_WORK(&info->devtlb_fence, devtlb_fence);
}

/**
 * intel_devtlb_forget() - A device is released
 * @info: the device, which can not, or no longer, be found by its requester ID
 *
 * Context: may sleep.
 */
void intel_devtlb_forget(struct device_domain_info *info)
{
	if (READ_ONCE(info->devtlb_silent))
		atomic_dec(&info->iommu->devtlb_nr_silent);
	cancel_work_sync(&info->devtlb_fence);
}

/* Submissions reach the device again, which may be late as often as is left. */
static void devtlb_listen(struct device_domain_info *info, unsigned int left)
{
	struct intel_iommu *iommu = info->iommu;
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	iopf_late_allow(&info->devtlb_late, left);
	if (info->devtlb_silent) {
		WRITE_ONCE(info->devtlb_silent, false);
		atomic_dec(&iommu->devtlb_nr_silent);
	}
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);
}

/* Does the device, of which nothing is known, forget all translations? */
static bool devtlb_flush_all(struct device_domain_info *info)
{
	u16 sid = PCI_DEVID(info->bus, info->devfn);
	struct qi_desc desc[2] = {};
	unsigned int count = 1;

	qi_desc_dev_iotlb(sid, info->pfsid, info->ats_qdep, 0,
			  MAX_AGAW_PFN_WIDTH, &desc[0]);
	if (info->pasid_enabled) {
		qi_desc_dev_iotlb_pasid(sid, info->pfsid, 0, info->ats_qdep, 0,
					MAX_AGAW_PFN_WIDTH, &desc[1]);
		desc[1].qw1 |= DEVTLB_QW1_ALL_PASIDS;
		count = 2;
	}
	return !qi_submit_sync(info->iommu, desc, count, 0);
}

static void devtlb_allow(struct intel_iommu *iommu,
			 struct context_entry *context)
{
	/* A translation type that knows no device TLB remains what it is. */
	if (!sm_supported(iommu) && (context->lo & CONTEXT_PASS_THROUGH_BIT))
		return;
	set_bit(CONTEXT_DEVTLB_BIT, (unsigned long *)&context->lo);
}

/* Translated requests are allowed again, if the device is not silent again. */
static bool devtlb_unblock(struct device_domain_info *info)
{
	u16 sid = PCI_DEVID(info->bus, info->devfn);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context = devtlb_context(iommu, sid);
	unsigned long flags;
	bool silent;

	raw_spin_lock_irqsave(&iommu->device_rbtree_lock, flags);
	silent = info->devtlb_silent;
	if (!silent) {
		info->devtlb_late.timeouts = 0;
		info->devtlb_blocked = false;
		info->devtlb_round++;
		if (context)
			devtlb_allow(iommu, context);
	}
	raw_spin_unlock_irqrestore(&iommu->device_rbtree_lock, flags);

	if (!silent && context)
		devtlb_flush_context(iommu, context, sid);
	return !silent;
}

/**
 * intel_devtlb_reset_done() - A device was reset
 * @dev: the device
 *
 * If there may still be something in the device TLB, the device is asked to forget
 * all that it has. It gets one chance.
 *
 * Context: may sleep. The device is not released meanwhile.
 *
 * Return: true unless the device is, or is again, one that is given up.
 */
bool intel_devtlb_reset_done(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	int ret;

	if (!info || !dev_is_pci(dev) || !info->ats_supported)
		return true;
	/*
	 * Time-outs of a device that has not been given up stay counted: whoever
	 * can reset it again and again would keep a submission from coming to an
	 * end.
	 */
	if (!READ_ONCE(info->devtlb_silent))
		return true;

	ret = iopf_late_reset(to_pci_dev(dev), info->pasid_enabled);
	if (ret < 0)
		return false;
	if (!ret) {
		devtlb_listen(info, IOPF_LATE_MAX);
		return devtlb_unblock(info);
	}
	/*
	 * Who has left the device out returns, without a block, as soon as it is
	 * not silent. What it may use by then must be flushed.
	 */
	devtlb_block(info->iommu, PCI_DEVID(info->bus, info->devfn));
	devtlb_listen(info, 1);
	return devtlb_flush_all(info) && devtlb_unblock(info);
}

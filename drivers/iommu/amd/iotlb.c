// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: devices that do not complete invalidations of their IOTLB
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The IOMMU waits some time for a device to complete an invalidation. Then it goes on
 * as if it had been complete, and tells so in the event log (IOTLB_INV_TIMEOUT). Who
 * has waited for the invalidation must look there: what the device has not forgotten
 * it may still use.
 *
 * It is told once more then. A device may be late IOPF_LATE_MAX times, not too far
 * from each other. Then it is given up:
 *
 * - Invalidations leave it out.
 * - What it has in its IOTLB is worth nothing any more. Before the invalidation that
 *   had to do without it returns, its device table entry does not allow ATS any
 *   more: translated requests, and requests for translations, are refused.
 * - Its page requests are dropped, and nobody can turn them on.
 *
 * All of that ends with a reset, if the device has lost its IOTLB by it or flushes it
 * when it is asked to.
 *
 * A log that has overflowed has stopped, and time-outs may be among what was lost.
 * Devices that were to be invalidated meanwhile are told again.
 *
 * The data of a device is never freed. amd_event_log::lock says whether there is a
 * device to it. It is taken with interrupts off, so nothing that takes its time is done
 * under it.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/sched.h>

#include <asm/iommu.h>

#include "amd_iommu.h"
#include "../iopf-enable.h"

/* However often the event log overflows, an invalidation comes to an end. */
#define IOTLB_MAX_ROUNDS	8
/* Invalidations that are waited for together */
#define IOTLB_BATCH		256
/* How long to wait for entries that are counted but not written, in us */
#define EVENT_LATE_MAX		10000

/* Time-outs of all IOMMUs */
static atomic_t iotlb_errors;

static struct amd_event_log *log_of(struct iommu_dev_data *dev_data)
{
	return &get_amd_iommu_from_dev_data(dev_data)->event_log;
}

/**
 * amd_iotlb_silent() - Was a device given up?
 * @dev_data: the device
 *
 * Return: true if it is not asked any more.
 */
bool amd_iotlb_silent(const struct iommu_dev_data *dev_data)
{
	return READ_ONCE(dev_data->iotlb.silent);
}

static void iotlb_give_up(struct iommu_dev_data *dev_data, bool suspected)
{
	struct amd_iotlb *iotlb = &dev_data->iotlb;

	lockdep_assert_held(&log_of(dev_data)->lock);

	if (iotlb->silent || !iotlb->listed)
		return;
	WRITE_ONCE(iotlb->suspected, suspected);
	WRITE_ONCE(iotlb->silent, true);
	schedule_work(&iotlb->fence);
}

static void log_note(struct amd_iommu *iommu, u16 devid)
{
	struct iommu_dev_data *dev_data = search_dev_data(iommu, devid);

	if (dev_data && dev_data->iotlb.listed)
		WRITE_ONCE(dev_data->iotlb.error,
			   atomic_inc_return(&iotlb_errors));
}

/*
 * Erratum 732: the tail may be ahead of what is in memory. Entries that were used
 * are zero, except with SNP, where the log cannot be written.
 */
static u32 log_type(const u32 *entry)
{
	unsigned int late = 0;
	u32 type;

	while (!(type = READ_ONCE(entry[1]) >> EVENT_TYPE_SHIFT) &&
	       ++late < EVENT_LATE_MAX)
		udelay(1);
	/* The rest of an entry is read after its type. */
	dma_rmb();
	return type;
}

/* Returns true if the log has stopped. */
static bool log_look(struct amd_iommu *iommu)
{
	struct amd_event_log *log = &iommu->event_log;
	u32 status, tail;
	u32 *entry;

	lockdep_assert_held(&log->lock);

	status = readl(iommu->mmio_base + MMIO_STATUS_OFFSET);
	tail = readl(iommu->mmio_base + MMIO_EVT_TAIL_OFFSET) %
	       amd_iommu_evtlog_size;
	while (log->seen != tail) {
		entry = (u32 *)(iommu->evt_buf + log->seen);
		if (log_type(entry) == EVENT_TYPE_IOTLB_INV_TO)
			log_note(iommu, entry[0] & EVENT_DEVID_MASK);
		log->seen = (log->seen + EVTLOG_ENTRY_SIZE) %
			    amd_iommu_evtlog_size;
	}
	if (status & MMIO_STATUS_EVT_RUN_MASK)
		return false;
	WRITE_ONCE(log->lost, atomic_inc_return(&iotlb_errors));
	return true;
}

static void log_take(struct amd_iommu *iommu, u32 *event)
{
	struct amd_event_log *log = &iommu->event_log;
	u8 *entry = iommu->evt_buf + log->head;

	memcpy(event, entry, EVTLOG_ENTRY_SIZE);
	if (!amd_iommu_snp_en)
		memset(entry, 0, EVTLOG_ENTRY_SIZE);
	log->head = (log->head + EVTLOG_ENTRY_SIZE) % amd_iommu_evtlog_size;
	writel(log->head, iommu->mmio_base + MMIO_EVT_HEAD_OFFSET);
}

/**
 * amd_event_log_init() - Get an IOMMU ready
 * @iommu: the IOMMU
 */
void amd_event_log_init(struct amd_iommu *iommu)
{
	raw_spin_lock_init(&iommu->event_log.lock);
	iommu->event_log.lost = amd_iotlb_errors();
}

/**
 * amd_event_log_enabled() - The event log is about to be enabled, and is empty
 * @iommu: the IOMMU
 */
void amd_event_log_enabled(struct amd_iommu *iommu)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->event_log.lock, flags);
	iommu->event_log.seen = 0;
	iommu->event_log.head = 0;
	raw_spin_unlock_irqrestore(&iommu->event_log.lock, flags);
}

/**
 * amd_event_log_next() - Take an entry out of the event log
 * @iommu: the IOMMU
 * @event: filled in
 *
 * Context: may sleep: devices can keep the log from ever being empty.
 *
 * Return: false if there is none.
 */
bool amd_event_log_next(struct amd_iommu *iommu, u32 *event)
{
	struct amd_event_log *log = &iommu->event_log;
	unsigned long flags;
	bool found;

	cond_resched();
	raw_spin_lock_irqsave(&log->lock, flags);
	if (log->head == log->seen)
		log_look(iommu);
	found = log->head != log->seen;
	if (found)
		log_take(iommu, event);
	raw_spin_unlock_irqrestore(&log->lock, flags);
	return found;
}

/**
 * amd_event_log_restart() - Have the event log run, if it has stopped
 * @iommu: the IOMMU
 *
 * Nobody may come to work it off before the caller goes on, so what fills it is dropped.
 * As much was lost before, by the overflow.
 *
 * Context: any.
 */
void amd_event_log_restart(struct amd_iommu *iommu)
{
	struct amd_event_log *log = &iommu->event_log;
	u32 event[EVTLOG_ENTRY_SIZE / sizeof(u32)];
	unsigned long flags;
	u32 next;

	raw_spin_lock_irqsave(&log->lock, flags);
	if (log_look(iommu)) {
		next = (log->seen + EVTLOG_ENTRY_SIZE) % amd_iommu_evtlog_size;
		if (next == log->head)
			while (log->head != log->seen)
				log_take(iommu, event);
		amd_iommu_restart_event_logging(iommu);
	}
	raw_spin_unlock_irqrestore(&log->lock, flags);
}

static void log_look_now(struct amd_iommu *iommu)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->event_log.lock, flags);
	log_look(iommu);
	raw_spin_unlock_irqrestore(&iommu->event_log.lock, flags);
}

/**
 * amd_iotlb_errors() - Taken before devices are told something
 *
 * Return: a number for amd_iotlb_end() and amd_iotlb_end_domain().
 */
u32 amd_iotlb_errors(void)
{
	return atomic_read(&iotlb_errors);
}

static bool is_after(u32 error, u32 since)
{
	return (s32)(error - since) > 0;
}

/*
 * The log has been looked at. Returns true if the device may not have completed what it
 * was told since then. That counts once, for however many invalidations it was.
 */
static bool iotlb_was_late(struct iommu_dev_data *dev_data, u32 since)
{
	struct amd_event_log *log = log_of(dev_data);
	struct amd_iotlb *iotlb = &dev_data->iotlb;
	unsigned long flags;
	bool late, lost;

	raw_spin_lock_irqsave(&log->lock, flags);
	late = is_after(iotlb->error, since);
	lost = is_after(log->lost, since);
	if (late && iotlb->counted != iotlb->error) {
		iotlb->counted = iotlb->error;
		if (iopf_late_again(&iotlb->late))
			iotlb_give_up(dev_data, false);
	}
	raw_spin_unlock_irqrestore(&log->lock, flags);
	return late || lost;
}

/**
 * amd_iotlb_limit_dte() - Leave ATS off in the entry of a device, if need be
 * @dev_data: the device, its iommu_dev_data::dte_lock held
 * @dte: what will be its device table entry
 */
void amd_iotlb_limit_dte(const struct iommu_dev_data *dev_data,
			 struct dev_table_entry *dte)
{
	lockdep_assert_held(&dev_data->dte_lock);

	if (dev_data->iotlb.blocked)
		dte->data[1] &= ~DTE_FLAG_IOTLB;
}

/* In place: a copy of the entry may be older than what others have written. */
static void iotlb_write_dte(struct iommu_dev_data *dev_data, bool blocked)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	struct dev_table_entry *dte = &get_dev_table(iommu)[dev_data->devid];
	unsigned long flags;
	u64 data;

	spin_lock_irqsave(&dev_data->dte_lock, flags);
	dev_data->iotlb.blocked = blocked;
	data = dte->data[1] & ~DTE_FLAG_IOTLB;
	if (dev_data->ats_allowed && !blocked)
		data |= DTE_FLAG_IOTLB;
	WRITE_ONCE(dte->data[1], data);
	spin_unlock_irqrestore(&dev_data->dte_lock, flags);

	amd_iommu_flush_changed_dte(dev_data);
}

static void iotlb_block(struct iommu_dev_data *dev_data)
{
	struct amd_iotlb *iotlb = &dev_data->iotlb;
	unsigned long flags;

	/* Whoever finds it blocked must find it flushed. */
	spin_lock_irqsave(&iotlb->lock, flags);
	if (READ_ONCE(iotlb->silent) && !iotlb->blocked)
		iotlb_write_dte(dev_data, true);
	spin_unlock_irqrestore(&iotlb->lock, flags);
}

/* Nobody knows whether it is this one. */
static void iotlb_give_up_now(struct iommu_dev_data *dev_data)
{
	struct amd_event_log *log = log_of(dev_data);
	unsigned long flags;

	raw_spin_lock_irqsave(&log->lock, flags);
	iotlb_give_up(dev_data, true);
	raw_spin_unlock_irqrestore(&log->lock, flags);
}

/**
 * amd_iotlb_tell() - Send an invalidation to a device, and wait for it
 * @dev_data: the device
 * @address: start of what is invalid
 * @size: its size
 * @pasid: PASID
 * @gn: @pasid counts
 *
 * Context: any.
 *
 * Return: 0, or -ETIMEDOUT if the device was given up, or is now, and is blocked.
 */
int amd_iotlb_tell(struct iommu_dev_data *dev_data, u64 address, size_t size,
		   ioasid_t pasid, bool gn)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	unsigned int round;
	int ret = 0;
	u32 since;

	for (round = 0; round < IOTLB_MAX_ROUNDS; round++) {
		if (amd_iotlb_silent(dev_data))
			break;
		since = amd_iotlb_errors();
		ret = device_flush_iotlb(dev_data, address, size, pasid, gn) ?:
		      iommu_completion_wait(iommu);
		log_look_now(iommu);
		/* It would be waited for in vain again. */
		if (!iotlb_was_late(dev_data, since) || ret)
			break;
		amd_event_log_restart(iommu);
	}
	if (round < IOTLB_MAX_ROUNDS && !amd_iotlb_silent(dev_data) && !ret)
		return 0;

	iotlb_give_up_now(dev_data);
	iotlb_block(dev_data);
	return -ETIMEDOUT;
}

static void iotlb_end(struct iommu_dev_data *dev_data, u64 address, size_t size,
		      ioasid_t pasid, bool gn, u32 since, int ret)
{
	if (ret || iotlb_was_late(dev_data, since) ||
	    amd_iotlb_silent(dev_data))
		amd_iotlb_tell(dev_data, address, size, pasid, gn);
}

/**
 * amd_iotlb_end() - A device has been sent an invalidation
 * @dev_data: the device
 * @address: start of what is invalid
 * @size: its size
 * @pasid: PASID
 * @gn: @pasid counts
 * @since: amd_iotlb_errors() of before
 * @ret: what waiting for it has returned
 *
 * If it may not have completed it, or was left out, tell it again or see to it that it
 * does not use any more what it should have forgotten.
 *
 * Context: any.
 */
void amd_iotlb_end(struct iommu_dev_data *dev_data, u64 address, size_t size,
		   ioasid_t pasid, bool gn, u32 since, int ret)
{
	if (!dev_data->ats_enabled)
		return;
	log_look_now(get_amd_iommu_from_dev_data(dev_data));
	iotlb_end(dev_data, address, size, pasid, gn, since, ret);
}

/**
 * amd_iotlb_end_domain() - The devices of a domain have been sent an invalidation
 * @domain: the domain
 * @address: start of what is invalid
 * @size: its size
 * @since: amd_iotlb_errors() of before
 * @ret: what waiting for it has returned
 *
 * See amd_iotlb_end().
 *
 * Context: any. The lock of the domain is held.
 */
void amd_iotlb_end_domain(struct protection_domain *domain, u64 address,
			  size_t size, u32 since, int ret)
{
	struct amd_iommu *iommu, *looked = NULL;
	struct pdom_dev_data *pdom_dev_data;
	struct iommu_dev_data *dev_data;

	lockdep_assert_held(&domain->lock);

	list_for_each_entry(dev_data, &domain->dev_list, list) {
		if (!dev_data->ats_enabled)
			continue;
		iommu = get_amd_iommu_from_dev_data(dev_data);
		if (iommu != looked)
			log_look_now(iommu);
		looked = iommu;
		if (READ_ONCE(dev_data->iotlb.whole))
			iotlb_end(dev_data, 0, ~0UL, IOMMU_NO_PASID, false,
				  since, ret);
		else
			iotlb_end(dev_data, address, size, IOMMU_NO_PASID,
				  domain->pd_mode == PD_MODE_V2, since, ret);
	}
	for_each_pdom_dev_data(pdom_dev_data, domain)
		amd_iotlb_end(pdom_dev_data->dev_data, address, size,
			      pdom_dev_data->pasid, true, since, ret);
}

static void iotlb_fence(struct work_struct *work)
{
	struct iommu_dev_data *dev_data =
		container_of(work, struct iommu_dev_data, iotlb.fence);
	struct amd_iotlb *iotlb = &dev_data->iotlb;

	if (READ_ONCE(iotlb->silent))
		iopf_late_tell(dev_data->dev, READ_ONCE(iotlb->suspected), "IOMMU");
	iopf_dev_fence(dev_data->dev, &iotlb->silent);
}

/**
 * amd_iotlb_alloc() - There is data of a device now
 * @dev_data: the data
 */
void amd_iotlb_alloc(struct iommu_dev_data *dev_data)
{
	spin_lock_init(&dev_data->iotlb.lock);
	INIT_WORK(&dev_data->iotlb.fence, iotlb_fence);
}

/**
 * amd_iotlb_probe() - Get a device ready to be given up
 * @iommu: its IOMMU
 * @dev_data: the device, with ATS off
 */
void amd_iotlb_probe(struct amd_iommu *iommu, struct iommu_dev_data *dev_data)
{
	struct amd_iotlb *iotlb = &dev_data->iotlb;
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->event_log.lock, flags);
	/* It has nothing to do with what was before. */
	iotlb->error = amd_iotlb_errors();
	iotlb->counted = iotlb->error;
	iopf_late_allow(&iotlb->late, IOPF_LATE_MAX);
	iotlb->blocked = false;
	iotlb->listed = true;
	raw_spin_unlock_irqrestore(&iommu->event_log.lock, flags);
}

/**
 * amd_iotlb_release() - A device is released
 * @iommu: its IOMMU
 * @dev_data: the device, with ATS off
 *
 * Context: may sleep.
 */
void amd_iotlb_release(struct amd_iommu *iommu, struct iommu_dev_data *dev_data)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->event_log.lock, flags);
	dev_data->iotlb.listed = false;
	WRITE_ONCE(dev_data->iotlb.silent, false);
	raw_spin_unlock_irqrestore(&iommu->event_log.lock, flags);
	cancel_work_sync(&dev_data->iotlb.fence);
}

/* Invalidations reach the device again, which may be late as often as is left. */
static void iotlb_listen(struct iommu_dev_data *dev_data, unsigned int left)
{
	struct amd_event_log *log = log_of(dev_data);
	unsigned long flags;

	raw_spin_lock_irqsave(&log->lock, flags);
	iopf_late_allow(&dev_data->iotlb.late, left);
	WRITE_ONCE(dev_data->iotlb.silent, false);
	raw_spin_unlock_irqrestore(&log->lock, flags);
}

/* Has the device completed all that it was told since then? */
static bool iotlb_completed(struct iommu_dev_data *dev_data, u32 since)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	int ret = iommu_completion_wait(iommu);

	log_look_now(iommu);
	return !iotlb_was_late(dev_data, since) && !ret;
}

static bool iotlb_flush_pasids(struct iommu_dev_data *dev_data)
{
	u32 since = amd_iotlb_errors();
	ioasid_t pasid;

	for (pasid = 1; pasid < dev_data->max_pasids; pasid++) {
		if (device_flush_iotlb(dev_data, 0, ~0UL, pasid, true))
			return false;
		if (pasid % IOTLB_BATCH)
			continue;
		if (!iotlb_completed(dev_data, since))
			return false;
		cond_resched();
	}
	return iotlb_completed(dev_data, since);
}

/*
 * Does the device, of which nothing is known, forget all translations? There is no
 * command for all PASIDs.
 */
static bool iotlb_flush_all(struct iommu_dev_data *dev_data)
{
	if (amd_iotlb_tell(dev_data, 0, ~0UL, IOMMU_NO_PASID, false))
		return false;
	if (!dev_data->pasid_enabled || iotlb_flush_pasids(dev_data))
		return true;
	iotlb_give_up_now(dev_data);
	return false;
}

/* ATS is allowed again, if the device is not silent again. */
static bool iotlb_unblock(struct iommu_dev_data *dev_data)
{
	struct amd_iotlb *iotlb = &dev_data->iotlb;
	struct amd_event_log *log = log_of(dev_data);
	unsigned long flags;
	bool silent;

	spin_lock_irqsave(&iotlb->lock, flags);
	raw_spin_lock(&log->lock);
	silent = iotlb->silent;
	if (!silent)
		iotlb->late.timeouts = 0;
	raw_spin_unlock(&log->lock);
	if (!silent && iotlb->blocked)
		iotlb_write_dte(dev_data, false);
	spin_unlock_irqrestore(&iotlb->lock, flags);
	return !silent;
}

/**
 * amd_iotlb_reset_done() - A device was reset
 * @dev: the device
 *
 * If there may still be something in the cache of the device, it is asked to forget
 * all that it has. It gets one chance.
 *
 * Time-outs of a device that has not been given up stay counted: whoever can reset
 * it again and again would keep an invalidation from coming to an end.
 *
 * Context: may sleep. The device is not released meanwhile.
 *
 * Return: true unless the device is, or is again, one that is given up.
 */
bool amd_iotlb_reset_done(struct device *dev)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	int ret;

	if (!dev_data || !dev_is_pci(dev) || !amd_iotlb_silent(dev_data))
		return true;

	/* It is asked PASID by PASID. */
	ret = iopf_late_reset(to_pci_dev(dev), false);
	if (ret < 0)
		return false;
	if (!ret) {
		iotlb_listen(dev_data, IOPF_LATE_MAX);
		return iotlb_unblock(dev_data);
	}
	/*
	 * Who has left the device out returns, without a block, as soon as it is
	 * not silent. What it may use by then must be flushed.
	 */
	iotlb_block(dev_data);
	iotlb_listen(dev_data, 1);
	return iotlb_flush_all(dev_data) && iotlb_unblock(dev_data);
}

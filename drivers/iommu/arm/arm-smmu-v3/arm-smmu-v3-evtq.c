// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: the event queue, and how to wait for stalls in it
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/iommu.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <kunit/visibility.h>

#include "arm-smmu-v3.h"
#include "../../iopf-core.h"

/**
 * arm_smmu_evt_match() - Is this a stall of a device, and of a PASID?
 * @entry: the entry of the event queue
 * @sid: stream ID of the device
 * @pasid: the PASID, IOMMU_NO_PASID for transactions without PASID,
 *         IOPF_ANY_PASID for all of the device
 *
 * Return: true if a transaction waits, which is of this device and PASID.
 */
VISIBLE_IF_KUNIT
bool arm_smmu_evt_match(const void *entry, u32 sid, u32 pasid)
{
	const __le64 *qw = entry;
	u64 qw0 = le64_to_cpu(qw[0]);

	return le64_to_cpu(qw[1]) & EVTQ_1_STALL &&
	       FIELD_GET(EVTQ_0_SID, qw0) == sid &&
	       iopf_pasid_match(qw0 & EVTQ_0_SSV,
				FIELD_GET(EVTQ_0_SSID, qw0), pasid);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_evt_match);

static void evtq_log(struct arm_smmu_device *smmu, const u64 *evt)
{
	static DEFINE_RATELIMIT_STATE(rs, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	unsigned int i;

	if (!__ratelimit(&rs))
		return;
	dev_info(smmu->dev, "event 0x%02llx received:\n",
		 FIELD_GET(EVTQ_0_ID, evt[0]));
	for (i = 0; i < EVTQ_ENT_DWORDS; i++)
		dev_info(smmu->dev, "\t0x%016llx\n", evt[i]);
}

static void evtq_handle(struct iopf_hwq *hwq, const void *entry)
{
	struct arm_smmu_device *smmu = to_smmu_hwq(hwq)->smmu;
	const __le64 *qw = entry;
	u64 evt[EVTQ_ENT_DWORDS];
	unsigned int i;

	for (i = 0; i < EVTQ_ENT_DWORDS; i++)
		evt[i] = le64_to_cpu(qw[i]);
	if (arm_smmu_handle_evt(smmu, evt))
		evtq_log(smmu, evt);

	/* Devices can keep the queue from ever being empty. */
	cond_resched();
}

/* Stalls are not lost: the SMMU holds them back until there is space. */
static void evtq_clear_overflow(struct iopf_hwq *hwq)
{
	struct arm_smmu_device *smmu = to_smmu_hwq(hwq)->smmu;

	dev_err_ratelimited(smmu->dev,
			    "EVTQ overflow detected -- events lost\n");
	arm_smmu_hwq_ack_ovf(hwq);
}

static const struct iopf_hwq_ops evtq_hwq_ops = {
	.tail = arm_smmu_hwq_tail,
	.set_head = arm_smmu_hwq_set_head,
	.handle = evtq_handle,
	.match = arm_smmu_evt_match,
	.overflown = arm_smmu_hwq_ovf,
	.clear_overflow = evtq_clear_overflow,
};

/**
 * arm_smmu_evtq_init() - Tell the core about the event queue
 * @smmu: the SMMU, its queue allocated and empty
 */
void arm_smmu_evtq_init(struct arm_smmu_device *smmu)
{
	struct arm_smmu_evtq *evtq = &smmu->evtq;

	arm_smmu_hwq_init(&evtq->shwq, smmu, &evtq->q, &evtq_hwq_ops);
}

/**
 * arm_smmu_evtq_thread() - Work off the event queue
 * @irq: the interrupt
 * @dev: the SMMU
 *
 * Return: IRQ_HANDLED
 */
irqreturn_t arm_smmu_evtq_thread(int irq, void *dev)
{
	struct arm_smmu_device *smmu = dev;

	arm_smmu_hwq_work_off(&smmu->evtq.shwq);
	return IRQ_HANDLED;
}

/**
 * arm_smmu_evtq_drain() - Have stalled transactions of a device reported
 * @master: the device
 * @pasid: as for arm_smmu_evt_match()
 *
 * There is nothing to push: an event is in the queue when the command queue has
 * been synchronized behind the invalidation of what the transaction has used.
 *
 * Context: may sleep.
 */
void arm_smmu_evtq_drain(struct arm_smmu_master *master, ioasid_t pasid)
{
	iopf_hwq_drain(&master->smmu->evtq.shwq.hwq, master->streams[0].id,
		       pasid, NULL, NULL);
}

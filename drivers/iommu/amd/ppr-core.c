// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: the log of page requests, what comes out of it and what is answered
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The IOMMU logs page requests of devices whose device table entry allows them,
 * and stops when the log was full. What it loses then it answers by itself, if it
 * can (PprAutoRspSup); page requests are not turned on otherwise. Requests that
 * it finds fault with are in the event log, and wait for their answer as well.
 */
#define pr_fmt(fmt)     "AMD-Vi: " fmt

#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/sched.h>

#include <asm/iommu.h>

#include "amd_iommu.h"
#include "../iopf-core.h"

/* How long to wait for entries that are counted but not written, in us */
#define PPR_LATE_MAX		10000

static u32 ppr_pasid(u64 qw0)
{
	return FIELD_GET(PPR_QW0_PASID_HIGH, qw0) << 16 |
	       FIELD_GET(PPR_QW0_PASID_LOW, qw0);
}

/* What entries of both logs have in common */
static void ppr_decode_group(u64 qw0, bool has_pasid, struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;

	memset(event, 0, sizeof(*event));
	event->fault.type = IOMMU_FAULT_PAGE_REQ;
	prm->grpid = FIELD_GET(PPR_QW0_GROUP, qw0);
	if (qw0 & PPR_QW0_LAST)
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (has_pasid) {
		prm->pasid = ppr_pasid(qw0);
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	}
}

static u32 ppr_perm(u64 qw0)
{
	u32 perm = 0;

	if (qw0 & PPR_QW0_READ)
		perm |= IOMMU_FAULT_PERM_READ;
	if (qw0 & PPR_QW0_WRITE)
		perm |= IOMMU_FAULT_PERM_WRITE;
	if (qw0 & PPR_QW0_EXEC)
		perm |= IOMMU_FAULT_PERM_EXEC;
	/* A request without PASID cannot say on whose behalf it is. */
	if ((qw0 & PPR_QW0_PASID_VALID) && !(qw0 & PPR_QW0_USER))
		perm |= IOMMU_FAULT_PERM_PRIV;
	return perm;
}

/**
 * amd_ppr_decode() - Make sense of an entry of the log
 * @entry: the entry, two quadwords
 * @event: filled in unless the entry is to be ignored, except that the flag for
 *         answers with PASID depends on the device and is left out
 *
 * Return: what to do with the request.
 */
enum amd_ppr_verdict amd_ppr_decode(const u64 *entry, struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;
	bool has_pasid = entry[0] & PPR_QW0_PASID_VALID;

	if (FIELD_GET(PPR_QW0_TYPE, entry[0]) != PPR_REQ_FAULT)
		return AMD_PPR_IGNORE;

	ppr_decode_group(entry[0], has_pasid, event);
	prm->addr = entry[1] & PPR_QW1_ADDR;
	prm->perm = ppr_perm(entry[0]);

	if (!(prm->perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE))) {
		/*
		 * A stop marker. Only a PASID can be stopped: without one this
		 * is an odd request, whose sender waits for an answer.
		 */
		if ((entry[0] & PPR_QW0_LAST) && has_pasid)
			return AMD_PPR_IGNORE;
		return AMD_PPR_MALFORMED;
	}

	if (entry[0] & PPR_QW0_RESERVED)
		return AMD_PPR_MALFORMED;

	/*
	 * PASIDs are enabled without privileged mode. A process has the kernel
	 * in its page table too.
	 */
	if (prm->perm & IOMMU_FAULT_PERM_PRIV)
		return AMD_PPR_MALFORMED;

	return AMD_PPR_REPORT;
}

/**
 * amd_ppr_decode_event() - Find out whose request an event is about
 * @entry: entry of the event log, INVALID_PPR_REQUEST, two quadwords
 * @event: filled in as far as it takes to refuse the request
 */
void amd_ppr_decode_event(const u64 *entry, struct iopf_fault *event)
{
	ppr_decode_group(entry[0], entry[0] & PPR_EVENT_QW0_PASID_VALID, event);
	event->fault.prm.addr = entry[1] & PPR_QW1_ADDR;
}

/**
 * amd_ppr_encode_response() - Build a COMPLETE_PPR_REQUEST
 * @cmd: where to put it
 * @devid: requester ID of the device
 * @prm: last request of the group
 * @code: value of &enum iommu_page_response_code
 *
 * The PASID is given back when the request had one and the device wants it.
 */
void amd_ppr_encode_response(struct iommu_cmd *cmd, u16 devid,
			     const struct iommu_fault_page_request *prm,
			     u32 code)
{
	memset(cmd, 0, sizeof(*cmd));
	cmd->data[0] = devid;
	cmd->data[1] = CMD_COMPLETE_PPR << 28;
	if (prm->flags & IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID) {
		cmd->data[1] |= FIELD_PREP(PPR_CMD1_PASID, prm->pasid);
		cmd->data[2] = CMD_INV_IOMMU_PAGES_GN_MASK;
	}
	cmd->data[3] = FIELD_PREP(PPR_CMD3_GROUP, prm->grpid) |
		       FIELD_PREP(PPR_CMD3_CODE, iopf_resp_to_pcie(code));
}

/**
 * amd_iommu_page_response_batch() - Answer page requests
 * @responses: the answers
 * @nr: number of them, at most IOPF_BATCH_SIZE
 *
 * The devices are behind one IOMMU. Nothing is waited for: that a command is
 * complete says nothing about the delivery of a response.
 */
void amd_iommu_page_response_batch(const struct iopf_response *responses,
				   unsigned int nr)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev(responses->dev);
	struct iommu_cmd cmds[IOPF_BATCH_SIZE];
	struct iommu_dev_data *dev_data;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		dev_data = dev_iommu_priv_get(responses[i].dev);
		amd_ppr_encode_response(&cmds[i], dev_data->devid,
					responses[i].prm, responses[i].code);
	}
	amd_iommu_queue_commands(iommu, cmds, nr);
}

/**
 * amd_ppr_match() - Is this a page request of a device, and of a PASID?
 * @entry: entry of the log
 * @devid: requester ID of the device
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * Return: true if the entry is such a request.
 */
bool amd_ppr_match(const void *entry, u32 devid, u32 pasid)
{
	u64 qw0 = *(const u64 *)entry;

	/* PASID 0 is another way to say that there is none. */
	return FIELD_GET(PPR_QW0_DEVID, qw0) == devid &&
	       iopf_pasid_match(qw0 & PPR_QW0_PASID_VALID, ppr_pasid(qw0),
				pasid);
}

static struct amd_iommu *hwq_to_iommu(struct iopf_hwq *hwq)
{
	return container_of(hwq, struct amd_iommu, ppr_hwq);
}

static u64 *ppr_entry(struct amd_iommu *iommu, u32 index)
{
	return (u64 *)(iommu->ppr_log + index * PPRLOG_ENTRY_SIZE);
}

/*
 * Erratum 733: the tail may be ahead of what is in memory. Entries that were used
 * are zero. With SNP the log cannot be written, and does not have the erratum.
 */
static void ppr_await_entries(struct amd_iommu *iommu, u32 first, u32 end)
{
	unsigned int late = 0;
	u32 index;

	if (amd_iommu_snp_en)
		return;

	for (index = first; index != end;
	     index = (index + 1) & iommu->ppr_hwq.index_mask) {
		while (!FIELD_GET(PPR_QW0_TYPE,
				  READ_ONCE(*ppr_entry(iommu, index)))) {
			if (++late > PPR_LATE_MAX)
				return;
			udelay(1);
		}
	}
	/* The rest of an entry is read after its type. */
	dma_rmb();
}

static u32 ppr_tail(struct iopf_hwq *hwq)
{
	struct amd_iommu *iommu = hwq_to_iommu(hwq);
	u32 tail = readl(iommu->mmio_base + MMIO_PPR_TAIL_OFFSET);

	tail = (tail / PPRLOG_ENTRY_SIZE) & hwq->index_mask;
	ppr_await_entries(iommu, hwq->tail, tail);
	return tail;
}

static void ppr_set_head(struct iopf_hwq *hwq, u32 head)
{
	struct amd_iommu *iommu = hwq_to_iommu(hwq);
	u32 index;

	for (index = hwq->told; !amd_iommu_snp_en && index != head;
	     index = (index + 1) & hwq->index_mask)
		memset(ppr_entry(iommu, index), 0, PPRLOG_ENTRY_SIZE);
	writel(head * PPRLOG_ENTRY_SIZE,
	       iommu->mmio_base + MMIO_PPR_HEAD_OFFSET);
}

static bool ppr_overflown(struct iopf_hwq *hwq)
{
	return readl(hwq_to_iommu(hwq)->mmio_base + MMIO_STATUS_OFFSET) &
	       MMIO_STATUS_PPR_OVERFLOW_MASK;
}

static void ppr_clear_overflow(struct iopf_hwq *hwq)
{
	pr_info_ratelimited("IOMMU PPR log overflow\n");
	amd_iommu_restart_ppr_log(hwq_to_iommu(hwq));
}

/* Answer a request of a device whose page requests are off, or that is unknown. */
static void ppr_refuse(struct amd_iommu *iommu, u16 devid,
		       struct iommu_fault_page_request *prm)
{
	struct iommu_dev_data *dev_data = search_dev_data(iommu, devid);
	struct iommu_cmd cmd;

	if (!(prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE))
		return;
	if (dev_data && dev_data->pri_tlp &&
	    (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID))
		prm->flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	amd_ppr_encode_response(&cmd, devid, prm, IOMMU_PAGE_RESP_INVALID);
	amd_iommu_queue_commands(iommu, &cmd, 1);
}

static void ppr_report(struct iommu_dev_data *dev_data,
		       enum amd_ppr_verdict verdict, struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;

	/*
	 * PASID 0 is for requests without PASID, if these go through the table
	 * of PASIDs (GIoV). It is not to be had otherwise.
	 */
	if ((prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID) &&
	    prm->pasid == IOMMU_NO_PASID) {
		if (READ_ONCE(dev_data->giov))
			prm->flags &= ~IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
		else
			verdict = AMD_PPR_MALFORMED;
	}
	if (dev_data->pri_tlp &&
	    (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID))
		prm->flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;

	if (verdict == AMD_PPR_REPORT)
		iommu_report_device_fault(dev_data->dev, event);
	else
		iopf_report_malformed(dev_data->dev, event);
}

static void ppr_take(struct amd_iommu *iommu, u16 devid,
		     enum amd_ppr_verdict verdict, struct iopf_fault *event)
{
	struct iommu_dev_data *dev_data;

	/* Keeps the device from being released. */
	mutex_lock(&iommu->ppr_lock);
	dev_data = xa_load(&iommu->ppr_devs, devid);
	if (dev_data)
		ppr_report(dev_data, verdict, event);
	else
		ppr_refuse(iommu, devid, &event->fault.prm);
	mutex_unlock(&iommu->ppr_lock);
}

static void ppr_handle(struct iopf_hwq *hwq, const void *entry)
{
	struct amd_iommu *iommu = hwq_to_iommu(hwq);
	const u64 *qw = entry;
	enum amd_ppr_verdict verdict;
	struct iopf_fault event;

	verdict = amd_ppr_decode(qw, &event);
	if (verdict != AMD_PPR_REPORT &&
	    !(verdict == AMD_PPR_IGNORE &&
	      FIELD_GET(PPR_QW0_TYPE, qw[0]) == PPR_REQ_FAULT))
		pr_info_ratelimited("invalid page request 0x%016llx 0x%016llx\n",
				    qw[0], qw[1]);
	if (verdict != AMD_PPR_IGNORE)
		ppr_take(iommu, FIELD_GET(PPR_QW0_DEVID, qw[0]), verdict,
			 &event);

	/* Devices can keep the log from ever being empty. */
	cond_resched();
}

static const struct iopf_hwq_ops ppr_hwq_ops = {
	.tail = ppr_tail,
	.set_head = ppr_set_head,
	.handle = ppr_handle,
	.match = amd_ppr_match,
	.overflown = ppr_overflown,
	.clear_overflow = ppr_clear_overflow,
};

/**
 * amd_ppr_hwq_init() - Tell the core about the log
 * @iommu: the IOMMU, its log allocated and not yet enabled
 */
void amd_ppr_hwq_init(struct amd_iommu *iommu)
{
	struct iopf_hwq *hwq = &iommu->ppr_hwq;

	mutex_init(&iommu->ppr_lock);
	xa_init(&iommu->ppr_devs);
	hwq->ops = &ppr_hwq_ops;
	hwq->ring = iommu->ppr_log;
	hwq->entry_size = PPRLOG_ENTRY_SIZE;
	hwq->slots = amd_iommu_pprlog_size / PPRLOG_ENTRY_SIZE;
	hwq->index_mask = hwq->slots - 1;
	iopf_hwq_init(hwq);
}

/**
 * amd_ppr_work_off() - Work off the log
 * @iommu: the IOMMU
 *
 * The interrupt comes again only when its bit was cleared before. The overflow
 * is not cleared by the way: requests would be taken again before those parts of
 * groups are forgotten whose other part was lost.
 *
 * Context: the thread of the log, nobody else.
 */
void amd_ppr_work_off(struct amd_iommu *iommu)
{
	u8 __iomem *status = iommu->mmio_base + MMIO_STATUS_OFFSET;

	/* Erratum 1312: the bit may be set again by clearing it. */
	while (readl(status) & (MMIO_STATUS_PPR_INT_MASK |
				MMIO_STATUS_PPR_OVERFLOW_MASK)) {
		writel(MMIO_STATUS_PPR_INT_MASK, status);
		iopf_hwq_work(&iommu->ppr_hwq);
	}
}

/**
 * amd_ppr_report_event() - The IOMMU has found fault with a page request
 * @iommu: the IOMMU
 * @entry: entry of the event log, INVALID_PPR_REQUEST, two quadwords
 *
 * The device waits for an answer, if this was the last request of a group. If not
 * the group gets it with its last request.
 *
 * Context: the thread of the event log.
 */
void amd_ppr_report_event(struct amd_iommu *iommu, const u64 *entry)
{
	struct iopf_fault event;

	if (!iommu->ppr_log)
		return;
	amd_ppr_decode_event(entry, &event);
	ppr_take(iommu, FIELD_GET(PPR_QW0_DEVID, entry[0]), AMD_PPR_MALFORMED,
		 &event);
}

/**
 * amd_ppr_add_device() - Have the page requests of a device reported
 * @iommu: the IOMMU
 * @dev_data: the device
 *
 * Context: may sleep.
 *
 * Return: 0 on success, -EBUSY if another device has its requester ID, or -ENOMEM.
 */
int amd_ppr_add_device(struct amd_iommu *iommu, struct iommu_dev_data *dev_data)
{
	int ret;

	mutex_lock(&iommu->ppr_lock);
	ret = xa_insert(&iommu->ppr_devs, dev_data->devid, dev_data, GFP_KERNEL);
	mutex_unlock(&iommu->ppr_lock);
	return ret;
}

/**
 * amd_ppr_remove_device() - Have the page requests of a device refused
 * @iommu: the IOMMU
 * @dev_data: the device. When this returns none of its requests is being reported
 *
 * Context: may sleep.
 */
void amd_ppr_remove_device(struct amd_iommu *iommu,
			   struct iommu_dev_data *dev_data)
{
	mutex_lock(&iommu->ppr_lock);
	xa_erase(&iommu->ppr_devs, dev_data->devid);
	mutex_unlock(&iommu->ppr_lock);
}

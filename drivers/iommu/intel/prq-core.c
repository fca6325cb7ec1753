// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d page request queue: what comes out of it, and how to wait for it
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/bitfield.h>
#include <linux/dmar.h>
#include <linux/iommu.h>

#include "iommu.h"
#include "trace.h"
#include "../iopf-core.h"

static u32 prq_perm(const struct page_req_dsc *req)
{
	u32 perm = 0;

	if (req->qw[1] & PRQ_QW1_READ)
		perm |= IOMMU_FAULT_PERM_READ;
	if (req->qw[1] & PRQ_QW1_WRITE)
		perm |= IOMMU_FAULT_PERM_WRITE;
	if (req->qw[0] & PRQ_QW0_EXEC)
		perm |= IOMMU_FAULT_PERM_EXEC;
	if (req->qw[0] & PRQ_QW0_PRIV)
		perm |= IOMMU_FAULT_PERM_PRIV;
	return perm;
}

/**
 * intel_prq_decode() - Make sense of a page request descriptor
 * @req: the descriptor, VT-d r4.1 section 7.4.1.1
 * @event: filled in unless the descriptor is to be ignored
 *
 * Return: what to do with the request.
 */
enum intel_prq_verdict intel_prq_decode(const struct page_req_dsc *req,
					struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;
	bool last = req->qw[1] & PRQ_QW1_LAST;
	bool pasid_present = req->qw[0] & PRQ_QW0_PASID_PRESENT;
	u32 access;

	if (FIELD_GET(PRQ_QW0_TYPE, req->qw[0]) != PRQ_TYPE_PAGE_REQ)
		return INTEL_PRQ_IGNORE;

	event->fault = (struct iommu_fault){
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm.addr = req->qw[1] & PRQ_QW1_ADDR,
		.prm.grpid = FIELD_GET(PRQ_QW1_GROUP, req->qw[1]),
		.prm.perm = prq_perm(req),
	};
	if (last)
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (pasid_present) {
		prm->pasid = FIELD_GET(PRQ_QW0_PASID, req->qw[0]);
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
			      IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	}

	access = prm->perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE);
	if (!access) {
		/*
		 * A stop marker. Only a PASID can be stopped: without one this
		 * is an odd request, whose sender waits for an answer.
		 */
		if (last && pasid_present)
			return INTEL_PRQ_IGNORE;
		return INTEL_PRQ_MALFORMED;
	}

	/* No PASID table entry allows execute or supervisor requests. */
	if (prm->perm & (IOMMU_FAULT_PERM_EXEC | IOMMU_FAULT_PERM_PRIV))
		return INTEL_PRQ_MALFORMED;

	/*
	 * Any address: those of second-stage tables, which PASIDs may have, are not
	 * sign extended, and a process has nothing where none is canonical.
	 */
	return INTEL_PRQ_REPORT;
}

/**
 * intel_prq_encode_response() - Build a page group response descriptor
 * @desc: where to put it
 * @rid: requester ID of the device
 * @prm: last request of the group
 * @code: value of &enum iommu_page_response_code
 *
 * VT-d r4.1 section 7.7.1. The PASID is given back when the request had one and
 * the device wants it.
 */
void intel_prq_encode_response(struct qi_desc *desc, u16 rid,
			       const struct iommu_fault_page_request *prm,
			       u32 code)
{
	bool pasid_present = prm->flags & IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;

	desc->qw0 = QI_PGRP_PASID_P(pasid_present) |
		    QI_PGRP_DID(rid) |
		    QI_PGRP_RESP_CODE(iopf_resp_to_pcie(code)) |
		    QI_PGRP_RESP_TYPE;
	if (pasid_present)
		desc->qw0 |= QI_PGRP_PASID(prm->pasid);
	desc->qw1 = QI_PGRP_IDX(prm->grpid);
	desc->qw2 = 0;
	desc->qw3 = 0;
}

/**
 * intel_prq_match() - Is this a page request of a device, and of a PASID?
 * @qw0: first quadword of the descriptor
 * @rid: requester ID of the device
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * Return: true if the descriptor is such a request.
 */
bool intel_prq_match(u64 qw0, u16 rid, u32 pasid)
{
	return FIELD_GET(PRQ_QW0_RID, qw0) == rid &&
	       iopf_pasid_match(qw0 & PRQ_QW0_PASID_PRESENT,
				FIELD_GET(PRQ_QW0_PASID, qw0), pasid);
}

static struct intel_iommu *hwq_to_iommu(struct iopf_hwq *hwq)
{
	return container_of(hwq, struct intel_iommu, prq_hwq);
}

static u32 prq_tail(struct iopf_hwq *hwq)
{
	u64 tail = dmar_readq(hwq_to_iommu(hwq)->reg + DMAR_PQT_REG);

	return (tail & PRQ_RING_MASK) / sizeof(struct page_req_dsc);
}

static void prq_set_head(struct iopf_hwq *hwq, u32 head)
{
	dmar_writeq(hwq_to_iommu(hwq)->reg + DMAR_PQH_REG,
		    (u64)head * sizeof(struct page_req_dsc));
}

static bool prq_match(const void *entry, u32 requester, u32 pasid)
{
	const struct page_req_dsc *req = entry;

	return intel_prq_match(req->qw[0], requester, pasid);
}

/* While the overflow bit is set the hardware drops all requests. */
static bool prq_overflown(struct iopf_hwq *hwq)
{
	return readl(hwq_to_iommu(hwq)->reg + DMAR_PRS_REG) & DMA_PRS_PRO;
}

static void prq_clear_overflow(struct iopf_hwq *hwq)
{
	struct intel_iommu *iommu = hwq_to_iommu(hwq);

	pr_info_ratelimited("DMAR: %s: Page request queue overflow\n",
			    iommu->name);
	writel(DMA_PRS_PRO, iommu->reg + DMAR_PRS_REG);
}

static void prq_report(struct intel_iommu *iommu, struct device *dev,
		       const struct page_req_dsc *req,
		       enum intel_prq_verdict verdict, struct iopf_fault *event)
{
	trace_prq_report(iommu, dev, req->qw[0], req->qw[1], req->qw[2],
			 req->qw[3], iommu->prq_seq_number++);
	if (verdict == INTEL_PRQ_REPORT)
		iommu_report_device_fault(dev, event);
	else
		iopf_report_malformed(dev, event);
}

static void prq_handle(struct iopf_hwq *hwq, const void *entry)
{
	struct intel_iommu *iommu = hwq_to_iommu(hwq);
	const struct page_req_dsc *req = entry;
	u16 rid = FIELD_GET(PRQ_QW0_RID, req->qw[0]);
	enum intel_prq_verdict verdict;
	struct iopf_fault event;
	struct qi_desc desc;
	struct device *dev;

	verdict = intel_prq_decode(req, &event);
	if (verdict == INTEL_PRQ_IGNORE)
		return;

	/* Keeps the device from being released. */
	mutex_lock(&iommu->iopf_lock);
	dev = device_rbtree_find(iommu, rid);
	if (!dev || verdict == INTEL_PRQ_MALFORMED)
		pr_err_ratelimited("DMAR: %s: Invalid page request: %08llx %08llx\n",
				   iommu->name, req->qw[0], req->qw[1]);

	if (dev) {
		prq_report(iommu, dev, req, verdict, &event);
	} else if (event.fault.prm.flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE) {
		intel_prq_encode_response(&desc, rid, &event.fault.prm,
					  IOMMU_PAGE_RESP_INVALID);
		qi_submit_sync(iommu, &desc, 1, 0);
	}
	mutex_unlock(&iommu->iopf_lock);
}

static const struct iopf_hwq_ops prq_hwq_ops = {
	.tail = prq_tail,
	.set_head = prq_set_head,
	.handle = prq_handle,
	.match = prq_match,
	.overflown = prq_overflown,
	.clear_overflow = prq_clear_overflow,
};

/**
 * intel_prq_hwq_init() - Tell the core about the page request queue
 * @iommu: the IOMMU, its queue and the list of devices that use it allocated
 */
void intel_prq_hwq_init(struct intel_iommu *iommu)
{
	struct iopf_hwq *hwq = &iommu->prq_hwq;

	hwq->ops = &prq_hwq_ops;
	hwq->ring = iommu->prq;
	hwq->queue = iommu->iopf_queue;
	hwq->entry_size = sizeof(struct page_req_dsc);
	hwq->slots = PRQ_DEPTH;
	hwq->index_mask = PRQ_DEPTH - 1;
	iopf_hwq_init(hwq);
}

/**
 * intel_prq_hw_start() - Let the hardware put requests into an empty queue
 * @iommu: the IOMMU
 *
 * The status may be left over from a kernel that this one follows by kexec, or
 * that has crashed. While it says that there is an event, no other comes.
 */
void intel_prq_hw_start(struct intel_iommu *iommu)
{
	dmar_writeq(iommu->reg + DMAR_PQH_REG, 0ULL);
	dmar_writeq(iommu->reg + DMAR_PQT_REG, 0ULL);
	dmar_writeq(iommu->reg + DMAR_PQA_REG,
		    virt_to_phys(iommu->prq) | PRQ_ORDER);
	writel(DMA_PRS_PPR | DMA_PRS_PRO, iommu->reg + DMAR_PRS_REG);
}

/**
 * intel_prq_suspend() - Keep what the hardware will forget
 * @iommu: the IOMMU
 *
 * Context: interrupts are off, devices are suspended.
 */
void intel_prq_suspend(struct intel_iommu *iommu)
{
	if (!iommu->iopf_queue)
		return;
	iommu->prq_event[0] = readl(iommu->reg + DMAR_PECTL_REG);
	iommu->prq_event[1] = readl(iommu->reg + DMAR_PEDATA_REG);
	iommu->prq_event[2] = readl(iommu->reg + DMAR_PEADDR_REG);
	iommu->prq_event[3] = readl(iommu->reg + DMAR_PEUADDR_REG);
}

/**
 * intel_prq_resume() - Set the queue up as it was, but empty
 * @iommu: the IOMMU, see intel_prq_suspend()
 *
 * Devices have forgotten what they asked for.
 *
 * Context: interrupts are off.
 */
void intel_prq_resume(struct intel_iommu *iommu)
{
	if (!iommu->iopf_queue)
		return;
	iopf_hwq_restart(&iommu->prq_hwq);
	intel_prq_hw_start(iommu);
	writel(iommu->prq_event[1], iommu->reg + DMAR_PEDATA_REG);
	writel(iommu->prq_event[2], iommu->reg + DMAR_PEADDR_REG);
	writel(iommu->prq_event[3], iommu->reg + DMAR_PEUADDR_REG);
	writel(iommu->prq_event[0], iommu->reg + DMAR_PECTL_REG);
}

/**
 * intel_prq_work() - Work off a page request queue
 * @iommu: the IOMMU
 *
 * Context: the threaded interrupt handler of the queue, nobody else.
 *
 * Return: true if there was something to do.
 */
bool intel_prq_work(struct intel_iommu *iommu)
{
	/*
	 * First of all: a request that comes while the bit is set raises no
	 * interrupt, so it must be found by the look at the queue that follows.
	 */
	writel(DMA_PRS_PPR, iommu->reg + DMAR_PRS_REG);

	return iopf_hwq_work(&iommu->prq_hwq);
}

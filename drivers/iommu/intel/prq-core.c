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

static bool prq_addr_canonical(u64 addr)
{
	return sign_extend64(addr, __VIRTUAL_MASK_SHIFT) == addr;
}

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

	memset(event, 0, sizeof(*event));
	event->fault.type = IOMMU_FAULT_PAGE_REQ;
	prm->addr = req->qw[1] & PRQ_QW1_ADDR;
	prm->grpid = FIELD_GET(PRQ_QW1_GROUP, req->qw[1]);
	prm->perm = prq_perm(req);
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
	 * Requests with PASID are for first-stage tables. Those without may be
	 * for second-stage ones, where an address is not sign extended.
	 */
	if (pasid_present && !prq_addr_canonical(prm->addr))
		return INTEL_PRQ_MALFORMED;

	return INTEL_PRQ_REPORT;
}

/**
 * intel_prq_encode_response() - Build a page group response descriptor
 * @desc: where to put it
 * @rid: requester ID of the device
 * @prm: last request of the group
 * @code: value of &enum iommu_page_response_code
 *
 * VT-d r4.1 section 7.7.1. The PASID is given back when the request had one,
 * which is why a device whose PASID capability is on must take responses with
 * PASID.
 */
void intel_prq_encode_response(struct qi_desc *desc, u16 rid,
			       const struct iommu_fault_page_request *prm,
			       u32 code)
{
	bool pasid_present = prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;

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
	if (FIELD_GET(PRQ_QW0_RID, qw0) != rid)
		return false;
	if (pasid == IOPF_ANY_PASID)
		return true;
	if (!(qw0 & PRQ_QW0_PASID_PRESENT))
		return pasid == IOMMU_NO_PASID;
	return FIELD_GET(PRQ_QW0_PASID, qw0) == pasid;
}

/**
 * intel_prq_drain_target() - Find out what a drain has to wait for
 * @progress: state of the queue, locked
 * @ring: the queue
 * @tail: offset behind the last descriptor in it
 * @rid: requester ID of the device to drain
 * @pasid: as for intel_prq_match()
 *
 * Return: value of intel_prq_progress::handled from which on all matching
 * requests, that were in the queue at the time of the call, have been handled.
 */
unsigned long intel_prq_drain_target(const struct intel_prq_progress *progress,
				     const struct page_req_dsc *ring, u32 tail,
				     u16 rid, u32 pasid)
{
	unsigned long target = progress->handled, nr = progress->fetched;
	u32 head = progress->head;

	if (progress->fetched != progress->handled &&
	    intel_prq_match(progress->current_qw0, rid, pasid))
		target = progress->fetched;

	while (head != tail) {
		nr++;
		if (intel_prq_match(ring[head / sizeof(*ring)].qw[0], rid, pasid))
			target = nr;
		head = (head + sizeof(*ring)) & PRQ_RING_MASK;
	}
	return target;
}

static u32 prq_read_tail(struct intel_iommu *iommu)
{
	return dmar_readq(iommu->reg + DMAR_PQT_REG) & PRQ_RING_MASK;
}

void intel_prq_progress_init(struct intel_prq_progress *progress)
{
	spin_lock_init(&progress->lock);
	init_waitqueue_head(&progress->wait);
	progress->fetched = 0;
	progress->handled = 0;
	progress->head = 0;
}

/*
 * Take the next descriptor. Its slot is given back to the hardware at once, so
 * that the queue does not look full for longer than it is.
 */
static bool prq_fetch(struct intel_iommu *iommu, struct page_req_dsc *req)
{
	struct intel_prq_progress *progress = &iommu->prq_progress;
	bool found = false;

	spin_lock(&progress->lock);
	if (progress->head != prq_read_tail(iommu)) {
		*req = iommu->prq[progress->head / sizeof(*req)];
		progress->current_qw0 = req->qw[0];
		progress->head = (progress->head + sizeof(*req)) &
				 PRQ_RING_MASK;
		progress->fetched++;
		dmar_writeq(iommu->reg + DMAR_PQH_REG, progress->head);
		found = true;
	}
	spin_unlock(&progress->lock);

	return found;
}

static void prq_set_handled(struct intel_iommu *iommu)
{
	struct intel_prq_progress *progress = &iommu->prq_progress;

	spin_lock(&progress->lock);
	progress->handled++;
	spin_unlock(&progress->lock);
	wake_up_all(&progress->wait);
}

static void prq_handle(struct intel_iommu *iommu,
		       const struct page_req_dsc *req)
{
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
		trace_prq_report(iommu, dev, req->qw[0], req->qw[1],
				 req->qw[2], req->qw[3],
				 iommu->prq_seq_number++);
		if (verdict == INTEL_PRQ_REPORT)
			iommu_report_device_fault(dev, &event);
		else
			iopf_report_malformed(dev, &event);
	} else if (event.fault.prm.flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE) {
		intel_prq_encode_response(&desc, rid, &event.fault.prm,
					  IOMMU_PAGE_RESP_INVALID);
		qi_submit_sync(iommu, &desc, 1, 0);
	}
	mutex_unlock(&iommu->iopf_lock);
}

/*
 * While the overflow bit is set the hardware drops all requests, and answers
 * the last ones of groups by itself. It may be cleared when the queue is empty,
 * and then partial groups are void: their last request may be among the lost.
 */
static bool prq_clear_overflow(struct intel_iommu *iommu)
{
	pr_info_ratelimited("DMAR: %s: Page request queue overflow\n",
			    iommu->name);
	iopf_queue_discard_partial(iommu->iopf_queue);
	writel(DMA_PRS_PRO, iommu->reg + DMAR_PRS_REG);
	wake_up_all(&iommu->prq_progress.wait);
	return true;
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
	struct page_req_dsc req;
	bool handled = false;

	/*
	 * Clear PPR bit before reading head/tail registers, to ensure that
	 * we get a new interrupt if needed.
	 */
	writel(DMA_PRS_PPR, iommu->reg + DMAR_PRS_REG);

	do {
		while (prq_fetch(iommu, &req)) {
			prq_handle(iommu, &req);
			prq_set_handled(iommu);
			handled = true;
		}
		if (!(readl(iommu->reg + DMAR_PRS_REG) & DMA_PRS_PRO))
			break;
		/* Nothing can come any more, so the second look is the last. */
	} while (iommu->prq_progress.head != prq_read_tail(iommu) ||
		 !prq_clear_overflow(iommu));

	return handled;
}

static bool prq_has_handled(struct intel_iommu *iommu, unsigned long target)
{
	struct intel_prq_progress *progress = &iommu->prq_progress;
	bool done;

	spin_lock(&progress->lock);
	done = (long)(progress->handled - target) >= 0;
	spin_unlock(&progress->lock);
	return done;
}

/**
 * intel_prq_wait_handled() - Wait for the page requests of a device
 * @iommu: the IOMMU
 * @rid: requester ID of the device
 * @pasid: as for intel_prq_match()
 *
 * Every caller has its own target, so any number of them may wait at a time.
 * Requests that come after the call do not prolong the wait.
 */
void intel_prq_wait_handled(struct intel_iommu *iommu, u16 rid, u32 pasid)
{
	struct intel_prq_progress *progress = &iommu->prq_progress;
	unsigned long target;

	spin_lock(&progress->lock);
	target = intel_prq_drain_target(progress, iommu->prq,
					prq_read_tail(iommu), rid, pasid);
	spin_unlock(&progress->lock);

	wait_event(progress->wait, prq_has_handled(iommu, target));
}

/* Wait until requests can get into the queue. */
void intel_prq_wait_no_overflow(struct intel_iommu *iommu)
{
	wait_event(iommu->prq_progress.wait,
		   !(readl(iommu->reg + DMAR_PRS_REG) & DMA_PRS_PRO));
}

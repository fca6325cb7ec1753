// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: the PRI queue, what comes out of it and what is answered
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The SMMU puts page requests into a queue in memory and looks at nothing in
 * them: whether the stream exists, and whether the request makes sense, is found
 * out here. It answers by itself only while it can put nothing into the queue:
 * after an overflow, and after a write to the queue was aborted. Both end when
 * the queue is empty, and what has come of groups whose other part was lost has
 * been forgotten.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/sched.h>
#include <kunit/visibility.h>

#include "arm-smmu-v3.h"
#include "../../iopf-core.h"

static u32 pri_perm(u64 qw0)
{
	u32 perm = 0;

	if (qw0 & PRIQ_0_PERM_READ)
		perm |= IOMMU_FAULT_PERM_READ;
	if (qw0 & PRIQ_0_PERM_WRITE)
		perm |= IOMMU_FAULT_PERM_WRITE;
	if (qw0 & PRIQ_0_PERM_EXEC)
		perm |= IOMMU_FAULT_PERM_EXEC;
	if (qw0 & PRIQ_0_PERM_PRIV)
		perm |= IOMMU_FAULT_PERM_PRIV;
	return perm;
}

/**
 * arm_smmu_pri_decode() - Make sense of an entry of the PRI queue
 * @entry: the entry
 * @event: filled in, except that the flag for answers with PASID depends on the
 *         device and is left out
 *
 * Return: what to do with the request.
 */
VISIBLE_IF_KUNIT
enum arm_smmu_pri_verdict arm_smmu_pri_decode(const __le64 *entry,
					      struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;
	u64 qw0 = le64_to_cpu(entry[0]), qw1 = le64_to_cpu(entry[1]);

	memset(event, 0, sizeof(*event));
	event->fault.type = IOMMU_FAULT_PAGE_REQ;
	prm->addr = qw1 & PRIQ_1_ADDR_MASK;
	prm->grpid = FIELD_GET(PRIQ_1_PRG_IDX, qw1);
	prm->perm = pri_perm(qw0);
	if (qw0 & PRIQ_0_PRG_LAST)
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (qw0 & PRIQ_0_SSID_V) {
		prm->pasid = FIELD_GET(PRIQ_0_SSID, qw0);
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	}

	if (!(prm->perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE))) {
		/*
		 * A stop marker. Only a PASID can be stopped: without one this
		 * is an odd request, whose sender waits for an answer.
		 */
		if ((qw0 & PRIQ_0_PRG_LAST) && (qw0 & PRIQ_0_SSID_V))
			return ARM_SMMU_PRI_IGNORE;
		return ARM_SMMU_PRI_MALFORMED;
	}

	/* Descriptor 0 is for what has no PASID, and not to be had otherwise. */
	if ((qw0 & PRIQ_0_SSID_V) && prm->pasid == IOMMU_NO_PASID)
		return ARM_SMMU_PRI_MALFORMED;

	return ARM_SMMU_PRI_REPORT;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_decode);

/**
 * arm_smmu_pri_encode_response() - Build a CMD_PRI_RESP
 * @cmd: where to put it, CMDQ_ENT_DWORDS of them
 * @sid: stream ID of the device
 * @prm: last request of the group
 * @code: value of &enum iommu_page_response_code
 *
 * What the enum of the driver calls PRI_RESP_DENY is Response Failure, after
 * which the device stops its page request interface; PRI_RESP_FAIL is Invalid
 * Request. The PASID is given back when the request had one and the device wants
 * it.
 */
VISIBLE_IF_KUNIT
void arm_smmu_pri_encode_response(u64 *cmd, u32 sid,
				  const struct iommu_fault_page_request *prm,
				  u32 code)
{
	enum pri_resp resp = PRI_RESP_DENY;

	if (code == IOMMU_PAGE_RESP_SUCCESS)
		resp = PRI_RESP_SUCC;
	else if (code == IOMMU_PAGE_RESP_INVALID)
		resp = PRI_RESP_FAIL;

	cmd[0] = FIELD_PREP(CMDQ_0_OP, CMDQ_OP_PRI_RESP) |
		 FIELD_PREP(CMDQ_PRI_0_SID, sid);
	if (prm->flags & IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID)
		cmd[0] |= CMDQ_0_SSV | FIELD_PREP(CMDQ_PRI_0_SSID, prm->pasid);
	cmd[1] = FIELD_PREP(CMDQ_PRI_1_GRPID, prm->grpid) |
		 FIELD_PREP(CMDQ_PRI_1_RESP, resp);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_encode_response);

/**
 * arm_smmu_pri_encode_resume() - Build a CMD_RESUME for a stalled transaction
 * @cmd: where to put it, CMDQ_ENT_DWORDS of them
 * @sid: stream ID of the device
 * @prm: the fault, with the tag of the transaction as its group index
 * @code: value of &enum iommu_page_response_code
 */
VISIBLE_IF_KUNIT
void arm_smmu_pri_encode_resume(u64 *cmd, u32 sid,
				const struct iommu_fault_page_request *prm,
				u32 code)
{
	u64 resp = CMDQ_RESUME_0_RESP_ABORT;

	if (code == IOMMU_PAGE_RESP_SUCCESS)
		resp = CMDQ_RESUME_0_RESP_RETRY;

	cmd[0] = FIELD_PREP(CMDQ_0_OP, CMDQ_OP_RESUME) |
		 FIELD_PREP(CMDQ_RESUME_0_SID, sid) |
		 FIELD_PREP(CMDQ_RESUME_0_RESP, resp);
	cmd[1] = FIELD_PREP(CMDQ_RESUME_1_STAG, prm->grpid);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_encode_resume);

/**
 * arm_smmu_page_response_batch() - Answer page requests and stalls
 * @responses: the answers
 * @nr: number of them, at most IOPF_BATCH_SIZE
 *
 * The devices are behind one SMMU. There is no CMD_SYNC: it says nothing about
 * the delivery of a response. A device that stalls has PRI off.
 */
void arm_smmu_page_response_batch(const struct iopf_response *responses,
				  unsigned int nr)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(responses->dev);
	u64 cmds[IOPF_BATCH_SIZE * CMDQ_ENT_DWORDS];
	struct arm_smmu_device *smmu = master->smmu;
	const struct iopf_response *resp;
	unsigned int i;
	u64 *cmd;

	static_assert(IOPF_BATCH_SIZE <= CMDQ_BATCH_ENTRIES);

	for (i = 0; i < nr; i++) {
		resp = &responses[i];
		master = dev_iommu_priv_get(resp->dev);
		cmd = &cmds[i * CMDQ_ENT_DWORDS];
		if (master->stall_enabled)
			arm_smmu_pri_encode_resume(cmd, master->streams[0].id,
						   resp->prm, resp->code);
		else
			arm_smmu_pri_encode_response(cmd, master->streams[0].id,
						     resp->prm, resp->code);
	}
	arm_smmu_cmdq_issue_cmdlist(smmu, &smmu->cmdq, cmds, nr, false);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_page_response_batch);

/**
 * arm_smmu_pri_match() - Is this a page request of a device, and of a PASID?
 * @entry: the entry of the PRI queue
 * @sid: stream ID of the device
 * @pasid: the PASID, IOMMU_NO_PASID for requests without PASID,
 *         IOPF_ANY_PASID for all requests of the device
 *
 * Return: true if the entry is such a request.
 */
VISIBLE_IF_KUNIT
bool arm_smmu_pri_match(const void *entry, u32 sid, u32 pasid)
{
	u64 qw0 = le64_to_cpu(*(const __le64 *)entry);

	return FIELD_GET(PRIQ_0_SID, qw0) == sid &&
	       iopf_pasid_match(qw0 & PRIQ_0_SSID_V,
				FIELD_GET(PRIQ_0_SSID, qw0), pasid);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_match);

/* Operations of struct iopf_hwq, see there, for the queues of the SMMU */
u32 arm_smmu_hwq_tail(struct iopf_hwq *hwq)
{
	/* What is in the queue is read after that. */
	return readl(to_smmu_hwq(hwq)->q->prod_reg) & hwq->index_mask;
}

static void hwq_write_cons(struct iopf_hwq *hwq, u32 cons)
{
	struct arm_smmu_queue *q = to_smmu_hwq(hwq)->q;

	WRITE_ONCE(q->llq.cons, cons);
	/* What is in the queue has been read before. */
	__iomb();
	writel_relaxed(cons, q->cons_reg);
}

void arm_smmu_hwq_set_head(struct iopf_hwq *hwq, u32 head)
{
	hwq_write_cons(hwq, Q_OVF(to_smmu_hwq(hwq)->q->llq.cons) | head);
}

/* Compares the flags, instead of waiting for an edge that another could see */
bool arm_smmu_hwq_ovf(struct iopf_hwq *hwq)
{
	struct arm_smmu_queue *q = to_smmu_hwq(hwq)->q;

	return Q_OVF(readl(q->prod_reg) ^ READ_ONCE(q->llq.cons));
}

void arm_smmu_hwq_ack_ovf(struct iopf_hwq *hwq)
{
	u32 prod = readl(to_smmu_hwq(hwq)->q->prod_reg);

	hwq_write_cons(hwq, Q_OVF(prod) | hwq->head);
}

/**
 * arm_smmu_hwq_init() - Tell the core about a queue
 * @shwq: its data for the core
 * @smmu: the SMMU
 * @q: the queue, allocated and empty
 * @ops: what to do with it
 */
void arm_smmu_hwq_init(struct arm_smmu_hwq *shwq, struct arm_smmu_device *smmu,
		       struct arm_smmu_queue *q, const struct iopf_hwq_ops *ops)
{
	struct iopf_hwq *hwq = &shwq->hwq;

	shwq->smmu = smmu;
	shwq->q = q;
	hwq->ops = ops;
	hwq->ring = q->base;
	hwq->entry_size = q->ent_dwords * sizeof(*q->base);
	hwq->slots = 1 << q->llq.max_n_shift;
	/* The indices have a wrap bit. */
	hwq->index_mask = 2 * hwq->slots - 1;
	iopf_hwq_init(hwq);
}

/**
 * arm_smmu_hwq_work_off() - Work off a queue of the SMMU
 * @shwq: the queue
 *
 * An interrupt comes when something is put into an empty queue. Whether it is
 * empty the SMMU knows from what it was told, which is after the last look at
 * its tail: so look again until nothing was to do.
 *
 * Context: the thread of the queue, nobody else.
 */
void arm_smmu_hwq_work_off(struct arm_smmu_hwq *shwq)
{
	while (iopf_hwq_work(&shwq->hwq))
		;
}

static bool priq_overflown(struct iopf_hwq *hwq)
{
	struct arm_smmu_device *smmu = to_smmu_hwq(hwq)->smmu;

	return READ_ONCE(smmu->priq.aborted) || arm_smmu_hwq_ovf(hwq);
}

/* Lets the SMMU put requests into the queue again. */
static bool priq_clear_abort(struct arm_smmu_device *smmu)
{
	unsigned long flags;
	bool aborted;
	u32 gerrorn;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	aborted = smmu->priq.aborted;
	if (aborted) {
		WRITE_ONCE(smmu->priq.aborted, false);
		gerrorn = readl_relaxed(smmu->base + ARM_SMMU_GERRORN);
		writel(gerrorn ^ GERROR_PRIQ_ABT_ERR,
		       smmu->base + ARM_SMMU_GERRORN);
	}
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
	return aborted;
}

static void priq_clear_overflow(struct iopf_hwq *hwq)
{
	struct arm_smmu_device *smmu = to_smmu_hwq(hwq)->smmu;

	if (arm_smmu_hwq_ovf(hwq)) {
		dev_info_ratelimited(smmu->dev, "PRI queue overflow\n");
		arm_smmu_hwq_ack_ovf(hwq);
	}
	if (priq_clear_abort(smmu))
		dev_err_ratelimited(smmu->dev,
				    "PRI queue write aborted, requests lost\n");
}

/* Answer a request that the core shall not or cannot know of. */
static void priq_refuse(struct arm_smmu_device *smmu, u32 sid,
			const struct iommu_fault_page_request *prm)
{
	u64 cmd[CMDQ_ENT_DWORDS];

	if (!(prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE))
		return;
	arm_smmu_pri_encode_response(cmd, sid, prm, IOMMU_PAGE_RESP_INVALID);
	arm_smmu_cmdq_issue_cmdlist(smmu, &smmu->cmdq, cmd, 1, false);
}

static void priq_report(struct arm_smmu_master *master, u32 sid,
			enum arm_smmu_pri_verdict verdict,
			struct iopf_fault *event)
{
	struct iommu_fault_page_request *prm = &event->fault.prm;

	if (master->prg_resp_needs_pasid &&
	    (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID))
		prm->flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;

	/* A device can send what nobody told it to, before its probe is over. */
	if (master->stall_enabled || !READ_ONCE(master->iopf_enabled))
		priq_refuse(master->smmu, sid, prm);
	else if (verdict == ARM_SMMU_PRI_REPORT)
		iommu_report_device_fault(master->dev, event);
	else
		iopf_report_malformed(master->dev, event);
}

static void priq_handle(struct iopf_hwq *hwq, const void *entry)
{
	struct arm_smmu_device *smmu = to_smmu_hwq(hwq)->smmu;
	const __le64 *qw = entry;
	u32 sid = FIELD_GET(PRIQ_0_SID, le64_to_cpu(qw[0]));
	enum arm_smmu_pri_verdict verdict;
	struct arm_smmu_master *master;
	struct iopf_fault event;

	verdict = arm_smmu_pri_decode(qw, &event);
	if (verdict == ARM_SMMU_PRI_IGNORE)
		return;

	/* Keeps the device from being released. */
	mutex_lock(&smmu->streams_mutex);
	master = arm_smmu_find_master(smmu, sid);
	if (!master || verdict == ARM_SMMU_PRI_MALFORMED)
		dev_info_ratelimited(smmu->dev,
				     "invalid page request 0x%016llx 0x%016llx\n",
				     le64_to_cpu(qw[0]), le64_to_cpu(qw[1]));
	if (master)
		priq_report(master, sid, verdict, &event);
	else
		priq_refuse(smmu, sid, &event.fault.prm);
	mutex_unlock(&smmu->streams_mutex);

	/* Devices can keep the queue from ever being empty. */
	cond_resched();
}

static const struct iopf_hwq_ops priq_hwq_ops = {
	.tail = arm_smmu_hwq_tail,
	.set_head = arm_smmu_hwq_set_head,
	.handle = priq_handle,
	.match = arm_smmu_pri_match,
	.overflown = priq_overflown,
	.clear_overflow = priq_clear_overflow,
};

/**
 * arm_smmu_pri_init() - Tell the core about the PRI queue
 * @smmu: the SMMU, its queue allocated and empty
 */
void arm_smmu_pri_init(struct arm_smmu_device *smmu)
{
	struct arm_smmu_priq *priq = &smmu->priq;

	arm_smmu_hwq_init(&priq->shwq, smmu, &priq->q, &priq_hwq_ops);
	priq->shwq.hwq.queue = smmu->evtq.iopf;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_init);

/**
 * arm_smmu_priq_thread() - Work off the PRI queue
 * @irq: the interrupt
 * @dev: the SMMU
 *
 * Return: IRQ_HANDLED
 */
irqreturn_t arm_smmu_priq_thread(int irq, void *dev)
{
	struct arm_smmu_device *smmu = dev;

	arm_smmu_hwq_work_off(&smmu->priq.shwq);
	return IRQ_HANDLED;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_priq_thread);

/**
 * arm_smmu_pri_ack_gerror() - Acknowledge global errors
 * @smmu: the SMMU
 * @active: bits of the register GERROR, of errors that were dealt with
 *
 * An abort of the PRI queue stays: it is acknowledged when the queue is empty,
 * since this lets the SMMU go on. Groups it has cut must be forgotten by then.
 *
 * Context: hard interrupt.
 */
void arm_smmu_pri_ack_gerror(struct arm_smmu_device *smmu, u32 active)
{
	struct arm_smmu_priq *priq = &smmu->priq;
	unsigned long flags;
	bool wake = false;

	if ((smmu->features & ARM_SMMU_FEAT_PRI) &&
	    (active & GERROR_PRIQ_ABT_ERR)) {
		active ^= GERROR_PRIQ_ABT_ERR;
		raw_spin_lock_irqsave(&smmu->error_lock, flags);
		wake = !priq->aborted;
		WRITE_ONCE(priq->aborted, true);
		raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
	}
	arm_smmu_ack_gerror(smmu, active);

	/* A combined interrupt has its thread woken in any case. */
	if (wake && priq->q.irq)
		irq_wake_thread(priq->q.irq, smmu);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_pri_ack_gerror);

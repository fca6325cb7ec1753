// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page request core: groups, their delivery and their answers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * IOMMU drivers decode their page request queues and call
 * iommu_report_device_fault(). What follows is the same for all of them and
 * lives here. The rules:
 *
 * - Only the last request of a group is answered, and exactly once: by the
 *   handler of the domain, or by this file when there is no handler, no memory
 *   or no device any more.
 * - Requests that are not the last wait in iommu_fault_param::partial. Dropping
 *   such a request is always allowed. The device asks for the page again when
 *   it finds it missing after the group was answered with success.
 * - A group with a malformed request in it is never delivered. It is remembered
 *   and answered as invalid when its last request comes.
 * - What fails for a moment (no memory) is answered with success, like an IOMMU
 *   does by itself when its queue overflows: the device tries again. Response
 *   Failure would stop the device's page request interface for good.
 * - A group belongs to its handler until the handler frees it, whoever answered
 *   it.
 *
 * Locks, outer to inner:
 *
 * iommu_fault_param::report_lock - one report at a time, held while the handler
 *	of the domain runs. Taking it once after an attach handle became
 *	unreachable is the barrier that lets the handle be freed.
 * iommu_fault_param::lock - the lists of partial requests and unanswered groups.
 */
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "iopf-core.h"
#include "iommu-priv.h"

#define CREATE_TRACE_POINTS
#include <trace/events/iopf.h>

/*
 * The requests of one group seen so far, without its last. Two groups are the
 * same if index, PASID and presence of a PASID agree: a device may use the same
 * index for different PASIDs, and for requests without one, at the same time.
 */
struct iopf_partial {
	struct list_head node;		/* in iommu_fault_param::partial */
	struct list_head faults;	/* in order of arrival */
	/* What this costs of IOPF_MAX_PARTIAL, at least 1 */
	unsigned int charge;
	bool malformed;
	bool pasid_valid;
	u32 pasid;
	u32 grpid;
};

static bool iopf_has_pasid(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
}

static bool iopf_is_last(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
}

/* Answer a request for which there is no group. */
static void iopf_respond_orphan(struct device *dev, struct iopf_fault *evt,
				enum iommu_page_response_code code)
{
	struct iommu_page_response resp = {
		.pasid = evt->fault.prm.pasid,
		.grpid = evt->fault.prm.grpid,
		.code = code,
	};

	trace_iopf_respond(dev, &evt->fault.prm, code, true);
	dev_iommu_ops(dev)->page_response(dev, evt, &resp);
}

static void iopf_partial_free_faults(struct iopf_partial *partial)
{
	struct iopf_fault *iopf, *next;

	list_for_each_entry_safe(iopf, next, &partial->faults, list) {
		list_del(&iopf->list);
		kfree(iopf);
	}
}

static void iopf_partial_free(struct iopf_partial *partial)
{
	if (!partial)
		return;
	iopf_partial_free_faults(partial);
	kfree(partial);
}

static void iopf_partial_charge(struct iommu_fault_param *param,
				struct iopf_partial *partial,
				unsigned int charge)
{
	lockdep_assert_held(&param->lock);

	param->nr_partial = param->nr_partial - partial->charge + charge;
	partial->charge = charge;
}

static struct iopf_partial *
iopf_partial_find(struct iommu_fault_param *param,
		  const struct iommu_fault_page_request *prm)
{
	struct iopf_partial *partial;

	lockdep_assert_held(&param->lock);

	list_for_each_entry(partial, &param->partial, node) {
		if (partial->grpid == prm->grpid &&
		    partial->pasid_valid == iopf_has_pasid(prm) &&
		    (!partial->pasid_valid || partial->pasid == prm->pasid))
			return partial;
	}
	return NULL;
}

/* Take the partial group, if there is one, off the list. The caller frees it. */
static struct iopf_partial *
iopf_partial_take(struct iommu_fault_param *param,
		  const struct iommu_fault_page_request *prm)
{
	struct iopf_partial *partial;

	mutex_lock(&param->lock);
	partial = iopf_partial_find(param, prm);
	if (partial) {
		list_del(&partial->node);
		iopf_partial_charge(param, partial, 0);
	}
	mutex_unlock(&param->lock);

	return partial;
}

static struct iopf_partial *
iopf_partial_alloc(const struct iommu_fault_page_request *prm)
{
	struct iopf_partial *partial;

	partial = kzalloc(sizeof(*partial), GFP_KERNEL);
	if (!partial)
		return NULL;

	INIT_LIST_HEAD(&partial->faults);
	partial->grpid = prm->grpid;
	partial->pasid = prm->pasid;
	partial->pasid_valid = iopf_has_pasid(prm);
	return partial;
}

/*
 * Keep a request that is not the last of its group. @iopf is NULL to mark the
 * group as malformed, else it is consumed on success.
 */
static int iopf_partial_add(struct iommu_fault_param *param,
			    const struct iommu_fault_page_request *prm,
			    struct iopf_fault *iopf)
{
	struct iopf_partial *partial, *fresh;
	int ret = 0;

	fresh = iopf_partial_alloc(prm);
	if (!fresh)
		return -ENOMEM;

	mutex_lock(&param->lock);
	partial = iopf_partial_find(param, prm);
	if (param->nr_partial >= IOPF_MAX_PARTIAL && (iopf || !partial)) {
		ret = -ENOSPC;
		goto out_unlock;
	}
	if (!partial) {
		partial = fresh;
		fresh = NULL;
		list_add_tail(&partial->node, &param->partial);
	}

	if (!iopf) {
		partial->malformed = true;
		iopf_partial_free_faults(partial);
		iopf_partial_charge(param, partial, 1);
	} else if (partial->malformed) {
		/* Will not be delivered, so its pages are of no interest. */
		kfree(iopf);
	} else {
		list_add_tail(&iopf->list, &partial->faults);
		iopf_partial_charge(param, partial, partial->charge + 1);
	}
out_unlock:
	mutex_unlock(&param->lock);
	kfree(fresh);
	return ret;
}

static int iopf_report_partial(struct iommu_fault_param *param,
			       const struct iommu_fault *fault)
{
	struct iopf_fault *iopf;
	int ret;

	iopf = kzalloc(sizeof(*iopf), GFP_KERNEL);
	if (!iopf)
		return -ENOMEM;
	iopf->fault = *fault;

	ret = iopf_partial_add(param, &fault->prm, iopf);
	if (ret)
		kfree(iopf);
	return ret;
}

/* Forget all partial requests of a PASID, IOPF_ANY_PASID for every one. */
void iopf_partial_discard(struct iommu_fault_param *param, ioasid_t pasid)
{
	struct iopf_partial *partial, *next;
	unsigned int discarded = 0;

	mutex_lock(&param->lock);
	list_for_each_entry_safe(partial, next, &param->partial, node) {
		ioasid_t owner = partial->pasid_valid ? partial->pasid :
							IOMMU_NO_PASID;

		if (pasid != IOPF_ANY_PASID && pasid != owner)
			continue;
		discarded += partial->charge;
		list_del(&partial->node);
		iopf_partial_charge(param, partial, 0);
		iopf_partial_free(partial);
	}
	mutex_unlock(&param->lock);

	if (discarded)
		trace_iopf_discard(param->dev, pasid, discarded);
}

/* Answer a group unless somebody has done so before. */
void iopf_respond(struct iopf_group *group, enum iommu_page_response_code code)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_fault *last = &group->last_fault;
	struct iommu_page_response resp = {
		.pasid = last->fault.prm.pasid,
		.grpid = last->fault.prm.grpid,
		.code = code,
	};

	lockdep_assert_held(&param->lock);

	/* After an answer from iopf_param_shutdown() the device may be gone. */
	if (list_empty(&group->pending_node))
		return;
	list_del_init(&group->pending_node);

	trace_iopf_respond(param->dev, &last->fault.prm, code, false);
	dev_iommu_ops(param->dev)->page_response(param->dev, last, &resp);
	wake_up_all(&param->settled);
}

static struct iopf_group *iopf_group_alloc(struct iommu_fault_param *param,
					   const struct iommu_fault *fault,
					   struct iommu_attach_handle *handle)
{
	struct iopf_group *group;

	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return NULL;

	refcount_inc(&param->users);
	group->fault_param = param;
	group->attach_handle = handle;
	group->last_fault.fault = *fault;
	INIT_LIST_HEAD(&group->faults);
	INIT_LIST_HEAD(&group->node);
	list_add(&group->last_fault.list, &group->faults);
	group->fault_count = 1;
	return group;
}

/* Give the group the earlier requests and make it known as unanswered. */
static void iopf_group_open(struct iopf_group *group,
			    struct iopf_partial *partial)
{
	struct iommu_fault_param *param = group->fault_param;

	if (partial) {
		list_splice_init(&partial->faults, &group->faults);
		group->fault_count = list_count_nodes(&group->faults);
	}

	mutex_lock(&param->lock);
	list_add_tail(&group->pending_node, &param->faults);
	mutex_unlock(&param->lock);
}

static void iopf_group_deliver(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	int ret;

	trace_iopf_deliver(param->dev, &group->last_fault.fault.prm,
			   group->fault_count);

	/*
	 * On success the handler must call iopf_group_response() and
	 * iopf_free_group(), possibly before it returns.
	 */
	ret = group->attach_handle->domain->iopf_handler(group);
	if (!ret)
		return;

	iopf_group_response(group, ret == -ENOMEM ? IOMMU_PAGE_RESP_SUCCESS :
						    IOMMU_PAGE_RESP_INVALID);
	iopf_free_group(group);
}

static int iopf_report_last(struct iommu_fault_param *param,
			    struct iopf_fault *evt,
			    struct iommu_attach_handle *handle)
{
	struct iopf_partial *partial;
	struct iopf_group *group;
	int ret = 0;

	partial = iopf_partial_take(param, &evt->fault.prm);
	if (!handle || (partial && partial->malformed)) {
		iopf_respond_orphan(param->dev, evt, IOMMU_PAGE_RESP_INVALID);
		ret = -EINVAL;
		goto out_free;
	}

	group = iopf_group_alloc(param, &evt->fault, handle);
	if (!group) {
		/* Let the device try again, see the top of this file. */
		iopf_respond_orphan(param->dev, evt, IOMMU_PAGE_RESP_SUCCESS);
		ret = -ENOMEM;
		goto out_free;
	}

	iopf_group_open(group, partial);
	iopf_group_deliver(group);
out_free:
	iopf_partial_free(partial);
	return ret;
}

/**
 * iopf_report() - Take in one page request of a device
 * @param: fault data of the device, the caller holds a reference
 * @evt: the request; copied
 * @handle: attachment the request belongs to, NULL if nobody handles it
 *
 * The caller holds the report lock and must have looked up @handle under it.
 * When this fails, and the request is the last of its group, the request has
 * been answered.
 *
 * Return: 0 on success, -EINVAL if there is no handler or the group is
 * malformed, -ENODEV if the device left its queue, -ENOMEM, or -ENOSPC if too
 * many requests wait for the last of their group.
 */
int iopf_report(struct iommu_fault_param *param, struct iopf_fault *evt,
		struct iommu_attach_handle *handle)
{
	int ret;

	lockdep_assert_held(&param->report_lock);

	if (param->dead)
		return iopf_report_orphan(param->dev, evt);

	trace_iopf_report(param->dev, &evt->fault.prm);
	if (iopf_is_last(&evt->fault.prm))
		return iopf_report_last(param, evt, handle);
	if (!handle)
		return -EINVAL;

	ret = iopf_report_partial(param, &evt->fault);
	if (ret)
		trace_iopf_discard(param->dev, evt->fault.prm.pasid, 1);
	return ret;
}

/**
 * iopf_report_orphan() - Refuse a page request of a device that is on no queue
 * @dev: the device
 * @evt: the request
 *
 * A request may have been on its way when the device was removed from its
 * queue; and nothing keeps a device from sending what it may not.
 *
 * Return: -ENODEV
 */
int iopf_report_orphan(struct device *dev, struct iopf_fault *evt)
{
	if (iopf_is_last(&evt->fault.prm))
		iopf_respond_orphan(dev, evt, IOMMU_PAGE_RESP_INVALID);
	return -ENODEV;
}

/**
 * iopf_report_malformed() - Report a page request that must not be granted
 * @dev: the device
 * @evt: the request; group index, PASID and flags are valid
 *
 * For requests which the IOMMU driver found to violate the rules, or to ask for
 * what the driver does not support. A last request is answered as invalid at
 * once. Any other turns its group into one that will be answered as invalid
 * with its last request.
 *
 * Context: may sleep, called where iommu_report_device_fault() is called.
 */
void iopf_report_malformed(struct device *dev, struct iopf_fault *evt)
{
	struct iommu_fault_page_request *prm = &evt->fault.prm;
	struct iommu_fault_param *param;

	param = iopf_get_dev_fault_param(dev);
	if (!param) {
		iopf_report_orphan(dev, evt);
		return;
	}

	mutex_lock(&param->report_lock);
	trace_iopf_report(dev, prm);
	if (param->dead)
		iopf_report_orphan(dev, evt);
	else if (iopf_is_last(prm))
		iopf_report_last(param, evt, NULL);
	else if (iopf_partial_add(param, prm, NULL))
		trace_iopf_discard(dev, prm->pasid, 1);
	mutex_unlock(&param->report_lock);
	iopf_put_dev_fault_param(param);
}
EXPORT_SYMBOL_GPL(iopf_report_malformed);

/* Initialize the part of the fault data that this file looks after. */
void iopf_param_init(struct iommu_fault_param *param, struct device *dev)
{
	mutex_init(&param->lock);
	mutex_init(&param->report_lock);
	init_waitqueue_head(&param->settled);
	INIT_LIST_HEAD(&param->faults);
	INIT_LIST_HEAD(&param->partial);
	param->dev = dev;
	refcount_set(&param->users, 1);
}

/* The caller holds the report lock, no group can be opened. */
static void iopf_param_answer_all(struct iommu_fault_param *param)
{
	struct iopf_group *group, *next;

	lockdep_assert_held(&param->report_lock);

	iopf_partial_discard(param, IOPF_ANY_PASID);

	mutex_lock(&param->lock);
	list_for_each_entry_safe(group, next, &param->faults, pending_node)
		iopf_respond(group, IOMMU_PAGE_RESP_INVALID);
	mutex_unlock(&param->lock);
}

/**
 * iopf_param_abort() - Answer all that is open
 * @param: fault data of the device
 *
 * Every unanswered group is answered as invalid. Its handler still owns it and
 * frees it; an answer that comes later is ignored and does not touch the
 * device.
 */
void iopf_param_abort(struct iommu_fault_param *param)
{
	mutex_lock(&param->report_lock);
	iopf_param_answer_all(param);
	mutex_unlock(&param->report_lock);
}

/**
 * iopf_param_shutdown() - Answer all that is open, and from now on everything
 * @param: fault data of the device
 *
 * For a device that leaves its queue. When this returns nothing refers to the
 * device by @param any more.
 */
void iopf_param_shutdown(struct iommu_fault_param *param)
{
	mutex_lock(&param->report_lock);
	param->dead = true;
	iopf_param_answer_all(param);
	mutex_unlock(&param->report_lock);
}

/* Is a handler in the kernel still at work on a group of this attachment? */
static bool iopf_handler_busy(struct iommu_fault_param *param,
			      struct iommu_attach_handle *handle)
{
	struct iopf_group *group;
	bool busy = false;

	mutex_lock(&param->lock);
	list_for_each_entry(group, &param->faults, pending_node) {
		if (group->attach_handle == handle && !group->dequeued) {
			busy = true;
			break;
		}
	}
	mutex_unlock(&param->lock);
	return busy;
}

/**
 * iopf_dev_sync() - Wait until an attach handle is no longer in use
 * @dev: the device
 * @pasid: PASID the handle was attached to, IOMMU_NO_PASID for the RID
 * @handle: the handle, which must be out of reach of new page requests
 *
 * When this returns no report in flight uses @handle any more, and no handler
 * which answers by itself (SVA). Groups that their handler has dequeued, to
 * answer them whenever it likes, are not waited for: their owner must look for
 * them now and answer them.
 *
 * Context: may sleep. Must not be called from a page fault handler.
 */
void iopf_dev_sync(struct device *dev, ioasid_t pasid,
		   struct iommu_attach_handle *handle)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct iommu_fault_param *param;

	if (!handle)
		return;

	param = iopf_get_dev_fault_param(dev);
	if (!param)
		return;

	mutex_lock(&param->report_lock);
	iopf_partial_discard(param, pasid);
	mutex_unlock(&param->report_lock);

	add_wait_queue(&param->settled, &wait);
	while (iopf_handler_busy(param, handle))
		wait_woken(&wait, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	remove_wait_queue(&param->settled, &wait);
	iopf_put_dev_fault_param(param);
}

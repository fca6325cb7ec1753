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
 *   does by itself when its queue overflows: the device tries again. The answer
 *   comes a little later, else the device would do so without pause. Response
 *   Failure would stop the device's page request interface for good.
 * - A group belongs to its handler until the handler frees it, whoever answered
 *   it. Until then it counts as one of the IOPF_MAX_GROUPS its device may have,
 *   and its attach handle is in use, unless the handler has dequeued it.
 *
 * Locks, outer to inner:
 *
 * iommu_fault_param::report_lock - one report at a time, held while the handler
 *	of the domain runs. Taking it once after an attach handle became
 *	unreachable is the barrier that lets the handle be freed.
 * iommu_fault_param::lock - the lists of partial requests and unanswered groups.
 *
 * Several groups can be answered at once, which is one submission to the
 * hardware. Their devices stay on their queues for that without a lock:
 * iommu_fault_param::answering is not 0 then.
 */
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>

#include "iopf-core.h"
#include "iopf-stat.h"
#include "iommu-priv.h"

#define CREATE_TRACE_POINTS
#include <trace/events/iopf.h>

/*
 * The requests of one group seen so far, without its last. A device that wants
 * its PASID back in answers may use one index for different PASIDs, and for
 * requests without one, at the same time. For any other device the index alone
 * makes the group, since nothing else is in the answer.
 */
struct iopf_partial {
	struct list_head node;		/* in iommu_fault_param::partial */
	struct list_head faults;	/* in order of arrival, in chunks */
	struct iopf_chunk *chunk;	/* the last of them, NULL if there is none */
	/* What this costs of IOPF_MAX_PARTIAL: requests kept, at least 1 */
	unsigned int charge;
	bool malformed;
	bool pasid_valid;
	bool needs_pasid;
	u32 pasid;
	u32 grpid;
};

/*
 * Requests that are not the last of a group are kept in pieces of memory of which
 * most groups need one, and large ones few. They are on a list of the group in the
 * order in which they came, so those of one chunk follow each other.
 */
struct iopf_chunk {
	unsigned int nr;
	unsigned int room;
	struct iopf_fault fault[] __counted_by(room);
};

/* So many fit into the first chunk of a group, and into the others. */
#define IOPF_CHUNK_FIRST	7
#define IOPF_CHUNK_MORE		31

static bool iopf_has_pasid(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
}

static bool iopf_is_last(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
}

static bool iopf_needs_pasid(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
}

static void iopf_submit_one(const struct iommu_ops *ops,
			    const struct iopf_response *answer)
{
	struct iopf_fault evt = { .fault.prm = *answer->prm };
	struct iommu_page_response resp = {
		.pasid = answer->prm->pasid,
		.grpid = answer->prm->grpid,
		.code = answer->code,
	};

	ops->page_response(answer->dev, &evt, &resp);
}

/*
 * Give answers to the IOMMU driver, in order, and those that go to one IOMMU
 * without another's between them in one go. The devices are on their queues.
 */
static void iopf_submit(const struct iopf_response *answers, unsigned int nr)
{
	const struct iommu_ops *ops;
	struct iommu_device *iommu;
	unsigned int first, end;

	for (first = 0; first < nr; first = end) {
		iommu = answers[first].dev->iommu->iommu_dev;
		ops = dev_iommu_ops(answers[first].dev);
		end = first + 1;
		if (!ops->page_response_batch) {
			iopf_submit_one(ops, &answers[first]);
			continue;
		}
		while (end < nr && answers[end].dev->iommu->iommu_dev == iommu)
			end++;
		ops->page_response_batch(&answers[first], end - first);
	}
}

/* Answer a request for which there is no group. */
static void iopf_respond_orphan(struct device *dev, struct iopf_fault *evt,
				enum iommu_page_response_code code)
{
	struct iopf_response answer = {
		.dev = dev,
		.prm = &evt->fault.prm,
		.code = code,
	};

	trace_iopf_respond(dev, &evt->fault.prm, code, true);
	iopf_submit(&answer, 1);
}

static void iopf_count(struct iommu_fault_param *param,
		       enum iopf_stat_counter what)
{
	mutex_lock(&param->lock);
	iopf_stat_count(param, what, 1);
	mutex_unlock(&param->lock);
}

/* Answer a last request that no handler will see. */
static void iopf_refuse(struct iommu_fault_param *param, struct iopf_fault *evt,
			enum iommu_page_response_code code)
{
	mutex_lock(&param->lock);
	iopf_stat_count(param, IOPF_STAT_REFUSED, 1);
	iopf_stat_answer(param, code);
	mutex_unlock(&param->lock);
	iopf_respond_orphan(param->dev, evt, code);
}

/* Forget a request. */
static void iopf_drop(struct iommu_fault_param *param,
		      const struct iommu_fault_page_request *prm)
{
	iopf_count(param, IOPF_STAT_DROPPED);
	trace_iopf_discard(param->dev, prm->pasid, 1);
}

/* Answer the requests that wait for their answer since there was no memory. */
static void iopf_backoff_answer(struct iommu_fault_param *param,
				enum iommu_page_response_code code)
{
	struct iopf_backoff *backoff = &param->backoff;
	struct iopf_response answer = { .dev = param->dev, .code = code };
	unsigned int i;

	lockdep_assert_held(&param->lock);

	for (i = 0; i < backoff->nr; i++) {
		answer.prm = &backoff->prm[i];
		trace_iopf_respond(param->dev, answer.prm, code, true);
		iopf_stat_answer(param, code);
		iopf_submit(&answer, 1);
	}
	backoff->nr = 0;
}

static void iopf_backoff_work(struct work_struct *work)
{
	struct iommu_fault_param *param =
		container_of(to_delayed_work(work), struct iommu_fault_param,
			     backoff.work);

	mutex_lock(&param->lock);
	iopf_backoff_answer(param, IOMMU_PAGE_RESP_SUCCESS);
	mutex_unlock(&param->lock);
}

/*
 * Let the device try again, see the top of this file, but not at once. There is
 * no memory to remember more answers than the device's own room is for.
 */
static void iopf_respond_later(struct iommu_fault_param *param,
			       struct iopf_fault *evt)
{
	struct iopf_backoff *backoff = &param->backoff;
	bool full;

	lockdep_assert_held(&param->report_lock);

	mutex_lock(&param->lock);
	full = backoff->nr == IOPF_MAX_BACKOFF;
	if (!full) {
		backoff->prm[backoff->nr++] = evt->fault.prm;
		/* Does nothing if the work is scheduled already. */
		schedule_delayed_work(&backoff->work, backoff->delay);
	} else {
		iopf_stat_answer(param, IOMMU_PAGE_RESP_SUCCESS);
	}
	mutex_unlock(&param->lock);
	if (full)
		iopf_respond_orphan(param->dev, evt, IOMMU_PAGE_RESP_SUCCESS);
}

/* Free the requests of a list, but for a last one, which is in its group. */
static void iopf_chunks_free(struct list_head *faults)
{
	struct iopf_chunk *chunk;
	struct iopf_fault *first;
	LIST_HEAD(gone);

	while (!list_empty(faults)) {
		first = list_first_entry(faults, struct iopf_fault, list);
		if (iopf_is_last(&first->fault.prm))
			break;
		chunk = container_of(first, struct iopf_chunk, fault[0]);
		list_cut_position(&gone, faults,
				  &chunk->fault[chunk->nr - 1].list);
		kfree(chunk);
	}
}

static void iopf_partial_free_faults(struct iopf_partial *partial)
{
	iopf_chunks_free(&partial->faults);
	partial->chunk = NULL;
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

/* One group is for one PASID, or for none. */
static bool iopf_partial_fits(const struct iopf_partial *partial,
			      const struct iommu_fault_page_request *prm)
{
	return partial->pasid_valid == iopf_has_pasid(prm) &&
	       (!partial->pasid_valid || partial->pasid == prm->pasid);
}

static struct iopf_partial *
iopf_partial_find(struct iommu_fault_param *param,
		  const struct iommu_fault_page_request *prm)
{
	struct iopf_partial *partial;

	lockdep_assert_held(&param->lock);

	list_for_each_entry(partial, &param->partial, node) {
		if (partial->grpid == prm->grpid &&
		    ((!partial->needs_pasid && !iopf_needs_pasid(prm)) ||
		     iopf_partial_fits(partial, prm)))
			return partial;
	}
	return NULL;
}

static void iopf_partial_set_malformed(struct iommu_fault_param *param,
				       struct iopf_partial *partial)
{
	partial->malformed = true;
	/* The group will not be delivered: its requests are not needed. */
	iopf_partial_free_faults(partial);
	iopf_partial_charge(param, partial, 1);
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
		if (!iopf_partial_fits(partial, prm))
			iopf_partial_set_malformed(param, partial);
		list_del(&partial->node);
		param->nr_partial -= partial->charge;
	}
	mutex_unlock(&param->lock);

	return partial;
}

/* Handlers may have taken groups, and be slow: what is in these counts, too. */
static bool iopf_partial_has_room(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->lock);

	return param->nr_partial < IOPF_MAX_PARTIAL &&
	       param->nr_partial + param->nr_kept < IOPF_MAX_REQUESTS;
}

/*
 * Memory for what a device asks for. If the handler's owner is known it is charged
 * for it, and when it has no more, none is looked for: other devices wait for their
 * requests to be reported.
 */
static void *iopf_alloc(const struct iommu_attach_handle *handle, size_t size,
			gfp_t flags)
{
	struct mem_cgroup *old;
	void *mem;

	if (!handle || !handle->memcg)
		return kmalloc(size, GFP_KERNEL | flags);

	old = set_active_memcg(handle->memcg);
	mem = kmalloc(size, GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT | flags);
	set_active_memcg(old);
	return mem;
}

/* Looks up the attachment that a request belongs to. */
typedef struct iommu_attach_handle *(*iopf_find_t)(struct device *dev,
						    struct iopf_fault *evt);

/*
 * The partial group a request belongs to, a new one if there is none. @find is
 * NULL for a malformed request, which needs no attachment.
 */
static struct iopf_partial *
iopf_partial_get(struct iommu_fault_param *param, struct iopf_fault *evt,
		 iopf_find_t find)
{
	const struct iommu_fault_page_request *prm = &evt->fault.prm;
	struct iommu_attach_handle *handle = NULL;
	struct iopf_partial *partial;

	lockdep_assert_held(&param->lock);

	partial = iopf_partial_find(param, prm);
	if (partial)
		return partial;
	if (find) {
		handle = find(param->dev, evt);
		if (!handle)
			return ERR_PTR(-EINVAL);
	}
	if (!iopf_partial_has_room(param))
		return ERR_PTR(-ENOSPC);

	partial = iopf_alloc(handle, sizeof(*partial), __GFP_ZERO);
	if (!partial)
		return ERR_PTR(-ENOMEM);

	INIT_LIST_HEAD(&partial->faults);
	partial->grpid = prm->grpid;
	partial->pasid = prm->pasid;
	partial->pasid_valid = iopf_has_pasid(prm);
	partial->needs_pasid = iopf_needs_pasid(prm);
	list_add_tail(&partial->node, &param->partial);
	return partial;
}

/* Room for another request of a group, in its last chunk or in a new one. */
static struct iopf_chunk *
iopf_partial_chunk(struct iommu_fault_param *param, struct iopf_partial *partial,
		   struct iopf_fault *evt, iopf_find_t find)
{
	struct iopf_chunk *chunk = partial->chunk;
	struct iommu_attach_handle *handle;
	unsigned int room;

	if (chunk && chunk->nr < chunk->room)
		return chunk;

	handle = find(param->dev, evt);
	if (!handle)
		return ERR_PTR(-EINVAL);
	room = chunk ? IOPF_CHUNK_MORE : IOPF_CHUNK_FIRST;
	chunk = iopf_alloc(handle, struct_size(chunk, fault, room), 0);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	chunk->nr = 0;
	chunk->room = room;
	partial->chunk = chunk;
	return chunk;
}

static int iopf_partial_keep(struct iommu_fault_param *param,
			     struct iopf_partial *partial,
			     struct iopf_fault *evt, iopf_find_t find)
{
	struct iopf_fault *iopf;
	struct iopf_chunk *chunk;

	chunk = iopf_partial_chunk(param, partial, evt, find);
	if (IS_ERR(chunk)) {
		/* Without a request it would not count. */
		if (!partial->charge) {
			list_del(&partial->node);
			iopf_partial_free(partial);
		}
		return PTR_ERR(chunk);
	}

	iopf = &chunk->fault[chunk->nr++];
	iopf->fault = evt->fault;
	list_add_tail(&iopf->list, &partial->faults);
	iopf_partial_charge(param, partial, partial->charge + 1);
	return 0;
}

/*
 * Keep a request that is not the last of its group; copied. The attachment is only
 * looked up where memory is needed: none has gone since the group began, or
 * iopf_dev_sync() would have discarded it. @find is NULL for a malformed request,
 * which makes its group malformed.
 */
static int iopf_partial_add(struct iommu_fault_param *param,
			    struct iopf_fault *evt, iopf_find_t find)
{
	struct iopf_partial *partial;
	int ret = 0;

	mutex_lock(&param->lock);
	partial = iopf_partial_get(param, evt, find);
	if (IS_ERR(partial))
		ret = PTR_ERR(partial);
	else if (!find || partial->malformed ||
		 !iopf_partial_fits(partial, &evt->fault.prm))
		iopf_partial_set_malformed(param, partial);
	else if (!iopf_partial_has_room(param))
		ret = -ENOSPC;
	else
		ret = iopf_partial_keep(param, partial, evt, find);
	mutex_unlock(&param->lock);
	return ret;
}

/* Forget all partial requests of a PASID, IOPF_ANY_PASID for every one. */
void iopf_partial_discard(struct iommu_fault_param *param, ioasid_t pasid)
{
	struct iopf_partial *partial, *next;
	unsigned int discarded = 0;

	mutex_lock(&param->lock);
	list_for_each_entry_safe(partial, next, &param->partial, node) {
		if (!iopf_pasid_match(partial->pasid_valid, partial->pasid,
				      pasid))
			continue;
		discarded += partial->charge;
		list_del(&partial->node);
		iopf_partial_charge(param, partial, 0);
		iopf_partial_free(partial);
	}
	iopf_stat_count(param, IOPF_STAT_DROPPED, discarded);
	mutex_unlock(&param->lock);

	if (discarded)
		trace_iopf_discard(param->dev, pasid, discarded);
}

/**
 * iopf_queue_overflow() - Requests were lost, for want of room in the queue
 * @queue: the queue the requests would have come through
 *
 * The hardware has answered the last requests of groups that it lost. What has
 * come of such groups before is dropped. The devices ask again.
 *
 * Context: may sleep. No request of a device on @queue is being reported.
 */
void iopf_queue_overflow(struct iopf_queue *queue)
{
	struct iommu_fault_param *param;

	mutex_lock(&queue->lock);
	queue->overflows++;
	list_for_each_entry(param, &queue->devices, queue_list)
		iopf_partial_discard(param, IOPF_ANY_PASID);
	trace_iopf_overflow(queue->overflows);
	mutex_unlock(&queue->lock);
}
EXPORT_SYMBOL_GPL(iopf_queue_overflow);

/* A handler is done with an attach handle, which may be freed after this. */
static void iopf_handle_put(struct iommu_attach_handle *handle)
{
	atomic_t *busy = &handle->iopf_busy;

	if (atomic_dec_and_test(busy))
		wake_up_var(busy);
}

/* For iopf_answer_begin(): the answer is counted when it is sent. */
#define IOPF_ANSWER_LATER	(-1)

/* The group does not count as unanswered any more, @now in nanoseconds. */
static void iopf_answer_count(struct iopf_group *group, int code, u64 now)
{
	struct iommu_fault_param *param = group->fault_param;

	lockdep_assert_held(&param->lock);

	list_del_init(&group->pending_node);
	if (code == IOPF_ANSWER_LATER)
		return;
	iopf_stat_answer(param, code);
	/* One that came while others were answered has taken no time. */
	iopf_stat_latency(param, now > group->opened ? now - group->opened : 0);
}

/* May the caller answer? If so the device stays until iopf_answer_end(). */
static bool iopf_answer_begin(struct iopf_group *group, int code, u64 now)
{
	struct iommu_fault_param *param = group->fault_param;
	bool unanswered;

	mutex_lock(&param->lock);
	unanswered = !list_empty(&group->pending_node);
	if (unanswered) {
		iopf_answer_count(group, code, now);
		atomic_inc(&param->answering);
	}
	mutex_unlock(&param->lock);
	return unanswered;
}

static void iopf_answer_end(struct iommu_fault_param *param)
{
	if (atomic_dec_and_test(&param->answering))
		wake_up_all(&param->settled);
}

static void iopf_answer(struct iopf_response *answer, struct iopf_group *group,
			enum iommu_page_response_code code)
{
	answer->dev = group->fault_param->dev;
	answer->prm = &group->last_fault.fault.prm;
	answer->code = code;
	trace_iopf_respond(answer->dev, answer->prm, code, false);
}

/**
 * iopf_respond() - Answer a group, unless somebody has done so before
 * @group: the group, owned by the caller
 * @code: the answer
 *
 * Context: may sleep.
 */
void iopf_respond(struct iopf_group *group, enum iommu_page_response_code code)
{
	struct iopf_response answer;

	/* After an answer from iopf_param_shutdown() the device may be gone. */
	if (!iopf_answer_begin(group, code, ktime_get_ns()))
		return;
	iopf_answer(&answer, group, code);
	iopf_submit(&answer, 1);
	iopf_answer_end(group->fault_param);
}

/**
 * iopf_batch_flush() - Send the answers of a batch and free its groups
 * @batch: the batch, empty after that
 *
 * Answers to devices behind one IOMMU, which follow each other, cost one
 * submission and one wait if the driver has the operation for it.
 *
 * Context: may sleep.
 */
void iopf_batch_flush(struct iopf_batch *batch)
{
	struct iopf_response answers[IOPF_BATCH_SIZE];
	struct iopf_group *group;
	u64 now = ktime_get_ns();
	unsigned int i, nr = 0;
	u32 begun = 0;

	if (!batch->nr)
		return;

	for (i = 0; i < batch->nr; i++) {
		group = batch->group[i];
		if (!iopf_answer_begin(group, batch->code[i], now))
			continue;
		begun |= BIT(i);
		iopf_answer(&answers[nr++], group, batch->code[i]);
	}

	iopf_submit(answers, nr);

	for (i = 0; i < batch->nr; i++) {
		group = batch->group[i];
		if (begun & BIT(i))
			iopf_answer_end(group->fault_param);
		iopf_group_release(group);
		iopf_put_dev_fault_param(group->fault_param);
	}
	/* As iopf_free_group() does, but for all of them */
	kfree_bulk(batch->nr, (void **)batch->group);
	batch->nr = 0;
}
EXPORT_SYMBOL_GPL(iopf_batch_flush);

/**
 * iopf_batch_add() - Answer a group and free it, together with others
 * @batch: the batch, zeroed before the first use
 * @group: the group, which belongs to @batch now
 * @code: the answer. Ignored if the group has been answered already
 *
 * Nothing is sent before the batch is full or iopf_batch_flush() is called.
 *
 * Context: may sleep.
 */
void iopf_batch_add(struct iopf_batch *batch, struct iopf_group *group,
		    enum iommu_page_response_code code)
{
	static_assert(IOPF_BATCH_SIZE <= 32);

	if (batch->nr == IOPF_BATCH_SIZE)
		iopf_batch_flush(batch);
	batch->group[batch->nr] = group;
	batch->code[batch->nr] = code;
	batch->nr++;
}
EXPORT_SYMBOL_GPL(iopf_batch_add);

static struct iopf_group *iopf_group_alloc(struct iommu_fault_param *param,
					   const struct iommu_fault *fault,
					   struct iommu_attach_handle *handle)
{
	struct iopf_group *group;

	group = iopf_alloc(handle, sizeof(*group), __GFP_ZERO);
	if (!group)
		return NULL;

	refcount_inc(&param->users);
	atomic_inc(&handle->iopf_busy);
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
		group->fault_count += partial->charge;
		list_splice_init(&partial->faults, &group->faults);
	}

	group->opened = ktime_get_ns();
	mutex_lock(&param->lock);
	list_add_tail(&group->pending_node, &param->faults);
	param->nr_groups++;
	param->nr_kept += group->fault_count - 1;
	iopf_stat_count(param, IOPF_STAT_GROUPS, 1);
	mutex_unlock(&param->lock);
}

/**
 * iopf_group_keep() - A handler will take its time with a group
 * @group: the group
 *
 * See iopf_group_dequeue().
 */
void iopf_group_keep(struct iopf_group *group)
{
	if (group->dequeued)
		return;
	group->dequeued = true;
	iopf_handle_put(group->attach_handle);
}

/**
 * iopf_group_read() - User space has read a group, for who traces it
 * @group: the group, owned by the caller, of a device that is still attached
 *
 * Context: any.
 */
void iopf_group_read(struct iopf_group *group)
{
	trace_iopf_read(group->fault_param->dev, &group->last_fault.fault.prm,
			group->fault_count);
}
EXPORT_SYMBOL_GPL(iopf_group_read);

/**
 * iopf_group_timed_out() - User space did not answer a group in time
 * @group: the group, owned by the caller, who answers it now
 *
 * Context: may sleep.
 */
void iopf_group_timed_out(struct iopf_group *group)
{
	iopf_count(group->fault_param, IOPF_STAT_TIMED_OUT);
}
EXPORT_SYMBOL_GPL(iopf_group_timed_out);

/**
 * iopf_group_release() - The owner of a group is done with it
 * @group: the group, about to be freed
 *
 * A group that is unanswered is answered as invalid.
 */
void iopf_group_release(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;

	if (WARN_ON_ONCE(!list_empty(&group->pending_node)))
		iopf_respond(group, IOMMU_PAGE_RESP_INVALID);

	mutex_lock(&param->lock);
	param->nr_groups--;
	param->nr_kept -= group->fault_count - 1;
	mutex_unlock(&param->lock);
	iopf_chunks_free(&group->faults);
	iopf_group_keep(group);
}

static void iopf_group_deliver(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_fault *last = &group->last_fault;
	int ret;

	trace_iopf_deliver(param->dev, &last->fault.prm, group->fault_count);

	/*
	 * On success the handler must call iopf_group_response() and
	 * iopf_free_group(), possibly before it returns.
	 */
	ret = group->attach_handle->domain->iopf_handler(group);
	if (!ret)
		return;

	if (ret == -ENOSPC)
		iopf_count(param, IOPF_STAT_LOST);
	if (ret == -ENOMEM && iopf_answer_begin(group, IOPF_ANSWER_LATER, 0)) {
		iopf_respond_later(param, last);
		iopf_answer_end(param);
	}
	iopf_respond(group, IOMMU_PAGE_RESP_INVALID);
	iopf_free_group(group);
}

static bool iopf_has_room(struct iommu_fault_param *param)
{
	bool room;

	mutex_lock(&param->lock);
	room = param->nr_groups < IOPF_MAX_GROUPS;
	mutex_unlock(&param->lock);
	return room;
}

static int iopf_report_last(struct iommu_fault_param *param,
			    struct iopf_fault *evt,
			    struct iommu_attach_handle *handle)
{
	struct iopf_partial *partial;
	struct iopf_group *group;
	int ret = 0;

	partial = iopf_partial_take(param, &evt->fault.prm);
	if (!handle || (partial && partial->malformed))
		ret = -EINVAL;
	else if (!iopf_has_room(param))
		ret = -ENOSPC;
	if (ret) {
		iopf_refuse(param, evt, IOMMU_PAGE_RESP_INVALID);
		goto out_free;
	}

	group = iopf_group_alloc(param, &evt->fault, handle);
	if (!group) {
		iopf_count(param, IOPF_STAT_REFUSED);
		iopf_respond_later(param, evt);
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
 * @find: looks up the attachment that the request belongs to, NULL if nobody
 *        handles it
 *
 * The caller holds the report lock. The attachment is looked up under it, and
 * not at all once the device has left its queue: iopf_dev_sync() cannot wait for
 * the lock then, and the attachment may be freed any time.
 *
 * When this fails, and the request is the last of its group, the request has
 * been answered; with -ENOMEM it will be, and with -ESHUTDOWN the device has
 * forgotten it.
 *
 * Return: 0 on success, -EINVAL if there is no handler or the group is
 * malformed, -ENODEV if the device left its queue, -ESHUTDOWN if it is being
 * reset, -ENOMEM, or -ENOSPC if too many requests wait for the last of their
 * group, or too many groups for their handler.
 */
int iopf_report(struct iommu_fault_param *param, struct iopf_fault *evt,
		iopf_find_t find)
{
	int ret;

	lockdep_assert_held(&param->report_lock);

	if (param->dead)
		return iopf_report_orphan(param->dev, evt);

	iopf_stat_request(param);
	trace_iopf_report(param->dev, &evt->fault.prm);
	if (param->fenced) {
		iopf_drop(param, &evt->fault.prm);
		return -ESHUTDOWN;
	}
	if (iopf_is_last(&evt->fault.prm))
		return iopf_report_last(param, evt, find(param->dev, evt));
	ret = iopf_partial_add(param, evt, find);
	if (ret)
		iopf_drop(param, &evt->fault.prm);
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
	if (param->dead) {
		iopf_report_orphan(dev, evt);
		goto out_unlock;
	}

	iopf_stat_request(param);
	trace_iopf_report(dev, prm);
	if (param->fenced)
		iopf_drop(param, prm);
	else if (iopf_is_last(prm))
		iopf_report_last(param, evt, NULL);
	else if (iopf_partial_add(param, evt, NULL))
		iopf_drop(param, prm);
out_unlock:
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
	INIT_DELAYED_WORK(&param->backoff.work, iopf_backoff_work);
	param->backoff.delay = IOPF_BACKOFF_DELAY;
	INIT_LIST_HEAD(&param->faults);
	INIT_LIST_HEAD(&param->partial);
	param->dev = dev;
	refcount_set(&param->users, 1);
}

/*
 * The caller holds the report lock, so no group can be opened. When this
 * returns nobody is about to answer any more.
 */
static void iopf_param_answer_all(struct iommu_fault_param *param)
{
	struct iopf_group *group, *next;
	struct iopf_response answer;
	u64 now = ktime_get_ns();

	lockdep_assert_held(&param->report_lock);

	iopf_partial_discard(param, IOPF_ANY_PASID);

	mutex_lock(&param->lock);
	iopf_backoff_answer(param, IOMMU_PAGE_RESP_INVALID);
	/* Their owners cannot free them while the lock is held. */
	list_for_each_entry_safe(group, next, &param->faults, pending_node) {
		iopf_answer_count(group, IOMMU_PAGE_RESP_INVALID, now);
		iopf_answer(&answer, group, IOMMU_PAGE_RESP_INVALID);
		iopf_submit(&answer, 1);
	}
	mutex_unlock(&param->lock);

	wait_event(param->settled, !atomic_read(&param->answering));
}

/**
 * iopf_param_abort() - Answer all that is open
 * @param: fault data of the device
 * @fence: drop what the device asks for from now on, until
 *         iopf_param_unfence()
 *
 * Every unanswered group is answered as invalid. Its handler still owns it and
 * frees it; an answer that comes later is ignored and does not touch the
 * device.
 */
void iopf_param_abort(struct iommu_fault_param *param, bool fence)
{
	mutex_lock(&param->report_lock);
	if (fence)
		param->fenced = true;
	iopf_param_answer_all(param);
	mutex_unlock(&param->report_lock);
}

/**
 * iopf_dev_abort() - Answer all that a device waits for
 * @dev: the device, whose page requests have been stopped and reported
 *
 * For IOMMU drivers that have to turn page requests off and on again. See
 * iopf_param_abort(). Nothing happens if the device is on no queue.
 *
 * Context: may sleep. Must not be called from a page fault handler.
 */
void iopf_dev_abort(struct device *dev)
{
	struct iommu_fault_param *param;

	param = iopf_get_dev_fault_param(dev);
	if (!param)
		return;
	iopf_param_abort(param, false);
	iopf_put_dev_fault_param(param);
}

/**
 * iopf_param_unfence() - Take requests again
 * @param: fault data of the device
 */
void iopf_param_unfence(struct iommu_fault_param *param)
{
	mutex_lock(&param->report_lock);
	param->fenced = false;
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
	/* It has nothing to answer any more, and is not started again. */
	cancel_delayed_work_sync(&param->backoff.work);
	iopf_stat_leave(param);
}

/**
 * iopf_dev_sync() - Wait until an attach handle is no longer in use
 * @dev: the device
 * @pasid: PASID the handle was attached to, IOMMU_NO_PASID for the RID
 * @handle: the handle, which must be out of reach of new page requests
 *
 * When this returns no report in flight uses @handle any more, and no handler
 * which answers by itself (SVA), whoever answered the group in its place. Groups
 * that their handler has dequeued, to answer them whenever it likes, are not
 * waited for: their owner must look for them now and answer them.
 *
 * Context: may sleep. Must not be called from a page fault handler.
 */
void iopf_dev_sync(struct device *dev, ioasid_t pasid,
		   struct iommu_attach_handle *handle)
{
	struct iommu_fault_param *param;

	if (!handle)
		return;

	/* Requests of all PASIDs come to the RID's domain then. */
	if (pasid == IOMMU_NO_PASID && dev_iommu_ops(dev)->user_pasid_table &&
	    handle->domain->type == IOMMU_DOMAIN_NESTED)
		pasid = IOPF_ANY_PASID;

	/* A device that is on no queue may still have groups with the handler. */
	param = iopf_get_dev_fault_param(dev);
	if (param) {
		mutex_lock(&param->report_lock);
		iopf_partial_discard(param, pasid);
		mutex_unlock(&param->report_lock);
		iopf_put_dev_fault_param(param);
	}

	wait_var_event(&handle->iopf_busy, !atomic_read(&handle->iopf_busy));
}

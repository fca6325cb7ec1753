// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault queues of iommufd: who asked, who reads, who answers
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A group is on iommufd_fault::deliver until it is read and in
 * iommufd_fault::response until it is answered. Whoever takes it from there
 * answers it: the writer, a device or page table that goes, the timer, or the
 * last close of the file.
 *
 * Locks, outer to inner:
 *
 * iommufd_fault::read_mutex - one reader at a time. Held while user memory is
 *	accessed, which may take for ever; nobody else takes it.
 * iommufd_fault::mutex - held to take groups out of either place.
 * iommufd_fault::lock - the list, the limits and the counters.
 * iommufd_group::fault_lock - the devices that may ask.
 *
 * The IOMMU core calls the handler with a lock held for which detach waits. So
 * it must not take any mutex of iommufd.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/fs.h>
#include <linux/iommufd.h>
#include <linux/memcontrol.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"

#define MSG_SIZE	sizeof(struct iommu_hwpt_pgfault)
#define RESP_SIZE	sizeof(struct iommu_hwpt_page_response)

/**
 * iommufd_fault_add_device() - The faults of a device can be told from now on
 * @idev: the device, which is about to be attached
 */
void iommufd_fault_add_device(struct iommufd_device *idev)
{
	struct iommufd_group *igroup = idev->igroup;

	lockdep_assert_held(&igroup->lock);

	spin_lock(&igroup->fault_lock);
	list_add_tail(&idev->fault_item, &igroup->fault_list);
	spin_unlock(&igroup->fault_lock);
}

/* 0 if the device is not one that user space has attached. */
static u32 fault_device_id(struct iommufd_group *igroup, struct device *dev)
{
	struct iommufd_device *idev;
	u32 id = 0;

	spin_lock(&igroup->fault_lock);
	list_for_each_entry(idev, &igroup->fault_list, fault_item) {
		if (idev->dev == dev) {
			id = idev->obj.id;
			break;
		}
	}
	spin_unlock(&igroup->fault_lock);
	return id;
}

static bool fault_expired(const struct iommufd_fault *fault,
			  const struct iopf_group *group)
{
	/* Its owner may change it just now, also to none. */
	unsigned long timeout = READ_ONCE(fault->timeout);

	return timeout && time_after_eq(jiffies, group->since + timeout);
}

/*
 * Which groups are to be answered by the kernel. Not all that is here is looked
 * at by every user.
 */
struct fault_pick {
	/* NULL for groups of any attachment */
	const struct iommu_attach_handle *handle;
	/* 0 for those of any device */
	u32 dev_id;
	/* Only those whose time is over */
	bool expired;
};

static bool fault_picked(const struct iommufd_fault *fault,
			 const struct iopf_group *group,
			 const struct fault_pick *pick)
{
	return (!pick->handle || pick->handle == group->attach_handle) &&
	       (!pick->dev_id || pick->dev_id == group->dev_id) &&
	       (!pick->expired || fault_expired(fault, group));
}

/* Take groups that nobody has read out of the queue. */
static void fault_pick_unread(struct iommufd_fault *fault,
			      const struct fault_pick *pick,
			      struct list_head *unread)
{
	struct iopf_group *group, *next;

	spin_lock(&fault->lock);
	list_for_each_entry_safe(group, next, &fault->deliver, node) {
		if (!fault_picked(fault, group, pick))
			continue;
		list_move_tail(&group->node, unread);
		fault->nr_unread--;
		if (pick->expired) {
			fault->lost++;
			fault->timed_out++;
		}
	}
	spin_unlock(&fault->lock);
}

/* Answer groups in the place of user space. */
static void fault_flush(struct iommufd_fault *fault,
			const struct fault_pick *pick,
			enum iommu_page_response_code code)
{
	struct iopf_batch batch = {};
	struct iopf_group *group;
	unsigned long index;
	LIST_HEAD(unread);

	lockdep_assert_held(&fault->mutex);

	fault_pick_unread(fault, pick, &unread);
	while (!list_empty(&unread)) {
		group = list_first_entry(&unread, struct iopf_group, node);
		list_del(&group->node);
		if (pick->expired)
			iopf_group_timed_out(group);
		iopf_batch_add(&batch, group, code);
	}

	xa_for_each(&fault->response, index, group) {
		if (!fault_picked(fault, group, pick))
			continue;
		xa_erase(&fault->response, index);
		spin_lock(&fault->lock);
		fault->nr_unanswered--;
		if (pick->expired)
			fault->timed_out++;
		spin_unlock(&fault->lock);
		if (pick->expired)
			iopf_group_timed_out(group);
		iopf_batch_add(&batch, group, code);
	}
	iopf_batch_flush(&batch);
}

/**
 * iommufd_fault_del_device() - Answer for a device that leaves its page table
 * @idev: the device, see iommufd_fault_add_device()
 * @hwpt: the page table
 *
 * What the device has asked for is answered as invalid, and so is what it may
 * ask for after that, while other devices of its group are still attached. Its
 * id is not seen any more.
 */
void iommufd_fault_del_device(struct iommufd_device *idev,
			      struct iommufd_hw_pagetable *hwpt)
{
	struct fault_pick pick = { .dev_id = idev->obj.id };
	struct iommufd_group *igroup = idev->igroup;

	lockdep_assert_held(&igroup->lock);

	spin_lock(&igroup->fault_lock);
	list_del(&idev->fault_item);
	spin_unlock(&igroup->fault_lock);

	if (!hwpt->fault)
		return;
	mutex_lock(&hwpt->fault->mutex);
	fault_flush(hwpt->fault, &pick, IOMMU_PAGE_RESP_INVALID);
	mutex_unlock(&hwpt->fault->mutex);
}

/**
 * iommufd_auto_response_faults() - Answer for an attachment that has ended
 * @hwpt: the page table that was attached
 * @handle: the attachment, out of reach of new faults
 * @code: the answer: success if another page table has taken its place which
 *        takes faults, so that the device asks again
 */
void iommufd_auto_response_faults(struct iommufd_hw_pagetable *hwpt,
				  struct iommufd_attach_handle *handle,
				  enum iommu_page_response_code code)
{
	struct fault_pick pick = { .handle = &handle->handle };

	if (!hwpt->fault)
		return;
	mutex_lock(&hwpt->fault->mutex);
	fault_flush(hwpt->fault, &pick, code);
	mutex_unlock(&hwpt->fault->mutex);
}

/* May the group come into the queue? */
static int fault_admit(struct iommufd_fault *fault, struct iopf_group *group)
{
	struct iommufd_group *igroup =
		to_iommufd_handle(group->attach_handle)->igroup;

	lockdep_assert_held(&fault->lock);

	/* Nobody will ever read it. */
	if (fault->closed)
		return -EPIPE;

	group->dev_id = fault_device_id(igroup, group->fault_param->dev);
	if (!group->dev_id)
		return -ENODEV;

	if (fault->depth &&
	    fault->nr_unread + fault->nr_unanswered >= fault->depth) {
		fault->lost++;
		return -ENOSPC;
	}
	return 0;
}

/**
 * iommufd_fault_iopf_handler() - Take in a group of page faults
 * @group: the group
 *
 * Return: 0 or an errno, upon which the caller answers as invalid.
 */
int iommufd_fault_iopf_handler(struct iopf_group *group)
{
	struct iommufd_hw_pagetable *hwpt =
		group->attach_handle->domain->fault_data;
	struct iommufd_fault *fault = hwpt->fault;
	bool news;
	int rc;

	iopf_group_dequeue(group);

	spin_lock(&fault->lock);
	rc = fault_admit(fault, group);
	if (!rc) {
		group->since = jiffies;
		list_add_tail(&group->node, &fault->deliver);
		fault->nr_unread++;
		fault->groups++;
		/* Does nothing if the timer runs already. */
		if (fault->timeout)
			schedule_delayed_work(&fault->timer, fault->timeout);
	}
	news = !rc || (rc == -ENOSPC && fault->tell_lost);
	spin_unlock(&fault->lock);

	if (news)
		wake_up_interruptible(&fault->wait_queue);
	return rc;
}

static void fault_timer(struct work_struct *work)
{
	struct iommufd_fault *fault =
		container_of(to_delayed_work(work), struct iommufd_fault, timer);
	const struct fault_pick pick = { .expired = true };
	bool news;

	mutex_lock(&fault->mutex);
	fault_flush(fault, &pick, IOMMU_PAGE_RESP_INVALID);

	spin_lock(&fault->lock);
	if (fault->timeout && (fault->nr_unread || fault->nr_unanswered))
		schedule_delayed_work(&fault->timer, fault->timeout);
	news = fault->tell_lost && fault->lost != fault->lost_told;
	spin_unlock(&fault->lock);
	mutex_unlock(&fault->mutex);

	if (news)
		wake_up_interruptible(&fault->wait_queue);
}

/**
 * iommufd_fault_init() - Make a fault queue
 * @fault: the queue, zeroed
 *
 * What devices ask for is charged to the caller's process from then on.
 */
void iommufd_fault_init(struct iommufd_fault *fault)
{
	INIT_LIST_HEAD(&fault->deliver);
	xa_init_flags(&fault->response, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	mutex_init(&fault->mutex);
	mutex_init(&fault->read_mutex);
	spin_lock_init(&fault->lock);
	init_waitqueue_head(&fault->wait_queue);
	INIT_DELAYED_WORK(&fault->timer, fault_timer);
	fault->memcg = get_mem_cgroup_from_mm(current->mm);
}

static void fault_compose(struct iommu_hwpt_pgfault *msg,
			  const struct iopf_group *group)
{
	const struct iommu_fault_page_request *prm;
	struct iopf_fault *iopf;

	static_assert((int)IOMMU_PGFAULT_FLAGS_PASID_VALID ==
		      (int)IOMMU_FAULT_PAGE_REQUEST_PASID_VALID);
	static_assert((int)IOMMU_PGFAULT_FLAGS_LAST_PAGE ==
		      (int)IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);

	list_for_each_entry(iopf, &group->faults, list) {
		prm = &iopf->fault.prm;
		*msg++ = (struct iommu_hwpt_pgfault){
			/* Others are between the core and its drivers. */
			.flags = prm->flags & (IOMMU_PGFAULT_FLAGS_PASID_VALID |
					       IOMMU_PGFAULT_FLAGS_LAST_PAGE),
			.dev_id = group->dev_id,
			.pasid = prm->pasid,
			.grpid = prm->grpid,
			.perm = prm->perm,
			.addr = prm->addr,
			.cookie = group->cookie,
		};
	}
}

/* What one read() has taken from the queue and not yet given to its caller */
struct fault_reader {
	struct iommu_hwpt_pgfault *msg;
	size_t room;	/* messages that fit into @msg */
	size_t nr;	/* messages that are in it */
	u32 cookie;
};

static int fault_reader_reserve(struct fault_reader *reader, size_t nr)
{
	size_t room = max_t(size_t, nr, 16);

	if (nr <= reader->room)
		return 0;
	kvfree(reader->msg);
	reader->room = 0;
	reader->msg = kvmalloc_array(room, MSG_SIZE, GFP_KERNEL_ACCOUNT);
	if (!reader->msg)
		return -ENOMEM;
	reader->room = room;
	return 0;
}

static struct iopf_group *fault_first(struct iommufd_fault *fault)
{
	struct iopf_group *group;

	spin_lock(&fault->lock);
	group = list_first_entry_or_null(&fault->deliver, struct iopf_group,
					 node);
	spin_unlock(&fault->lock);
	return group;
}

/*
 * Take the first group out of the queue, if it has no more than @max messages.
 * From then on it can be answered, and by that freed.
 */
static int fault_take(struct iommufd_fault *fault, struct fault_reader *reader,
		      size_t max)
{
	struct iopf_group *group;
	int rc = 0;

	lockdep_assert_held(&fault->read_mutex);

	reader->nr = 0;
	mutex_lock(&fault->mutex);
	group = fault_first(fault);
	if (!group)
		goto out_unlock;
	rc = -EINVAL;
	if (group->fault_count > max)
		goto out_unlock;
	rc = fault_reader_reserve(reader, group->fault_count);
	if (rc)
		goto out_unlock;
	/* Not 0, which an answer with that cookie would make free for use. */
	rc = xa_alloc(&fault->response, &group->cookie, group,
		      XA_LIMIT(1, U32_MAX), GFP_KERNEL);
	if (rc)
		goto out_unlock;

	spin_lock(&fault->lock);
	list_del(&group->node);
	fault->nr_unread--;
	fault->nr_unanswered++;
	spin_unlock(&fault->lock);
	fault_compose(reader->msg, group);
	reader->nr = group->fault_count;
	reader->cookie = group->cookie;
	/* The device cannot go: it would answer the group first, under the mutex. */
	iopf_group_read(group);
out_unlock:
	mutex_unlock(&fault->mutex);
	return rc;
}

/*
 * Put the group back that was taken last. If it is gone it was answered. There
 * is no other with the same cookie: only readers hand out cookies.
 */
static void fault_untake(struct iommufd_fault *fault,
			 const struct fault_reader *reader)
{
	struct iopf_group *group;

	lockdep_assert_held(&fault->read_mutex);

	mutex_lock(&fault->mutex);
	group = xa_erase(&fault->response, reader->cookie);
	if (group) {
		spin_lock(&fault->lock);
		list_add(&group->node, &fault->deliver);
		fault->nr_unread++;
		fault->nr_unanswered--;
		spin_unlock(&fault->lock);
	}
	mutex_unlock(&fault->mutex);
}

/* Tell of what was lost, if that is wanted. Returns the bytes that were read. */
static ssize_t fault_read_lost(struct iommufd_fault *fault, char __user *buf,
			       size_t count)
{
	struct iommu_hwpt_pgfault msg = { .flags = IOPF_PGFAULT_FLAGS_LOST };
	u64 lost;

	spin_lock(&fault->lock);
	lost = fault->lost;
	msg.addr = fault->tell_lost ? lost - fault->lost_told : 0;
	spin_unlock(&fault->lock);

	if (!msg.addr)
		return 0;
	if (count < MSG_SIZE)
		return -EINVAL;
	if (copy_to_user(buf, &msg, MSG_SIZE))
		return -EFAULT;

	spin_lock(&fault->lock);
	fault->lost_told = lost;
	spin_unlock(&fault->lock);
	return MSG_SIZE;
}

static ssize_t fault_read_groups(struct iommufd_fault *fault, char __user *buf,
				 size_t count)
{
	struct fault_reader reader = {};
	size_t done = 0;
	int rc;

	for (;;) {
		rc = fault_take(fault, &reader, (count - done) / MSG_SIZE);
		if (rc || !reader.nr)
			break;
		/* A group that was answered meanwhile is of no harm here. */
		if (copy_to_user(buf + done, reader.msg,
				 reader.nr * MSG_SIZE)) {
			fault_untake(fault, &reader);
			rc = -EFAULT;
			break;
		}
		done += reader.nr * MSG_SIZE;
	}
	kvfree(reader.msg);
	return done ?: rc;
}

static ssize_t iommufd_fault_fops_read(struct file *filep, char __user *buf,
				       size_t count, loff_t *ppos)
{
	struct iommufd_fault *fault = filep->private_data;
	ssize_t lost, rc;

	if (*ppos || count % MSG_SIZE)
		return -ESPIPE;

	if (mutex_lock_interruptible(&fault->read_mutex))
		return -ERESTARTSYS;
	lost = fault_read_lost(fault, buf, count);
	rc = lost;
	if (lost >= 0) {
		rc = fault_read_groups(fault, buf + lost, count - lost);
		rc = rc < 0 ? (lost ?: rc) : lost + rc;
	}
	mutex_unlock(&fault->read_mutex);
	return rc;
}

/* Returns how many of the answers were good ones. */
static unsigned int fault_answer(struct iommufd_fault *fault,
				 const struct iommu_hwpt_page_response *resp,
				 unsigned int nr)
{
	struct iopf_batch batch = {};
	struct iopf_group *group;
	unsigned int i;

	static_assert((int)IOMMUFD_PAGE_RESP_SUCCESS ==
		      (int)IOMMU_PAGE_RESP_SUCCESS);
	static_assert((int)IOMMUFD_PAGE_RESP_INVALID ==
		      (int)IOMMU_PAGE_RESP_INVALID);

	mutex_lock(&fault->mutex);
	for (i = 0; i < nr; i++) {
		if (resp[i].code != IOMMUFD_PAGE_RESP_SUCCESS &&
		    resp[i].code != IOMMUFD_PAGE_RESP_INVALID)
			break;
		group = xa_erase(&fault->response, resp[i].cookie);
		if (!group)
			break;
		iopf_batch_add(&batch, group, resp[i].code);
	}
	spin_lock(&fault->lock);
	fault->nr_unanswered -= i;
	fault->answered += i;
	spin_unlock(&fault->lock);
	iopf_batch_flush(&batch);
	mutex_unlock(&fault->mutex);
	return i;
}

static ssize_t iommufd_fault_fops_write(struct file *filep,
					const char __user *buf, size_t count,
					loff_t *ppos)
{
	struct iommufd_fault *fault = filep->private_data;
	struct iommu_hwpt_page_response resp[IOPF_BATCH_SIZE];
	unsigned int nr, good;
	size_t done = 0, left;

	if (*ppos || count % RESP_SIZE)
		return -ESPIPE;

	while (done < count) {
		nr = min_t(size_t, (count - done) / RESP_SIZE, ARRAY_SIZE(resp));
		left = copy_from_user(resp, buf + done, nr * RESP_SIZE);
		/* Those that could be read as a whole */
		nr -= DIV_ROUND_UP(left, RESP_SIZE);
		good = fault_answer(fault, resp, nr);
		done += good * RESP_SIZE;
		if (good < nr)
			return done ?: -EINVAL;
		if (left)
			return done ?: -EFAULT;
	}
	return done;
}

static __poll_t iommufd_fault_fops_poll(struct file *filep,
					struct poll_table_struct *wait)
{
	struct iommufd_fault *fault = filep->private_data;
	__poll_t events = EPOLLOUT;

	poll_wait(filep, &fault->wait_queue, wait);
	spin_lock(&fault->lock);
	if (!list_empty(&fault->deliver) ||
	    (fault->tell_lost && fault->lost != fault->lost_told))
		events |= EPOLLIN | EPOLLRDNORM;
	spin_unlock(&fault->lock);

	return events;
}

static int fault_set_limits(struct iommufd_fault *fault, void __user *arg)
{
	struct iopf_queue_limits limits;
	u32 size;
	int rc;

	if (get_user(size, (u32 __user *)arg))
		return -EFAULT;
	if (size < sizeof(limits))
		return -EINVAL;
	rc = copy_struct_from_user(&limits, sizeof(limits), arg, size);
	if (rc)
		return rc;
	if (limits.flags & ~IOPF_QUEUE_TELL_LOST)
		return -EOPNOTSUPP;

	spin_lock(&fault->lock);
	if (!fault->tell_lost)
		fault->lost_told = fault->lost;
	fault->tell_lost = limits.flags & IOPF_QUEUE_TELL_LOST;
	fault->depth = limits.depth;
	/* msecs_to_jiffies() of a number that is negative as an int is no time. */
	WRITE_ONCE(fault->timeout, limits.timeout_ms ?
		   max(1UL, msecs_to_jiffies(min_t(u32, limits.timeout_ms,
						   INT_MAX))) : 0);
	spin_unlock(&fault->lock);

	/* The work itself finds out when it has to run again. */
	mod_delayed_work(system_wq, &fault->timer, 0);
	return 0;
}

static int fault_get_status(struct iommufd_fault *fault, void __user *arg)
{
	struct iopf_queue_status status;
	u32 size;
	int rc;

	if (get_user(size, (u32 __user *)arg))
		return -EFAULT;
	if (size < sizeof(status))
		return -EINVAL;
	rc = copy_struct_from_user(&status, sizeof(status), arg, size);
	if (rc)
		return rc;
	if (status.flags)
		return -EOPNOTSUPP;

	spin_lock(&fault->lock);
	status.out_unread = fault->nr_unread;
	status.out_unanswered = fault->nr_unanswered;
	status.out_groups = fault->groups;
	status.out_answered = fault->answered;
	status.out_lost = fault->lost;
	status.out_timed_out = fault->timed_out;
	spin_unlock(&fault->lock);

	return copy_to_user(arg, &status, sizeof(status)) ? -EFAULT : 0;
}

static long iommufd_fault_fops_ioctl(struct file *filep, unsigned int cmd,
				     unsigned long arg)
{
	struct iommufd_fault *fault = filep->private_data;

	switch (cmd) {
	case IOPF_QUEUE_SET_LIMITS:
		return fault_set_limits(fault, (void __user *)arg);
	case IOPF_QUEUE_GET_STATUS:
		return fault_get_status(fault, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static void iommufd_fault_fops_show_fdinfo(struct seq_file *seq,
					   struct file *filep)
{
	struct iommufd_fault *fault = filep->private_data;

	spin_lock(&fault->lock);
	seq_printf(seq, "iopf-unread:\t%u\n", fault->nr_unread);
	seq_printf(seq, "iopf-unanswered:\t%u\n", fault->nr_unanswered);
	seq_printf(seq, "iopf-groups:\t%llu\n", fault->groups);
	seq_printf(seq, "iopf-answered:\t%llu\n", fault->answered);
	seq_printf(seq, "iopf-lost:\t%llu\n", fault->lost);
	seq_printf(seq, "iopf-timed-out:\t%llu\n", fault->timed_out);
	spin_unlock(&fault->lock);
}

/* Nobody will ever answer: do so for what is here, and refuse what comes. */
static void fault_close(struct iommufd_fault *fault)
{
	const struct fault_pick all = {};

	spin_lock(&fault->lock);
	fault->closed = true;
	WRITE_ONCE(fault->timeout, 0);
	spin_unlock(&fault->lock);

	mutex_lock(&fault->mutex);
	fault_flush(fault, &all, IOMMU_PAGE_RESP_INVALID);
	mutex_unlock(&fault->mutex);
	cancel_delayed_work_sync(&fault->timer);
}

static int iommufd_fault_fops_release(struct inode *inode, struct file *filep)
{
	struct iommufd_fault *fault = filep->private_data;
	/* The queue may be freed once the file's reference is dropped. */
	struct iommufd_ctx *ictx = fault->ictx;

	fault_close(fault);
	refcount_dec(&fault->obj.users);
	iommufd_ctx_put(ictx);
	return 0;
}

const struct file_operations iommufd_fault_fops = {
	.owner		= THIS_MODULE,
	.open		= nonseekable_open,
	.read		= iommufd_fault_fops_read,
	.write		= iommufd_fault_fops_write,
	.poll		= iommufd_fault_fops_poll,
	.unlocked_ioctl	= iommufd_fault_fops_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= iommufd_fault_fops_show_fdinfo,
	.release	= iommufd_fault_fops_release,
};

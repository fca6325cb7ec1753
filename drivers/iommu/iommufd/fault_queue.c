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
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"

#define MSG_SIZE	sizeof(struct iommu_hwpt_pgfault)
#define RESP_SIZE	sizeof(struct iommu_hwpt_page_response)

/* How many cookies there are at first. Their number is doubled when all are in use. */
#define FIRST_COOKIES	16

/*
 * iommufd_fault::response has the group of each cookie, from 1 on. Cookies that are
 * not in use are a list in the same table: of odd numbers, which no pointer is.
 * The one that is out of use for the longest time is the next, so that an answer
 * that comes too late seldom meets another group.
 */
static void *unused_cookie(u32 next)
{
	return (void *)((unsigned long)next << 1 | 1);
}

static bool is_unused(const struct iopf_group *entry)
{
	return (unsigned long)entry & 1;
}

static void cookie_free(struct iommufd_fault *fault, u32 cookie)
{
	lockdep_assert_held(&fault->mutex);

	fault->response[cookie - 1] = unused_cookie(0);
	if (fault->cookie_last)
		fault->response[fault->cookie_last - 1] = unused_cookie(cookie);
	else
		fault->cookie_next = cookie;
	fault->cookie_last = cookie;
}

static int cookies_grow(struct iommufd_fault *fault)
{
	u32 cookie, nr = fault->nr_cookies;
	struct iopf_group **response;

	if (nr > U32_MAX / 4)
		return -ENOSPC;
	nr = nr ? 2 * nr : FIRST_COOKIES;
	response = kvmalloc_array(nr, sizeof(*response), GFP_KERNEL_ACCOUNT);
	if (!response)
		return -ENOMEM;
	if (fault->nr_cookies)
		memcpy(response, fault->response,
		       fault->nr_cookies * sizeof(*response));
	kvfree(fault->response);
	fault->response = response;
	cookie = fault->nr_cookies + 1;
	fault->nr_cookies = nr;
	for (; cookie <= nr; cookie++)
		cookie_free(fault, cookie);
	return 0;
}

static int cookie_alloc(struct iommufd_fault *fault, struct iopf_group *group)
{
	u32 cookie;
	int rc;

	lockdep_assert_held(&fault->mutex);

	if (!fault->cookie_next) {
		rc = cookies_grow(fault);
		if (rc)
			return rc;
	}
	cookie = fault->cookie_next;
	fault->cookie_next = (unsigned long)fault->response[cookie - 1] >> 1;
	if (!fault->cookie_next)
		fault->cookie_last = 0;
	fault->response[cookie - 1] = group;
	group->cookie = cookie;
	return 0;
}

/* The group that waits for an answer with this cookie; NULL if there is none. */
static struct iopf_group *response_get(struct iommufd_fault *fault, u32 cookie)
{
	struct iopf_group *group;
	u32 index = cookie - 1;

	lockdep_assert_held(&fault->mutex);

	if (index >= fault->nr_cookies)
		return NULL;
	group = fault->response[array_index_nospec(index, fault->nr_cookies)];
	return is_unused(group) ? NULL : group;
}

/* The same, and it does not wait any more. */
static struct iopf_group *response_take(struct iommufd_fault *fault, u32 cookie)
{
	struct iopf_group *group = response_get(fault, cookie);

	if (group)
		cookie_free(fault, cookie);
	return group;
}

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
	u32 cookie, left;
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

	/* It only changes while the mutex is held. */
	left = fault->nr_unanswered;
	for (cookie = 1; left && cookie <= fault->nr_cookies; cookie++) {
		group = response_get(fault, cookie);
		if (!group)
			continue;
		left--;
		if (!fault_picked(fault, group, pick))
			continue;
		cookie_free(fault, cookie);
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
	rc = cookie_alloc(fault, group);
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
	group = response_take(fault, reader->cookie);
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
		group = response_take(fault, resp[i].cookie);
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

/* How many entries of IOPF_QUEUE_MAP are copied at a time */
#define MAP_ENTRIES	(IOPF_BATCH_SIZE / 2)

/* It may be gone when its memory is mapped, but was there. */
static bool fault_waits(struct iommufd_fault *fault, u32 cookie)
{
	bool waits;

	mutex_lock(&fault->mutex);
	waits = response_get(fault, cookie);
	mutex_unlock(&fault->mutex);
	return waits;
}

static int fault_map_one(struct iommufd_fault *fault, struct iommufd_ioas *ioas,
			 const struct iopf_map_answer *entry)
{
	unsigned long iova = entry->iova;
	int prot = IOMMU_CACHE;

	if (entry->flags &
	    ~(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE))
		return -EOPNOTSUPP;
	if (entry->iova >= ULONG_MAX || entry->length >= ULONG_MAX)
		return -EOVERFLOW;
	if (!entry->flags)
		return -EINVAL;
	if (entry->cookie && !fault_waits(fault, entry->cookie))
		return -EINVAL;

	if (entry->flags & IOMMU_IOAS_MAP_READABLE)
		prot |= IOMMU_READ;
	if (entry->flags & IOMMU_IOAS_MAP_WRITEABLE)
		prot |= IOMMU_WRITE;
	return iopt_map_user_pages(fault->ictx, &ioas->iopt, &iova,
				   u64_to_user_ptr(entry->user_va),
				   entry->length, prot, 0);
}

/* Map some entries and answer for them. Returns how many are done. */
static unsigned int fault_map_some(struct iommufd_fault *fault,
				   struct iommufd_ioas *ioas,
				   const struct iopf_map_answer *entry,
				   unsigned int nr, int *rc)
{
	struct iommu_hwpt_page_response resp[MAP_ENTRIES];
	unsigned int i, done, answers = 0;

	for (i = 0; i < nr; i++) {
		*rc = fault_map_one(fault, ioas, &entry[i]);
		if (*rc)
			break;
		if (!entry[i].cookie)
			continue;
		resp[answers++] = (struct iommu_hwpt_page_response){
			.cookie = entry[i].cookie,
			.code = IOMMUFD_PAGE_RESP_SUCCESS,
		};
	}

	/* One that the kernel has answered meanwhile is passed over. */
	for (done = 0; done < answers; done++)
		done += fault_answer(fault, resp + done, answers - done);
	return i;
}

static int fault_map_all(struct iommufd_fault *fault, struct iommufd_ioas *ioas,
			 const struct iopf_map_answer __user *entries,
			 unsigned int nr, unsigned int *done)
{
	struct iopf_map_answer entry[MAP_ENTRIES];
	unsigned int now;
	int rc = 0;

	for (*done = 0; !rc && *done < nr;) {
		now = min(nr - *done, MAP_ENTRIES);
		if (copy_from_user(entry, entries + *done,
				   now * sizeof(entry[0])))
			return -EFAULT;
		*done += fault_map_some(fault, ioas, entry, now, &rc);
		if (!rc && fatal_signal_pending(current))
			rc = -EINTR;
	}
	return rc;
}

/* The queue's file alone does not give access to the address spaces. */
static int fault_check_iommufd(const struct iommufd_fault *fault, int fd)
{
	struct iommufd_ctx *ictx = iommufd_ctx_from_fd(fd);

	if (IS_ERR(ictx))
		return PTR_ERR(ictx);
	/* The queue has a reference of its own. */
	iommufd_ctx_put(ictx);
	return ictx == fault->ictx ? 0 : -EXDEV;
}

static int fault_map(struct iommufd_fault *fault, void __user *arg)
{
	struct iopf_queue_map __user *user = arg;
	struct iopf_queue_map map;
	struct iommufd_ioas *ioas;
	unsigned int done;
	u32 size;
	int rc;

	if (get_user(size, &user->size))
		return -EFAULT;
	if (size < sizeof(map))
		return -EINVAL;
	rc = copy_struct_from_user(&map, sizeof(map), arg, size);
	if (rc)
		return rc;
	if (map.flags || map.__reserved)
		return -EOPNOTSUPP;
	rc = fault_check_iommufd(fault, map.iommufd);
	if (rc)
		return rc;
	ioas = iommufd_get_ioas(fault->ictx, map.ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	rc = fault_map_all(fault, ioas, u64_to_user_ptr(map.entries),
			   map.entry_num, &done);
	iommufd_put_object(fault->ictx, &ioas->obj);
	if (put_user(done, &user->entry_num))
		return -EFAULT;
	return rc;
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
	case IOPF_QUEUE_MAP:
		return fault_map(fault, (void __user *)arg);
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

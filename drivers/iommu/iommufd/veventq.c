// SPDX-License-Identifier: GPL-2.0-only
/*
 * Event queues of vIOMMUs: what guests read that their IOMMU has to say
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A driver adds events in any context, see report.c. Events stay in the queue until
 * user space has them: only readers take events out, one reader at a time.
 *
 * Locks, outer to inner:
 *
 * iommufd_veventq::read_mutex - held while user memory is accessed, which may take
 *	for ever; nobody but readers takes it.
 * iommufd_viommu::veventq_lock - the queues of a vIOMMU and what is in them.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/anon_inodes.h>
#include <linux/bits.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommufd.h>
#include <linux/memcontrol.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "iommufd_private.h"

#define VEVENTQ_MAX_DEPTH BIT(19)

static void veventq_free_events(struct list_head *events)
{
	struct iommufd_vevent *vevent, *next;

	list_for_each_entry_safe(vevent, next, events, node)
		kfree(vevent);
}

void iommufd_veventq_destroy(struct iommufd_object *obj)
{
	struct iommufd_veventq *veventq =
		container_of(obj, struct iommufd_veventq, obj);
	struct iommufd_viommu *viommu = veventq->viommu;

	spin_lock_irq(&viommu->veventq_lock);
	list_del(&veventq->viommu_item);
	spin_unlock_irq(&viommu->veventq_lock);

	/* If there was a file it has taken the events with it. */
	veventq_free_events(&veventq->events);
	mem_cgroup_put(veventq->memcg);
	mutex_destroy(&veventq->read_mutex);
	refcount_dec(&viommu->obj.users);
}

/* What comes next, an event or else a mark that there were some. */
static bool veventq_peek(struct iommufd_veventq *veventq,
			 struct iommufd_vevent_header *header,
			 struct iommufd_vevent **vevent)
{
	struct iommufd_viommu *viommu = veventq->viommu;
	bool any = true;

	lockdep_assert_held(&veventq->read_mutex);

	spin_lock_irq(&viommu->veventq_lock);
	*vevent = list_first_entry_or_null(&veventq->events,
					   struct iommufd_vevent, node);
	if (*vevent) {
		header->flags = 0;
		header->sequence = (*vevent)->sequence;
	} else if (veventq->lost) {
		header->flags = IOMMU_VEVENTQ_FLAG_LOST_EVENTS;
		header->sequence = veventq->lost_sequence;
	} else {
		any = false;
	}
	spin_unlock_irq(&viommu->veventq_lock);
	return any;
}

/* User space has it. */
static void veventq_done(struct iommufd_veventq *veventq,
			 const struct iommufd_vevent_header *header,
			 struct iommufd_vevent *vevent)
{
	struct iommufd_viommu *viommu = veventq->viommu;

	lockdep_assert_held(&veventq->read_mutex);

	spin_lock_irq(&viommu->veventq_lock);
	if (vevent) {
		list_del(&vevent->node);
		veventq->nr_events--;
	} else if (veventq->lost_sequence == header->sequence) {
		/* If not, more were lost meanwhile, which it does not know of. */
		veventq->lost = false;
	}
	spin_unlock_irq(&viommu->veventq_lock);
	kfree(vevent);
}

/* Returns the bytes that were read, 0 if there was nothing. */
static ssize_t veventq_read_one(struct iommufd_veventq *veventq,
				char __user *buf, size_t room)
{
	struct iommufd_vevent_header header;
	struct iommufd_vevent *vevent;
	size_t len;

	if (!veventq_peek(veventq, &header, &vevent))
		return 0;
	len = vevent ? vevent->len : 0;
	if (sizeof(header) + len > room)
		return -EINVAL;
	if (copy_to_user(buf, &header, sizeof(header)))
		return -EFAULT;
	if (vevent && copy_to_user(buf + sizeof(header), vevent->data, len))
		return -EFAULT;
	veventq_done(veventq, &header, vevent);
	return sizeof(header) + len;
}

static ssize_t veventq_fops_read(struct file *filep, char __user *buf,
				 size_t count, loff_t *ppos)
{
	struct iommufd_veventq *veventq = filep->private_data;
	size_t done = 0;
	ssize_t rc;

	if (*ppos)
		return -ESPIPE;
	if (count < sizeof(struct iommufd_vevent_header))
		return -EINVAL;

	if (mutex_lock_interruptible(&veventq->read_mutex))
		return -ERESTARTSYS;
	do {
		rc = veventq_read_one(veventq, buf + done, count - done);
		if (rc > 0)
			done += rc;
	} while (rc > 0);
	mutex_unlock(&veventq->read_mutex);
	return done ?: rc;
}

static __poll_t veventq_fops_poll(struct file *filep,
				  struct poll_table_struct *wait)
{
	struct iommufd_veventq *veventq = filep->private_data;
	struct iommufd_viommu *viommu = veventq->viommu;
	__poll_t events = 0;

	poll_wait(filep, &veventq->wait_queue, wait);
	spin_lock_irq(&viommu->veventq_lock);
	if (!list_empty(&veventq->events) || veventq->lost)
		events = EPOLLIN | EPOLLRDNORM;
	spin_unlock_irq(&viommu->veventq_lock);
	return events;
}

static int veventq_fops_release(struct inode *inode, struct file *filep)
{
	struct iommufd_veventq *veventq = filep->private_data;
	struct iommufd_viommu *viommu = veventq->viommu;
	/* All may be gone with the file's reference. */
	struct iommufd_ctx *ictx = viommu->ictx;
	LIST_HEAD(events);

	spin_lock_irq(&viommu->veventq_lock);
	veventq->closed = true;
	list_splice_init(&veventq->events, &events);
	spin_unlock_irq(&viommu->veventq_lock);
	veventq_free_events(&events);

	refcount_dec(&veventq->obj.users);
	iommufd_ctx_put(ictx);
	return 0;
}

static const struct file_operations veventq_fops = {
	.owner		= THIS_MODULE,
	.read		= veventq_fops_read,
	.poll		= veventq_fops_poll,
	.release	= veventq_fops_release,
};

static int veventq_insert(struct iommufd_viommu *viommu,
			  struct iommufd_veventq *veventq)
{
	struct iommufd_veventq *other;
	int rc = 0;

	spin_lock_irq(&viommu->veventq_lock);
	list_for_each_entry(other, &viommu->veventqs, viommu_item)
		if (other->type == veventq->type)
			rc = -EEXIST;
	if (!rc)
		list_add_tail(&veventq->viommu_item, &viommu->veventqs);
	spin_unlock_irq(&viommu->veventq_lock);
	return rc;
}

static struct iommufd_veventq *veventq_create(struct iommufd_viommu *viommu,
					      u32 type, u32 depth)
{
	struct iommufd_veventq *veventq;
	int rc;

	veventq = iommufd_object_alloc(viommu->ictx, veventq,
				       IOMMUFD_OBJ_VEVENTQ);
	if (IS_ERR(veventq))
		return veventq;
	veventq->viommu = viommu;
	veventq->type = type;
	veventq->depth = depth;
	INIT_LIST_HEAD(&veventq->events);
	mutex_init(&veventq->read_mutex);
	init_waitqueue_head(&veventq->wait_queue);
	veventq->memcg = get_mem_cgroup_from_mm(current->mm);

	/* From then on there can be events. */
	rc = veventq_insert(viommu, veventq);
	if (rc) {
		mem_cgroup_put(veventq->memcg);
		iommufd_object_abort(viommu->ictx, &veventq->obj);
		return ERR_PTR(rc);
	}
	refcount_inc(&viommu->obj.users);
	return veventq;
}

/* If that fails the file goes with the queue. */
static int veventq_open(struct iommufd_veventq *veventq)
{
	struct file *filep;

	filep = anon_inode_getfile("[iommufd-viommu-event]", &veventq_fops,
				   veventq, O_RDWR);
	if (IS_ERR(filep))
		return PTR_ERR(filep);
	refcount_inc(&veventq->obj.users);
	iommufd_ctx_get(veventq->viommu->ictx);
	veventq->filep = filep;

	return get_unused_fd_flags(O_CLOEXEC);
}

int iommufd_veventq_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommu_veventq_alloc *cmd = ucmd->cmd;
	struct iommufd_veventq *veventq;
	struct iommufd_viommu *viommu;
	int fd, rc;

	if (cmd->flags || cmd->__reserved ||
	    cmd->type == IOMMU_VEVENTQ_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->veventq_depth || cmd->veventq_depth > VEVENTQ_MAX_DEPTH)
		return -EINVAL;

	viommu = iommufd_get_viommu(ucmd, cmd->viommu_id);
	if (IS_ERR(viommu))
		return PTR_ERR(viommu);

	veventq = veventq_create(viommu, cmd->type, cmd->veventq_depth);
	if (IS_ERR(veventq)) {
		rc = PTR_ERR(veventq);
		goto out_put_viommu;
	}

	fd = veventq_open(veventq);
	if (fd < 0) {
		rc = fd;
		goto out_abort;
	}

	cmd->out_veventq_id = veventq->obj.id;
	cmd->out_veventq_fd = fd;
	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
	if (rc) {
		put_unused_fd(fd);
		goto out_abort;
	}
	iommufd_object_finalize(ucmd->ictx, &veventq->obj);
	fd_install(fd, veventq->filep);
	goto out_put_viommu;

out_abort:
	iommufd_object_abort_and_destroy(ucmd->ictx, &veventq->obj);
out_put_viommu:
	iommufd_put_object(ucmd->ictx, &viommu->obj);
	return rc;
}

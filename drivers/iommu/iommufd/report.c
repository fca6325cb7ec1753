// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers of IOMMUs tell guests what has happened
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Always built in, like driver.c. Who reads is in veventq.c.
 */
#include <linux/export.h>
#include <linux/iommufd.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "iommufd_private.h"

static struct iommufd_veventq *veventq_of_type(struct iommufd_viommu *viommu,
					       unsigned int type)
{
	struct iommufd_veventq *veventq;

	lockdep_assert_held(&viommu->veventq_lock);

	list_for_each_entry(veventq, &viommu->veventqs, viommu_item)
		if (veventq->type == type && !veventq->closed)
			return veventq;
	return NULL;
}

/* NULL if there is no room, or no memory for whom it is. */
static struct iommufd_vevent *vevent_create(struct iommufd_veventq *veventq,
					    const void *data, size_t len)
{
	struct iommufd_vevent *vevent;
	struct mem_cgroup *old;

	if (veventq->nr_events >= veventq->depth)
		return NULL;

	old = set_active_memcg(veventq->memcg);
	vevent = kmalloc(struct_size(vevent, data, len),
			 GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
	set_active_memcg(old);
	if (!vevent)
		return NULL;

	vevent->len = len;
	memcpy(vevent->data, data, len);
	return vevent;
}

static void veventq_add(struct iommufd_veventq *veventq, const void *data,
			size_t len)
{
	struct iommufd_vevent *vevent = vevent_create(veventq, data, len);
	u32 sequence = veventq->sequence;

	veventq->sequence = (sequence + 1) & INT_MAX;
	if (vevent) {
		vevent->sequence = sequence;
		list_add_tail(&vevent->node, &veventq->events);
		veventq->nr_events++;
	} else {
		veventq->lost_sequence = sequence;
	}
	/* The number of an event tells as much as a mark before it. */
	veventq->lost = !vevent;
	wake_up_interruptible(&veventq->wait_queue);
}

/**
 * iommufd_viommu_report_event() - Tell a guest what its IOMMU has to say
 * @viommu: the vIOMMU of the guest
 * @type: one of enum iommu_veventq_type
 * @data: the event, as user space is to read it, with ids of the guest
 * @len: its length, always the same for a type
 *
 * Context: any. The caller makes sure that the vIOMMU stays, for example since a
 * device is attached to one of its page tables.
 *
 * Return: 0 if the guest learns of the event, even if that is only that it was lost,
 * or -EOPNOTSUPP if nobody wants to know.
 */
int iommufd_viommu_report_event(struct iommufd_viommu *viommu,
				unsigned int type, const void *data,
				size_t len)
{
	struct iommufd_veventq *veventq;
	unsigned long flags;
	int rc = 0;

	if (WARN_ON_ONCE(!data || !len))
		return -EINVAL;

	spin_lock_irqsave(&viommu->veventq_lock, flags);
	veventq = veventq_of_type(viommu, type);
	if (veventq)
		veventq_add(veventq, data, len);
	else
		rc = -EOPNOTSUPP;
	spin_unlock_irqrestore(&viommu->veventq_lock, flags);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_report_event, IOMMUFD);

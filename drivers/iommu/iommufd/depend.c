// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects of a driver that need each other
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Always built in, like driver.c.
 */
#include <linux/export.h>
#include <linux/iommufd.h>

#include "iommufd_private.h"

/**
 * iommufd_hw_queue_depend() - A queue needs another one
 * @hw_queue: the queue
 * @on: that which it needs. User space cannot destroy it any more
 *
 * Context: under a lock of the driver which &iommufd_hw_queue.destroy of @on takes, or
 * the driver could not know that @on is still there.
 *
 * Return: 0, -EINVAL if they are not of the same vIOMMU, or -ENOENT if @on is being
 * destroyed, or not yet set up.
 */
int iommufd_hw_queue_depend(struct iommufd_hw_queue *hw_queue,
			    struct iommufd_hw_queue *on)
{
	if (WARN_ON_ONCE(hw_queue == on || hw_queue->viommu != on->viommu))
		return -EINVAL;
	return iommufd_object_hold(on->viommu->ictx, &on->obj) ? 0 : -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(iommufd_hw_queue_depend, IOMMUFD);

/**
 * iommufd_hw_queue_undepend() - Undo iommufd_hw_queue_depend()
 * @hw_queue: the queue
 * @on: that which it needed, and which may be destroyed from now on
 */
void iommufd_hw_queue_undepend(struct iommufd_hw_queue *hw_queue,
			       struct iommufd_hw_queue *on)
{
	WARN_ON_ONCE(hw_queue->viommu != on->viommu);
	refcount_dec(&on->obj.users);
}
EXPORT_SYMBOL_NS_GPL(iommufd_hw_queue_undepend, IOMMUFD);

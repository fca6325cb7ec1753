// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Eventfds for the interrupts and events of a VFIO device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common.h"

int iopf_irq_eventfds(int vfio, unsigned int index, const int *fds,
		      unsigned int nr)
{
	size_t size = sizeof(struct vfio_irq_set) + nr * sizeof(*fds);
	struct vfio_irq_set *set;
	int ret = 0;

	set = calloc(1, size);
	if (!set)
		return -ENOMEM;
	set->argsz = size;
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER;
	set->flags |= nr ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;
	set->index = index;
	set->count = nr;
	if (nr)
		memcpy(set->data, fds, nr * sizeof(*fds));
	if (ioctl(vfio, VFIO_DEVICE_SET_IRQS, set))
		ret = -errno;
	free(set);
	return ret;
}

int iopf_irq_count(int vfio, unsigned int index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(vfio, VFIO_DEVICE_GET_IRQ_INFO, &info))
		return -errno;
	if (!(info.flags & VFIO_IRQ_INFO_EVENTFD))
		return 0;
	return info.count < INT_MAX ? info.count : INT_MAX;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * MSI-X vectors of an open VFIO device as eventfds.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* Also switches all vectors off: @nr 0 and no data. */
static int set_irqs(struct iopf_dev *dev, const int *fds, unsigned int nr)
{
	size_t size = sizeof(struct vfio_irq_set) + nr * sizeof(*fds);
	struct vfio_irq_set *set;
	int err = 0;

	set = calloc(1, size);
	if (!set)
		return iopf_err(-ENOMEM, "out of memory");
	set->argsz = size;
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER;
	set->flags |= nr ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = nr;
	if (nr)
		memcpy(set->data, fds, nr * sizeof(*fds));
	if (ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, set))
		err = errno;
	free(set);
	if (err)
		return iopf_err(-err, "%s: cannot set %u MSI-X vectors: %s",
				 dev->bdf, nr, strerror(err));
	return 0;
}

int iopf_dev_msix(struct iopf_dev *dev, int *fds, unsigned int nr)
{
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds[i] < 0) {
			ret = -errno;
			iopf_err(ret, "cannot make an eventfd: %s",
				 strerror(-ret));
			goto close_fds;
		}
	}
	ret = set_irqs(dev, fds, nr);
	if (!ret)
		return 0;
close_fds:
	while (i--)
		close(fds[i]);
	return ret;
}

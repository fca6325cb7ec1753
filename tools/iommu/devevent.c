// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of a VFIO device that are not interrupts of the device itself.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common.h"
#include "devevent.h"

static int deliver(struct iopf_dev *dev, unsigned int index, int fd)
{
	int ret = iopf_irq_eventfds(iopf_dev_fd(dev), index, &fd, 1);

	if (ret == -ENOMEM)
		return iopf_err(ret, "out of memory");
	if (ret)
		return iopf_err(ret, "%s: cannot set event %u: %s",
				iopf_dev_bdf(dev), index, strerror(-ret));
	return 0;
}

/* @fd is set to the event file, -1 without such an event. */
static int open_event(struct iopf_dev *dev, unsigned int index, int *fd)
{
	int ret;

	*fd = -1;
	if (iopf_irq_count(iopf_dev_fd(dev), index) <= 0)
		return 0;
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*fd < 0) {
		ret = -errno;
		return iopf_err(ret, "cannot make an eventfd: %s",
				strerror(-ret));
	}
	ret = deliver(dev, index, *fd);
	if (ret) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}

int devevents_open(struct iopf_dev *dev, struct devevents *e)
{
	int ret;

	ret = open_event(dev, VFIO_PCI_REQ_IRQ_INDEX, &e->wanted_back);
	if (ret)
		return ret;
	ret = open_event(dev, VFIO_PCI_ERR_IRQ_INDEX, &e->broken);
	if (ret)
		devevents_close(e);
	return ret;
}

void devevents_close(struct devevents *e)
{
	if (e->wanted_back >= 0)
		close(e->wanted_back);
	if (e->broken >= 0)
		close(e->broken);
	e->wanted_back = -1;
	e->broken = -1;
}

bool devevent_take(int fd)
{
	__u64 count;

	return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count);
}

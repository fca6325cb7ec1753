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
#include <unistd.h>

#include "internal.h"

/* With @nr 0 all vectors are switched off. */
static int set_irqs(struct iopf_dev *dev, const int *fds, unsigned int nr)
{
	int ret = iopf_irq_eventfds(dev->fd, VFIO_PCI_MSIX_IRQ_INDEX, fds, nr);

	if (ret == -ENOMEM)
		return iopf_err(ret, "out of memory");
	if (ret)
		return iopf_err(ret, "%s: cannot set %u MSI-X vectors: %s",
				dev->bdf, nr, strerror(-ret));
	return 0;
}

int iopf_dev_msix(struct iopf_dev *dev, int *fds, unsigned int nr)
{
	int ret, have = iopf_irq_count(dev->fd, VFIO_PCI_MSIX_IRQ_INDEX);
	unsigned int i;

	if (have < 0)
		return iopf_err(have, "%s: cannot ask for MSI-X vectors: %s",
				dev->bdf, strerror(-have));
	if (nr > (unsigned int)have)
		return iopf_err(-EINVAL, "%s has %d MSI-X vectors, not %u",
				dev->bdf, have, nr);
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

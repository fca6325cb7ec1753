/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory whose pages come when the test says so: a userfaultfd that nobody serves, in the
 * place of a slow disk
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_HELD_H
#define IOPF_HELD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Longer than anything takes */
#define HELD_MS		120000

struct held {
	int fd;
	struct uffdio_range range;
};

/* Pages of @mem that are not there are held from now on. */
static inline int held_open(struct held *held, void *mem, size_t length)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	held->range = reg.range;
	held->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (held->fd < 0 || ioctl(held->fd, UFFDIO_API, &api) ||
	    ioctl(held->fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

/* Wait until somebody waits for a page. Returns 1, 0 after @ms, or an error. */
static inline int held_wait_ms(struct held *held, int ms)
{
	struct pollfd pfd = { .fd = held->fd, .events = POLLIN };
	struct uffd_msg msg;
	int ret = poll(&pfd, 1, ms);

	if (ret <= 0)
		return ret ? -errno : 0;
	if (read(held->fd, &msg, sizeof(msg)) != sizeof(msg))
		return errno == EAGAIN ? 0 : -EIO;
	return msg.event == UFFD_EVENT_PAGEFAULT ? 1 : -EPROTO;
}

/* Wait until @nr more wait. */
static inline int held_wait(struct held *held, int nr)
{
	int ret = 0;

	while (nr-- && ret >= 0) {
		ret = held_wait_ms(held, HELD_MS);
		if (!ret)
			ret = -ETIMEDOUT;
	}
	return ret < 0 ? ret : 0;
}

/* All pages, zeroed */
static inline int held_give(struct held *held)
{
	struct uffdio_zeropage zero = { .range = held->range };

	return ioctl(held->fd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

/* Who waits is to look again. */
static inline int held_wake(struct held *held)
{
	return ioctl(held->fd, UFFDIO_WAKE, &held->range) ? -errno : 0;
}

/* Pages are not held any more, and who waits gets them. */
static inline void held_close(struct held *held)
{
	close(held->fd);
}

#endif /* IOPF_HELD_H */

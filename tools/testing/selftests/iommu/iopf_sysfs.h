/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Knobs of the kernel
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SYSFS_H
#define IOPF_SYSFS_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Write @text to a file that is there. Returns 0 or a negative errno. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#endif /* IOPF_SYSFS_H */

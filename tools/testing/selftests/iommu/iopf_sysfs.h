/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Read and write small files of sysfs, procfs and debugfs
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

/* The text of a file that fits. Returns 0 or a negative errno. */
static inline int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	if (len >= 0)
		text[len] = 0;
	else
		len = -errno;
	close(fd);
	return len < 0 ? len : 0;
}

#endif /* IOPF_SYSFS_H */

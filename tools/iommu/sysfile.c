// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Files of /sys and /proc, below iopf_root(). The library hides these
 * functions, so the program is linked with an object of its own.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "libiopf.h"

static char *root_path(const char *fmt, va_list ap)
{
	char *tail, *path;

	if (vasprintf(&tail, fmt, ap) < 0)
		return NULL;
	if (asprintf(&path, "%s%s", iopf_root(), tail) < 0)
		path = NULL;
	free(tail);
	return path;
}

char *iopf_path(const char *fmt, ...)
{
	va_list ap;
	char *path;

	va_start(ap, fmt);
	path = root_path(fmt, ap);
	va_end(ap);
	return path;
}

static int read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, buf + len, size - len);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += n;
	}
	return len;
}

static int read_path(void *buf, size_t size, const char *fmt, va_list ap)
{
	struct stat st;
	char *path;
	int fd, ret;

	path = root_path(fmt, ap);
	if (!path)
		return -ENOMEM;
	/* A copy of a machine may have pipes in it: nobody waits for them. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ret = fd < 0 ? -errno : 0;
	free(path);
	if (ret)
		return ret;
	if (!fstat(fd, &st) && S_ISFIFO(st.st_mode))
		ret = -ESPIPE;
	else
		ret = read_all(fd, buf, size < INT_MAX ? size : INT_MAX);
	close(fd);
	return ret;
}

int iopf_read_bytes(void *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = read_path(buf, size, fmt, ap);
	va_end(ap);
	return len;
}

int iopf_read_file(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = read_path(buf, size - 1, fmt, ap);
	va_end(ap);
	if (len < 0) {
		buf[0] = 0;
		return len;
	}
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = 0;
	return len;
}

int iopf_write_file(const char *text, const char *fmt, ...)
{
	int fd, ret = 0;
	va_list ap;
	char *path;

	va_start(ap, fmt);
	path = root_path(fmt, ap);
	va_end(ap);
	if (!path)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

int iopf_read_link(char *buf, size_t size, const char *fmt, ...)
{
	char target[512];
	const char *name;
	ssize_t len;
	va_list ap;
	char *path;

	buf[0] = 0;
	va_start(ap, fmt);
	path = root_path(fmt, ap);
	va_end(ap);
	if (!path)
		return -ENOMEM;
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		len = -errno;
	free(path);
	if (len < 0)
		return len;
	target[len] = 0;
	name = strrchr(target, '/');
	snprintf(buf, size, "%s", name ? name + 1 : target);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Let one allocation after the other fail (fail-nth, see
 * Documentation/fault-injection/fault-injection.rst)
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_FAILING_H
#define IOPF_FAILING_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "iopf_sysfs.h"

#define FAILING_SLEEP "/sys/kernel/debug/failslab/ignore-gfp-wait"

/*
 * For the thread that calls it, without a call trace of each in the log. Returns a file
 * for failing_set(), or -ENOTSUP if this kernel cannot do it.
 */
static inline int failing_open(void)
{
	glob_t quiet = { 0 };
	size_t i;
	int fd;

	glob("/sys/kernel/debug/fail*/verbose", 0, NULL, &quiet);
	for (i = 0; i < quiet.gl_pathc; i++)
		write_file(quiet.gl_pathv[i], "0");
	globfree(&quiet);
	if (write_file(FAILING_SLEEP, "N"))
		return -ENOTSUP;
	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -ENOTSUP : fd;
}

/* The allocation that fails, counted from 1; 0 for none */
static inline int failing_set(int fd, unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(fd, text, len, 0) == len ? 0 : -errno;
}

/* Has it failed since failing_set()? To read that may be what fails. None fails any more. */
static inline bool failing_done(int fd)
{
	char text[16] = "";
	bool failed = pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
		      text[0] == '0';

	failing_set(fd, 0);
	return failed;
}

static inline void failing_close(int fd)
{
	close(fd);
	write_file(FAILING_SLEEP, "Y");
}

#endif /* IOPF_FAILING_H */

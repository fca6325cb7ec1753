/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's tracepoints say of something that is seen in no other way
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_TRACE_H
#define IOPF_TRACE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IOPF_TRACING	"/sys/kernel/tracing"

static inline int trace_write(const char *name, const char *value)
{
	char path[160];
	int fd, ret = 0;

	snprintf(path, sizeof(path), IOPF_TRACING "/%s", name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Record an event, "SYSTEM/NAME", from here on. An error if there is none. */
static inline int trace_begin(const char *event)
{
	char name[128];
	int ret;

	snprintf(name, sizeof(name), "events/%s/enable", event);
	ret = trace_write("trace", "");
	return ret ?: trace_write(name, "1");
}

/*
 * Call @func with each line that was recorded and has @word in it, and record
 * the event no more. Returns the number of those lines, or an error.
 */
static inline int trace_end(const char *event, const char *word,
			    void (*func)(const char *line, void *arg), void *arg)
{
	char name[128], line[512];
	int nr = 0;
	FILE *f;

	snprintf(name, sizeof(name), "events/%s/enable", event);
	trace_write(name, "0");
	f = fopen(IOPF_TRACING "/trace", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || !strstr(line, word))
			continue;
		nr++;
		if (func)
			func(line, arg);
	}
	fclose(f);
	return nr;
}

#endif /* IOPF_TRACE_H */

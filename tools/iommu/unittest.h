/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the unit tests share. Each program includes it once.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_UNITTEST_H
#define IOPF_UNITTEST_H

#include <stdbool.h>
#include <stdio.h>

/* For tests that play the kernel: the linker has ioctl() call this one. */
int __wrap_ioctl(int fd, unsigned long nr, ...);

static unsigned int failed, count;
static bool ok;

#define CHECK(cond) do { \
	if (!(cond)) { \
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
		ok = false; \
	} \
} while (0)

static void run(const char *name, void (*test)(void))
{
	ok = true;
	test();
	failed += !ok;
	printf("%s %u %s\n", ok ? "ok" : "not ok", ++count, name);
}

#endif /* IOPF_UNITTEST_H */

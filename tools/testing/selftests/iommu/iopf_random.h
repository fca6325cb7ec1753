/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests that do things at random: numbers of which a seed makes the same
 * again, and what they say if something is wrong
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_RANDOM_H
#define IOPF_RANDOM_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include <linux/types.h>

#include "../kselftest.h"

static atomic_bool failed;

/* One line. The test goes on, to end in order, as one that has failed. */
static inline __printf(1, 2) void fail(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ksft_print_msg("%s\n", line);
	failed = true;
}

/* The next number; @state is the seed at first. */
static inline __u64 draw_from(__u64 *state)
{
	__u64 x;

	/* A counter, and a function that mixes its bits */
	*state += 0x9e3779b97f4a7c15ULL;
	x = *state;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* One of 0 to @limit - 1 */
static inline __u32 draw_below(__u64 *state, __u32 limit)
{
	return (draw_from(state) >> 32) * limit >> 32;
}

#endif /* IOPF_RANDOM_H */

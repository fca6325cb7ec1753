/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A limit for lines that a device can provoke.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_LIMIT_H
#define IOPF_LIMIT_H

#include <stdbool.h>

#include <linux/types.h>

/* So many lines at once, and then one in so many nanoseconds. */
#define LIMIT_BURST	32
#define LIMIT_EVERY	100000000ULL

/**
 * struct limit - state of a limit; start with zeroes
 * @begun: the first line has come
 * @used: lines of the burst that are used up
 * @since: when @used was brought up to date, nanoseconds
 * @dropped: lines left out since the last one that was not
 */
struct limit {
	bool begun;
	unsigned int used;
	__u64 since;
	__u64 dropped;
};

/**
 * limit_pass - may a line be printed now
 * @l: limit
 * @now: time, nanoseconds of a clock that does not go back
 * @dropped: set to the lines left out before this one, if it may
 *
 * Return: true if it may, false if it is one more that is left out.
 */
bool limit_pass(struct limit *l, __u64 now, __u64 *dropped);

#endif /* IOPF_LIMIT_H */

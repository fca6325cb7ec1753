// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Distribution of times in a fixed amount of memory.
 *
 * Values below 64 have a bucket each. From there on every power of two is cut
 * into 64 buckets, so a bucket is at most 1/64 of its value wide.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <time.h>

#include "internal.h"

#define SUB_BITS	6

static unsigned int bucket_of(__u64 ns)
{
	unsigned int shift;

	if (ns >> SUB_BITS == 0)
		return ns;
	shift = 63 - __builtin_clzll(ns) - SUB_BITS;
	return ((shift + 1) << SUB_BITS) + ((ns >> shift) & 63);
}

/* Largest value that falls into a bucket. */
static __u64 bucket_last(unsigned int bucket)
{
	unsigned int shift;
	__u64 first;

	if (bucket >> SUB_BITS == 0)
		return bucket;
	shift = (bucket >> SUB_BITS) - 1;
	first = (64ULL + (bucket & 63)) << shift;
	return first + ((1ULL << shift) - 1);
}

void iopf_stat_add(struct iopf_stat *stat, __u64 ns)
{
	if (!stat->nr || ns < stat->min)
		stat->min = ns;
	if (ns > stat->max)
		stat->max = ns;
	stat->nr++;
	stat->bucket[bucket_of(ns)]++;
}

__u64 iopf_stat_quantile(const struct iopf_stat *stat, unsigned int permille)
{
	__u64 want, seen = 0, value;
	unsigned int i;

	if (!stat->nr)
		return 0;
	if (!permille)
		return stat->min;
	/* Rank of the sample, rounded up, without overflow for large counts. */
	want = stat->nr / 1000 * permille +
	       (stat->nr % 1000 * permille + 999) / 1000;
	for (i = 0; i < IOPF_STAT_BUCKETS; i++) {
		seen += stat->bucket[i];
		if (seen >= want)
			break;
	}
	value = bucket_last(i);
	if (value < stat->min)
		return stat->min;
	return value > stat->max ? stat->max : value;
}

__u64 iopf_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

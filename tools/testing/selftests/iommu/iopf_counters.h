/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel counts of page requests, see Documentation/ABI/testing/debugfs-iopf
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_COUNTERS_H
#define IOPF_COUNTERS_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define IOPF_COUNTERS	"/sys/kernel/debug/iopf"

/* @latencies: groups in all buckets of the histogram */
struct counters {
	unsigned int devices;
	unsigned long long overflows, open, requests, groups, refused, success,
		invalid, failure, dropped, lost, timed_out, latencies;
};

static inline void add_counter(struct counters *c, const char *name,
			       unsigned long long value)
{
	const struct {
		const char *name;
		unsigned long long *value;
	} known[] = {
		{ "overflows", &c->overflows }, { "open", &c->open },
		{ "requests", &c->requests }, { "groups", &c->groups },
		{ "refused", &c->refused }, { "success", &c->success },
		{ "invalid", &c->invalid }, { "failure", &c->failure },
		{ "dropped", &c->dropped }, { "lost", &c->lost },
		{ "timed_out", &c->timed_out }, { NULL, NULL },
	};
	unsigned int i;

	for (i = 0; known[i].name; i++)
		if (!strcmp(name, known[i].name))
			*known[i].value += value;
}

/*
 * The counters of a device, which are there while its page faults are on, or with
 * @bdf NULL the sums over all queues. Returns 0, -ENODEV if there is no such
 * device, or the errno of a kernel that does not tell.
 */
static inline int read_counters(const char *bdf, struct counters *c)
{
	FILE *file = fopen(IOPF_COUNTERS, "re");
	unsigned long long value;
	bool wanted = false, found = !bdf;
	char line[128], word[64];
	unsigned int bucket;

	memset(c, 0, sizeof(*c));
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "device %63s", word) == 1) {
			c->devices++;
			wanted = bdf && !strcmp(word, bdf);
			found |= wanted;
		} else if (!strncmp(line, "queue ", 6)) {
			wanted = !bdf;
		} else if (!wanted) {
			continue;
		} else if (sscanf(line, "latency %u %llu", &bucket, &value) == 2) {
			c->latencies += value;
		} else if (sscanf(line, "%63s %llu", word, &value) == 2) {
			add_counter(c, word, value);
		}
	}
	fclose(file);
	return found ? 0 : -ENODEV;
}

#endif /* IOPF_COUNTERS_H */

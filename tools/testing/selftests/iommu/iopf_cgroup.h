/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cgroup to see whose memory the kernel takes
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_CGROUP_H
#define IOPF_CGROUP_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "iopf_sysfs.h"

#define CGROUPS "/sys/fs/cgroup"
#define CGROUP CGROUPS "/iopf-test"

/* False if this kernel does not charge memory to cgroups. */
static inline bool cgroup_make(void)
{
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		return false;
	if (!write_file(CGROUPS "/cgroup.subtree_control", "+memory") &&
	    !mkdir(CGROUP, 0755))
		return true;
	umount(CGROUPS);
	return false;
}

static inline void cgroup_remove(void)
{
	rmdir(CGROUP);
	umount(CGROUPS);
}

/* Bytes of a kind of memory, as counted a moment ago; see memory.stat */
static inline long cgroup_counted(const char *kind)
{
	FILE *file = fopen(CGROUP "/memory.stat", "re");
	char line[128], name[64];
	long bytes = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %ld", name, &bytes) == 2 &&
		    !strcmp(name, kind))
			break;
		bytes = -1;
	}
	if (file)
		fclose(file);
	return bytes;
}

/* Wait until there is more than that. The kernel counts every two seconds. */
static inline bool cgroup_counts(const char *kind, long bytes)
{
	unsigned int i;

	for (i = 0; i != 600; i++) {
		if (cgroup_counted(kind) > bytes)
			return true;
		usleep(100000);
	}
	return false;
}

/* The same of small pieces of the kernel's memory */
static inline bool cgroup_charges(long bytes)
{
	return cgroup_counts("slab_unreclaimable", bytes);
}

/* There is to be no more than there is now. */
static inline int cgroup_close(void)
{
	char bytes[32];

	return read_text(CGROUP "/memory.current", bytes, sizeof(bytes)) ?:
	       write_file(CGROUP "/memory.max", bytes);
}

#endif /* IOPF_CGROUP_H */

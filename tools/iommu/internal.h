/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of libiopf share and its users do not see.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_INTERNAL_H
#define IOPF_INTERNAL_H

#include "libiopf.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
#ifndef BIT_ULL
#define BIT_ULL(n) (1ULL << (n))
#endif

struct iopf_ctx {
	int fd;
};

struct iopf_dev {
	struct iopf_ctx *ctx;
	int fd;
	__u32 id;
	char bdf[16];
	__u64 config_offset;	/* config space in the VFIO file */
	__u64 config_size;
};

/* Pages of runs that touch and want the same become one run. */
unsigned int iopf_merge_runs(struct iopf_run *run, unsigned int nr);

/* A path below iopf_root(). Returns a string that the caller frees, or NULL. */
__printf(1, 2) char *iopf_path(const char *fmt, ...);

/*
 * A file below iopf_root(), cut at @size - 1 bytes and at the last newline.
 * Returns the length or a negative errno.
 */
__printf(3, 4) int iopf_read_file(char *buf, size_t size, const char *fmt, ...);

/* Last part of the path a link below iopf_root() points to. */
__printf(3, 4) int iopf_read_link(char *buf, size_t size, const char *fmt, ...);

#endif /* IOPF_INTERNAL_H */

/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the files of libiopf share and its users do not see. Programs must not
 * include it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_INTERNAL_H
#define IOPF_INTERNAL_H

#include "common.h"
#include "uapi-compat.h"

/* All is compiled with -fvisibility=hidden, but what the header declares. */
#pragma GCC visibility push(default)
#include "libiopf.h"
#pragma GCC visibility pop

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

/* Say why memory could not be mapped. Returns -@err. */
int iopf_map_error(int err, __u64 iova, __u64 length);

/* IOPF_READ and IOPF_WRITE as iommufd says it. */
__u32 iopf_map_flags(unsigned int prot);

#endif /* IOPF_INTERNAL_H */

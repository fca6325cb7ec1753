// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Turn the requests of a group into as few map calls as possible.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdlib.h>

#include "internal.h"

static int run_compare(const void *a, const void *b)
{
	const struct iopf_run *x = a, *y = b;

	if (x->iova != y->iova)
		return x->iova < y->iova ? -1 : 1;
	return 0;
}

/* Merge requests for the same page. The array is sorted by address. */
static unsigned int merge_same(struct iopf_run *run, unsigned int nr)
{
	unsigned int i, out = 0;

	for (i = 1; i < nr; i++) {
		if (run[i].iova == run[out].iova)
			run[out].prot |= run[i].prot;
		else
			run[++out] = run[i];
	}
	return nr ? out + 1 : 0;
}

unsigned int iopf_merge_runs(struct iopf_run *run, unsigned int nr)
{
	unsigned int i, out = 0;

	for (i = 1; i < nr; i++) {
		/* The sum may wrap to 0 at the end of the address space. */
		if (run[i].prot == run[out].prot && run[i].iova &&
		    run[i].iova == run[out].iova + run[out].length)
			run[out].length += run[i].length;
		else
			run[++out] = run[i];
	}
	return nr ? out + 1 : 0;
}

unsigned int iopf_coalesce(const struct iopf_group *group, __u64 page_size,
			   struct iopf_run *run)
{
	unsigned int i, nr = 0;

	for (i = 0; i < group->nr; i++) {
		if (!(group->rec[i].perm & IOPF_RW))
			continue;
		run[nr].iova = group->rec[i].addr & ~(page_size - 1);
		run[nr].length = page_size;
		run[nr].prot = group->rec[i].perm & IOPF_RW;
		nr++;
	}
	qsort(run, nr, sizeof(*run), run_compare);
	nr = merge_same(run, nr);
	return iopf_merge_runs(run, nr);
}

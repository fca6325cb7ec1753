/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VT-d: what user space invalidates of first-stage domains
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _INTEL_INVALIDATE_H
#define _INTEL_INVALIDATE_H

#include <linux/types.h>

#include "iommu.h"

struct iopf_vtd_invalidate;

/* What is invalidated one by one, and descriptors of a submission */
#define INV_MAX		32
#define INV_BATCH_MAX	64
/* The same of what takes no memory but the stack */
#define INV_FEW		4
#define INV_BATCH_FEW	12

/**
 * struct intel_inv - Something to invalidate
 * @cache: combination of enum iopf_vtd_inv_cache
 * @gran: one of enum iopf_vtd_inv_gran
 * @leaf: only last entries of tables were changed
 * @drain: wait for page requests after that; @cache may be 0
 * @did: domain ID of the guest
 * @sid: source ID of the guest
 * @pasid: PASID of the guest
 * @first: first page frame
 * @last: last page frame
 *
 * What does not count is 0, on a HWPT the ids do not.
 */
struct intel_inv {
	u8 cache;
	u8 gran;
	bool leaf;
	bool drain;
	u16 did;
	u16 sid;
	u32 pasid;
	u64 first;
	u64 last;
};

/**
 * struct intel_inv_list - All that there is to invalidate
 * @nr: how many in @inv
 * @max: how many it has room for, at least one
 * @all: everything, whatever is in @inv
 * @drain: wait for page requests after that
 * @inv: these
 */
struct intel_inv_list {
	unsigned int nr;
	unsigned int max;
	bool all;
	bool drain;
	struct intel_inv *inv;
};

/**
 * struct intel_inv_work - What an ioctl takes
 * @list: all that there is to invalidate
 * @iommu: for whom @desc is
 * @nr: how many there are
 * @desc: the next submission: @few or @many
 * @many: room for INV_BATCH_MAX, once @few is not enough
 * @few: room that is there always
 */
struct intel_inv_work {
	struct intel_inv_list list;
	struct intel_iommu *iommu;
	unsigned int nr;
	struct qi_desc *desc;
	struct qi_desc *many;
	struct qi_desc few[INV_BATCH_FEW];
};

void intel_inv_begin(struct intel_inv_work *work, struct intel_inv *room,
		     unsigned int max);
void intel_inv_end(struct intel_inv_work *work);
int intel_inv_from_user(const struct iopf_vtd_invalidate *user, bool guest,
			struct intel_inv *inv);
void intel_inv_add(struct intel_inv_list *list, const struct intel_inv *new);
void intel_inv_submit_guest(struct intel_inv_work *work,
			    struct intel_viommu *viommu);
void intel_inv_submit_domain(struct intel_inv_work *work,
			     struct dmar_domain *domain);

#endif /* _INTEL_INVALIDATE_H */

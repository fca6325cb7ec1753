// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests of the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Lets tests send any page request, and see each answer.
 */
#include <linux/iommufd.h>

#include "../iopf-core.h"
#include "selftest_iopf.h"

void mock_iopf_log_init(struct mock_iopf_log *log)
{
	spin_lock_init(&log->lock);
}

void mock_iopf_log_submission(struct mock_iopf_log *log)
{
	spin_lock(&log->lock);
	log->submissions++;
	spin_unlock(&log->lock);
}

void mock_iopf_log_add(struct mock_iopf_log *log,
		       const struct iopf_response *answer)
{
	unsigned int slot;

	spin_lock(&log->lock);
	slot = log->total++ % ARRAY_SIZE(log->answer);
	log->answer[slot].grpid = answer->prm->grpid;
	log->answer[slot].pasid = answer->prm->pasid;
	log->answer[slot].code = iopf_resp_to_pcie(answer->code);
	spin_unlock(&log->lock);
}

/* The total is always given, the rest only if the answer is still known. */
int mock_iopf_log_get(struct mock_iopf_log *log, struct iommu_test_cmd *cmd)
{
	u32 index = cmd->iopf_answer.index;
	unsigned int slot = index % ARRAY_SIZE(log->answer);

	spin_lock(&log->lock);
	cmd->iopf_answer.out_total = log->total;
	cmd->iopf_answer.out_submissions = log->submissions;
	cmd->iopf_answer.out_valid = index < log->total &&
				     log->total - index <= ARRAY_SIZE(log->answer);
	cmd->iopf_answer.out_grpid = log->answer[slot].grpid;
	cmd->iopf_answer.out_pasid = log->answer[slot].pasid;
	cmd->iopf_answer.out_code = log->answer[slot].code;
	spin_unlock(&log->lock);
	return 0;
}

int mock_iopf_send(struct device *dev, struct iommu_test_cmd *cmd)
{
	u32 flags = cmd->iopf_send.flags;
	struct iopf_fault event = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.pasid = cmd->iopf_send.pasid,
				.grpid = cmd->iopf_send.grpid,
				.perm = cmd->iopf_send.perm,
				.addr = cmd->iopf_send.addr,
			},
		},
	};

	if (flags & ~(MOCK_IOPF_PASID | MOCK_IOPF_LAST | MOCK_IOPF_MALFORMED))
		return -EINVAL;

	if (flags & MOCK_IOPF_LAST)
		event.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (flags & MOCK_IOPF_PASID)
		event.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
					 IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;

	if (flags & MOCK_IOPF_MALFORMED)
		iopf_report_malformed(dev, &event);
	else
		iommu_report_device_fault(dev, &event);
	return 0;
}

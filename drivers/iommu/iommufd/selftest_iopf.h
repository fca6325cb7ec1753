/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests of the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOMMUFD_SELFTEST_IOPF_H
#define __IOMMUFD_SELFTEST_IOPF_H

#include <linux/iommu.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "iommufd_test.h"

/**
 * struct mock_iopf_log - What a mock device was answered
 * @lock: protects the log
 * @total: number of answers so far
 * @submissions: number of submissions they came in, counted for the first device
 * @answer: the last answers, the one with number n at n modulo size
 */
struct mock_iopf_log {
	spinlock_t lock;	/* The whole log */
	u32 total;
	u32 submissions;
	struct {
		u32 grpid;
		u32 pasid;
		u32 code;
	} answer[64];
};

void mock_iopf_log_init(struct mock_iopf_log *log);
void mock_iopf_log_add(struct mock_iopf_log *log,
		       const struct iopf_response *answer);
void mock_iopf_log_submission(struct mock_iopf_log *log);
int mock_iopf_log_get(struct mock_iopf_log *log, struct iommu_test_cmd *cmd);
int mock_iopf_send(struct device *dev, struct iommu_test_cmd *cmd);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page request core: what it counts of devices and of queues
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef __IOPF_STAT_H
#define __IOPF_STAT_H

#include <linux/iommu.h>

void iopf_stat_add_queue(struct iopf_queue *queue, const char *name);
void iopf_stat_del_queue(struct iopf_queue *queue);
void iopf_stat_request(struct iommu_fault_param *param);
void iopf_stat_count(struct iommu_fault_param *param,
		     enum iopf_stat_counter what, unsigned int nr);
void iopf_stat_answer(struct iommu_fault_param *param, u32 code);
void iopf_stat_latency(struct iommu_fault_param *param, u64 ns);
void iopf_stat_leave(struct iommu_fault_param *param);

#endif /* __IOPF_STAT_H */

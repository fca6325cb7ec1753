/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ARM SMMUv3: page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _ARM_SMMU_V3_PRI_H
#define _ARM_SMMU_V3_PRI_H

#include <linux/container_of.h>
#include <linux/irqreturn.h>
#include <linux/types.h>

#include "../../iopf-hwq.h"

struct arm_smmu_device;
struct arm_smmu_queue;
struct iommu_fault_page_request;
struct iopf_fault;
struct iopf_response;

/**
 * struct arm_smmu_hwq - A queue of the SMMU that is worked off by the core
 * @hwq: what the core knows of it
 * @q: the queue
 * @smmu: its SMMU
 */
struct arm_smmu_hwq {
	struct iopf_hwq			hwq;
	struct arm_smmu_queue		*q;
	struct arm_smmu_device		*smmu;
};

static inline struct arm_smmu_hwq *to_smmu_hwq(struct iopf_hwq *hwq)
{
	return container_of(hwq, struct arm_smmu_hwq, hwq);
}

u32 arm_smmu_hwq_tail(struct iopf_hwq *hwq);
void arm_smmu_hwq_set_head(struct iopf_hwq *hwq, u32 head);
bool arm_smmu_hwq_ovf(struct iopf_hwq *hwq);
void arm_smmu_hwq_ack_ovf(struct iopf_hwq *hwq);
void arm_smmu_hwq_init(struct arm_smmu_hwq *shwq, struct arm_smmu_device *smmu,
		       struct arm_smmu_queue *q,
		       const struct iopf_hwq_ops *ops);
void arm_smmu_hwq_work_off(struct arm_smmu_hwq *shwq);

/**
 * enum arm_smmu_pri_verdict - What to do with an entry of the PRI queue
 * @ARM_SMMU_PRI_REPORT: report it
 * @ARM_SMMU_PRI_MALFORMED: it, and the group it belongs to, must not be granted
 * @ARM_SMMU_PRI_IGNORE: nobody waits for an answer
 */
enum arm_smmu_pri_verdict {
	ARM_SMMU_PRI_REPORT,
	ARM_SMMU_PRI_MALFORMED,
	ARM_SMMU_PRI_IGNORE,
};

void arm_smmu_pri_init(struct arm_smmu_device *smmu);
irqreturn_t arm_smmu_priq_thread(int irq, void *dev);
void arm_smmu_pri_ack_gerror(struct arm_smmu_device *smmu, u32 active);
void arm_smmu_page_response_batch(const struct iopf_response *responses,
				  unsigned int nr);

#if IS_ENABLED(CONFIG_KUNIT)
enum arm_smmu_pri_verdict arm_smmu_pri_decode(const __le64 *entry,
					      struct iopf_fault *event);
void arm_smmu_pri_encode_response(u64 *cmd, u32 sid,
				  const struct iommu_fault_page_request *prm,
				  u32 code);
void arm_smmu_pri_encode_resume(u64 *cmd, u32 sid,
				const struct iommu_fault_page_request *prm,
				u32 code);
bool arm_smmu_pri_match(const void *entry, u32 sid, u32 pasid);
#endif

#endif /* _ARM_SMMU_V3_PRI_H */

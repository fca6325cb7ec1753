// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: events of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <uapi/linux/iommufd.h>

#include "arm-smmu-v3.h"

/* Is it for what is in the tables of a guest? */
static bool is_first_stage_event(const u64 *evt)
{
	switch (FIELD_GET(EVTQ_0_ID, evt[0])) {
	case EVT_ID_BAD_STE:
	case EVT_ID_STREAM_DISABLED:
	case EVT_ID_BAD_SUBSTREAMID:
	case EVT_ID_BAD_CD:
		return true;
	case EVT_ID_TRANSLATION_FAULT:
	case EVT_ID_ADDR_SIZE_FAULT:
	case EVT_ID_ACCESS_FAULT:
	case EVT_ID_PERMISSION_FAULT:
		return !(evt[1] & (EVTQ_1_STALL | EVTQ_1_S2));
	default:
		return false;
	}
}

static int report_to_guest(struct arm_smmu_vmaster *vmaster, const u64 *evt)
{
	struct iommu_vevent_arm_smmuv3 vevt;
	unsigned int i;

	for (i = 0; i < EVTQ_ENT_DWORDS; i++)
		vevt.evt[i] = cpu_to_le64(evt[i]);
	vevt.evt[0] = cpu_to_le64((evt[0] & ~EVTQ_0_SID) |
				  FIELD_PREP(EVTQ_0_SID, vmaster->vsid));
	return iommufd_viommu_report_event(&vmaster->vsmmu->core,
					   IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
					   &vevt, sizeof(vevt));
}

/**
 * arm_smmu_vmaster_report() - Tell a guest of an event
 * @smmu: the SMMU
 * @evt: record of the event queue
 *
 * Context: may sleep.
 *
 * Return: 0, or an errno if it is not one of a guest which has asked for them.
 */
int arm_smmu_vmaster_report(struct arm_smmu_device *smmu, const u64 *evt)
{
	struct arm_smmu_master *master;
	int ret = -EOPNOTSUPP;

	if (!is_first_stage_event(evt))
		return ret;
	mutex_lock(&smmu->streams_mutex);
	master = arm_smmu_find_master(smmu, FIELD_GET(EVTQ_0_SID, evt[0]));
	if (master && master->vmaster)
		ret = report_to_guest(master->vmaster, evt);
	mutex_unlock(&smmu->streams_mutex);
	return ret;
}

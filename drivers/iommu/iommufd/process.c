// SPDX-License-Identifier: GPL-2.0-only
/*
 * The address space of a process as a page table
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * It has no IOAS and no fault queue: the process maps what it likes, and page requests
 * are served as if the process had touched the page. What the requests themselves take is
 * charged to who makes the page table. What goes for it when it is attached to a PASID is
 * in pasid.c.
 */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/memcontrol.h>
#include <uapi/linux/iopf_process.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"

/**
 * iommufd_hwpt_process_destroy() - End the page table of a process
 * @obj: the object of the page table, which may have no domain yet
 */
void iommufd_hwpt_process_destroy(struct iommufd_object *obj)
{
	struct iommufd_hw_pagetable *hwpt =
		container_of(obj, struct iommufd_hw_pagetable, obj);

	if (hwpt->domain)
		iommu_sva_free_process(hwpt->domain);
	mem_cgroup_put(hwpt->memcg);
}

/**
 * iommufd_hwpt_alloc_process() - ioctl(IOPF_HWPT_ALLOC_PROCESS)
 * @ucmd: the command
 *
 * Return: 0, or an errno that &struct iopf_hwpt_alloc_process names.
 */
int iommufd_hwpt_alloc_process(struct iommufd_ucmd *ucmd)
{
	struct iopf_hwpt_alloc_process *cmd = ucmd->cmd;
	struct iommufd_hw_pagetable *hwpt;
	struct iommufd_device *idev;
	struct iommu_domain *domain;
	int rc;

	static_assert(IOPF_PROCESS_SELF == IOMMU_SVA_SELF);

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	idev = iommufd_get_device(ucmd, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);

	hwpt = __iommufd_object_alloc(ucmd->ictx, hwpt,
				      IOMMUFD_OBJ_HWPT_PROCESS, obj);
	if (IS_ERR(hwpt)) {
		rc = PTR_ERR(hwpt);
		goto out_put_idev;
	}
	hwpt->pasid_compat = true;
	hwpt->memcg = get_mem_cgroup_from_mm(current->mm);
	domain = iommu_sva_alloc_process(idev->dev, cmd->pidfd);
	if (IS_ERR(domain)) {
		rc = PTR_ERR(domain);
		goto out_abort;
	}
	hwpt->domain = domain;

	cmd->out_hwpt_id = hwpt->obj.id;
	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
	if (rc)
		goto out_abort;
	iommufd_object_finalize(ucmd->ictx, &hwpt->obj);
	goto out_put_idev;

out_abort:
	iommufd_object_abort_and_destroy(ucmd->ictx, &hwpt->obj);
out_put_idev:
	iommufd_put_object(ucmd->ictx, &idev->obj);
	return rc;
}

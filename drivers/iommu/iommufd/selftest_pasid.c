// SPDX-License-Identifier: GPL-2.0-only
/*
 * PASIDs of mock devices
 *
 * A mock device has no tables. What is attached to a PASID is what the core says, and
 * a set or a replacement fails when a test wants that. The address space of a process is
 * served when a test sends its page requests.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"
#include "iommufd_test.h"
#include "selftest_pasid.h"

int mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
		       ioasid_t pasid, struct iommu_domain *old)
{
	if (pasid == MOCK_PASID_UNFIT)
		return -ENOMEM;
	return 0;
}

void mock_remove_dev_pasid(struct device *dev, ioasid_t pasid,
			   struct iommu_domain *domain)
{
}

int mock_replace_dev_pasid(struct device *dev, ioasid_t pasid,
			   struct iommu_domain *domain, struct iommu_domain *old)
{
	/* It is set and never replaced. */
	if (pasid == IOMMU_TEST_PASID_RESERVED)
		return -ENOMEM;
	/* By way of none, as most drivers do */
	if (pasid & 1)
		return -EOPNOTSUPP;
	return 0;
}

/* There is no cache of what has been walked. */
static void mock_sva_flush_walks(struct iommu_domain *domain)
{
}

static void mock_sva_free(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops mock_sva_ops = {
	.set_dev_pasid = mock_set_dev_pasid,
	.flush_walks = mock_sva_flush_walks,
	.free = mock_sva_free,
};

struct iommu_domain *mock_domain_alloc_sva(struct device *dev,
					   struct mm_struct *mm)
{
	struct iommu_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);

	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->ops = &mock_sva_ops;
	return domain;
}

/* 0 for a page table that is expected means that there is to be none. */
static int mock_pasid_check(struct iommufd_ucmd *ucmd,
			    struct iommufd_device *idev,
			    const struct iommu_test_cmd *cmd)
{
	struct iommu_attach_handle *handle;
	struct iommufd_object *obj;
	int rc = -EINVAL;

	if (!cmd->pasid_check.hwpt_id) {
		handle = iommu_attach_handle_get(idev->igroup->group,
						 cmd->pasid_check.pasid, 0);
		return PTR_ERR_OR_ZERO(handle) == -ENOENT ? 0 : -EINVAL;
	}
	obj = iommufd_get_object(ucmd->ictx, cmd->pasid_check.hwpt_id,
				 IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	mutex_lock(&idev->igroup->lock);
	handle = iommu_attach_handle_get(idev->igroup->group,
					 cmd->pasid_check.pasid, 0);
	/* As in pasid_change() */
	if (!IS_ERR(handle) && obj->type >= IOMMUFD_OBJ_HWPT_PAGING &&
	    obj->type <= IOMMUFD_OBJ_HWPT_NESTED &&
	    handle->domain ==
		    container_of(obj, struct iommufd_hw_pagetable, obj)->domain)
		rc = 0;
	mutex_unlock(&idev->igroup->lock);
	iommufd_put_object(ucmd->ictx, obj);
	return rc;
}

/**
 * mock_pasid_test() - Do what a driver does for its users, with PASIDs
 * @ucmd: the command
 * @idev: the device
 * @cmd: its arguments
 *
 * Return: 0 or an errno.
 */
int mock_pasid_test(struct iommufd_ucmd *ucmd, struct iommufd_device *idev,
		    struct iommu_test_cmd *cmd)
{
	switch (cmd->op) {
	case IOMMU_TEST_OP_PASID_ATTACH:
		return iommufd_device_attach_pasid(idev, cmd->pasid_attach.pasid,
						   cmd->pasid_attach.pt_id);
	case IOMMU_TEST_OP_PASID_REPLACE:
		return iommufd_device_replace_pasid(idev, cmd->pasid_attach.pasid,
						    cmd->pasid_attach.pt_id);
	case IOMMU_TEST_OP_PASID_DETACH:
		iommufd_device_detach_pasid(idev, cmd->pasid_attach.pasid);
		return 0;
	default:
		return mock_pasid_check(ucmd, idev, cmd);
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs of iommufd: slices of an IOMMU that guests have for their own
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * References: a vIOMMU holds its nest parent, and the module of its driver. What
 * is made through a vIOMMU holds the vIOMMU. Not the device that it was made with:
 * that only tells which IOMMU is meant.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/iommufd.h>
#include <linux/module.h>
#include <uapi/linux/iommufd.h>

#include "iommufd_private.h"

void iommufd_viommu_destroy(struct iommufd_object *obj)
{
	struct iommufd_viommu *viommu = to_viommu(obj);

	/* None if it could not be set up. */
	if (viommu->ops && viommu->ops->destroy)
		viommu->ops->destroy(viommu);
	iommufd_viommu_cleanup(viommu);
	module_put(viommu->iommu_dev->ops->owner);
	refcount_dec(&viommu->hwpt->common.obj.users);
}

/* 0 if the driver has no vIOMMUs of this type. */
static size_t viommu_size(struct device *dev, u32 type)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);
	size_t size;

	if (!ops->get_viommu_size || !ops->viommu_init)
		return 0;
	size = ops->get_viommu_size(dev, type);
	if (WARN_ON_ONCE(size && size < sizeof(struct iommufd_viommu)))
		return 0;
	return size;
}

static struct iommufd_viommu *
viommu_create(struct iommufd_ctx *ictx, struct iommufd_device *idev,
	      struct iommufd_hwpt_paging *parent, size_t size, u32 type,
	      const struct iommu_user_data *user_data)
{
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);
	struct iommufd_viommu *viommu;
	struct iommufd_object *obj;
	int rc;

	if (!parent->nest_parent || parent->common.domain->owner != ops)
		return ERR_PTR(-EINVAL);

	/* The device may go, and with it what holds the driver for us. */
	if (!try_module_get(ops->owner))
		return ERR_PTR(-ENODEV);
	obj = _iommufd_object_alloc(ictx, size, IOMMUFD_OBJ_VIOMMU);
	if (IS_ERR(obj)) {
		module_put(ops->owner);
		return ERR_CAST(obj);
	}

	viommu = to_viommu(obj);
	iommufd_viommu_setup(viommu, ictx, idev, type);
	viommu->hwpt = parent;
	refcount_inc(&parent->common.obj.users);

	rc = ops->viommu_init(viommu, parent->common.domain, user_data);
	if (!rc && WARN_ON_ONCE(!viommu->ops))
		rc = -EOPNOTSUPP;
	if (rc) {
		/* Nothing is left for the driver to undo. */
		viommu->ops = NULL;
		iommufd_object_abort_and_destroy(ictx, &viommu->obj);
		return ERR_PTR(rc);
	}
	return viommu;
}

/**
 * iommufd_ucmd_finish() - Hand a new object to user space
 * @ucmd: the ioctl, with the id in its answer
 * @cmd_len: length of the answer
 * @obj: the object, which is gone if that fails
 *
 * Return: 0 or a negative errno.
 */
int iommufd_ucmd_finish(struct iommufd_ucmd *ucmd, size_t cmd_len,
			struct iommufd_object *obj)
{
	int rc = iommufd_ucmd_respond(ucmd, cmd_len);

	if (rc)
		iommufd_object_abort_and_destroy(ucmd->ictx, obj);
	else
		iommufd_object_finalize(ucmd->ictx, obj);
	return rc;
}

int iommufd_viommu_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommu_viommu_alloc *cmd = ucmd->cmd;
	const struct iommu_user_data user_data = {
		.type = cmd->type,
		.uptr = u64_to_user_ptr(cmd->data_uptr),
		.len = cmd->data_len,
	};
	struct iommufd_hwpt_paging *parent;
	struct iommufd_viommu *viommu;
	struct iommufd_device *idev;
	size_t size;
	int rc;

	if (cmd->flags || cmd->type == IOMMU_VIOMMU_TYPE_DEFAULT)
		return -EOPNOTSUPP;

	idev = iommufd_get_device(ucmd, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);

	size = viommu_size(idev->dev, cmd->type);
	if (!size) {
		rc = -EOPNOTSUPP;
		goto out_put_idev;
	}

	parent = iommufd_get_hwpt_paging(ucmd, cmd->hwpt_id);
	if (IS_ERR(parent)) {
		rc = PTR_ERR(parent);
		goto out_put_idev;
	}

	viommu = viommu_create(ucmd->ictx, idev, parent, size, cmd->type,
			       user_data.len ? &user_data : NULL);
	if (IS_ERR(viommu)) {
		rc = PTR_ERR(viommu);
		goto out_put_parent;
	}

	cmd->out_viommu_id = viommu->obj.id;
	rc = iommufd_ucmd_finish(ucmd, sizeof(*cmd), &viommu->obj);

out_put_parent:
	iommufd_put_object(ucmd->ictx, &parent->common.obj);
out_put_idev:
	iommufd_put_object(ucmd->ictx, &idev->obj);
	return rc;
}

/**
 * iommufd_viommu_alloc_hwpt_nested() - Get a nested page table through a vIOMMU
 * @viommu: the vIOMMU
 * @idev: a device that is to be attached to it
 * @flags: flags of user space
 * @user_data: what the guest has, for the driver
 *
 * Return: the page table, which holds the vIOMMU, or an ERR_PTR.
 */
struct iommufd_hwpt_nested *
iommufd_viommu_alloc_hwpt_nested(struct iommufd_viommu *viommu,
				 struct iommufd_device *idev, u32 flags,
				 const struct iommu_user_data *user_data)
{
	struct iommufd_hwpt_nested *hwpt_nested;
	struct iommufd_hw_pagetable *hwpt;
	struct iommu_domain *domain;
	int rc;

	if (!iommufd_viommu_has_device(viommu, idev))
		return ERR_PTR(-EINVAL);
	if ((flags & ~IOMMU_HWPT_FAULT_ID_VALID) || !user_data->len ||
	    !viommu->ops->alloc_domain_nested)
		return ERR_PTR(-EOPNOTSUPP);

	hwpt_nested = __iommufd_object_alloc(viommu->ictx, hwpt_nested,
					     IOMMUFD_OBJ_HWPT_NESTED,
					     common.obj);
	if (IS_ERR(hwpt_nested))
		return hwpt_nested;
	hwpt = &hwpt_nested->common;

	refcount_inc(&viommu->obj.users);
	hwpt_nested->viommu = viommu;
	hwpt_nested->parent = viommu->hwpt;

	/* Who handles the page faults is no business of the driver. */
	flags &= ~IOMMU_HWPT_FAULT_ID_VALID;
	domain = viommu->ops->alloc_domain_nested(viommu, flags, user_data);
	if (IS_ERR(domain)) {
		rc = PTR_ERR(domain);
		goto err_abort;
	}
	hwpt->domain = domain;
	domain->owner = viommu->iommu_dev->ops;
	if (WARN_ON_ONCE(domain->type != IOMMU_DOMAIN_NESTED)) {
		rc = -EINVAL;
		goto err_abort;
	}
	return hwpt_nested;

err_abort:
	iommufd_object_abort_and_destroy(viommu->ictx, &hwpt->obj);
	return ERR_PTR(rc);
}

/**
 * iommufd_viommu_invalidate() - Let a driver invalidate what a guest asks for
 * @viommu: the vIOMMU
 * @array: what to invalidate, its entry_num is set to what was done
 *
 * Return: 0 or the errno of the entry that was not done.
 */
int iommufd_viommu_invalidate(struct iommufd_viommu *viommu,
			      struct iommu_user_data_array *array)
{
	if (!viommu->ops->cache_invalidate) {
		array->entry_num = 0;
		return -EOPNOTSUPP;
	}
	return viommu->ops->cache_invalidate(viommu, array);
}

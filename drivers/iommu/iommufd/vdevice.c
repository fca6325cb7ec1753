// SPDX-License-Identifier: GPL-2.0-only
/*
 * vDEVICEs of iommufd: what a device is to a guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device does not go by itself but when its driver says so, and that cannot fail.
 * A vDEVICE needs its device, so it has to go first, whether or not user space has
 * destroyed it. It has no reference on the device then, which would only be in the
 * way. Who unbinds the device either
 *
 * - gets a reference on the vDEVICE, by which user space cannot destroy it any more,
 *   and destroys it, or
 * - gets none, since somebody is destroying it, and waits until that is done.
 *
 * There is no third: an ioctl that makes a vDEVICE holds the device until that can
 * be found by its id, and new ones do not get the device any more.
 *
 * iommufd_ctx::vdev_lock protects iommufd_device::vdev. To set that to NULL is the
 * last that is done to the device.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/iommufd.h>
#include <linux/wait.h>
#include <uapi/linux/iommufd.h>

#include "iommufd_private.h"

static int vdevice_claim(struct iommufd_vdevice *vdev,
			 struct iommufd_device *idev)
{
	struct iommufd_ctx *ictx = idev->ictx;
	int rc = 0;

	spin_lock(&ictx->vdev_lock);
	if (idev->vdev)
		rc = -EEXIST;
	else
		idev->vdev = vdev;
	spin_unlock(&ictx->vdev_lock);
	return rc;
}

/* From now on the device may be gone. */
static void vdevice_unclaim(struct iommufd_ctx *ictx,
			    struct iommufd_device *idev)
{
	spin_lock(&ictx->vdev_lock);
	idev->vdev = NULL;
	spin_unlock(&ictx->vdev_lock);
	wake_up_all(&ictx->destroy_wait);
}

static bool vdevice_unclaimed(struct iommufd_device *idev)
{
	bool unclaimed;

	/* Not without the lock, for which the other is not done with the device. */
	spin_lock(&idev->ictx->vdev_lock);
	unclaimed = !idev->vdev;
	spin_unlock(&idev->ictx->vdev_lock);
	return unclaimed;
}

void iommufd_vdevice_destroy(struct iommufd_object *obj)
{
	struct iommufd_vdevice *vdev =
		container_of(obj, struct iommufd_vdevice, obj);
	struct iommufd_viommu *viommu = vdev->viommu;
	/* The vIOMMU may be gone with our reference. */
	struct iommufd_ctx *ictx = viommu->ictx;

	xa_erase(&viommu->vdevs, vdev->virt_id);
	if (vdev->destroy)
		vdev->destroy(vdev);
	refcount_dec(&viommu->obj.users);
	vdevice_unclaim(ictx, vdev->idev);
}

/**
 * iommufd_device_pre_destroy() - A device goes, and what it is to a guest
 * @obj: the device, which ioctls cannot get at any more
 */
void iommufd_device_pre_destroy(struct iommufd_object *obj)
{
	struct iommufd_device *idev =
		container_of(obj, struct iommufd_device, obj);
	struct iommufd_ctx *ictx = idev->ictx;
	struct iommufd_vdevice *vdev;

	spin_lock(&ictx->vdev_lock);
	vdev = idev->vdev;
	if (vdev && !refcount_inc_not_zero(&vdev->obj.users))
		vdev = NULL;
	spin_unlock(&ictx->vdev_lock);

	/* User space does not know: its id must not be that of something else. */
	if (vdev)
		WARN_ON(iommufd_object_remove(ictx, &vdev->obj, vdev->obj.id,
					      REMOVE_WAIT_SHORTTERM |
						      REMOVE_OBJ_TOMBSTONE));
	wait_event(ictx->destroy_wait, vdevice_unclaimed(idev));
}

static int vdevice_setup(struct iommufd_vdevice *vdev, u64 virt_id)
{
	struct iommufd_viommu *viommu = vdev->viommu;
	int rc;

	/* Nothing is found there until the driver has set it up. */
	rc = xa_insert(&viommu->vdevs, virt_id, NULL, GFP_KERNEL_ACCOUNT);
	if (rc)
		return rc == -EBUSY ? -EEXIST : rc;
	vdev->virt_id = virt_id;

	if (viommu->ops->vdevice_init) {
		rc = viommu->ops->vdevice_init(vdev);
		if (rc) {
			xa_erase(&viommu->vdevs, virt_id);
			return rc;
		}
	}
	/* Cannot fail, there is an entry. */
	WARN_ON(xa_is_err(xa_store(&viommu->vdevs, virt_id, vdev, GFP_KERNEL)));
	return 0;
}

static struct iommufd_vdevice *vdevice_create(struct iommufd_viommu *viommu,
					      struct iommufd_device *idev,
					      u64 virt_id)
{
	size_t size = viommu->ops->vdevice_size ?:
			      sizeof(struct iommufd_vdevice);
	struct iommufd_vdevice *vdev;
	struct iommufd_object *obj;
	int rc;

	if (!iommufd_viommu_has_device(viommu, idev))
		return ERR_PTR(-EINVAL);
	if (WARN_ON_ONCE(size < sizeof(*vdev) ||
			 (viommu->ops->vdevice_size &&
			  !viommu->ops->vdevice_init)))
		return ERR_PTR(-EOPNOTSUPP);

	obj = _iommufd_object_alloc(viommu->ictx, size, IOMMUFD_OBJ_VDEVICE);
	if (IS_ERR(obj))
		return ERR_CAST(obj);
	vdev = container_of(obj, struct iommufd_vdevice, obj);
	vdev->viommu = viommu;
	vdev->idev = idev;

	rc = vdevice_claim(vdev, idev);
	if (rc)
		goto err_abort;
	rc = vdevice_setup(vdev, virt_id);
	if (rc)
		goto err_unclaim;
	refcount_inc(&viommu->obj.users);
	return vdev;

err_unclaim:
	vdevice_unclaim(viommu->ictx, idev);
err_abort:
	iommufd_object_abort(viommu->ictx, &vdev->obj);
	return ERR_PTR(rc);
}

int iommufd_vdevice_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommu_vdevice_alloc *cmd = ucmd->cmd;
	struct iommufd_vdevice *vdev;
	struct iommufd_viommu *viommu;
	struct iommufd_device *idev;
	int rc;

	/* The index of an xarray */
	if (cmd->virt_id > ULONG_MAX)
		return -EINVAL;

	viommu = iommufd_get_viommu(ucmd, cmd->viommu_id);
	if (IS_ERR(viommu))
		return PTR_ERR(viommu);

	idev = iommufd_get_device(ucmd, cmd->dev_id);
	if (IS_ERR(idev)) {
		rc = PTR_ERR(idev);
		goto out_put_viommu;
	}

	vdev = vdevice_create(viommu, idev, cmd->virt_id);
	if (IS_ERR(vdev)) {
		rc = PTR_ERR(vdev);
		goto out_put_idev;
	}

	cmd->out_vdevice_id = vdev->obj.id;
	rc = iommufd_ucmd_finish(ucmd, sizeof(*cmd), &vdev->obj);

out_put_idev:
	iommufd_put_object(ucmd->ictx, &idev->obj);
out_put_viommu:
	iommufd_put_object(ucmd->ictx, &viommu->obj);
	return rc;
}

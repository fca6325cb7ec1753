// SPDX-License-Identifier: GPL-2.0-only
/*
 * What drivers of IOMMUs need of iommufd
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Always built in: most of these drivers are, while iommufd may be a module, which is
 * there when one of its objects is. Nothing here may call into that.
 */
#include <linux/export.h>
#include <linux/iommufd.h>

#include "iommufd_private.h"

/**
 * iommufd_viommu_find_vdevice() - Find a guest's device by its id
 * @viommu: the vIOMMU of the guest
 * @virt_id: the id
 *
 * Context: with the lock of &iommufd_viommu.vdevs held, under which the device stays.
 *
 * Return: the device or NULL if the guest has none with this id.
 */
struct iommufd_vdevice *
iommufd_viommu_find_vdevice(struct iommufd_viommu *viommu,
			    unsigned long virt_id)
{
	lockdep_assert_held(&viommu->vdevs.xa_lock);

	return xa_load(&viommu->vdevs, virt_id);
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_find_vdevice, IOMMUFD);

/**
 * iommufd_vdevice_to_device() - Which device is that?
 * @vdev: what it is to a guest
 *
 * Return: the device, which stays for as long as @vdev does.
 */
struct device *iommufd_vdevice_to_device(struct iommufd_vdevice *vdev)
{
	return vdev->idev->dev;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vdevice_to_device, IOMMUFD);

/**
 * iommufd_viommu_find_dev() - Find the device that a guest's id stands for
 * @viommu: the vIOMMU of the guest
 * @virt_id: the id
 *
 * Context: with the lock of &iommufd_viommu.vdevs held, under which the device stays.
 *
 * Return: the device or NULL if the guest has none with this id.
 */
struct device *iommufd_viommu_find_dev(struct iommufd_viommu *viommu,
				       unsigned long virt_id)
{
	struct iommufd_vdevice *vdev =
		iommufd_viommu_find_vdevice(viommu, virt_id);

	return vdev ? vdev->idev->dev : NULL;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_find_dev, IOMMUFD);

/**
 * iommufd_viommu_has_vdevice() - Has a guest a device with an id?
 * @viommu: the vIOMMU of the guest
 * @virt_id: the id
 *
 * It may go as soon as this returns: then the device has nothing any more of the guest,
 * or will have nothing when its domain changes.
 *
 * Return: true if it has.
 */
bool iommufd_viommu_has_vdevice(struct iommufd_viommu *viommu,
				unsigned long virt_id)
{
	bool found;

	xa_lock(&viommu->vdevs);
	found = iommufd_viommu_find_vdevice(viommu, virt_id);
	xa_unlock(&viommu->vdevs);
	return found;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_has_vdevice, IOMMUFD);

/**
 * iommufd_viommu_get_vdev_id() - By which id does a guest know a device?
 * @viommu: the vIOMMU of the guest
 * @dev: the device
 * @virt_id: the id is stored here
 *
 * The device may get another id, or lose it, as soon as this returns: a driver asks
 * when it attaches the device to a nested domain of the vIOMMU, and keeps the answer
 * for as long as that is attached.
 *
 * Return: 0, or -ENOENT if the guest has no such device.
 */
int iommufd_viommu_get_vdev_id(struct iommufd_viommu *viommu,
			       struct device *dev, unsigned long *virt_id)
{
	struct iommufd_vdevice *vdev;
	unsigned long index;
	int rc = -ENOENT;

	xa_lock(&viommu->vdevs);
	xa_for_each(&viommu->vdevs, index, vdev) {
		if (vdev->idev->dev == dev) {
			*virt_id = index;
			rc = 0;
			break;
		}
	}
	xa_unlock(&viommu->vdevs);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_get_vdev_id, IOMMUFD);

/**
 * iommufd_copy_user_array() - Copy some entries of an array of user space
 * @dst: room for so many entries of the kernel's size
 * @dst_len: the kernel's size of an entry. Shorter ones of user space are filled up
 *           with zeroes, longer ones must have zeroes at their end
 * @array: the array
 * @first: the first entry to copy
 * @nr: how many. There must be so many. Set to how many could be copied
 *
 * So that an array can be worked off in pieces of a size that the driver chooses.
 *
 * Return: 0, or the errno of the first that could not be: -EFAULT, or -E2BIG if it has
 * something that the kernel does not know.
 */
int iommufd_copy_user_array(void *dst, size_t dst_len,
			    const struct iommu_user_data_array *array,
			    u32 first, u32 *nr)
{
	void __user *src = array->uptr + array->entry_len * first;
	u32 i, wanted = *nr;
	int rc = 0;

	*nr = 0;
	if (WARN_ON_ONCE(first > array->entry_num ||
			 wanted > array->entry_num - first))
		return -EINVAL;

	if (array->entry_len == dst_len &&
	    !copy_from_user(dst, src, array_size(dst_len, wanted))) {
		*nr = wanted;
		return 0;
	}

	for (i = 0; i < wanted; i++) {
		rc = copy_struct_from_user(dst, dst_len, src, array->entry_len);
		if (rc)
			break;
		dst += dst_len;
		src += array->entry_len;
	}
	*nr = i;
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_copy_user_array, IOMMUFD);

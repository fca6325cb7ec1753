// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of a device's PASIDs
 *
 * A device may be attached to one page table with its RID, and to one with each of its
 * PASIDs. What goes for a RID goes for a PASID: the devices of a group have the same
 * page table, the first one attaches it, the last one detaches it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"

/**
 * struct iommufd_pasid - what is attached to a PASID of a group
 * @hwpt: the page table, of which each device holds a reference
 * @handle: of the attachment; NULL if @hwpt is that of a process that has ended, and
 *	    another one could not take its place
 * @devices: that are attached, by the id of the object
 */
struct iommufd_pasid {
	struct iommufd_hw_pagetable *hwpt;
	struct iommufd_attach_handle *handle;
	struct xarray devices;
};

/**
 * iommufd_device_use_faults() - A device is about to get a page table
 * @idev: the device, the id of which faults have from the first one on
 */
void iommufd_device_use_faults(struct iommufd_device *idev)
{
	lockdep_assert_held(&idev->igroup->lock);

	if (!idev->fault_users++)
		iommufd_fault_add_device(idev);
}

/**
 * iommufd_device_unuse_faults() - A device is about to leave a page table
 * @idev: the device
 * @hwpt: the page table; if it is the last one what the device has asked for is answered
 *
 * Where it has others, what it has asked for here is answered when the page table is
 * detached, which another device of the group may hold up.
 */
void iommufd_device_unuse_faults(struct iommufd_device *idev,
				 struct iommufd_hw_pagetable *hwpt)
{
	lockdep_assert_held(&idev->igroup->lock);

	if (!--idev->fault_users)
		iommufd_fault_del_device(idev, hwpt);
}

/**
 * iommufd_rid_fits() - May a RID be attached to a page table, because of PASIDs?
 * @igroup: the group
 * @hwpt: the page table
 *
 * Return: 0, or -EINVAL if a PASID is in use and @hwpt is not made to be beside one.
 */
int iommufd_rid_fits(struct iommufd_group *igroup,
		     struct iommufd_hw_pagetable *hwpt)
{
	lockdep_assert_held(&igroup->lock);

	return xa_empty(&igroup->pasids) || hwpt->pasid_compat ? 0 : -EINVAL;
}

/* A PASID and the RID both have page tables that are made for that. */
static bool pasid_fits(struct iommufd_group *igroup,
		       struct iommufd_hw_pagetable *hwpt)
{
	return hwpt->pasid_compat &&
	       (!igroup->hwpt || igroup->hwpt->pasid_compat);
}

static struct iommufd_attach_handle *
pasid_new_handle(struct iommufd_group *igroup,
		 const struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_attach_handle *handle;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	if (handle)
		iommufd_handle_init(handle, igroup, hwpt);
	return handle;
}

/*
 * The page table of a process is taken away from devices when the process ends. One that
 * gets it while that goes on would keep it.
 */
static int pasid_hold(const struct iommufd_hw_pagetable *hwpt)
{
	return hwpt->domain->type != IOMMU_DOMAIN_SVA ||
	       mmget_not_zero(hwpt->domain->mm) ? 0 : -ESRCH;
}

static void pasid_release(const struct iommufd_hw_pagetable *hwpt)
{
	/* What ends with a process may need locks that are held here. */
	if (hwpt->domain->type == IOMMU_DOMAIN_SVA)
		mmput_async(hwpt->domain->mm);
}

/* The attachment has ended, or has failed: no fault finds it any more. */
static void pasid_end_handle(struct iommufd_hw_pagetable *hwpt,
			     struct iommufd_attach_handle *handle,
			     enum iommu_page_response_code code)
{
	iommufd_auto_response_faults(hwpt, handle, code);
	kfree(handle);
}

static void pasid_free(struct iommufd_group *igroup, ioasid_t pasid,
		       struct iommufd_pasid *attached)
{
	xa_erase(&igroup->pasids, pasid);
	xa_destroy(&attached->devices);
	kfree(attached);
}

static struct iommufd_pasid *pasid_make(struct iommufd_group *igroup,
					ioasid_t pasid)
{
	struct iommufd_pasid *attached;
	int rc;

	attached = kzalloc(sizeof(*attached), GFP_KERNEL);
	if (!attached)
		return ERR_PTR(-ENOMEM);
	xa_init(&attached->devices);
	rc = xa_insert(&igroup->pasids, pasid, attached, GFP_KERNEL);
	if (rc) {
		kfree(attached);
		return ERR_PTR(rc);
	}
	return attached;
}

/* The first device of the group attaches for all of them. */
static int pasid_attach_group(struct iommufd_pasid *attached,
			      struct iommufd_device *idev, ioasid_t pasid,
			      struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_attach_handle *handle =
		pasid_new_handle(idev->igroup, hwpt);
	int rc;

	if (!handle)
		return -ENOMEM;
	rc = pasid_hold(hwpt);
	if (!rc) {
		rc = iommu_attach_device_pasid(hwpt->domain, idev->dev, pasid,
					       &handle->handle);
		pasid_release(hwpt);
	}
	if (rc) {
		/* Faults may have come before the attach failed. */
		pasid_end_handle(hwpt, handle, IOMMU_PAGE_RESP_INVALID);
		return rc;
	}
	attached->hwpt = hwpt;
	attached->handle = handle;
	return 0;
}

static void pasid_detach_group(struct iommufd_pasid *attached,
			       struct iommufd_device *idev, ioasid_t pasid)
{
	if (!attached->handle)
		return;
	iommu_detach_device_pasid(attached->hwpt->domain, idev->dev, pasid);
	pasid_end_handle(attached->hwpt, attached->handle,
			 IOMMU_PAGE_RESP_INVALID);
	attached->handle = NULL;
}

static int pasid_attach(struct iommufd_device *idev, ioasid_t pasid,
			struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_pasid *attached;
	int rc;

	if (!pasid_fits(igroup, hwpt))
		return -EINVAL;
	attached = xa_load(&igroup->pasids, pasid);
	if (attached && xa_load(&attached->devices, idev->obj.id))
		return -EBUSY;
	if (attached && attached->hwpt != hwpt)
		return -EINVAL;
	if (!attached) {
		attached = pasid_make(igroup, pasid);
		if (IS_ERR(attached))
			return PTR_ERR(attached);
	}
	rc = xa_insert(&attached->devices, idev->obj.id, idev, GFP_KERNEL);
	if (rc)
		goto err_free;
	iommufd_device_use_faults(idev);
	if (!attached->hwpt) {
		rc = pasid_attach_group(attached, idev, pasid, hwpt);
		if (rc)
			goto err_del;
	}
	refcount_inc(&hwpt->obj.users);
	/* Pairs with iommufd_device_detach_pasid(), as the RID does. */
	refcount_inc(&idev->obj.users);
	return 0;

err_del:
	iommufd_device_unuse_faults(idev, hwpt);
	xa_erase(&attached->devices, idev->obj.id);
err_free:
	if (!attached->hwpt)
		pasid_free(igroup, pasid, attached);
	return rc;
}

/* Page tables of PASIDs are made by user space, who destroys them. */
static void pasid_move_users(struct iommufd_pasid *attached,
			     struct iommufd_hw_pagetable *from,
			     struct iommufd_hw_pagetable *to)
{
	unsigned long index, nr = 0;
	void *entry;

	xa_for_each(&attached->devices, index, entry)
		nr++;
	refcount_add(nr, &to->obj.users);
	WARN_ON(refcount_sub_and_test(nr, &from->obj.users));
}

/*
 * The process of the old page table is gone. If this fails there is nothing to go back
 * to, and nothing is lost: the old one stays in the books alone.
 */
static int pasid_follow(struct iommufd_pasid *attached,
			struct iommufd_device *idev, ioasid_t pasid,
			struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_hw_pagetable *old_hwpt = attached->hwpt;
	int rc;

	pasid_detach_group(attached, idev, pasid);
	rc = pasid_attach_group(attached, idev, pasid, hwpt);
	if (!rc)
		pasid_move_users(attached, old_hwpt, hwpt);
	return rc;
}

static int pasid_exchange(struct iommufd_device *idev, ioasid_t pasid,
			  struct iommufd_hw_pagetable *hwpt,
			  struct iommufd_attach_handle *handle)
{
	int rc = pasid_hold(hwpt);

	if (rc)
		return rc;
	rc = iommu_replace_device_pasid(hwpt->domain, idev->dev, pasid,
					&handle->handle);
	pasid_release(hwpt);
	return rc;
}

/* Does the kernel, or somebody at the fault queue, serve page requests? */
static bool pasid_serves(const struct iommufd_hw_pagetable *hwpt)
{
	return hwpt->fault || hwpt->domain->type == IOMMU_DOMAIN_SVA;
}

static int pasid_replace(struct iommufd_device *idev, ioasid_t pasid,
			 struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_hw_pagetable *old_hwpt;
	struct iommufd_attach_handle *handle;
	struct iommufd_pasid *attached;
	int rc;

	if (!pasid_fits(igroup, hwpt))
		return -EINVAL;
	attached = xa_load(&igroup->pasids, pasid);
	if (!attached || !xa_load(&attached->devices, idev->obj.id))
		return -EINVAL;
	old_hwpt = attached->hwpt;
	if (old_hwpt == hwpt)
		return 0;
	/* It may be needed again, on failure. */
	if (pasid_hold(old_hwpt))
		return pasid_follow(attached, idev, pasid, hwpt);
	handle = pasid_new_handle(igroup, hwpt);
	rc = handle ? pasid_exchange(idev, pasid, hwpt, handle) : -ENOMEM;
	pasid_release(old_hwpt);
	if (rc) {
		/* Faults may have come before the replace failed. */
		if (handle)
			pasid_end_handle(hwpt, handle, IOMMU_PAGE_RESP_INVALID);
		return rc;
	}
	/* If the new one takes faults too, let the device ask that. */
	pasid_end_handle(old_hwpt, attached->handle,
			 pasid_serves(hwpt) ? IOMMU_PAGE_RESP_SUCCESS :
					      IOMMU_PAGE_RESP_INVALID);
	attached->handle = handle;
	attached->hwpt = hwpt;
	pasid_move_users(attached, old_hwpt, hwpt);
	return 0;
}

static void pasid_detach(struct iommufd_device *idev, ioasid_t pasid)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_hw_pagetable *hwpt;
	struct iommufd_pasid *attached;

	attached = xa_load(&igroup->pasids, pasid);
	if (!attached || !xa_load(&attached->devices, idev->obj.id))
		return;
	hwpt = attached->hwpt;
	iommufd_device_unuse_faults(idev, hwpt);
	xa_erase(&attached->devices, idev->obj.id);
	if (xa_empty(&attached->devices)) {
		pasid_detach_group(attached, idev, pasid);
		pasid_free(igroup, pasid, attached);
	}
	refcount_dec(&hwpt->obj.users);
	refcount_dec(&idev->obj.users);
}

static int pasid_change(struct iommufd_device *idev, ioasid_t pasid, u32 pt_id,
			int (*change)(struct iommufd_device *idev, ioasid_t pasid,
				      struct iommufd_hw_pagetable *hwpt))
{
	struct iommufd_object *obj;
	int rc = -EINVAL;

	/* It would be the RID, with everything that goes with that. */
	if (pasid == IOMMU_NO_PASID)
		return -EINVAL;
	obj = iommufd_get_object(idev->ictx, pt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	/*
	 * Page tables that are made for an IOAS leave no room for PASIDs. All kinds of
	 * others have types from the one of these to the other.
	 */
	if (obj->type >= IOMMUFD_OBJ_HWPT_PAGING &&
	    obj->type <= IOMMUFD_OBJ_HWPT_NESTED) {
		mutex_lock(&idev->igroup->lock);
		rc = change(idev, pasid,
			    container_of(obj, struct iommufd_hw_pagetable, obj));
		mutex_unlock(&idev->igroup->lock);
	}
	iommufd_put_object(idev->ictx, obj);
	return rc;
}

/**
 * iommufd_device_attach_pasid() - Connect a PASID of a device to a page table
 * @idev: the device
 * @pasid: the PASID, not 0
 * @pt_id: id of a page table that was made with IOMMU_HWPT_ALLOC_PASID
 *
 * The page requests that the device sends with the PASID go to the fault queue of the
 * page table. Undo this with iommufd_device_detach_pasid(). A device that has no PASIDs
 * at all is attached to nothing, and that is no error.
 *
 * Context: may sleep.
 *
 * Return: 0 on success; -EINVAL for a PASID that is 0 or above the limit of a device of
 * the group, a page table that is not made for PASIDs or is that of an IOAS, or if the
 * RID, or another device of the group with this PASID, has one that does not fit;
 * -ENOENT if there is no such page table; -EBUSY if the PASID has one; -ESRCH if it is
 * that of a process that has ended; -EOPNOTSUPP if the IOMMU driver can not; or what the
 * IOMMU driver returns.
 */
int iommufd_device_attach_pasid(struct iommufd_device *idev, ioasid_t pasid,
				u32 pt_id)
{
	return pasid_change(idev, pasid, pt_id, pasid_attach);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_attach_pasid, IOMMUFD);

/**
 * iommufd_device_replace_pasid() - Connect a PASID of a device to another page table
 * @idev: the device
 * @pasid: the PASID, which has a page table
 * @pt_id: see iommufd_device_attach_pasid()
 *
 * All devices of the group change with @idev.
 *
 * Context: may sleep.
 *
 * Return: 0 on success. On failure the old page table remains; the errors are those of
 * iommufd_device_attach_pasid() but for -EBUSY, and -EINVAL if there is no old one.
 */
int iommufd_device_replace_pasid(struct iommufd_device *idev, ioasid_t pasid,
				 u32 pt_id)
{
	return pasid_change(idev, pasid, pt_id, pasid_replace);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_replace_pasid, IOMMUFD);

/**
 * iommufd_device_detach_pasid() - Disconnect a PASID of a device
 * @idev: the device
 * @pasid: the PASID; nothing happens if it has no page table
 *
 * What the device does with the PASID is blocked after that. Everything that it has
 * asked for with it is answered.
 *
 * Context: may sleep.
 */
void iommufd_device_detach_pasid(struct iommufd_device *idev, ioasid_t pasid)
{
	mutex_lock(&idev->igroup->lock);
	pasid_detach(idev, pasid);
	mutex_unlock(&idev->igroup->lock);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_detach_pasid, IOMMUFD);

/**
 * iommufd_device_detach_pasids() - Disconnect all PASIDs of a device
 * @idev: the device
 */
void iommufd_device_detach_pasids(struct iommufd_device *idev)
{
	struct iommufd_pasid *attached;
	unsigned long pasid;

	mutex_lock(&idev->igroup->lock);
	xa_for_each(&idev->igroup->pasids, pasid, attached)
		pasid_detach(idev, pasid);
	mutex_unlock(&idev->igroup->lock);
}

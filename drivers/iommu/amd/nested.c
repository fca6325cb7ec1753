// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: page tables of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A guest has a device table of its own, which the hardware never reads. What the
 * guest has written about a device there is a nested domain: the device table entry
 * that the hardware reads is made of that and of the second stage. The table of PASIDs
 * (GCR3) is in the memory of the guest, and so are the page tables that it leads to.
 *
 * A device with a nested domain is a device of the domain of the second stage, too:
 * it is in its list, so it is told of all that changes there. What it has in its caches
 * by addresses of the guest has no order in that of the second stage: all of it goes.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"
#include "../iopf-core.h"

/* GN in an IO_PAGE_FAULT: the address is one of the guest's tables */
#define EVENT_FAULT_GN		BIT(16)

/*
 * What a guest has in a device table entry. The tables of the host are no business of
 * its own.
 */
#define GDTE_HOST_MODE		GENMASK_ULL(11, 9)
#define GDTE_HOST_ROOT		GENMASK_ULL(51, 12)
#define GDTE_PPR		BIT_ULL(DEV_ENTRY_PPR)
#define GDTE_GLX		GENMASK_ULL(57, 56)
#define GDTE_GCR3_A		GENMASK_ULL(60, 58)
#define GDTE_GCR3_B		GENMASK_ULL(31, 16)
#define GDTE_GCR3_C		GENMASK_ULL(63, 43)

/* What a device is to whom, for who reports faults. Innermost */
static DEFINE_SPINLOCK(reports_lock);

static struct amd_nested *to_nested(struct iommu_domain *domain)
{
	return container_of(domain, struct amd_nested, domain);
}

/**
 * amd_nested_supported() - Can guests have page tables of their own?
 *
 * INVALIDATE_IOMMU_ALL is what makes the hardware forget the tables of PASIDs of a
 * guest, whatever PASIDs that are.
 *
 * Return: true if they can.
 */
bool amd_nested_supported(void)
{
	return check_feature(FEATURE_GT) && check_feature(FEATURE_GIOSUP) &&
	       check_feature(FEATURE_IA) &&
	       check_feature2(FEATURE_GCR3TRPMODE);
}

static bool has_flags(const u64 dte[4], u64 flags)
{
	return (dte[0] & flags) == flags;
}

static bool has_table(const u64 dte[4])
{
	return has_flags(dte, DTE_FLAG_V | DTE_FLAG_TV | DTE_FLAG_GV);
}

static int check_table(const u64 dte[4])
{
	u64 levels = FIELD_GET(DTE_GPT_LEVEL_MASK, dte[2]);
	u64 glx = FIELD_GET(GDTE_GLX, dte[0]);

	if (!(dte[0] & GDTE_GCR3_A) && !(dte[1] & (GDTE_GCR3_B | GDTE_GCR3_C)))
		return -EINVAL;
	if (glx > 2 || levels > GUEST_PGTABLE_5_LEVEL)
		return -EINVAL;
	if (glx > FIELD_GET(FEATURE_GLX, amd_iommu_efr) ||
	    levels > FIELD_GET(FEATURE_GATS, amd_iommu_efr))
		return -EOPNOTSUPP;
	return 0;
}

static int check_dte(const u64 dte[4])
{
	/* Nothing else counts then. */
	if (!has_flags(dte, DTE_FLAG_V | DTE_FLAG_TV))
		return 0;
	if (dte[0] & (GDTE_HOST_MODE | GDTE_HOST_ROOT | DTE_FLAG_HAD))
		return -EINVAL;
	if (dte[0] & DTE_FLAG_GV)
		return check_table(dte);
	return dte[0] & DTE_FLAG_GIOV ? -EINVAL : 0;
}

/**
 * amd_nested_has_table() - Does a device have page tables of a guest?
 * @dev_data: the device
 *
 * Return: true if addresses that it uses are not those of its domain.
 */
bool amd_nested_has_table(const struct iommu_dev_data *dev_data)
{
	const struct amd_nested *nested = dev_data->guest.nested;

	return nested && has_table(nested->dte);
}

/**
 * amd_nested_has_giov() - Are requests without PASID those of PASID 0 of a guest?
 * @dev_data: the device
 *
 * Return: true if they are.
 */
bool amd_nested_has_giov(const struct iommu_dev_data *dev_data)
{
	return amd_nested_has_table(dev_data) &&
	       has_flags(dev_data->guest.nested->dte, DTE_FLAG_GIOV);
}

/**
 * amd_nested_wants_iopf() - Does somebody wait for the page faults of a device?
 * @domain: its domain
 * @nested: its domain of a guest, NULL if it has none
 *
 * Return: true if so.
 */
bool amd_nested_wants_iopf(const struct protection_domain *domain,
			   const struct amd_nested *nested)
{
	return nested ? nested->domain.iopf_handler :
			domain->domain.iopf_handler;
}

/**
 * amd_nested_guest_flushes() - Who invalidates what a device has in its IOTLB?
 * @dev_data: a device of a guest
 * @guest_domid: of which the guest invalidates something
 *
 * A guest which has not set I does not know that the device has an IOTLB.
 *
 * Return: false if that is left to the host, as the device has that domain ID.
 */
bool amd_nested_guest_flushes(const struct iommu_dev_data *dev_data,
			      u16 guest_domid)
{
	const struct amd_nested *nested = dev_data->guest.nested;

	return !nested->domid || nested->domid->guest != guest_domid ||
	       nested->dte[1] & DTE_FLAG_IOTLB;
}

/**
 * amd_nested_begin() - A device is about to change its domain
 * @dev_data: the device, with its mutex held
 * @nested: its new domain of a guest, NULL for none
 *
 * From here to amd_nested_end(), which is called whatever this returns, no command of
 * the guest is submitted.
 *
 * Return: 0, or -ENOENT if the guest does not know the device and @nested has a table.
 */
int amd_nested_begin(struct iommu_dev_data *dev_data,
		     struct amd_nested *nested)
{
	struct amd_nested *any = nested ?: dev_data->guest.nested;
	unsigned long devid;
	int ret;

	lockdep_assert_held(&dev_data->mutex);

	if (!any)
		return 0;
	mutex_lock(&any->viommu->lock);
	if (!nested)
		return 0;
	ret = iommufd_viommu_get_vdev_id(&any->viommu->core, dev_data->dev,
					 &devid);
	if (ret)
		return nested->domid ? ret : 0;
	dev_data->guest.devid = devid;
	if (list_empty(&dev_data->guest.node))
		list_add(&dev_data->guest.node, &any->viommu->devs);
	return 0;
}

/**
 * amd_nested_change() - A device changes its domain
 * @dev_data: the device, with the lock of its domain held
 * @nested: its new domain of a guest, NULL for none
 *
 * Its device table entry is still to be changed, or blocked already.
 */
void amd_nested_change(struct iommu_dev_data *dev_data,
		       struct amd_nested *nested)
{
	spin_lock(&reports_lock);
	dev_data->guest.nested = nested;
	spin_unlock(&reports_lock);
	WRITE_ONCE(dev_data->iotlb.whole, amd_nested_has_table(dev_data));
}

/**
 * amd_nested_end() - A device has changed its domain
 * @dev_data: the device
 * @old: the domain of a guest that it had, NULL for none
 * @nested: the one of amd_nested_begin(), which it may not have got
 *
 * Nothing is in use any more of one that it does not have.
 */
void amd_nested_end(struct iommu_dev_data *dev_data, struct amd_nested *old,
		    struct amd_nested *nested)
{
	struct amd_nested *any = nested ?: old;

	if (!any)
		return;
	if (!dev_data->guest.nested)
		list_del_init(&dev_data->guest.node);
	mutex_unlock(&any->viommu->lock);
}

/**
 * amd_nested_can_replace() - Is a seamless change of domain possible?
 * @dev_data: the device
 * @domain: the domain that shall be attached to it
 * @nested: what a guest has on top of that, or NULL
 *
 * PASIDs of a device are on or off for as long as ATS is on: with a second stage they
 * are on.
 *
 * Return: true if amd_nested_replace() may be called.
 */
bool amd_nested_can_replace(struct iommu_dev_data *dev_data,
			    struct protection_domain *domain,
			    const struct amd_nested *nested)
{
	const struct amd_nested *old = dev_data->guest.nested;

	if (!dev_data->domain ||
	    dev_data->domain->nest_parent != domain->nest_parent)
		return false;
	if (!nested && !old)
		return amd_iommu_can_replace(dev_data, domain);
	/* Without ATS the page requests of the new domain would never come. */
	return (!amd_nested_wants_iopf(domain, nested) ||
		dev_data->ats_enabled) &&
	       (!old || !nested || old->viommu == nested->viommu);
}

static void change_nested(struct iommu_dev_data *dev_data, void *data)
{
	amd_nested_change(dev_data, data);
	/* Of requests that were sent before it is still so until they are drained. */
	if (amd_nested_has_giov(dev_data))
		WRITE_ONCE(dev_data->giov, true);
}

static int replace_nested(struct iommu_dev_data *dev_data,
			  struct protection_domain *domain,
			  struct amd_nested *nested)
{
	struct amd_nested *old = dev_data->guest.nested;
	int ret;

	ret = amd_nested_begin(dev_data, nested);
	/* The guest has PASIDs that nobody else knows. */
	if (!ret)
		ret = amd_iommu_move(dev_data, domain, IOPF_ANY_PASID,
				     change_nested, nested);
	if (!ret)
		WRITE_ONCE(dev_data->giov, amd_nested_has_giov(dev_data));
	amd_nested_end(dev_data, old, nested);
	return ret;
}

/**
 * amd_nested_replace() - Change the domain of a device
 * @dev_data: the device, see amd_nested_can_replace()
 * @domain: the new domain, checked to be fit for the device
 * @nested: what a guest has on top of that, or NULL
 *
 * DMA of the device is translated by the old or the new domain at any time, but for
 * two tables of a guest with different numbers of levels.
 *
 * Context: the group mutex is held.
 *
 * Return: 0 on success. On failure the old domain remains.
 */
int amd_nested_replace(struct iommu_dev_data *dev_data,
		       struct protection_domain *domain,
		       struct amd_nested *nested)
{
	int ret;

	if (!nested && !dev_data->guest.nested)
		return amd_iommu_replace(dev_data, domain);
	mutex_lock(&dev_data->mutex);
	ret = replace_nested(dev_data, domain, nested);
	mutex_unlock(&dev_data->mutex);
	return ret;
}

/**
 * amd_nested_build_dte() - Build the entry of a device that has page tables of a guest
 * @dev_data: the device, which may be any
 * @dte: the entry without that
 */
void amd_nested_build_dte(const struct iommu_dev_data *dev_data,
			  struct dev_table_entry *dte)
{
	const struct amd_nested *nested = dev_data->guest.nested;
	const u64 *guest;

	if (!nested)
		return;
	guest = nested->dte;
	/* To the guest the device uses physical addresses. */
	if (!has_flags(guest, DTE_FLAG_V))
		return;
	/* To the guest nothing is translated, and that is an error. */
	if (!has_flags(guest, DTE_FLAG_TV)) {
		dte->data[0] &= ~(DTE_FLAG_IR | DTE_FLAG_IW | GDTE_PPR);
		return;
	}
	dte->data[0] &= guest[0] | ~(DTE_FLAG_IR | DTE_FLAG_IW | GDTE_PPR);
	if (!nested->domid)
		return;

	dte->data[0] |= guest[0] & (DTE_FLAG_GV | DTE_FLAG_GIOV | GDTE_GLX |
				    GDTE_GCR3_A);
	dte->data[1] &= ~DEV_DOMID_MASK;
	dte->data[1] |= nested->domid->host |
			(guest[1] & (GDTE_GCR3_B | GDTE_GCR3_C));
	dte->data[2] |= guest[2] & DTE_GPT_LEVEL_MASK;
	amd_hw_build_dte(dev_data, dte);
}

/**
 * amd_nested_flush() - The second stage of a device has changed
 * @dev_data: the device, see amd_nested_has_table()
 * @address: where
 * @size: how much
 *
 * Does not wait.
 *
 * Context: any. The lock of the domain is held.
 *
 * Return: 0 or an errno.
 */
int amd_nested_flush(struct iommu_dev_data *dev_data, u64 address, size_t size)
{
	struct amd_iommu *iommu = get_amd_iommu_from_dev_data(dev_data);
	int ret;

	ret = amd_iommu_flush_domid(iommu, dev_data->guest.nested->domid->host,
				    address, size);
	if (dev_data->ats_enabled)
		ret |= device_flush_iotlb(dev_data, 0, ~0UL, IOMMU_NO_PASID,
					  false);
	return ret;
}

static int nested_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	struct iommu_dev_data *dev_data = dev_iommu_priv_get(dev);
	struct amd_nested *nested = to_nested(domain);
	unsigned long devid;
	int ret;

	/*
	 * A device that the guest does not know is not disturbed. Without a table
	 * of the guest there is nothing that it could invalidate.
	 */
	ret = iommufd_viommu_get_vdev_id(&nested->viommu->core, dev, &devid);
	if (ret && nested->domid)
		return ret;
	return amd_iommu_attach(dev_data, nested->viommu->parent, nested);
}

static void nested_free(struct iommu_domain *domain)
{
	struct amd_nested *nested = to_nested(domain);

	if (nested->domid)
		amd_viommu_put_domid(nested->viommu, nested->domid);
	kfree(nested);
}

static const struct iommu_domain_ops nested_ops = {
	.attach_dev	= nested_attach_dev,
	.free		= nested_free,
};

static int copy_dte(u64 dte[4], const struct iommu_user_data *user_data)
{
	struct iommu_hwpt_amd_guest guest;
	int ret;

	if (user_data->type != IOMMU_HWPT_DATA_AMD_GUEST)
		return -EOPNOTSUPP;
	ret = iommu_copy_struct_from_user(&guest, user_data,
					  IOMMU_HWPT_DATA_AMD_GUEST, dte);
	if (ret)
		return ret;
	memcpy(dte, guest.dte, sizeof(guest.dte));
	return check_dte(dte);
}

/**
 * amd_nested_alloc() - Make a domain of what a guest has in a device table entry
 * @viommu: the guest
 * @user_data: the entry, &struct iommu_hwpt_amd_guest
 *
 * Return: the domain, or an ERR_PTR.
 */
struct iommu_domain *amd_nested_alloc(struct amd_viommu *viommu,
				      const struct iommu_user_data *user_data)
{
	struct amd_nested *nested;
	int ret;

	nested = kzalloc(sizeof(*nested), GFP_KERNEL_ACCOUNT);
	if (!nested)
		return ERR_PTR(-ENOMEM);
	ret = copy_dte(nested->dte, user_data);
	if (!ret && has_table(nested->dte))
		ret = amd_viommu_get_domid(viommu,
					   nested->dte[1] & DEV_DOMID_MASK,
					   &nested->domid);
	if (ret) {
		kfree(nested);
		return ERR_PTR(ret);
	}
	nested->viommu = viommu;
	nested->domain.type = IOMMU_DOMAIN_NESTED;
	nested->domain.ops = &nested_ops;
	return &nested->domain;
}

/* Has the event of the guest for the guest's device. */
static bool report_to_guest(struct amd_guest_dev *dev, const u32 *event)
{
	struct iopf_vevent_amd guest;
	u32 first = event[0] & ~EVENT_DEVID_MASK;

	guest.event[0] = (u64)event[1] << 32 | first | dev->devid;
	guest.event[1] = (u64)event[3] << 32 | event[2];
	return !iommufd_viommu_report_event(&dev->nested->viommu->core,
					    IOPF_VEVENTQ_TYPE_AMD, &guest,
					    sizeof(guest));
}

/**
 * amd_nested_report() - Tell a guest of a page fault
 * @iommu: the IOMMU
 * @event: the entry of the event log, an IO_PAGE_FAULT
 *
 * Those of the second stage are the host's.
 *
 * Context: any.
 *
 * Return: true if the fault is one of a guest which has asked for them.
 */
bool amd_nested_report(struct amd_iommu *iommu, const u32 *event)
{
	struct iommu_dev_data *dev_data =
		search_dev_data(iommu, event[0] & EVENT_DEVID_MASK);
	unsigned long flags;
	bool told = false;

	if (!dev_data || !(event[1] & EVENT_FAULT_GN))
		return false;
	spin_lock_irqsave(&reports_lock, flags);
	if (amd_nested_has_table(dev_data))
		told = report_to_guest(&dev_data->guest, event);
	spin_unlock_irqrestore(&reports_lock, flags);
	return told;
}

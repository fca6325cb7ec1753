/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD-Vi: guests that have an IOMMU of their own
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef AMD_IOMMU_NESTED_H
#define AMD_IOMMU_NESTED_H

#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "viommu-hw.h"

struct amd_iommu;
struct dev_table_entry;
struct iommu_dev_data;
struct iommu_user_data;
struct iommu_user_data_array;
struct iopf_amd_invalidate;
struct protection_domain;

/**
 * struct amd_viommu - What a guest has of an IOMMU
 * @core: the object of iommufd
 * @parent: the second stage
 * @lock: protects the other members, and amd_guest_dev::node of the devices. Held
 *	  while commands of the guest are submitted
 * @domids: &struct amd_guest_domid by the guest's domain ID
 * @devs: the devices that are attached to domains of the guest
 * @hw: what the hardware has of the guest, NULL for nothing
 */
struct amd_viommu {
	struct iommufd_viommu core;
	struct protection_domain *parent;
	struct mutex lock; /* domids, devs */
	struct xarray domids;
	struct list_head devs;
	struct amd_hw_guest *hw;
};

/**
 * struct amd_guest_domid - A domain ID of a guest
 * @guest: what the guest calls it
 * @host: what it is for the hardware, for no other guest
 * @users: how many domains have it
 */
struct amd_guest_domid {
	u16 guest;
	u16 host;
	unsigned int users;
};

/**
 * struct amd_nested - What a guest has in a device table entry
 * @domain: the domain
 * @viommu: the guest
 * @domid: its domain ID, NULL without a table of PASIDs
 * @dte: the entry, as the guest has written it
 */
struct amd_nested {
	struct iommu_domain domain;
	struct amd_viommu *viommu;
	struct amd_guest_domid *domid;
	u64 dte[4];
};

/**
 * struct amd_guest_dev - What a device is to a guest
 * @nested: its domain, NULL if it has none of a guest. Changed with the lock of the
 *	    guest, and that of the second stage, held
 * @node: in amd_viommu::devs
 * @devid: by which the guest's IOMMU knows it
 */
struct amd_guest_dev {
	struct amd_nested *nested;
	struct list_head node;
	u16 devid;
};

/* Domains */
bool amd_nested_supported(void);
struct iommu_domain *amd_nested_alloc(struct amd_viommu *viommu,
				      const struct iommu_user_data *user_data);
bool amd_nested_has_table(const struct iommu_dev_data *dev_data);
bool amd_nested_has_giov(const struct iommu_dev_data *dev_data);
bool amd_nested_wants_iopf(const struct protection_domain *domain,
			   const struct amd_nested *nested);
bool amd_nested_guest_flushes(const struct iommu_dev_data *dev_data,
			      u16 guest_domid);
int amd_nested_begin(struct iommu_dev_data *dev_data,
		     struct amd_nested *nested);
void amd_nested_change(struct iommu_dev_data *dev_data,
		       struct amd_nested *nested);
void amd_nested_end(struct iommu_dev_data *dev_data, struct amd_nested *old,
		    struct amd_nested *nested);
bool amd_nested_can_replace(struct iommu_dev_data *dev_data,
			    struct protection_domain *domain,
			    const struct amd_nested *nested);
int amd_nested_replace(struct iommu_dev_data *dev_data,
		       struct protection_domain *domain,
		       struct amd_nested *nested);
void amd_nested_build_dte(const struct iommu_dev_data *dev_data,
			  struct dev_table_entry *dte);
int amd_nested_flush(struct iommu_dev_data *dev_data, u64 address,
		     size_t size);
bool amd_nested_report(struct amd_iommu *iommu, const u32 *event);

/* The vIOMMU */
static inline struct amd_viommu *to_amd_viommu(struct iommufd_viommu *core)
{
	return container_of(core, struct amd_viommu, core);
}

struct amd_iommu *amd_viommu_iommu(struct amd_viommu *viommu);
size_t amd_viommu_size(struct device *dev, unsigned int type);
int amd_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		    const struct iommu_user_data *user_data);
int amd_viommu_get_domid(struct amd_viommu *viommu, u16 guest,
			 struct amd_guest_domid **domid);
void amd_viommu_put_domid(struct amd_viommu *viommu,
			  struct amd_guest_domid *domid);

/* Commands of the guest */
int amd_viommu_check_command(const struct iopf_amd_invalidate *cmd);
int amd_viommu_invalidate(struct iommufd_viommu *core,
			  struct iommu_user_data_array *array);

#endif /* AMD_IOMMU_NESTED_H */

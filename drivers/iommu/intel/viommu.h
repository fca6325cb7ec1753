/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VT-d: guests that have an IOMMU of their own
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef _INTEL_VIOMMU_H
#define _INTEL_VIOMMU_H

#include <linux/iommufd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct device;
struct device_domain_info;
struct dmar_domain;
struct intel_iommu;
struct iommu_user_data;
struct iommu_user_data_array;

/**
 * struct intel_viommu - Part of an IOMMU that a guest has for its own
 * @core: iommufd's
 * @s2_domain: the second stage
 * @lock: protects @domains, and what is attached to them: see &intel_nested.lock
 * @domains: the &struct dmar_domain that were allocated through it
 */
struct intel_viommu {
	struct iommufd_viommu core;
	struct dmar_domain *s2_domain;
	struct mutex lock;	/* @domains */
	struct list_head domains;
};

/**
 * struct intel_nested - What a first-stage domain of user space has
 * @viommu: the guest, or NULL if it was allocated on a nest parent
 * @node: in &intel_viommu.domains
 * @guest_did: by which domain ID the guest invalidates it
 * @guest_pasid: and by which PASID
 * @own_lock: not for a domain of a vIOMMU
 * @lock: protects @devs. Who has it may submit invalidations for what is attached:
 *        none of it is detached meanwhile
 * @devs: the &struct intel_nested_dev
 */
struct intel_nested {
	struct intel_viommu *viommu;
	struct list_head node;
	u16 guest_did;
	u32 guest_pasid;
	struct mutex own_lock;	/* @devs, if @lock is this */
	struct mutex *lock;	/* @devs */
	struct list_head devs;
};

/**
 * struct intel_nested_dev - That a first-stage domain is attached to a device
 * @node: in &intel_nested.devs
 * @guest_node: among all those of guests
 * @domain: the domain
 * @info: the device
 * @did: ID of the domain in the IOMMU of the device
 * @pasid: PASID of the device, or IOMMU_NO_PASID
 * @ats: the device may have translations in its TLB
 * @guest_sid: by which source ID the guest knows the device
 */
struct intel_nested_dev {
	struct list_head node;
	struct list_head guest_node;
	struct dmar_domain *domain;
	struct device_domain_info *info;
	u16 did;
	u32 pasid;
	bool ats;
	u16 guest_sid;
};

#ifdef CONFIG_INTEL_IOMMU
size_t intel_viommu_size(struct device *dev, unsigned int type);
int intel_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		      const struct iommu_user_data *user_data);
bool intel_viommu_report(struct intel_iommu *iommu, u64 lo, u64 hi);

void intel_nested_init(struct dmar_domain *domain);
void intel_nested_forget(struct dmar_domain *domain);
int intel_nested_may_attach(struct dmar_domain *domain, struct device *dev);
int intel_nested_attached(struct dmar_domain *domain, u16 did,
			  struct device *dev, u32 pasid);
void intel_nested_detached(struct dmar_domain *domain, struct device *dev,
			   u32 pasid);

int intel_viommu_invalidate(struct iommufd_viommu *core,
			    struct iommu_user_data_array *array);
int intel_nested_invalidate(struct iommu_domain *domain,
			    struct iommu_user_data_array *array);
#else
static inline bool intel_viommu_report(struct intel_iommu *iommu, u64 lo,
				       u64 hi)
{
	return false;
}
#endif /* CONFIG_INTEL_IOMMU */
#endif /* _INTEL_VIOMMU_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of page tables of PASIDs behind AMD-Vi
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/iommu.h>
#include <uapi/linux/iommufd.h>

#include "amd_iommu.h"

static int handler(struct iopf_group *group)
{
	return 0;
}

/* A domain that takes page faults is refused if none would come. */
static void test_faults(struct kunit *test)
{
	struct iommu_domain domain = { .type = IOMMU_DOMAIN_UNMANAGED };
	struct iommu_dev_data *dev_data;

	dev_data = kunit_kzalloc(test, sizeof(*dev_data), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev_data);
	KUNIT_EXPECT_EQ(test, 0, amd_iommu_pasid_faults(dev_data, &domain));
	domain.iopf_handler = handler;
	KUNIT_EXPECT_EQ(test, -EIO, amd_iommu_pasid_faults(dev_data, &domain));
	/* The driver knows what its device does. */
	domain.type = IOMMU_DOMAIN_SVA;
	KUNIT_EXPECT_EQ(test, 0, amd_iommu_pasid_faults(dev_data, &domain));
	domain.type = IOMMU_DOMAIN_UNMANAGED;
	dev_data->pri_on = true;
	KUNIT_EXPECT_EQ(test, 0, amd_iommu_pasid_faults(dev_data, &domain));
}

/* Whatever the IOMMU has, dirty pages are tracked in host page tables alone. */
static void test_formats(struct kunit *test)
{
	const u32 dirty = IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	const u32 pasid = IOMMU_HWPT_ALLOC_PASID;

	KUNIT_EXPECT_EQ(test, amd_iommu_pgtable, amd_iommu_choose_table(0));
	KUNIT_EXPECT_EQ(test, AMD_IOMMU_V1, amd_iommu_choose_table(dirty));
	KUNIT_EXPECT_EQ(test, AMD_IOMMU_V2, amd_iommu_choose_table(pasid));
	KUNIT_EXPECT_FALSE(test, amd_iommu_takes_pasid(pasid | dirty));
	if (!amd_iommu_pasid_supported())
		KUNIT_EXPECT_FALSE(test, amd_iommu_takes_pasid(pasid));
}

static struct kunit_case pasid_cases[] = {
	KUNIT_CASE(test_faults),
	KUNIT_CASE(test_formats),
	{}
};

static struct kunit_suite pasid_suite = {
	.name = "amd-iommu-pasid",
	.test_cases = pasid_cases,
};

kunit_test_suite(pasid_suite);

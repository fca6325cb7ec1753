// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of access and dirty bits for shared address spaces
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/cpufeature.h>
#include <linux/mm_types.h>

#include "arm-smmu-v3.h"

/* Literal bits, so that a wrong mask in arm-smmu-v3.h is noticed. */
#define HD		BIT_ULL(42)
#define HA		BIT_ULL(43)

#define SMMU_NONE	ARM_SMMU_FEAT_COHERENCY
#define SMMU_AF		(SMMU_NONE | ARM_SMMU_FEAT_HA)
#define SMMU_DBM	(SMMU_AF | ARM_SMMU_FEAT_HD)

/* HAFDBS: bits 3:0. The others are somebody else's. */
#define CPU_NONE	0xfffffffffffffff0
#define CPU_AF		0xfffffffffffffff1
#define CPU_DBM		0xfffffffffffffff2
#define CPU_HAFT	0xfffffffffffffff3

static void test_agree(struct kunit *test)
{
	static const struct {
		u32 smmu;
		u64 cpu;
		u64 bits;
	} cases[] = {
		{ SMMU_NONE, CPU_NONE, 0 },
		{ SMMU_NONE, CPU_AF, 0 },
		{ SMMU_NONE, CPU_DBM, 0 },
		{ SMMU_AF, CPU_NONE, 0 },
		{ SMMU_AF, CPU_AF, HA },
		{ SMMU_AF, CPU_DBM, HA },
		{ SMMU_DBM, CPU_NONE, 0 },
		{ SMMU_DBM, CPU_AF, HA },
		{ SMMU_DBM, CPU_DBM, HA | HD },
		{ SMMU_DBM, CPU_HAFT, HA | HD },
		/* What is not coherent cannot update page tables of processors. */
		{ SMMU_DBM & ~ARM_SMMU_FEAT_COHERENCY, CPU_DBM, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, cases[i].bits,
				    arm_smmu_sva_httu(cases[i].smmu, cases[i].cpu),
				    "case %u", i);
}

/* What the processor has that this runs on. */
static u64 here(u32 features)
{
	return arm_smmu_sva_httu(features,
				 read_sanitised_ftr_reg(SYS_ID_AA64MMFR1_EL1));
}

static u64 cd_bits(u32 features, struct mm_struct *mm)
{
	struct arm_smmu_device smmu = { .features = features };
	struct arm_smmu_master master = { .smmu = &smmu };
	struct arm_smmu_cd cd;

	arm_smmu_make_sva_cd(&cd, &master, mm, 1);
	return le64_to_cpu(cd.data[0]) & (HA | HD);
}

static void test_cd(struct kunit *test)
{
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->pgd = kunit_kzalloc(test, sizeof(*mm->pgd), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mm->pgd);
	KUNIT_EXPECT_EQ(test, 0, cd_bits(SMMU_NONE, mm));
	KUNIT_EXPECT_EQ(test, here(SMMU_AF), cd_bits(SMMU_AF, mm));
	KUNIT_EXPECT_EQ(test, here(SMMU_DBM), cd_bits(SMMU_DBM, mm));
	/* The end of a process does not change what its ASID means. */
	KUNIT_EXPECT_EQ(test, here(SMMU_DBM), cd_bits(SMMU_DBM, NULL));
}

static struct kunit_case httu_cases[] = {
	KUNIT_CASE(test_agree),
	KUNIT_CASE(test_cd),
	{}
};

static struct kunit_suite httu_suite = {
	.name = "arm-smmu-v3-httu",
	.test_cases = httu_cases,
};

kunit_test_suite(httu_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of access and dirty bits in shared address spaces");
MODULE_LICENSE("GPL");

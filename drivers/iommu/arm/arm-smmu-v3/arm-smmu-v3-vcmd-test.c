// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what the ARM SMMUv3 driver lets guests put into the command queue
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/sizes.h>

#include "arm-smmu-v3.h"

/* Literal bits, so that a wrong mask in arm-smmu-v3.h is noticed. */
#define V_VMID		GENMASK_ULL(47, 32)
#define V_ASID		GENMASK_ULL(63, 48)
#define V_SID		GENMASK_ULL(63, 32)
#define V_SSID		GENMASK_ULL(31, 12)
#define V_SSV		BIT_ULL(11)
#define V_GLOBAL		BIT_ULL(9)
#define V_RANGE		(GENMASK_ULL(16, 12) | GENMASK_ULL(24, 20))
#define V_ADDR		GENMASK_ULL(63, 12)
#define V_TG(x)		((u64)(x) << 10)
#define V_TTL		GENMASK_ULL(9, 8)
#define V_LEAF		BIT_ULL(0)
#define V_ALL		52ULL

struct vcmd_case {
	const char *name;
	u64 cmd[2];
	/* Each of these bits may be set beside those, and no other. */
	u64 may[2];
};

static const struct vcmd_case vcmd_cases[] = {
	{ "nsnh_all", { 0x30 }, { 0 } },
	{ "nh_all", { 0x10 }, { V_VMID } },
	{ "nh_asid", { 0x11 }, { V_VMID | V_ASID } },
	{ "nh_va", { 0x12 }, { V_VMID | V_ASID, V_LEAF | V_ADDR } },
	{ "nh_va_range", { 0x12 | BIT_ULL(12), V_TG(1) },
	  { V_VMID | V_ASID | V_RANGE, V_LEAF | V_TTL | V_TG(3) | V_ADDR } },
	{ "nh_vaa", { 0x13 }, { V_VMID, V_LEAF | V_ADDR } },
	{ "nh_vaa_range", { 0x13 | BIT_ULL(12), V_TG(1) },
	  { V_VMID | V_RANGE, V_LEAF | V_TTL | V_TG(3) | V_ADDR } },
	{ "cfgi_cd", { 0x05 }, { V_SID | V_SSID, V_LEAF } },
	{ "cfgi_cd_all", { 0x06 }, { V_SID } },
	{ "atc_inv", { 0x40 }, { V_SID | V_SSID | V_SSV | V_GLOBAL, 0x3f | V_ADDR } },
	{ "atc_inv_ssid", { 0x40 | V_SSV }, { V_SID | V_SSID | V_GLOBAL, 0x3f | V_ADDR } },
};

KUNIT_ARRAY_PARAM_DESC(vcmd, vcmd_cases, name);

/* All of an SMMU that has all */
static struct arm_smmu_device *vcmd_smmu(struct kunit *test)
{
	struct arm_smmu_device *smmu;

	smmu = kunit_kzalloc(test, sizeof(*smmu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, smmu);
	smmu->features = ARM_SMMU_FEAT_RANGE_INV | ARM_SMMU_FEAT_ATS;
	smmu->pgsize_bitmap = SZ_4K | SZ_16K | SZ_64K;
	smmu->asid_bits = 16;
	smmu->ssid_bits = 20;
	return smmu;
}

static int vcmd(const struct arm_smmu_device *smmu, u64 cmd0, u64 cmd1)
{
	u64 cmd[] = { cmd0, cmd1 };

	return arm_smmu_vcmd_check(smmu, cmd);
}

static void test_bits(struct kunit *test)
{
	const struct vcmd_case *c = test->param_value;
	struct arm_smmu_device *smmu = vcmd_smmu(test);
	unsigned int bit;

	KUNIT_EXPECT_EQ(test, vcmd(smmu, c->cmd[0], c->cmd[1]), 0);
	for (bit = 8; bit < 128; bit++) {
		u64 cmd[] = { c->cmd[0], c->cmd[1] };
		u64 mask = BIT_ULL(bit % 64);

		if (cmd[bit / 64] & mask)
			continue;
		cmd[bit / 64] |= mask;
		KUNIT_EXPECT_EQ_MSG(test, arm_smmu_vcmd_check(smmu, cmd),
				    c->may[bit / 64] & mask ? 0 : -EIO,
				    "bit %u", bit);
	}
}

static void test_opcodes(struct kunit *test)
{
	static const u8 known[] = { 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x30,
				    0x40 };
	struct arm_smmu_device *smmu = vcmd_smmu(test);
	unsigned int op;

	for (op = 0; op < 256; op++)
		KUNIT_EXPECT_EQ_MSG(test, vcmd(smmu, op, 0),
				    memchr(known, op, sizeof(known)) ? 0 : -EIO,
				    "opcode %#x", op);
}

static void test_asid(struct kunit *test)
{
	struct arm_smmu_device *smmu = vcmd_smmu(test);

	smmu->asid_bits = 8;
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x11 | 0xffULL << 48, 0), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x11 | 0x100ULL << 48, 0), -EIO);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x12 | 0xffULL << 48, 0), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x12 | 0x8000ULL << 48, 0), -EIO);
}

static void test_ssid(struct kunit *test)
{
	struct arm_smmu_device *smmu = vcmd_smmu(test);

	smmu->ssid_bits = 8;
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x05 | 0xffULL << 12, 0), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x05 | 0x100ULL << 12, 0), -EIO);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40 | V_SSV | 0xffULL << 12, V_ALL), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40 | V_SSV | 0x100ULL << 12, V_ALL), -EIO);
	smmu->ssid_bits = 0;
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x05, 0), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x05 | 1ULL << 12, 0), -EIO);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40, V_ALL), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40 | V_SSV, V_ALL), -EIO);
}

static void test_range(struct kunit *test)
{
	struct arm_smmu_device *smmu = vcmd_smmu(test);
	u64 op;

	for (op = 0x12; op <= 0x13; op++) {
		smmu = vcmd_smmu(test);
		/* Something has to say how much. */
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op, V_TG(1)), -EIO);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(20), V_TG(1)), 0);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op, V_TG(1) | BIT(9)), 0);
		/* Without a granule nothing may. */
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(12), 0), -EIO);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(20), 0), -EIO);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op, BIT(8)), -EIO);
		/* One that the SMMU has */
		smmu->pgsize_bitmap = SZ_4K | SZ_64K;
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(12), V_TG(1)), 0);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(12), V_TG(2)), -EIO);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(12), V_TG(3)), 0);
		/* If it has ranges at all */
		smmu->features &= ~ARM_SMMU_FEAT_RANGE_INV;
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op, V_ADDR | V_LEAF), 0);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op | BIT(12), V_TG(1)), -EIO);
		KUNIT_EXPECT_EQ(test, vcmd(smmu, op, V_TG(1) | BIT(9)), -EIO);
	}
}

static void test_atc_inv(struct kunit *test)
{
	struct arm_smmu_device *smmu = vcmd_smmu(test);
	u64 cmd[2];

	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40, V_ALL), 0);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40, V_ALL + 1), -EIO);
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40, 63), -EIO);

	/* What says nothing is not told the device. */
	cmd[0] = 0x40 | V_GLOBAL | V_SSID;
	cmd[1] = V_ADDR | 3;
	KUNIT_EXPECT_EQ(test, arm_smmu_vcmd_check(smmu, cmd), 0);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x40);
	KUNIT_EXPECT_EQ(test, cmd[1], GENMASK_ULL(63, 15) | 3);
	cmd[1] = V_ADDR | V_ALL;
	KUNIT_EXPECT_EQ(test, arm_smmu_vcmd_check(smmu, cmd), 0);
	KUNIT_EXPECT_EQ(test, cmd[1], V_ALL);
	cmd[0] = 0x40 | V_SSV | V_GLOBAL | V_SSID;
	KUNIT_EXPECT_EQ(test, arm_smmu_vcmd_check(smmu, cmd), 0);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x40 | V_SSV | V_GLOBAL | V_SSID);

	smmu->features &= ~ARM_SMMU_FEAT_ATS;
	KUNIT_EXPECT_EQ(test, vcmd(smmu, 0x40, V_ALL), -EIO);
}

/* All of the guest's is not all of the host's. */
static void test_nsnh_all(struct kunit *test)
{
	struct arm_smmu_device *smmu = vcmd_smmu(test);
	u64 cmd[] = { 0x30, 0 };

	KUNIT_EXPECT_EQ(test, arm_smmu_vcmd_check(smmu, cmd), 0);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x10);
}

static struct kunit_case vcmd_test_cases[] = {
	KUNIT_CASE_PARAM(test_bits, vcmd_gen_params),
	KUNIT_CASE(test_opcodes),
	KUNIT_CASE(test_asid),
	KUNIT_CASE(test_ssid),
	KUNIT_CASE(test_range),
	KUNIT_CASE(test_atc_inv),
	KUNIT_CASE(test_nsnh_all),
	{}
};

static struct kunit_suite vcmd_test_suite = {
	.name = "arm-smmu-v3-vcmd",
	.test_cases = vcmd_test_cases,
};

kunit_test_suite(vcmd_test_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of commands of guests of the ARM SMMUv3 driver");
MODULE_LICENSE("GPL");

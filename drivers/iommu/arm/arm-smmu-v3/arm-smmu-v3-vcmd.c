// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: commands of guests
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The command queue of the host gets what guests put into theirs, with the VMID and
 * the stream IDs of the host. A command that the SMMU does not like stops the queue
 * for all, and is told of in the log: so none gets there that is not well-formed. All
 * of its fields are looked at, with what this SMMU has.
 *
 * A device must not ask again for a translation that is still in a TLB. The commands
 * of an array that are for TLBs are sent first, and those for the devices after a
 * CMD_SYNC, so that the order in the array does not matter. There is one CMD_SYNC for
 * each of both kinds, and an array of up to VCMD_MAX commands.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <kunit/visibility.h>

#include "arm-smmu-v3.h"

/* What is copied at a time */
#define VCMD_MAX	512
/* What is put into the queue at a time, with interrupts off */
#define VCMD_BATCH	(CMDQ_BATCH_ENTRIES - 1)

#define TLBI_0_RANGE	(CMDQ_TLBI_0_NUM | CMDQ_TLBI_0_SCALE)
#define TLBI_1_RANGE	(CMDQ_TLBI_1_TTL | CMDQ_TLBI_1_TG)

struct vcmd_work {
	/* From the front those for TLBs, from the back those for devices */
	u64 cmds[VCMD_MAX][CMDQ_ENT_DWORDS];
	struct iommu_viommu_arm_smmuv3_invalidate user[VCMD_MAX];
	unsigned int nr_tlb;
	unsigned int nr_atc;
	bool has_atc;
};

static bool has_bits(const u64 *cmd, u64 mask0, u64 mask1)
{
	return cmd[0] & ~(CMDQ_0_OP | mask0) || cmd[1] & ~mask1;
}

static bool asid_fits(const struct arm_smmu_device *smmu, u64 cmd)
{
	return !(FIELD_GET(CMDQ_TLBI_0_ASID, cmd) >> smmu->asid_bits);
}

/* Codes of CMDQ_TLBI_1_TG, of which 0 is for a single address */
static bool has_granule(const struct arm_smmu_device *smmu, unsigned int tg)
{
	static const unsigned long size[] = { 0, SZ_4K, SZ_16K, SZ_64K };

	return smmu->pgsize_bitmap & size[tg];
}

static bool range_fits(const struct arm_smmu_device *smmu, const u64 *cmd)
{
	unsigned int tg = FIELD_GET(CMDQ_TLBI_1_TG, cmd[1]);

	if (!(smmu->features & ARM_SMMU_FEAT_RANGE_INV) || !tg)
		return !(cmd[0] & TLBI_0_RANGE) && !(cmd[1] & TLBI_1_RANGE);
	/* A range of one page at any level is reserved. */
	return has_granule(smmu, tg) &&
	       (cmd[0] & TLBI_0_RANGE || cmd[1] & CMDQ_TLBI_1_TTL);
}

/* The SSID of a CMD_CFGI_CD, which has one always, or of a CMD_ATC_INV */
static bool ssid_fits(const struct arm_smmu_device *smmu, u64 cmd)
{
	return !(FIELD_GET(CMDQ_CFGI_0_SSID, cmd) >> smmu->ssid_bits);
}

/* Without an SSID it does not matter what is there, nor what is below the span. */
static int check_atc_inv(const struct arm_smmu_device *smmu, u64 *cmd)
{
	unsigned int size = FIELD_GET(CMDQ_ATC_1_SIZE, cmd[1]);

	if (!(smmu->features & ARM_SMMU_FEAT_ATS) || size > ATC_INV_SIZE_ALL ||
	    has_bits(cmd, CMDQ_0_SSV | CMDQ_ATC_0_GLOBAL | CMDQ_ATC_0_SSID |
				  CMDQ_ATC_0_SID,
		     CMDQ_ATC_1_SIZE | CMDQ_ATC_1_ADDR_MASK))
		return -EIO;
	if (!(cmd[0] & CMDQ_0_SSV))
		cmd[0] &= ~(CMDQ_ATC_0_GLOBAL | CMDQ_ATC_0_SSID);
	else if (!smmu->ssid_bits || !ssid_fits(smmu, cmd[0]))
		return -EIO;
	cmd[1] &= size == ATC_INV_SIZE_ALL ?
			  CMDQ_ATC_1_SIZE :
			  CMDQ_ATC_1_SIZE | GENMASK_ULL(63, 12 + size);
	return 0;
}

/**
 * arm_smmu_vcmd_check() - Is a command of a guest well-formed?
 * @smmu: the SMMU
 * @cmd: the command. What has no meaning in it is cleared
 *
 * The VMID and the stream ID are not looked at.
 *
 * Return: 0 or -EIO.
 */
VISIBLE_IF_KUNIT
int arm_smmu_vcmd_check(const struct arm_smmu_device *smmu, u64 *cmd)
{
	bool ok = true;

	switch (FIELD_GET(CMDQ_0_OP, cmd[0])) {
	case CMDQ_OP_TLBI_NSNH_ALL:
		/* All of what the guest has, which has no second stage */
		cmd[0] ^= CMDQ_OP_TLBI_NSNH_ALL ^ CMDQ_OP_TLBI_NH_ALL;
		ok = !has_bits(cmd, 0, 0);
		break;
	case CMDQ_OP_TLBI_NH_ALL:
		ok = !has_bits(cmd, CMDQ_TLBI_0_VMID, 0);
		break;
	case CMDQ_OP_TLBI_NH_ASID:
		ok = !has_bits(cmd, CMDQ_TLBI_0_VMID | CMDQ_TLBI_0_ASID, 0) &&
		     asid_fits(smmu, cmd[0]);
		break;
	case CMDQ_OP_TLBI_NH_VA:
		ok = !has_bits(cmd, CMDQ_TLBI_0_VMID | CMDQ_TLBI_0_ASID |
					    TLBI_0_RANGE,
			       CMDQ_TLBI_1_LEAF | TLBI_1_RANGE |
				       CMDQ_TLBI_1_VA_MASK) &&
		     asid_fits(smmu, cmd[0]) && range_fits(smmu, cmd);
		break;
	case CMDQ_OP_TLBI_NH_VAA:
		ok = !has_bits(cmd, CMDQ_TLBI_0_VMID | TLBI_0_RANGE,
			       CMDQ_TLBI_1_LEAF | TLBI_1_RANGE |
				       CMDQ_TLBI_1_VA_MASK) &&
		     range_fits(smmu, cmd);
		break;
	case CMDQ_OP_CFGI_CD:
		ok = !has_bits(cmd, CMDQ_CFGI_0_SSID | CMDQ_CFGI_0_SID,
			       CMDQ_CFGI_1_LEAF) &&
		     ssid_fits(smmu, cmd[0]);
		break;
	case CMDQ_OP_CFGI_CD_ALL:
		ok = !has_bits(cmd, CMDQ_CFGI_0_SID, 0);
		break;
	case CMDQ_OP_ATC_INV:
		return check_atc_inv(smmu, cmd);
	default:
		return -EIO;
	}
	return ok ? 0 : -EIO;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_vcmd_check);

/*
 * The vDEVICE may go at any time: then the command is for a device that has nothing
 * any more of the guest, or will have nothing when its domain changes.
 */
static int replace_sid(struct arm_vsmmu *vsmmu, u64 *cmd, bool *silent)
{
	struct arm_smmu_master *master;
	struct device *dev;
	int ret = -EIO;

	xa_lock(&vsmmu->core.vdevs);
	dev = iommufd_viommu_find_dev(&vsmmu->core,
				      FIELD_GET(CMDQ_CFGI_0_SID, cmd[0]));
	if (dev) {
		master = dev_iommu_priv_get(dev);
		cmd[0] &= ~CMDQ_CFGI_0_SID;
		cmd[0] |= FIELD_PREP(CMDQ_CFGI_0_SID, master->streams[0].id);
		*silent = arm_smmu_atc_silent(master);
		ret = 0;
	}
	xa_unlock(&vsmmu->core.vdevs);
	return ret;
}

static int add_command(struct vcmd_work *work, struct arm_vsmmu *vsmmu,
		       const struct iommu_viommu_arm_smmuv3_invalidate *user)
{
	u64 cmd[CMDQ_ENT_DWORDS] = {
		le64_to_cpu(user->cmd[0]), le64_to_cpu(user->cmd[1]),
	};
	bool atc = FIELD_GET(CMDQ_0_OP, cmd[0]) == CMDQ_OP_ATC_INV;
	bool silent;
	u64 *to;
	int ret;

	ret = arm_smmu_vcmd_check(vsmmu->smmu, cmd);
	if (ret)
		return ret;

	switch (FIELD_GET(CMDQ_0_OP, cmd[0])) {
	case CMDQ_OP_CFGI_CD:
	case CMDQ_OP_CFGI_CD_ALL:
	case CMDQ_OP_ATC_INV:
		ret = replace_sid(vsmmu, cmd, &silent);
		if (ret)
			return ret;
		work->has_atc |= atc;
		/* It is blocked before the array is done. */
		if (atc && silent)
			return 0;
		break;
	default:
		cmd[0] &= ~CMDQ_TLBI_0_VMID;
		cmd[0] |= FIELD_PREP(CMDQ_TLBI_0_VMID,
				     vsmmu->s2_parent->s2_cfg.vmid);
	}

	to = atc ? work->cmds[VCMD_MAX - ++work->nr_atc] :
		   work->cmds[work->nr_tlb++];
	to[0] = cmd[0];
	to[1] = cmd[1];
	return 0;
}

static int issue_commands(struct arm_smmu_device *smmu, u64 (*cmds)[CMDQ_ENT_DWORDS],
			  unsigned int nr)
{
	for (; nr > VCMD_BATCH; nr -= VCMD_BATCH, cmds += VCMD_BATCH) {
		arm_smmu_cmdq_issue_cmdlist(smmu, &smmu->cmdq, *cmds,
					    VCMD_BATCH, false);
		cond_resched();
	}
	return nr ? arm_smmu_cmdq_issue_cmdlist(smmu, &smmu->cmdq, *cmds, nr,
						true) : 0;
}

static int issue_all(struct vcmd_work *work, struct arm_vsmmu *vsmmu)
{
	struct arm_smmu_device *smmu = vsmmu->smmu;
	u32 errors;
	int ret;

	ret = issue_commands(smmu, work->cmds, work->nr_tlb);
	if (ret || !work->has_atc)
		return ret;

	errors = arm_smmu_atc_errors(smmu);
	ret = issue_commands(smmu, &work->cmds[VCMD_MAX - work->nr_atc],
			     work->nr_atc);
	/* A device that does not answer is blocked, and has no part in it. */
	arm_smmu_atc_end(vsmmu->s2_parent, 0, 0, errors, 0);
	return ret;
}

/* Adds to @done how many are. */
static int do_commands(struct vcmd_work *work, struct arm_vsmmu *vsmmu,
		       const struct iommu_user_data_array *array, u32 *done)
{
	u32 nr = min_t(u32, array->entry_num - *done, VCMD_MAX), i;
	int ret, err = 0;

	ret = iommufd_copy_user_array(work->user, sizeof(*work->user), array,
				      *done, &nr);
	work->nr_tlb = 0;
	work->nr_atc = 0;
	work->has_atc = false;
	for (i = 0; i < nr; i++) {
		err = add_command(work, vsmmu, &work->user[i]);
		if (err)
			break;
	}
	/* What is before the one that is wrong is done. */
	err = err ?: ret;
	ret = issue_all(work, vsmmu);
	if (ret)
		return ret;
	*done += i;
	return err;
}

/**
 * arm_vsmmu_invalidate() - Invalidate what a guest asks for
 * @core: the vIOMMU
 * @array: commands of the guest. entry_num is set to how many are done
 *
 * Return: 0 or the errno of the command that was not done.
 */
int arm_vsmmu_invalidate(struct iommufd_viommu *core,
			 struct iommu_user_data_array *array)
{
	struct arm_vsmmu *vsmmu = container_of(core, struct arm_vsmmu, core);
	struct vcmd_work *work;
	int ret = 0;
	u32 done = 0;

	if (array->type != IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3) {
		array->entry_num = 0;
		return -EINVAL;
	}
	work = kvmalloc(sizeof(*work), GFP_KERNEL_ACCOUNT);
	if (!work) {
		array->entry_num = 0;
		return -ENOMEM;
	}
	while (!ret && done < array->entry_num) {
		ret = do_commands(work, vsmmu, array, &done);
		cond_resched();
		if (!ret && done < array->entry_num &&
		    fatal_signal_pending(current))
			ret = -EINTR;
	}
	array->entry_num = done;
	kvfree(work);
	return ret;
}

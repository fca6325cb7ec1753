// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: what guests invalidate
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * The commands of a guest are those of the hardware. Each of an array is checked, gets
 * the ids of the host, and is put into the command buffer. All of an array have one
 * wait, at its end, and with this the hardware is told of them, unless the buffer is
 * full before. The array is copied by INV_CHUNK commands, between which others have
 * their turn: neither memory nor the time with interrupts off depend on its length.
 *
 * If a command is wrong, those before it are done nevertheless: user space learns how
 * many they are.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"

/* Commands of the guest that are copied together */
#define INV_CHUNK		16
/* So many in a row with the same ids become one for all that these have. */
#define INV_RUN_MAX		64
/* Commands for the hardware that are put into its buffer together */
#define INV_BATCH_MAX		16

#define CMD_OPCODE		GENMASK_ULL(63, 60)
#define CMD_SIZE		BIT_ULL(0)
#define CMD_PDE			BIT_ULL(1)
#define CMD_GN			BIT_ULL(2)
#define CMD_ADDRESS		GENMASK_ULL(63, 12)
/* All addresses, with what leads to them */
#define CMD_ALL			(GENMASK_ULL(62, 12) | CMD_SIZE | CMD_PDE)

/* INVALIDATE_IOMMU_PAGES */
#define PAGES_PASID		GENMASK_ULL(19, 0)
#define PAGES_DOMID		GENMASK_ULL(47, 32)
#define PAGES_FIELDS		(CMD_OPCODE | PAGES_PASID | PAGES_DOMID)
#define PAGES_FIELDS2		(CMD_SIZE | CMD_PDE | CMD_GN | CMD_ADDRESS)

/* INVALIDATE_IOTLB_PAGES */
#define IOTLB_DEVID		GENMASK_ULL(15, 0)
#define IOTLB_PASID_15_8	GENMASK_ULL(23, 16)
#define IOTLB_MAXPEND		GENMASK_ULL(31, 24)
#define IOTLB_QUEUE		GENMASK_ULL(47, 32)
#define IOTLB_PASID_7_0		GENMASK_ULL(55, 48)
#define IOTLB_PASID_19_16	GENMASK_ULL(59, 56)
#define IOTLB_PASID		(IOTLB_PASID_15_8 | IOTLB_PASID_7_0 | \
				 IOTLB_PASID_19_16)
#define IOTLB_FIELDS		(CMD_OPCODE | IOTLB_DEVID | IOTLB_MAXPEND | \
				 IOTLB_QUEUE | IOTLB_PASID)
#define IOTLB_FIELDS2		(CMD_SIZE | CMD_GN | CMD_ADDRESS)

/**
 * struct inv_work - An array that is worked off
 * @viommu: the guest
 * @iommu: its IOMMU
 * @user: commands of the guest
 * @cmds: commands for the hardware
 * @nr: how many of these there are
 * @ids: what the last commands of the guest have had in common
 * @run: how many of them
 * @iotlb: devices were told something
 * @ret: the first errno of putting them into the buffer
 */
struct inv_work {
	struct amd_viommu *viommu;
	struct amd_iommu *iommu;
	struct iopf_amd_invalidate *user;
	struct iommu_cmd *cmds;
	unsigned int nr;
	u64 ids[2];
	unsigned int run;
	bool iotlb;
	int ret;
};

/**
 * amd_viommu_check_command() - Check a command of a guest
 * @cmd: the command
 *
 * Return: 0, -EOPNOTSUPP if it is not one of those that are passed on, or -EINVAL if
 * the hardware would not take it.
 */
int amd_viommu_check_command(const struct iopf_amd_invalidate *cmd)
{
	u64 first = cmd->cmd[0], second = cmd->cmd[1];

	switch (FIELD_GET(CMD_OPCODE, first)) {
	case CMD_INV_IOMMU_PAGES:
		if (first & ~PAGES_FIELDS || second & ~PAGES_FIELDS2)
			return -EINVAL;
		return !(second & CMD_GN) && first & PAGES_PASID ? -EINVAL : 0;
	case CMD_INV_IOTLB_PAGES:
		if (first & ~IOTLB_FIELDS || second & ~IOTLB_FIELDS2)
			return -EINVAL;
		return !(second & CMD_GN) && first & IOTLB_PASID ? -EINVAL : 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void put(struct inv_work *work)
{
	int ret;

	if (!work->nr)
		return;
	ret = amd_iommu_put_commands(work->iommu, work->cmds, work->nr);
	work->ret = work->ret ?: ret;
	work->nr = 0;
}

static void add(struct inv_work *work, u64 first, u64 second)
{
	struct iommu_cmd *cmd = &work->cmds[work->nr++];

	cmd->data[0] = lower_32_bits(first);
	cmd->data[1] = upper_32_bits(first);
	cmd->data[2] = lower_32_bits(second);
	cmd->data[3] = upper_32_bits(second);
	if (work->nr == INV_BATCH_MAX)
		put(work);
}

/* @pasid: the fields for it */
static void add_iotlb(struct inv_work *work, struct iommu_dev_data *dev_data,
		      u64 pasid, u64 second)
{
	u64 first = FIELD_PREP(CMD_OPCODE, CMD_INV_IOTLB_PAGES) |
		    FIELD_PREP(IOTLB_DEVID, dev_data->devid) |
		    FIELD_PREP(IOTLB_QUEUE, dev_data->devid) |
		    FIELD_PREP(IOTLB_MAXPEND, dev_data->ats_qdep);

	if (!dev_data->ats_enabled)
		return;
	/* One that is left out is blocked before the array is done. */
	work->iotlb = true;
	if (amd_iotlb_silent(dev_data))
		return;
	/* What requests without PASID have left has no PASID there. */
	if (second & CMD_GN && !pasid)
		add(work, first, second & ~CMD_GN);
	add(work, first | pasid, second);
}

static u64 iotlb_pasid(u32 pasid)
{
	return FIELD_PREP(IOTLB_PASID_7_0, pasid & 0xff) |
	       FIELD_PREP(IOTLB_PASID_15_8, pasid >> 8 & 0xff) |
	       FIELD_PREP(IOTLB_PASID_19_16, pasid >> 16);
}

/* One that the guest has for nothing leads to nothing. */
static void add_pages(struct inv_work *work, u64 first, u64 second)
{
	u16 guest = FIELD_GET(PAGES_DOMID, first);
	u64 pasid = iotlb_pasid(FIELD_GET(PAGES_PASID, first));
	struct amd_viommu *viommu = work->viommu;
	struct amd_guest_domid *domid = xa_load(&viommu->domids, guest);
	struct iommu_dev_data *dev_data;

	lockdep_assert_held(&viommu->lock);

	if (!domid)
		return;
	/* For the hardware these would be addresses of the second stage. */
	if (!(second & CMD_GN))
		second = CMD_ALL;
	first &= ~PAGES_DOMID;
	add(work, first | FIELD_PREP(PAGES_DOMID, domid->host), second);
	list_for_each_entry(dev_data, &viommu->devs, guest.node)
		if (!amd_nested_guest_flushes(dev_data, guest))
			add_iotlb(work, dev_data, pasid, second & ~CMD_PDE);
}

/*
 * Returns true if what came before is enough. The guest has changed its tables before
 * it asks for the first one of an array.
 */
static bool run_has(struct inv_work *work, u64 first, u64 *second)
{
	u64 gn = *second & CMD_GN;

	if (first != work->ids[0] || gn != work->ids[1])
		work->run = 0;
	work->ids[0] = first;
	work->ids[1] = gn;
	if (work->run == INV_RUN_MAX)
		return true;
	if (++work->run == INV_RUN_MAX)
		*second = CMD_ALL | gn;
	return false;
}

/* One that is not attached has nothing of the guest. */
static void add_iotlb_of_guest(struct inv_work *work, u64 first, u64 second)
{
	u16 devid = FIELD_GET(IOTLB_DEVID, first);
	struct iommu_dev_data *dev_data;

	lockdep_assert_held(&work->viommu->lock);

	list_for_each_entry(dev_data, &work->viommu->devs, guest.node)
		if (dev_data->guest.devid == devid)
			add_iotlb(work, dev_data, first & IOTLB_PASID,
				  second & ~CMD_PDE);
}

static int add_command(struct inv_work *work,
		       const struct iopf_amd_invalidate *cmd)
{
	u64 first = cmd->cmd[0], second = cmd->cmd[1];
	bool iotlb;
	int ret;

	ret = amd_viommu_check_command(cmd);
	if (ret)
		return ret;
	iotlb = FIELD_GET(CMD_OPCODE, first) == CMD_INV_IOTLB_PAGES;
	if (iotlb && !iommufd_viommu_has_vdevice(&work->viommu->core,
						 FIELD_GET(IOTLB_DEVID, first)))
		return -ENOENT;
	if (run_has(work, first, &second))
		return 0;
	if (iotlb)
		add_iotlb_of_guest(work, first, second);
	else
		add_pages(work, first, second);
	return 0;
}

/* Sets @done to how many are in the buffer. */
static int do_chunk(struct inv_work *work, struct iommu_user_data_array *array,
		    u32 *done)
{
	u32 i, nr = min(array->entry_num - *done, INV_CHUNK);
	int ret, err = 0;

	ret = iommufd_copy_user_array(work->user, sizeof(*work->user), array,
				      *done, &nr);
	mutex_lock(&work->viommu->lock);
	for (i = 0; i < nr; i++) {
		err = add_command(work, &work->user[i]);
		if (err)
			break;
	}
	put(work);
	mutex_unlock(&work->viommu->lock);
	*done += i;
	return err ?: ret;
}

/* Nobody leaves before the devices have completed what they were told. */
static void finish(struct inv_work *work, u32 since)
{
	struct amd_viommu *viommu = work->viommu;
	struct iommu_dev_data *dev_data;
	int ret;

	mutex_lock(&viommu->lock);
	ret = iommu_completion_wait(work->iommu) ?: work->ret;
	if (work->iotlb)
		list_for_each_entry(dev_data, &viommu->devs, guest.node)
			amd_iotlb_end(dev_data, 0, ~0UL, IOMMU_NO_PASID, false,
				      since, ret);
	mutex_unlock(&viommu->lock);
}

/**
 * amd_viommu_invalidate() - Invalidate what a guest asks for
 * @core: the vIOMMU
 * @array: what it is. entry_num is set to how many commands are done
 *
 * Return: 0 or the errno of the command that was not done.
 */
int amd_viommu_invalidate(struct iommufd_viommu *core,
			  struct iommu_user_data_array *array)
{
	struct iopf_amd_invalidate user[INV_CHUNK];
	struct iommu_cmd cmds[INV_BATCH_MAX];
	u32 since = amd_iotlb_errors(), done = 0;
	struct inv_work work = {
		.viommu = to_amd_viommu(core),
		.user = user,
		.cmds = cmds,
	};
	int ret = 0;

	if (array->type != IOPF_HWPT_INVALIDATE_DATA_AMD ||
	    (array->entry_num &&
	     array->entry_len != sizeof(struct iopf_amd_invalidate))) {
		array->entry_num = 0;
		return -EINVAL;
	}
	work.iommu = amd_viommu_iommu(work.viommu);
	while (!ret && done < array->entry_num) {
		ret = do_chunk(&work, array, &done);
		cond_resched();
		if (!ret && done < array->entry_num &&
		    fatal_signal_pending(current))
			ret = -EINTR;
	}
	finish(&work, since);
	array->entry_num = done;
	return ret;
}

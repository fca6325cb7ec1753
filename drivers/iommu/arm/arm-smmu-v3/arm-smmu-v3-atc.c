// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: devices that do not complete invalidations of their cache
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A CMD_SYNC waits until devices have completed the CMD_ATC_INV in front of it. If
 * one does not, the command queue stops at the CMD_SYNC with an error, and goes on
 * when the error is acknowledged. Who waits has interrupts off, and may be on the
 * CPU that would take the interrupt for the error: so he looks for it himself.
 *
 * The SMMU does not say which device it was. It is one of those whose CMD_ATC_INV
 * are between the CMD_SYNC and the one before it, whoever has put them there. These
 * are suspects, and all that was for them has to be sent again, for each device by
 * itself. The error is counted if there is only one suspect.
 *
 * A device may be late IOPF_LATE_MAX times, not too far from each other. Then it is
 * given up:
 *
 * - It is not told of invalidations any more. Others are.
 * - What it has in its cache is worth nothing any more. Before an invalidation
 *   returns that had to do without it, its translated requests are blocked, and so
 *   are its requests for translations: both by EATS of its stream table entry.
 * - Its page requests are dropped, and nobody can turn them on.
 *
 * All of that ends with a reset, if the device has lost its cache by it or flushes
 * it when it is asked to.
 *
 * arm_smmu_device::error_lock protects who is late and who is given up. It is taken
 * in the interrupt handler and by all who wait for the queue, so nothing that takes
 * its time is done under it. arm_smmu_atc::ste_lock is held while EATS is written,
 * and waits for the queue. It is the outer one, and inside of devices_lock.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/rbtree.h>
#include <linux/workqueue.h>
#include <kunit/visibility.h>

#include "arm-smmu-v3.h"
#include "../../iopf-enable.h"

/* When others are always in the way of a device that is told by itself */
#define ATC_MAX_ROUNDS		8
/* More than what lies between two CMD_SYNC, but for very many devices */
#define ATC_MAX_SCAN		1024

/**
 * arm_smmu_atc_init_smmu() - Get ready for errors of the command queue
 * @smmu: the SMMU
 */
void arm_smmu_atc_init_smmu(struct arm_smmu_device *smmu)
{
	raw_spin_lock_init(&smmu->error_lock);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_init_smmu);

static void atc_give_up(struct arm_smmu_master *master, bool suspected)
{
	struct arm_smmu_atc *atc = &master->atc;

	lockdep_assert_held(&master->smmu->error_lock);

	if (atc->silent)
		return;
	WRITE_ONCE(atc->suspected, suspected);
	WRITE_ONCE(atc->silent, true);
	atomic_inc(&master->smmu->atc_nr_silent);
	schedule_work(&atc->fence);
}

static int atc_cmp_stream(const void *key, const struct rb_node *node)
{
	u32 id = rb_entry(node, struct arm_smmu_stream, node)->id;
	u32 sid = *(const u32 *)key;

	return sid < id ? -1 : sid > id;
}

static struct arm_smmu_master *atc_find(struct arm_smmu_device *smmu, u32 sid)
{
	struct rb_node *node;

	lockdep_assert_held(&smmu->error_lock);

	node = rb_find(&sid, &smmu->streams, atc_cmp_stream);
	return node ? rb_entry(node, struct arm_smmu_stream, node)->master :
		      NULL;
}

static u64 atc_cmd(struct arm_smmu_queue *q, u32 idx)
{
	return le64_to_cpu(READ_ONCE(*Q_ENT(q, idx)));
}

/*
 * The commands in front of a CMD_SYNC that has not been consumed may have been, and
 * their slots be used again, if the queue is full or nearly so. Who suffers by that
 * is told once more.
 */
static void atc_note(struct arm_smmu_device *smmu, struct arm_smmu_queue *q,
		     u32 sync, bool stuck)
{
	u32 mask = BIT(q->llq.max_n_shift) - 1;
	u32 left = min_t(u32, mask, ATC_MAX_SCAN);
	struct arm_smmu_master *master, *only = NULL;
	u32 idx = sync & mask, sid = 0;
	unsigned int suspects = 0;
	u64 cmd;

	lockdep_assert_held(&smmu->error_lock);

	WRITE_ONCE(smmu->atc_errors, smmu->atc_errors + 1);
	for (; left; left--) {
		idx = (idx - 1) & mask;
		cmd = atc_cmd(q, idx);
		if (FIELD_GET(CMDQ_0_OP, cmd) == CMDQ_OP_CMD_SYNC)
			break;
		if (FIELD_GET(CMDQ_0_OP, cmd) != CMDQ_OP_ATC_INV)
			continue;
		if (suspects && FIELD_GET(CMDQ_ATC_0_SID, cmd) == sid)
			continue;
		sid = FIELD_GET(CMDQ_ATC_0_SID, cmd);
		master = atc_find(smmu, sid);
		if (!suspects || master != only)
			suspects++;
		only = master;
		if (master)
			WRITE_ONCE(master->atc.error, smmu->atc_errors);
	}

	/* All are, if so many commands have no CMD_SYNC between them. */
	if (!left)
		WRITE_ONCE(smmu->atc_error_of_all, smmu->atc_errors);
	else if (only && suspects == 1 && !only->atc.silent &&
		 (stuck || iopf_late_again(&only->atc.late)))
		atc_give_up(only, false);
}

/**
 * arm_smmu_atc_note() - A CMD_SYNC ended with an error
 * @smmu: the SMMU
 * @q: the command queue
 * @sync: index of the CMD_SYNC in it
 *
 * The error has not been acknowledged yet.
 *
 * Context: any.
 */
void arm_smmu_atc_note(struct arm_smmu_device *smmu, struct arm_smmu_queue *q,
		       u32 sync)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	atc_note(smmu, q, sync, false);
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_note);

/**
 * arm_smmu_atc_look() - Has the command queue stopped because of a device?
 * @smmu: the SMMU
 * @cmdq: the queue that the caller waits for
 *
 * If it has, let it go on. Other errors are left to the interrupt handler.
 *
 * Context: any.
 */
void arm_smmu_atc_look(struct arm_smmu_device *smmu, struct arm_smmu_cmdq *cmdq)
{
	void __iomem *base = smmu->base;
	bool timed_out = false;
	unsigned long flags;
	u32 gerrorn, cons;

	/* Other queues have other registers for their errors. */
	if (cmdq != &smmu->cmdq ||
	    !((readl_relaxed(base + ARM_SMMU_GERROR) ^
	       readl_relaxed(base + ARM_SMMU_GERRORN)) & GERROR_CMDQ_ERR))
		return;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	gerrorn = readl_relaxed(base + ARM_SMMU_GERRORN);
	if ((readl_relaxed(base + ARM_SMMU_GERROR) ^ gerrorn) & GERROR_CMDQ_ERR) {
		cons = readl_relaxed(cmdq->q.cons_reg);
		timed_out = FIELD_GET(CMDQ_CONS_ERR, cons) ==
			    CMDQ_ERR_CERROR_ATC_INV_IDX;
	}
	if (timed_out) {
		atc_note(smmu, &cmdq->q, cons, false);
		WRITE_ONCE(smmu->atc_irq_due, true);
		/* Who waits for the CMD_SYNC sees what is noted. */
		writel(gerrorn ^ GERROR_CMDQ_ERR, base + ARM_SMMU_GERRORN);
	}
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);

	if (timed_out)
		dev_err_ratelimited(smmu->dev,
				    "CMDQ error (cons 0x%08x): ATC invalidate timeout\n",
				    cons);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_look);

/**
 * arm_smmu_atc_irq() - There was an interrupt for a global error
 * @smmu: the SMMU
 *
 * Context: hard interrupt.
 *
 * Return: true if that was, or may have been, for a device that was late.
 */
bool arm_smmu_atc_irq(struct arm_smmu_device *smmu)
{
	arm_smmu_atc_look(smmu, &smmu->cmdq);
	if (!READ_ONCE(smmu->atc_irq_due))
		return false;
	WRITE_ONCE(smmu->atc_irq_due, false);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_irq);

/**
 * arm_smmu_atc_is_error() - Is the error of the command queue for those who wait?
 * @smmu: the SMMU
 *
 * Return: true if a device was late. If there is an error, that is what it is.
 */
bool arm_smmu_atc_is_error(struct arm_smmu_device *smmu)
{
	return FIELD_GET(CMDQ_CONS_ERR, readl_relaxed(smmu->cmdq.q.cons_reg)) ==
	       CMDQ_ERR_CERROR_ATC_INV_IDX;
}

/**
 * arm_smmu_ack_gerror() - Acknowledge global errors
 * @smmu: the SMMU
 * @active: bits of the register GERROR, of errors that were dealt with
 *
 * What is not in @active may be acknowledged by others meanwhile.
 *
 * Context: any.
 */
void arm_smmu_ack_gerror(struct arm_smmu_device *smmu, u32 active)
{
	void __iomem *gerrorn = smmu->base + ARM_SMMU_GERRORN;
	unsigned long flags;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	writel(readl_relaxed(gerrorn) ^ active, gerrorn);
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
}

/**
 * arm_smmu_atc_stuck() - A CMD_SYNC was waited for in vain
 * @smmu: the SMMU
 * @cmdq: the queue
 * @prod: index of the CMD_SYNC
 *
 * An SMMU may wait for a device longer than anybody can with interrupts off. So it
 * is given up at once, if it is clear which one it is.
 *
 * Context: any.
 */
void arm_smmu_atc_stuck(struct arm_smmu_device *smmu,
			struct arm_smmu_cmdq *cmdq, u32 prod)
{
	u32 cons = readl_relaxed(cmdq->q.cons_reg) & ~CMDQ_CONS_ERR;
	struct arm_smmu_queue *q = &cmdq->q;
	u32 size = BIT(q->llq.max_n_shift);
	unsigned long flags;

	/* Not if it is over by now, or if no device is waited for */
	if (!(smmu->features & ARM_SMMU_FEAT_ATS) ||
	    ((cons - prod - 1) & (2 * size - 1)) < size ||
	    FIELD_GET(CMDQ_0_OP, atc_cmd(q, cons)) != CMDQ_OP_CMD_SYNC)
		return;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	/* Others that wait behind it are not for more reasons in vain. */
	if (!smmu->atc_is_stuck || smmu->atc_stuck_at != cons)
		atc_note(smmu, q, cons, true);
	smmu->atc_is_stuck = true;
	smmu->atc_stuck_at = cons;
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_stuck);

/**
 * arm_smmu_atc_errors() - Taken before commands are issued
 * @smmu: the SMMU
 *
 * Return: a number for arm_smmu_atc_end().
 */
u32 arm_smmu_atc_errors(struct arm_smmu_device *smmu)
{
	return READ_ONCE(smmu->atc_errors);
}

static bool atc_error_since(struct arm_smmu_master *master, u32 since)
{
	struct arm_smmu_device *smmu = master->smmu;

	return (s32)(READ_ONCE(master->atc.error) - since) > 0 ||
	       (s32)(READ_ONCE(smmu->atc_error_of_all) - since) > 0;
}

static void atc_write_eats(struct arm_smmu_master *master)
{
	struct arm_smmu_device *smmu = master->smmu;
	struct arm_smmu_ste *step, ste;
	unsigned int i;

	for (i = 0; i < master->num_streams; i++) {
		step = arm_smmu_get_step_for_sid(smmu, master->streams[i].id);
		ste = *step;
		ste.data[1] &= ~cpu_to_le64(STRTAB_STE_1_EATS);
		if (master->ste_ats_enabled && !master->atc.blocked)
			ste.data[1] |=
				cpu_to_le64(FIELD_PREP(STRTAB_STE_1_EATS,
						       STRTAB_STE_1_EATS_TRANS));
		arm_smmu_write_ste(master, master->streams[i].id, step, &ste);
	}
}

static void atc_block(struct arm_smmu_master *master)
{
	struct arm_smmu_atc *atc = &master->atc;
	unsigned long flags;

	raw_spin_lock_irqsave(&atc->ste_lock, flags);
	if (READ_ONCE(atc->silent) && !atc->blocked) {
		atc->blocked = true;
		atc_write_eats(master);
	}
	raw_spin_unlock_irqrestore(&atc->ste_lock, flags);
}

/**
 * arm_smmu_atc_limit_ste() - Leave ATS off in the entry of a device, if need be
 * @master: the device, its arm_smmu_atc::ste_lock held
 * @ste: what will be its stream table entry
 */
void arm_smmu_atc_limit_ste(struct arm_smmu_master *master,
			    struct arm_smmu_ste *ste)
{
	lockdep_assert_held(&master->atc.ste_lock);

	if (master->atc.blocked)
		ste->data[1] &= ~cpu_to_le64(STRTAB_STE_1_EATS);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_atc_limit_ste);

/**
 * arm_smmu_atc_tell() - Send an invalidation to a device, and wait for it
 * @master: the device
 * @cmd: the invalidation, with any stream
 *
 * Context: any.
 *
 * Return: 0, or -ETIMEDOUT if the device was given up, or is now, and is blocked.
 */
int arm_smmu_atc_tell(struct arm_smmu_master *master,
		      struct arm_smmu_cmdq_ent *cmd)
{
	struct arm_smmu_device *smmu = master->smmu;
	unsigned int round, i;
	unsigned long flags;
	u32 since;
	int ret;

	for (round = 0; round < ATC_MAX_ROUNDS; round++) {
		struct arm_smmu_cmdq_batch cmds;

		if (arm_smmu_atc_silent(master))
			break;
		since = arm_smmu_atc_errors(smmu);
		arm_smmu_cmdq_batch_init(smmu, &cmds, cmd);
		for (i = 0; i < master->num_streams; i++) {
			cmd->atc.sid = master->streams[i].id;
			arm_smmu_cmdq_batch_add(smmu, &cmds, cmd);
		}
		ret = arm_smmu_cmdq_batch_submit(smmu, &cmds);
		if (!atc_error_since(master, since))
			return ret;
		/* It would be waited for in vain again. */
		if (ret)
			break;
	}

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	atc_give_up(master, true);
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
	atc_block(master);
	return -ETIMEDOUT;
}

static int atc_tell_suspects(struct arm_smmu_domain *domain, unsigned long iova,
			     size_t size, u32 since)
{
	struct arm_smmu_master_domain *cur;
	struct arm_smmu_cmdq_ent cmd;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&domain->devices_lock, flags);
	list_for_each_entry(cur, &domain->devices, devices_elm) {
		if (!cur->master->ats_enabled ||
		    (!arm_smmu_atc_silent(cur->master) &&
		     !atc_error_since(cur->master, since)))
			continue;
		arm_smmu_atc_inv_to_cmd(cur->ssid, iova, size, &cmd);
		if (arm_smmu_atc_tell(cur->master, &cmd))
			ret = -ETIMEDOUT;
	}
	spin_unlock_irqrestore(&domain->devices_lock, flags);
	return ret;
}

/**
 * arm_smmu_atc_end() - The devices of a domain have been sent an invalidation
 * @domain: the domain
 * @iova: start of what is invalid
 * @size: its size, 0 for all
 * @since: arm_smmu_atc_errors() of before
 * @ret: what waiting for it has returned
 *
 * Tell those again that may not have completed it. A device that was left out, or
 * is given up now, must not use any more what it should have forgotten.
 *
 * Context: any.
 *
 * Return: @ret, or -ETIMEDOUT if a device was left out.
 */
int arm_smmu_atc_end(struct arm_smmu_domain *domain, unsigned long iova,
		     size_t size, u32 since, int ret)
{
	struct arm_smmu_device *smmu = domain->smmu;

	if (arm_smmu_atc_errors(smmu) == since &&
	    !atomic_read(&smmu->atc_nr_silent))
		return ret;
	return atc_tell_suspects(domain, iova, size, since) ?: ret;
}

static void atc_fence(struct work_struct *work)
{
	struct arm_smmu_master *master =
		container_of(work, struct arm_smmu_master, atc.fence);
	struct arm_smmu_atc *atc = &master->atc;

	if (READ_ONCE(atc->silent))
		iopf_late_tell(master->dev, READ_ONCE(atc->suspected), "SMMU");
	iopf_dev_fence(master->dev, &atc->silent);
}

/**
 * arm_smmu_atc_init() - Get a device ready to be given up
 * @master: the device, whose streams cannot be found yet
 */
void arm_smmu_atc_init(struct arm_smmu_master *master)
{
	raw_spin_lock_init(&master->atc.ste_lock);
	INIT_WORK(&master->atc.fence, atc_fence);
	/* It has nothing to do with what was before. */
	master->atc.error = arm_smmu_atc_errors(master->smmu);
}

/**
 * arm_smmu_atc_forget() - A device is released
 * @master: the device, whose streams can not be found any more
 *
 * Context: may sleep.
 */
void arm_smmu_atc_forget(struct arm_smmu_master *master)
{
	if (arm_smmu_atc_silent(master))
		atomic_dec(&master->smmu->atc_nr_silent);
	cancel_work_sync(&master->atc.fence);
}

/* Invalidations reach the device again, which may be late as often as is left. */
static void atc_listen(struct arm_smmu_master *master, unsigned int left)
{
	struct arm_smmu_device *smmu = master->smmu;
	unsigned long flags;

	raw_spin_lock_irqsave(&smmu->error_lock, flags);
	iopf_late_allow(&master->atc.late, left);
	if (master->atc.silent) {
		WRITE_ONCE(master->atc.silent, false);
		atomic_dec(&smmu->atc_nr_silent);
	}
	raw_spin_unlock_irqrestore(&smmu->error_lock, flags);
}

/* Does the device, of which nothing is known, forget all translations? */
static bool atc_flush_all(struct arm_smmu_master *master)
{
	struct arm_smmu_cmdq_ent cmd;

	arm_smmu_atc_inv_to_cmd(IOMMU_NO_PASID, 0, 0, &cmd);
	if (arm_smmu_atc_tell(master, &cmd))
		return false;
	if (!master->ssid_bits)
		return true;
	cmd.substream_valid = true;
	cmd.atc.global = true;
	return !arm_smmu_atc_tell(master, &cmd);
}

/* ATS is allowed again, if the device is not silent again. */
static bool atc_unblock(struct arm_smmu_master *master)
{
	struct arm_smmu_atc *atc = &master->atc;
	unsigned long flags;
	bool silent;

	raw_spin_lock_irqsave(&atc->ste_lock, flags);
	raw_spin_lock(&master->smmu->error_lock);
	silent = atc->silent;
	if (!silent)
		atc->late.timeouts = 0;
	raw_spin_unlock(&master->smmu->error_lock);
	if (!silent && atc->blocked) {
		atc->blocked = false;
		atc_write_eats(master);
	}
	raw_spin_unlock_irqrestore(&atc->ste_lock, flags);
	return !silent;
}

/**
 * arm_smmu_atc_reset_done() - A device was reset
 * @dev: the device
 *
 * If there may still be something in the cache of the device, it is asked to forget
 * all that it has. It gets one chance.
 *
 * Time-outs of a device that has not been given up stay counted: whoever can reset
 * it again and again would keep an invalidation from coming to an end.
 *
 * Context: may sleep. The device is not released meanwhile.
 *
 * Return: true unless the device is, or is again, one that is given up.
 */
bool arm_smmu_atc_reset_done(struct device *dev)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);
	int ret;

	if (!master || !dev_is_pci(dev) || !arm_smmu_atc_silent(master))
		return true;

	ret = iopf_late_reset(to_pci_dev(dev), master->ssid_bits);
	if (ret < 0)
		return false;
	if (!ret) {
		atc_listen(master, IOPF_LATE_MAX);
		return atc_unblock(master);
	}
	/*
	 * Who has left the device out returns, without a block, as soon as it is
	 * not silent. What it may use by then must be flushed.
	 */
	atc_block(master);
	atc_listen(master, 1);
	return atc_flush_all(master) && atc_unblock(master);
}

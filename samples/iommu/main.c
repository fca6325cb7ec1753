// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sample driver that shares a process's virtual addresses with a PCIe device
 *
 * The device is the emulated test endpoint 1234:11f0 (QEMU's iopf-testdev). Its
 * character device, see iopf-sva.h, lets a process have transfers done to and
 * from its own virtual addresses. It shows the steps that such a driver needs:
 *
 *  - bind with iommu_sva_bind_device(), tag the device's work with the PASID;
 *  - let only the process that is bound submit work;
 *  - at the end first stop the device's use of the PASID, then unbind. The exit
 *    of the process comes before that: its memory is gone, the device may still
 *    ask for it, and is told that there is none.
 *
 * The source builds in this tree and as a module for other kernels:
 *
 *	make -C KERNEL_BUILD_DIR M=$PWD/samples/iommu
 *
 * Locks, outer first: file->lock, sva->lock, engine->lock.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "engine.h"
#include "iopf-sva.h"
#include "ktable.h"
#include "table.h"

static_assert(IOPF_SVA_FILES * (IOPF_SVA_TICKETS + 1) <= IOPF_TD_CONTEXTS_MAX,
	      "a stop must not wait for transfers that never end");
static_assert(IOPF_SVA_FILES <= IOPF_TD_PASIDS_MAX);

/**
 * struct sva_dev - one function of the endpoint
 * @refs: the driver and each open file
 * @misc: the character device
 * @id: number in its name
 * @pdev: the function
 * @engine: its engine, valid until @gone
 * @fault_error: why the device cannot have page faults, or 0; in older kernels
 * @feature_error: why the IOMMU cannot do SVA, or 0; in older kernels
 * @lock: protects @gone and @files
 * @gone: no file may bind any more
 * @files: those that are bound, or about to be; the index is that of the window
 */
struct sva_dev {
	struct kref refs;
	struct miscdevice misc;
	int id;
	struct pci_dev *pdev;
	struct engine engine;
	int fault_error;
	int feature_error;
	struct mutex lock;	/* of gone and files */
	bool gone;
	struct sva_file *files[IOPF_SVA_FILES];
};

/**
 * struct sva_ticket - a transfer of a file
 * @used: between submission and the delivery of its result
 * @op: the engine's part
 */
struct sva_ticket {
	bool used;
	struct engine_op op;
};

/**
 * struct sva_file - an open file
 * @refs: the struct file, and the removal of the device while it works on this
 * @sva: the function
 * @lock: protects the rest
 * @mm: of the process that bound it last, to compare with; may be dead
 * @handle: of the bond with the process's page table, or NULL
 * @table: of the bond with one of our own, or NULL
 * @pasid: of the bond
 * @index: in @sva->files
 * @ticket: transfers
 * @ktable: a page table of the kernel, or NULL
 */
struct sva_file {
	struct kref refs;
	struct sva_dev *sva;
	struct mutex lock;	/* of what follows */
	struct mm_struct *mm;
	struct iommu_sva *handle;
	struct table *table;
	u32 pasid;
	unsigned int index;
	struct sva_ticket ticket[IOPF_SVA_TICKETS];
	struct ktable *ktable;
};

/* The endpoint then does what a missing invalidation would do to a good one. */
static bool ignore_invalidations;
module_param(ignore_invalidations, bool, 0444);
MODULE_PARM_DESC(ignore_invalidations,
		 "Have the device use stale translations, to see tests fail; corrupts memory");

static DEFINE_IDA(sva_ids);

static void sva_dev_release(struct kref *refs)
{
	struct sva_dev *sva = container_of(refs, struct sva_dev, refs);

	kfree(sva->misc.name);
	ida_free(&sva_ids, sva->id);
	kfree(sva);
}

static void sva_file_release(struct kref *refs)
{
	struct sva_file *file = container_of(refs, struct sva_file, refs);

	if (file->ktable)
		ktable_free(file->ktable);
	if (file->mm)
		mmdrop(file->mm);
	kref_put(&file->sva->refs, sva_dev_release);
	kfree(file);
}

static u32 sva_window(const struct sva_file *file)
{
	return IOPF_TD_RAM_DATA + file->index * IOPF_SVA_WINDOW;
}

/* Find a place for a file that wants to bind the caller. */
static int sva_join(struct sva_dev *sva, struct sva_file *file)
{
	unsigned int i, room = IOPF_SVA_FILES;
	int ret = 0;

	mutex_lock(&sva->lock);
	for (i = 0; i < IOPF_SVA_FILES; i++) {
		if (!sva->files[i])
			room = min(room, i);
		else if (sva->files[i]->mm == current->mm)
			ret = -EBUSY;
	}
	if (sva->gone)
		ret = -ENODEV;
	else if (!ret && room == IOPF_SVA_FILES)
		ret = -ENOSPC;
	if (!ret) {
		if (file->mm)
			mmdrop(file->mm);
		mmgrab(current->mm);
		file->mm = current->mm;
		file->index = room;
		sva->files[room] = file;
	}
	mutex_unlock(&sva->lock);
	return ret;
}

static void sva_leave(struct sva_file *file)
{
	struct sva_dev *sva = file->sva;

	mutex_lock(&sva->lock);
	sva->files[file->index] = NULL;
	mutex_unlock(&sva->lock);
}

static bool sva_is_bound(const struct sva_file *file)
{
	return file->handle || file->table;
}

/*
 * The transfers end, whatever page faults they are in: the device gives up what
 * it has asked for. Only then the bond may be taken away.
 */
static void sva_unbind(struct sva_file *file)
{
	lockdep_assert_held(&file->lock);
	if (!sva_is_bound(file))
		return;
	engine_stop_pasid(&file->sva->engine, file->pasid);
	if (file->handle)
		iommu_sva_unbind_device(file->handle);
	else
		table_unbind(file->table);
	file->handle = NULL;
	file->table = NULL;
	sva_leave(file);
}

static int sva_bind_process(struct sva_file *file)
{
	struct iommu_sva *handle;

	handle = iommu_sva_bind_device(&file->sva->pdev->dev, current->mm);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	file->handle = handle;
	file->pasid = iommu_sva_get_pasid(handle);
	return 0;
}

static int sva_bind_table(struct sva_file *file)
{
	struct table *table;

	table = table_bind(&file->sva->pdev->dev, current->mm);
	if (IS_ERR(table))
		return PTR_ERR(table);
	file->table = table;
	file->pasid = table->pasid;
	return 0;
}

static int sva_bind(struct sva_file *file, bool own_table)
{
	struct sva_dev *sva = file->sva;
	int ret;

	if (sva_is_bound(file))
		return -EBUSY;
	/* else it would be -ENODEV, as if the device was gone */
	if (!own_table && !IS_ENABLED(CONFIG_IOMMU_SVA))
		return -EOPNOTSUPP;
	ret = own_table ? sva->fault_error : sva->feature_error;
	if (ret)
		return ret;
	ret = sva_join(sva, file);
	if (ret)
		return ret;
	ret = own_table ? sva_bind_table(file) : sva_bind_process(file);
	if (ret) {
		sva_leave(file);
		return ret;
	}
	memset_io(sva->engine.ram + sva_window(file), 0, IOPF_SVA_WINDOW);
	return 0;
}

static long sva_ioctl_bind(struct sva_file *file, void __user *arg)
{
	struct iopf_sva_bind bind;
	int ret;

	if (copy_from_user(&bind, arg, sizeof(bind)))
		return -EFAULT;
	if (bind.flags & ~IOPF_SVA_OWN_TABLE)
		return -EINVAL;
	ret = sva_bind(file, bind.flags & IOPF_SVA_OWN_TABLE);
	if (ret)
		return ret;
	bind.pasid = file->pasid;
	if (copy_to_user(arg, &bind, sizeof(bind))) {
		sva_unbind(file);
		return -EFAULT;
	}
	return 0;
}

static long sva_ioctl_unbind(struct sva_file *file)
{
	if (!sva_is_bound(file))
		return -ENOTCONN;
	sva_unbind(file);
	return 0;
}

static bool sva_range_ok(const struct iopf_sva_submit *submit)
{
	u64 end;

	return submit->length &&
	       !check_add_overflow(submit->addr, submit->length - 1ULL, &end);
}

static bool sva_window_ok(const struct iopf_sva_submit *submit)
{
	return submit->length <= IOPF_SVA_WINDOW &&
	       submit->window <= IOPF_SVA_WINDOW - submit->length;
}

static bool sva_submit_ok(const struct iopf_sva_submit *submit)
{
	if (submit->flags & ~IOPF_SVA_NO_FAULT || !sva_range_ok(submit))
		return false;
	switch (submit->opcode) {
	case IOPF_SVA_FETCH_ADD:
		return submit->length == 8 && IS_ALIGNED(submit->addr, 8) &&
		       sva_window_ok(submit);
	case IOPF_SVA_READ:
	case IOPF_SVA_WRITE:
		return sva_window_ok(submit);
	case IOPF_SVA_FILL:
	case IOPF_SVA_COMPARE:
		return true;
	default:
		return false;
	}
}

static int sva_free_ticket(const struct sva_file *file)
{
	int i;

	for (i = 0; i < IOPF_SVA_TICKETS; i++)
		if (!file->ticket[i].used)
			return i;
	return -EBUSY;
}

static long sva_ioctl_submit(struct sva_file *file, void __user *arg)
{
	struct iopf_sva_submit submit;
	struct engine_op *op;
	int nr, ret;

	if (copy_from_user(&submit, arg, sizeof(submit)))
		return -EFAULT;
	if (!sva_submit_ok(&submit))
		return -EINVAL;
	if (!sva_is_bound(file))
		return -ENOTCONN;
	nr = sva_free_ticket(file);
	if (nr < 0)
		return nr;
	submit.ticket = nr;
	/* first, so that no ticket gets lost */
	if (copy_to_user(arg, &submit, sizeof(submit)))
		return -EFAULT;
	op = &file->ticket[nr].op;
	op->opcode = submit.opcode;
	op->flags = submit.flags & IOPF_SVA_NO_FAULT ? IOPF_TD_F_NO_PR : 0;
	op->pasid = file->pasid;
	op->addr = submit.addr;
	op->length = submit.length;
	op->ram = sva_window(file) + submit.window;
	op->data = submit.data;
	/* each file must find room for its stop */
	ret = engine_submit(&file->sva->engine, op, IOPF_SVA_FILES);
	if (!ret)
		file->ticket[nr].used = true;
	return ret;
}

/* Wait without the lock: the result may take as long as a page fault does. */
static int sva_wait(struct sva_file *file, const struct iopf_sva_wait *wait)
{
	struct sva_ticket *ticket = &file->ticket[wait->ticket];
	int ret;

	if (completion_done(&ticket->op.done))
		return 0;
	if (wait->flags & IOPF_SVA_NOWAIT)
		return -EAGAIN;
	mutex_unlock(&file->lock);
	ret = wait_for_completion_interruptible(&ticket->op.done);
	mutex_lock(&file->lock);
	if (ret)
		return ret;
	/* another thread may have taken the result, and used the ticket again */
	return ticket->used && completion_done(&ticket->op.done) ? 0 : -ENOENT;
}

static long sva_ioctl_wait(struct sva_file *file, void __user *arg)
{
	struct iopf_sva_wait wait;
	struct sva_ticket *ticket;
	int ret;

	if (copy_from_user(&wait, arg, sizeof(wait)))
		return -EFAULT;
	if (wait.flags & ~IOPF_SVA_NOWAIT)
		return -EINVAL;
	if (wait.ticket >= IOPF_SVA_TICKETS || !file->ticket[wait.ticket].used)
		return -ENOENT;
	ticket = &file->ticket[wait.ticket];
	ret = sva_wait(file, &wait);
	if (ret)
		return ret;
	wait.status = ticket->op.status;
	wait.ret = ticket->op.ret;
	wait.fail_addr = ticket->op.fail_addr;
	wait.done = ticket->op.bytes;
	wait.nr_pr = ticket->op.nr_pr;
	if (copy_to_user(arg, &wait, sizeof(wait)))
		return -EFAULT;
	ticket->used = false;
	return 0;
}

static void sva_read_info(const struct sva_dev *sva, struct iopf_sva_info *info)
{
	const struct engine *engine = &sva->engine;
	unsigned int i;

	info->live = engine_reg(engine, IOPF_TD_REG_LIVE) & 0xff;
	for (i = 0; i < IOPF_SVA_FILES; i++)
		info->bound += !!sva->files[i];
	info->requests = engine_reg(engine, IOPF_TD_REG_CNT_PR);
	info->groups = engine_reg(engine, IOPF_TD_REG_CNT_PR_LAST);
	info->success = engine_reg(engine, IOPF_TD_REG_CNT_RSP_SUCCESS);
	info->invalid = engine_reg(engine, IOPF_TD_REG_CNT_RSP_INVALID);
	info->failure = engine_reg(engine, IOPF_TD_REG_CNT_RSP_FAILURE);
	info->automatic = engine_reg(engine, IOPF_TD_REG_CNT_RSP_AUTO);
	info->unmatched = engine_reg(engine, IOPF_TD_REG_CNT_RSP_UNMATCHED);
	info->late = engine_reg(engine, IOPF_TD_REG_CNT_RSP_LATE);
	info->waiting = engine_reg(engine, IOPF_TD_REG_PRI_GROUPS);
	info->stale = engine_reg(engine, IOPF_TD_REG_PRI_STALE);
	info->invalidations = engine_reg(engine,
					 IOPF_TD_REG_ATC_INVALIDATIONS);
	info->stop_markers = engine_reg(engine, IOPF_TD_REG_CNT_STOP_MARKER);
	info->held = engine_reg(engine, IOPF_TD_REG_CNT_STALL);
	info->may_hold = !sva->pdev->ats_enabled &&
			 (engine_reg(engine, IOPF_TD_REG_CAPS) &
			  IOPF_TD_CAPS_STALL);
	/* Page tables of x86 processes are never walked without. */
	info->marks = IS_ENABLED(CONFIG_X86) ||
		      device_iommu_capable(&sva->pdev->dev,
					   IOMMU_CAP_DIRTY_TRACKING);
}

static long sva_ioctl_info(struct sva_dev *sva, void __user *arg)
{
	struct iopf_sva_info info = {};

	if (mutex_lock_killable(&sva->lock))
		return -EINTR;
	if (sva->gone) {
		mutex_unlock(&sva->lock);
		return -ENODEV;
	}
	sva_read_info(sva, &info);
	mutex_unlock(&sva->lock);
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

/* Of a file that another process has bound, or its own. */
static bool sva_is_foreign(const struct sva_file *file)
{
	return file->mm && file->mm != current->mm;
}

static int sva_ktable(struct sva_file *file, u32 step)
{
	struct ktable *table = file->ktable;

	if (step == IOPF_SVA_KTABLE_MAKE) {
		if (table)
			return -EBUSY;
		table = ktable_make();
		if (IS_ERR(table))
			return PTR_ERR(table);
		file->ktable = table;
		return 0;
	}
	if (!table)
		return -ENOENT;
	if (step == IOPF_SVA_KTABLE_REPLACE)
		return ktable_replace(table);
	if (step != IOPF_SVA_KTABLE_FREE)
		return -EINVAL;
	ktable_free(table);
	file->ktable = NULL;
	return 0;
}

static long sva_ioctl_ktable(struct sva_file *file, void __user *arg)
{
	struct iopf_sva_ktable ktable;
	int ret;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&ktable, arg, sizeof(ktable)))
		return -EFAULT;
	if (ktable.flags)
		return -EINVAL;
	ret = sva_ktable(file, ktable.step);
	if (ret)
		return ret;
	ktable.addr = file->ktable ? ktable_addr(file->ktable) : 0;
	return copy_to_user(arg, &ktable, sizeof(ktable)) ? -EFAULT : 0;
}

static long sva_ioctl_locked(struct sva_file *file, unsigned int cmd,
			     void __user *arg)
{
	/* who has inherited a file may bind when its first owner has not */
	if (sva_is_foreign(file) &&
	    (cmd != IOPF_SVA_BIND || sva_is_bound(file)))
		return -EPERM;
	switch (cmd) {
	case IOPF_SVA_BIND:
		return sva_ioctl_bind(file, arg);
	case IOPF_SVA_UNBIND:
		return sva_ioctl_unbind(file);
	case IOPF_SVA_SUBMIT:
		return sva_ioctl_submit(file, arg);
	case IOPF_SVA_KTABLE:
		return sva_ioctl_ktable(file, arg);
	default:
		return sva_ioctl_wait(file, arg);
	}
}

static long sva_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)
{
	struct sva_file *file = filep->private_data;
	void __user *uarg = (void __user *)arg;
	long ret;

	switch (cmd) {
	case IOPF_SVA_INFO:
		return sva_ioctl_info(file->sva, uarg);
	case IOPF_SVA_BIND:
	case IOPF_SVA_UNBIND:
	case IOPF_SVA_SUBMIT:
	case IOPF_SVA_WAIT:
	case IOPF_SVA_KTABLE:
		if (mutex_lock_killable(&file->lock))
			return -EINTR;
		ret = sva_ioctl_locked(file, cmd, uarg);
		mutex_unlock(&file->lock);
		return ret;
	default:
		return -ENOTTY;
	}
}

/* misc_deregister() waits for this: the device is there. */
static int sva_open(struct inode *inode, struct file *filep)
{
	struct sva_dev *sva = container_of(filep->private_data, struct sva_dev,
					   misc);
	struct sva_file *file;
	unsigned int i;

	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	kref_init(&file->refs);
	kref_get(&sva->refs);
	file->sva = sva;
	mutex_init(&file->lock);
	for (i = 0; i < IOPF_SVA_TICKETS; i++)
		init_completion(&file->ticket[i].op.done);
	filep->private_data = file;
	return nonseekable_open(inode, filep);
}

static int sva_close(struct inode *inode, struct file *filep)
{
	struct sva_file *file = filep->private_data;

	mutex_lock(&file->lock);
	sva_unbind(file);
	mutex_unlock(&file->lock);
	kref_put(&file->refs, sva_file_release);
	return 0;
}

static const struct file_operations sva_fops = {
	.owner = THIS_MODULE,
	.open = sva_open,
	.release = sva_close,
	.unlocked_ioctl = sva_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct sva_file *sva_get_bound(struct sva_dev *sva)
{
	struct sva_file *file = NULL;
	unsigned int i;

	mutex_lock(&sva->lock);
	for (i = 0; i < IOPF_SVA_FILES && !file; i++)
		file = sva->files[i];
	/*
	 * A file in the array is not released yet: sva_close() takes it out
	 * before it drops its reference.
	 */
	if (file)
		kref_get(&file->refs);
	mutex_unlock(&sva->lock);
	return file;
}

/* Unbind all files, and let none bind again. */
static void sva_shut(struct sva_dev *sva)
{
	struct sva_file *file;

	mutex_lock(&sva->lock);
	sva->gone = true;
	mutex_unlock(&sva->lock);
	while ((file = sva_get_bound(sva))) {
		mutex_lock(&file->lock);
		sva_unbind(file);
		mutex_unlock(&file->lock);
		kref_put(&file->refs, sva_file_release);
	}
}

#ifdef IOPF_SVA_FEATURES
/*
 * Older kernels, Linux 6.12 among them, want to be told that a driver uses page
 * faults and SVA. Newer ones, which do not know these functions any more, switch
 * them on with the bond. See the Makefile for how they are told apart.
 */
static void sva_enable_features(struct sva_dev *sva)
{
	struct device *dev = &sva->pdev->dev;
	int ret;

	ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_IOPF);
	sva->fault_error = ret;
	if (!ret)
		ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
	sva->feature_error = ret;
}

static void sva_disable_features(struct sva_dev *sva)
{
	if (!sva->feature_error)
		iommu_dev_disable_feature(&sva->pdev->dev, IOMMU_DEV_FEAT_SVA);
	if (!sva->fault_error)
		iommu_dev_disable_feature(&sva->pdev->dev, IOMMU_DEV_FEAT_IOPF);
}
#else
static void sva_enable_features(struct sva_dev *sva)
{
}

static void sva_disable_features(struct sva_dev *sva)
{
}
#endif

static int sva_start(struct sva_dev *sva)
{
	struct pci_dev *pdev = sva->pdev;
	int ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_regions(pdev, "iopf-sva");
	if (ret)
		goto err_disable;
	ret = engine_open(&sva->engine, pdev);
	if (ret)
		goto err_regions;
	sva_enable_features(sva);
	return 0;

err_regions:
	pci_release_regions(pdev);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void sva_end(struct sva_dev *sva)
{
	sva_disable_features(sva);
	engine_close(&sva->engine);
	pci_release_regions(sva->pdev);
	pci_disable_device(sva->pdev);
}

static struct sva_dev *sva_alloc(struct pci_dev *pdev)
{
	struct sva_dev *sva = kzalloc(sizeof(*sva), GFP_KERNEL);

	if (!sva)
		return ERR_PTR(-ENOMEM);
	kref_init(&sva->refs);
	mutex_init(&sva->lock);
	sva->pdev = pdev;
	if (ignore_invalidations)
		sva->engine.hostile = IOPF_TD_HOSTILE_IGNORE_INV;
	sva->id = ida_alloc(&sva_ids, GFP_KERNEL);
	if (sva->id < 0) {
		int ret = sva->id;

		kfree(sva);
		return ERR_PTR(ret);
	}
	sva->misc.minor = MISC_DYNAMIC_MINOR;
	sva->misc.fops = &sva_fops;
	sva->misc.parent = &pdev->dev;
	sva->misc.name = kasprintf(GFP_KERNEL, "iopf-sva%d", sva->id);
	if (!sva->misc.name) {
		kref_put(&sva->refs, sva_dev_release);
		return ERR_PTR(-ENOMEM);
	}
	return sva;
}

static int sva_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct sva_dev *sva = sva_alloc(pdev);
	int ret;

	if (IS_ERR(sva))
		return PTR_ERR(sva);
	ret = sva_start(sva);
	if (ret)
		goto err_put;
	pci_set_drvdata(pdev, sva);
	ret = misc_register(&sva->misc);
	if (ret)
		goto err_end;
	return 0;

err_end:
	sva_end(sva);
err_put:
	kref_put(&sva->refs, sva_dev_release);
	return ret;
}

static void sva_remove(struct pci_dev *pdev)
{
	struct sva_dev *sva = pci_get_drvdata(pdev);

	misc_deregister(&sva->misc);
	sva_shut(sva);
	sva_end(sva);
	kref_put(&sva->refs, sva_dev_release);
}

/* The reset ends what is under way, and the bonds with it. */
static void sva_reset_prepare(struct pci_dev *pdev)
{
	sva_shut(pci_get_drvdata(pdev));
}

static void sva_reset_done(struct pci_dev *pdev)
{
	struct sva_dev *sva = pci_get_drvdata(pdev);

	engine_reset(&sva->engine);
	mutex_lock(&sva->lock);
	sva->gone = false;
	mutex_unlock(&sva->lock);
}

static const struct pci_error_handlers sva_errors = {
	.reset_prepare = sva_reset_prepare,
	.reset_done = sva_reset_done,
};

static const struct pci_device_id sva_pci_ids[] = {
	{ PCI_DEVICE(IOPF_TD_VENDOR_ID, IOPF_TD_DEVICE_ID) },
	{}
};
MODULE_DEVICE_TABLE(pci, sva_pci_ids);

static struct pci_driver sva_driver = {
	.name = "iopf-sva",
	.id_table = sva_pci_ids,
	.probe = sva_probe,
	.remove = sva_remove,
	.err_handler = &sva_errors,
};
module_pci_driver(sva_driver);

MODULE_DESCRIPTION("Sample: shared virtual addresses with the IOPF test endpoint");
MODULE_AUTHOR("The linux-iopf authors");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of page requests of the address spaces of processes
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A device and an address space that exist in memory only. Its pages are found, or not,
 * as the test wants it, and at a time when it holds up who looks for them. What takes a
 * process and a device is tested with those, see tools/testing/selftests/iommu.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/mm.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "iopf-core.h"
#include "iommu-priv.h"
#include "sva-fault.h"

#define PASID		5
#define ADDR		0x10000000UL
#define MAX_ANSWERS	32
/* Longer than anything takes */
#define LIMIT		(120 * HZ)

struct sva_test {
	struct device dev;
	struct dev_iommu dev_iommu;
	struct iommu_device iommu_dev;
	struct iommu_ops ops;
	struct iommu_domain domain;
	/* Of two attachments of the domain, and the one that a request is for */
	struct iommu_attach_handle handle[2];
	struct iommu_attach_handle *found;
	struct iopf_queue *queue;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	bool mm_in_use;

	/* What the IOMMU driver was told to answer */
	spinlock_t lock;
	wait_queue_head_t changed;
	u32 grpid[MAX_ANSWERS], code[MAX_ANSWERS];
	unsigned int nr_answers;

	/* What becomes of a look for a page, and how often there was one */
	vm_fault_t (*fault)(struct sva_test *t);
	atomic_t nr_faults;
	bool open;

	/* Keeps the threads from beginning while it is there */
	struct work_struct stopper;
	struct completion stopped, start;

	/* Waits for the lock of the address space */
	struct work_struct writer;
	bool written, seen;

	/* Who has looked for a page, and when its area goes */
	struct work_struct *server;
	bool waits_at_close, would_hang;
	struct completion looks, closed;
};

static struct sva_test *dev_to_test(struct device *dev)
{
	return container_of(dev, struct sva_test, dev);
}

static void test_page_response_batch(const struct iopf_response *responses,
				     unsigned int nr)
{
	struct sva_test *t = dev_to_test(responses->dev);
	unsigned int i;

	spin_lock(&t->lock);
	for (i = 0; i < nr; i++, t->nr_answers++) {
		if (t->nr_answers >= MAX_ANSWERS)
			continue;
		t->grpid[t->nr_answers] = responses[i].prm->grpid;
		t->code[t->nr_answers] = responses[i].code;
	}
	spin_unlock(&t->lock);
	wake_up_all(&t->changed);
}

static vm_fault_t test_fault(struct vm_fault *vmf)
{
	struct sva_test *t = vmf->vma->vm_private_data;

	atomic_inc(&t->nr_faults);
	return t->fault ? t->fault(t) : VM_FAULT_NOPAGE;
}

/* Has it to be called with the lock of the address space? Not if there is this, too. */
static vm_fault_t test_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	return 0;
}

/* A driver whose device may not be used any more when it is not mapped, say */
static void test_close(struct vm_area_struct *vma)
{
	struct sva_test *t = vma->vm_private_data;

	if (!t->waits_at_close)
		return;
	t->would_hang = current_work() == t->server;
	if (!t->would_hang) {
		iommu_sva_end_faults(&t->handle[0], false);
		iopf_dev_sync(&t->dev, PASID, &t->handle[0]);
	}
	complete(&t->closed);
}

static const struct vm_operations_struct test_vm_ops = {
	.fault = test_fault,
	.close = test_close,
};

static const struct vm_operations_struct test_area_ops = {
	.fault = test_fault,
	.map_pages = test_map_pages,
};

static struct mm_struct *test_mm(struct sva_test *t)
{
	struct mm_struct *mm = mm_alloc();
	struct vm_area_struct *vma;

	if (!mm)
		return NULL;
#ifdef CONFIG_MEMCG
	/* It may live longer than this thread. */
	RCU_INIT_POINTER(mm->owner, NULL);
#endif
	vma = vm_area_alloc(mm);
	if (!vma)
		goto err_put;
	vma->vm_start = ADDR;
	vma->vm_end = ADDR + PAGE_SIZE;
	vm_flags_init(vma, VM_READ | VM_WRITE | VM_SHARED | VM_PFNMAP);
	vma->vm_ops = &test_vm_ops;
	vma->vm_private_data = t;
	mmap_write_lock(mm);
	if (insert_vm_struct(mm, vma)) {
		mmap_write_unlock(mm);
		vm_area_free(vma);
		goto err_put;
	}
	mmap_write_unlock(mm);
	t->vma = vma;
	return mm;

err_put:
	mmput(mm);
	return NULL;
}

static void test_writer(struct work_struct *work)
{
	struct sva_test *t = container_of(work, struct sva_test, writer);

	mmap_write_lock(t->mm);
	WRITE_ONCE(t->written, true);
	mmap_write_unlock(t->mm);
}

static void test_stopper(struct work_struct *work)
{
	struct sva_test *t = container_of(work, struct sva_test, stopper);

	complete(&t->stopped);
	wait_for_completion(&t->start);
}

static int sva_test_init(struct kunit *test)
{
	struct sva_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	spin_lock_init(&t->lock);
	init_waitqueue_head(&t->changed);
	init_completion(&t->stopped);
	init_completion(&t->start);
	init_completion(&t->looks);
	init_completion(&t->closed);
	INIT_WORK(&t->stopper, test_stopper);
	INIT_WORK(&t->writer, test_writer);
	t->dev.init_name = "sva-kunit";
	t->dev.iommu = &t->dev_iommu;
	mutex_init(&t->dev_iommu.lock);
	t->dev_iommu.iommu_dev = &t->iommu_dev;
	t->iommu_dev.ops = &t->ops;
	t->ops.page_response_batch = test_page_response_batch;
	t->mm = test_mm(t);
	KUNIT_ASSERT_NOT_NULL(test, t->mm);
	mmgrab(t->mm);
	t->mm_in_use = true;
	t->domain.type = IOMMU_DOMAIN_SVA;
	t->domain.mm = t->mm;
	t->domain.iopf_handler = iommu_sva_iopf_handler;
	t->handle[0].domain = &t->domain;
	t->handle[1].domain = &t->domain;
	KUNIT_ASSERT_EQ(test, iommu_sva_init_faults(&t->domain), 0);
	t->queue = iopf_queue_alloc("sva-kunit");
	KUNIT_ASSERT_NOT_NULL(test, t->queue);
	KUNIT_ASSERT_EQ(test, iopf_queue_add_device(t->queue, &t->dev), 0);
	test->priv = t;
	return 0;
}

static void wait_unused(struct sva_test *t, unsigned int i)
{
	iopf_dev_sync(&t->dev, PASID, &t->handle[i]);
}

static void sva_test_exit(struct kunit *test)
{
	struct sva_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < ARRAY_SIZE(t->handle); i++) {
		iommu_sva_end_faults(&t->handle[i], false);
		wait_unused(t, i);
	}
	iopf_queue_remove_device(t->queue, &t->dev);
	iopf_queue_free(t->queue);
	iommu_sva_free_faults(&t->domain);
	if (t->mm_in_use)
		mmput(t->mm);
	mmdrop(t->mm);
}

static struct iommu_attach_handle *test_find(struct device *dev,
					     struct iopf_fault *evt)
{
	return dev_to_test(dev)->found;
}

/* As from a device that is attached, or was when its IOMMU driver looked */
static int report(struct sva_test *t, u32 grpid, unsigned int i)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE |
					 IOMMU_FAULT_PAGE_REQUEST_PASID_VALID,
				.pasid = PASID,
				.grpid = grpid,
				.perm = IOMMU_FAULT_PERM_READ,
				.addr = ADDR,
			},
		},
	};
	struct iommu_fault_param *param = iopf_get_dev_fault_param(&t->dev);
	int ret;

	if (!param)
		return -ENODEV;
	mutex_lock(&param->report_lock);
	t->found = &t->handle[i];
	ret = iopf_report(param, &evt, test_find);
	mutex_unlock(&param->report_lock);
	iopf_put_dev_fault_param(param);
	return ret;
}

/* Those of @nr groups, in whatever order they come */
static void wait_answers(struct kunit *test, unsigned int nr)
{
	struct sva_test *t = test->priv;

	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(t->changed,
					   READ_ONCE(t->nr_answers) >= nr, LIMIT));
	KUNIT_EXPECT_EQ(test, t->nr_answers, nr);
}

static void expect_answer(struct kunit *test, unsigned int i, u32 grpid, u32 code)
{
	struct sva_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, t->grpid[i], grpid);
	KUNIT_EXPECT_EQ(test, t->code[i], code);
}

/* The threads of the address space do not begin before threads_start(). */
static void threads_stop(struct kunit *test)
{
	struct sva_test *t = test->priv;

	workqueue_set_max_active(t->domain.faults->wq, 1);
	reinit_completion(&t->stopped);
	reinit_completion(&t->start);
	queue_work(t->domain.faults->wq, &t->stopper);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&t->stopped, LIMIT));
}

static void threads_start(struct sva_test *t)
{
	complete(&t->start);
	flush_work(&t->stopper);
}

static void test_served(struct kunit *test)
{
	struct sva_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, report(t, 7, 0), 0);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 1);
}

/* A page that does not come before the test says so, or nobody wants it */
static vm_fault_t fault_held(struct sva_test *t)
{
	wake_up_all(&t->changed);
	return wait_event_killable(t->changed, READ_ONCE(t->open)) ?
		VM_FAULT_RETRY : VM_FAULT_NOPAGE;
}

/* A report that has found the attachment before it ends waits for no thread. */
static void test_report_after_end(struct kunit *test)
{
	struct sva_test *t = test->priv;
	unsigned int i;

	t->fault = fault_held;
	for (i = 0; i < SVA_MAX_RUNNING; i++)
		report(t, i, 1);
	iommu_sva_end_faults(&t->handle[0], false);
	report(t, 100, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 100, IOMMU_PAGE_RESP_INVALID);
	iommu_sva_begin_faults(&t->handle[0]);
	iommu_sva_end_faults(&t->handle[0], true);
	report(t, 101, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 2);
	expect_answer(test, 1, 101, IOMMU_PAGE_RESP_SUCCESS);
	/* The others are served as if nothing had been. */
	WRITE_ONCE(t->open, true);
	wake_up_all(&t->changed);
	wait_answers(test, SVA_MAX_RUNNING + 2);
	for (i = 2; i < SVA_MAX_RUNNING + 2; i++)
		KUNIT_EXPECT_EQ(test, t->code[i], IOMMU_PAGE_RESP_SUCCESS);
}

/* A thread that begins after the end does not look for a page: nobody would stop it. */
static void test_end_before_thread(struct kunit *test)
{
	struct sva_test *t = test->priv;

	threads_stop(test);
	report(t, 7, 0);
	iommu_sva_end_faults(&t->handle[0], false);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 0);
	threads_start(t);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_INVALID);

	iommu_sva_begin_faults(&t->handle[0]);
	threads_stop(test);
	report(t, 8, 0);
	iommu_sva_end_faults(&t->handle[0], true);
	threads_start(t);
	wait_answers(test, 2);
	expect_answer(test, 1, 8, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 0);
}

/* Nor after a reset. */
static void test_answered_before_thread(struct kunit *test)
{
	struct sva_test *t = test->priv;

	threads_stop(test);
	report(t, 7, 0);
	iopf_dev_abort(&t->dev);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_INVALID);
	threads_start(t);
	wait_unused(t, 0);
	KUNIT_EXPECT_EQ(test, t->nr_answers, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 0);
}

static vm_fault_t fault_short(struct sva_test *t)
{
	return atomic_read(&t->nr_faults) < 4 ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

/* There is no memory for a while, with the one lock and with the other. */
static void test_memory_short(struct kunit *test)
{
	struct sva_test *t = test->priv;

	t->fault = fault_short;
	report(t, 7, 0);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 4);

	t->vma->vm_ops = &test_area_ops;
	atomic_set(&t->nr_faults, 0);
	report(t, 8, 0);
	wait_answers(test, 2);
	expect_answer(test, 1, 8, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 4);
}

static vm_fault_t fault_no_memory(struct sva_test *t)
{
	return VM_FAULT_OOM;
}

/* The device is to ask again, but not without end to be kept waiting. */
static void test_memory_never(struct kunit *test)
{
	struct sva_test *t = test->priv;

	t->fault = fault_no_memory;
	report(t, 7, 0);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
	/* The first try may have been for the lock. */
	KUNIT_EXPECT_GE(test, atomic_read(&t->nr_faults), SVA_MAX_TRIES - 1);
	KUNIT_EXPECT_LE(test, atomic_read(&t->nr_faults), SVA_MAX_TRIES);
}

/* Somebody waits for the lock when there turns out to be no memory. */
static vm_fault_t fault_with_writer(struct sva_test *t)
{
	unsigned long end = jiffies + LIMIT;

	t->seen = READ_ONCE(t->written);
	if (t->seen)
		return VM_FAULT_NOPAGE;
	queue_work(system_unbound_wq, &t->writer);
	while (!mmap_lock_is_contended(t->mm) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(1);
	return VM_FAULT_OOM;
}

/* Who may free memory can have the lock meanwhile. */
static void test_memory_unlocked(struct kunit *test)
{
	struct sva_test *t = test->priv;

	t->fault = fault_with_writer;
	report(t, 7, 0);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_TRUE(test, t->seen);
	flush_work(&t->writer);
}

static vm_fault_t fault_ends(struct sva_test *t)
{
	iommu_sva_end_faults(&t->handle[0], false);
	return VM_FAULT_OOM;
}

/* Nor is memory waited for when nobody wants the page any more. */
static void test_memory_unwanted(struct kunit *test)
{
	struct sva_test *t = test->priv;

	t->fault = fault_ends;
	report(t, 7, 0);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_faults), 1);
}

static vm_fault_t fault_last(struct sva_test *t)
{
	t->server = current_work();
	complete(&t->looks);
	wait_event(t->changed, READ_ONCE(t->open));
	return VM_FAULT_NOPAGE;
}

/* What ends with an address space may wait for the group whose thread has it last. */
static void test_last_user(struct kunit *test)
{
	struct sva_test *t = test->priv;

	t->fault = fault_last;
	t->waits_at_close = true;
	report(t, 7, 0);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&t->looks, LIMIT));
	mmput(t->mm);
	t->mm_in_use = false;
	WRITE_ONCE(t->open, true);
	wake_up_all(&t->changed);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&t->closed, LIMIT));
	KUNIT_EXPECT_FALSE(test, t->would_hang);
	wait_answers(test, 1);
	expect_answer(test, 0, 7, IOMMU_PAGE_RESP_SUCCESS);
}

static struct kunit_case sva_test_cases[] = {
	KUNIT_CASE(test_served),
	KUNIT_CASE(test_report_after_end),
	KUNIT_CASE(test_end_before_thread),
	KUNIT_CASE(test_answered_before_thread),
	KUNIT_CASE(test_memory_short),
	KUNIT_CASE(test_memory_never),
	KUNIT_CASE(test_memory_unlocked),
	KUNIT_CASE(test_memory_unwanted),
	KUNIT_CASE(test_last_user),
	{}
};

static struct kunit_suite sva_test_suite = {
	.name = "sva-fault",
	.init = sva_test_init,
	.exit = sva_test_exit,
	.test_cases = sva_test_cases,
};

kunit_test_suites(&sva_test_suite);

// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs of the mock device
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A mock device has a cache of a few words. What a guest invalidates there becomes
 * 0, so that tests see which device a command has reached.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/iommufd.h>
#include <linux/mutex.h>
#ifdef CONFIG_X86
#include <asm/set_memory.h>
#endif

#include "selftest_viommu.h"

struct mock_hw_queue {
	struct iommufd_hw_queue core;
	struct mock_hw_queue *prev;
	u32 index;
};

struct mock_viommu {
	struct iommufd_viommu core;
	struct iommu_domain *parent;
	struct mutex hw_queue_lock;	/* The queues, and their order */
	struct mock_hw_queue *hw_queues[IOMMU_TEST_HW_QUEUE_MAX];
	/* For user space to map, if it has asked for it */
	u32 *page;
	unsigned long offset;
};

/* Pages */
#define MOCK_REGION_ORDER 1

static struct mock_viommu *to_mock_viommu(struct iommufd_viommu *viommu)
{
	return container_of(viommu, struct mock_viommu, core);
}

void mock_viommu_dev_init(struct mock_viommu_dev *vdev)
{
	unsigned int i;

	spin_lock_init(&vdev->lock);
	for (i = 0; i < ARRAY_SIZE(vdev->cache); i++)
		vdev->cache[i] = IOMMU_TEST_DEV_CACHE_DEFAULT;
}

static int mock_check_cache(struct mock_viommu_dev *vdev, u32 id, u32 value)
{
	int rc;

	if (id >= ARRAY_SIZE(vdev->cache))
		return -EINVAL;
	spin_lock(&vdev->lock);
	rc = vdev->cache[id] == value ? 0 : -EINVAL;
	spin_unlock(&vdev->lock);
	return rc;
}

static int mock_trigger_event(struct mock_viommu_dev *vdev)
{
	struct iommu_viommu_event_selftest event;
	int rc = -ENOENT;

	/* It stays attached under the lock, and by that the vIOMMU is there. */
	spin_lock(&vdev->lock);
	if (vdev->viommu && vdev->virt_id) {
		event.virt_id = vdev->virt_id;
		rc = iommufd_viommu_report_event(vdev->viommu,
						 IOMMU_VEVENTQ_TYPE_SELFTEST,
						 &event, sizeof(event));
	}
	spin_unlock(&vdev->lock);
	return rc;
}

int mock_viommu_dev_test(struct device *dev, const struct iommu_test_cmd *cmd)
{
	struct mock_viommu_dev *vdev = mock_viommu_dev_get(dev);

	if (cmd->op == IOMMU_TEST_OP_TRIGGER_VEVENT)
		return mock_trigger_event(vdev);
	return mock_check_cache(vdev, cmd->check_dev_cache.id,
				cmd->check_dev_cache.cache);
}

/* The device is attached to a domain of @viommu, or to one of none. */
int mock_viommu_attach(struct device *dev, struct iommufd_viommu *viommu)
{
	struct mock_viommu_dev *vdev = mock_viommu_dev_get(dev);
	unsigned long virt_id = 0;
	int rc;

	if (viommu) {
		rc = iommufd_viommu_get_vdev_id(viommu, dev, &virt_id);
		if (rc)
			return rc;
	}
	spin_lock(&vdev->lock);
	vdev->viommu = viommu;
	vdev->virt_id = virt_id;
	spin_unlock(&vdev->lock);
	return 0;
}

static struct iommu_domain *
mock_viommu_alloc_domain_nested(struct iommufd_viommu *viommu, u32 flags,
				const struct iommu_user_data *user_data)
{
	return mock_domain_alloc_nested(to_mock_viommu(viommu)->parent, viommu,
					flags, user_data);
}

static void
mock_cache_invalidate(struct mock_viommu_dev *vdev,
		      const struct iommu_viommu_invalidate_selftest *cmd)
{
	unsigned int i;

	spin_lock(&vdev->lock);
	for (i = 0; i < ARRAY_SIZE(vdev->cache); i++)
		if (cmd->flags & IOMMU_TEST_INVALIDATE_FLAG_ALL ||
		    cmd->cache_id == i)
			vdev->cache[i] = 0;
	spin_unlock(&vdev->lock);
}

static int
mock_viommu_command(struct iommufd_viommu *viommu,
		    const struct iommu_viommu_invalidate_selftest *cmd)
{
	struct device *dev;

	if (cmd->flags & ~IOMMU_TEST_INVALIDATE_FLAG_ALL)
		return -EOPNOTSUPP;
	if (cmd->cache_id > MOCK_DEV_CACHE_ID_MAX)
		return -EINVAL;

	xa_lock(&viommu->vdevs);
	dev = iommufd_viommu_find_dev(viommu, cmd->vdev_id);
	if (dev)
		mock_cache_invalidate(mock_viommu_dev_get(dev), cmd);
	xa_unlock(&viommu->vdevs);
	return dev ? 0 : -EINVAL;
}

static int mock_viommu_cache_invalidate(struct iommufd_viommu *viommu,
					struct iommu_user_data_array *array)
{
	struct iommu_viommu_invalidate_selftest cmds[16];
	u32 done = 0, nr, i;
	int rc = 0;

	if (array->type != IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST)
		rc = -EINVAL;

	while (!rc && done < array->entry_num) {
		nr = min_t(u32, array->entry_num - done, ARRAY_SIZE(cmds));
		rc = iommufd_copy_user_array(cmds, sizeof(cmds[0]), array, done,
					     &nr);
		for (i = 0; !rc && i < nr; i++) {
			rc = mock_viommu_command(viommu, &cmds[i]);
			if (!rc)
				done++;
		}
		cond_resched();
	}
	array->entry_num = done;
	return rc;
}

static size_t mock_get_hw_queue_size(struct iommufd_viommu *viommu,
				     unsigned int type)
{
	if (type != IOMMU_HW_QUEUE_TYPE_SELFTEST)
		return 0;
	return iommufd_hw_queue_size(struct mock_hw_queue, core);
}

static void mock_hw_queue_destroy(struct iommufd_hw_queue *core)
{
	struct mock_hw_queue *hw_queue =
		container_of(core, struct mock_hw_queue, core);
	struct mock_viommu *mock = to_mock_viommu(core->viommu);

	mutex_lock(&mock->hw_queue_lock);
	mock->hw_queues[hw_queue->index] = NULL;
	if (hw_queue->prev)
		iommufd_hw_queue_undepend(core, &hw_queue->prev->core);
	mutex_unlock(&mock->hw_queue_lock);
}

static int mock_hw_queue_insert(struct mock_viommu *mock,
				struct mock_hw_queue *hw_queue)
{
	u32 index = hw_queue->index;

	if (mock->hw_queues[index])
		return -EEXIST;
	if (index) {
		hw_queue->prev = mock->hw_queues[index - 1];
		if (!hw_queue->prev ||
		    iommufd_hw_queue_depend(&hw_queue->core,
					    &hw_queue->prev->core))
			return -EIO;
	}
	mock->hw_queues[index] = hw_queue;
	return 0;
}

static int mock_hw_queue_init(struct iommufd_hw_queue *core, u32 index,
			      phys_addr_t base_pa)
{
	struct mock_hw_queue *hw_queue =
		container_of(core, struct mock_hw_queue, core);
	struct mock_viommu *mock = to_mock_viommu(core->viommu);
	phys_addr_t phys;
	int rc;

	if (index >= ARRAY_SIZE(mock->hw_queues))
		return -EINVAL;

	/* The nest parent has to agree. */
	phys = iommu_iova_to_phys(mock->parent,
				  ALIGN_DOWN(core->base_addr, PAGE_SIZE));
	if (WARN_ON(phys + core->base_addr % PAGE_SIZE != base_pa))
		return -ENXIO;

	mutex_lock(&mock->hw_queue_lock);
	hw_queue->index = index;
	rc = mock_hw_queue_insert(mock, hw_queue);
	if (!rc)
		core->destroy = mock_hw_queue_destroy;
	mutex_unlock(&mock->hw_queue_lock);
	return rc;
}

/* A processor does not map the same memory in two ways. */
static int mock_set_uncached(void *page, bool on)
{
#ifdef CONFIG_X86
	unsigned long addr = (unsigned long)page;

	return on ? set_memory_uc(addr, 1 << MOCK_REGION_ORDER) :
		    set_memory_wb(addr, 1 << MOCK_REGION_ORDER);
#else
	return 0;
#endif
}

static void mock_free_region(struct mock_viommu *mock)
{
	if (!mock->page)
		return;
	iommufd_viommu_destroy_mmap(&mock->core, mock->offset);
	mock_set_uncached(mock->page, false);
	free_pages((unsigned long)mock->page, MOCK_REGION_ORDER);
	mock->page = NULL;
}

static int mock_alloc_region(struct mock_viommu *mock,
			     struct iommu_viommu_selftest *data)
{
	size_t length = PAGE_SIZE << MOCK_REGION_ORDER;
	void *page;
	int rc;

	page = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO,
					MOCK_REGION_ORDER);
	if (!page)
		return -ENOMEM;
	rc = mock_set_uncached(page, true);
	if (rc)
		goto err_free;
	rc = iommufd_viommu_alloc_mmap(&mock->core, virt_to_phys(page), length,
				       &mock->offset);
	if (rc)
		goto err_cached;

	mock->page = page;
	*mock->page = data->in_data;
	data->out_mmap_offset = mock->offset;
	data->out_mmap_length = length;
	return 0;

err_cached:
	mock_set_uncached(page, false);
err_free:
	free_pages((unsigned long)page, MOCK_REGION_ORDER);
	return rc;
}

static void mock_viommu_destroy(struct iommufd_viommu *viommu)
{
	struct mock_viommu *mock = to_mock_viommu(viommu);

	mock_free_region(mock);
	mutex_destroy(&mock->hw_queue_lock);
}

static const struct iommufd_viommu_ops mock_viommu_ops = {
	.destroy = mock_viommu_destroy,
	.alloc_domain_nested = mock_viommu_alloc_domain_nested,
	.cache_invalidate = mock_viommu_cache_invalidate,
	.get_hw_queue_size = mock_get_hw_queue_size,
	.hw_queue_init_phys = mock_hw_queue_init,
};

size_t mock_get_viommu_size(struct device *dev, unsigned int type)
{
	if (type != IOMMU_VIOMMU_TYPE_SELFTEST)
		return 0;
	return iommufd_viommu_size(struct mock_viommu, core);
}

static int mock_viommu_answer(struct mock_viommu *mock,
			      const struct iommu_user_data *user_data)
{
	struct iommu_viommu_selftest data;
	int rc;

	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOMMU_VIOMMU_TYPE_SELFTEST, out_data);
	if (rc)
		return rc;

	data.out_data = data.in_data;
	rc = mock_alloc_region(mock, &data);
	if (rc)
		return rc;
	rc = iommu_copy_struct_to_user(user_data, &data,
				       IOMMU_VIOMMU_TYPE_SELFTEST, out_data);
	if (rc)
		mock_free_region(mock);
	return rc;
}

int mock_viommu_init(struct iommufd_viommu *viommu,
		     struct iommu_domain *parent,
		     const struct iommu_user_data *user_data)
{
	struct mock_viommu *mock = to_mock_viommu(viommu);
	int rc;

	if (user_data) {
		rc = mock_viommu_answer(mock, user_data);
		if (rc)
			return rc;
	}
	mock->parent = parent;
	mutex_init(&mock->hw_queue_lock);
	viommu->ops = &mock_viommu_ops;
	return 0;
}

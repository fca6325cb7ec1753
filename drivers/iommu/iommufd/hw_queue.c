// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues of vIOMMUs that hardware works off by itself
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A queue holds its vIOMMU, and by that the nest parent and its IOAS.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <uapi/linux/iommufd.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

static struct io_pagetable *hw_queue_iopt(struct iommufd_hw_queue *hw_queue)
{
	return &hw_queue->viommu->hwpt->ioas->iopt;
}

/* All of the pages that it is on */
static unsigned long hw_queue_first(struct iommufd_hw_queue *hw_queue)
{
	return hw_queue->base_addr & PAGE_MASK;
}

static unsigned long hw_queue_last(struct iommufd_hw_queue *hw_queue)
{
	return (hw_queue->base_addr + hw_queue->length - 1) | ~PAGE_MASK;
}

static void hw_queue_unlock(struct iommufd_hw_queue *hw_queue)
{
	iopt_unlock_range(hw_queue_iopt(hw_queue), hw_queue_first(hw_queue),
			  hw_queue_last(hw_queue));
}

void iommufd_hw_queue_destroy(struct iommufd_object *obj)
{
	struct iommufd_hw_queue *hw_queue =
		container_of(obj, struct iommufd_hw_queue, obj);

	if (hw_queue->destroy)
		hw_queue->destroy(hw_queue);
	hw_queue_unlock(hw_queue);
	refcount_dec(&hw_queue->viommu->obj.users);
}

static int hw_queue_setup(struct iommufd_hw_queue *hw_queue, u32 index)
{
	const struct iommufd_viommu_ops *ops = hw_queue->viommu->ops;
	phys_addr_t phys;
	int rc;

	rc = iopt_lock_range(hw_queue_iopt(hw_queue), hw_queue_first(hw_queue),
			     hw_queue_last(hw_queue),
			     ops->hw_queue_init ? NULL : &phys);
	if (rc)
		return rc;

	if (ops->hw_queue_init)
		rc = ops->hw_queue_init(hw_queue, index);
	else
		rc = ops->hw_queue_init_phys(hw_queue, index,
					     phys + offset_in_page(hw_queue->base_addr));
	if (rc)
		hw_queue_unlock(hw_queue);
	return rc;
}

static struct iommufd_hw_queue *
hw_queue_create(struct iommufd_viommu *viommu,
		const struct iommu_hw_queue_alloc *cmd)
{
	const struct iommufd_viommu_ops *ops = viommu->ops;
	struct iommufd_hw_queue *hw_queue;
	struct iommufd_object *obj;
	size_t size;
	int rc;

	if (!ops->get_hw_queue_size ||
	    (!ops->hw_queue_init_phys && !ops->hw_queue_init))
		return ERR_PTR(-EOPNOTSUPP);
	size = ops->get_hw_queue_size(viommu, cmd->type);
	if (!size || WARN_ON_ONCE(size < sizeof(*hw_queue)))
		return ERR_PTR(-EOPNOTSUPP);
	/* The end of its last page is one that can be added to. */
	if (cmd->nesting_parent_iova + cmd->length - 1 >=
	    ALIGN_DOWN(ULONG_MAX, PAGE_SIZE))
		return ERR_PTR(-ERANGE);

	obj = _iommufd_object_alloc(viommu->ictx, size, IOMMUFD_OBJ_HW_QUEUE);
	if (IS_ERR(obj))
		return ERR_CAST(obj);
	hw_queue = container_of(obj, struct iommufd_hw_queue, obj);
	hw_queue->viommu = viommu;
	hw_queue->type = cmd->type;
	hw_queue->base_addr = cmd->nesting_parent_iova;
	hw_queue->length = cmd->length;

	rc = hw_queue_setup(hw_queue, cmd->index);
	if (rc) {
		iommufd_object_abort(viommu->ictx, &hw_queue->obj);
		return ERR_PTR(rc);
	}
	refcount_inc(&viommu->obj.users);
	return hw_queue;
}

int iommufd_hw_queue_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommu_hw_queue_alloc *cmd = ucmd->cmd;
	struct iommufd_hw_queue *hw_queue;
	struct iommufd_viommu *viommu;
	u64 last;
	int rc;

	if (cmd->flags || cmd->type == IOMMU_HW_QUEUE_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (check_add_overflow(cmd->nesting_parent_iova, cmd->length - 1,
			       &last))
		return -EOVERFLOW;

	viommu = iommufd_get_viommu(ucmd, cmd->viommu_id);
	if (IS_ERR(viommu))
		return PTR_ERR(viommu);

	hw_queue = hw_queue_create(viommu, cmd);
	if (IS_ERR(hw_queue)) {
		rc = PTR_ERR(hw_queue);
		goto out_put_viommu;
	}

	cmd->out_hw_queue_id = hw_queue->obj.id;
	rc = iommufd_ucmd_finish(ucmd, sizeof(*cmd), &hw_queue->obj);

out_put_viommu:
	iommufd_put_object(ucmd->ictx, &viommu->obj);
	return rc;
}

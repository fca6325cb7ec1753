// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest and the devices that it has, whatever its IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../kselftest.h"

#include "iopf_viommu.h"

static const struct vendor *vendors[4];

void vendor_add(const struct vendor *vendor)
{
	unsigned int i;

	for (i = 0; vendors[i]; i++)
		;
	vendors[i] = vendor;
}

const struct vendor *vendor_of(struct iopf_dev *dev)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vendors) && vendors[i]; i++)
		if (vendors[i]->nests(dev))
			return vendors[i];
	return NULL;
}

int alloc_parent(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
		 __u32 flags, __u32 *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = ioas_id,
	};
	int ret = ctx_ioctl(ctx, IOMMU_HWPT_ALLOC, &cmd, "nesting parent");

	*id = cmd.out_hwpt_id;
	return ret;
}

int alloc_viommu(struct iopf_ctx *ctx, __u32 type, __u32 dev_id,
		 __u32 hwpt_id, __u32 *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = type,
		.dev_id = dev_id,
		.hwpt_id = hwpt_id,
	};
	int ret = ctx_ioctl(ctx, IOMMU_VIOMMU_ALLOC, &cmd, "vIOMMU");

	*id = cmd.out_viommu_id;
	return ret;
}

int alloc_vdevice(struct iopf_ctx *ctx, __u32 viommu_id, __u32 dev_id,
		  __u64 virt_id, __u32 *id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.dev_id = dev_id,
		.virt_id = virt_id,
	};
	int ret = ctx_ioctl(ctx, IOMMU_VDEVICE_ALLOC, &cmd, "vDEVICE");

	*id = cmd.out_vdevice_id;
	return ret;
}

int alloc_nested_flags(const struct space *space, __u32 dev_id, __u32 flags,
		       __u32 fault_id, __u32 *id)
{
	struct guest *guest = space->guest;
	__u64 blob[8] = { 0 };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags | (fault_id ? IOMMU_HWPT_FAULT_ID_VALID : 0),
		.dev_id = dev_id,
		.pt_id = guest->viommu_id,
		.data_uptr = (__u64)(unsigned long)blob,
		.fault_id = fault_id,
	};
	int ret;

	guest->vendor->nested(space, &cmd, blob);
	ret = ctx_ioctl(guest->ctx, IOMMU_HWPT_ALLOC, &cmd, "nested HWPT");
	*id = cmd.out_hwpt_id;
	return ret;
}

int alloc_nested(const struct space *space, __u32 dev_id, __u32 fault_id,
		 __u32 *id)
{
	return alloc_nested_flags(space, dev_id, 0, fault_id, id);
}

int invalidate_array(struct guest *guest, __u32 id, const void *array,
		     __u32 nr, __u32 *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = id,
		.data_uptr = (__u64)(unsigned long)array,
		.data_type = guest->vendor->inv_type,
		.entry_len = guest->vendor->inv_len,
		.entry_num = nr,
	};
	int ret;

	ret = ctx_ioctl(guest->ctx, IOMMU_HWPT_INVALIDATE, &cmd, "invalidation");
	*done = cmd.entry_num;
	return ret;
}

int guest_memory(struct guest *guest)
{
	int ret;

	guest->mem = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest->mem == MAP_FAILED) {
		guest->mem = NULL;
		return iopf_err(-errno, "memory: %s", strerror(errno));
	}
	guest->free = GPA;
	ret = iopf_ioas_alloc(guest->ctx, &guest->ioas_id);
	if (!ret)
		ret = iopf_ioas_map(guest->ctx, guest->ioas_id, guest->mem,
				    GUEST_SIZE, GPA, IOPF_RW);
	return ret;
}

int guest_open(struct guest *guest, struct iopf_ctx *ctx, struct iopf_dev *dev)
{
	__u32 dev_id = iopf_dev_id(dev);
	int ret;

	guest->ctx = ctx;
	ret = guest_memory(guest);
	if (!ret)
		ret = alloc_parent(ctx, dev_id, guest->ioas_id,
				   IOMMU_HWPT_ALLOC_NEST_PARENT,
				   &guest->parent_id);
	if (!ret)
		ret = alloc_viommu(ctx, guest->vendor->viommu_type, dev_id,
				   guest->parent_id, &guest->viommu_id);
	return ret;
}

int guest_close(struct guest *guest)
{
	int ret = 0;

	if (guest->viommu_id)
		ret = iopf_destroy(guest->ctx, guest->viommu_id);
	if (!ret && guest->parent_id)
		ret = iopf_destroy(guest->ctx, guest->parent_id);
	if (!ret && guest->ioas_id)
		ret = iopf_destroy(guest->ctx, guest->ioas_id);
	if (guest->mem)
		munmap(guest->mem, GUEST_SIZE);
	return ret;
}

int guest_add(struct guest *guest, struct guest_dev *dev, __u32 virt_id,
	      __u32 domain, __u32 pasid)
{
	struct endpoint *ep = &dev->ep;
	__u32 dev_id = iopf_dev_id(ep->dev);
	int ret;

	dev->virt_id = virt_id;
	dev->space = (struct space) {
		.guest = guest,
		.root = guest_page(guest),
		.domain = domain,
		.pasid = pasid,
		.dev = virt_id,
		.host_devtlb = dev->space.host_devtlb,
	};
	if (guest->vendor->prepare)
		guest->vendor->prepare(&dev->space);
	ret = alloc_vdevice(guest->ctx, guest->viommu_id, dev_id, virt_id,
			    &dev->vdevice_id);
	if (!ret)
		ret = iopf_queue_open(guest->ctx, &ep->queue);
	if (!ret)
		ret = alloc_nested(&dev->space, dev_id, iopf_queue_id(ep->queue),
				   &dev->space.hwpt_id);
	if (!ret)
		ret = iopf_dev_attach(ep->dev, dev->space.hwpt_id);
	if (!ret)
		ret = testdev_open(ep->dev, &ep->td);
	return ret;
}

int guest_del(struct guest_dev *dev)
{
	struct endpoint *ep = &dev->ep;
	int ret = 0;

	testdev_close(&ep->td);
	iopf_dev_detach(ep->dev);
	if (dev->space.hwpt_id)
		ret = iopf_destroy(ep->ctx, dev->space.hwpt_id);
	if (!ret && dev->vdevice_id)
		ret = iopf_destroy(ep->ctx, dev->vdevice_id);
	iopf_queue_close(ep->queue);
	ep->queue = NULL;
	dev->space.hwpt_id = 0;
	dev->vdevice_id = 0;
	return ret;
}

int arrives(struct guest_dev *dev, __u64 gva, __u64 gpa)
{
	struct endpoint *ep = &dev->ep;
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.mode = dev->mode,
		.flags = dev->space.dma_pasid ? IOPF_TD_F_PASID : 0,
		.pasid = dev->space.dma_pasid,
		.iova = gva,
		.length = 4096,
		.data = SEED,
	};
	void *mem = host(dev->space.guest, gpa);
	struct testdev_result r;
	unsigned int slot;
	int ret;

	memset(mem, 0, 4096);
	ret = testdev_submit(&ep->td, &op, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	if (r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "%#llx: %s, error %d", gva,
				testdev_status(r.status), r.ret);
	if (testdev_pattern_check(mem, 4096, SEED, 0) != 4096)
		return iopf_err(-EXDEV, "%#llx: not in page %#llx", gva, gpa);
	return 0;
}

int write_fails(struct guest_dev *dev, __u64 gva)
{
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.mode = IOPF_TD_MODE_UNTRANSLATED,
		.flags = dev->space.dma_pasid ? IOPF_TD_F_PASID : 0,
		.pasid = dev->space.dma_pasid,
		.iova = gva,
		.length = 8,
		.data = SEED,
	};
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = testdev_submit(&dev->ep.td, &op, &slot);
	if (!ret)
		ret = wait_op(&dev->ep, slot, &r);
	if (!ret && r.status == IOPF_TD_ST_OK)
		ret = iopf_err(-EPROTO, "the device may write");
	return ret;
}

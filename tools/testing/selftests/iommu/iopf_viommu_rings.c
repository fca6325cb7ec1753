// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest with rings of its own, and the VMM that lets it have those
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "iopf_cost.h"
#include "iopf_viommu_rings.h"

static const __u32 ring_type[NR_RINGS] = {
	IOPF_HW_QUEUE_TYPE_AMD_CMD,
	IOPF_HW_QUEUE_TYPE_AMD_EVENT,
	IOPF_HW_QUEUE_TYPE_AMD_PPR,
};

static const unsigned int ring_reg[NR_RINGS] = { VF_CMD, VF_EVENT, VF_PPR };

const struct vendor *const amd = &vendor_amd;

int guest_begin(void)
{
	return calls_begin();
}

int guest_end(void)
{
	unsigned int calls = calls_end();

	return calls ? iopf_err(-EPROTO, "%u system calls", calls) : 0;
}

/* The guest */

__u32 vf_read(struct hw_guest *hw, unsigned int reg)
{
	return __atomic_load_n((__u32 *)(hw->vf + reg), __ATOMIC_SEQ_CST);
}

void vf_write(struct hw_guest *hw, unsigned int reg, __u32 val)
{
	__atomic_store_n((__u32 *)(hw->vf + reg), val, __ATOMIC_RELEASE);
}

void put(struct hw_guest *hw, __u64 first, __u64 second)
{
	struct ring *ring = &hw->ring[CMD];
	__u64 *entry = host(&hw->g, ring->gpa + ring->pos);

	__atomic_store_n(&entry[0], first, __ATOMIC_RELAXED);
	__atomic_store_n(&entry[1], second, __ATOMIC_RELAXED);
	ring->pos = (ring->pos + 16) % RING_SIZE;
}

void doorbell(struct hw_guest *hw)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vf_write(hw, VF_CMD + VF_TAIL, hw->ring[CMD].pos);
}

bool runs(struct hw_guest *hw)
{
	return vf_read(hw, VF_STATUS) & STATUS_CMD_RUN;
}

void put_wait(struct hw_guest *hw)
{
	put(hw, WAIT | hw->store, ++hw->stored);
}

bool is_stored(struct hw_guest *hw)
{
	__u64 *store = host(&hw->g, hw->store);

	return __atomic_load_n(store, __ATOMIC_SEQ_CST) == hw->stored;
}

bool complete(struct hw_guest *hw)
{
	put_wait(hw);
	doorbell(hw);
	while (!is_stored(hw) && runs(hw))
		;
	return is_stored(hw);
}

void put_inv(struct hw_guest *hw, const struct inv *inv)
{
	struct iopf_amd_invalidate cmd;

	amd->inv(inv, false, &cmd);
	put(hw, cmd.cmd[0], cmd.cmd[1]);
}

void put_page_inv(struct hw_guest *hw, const struct guest_dev *dev, __u64 gva)
{
	struct inv inv = {
		.what = INV_PAGES,
		.space = &dev->space,
		.dev = dev->virt_id,
		.gva = gva,
		.npages = 1,
	};
	struct iopf_amd_invalidate cmd;

	put_inv(hw, &inv);
	/* What the device has of the PASID, or of PASID 0 and without one */
	inv.what = INV_DEVICE_PAGE;
	amd->inv(&inv, false, &cmd);
	put(hw, cmd.cmd[0], cmd.cmd[1]);
	if (!dev->space.dma_pasid)
		put(hw, cmd.cmd[0], cmd.cmd[1] & ~CMD_GN);
}

int invalidate(struct hw_guest *hw, struct guest_dev *dev, __u64 gva)
{
	int ret = guest_begin();
	bool done;

	if (ret)
		return ret;
	put_page_inv(hw, dev, gva);
	done = complete(hw);
	ret = guest_end();
	if (!ret && !done)
		ret = iopf_err(-EPROTO, "the ring has stopped: %#x",
			       vf_read(hw, VF_STATUS));
	return ret;
}

bool take(struct hw_guest *hw, enum ring_kind kind, __u64 entry[2])
{
	struct ring *ring = &hw->ring[kind];

	if (vf_read(hw, ring_reg[kind] + VF_TAIL) == ring->pos)
		return false;
	memcpy(entry, host(&hw->g, ring->gpa + ring->pos), 16);
	ring->pos = (ring->pos + 16) % RING_SIZE;
	vf_write(hw, ring_reg[kind], ring->pos);
	return true;
}

int wait_for(struct hw_guest *hw, enum ring_kind kind, __u64 entry[2])
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;

	while (!take(hw, kind, entry)) {
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "no entry in log %u", kind);
		nap();
	}
	return 0;
}

/* The VMM */

int ring_on(struct hw_guest *hw, enum ring_kind kind)
{
	struct ring *ring = &hw->ring[kind];
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = hw->g.viommu_id,
		.type = ring_type[kind],
		.nesting_parent_iova = ring->gpa,
		.length = RING_SIZE,
	};
	int ret = ctx_ioctl(hw->g.ctx, IOMMU_HW_QUEUE_ALLOC, &cmd, "ring");

	ring->id = ret ? 0 : cmd.out_hw_queue_id;
	ring->pos = 0;
	return ret;
}

int ring_off(struct hw_guest *hw, enum ring_kind kind)
{
	__u32 id = hw->ring[kind].id;

	hw->ring[kind].id = 0;
	return id ? iopf_destroy(hw->g.ctx, id) : 0;
}

int alloc_hw(struct guest *guest, __u32 dev_id, __u32 len,
	     struct iopf_viommu_amd_hw *data)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOPF_VIOMMU_TYPE_AMD_HW,
		.dev_id = dev_id,
		.hwpt_id = guest->parent_id,
		.data_len = len,
		.data_uptr = (__u64)(unsigned long)data,
	};
	int ret = ctx_ioctl(guest->ctx, IOMMU_VIOMMU_ALLOC, &cmd,
			    "vIOMMU of hardware");

	guest->viommu_id = cmd.out_viommu_id;
	return ret;
}

int guest_step(struct hw_guest *hw, enum step step, __u32 dev_id)
{
	struct iopf_viommu_amd_hw data = { 0 };
	struct guest *guest = &hw->g;
	int ret;

	switch (step) {
	case STEP_MEMORY:
		return guest_memory(guest);
	case STEP_PARENT:
		return alloc_parent(guest->ctx, dev_id, guest->ioas_id,
				    IOMMU_HWPT_ALLOC_NEST_PARENT,
				    &guest->parent_id);
	case STEP_VIOMMU:
		ret = alloc_hw(guest, dev_id, sizeof(data), &data);
		hw->offset = data.out_vf_offset;
		if (!ret && data.out_vf_length != VF_SIZE)
			ret = iopf_err(-EPROTO, "%llu bytes of registers",
				       (unsigned long long)data.out_vf_length);
		return ret;
	case STEP_MMAP:
		hw->vf = mmap(NULL, VF_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			      iopf_ctx_fd(guest->ctx), hw->offset);
		hw->store = guest_page(guest);
		return hw->vf == MAP_FAILED ? iopf_err(-errno, "registers") : 0;
	default:
		hw->ring[step - STEP_CMD].gpa = guest_page(guest);
		return ring_on(hw, step - STEP_CMD);
	}
}

int hw_open(struct hw_guest *hw, struct iopf_ctx *ctx, __u32 dev_id)
{
	enum step step;
	int ret = 0;

	hw->g.vendor = amd;
	hw->g.ctx = ctx;
	for (step = 0; step < NR_STEPS && !ret; step++)
		ret = guest_step(hw, step, dev_id);
	return ret;
}

int hw_close_viommu(struct hw_guest *hw)
{
	enum ring_kind kind;
	int ret = 0;

	for (kind = 0; kind < NR_RINGS && !ret; kind++)
		ret = ring_off(hw, kind);
	if (hw->vf && hw->vf != MAP_FAILED)
		munmap(hw->vf, VF_SIZE);
	hw->vf = NULL;
	if (!ret && hw->g.viommu_id)
		ret = iopf_destroy(hw->g.ctx, hw->g.viommu_id);
	hw->g.viommu_id = 0;
	return ret;
}

int hw_close(struct hw_guest *hw)
{
	int ret = hw_close_viommu(hw);

	return ret ? ret : guest_close(&hw->g);
}

int dev_step(struct hw_guest *hw, struct guest_dev *dev, enum dev_step step)
{
	struct endpoint *ep = &dev->ep;

	switch (step) {
	case STEP_VDEVICE:
		return alloc_vdevice(hw->g.ctx, hw->g.viommu_id,
				     iopf_dev_id(ep->dev), dev->virt_id,
				     &dev->vdevice_id);
	case STEP_QUEUE:
		return iopf_queue_open(hw->g.ctx, &ep->queue);
	case STEP_NESTED:
		return alloc_nested(&dev->space, iopf_dev_id(ep->dev),
				    iopf_queue_id(ep->queue),
				    &dev->space.hwpt_id);
	case STEP_ATTACH:
		return iopf_dev_attach(ep->dev, dev->space.hwpt_id);
	default:
		return testdev_open(ep->dev, &ep->td);
	}
}

void dev_prepare(struct hw_guest *hw, struct guest_dev *dev, __u32 virt_id,
		 __u32 domain)
{
	dev->virt_id = virt_id;
	dev->space = (struct space) {
		.guest = &hw->g,
		.root = guest_page(&hw->g),
		.domain = domain,
		.dev = virt_id,
	};
	amd->prepare(&dev->space);
}

int dev_give(struct hw_guest *hw, struct guest_dev *dev)
{
	enum dev_step step;
	int ret = 0;

	for (step = 0; step < NR_DEV_STEPS && !ret; step++)
		ret = dev_step(hw, dev, step);
	return ret;
}

int dev_add(struct hw_guest *hw, struct guest_dev *dev, __u32 virt_id,
	    __u32 domain)
{
	dev_prepare(hw, dev, virt_id, domain);
	return dev_give(hw, dev);
}

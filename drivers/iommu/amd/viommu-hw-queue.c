// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-Vi: rings of a guest
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A ring is on for as long as it is there. The memory stays in the second stage for as long, see
 * iommufd: there is no second try if the hardware does not find it. The guest has the
 * pointers, in its page of registers.
 *
 * Guests have no interrupts: they poll. Second logs and automatic responses are not
 * offered.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <uapi/linux/iopf_viommu.h>

#include "amd_iommu.h"

/* Registers in the slot (driver) */
#define RING_LENGTH		GENMASK_ULL(3, 0)
#define RING_ENABLE		BIT_ULL(8)
#define RING_BASE		GENMASK_ULL(51, 12)
/* Of page requests. The base is elsewhere. */
#define RING_PPR_ENABLE		BIT_ULL(10)
#define RING_PPR_BASE_SHIFT	4

#define RING_ENTRY		16
#define RING_MIN		SZ_4K
#define RING_MAX		SZ_512K

/**
 * struct amd_hw_ring - A ring of a guest
 * @core: the object of iommufd
 * @kind: which of amd_hw_guest::rings
 */
struct amd_hw_ring {
	struct iommufd_hw_queue core;
	unsigned int kind;
};

static const struct {
	unsigned int type;
	unsigned int reg;
} kinds[AMD_HW_RINGS] = {
	{ IOPF_HW_QUEUE_TYPE_AMD_CMD, AMD_HW_CMD },
	{ IOPF_HW_QUEUE_TYPE_AMD_EVENT, AMD_HW_EVENT },
	{ IOPF_HW_QUEUE_TYPE_AMD_PPR, AMD_HW_PPR },
};

static struct amd_hw_ring *to_ring(struct iommufd_hw_queue *queue)
{
	return container_of(queue, struct amd_hw_ring, core);
}

static struct amd_hw_guest *to_guest(const struct amd_hw_ring *ring)
{
	return to_amd_viommu(ring->core.viommu)->hw;
}

/* AMD_HW_RINGS if it is none of those */
static unsigned int kind_of(unsigned int type)
{
	unsigned int kind;

	for (kind = 0; kind < AMD_HW_RINGS; kind++)
		if (kinds[kind].type == type)
			break;
	return kind;
}

static void turn_on(const struct amd_hw_ring *ring)
{
	u64 val = FIELD_PREP(RING_LENGTH,
			     ilog2(ring->core.length / RING_ENTRY));
	u64 base = ring->core.base_addr & RING_BASE;

	if (kinds[ring->kind].reg == AMD_HW_PPR)
		val |= base << RING_PPR_BASE_SHIFT | RING_PPR_ENABLE;
	else
		val |= base;
	amd_hw_write(to_guest(ring), kinds[ring->kind].reg, val | RING_ENABLE);
	amd_hw_sync(to_guest(ring));
}

/*
 * When this returns the hardware does not access the memory any more. Inference: what
 * it has begun is over with what the host waits for.
 */
static void turn_off(const struct amd_hw_ring *ring)
{
	struct amd_hw_guest *guest = to_guest(ring);

	amd_hw_write(guest, kinds[ring->kind].reg, 0);
	amd_hw_sync(guest);
	if (kinds[ring->kind].reg == AMD_HW_CMD)
		amd_hw_reset(guest, AMD_HW_RESET_VCMD);
	else
		amd_hw_wait(guest->host->iommu);
}

static void ring_destroy(struct iommufd_hw_queue *queue)
{
	struct amd_hw_ring *ring = to_ring(queue);
	struct amd_viommu *viommu = to_amd_viommu(queue->viommu);

	mutex_lock(&viommu->lock);
	turn_off(ring);
	viommu->hw->rings[ring->kind] = NULL;
	mutex_unlock(&viommu->lock);
}

static int check(const struct iommufd_hw_queue *queue, u32 index)
{
	/* No second logs */
	if (index)
		return -EINVAL;
	if (!is_power_of_2(queue->length) || queue->length < RING_MIN ||
	    queue->length > RING_MAX)
		return -EINVAL;
	if (queue->base_addr & ~RING_BASE)
		return -EINVAL;
	return 0;
}

/**
 * amd_hw_ring_size() - Has a guest rings of a type?
 * @core: the guest
 * @type: the type
 *
 * Return: size of the struct, or 0.
 */
size_t amd_hw_ring_size(struct iommufd_viommu *core, unsigned int type)
{
	if (!to_amd_viommu(core)->hw || kind_of(type) == AMD_HW_RINGS)
		return 0;
	return iommufd_hw_queue_size(struct amd_hw_ring, core);
}

/**
 * amd_hw_ring_init() - Have the hardware use a ring
 * @queue: the ring
 * @index: which of its type, must be 0
 *
 * Return: 0, -EINVAL or -EEXIST.
 */
int amd_hw_ring_init(struct iommufd_hw_queue *queue, u32 index)
{
	struct amd_hw_ring *ring = to_ring(queue);
	struct amd_viommu *viommu = to_amd_viommu(queue->viommu);
	int ret;

	ring->kind = kind_of(queue->type);
	ret = check(queue, index);
	if (ret)
		return ret;
	mutex_lock(&viommu->lock);
	if (viommu->hw->rings[ring->kind]) {
		ret = -EEXIST;
	} else {
		viommu->hw->rings[ring->kind] = ring;
		queue->destroy = ring_destroy;
		turn_on(ring);
	}
	mutex_unlock(&viommu->lock);
	return ret;
}

/**
 * amd_hw_restore_rings() - The IOMMU has lost its registers
 * @guest: a guest
 */
void amd_hw_restore_rings(struct amd_hw_guest *guest)
{
	unsigned int kind;

	for (kind = 0; kind < AMD_HW_RINGS; kind++)
		if (guest->rings[kind])
			turn_on(guest->rings[kind]);
}

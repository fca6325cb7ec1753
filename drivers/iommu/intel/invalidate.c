// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: what user space invalidates of first-stage domains
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * An array is worked off in two steps. First each element is copied and checked, and
 * added to a list of what is to be done, in the terms of user space. Then that is
 * done: the list becomes descriptors with the ids of the host, which are submitted
 * together, with one wait.
 *
 * The list has room for INV_MAX things, however many elements there are. What was
 * there before, or is next to it, takes no room. When it is full, pages give way to
 * all of their PASID, and if that is not enough everything is invalidated. So the
 * memory that an array takes, and the time with interrupts off, which is that of a
 * submission of INV_BATCH_MAX descriptors, do not depend on its length.
 *
 * Most arrays are short. These are done on the stack, and take memory only if many
 * domains or devices have what they name.
 *
 * If an element is wrong, what was before it is done nevertheless: user space learns
 * how many elements these are.
 *
 * A guest that waits for its page requests sends invalidations before, whose completions
 * do not overtake what the device has asked for. So the wait comes after all of the list.
 */
#include <linux/bits.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>
#include <uapi/linux/iopf_viommu.h>

#include "invalidate.h"
#include "iommu.h"
#include "pasid.h"

/* Addresses have 64 bits. */
#define PFN_MAX		(U64_MAX >> VTD_PAGE_SHIFT)
/* All addresses, for a device */
#define ORDER_ALL	MAX_AGAW_PFN_WIDTH
/* All that there are */
#define CACHES		(IOPF_VTD_INV_CACHE_IOTLB | IOPF_VTD_INV_CACHE_DEVTLB | \
			 IOPF_VTD_INV_CACHE_PASID)

static bool same_ids(const struct intel_inv *a, const struct intel_inv *b)
{
	return a->did == b->did && a->sid == b->sid && a->pasid == b->pasid;
}

/* Is @new among what @inv is? All of a PASID is all pages of it. */
static bool has(const struct intel_inv *inv, const struct intel_inv *new)
{
	return inv->gran != IOPF_VTD_INV_GRAN_ADDR &&
	       same_ids(inv, new) && !(new->cache & ~inv->cache) &&
	       (new->gran == inv->gran ||
		(new->gran == IOPF_VTD_INV_GRAN_ADDR &&
		 inv->gran == IOPF_VTD_INV_GRAN_PASID));
}

/*
 * Takes pages in, if there is nothing but these between or in both. What most pages
 * differ in is looked at first: a long array comes here often.
 */
static bool widen(struct intel_inv *inv, const struct intel_inv *new)
{
	if (inv->gran != IOPF_VTD_INV_GRAN_ADDR || new->first > inv->last + 1 ||
	    inv->first > new->last + 1)
		return false;
	if (new->gran != inv->gran || new->cache != inv->cache ||
	    !same_ids(inv, new))
		return false;
	inv->first = min(inv->first, new->first);
	inv->last = max(inv->last, new->last);
	/* If one of them has changed more than leaves, all have. */
	inv->leaf &= new->leaf;
	return true;
}

static bool add_to(struct intel_inv_list *list, const struct intel_inv *new)
{
	unsigned int i;

	for (i = 0; i < list->nr; i++)
		if (has(&list->inv[i], new) || widen(&list->inv[i], new))
			return true;
	if (list->nr == list->max)
		return false;
	list->inv[list->nr++] = *new;
	return true;
}

static void whole_pasid(struct intel_inv *inv)
{
	if (inv->gran != IOPF_VTD_INV_GRAN_ADDR)
		return;
	inv->gran = IOPF_VTD_INV_GRAN_PASID;
	inv->leaf = false;
	inv->first = 0;
	inv->last = 0;
}

static void whole_pasids(struct intel_inv_list *list)
{
	unsigned int i, nr = list->nr;

	list->nr = 0;
	for (i = 0; i < nr; i++) {
		struct intel_inv inv = list->inv[i];

		whole_pasid(&inv);
		/* Never beyond what has been read */
		add_to(list, &inv);
	}
}

/**
 * intel_inv_add() - Add something to what is to be invalidated
 * @list: the list
 * @new: what to invalidate
 */
void intel_inv_add(struct intel_inv_list *list, const struct intel_inv *new)
{
	struct intel_inv inv = *new;

	list->drain |= inv.drain;
	inv.drain = false;
	if (!inv.cache || list->all || add_to(list, &inv))
		return;
	whole_pasids(list);
	whole_pasid(&inv);
	if (!add_to(list, &inv))
		list->all = true;
}

/**
 * intel_inv_begin() - Get ready for an array
 * @work: what it takes
 * @room: for the list, of use until intel_inv_end()
 * @max: for how many
 */
void intel_inv_begin(struct intel_inv_work *work, struct intel_inv *room,
		     unsigned int max)
{
	work->list = (struct intel_inv_list) { .max = max, .inv = room };
	work->nr = 0;
	work->iommu = NULL;
	work->many = NULL;
	work->desc = work->few;
}

/**
 * intel_inv_end() - An array is done
 * @work: what it has taken
 */
void intel_inv_end(struct intel_inv_work *work)
{
	kfree(work->many);
}

/* Without memory it is another submission. */
static bool batch_grow(struct intel_inv_work *work)
{
	if (work->many)
		return false;
	work->many = kmalloc_array(INV_BATCH_MAX, sizeof(*work->many),
				   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!work->many)
		return false;
	memcpy(work->many, work->few, sizeof(work->few));
	work->desc = work->many;
	return true;
}

static bool batch_is_full(const struct intel_inv_work *work)
{
	return work->nr == (work->many ? INV_BATCH_MAX : INV_BATCH_FEW);
}

static void batch_submit(struct intel_inv_work *work)
{
	/*
	 * It does not fail but for a device that does not invalidate its TLB, which
	 * is given up then: it cannot use any more what is there, see devtlb.c.
	 */
	if (work->nr)
		qi_submit_sync(work->iommu, work->desc, work->nr, 0);
	work->nr = 0;
}

static struct qi_desc *batch_next(struct intel_inv_work *work,
				  struct intel_iommu *iommu)
{
	struct qi_desc *desc;

	if (work->iommu != iommu || (batch_is_full(work) && !batch_grow(work)))
		batch_submit(work);
	work->iommu = iommu;
	desc = &work->desc[work->nr++];
	memset(desc, 0, sizeof(*desc));
	return desc;
}

/* The smallest aligned range that has all of it */
static unsigned int inv_order(const struct intel_inv *inv)
{
	return inv->gran == IOPF_VTD_INV_GRAN_ADDR ?
		       fls64(inv->first ^ inv->last) : ORDER_ALL;
}

static u64 inv_addr(const struct intel_inv *inv, unsigned int order)
{
	return order < ORDER_ALL ?
		       (inv->first >> order << order) << VTD_PAGE_SHIFT : 0;
}

static void send_iotlb(struct intel_inv_work *work, const struct intel_nested_dev *ndev,
		       const struct intel_inv *inv)
{
	struct intel_iommu *iommu = ndev->info->iommu;
	unsigned int order = inv_order(inv);

	/* Beyond what the hardware has a mask for: all of the PASID. */
	qi_desc_piotlb(ndev->did, ndev->pasid, inv_addr(inv, order),
		       order > cap_max_amask_val(iommu->cap) ? -1 :
							       BIT_ULL(order),
		       inv->leaf, batch_next(work, iommu));
}

static void send_pasid(struct intel_inv_work *work, const struct intel_nested_dev *ndev,
		       const struct intel_inv *inv)
{
	u64 gran = inv->gran == IOPF_VTD_INV_GRAN_PASID ? QI_PC_PASID_SEL :
							  QI_PC_ALL_PASIDS;

	batch_next(work, ndev->info->iommu)->qw0 =
		QI_PC_DID(ndev->did) | QI_PC_PASID(ndev->pasid) |
		QI_PC_GRAN(gran) | QI_PC_TYPE;
}

/* IOMMU_NO_PASID reaches what the device has for all PASIDs. */
static void send_devtlb(struct intel_inv_work *work, const struct intel_nested_dev *ndev,
			u32 pasid, u64 addr, unsigned int order)
{
	struct device_domain_info *info = ndev->info;
	struct intel_iommu *iommu = info->iommu;
	u16 sid = PCI_DEVID(info->bus, info->devfn);
	unsigned int times = info->dtlb_extra_inval ? 2 : 1;

	/* Not while the IOMMU is off, as it is when the machine goes to sleep */
	if (!ndev->ats || !(iommu->gcmd & DMA_GCMD_TE))
		return;

	while (times--) {
		struct qi_desc *desc = batch_next(work, iommu);

		if (pasid == IOMMU_NO_PASID)
			qi_desc_dev_iotlb(sid, info->pfsid, info->ats_qdep,
					  addr, order, desc);
		else
			qi_desc_dev_iotlb_pasid(sid, info->pfsid, pasid,
						info->ats_qdep, addr, order,
						desc);
	}
}

/* What is tagged with the same ids is invalidated once. */
static bool is_first(const struct intel_nested_dev *ndev)
{
	const struct intel_nested_dev *other;

	list_for_each_entry(other, &ndev->domain->nested.devs, node) {
		if (other == ndev)
			return true;
		if (other->info->iommu == ndev->info->iommu &&
		    other->pasid == ndev->pasid)
			return false;
	}
	return true;
}

/* In this order: a device must not get again what has not left the IOMMU. */
static void invalidate_domain(struct intel_inv_work *work, struct dmar_domain *domain,
			      const struct intel_inv *inv)
{
	struct intel_nested_dev *ndev;
	unsigned int order = inv_order(inv);
	u64 addr = inv_addr(inv, order);
	bool all_pasids;

	lockdep_assert_held(domain->nested.lock);

	list_for_each_entry(ndev, &domain->nested.devs, node) {
		if (!is_first(ndev))
			continue;
		if (inv->cache & IOPF_VTD_INV_CACHE_PASID)
			send_pasid(work, ndev, inv);
		if (inv->cache & IOPF_VTD_INV_CACHE_IOTLB)
			send_iotlb(work, ndev, inv);
	}
	if (!(inv->cache &
	      (IOPF_VTD_INV_CACHE_IOTLB | IOPF_VTD_INV_CACHE_DEVTLB)))
		return;
	all_pasids = inv->gran == IOPF_VTD_INV_GRAN_DOMAIN;
	list_for_each_entry(ndev, &domain->nested.devs, node)
		send_devtlb(work, ndev,
			    all_pasids ? IOMMU_NO_PASID : ndev->pasid, addr,
			    order);
}

/* What a device of the guest has in its TLB */
static void invalidate_guest_device(struct intel_inv_work *work,
				    struct intel_viommu *viommu,
				    const struct intel_inv *inv)
{
	bool all_pasids = inv->gran == IOPF_VTD_INV_GRAN_DOMAIN;
	struct intel_nested_dev *ndev;
	struct dmar_domain *domain;

	list_for_each_entry(domain, &viommu->domains, nested.node) {
		if (!all_pasids && domain->nested.guest_pasid != inv->pasid)
			continue;
		list_for_each_entry(ndev, &domain->nested.devs, node) {
			if (ndev->guest_sid != inv->sid)
				continue;
			send_devtlb(work, ndev,
				    all_pasids ? IOMMU_NO_PASID : ndev->pasid,
				    0, ORDER_ALL);
			if (all_pasids)
				return;
		}
	}
}

static bool is_meant(const struct dmar_domain *domain,
		     const struct intel_inv *inv)
{
	switch (inv->gran) {
	case IOPF_VTD_INV_GRAN_GUEST:
		return true;
	case IOPF_VTD_INV_GRAN_DOMAIN:
		return domain->nested.guest_did == inv->did;
	default:
		return domain->nested.guest_did == inv->did &&
		       domain->nested.guest_pasid == inv->pasid;
	}
}

static void invalidate_guest(struct intel_inv_work *work, struct intel_viommu *viommu,
			     const struct intel_inv *inv)
{
	struct intel_inv own = *inv;
	struct dmar_domain *domain;

	lockdep_assert_held(&viommu->lock);

	if (inv->gran != IOPF_VTD_INV_GRAN_GUEST &&
	    inv->cache & IOPF_VTD_INV_CACHE_DEVTLB) {
		invalidate_guest_device(work, viommu, inv);
		own.cache &= ~IOPF_VTD_INV_CACHE_DEVTLB;
	}
	if (!own.cache)
		return;
	/* All that a domain has is all of the one PASID it is for. */
	if (inv->gran == IOPF_VTD_INV_GRAN_GUEST)
		own.gran = IOPF_VTD_INV_GRAN_PASID;
	list_for_each_entry(domain, &viommu->domains, nested.node) {
		if (is_meant(domain, inv))
			invalidate_domain(work, domain, &own);
		cond_resched();
	}
}

/*
 * What is attached is not detached meanwhile. Who takes requests out of the queue needs
 * no lock of a guest.
 */
static void drain_guest(struct intel_viommu *viommu)
{
	struct intel_nested_dev *ndev;
	struct dmar_domain *domain;

	lockdep_assert_held(&viommu->lock);

	list_for_each_entry(domain, &viommu->domains, nested.node)
		list_for_each_entry(ndev, &domain->nested.devs, node)
			if (ndev->info->pri_enabled)
				intel_prq_drain_device(ndev->info->dev);
}

/* Whoever has more than there is room for gets all of it, which @gran is. */
static void close_list(struct intel_inv_list *list, u8 gran)
{
	if (!list->all)
		return;
	list->inv[0] = (struct intel_inv) { .cache = CACHES, .gran = gran };
	list->nr = 1;
}

/**
 * intel_inv_submit_guest() - Invalidate what is on the list of a guest
 * @work: the list, which is of no use after that
 * @viommu: the guest
 *
 * Context: may sleep.
 */
void intel_inv_submit_guest(struct intel_inv_work *work,
			    struct intel_viommu *viommu)
{
	struct intel_inv_list *list = &work->list;
	unsigned int i;

	close_list(list, IOPF_VTD_INV_GRAN_GUEST);
	mutex_lock(&viommu->lock);
	for (i = 0; i < list->nr; i++)
		invalidate_guest(work, viommu, &list->inv[i]);
	batch_submit(work);
	if (list->drain)
		drain_guest(viommu);
	mutex_unlock(&viommu->lock);
}

/**
 * intel_inv_submit_domain() - Invalidate what is on the list of a domain
 * @work: the list, which is of no use after that
 * @domain: the domain
 *
 * Context: may sleep.
 */
void intel_inv_submit_domain(struct intel_inv_work *work,
			     struct dmar_domain *domain)
{
	struct intel_inv_list *list = &work->list;
	unsigned int i;

	close_list(list, IOPF_VTD_INV_GRAN_PASID);
	mutex_lock(domain->nested.lock);
	for (i = 0; i < list->nr; i++)
		invalidate_domain(work, domain, &list->inv[i]);
	batch_submit(work);
	mutex_unlock(domain->nested.lock);
}

/* Which caches have which granularity */
static u16 caches_of(u16 gran, bool guest)
{
	switch (gran) {
	case IOPF_VTD_INV_GRAN_DOMAIN:
		return IOPF_VTD_INV_CACHE_DEVTLB | IOPF_VTD_INV_CACHE_PASID;
	case IOPF_VTD_INV_GRAN_PASID:
		return CACHES;
	case IOPF_VTD_INV_GRAN_ADDR:
		return IOPF_VTD_INV_CACHE_IOTLB;
	case IOPF_VTD_INV_GRAN_GUEST:
		return guest ? CACHES : 0;
	default:
		return 0;
	}
}

static bool is_range(u64 addr, u64 npages)
{
	return IS_ALIGNED(addr, VTD_PAGE_SIZE) && npages &&
	       npages - 1 <= PFN_MAX - (addr >> VTD_PAGE_SHIFT);
}

/* Fields that do not count are 0. */
static int check_fields(const struct iopf_vtd_invalidate *user, bool guest)
{
	bool one_pasid = user->granularity == IOPF_VTD_INV_GRAN_PASID ||
			 user->granularity == IOPF_VTD_INV_GRAN_ADDR;
	bool ids = guest && user->granularity != IOPF_VTD_INV_GRAN_GUEST;
	bool pages = user->granularity == IOPF_VTD_INV_GRAN_ADDR;
	bool did = ids && user->cache & (IOPF_VTD_INV_CACHE_IOTLB |
					 IOPF_VTD_INV_CACHE_PASID);
	bool sid = ids && user->cache & IOPF_VTD_INV_CACHE_DEVTLB;

	if ((!did && user->domain_id) || (!sid && user->source_id) ||
	    (!(ids && one_pasid) && user->pasid) ||
	    user->pasid >= PASID_MAX)
		return -EINVAL;
	if (pages ? !is_range(user->addr, user->npages) :
		    user->addr || user->npages)
		return -EINVAL;
	if (!pages && user->flags & IOPF_VTD_INV_FLAGS_LEAF)
		return -EINVAL;
	return 0;
}

/**
 * intel_inv_from_user() - Check an element of an array
 * @user: the element
 * @guest: true if it is for a vIOMMU, false if it is for a HWPT
 * @inv: what it means
 *
 * Return: 0, -EOPNOTSUPP if it has something that is not known, or -EINVAL.
 */
int intel_inv_from_user(const struct iopf_vtd_invalidate *user, bool guest,
			struct intel_inv *inv)
{
	bool drain = user->flags & IOPF_VTD_INV_FLAGS_DRAIN;
	int ret;

	if ((!user->cache && !drain) || user->cache & ~CACHES ||
	    user->granularity > IOPF_VTD_INV_GRAN_GUEST ||
	    user->flags & ~(IOPF_VTD_INV_FLAGS_LEAF | IOPF_VTD_INV_FLAGS_DRAIN))
		return -EOPNOTSUPP;
	if (user->cache & ~caches_of(user->granularity, guest))
		return -EINVAL;
	if (drain && (!guest || user->granularity != IOPF_VTD_INV_GRAN_GUEST))
		return -EINVAL;
	ret = check_fields(user, guest);
	if (ret)
		return ret;

	*inv = (struct intel_inv) {
		.cache = user->cache,
		.gran = user->granularity,
		.leaf = user->flags & IOPF_VTD_INV_FLAGS_LEAF,
		.drain = drain,
		.did = user->domain_id,
		.sid = user->source_id,
		.pasid = user->pasid,
	};
	if (user->granularity == IOPF_VTD_INV_GRAN_ADDR) {
		inv->first = user->addr >> VTD_PAGE_SHIFT;
		inv->last = inv->first + user->npages - 1;
	}
	return 0;
}

/*
 * Which has one address space. More pages than there are have always been what is
 * left of them.
 */
static int inv_from_vtd_s1(const struct iommu_hwpt_vtd_s1_invalidate *user,
			   struct intel_inv *inv)
{
	u64 first = user->addr >> VTD_PAGE_SHIFT;

	if (user->flags & ~IOMMU_VTD_INV_FLAGS_LEAF || user->__reserved)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(user->addr, VTD_PAGE_SIZE) || !user->npages ||
	    (user->npages == U64_MAX && user->addr))
		return -EINVAL;

	*inv = (struct intel_inv) {
		.cache = IOPF_VTD_INV_CACHE_IOTLB,
		.gran = IOPF_VTD_INV_GRAN_ADDR,
		.leaf = user->flags & IOMMU_VTD_INV_FLAGS_LEAF,
		.first = first,
		.last = first + min(user->npages - 1, PFN_MAX - first),
	};
	return 0;
}

/* @viommu: NULL for a HWPT */
static int copy_entry(struct intel_inv *inv, struct iommu_user_data_array *array,
		      u32 index, struct intel_viommu *viommu)
{
	struct iommu_hwpt_vtd_s1_invalidate s1;
	struct iopf_vtd_invalidate user;
	int ret;

	if (array->type == IOMMU_HWPT_INVALIDATE_DATA_VTD_S1) {
		ret = iommu_copy_struct_from_user_array(&s1, array,
							IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
							index, __reserved);
		return ret ?: inv_from_vtd_s1(&s1, inv);
	}

	ret = iommu_copy_struct_from_user_array(&user, array,
						IOPF_HWPT_INVALIDATE_DATA_VTD,
						index, npages);
	if (ret)
		return ret;
	ret = intel_inv_from_user(&user, viommu, inv);
	if (ret)
		return ret;
	if (viommu && inv->gran != IOPF_VTD_INV_GRAN_GUEST &&
	    inv->cache & IOPF_VTD_INV_CACHE_DEVTLB &&
	    !iommufd_viommu_has_vdevice(&viommu->core, inv->sid))
		return -ENOENT;
	return 0;
}

/* Sets entry_num to how many elements are in the list. */
static int copy_array(struct intel_inv_list *list,
		      struct iommu_user_data_array *array,
		      struct intel_viommu *viommu)
{
	struct intel_inv inv;
	int ret = 0;
	u32 i;

	for (i = 0; i < array->entry_num; i++) {
		ret = copy_entry(&inv, array, i, viommu);
		if (ret)
			break;
		intel_inv_add(list, &inv);
		cond_resched();
		if (fatal_signal_pending(current)) {
			i++;
			ret = -EINTR;
			break;
		}
	}
	array->entry_num = i;
	return ret;
}

/* @viommu: NULL for @domain */
static int do_array(struct iommu_user_data_array *array, struct intel_inv *room,
		    unsigned int max, struct intel_viommu *viommu,
		    struct dmar_domain *domain)
{
	struct intel_inv_work work;
	int ret;

	intel_inv_begin(&work, room, max);
	ret = copy_array(&work.list, array, viommu);
	if (viommu)
		intel_inv_submit_guest(&work, viommu);
	else
		intel_inv_submit_domain(&work, domain);
	intel_inv_end(&work);
	return ret;
}

static int invalidate(struct iommu_user_data_array *array,
		      struct intel_viommu *viommu, struct dmar_domain *domain)
{
	struct intel_inv few[INV_FEW], *many;
	int ret;

	/* Each element takes room for one at most. */
	if (array->entry_num <= INV_FEW)
		return do_array(array, few, INV_FEW, viommu, domain);

	many = kmalloc_array(INV_MAX, sizeof(*many), GFP_KERNEL_ACCOUNT);
	if (!many) {
		array->entry_num = 0;
		return -ENOMEM;
	}
	ret = do_array(array, many, INV_MAX, viommu, domain);
	kfree(many);
	return ret;
}

/**
 * intel_viommu_invalidate() - Invalidate what a guest asks for
 * @core: the vIOMMU
 * @array: what it is. entry_num is set to how many elements are done
 *
 * Return: 0 or the errno of the element that was not done.
 */
int intel_viommu_invalidate(struct iommufd_viommu *core,
			    struct iommu_user_data_array *array)
{
	if (array->type != IOPF_HWPT_INVALIDATE_DATA_VTD) {
		array->entry_num = 0;
		return -EINVAL;
	}
	return invalidate(array, container_of(core, struct intel_viommu, core),
			  NULL);
}

/**
 * intel_nested_invalidate() - Invalidate what user space has changed in a first stage
 * @domain: the nested domain
 * @array: what it is. entry_num is set to how many elements are done
 *
 * Return: 0 or the errno of the element that was not done.
 */
int intel_nested_invalidate(struct iommu_domain *domain,
			    struct iommu_user_data_array *array)
{
	if (array->type != IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 &&
	    array->type != IOPF_HWPT_INVALIDATE_DATA_VTD) {
		array->entry_num = 0;
		return -EINVAL;
	}
	return invalidate(array, NULL, to_dmar_domain(domain));
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test of vIOMMUs has to know of a vendor's: how its tables and its
 * commands look. Each vendor has a file iopf_viommu_VENDOR.c.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_VIOMMU_H
#define IOPF_VIOMMU_H

#include <linux/iommufd.h>
#include <stdbool.h>
#include <stdio.h>

#include "iopf_endpoint.h"

/* Guest physical memory; clear of the interrupt range */
#define GPA		0x40000000ULL
#define GUEST_SIZE	0x800000ULL
#define INV_MAX_LEN	64

struct vendor;

/* A guest, and the VMM that it has */
struct guest {
	const struct vendor *vendor;
	struct iopf_ctx *ctx;
	__u32 ioas_id;
	__u32 parent_id;
	__u32 viommu_id;
	char *mem;
	__u64 free;	/* first page that is in use for nothing yet */
};

/* An address space of the guest, with the ids that it has given to it */
struct space {
	struct guest *guest;
	__u64 root;
	__u64 table;	/* what leads to it, if the vendor has that */
	__u32 domain;
	__u32 pasid;
	__u32 dev;	/* id of the guest */
	__u32 hwpt_id;
	__u32 dma_pasid;	/* of the device, for DMA; 0 if that is without one */
	/* What devices have of it is left to the host; if there is a choice */
	bool host_devtlb;
};

/* An endpoint that the guest has */
struct guest_dev {
	struct endpoint ep;	/* without backing and IOAS */
	struct space space;
	__u32 virt_id;
	__u32 vdevice_id;
	unsigned int mode;	/* IOPF_TD_MODE_* */
};

enum inv_what {
	INV_PAGES,		/* some pages of a space */
	INV_SPACE,		/* all of a space */
	INV_TABLE,		/* what leads to a space */
	INV_DOMAIN_TABLES,	/* what leads to any space with that domain ID */
	INV_DEVICE,		/* what a device has */
	INV_DEVICE_SPACE,	/* what it has of a space */
	INV_DEVICE_PAGE,	/* a page that it has */
	INV_ALL,
	INV_DRAIN,		/* nothing, but page requests are waited for */
	INV_NR,
};

/* What a guest invalidates */
struct inv {
	enum inv_what what;
	const struct space *space;
	__u32 dev;		/* id of the guest */
	__u64 gva;
	__u64 npages;
	bool leaf;
	bool tlb_only;		/* leave to the device what it has */
};

/* A command that has to be refused, and how; on a vIOMMU or a HWPT only if it says so */
struct bad_inv {
	const char *what;
	int err;
	bool not_on_hwpt;
	bool not_on_viommu;
	__u8 elem[INV_MAX_LEN];
};

/* What a guest reads of a fault */
struct guest_fault {
	__u32 dev;
	__u64 addr;
	__u32 pasid;	/* 0 for none */
	bool write;
};

struct vendor {
	const char *name;
	__u32 viommu_type;
	__u32 event_type;
	__u32 inv_type;
	size_t inv_len;
	size_t event_len;
	__u32 max_dev;		/* the largest id of a device */
	int no_dev;		/* what a command for another one ends with */
	bool guest_devtlb;	/* the guest invalidates what devices have, by itself */
	bool may_leave_devtlb;	/* or not, if it says so */
	bool ignores_data;	/* of a vIOMMU */
	bool pasid_hwpt;	/* a nested HWPT may be attached to a PASID */
	bool zero_extends;	/* elements of arrays that are short, or cuts long ones */
	bool (*nests)(struct iopf_dev *dev);
	/* Optional: a space gets what leads to it. */
	void (*prepare)(struct space *space);
	/* Optional: that leads to another root or domain now. */
	void (*set_root)(struct space *space);
	/* Optional: the HWPT of @rid has @space for the PASID of that. */
	void (*set_pasid)(const struct space *rid, const struct space *space);
	/* Fill in data_type and data of the allocation of a HWPT; @blob has 64 bytes. */
	void (*nested)(const struct space *space, struct iommu_hwpt_alloc *cmd,
		       void *blob);
	/* Optional: the same of one without a space, which bypasses or blocks */
	bool (*nested_without)(bool bypass, struct iommu_hwpt_alloc *cmd,
			       void *blob);
	/* Optional: the same of a space, of which devices must not have anything */
	void (*nested_no_ats)(const struct space *space,
			      struct iommu_hwpt_alloc *cmd, void *blob);
	/* @gpa: 0 for none */
	void (*set_page)(const struct space *space, __u64 gva, __u64 gpa);
	/* false if there is no such command */
	bool (*inv)(const struct inv *inv, bool on_hwpt, void *elem);
	int (*fault)(const void *event, struct guest_fault *fault);
	const struct bad_inv *bad;
	/* Optional: have a device in those of @bad that name one */
	void (*for_device)(__u32 dev);
	/*
	 * The allocation of a HWPT number @nr that is refused with @err; NULL if there
	 * are no more, or what is wrong
	 */
	const char *(*bad_nested)(unsigned int nr, const struct space *space,
				  struct iommu_hwpt_alloc *cmd, void *blob,
				  int *err);
	/* The tracepoint of commands, NULL if there is none, and what those have in it */
	const char *trace_event;
	const char *trace_pages;
	const char *trace_tables;
	/* What the kernel prints of a fault that is not the guest's */
	const char *fault_log;
};

/* NULL if the IOMMU of a device is none of those */
const struct vendor *vendor_of(struct iopf_dev *dev);

/* Called by the constructor of a vendor's file */
void vendor_add(const struct vendor *vendor);

/* Which a program that is about this one alone takes */
extern const struct vendor vendor_amd;

/* @gpa: 0 for none */
void x86_set_page(struct guest *guest, __u64 table, __u64 gva, __u64 gpa);

/* Its entry in a table of that level, 4 to 1; and what an entry leads to, 0 for nothing */
__u64 *x86_entry(struct guest *guest, __u64 table, __u64 gva, int level);
__u64 x86_next(__u64 entry);

static inline void *host(const struct guest *guest, __u64 gpa)
{
	return guest->mem + (gpa - GPA);
}

/* A page of guest memory that is in use for nothing yet. */
static inline __u64 guest_page(struct guest *guest)
{
	__u64 gpa = guest->free;

	guest->free += 4096;
	return gpa;
}

/* 0 if @bdf is none */
static inline __u32 rid_of(const char *bdf)
{
	unsigned int domain, bus, slot, func;

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &func) != 4)
		return 0;
	return bus << 8 | slot << 3 | func;
}

/*
 * The rest is in iopf_viommu_guest.c. What returns int returns 0 or a negative errno,
 * with iopf_error() saying what is wrong.
 */
int alloc_parent(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id, __u32 flags,
		 __u32 *id);
int alloc_viommu(struct iopf_ctx *ctx, __u32 type, __u32 dev_id, __u32 hwpt_id,
		 __u32 *id);
int alloc_vdevice(struct iopf_ctx *ctx, __u32 viommu_id, __u32 dev_id,
		  __u64 virt_id, __u32 *id);

/* @fault_id: 0 for none */
int alloc_nested_flags(const struct space *space, __u32 dev_id, __u32 flags,
		       __u32 fault_id, __u32 *id);
int alloc_nested(const struct space *space, __u32 dev_id, __u32 fault_id,
		 __u32 *id);

/*
 * Commands of the guest, by IOMMU_HWPT_INVALIDATE of a vIOMMU or a nested HWPT
 * @done: how many the kernel says it has done
 */
int invalidate_array(struct guest *guest, __u32 id, const void *array,
		     __u32 nr, __u32 *done);

/* Memory and its IOAS, for a guest that has a context */
int guest_memory(struct guest *guest);

/* All that it has but devices, for a guest that has a vendor */
int guest_open(struct guest *guest, struct iopf_ctx *ctx, struct iopf_dev *dev);
int guest_close(struct guest *guest);

/*
 * Give a device that is open to the guest, with an address space. Only host_devtlb
 * of that is taken from before.
 */
int guest_add(struct guest *guest, struct guest_dev *dev, __u32 virt_id,
	      __u32 domain, __u32 pasid);

/* Take a device away from the guest. It stays open. */
int guest_del(struct guest_dev *dev);

/* Does a write of the device at @gva arrive in the guest's page @gpa? */
int arrives(struct guest_dev *dev, __u64 gva, __u64 gpa);

/* A write that the IOMMU has to refuse, without a page request */
int write_fails(struct guest_dev *dev, __u64 gva);

#endif /* IOPF_VIOMMU_H */

/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libiopf: serve the page faults of a PCIe device from user space.
 *
 * A device with ATS and PRI may touch memory that is not mapped in its IOMMU.
 * The IOMMU turns that into page requests, the kernel's iommufd hands them to
 * the owner of a fault queue, and the owner maps the memory and answers. This
 * library does the steps in between for a device that is bound to vfio-pci:
 *
 *	iopf_ctx_open()		the iommufd, everything else lives in it
 *	iopf_dev_open()		a VFIO device by its PCI address
 *	iopf_ioas_alloc()	an empty I/O address space
 *	iopf_queue_open()	a fault queue
 *	iopf_hwpt_alloc()	a page table of that space with that queue
 *	iopf_dev_attach()	from here on the device may fault
 *	iopf_backing_anon()	memory to be mapped on demand
 *	iopf_queue_wait(), iopf_queue_read(), iopf_backing_serve(),
 *	iopf_queue_answer()	the loop
 *
 * Errors: a function that returns int returns 0 (or a count, where said) on
 * success and a negative errno on failure, never -1 for "some error". After a
 * failure iopf_error() has one line that names the cause and, where there is
 * one, the cure. The values of errno that a function names are part of its
 * interface; others come from the kernel as they are. The text is for people
 * and may change. A handle or an id that a function hands out is only set when
 * it returns success.
 *
 * State: there is no other state in the library than what the handles hold,
 * with two exceptions: the error text, which each thread has for itself, and
 * the folder of iopf_set_root(), which is one for the process.
 *
 * Threads: calls on different handles may run at the same time. Calls on one
 * handle must not, with these exceptions, which any number of threads may use:
 * a context until it is closed; iopf_queue_answer(), iopf_queue_answer_many(),
 * iopf_queue_map(), iopf_queue_fd() and iopf_queue_id() of a queue; the functions that only tell
 * an id, a descriptor or a name. A device and a queue are different handles:
 * one thread may move a device while another one reads its queue.
 *
 * Lifetime: handles are freed by their close function only. Close them in the
 * reverse order of the list above. After fork() they are the parent's alone:
 * the child must not even close them, since the open files are the same; it
 * executes another program, which does not get them, or calls _exit().
 *
 * Layout: handles are opaque. Structures that a caller allocates never change
 * their size: those that may get more members have room for them, which the
 * library sets to zero where it fills the structure. The others are said to be
 * fixed. New functions come with a new version node in libiopf.map.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef LIBIOPF_H
#define LIBIOPF_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define IOPF_VERSION	"1.0"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * iopf_version - version of the library that runs
 *
 * IOPF_VERSION is that of the header a program was built with. A newer library
 * runs programs of an older one.
 *
 * Return: a string that lives for ever.
 */
const char *iopf_version(void);

/*
 * Errors
 */

/**
 * iopf_error - text of the last failure in this thread
 *
 * Only a failure sets the text, success leaves it alone: look at it after a
 * call that failed.
 *
 * Return: one line without a newline, never NULL, "no error" if no call of this
 * thread ever failed. It stays valid until the next call into the library by
 * the same thread.
 */
const char *iopf_error(void);

/**
 * iopf_err - set the error text and return the error
 * @err: negative errno to return
 * @fmt: printf format of the text; its arguments may contain iopf_error().
 *	 What does not fit in 511 bytes is cut off.
 *
 * For code that is built on the library and wants to report errors its way.
 *
 * Return: @err
 */
#ifdef __GNUC__
__attribute__
((__format__(__printf__, 2, 3)))
#endif
int iopf_err(int err, const char *fmt, ...);

/*
 * Context: one open /dev/iommu
 */

struct iopf_ctx;

/**
 * iopf_ctx_open - open /dev/iommu
 * @ctx: set to the new context, to be given to iopf_ctx_close()
 *
 * Return: 0, -ENOENT and -ENXIO without iommufd, -EACCES without the right to
 * use it, or another negative errno.
 */
int iopf_ctx_open(struct iopf_ctx **ctx);

/**
 * iopf_ctx_close - close the iommufd
 * @ctx: context or NULL
 *
 * Objects that were not destroyed go away with the last user of the iommufd,
 * which may be a device or a fault queue that is still open.
 */
void iopf_ctx_close(struct iopf_ctx *ctx);

/**
 * iopf_ctx_fd - the file descriptor of a context
 * @ctx: context
 *
 * Return: a descriptor that stays the property of @ctx.
 */
int iopf_ctx_fd(const struct iopf_ctx *ctx);

/**
 * iopf_destroy - destroy an iommufd object
 * @ctx: context the object lives in
 * @id: id of an IOAS or HWPT
 *
 * Return: 0, -ENOENT for an unknown id, -EBUSY while something uses it.
 */
int iopf_destroy(struct iopf_ctx *ctx, __u32 id);

/*
 * I/O address spaces and page tables
 */

/**
 * enum iopf_prot - what a mapping allows and a request wants
 * @IOPF_READ: read
 * @IOPF_WRITE: write
 * @IOPF_RW: both
 * @IOPF_EXEC: execute; only in requests, nothing can be mapped for it
 * @IOPF_PRIV: access in privileged mode; only in requests, too
 */
enum iopf_prot {
	IOPF_READ = 1 << 0,
	IOPF_WRITE = 1 << 1,
	IOPF_RW = IOPF_READ | IOPF_WRITE,
	IOPF_EXEC = 1 << 2,
	IOPF_PRIV = 1 << 3
};

/**
 * iopf_ioas_alloc - make an empty I/O address space
 * @ctx: context
 * @ioas_id: set to the id; free it with iopf_destroy()
 *
 * Return: 0 or a negative errno.
 */
int iopf_ioas_alloc(struct iopf_ctx *ctx, __u32 *ioas_id);

/**
 * iopf_ioas_map - map memory of this process at a fixed IOVA
 * @ctx: context
 * @ioas_id: address space
 * @va: start of the memory, page aligned; it has to stay until the unmap
 * @length: bytes, a multiple of the page size
 * @iova: I/O address, page aligned
 * @prot: IOPF_READ and IOPF_WRITE, at least one
 *
 * The memory is pinned for as long as it is mapped.
 *
 * Return: 0, -EEXIST when part of the range is mapped already, -EADDRINUSE or
 * -EINVAL for addresses that the attached devices cannot use, -ENOMEM when the
 * limit of locked memory is reached, -EFAULT when the memory cannot be pinned
 * for this kind of access, or another negative errno.
 */
int iopf_ioas_map(struct iopf_ctx *ctx, __u32 ioas_id, void *va, __u64 length,
		  __u64 iova, unsigned int prot);

/**
 * iopf_ioas_unmap - take mappings away
 * @ctx: context
 * @ioas_id: address space
 * @iova: first address
 * @length: bytes; the range must not cut a mapping in two
 *
 * Return: 0, -ENOENT when nothing is mapped there or a mapping would be cut,
 * or another negative errno.
 */
int iopf_ioas_unmap(struct iopf_ctx *ctx, __u32 ioas_id, __u64 iova,
		    __u64 length);

/**
 * iopf_ioas_last - the highest IOVA that can be mapped
 * @ctx: context
 * @ioas_id: address space; the limit depends on its HWPTs and devices
 * @last: set to the last usable byte address
 *
 * Return: 0 or a negative errno.
 */
int iopf_ioas_last(struct iopf_ctx *ctx, __u32 ioas_id, __u64 *last);

struct iopf_queue;

/**
 * iopf_hwpt_alloc - make an I/O page table
 * @ctx: context
 * @dev_id: device whose IOMMU decides about the format, see iopf_dev_id()
 * @ioas_id: address space the table shows
 * @queue: fault queue for the requests of devices attached to this table, or
 *	   NULL for a table without faults. The queue has to outlive the table.
 * @hwpt_id: set to the id; free it with iopf_destroy() after the detach
 *
 * Return: 0, -EOPNOTSUPP when the kernel takes no fault queue on a paging
 * domain, or another negative errno.
 */
int iopf_hwpt_alloc(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
		    struct iopf_queue *queue, __u32 *hwpt_id);

/**
 * iopf_hwpt_alloc_pasid - make an I/O page table that PASIDs can have
 * @ctx: context
 * @dev_id: device whose IOMMU decides about the format, see iopf_dev_id()
 * @ioas_id: address space the table shows
 * @queue: fault queue, or NULL, see iopf_hwpt_alloc()
 * @hwpt_id: set to the id; free it with iopf_destroy() after the detach
 *
 * The RID of a device with PASIDs has such a table, too, or none.
 *
 * Return: 0, -EOPNOTSUPP when kernel, IOMMU or device have no PASIDs, or another
 * negative errno.
 */
int iopf_hwpt_alloc_pasid(struct iopf_ctx *ctx, __u32 dev_id, __u32 ioas_id,
			  struct iopf_queue *queue, __u32 *hwpt_id);

/**
 * iopf_hwpt_alloc_process - let PASIDs have the addresses of a process
 * @ctx: context
 * @dev_id: device whose IOMMU decides about the format, see iopf_dev_id()
 * @pidfd: pidfd of the process, or -1 for this one
 * @hwpt_id: set to the id; free it with iopf_destroy() after the detach
 *
 * For iopf_dev_attach_pasid(). The kernel serves the page requests, nothing is
 * pinned. When the process ends or executes a program the device gets at nothing
 * any more.
 *
 * Return: 0, -EOPNOTSUPP when kernel, IOMMU or device cannot do it, -EPERM if this
 * process may not attach to the other one with ptrace(), -ESRCH if that has ended,
 * -ENOSPC if there are too many of it, or another negative errno.
 */
int iopf_hwpt_alloc_process(struct iopf_ctx *ctx, __u32 dev_id, int pidfd,
			    __u32 *hwpt_id);

/*
 * Fault queues
 */

/**
 * enum iopf_request_flags - what is to be known about a request
 * @IOPF_REQUEST_PASID: it carries a PASID
 * @IOPF_REQUEST_LAST: it is the last one of its group
 */
enum iopf_request_flags {
	IOPF_REQUEST_PASID = 1 << 0,
	IOPF_REQUEST_LAST = 1 << 1
};

/**
 * struct iopf_request - one page request, as the kernel delivers it
 * @flags: enum iopf_request_flags
 * @dev_id: iommufd id of the device that asks
 * @pasid: PASID, if @flags says so
 * @grpid: page request group index the device chose
 * @perm: enum iopf_prot, what the device wants to do
 * @unused: 0
 * @addr: I/O address, of a page of 4096 bytes; that of the access itself if it is the
 *        IOMMU that holds the access (stall model of the SMMUv3)
 * @length: bytes, a hint; 0 for one page
 * @cookie: the group's
 *
 * Fixed: it is the kernel's struct iommu_hwpt_pgfault.
 */
struct iopf_request {
	__u32 flags;
	__u32 dev_id;
	__u32 pasid;
	__u32 grpid;
	__u32 perm;
	__u32 unused;
	__aligned_u64 addr;
	__u32 length;
	__u32 cookie;
};

/**
 * enum iopf_code - answer to a group
 * @IOPF_SUCCESS: the device shall try again
 * @IOPF_INVALID: it shall give the access up
 */
enum iopf_code {
	IOPF_SUCCESS = 0,
	IOPF_INVALID = 1
};

/**
 * struct iopf_response - answer to one group
 * @cookie: the group's
 * @code: enum iopf_code
 *
 * Fixed: it is the kernel's struct iommu_hwpt_page_response.
 */
struct iopf_response {
	__u32 cookie;
	__u32 code;
};

/**
 * struct iopf_group - one page request group, as read from a fault queue
 * @rec: the records of the group; they stay valid until the next
 *	 iopf_queue_read() or iopf_queue_close() of the queue
 * @nr: number of records, at least 1
 * @cookie: names the group in the answer
 * @dev_id: iommufd id of the device that asks
 * @grpid: page request group index the device chose
 * @pasid: PASID of the request, 0 if it has none
 * @pasid_valid: the requests carry @pasid
 * @t_read: CLOCK_MONOTONIC time of the read in nanoseconds
 * @reserved: room for more
 */
struct iopf_group {
	const struct iopf_request *rec;
	unsigned int nr;
	__u32 cookie;
	__u32 dev_id;
	__u32 grpid;
	__u32 pasid;
	bool pasid_valid;
	__u64 t_read;
	__u64 reserved[4];
};

/**
 * iopf_queue_open - make a fault queue
 * @ctx: context; it has to outlive the queue
 * @queue: set to the new queue, to be given to iopf_queue_close()
 *
 * Return: 0, -ENOTTY on kernels without fault queues, or another negative
 * errno.
 */
int iopf_queue_open(struct iopf_ctx *ctx, struct iopf_queue **queue);

/**
 * iopf_queue_close - close a fault queue and destroy its kernel object
 * @queue: queue or NULL
 *
 * While a HWPT uses the queue the kernel object stays, and nobody can read it
 * any more: detach the devices and destroy the HWPT first.
 */
void iopf_queue_close(struct iopf_queue *queue);

/**
 * iopf_queue_fd - file descriptor of a queue, to poll for POLLIN
 * @queue: queue
 *
 * Return: a descriptor that stays the property of @queue.
 */
int iopf_queue_fd(const struct iopf_queue *queue);

/**
 * iopf_queue_id - iommufd object id of a queue
 * @queue: queue
 *
 * Return: the id.
 */
__u32 iopf_queue_id(const struct iopf_queue *queue);

/**
 * iopf_queue_wait - wait until a group can be read
 * @queue: queue
 * @timeout_ms: milliseconds; 0 only looks, negative waits for ever
 *
 * Return: 1 when iopf_queue_read() will find a group, 0 at the end of the
 * time, -EINTR on a signal, or another negative errno.
 */
int iopf_queue_wait(struct iopf_queue *queue, int timeout_ms);

/**
 * iopf_queue_read - take the next group from the queue
 * @queue: queue
 * @group: filled when the return value is 1
 *
 * Never blocks. The groups of one kernel read are handed out one by one. The
 * buffer grows when a group is larger than it.
 *
 * Return: 1 with a group, 0 when there is none, -EPROTO when the kernel broke
 * the record format, or another negative errno.
 */
int iopf_queue_read(struct iopf_queue *queue, struct iopf_group *group);

/**
 * iopf_queue_drop - forget groups of a device that were not handed out yet
 * @queue: queue
 * @dev_id: device
 *
 * The queue may hold groups that the kernel delivered together with one that
 * iopf_queue_read() returned. After the device was detached, moved to another
 * HWPT or reset they are answered and their cookies belong to others soon, as
 * do those of groups that were handed out: neither may be answered any more.
 * Call this then, before the next read.
 */
void iopf_queue_drop(struct iopf_queue *queue, __u32 dev_id);

/**
 * iopf_queue_answer - answer one group
 * @queue: queue the group came from
 * @cookie: cookie of the group
 * @code: enum iopf_code
 *
 * Return: 0, -EINVAL when the group is not waiting any more, for instance
 * because a detach answered it, or another negative errno.
 */
int iopf_queue_answer(struct iopf_queue *queue, __u32 cookie, __u32 code);

/**
 * iopf_queue_answer_many - answer several groups with one system call
 * @queue: queue the groups came from
 * @resp: answers
 * @nr: number of them
 *
 * Return: number of answers taken. It is less than @nr when one of them was
 * refused, which is the one at that index; the ones after it were not looked
 * at. A negative errno if the first was refused.
 */
int iopf_queue_answer_many(struct iopf_queue *queue,
			   const struct iopf_response *resp, unsigned int nr);

/**
 * struct iopf_mapping - memory to map, and the group that waits for it
 * @va: memory of this process, page aligned
 * @length: bytes, whole pages
 * @iova: where to map it
 * @prot: IOPF_READ, IOPF_WRITE or both
 * @cookie: group to be answered with success; 0 if there is none
 *
 * Fixed: callers have arrays of them.
 */
struct iopf_mapping {
	void *va;
	__u64 length;
	__u64 iova;
	__u32 prot;
	__u32 cookie;
};

/**
 * iopf_queue_map - map memory and answer the groups that wait for it
 * @queue: queue the groups came from
 * @ioas_id: address space to map into, of the queue's context
 * @maps: the memory
 * @nr: number of @maps
 *
 * One system call if the kernel has it (linux-iopf), else as many as
 * iopf_ioas_map() of each and iopf_queue_answer_many() take. A group that wants more
 * than one piece of memory is named by the last. One that does not wait any more, as
 * the kernel has answered it, is passed over; a kernel that has the call refuses it if
 * it knows that before it maps.
 *
 * Return: number of @maps that are mapped and answered. It is less than @nr when
 * one failed, which is the one at that index; the ones after it were not looked at.
 * A negative errno if the first failed: one of iopf_ioas_map(), or -EINVAL when its
 * group was refused.
 */
int iopf_queue_map(struct iopf_queue *queue, __u32 ioas_id,
		   const struct iopf_mapping *maps, unsigned int nr);

/*
 * Memory mapped on demand
 */

/**
 * struct iopf_run - neighbouring pages that are mapped by one call
 * @iova: first address
 * @length: bytes
 * @prot: IOPF_READ and IOPF_WRITE
 *
 * Fixed: callers have arrays of them.
 */
struct iopf_run {
	__u64 iova;
	__u64 length;
	unsigned int prot;
};

/**
 * iopf_coalesce - order the pages of a group into runs
 * @group: group
 * @page_size: bytes, a power of two; addresses are rounded down to it
 * @run: array of at least @group->nr elements, filled in order of address
 *
 * Requests for one page are merged and their permissions added. Neighbouring
 * pages that want the same permissions become one run.
 *
 * Return: number of runs, 0 if no record wants to read or write.
 */
unsigned int iopf_coalesce(const struct iopf_group *group, __u64 page_size,
			   struct iopf_run *run);

/**
 * enum iopf_backing_flags - how a backing maps
 * @IOPF_BACKING_EXACT: map a page only for what the request wants, so that the
 *			first write to a page that was only read faults again.
 *			Otherwise a page gets all that the backing allows.
 * @IOPF_BACKING_PRIVATE: file backings: device writes stay in this process and
 *			  do not change the file
 */
enum iopf_backing_flags {
	IOPF_BACKING_EXACT = 1 << 0,
	IOPF_BACKING_PRIVATE = 1 << 1
};

/**
 * struct iopf_served - what serving one group did
 * @code: answer to give, enum iopf_code
 * @runs: map calls made
 * @pages: pages newly mapped
 * @upgraded: pages that were mapped again with more permissions
 * @reason: static text saying why @code is INVALID, else NULL
 * @reserved: room for more
 */
struct iopf_served {
	__u32 code;
	unsigned int runs;
	unsigned int pages;
	unsigned int upgraded;
	const char *reason;
	__u64 reserved[4];
};

struct iopf_backing;

/**
 * iopf_backing_anon - memory of this process, zero at first
 * @ctx: context; it has to outlive the backing
 * @ioas_id: address space to map into
 * @iova: base address, page aligned
 * @length: bytes, rounded up to pages. Nothing is allocated or mapped yet.
 * @prot: the most the device may do, IOPF_READ and IOPF_WRITE
 * @flags: enum iopf_backing_flags
 * @backing: set to the new backing, to be given to iopf_backing_close()
 *
 * Return: 0 or a negative errno.
 */
int iopf_backing_anon(struct iopf_ctx *ctx, __u32 ioas_id, __u64 iova,
		      __u64 length, unsigned int prot, unsigned int flags,
		      struct iopf_backing **backing);

/**
 * iopf_backing_file - memory that shows a file
 * @ctx: context; it has to outlive the backing
 * @ioas_id: address space to map into
 * @path: file; a character device that can be mapped does as well
 * @iova: base address, page aligned
 * @length: bytes, or 0 for all of the file. Requests for pages that are
 *	    behind the end of the file are INVALID.
 * @prot: the most the device may do, IOPF_READ and IOPF_WRITE
 * @flags: enum iopf_backing_flags. Without IOPF_BACKING_PRIVATE the device
 *	   writes to the file. The kernel allows that on tmpfs, hugetlbfs and
 *	   memfd, not on file systems that have to know when a page changes.
 * @backing: set to the new backing, to be given to iopf_backing_close()
 *
 * Return: 0 or a negative errno.
 */
int iopf_backing_file(struct iopf_ctx *ctx, __u32 ioas_id, const char *path,
		      __u64 iova, __u64 length, unsigned int prot,
		      unsigned int flags, struct iopf_backing **backing);

/**
 * iopf_backing_close - unmap everything and free the memory
 * @backing: backing or NULL
 */
void iopf_backing_close(struct iopf_backing *backing);

/**
 * iopf_backing_serve - map what a group asks for
 * @backing: backing
 * @group: group
 * @served: filled in any case; @served->code is the answer to give
 *
 * A group that asks for one page outside of the backing, or for more than it
 * allows, is INVALID as a whole and nothing is mapped: an answer is for all
 * pages of a group. The answer is not sent.
 *
 * Return: 0, also when the answer is INVALID for one of these reasons; a
 * negative errno when mapping failed, with INVALID in @served->code.
 */
int iopf_backing_serve(struct iopf_backing *backing,
		       const struct iopf_group *group,
		       struct iopf_served *served);

/**
 * iopf_backing_map - map pages ahead of a request
 * @backing: backing
 * @iova: first address
 * @length: bytes; both are extended to whole pages
 * @prot: IOPF_READ and IOPF_WRITE
 *
 * Return: 0, -ERANGE outside of the backing, -EACCES for more than it allows,
 * or another negative errno.
 */
int iopf_backing_map(struct iopf_backing *backing, __u64 iova, __u64 length,
		     unsigned int prot);

/**
 * iopf_backing_unmap - take pages away from the device
 * @backing: backing
 * @iova: first address
 * @length: bytes
 *
 * The content stays. Pages that were mapped together go together, so more than
 * the range may be unmapped; the device just asks again.
 *
 * Return: 0 or a negative errno.
 */
int iopf_backing_unmap(struct iopf_backing *backing, __u64 iova, __u64 length);

/**
 * iopf_backing_ptr - where this process sees an IOVA
 * @backing: backing
 * @iova: address
 *
 * Return: pointer into the memory, valid until iopf_backing_close(), or NULL
 * outside of the backing.
 */
void *iopf_backing_ptr(const struct iopf_backing *backing, __u64 iova);

/**
 * iopf_backing_mapped - how much of it the device can reach now
 * @backing: backing
 *
 * Return: number of pages.
 */
__u64 iopf_backing_mapped(const struct iopf_backing *backing);

/*
 * Devices
 */

struct iopf_dev;

/**
 * struct iopf_hw_info - what iommufd says about the IOMMU of a device
 * @type: enum iommu_hw_info_type of <linux/iommufd.h>, 0 if the driver tells
 *	  nothing more
 * @pasid_bits: width of a PASID, 0 without PASID
 * @caps: enum iommufd_hw_capabilities of <linux/iommufd.h>
 * @raw_len: bytes the kernel has for @type
 * @raw: the first of them, zero extended
 * @reserved: room for more
 */
struct iopf_hw_info {
	__u32 type;
	unsigned int pasid_bits;
	__u64 caps;
	__u32 raw_len;
	__u8 raw[64];
	__u64 reserved[4];
};

/**
 * iopf_dev_open - open a VFIO device and bind it to the iommufd
 * @ctx: context; it has to outlive the device
 * @bdf: PCI address, "0000:01:00.0" or "01:00.0"
 * @dev: set to the new device, to be given to iopf_dev_close()
 *
 * The device is reset. It cannot do DMA before an attach and
 * iopf_dev_bus_master().
 *
 * Return: 0, -ENODEV when it is not there or not bound to a VFIO driver,
 * -EBUSY when somebody else uses it or its group, -EACCES without the right,
 * or another negative errno.
 */
int iopf_dev_open(struct iopf_ctx *ctx, const char *bdf,
		  struct iopf_dev **dev);

/**
 * iopf_dev_from_fd - take over a VFIO device that someone else opened
 * @ctx: context it is bound to, or NULL if that is not at hand; then
 *	 iopf_dev_id() is 0 and iopf_dev_hw_info() fails
 * @fd: open VFIO file that is bound to an iommufd. The device takes it over
 *	when the call succeeds.
 * @dev: set to the new device, to be given to iopf_dev_close()
 *
 * For the command of "iopf serve" and for descriptors that came over a socket.
 *
 * Return: 0 or a negative errno, -EINVAL if the file is not bound.
 */
int iopf_dev_from_fd(struct iopf_ctx *ctx, int fd, struct iopf_dev **dev);

/**
 * iopf_dev_close - detach, unbind and close a device
 * @dev: device or NULL
 *
 * The kernel resets the device, unless its file is open elsewhere, too.
 */
void iopf_dev_close(struct iopf_dev *dev);

/**
 * iopf_dev_id - iommufd object id of a device, as in struct iopf_group
 * @dev: device
 *
 * Return: the id.
 */
__u32 iopf_dev_id(const struct iopf_dev *dev);

/**
 * iopf_dev_bdf - full PCI address of a device
 * @dev: device
 *
 * Return: a string that lives as long as @dev; "the device" if it came as a
 * descriptor.
 */
const char *iopf_dev_bdf(const struct iopf_dev *dev);

/**
 * iopf_dev_fd - VFIO file descriptor of a device
 * @dev: device
 *
 * Return: a descriptor that stays the property of @dev.
 */
int iopf_dev_fd(const struct iopf_dev *dev);

/**
 * iopf_dev_attach - attach a device to a page table, or move it to another
 * @dev: device
 * @pt_id: HWPT; or IOAS, then the kernel picks or makes a HWPT without faults
 *
 * When the device leaves a HWPT with a fault queue, the requests of the device
 * that are still open there are answered INVALID. See iopf_queue_drop().
 *
 * Return: 0, -ENODEV, -EINVAL or -EOPNOTSUPP when the device or its IOMMU
 * cannot take page requests and the HWPT has a fault queue, or another
 * negative errno.
 */
int iopf_dev_attach(struct iopf_dev *dev, __u32 pt_id);

/**
 * iopf_dev_detach - block all DMA of a device
 * @dev: device
 *
 * Its open requests are answered INVALID. See iopf_queue_drop().
 *
 * Return: 0 or a negative errno.
 */
int iopf_dev_detach(struct iopf_dev *dev);

/**
 * iopf_dev_attach_pasid - let a PASID of a device use a page table
 * @dev: device
 * @pasid: PASID, 1 to 2 to the power of iopf_hw_info::pasid_bits, less 1
 * @pt_id: page table, see iopf_hwpt_alloc_pasid(). If the PASID has one this one
 *	   takes its place
 *
 * Which of the PASIDs requests have is up to the device and its driver. Page requests
 * of a PASID come to the queue of its table, with iopf_group::pasid.
 *
 * Return: 0, -EINVAL when there is no such PASID, or another negative errno.
 */
int iopf_dev_attach_pasid(struct iopf_dev *dev, __u32 pasid, __u32 pt_id);

/**
 * iopf_dev_detach_pasid - take the page table of a PASID away
 * @dev: device
 * @pasid: PASID. If it has none nothing happens
 *
 * Requests with it fail from then on; those that are open are answered.
 *
 * Return: 0 or a negative errno.
 */
int iopf_dev_detach_pasid(struct iopf_dev *dev, __u32 pasid);

/**
 * iopf_dev_reset - function reset
 * @dev: device
 *
 * The device forgets its open requests. See iopf_queue_drop().
 *
 * Return: 0, -ENOTTY or -EINVAL when the device has no reset, or another
 * negative errno.
 */
int iopf_dev_reset(struct iopf_dev *dev);

/**
 * iopf_dev_hw_info - ask for the abilities of the IOMMU
 * @dev: device
 * @info: filled
 *
 * Return: 0 or a negative errno.
 */
int iopf_dev_hw_info(struct iopf_dev *dev, struct iopf_hw_info *info);

/**
 * iopf_dev_config_read - read config space
 * @dev: device
 * @offset: bytes from the start of config space, 0 to 4095
 * @buf: destination
 * @len: bytes
 *
 * Return: 0, -ERANGE behind the end, or another negative errno.
 */
int iopf_dev_config_read(struct iopf_dev *dev, unsigned int offset, void *buf,
			 size_t len);

/**
 * iopf_dev_config_write - write config space
 * @dev: device
 * @offset: bytes from the start of config space, 0 to 4095
 * @buf: source
 * @len: bytes
 *
 * The kernel drops writes to fields that are not the user's, ATS and PRI among
 * them.
 *
 * Return: 0, -ERANGE behind the end, or another negative errno.
 */
int iopf_dev_config_write(struct iopf_dev *dev, unsigned int offset,
			  const void *buf, size_t len);

/**
 * iopf_dev_ext_cap - find an extended capability
 * @dev: device
 * @id: PCI extended capability id
 *
 * VFIO hides some of them, PASID for one.
 *
 * Return: offset in config space, 0 if there is none, or a negative errno.
 */
int iopf_dev_ext_cap(struct iopf_dev *dev, unsigned int id);

/**
 * iopf_dev_bus_master - allow or forbid the device to do DMA
 * @dev: device
 * @on: allow
 *
 * Return: 0 or a negative errno.
 */
int iopf_dev_bus_master(struct iopf_dev *dev, bool on);

/**
 * struct iopf_region - a BAR
 * @size: bytes, 0 if the device has no such BAR
 * @offset: where it is in the VFIO file, for pread() and pwrite()
 * @mem: the BAR in memory of this process, or NULL if it cannot be mapped
 * @fd: VFIO file descriptor, property of the device
 * @reserved: room for more
 */
struct iopf_region {
	__u64 size;
	__u64 offset;
	void *mem;
	int fd;
	__u64 reserved[4];
};

/**
 * iopf_dev_region - get access to a BAR
 * @dev: device; it has to outlive the region
 * @index: number of the BAR, 0 to 5
 * @region: filled; to be given to iopf_region_close()
 *
 * Return: 0, -ENOENT when the device has no such BAR, or another negative
 * errno.
 */
int iopf_dev_region(struct iopf_dev *dev, unsigned int index,
		    struct iopf_region *region);

/**
 * iopf_region_close - unmap a BAR
 * @region: region; a region of zeroes is ignored
 */
void iopf_region_close(struct iopf_region *region);

/**
 * iopf_region_read32 - read a little endian register
 * @region: region
 * @offset: bytes from the start of the BAR, a multiple of 4 inside of it
 *
 * Return: the value in the byte order of the CPU, all ones when the read
 * failed, as on the bus, and for an offset that is not allowed.
 */
__u32 iopf_region_read32(const struct iopf_region *region, __u64 offset);

/**
 * iopf_region_write32 - write a little endian register
 * @region: region
 * @offset: bytes from the start of the BAR, a multiple of 4 inside of it
 * @value: value in the byte order of the CPU
 *
 * A write that fails or whose offset is not allowed does nothing, as on the
 * bus; iopf_error() tells.
 */
void iopf_region_write32(const struct iopf_region *region, __u64 offset,
			 __u32 value);

/**
 * iopf_region_copy_in - copy from device memory
 * @region: region
 * @offset: bytes from the start of the BAR, a multiple of 4
 * @buf: destination
 * @len: bytes, a multiple of 4
 *
 * Return: 0, -ERANGE outside of the BAR, or another negative errno.
 */
int iopf_region_copy_in(const struct iopf_region *region, __u64 offset,
			void *buf, size_t len);

/**
 * iopf_region_copy_out - copy to device memory
 * @region: region
 * @offset: bytes from the start of the BAR, a multiple of 4
 * @buf: source
 * @len: bytes, a multiple of 4
 *
 * Return: 0, -ERANGE outside of the BAR, or another negative errno.
 */
int iopf_region_copy_out(const struct iopf_region *region, __u64 offset,
			 const void *buf, size_t len);

/**
 * iopf_dev_msix - deliver MSI-X vectors to event files
 * @dev: device
 * @fds: array of new eventfds, close-on-exec and non-blocking, owned by the
 *	 caller
 * @nr: number of vectors from vector 0 on; 0 switches MSI-X off and leaves
 *	@fds alone
 *
 * Return: 0, -EINVAL when the device has fewer vectors, or another negative
 * errno. No descriptor is left open on failure.
 */
int iopf_dev_msix(struct iopf_dev *dev, int *fds, unsigned int nr);

/*
 * PCI devices and IOMMUs as sysfs shows them, without opening them
 */

/**
 * enum iopf_pci_known - which part of struct iopf_pci could be read
 * @IOPF_PCI_CONFIG: the capability list; that takes CAP_SYS_ADMIN
 * @IOPF_PCI_EXPRESS: it is a PCI Express function
 * @IOPF_PCI_EXTENDED: extended config space, which has ATS, PRI and PASID; that
 *		       takes a kernel that can reach it
 */
enum iopf_pci_known {
	IOPF_PCI_CONFIG = 1 << 0,
	IOPF_PCI_EXPRESS = 1 << 1,
	IOPF_PCI_EXTENDED = 1 << 2
};

/**
 * struct iopf_pci - a PCI function
 * @bdf: full PCI address
 * @vendor: vendor id
 * @device: device id
 * @class_code: class code, 24 bits
 * @known: enum iopf_pci_known
 * @driver: name of the bound driver, empty without
 * @cdev: name of the VFIO character device, "vfio0", empty without
 * @iommu: name of the IOMMU in /sys/class/iommu, empty without
 * @group: IOMMU group number, -1 without
 * @virtfn: virtual function
 * @external: the firmware calls the port external, so the kernel allows no ATS
 * @ats: offset of the ATS capability, 0 without
 * @ats_cap: ATS capability register
 * @ats_ctrl: ATS control register
 * @pri: offset of the PRI capability, 0 without
 * @pri_ctrl: PRI control register
 * @pri_status: PRI status register
 * @pri_max: requests the device can have open
 * @pri_alloc: requests the kernel allows it
 * @pasid: offset of the PASID capability, 0 without
 * @pasid_cap: PASID capability register
 * @pasid_ctrl: PASID control register
 * @reserved: room for more
 */
struct iopf_pci {
	char bdf[16];
	__u16 vendor;
	__u16 device;
	__u32 class_code;
	unsigned int known;
	char driver[32];
	char cdev[32];
	char iommu[64];
	int group;
	bool virtfn;
	bool external;
	unsigned int ats;
	__u16 ats_cap;
	__u16 ats_ctrl;
	unsigned int pri;
	__u16 pri_ctrl;
	__u16 pri_status;
	__u32 pri_max;
	__u32 pri_alloc;
	unsigned int pasid;
	__u16 pasid_cap;
	__u16 pasid_ctrl;
	__u64 reserved[8];
};

/**
 * iopf_set_root - look at the /sys, /proc and so on in another folder
 * @root: path prefix without a slash at the end, "" for the running system;
 *	  the string has to stay valid
 *
 * For copies of another machine's tree and for tests. Set it before any other
 * call and from one thread. Files in it are only read.
 */
void iopf_set_root(const char *root);

/**
 * iopf_root - prefix set by iopf_set_root()
 *
 * Return: the prefix, "" by default.
 */
const char *iopf_root(void);

/**
 * iopf_pci_bdf - complete a PCI address
 * @text: "0000:01:00.0" or "01:00.0"
 * @bdf: at least 16 bytes, set to the full form in lower case
 *
 * Return: 0 or -EINVAL.
 */
int iopf_pci_bdf(const char *text, char *bdf);

/**
 * iopf_pci_read - look at one PCI function
 * @text: PCI address, "0000:01:00.0" or "01:00.0"
 * @pci: filled
 *
 * Return: 0, -ENODEV if there is no such device, or another negative errno.
 */
int iopf_pci_read(const char *text, struct iopf_pci *pci);

/**
 * iopf_pci_scan - look at all PCI functions
 * @fn: called for each in order of address; a value other than 0 ends the scan
 * @arg: passed to @fn
 *
 * Return: the last value of @fn, 0 without devices, or a negative errno.
 */
int iopf_pci_scan(int (*fn)(const struct iopf_pci *pci, void *arg), void *arg);

/*
 * Time statistics
 */

#define IOPF_STAT_BUCKETS	(64 * 64)

/**
 * struct iopf_stat - distribution of times
 * @nr: number of samples
 * @min: smallest, nanoseconds
 * @max: largest, nanoseconds
 * @bucket: logarithmic histogram, see iopf_stat_quantile()
 *
 * Start with zeroes. The size does not depend on the number of samples. Fixed.
 */
struct iopf_stat {
	__u64 nr;
	__u64 min;
	__u64 max;
	__u64 bucket[IOPF_STAT_BUCKETS];
};

/**
 * iopf_stat_add - add a sample
 * @stat: statistics
 * @ns: nanoseconds
 */
void iopf_stat_add(struct iopf_stat *stat, __u64 ns);

/**
 * iopf_stat_quantile - the value that a part of the samples does not exceed
 * @stat: statistics
 * @permille: 500 for the median, 990 for the 99th percentile
 *
 * Return: nanoseconds, exact below 64 ns and at the ends, otherwise at most
 * 1.6 % too large; 0 without samples.
 */
__u64 iopf_stat_quantile(const struct iopf_stat *stat, unsigned int permille);

/**
 * iopf_now - the clock of struct iopf_group
 *
 * Return: CLOCK_MONOTONIC in nanoseconds.
 */
__u64 iopf_now(void);

#ifdef __cplusplus
}
#endif

#endif /* LIBIOPF_H */

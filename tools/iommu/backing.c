// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Memory that is mapped into an I/O address space page by page, as the device
 * asks for it.
 *
 * iommufd unmaps only what one map call mapped, as a whole. Each page has a
 * byte that says what it is mapped for and whether a map call began there.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* State of a page: IOPF_READ, IOPF_WRITE as mapped, 0 if not mapped, and */
#define PAGE_FIRST	0x80	/* first page of a map call */

struct iopf_backing {
	struct iopf_ctx *ctx;
	__u32 ioas_id;
	__u64 iova;
	__u64 length;
	__u64 page_size;
	__u64 nr_pages;
	__u64 nr_mapped;
	unsigned int prot;
	unsigned int flags;
	int file;		/* -1: anonymous memory */
	bool populate_write;
	char *mem;
	unsigned char *page;
	struct iopf_run *run;	/* room for the runs of one group */
	unsigned int run_size;
};

static int check_range(__u64 iova, __u64 length, unsigned int prot,
		       __u64 page_size)
{
	if (iova & (page_size - 1))
		return iopf_err(-EINVAL,
				"IOVA %#llx is not a multiple of the page size %llu",
				 iova, page_size);
	if (!length || length > (__u64)1 << 56 || iova + length - 1 < iova)
		return iopf_err(-EINVAL,
				"%llu bytes at IOVA %#llx are no usable range",
				 length, iova);
	if (!prot || prot & ~(unsigned int)IOPF_RW)
		return iopf_err(-EINVAL,
				"memory for a device has to be readable or writable");
	return 0;
}

/* Takes over @file in any case. */
static int backing_new(struct iopf_ctx *ctx, __u32 ioas_id, __u64 iova,
		       __u64 length, unsigned int prot, unsigned int flags,
		       int file, struct iopf_backing **backing)
{
	bool private = file < 0 || flags & IOPF_BACKING_PRIVATE;
	int map_prot = PROT_READ | PROT_WRITE;
	int map_flags = MAP_NORESERVE;
	struct iopf_backing *b;
	int ret;

	b = calloc(1, sizeof(*b));
	if (!b) {
		ret = iopf_err(-ENOMEM, "out of memory");
		goto close_file;
	}
	b->ctx = ctx;
	b->ioas_id = ioas_id;
	b->iova = iova;
	b->page_size = sysconf(_SC_PAGESIZE);
	b->length = (length + b->page_size - 1) & ~(b->page_size - 1);
	b->prot = prot;
	b->flags = flags;
	b->file = file;
	/*
	 * Populate for writing: a page of private memory that is copied on
	 * write after it was mapped would not be the one the device has.
	 */
	b->populate_write = private || prot & IOPF_WRITE;
	ret = check_range(iova, b->length, prot, b->page_size);
	if (ret)
		goto free_backing;
	b->nr_pages = b->length / b->page_size;

	if (!private && !(prot & IOPF_WRITE))
		map_prot = PROT_READ;
	map_flags |= private ? MAP_PRIVATE : MAP_SHARED;
	if (file < 0)
		map_flags |= MAP_ANONYMOUS;
	b->mem = mmap(NULL, b->length, map_prot, map_flags, file, 0);
	if (b->mem == MAP_FAILED) {
		ret = -errno;
		iopf_err(ret, "cannot get %llu bytes of memory: %s", b->length,
			 strerror(-ret));
		goto free_backing;
	}
	/* A fork would make the pages copy on write under the device. */
	madvise(b->mem, b->length, MADV_DONTFORK);
	/* Untouched parts of this array cost nothing. */
	b->page = mmap(NULL, b->nr_pages, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->page == MAP_FAILED) {
		ret = -errno;
		iopf_err(ret, "cannot get %llu bytes of memory: %s",
			 b->nr_pages, strerror(-ret));
		goto unmap_mem;
	}
	*backing = b;
	return 0;

unmap_mem:
	munmap(b->mem, b->length);
free_backing:
	free(b);
close_file:
	if (file >= 0)
		close(file);
	return ret;
}

int iopf_backing_anon(struct iopf_ctx *ctx, __u32 ioas_id, __u64 iova,
		      __u64 length, unsigned int prot, unsigned int flags,
		      struct iopf_backing **backing)
{
	return backing_new(ctx, ioas_id, iova, length, prot,
			   flags & ~(unsigned int)IOPF_BACKING_PRIVATE, -1,
			   backing);
}

int iopf_backing_file(struct iopf_ctx *ctx, __u32 ioas_id, const char *path,
		      __u64 iova, __u64 length, unsigned int prot,
		      unsigned int flags, struct iopf_backing **backing)
{
	bool write = prot & IOPF_WRITE && !(flags & IOPF_BACKING_PRIVATE);
	struct stat st;
	int file, err;

	file = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (file < 0) {
		err = errno;
		return iopf_err(-err, "%s: %s", path, strerror(err));
	}
	if (fstat(file, &st)) {
		err = errno;
		close(file);
		return iopf_err(-err, "%s: %s", path, strerror(err));
	}
	if (!length)
		length = st.st_size;
	if (!length) {
		close(file);
		return iopf_err(-EINVAL, "%s is empty; give a size", path);
	}
	return backing_new(ctx, ioas_id, iova, length, prot, flags, file,
			   backing);
}

void iopf_backing_close(struct iopf_backing *backing)
{
	if (!backing)
		return;
	/* One call takes all whole mappings in the range; holes are fine. */
	if (backing->nr_mapped)
		iopf_ioas_unmap(backing->ctx, backing->ioas_id, backing->iova,
				backing->length);
	munmap(backing->page, backing->nr_pages);
	munmap(backing->mem, backing->length);
	if (backing->file >= 0)
		close(backing->file);
	free(backing->run);
	free(backing);
}

void *iopf_backing_ptr(const struct iopf_backing *backing, __u64 iova)
{
	if (iova < backing->iova || iova - backing->iova >= backing->length)
		return NULL;
	return backing->mem + (iova - backing->iova);
}

__u64 iopf_backing_mapped(const struct iopf_backing *backing)
{
	return backing->nr_mapped;
}

static bool page_mapped(const struct iopf_backing *b, __u64 page)
{
	return b->page[page] & IOPF_RW;
}

/*
 * Bring the pages in before the map call, which holds locks of the address
 * space: a slow file then only delays its own requests. If that fails, the map
 * call does it or says why not.
 */
static void populate(struct iopf_backing *b, __u64 page, __u64 nr)
{
	madvise(b->mem + page * b->page_size, nr * b->page_size,
		b->populate_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

static int map_pages(struct iopf_backing *b, __u64 page, __u64 nr,
		     unsigned int prot)
{
	int ret;

	/* Not every IOMMU can map write-only. */
	if (prot & IOPF_WRITE)
		prot |= b->prot & IOPF_READ;
	populate(b, page, nr);
	ret = iopf_ioas_map(b->ctx, b->ioas_id, b->mem + page * b->page_size,
			    nr * b->page_size, b->iova + page * b->page_size,
			    prot);
	if (ret)
		return ret;
	memset(&b->page[page], prot, nr);
	b->page[page] |= PAGE_FIRST;
	b->nr_mapped += nr;
	return 0;
}

/* First page and length of the map call that @page belongs to. */
static __u64 area_of(const struct iopf_backing *b, __u64 page, __u64 *nr)
{
	__u64 first = page, end = page + 1;

	while (!(b->page[first] & PAGE_FIRST))
		first--;
	while (end < b->nr_pages && page_mapped(b, end) &&
	       !(b->page[end] & PAGE_FIRST))
		end++;
	*nr = end - first;
	return first;
}

static int unmap_area(struct iopf_backing *b, __u64 first, __u64 nr)
{
	int ret;

	ret = iopf_ioas_unmap(b->ctx, b->ioas_id,
			      b->iova + first * b->page_size,
			      nr * b->page_size);
	if (ret)
		return ret;
	memset(&b->page[first], 0, nr);
	b->nr_mapped -= nr;
	return 0;
}

/*
 * iommufd cannot change permissions in place. For the moment in between the
 * device finds nothing there and asks again.
 */
static int upgrade_area(struct iopf_backing *b, __u64 page, unsigned int prot,
			struct iopf_served *served)
{
	__u64 first, nr;
	int ret;

	first = area_of(b, page, &nr);
	prot |= b->page[page] & IOPF_RW;
	ret = unmap_area(b, first, nr);
	if (ret)
		return ret;
	ret = map_pages(b, first, nr, prot);
	if (ret)
		return ret;
	served->upgraded += nr;
	served->runs++;
	return 0;
}

static int serve_pages(struct iopf_backing *b, __u64 page, __u64 end,
		       unsigned int prot, struct iopf_served *served)
{
	__u64 stop;
	int ret;

	while (page < end) {
		if ((b->page[page] & prot) == prot) {
			page++;
			continue;
		}
		if (page_mapped(b, page)) {
			ret = upgrade_area(b, page, prot, served);
			if (ret)
				return ret;
			continue;
		}
		for (stop = page + 1; stop < end; stop++)
			if (page_mapped(b, stop))
				break;
		ret = map_pages(b, page, stop - page, prot);
		if (ret)
			return ret;
		served->pages += stop - page;
		served->runs++;
		page = stop;
	}
	return 0;
}

/* Bytes of the backing that exist; a file may change its size. */
static __u64 backing_end(const struct iopf_backing *b)
{
	struct stat st;

	if (b->file < 0 || fstat(b->file, &st) || !S_ISREG(st.st_mode))
		return b->length;
	return (__u64)st.st_size < b->length ? (__u64)st.st_size : b->length;
}

static const char *refuse(const struct iopf_backing *b,
			  const struct iopf_group *group)
{
	__u64 end = backing_end(b);
	unsigned int i, perm;
	__u64 addr;

	for (i = 0; i < group->nr; i++) {
		perm = group->rec[i].perm;
		addr = group->rec[i].addr & ~(b->page_size - 1);
		if (addr < b->iova || addr - b->iova >= b->length)
			return "address outside of the backing";
		if (addr - b->iova >= end)
			return "address behind the end of the file";
		if (perm & ~(unsigned int)IOPF_RW)
			return "execute or privileged access";
		if (!perm)
			return "no access wanted";
		if (perm & IOPF_WRITE & ~b->prot)
			return "write to read-only memory";
		if (perm & IOPF_READ & ~b->prot)
			return "read of write-only memory";
	}
	return NULL;
}

static int run_room(struct iopf_backing *b, unsigned int nr)
{
	struct iopf_run *run;

	if (nr <= b->run_size)
		return 0;
	run = reallocarray(b->run, nr, sizeof(*run));
	if (!run)
		return iopf_err(-ENOMEM, "out of memory");
	b->run = run;
	b->run_size = nr;
	return 0;
}

int iopf_backing_serve(struct iopf_backing *backing,
		       const struct iopf_group *group,
		       struct iopf_served *served)
{
	struct iopf_backing *b = backing;
	unsigned int i, nr;
	__u64 page;
	int ret;

	memset(served, 0, sizeof(*served));
	served->code = IOPF_INVALID;
	served->reason = refuse(b, group);
	if (served->reason)
		return 0;
	ret = run_room(b, group->nr);
	if (ret)
		goto failed;
	nr = iopf_coalesce(group, b->page_size, b->run);
	if (!(b->flags & IOPF_BACKING_EXACT)) {
		for (i = 0; i < nr; i++)
			b->run[i].prot = b->prot;
		nr = iopf_merge_runs(b->run, nr);
	}
	for (i = 0; i < nr; i++) {
		page = (b->run[i].iova - b->iova) / b->page_size;
		ret = serve_pages(b, page, page + b->run[i].length /
				  b->page_size, b->run[i].prot, served);
		if (ret)
			goto failed;
	}
	served->code = IOPF_SUCCESS;
	return 0;

failed:
	served->reason = "mapping failed";
	return ret;
}

/* Pages that a range touches. */
static int range_pages(const struct iopf_backing *b, __u64 iova, __u64 length,
		       __u64 *page, __u64 *end)
{
	__u64 offset = iova - b->iova;

	if (iova < b->iova || offset >= b->length || !length ||
	    length > b->length - offset)
		return iopf_err(-ERANGE,
				"%llu bytes at IOVA %#llx are outside of the backing",
				 length, iova);
	*page = offset / b->page_size;
	*end = (offset + length + b->page_size - 1) / b->page_size;
	return 0;
}

int iopf_backing_map(struct iopf_backing *backing, __u64 iova, __u64 length,
		     unsigned int prot)
{
	struct iopf_served served = { 0 };
	__u64 page, end;
	int ret;

	ret = range_pages(backing, iova, length, &page, &end);
	if (ret)
		return ret;
	if (!prot || prot & ~backing->prot)
		return iopf_err(-EACCES,
				"the backing at IOVA %#llx does not allow this access",
				 backing->iova);
	return serve_pages(backing, page, end, prot, &served);
}

int iopf_backing_unmap(struct iopf_backing *backing, __u64 iova, __u64 length)
{
	__u64 page, end, first, nr;
	int ret;

	ret = range_pages(backing, iova, length, &page, &end);
	if (ret)
		return ret;
	while (page < end) {
		if (!page_mapped(backing, page)) {
			page++;
			continue;
		}
		first = area_of(backing, page, &nr);
		ret = unmap_area(backing, first, nr);
		if (ret)
			return ret;
		page = first + nr;
	}
	return 0;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * BARs of an open VFIO device, in memory or, if that is not possible, through
 * the file.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

int iopf_dev_region(struct iopf_dev *dev, unsigned int index,
		    struct iopf_region *region)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};
	int err;

	memset(region, 0, sizeof(*region));
	if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info)) {
		err = errno;
		return iopf_err(-err, "%s: region %u: %s", dev->bdf, index,
				 strerror(err));
	}
	if (!info.size)
		return iopf_err(-ENOENT, "%s has no region %u", dev->bdf,
				 index);
	region->size = info.size;
	region->offset = info.offset;
	region->fd = dev->fd;
	if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	/* If a part cannot be mapped, all goes through the file. */
	region->mem = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   dev->fd, info.offset);
	if (region->mem == MAP_FAILED)
		region->mem = NULL;
	else
		madvise(region->mem, info.size, MADV_DONTFORK);
	return 0;
}

void iopf_region_close(struct iopf_region *region)
{
	if (region->mem)
		munmap(region->mem, region->size);
	memset(region, 0, sizeof(*region));
}

static int check_words(const struct iopf_region *region, __u64 offset,
		       size_t len)
{
	if (offset <= region->size && len <= region->size - offset &&
	    !(offset & 3) && !(len & 3))
		return 0;
	return iopf_err(-ERANGE,
			"%zu bytes at %#llx are not whole words of the region of %llu bytes",
			len, offset, region->size);
}

static __u32 *word_at(const struct iopf_region *region, __u64 offset)
{
	return (__u32 *)((char *)region->mem + offset);
}

__u32 iopf_region_read32(const struct iopf_region *region, __u64 offset)
{
	__u32 value;

	if (check_words(region, offset, sizeof(value)))
		return ~0U;
	if (region->mem) {
		value = __atomic_load_n(word_at(region, offset),
					__ATOMIC_RELAXED);
		/* Later reads see what the device wrote before this. */
		__sync_synchronize();
		return le32toh(value);
	}
	if (pread(region->fd, &value, sizeof(value),
		  region->offset + offset) != sizeof(value))
		return ~0U;
	return le32toh(value);
}

void iopf_region_write32(const struct iopf_region *region, __u64 offset,
			 __u32 value)
{
	if (check_words(region, offset, sizeof(value)))
		return;
	value = htole32(value);
	if (region->mem) {
		/* The device sees earlier writes to memory before this. */
		__sync_synchronize();
		__atomic_store_n(word_at(region, offset), value,
				 __ATOMIC_RELAXED);
		return;
	}
	if (pwrite(region->fd, &value, sizeof(value),
		   region->offset + offset) != sizeof(value))
		iopf_err(-EIO, "cannot write a device register: %s",
			 strerror(errno));
}

static void word_in(const struct iopf_region *region, __u64 offset, char *buf)
{
	__u32 word = htole32(iopf_region_read32(region, offset));

	memcpy(buf, &word, sizeof(word));
}

static void word_out(const struct iopf_region *region, __u64 offset, char *buf)
{
	__u32 word;

	memcpy(&word, buf, sizeof(word));
	iopf_region_write32(region, offset, le32toh(word));
}

/* Bytes, not values: word by word, since memcpy() may use any width. */
static int copy_words(const struct iopf_region *region, __u64 offset, char *buf,
		      size_t len,
		      void (*word)(const struct iopf_region *region,
				   __u64 offset, char *buf))
{
	size_t i;
	int ret;

	ret = check_words(region, offset, len);
	if (ret)
		return ret;
	for (i = 0; i < len; i += sizeof(__u32))
		word(region, offset + i, buf + i);
	return 0;
}

int iopf_region_copy_in(const struct iopf_region *region, __u64 offset,
			void *buf, size_t len)
{
	return copy_words(region, offset, buf, len, word_in);
}

int iopf_region_copy_out(const struct iopf_region *region, __u64 offset,
			 const void *buf, size_t len)
{
	/* The cast is fine: word_out() only reads the buffer. */
	return copy_words(region, offset, (char *)buf, len, word_out);
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The iommufd and its I/O address spaces.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

static int ctx_open_error(int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return iopf_err(-err,
				"/dev/iommu: %s; load the iommufd module or use a kernel with CONFIG_IOMMUFD",
				 strerror(err));
	case EACCES:
	case EPERM:
		return iopf_err(-err,
				"/dev/iommu: %s; run as root or get read and write permission for it",
				 strerror(err));
	}
	return iopf_err(-err, "/dev/iommu: %s", strerror(err));
}

int iopf_ctx_open(struct iopf_ctx **ctx)
{
	struct iopf_ctx *c;
	int err;

	c = calloc(1, sizeof(*c));
	if (!c)
		return iopf_err(-ENOMEM, "out of memory");
	c->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (c->fd < 0) {
		err = ctx_open_error(errno);
		free(c);
		return err;
	}
	*ctx = c;
	return 0;
}

void iopf_ctx_close(struct iopf_ctx *ctx)
{
	if (!ctx)
		return;
	close(ctx->fd);
	free(ctx);
}

int iopf_ctx_fd(const struct iopf_ctx *ctx)
{
	return ctx->fd;
}

int iopf_destroy(struct iopf_ctx *ctx, __u32 id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };
	int err;

	if (!ioctl(ctx->fd, IOMMU_DESTROY, &cmd))
		return 0;
	err = errno;
	if (err == EBUSY)
		return iopf_err(-err,
				"cannot destroy iommufd object %u: in use; detach devices and destroy what is built on it first",
				 id);
	return iopf_err(-err, "cannot destroy iommufd object %u: %s", id,
			 strerror(err));
}

int iopf_ioas_alloc(struct iopf_ctx *ctx, __u32 *ioas_id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int err;

	if (ioctl(ctx->fd, IOMMU_IOAS_ALLOC, &cmd)) {
		err = errno;
		return iopf_err(-err, "cannot make an I/O address space: %s",
				 strerror(err));
	}
	*ioas_id = cmd.out_ioas_id;
	return 0;
}

int iopf_map_error(int err, __u64 iova, __u64 length)
{
	const char *cure = "";

	switch (err) {
	case ENOMEM:
		cure = "; raise ulimit -l or run with CAP_IPC_LOCK";
		break;
	case EFAULT:
		cure = "; the memory cannot be pinned for this kind of access";
		break;
	case EADDRINUSE:
		cure = "; outside of what the IOMMU maps, or a reserved region";
		break;
	}
	return iopf_err(-err, "cannot map %llu bytes at IOVA %#llx: %s%s",
			 length, iova, strerror(err), cure);
}

__u32 iopf_map_flags(unsigned int prot)
{
	__u32 flags = 0;

	if (prot & IOPF_READ)
		flags |= IOMMU_IOAS_MAP_READABLE;
	if (prot & IOPF_WRITE)
		flags |= IOMMU_IOAS_MAP_WRITEABLE;
	return flags;
}

int iopf_ioas_map(struct iopf_ctx *ctx, __u32 ioas_id, void *va, __u64 length,
		  __u64 iova, unsigned int prot)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | iopf_map_flags(prot),
		.ioas_id = ioas_id,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = iova,
	};

	if (ioctl(ctx->fd, IOMMU_IOAS_MAP, &cmd))
		return iopf_map_error(errno, iova, length);
	return 0;
}

int iopf_ioas_unmap(struct iopf_ctx *ctx, __u32 ioas_id, __u64 iova,
		    __u64 length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas_id,
		.iova = iova,
		.length = length,
	};
	int err;

	if (!ioctl(ctx->fd, IOMMU_IOAS_UNMAP, &cmd))
		return 0;
	err = errno;
	return iopf_err(-err, "cannot unmap %llu bytes at IOVA %#llx: %s",
			 length, iova, strerror(err));
}

int iopf_ioas_last(struct iopf_ctx *ctx, __u32 ioas_id, __u64 *last)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas_id,
	};
	struct iommu_iova_range *range = NULL, *more;
	int err;

	/* When the ranges do not fit the kernel says how many there are. */
	while (ioctl(ctx->fd, IOMMU_IOAS_IOVA_RANGES, &cmd)) {
		err = errno;
		if (err != EMSGSIZE) {
			free(range);
			return iopf_err(-err, "cannot ask for the usable IOVAs: %s",
					strerror(err));
		}
		more = reallocarray(range, cmd.num_iovas, sizeof(*range));
		if (!more) {
			free(range);
			return iopf_err(-ENOMEM, "out of memory");
		}
		range = more;
		cmd.allowed_iovas = (uintptr_t)range;
	}
	if (cmd.num_iovas)
		*last = range[cmd.num_iovas - 1].last;
	free(range);
	if (!cmd.num_iovas)
		return iopf_err(-ENOSPC,
				"the I/O address space has no usable IOVA");
	return 0;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * VFIO devices: open, bind to an iommufd, attach, reset.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

static int no_cdev(const struct iopf_pci *pci)
{
	if (!pci->driver[0])
		return iopf_err(-ENODEV,
				"%s has no driver; bind it to vfio-pci",
				 pci->bdf);
	if (!strstr(pci->driver, "vfio"))
		return iopf_err(-ENODEV,
				"%s belongs to the driver %s; unbind it and bind it to vfio-pci",
				 pci->bdf, pci->driver);
	return iopf_err(-ENODEV,
			"%s has no VFIO character device; use a kernel with CONFIG_VFIO_DEVICE_CDEV",
			 pci->bdf);
}

static int open_cdev(const struct iopf_pci *pci)
{
	char path[64];
	int fd, err;

	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", pci->cdev);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = errno;
	if (err == EACCES || err == EPERM)
		return iopf_err(-err,
				"%s: %s; run as root or get read and write permission for it",
				 path, strerror(err));
	return iopf_err(-err, "%s: %s", path, strerror(err));
}

static int bind_error(const char *bdf, int err)
{
	switch (err) {
	case EBUSY:
		return iopf_err(-err,
				"%s or a device of its IOMMU group is in use; end the other user, and bind all devices of the group to vfio-pci or to no driver",
				 bdf);
	case EINVAL:
		return iopf_err(-EBUSY,
				"%s is open in another program, or its IOMMU is not coherent; end the other program",
				 bdf);
	case EPERM:
		return iopf_err(-err,
				"%s: interrupts are not isolated; switch interrupt remapping on",
				 bdf);
	case ENOTTY:
		return iopf_err(-err,
				"%s: this kernel's VFIO knows no iommufd; use Linux 6.6 or later with CONFIG_VFIO_DEVICE_CDEV",
				 bdf);
	}
	return iopf_err(-err, "cannot bind %s to the iommufd: %s", bdf,
			 strerror(err));
}

static int bind_dev(struct iopf_dev *dev)
{
	struct vfio_device_bind_iommufd cmd = {
		.argsz = sizeof(cmd),
		.iommufd = dev->ctx->fd,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &cmd))
		return bind_error(dev->bdf, errno);
	dev->id = cmd.out_devid;
	return 0;
}

static int find_config(struct iopf_dev *dev)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	int err;

	if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info)) {
		err = errno;
		return iopf_err(-err, "%s: no access to config space: %s",
				 dev->bdf, strerror(err));
	}
	dev->config_offset = info.offset;
	dev->config_size = info.size;
	return 0;
}

int iopf_dev_open(struct iopf_ctx *ctx, const char *bdf, struct iopf_dev **dev)
{
	struct iopf_pci pci;
	struct iopf_dev *d;
	int ret;

	ret = iopf_pci_read(bdf, &pci);
	if (ret)
		return ret;
	if (!pci.cdev[0])
		return no_cdev(&pci);

	d = calloc(1, sizeof(*d));
	if (!d)
		return iopf_err(-ENOMEM, "out of memory");
	d->ctx = ctx;
	memcpy(d->bdf, pci.bdf, sizeof(d->bdf));
	d->fd = open_cdev(&pci);
	if (d->fd < 0) {
		ret = d->fd;
		goto free_dev;
	}
	ret = bind_dev(d);
	if (ret)
		goto close_fd;
	ret = find_config(d);
	if (ret)
		goto close_fd;
	*dev = d;
	return 0;

close_fd:
	close(d->fd);
free_dev:
	free(d);
	return ret;
}

int iopf_dev_from_fd(struct iopf_ctx *ctx, int fd, struct iopf_dev **dev)
{
	struct iopf_dev *d;
	int ret;

	d = calloc(1, sizeof(*d));
	if (!d)
		return iopf_err(-ENOMEM, "out of memory");
	d->ctx = ctx;
	d->fd = fd;
	snprintf(d->bdf, sizeof(d->bdf), "the device");
	ret = find_config(d);
	if (ret) {
		free(d);
		return ret;
	}
	*dev = d;
	return 0;
}

void iopf_dev_close(struct iopf_dev *dev)
{
	if (!dev)
		return;
	close(dev->fd);
	free(dev);
}

__u32 iopf_dev_id(const struct iopf_dev *dev)
{
	return dev->id;
}

const char *iopf_dev_bdf(const struct iopf_dev *dev)
{
	return dev->bdf;
}

int iopf_dev_fd(const struct iopf_dev *dev)
{
	return dev->fd;
}

static int attach_error(const char *bdf, __u32 pt_id, int err)
{
	const char *cure = "";

	switch (err) {
	case ENODEV:
	case EOPNOTSUPP:
		cure = "; device or IOMMU cannot take page requests, see iopf probe";
		break;
	case EINVAL:
		cure = "; it does not fit or takes no page requests, see iopf probe";
		break;
	case EADDRINUSE:
		cure = "; the address space has mappings in a reserved region of the device";
		break;
	}
	return iopf_err(-err, "cannot attach %s to page table %u: %s%s", bdf,
			 pt_id, strerror(err), cure);
}

int iopf_dev_attach(struct iopf_dev *dev, __u32 pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = {
		.argsz = sizeof(cmd),
		.pt_id = pt_id,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd))
		return attach_error(dev->bdf, pt_id, errno);
	return 0;
}

int iopf_dev_detach(struct iopf_dev *dev)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };
	int err;

	if (!ioctl(dev->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd))
		return 0;
	err = errno;
	return iopf_err(-err, "cannot detach %s: %s", dev->bdf, strerror(err));
}

int iopf_dev_reset(struct iopf_dev *dev)
{
	int err;

	if (!ioctl(dev->fd, VFIO_DEVICE_RESET))
		return 0;
	err = errno;
	return iopf_err(-err, "cannot reset %s: %s", dev->bdf, strerror(err));
}

int iopf_dev_hw_info(struct iopf_dev *dev, struct iopf_hw_info *info)
{
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.dev_id = dev->id,
		.data_len = sizeof(info->raw),
		.data_uptr = (uintptr_t)info->raw,
	};
	int err;

	memset(info, 0, sizeof(*info));
	if (!dev->ctx || !dev->id)
		return iopf_err(-ENODEV,
				"%s came without its iommufd, which knows its IOMMU",
				dev->bdf);
	if (ioctl(dev->ctx->fd, IOMMU_GET_HW_INFO, &cmd)) {
		err = errno;
		return iopf_err(-err, "cannot ask about the IOMMU of %s: %s",
				 dev->bdf, strerror(err));
	}
	info->type = cmd.out_data_type;
	info->pasid_bits = cmd.out_max_pasid_log2;
	info->caps = cmd.out_capabilities;
	info->raw_len = cmd.data_len;
	return 0;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Page tables of PASIDs.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

/* Newer than the headers of many a machine, which have the rest. */
#define ATTACH_PASID	0x1

struct attach_pasid {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
	__u32 pasid;
};

struct detach_pasid {
	__u32 argsz;
	__u32 flags;
	__u32 pasid;
};

static int pasid_error(const struct iopf_dev *dev, const char *what,
		       __u32 pasid, int err)
{
	const char *cure = "";

	switch (err) {
	case EINVAL:
	case ENOTTY:
	case E2BIG:
		cure = "; there is no such PASID, or none can be beside the RID's page table";
		break;
	case ENODEV:
	case EOPNOTSUPP:
		cure = "; device or IOMMU cannot take page requests or PASIDs, see iopf probe";
		break;
	}
	return iopf_err(-err, "cannot %s PASID %u of %s: %s%s", what, pasid,
			 dev->bdf, strerror(err), cure);
}

int iopf_dev_attach_pasid(struct iopf_dev *dev, __u32 pasid, __u32 pt_id)
{
	struct attach_pasid cmd = {
		.argsz = sizeof(cmd),
		.flags = ATTACH_PASID,
		.pt_id = pt_id,
		.pasid = pasid,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd))
		return pasid_error(dev, "attach", pasid, errno);
	return 0;
}

int iopf_dev_detach_pasid(struct iopf_dev *dev, __u32 pasid)
{
	struct detach_pasid cmd = {
		.argsz = sizeof(cmd),
		.flags = ATTACH_PASID,
		.pasid = pasid,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd))
		return pasid_error(dev, "detach", pasid, errno);
	return 0;
}

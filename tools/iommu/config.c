// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Config space of an open VFIO device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static int check_range(const struct iopf_dev *dev, unsigned int offset,
		       size_t len)
{
	if (offset <= dev->config_size && len <= dev->config_size - offset)
		return 0;
	return iopf_err(-ERANGE, "%s: config space ends at %llu", dev->bdf,
			 dev->config_size);
}

int iopf_dev_config_read(struct iopf_dev *dev, unsigned int offset, void *buf,
			 size_t len)
{
	ssize_t done;
	int ret;

	ret = check_range(dev, offset, len);
	if (ret)
		return ret;
	done = pread(dev->fd, buf, len, dev->config_offset + offset);
	if (done == (ssize_t)len)
		return 0;
	ret = done < 0 ? -errno : -EIO;
	return iopf_err(ret, "%s: cannot read config space at %#x: %s",
			 dev->bdf, offset, strerror(-ret));
}

int iopf_dev_config_write(struct iopf_dev *dev, unsigned int offset,
			  const void *buf, size_t len)
{
	ssize_t done;
	int ret;

	ret = check_range(dev, offset, len);
	if (ret)
		return ret;
	done = pwrite(dev->fd, buf, len, dev->config_offset + offset);
	if (done == (ssize_t)len)
		return 0;
	ret = done < 0 ? -errno : -EIO;
	return iopf_err(ret, "%s: cannot write config space at %#x: %s",
			 dev->bdf, offset, strerror(-ret));
}

int iopf_dev_ext_cap(struct iopf_dev *dev, unsigned int id)
{
	unsigned int pos = PCI_CFG_SPACE_SIZE;
	unsigned int left;
	__u32 header;
	int ret;

	if (dev->config_size < PCI_CFG_SPACE_EXP_SIZE)
		return 0;
	/* A loop in a broken list ends when every slot was seen. */
	for (left = PCI_CFG_SPACE_EXP_SIZE / 8; pos && left; left--) {
		ret = iopf_dev_config_read(dev, pos, &header, sizeof(header));
		if (ret)
			return ret;
		header = le32toh(header);
		if (!header || header == ~0U)
			return 0;
		if (PCI_EXT_CAP_ID(header) == id)
			return pos;
		pos = PCI_EXT_CAP_NEXT(header);
		if (pos < PCI_CFG_SPACE_SIZE)
			return 0;
	}
	return 0;
}

int iopf_dev_bus_master(struct iopf_dev *dev, bool on)
{
	__u16 cmd;
	int ret;

	ret = iopf_dev_config_read(dev, PCI_COMMAND, &cmd, sizeof(cmd));
	if (ret)
		return ret;
	cmd = le16toh(cmd);
	if (on)
		cmd |= PCI_COMMAND_MASTER;
	else
		cmd &= ~PCI_COMMAND_MASTER;
	cmd = htole16(cmd);
	return iopf_dev_config_write(dev, PCI_COMMAND, &cmd, sizeof(cmd));
}

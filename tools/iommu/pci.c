// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * PCI functions as sysfs shows them.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#ifndef PCI_EXT_CAP_ID_PASID
#define PCI_EXT_CAP_ID_PASID	0x1b
#endif

#define SYS_PCI	"/sys/bus/pci/devices"

int iopf_pci_bdf(const char *text, char *bdf)
{
	unsigned int domain = 0, bus, slot, fn;
	int end = 0;

	/* 24 bits of domain are what @bdf has room for. */
	if (sscanf(text, "%6x:%2x:%2x.%1x%n", &domain, &bus, &slot, &fn,
		   &end) != 4 || text[end]) {
		domain = 0;
		end = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &fn, &end) != 3)
			end = 0;
	}
	/* sscanf() takes blanks, signs and 0x as well. */
	if (!end || text[end] || slot > 31 || fn > 7 ||
	    text[strspn(text, "0123456789abcdefABCDEF:.")])
		return iopf_err(-EINVAL,
				"'%s' is no PCI address; write it like 0000:01:00.0",
				 text);
	snprintf(bdf, 16, "%04x:%02x:%02x.%x", domain & 0xffffff, bus, slot,
		 fn);
	return 0;
}

static unsigned int hex_file(const char *bdf, const char *name)
{
	char buf[32];

	if (iopf_read_file(buf, sizeof(buf), SYS_PCI "/%s/%s", bdf, name) < 0)
		return 0;
	return strtoul(buf, NULL, 16);
}

/* A port that the firmware calls external makes what is behind it untrusted. */
static bool is_external(const char *bdf)
{
	char buf[32];

	if (iopf_read_file(buf, sizeof(buf), SYS_PCI "/%s/removable", bdf) < 0)
		return false;
	return !strcmp(buf, "removable");
}

static void find_cdev(struct iopf_pci *pci)
{
	struct dirent *entry;
	char *path;
	DIR *dir;

	path = iopf_path(SYS_PCI "/%s/vfio-dev", pci->bdf);
	if (!path)
		return;
	dir = opendir(path);
	free(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(pci->cdev, sizeof(pci->cdev), "%.31s", entry->d_name);
		break;
	}
	closedir(dir);
}

static void read_capability(struct iopf_pci *pci, const __u8 *config,
			    unsigned int id, unsigned int pos)
{
	switch (id) {
	case PCI_EXT_CAP_ID_ATS:
		pci->ats = pos;
		pci->ats_cap = iopf_get16(config + pos + PCI_ATS_CAP);
		pci->ats_ctrl = iopf_get16(config + pos + PCI_ATS_CTRL);
		break;
	case PCI_EXT_CAP_ID_PRI:
		pci->pri = pos;
		pci->pri_ctrl = iopf_get16(config + pos + PCI_PRI_CTRL);
		pci->pri_status = iopf_get16(config + pos + PCI_PRI_STATUS);
		pci->pri_max = iopf_get32(config + pos + PCI_PRI_MAX_REQ);
		pci->pri_alloc = iopf_get32(config + pos + PCI_PRI_ALLOC_REQ);
		break;
	case PCI_EXT_CAP_ID_PASID:
		pci->pasid = pos;
		pci->pasid_cap = iopf_get16(config + pos + PCI_PASID_CAP);
		pci->pasid_ctrl = iopf_get16(config + pos + PCI_PASID_CTRL);
		break;
	}
}

static void read_config(struct iopf_pci *pci)
{
	__u8 config[PCI_CFG_SPACE_EXP_SIZE];
	unsigned int pos = PCI_CFG_SPACE_SIZE;
	unsigned int left;
	__u32 header;
	int len;

	len = iopf_read_bytes(config, sizeof(config), SYS_PCI "/%s/config",
			      pci->bdf);
	/*
	 * 64 bytes: we lack the right to see more. 256 bytes: there is no
	 * extended config space, or the kernel cannot reach it.
	 */
	if (len < PCI_CFG_SPACE_SIZE)
		return;
	pci->known |= IOPF_PCI_CONFIG;
	if (iopf_express_type(config) >= 0)
		pci->known |= IOPF_PCI_EXPRESS;
	if (len < (int)sizeof(config))
		return;
	pci->known |= IOPF_PCI_EXTENDED;
	for (left = sizeof(config) / 8; left; left--) {
		header = iopf_get32(config + pos);
		if (!header || header == ~0U)
			return;
		/* ATS, PRI and PASID capabilities have 16 bytes at most. */
		if (pos + 16 <= sizeof(config))
			read_capability(pci, config, PCI_EXT_CAP_ID(header),
					pos);
		pos = PCI_EXT_CAP_NEXT(header);
		if (pos < PCI_CFG_SPACE_SIZE)
			return;
	}
}

static int access_root(const char *name)
{
	char *path = iopf_path("%s", name);
	int ret = path ? access(path, R_OK | X_OK) : -1;

	free(path);
	return ret;
}

int iopf_pci_read(const char *text, struct iopf_pci *pci)
{
	char buf[64], bdf[16];
	char *path;
	int ret;

	/* The address may be the one in @pci. */
	ret = iopf_pci_bdf(text, bdf);
	memset(pci, 0, sizeof(*pci));
	pci->group = -1;
	if (ret)
		return ret;
	memcpy(pci->bdf, bdf, sizeof(bdf));
	path = iopf_path(SYS_PCI "/%s", pci->bdf);
	if (!path)
		return iopf_err(-ENOMEM, "out of memory");
	ret = access(path, F_OK) ? -errno : 0;
	free(path);
	if (ret == -ENOENT && !access_root(SYS_PCI))
		return iopf_err(-ENODEV,
				"there is no PCI device %s; lspci -D lists what there is",
				 pci->bdf);
	if (ret)
		return iopf_err(ret == -ENOENT ? -EIO : ret,
				SYS_PCI "/%s is not readable: %s; mount sysfs and run as root",
				 pci->bdf, strerror(-ret));

	pci->vendor = hex_file(pci->bdf, "vendor");
	pci->device = hex_file(pci->bdf, "device");
	pci->class_code = hex_file(pci->bdf, "class");
	pci->external = is_external(pci->bdf);
	iopf_read_link(pci->driver, sizeof(pci->driver), SYS_PCI "/%s/driver",
		       pci->bdf);
	iopf_read_link(pci->iommu, sizeof(pci->iommu), SYS_PCI "/%s/iommu",
		       pci->bdf);
	if (!iopf_read_link(buf, sizeof(buf), SYS_PCI "/%s/iommu_group",
			    pci->bdf))
		pci->group = atoi(buf);
	pci->virtfn = !iopf_read_link(buf, sizeof(buf), SYS_PCI "/%s/physfn",
				      pci->bdf);
	find_cdev(pci);
	read_config(pci);
	return 0;
}

static int is_function(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int iopf_pci_scan(int (*fn)(const struct iopf_pci *pci, void *arg), void *arg)
{
	struct dirent **list;
	struct iopf_pci pci;
	int i, nr, err, ret = 0;
	char *path;

	path = iopf_path(SYS_PCI);
	if (!path)
		return iopf_err(-ENOMEM, "out of memory");
	nr = scandir(path, &list, is_function, alphasort);
	err = -errno;
	free(path);
	/* A machine without PCI has no such folder; one without sysfs no bus. */
	if (nr < 0 && err == -ENOENT && !access_root("/sys/bus"))
		return 0;
	if (nr < 0)
		return iopf_err(err,
				SYS_PCI " is not readable: %s; mount sysfs and run as root",
				strerror(-err));
	err = 0;
	for (i = 0; i < nr; i++) {
		if (!ret) {
			int now = iopf_pci_read(list[i]->d_name, &pci);

			if (!now)
				ret = fn(&pci, arg);
			/* That it went away in the meantime is no error. */
			else if (now != -ENODEV)
				err = now;
		}
		free(list[i]);
	}
	free(list);
	return ret ? ret : err;
}

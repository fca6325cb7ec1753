// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: the trial, which is what counts. A page table with a fault queue
 * is attached to the device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

/* Write a line to a file of the device in sysfs. */
static int poke(const char *path, const char *text)
{
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = iopf_err(-errno, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

static int override(const struct iopf_pci *pci, const char *driver)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 pci->bdf);
	return poke(path, driver);
}

static int borrow(struct iopf_pci *pci)
{
	int ret;

	ret = override(pci, "vfio-pci");
	if (!ret)
		ret = poke("/sys/bus/pci/drivers_probe", pci->bdf);
	if (!ret)
		ret = iopf_pci_read(pci->bdf, pci);
	if (!ret && !pci->cdev[0])
		ret = iopf_err(-ENODEV,
			       "vfio-pci did not take %s; load it with 'modprobe vfio-pci'",
			       pci->bdf);
	return ret;
}

static void give_back(const struct iopf_pci *pci)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind",
		 pci->bdf);
	poke(path, pci->bdf);
	override(pci, "\n");
}

/* Are page requests on: 1 yes, 0 no, -1 not visible. */
static int requests_on(struct iopf_dev *dev)
{
	struct iopf_pci now;
	__u16 ctrl;
	int pos;

	if (!iopf_pci_read(iopf_dev_bdf(dev), &now) &&
	    now.known & IOPF_PCI_EXTENDED)
		return !!(now.pri_ctrl & PCI_PRI_CTRL_ENABLE);
	pos = iopf_dev_ext_cap(dev, PCI_EXT_CAP_ID_PRI);
	if (pos <= 0 || iopf_dev_config_read(dev, pos + PCI_PRI_CTRL, &ctrl,
					     sizeof(ctrl)))
		return -1;
	return !!(le16toh(ctrl) & PCI_PRI_CTRL_ENABLE);
}

static int try_attach(struct iopf_ctx *ctx, struct iopf_dev *dev, int *on)
{
	struct iopf_queue *queue;
	__u32 ioas_id, hwpt_id;
	int ret;

	ret = iopf_ioas_alloc(ctx, &ioas_id);
	if (ret)
		return ret;
	ret = iopf_queue_open(ctx, &queue);
	if (ret)
		goto destroy_ioas;
	ret = iopf_hwpt_alloc(ctx, iopf_dev_id(dev), ioas_id, queue, &hwpt_id);
	if (ret)
		goto close_queue;
	ret = iopf_dev_attach(dev, hwpt_id);
	if (!ret) {
		*on = requests_on(dev);
		iopf_dev_detach(dev);
	}
	iopf_destroy(ctx, hwpt_id);
close_queue:
	iopf_queue_close(queue);
destroy_ioas:
	iopf_destroy(ctx, ioas_id);
	return ret;
}

static int try_device(const char *bdf, struct iopf_hw_info *info, int *on)
{
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	int ret;

	ret = iopf_ctx_open(&ctx);
	if (ret)
		return ret;
	ret = iopf_dev_open(ctx, bdf, &dev);
	if (!ret) {
		ret = iopf_dev_hw_info(dev, info);
		if (!ret)
			ret = try_attach(ctx, dev, on);
		iopf_dev_close(dev);
	}
	iopf_ctx_close(ctx);
	return ret;
}

static void add_result(struct probe *p, int ret,
		       const struct iopf_hw_info *info, int on)
{
	if (ret) {
		p->tried = !probe_hidden(ret);
		probe_add(p, p->tried ? PROBE_NO : PROBE_UNKNOWN, "trial",
			  "%s", iopf_error());
		return;
	}
	p->tried = true;
	switch (on) {
	case 1:
		p->proven = true;
		probe_add(p, PROBE_OK, "trial",
			  "a page table with a fault queue was attached, and page requests were on (%u bits of PASID)",
			  info->pasid_bits);
		break;
	case 0:
		probe_add(p, PROBE_NO, "trial",
			  "a page table with a fault queue was attached, but page requests stayed off");
		break;
	default:
		probe_add(p, PROBE_UNKNOWN, "trial",
			  "a page table with a fault queue was attached; whether page requests were on is not visible, run as root");
	}
}

static bool may_try(struct probe *p)
{
	struct probe_link *link;
	const char *why;

	if (iopf_root()[0]) {
		why = "only a copy of a machine is looked at";
	} else if (p->no_try) {
		why = "--no-try";
	} else {
		if (p->pci.cdev[0] || (p->try && !p->pci.driver[0]))
			return true;
		why = "the device is not bound to vfio-pci";
	}
	link = probe_add(p, PROBE_UNKNOWN, "trial", "not made: %s", why);
	if (!iopf_root()[0] && !p->no_try && !p->pci.driver[0])
		probe_cure(link, "--try binds it to vfio-pci for the trial");
	return false;
}

void probe_trial(struct probe *p)
{
	struct iopf_hw_info info;
	bool borrowed = false;
	int on = -1, ret = 0;

	if (!may_try(p))
		return;
	if (!p->pci.cdev[0]) {
		ret = borrow(&p->pci);
		borrowed = true;
	}
	if (!ret)
		ret = try_device(p->pci.bdf, &info, &on);
	add_result(p, ret, &info, on);
	if (borrowed)
		give_back(&p->pci);
}

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
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

/* Write a line to a file of the device in sysfs. */
static int poke(const char *path, const char *text)
{
	int ret = iopf_write_file(text, "%s", path);

	return ret ? iopf_err(ret, "%s: %s", path, strerror(-ret)) : 0;
}

/* A device that vfio-pci has for the time of the trial. */
struct loan {
	char override[128];	/* what its driver_override was */
	sigset_t signals;	/* that were blocked before */
	bool made;
};

static void override_path(const struct iopf_pci *pci, char *path, size_t size)
{
	snprintf(path, size, "/sys/bus/pci/devices/%s/driver_override",
		 pci->bdf);
}

static int read_override(const char *path, char *text, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return iopf_err(-ENODEV, "%s cannot be read", path);
	text[len] = 0;
	/* The kernel shows "(null)" for none; an empty line sets none. */
	if (!strcmp(text, "(null)\n"))
		snprintf(text, size, "\n");
	return 0;
}

/* Nobody may end the program while a device is not as it was. */
static void block_signals(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, before);
}

static int borrow(struct iopf_pci *pci, struct loan *loan)
{
	char path[96];
	int ret;

	override_path(pci, path, sizeof(path));
	ret = read_override(path, loan->override, sizeof(loan->override));
	if (ret)
		return ret;
	block_signals(&loan->signals);
	loan->made = true;
	ret = poke(path, "vfio-pci");
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

static void give_back(const struct iopf_pci *pci, struct loan *loan)
{
	char path[96];

	if (!loan->made)
		return;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind",
		 pci->bdf);
	poke(path, pci->bdf);
	override_path(pci, path, sizeof(path));
	poke(path, loan->override);
	sigprocmask(SIG_SETMASK, &loan->signals, NULL);
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

void probe_hw(struct probe *p)
{
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	int ret;

	if (iopf_root()[0] || p->no_try || !p->pci.cdev[0])
		return;
	ret = iopf_ctx_open(&ctx);
	if (!ret) {
		ret = iopf_dev_open(ctx, p->pci.bdf, &dev);
		if (!ret) {
			ret = iopf_dev_hw_info(dev, &p->hw);
			iopf_dev_close(dev);
		}
		iopf_ctx_close(ctx);
	}
	p->hw_known = !ret;
	if (ret)
		snprintf(p->hw_error, sizeof(p->hw_error), "%s", iopf_error());
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
		if (probe_stalls(p)) {
			probe_add(p, PROBE_OK, "trial",
				  "a page table with a fault queue was attached to a device that stalls (%u bits of PASID)",
				  info->pasid_bits);
			break;
		}
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
	struct loan loan = { .made = false };
	int on = -1, ret = 0;

	if (!may_try(p))
		return;
	if (!p->pci.cdev[0])
		ret = borrow(&p->pci, &loan);
	if (!ret)
		ret = try_device(p->pci.bdf, &info, &on);
	/* Nothing is switched on in such a device. */
	if (probe_stalls(p))
		on = 1;
	add_result(p, ret, &info, on);
	give_back(&p->pci, &loan);
}

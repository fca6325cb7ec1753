// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: the links from a device's request to the program, as far as they
 * can be looked at without using them.
 *
 * Everything here tells "it is not there" from "it cannot be read": only the
 * first is an obstacle.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kconfig.h"
#include "probe.h"

#define SYS_PCI	"/sys/bus/pci/devices"

/* Members of a group that are named one by one. */
#define MAX_NAMED	8

struct probe_link *probe_add(struct probe *p, enum probe_state state,
			     const char *name, const char *fmt, ...)
{
	struct probe_link *link;
	va_list ap;

	if (p->nr == PROBE_LINKS)
		p->nr--;
	link = &p->link[p->nr++];
	memset(link, 0, sizeof(*link));
	link->name = name;
	link->state = state;
	va_start(ap, fmt);
	vsnprintf(link->text, sizeof(link->text), fmt, ap);
	va_end(ap);
	return link;
}

void probe_cure(struct probe_link *link, const char *fmt, ...)
{
	va_list ap;

	if (link->nr_cures == PROBE_CURES)
		return;
	va_start(ap, fmt);
	vsnprintf(link->cure[link->nr_cures++], sizeof(link->cure[0]), fmt,
		  ap);
	va_end(ap);
}

const char *probe_why(int err)
{
	static char text[128];

	switch (err) {
	case -ENOENT:
		return "not there";
	case -EACCES:
		return "not readable for this user; run as root";
	case -EPERM:
		return "not allowed, by kernel lockdown or another security module";
	}
	snprintf(text, sizeof(text), "not readable: %s", strerror(-err));
	return text;
}

bool probe_hidden(int err)
{
	switch (err) {
	case -EACCES:
	case -EBUSY:
	case -EINTR:
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
		return true;
	}
	return false;
}

/*
 * Why a symbolic link of the device in sysfs cannot be read: a negative errno,
 * or 0 if it can be read or is not there.
 */
static int unreadable(const char *bdf, const char *name)
{
	char buf[64];
	int ret;

	ret = iopf_read_link(buf, sizeof(buf), SYS_PCI "/%s/%s", bdf, name);
	return ret == -ENOENT ? 0 : ret;
}

static void kernel_release(char *buf, size_t size)
{
	struct utsname uts;

	if (iopf_read_file(buf, size, "/proc/sys/kernel/osrelease") > 0)
		return;
	uname(&uts);
	snprintf(buf, size, "%s", uts.release);
}

static void probe_kernel(struct probe *p)
{
	static const char * const want[] = {
		"IOMMUFD", "VFIO_DEVICE_CDEV", "VFIO_PCI", "IOMMU_IOPF",
	};
	struct probe_link *link;
	char missing[160] = "";
	char release[80];
	unsigned int i;
	size_t len = 0;

	kernel_release(release, sizeof(release));
	kconfig_load(release);
	if (!kconfig_known()) {
		probe_add(p, PROBE_UNKNOWN, "kernel",
			  "%s, its configuration is not visible in /proc/config.gz, /boot or /lib/modules",
			  release);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(want); i++)
		if (kconfig_option(want[i]) == 'n')
			len += snprintf(missing + len, sizeof(missing) - len,
					" CONFIG_%s", want[i]);
	for (i = 0; p->iommu && i < PROBE_OPTIONS && p->iommu->options[i]; i++)
		if (kconfig_option(p->iommu->options[i]) == 'n')
			len += snprintf(missing + len, sizeof(missing) - len,
					" CONFIG_%s", p->iommu->options[i]);
	if (len) {
		link = probe_add(p, PROBE_NO, "kernel", "%s without%s",
				 release, missing);
		probe_cure(link, "use a kernel with these options");
		return;
	}
	probe_add(p, PROBE_OK, "kernel", "%s with the options it takes",
		  release);
}

static void iommufd_failed(struct probe *p, int err)
{
	probe_add(p, probe_hidden(err) ? PROBE_UNKNOWN : PROBE_NO, "iommufd",
		  "%s", iopf_error());
}

static void probe_iommufd(struct probe *p)
{
	struct iopf_queue *queue;
	struct iopf_ctx *ctx;
	__u32 ioas_id;
	int ret;

	if (iopf_root()[0])
		return;
	ret = iopf_ctx_open(&ctx);
	if (ret) {
		iommufd_failed(p, ret);
		return;
	}
	ret = iopf_ioas_alloc(ctx, &ioas_id);
	if (!ret)
		ret = iopf_queue_open(ctx, &queue);
	if (ret) {
		iommufd_failed(p, ret);
		goto close;
	}
	iopf_queue_close(queue);
	probe_add(p, PROBE_OK, "iommufd",
		  "/dev/iommu opens and has fault queues");
close:
	iopf_ctx_close(ctx);
}

static const struct probe_iommu *iommu_kind(const char *name)
{
	static const struct probe_iommu * const kinds[] = {
		&probe_vtd, &probe_amd, &probe_smmu,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(name, kinds[i]->prefix,
			     strlen(kinds[i]->prefix)))
			return kinds[i];
	return NULL;
}

static void no_iommu(struct probe *p)
{
	struct probe_link *link;

	link = probe_add(p, PROBE_NO, "iommu",
			 "no IOMMU translates for this device");
	if (kcmdline_has("iommu", "off") || kcmdline_has("intel_iommu", "off") ||
	    kcmdline_has("amd_iommu", "off"))
		probe_cure(link,
			   "boot without iommu=off, intel_iommu=off and amd_iommu=off");
	else
		probe_cure(link,
			   "switch it on in the firmware; on Intel boot with intel_iommu=on,sm_on");
}

static void probe_iommu(struct probe *p)
{
	int err = unreadable(p->pci.bdf, "iommu");

	if (err)
		probe_add(p, PROBE_UNKNOWN, "iommu", "%s", probe_why(err));
	else if (!p->pci.iommu[0])
		no_iommu(p);
	else if (p->iommu)
		p->iommu->iommu(p);
	else
		probe_add(p, PROBE_UNKNOWN, "iommu",
			  "%s, of a kind that this program does not know",
			  p->pci.iommu);
}

bool probe_stalls(const struct probe *p)
{
	return p->iommu && p->iommu->stalls && p->iommu->stalls(&p->pci);
}

static const char *device_fault(const struct probe *p, const char **cure)
{
	const struct iopf_pci *pci = &p->pci;
	bool stalls = probe_stalls(p);
	const char *fault;

	*cure = "the device cannot do it; use another one";
	if (pci->virtfn) {
		*cure = "use the physical function: its PRI is shared by all functions";
		return "a virtual function";
	}
	if (!pci->ats && !stalls)
		return "no ATS capability";
	if (!pci->pri && !stalls)
		return "no PRI capability";
	fault = p->iommu && p->iommu->device ? p->iommu->device(pci, cure) :
					       NULL;
	if (fault || stalls)
		return fault;
	if (pci->external) {
		*cure = "put it into a port that is not external";
		return "behind an external port, the kernel does not trust its ATS";
	}
	if (kcmdline_has("pci", "noats")) {
		*cure = "boot without pci=noats";
		return "ATS is switched off";
	}
	return NULL;
}

/*
 * How much of config space can be read: a number of bytes or a negative errno.
 * @silent is set to whether it reads as ones, as that of a device that does not
 * answer.
 */
static int config_length(const char *bdf, bool *silent)
{
	unsigned char config[PCI_CFG_SPACE_EXP_SIZE];
	ssize_t n = 0, len = 0;
	char *path;
	int fd;

	*silent = false;
	path = iopf_path(SYS_PCI "/%s/config", bdf);
	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return -errno;
	while (len < (ssize_t)sizeof(config)) {
		n = read(fd, config + len, sizeof(config) - len);
		if (n <= 0)
			break;
		len += n;
	}
	if (n < 0)
		len = -errno;
	close(fd);
	if (len >= 4)
		*silent = !memcmp(config, "\xff\xff\xff\xff", 4);
	if (len > PCI_CFG_SPACE_SIZE + 4)
		*silent |= !memcmp(config + PCI_CFG_SPACE_SIZE,
				   "\xff\xff\xff\xff", 4);
	return len;
}

/* Returns true if all of config space was looked at. */
static bool config_visible(struct probe *p)
{
	const struct iopf_pci *pci = &p->pci;
	struct probe_link *link;
	bool silent;
	int len;

	len = config_length(pci->bdf, &silent);
	if (len < 0) {
		probe_add(p, PROBE_UNKNOWN, "device", "its config space: %s",
			  probe_why(len));
	} else if (silent) {
		link = probe_add(p, PROBE_UNKNOWN, "device",
				 "its config space reads as ones: the device does not answer");
		probe_cure(link, "wake or reset it, or rescan the bus");
	} else if (!(pci->known & IOPF_PCI_CONFIG)) {
		link = probe_add(p, PROBE_UNKNOWN, "device",
				 "its capabilities are not visible: %d bytes of config space are",
				 len);
		probe_cure(link,
			   "run as root, with CAP_SYS_ADMIN outside of any container");
	} else if (pci->known & IOPF_PCI_EXPRESS &&
		   !(pci->known & IOPF_PCI_EXTENDED)) {
		link = probe_add(p, PROBE_UNKNOWN, "device",
				 "its capabilities are not visible: the kernel cannot reach its extended config space");
		probe_cure(link,
			   "use a kernel with CONFIG_PCI_MMCONFIG, and firmware with an MCFG table");
	} else {
		return true;
	}
	return false;
}

static const char *on_off(unsigned int bit)
{
	return bit ? "on" : "off";
}

static void probe_device(struct probe *p)
{
	const struct iopf_pci *pci = &p->pci;
	const char *fault, *cure;
	char pasid[32] = "no PASID";
	struct probe_link *link;

	if (!config_visible(p))
		return;
	fault = device_fault(p, &cure);
	if (fault) {
		link = probe_add(p, PROBE_NO, "device", "%s", fault);
		probe_cure(link, "%s", cure);
		return;
	}
	if (probe_stalls(p)) {
		probe_add(p, PROBE_OK, "device",
			  "it stalls where others ask by ATS and PRI");
		return;
	}
	if (!kcmdline_known()) {
		probe_add(p, PROBE_UNKNOWN, "device",
			  "ATS and PRI are there, but /proc/cmdline is not, which may switch them off");
		return;
	}
	if (pci->pasid)
		snprintf(pasid, sizeof(pasid), "PASID %s (%u bits)",
			 on_off(pci->pasid_ctrl & PCI_PASID_CTRL_ENABLE),
			 pci->pasid_cap >> 8 & 0x1f);
	probe_add(p, PROBE_OK, "device", "ATS %s, PRI %s (%u requests), %s",
		  on_off(pci->ats_ctrl & PCI_ATS_CTRL_ENABLE),
		  on_off(pci->pri_ctrl & PCI_PRI_CTRL_ENABLE), pci->pri_max,
		  pasid);
	if (pci->pri_status & PCI_PRI_STATUS_RF)
		probe_add(p, PROBE_NOTE, "device",
			  "it got a Response Failure earlier; a reset clears that");
}

static void probe_driver(struct probe *p)
{
	const struct iopf_pci *pci = &p->pci;
	int err = unreadable(pci->bdf, "driver");
	struct probe_link *link;

	if (err) {
		probe_add(p, PROBE_UNKNOWN, "driver", "%s", probe_why(err));
		return;
	}
	if (pci->cdev[0]) {
		probe_add(p, PROBE_OK, "driver", "%s, %s", pci->driver,
			  pci->cdev);
		return;
	}
	if (strstr(pci->driver, "vfio")) {
		link = probe_add(p, PROBE_NO, "driver",
				 "%s, without a character device", pci->driver);
		probe_cure(link,
			   "use a kernel with CONFIG_VFIO_DEVICE_CDEV and without CONFIG_VFIO_NOIOMMU");
		return;
	}
	if (!pci->driver[0] && p->try) {
		probe_add(p, PROBE_NOTE, "driver",
			  "none, vfio-pci for the trial");
		return;
	}
	link = probe_add(p, PROBE_NO, "driver", "%s",
			 pci->driver[0] ? pci->driver : "none");
	probe_cure(link,
		   "as root: echo vfio-pci > /sys/bus/pci/devices/%s/driver_override",
		   pci->bdf);
	if (pci->driver[0])
		probe_cure(link,
			   "         echo %s > /sys/bus/pci/devices/%s/driver/unbind",
			   pci->bdf, pci->bdf);
	probe_cure(link,
		   "         modprobe vfio-pci; echo %s > /sys/bus/pci/drivers_probe",
		   pci->bdf);
}

/* Drivers that do no DMA of their own may stay in the group. */
static bool driver_is_harmless(const char *driver)
{
	return !driver[0] || strstr(driver, "vfio") ||
	       !strcmp(driver, "pci-stub") || !strcmp(driver, "pcieport");
}

/* How a member of the group belongs to the device. */
static const char *relation(const char *bdf, const char *name)
{
	const char *dot = strrchr(bdf, '.');

	if (!strncmp(bdf, name, dot - bdf + 1))
		return "another function of the same device";
	return "not kept apart by the bridges above";
}

/* Returns 1 if the member is in the way, -1 if that is not visible. */
static int look_at_member(struct probe *p, const char *name, bool named)
{
	int group = p->pci.group;
	struct probe_link *link;
	char driver[32];
	int ret;

	ret = iopf_read_link(driver, sizeof(driver),
			     "/sys/kernel/iommu_groups/%d/devices/%s/driver",
			     group, name);
	if (ret && ret != -ENOENT) {
		if (named)
			probe_add(p, PROBE_UNKNOWN, "group",
				  "%d has %s too; its driver is %s", group,
				  name, probe_why(ret));
		return -1;
	}
	if (driver_is_harmless(driver))
		return 0;
	if (named) {
		link = probe_add(p, PROBE_NO, "group",
				 "%d has %s too (%s), which belongs to %s",
				 group, name, relation(p->pci.bdf, name),
				 driver);
		snprintf(link->function, sizeof(link->function), "%.31s",
			 name);
		probe_cure(link,
			   "unbind %s from %s; all devices of a group go together",
			   name, driver);
	}
	return 1;
}

static int is_device(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void look_at_members(struct probe *p, struct dirent **list, int nr)
{
	unsigned int others = 0, bad = 0, hidden = 0;
	bool self = false;
	int i, ret;

	for (i = 0; i < nr; i++) {
		if (!strcmp(list[i]->d_name, p->pci.bdf)) {
			self = true;
			continue;
		}
		others++;
		ret = look_at_member(p, list[i]->d_name,
				     bad + hidden < MAX_NAMED);
		bad += ret > 0;
		hidden += ret < 0;
	}
	if (bad + hidden > MAX_NAMED)
		probe_add(p, bad ? PROBE_NO : PROBE_UNKNOWN, "group",
			  "%d has %u more devices that are in the way or hidden",
			  p->pci.group, bad + hidden - MAX_NAMED);
	else if (!self)
		probe_add(p, PROBE_UNKNOWN, "group",
			  "%d does not list the device itself", p->pci.group);
	else if (!bad && !hidden)
		probe_add(p, PROBE_OK, "group", "%d, %u other device%s",
			  p->pci.group, others, others == 1 ? "" : "s");
}

static void probe_group(struct probe *p)
{
	int err = unreadable(p->pci.bdf, "iommu_group");
	struct probe_link *link;
	struct dirent **list;
	char *path;
	int i, nr;

	if (err) {
		probe_add(p, PROBE_UNKNOWN, "group", "%s", probe_why(err));
		return;
	}
	if (p->pci.group < 0) {
		link = probe_add(p, PROBE_NO, "group",
				 "the device is in no IOMMU group");
		probe_cure(link, "see the line about the IOMMU");
		return;
	}
	errno = ENOMEM;
	path = iopf_path("/sys/kernel/iommu_groups/%d/devices", p->pci.group);
	nr = path ? scandir(path, &list, is_device, alphasort) : -1;
	err = -errno;
	free(path);
	if (nr < 0) {
		probe_add(p, PROBE_UNKNOWN, "group", "%d, its devices are %s",
			  p->pci.group, probe_why(err));
		return;
	}
	look_at_members(p, list, nr);
	for (i = 0; i < nr; i++)
		free(list[i]);
	free(list);
}

static void no_access(struct probe *p, const char *path, int err)
{
	struct probe_link *link;

	link = probe_add(p, err == EACCES || err == EPERM ? PROBE_UNKNOWN :
							    PROBE_NO,
			 "access", "%s: %s", path, strerror(err));
	if (err == ENOENT)
		probe_cure(link, "mount a devtmpfs or start udev");
	else
		probe_cure(link, "run as root, or: chown $USER %s", path);
}

static void probe_access(struct probe *p)
{
	struct rlimit limit;
	char path[64];

	if (!p->pci.cdev[0] || iopf_root()[0])
		return;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", p->pci.cdev);
	if (access(path, R_OK | W_OK)) {
		no_access(p, path, errno);
		return;
	}
	probe_add(p, PROBE_OK, "access", "%s", path);
	if (geteuid() && !getrlimit(RLIMIT_MEMLOCK, &limit) &&
	    limit.rlim_cur < 64 << 20)
		probe_add(p, PROBE_NOTE, "access",
			  "at most %llu KiB can be mapped; raise it with ulimit -l",
			  (unsigned long long)limit.rlim_cur >> 10);
}

/* Returns false if there is no such device, or that is not visible. */
static bool find_device(struct probe *p, const char *bdf)
{
	int ret;

	ret = iopf_pci_read(bdf, &p->pci);
	if (!ret)
		return true;
	probe_add(p, ret == -ENODEV ? PROBE_NO : PROBE_UNKNOWN, "device", "%s",
		  iopf_error());
	return false;
}

void probe_settle(struct probe *p)
{
	struct probe_link *link;
	size_t len;

	if (!p->proven)
		return;
	for (link = p->link; link < p->link + p->nr; link++) {
		if (link->state != PROBE_NO && link->state != PROBE_UNKNOWN)
			continue;
		len = strlen(link->text);
		snprintf(link->text + len, sizeof(link->text) - len,
			 link->state == PROBE_NO ? "; but the trial worked" :
			 "; the trial used it, and it worked");
		link->state = link->state == PROBE_NO ? PROBE_NOTE : PROBE_OK;
		link->nr_cures = 0;
		link->function[0] = 0;
	}
}

enum probe_verdict probe_verdict(const struct probe *p,
				 const struct probe_link **why)
{
	const struct probe_link *link;

	*why = NULL;
	for (link = p->link; link < p->link + p->nr; link++) {
		if (link->state == PROBE_NO) {
			*why = link;
			return PROBE_NOT_USABLE;
		}
		if (link->state == PROBE_UNKNOWN && !*why)
			*why = link;
	}
	return *why || !p->proven ? PROBE_NOT_KNOWN : PROBE_USABLE;
}

void probe_look(struct probe *p, const char *bdf)
{
	if (!find_device(p, bdf))
		return;
	p->iommu = iommu_kind(p->pci.iommu);
	probe_kernel(p);
	probe_iommufd(p);
	probe_hw(p);
	probe_iommu(p);
	probe_device(p);
	probe_driver(p);
	probe_group(p);
	probe_access(p);
	kconfig_free();
	probe_trial(p);
	probe_settle(p);
}

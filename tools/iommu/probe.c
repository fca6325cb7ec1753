// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: can this device use page faults, and if not, why.
 *
 * From the device request to the program there is a chain of links. Each is
 * looked at and gets a line; a broken one gets a second line with the cure.
 * At the end the thing is tried, which is what counts.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "common.h"
#include "kconfig.h"

static const char usage[] =
"Usage: iopf probe [OPTION]... [DEVICE]\n"
"Say link by link whether DEVICE can use page faults and what is in the way.\n"
"Without a DEVICE: list the devices that have PRI.\n"
"\n"
"  --try          try it even if no driver is bound to DEVICE: bind it to\n"
"                 vfio-pci for that time; with vfio-pci bound it is always tried\n"
"  --no-try       only look\n"
"  --root DIR     look at a copy of /sys, /proc and /boot in DIR, only look\n"
"  --help         this text\n"
"  --version      version\n"
"\n"
"Exit status: 0 usable, 1 not usable, 2 error.\n";

enum { OPT_TRY = 256, OPT_NO_TRY, OPT_ROOT };

static const struct option options[] = {
	{ "try", no_argument, NULL, OPT_TRY },
	{ "no-try", no_argument, NULL, OPT_NO_TRY },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

/* VT-d extended capability register */
#define ECAP_DT		BIT_ULL(2)	/* device TLB: ATS */
#define ECAP_PRS	BIT_ULL(29)	/* page requests */
#define ECAP_PDS	BIT_ULL(42)	/* page request drain */
#define ECAP_SMTS	BIT_ULL(43)	/* scalable mode */
/* AMD extended feature register */
#define EFR_PPR		BIT_ULL(1)	/* peripheral page requests */
/* ATS capability register: page aligned request */
#define ATS_CAP_PAGE_ALIGNED	BIT_ULL(5)

enum link { LINK_OK, LINK_NO, LINK_UNKNOWN, LINK_NOTE };

enum vendor { IOMMU_NONE, IOMMU_INTEL, IOMMU_AMD, IOMMU_ARM, IOMMU_OTHER };

struct probe {
	struct iopf_pci pci;
	bool try;
	bool no_try;
	enum vendor vendor;
	unsigned int broken;
	unsigned int unknown;
	char first[128];	/* name and text of the first broken link */
};

__printf(4, 5)
static void show(struct probe *p, enum link how, const char *name,
		 const char *fmt, ...)
{
	static const char * const mark[] = { "ok", "NO", "?", "note" };
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("  %-4s %-8s %s\n", mark[how], name, text);
	if (how == LINK_UNKNOWN)
		p->unknown++;
	if (how == LINK_NO && !p->broken++)
		snprintf(p->first, sizeof(p->first), "%s: %.100s", name, text);
}

__printf(1, 2) static void cure(const char *fmt, ...)
{
	va_list ap;

	printf("       -> ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static const char *vendor_option(enum vendor vendor)
{
	switch (vendor) {
	case IOMMU_INTEL:
		return "INTEL_IOMMU";
	case IOMMU_AMD:
		return "AMD_IOMMU";
	case IOMMU_ARM:
		return "ARM_SMMU_V3";
	default:
		return NULL;
	}
}

static void add_option(char *text, size_t size, const char *name)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, " CONFIG_%s", name);
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
	const char *vendor = vendor_option(p->vendor);
	char missing[128] = "";
	char release[80];
	unsigned int i;

	kernel_release(release, sizeof(release));
	if (!kconfig_known()) {
		show(p, LINK_UNKNOWN, "kernel",
		     "%s, its configuration is not visible", release);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(want); i++)
		if (kconfig_option(want[i]) == 'n')
			add_option(missing, sizeof(missing), want[i]);
	if (vendor && kconfig_option(vendor) == 'n')
		add_option(missing, sizeof(missing), vendor);
	if (missing[0]) {
		show(p, LINK_NO, "kernel", "%s without%s", release,
		     missing);
		cure("use a kernel with these options");
		return;
	}
	show(p, LINK_OK, "kernel", "%s with the options it takes", release);
}

static void probe_iommufd(struct probe *p)
{
	struct iopf_queue *queue;
	struct iopf_ctx *ctx;
	__u32 ioas_id;

	if (iopf_root()[0]) {
		show(p, LINK_UNKNOWN, "iommufd", "not looked at with --root");
		return;
	}
	if (iopf_ctx_open(&ctx)) {
		show(p, LINK_NO, "iommufd", "%s", iopf_error());
		return;
	}
	if (iopf_ioas_alloc(ctx, &ioas_id)) {
		show(p, LINK_NO, "iommufd", "%s", iopf_error());
		goto close;
	}
	if (iopf_queue_open(ctx, &queue)) {
		show(p, LINK_NO, "iommufd", "%s", iopf_error());
		goto close;
	}
	iopf_queue_close(queue);
	show(p, LINK_OK, "iommufd", "/dev/iommu opens and has fault queues");
close:
	iopf_ctx_close(ctx);
}

static enum vendor iommu_vendor(const char *name)
{
	if (!name[0])
		return IOMMU_NONE;
	if (!strncmp(name, "dmar", 4))
		return IOMMU_INTEL;
	if (!strncmp(name, "ivhd", 4))
		return IOMMU_AMD;
	if (!strncmp(name, "smmu3", 5))
		return IOMMU_ARM;
	return IOMMU_OTHER;
}

/* Intel scalable mode: 1 on, 0 off, -1 not visible. */
static int scalable_mode(void)
{
	if (kcmdline_has("intel_iommu", "sm_on"))
		return 1;
	if (kcmdline_has("intel_iommu", "sm_off"))
		return 0;
	switch (kconfig_option("INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON")) {
	case 'y':
		return 1;
	case 'n':
		return 0;
	}
	return -1;
}

static void probe_intel(struct probe *p)
{
	const char *name = p->pci.iommu;
	char buf[32], missing[96] = "";
	__u64 ecap;

	if (iopf_read_file(buf, sizeof(buf),
			   "/sys/class/iommu/%s/intel-iommu/ecap", name) <= 0) {
		show(p, LINK_UNKNOWN, "iommu",
		     "%s, Intel VT-d: no register values in sysfs", name);
		return;
	}
	ecap = strtoull(buf, NULL, 16);
	snprintf(missing, sizeof(missing), "%s%s%s%s",
		 ecap & ECAP_SMTS ? "" : ", no scalable mode",
		 ecap & ECAP_DT ? "" : ", no device TLB",
		 ecap & ECAP_PRS ? "" : ", no page requests",
		 ecap & ECAP_PDS ? "" : ", no page request drain");
	if (missing[0]) {
		show(p, LINK_NO, "iommu", "%s, Intel VT-d: %s (ecap %#llx)",
		     name, missing + 2, ecap);
		cure("use another machine, unless the firmware switches it off");
		return;
	}
	switch (scalable_mode()) {
	case 1:
		show(p, LINK_OK, "iommu",
		     "%s, Intel VT-d: scalable mode, ATS, page requests (ecap %#llx)",
		     name, ecap);
		return;
	case 0:
		show(p, LINK_NO, "iommu", "%s, Intel VT-d: scalable mode is off",
		     name);
		cure("boot with intel_iommu=on,sm_on");
		return;
	}
	show(p, LINK_UNKNOWN, "iommu",
	     "%s, Intel VT-d: has all; is scalable mode on? (intel_iommu=on,sm_on)",
	     name);
}

static void probe_amd(struct probe *p)
{
	char buf[64];
	__u64 efr;

	if (iopf_read_file(buf, sizeof(buf),
			   "/sys/class/iommu/%s/amd-iommu/features",
			   p->pci.iommu) <= 0) {
		show(p, LINK_UNKNOWN, "iommu",
		     "%s, AMD-Vi: no register values in sysfs", p->pci.iommu);
		return;
	}
	efr = strtoull(buf, NULL, 16);
	if (efr & EFR_PPR) {
		show(p, LINK_OK, "iommu",
		     "%s, AMD-Vi: page requests (efr %#llx)", p->pci.iommu, efr);
		return;
	}
	show(p, LINK_NO, "iommu", "%s, AMD-Vi: no page requests (efr %#llx)",
	     p->pci.iommu, efr);
	cure("use another machine, unless the firmware switches it off");
}

static void probe_iommu(struct probe *p)
{
	switch (p->vendor) {
	case IOMMU_INTEL:
		probe_intel(p);
		return;
	case IOMMU_AMD:
		probe_amd(p);
		return;
	case IOMMU_ARM:
		show(p, LINK_UNKNOWN, "iommu",
		     "%s, Arm SMMUv3: sysfs does not tell what it can do",
		     p->pci.iommu);
		return;
	case IOMMU_OTHER:
		show(p, LINK_UNKNOWN, "iommu", "%s, of an unknown kind",
		     p->pci.iommu);
		return;
	case IOMMU_NONE:
		break;
	}
	show(p, LINK_NO, "iommu", "no IOMMU translates for this device");
	if (kcmdline_has("iommu", "off") || kcmdline_has("intel_iommu", "off") ||
	    kcmdline_has("amd_iommu", "off"))
		cure("boot without iommu=off, intel_iommu=off and amd_iommu=off");
	else
		cure("switch it on in the firmware; on Intel boot with intel_iommu=on,sm_on");
}

static const char *device_fault(const struct probe *p, const char **help)
{
	const struct iopf_pci *pci = &p->pci;

	if ((pci->known & IOPF_PCI_EXPRESS) &&
	    !(pci->known & IOPF_PCI_EXTENDED)) {
		*help = "use a kernel with CONFIG_PCI_MMCONFIG, and firmware with an MCFG table";
		return "the kernel cannot reach its extended config space";
	}
	*help = "the device cannot do it; use another one";
	if (pci->virtfn) {
		*help = "use the physical function: its PRI is shared by all functions";
		return "a virtual function";
	}
	if (!pci->ats)
		return "no ATS capability";
	if (!pci->pri)
		return "no PRI capability";
	if (p->vendor == IOMMU_INTEL && !(pci->ats_cap & ATS_CAP_PAGE_ALIGNED))
		return "its translation requests are not page aligned";
	if (p->vendor == IOMMU_INTEL && pci->pasid_ctrl & PCI_PASID_CTRL_ENABLE &&
	    !(pci->pri_status & PCI_PRI_STATUS_PASID))
		return "its page responses take no PASID, but its PASID is enabled";
	if (pci->external) {
		*help = "put it into a port that is not external";
		return "behind an external port, the kernel does not trust its ATS";
	}
	if (kcmdline_has("pci", "noats")) {
		*help = "boot without pci=noats";
		return "ATS is switched off";
	}
	return NULL;
}

static void probe_device(struct probe *p)
{
	const struct iopf_pci *pci = &p->pci;
	const char *fault, *help;
	char pasid[32] = "no PASID";

	if (!(pci->known & IOPF_PCI_CONFIG)) {
		show(p, LINK_UNKNOWN, "device",
		     "its capabilities are not visible; run as root");
		return;
	}
	fault = device_fault(p, &help);
	if (fault) {
		show(p, LINK_NO, "device", "%s", fault);
		cure("%s", help);
		return;
	}
	if (pci->pasid)
		snprintf(pasid, sizeof(pasid), "PASID %s (%u bits)",
			 pci->pasid_ctrl & PCI_PASID_CTRL_ENABLE ? "on" : "off",
			 pci->pasid_cap >> 8 & 0x1f);
	show(p, LINK_OK, "device", "ATS %s, PRI %s (%u requests), %s",
	     pci->ats_ctrl & PCI_ATS_CTRL_ENABLE ? "on" : "off",
	     pci->pri_ctrl & PCI_PRI_CTRL_ENABLE ? "on" : "off",
	     pci->pri_max, pasid);
	if (pci->pri_status & PCI_PRI_STATUS_RF)
		show(p, LINK_NOTE, "device",
		     "it got a Response Failure earlier; a reset clears that");
}

static void probe_driver(struct probe *p)
{
	const struct iopf_pci *pci = &p->pci;

	if (pci->cdev[0]) {
		show(p, LINK_OK, "driver", "%s, %s", pci->driver, pci->cdev);
		return;
	}
	if (strstr(pci->driver, "vfio")) {
		show(p, LINK_NO, "driver", "%s, without a character device",
		     pci->driver);
		cure("use a kernel with CONFIG_VFIO_DEVICE_CDEV and without CONFIG_VFIO_NOIOMMU");
		return;
	}
	if (!pci->driver[0] && p->try) {
		show(p, LINK_NOTE, "driver", "none, vfio-pci for the trial");
		return;
	}
	show(p, LINK_NO, "driver", "%s",
	     pci->driver[0] ? pci->driver : "none");
	cure("as root: echo vfio-pci > /sys/bus/pci/devices/%s/driver_override",
	     pci->bdf);
	if (pci->driver[0])
		cure("         echo %s > /sys/bus/pci/devices/%s/driver/unbind",
		     pci->bdf, pci->bdf);
	cure("         modprobe vfio-pci; echo %s > /sys/bus/pci/drivers_probe",
	     pci->bdf);
}

/* Drivers that do no DMA of their own may stay in the group. */
static bool driver_is_harmless(const char *driver)
{
	return !driver[0] || strstr(driver, "vfio") ||
	       !strcmp(driver, "pci-stub") || !strcmp(driver, "pcieport");
}

static int is_device(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void probe_group(struct probe *p)
{
	unsigned int others = 0, bad = 0;
	struct dirent **list;
	char driver[32];
	char *path;
	int i, nr;

	if (p->pci.group < 0) {
		show(p, LINK_NO, "group", "the device is in no IOMMU group");
		cure("see the line about the IOMMU");
		return;
	}
	path = iopf_path("/sys/kernel/iommu_groups/%d/devices", p->pci.group);
	nr = path ? scandir(path, &list, is_device, alphasort) : -1;
	free(path);
	if (nr < 0) {
		show(p, LINK_UNKNOWN, "group", "%d, its devices are not visible",
		     p->pci.group);
		return;
	}
	for (i = 0; i < nr; i++) {
		const char *name = list[i]->d_name;

		others += strcmp(name, p->pci.bdf) != 0;
		iopf_read_link(driver, sizeof(driver),
			       "/sys/bus/pci/devices/%s/driver", name);
		if (strcmp(name, p->pci.bdf) && !driver_is_harmless(driver)) {
			show(p, LINK_NO, "group", "%d has %s too, which belongs to %s",
			     p->pci.group, name, driver);
			cure("unbind %s from %s; all devices of a group go together",
			     name, driver);
			bad++;
		}
		free(list[i]);
	}
	free(list);
	if (!bad)
		show(p, LINK_OK, "group", "%d, %u other device%s", p->pci.group,
		     others, others == 1 ? "" : "s");
}

static void probe_access(struct probe *p)
{
	struct rlimit limit;
	char path[64];

	if (!p->pci.cdev[0] || iopf_root()[0])
		return;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", p->pci.cdev);
	if (access(path, R_OK | W_OK)) {
		show(p, LINK_NO, "access", "%s: %s", path, strerror(errno));
		if (errno == ENOENT)
			cure("mount a devtmpfs or start udev");
		else
			cure("run as root, or: chown $USER %s", path);
		return;
	}
	show(p, LINK_OK, "access", "%s", path);
	if (geteuid() && !getrlimit(RLIMIT_MEMLOCK, &limit) &&
	    limit.rlim_cur < 64 << 20)
		show(p, LINK_NOTE, "access",
		     "at most %llu KiB can be mapped; raise it with ulimit -l",
		     (unsigned long long)limit.rlim_cur >> 10);
}

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

static int try_attach(struct iopf_ctx *ctx, struct iopf_dev *dev)
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
	if (!ret)
		iopf_dev_detach(dev);
	iopf_destroy(ctx, hwpt_id);
close_queue:
	iopf_queue_close(queue);
destroy_ioas:
	iopf_destroy(ctx, ioas_id);
	return ret;
}

static int try_device(const char *bdf, struct iopf_hw_info *info)
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
			ret = try_attach(ctx, dev);
		iopf_dev_close(dev);
	}
	iopf_ctx_close(ctx);
	return ret;
}

/* Returns true if the trial was made and went well. */
static bool probe_trial(struct probe *p)
{
	struct iopf_hw_info info;
	bool borrowed = false;
	int ret = 0;

	if (p->no_try || iopf_root()[0])
		return false;
	if (!p->pci.cdev[0]) {
		if (!p->try || p->pci.driver[0])
			return false;
		ret = borrow(&p->pci);
		borrowed = true;
	}
	if (!ret)
		ret = try_device(p->pci.bdf, &info);
	if (ret)
		show(p, LINK_NO, "trial", "%s", iopf_error());
	else
		show(p, LINK_OK, "trial",
		     "a page table with a fault queue was attached (%u bits of PASID)",
		     info.pasid_bits);
	if (borrowed)
		give_back(&p->pci);
	return !ret;
}

static int probe_one(struct probe *p)
{
	bool proven;

	p->vendor = iommu_vendor(p->pci.iommu);
	printf("%s [%04x:%04x] class %06x\n", p->pci.bdf, p->pci.vendor,
	       p->pci.device, p->pci.class_code);
	probe_kernel(p);
	probe_iommufd(p);
	probe_iommu(p);
	probe_device(p);
	probe_driver(p);
	probe_group(p);
	probe_access(p);
	proven = probe_trial(p);
	if (proven) {
		printf("%s: page faults are usable\n", p->pci.bdf);
		return CLI_OK;
	}
	if (p->broken) {
		printf("%s: page faults are not usable: %s\n", p->pci.bdf,
		       p->first);
		return CLI_NO;
	}
	printf("%s: nothing is in the way of page faults%s; not tried\n",
	       p->pci.bdf, p->unknown ? ", as far as visible" : "");
	return CLI_OK;
}

struct listing {
	unsigned int shown;
	unsigned int hidden;
};

static int list_one(const struct iopf_pci *pci, void *arg)
{
	struct listing *l = arg;

	if (!(pci->known & IOPF_PCI_CONFIG)) {
		l->hidden++;
		return 0;
	}
	if (!pci->pri)
		return 0;
	if (!l->shown++)
		printf("%-14s %-9s %-12s %-8s %-5s %-4s %-4s %s\n", "device",
		       "id", "driver", "iommu", "group", "ATS", "PRI", "PASID");
	printf("%-14s %04x:%04x %-12s %-8s %-5d %-4s %-4s %s\n", pci->bdf,
	       pci->vendor, pci->device,
	       pci->driver[0] ? pci->driver : "-",
	       pci->iommu[0] ? pci->iommu : "-", pci->group,
	       !pci->ats ? "-" :
	       pci->ats_ctrl & PCI_ATS_CTRL_ENABLE ? "on" : "off",
	       pci->pri_ctrl & PCI_PRI_CTRL_ENABLE ? "on" : "off",
	       !pci->pasid ? "-" :
	       pci->pasid_ctrl & PCI_PASID_CTRL_ENABLE ? "on" : "off");
	return 0;
}

static int probe_list(void)
{
	struct listing l = { 0 };

	iopf_pci_scan(list_one, &l);
	if (l.hidden) {
		cli_error("the capabilities of %u devices are not visible; run as root",
			  l.hidden);
		return l.shown ? CLI_OK : CLI_ERROR;
	}
	if (l.shown)
		return CLI_OK;
	printf("no device with PRI\n");
	return CLI_NO;
}

int cmd_probe(int argc, char **argv)
{
	struct probe p = { 0 };
	char release[80];
	int opt, ret;

	while ((opt = cli_getopt(argc, argv, "hV", options, usage)) != -1) {
		switch (opt) {
		case OPT_TRY:
			p.try = true;
			break;
		case OPT_NO_TRY:
			p.no_try = true;
			break;
		case OPT_ROOT:
			iopf_set_root(optarg);
			break;
		default:
			return opt ? CLI_ERROR : CLI_OK;
		}
	}
	if (p.try && (p.no_try || iopf_root()[0]))
		return cli_error("--try does not go with --no-try or --root");
	if (optind == argc)
		return probe_list();
	if (optind + 1 < argc)
		return cli_error("one device at a time");
	if (iopf_pci_read(argv[optind], &p.pci))
		return cli_lib_error();
	kernel_release(release, sizeof(release));
	kconfig_load(release);
	ret = probe_one(&p);
	kconfig_free();
	return ret;
}

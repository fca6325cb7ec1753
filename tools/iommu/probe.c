// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: can this device use page faults, and if not, why.
 *
 * Three verdicts: usable, not usable, not known. "Usable" is said only after a
 * trial that worked; what could not be looked at makes "not known".
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "probe.h"

static const char usage[] =
"Usage: iopf probe [OPTION]... [DEVICE]...\n"
"Say link by link whether DEVICE can use page faults and what is in the way.\n"
"Without a DEVICE: list the devices that have PRI.\n"
"\n"
"  --try          try it even if no driver is bound to DEVICE: bind it to\n"
"                 vfio-pci for that time; with vfio-pci bound it is always tried\n"
"  --no-try       only look; the verdict cannot be 'usable' then\n"
"  --json         print JSON\n"
"  --root DIR     look at a copy of /sys, /proc and /boot in DIR, only look\n"
"  --help, -h     this text\n"
"  --version, -V  version\n"
"\n"
"Exit status: 0 usable, 1 not usable, 2 not known, 64 wrong call. Of several\n"
"devices: 1 if one is not usable, else 2 if one is not known. Of a list: 0 if\n"
"there are devices with PRI, 1 if not, 2 if some devices could not be looked at.\n";

enum { OPT_TRY = 256, OPT_NO_TRY, OPT_JSON, OPT_ROOT };

static const struct option options[] = {
	{ "try", no_argument, NULL, OPT_TRY },
	{ "no-try", no_argument, NULL, OPT_NO_TRY },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ NULL, 0, NULL, 0 }
};

#define JSON_FORMAT	1

struct args {
	bool try;
	bool no_try;
	bool json;
};

static const char * const verdict_text[] = {
	[PROBE_USABLE] = "usable",
	[PROBE_NOT_USABLE] = "not usable",
	[PROBE_NOT_KNOWN] = "not known",
};

static const char * const state_text[] = {
	[PROBE_OK] = "ok",
	[PROBE_NO] = "no",
	[PROBE_UNKNOWN] = "unknown",
	[PROBE_NOTE] = "note",
};

static void print_link(struct probe_link *link, bool colour)
{
	static const char * const mark[] = { "ok", "NO", "?", "note" };
	static const char * const paint[] = { "32", "31", "33", "0" };
	unsigned int i;

	if (colour)
		printf("  \033[%sm%-4s\033[0m", paint[link->state],
		       mark[link->state]);
	else
		printf("  %-4s", mark[link->state]);
	printf(" %-8s %s\n", link->name, iopf_tame(link->text));
	for (i = 0; i < link->nr_cures; i++)
		printf("       -> %s\n", iopf_tame(link->cure[i]));
}

static void print_probe(struct probe *p, const char *bdf,
			enum probe_verdict verdict,
			const struct probe_link *why)
{
	bool colour = cli_colour(stdout);
	unsigned int i;

	if (p->pci.vendor)
		printf("%s [%04x:%04x] class %06x\n", bdf, p->pci.vendor,
		       p->pci.device, p->pci.class_code);
	for (i = 0; i < p->nr; i++)
		print_link(&p->link[i], colour);
	if (verdict == PROBE_USABLE)
		printf("%s: page faults are usable\n", bdf);
	else if (verdict == PROBE_NOT_USABLE)
		printf("%s: page faults are not usable: %s: %s\n", bdf,
		       why->name, why->text);
	else if (why && strcmp(why->name, "trial"))
		printf("%s: not known whether page faults are usable: %s: %s\n",
		       bdf, why->name, why->text);
	else
		printf("%s: nothing is seen in the way of page faults, but the trial was %s\n",
		       bdf, why ? why->text : "not made");
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

/* What "iopf probe" says of a device, and the list of them too. */
static void json_device(struct json *j, const char *bdf,
			const struct iopf_pci *pci)
{
	char id[16] = "", class[8] = "";

	if (pci->vendor) {
		snprintf(id, sizeof(id), "%04x:%04x", pci->vendor,
			 pci->device);
		snprintf(class, sizeof(class), "%06x", pci->class_code & 0xffffff);
	}
	json_string(j, "device", bdf);
	json_string(j, "id", or_null(id));
	json_string(j, "class", or_null(class));
	json_string(j, "driver", or_null(pci->driver));
	json_string(j, "iommu", or_null(pci->iommu));
	if (pci->group < 0)
		json_null(j, "group");
	else
		json_number(j, "group", pci->group);
}

static void json_link(struct json *j, const struct probe_link *link)
{
	unsigned int i;

	json_open(j, NULL, '{');
	json_string(j, "name", link->name);
	json_string(j, "state", state_text[link->state]);
	json_string(j, "text", link->text);
	json_string(j, "function", or_null(link->function));
	json_open(j, "cures", '[');
	for (i = 0; i < link->nr_cures; i++)
		json_string(j, NULL,
			    link->cure[i] + strspn(link->cure[i], " "));
	json_close(j, ']');
	json_close(j, '}');
}

static void json_probe(struct json *j, const struct probe *p, const char *bdf,
		       enum probe_verdict verdict,
		       const struct probe_link *why)
{
	unsigned int i;

	json_open(j, NULL, '{');
	json_device(j, bdf, &p->pci);
	json_string(j, "verdict", verdict_text[verdict]);
	json_string(j, "reason", why ? why->text : NULL);
	json_bool(j, "tried", p->tried);
	json_open(j, "links", '[');
	for (i = 0; i < p->nr; i++)
		json_link(j, &p->link[i]);
	json_close(j, ']');
	json_close(j, '}');
}

static int probe_devices(char **device, int nr, const struct args *a)
{
	struct json j = { .out = stdout };
	enum probe_verdict verdict, sum = PROBE_USABLE;
	const struct probe_link *why;
	static struct probe p;
	char bdf[16];
	int i;

	/* A wrong address is found before the first device is touched. */
	for (i = 0; i < nr; i++)
		if (iopf_pci_bdf(device[i], bdf))
			return cli_lib_wrong();
	if (a->json) {
		json_open(&j, NULL, '{');
		json_number(&j, "format", JSON_FORMAT);
		json_open(&j, "devices", '[');
	}
	for (i = 0; i < nr; i++) {
		iopf_pci_bdf(device[i], bdf);
		memset(&p, 0, sizeof(p));
		p.try = a->try;
		p.no_try = a->no_try;
		probe_look(&p, bdf);
		verdict = probe_verdict(&p, &why);
		if (a->json)
			json_probe(&j, &p, bdf, verdict, why);
		else
			print_probe(&p, bdf, verdict, why);
		if (sum != PROBE_NOT_USABLE && verdict != PROBE_USABLE)
			sum = verdict;
	}
	if (a->json) {
		json_close(&j, ']');
		json_close(&j, '}');
	}
	return sum;
}

struct listing {
	struct json *json;
	unsigned int shown;
	unsigned int hidden;
};

/* Whether a capability is on, off or missing. */
static const char *capability(unsigned int pos, unsigned int on)
{
	if (!pos)
		return NULL;
	return on ? "on" : "off";
}

static int list_one(const struct iopf_pci *pci, void *arg)
{
	const char *ats = capability(pci->ats,
				     pci->ats_ctrl & PCI_ATS_CTRL_ENABLE);
	const char *pri = capability(pci->pri,
				     pci->pri_ctrl & PCI_PRI_CTRL_ENABLE);
	const char *pasid = capability(pci->pasid, pci->pasid_ctrl &
				       PCI_PASID_CTRL_ENABLE);
	struct listing *l = arg;
	char driver[sizeof(pci->driver)];
	char iommu[sizeof(pci->iommu)];

	if (!(pci->known & IOPF_PCI_CONFIG) ||
	    (pci->known & IOPF_PCI_EXPRESS &&
	     !(pci->known & IOPF_PCI_EXTENDED))) {
		l->hidden++;
		return 0;
	}
	if (!pci->pri)
		return 0;
	l->shown++;
	if (l->json) {
		json_open(l->json, NULL, '{');
		json_device(l->json, pci->bdf, pci);
		json_string(l->json, "ats", ats);
		json_string(l->json, "pri", pri);
		json_string(l->json, "pasid", pasid);
		json_close(l->json, '}');
		return 0;
	}
	if (l->shown == 1)
		printf("%-14s %-9s %-12s %-8s %-5s %-4s %-4s %s\n", "device",
		       "id", "driver", "iommu", "group", "ATS", "PRI", "PASID");
	memcpy(driver, pci->driver, sizeof(driver));
	memcpy(iommu, pci->iommu, sizeof(iommu));
	printf("%-14s %04x:%04x %-12s %-8s %-5d %-4s %-4s %s\n", pci->bdf,
	       pci->vendor, pci->device,
	       driver[0] ? iopf_tame(driver) : "-",
	       iommu[0] ? iopf_tame(iommu) : "-", pci->group, ats ? ats : "-",
	       pri, pasid ? pasid : "-");
	return 0;
}

static int probe_list(const struct args *a)
{
	struct json j = { .out = stdout };
	struct listing l = { .json = a->json ? &j : NULL };
	int ret;

	if (a->json) {
		json_open(&j, NULL, '{');
		json_number(&j, "format", JSON_FORMAT);
		json_open(&j, "candidates", '[');
	}
	ret = iopf_pci_scan(list_one, &l);
	if (a->json) {
		json_close(&j, ']');
		json_number(&j, "hidden", l.hidden);
		json_close(&j, '}');
	}
	if (ret < 0)
		return cli_lib_error();
	if (l.hidden)
		return cli_error("the capabilities of %u device%s are not visible; run as root",
				 l.hidden, l.hidden == 1 ? "" : "s");
	if (!l.shown && !a->json)
		printf("no device with PRI\n");
	return l.shown ? CLI_OK : CLI_NO;
}

int cmd_probe(int argc, char **argv)
{
	struct args a = { 0 };
	int opt;

	while ((opt = cli_getopt(argc, argv, "", options, usage)) != -1) {
		switch (opt) {
		case OPT_TRY:
			a.try = true;
			break;
		case OPT_NO_TRY:
			a.no_try = true;
			break;
		case OPT_JSON:
			a.json = true;
			break;
		case OPT_ROOT:
			iopf_set_root(optarg);
			break;
		default:
			return opt ? CLI_USAGE : CLI_OK;
		}
	}
	if (a.try && (a.no_try || iopf_root()[0]))
		return cli_wrong("--try does not go with --no-try or --root");
	if (optind == argc)
		return probe_list(&a);
	return probe_devices(argv + optind, argc - optind, &a);
}

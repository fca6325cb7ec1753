// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf probe: what the device tree, the ACPI table IORT and the bridges above say about
 * a PCI device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "libiopf.h"
#include "probe-firmware.h"

#define SYS_PCI		"/sys/bus/pci/devices"
#define IORT		"/sys/firmware/acpi/tables/IORT"

/* Folders above a device in sysfs that are looked at */
#define MAX_ABOVE	40

/* The table IORT: its header, nodes, the root complex among them, and its mappings */
#define IORT_NODES	36
#define IORT_FIRST	40
#define IORT_MAX	0x100000
#define NODE_TYPE	0
#define   NODE_PCI_RC	2
#define NODE_LENGTH	1
#define NODE_MAPPINGS	8
#define NODE_MAPS_AT	12
#define RC_ATS		24
#define   RC_ATS_YES	1
#define RC_SEGMENT	28
#define RC_LENGTH	32
#define MAP_BASE	0
#define MAP_COUNT	4	/* less one */
#define MAP_LENGTH	20

/* Does a root complex have this requester? -EINVAL if it is damaged. */
static int maps_requester(const unsigned char *node, size_t length, __u32 rid)
{
	__u32 count = iopf_get32(node + NODE_MAPPINGS);
	__u32 at = iopf_get32(node + NODE_MAPS_AT);
	const unsigned char *map;
	__u32 i;

	if (!count)
		return 0;
	if (at > length || count > (length - at) / MAP_LENGTH)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		map = node + at + i * MAP_LENGTH;
		if (rid >= iopf_get32(map + MAP_BASE) &&
		    rid - iopf_get32(map + MAP_BASE) <= iopf_get32(map + MAP_COUNT))
			return 1;
	}
	return 0;
}

int probe_iort_ats(const unsigned char *table, size_t length, const char *bdf)
{
	unsigned int segment, bus, slot, function;
	size_t at, size;
	__u32 left;
	int ret;

	if (sscanf(bdf, "%x:%x:%x.%u", &segment, &bus, &slot, &function) != 4)
		return -EINVAL;
	if (length < IORT_FIRST + 4 || memcmp(table, "IORT", 4))
		return -EINVAL;
	at = iopf_get32(table + IORT_FIRST);
	for (left = iopf_get32(table + IORT_NODES); left; left--, at += size) {
		const unsigned char *node = table + at;

		if (at > length || length - at < 16)
			return -EINVAL;
		size = iopf_get16(node + NODE_LENGTH);
		if (size < 16 || size > length - at)
			return -EINVAL;
		if (node[NODE_TYPE] != NODE_PCI_RC)
			continue;
		if (size < RC_LENGTH)
			return -EINVAL;
		if (iopf_get32(node + RC_SEGMENT) != segment)
			continue;
		ret = maps_requester(node, size,
				     bus << 8 | slot << 3 | function);
		if (ret < 0)
			return ret;
		if (ret)
			return !!(iopf_get32(node + RC_ATS) & RC_ATS_YES);
	}
	return -ENOENT;
}

static int iort_ats(const char *bdf, char *where, size_t size)
{
	unsigned char *table;
	int length;

	snprintf(where, size, "the ACPI table IORT");
	table = malloc(IORT_MAX);
	if (!table)
		return -ENOMEM;
	length = iopf_read_bytes(table, IORT_MAX, IORT);
	if (length >= 0)
		length = probe_iort_ats(table, length, bdf);
	free(table);
	return length;
}

/* The path of the folder so many above a device, with a file in it. */
static void above(char *path, size_t size, const char *bdf, unsigned int nr,
		  const char *file)
{
	size_t len;

	len = snprintf(path, size, SYS_PCI "/%s", bdf);
	while (nr-- && len < size)
		len += snprintf(path + len, size - len, "/..");
	if (len < size)
		snprintf(path + len, size - len, "/%s", file);
}

static bool is_there(const char *name)
{
	char *path = iopf_path("%s", name);
	bool there = path && !access(path, F_OK);

	free(path);
	return there;
}

int probe_firmware_ats(const char *bdf, char *where, size_t size)
{
	char path[256], *name;
	unsigned int nr;

	if (!is_there("/sys/firmware/devicetree/base"))
		return iort_ats(bdf, where, size);
	/* The host bridge is the first above that is no PCI function. */
	for (nr = 1; nr < MAX_ABOVE; nr++) {
		above(path, sizeof(path), bdf, nr, "config");
		if (is_there(path))
			continue;
		above(path, sizeof(path), bdf, nr, "of_node");
		if (!is_there(path))
			continue;
		name = path + strlen(path);
		snprintf(name, path + sizeof(path) - name, "/ats-supported");
		snprintf(where, size, "the device tree's node of the host bridge");
		return is_there(path);
	}
	snprintf(where, size, "the device tree");
	return -ENOENT;
}

bool probe_firmware_aliased(const char *bdf)
{
	unsigned char config[PCI_CFG_SPACE_SIZE];
	char path[256];
	unsigned int nr;
	int type;

	for (nr = 1; nr < MAX_ABOVE; nr++) {
		above(path, sizeof(path), bdf, nr, "config");
		memset(config, 0, sizeof(config));
		if (iopf_read_bytes(config, PCI_CFG_SPACE_SIZE, "%s", path) <
		    PCI_CFG_SPACE_SIZE)
			return false;
		type = iopf_express_type(config);
		if (type < 0 || type == PCI_EXP_TYPE_PCI_BRIDGE)
			return true;
	}
	return false;
}

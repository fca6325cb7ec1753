/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * iopf probe: what firmware says about the way from a PCI device to the IOMMU.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_PROBE_FIRMWARE_H
#define IOPF_PROBE_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * probe_firmware_ats - may devices of a root complex use ATS
 * @bdf: PCI address of a device below it
 * @where: set to who says so, or could not be read
 * @size: size of @where
 *
 * Return: 1 yes, 0 no, negative errno if it is not visible.
 */
int probe_firmware_ats(const char *bdf, char *where, size_t size);

/**
 * probe_iort_ats - the same, of an ACPI table
 * @table: table IORT
 * @length: bytes of it
 * @bdf: PCI address
 *
 * Return: 1 yes, 0 no, -ENOENT if there is no root complex for the device, -EINVAL if
 * the table is damaged.
 */
int probe_iort_ats(const unsigned char *table, size_t length, const char *bdf);

/**
 * probe_firmware_aliased - do requests of a device arrive with another number
 * @bdf: PCI address
 *
 * Return: true if a bridge to conventional PCI is above it.
 */
bool probe_firmware_aliased(const char *bdf);

#endif /* IOPF_PROBE_FIRMWARE_H */

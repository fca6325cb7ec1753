/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Configuration and command line of the running kernel, as far as it shows
 * them.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_KCONFIG_H
#define IOPF_KCONFIG_H

#include <stdbool.h>

/**
 * kconfig_load - read the configuration and the command line
 * @release: kernel release, as uname -r says
 *
 * Looks at /proc/config.gz, /boot and /lib/modules below iopf_root().
 */
void kconfig_load(const char *release);

/**
 * kconfig_free - forget what kconfig_load() read
 */
void kconfig_free(void);

/**
 * kconfig_known - is the configuration visible
 *
 * Return: true if it is.
 */
bool kconfig_known(void);

/**
 * kconfig_option - look an option up
 * @name: name without CONFIG_
 *
 * Return: 'y', 'm', 'n', or '?' when the configuration is not visible.
 */
char kconfig_option(const char *name);

/**
 * kcmdline_known - is the kernel command line visible
 *
 * Return: true if it is.
 */
bool kcmdline_known(void);

/**
 * kcmdline_has - look for a word on the kernel command line
 * @option: name before the equal sign
 * @value: one of the values in the list after it, separated by commas, or NULL
 *	   for an option without a value
 *
 * Return: true if it is there.
 */
bool kcmdline_has(const char *option, const char *value);

#endif /* IOPF_KCONFIG_H */

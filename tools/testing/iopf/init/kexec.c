// SPDX-License-Identifier: GPL-2.0-only
/*
 * A second kernel, which goes on with the plan
 *
 * It is the machine's own kernel, with the machine's own initramfs, and is told the
 * number of the step that has booted it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

#define KERNEL		"/boot/kernel"
/* The initramfs of this kernel; needs retain_initrd on the command line */
#define INITRD		"/sys/firmware/initrd"
#define CMDLINE		"/proc/cmdline"
#define BEFORE		" iopf.before="

#define MAX_CMDLINE	2048

/* The step by which this kernel was booted, or 0 if it is the first one */
unsigned int step_before(void)
{
	char line[MAX_CMDLINE];
	char *found;

	if (read_file(CMDLINE, line, sizeof(line)))
		return 0;
	found = strstr(line, BEFORE);
	return found ? strtoul(found + strlen(BEFORE), NULL, 10) : 0;
}

static enum outcome load_kernel(const char *cmdline, char *why)
{
	int kernel = open(KERNEL, O_RDONLY | O_CLOEXEC);
	int initrd = open(INITRD, O_RDONLY | O_CLOEXEC);
	enum outcome outcome = PASS;

	if (kernel < 0 || initrd < 0)
		outcome = fail(why, "%s: %s", kernel < 0 ? KERNEL : INITRD,
			       strerror(errno));
	else if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(cmdline) + 1,
			 cmdline, 0))
		outcome = fail(why, "cannot load the kernel: %s", strerror(errno));
	if (kernel >= 0)
		close(kernel);
	if (initrd >= 0)
		close(initrd);
	return outcome;
}

enum outcome run_kexec(struct step *step, char *why)
{
	char line[MAX_CMDLINE], next[MAX_CMDLINE + 32];
	enum outcome outcome;
	char *end;
	int err;

	err = read_file(CMDLINE, line, sizeof(line));
	if (err)
		return fail(why, "%s: %s", CMDLINE, strerror(-err));
	/* This kernel may have such an option already; step_before() finds the first. */
	end = strstr(line, BEFORE);
	if (end)
		*end = '\0';
	snprintf(next, sizeof(next), "%s" BEFORE "%u", line, step->nr);
	/* This kernel does not get to the end of the plan, where taint is looked at. */
	outcome = run_taint(step, why);
	if (outcome == PASS)
		outcome = load_kernel(next, why);
	if (outcome == PASS)
		outcome = run_test(step, why);
	return outcome == PASS ? fail(why, "the program has not booted the kernel") : outcome;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Announce what a test makes the kernel complain of
 *
 * A testbed that watches the console fails on a kernel that reports DMA faults,
 * but some tests are about just that. They announce it in the kernel's log, where
 * the marks stay in order with the messages (tools/testing/iopf/lanes/README).
 * Without the right to write there nothing is announced.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_CONSOLE_H
#define IOPF_CONSOLE_H

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static inline void write_console_mark(const char *mark, const char *pattern)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[512];
	int len;

	if (fd < 0)
		return;
	/* not dprintf(), which wants to know where in the file it is */
	len = snprintf(line, sizeof(line), "<6>iopf: %s%s\n", mark, pattern);
	if (write(fd, line, len) != len)
		perror("# /dev/kmsg");
	close(fd);
}

/*
 * Run on each CPU once: an interrupt that was pending there has been taken then,
 * and what its handler had to say is in the log.
 */
static inline void take_pending_interrupts(void)
{
	cpu_set_t all, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	sched_setaffinity(0, sizeof(all), &all);
}

/*
 * From here on the kernel may print lines that match @pattern, an extended
 * regular expression. Several may be announced.
 */
static inline void expect_on_console(const char *pattern)
{
	take_pending_interrupts();
	write_console_mark("expect from here: ", pattern);
}

/* Only what has happened up to here is excused. */
static inline void expect_no_more_on_console(void)
{
	take_pending_interrupts();
	write_console_mark("expect to here", "");
}

/*
 * DMA faults of one device as VT-d's driver logs them. @bdf without its domain,
 * @pasid, @addr: patterns, the latter without 0x; @reason: as the hardware
 * numbers it.
 */
static inline void expect_vtd_faults(const char *bdf, const char *pasid,
				     const char *addr, unsigned int reason)
{
	char pattern[256];

	/* a line by itself before each fault */
	expect_on_console("^DMAR: DRHD: handling fault status reg");
	snprintf(pattern, sizeof(pattern),
		 "^DMAR: .DMA (Read|Write) %s. Request device .(0000:)?%s. fault addr 0x%s .fault reason %#x",
		 pasid, bdf, addr, reason);
	expect_on_console(pattern);
}

#endif /* IOPF_CONSOLE_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a piece of a program costs: the system calls that it makes, and where the clock
 * tells that, the instructions of program and kernel.
 *
 * Both at a time would count the counting: a system call that is counted costs many
 * instructions.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_COST_H
#define IOPF_COST_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * Count the system calls of this thread from here on. Each is carried out all the same.
 * 0, or a negative errno if they cannot be counted, with iopf_error().
 */
int calls_begin(void);

/* How many there were. Not counted any more. */
unsigned int calls_end(void);

/*
 * Is the clock a count of instructions? QEMU with one processor and -icount shift=0 has
 * such a one. Found out by loops of known lengths: true only if each is told exactly.
 */
bool counts_instructions(void);

/* That clock; 0 where there is none */
static inline __u64 instructions(void)
{
#ifdef __x86_64__
	__u32 low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (__u64)high << 32 | low;
#else
	return 0;
#endif
}

#endif /* IOPF_COST_H */

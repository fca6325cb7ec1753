// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls are counted by syscall user dispatch: each is a signal, whose handler
 * carries it out.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "../kselftest.h"

#include "iopf_cost.h"
#include "libiopf.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define DISPATCH_OFF	0
#define DISPATCH_ON	1

/* What the kernel reads at each system call */
#define LET_THROUGH	0
#define STOP		1

#ifdef __x86_64__

/* For the kernel, without the C library's own return from a signal */
#define RESTORER	0x04000000UL

struct kernel_sigaction {
	void (*handler)(int sig, siginfo_t *info, void *context);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

/* The return of the handler: a system call that is never stopped */
#define RETURN_SIZE	7

__attribute__((naked)) static void return_from_handler(void)
{
	asm volatile("movl $15, %eax\n"	/* 5 bytes, rt_sigreturn */
		     "syscall\n"	/* 2 */
		     "ud2\n");
}

static char dispatch;
static unsigned int calls;

static void stop_calls(char what)
{
	__atomic_store_n(&dispatch, what, __ATOMIC_SEQ_CST);
}

static void count_call(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	int saved = errno;
	long ret;

	calls++;
	stop_calls(LET_THROUGH);
	ret = syscall(info->si_syscall, reg[REG_RDI], reg[REG_RSI], reg[REG_RDX],
		      reg[REG_R10], reg[REG_R8], reg[REG_R9]);
	reg[REG_RAX] = ret == -1 ? -errno : ret;
	errno = saved;
	stop_calls(STOP);
}

int calls_begin(void)
{
	const struct kernel_sigaction action = {
		.handler = count_call,
		.flags = SA_SIGINFO | RESTORER,
		.restorer = return_from_handler,
	};

	/* Not of a parent: a child of fork() counts none. */
	if (syscall(SYS_rt_sigaction, SIGSYS, &action, NULL, sizeof(action.mask)) ||
	    prctl(PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_ON, return_from_handler,
		  RETURN_SIZE + 1, &dispatch))
		return iopf_err(-errno, "system calls cannot be counted: %s",
				strerror(errno));
	calls = 0;
	stop_calls(STOP);
	return 0;
}

unsigned int calls_end(void)
{
	stop_calls(LET_THROUGH);
	prctl(PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_OFF, 0, 0, 0);
	return calls;
}

/* By the clock, what a loop of 1 + 2 * @turns instructions takes at least */
static __u64 loop(unsigned int turns)
{
	__u64 lowest = ~0ULL, now;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		__u32 left;

		now = instructions();
		asm volatile("movl %1, %0\n"
			     "1:	decl %0\n"
			     "	jnz 1b"
			     : "=&r" (left) : "r" (turns) : "cc");
		now = instructions() - now;
		if (now < lowest)
			lowest = now;
	}
	return lowest;
}

bool counts_instructions(void)
{
	static const unsigned int turns[] = { 101, 1009, 2003, 5003 };
	__u64 first = loop(1);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(turns); i++)
		if (loop(turns[i]) - first != 2ULL * (turns[i] - 1))
			return false;
	return true;
}

#else /* !__x86_64__ */

int calls_begin(void)
{
	return iopf_err(-EOPNOTSUPP, "system calls are counted on x86-64 only");
}

unsigned int calls_end(void)
{
	return 0;
}

bool counts_instructions(void)
{
	return false;
}

#endif

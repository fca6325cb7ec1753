/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Have the kernel work off page requests late
 *
 * The thread that does it is kept off the processor by another one with a higher
 * priority. What has to wait for the requests then does, for as long as the test
 * wants, and what does not comes to its end, which is how a test sees that it
 * does not.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_LATE_H
#define IOPF_LATE_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iopf_endpoint.h"

/* The CPU that is kept busy; threads of queues are brought there. */
#define LATE_CPU	0

struct late {
	pid_t spinner;
	cpu_set_t before;
};

static inline void late_cpus(cpu_set_t *set, bool late)
{
	int cpu;

	CPU_ZERO(set);
	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		if (late ? cpu == LATE_CPU : cpu != LATE_CPU)
			CPU_SET(cpu, set);
}

/* The name of an interrupt's thread, or false if @pid is something else */
static inline bool late_irq_name(const char *pid, char *name, int size)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(name, size, f))
		name[0] = 0;
	fclose(f);
	return !strncmp(name, "irq/", 4);
}

/* Is it that of an IOMMU's queue of page requests, or of accesses that it holds? */
static inline bool late_is_queue(const char *name)
{
	const char *amd = strstr(name, "-AMD-Vi");
	int irq, iommu;

	if (strstr(name, "-arm-smmu-v3-priq") ||
	    strstr(name, "-arm-smmu-v3-evtq"))
		return true;
	/* One thread for all logs of AMD-Vi, or one for each */
	if (amd)
		return !strchr(amd + 1 + strlen("AMD-Vi"), '-') ||
		       strstr(amd, "-PPR");
	return sscanf(name, "irq/%d-dmar%d", &irq, &iommu) == 2 &&
	       strstr(name, "-pr");
}

/*
 * The queues' threads come to the busy CPU, those of other interrupts leave it: a
 * driver that goes waits for its thread's end.
 */
static inline int late_move_threads(void)
{
	struct dirent *entry;
	char name[32];
	cpu_set_t set;
	int nr = 0;
	bool queue;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (!isdigit(entry->d_name[0]) ||
		    !late_irq_name(entry->d_name, name, sizeof(name)))
			continue;
		queue = late_is_queue(name);
		late_cpus(&set, queue);
		if (!sched_setaffinity(atoi(entry->d_name), sizeof(set), &set) &&
		    queue)
			nr++;
	}
	closedir(dir);
	return nr ? 0 : -ENOENT;
}

static inline void late_spin(int ready)
{
	struct sched_param param = { .sched_priority = 90 };
	cpu_set_t set;
	char ok = 0;

	late_cpus(&set, true);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!sched_setaffinity(0, sizeof(set), &set) &&
	    !sched_setscheduler(0, SCHED_FIFO, &param))
		ok = 1;
	if (write(ready, &ok, 1) != 1 || !ok)
		_exit(1);
	/* The device must not stay open in here. */
	syscall(SYS_close_range, 3, ~0U, 0);
	for (;;)
		;
}

static inline void late_end(struct late *late)
{
	if (late->spinner <= 0)
		return;
	kill(late->spinner, SIGKILL);
	waitpid(late->spinner, NULL, 0);
	late->spinner = 0;
	sched_setaffinity(0, sizeof(late->before), &late->before);
}

/* From now on no page request is worked off, until late_end(). */
static inline int late_begin(struct late *late)
{
	cpu_set_t set;
	int fds[2], ret;
	char ok = 0;

	late->spinner = 0;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 ||
	    access("/proc/self/stack", R_OK))
		return iopf_err(-ENOENT, "takes two CPUs and /proc/PID/stack");
	ret = late_move_threads();
	if (ret)
		return iopf_err(ret, "no queue's thread can be moved");
	if (sched_getaffinity(0, sizeof(late->before), &late->before) ||
	    pipe(fds))
		return iopf_err(-errno, "%s", strerror(errno));
	late->spinner = fork();
	if (!late->spinner)
		late_spin(fds[1]);
	close(fds[1]);
	late_cpus(&set, false);
	if (late->spinner < 0 || read(fds[0], &ok, 1) != 1 || !ok ||
	    sched_setaffinity(0, sizeof(set), &set))
		ret = iopf_err(-EPERM, "no CPU can be kept busy");
	close(fds[0]);
	if (ret)
		late_end(late);
	return ret;
}

/* Whether late_begin() failed because this machine cannot do it. */
static inline bool late_cannot(int ret)
{
	return ret == -ENOENT || ret == -EPERM;
}

/* Does the process sleep in the kernel's wait for requests in a queue? */
static inline bool late_waits(pid_t pid)
{
	char path[64], line[256];
	bool waits = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!waits && fgets(line, sizeof(line), f))
		waits = strstr(line, " iopf_hwq_wait");
	fclose(f);
	return waits;
}

/*
 * Call @func in a child, and return when it waits for the queue. If it ends
 * before that it has not waited, which is an error.
 */
static inline int late_call(pid_t *pid, int (*func)(struct endpoint *ep),
			    struct endpoint *ep)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	siginfo_t info = { 0 };

	*pid = fork();
	if (*pid < 0)
		return iopf_err(-errno, "fork: %s", strerror(errno));
	if (!*pid)
		_exit(func(ep) ? 1 : 0);
	while (!late_waits(*pid)) {
		if (!waitid(P_PID, *pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid)
			return iopf_err(-EIO, "it has not waited for requests in the queue");
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "it neither waits nor ends");
		nap();
	}
	return 0;
}

/* How the call has ended */
static inline int late_result(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		return iopf_err(-EIO, "the call has failed");
	return 0;
}

/* Call @func while no page request is worked off, and have them worked off then. */
static inline int late_through(struct late *late,
			       int (*func)(struct endpoint *ep),
			       struct endpoint *ep)
{
	pid_t pid;
	int ret;

	ret = late_call(&pid, func, ep);
	late_end(late);
	return ret ?: late_result(pid);
}

#endif /* IOPF_LATE_H */

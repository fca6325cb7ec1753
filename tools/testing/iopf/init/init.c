// SPDX-License-Identifier: GPL-2.0-only
/*
 * Process 1 of a test machine
 *
 * Reads a plan from the initramfs, does its steps one after the other and
 * reports them as KTAP version 1 on the virtio-serial port named
 * org.linux-iopf.ktap, or on the console with each line marked when the machine
 * has no such port. Powers the machine off at the end.
 *
 * Each line of the plan is a step, words are separated by blanks:
 *
 *	timeout SECONDS			limit for each of the steps that follow
 *	bind DRIVER VENDOR:DEVICE [N]	give all PCI devices of that id (there must
 *					be N of them if N is given) to DRIVER
 *	insmod PATH [PARAMETER]...	load a module
 *	sysctl NAME VALUE		set, and see that the kernel took it
 *	write PATH VALUE		write to a file of procfs, sysfs, debugfs
 *	need PATH			fail unless PATH exists
 *	test NAME PROGRAM [ARG]...	run a program; its KTAP becomes a subtest
 *	demo PROGRAM [ARG]...		run a program; its output is for a person
 *	kexec NAME PROGRAM [ARG]...	load the machine's own kernel and initramfs, and
 *					run a program that boots them by reboot();
 *					the steps that follow are done there
 *	kunit SUITE			report a KUnit suite that ran at boot
 *	shell				interactive shell on the console
 *
 * Before that it loads the modules that PRELOAD_FILE names: a path a line, in that
 * order, with parameters behind it. A kernel that has the results port or its
 * devices' drivers as modules needs them before there is anybody to report to.
 *
 * Every step but "timeout" and "shell" makes one result line. Two results are
 * added at the end: "kmemleak" when the kernel has it, and "taint". The line
 * END_MARK follows when all was done.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define PLAN_FILE	"/etc/iopf/plan"
#define END_MARK	"# iopf: end"

#define MAX_STEPS	256
#define MAX_PLAN_LINE	2048
#define DEFAULT_LIMIT	300	/* seconds for a step */

static struct step steps[MAX_STEPS];
static unsigned int nr_steps;

static const struct verb {
	const char *name;
	int min_args;
	int program;		/* index of the program in argv, 0: none */
	bool named;		/* argv[1] is the name of the result */
	enum outcome (*run)(struct step *step, char *why);
} verbs[] = {
	{ "bind", 2, 0, false, run_bind },
	{ "insmod", 1, 0, false, run_insmod },
	{ "sysctl", 2, 0, false, run_sysctl },
	{ "write", 2, 0, false, run_write },
	{ "need", 1, 0, false, run_need },
	{ "test", 2, 2, true, run_test },
	{ "demo", 1, 1, false, run_demo },
	{ "kexec", 2, 2, true, run_kexec },
	{ "kunit", 1, 0, false, run_kunit },
	{ "shell", 0, 0, false, run_shell },
};

/* Name of the result: the words of the step, without '#', which KTAP interprets. */
static void name_step(struct step *step, bool named)
{
	size_t at = 0;
	char *c;
	int i;

	if (named) {
		snprintf(step->name, sizeof(step->name), "%s", step->argv[1]);
	} else {
		for (i = 0; i < step->argc && at < sizeof(step->name); i++)
			at += snprintf(step->name + at, sizeof(step->name) - at, "%s%s",
				       i ? " " : "", step->argv[i]);
	}
	for (c = step->name; *c; c++)
		if (*c == '#')
			*c = '-';
}

static bool parse_verb(struct step *step, const char *line)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct verb *verb = &verbs[i];

		if (strcmp(step->argv[0], verb->name))
			continue;
		if (step->argc <= verb->min_args)
			break;
		step->run = verb->run;
		if (verb->program)
			step->program = step->argv + verb->program;
		name_step(step, verb->named);
		return true;
	}
	report("Bail out! plan: bad step: %s", line);
	return false;
}

/* Cuts a line of the plan into a step. Returns false if it is none. */
static bool parse_step(char *line, unsigned int *limit)
{
	struct step *step = &steps[nr_steps];
	char *copy = strdup(line), *word;

	if (!copy || nr_steps == MAX_STEPS - 2) {
		report("Bail out! plan: too long");
		return false;
	}
	memset(step, 0, sizeof(*step));
	while (step->argc < MAX_ARGS && (word = strsep(&copy, " \t")))
		if (*word)
			step->argv[step->argc++] = word;
	if (!step->argc || step->argv[0][0] == '#')
		return true;
	if (!strcmp(step->argv[0], "timeout") && step->argc == 2) {
		*limit = strtoul(step->argv[1], NULL, 10);
		return true;
	}
	step->limit = *limit;
	if (!parse_verb(step, line))
		return false;
	nr_steps++;
	return true;
}

static bool read_plan(void)
{
	unsigned int limit = DEFAULT_LIMIT;
	FILE *f = fopen(PLAN_FILE, "re");
	char line[MAX_PLAN_LINE];
	bool good = true;

	if (!f) {
		report("Bail out! %s: %s", PLAN_FILE, strerror(errno));
		return false;
	}
	while (good && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		good = parse_step(line, &limit);
	}
	fclose(f);
	return good;
}

/* Room was kept by parse_step(). */
static void add_step(const char *name, enum outcome (*run)(struct step *step, char *why))
{
	struct step *step = &steps[nr_steps++];

	memset(step, 0, sizeof(*step));
	snprintf(step->name, sizeof(step->name), "%s", name);
	step->run = run;
}

static void report_step(const struct step *step, enum outcome outcome, const char *why)
{
	const char *result = outcome == FAIL ? "not ok" : "ok";

	report("%s %u %s%s%s", result, step->nr, step->name,
	       outcome == SKIP ? " # SKIP " : outcome == FAIL ? " # " : "", why);
	log_line("%s %u %s: %s", result, step->nr, step->name, why);
}

static void run_step(struct step *step)
{
	char why[MAX_WHY] = "";
	enum outcome outcome;

	report("# iopf: start %u %s", step->nr, step->name);
	log_line("start %u %s", step->nr, step->name);
	outcome = step->run(step, why);
	report_step(step, outcome, why);
}

/*
 * @before is the number of the step that booted this kernel by kexec, 0 in the first
 * kernel. That such a step passed only this kernel can report.
 */
static void run_plan(unsigned int before)
{
	unsigned int i, total = 0;
	char why[MAX_WHY];

	if (!read_plan())
		return;
	if (!access(KMEMLEAK, F_OK))
		add_step("kmemleak", run_kmemleak);
	add_step("taint", run_taint);
	for (i = 0; i < nr_steps; i++)
		if (steps[i].run != run_shell)
			steps[i].nr = ++total;
	if (!before)
		report("1..%u", total);
	for (i = 0; i < nr_steps; i++) {
		if (steps[i].run == run_shell)
			run_shell(&steps[i], why);
		else if (before && steps[i].nr == before)
			report_step(&steps[i], PASS, "");
		else if (steps[i].nr > before)
			run_step(&steps[i]);
	}
	report(END_MARK);
}

static const struct {
	const char *type;
	const char *path;
} mounts[] = {
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "devtmpfs", "/dev" },
	{ "devpts", "/dev/pts" },
	{ "tmpfs", "/dev/shm" },
	{ "tmpfs", "/tmp" },
	{ "tmpfs", "/run" },
	{ "hugetlbfs", "/dev/hugepages" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "tracefs", "/sys/kernel/tracing" },
};

/* A kernel without one of them is fine until a step needs it. */
static void mount_all(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].path, 0755);
		mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, "");
	}
}

/*
 * On x86 power off stops the other processors and then may still sleep, as VT-d's driver
 * for dmar_global_lock (Linux 6.12). A task that runs meanwhile and wakes another one for
 * a stopped processor gets a warning of the scheduler. A processor that was taken offline
 * has no tasks. Step "kexec" shuts down with all of them.
 */
static void leave_one_processor(void)
{
	char path[64];
	int cpu = 1;

	do
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu++);
	while (!write_file(path, "0"));
}

static void power_off(void)
{
	sync();
	leave_one_processor();
	reboot(RB_POWER_OFF);
	/* a machine without a switch; QEMU's -no-reboot ends it here */
	reboot(RB_AUTOBOOT);
	while (1)
		pause();
}

int main(void)
{
	char why[MAX_WHY] = "";
	unsigned int before;
	bool loaded;

	if (getpid() != 1) {
		fprintf(stderr, "init: not process 1\n");
		return 2;
	}
	mount_all();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "linux", 0);
	watch_children();
	open_log();
	loaded = preload(why);
	before = step_before();
	open_report();
	if (!before)
		report("KTAP version 1");
	if (loaded)
		run_plan(before);
	else
		report("Bail out! preload: %s", why);
	power_off();
}

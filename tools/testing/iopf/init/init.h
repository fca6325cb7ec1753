/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Process 1 of a test machine: what its files share
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_INIT_H
#define IOPF_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __printf(f, a)	__attribute__((format \
				       (printf, f, a)))

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

#define MAX_ARGS	64
#define MAX_WHY		256

enum outcome { PASS, FAIL, SKIP };

/*
 * One line of the plan. @run fills in the reason of a failure or a skip, at most
 * MAX_WHY bytes.
 */
struct step {
	char *argv[MAX_ARGS + 1];
	int argc;
	char **program;		/* in argv, or NULL if the step runs none */
	unsigned int limit;	/* seconds */
	unsigned int nr;	/* of its result, from 1 on */
	char name[128];		/* of the result */
	enum outcome (*run)(struct step *step, char *why);
};

/* report.c */
void open_log(void);
void open_report(void);
void report(const char *fmt, ...) __printf(1, 2);
void log_line(const char *fmt, ...) __printf(1, 2);
enum outcome fail(char *why, const char *fmt, ...) __printf(2, 3);
int write_file(const char *path, const char *value);
int read_file(const char *path, char *buf, size_t size);
bool starts(const char *line, const char *prefix);
time_t now(void);

/* program.c */
void watch_children(void);
enum outcome run_test(struct step *step, char *why);
enum outcome run_demo(struct step *step, char *why);
enum outcome run_kunit(struct step *step, char *why);

/* kexec.c */
unsigned int step_before(void);
enum outcome run_kexec(struct step *step, char *why);

/* steps.c */
bool preload(char *why);
enum outcome run_write(struct step *step, char *why);
enum outcome run_sysctl(struct step *step, char *why);
enum outcome run_need(struct step *step, char *why);
enum outcome run_bind(struct step *step, char *why);
enum outcome run_insmod(struct step *step, char *why);
enum outcome run_shell(struct step *step, char *why);
enum outcome run_kmemleak(struct step *step, char *why);
enum outcome run_taint(struct step *step, char *why);

#endif

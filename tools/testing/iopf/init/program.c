// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running programs and reading what they print
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define MAX_LINE	2048
#define KILL_LIMIT	120	/* seconds for a killed process to be gone */
#define KSFT_SKIP	4	/* exit code of a kselftest that was skipped */

/* What a program's own KTAP says at its outermost level */
struct tap {
	bool begun;
	bool planned;
	unsigned long plan;
	unsigned long seen;
	unsigned long failed;
	bool skip_all;
	bool bail_out;
};

/* One of a program's two outputs, taken line by line */
struct stream {
	int fd;
	bool is_stderr;
	bool tail;		/* the line's beginning is out already */
	size_t len;
	char buf[MAX_LINE];
};

/* A program that runs, or a KUnit suite's results that are read */
struct job {
	pid_t pid;
	int status;
	bool exited;
	bool late;		/* did not end in time */
	bool immortal;		/* it, or what it started, outlives SIGKILL */
	bool demo;
	struct stream out;
	struct stream err;
	struct tap tap;
};

static int sigchld = -1;

void watch_children(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigchld = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* "ok" and "not ok" are whole words: "okay" is not a result. */
static bool is_result(const char *line, const char *word)
{
	size_t len = strlen(word);

	return starts(line, word) && (!line[len] || line[len] == ' ');
}

static bool is_ktap(const char *line)
{
	return is_result(line, "ok") || is_result(line, "not ok") ||
	       starts(line, "KTAP version ") || starts(line, "TAP version ") ||
	       starts(line, "Bail out!") || line[0] == '#' ||
	       (starts(line, "1..") && isdigit((unsigned char)line[3]));
}

static void tap_line(struct tap *tap, const char *line)
{
	tap->begun |= line[0] != '#';
	if (is_result(line, "ok")) {
		tap->seen++;
	} else if (is_result(line, "not ok")) {
		tap->seen++;
		tap->failed++;
	} else if (starts(line, "1..") && isdigit((unsigned char)line[3])) {
		tap->planned = true;
		tap->plan = strtoul(line + 3, NULL, 10);
		tap->skip_all = !tap->plan && strcasestr(line, "# skip");
	} else if (starts(line, "Bail out!")) {
		tap->bail_out = true;
	}
}

/*
 * Passes one line of a program's output on. What is not KTAP becomes a comment,
 * so that nothing a program prints is taken for a result of another test: all of
 * it is indented below this test's own result.
 */
static void take_line(struct job *job, struct stream *s, const char *line)
{
	if (s->is_stderr)
		log_line("stderr: %s", line);
	if (job->demo) {
		report("#> %s", line);
	} else if (s->is_stderr || s->tail) {
		report(line[0] == '#' ? "    %s" : "    # %s", line);
	} else if (is_ktap(line)) {
		tap_line(&job->tap, line);
		report("    %s", line);
	} else if (job->tap.begun && starts(line, "  ")) {
		/* of a subtest, but only if the program speaks KTAP at all */
		report("    %s", line);
	} else {
		report("    # %s", line);
	}
}

static void flush_line(struct job *job, struct stream *s, bool complete)
{
	size_t i;

	/* a NUL would hide the rest, a carriage return what stands before */
	for (i = 0; i < s->len; i++)
		if (!s->buf[i] || s->buf[i] == '\r')
			s->buf[i] = ' ';
	s->buf[s->len] = '\0';
	if (s->len || complete)
		take_line(job, s, s->buf);
	s->len = 0;
	s->tail = !complete;
}

static void take_chunk(struct job *job, struct stream *s, const char *chunk, ssize_t n)
{
	ssize_t i;

	for (i = 0; i < n; i++) {
		if (chunk[i] == '\n') {
			flush_line(job, s, true);
			continue;
		}
		if (s->len == sizeof(s->buf) - 1)
			flush_line(job, s, false);
		s->buf[s->len++] = chunk[i];
	}
}

/*
 * Takes some of what is there, so that a program that prints for ever meets its
 * limit all the same. Closes the stream at its end. Returns false if nothing is
 * left for now.
 */
static bool pump(struct job *job, struct stream *s)
{
	char chunk[MAX_LINE];
	ssize_t n;
	int i;

	for (i = 0; i < 16 && s->fd >= 0; i++) {
		n = read(s->fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			close(s->fd);
			s->fd = -1;
			return false;
		}
		take_chunk(job, s, chunk, n);
	}
	return s->fd >= 0;
}

/* To be called when no one writes any more. */
static void close_stream(struct job *job, struct stream *s)
{
	while (pump(job, s))
		;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (s->len)
		flush_line(job, s, true);
}

/* Collects whatever has died, orphans too. Returns false if no one is left. */
static bool reap(struct job *job)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == job->pid) {
			job->status = status;
			job->exited = true;
		}
	}
	return !pid;
}

/* Waits for output or a death, for at most @seconds. */
static void wait_for_job(struct job *job, time_t seconds)
{
	struct pollfd fds[] = {
		{ .fd = job->out.fd, .events = POLLIN },
		{ .fd = job->err.fd, .events = POLLIN },
		{ .fd = sigchld, .events = POLLIN },
	};
	struct signalfd_siginfo info;

	/* not longer, so that the limit of the step is looked at again */
	poll(fds, ARRAY_SIZE(fds), seconds > 1 ? 1000 : 100);
	while (read(sigchld, &info, sizeof(info)) > 0)
		;
	/* stderr first: what a test complains of stands before its result then */
	pump(job, &job->err);
	pump(job, &job->out);
}

/*
 * Ends every process but this one, those which a test left behind included: the
 * next test starts on an empty machine.
 */
static void kill_all(struct job *job)
{
	time_t end = now() + KILL_LIMIT;

	kill(-1, SIGKILL);
	while (reap(job)) {
		if (now() >= end) {
			job->immortal = true;
			return;
		}
		wait_for_job(job, 1);
		/* some may have been forked in the meantime */
		kill(-1, SIGKILL);
	}
}

static void exec_child(char **argv, const int out[2], const int err[2])
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(err[1], STDERR_FILENO);
	if (chdir("/tmp"))
		fprintf(stderr, "no /tmp: %s\n", strerror(errno));
	execv(argv[0], argv);
	fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void take_pipe(struct stream *s, const int fds[2])
{
	close(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	s->fd = fds[0];
}

/* Returns 0 or a negative errno. */
static int start(struct job *job, char **argv)
{
	int out[2], err[2], error;

	if (pipe2(out, O_CLOEXEC))
		return -errno;
	if (pipe2(err, O_CLOEXEC)) {
		error = -errno;
		goto close_out;
	}
	job->pid = fork();
	if (job->pid < 0) {
		error = -errno;
		goto close_err;
	}
	if (!job->pid)
		exec_child(argv, out, err);
	take_pipe(&job->out, out);
	take_pipe(&job->err, err);
	job->err.is_stderr = true;
	return 0;

close_err:
	close(err[0]);
	close(err[1]);
close_out:
	close(out[0]);
	close(out[1]);
	return error;
}

static enum outcome judge_tap(const struct tap *tap, char *why)
{
	if (tap->bail_out)
		return fail(why, "bailed out");
	if (tap->failed)
		return fail(why, "%lu of %lu failed", tap->failed, tap->seen);
	if (tap->planned && tap->plan != tap->seen)
		return fail(why, "planned %lu, reported %lu", tap->plan, tap->seen);
	if (!tap->planned && tap->seen)
		return fail(why, "reported %lu without a plan", tap->seen);
	return PASS;
}

static enum outcome judge(const struct job *job, unsigned int limit, char *why)
{
	const char *name;
	int code;

	if (job->immortal)
		return fail(why, "a process is still there %u s after SIGKILL", KILL_LIMIT);
	if (job->late)
		return fail(why, "timeout after %u s", limit);
	if (WIFSIGNALED(job->status)) {
		name = sigabbrev_np(WTERMSIG(job->status));
		return fail(why, "killed by signal %d (SIG%s)", WTERMSIG(job->status),
			    name ? name : "?");
	}
	code = WEXITSTATUS(job->status);
	if (code && code != KSFT_SKIP && judge_tap(&job->tap, why) == PASS)
		return fail(why, "exit status %d", code);
	if (code && code != KSFT_SKIP)
		return FAIL;
	if (judge_tap(&job->tap, why) == FAIL)
		return FAIL;
	if (code == KSFT_SKIP || job->tap.skip_all) {
		fail(why, "skipped by the program");
		return SKIP;
	}
	return PASS;
}

/* Runs a step's program to its end or to the step's limit. */
static enum outcome run_program(struct step *step, bool demo, char *why)
{
	struct job *job = calloc(1, sizeof(*job));
	time_t end = now() + step->limit;
	enum outcome outcome;
	int err;

	if (!job)
		return fail(why, "no memory");
	job->demo = demo;
	err = start(job, step->program);
	if (err) {
		outcome = fail(why, "cannot start: %s", strerror(-err));
		goto free_job;
	}
	while (!job->exited && !job->late) {
		wait_for_job(job, end - now());
		reap(job);
		job->late = !job->exited && now() >= end;
	}
	kill_all(job);
	close_stream(job, &job->err);
	close_stream(job, &job->out);
	outcome = judge(job, step->limit, why);
free_job:
	free(job);
	return outcome;
}

enum outcome run_test(struct step *step, char *why)
{
	return run_program(step, false, why);
}

enum outcome run_demo(struct step *step, char *why)
{
	return run_program(step, true, why);
}

enum outcome run_kunit(struct step *step, char *why)
{
	struct job *job = calloc(1, sizeof(*job));
	enum outcome outcome;
	char path[PATH_MAX];

	if (!job)
		return fail(why, "no memory");
	snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results", step->argv[1]);
	job->out.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (job->out.fd < 0) {
		outcome = fail(why, "%s: %s", path, strerror(errno));
		goto free_job;
	}
	close_stream(job, &job->out);
	outcome = judge_tap(&job->tap, why);
	if (outcome == PASS && !job->tap.seen)
		outcome = fail(why, "the suite reported nothing");
free_job:
	free(job);
	return outcome;
}

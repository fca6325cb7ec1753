// SPDX-License-Identifier: GPL-2.0-only
/*
 * Command line helpers of the iopf program.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"

#define MAX_OPTIONS	32

/* Name of the subcommand for messages: the first argument of its getopt. */
static const char *command = "";

const struct option cli_no_options[] = { { NULL, 0, NULL, 0 } };

static const struct option common_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

__printf(1, 0) static void complain(const char *fmt, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, ap);
	fflush(stdout);
	fprintf(stderr, "iopf%s%s: %s\n", command[0] ? " " : "", command,
		iopf_tame(line));
}

int cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return CLI_ERROR;
}

int cli_wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return CLI_USAGE;
}

int cli_lib_error(void)
{
	return cli_error("%s", iopf_error());
}

int cli_lib_wrong(void)
{
	return cli_wrong("%s", iopf_error());
}

/* The caller's options and the common ones. */
static void merge_options(struct option *all, const struct option *longs)
{
	unsigned int nr = 0, i;

	for (; longs->name && nr < MAX_OPTIONS; longs++)
		all[nr++] = *longs;
	for (i = 0; i < ARRAY_SIZE(common_options); i++)
		all[nr++] = common_options[i];
}

/*
 * getopt_long() says only that something is wrong: optopt is the option that
 * has a value too many or too few, or an unknown letter, or 0 for an unknown
 * word, which is @word then. All letters have a word, too.
 */
static void option_error(const char *word, bool missing,
			 const struct option *longs)
{
	const char *blank = command[0] ? " " : "";

	for (; longs->name; longs++)
		if (longs->val == optopt)
			break;
	if (longs->name)
		cli_wrong("--%s %s; see 'iopf%s%s --help'", longs->name,
			  missing ? "needs a value" : "takes no value", blank,
			  command);
	else if (optopt)
		cli_wrong("unknown option -%c; see 'iopf%s%s --help'", optopt,
			  blank, command);
	else
		cli_wrong("unknown option %.*s; see 'iopf%s%s --help'",
			  (int)strcspn(word, "="), word, blank, command);
}

int cli_getopt(int argc, char **argv, const char *shorts,
	       const struct option *longs, const char *usage)
{
	struct option all[MAX_OPTIONS + 3];
	bool plus = shorts[0] == '+';
	char letters[64];
	int ret;

	command = strcmp(argv[0], "iopf") ? argv[0] : "";
	merge_options(all, longs);
	snprintf(letters, sizeof(letters), "%s:%shV", plus ? "+" : "",
		 shorts + plus);
	opterr = 0;
	ret = getopt_long(argc, argv, letters, all, NULL);
	switch (ret) {
	case '?':
	case ':':
		option_error(argv[optind - 1], ret == ':', all);
		return '?';
	case 'h':
		fputs(usage, stdout);
		return 0;
	case 'V':
		puts("iopf " IOPF_VERSION);
		return 0;
	}
	return ret;
}

int cli_flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return CLI_OK;
	return cli_error("what was to be printed cannot be written; is the disk full?");
}

bool cli_colour(FILE *out)
{
	const char *forbidden = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (forbidden && forbidden[0])
		return false;
	if (!term || !strcmp(term, "dumb"))
		return false;
	return isatty(fileno(out));
}

static bool parse(const char *text, __u64 *value, char **end)
{
	if (!*text || !strchr("0123456789", *text))
		return false;
	errno = 0;
	*value = strtoull(text, end, 0);
	return !errno;
}

bool cli_number(const char *option, const char *text, __u64 max, __u64 *value)
{
	char *end;

	if (parse(text, value, &end) && !*end && *value <= max)
		return true;
	cli_wrong("%s: '%s' is no number from 0 to %llu", option, text, max);
	return false;
}

bool cli_size(const char *option, const char *text, __u64 *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned int shift;
	char *end;

	if (!parse(text, value, &end))
		goto wrong;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			goto wrong;
		shift = 10 * (unit - units + 1);
		if (*value << shift >> shift != *value)
			goto wrong;
		*value <<= shift;
	}
	return true;
wrong:
	cli_wrong("%s: '%s' is no size; write a number, with K, M, G or T if you like",
		  option, text);
	return false;
}

char *cli_time(char *buf, __u64 ns)
{
	if (ns < 10000)
		snprintf(buf, 24, "%llu ns", ns);
	else if (ns < 10000000)
		snprintf(buf, 24, "%llu us", (ns + 500) / 1000);
	else
		snprintf(buf, 24, "%llu ms", (ns + 500000) / 1000000);
	return buf;
}

/* Signals that ask for an end. One that is ignored, by nohup say, stays so. */
static void add_signal(sigset_t *set, int sig)
{
	struct sigaction action;

	if (!sigaction(sig, NULL, &action) && action.sa_handler != SIG_IGN)
		sigaddset(set, sig);
}

int cli_signal_fd(sigset_t *before)
{
	sigset_t set;
	int fd, err;

	sigemptyset(&set);
	add_signal(&set, SIGINT);
	add_signal(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, before);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0)
		return fd;
	err = errno;
	sigprocmask(SIG_SETMASK, before, NULL);
	return iopf_err(-err, "cannot catch signals: %s", strerror(err));
}

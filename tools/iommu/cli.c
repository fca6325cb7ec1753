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

#include "cli.h"

/* Name of the subcommand for messages: the first argument of its getopt. */
static const char *command = "";

int cli_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "iopf%s%s: ", command[0] ? " " : "", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return CLI_ERROR;
}

int cli_lib_error(void)
{
	return cli_error("%s", iopf_error());
}

/* getopt_long() says only that something is wrong: find out what. */
static void option_error(char **argv, int before, const struct option *longs)
{
	const char *arg = argv[before];
	size_t len;

	if (!arg || strncmp(arg, "--", 2)) {
		cli_error("unknown option or missing value at '%s'; see 'iopf %s --help'",
			  arg ? arg : "", command);
		return;
	}
	arg += 2;
	len = strcspn(arg, "=");
	for (; longs->name; longs++) {
		if (strlen(longs->name) != len ||
		    strncmp(longs->name, arg, len))
			continue;
		if (longs->has_arg == required_argument)
			cli_error("--%s needs a value", longs->name);
		else
			cli_error("--%s takes no value", longs->name);
		return;
	}
	cli_error("unknown option --%.*s; see 'iopf %s --help'", (int)len, arg,
		  command);
}

int cli_getopt(int argc, char **argv, const char *shorts,
	       const struct option *longs, const char *usage)
{
	int before, ret;

	command = argv[0];
	opterr = 0;
	before = optind ? optind : 1;
	ret = getopt_long(argc, argv, shorts, longs, NULL);
	if (ret == '?' || ret == ':') {
		/* The wrong one is where getopt stopped, or just before. */
		if (optind > before)
			before = optind - 1;
		option_error(argv, before, longs);
		return '?';
	}
	if (ret == 'h')
		fputs(usage, stdout);
	else if (ret == 'V')
		puts("iopf " IOPF_VERSION);
	else
		return ret;
	return 0;
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
	cli_error("%s: '%s' is no number from 0 to %llu", option, text, max);
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
	cli_error("%s: '%s' is no size; write a number, with K, M, G or T if you like",
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

int cli_signal_fd(void)
{
	sigset_t set;
	int fd, err;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0)
		return fd;
	err = errno;
	return iopf_err(-err, "cannot catch signals: %s", strerror(err));
}

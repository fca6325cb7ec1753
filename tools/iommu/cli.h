/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the subcommands of the iopf program share.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_CLI_H
#define IOPF_CLI_H

#include <getopt.h>
#include <stdio.h>

#include "common.h"
#include "libiopf.h"

/* Exit status of all subcommands. */
enum cli_exit {
	CLI_OK = 0,
	CLI_NO = 1,		/* not usable, or the demonstration failed */
	CLI_ERROR = 2,		/* wrong call, or something is in the way */
};

int cmd_probe(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* One line on stderr, "iopf COMMAND: text". Returns CLI_ERROR. */
__printf(1, 2) int cli_error(const char *fmt, ...);

/* The same with the text of the last library error. */
int cli_lib_error(void);

/*
 * getopt_long() with errors in our form, and -h and -V as all subcommands have
 * them: returns the option, -1 at the end, 0 after @usage or the version was
 * printed, or '?' after an error was.
 */
int cli_getopt(int argc, char **argv, const char *shorts,
	       const struct option *longs, const char *usage);

/*
 * A number with an optional K, M, G or T. Prints an error that names @option
 * and returns false if @text is none.
 */
bool cli_size(const char *option, const char *text, __u64 *value);

/* A plain number, decimal or with 0x, up to @max. */
bool cli_number(const char *option, const char *text, __u64 max, __u64 *value);

/* "1.5 ms" and the like into @buf of at least 24 bytes; returns @buf. */
char *cli_time(char *buf, __u64 ns);

/*
 * A file that can be read once SIGINT or SIGTERM came, which do nothing else
 * any more. Returns a negative errno with the library's error text set.
 */
int cli_signal_fd(void);

#endif /* IOPF_CLI_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the subcommands of the iopf program share.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_CLI_H
#define IOPF_CLI_H

#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "common.h"
#include "libiopf.h"

/*
 * Exit status of all subcommands. The command of "iopf serve" has statuses of
 * its own, so with one the program's own are those that env(1) and others use.
 */
enum cli_exit {
	CLI_OK = 0,
	CLI_NO = 1,		/* not usable, or the demonstration failed */
	CLI_ERROR = 2,		/* not known, or something is in the way */
	CLI_USAGE = 64,		/* wrong call; nothing was done */
	CLI_COMMAND_OURS = 125,	/* as CLI_ERROR, when a command was to run */
	CLI_COMMAND_DENIED = 126,	/* the command is no program */
	CLI_COMMAND_MISSING = 127,	/* there is no such command */
	CLI_COMMAND_SIGNAL = 128,	/* plus the signal that ended the command */
};

int cmd_probe(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_trace(int argc, char **argv);

/* One line on stderr, "iopf COMMAND: text". Returns CLI_ERROR. */
__printf(1, 2) int cli_error(const char *fmt, ...);

/* The same for a wrong call. Returns CLI_USAGE. */
__printf(1, 2) int cli_wrong(const char *fmt, ...);

/* cli_error() with the text of the last library error. */
int cli_lib_error(void);

/* cli_wrong() with the text of the last library error. */
int cli_lib_wrong(void);

/*
 * Write what was printed. Returns CLI_OK, or CLI_ERROR after an error if that or
 * a write before failed.
 */
int cli_flush(void);

/* No options but the common ones. */
extern const struct option cli_no_options[];

/*
 * getopt_long() with errors in our form, and with --help and --version, which
 * all have and none has to list: returns the option, -1 at the end, 0 after
 * @usage or the version was printed, or '?' after an error was. @argv[0] names
 * the command in messages, "iopf" none.
 */
int cli_getopt(int argc, char **argv, const char *shorts,
	       const struct option *longs, const char *usage);

/* May @out be coloured: a terminal, and NO_COLOR does not forbid it. */
bool cli_colour(FILE *out);

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
 * A file that can be read once SIGINT, SIGHUP or SIGTERM came, which do nothing
 * else any more; the first two only if they were not ignored. The signal mask
 * from before is for children. Returns a negative errno with the library's
 * error text set.
 */
int cli_signal_fd(sigset_t *before);

#endif /* IOPF_CLI_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf: page faults of PCIe devices, served by a user program.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <string.h>

#include "cli.h"

static const char usage[] =
"Usage: iopf COMMAND [OPTION]... [DEVICE]\n"
"Page faults of PCIe devices, served by a user program.\n"
"\n"
"  probe   say whether a device can use page faults and what is in the way\n"
"  serve   serve the page faults of a device\n"
"  stat    show what the kernel counts of page requests\n"
"  trace   write their tracepoints for programs that show traces\n"
"  demo    let the emulated test endpoint touch memory that no one mapped\n"
"\n"
"  --help, -h      this text\n"
"  --version, -V   version\n"
"\n"
"'iopf COMMAND --help' lists the options; the manual page is iopf(1).\n"
"Exit status: 0 yes or well, 1 no, 2 not known or something is in the way,\n"
"64 wrong call; 'iopf serve' passes on that of its command.\n";

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{ "probe", cmd_probe },
	{ "serve", cmd_serve },
	{ "stat", cmd_stat },
	{ "trace", cmd_trace },
	{ "demo", cmd_demo },
	{ NULL, NULL },
};

/* What stands before the command: at most one of the common options. */
static int no_command(int argc, char **argv)
{
	char name[] = "iopf";
	char *args[3] = { name, argc > 1 ? argv[1] : NULL };
	int opt;

	opt = cli_getopt(argc > 1 ? 2 : 1, args, "+", cli_no_options, usage);
	if (opt != -1)
		return opt ? CLI_USAGE : CLI_OK;
	if (optind < 2 && args[1])
		return cli_wrong("there is no command '%s'; see 'iopf --help'",
				 args[1]);
	fputs(usage, stderr);
	return CLI_USAGE;
}

int main(int argc, char **argv)
{
	const struct command *c;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (c = commands; c->name && argc > 1; c++)
		if (!strcmp(argv[1], c->name))
			break;
	if (argc > 1 && c->name)
		status = c->run(argc - 1, argv + 1);
	else
		status = no_command(argc, argv);
	return status ? status : cli_flush();
}

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
"  demo    let the emulated test endpoint touch memory that no one mapped\n"
"\n"
"'iopf COMMAND --help' lists the options; the manual page is iopf(1).\n";

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{ "probe", cmd_probe },
	{ "serve", cmd_serve },
	{ "demo", cmd_demo },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	const struct command *c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2) {
		fputs(usage, stderr);
		return CLI_ERROR;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("iopf " IOPF_VERSION);
		return CLI_OK;
	}
	for (c = commands; c->name; c++)
		if (!strcmp(argv[1], c->name))
			return c->run(argc - 1, argv + 1);
	return cli_error("there is no command '%s'; see 'iopf --help'",
			 argv[1]);
}

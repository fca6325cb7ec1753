// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf serve: serve the page faults of a device that someone else drives.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "command.h"
#include "devevent.h"
#include "server.h"

static const char usage[] =
"Usage: iopf serve [OPTION]... DEVICE [-- COMMAND [ARGUMENT]...]\n"
"Serve the page faults of a device that is bound to vfio-pci, until SIGINT,\n"
"SIGTERM, or the kernel asks for the device back. With a COMMAND until that\n"
"ends; it finds the number of the open VFIO file in IOPF_VFIO_FD and drives the\n"
"device.\n"
"\n"
"  --iova ADDR    first address to serve (default 0x100000000)\n"
"  --size N       bytes to serve (default 64M, or the size of the file)\n"
"  --anon         map zeroed memory (default)\n"
"  --file FILE    map a file; the device writes to it\n"
"  --private      with --file: the device writes to a copy\n"
"  --readonly     refuse writes\n"
"  --exact        map for reading what is only read, so that the first write\n"
"                 to it faults again\n"
"  --invalid      map nothing, answer INVALID to all\n"
"  --no-dma       leave bus mastering to the driver of the device\n"
"  --once         end after the first groups\n"
"  --quiet, -q    no line per group\n"
"  --verbose, -v  a line for each group, however fast they come\n"
"  --help, -h     this text\n"
"  --version, -V  version\n"
"\n"
"Exit status: that of COMMAND, and 128 more than the signal that killed it; 126\n"
"if it cannot be run, 127 if it is not found, 125 if serving failed. Without a\n"
"COMMAND 0, or 2 if serving failed. 64 for a wrong call.\n";

enum {
	OPT_IOVA = 256, OPT_SIZE, OPT_ANON, OPT_FILE, OPT_PRIVATE,
	OPT_READONLY, OPT_EXACT, OPT_INVALID, OPT_NO_DMA, OPT_ONCE,
};

static const struct option options[] = {
	{ "iova", required_argument, NULL, OPT_IOVA },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "anon", no_argument, NULL, OPT_ANON },
	{ "file", required_argument, NULL, OPT_FILE },
	{ "private", no_argument, NULL, OPT_PRIVATE },
	{ "readonly", no_argument, NULL, OPT_READONLY },
	{ "exact", no_argument, NULL, OPT_EXACT },
	{ "invalid", no_argument, NULL, OPT_INVALID },
	{ "no-dma", no_argument, NULL, OPT_NO_DMA },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 }
};

/* A command that was asked to end and does not is killed after so long. */
#define STOP_MS		10000

#define DEFAULT_SIZE	(64ULL << 20)

struct args {
	__u64 iova;
	__u64 size;
	const char *file;
	unsigned int prot;
	unsigned int flags;
	bool anon;
	bool sized;
	bool invalid;
	bool no_dma;
	bool once;
	bool quiet;
	bool verbose;
	char bdf[16];
	char **command;
};

/* All that is needed while a device is served. */
struct session {
	const struct args *args;
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct server server;
	struct devevents events;
	struct command command;
	sigset_t mask;		/* of signals, for the command */
	int signals;
	bool ending;		/* the command was asked to end */
	__u64 deadline;		/* it is killed then, if it has not ended */
	int error;		/* negative errno for which serving ends */
};

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct args *a)
{
	int opt;

	a->iova = 1ULL << 32;
	a->prot = IOPF_RW;
	while ((opt = cli_getopt(argc, argv, "+qv", options, usage)) != -1) {
		switch (opt) {
		case OPT_IOVA:
			if (!cli_size("--iova", optarg, &a->iova))
				return CLI_USAGE;
			break;
		case OPT_SIZE:
			if (!cli_size("--size", optarg, &a->size))
				return CLI_USAGE;
			a->sized = true;
			break;
		case OPT_ANON:
			a->anon = true;
			break;
		case OPT_FILE:
			a->file = optarg;
			break;
		case OPT_PRIVATE:
			a->flags |= IOPF_BACKING_PRIVATE;
			break;
		case OPT_READONLY:
			a->prot = IOPF_READ;
			break;
		case OPT_EXACT:
			a->flags |= IOPF_BACKING_EXACT;
			break;
		case OPT_INVALID:
			a->invalid = true;
			break;
		case OPT_NO_DMA:
			a->no_dma = true;
			break;
		case OPT_ONCE:
			a->once = true;
			break;
		case 'q':
			a->quiet = true;
			break;
		case 'v':
			a->verbose = true;
			break;
		default:
			return opt ? CLI_USAGE : CLI_OK;
		}
	}
	return -1;
}

static int parse_args(int argc, char **argv, struct args *a)
{
	int ret;

	ret = parse_options(argc, argv, a);
	if (ret >= 0)
		return ret;
	if (a->file && a->anon)
		return cli_wrong("--anon and --file exclude each other; give one of them");
	if (a->flags & IOPF_BACKING_PRIVATE && !a->file)
		return cli_wrong("--private is for --file; memory of --anon is private anyway");
	if (a->invalid && (a->file || a->anon))
		return cli_wrong("--invalid maps nothing; leave --file and --anon out");
	if (a->quiet && a->verbose)
		return cli_wrong("--quiet and --verbose exclude each other; give one of them");
	if (optind == argc || !strcmp(argv[optind - 1], "--"))
		return cli_wrong("no device; give its PCI address like 0000:01:00.0");
	if (iopf_pci_bdf(argv[optind++], a->bdf))
		return cli_lib_wrong();
	if (optind == argc)
		return -1;
	if (strcmp(argv[optind], "--"))
		return cli_wrong("'%s': options go before the device, and '--' before a command",
				 argv[optind]);
	if (++optind < argc)
		a->command = argv + optind;
	return -1;
}

static const char *file_error(const struct args *a, struct stat *st)
{
	bool write = a->prot & IOPF_WRITE && !(a->flags & IOPF_BACKING_PRIVATE);
	int fd, ret;

	fd = open(a->file, (write ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return strerror(errno);
	ret = fstat(fd, st);
	close(fd);
	if (ret)
		return strerror(errno);
	if (S_ISDIR(st->st_mode))
		return strerror(EISDIR);
	if (S_ISCHR(st->st_mode))
		return a->sized ? NULL : "a device has no size; give it with --size";
	if (!S_ISREG(st->st_mode))
		return "neither a file nor a device that can be mapped";
	if (!a->sized && !st->st_size)
		return "the file is empty; make it larger or give --size";
	return NULL;
}

/* What can be wrong without a look at the device. Returns -1 to go on. */
static int check_args(struct args *a)
{
	__u64 page = sysconf(_SC_PAGESIZE);
	const char *error;
	struct stat st;

	if (a->sized && !a->size)
		return cli_wrong("--size: 0 bytes cannot be served; give at least %llu",
				 page);
	if (a->size % page)
		return cli_wrong("--size: %llu is no multiple of the page size; give %llu",
				 a->size, a->size > ~0ULL - page ?
				 a->size / page * page :
				 a->size / page * page + page);
	if (a->iova % page)
		return cli_wrong("--iova: %#llx is no multiple of the page size; give %#llx",
				 a->iova, a->iova / page * page);
	if (a->file) {
		error = file_error(a, &st);
		if (error)
			return cli_wrong("%s: %s", a->file, error);
		if (!a->sized)
			a->size = (st.st_size + page - 1) / page * page;
	} else if (!a->sized) {
		a->size = DEFAULT_SIZE;
	}
	if (a->iova + a->size - 1 < a->iova)
		return cli_wrong("%llu bytes at %#llx run over the end of the address space",
				 a->size, a->iova);
	return a->command ? command_check(a->command[0]) : 0;
}

static int open_backing(struct session *n, __u32 ioas_id)
{
	const struct args *a = n->args;
	__u64 last;
	int ret;

	ret = iopf_ioas_last(n->ctx, ioas_id, &last);
	if (ret)
		return ret;
	if (a->iova + a->size - 1 > last)
		return iopf_err(-ERANGE,
				"%s: addresses end at %#llx, but %#llx is to be served; give a smaller --iova or --size",
				a->bdf, last, a->iova + a->size - 1);
	if (a->file)
		return iopf_backing_file(n->ctx, ioas_id, a->file, a->iova,
					 a->size, a->prot, a->flags,
					 &n->server.backing);
	return iopf_backing_anon(n->ctx, ioas_id, a->iova, a->size, a->prot,
				 a->flags, &n->server.backing);
}

static void say_what(const struct session *n)
{
	const struct args *a = n->args;

	if (a->invalid)
		printf("%s: refusing all page requests", a->bdf);
	else
		printf("%s: serving %llu KiB of %s%s at %#llx..%#llx, %s",
		       a->bdf, a->size >> 10,
		       !a->file ? "zeroed memory" :
		       a->flags & IOPF_BACKING_PRIVATE ? "a copy of " : "",
		       a->file ? a->file : "", a->iova, a->iova + a->size - 1,
		       a->prot & IOPF_WRITE ? "read and write" : "read only");
	if (a->command)
		printf(", until %s ends\n", a->command[0]);
	else
		printf(", Ctrl-C ends\n");
}

/* Returns true if there is no command whose end has to be waited for. */
static bool ask_to_end(struct session *n)
{
	if (!n->args->command)
		return true;
	command_stop(&n->command);
	if (!n->ending)
		n->deadline = iopf_now() + STOP_MS * 1000000ULL;
	n->ending = true;
	return false;
}

static bool take_signal(struct session *n)
{
	struct signalfd_siginfo info;

	return read(n->signals, &info, sizeof(info)) == sizeof(info);
}

/* Milliseconds that poll() may wait, after @served groups; -1: no limit */
static int patience(const struct session *n, int served)
{
	__u64 now;

	if (served == SERVER_BATCH)
		return 0;
	if (!n->ending)
		return -1;
	now = iopf_now();
	return now < n->deadline ? (n->deadline - now) / 1000000 + 1 : 0;
}

/*
 * An error ends serving, and the command if there is one. Returns true if there
 * is none to wait for.
 */
static bool fail(struct session *n, int err)
{
	n->error = err;
	cli_lib_error();
	return ask_to_end(n);
}

/*
 * Look for signals, for events of the device, and whether the command has had
 * time enough to end. Returns true when serving is over.
 */
static bool look_around(struct session *n)
{
	if (take_signal(n) && ask_to_end(n))
		return true;
	if (devevent_take(n->events.wanted_back)) {
		if (!n->ending)
			printf("%s: the kernel wants the device back\n",
			       n->args->bdf);
		if (ask_to_end(n))
			return true;
	}
	if (devevent_take(n->events.broken) && !n->error) {
		iopf_err(-EIO, "%s: the device reports an error; see the kernel log",
			 n->args->bdf);
		return fail(n, -EIO);
	}
	/* It was asked to end and did not. */
	if (n->ending && iopf_now() >= n->deadline)
		command_stop(&n->command);
	return false;
}

static void serve_loop(struct session *n)
{
	enum { QUEUE, SIGNALS, COMMAND, WANTED, BROKEN, NR };
	struct pollfd pfd[NR] = {
		[QUEUE] = { .fd = iopf_queue_fd(n->server.queue) },
		[SIGNALS] = { .fd = n->signals },
		[COMMAND] = { .fd = n->command.fd },
		[WANTED] = { .fd = n->events.wanted_back },
		[BROKEN] = { .fd = n->events.broken },
	};
	int i, served = 0;

	for (i = 0; i < NR; i++)
		pfd[i].events = POLLIN;
	for (;;) {
		if (poll(pfd, NR, patience(n, served)) < 0 && errno != EINTR) {
			iopf_err(-errno, "poll: %s", strerror(errno));
			served = -errno;
		} else if (n->error) {
			served = 0;
		} else if (pfd[QUEUE].revents & ~POLLIN) {
			served = iopf_err(-EIO, "the fault queue reports an error");
		} else {
			served = server_run(&n->server);
		}
		/* After an error there is only the command to wait for. */
		if (served < 0 && !n->error) {
			pfd[QUEUE].fd = -1;
			if (fail(n, served))
				return;
		}
		if (served > 0 && n->args->once && !n->ending && ask_to_end(n))
			return;
		if (n->args->command && pfd[COMMAND].revents)
			return;
		if (look_around(n))
			return;
	}
}

/* Returns the exit status of the command, or 0. */
static int serve_attached(struct session *n)
{
	const struct args *a = n->args;
	int status = 0;

	if (!a->no_dma) {
		n->error = iopf_dev_bus_master(n->dev, true);
		if (n->error)
			return cli_lib_error();
	}
	say_what(n);
	if (!a->quiet) {
		n->server.log = stdout;
		n->server.log_left = ~0ULL;
		n->server.limited = !a->verbose;
	}
	if (a->command) {
		n->command.argv = a->command;
		n->error = command_start(&n->command, iopf_dev_fd(n->dev),
					 &n->mask);
		if (n->error)
			return cli_lib_error();
	}
	serve_loop(n);
	if (a->command)
		status = command_end(&n->command);
	server_log_end(&n->server);
	server_table(stdout, &n->server);
	return status;
}

static int serve(struct session *n)
{
	__u32 ioas_id, hwpt_id;
	int status = 0;

	n->signals = cli_signal_fd(&n->mask);
	if (n->signals < 0) {
		n->error = n->signals;
		return cli_lib_error();
	}
	n->error = devevents_open(n->dev, &n->events);
	if (n->error) {
		cli_lib_error();
		goto close_signals;
	}
	n->error = server_open(n->ctx, n->dev, &n->server, &ioas_id, &hwpt_id);
	if (n->error) {
		cli_lib_error();
		goto close_events;
	}
	n->error = open_backing(n, ioas_id);
	if (n->error)
		cli_lib_error();
	else
		status = serve_attached(n);
	server_close(n->ctx, n->dev, &n->server, ioas_id, hwpt_id);
close_events:
	devevents_close(&n->events);
close_signals:
	close(n->signals);
	return status;
}

int cmd_serve(int argc, char **argv)
{
	static struct session n;
	struct args a = { 0 };
	int ret, status = 0;

	ret = parse_args(argc, argv, &a);
	if (ret < 0)
		ret = check_args(&a);
	else
		return ret;
	if (ret)
		return ret;
	n.args = &a;
	n.server.answer_invalid = a.invalid;
	n.command.fd = -1;
	n.error = iopf_ctx_open(&n.ctx);
	if (n.error) {
		cli_lib_error();
		goto out;
	}
	n.error = iopf_dev_open(n.ctx, a.bdf, &n.dev);
	if (n.error) {
		cli_lib_error();
		goto close_ctx;
	}
	status = serve(&n);
	iopf_dev_close(n.dev);
close_ctx:
	iopf_ctx_close(n.ctx);
out:
	/* The 2 of main() would be taken for the status of the command. */
	if (a.command && !status && !n.error && cli_flush())
		return CLI_COMMAND_OURS;
	if (n.error)
		return a.command ? CLI_COMMAND_OURS : CLI_ERROR;
	return status;
}

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
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "server.h"

static const char usage[] =
"Usage: iopf serve [OPTION]... DEVICE [-- COMMAND [ARGUMENT]...]\n"
"Serve the page faults of a device that is bound to vfio-pci, until SIGINT.\n"
"With a COMMAND until it ends; it finds the number of the open VFIO file in\n"
"IOPF_VFIO_FD and drives the device.\n"
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
"  --quiet        no line per group\n"
"  --help         this text\n"
"  --version      version\n";

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
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct args {
	__u64 iova;
	__u64 size;
	const char *file;
	unsigned int prot;
	unsigned int flags;
	bool invalid;
	bool no_dma;
	bool once;
	bool quiet;
	char bdf[16];
	char **command;
};

/* Returns -1 to go on, or an exit status. */
static int parse_args(int argc, char **argv, struct args *a)
{
	bool anon = false;
	int opt;

	a->iova = 1ULL << 32;
	a->prot = IOPF_RW;
	while ((opt = cli_getopt(argc, argv, "+qhV", options, usage)) != -1) {
		switch (opt) {
		case OPT_IOVA:
			if (!cli_size("--iova", optarg, &a->iova))
				return CLI_ERROR;
			break;
		case OPT_SIZE:
			if (!cli_size("--size", optarg, &a->size))
				return CLI_ERROR;
			break;
		case OPT_ANON:
			anon = true;
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
		default:
			return opt ? CLI_ERROR : CLI_OK;
		}
	}
	if (a->file && anon)
		return cli_error("--anon and --file exclude each other; give one of them");
	if (a->flags & IOPF_BACKING_PRIVATE && !a->file)
		return cli_error("--private is for --file; memory of --anon is private anyway");
	if (optind == argc)
		return cli_error("no device; give its PCI address like 0000:01:00.0");
	if (iopf_pci_bdf(argv[optind++], a->bdf))
		return cli_lib_error();
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	if (optind < argc)
		a->command = argv + optind;
	return -1;
}

static int open_backing(struct iopf_ctx *ctx, __u32 ioas_id,
			const struct args *a, struct server *s)
{
	if (a->file)
		return iopf_backing_file(ctx, ioas_id, a->file, a->iova,
					 a->size, a->prot, a->flags,
					 &s->backing);
	return iopf_backing_anon(ctx, ioas_id, a->iova,
				 a->size ? a->size : 64ULL << 20, a->prot,
				 a->flags, &s->backing);
}

/* The child of a COMMAND: does not return. */
static void run_command(char **command, int vfio)
{
	char number[16];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(number, sizeof(number), "%d", vfio);
	if (fcntl(vfio, F_SETFD, 0) || setenv("IOPF_VFIO_FD", number, 1))
		_exit(126);
	execvp(command[0], command);
	cli_error("%s: %s", command[0], strerror(errno));
	_exit(127);
}

/* A descriptor that can be read when the child has ended. */
static int start_command(char **command, int vfio, pid_t *pid)
{
	int fd, err;

	fflush(stdout);
	*pid = fork();
	if (*pid < 0) {
		err = errno;
		return iopf_err(-err, "cannot start %s: %s", command[0],
				strerror(err));
	}
	if (!*pid)
		run_command(command, vfio);
	fd = syscall(SYS_pidfd_open, *pid, 0);
	if (fd < 0) {
		err = errno;
		kill(*pid, SIGTERM);
		waitpid(*pid, NULL, 0);
		return iopf_err(-err, "cannot watch %s: %s", command[0],
				strerror(err));
	}
	return fd;
}

/* A command that ended by itself has to have ended well. */
static int end_command(char **command, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) == pid) {
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			return 0;
		return iopf_err(-ECHILD, "%s failed", command[0]);
	}
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}

static int serve_loop(struct server *s, const struct args *a, int sig,
		      int child)
{
	struct pollfd pfd[] = {
		{ .fd = iopf_queue_fd(s->queue), .events = POLLIN },
		{ .fd = sig, .events = POLLIN },
		{ .fd = child, .events = POLLIN },
	};
	int ret;

	for (;;) {
		ret = poll(pfd, 3, -1);
		if (ret < 0 && errno != EINTR)
			return iopf_err(-errno, "poll: %s", strerror(errno));
		if (ret < 0)
			continue;
		ret = server_run(s);
		if (ret < 0)
			return ret;
		if (ret && a->once)
			return 0;
		if (pfd[1].revents || pfd[2].revents)
			return 0;
		if (pfd[0].revents & ~POLLIN)
			return iopf_err(-EIO, "the fault queue reports an error");
	}
}

static int serve(struct iopf_ctx *ctx, struct iopf_dev *dev,
		 const struct args *a)
{
	struct server s = { .answer_invalid = a->invalid };
	int sig, child = -1, ret;
	__u32 ioas_id, hwpt_id;
	pid_t pid = 0;

	sig = cli_signal_fd();
	if (sig < 0)
		return sig;
	ret = server_open(ctx, dev, &s, &ioas_id, &hwpt_id);
	if (ret)
		goto close_signal;
	ret = open_backing(ctx, ioas_id, a, &s);
	if (ret)
		goto close_server;
	if (!a->no_dma) {
		ret = iopf_dev_bus_master(dev, true);
		if (ret)
			goto close_server;
	}
	printf("%s: serving page requests%s\n", iopf_dev_bdf(dev),
	       a->command ? "" : ", Ctrl-C ends");
	if (!a->quiet) {
		s.log = stdout;
		s.log_left = ~0ULL;
	}
	if (a->command) {
		child = start_command(a->command, iopf_dev_fd(dev), &pid);
		if (child < 0) {
			ret = child;
			goto close_server;
		}
	}
	ret = serve_loop(&s, a, sig, child);
	if (child >= 0) {
		close(child);
		if (end_command(a->command, pid) && !ret)
			ret = -ECHILD;
	}
	server_table(stdout, &s);

close_server:
	server_close(ctx, dev, &s, ioas_id, hwpt_id);
close_signal:
	close(sig);
	return ret;
}

int cmd_serve(int argc, char **argv)
{
	struct args a = { 0 };
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	int ret;

	ret = parse_args(argc, argv, &a);
	if (ret >= 0)
		return ret;
	if (iopf_ctx_open(&ctx))
		return cli_lib_error();
	ret = iopf_dev_open(ctx, a.bdf, &dev);
	if (ret)
		goto close_ctx;
	ret = serve(ctx, dev, &a);
	iopf_dev_close(dev);

close_ctx:
	iopf_ctx_close(ctx);
	return ret ? cli_lib_error() : CLI_OK;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command that "iopf serve" runs: it gets the open device and drives it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "command.h"

static int not_runnable(const char *name, int err)
{
	cli_error("%s: %s", name, strerror(-err));
	return err == -ENOENT || err == -ENOTDIR ? CLI_COMMAND_MISSING :
						 CLI_COMMAND_DENIED;
}

/* Why a file is no program, a negative errno, 0 if it is one. */
static int program_error(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return access(path, X_OK) ? -errno : 0;
}

int command_check(const char *name)
{
	const char *dir = getenv("PATH");
	char path[PATH_MAX];
	int err, worst = 0;
	size_t len;

	if (!name[0]) {
		cli_error("the name of the command is empty");
		return CLI_COMMAND_MISSING;
	}
	if (strchr(name, '/')) {
		err = program_error(name);
		return err ? not_runnable(name, err) : 0;
	}
	if (!dir)
		dir = "/bin:/usr/bin";
	for (;; dir += len + 1) {
		len = strcspn(dir, ":");
		snprintf(path, sizeof(path), "%.*s%s%s", (int)len, dir,
			 len ? "/" : "", name);
		err = program_error(path);
		if (!err)
			return 0;
		if (err == -EACCES)
			worst = err;
		if (!dir[len])
			break;
	}
	if (worst)
		return not_runnable(name, worst);
	cli_error("%s: no such command in PATH", name);
	return CLI_COMMAND_MISSING;
}

/* Does not return. */
static void run(const struct command *c, int vfio, const sigset_t *mask,
		pid_t parent)
{
	char number[16];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(CLI_COMMAND_OURS);
	sigprocmask(SIG_SETMASK, mask, NULL);
	snprintf(number, sizeof(number), "%d", vfio);
	if (fcntl(vfio, F_SETFD, 0) || setenv("IOPF_VFIO_FD", number, 1)) {
		cli_error("cannot hand the device to %s: %s", c->argv[0],
			  strerror(errno));
		_exit(CLI_COMMAND_OURS);
	}
	execvp(c->argv[0], c->argv);
	_exit(not_runnable(c->argv[0], -errno));
}

int command_start(struct command *c, int vfio, const sigset_t *mask)
{
	pid_t parent = getpid();
	int err;

	fflush(stdout);
	c->asked = false;
	c->pid = fork();
	if (c->pid < 0) {
		err = errno;
		return iopf_err(-err, "cannot start %s: %s", c->argv[0],
				strerror(err));
	}
	if (!c->pid)
		run(c, vfio, mask, parent);
	c->fd = syscall(SYS_pidfd_open, c->pid, 0);
	if (c->fd < 0) {
		err = errno;
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		return iopf_err(-err, "cannot watch %s: %s", c->argv[0],
				strerror(err));
	}
	return 0;
}

void command_stop(struct command *c)
{
	if (c->asked) {
		kill(c->pid, SIGKILL);
		return;
	}
	kill(c->pid, SIGTERM);
	/* A command that is stopped takes SIGTERM only when it goes on. */
	kill(c->pid, SIGCONT);
	c->asked = true;
}

int command_end(struct command *c)
{
	int status;

	while (waitpid(c->pid, &status, 0) < 0)
		if (errno != EINTR)
			return CLI_COMMAND_OURS;
	close(c->fd);
	c->fd = -1;
	if (WIFSIGNALED(status))
		return CLI_COMMAND_SIGNAL + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command that "iopf serve" runs: it gets the open device and drives it.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_COMMAND_H
#define IOPF_COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/**
 * struct command - a command that runs or has run
 * @argv: its words
 * @pid: process
 * @fd: can be read when the process has ended; -1 before the start
 * @asked: it was asked to end
 */
struct command {
	char **argv;
	pid_t pid;
	int fd;
	bool asked;
};

/**
 * command_check - can this be run
 * @name: first word
 *
 * Looks where execvp(3) will look.
 *
 * Return: 0, or the exit status after a line that says why not.
 */
int command_check(const char *name);

/**
 * command_start - run it
 * @c: @c->argv is set
 * @vfio: open VFIO file, which the command inherits and finds in IOPF_VFIO_FD
 * @mask: its signal mask
 *
 * The command is sent SIGTERM when this process dies, which would leave it with
 * a device that nobody serves.
 *
 * Return: 0 or a negative errno. It is to be ended by command_end() then.
 */
int command_start(struct command *c, int vfio, const sigset_t *mask);

/**
 * command_stop - end a command: with SIGTERM the first time, then with SIGKILL
 * @c: command that was started
 */
void command_stop(struct command *c);

/**
 * command_end - wait for a command to end and take its status
 * @c: command that was started and has ended, or will soon
 *
 * Return: its exit status, and 128 more than the signal that killed it.
 */
int command_end(struct command *c);

#endif /* IOPF_COMMAND_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Configuration and command line of the running kernel.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "kconfig.h"

/* Larger than any configuration. */
#define MAX_CONFIG	(16 << 20)

static char *config;
static char cmdline[4096];
static bool cmdline_known;

/* All of a file or nothing: half a configuration lacks options. */
static char *read_fd(int fd)
{
	size_t len = 0, size = 65536;
	char *text, *more;
	ssize_t n = 0;

	text = malloc(size);
	while (text) {
		n = read(fd, text + len, size - len - 1);
		if (n <= 0)
			break;
		len += n;
		if (len + 1 < size)
			continue;
		size *= 2;
		more = size <= MAX_CONFIG ? realloc(text, size) : NULL;
		if (!more) {
			n = -1;
			break;
		}
		text = more;
	}
	if (n < 0) {
		free(text);
		return NULL;
	}
	if (text)
		text[len] = 0;
	return text;
}

static char *read_plain(const char *path)
{
	char *text;
	int fd;

	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	text = read_fd(fd);
	close(fd);
	return text;
}

/* /proc/config.gz alone is not worth an inflate() of our own: run gzip. */
static char *read_compressed(const char *path)
{
	int fds[2], status;
	char *text;
	pid_t pid;

	if (access(path, R_OK) || pipe(fds))
		return NULL;
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		execlp("gzip", "gzip", "-dc", path, NULL);
		execlp("zcat", "zcat", path, NULL);
		_exit(127);
	}
	close(fds[1]);
	if (pid > 0) {
		text = read_fd(fds[0]);
		/* Before the wait: gzip ends when nobody reads the pipe. */
		close(fds[0]);
		if (waitpid(pid, &status, 0) == pid && !status)
			return text;
		free(text);
		return NULL;
	}
	close(fds[0]);
	return NULL;
}

static bool take(char *text)
{
	if (text && strstr(text, "CONFIG_")) {
		config = text;
		return true;
	}
	free(text);
	return false;
}

static bool try_file(char *(*reader)(const char *path), const char *dir,
		     const char *release, const char *file)
{
	char *path = iopf_path("%s%s%s", dir, release, file);
	bool found = path && take(reader(path));

	free(path);
	return found;
}

void kconfig_free(void)
{
	free(config);
	config = NULL;
	cmdline[0] = 0;
	cmdline_known = false;
}

void kconfig_load(const char *release)
{
	kconfig_free();
	cmdline_known = iopf_read_file(cmdline, sizeof(cmdline),
				       "/proc/cmdline") >= 0;
	if (try_file(read_compressed, "/proc/config.gz", "", "") ||
	    try_file(read_plain, "/boot/config-", release, "") ||
	    try_file(read_plain, "/lib/modules/", release, "/config") ||
	    try_file(read_plain, "/lib/modules/", release, "/build/.config"))
		return;
}

bool kcmdline_known(void)
{
	return cmdline_known;
}

bool kconfig_known(void)
{
	return config;
}

char kconfig_option(const char *name)
{
	size_t len = strlen(name);
	const char *at = config;

	if (!config)
		return '?';
	while ((at = strstr(at, "CONFIG_")) != NULL) {
		const char *word = at + strlen("CONFIG_");
		bool start = at == config || at[-1] == '\n';

		at = word;
		if (start && !strncmp(word, name, len) && word[len] == '=')
			return word[len + 1];
	}
	return 'n';
}

static bool has_value(const char *list, size_t len, const char *value)
{
	size_t part;

	for (;;) {
		part = strcspn(list, ",");
		if (part > len)
			part = len;
		if (part == strlen(value) && !strncmp(list, value, part))
			return true;
		if (part == len)
			return false;
		list += part + 1;
		len -= part + 1;
	}
}

bool kcmdline_has(const char *option, const char *value)
{
	const char *at = cmdline;
	size_t name = strlen(option);
	size_t len;

	for (; *at; at += len) {
		at += strspn(at, " ");
		len = strcspn(at, " ");
		if (len < name || strncmp(at, option, name))
			continue;
		if (len == name && !value)
			return true;
		if (len > name && at[name] == '=' && value &&
		    has_value(at + name + 1, len - name - 1, value))
			return true;
	}
	return false;
}

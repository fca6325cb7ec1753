// SPDX-License-Identifier: GPL-2.0-only
/*
 * The report, the kernel log and small files
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define PORT_NAME	"org.linux-iopf.ktap"
#define CONSOLE_MARK	"ktap| "
#define PORT_LIMIT	30	/* seconds for the port's name to appear */
/* /dev/kmsg refuses longer records; its prefix counts too */
#define MAX_KMSG	800

static int port = -1;
static int kmsg = -1;

static void write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (n > 0) {
			buf += n;
			len -= n;
		}
	}
}

/*
 * One line in one write, behind @prefix. Adds the newline, without which a record
 * of the log stays open for more, and nobody sees it before the kernel has
 * something else to say. Cuts what is beyond @size.
 */
static void write_line(int fd, char *line, size_t size, const char *prefix, const char *fmt,
		       va_list args)
{
	size_t at = snprintf(line, size, "%s", prefix);

	if (fd < 0 || vsnprintf(line + at, size - at - 1, fmt, args) < 0)
		return;
	at += strlen(line + at);
	line[at++] = '\n';
	write_all(fd, line, at);
}

/*
 * One line of the report. Without a port it goes to the console by way of the
 * kernel's log: its lines are whole, while the kernel's own words break into what
 * is written to the terminal.
 */
void report(const char *fmt, ...)
{
	char line[4096];
	va_list args;

	va_start(args, fmt);
	if (port >= 0)
		write_line(port, line, sizeof(line), "", fmt, args);
	else
		write_line(kmsg, line, MAX_KMSG, "<6>" CONSOLE_MARK, fmt, args);
	va_end(args);
}

/*
 * A line among the kernel's own, so that the console log shows which test a
 * kernel message belongs to. The host knows by "iopf: " that it is not the
 * kernel that speaks.
 */
void log_line(const char *fmt, ...)
{
	char line[MAX_KMSG];
	va_list args;

	va_start(args, fmt);
	write_line(kmsg, line, sizeof(line), "<6>iopf: ", fmt, args);
	va_end(args);
}

bool starts(const char *line, const char *prefix)
{
	return !strncmp(line, prefix, strlen(prefix));
}

time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Returns 0 or a negative errno. */
int write_file(const char *path, const char *value)
{
	ssize_t n;
	int fd, err = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	if (n < 0)
		err = -errno;
	else if ((size_t)n != strlen(value))
		err = -EIO;
	close(fd);
	return err;
}

/* Reads a small file, without the blanks at its end. Returns 0 or -errno. */
int read_file(const char *path, char *buf, size_t size)
{
	ssize_t n;
	int fd;

	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return n;
	while (n && isspace((unsigned char)buf[n - 1]))
		n--;
	buf[n] = '\0';
	return 0;
}

/* Fills in the reason of a failure. */
enum outcome fail(char *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, MAX_WHY, fmt, args);
	va_end(args);
	return FAIL;
}

/* True if the machine has a virtio-serial device. */
static bool has_virtio_serial(void)
{
	DIR *dir = opendir("/sys/bus/virtio/drivers/virtio_console");
	struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		found |= starts(entry->d_name, "virtio");
	closedir(dir);
	return found;
}

/* Looks through the named virtio-serial ports once. Returns a fd or -1. */
static int find_port(void)
{
	struct dirent *entry;
	char path[PATH_MAX], name[64];
	int fd = -1;
	DIR *dir;

	dir = opendir("/sys/class/virtio-ports");
	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		if (read_file(path, name, sizeof(name)) || strcmp(name, PORT_NAME))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

/* The kernel's log, which is there whatever drivers are missing. */
void open_log(void)
{
	/* all lines are wanted, not ten in five seconds */
	write_file("/proc/sys/kernel/printk_devkmsg", "on");
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

/*
 * The name of a port reaches the driver some time after its device, so wait if
 * there is such a device at all.
 */
void open_report(void)
{
	time_t end = now() + PORT_LIMIT;

	do {
		port = find_port();
		if (port >= 0)
			break;
		poll(NULL, 0, 50);
	} while (has_virtio_serial() && now() < end);
	log_line("the report goes to %s", port < 0 ? "the console" : "its port");
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what "iopf serve" is made of that take no device: its lines have a
 * limit, a device that never stops to ask is served in portions, and a command
 * is ended in any state. This program plays the kernel's side of the queue.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "command.h"
#include "internal.h"
#include "limit.h"
#include "server.h"
#include "unittest.h"

#define BASE		0x100000000ULL
#define TEST_SECONDS	300

static int device = -1;		/* config space of a device */
static __u16 detached_as = 0xffff;	/* its command register at the detach */
static int fault_fds[2];	/* [1] is the kernel's end of a fault queue */

static int fake_region_info(struct vfio_region_info *info)
{
	info->offset = 0;
	info->size = 4096;
	return 0;
}

int __wrap_ioctl(int fd, unsigned long nr, ...)
{
	struct iommu_fault_alloc *cmd;
	ssize_t n;
	va_list ap;

	(void)fd;
	va_start(ap, nr);
	cmd = va_arg(ap, void *);
	va_end(ap);
	switch (nr) {
	case IOMMU_FAULT_QUEUE_ALLOC:
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
			       fault_fds))
			return -1;
		cmd->out_fault_fd = fault_fds[0];
		cmd->out_fault_id = 7;
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return fake_region_info((void *)cmd);
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		n = pread(device, &detached_as, 2, PCI_COMMAND);
		return n == 2 ? 0 : -1;
	case IOMMU_IOAS_UNMAP:
	case IOMMU_DESTROY:
		return 0;
	}
	errno = ENOMEM;
	return -1;
}

static unsigned int count_lines(const char *text, size_t size)
{
	unsigned int lines = 0;

	while (size--)
		lines += text[size] == '\n';
	return lines;
}

static void test_limit(void)
{
	struct limit l = { 0 };
	__u64 now = 12345, dropped, sum = 0, shown = 0, i;

	for (i = 0; i < LIMIT_BURST; i++)
		CHECK(limit_pass(&l, now, &dropped) && !dropped);
	for (i = 0; i < 1000; i++)
		CHECK(!limit_pass(&l, now, &dropped));
	CHECK(!limit_pass(&l, now + LIMIT_EVERY - 1, &dropped));
	CHECK(limit_pass(&l, now + LIMIT_EVERY, &dropped) && dropped == 1001);
	CHECK(!limit_pass(&l, now + LIMIT_EVERY, &dropped));
	/* After a rest there is a burst again, and not more. */
	now += 1000 * LIMIT_EVERY;
	CHECK(limit_pass(&l, now, &dropped) && dropped == 1);
	for (i = 1; i < LIMIT_BURST; i++)
		CHECK(limit_pass(&l, now, &dropped));
	CHECK(!limit_pass(&l, now, &dropped));

	/* A flood: a line in each period, and each group is counted. */
	memset(&l, 0, sizeof(l));
	for (i = 0; i < 100000; i++)
		if (limit_pass(&l, i * LIMIT_EVERY / 100, &dropped)) {
			shown++;
			sum += dropped;
		}
	CHECK(shown >= 1000 && shown <= 1000 + LIMIT_BURST);
	CHECK(sum + l.dropped + shown == 100000);
}

/* Put @nr groups of one request each into the queue, and end it. */
static void flood(unsigned int nr)
{
	struct iommu_hwpt_pgfault rec[20] = { 0 };
	unsigned int i, cookie = 1;

	for (; nr; nr -= ARRAY_SIZE(rec)) {
		for (i = 0; i < ARRAY_SIZE(rec); i++) {
			rec[i].cookie = cookie++;
			rec[i].addr = BASE;
			rec[i].perm = IOPF_WRITE;
			rec[i].flags = IOMMU_PGFAULT_FLAGS_LAST_PAGE;
		}
		CHECK(write(fault_fds[1], rec, sizeof(rec)) == sizeof(rec));
	}
	/* An empty queue reads as 0 bytes, as in the kernel. */
	shutdown(fault_fds[1], SHUT_WR);
}

static void take_answers(unsigned int want)
{
	struct iommu_hwpt_page_response resp;
	unsigned int nr = 0;

	while (read(fault_fds[1], &resp, sizeof(resp)) == sizeof(resp)) {
		CHECK(resp.code == IOMMUFD_PAGE_RESP_INVALID);
		nr++;
	}
	CHECK(nr == want);
}

static void test_portions(void)
{
	static struct server s;
	struct iopf_ctx fake = { .fd = -1 };
	char *text = NULL;
	size_t size;

	CHECK(!iopf_queue_open(&fake, &s.queue));
	s.answer_invalid = true;
	s.log = open_memstream(&text, &size);
	s.log_left = ~0ULL;
	s.limited = true;
	flood(160);
	CHECK(server_run(&s) == SERVER_BATCH);
	take_answers(SERVER_BATCH);
	CHECK(server_run(&s) == SERVER_BATCH);
	CHECK(server_run(&s) == 160 - 2 * SERVER_BATCH);
	CHECK(server_run(&s) == 0);
	take_answers(160 - SERVER_BATCH);
	CHECK(s.count.groups == 160 && s.count.invalid == 160);
	CHECK(s.lines.dropped > 0);
	server_log_end(&s);
	fclose(s.log);
	/* Without the limit there would be 160. */
	CHECK(count_lines(text, size) < 160);
	CHECK(strstr(text, "groups more (--verbose shows all)"));
	free(text);
	close(fault_fds[1]);
	iopf_queue_close(s.queue);
}

/* Map calls that fail fill no log either. */
static void test_complaints(void)
{
	static struct server s;
	struct iopf_ctx fake = { .fd = -1 };
	char text[65536];
	int saved, file;
	ssize_t len;

	CHECK(!iopf_queue_open(&fake, &s.queue));
	CHECK(!iopf_backing_anon(&fake, 1, BASE, 1 << 20, IOPF_RW, 0,
				 &s.backing));
	flood(160);
	saved = dup(STDERR_FILENO);
	file = fileno(tmpfile());
	dup2(file, STDERR_FILENO);
	while (server_run(&s) > 0)
		;
	server_log_end(&s);
	dup2(saved, STDERR_FILENO);
	close(saved);
	CHECK(s.count.errors == 160);
	len = pread(file, text, sizeof(text) - 1, 0);
	CHECK(len > 0);
	text[len > 0 ? len : 0] = 0;
	CHECK(count_lines(text, strlen(text)) < 160);
	CHECK(strstr(text, "more of these errors"));
	take_answers(160);
	close(file);
	close(fault_fds[1]);
	iopf_backing_close(s.backing);
	iopf_queue_close(s.queue);
}

/* The device is stopped before its memory is taken away. */
static void test_close(void)
{
	__u16 on = htole16(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	struct iopf_ctx fake = { .fd = -1 };
	static struct server s;
	struct iopf_dev *dev;

	device = fileno(tmpfile());
	CHECK(!ftruncate(device, 4096));
	CHECK(pwrite(device, &on, 2, PCI_COMMAND) == 2);
	CHECK(!iopf_dev_from_fd(&fake, device, &dev));
	server_close(&fake, dev, &s, 1, 2);
	CHECK(detached_as == htole16(PCI_COMMAND_MEMORY));
	iopf_dev_close(dev);
}

static sigset_t no_signals;

static int shell(struct command *c, const char *script, int vfio)
{
	static char *argv[4];

	argv[0] = "sh";
	argv[1] = "-c";
	argv[2] = (char *)script;
	c->argv = argv;
	return command_start(c, vfio, &no_signals);
}

/* Start a script that writes to its device, wait for that, and stop it. */
static int stopped(const char *script, unsigned int stops, int fds[2])
{
	struct command c;
	char byte;

	if (shell(&c, script, fds[1]) || read(fds[0], &byte, 1) != 1)
		return -1;
	while (stops--)
		command_stop(&c);
	return command_end(&c);
}

static int status_of(const char *script, int vfio)
{
	struct command c;

	return shell(&c, script, vfio) ? -1 : command_end(&c);
}

static void test_command(void)
{
	static char *grep[5];
	struct command c;
	char text[64] = "";
	sigset_t blocked;
	int fds[2];

	CHECK(!pipe(fds));
	CHECK(status_of("exit 0", fds[1]) == 0);
	CHECK(status_of("exit 7", fds[1]) == 7);
	CHECK(status_of("kill -KILL $$", fds[1]) == 128 + SIGKILL);
	CHECK(status_of("kill -SEGV $$", fds[1]) == 128 + SIGSEGV);
	/* The command has the device, although its file is closed on exec, */
	fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	CHECK(!status_of("echo hello >/proc/self/fd/$IOPF_VFIO_FD", fds[1]));
	CHECK(read(fds[0], text, sizeof(text)) == 6 && !strcmp(text, "hello\n"));
	/* and none of the blocked signals. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	/* A shell would set the mask itself. */
	grep[0] = "grep";
	grep[1] = "-q";
	grep[2] = "SigBlk:[[:space:]]*0*$";
	grep[3] = "/proc/self/status";
	c.argv = grep;
	CHECK(!command_start(&c, fds[1], &no_signals) && !command_end(&c));
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	close(fds[0]);
	close(fds[1]);
}

static void test_stop(void)
{
	int fds[2];

	CHECK(!pipe(fds));
	CHECK(stopped("echo >/proc/self/fd/$IOPF_VFIO_FD; exec sleep 1000",
		      1, fds) == 128 + SIGTERM);
	CHECK(stopped("trap 'exit 5' TERM; echo >/proc/self/fd/$IOPF_VFIO_FD;"
		      "while :; do sleep 0.1; done", 1, fds) == 5);
	/* Stopped by job control: it has to go on to take the signal. */
	CHECK(stopped("sh=$$; (until grep -q '^State:.T' /proc/$sh/status; do sleep 0.1; done;"
		      "echo >/proc/self/fd/$IOPF_VFIO_FD) & kill -STOP $$; exit 1",
		      1, fds) == 128 + SIGTERM);
	/* One that ignores SIGTERM. */
	CHECK(stopped("trap '' TERM; echo >/proc/self/fd/$IOPF_VFIO_FD;"
		      "while :; do sleep 1; done", 2, fds) == 128 + SIGKILL);
	close(fds[0]);
	close(fds[1]);
}

/* When the server dies, its command does: the pipe has no writer any more. */
static void test_orphan(void)
{
	struct command c;
	int fds[2], status;
	char byte;
	pid_t pid;

	CHECK(!pipe(fds));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fds[0]);
		if (shell(&c, "exec sleep 1000", fds[1]))
			_exit(1);
		/* Not before the command is there. */
		while (waitpid(c.pid, &status, WNOHANG) == 0) {
			char path[64], name[32] = "";
			int fd;

			snprintf(path, sizeof(path), "/proc/%d/comm", c.pid);
			fd = open(path, O_RDONLY);
			if (read(fd, name, sizeof(name) - 1) > 0 &&
			    !strcmp(name, "sleep\n"))
				kill(getpid(), SIGKILL);
			close(fd);
		}
		_exit(2);
	}
	close(fds[1]);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(read(fds[0], &byte, 1) == 0);
	close(fds[0]);
}

int main(void)
{
	sigemptyset(&no_signals);
	/* A command that does not end fails the test, too. */
	alarm(TEST_SECONDS);
	printf("TAP version 13\n1..7\n");
	run("limit", test_limit);
	run("portions", test_portions);
	run("complaints", test_complaints);
	run("close", test_close);
	run("command", test_command);
	run("stop", test_stop);
	run("orphan", test_orphan);
	return failed ? 1 : 0;
}

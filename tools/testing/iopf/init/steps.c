// SPDX-License-Identifier: GPL-2.0-only
/*
 * The steps of a plan that run no test program
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
/* kmemleak does not report what is younger than 5 seconds */
#define KMEMLEAK_AGE	6
#define TAINT_TEST	0x40000UL	/* set by in-kernel tests */
#define TAINT_MODULE	0x1000UL	/* set by external modules */
#define TAINT_UNSIGNED	0x2000UL	/* by those without the kernel's signature */
#define PRELOAD_FILE	"/etc/preload"
#define MAX_PRELOAD	512		/* bytes of a line */

/* Taint that the plan itself causes, which is no failure */
static unsigned long expected_taint = TAINT_TEST;

enum outcome run_write(struct step *step, char *why)
{
	int err = write_file(step->argv[1], step->argv[2]);

	if (err)
		return fail(why, "%s: %s", step->argv[1], strerror(-err));
	return PASS;
}

/*
 * The kernel may take less than it was asked for without an error, as with
 * vm.nr_hugepages; a test that then fails would not say why.
 */
enum outcome run_sysctl(struct step *step, char *why)
{
	char path[PATH_MAX], have[MAX_WHY], *dot;
	int err;

	snprintf(path, sizeof(path), "/proc/sys/%s", step->argv[1]);
	for (dot = path + strlen("/proc/sys/"); *dot; dot++)
		if (*dot == '.')
			*dot = '/';
	err = write_file(path, step->argv[2]);
	if (!err)
		err = read_file(path, have, sizeof(have));
	if (err)
		return fail(why, "%s: %s", path, strerror(-err));
	if (strcmp(have, step->argv[2]))
		return fail(why, "wanted %s, is %.80s", step->argv[2], have);
	return PASS;
}

enum outcome run_need(struct step *step, char *why)
{
	if (access(step->argv[1], F_OK))
		return fail(why, "%s: %s", step->argv[1], strerror(errno));
	return PASS;
}

static enum outcome load_module(const char *path, const char *params, char *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail(why, "%s: %s", path, strerror(errno));
	if (syscall(SYS_finit_module, fd, params, 0)) {
		fail(why, "%s: %s", path, strerror(errno));
		close(fd);
		return FAIL;
	}
	close(fd);
	return PASS;
}

enum outcome run_insmod(struct step *step, char *why)
{
	char params[MAX_WHY] = "";
	size_t at = 0;
	int i;

	for (i = 2; i < step->argc && at < sizeof(params); i++)
		at += snprintf(params + at, sizeof(params) - at, "%s ", step->argv[i]);
	if (load_module(step->argv[1], params, why) == FAIL)
		return FAIL;
	expected_taint |= TAINT_MODULE | TAINT_UNSIGNED;
	return PASS;
}

/*
 * The kernel's own modules, so that no taint is excused. Returns false and says
 * why if one of them cannot be loaded.
 */
bool preload(char *why)
{
	FILE *f = fopen(PRELOAD_FILE, "re");
	char line[MAX_PRELOAD], *params;
	bool good = true;

	if (!f && errno == ENOENT)
		return true;
	if (!f) {
		fail(why, "%s: %s", PRELOAD_FILE, strerror(errno));
		return false;
	}
	while (good && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		params = line + strcspn(line, " ");
		if (*params)
			*params++ = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		log_line("loads %s", line);
		good = load_module(line, params, why) == PASS;
	}
	fclose(f);
	return good;
}

static bool pci_id_is(const char *bdf, const char *attr, unsigned long id)
{
	char path[PATH_MAX], value[32];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, attr);
	return !read_file(path, value, sizeof(value)) && strtoul(value, NULL, 16) == id;
}

/* The name of the driver a device is bound to, "" if none. */
static void pci_driver(const char *bdf, char *name, size_t size)
{
	char path[PATH_MAX], link[PATH_MAX];
	ssize_t n;

	name[0] = '\0';
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return;
	link[n] = '\0';
	snprintf(name, size, "%s", strrchr(link, '/') + 1);
}

static int bind_one(const char *bdf, const char *driver)
{
	char path[PATH_MAX], have[64];
	int err;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	err = write_file(path, driver);
	if (err)
		return err;
	pci_driver(bdf, have, sizeof(have));
	if (have[0] && strcmp(have, driver)) {
		snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
		err = write_file(path, bdf);
		if (err)
			return err;
	}
	err = write_file("/sys/bus/pci/drivers_probe", bdf);
	if (err)
		return err;
	pci_driver(bdf, have, sizeof(have));
	if (strcmp(have, driver))
		return -ENODEV;
	report("# %s is bound to %s", bdf, driver);
	return 0;
}

enum outcome run_bind(struct step *step, char *why)
{
	unsigned long vendor, device, wanted = 0, nr = 0;
	struct dirent *entry;
	DIR *dir;
	int err;

	if (sscanf(step->argv[2], "%lx:%lx", &vendor, &device) != 2)
		return fail(why, "%s is not VENDOR:DEVICE", step->argv[2]);
	if (step->argc > 3)
		wanted = strtoul(step->argv[3], NULL, 10);
	dir = opendir(PCI_DEVICES);
	if (!dir)
		return fail(why, "%s: %s", PCI_DEVICES, strerror(errno));
	while ((entry = readdir(dir))) {
		if (!pci_id_is(entry->d_name, "vendor", vendor) ||
		    !pci_id_is(entry->d_name, "device", device))
			continue;
		err = bind_one(entry->d_name, step->argv[1]);
		if (err) {
			fail(why, "%s: %s", entry->d_name, strerror(-err));
			break;
		}
		nr++;
	}
	closedir(dir);
	if (why[0])
		return FAIL;
	if (!nr || (wanted && nr != wanted))
		return fail(why, "%lu devices %s, wanted %lu", nr, step->argv[2],
			    wanted ? wanted : 1);
	return PASS;
}

/* The terminal behind /dev/console, which itself can control no session. */
static int open_terminal(void)
{
	char active[128], path[160], *last;

	if (read_file("/sys/class/tty/console/active", active, sizeof(active)))
		return -1;
	last = strrchr(active, ' ');
	snprintf(path, sizeof(path), "/dev/%s", last ? last + 1 : active);
	return open(path, O_RDWR);
}

enum outcome run_shell(struct step *step, char *why)
{
	sigset_t none;
	pid_t pid;
	int tty;

	(void)step;
	pid = fork();
	if (pid < 0)
		return fail(why, "fork: %s", strerror(errno));
	if (pid) {
		while (waitpid(-1, NULL, 0) != pid)
			;
		return PASS;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	tty = open_terminal();
	ioctl(tty, TIOCSCTTY, 0);
	dup2(tty, STDIN_FILENO);
	dup2(tty, STDOUT_FILENO);
	dup2(tty, STDERR_FILENO);
	execl("/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; exec sh -l", NULL);
	fprintf(stderr, "cannot run /bin/busybox: %s\n", strerror(errno));
	_exit(127);
}

enum outcome run_kmemleak(struct step *step, char *why)
{
	char line[512];
	unsigned int leaks = 0;
	FILE *f;

	(void)step;
	sleep(KMEMLEAK_AGE);
	/* the first scan remembers what it saw, the second tells what stayed */
	if (write_file(KMEMLEAK, "scan") || write_file(KMEMLEAK, "scan"))
		return fail(why, "cannot scan");
	f = fopen(KMEMLEAK, "re");
	if (!f)
		return fail(why, "cannot read: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		leaks += starts(line, "unreferenced object");
		report("# kmemleak: %s", line);
		log_line("kmemleak: %s", line);
	}
	fclose(f);
	if (leaks)
		return fail(why, "%u leaks", leaks);
	return PASS;
}

enum outcome run_taint(struct step *step, char *why)
{
	unsigned long taint;
	char value[32];
	int err;

	(void)step;
	err = read_file("/proc/sys/kernel/tainted", value, sizeof(value));
	if (err)
		return fail(why, "cannot read: %s", strerror(-err));
	taint = strtoul(value, NULL, 10) & ~expected_taint;
	if (taint)
		return fail(why, "kernel is tainted: %#lx", taint);
	return PASS;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program iopf with a PCIe device: "iopf probe" and "iopf serve", end to
 * end. The served command is this program again; it drives the emulated test
 * endpoint 1234:11f0, the last one that is bound to vfio-pci.
 *
 * iopf is looked for in PATH. Nothing depends on timing: every wait ends with
 * the event it is for, or fails after a long time.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"

#include "iopf_endpoint.h"
#include "iopf_sysfs.h"

/* Longer than anything takes, even with all debugging on in an emulator. */
#define PATIENCE_MS	(4 * LONG_MS)

#define LENGTH		(64 * 4096)
#define FLOOD		400
#define MAX_WORDS	16

static char self[256];			/* this program */
static char bdf[16];			/* the endpoint */
static const char *why_skipped;		/* the test that runs, NULL if it is not */
static const char * const file = "/dev/shm/iopf_program";

/* True, or a line that says what is not. */
#define OK(cond)	check(cond, #cond, __func__, __LINE__)

static bool check(bool good, const char *cond, const char *function, int line)
{
	if (!good)
		ksft_print_msg("%s:%d: %s\n", function, line, cond);
	return good;
}

/*
 * The served command
 */

static int driver_error(void)
{
	fprintf(stderr, "device: %s\n", iopf_error());
	return 99;
}

static int wait_done(struct testdev *td, unsigned int slot,
		     struct testdev_result *r)
{
	__u64 end = iopf_now() + PATIENCE_MS * 1000000ULL;

	while (!testdev_done(td, slot, r))
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "the transfer does not end");
	return 0;
}

static int transfers(struct testdev *td, unsigned int opcode, __u32 length,
		     unsigned int nr)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = IOPF_TD_F_GROUP,
		.iova = BASE,
		.length = length,
		.data = SEED,
	};
	struct testdev_result r;
	unsigned int slot;

	for (; nr; nr--, op.iova += 4096) {
		if (testdev_submit(td, &op, &slot) || wait_done(td, slot, &r))
			return driver_error();
		if (r.status != IOPF_TD_ST_OK) {
			iopf_err(-EIO, "%s", testdev_status(r.status));
			return driver_error();
		}
	}
	return 0;
}

/* Have a request open while the server does not run, and stay so. */
static int open_request(struct testdev *td)
{
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_FILL,
		.iova = BASE,
		.length = 4096,
	};
	unsigned int slot;
	char byte;

	puts("ready");
	if (read(STDIN_FILENO, &byte, 1) != 1 ||
	    testdev_submit(td, &op, &slot))
		return driver_error();
	while (!testdev_reg(td, IOPF_TD_REG_PRI_OUTSTANDING))
		continue;
	puts("open");
	for (;;)
		pause();
}

static int drive(struct testdev *td, const char *what)
{
	if (!strcmp(what, "fill"))
		return transfers(td, IOPF_TD_OP_FILL, LENGTH, 1);
	if (!strcmp(what, "compare"))
		return transfers(td, IOPF_TD_OP_COMPARE, LENGTH, 1);
	if (!strcmp(what, "flood"))
		return transfers(td, IOPF_TD_OP_FILL, 4096, FLOOD);
	return open_request(td);
}

/* What the kernel does when the device reports an error it cannot mend. */
static int report_error(int vfio)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_ERR_IRQ_INDEX,
		.count = 1,
	};

	if (ioctl(vfio, VFIO_DEVICE_SET_IRQS, &set))
		return 96;
	pause();
	return 0;
}

/* Until a signal comes. */
static int keep(const char *how)
{
	if (!strcmp(how, "hold-ignore"))
		signal(SIGTERM, SIG_IGN);
	puts("ready");
	if (!strcmp(how, "hold-stopped"))
		raise(SIGSTOP);
	pause();
	return 0;
}

static int command(int argc, char **argv)
{
	const char *number = getenv("IOPF_VFIO_FD");
	static struct testdev td;
	struct iopf_dev *dev;
	int ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!number)
		return 98;
	if (!strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	if (!strcmp(argv[1], "die"))
		return raise(SIGKILL);
	if (argc == 2 && !strncmp(argv[1], "hold", 4))
		return keep(argv[1]);
	if (!strcmp(argv[1], "error"))
		return report_error(atoi(number));
	if (iopf_dev_from_fd(NULL, atoi(number), &dev))
		return driver_error();
	if (testdev_open(dev, &td))
		return driver_error();
	ret = drive(&td, argv[1]);
	testdev_close(&td);
	iopf_dev_close(dev);
	return ret;
}

/*
 * The program under test: its output is read from a pipe, and its command can
 * read from another one.
 */
struct program {
	pid_t pid;
	int in;
	int out;
	size_t len;
	char text[1 << 18];
};

static struct program prog;

/* Run iopf with @words, and with this program as command if @mode is given. */
static bool start_program(const char * const *words, const char *mode,
			  const char *value)
{
	char *argv[MAX_WORDS] = { "iopf" };
	int in[2], out[2], i;

	for (i = 1; *words; words++)
		argv[i++] = (char *)*words;
	if (mode) {
		argv[i++] = "--";
		argv[i++] = self;
		argv[i++] = (char *)mode;
		argv[i++] = (char *)value;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return false;
	memset(&prog, 0, sizeof(prog));
	fflush(stdout);
	prog.pid = fork();
	if (!prog.pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(97);
	}
	close(in[0]);
	close(out[1]);
	prog.in = in[1];
	prog.out = out[0];
	return prog.pid > 0;
}

/* Read until @text comes, or to the end with NULL. */
static bool read_until(const char *text)
{
	struct pollfd pfd = { .fd = prog.out, .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (text && strstr(prog.text, text))
			return true;
		if (poll(&pfd, 1, PATIENCE_MS) <= 0)
			break;
		n = read(prog.out, prog.text + prog.len,
			 sizeof(prog.text) - 1 - prog.len);
		if (n <= 0 && !text)
			return true;
		if (n <= 0)
			break;
		prog.len += n;
	}
	ksft_print_msg("no '%s'\n", text ? text : "end");
	return false;
}

/* Wait for iopf to end: its exit status, 1000 plus a signal, or -1 on error. */
static int end_program(void)
{
	int status;

	if (!read_until(NULL))
		kill(prog.pid, SIGKILL);
	close(prog.in);
	close(prog.out);
	if (waitpid(prog.pid, &status, 0) != prog.pid)
		return -1;
	prog.pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   1000 + WTERMSIG(status);
}

static int run_program(const char * const *words, const char *mode,
		       const char *value)
{
	return start_program(words, mode, value) ? end_program() : -1;
}

#define WORDS(...)	((const char * const []){ __VA_ARGS__, NULL })
#define SERVE(...)	WORDS("serve", ##__VA_ARGS__, bdf)

static bool printed(const char *text)
{
	if (strstr(prog.text, text))
		return true;
	ksft_print_msg("not said: %s\n", text);
	return false;
}

/* What a test that failed leaves behind must not hold the device. */
static void clean_up(bool passed)
{
	char *line, *rest = prog.text;

	if (prog.pid) {
		kill(prog.pid, SIGCONT);
		kill(prog.pid, SIGTERM);
		kill(prog.pid, SIGTERM);
		end_program();
	}
	while (!passed && (line = strsep(&rest, "\n")))
		if (*line)
			ksft_print_msg("  %s\n", line);
	unlink(file);
}

/*
 * Tests
 */

static bool probe_usable(void)
{
	return OK(run_program(WORDS("probe", bdf), NULL, NULL) == 0) &&
	       OK(printed("page faults are usable")) &&
	       OK(printed("page requests were on")) &&
	       OK(run_program(WORDS("probe", "--json", bdf), NULL, NULL) == 0) &&
	       OK(printed("\"verdict\": \"usable\"")) &&
	       OK(printed("\"tried\": true")) &&
	       OK(run_program(WORDS("probe"), NULL, NULL) == 0) &&
	       OK(printed(bdf));
}

static bool probe_not_tried(void)
{
	return OK(run_program(WORDS("probe", "--no-try", bdf), NULL, NULL) == 2) &&
	       OK(printed("not made: --no-try"));
}

static int find_other(const struct iopf_pci *pci, void *arg)
{
	char *other = arg;

	if (!testdev_is(pci) || pci->pri)
		return 0;
	memcpy(other, pci->bdf, sizeof(pci->bdf));
	return 1;
}

static bool probe_without_pri(void)
{
	char other[16] = "";

	iopf_pci_scan(find_other, other);
	if (!other[0]) {
		ksft_print_msg("there is no endpoint without PRI\n");
		return true;
	}
	if (!OK(run_program(WORDS("probe", other), NULL, NULL) == 1) ||
	    !OK(printed("no PRI capability")))
		return false;
	/* The worst of several decides, and each is tried. */
	return OK(run_program(WORDS("probe", bdf, other), NULL, NULL) == 1) &&
	       OK(printed("page faults are usable") && printed("are not usable"));
}

/* A program that has the device open: that says nothing about it. */
static bool probe_busy(void)
{
	struct program other;
	bool good;

	if (!OK(start_program(SERVE("--quiet"), NULL, NULL)) ||
	    !OK(read_until("Ctrl-C ends")))
		return false;
	other = prog;
	good = OK(run_program(WORDS("probe", bdf), NULL, NULL) == 2) &&
	       OK(printed("is open in another program"));
	prog = other;
	kill(prog.pid, SIGTERM);
	return OK(end_program() == 0) && good;
}

/* What the kernel counts of a device is there as long as it is served. */
static bool stat_served(void)
{
	struct program other;
	char line[64];
	bool good;

	snprintf(line, sizeof(line), "\"device\": \"%s\"", bdf);
	if (!OK(start_program(SERVE("--quiet"), NULL, NULL)) ||
	    !OK(read_until("Ctrl-C ends")))
		return false;
	other = prog;
	good = OK(run_program(WORDS("stat", "--json", bdf), NULL, NULL) == 0) &&
	       OK(printed(line) && printed("\"requests\": 0")) &&
	       OK(run_program(WORDS("stat"), NULL, NULL) == 0) &&
	       OK(printed("\noverflows ") && printed(bdf));
	prog = other;
	kill(prog.pid, SIGTERM);
	return OK(end_program() == 0) && good &&
	       OK(run_program(WORDS("stat", bdf), NULL, NULL) == 1) &&
	       OK(printed("are off")) &&
	       OK(run_program(WORDS("stat"), NULL, NULL) == 0) &&
	       OK(printed("\nrequests ") && !strstr(prog.text, bdf));
}

/* It goes on until it is told to end. */
static bool stat_watched(void)
{
	if (!OK(start_program(WORDS("stat", "--watch"), NULL, NULL)) ||
	    !OK(read_until("\nrequests ")))
		return false;
	/* Once more */
	prog.len = 0;
	prog.text[0] = 0;
	if (!OK(read_until("\noverflows ")))
		return false;
	kill(prog.pid, SIGTERM);
	return OK(end_program() == 0);
}

static bool no_buffer_left(void)
{
	DIR *dir = opendir("/sys/kernel/tracing/instances");
	struct dirent *entry;
	bool good = dir;

	while (dir && (entry = readdir(dir)))
		good &= strncmp(entry->d_name, "iopf-", 5) != 0;
	if (dir)
		closedir(dir);
	return good;
}

/* One group of the demonstration, as programs that show traces have it */
static bool trace_demo(void)
{
	static const char *const wanted[] = {
		"\"group ", "\"all requests come\"", "\"to be read\"",
		"\"program\"", "\"map\"", "\"answer\": \"success\"",
	};
	const char *out = "/dev/shm/iopf_program.json";
	static char text[1 << 20];
	bool good = true;
	ssize_t len;
	size_t i;
	int fd;

	if (!OK(run_program(WORDS("trace", "-o", out, "--", "iopf", "demo", bdf),
			    NULL, NULL) == 0) ||
	    !OK(printed("is not mapped")))
		return false;
	fd = open(out, O_RDONLY);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close(fd);
	unlink(out);
	if (!OK(len > 0))
		return false;
	text[len] = 0;
	for (i = 0; i < ARRAY_SIZE(wanted); i++)
		good &= OK(strstr(text, wanted[i]));
	/* A command that fails is not hidden, and leaves no buffer behind. */
	return good &&
	       OK(run_program(WORDS("trace", "-o", out, "--", "iopf", "demo",
				    "--what"), NULL, NULL) == 64) &&
	       OK(run_program(WORDS("trace", "-o", out, "--", "/nonexistent"),
			      NULL, NULL) == 127) &&
	       OK(!unlink(out)) && OK(no_buffer_left());
}

static bool make_file(__u32 seed)
{
	static __u8 data[LENGTH];
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	bool good;

	testdev_pattern(data, LENGTH, seed, 0);
	good = fd >= 0 && write(fd, data, LENGTH) == LENGTH;
	close(fd);
	return good;
}

static bool file_is(__u32 seed)
{
	static __u8 data[LENGTH];
	int fd = open(file, O_RDONLY);
	bool good;

	good = fd >= 0 && read(fd, data, LENGTH) == LENGTH &&
	       testdev_pattern_check(data, LENGTH, seed, 0) == LENGTH;
	close(fd);
	return good;
}

/* The device writes to a file, and reads another content of it. */
static bool serve_data(void)
{
	return OK(make_file(1)) &&
	       OK(run_program(SERVE("--file", file), "fill", NULL) == 0) &&
	       OK(file_is(SEED)) &&
	       OK(printed("serving 256 KiB of /dev/shm/iopf_program at 0x100000000..")) &&
	       OK(printed("..0x10003ffff, read and write, until /")) &&
	       OK(run_program(SERVE("--file", file), "compare", NULL) == 0) &&
	       OK(make_file(2)) &&
	       OK(run_program(SERVE("--file", file), "compare", NULL) == 99) &&
	       OK(printed("data differ")) &&
	       OK(run_program(SERVE("--file", file, "--private"), "fill", NULL) == 0) &&
	       OK(file_is(2)) &&
	       OK(run_program(SERVE("--file", file, "--readonly"), "fill", NULL) == 99) &&
	       OK(printed("page response Invalid") && file_is(2)) &&
	       OK(run_program(SERVE("--invalid"), "fill", NULL) == 99) &&
	       OK(printed("refusing all page requests"));
}

static bool serve_status(void)
{
	return OK(run_program(SERVE(), "exit", "0") == 0) &&
	       OK(run_program(SERVE(), "exit", "7") == 7) &&
	       OK(run_program(SERVE(), "exit", "255") == 255) &&
	       OK(run_program(SERVE(), "die", NULL) == 128 + SIGKILL);
}

/*
 * A wrong call is refused before the device is opened, which would reset it:
 * someone else has it open, and only a right call finds that out.
 */
static bool serve_refused(void)
{
	const char * const * const wrong[] = {
		SERVE("--size", "0"), SERVE("--size", "4097"),
		SERVE("--iova", "0x100000800"),
		SERVE("--iova", "0xffffffffffff0000"),
		SERVE("--file", "/nonexistent"), SERVE("--file", "/tmp"),
	};
	struct program other;
	bool good;
	size_t i;

	if (!OK(start_program(SERVE("--quiet"), NULL, NULL)) ||
	    !OK(read_until("Ctrl-C ends")))
		return false;
	other = prog;
	good = OK(run_program(SERVE(), NULL, NULL) == 2) &&
	       OK(printed("is open in another program"));
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		good &= OK(run_program(wrong[i], NULL, NULL) == 64);
	good &= OK(run_program(WORDS("serve", bdf, "--", "/nonexistent"), NULL,
			       NULL) == 127);
	good &= OK(run_program(WORDS("serve", bdf, "--", "/tmp"), NULL,
			       NULL) == 126);
	prog = other;
	kill(prog.pid, SIGTERM);
	return OK(end_program() == 0) && good;
}

/*
 * The limits of the IOMMU are known when the device is open. There are some that reach
 * all that can be asked for.
 */
static bool serve_out_of_reach(void)
{
	if (!OK(start_program(SERVE("--iova", "0x7000000000000000"), NULL, NULL)) ||
	    !OK(read_until("\n")))
		return false;
	if (strstr(prog.text, "Ctrl-C ends")) {
		why_skipped = "every address is in reach of this IOMMU";
		kill(prog.pid, SIGTERM);
		return OK(end_program() == 0);
	}
	return OK(end_program() == 2) && OK(printed("addresses end at")) &&
	       OK(run_program(SERVE("--iova", "0x7000000000000000"), "exit", "0") == 125);
}

static bool serve_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		if (!OK(start_program(SERVE(), NULL, NULL)) ||
		    !OK(read_until("Ctrl-C ends")))
			return false;
		kill(prog.pid, signals[i]);
		if (!OK(end_program() == 0) ||
		    !OK(printed("requests")) ||
		    !OK(start_program(SERVE(), "hold", NULL)) ||
		    !OK(read_until("ready")))
			return false;
		kill(prog.pid, signals[i]);
		if (!OK(end_program() == 128 + SIGTERM))
			return false;
	}
	return true;
}

/* Commands that do not take the signal at once, or never. */
static bool serve_stubborn(void)
{
	if (!OK(start_program(SERVE(), "hold-stopped", NULL)) ||
	    !OK(read_until("ready")))
		return false;
	kill(prog.pid, SIGTERM);
	if (!OK(end_program() == 128 + SIGTERM) ||
	    !OK(start_program(SERVE(), "hold-ignore", NULL)) ||
	    !OK(read_until("ready")))
		return false;
	kill(prog.pid, SIGTERM);
	return OK(end_program() == 128 + SIGKILL);
}

/* A copy of the fault queue that another process has open. */
static int queue_of(pid_t pid)
{
	char path[300], target[64] = "";
	struct dirent *entry;
	int pidfd, fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && fd < 0 && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid,
			 entry->d_name);
		if (readlink(path, target, sizeof(target) - 1) > 0 &&
		    strstr(target, "iommufd-pgfault"))
			fd = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	fd = fd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	close(pidfd);
	return fd;
}

/* A server that is stopped, with a request that waits in its queue. */
static bool start_with_open_request(void)
{
	struct pollfd pfd = { .events = POLLIN };
	int status;

	if (!OK(start_program(SERVE(), "open", NULL)) ||
	    !OK(read_until("ready")))
		return false;
	kill(prog.pid, SIGSTOP);
	if (!OK(waitpid(prog.pid, &status, WUNTRACED) == prog.pid) ||
	    !OK(WIFSTOPPED(status)) || !OK(write(prog.in, "", 1) == 1) ||
	    !OK(read_until("open\n")))
		return false;
	pfd.fd = queue_of(prog.pid);
	status = poll(&pfd, 1, PATIENCE_MS);
	close(pfd.fd);
	return OK(pfd.fd >= 0) && OK(status == 1);
}

/* A request is open when the signal comes: it is served all the same. */
static bool serve_open_request(void)
{
	if (!OK(start_with_open_request()))
		return false;
	kill(prog.pid, SIGTERM);
	kill(prog.pid, SIGCONT);
	return OK(end_program() == 128 + SIGTERM) &&
	       OK(printed("1 request ")) && OK(printed("SUCCESS"));
}

/*
 * The server is killed: its command goes too, which the end of the pipe shows,
 * and the device is free.
 */
static bool serve_killed(void)
{
	if (!OK(start_with_open_request()))
		return false;
	kill(prog.pid, SIGKILL);
	if (!OK(end_program() == 1000 + SIGKILL))
		return false;
	/* The command is ours now. */
	while (wait(NULL) > 0)
		continue;
	return OK(run_program(WORDS("probe", bdf), NULL, NULL) == 0);
}

/* An error of the device ends serving; the status is 125, not the command's. */
static bool serve_broken(void)
{
	return OK(run_program(SERVE(), "error", NULL) == 125) &&
	       OK(printed("the device reports an error"));
}

static pid_t start_unbind(void)
{
	struct iopf_pci pci;
	char path[96];
	pid_t pid;

	if (iopf_pci_read(bdf, &pci) || !pci.driver[0])
		return -1;
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/unbind",
		 pci.driver);
	_exit(write_file(path, bdf) ? 1 : 0);
}

static bool bound_again(pid_t unbind)
{
	struct iopf_pci pci;
	int status;

	if (!OK(waitpid(unbind, &status, 0) == unbind && !status) ||
	    !OK(!iopf_pci_read(bdf, &pci) && !pci.driver[0]))
		return false;
	/* The driver is chosen by driver_override. */
	return OK(!write_file("/sys/bus/pci/drivers_probe", bdf)) &&
	       OK(!iopf_pci_read(bdf, &pci) && pci.cdev[0]);
}

/* For the time of the trial only: nothing of the device stays changed. */
static bool left_as_it_was(void)
{
	char path[96], text[16] = "";
	struct iopf_pci pci;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 bdf);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	return OK(!iopf_pci_read(bdf, &pci) && !pci.driver[0]) &&
	       OK(!strcmp(text, "vfio-pci\n"));
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       info.si_pid == pid;
}

/* --try binds the device, and somebody ends the program just then. */
static bool try_and_kill(void)
{
	__u64 end = iopf_now() + PATIENCE_MS * 1000000ULL;
	struct iopf_pci pci;
	int status;

	if (!OK(start_program(WORDS("probe", "--try", bdf), NULL, NULL)))
		return false;
	do {
		if (iopf_pci_read(bdf, &pci))
			return OK(false);
	} while (!pci.driver[0] && !has_ended(prog.pid) && iopf_now() < end);
	kill(prog.pid, SIGTERM);
	status = end_program();
	return OK(status == 0 || status == 1000 + SIGTERM) &&
	       left_as_it_was();
}

static bool probe_try(void)
{
	pid_t unbind = start_unbind();
	bool good;
	int i;

	good = OK(unbind > 0 && waitpid(unbind, NULL, 0) == unbind) &&
	       OK(run_program(WORDS("probe", bdf), NULL, NULL) == 1) &&
	       OK(run_program(WORDS("probe", "--try", bdf), NULL, NULL) == 0) &&
	       left_as_it_was();
	for (i = 0; good && i < 5; i++)
		good = try_and_kill();
	/* The tests that follow want it. */
	write_file("/sys/bus/pci/drivers_probe", bdf);
	return good;
}

/* VFIO asks for the device back; an unbind waits for that, and nothing else. */
static bool serve_unbind(void)
{
	static const struct {
		const char *mode;
		const char *ready;
		int status;
	} cases[] = {
		{ NULL, "Ctrl-C ends", 0 },
		{ "hold", "ready", 128 + SIGTERM },
		{ "hold-stopped", "ready", 128 + SIGTERM },
		{ "hold-ignore", "ready", 128 + SIGKILL },
	};
	pid_t unbind;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!OK(start_program(SERVE(), cases[i].mode, NULL)) ||
		    !OK(read_until(cases[i].ready)))
			return false;
		unbind = start_unbind();
		if (!OK(unbind > 0) ||
		    !OK(end_program() == cases[i].status) ||
		    !OK(printed("the kernel wants the device back")) ||
		    !OK(bound_again(unbind)))
			return false;
	}
	return true;
}

/* Each group has a line, or is counted in one. */
static bool serve_flood(void)
{
	unsigned int lines = 0, more = 0, nr;
	char *at;

	if (!OK(run_program(SERVE(), "flood", NULL) == 0))
		return false;
	for (at = prog.text; (at = strchr(at, '\n')); at++) {
		if (!strncmp(at, "\n  group ", 9))
			lines++;
		if (sscanf(at, "\n  ... %u group", &nr) == 1)
			more += nr;
	}
	return OK(lines > 0) &&
	       OK(lines + more == FLOOD) &&
	       OK(run_program(SERVE("--quiet"), "flood", NULL) == 0) &&
	       OK(!strstr(prog.text, "  group "));
}

/*
 * The process that unbinds has asked for the device: it waits until that is
 * closed, or has ended already.
 */
static bool has_asked(pid_t unbind)
{
	__u64 end = iopf_now() + PATIENCE_MS * 1000000ULL;
	char path[32], stat[64];
	struct iopf_pci pci;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", unbind);
	while (iopf_now() < end) {
		nap();
		if (iopf_pci_read(bdf, &pci) || pci.cdev[0])
			continue;
		fd = open(path, O_RDONLY);
		n = read(fd, stat, sizeof(stat) - 1);
		close(fd);
		stat[n > 0 ? n : 0] = 0;
		if (strstr(stat, ") S ") || strstr(stat, ") Z "))
			return true;
	}
	return false;
}

/*
 * A demonstration that cannot end by itself: nobody reads what it prints, and
 * that is more than a pipe takes.
 */
static bool start_long_demo(void)
{
	return OK(start_program(WORDS("demo", "--verbose", "--size", "128M",
				      "--groups", "128", bdf), NULL, NULL)) &&
	       OK(read_until("is not mapped"));
}

static bool demo_ends(void)
{
	pid_t unbind;

	if (!OK(start_long_demo()))
		return false;
	kill(prog.pid, SIGTERM);
	if (!OK(end_program() == 2) || !OK(printed("ended by a signal")) ||
	    !OK(start_long_demo()))
		return false;
	unbind = start_unbind();
	return OK(unbind > 0) && OK(has_asked(unbind)) &&
	       OK(end_program() == 2) && OK(printed("the kernel wants")) &&
	       OK(bound_again(unbind));
}

static bool demo_summary(void)
{
	return OK(run_program(WORDS("demo", "--summary", bdf), NULL, NULL) == 0) &&
	       OK(printed("\n#demo result=passed mode=serve device=")) &&
	       OK(strstr(prog.text, " missed=") && !strstr(prog.text, " missed=0")) &&
	       OK(printed(" errors=0 ") && printed(" device_max_us=")) &&
	       OK(run_program(WORDS("demo", bdf), NULL, NULL) == 0) &&
	       OK(!strstr(prog.text, "#demo"));
}

static const struct {
	const char *name;
	bool (*run)(void);
} tests[] = {
	{ "probe_usable", probe_usable },
	{ "probe_not_tried", probe_not_tried },
	{ "probe_without_pri", probe_without_pri },
	{ "probe_busy", probe_busy },
	{ "probe_try", probe_try },
	{ "stat_served", stat_served },
	{ "stat_watched", stat_watched },
	{ "trace_demo", trace_demo },
	{ "serve_data", serve_data },
	{ "serve_status", serve_status },
	{ "serve_refused", serve_refused },
	{ "serve_out_of_reach", serve_out_of_reach },
	{ "serve_signals", serve_signals },
	{ "serve_stubborn", serve_stubborn },
	{ "serve_open_request", serve_open_request },
	{ "serve_killed", serve_killed },
	{ "serve_broken", serve_broken },
	{ "serve_unbind", serve_unbind },
	{ "serve_flood", serve_flood },
	{ "demo_summary", demo_summary },
	{ "demo_ends", demo_ends },
};

int main(int argc, char **argv)
{
	struct found found = { 0 };
	bool passed;
	ssize_t len;
	size_t i;

	if (argc > 1)
		return command(argc, argv);
	ksft_print_header();
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len < 0)
		ksft_exit_fail_msg("/proc/self/exe: %s\n", strerror(errno));
	iopf_pci_scan(find_endpoint, &found);
	if (!found.nr)
		ksft_exit_skip("no test endpoint 1234:11f0 with PRI on vfio-pci\n");
	memcpy(bdf, found.bdf[found.nr - 1], sizeof(bdf));
	if (run_program(WORDS("--version"), NULL, NULL))
		ksft_exit_skip("iopf of tools/iommu is not in PATH\n");
	/* What a server leaves behind comes to us. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	ksft_set_plan(ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		passed = tests[i].run();
		clean_up(passed);
		if (passed && why_skipped)
			ksft_test_result_code(KSFT_SKIP, tests[i].name, "%s",
					      why_skipped);
		else
			ksft_test_result(passed, "%s\n", tests[i].name);
		why_skipped = NULL;
	}
	ksft_finished();
}

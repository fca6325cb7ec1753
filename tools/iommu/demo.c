// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf demo: the emulated test endpoint reads and writes memory that no one
 * mapped, and the program maps it while the device waits. Or it works with the
 * memory of a process, and the kernel serves.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli.h"
#include "devevent.h"
#include "server.h"
#include "testdev.h"

static const char usage[] =
"Usage: iopf demo [OPTION]... [DEVICE]\n"
"Let the emulated test endpoint (1234:11f0) write and read memory that no one\n"
"mapped. DEVICE is the first such device on vfio-pci by default.\n"
"\n"
"  --size N       bytes to write and to read (default 1M)\n"
"  --groups N     transfers to cut that into; each asks for its pages as one\n"
"                 group (default 16)\n"
"  --iova ADDR    where (default 0x100000000)\n"
"  --pasid N      let the transfers have this PASID, with a page table of its own\n"
"  --sva          share the address space of this program with the device: the\n"
"                 kernel serves\n"
"  --process PID  let the device read memory of this process, at its addresses\n"
"                 (default of --iova: the first that can be read)\n"
"  --invalid      answer INVALID: the device has to report failed transfers\n"
"  --summary      a line of KEY=VALUE pairs for other programs at the end\n"
"  --verbose, -v  a line for every group\n"
"  --help, -h     this text\n"
"  --version, -V  version\n"
"\n"
"Exit status: 0 passed, 1 failed, 2 something is in the way, 64 wrong call.\n";

enum {
	OPT_SIZE = 256, OPT_GROUPS, OPT_IOVA, OPT_PASID, OPT_SVA, OPT_PROCESS,
	OPT_INVALID, OPT_SUMMARY
};

static const struct option options[] = {
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "groups", required_argument, NULL, OPT_GROUPS },
	{ "iova", required_argument, NULL, OPT_IOVA },
	{ "pasid", required_argument, NULL, OPT_PASID },
	{ "sva", no_argument, NULL, OPT_SVA },
	{ "process", required_argument, NULL, OPT_PROCESS },
	{ "invalid", no_argument, NULL, OPT_INVALID },
	{ "summary", no_argument, NULL, OPT_SUMMARY },
	{ "verbose", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 }
};

/* Without any progress for so long, something is broken. */
#define STUCK_MS	30000
/* How often to look at the ring although no interrupt came. */
#define LOOK_MS		100
/* A PASID has 20 bits. */
#define PASID_MAX	0xfffffU
/* What is taken for the address space of a process, if nothing else is asked for. */
#define PASID_PROCESS	1
#define PID_MAX		0x400000U
/* Seeds of the patterns the device and the program write. */
#define SEED_DEVICE	0x1090f
#define SEED_CPU	0xc0ffee

struct demo {
	__u64 size;
	__u64 groups;
	__u64 iova;
	__u64 pasid;		/* 0: requests without PASID */
	__u64 process;		/* 0: none */
	bool sva;
	bool iova_given;
	bool invalid;
	bool summary;
	bool verbose;
	char bdf[16];
	int step;
	__u64 chunk;		/* bytes of one transfer */
	__u64 transfers;	/* that ended as expected */
	__u32 missed;		/* groups of pages, whoever has served them */
	struct iopf_ctx *ctx;
	struct iopf_dev *dev;
	struct testdev td;
	struct devevents events;
	int signals;
	struct server s;
	struct iopf_stat age;	/* response times that the device saw */
	__u32 responses;	/* read from its log */
};

/* Returns -1 to go on, or an exit status. */
static int parse_args(int argc, char **argv, struct demo *d)
{
	int opt;

	d->size = 1 << 20;
	d->groups = 16;
	d->iova = 1ULL << 32;
	while ((opt = cli_getopt(argc, argv, "v", options, usage)) != -1) {
		switch (opt) {
		case OPT_SIZE:
			if (!cli_size("--size", optarg, &d->size))
				return CLI_USAGE;
			break;
		case OPT_GROUPS:
			if (!cli_number("--groups", optarg,
					TESTDEV_RING_SIZE / 2, &d->groups))
				return CLI_USAGE;
			break;
		case OPT_IOVA:
			if (!cli_size("--iova", optarg, &d->iova))
				return CLI_USAGE;
			d->iova_given = true;
			break;
		case OPT_PASID:
			if (!cli_number("--pasid", optarg, PASID_MAX,
					&d->pasid))
				return CLI_USAGE;
			if (!d->pasid)
				return cli_wrong("--pasid: give something from 1 to %u",
						 PASID_MAX);
			break;
		case OPT_SVA:
			d->sva = true;
			break;
		case OPT_PROCESS:
			if (!cli_number("--process", optarg, PID_MAX,
					&d->process))
				return CLI_USAGE;
			if (!d->process)
				return cli_wrong("--process: give the number of a process");
			break;
		case OPT_INVALID:
			d->invalid = true;
			break;
		case OPT_SUMMARY:
			d->summary = true;
			break;
		case 'v':
			d->verbose = true;
			break;
		default:
			return opt ? CLI_USAGE : CLI_OK;
		}
	}
	if (optind + 1 < argc)
		return cli_wrong("one device is enough");
	if (optind < argc && iopf_pci_bdf(argv[optind], d->bdf))
		return cli_lib_wrong();
	return -1;
}

/* Who serves cannot be told to refuse, and has its own addresses. */
static int check_process(struct demo *d)
{
	if (!d->sva && !d->process)
		return -1;
	if (d->sva && d->process)
		return cli_wrong("--sva and --process: give one of them");
	if (d->invalid)
		return cli_wrong("--invalid: the kernel serves, leave out --sva or --process");
	if (d->sva && d->iova_given)
		return cli_wrong("--iova: with --sva the memory is where it is, leave it out");
	if (!d->pasid)
		d->pasid = PASID_PROCESS;
	return -1;
}

/* Whole pages per transfer; at most 1 GiB each for the 32-bit length field. */
static int check_args(struct demo *d)
{
	__u64 page = sysconf(_SC_PAGESIZE);

	if (d->iova % page)
		return cli_wrong("--iova: %#llx is no multiple of the page size; give %#llx",
				 d->iova, d->iova / page * page);
	if (!d->size || d->size > 1ULL << 32)
		return cli_wrong("--size: give something from 1 to 4G");
	if (!d->groups)
		return cli_wrong("--groups: give at least 1");
	d->size = (d->size + page - 1) / page * page;
	if (d->groups > d->size / page)
		d->groups = d->size / page;
	d->chunk = (d->size / page + d->groups - 1) / d->groups * page;
	if (d->chunk > 1ULL << 30)
		return cli_wrong("--groups: %llu transfers are too few for this size; give more",
				 d->groups);
	d->groups = (d->size + d->chunk - 1) / d->chunk;
	if (d->iova + 2 * d->size - 1 < d->iova)
		return cli_wrong("2 * %llu bytes at %#llx run over the end of the address space",
				 d->size, d->iova);
	return -1;
}

static int find_testdev(const struct iopf_pci *pci, void *arg)
{
	struct iopf_pci *found = arg;

	if (!testdev_is(pci))
		return 0;
	/* The best is one that can be opened and that has PRI. */
	if (!found->bdf[0] || (pci->cdev[0] && pci->pri))
		*found = *pci;
	return pci->cdev[0] && pci->pri;
}

static int choose_device(struct demo *d)
{
	struct iopf_pci found = { 0 };

	if (d->bdf[0])
		return 0;
	iopf_pci_scan(find_testdev, &found);
	if (!found.bdf[0])
		return iopf_err(-ENODEV,
				"there is no test endpoint (PCI id 1234:11f0); start the machine with one, or use 'iopf serve' with your device");
	memcpy(d->bdf, found.bdf, sizeof(d->bdf));
	return 0;
}

__printf(2, 3) static void say(struct demo *d, const char *fmt, ...)
{
	va_list ap;

	printf("%d. ", ++d->step);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	/* Enough lines to see what happens, not more. */
	d->s.log_left = d->verbose ? ~0ULL : 4;
}

static void drain_irqs(struct testdev *td)
{
	unsigned int i;
	__u64 count;

	for (i = 0; i < IOPF_TD_VECTORS; i++)
		if (read(td->irq[i], &count, sizeof(count)) < 0)
			continue;
	testdev_set(td, IOPF_TD_REG_IRQ_CAUSE, IOPF_TD_IRQ_ALL);
}

/* Serve faults until descriptor @slot has ended. */
static int finish(struct demo *d, unsigned int slot, struct testdev_result *r)
{
	struct pollfd pfd[] = {
		{ .fd = d->s.queue ? iopf_queue_fd(d->s.queue) : -1,
		  .events = POLLIN },
		{ .fd = d->td.irq[0], .events = POLLIN },
		{ .fd = d->td.irq[1], .events = POLLIN },
		{ .fd = d->signals, .events = POLLIN },
		{ .fd = d->events.wanted_back, .events = POLLIN },
	};
	__u64 since = iopf_now();
	int ret = 0;

	while (!testdev_done(&d->td, slot, r)) {
		if (poll(pfd, ARRAY_SIZE(pfd),
			 ret == SERVER_BATCH ? 0 : LOOK_MS) < 0 &&
		    errno != EINTR)
			return iopf_err(-errno, "poll: %s", strerror(errno));
		if (pfd[1].revents || pfd[2].revents)
			drain_irqs(&d->td);
		if (pfd[3].revents)
			return iopf_err(-EINTR, "ended by a signal");
		if (pfd[4].revents)
			return iopf_err(-ENODEV,
					"the kernel wants %s back", d->bdf);
		ret = d->s.queue ? server_run(&d->s) : 0;
		if (ret < 0)
			return ret;
		if (ret)
			since = iopf_now();
		if (iopf_now() - since > STUCK_MS * 1000000ULL)
			return iopf_err(-ETIMEDOUT,
					"the device makes no progress: %u page requests unanswered, status %#x; see the kernel log",
					testdev_reg(&d->td, IOPF_TD_REG_PRI_OUTSTANDING),
					testdev_reg(&d->td, IOPF_TD_REG_STATUS));
	}
	return 0;
}

static int check_result(struct demo *d, const struct testdev_op *op,
			const struct testdev_result *r)
{
	if (!d->invalid) {
		if (r->status == IOPF_TD_ST_OK && r->done == op->length)
			return 0;
		return iopf_err(-EIO,
				"transfer at %#llx failed: %s after %u of %u bytes (error %d at %#llx)",
				op->iova, testdev_status(r->status), r->done,
				op->length, r->ret, r->fail_addr);
	}
	if (!r->done && r->status == (testdev_may_be_held(&d->td) ?
				      IOPF_TD_ST_ACCESS_ERROR :
				      IOPF_TD_ST_RSP_INVALID))
		return 0;
	return iopf_err(-EIO,
			"transfer at %#llx should have failed, the device reports: %s, %u bytes done",
			op->iova, testdev_status(r->status), r->done);
}

/* All transfers of one direction, one after the other. */
static int run_transfers(struct demo *d, unsigned int opcode, __u64 iova,
			 __u32 seed)
{
	struct testdev_op op = {
		.opcode = opcode,
		.flags = IOPF_TD_F_GROUP | IOPF_TD_F_IRQ |
			 (d->pasid ? IOPF_TD_F_PASID : 0),
		.pasid = d->pasid,
	};
	struct testdev_result r;
	unsigned int slot;
	__u64 at;
	int ret;

	for (at = 0; at < d->size; at += d->chunk) {
		op.iova = iova + at;
		op.length = d->size - at < d->chunk ? d->size - at : d->chunk;
		op.data = seed + (__u32)(at / 4) * IOPF_TD_PATTERN_STEP;
		ret = testdev_submit(&d->td, &op, &slot);
		if (ret)
			return ret;
		ret = finish(d, slot, &r);
		if (ret)
			return ret;
		ret = check_result(d, &op, &r);
		if (ret)
			return ret;
		d->transfers++;
		if (d->invalid && at == 0)
			printf("  the device reports: %s at %#llx, 0 of %u bytes done\n",
			       testdev_status(r.status), r.fail_addr,
			       op.length);
	}
	return 0;
}

static void collect_ages(struct demo *d)
{
	__u32 head = testdev_responses(&d->td);
	struct testdev_response r;

	for (; d->responses != head; d->responses++)
		if (!testdev_response(&d->td, d->responses, &r) &&
		    !(r.flags & (IOPF_TD_RSP_F_AUTO | IOPF_TD_RSP_F_UNMATCHED)))
			iopf_stat_add(&d->age, r.age_ns);
}

static int check_memory(const void *mem, __u64 size, __u32 seed)
{
	size_t ok = testdev_pattern_check(mem, size, seed, 0);

	if (ok == size)
		return 0;
	return iopf_err(-EIO, "the data are wrong from byte %zu of %llu on",
			ok, size);
}

static int check_zero(const char *mem, __u64 size)
{
	__u64 i;

	for (i = 0; i < size; i++)
		if (mem[i])
			return iopf_err(-EIO,
					"the device changed byte %llu although it was refused",
					i);
	return 0;
}

static int show_write(struct demo *d)
{
	char *mem = iopf_backing_ptr(d->s.backing, d->iova);
	int ret;

	say(d, "the device writes %llu KiB at %#llx, which is not mapped",
	    d->size >> 10, d->iova);
	ret = run_transfers(d, IOPF_TD_OP_FILL, d->iova, SEED_DEVICE);
	if (ret)
		return ret;
	collect_ages(d);
	ret = d->invalid ? check_zero(mem, d->size) :
			   check_memory(mem, d->size, SEED_DEVICE);
	if (ret)
		return ret;
	say(d, d->invalid ? "the program looks at its memory: untouched" :
			    "the program checks the data: all bytes are right");
	return 0;
}

static int show_read(struct demo *d)
{
	__u64 iova = d->iova + d->size;
	int ret;

	testdev_pattern(iopf_backing_ptr(d->s.backing, iova), d->size,
			SEED_CPU, 0);
	say(d, "the device reads %llu KiB that the program wrote at %#llx, not mapped either",
	    d->size >> 10, iova);
	ret = run_transfers(d, IOPF_TD_OP_COMPARE, iova, SEED_CPU);
	if (ret)
		return ret;
	collect_ages(d);
	if (!d->invalid)
		say(d, "the device compared the data: all bytes are right");
	return 0;
}

/* What is mapped needs no more requests; what was refused may be asked for. */
static int show_again(struct demo *d)
{
	__u64 before = d->s.count.groups;
	int ret;

	if (d->invalid) {
		d->invalid = false;
		d->s.answer_invalid = false;
		say(d, "the program changes its mind and maps: the same writes");
		ret = run_transfers(d, IOPF_TD_OP_FILL, d->iova, SEED_DEVICE);
		if (ret)
			return ret;
		collect_ages(d);
		ret = check_memory(iopf_backing_ptr(d->s.backing, d->iova),
				   d->size, SEED_DEVICE);
		if (ret)
			return ret;
		say(d, "the program checks the data: all bytes are right");
		d->invalid = true;
		return 0;
	}
	say(d, "the device writes the first buffer again, now it is mapped");
	ret = run_transfers(d, IOPF_TD_OP_FILL, d->iova, SEED_CPU);
	if (ret)
		return ret;
	if (d->s.count.groups != before)
		return iopf_err(-EIO,
				"the device asked again for mapped pages (%llu groups)",
				d->s.count.groups - before);
	ret = check_memory(iopf_backing_ptr(d->s.backing, d->iova), d->size,
			   SEED_CPU);
	if (ret)
		return ret;
	say(d, "no page request, all bytes are right");
	return 0;
}

/* The same of a device that asks for nothing: each fault was an access that waited. */
static int check_held(struct demo *d)
{
	__u32 held = testdev_reg(&d->td, IOPF_TD_REG_CNT_STALL);

	printf("\n  the device: %u accesses held by the IOMMU\n", held);
	if (!d->s.queue)
		return 0;
	if (held == d->s.count.groups)
		return 0;
	return iopf_err(-EIO, "%llu faults were read for that",
			d->s.count.groups);
}

/* How many pages the device has missed so far */
static __u32 missed(struct demo *d)
{
	return testdev_reg(&d->td, testdev_may_be_held(&d->td) ?
				   IOPF_TD_REG_CNT_STALL :
				   IOPF_TD_REG_CNT_PR_LAST);
}

/* The device's own view: every group answered, once, and nothing left over. */
static int check_responses(struct demo *d)
{
	__u32 asked = testdev_reg(&d->td, IOPF_TD_REG_CNT_PR_LAST);
	__u32 answered = testdev_reg(&d->td, IOPF_TD_REG_CNT_RSP_SUCCESS) +
			 testdev_reg(&d->td, IOPF_TD_REG_CNT_RSP_INVALID) +
			 testdev_reg(&d->td, IOPF_TD_REG_CNT_RSP_FAILURE);
	__u32 strange = testdev_reg(&d->td, IOPF_TD_REG_CNT_RSP_UNMATCHED);
	__u32 open = testdev_reg(&d->td, IOPF_TD_REG_PRI_OUTSTANDING);

	d->missed = missed(d);
	if (testdev_may_be_held(&d->td))
		return check_held(d);
	printf("\n  the device: %u groups asked, %u answered, %u open, %u answers to nothing\n",
	       asked, answered, open, strange);
	if (asked == answered && !strange && !open)
		return 0;
	return iopf_err(-EIO,
			"the device did not get exactly one answer per group; see the kernel log");
}

static int run_steps(struct demo *d)
{
	int ret;

	ret = show_write(d);
	if (!ret)
		ret = show_read(d);
	if (!ret)
		ret = show_again(d);
	server_table(stdout, &d->s);
	if (d->age.nr)
		server_time_row(stdout, "device, request to response",
				&d->age);
	if (ret)
		return ret;
	return check_responses(d);
}

static int demo_with_device(struct demo *d)
{
	__u32 ioas_id, hwpt_id;
	int ret;

	d->s.pasid = d->pasid;
	d->s.answer_invalid = d->invalid;
	d->s.log = stdout;
	ret = server_open(d->ctx, d->dev, &d->s, &ioas_id, &hwpt_id);
	if (ret)
		return ret;
	ret = iopf_backing_anon(d->ctx, ioas_id, d->iova, 2 * d->size, IOPF_RW,
				0, &d->s.backing);
	if (ret)
		goto close_server;
	if (d->pasid)
		say(d,
		    "an empty I/O address space with a fault queue is attached to PASID %llu, nothing is mapped",
		    d->pasid);
	else
		say(d,
		    "an empty I/O address space with a fault queue is attached, nothing is mapped");
	ret = testdev_open(d->dev, &d->td);
	if (ret)
		goto close_server;
	if (!testdev_allocation(&d->td) && !testdev_may_be_held(&d->td)) {
		ret = iopf_err(-EIO,
			       "page requests are still off in the device after the attach; see 'iopf probe %s'",
			       d->bdf);
		goto close_testdev;
	}
	ret = run_steps(d);

close_testdev:
	testdev_close(&d->td);
close_server:
	server_close(d->ctx, d->dev, &d->s, ioas_id, hwpt_id);
	return ret;
}

static int show_own_memory(struct demo *d, char *mem)
{
	__u32 before;
	int ret;

	say(d, "the device writes %llu KiB at %p, which the program has not touched",
	    d->size >> 10, (void *)mem);
	ret = run_transfers(d, IOPF_TD_OP_FILL, d->iova, SEED_DEVICE);
	if (!ret)
		ret = check_memory(mem, d->size, SEED_DEVICE);
	if (ret)
		return ret;
	before = missed(d);
	say(d, "the program checks the data: all bytes are right; the kernel has served %u times",
	    before);
	testdev_pattern(mem, d->size, SEED_CPU, 0);
	say(d, "the device reads what the program has written there");
	ret = run_transfers(d, IOPF_TD_OP_COMPARE, d->iova, SEED_CPU);
	if (ret)
		return ret;
	say(d, "the device compared the data: all bytes are right; served %u times more",
	    missed(d) - before);
	if (munmap(mem, d->size) ||
	    mmap(mem, d->size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != mem)
		return iopf_err(-errno, "cannot map again: %s", strerror(errno));
	say(d, "the program maps other memory there, and the device writes again");
	ret = run_transfers(d, IOPF_TD_OP_FILL, d->iova, ~SEED_DEVICE);
	if (!ret)
		ret = check_memory(mem, d->size, ~SEED_DEVICE);
	if (!ret)
		say(d, "the program checks the data: all bytes are right");
	return ret;
}

static int show_sva(struct demo *d)
{
	void *mem = mmap(NULL, d->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (mem == MAP_FAILED)
		return iopf_err(-errno, "cannot map %llu bytes: %s", d->size,
				strerror(errno));
	d->iova = (uintptr_t)mem;
	ret = show_own_memory(d, mem);
	munmap(mem, d->size);
	return ret;
}

/* The first range of a process that can be read, or that with an address in it. */
static int find_range(struct demo *d)
{
	unsigned long long start, end;
	char path[64], line[512], r;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%llu/maps", d->process);
	f = fopen(path, "re");
	if (!f)
		return iopf_err(-errno, "%s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx %c", &start, &end, &r) != 3 ||
		    r != 'r')
			continue;
		found = !d->iova_given || (start <= d->iova && d->iova < end);
	}
	fclose(f);
	if (!found)
		return iopf_err(-EFAULT, "process %llu has no memory there that can be read",
				d->process);
	if (!d->iova_given)
		d->iova = start;
	if (d->size > end - d->iova)
		d->size = end - d->iova;
	return 0;
}

static int read_process(struct demo *d, int fd, void *buf, __u64 addr,
			size_t length)
{
	ssize_t got = pread(fd, buf, length, addr);

	if (got == (ssize_t)length)
		return 0;
	return iopf_err(got < 0 ? -errno : -EFAULT,
			"cannot read memory of process %llu: %s", d->process,
			strerror(got < 0 ? errno : EFAULT));
}

/* A page, which the process may change meanwhile: then look again. */
static int compare_page(struct demo *d, int fd, __u64 addr, size_t page,
			char *before, char *after)
{
	struct testdev_op op = {
		.opcode = IOPF_TD_OP_READ,
		.flags = IOPF_TD_F_IRQ | IOPF_TD_F_PASID,
		.pasid = d->pasid,
		.iova = addr,
		.length = page,
		.ram = IOPF_TD_RAM_DATA,
	};
	struct testdev_result r;
	unsigned int slot;
	int tries, ret;

	for (tries = 0; tries < 10; tries++) {
		ret = read_process(d, fd, before, addr, page);
		if (!ret)
			ret = testdev_submit(&d->td, &op, &slot);
		if (!ret)
			ret = finish(d, slot, &r);
		if (!ret)
			ret = check_result(d, &op, &r);
		if (!ret)
			ret = read_process(d, fd, after, addr, page);
		if (ret)
			return ret;
		d->transfers++;
		if (!memcmp(before, after, page))
			break;
	}
	if (memcmp(after, (char *)d->td.ram.mem + IOPF_TD_RAM_DATA, page))
		return iopf_err(-EIO, "the device has read something else at %#llx",
				addr);
	return 0;
}

static int compare_pages(struct demo *d, int fd)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *before = malloc(2 * page);
	__u64 at;
	int ret = 0;

	if (!before)
		return iopf_err(-ENOMEM, "out of memory");
	for (at = 0; at < d->size && !ret; at += page)
		ret = compare_page(d, fd, d->iova + at, page, before,
				   before + page);
	free(before);
	return ret;
}

static int show_process(struct demo *d)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%llu/mem", d->process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return iopf_err(-errno, "%s: %s", path, strerror(errno));
	say(d, "the device reads %llu KiB of process %llu at %#llx",
	    d->size >> 10, d->process, d->iova);
	ret = compare_pages(d, fd);
	close(fd);
	if (!ret)
		say(d, "the program looks itself: all bytes are right; served %u times",
		    missed(d));
	return ret;
}

static int run_process(struct demo *d)
{
	int ret;

	ret = testdev_open(d->dev, &d->td);
	if (ret)
		return ret;
	ret = d->sva ? show_sva(d) : show_process(d);
	if (!ret)
		ret = check_responses(d);
	testdev_close(&d->td);
	return ret;
}

static int demo_process(struct demo *d)
{
	int pidfd = -1, ret;
	__u32 hwpt_id;

	d->s.pasid = d->pasid;
	d->s.log = stdout;
	if (d->process) {
		ret = find_range(d);
		if (ret)
			return ret;
		pidfd = syscall(SYS_pidfd_open, (pid_t)d->process, 0);
		if (pidfd < 0)
			return iopf_err(-errno, "process %llu: %s", d->process,
					strerror(errno));
	}
	ret = server_open_process(d->ctx, d->dev, &d->s, pidfd, &hwpt_id);
	if (ret)
		goto close_pidfd;
	say(d, "the address space of %s is attached to PASID %llu, nothing is pinned",
	    d->process ? "the process" : "this program", d->pasid);
	ret = run_process(d);
	server_close_process(d->ctx, d->dev, &d->s, hwpt_id);

close_pidfd:
	if (pidfd >= 0)
		close(pidfd);
	return ret;
}

static int demo(struct demo *d)
{
	sigset_t mask;
	int ret;

	ret = choose_device(d);
	if (ret)
		return ret;
	ret = iopf_ctx_open(&d->ctx);
	if (ret)
		return ret;
	d->signals = cli_signal_fd(&mask);
	if (d->signals < 0) {
		ret = d->signals;
		goto close_ctx;
	}
	ret = iopf_dev_open(d->ctx, d->bdf, &d->dev);
	if (ret)
		goto close_signals;
	say(d, "test endpoint %s is open%s", d->bdf,
	    d->invalid ? ", the program will refuse its requests" : "");
	ret = devevents_open(d->dev, &d->events);
	if (!ret) {
		ret = d->sva || d->process ? demo_process(d) :
					     demo_with_device(d);
		devevents_close(&d->events);
	}
	iopf_dev_close(d->dev);

close_signals:
	close(d->signals);
close_ctx:
	iopf_ctx_close(d->ctx);
	return ret;
}

static void summary_times(const char *prefix, const struct iopf_stat *stat)
{
	if (!stat->nr)
		return;
	printf(" %smin_us=%llu %smedian_us=%llu %sp99_us=%llu %smax_us=%llu",
	       prefix, stat->min / 1000,
	       prefix, iopf_stat_quantile(stat, 500) / 1000,
	       prefix, iopf_stat_quantile(stat, 990) / 1000,
	       prefix, stat->max / 1000);
}

static const char *mode(const struct demo *d)
{
	if (d->sva)
		return "sva";
	if (d->process)
		return "process";
	return d->invalid ? "invalid" : "serve";
}

/* One line: values have no blanks, and new keys come at the end. */
static void summary(const struct demo *d, const char *result)
{
	const struct server_count *c = &d->s.count;
	struct iopf_pci pci;

	printf("#demo result=%s mode=%s", result, mode(d));
	if (d->bdf[0])
		printf(" device=%s", d->bdf);
	if (d->bdf[0] && !iopf_pci_read(d->bdf, &pci) && pci.iommu[0])
		printf(" iommu=%s", pci.iommu);
	printf(" transfers=%llu requests=%llu groups=%llu pages=%llu",
	       d->transfers, c->requests, c->groups, c->pages);
	printf(" map_calls=%llu invalid=%llu errors=%llu stale=%llu", c->calls,
	       c->invalid, c->errors, c->stale);
	summary_times("", &d->s.time);
	summary_times("device_", &d->age);
	if (d->pasid)
		printf(" pasid=%llu", d->pasid);
	printf(" missed=%u", d->missed);
	putchar('\n');
}

/* Failures of the demonstration itself, as opposed to a missing device. */
static bool is_failure(int err)
{
	return err == -EIO || err == -ETIMEDOUT || err == -EPROTO;
}

int cmd_demo(int argc, char **argv)
{
	struct demo *d;
	bool refusing;
	int ret;

	d = calloc(1, sizeof(*d));
	if (!d)
		return cli_error("out of memory");
	ret = parse_args(argc, argv, d);
	if (ret < 0)
		ret = check_process(d);
	if (ret < 0)
		ret = check_args(d);
	if (ret >= 0)
		goto out;
	refusing = d->invalid;
	ret = demo(d);
	d->invalid = refusing;
	if (!ret) {
		printf("\ndemo%s: passed, %llu transfers\n",
		       d->sva ? " --sva" : d->process ? " --process" :
		       d->invalid ? " --invalid" : "", d->transfers);
		ret = CLI_OK;
	} else {
		cli_lib_error();
		ret = is_failure(ret) ? CLI_NO : CLI_ERROR;
	}
	if (d->summary)
		summary(d, ret == CLI_OK ? "passed" :
			   ret == CLI_NO ? "failed" : "error");
out:
	free(d);
	return ret;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf stat: what the kernel counts of the page requests of devices and queues.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"

#define COUNTERS_FILE	"/sys/kernel/debug/iopf"
#define MAX_TEXT	(4 << 20)
#define MAX_COUNTERS	24
#define BUCKETS		64
#define BAR		40	/* columns */

static const char usage[] =
"Usage: iopf stat [OPTION]... [DEVICE]\n"
"What the kernel has counted of page requests: for each queue of an IOMMU since\n"
"it is there, for each device since its page faults were turned on.\n"
"\n"
"  --watch       again every second, with --watch=N every N\n"
"  --json        print JSON\n"
"  --root DIR    look at a copy of /sys in DIR\n"
"\n"
"Needs debugfs and the right to read there.\n"
"Exit status: 0 well, 1 the page faults of the device are off, 2 the kernel does\n"
"not count or lets nobody look, 64 wrong call.\n";

static const struct option options[] = {
	{ "watch", optional_argument, NULL, 'w' },
	{ "json", no_argument, NULL, 'j' },
	{ "root", required_argument, NULL, 'r' },
	{ NULL, 0, NULL, 0 }
};

struct counter {
	char name[24];
	unsigned long long value;
};

/* A queue, or a device on the queue before it. Names we do not know are shown. */
struct block {
	bool queue;
	char name[64];
	unsigned int nr;
	struct counter counter[MAX_COUNTERS];
	unsigned long long latency[BUCKETS];
};

struct blocks {
	struct block *block;
	size_t nr, room;
};

static struct block *add_block(struct blocks *all)
{
	size_t room = all->room ? 2 * all->room : 16;
	struct block *more;

	if (all->nr == all->room) {
		more = realloc(all->block, room * sizeof(*more));
		if (!more)
			return NULL;
		all->block = more;
		all->room = room;
	}
	more = &all->block[all->nr++];
	memset(more, 0, sizeof(*more));
	return more;
}

static void parse_counter(struct block *b, const char *line)
{
	unsigned long long value;
	unsigned int bucket;
	char name[24];

	if (sscanf(line, "latency %u %llu", &bucket, &value) == 2) {
		if (bucket < BUCKETS)
			b->latency[bucket] = value;
		return;
	}
	if (b->nr == MAX_COUNTERS || sscanf(line, "%23s %llu", name, &value) != 2)
		return;
	memcpy(b->counter[b->nr].name, iopf_tame(name), sizeof(name));
	b->counter[b->nr++].value = value;
}

/* Cuts @text into lines. Returns false without memory. */
static bool parse(char *text, struct blocks *all)
{
	struct block *b = NULL;
	char *line, kind[8], name[64];

	while ((line = strsep(&text, "\n"))) {
		if (sscanf(line, "%7s %63s", kind, name) == 2 &&
		    (!strcmp(kind, "queue") || !strcmp(kind, "device"))) {
			b = add_block(all);
			if (!b)
				return false;
			b->queue = kind[0] == 'q';
			memcpy(b->name, iopf_tame(name), sizeof(name));
		} else if (b) {
			parse_counter(b, line);
		}
	}
	return true;
}

/* Leave a device and its queue alone. Returns false if it is not there. */
static bool choose(struct blocks *all, const char *bdf)
{
	struct block *queue = NULL, *b;

	for (b = all->block; b < all->block + all->nr; b++) {
		if (b->queue) {
			queue = b;
		} else if (queue && !strcmp(b->name, bdf)) {
			all->nr = 2;
			all->block[0] = *queue;
			all->block[1] = *b;
			return true;
		}
	}
	return false;
}

static const struct counter *find(const struct block *b, const char *name)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->counter[i].name, name))
			return &b->counter[i];
	return NULL;
}

/* A row with what all queues and devices have of one counter */
static void print_row(const struct blocks *all, const char *name)
{
	const struct counter *c;
	size_t i;

	printf("%-10s", name);
	for (i = 0; i < all->nr; i++) {
		c = find(&all->block[i], name);
		if (c)
			printf(" %12llu", c->value);
		else
			printf(" %12s", "-");
	}
	putchar('\n');
}

static void print_table(const struct blocks *all)
{
	const char *name;
	size_t i, j, k;

	printf("%-10s", "");
	for (i = 0; i < all->nr; i++)
		printf(" %12s", all->block[i].name);
	putchar('\n');
	/* Every name once: in the first block that has it */
	for (i = 0; i < all->nr; i++) {
		for (j = 0; j < all->block[i].nr; j++) {
			name = all->block[i].counter[j].name;
			for (k = 0; k < i && !find(&all->block[k], name); k++)
				continue;
			if (k == i)
				print_row(all, name);
		}
	}
}

static void print_histogram(const struct block *b)
{
	unsigned int first = 0, last = BUCKETS, i;
	unsigned long long most = 0;
	char from[24];

	for (i = 0; i < BUCKETS; i++)
		if (b->latency[i] > most)
			most = b->latency[i];
	if (!most)
		return;
	while (!b->latency[first])
		first++;
	while (!b->latency[last - 1])
		last--;
	printf("\n%s: groups, by the time from the last request to the answer\n",
	       b->name);
	for (i = first; i < last; i++)
		printf("%10s.. %12llu%s%.*s\n", cli_time(from, 1ULL << i),
		       b->latency[i], b->latency[i] ? " " : "",
		       (int)((double)b->latency[i] * BAR / most + 0.999),
		       "########################################");
}

static void print_all(const struct blocks *all)
{
	size_t i;

	if (!all->nr) {
		puts("there is no queue for page requests");
		return;
	}
	print_table(all);
	for (i = 0; i < all->nr; i++)
		print_histogram(&all->block[i]);
}

static void json_block(struct json *j, const struct block *b,
		       const char *queue)
{
	unsigned int i;

	json_open(j, NULL, '{');
	json_string(j, b->queue ? "queue" : "device", b->name);
	if (!b->queue)
		json_string(j, "queue", queue);
	for (i = 0; i < b->nr; i++)
		json_number(j, b->counter[i].name, b->counter[i].value);
	json_open(j, "latency", '[');
	for (i = 0; i < BUCKETS; i++) {
		if (!b->latency[i])
			continue;
		json_open(j, NULL, '{');
		json_number(j, "from_ns", 1LL << i);
		json_number(j, "groups", b->latency[i]);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void json_blocks(struct json *j, const struct blocks *all, bool queues)
{
	const char *queue = NULL;
	size_t i;

	json_open(j, queues ? "queues" : "devices", '[');
	for (i = 0; i < all->nr; i++) {
		if (all->block[i].queue)
			queue = all->block[i].name;
		if (all->block[i].queue == queues)
			json_block(j, &all->block[i], queue);
	}
	json_close(j, ']');
}

static void json_all(const struct blocks *all)
{
	struct json j = { .out = stdout };

	json_open(&j, NULL, '{');
	json_number(&j, "format", 1);
	json_blocks(&j, all, true);
	json_blocks(&j, all, false);
	json_close(&j, '}');
}

static int cannot_read(int err)
{
	if (err == -ENOENT)
		return cli_error("no %s%s: mount debugfs, or this kernel does not count",
				 iopf_root(), COUNTERS_FILE);
	if (err == -EACCES)
		return cli_error("%s%s is not readable: run as root",
				 iopf_root(), COUNTERS_FILE);
	return cli_error("cannot read %s%s: %s", iopf_root(), COUNTERS_FILE,
			 strerror(-err));
}

static int read_blocks(struct blocks *all)
{
	int len, ret = CLI_OK;
	char *text;

	text = malloc(MAX_TEXT);
	if (!text)
		return cli_error("no memory");
	len = iopf_read_file(text, MAX_TEXT, COUNTERS_FILE);
	if (len < 0)
		ret = cannot_read(len);
	else if (len == MAX_TEXT - 1)
		ret = cli_error("%s%s has more than %u MiB", iopf_root(),
				COUNTERS_FILE, MAX_TEXT >> 20);
	else if (!parse(text, all))
		ret = cli_error("no memory");
	free(text);
	return ret;
}

/* Show what there is now, of one device if @bdf is no empty text. */
static int show(const char *bdf, bool as_json)
{
	struct blocks all = { 0 };
	int ret;

	ret = read_blocks(&all);
	if (!ret && bdf[0] && !choose(&all, bdf)) {
		cli_error("the page faults of %s are off", bdf);
		ret = CLI_NO;
	} else if (!ret && as_json) {
		json_all(&all);
	} else if (!ret) {
		print_all(&all);
	}
	free(all.block);
	return ret;
}

/* Until a signal comes, or there is nothing to look at. A device may come back. */
static int watch(const char *bdf, bool as_json, __u64 seconds)
{
	struct pollfd pfd = { .events = POLLIN };
	sigset_t before;
	int ret;

	pfd.fd = cli_signal_fd(&before);
	if (pfd.fd < 0)
		return cli_lib_error();
	do {
		if (!as_json && isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		ret = show(bdf, as_json);
		if (ret == CLI_ERROR || cli_flush())
			break;
	} while (!poll(&pfd, 1, seconds * 1000));
	close(pfd.fd);
	return ret == CLI_ERROR ? ret : CLI_OK;
}

int cmd_stat(int argc, char **argv)
{
	bool as_json = false;
	__u64 seconds = 0;
	char bdf[16] = "";
	int opt;

	while ((opt = cli_getopt(argc, argv, "", options, usage)) != -1) {
		switch (opt) {
		case 'w':
			seconds = 1;
			if (optarg && !cli_number("--watch", optarg, 86400,
						  &seconds))
				return CLI_USAGE;
			if (!seconds)
				return cli_wrong("--watch: '0' is no time");
			break;
		case 'j':
			as_json = true;
			break;
		case 'r':
			iopf_set_root(optarg);
			break;
		default:
			return opt ? CLI_USAGE : CLI_OK;
		}
	}
	if (argc - optind > 1)
		return cli_wrong("one device at a time; see 'iopf stat --help'");
	if (optind < argc && iopf_pci_bdf(argv[optind], bdf))
		return cli_lib_wrong();
	return seconds ? watch(bdf, as_json, seconds) : show(bdf, as_json);
}

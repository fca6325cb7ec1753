// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf trace: the tracepoints of page requests, for programs that show traces.
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * What is written is the Trace Event Format. A group is a bar in the line of its
 * device and PASID, from its first request to its answer, and below it are bars
 * for where the time went. Groups that are open at a time have lines of their own.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"

#define TRACING		"/sys/kernel/tracing"
#define BUFFER_KB	"8192"	/* for each processor */
#define MAX_LINE	1024
/* More groups open at a time are those of a trace that is not one */
#define MAX_GROUPS	16384

static const char usage[] =
"Usage: iopf trace [--output FILE] [FILE]\n"
"       iopf trace [--output FILE] -- COMMAND [ARGUMENT]...\n"
"Write the tracepoints of page requests in the Trace Event Format, which programs\n"
"that show traces open: those in FILE, a text of tracefs or trace-cmd, or on\n"
"standard input; or those that come while COMMAND runs, which needs root.\n"
"\n"
"  --output, -o FILE   write there, not to standard output\n"
"\n"
"Exit status: 0 well, 1 the trace has no page requests, 2 something is in the way,\n"
"64 wrong call; with a COMMAND that fails, its own.\n";

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ NULL, 0, NULL, 0 }
};

enum kind { REPORT, DELIVER, READ, RESPOND, DISCARD, OVERFLOW, MAP, NR_KINDS };

static const char *const kind_name[NR_KINDS] = {
	[REPORT] = "iopf_report",
	[DELIVER] = "iopf_deliver",
	[READ] = "iopf_read",
	[RESPOND] = "iopf_respond",
	[DISCARD] = "iopf_discard",
	[OVERFLOW] = "iopf_overflow",
	[MAP] = "map",
};

/* A line of the trace */
struct event {
	enum kind kind;
	__u64 ns;
	char device[32];
	unsigned int pasid;
	unsigned int grpid;
	unsigned int count;
	__u64 addr, end;
	char perm[8];
	char code[16];
	bool pasid_valid, last, orphan;
};

/* Requests with one index, up to their answer */
struct group {
	char device[32];
	unsigned int pasid, grpid;
	bool pasid_valid, complete;
	__u64 first, last, delivered, read;	/* nanoseconds, 0: not seen */
	__u64 addr, end;
	unsigned int requests;
	char perm[8];
	unsigned int line;
	struct group *next;		/* younger */
};

/* What is drawn in one line: groups of a device and PASID, one at a time */
struct line {
	char device[32];
	unsigned int pasid;
	bool pasid_valid, busy;
};

struct trace {
	struct json j;
	struct group *groups, **end;
	unsigned int nr_groups;
	struct line *line;
	unsigned int nr_lines;
	__u64 begin, now;
	unsigned long long seen, ended;
};

/*
 * Reading
 */

/* "1234.567890" that ends before @end; 0 if there is none. */
static __u64 time_before(const char *line, const char *end)
{
	const char *at = end;
	__u64 ns = 0, unit = 1000000000;
	bool point = false;

	while (at > line && (isdigit((unsigned char)at[-1]) || at[-1] == '.'))
		at--;
	for (; at < end; at++) {
		if (*at == '.') {
			point = true;
		} else if (!point) {
			ns = ns * 10 + (*at - '0') * 1000000000ULL;
		} else if (unit > 1) {
			unit /= 10;
			ns += (*at - '0') * unit;
		}
	}
	return ns;
}

/*
 * Where the fields of an event of this name begin, with the time in @ns: behind
 * "TIME: NAME: ", or "TIME: SYSTEM:NAME: " as some programs write. NULL if the
 * line is none of it.
 */
static const char *find_fields(const char *line, const char *name, __u64 *ns)
{
	const char *at = line, *before;
	size_t len = strlen(name);

	for (; (at = strstr(at, name)); at++) {
		if (at == line || strncmp(at + len, ": ", 2))
			continue;
		before = at;
		if (before[-1] == ':')
			for (before--; before > line &&
			     (isalnum((unsigned char)before[-1]) ||
			      before[-1] == '_'); before--)
				continue;
		while (before > line && before[-1] == ' ')
			before--;
		if (before == line || before[-1] != ':' || before == at)
			continue;
		*ns = time_before(line, before - 1);
		if (*ns)
			return at + len + 2;
	}
	return NULL;
}

static bool parse_fields(const char *text, struct event *e)
{
	char flags[32] = "";
	unsigned long long addr, end;
	int nr;

	switch (e->kind) {
	case REPORT:
		/* A request that wants nothing has no letter in perm. */
		nr = sscanf(text,
			    "%31s addr=0x%llx pasid=0x%x group=%u perm=%7[rwxp]",
			    e->device, &addr, &e->pasid, &e->grpid, e->perm);
		text = strstr(text, "flags=");
		if (nr < 4 || !text)
			return false;
		/* Nor has one that is not the last any flag. */
		if (sscanf(text, "flags=%31s", flags) != 1)
			flags[0] = 0;
		e->addr = addr;
		e->pasid_valid = !strncmp(flags, "pasid", 5);
		e->last = strstr(flags, "last");
		return true;
	case DELIVER:
	case READ:
		return sscanf(text, "%31s pasid=0x%x group=%u requests=%u",
			      e->device, &e->pasid, &e->grpid, &e->count) == 4;
	case RESPOND:
		e->orphan = strstr(text, " orphan");
		return sscanf(text, "%31s pasid=0x%x group=%u code=%15s",
			      e->device, &e->pasid, &e->grpid, e->code) == 4;
	case DISCARD:
		return sscanf(text, "%31s pasid=0x%x requests=%u", e->device,
			      &e->pasid, &e->count) == 3;
	case OVERFLOW:
		return sscanf(text, "total=%u", &e->count) == 1;
	case MAP:
		if (sscanf(text, "IOMMU: iova=0x%llx - 0x%llx", &addr,
			   &end) != 2)
			return false;
		e->addr = addr;
		e->end = end;
		return true;
	default:
		return false;
	}
}

static bool parse_line(const char *line, struct event *e)
{
	const char *text;
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++) {
		memset(e, 0, sizeof(*e));
		e->kind = i;
		text = find_fields(line, kind_name[i], &e->ns);
		if (text && parse_fields(text, e)) {
			iopf_tame(e->device);
			iopf_tame(e->code);
			return true;
		}
	}
	return false;
}

/*
 * Writing
 */

static void begin_event(struct trace *t, const char *phase, const char *name,
			unsigned int line, __u64 ns)
{
	json_open(&t->j, NULL, '{');
	json_string(&t->j, "ph", phase);
	json_string(&t->j, "name", name);
	json_string(&t->j, "cat", "iopf");
	json_number(&t->j, "pid", 1);
	json_number(&t->j, "tid", line);
	/* Microseconds since the first event */
	json_thousandths(&t->j, "ts", ns > t->begin ? ns - t->begin : 0);
}

static void put_name(struct trace *t, const char *what, unsigned int line,
		     const char *name)
{
	begin_event(t, "M", what, line, 0);
	json_open(&t->j, "args", '{');
	json_string(&t->j, "name", name);
	json_close(&t->j, '}');
	json_close(&t->j, '}');
}

static void put_instant(struct trace *t, const char *name, unsigned int line,
			__u64 ns, const char *key, __u64 value)
{
	begin_event(t, "i", name, line, ns);
	json_string(&t->j, "s", line ? "t" : "g");
	json_open(&t->j, "args", '{');
	json_number(&t->j, key, value);
	json_close(&t->j, '}');
	json_close(&t->j, '}');
}

static void put_part(struct trace *t, const struct group *g, const char *name,
		     __u64 from, __u64 to)
{
	if (!from || !to || to < from)
		return;
	begin_event(t, "X", name, g->line, from);
	json_thousandths(&t->j, "dur", to - from);
	json_close(&t->j, '}');
}

static void json_hex(struct json *j, const char *key, __u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	json_string(j, key, text);
}

/* A group has ended, with an answer or with the trace. */
static void put_group(struct trace *t, const struct group *g, const char *code)
{
	__u64 taken = g->delivered ? g->delivered : g->last;
	char name[32];

	snprintf(name, sizeof(name), "group %u", g->grpid);
	begin_event(t, "X", name, g->line, g->first);
	json_thousandths(&t->j, "dur", t->now - g->first);
	json_open(&t->j, "args", '{');
	json_number(&t->j, "requests", g->requests);
	json_hex(&t->j, "first", g->addr);
	json_hex(&t->j, "end", g->end);
	json_string(&t->j, "perm", g->perm);
	json_string(&t->j, "answer", code);
	json_close(&t->j, '}');
	json_close(&t->j, '}');
	put_part(t, g, "all requests come", g->first, taken);
	put_part(t, g, "to be read", taken, g->read ? g->read : t->now);
	put_part(t, g, "program", g->read, t->now);
	t->ended++;
}

/*
 * Following
 */

/* A line of the device and PASID that has no group now. 0 without memory. */
static unsigned int get_line(struct trace *t, const struct event *e)
{
	struct line *line;
	unsigned int i, same = 0;
	char name[96];
	int len;

	for (i = 0; i < t->nr_lines; i++) {
		line = &t->line[i];
		if (strcmp(line->device, e->device) ||
		    line->pasid_valid != e->pasid_valid ||
		    (e->pasid_valid && line->pasid != e->pasid))
			continue;
		if (!line->busy) {
			line->busy = true;
			return i + 1;
		}
		same++;
	}
	line = realloc(t->line, (t->nr_lines + 1) * sizeof(*line));
	if (!line)
		return 0;
	t->line = line;
	line += t->nr_lines++;
	memcpy(line->device, e->device, sizeof(line->device));
	line->pasid = e->pasid;
	line->pasid_valid = e->pasid_valid;
	line->busy = true;

	len = snprintf(name, sizeof(name), "%s", e->device);
	if (e->pasid_valid)
		len += snprintf(name + len, sizeof(name) - len, " PASID %u",
				e->pasid);
	if (same)
		snprintf(name + len, sizeof(name) - len, " (%u)", same + 1);
	put_name(t, "thread_name", t->nr_lines, name);
	return t->nr_lines;
}

static bool is_of(const struct group *g, const struct event *e)
{
	return g->grpid == e->grpid && g->pasid == e->pasid &&
	       !strcmp(g->device, e->device);
}

/* The oldest group of an event whose requests have all come, or have not. */
static struct group **find_group(struct trace *t, const struct event *e,
				 bool complete)
{
	struct group **at;

	for (at = &t->groups; *at; at = &(*at)->next)
		if (is_of(*at, e) && (*at)->complete == complete)
			break;
	return at;
}

static void remove_group(struct trace *t, struct group **at)
{
	struct group *g = *at;

	t->line[g->line - 1].busy = false;
	*at = g->next;
	if (t->end == &g->next)
		t->end = at;
	t->nr_groups--;
	free(g);
}

static struct group *add_group(struct trace *t, const struct event *e)
{
	struct group *g;

	/* The oldest is not answered any more, or that is not in the trace. */
	if (t->nr_groups == MAX_GROUPS) {
		put_group(t, t->groups, NULL);
		remove_group(t, &t->groups);
	}
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->line = get_line(t, e);
	if (!g->line) {
		free(g);
		return NULL;
	}
	memcpy(g->device, e->device, sizeof(g->device));
	memcpy(g->perm, e->perm, sizeof(g->perm));
	g->pasid = e->pasid;
	g->pasid_valid = e->pasid_valid;
	g->grpid = e->grpid;
	g->first = e->ns;
	g->addr = e->addr;
	*t->end = g;
	t->end = &g->next;
	t->nr_groups++;
	return g;
}

static bool follow_report(struct trace *t, const struct event *e)
{
	struct group *g = *find_group(t, e, false);

	if (!g)
		g = add_group(t, e);
	if (!g)
		return false;
	g->requests++;
	if (e->addr < g->addr)
		g->addr = e->addr;
	if (e->addr + 4096 > g->end)
		g->end = e->addr + 4096;
	if (e->last) {
		g->complete = true;
		g->last = e->ns;
	}
	return true;
}

/* The first group that waits for this step */
static void follow_step(struct trace *t, const struct event *e)
{
	struct group *g;

	for (g = t->groups; g; g = g->next) {
		if (!g->complete || !is_of(g, e))
			continue;
		if (e->kind == DELIVER && !g->delivered) {
			g->delivered = e->ns;
			return;
		}
		if (e->kind == READ && !g->read) {
			g->read = e->ns;
			return;
		}
	}
}

static void follow_respond(struct trace *t, const struct event *e)
{
	struct group **at = find_group(t, e, true);
	char code[48];

	if (!*at)
		return;
	snprintf(code, sizeof(code), "%s%s", e->code,
		 e->orphan ? ", nobody was asked" : "");
	put_group(t, *at, code);
	remove_group(t, at);
}

/* Pages were mapped: those of which group? It may be of several. */
static void follow_map(struct trace *t, const struct event *e)
{
	struct group *g;

	for (g = t->groups; g; g = g->next)
		if (g->complete && g->addr < e->end && e->addr < g->end)
			put_instant(t, "map", g->line, e->ns, "bytes",
				    e->end - e->addr);
}

/* What had come of groups is forgotten. */
static void follow_discard(struct trace *t, const struct event *e)
{
	struct group **at = &t->groups;

	while (*at) {
		if (!(*at)->complete && !strcmp((*at)->device, e->device) &&
		    (!(*at)->pasid_valid || (*at)->pasid == e->pasid ||
		     e->pasid == ~0U)) {
			put_instant(t, "discarded", (*at)->line, e->ns,
				    "requests", (*at)->requests);
			put_group(t, *at, "none, discarded");
			remove_group(t, at);
		} else {
			at = &(*at)->next;
		}
	}
}

static bool follow(struct trace *t, const struct event *e)
{
	if (!t->begin)
		t->begin = e->ns;
	if (e->ns > t->now)
		t->now = e->ns;
	t->seen += e->kind != MAP;
	switch (e->kind) {
	case REPORT:
		return follow_report(t, e);
	case DELIVER:
	case READ:
		follow_step(t, e);
		break;
	case RESPOND:
		follow_respond(t, e);
		break;
	case MAP:
		follow_map(t, e);
		break;
	case DISCARD:
		follow_discard(t, e);
		break;
	case OVERFLOW:
		put_instant(t, "overflow", 0, e->ns, "total", e->count);
		break;
	default:
		break;
	}
	return true;
}

/* "#P" and others of the header: were events lost? */
static void look_for_losses(const char *line)
{
	unsigned long long kept, all;

	if (sscanf(line, "# entries-in-buffer/entries-written: %llu/%llu",
		   &kept, &all) == 2 && kept < all)
		fprintf(stderr,
			"iopf trace: the first %llu events are lost, there was no room\n",
			all - kept);
}

/* Text to JSON. Returns an exit status. */
static int convert(FILE *in, FILE *out)
{
	struct trace t = { .j.out = out };
	char line[MAX_LINE];
	struct event e;
	bool good = true;
	int ret = CLI_OK;

	t.end = &t.groups;
	json_open(&t.j, NULL, '{');
	json_string(&t.j, "displayTimeUnit", "ns");
	json_open(&t.j, "traceEvents", '[');
	put_name(&t, "process_name", 0, "page requests");
	while (good && fgets(line, sizeof(line), in)) {
		if (line[0] == '#')
			look_for_losses(line);
		else if (parse_line(line, &e))
			good = follow(&t, &e);
	}
	while (t.groups) {
		put_group(&t, t.groups, NULL);
		remove_group(&t, &t.groups);
	}
	free(t.line);
	json_close(&t.j, ']');
	json_close(&t.j, '}');
	if (!good)
		return cli_error("no memory");
	if (ferror(in))
		return cli_error("cannot read the trace: %s", strerror(errno));
	if (!t.seen) {
		cli_error("there are no page requests in the trace");
		ret = CLI_NO;
	}
	return ret;
}

/*
 * Recording
 */

static char instance[64];

static int put_file(const char *name, const char *text)
{
	return iopf_write_file(text, "%s/%s", instance, name);
}

/* A buffer of our own: nobody else's tracing is disturbed. */
static int start_recording(void)
{
	int ret;

	snprintf(instance, sizeof(instance), TRACING "/instances/iopf-%d",
		 getpid());
	if (mkdir(instance, 0700))
		return cli_error("%s: %s: it takes root and tracefs (mount -t tracefs none %s)",
				 instance, strerror(errno), TRACING);
	ret = put_file("buffer_size_kb", BUFFER_KB);
	if (!ret)
		ret = put_file("events/iopf/enable", "1");
	if (ret == -ENOENT)
		ret = cli_error("this kernel has no tracepoints of page requests");
	else if (ret)
		ret = cli_error("%s: %s", instance, strerror(-ret));
	if (ret)
		rmdir(instance);
	/* Nice to have */
	else
		put_file("events/iommu/map/enable", "1");
	return ret;
}

static int run_command(char **argv)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return cli_error("fork: %s", strerror(errno));
	if (!pid) {
		execvp(argv[0], argv);
		cli_error("cannot run %s: %s", argv[0], strerror(errno));
		_exit(errno == ENOENT ? CLI_COMMAND_MISSING :
					CLI_COMMAND_DENIED);
	}
	/* A signal of the terminal is for the command. */
	signal(SIGINT, SIG_IGN);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   CLI_COMMAND_SIGNAL + WTERMSIG(status);
}

static int record(char **argv, FILE *out)
{
	char path[96];
	int ret, status;
	FILE *in;

	ret = start_recording();
	if (ret)
		return ret;
	status = run_command(argv);
	put_file("tracing_on", "0");
	snprintf(path, sizeof(path), "%s/trace", instance);
	in = fopen(path, "re");
	if (in) {
		ret = convert(in, out);
		fclose(in);
	} else {
		ret = cli_error("%s: %s", path, strerror(errno));
	}
	rmdir(instance);
	return status ? status : ret;
}

static int convert_file(const char *name, FILE *out)
{
	FILE *in = stdin;
	int ret;

	if (name && strcmp(name, "-"))
		in = fopen(name, "re");
	if (!in)
		return cli_error("%s: %s", name, strerror(errno));
	ret = convert(in, out);
	if (in != stdin)
		fclose(in);
	return ret;
}

int cmd_trace(int argc, char **argv)
{
	const char *output = NULL;
	FILE *out = stdout;
	bool command;
	int opt, ret;

	while ((opt = cli_getopt(argc, argv, "+o:", options, usage)) != -1) {
		if (opt != 'o')
			return opt ? CLI_USAGE : CLI_OK;
		output = optarg;
	}
	command = optind > 1 && !strcmp(argv[optind - 1], "--");
	if (command && optind == argc)
		return cli_wrong("there is no command after '--'");
	if (!command && argc - optind > 1)
		return cli_wrong("one file; a command stands behind '--'");
	if (output)
		out = fopen(output, "we");
	if (!out)
		return cli_error("%s: %s", output, strerror(errno));
	ret = command ? record(argv + optind, out) :
			convert_file(argv[optind], out);
	if (output && fclose(out))
		return cli_error("%s: %s", output, strerror(errno));
	return ret;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what "iopf probe" makes of what it saw. What it sees is tested in
 * check-cli.sh, on copies of /sys, and the trial with a device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"
#include "probe.h"
#include "unittest.h"

static struct probe p;

static enum probe_verdict verdict_of(const enum probe_state *state,
				     unsigned int nr, bool proven,
				     const struct probe_link **why)
{
	unsigned int i;

	memset(&p, 0, sizeof(p));
	for (i = 0; i < nr; i++)
		probe_add(&p, state[i], "link", "link %u", i);
	p.proven = proven;
	return probe_verdict(&p, why);
}

static void test_verdict(void)
{
	static const enum probe_state good[] = { PROBE_OK, PROBE_NOTE };
	static const enum probe_state hidden[] = {
		PROBE_OK, PROBE_UNKNOWN, PROBE_UNKNOWN,
	};
	static const enum probe_state broken[] = {
		PROBE_UNKNOWN, PROBE_NO, PROBE_NO,
	};
	const struct probe_link *why;

	CHECK(verdict_of(good, 2, true, &why) == PROBE_USABLE && !why);
	/* Never without a trial. */
	CHECK(verdict_of(good, 2, false, &why) == PROBE_NOT_KNOWN && !why);
	CHECK(verdict_of(good, 0, false, &why) == PROBE_NOT_KNOWN && !why);
	/* Never with something unseen, not even after a trial. */
	CHECK(verdict_of(hidden, 3, false, &why) == PROBE_NOT_KNOWN);
	CHECK(why == &p.link[1]);
	CHECK(verdict_of(hidden, 3, true, &why) == PROBE_NOT_KNOWN);
	CHECK(verdict_of(broken, 3, false, &why) == PROBE_NOT_USABLE);
	CHECK(why == &p.link[1]);
	CHECK(verdict_of(broken, 3, true, &why) == PROBE_NOT_USABLE);
	/* The exit status is the verdict. */
	CHECK((int)PROBE_USABLE == CLI_OK && (int)PROBE_NOT_USABLE == CLI_NO);
	CHECK((int)PROBE_NOT_KNOWN == CLI_ERROR);
}

/* A trial that worked says more than what was looked at. */
static void test_settle(void)
{
	const struct probe_link *why;
	struct probe_link *link;

	memset(&p, 0, sizeof(p));
	probe_add(&p, PROBE_UNKNOWN, "kernel", "hidden");
	link = probe_add(&p, PROBE_NO, "group", "bad");
	probe_cure(link, "do this");
	snprintf(link->function, sizeof(link->function), "0000:01:00.1");
	probe_settle(&p);
	CHECK(p.link[0].state == PROBE_UNKNOWN && p.link[1].state == PROBE_NO);
	CHECK(p.link[1].nr_cures == 1);
	p.proven = true;
	probe_settle(&p);
	CHECK(p.link[0].state == PROBE_OK);
	CHECK(strstr(p.link[0].text, "the trial used it"));
	CHECK(p.link[1].state == PROBE_NOTE);
	CHECK(strstr(p.link[1].text, "but the trial worked"));
	CHECK(!p.link[1].nr_cures && !p.link[1].function[0]);
	CHECK(probe_verdict(&p, &why) == PROBE_USABLE);
}

static void test_bounds(void)
{
	struct probe_link *link;
	char text[1000];
	unsigned int i;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	memset(&p, 0, sizeof(p));
	for (i = 0; i < 2 * PROBE_LINKS; i++) {
		link = probe_add(&p, PROBE_OK, "link", "%u %s", i, text);
		CHECK(strlen(link->text) == sizeof(link->text) - 1);
	}
	CHECK(p.nr == PROBE_LINKS);
	CHECK(!strncmp(p.link[PROBE_LINKS - 1].text, "47 ", 3));
	for (i = 0; i < 2 * PROBE_CURES; i++)
		probe_cure(link, "%u %s", i, text);
	CHECK(link->nr_cures == PROBE_CURES);
	/* Room for the remark of a trial that worked or not: never beyond. */
	link->state = PROBE_UNKNOWN;
	p.proven = true;
	probe_settle(&p);
	CHECK(strlen(link->text) == sizeof(link->text) - 1);
}

static void test_json(void)
{
	static const struct {
		const char *text;
		const char *json;
	} strings[] = {
		{ "", "\"\"" },
		{ "plain /", "\"plain /\"" },
		{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
		{ "\x01\n\x1f\x7f", "\"\\u0001\\u000a\\u001f\\u007f\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		/* cut short, alone, too long, a surrogate, too large */
		{ "\xc3", "\"\\ufffd\"" },
		{ "\xe2\x82", "\"\\ufffd\\ufffd\"" },
		{ "\x80z", "\"\\ufffdz\"" },
		{ "\xc0\xaf", "\"\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xff", "\"\\ufffd\"" },
		{ NULL, "null" },
	};
	char *text = NULL;
	size_t size, i;
	struct json j;

	for (i = 0; i < ARRAY_SIZE(strings); i++) {
		j = (struct json){ .out = open_memstream(&text, &size) };
		json_string(&j, NULL, strings[i].text);
		fclose(j.out);
		if (strcmp(text, strings[i].json))
			printf("# %zu: %s, not %s\n", i, text, strings[i].json);
		CHECK(!strcmp(text, strings[i].json));
		free(text);
	}
	j = (struct json){ .out = open_memstream(&text, &size) };
	json_open(&j, NULL, '{');
	json_open(&j, "none", '[');
	json_close(&j, ']');
	json_number(&j, "number", -1);
	json_open(&j, "list", '[');
	json_bool(&j, NULL, true);
	json_null(&j, NULL);
	json_close(&j, ']');
	json_close(&j, '}');
	fclose(j.out);
	CHECK(!strcmp(text, "{\n  \"none\": [],\n  \"number\": -1,\n"
		      "  \"list\": [\n    true,\n    null\n  ]\n}\n"));
	free(text);
}

/* Colour is for terminals, for those that can, and for who wants it. */
static void test_colour(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	FILE *terminal = NULL, *file = tmpfile();

	CHECK(master >= 0 && !grantpt(master) && !unlockpt(master));
	terminal = fopen(ptsname(master), "r+");
	CHECK(terminal && file);
	if (!terminal || !file)
		return;
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	CHECK(cli_colour(terminal));
	CHECK(!cli_colour(file));
	setenv("NO_COLOR", "", 1);
	CHECK(cli_colour(terminal));
	setenv("NO_COLOR", "1", 1);
	CHECK(!cli_colour(terminal));
	unsetenv("NO_COLOR");
	setenv("TERM", "dumb", 1);
	CHECK(!cli_colour(terminal));
	unsetenv("TERM");
	CHECK(!cli_colour(terminal));
	fclose(terminal);
	fclose(file);
	close(master);
}

int main(void)
{
	printf("TAP version 13\n1..5\n");
	run("verdict", test_verdict);
	run("settle", test_settle);
	run("bounds", test_bounds);
	run("json", test_json);
	run("colour", test_colour);
	return failed ? 1 : 0;
}

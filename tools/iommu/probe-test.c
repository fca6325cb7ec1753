// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what "iopf probe" makes of what it saw. What it sees is tested in
 * check-cli.sh, on copies of /sys, and the trial with a device.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"
#include "probe.h"
#include "probe-firmware.h"
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

/* What the ID registers of an SMMUv3 make of the link */
static void test_smmu(void)
{
	static const struct {
		__u32 idr[2];
		bool stalls;
		enum probe_state state;
		const char *text;
	} cases[] = {
		{ { 0x10401 | 3 << 24, 13 << 11 | 16 << 6 }, false, PROBE_OK,
		  "ATS, 8192 page requests, 16 bits of PASID" },
		{ { 0x10402, 0 }, false, PROBE_OK, "0 bits of PASID" },
		{ { 0x10001, 0 }, false, PROBE_NO, "no ATS (IDR0 0x10001" },
		{ { 0x00401, 0 }, false, PROBE_NO, "no page requests (" },
		{ { 0, 0 }, false, PROBE_NO,
		  "no translation, no ATS, no page requests (" },
		{ { 0x00001, 20 << 6 }, true, PROBE_OK,
		  "stalls, 20 bits of PASID" },
		{ { 0x10401 | 1 << 24, 0 }, true, PROBE_NO, "no stalls (" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&p, 0, sizeof(p));
		snprintf(p.pci.iommu, sizeof(p.pci.iommu), "smmu3.0");
		p.pci.pri = !cases[i].stalls;
		p.pci.vendor = 0x19e5;
		p.pci.device = 0xa250;
		p.hw_known = true;
		p.hw.type = 2;
		p.hw.raw_len = 40;
		memcpy(p.hw.raw + 8, cases[i].idr, sizeof(cases[i].idr));
		probe_smmu.iommu(&p);
		CHECK(p.link[0].state == cases[i].state);
		CHECK(strstr(p.link[0].text, cases[i].text));
	}
	/* Fewer registers than that, or of another IOMMU, or none */
	p.hw.raw_len = 12;
	p.nr = 0;
	probe_smmu.iommu(&p);
	CHECK(p.link[0].state == PROBE_UNKNOWN);
	p.hw.raw_len = 40;
	p.hw.type = 1;
	p.nr = 0;
	probe_smmu.iommu(&p);
	CHECK(p.link[0].state == PROBE_UNKNOWN);
	CHECK(strstr(p.link[0].text, "this kernel does not tell"));
	p.hw_known = false;
	snprintf(p.hw_error, sizeof(p.hw_error), "is in use");
	p.nr = 0;
	probe_smmu.iommu(&p);
	CHECK(strstr(p.link[0].text, "not visible: is in use"));
}

static void put_le(unsigned char *at, __u32 value)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		at[i] = value >> 8 * i;
}

/* A table with two root complexes, cut at each length and with each byte bent */
static void test_iort(void)
{
	static unsigned char table[48 + 2 * 56], bent[sizeof(table)];
	unsigned char *node;
	size_t i;
	int ret;

	memcpy(table, "IORT", 4);
	put_le(table + 36, 2);
	put_le(table + 40, 48);
	for (i = 0; i < 2; i++) {
		node = table + 48 + i * 56;
		node[0] = 2;
		node[1] = 56;
		put_le(node + 8, 1);
		put_le(node + 12, 36);
		put_le(node + 24, !i);
		put_le(node + 36, i << 15);
		put_le(node + 40, 0x7fff);
	}
	CHECK(probe_iort_ats(table, sizeof(table), "0000:01:00.0") == 1);
	CHECK(probe_iort_ats(table, sizeof(table), "0000:7f:1f.7") == 1);
	CHECK(probe_iort_ats(table, sizeof(table), "0000:80:00.0") == 0);
	CHECK(probe_iort_ats(table, sizeof(table), "0001:01:00.0") == -ENOENT);
	for (i = 0; i < sizeof(table); i++)
		CHECK(probe_iort_ats(table, i, "0000:ff:00.0") == -EINVAL);
	for (i = 0; i < 256 * sizeof(table); i++) {
		memcpy(bent, table, sizeof(table));
		bent[i / 256] = i % 256;
		ret = probe_iort_ats(bent, sizeof(bent), "0000:ff:00.0");
		CHECK(ret == 0 || ret == 1 || ret == -ENOENT || ret == -EINVAL);
	}
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
	printf("TAP version 13\n1..7\n");
	run("verdict", test_verdict);
	run("settle", test_settle);
	run("bounds", test_bounds);
	run("json", test_json);
	run("smmu", test_smmu);
	run("iort", test_iort);
	run("colour", test_colour);
	return failed ? 1 : 0;
}

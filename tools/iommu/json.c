// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing JSON.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "json.h"

/*
 * Bytes of the UTF-8 sequence at @text, 0 if it is none: cut short, longer than
 * its value needs, a surrogate, or above the last code point.
 */
static unsigned int sequence(const unsigned char *text)
{
	static const unsigned int least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned int len, i, value;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc0 || text[0] > 0xf7)
		return 0;
	len = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	value = text[0] & (0x7f >> len);
	for (i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (text[i] & 0x3f);
	}
	if (value < least[len] || value > 0x10ffff ||
	    (value >= 0xd800 && value <= 0xdfff))
		return 0;
	return len;
}

static void quote(FILE *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	unsigned int len;

	putc('"', out);
	for (; *at; at += len ? len : 1) {
		len = sequence(at);
		if (!len)
			fputs("\\ufffd", out);
		else if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			fprintf(out, "\\u%04x", *at);
		else
			fwrite(at, 1, len, out);
	}
	putc('"', out);
}

static void indent(const struct json *j)
{
	fprintf(j->out, "\n%*s", 2 * j->depth, "");
}

/* The comma, the line break and the name that come before a value. */
static void lead(struct json *j, const char *key)
{
	if (j->full[j->depth])
		putc(',', j->out);
	j->full[j->depth] = true;
	if (j->depth)
		indent(j);
	if (key) {
		quote(j->out, key);
		fputs(": ", j->out);
	}
}

void json_open(struct json *j, const char *key, char bracket)
{
	lead(j, key);
	putc(bracket, j->out);
	j->full[++j->depth] = false;
}

void json_close(struct json *j, char bracket)
{
	bool full = j->full[j->depth--];

	if (full)
		indent(j);
	putc(bracket, j->out);
	if (!j->depth)
		putc('\n', j->out);
}

void json_string(struct json *j, const char *key, const char *text)
{
	if (!text) {
		json_null(j, key);
		return;
	}
	lead(j, key);
	quote(j->out, text);
}

void json_number(struct json *j, const char *key, long long value)
{
	lead(j, key);
	fprintf(j->out, "%lld", value);
}

void json_thousandths(struct json *j, const char *key, long long value)
{
	lead(j, key);
	fprintf(j->out, "%lld.%03lld", value / 1000, value % 1000);
}

void json_bool(struct json *j, const char *key, bool value)
{
	lead(j, key);
	fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *key)
{
	lead(j, key);
	fputs("null", j->out);
}

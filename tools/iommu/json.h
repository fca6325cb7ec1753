/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing JSON.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_JSON_H
#define IOPF_JSON_H

#include <stdbool.h>
#include <stdio.h>

#define JSON_DEPTH	8

/**
 * struct json - a document that is being written
 * @out: file
 * @depth: objects and arrays that are open
 * @full: for each depth, whether a value was written there
 */
struct json {
	FILE *out;
	unsigned int depth;
	bool full[JSON_DEPTH + 1];
};

/**
 * json_open - begin an object or an array
 * @j: document
 * @key: name in the object around it, or NULL in an array or at the top
 * @bracket: '{' or '['
 */
void json_open(struct json *j, const char *key, char bracket);

/**
 * json_close - end the object or array that was begun last
 * @j: document; a newline follows its end
 * @bracket: '}' or ']'
 */
void json_close(struct json *j, char bracket);

/**
 * json_string - add a text
 * @j: document
 * @key: name, or NULL in an array
 * @text: text, or NULL for null. What is no UTF-8 becomes U+FFFD.
 */
void json_string(struct json *j, const char *key, const char *text);

/**
 * json_number - add a whole number
 * @j: document
 * @key: name, or NULL in an array
 * @value: number
 */
void json_number(struct json *j, const char *key, long long value);

/**
 * json_thousandths - add a number with three decimals
 * @j: document
 * @key: name, or NULL in an array
 * @value: a thousand times the number, not negative
 */
void json_thousandths(struct json *j, const char *key, long long value);

/**
 * json_bool - add true or false
 * @j: document
 * @key: name, or NULL in an array
 * @value: which
 */
void json_bool(struct json *j, const char *key, bool value);

/**
 * json_null - add null
 * @j: document
 * @key: name, or NULL in an array
 */
void json_null(struct json *j, const char *key);

#endif /* IOPF_JSON_H */

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Error text of libiopf: one line per thread.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static __thread char text[512];

const char *iopf_version(void)
{
	return IOPF_VERSION;
}

const char *iopf_error(void)
{
	return text[0] ? text : "no error";
}

int iopf_err(int err, const char *fmt, ...)
{
	/* The text may be made from the text before it. */
	char line[sizeof(text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s", iopf_tame(line));
	return err;
}

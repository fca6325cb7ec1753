// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Where /sys, /proc and so on are.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "internal.h"

static const char *root = "";

void iopf_set_root(const char *new_root)
{
	root = new_root;
}

const char *iopf_root(void)
{
	return root;
}

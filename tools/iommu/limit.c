// SPDX-License-Identifier: GPL-2.0-only
/*
 * A limit for lines that a device can provoke.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "limit.h"

bool limit_pass(struct limit *l, __u64 now, __u64 *dropped)
{
	__u64 regained;

	if (!l->begun) {
		l->begun = true;
		l->since = now;
	}
	regained = (now - l->since) / LIMIT_EVERY;
	l->since += regained * LIMIT_EVERY;
	l->used = regained < l->used ? l->used - regained : 0;
	if (l->used >= LIMIT_BURST) {
		l->dropped++;
		return false;
	}
	l->used++;
	*dropped = l->dropped;
	l->dropped = 0;
	return true;
}

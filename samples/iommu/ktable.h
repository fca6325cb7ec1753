/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A page table of the kernel that becomes something else
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_SVA_KTABLE_H
#define IOPF_SVA_KTABLE_H

#include <linux/types.h>

struct ktable;

struct ktable *ktable_make(void);
unsigned long ktable_addr(const struct ktable *table);
int ktable_replace(struct ktable *table);
void ktable_free(struct ktable *table);

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of guests that are those of an x86 processor, with four levels: the first
 * stage of VT-d, and what tables of PASIDs lead to on AMD-Vi
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include "iopf_viommu.h"

#define PTE_P		0x001ULL
#define PTE_RW		0x002ULL
#define PTE_US		0x004ULL
#define PTE_ADDR	0x000ffffffffff000ULL
#define PTE_USER	(PTE_P | PTE_RW | PTE_US)

__u64 *x86_entry(struct guest *guest, __u64 table, __u64 gva, int level)
{
	__u64 *entries = host(guest, table);

	return &entries[gva >> (12 + 9 * (level - 1)) & 511];
}

__u64 x86_next(__u64 entry)
{
	return entry & PTE_P ? entry & PTE_ADDR : 0;
}

void x86_set_page(struct guest *guest, __u64 table, __u64 gva, __u64 gpa)
{
	__u64 *pte;
	int level;

	for (level = 4; ; level--) {
		pte = x86_entry(guest, table, gva, level);
		if (level == 1)
			break;
		if (!x86_next(*pte))
			__atomic_store_n(pte, guest_page(guest) | PTE_USER,
					 __ATOMIC_SEQ_CST);
		table = x86_next(*pte);
	}
	__atomic_store_n(pte, gpa ? gpa | PTE_USER : 0, __ATOMIC_SEQ_CST);
}

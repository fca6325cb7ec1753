/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program of the machine tells the counting plugin where it is.
 *
 * A mark is a NOP of seven bytes that no compiler makes: its displacement, which a
 * processor does not look at, is MARK_MAGIC and, in the lowest byte, what is meant. On
 * any other machine it does nothing.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_BENCH_MARK_H
#define IOPF_BENCH_MARK_H

#define MARK_SIZE	7
#define MARK_OPCODE	"\x0f\x1f\x80"	/* nopl disp32(%rax) */
#define MARK_MAGIC	0x494f5000U

#define MARK_KIND_BITS	2

enum mark_kind {
	MARK_BEGIN,	/* of a round */
	MARK_READ,	/* the requests have been read */
	MARK_END,	/* of a round */
};

/* @row and @kind have to be constants. */
#define MARK(row, kind) \
	mark(MARK_MAGIC | (row) << MARK_KIND_BITS | (kind))

static __always_inline void mark(const unsigned int disp)
{
	asm volatile(".byte 0x0f, 0x1f, 0x80\n\t.long %c0" : : "i" (disp) : "memory");
}

#endif /* IOPF_BENCH_MARK_H */

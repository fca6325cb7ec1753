/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program of the machine tells the counting plugin where it is.
 *
 * A mark is an instruction that does nothing and that no compiler makes, with what is
 * meant in a field of it that a processor does not look at.
 *
 * x86: a NOP of seven bytes. Its displacement is MARK_MAGIC and, in the lowest byte, what
 * is meant.
 * arm64: a MOVZ to the zero register, from the uppermost 16 bits. Its immediate is
 * MARK_ARM64_MAGIC and what is meant.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_BENCH_MARK_H
#define IOPF_BENCH_MARK_H

#define MARK_SIZE	7
#define MARK_OPCODE	"\x0f\x1f\x80"	/* nopl disp32(%rax) */
#define MARK_MAGIC	0x494f5000U

#define MARK_ARM64	0xd2e0001fU	/* movz xzr, #imm16, lsl #48 */
#define MARK_ARM64_IMM	5		/* first bit of imm16 */
#define MARK_ARM64_MAGIC	0x4900U

#define MARK_KIND_BITS	2

enum mark_kind {
	MARK_BEGIN,	/* of a round */
	MARK_READ,	/* the requests have been read */
	MARK_END,	/* of a round */
};

/* @row and @kind have to be constants. */
#define MARK(row, kind)	mark((row) << MARK_KIND_BITS | (kind))

static __always_inline void mark(const unsigned int id)
{
#if defined(__aarch64__)
	asm volatile(".inst %c0" : : "i" (MARK_ARM64 |
					  (MARK_ARM64_MAGIC | id) << MARK_ARM64_IMM)
		     : "memory");
#else
	asm volatile(".byte 0x0f, 0x1f, 0x80\n\t.long %c0" : : "i" (MARK_MAGIC | id)
		     : "memory");
#endif
}

#endif /* IOPF_BENCH_MARK_H */

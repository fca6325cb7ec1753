// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU plugin: counts the instructions that the processor executes.
 *
 * At each mark of mark.h, and each time the processor stops to wait for an interrupt, it
 * writes a line to QEMU's log ("-d plugin"), with the number of instructions so far:
 *
 *	bench mark ID COUNT
 *	bench halt COUNT
 *
 * What is executed after a halt is the interrupt that ended it, so the count of the last
 * halt is where that interrupt began. The lines stand among those of the trace events
 * that were asked for, in the order in which all that happened; one processor is assumed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qemu-plugin.h>

#include "mark.h"

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static qemu_plugin_u64 executed;

static void on_mark(unsigned int vcpu, void *id)
{
	char line[64];

	(void)vcpu;
	snprintf(line, sizeof(line), "bench mark %u %llu\n", (unsigned int)(uintptr_t)id,
		 (unsigned long long)qemu_plugin_u64_sum(executed));
	qemu_plugin_outs(line);
}

static void on_halt(unsigned int vcpu, void *unused)
{
	char line[64];

	(void)vcpu;
	(void)unused;
	snprintf(line, sizeof(line), "bench halt %llu\n",
		 (unsigned long long)qemu_plugin_u64_sum(executed));
	qemu_plugin_outs(line);
}

/* Returns whether it is a mark, and which. */
static bool x86_mark(const unsigned char *code, size_t len, unsigned int *id)
{
	uint32_t disp;

	if (len != MARK_SIZE || memcmp(code, MARK_OPCODE, MARK_SIZE - sizeof(disp)))
		return false;
	memcpy(&disp, code + MARK_SIZE - sizeof(disp), sizeof(disp));
	*id = disp & 0xff;
	return (disp & ~0xffU) == MARK_MAGIC;
}

static bool x86_halt(const unsigned char *code, size_t len)
{
	/* HLT, MWAIT */
	return (len == 1 && code[0] == 0xf4) || (len == 3 && !memcmp(code, "\x0f\x01\xc9", 3));
}

static uint32_t arm64_word(const unsigned char *code)
{
	return code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
}

static bool arm64_mark(const unsigned char *code, size_t len, unsigned int *id)
{
	uint32_t what = MARK_ARM64 | MARK_ARM64_MAGIC << MARK_ARM64_IMM;

	if (len != sizeof(what))
		return false;
	*id = arm64_word(code) >> MARK_ARM64_IMM & 0xff;
	return arm64_word(code) == (what | *id << MARK_ARM64_IMM);
}

static bool arm64_halt(const unsigned char *code, size_t len)
{
	/* WFI, and WFIT with any register */
	return len == 4 && (arm64_word(code) == 0xd503207f ||
			    (arm64_word(code) & ~0x1fU) == 0xd5031020);
}

static const struct arch {
	const char *name;	/* QEMU's */
	bool (*is_mark)(const unsigned char *code, size_t len, unsigned int *id);
	bool (*is_halt)(const unsigned char *code, size_t len);
} archs[] = {
	{ "x86_64", x86_mark, x86_halt },
	{ "aarch64", arm64_mark, arm64_halt },
};

static const struct arch *arch;

static void on_translation(qemu_plugin_id_t plugin, struct qemu_plugin_tb *tb)
{
	unsigned char code[16];
	struct qemu_plugin_insn *insn;
	unsigned int id;
	size_t i, len;

	(void)plugin;
	for (i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		insn = qemu_plugin_tb_get_insn(tb, i);
		qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn,
								    QEMU_PLUGIN_INLINE_ADD_U64,
								    executed, 1);
		len = qemu_plugin_insn_size(insn);
		if (len > sizeof(code) || qemu_plugin_insn_data(insn, code, len) != len)
			continue;
		if (arch->is_mark(code, len, &id))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)id);
		else if (arch->is_halt(code, len))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_halt,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t plugin, const qemu_info_t *info,
					   int argc, char **argv)
{
	size_t i;

	(void)argc;
	(void)argv;
	for (i = 0; i < ARRAY_SIZE(archs); i++)
		if (!strcmp(info->target_name, archs[i].name))
			arch = &archs[i];
	if (!info->system_emulation || !arch)
		return -1;
	executed = qemu_plugin_scoreboard_u64(qemu_plugin_scoreboard_new(sizeof(uint64_t)));
	qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_translation);
	return 0;
}

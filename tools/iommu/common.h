/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Helpers that the library and the programs are both built with. None of them
 * is part of the library's interface.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_COMMON_H
#define IOPF_COMMON_H

#include <linux/pci_regs.h>
#include <linux/types.h>
#include <stddef.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
#ifndef BIT_ULL
#define BIT_ULL(n) (1ULL << (n))
#endif
#ifndef __printf
#define __printf(a, b) __attribute__(( \
	format(printf, a, b)))
#endif

/*
 * Names of files and devices may have anything in them. A text that is made of
 * them stays one line and changes no terminal: control characters, also those
 * that take two bytes in UTF-8, become '?'. Returns @text.
 */
static inline char *iopf_tame(char *text)
{
	unsigned char *c = (unsigned char *)text;

	for (; *c; c++) {
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			*c++ = '?';
		else if (c[0] >= 0x20 && c[0] != 0x7f)
			continue;
		*c = '?';
	}
	return text;
}

/* Numbers as firmware and config space have them, little-endian at any address */
static inline __u16 iopf_get16(const __u8 *at)
{
	return at[0] | at[1] << 8;
}

static inline __u32 iopf_get32(const __u8 *at)
{
	return iopf_get16(at) | (__u32)iopf_get16(at + 2) << 16;
}

/*
 * The kind of a PCI Express function (PCI_EXP_TYPE_*), -1 of a conventional one.
 * @config has PCI_CFG_SPACE_SIZE bytes.
 */
static inline int iopf_express_type(const __u8 *config)
{
	unsigned int pos, left = PCI_CFG_SPACE_SIZE / 4;

	if (!(iopf_get16(config + PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return -1;
	for (pos = config[PCI_CAPABILITY_LIST] & ~3U; pos && left--;
	     pos = config[pos + 1] & ~3U)
		if (config[pos] == PCI_CAP_ID_EXP)
			return (iopf_get16(config + pos + PCI_EXP_FLAGS) &
				PCI_EXP_FLAGS_TYPE) >> 4;
	return -1;
}

/*
 * Have VFIO signal @nr eventfds for the first vectors of an interrupt index
 * (VFIO_PCI_*_IRQ_INDEX); @nr 0 switches all of the index off. @vfio is the
 * device's file. Returns 0 or a negative errno.
 */
int iopf_irq_eventfds(int vfio, unsigned int index, const int *fds,
		      unsigned int nr);

/*
 * How many eventfds an interrupt index takes: 0 without such interrupts, or a
 * negative errno.
 */
int iopf_irq_count(int vfio, unsigned int index);

/*
 * Files of /sys and /proc. The format and what comes after it is the path,
 * which is looked up below iopf_root().
 */

/* The whole path: a string that the caller frees, or NULL without memory. */
__printf(1, 2) char *iopf_path(const char *fmt, ...);

/*
 * Up to @size bytes of a file as they are. Returns their number or a negative
 * errno.
 */
__printf(3, 4) int iopf_read_bytes(void *buf, size_t size, const char *fmt,
				   ...);

/*
 * A text file as a string of at most @size - 1 bytes, without the newlines at
 * its end. Returns the length or a negative errno; the string is empty then.
 */
__printf(3, 4) int iopf_read_file(char *buf, size_t size, const char *fmt, ...);

/* Write a text to a file that is there. Returns 0 or a negative errno. */
__printf(2, 3) int iopf_write_file(const char *text, const char *fmt, ...);

/*
 * Last part of the path a link points to. Returns 0 or a negative errno; the
 * string is empty then.
 */
__printf(3, 4) int iopf_read_link(char *buf, size_t size, const char *fmt, ...);

#endif /* IOPF_COMMON_H */

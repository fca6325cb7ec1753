/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Announce what a test makes the kernel complain of
 *
 * A testbed that watches the console fails on a kernel that reports DMA faults,
 * but some tests are about just that. They announce it in the kernel's log, where
 * the marks stay in order with the messages (tools/testing/iopf/lanes/README).
 * Without the right to write there nothing is announced.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_CONSOLE_H
#define IOPF_CONSOLE_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline void write_console_mark(const char *mark, const char *pattern)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[512];
	int len;

	if (fd < 0)
		return;
	/* not dprintf(), which wants to know where in the file it is */
	len = snprintf(line, sizeof(line), "<6>iopf: %s%s\n", mark, pattern);
	if (write(fd, line, len) != len)
		perror("# /dev/kmsg");
	close(fd);
}

/*
 * Run on each CPU once: an interrupt that was pending there has been taken then,
 * and what its handler had to say is in the log. A handler that is a thread comes
 * before us on its CPU, which is that of the interrupt.
 */
static inline void take_pending_interrupts(void)
{
	cpu_set_t all, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	sched_setaffinity(0, sizeof(all), &all);
}

/*
 * From here on the kernel may print lines that match @pattern, an extended
 * regular expression. Several may be announced.
 */
static inline void expect_on_console(const char *pattern)
{
	take_pending_interrupts();
	write_console_mark("expect from here: ", pattern);
}

/* Only what has happened up to here is excused. */
static inline void expect_no_more_on_console(void)
{
	take_pending_interrupts();
	write_console_mark("expect to here", "");
}

/* A PASID in expect_dma_faults() that is none, or that may be any or none */
#define DMA_NO_PASID	-1L
#define DMA_ANY_PASID	-2L
/* The devices of expect_dma_faults(): all of them */
#define DMA_ANY_DEVICE	NULL

/*
 * What a device has met, and what VT-d and SMMUv3 call that: a fault reason, and the
 * numbers of events. AMD-Vi calls all of it a page fault, except that a device uses ATS
 * and must not.
 */
enum dma_fault {
	DMA_ANY_FAULT,
	DMA_NO_ADDRESS,		/* beyond what the table can hold, in no half of it */
	DMA_BEYOND_TABLE,	/* the same without PASID */
	DMA_NO_TABLE,		/* nothing is attached */
	DMA_NO_ATS,		/* its ATS was taken away */
};

static const struct {
	unsigned int vtd;
	const char *smmu;	/* a pattern for two hexadecimal digits */
	bool smmu_addr;		/* and these events have the address */
} dma_faults[] = {
	[DMA_ANY_FAULT] = { 0, "[0-9a-f]{2}", false },
	[DMA_NO_ADDRESS] = { 0x80, "1[01]", true },
	[DMA_BEYOND_TABLE] = { 0x83, "1[01]", true },
	/* F_BAD_ATS_TREQ, F_STREAM_DISABLED, F_TRANSL_FORBIDDEN, C_BAD_SUBSTREAMID,
	 * C_BAD_CD, F_TRANSLATION
	 */
	[DMA_NO_TABLE] = { 0x59, "(0[5678a]|10)", false },
	[DMA_NO_ATS] = { 0x44, "0[57]", false },
};

/* The numbers of a device in its StreamID, or a pattern that takes them all. */
static inline void smmu_stream(const char *bdf, char *pattern, size_t size)
{
	unsigned int bus, slot, function;

	if (bdf && !strncmp(bdf, "0000:", 5))
		bdf += 5;
	if (bdf && sscanf(bdf, "%x:%x.%u", &bus, &slot, &function) == 3)
		snprintf(pattern, size, "0000%02x%02x", bus, slot << 3 | function);
	else
		snprintf(pattern, size, "[0-9a-f]{8}");
}

/*
 * Events of an SMMUv3. Its driver logs the four double words of a record in lines of
 * their own; the testbed takes those with the first line (lib/splat.py). The first
 * has the StreamID, the SubstreamID if bit 11 says so, and the number.
 */
static inline void expect_smmu_faults(const char *bdf, long pasid,
				      const char *addr, enum dma_fault fault)
{
	char stream[16], substream[32], pattern[256];

	smmu_stream(bdf, stream, sizeof(stream));
	if (pasid >= 0)
		snprintf(substream, sizeof(substream), "%05lx[89a-f]", pasid);
	else if (pasid == DMA_NO_PASID)
		snprintf(substream, sizeof(substream), "[0-9a-f]{5}[0-7]");
	else
		snprintf(substream, sizeof(substream), "[0-9a-f]{6}");
	snprintf(pattern, sizeof(pattern),
		 "^arm-smmu-v3 [^ ]+: event 0x%s received: 0x%s%s%s 0x[0-9a-f]+ 0x0*%s 0x",
		 dma_faults[fault].smmu, stream, substream,
		 dma_faults[fault].smmu, dma_faults[fault].smmu_addr ? addr :
								       "[0-9a-f]*");
	expect_on_console(pattern);
}

/*
 * Events of AMD-Vi. The driver says once more that a device has no page table, if it
 * knows that; the number is that of the domain in requests without PASID.
 */
static inline void expect_amd_faults(const char *bdf, long pasid,
				     const char *addr, enum dma_fault fault)
{
	char device[32], number[16], pattern[256];

	if (bdf && !strncmp(bdf, "0000:", 5))
		bdf += 5;
	snprintf(device, sizeof(device), "(0000:)?%s",
		 bdf ? bdf : "[0-9a-f:.]+");
	if (pasid >= 0)
		snprintf(number, sizeof(number), "0x0*%lx", pasid);
	else
		snprintf(number, sizeof(number), "0x[0-9a-f]+");
	snprintf(pattern, sizeof(pattern),
		 "^[^ ]+ %s: AMD-Vi: Event logged .IO_PAGE_FAULT domain=%s address=0x%s flags=",
		 device, number, fault == DMA_ANY_FAULT ? "[0-9a-f]+" : addr);
	expect_on_console(pattern);
	if (fault == DMA_NO_ATS) {
		snprintf(pattern, sizeof(pattern),
			 "AMD-Vi: Event logged .INVALID_DEVICE_REQUEST device=%s ",
			 device);
		expect_on_console(pattern);
	}
	if (fault != DMA_NO_TABLE && fault != DMA_ANY_FAULT)
		return;
	expect_on_console("^AMD-Vi: Event logged .Device not attached to domain properly");
}

/*
 * DMA faults as the IOMMU's driver logs them. @bdf: device or DMA_ANY_DEVICE; @pasid:
 * PASID, DMA_NO_PASID or DMA_ANY_PASID; @addr: pattern, without 0x.
 */
static inline void expect_dma_faults(const char *bdf, long pasid,
				     const char *addr, enum dma_fault fault)
{
	char with[32], pattern[256];

	if (bdf && !strncmp(bdf, "0000:", 5))
		bdf += 5;
	if (pasid >= 0)
		snprintf(with, sizeof(with), "PASID %#lx", pasid);
	else
		snprintf(with, sizeof(with), "%s", pasid == DMA_NO_PASID ?
			 "NO_PASID" : "(NO_PASID|PASID 0x[0-9a-f]+)");
	/* a line by itself before each fault */
	expect_on_console("^DMAR: DRHD: handling fault status reg");
	if (fault == DMA_ANY_FAULT)
		snprintf(pattern, sizeof(pattern),
			 "^DMAR: .*Request device .*fault");
	else
		snprintf(pattern, sizeof(pattern),
			 "^DMAR: .DMA (Read|Write) %s. Request device .(0000:)?%s. fault addr 0x%s .fault reason %#x",
			 with, bdf ? bdf : "[0-9a-f:.]+", addr,
			 dma_faults[fault].vtd);
	expect_on_console(pattern);
	expect_smmu_faults(bdf, pasid, addr, fault);
	expect_amd_faults(bdf, pasid, addr, fault);
}

/* A device completes no invalidations, and the IOMMU gives up waiting. */
static inline void expect_invalidation_time_outs(void)
{
	expect_on_console("^DMAR: VT-d detected Invalidation Time-out Error");
	expect_on_console("^DMAR: Invalidation Time-out Error .ITE. cleared");
	expect_on_console("^DMAR: QI (HEAD|PRIOR): ");
	expect_on_console("^arm-smmu-v3 [^ ]+: CMDQ error .*: ATC invalidate timeout");
	expect_on_console("AMD-Vi: Event logged .IOTLB_INV_TIMEOUT ");
}

#endif /* IOPF_CONSOLE_H */

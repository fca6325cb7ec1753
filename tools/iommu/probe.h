/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of "iopf probe" share.
 *
 * A chain of links leads from the request of a device to the program. Each
 * link is looked at once and added to the list in struct probe with what was
 * seen; the verdict is made of all of them.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_PROBE_H
#define IOPF_PROBE_H

#include "common.h"
#include "libiopf.h"

#define PROBE_LINKS	24
#define PROBE_CURES	4
#define PROBE_OPTIONS	3	/* of a kind of IOMMU */

/**
 * enum probe_state - what was seen of a link
 * @PROBE_OK: it is as it has to be
 * @PROBE_NO: it is broken
 * @PROBE_UNKNOWN: it could not be looked at
 * @PROBE_NOTE: good to know, and no obstacle
 */
enum probe_state { PROBE_OK, PROBE_NO, PROBE_UNKNOWN, PROBE_NOTE };

/**
 * enum probe_verdict - the sum; the values are the exit status
 * @PROBE_USABLE: tried, and it works
 * @PROBE_NOT_USABLE: a link is broken
 * @PROBE_NOT_KNOWN: none is seen to be broken, but not all could be looked at
 */
enum probe_verdict { PROBE_USABLE, PROBE_NOT_USABLE, PROBE_NOT_KNOWN };

/**
 * struct probe_link - one link
 * @name: short name, one of a fixed set
 * @state: what was seen
 * @text: the same in words, one line
 * @function: PCI address of another function that is in the way, or empty
 * @nr_cures: lines in @cure
 * @cure: what to do about it
 */
struct probe_link {
	const char *name;
	enum probe_state state;
	char text[300];
	char function[32];
	unsigned int nr_cures;
	char cure[PROBE_CURES][200];
};

/**
 * struct probe - what was found out about a device
 * @pci: the device
 * @iommu: kind of its IOMMU, NULL if there is none or it is none of ours
 * @hw: what iommufd tells of the IOMMU, if @hw_known
 * @hw_known: it was asked
 * @hw_error: why it could not be, or empty if that was not tried
 * @try: bind a device without driver to vfio-pci for the trial
 * @no_try: make no trial
 * @tried: the trial was made
 * @proven: and it worked
 * @nr: number of links
 * @link: links, in the order in which they were looked at
 */
struct probe {
	struct iopf_pci pci;
	const struct probe_iommu *iommu;
	struct iopf_hw_info hw;
	bool hw_known;
	char hw_error[160];
	bool try;
	bool no_try;
	bool tried;
	bool proven;
	unsigned int nr;
	struct probe_link link[PROBE_LINKS];
};

/**
 * struct probe_iommu - a kind of IOMMU
 * @prefix: of its names in /sys/class/iommu
 * @options: what the kernel has to be configured with, without CONFIG_
 * @iommu: add the link of the IOMMU itself
 * @device: is there something about the device that this IOMMU minds; returns
 *	    a text and sets the cure, or NULL. May be NULL.
 * @stalls: does the device fault by stalls, and takes neither ATS nor PRI for it.
 *	    May be NULL.
 */
struct probe_iommu {
	const char *prefix;
	const char *options[PROBE_OPTIONS];
	void (*iommu)(struct probe *p);
	const char *(*device)(const struct iopf_pci *pci, const char **cure);
	bool (*stalls)(const struct iopf_pci *pci);
};

extern const struct probe_iommu probe_vtd;
extern const struct probe_iommu probe_amd;
extern const struct probe_iommu probe_smmu;

/**
 * probe_add - add a link
 * @p: probe
 * @state: what was seen
 * @name: name of the link, a constant
 * @fmt: printf format of the text
 *
 * When the list is full the last link is taken over.
 *
 * Return: the link.
 */
__printf(4, 5)
struct probe_link *probe_add(struct probe *p, enum probe_state state,
			     const char *name, const char *fmt, ...);

/**
 * probe_cure - add a line that says what to do
 * @link: link
 * @fmt: printf format
 */
__printf(2, 3)
void probe_cure(struct probe_link *link, const char *fmt, ...);

/**
 * probe_why - why a file could not be read
 * @err: negative errno
 *
 * Return: text with the cure. It stays valid until the next call.
 */
const char *probe_why(int err);

/**
 * probe_hidden - does an error say nothing about the device
 * @err: negative errno
 *
 * Return: true if it only tells that this user, or anybody now, may not look.
 */
bool probe_hidden(int err);

/**
 * probe_look - look at all links of a device; the trial is one of them
 * @p: probe; @p->try and @p->no_try are set, the rest is zero
 * @bdf: PCI address
 */
void probe_look(struct probe *p, const char *bdf);

/**
 * probe_settle - let a trial that worked overrule what was looked at
 * @p: probe
 *
 * What could not be looked at was used in the trial, and what seemed to be
 * broken is not. Does nothing if the trial was not made or failed.
 */
void probe_settle(struct probe *p);

/**
 * probe_verdict - sum the links up
 * @p: probe
 * @why: set to the link that decides, NULL if the verdict is "usable"
 *
 * Return: the verdict. It is PROBE_USABLE only if the trial worked and there is
 * no link that is broken or could not be looked at.
 */
enum probe_verdict probe_verdict(const struct probe *p,
				 const struct probe_link **why);

/**
 * probe_stalls - does the device fault by stalls, and not by ATS and PRI
 * @p: probe
 *
 * Return: true if so.
 */
bool probe_stalls(const struct probe *p);

/**
 * probe_hw - ask iommufd about the IOMMU of a device that vfio-pci has
 * @p: probe; @p->hw, @p->hw_known and @p->hw_error are set
 *
 * Does nothing where nothing may be opened.
 */
void probe_hw(struct probe *p);

/**
 * probe_trial - attach a page table with a fault queue, if that may be done
 * @p: probe; the link is added and @p->tried and @p->proven are set
 */
void probe_trial(struct probe *p);

#endif /* IOPF_PROBE_H */

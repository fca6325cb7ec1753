/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events of a VFIO device that are not interrupts of the device itself.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#ifndef IOPF_DEVEVENT_H
#define IOPF_DEVEVENT_H

#include "libiopf.h"

/**
 * struct devevents - event files, -1 where the device has no such event
 * @wanted_back: the kernel wants the device back, because its driver is being
 *		 unbound or the device removed. That waits until all files of
 *		 the device are closed; the event is repeated until then.
 * @broken: the device had an error it does not recover from by itself
 */
struct devevents {
	int wanted_back;
	int broken;
};

/**
 * devevents_open - have the events of a device delivered
 * @dev: device
 * @e: filled
 *
 * Return: 0 or a negative errno; no file is open then.
 */
int devevents_open(struct iopf_dev *dev, struct devevents *e);

/**
 * devevents_close - close the event files
 * @e: event files
 */
void devevents_close(struct devevents *e);

/**
 * devevent_take - has the event come
 * @fd: event file, or -1
 *
 * Return: true if it came since the last call.
 */
bool devevent_take(int fd);

#endif /* IOPF_DEVEVENT_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine sleeps with page requests open: suspend to RAM, from which endpoint
 * and IOMMU come back as from a reset, and suspend-to-idle, during which the one
 * endpoint is in D3hot and the other one stays as it is.
 *
 * What an endpoint has forgotten must have been answered by the kernel, so that no
 * answer of this program reaches it. The IOMMU has to take requests again, and who
 * waits for those from before the sleep must come to an end.
 *
 * The alarm of the clock wakes the machine up from suspend to RAM. QEMU lets no
 * alarm interrupt suspend-to-idle, so the kernel is told (by pm_test) to put all
 * devices to sleep for that, but to stay awake itself.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "iopf_endpoint.h"
#include "iopf_sysfs.h"

#define TEST_SECONDS	1800
#define TEST_SLEEP(name) TEST_F_TIMEOUT(sleep, name, TEST_SECONDS)

/* More than one, so that the queue's head is not where it was at boot. */
#define ROUNDS		2

#define ALARM		"/sys/class/rtc/rtc0/wakealarm"
#define STATE		"/sys/power/state"
#define MEM_SLEEP	"/sys/power/mem_sleep"
#define WAKEUPS		"/sys/power/wakeup_count"
#define PM_TEST		"/sys/power/pm_test"

/*
 * Until the alarm: the first attempt and the last one. Not too short, since QEMU
 * loses an alarm between the time when devices get no interrupts any more and the
 * one when the machine is asleep.
 */
#define MIN_SECONDS	30
#define MAX_SECONDS	480

#define MAX_ENDPOINTS	2

struct sleeper {
	struct endpoint ep;
	unsigned int slot[3];
	__u32 cookie;
};

FIXTURE(sleep)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct sleeper sleeper[MAX_ENDPOINTS];
	unsigned int nr;
};

static bool has_word(const char *path, const char *word)
{
	char text[128];

	return !read_text(path, text, sizeof(text)) && strstr(text, word);
}

FIXTURE_SETUP(sleep)
{
	unsigned int i;
	int ret;

	if (!has_word(STATE, "mem") || !has_word(MEM_SLEEP, "deep") ||
	    access(ALARM, W_OK))
		SKIP(return, "no suspend to RAM, or no alarm to end it");
	iopf_pci_scan(find_endpoint, &self->found);
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	for (i = 0; i < self->found.nr && i < MAX_ENDPOINTS; i++) {
		ret = endpoint_open(&self->sleeper[i].ep, self->ctx,
				    self->found.bdf[i], NULL);
		if (ret == -EOPNOTSUPP)
			SKIP(return, "no fault queues on paging domains in this kernel");
		ASSERT_LIB(ret);
		self->nr++;
	}
	if (!self->nr)
		SKIP(return, "no test endpoint on vfio-pci");
}

FIXTURE_TEARDOWN(sleep)
{
	unsigned int i;

	for (i = 0; i < self->nr; i++)
		endpoint_close(&self->sleeper[i].ep);
	iopf_ctx_close(self->ctx);
}

/*
 * An alarm that comes while the machine is about to fall asleep counts as a reason
 * to stay awake. This takes the next attempt to another, longer one.
 */
static int set_alarm(unsigned int seconds)
{
	char count[32], text[16];
	int ret;

	ret = read_text(WAKEUPS, count, sizeof(count));
	if (ret)
		return iopf_err(ret, "%s: %s", WAKEUPS, strerror(-ret));
	snprintf(text, sizeof(text), "+%u", seconds);
	ret = write_file(ALARM, "0");
	if (!ret)
		ret = write_file(ALARM, text);
	if (ret)
		return iopf_err(ret, "%s: %s", ALARM, strerror(-ret));
	ret = write_file(WAKEUPS, count);
	return ret == -EINVAL ? -EBUSY : ret;
}

static int fall_asleep(void)
{
	unsigned int seconds;
	int ret = -EBUSY;

	for (seconds = MIN_SECONDS; ret == -EBUSY && seconds <= MAX_SECONDS;
	     seconds *= 2) {
		ret = set_alarm(seconds);
		if (!ret)
			ret = write_file(STATE, "mem");
	}
	return ret ? iopf_err(ret, "suspend: %s", strerror(-ret)) : 0;
}

/* All have open groups, and have forgotten them afterwards. */
static int suspend_to_ram(struct sleeper *sleeper, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++)
		ret = open_groups(&sleeper[i].ep, sleeper[i].slot,
				  &sleeper[i].cookie);
	if (!ret && write_file(MEM_SLEEP, "deep"))
		ret = iopf_err(-EIO, "%s takes no \"deep\"", MEM_SLEEP);
	if (!ret)
		ret = fall_asleep();
	for (i = 0; !ret && i < nr; i++)
		if (testdev_reg(&sleeper[i].ep.td, IOPF_TD_REG_CNT_PR_LAST))
			ret = iopf_err(-EIO, "the endpoint has kept its power");
	return ret;
}

static int works_without(struct sleeper *sleeper)
{
	struct endpoint *ep = &sleeper->ep;
	int ret;

	ret = answer_late(ep, sleeper->cookie, IOMMUFD_PAGE_RESP_SUCCESS);
	if (!ret)
		ret = endpoint_works(ep);
	/* Faults again in the next round */
	if (!ret)
		ret = testdev_start(&ep->td);
	if (!ret)
		ret = iopf_backing_unmap(ep->backing, BASE + 0x40000, 0x4000);
	return ret;
}

TEST_SLEEP(ram)
{
	unsigned int i, round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_LIB(suspend_to_ram(self->sleeper, self->nr));
		for (i = 0; i < self->nr; i++)
			ASSERT_LIB(works_without(&self->sleeper[i]));
	}
}

/* The first that happens is a detach: it must not wait for what was lost. */
TEST_SLEEP(ram_detach)
{
	struct endpoint *ep;
	unsigned int i;

	ASSERT_LIB(suspend_to_ram(self->sleeper, self->nr));
	for (i = 0; i < self->nr; i++) {
		ep = &self->sleeper[i].ep;
		ASSERT_LIB(iopf_dev_detach(ep->dev));
		ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
		ASSERT_LIB(works_without(&self->sleeper[i]));
	}
}

/* Or a reset, or that all is closed */
TEST_SLEEP(ram_reset_close)
{
	struct endpoint *ep;
	unsigned int i;

	ASSERT_LIB(suspend_to_ram(self->sleeper, self->nr));
	for (i = 0; i < self->nr; i++) {
		ep = &self->sleeper[i].ep;
		ASSERT_LIB(iopf_dev_reset(ep->dev));
		ASSERT_LIB(works_without(&self->sleeper[i]));
	}
	ASSERT_LIB(suspend_to_ram(self->sleeper, self->nr));
	for (i = 0; i < self->nr; i++) {
		ep = &self->sleeper[i].ep;
		endpoint_close(ep);
		ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[i], NULL));
		ASSERT_LIB(endpoint_works(ep));
	}
}

/* The group index is in use again when the late answer comes. */
TEST_SLEEP(ram_same_index)
{
	struct sleeper *sleeper = &self->sleeper[0];
	struct endpoint *ep = &sleeper->ep;
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ASSERT_LIB(suspend_to_ram(sleeper, 1));
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, 0, BASE + 0x40000, 0x4000,
			    &slot));
	ASSERT_LIB(wait_reg(ep, IOPF_TD_REG_CNT_PR_LAST, 1));
	ret = iopf_queue_answer(ep->queue, sleeper->cookie,
				IOMMUFD_PAGE_RESP_INVALID);
	ASSERT_TRUE(!ret || ret == -EINVAL);
	ASSERT_LIB(serve_op(ep, slot, &r));
	ASSERT_EQ(IOPF_TD_ST_OK, r.status);
	ASSERT_LIB(check_answers(ep, -1, 0));
}

/* One that stays in D0 forgets nothing: it is served after the sleep. */
static int check_idle(struct sleeper *sleeper)
{
	struct endpoint *ep = &sleeper->ep;
	struct testdev_result r;
	unsigned int i;
	int ret;

	if (!testdev_reg(&ep->td, IOPF_TD_REG_CNT_PR_LAST))
		return works_without(sleeper);
	ret = iopf_queue_answer(ep->queue, sleeper->cookie,
				IOMMUFD_PAGE_RESP_SUCCESS);
	for (i = 0; !ret && i < 3; i++)
		ret = serve_op(ep, sleeper->slot[i], &r);
	return ret ? ret : check_answers(ep, -1, 0);
}

TEST_SLEEP(idle)
{
	struct sleeper *sleeper;
	unsigned int i;
	int ret;

	if (!has_word(PM_TEST, "platform"))
		SKIP(return, "no test of suspend in this kernel");

	for (i = 0; i < self->nr; i++) {
		sleeper = &self->sleeper[i];
		ASSERT_LIB(open_groups(&sleeper->ep, sleeper->slot,
				       &sleeper->cookie));
	}
	ASSERT_EQ(0, write_file(PM_TEST, "platform"));
	ret = write_file(STATE, "freeze");
	EXPECT_EQ(0, write_file(PM_TEST, "none"));
	ASSERT_EQ(0, ret);
	for (i = 0; i < self->nr; i++)
		ASSERT_LIB(check_idle(&self->sleeper[i]));
}

TEST_HARNESS_MAIN

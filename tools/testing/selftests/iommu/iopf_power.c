// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that resets an endpoint, or puts it to sleep, with page requests
 * open: sleep in D3hot by its registers and by VFIO's low power mode, reset by
 * way of D3hot, reset of the bus, a fatal error whose recovery resets it, and one
 * for which the port above it takes the link down (containment, DPC).
 *
 * The endpoint forgets its requests by each of them. So the kernel has answered
 * them before, an answer of this program comes too late, and none reaches the
 * endpoint: it would set UPRGI in its status for it, or take it for the answer to
 * a later request of the same group index.
 *
 * The endpoint has the capabilities for power management and AER; the first one
 * that has is used.
 *
 * And what only a reset helps against: an endpoint that is there, but does not
 * complete invalidations any more.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "iopf_console.h"
#include "iopf_endpoint.h"
#include "iopf_sysfs.h"

#define TEST_SECONDS	900
#define TEST_POWER(name) TEST_F_TIMEOUT(power, name, TEST_SECONDS)

FIXTURE(power)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;
	unsigned int pm;
	unsigned int slot[3];
	__u32 cookie;
};

/* A capability of the first 256 bytes: offset, 0, or a negative errno. */
static int find_cap(struct endpoint *ep, unsigned int id)
{
	int header, at, left = 48;

	for (at = config_word(ep, PCI_CAPABILITY_LIST); at > 0 && left; left--) {
		at &= 0xfc;
		header = at ? config_word(ep, at) : 0;
		if (header < 0 || (at && (header & 0xff) == (int)id))
			return header < 0 ? header : at;
		at = header >> 8;
	}
	return at < 0 ? at : 0;
}

static int set_power(struct endpoint *ep, unsigned int pm, unsigned int state)
{
	__le16 val = htole16(state);
	int ret;

	ret = iopf_dev_config_write(ep->dev, pm + PCI_PM_CTRL, &val, sizeof(val));
	if (ret)
		return ret;
	ret = config_word(ep, pm + PCI_PM_CTRL);
	if (ret < 0)
		return ret;
	if ((ret & PCI_PM_CTRL_STATE_MASK) != (int)state)
		return iopf_err(-EIO, "power state is %d instead of %u",
				ret & PCI_PM_CTRL_STATE_MASK, state);
	return 0;
}

FIXTURE_SETUP(power)
{
	unsigned int i;
	int ret;

	iopf_pci_scan(find_endpoint, &self->found);
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	for (i = 0; i < self->found.nr && !self->pm; i++) {
		ret = endpoint_open(&self->ep, self->ctx, self->found.bdf[i],
				    NULL);
		if (ret == -EOPNOTSUPP)
			SKIP(return, "no fault queues on paging domains in this kernel");
		ASSERT_LIB(ret);
		ret = find_cap(&self->ep, PCI_CAP_ID_PM);
		ASSERT_LE(0, ret);
		self->pm = ret;
		if (!ret)
			endpoint_close(&self->ep);
	}
	if (!self->pm)
		SKIP(return, "no test endpoint with power management on vfio-pci");
	memcpy(self->found.bdf[0], iopf_dev_bdf(self->ep.dev),
	       sizeof(self->found.bdf[0]));
	ASSERT_LIB(open_groups(&self->ep, self->slot, &self->cookie));
}

FIXTURE_TEARDOWN(power)
{
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
}

TEST_POWER(d3hot)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(set_power(ep, self->pm, 3));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(set_power(ep, self->pm, 0));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
	/* The device may be sent to sleep twice, and again later. */
	ASSERT_LIB(testdev_start(&ep->td));
	ASSERT_LIB(iopf_backing_unmap(ep->backing, BASE + 0x40000, 0x4000));
	ASSERT_LIB(open_groups(ep, self->slot, &self->cookie));
	ASSERT_LIB(set_power(ep, self->pm, 3));
	ASSERT_LIB(set_power(ep, self->pm, 3));
	ASSERT_LIB(set_power(ep, self->pm, 0));
	ASSERT_LIB(set_power(ep, self->pm, 0));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

/* What is done while it sleeps holds when it is awake. */
TEST_POWER(d3hot_detach_attach)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(set_power(ep, self->pm, 3));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(set_power(ep, self->pm, 0));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

/* A reset wakes it up, which VFIO does itself before. */
TEST_POWER(d3hot_reset)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(set_power(ep, self->pm, 3));
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

/* Closed asleep, opened again: awake and without a trace. */
TEST_POWER(d3hot_close)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(set_power(ep, self->pm, 3));
	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(endpoint_works(ep));
}

static int set_reset_method(const char *bdf, const char *method)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset_method", bdf);
	return write_file(path, method);
}

TEST_POWER(reset_by_d3hot)
{
	struct endpoint *ep = &self->ep;

	ASSERT_EQ(0, set_reset_method(self->found.bdf[0], "pm"));
	EXPECT_LIB(iopf_dev_reset(ep->dev));
	EXPECT_EQ(0, set_reset_method(self->found.bdf[0], "default"));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

/* The administrator resets it while it sleeps; nobody told VFIO. */
TEST_POWER(d3hot_reset_by_other)
{
	struct endpoint *ep = &self->ep;
	char path[96];

	ASSERT_LIB(set_power(ep, self->pm, 3));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset",
		 self->found.bdf[0]);
	ASSERT_EQ(0, write_file(path, "1"));
	ASSERT_LIB(set_power(ep, self->pm, 0));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(endpoint_works(ep));
}

TEST_POWER(hot_reset)
{
	struct vfio_pci_hot_reset hot = { .argsz = sizeof(hot) };
	struct endpoint *ep = &self->ep;

	ASSERT_EQ(0, ioctl(iopf_dev_fd(ep->dev), VFIO_DEVICE_PCI_HOT_RESET,
			   &hot))
		TH_LOG("%s", strerror(errno));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

static int low_power(struct endpoint *ep, __u32 feature)
{
	struct vfio_device_feature f = {
		.argsz = sizeof(f),
		.flags = VFIO_DEVICE_FEATURE_SET | feature,
	};

	if (!ioctl(iopf_dev_fd(ep->dev), VFIO_DEVICE_FEATURE, &f))
		return 0;
	return iopf_err(-errno, "low power: %s", strerror(errno));
}

/*
 * Asleep, without a word to a device that has no power management, and awake. The
 * kernel suspends it some time later, or not at all if it is wanted before.
 */
static int sleep_and_wake(struct endpoint *ep)
{
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	char path[96], text[32] = "";
	int ret;

	ret = low_power(ep, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
	if (ret)
		return ret;
	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/power/runtime_status",
		 iopf_dev_bdf(ep->dev));
	while (strncmp(text, "suspended", 9)) {
		ret = read_text(path, text, sizeof(text));
		if (ret)
			return iopf_err(ret, "%s: %s", path, strerror(-ret));
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "the device stays %s", text);
		nap();
	}
	return low_power(ep, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
}

/* The same by the way that the kernel takes for devices nobody uses */
TEST_POWER(low_power)
{
	struct endpoint *ep = &self->ep;
	int ret;

	ret = sleep_and_wake(ep);
	if (ret == -ENOTTY)
		SKIP(return, "this kernel does not suspend devices");
	ASSERT_LIB(ret);
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

/* An eventfd that VFIO signals when the device is said to be broken */
static int error_event(struct iopf_dev *dev)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = iopf_irq_eventfds(iopf_dev_fd(dev), VFIO_PCI_ERR_IRQ_INDEX, &fd, 1);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

/* Until the recovery has reset it: ATS is off then */
static int wait_for_reset(struct endpoint *ep)
{
	int ats = iopf_dev_ext_cap(ep->dev, PCI_EXT_CAP_ID_ATS);
	__u64 end = iopf_now() + LONG_MS * 1000000ULL;
	int ctrl;

	while (ats > 0) {
		ctrl = config_word(ep, ats + PCI_ATS_CTRL);
		if (ctrl < 0)
			return ctrl;
		if (!(ctrl & PCI_ATS_CTRL_ENABLE))
			return 0;
		if (iopf_now() > end)
			return iopf_err(-ETIMEDOUT, "the kernel does not reset it");
		nap();
	}
	return iopf_err(-EIO, "no ATS");
}

TEST_POWER(fatal_error)
{
	struct pollfd pfd = { .events = POLLIN };
	struct endpoint *ep = &self->ep;

	if (iopf_dev_ext_cap(ep->dev, PCI_EXT_CAP_ID_ERR) <= 0)
		SKIP(return, "the endpoint has no AER");
	pfd.fd = error_event(ep->dev);
	ASSERT_LE(0, pfd.fd);
	testdev_set(&ep->td, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
	ASSERT_EQ(1, poll(&pfd, 1, LONG_MS))
		TH_LOG("the kernel says nothing of the error");
	close(pfd.fd);
	ASSERT_LIB(wait_for_reset(ep));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	/* VFIO leaves what the reset has cleared to its next user. */
	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(endpoint_works(ep));
}

/* Where the endpoint has a translation that it cannot give up, or will not */
#define STALE	(BASE + 0x80000)

/* The bit of the DPC control register that has no name in the header */
#define DPC_CTL_SW_TRIGGER	0x40

/* Where in the configuration space of a port its DPC capability is, or 0 */
static int find_dpc(int config)
{
	int at = PCI_CFG_SPACE_SIZE, left = 960 / sizeof(__le32);
	__le32 header;

	while (at >= PCI_CFG_SPACE_SIZE && left--) {
		if (pread(config, &header, sizeof(header), at) != sizeof(header))
			return 0;
		if (PCI_EXT_CAP_ID(le32toh(header)) == PCI_EXT_CAP_ID_DPC)
			return at;
		at = PCI_EXT_CAP_NEXT(le32toh(header));
	}
	return 0;
}

static int port_word(int config, int at)
{
	__le16 val;

	if (pread(config, &val, sizeof(val), at) != sizeof(val))
		return iopf_err(-EIO, "the port's configuration space");
	return le16toh(val);
}

/* The port above an endpoint, if the kernel has containment enabled in it */
static int open_port(const char *bdf, int *config)
{
	char path[96];
	int dpc;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/../config", bdf);
	*config = open(path, O_RDWR | O_CLOEXEC);
	if (*config < 0)
		return 0;
	dpc = find_dpc(*config);
	if (dpc && port_word(*config, dpc + PCI_EXP_DPC_CTL) &
		   (PCI_EXP_DPC_CTL_EN_FATAL | PCI_EXP_DPC_CTL_EN_NONFATAL))
		return dpc;
	close(*config);
	return 0;
}

FIXTURE(contained)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;
	char bdf[16];
	int port;
	int dpc;
	int event;
	unsigned int slot[3];
	__u32 cookie;
};

/* Invalidations that the kernel sends before it knows come to nothing. */
static void expect_time_outs(void)
{
	expect_invalidation_time_outs();
	/* The interrupt for it is there before it is cleared, at times. */
	expect_on_console("^DMAR: DRHD: handling fault status reg");
}

FIXTURE_SETUP(contained)
{
	struct endpoint *ep = &self->ep;
	unsigned int i;
	int ret;

	iopf_pci_scan(find_endpoint, &self->found);
	for (i = 0; i < self->found.nr && !self->dpc; i++) {
		snprintf(self->bdf, sizeof(self->bdf), "%s", self->found.bdf[i]);
		self->dpc = open_port(self->bdf, &self->port);
	}
	if (!self->dpc)
		SKIP(return, "no test endpoint on vfio-pci below a port with DPC");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ret = endpoint_open(ep, self->ctx, self->bdf, NULL);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "no fault queues on paging domains in this kernel");
	ASSERT_LIB(ret);
	self->event = error_event(ep->dev);
	ASSERT_LE(0, self->event);
	ASSERT_LIB(iopf_backing_map(ep->backing, STALE, 4096, IOPF_RW));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, STALE, 4096));
	ASSERT_LIB(open_groups(ep, self->slot, &self->cookie));
	expect_time_outs();
}

FIXTURE_TEARDOWN(contained)
{
	close(self->event);
	close(self->port);
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
	expect_no_more_on_console();
}

static int contain(int port, int dpc)
{
	int control = port_word(port, dpc + PCI_EXP_DPC_CTL);
	__le16 val = htole16(control | DPC_CTL_SW_TRIGGER);

	if (control < 0)
		return control;
	if (pwrite(port, &val, sizeof(val), dpc + PCI_EXP_DPC_CTL) != sizeof(val))
		return iopf_err(-errno, "containment: %s", strerror(errno));
	return 0;
}

/* The kernel lets the link up again, and says that there was an error. */
static int wait_for_recovery(struct endpoint *ep, int event)
{
	struct pollfd pfd = { .fd = event, .events = POLLIN };

	if (poll(&pfd, 1, LONG_MS) != 1)
		return iopf_err(-ETIMEDOUT, "the kernel says nothing of the error");
	return wait_for_reset(ep);
}

/* Its next user finds it in order. */
static int works_again(struct endpoint *ep, struct iopf_ctx *ctx, const char *bdf)
{
	int ret;

	endpoint_close(ep);
	ret = endpoint_open(ep, ctx, bdf, NULL);
	return ret ? ret : endpoint_works(ep);
}

#define TEST_CONTAINED(name) TEST_F_TIMEOUT(contained, name, TEST_SECONDS)

TEST_CONTAINED(error)
{
	struct endpoint *ep = &self->ep;

	if (iopf_dev_ext_cap(ep->dev, PCI_EXT_CAP_ID_ERR) <= 0)
		SKIP(return, "the endpoint has no AER");
	testdev_set(&ep->td, IOPF_TD_REG_ERROR, PCI_ERR_UNC_MALF_TLP);
	ASSERT_LIB(wait_for_recovery(ep, self->event));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(works_again(ep, self->ctx, self->bdf));
}

/*
 * What is unmapped while the device is cut off comes to an end, and the device
 * has no translation for it afterwards.
 */
TEST_CONTAINED(unmap)
{
	struct endpoint *ep = &self->ep;
	struct testdev_result r;
	unsigned int slot;

	ASSERT_LIB(contain(self->port, self->dpc));
	ASSERT_LIB(iopf_backing_unmap(ep->backing, STALE, 4096));
	memset(iopf_backing_ptr(ep->backing, STALE), 0, 4096);
	ASSERT_LIB(wait_for_recovery(ep, self->event));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(works_again(ep, self->ctx, self->bdf));
	ASSERT_LIB(start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_NO_PR, STALE, 4096,
			    &slot));
	ASSERT_LIB(wait_op(ep, slot, &r));
	EXPECT_NE(IOPF_TD_ST_OK, r.status);
}

/*
 * Closed as soon as the kernel knows, which lets the link up meanwhile: a reset
 * before that would have to wait for a link that is held down.
 */
TEST_CONTAINED(close)
{
	struct pollfd pfd = { .fd = self->event, .events = POLLIN };

	ASSERT_LIB(contain(self->port, self->dpc));
	ASSERT_EQ(1, poll(&pfd, 1, LONG_MS));
	ASSERT_LIB(works_again(&self->ep, self->ctx, self->bdf));
}

FIXTURE(silent)
{
	struct iopf_ctx *ctx;
	struct found found;
	struct endpoint ep;
	unsigned int slot[3];
	__u32 cookie;
};

static void expect_silence(const char *bdf)
{
	char pattern[128];

	expect_invalidation_time_outs();
	snprintf(pattern, sizeof(pattern),
		 "^vfio-pci (0000:)?%s: does not invalidate its TLB", bdf);
	expect_on_console(pattern);
	/* What it does with its old translation, and asks for a new one */
	expect_dma_faults(bdf, DMA_NO_PASID, "[0-9a-f]+", DMA_NO_ATS);
}

/*
 * It has a translation, which it keeps, and refuses to complete invalidations. That
 * the unmap comes to an end is the first thing to test.
 */
static int fall_silent(struct endpoint *ep)
{
	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE,
		    IOPF_TD_HOSTILE_IGNORE_INV | IOPF_TD_HOSTILE_REFUSE_INV);
	return iopf_backing_unmap(ep->backing, STALE, 4096);
}

static int keep_translation(struct endpoint *ep)
{
	int ret;

	ret = iopf_backing_map(ep->backing, STALE, 4096, IOPF_RW);
	if (ret)
		return ret;
	return transfer(ep, IOPF_TD_OP_FILL, STALE, 4096);
}

FIXTURE_SETUP(silent)
{
	struct endpoint *ep = &self->ep;
	int ret;

	iopf_pci_scan(find_endpoint, &self->found);
	if (!self->found.nr)
		SKIP(return, "no test endpoint 1234:11f0 with PRI on vfio-pci");
	ASSERT_LIB(iopf_ctx_open(&self->ctx));
	ret = endpoint_open(ep, self->ctx, self->found.bdf[0], NULL);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "no fault queues on paging domains in this kernel");
	ASSERT_LIB(ret);
	ASSERT_LIB(keep_translation(ep));
	ASSERT_LIB(open_groups(ep, self->slot, &self->cookie));

	expect_silence(strchr(self->found.bdf[0], ':') + 1);
	ASSERT_LIB(fall_silent(ep));
	memset(iopf_backing_ptr(ep->backing, STALE), 0, 4096);
}

FIXTURE_TEARDOWN(silent)
{
	endpoint_close(&self->ep);
	iopf_ctx_close(self->ctx);
	expect_no_more_on_console();
}

/* How a write without page requests to what was unmapped ends */
static int write_stale(struct endpoint *ep, __u32 *status)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start_op(ep, IOPF_TD_OP_FILL, IOPF_TD_F_NO_PR, STALE, 4096, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (ret)
		return ret;
	*status = r.status;
	if (*(__u8 *)iopf_backing_ptr(ep->backing, STALE + 1))
		return iopf_err(-EIO, "it writes to what was unmapped");
	return 0;
}

/* What it had open is answered: it may still listen. */
static int all_refused(struct endpoint *ep, const unsigned int *slot)
{
	struct testdev_result r;
	int i, ret;

	for (i = 0; i < 3; i++) {
		ret = wait_op(ep, slot[i], &r);
		if (ret)
			return ret;
		if (r.status != IOPF_TD_ST_RSP_INVALID)
			return iopf_err(-EIO, "request %d: %s", i,
					testdev_status(r.status));
	}
	return 0;
}

static int ask_for_page(struct endpoint *ep)
{
	struct testdev_result r;
	unsigned int slot;
	int ret;

	ret = start_op(ep, IOPF_TD_OP_PAGE_REQUEST, IOPF_TD_F_READ,
		       BASE + 0x90000, 4096, &slot);
	if (!ret)
		ret = wait_op(ep, slot, &r);
	if (!ret && r.status != IOPF_TD_ST_OK)
		return iopf_err(-EIO, "page request: %s", testdev_status(r.status));
	return ret;
}

/*
 * It cannot use what it should have forgotten, and what it asks for is not heard,
 * until it is reset.
 */
#define TEST_SILENT(name) TEST_F_TIMEOUT(silent, name, TEST_SECONDS)

TEST_SILENT(fenced)
{
	struct endpoint *ep = &self->ep;
	struct iopf_group g;
	__u32 status;

	ASSERT_LIB(write_stale(ep, &status));
	EXPECT_EQ(IOPF_TD_ST_ACCESS_ERROR, status)
		TH_LOG("%s", testdev_status(status));
	ASSERT_LIB(all_refused(ep, self->slot));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));

	/* Nobody sees it; the detach waits for what is on its way. */
	ASSERT_LIB(ask_for_page(ep));
	ASSERT_LIB(iopf_dev_detach(ep->dev));
	EXPECT_EQ(3, testdev_responses(&ep->td));
	EXPECT_EQ(0, iopf_queue_read(ep->queue, &g));
	EXPECT_EQ(-EIO, iopf_dev_attach(ep->dev, ep->hwpt_id));

	/* Without ATS it may do what it likes in a table of its own. */
	ASSERT_LIB(iopf_backing_map(ep->backing, STALE, 4096, IOPF_RW));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->ioas_id));
	EXPECT_LIB(transfer(ep, IOPF_TD_OP_FILL, STALE, 4096));
	ASSERT_LIB(iopf_dev_detach(ep->dev));

	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(iopf_dev_attach(ep->dev, ep->hwpt_id));
	ASSERT_LIB(endpoint_works(ep));
}

/* The rest of the machine does not care, nor do other pages of its own table. */
TEST_SILENT(others)
{
	struct endpoint *ep = &self->ep, other = { 0 };
	int i;

	if (self->found.nr < 2)
		SKIP(return, "takes two test endpoints");
	ASSERT_LIB(endpoint_open(&other, self->ctx, self->found.bdf[1], NULL));
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(transfer(&other, IOPF_TD_OP_FILL, STALE, 4096));
		ASSERT_LIB(iopf_backing_unmap(other.backing, STALE, 4096));
		memset(iopf_backing_ptr(other.backing, STALE), 0, 4096);
		ASSERT_LIB(iopf_backing_map(ep->backing, STALE, 4096, IOPF_RW));
		ASSERT_LIB(iopf_backing_unmap(ep->backing, STALE, 4096));
	}
	EXPECT_LIB(check_answers(&other, 3, 0));
	endpoint_close(&other);
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(endpoint_works(ep));
}

/* The IOMMU has looked, and keeps the entry that forbids the use. */
TEST_SILENT(reset_after_use)
{
	struct endpoint *ep = &self->ep;
	__u32 status;

	ASSERT_LIB(write_stale(ep, &status));
	EXPECT_EQ(IOPF_TD_ST_ACCESS_ERROR, status);
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(endpoint_works(ep));
}

/* Reset with its page table */
TEST_SILENT(reset)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
	/* All is forgiven: it can be given up again, and be reset again. */
	ASSERT_LIB(keep_translation(ep));
	ASSERT_LIB(fall_silent(ep));
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(endpoint_works(ep));
}

/* The kernel's messages from here on, or a negative errno */
static int open_messages(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, 0, SEEK_END) >= 0)
		return fd;
	return -errno;
}

/* As the drivers of the IOMMUs tell it */
static bool is_time_out(const char *line)
{
	return (strstr(line, "Invalidation Time-out Error: SID") ||
		strstr(line, "ATC invalidate timeout") ||
		strstr(line, "IOTLB_INV_TIMEOUT")) &&
	       !strstr(line, "iopf: ");
}

static unsigned int count_time_outs(int fd)
{
	unsigned int nr = 0;
	char line[1024];
	ssize_t len;

	/* EPIPE: some were lost, the next are there */
	while ((len = read(fd, line, sizeof(line) - 1)) >= 0 || errno == EPIPE) {
		if (len < 0)
			continue;
		line[len] = 0;
		nr += is_time_out(line);
	}
	return nr;
}

/* Nobody waits for it any more. */
TEST_SILENT(left_alone)
{
	struct endpoint *ep = &self->ep;
	int fd, i;

	/* An event can still be on its way into the log. */
	take_pending_interrupts();
	fd = open_messages();
	ASSERT_LE(0, fd);
	for (i = 0; i < 3; i++) {
		ASSERT_LIB(iopf_backing_map(ep->backing, STALE, 4096, IOPF_RW));
		ASSERT_LIB(iopf_backing_unmap(ep->backing, STALE, 4096));
	}
	take_pending_interrupts();
	EXPECT_EQ(0, count_time_outs(fd));
	close(fd);
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(endpoint_works(ep));
}

/*
 * Who has the device can have it time out, be reset and time out again for ever. The
 * kernel says so ten times in five seconds.
 */
TEST_SILENT(log_is_bounded)
{
	struct endpoint *ep = &self->ep;
	__u64 start = iopf_now();
	unsigned int nr, i;
	int fd;

	fd = open_messages();
	ASSERT_LE(0, fd);
	for (i = 0; i < 40; i++) {
		ASSERT_LIB(iopf_dev_reset(ep->dev));
		ASSERT_LIB(testdev_start(&ep->td));
		ASSERT_LIB(keep_translation(ep));
		ASSERT_LIB(fall_silent(ep));
	}
	nr = count_time_outs(fd);
	close(fd);
	EXPECT_LT(0, nr);
	EXPECT_GE(10 * ((iopf_now() - start) / 5000000000ULL + 2), nr)
		TH_LOG("%u messages of 80 time-outs", nr);
	ASSERT_LIB(iopf_dev_reset(ep->dev));
	ASSERT_LIB(endpoint_works(ep));
}

/* Closed and opened again, which resets it, too */
TEST_SILENT(close)
{
	struct endpoint *ep = &self->ep;

	endpoint_close(ep);
	ASSERT_LIB(endpoint_open(ep, self->ctx, self->found.bdf[0], NULL));
	ASSERT_LIB(endpoint_works(ep));
}

/*
 * What was no reset does not help by itself: it is asked to forget what it has,
 * and has to do so.
 */
TEST_SILENT(asked_again)
{
	struct endpoint *ep = &self->ep;
	__u32 status;
	int ret;

	ret = find_cap(ep, PCI_CAP_ID_PM);
	ASSERT_LE(0, ret);
	if (ret)
		SKIP(return, "the endpoint is reset when it wakes up");
	ret = sleep_and_wake(ep);
	if (ret == -ENOTTY)
		SKIP(return, "this kernel does not suspend devices");
	ASSERT_LIB(ret);
	ASSERT_LIB(write_stale(ep, &status));
	EXPECT_EQ(IOPF_TD_ST_ACCESS_ERROR, status)
		TH_LOG("%s", testdev_status(status));

	testdev_set(&ep->td, IOPF_TD_REG_HOSTILE, 0);
	ASSERT_LIB(sleep_and_wake(ep));
	ASSERT_LIB(write_stale(ep, &status));
	EXPECT_EQ(IOPF_TD_ST_NO_ACCESS, status)
		TH_LOG("%s", testdev_status(status));
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(transfer(ep, IOPF_TD_OP_FILL, BASE + 0x40000, 0x4000));
	EXPECT_LIB(check_answers(ep, -1, 3));
}

/*
 * A reset of any kind helps a device that cannot be asked to forget what it has in
 * all of its address spaces: that ATS was off says that it has. In the lanes the
 * endpoint with power management is such a device.
 */
static int fall_silent_again(struct endpoint *ep, const char *bdf)
{
	int ret;

	ret = keep_translation(ep);
	if (ret)
		return ret;
	expect_silence(strchr(bdf, ':') + 1);
	return fall_silent(ep);
}

TEST_POWER(silent_hot_reset)
{
	struct vfio_pci_hot_reset hot = { .argsz = sizeof(hot) };
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(fall_silent_again(ep, self->found.bdf[0]));
	EXPECT_EQ(0, ioctl(iopf_dev_fd(ep->dev), VFIO_DEVICE_PCI_HOT_RESET,
			   &hot))
		TH_LOG("%s", strerror(errno));
	expect_no_more_on_console();
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

TEST_POWER(silent_d3hot)
{
	struct endpoint *ep = &self->ep;

	ASSERT_LIB(fall_silent_again(ep, self->found.bdf[0]));
	EXPECT_LIB(set_power(ep, self->pm, 3));
	EXPECT_LIB(set_power(ep, self->pm, 0));
	expect_no_more_on_console();
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

TEST_POWER(silent_low_power)
{
	struct endpoint *ep = &self->ep;
	int ret;

	ASSERT_LIB(fall_silent_again(ep, self->found.bdf[0]));
	ret = sleep_and_wake(ep);
	expect_no_more_on_console();
	if (ret == -ENOTTY)
		SKIP(return, "this kernel does not suspend devices");
	ASSERT_LIB(ret);
	ASSERT_LIB(answer_late(ep, self->cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_LIB(endpoint_works(ep));
}

TEST_HARNESS_MAIN

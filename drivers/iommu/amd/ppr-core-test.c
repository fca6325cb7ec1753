// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the AMD-Vi log of page requests
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/iommu.h>

#include "amd_iommu.h"
#include "../iopf-core.h"

#define DEVID		0x1234
#define DEVID_OTHER	0x1235

/* Literal bits, so that a wrong mask in ppr.h is noticed. */
#define LAST		BIT_ULL(41)
#define X		BIT_ULL(49)
#define R		BIT_ULL(50)
#define W		BIT_ULL(53)
#define US		BIT_ULL(54)
#define RSV		BIT_ULL(55)
#define GN		BIT_ULL(56)
#define EVENT_GN	BIT_ULL(57)
#define TYPE(n)		((u64)(n) << 60)

struct ppr_entry_qws {
	u64 qw[2];
};

static struct ppr_entry_qws ppr_req(u64 bits, u16 devid, u32 pasid, u32 group,
				    u64 addr)
{
	struct ppr_entry_qws entry = {
		.qw = {
			TYPE(1) | bits | devid | (u64)(pasid & 0xffff) << 16 |
			(u64)(pasid >> 16) << 42 | (u64)group << 32,
			addr,
		},
	};

	return entry;
}

static void test_decode_fields(struct kunit *test)
{
	struct ppr_entry_qws req = ppr_req(GN | R | W | X | US | LAST, DEVID,
					   0xfffff, 0x1ff, 0x7f1234567fff);
	struct iopf_fault event;
	struct iommu_fault_page_request *prm = &event.fault.prm;

	memset(&event, 0xff, sizeof(event));
	KUNIT_ASSERT_EQ(test, amd_ppr_decode(req.qw, &event), AMD_PPR_REPORT);
	KUNIT_EXPECT_EQ(test, event.fault.type, IOMMU_FAULT_PAGE_REQ);
	KUNIT_EXPECT_EQ(test, prm->addr, 0x7f1234567000);
	KUNIT_EXPECT_EQ(test, prm->pasid, 0xfffff);
	KUNIT_EXPECT_EQ(test, prm->grpid, 0x1ff);
	KUNIT_EXPECT_EQ(test, prm->perm,
			IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE |
			IOMMU_FAULT_PERM_EXEC);
	KUNIT_EXPECT_EQ(test, prm->flags,
			IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
			IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);

	/* The bit for the last request is none of the group's. */
	req = ppr_req(GN | R | US | LAST, DEVID, 1, 0, 0);
	KUNIT_ASSERT_EQ(test, amd_ppr_decode(req.qw, &event), AMD_PPR_REPORT);
	KUNIT_EXPECT_EQ(test, prm->grpid, 0);

	/* Without PASID, whatever the field holds; and the whole address */
	req = ppr_req(W, DEVID, 0x1234, 5, 0xfffffffffffff000);
	KUNIT_ASSERT_EQ(test, amd_ppr_decode(req.qw, &event), AMD_PPR_REPORT);
	KUNIT_EXPECT_EQ(test, prm->pasid, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, prm->addr, 0xfffffffffffff000);
	KUNIT_EXPECT_EQ(test, prm->grpid, 5);
	KUNIT_EXPECT_EQ(test, prm->flags, 0);
	KUNIT_EXPECT_EQ(test, prm->perm, IOMMU_FAULT_PERM_WRITE);
}

struct ppr_verdict_case {
	const char *name;
	u64 bits;
	enum amd_ppr_verdict verdict;
};

static const struct ppr_verdict_case verdict_cases[] = {
	{ "read", R | LAST, AMD_PPR_REPORT },
	{ "write", W | LAST, AMD_PPR_REPORT },
	{ "not last", R, AMD_PPR_REPORT },
	{ "user, without pasid", R | US | LAST, AMD_PPR_REPORT },
	{ "pasid", GN | R | US, AMD_PPR_REPORT },
	{ "execute", GN | X | R | US | LAST, AMD_PPR_REPORT },
	{ "privileged", GN | R | LAST, AMD_PPR_MALFORMED },
	{ "reserved bits", R | RSV | LAST, AMD_PPR_MALFORMED },
	{ "stop marker", GN | US | LAST, AMD_PPR_IGNORE },
	{ "stop marker, privileged", GN | LAST, AMD_PPR_IGNORE },
	{ "no stop marker without pasid", LAST, AMD_PPR_MALFORMED },
	{ "no access", 0, AMD_PPR_MALFORMED },
	{ "no access, pasid", GN | US, AMD_PPR_MALFORMED },
};

static void ppr_verdict_desc(const struct ppr_verdict_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(ppr_verdict, verdict_cases, ppr_verdict_desc);

static void test_decode_verdict(struct kunit *test)
{
	const struct ppr_verdict_case *c = test->param_value;
	struct ppr_entry_qws req = ppr_req(c->bits, DEVID, 1, 0, 0x1000);
	struct iopf_fault event;

	KUNIT_EXPECT_EQ(test, amd_ppr_decode(req.qw, &event), c->verdict);
}

static void test_decode_type(struct kunit *test)
{
	struct ppr_entry_qws req = ppr_req(R | LAST, DEVID, 1, 0, 0x1000);
	struct iopf_fault event;

	req.qw[0] ^= TYPE(1) ^ TYPE(2);
	KUNIT_EXPECT_EQ(test, amd_ppr_decode(req.qw, &event), AMD_PPR_IGNORE);
	req.qw[0] = 0;
	KUNIT_EXPECT_EQ(test, amd_ppr_decode(req.qw, &event), AMD_PPR_IGNORE);
}

/* The event log has the bit for the PASID at another place. */
static void test_decode_event(struct kunit *test)
{
	struct ppr_entry_qws req = ppr_req(EVENT_GN | LAST, DEVID, 0xabcde,
					   0x155, 0x1000);
	struct iopf_fault event;
	struct iommu_fault_page_request *prm = &event.fault.prm;

	amd_ppr_decode_event(req.qw, &event);
	KUNIT_EXPECT_EQ(test, prm->pasid, 0xabcde);
	KUNIT_EXPECT_EQ(test, prm->grpid, 0x155);
	KUNIT_EXPECT_EQ(test, prm->flags,
			IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
			IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);

	req = ppr_req(GN, DEVID, 1, 1, 0);
	amd_ppr_decode_event(req.qw, &event);
	KUNIT_EXPECT_EQ(test, prm->pasid, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, prm->flags, 0);
}

static void test_response(struct kunit *test)
{
	struct iommu_fault_page_request prm = {
		.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
		.grpid = 0x1ff,
	};
	struct iommu_cmd cmd;

	memset(&cmd, 0xff, sizeof(cmd));
	amd_ppr_encode_response(&cmd, DEVID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd.data[0], 0x1234);
	KUNIT_EXPECT_EQ(test, cmd.data[1], 0x70000000);
	KUNIT_EXPECT_EQ(test, cmd.data[2], 0);
	KUNIT_EXPECT_EQ(test, cmd.data[3], 0x01ff);
	amd_ppr_encode_response(&cmd, DEVID, &prm, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, cmd.data[3], 0x11ff);
	amd_ppr_encode_response(&cmd, DEVID, &prm, IOMMU_PAGE_RESP_FAILURE);
	KUNIT_EXPECT_EQ(test, cmd.data[3], 0xf1ff);

	/* A PASID that the device does not want back */
	prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	prm.pasid = 0xfffff;
	amd_ppr_encode_response(&cmd, DEVID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd.data[1], 0x70000000);
	KUNIT_EXPECT_EQ(test, cmd.data[2], 0);

	prm.flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	amd_ppr_encode_response(&cmd, DEVID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd.data[1], 0x700fffff);
	KUNIT_EXPECT_EQ(test, cmd.data[2], 4);
}

static void test_match(struct kunit *test)
{
	struct ppr_entry_qws plain = ppr_req(R, DEVID, 0, 0, 0);
	struct ppr_entry_qws stale = ppr_req(R, DEVID, 1, 0, 0);
	struct ppr_entry_qws zero = ppr_req(R | GN, DEVID, 0, 0, 0);
	struct ppr_entry_qws pasid1 = ppr_req(R | GN, DEVID, 0x10001, 0, 0);

	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&plain, DEVID, IOMMU_NO_PASID));
	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&plain, DEVID, IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&plain, DEVID_OTHER,
					       IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&plain, DEVID_OTHER,
					       IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&plain, DEVID, 1));
	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&stale, DEVID, IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&stale, DEVID, 1));
	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&zero, DEVID, IOMMU_NO_PASID));
	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&pasid1, DEVID, 0x10001));
	KUNIT_EXPECT_TRUE(test, amd_ppr_match(&pasid1, DEVID, IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&pasid1, DEVID, 1));
	KUNIT_EXPECT_FALSE(test, amd_ppr_match(&pasid1, DEVID, IOMMU_NO_PASID));
}

/* An IOMMU whose registers are memory, with a command buffer nobody reads */
struct fake_iommu {
	struct amd_iommu iommu;
	struct amd_iommu_pci_seg seg;
	struct iommu_cmd *cmds;
	u32 tail;
};

static void put_reg(struct fake_iommu *f, unsigned int reg, u32 value)
{
	writel(value, f->iommu.mmio_base + reg);
}

static u32 get_reg(struct fake_iommu *f, unsigned int reg)
{
	return readl(f->iommu.mmio_base + reg);
}

static struct fake_iommu *fake_iommu(struct kunit *test)
{
	struct fake_iommu *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	void *regs = kunit_kzalloc(test, MMIO_CNTR_CONF_OFFSET, GFP_KERNEL);
	struct amd_iommu *iommu;

	KUNIT_ASSERT_NOT_NULL(test, f);
	KUNIT_ASSERT_NOT_NULL(test, regs);
	iommu = &f->iommu;
	iommu->mmio_base = (u8 __iomem __force *)regs;
	iommu->pci_seg = &f->seg;
	raw_spin_lock_init(&iommu->lock);
	iommu->cmd_buf = kunit_kzalloc(test, CMD_BUFFER_SIZE, GFP_KERNEL);
	iommu->ppr_log = kunit_kzalloc(test, amd_iommu_pprlog_size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->cmd_buf);
	KUNIT_ASSERT_NOT_NULL(test, iommu->ppr_log);
	f->cmds = (struct iommu_cmd *)iommu->cmd_buf;
	amd_ppr_hwq_init(iommu);
	return f;
}

/* What the IOMMU does */
static void push(struct fake_iommu *f, struct ppr_entry_qws entry)
{
	memcpy(f->iommu.ppr_log + f->tail, &entry, sizeof(entry));
	f->tail = (f->tail + sizeof(entry)) % amd_iommu_pprlog_size;
	put_reg(f, MMIO_PPR_TAIL_OFFSET, f->tail);
}

/* Not amd_ppr_work_off(): a status in memory is not cleared by writing ones. */
static void work(struct fake_iommu *f)
{
	iopf_hwq_work(&f->iommu.ppr_hwq);
}

/* Requests that nobody can serve are answered, once, and as invalid. */
static void test_unknown_device(struct kunit *test)
{
	struct fake_iommu *f = fake_iommu(test);

	push(f, ppr_req(R, DEVID, 0, 7, 0x1000));		/* not last */
	push(f, ppr_req(GN | US | LAST, DEVID, 3, 0, 0));	/* marker */
	push(f, ppr_req(R | LAST, DEVID, 0, 7, 0x2000));
	push(f, ppr_req(GN | US | W | LAST, DEVID_OTHER, 3, 9, 0x3000));
	push(f, ppr_req(LAST, DEVID, 0, 5, 0x3000));		/* odd */
	work(f);

	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), 3 * 16);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[0], DEVID);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[1], 0x70000000);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[3], 0x1007);
	KUNIT_EXPECT_EQ(test, f->cmds[1].data[0], DEVID_OTHER);
	KUNIT_EXPECT_EQ(test, f->cmds[1].data[3], 0x1009);
	KUNIT_EXPECT_EQ(test, f->cmds[2].data[3], 0x1005);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_PPR_HEAD_OFFSET), 5 * 16);
	KUNIT_EXPECT_EQ(test, f->iommu.ppr_hwq.handled, 5);
}

/* A device that exists, but was not told to send requests */
static void test_off(struct kunit *test)
{
	struct fake_iommu *f = fake_iommu(test);
	struct iommu_dev_data dev_data = { .devid = DEVID, .pri_tlp = 1 };

	llist_add(&dev_data.dev_data_list, &f->seg.dev_data_list);
	push(f, ppr_req(GN | US | R, DEVID, 3, 8, 0x1000));
	push(f, ppr_req(GN | US | R | LAST, DEVID, 3, 8, 0x1000));
	push(f, ppr_req(R | LAST, DEVID, 0, 9, 0x1000));
	work(f);

	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), 2 * 16);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[1], 0x70000003);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[2], 4);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[3], 0x1008);
	KUNIT_EXPECT_EQ(test, f->cmds[1].data[1], 0x70000000);
	KUNIT_EXPECT_EQ(test, f->cmds[1].data[2], 0);
	KUNIT_EXPECT_EQ(test, f->cmds[1].data[3], 0x1009);
}

/* An event is answered like an entry of the log, if it ends a group. */
static void test_event(struct kunit *test)
{
	struct fake_iommu *f = fake_iommu(test);
	struct ppr_entry_qws entry = ppr_req(0, DEVID, 0, 3, 0);

	amd_ppr_report_event(&f->iommu, entry.qw);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), 0);
	entry = ppr_req(LAST, DEVID, 0, 3, 0);
	amd_ppr_report_event(&f->iommu, entry.qw);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), 16);
	KUNIT_EXPECT_EQ(test, f->cmds[0].data[3], 0x1003);
}

/* Used entries are zero, all of them, and none is used twice. */
static void test_wrap(struct kunit *test)
{
	struct fake_iommu *f = fake_iommu(test);
	unsigned int slots = f->iommu.ppr_hwq.slots, i, round;

	for (round = 1; round <= 3; round++) {
		for (i = 0; i < slots - 1; i++)
			push(f, ppr_req(GN | US | LAST, DEVID, 1, 0, 0));
		work(f);
		KUNIT_EXPECT_EQ(test, f->iommu.ppr_hwq.handled,
				round * (slots - 1));
		KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_PPR_HEAD_OFFSET), f->tail);
		KUNIT_EXPECT_NULL(test, memchr_inv(f->iommu.ppr_log, 0,
						   amd_iommu_pprlog_size));
	}
}

/*
 * What is in the log is dealt with first, then groups are forgotten that have lost a part,
 * then the log runs again.
 */
static void test_overflow(struct kunit *test)
{
	struct iopf_queue *queue = iopf_queue_alloc("ppr-kunit");
	struct fake_iommu *f = fake_iommu(test);
	u32 running = BIT(13) | BIT(14);

	KUNIT_ASSERT_NOT_NULL(test, queue);
	f->iommu.ppr_hwq.queue = queue;
	put_reg(f, MMIO_STATUS_OFFSET, BIT(5));
	push(f, ppr_req(R | LAST, DEVID, 0, 1, 0x1000));
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), 16);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_PPR_HEAD_OFFSET), 16);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CONTROL_OFFSET) & running,
			running);
	/* Nothing else is cleared by the way. */
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_STATUS_OFFSET), BIT(5));
	KUNIT_EXPECT_EQ(test, queue->overflows, 1);
	iopf_queue_free(queue);
}

/*
 * The log is full of the requests of a device that is gone, and has overflown. Each group is
 * answered, once, and there is room for the requests of others.
 */
static void test_full_of_gone(struct kunit *test)
{
	struct iopf_queue *queue = iopf_queue_alloc("ppr-kunit");
	struct fake_iommu *f = fake_iommu(test);
	unsigned int slots = f->iommu.ppr_hwq.slots, groups = slots / 8, i;

	KUNIT_ASSERT_NOT_NULL(test, queue);
	f->iommu.ppr_hwq.queue = queue;
	put_reg(f, MMIO_STATUS_OFFSET, BIT(5));
	/*
	 * One slot of a ring is never used. The first group is of one request, the
	 * others are of eight, and the last one has no end.
	 */
	for (i = 0; i < slots - 1; i++)
		push(f, ppr_req(R | (i % 8 ? 0 : LAST), DEVID, 0, (i + 7) / 8,
				0x1000 * i));
	work(f);
	KUNIT_EXPECT_EQ(test, f->iommu.ppr_hwq.handled, slots - 1);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_PPR_HEAD_OFFSET), f->tail);
	KUNIT_ASSERT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), groups * 16);
	for (i = 0; i < groups; i++)
		KUNIT_EXPECT_EQ(test, f->cmds[i].data[3], 0x1000 + i);
	KUNIT_EXPECT_EQ(test, queue->overflows, 1);

	put_reg(f, MMIO_STATUS_OFFSET, 0);
	push(f, ppr_req(R | LAST, DEVID_OTHER, 0, 3, 0x1000));
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, MMIO_CMD_TAIL_OFFSET), (groups + 1) * 16);
	KUNIT_EXPECT_EQ(test, f->cmds[groups].data[0], DEVID_OTHER);
	iopf_queue_free(queue);
}

static struct kunit_case ppr_cases[] = {
	KUNIT_CASE(test_decode_fields),
	KUNIT_CASE_PARAM(test_decode_verdict, ppr_verdict_gen_params),
	KUNIT_CASE(test_decode_type),
	KUNIT_CASE(test_decode_event),
	KUNIT_CASE(test_response),
	KUNIT_CASE(test_match),
	KUNIT_CASE(test_unknown_device),
	KUNIT_CASE(test_off),
	KUNIT_CASE(test_event),
	KUNIT_CASE(test_wrap),
	KUNIT_CASE(test_overflow),
	KUNIT_CASE(test_full_of_gone),
	{}
};

static struct kunit_suite ppr_suite = {
	.name = "amd-iommu-ppr",
	.test_cases = ppr_cases,
};

kunit_test_suite(ppr_suite);

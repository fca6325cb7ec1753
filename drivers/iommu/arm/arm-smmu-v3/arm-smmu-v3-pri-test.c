// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the page requests of the ARM SMMUv3 driver
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/device.h>
#include <linux/iommu.h>

#include "arm-smmu-v3.h"
#include "../../iopf-core.h"

#define SID		0x1234
#define SID_OTHER	0x1235

#define SLOT_SHIFT	5
#define SLOTS		BIT(SLOT_SHIFT)
#define CMD_SHIFT	8

/* Literal bits, so that a wrong mask in arm-smmu-v3.h is noticed. */
#define S		BIT_ULL(58)	/* privileged */
#define X		BIT_ULL(59)	/* execute */
#define R		BIT_ULL(60)
#define W		BIT_ULL(61)
#define L		BIT_ULL(62)
#define V		BIT_ULL(63)	/* PASID valid */
#define OVF		BIT(31)

struct pri_entry {
	__le64 qw[2];
};

static struct pri_entry pri_req(u64 bits, u32 sid, u32 pasid, u32 group,
				u64 addr)
{
	struct pri_entry entry = {
		.qw = {
			cpu_to_le64(bits | (u64)pasid << 32 | sid),
			cpu_to_le64(addr | group),
		},
	};

	return entry;
}

static void test_decode_fields(struct kunit *test)
{
	struct pri_entry req = pri_req(V | R | W | X | S | L, SID, 0xfffff,
				       0x1ff, 0x7f1234567000);
	struct iopf_fault event;
	struct iommu_fault_page_request *prm = &event.fault.prm;

	memset(&event, 0xff, sizeof(event));
	KUNIT_ASSERT_EQ(test, arm_smmu_pri_decode(req.qw, &event),
			ARM_SMMU_PRI_REPORT);
	KUNIT_EXPECT_EQ(test, event.fault.type, IOMMU_FAULT_PAGE_REQ);
	KUNIT_EXPECT_EQ(test, prm->addr, 0x7f1234567000);
	KUNIT_EXPECT_EQ(test, prm->pasid, 0xfffff);
	KUNIT_EXPECT_EQ(test, prm->grpid, 0x1ff);
	KUNIT_EXPECT_EQ(test, prm->perm,
			IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE |
			IOMMU_FAULT_PERM_EXEC | IOMMU_FAULT_PERM_PRIV);
	KUNIT_EXPECT_EQ(test, prm->flags,
			IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
			IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);

	/* Without PASID, whatever the field holds; and the whole address */
	req = pri_req(W, SID, 0x1234, 5, 0xfffffffffffff000);
	KUNIT_ASSERT_EQ(test, arm_smmu_pri_decode(req.qw, &event),
			ARM_SMMU_PRI_REPORT);
	KUNIT_EXPECT_EQ(test, prm->pasid, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, prm->addr, 0xfffffffffffff000);
	KUNIT_EXPECT_EQ(test, prm->grpid, 5);
	KUNIT_EXPECT_EQ(test, prm->flags, 0);
	KUNIT_EXPECT_EQ(test, prm->perm, IOMMU_FAULT_PERM_WRITE);
}

struct pri_verdict_case {
	const char *name;
	u64 bits;
	u32 pasid;
	enum arm_smmu_pri_verdict verdict;
};

static const struct pri_verdict_case verdict_cases[] = {
	{ "read", R | L, 0, ARM_SMMU_PRI_REPORT },
	{ "write", W | L, 0, ARM_SMMU_PRI_REPORT },
	{ "not last", R, 0, ARM_SMMU_PRI_REPORT },
	{ "pasid", V | R, 1, ARM_SMMU_PRI_REPORT },
	{ "execute", V | X | R | L, 1, ARM_SMMU_PRI_REPORT },
	{ "privileged", V | S | R | L, 1, ARM_SMMU_PRI_REPORT },
	{ "stop marker", V | L, 1, ARM_SMMU_PRI_IGNORE },
	{ "stop marker, pasid 0", V | L, 0, ARM_SMMU_PRI_IGNORE },
	{ "no stop marker without pasid", L, 0, ARM_SMMU_PRI_MALFORMED },
	{ "no access", 0, 0, ARM_SMMU_PRI_MALFORMED },
	{ "no access, pasid", V, 1, ARM_SMMU_PRI_MALFORMED },
	{ "pasid 0", V | R | L, 0, ARM_SMMU_PRI_MALFORMED },
};

static void pri_verdict_desc(const struct pri_verdict_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(pri_verdict, verdict_cases, pri_verdict_desc);

static void test_decode_verdict(struct kunit *test)
{
	const struct pri_verdict_case *c = test->param_value;
	struct pri_entry req = pri_req(c->bits, SID, c->pasid, 0, 0x1000);
	struct iopf_fault event;

	KUNIT_EXPECT_EQ(test, arm_smmu_pri_decode(req.qw, &event), c->verdict);
}

static void test_response(struct kunit *test)
{
	struct iommu_fault_page_request prm = {
		.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
		.grpid = 0x1ff,
	};
	u64 cmd[2] = { ~0ULL, ~0ULL };

	arm_smmu_pri_encode_response(cmd, SID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x0000123400000041);
	KUNIT_EXPECT_EQ(test, cmd[1], 0x00000000000021ff);
	arm_smmu_pri_encode_response(cmd, SID, &prm, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, cmd[1], 0x00000000000011ff);
	arm_smmu_pri_encode_response(cmd, SID, &prm, IOMMU_PAGE_RESP_FAILURE);
	KUNIT_EXPECT_EQ(test, cmd[1], 0x00000000000001ff);

	/* A PASID that the device does not want back */
	prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	prm.pasid = 0xfffff;
	arm_smmu_pri_encode_response(cmd, SID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x0000123400000041);

	prm.flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	arm_smmu_pri_encode_response(cmd, SID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x00001234fffff841);
}

static void test_resume(struct kunit *test)
{
	struct iommu_fault_page_request prm = { .grpid = 0xabcd };
	u64 cmd[2] = { ~0ULL, ~0ULL };

	arm_smmu_pri_encode_resume(cmd, SID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x0000123400001044);
	KUNIT_EXPECT_EQ(test, cmd[1], 0xabcd);
	arm_smmu_pri_encode_resume(cmd, SID, &prm, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x0000123400002044);
	arm_smmu_pri_encode_resume(cmd, SID, &prm, IOMMU_PAGE_RESP_FAILURE);
	KUNIT_EXPECT_EQ(test, cmd[0], 0x0000123400002044);
}

static void test_match(struct kunit *test)
{
	struct pri_entry plain = pri_req(R, SID, 0, 0, 0);
	struct pri_entry stale = pri_req(R, SID, 1, 0, 0);
	struct pri_entry pasid1 = pri_req(R | V, SID, 1, 0, 0);

	KUNIT_EXPECT_TRUE(test, arm_smmu_pri_match(&plain, SID,
						   IOMMU_NO_PASID));
	KUNIT_EXPECT_TRUE(test, arm_smmu_pri_match(&plain, SID,
						   IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&plain, SID_OTHER,
						    IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&plain, SID_OTHER,
						    IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&plain, SID, 1));
	KUNIT_EXPECT_TRUE(test, arm_smmu_pri_match(&stale, SID,
						   IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&stale, SID, 1));
	KUNIT_EXPECT_TRUE(test, arm_smmu_pri_match(&pasid1, SID, 1));
	KUNIT_EXPECT_TRUE(test, arm_smmu_pri_match(&pasid1, SID,
						   IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&pasid1, SID, 2));
	KUNIT_EXPECT_FALSE(test, arm_smmu_pri_match(&pasid1, SID,
						    IOMMU_NO_PASID));
}

static void test_match_stall(struct kunit *test)
{
	__le64 evt[4] = {
		/* A translation fault of PASID 5 */
		cpu_to_le64((u64)SID << 32 | 5 << 12 | BIT(11) | 0x10),
		cpu_to_le64(BIT(31)),
	};

	KUNIT_EXPECT_TRUE(test, arm_smmu_evt_match(evt, SID, 5));
	KUNIT_EXPECT_TRUE(test, arm_smmu_evt_match(evt, SID, IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_evt_match(evt, SID, 6));
	KUNIT_EXPECT_FALSE(test, arm_smmu_evt_match(evt, SID, IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_evt_match(evt, SID_OTHER, 5));
	/* Without PASID, whatever the field holds */
	evt[0] &= ~cpu_to_le64(BIT(11));
	KUNIT_EXPECT_TRUE(test, arm_smmu_evt_match(evt, SID, IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, arm_smmu_evt_match(evt, SID, 5));
	/* Nothing that waits */
	evt[1] = 0;
	KUNIT_EXPECT_FALSE(test, arm_smmu_evt_match(evt, SID, IOPF_ANY_PASID));
}

/* An SMMU whose registers are memory, with a command queue nobody reads */
struct fake_smmu {
	struct arm_smmu_device smmu;
	struct iopf_queue *queue;
	struct pri_entry *ring;
	__le64 *cmds;
	u32 prod;
};

static void fake_queue(struct kunit *test, struct arm_smmu_queue *q,
		       unsigned int shift, void __iomem *regs,
		       unsigned int prod)
{
	q->ent_dwords = 2;
	q->llq.max_n_shift = shift;
	q->base = kunit_kzalloc(test, 16 << shift, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, q->base);
	q->prod_reg = regs + prod;
	q->cons_reg = regs + prod + 4;
}

static struct fake_smmu *fake_smmu(struct kunit *test)
{
	struct fake_smmu *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	void *regs = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct arm_smmu_device *smmu;

	KUNIT_ASSERT_NOT_NULL(test, f);
	KUNIT_ASSERT_NOT_NULL(test, regs);
	smmu = &f->smmu;
	smmu->dev = kunit_kzalloc(test, sizeof(*smmu->dev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, smmu->dev);
	smmu->dev->init_name = "smmu-kunit";
	smmu->features = ARM_SMMU_FEAT_PRI | ARM_SMMU_FEAT_ATS;
	smmu->base = (void __iomem __force *)regs;
	smmu->page1 = smmu->base;
	mutex_init(&smmu->streams_mutex);
	smmu->streams = RB_ROOT;
	arm_smmu_atc_init_smmu(smmu);

	fake_queue(test, &smmu->cmdq.q, CMD_SHIFT, smmu->base,
		   ARM_SMMU_CMDQ_PROD);
	smmu->cmdq.valid_map = kunit_kzalloc(test, (1 << CMD_SHIFT) / 8,
					     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, smmu->cmdq.valid_map);
	f->cmds = smmu->cmdq.q.base;

	fake_queue(test, &smmu->priq.q, SLOT_SHIFT, smmu->page1,
		   ARM_SMMU_PRIQ_PROD);
	f->ring = (struct pri_entry *)smmu->priq.q.base;
	f->queue = iopf_queue_alloc("pri-kunit");
	KUNIT_ASSERT_NOT_NULL(test, f->queue);
	smmu->evtq.iopf = f->queue;
	arm_smmu_pri_init(smmu);
	return f;
}

static void fake_free(struct fake_smmu *f)
{
	iopf_queue_free(f->queue);
}

static u32 get_reg(struct fake_smmu *f, unsigned int reg)
{
	return readl(f->smmu.base + reg);
}

static void put_reg(struct fake_smmu *f, unsigned int reg, u32 value)
{
	writel(value, f->smmu.base + reg);
}

/* What the SMMU does */
static void push(struct fake_smmu *f, struct pri_entry entry)
{
	u32 ovf = get_reg(f, ARM_SMMU_PRIQ_PROD) & OVF;

	f->ring[f->prod % SLOTS] = entry;
	f->prod = (f->prod + 1) % (2 * SLOTS);
	put_reg(f, ARM_SMMU_PRIQ_PROD, ovf | f->prod);
}

static void push_many(struct fake_smmu *f, unsigned int nr)
{
	while (nr--)
		push(f, pri_req(V | L, SID, 1, 0, 0));
}

static void work(struct fake_smmu *f)
{
	arm_smmu_priq_thread(0, &f->smmu);
}

static u64 command(struct fake_smmu *f, unsigned int nr, unsigned int qw)
{
	return le64_to_cpu(f->cmds[2 * nr + qw]);
}

/* Requests that nobody can serve are answered, once, and as invalid. */
static void test_unknown_stream(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);

	push(f, pri_req(R, SID, 0, 7, 0x1000));			/* not last */
	push(f, pri_req(V | L, SID, 3, 0, 0));			/* marker */
	push(f, pri_req(R | L, SID, 0, 7, 0x2000));
	push(f, pri_req(V | W | L, SID_OTHER, 3, 9, 0x3000));
	work(f);

	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_CMDQ_PROD), 2);
	KUNIT_EXPECT_EQ(test, command(f, 0, 0), 0x0000123400000041);
	KUNIT_EXPECT_EQ(test, command(f, 0, 1), 0x1007);
	KUNIT_EXPECT_EQ(test, command(f, 1, 0), 0x0000123500000041);
	KUNIT_EXPECT_EQ(test, command(f, 1, 1), 0x1009);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_PRIQ_CONS), 4);
	KUNIT_EXPECT_EQ(test, f->smmu.priq.shwq.hwq.handled, 4);
	fake_free(f);
}

/* A device that exists, but was not told to send requests */
static void test_off(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_stream stream = { .id = SID };
	struct arm_smmu_master master = {
		.smmu = &f->smmu,
		.streams = &stream,
		.num_streams = 1,
		.prg_resp_needs_pasid = true,
	};

	stream.master = &master;
	rb_link_node(&stream.node, NULL, &f->smmu.streams.rb_node);
	push(f, pri_req(V | R, SID, 3, 8, 0x1000));
	push(f, pri_req(V | R | L, SID, 3, 8, 0x1000));
	push(f, pri_req(L, SID, 0, 9, 0x1000));
	work(f);

	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_CMDQ_PROD), 2);
	KUNIT_EXPECT_EQ(test, command(f, 0, 0), 0x0000123400003841);
	KUNIT_EXPECT_EQ(test, command(f, 0, 1), 0x1008);
	KUNIT_EXPECT_EQ(test, command(f, 1, 0), 0x0000123400000041);
	KUNIT_EXPECT_EQ(test, command(f, 1, 1), 0x1009);
	fake_free(f);
}

/* All slots are used, and the indices go round twice before they repeat. */
static void test_wrap(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	unsigned int i;

	for (i = 1; i <= 4; i++) {
		push_many(f, SLOTS);
		work(f);
		KUNIT_EXPECT_EQ(test, f->smmu.priq.shwq.hwq.handled, i * SLOTS);
		KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_PRIQ_CONS),
				i * SLOTS % (2 * SLOTS));
	}
	fake_free(f);
}

static void test_overflow(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);

	push_many(f, SLOTS);
	put_reg(f, ARM_SMMU_PRIQ_PROD, OVF | f->prod);
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_PRIQ_CONS), OVF | SLOTS);
	KUNIT_EXPECT_EQ(test, f->queue->overflows, 1);

	/* The flag stays as it is, in both registers. */
	push_many(f, 3);
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_PRIQ_CONS),
			OVF | (SLOTS + 3));
	KUNIT_EXPECT_EQ(test, f->queue->overflows, 1);

	/* The next one, and the flag is 0 again. */
	put_reg(f, ARM_SMMU_PRIQ_PROD, f->prod);
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_PRIQ_CONS), SLOTS + 3);
	KUNIT_EXPECT_EQ(test, f->queue->overflows, 2);
	fake_free(f);
}

/* An abort stays until the queue is empty, other errors do not wait for it. */
static void test_abort(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	u32 gerror = GERROR_PRIQ_ABT_ERR | GERROR_EVTQ_ABT_ERR;

	push_many(f, 2);
	put_reg(f, ARM_SMMU_GERROR, gerror);
	arm_smmu_pri_ack_gerror(&f->smmu, gerror);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN),
			GERROR_EVTQ_ABT_ERR);

	/* Another error meanwhile */
	gerror ^= GERROR_EVTQ_ABT_ERR;
	put_reg(f, ARM_SMMU_GERROR, gerror);
	arm_smmu_pri_ack_gerror(&f->smmu, GERROR_EVTQ_ABT_ERR);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), 0);
	KUNIT_EXPECT_EQ(test, f->queue->overflows, 0);

	work(f);
	KUNIT_EXPECT_EQ(test, f->smmu.priq.shwq.hwq.handled, 2);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), gerror);
	KUNIT_EXPECT_EQ(test, f->queue->overflows, 1);

	/* The next one; without page requests errors are not held back. */
	put_reg(f, ARM_SMMU_GERROR, 0);
	arm_smmu_pri_ack_gerror(&f->smmu, gerror);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), gerror);
	work(f);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), 0);
	f->smmu.features = 0;
	arm_smmu_pri_ack_gerror(&f->smmu, gerror);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), gerror);
	fake_free(f);
}

/* One device that stalls and one that sends requests are answered at once. */
static void test_batch(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_stream stream[2] = { { .id = SID }, { .id = SID_OTHER } };
	struct arm_smmu_master master[2] = {
		{ .smmu = &f->smmu, .streams = &stream[0],
		  .stall_enabled = true },
		{ .smmu = &f->smmu, .streams = &stream[1] },
	};
	struct dev_iommu iommu[2] = {
		{ .priv = &master[0] }, { .priv = &master[1] },
	};
	struct device *dev = kunit_kcalloc(test, 2, sizeof(*dev), GFP_KERNEL);
	struct iommu_fault_page_request prm = { .grpid = 5 };
	struct iopf_response resp[3] = {
		{ .prm = &prm, .code = IOMMU_PAGE_RESP_SUCCESS },
		{ .prm = &prm, .code = IOMMU_PAGE_RESP_SUCCESS },
		{ .prm = &prm, .code = IOMMU_PAGE_RESP_INVALID },
	};

	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev[0].iommu = &iommu[0];
	dev[1].iommu = &iommu[1];
	resp[0].dev = &dev[0];
	resp[1].dev = &dev[1];
	resp[2].dev = &dev[1];
	arm_smmu_page_response_batch(resp, 3);

	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_CMDQ_PROD), 3);
	KUNIT_EXPECT_EQ(test, command(f, 0, 0), 0x0000123400001044);
	KUNIT_EXPECT_EQ(test, command(f, 0, 1), 5);
	KUNIT_EXPECT_EQ(test, command(f, 1, 0), 0x0000123500000041);
	KUNIT_EXPECT_EQ(test, command(f, 1, 1), 0x2005);
	KUNIT_EXPECT_EQ(test, command(f, 2, 0), 0x0000123500000041);
	KUNIT_EXPECT_EQ(test, command(f, 2, 1), 0x1005);
	fake_free(f);
}

/* A writer of context descriptors that looks for what the SMMU must not see */
struct cd_writer {
	struct arm_smmu_entry_writer writer;
	struct arm_smmu_cd *cd;
	unsigned int syncs;
	unsigned int invalid;
};

static void cd_sync(struct arm_smmu_entry_writer *writer)
{
	struct cd_writer *w = container_of(writer, struct cd_writer, writer);

	w->syncs++;
	if (!(w->cd->data[0] & cpu_to_le64(CTXDESC_CD_0_V)))
		w->invalid++;
}

static const struct arm_smmu_entry_writer_ops cd_ops = {
	.sync = cd_sync,
	.get_used = arm_smmu_get_cd_used,
};

static struct arm_smmu_cd some_cd(u64 asid, u64 ttb)
{
	struct arm_smmu_cd cd = {
		.data = {
			cpu_to_le64(CTXDESC_CD_0_V | CTXDESC_CD_0_AA64 |
				    CTXDESC_CD_0_TCR_EPD1 | 16 |
				    FIELD_PREP(CTXDESC_CD_0_ASID, asid)),
			cpu_to_le64(ttb),
			0,
			cpu_to_le64(0xff44),
		},
	};

	return cd;
}

/* From one page table to another with walks off between them, never invalid */
static void test_hold(struct kunit *test)
{
	struct arm_smmu_cd old = some_cd(1, 0x1000), new = some_cd(2, 0x2000);
	struct arm_smmu_cd cd = old, held;
	struct cd_writer w = { .writer.ops = &cd_ops, .cd = &cd };

	arm_smmu_write_entry(&w.writer, cd.data, new.data);
	KUNIT_EXPECT_NE(test, w.invalid, 0);	/* or there is no need for it */

	cd = old;
	w.invalid = 0;
	arm_smmu_make_held_cd(&held, &cd);
	arm_smmu_write_entry(&w.writer, cd.data, held.data);
	KUNIT_EXPECT_EQ(test, w.invalid, 0);
	KUNIT_EXPECT_TRUE(test, cd.data[0] &
				cpu_to_le64(CTXDESC_CD_0_TCR_EPD0));
	arm_smmu_write_entry(&w.writer, cd.data, new.data);
	KUNIT_EXPECT_EQ(test, w.invalid, 0);
	KUNIT_EXPECT_MEMEQ(test, &cd, &new, sizeof(cd));
}

/* An SMMU that answers by itself gives the PASID back to who wants it. */
static void test_automatic_pasid(struct kunit *test)
{
	struct arm_smmu_device *smmu = kunit_kzalloc(test, sizeof(*smmu),
						     GFP_KERNEL);
	struct arm_smmu_master master = { .smmu = smmu };
	const __le64 ppar = cpu_to_le64(BIT_ULL(18));
	struct arm_smmu_ste ste;

	KUNIT_ASSERT_NOT_NULL(test, smmu);
	arm_smmu_make_cdtable_ste(&ste, &master, true, 0);
	KUNIT_EXPECT_FALSE(test, ste.data[1] & ppar);
	master.prg_resp_needs_pasid = true;
	arm_smmu_make_cdtable_ste(&ste, &master, true, 0);
	KUNIT_EXPECT_FALSE(test, ste.data[1] & ppar);
	master.ssid_bits = 16;
	arm_smmu_make_cdtable_ste(&ste, &master, true, 0);
	KUNIT_EXPECT_TRUE(test, ste.data[1] & ppar);
}

/* Devices that are late with an invalidation */

#define ATC_INV		0x40ULL
#define CMD_SYNC	0x46ULL

static void no_fence(struct work_struct *work)
{
}

static void fake_master(struct fake_smmu *f, struct arm_smmu_master *master,
			struct arm_smmu_stream *stream, u32 sid)
{
	struct rb_node **at = &f->smmu.streams.rb_node, *parent = NULL;

	stream->id = sid;
	stream->master = master;
	master->smmu = &f->smmu;
	INIT_WORK_ONSTACK(&master->atc.fence, no_fence);
	while (*at) {
		parent = *at;
		at = sid < rb_entry(parent, struct arm_smmu_stream, node)->id ?
			     &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&stream->node, parent, at);
	rb_insert_color(&stream->node, &f->smmu.streams);
}

static void fake_master_free(struct arm_smmu_master *master)
{
	cancel_work_sync(&master->atc.fence);
	destroy_work_on_stack(&master->atc.fence);
}

static void put_cmd(struct fake_smmu *f, unsigned int at, u64 op, u32 sid)
{
	f->cmds[at * 2] = cpu_to_le64(op | (u64)sid << 32);
}

/* What lies between two CMD_SYNC is suspected, and one alone is counted. */
static void test_late(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_stream streams[2];
	struct arm_smmu_master a = {}, b = {};
	struct arm_smmu_queue *q = &f->smmu.cmdq.q;
	unsigned int last = BIT(CMD_SHIFT) - 1;

	fake_master(f, &a, &streams[0], SID);
	fake_master(f, &b, &streams[1], SID_OTHER);

	/* At the end of the queue, with something else in between */
	put_cmd(f, last - 3, ATC_INV, SID_OTHER);
	put_cmd(f, last - 2, CMD_SYNC, 0);
	put_cmd(f, last - 1, ATC_INV, SID);
	put_cmd(f, last, 0x41, SID_OTHER);
	put_cmd(f, 0, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, BIT(CMD_SHIFT));
	KUNIT_EXPECT_EQ(test, a.atc.error, 1);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);
	KUNIT_EXPECT_EQ(test, b.atc.error, 0);

	/* Two: nobody knows */
	put_cmd(f, 1, ATC_INV, SID);
	put_cmd(f, 2, ATC_INV, SID_OTHER);
	put_cmd(f, 3, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, 3);
	KUNIT_EXPECT_EQ(test, a.atc.error, 2);
	KUNIT_EXPECT_EQ(test, b.atc.error, 2);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);
	KUNIT_EXPECT_EQ(test, b.atc.late.timeouts, 0);

	/* One and a device that was released */
	put_cmd(f, 4, ATC_INV, SID);
	put_cmd(f, 5, ATC_INV, 7);
	put_cmd(f, 6, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, 6);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);
	KUNIT_EXPECT_FALSE(test, a.atc.silent);

	/* Once more, but for more than one command */
	put_cmd(f, 7, ATC_INV, SID);
	put_cmd(f, 8, ATC_INV, SID);
	put_cmd(f, 9, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, 9);
	KUNIT_EXPECT_TRUE(test, a.atc.silent);
	KUNIT_EXPECT_FALSE(test, a.atc.suspected);
	KUNIT_EXPECT_FALSE(test, b.atc.silent);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->smmu.atc_nr_silent), 1);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_error_of_all, 0);

	fake_master_free(&a);
	fake_master_free(&b);
	fake_free(f);
}

/* It is forgotten after a while, and all are suspects where no CMD_SYNC is. */
static void test_late_again(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_queue *q = &f->smmu.cmdq.q;
	struct arm_smmu_stream stream;
	struct arm_smmu_master a = {};
	unsigned int i;

	fake_master(f, &a, &stream, SID);
	put_cmd(f, 0, CMD_SYNC, 0);
	put_cmd(f, 1, ATC_INV, SID);
	put_cmd(f, 2, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, 2);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);
	a.atc.late.at -= 601 * HZ;
	arm_smmu_atc_note(&f->smmu, q, 2);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);
	KUNIT_EXPECT_FALSE(test, a.atc.silent);

	for (i = 0; i < BIT(CMD_SHIFT); i++)
		put_cmd(f, i, 0x41, SID);
	put_cmd(f, 2, CMD_SYNC, 0);
	arm_smmu_atc_note(&f->smmu, q, 2);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_error_of_all, 3);
	KUNIT_EXPECT_EQ(test, a.atc.late.timeouts, 1);

	fake_master_free(&a);
	fake_free(f);
}

/* Who waits acknowledges the time-out, and nothing else. */
static void test_late_ack(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_cmdq other = f->smmu.cmdq;

	put_cmd(f, 0, CMD_SYNC, 0);
	put_cmd(f, 1, CMD_SYNC, 0);
	put_reg(f, ARM_SMMU_CMDQ_CONS, 1 << 24 | 1);
	put_reg(f, ARM_SMMU_GERROR, GERROR_CMDQ_ERR | GERROR_EVTQ_ABT_ERR);
	arm_smmu_atc_look(&f->smmu, &f->smmu.cmdq);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), 0);

	put_reg(f, ARM_SMMU_CMDQ_CONS, 3 << 24 | 1);
	arm_smmu_atc_look(&f->smmu, &other);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), 0);
	arm_smmu_atc_look(&f->smmu, &f->smmu.cmdq);
	KUNIT_EXPECT_EQ(test, get_reg(f, ARM_SMMU_GERRORN), GERROR_CMDQ_ERR);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 1);
	/* The interrupt comes late, and only once. */
	KUNIT_EXPECT_TRUE(test, arm_smmu_atc_irq(&f->smmu));
	KUNIT_EXPECT_FALSE(test, arm_smmu_atc_irq(&f->smmu));
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 1);
	fake_free(f);
}

/* An SMMU that waits longer than anybody can */
static void test_stuck(struct kunit *test)
{
	struct fake_smmu *f = fake_smmu(test);
	struct arm_smmu_stream stream;
	struct arm_smmu_master a = {};

	fake_master(f, &a, &stream, SID);
	put_cmd(f, 0, CMD_SYNC, 0);
	put_cmd(f, 1, ATC_INV, SID);
	put_cmd(f, 2, CMD_SYNC, 0);
	put_cmd(f, 3, CMD_SYNC, 0);

	/* It is over in the meantime. */
	put_reg(f, ARM_SMMU_CMDQ_CONS, 3);
	arm_smmu_atc_stuck(&f->smmu, &f->smmu.cmdq, 2);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 0);
	/* Something else takes so long. */
	put_reg(f, ARM_SMMU_CMDQ_CONS, 1);
	arm_smmu_atc_stuck(&f->smmu, &f->smmu.cmdq, 2);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 0);
	KUNIT_EXPECT_FALSE(test, a.atc.silent);

	put_reg(f, ARM_SMMU_CMDQ_CONS, 2);
	arm_smmu_atc_stuck(&f->smmu, &f->smmu.cmdq, 3);
	KUNIT_EXPECT_TRUE(test, a.atc.silent);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 1);
	arm_smmu_atc_stuck(&f->smmu, &f->smmu.cmdq, 2);
	KUNIT_EXPECT_EQ(test, f->smmu.atc_errors, 1);

	fake_master_free(&a);
	fake_free(f);
}

/* Whoever writes the entry of a device that is blocked leaves ATS off. */
static void test_blocked_entry(struct kunit *test)
{
	const __le64 eats = cpu_to_le64(FIELD_PREP(STRTAB_STE_1_EATS,
						   STRTAB_STE_1_EATS_TRANS));
	struct arm_smmu_ste ste = { .data[1] = eats | cpu_to_le64(1) };
	struct arm_smmu_master master = {};

	raw_spin_lock_init(&master.atc.ste_lock);
	raw_spin_lock_irq(&master.atc.ste_lock);
	arm_smmu_atc_limit_ste(&master, &ste);
	KUNIT_EXPECT_TRUE(test, ste.data[1] & eats);
	master.atc.blocked = true;
	arm_smmu_atc_limit_ste(&master, &ste);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(ste.data[1]), 1);
	raw_spin_unlock_irq(&master.atc.ste_lock);
}

static struct kunit_case pri_cases[] = {
	KUNIT_CASE(test_decode_fields),
	KUNIT_CASE_PARAM(test_decode_verdict, pri_verdict_gen_params),
	KUNIT_CASE(test_response),
	KUNIT_CASE(test_resume),
	KUNIT_CASE(test_match),
	KUNIT_CASE(test_match_stall),
	KUNIT_CASE(test_unknown_stream),
	KUNIT_CASE(test_off),
	KUNIT_CASE(test_wrap),
	KUNIT_CASE(test_overflow),
	KUNIT_CASE(test_abort),
	KUNIT_CASE(test_batch),
	KUNIT_CASE(test_automatic_pasid),
	KUNIT_CASE(test_hold),
	KUNIT_CASE(test_late),
	KUNIT_CASE(test_late_again),
	KUNIT_CASE(test_late_ack),
	KUNIT_CASE(test_stuck),
	KUNIT_CASE(test_blocked_entry),
	{}
};

static struct kunit_suite pri_suite = {
	.name = "arm-smmu-v3-pri",
	.test_cases = pri_cases,
};

kunit_test_suite(pri_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of the page requests of the arm-smmu-v3 driver");
MODULE_LICENSE("GPL");

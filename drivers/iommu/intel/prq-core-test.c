// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the Intel VT-d page request queue
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>

#include "iommu.h"
#include "../iommu-pages.h"
#include "../iopf-core.h"

#define RID		0x1234
#define RID_OTHER	0x1235

/* Literal bits, so that a wrong mask in prq.h is noticed. */
#define P		BIT_ULL(8)		/* PASID present */
#define X		BIT_ULL(52)		/* execute */
#define S		BIT_ULL(53)		/* privileged */
#define R		BIT_ULL(0)
#define W		BIT_ULL(1)
#define L		BIT_ULL(2)

static struct page_req_dsc prq_req(u64 lo, u32 pasid, u64 hi, u32 group,
				   u64 addr)
{
	struct page_req_dsc req = {
		.qw = {
			1 | lo | (u64)RID << 16 | (u64)pasid << 32,
			hi | (u64)group << 3 | addr,
		},
	};

	return req;
}

static void test_decode_fields(struct kunit *test)
{
	struct page_req_dsc req = prq_req(P, 0xfffff, R | W | L, 0x1ff,
					  0x7f1234567000);
	struct iopf_fault event;
	struct iommu_fault_page_request *prm = &event.fault.prm;

	memset(&event, 0xff, sizeof(event));
	KUNIT_ASSERT_EQ(test, intel_prq_decode(&req, &event), INTEL_PRQ_REPORT);
	KUNIT_EXPECT_EQ(test, event.fault.type, IOMMU_FAULT_PAGE_REQ);
	KUNIT_EXPECT_EQ(test, prm->addr, 0x7f1234567000);
	KUNIT_EXPECT_EQ(test, prm->pasid, 0xfffff);
	KUNIT_EXPECT_EQ(test, prm->grpid, 0x1ff);
	KUNIT_EXPECT_EQ(test, prm->perm,
			IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE);
	KUNIT_EXPECT_EQ(test, prm->flags,
			IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
			IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE |
			IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID);

	/* Without PASID, whatever the field holds */
	req = prq_req(0, 0x1234, W, 5, 0x1000);
	KUNIT_ASSERT_EQ(test, intel_prq_decode(&req, &event), INTEL_PRQ_REPORT);
	KUNIT_EXPECT_EQ(test, prm->pasid, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, prm->grpid, 5);
	KUNIT_EXPECT_EQ(test, prm->flags, 0);
	KUNIT_EXPECT_EQ(test, prm->perm, IOMMU_FAULT_PERM_WRITE);
}

struct prq_verdict_case {
	const char *name;
	u64 lo, hi, addr;
	enum intel_prq_verdict verdict;
};

static const struct prq_verdict_case verdict_cases[] = {
	{ "read", 0, R | L, 0x1000, INTEL_PRQ_REPORT },
	{ "write", 0, W | L, 0x1000, INTEL_PRQ_REPORT },
	{ "not last", 0, R, 0x1000, INTEL_PRQ_REPORT },
	{ "pasid", P, R, 0x1000, INTEL_PRQ_REPORT },
	{ "stop marker", P, L, 0, INTEL_PRQ_IGNORE },
	{ "no stop marker without pasid", 0, L, 0, INTEL_PRQ_MALFORMED },
	{ "no access", 0, 0, 0x1000, INTEL_PRQ_MALFORMED },
	{ "no access, pasid", P, 0, 0x1000, INTEL_PRQ_MALFORMED },
	{ "execute", P | X, R | L, 0x1000, INTEL_PRQ_MALFORMED },
	{ "execute, not last", P | X, R, 0x1000, INTEL_PRQ_MALFORMED },
	{ "execute without pasid", X, R | L, 0x1000, INTEL_PRQ_MALFORMED },
	{ "privileged", P | S, R | L, 0x1000, INTEL_PRQ_MALFORMED },
	{ "privileged stop marker", P | S, L, 0, INTEL_PRQ_IGNORE },
	{ "high half, first stage", P, R | L, 0xffff800000000000,
	  INTEL_PRQ_REPORT },
	{ "high half, second stage", 0, R | L, 0x0000800000000000,
	  INTEL_PRQ_REPORT },
	{ "high half, second stage of a pasid", P, R | L, 0x0000800000000000,
	  INTEL_PRQ_REPORT },
	{ "beyond all widths", P, R | L, 0x7ff0000000000000, INTEL_PRQ_REPORT },
	{ "beyond all widths, no pasid", 0, R | L, 0x7ff0000000000000,
	  INTEL_PRQ_REPORT },
};

static void prq_verdict_desc(const struct prq_verdict_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(prq_verdict, verdict_cases, prq_verdict_desc);

static void test_decode_verdict(struct kunit *test)
{
	const struct prq_verdict_case *c = test->param_value;
	struct page_req_dsc req = prq_req(c->lo, c->lo & P ? 1 : 0, c->hi, 0,
					  c->addr);
	struct iopf_fault event;

	KUNIT_EXPECT_EQ(test, intel_prq_decode(&req, &event), c->verdict);
}

static void test_decode_type(struct kunit *test)
{
	struct page_req_dsc req = prq_req(0, 0, R | L, 0, 0x1000);
	struct iopf_fault event;

	req.qw[0] ^= 3;
	KUNIT_EXPECT_EQ(test, intel_prq_decode(&req, &event), INTEL_PRQ_IGNORE);
}

static void test_response(struct kunit *test)
{
	struct iommu_fault_page_request prm = {
		.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
		.grpid = 0x1ff,
	};
	struct qi_desc desc;

	memset(&desc, 0xff, sizeof(desc));
	intel_prq_encode_response(&desc, RID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, desc.qw0, 0x0000000012340009);
	/* Bit 2 is reserved, although this is the last request. */
	KUNIT_EXPECT_EQ(test, desc.qw1, 0x0000000000000ff8);
	KUNIT_EXPECT_EQ(test, desc.qw2, 0);
	KUNIT_EXPECT_EQ(test, desc.qw3, 0);

	intel_prq_encode_response(&desc, RID, &prm, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, desc.qw0, 0x0000000012341009);
	intel_prq_encode_response(&desc, RID, &prm, IOMMU_PAGE_RESP_FAILURE);
	KUNIT_EXPECT_EQ(test, desc.qw0, 0x000000001234f009);

	/* A PASID that the device does not want back */
	prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	prm.pasid = 0xfffff;
	intel_prq_encode_response(&desc, RID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, desc.qw0, 0x0000000012340009);

	prm.flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	prm.grpid = 1;
	intel_prq_encode_response(&desc, RID, &prm, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, desc.qw0, 0x000fffff12340019);
	KUNIT_EXPECT_EQ(test, desc.qw1, 0x8);
}

static void test_match(struct kunit *test)
{
	u64 plain = prq_req(0, 0, 0, 0, 0).qw[0];
	u64 pasid1 = prq_req(P, 1, 0, 0, 0).qw[0];
	u64 pasid0 = prq_req(P, 0, 0, 0, 0).qw[0];

	KUNIT_EXPECT_TRUE(test, intel_prq_match(plain, RID, IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(plain, RID, 1));
	KUNIT_EXPECT_TRUE(test, intel_prq_match(plain, RID, IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(plain, RID_OTHER,
						 IOMMU_NO_PASID));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(plain, RID_OTHER,
						 IOPF_ANY_PASID));
	KUNIT_EXPECT_TRUE(test, intel_prq_match(pasid1, RID, 1));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(pasid1, RID, 2));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(pasid1, RID, IOMMU_NO_PASID));
	KUNIT_EXPECT_TRUE(test, intel_prq_match(pasid1, RID, IOPF_ANY_PASID));
	KUNIT_EXPECT_FALSE(test, intel_prq_match(pasid1, RID_OTHER, 1));
	/* A device may use PASID 0. It uses the table entry of the RID. */
	KUNIT_EXPECT_TRUE(test, intel_prq_match(pasid0, RID, IOMMU_NO_PASID));
}

/* An IOMMU whose registers are memory, and a page request queue */
static struct intel_iommu *fake_iommu(struct kunit *test)
{
	struct intel_iommu *iommu = kunit_kzalloc(test, sizeof(*iommu),
						  GFP_KERNEL);
	void *reg = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, iommu);
	KUNIT_ASSERT_NOT_NULL(test, reg);
	iommu->reg = (void __iomem __force *)reg;
	iommu->prq = iommu_alloc_pages(GFP_KERNEL, PRQ_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, iommu->prq);
	strscpy(iommu->name, "kunit");
	mutex_init(&iommu->iopf_lock);
	iommu->iopf_queue = iopf_queue_alloc("prq-kunit");
	KUNIT_ASSERT_NOT_NULL(test, iommu->iopf_queue);
	intel_prq_hwq_init(iommu);
	return iommu;
}

static void free_fake_iommu(struct intel_iommu *iommu)
{
	iopf_queue_free(iommu->iopf_queue);
	iommu_free_pages(iommu->prq, PRQ_ORDER);
}

static void put_reg(struct intel_iommu *iommu, unsigned int reg, u32 value)
{
	writel(value, iommu->reg + reg);
}

static u32 get_reg(struct intel_iommu *iommu, unsigned int reg)
{
	return readl(iommu->reg + reg);
}

/* Requests that nobody waits for an answer to */
static void put_markers(struct intel_iommu *iommu, u32 tail)
{
	u32 i;

	for (i = 0; i < PRQ_DEPTH; i++)
		iommu->prq[i] = prq_req(P, 1, L, 0, 0);
	put_reg(iommu, DMAR_PQT_REG, tail * sizeof(struct page_req_dsc));
}

static void test_work(struct kunit *test)
{
	struct intel_iommu *iommu = fake_iommu(test);

	KUNIT_EXPECT_FALSE(test, intel_prq_work(iommu));
	put_markers(iommu, 3);
	KUNIT_EXPECT_TRUE(test, intel_prq_work(iommu));
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQH_REG), 3 * 32);
	KUNIT_EXPECT_EQ(test, iommu->prq_hwq.handled, 3);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PRS_REG), DMA_PRS_PPR);
	/* Up to the end of the ring and on */
	put_markers(iommu, 1);
	KUNIT_EXPECT_TRUE(test, intel_prq_work(iommu));
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQH_REG), 1 * 32);
	KUNIT_EXPECT_EQ(test, iommu->prq_hwq.handled, PRQ_DEPTH + 1);
	free_fake_iommu(iommu);
}

/* The registers as they are when a kernel starts that follows another */
static void test_start(struct kunit *test)
{
	struct intel_iommu *iommu = fake_iommu(test);

	put_reg(iommu, DMAR_PQH_REG, 0x40);
	put_reg(iommu, DMAR_PQT_REG, 0x80);
	intel_prq_hw_start(iommu);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQH_REG), 0);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQT_REG), 0);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQA_REG),
			lower_32_bits(virt_to_phys(iommu->prq)) | PRQ_ORDER);
	/* Both bits are cleared by writing them. */
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PRS_REG),
			DMA_PRS_PPR | DMA_PRS_PRO);
	free_fake_iommu(iommu);
}

/* The hardware forgets everything, and requests that are in the queue are gone */
static void test_suspend(struct kunit *test)
{
	static const unsigned int event[] = { DMAR_PECTL_REG, DMAR_PEDATA_REG,
					      DMAR_PEADDR_REG,
					      DMAR_PEUADDR_REG };
	struct intel_iommu *iommu = fake_iommu(test);
	unsigned int i;

	put_markers(iommu, 5);
	intel_prq_work(iommu);
	put_markers(iommu, 9);
	for (i = 0; i < ARRAY_SIZE(event); i++)
		put_reg(iommu, event[i], 0x100 + i);
	intel_prq_suspend(iommu);
	memset((void __force *)iommu->reg, 0, PAGE_SIZE);
	intel_prq_resume(iommu);

	for (i = 0; i < ARRAY_SIZE(event); i++)
		KUNIT_EXPECT_EQ(test, get_reg(iommu, event[i]), 0x100 + i);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQA_REG),
			lower_32_bits(virt_to_phys(iommu->prq)) | PRQ_ORDER);

	/* Nothing old is found, a drain does not wait, and what is new comes. */
	KUNIT_EXPECT_FALSE(test, intel_prq_work(iommu));
	iopf_hwq_wait(&iommu->prq_hwq, RID, IOPF_ANY_PASID);
	put_markers(iommu, 2);
	KUNIT_EXPECT_TRUE(test, intel_prq_work(iommu));
	KUNIT_EXPECT_EQ(test, iommu->prq_hwq.handled, 7);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQH_REG), 2 * 32);
	free_fake_iommu(iommu);
}

/* What the queue was like when its interrupt went */
struct prq_at_shutdown {
	struct intel_iommu *iommu;
	unsigned int times;
	u32 address, tail;
};

static void finish_shutdown(struct irq_data *data)
{
	struct prq_at_shutdown *at = irq_data_get_irq_chip_data(data);

	at->times++;
	at->address = get_reg(at->iommu, DMAR_PQA_REG);
	at->tail = get_reg(at->iommu, DMAR_PQT_REG);
}

static struct irq_chip finish_chip = {
	.name = "prq-kunit",
	.irq_shutdown = finish_shutdown,
};

static int finish_irq_alloc(struct irq_domain *domain, unsigned int irq,
			    unsigned int nr, void *at)
{
	irq_domain_set_info(domain, irq, 0, &finish_chip, at, handle_simple_irq,
			    NULL, NULL);
	return 0;
}

static const struct irq_domain_ops finish_irq_ops = {
	.alloc = finish_irq_alloc,
	.free = irq_domain_free_irqs_top,
};

static irqreturn_t finish_thread(int irq, void *iommu)
{
	return IRQ_RETVAL(intel_prq_work(iommu));
}

/*
 * As long as there is an interrupt its thread may look for requests. It would
 * find old ones if the registers said less than what it has worked off.
 */
static void test_finish(struct kunit *test)
{
	struct intel_iommu *iommu = fake_iommu(test);
	struct prq_at_shutdown at = { .iommu = iommu };
	struct irq_domain *domain;
	int irq;

	domain = irq_domain_create_linear(NULL, 1, &finish_irq_ops, NULL);
	KUNIT_ASSERT_NOT_NULL(test, domain);
	irq = irq_domain_alloc_irqs(domain, 1, NUMA_NO_NODE, &at);
	KUNIT_ASSERT_GT(test, irq, 0);
	KUNIT_ASSERT_EQ(test, request_threaded_irq(irq, NULL, finish_thread,
						   IRQF_ONESHOT, "prq-kunit",
						   iommu), 0);
	iommu->pr_irq = irq;
	intel_prq_hw_start(iommu);
	put_markers(iommu, 3);
	intel_prq_work(iommu);

	intel_iommu_finish_prq(iommu);
	KUNIT_EXPECT_EQ(test, at.times, 1);
	KUNIT_EXPECT_NE(test, at.address, 0);
	KUNIT_EXPECT_EQ(test, at.tail, 3 * 32);
	KUNIT_EXPECT_EQ(test, iommu->pr_irq, 0);
	KUNIT_EXPECT_NULL(test, iommu->prq);
	KUNIT_EXPECT_NULL(test, iommu->iopf_queue);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQA_REG), 0);
	KUNIT_EXPECT_EQ(test, get_reg(iommu, DMAR_PQT_REG), 0);
	irq_domain_remove(domain);
}

static struct kunit_case prq_cases[] = {
	KUNIT_CASE(test_decode_fields),
	KUNIT_CASE_PARAM(test_decode_verdict, prq_verdict_gen_params),
	KUNIT_CASE(test_decode_type),
	KUNIT_CASE(test_response),
	KUNIT_CASE(test_match),
	KUNIT_CASE(test_work),
	KUNIT_CASE(test_start),
	KUNIT_CASE(test_suspend),
	KUNIT_CASE(test_finish),
	{}
};

static struct kunit_suite prq_suite = {
	.name = "intel-prq",
	.test_cases = prq_cases,
};

kunit_test_suite(prq_suite);

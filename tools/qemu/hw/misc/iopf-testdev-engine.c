/*
 * PCIe I/O page fault test endpoint: execution of descriptors
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A descriptor in flight is a context. The bottom half gives the contexts that
 * can run one micro-step each in turn.  Whatever a micro-step calls outside of
 * the device can come back: a response, an invalidation, a write to the
 * configuration space by way of a DMA, a reset.  So contexts are never
 * referred to by what they were before the call without a look at their
 * generation.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "trace.h"
#include "iopf-testdev.h"

static bool iopf_ctx_has(const IOPFContext *ctx, uint16_t flag)
{
    return ctx->flags & flag;
}

/*
 * Beginning and end of a descriptor
 */

static void iopf_ctx_finish(IOPFTestDev *s, IOPFContext *ctx)
{
    uint8_t *desc = s->ram_ptr + IOPF_TD_RAM_RING +
                    ctx->index * IOPF_TD_DESC_SIZE;
    int64_t us = (iopf_now() - ctx->start_ns) / SCALE_US;
    uint32_t done = ctx->opcode == IOPF_TD_OP_TRANSLATE ? ctx->out : ctx->done;
    uint32_t causes = 0;

    if (ctx->status == IOPF_TD_ST_OK) {
        iopf_count(s, IOPF_TD_REG_CNT_DESC_OK);
    } else {
        iopf_count(s, IOPF_TD_REG_CNT_DESC_ERROR);
        causes |= IOPF_TD_IRQ_ERROR;
        if (s->ctrl & IOPF_TD_CTRL_STOP_ON_ERROR) {
            s->error_stop = true;
        }
    }
    if (iopf_ctx_has(ctx, IOPF_TD_F_IRQ)) {
        causes |= IOPF_TD_IRQ_RING;
    }

    s->ring_done++;
    stl_le_p(desc + IOPF_TD_DESC_RET, ctx->ret);
    stq_le_p(desc + IOPF_TD_DESC_FAIL_ADDR, ctx->fail_addr);
    stl_le_p(desc + IOPF_TD_DESC_DONE, done);
    stw_le_p(desc + IOPF_TD_DESC_NR_TR, MIN(ctx->nr_tr, UINT16_MAX));
    stw_le_p(desc + IOPF_TD_DESC_NR_PR, MIN(ctx->nr_pr, UINT16_MAX));
    stl_le_p(desc + IOPF_TD_DESC_SEQ, s->ring_done);
    stl_le_p(desc + IOPF_TD_DESC_ELAPSED_US, MIN(us, UINT32_MAX));
    /* The guest reads the device RAM without an exit */
    smp_wmb();
    stl_le_p(desc + IOPF_TD_DESC_STATUS, ctx->status);
    trace_iopf_testdev_done(ctx->index, ctx->opcode, ctx->status, ctx->ret,
                            done);

    ctx->state = IOPF_CTX_FREE;
    ctx->generation++;
    ctx->tlb_valid = false;
    s->active--;
    /* A barrier runs alone */
    if (!s->active) {
        s->barrier = false;
    }
    iopf_raise(s, causes);
}

static void iopf_ctx_end(IOPFContext *ctx, uint32_t status)
{
    ctx->status = status;
    ctx->state = IOPF_CTX_END;
    ctx->tlb_valid = false;
    ctx->generation++;
}

static void iopf_ctx_fail(IOPFContext *ctx, uint32_t status, int ret,
                          hwaddr addr)
{
    ctx->ret = ret;
    ctx->fail_addr = addr;
    iopf_ctx_end(ctx, status);
}

/* What went wrong before anything was sent, or with any request */
static uint32_t iopf_errno_status(int ret, uint32_t otherwise)
{
    switch (ret) {
    case -EPERM:
        return IOPF_TD_ST_REFUSED;
    case -ENODEV:
        return IOPF_TD_ST_UNSUPPORTED;
    case -EINVAL:
        return IOPF_TD_ST_BAD_DESC;
    case -ENOBUFS:
        return IOPF_TD_ST_NO_PASID;
    default:
        return otherwise;
    }
}

static bool iopf_ram_range_valid(IOPFTestDev *s, uint32_t offset,
                                 uint64_t length)
{
    return (uint64_t)offset + length <= s->ram_size;
}

/* The number of 4 KiB pages that the rest of a range touches */
static uint64_t iopf_pages(hwaddr addr, uint64_t length)
{
    hwaddr last = addr + length - 1;

    return length ? (last / IOPF_PAGE_SIZE) - (addr / IOPF_PAGE_SIZE) + 1 : 0;
}

static bool iopf_desc_range_valid(const IOPFContext *ctx)
{
    return ctx->length && ctx->iova + (ctx->length - 1) >= ctx->iova;
}

static bool iopf_desc_access_valid(IOPFTestDev *s, const IOPFContext *ctx)
{
    uint64_t ram;

    if (!iopf_desc_range_valid(ctx)) {
        return false;
    }
    switch (ctx->opcode) {
    case IOPF_TD_OP_READ:
    case IOPF_TD_OP_WRITE:
        ram = ctx->length;
        break;
    case IOPF_TD_OP_FETCH_ADD:
        if (ctx->length != 8 || ctx->iova % 8) {
            return false;
        }
        ram = 8;
        break;
    case IOPF_TD_OP_TRANSLATE:
        if (!(ctx->flags & (IOPF_TD_F_READ | IOPF_TD_F_WRITE |
                            IOPF_TD_F_EXEC))) {
            return false;
        }
        ram = iopf_pages(ctx->iova, ctx->length) * IOPF_TD_TRREC_SIZE;
        break;
    default:
        return true;
    }
    return iopf_ram_range_valid(s, ctx->ram, ram);
}

static bool iopf_desc_valid(IOPFTestDev *s, const IOPFContext *ctx)
{
    if (ctx->opcode > IOPF_TD_OP_MAX || ctx->mode > IOPF_TD_MODE_MAX ||
        (ctx->flags & ~IOPF_TD_F_ALL)) {
        return false;
    }
    if (iopf_ctx_has(ctx, IOPF_TD_F_PASID) && (ctx->pasid >> 20)) {
        return false;
    }
    if (iopf_ctx_has(ctx, IOPF_TD_F_PRGI) && ctx->prgi > PCI_PRI_PRGI_MASK) {
        return false;
    }

    switch (ctx->opcode) {
    case IOPF_TD_OP_READ ... IOPF_TD_OP_TRANSLATE:
        return iopf_desc_access_valid(s, ctx);
    case IOPF_TD_OP_PAGE_REQUEST:
        return iopf_desc_range_valid(ctx);
    case IOPF_TD_OP_STOP_MARKER:
    case IOPF_TD_OP_STOP_PASID:
        return iopf_ctx_has(ctx, IOPF_TD_F_PASID);
    case IOPF_TD_OP_ATC_DROP:
        return !ctx->length || iopf_desc_range_valid(ctx);
    default:
        return true;
    }
}

static void iopf_ctx_read_desc(IOPFTestDev *s, IOPFContext *ctx)
{
    uint8_t desc[IOPF_TD_DESC_SIZE];

    /* The guest may write to it at any time, so look at it once */
    memcpy(desc, s->ram_ptr + IOPF_TD_RAM_RING +
                 ctx->index * IOPF_TD_DESC_SIZE, sizeof(desc));
    ctx->opcode = ldub_p(desc + IOPF_TD_DESC_OPCODE);
    ctx->mode = ldub_p(desc + IOPF_TD_DESC_MODE);
    ctx->flags = lduw_le_p(desc + IOPF_TD_DESC_FLAGS);
    ctx->pasid = ldl_le_p(desc + IOPF_TD_DESC_PASID);
    ctx->iova = ldq_le_p(desc + IOPF_TD_DESC_IOVA);
    ctx->length = ldl_le_p(desc + IOPF_TD_DESC_LENGTH);
    ctx->ram = ldl_le_p(desc + IOPF_TD_DESC_RAM);
    ctx->data = ldl_le_p(desc + IOPF_TD_DESC_DATA);
    ctx->prgi = lduw_le_p(desc + IOPF_TD_DESC_PRGI);
    ctx->delay = lduw_le_p(desc + IOPF_TD_DESC_DELAY);
}

/* Where a valid descriptor starts */
static void iopf_ctx_start(IOPFTestDev *s, IOPFContext *ctx)
{
    switch (ctx->opcode) {
    case IOPF_TD_OP_READ ... IOPF_TD_OP_FETCH_ADD:
        if (ctx->mode == IOPF_TD_MODE_AUTO) {
            ctx->mode = iopf_ats_live(s) ? IOPF_TD_MODE_TRANSLATED
                                         : IOPF_TD_MODE_UNTRANSLATED;
        }
        if (ctx->pasid != PCI_NO_PASID &&
            ctx->mode != IOPF_TD_MODE_TRANSLATED &&
            (ctx->mode != IOPF_TD_MODE_UNTRANSLATED || !iopf_may_stall(s))) {
            iopf_ctx_fail(ctx, IOPF_TD_ST_UNSUPPORTED, 0, ctx->iova);
            return;
        }
        ctx->state = IOPF_CTX_CHUNK;
        break;
    case IOPF_TD_OP_TRANSLATE:
    case IOPF_TD_OP_PAGE_REQUEST:
        ctx->state = IOPF_CTX_CHUNK;
        break;
    case IOPF_TD_OP_FENCE:
        ctx->state = IOPF_CTX_FENCE;
        break;
    default:
        ctx->state = IOPF_CTX_SIMPLE;
    }
}

static bool iopf_is_barrier(uint8_t opcode, uint16_t flags)
{
    return opcode == IOPF_TD_OP_FENCE || (flags & IOPF_TD_F_ORDERED);
}

static bool iopf_can_fetch(IOPFTestDev *s)
{
    uint8_t *desc;

    if (!(s->ctrl & IOPF_TD_CTRL_RUN) || s->error_stop || s->barrier ||
        s->ring_head == s->ring_tail || s->active >= s->max_contexts) {
        return false;
    }
    desc = s->ram_ptr + IOPF_TD_RAM_RING + s->ring_head * IOPF_TD_DESC_SIZE;
    return !s->active ||
           !iopf_is_barrier(ldub_p(desc + IOPF_TD_DESC_OPCODE),
                            lduw_le_p(desc + IOPF_TD_DESC_FLAGS));
}

static IOPFContext *iopf_ctx_find_free(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        if (s->contexts[i].state == IOPF_CTX_FREE) {
            return &s->contexts[i];
        }
    }
    /* max_contexts is within the size of the array */
    g_assert_not_reached();
}

static void iopf_fetch(IOPFTestDev *s)
{
    IOPFContext *ctx = iopf_ctx_find_free(s);
    uint32_t generation = ctx->generation;

    memset(ctx, 0, sizeof(*ctx));
    ctx->generation = generation + 1;
    ctx->index = s->ring_head;
    ctx->start_ns = iopf_now();
    ctx->group_none = true;
    ctx->deadline = INT64_MAX;
    s->ring_head = (s->ring_head + 1) & ((1u << s->ring_log2) - 1);
    s->active++;

    iopf_ctx_read_desc(s, ctx);
    trace_iopf_testdev_fetch(ctx->index, ctx->opcode, ctx->flags, ctx->pasid,
                             ctx->iova, ctx->length);
    /* The guest may have changed it since iopf_can_fetch() looked */
    s->barrier = iopf_is_barrier(ctx->opcode, ctx->flags);
    if (!iopf_desc_valid(s, ctx)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_BAD_DESC, 0, 0);
        return;
    }
    if (!iopf_ctx_has(ctx, IOPF_TD_F_PASID)) {
        ctx->pasid = PCI_NO_PASID;
    }
    iopf_ctx_start(s, ctx);
}

/*
 * Translation
 */

static IOMMUAccessFlags iopf_ctx_need(const IOPFContext *ctx)
{
    IOMMUAccessFlags need = 0;

    switch (ctx->opcode) {
    case IOPF_TD_OP_READ:
    case IOPF_TD_OP_COMPARE:
        need = IOMMU_RO;
        break;
    case IOPF_TD_OP_WRITE:
    case IOPF_TD_OP_FILL:
        need = IOMMU_WO;
        break;
    case IOPF_TD_OP_FETCH_ADD:
        need = IOMMU_RW;
        break;
    }
    if (iopf_ctx_has(ctx, IOPF_TD_F_EXEC)) {
        need |= IOMMU_EXEC;
    }
    return need;
}

static bool iopf_entry_allows(const IOPFContext *ctx,
                              const IOMMUTLBEntry *entry)
{
    IOMMUAccessFlags need = iopf_ctx_need(ctx);

    return (entry->perm & need) == need;
}

static bool iopf_entry_covers(const IOMMUTLBEntry *entry, hwaddr addr)
{
    return (addr & ~entry->addr_mask) == (entry->iova & ~entry->addr_mask);
}

static hwaddr iopf_ctx_addr(const IOPFContext *ctx)
{
    return ctx->iova + ctx->done;
}

/* A piece of work does not cross a 4 KiB boundary */
static uint32_t iopf_ctx_chunk(const IOPFContext *ctx)
{
    uint32_t room = IOPF_PAGE_SIZE - (iopf_ctx_addr(ctx) & IOPF_PAGE_MASK);

    return MIN(ctx->length - ctx->done, room);
}

static void iopf_ctx_begin_request(IOPFContext *ctx, hwaddr base)
{
    ctx->request_base = base & ~IOPF_PAGE_MASK;
    ctx->group_none = true;
    ctx->met_full = false;
    ctx->released = false;
    ctx->state = IOPF_CTX_REQUEST;
}

static void iopf_ctx_request_one(IOPFContext *ctx)
{
    bitmap_zero(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
    set_bit(0, ctx->missing);
    iopf_ctx_begin_request(ctx, iopf_ctx_addr(ctx));
}

static void iopf_ctx_use(IOPFTestDev *s, IOPFContext *ctx,
                         const IOMMUTLBEntry *entry)
{
    ctx->tlb = *entry;
    ctx->tlb_valid = true;
    if ((s->pri_ctrl & IOPF_TD_PRI_CTRL_ALWAYS) && !ctx->asked) {
        ctx->tlb_valid = false;
        iopf_ctx_request_one(ctx);
        return;
    }
    ctx->delay_left = ctx->delay;
    ctx->state = ctx->delay ? IOPF_CTX_DELAY : IOPF_CTX_ACCESS;
}

/* Privileged and user translations do not stand in for each other */
static bool iopf_entry_mode_matches(const IOPFContext *ctx,
                                    const IOMMUTLBEntry *entry)
{
    return !!(entry->perm & IOMMU_PRIV) == iopf_ctx_has(ctx, IOPF_TD_F_PRIV);
}

static void iopf_ctx_look_up(IOPFTestDev *s, IOPFContext *ctx)
{
    const IOMMUTLBEntry *entry;

    ctx->state = IOPF_CTX_TRANSLATE;
    if (iopf_ctx_has(ctx, IOPF_TD_F_NOLOOKUP) || !iopf_ats_live(s) ||
        !(s->atc_ctrl & IOPF_TD_ATC_CTRL_ENABLE)) {
        return;
    }
    entry = atc_lookup(s->atc, ctx->pasid, iopf_ctx_addr(ctx));
    if (!entry || !iopf_entry_mode_matches(ctx, entry)) {
        return;
    }
    if (iopf_entry_allows(ctx, entry)) {
        iopf_ctx_use(s, ctx, entry);
    } else if (s->atc_ctrl & IOPF_TD_ATC_CTRL_NO_REASK) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_NO_ACCESS, 0, iopf_ctx_addr(ctx));
    }
}

static unsigned iopf_step_chunk(IOPFTestDev *s, IOPFContext *ctx)
{
    if (ctx->done >= ctx->length) {
        iopf_ctx_end(ctx, IOPF_TD_ST_OK);
    } else if (ctx->opcode == IOPF_TD_OP_TRANSLATE) {
        ctx->state = IOPF_CTX_TRANSLATE;
    } else if (ctx->opcode == IOPF_TD_OP_PAGE_REQUEST) {
        uint64_t pages = iopf_pages(iopf_ctx_addr(ctx),
                                    ctx->length - ctx->done);

        bitmap_zero(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
        bitmap_set(ctx->missing, 0, MIN(pages, s->pri_group_max));
        iopf_ctx_begin_request(ctx, iopf_ctx_addr(ctx));
    } else if (ctx->mode == IOPF_TD_MODE_TRANSLATED) {
        iopf_ctx_look_up(s, ctx);
    } else {
        ctx->delay_left = ctx->delay;
        ctx->state = ctx->delay ? IOPF_CTX_DELAY : IOPF_CTX_ACCESS;
    }
    return 1;
}

/*
 * Ask the IOMMU about @length bytes. The results are in s->results unless the
 * context changed hands, which returns 0.
 */
static ssize_t iopf_ctx_translate(IOPFTestDev *s, IOPFContext *ctx,
                                  hwaddr addr, uint64_t length, bool no_write)
{
    uint32_t generation = ctx->generation;
    uint32_t inv_seq = s->inv_seq;
    ssize_t nr;

    nr = iopf_translate(s, ctx->pasid, iopf_ctx_has(ctx, IOPF_TD_F_PRIV),
                        iopf_ctx_has(ctx, IOPF_TD_F_EXEC), addr, length,
                        no_write);
    if (ctx->generation != generation) {
        return 0;
    }
    ctx->nr_tr++;
    if (nr <= 0) {
        iopf_ctx_fail(ctx, iopf_errno_status(nr, IOPF_TD_ST_TR_ERROR), nr,
                      addr);
        return 0;
    }
    /* Overtaken by an invalidation: the same state asks again */
    return s->inv_seq == inv_seq ? nr : 0;
}

static void iopf_ctx_fill_atc(IOPFTestDev *s, IOPFContext *ctx, ssize_t nr)
{
    ssize_t i;

    if (iopf_ctx_has(ctx, IOPF_TD_F_NOFILL) ||
        !(s->atc_ctrl & IOPF_TD_ATC_CTRL_ENABLE)) {
        return;
    }
    for (i = 0; i < nr; i++) {
        if (s->results[i].perm & (IOMMU_RW | IOMMU_EXEC)) {
            IOMMUTLBEntry entry = s->results[i];

            entry.pasid = ctx->pasid;
            atc_update(s->atc, &entry);
        }
    }
}

/* Mark what the results do not allow in the pages from @base on */
static void iopf_ctx_mark_missing(IOPFTestDev *s, IOPFContext *ctx,
                                  hwaddr base, unsigned pages, ssize_t nr)
{
    ssize_t i = 0;
    unsigned page;

    bitmap_zero(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
    for (page = 0; page < pages; page++) {
        hwaddr addr = base + page * IOPF_PAGE_SIZE;

        while (i < nr && !iopf_entry_covers(&s->results[i], addr)) {
            i++;
        }
        if (i == nr) {
            break;
        }
        if (!iopf_entry_allows(ctx, &s->results[i])) {
            set_bit(page, ctx->missing);
        }
    }
}

static bool iopf_ctx_wants_group(IOPFTestDev *s, const IOPFContext *ctx)
{
    return iopf_ctx_has(ctx, IOPF_TD_F_GROUP) ||
           (s->pri_ctrl & IOPF_TD_PRI_CTRL_GROUP);
}

/* The page at hand has no access: ask for it, and perhaps for those after it */
static unsigned iopf_ctx_ask(IOPFTestDev *s, IOPFContext *ctx)
{
    hwaddr addr = iopf_ctx_addr(ctx);
    uint64_t pages = 1;
    ssize_t nr;

    if (iopf_ctx_has(ctx, IOPF_TD_F_NO_PR) ||
        !(s->pri_ctrl & IOPF_TD_PRI_CTRL_ASK)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_NO_ACCESS, 0, addr);
        return 1;
    }
    if (ctx->rounds >= s->pri_retry) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_NO_RETRY, ctx->ret, addr);
        return 1;
    }
    if (iopf_ctx_wants_group(s, ctx)) {
        pages = iopf_pages(addr, ctx->length - ctx->done);
        pages = MIN(pages, s->pri_group_max);
    }
    if (pages == 1) {
        iopf_ctx_request_one(ctx);
        return 1;
    }

    addr &= ~IOPF_PAGE_MASK;
    nr = iopf_ctx_translate(s, ctx, addr, pages * IOPF_PAGE_SIZE,
                            !(iopf_ctx_need(ctx) & IOMMU_WO));
    if (nr) {
        iopf_ctx_fill_atc(s, ctx, nr);
        iopf_ctx_mark_missing(s, ctx, addr, pages, nr);
        /* Unless it got access in between: then the same state finds it */
        if (test_bit(0, ctx->missing)) {
            iopf_ctx_begin_request(ctx, addr);
        } else {
            ctx->rounds++;
        }
    }
    return 1 + pages / 16;
}

static unsigned iopf_step_translate_op(IOPFTestDev *s, IOPFContext *ctx)
{
    hwaddr addr = iopf_ctx_addr(ctx);
    uint64_t pages = iopf_pages(addr, ctx->length - ctx->done);
    uint64_t length = ctx->length - ctx->done;
    bool no_write = iopf_ctx_has(ctx, IOPF_TD_F_NW) ||
                    !iopf_ctx_has(ctx, IOPF_TD_F_WRITE);
    ssize_t nr;
    uint64_t i;

    if (pages > ARRAY_SIZE(s->results)) {
        pages = ARRAY_SIZE(s->results);
        length = pages * IOPF_PAGE_SIZE - (addr & IOPF_PAGE_MASK);
    }
    nr = iopf_ctx_translate(s, ctx, addr, length, no_write);
    if (!nr) {
        return 1;
    }
    iopf_ctx_fill_atc(s, ctx, nr);
    for (i = 0; i < MIN((uint64_t)nr, pages); i++) {
        const IOMMUTLBEntry *entry = &s->results[i];
        uint8_t *rec = s->ram_ptr + ctx->ram + ctx->out;

        stq_le_p(rec + IOPF_TD_TRREC_IOVA,
                 (entry->iova & ~entry->addr_mask & ~IOPF_PAGE_MASK) |
                 iopf_entry_log2(entry));
        stq_le_p(rec + IOPF_TD_TRREC_ADDR,
                 (entry->translated_addr & ~entry->addr_mask &
                  ~IOPF_PAGE_MASK) | entry->perm);
        ctx->out += IOPF_TD_TRREC_SIZE;
    }
    ctx->done += length;
    ctx->state = IOPF_CTX_CHUNK;
    return 1 + pages / 16;
}

static unsigned iopf_step_translate(IOPFTestDev *s, IOPFContext *ctx)
{
    hwaddr addr = iopf_ctx_addr(ctx);
    ssize_t nr;

    if (ctx->opcode == IOPF_TD_OP_TRANSLATE) {
        return iopf_step_translate_op(s, ctx);
    }

    nr = iopf_ctx_translate(s, ctx, addr, iopf_ctx_chunk(ctx),
                            !(iopf_ctx_need(ctx) & IOMMU_WO));
    if (!nr) {
        return 1;
    }
    iopf_ctx_fill_atc(s, ctx, nr);
    if (iopf_entry_allows(ctx, &s->results[0])) {
        iopf_ctx_use(s, ctx, &s->results[0]);
        return 1;
    }
    return iopf_ctx_ask(s, ctx);
}

/*
 * Page requests
 */

static void iopf_ctx_wait_credit(IOPFTestDev *s, IOPFContext *ctx, int why)
{
    if (why == -EDQUOT || (s->pri_ctrl & IOPF_TD_PRI_CTRL_NO_CREDIT_WAIT)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_NO_CREDIT, 0, ctx->request_base);
        return;
    }
    if (ctx->state != IOPF_CTX_CREDIT) {
        ctx->state = IOPF_CTX_CREDIT;
        ctx->deadline = iopf_wait_deadline(s);
    }
    ctx->credit_seq = iopf_pf(s)->credit_seq;
}

/* Keep the first @pages set bits */
static void iopf_ctx_trim_missing(IOPFContext *ctx, unsigned pages)
{
    unsigned long bit = find_first_bit(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);

    while (bit < IOPF_TD_GROUP_PAGES_MAX) {
        if (pages) {
            pages--;
        } else {
            clear_bit(bit, ctx->missing);
        }
        bit = find_next_bit(ctx->missing, IOPF_TD_GROUP_PAGES_MAX, bit + 1);
    }
}

static bool iopf_ctx_have_group(IOPFTestDev *s, IOPFContext *ctx)
{
    unsigned pages = bitmap_count_one(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
    unsigned long first;
    int ret;

    if (!ctx->group_none) {
        return true;
    }
    ret = iopf_pasid_use(s, ctx->pasid);
    if (ret) {
        iopf_ctx_fail(ctx, iopf_errno_status(ret, IOPF_TD_ST_PR_ERROR), ret,
                      ctx->request_base);
        return false;
    }
    first = find_first_bit(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
    ret = iopf_group_begin(s, ctx->pasid,
                           iopf_ctx_has(ctx, IOPF_TD_F_PRGI) ? ctx->prgi : -1,
                           ctx->request_base + first * IOPF_PAGE_SIZE, &pages);
    if (ret < 0) {
        iopf_ctx_wait_credit(s, ctx, ret);
        return false;
    }
    iopf_ctx_trim_missing(ctx, pages);
    ctx->state = IOPF_CTX_REQUEST;
    ctx->group = ret;
    ctx->group_generation = s->groups[ret].generation;
    ctx->group_none = false;
    return true;
}

/* What the request asks for; a device that wants to write will read, too */
static void iopf_ctx_request_access(IOPFTestDev *s, const IOPFContext *ctx,
                                    bool *read, bool *write)
{
    if (ctx->opcode == IOPF_TD_OP_PAGE_REQUEST) {
        *read = iopf_ctx_has(ctx, IOPF_TD_F_READ);
        *write = iopf_ctx_has(ctx, IOPF_TD_F_WRITE);
    } else {
        IOMMUAccessFlags need = iopf_ctx_need(ctx);

        *write = need & IOMMU_WO;
        *read = (need & (IOMMU_RO | IOMMU_EXEC)) ||
                !(s->pri_ctrl & IOPF_TD_PRI_CTRL_WRITE_ONLY);
    }
}

static bool iopf_ctx_group_alive(IOPFTestDev *s, const IOPFContext *ctx)
{
    return !ctx->group_none &&
           s->groups[ctx->group].generation == ctx->group_generation;
}

/* Every request of the group is under way */
static void iopf_ctx_all_sent(IOPFTestDev *s, IOPFContext *ctx, bool last)
{
    bool wait = true;

    ctx->asked = true;
    if (ctx->opcode == IOPF_TD_OP_PAGE_REQUEST) {
        hwaddr end = ctx->iova + (ctx->length - 1);
        unsigned long bit = find_last_bit(ctx->missing,
                                          IOPF_TD_GROUP_PAGES_MAX);
        hwaddr page_end = (ctx->request_base + bit * IOPF_PAGE_SIZE) |
                          IOPF_PAGE_MASK;

        ctx->done = MIN(end, page_end) - ctx->iova + 1;
        wait = iopf_ctx_has(ctx, IOPF_TD_F_WAIT);
    }
    /* The response may have come before */
    if (ctx->state == IOPF_CTX_REQUEST) {
        ctx->state = wait ? IOPF_CTX_WAIT : IOPF_CTX_CHUNK;
    } else if (!wait) {
        ctx->state = IOPF_CTX_CHUNK;
    }
}

/* The request was not sent, and neither are those after it */
static void iopf_ctx_refused(IOPFTestDev *s, IOPFContext *ctx, int ret,
                             hwaddr addr)
{
    unsigned group = ctx->group;
    bool alive = iopf_ctx_group_alive(s, ctx);

    iopf_ctx_fail(ctx, iopf_errno_status(ret, IOPF_TD_ST_PR_ERROR), ret, addr);
    if (alive) {
        iopf_group_drop(s, group);
    }
}

static unsigned iopf_step_request(IOPFTestDev *s, IOPFContext *ctx)
{
    bool no_last = iopf_ctx_has(ctx, IOPF_TD_F_NOLAST) ||
                   (s->hostile & IOPF_TD_HOSTILE_NO_LAST);
    uint32_t generation = ctx->generation;
    unsigned long bit;
    bool final, read, write;
    hwaddr addr;
    int ret;

    if (iopf_pri_halted(s)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_RSP_FAILURE, 0, ctx->request_base);
        return 1;
    }
    if (!iopf_ctx_have_group(s, ctx)) {
        return 1;
    }
    /* Somebody else's answer, or the guest, ended it */
    if (!iopf_ctx_group_alive(s, ctx)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_ABORTED, 0, ctx->request_base);
        return 1;
    }

    bit = find_first_bit(ctx->missing, IOPF_TD_GROUP_PAGES_MAX);
    final = find_next_bit(ctx->missing, IOPF_TD_GROUP_PAGES_MAX, bit + 1) >=
            IOPF_TD_GROUP_PAGES_MAX;
    addr = ctx->request_base + bit * IOPF_PAGE_SIZE;
    iopf_ctx_request_access(s, ctx, &read, &write);

    ret = iopf_group_send(s, ctx->group, iopf_ctx_has(ctx, IOPF_TD_F_PRIV),
                          iopf_ctx_has(ctx, IOPF_TD_F_EXEC), addr,
                          final && !no_last, read, write);
    if (ctx->generation != generation) {
        return 1;
    }
    if (ret) {
        iopf_ctx_refused(s, ctx, ret, addr);
        return 1;
    }
    ctx->nr_pr++;
    if (final) {
        iopf_ctx_all_sent(s, ctx, !no_last);
    } else {
        clear_bit(bit, ctx->missing);
    }
    return 1;
}

/* The queue was full: the "Success" of the IOMMU was none */
static void iopf_ctx_pause(IOPFTestDev *s, IOPFContext *ctx)
{
    if (ctx->full_rounds++ >= s->pri_full_retry) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_QUEUE_FULL, 0, iopf_ctx_addr(ctx));
        return;
    }
    ctx->asked = false;
    ctx->deadline = iopf_now() + s->pri_full_pause_us * (int64_t)SCALE_US;
    ctx->state = IOPF_CTX_PAUSE;
}

static unsigned iopf_step_responded(IOPFTestDev *s, IOPFContext *ctx)
{
    hwaddr addr = ctx->opcode == IOPF_TD_OP_PAGE_REQUEST ? ctx->request_base
                                                         : iopf_ctx_addr(ctx);

    switch (ctx->response) {
    case IOPF_TD_RSP_CODE_SUCCESS:
        if (ctx->opcode == IOPF_TD_OP_PAGE_REQUEST) {
            if (ctx->met_full) {
                iopf_ctx_fail(ctx, IOPF_TD_ST_QUEUE_FULL, 0, addr);
            } else {
                ctx->state = IOPF_CTX_CHUNK;
            }
        } else if (ctx->met_full) {
            iopf_ctx_pause(s, ctx);
        } else {
            ctx->rounds++;
            ctx->state = IOPF_CTX_CHUNK;
        }
        break;
    case IOPF_TD_RSP_CODE_INVALID:
        iopf_ctx_fail(ctx, IOPF_TD_ST_RSP_INVALID, ctx->ret, addr);
        break;
    default:
        iopf_ctx_fail(ctx, IOPF_TD_ST_RSP_FAILURE, ctx->ret, addr);
    }
    return 1;
}

/* The group that contexts wait for is answered, or will not be */
static void iopf_engine_group_over(IOPFTestDev *s, unsigned group,
                                   uint32_t generation, IOPFGroupEnd end)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        IOPFContext *ctx = &s->contexts[i];

        if (ctx->group_none || ctx->group != group ||
            ctx->group_generation != generation ||
            (ctx->state != IOPF_CTX_WAIT && ctx->state != IOPF_CTX_REQUEST)) {
            continue;
        }
        if (end.answered) {
            ctx->response = end.code;
            ctx->met_full = end.automatic &&
                            end.code == IOPF_TD_RSP_CODE_SUCCESS;
            ctx->state = IOPF_CTX_RESPONDED;
        } else {
            iopf_ctx_fail(ctx, end.status, ctx->ret, ctx->request_base);
        }
    }
    iopf_kick(s);
}

/*
 * Access to memory
 */

/* Untranslated, of a device that can wait.  With ctx->waits it has to. */
static MemTxResult iopf_ctx_stall_rw(IOPFTestDev *s, IOPFContext *ctx,
                                     MemTxAttrs attrs, void *buf,
                                     uint32_t length, bool is_write)
{
    hwaddr addr = iopf_ctx_addr(ctx);
    uint32_t generation = ctx->generation;
    IOMMUTLBEntry entry;
    int ret;

    ret = iopf_stall_translate(s, ctx, addr, is_write, &entry);
    if (ctx->generation != generation) {
        return MEMTX_ERROR;
    }
    switch (ret) {
    case 0:
        addr = (entry.translated_addr & ~entry.addr_mask) |
               (addr & entry.addr_mask);
        return address_space_rw(entry.target_as, addr, attrs, buf, length,
                                is_write);
    case -EINPROGRESS:
    case -EBUSY:
        ctx->waits = true;
        return MEMTX_OK;
    case -EACCES:
        return MEMTX_ERROR;
    default:
        iopf_ctx_fail(ctx, iopf_errno_status(ret, IOPF_TD_ST_ACCESS_ERROR),
                      ret, addr);
        return MEMTX_ERROR;
    }
}

static void iopf_engine_access_failed(IOPFTestDev *s, IOPFContext *ctx)
{
    iopf_count(s, IOPF_TD_REG_CNT_ACC_FAILED);
    iopf_ctx_fail(ctx, IOPF_TD_ST_ACCESS_ERROR, 0, iopf_ctx_addr(ctx));
}

static MemTxResult iopf_ctx_rw(IOPFTestDev *s, IOPFContext *ctx, void *buf,
                               uint32_t length, bool is_write)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    hwaddr addr = iopf_ctx_addr(ctx);
    MemTxAttrs attrs = { .requester_id = pci_requester_id(pci_dev) };
    AddressSpace *as = pci_get_address_space(pci_dev);
    bool translated = ctx->mode != IOPF_TD_MODE_UNTRANSLATED;
    MemTxResult result;

    if (ctx->mode == IOPF_TD_MODE_TRANSLATED) {
        if (ctx->tlb.perm & IOMMU_UNTRANSLATED_ONLY) {
            translated = false;
        } else {
            addr = (ctx->tlb.translated_addr & ~ctx->tlb.addr_mask) |
                   (addr & ctx->tlb.addr_mask);
        }
    }
    /* The IOMMU has to say whether the device may do either */
    attrs.address_type = translated ? PCI_AT_TRANSLATED : PCI_AT_UNTRANSLATED;

    /* First, as the access may be the one that resets the counters */
    iopf_count(s, translated ? IOPF_TD_REG_CNT_ACC_TRANSLATED
                             : IOPF_TD_REG_CNT_ACC_UNTRANSLATED);
    if (!translated && iopf_may_stall(s)) {
        result = iopf_ctx_stall_rw(s, ctx, attrs, buf, length, is_write);
    } else {
        result = address_space_rw(as, addr, attrs, buf, length, is_write);
    }
    if (result != MEMTX_OK) {
        iopf_count(s, IOPF_TD_REG_CNT_ACC_FAILED);
    }
    return result;
}

static void iopf_make_pattern(uint8_t *buf, uint32_t seed, uint32_t offset,
                              uint32_t length)
{
    uint32_t i;

    for (i = 0; i < length; i++) {
        uint32_t word = seed + (offset + i) / 4 * IOPF_TD_PATTERN_STEP;

        buf[i] = word >> ((offset + i) % 4 * 8);
    }
}

/* Returns false if a comparison failed, *bad is its place in the chunk */
static bool iopf_ctx_compare(IOPFContext *ctx, const uint8_t *buf,
                             uint32_t length, uint32_t *bad)
{
    uint8_t pattern[IOPF_PAGE_SIZE];
    uint32_t i;

    iopf_make_pattern(pattern, ctx->data, ctx->done, length);
    for (i = 0; i < length; i++) {
        if (buf[i] != pattern[i]) {
            *bad = i;
            return false;
        }
    }
    return true;
}

static MemTxResult iopf_ctx_fetch_add(IOPFTestDev *s, IOPFContext *ctx)
{
    uint32_t generation = ctx->generation;
    uint8_t buf[8];
    uint64_t old;
    MemTxResult result;

    result = iopf_ctx_rw(s, ctx, buf, sizeof(buf), false);
    if (result != MEMTX_OK || ctx->generation != generation || ctx->waits) {
        return result;
    }
    old = ldq_le_p(buf);
    stq_le_p(s->ram_ptr + ctx->ram, old);
    stq_le_p(buf, old + (int64_t)(int32_t)ctx->data);
    return iopf_ctx_rw(s, ctx, buf, sizeof(buf), true);
}

static MemTxResult iopf_ctx_move(IOPFTestDev *s, IOPFContext *ctx,
                                 uint32_t length, uint8_t *buf)
{
    uint8_t *ram = s->ram_ptr + ctx->ram + ctx->done;

    switch (ctx->opcode) {
    case IOPF_TD_OP_READ:
        return iopf_ctx_rw(s, ctx, ram, length, false);
    case IOPF_TD_OP_WRITE:
        return iopf_ctx_rw(s, ctx, ram, length, true);
    case IOPF_TD_OP_FILL:
        iopf_make_pattern(buf, ctx->data, ctx->done, length);
        return iopf_ctx_rw(s, ctx, buf, length, true);
    case IOPF_TD_OP_COMPARE:
        return iopf_ctx_rw(s, ctx, buf, length, false);
    default:
        return iopf_ctx_fetch_add(s, ctx);
    }
}

static unsigned iopf_step_access(IOPFTestDev *s, IOPFContext *ctx)
{
    uint32_t length = iopf_ctx_chunk(ctx);
    uint32_t generation = ctx->generation;
    uint8_t buf[IOPF_PAGE_SIZE];
    MemTxResult result;
    uint32_t bad = 0;

    if (ctx->mode == IOPF_TD_MODE_TRANSLATED) {
        if (!ctx->tlb_valid) {
            ctx->state = IOPF_CTX_CHUNK;
            return 1;
        }
        if ((ctx->tlb.perm & IOMMU_UNTRANSLATED_ONLY) &&
            ctx->pasid != PCI_NO_PASID) {
            iopf_ctx_fail(ctx, IOPF_TD_ST_UNSUPPORTED, 0, iopf_ctx_addr(ctx));
            return 1;
        }
    }
    if (!pci_is_master(PCI_DEVICE(s))) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_REFUSED, -EPERM, iopf_ctx_addr(ctx));
        return 1;
    }

    ctx->waits = false;
    result = iopf_ctx_move(s, ctx, length, buf);
    if (ctx->generation != generation || ctx->waits) {
        return 1;
    }
    if (result != MEMTX_OK) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_ACCESS_ERROR, 0, iopf_ctx_addr(ctx));
        return 1;
    }
    if (ctx->opcode == IOPF_TD_OP_COMPARE &&
        !iopf_ctx_compare(ctx, buf, length, &bad)) {
        iopf_ctx_fail(ctx, IOPF_TD_ST_MISMATCH, 0, iopf_ctx_addr(ctx) + bad);
        ctx->done += bad;
        return 1;
    }

    ctx->done += length;
    ctx->tlb_valid = false;
    ctx->rounds = 0;
    ctx->full_rounds = 0;
    ctx->asked = false;
    ctx->state = IOPF_CTX_CHUNK;
    return 1;
}

/*
 * Invalidation
 */

/* Translations in use are dropped */
static void iopf_engine_invalidate(IOPFTestDev *s, uint32_t pasid, hwaddr addr,
                                   hwaddr mask)
{
    hwaddr last;
    int i;

    if (!(mask & (mask + 1))) {
        addr &= ~mask;
    }
    last = mask > HWADDR_MAX - addr ? HWADDR_MAX : addr + mask;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        IOPFContext *ctx = &s->contexts[i];
        hwaddr first = ctx->tlb.iova & ~ctx->tlb.addr_mask;

        if (ctx->tlb_valid && ctx->pasid == pasid && first <= last &&
            (first | ctx->tlb.addr_mask) >= addr) {
            ctx->tlb_valid = false;
        }
    }
}

/*
 * Operations of one step
 */

static void iopf_mark_logs(IOPFTestDev *s, uint32_t data)
{
    uint8_t *rec;

    rec = iopf_log_record(s, IOPF_TD_RAM_INVLOG, IOPF_TD_INVLOG_ENTRIES,
                          s->invlog_head);
    stl_le_p(rec + IOPF_TD_INV_DROPPED, data);
    stl_le_p(rec + IOPF_TD_INV_FLAGS, IOPF_TD_INV_F_MARK);
    iopf_log_publish(rec, &s->invlog_head);

    rec = iopf_log_record(s, IOPF_TD_RAM_RSPLOG, IOPF_TD_RSPLOG_ENTRIES,
                          s->rsplog_head);
    stb_p(rec + IOPF_TD_RSP_FLAGS, IOPF_TD_RSP_F_MARK);
    stl_le_p(rec + IOPF_TD_RSP_COUNT, data);
    iopf_log_publish(rec, &s->rsplog_head);
}

static void iopf_drop_range(IOPFTestDev *s, uint32_t pasid, hwaddr addr,
                            hwaddr mask)
{
    atc_invalidate(s->atc, pasid, addr, mask);
    iopf_engine_invalidate(s, pasid, addr, mask);
}

static void iopf_ctx_stop_marker(IOPFTestDev *s, IOPFContext *ctx)
{
    uint32_t generation = ctx->generation;
    int ret = iopf_pasid_use(s, ctx->pasid);

    if (!ret) {
        ret = iopf_send_stop_marker(s, ctx->pasid);
    }
    if (ctx->generation != generation) {
        return;
    }
    if (!ret) {
        iopf_ctx_end(ctx, IOPF_TD_ST_OK);
    } else {
        iopf_ctx_fail(ctx, iopf_errno_status(ret, IOPF_TD_ST_PR_ERROR), ret,
                      0);
    }
}

/* Nothing of a PASID that is stopped may come after its stop marker */
static void iopf_ctx_stop_pasid(IOPFTestDev *s, IOPFContext *self)
{
    int i;

    if (s->storm.active && (s->storm.flags & IOPF_TD_STORM_F_PASID) &&
        s->storm.pasid == self->pasid) {
        iopf_storm_end(s);
    }
    iopf_groups_abandon(s, false, self->pasid);
    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        IOPFContext *ctx = &s->contexts[i];

        if (ctx != self && ctx->state != IOPF_CTX_FREE &&
            ctx->state != IOPF_CTX_END && ctx->pasid == self->pasid) {
            iopf_ctx_fail(ctx, IOPF_TD_ST_ABORTED, ctx->ret,
                          iopf_ctx_addr(ctx));
        }
    }
    iopf_drop_range(s, self->pasid, 0, HWADDR_MAX);
}

static unsigned iopf_step_simple(IOPFTestDev *s, IOPFContext *ctx)
{
    switch (ctx->opcode) {
    case IOPF_TD_OP_NOP:
        if (ctx->delay) {
            ctx->delay--;
            return 1;
        }
        break;
    case IOPF_TD_OP_MARK:
        iopf_mark_logs(s, ctx->data);
        break;
    case IOPF_TD_OP_ATC_DROP:
        if (ctx->length) {
            iopf_drop_range(s, ctx->pasid, ctx->iova, ctx->length - 1);
        } else {
            iopf_drop_range(s, ctx->pasid, 0, HWADDR_MAX);
        }
        break;
    case IOPF_TD_OP_STOP_PASID:
        iopf_ctx_stop_pasid(s, ctx);
        iopf_ctx_stop_marker(s, ctx);
        return 1;
    case IOPF_TD_OP_STOP_MARKER:
        iopf_ctx_stop_marker(s, ctx);
        return 1;
    }
    iopf_ctx_end(ctx, IOPF_TD_ST_OK);
    return 1;
}

/*
 * Scheduling
 */

static bool iopf_ctx_held(IOPFTestDev *s, const IOPFContext *ctx)
{
    return ctx->state == IOPF_CTX_REQUEST && !ctx->released &&
           (s->pri_ctrl & IOPF_TD_PRI_CTRL_HOLD);
}

static bool iopf_ctx_runnable(IOPFTestDev *s, const IOPFContext *ctx)
{
    switch (ctx->state) {
    case IOPF_CTX_FREE:
    case IOPF_CTX_WAIT:
    case IOPF_CTX_PAUSE:
    case IOPF_CTX_STALLED:
    case IOPF_CTX_ROOM:
        return false;
    case IOPF_CTX_REQUEST:
        return !iopf_ctx_held(s, ctx);
    case IOPF_CTX_CREDIT:
        return ctx->credit_seq != iopf_pf(s)->credit_seq;
    case IOPF_CTX_FENCE:
        return !s->nr_groups[IOPF_GROUP_SENT];
    default:
        return true;
    }
}

static unsigned iopf_ctx_step(IOPFTestDev *s, IOPFContext *ctx)
{
    switch (ctx->state) {
    case IOPF_CTX_CHUNK:
        return iopf_step_chunk(s, ctx);
    case IOPF_CTX_TRANSLATE:
        return iopf_step_translate(s, ctx);
    case IOPF_CTX_REQUEST:
    case IOPF_CTX_CREDIT:
        return iopf_step_request(s, ctx);
    case IOPF_CTX_RESPONDED:
        return iopf_step_responded(s, ctx);
    case IOPF_CTX_DELAY:
        if (!--ctx->delay_left) {
            ctx->state = IOPF_CTX_ACCESS;
        }
        return 1;
    case IOPF_CTX_ACCESS:
        return iopf_step_access(s, ctx);
    case IOPF_CTX_SIMPLE:
        return iopf_step_simple(s, ctx);
    case IOPF_CTX_FENCE:
        iopf_ctx_end(ctx, IOPF_TD_ST_OK);
        return 1;
    case IOPF_CTX_END:
        iopf_ctx_finish(s, ctx);
        return 1;
    default:
        g_assert_not_reached();
    }
}

/* Contexts and the storm, which comes after the last context */
static bool iopf_turn_runnable(IOPFTestDev *s, unsigned turn)
{
    return turn < IOPF_TD_CONTEXTS_MAX
           ? iopf_ctx_runnable(s, &s->contexts[turn])
           : iopf_storm_runnable(s);
}

static int iopf_next_turn(IOPFTestDev *s)
{
    unsigned nr = IOPF_TD_CONTEXTS_MAX + 1;
    unsigned i;

    if (!(s->ctrl & IOPF_TD_CTRL_RUN)) {
        return -1;
    }
    for (i = 0; i < nr; i++) {
        unsigned turn = (s->turn + i) % nr;

        if (iopf_turn_runnable(s, turn)) {
            return turn;
        }
    }
    return -1;
}

bool iopf_engine_runnable(IOPFTestDev *s)
{
    return iopf_can_fetch(s) || iopf_next_turn(s) >= 0;
}

unsigned iopf_engine_step(IOPFTestDev *s)
{
    int turn;

    if (iopf_can_fetch(s)) {
        iopf_fetch(s);
        return 1;
    }
    turn = iopf_next_turn(s);
    if (turn < 0) {
        return 0;
    }
    s->turn = turn + 1;
    if (turn == IOPF_TD_CONTEXTS_MAX) {
        iopf_storm_step(s);
        return 1;
    }
    return iopf_ctx_step(s, &s->contexts[turn]);
}

int64_t iopf_engine_expire(IOPFTestDev *s, int64_t now)
{
    int64_t next = INT64_MAX;
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        IOPFContext *ctx = &s->contexts[i];

        if (ctx->state != IOPF_CTX_PAUSE && ctx->state != IOPF_CTX_CREDIT) {
            continue;
        }
        if (ctx->deadline > now) {
            next = MIN(next, ctx->deadline);
        } else if (ctx->state == IOPF_CTX_PAUSE) {
            ctx->state = IOPF_CTX_CHUNK;
        } else {
            iopf_count(s, IOPF_TD_REG_CNT_TIMEOUT);
            iopf_raise(s, IOPF_TD_IRQ_TIMEOUT);
            iopf_ctx_fail(ctx, IOPF_TD_ST_NO_CREDIT, 0, ctx->request_base);
        }
    }
    return next;
}

static void iopf_engine_invalidate_all(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        s->contexts[i].tlb_valid = false;
    }
}

void iopf_atc_flush(IOPFTestDev *s)
{
    atc_invalidate_all(s->atc, 0, HWADDR_MAX);
    iopf_engine_invalidate_all(s);
    s->inv_seq++;
}

void iopf_engine_abort(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        IOPFContext *ctx = &s->contexts[i];

        if (ctx->state == IOPF_CTX_FREE) {
            continue;
        }
        if (ctx->state != IOPF_CTX_END) {
            iopf_ctx_fail(ctx, IOPF_TD_ST_ABORTED, ctx->ret,
                          iopf_ctx_addr(ctx));
        }
        iopf_ctx_finish(s, ctx);
    }
}

void iopf_engine_reset(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        s->contexts[i].state = IOPF_CTX_FREE;
        s->contexts[i].generation++;
        s->contexts[i].tlb_valid = false;
    }
    s->active = 0;
    s->barrier = false;
    s->turn = 0;
}

/* Whether a descriptor, a group or the storm has to do with a PASID */
static bool iopf_engine_uses_pasid(IOPFTestDev *s, uint32_t pasid)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        if (s->contexts[i].state != IOPF_CTX_FREE &&
            s->contexts[i].tlb_valid && s->contexts[i].pasid == pasid) {
            return true;
        }
    }
    return iopf_groups_use_pasid(s, pasid);
}

void iopf_expire_all(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        s->contexts[i].deadline = INT64_MIN;
    }
    iopf_groups_expire_all(s);
    iopf_kick(s);
}

uint32_t iopf_engine_status(IOPFTestDev *s)
{
    uint32_t status = 0;
    int i;

    if (s->active || s->storm.active ||
        ((s->ctrl & IOPF_TD_CTRL_RUN) && !s->error_stop &&
         s->ring_head != s->ring_tail)) {
        status |= IOPF_TD_STATUS_BUSY;
    }
    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        if (s->contexts[i].state == IOPF_CTX_WAIT) {
            status |= IOPF_TD_STATUS_WAITING;
        }
        if (s->contexts[i].state == IOPF_CTX_STALLED ||
            s->contexts[i].state == IOPF_CTX_ROOM) {
            status |= IOPF_TD_STATUS_STALLED;
        }
        if (iopf_ctx_held(s, &s->contexts[i])) {
            status |= IOPF_TD_STATUS_HELD;
        }
    }
    return status;
}

void iopf_engine_release(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_CONTEXTS_MAX; i++) {
        s->contexts[i].released = true;
    }
    iopf_kick(s);
}

void iopf_engine_init(IOPFTestDev *s)
{
    static const IOPFUpcalls upcalls = {
        .invalidated = iopf_engine_invalidate,
        .uses_pasid = iopf_engine_uses_pasid,
        .response = iopf_pri_response,
        .group_over = iopf_engine_group_over,
        .access_failed = iopf_engine_access_failed,
    };

    s->up = &upcalls;
}

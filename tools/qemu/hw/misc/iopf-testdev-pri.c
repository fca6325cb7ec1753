/*
 * PCIe I/O page fault test endpoint: page request groups
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A response may come in while pci_pri_request_page() runs.  So a group is
 * complete before its last request is sent, and whoever sends has to look at
 * the group afterwards: the generation tells whether it is still the same.
 */

#include "qemu/osdep.h"
#include "trace.h"
#include "iopf-testdev.h"

static void iopf_group_set_state(IOPFTestDev *s, IOPFGroup *g,
                                 IOPFGroupState state)
{
    s->nr_groups[g->state]--;
    g->state = state;
    s->nr_groups[state]++;
}

static void iopf_requests_done(IOPFTestDev *s, uint32_t n)
{
    if (s->pri) {
        pcie_pri_request_done(PCI_DEVICE(s), n);
    }
}

static void iopf_group_unpromise(IOPFTestDev *s, IOPFGroup *g)
{
    iopf_pf(s)->promised -= g->promised;
    g->promised = 0;
    iopf_credits_changed(s);
}

static void iopf_group_free(IOPFTestDev *s, IOPFGroup *g)
{
    iopf_group_unpromise(s, g);
    iopf_requests_done(s, g->requests);
    s->prgi_refs[g->prgi]--;
    g->requests = 0;
    g->generation++;
    iopf_group_set_state(s, g, IOPF_GROUP_FREE);
    iopf_kick(s);
}

static void iopf_log_response(IOPFTestDev *s, const IOPFGroup *g,
                              uint8_t code, uint8_t flags, uint16_t prgi,
                              uint32_t pasid)
{
    uint8_t *rec = iopf_log_record(s, IOPF_TD_RAM_RSPLOG,
                                   IOPF_TD_RSPLOG_ENTRIES, s->rsplog_head);

    stb_p(rec + IOPF_TD_RSP_CODE, code);
    stb_p(rec + IOPF_TD_RSP_FLAGS, flags);
    stw_le_p(rec + IOPF_TD_RSP_PRGI, prgi);
    stl_le_p(rec + IOPF_TD_RSP_PASID, iopf_show_pasid(pasid));
    stl_le_p(rec + IOPF_TD_RSP_COUNT, g ? g->requests : 0);
    stq_le_p(rec + IOPF_TD_RSP_ADDR, g ? g->addr : 0);
    stq_le_p(rec + IOPF_TD_RSP_AGE_NS, g ? iopf_now() - g->sent_ns : 0);
    iopf_log_publish(rec, &s->rsplog_head);
    iopf_raise(s, IOPF_TD_IRQ_RESPONSE);
}

bool iopf_pri_halted(IOPFTestDev *s)
{
    return iopf_pf(s)->pri_failed && !(s->hostile & IOPF_TD_HOSTILE_IGNORE_RF);
}

uint32_t iopf_credits(IOPFTestDev *s)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    const IOPFTestDev *pf = iopf_pf(s);
    uint32_t credits;

    if (!s->pri || !pcie_pri_enabled(pci_dev) || pf->pri_failed ||
        (s->hostile & IOPF_TD_HOSTILE_IGNORE_ALLOC)) {
        return UINT32_MAX;
    }
    credits = pcie_pri_get_credits(pci_dev);
    return credits > pf->promised ? credits - pf->promised : 0;
}

/* The most credits there can be */
static uint32_t iopf_allocation(IOPFTestDev *s)
{
    return MIN(pcie_pri_get_req_alloc(PCI_DEVICE(s)), s->pri_capacity);
}

static IOPFGroup *iopf_group_find_open(IOPFTestDev *s, uint32_t pasid,
                                       uint16_t prgi)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[i];

        if (g->state == IOPF_GROUP_OPEN && g->pasid == pasid &&
            g->prgi == prgi) {
            return g;
        }
    }
    return NULL;
}

static int iopf_prgi_find_unused(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        if (!s->prgi_refs[i]) {
            return i;
        }
    }
    return -EAGAIN;
}

static IOPFGroup *iopf_group_find_free(IOPFTestDev *s, uint16_t prgi)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[(prgi + i) % IOPF_TD_GROUPS_MAX];

        if (g->state == IOPF_GROUP_FREE) {
            return g;
        }
    }
    return NULL;
}

static IOPFGroup *iopf_group_new(IOPFTestDev *s, uint32_t pasid, int prgi,
                                 hwaddr addr)
{
    IOPFGroup *g;

    if (prgi < 0) {
        prgi = iopf_prgi_find_unused(s);
    }
    g = prgi < 0 ? NULL : iopf_group_find_free(s, prgi);
    if (!g) {
        return NULL;
    }
    iopf_group_set_state(s, g, IOPF_GROUP_OPEN);
    s->prgi_refs[prgi]++;
    g->generation++;
    g->prgi = prgi;
    g->pasid = pasid;
    g->requests = 0;
    g->promised = 0;
    g->addr = addr;
    g->sent_ns = iopf_now();
    g->deadline = INT64_MAX;
    g->storm = false;
    return g;
}

int iopf_group_begin(IOPFTestDev *s, uint32_t pasid, int prgi, hwaddr addr,
                     unsigned *pages)
{
    uint32_t credits = iopf_credits(s);
    IOPFGroup *g = NULL;

    if (credits != UINT32_MAX) {
        *pages = MIN(*pages, iopf_allocation(s));
        if (!*pages) {
            return -EDQUOT;
        }
        if (credits < *pages) {
            return -ENOSPC;
        }
    }

    if (s->hostile & IOPF_TD_HOSTILE_FIXED_PRGI) {
        prgi = s->pri_prgi;
    }
    if (prgi >= 0) {
        g = iopf_group_find_open(s, pasid, prgi);
    }
    if (!g) {
        g = iopf_group_new(s, pasid, prgi, addr);
    }
    if (!g) {
        return -EAGAIN;
    }
    if (credits != UINT32_MAX) {
        g->promised += *pages;
        iopf_pf(s)->promised += *pages;
    }
    return g - s->groups;
}

bool iopf_group_extend(IOPFTestDev *s, unsigned group)
{
    IOPFGroup *g = &s->groups[group];
    uint32_t credits = iopf_credits(s);

    if (g->promised || credits == UINT32_MAX) {
        return true;
    }
    if (!credits) {
        return false;
    }
    g->promised++;
    iopf_pf(s)->promised++;
    return true;
}

static int iopf_request_page(IOPFTestDev *s, uint32_t pasid, bool priv,
                             bool exec, hwaddr addr, bool last, uint16_t prgi,
                             bool read, bool write)
{
    const uint32_t *automatic = iopf_counter(s, IOPF_TD_REG_CNT_RSP_AUTO);
    uint32_t before = *automatic;
    IOPFForced saved;
    int ret;

    iopf_force_enables(s, &saved);
    ret = pci_pri_request_page(PCI_DEVICE(s), pasid, priv, exec, addr, last,
                               prgi, read, write);
    iopf_restore_enables(s, &saved);

    trace_iopf_testdev_page_request(pasid, addr, prgi, last, read, write, ret);
    if (!ret) {
        iopf_count(s, IOPF_TD_REG_CNT_PR);
        /* Not if the IOMMU has answered already: software never saw it */
        if (last && *automatic == before) {
            iopf_count(s, IOPF_TD_REG_CNT_PR_LAST);
        }
    } else {
        iopf_count(s, IOPF_TD_REG_CNT_PR_REFUSED);
    }
    return ret;
}

int iopf_group_send(IOPFTestDev *s, unsigned group, bool priv, bool exec,
                    hwaddr addr, bool last, bool read, bool write)
{
    IOPFGroup *g = &s->groups[group];
    uint32_t generation = g->generation;
    int ret;

    if (g->promised) {
        g->promised--;
        iopf_pf(s)->promised--;
    }
    g->requests++;
    if (s->pri) {
        pcie_pri_request_sent(PCI_DEVICE(s));
    }
    g->sent_ns = iopf_now();
    g->deadline = iopf_wait_deadline(s);
    if (last) {
        iopf_group_unpromise(s, g);
        iopf_group_set_state(s, g, IOPF_GROUP_SENT);
    }

    ret = iopf_request_page(s, g->pasid, priv, exec, addr, last, g->prgi,
                            read, write);
    if (ret && g->generation == generation && g->requests) {
        g->requests--;
        iopf_requests_done(s, 1);
        iopf_credits_changed(s);
        if (g->state == IOPF_GROUP_SENT) {
            iopf_group_set_state(s, g, IOPF_GROUP_OPEN);
        }
    }
    return ret;
}

int iopf_send_stop_marker(IOPFTestDev *s, uint32_t pasid)
{
    IOPFForced saved;
    int ret;

    iopf_force_enables(s, &saved);
    ret = pci_pri_request_page(PCI_DEVICE(s), pasid, false, false, 0, true, 0,
                               false, false);
    iopf_restore_enables(s, &saved);
    trace_iopf_testdev_stop_marker(pasid, ret);
    if (!ret) {
        iopf_count(s, IOPF_TD_REG_CNT_STOP_MARKER);
    }
    return ret;
}

/*
 * What the IOMMU answers at once does not get to software: the storm has not
 * really sent these.
 */
static void iopf_storm_unsend(IOPFTestDev *s, const IOPFGroup *g, uint8_t code)
{
    IOPFStorm *st = &s->storm;
    uint32_t requests = MIN(g->requests, st->sent);

    st->sent -= requests;
    st->groups -= !!st->groups;
    if (code == IOPF_TD_RSP_CODE_SUCCESS) {
        st->full += requests;
    } else {
        st->other += requests;
    }
}

static void iopf_group_close(IOPFTestDev *s, IOPFGroup *g, uint8_t code,
                             bool automatic)
{
    IOPFGroupEnd end = {
        .answered = true,
        .automatic = automatic,
        .code = code,
    };
    uint32_t generation = g->generation;
    bool stale = g->state == IOPF_GROUP_STALE;
    bool storm = g->storm;

    iopf_log_response(s, g, code,
                      (automatic ? IOPF_TD_RSP_F_AUTO : 0) |
                      (storm ? IOPF_TD_RSP_F_STORM : 0) |
                      (stale ? IOPF_TD_RSP_F_LATE : 0), g->prgi, g->pasid);
    if (stale) {
        iopf_count(s, IOPF_TD_REG_CNT_RSP_LATE);
    }
    if (automatic && code == IOPF_TD_RSP_CODE_SUCCESS) {
        iopf_count_n(s, IOPF_TD_REG_CNT_PR_FULL, g->requests);
        iopf_raise(s, IOPF_TD_IRQ_OVERFLOW);
    }
    if (storm && automatic) {
        iopf_storm_unsend(s, g, code);
    } else if (storm) {
        s->storm.responses++;
    }
    iopf_group_free(s, g);
    s->up->group_over(s, g - s->groups, generation, end);
    if (storm && automatic && (s->storm.flags & IOPF_TD_STORM_F_STOP)) {
        iopf_storm_end(s);
    }
}

/* Nobody will answer: the contexts that wait end with that status */
static void iopf_group_fail(IOPFTestDev *s, unsigned group,
                            uint32_t generation, uint32_t status)
{
    IOPFGroupEnd end = { .status = status };

    s->up->group_over(s, group, generation, end);
}


void iopf_group_abandon(IOPFTestDev *s, unsigned group)
{
    IOPFGroup *g = &s->groups[group];

    g->deadline = INT64_MAX;
    if (g->state == IOPF_GROUP_SENT) {
        iopf_group_set_state(s, g, IOPF_GROUP_STALE);
    } else if (g->state == IOPF_GROUP_OPEN) {
        iopf_group_unpromise(s, g);
        if (!g->requests) {
            iopf_group_free(s, g);
        }
    }
}

void iopf_group_drop(IOPFTestDev *s, unsigned group)
{
    IOPFGroup *g = &s->groups[group];
    uint32_t generation = g->generation;

    iopf_group_free(s, g);
    iopf_group_fail(s, group, generation, IOPF_TD_ST_ABORTED);
}

void iopf_groups_drop_all(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        if (s->groups[i].state != IOPF_GROUP_FREE) {
            iopf_group_drop(s, i);
        }
    }
}

void iopf_groups_drop_open(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        if (s->groups[i].state == IOPF_GROUP_OPEN) {
            iopf_group_drop(s, i);
        }
    }
}

void iopf_groups_drop_pasids(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        if (s->groups[i].state != IOPF_GROUP_FREE &&
            s->groups[i].pasid != PCI_NO_PASID) {
            iopf_group_drop(s, i);
        }
    }
}

void iopf_groups_abandon(IOPFTestDev *s, bool all, uint32_t pasid)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[i];

        if ((g->state == IOPF_GROUP_OPEN || g->state == IOPF_GROUP_SENT) &&
            (all || g->pasid == pasid)) {
            uint32_t generation = g->generation;

            iopf_group_abandon(s, i);
            iopf_group_fail(s, i, generation, IOPF_TD_ST_ABORTED);
        }
    }
}

uint32_t iopf_groups_requests(IOPFTestDev *s)
{
    uint32_t sum = 0;
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        sum += s->groups[i].requests;
    }
    return sum;
}

bool iopf_groups_use_pasid(IOPFTestDev *s, uint32_t pasid)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        if (s->groups[i].state != IOPF_GROUP_FREE &&
            s->groups[i].pasid == pasid) {
            return true;
        }
    }
    return s->storm.active && (s->storm.flags & IOPF_TD_STORM_F_PASID) &&
           s->storm.pasid == pasid;
}

static void iopf_group_expire(IOPFTestDev *s, unsigned group)
{
    IOPFGroup *g = &s->groups[group];
    uint32_t generation = g->generation;

    trace_iopf_testdev_timeout(g->pasid, g->prgi, g->addr);
    iopf_count(s, IOPF_TD_REG_CNT_TIMEOUT);
    iopf_raise(s, IOPF_TD_IRQ_TIMEOUT);
    iopf_group_abandon(s, group);
    iopf_group_fail(s, group, generation, IOPF_TD_ST_RSP_TIMEOUT);
}

int64_t iopf_groups_expire(IOPFTestDev *s, int64_t now)
{
    int64_t next = INT64_MAX;
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[i];

        if (g->state != IOPF_GROUP_OPEN && g->state != IOPF_GROUP_SENT) {
            continue;
        }
        if (g->deadline <= now) {
            iopf_group_expire(s, i);
        } else {
            next = MIN(next, g->deadline);
        }
    }
    if (s->storm.active && s->storm.blocked) {
        if (s->storm.deadline <= now) {
            iopf_count(s, IOPF_TD_REG_CNT_TIMEOUT);
            iopf_raise(s, IOPF_TD_IRQ_TIMEOUT);
            iopf_storm_end(s);
        } else {
            next = MIN(next, s->storm.deadline);
        }
    }
    return next;
}

void iopf_groups_expire_all(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        s->groups[i].deadline = INT64_MIN;
    }
    s->storm.deadline = INT64_MIN;
}

/*
 * Responses
 */

static uint8_t iopf_response_code(const IOMMUPRIResponse *response)
{
    switch (response->response_code) {
    case IOMMU_PRI_RESP_SUCCESS:
        return IOPF_TD_RSP_CODE_SUCCESS;
    case IOMMU_PRI_RESP_INVALID_REQUEST:
        return IOPF_TD_RSP_CODE_INVALID;
    default:
        /* Reserved codes mean the same */
        return IOPF_TD_RSP_CODE_FAILURE;
    }
}

static void iopf_count_response(IOPFTestDev *s, uint8_t code)
{
    switch (code) {
    case IOPF_TD_RSP_CODE_SUCCESS:
        iopf_count(s, IOPF_TD_REG_CNT_RSP_SUCCESS);
        break;
    case IOPF_TD_RSP_CODE_INVALID:
        iopf_count(s, IOPF_TD_REG_CNT_RSP_INVALID);
        break;
    default:
        iopf_count(s, IOPF_TD_REG_CNT_RSP_FAILURE);
    }
}

/*
 * Software that violates the protocol can have several groups with one index.
 * The oldest one that waits gets the answer, then those given up.
 */
static IOPFGroup *iopf_group_match(IOPFTestDev *s, uint32_t pasid,
                                   uint16_t prgi)
{
    bool any_pasid = pasid == PCI_NO_PASID && !s->rsp_pasid;
    IOPFGroup *best = NULL;
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[i];

        if ((g->state != IOPF_GROUP_SENT && g->state != IOPF_GROUP_STALE) ||
            g->prgi != prgi || (g->pasid != pasid && !any_pasid)) {
            continue;
        }
        if (!best || (best->state == IOPF_GROUP_STALE &&
                      g->state == IOPF_GROUP_SENT) ||
            (best->state == g->state && g->sent_ns < best->sent_ns)) {
            best = g;
        }
    }
    return best;
}

static void iopf_groups_fail(IOPFTestDev *s)
{
    int i;

    for (i = 0; i < IOPF_TD_GROUPS_MAX; i++) {
        IOPFGroup *g = &s->groups[i];
        uint32_t generation = g->generation;

        if (g->state == IOPF_GROUP_FREE) {
            continue;
        }
        /* The PCI core forgot the requests, too */
        g->requests = 0;
        iopf_group_abandon(s, i);
        iopf_group_fail(s, i, generation, IOPF_TD_ST_RSP_FAILURE);
    }
    iopf_raise(s, IOPF_TD_IRQ_PRI_ERROR);
}

/* A Response Failure ends everything until PRI is enabled anew */
static void iopf_pri_fail(IOPFTestDev *s)
{
    IOPFTestDev *f;
    unsigned n;

    pcie_pri_response_failure(PCI_DEVICE(s));
    iopf_pf(s)->pri_failed = true;
    for (n = 0; (f = iopf_function(s, n)); n++) {
        iopf_groups_fail(f);
    }
    iopf_credits_changed(s);
}

void iopf_pri_response(IOPFTestDev *s, const IOMMUPRIResponse *response)
{
    uint8_t code = iopf_response_code(response);
    uint16_t prgi = response->prgi & PCI_PRI_PRGI_MASK;
    IOPFGroup *g = iopf_group_match(s, response->pasid, prgi);

    trace_iopf_testdev_response(response->pasid, prgi, code, !!g);
    if (response->automatic) {
        iopf_count(s, IOPF_TD_REG_CNT_RSP_AUTO);
    } else {
        iopf_count_response(s, code);
    }
    if (s->hostile & IOPF_TD_HOSTILE_IGNORE_RSP) {
        iopf_log_response(s, g, code, IOPF_TD_RSP_F_IGNORED, prgi,
                          response->pasid);
        return;
    }
    if (!g) {
        iopf_count(s, IOPF_TD_REG_CNT_RSP_UNMATCHED);
        iopf_log_response(s, NULL, code, IOPF_TD_RSP_F_UNMATCHED, prgi,
                          response->pasid);
        pcie_pri_unexpected_prgi(PCI_DEVICE(s));
        iopf_raise(s, IOPF_TD_IRQ_PRI_ERROR);
        return;
    }
    iopf_group_close(s, g, code, response->automatic);
    if (code == IOPF_TD_RSP_CODE_FAILURE) {
        iopf_pri_fail(s);
    }
}

/*
 * Storm
 */

static uint32_t iopf_storm_pasid(IOPFTestDev *s)
{
    return s->storm.flags & IOPF_TD_STORM_F_PASID ? s->storm.pasid
                                                   : PCI_NO_PASID;
}

void iopf_storm_end(IOPFTestDev *s)
{
    IOPFStorm *st = &s->storm;

    if (!st->active) {
        return;
    }
    st->active = false;
    st->blocked = false;
    if (!st->group_none &&
        s->groups[st->group].generation == st->group_generation) {
        IOPFGroup *g = &s->groups[st->group];

        if (g->state == IOPF_GROUP_OPEN) {
            iopf_group_abandon(s, st->group);
        }
    }
    st->group_none = true;
    iopf_raise(s, IOPF_TD_IRQ_STORM);
}

void iopf_storm_start(IOPFTestDev *s)
{
    IOPFStorm *st = &s->storm;

    iopf_storm_end(s);
    st->sent = st->full = st->other = st->dropped = 0;
    st->groups = st->responses = 0;
    st->ret = 0;
    st->position = 0;
    st->group_none = true;
    st->blocked = false;
    st->active = true;
    iopf_kick(s);
}

bool iopf_storm_runnable(IOPFTestDev *s)
{
    return s->storm.active &&
           (!s->storm.blocked || s->storm.credit_seq != iopf_pf(s)->credit_seq);
}

/* No credit or group: wait, or leave the request out */
static void iopf_storm_block(IOPFTestDev *s, int why)
{
    IOPFStorm *st = &s->storm;

    if (why == -EDQUOT ||
        (st->flags & (IOPF_TD_STORM_F_NO_WAIT | IOPF_TD_STORM_F_NO_LAST))) {
        st->dropped++;
        st->position++;
        return;
    }
    if (!st->blocked) {
        st->deadline = iopf_wait_deadline(s);
    }
    st->blocked = true;
    st->credit_seq = iopf_pf(s)->credit_seq;
}

static bool iopf_storm_have_group(IOPFTestDev *s, hwaddr addr)
{
    IOPFStorm *st = &s->storm;
    unsigned pages = 1;
    int ret;

    if (!st->group_none &&
        s->groups[st->group].generation == st->group_generation &&
        s->groups[st->group].state == IOPF_GROUP_OPEN) {
        if (iopf_group_extend(s, st->group)) {
            return true;
        }
        iopf_storm_block(s, -ENOSPC);
        return false;
    }

    ret = iopf_group_begin(s, iopf_storm_pasid(s), -1, addr, &pages);
    if (ret < 0) {
        iopf_storm_block(s, ret);
        return false;
    }
    st->group = ret;
    st->group_generation = s->groups[ret].generation;
    st->group_none = false;
    st->group_position = 0;
    s->groups[ret].storm = true;
    return true;
}

/* Whether the next request ends its group */
static bool iopf_storm_is_last(IOPFTestDev *s)
{
    IOPFStorm *st = &s->storm;

    if (st->flags & IOPF_TD_STORM_F_NO_LAST) {
        return false;
    }
    /* A group that uses up the allocation could never be completed */
    return st->position + 1 == st->count ||
           (st->group_size && st->group_position + 1 >= st->group_size) ||
           !iopf_credits(s);
}

/* Not sent at all */
static void iopf_storm_refused(IOPFTestDev *s, int ret, bool last,
                               uint32_t generation)
{
    IOPFStorm *st = &s->storm;

    st->ret = ret;
    st->other++;
    st->sent--;
    st->groups -= last;
    if (!st->group_none && s->groups[st->group].generation == generation) {
        iopf_group_drop(s, st->group);
    }
    if (st->flags & IOPF_TD_STORM_F_STOP) {
        iopf_storm_end(s);
    }
}

void iopf_storm_step(IOPFTestDev *s)
{
    IOPFStorm *st = &s->storm;
    hwaddr addr = st->addr + (uint64_t)st->position * st->stride;
    uint32_t generation;
    bool last;
    int ret;

    if (st->position >= st->count) {
        iopf_storm_end(s);
        return;
    }
    /* Once is enough: a storm keeps its PASID in use */
    ret = st->position ? 0 : iopf_pasid_use(s, iopf_storm_pasid(s));
    if (!ret && iopf_pri_halted(s)) {
        ret = -EIO;
    }
    if (ret) {
        st->other++;
        st->ret = ret;
        iopf_storm_end(s);
        return;
    }
    if (!iopf_storm_have_group(s, addr)) {
        return;
    }
    st->blocked = false;

    last = iopf_storm_is_last(s);
    generation = st->group_generation;
    st->position++;
    st->group_position++;
    st->sent++;
    st->groups += last;
    ret = iopf_group_send(s, st->group, false, false, addr, last,
                          st->flags & IOPF_TD_STORM_F_READ,
                          st->flags & IOPF_TD_STORM_F_WRITE);
    if (ret) {
        iopf_storm_refused(s, ret, last, generation);
    }
}

/*
 * What the qtests of iopf-testdev have in common: PCI and the endpoint
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No guest runs: a test writes the tables and descriptors that an operating
 * system would write, and has iopf-testdev functions issue requests.  The
 * functions assert that what they do works, so there are no errors to return.
 */

#ifndef TESTS_QTEST_IOPF_QTEST_H
#define TESTS_QTEST_IOPF_QTEST_H

#include "libqtest.h"
#include "hw/pci/pci_regs.h"
#include "hw/misc/iopf-testdev-regs.h"

#define PAGE            0x1000ULL
#define IOVA            0x40000000ULL   /* first of the 512 pages of a table */

/* Permissions asked for, and granted */
#define WANT_R          IOPF_TD_F_READ
#define WANT_W          IOPF_TD_F_WRITE
#define WANT_RW         (IOPF_TD_F_READ | IOPF_TD_F_WRITE)
#define PERM_R          IOPF_TD_TRREC_READ
#define PERM_W          IOPF_TD_TRREC_WRITE
#define PERM_RW         (PERM_R | PERM_W)
#define PERM_X          IOPF_TD_TRREC_EXEC
#define PERM_P          IOPF_TD_TRREC_PRIV

/* Codes of responses as in the protocol */
#define RSP_SUCCESS     IOPF_TD_RSP_CODE_SUCCESS
#define RSP_INVALID     IOPF_TD_RSP_CODE_INVALID
#define RSP_FAILURE     IOPF_TD_RSP_CODE_FAILURE

/* In place of a PASID */
#define NOP             IOPF_TD_NO_PASID

typedef struct Test Test;

/* Where the configuration space is, and room for BARs; one is linked in */
typedef struct Machine {
    uint64_t mmcfg, bars;
} Machine;

extern const Machine machine;

/*
 * An iopf-testdev function.
 * @bdf: bus, device and function, which is the requester ID
 * @ats, @pri, @pasid, @exp, @sriov: offsets of the capabilities, 0 for none
 * @ring_mask, @tail: state of the descriptor ring
 */
typedef struct Endpoint {
    Test *t;
    QTestState *qts;
    uint16_t bdf;
    uint64_t bar0, bar2, bar4;
    uint16_t ats, pri, pasid, exp, sriov;
    uint32_t ring_mask;
    uint32_t tail;
} Endpoint;

/*
 * A machine, with the state of the queues of its IOMMU.
 * @ep: functions of the test, at 4.0 and 5.0 if it needs no others
 */
struct Test {
    QTestState *qts;
    unsigned iq_tail;
    bool iq_held;
    unsigned prq_head, prq_order, evq_head;
    Endpoint ep[2];
};

/*
 * Whatever the device does happens in a bottom half, some rounds of the main
 * loop away; time stands still unless the test moves it.
 */
#define WAIT_FOR(qts, condition) \
    do { \
        int tries_ = 0; \
        while (!(condition)) { \
            g_assert_cmpint(tries_++, <, 100000); \
            qtest_clock_step((qts), 10000); \
        } \
    } while (0)

/* A machine with these options, whose functions have no addresses yet */
Test *test_new(const char *args);
void test_end(Test *t);
/*
 * Stop the machine, and go on with its state in one with these options.  What
 * knows it by other pointers than those of @t has to learn of the new one.
 */
void migrate_machine(Test *t, const char *args);
/* Whether QEMU starts with that machine and more options */
bool machine_starts(const char *args, const char *more);

/* Configuration space */

uint64_t cfg_addr(Endpoint *ep, uint16_t offset);
uint16_t cfg_readw(Endpoint *ep, uint16_t offset);
uint32_t cfg_readl(Endpoint *ep, uint16_t offset);
void cfg_writew(Endpoint *ep, uint16_t offset, uint16_t val);
void cfg_writel(Endpoint *ep, uint16_t offset, uint32_t val);
/* Returns: offset, 0 if there is none */
uint16_t find_ext_cap(Endpoint *ep, uint16_t id);
/* It has to be there */
uint8_t find_cap(Endpoint *ep, uint8_t id);

/*
 * Let accesses through the root port at @bdf to @ep, on a bus of its own: to
 * its slot and the next one
 */
void enable_root_port(Endpoint *ep, uint16_t bdf);
/* Endpoint */

uint32_t ep_readl(Endpoint *ep, uint32_t reg);
uint64_t ep_readq(Endpoint *ep, uint32_t reg);
void ep_writel(Endpoint *ep, uint32_t reg, uint32_t val);
void ep_writeq(Endpoint *ep, uint32_t reg, uint64_t val);

/*
 * Address a function of @t.  @slot says where its BARs go: there is room for
 * 16 MiB of device RAM, and for 16 functions.
 */
void ep_init(Endpoint *ep, Test *t, uint16_t bdf, unsigned slot);
void ep_find_caps(Endpoint *ep);
/* Give it its addresses, make it a bus master and find its capabilities */
void ep_map(Endpoint *ep);
/* Enable PASID, ATS and PRI, as far as it has them */
void ep_enable(Endpoint *ep, uint32_t allocation);
/*
 * Enable @n virtual functions of @pf, which are addressed by @vf then; their
 * BARs go to @slot.  They have the usual 4 MiB of device RAM.
 */
void enable_vfs(Endpoint *pf, Endpoint *vf, unsigned n, unsigned slot);
/* Again after a reset of the VF */
void enable_vf(Endpoint *vf);
void ep_start_ring(Endpoint *ep, unsigned log2, unsigned contexts);
/* All of that for the functions of the test, with @allocation credits each */
void start_endpoints(Test *t, uint32_t allocation);

/* What software writes of a descriptor, see iopf-testdev-regs.h */
typedef struct Desc {
    uint8_t op, mode;
    uint16_t flags;
    uint32_t pasid;
    uint64_t iova;
    uint32_t length;
    uint32_t ram;
    uint32_t data;
    uint16_t prgi, delay;
} Desc;

uint64_t ep_desc_addr(Endpoint *ep, uint32_t index);
/* Write a descriptor. Returns: its address, what the others want */
uint64_t ep_put(Endpoint *ep, const Desc *d);
/* Ring the doorbell */
void ep_ring(Endpoint *ep);
/* Both of them */
uint64_t ep_start(Endpoint *ep, const Desc *d);
uint32_t ep_desc_status(Endpoint *ep, uint64_t desc);
int32_t ep_desc_ret(Endpoint *ep, uint64_t desc);
/* Wait for the end. Returns: status */
uint32_t ep_finish(Endpoint *ep, uint64_t desc);
uint32_t ep_run(Endpoint *ep, const Desc *d);
/* Run it, expect that status */
void ep_check(Endpoint *ep, const Desc *d, uint32_t status);
/* Run it, expect any failure, and that errno of the PCI core */
void ep_check_ret(Endpoint *ep, const Desc *d, int32_t ret);
Desc with_pasid(Desc d, uint32_t pasid);

/*
 * A write of four bytes to an untranslated address, one transaction even where
 * it is refused. Returns: status
 */
uint32_t ep_write_untranslated(Endpoint *ep, uint64_t iova);
/* A read, likewise */
uint32_t ep_read_untranslated(Endpoint *ep, uint64_t iova);
/* A write to an address that the function takes for a translated one */
uint32_t ep_write_raw(Endpoint *ep, uint64_t addr);
/* An untranslated write has to arrive at @addr */
void check_untranslated(Endpoint *ep, uint64_t iova, uint64_t addr);
/* A translation request that ignores the cache of the device */
typedef struct Translation {
    uint32_t status;
    int32_t ret;
    uint64_t iova, addr, size;
    uint32_t perm;
} Translation;

Translation translate(Endpoint *ep, uint32_t pasid, uint64_t iova,
                      uint16_t want);
/* @addr is compared if @perm is not 0 */
void check_translation(Endpoint *ep, uint32_t pasid, uint64_t iova,
                       uint16_t want, uint64_t addr, uint64_t size,
                       uint32_t perm);
/* Fill the cache of the device by a write of one page */
void fill_atc(Endpoint *ep, uint32_t pasid, uint64_t iova);
bool in_atc(Endpoint *ep, uint32_t pasid, uint64_t iova);

/* Page requests in one group, without waiting for the response */
Desc group_request(uint32_t pasid, uint64_t iova, uint32_t pages,
                   uint16_t want, uint16_t prgi);

/* Record of the response log */
typedef struct Response {
    uint8_t code, flags;
    uint16_t prgi;
    uint32_t pasid, count;
    uint64_t addr;
} Response;

Response last_response(Endpoint *ep);
/* Compare with the last one; @count is of requests */
void check_response(Endpoint *ep, uint8_t code, uint8_t flags, uint16_t prgi,
                    uint32_t pasid, uint32_t count);

/* The same, if it has been the only one so far */
void check_only_response(Endpoint *ep, uint8_t code, uint16_t prgi,
                         uint32_t pasid, uint32_t count);
/* Whether the function has had an answer that it did not expect; forgets it */
bool take_unexpected(Endpoint *ep);

/* Make a page request that the IOMMU answers by itself, with that code */
void check_automatic(Endpoint *ep, const Desc *d, uint8_t code);

/*
 * Page requests, as software sees them.  The library of the IOMMU has these.
 */

typedef struct Request {
    uint16_t rid;
    uint32_t pasid;
    uint64_t addr;
    uint16_t prgi;
    bool read, write, last;
} Request;

/* Waits for it */
Request take_request(Test *t);
/* @code as in the protocol */
void page_response(Endpoint *ep, uint32_t pasid, uint8_t code, uint16_t prgi);

/* Take a request, which is that of a function; @prgi may be NULL */
void check_request(Endpoint *ep, uint64_t addr, uint32_t pasid, bool read,
                   bool write, bool last, uint16_t *prgi);

/*
 * Page tables with entries of eight bytes, 512 in a page
 */

/*
 * Four levels, one page each, from @tables on: all that leads to the entries
 * of the 512 pages at IOVA
 */
void write_paging(Test *t, uint64_t tables, uint64_t flags);
uint64_t leaf_addr(uint64_t tables, uint64_t iova);
void write_leaf(Test *t, uint64_t tables, uint64_t iova, uint64_t pte);
uint64_t read_leaf(Test *t, uint64_t tables, uint64_t iova);
/* Entry of the level above */
void write_leaf_2m(Test *t, uint64_t tables, uint64_t iova, uint64_t pte);

/*
 * Endpoint and cache
 */

/* Withhold the completions of invalidations, or no longer */
void hold_inv(Endpoint *ep, bool on);
/* Function Level Reset */
void reset_function(Endpoint *ep);
/* Eight bytes to IOVA by way of the cache. Returns: what is at @addr then */
uint64_t write_translated(Endpoint *ep, uint64_t addr);
/* Memory against what a FILL with that DATA leaves */
void check_pattern(QTestState *qts, uint64_t addr, uint32_t seed,
                   uint32_t length);

#endif

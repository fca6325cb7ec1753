/*
 * Test cases about page requests that are the same for each IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_IOPF_PRI_CASES_H
#define TESTS_QTEST_IOPF_PRI_CASES_H

#include "iopf-qtest.h"

/* Map a page to @addr for requests without PASID */
typedef void MapPage(Endpoint *ep, uint64_t iova, uint64_t addr, bool write);

/*
 * The whole way: miss, page request, page mapped, response, transfer done.  Of
 * the memory for devices it takes three pages from @addr on.
 */
void check_demand_paging(Endpoint *ep, uint64_t addr, MapPage *map);

/*
 * Software forgets the PASID in its answer, or has a wrong one: the device gets
 * it all the same, finds no such group and says so.
 */
void check_wrong_pasid(Test *t, uint32_t pasid);

/* The smallest translation unit, a power of two of pages; switches PRI off */
void set_stu(Endpoint *ep, unsigned stu);

/*
 * Answers to translation requests are about no less than the smallest
 * translation unit; that at IOVA is mapped to @addr by @map.
 */
void check_translation_unit(Endpoint *ep, uint64_t addr, MapPage *map);

/*
 * A unit can have 2^31 pages, which are too many to look at each.  None of them
 * is mapped at @iova, or all of them are to themselves.
 */
void check_largest_unit(Endpoint *ep, uint64_t iova);

/* A stop marker that the IOMMU does not take is lost: nobody waits for it */
void check_stop_marker_lost(Endpoint *ep);

/* Page requests are messages, for which a function need not be bus master */
void check_without_bus_master(Endpoint *ep);

/* A machine whose IOMMU is up, with further options */
typedef Test *StartTest(const char *options);

/* The architecture trusts a device to count its requests, and to stop */
void check_guest_errors(StartTest *start);

/*
 * More invalidations at a time than the function takes.  @invalidate sends one
 * and says that so many may be pending.
 */
typedef void SendInvalidation(Endpoint *ep, unsigned int pending);
void check_inv_depth(StartTest *start, SendInvalidation *invalidate);

#endif

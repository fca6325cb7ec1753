/*
 * Anything anywhere: the part that does not depend on the IOMMU
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Software that does not know what it is doing, or means ill: tables, queues,
 * registers, descriptors and configuration space are written at random, near
 * enough to what makes sense that the models get far.  QEMU has to survive,
 * and everything has to work after a reset.
 *
 * IOPF_FUZZ_STEPS and IOPF_FUZZ_SEED in the environment are for longer runs.
 * The same seed does the same again.
 */

#ifndef TESTS_QTEST_IOPF_FUZZ_H
#define TESTS_QTEST_IOPF_FUZZ_H

#include "iopf-qtest.h"

/* PASIDs with good entries */
#define FUZZ_PASIDS     5
/* The one that a fault of is served in the end, besides requests without */
#define FUZZ_PASID      3

#define FUZZ_ROOT_PORT  (6 << 3)

/* One on the root complex, one that comes and goes, a VF of the first */
#define FUZZ_FUNCTIONS  3

typedef struct Fuzz Fuzz;

/*
 * What the test of an IOMMU brings along.
 * @tables, @tables_end: guest memory with its tables
 * @data, @memory_end: that for devices, and the end of memory
 * @special: an address range that is no memory
 * @low: the lowest address; not where flash is, as each write to that changes
 *     the memory map, and takes its time and space
 * @iommu_register: write one of the IOMMU's registers
 * @command: give it a command
 * @change_tables: write to its tables
 * @flush: have its caches forget all that
 * @invalidate: invalidate what devices have cached
 * @answer: answer page requests, which may be nobody's
 * @repair: good tables for all functions, and an IOMMU that uses them
 * @boot: what firmware does first, or NULL
 * @slot: let the device in the slot of the root port go, or a new one in
 * @start: after a reset, the same with FUZZ_PASID and nothing mapped
 * @map: map the first page of IOVA, for both, to @data
 * @unmap: take that back, from all caches of @ep too
 * @check_no_fault: there was none
 * @check: instead of these four; in the end, everything has to work
 * @mode: of most descriptors
 */
typedef struct FuzzOps {
    uint64_t tables, tables_end, data, memory_end, special, low;
    void (*iommu_register)(Fuzz *f);
    void (*command)(Fuzz *f);
    void (*change_tables)(Fuzz *f);
    void (*flush)(Fuzz *f);
    void (*invalidate)(Fuzz *f);
    void (*answer)(Fuzz *f);
    void (*repair)(Fuzz *f);
    void (*boot)(Fuzz *f);
    void (*slot)(Fuzz *f, bool on);
    void (*start)(Fuzz *f);
    void (*map)(Fuzz *f);
    void (*unmap)(Endpoint *ep);
    void (*check_no_fault)(Fuzz *f);
    void (*check)(Fuzz *f);
    uint8_t mode;
} FuzzOps;

/*
 * @plugged: counts the devices at the root port
 * @control: for the IOMMU's part
 */
struct Fuzz {
    Test *t;
    const FuzzOps *ops;
    Endpoint vf;
    GRand *rand;
    unsigned plugged;
    uint32_t control;
};

/* Below n */
uint32_t pick(Fuzz *f, uint32_t n);
uint64_t random64(Fuzz *f);
Endpoint *endpoint(Fuzz *f, unsigned n);
Endpoint *pick_endpoint(Fuzz *f);
/* A requester ID, which may be anybody's */
uint64_t pick_rid(Fuzz *f);
uint32_t pick_pasid(Fuzz *f);
/* A page that means something to somebody, most of the time */
uint64_t pick_page(Fuzz *f);
uint64_t pick_iova(Fuzz *f);
uint64_t pick_register_value(Fuzz *f);
/* One bit changed now and then, or some more */
uint64_t disturb(Fuzz *f, uint64_t val);
void write_words(Fuzz *f, uint64_t addr, const uint64_t *words, unsigned n);
/* 512 entries to data, some missing, at each of @n addresses with its flags */
void fuzz_leaves_good(Fuzz *f, const uint64_t *tables, const uint64_t *flags,
                      unsigned n);

/* Reset the machine, and do what firmware does */
void fuzz_reset(Fuzz *f);
/* Run it, on a machine with that IOMMU */
void fuzz(const char *machine_args, const FuzzOps *ops);

#endif

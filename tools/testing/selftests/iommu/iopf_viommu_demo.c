// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs a guest to invalidate what it has changed in its tables: by a ring of its
 * own that AMD's hardware works off, and through IOMMU_HWPT_INVALIDATE.
 *
 * This program is the guest and its VMM; a test endpoint 1234:11f0 works with the guest's
 * tables. Nothing that is printed is taken for granted: where a transfer ends is looked
 * at, system calls are counted, and the hardware and the kernel tell how many commands
 * they have carried out.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest.h"

#include "iopf_cost.h"
#include "iopf_viommu_rings.h"

static const char usage[] =
"Usage: iopf_viommu_demo [--instructions]\n"
"Be a guest whose IOMMU AMD's hardware works off, and one without that, and tell\n"
"what an invalidation costs both. Takes the first endpoint 1234:11f0 on vfio-pci.\n"
"\n"
"  --instructions  fail where the clock is no count of instructions, instead of\n"
"                  leaving them out; it is one in QEMU with -smp 1 -icount shift=0\n"
"\n"
"Exit status: 0 passed, 1 failed, 2 something is in the way, 64 wrong call.\n";

enum { PASSED = 0, FAILED = 1, IN_THE_WAY = 2, WRONG_CALL = 64 };

/* Where the device works: no two places have an entry side by side. */
#define GVA		0x123456789000ULL
#define PLACE(nr)	(GVA + (nr) * 0x100000ULL)
#define MANY		32
/* What the guest calls the device, and its address space */
#define DEVICE_ID	0x10
#define DOMAIN_ID	7

#define CURE "boot with amd_iommu=hw_viommu, then 'dmesg | grep vIOMMUs' tells what it lacks"

/* Half of them with system calls counted, half with instructions */
#define ROUNDS		8

/* COMPLETION_WAIT, and where it stores */
#define WAIT_TYPE	1
#define WAIT_ADDR	0x000ffffffffffff8ULL

struct demo {
	struct hw_guest hw;
	struct guest_dev dev;
	struct found found;
	__u64 page[MANY][2];
	unsigned int reached[MANY];	/* which of the two the device reaches */
	__u32 head;			/* of the ring, for a VMM that reads it */
	bool counts;			/* instructions, too */
};

struct cost {
	unsigned int commands;
	unsigned int calls;
	__u64 instructions;
};

/* How commands come to be carried out that the guest has put into its ring */
struct way {
	const char *name;
	const char *who;	/* carries them out, and tells how many it has */
	int (*finish)(struct demo *d, unsigned int *done);
	struct cost one, many;
};

/* The guest writes the tail, and the hardware reads the ring. */
static int finish_by_ring(struct demo *d, unsigned int *done)
{
	struct hw_guest *hw = &d->hw;
	__u32 head = d->head;

	if (!complete(hw))
		return iopf_err(-EPROTO, "the ring has stopped, status %#x",
				vf_read(hw, VF_STATUS));
	d->head = vf_read(hw, VF_CMD);
	*done = (d->head - head) % RING_SIZE / 16;
	return 0;
}

/*
 * The guest's write of the tail has ended in the VMM, which reads the ring. It carries
 * COMPLETION_WAIT out by itself, which the kernel takes from nobody.
 */
static int finish_by_ioctl(struct demo *d, unsigned int *done)
{
	struct iopf_amd_invalidate cmd[RING_ENTRIES];
	struct guest *guest = &d->hw.g;
	struct ring *ring = &d->hw.ring[CMD];
	__u32 nr = 0;
	int ret;

	put_wait(&d->hw);
	for (; d->head != ring->pos; d->head = (d->head + 16) % RING_SIZE) {
		const __u64 *entry = host(guest, ring->gpa + d->head);

		if (TYPE(entry[0]) != WAIT_TYPE) {
			memcpy(&cmd[nr++], entry, sizeof(cmd[0]));
			continue;
		}
		ret = invalidate_array(guest, guest->viommu_id, cmd, nr, done);
		if (ret)
			return ret;
		nr = 0;
		*(__u64 *)host(guest, entry[0] & WAIT_ADDR) = entry[1];
	}
	return is_stored(&d->hw) ? 0 : iopf_err(-EPROTO, "no COMPLETION_WAIT");
}

static __u64 old_page(const struct demo *d, unsigned int place)
{
	return d->page[place][d->reached[place]];
}

static __u64 new_page(const struct demo *d, unsigned int place)
{
	return d->page[place][!d->reached[place]];
}

/* Does the device write to @to, and nothing to @other? */
static int writes(struct demo *d, unsigned int place, __u64 to, __u64 other)
{
	const char *mem = host(&d->hw.g, other);
	int ret;

	memset(host(&d->hw.g, other), 0, 4096);
	ret = arrives(&d->dev, PLACE(place), to);
	if (!ret && (*mem || memcmp(mem, mem + 1, 4095)))
		ret = iopf_err(-EXDEV, "%#llx: in page %#llx, too", PLACE(place),
			       other);
	return ret;
}

/*
 * Change the entries of @nr places. The device has used them, and what it has of them is
 * still in use: that is what makes the guest invalidate them.
 */
static int change(struct demo *d, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = writes(d, i, old_page(d, i), new_page(d, i));
	for (i = 0; i < nr && !ret; i++)
		amd->set_page(&d->dev.space, PLACE(i), new_page(d, i));
	for (i = 0; i < nr && !ret; i++)
		ret = writes(d, i, old_page(d, i), new_page(d, i));
	return ret;
}

/* The new pages are reached, and the old ones are not any more. */
static int changed(struct demo *d, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		ret = writes(d, i, new_page(d, i), old_page(d, i));
		d->reached[i] = !d->reached[i];
	}
	return ret;
}

static int invalidate_places(struct demo *d, const struct way *way, unsigned int nr,
			     unsigned int *done)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		put_page_inv(&d->hw, &d->dev, PLACE(i));
	return way->finish(d, done);
}

static int with_calls(struct demo *d, const struct way *way, unsigned int nr,
		      struct cost *cost)
{
	int ret = calls_begin(), failed;

	if (ret)
		return ret;
	failed = invalidate_places(d, way, nr, &cost->commands);
	cost->calls = calls_end();
	return failed;
}

static int with_instructions(struct demo *d, const struct way *way, unsigned int nr,
			     struct cost *cost)
{
	__u64 begin = instructions();
	int ret = invalidate_places(d, way, nr, &cost->commands);

	cost->instructions = instructions() - begin;
	return ret;
}

/* The most system calls of all rounds, and the fewest instructions: an interrupt adds some. */
static int measure(struct demo *d, const struct way *way, unsigned int nr,
		   struct cost *cost)
{
	struct cost now = { 0 };
	unsigned int i;
	int ret = 0;

	*cost = (struct cost){ .instructions = ~0ULL };
	for (i = 0; i < ROUNDS && !ret; i++) {
		ret = change(d, nr);
		if (!ret)
			ret = i & 1 ? with_instructions(d, way, nr, &now) :
				      with_calls(d, way, nr, &now);
		if (!ret)
			ret = changed(d, nr);
		if (i & 1 && now.instructions < cost->instructions)
			cost->instructions = now.instructions;
		if (now.calls > cost->calls)
			cost->calls = now.calls;
		if (i && now.commands != cost->commands && !ret)
			ret = iopf_err(-EPROTO, "%u commands carried out, then %u",
				       cost->commands, now.commands);
		cost->commands = now.commands;
	}
	return ret;
}

/* What is shown */

static void show_entry(struct demo *d, const char *what, __u64 *entry, __u64 next)
{
	struct guest *guest = &d->hw.g;
	__u64 offset = (char *)entry - guest->mem;

	printf("   %-9s %3llu  %#11llx  %#014llx -> %#-11llx %p\n", what, offset % 4096 / 8,
	       GPA + offset, *entry, next, entry);
}

/* All that leads from the table of PASIDs to the page */
static void show_tables(struct demo *d, __u64 gva)
{
	struct guest *guest = &d->hw.g;
	__u64 table, *entry = host(guest, d->dev.space.table);
	char level[24];
	int i;

	printf("   table   entry  for guest     what is there    leads to    for host\n");
	table = x86_next(*entry);
	show_entry(d, "of PASIDs", entry, table);
	for (i = 4; i && table; i--) {
		entry = x86_entry(guest, table, gva, i);
		table = x86_next(*entry);
		snprintf(level, sizeof(level), "level %d", i);
		show_entry(d, level, entry, table);
	}
}

static void show_guest(const struct demo *d)
{
	const struct hw_guest *hw = &d->hw;

	printf("1. A guest, whose VMM is this program too, and whose IOMMU is the hardware's\n"
	       "   guest's view: memory from %#llx on, device %#x, domain ID %u,\n"
	       "                 rings of %u entries at %#llx, %#llx, %#llx\n"
	       "   host's view:  memory from %p on, device %s, vIOMMU %u,\n"
	       "                 HWPT %u (parent %u), registers of the guest mapped at %p\n",
	       GPA, d->dev.virt_id, d->dev.space.domain, RING_ENTRIES,
	       hw->ring[CMD].gpa, hw->ring[EVENT].gpa, hw->ring[PPR].gpa, hw->g.mem,
	       d->found.bdf[0], hw->g.viommu_id, d->dev.space.hwpt_id,
	       hw->g.parent_id, hw->vf);
}

static void show_commands(const struct demo *d, __u32 from)
{
	static const char * const names[] = {
		[WAIT_TYPE] = "COMPLETION_WAIT",
		[3] = "INVALIDATE_IOMMU_PAGES",
		[4] = "INVALIDATE_IOTLB_PAGES",
	};
	const struct ring *ring = &d->hw.ring[CMD];

	for (; from != ring->pos; from = (from + 16) % RING_SIZE) {
		const __u64 *entry = host(&d->hw.g, ring->gpa + from);
		unsigned int type = TYPE(entry[0]);

		printf("   %#llx: %016llx %016llx  %s\n", ring->gpa + from, entry[0],
		       entry[1], type < ARRAY_SIZE(names) && names[type] ?
		       names[type] : "?");
	}
}

/* One change and its invalidation, step by step */
static int show_change(struct demo *d, const struct way *way)
{
	__u64 old = old_page(d, 0), new = new_page(d, 0);
	__u32 from = d->hw.ring[CMD].pos;
	struct cost cost;
	int ret = change(d, 1);

	if (ret)
		return ret;
	printf("   the guest's entry of level 1 leads to %#llx now, no more to %#llx\n"
	       "   the device writes: in %#llx, as the old entry is remembered\n",
	       new, old, old);
	ret = with_calls(d, way, 1, &cost);
	if (ret)
		return ret;
	printf("   the guest invalidates:\n");
	show_commands(d, from);
	printf("   commands that %s has carried out: %u, system calls: %u\n", way->who,
	       cost.commands, cost.calls);
	ret = changed(d, 1);
	if (!ret)
		printf("   the device writes: in %#llx\n\n", new);
	return ret;
}

static void show_row(const char *what, __u64 ring, __u64 ioctls)
{
	printf("   %-33s %12llu %24llu\n", what, ring, ioctls);
}

static void show_costs(const struct demo *d, const struct cost *ring,
		       const struct cost *ioctls)
{
	show_row("   system calls", ring->calls, ioctls->calls);
	if (d->counts)
		show_row("   guest instructions", ring->instructions,
			 ioctls->instructions);
	show_row("   commands carried out", ring->commands, ioctls->commands);
}

static void show_table(const struct demo *d, const struct way *ring,
		       const struct way *ioctls)
{
	printf("4. What an invalidation takes\n"
	       "   %-33s %12s %24s\n   1 page\n", "", ring->name, ioctls->name);
	show_costs(d, &ring->one, &ioctls->one);
	printf("   %d pages, far from each other\n", MANY);
	show_costs(d, &ring->many, &ioctls->many);
	printf("   Not in it: the exit to the VMM, which only the second one needs, and what the\n"
	       "   IOMMU does. COMPLETION_WAIT is carried out by the VMM there.\n");
	if (d->counts)
		printf("   Instructions: of guest, VMM and kernel, in the best of %d rounds.\n",
		       ROUNDS / 2);
	else
		printf("   Guest instructions are left out: the clock does not count them\n"
		       "   here. It does in QEMU with one processor and -icount shift=0.\n");
}

/* The steps */

/* The counting is tried first: what it tells of the ring has to mean something. */
static int try_calls(void)
{
	unsigned int i, nr;
	int ret = calls_begin();

	if (ret)
		return ret;
	for (i = 0; i < 3; i++)
		close(-1);
	nr = calls_end();
	return nr == 3 ? 0 : iopf_err(-EPROTO, "of 3 system calls %u are counted", nr);
}

static int open_guest(struct demo *d)
{
	struct hw_guest *hw = &d->hw;
	unsigned int i;
	int ret;

	ret = iopf_ctx_open(&d->dev.ep.ctx);
	if (!ret)
		ret = iopf_dev_open(d->dev.ep.ctx, d->found.bdf[0], &d->dev.ep.dev);
	if (ret)
		return ret;
	if (!amd->nests(d->dev.ep.dev))
		return iopf_err(-EOPNOTSUPP,
				"the IOMMU of %s is no AMD-Vi with tables of guests: take one",
				d->found.bdf[0]);
	ret = hw_open(hw, d->dev.ep.ctx, iopf_dev_id(d->dev.ep.dev));
	if (ret == -EOPNOTSUPP)
		return iopf_err(ret, "the IOMMU of %s has no vIOMMUs of hardware: " CURE,
				d->found.bdf[0]);
	if (ret)
		return ret;
	/* What the device itself remembers has to go, too. */
	d->dev.mode = IOPF_TD_MODE_TRANSLATED;
	dev_prepare(hw, &d->dev, DEVICE_ID, DOMAIN_ID);
	for (i = 0; i < MANY; i++) {
		d->page[i][0] = guest_page(&hw->g);
		d->page[i][1] = guest_page(&hw->g);
		amd->set_page(&d->dev.space, PLACE(i), d->page[i][0]);
	}
	return dev_give(hw, &d->dev);
}

/* The same guest, device and tables, but the IOMMU is the VMM's now. */
static int take_hardware_away(struct demo *d)
{
	struct hw_guest *hw = &d->hw;
	int ret = guest_del(&d->dev);

	if (!ret)
		ret = hw_close_viommu(hw);
	if (!ret)
		ret = alloc_viommu(hw->g.ctx, amd->viommu_type,
				   iopf_dev_id(d->dev.ep.dev), hw->g.parent_id,
				   &hw->g.viommu_id);
	if (!ret)
		ret = dev_give(hw, &d->dev);
	hw->ring[CMD].pos = 0;
	d->head = 0;
	return ret;
}

static int show_way(struct demo *d, struct way *way)
{
	int ret = show_change(d, way);

	if (!ret)
		ret = measure(d, way, 1, &way->one);
	if (!ret)
		ret = measure(d, way, MANY, &way->many);
	return ret;
}

static int show(struct demo *d)
{
	struct way ring = {
		.name = "own ring",
		.who = "the hardware",
		.finish = finish_by_ring,
	};
	struct way ioctls = {
		.name = "IOMMU_HWPT_INVALIDATE",
		.who = "the kernel",
		.finish = finish_by_ioctl,
	};
	int ret;

	show_guest(d);
	printf("   the guest's tables for %#llx:\n", GVA);
	show_tables(d, GVA);
	ret = writes(d, 0, old_page(d, 0), new_page(d, 0));
	if (ret)
		return ret;
	printf("   the device writes 4096 bytes at %#llx: in %#llx\n\n", GVA,
	       old_page(d, 0));
	printf("2. Invalidation by the guest's own ring, which the hardware reads\n");
	ret = show_way(d, &ring);
	if (!ret)
		ret = take_hardware_away(d);
	if (ret)
		return ret;
	printf("3. The same guest without the hardware: the VMM calls IOMMU_HWPT_INVALIDATE\n");
	ret = show_way(d, &ioctls);
	if (ret)
		return ret;
	show_table(d, &ring, &ioctls);
	if (ring.one.calls || ring.many.calls)
		return iopf_err(-EPROTO, "the ring took %u system calls for 1 page, %u for %d",
				ring.one.calls, ring.many.calls, MANY);
	if (!ioctls.one.calls || !ioctls.many.calls)
		return iopf_err(-EPROTO, "the ioctl is not counted");
	return 0;
}

static int prepare(struct demo *d, bool insist)
{
	int ret;

	iopf_pci_scan(find_endpoint, &d->found);
	if (!d->found.nr)
		return iopf_err(-ENODEV,
				"no test endpoint 1234:11f0 with PRI is on vfio-pci: bind one");
	d->counts = counts_instructions();
	if (insist && !d->counts)
		return iopf_err(-ENODEV,
				"the clock counts no instructions: QEMU's does with -smp 1 -icount shift=0");
	ret = try_calls();
	return ret ? ret : open_guest(d);
}

int main(int argc, char **argv)
{
	bool insist = argc == 2 && !strcmp(argv[1], "--instructions");
	static struct demo d;
	int ret;

	setlinebuf(stdout);
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return PASSED;
	}
	if (argc > 1 && !insist) {
		fprintf(stderr, "iopf_viommu_demo: no option %s; see --help\n", argv[argc - 1]);
		return WRONG_CALL;
	}
	if (prepare(&d, insist)) {
		fprintf(stderr, "iopf_viommu_demo: %s\n", iopf_error());
		return IN_THE_WAY;
	}
	ret = show(&d);
	if (!ret)
		ret = guest_del(&d.dev);
	if (!ret) {
		iopf_dev_close(d.dev.ep.dev);
		ret = hw_close(&d.hw);
	}
	if (ret)
		printf("iopf_viommu_demo: failed: %s\n", iopf_error());
	else
		printf("iopf_viommu_demo: passed, every transfer was where it had to be\n");
	return ret ? FAILED : PASSED;
}

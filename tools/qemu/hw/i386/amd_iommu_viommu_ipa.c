/*
 * AMD IOMMU (AMD-Vi): virtual IOMMUs in hardware, where their memory is
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Private addresses are those of the IOMMU's own device table entry, addresses
 * of a guest are those of its translate device.  Both are cached like any
 * other, until a command says otherwise.
 *
 * Inference: an entry without page tables does not do, and an access that
 * fails is VIOMMU_HARDWARE_ERROR in the log of the host, with the address that
 * was asked for.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_ats.h"
#include "amd_iommu_viommu.h"
#include "trace.h"

const AMDVIGuestRing amdvi_guest_cmd = {
    .control = AMDVI_WORD_CMD,
    .pointers = AMDVI_WORD_POINTERS,
    .head = 0,
    .tail = 16,
    .ipa = AMDVI_IPA_CMD,
    .run = AMDVI_STATUS_CMD_RUN,
    .interrupt = AMDVI_STATUS_WAIT_INT,
    .flag = AMDVI_EVF_VCMD,
    .irq = AMDVI_GIRQ_EVENT,
};

const AMDVIGuestRing amdvi_guest_events = {
    .control = AMDVI_WORD_EVENT,
    .pointers = AMDVI_WORD_POINTERS,
    .head = 32,
    .tail = 48,
    .ipa = AMDVI_IPA_EVENT,
    .run = AMDVI_STATUS_EVT_RUN,
    .overflow = AMDVI_STATUS_EVT_OVERFLOW,
    .interrupt = AMDVI_STATUS_EVT_INT,
    .flag = AMDVI_EVF_VEVENT,
    .irq = AMDVI_GIRQ_EVENT,
};

const AMDVIGuestRing amdvi_guest_ppr = {
    .control = AMDVI_WORD_PPR,
    .base_shift = 4,
    .pointers = AMDVI_WORD_STATUS,
    .head = 0,
    .tail = 16,
    .ipa = AMDVI_IPA_PPR,
    .run = AMDVI_STATUS_PPR_RUN,
    .overflow = AMDVI_STATUS_PPR_OVERFLOW,
    .interrupt = AMDVI_STATUS_PPR_INT,
    .flag = AMDVI_EVF_VPPR,
    .irq = AMDVI_GIRQ_PPR,
};

/* Driver: the specification is said to want GAEn first */
bool amdvi_viommu_on(const AMDVIState *s)
{
    return s->enabled && s->ga_enabled &&
           amdvi_control(s, AMDVI_CONTROL_VIOMMU);
}

/* Inference: the source and the other flags are 0 */
void amdvi_viommu_error(AMDVIState *s, uint16_t gid, uint64_t flag,
                        hwaddr addr)
{
    trace_amdvi_viommu_error(gid, flag, addr);
    amdvi_event(s, AMDVI_EVENT(AMDVI_EVT_VIOMMU_HW) | flag | gid, addr);
}

static uint16_t amdvi_own_devid(const AMDVIState *s)
{
    return PCI_BUILD_BDF(pci_dev_bus_num(&s->pci.dev), s->pci.dev.devfn);
}

/* Inference: absent ones may be cached, see amd_iommu_viommu_late.c */
static bool amdvi_cached_is_stale(const AMDVIRequest *req, const AMDVIDTE *dte,
                                  hwaddr addr, const AMDVIPage *cached)
{
    AMDVIFault fault = {};
    AMDVIWalk now = {};

    if (amdvi_walk_host(req, dte, addr, &now, &fault)) {
        return cached->walk.perm != IOMMU_NONE;
    }
    return cached->walk.perm != IOMMU_NONE && cached->walk.xlat != now.xlat;
}

/*
 * Where in memory it is, by the host tables of that device. *@stale is set if
 * that is not what they say any more
 */
static bool amdvi_locate(AMDVIState *s, uint16_t devid, hwaddr addr,
                         IOMMUAccessFlags want, hwaddr *at, bool *stale)
{
    uint64_t both = AMDVI_DTE_V | AMDVI_DTE_TV;
    AMDVIRequest req = {
        .s = s,
        .devid = devid,
        .pasid = PCI_NO_PASID,
        .kind = AMDVI_REQ_UNTRANSLATED,
        .want = want,
    };
    AMDVIPage page = {
        .pasid = PCI_NO_PASID,
        .iova = addr & ~AMDVI_PAGE_LOW,
    };
    bool strict = s->viommu_late && devid == amdvi_own_devid(s), hw;
    const AMDVIPage *cached;
    AMDVIFault fault = {};
    AMDVIDTE *dte;

    dte = amdvi_find_dte(&req, addr, &hw);
    if (!dte || (dte->q[0] & both) != both || !amdvi_dte_mode(dte) ||
        amdvi_uses_guest(&req, dte) ||
        !(dte->q[0] & (want & IOMMU_WO ? AMDVI_DTE_IW : AMDVI_DTE_IR))) {
        return false;
    }
    page.domain = amdvi_dte_domain(dte);
    cached = amdvi_cache_page(s, &page);
    if (strict && cached) {
        *stale = amdvi_cached_is_stale(&req, dte, addr, cached);
        if (*stale || cached->walk.perm == IOMMU_NONE) {
            return false;
        }
    }
    if (!cached || (want & ~cached->walk.perm)) {
        if (amdvi_walk_host(&req, dte, addr, &page.walk, &fault)) {
            if (strict) {
                page.walk.perm = IOMMU_NONE;
                amdvi_cache_add_page(s, &page);
            }
            return false;
        }
        if (page.walk.perm & IOMMU_RO) {
            /* As for any device of the domain */
            page.walk.perm |= IOMMU_EXEC;
        }
        amdvi_cache_add_page(s, &page);
        cached = &page;
    }
    *at = cached->walk.xlat | (addr & cached->walk.mask);
    return true;
}

static bool amdvi_access(AMDVIState *s, uint16_t devid, hwaddr addr,
                         uint64_t *val, unsigned n, bool write)
{
    bool stale;
    hwaddr at;

    if (!amdvi_locate(s, devid, addr, write ? IOMMU_WO : IOMMU_RO, &at,
                      &stale)) {
        return false;
    }
    if (!write) {
        return amdvi_read_memory(at, val, n);
    }
    return devid == amdvi_own_devid(s) ? amdvi_write_memory(at, val, n) :
                                         amdvi_late_store(s, at, val, n);
}

bool amdvi_ipa_access(AMDVIState *s, uint16_t gid, uint64_t flag, hwaddr ipa,
                      uint64_t *val, unsigned n, bool write)
{
    if (amdvi_access(s, amdvi_own_devid(s), ipa, val, n, write)) {
        return true;
    }
    amdvi_viommu_error(s, gid, flag, ipa);
    return false;
}

bool amdvi_gpa_access(const AMDVIGuest *g, hwaddr gpa, uint64_t *val,
                      unsigned n, bool write)
{
    uint16_t devid = extract64(g->word[AMDVI_WORD_MISC], 16, 16);

    /* 0 is no translate device: that of the host bridge is not it */
    return devid && amdvi_access(g->s, devid, gpa, val, n, write);
}

/*
 * State of guests
 */

static hwaddr amdvi_guest_slot(uint16_t gid)
{
    return AMDVI_IPA_SLOTS + gid * AMDVI_VF_CNTL_SLOT;
}

bool amdvi_guest_load(AMDVIState *s, uint16_t gid, uint64_t flag,
                      AMDVIGuest *g)
{
    g->s = s;
    g->gid = gid;
    if (!amdvi_ipa_access(s, gid, flag, amdvi_guest_slot(gid), g->word,
                          AMDVI_WORDS, false)) {
        return false;
    }
    memcpy(g->old, g->word, sizeof(g->old));
    if (amdvi_late_lost(s, gid)) {
        memset(g->word, 0, sizeof(g->word));
        amdvi_guest_save(g, flag);
        memset(g->old, 0, sizeof(g->old));
    }
    return true;
}

void amdvi_guest_save(AMDVIGuest *g, uint64_t flag)
{
    uint64_t new = amdvi_guest_conditions(g->word) &
                   ~amdvi_guest_conditions(g->old);
    unsigned i;

    for (i = 0; i < AMDVI_WORDS; i++) {
        if (g->word[i] != g->old[i] &&
            !amdvi_ipa_access(g->s, g->gid, flag,
                              amdvi_guest_slot(g->gid) + i * sizeof(uint64_t),
                              &g->word[i], 1, true)) {
            return;
        }
    }
    if (new) {
        amdvi_guest_send_irqs(g->s, g->gid, new);
    }
}

/*
 * Rings
 */

uint32_t amdvi_guest_ring_size(const AMDVIGuest *g, const AMDVIGuestRing *ring)
{
    unsigned length = g->word[ring->control] & AMDVI_CNTL_LENGTH;

    return length < AMDVI_RING_LENGTH_MIN ? 0 : AMDVI_RING_ENTRY << length;
}

bool amdvi_guest_ring_access(const AMDVIGuest *g, const AMDVIGuestRing *ring,
                             uint32_t offset, uint64_t val[2], bool write,
                             hwaddr *addr)
{
    hwaddr base = (g->word[ring->control] >> ring->base_shift) &
                  AMDVI_RING_ADDR;

    if (amdvi_control(g->s, AMDVI_CONTROL_GST_BUFFER_TRP)) {
        *addr = base + offset;
        if (amdvi_gpa_access(g, *addr, val, 2, write)) {
            return true;
        }
        if (write && ring == &amdvi_guest_events) {
            amdvi_event(g->s, AMDVI_EVENT(AMDVI_EVT_GUEST_FAULT) |
                        AMDVI_EVF_VEVENT | (uint64_t)g->gid << 32, *addr);
        } else {
            amdvi_viommu_error(g->s, g->gid, ring->flag, *addr);
        }
        return false;
    }
    *addr = offset;
    return amdvi_ipa_access(g->s, g->gid, ring->flag, ring->ipa +
                            g->gid * AMDVI_IPA_RING_STRIDE + offset, val, 2,
                            write);
}

void amdvi_guest_ring_update(AMDVIGuest *g, const AMDVIGuestRing *ring)
{
    uint64_t old = g->old[ring->control], *now = &g->word[ring->control];
    uint64_t place = AMDVI_CNTL_LENGTH | AMDVI_RING_ADDR << ring->base_shift;

    if (old & *now & AMDVI_CNTL_ENABLE) {
        /* As for the host: it stays where it is while it is on */
        *now = (*now & ~place) | (old & place);
        return;
    }
    if ((old ^ *now) & place) {
        amdvi_guest_set_pointer(g, ring, ring->head, 0);
        amdvi_guest_set_pointer(g, ring, ring->tail, 0);
    }
    if (!(*now & AMDVI_CNTL_ENABLE)) {
        amdvi_guest_set_status(g, ring->run, 0);
    } else if (amdvi_guest_ring_size(g, ring) &&
               !(amdvi_guest_status(g) & ring->overflow)) {
        amdvi_guest_set_status(g, 0, ring->run);
    }
}

/*
 * Maps of IDs
 */

static hwaddr amdvi_map_entry(uint16_t gid, bool domains, uint16_t id)
{
    return domains ?
           AMDVI_IPA_DOMAIN_MAP + gid * AMDVI_IPA_DOMAIN_STRIDE +
           id * AMDVI_DOMAIN_MAP_ENTRY :
           AMDVI_IPA_DEVICE_MAP + gid * AMDVI_IPA_DEVICE_STRIDE +
           id * AMDVI_DEVICE_MAP_ENTRY;
}

/* Inference: nobody writes one without V, which then is no entry */
void amdvi_map_write(AMDVIState *s, uint16_t gid, bool domains, uint64_t val)
{
    uint64_t entry[2] = { };

    if (!(val & AMDVI_MAP_WRITE)) {
        return;
    }
    if (val & AMDVI_MAP_VALID) {
        entry[0] = AMDVI_MAP_ENTRY_V | AMDVI_MAP_HOST(val) << 24;
    }
    trace_amdvi_viommu_map(gid, domains, AMDVI_MAP_GUEST(val), entry[0]);
    amdvi_ipa_access(s, gid, AMDVI_EVF_VCMD,
                     amdvi_map_entry(gid, domains, AMDVI_MAP_GUEST(val)),
                     entry, domains ? 1 : 2, true);
}

/*
 * Driver: an ID without an entry is an error in the event log.  Inference: in
 * that of the host, as VIOMMU_HARDWARE_ERROR, with where the entry would be.
 */
bool amdvi_map_lookup(const AMDVIGuest *g, bool domains, uint16_t id,
                      uint16_t *host)
{
    hwaddr ipa = amdvi_map_entry(g->gid, domains, id);
    uint64_t entry;

    if (!amdvi_ipa_access(g->s, g->gid, AMDVI_EVF_VCMD, ipa, &entry, 1,
                          false)) {
        return false;
    }
    if (!(entry & AMDVI_MAP_ENTRY_V)) {
        amdvi_viommu_error(g->s, g->gid, AMDVI_EVF_VCMD, ipa);
        return false;
    }
    *host = AMDVI_MAP_ENTRY_ID(entry);
    return true;
}

void amdvi_look_at_maps(AMDVIState *s, uint16_t gid)
{
    unsigned domains;
    hwaddr ipa, at;
    bool stale;

    if (!s->viommu_late) {
        return;
    }
    for (domains = 0; domains < 2; domains++) {
        ipa = amdvi_map_entry(gid, domains, 0);
        stale = false;
        amdvi_locate(s, amdvi_own_devid(s), ipa, IOMMU_RO, &at, &stale);
        /* It need not be there */
        if (stale) {
            amdvi_viommu_error(s, gid, AMDVI_EVF_VCMD, ipa);
        }
    }
}

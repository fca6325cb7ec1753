/*
 * PCIe I/O page fault test endpoint: translation requests and the ATC
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "trace.h"
#include "iopf-testdev.h"

static void iopf_log_invalidation(IOPFTestDev *s, uint32_t pasid,
                                  const IOMMUTLBEntry *entry, uint32_t dropped,
                                  uint32_t flags)
{
    uint8_t *rec = iopf_log_record(s, IOPF_TD_RAM_INVLOG,
                                   IOPF_TD_INVLOG_ENTRIES, s->invlog_head);

    stl_le_p(rec + IOPF_TD_INV_PASID, iopf_show_pasid(pasid));
    stq_le_p(rec + IOPF_TD_INV_ADDR, entry->iova);
    stq_le_p(rec + IOPF_TD_INV_MASK, entry->addr_mask);
    stl_le_p(rec + IOPF_TD_INV_DROPPED, dropped);
    stl_le_p(rec + IOPF_TD_INV_FLAGS, flags);
    iopf_log_publish(rec, &s->invlog_head);
}

/*
 * An invalidation without PASID comes in through the notifier of every PASID,
 * so each has to look after its own address space only.
 */
static void iopf_iotlb_notify(IOMMUNotifier *n, IOMMUTLBEntry *entry)
{
    IOPFPasid *space = n->opaque;
    IOPFTestDev *s = space->dev;
    uint32_t dropped = 0, flags = 0;

    if (s->hostile & IOPF_TD_HOSTILE_IGNORE_INV) {
        flags = IOPF_TD_INV_F_IGNORED;
    } else {
        dropped = atc_invalidate(s->atc, space->pasid, entry->iova,
                                 entry->addr_mask);
        s->up->invalidated(s, space->pasid, entry->iova, entry->addr_mask);
        s->inv_seq++;
    }
    trace_iopf_testdev_invalidate(space->pasid, entry->iova, entry->addr_mask,
                                  dropped);
    s->atc_invalidations++;
    iopf_log_invalidation(s, space->pasid, entry, dropped, flags);
    iopf_raise(s, IOPF_TD_IRQ_INVALIDATE);
}

static void iopf_pri_notify(IOMMUPRINotifier *n, IOMMUPRIResponse *response)
{
    IOPFPasid *space = container_of(n, IOPFPasid, pri);

    space->dev->up->response(space->dev, response);
}

static void iopf_pasid_forget(IOPFTestDev *s, IOPFPasid *space)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);

    if (!space->used) {
        return;
    }
    space->used = false;
    pci_iommu_unregister_iotlb_notifier(pci_dev, space->pasid, &space->iotlb);
    if (space->pri_registered) {
        pci_pri_unregister_notifier(pci_dev, space->pasid);
        space->pri_registered = false;
    }
    s->up->invalidated(s, space->pasid, 0, HWADDR_MAX);
    atc_delete_address_space_cache(s->atc, space->pasid);
}

void iopf_pasids_forget(IOPFTestDev *s, bool no_pasid)
{
    int i;

    for (i = 0; i < IOPF_TD_PASIDS_MAX; i++) {
        iopf_pasid_forget(s, &s->pasids[i]);
    }
    if (no_pasid) {
        iopf_pasid_forget(s, &s->no_pasid);
    }
    s->inv_seq++;
}

/* A free slot, or that of the PASID that was not in use for longest */
static IOPFPasid *iopf_pasid_find_room(IOPFTestDev *s)
{
    IOPFPasid *victim = NULL;
    int i;

    for (i = 0; i < IOPF_TD_PASIDS_MAX; i++) {
        IOPFPasid *space = &s->pasids[i];

        if (!space->used) {
            return space;
        }
        if (victim && victim->last_use < space->last_use) {
            continue;
        }
        if (!s->up->uses_pasid(s, space->pasid)) {
            victim = space;
        }
    }
    if (victim) {
        iopf_pasid_forget(s, victim);
    }
    return victim;
}

static IOPFPasid *iopf_pasid_find(IOPFTestDev *s, uint32_t pasid)
{
    int i;

    if (pasid == PCI_NO_PASID) {
        return s->no_pasid.used ? &s->no_pasid : NULL;
    }
    for (i = 0; i < IOPF_TD_PASIDS_MAX; i++) {
        if (s->pasids[i].used && s->pasids[i].pasid == pasid) {
            return &s->pasids[i];
        }
    }
    return NULL;
}

static int iopf_pasid_register(IOPFTestDev *s, IOPFPasid *space,
                               uint32_t pasid)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);
    int ret;

    ret = pci_iommu_init_iotlb_notifier(pci_dev, &space->iotlb,
                                        iopf_iotlb_notify, space);
    if (ret) {
        return ret;
    }
    ret = pci_iommu_register_iotlb_notifier(pci_dev, pasid, &space->iotlb);
    if (ret) {
        return ret;
    }

    space->dev = s;
    space->pasid = pasid;
    space->used = true;
    space->pri.notify = iopf_pri_notify;
    /* An IOMMU without page requests refuses them when they are sent */
    space->pri_registered =
        s->pri && !pci_pri_register_notifier(pci_dev, pasid, &space->pri);
    atc_create_address_space_cache(s->atc, pasid);
    return 0;
}

static int iopf_pasid_use_real(IOPFTestDev *s, uint32_t pasid)
{
    IOPFPasid *space = iopf_pasid_find(s, pasid);
    int ret;

    if (!space) {
        space = pasid == PCI_NO_PASID ? &s->no_pasid : iopf_pasid_find_room(s);
        if (!space) {
            return -ENOBUFS;
        }
        ret = iopf_pasid_register(s, space, pasid);
        trace_iopf_testdev_pasid(pasid, ret);
        if (ret) {
            return ret;
        }
    }
    space->last_use = ++s->use_seq;
    return 0;
}

int iopf_pasid_use(IOPFTestDev *s, uint32_t pasid)
{
    IOPFForced saved;
    int ret;

    iopf_force_enables(s, &saved);
    ret = iopf_pasid_use_real(s, pasid);
    iopf_restore_enables(s, &saved);
    return ret;
}

ssize_t iopf_translate(IOPFTestDev *s, uint32_t pasid, bool priv, bool exec,
                       hwaddr addr, size_t length, bool no_write)
{
    IOPFForced saved;
    uint32_t errors = 0;
    ssize_t ret;

    iopf_force_enables(s, &saved);
    /* First, so that no invalidation of the result can be missed */
    ret = iopf_pasid_use_real(s, pasid);
    if (!ret) {
        ret = pci_ats_request_translation(PCI_DEVICE(s), pasid, priv, exec,
                                          addr, length, no_write, s->results,
                                          ARRAY_SIZE(s->results), &errors);
    }
    iopf_restore_enables(s, &saved);

    trace_iopf_testdev_translate(pasid, addr, length, no_write, ret, errors);
    iopf_count(s, IOPF_TD_REG_CNT_TR);
    if (ret < 0) {
        iopf_count(s, IOPF_TD_REG_CNT_TR_REFUSED);
    } else if (errors || !ret) {
        iopf_count(s, IOPF_TD_REG_CNT_TR_NONE);
    } else {
        iopf_count(s, IOPF_TD_REG_CNT_TR_OK);
    }
    return ret;
}

void iopf_atc_probe(IOPFTestDev *s)
{
    uint32_t pasid = s->atc_pasid == IOPF_TD_NO_PASID ? PCI_NO_PASID
                                                      : s->atc_pasid;
    const IOMMUTLBEntry *entry = atc_peek(s->atc, pasid, s->atc_addr);
    uint64_t result = 0;

    if (entry) {
        result = (entry->translated_addr | (s->atc_addr & entry->addr_mask)) &
                 ~IOPF_PAGE_MASK;
        result |= IOPF_TD_ATC_RESULT_VALID;
        result |= entry->perm & IOMMU_RO ? IOPF_TD_ATC_RESULT_READ : 0;
        result |= entry->perm & IOMMU_WO ? IOPF_TD_ATC_RESULT_WRITE : 0;
        result |= entry->perm & IOMMU_EXEC ? IOPF_TD_ATC_RESULT_EXEC : 0;
        result |= entry->perm & IOMMU_PRIV ? IOPF_TD_ATC_RESULT_PRIV : 0;
        result |= entry->perm & IOMMU_UNTRANSLATED_ONLY ?
                  IOPF_TD_ATC_RESULT_UNTRANSLATED : 0;
        result |= iopf_entry_log2(entry) << IOPF_TD_ATC_RESULT_SIZE_SHIFT;
    }
    s->atc_result = result;
}

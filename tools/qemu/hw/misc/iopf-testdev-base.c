/*
 * PCIe I/O page fault test endpoint: what all of its files need
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The files form layers, of which each one calls those below it only: this
 * one, translation requests and the ATC, page request groups, execution of
 * descriptors, and on top the PCI function with its registers.  What a lower
 * layer has to say to a higher one goes through IOPFUpcalls.  Virtual functions
 * are between this file and the top.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "iopf-testdev.h"

/*
 * Time, events and logs
 */

int64_t iopf_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

int64_t iopf_wait_deadline(IOPFTestDev *s)
{
    if (!s->pri_timeout_ms) {
        return INT64_MAX;
    }
    return iopf_now() + (int64_t)s->pri_timeout_ms * SCALE_MS;
}

void iopf_kick(IOPFTestDev *s)
{
    if (!s->dying) {
        qemu_bh_schedule(s->bh);
    }
}

void iopf_raise(IOPFTestDev *s, uint32_t causes)
{
    uint32_t fresh = causes & ~s->irq_cause;

    s->irq_cause |= causes;
    s->irq_pending |= fresh & s->irq_enable;
    if (s->irq_pending) {
        iopf_kick(s);
    }
}

uint8_t *iopf_log_record(IOPFTestDev *s, uint32_t base, uint32_t entries,
                         uint32_t head)
{
    uint8_t *record = s->ram_ptr + base +
                      head % entries * IOPF_TD_LOG_ENTRY_SIZE;

    memset(record, 0, IOPF_TD_LOG_ENTRY_SIZE);
    return record;
}

void iopf_log_publish(uint8_t *record, uint32_t *head)
{
    QEMU_BUILD_BUG_ON(IOPF_TD_INV_SEQ != 0 || IOPF_TD_RSP_SEQ != 0);

    (*head)++;
    /* The guest reads the device RAM without an exit */
    smp_wmb();
    stl_le_p(record, *head);
}

/*
 * Functions of the device
 */

IOPFTestDev *iopf_pf(IOPFTestDev *s)
{
    PCIDevice *pci_dev = PCI_DEVICE(s);

    return pci_is_vf(pci_dev) ? IOPF_TESTDEV(pcie_sriov_get_pf(pci_dev)) : s;
}

IOPFTestDev *iopf_function(IOPFTestDev *s, unsigned n)
{
    IOPFTestDev *pf = iopf_pf(s);

    if (!n) {
        return pf;
    }
    return n <= pf->nr_vfs
           ? IOPF_TESTDEV(PCI_DEVICE(pf)->exp.sriov_pf.vf[n - 1]) : NULL;
}

void iopf_credits_changed(IOPFTestDev *s)
{
    IOPFTestDev *f;
    unsigned n;

    iopf_pf(s)->credit_seq++;
    for (n = 0; (f = iopf_function(s, n)); n++) {
        iopf_kick(f);
    }
}

/*
 * Enable bits
 */

static uint16_t iopf_force_bit(IOPFTestDev *s, IOPFTestDev *owner,
                               uint32_t knob, uint16_t cap, unsigned offset,
                               uint16_t bit)
{
    uint8_t *config = PCI_DEVICE(owner)->config;

    if (!cap || !(s->hostile & knob) ||
        (pci_get_word(config + cap + offset) & bit)) {
        return 0;
    }
    pci_word_test_and_set_mask(config + cap + offset, bit);
    return bit;
}

static void iopf_restore_bit(IOPFTestDev *owner, uint16_t cap,
                             unsigned offset, uint16_t bit)
{
    /* A device that was unplugged by the call has no registers any more */
    if (bit && !owner->dying) {
        pci_word_test_and_clear_mask(PCI_DEVICE(owner)->config + cap + offset,
                                     bit);
    }
}

void iopf_force_enables(IOPFTestDev *s, IOPFForced *saved)
{
    IOPFTestDev *pf = iopf_pf(s);
    PCIExpressDevice *exp = &PCI_DEVICE(pf)->exp;

    saved->ats = iopf_force_bit(s, s, IOPF_TD_HOSTILE_FORCE_ATS,
                                PCI_DEVICE(s)->exp.ats_cap, PCI_ATS_CTRL,
                                PCI_ATS_CTRL_ENABLE);
    saved->pri = iopf_force_bit(s, pf, IOPF_TD_HOSTILE_FORCE_PRI, exp->pri_cap,
                                PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    saved->pasid = iopf_force_bit(s, pf, IOPF_TD_HOSTILE_FORCE_PASID,
                                  exp->pasid_cap, PCI_PASID_CTRL,
                                  PCI_PASID_CTRL_ENABLE);
}

void iopf_restore_enables(IOPFTestDev *s, const IOPFForced *saved)
{
    IOPFTestDev *pf = iopf_pf(s);
    PCIExpressDevice *exp = &PCI_DEVICE(pf)->exp;

    iopf_restore_bit(s, PCI_DEVICE(s)->exp.ats_cap, PCI_ATS_CTRL, saved->ats);
    iopf_restore_bit(pf, exp->pri_cap, PCI_PRI_CTRL, saved->pri);
    iopf_restore_bit(pf, exp->pasid_cap, PCI_PASID_CTRL, saved->pasid);
}

bool iopf_ats_live(IOPFTestDev *s)
{
    return s->ats && (pcie_ats_enabled(PCI_DEVICE(s)) ||
                      (s->hostile & IOPF_TD_HOSTILE_FORCE_ATS));
}

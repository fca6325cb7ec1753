/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCIe I/O page fault test endpoint: programming interface
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * Plain definitions only, so that the device model, qtests and guest programs
 * share one file. All multi-byte values are little endian. Access kinds:
 * RO read only (writes ignored), RW read/write, WO write only (reads as 0),
 * W1C write one to clear. Registers are 32 bits wide unless "64" is said;
 * accesses are 4 or 8 bytes, naturally aligned. docs/specs/iopf-testdev.rst
 * explains the behaviour.
 */

#ifndef HW_MISC_IOPF_TESTDEV_REGS_H
#define HW_MISC_IOPF_TESTDEV_REGS_H

/* PCI identity; class code 0x00ff00 */
#define IOPF_TD_VENDOR_ID               0x1234
#define IOPF_TD_DEVICE_ID               0x11f0

/* BARs */
#define IOPF_TD_BAR_REGS                0       /* registers, 16 KiB, 64-bit */
#define IOPF_TD_BAR_RAM                 2       /* device RAM, prefetchable */
#define IOPF_TD_BAR_MSIX                4       /* MSI-X table and PBA */
#define IOPF_TD_REGS_SIZE               0x4000

/* Layout of the device RAM (byte offsets in BAR 2) */
#define IOPF_TD_RAM_RING                0x00000 /* descriptor ring */
#define IOPF_TD_RAM_INVLOG              0x10000 /* invalidation log */
#define IOPF_TD_RAM_RSPLOG              0x20000 /* page response log */
#define IOPF_TD_RAM_DATA                0x40000 /* free for transfers */

/* Fixed limits */
#define IOPF_TD_RING_LOG2_MAX           10      /* 1024 descriptors */
#define IOPF_TD_CONTEXTS_MAX            128     /* descriptors in flight */
#define IOPF_TD_GROUPS_MAX              512     /* page request groups known */
#define IOPF_TD_GROUP_PAGES_MAX         512     /* requests in one group */
#define IOPF_TD_PASIDS_MAX              64      /* PASIDs known at a time */
#define IOPF_TD_VFS_MAX                 7       /* virtual functions */
#define IOPF_TD_INVLOG_ENTRIES          2048
#define IOPF_TD_RSPLOG_ENTRIES          4096
#define IOPF_TD_LOG_ENTRY_SIZE          32      /* bytes, both logs */
#define IOPF_TD_VECTORS                 8       /* MSI-X vectors */

/* "No PASID" in registers, descriptors' results and log records */
#define IOPF_TD_NO_PASID                0xffffffff

/*
 * Identity and live state
 */
#define IOPF_TD_REG_ID                  0x000   /* RO: IOPF_TD_ID */
#define   IOPF_TD_ID                    0x50455031
#define IOPF_TD_REG_VERSION             0x004   /* RO: IOPF_TD_VERSION */
#define   IOPF_TD_VERSION               1
#define IOPF_TD_REG_CAPS                0x008   /* RO: what the device has */
#define   IOPF_TD_CAPS_ATS              0x00000001
#define   IOPF_TD_CAPS_PRI              0x00000002
#define   IOPF_TD_CAPS_PASID            0x00000004
#define   IOPF_TD_CAPS_RSP_PASID        0x00000008 /* responses carry PASID */
#define   IOPF_TD_CAPS_VF               0x00000010 /* a virtual function */
#define   IOPF_TD_CAPS_STALL            0x00000020 /* accesses can wait */
#define   IOPF_TD_CAPS_PASID_WIDTH      0x0000ff00 /* bits */
#define   IOPF_TD_CAPS_PASID_WIDTH_SHIFT 8
#define   IOPF_TD_CAPS_ATC_ENTRIES      0xffff0000 /* capacity of the ATC */
#define   IOPF_TD_CAPS_ATC_ENTRIES_SHIFT 16
#define IOPF_TD_REG_LIVE                0x00c   /* RO: what software enabled */
#define   IOPF_TD_LIVE_BUS_MASTER       0x00000001
#define   IOPF_TD_LIVE_ATS              0x00000002
#define   IOPF_TD_LIVE_PRI              0x00000004
#define   IOPF_TD_LIVE_PASID            0x00000008
#define   IOPF_TD_LIVE_PASID_EXEC       0x00000010
#define   IOPF_TD_LIVE_PASID_PRIV       0x00000020
#define   IOPF_TD_LIVE_STU              0x00001f00 /* ATS STU field */
#define   IOPF_TD_LIVE_STU_SHIFT        8
#define   IOPF_TD_LIVE_ALLOC            0xffff0000 /* PRI allocation, clamped */
#define   IOPF_TD_LIVE_ALLOC_SHIFT      16

/*
 * Engine
 */
#define IOPF_TD_REG_CTRL                0x010   /* RW, reset 0 */
#define   IOPF_TD_CTRL_RUN              0x00000001 /* fetch and execute */
#define   IOPF_TD_CTRL_STEP             0x00000002 /* only as STEP allows */
#define   IOPF_TD_CTRL_STOP_ON_ERROR    0x00000004 /* stop fetching on error */
#define IOPF_TD_REG_COMMAND             0x014   /* WO: one IOPF_TD_CMD_* */
#define   IOPF_TD_CMD_RESET             1       /* registers, engine, ATC */
#define   IOPF_TD_CMD_ABORT             2       /* end transfers and storm */
#define   IOPF_TD_CMD_EXPIRE            3       /* time out every wait now */
#define   IOPF_TD_CMD_FLUSH_HELD        4       /* send held page requests */
#define   IOPF_TD_CMD_CLEAR             5       /* clear logs and counters */
#define IOPF_TD_REG_STATUS              0x018   /* RO */
#define   IOPF_TD_STATUS_BUSY           0x00000001 /* work left, any kind */
#define   IOPF_TD_STATUS_ERROR_STOP     0x00000002 /* STOP_ON_ERROR struck */
#define   IOPF_TD_STATUS_WAITING        0x00000004 /* waits for a response */
/* PRI_CTRL.HOLD holds some */
#define   IOPF_TD_STATUS_HELD           0x00000008
#define   IOPF_TD_STATUS_STORM          0x00000010 /* a storm is going on */
#define   IOPF_TD_STATUS_PRI_FAILED     0x00000020 /* stopped by a failure */
/* an untranslated access waits for the IOMMU */
#define   IOPF_TD_STATUS_STALLED        0x00000040
/* RW: micro-steps to run; reads what is left */
#define IOPF_TD_REG_STEP                0x01c
#define IOPF_TD_REG_IRQ_CAUSE           0x020   /* W1C: IOPF_TD_IRQ_* */
#define IOPF_TD_REG_IRQ_ENABLE          0x024   /* RW, reset 0 */
#define IOPF_TD_REG_IRQ_TEST            0x028   /* WO: raise causes by hand */
/* Cause bit n is MSI-X vector n */
#define   IOPF_TD_IRQ_RING              0x00000001 /* F_IRQ descriptor done */
#define   IOPF_TD_IRQ_ERROR             0x00000002 /* descriptor failed */
#define   IOPF_TD_IRQ_RESPONSE          0x00000004 /* response log grew */
#define   IOPF_TD_IRQ_TIMEOUT           0x00000008 /* a response timed out */
#define   IOPF_TD_IRQ_INVALIDATE        0x00000010 /* invalidation log grew */
#define   IOPF_TD_IRQ_OVERFLOW          0x00000020 /* request queue was full */
#define   IOPF_TD_IRQ_PRI_ERROR         0x00000040 /* RF or UPRGI was set */
#define   IOPF_TD_IRQ_STORM             0x00000080 /* storm has ended */
#define   IOPF_TD_IRQ_ALL               0x000000ff

/*
 * Descriptor ring. Descriptor n is at IOPF_TD_RAM_RING + n * 64, n modulo
 * the ring size. Head and tail are indices below the ring size; the ring is
 * empty when they are equal.
 */
/* RW: log2 entries, reset 0; writing clears head, tail */
#define IOPF_TD_REG_RING_LOG2           0x030
#define IOPF_TD_REG_RING_HEAD           0x034   /* RO: next to be fetched */
#define IOPF_TD_REG_RING_TAIL           0x038   /* RW: doorbell */
/* RO: descriptors completed, free running */
#define IOPF_TD_REG_RING_DONE           0x03c
/* RW: most descriptors in flight, 1..128, reset 1 */
#define IOPF_TD_REG_CONTEXTS            0x02c

/*
 * Address translation cache
 */
#define IOPF_TD_REG_ATC_CTRL            0x040   /* RW, reset ENABLE */
#define   IOPF_TD_ATC_CTRL_ENABLE       0x00000001 /* look up and fill */
/* a hit without enough permission fails */
#define   IOPF_TD_ATC_CTRL_NO_REASK     0x00000002
#define IOPF_TD_REG_ATC_CMD             0x044   /* WO: one IOPF_TD_ATC_CMD_* */
#define   IOPF_TD_ATC_CMD_FLUSH         1       /* drop every entry */
/* ATC_PASID, ATC_ADDR -> ATC_RESULT, no counting */
#define   IOPF_TD_ATC_CMD_PROBE         2
/* RW: or IOPF_TD_NO_PASID, reset that */
#define IOPF_TD_REG_ATC_PASID           0x048
#define IOPF_TD_REG_ATC_ADDR            0x050   /* RW 64 */
#define IOPF_TD_REG_ATC_RESULT          0x058   /* RO 64: address and bits */
#define   IOPF_TD_ATC_RESULT_VALID      0x00000001 /* there is an entry */
#define   IOPF_TD_ATC_RESULT_READ       0x00000002
#define   IOPF_TD_ATC_RESULT_WRITE      0x00000004
#define   IOPF_TD_ATC_RESULT_EXEC       0x00000008
#define   IOPF_TD_ATC_RESULT_UNTRANSLATED 0x00000010 /* untranslated only */
#define   IOPF_TD_ATC_RESULT_PRIV       0x00000020
#define   IOPF_TD_ATC_RESULT_SIZE       0x00000fc0 /* log2 bytes of the entry */
#define   IOPF_TD_ATC_RESULT_SIZE_SHIFT 6
#define IOPF_TD_REG_ATC_HITS            0x060   /* RO: lookups that hit */
#define IOPF_TD_REG_ATC_MISSES          0x064   /* RO: lookups that missed */
#define IOPF_TD_REG_ATC_EVICTIONS       0x068   /* RO: for lack of room */
#define IOPF_TD_REG_ATC_INVALIDATIONS   0x06c   /* RO: requests received */
#define IOPF_TD_REG_ATC_COUNT           0x070   /* RO: entries now */

/*
 * Page requests
 */
#define IOPF_TD_REG_PRI_CTRL            0x080   /* RW, reset ASK */
/* request what a translation lacks */
#define   IOPF_TD_PRI_CTRL_ASK          0x00000001
/* keep requests inside until FLUSH_HELD or HOLD is cleared */
#define   IOPF_TD_PRI_CTRL_HOLD         0x00000002
#define   IOPF_TD_PRI_CTRL_GROUP        0x00000004 /* F_GROUP for all */
/* request once per chunk even with access */
#define   IOPF_TD_PRI_CTRL_ALWAYS       0x00000008
/* ask W, not RW, for writes */
#define   IOPF_TD_PRI_CTRL_WRITE_ONLY   0x00000010
/* fail, do not wait, for lack of allocation or group indices */
#define   IOPF_TD_PRI_CTRL_NO_CREDIT_WAIT 0x00000020
/* RW: requests per group, 1..512, reset 512 */
#define IOPF_TD_REG_PRI_GROUP_MAX       0x084
/* RW: index for HOSTILE_FIXED_PRGI */
#define IOPF_TD_REG_PRI_PRGI            0x088
#define IOPF_TD_REG_PRI_OUTSTANDING     0x08c   /* RO: requests unanswered */
/* RW: virtual ms to wait for a response or a credit, 0 never, reset 0 */
#define IOPF_TD_REG_PRI_TIMEOUT_MS      0x090
/* RW: page request rounds for one place, 1..65535, reset 3 */
#define IOPF_TD_REG_PRI_RETRY           0x094
/* RW: further rounds when the queue was full, 0..65535, reset 1000 */
#define IOPF_TD_REG_PRI_FULL_RETRY      0x098
/* RW: virtual us before such a round, 0..1000000, reset 1000 */
#define IOPF_TD_REG_PRI_FULL_PAUSE_US   0x09c
#define IOPF_TD_REG_PRI_GROUPS          0x0c8   /* RO: groups sent, waiting */
/* RO: groups with no last request so far */
#define IOPF_TD_REG_PRI_PARTIAL         0x0cc
/* RO: groups given up by the device, answer to come */
#define IOPF_TD_REG_PRI_STALE           0x0d0

/*
 * Storm: many page requests with nothing behind them
 */
#define IOPF_TD_REG_STORM_ADDR          0x0a0   /* RW 64: first address */
#define IOPF_TD_REG_STORM_STRIDE        0x0a8   /* RW: bytes, reset 4096 */
#define IOPF_TD_REG_STORM_COUNT         0x0ac   /* RW: requests */
#define IOPF_TD_REG_STORM_FLAGS         0x0b0   /* RW */
#define   IOPF_TD_STORM_F_WRITE         0x00000001
#define   IOPF_TD_STORM_F_READ          0x00000002
#define   IOPF_TD_STORM_F_NO_LAST       0x00000004 /* never a last request */
#define   IOPF_TD_STORM_F_PASID         0x00000008 /* STORM_PASID is used */
#define   IOPF_TD_STORM_F_STOP          0x00000010 /* end at a refusal */
/* for lack of allocation or group indices: drop and count, do not wait */
#define   IOPF_TD_STORM_F_NO_WAIT       0x00000020
#define   IOPF_TD_STORM_F_ALL           0x0000003f
#define IOPF_TD_REG_STORM_PASID         0x0b4   /* RW */
#define IOPF_TD_REG_STORM_GO            0x0b8   /* WO: any value starts it */
/* RW: requests per group, 1..2^32-1, 0 all in one; reset 1 */
#define IOPF_TD_REG_STORM_GROUP         0x0d4
#define IOPF_TD_REG_STORM_SENT          0x0bc   /* RO: requests for software */
#define IOPF_TD_REG_STORM_FULL          0x0c0   /* RO: IOMMU had no room */
#define IOPF_TD_REG_STORM_OTHER         0x0c4   /* RO: refused otherwise */
#define IOPF_TD_REG_STORM_DROPPED       0x0d8   /* RO: not sent (NO_WAIT) */
/* RO: groups whose last request was accepted */
#define IOPF_TD_REG_STORM_GROUPS        0x0dc
/* RO: responses to them, without automatic ones */
#define IOPF_TD_REG_STORM_RESPONSES     0x0e0
/* RO: last refusal, negative errno as a signed value */
#define IOPF_TD_REG_STORM_RET           0x0e4

/*
 * Misbehaviour, all off at reset
 */
#define IOPF_TD_REG_HOSTILE             0x0f0   /* RW, reset 0 */
/* keep invalidated entries */
#define   IOPF_TD_HOSTILE_IGNORE_INV    0x00000001
/* keep entries when ATS is switched off */
#define   IOPF_TD_HOSTILE_KEEP_ATC      0x00000002
#define   IOPF_TD_HOSTILE_NO_LAST       0x00000004 /* F_NOLAST for all */
#define   IOPF_TD_HOSTILE_FIXED_PRGI    0x00000008 /* always PRI_PRGI */
#define   IOPF_TD_HOSTILE_IGNORE_RSP    0x00000010 /* log responses, no more */
/* more requests than allocated */
#define   IOPF_TD_HOSTILE_IGNORE_ALLOC  0x00000020
/* page requests although PRI is disabled */
#define   IOPF_TD_HOSTILE_FORCE_PRI     0x00000040
/* translation requests and ATC use although ATS is disabled */
#define   IOPF_TD_HOSTILE_FORCE_ATS     0x00000080
/* PASIDs although PASID is disabled */
#define   IOPF_TD_HOSTILE_FORCE_PASID   0x00000100
/* go on after a Response Failure */
#define   IOPF_TD_HOSTILE_IGNORE_RF     0x00000200
/* withhold completions of invalidations until it is cleared */
#define   IOPF_TD_HOSTILE_HOLD_INV      0x00000400
/* never complete them: a time-out for the IOMMU */
#define   IOPF_TD_HOSTILE_REFUSE_INV    0x00000800
/* ask for a translation of address 0 as soon as ATS is enabled */
#define   IOPF_TD_HOSTILE_ASK_EARLY     0x00001000
/* the same as long as it is, when it is about to be disabled */
#define   IOPF_TD_HOSTILE_ASK_LATE      0x00002000
#define   IOPF_TD_HOSTILE_ALL           0x00003fff

/*
 * WO: have an uncorrectable error, a bit of the AER Uncorrectable Error Status
 * register, and report it as AER and Device Control say; needs AER
 */
#define IOPF_TD_REG_ERROR               0x0f4

/*
 * Counters: RO, 32 bits, free running, cleared by reset and CMD_CLEAR
 */
#define IOPF_TD_REG_COUNTERS            0x100
#define IOPF_TD_REG_CNT_TR              0x100   /* translation requests sent */
#define IOPF_TD_REG_CNT_TR_OK           0x104   /* answered with the access */
#define IOPF_TD_REG_CNT_TR_NONE         0x108   /* answered without it */
#define IOPF_TD_REG_CNT_TR_REFUSED      0x10c   /* failed, negative errno */
#define IOPF_TD_REG_CNT_PR              0x110   /* page requests sent */
/* of these, last of a group: responses to be expected */
#define IOPF_TD_REG_CNT_PR_LAST         0x114
#define IOPF_TD_REG_CNT_PR_FULL         0x118   /* their group: queue full */
#define IOPF_TD_REG_CNT_PR_REFUSED      0x11c   /* not sent */
/* responses received, by code */
#define IOPF_TD_REG_CNT_RSP_SUCCESS     0x120
#define IOPF_TD_REG_CNT_RSP_INVALID     0x124
#define IOPF_TD_REG_CNT_RSP_FAILURE     0x128
/* groups closed by a refusal of their last request; not in the others */
#define IOPF_TD_REG_CNT_RSP_AUTO        0x12c
/* of those received: no such group */
#define IOPF_TD_REG_CNT_RSP_UNMATCHED   0x130
/* of those received: group was given up before */
#define IOPF_TD_REG_CNT_RSP_LATE        0x134
#define IOPF_TD_REG_CNT_TIMEOUT         0x138   /* waits that timed out */
#define IOPF_TD_REG_CNT_STOP_MARKER     0x13c   /* stop markers accepted */
#define IOPF_TD_REG_CNT_ACC_TRANSLATED  0x140   /* memory accesses, AT=10b */
#define IOPF_TD_REG_CNT_ACC_UNTRANSLATED 0x144  /* memory accesses, AT=00b */
#define IOPF_TD_REG_CNT_ACC_FAILED      0x148   /* of both: with an error */
#define IOPF_TD_REG_CNT_DESC_OK         0x14c   /* descriptors ended well */
#define IOPF_TD_REG_CNT_DESC_ERROR      0x150   /* descriptors failed */
#define IOPF_TD_REG_CNT_STALL           0x154   /* accesses that were held */
#define IOPF_TD_REG_CNT_STALL_FULL      0x158   /* IOMMU could not hold more */
#define IOPF_TD_REG_COUNTERS_END        0x15c

/* Logs: RO, records written since reset or CMD_CLEAR, free running */
#define IOPF_TD_REG_INVLOG_HEAD         0x180
#define IOPF_TD_REG_RSPLOG_HEAD         0x184

/*
 * Descriptor, 64 bytes: offsets. The first 32 bytes are read when it is
 * fetched, the second 32 are written when it ends, the status last. Software
 * sets the status to IOPF_TD_ST_NONE before it rings the doorbell.
 */
#define IOPF_TD_DESC_SIZE               64
#define IOPF_TD_DESC_OPCODE             0       /* 8: IOPF_TD_OP_* */
#define IOPF_TD_DESC_MODE               1       /* 8: IOPF_TD_MODE_* */
#define IOPF_TD_DESC_FLAGS              2       /* 16: IOPF_TD_F_* */
#define IOPF_TD_DESC_PASID              4       /* 32: with F_PASID, 20 bits */
#define IOPF_TD_DESC_IOVA               8       /* 64: address in the host */
#define IOPF_TD_DESC_LENGTH             16      /* 32: bytes */
#define IOPF_TD_DESC_RAM                20      /* 32: offset in device RAM */
#define IOPF_TD_DESC_DATA               24      /* 32: pattern seed, addend */
#define IOPF_TD_DESC_PRGI               28      /* 16: with F_PRGI, 0..511 */
/* 16: micro-steps between translation and access */
#define IOPF_TD_DESC_DELAY              30
#define IOPF_TD_DESC_STATUS             32      /* 32: IOPF_TD_ST_* */
/* 32: signed, last negative errno (Linux numbers) or 0 */
#define IOPF_TD_DESC_RET                36
#define IOPF_TD_DESC_FAIL_ADDR          40      /* 64: where it failed */
/* 32: bytes done; TRANSLATE: bytes of results */
#define IOPF_TD_DESC_DONE               48
/* 16: translation requests, saturating */
#define IOPF_TD_DESC_NR_TR              52
/* 16: page requests accepted, saturating */
#define IOPF_TD_DESC_NR_PR              54
/* 32: value of RING_DONE after this completion */
#define IOPF_TD_DESC_SEQ                56
/* 32: virtual us from fetch to end, saturating */
#define IOPF_TD_DESC_ELAPSED_US         60

/* Opcodes */
#define IOPF_TD_OP_NOP                  0       /* ends with ST_OK */
#define IOPF_TD_OP_READ                 1       /* host -> device RAM */
#define IOPF_TD_OP_WRITE                2       /* device RAM -> host */
#define IOPF_TD_OP_FILL                 3       /* pattern -> host */
#define IOPF_TD_OP_COMPARE              4       /* host against pattern */
/*
 * 64-bit host += DATA (sign extended), old value -> RAM; LENGTH 8, IOVA
 * aligned
 */
#define IOPF_TD_OP_FETCH_ADD            5
/*
 * translate the range, results to RAM; needs READ, WRITE and/or EXEC flag; no
 * page requests
 */
#define IOPF_TD_OP_TRANSLATE            6
/*
 * page requests for the range, READ, WRITE, EXEC flags as given (none is
 * legal); ends when sent, with F_WAIT when answered
 */
#define IOPF_TD_OP_PAGE_REQUEST         7
#define IOPF_TD_OP_STOP_MARKER          8       /* stop marker for PASID */
/* ends when earlier descriptors have ended and no group waits for a response */
#define IOPF_TD_OP_FENCE                9
/* drop range from the ATC, LENGTH 0: whole PASID */
#define IOPF_TD_OP_ATC_DROP             10
/* DATA -> a record in both logs */
#define IOPF_TD_OP_MARK                 11
/* as a device stops a PASID: groups become stale, ATC dropped, marker sent */
#define IOPF_TD_OP_STOP_PASID           12
#define IOPF_TD_OP_MAX                  12

/* Address modes */
/* ATS when live, otherwise untranslated */
#define IOPF_TD_MODE_AUTO               0
/* AT=00b; with a PASID only with CAPS_STALL and an IOMMU that knows of that */
#define IOPF_TD_MODE_UNTRANSLATED       1
/* translation request, AT=10b */
#define IOPF_TD_MODE_TRANSLATED         2
#define IOPF_TD_MODE_RAW                3       /* IOVA as it is with AT=10b */
#define IOPF_TD_MODE_MAX                3

/* Descriptor flags */
#define IOPF_TD_F_PASID                 0x0001  /* PASID field is used */
#define IOPF_TD_F_PRIV                  0x0002  /* privileged mode */
#define IOPF_TD_F_EXEC                  0x0004  /* execute, with reads */
/* "no write" in translation requests of a TRANSLATE; others set it by need */
#define IOPF_TD_F_NW                    0x0008
#define IOPF_TD_F_NOLOOKUP              0x0010  /* do not look in the ATC */
#define IOPF_TD_F_NOFILL                0x0020  /* do not fill the ATC */
#define IOPF_TD_F_NO_PR                 0x0040  /* no page requests */
#define IOPF_TD_F_IRQ                   0x0080  /* raise IRQ_RING at the end */
/* start after all before it ended; later ones start after its end */
#define IOPF_TD_F_ORDERED               0x0100
#define IOPF_TD_F_PRGI                  0x0200  /* PRGI field is used */
/* one group for all missing pages of the rest */
#define IOPF_TD_F_GROUP                 0x0400
#define IOPF_TD_F_NOLAST                0x0800  /* no last flag in groups */
#define IOPF_TD_F_READ                  0x1000  /* TRANSLATE, PAGE_REQUEST */
#define IOPF_TD_F_WRITE                 0x2000  /* TRANSLATE, PAGE_REQUEST */
#define IOPF_TD_F_WAIT                  0x4000  /* PAGE_REQUEST: for response */
#define IOPF_TD_F_ALL                   0x7fff

/* Status */
#define IOPF_TD_ST_NONE                 0       /* not ended */
#define IOPF_TD_ST_OK                   1
#define IOPF_TD_ST_BAD_DESC             2       /* malformed descriptor */
/* no IOMMU (-ENODEV), or untranslated with a PASID where that is not there */
#define IOPF_TD_ST_UNSUPPORTED          3
/* not bus master, or not enabled in the device (-EPERM) */
#define IOPF_TD_ST_REFUSED              4
/* no permission, and no page request allowed */
#define IOPF_TD_ST_NO_ACCESS            5
#define IOPF_TD_ST_TR_ERROR             6       /* UR or CA */
#define IOPF_TD_ST_RSP_INVALID          7       /* response: Invalid Request */
/* response: Failure, now or earlier */
#define IOPF_TD_ST_RSP_FAILURE          8
#define IOPF_TD_ST_RSP_TIMEOUT          9       /* no response in time */
#define IOPF_TD_ST_QUEUE_FULL           10      /* FULL_RETRY rounds used up */
#define IOPF_TD_ST_ACCESS_ERROR         11      /* memory access failed */
#define IOPF_TD_ST_MISMATCH             12      /* COMPARE found a difference */
#define IOPF_TD_ST_NO_RETRY             13      /* RETRY rounds used up */
/* CMD_ABORT, STOP_PASID, PRI disabled or reset */
#define IOPF_TD_ST_ABORTED              14
#define IOPF_TD_ST_NO_CREDIT            15      /* allocation is 0 or used up */
/* page request failed, see RET */
#define IOPF_TD_ST_PR_ERROR             16
#define IOPF_TD_ST_NO_PASID             17      /* IOPF_TD_PASIDS_MAX in use */

/*
 * Pattern of FILL and COMPARE: byte b of the transfer is byte (b % 4), least
 * significant first, of the word  DATA + (b / 4) * IOPF_TD_PATTERN_STEP.
 */
#define IOPF_TD_PATTERN_STEP            0x9e3779b1

/* Result of TRANSLATE, 16 bytes per entry: offsets and fields */
#define IOPF_TD_TRREC_SIZE              16
#define IOPF_TD_TRREC_IOVA              0       /* 64: start | log2 size */
#define   IOPF_TD_TRREC_IOVA_SIZE       0x3f
/* 64: translated | permissions */
#define IOPF_TD_TRREC_ADDR              8
#define   IOPF_TD_TRREC_READ            0x01
#define   IOPF_TD_TRREC_WRITE           0x02
#define   IOPF_TD_TRREC_EXEC            0x04
#define   IOPF_TD_TRREC_PRIV            0x08
#define   IOPF_TD_TRREC_GLOBAL          0x10
#define   IOPF_TD_TRREC_UNTRANSLATED    0x20

/*
 * Response log, 32 bytes per record: record n is at
 * IOPF_TD_RAM_RSPLOG + (n % IOPF_TD_RSPLOG_ENTRIES) * 32
 */
#define IOPF_TD_RSP_SEQ                 0       /* 32: n + 1, written last */
#define IOPF_TD_RSP_CODE                4       /* 8: IOPF_TD_RSP_CODE_* */
#define   IOPF_TD_RSP_CODE_SUCCESS      0x0     /* wire values */
#define   IOPF_TD_RSP_CODE_INVALID      0x1
#define   IOPF_TD_RSP_CODE_FAILURE      0xf
#define IOPF_TD_RSP_FLAGS               5       /* 8 */
/* no message came: the IOMMU refused the last request, that is the answer */
#define   IOPF_TD_RSP_F_AUTO            0x01
#define   IOPF_TD_RSP_F_LATE            0x02    /* group was given up before */
#define   IOPF_TD_RSP_F_UNMATCHED       0x04    /* no such group: UPRGI */
#define   IOPF_TD_RSP_F_IGNORED         0x08    /* HOSTILE_IGNORE_RSP */
#define   IOPF_TD_RSP_F_STORM           0x10    /* group of a storm */
#define   IOPF_TD_RSP_F_MARK            0x20    /* OP_MARK, DATA in COUNT */
#define IOPF_TD_RSP_PRGI                6       /* 16 */
#define IOPF_TD_RSP_PASID               8       /* 32: or IOPF_TD_NO_PASID */
#define IOPF_TD_RSP_COUNT               12      /* 32: requests it closes */
/* 64: first page of the group */
#define IOPF_TD_RSP_ADDR                16
/* 64: virtual ns since the last request was sent */
#define IOPF_TD_RSP_AGE_NS              24

/*
 * Invalidation log, 32 bytes per record: record n is at
 * IOPF_TD_RAM_INVLOG + (n % IOPF_TD_INVLOG_ENTRIES) * 32
 */
#define IOPF_TD_INV_SEQ                 0       /* 32: n + 1, written last */
#define IOPF_TD_INV_PASID               4       /* 32: or IOPF_TD_NO_PASID */
#define IOPF_TD_INV_ADDR                8       /* 64: first address */
#define IOPF_TD_INV_MASK                16      /* 64: size - 1 */
#define IOPF_TD_INV_DROPPED             24      /* 32: entries dropped */
#define IOPF_TD_INV_FLAGS               28      /* 32 */
#define   IOPF_TD_INV_F_IGNORED         0x01    /* HOSTILE_IGNORE_INV */
#define   IOPF_TD_INV_F_MARK            0x02    /* OP_MARK, DATA in DROPPED */

#endif /* HW_MISC_IOPF_TESTDEV_REGS_H */

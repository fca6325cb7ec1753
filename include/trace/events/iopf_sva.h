/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests that the kernel serves in the address space of a process
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iopf_sva

#if !defined(_TRACE_IOPF_SVA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IOPF_SVA_H

#include <linux/iommu.h>
#include <linux/tracepoint.h>

/*
 * The kernel has served a group of requests, or has refused to. The device may be gone,
 * so it is not named.
 */
TRACE_EVENT(iopf_serve,
	    TP_PROTO(const struct iommu_fault_page_request *prm, size_t count,
		     unsigned int lookups, unsigned int mmap_locks),
	    TP_ARGS(prm, count, lookups, mmap_locks),
	    TP_STRUCT__entry(__field(u32, pasid)
			     __field(u32, grpid)
			     __field(size_t, count)
			     __field(unsigned int, lookups)
			     __field(unsigned int, mmap_locks)),
	    TP_fast_assign(__entry->pasid = prm->pasid;
			   __entry->grpid = prm->grpid;
			   __entry->count = count;
			   __entry->lookups = lookups;
			   __entry->mmap_locks = mmap_locks;),
	    TP_printk("pasid=0x%x group=%u requests=%zu lookups=%u mmap_locks=%u",
		      __entry->pasid, __entry->grpid, __entry->count,
		      __entry->lookups, __entry->mmap_locks)
);

#endif /* _TRACE_IOPF_SVA_H */

/* This part must be outside protection */
#include <trace/define_trace.h>

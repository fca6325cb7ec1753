/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Life of page requests, from the device to the answer
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iopf

#if !defined(_TRACE_IOPF_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IOPF_H

#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/tracepoint.h>

#define iopf_show_flags(flags)						\
	__print_flags(flags, "|",					\
		      { IOMMU_FAULT_PAGE_REQUEST_PASID_VALID, "pasid" },	\
		      { IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE, "last" },	\
		      { IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID, "resp-pasid" })

#define iopf_show_perm(perm)						\
	__print_flags(perm, "",						\
		      { IOMMU_FAULT_PERM_READ, "r" },			\
		      { IOMMU_FAULT_PERM_WRITE, "w" },			\
		      { IOMMU_FAULT_PERM_EXEC, "x" },			\
		      { IOMMU_FAULT_PERM_PRIV, "p" })

#define iopf_show_code(code)						\
	__print_symbolic(code,						\
			 { IOMMU_PAGE_RESP_SUCCESS, "success" },	\
			 { IOMMU_PAGE_RESP_INVALID, "invalid" },	\
			 { IOMMU_PAGE_RESP_FAILURE, "failure" })

/* A page request was decoded and reported by the IOMMU driver. */
TRACE_EVENT(iopf_report,
	    TP_PROTO(struct device *dev,
		     const struct iommu_fault_page_request *prm),
	    TP_ARGS(dev, prm),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u64, addr)
			     __field(u32, pasid)
			     __field(u32, grpid)
			     __field(u32, perm)
			     __field(u32, flags)),
	    TP_fast_assign(__assign_str(device);
			   __entry->addr = prm->addr;
			   __entry->pasid = prm->pasid;
			   __entry->grpid = prm->grpid;
			   __entry->perm = prm->perm;
			   __entry->flags = prm->flags;),
	    TP_printk("%s addr=0x%llx pasid=0x%x group=%u perm=%s flags=%s",
		      __get_str(device), __entry->addr, __entry->pasid,
		      __entry->grpid, iopf_show_perm(__entry->perm),
		      iopf_show_flags(__entry->flags))
);

DECLARE_EVENT_CLASS(iopf_group,
		    TP_PROTO(struct device *dev,
			     const struct iommu_fault_page_request *prm,
			     size_t count),
		    TP_ARGS(dev, prm, count),
		    TP_STRUCT__entry(__string(device, dev_name(dev))
				     __field(u32, pasid)
				     __field(u32, grpid)
				     __field(u32, flags)
				     __field(size_t, count)),
		    TP_fast_assign(__assign_str(device);
				   __entry->pasid = prm->pasid;
				   __entry->grpid = prm->grpid;
				   __entry->flags = prm->flags;
				   __entry->count = count;),
		    TP_printk("%s pasid=0x%x group=%u requests=%zu flags=%s",
			      __get_str(device), __entry->pasid, __entry->grpid,
			      __entry->count, iopf_show_flags(__entry->flags))
);

/* A group is complete and goes to the handler of the attached domain. */
DEFINE_EVENT(iopf_group, iopf_deliver,
	     TP_PROTO(struct device *dev,
		      const struct iommu_fault_page_request *prm, size_t count),
	     TP_ARGS(dev, prm, count)
);

/* User space has taken a group out of its fault queue. */
DEFINE_EVENT(iopf_group, iopf_read,
	     TP_PROTO(struct device *dev,
		      const struct iommu_fault_page_request *prm, size_t count),
	     TP_ARGS(dev, prm, count)
);

/* The kernel has served a group of the address space of a process, or has refused to. */
TRACE_EVENT(iopf_serve,
	    TP_PROTO(struct device *dev,
		     const struct iommu_fault_page_request *prm, size_t count,
		     unsigned int lookups, unsigned int mmap_locks),
	    TP_ARGS(dev, prm, count, lookups, mmap_locks),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u32, pasid)
			     __field(u32, grpid)
			     __field(size_t, count)
			     __field(unsigned int, lookups)
			     __field(unsigned int, mmap_locks)),
	    TP_fast_assign(__assign_str(device);
			   __entry->pasid = prm->pasid;
			   __entry->grpid = prm->grpid;
			   __entry->count = count;
			   __entry->lookups = lookups;
			   __entry->mmap_locks = mmap_locks;),
	    TP_printk("%s pasid=0x%x group=%u requests=%zu lookups=%u mmap_locks=%u",
		      __get_str(device), __entry->pasid, __entry->grpid,
		      __entry->count, __entry->lookups, __entry->mmap_locks)
);

/* A group, or a last request that never became one (orphan), is answered. */
TRACE_EVENT(iopf_respond,
	    TP_PROTO(struct device *dev,
		     const struct iommu_fault_page_request *prm, u32 code,
		     bool orphan),
	    TP_ARGS(dev, prm, code, orphan),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u32, pasid)
			     __field(u32, grpid)
			     __field(u32, code)
			     __field(bool, orphan)),
	    TP_fast_assign(__assign_str(device);
			   __entry->pasid = prm->pasid;
			   __entry->grpid = prm->grpid;
			   __entry->code = code;
			   __entry->orphan = orphan;),
	    TP_printk("%s pasid=0x%x group=%u code=%s%s",
		      __get_str(device), __entry->pasid, __entry->grpid,
		      iopf_show_code(__entry->code),
		      __entry->orphan ? " orphan" : "")
);

/* Requests were dropped before the last one of their group came. */
TRACE_EVENT(iopf_discard,
	    TP_PROTO(struct device *dev, u32 pasid, unsigned int count),
	    TP_ARGS(dev, pasid, count),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u32, pasid)
			     __field(unsigned int, count)),
	    TP_fast_assign(__assign_str(device);
			   __entry->pasid = pasid;
			   __entry->count = count;),
	    TP_printk("%s pasid=0x%x requests=%u", __get_str(device),
		      __entry->pasid, __entry->count)
);

/* A queue was full, and the hardware has lost requests. */
TRACE_EVENT(iopf_overflow,
	    TP_PROTO(unsigned int total),
	    TP_ARGS(total),
	    TP_STRUCT__entry(__field(unsigned int, total)),
	    TP_fast_assign(__entry->total = total;),
	    TP_printk("total=%u", __entry->total)
);

#endif /* _TRACE_IOPF_H */

/* This part must be outside protection */
#include <trace/define_trace.h>

/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM carveout_heap

#if !defined(CARVEOUT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define CARVEOUT_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(carveout_buffer,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size),
	TP_ARGS(pool, base, size),

	TP_STRUCT__entry(
		__string(pool, pool)
		__field(u64, base)
		__field(u64, size)
	),

	TP_fast_assign(
		__assign_str(pool);
		__entry->base = base;
		__entry->size = size;
	),

	TP_printk("pool=%s base=0x%llx size=0x%llx",
		  __get_str(pool), __entry->base, __entry->size)
);

/* A buffer has been taken from the pool */
DEFINE_EVENT(carveout_buffer, carveout_alloc,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size),
	TP_ARGS(pool, base, size)
);

/* A buffer has lost its last user */
DEFINE_EVENT(carveout_buffer, carveout_free,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size),
	TP_ARGS(pool, base, size)
);

/* A part of the pool that nobody has is not in any cache any more */
DEFINE_EVENT(carveout_buffer, carveout_clean,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size),
	TP_ARGS(pool, base, size)
);

/* It is zero now, and free */
DEFINE_EVENT(carveout_buffer, carveout_scrub,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size),
	TP_ARGS(pool, base, size)
);

/* A part of a buffer got a mapping, at addr */
TRACE_EVENT(carveout_map,
	TP_PROTO(const char *pool, phys_addr_t base, size_t size, unsigned long addr),
	TP_ARGS(pool, base, size, addr),

	TP_STRUCT__entry(
		__string(pool, pool)
		__field(u64, base)
		__field(u64, size)
		__field(unsigned long, addr)
	),

	TP_fast_assign(
		__assign_str(pool);
		__entry->base = base;
		__entry->size = size;
		__entry->addr = addr;
	),

	TP_printk("pool=%s base=0x%llx size=0x%llx addr=0x%lx",
		  __get_str(pool), __entry->base, __entry->size, __entry->addr)
);

#endif /* CARVEOUT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE carveout_trace
#include <trace/define_trace.h>

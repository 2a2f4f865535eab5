/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between the kernels that the module builds with, found by what
 * a kernel has, where that can be seen, not by its version, since distributions backport.
 */
#ifndef CARVEOUT_COMPAT_H
#define CARVEOUT_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "carveout_heap needs Linux 6.12 or later: PFNMAP memory in huge pages"
#endif

#ifndef CONFIG_ARM64
#error "carveout_heap is for arm64: no other architecture has a probe of the linear map here"
#endif
#ifndef CONFIG_DMA_SHARED_BUFFER
#error "carveout_heap needs a kernel with CONFIG_DMA_SHARED_BUFFER"
#endif

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

/*
 * vmf_insert_pfn_pmd() takes a pfn_t as long as there is such a thing. sparse has
 * no __has_include: it is for newer kernels.
 */
#ifdef __has_include
#if __has_include(<linux/pfn_t.h>)
#include <linux/pfn_t.h>
#define carveout_pfn(pfn)	__pfn_to_pfn_t(pfn, PFN_DEV)
#endif
#endif
#ifndef carveout_pfn
#define carveout_pfn(pfn)	(pfn)
#endif

/*
 * set_pte() does not tell the page-table check of an entry, which hears of its end. Since
 * "mm/page_table_check: do not track special (PFN-mapped) PTEs" it takes no account of such
 * entries. v7.3 has that; of a stable kernel the headers do not say.
 * Link: https://lore.kernel.org/r/20260608155758.1220420-1-andrey.smirnov@siderolabs.com
 */
#define carveout_may_set_pte						\
	(!IS_ENABLED(CONFIG_PAGE_TABLE_CHECK) ||			\
	 LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0))

#ifndef kzalloc_obj
#define kzalloc_obj(obj)	kzalloc(sizeof(obj), GFP_KERNEL)
#endif

/*
 * The dmem cgroup controller accounts what is no page of the kernel's. Kbuild has
 * looked which of two ways to register a region the kernel has, if any.
 */
#ifdef CARVEOUT_DMEM
#include <linux/cgroup_dmem.h>
#endif
#if defined(CARVEOUT_DMEM) && IS_ENABLED(CONFIG_CGROUP_DMEM)
static inline struct dmem_cgroup_region *carveout_dmem_register(u64 size, const char *name)
{
#if CARVEOUT_DMEM == 2
	const struct dmem_cgroup_init init = { .size = size };

	return dmem_cgroup_register_region(&init, "carveout/%s", name);
#else
	return dmem_cgroup_register_region(size, "carveout/%s", name);
#endif
}

static inline void carveout_dmem_unregister(struct dmem_cgroup_region *region)
{
	if (region)
		dmem_cgroup_unregister_region(region);
}

static inline int carveout_dmem_charge(struct dmem_cgroup_region *region, u64 size,
				       struct dmem_cgroup_pool_state **charge)
{
	return region ? dmem_cgroup_try_charge(region, size, charge, NULL) : 0;
}

static inline void carveout_dmem_uncharge(struct dmem_cgroup_pool_state *charge, u64 size)
{
	if (charge)
		dmem_cgroup_uncharge(charge, size);
}
#else
struct dmem_cgroup_region;
struct dmem_cgroup_pool_state;

static inline struct dmem_cgroup_region *carveout_dmem_register(u64 size, const char *name)
{
	return NULL;
}

static inline void carveout_dmem_unregister(struct dmem_cgroup_region *region)
{
}

static inline int carveout_dmem_charge(struct dmem_cgroup_region *region, u64 size,
				       struct dmem_cgroup_pool_state **charge)
{
	return 0;
}

static inline void carveout_dmem_uncharge(struct dmem_cgroup_pool_state *charge, u64 size)
{
}
#endif

/*
 * The argument of MODULE_IMPORT_NS() has been a bare word and a string; what
 * both make of it is the same.
 */
#define carveout_import_ns(ns)	MODULE_INFO(import_ns, ns)

#endif /* CARVEOUT_COMPAT_H */

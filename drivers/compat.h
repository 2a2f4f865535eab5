/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between the kernels that the module builds with, found by what
 * a kernel has, not by its version, since distributions backport.
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
#ifndef CONFIG_GENERIC_ALLOCATOR
#error "carveout_heap needs a kernel with CONFIG_GENERIC_ALLOCATOR"
#endif

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

#ifndef kzalloc_obj
#define kzalloc_obj(obj)	kzalloc(sizeof(obj), GFP_KERNEL)
#endif

/*
 * The argument of MODULE_IMPORT_NS() has been a bare word and a string; what
 * both make of it is the same.
 */
#define carveout_import_ns(ns)	MODULE_INFO(import_ns, ns)

#endif /* CARVEOUT_COMPAT_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * The proof that nothing else maps a range. It knows nothing of pools and changes
 * nothing.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/sched.h>

#include "carveout.h"
#include "carveout_arch.h"

/**
 * carveout_prove() - Prove that nothing else maps a range
 * @base: physical address, page aligned
 * @size: length in bytes, page aligned
 * @why: buffer for the reason if something may
 * @len: its length in bytes
 *
 * Page by page: memblock must not have it as memory that the kernel maps, the
 * resource tree not as System RAM, and the linear map's address must not
 * translate. Each of them sees what the others do not: memblock knows nothing of
 * ZONE_DEVICE, the resource tree nothing of what mem= cut off, and a translation
 * nothing of pages that are unmapped for a time. And what the kernel was booted
 * with may be where none of them looks.
 *
 * Context: Process context, may sleep; no locks needed, and mmap_lock may be held.
 *	The answer is of the moment: what keeps others from the range afterwards is
 *	the claim on it.
 *
 * Return: 0, or -EBUSY with the page and the reason in @why.
 */
int carveout_prove(phys_addr_t base, size_t size, char *why, size_t len)
{
	bool system_ram = region_intersects(base, size, IORESOURCE_SYSTEM_RAM,
					    IORES_DESC_NONE) != REGION_DISJOINT;
	const char *reason = NULL;
	phys_addr_t page;

	if (carveout_arch_has_fdt(base, size)) {
		snprintf(why, len, "the kernel's device tree is in it");
		return -EBUSY;
	}

	for (page = base; page - base < size; page += PAGE_SIZE) {
		if (pfn_is_map_memory(PHYS_PFN(page)))
			reason = "is memory that the kernel maps";
		else if (system_ram &&
			 region_intersects(page, PAGE_SIZE, IORESOURCE_SYSTEM_RAM,
					   IORES_DESC_NONE) != REGION_DISJOINT)
			reason = "is System RAM in /proc/iomem";
		else
			switch (carveout_arch_linear_alias(page)) {
			case CARVEOUT_ALIAS_NONE:
				break;
			case CARVEOUT_ALIAS_MAPPED:
				reason = "is mapped in the linear map";
				break;
			case CARVEOUT_ALIAS_UNKNOWN:
				reason = "may be mapped: its translation fails strangely";
				break;
			}

		if (reason) {
			snprintf(why, len, "page %pa %s", &page, reason);
			return -EBUSY;
		}

		if (!(page & (PMD_SIZE - 1)))
			cond_resched();
	}

	return 0;
}

/**
 * carveout_try_proof() - Try whether the proof sees what is there
 *
 * A probe that does not see what is there proves nothing: try it on a page of the
 * linear map, and on the device tree, which the kernel has somewhere.
 *
 * Context: Process context, may sleep; no locks needed. When the module is loaded,
 *	before the first carveout_prove().
 *
 * Return: 0, -ENOMEM, or -ENODEV with a message that says what is not seen.
 */
int __init carveout_try_proof(void)
{
	unsigned long page = __get_free_page(GFP_KERNEL);
	enum carveout_alias alias;

	if (!page)
		return -ENOMEM;
	alias = carveout_arch_linear_alias(__pa(page));
	free_page(page);

	if (alias != CARVEOUT_ALIAS_MAPPED) {
		pr_err("the translation probe does not see a page of the linear map\n");
		return -ENODEV;
	}
	if (!carveout_arch_has_fdt(0, PHYS_MASK)) {
		pr_err("the translation probe does not see the kernel's device tree\n");
		return -ENODEV;
	}
	if (!carveout_arch_fdt_reserved(0, NULL, NULL)) {
		pr_err("the kernel's device tree is not where it was expected\n");
		return -ENODEV;
	}

	return 0;
}

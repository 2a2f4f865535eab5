// SPDX-License-Identifier: GPL-2.0
/*
 * What the carve-out module has to do in the architecture's own terms: ask the
 * MMU whether the linear map has a page, and clean a range to the point of
 * coherency.
 */
#include <linux/bitfield.h>
#include <linux/irqflags.h>

#include <asm/barrier.h>
#include <asm/boot.h>
#include <asm/cpufeature.h>
#include <asm/fixmap.h>
#include <asm/memory.h>
#include <asm/sysreg.h>

#include "carveout_arch.h"

/*
 * PAR_EL1.FST: a translation fault, and the two bits that are its level; that of
 * level -1, which only FEAT_LPA2 has, is apart (Arm ARM, PAR_EL1)
 */
#define FST_TRANSLATION		0x04
#define FST_LEVEL		GENMASK(1, 0)
#define FST_TRANSLATION_LM1	0x2b

/* PAR_EL1 after AT S1E1R, as a privileged read would translate the address */
static u64 carveout_translate(unsigned long va)
{
	unsigned long flags;
	u64 par;

	local_irq_save(flags);
	asm volatile("at s1e1r, %0" : : "r" (va) : "memory");
	isb();
	par = read_sysreg_par();
	local_irq_restore(flags);

	return par;
}

/**
 * carveout_arch_linear_alias() - Ask the MMU for the linear map's alias of a page
 * @phys: physical address of the page
 *
 * Translates the linear map's address of the page with AT S1E1R, as a privileged
 * read would (Arm ARM, "Address translation instructions"; with VHE and TGE it
 * is the EL2&0 regime that is asked, which is the kernel's). Nothing is accessed.
 *
 * It complements pfn_is_map_memory() and does not replace it: the kernel unmaps
 * pages of real RAM for debug_pagealloc, kfence and secretmem, and maps them
 * again.
 *
 * Context: Any. Disables interrupts for a few instructions, PAR_EL1 is one
 * register for all who translate.
 *
 * Return: CARVEOUT_ALIAS_NONE only for a translation fault of stage 1, or for an
 * address that the linear map cannot have.
 */
enum carveout_alias carveout_arch_linear_alias(phys_addr_t phys)
{
	unsigned long fst;
	u64 par;

	/*
	 * __phys_to_virt() only ORs: look first whether it has an answer. The
	 * difference has to wrap: a kernel for 52 bits of virtual address on a CPU
	 * that has 48 has a PHYS_OFFSET below zero.
	 */
	if (phys - PHYS_OFFSET >= PAGE_END - PAGE_OFFSET)
		return CARVEOUT_ALIAS_NONE;

	par = carveout_translate(__phys_to_virt(phys));
	if (!(par & SYS_PAR_EL1_F))
		return CARVEOUT_ALIAS_MAPPED;

	fst = FIELD_GET(SYS_PAR_EL1_FST, par);
	if (!(par & SYS_PAR_EL1_S) &&
	    ((fst & ~FST_LEVEL) == FST_TRANSLATION || fst == FST_TRANSLATION_LM1))
		return CARVEOUT_ALIAS_NONE;

	return CARVEOUT_ALIAS_UNKNOWN;
}

/**
 * carveout_arch_has_fdt() - Does the kernel have its device tree in a range?
 * @base: physical address of the range
 * @size: length in bytes
 *
 * The kernel maps the blob that it was booted with cacheable in the fixmap, for
 * good, and the live tree points into it. Where the loader has put it above what
 * mem= leaves to the kernel, neither memblock nor the resource tree know of it.
 *
 * Context: Any. Disables interrupts for a few instructions a page of the fixmap.
 *
 * Return: true if a page of the range translates from the fixmap's slot for it.
 */
bool carveout_arch_has_fdt(phys_addr_t base, size_t size)
{
	unsigned long start = __fix_to_virt(FIX_FDT), va;
	phys_addr_t phys;
	u64 par;

	/* It need not start at the start of a page */
	for (va = start; va < start + MAX_FDT_SIZE + PAGE_SIZE; va += PAGE_SIZE) {
		par = carveout_translate(va);
		phys = par & SYS_PAR_EL1_PA;
		if (!(par & SYS_PAR_EL1_F) && phys + PAGE_SIZE > base && phys < base + size)
			return true;
	}

	return false;
}

/* The head of a flattened device tree (Devicetree Specification, "Flattened Devicetree") */
struct fdt_head {
	__be32 magic;
	__be32 totalsize;
	__be32 off_dt_struct;
	__be32 off_dt_strings;
	__be32 off_mem_rsvmap;
};

#define FDT_MAGIC	0xd00dfeed

/*
 * The blob in the fixmap: at the offset in the first page that it has in its own, which
 * nobody tells, but the kernel takes none that is not aligned to MIN_FDT_ALIGN. All
 * of it is mapped.
 */
static const struct fdt_head *carveout_fdt(void)
{
	unsigned long start = __fix_to_virt(FIX_FDT), va;
	const struct fdt_head *head;

	if (carveout_translate(start) & SYS_PAR_EL1_F)
		return NULL;

	for (va = start; va < start + PAGE_SIZE; va += MIN_FDT_ALIGN) {
		head = (const struct fdt_head *)va;
		if (be32_to_cpu(head->magic) == FDT_MAGIC &&
		    be32_to_cpu(head->totalsize) <= MAX_FDT_SIZE)
			return head;
	}

	return NULL;
}

/**
 * carveout_arch_fdt_reserved() - An entry of the device tree's memory reservation block
 * @n: which one, from 0 on
 * @start: where to leave its first address, or NULL to ask only for the block
 * @last: where to leave its last one
 *
 * That is what /memreserve/ in its source makes. It has no node, and what memblock knows
 * of it a module cannot ask.
 *
 * Context: Any.
 *
 * Return: true if there is such an entry, or, without @start, if there is a block.
 */
bool carveout_arch_fdt_reserved(unsigned int n, phys_addr_t *start, phys_addr_t *last)
{
	const struct fdt_head *head = carveout_fdt();
	const __be64 *entry;
	u64 offset, size;

	if (!head)
		return false;
	offset = be32_to_cpu(head->off_mem_rsvmap) + (u64)n * 2 * sizeof(*entry);
	if (offset & 7 || offset + 2 * sizeof(*entry) > be32_to_cpu(head->totalsize))
		return false;
	if (!start)
		return true;

	entry = (const void *)head + offset;
	size = be64_to_cpu(entry[1]);
	/* The last one is nothing */
	if (!size)
		return false;
	*start = be64_to_cpu(entry[0]);
	*last = *start + size - 1;

	return true;
}

/**
 * carveout_arch_clean_inval_poc() - Clean and invalidate to the point of coherency
 * @va: start of a mapping of the memory, of any memory type
 * @size: length in bytes
 *
 * By the address of a Normal-NC mapping the instruction affects the caches of all
 * PEs in the Outer Shareable domain (Arm ARM, "Effects of instructions that
 * operate by VA to the PoC"), so that no line is left anywhere that could be
 * written back later over what the memory holds by then.
 *
 * Context: Any. Does not sleep; takes a millisecond or so for 2 MiB.
 */
void carveout_arch_clean_inval_poc(const void *va, size_t size)
{
	u64 ctr = read_sanitised_ftr_reg(SYS_CTR_EL0);
	unsigned long line = 4UL << FIELD_GET(CTR_EL0_DminLine_MASK, ctr);
	unsigned long addr = ALIGN_DOWN((unsigned long)va, line);
	unsigned long end = (unsigned long)va + size;

	for (; addr < end; addr += line)
		asm volatile("dc civac, %0" : : "r" (addr) : "memory");
	dsb(sy);
}

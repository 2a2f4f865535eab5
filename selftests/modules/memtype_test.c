// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that maps memory in every way a driver can.
 *
 * The memory is a range of RAM that the kernel was told to leave alone (mem= or
 * a no-map reservation), so that no cacheable alias of it exists. What a mapping
 * looks like (memory type of the VMA, memory type of the page-table entries, the
 * driver's grant of other non-cacheable types, size of the entries, when they
 * become writable) is chosen per open file through MEMTYPE_TEST_CONFIG.
 *
 * For tests only: any user of the device sees the whole range.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/preempt.h>
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "memtype_test.h"

static unsigned long base;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "Physical address of the range, PMD aligned");

static unsigned long size;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Size of the range in bytes, PMD aligned");

/* For who opens the device, and does not know of MEMTYPE_TEST_CONFIG */
static struct memtype_test_config initial;
module_param_named(vma_type, initial.vma_type, uint, 0444);
MODULE_PARM_DESC(vma_type, "MEMTYPE_TEST_* of a file's VMAs until it is configured");
module_param_named(pte_type, initial.pte_type, uint, 0444);
MODULE_PARM_DESC(pte_type, "The same of its entries");
module_param_named(flags, initial.flags, uint, 0444);
MODULE_PARM_DESC(flags, "Its MEMTYPE_TEST_* flags");

/* For who finds no entry folded */
static bool contpte = IS_ENABLED(CONFIG_ARM64_CONTPTE);
module_param(contpte, bool, 0444);
MODULE_PARM_DESC(contpte, "Whether this kernel folds contiguous entries; to be read");

/* Set once the end of the range has struct pages; protected by alias_lock */
static struct dev_pagemap alias_pgmap = {
	.type = MEMORY_DEVICE_GENERIC,
	.nr_range = 1,
};

static bool alias_ready;
static DEFINE_MUTEX(alias_lock);

#define RAM_SIZE		(MEMTYPE_TEST_RAM_PAGES * PAGE_SIZE)

/* A file is configured until its first mmap(), then it is what it is */
struct memtype_file {
	struct memtype_test_config config;
	struct mutex lock;	/* protects config, mapped and ram */
	bool mapped;
	void *ram;		/* behind MEMTYPE_TEST_RAM and _EVICTABLE */
	/* Nests inside mmap_lock: a page is in one place, and its entry says where */
	struct mutex evict_lock;
	DECLARE_BITMAP(in_ram, MEMTYPE_TEST_RAM_PAGES);	/* protected by evict_lock */
	struct completion released;	/* behind MEMTYPE_TEST_BUSY */
	atomic_t interrupted;
	atomic_t asked;		/* behind MEMTYPE_TEST_RELUCTANT */
};

static int memtype_alias_get(void)
{
	void *va;

	guard(mutex)(&alias_lock);
	if (alias_ready)
		return 0;

	alias_pgmap.range.start = base + size - MEMTYPE_TEST_ALIAS_SIZE;
	alias_pgmap.range.end = base + size - 1;
	va = memremap_pages(&alias_pgmap, NUMA_NO_NODE);
	if (IS_ERR(va))
		return PTR_ERR(va);

	alias_ready = true;
	return 0;
}

static pgprot_t memtype_pgprot(pgprot_t prot, u32 type)
{
	switch (type) {
	case MEMTYPE_TEST_NC:
		return pgprot_writecombine(prot);
	case MEMTYPE_TEST_DEVICE:
		return pgprot_device(prot);
	default:
		return __pgprot_modify(prot, PTE_ATTRINDX_MASK,
				       PTE_ATTRINDX(MT_NORMAL));
	}
}

/* First frame of the file, and how many there are */
static unsigned long memtype_pfns(const struct memtype_file *mf,
				  unsigned long *nr)
{
	unsigned long start = base, end = base + size - MEMTYPE_TEST_ALIAS_SIZE;
	const struct memtype_test_config *config = &mf->config;

	if (config->flags & MEMTYPE_TEST_RAM) {
		start = virt_to_phys(mf->ram);
		end = start + RAM_SIZE;
	} else if (config->flags & MEMTYPE_TEST_ALIAS) {
		start = end;
		end += MEMTYPE_TEST_ALIAS_SIZE;
	} else if (config->flags & MEMTYPE_TEST_ANYWHERE) {
		start = 0;
		end = config->offset + PMD_SIZE;
	}

	if (config->flags & MEMTYPE_TEST_EVICTABLE)
		end = start + config->offset + RAM_SIZE;

	start += config->offset;
	*nr = (end - start) >> PAGE_SHIFT;
	return PHYS_PFN(start);
}

static vm_fault_t memtype_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct memtype_file *mf = vma->vm_file->private_data;
	const struct memtype_test_config *config = &mf->config;
	unsigned long nr, pfn = memtype_pfns(mf, &nr);

	if (vmf->pgoff >= nr)
		return VM_FAULT_SIGBUS;

	if (config->flags & MEMTYPE_TEST_BUSY &&
	    wait_for_completion_interruptible(&mf->released)) {
		atomic_inc(&mf->interrupted);
		return VM_FAULT_NOPAGE;
	}

	pfn += vmf->pgoff;
	if (config->pte_type == config->vma_type)
		return vmf_insert_pfn(vma, vmf->address, pfn);

	return vmf_insert_pfn_prot(vma, vmf->address, pfn,
				   memtype_pgprot(vma->vm_page_prot,
						  config->pte_type));
}

static vm_fault_t memtype_evictable_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct memtype_file *mf = vma->vm_file->private_data;
	unsigned long nr, pfn = memtype_pfns(mf, &nr);
	u32 type = mf->config.pte_type;

	if (vmf->pgoff >= nr)
		return VM_FAULT_SIGBUS;

	guard(mutex)(&mf->evict_lock);

	if (test_bit(vmf->pgoff, mf->in_ram)) {
		pfn = PHYS_PFN(virt_to_phys(mf->ram));
		type = MEMTYPE_TEST_WB;
	}

	return vmf_insert_pfn_prot(vma, vmf->address, pfn + vmf->pgoff,
				   memtype_pgprot(vma->vm_page_prot, type));
}

static vm_fault_t memtype_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct memtype_file *mf = vma->vm_file->private_data;
	const struct memtype_test_config *config = &mf->config;
	unsigned long addr = vmf->address & PMD_MASK;
	unsigned long nr, pfn = memtype_pfns(mf, &nr);
	pgoff_t pgoff;

	if (!(config->flags & MEMTYPE_TEST_PMD) || order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	if (addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;

	pgoff = linear_page_index(vma, addr);
	pfn += pgoff;
	if (pgoff + PTRS_PER_PMD > nr || !IS_ALIGNED(pfn, PTRS_PER_PMD))
		return VM_FAULT_FALLBACK;

	return vmf_insert_pfn_pmd(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
}

static vm_fault_t memtype_pfn_mkwrite(struct vm_fault *vmf)
{
	struct memtype_file *mf = vmf->vma->vm_file->private_data;
	u32 flags = mf->config.flags;

	if (flags & MEMTYPE_TEST_STUBBORN ||
	    (flags & MEMTYPE_TEST_RELUCTANT && atomic_inc_return(&mf->asked) % 3))
		return VM_FAULT_NOPAGE;
	return 0;
}

static const struct vm_operations_struct memtype_vm_ops = {
	.fault = memtype_fault,
	.huge_fault = memtype_huge_fault,
};

/* With ->pfn_mkwrite the core gives shared writable VMAs read-only entries */
static const struct vm_operations_struct memtype_mkwrite_vm_ops = {
	.fault = memtype_fault,
	.pfn_mkwrite = memtype_pfn_mkwrite,
};

static const struct vm_operations_struct memtype_evictable_vm_ops = {
	.fault = memtype_evictable_fault,
};

static int memtype_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct memtype_file *mf = file->private_data;
	const struct memtype_test_config *config = &mf->config;
	unsigned long nr, pfn;
	pgprot_t prot;

	guard(mutex)(&mf->lock);

	pfn = memtype_pfns(mf, &nr);
	if (vma->vm_pgoff >= nr || vma_pages(vma) > nr - vma->vm_pgoff)
		return -EINVAL;

	/* vmf_insert_pfn() is not for mappings that can be copied on write */
	if (vma_is_cow_mapping(vma) &&
	    !(config->flags & MEMTYPE_TEST_POPULATE))
		return -EINVAL;

	vma->vm_page_prot = memtype_pgprot(vma->vm_page_prot, config->vma_type);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	if (config->flags & MEMTYPE_TEST_GRANT)
		vm_flags_set(vma, VM_ALLOW_ANY_UNCACHED);

	mf->mapped = true;
	if (config->flags & MEMTYPE_TEST_POPULATE) {
		prot = memtype_pgprot(vma->vm_page_prot, config->pte_type);
		return remap_pfn_range(vma, vma->vm_start, pfn + vma->vm_pgoff,
				       vma->vm_end - vma->vm_start, prot);
	}

	if (config->flags & MEMTYPE_TEST_EVICTABLE)
		vma->vm_ops = &memtype_evictable_vm_ops;
	else if (config->flags & MEMTYPE_TEST_MKWRITE)
		vma->vm_ops = &memtype_mkwrite_vm_ops;
	else
		vma->vm_ops = &memtype_vm_ops;
	return 0;
}

static int memtype_check_config(const struct memtype_test_config *config)
{
	unsigned long len = size - MEMTYPE_TEST_ALIAS_SIZE;

	if (config->flags & ~MEMTYPE_TEST_FLAGS || config->pad)
		return -EINVAL;
	if (config->vma_type > MEMTYPE_TEST_DEVICE ||
	    config->pte_type > MEMTYPE_TEST_DEVICE)
		return -EINVAL;
	/* vmf_insert_pfn_pmd() has no variant that takes a protection */
	if (config->flags & MEMTYPE_TEST_PMD &&
	    (config->vma_type != config->pte_type ||
	     config->flags & (MEMTYPE_TEST_POPULATE | MEMTYPE_TEST_MKWRITE)))
		return -EINVAL;
	if (config->flags & MEMTYPE_TEST_POPULATE &&
	    config->flags & MEMTYPE_TEST_MKWRITE)
		return -EINVAL;
	if (config->flags & (MEMTYPE_TEST_RELUCTANT | MEMTYPE_TEST_STUBBORN) &&
	    !(config->flags & MEMTYPE_TEST_MKWRITE))
		return -EINVAL;
	if (config->flags & MEMTYPE_TEST_RAM &&
	    config->flags & (MEMTYPE_TEST_ALIAS | MEMTYPE_TEST_PMD))
		return -EINVAL;
	if (config->flags & MEMTYPE_TEST_EVICTABLE &&
	    config->flags & ~(MEMTYPE_TEST_EVICTABLE | MEMTYPE_TEST_GRANT))
		return -EINVAL;
	if (config->flags & MEMTYPE_TEST_ANYWHERE &&
	    (config->flags != (MEMTYPE_TEST_ANYWHERE | MEMTYPE_TEST_PMD) ||
	     !IS_ALIGNED(config->offset, PMD_SIZE)))
		return -EINVAL;
	if (config->flags & MEMTYPE_TEST_EVICTABLE)
		len -= RAM_SIZE;
	if (config->flags & MEMTYPE_TEST_ALIAS)
		len = MEMTYPE_TEST_ALIAS_SIZE;
	if (config->flags & MEMTYPE_TEST_RAM)
		len = RAM_SIZE;
	if (config->flags & MEMTYPE_TEST_ANYWHERE)
		len = PHYS_MASK;
	if (!PAGE_ALIGNED(config->offset) || config->offset >= len)
		return -EINVAL;
	return 0;
}

static int memtype_set_config(struct memtype_file *mf,
			      const struct memtype_test_config *config)
{
	int ret;

	ret = memtype_check_config(config);
	if (ret)
		return ret;

	if (config->flags & MEMTYPE_TEST_ALIAS) {
		ret = memtype_alias_get();
		if (ret)
			return ret;
	}

	guard(mutex)(&mf->lock);
	if (mf->mapped)
		return -EBUSY;
	if (config->flags & (MEMTYPE_TEST_RAM | MEMTYPE_TEST_EVICTABLE) && !mf->ram) {
		mf->ram = alloc_pages_exact(RAM_SIZE, GFP_KERNEL | __GFP_ZERO);
		if (!mf->ram)
			return -ENOMEM;
	}
	mf->config = *config;
	return 0;
}

static int memtype_zap(struct file *file, const struct memtype_test_zap *zap)
{
	if (!PAGE_ALIGNED(zap->offset) || !PAGE_ALIGNED(zap->size) ||
	    !zap->size || zap->offset >= size || zap->size > size - zap->offset)
		return -EINVAL;

	unmap_mapping_range(file->f_mapping, zap->offset, zap->size, 1);
	return 0;
}

static int memtype_evict(struct file *file,
			 const struct memtype_test_evict *evict)
{
	struct memtype_file *mf = file->private_data;
	unsigned long page, end;
	void *range;

	if (!(mf->config.flags & MEMTYPE_TEST_EVICTABLE) || evict->pad ||
	    evict->to_ram > 1)
		return -EINVAL;
	if (!PAGE_ALIGNED(evict->offset) || !PAGE_ALIGNED(evict->size) ||
	    !evict->size || evict->offset >= RAM_SIZE ||
	    evict->size > RAM_SIZE - evict->offset)
		return -EINVAL;

	range = memremap(base + mf->config.offset, RAM_SIZE, MEMREMAP_WC);
	if (!range)
		return -ENOMEM;

	page = evict->offset >> PAGE_SHIFT;
	end = page + (evict->size >> PAGE_SHIFT);
	scoped_guard(mutex, &mf->evict_lock) {
		/* With nobody's entries left, and no fault to make new ones */
		unmap_mapping_range(file->f_mapping, evict->offset, evict->size, 1);
		for (; page < end; page++) {
			void *in_range = range + page * PAGE_SIZE;
			void *in_ram = mf->ram + page * PAGE_SIZE;

			if (test_bit(page, mf->in_ram) == evict->to_ram)
				continue;
			if (evict->to_ram)
				memcpy(in_ram, in_range, PAGE_SIZE);
			else
				memcpy(in_range, in_ram, PAGE_SIZE);
			__change_bit(page, mf->in_ram);
		}
	}
	memunmap(range);
	return 0;
}

static int memtype_wrprotect(struct file *file, struct memtype_test_wrprotect *wp)
{
	struct memtype_file *mf = file->private_data;
	unsigned long nr, pfn, page;
	int ret;

	if (!PAGE_ALIGNED(wp->offset) || !PAGE_ALIGNED(wp->size) || wp->pad)
		return -EINVAL;

	pfn = memtype_pfns(mf, &nr);
	page = wp->offset >> PAGE_SHIFT;
	if (!wp->size || page >= nr || wp->size >> PAGE_SHIFT > nr - page)
		return -EINVAL;

	ret = mapping_wrprotect_range(file->f_mapping, page, pfn + page,
				      wp->size >> PAGE_SHIFT);
	if (ret < 0)
		return ret;

	wp->nr = ret;
	return 0;
}

static int memtype_read_pte(pte_t *ptep, unsigned long addr, void *data)
{
	/* As it is, which is what whoever walks the tables by himself sees */
	pte_t entry = READ_ONCE(*ptep);
	struct memtype_test_pte *pte = data;

	if (!pte_present(entry))
		return -EFAULT;

	pte->phys = PFN_PHYS(pte_pfn(entry));
	pte->size = PAGE_SIZE;
	pte->attr_index = FIELD_GET(PTE_ATTRINDX_MASK, pte_val(entry));
	pte->writable = pte_write(entry);
	pte->cont = pte_cont(entry);
	return 0;
}

static int memtype_get_pte(struct memtype_test_pte *pte)
{
	struct follow_pfnmap_args args = { .address = pte->addr };
	struct mm_struct *mm = current->mm;
	int ret = -EFAULT;

	pte->cont = 0;
	mmap_read_lock(mm);
	args.vma = vma_lookup(mm, pte->addr);
	if (args.vma && !(args.vma->vm_flags & (VM_IO | VM_PFNMAP))) {
		ret = apply_to_page_range(mm, pte->addr & PAGE_MASK, PAGE_SIZE,
					  memtype_read_pte, pte);
	} else if (args.vma) {
		ret = follow_pfnmap_start(&args);
		if (!ret) {
			pte->phys = PFN_PHYS(args.pfn);
			pte->size = ~args.addr_mask + 1;
			pte->attr_index = FIELD_GET(PTE_ATTRINDX_MASK,
						    pgprot_val(args.pgprot));
			pte->writable = args.writable;
			follow_pfnmap_end(&args);
		}
	}
	mmap_read_unlock(mm);
	if (ret)
		return ret;

	switch (pte->attr_index) {
	case MT_NORMAL_NC:
		pte->type = MEMTYPE_TEST_NC;
		break;
	case MT_DEVICE_nGnRE:
	case MT_DEVICE_nGnRnE:
		pte->type = MEMTYPE_TEST_DEVICE;
		break;
	default:
		pte->type = MEMTYPE_TEST_WB;
		break;
	}
	return 0;
}

static long memtype_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct memtype_file *mf = file->private_data;
	void __user *uarg = (void __user *)arg;
	struct memtype_test_wrprotect wp;
	struct memtype_test_config config;
	struct memtype_test_evict evict;
	struct memtype_test_zap zap;
	struct memtype_test_pte pte;
	int ret;

	switch (cmd) {
	case MEMTYPE_TEST_RELEASE:
		complete_all(&mf->released);
		return atomic_read(&mf->interrupted);
	case MEMTYPE_TEST_CONFIG:
		if (copy_from_user(&config, uarg, sizeof(config)))
			return -EFAULT;
		return memtype_set_config(file->private_data, &config);
	case MEMTYPE_TEST_ZAP:
		if (copy_from_user(&zap, uarg, sizeof(zap)))
			return -EFAULT;
		return memtype_zap(file, &zap);
	case MEMTYPE_TEST_EVICT:
		if (copy_from_user(&evict, uarg, sizeof(evict)))
			return -EFAULT;
		return memtype_evict(file, &evict);
	case MEMTYPE_TEST_WRPROTECT:
		if (copy_from_user(&wp, uarg, sizeof(wp)))
			return -EFAULT;
		ret = memtype_wrprotect(file, &wp);
		if (!ret && copy_to_user(uarg, &wp, sizeof(wp)))
			ret = -EFAULT;
		return ret;
	case MEMTYPE_TEST_GET_PTE:
		if (copy_from_user(&pte, uarg, sizeof(pte)))
			return -EFAULT;
		ret = memtype_get_pte(&pte);
		if (!ret && copy_to_user(uarg, &pte, sizeof(pte)))
			ret = -EFAULT;
		return ret;
	default:
		return -ENOTTY;
	}
}

static int memtype_open(struct inode *inode, struct file *file)
{
	struct memtype_file *mf = kzalloc_obj(*mf);
	int ret;

	if (!mf)
		return -ENOMEM;

	mutex_init(&mf->lock);
	mutex_init(&mf->evict_lock);
	init_completion(&mf->released);
	ret = memtype_set_config(mf, &initial);
	if (ret) {
		kfree(mf);
		return ret;
	}
	file->private_data = mf;
	return 0;
}

static int memtype_release(struct inode *inode, struct file *file)
{
	struct memtype_file *mf = file->private_data;

	/* Mappings hold the file: there are none left */
	if (mf->ram)
		free_pages_exact(mf->ram, RAM_SIZE);
	kfree(mf);
	return 0;
}

static const struct file_operations memtype_fops = {
	.owner = THIS_MODULE,
	.open = memtype_open,
	.llseek = noop_llseek,	/* for a VMM that asks for the size */
	.release = memtype_release,
	.unlocked_ioctl = memtype_ioctl,
	.mmap = memtype_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
};

static struct miscdevice memtype_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "memtype_test",
	.fops = &memtype_fops,
	.mode = 0600,
};

/* The point of the range is that the kernel has no mapping of it */
static int __init memtype_check_range(void)
{
	unsigned long pfn;

	if (!size || !IS_ALIGNED(base | size, PMD_SIZE) ||
	    size <= MEMTYPE_TEST_ALIAS_SIZE || base + size < base) {
		pr_err("base=%#lx size=%#lx: not an aligned range above %#x bytes\n",
		       base, size, MEMTYPE_TEST_ALIAS_SIZE);
		return -EINVAL;
	}

	if (region_intersects(base, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_err("base=%#lx size=%#lx: overlaps System RAM\n", base, size);
		return -EBUSY;
	}

	for (pfn = PHYS_PFN(base); pfn < PHYS_PFN(base + size); pfn++) {
		if (pfn_is_map_memory(pfn)) {
			pr_err("page %#lx is in the kernel's linear mapping\n",
			       pfn << PAGE_SHIFT);
			return -EBUSY;
		}
	}
	return 0;
}

static int __init memtype_init(void)
{
	int ret;

	ret = memtype_check_range();
	if (ret)
		return ret;

	ret = memtype_check_config(&initial);
	if (ret) {
		pr_err("vma_type=%u pte_type=%u flags=%#x: there is no such mapping\n",
		       initial.vma_type, initial.pte_type, initial.flags);
		return ret;
	}

	if (!request_mem_region(base, size, KBUILD_MODNAME)) {
		pr_err("base=%#lx size=%#lx: in use\n", base, size);
		return -EBUSY;
	}

	ret = misc_register(&memtype_misc);
	if (ret) {
		release_mem_region(base, size);
		return ret;
	}

	/*
	 * Every VM of a test would switch the scheduler's calls of preempt notifiers
	 * on and off again. QEMU without KVM drops its translation of an instruction
	 * before it stores the new one, and the other CPU can come by in between, and
	 * keep what it was: then KVM does not learn that a vCPU's task is back.
	 */
	preempt_notifier_inc();
	return 0;
}

static void __exit memtype_exit(void)
{
	preempt_notifier_dec();
	misc_deregister(&memtype_misc);
	if (alias_ready)
		memunmap_pages(&alias_pgmap);
	release_mem_region(base, size);
}

module_init(memtype_init);
module_exit(memtype_exit);

MODULE_DESCRIPTION("Memory mapped with any combination of memory types, for tests");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0
/*
 * Gives a VMM ordinary memory whose address is known.
 *
 * A device-tree reservation without no-map keeps a range from the page allocator, but
 * the kernel has struct pages for it and maps it Write-Back, like all RAM. Mapped
 * page by page, it is for KVM what anonymous memory is. There is one memory for all who
 * open the node, so that a test can look at what its VMM has. Opened with O_SYNC, it is
 * mapped Normal-NC, which does not take it out of the kernel's own mapping.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static unsigned long base;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "Physical address of the reservation, page aligned");

static unsigned long size;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Size in bytes, page aligned");

static int reserved_ram_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long nr = size >> PAGE_SHIFT;
	unsigned long i, pfn = PHYS_PFN(base) + vma->vm_pgoff;
	int ret;

	if (vma->vm_pgoff >= nr || vma_pages(vma) > nr - vma->vm_pgoff)
		return -EINVAL;
	/* vm_insert_page() is not for mappings that can be copied on write */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	if (file->f_flags & O_SYNC)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	for (i = 0; i < vma_pages(vma); i++) {
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, pfn_to_page(pfn + i));
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations reserved_ram_fops = {
	.owner = THIS_MODULE,
	.llseek = noop_llseek,
	.mmap = reserved_ram_mmap,
};

static struct miscdevice reserved_ram_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "reserved_ram",
	.fops = &reserved_ram_fops,
	.mode = 0600,
};

static int __init reserved_ram_init(void)
{
	unsigned long pfn;

	if (!size || !PAGE_ALIGNED(base | size) || base + size < base) {
		pr_err("base=%#lx size=%#lx: not whole pages\n", base, size);
		return -EINVAL;
	}
	for (pfn = PHYS_PFN(base); pfn < PHYS_PFN(base + size); pfn++) {
		if (!pfn_is_map_memory(pfn) || !PageReserved(pfn_to_page(pfn))) {
			pr_err("page %#lx is not reserved RAM\n", pfn << PAGE_SHIFT);
			return -EBUSY;
		}
	}
	return misc_register(&reserved_ram_misc);
}

static void __exit reserved_ram_exit(void)
{
	misc_deregister(&reserved_ram_misc);
}

module_init(reserved_ram_init);
module_exit(reserved_ram_exit);

MODULE_DESCRIPTION("RAM that the device tree reserves, for tests");
MODULE_LICENSE("GPL");

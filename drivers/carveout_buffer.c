// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers of a pool: their allocation, their mappings, and their end.
 *
 * Whatever maps a buffer holds a reference to its dma-buf's file: VMAs and
 * descriptors directly, KVM through the VMA, whose end it hears of by its MMU
 * notifier. When the last reference is dropped every page-table entry, stage 2
 * included, has been removed and the TLBs have been invalidated, because that
 * comes before a VMA lets go of its file. Only then is the buffer scrubbed, and
 * only when it is scrubbed do its pages go back to the pool.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "carveout.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "carveout_trace.h"

#ifdef CARVEOUT_DEBUG
static const bool carveout_debug = true;
#else
static const bool carveout_debug;
#endif

/**
 * struct carveout_buffer - contiguous pages of a pool
 * @pool: where they come from, a reference
 * @node: in the pool's list of buffers
 * @base: physical address, aligned to PMD_SIZE if that is what @size reaches
 * @size: length in bytes, a multiple of the page size
 * @inode: of the dma-buf's file, a reference; all mappings are of this inode.
 *	Without the reference it may be gone while the buffer is in the list: a
 *	look at /proc/<pid>/fd holds the dma-buf's dentry, and with it the buffer,
 *	longer than the file.
 */
struct carveout_buffer {
	struct carveout_pool *pool;
	struct list_head node;
	phys_addr_t base;
	size_t size;
	struct inode *inode;
};

/* Its pages are zero */
static void carveout_buffer_free(struct carveout_buffer *buffer)
{
	struct carveout_pool *pool = buffer->pool;

	down_write(&pool->lock);
	gen_pool_free(pool->gen, buffer->base, buffer->size);
	pool->used -= buffer->size;
	pool->nr_buffers--;
	up_write(&pool->lock);

	kfree(buffer);
	carveout_pool_put(pool);
}

static vm_fault_t carveout_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct carveout_buffer *buffer = vma->vm_private_data;
	struct carveout_pool *pool = buffer->pool;
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, size);
	unsigned long pfn;
	vm_fault_t ret;

	if (addr < vma->vm_start || addr + size > vma->vm_end)
		return VM_FAULT_FALLBACK;

	pfn = PHYS_PFN(buffer->base) + linear_page_index(vma, addr);
	if (!IS_ALIGNED(pfn, 1UL << order))
		return VM_FAULT_FALLBACK;

	guard(rwsem_read)(&pool->lock);

	if (pool->dead)
		return VM_FAULT_SIGBUS;

	/*
	 * The entry is writable from the start if the VMA is, by vm_page_prot:
	 * there is nobody to tell of a first write, and a stage-2 mapping made from
	 * it is complete. vmf_insert_pfn_pmd() needs no "write" for that, and with
	 * it warns of a page table that another thread was first to make.
	 */
	if (!order)
		ret = vmf_insert_pfn(vma, addr, pfn);
	else if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && order == PMD_ORDER)
		ret = vmf_insert_pfn_pmd(vmf, carveout_pfn(pfn), false);
	else
		return VM_FAULT_FALLBACK;

	if (ret == VM_FAULT_NOPAGE)
		trace_carveout_map(pool->name, PFN_PHYS(pfn), size, addr);
	return ret;
}

static vm_fault_t carveout_fault(struct vm_fault *vmf)
{
	return carveout_huge_fault(vmf, 0);
}

static const struct vm_operations_struct carveout_vm_ops = {
	.fault		= carveout_fault,
	.huge_fault	= carveout_huge_fault,
};

/**
 * carveout_buffer_check_vma() - Is this a mapping that a buffer, any buffer, can have?
 * @vma: the mapping, of which only the flags are looked at
 *
 * Context: mmap_lock held for writing, as in mmap(). Does not sleep.
 *
 * Return: 0, -EINVAL for a private mapping, or -EPERM for an executable one.
 */
int carveout_buffer_check_vma(struct vm_area_struct *vma)
{
	/* A private mapping would have cacheable copies */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* Instruction fetches are cached, whatever the mapping says */
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;

	return 0;
}

static int carveout_dmabuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct carveout_buffer *buffer = dmabuf->priv;
	int ret = carveout_buffer_check_vma(vma);

	if (ret)
		return ret;
	if (vma->vm_pgoff >= buffer->size >> PAGE_SHIFT ||
	    vma_pages(vma) > (buffer->size >> PAGE_SHIFT) - vma->vm_pgoff)
		return -EINVAL;
	if (READ_ONCE(buffer->pool->dead))
		return -ENODEV;

	/*
	 * VM_ALLOW_ANY_UNCACHED lets KVM map it Normal-NC without being asked to,
	 * on any kernel. VM_DONTCOPY is not all there is to fork(): what a child
	 * has, it has with a reference.
	 */
	vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP |
		     VM_DONTCOPY | VM_ALLOW_ANY_UNCACHED, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	vma->vm_private_data = buffer;
	vma->vm_ops = &carveout_vm_ops;

	return 0;
}

/*
 * A device's accesses need an address of the device's, a type of its own, and an
 * importer that gets along without struct page. Refuse while none has been
 * tried.
 */
static int carveout_dmabuf_attach(struct dma_buf *dmabuf,
				  struct dma_buf_attachment *attachment)
{
	struct carveout_buffer *buffer = dmabuf->priv;

	dev_err_ratelimited(attachment->dev,
			    "carveout-%s: buffers cannot be imported by devices\n",
			    buffer->pool->name);
	return -EOPNOTSUPP;
}

/* dma_buf_export() insists on these two; without an attachment nobody gets here */
static struct sg_table *carveout_dmabuf_map(struct dma_buf_attachment *attachment,
					    enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void carveout_dmabuf_unmap(struct dma_buf_attachment *attachment,
				  struct sg_table *table,
				  enum dma_data_direction direction)
{
}

static void carveout_dmabuf_release(struct dma_buf *dmabuf)
{
	struct carveout_buffer *buffer = dmabuf->priv;

	/* carveout_buffer_revoke() must not find it any more */
	down_write(&buffer->pool->lock);
	list_del(&buffer->node);
	up_write(&buffer->pool->lock);

	iput(buffer->inode);
	carveout_scrub(buffer->pool, buffer->base, buffer->size);
	trace_carveout_free(buffer->pool->name, buffer->base, buffer->size);
	carveout_buffer_free(buffer);
}

static const struct dma_buf_ops carveout_dmabuf_ops = {
	.attach		= carveout_dmabuf_attach,
	.map_dma_buf	= carveout_dmabuf_map,
	.unmap_dma_buf	= carveout_dmabuf_unmap,
	.release	= carveout_dmabuf_release,
	.mmap		= carveout_dmabuf_mmap,
};

static int carveout_take(struct carveout_pool *pool, size_t size, phys_addr_t *base)
{
	struct genpool_data_align align = {
		.align = size < PMD_SIZE ? PAGE_SIZE : PMD_SIZE,
	};

	guard(rwsem_write)(&pool->lock);

	if (pool->dead)
		return -ENODEV;

	*base = gen_pool_alloc_algo(pool->gen, size, gen_pool_first_fit_align, &align);
	if (!*base)
		return -ENOMEM;

	pool->nr_buffers++;
	pool->used += size;
	pool->high_water = max(pool->high_water, pool->used);

	return 0;
}

/**
 * carveout_buffer_alloc() - Make a buffer
 * @pool: the pool that its pages come from; the buffer holds a reference
 * @len: length in bytes, rounded up to whole pages
 * @flags: of the dma-buf's file: O_ACCMODE and O_CLOEXEC
 *
 * The pages are contiguous, and aligned to PMD_SIZE if the buffer is as long as
 * that. They are zero when they are in the pool: nothing is scrubbed here.
 *
 * Context: Process context, may sleep. Takes the pool's lock; mmap_lock may be held.
 *
 * Return: the buffer's dma-buf, to be put by the caller; or an ERR_PTR: -EINVAL for
 * no length, -ENOMEM if there is no such run of free pages, -ENODEV if the node has
 * gone, -EIO if CARVEOUT_DEBUG finds another mapping of the pages, or what
 * dma_buf_export() returns.
 */
struct dma_buf *carveout_buffer_alloc(struct carveout_pool *pool, u64 len, int flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct carveout_buffer *buffer;
	struct dma_buf *dmabuf;
	int ret;

	if (!len)
		return ERR_PTR(-EINVAL);
	/* Before it is rounded up, which could wrap */
	if (len > pool->size)
		return ERR_PTR(-ENOMEM);

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	buffer->size = PAGE_ALIGN(len);
	ret = carveout_take(pool, buffer->size, &buffer->base);
	if (ret) {
		kfree(buffer);
		return ERR_PTR(ret);
	}

	buffer->pool = carveout_pool_get(pool);

	if (carveout_debug) {
		char why[80];

		ret = carveout_prove(buffer->base, buffer->size, why, sizeof(why));
		if (ret) {
			pr_err("carveout-%s: %s since the pool was made\n", pool->name, why);
			carveout_buffer_free(buffer);
			return ERR_PTR(-EIO);
		}
	}

	info.exp_name = "carveout";
	info.ops = &carveout_dmabuf_ops;
	info.size = buffer->size;
	info.flags = flags;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		carveout_buffer_free(buffer);
		return dmabuf;
	}

	buffer->inode = file_inode(dmabuf->file);
	ihold(buffer->inode);
	trace_carveout_alloc(pool->name, buffer->base, buffer->size);

	down_write(&pool->lock);
	list_add(&buffer->node, &pool->buffers);
	up_write(&pool->lock);

	return dmabuf;
}

/**
 * carveout_buffer_revoke() - Unmap all buffers of a pool, for good
 * @pool: the pool, whose node has gone
 *
 * Afterwards nothing can be allocated or faulted in, and what was mapped is not
 * mapped any more: accesses get SIGBUS, or end a KVM_RUN with an error. The buffers
 * stay until their last users let go of them.
 *
 * Context: Process context, may sleep. Takes the pool's lock, and inside of it the
 *	i_mmap_rwsem of each buffer's inode.
 */
void carveout_buffer_revoke(struct carveout_pool *pool)
{
	struct carveout_buffer *buffer;

	down_write(&pool->lock);
	WRITE_ONCE(pool->dead, true);
	up_write(&pool->lock);

	/* From here on nothing is mapped: a buffer that is still added cannot be */
	down_read(&pool->lock);
	list_for_each_entry(buffer, &pool->buffers, node)
		unmap_mapping_range(buffer->inode->i_mapping, 0, 0, 1);
	up_read(&pool->lock);
}

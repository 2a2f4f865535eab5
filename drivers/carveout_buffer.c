// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers of a pool: their allocation, their mappings, and their end.
 *
 * Whatever maps a buffer holds a reference to its dma-buf's file: VMAs and
 * descriptors directly, KVM through the VMA, whose end it hears of by its MMU
 * notifier. When the last reference is dropped every page-table entry, stage 2
 * included, has been removed and the TLBs have been invalidated, because that
 * comes before a VMA lets go of its file. Only then do its pages go back to the pool,
 * which scrubs them, unless there has never been an entry for any of them.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dcache.h>
#include <linux/dma-buf.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "carveout.h"
#include "carveout_trace.h"
#include "compat.h"

#ifdef CARVEOUT_DEBUG
static const bool carveout_debug = true;
#else
static const bool carveout_debug;
#endif

/* How much a fault maps around an address for which no huge entry fits */
#define CARVEOUT_AROUND		min(PMD_SIZE, 512 * PAGE_SIZE)

/**
 * struct carveout_buffer - contiguous pages of a pool
 * @pool: where they come from, whose memory it keeps
 * @node: in the pool's list of buffers, as long as it has its pages
 * @base: physical address
 * @size: length in bytes, a multiple of the page size
 * @touched: there has been a page-table entry for one of the pages. Set under the
 *	pool's lock for reading, and never cleared.
 * @mm: the address space in which mmap() inserts entries, a reference to the structure, or
 *	NULL as long as it has done so in none. Set once, under the pool's lock for reading.
 * @awaited: carveout_buffer_revoke() has waited for what mmap() does in @mm
 * @charge: what the dmem cgroup controller wants back, or NULL
 * @dentry: of the dma-buf's file, or NULL before there is one, not a reference: it is
 *	valid as long as the buffer is in the list, for its release is the buffer's end. The
 *	file may be gone long before (an O_PATH descriptor keeps the dentry, too), and its
 *	memory be anything.
 */
struct carveout_buffer {
	struct carveout_pool *pool;
	struct list_head node;
	phys_addr_t base;
	size_t size;
	bool touched;
	struct mm_struct *mm;
	bool awaited;
	struct dmem_cgroup_pool_state *charge;
	struct dentry *dentry;
};

static void carveout_buffer_free(struct carveout_buffer *buffer)
{
	struct mm_struct *mm = buffer->mm;

	carveout_dmem_uncharge(buffer->charge, buffer->size);
	/* From here on carveout_buffer_revoke() does not find it */
	carveout_pool_give_back(buffer->pool, buffer->base, buffer->size, &buffer->node,
				buffer->touched);
	if (mm)
		mmdrop(mm);
	kfree(buffer);
}

/* A page of a mapping, and the one that comes after the last that was mapped */
struct carveout_around {
	struct vm_area_struct *vma;
	unsigned long pfn;
};

/*
 * Dirty from the start where it may be written: without hardware management of the
 * dirty state the first write to each page would be another fault. Not set_pte_at(),
 * which compares with the entry before, none here, and on arm64 with CONFIG_DEBUG_VM
 * by what modules cannot call.
 */
static int carveout_around_one(pte_t *ptep, unsigned long addr, void *data)
{
	struct carveout_around *around = data;
	struct vm_area_struct *vma = around->vma;
	pte_t pte = pfn_pte(around->pfn++, vma->vm_page_prot);

	if (vma->vm_flags & VM_WRITE)
		pte = pte_mkdirty(pte);
	if (pte_none(ptep_get(ptep)))
		set_pte(ptep, pte_mkspecial(pte));

	return 0;
}

/*
 * A page has been inserted at an address: insert those around it that the same table
 * has. That there is a table, and no huge entry in its place, is certain by now:
 * what would free it takes the lock of the VMA for writing.
 */
static void carveout_map_around(struct vm_area_struct *vma, unsigned long addr,
				unsigned long pfn, unsigned long *start, unsigned long *end)
{
	struct carveout_around around = { .vma = vma };

	if (!carveout_may_set_pte)
		return;
	*start = max(ALIGN_DOWN(addr, CARVEOUT_AROUND), vma->vm_start);
	*end = min(ALIGN_DOWN(addr, CARVEOUT_AROUND) + CARVEOUT_AROUND, vma->vm_end);
	if (*end - *start == PAGE_SIZE)
		return;

	around.pfn = pfn - ((addr - *start) >> PAGE_SHIFT);
	apply_to_page_range(vma->vm_mm, *start, *end - *start, carveout_around_one, &around);
}

static vm_fault_t carveout_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct carveout_buffer *buffer = vma->vm_private_data;
	struct carveout_pool *pool = buffer->pool;
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, size);
	unsigned long start = addr, end = addr + size;
	unsigned long pfn;
	vm_fault_t ret;

	if (start < vma->vm_start || end > vma->vm_end)
		return VM_FAULT_FALLBACK;

	pfn = PHYS_PFN(buffer->base) + linear_page_index(vma, addr);
	if (!IS_ALIGNED(pfn, 1UL << order))
		return VM_FAULT_FALLBACK;

	guard(rwsem_read)(&pool->lock);

	if (pool->dead)
		return VM_FAULT_SIGBUS;

	WRITE_ONCE(buffer->touched, true);

	/*
	 * The entry is writable from the start if the VMA is, by vm_page_prot:
	 * there is nobody to tell of a first write, and a stage-2 mapping made from
	 * it is complete. vmf_insert_pfn_pmd() needs no "write" for that, and with
	 * it warns of a page table that another thread was first to make.
	 */
	if (!order) {
		ret = vmf_insert_pfn(vma, addr, pfn);
		if (ret == VM_FAULT_NOPAGE)
			carveout_map_around(vma, addr, pfn, &start, &end);
	} else if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && order == PMD_ORDER) {
		ret = vmf_insert_pfn_pmd(vmf, carveout_pfn(pfn), false);
	} else {
		return VM_FAULT_FALLBACK;
	}

	if (ret == VM_FAULT_NOPAGE)
		trace_carveout_map(pool->name,
				   PFN_PHYS(pfn) - (addr - start), end - start, start);
	return ret;
}

static vm_fault_t carveout_fault(struct vm_fault *vmf)
{
	return carveout_huge_fault(vmf, 0);
}

/*
 * Maps nothing, under RCU as it is called, for pool->lock is one to sleep for. That
 * it is there tells the core that carveout_fault() needs no more than the VMA's lock;
 * without it each fault is tried twice.
 */
static vm_fault_t carveout_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	return 0;
}

static const struct vm_operations_struct carveout_vm_ops = {
	.fault		= carveout_fault,
	.huge_fault	= carveout_huge_fault,
	.map_pages	= carveout_map_pages,
};

/* Can a part of the mapping have a huge entry? */
static bool carveout_fits_huge(struct carveout_buffer *buffer, struct vm_area_struct *vma)
{
	phys_addr_t phys = buffer->base + PFN_PHYS(vma->vm_pgoff);

	return IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && buffer->size >= PMD_SIZE &&
	       IS_ALIGNED(vma->vm_start ^ phys, PMD_SIZE) &&
	       ALIGN(vma->vm_start, PMD_SIZE) + PMD_SIZE <= vma->vm_end;
}

/*
 * Insert all entries at once, where none is huge: a fault costs as much as a hundred of
 * them. The mapping cannot be found yet by who has to remove all of them, not before
 * mmap() lets go of mmap_lock: carveout_buffer_revoke() waits for that. So it has to
 * know in which address space, and that is one for each buffer; others take faults.
 */
static int carveout_map_now(struct carveout_buffer *buffer, struct vm_area_struct *vma)
{
	struct carveout_pool *pool = buffer->pool;
	struct mm_struct *mm;
	int ret;

	guard(rwsem_read)(&pool->lock);

	if (pool->dead)
		return -ENODEV;
	if (carveout_fits_huge(buffer, vma))
		return 0;

	mm = cmpxchg(&buffer->mm, NULL, vma->vm_mm);
	if (!mm)
		mmgrab(vma->vm_mm);
	else if (mm != vma->vm_mm)
		return 0;

	WRITE_ONCE(buffer->touched, true);
	ret = remap_pfn_range(vma, vma->vm_start, PHYS_PFN(buffer->base) + vma->vm_pgoff,
			      vma->vm_end - vma->vm_start, vma->vm_page_prot);
	if (!ret)
		trace_carveout_map(pool->name, buffer->base + PFN_PHYS(vma->vm_pgoff),
				   vma->vm_end - vma->vm_start, vma->vm_start);
	return ret;
}

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
	/*
	 * That it is a part of the buffer, dma-buf has seen to. VM_ALLOW_ANY_UNCACHED
	 * lets KVM map it Normal-NC without being asked to, on any kernel. VM_DONTCOPY is
	 * not all there is to fork(): what a child has, it has with a reference.
	 */
	vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP |
		     VM_DONTCOPY | VM_ALLOW_ANY_UNCACHED, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	vma->vm_private_data = buffer;
	vma->vm_ops = &carveout_vm_ops;

	return carveout_map_now(buffer, vma);
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

static struct dma_buf *carveout_buffer_make(struct carveout_pool *pool, size_t size, int flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct carveout_buffer *buffer;
	struct dma_buf *dmabuf;
	int ret;

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	buffer->pool = pool;
	buffer->size = size;
	ret = carveout_pool_take(pool, size, &buffer->base, &buffer->node);
	if (ret) {
		kfree(buffer);
		return ERR_PTR(ret);
	}

	/* From here on the pool's memory is kept, and what accounts it */
	ret = carveout_dmem_charge(pool->region, size, &buffer->charge);
	if (ret) {
		ret = ret == -EAGAIN ? -ENOMEM : ret;
		goto err;
	}

	if (carveout_debug) {
		char why[80];

		ret = carveout_prove(buffer->base, size, why, sizeof(why));
		if (ret) {
			pr_err("carveout-%s: %s since the pool was made\n", pool->name, why);
			ret = -EIO;
			goto err;
		}
	}

	info.exp_name = "carveout";
	info.ops = &carveout_dmabuf_ops;
	info.size = size;
	info.flags = flags;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto err;
	}

	/*
	 * If the pool is dead by then, it is not found there, and cannot be mapped. Pairs
	 * with the acquire in carveout_buffer_revoke().
	 */
	smp_store_release(&buffer->dentry, dmabuf->file->f_path.dentry);
	trace_carveout_alloc(pool->name, buffer->base, size);

	return dmabuf;

err:
	carveout_buffer_free(buffer);
	return ERR_PTR(ret);
}

/**
 * carveout_buffer_alloc() - Make a buffer
 * @pool: the pool that its pages come from, not a shared one; the caller has a reference,
 *	and the buffer keeps the memory
 * @len: length in bytes, rounded up to whole pages
 * @flags: of the dma-buf's file: O_ACCMODE and O_CLOEXEC
 *
 * For what the pages are, and for how long this may take, see carveout_pool_take().
 *
 * Context: Process context, may sleep, until a signal comes. Takes the pool's lock;
 *	mmap_lock may be held.
 *
 * Return: the buffer's dma-buf, to be put by the caller; or an ERR_PTR: -EINVAL for
 * no length, -ENOMEM if there is no such run of free pages or a limit of the dmem
 * cgroup controller is reached, -ENODEV if the node has
 * gone, -ERESTARTSYS, -EIO if CARVEOUT_DEBUG finds another mapping of the pages, or what
 * dma_buf_export() returns.
 */
struct dma_buf *carveout_buffer_alloc(struct carveout_pool *pool, u64 len, int flags)
{
	if (!len)
		return ERR_PTR(-EINVAL);
	/* Before it is rounded up, which could wrap */
	if (len > pool->size)
		return ERR_PTR(-ENOMEM);

	return carveout_buffer_make(pool, PAGE_ALIGN(len), flags);
}

/**
 * carveout_buffer_share() - A buffer of a shared pool
 * @pool: the pool, a shared one; the caller has a reference
 * @len: length in bytes that is wanted of it
 *
 * All of them are the same memory, the whole pool's, but each is a dma-buf of its own:
 * one that others have cannot be had again without knowing that its file is still there.
 * Who comes after the last has let go gets memory with nothing in it, and waits until it
 * has been scrubbed.
 *
 * Context: As carveout_buffer_alloc().
 *
 * Return: as carveout_buffer_alloc().
 */
struct dma_buf *carveout_buffer_share(struct carveout_pool *pool, u64 len)
{
	if (!len)
		return ERR_PTR(-EINVAL);
	if (len > pool->size)
		return ERR_PTR(-ENOMEM);

	return carveout_buffer_make(pool, pool->size, O_RDWR | O_CLOEXEC);
}

/*
 * The inode that all mappings of a buffer are of, with a reference; or NULL: with the last
 * path to it, and so with the file, they have gone.
 */
static struct inode *carveout_inode_get(struct carveout_buffer *buffer)
{
	/* Pairs with the release in carveout_buffer_make() */
	struct dentry *dentry = smp_load_acquire(&buffer->dentry);
	struct inode *inode;

	if (!dentry)
		return NULL;

	guard(spinlock)(&dentry->d_lock);
	inode = dentry->d_inode;
	if (inode)
		ihold(inode);

	return inode;
}

/*
 * Another address space in which mmap() may be inserting entries, with a reference: once
 * for all buffers that it has
 */
static struct mm_struct *carveout_next_mm(struct carveout_pool *pool)
{
	struct carveout_buffer *buffer;
	struct mm_struct *mm = NULL;

	guard(rwsem_read)(&pool->lock);

	list_for_each_entry(buffer, &pool->buffers, node) {
		if (!buffer->mm || buffer->awaited || (mm && buffer->mm != mm))
			continue;
		buffer->awaited = true;
		if (!mm)
			mmgrab(buffer->mm);
		mm = buffer->mm;
	}

	return mm;
}

/**
 * carveout_buffer_revoke() - Unmap all buffers of a pool, for good
 * @pool: the pool, whose node has gone
 *
 * Afterwards nothing can be allocated or faulted in, and what was mapped is not
 * mapped any more: accesses get SIGBUS, or end a KVM_RUN with an error. The buffers
 * stay until their last users let go of them.
 *
 * Context: Process context, may sleep. Takes mmap_lock of those who map buffers, and
 *	waits for what they do with theirs; and the pool's lock, and inside of it the
 *	i_mmap_rwsem of each buffer's inode.
 */
void carveout_buffer_revoke(struct carveout_pool *pool)
{
	struct carveout_buffer *buffer;
	struct inode *inode;
	struct mm_struct *mm;

	scoped_guard(rwsem_write, &pool->lock)
		WRITE_ONCE(pool->dead, true);

	/* Nobody begins any more, neither by a fault nor by mmap(): let who has, finish */
	while ((mm = carveout_next_mm(pool))) {
		mmap_read_lock(mm);
		mmap_read_unlock(mm);
		mmdrop(mm);
	}

	/* From here on nothing is mapped: a buffer that is being made cannot be any more */
	guard(rwsem_read)(&pool->lock);
	list_for_each_entry(buffer, &pool->buffers, node) {
		inode = carveout_inode_get(buffer);
		if (!inode)
			continue;
		unmap_mapping_range(inode->i_mapping, 0, 0, 1);
		iput(inode);
	}
}

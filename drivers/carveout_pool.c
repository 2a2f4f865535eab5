// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers of a pool, and the device node that hands them out: by
 * DMA_HEAP_IOCTL_ALLOC as a dma-buf, or by mmap() of the node itself.
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
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <uapi/linux/dma-heap.h>

#include "carveout.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "carveout_trace.h"

#define CARVEOUT_FD_FLAGS	(O_CLOEXEC | O_ACCMODE)

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

/**
 * struct carveout_file - an open device node
 * @pool: the pool, a reference
 * @lock: protects @dmabuf. Inside of mmap_lock.
 * @dmabuf: the buffer that the first mmap() has allocated, a reference
 */
struct carveout_file {
	struct carveout_pool *pool;
	struct mutex lock;	/* protects dmabuf */
	struct dma_buf *dmabuf;
};

/**
 * carveout_scrub() - Fill a part of the pool with zeros
 * @pool: the pool, of which nobody else has a mapping of this part
 * @base: physical address
 * @size: length in bytes
 *
 * The zeros are written through a Normal-NC mapping, so that none is left in a
 * cache, and are complete before whatever publishes the memory.
 *
 * Context: Process context, may sleep. Takes seconds for gigabytes: not to be
 *	called with mmap_lock held.
 */
void carveout_scrub(struct carveout_pool *pool, phys_addr_t base, size_t size)
{
	void *va = pool->va + (base - pool->base);
	size_t done, step;

	for (done = 0; done < size; done += step) {
		step = min_t(size_t, size - done, SZ_2M);
		memset(va + done, 0, step);
		cond_resched();
	}

	/* DSB: a mapping on another CPU must not see anything older */
	mb();
}

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

/* Is this a mapping that a buffer, any buffer, can have? */
static int carveout_check_vma(struct vm_area_struct *vma)
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
	int ret = carveout_check_vma(vma);

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

	/* carveout_pool_unregister() must not find it any more */
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

/*
 * A new buffer of len bytes, rounded up to whole pages: its dma-buf, to be put by
 * the caller, or an error. May be called with mmap_lock held: pages are zero when
 * they are in the pool.
 */
static struct dma_buf *carveout_alloc(struct carveout_pool *pool, u64 len, int flags)
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

	kref_get(&pool->ref);
	buffer->pool = pool;

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

static int carveout_open(struct inode *inode, struct file *file)
{
	/* misc_open() holds a lock that keeps the node registered */
	struct carveout_pool *pool = container_of(file->private_data,
						  struct carveout_pool, misc);
	struct carveout_file *cf;

	cf = kzalloc_obj(*cf);
	if (!cf)
		return -ENOMEM;

	kref_get(&pool->ref);
	cf->pool = pool;
	mutex_init(&cf->lock);
	file->private_data = cf;

	return 0;
}

static int carveout_release(struct inode *inode, struct file *file)
{
	struct carveout_file *cf = file->private_data;

	if (cf->dmabuf)
		dma_buf_put(cf->dmabuf);
	carveout_pool_put(cf->pool);
	mutex_destroy(&cf->lock);
	kfree(cf);

	return 0;
}

/* The end is that of the buffer, once there is one */
static loff_t carveout_llseek(struct file *file, loff_t offset, int whence)
{
	struct carveout_file *cf = file->private_data;

	guard(mutex)(&cf->lock);

	return fixed_size_llseek(file, offset, whence, cf->dmabuf ? cf->dmabuf->size : 0);
}

/*
 * The first mapping makes the buffer, as long as it is itself; all further ones
 * are of that buffer, also through a descriptor that another process was given.
 */
static int carveout_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct carveout_file *cf = file->private_data;
	struct dma_buf *dmabuf;
	int ret;

	guard(mutex)(&cf->lock);

	if (cf->dmabuf)
		return dma_buf_mmap(cf->dmabuf, vma, vma->vm_pgoff);

	/* Before anything is allocated for it, and has to be scrubbed again */
	ret = carveout_check_vma(vma);
	if (ret)
		return ret;
	if (vma->vm_pgoff)
		return -EINVAL;

	dmabuf = carveout_alloc(cf->pool, vma->vm_end - vma->vm_start, O_RDWR | O_CLOEXEC);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = dma_buf_mmap(dmabuf, vma, 0);
	if (ret)
		dma_buf_put(dmabuf);
	else
		cf->dmabuf = dmabuf;

	return ret;
}

static long carveout_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_heap_allocation_data data, __user *udata = (void __user *)arg;
	struct carveout_file *cf = file->private_data;
	struct dma_buf *dmabuf;
	int fd;

	if (cmd != DMA_HEAP_IOCTL_ALLOC)
		return -ENOTTY;

	if (copy_from_user(&data, udata, sizeof(data)))
		return -EFAULT;

	if (data.fd || data.fd_flags & ~CARVEOUT_FD_FLAGS ||
	    data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS)
		return -EINVAL;

	dmabuf = carveout_alloc(cf->pool, data.len, data.fd_flags);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	fd = get_unused_fd_flags(data.fd_flags);
	if (fd < 0) {
		dma_buf_put(dmabuf);
		return fd;
	}

	data.fd = fd;
	if (copy_to_user(udata, &data, sizeof(data))) {
		put_unused_fd(fd);
		dma_buf_put(dmabuf);
		return -EFAULT;
	}
	fd_install(fd, dmabuf->file);

	return 0;
}

static const struct file_operations carveout_fops = {
	.owner			= THIS_MODULE,
	.open			= carveout_open,
	.release		= carveout_release,
	.llseek			= carveout_llseek,
	.mmap			= carveout_mmap,
	.unlocked_ioctl		= carveout_ioctl,
	.compat_ioctl		= compat_ptr_ioctl,
	/* Puts mappings where huge entries fit */
	.get_unmapped_area	= thp_get_unmapped_area,
};

static struct carveout_pool *carveout_of(struct device *dev)
{
	return container_of(dev_get_drvdata(dev), struct carveout_pool, misc);
}

static ssize_t total_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%zu\n", carveout_of(dev)->size);
}
static DEVICE_ATTR_RO(total_bytes);

static ssize_t free_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	return sysfs_emit(buf, "%zu\n", pool->size - pool->used);
}
static DEVICE_ATTR_RO(free_bytes);

static void carveout_largest_free(struct gen_pool *gen, struct gen_pool_chunk *chunk, void *data)
{
	unsigned long nbits = (chunk->end_addr - chunk->start_addr + 1) >> PAGE_SHIFT;
	unsigned long start, end = 0, *largest = data;

	while ((start = find_next_zero_bit(chunk->bits, nbits, end)) < nbits) {
		end = find_next_bit(chunk->bits, nbits, start);
		*largest = max(*largest, end - start);
	}
}

static ssize_t largest_free_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);
	unsigned long largest = 0;

	guard(rwsem_read)(&pool->lock);

	gen_pool_for_each_chunk(pool->gen, carveout_largest_free, &largest);

	return sysfs_emit(buf, "%lu\n", largest << PAGE_SHIFT);
}
static DEVICE_ATTR_RO(largest_free_bytes);

static ssize_t buffers_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	return sysfs_emit(buf, "%u\n", pool->nr_buffers);
}
static DEVICE_ATTR_RO(buffers);

static ssize_t high_water_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	return sysfs_emit(buf, "%zu\n", pool->high_water);
}
static DEVICE_ATTR_RO(high_water_bytes);

static struct attribute *carveout_attrs[] = {
	&dev_attr_total_bytes.attr,
	&dev_attr_free_bytes.attr,
	&dev_attr_largest_free_bytes.attr,
	&dev_attr_buffers.attr,
	&dev_attr_high_water_bytes.attr,
	NULL
};
ATTRIBUTE_GROUPS(carveout);

static void carveout_pool_release(struct kref *ref)
{
	carveout_pool_free(container_of(ref, struct carveout_pool, ref));
}

/**
 * carveout_pool_put() - Drop a reference to a pool
 * @pool: the pool, freed with the last one
 *
 * Context: Process context, may sleep.
 */
void carveout_pool_put(struct carveout_pool *pool)
{
	kref_put(&pool->ref, carveout_pool_release);
}

/**
 * carveout_pool_register() - Make the device node of a pool
 * @pool: the pool, complete but for the node
 * @parent: the device that it belongs to, or NULL
 *
 * The node is /dev/dma_heap/carveout-<name>, of mode 0600. dma_heap_add() would
 * make one too, but cannot be undone, and older kernels do not export it.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, or a negative errno.
 */
int carveout_pool_register(struct carveout_pool *pool, struct device *parent)
{
	snprintf(pool->node_name, sizeof(pool->node_name), "carveout-%s", pool->name);
	snprintf(pool->nodename, sizeof(pool->nodename), "dma_heap/%s", pool->node_name);

	pool->misc = (struct miscdevice) {
		.minor		= MISC_DYNAMIC_MINOR,
		.name		= pool->node_name,
		.nodename	= pool->nodename,
		.mode		= 0600,
		.fops		= &carveout_fops,
		.groups		= carveout_groups,
		.parent		= parent,
	};

	return misc_register(&pool->misc);
}

/**
 * carveout_pool_unregister() - Remove a pool, whoever uses it
 * @pool: the pool
 *
 * Afterwards there is no node, nothing can be allocated, and what was mapped is
 * not mapped any more: accesses get SIGBUS, or end a KVM_RUN with an error. The
 * memory stays claimed until the last buffer is freed.
 *
 * Context: Process context, may sleep.
 */
void carveout_pool_unregister(struct carveout_pool *pool)
{
	struct carveout_buffer *buffer;

	misc_deregister(&pool->misc);

	down_write(&pool->lock);
	WRITE_ONCE(pool->dead, true);
	up_write(&pool->lock);

	/* From here on nothing is mapped: a buffer that is still added cannot be */
	down_read(&pool->lock);
	list_for_each_entry(buffer, &pool->buffers, node)
		unmap_mapping_range(buffer->inode->i_mapping, 0, 0, 1);
	up_read(&pool->lock);

	carveout_pool_put(pool);
}

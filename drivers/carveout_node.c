// SPDX-License-Identifier: GPL-2.0
/*
 * The device node of a pool, which hands buffers out: by DMA_HEAP_IOCTL_ALLOC as a
 * dma-buf, or by mmap() of the node itself; and its counters in sysfs. Of a shared pool
 * all of them are the same memory.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include <uapi/linux/dma-heap.h>

#include "carveout.h"
#include "compat.h"

#define CARVEOUT_FD_FLAGS	(O_CLOEXEC | O_ACCMODE)

/**
 * struct carveout_file - an open device node
 * @pool: the pool, a reference. It does not keep the memory: a node that is open and
 *	has no buffer is in nobody's way.
 * @lock: protects @dmabuf. Inside of mmap_lock, outside of the pool's locks. Held while
 *	an allocation waits: taken interruptibly.
 * @dmabuf: the buffer that the first mmap() has allocated, or got, a reference
 */
struct carveout_file {
	struct carveout_pool *pool;
	struct mutex lock;	/* protects dmabuf */
	struct dma_buf *dmabuf;
};

static int carveout_open(struct inode *inode, struct file *file)
{
	/* misc_open() holds a lock that keeps the node registered */
	struct carveout_pool *pool = container_of(file->private_data,
						  struct carveout_pool, misc);
	struct carveout_file *cf;

	cf = kzalloc_obj(*cf);
	if (!cf)
		return -ENOMEM;

	cf->pool = carveout_pool_get(pool);
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

/* The end is that of the buffer, once there is one; a shared one is as long as the pool */
static loff_t carveout_llseek(struct file *file, loff_t offset, int whence)
{
	struct carveout_file *cf = file->private_data;
	loff_t size = cf->pool->shared ? cf->pool->size : 0;

	if (mutex_lock_interruptible(&cf->lock))
		return -ERESTARTSYS;
	if (cf->dmabuf)
		size = cf->dmabuf->size;
	mutex_unlock(&cf->lock);

	return fixed_size_llseek(file, offset, whence, size);
}

/*
 * The first mapping makes the buffer, as long as it is itself, or, of a shared pool, as the
 * pool; all further ones are of that buffer, also through a descriptor that another process
 * was given.
 */
static int carveout_mmap_locked(struct carveout_file *cf, struct vm_area_struct *vma)
{
	size_t size = vma->vm_end - vma->vm_start;
	struct carveout_pool *pool = cf->pool;
	struct dma_buf *dmabuf;
	int ret;

	if (cf->dmabuf)
		return dma_buf_mmap(cf->dmabuf, vma, vma->vm_pgoff);

	/* Before anything is allocated for it */
	ret = carveout_buffer_check_vma(vma);
	if (ret)
		return ret;
	if (vma->vm_pgoff && !pool->shared)
		return -EINVAL;

	dmabuf = pool->shared ? carveout_buffer_share(pool, size) :
		 carveout_buffer_alloc(pool, size, O_RDWR | O_CLOEXEC);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = dma_buf_mmap(dmabuf, vma, vma->vm_pgoff);
	if (ret)
		dma_buf_put(dmabuf);
	else
		cf->dmabuf = dmabuf;

	return ret;
}

static int carveout_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct carveout_file *cf = file->private_data;
	int ret;

	if (mutex_lock_interruptible(&cf->lock))
		return -ERESTARTSYS;
	ret = carveout_mmap_locked(cf, vma);
	mutex_unlock(&cf->lock);

	return ret;
}

static struct dma_buf *carveout_ioctl_alloc(struct file *file,
					    const struct dma_heap_allocation_data *data)
{
	struct carveout_file *cf = file->private_data;

	if (!cf->pool->shared)
		return carveout_buffer_alloc(cf->pool, data->len, data->fd_flags);

	/*
	 * What is shared can be written to. Who may only read can map the node, where the
	 * core sees to that.
	 */
	if (!(file->f_mode & FMODE_WRITE))
		return ERR_PTR(-EBADF);
	if ((data->fd_flags & O_ACCMODE) != O_RDWR)
		return ERR_PTR(-EINVAL);

	return carveout_buffer_share(cf->pool, data->len);
}

static long carveout_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_heap_allocation_data data, __user *udata = (void __user *)arg;
	struct dma_buf *dmabuf;
	int fd;

	if (cmd != DMA_HEAP_IOCTL_ALLOC)
		return -ENOTTY;

	if (copy_from_user(&data, udata, sizeof(data)))
		return -EFAULT;

	if (data.fd || data.fd_flags & ~CARVEOUT_FD_FLAGS ||
	    data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS)
		return -EINVAL;

	dmabuf = carveout_ioctl_alloc(file, &data);
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

	return sysfs_emit(buf, "%lu\n", (pool->nr_pages - pool->owned_pages -
					 pool->dirty_pages) << PAGE_SHIFT);
}
static DEVICE_ATTR_RO(free_bytes);

static ssize_t scrubbing_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	return sysfs_emit(buf, "%lu\n", pool->dirty_pages << PAGE_SHIFT);
}
static DEVICE_ATTR_RO(scrubbing_bytes);

static ssize_t largest_free_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);
	unsigned long start, end = 0, largest = 0;

	guard(rwsem_read)(&pool->lock);

	while ((start = find_next_zero_bit(pool->used, pool->nr_pages, end)) < pool->nr_pages) {
		end = find_next_bit(pool->used, pool->nr_pages, start);
		largest = max(largest, end - start);
	}

	return sysfs_emit(buf, "%lu\n", largest << PAGE_SHIFT);
}
static DEVICE_ATTR_RO(largest_free_bytes);

static ssize_t buffers_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	/* What is shared is one, whoever has it */
	return sysfs_emit(buf, "%u\n", pool->shared ? !!pool->nr_buffers : pool->nr_buffers);
}
static DEVICE_ATTR_RO(buffers);

static ssize_t high_water_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct carveout_pool *pool = carveout_of(dev);

	guard(rwsem_read)(&pool->lock);

	return sysfs_emit(buf, "%lu\n", pool->high_water << PAGE_SHIFT);
}
static DEVICE_ATTR_RO(high_water_bytes);

static ssize_t shared_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", carveout_of(dev)->shared);
}
static DEVICE_ATTR_RO(shared);

static struct attribute *carveout_attrs[] = {
	&dev_attr_total_bytes.attr,
	&dev_attr_free_bytes.attr,
	&dev_attr_scrubbing_bytes.attr,
	&dev_attr_largest_free_bytes.attr,
	&dev_attr_buffers.attr,
	&dev_attr_high_water_bytes.attr,
	&dev_attr_shared.attr,
	NULL
};
ATTRIBUTE_GROUPS(carveout);

/**
 * carveout_node_add() - Make the device node of a pool
 * @pool: the pool, complete but for the node; the caller keeps its reference until
 *	after carveout_node_remove()
 * @parent: the device that it belongs to, or NULL
 *
 * The node is /dev/dma_heap/carveout-<name>, of mode 0600. dma_heap_add() would
 * make one too, but cannot be undone, and older kernels do not export it.
 *
 * Context: Process context, may sleep. Takes misc_mtx. The node can be opened, and
 *	buffers allocated, before this returns.
 *
 * Return: 0, or what misc_register() returns: -EBUSY if there is no minor left,
 * -ENOMEM, or another error of the driver core. Then there is no node.
 */
int carveout_node_add(struct carveout_pool *pool, struct device *parent)
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
 * carveout_node_remove() - Remove the node of a pool, whoever uses it
 * @pool: the pool, of which the caller has a reference
 *
 * Afterwards there is no node, and all that carveout_buffer_revoke() promises.
 *
 * Context: Process context, may sleep. Takes misc_mtx, then what
 *	carveout_buffer_revoke() takes. Not to be called with the pool's lock or
 *	mmap_lock held: it waits for readers of the counters, who take both.
 */
void carveout_node_remove(struct carveout_pool *pool)
{
	misc_deregister(&pool->misc);
	carveout_buffer_revoke(pool);
}

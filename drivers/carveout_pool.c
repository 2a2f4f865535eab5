// SPDX-License-Identifier: GPL-2.0
/*
 * A pool: a range that has been taken over, until the last that uses it is gone,
 * which of its pages are whose, and what is done to a page before it is anybody's.
 *
 * A page is free, or a buffer's, or dirty: it has been a buffer's, or was somebody's
 * before the range was taken over. Only what has been scrubbed is free. Scrubbing is
 * not done by who lets go of a buffer, as that may be anybody: the last reference to
 * a descriptor that was sent over a socket and never received is dropped by a work
 * item that the whole system has one of. It is done by a workqueue of the module, one
 * item for each pool, so that who fills a pool and empties it keeps one CPU busy and
 * no other pool waiting. (But a task that lets go of a single page scrubs it, for that
 * is less than it takes to wake a worker up.)
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/find.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kref.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "carveout.h"
#include "carveout_arch.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "carveout_trace.h"

/* At a time: what keeps the freezer, or a pool that is given up, waiting */
#define CARVEOUT_SCRUB_SIZE	SZ_2M

/* Pools from this size on say how far they have got with being prepared */
#define CARVEOUT_LARGE		SZ_1G

static struct workqueue_struct *carveout_wq;

/* A part of the pool that nobody has, nor a mapping of it: up to CARVEOUT_SCRUB_SIZE */
static void carveout_scrub(struct carveout_pool *pool, unsigned long page, unsigned long nr)
{
	phys_addr_t base = pool->base + PFN_PHYS(page);
	void *va = pool->va + (base - pool->base);
	size_t size = nr << PAGE_SHIFT;

	/*
	 * Lines that firmware, an earlier kernel or a device with cacheable DMA has left
	 * dirty would be written back later, over what the next owner has written by
	 * then; and over the zeros.
	 */
	carveout_arch_clean_inval_poc(va, size);
	trace_carveout_clean(pool->name, base, size);

	/* Through a Normal-NC mapping, so that no zero is left in a cache */
	memset(va, 0, size);
	/* DSB: a mapping on another CPU must not see anything older */
	mb();
	trace_carveout_scrub(pool->name, base, size);
}

/* Nothing is left to scrub; of a dead pool, nothing that was ever handed out. */
static bool carveout_is_clean(struct carveout_pool *pool)
{
	return pool->dirty_pages == (pool->dead ? pool->nr_pages - pool->prepared : 0);
}

static void carveout_memory_release(struct kref *ref)
{
	struct carveout_pool *pool = container_of(ref, struct carveout_pool, memory);

	carveout_dmem_unregister(pool->region);
	kvfree(pool->owned);
	kvfree(pool->used);
	if (pool->va)
		memunmap(pool->va);
	if (pool->res)
		release_mem_region(pool->base, pool->size);
	carveout_pool_put(pool);
}

static void carveout_memory_put(struct carveout_pool *pool)
{
	kref_put(&pool->memory, carveout_memory_release);
}

/* With a reference to the memory, which goes along or is dropped */
static void carveout_queue_scrub(struct carveout_pool *pool)
{
	if (!queue_work(carveout_wq, &pool->scrub))
		carveout_memory_put(pool);
}

/* Something has changed that allocations may be waiting for. @lock is held for writing. */
static void carveout_changed(struct carveout_pool *pool)
{
	WRITE_ONCE(pool->changes, pool->changes + 1);
	if (wq_has_sleeper(&pool->wait))
		wake_up_all(&pool->wait);
}

static void carveout_say_progress(struct carveout_pool *pool, unsigned long was)
{
	unsigned long now = pool->prepared, nr = pool->nr_pages;

	if (pool->size >= CARVEOUT_LARGE && now * 8 / nr != was * 8 / nr)
		pr_info("carveout-%s: %lu of %lu MiB are ready\n", pool->name,
			now >> (20 - PAGE_SHIFT), nr >> (20 - PAGE_SHIFT));
}

/*
 * Lowest address first, so that what has been in use is scrubbed before the rest of
 * a pool that is new. Freezable: while an image of the system is taken, nothing is
 * half scrubbed.
 */
static void carveout_scrub_work(struct work_struct *work)
{
	struct carveout_pool *pool = container_of(work, struct carveout_pool, scrub);
	unsigned long start, end, was;
	bool more;

	scoped_guard(rwsem_write, &pool->lock) {
		start = find_next_andnot_bit(pool->used, pool->owned, pool->nr_pages,
					     pool->first_dirty);
		if (pool->dead && start >= pool->prepared)
			start = pool->nr_pages;
		end = min(start + (CARVEOUT_SCRUB_SIZE >> PAGE_SHIFT), pool->nr_pages);
		end = find_next_bit(pool->owned, end, start);
		end = find_next_zero_bit(pool->used, end, start);
		/* Whatever gets dirty below from now on lowers it */
		pool->first_dirty = end;
	}

	if (start < end)
		carveout_scrub(pool, start, end - start);

	scoped_guard(rwsem_write, &pool->lock) {
		was = pool->prepared;
		if (start < end) {
			bitmap_clear(pool->used, start, end - start);
			pool->dirty_pages -= end - start;
			/* What was never handed out is at the end, and gets dirty once */
			pool->prepared = max(was, end);
		}
		more = !carveout_is_clean(pool);
		carveout_changed(pool);
	}
	carveout_say_progress(pool, was);

	if (more)
		carveout_queue_scrub(pool);
	else
		carveout_memory_put(pool);
}

/* Wait until nothing is left to scrub. Nobody adds anything but buffers that end. */
static void carveout_settle(struct carveout_pool *pool)
{
	bool clean;

	do {
		scoped_guard(rwsem_read, &pool->lock)
			clean = carveout_is_clean(pool);
		/* What is dirty is queued; and who has been the last is not yet done */
		flush_work(&pool->scrub);
	} while (!clean);
}

/* It becomes a file's name */
static bool carveout_name_ok(const char *name)
{
	const char *c;

	for (c = name; *c; c++)
		/* isalnum() takes Latin-1 */
		if (!isascii(*c) || (!isalnum(*c) && !strchr("._-", *c)))
			return false;

	return c != name && c - name < CARVEOUT_NAME_LEN && *name != '.';
}

static void carveout_pool_release(struct kref *ref)
{
	struct carveout_pool *pool = container_of(ref, struct carveout_pool, ref);

	kfree(pool);
}

/**
 * carveout_pool_new() - Take a range over
 * @name: what the pool is to be called, any string
 * @base: physical address, any number
 * @size: length in bytes, any number
 * @shared: all who open its node are to get the same memory
 * @why: buffer for the reason if there is no pool
 * @len: its length in bytes
 *
 * Claims the range and proves that it has no other mapping. That nothing of it is in
 * any cache, and nothing but zeros in it, is seen to later, by the workqueue: nothing
 * is handed out before. That the name is nobody else's is for the caller to see to.
 *
 * Context: Process context, may sleep; no locks needed. Takes a second for 100 GiB or so,
 *	for the proof.
 *
 * Return: the pool, with one reference for the caller, who ends it by
 * carveout_pool_give_up(), and without a node; or, with
 * the reason in @why, an ERR_PTR: -EINVAL for a name or range that cannot be, -EBUSY
 * for a range that is somebody else's, or -ENOMEM.
 */
struct carveout_pool *carveout_pool_new(const char *name, phys_addr_t base, u64 size,
					bool shared, char *why, size_t len)
{
	struct carveout_pool *pool;
	int ret = -EINVAL;

	if (!carveout_name_ok(name)) {
		snprintf(why, len, "a name has up to %d letters, digits, '.', '_' and '-'",
			 CARVEOUT_NAME_LEN - 1);
		return ERR_PTR(ret);
	}
	if (!size || !PAGE_ALIGNED(base) || !PAGE_ALIGNED(size)) {
		snprintf(why, len, "base %pa and size 0x%llx, not 0, must be multiples of 0x%lx",
			 &base, size, PAGE_SIZE);
		return ERR_PTR(ret);
	}
	if (size - 1 > PHYS_MASK || base > PHYS_MASK - (size - 1)) {
		snprintf(why, len, "base %pa and size 0x%llx reach beyond physical memory",
			 &base, size);
		return ERR_PTR(ret);
	}
	/* What a bitmap's functions take */
	if (size >> PAGE_SHIFT > INT_MAX) {
		snprintf(why, len, "size 0x%llx is more than %d pages", size, INT_MAX);
		return ERR_PTR(ret);
	}

	pool = kzalloc_obj(*pool);
	if (!pool) {
		snprintf(why, len, "no memory");
		return ERR_PTR(-ENOMEM);
	}

	kref_init(&pool->ref);
	/* and one for the memory */
	kref_get(&pool->ref);
	kref_init(&pool->memory);
	init_rwsem(&pool->lock);
	init_waitqueue_head(&pool->wait);
	INIT_WORK(&pool->scrub, carveout_scrub_work);
	INIT_LIST_HEAD(&pool->buffers);
	strscpy(pool->name, name, sizeof(pool->name));
	pool->base = base;
	pool->size = size;
	pool->nr_pages = size >> PAGE_SHIFT;
	pool->shared = shared;

	/*
	 * Exclusive: not for /dev/mem either. Claimed before the proof, so that
	 * nobody takes it between, but a page that is mapped is the better reason
	 * to refuse.
	 */
	pool->res = __request_region(&iomem_resource, base, size, "carveout",
				     IORESOURCE_EXCLUSIVE);
	ret = carveout_prove(base, size, why, len);
	if (ret)
		goto err;
	if (!pool->res) {
		snprintf(why, len, "%pa to 0x%llx is in use, see /proc/iomem", &base,
			 base + size - 1);
		ret = -EBUSY;
		goto err;
	}

	ret = -ENOMEM;
	snprintf(why, len, "no memory");
	pool->va = memremap(base, size, MEMREMAP_WC);
	pool->used = kvcalloc(BITS_TO_LONGS(pool->nr_pages), sizeof(long), GFP_KERNEL);
	pool->owned = kvcalloc(BITS_TO_LONGS(pool->nr_pages), sizeof(long), GFP_KERNEL);
	if (!pool->va || !pool->used || !pool->owned)
		goto err;

	pool->region = carveout_dmem_register(pool->size, pool->name);
	if (IS_ERR(pool->region)) {
		pool->region = NULL;
		goto err;
	}

	bitmap_set(pool->used, 0, pool->nr_pages);
	pool->dirty_pages = pool->nr_pages;
	kref_get(&pool->memory);
	carveout_queue_scrub(pool);

	return pool;

err:
	carveout_memory_put(pool);
	carveout_pool_put(pool);
	return ERR_PTR(ret);
}

/**
 * carveout_pool_get() - Take a reference to a pool
 * @pool: the pool, of which somebody has a reference
 *
 * It keeps the structure, not the memory: that is kept by who made the pool, and by
 * buffers.
 *
 * Context: Any. Does not sleep.
 *
 * Return: @pool.
 */
struct carveout_pool *carveout_pool_get(struct carveout_pool *pool)
{
	kref_get(&pool->ref);
	return pool;
}

/**
 * carveout_pool_put() - Drop a reference to a pool
 * @pool: the pool, freed with the last one
 *
 * Context: Process context, may sleep. Not to be called with the pool's lock held,
 *	which goes with it.
 */
void carveout_pool_put(struct carveout_pool *pool)
{
	kref_put(&pool->ref, carveout_pool_release);
}

/**
 * carveout_pool_give_up() - Undo carveout_pool_new()
 * @pool: the pool, which has no node any more; the caller's reference is dropped
 *
 * Nothing can be allocated any more. If no buffer is left its range is not claimed any
 * more when this returns, and scrubbed as far as it was ever handed out; otherwise
 * when the last buffer has gone and has been scrubbed.
 *
 * Context: Process context, may sleep, for as long as it takes to scrub what has been
 *	in use. Takes the pool's lock.
 */
void carveout_pool_give_up(struct carveout_pool *pool)
{
	scoped_guard(rwsem_write, &pool->lock) {
		WRITE_ONCE(pool->dead, true);
		carveout_changed(pool);
	}
	carveout_settle(pool);
	carveout_memory_put(pool);
	carveout_pool_put(pool);
}

/* The first run of free pages in a bitmap, or what is not less than the pool's pages */
static unsigned long carveout_find(struct carveout_pool *pool, unsigned long *map,
				   unsigned long nr, unsigned long align)
{
	return bitmap_find_next_zero_area_off(map, pool->nr_pages, 0, nr, align - 1,
					      PHYS_PFN(pool->base) & (align - 1));
}

/* A run of pages that nobody has: the first one, or a negative error */
static long carveout_take_pages(struct carveout_pool *pool, unsigned long nr)
{
	unsigned long align = nr < PMD_SIZE >> PAGE_SHIFT ? 1 : PMD_SIZE >> PAGE_SHIFT;
	unsigned long page;

	for (; align; align /= 2) {
		page = carveout_find(pool, pool->used, nr, align);
		if (page < pool->nr_pages)
			break;
		/* Rather wait for a scrub than be without huge entries from then on */
		if (carveout_find(pool, pool->owned, nr, align) < pool->nr_pages)
			return -EAGAIN;
	}
	if (!align)
		return -ENOMEM;

	bitmap_set(pool->used, page, nr);
	bitmap_set(pool->owned, page, nr);
	pool->owned_pages += nr;
	pool->high_water = max(pool->high_water, pool->owned_pages);
	return page;
}

/* Or -EAGAIN if it is worth waiting for a change */
static int carveout_try_take(struct carveout_pool *pool, unsigned long nr, phys_addr_t *base,
			     struct list_head *node)
{
	long page = 0;

	if (pool->dead)
		return -ENODEV;
	if (pool->frozen)
		return -EAGAIN;
	/* Who shares has the pages that are there */
	if (!pool->shared || !pool->nr_buffers) {
		page = carveout_take_pages(pool, nr);
		if (page < 0)
			return page;
	}

	pool->nr_buffers++;
	list_add(node, &pool->buffers);
	kref_get(&pool->memory);
	*base = pool->base + PFN_PHYS(page);

	return 0;
}

/**
 * carveout_pool_take() - Take pages from a pool, for a buffer
 * @pool: the pool, of which the caller has a reference
 * @size: length in bytes, page aligned, not more than the pool's
 * @base: where to leave the physical address of the first page
 * @node: of the buffer, for the pool's list of buffers
 *
 * The pages are contiguous, zero, and in no cache. They are aligned to PMD_SIZE if
 * they are as many as that, or to the largest smaller power of two for which there is
 * room. Where there is room, or room for a larger one, only once something that nobody
 * has any more has been scrubbed, this waits for that.
 *
 * Context: Process context, may sleep, until a signal comes. Takes the pool's lock;
 *	mmap_lock may be held.
 *
 * Return: 0, and the memory is kept until carveout_pool_give_back(); -ENOMEM if there is
 * no such run of pages; -ENODEV if the pool has been given up; -ERESTARTSYS.
 */
int carveout_pool_take(struct carveout_pool *pool, size_t size, phys_addr_t *base,
		       struct list_head *node)
{
	unsigned int changes;
	int ret;

	for (;;) {
		scoped_guard(rwsem_write, &pool->lock) {
			ret = carveout_try_take(pool, size >> PAGE_SHIFT, base, node);
			changes = pool->changes;
		}
		if (ret != -EAGAIN)
			return ret;

		ret = wait_event_interruptible(pool->wait,
					       READ_ONCE(pool->changes) != changes);
		if (ret)
			return ret;
	}
}

/**
 * carveout_pool_give_back() - Give pages back to a pool
 * @pool: the pool; the caller need not have a reference other than by these pages
 * @base: what carveout_pool_take() has returned
 * @size: what it was asked for
 * @node: what it has put into the list of buffers
 * @dirty: the pages may hold something else than zeros; if not, they are free at once
 *
 * Nothing maps the pages by this buffer any more, and no CPU has a translation of them by
 * it. Those of a shared pool are given back with the last buffer.
 *
 * Context: Process context, may sleep, not for long. Takes the pool's lock. The pool may
 *	be gone when this returns.
 */
void carveout_pool_give_back(struct carveout_pool *pool, phys_addr_t base, size_t size,
			     struct list_head *node, bool dirty)
{
	unsigned long page = PHYS_PFN(base - pool->base), nr = size >> PAGE_SHIFT;

	if (dirty && nr == 1 && !pool->shared && !(current->flags & PF_KTHREAD)) {
		carveout_scrub(pool, page, nr);
		dirty = false;
	}

	scoped_guard(rwsem_write, &pool->lock) {
		pool->nr_buffers--;
		list_del(node);
		if (pool->shared) {
			pool->touched |= dirty;
			dirty = false;
			if (pool->nr_buffers)
				break;
			swap(dirty, pool->touched);
		}
		bitmap_clear(pool->owned, page, nr);
		pool->owned_pages -= nr;
		if (dirty) {
			pool->dirty_pages += nr;
			pool->first_dirty = min(pool->first_dirty, page);
		} else {
			bitmap_clear(pool->used, page, nr);
		}
		carveout_changed(pool);
	}

	if (dirty)
		carveout_queue_scrub(pool);
	else
		carveout_memory_put(pool);
}

/**
 * carveout_pool_freeze() - Get a pool ready for an image of the system
 * @pool: the pool
 *
 * No image has what is in the pool. Until carveout_pool_thaw() allocations wait.
 *
 * Context: Process context, may sleep, for as long as it takes to scrub what is dirty.
 *	Takes the pool's lock.
 *
 * Return: 0, or -EBUSY if there are buffers.
 */
int carveout_pool_freeze(struct carveout_pool *pool)
{
	scoped_guard(rwsem_write, &pool->lock) {
		if (pool->nr_buffers)
			return -EBUSY;
		pool->frozen = true;
	}
	carveout_settle(pool);

	return 0;
}

/**
 * carveout_pool_thaw() - Undo carveout_pool_freeze()
 * @pool: the pool, frozen or not
 * @lost: its memory may have been without power
 *
 * Context: Process context, may sleep, not for long. Takes the pool's lock.
 */
void carveout_pool_thaw(struct carveout_pool *pool, bool lost)
{
	scoped_guard(rwsem_write, &pool->lock) {
		pool->frozen = false;
		if (lost) {
			bitmap_set(pool->used, 0, pool->nr_pages);
			pool->dirty_pages = pool->nr_pages - pool->owned_pages;
			pool->first_dirty = 0;
			kref_get(&pool->memory);
		}
		carveout_changed(pool);
	}
	if (lost)
		carveout_queue_scrub(pool);
}

/**
 * carveout_pool_init() - Get ready for pools
 *
 * Context: Process context, may sleep. When the module is loaded.
 *
 * Return: 0 or -ENOMEM.
 */
int __init carveout_pool_init(void)
{
	/* An administrator can say which CPUs scrub, and how urgently */
	carveout_wq = alloc_workqueue("carveout_scrub",
				      WQ_UNBOUND | WQ_FREEZABLE | WQ_SYSFS, 0);

	return carveout_wq ? 0 : -ENOMEM;
}

/**
 * carveout_pool_exit() - Undo carveout_pool_init()
 *
 * Context: Process context, may sleep, until all is scrubbed. All pools have been given
 *	up and no buffer is left: those keep the module.
 */
void carveout_pool_exit(void)
{
	destroy_workqueue(carveout_wq);
}

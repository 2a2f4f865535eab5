// SPDX-License-Identifier: GPL-2.0
/*
 * A pool: a range that has been taken over, until the last that uses it is gone,
 * and what has to be done to its memory before anybody gets any of it.
 */
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/genalloc.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kref.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "carveout.h"
#include "carveout_arch.h"
#include "compat.h"

/**
 * carveout_scrub() - Fill a part of the pool with zeros
 * @pool: the pool, of which nobody else has a mapping of this part
 * @base: physical address of the part, page aligned
 * @size: length in bytes, page aligned
 *
 * The zeros are written through a Normal-NC mapping, so that none is left in a
 * cache, and are complete before whatever publishes the memory.
 *
 * Context: Process context, may sleep; no locks needed. Takes seconds for gigabytes:
 *	not to be called with mmap_lock or the pool's lock held.
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

/* Undo carveout_pool_new(): no buffer is left, nor anybody else with a reference */
static void carveout_pool_free(struct carveout_pool *pool)
{
	if (pool->gen)
		gen_pool_destroy(pool->gen);
	if (pool->va)
		memunmap(pool->va);
	if (pool->res)
		release_mem_region(pool->base, pool->size);
	kfree(pool);
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

/**
 * carveout_pool_new() - Take a range over
 * @name: what the pool is to be called, any string
 * @base: physical address, any number
 * @size: length in bytes, any number
 * @why: buffer for the reason if there is no pool
 * @len: its length in bytes
 *
 * Claims the range, proves that it has no other mapping, and leaves nothing of it
 * in any cache, and nothing but zeros in it. That the name is nobody else's is for
 * the caller to see to.
 *
 * Context: Process context, may sleep; no locks needed. Takes seconds for gigabytes.
 *
 * Return: the pool, with one reference for the caller and without a node; or, with
 * the reason in @why, an ERR_PTR: -EINVAL for a name or range that cannot be, -EBUSY
 * for a range that is somebody else's, or -ENOMEM.
 */
struct carveout_pool *carveout_pool_new(const char *name, phys_addr_t base, u64 size,
					char *why, size_t len)
{
	struct carveout_pool *pool;
	int ret = -EINVAL;

	if (!carveout_name_ok(name)) {
		snprintf(why, len, "a name has up to %d letters, digits, '.', '_' and '-'",
			 CARVEOUT_NAME_LEN - 1);
		return ERR_PTR(ret);
	}
	/* genalloc has no address 0 */
	if (!base || !size || !PAGE_ALIGNED(base) || !PAGE_ALIGNED(size)) {
		snprintf(why, len, "base %pa and size 0x%llx must be multiples of 0x%lx, not 0",
			 &base, size, PAGE_SIZE);
		return ERR_PTR(ret);
	}
	if (size - 1 > PHYS_MASK || base > PHYS_MASK - (size - 1)) {
		snprintf(why, len, "base %pa and size 0x%llx reach beyond physical memory",
			 &base, size);
		return ERR_PTR(ret);
	}

	pool = kzalloc_obj(*pool);
	if (!pool)
		goto no_memory;

	kref_init(&pool->ref);
	init_rwsem(&pool->lock);
	INIT_LIST_HEAD(&pool->buffers);
	strscpy(pool->name, name, sizeof(pool->name));
	pool->base = base;
	pool->size = size;

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

	pool->va = memremap(base, size, MEMREMAP_WC);
	pool->gen = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);
	if (!pool->va || !pool->gen || gen_pool_add(pool->gen, base, size, NUMA_NO_NODE))
		goto no_memory;

	/*
	 * Lines that firmware or an earlier kernel has left dirty would be written
	 * back later, over what a guest has written by then.
	 */
	carveout_arch_clean_inval_poc(pool->va, size);
	carveout_scrub(pool, base, size);

	return pool;

no_memory:
	snprintf(why, len, "no memory");
	ret = -ENOMEM;
err:
	if (pool)
		carveout_pool_free(pool);
	return ERR_PTR(ret);
}

/**
 * carveout_pool_get() - Take a reference to a pool
 * @pool: the pool, of which somebody has a reference
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

static void carveout_pool_release(struct kref *ref)
{
	carveout_pool_free(container_of(ref, struct carveout_pool, ref));
}

/**
 * carveout_pool_put() - Drop a reference to a pool
 * @pool: the pool, freed with the last one, when its range is no longer claimed
 *
 * Context: Process context, may sleep. Not to be called with the pool's lock held,
 *	which goes with it.
 */
void carveout_pool_put(struct carveout_pool *pool)
{
	kref_put(&pool->ref, carveout_pool_release);
}

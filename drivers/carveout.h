/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CARVEOUT_H
#define CARVEOUT_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct device;
struct dma_buf;
struct resource;
struct vm_area_struct;

/* With its terminating zero; the node is called carveout-<name> */
#define CARVEOUT_NAME_LEN	48

/**
 * struct carveout_pool - memory that is handed out
 * @name: what the pool is called
 * @node_name: the same with the prefix of the device node
 * @nodename: the same with the directory of the device node
 * @base: physical address, a multiple of the page size
 * @size: length in bytes, a multiple of the page size
 * @nr_pages: the same in pages
 * @shared: all who open the node get the same memory, all of it
 * @res: claim on the range, busy and exclusive
 * @va: the module's own mapping of the range, Normal-NC
 * @region: what the dmem cgroup controller charges allocations to, or NULL
 * @misc: the node
 * @ref: held by whoever has a pointer to the pool: who made it, open files of its
 *	node, and @memory
 * @memory: held by whoever needs its range: who made it, buffers, and scrubbing that
 *	is queued. With the last one the range is no longer claimed, and @res, @va,
 *	@region, @used and @owned are gone.
 * @wait: woken when @changes changes
 * @scrub: scrubs a part of what is dirty, and queues itself again
 * @lock: protects all that follows. A fault takes it for reading around the
 *	insertion of entries, inside of mmap_lock (or the VMA's lock); nothing is
 *	allocated and no user memory accessed while it is held for writing.
 * @dead: the node has gone, nothing can be allocated or faulted in
 * @frozen: the system hibernates, nothing can be allocated
 * @used: bitmap of the pages that are not free: those of buffers, and those that are
 *	dirty, as they have not been scrubbed since they were a buffer's
 * @owned: bitmap of the pages of buffers
 * @dirty_pages: how many are in @used and not in @owned
 * @owned_pages: how many are in @owned
 * @first_dirty: no page before this one is dirty
 * @prepared: the pages from here on have never been handed out, and are dirty
 * @changes: counts whatever may let an allocation succeed, or fail
 * @buffers: all struct carveout_buffer of the pool
 * @nr_buffers: their number; those of a shared pool have the same pages
 * @high_water: the most pages that @owned_pages has ever been
 * @touched: of a shared pool, one of the buffers that are no longer there was touched
 */
struct carveout_pool {
	char name[CARVEOUT_NAME_LEN];
	char node_name[CARVEOUT_NAME_LEN + 16];
	char nodename[CARVEOUT_NAME_LEN + 32];
	phys_addr_t base;
	size_t size;
	unsigned long nr_pages;
	bool shared;
	struct resource *res;
	void *va;
	struct dmem_cgroup_region *region;
	struct miscdevice misc;
	struct kref ref;
	struct kref memory;
	wait_queue_head_t wait;
	struct work_struct scrub;
	struct rw_semaphore lock;
	bool dead;
	bool frozen;
	unsigned long *used;
	unsigned long *owned;
	unsigned long dirty_pages;
	unsigned long owned_pages;
	unsigned long first_dirty;
	unsigned long prepared;
	unsigned int changes;
	struct list_head buffers;
	unsigned int nr_buffers;
	unsigned long high_water;
	bool touched;
};

/*
 * By file, and none calls into one above it. Above them all is carveout_source.c,
 * which has the module's init.
 */

/* carveout_node.c */
int carveout_node_add(struct carveout_pool *pool, struct device *parent);
void carveout_node_remove(struct carveout_pool *pool);

/* carveout_buffer.c */
struct dma_buf *carveout_buffer_alloc(struct carveout_pool *pool, u64 len, int flags);
struct dma_buf *carveout_buffer_share(struct carveout_pool *pool, u64 len);
int carveout_buffer_check_vma(struct vm_area_struct *vma);
void carveout_buffer_revoke(struct carveout_pool *pool);

/* carveout_pool.c */
int carveout_pool_init(void);
void carveout_pool_exit(void);
struct carveout_pool *carveout_pool_new(const char *name, phys_addr_t base, u64 size,
					bool shared, char *why, size_t len);
struct carveout_pool *carveout_pool_get(struct carveout_pool *pool);
void carveout_pool_put(struct carveout_pool *pool);
void carveout_pool_give_up(struct carveout_pool *pool);
int carveout_pool_take(struct carveout_pool *pool, size_t size, phys_addr_t *base,
		       struct list_head *node);
void carveout_pool_give_back(struct carveout_pool *pool, phys_addr_t base, size_t size,
			     struct list_head *node, bool dirty);
int carveout_pool_freeze(struct carveout_pool *pool);
void carveout_pool_thaw(struct carveout_pool *pool, bool lost);

/* carveout_proof.c */
int carveout_prove(phys_addr_t base, size_t size, char *why, size_t len);
int carveout_try_proof(void);

#endif /* CARVEOUT_H */

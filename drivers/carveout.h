/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CARVEOUT_H
#define CARVEOUT_H

#include <linux/genalloc.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/rwsem.h>
#include <linux/types.h>

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
 * @res: claim on the range, busy and exclusive
 * @va: the module's own mapping of the range, Normal-NC
 * @gen: which pages are in use
 * @misc: the node
 * @ref: held by whoever made the pool, open files of its node, and buffers
 * @lock: protects all that follows. A fault takes it for reading around the
 *	insertion of an entry, inside of mmap_lock; nothing is allocated and no
 *	user memory accessed while it is held for writing.
 * @dead: the node has gone, nothing can be allocated or faulted in
 * @buffers: all struct carveout_buffer of the pool
 * @nr_buffers: their number
 * @used: bytes in use
 * @high_water: the most that @used has ever been
 */
struct carveout_pool {
	char name[CARVEOUT_NAME_LEN];
	char node_name[CARVEOUT_NAME_LEN + 16];
	char nodename[CARVEOUT_NAME_LEN + 32];
	phys_addr_t base;
	size_t size;
	struct resource *res;
	void *va;
	struct gen_pool *gen;
	struct miscdevice misc;
	struct kref ref;
	struct rw_semaphore lock;
	bool dead;
	struct list_head buffers;
	unsigned int nr_buffers;
	size_t used;
	size_t high_water;
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
int carveout_buffer_check_vma(struct vm_area_struct *vma);
void carveout_buffer_revoke(struct carveout_pool *pool);

/* carveout_pool.c */
struct carveout_pool *carveout_pool_new(const char *name, phys_addr_t base, u64 size,
					char *why, size_t len);
struct carveout_pool *carveout_pool_get(struct carveout_pool *pool);
void carveout_pool_put(struct carveout_pool *pool);
void carveout_scrub(struct carveout_pool *pool, phys_addr_t base, size_t size);

/* carveout_proof.c */
int carveout_prove(phys_addr_t base, size_t size, char *why, size_t len);
int carveout_try_proof(void);

#endif /* CARVEOUT_H */

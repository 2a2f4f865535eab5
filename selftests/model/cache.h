/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of a machine with a cache model share: the model's counters, memory
 * in its range mapped by this or that type, and cache maintenance.
 */
#ifndef SELFTEST_CACHE_H
#define SELFTEST_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/stringify.h>
#include <linux/types.h>

#include "memtype_test.h"

#define CACHE_LINE	64

/* The part of the range that is RAM, and by what tests get it; what one left is undone */
#define CACHE_RAM_BASE	0xBC000000
#define CACHE_RAM_LOAD	"rmmod reserved_ram 2>/dev/null; "			\
			"insmod /modules/reserved_ram.ko base="			\
			__stringify(CACHE_RAM_BASE) " size=0x4000000"
#define CACHE_RAM_UNLOAD "rmmod reserved_ram"
#define CACHE_RAM_NODE	"/dev/reserved_ram"

/* By the module cache_model, in the order of its registers */
struct cache_counters {
	__u64 hits;
	__u64 fills;
	__u64 evictions;
	__u64 write_backs;
	__u64 discards;
	__u64 passed_reads;
	__u64 passed_writes;
	__u64 stale_reads;
	__u64 lost_lines;
	__u64 evict;
};

/* False if there is no model */
bool cache_counters(struct cache_counters *c);
/* In a test of the harness, which fails without a model: what it has counted by now */
#define cache_count()							\
({									\
	struct cache_counters __counters;				\
									\
	ASSERT_TRUE(cache_counters(&__counters));			\
	__counters;							\
})
bool cache_reset(void);
/* One in n accesses costs the cache a line; 0: none does */
bool cache_evict(__u64 n);

/* Of the module memtype_test, MEMTYPE_TEST_*; NULL if it fails */
void *cache_map(__u32 type, __u64 offset, size_t size, int prot);

void cache_clean(const void *p, size_t size);
void cache_clean_inval(const void *p, size_t size);
/*
 * The same by a mapping that nobody has accessed yet: without an entry there is no
 * translation, and nothing is maintained
 */
void cache_clean_inval_new(const void *p, size_t size);

/*
 * A new buffer of the carve-out's pool vm0, or NULL; waits until so much has been
 * scrubbed. And what its owner finds there: words that are not zero at first, words that
 * are not its own when it has filled it, while half of the lines leave the cache a few
 * times, and lines that are lost.
 */
#define CACHE_CARVEOUT_NODE	"/dev/dma_heap/carveout-vm0"
void *cache_carveout(size_t size);

struct cache_found {
	size_t not_zero;
	size_t wrong;
	__u64 lost_lines;
};

struct cache_found cache_own(void *p, size_t size);
#define cache_expect_own(p, size)					\
({									\
	size_t __size = size;						\
	struct cache_found __found = cache_own(p, __size);		\
									\
	TH_LOG("%zu of %zu words not zero at first, %zu wrong later, %llu lines lost", \
	       __found.not_zero, __size / 8, __found.wrong, __found.lost_lines); \
	EXPECT_EQ(__found.not_zero, 0);					\
	EXPECT_EQ(__found.wrong, 0);					\
	EXPECT_EQ(__found.lost_lines, 0);				\
})

/* 64-bit words that follow from a seed, and how many are not what it says */
void cache_fill(void *p, size_t size, __u64 seed);
size_t cache_wrong(const void *p, size_t size, __u64 seed);
size_t cache_not_zero(const void *p, size_t size);

#endif /* SELFTEST_CACHE_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_large - A pool of 4 GiB, as one buffer
 *
 * Sizes and offsets that do not fit in 32 bits, all the way through.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "carveout.h"

#define STEP	CARVEOUT_PMD_SIZE

TEST(whole_pool)
{
	struct pool pool;
	int heap, buf;
	__u64 off, phys;
	size_t page;
	char *p, *q;

	if (!pool_find(&pool) || pool.total < 1ULL << 32)
		SKIP(return, "no pool of 4 GiB");
	page = sysconf(_SC_PAGESIZE);
	heap = pool_open(&pool);
	ASSERT_LE(0, heap);
	buf = heap_alloc(heap, pool.total);
	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), pool.total);
	EXPECT_EQ(pool_attr(&pool, "free_bytes"), 0);
	p = map_shared(buf, pool.total);
	ASSERT_NE(NULL, p);
	phys = 0;
	for (off = 0; off < pool.total; off += STEP) {
		ASSERT_EQ(READ_ONCE(*(__u64 *)(p + off + STEP - 8)), 0);
		WRITE_ONCE(*(__u64 *)(p + off + STEP - 8), off + 1);
		if (!off)
			phys = phys_of(p);
		ASSERT_EQ(phys_of(p + off), phys ? phys + off : 0);
	}
	for (off = 0; off < pool.total; off += STEP)
		ASSERT_EQ(READ_ONCE(*(__u64 *)(p + off + STEP - 8)), off + 1);

	/* The end by its offset; nothing beyond it */
	q = map_at(buf, page, PROT_READ, pool.total - page);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(READ_ONCE(*(__u64 *)(q + page - 8)), pool.total - STEP + 1);
	EXPECT_EQ(map_at(buf, page, PROT_READ, pool.total), NULL);
	EXPECT_EQ(map_at(buf, 2 * page, PROT_READ, pool.total - page), NULL);
	munmap(q, page);
	munmap(p, pool.total);
	close(buf);

	/* Scrubbed to the end */
	EXPECT_EQ(pool_attr(&pool, "buffers"), 0);
	EXPECT_EQ(pool_attr(&pool, "largest_free_bytes"), pool.total);
	p = map_shared(heap, pool.total);
	ASSERT_NE(NULL, p);
	for (off = 0; off < pool.total; off += STEP)
		ASSERT_EQ(READ_ONCE(*(__u64 *)(p + off + STEP - 8)), 0);
}

TEST_HARNESS_MAIN

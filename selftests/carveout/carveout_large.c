// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_large - A pool of 4 GiB, as one buffer
 *
 * Sizes and offsets that do not fit in 32 bits, all the way through.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "carveout.h"

#define STEP	(2UL << 20)
/* Scrubbing 4 GiB takes a while, on a machine that has other things to do */
#define SECONDS	180

FIXTURE(large) {
	struct pool pool;
};

FIXTURE_SETUP(large)
{
	if (!pool_find(&self->pool) || self->pool.total < 1ULL << 32)
		SKIP(return, "no pool of 4 GiB");
}

FIXTURE_TEARDOWN(large)
{
}

TEST_F_TIMEOUT(large, whole_pool, SECONDS)
{
	struct pool pool = self->pool;
	int heap, buf;
	__u64 off, phys;
	size_t page;
	char *p, *q;

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
	EXPECT_TRUE(pool_settle(&pool));
	EXPECT_EQ(pool_attr(&pool, "largest_free_bytes"), pool.total);
	p = map_shared(heap, pool.total);
	ASSERT_NE(NULL, p);
	for (off = 0; off < pool.total; off += STEP)
		ASSERT_EQ(READ_ONCE(*(__u64 *)(p + off + STEP - 8)), 0);
	munmap(p, pool.total);
	close(heap);
}

static void on_alarm(int sig)
{
}

/* Scrubbing takes seconds here: whoever waits for it can do something else */
TEST_F_TIMEOUT(large, interrupted_wait, SECONDS)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 50000 };
	struct pool pool = self->pool;
	int heap, buf;
	char *p;

	heap = pool_open(&pool);
	ASSERT_LE(0, heap);
	buf = heap_alloc(heap, pool.total);
	ASSERT_LE(0, buf);
	p = map_shared(buf, pool.total);
	ASSERT_NE(NULL, p);
	WRITE_ONCE(*(__u64 *)(p + pool.total - 8), 1);
	munmap(p, pool.total);
	close(buf);

	/* The end is scrubbed last */
	ASSERT_EQ(sigaction(SIGALRM, &act, NULL), 0);
	ASSERT_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
	EXPECT_EQ(heap_alloc(heap, pool.total), -EINTR);
	ASSERT_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
	EXPECT_EQ(map_shared(heap, pool.total), NULL);
	EXPECT_EQ(errno, EINTR);
	EXPECT_LT(0, pool_attr(&pool, "scrubbing_bytes"));

	/* What is scrubbed already can be had, the rest is waited for */
	buf = heap_alloc(heap, STEP);
	ASSERT_LE(0, buf);
	EXPECT_LT(0, pool_attr(&pool, "scrubbing_bytes"));
	close(buf);
	buf = heap_alloc(heap, pool.total);
	ASSERT_LE(0, buf);
	EXPECT_EQ(pool_attr(&pool, "scrubbing_bytes"), 0);
	p = map_shared(buf, pool.total);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(READ_ONCE(*(__u64 *)(p + pool.total - 8)), 0);
	munmap(p, pool.total);
	close(buf);
	close(heap);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_stress - Many threads allocate, map, touch and free
 *
 * Each thread writes a pattern of its own into every page of what it gets, having
 * seen that it was zero, and reads it back: two owners of one page, or one whose
 * page was not scrubbed, are noticed. Nothing is left at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "carveout.h"

#define THREADS		64
#define SECONDS		5

static struct pool pool;
static int heap;
static size_t page;
static bool stop;

struct worker {
	pthread_t thread;
	unsigned int id;
	unsigned long rounds;	/* with a buffer */
	unsigned long full;	/* without, because there was no room */
	const char *failed;
};

static const char *use(struct worker *w, void *p, size_t size, __u64 pattern)
{
	size_t off;

	for (off = 0; off < size; off += page) {
		if (READ_ONCE(*(__u64 *)(p + off)))
			return "a new buffer is not zero";
		WRITE_ONCE(*(__u64 *)(p + off), pattern + off);
	}
	if (w->rounds % 4 == 0)
		sched_yield();
	for (off = 0; off < size; off += page)
		if (READ_ONCE(*(__u64 *)(p + off)) != pattern + off)
			return "somebody else wrote into a buffer";
	return NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned int seed = w->id + 1;
	size_t size, len;
	bool node;
	int fd;
	void *p;

	while (!READ_ONCE(stop) && !w->failed) {
		/* From a page to 3 MiB, now and then much more */
		len = rand_r(&seed) % 32 ? rand_r(&seed) % (3 << 20) + 1 : pool.total / 2;
		size = (len + page - 1) / page * page;
		node = rand_r(&seed) % 4 == 0;
		fd = node ? pool_open(&pool) : heap_alloc(heap, len);
		if (fd == -ENOMEM) {
			w->full++;
			continue;
		}
		if (fd < 0) {
			w->failed = "no buffer, for another reason than that there is no room";
			break;
		}
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			if (!node || errno != ENOMEM)
				w->failed = "mmap";
			w->full++;
			close(fd);
			continue;
		}
		if (w->rounds & 1)
			close(fd);
		w->failed = use(w, p, size, (__u64)w->id << 48 | w->rounds << 32);
		munmap(p, size);
		if (!(w->rounds & 1))
			close(fd);
		w->rounds++;
	}
	return NULL;
}

TEST(threads)
{
	static struct worker workers[THREADS];
	unsigned long rounds = 0, full = 0;
	struct pool_counters c;
	time_t end;
	int i;

	if (!pool_find(&pool))
		SKIP(return, "no pool: is carveout_heap loaded?");
	page = sysconf(_SC_PAGESIZE);
	heap = pool_open(&pool);
	ASSERT_LE(0, heap);
	ASSERT_EQ(pool_attr(&pool, "buffers"), 0);
	for (i = 0; i < THREADS; i++) {
		workers[i].id = i;
		ASSERT_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	end = time(NULL) + SECONDS;
	while (time(NULL) < end) {
		c = pool_counters(&pool);
		EXPECT_EQ(c.total, pool.total);
		EXPECT_LE(c.free, c.total);
		EXPECT_LE(c.scrubbing, c.total);
		EXPECT_LE(c.largest, c.total);
		EXPECT_LE(c.high_water, c.total);
		usleep(100000);
	}
	WRITE_ONCE(stop, true);
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(workers[i].failed, NULL)
			TH_LOG("thread %d: %s", i, workers[i].failed);
		rounds += workers[i].rounds;
		full += workers[i].full;
	}
	TH_LOG("%lu buffers, %lu times no room", rounds, full);
	EXPECT_TRUE(pool_settle(&pool));
	EXPECT_LT(THREADS, rounds);
	c = pool_counters(&pool);
	EXPECT_EQ(c.buffers, 0);
	EXPECT_EQ(c.free, c.total);
	EXPECT_EQ(c.largest, c.total);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_show - A pool in use by a guest: what it looks like from all sides
 *
 * Prints; carveout_kvm is the test.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include <linux/sizes.h>

#include "kselftest.h"

#include "carveout.h"
#include "kvm_util.h"
#include "memslot_table.h"

#define SIZE	SZ_4M

static void show_pool(const struct pool *pool, const char *when)
{
	struct pool_counters c = pool_counters(pool);

	printf("%-21s %10llu %10llu %10llu %8llu %10llu\n", when, c.total >> 10, c.free >> 10,
	       c.largest >> 10, c.buffers, c.high_water >> 10);
}

int main(void)
{
	struct pool pool;
	int heap, buf;
	void *hva;

	setbuf(stdout, NULL);
	if (!pool_find(&pool))
		ksft_exit_skip("no pool: is carveout_heap loaded?\n");
	heap = pool_open(&pool);
	TEST_ASSERT(heap >= 0, "%s: %s", pool.path, strerror(errno));

	printf("%-21s %10s %10s %10s %8s %10s\n", pool.path + strlen("/dev/dma_heap/"),
	       "total KiB", "free", "largest", "buffers", "high water");
	show_pool(&pool, "before");
	buf = heap_alloc(heap, SIZE);
	TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
	hva = map_shared(buf, SIZE);
	TEST_ASSERT(hva, "mmap: %s", strerror(errno));
	WRITE_ONCE(*(u64 *)hva, 0);
	show_pool(&pool, "a buffer for a guest");
	printf("\nbuffer of %lu KiB at physical %#llx\n\n", (unsigned long)SIZE >> 10,
	       (unsigned long long)phys_of(hva));
	mt_show_header();
	mt_show_slot("a buffer of the pool", hva, SIZE);
	munmap(hva, SIZE);
	close(buf);
	printf("\n");
	show_pool(&pool, "after");
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * cache_firmware - What firmware has left in the cache does not reach the carve-out's user
 *
 * The boot loader has written to memory that the kernel is not given (selftests/rig/loader.S),
 * and its lines are dirty still: nobody has touched the range since. It comes before all
 * other tests of that machine.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#include "cache.h"

#define BASE		"0xC0000000"
#define SIZE		0x800000UL	/* as boot.sh tells the boot loader */

TEST(takeover)
{
	struct cache_counters c = cache_count();
	void *p;

	/* And a few that the kernel has read of what the device tree reserves */
	ASSERT_GE(c.fills, SIZE / CACHE_LINE);
	ASSERT_EQ(c.write_backs, 0);
	ASSERT_TRUE(cache_evict(16));
	ASSERT_EQ(system("insmod /modules/carveout_heap.ko pools=vm0:64M@" BASE), 0);
	p = cache_carveout(SIZE);
	ASSERT_NE(NULL, p);
	cache_expect_own(p, SIZE);
	munmap(p, SIZE);
	EXPECT_EQ(system("rmmod carveout_heap"), 0);
}

TEST_HARNESS_MAIN

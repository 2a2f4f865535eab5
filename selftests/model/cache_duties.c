// SPDX-License-Identifier: GPL-2.0
/*
 * cache_duties - What the carve-out module owes to the next owner of its memory
 *
 * An earlier owner, memtype_test, leaves lines of the range dirty in the cache. If the
 * module did not clean and invalidate them when it takes the range over, they would be
 * written back over what the module has zeroed and a user has written since. In a
 * machine with a cache model they are, sooner or later.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "cache.h"

#define BASE		"0xC0000000"
#define RANGE		"0x4000000"
#define SIZE		0x800000UL
#define WORDS		(SIZE / 8)
#define LINES		(SIZE / CACHE_LINE)

#define NODE		"/dev/dma_heap/carveout-vm0"

static int earlier_owner(void)
{
	return system("insmod /modules/memtype_test.ko base=" BASE " size=" RANGE);
}

FIXTURE(duties) {
};

FIXTURE_SETUP(duties)
{
	ASSERT_TRUE(cache_evict(0));
}

FIXTURE_TEARDOWN(duties)
{
	if (!access(NODE, F_OK))
		EXPECT_EQ(system("rmmod carveout_heap"), 0);
	EXPECT_EQ(earlier_owner(), 0);
}

TEST_F(duties, takeover)
{
	size_t not_zero, wrong = 0;
	unsigned long long lost;
	void *p;
	int fd;

	p = cache_map(MEMTYPE_TEST_WB, 0, SIZE, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, p);
	cache_clean_inval_new(p, SIZE);
	cache_reset();
	cache_fill(p, SIZE, 1);
	ASSERT_EQ(cache_count().fills, LINES);
	ASSERT_EQ(cache_count().write_backs, 0);
	munmap(p, SIZE);
	ASSERT_EQ(system("rmmod memtype_test"), 0);

	cache_evict(16);
	cache_reset();
	ASSERT_EQ(system("insmod /modules/carveout_heap.ko pools=vm0:64M@" BASE), 0);
	fd = open(NODE, O_RDWR);
	ASSERT_LE(0, fd);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	close(fd);

	not_zero = cache_not_zero(p, SIZE);
	cache_fill(p, SIZE, 2);
	/* Each round has enough accesses for half of the lines to leave */
	for (int i = 0; i < 4; i++)
		wrong += cache_wrong(p, SIZE, 2);
	lost = cache_count().lost_lines;
	TH_LOG("%zu of %lu words not zero at first, %zu wrong later, %llu lines lost",
	       not_zero, WORDS, wrong, lost);
	EXPECT_EQ(not_zero, 0);
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(lost, 0);
	munmap(p, SIZE);
}

TEST_HARNESS_MAIN

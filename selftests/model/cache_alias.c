// SPDX-License-Identifier: GPL-2.0
/*
 * cache_alias - Memory that is mapped Normal-NC, and that the kernel maps as well
 *
 * The kernel gets at a process's memory by its own, Write-Back mapping of the page:
 * ptrace(), /proc/pid/mem and direct I/O do. Where the memory is ordinary RAM, it
 * reads what was there before, and what it writes lands on the memory whenever the
 * lines leave the cache. Memory of a carve-out has no such mapping, and the kernel says
 * so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "cache.h"

#define SIZE	0x10000UL
#define WORDS	(SIZE / 8)
#define LINES	(SIZE / CACHE_LINE)

FIXTURE(alias) {
	void *nc;
	void *buf;
};

FIXTURE_VARIANT(alias) {
	const char *insmod;
	const char *rmmod;
	const char *node;
	bool mapped;		/* by the kernel, too */
};

FIXTURE_VARIANT_ADD(alias, ram) {
	.insmod = CACHE_RAM_LOAD,
	.rmmod = CACHE_RAM_UNLOAD,
	.node = CACHE_RAM_NODE,
	.mapped = true,
};

FIXTURE_VARIANT_ADD(alias, carveout) {
	.insmod = "rmmod memtype_test; "
		  "insmod /modules/carveout_heap.ko pools=vm0:32M@0xC0000000",
	.rmmod = "rmmod carveout_heap; "
		 "insmod /modules/memtype_test.ko base=0xC0000000 size=0x4000000",
	.node = "/dev/dma_heap/carveout-vm0",
};

FIXTURE_SETUP(alias)
{
	int fd;

	ASSERT_TRUE(cache_evict(0));
	ASSERT_EQ(system(variant->insmod), 0);
	fd = open(variant->node, O_RDWR | O_SYNC);
	ASSERT_LE(0, fd);
	self->nc = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, self->nc);
	close(fd);
	self->buf = malloc(SIZE);
	ASSERT_NE(NULL, self->buf);
	cache_clean_inval_new(self->nc, SIZE);
	cache_fill(self->nc, SIZE, 1);
	cache_reset();
}

FIXTURE_TEARDOWN(alias)
{
	cache_clean_inval(self->nc, SIZE);
	munmap(self->nc, SIZE);
	free(self->buf);
	EXPECT_EQ(system(variant->rmmod), 0);
}

/* Bytes, or a negative errno */
static ssize_t by_the_kernel(void *buf, void *nc, bool write)
{
	int fd = open("/proc/self/mem", O_RDWR);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write ? pwrite(fd, buf, SIZE, (off_t)nc) : pread(fd, buf, SIZE, (off_t)nc);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

TEST_F(alias, kernel_reads)
{
	ssize_t n = by_the_kernel(self->buf, self->nc, false);

	if (!variant->mapped) {
		EXPECT_EQ(n, -EIO);
		EXPECT_EQ(cache_count().fills, 0);
		return;
	}
	/* Into the cache, and right; and the next time what it was */
	EXPECT_EQ(n, SIZE);
	EXPECT_EQ(cache_wrong(self->buf, SIZE, 1), 0);
	cache_fill(self->nc, SIZE, 2);
	EXPECT_EQ(by_the_kernel(self->buf, self->nc, false), SIZE);
	EXPECT_EQ(cache_wrong(self->buf, SIZE, 2), WORDS);
	EXPECT_EQ(cache_count().lost_lines, LINES);
}

TEST_F(alias, kernel_writes)
{
	ssize_t n;

	cache_fill(self->buf, SIZE, 2);
	n = by_the_kernel(self->buf, self->nc, true);
	if (!variant->mapped) {
		EXPECT_EQ(n, -EIO);
		EXPECT_EQ(cache_wrong(self->nc, SIZE, 1), 0);
		EXPECT_EQ(cache_count().fills, 0);
		return;
	}
	EXPECT_EQ(n, SIZE);
	/* Not seen, and then on top of what was written later */
	EXPECT_EQ(cache_wrong(self->nc, SIZE, 1), 0);
	cache_fill(self->nc, SIZE, 3);
	EXPECT_EQ(cache_wrong(self->nc, SIZE, 3), 0);
	cache_clean_inval(self->nc, SIZE);
	EXPECT_EQ(cache_wrong(self->nc, SIZE, 3), WORDS);
	EXPECT_EQ(cache_wrong(self->nc, SIZE, 2), 0);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_enomem - Each allocation of the carve-out module fails once
 *
 * Nothing of the pool is lost by it, and the same call works right afterwards. Loading is
 * not tried: the kernel's own part of it warns of allocations that fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "carveout.h"
#include "fail_nth.h"
#include "harness.h"

#define SIZE	SZ_2M

static struct {
	struct pool pool;
	u64 free;
	int node;
	int fd;		/* of a buffer */
	void *hva;
	struct binding binding;
} t;

FIXTURE(enomem) {
};

FIXTURE_SETUP(enomem)
{
	MT_SKIP_TO_HARNESS();
}

FIXTURE_TEARDOWN(enomem)
{
}

/* Nobody else has anything of it */
static void find_pool(void)
{
	if (!pool_find(&t.pool))
		mt_skip("no pool");
	TEST_ASSERT(pool_settle(&t.pool), "It is scrubbed all the time");
	t.free = pool_attr(&t.pool, "free_bytes");
}

/* All of it is free again */
static void expect_free(void)
{
	TEST_ASSERT(pool_settle(&t.pool), "It is scrubbed all the time");
	TEST_ASSERT_EQ(pool_attr(&t.pool, "buffers"), 0);
	TEST_ASSERT_EQ(pool_attr(&t.pool, "free_bytes"), t.free);
}

static int open_node(void)
{
	t.node = pool_open(&t.pool);
	return t.node < 0 ? errno : 0;
}

static void close_node(void)
{
	close(t.node);
	expect_free();
}

TEST_F(enomem, open)
{
	find_pool();
	fail_each(&(struct failing) {
		.name = "open() of the node", .call = open_node, .after = close_node,
	});
}

static void before_alloc(void)
{
	MT_EXPECT_ERRNO(open_node(), 0);
}

static int alloc_buffer(void)
{
	t.fd = heap_alloc(t.node, SIZE);
	return t.fd < 0 ? -t.fd : 0;
}

static void use_buffer(void)
{
	u64 *p = map_shared(t.fd, SIZE);

	TEST_ASSERT(p, "mmap: %s", strerror(errno));
	TEST_ASSERT(check(p, SIZE, 0) < 0, "It is not zero");
	fill(p, SIZE, 0x5a5a);
	munmap(p, SIZE);
	close(t.fd);
	close_node();
}

TEST_F(enomem, alloc)
{
	find_pool();
	fail_each(&(struct failing) {
		.name = "DMA_HEAP_IOCTL_ALLOC", .before = before_alloc, .call = alloc_buffer,
		.after = use_buffer,
	});
}

/* The first mapping of the node makes the buffer */
static int map_node(void)
{
	t.hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, t.node, 0);
	return t.hva == MAP_FAILED ? errno : 0;
}

static void unmap_node(void)
{
	TEST_ASSERT_EQ(pool_attr(&t.pool, "buffers"), 1);
	TEST_ASSERT(check(t.hva, SIZE, 0) < 0, "It is not zero");
	fill(t.hva, SIZE, 0x5a5a);
	munmap(t.hva, SIZE);
	close_node();
}

TEST_F(enomem, map)
{
	find_pool();
	fail_each(&(struct failing) {
		.name = "mmap() of the node", .before = before_alloc, .call = map_node,
		.after = unmap_node,
	});
}

/* ---- the pool itself ---- */

/* From there to a node: the claim, the proof, the module's mapping, bitmaps, sysfs */
static int bind(void)
{
	return binding_write(&t.binding, "bind") ? 0 : errno;
}

/* Asked by sysfs: devtmpfs tells nobody that it cannot make a node */
static void unbind(void)
{
	TEST_ASSERT(pool_settle(&t.pool), "It is scrubbed all the time");
	TEST_ASSERT_EQ(pool_attr(&t.pool, "total_bytes"), t.pool.total);
	TEST_ASSERT_EQ(pool_attr(&t.pool, "free_bytes"), t.pool.total);
	TEST_ASSERT(binding_write(&t.binding, "unbind"), "unbind: %s", strerror(errno));
}

TEST_F(enomem, bind)
{
	find_pool();
	if (!binding_find(&t.pool, &t.binding))
		SKIP(return, "the pool is none of a device's");
	TEST_ASSERT(binding_write(&t.binding, "unbind"), "unbind: %s", strerror(errno));
	fail_each(&(struct failing) {
		.name = "bind", .call = bind, .after = unbind,
		/* The driver says why, and nothing else than that to the core */
		.other = ENODEV,
	});
	TEST_ASSERT(binding_write(&t.binding, "bind"), "bind: %s", strerror(errno));
}

TEST_HARNESS_MAIN

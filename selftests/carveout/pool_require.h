/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests that are linked with lib/, which those of the node alone are not: a pool,
 * open, that nobody else uses, or the test is skipped.
 */
#ifndef SELFTEST_POOL_REQUIRE_H
#define SELFTEST_POOL_REQUIRE_H

#include "carveout.h"
#include "harness.h"

static inline void pool_require(struct pool *pool, int *heap)
{
	if (!pool_find(pool))
		mt_skip("no pool: is carveout_heap loaded?");
	*heap = pool_open(pool);
	TEST_ASSERT(*heap >= 0, "%s: %s", pool->path, strerror(errno));
	TEST_ASSERT(!pool_attr(pool, "buffers"), "Somebody else uses %s", pool->path);
}

#endif /* SELFTEST_POOL_REQUIRE_H */

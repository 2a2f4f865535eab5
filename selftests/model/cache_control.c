// SPDX-License-Identifier: GPL-2.0
/*
 * cache_control - What goes wrong in the modelled cache, and what does not
 *
 * The same memory mapped Write-Back and Normal-NC: each misses what was written by the
 * other, all of it, until the lines are cleaned and invalidated. Mapped twice by one
 * type, nothing is ever missed. No test that finds memory right in this machine means
 * anything without this one. Lines leave the cache only where a test lets them.
 *
 * And every kind of access works in the model's range.
 */
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/hwcap.h>
#include <linux/compiler.h>

#include "kselftest_harness.h"

#include "cache.h"

#define SIZE	0x100000UL
#define WORDS	(SIZE / 8)
#define LINES	(SIZE / CACHE_LINE)

FIXTURE(control) {
	void *wb[2];
	void *nc[2];
};

FIXTURE_SETUP(control)
{
	ASSERT_TRUE(cache_evict(0));
	for (int i = 0; i < 2; i++) {
		self->wb[i] = cache_map(MEMTYPE_TEST_WB, 0, SIZE, PROT_READ | PROT_WRITE);
		self->nc[i] = cache_map(MEMTYPE_TEST_NC, 0, SIZE, PROT_READ | PROT_WRITE);
		ASSERT_NE(NULL, self->wb[i]);
		ASSERT_NE(NULL, self->nc[i]);
	}
	cache_clean_inval_new(self->wb[0], SIZE);
	memset(self->nc[0], 0, SIZE);
	cache_reset();
}

FIXTURE_TEARDOWN(control)
{
	cache_clean_inval(self->wb[0], SIZE);
}

/* Counters of a machine without a model would be nothing but ones, or a fault */
TEST_F(control, counters)
{
	EXPECT_EQ(cache_count().hits, 0);
	EXPECT_EQ(cache_count().evict, 0);
	EXPECT_EQ(cache_not_zero(self->wb[0], SIZE), 0);
	EXPECT_EQ(cache_count().fills, LINES);
	EXPECT_EQ(cache_count().hits, WORDS - LINES);
	cache_evict(16);
	EXPECT_EQ(cache_count().evict, 16);
	cache_reset();
	EXPECT_EQ(cache_count().fills, 0);
}

TEST_F(control, wb_and_wb)
{
	for (int i = 1; i <= 4; i++) {
		cache_fill(self->wb[i % 2], SIZE, i);
		EXPECT_EQ(cache_wrong(self->wb[1 - i % 2], SIZE, i), 0);
	}
	EXPECT_EQ(cache_count().lost_lines, 0);
}

TEST_F(control, nc_and_nc)
{
	for (int i = 1; i <= 4; i++) {
		cache_fill(self->nc[i % 2], SIZE, i);
		EXPECT_EQ(cache_wrong(self->nc[1 - i % 2], SIZE, i), 0);
	}
	EXPECT_EQ(cache_count().lost_lines, 0);
	EXPECT_EQ(cache_count().hits + cache_count().fills, 0);
}

TEST_F(control, nc_reads_what_wb_wrote)
{
	cache_fill(self->wb[0], SIZE, 1);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), WORDS);
	EXPECT_EQ(cache_count().passed_reads, WORDS);
	EXPECT_EQ(cache_count().lost_lines, LINES);

	cache_reset();
	cache_clean_inval(self->wb[0], SIZE);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);
	EXPECT_EQ(cache_count().write_backs, LINES);
	EXPECT_EQ(cache_count().lost_lines, 0);
}

TEST_F(control, wb_reads_what_nc_wrote)
{
	cache_fill(self->nc[0], SIZE, 1);
	/* Nothing was in the cache */
	EXPECT_EQ(cache_wrong(self->wb[0], SIZE, 1), 0);
	EXPECT_EQ(cache_count().lost_lines, 0);

	cache_fill(self->nc[0], SIZE, 2);
	EXPECT_EQ(cache_wrong(self->wb[0], SIZE, 2), WORDS);
	EXPECT_EQ(cache_count().stale_reads, WORDS);
	EXPECT_EQ(cache_count().lost_lines, LINES);

	/* By the other mapping: it is the address in memory that counts */
	cache_clean_inval(self->nc[0], SIZE);
	EXPECT_EQ(cache_wrong(self->wb[0], SIZE, 2), 0);
}

TEST_F(control, wb_writes_over_what_nc_wrote)
{
	cache_fill(self->wb[0], SIZE, 1);
	cache_fill(self->nc[0], SIZE, 2);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 2), 0);
	EXPECT_EQ(cache_count().passed_writes, WORDS);

	cache_clean_inval(self->wb[0], SIZE);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 2), WORDS);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);
	EXPECT_EQ(cache_count().lost_lines, LINES);
}

/* The same without an instruction that says so: lines leave by themselves */
TEST_F(control, eviction)
{
	cache_fill(self->wb[0], SIZE, 1);
	cache_evict(1);
	/* One line for each of these accesses, of which there are more than lines */
	cache_not_zero(self->nc[0] + SIZE - 4096, 4096);
	EXPECT_EQ(cache_count().evictions, 4096 / 8);
	while (cache_count().evictions < LINES)
		cache_not_zero(self->nc[0] + SIZE - 4096, 4096);
	cache_evict(0);

	EXPECT_EQ(cache_count().write_backs, LINES);
	cache_reset();
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);
	EXPECT_EQ(cache_count().lost_lines, 0);
}

TEST_F(control, clean_keeps_lines)
{
	cache_fill(self->wb[0], SIZE, 1);
	cache_clean(self->wb[0], SIZE);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);

	cache_fill(self->nc[0], SIZE, 2);
	EXPECT_EQ(cache_wrong(self->wb[0], SIZE, 2), WORDS);
	/* Clean: they are not written again */
	cache_clean_inval(self->wb[0], SIZE);
	EXPECT_EQ(cache_wrong(self->wb[0], SIZE, 2), 0);
	EXPECT_EQ(cache_count().write_backs, LINES);
}

/* What is to persist is in memory as well */
TEST_F(control, clean_to_persistence)
{
	if (!(getauxval(AT_HWCAP) & HWCAP_DCPOP))
		SKIP(return, "no DC CVAP");
	cache_fill(self->wb[0], SIZE, 1);
	for (size_t i = 0; i < SIZE; i += CACHE_LINE)
		asm volatile(".arch armv8.2-a\n"
			     "dc	cvap, %0" : : "r" (self->wb[0] + i) : "memory");
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);
}

TEST_F(control, zero_a_block)
{
	unsigned long dczid, block;

	asm volatile("mrs %0, dczid_el0" : "=r" (dczid));
	ASSERT_EQ(dczid & 0x10, 0);
	block = 4UL << (dczid & 0xf);

	cache_fill(self->nc[0], SIZE, 1);
	for (size_t i = 0; i < SIZE; i += block)
		asm volatile("dc zva, %0" : : "r" (self->wb[0] + i) : "memory");
	EXPECT_EQ(cache_not_zero(self->wb[0], SIZE), 0);
	EXPECT_EQ(cache_wrong(self->nc[0], SIZE, 1), 0);
	cache_clean_inval(self->wb[0], SIZE);
	EXPECT_EQ(cache_not_zero(self->nc[0], SIZE), 0);

	cache_fill(self->nc[0], SIZE, 1);
	for (size_t i = 0; i < SIZE; i += block)
		asm volatile("dc zva, %0" : : "r" (self->nc[0] + i) : "memory");
	EXPECT_EQ(cache_not_zero(self->nc[0], SIZE), 0);
}

/* From memory to memory by one load and one store of a kind */
#define COPY(name, load, store)							\
static void name(void *to, const void *from)					\
{										\
	asm volatile(load ", [%0]\n" store ", [%1]"				\
		     : : "r" (from), "r" (to) : "memory", "x8", "x9", "v0");	\
}

COPY(copy_1, "ldrb w8", "strb w8")
COPY(copy_2, "ldrh w8", "strh w8")
COPY(copy_4, "ldr w8", "str w8")
COPY(copy_8, "ldr x8", "str x8")
COPY(copy_pair, "ldp x8, x9", "stp x8, x9")
COPY(copy_vector, "ldr q0", "str q0")

static const struct {
	void (*copy)(void *to, const void *from);
	size_t size;
} copies[] = {
	{ copy_1, 1 }, { copy_2, 2 }, { copy_4, 4 }, { copy_8, 8 },
	{ copy_pair, 16 }, { copy_vector, 16 },
};

/* Within a line, across two, across two pages */
static const size_t places[] = { 0, CACHE_LINE - 16, 4096 - 16 };

/* At every alignment, against an array of bytes in other memory */
static void all_accesses(struct __test_metadata *_metadata, __u8 *p)
{
	__u8 want[8192], x[16], got[16], n = 0;

	memset(want, 0, sizeof(want));
	for (size_t at = 0; at < sizeof(want); at++)
		WRITE_ONCE(p[at], 0);

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		for (size_t at = places[i]; at < places[i] + 32; at++) {
			for (size_t j = 0; j < ARRAY_SIZE(copies); j++) {
				for (size_t k = 0; k < copies[j].size; k++)
					x[k] = ++n;
				copies[j].copy(p + at, x);
				memcpy(want + at, x, copies[j].size);
				copies[j].copy(got, p + at);
				ASSERT_EQ(memcmp(got, x, copies[j].size), 0);
			}
			for (size_t j = places[i]; j < places[i] + 64; j++)
				ASSERT_EQ(READ_ONCE(p[j]), want[j]);
		}
	}
	for (size_t at = 0; at < sizeof(want); at++)
		ASSERT_EQ(READ_ONCE(p[at]), want[at]);
}

TEST_F(control, accesses_wb)
{
	cache_evict(1);
	all_accesses(_metadata, self->wb[0]);
	EXPECT_EQ(cache_count().lost_lines, 0);
	EXPECT_GT(cache_count().evictions, 0);
}

TEST_F(control, accesses_nc)
{
	all_accesses(_metadata, self->nc[0]);
	EXPECT_EQ(cache_count().lost_lines, 0);
	EXPECT_EQ(cache_count().fills, 0);
}

/* On two CPUs at once: the exclusives, and the atomics of FEAT_LSE, 16 bytes too */
#define ROUNDS	2000

struct shared {
	__u64 exclusive;
	__u64 atomic;
	__u64 pair[2] __aligned(16);
};

static void *count_up(void *arg)
{
	struct shared *s = arg;
	__u64 old;
	__u32 failed;

	for (int i = 0; i < ROUNDS; i++) {
		do {
			asm volatile("ldxr	%0, [%2]\n"
				     "add	%0, %0, #1\n"
				     "stxr	%w1, %0, [%2]"
				     : "=&r" (old), "=&r" (failed)
				     : "r" (&s->exclusive) : "memory");
		} while (failed);
		asm volatile(".arch armv8.1-a\n"
			     "ldadd	%1, %0, [%2]"
			     : "=&r" (old) : "r" (1UL), "r" (&s->atomic) : "memory");
		do {
			asm volatile("ldaxp	x8, x9, [%1]\n"
				     "add	x8, x8, #1\n"
				     "sub	x9, x9, #1\n"
				     "stlxp	%w0, x8, x9, [%1]"
				     : "=&r" (failed) : "r" (s->pair) : "memory", "x8", "x9");
		} while (failed);
	}
	return NULL;
}

static void atomics(struct __test_metadata *_metadata, struct shared *s)
{
	pthread_t other;

	memset(s, 0, sizeof(*s));
	ASSERT_EQ(pthread_create(&other, NULL, count_up, s), 0);
	count_up(s);
	ASSERT_EQ(pthread_join(other, NULL), 0);
	EXPECT_EQ(READ_ONCE(s->exclusive), 2 * ROUNDS);
	EXPECT_EQ(READ_ONCE(s->atomic), 2 * ROUNDS);
	EXPECT_EQ(READ_ONCE(s->pair[0]), 2 * ROUNDS);
	EXPECT_EQ(READ_ONCE(s->pair[1]), -2UL * ROUNDS);
}

TEST_F(control, atomics_wb)
{
	cache_evict(1);
	atomics(_metadata, self->wb[0]);
	EXPECT_EQ(cache_count().lost_lines, 0);
	EXPECT_GT(cache_count().evictions, 0);
}

TEST_F(control, atomics_nc)
{
	atomics(_metadata, self->nc[0]);
	EXPECT_EQ(cache_count().lost_lines, 0);
}

/* Code that is in a dirty line, and then in no line at all */
TEST_F(control, instructions)
{
	__u32 *code = cache_map(MEMTYPE_TEST_WB, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);

	ASSERT_NE(NULL, code);
	WRITE_ONCE(code[0], 0x52800540);	/* mov w0, #42 */
	WRITE_ONCE(code[1], 0xd65f03c0);	/* ret */
	EXPECT_EQ(((int (*)(void))code)(), 42);
	EXPECT_EQ(cache_count().write_backs, 0);
	cache_clean_inval(code, 4096);
	EXPECT_EQ(((int (*)(void))code)(), 42);
	munmap(code, 4096);
}

TEST_HARNESS_MAIN

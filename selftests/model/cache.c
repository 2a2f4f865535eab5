// SPDX-License-Identifier: GPL-2.0
/* Shared parts of the tests with a cache model; see cache.h */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/compiler.h>

#include "cache.h"

static const char * const names[] = {
	"hits", "fills", "evictions", "write_backs", "discards", "passed_reads",
	"passed_writes", "stale_reads", "lost_lines", "evict",
};

static FILE *open_counter(const char *name, const char *mode)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/kernel/debug/cache_model/%s", name);
	return fopen(path, mode);
}

bool cache_counters(struct cache_counters *c)
{
	bool ok = true;

	for (size_t i = 0; i < sizeof(*c) / 8; i++) {
		FILE *f = open_counter(names[i], "r");

		ok = f && fscanf(f, "%llu", &((__u64 *)c)[i]) == 1 && ok;
		if (f)
			fclose(f);
	}
	return ok;
}

static bool set_counter(const char *name, __u64 val)
{
	FILE *f = open_counter(name, "w");

	if (!f)
		return false;
	fprintf(f, "%llu", val);
	return !fclose(f);
}

bool cache_reset(void)
{
	return set_counter("hits", 0);
}

bool cache_evict(__u64 n)
{
	return set_counter("evict", n);
}

void *cache_map(__u32 type, __u64 offset, size_t size, int prot)
{
	struct memtype_test_config config = {
		.offset = offset, .vma_type = type, .pte_type = type,
	};
	int fd = open("/dev/memtype_test", O_RDWR);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!ioctl(fd, MEMTYPE_TEST_CONFIG, &config))
		p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

void cache_clean(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i += CACHE_LINE)
		asm volatile("dc cvac, %0" : : "r" (p + i) : "memory");
	asm volatile("dsb sy" : : : "memory");
}

void cache_clean_inval(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i += CACHE_LINE)
		asm volatile("dc civac, %0" : : "r" (p + i) : "memory");
	asm volatile("dsb sy" : : : "memory");
}

void cache_clean_inval_new(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i += sysconf(_SC_PAGESIZE))
		READ_ONCE(*(const __u64 *)(p + i));
	cache_clean_inval(p, size);
}

/* Never zero, and no two words of a few million the same */
static __u64 word(__u64 seed, size_t i)
{
	return (seed << 32) + i + 1;
}

void cache_fill(void *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++)
		WRITE_ONCE(((__u64 *)p)[i], word(seed, i));
	asm volatile("dsb sy" : : : "memory");
}

size_t cache_wrong(const void *p, size_t size, __u64 seed)
{
	size_t n = 0;

	for (size_t i = 0; i < size / 8; i++)
		n += READ_ONCE(((const __u64 *)p)[i]) != word(seed, i);
	return n;
}

size_t cache_not_zero(const void *p, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size / 8; i++)
		n += READ_ONCE(((const __u64 *)p)[i]) != 0;
	return n;
}

void *cache_carveout(size_t size)
{
	int fd = open(CACHE_CARVEOUT_NODE, O_RDWR);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

#define OWN	0x6f776e

struct cache_found cache_own(void *p, size_t size)
{
	struct cache_found found = { .not_zero = cache_not_zero(p, size) };
	struct cache_counters c = {};

	cache_fill(p, size, OWN);
	/* Each round has enough accesses for half of the lines to leave */
	for (int i = 0; i < 4; i++)
		found.wrong += cache_wrong(p, size, OWN);
	cache_counters(&c);
	found.lost_lines = c.lost_lines;
	return found;
}

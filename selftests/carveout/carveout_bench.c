// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_bench - What a buffer costs, beside one of the system heap
 *
 * Prints lines of "<name> <number>". Under QEMU's -icount CNTVCT_EL0 advances by one for
 * each instruction, and the numbers are exact: of a buffer, those from its allocation
 * to its end with a mapping of which each page is written to once, as its user sees it,
 * the median of a few. Zeroing is not in them. The system heap's is clear_page(), which
 * is counted by itself and taken away; that of a pool is a worker's, which does not get
 * the one CPU from a real-time task.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "carveout.h"
#include "dmabuf_importer.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define NR		5
/* Nothing else is there */
#define ADDR		0x7e00000000UL

static void die(const char *what)
{
	printf("# %s: %s\n", what, strerror(errno));
	exit(1);
}

static __u64 now(void)
{
	__u64 t;

	asm volatile("isb\n"
		     "mrs %0, cntvct_el0" : "=r" (t) :: "memory");
	return t;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

static __u64 use(int heap, size_t size, char *addr)
{
	size_t off, page = MT_PAGE;
	__u64 start = now();
	int buf;
	char *p;

	buf = heap_alloc(heap, size);
	if (buf < 0)
		die("no buffer");
	p = mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, buf, 0);
	if (p == MAP_FAILED)
		die("no mapping");
	for (off = 0; off < size; off += page)
		WRITE_ONCE(p[off], 1);
	munmap(p, size);
	close(buf);
	return now() - start;
}

static __u64 cost(int heap, const struct pool *pool, size_t size, char *addr)
{
	__u64 costs[NR];
	int i;

	/* Page tables above, slabs: what is made once */
	use(heap, size, addr);
	for (i = 0; i < NR; i++) {
		if (pool && !pool_settle(pool))
			die("scrubbing does not end");
		costs[i] = use(heap, size, addr);
	}
	qsort(costs, NR, sizeof(costs[0]), compare);
	return costs[NR / 2];
}

/* From the end of a buffer until all of it can be had again; the second buffer is none */
static __u64 scrub(int heap, const struct pool *pool)
{
	size_t size = pool->total;
	int buf = heap_alloc(heap, size);
	__u64 start;
	char *p;

	if (buf < 0)
		die("the whole pool");
	p = mmap((void *)ADDR, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, buf, 0);
	if (p == MAP_FAILED)
		die("no mapping");
	WRITE_ONCE(*p, 1);
	munmap(p, size);
	start = now();
	close(buf);
	buf = heap_alloc(heap, size);
	if (buf < 0)
		die("the whole pool, again");
	start = now() - start;
	close(buf);
	return start;
}

int main(void)
{
	static const struct {
		const char *name;
		size_t size;
	} sizes[] = {
		{ "4K", 4UL << 10 }, { "8K", 8UL << 10 }, { "16K", 16UL << 10 },
		{ "32K", 32UL << 10 }, { "64K", 64UL << 10 }, { "128K", 128UL << 10 },
		{ "256K", 256UL << 10 }, { "512K", 512UL << 10 }, { "1M", 1UL << 20 },
		{ "2M", 2UL << 20 }, { "4M", 4UL << 20 }, { "16M", 16UL << 20 },
		{ "64M", 64UL << 20 }, { "256M", 256UL << 20 }, { "1G", 1UL << 30 },
	};
	struct sched_param param = { .sched_priority = 1 };
	long long page_zeroing, piece_zeroing;
	int heap, system, importer;
	struct pool pool;
	unsigned int i;

	setbuf(stdout, NULL);
	if (!pool_find(&pool))
		die("no pool");
	heap = pool_open(&pool);
	system = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);
	importer = open("/dev/dmabuf_importer", O_RDWR | O_CLOEXEC);
	if (heap < 0 || system < 0 || importer < 0)
		die("a device is missing");
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		die("no real-time task");

	/* The time of one, of the many that there are in all */
	page_zeroing = ioctl(importer, DMABUF_IMPORTER_CLEAR_PAGE, 0);
	piece_zeroing = ioctl(importer, DMABUF_IMPORTER_ZERO_2M, 0);
	if (page_zeroing <= 0 || piece_zeroing <= 0)
		die("zeroing");
	printf("clear_2m %lld\n", (2LL << 20) / (long long)MT_PAGE * page_zeroing);
	printf("zero_2m %lld\n", piece_zeroing);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i].size;

		if (size < MT_PAGE)
			continue;
		if (size > pool.total)
			break;
		printf("system_%s %lld\n", sizes[i].name,
		       (long long)cost(system, NULL, size, (void *)ADDR) -
		       (long long)(size / MT_PAGE) * page_zeroing);
		printf("carveout_%s %llu\n", sizes[i].name,
		       (unsigned long long)cost(heap, &pool, size, (void *)ADDR));
		/* As mmap() places it that is not told where: no huge entry fits */
		printf("carveout_any_%s %llu\n", sizes[i].name,
		       (unsigned long long)cost(heap, &pool, size,
						(void *)(ADDR + 0x11 * MT_PAGE)));
	}

	/* The worker gets its turn when this waits for it */
	if (!pool_settle(&pool))
		die("scrubbing does not end");
	printf("scrub_bytes %llu\n", (unsigned long long)pool.total);
	printf("scrub_all %llu\n", (unsigned long long)scrub(heap, &pool));
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_heap - The node under /dev/dma_heap, its buffers and their mappings
 *
 * What DMA_HEAP_IOCTL_ALLOC and mmap() of the node give and refuse, what may be
 * done to a mapping, how long a buffer lives, and what the pool's counters say.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>

#include "kselftest_harness.h"

#include "carveout.h"
#include "dmabuf_importer.h"
#include "memtype_test.h"

#define PATTERN		0x5ca1ab1edeadbea7ULL
#define MAX_BUFFERS	600

/* Counters as they must be; the high-water mark is compared where it matters */
#define EXPECT_COUNTERS(_free, _largest, _buffers)			\
do {									\
	struct pool_counters _c = pool_counters(&self->pool);		\
									\
	EXPECT_EQ(_c.total, self->pool.total);				\
	EXPECT_EQ(_c.free, (_free));					\
	EXPECT_EQ(_c.largest, (_largest));				\
	EXPECT_EQ(_c.buffers, (_buffers));				\
} while (0)

/* No buffer, and nothing left to scrub */
#define EXPECT_UNUSED()							\
do {									\
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 0);		\
	EXPECT_TRUE(pool_settle(&self->pool));				\
	EXPECT_COUNTERS(self->pool.total, self->pool.total, 0);		\
} while (0)

FIXTURE(heap) {
	struct pool pool;
	int heap;
	size_t page;
	size_t unit;		/* pool_unit() */
};

FIXTURE_SETUP(heap)
{
	if (!pool_find(&self->pool))
		SKIP(return, "no pool: is carveout_heap loaded?");
	self->heap = pool_open(&self->pool);
	ASSERT_LE(0, self->heap);
	self->page = MT_PAGE;
	self->unit = pool_unit(&self->pool);
	/* Nobody else's, and nothing left by the test before */
	EXPECT_UNUSED();
}

FIXTURE_TEARDOWN(heap)
{
	close(self->heap);
}

TEST_F(heap, size_zero)
{
	EXPECT_EQ(heap_alloc(self->heap, 0), -EINVAL);
	EXPECT_UNUSED();
}

TEST_F(heap, size_one)
{
	int buf = heap_alloc(self->heap, 1);

	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), self->page);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->pool.total - self->page);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	close(buf);
	EXPECT_UNUSED();
}

TEST_F(heap, size_rounded_up)
{
	int buf = heap_alloc(self->heap, self->page + 1);

	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), 2 * self->page);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->pool.total - 2 * self->page);
	close(buf);
}

TEST_F(heap, size_pool)
{
	int buf = heap_alloc(self->heap, self->pool.total);

	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), self->pool.total);
	EXPECT_COUNTERS(0, 0, 1);
	EXPECT_EQ(pool_attr(&self->pool, "high_water_bytes"), self->pool.total);
	EXPECT_EQ(heap_alloc(self->heap, 1), -ENOMEM);
	close(buf);
	EXPECT_UNUSED();
}

TEST_F(heap, size_pool_plus_one)
{
	EXPECT_EQ(heap_alloc(self->heap, self->pool.total + 1), -ENOMEM);
	EXPECT_UNUSED();
}

/* Rounding up must not make a huge size a small one */
TEST_F(heap, size_overflow)
{
	const __u64 sizes[] = {
		~0ULL, -MT_PAGE, 1ULL << 63, 1ULL << 52, 1ULL << 32,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (sizes[i] <= self->pool.total)
			continue;
		ret = heap_alloc(self->heap, sizes[i]);
		EXPECT_TRUE(ret == -ENOMEM || ret == -EINVAL)
			TH_LOG("size %#llx: %d", sizes[i], ret);
	}
	EXPECT_UNUSED();
}

TEST_F(heap, flags)
{
	struct dma_heap_allocation_data data = {
		.len = self->page, .fd_flags = O_RDWR, .fd = 1,
	};
	int buf;

	EXPECT_EQ(heap_alloc_flags(self->heap, self->page, O_RDWR, 1), -EINVAL);
	EXPECT_EQ(heap_alloc_flags(self->heap, self->page, O_RDWR, 1ULL << 63), -EINVAL);
	EXPECT_EQ(heap_alloc_flags(self->heap, self->page, O_RDWR | O_NONBLOCK, 0), -EINVAL);
	EXPECT_EQ(heap_alloc_flags(self->heap, self->page, 1U << 31, 0), -EINVAL);
	/* An output, but zero on input in this ABI */
	EXPECT_EQ(ioctl(self->heap, DMA_HEAP_IOCTL_ALLOC, &data), -1);
	EXPECT_EQ(errno, EINVAL);

	buf = heap_alloc_flags(self->heap, self->page, O_RDWR | O_CLOEXEC, 0);
	ASSERT_LE(0, buf);
	EXPECT_EQ(fcntl(buf, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(fcntl(buf, F_GETFL) & O_ACCMODE, O_RDWR);
	close(buf);
	buf = heap_alloc_flags(self->heap, self->page, O_RDWR, 0);
	ASSERT_LE(0, buf);
	EXPECT_EQ(fcntl(buf, F_GETFD), 0);
	close(buf);
	EXPECT_UNUSED();
}

TEST_F(heap, bad_ioctl)
{
	EXPECT_EQ(ioctl(self->heap, DMA_HEAP_IOCTL_ALLOC, NULL), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(ioctl(self->heap, _IO(DMA_HEAP_IOC_MAGIC, 0x77), NULL), -1);
	EXPECT_TRUE(errno == ENOTTY || errno == EINVAL);
	EXPECT_UNUSED();
}

/* The copy to user space fails when the buffer is there already */
TEST_F(heap, read_only_argument)
{
	struct dma_heap_allocation_data *data;

	data = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, data);
	data->len = self->page;
	data->fd_flags = O_RDWR;
	mprotect(data, self->page, PROT_READ);
	EXPECT_EQ(ioctl(self->heap, DMA_HEAP_IOCTL_ALLOC, data), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_UNUSED();
}

TEST_F(heap, no_descriptor_left)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };
	struct rlimit old;

	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit.rlim_max = old.rlim_max;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	EXPECT_EQ(heap_alloc(self->heap, self->page), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_UNUSED();
}

TEST_F(heap, zeroed)
{
	size_t size = self->pool.total;
	int round, buf;
	void *p;

	for (round = 0; round < 2; round++) {
		buf = heap_alloc(self->heap, size);
		ASSERT_LE(0, buf);
		p = map_shared(buf, size);
		ASSERT_NE(NULL, p);
		EXPECT_EQ(check(p, size, 0), -1);
		fill(p, size, PATTERN);
		EXPECT_EQ(check(p, size, PATTERN), -1);
		munmap(p, size);
		close(buf);
	}
}

/* What a buffer of that size is aligned to, where there is room */
static size_t alignment_of(size_t size)
{
	return size < MT_BLOCK ? MT_PAGE : MT_BLOCK;
}

TEST_F(heap, contiguous_and_aligned)
{
	size_t size = 2 * self->unit + self->page, off;
	int small = heap_alloc(self->heap, self->page);
	int buf = heap_alloc(self->heap, size);
	__u64 phys;
	char *p;

	ASSERT_LE(0, small);
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p, size, PATTERN);
	phys = phys_of(p);
	if (!phys)
		SKIP(return, "/dev/memtype_test, which reads entries, is not there");
	EXPECT_EQ(phys % alignment_of(size), 0);
	for (off = 0; off < size; off += self->page)
		ASSERT_EQ(phys_of(p + off), phys + off);
}

/* Write-combine in the PTE, huge entries where they fit, and nothing more than that */
TEST_F(heap, host_entries)
{
	size_t size = 2 * self->unit + self->page;
	int buf = heap_alloc(self->heap, size), fd;
	struct memtype_test_pte pte;
	size_t offs[] = { 0, self->unit, size - self->page };
	unsigned int i;
	char *p;

	fd = open("/dev/memtype_test", O_RDWR);
	if (fd < 0)
		SKIP(return, "/dev/memtype_test, which reads entries, is not there");
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	for (i = 0; i < 3; i++) {
		pte = (struct memtype_test_pte) { .addr = (__u64)p + offs[i] };
		WRITE_ONCE(*(__u64 *)(p + offs[i]), 1);
		ASSERT_EQ(ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte), 0);
		EXPECT_EQ(pte.type, MEMTYPE_TEST_NC);
		EXPECT_EQ(pte.writable, 1);
		EXPECT_EQ(pte.size, i < 2 && self->unit == MT_BLOCK ? MT_BLOCK : self->page);
	}

	/* Made read-only and back, entries keep their type */
	ASSERT_EQ(mprotect(p, size, PROT_READ), 0);
	EXPECT_EQ(signal_of_access(p, true), SIGSEGV);
	ASSERT_EQ(mprotect(p, size, PROT_READ | PROT_WRITE), 0);
	for (i = 0; i < 3; i++) {
		pte = (struct memtype_test_pte) { .addr = (__u64)p + offs[i] };
		WRITE_ONCE(*(__u64 *)(p + offs[i]), 1);
		ASSERT_EQ(ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte), 0);
		EXPECT_EQ(pte.type, MEMTYPE_TEST_NC);
	}
}

static bool vma_flag(const void *p, const char *flag)
{
	unsigned long start, end;
	bool inside = false;
	char line[512];
	bool found = false;
	FILE *f;

	f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)p >= start && (unsigned long)p < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag);
	}
	if (f)
		fclose(f);
	return found;
}

TEST_F(heap, vma_flags)
{
	int buf = heap_alloc(self->heap, self->page);
	char *p;

	ASSERT_LE(0, buf);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	EXPECT_TRUE(vma_flag(p, " sh"));
	EXPECT_TRUE(vma_flag(p, " pf"));	/* no struct pages */
	EXPECT_TRUE(vma_flag(p, " dc"));	/* not over fork() */
	EXPECT_TRUE(vma_flag(p, " de"));	/* mremap() does not grow it */
	EXPECT_FALSE(vma_flag(p, " me"));	/* may not become executable */
	EXPECT_FALSE(vma_flag(p, " ex"));
}

TEST_F(heap, map_private)
{
	int buf = heap_alloc(self->heap, self->page);

	ASSERT_LE(0, buf);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ, MAP_PRIVATE, buf, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE, buf, 0),
		  MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	close(buf);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->heap, 0),
		  MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	/* and that left no buffer behind */
	EXPECT_UNUSED();
}

TEST_F(heap, map_exec)
{
	int buf = heap_alloc(self->heap, self->page);
	void *p;

	ASSERT_LE(0, buf);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ | PROT_EXEC, MAP_SHARED, buf, 0), MAP_FAILED);
	EXPECT_EQ(errno, EPERM);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(mprotect(p, self->page, PROT_READ | PROT_EXEC), -1);
	EXPECT_EQ(errno, EACCES);
	EXPECT_EQ(signal_of_access(p, true), 0);
	close(buf);
	munmap(p, self->page);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ | PROT_EXEC, MAP_SHARED, self->heap, 0),
		  MAP_FAILED);
	EXPECT_EQ(errno, EPERM);
	EXPECT_UNUSED();
}

TEST_F(heap, map_beyond)
{
	size_t size = 4 * self->page;
	int buf = heap_alloc(self->heap, size);
	char *p;

	ASSERT_LE(0, buf);
	EXPECT_EQ(map_at(buf, size + self->page, PROT_READ, 0), NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(map_at(buf, size, PROT_READ, self->page), NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(map_at(buf, self->page, PROT_READ, size), NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(map_at(buf, self->page, PROT_READ, 1ULL << 51), NULL);

	/* The last page alone, by its offset */
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p + size - self->page, self->page, PATTERN);
	p = map_at(buf, self->page, PROT_READ, size - self->page);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->page, PATTERN), -1);
}

static char *block_aligned(char *p)
{
	return (char *)(((unsigned long)p + MT_BLOCK - 1) & ~(MT_BLOCK - 1));
}

/* A mapping whose address or offset is not PMD aligned has the same content */
TEST_F(heap, map_unaligned)
{
	size_t size = 2 * self->unit, off;
	int buf = heap_alloc(self->heap, size);
	char *p, *q;

	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	for (off = 0; off < size; off += self->page)
		*(__u64 *)(p + off) = off;

	q = map_at(buf, size - self->page, PROT_READ, self->page);
	ASSERT_NE(NULL, q);
	for (off = self->page; off < size; off += self->page)
		ASSERT_EQ(*(__u64 *)(q + off - self->page), off);

	q = mmap(NULL, size + MT_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, q);
	q = block_aligned(q) + self->page;
	q = mmap(q, size - self->unit, PROT_READ, MAP_SHARED | MAP_FIXED, buf, 0);
	ASSERT_NE(MAP_FAILED, q);
	for (off = 0; off < size - self->unit; off += self->page)
		ASSERT_EQ(*(__u64 *)(q + off), off);
}

TEST_F(heap, read_only_descriptor)
{
	int buf = heap_alloc_flags(self->heap, self->page, O_RDONLY | O_CLOEXEC, 0);
	void *p;

	ASSERT_LE(0, buf);
	EXPECT_EQ(mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0), MAP_FAILED);
	EXPECT_EQ(errno, EACCES);
	p = map_at(buf, self->page, PROT_READ, 0);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->page, 0), -1);
	EXPECT_EQ(signal_of_access(p, true), SIGSEGV);
	EXPECT_EQ(mprotect(p, self->page, PROT_READ | PROT_WRITE), -1);
	EXPECT_EQ(errno, EACCES);
}

TEST_F(heap, mremap)
{
	size_t size = 2 * self->unit;
	int buf = heap_alloc(self->heap, size);
	char *p, *q;

	ASSERT_LE(0, buf);
	/* Half of it, so that there is something to grow into */
	p = map_shared(buf, size / 2);
	ASSERT_NE(NULL, p);
	fill(p, size / 2, PATTERN);
	EXPECT_EQ(mremap(p, size / 2, size, MREMAP_MAYMOVE), MAP_FAILED);
	EXPECT_EQ(mremap(p, size / 2, 2 * size, MREMAP_MAYMOVE), MAP_FAILED);
	/* An old size of 0 asks for a second mapping */
	EXPECT_EQ(mremap(p, 0, size, MREMAP_MAYMOVE), MAP_FAILED);
	EXPECT_EQ(check(p, size / 2, PATTERN), -1);

	/* Moved as it is, it is the same memory; the old place is gone */
	q = map_at(buf, size / 2, PROT_READ | PROT_WRITE, 0);
	ASSERT_NE(NULL, q);
	q = mremap(p, size / 2, size / 2, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	if (q != MAP_FAILED) {
		EXPECT_EQ(check(q, size / 2, PATTERN), -1);
		EXPECT_EQ(signal_of_access(p, false), SIGSEGV);
	} else {
		EXPECT_EQ(check(p, size / 2, PATTERN), -1);
	}
}

TEST_F(heap, partial_munmap)
{
	size_t size = 2 * self->unit;
	int buf = heap_alloc(self->heap, size);
	char *p;

	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p, size, PATTERN);
	close(buf);
	/* A page in the middle of a huge entry */
	ASSERT_EQ(munmap(p + 5 * self->page, self->page), 0);
	EXPECT_EQ(signal_of_access(p + 5 * self->page, false), SIGSEGV);
	EXPECT_EQ(check(p, 5 * self->page, PATTERN), -1);
	EXPECT_EQ(check(p + 6 * self->page, size - 6 * self->page, PATTERN), -1);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	ASSERT_EQ(munmap(p, 5 * self->page), 0);
	ASSERT_EQ(munmap(p + self->unit, self->unit), 0);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	ASSERT_EQ(munmap(p, self->unit), 0);
	EXPECT_UNUSED();
}

TEST_F(heap, close_before_munmap)
{
	size_t size = self->unit;
	int buf = heap_alloc(self->heap, size);
	char *p;

	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p, size, PATTERN);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->pool.total - size);
	/* Nobody is given what this mapping still sees */
	EXPECT_EQ(heap_alloc(self->heap, self->pool.total), -ENOMEM);
	EXPECT_EQ(check(p, size, PATTERN), -1);
	munmap(p, size);
	EXPECT_UNUSED();
	buf = heap_alloc(self->heap, self->pool.total);
	EXPECT_LE(0, buf);
	close(buf);
}

TEST_F(heap, close_the_node_first)
{
	int buf = heap_alloc(self->heap, self->page), other;

	ASSERT_LE(0, buf);
	close(self->heap);
	other = pool_open(&self->pool);
	ASSERT_LE(0, other);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	close(buf);
	EXPECT_UNUSED();
	self->heap = other;
}

TEST_F(heap, dup)
{
	int buf = heap_alloc(self->heap, self->page), other;
	void *p;

	ASSERT_LE(0, buf);
	other = dup(buf);
	ASSERT_LE(0, other);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	munmap(p, self->page);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	p = map_shared(other, self->page);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->page, PATTERN), -1);
	munmap(p, self->page);
	close(other);
	EXPECT_UNUSED();
}

TEST_F(heap, lseek)
{
	int buf = heap_alloc(self->heap, 3 * self->page);

	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), 3 * self->page);
	EXPECT_EQ(lseek(buf, 0, SEEK_SET), 0);
	/* dma-buf's own rule */
	EXPECT_EQ(lseek(buf, 1, SEEK_SET), -1);
	close(buf);
	/*
	 * A VMM's file backend asks for the size of a file. 0 is "I cannot tell"
	 * and makes it go on; so must the buffer's size once there is one.
	 */
	EXPECT_LE(0, lseek(self->heap, 0, SEEK_END));
}

TEST_F(heap, fork)
{
	int buf = heap_alloc(self->heap, self->page), status;
	void *p;
	pid_t pid;

	ASSERT_LE(0, buf);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	pid = fork();
	if (!pid) {
		/* No copy of the mapping; the descriptor is still good */
		if (signal_of_access(p, false) != SIGSEGV)
			_exit(1);
		p = map_shared(buf, self->page);
		_exit(!p || check(p, self->page, PATTERN) != -1 ? 2 : 0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(check(p, self->page, PATTERN), -1);
	munmap(p, self->page);
	close(buf);
	EXPECT_UNUSED();
}

/* MADV_DOFORK may undo that (where it does): then the child's mapping counts */
TEST_F(heap, fork_with_madvise)
{
	int buf = heap_alloc(self->heap, self->page), status;
	int ready[2], go[2];
	char c;
	bool copied;
	pid_t pid;
	void *p;

	ASSERT_LE(0, buf);
	ASSERT_EQ(pipe(ready), 0);
	ASSERT_EQ(pipe(go), 0);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	copied = !madvise(p, self->page, MADV_DOFORK) && !vma_flag(p, " dc");
	pid = fork();
	if (!pid) {
		close(buf);
		if (write(ready[1], "", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		if (copied)
			_exit(signal_of_access(p, false) || check(p, self->page, PATTERN) != -1 ?
			      2 : 0);
		_exit(signal_of_access(p, false) != SIGSEGV ? 3 : 0);
	}
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	munmap(p, self->page);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), copied);
	ASSERT_EQ(write(go[1], "", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_UNUSED();
}

/* What an event says of what is done now: how many there are, and of how many bytes */
static unsigned int traced(const char *event, unsigned long long *bytes, const char *comm)
{
	struct trace_line line;
	unsigned int n = 0;

	*bytes = 0;
	if (!trace_stop())
		return 0;
	while (trace_next(&line)) {
		if (strcmp(line.event, event) || strncmp(line.comm, comm, strlen(comm)))
			continue;
		*bytes += line.size;
		n++;
	}
	return n;
}

/*
 * Sockets that are in each other's queues, a buffer with them, are found by the garbage
 * collector; the last reference is dropped by a work item that is everybody's.
 */
static void scm_rights_cycle(struct __test_metadata *_metadata, const struct pool *pool,
			     int heap, size_t size)
{
	unsigned long long bytes;
	int a[2], b[2], buf, i;
	void *p;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	buf = heap_alloc(heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, 4096);
	ASSERT_NE(NULL, p);
	fill(p, 4096, PATTERN);
	munmap(p, 4096);
	ASSERT_EQ(send_fd(a[0], b[1]), 0);
	ASSERT_EQ(send_fd(a[0], buf), 0);
	ASSERT_EQ(send_fd(b[0], a[1]), 0);
	ASSERT_TRUE(trace_start());
	close(buf);
	for (i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	/* The end of any socket makes it look */
	for (i = 0; i < 100 && pool_attr(pool, "buffers"); i++) {
		ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
		close(a[0]);
		close(a[1]);
		usleep(100000);
	}
	EXPECT_EQ(pool_attr(pool, "buffers"), 0);
	EXPECT_TRUE(pool_settle(pool));
	EXPECT_EQ(traced("free", &bytes, ""), 1);
	EXPECT_EQ(bytes, size);
	/* Not by "kworker/0:" and the like, which are those of all */
	traced("scrub", &bytes, "kworker/u");
	EXPECT_EQ(bytes, size);
}

TEST_F(heap, scm_rights_cycle)
{
	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	scm_rights_cycle(_metadata, &self->pool, self->heap, self->pool.total);
	EXPECT_UNUSED();
	scm_rights_cycle(_metadata, &self->pool, self->heap, self->page);
	EXPECT_UNUSED();
}

TEST_F(heap, scm_rights)
{
	int sock[2], buf, status;
	pid_t pid;
	void *p;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		close(self->heap);
		buf = receive_fd(sock[1]);
		p = buf < 0 ? NULL : map_shared(buf, self->page);
		if (!p || check(p, self->page, PATTERN) != -1)
			_exit(1);
		fill(p, self->page, ~PATTERN);
		/* The sender has closed and unmapped: it lives by us alone */
		_exit(pool_attr(&self->pool, "buffers") == 1 ? 0 : 2);
	}
	buf = heap_alloc(self->heap, self->page);
	ASSERT_LE(0, buf);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	munmap(p, self->page);
	ASSERT_EQ(send_fd(sock[0], buf), 0);
	close(buf);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_UNUSED();
}

/* A descriptor in flight keeps the buffer; one that nobody fetches is freed */
TEST_F(heap, scm_rights_not_received)
{
	int sock[2], buf;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	buf = heap_alloc(self->heap, self->page);
	ASSERT_LE(0, buf);
	ASSERT_EQ(send_fd(sock[0], buf), 0);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	close(sock[0]);
	close(sock[1]);
	EXPECT_UNUSED();
}

/* mmap() of the node: one buffer for each open file */
TEST_F(heap, node_mmap)
{
	size_t size = 2 * self->unit;
	char *p, *q, *r;
	int other;

	p = map_shared(self->heap, size);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->pool.total - size);
	EXPECT_EQ(check(p, size, 0), -1);
	fill(p, size, PATTERN);

	/* A second time it is the same, whole or in part */
	q = map_shared(self->heap, size);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(check(q, size, PATTERN), -1);
	*(__u64 *)(q + self->unit) = 7;
	EXPECT_EQ(READ_ONCE(*(__u64 *)(p + self->unit)), 7);
	r = map_at(self->heap, self->page, PROT_READ, self->unit);
	ASSERT_NE(NULL, r);
	EXPECT_EQ(READ_ONCE(*(__u64 *)r), 7);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(map_shared(self->heap, size + self->page), NULL);
	EXPECT_EQ(errno, EINVAL);

	/* Another open file is another buffer */
	other = pool_open(&self->pool);
	ASSERT_LE(0, other);
	r = map_shared(other, self->page);
	ASSERT_NE(NULL, r);
	EXPECT_EQ(check(r, self->page, 0), -1);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 2);
	munmap(r, self->page);
	close(other);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
}

/* The buffer outlives the descriptor by its mapping, and the mapping by it */
TEST_F(heap, node_mmap_lifetime)
{
	size_t size = self->unit;
	int node = pool_open(&self->pool);
	void *p;

	ASSERT_LE(0, node);
	p = map_shared(node, size);
	ASSERT_NE(NULL, p);
	fill(p, size, PATTERN);
	munmap(p, size);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	p = map_shared(node, size);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, size, PATTERN), -1);
	close(node);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(check(p, size, PATTERN), -1);
	munmap(p, size);
	EXPECT_UNUSED();
}

/* What a VMM's file backend does: reserve addresses, then map over them */
TEST_F(heap, node_mmap_fixed)
{
	size_t size = 2 * self->unit;
	char *area, *p;

	area = mmap(NULL, size + MT_BLOCK, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	area = block_aligned(area);
	p = mmap(area, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->heap, 0);
	ASSERT_EQ(p, area);
	fill(p, size, PATTERN);
	EXPECT_EQ(check(p, size, PATTERN), -1);
}

TEST_F(heap, node_mmap_exhausted)
{
	int buf = heap_alloc(self->heap, self->pool.total);

	ASSERT_LE(0, buf);
	EXPECT_EQ(map_shared(self->heap, self->page), NULL);
	EXPECT_EQ(errno, ENOMEM);
	close(buf);
	/* That failure is not for ever */
	EXPECT_NE(map_shared(self->heap, self->page), NULL);
}

/* Exhaustion, fragmentation, and that a failure takes nothing */
TEST_F(heap, exhaustion)
{
	size_t size = self->pool.total / 256;
	struct pool_counters before;
	int bufs[MAX_BUFFERS], n, i;

	size -= size % self->page;
	for (n = 0; n < MAX_BUFFERS; n++) {
		bufs[n] = heap_alloc(self->heap, size);
		if (bufs[n] < 0)
			break;
	}
	ASSERT_EQ(n, self->pool.total / size);
	EXPECT_EQ(bufs[n], -ENOMEM);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), n);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->pool.total - n * size);

	/* Every other one: half is free, and nothing larger than one of them */
	for (i = 0; i < n; i += 2)
		close(bufs[i]);
	EXPECT_TRUE(pool_settle(&self->pool));
	before = pool_counters(&self->pool);
	EXPECT_EQ(before.free, (n + 1) / 2 * size + self->pool.total % size);
	EXPECT_LE(size, before.largest);
	EXPECT_GT(2 * size, before.largest);
	EXPECT_EQ(before.buffers, n / 2);
	EXPECT_EQ(heap_alloc(self->heap, 2 * size), -ENOMEM);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), before.free);
	EXPECT_EQ(pool_attr(&self->pool, "largest_free_bytes"), before.largest);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), before.buffers);
	for (i = 0; i < n; i += 2) {
		bufs[i] = heap_alloc(self->heap, size);
		ASSERT_LE(0, bufs[i]);
	}
	for (i = 0; i < n; i++)
		close(bufs[i]);
	EXPECT_UNUSED();
}

TEST_F(heap, high_water)
{
	__u64 before = pool_attr(&self->pool, "high_water_bytes");
	int buf;

	EXPECT_LE(before, self->pool.total);
	buf = heap_alloc(self->heap, self->page);
	ASSERT_LE(0, buf);
	EXPECT_EQ(pool_attr(&self->pool, "high_water_bytes"),
		  before > self->page ? before : self->page);
	close(buf);
	buf = heap_alloc(self->heap, self->pool.total);
	ASSERT_LE(0, buf);
	close(buf);
	/* A mark stays */
	EXPECT_EQ(pool_attr(&self->pool, "high_water_bytes"), self->pool.total);
	EXPECT_UNUSED();
}

TEST_F(heap, attributes_are_read_only)
{
	static const char * const names[] = {
		"total_bytes", "free_bytes", "scrubbing_bytes", "largest_free_bytes", "buffers",
		"high_water_bytes", "shared",
	};
	char path[192];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/sys/class/misc/carveout-%s/%s", self->pool.name,
			 names[i]);
		EXPECT_EQ(access(path, F_OK), 0);
		EXPECT_FALSE(write_file(path, "1"));
	}
}

TEST_F(heap, node_mode)
{
	struct stat st;

	ASSERT_EQ(fstat(self->heap, &st), 0);
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	/* The group has what the udev rule gives it, if there is udev */
	EXPECT_TRUE((st.st_mode & 07777) == 0600 || (st.st_mode & 07777) == 0660)
		TH_LOG("mode %#o", st.st_mode & 07777);
}

/* A buffer's life: taken, mapped, given back; cleaned, scrubbed, free */
TEST_F(heap, tracepoints)
{
	enum { ALLOC, MAP, FREE, CLEAN, SCRUB, NR };
	static const char * const names[NR] = { "alloc", "map", "free", "clean", "scrub" };
	unsigned long long base = 0, done[NR] = {};
	struct trace_line line;
	int buf, i, last = ALLOC;
	void *p;

	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	buf = heap_alloc(self->heap, self->unit);
	ASSERT_LE(0, buf);
	p = map_shared(buf, self->unit);
	ASSERT_NE(NULL, p);
	fill(p, self->unit, PATTERN);
	munmap(p, self->unit);
	close(buf);
	EXPECT_UNUSED();
	ASSERT_TRUE(trace_stop());

	while (trace_next(&line)) {
		EXPECT_STREQ(line.pool, self->pool.name);
		for (i = 0; i < NR && strcmp(line.event, names[i]); i++)
			;
		ASSERT_NE(i, NR) TH_LOG("event %s", line.event);
		/* In this order; a part is clean before it is scrubbed */
		EXPECT_LE(last, i) TH_LOG("%s after %s", line.event, names[last]);
		last = i == SCRUB ? CLEAN : i;
		if (i == ALLOC)
			base = line.base;
		EXPECT_EQ(line.base, base + done[i]);
		if (i == SCRUB)
			EXPECT_EQ(done[i] + line.size, done[CLEAN]);
		done[i] += line.size;
	}
	for (i = 0; i < NR; i++)
		EXPECT_EQ(done[i], self->unit) TH_LOG("event %d", i);
}

/* Nobody who lets go of a buffer scrubs it: an unbound kernel thread does */
TEST_F(heap, scrubbed_by_worker)
{
	size_t size = self->pool.total / 2;
	unsigned long long bytes;
	void *p;
	int buf;

	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	munmap(p, size);
	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	close(buf);
	EXPECT_UNUSED();
	traced("scrub", &bytes, "kworker/u");
	EXPECT_EQ(bytes, size);
	traced("scrub", &bytes, "");
	EXPECT_EQ(bytes, size);
}

/* What was never in a page table is as it was: free at once */
TEST_F(heap, never_mapped)
{
	size_t size = self->pool.total / 2;
	unsigned long long bytes;
	void *p;
	int buf;

	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	close(buf);
	EXPECT_COUNTERS(self->pool.total, self->pool.total, 0);
	/* A mapping that nobody has used is no entry, if that is to be huge */
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	munmap(p, size);
	close(buf);
	if (size >= MT_BLOCK)
		EXPECT_COUNTERS(self->pool.total, self->pool.total, 0);
	else
		EXPECT_UNUSED();
	EXPECT_EQ(traced("alloc", &bytes, ""), 2);
	traced("scrub", &bytes, "");
	EXPECT_EQ(bytes, size >= MT_BLOCK ? 0 : size);
	/* A read is enough for one */
	ASSERT_TRUE(trace_start());
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->page, 0), -1);
	munmap(p, size);
	close(buf);
	EXPECT_UNUSED();
	traced("scrub", &bytes, "");
	EXPECT_EQ(bytes, size);
}

#define TRACING		"/sys/kernel/tracing"
#define KPROBES		TRACING "/kprobe_events"
#define CLEANING	"cleanings/poc"
#define PROBED		"carveout_arch_clean_inval_poc size=%x1:x64"

/* The number of bytes in a line of the trace that is of that event */
static bool bytes_of(const char *line, const char *event, unsigned long long *bytes)
{
	const char *at = strstr(line, event);

	at = at ? strstr(at, " size=0x") : NULL;
	return at && sscanf(at, " size=0x%llx", bytes) == 1;
}

/*
 * What a device with cacheable DMA has left in a cache is cleaned and invalidated before
 * the zeros are written: where the kernel can say so, by the function that does it, not
 * by what the module says of it.
 */
TEST_F(heap, cleaned_before_scrub)
{
	size_t size = self->unit + self->page, cleaned = 0, scrubbed = 0;
	unsigned long long bytes;
	char line[512];
	void *p;
	FILE *f;
	int buf;

	if (!trace_start() || access(KPROBES, F_OK))
		SKIP(return, "the kernel has no kprobes to look with");
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	fill(p, size, PATTERN);
	munmap(p, size);
	ASSERT_TRUE(append_file(KPROBES, "p:" CLEANING " " PROBED "\n"));
	ASSERT_TRUE(write_file(TRACING "/events/" CLEANING "/enable", "1"));
	close(buf);
	EXPECT_UNUSED();
	EXPECT_TRUE(write_file(TRACING "/events/" CLEANING "/enable", "0"));
	EXPECT_TRUE(trace_stop());

	f = fopen(TRACING "/trace", "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (bytes_of(line, ": poc: ", &bytes))
			cleaned += bytes;
		if (bytes_of(line, ": carveout_scrub: ", &bytes))
			scrubbed += bytes;
		EXPECT_LE(scrubbed, cleaned);
	}
	fclose(f);
	EXPECT_TRUE(append_file(KPROBES, "-:" CLEANING "\n"));
	EXPECT_EQ(cleaned, size);
	EXPECT_EQ(scrubbed, size);
}

/*
 * There is no fault for each page. Where no huge entry fits, mmap() maps all of it;
 * in a second process, a fault does that with what is around it.
 */
static void touch_all(char *p, size_t size, size_t page)
{
	size_t off;

	/* In the middle first, so that there is something on both sides */
	WRITE_ONCE(*(__u64 *)(p + size / 2), 1);
	for (off = 0; off < size; off += page)
		WRITE_ONCE(*(__u64 *)(p + off), off + 1);
}

static bool touched_all(const char *p, size_t size, size_t page)
{
	size_t off;

	for (off = 0; off < size; off += page)
		if (READ_ONCE(*(__u64 *)(p + off)) != off + 1)
			return false;
	return true;
}

/* Write-combine, writable, of that size; true as well where nobody can tell */
static bool entries_are_nc(const char *p, size_t size, size_t page)
{
	struct memtype_test_pte pte;
	int fd = open("/dev/memtype_test", O_RDWR);
	bool ok = true;
	size_t off;

	if (fd < 0)
		return true;
	for (off = 0; ok && off < size; off += page) {
		pte = (struct memtype_test_pte) { .addr = (__u64)p + off };
		ok = !ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte) && pte.type == MEMTYPE_TEST_NC &&
		     pte.writable && pte.size == page;
	}
	close(fd);
	return ok;
}

/* How much a fault maps, of what is aligned to that */
#define AROUND		(512 * MT_PAGE)

TEST_F(heap, map_many)
{
	size_t size = self->unit < AROUND ? self->unit / 2 : AROUND / 2;
	unsigned long long bytes;
	int buf, status;
	pid_t pid;
	char *p;

	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	touch_all(p, size, self->page);
	EXPECT_EQ(traced("map", &bytes, ""), 1);
	EXPECT_EQ(bytes, size);
	EXPECT_TRUE(touched_all(p, size, self->page));
	EXPECT_TRUE(entries_are_nc(p, size, self->page));

	ASSERT_TRUE(trace_start());
	pid = fork();
	if (!pid) {
		p = map_shared(buf, size);
		if (!p || !touched_all(p, size, self->page))
			_exit(1);
		touch_all(p, size, self->page);
		if (!entries_are_nc(p, size, self->page))
			_exit(2);
		/* Nothing beyond a part that is mapped */
		munmap(p, size);
		p = map_at(buf, 2 * self->page, PROT_READ, self->page);
		if (!p || READ_ONCE(*(__u64 *)(p + self->page)) != 2 * self->page + 1)
			_exit(3);
		_exit(signal_of_access(p + 2 * self->page, false) != SIGSEGV ||
		      signal_of_access(p - self->page, false) != SIGSEGV);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(traced("map", &bytes, ""), 2);
	EXPECT_EQ(bytes, size + 2 * self->page);
	EXPECT_TRUE(touched_all(p, size, self->page));
}

/* What is at the ends of a mapping with huge entries, and where they do not fit */
TEST_F(heap, map_many_unaligned)
{
	size_t size = 3 * self->unit, part = 5 * self->page;
	unsigned long long bytes;
	char *area, *p;
	int buf, nr;

	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	area = mmap(NULL, size + 2 * MT_BLOCK, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	area = block_aligned(area);
	if (!trace_start())
		SKIP(return, "the kernel has no event tracing");
	/* Without the first and the last pages: two ends, and a huge entry in the middle */
	p = mmap(area + part, size - 2 * part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 buf, part);
	ASSERT_NE(MAP_FAILED, p);
	touch_all(p, size - 2 * part, self->page);
	nr = self->unit == MT_BLOCK ? 2 * (MT_BLOCK / AROUND) + 1 : 1;
	EXPECT_EQ(traced("map", &bytes, ""), nr);
	EXPECT_EQ(bytes, size - 2 * part);
	EXPECT_TRUE(entries_are_nc(p, self->unit - part, self->page));
	munmap(p, size);

	/* No huge entry fits anywhere */
	ASSERT_TRUE(trace_start());
	p = mmap(area + part, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, buf, 0);
	ASSERT_NE(MAP_FAILED, p);
	touch_all(p, size, self->page);
	EXPECT_EQ(traced("map", &bytes, ""), 1);
	EXPECT_EQ(bytes, size);
	EXPECT_TRUE(entries_are_nc(p, size, self->page));
	munmap(p, size);
	/* The offset is the buffer's, not the address's */
	p = map_at(buf, size, PROT_READ, 0);
	ASSERT_NE(NULL, p);
	EXPECT_TRUE(touched_all(p, size, self->page));
}

/* Alignment is a wish: what is left of the pool behind one page can be had */
TEST_F(heap, alignment_falls_back)
{
	int small = heap_alloc(self->heap, self->page), buf;
	size_t size = self->pool.total - self->page, off;
	char *p;

	ASSERT_LE(0, small);
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	EXPECT_COUNTERS(0, 0, 2);
	p = map_shared(buf, size);
	ASSERT_NE(NULL, p);
	for (off = 0; off < size; off += self->page)
		WRITE_ONCE(*(__u64 *)(p + off), off);
	for (off = 0; off < size; off += self->page)
		ASSERT_EQ(READ_ONCE(*(__u64 *)(p + off)), off);
	munmap(p, size);
	close(buf);
	/* Where there is room for the wish it is granted */
	size += self->page - self->unit;
	buf = heap_alloc(self->heap, size);
	ASSERT_LE(0, buf);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	WRITE_ONCE(*p, 1);
	if (phys_of(p))
		EXPECT_EQ(phys_of(p) % alignment_of(size), 0);
	munmap(p, self->page);
	close(buf);
	close(small);
	EXPECT_UNUSED();
}

#define CGROUP		"/sys/fs/cgroup"
#define CHILD		CGROUP "/carveout-test"

/* What the dmem controller says that the region of the pool has there, or -1 */
static long long dmem_value(const struct pool *pool, const char *file)
{
	long long value = -1;
	char line[128], region[96];
	FILE *f;

	snprintf(region, sizeof(region), "carveout/%s ", pool->name);
	f = fopen(file, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, region, strlen(region)))
			value = strtoll(line + strlen(region), NULL, 0);
	if (f)
		fclose(f);
	return value;
}

/* In the cgroup: not more than its limit, whether or not anything has to be scrubbed */
static int dmem_user(const struct pool *pool, int heap, size_t limit)
{
	int buf, i;
	void *p;

	if (!write_file(CHILD "/cgroup.procs", "0"))
		return 1;
	if (heap_alloc(heap, 2 * limit) != -ENOMEM)
		return 2;
	for (i = 0; i < 3; i++) {
		buf = heap_alloc(heap, limit);
		if (buf < 0)
			return 3;
		if (dmem_value(pool, CHILD "/dmem.current") != limit)
			return 4;
		if (heap_alloc(heap, 4096) != -ENOMEM)
			return 5;
		p = map_shared(buf, limit);
		if (!p)
			return 6;
		fill(p, limit, PATTERN);
		munmap(p, limit);
		close(buf);
		if (dmem_value(pool, CHILD "/dmem.current"))
			return 7;
	}
	return 0;
}

TEST_F(heap, dmem)
{
	size_t limit = self->unit;
	char text[128];
	int status;
	pid_t pid;
	bool on;

	/* Not mounted here: the options of one mount are those of all */
	if (access(CGROUP "/cgroup.procs", F_OK))
		SKIP(return, "no cgroup2 in " CGROUP);
	/* The files of the root are not there before it is on */
	on = !access(CGROUP "/dmem.capacity", F_OK);
	if (!write_file(CGROUP "/cgroup.subtree_control", "+dmem"))
		SKIP(return, "no dmem controller");
	EXPECT_EQ(dmem_value(&self->pool, CGROUP "/dmem.capacity"), self->pool.total);
	ASSERT_EQ(mkdir(CHILD, 0700), 0);
	snprintf(text, sizeof(text), "carveout/%s %zu", self->pool.name, limit);
	ASSERT_TRUE(write_file(CHILD "/dmem.max", text));
	pid = fork();
	if (!pid)
		_exit(dmem_user(&self->pool, self->heap, limit));
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0) TH_LOG("step %d", WEXITSTATUS(status));
	EXPECT_EQ(rmdir(CHILD), 0);
	EXPECT_TRUE(on || write_file(CGROUP "/cgroup.subtree_control", "-dmem"));
	EXPECT_UNUSED();
}

/* No room but what is being scrubbed: that is waited for. */
TEST_F(heap, waits_for_scrub)
{
	size_t size = self->pool.total;
	int i, buf;
	void *p;

	for (i = 0; i < 20; i++) {
		buf = heap_alloc(self->heap, i & 1 ? size : size - self->page);
		ASSERT_LE(0, buf) TH_LOG("round %d: %s", i, strerror(-buf));
		p = map_shared(buf, self->page);
		ASSERT_NE(NULL, p);
		EXPECT_EQ(check(p, self->page, 0), -1);
		fill(p, self->page, PATTERN);
		munmap(p, self->page);
		close(buf);
	}
	/* What somebody has is not */
	buf = heap_alloc(self->heap, self->page);
	ASSERT_LE(0, buf);
	EXPECT_EQ(heap_alloc(self->heap, size), -ENOMEM);
	close(buf);
}

/*
 * Whether exclusives and atomics work on Normal-NC is the system's choice: they count
 * right, or they are a SIGBUS. (That a store-exclusive never succeeds is a time-out.)
 */
static unsigned long atomic_add_many(__u64 *word, unsigned int n)
{
	while (n--)
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static void exclusive_signal(int sig)
{
	_exit(sig);
}

TEST_F(heap, exclusives)
{
	int buf = heap_alloc(self->heap, self->page), status[2], i;
	pid_t pid[2];
	__u64 *word;

	ASSERT_LE(0, buf);
	word = map_shared(buf, self->page);
	ASSERT_NE(NULL, word);
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			signal(SIGBUS, exclusive_signal);
			word = map_shared(buf, self->page);
			_exit(word ? atomic_add_many(word, 100000) : 1);
		}
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(waitpid(pid[i], &status[i], 0), pid[i]);
	if (WIFEXITED(status[0]) && WEXITSTATUS(status[0]) == SIGBUS) {
		TH_LOG("exclusives and atomics are not to be had in this memory");
		EXPECT_EQ(status[1], status[0]);
		return;
	}
	EXPECT_EQ(status[0], 0);
	EXPECT_EQ(status[1], 0);
	EXPECT_EQ(READ_ONCE(*word), 200000);
}

/* No route by pages: what pins user memory is refused */
TEST_F(heap, no_pages_to_pin)
{
	int buf = heap_alloc(self->heap, self->page), fds[2];
	struct iovec iov;
	void *p;

	ASSERT_LE(0, buf);
	p = map_shared(buf, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	ASSERT_EQ(pipe(fds), 0);
	iov = (struct iovec) { .iov_base = p, .iov_len = self->page };
	EXPECT_EQ(vmsplice(fds[1], &iov, 1, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	/* A copy by the CPU is not a mapping */
	EXPECT_EQ(write(fds[1], p, self->page), self->page);
}

TEST_F(heap, importers)
{
	int buf = heap_alloc(self->heap, self->page), importer;

	importer = open("/dev/dmabuf_importer", O_RDWR);
	if (importer < 0)
		SKIP(return, "no /dev/dmabuf_importer");
	ASSERT_LE(0, buf);
	EXPECT_EQ(ioctl(importer, DMABUF_IMPORTER_ATTACH, buf), -1);
	EXPECT_EQ(errno, EOPNOTSUPP);
	EXPECT_EQ(ioctl(importer, DMABUF_IMPORTER_VMAP, buf), -1);
	EXPECT_TRUE(errno == EOPNOTSUPP || errno == EINVAL);
	close(buf);
	EXPECT_UNUSED();
}

/* The barriers that dma-buf users put around CPU accesses do no harm */
TEST_F(heap, sync)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int buf = heap_alloc(self->heap, self->page);

	ASSERT_LE(0, buf);
	EXPECT_EQ(ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync), 0);
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync), 0);
}

/* A process that is killed leaves neither a buffer nor its data */
TEST_F(heap, killed_process)
{
	size_t size = self->pool.total / 2;
	int status, fds[2], buf;
	pid_t pid;
	char c;
	void *p;

	size -= size % self->unit;
	ASSERT_EQ(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		buf = heap_alloc(self->heap, size);
		p = buf < 0 ? NULL : map_shared(buf, size);
		if (!p)
			_exit(1);
		fill(p, size, PATTERN);
		if (write(fds[1], "", 1) != 1)
			_exit(2);
		for (;;)	/* killed while it writes */
			fill(p, size, PATTERN);
	}
	ASSERT_EQ(read(fds[0], &c, 1), 1);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_UNUSED();
	buf = heap_alloc(self->heap, self->pool.total);
	ASSERT_LE(0, buf);
	p = map_shared(buf, self->pool.total);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(count(p, self->pool.total, PATTERN), 0);
	EXPECT_EQ(check(p, self->pool.total, 0), -1);
}

/* The same by pieces: what one owner wrote, no later owner finds */
TEST_F(heap, remanence)
{
	size_t size = self->pool.total / 8, off;
	int bufs[8], i;
	char *p;

	size -= size % self->page;
	for (i = 0; i < 8; i++) {
		bufs[i] = heap_alloc(self->heap, size);
		ASSERT_LE(0, bufs[i]);
		p = map_shared(bufs[i], size);
		ASSERT_NE(NULL, p);
		fill(p, size, PATTERN);
		/* some freed by the munmap(), some by the close() */
		if (i & 1)
			munmap(p, size);
	}
	for (i = 0; i < 8; i++)
		close(bufs[i]);
	/* The even ones are still mapped: nothing of them may be handed out */
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 4);
	for (i = 0; i < 4; i++) {
		bufs[i] = heap_alloc(self->heap, size);
		ASSERT_LE(0, bufs[i]);
		p = map_shared(bufs[i], size);
		ASSERT_NE(NULL, p);
		for (off = 0; off < size; off += self->page)
			ASSERT_EQ(check(p + off, self->page, 0), -1);
	}
	EXPECT_EQ(heap_alloc(self->heap, size), -ENOMEM);
}

TEST_HARNESS_MAIN

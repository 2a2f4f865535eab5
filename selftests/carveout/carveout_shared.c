// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_shared - A shared pool: one buffer for all who open the node
 *
 * Processes that know nothing of each other but the node's name see what the others
 * write, early and late ones; it lasts until the last of them has gone, and the next
 * one finds nothing of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "carveout.h"

#define PATTERN		0x736861726564ULL
#define THREADS		8
#define SECONDS		3

FIXTURE(shared) {
	struct pool pool;
	size_t size;
	size_t page;
};

FIXTURE_SETUP(shared)
{
	if (!pool_find_shared(&self->pool))
		SKIP(return, "no shared pool: is carveout_heap loaded?");
	ASSERT_EQ(pool_attr(&self->pool, "shared"), 1);
	/* A peer that was killed reads nothing */
	signal(SIGPIPE, SIG_IGN);
	self->size = self->pool.total;
	self->page = sysconf(_SC_PAGESIZE);
	ASSERT_EQ(pool_attr(&self->pool, "buffers"), 0);
}

FIXTURE_TEARDOWN(shared)
{
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 0);
	EXPECT_TRUE(pool_settle(&self->pool));
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), self->size);
}

/* A process that maps the node, and does a thing each time it is told to */
struct peer {
	pid_t pid;
	int go;
	int done;
};

/* 0, or what was not as it must be */
static int act(char what, void *p, size_t size)
{
	size_t half = size / 2;

	switch (what) {
	case 'a':
		fill(p, half, PATTERN);
		return 0;
	case 'b':
		fill(p + half, size - half, ~PATTERN);
		return 0;
	case 'A':
		return check(p, half, PATTERN) != -1;
	case 'B':
		return check(p + half, size - half, ~PATTERN) != -1;
	case '0':
		return check(p, size, 0) != -1;
	default:
		return 1;
	}
}

static struct peer peer_start(const struct pool *pool, size_t size, int prot)
{
	int go[2], done[2], node;
	struct peer peer;
	char c, ret;
	void *p;

	if (pipe(go) || pipe(done))
		abort();
	peer.pid = fork();
	if (!peer.pid) {
		close(go[1]);
		close(done[0]);
		node = open(pool->path, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
		p = node < 0 ? NULL : map_at(node, size, prot, 0);
		/* It lives by the mapping alone */
		close(node);
		ret = p ? 0 : 1;
		while (write(done[1], &ret, 1) == 1 && read(go[0], &c, 1) == 1 && c != '.')
			ret = act(c, p, size);
		_exit(0);
	}
	close(go[0]);
	close(done[1]);
	peer.go = go[1];
	peer.done = done[0];
	return peer;
}

/* What came of it; a peer that has just started says so first */
static int peer_result(const struct peer *peer)
{
	char ret;

	return read(peer->done, &ret, 1) == 1 ? ret : -1;
}

static int peer_do(const struct peer *peer, char what)
{
	return write(peer->go, &what, 1) == 1 ? peer_result(peer) : -1;
}

/* It is told, as who has been started later has the pipe as well */
static void peer_end(struct peer *peer)
{
	if (write(peer->go, ".", 1) != 1)
		kill(peer->pid, SIGKILL);
	close(peer->go);
	close(peer->done);
	waitpid(peer->pid, NULL, 0);
}

TEST_F(shared, both_ways)
{
	struct peer a, b, late;

	a = peer_start(&self->pool, self->size, PROT_READ | PROT_WRITE);
	EXPECT_EQ(peer_result(&a), 0);
	EXPECT_EQ(peer_do(&a, '0'), 0);
	EXPECT_EQ(peer_do(&a, 'a'), 0);
	b = peer_start(&self->pool, self->size, PROT_READ | PROT_WRITE);
	EXPECT_EQ(peer_result(&b), 0);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(peer_do(&b, 'A'), 0);
	EXPECT_EQ(peer_do(&b, 'b'), 0);
	EXPECT_EQ(peer_do(&a, 'B'), 0);

	/* Who made it goes: who comes then, and only reads, sees all of it */
	peer_end(&a);
	late = peer_start(&self->pool, self->size, PROT_READ);
	EXPECT_EQ(peer_result(&late), 0);
	EXPECT_EQ(peer_do(&late, 'A'), 0);
	EXPECT_EQ(peer_do(&late, 'B'), 0);
	peer_end(&b);
	EXPECT_EQ(peer_do(&late, 'A'), 0);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	peer_end(&late);

	/* The last has gone, and so has what they wrote */
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 0);
	a = peer_start(&self->pool, self->size, PROT_READ);
	EXPECT_EQ(peer_result(&a), 0);
	EXPECT_EQ(peer_do(&a, '0'), 0);
	peer_end(&a);
}

/* An open node without a mapping is no user; with one that has gone it is. */
TEST_F(shared, open_node)
{
	int node = pool_open(&self->pool), other = pool_open(&self->pool);
	void *p;

	ASSERT_LE(0, node);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 0);
	p = map_shared(node, self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	munmap(p, self->page);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	p = map_shared(other, self->size);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->page, PATTERN), -1);
	munmap(p, self->size);
	close(node);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	close(other);
}

/* It is as long as the pool, whatever the first one maps; a VMM's file backend asks */
TEST_F(shared, size)
{
	int node = pool_open(&self->pool), other;
	void *p, *q;

	ASSERT_LE(0, node);
	EXPECT_EQ(lseek(node, 0, SEEK_END), self->size);
	p = map_at(node, self->page, PROT_READ | PROT_WRITE, self->size - self->page);
	ASSERT_NE(NULL, p);
	fill(p, self->page, PATTERN);
	EXPECT_EQ(lseek(node, 0, SEEK_END), self->size);
	EXPECT_EQ(pool_attr(&self->pool, "free_bytes"), 0);
	other = pool_open(&self->pool);
	q = map_shared(other, self->size);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(check(q + self->size - self->page, self->page, PATTERN), -1);
	EXPECT_EQ(map_shared(other, self->size + self->page), NULL);
	EXPECT_EQ(errno, EINVAL);
	close(other);
	other = pool_open(&self->pool);
	EXPECT_EQ(map_shared(other, self->size + self->page), NULL);
	EXPECT_EQ(errno, ENOMEM);
	munmap(q, self->size);
	munmap(p, self->page);
	close(other);
	close(node);
}

/* As a dma-buf it is the same memory; and a way to write only for who may write */
TEST_F(shared, dmabuf)
{
	int node = pool_open(&self->pool), reader, buf, again;
	void *p, *q;

	ASSERT_LE(0, node);
	buf = heap_alloc(node, self->page);
	ASSERT_LE(0, buf);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), self->size);
	again = heap_alloc(node, self->size);
	ASSERT_LE(0, again);
	p = map_shared(buf, self->size);
	q = map_shared(node, self->size);
	ASSERT_TRUE(p && q);
	fill(p, self->size, PATTERN);
	EXPECT_EQ(check(q, self->size, PATTERN), -1);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(heap_alloc(node, 0), -EINVAL);
	EXPECT_EQ(heap_alloc(node, self->size + 1), -ENOMEM);
	EXPECT_EQ(heap_alloc_flags(node, self->page, O_RDONLY, 0), -EINVAL);

	reader = open(self->pool.path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, reader);
	EXPECT_EQ(heap_alloc(reader, self->page), -EBADF);
	EXPECT_EQ(map_shared(reader, self->page), NULL);
	EXPECT_EQ(errno, EACCES);
	munmap(q, self->size);
	q = map_at(reader, self->size, PROT_READ, 0);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(check(q, self->size, PATTERN), -1);
	EXPECT_EQ(mprotect(q, self->page, PROT_READ | PROT_WRITE), -1);
	EXPECT_EQ(errno, EACCES);

	/* The descriptor alone keeps it */
	munmap(p, self->size);
	munmap(q, self->size);
	close(reader);
	close(node);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	node = pool_open(&self->pool);
	p = map_shared(node, self->size);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, self->size, PATTERN), -1);
	munmap(p, self->size);
	close(node);
	close(again);
}

/*
 * Whoever looks at a descriptor in /proc holds the buffer's dentry longer than its file:
 * that must not be found as the shared buffer.
 */
static bool stop;

static void *look(void *arg)
{
	char path[64], target[64];
	int fd;

	while (!READ_ONCE(stop))
		for (fd = 3; fd < 64; fd++) {
			snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
			if (readlink(path, target, sizeof(target)) < 0)
				continue;
		}
	return NULL;
}

/* Comes and goes; what it maps is the buffer of whoever has it, or an empty one */
static void *come_and_go(void *arg)
{
	const struct pool *pool = arg;
	unsigned long rounds = 0;
	__u64 *p;
	int fd;

	while (!READ_ONCE(stop)) {
		fd = pool_open(pool);
		if (fd < 0)
			return (void *)-1L;
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return (void *)-2L;
		if (READ_ONCE(*p) && READ_ONCE(*p) != PATTERN)
			return (void *)-3L;
		WRITE_ONCE(*p, PATTERN);
		if (READ_ONCE(*p) != PATTERN)
			return (void *)-4L;
		if (rounds & 1)
			close(fd);
		munmap(p, 4096);
		if (!(rounds & 1))
			close(fd);
		rounds++;
	}
	return (void *)rounds;
}

TEST_F(shared, come_and_go)
{
	pthread_t threads[THREADS], looker;
	unsigned long rounds = 0;
	void *ret;
	int i;

	ASSERT_EQ(pthread_create(&looker, NULL, look, NULL), 0);
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, come_and_go, &self->pool), 0);
	sleep(SECONDS);
	WRITE_ONCE(stop, true);
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &ret);
		EXPECT_LT(0, (long)ret);
		rounds += (long)ret;
	}
	pthread_join(looker, NULL);
	TH_LOG("%lu times", rounds);
}

/*
 * A descriptor with O_PATH keeps the buffer when its file has gone, and when that file's
 * memory has become something else: nobody may look for the file any more.
 */
TEST_F(shared, path_only)
{
	int node = pool_open(&self->pool), buf, path, again;
	char name[64];
	__u64 *p;

	ASSERT_LE(0, node);
	buf = heap_alloc(node, self->page);
	ASSERT_LE(0, buf);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", buf);
	path = open(name, O_PATH | O_CLOEXEC);
	ASSERT_LE(0, path);
	close(buf);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);

	again = heap_alloc(node, self->page);
	ASSERT_LE(0, again);
	p = map_shared(again, self->page);
	ASSERT_NE(NULL, p);
	WRITE_ONCE(*p, PATTERN);
	close(path);
	EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
	EXPECT_EQ(READ_ONCE(*p), PATTERN);
	munmap(p, self->page);
	close(again);
	close(node);
}

/* Killed all at once */
TEST_F(shared, killed)
{
	struct peer a = peer_start(&self->pool, self->size, PROT_READ | PROT_WRITE);
	struct peer b = peer_start(&self->pool, self->size, PROT_READ | PROT_WRITE);

	EXPECT_EQ(peer_result(&a), 0);
	EXPECT_EQ(peer_result(&b), 0);
	EXPECT_EQ(peer_do(&a, 'a'), 0);
	EXPECT_EQ(peer_do(&b, 'A'), 0);
	kill(a.pid, SIGKILL);
	kill(b.pid, SIGKILL);
	/* Whoever comes meanwhile gets theirs, or an empty one */
	peer_end(&a);
	peer_end(&b);
	a = peer_start(&self->pool, self->size, PROT_READ);
	EXPECT_EQ(peer_result(&a), 0);
	EXPECT_EQ(peer_do(&a, '0'), 0);
	peer_end(&a);
}

TEST_HARNESS_MAIN

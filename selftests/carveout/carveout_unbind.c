// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_unbind - The pool's device is unbound under live buffers
 *
 * Processes get SIGBUS, a guest's access is refused, the node says -ENODEV, and
 * nothing is freed too early or twice: descriptors and mappings may be closed in
 * any order later. Bound again, the pool is whole and empty.
 *
 * MT_ROUNDS in the environment is how often it is unbound under those who map.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "carveout.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "s2_dump.h"

#define SIZE		SZ_4M
#define PATTERN		0x756e626f756e6421ULL

FIXTURE(unbind) {
	struct pool pool;
	struct binding binding;
	int heap;
};

FIXTURE_SETUP(unbind)
{
	MT_SKIP_TO_HARNESS();
	if (!pool_find(&self->pool))
		SKIP(return, "no pool: is carveout_heap loaded?");
	if (!binding_find(&self->pool, &self->binding))
		SKIP(return, "the pool is none of a device's");
	self->heap = pool_open(&self->pool);
	ASSERT_LE(0, self->heap);
	ASSERT_EQ(pool_attr(&self->pool, "buffers"), 0);
}

/* Whatever happened, the next test finds a whole and empty pool */
FIXTURE_TEARDOWN(unbind)
{
	struct pool again = {};
	int heap, buf;
	void *p;

	close(self->heap);
	if (access(self->pool.path, F_OK))
		EXPECT_TRUE(binding_bind(&self->binding));
	setenv("CARVEOUT_POOL", self->pool.name, 1);
	ASSERT_TRUE(pool_find(&again));
	EXPECT_EQ(again.total, self->pool.total);
	EXPECT_TRUE(pool_settle(&again));
	EXPECT_EQ(pool_attr(&again, "free_bytes"), again.total);
	EXPECT_EQ(pool_attr(&again, "buffers"), 0);
	heap = pool_open(&again);
	ASSERT_LE(0, heap);
	buf = heap_alloc(heap, again.total);
	ASSERT_LE(0, buf);
	p = map_shared(buf, again.total);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(check(p, again.total, 0), -1);
	munmap(p, again.total);
	close(buf);
	close(heap);
}

TEST_F(unbind, idle)
{
	ASSERT_TRUE(binding_write(&self->binding, "unbind"));
	EXPECT_NE(access(self->pool.path, F_OK), 0);
	EXPECT_EQ(pool_attr(&self->pool, "total_bytes"), -ENOENT);
	/* The node was open */
	EXPECT_EQ(heap_alloc(self->heap, SZ_4K), -ENODEV);
	EXPECT_EQ(map_shared(self->heap, SZ_4K), NULL);
	EXPECT_EQ(errno, ENODEV);
	/* and still is, but has nothing of the pool: that can be used again, at once */
	EXPECT_TRUE(binding_write(&self->binding, "bind"));
	EXPECT_EQ(access(self->pool.path, F_OK), 0);
	EXPECT_EQ(heap_alloc(self->heap, SZ_4K), -ENODEV);
}

/* Scrubbing is over when the device is unbound, if all buffers were gone by then */
TEST_F(unbind, scrubbing)
{
	int buf = heap_alloc(self->heap, self->pool.total);
	char *p;

	ASSERT_LE(0, buf);
	p = map_shared(buf, SZ_4K);
	ASSERT_NE(NULL, p);
	fill(p, SZ_4K, PATTERN);
	munmap(p, SZ_4K);
	close(buf);
	ASSERT_TRUE(binding_write(&self->binding, "unbind"));
	EXPECT_TRUE(binding_write(&self->binding, "bind"));
}

TEST_F(unbind, mapped)
{
	int buf = heap_alloc(self->heap, SIZE);
	char *p, *q, *node;

	ASSERT_LE(0, buf);
	p = map_shared(buf, SIZE);
	q = map_shared(buf, SIZE);
	node = map_shared(self->heap, SIZE);
	ASSERT_TRUE(p && q && node);
	fill(p, SIZE, PATTERN);
	fill(node, SIZE, PATTERN);

	ASSERT_TRUE(binding_write(&self->binding, "unbind"));
	EXPECT_EQ(signal_of_access(p, false), SIGBUS);
	EXPECT_EQ(signal_of_access(p + SIZE - SZ_4K, true), SIGBUS);
	EXPECT_EQ(signal_of_access(q + SZ_2M, true), SIGBUS);
	EXPECT_EQ(signal_of_access(node, false), SIGBUS);
	EXPECT_EQ(map_shared(buf, SIZE), NULL);
	EXPECT_EQ(errno, ENODEV);
	EXPECT_EQ(map_shared(self->heap, SIZE), NULL);
	EXPECT_EQ(heap_alloc(self->heap, SZ_4K), -ENODEV);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), SIZE);

	close(buf);
	munmap(q, SIZE);
	EXPECT_EQ(signal_of_access(p, false), SIGBUS);
	munmap(p, SIZE);
	close(self->heap);
	munmap(node, SIZE);
}

/* The old buffers are closed after the device is bound again, if it can be */
TEST_F(unbind, bound_again_before_close)
{
	int buf = heap_alloc(self->heap, SIZE), heap, other;
	char *p, *q;
	bool bound;

	ASSERT_LE(0, buf);
	p = map_shared(buf, SIZE);
	ASSERT_NE(NULL, p);
	fill(p, SIZE, PATTERN);
	ASSERT_TRUE(binding_write(&self->binding, "unbind"));
	bound = binding_write(&self->binding, "bind");
	EXPECT_EQ(signal_of_access(p, true), SIGBUS);
	if (bound) {
		heap = pool_open(&self->pool);
		ASSERT_LE(0, heap);
		other = heap_alloc(heap, self->pool.total);
		ASSERT_LE(0, other);
		q = map_shared(other, SIZE);
		ASSERT_NE(NULL, q);
		EXPECT_EQ(check(q, SIZE, 0), -1);
		fill(q, SIZE, ~PATTERN);
		munmap(p, SIZE);
		close(buf);
		close(self->heap);
		/* Freeing the old one did not touch the new one */
		EXPECT_EQ(check(q, SIZE, ~PATTERN), -1);
		EXPECT_EQ(pool_attr(&self->pool, "buffers"), 1);
		munmap(q, SIZE);
		close(other);
		close(heap);
	} else {
		munmap(p, SIZE);
		close(buf);
		close(self->heap);
	}
}

/*
 * Processes are in the middle of mmap(), which inserts entries where no huge ones fit, when
 * the device is unbound: none of these is left when that has returned.
 */
#define MAPPERS		3

/* Shared by the processes */
struct state {
	bool unbound;
	unsigned int mapped;
};

static int map_and_write(struct state *state, int heap, char *addr)
{
	int buf = heap_alloc(heap, SIZE);
	bool late;
	char *p;

	/* Whoever comes too late has nothing to see */
	if (buf < 0)
		return buf == -ENODEV ? 0 : 1;
	for (;;) {
		p = mmap(addr, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, buf, 0);
		if (p == MAP_FAILED)
			return errno == ENODEV ? 0 : 2;
		__atomic_fetch_add(&state->mapped, 1, __ATOMIC_SEQ_CST);
		late = READ_ONCE(state->unbound);
		switch (signal_of_access(p, true)) {
		case SIGBUS:
			return 0;
		case 0:
			if (late)
				return 3;
			break;
		default:
			return 4;
		}
	}
}

TEST_F_TIMEOUT(unbind, while_mapping, 6 * 3600)
{
	unsigned int round, rounds = max(mt_number("MT_ROUNDS", 40), 1U), late = 0;
	struct state *state = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* One page off, so that no huge entry fits */
	char *addr = (char *)0x7e00000000UL + MT_PAGE;
	pid_t pid[MAPPERS];
	int i, status;

	ASSERT_NE(MAP_FAILED, state);
	/* Each waits for the others */
	alarm(120 + rounds);
	for (round = 0; round < rounds; round++) {
		memset(state, 0, sizeof(*state));
		for (i = 0; i < MAPPERS; i++) {
			pid[i] = fork();
			if (!pid[i])
				_exit(map_and_write(state, self->heap, addr));
		}
		while (READ_ONCE(state->mapped) < 20 * MAPPERS)
			usleep(100);
		ASSERT_TRUE(binding_write(&self->binding, "unbind"));
		WRITE_ONCE(state->unbound, true);
		for (i = 0; i < MAPPERS; i++) {
			ASSERT_EQ(waitpid(pid[i], &status, 0), pid[i]);
			late += WEXITSTATUS(status) == 3;
			EXPECT_EQ(status, 0)
				TH_LOG("round %u: step %d", round, WEXITSTATUS(status));
		}
		ASSERT_TRUE(binding_bind(&self->binding));
		close(self->heap);
		self->heap = pool_open(&self->pool);
		ASSERT_LE(0, self->heap);
	}
	ksft_print_msg("unbound while mapping: %u rounds, %u late accesses\n", round, late);
	munmap(state, SZ_4K);
}

/* In each page, however large: the guest has no getpagesize() */
static void guest_writer(u64 gpa, u64 size)
{
	u64 off;

	for (;;)
		for (off = 0; off < size; off += SZ_4K)
			WRITE_ONCE(*(u64 *)(gpa + off), PATTERN);
}

static void *run_until_refused(void *arg)
{
	int ret;

	do {
		ret = __vcpu_run(arg);
	} while (ret && errno == EINTR);
	return (void *)(long)(ret ? errno : 0);
}

TEST_F(unbind, guest)
{
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	struct kvm_vm *vm;
	void *p, *ret;
	int buf;

	mt_require_pfnmap();
	buf = heap_alloc(self->heap, SIZE);
	ASSERT_LE(0, buf);
	p = map_shared(buf, SIZE);
	ASSERT_NE(NULL, p);
	vm = __vm_create(mt_shape(), 1, SIZE / MT_PAGE);
	vcpu = vm_vcpu_add(vm, 0, guest_writer);
	vcpu_args_set(vcpu, 2, MT_GPA, SIZE);
	kvm_arch_vm_finalize_vcpus(vm);
	virt_map(vm, MT_GPA, MT_GPA, SIZE / vm->page_size);
	ASSERT_EQ(mt_set_slot(vm, 0, MT_GPA, SIZE, p), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, run_until_refused, vcpu), 0);
	while (READ_ONCE(*(u64 *)(p + SIZE - SZ_4K)) != PATTERN)
		;
	ASSERT_TRUE(binding_write(&self->binding, "unbind"));
	pthread_join(thread, &ret);
	EXPECT_EQ((long)ret, EFAULT);
	if (s2_dump_exists(vm))
		EXPECT_EQ(s2_count(vm, MT_GPA, SIZE, 0), 0);
	kvm_vm_free(vm);
	munmap(p, SIZE);
	close(buf);
}

TEST_HARNESS_MAIN

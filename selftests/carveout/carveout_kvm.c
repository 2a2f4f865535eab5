// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_kvm - A guest in a buffer of the carve-out module
 *
 * Stage 2 must be Normal-NC and use blocks, where the pool has room for one, with
 * KVM_MEM_NONCACHEABLE and, because of the driver's grant, without it; on a kernel that does
 * not know the flag, too. Where the stage-2 page tables cannot be read, a kprobe on the
 * function that writes them says what it was told. And a buffer that was freed and handed
 * on is no longer the guest's, however busily that writes: MT_ROUNDS in the environment
 * is how often.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <linux/bitmap.h>
#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "carveout.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pool_require.h"
#include "s2_dump.h"

#define SIZE		SZ_4M
#define PATTERN		0x6e6f7420796f7572ULL
#define WRITERS		2

/* ---- what stage 2 is ---- */

#define TRACING		"/sys/kernel/tracing"
#define PROBE		"carveout/s2map"
#define PROBED		"kvm_pgtable_stage2_map addr=%x1:x64 size=%x2:x64 prot=%x4:x64"

/* Bits of enum kvm_pgtable_prot, the argument that the kprobe shows (6.12) */
#define PROT_X		BIT(0)
#define PROT_DEVICE	BIT(3)
#define PROT_NORMAL_NC	BIT(4)

static bool s2_probe_start(void)
{
	if (access(TRACING "/kprobe_events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	write_file(TRACING "/events/" PROBE "/enable", "0");
	append_file(TRACING "/kprobe_events", "-:" PROBE "\n");
	return append_file(TRACING "/kprobe_events", "p:" PROBE " " PROBED "\n") &&
	       write_file(TRACING "/trace", "\n") &&
	       write_file(TRACING "/events/" PROBE "/enable", "1");
}

static void s2_probe_stop(void)
{
	write_file(TRACING "/events/" PROBE "/enable", "0");
	append_file(TRACING "/kprobe_events", "-:" PROBE "\n");
}

/* Everything mapped in the slot was Normal-NC, not executable, of that size */
static void expect_nc_probed(u64 slot_size, u64 leaf_size, u64 count, const char *when)
{
	unsigned long addr, size, prot;
	char line[512], *args;
	u64 n = 0;
	FILE *f;

	f = fopen(TRACING "/trace", "r");
	TEST_ASSERT(f, "%s/trace: %s", TRACING, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		args = strstr(line, " addr=");
		if (!args || sscanf(args, " addr=%lx size=%lx prot=%lx", &addr, &size, &prot) != 3)
			continue;
		if (addr < MT_GPA || addr >= MT_GPA + slot_size)
			continue;
		n++;
		TEST_ASSERT(prot & PROT_NORMAL_NC && !(prot & (PROT_DEVICE | PROT_X)),
			    "%s: mapped %#lx with protection %#lx", when, addr, prot);
		TEST_ASSERT(size == leaf_size, "%s: mapped %#lx with %#lx bytes, expected %#lx",
			    when, addr, size, (unsigned long)leaf_size);
	}
	fclose(f);
	TEST_ASSERT(n == count, "%s: %lu mappings, expected %lu", when, (unsigned long)n,
		    (unsigned long)count);
}

static void expect_nc_dumped(struct kvm_vm *vm, u64 slot_size, u64 leaf_size, u64 count,
			     const char *when)
{
	u64 leaves = s2_count(vm, MT_GPA, slot_size, leaf_size);
	u64 all = s2_count(vm, MT_GPA, slot_size, 0);

	mt_expect_nc(vm, MT_GPA, slot_size, when);
	TEST_ASSERT(leaves == count && all == count,
		    "%s: %lu leaves, %lu of them of %#lx bytes, expected %lu of these", when,
		    (unsigned long)all, (unsigned long)leaves, (unsigned long)leaf_size,
		    (unsigned long)count);
}

/* ---- a pool, a VM, a buffer ---- */

struct env {
	struct pool pool;
	int heap;
	int buf;
	u64 size;
	u64 leaf;		/* what a leaf at stage 2 must have */
	void *hva;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	bool probed;		/* by kprobe, there is no dump */
};

static void require_kvm(u32 flags)
{
	mt_require_pfnmap();
	if (flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
}

/* Two blocks, or one where the pool has no room for two; where it has for none, pages */
static u64 blocks_size(const struct pool *pool)
{
	u64 blocks = min_t(u64, pool->total / MT_BLOCK, 2);

	return blocks ? blocks * MT_BLOCK : SIZE;
}

static void env_open(struct env *e, u32 flags)
{
	require_kvm(flags);
	pool_require(&e->pool, &e->heap);
	e->size = blocks_size(&e->pool);
}

/* With what fd is of, the node or a buffer of it, in a memslot */
static void env_map(struct env *e, int fd, u32 flags)
{
	e->leaf = e->size < MT_BLOCK ? MT_PAGE : MT_BLOCK;
	e->hva = map_shared(fd, e->size);
	TEST_ASSERT(e->hva, "mmap: %s", strerror(errno));
	e->vm = mt_vm_create(&e->vcpu, e->size);
	e->probed = !s2_dump_exists(e->vm);
	if (e->probed && !s2_probe_start())
		mt_skip("neither a stage-2 dump nor kprobes");
	MT_EXPECT_ERRNO(mt_set_slot(e->vm, flags, MT_GPA, e->size, e->hva), 0);
}

/* Of that size, or of blocks_size() if it is 0 */
static struct env env_create(u64 size, u32 flags)
{
	struct env e = {};

	env_open(&e, flags);
	e.size = size ?: e.size;
	e.buf = heap_alloc(e.heap, e.size);
	TEST_ASSERT(e.buf >= 0, "Buffer: %s", strerror(-e.buf));
	env_map(&e, e.buf, flags);
	return e;
}

static void env_free(struct env *e)
{
	kvm_vm_free(e->vm);
	munmap(e->hva, e->size);
	close(e->buf);
	if (e->probed)
		s2_probe_stop();
	TEST_ASSERT(!pool_attr(&e->pool, "buffers"), "A buffer is left");
	close(e->heap);
}

static void expect_nc(struct env *e, u64 count, const char *when)
{
	if (e->probed)
		expect_nc_probed(e->size, e->leaf, count, when);
	else
		expect_nc_dumped(e->vm, e->size, e->leaf, count, when);
}

/* A word in every page; then the whole slot is mapped, by leaves of the expected size */
static void fill_slot(struct env *e, const char *when)
{
	mt_access_ok(e->vcpu, MT_FILL, MT_GPA, e->size / MT_PAGE);
	expect_nc(e, e->size / e->leaf, when);
}

/* What only Normal memory allows, and that both see the same */
static void check_accesses(struct env *e)
{
	u64 *word = e->hva;

	mt_access_ok(e->vcpu, MT_STR, MT_GPA + 1, 0x1122334455667788);
	TEST_ASSERT_EQ(READ_ONCE(word[0]), 0x2233445566778800);
	mt_access_ok(e->vcpu, MT_LDP, MT_GPA + 4, 0);
	WRITE_ONCE(word[3], 42);
	TEST_ASSERT_EQ(mt_access_ok(e->vcpu, MT_LDR, MT_GPA + 24, 0), 42);
}

static void test_blocks(u32 flags)
{
	struct env e = env_create(0, flags);
	u64 page = 2 * e.size / MT_PAGE / 3;

	fill_slot(&e, "filled");
	check_accesses(&e);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(e.hva + page * MT_PAGE)), page);
	env_free(&e);
}

MT_TEST(blocks)
{
	test_blocks(0);
}

MT_TEST(blocks_flag)
{
	test_blocks(KVM_MEM_NONCACHEABLE);
}

/* A first read must not leave a mapping that needs another fault for a write */
MT_TEST(blocks_read_first)
{
	struct env e = env_create(0, 0);

	mt_access_ok(e.vcpu, MT_LDR, MT_GPA, 0);
	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + e.size / 2, 0);
	fill_slot(&e, "read, then filled");
	env_free(&e);
}

static void test_pages(u32 flags)
{
	struct env e = env_create(16 * MT_PAGE, flags);

	fill_slot(&e, "filled");
	check_accesses(&e);
	env_free(&e);
}

MT_TEST(pages)
{
	test_pages(0);
}

MT_TEST(pages_flag)
{
	test_pages(KVM_MEM_NONCACHEABLE);
}

/* mmap() of the node instead of a dma-buf, as an unmodified VMM has it */
static void test_node(u32 flags)
{
	struct env e = {};

	env_open(&e, flags);
	env_map(&e, e.heap, flags);
	fill_slot(&e, "filled");
	check_accesses(&e);
	kvm_vm_free(e.vm);
	if (e.probed)
		s2_probe_stop();
}

MT_TEST(node)
{
	test_node(0);
}

MT_TEST(node_flag)
{
	test_node(KVM_MEM_NONCACHEABLE);
}

/* A kernel without the flag says so, and maps nothing */
MT_TEST(flag_unknown)
{
	struct kvm_vcpu *vcpu;
	struct env e = {};

	if (kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		mt_skip("this kernel knows the flag");
	require_kvm(0);
	pool_require(&e.pool, &e.heap);
	e.hva = map_shared(e.heap, SIZE);
	TEST_ASSERT(e.hva, "mmap of %s: %s", e.pool.path, strerror(errno));
	e.vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, e.hva), EINVAL);
	kvm_vm_free(e.vm);
}

/* ---- dirty logging ---- */

#define NR_WRITTEN	7

/* Of that many pages: at the ends of words of the bitmap and of blocks, and others */
static void choose_written(unsigned int *written, unsigned int pages)
{
	const unsigned int chosen[NR_WRITTEN] = {
		0, 5, 6, pages / 2 - 1, pages / 2, 2 * pages / 3, pages - 1,
	};

	memcpy(written, chosen, sizeof(chosen));
}

/* The first nr of these are in the log, and no others */
static void expect_dirty(struct env *e, const unsigned int *written, unsigned int nr,
			 const char *when)
{
	unsigned int page, i, want, pages = e->size / MT_PAGE;
	unsigned long *bitmap = bitmap_zalloc(pages);

	kvm_vm_get_dirty_log(e->vm, MT_SLOT, bitmap);
	for (page = 0; page < pages; page++) {
		want = 0;
		for (i = 0; i < nr; i++)
			want |= written[i] == page;
		TEST_ASSERT(test_bit(page, bitmap) == want, "%s: page %u is %sdirty", when, page,
			    want ? "not " : "");
	}
	free(bitmap);
}

MT_TEST(dirty_log)
{
	struct env e = env_create(0, KVM_MEM_NONCACHEABLE);
	unsigned int written[NR_WRITTEN];
	int i, round;

	choose_written(written, e.size / MT_PAGE);
	mt_access_ok(e.vcpu, MT_FILL, MT_GPA, e.size / MT_PAGE);
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES,
				    MT_GPA, e.size, e.hva), 0);
	expect_dirty(&e, written, 0, "nothing written");
	for (round = 0; round < 2; round++) {
		for (i = 0; i < NR_WRITTEN; i++)
			mt_access_ok(e.vcpu, MT_STR, MT_GPA + written[i] * MT_PAGE, i);
		expect_dirty(&e, written, NR_WRITTEN, "written");
		expect_dirty(&e, written, 0, "log read twice");
	}
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_NONCACHEABLE, MT_GPA, e.size, e.hva), 0);
	fill_slot(&e, "logging off");
	env_free(&e);
}

/* Without the flag no kernel logs writes to memory without struct pages */
MT_TEST(dirty_log_needs_flag)
{
	struct env e = env_create(SIZE, 0);

	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_LOG_DIRTY_PAGES, MT_GPA, SIZE, e.hva), EINVAL);
	env_free(&e);
}

/* ---- two VMs ---- */

static void test_two_vms(u32 flags)
{
	struct env e = env_create(0, flags);
	u64 half = e.size / 2;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;

	/* The other maps the same buffer for itself */
	hva = map_shared(e.buf, e.size);
	TEST_ASSERT(hva, "mmap: %s", strerror(errno));
	vm = mt_vm_create(&vcpu, e.size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, flags, MT_GPA, e.size, hva), 0);

	mt_access_ok(e.vcpu, MT_STR, MT_GPA + half, PATTERN);
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA + half, 0), PATTERN);
	mt_access_ok(vcpu, MT_STR, MT_GPA + half + 1, ~0UL);
	TEST_ASSERT_EQ(mt_access_ok(e.vcpu, MT_LDR, MT_GPA + half + 1, 0), ~0UL);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + half)),
		       READ_ONCE(*(u64 *)(e.hva + half)));
	expect_nc(&e, e.probed ? 2 : 1, "shared");
	if (!e.probed)
		expect_nc_dumped(vm, e.size, e.leaf, 1, "shared, the other VM");

	/* One goes; the other's mapping stays */
	kvm_vm_free(vm);
	munmap(hva, e.size);
	mt_access_ok(e.vcpu, MT_STR, MT_GPA + half, 1);
	env_free(&e);
}

MT_TEST(two_vms)
{
	test_two_vms(0);
}

MT_TEST(two_vms_flag)
{
	test_two_vms(KVM_MEM_NONCACHEABLE);
}

/* ---- buffers that go while guests write ---- */

/* In each page, however large: the guest has no getpagesize() */
static void guest_writer(u64 gpa, u64 size)
{
	u64 off;

	for (;;)
		for (off = 0; off < size; off += SZ_4K)
			WRITE_ONCE(*(u64 *)(gpa + off), PATTERN);
}

static unsigned int mappings;	/* that there have been so far */
static bool writers_stop;

static void *writer_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	unsigned int before;

	while (!READ_ONCE(writers_stop)) {
		before = READ_ONCE(mappings);
		if (!__vcpu_run(vcpu) || errno == EINTR)
			continue;
		TEST_ASSERT(errno == EFAULT, "KVM_RUN: %s", strerror(errno));
		/* The mapping has gone. KVM logs each of these: await the next one. */
		while (READ_ONCE(mappings) == before && !READ_ONCE(writers_stop))
			usleep(200);
	}
	return NULL;
}

static struct kvm_vm *writers_create(struct kvm_vcpu **vcpus)
{
	struct kvm_vm *vm = __vm_create(mt_shape(), WRITERS, SIZE / MT_PAGE);
	int i;

	for (i = 0; i < WRITERS; i++) {
		vcpus[i] = vm_vcpu_add(vm, i, guest_writer);
		vcpu_args_set(vcpus[i], 2, MT_GPA, SIZE);
	}
	kvm_arch_vm_finalize_vcpus(vm);
	virt_map(vm, MT_GPA, MT_GPA, SIZE / vm->page_size);
	return vm;
}

/*
 * Another process takes the buffer as soon as there is one to be had, and must
 * find nothing there, then or later, but what it writes itself.
 */
static int next_owner(int heap, int go, int done)
{
	void *p;
	char c;
	int i, buf;

	while (read(go, &c, 1) == 1) {
		do {
			buf = heap_alloc(heap, SIZE);
		} while (buf == -ENOMEM);
		if (buf < 0)
			return 1;
		p = map_shared(buf, SIZE);
		if (!p)
			return 2;
		for (i = 0; i < 2; i++)
			if (check(p, SIZE, 0) != -1)
				return 3;
		fill(p, SIZE, ~PATTERN);
		if (check(p, SIZE, ~PATTERN) != -1)
			return 4;
		munmap(p, SIZE);
		close(buf);
		if (write(done, "", 1) != 1)
			return 5;
	}
	return 0;
}

static void test_freed(u32 flags)
{
	unsigned int round, rounds = max(mt_number("MT_ROUNDS", 50), 1U);
	int go[2], done[2], filler, buf, i, status, ret;
	struct kvm_vcpu *vcpus[WRITERS];
	pthread_t threads[WRITERS];
	struct kvm_vm *vm;
	struct pool pool;
	void *hva, *p;
	pid_t owner;
	int heap;
	char c;

	require_kvm(flags);
	pool_require(&pool, &heap);
	/* Each waits for a vCPU */
	alarm(120 + rounds);
	TEST_ASSERT(!pipe(go) && !pipe(done), "pipe: %s", strerror(errno));

	/* The pool has room for one buffer of this size, so it is the same one */
	filler = heap_alloc(heap, pool.total - SIZE);
	TEST_ASSERT(filler >= 0, "Buffer: %s", strerror(-filler));

	owner = fork();
	if (!owner) {
		close(go[1]);
		close(filler);
		_exit(next_owner(heap, go[0], done[1]));
	}
	close(done[1]);

	buf = heap_alloc(heap, SIZE);
	TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
	hva = map_shared(buf, SIZE);
	TEST_ASSERT(hva, "mmap: %s", strerror(errno));
	vm = writers_create(vcpus);
	MT_EXPECT_ERRNO(mt_set_slot(vm, flags, MT_GPA, SIZE, hva), 0);
	for (i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, writer_thread, vcpus[i]);

	for (round = 0; round < rounds; round++) {
		/* Writing away, at the far end as well */
		while (READ_ONCE(*(u64 *)(hva + SIZE - SZ_4K)) != PATTERN)
			;
		TEST_ASSERT(write(go[1], "", 1) == 1, "write: %s", strerror(errno));
		if (round & 1) {
			close(buf);
			munmap(hva, SIZE);
		} else {
			munmap(hva, SIZE);
			close(buf);
		}
		if (read(done[0], &c, 1) != 1)
			break;
		buf = heap_alloc(heap, SIZE);
		TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
		p = mmap(hva, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, buf, 0);
		TEST_ASSERT(p == hva, "mmap: %s", strerror(errno));
		WRITE_ONCE(mappings, mappings + 1);
	}

	/* Without a mapping the writers come back with EFAULT, and see the flag */
	WRITE_ONCE(writers_stop, true);
	munmap(hva, SIZE);
	for (i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	close(go[1]);
	TEST_ASSERT(waitpid(owner, &status, 0) == owner, "waitpid: %s", strerror(errno));
	ret = WEXITSTATUS(status);
	ksft_print_msg("freed under writers: %u rounds, %d late writes\n", round,
		       ret == 3 || ret == 4);
	TEST_ASSERT(!status, "Round %u: the next owner ended with status %#x (%s)", round, status,
		    ret == 3 ? "it found what a guest wrote" :
		    ret == 4 ? "what it wrote was overwritten" : "error");
	kvm_vm_free(vm);
}

FIXTURE(freed) {
};

FIXTURE_SETUP(freed)
{
	MT_SKIP_TO_HARNESS();
}

FIXTURE_TEARDOWN(freed)
{
}

/* As many rounds as somebody asks for */
TEST_F_TIMEOUT(freed, under_writers, 6 * 3600)
{
	test_freed(0);
}

TEST_F_TIMEOUT(freed, under_writers_flag, 6 * 3600)
{
	test_freed(KVM_MEM_NONCACHEABLE);
}

/* A VMM that is killed while its guest writes leaves nothing of either */
MT_TEST(killed_vmm)
{
	struct kvm_vcpu *vcpus[WRITERS];
	int heap, buf, ready[2], i, status;
	pthread_t threads[WRITERS];
	struct kvm_vm *vm;
	struct pool pool;
	void *p;
	pid_t pid;
	char c;

	require_kvm(0);
	pool_require(&pool, &heap);
	TEST_ASSERT(!pipe(ready), "pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		buf = heap_alloc(heap, SIZE);
		TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
		p = map_shared(buf, SIZE);
		vm = writers_create(vcpus);
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, p), 0);
		for (i = 0; i < WRITERS; i++)
			pthread_create(&threads[i], NULL, writer_thread, vcpus[i]);
		while (READ_ONCE(*(u64 *)(p + SIZE - SZ_4K)) != PATTERN)
			;
		TEST_ASSERT(write(ready[1], "", 1) == 1, "write: %s", strerror(errno));
		pause();
		_exit(1);
	}
	close(ready[1]);
	TEST_ASSERT(read(ready[0], &c, 1) == 1, "The VMM did not start");
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "Status %#x", status);

	TEST_ASSERT(!pool_attr(&pool, "buffers"), "A buffer is left");
	buf = heap_alloc(heap, pool.total);
	TEST_ASSERT(buf >= 0, "The whole pool: %s", strerror(-buf));
	p = map_shared(buf, pool.total);
	TEST_ASSERT(p, "mmap: %s", strerror(errno));
	TEST_ASSERT(!count(p, pool.total, PATTERN), "What the guest wrote is still there");
	TEST_ASSERT(check(p, pool.total, 0) == -1, "Something is still there");
	munmap(p, pool.total);
	close(buf);
	close(heap);
}

TEST_HARNESS_MAIN

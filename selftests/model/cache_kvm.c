// SPDX-License-Identifier: GPL-2.0
/*
 * cache_kvm - A VMM sees what its guest has drawn, whatever becomes of the mapping
 *
 * A framebuffer in a KVM_MEM_NONCACHEABLE slot with the dirty log that a VMM keeps of
 * it: blocks are split, protected, and made blocks again. The guest maps it Write-Back,
 * so that a leaf that loses its memory type leaves what the guest has drawn in the
 * modelled cache. The VMM's mapping is Normal-NC and has to have all of it each time.
 *
 * Then RAM that a driver maps Normal-NC and the kernel has used before, and host
 * entries that mprotect() changes.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "cache.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "s2_dump.h"

#define SIZE		SZ_4M
#define NR_PAGES	(SIZE / SZ_4K)
#define ROUNDS		4

/* One block */
#define RAM_SIZE	SZ_2M
#define RAM_PAGES	(RAM_SIZE / SZ_4K)

struct env {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	u64 drawn;
};

static void set_logging(struct env *e, bool on)
{
	u32 flags = KVM_MEM_NONCACHEABLE | (on ? KVM_MEM_LOG_DIRTY_PAGES : 0);

	MT_EXPECT_ERRNO(mt_set_slot(e->vm, flags, MT_GPA, SIZE, e->hva), 0);
}

/* The guest counts in each page, and the VMM looks */
static void redraw(struct env *e, const char *when)
{
	u64 i, wrong = 0;

	mt_access_ok(e->vcpu, MT_COUNT, MT_GPA, NR_PAGES);
	e->drawn++;
	for (i = 0; i < NR_PAGES; i++)
		wrong += READ_ONCE(*(u64 *)(e->hva + i * SZ_4K)) != i + e->drawn;
	TEST_ASSERT(!wrong, "%s: %lu of %lu pages are not what the guest has drawn", when,
		    (unsigned long)wrong, (unsigned long)NR_PAGES);
}

static void test_dirty_log(u32 pte_flags, u64 eager_chunk)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC, .flags = pte_flags,
	};
	const struct mt_caps caps = { .eager_chunk = eager_chunk };
	struct cache_counters c;
	struct env e = { };
	unsigned long bitmap[NR_PAGES / BITS_PER_LONG];
	int fd, i;

	mt_require_noncacheable();
	e.vm = mt_vm_create_caps(&e.vcpu, 2 * SIZE, &caps);
	fd = mt_test_open(&config);
	e.hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	TEST_ASSERT(cache_evict(16) && cache_reset(), "no cache model");

	set_logging(&e, false);
	mt_access_ok(e.vcpu, MT_FILL, MT_GPA, NR_PAGES);
	redraw(&e, "not logging");
	set_logging(&e, true);
	for (i = 0; i < ROUNDS; i++) {
		redraw(&e, "logging");
		kvm_vm_get_dirty_log(e.vm, MT_SLOT, bitmap);
	}
	set_logging(&e, false);
	redraw(&e, "not logging any more");

	TEST_ASSERT(cache_counters(&c), "no counters");
	TEST_ASSERT(!c.lost_lines, "%lu lines lost", (unsigned long)c.lost_lines);
	kvm_vm_free(e.vm);
	munmap(e.hva, SIZE);
	close(fd);
}

MT_TEST(dirty_log_4k)
{
	test_dirty_log(0, 0);
}

MT_TEST(dirty_log_lazy_split)
{
	test_dirty_log(MEMTYPE_TEST_PMD, 0);
}

MT_TEST(dirty_log_eager_split)
{
	test_dirty_log(MEMTYPE_TEST_PMD, SZ_2M);
}

static u64 *first_word(void *p, u64 page)
{
	return p + page * SZ_4K;
}

static void expect_counted(void *nc, const char *when)
{
	u64 i, wrong = 0;

	for (i = 0; i < RAM_PAGES; i++)
		wrong += READ_ONCE(*first_word(nc, i)) != i + 3;
	TEST_ASSERT(!wrong, "%s: %lu of %lu pages are not what the guest has written", when,
		    (unsigned long)wrong, (unsigned long)RAM_PAGES);
}

/*
 * The kernel's last words for this RAM are in the cache when KVM maps it: the guest has
 * to find them, and must not have them written over its own. after_logging: one page was
 * mapped for reading while there was a dirty log, and a write makes it a block.
 */
static void test_ram(bool after_logging)
{
	const struct memtype_test_config config = {
		.offset = CACHE_RAM_BASE, .vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD | MEMTYPE_TEST_ANYWHERE,
	};
	u32 logging = after_logging ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	struct s2_range range;
	u64 i, sum = 0;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *wb, *nc;
	int fd, ram;

	TEST_ASSERT(!system(CACHE_RAM_LOAD), "no reserved_ram");
	ram = open(CACHE_RAM_NODE, O_RDWR);
	wb = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0);
	TEST_ASSERT(wb != MAP_FAILED, "no reserved RAM");
	vm = mt_vm_create(&vcpu, RAM_SIZE);
	fd = mt_test_open(&config);
	/* Not taken for a slot with a dirty log, but what is behind a slot can change */
	nc = mt_anon(RAM_SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, logging, MT_GPA, RAM_SIZE, nc), 0);
	TEST_ASSERT(mmap(nc, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) == nc, "MAP_FIXED");

	cache_clean_inval(wb, RAM_SIZE);
	for (i = 0; i < RAM_PAGES; i++)
		WRITE_ONCE(*first_word(nc, i), 1);
	TEST_ASSERT(cache_evict(0) && cache_reset(), "no cache model");
	for (i = 0; i < RAM_PAGES; i++) {
		WRITE_ONCE(*first_word(wb, i), i + 2);
		sum += i + 2;
	}

	if (after_logging) {
		TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA, 0), 2);
		TEST_ASSERT_EQ(s2_count(vm, MT_GPA, RAM_SIZE, 0), 1);
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, RAM_SIZE, nc), 0);
		mt_access_ok(vcpu, MT_STR, MT_GPA, 2);
		mt_expect_type(vm, MT_GPA, S2_NC, &range);
		TEST_ASSERT_EQ(range.leaf_size, RAM_SIZE);
	}
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_READ_ALL, MT_GPA, RAM_PAGES), sum);
	mt_expect_type(vm, MT_GPA, S2_NC, &range);
	TEST_ASSERT_EQ(range.leaf_size, RAM_SIZE);

	/* In memory by now, and for good */
	mt_access_ok(vcpu, MT_COUNT, MT_GPA, RAM_PAGES);
	expect_counted(nc, "at once");
	cache_clean_inval(wb, RAM_SIZE);
	expect_counted(nc, "later");

	kvm_vm_free(vm);
	munmap(nc, RAM_SIZE);
	munmap(wb, RAM_SIZE);
	close(fd);
	close(ram);
	TEST_ASSERT(!system(CACHE_RAM_UNLOAD), "reserved_ram stays");
}

MT_TEST(ram)
{
	test_ram(false);
}

MT_TEST(ram_after_logging)
{
	test_ram(true);
}

/*
 * Entries that are Normal-NC in a Write-Back VMA are still that when they become
 * writable again, and whoever has the memory Normal-NC, too, sees what is written.
 */
MT_TEST(writable_again)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC,
	};
	int fd = mt_test_open(&config);
	void *p = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	void *other = cache_map(MEMTYPE_TEST_NC, 0, SIZE, PROT_READ);
	u64 *wb;
	struct cache_counters c;
	size_t wrong;

	TEST_ASSERT(other, "no second mapping");
	cache_fill(p, SIZE, 1);
	TEST_ASSERT(!mprotect(p, SIZE, PROT_READ), "mprotect()");
	TEST_ASSERT(!mprotect(p, SIZE, PROT_READ | PROT_WRITE), "mprotect()");
	TEST_ASSERT(cache_evict(0) && cache_reset(), "no cache model");
	cache_fill(p, SIZE, 2);
	wrong = cache_wrong(other, SIZE, 2);
	TEST_ASSERT(cache_counters(&c), "no counters");
	TEST_ASSERT(!wrong && !c.fills,
		    "%zu of %lu words are not what was written, %llu lines are in the cache",
		    wrong, SIZE / 8UL, c.fills);
	/* There are lines */
	wb = cache_map(MEMTYPE_TEST_WB, 0, SZ_4K, PROT_READ);
	TEST_ASSERT(wb, "no third mapping");
	READ_ONCE(*wb);
	TEST_ASSERT(cache_counters(&c) && c.fills == 1, "%llu lines are filled", c.fills);
	/* And none for whoever counts what it fills next */
	cache_clean_inval(wb, CACHE_LINE);
	munmap(wb, SZ_4K);
	munmap(other, SIZE);
	munmap(p, SIZE);
	close(fd);
}

TEST_HARNESS_MAIN

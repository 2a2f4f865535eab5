// SPDX-License-Identifier: GPL-2.0
/*
 * cache_kvm - A VMM sees what its guest has drawn, whatever KVM does to the mapping
 *
 * A framebuffer in a KVM_MEM_NONCACHEABLE slot with the dirty log that a VMM keeps of
 * it: blocks are split, protected, and made blocks again. The guest maps it Write-Back,
 * so that a leaf that loses its memory type leaves what the guest has drawn in the
 * modelled cache. The VMM's mapping is Normal-NC and has to have all of it each time.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "cache.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"

#define SIZE		SZ_4M
#define NR_PAGES	(SIZE / SZ_4K)
#define ROUNDS		4

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

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * s2_invariants - Every leaf of a KVM_MEM_NONCACHEABLE slot stays Normal-NC
 *
 * Stage-2 leaves are rebuilt, split, collapsed, removed and faulted in again for
 * reasons that have nothing to do with their memory type. Whatever happens to a
 * flagged slot, each of its leaves must be Normal-NC and not executable, and as
 * large as the host's own mapping unless dirty logging asks for pages. The dirty
 * log must have exactly the pages that the guest wrote.
 */
#include <sys/mman.h>

#include <linux/bitmap.h>
#include <linux/kvm_memtype.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "dirty_ring.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define SIZE		(2 * MT_BLOCK)
#define NR_PAGES	(SIZE / MT_PAGE)
#define NR_BLOCKS	(SIZE / MT_BLOCK)
#define RING_ENTRIES	4096
#define NR_WRITTEN	7

static const struct memtype_test_config pages_config = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
};

static const struct memtype_test_config blocks_config = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_PMD,
};

struct env {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;
	u64 leaf_size;		/* of the host's mapping */
	/* Pages that make a difference: ends, neighbours, both blocks */
	unsigned int written[NR_WRITTEN];
};

static struct env env_create(const struct memtype_test_config *config,
			     const struct mt_caps *caps, u32 slot_flags)
{
	const unsigned int second = MT_BLOCK / MT_PAGE;
	struct env e = {
		.written = { 0, 5, 6, second - 1, second, second + 188, NR_PAGES - 1 },
	};

	mt_require_noncacheable();
	e.vm = mt_vm_create_caps(&e.vcpu, 2 * SIZE, caps);
	e.fd = mt_test_open(config);
	e.hva = mt_mmap(e.fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	e.leaf_size = config->flags & MEMTYPE_TEST_PMD ? MT_BLOCK : MT_PAGE;
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_NONCACHEABLE | slot_flags, MT_GPA,
				    SIZE, e.hva), 0);
	return e;
}

static void env_free(struct env *e)
{
	kvm_vm_free(e->vm);
	munmap(e->hva, SIZE);
	close(e->fd);
}

static void expect_nc(struct env *e, const char *when)
{
	mt_expect_nc(e->vm, MT_GPA, SIZE, when);
}

static void expect_leaves(struct env *e, u64 leaf_size, u64 count, const char *when)
{
	u64 got = s2_count(e->vm, MT_GPA, SIZE, leaf_size);

	TEST_ASSERT(got == count, "%s: %lu leaves of %#lx bytes, expected %lu", when,
		    (unsigned long)got, (unsigned long)leaf_size, (unsigned long)count);
}

/* No leaf may let the guest write without a fault */
static void expect_write_protected(struct env *e, const char *when)
{
	struct s2_range *ranges;
	size_t i, nr;

	nr = s2_dump(e->vm, MT_GPA, SIZE, &ranges);
	TEST_ASSERT(nr, "%s: nothing is mapped", when);
	for (i = 0; i < nr; i++)
		TEST_ASSERT(!ranges[i].writable, "%s: %#lx-%#lx is writable", when,
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end);
	free(ranges);
}

static void set_logging(struct env *e, bool on)
{
	u32 flags = KVM_MEM_NONCACHEABLE | (on ? KVM_MEM_LOG_DIRTY_PAGES : 0);

	MT_EXPECT_ERRNO(mt_set_slot(e->vm, flags, MT_GPA, SIZE, e->hva), 0);
}

static void fill(struct env *e)
{
	mt_access_ok(e->vcpu, MT_FILL, MT_GPA, NR_PAGES);
	expect_nc(e, "filled");
	expect_leaves(e, e->leaf_size, SIZE / e->leaf_size, "filled");
	expect_leaves(e, 0, SIZE / e->leaf_size, "filled");
}

static void write_pages(struct env *e)
{
	int i;

	for (i = 0; i < NR_WRITTEN; i++)
		mt_access_ok(e->vcpu, MT_STR, MT_GPA + e->written[i] * MT_PAGE, i);
}

static void expect_bitmap(const unsigned long *got, const unsigned int *pages, int nr,
			  const char *when)
{
	unsigned long *want = bitmap_zalloc(NR_PAGES);
	int i;

	for (i = 0; i < nr; i++)
		__set_bit(pages[i], want);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(test_bit(i, got) == test_bit(i, want),
			    "%s: page %d is %sdirty", when, i, test_bit(i, got) ? "" : "not ");
	free(want);
}

static void expect_dirty(struct env *e, const unsigned int *pages, int nr, const char *when)
{
	unsigned long *bitmap = bitmap_zalloc(NR_PAGES);

	kvm_vm_get_dirty_log(e->vm, MT_SLOT, bitmap);
	expect_bitmap(bitmap, pages, nr, when);
	free(bitmap);
}

/* Logging goes on over mapped memory; then every way in which it may be used */
static void test_logging(const struct memtype_test_config *config, u64 eager_chunk)
{
	const struct mt_caps caps = { .eager_chunk = eager_chunk };
	struct env e = env_create(config, &caps, 0);
	u64 leaf_size = eager_chunk ? MT_PAGE : e.leaf_size;
	unsigned int page = 9;

	fill(&e);
	set_logging(&e, true);
	expect_nc(&e, "logging on");
	expect_write_protected(&e, "logging on");
	expect_leaves(&e, leaf_size, SIZE / leaf_size, "logging on");
	expect_dirty(&e, NULL, 0, "nothing written");

	write_pages(&e);
	expect_nc(&e, "written");
	expect_dirty(&e, e.written, NR_WRITTEN, "written");
	expect_nc(&e, "log read");
	expect_write_protected(&e, "log read");
	expect_dirty(&e, NULL, 0, "log read twice");

	/* Reading is not writing, and does not open the page for writing */
	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + page * MT_PAGE, 0);
	expect_dirty(&e, NULL, 0, "read");
	mt_access_ok(e.vcpu, MT_STR, MT_GPA + page * MT_PAGE, 1);
	expect_dirty(&e, &page, 1, "written after being read");

	/* The same where neither is mapped */
	mt_zap(e.fd, 0, SIZE);
	expect_leaves(&e, 0, 0, "zapped");
	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + page * MT_PAGE, 0);
	expect_write_protected(&e, "read after the zap");
	expect_nc(&e, "read after the zap");
	expect_dirty(&e, NULL, 0, "read after the zap");
	mt_access_ok(e.vcpu, MT_STR, MT_GPA + page * MT_PAGE, 1);
	write_pages(&e);
	expect_nc(&e, "written after the zap");
	expect_leaves(&e, MT_PAGE, NR_WRITTEN + 1, "written after the zap");

	/* Logging goes off, and pages become blocks again as they are written */
	set_logging(&e, false);
	expect_nc(&e, "logging off");
	mt_access_ok(e.vcpu, MT_FILL, MT_GPA, NR_PAGES);
	expect_nc(&e, "collapsed");
	env_free(&e);
}

MT_TEST(logging_4k)
{
	test_logging(&pages_config, 0);
}

MT_TEST(logging_lazy_split_2m)
{
	test_logging(&blocks_config, 0);
}

MT_TEST(logging_eager_split_2m)
{
	test_logging(&blocks_config, MT_BLOCK);
}

MT_TEST(logging_eager_split_4k)
{
	test_logging(&pages_config, MT_BLOCK);
}

/* Permission faults on pages left by logging must give back whole blocks */
static void test_collapse(u64 eager_chunk)
{
	const struct mt_caps caps = { .eager_chunk = eager_chunk };
	struct env e = env_create(&blocks_config, &caps, 0);

	fill(&e);
	set_logging(&e, true);
	write_pages(&e);
	expect_dirty(&e, e.written, NR_WRITTEN, "written");
	set_logging(&e, false);
	expect_nc(&e, "logging off");
	write_pages(&e);
	expect_nc(&e, "collapsed");
	expect_leaves(&e, MT_BLOCK, NR_BLOCKS, "collapsed");
	expect_leaves(&e, 0, NR_BLOCKS, "collapsed");
	TEST_ASSERT_EQ(mt_access_ok(e.vcpu, MT_LDR, MT_GPA + 20 * MT_PAGE, 0), 20);
	env_free(&e);
}

MT_TEST(collapse_after_lazy_split)
{
	test_collapse(0);
}

MT_TEST(collapse_after_eager_split)
{
	test_collapse(MT_BLOCK);
}

/* A slot that logs from the start; no block may be installed */
static void test_logging_first(const struct memtype_test_config *config)
{
	struct env e = env_create(config, NULL, KVM_MEM_LOG_DIRTY_PAGES);
	unsigned int page = 3;

	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + page * MT_PAGE, 0);
	expect_write_protected(&e, "read");
	expect_nc(&e, "read");
	expect_leaves(&e, MT_BLOCK, 0, "read");
	expect_dirty(&e, NULL, 0, "read");
	mt_access_ok(e.vcpu, MT_STR, MT_GPA + page * MT_PAGE, 1);
	expect_dirty(&e, &page, 1, "written");
	write_pages(&e);
	expect_dirty(&e, e.written, NR_WRITTEN, "more written");
	expect_nc(&e, "more written");
	expect_leaves(&e, MT_BLOCK, 0, "more written");
	env_free(&e);
}

MT_TEST(logging_first_4k)
{
	test_logging_first(&pages_config);
}

MT_TEST(logging_first_2m)
{
	test_logging_first(&blocks_config);
}

/* Everything counts as dirty first, and is protected by CLEAR_DIRTY_LOG only */
static void test_initially_set(const struct memtype_test_config *config, u64 eager_chunk)
{
	const struct mt_caps caps = {
		.manual_protect = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
				  KVM_DIRTY_LOG_INITIALLY_SET,
		.eager_chunk = eager_chunk,
	};
	struct env e = env_create(config, &caps, 0);
	unsigned long *bitmap = bitmap_zalloc(NR_PAGES);
	int i;

	fill(&e);
	set_logging(&e, true);
	expect_nc(&e, "logging on");
	expect_leaves(&e, e.leaf_size, SIZE / e.leaf_size, "logging on");
	kvm_vm_get_dirty_log(e.vm, MT_SLOT, bitmap);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(test_bit(i, bitmap), "Page %d is not dirty initially", i);

	/* In two steps, and not along the boundary of a block */
	kvm_vm_clear_dirty_log(e.vm, MT_SLOT, bitmap, 0, 256);
	expect_nc(&e, "first part cleared");
	kvm_vm_clear_dirty_log(e.vm, MT_SLOT, bitmap + 256 / BITS_PER_LONG, 256,
			       NR_PAGES - 256);
	expect_nc(&e, "cleared");
	expect_write_protected(&e, "cleared");
	if (eager_chunk)
		expect_leaves(&e, MT_PAGE, NR_PAGES, "cleared");
	expect_dirty(&e, NULL, 0, "cleared");

	write_pages(&e);
	expect_nc(&e, "written");
	expect_dirty(&e, e.written, NR_WRITTEN, "written");
	/* With manual protection reading the log does not reset it */
	expect_dirty(&e, e.written, NR_WRITTEN, "log read twice");
	kvm_vm_get_dirty_log(e.vm, MT_SLOT, bitmap);
	kvm_vm_clear_dirty_log(e.vm, MT_SLOT, bitmap, 0, NR_PAGES);
	expect_dirty(&e, NULL, 0, "cleared again");
	expect_nc(&e, "cleared again");
	free(bitmap);
	env_free(&e);
}

MT_TEST(initially_set_4k)
{
	test_initially_set(&pages_config, 0);
}

MT_TEST(initially_set_lazy_split_2m)
{
	test_initially_set(&blocks_config, 0);
}

MT_TEST(initially_set_eager_split_2m)
{
	test_initially_set(&blocks_config, MT_BLOCK);
}

static void ring_collect(struct env *e, unsigned long *bitmap)
{
	struct kvm_dirty_gfn page;
	u32 count;

	bitmap_zero(bitmap, NR_PAGES);
	for (count = 0; mt_ring_next(e->vcpu, &page); count++) {
		TEST_ASSERT_EQ(page.slot, MT_SLOT);
		TEST_ASSERT(page.offset < NR_PAGES, "Ring has page %#lx",
			    (unsigned long)page.offset);
		__set_bit(page.offset, bitmap);
	}
	TEST_ASSERT_EQ(kvm_vm_reset_dirty_ring(e->vm), count);
}

/* A ring without a bitmap leaves the slot's dirty_bitmap empty */
static void test_ring(const struct memtype_test_config *config, bool with_bitmap)
{
	const struct mt_caps caps = {
		.ring_entries = RING_ENTRIES, .ring_bitmap = with_bitmap,
	};
	unsigned long *bitmap = bitmap_zalloc(NR_PAGES);
	unsigned int page = 9;
	struct env e;

	if (!kvm_has_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
		mt_skip("no dirty ring");

	e = env_create(config, &caps, 0);
	fill(&e);
	set_logging(&e, true);
	expect_nc(&e, "logging on");
	expect_write_protected(&e, "logging on");
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, NULL, 0, "nothing written");

	write_pages(&e);
	expect_nc(&e, "written");
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, e.written, NR_WRITTEN, "written");
	expect_nc(&e, "ring reset");
	expect_write_protected(&e, "ring reset");

	mt_zap(e.fd, 0, SIZE);
	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + page * MT_PAGE, 0);
	expect_write_protected(&e, "read after the zap");
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, NULL, 0, "read after the zap");
	mt_access_ok(e.vcpu, MT_STR, MT_GPA + page * MT_PAGE, 1);
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, &page, 1, "written after the zap");
	write_pages(&e);
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, e.written, NR_WRITTEN, "more written");
	expect_nc(&e, "more written");

	/* Write-protected by the reset: the same again */
	write_pages(&e);
	ring_collect(&e, bitmap);
	expect_bitmap(bitmap, e.written, NR_WRITTEN, "written again");

	if (with_bitmap)
		expect_dirty(&e, NULL, 0, "bitmap beside the ring");
	set_logging(&e, false);
	write_pages(&e);
	expect_nc(&e, "logging off");
	expect_leaves(&e, e.leaf_size, e.leaf_size == MT_BLOCK ? NR_BLOCKS :
		      NR_WRITTEN + 1, "logging off");
	free(bitmap);
	env_free(&e);
}

MT_TEST(ring_4k)
{
	test_ring(&pages_config, false);
}

MT_TEST(ring_2m)
{
	test_ring(&blocks_config, false);
}

MT_TEST(ring_with_bitmap_4k)
{
	test_ring(&pages_config, true);
}

MT_TEST(ring_with_bitmap_2m)
{
	test_ring(&blocks_config, true);
}

/* The driver takes its entries away; the guest faults them in again */
static void test_notifier(const struct memtype_test_config *config)
{
	struct env e = env_create(config, NULL, 0);
	u64 left = SIZE - MT_BLOCK;

	fill(&e);
	mt_zap(e.fd, 0, MT_BLOCK);
	TEST_ASSERT_EQ(s2_count(e.vm, MT_GPA, MT_BLOCK, 0), 0);
	expect_leaves(&e, e.leaf_size, left / e.leaf_size, "first block zapped");
	expect_nc(&e, "first block zapped");
	TEST_ASSERT_EQ(mt_access_ok(e.vcpu, MT_LDR, MT_GPA + 20 * MT_PAGE, 0), 20);
	expect_nc(&e, "read again");
	mt_access_ok(e.vcpu, MT_LDR, MT_GPA + 1, 0);
	fill(&e);

	mt_zap(e.fd, 0, SIZE);
	expect_leaves(&e, 0, 0, "all zapped");
	fill(&e);
	env_free(&e);
}

MT_TEST(notifier_4k)
{
	test_notifier(&pages_config);
}

MT_TEST(notifier_2m)
{
	test_notifier(&blocks_config);
}

static void test_move_and_delete(const struct memtype_test_config *config)
{
	struct env e = env_create(config, NULL, 0);
	struct mt_result r;

	fill(&e);
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, KVM_MEM_NONCACHEABLE, MT_GPA + SIZE, SIZE,
				    e.hva), 0);
	expect_leaves(&e, 0, 0, "moved away");
	TEST_ASSERT_EQ(s2_count(e.vm, MT_GPA + SIZE, SIZE, 0), 0);
	mt_access_ok(e.vcpu, MT_FILL, MT_GPA + SIZE, NR_PAGES);
	mt_expect_nc(e.vm, MT_GPA + SIZE, SIZE, "moved");
	TEST_ASSERT_EQ(s2_count(e.vm, MT_GPA + SIZE, SIZE, e.leaf_size),
		       SIZE / e.leaf_size);
	r = mt_access(e.vcpu, MT_LDR, MT_GPA, 0);
	TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MMIO);

	MT_EXPECT_ERRNO(mt_set_slot(e.vm, 0, MT_GPA + SIZE, 0, e.hva), 0);
	TEST_ASSERT_EQ(s2_count(e.vm, MT_GPA + SIZE, SIZE, 0), 0);
	r = mt_access(e.vcpu, MT_LDR, MT_GPA + SIZE, 0);
	TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MMIO);

	/* And nothing is left of it when another slot takes its place */
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), 0);
	mt_access_ok(e.vcpu, MT_FILL, MT_GPA, NR_PAGES);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(e.hva + 8 * MT_PAGE)), 8);
	env_free(&e);
}

MT_TEST(move_and_delete_4k)
{
	test_move_and_delete(&pages_config);
}

MT_TEST(move_and_delete_2m)
{
	test_move_and_delete(&blocks_config);
}

/* Instructions are not fetched from non-cacheable memory */
static void test_exec(const struct memtype_test_config *config, u32 slot_flags)
{
	struct env e = env_create(config, NULL, slot_flags);
	struct mt_result r;
	int i;

	for (i = 0; i < 3; i++) {
		/* First not mapped, then mapped by a read, then by a write */
		if (i == 1)
			mt_access_ok(e.vcpu, MT_LDR, MT_GPA, 0);
		else if (i == 2)
			mt_access_ok(e.vcpu, MT_STR, MT_GPA, 0);
		r = mt_access(e.vcpu, MT_EXEC, MT_GPA, 0);
		TEST_ASSERT(mt_external_abort(&r), "Exec %d: %s", i, mt_outcome(&r));
		if (i)
			expect_nc(&e, "exec");
		else
			expect_leaves(&e, 0, 0, "exec of what was never mapped");
	}
	mt_access_ok(e.vcpu, MT_STR, MT_GPA, 1);
	TEST_ASSERT_EQ(mt_access_ok(e.vcpu, MT_LDR, MT_GPA, 0), 1);
	env_free(&e);
}

MT_TEST(exec_4k)
{
	test_exec(&pages_config, 0);
}

MT_TEST(exec_2m)
{
	test_exec(&blocks_config, 0);
}

MT_TEST(exec_logging_2m)
{
	test_exec(&blocks_config, KVM_MEM_LOG_DIRTY_PAGES);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN

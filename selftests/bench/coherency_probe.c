// SPDX-License-Identifier: GPL-2.0
/*
 * coherency_probe - Which cache lines a guest and its VMM miss of each other's
 *
 * The VMM writes a block and the guest writes over all of it, and the VMM reads; then the
 * same with the guest first and the VMM last. All that the last one wrote should be there.
 * Each is tried at once, and with the caches filled with something else in between, so
 * that dirty lines are written back.
 *
 * - Both Write-Back, or both Normal-NC: everything is there. So it is in a slot with
 *   KVM_MEM_NONCACHEABLE whose guest maps it Write-Back: with Normal-NC at stage 2 the
 *   guest's accesses are no more than that (Arm ARM, "Combining stage 1 and stage 2 memory
 *   type attributes"; the same with HCR_EL2.FWB).
 * - Ordinary memory, Write-Back in the VMM, that the guest maps Normal-NC, as it does a
 *   framebuffer: with FEAT_S2FWB, KVM makes the guest's accesses Write-Back, and everything
 *   is there. Without it the two are mismatched (Arm ARM, "Mismatched memory attributes"),
 *   and nothing need be. This is the corruption; it is counted and no failure.
 * - The same with cache maintenance to the point of coherency, by the VMM after it has
 *   written and before it reads, or by the guest before it writes or reads and after it has
 *   written: everything is there. Such a line must not be dirty when another writes it.
 *
 * The columns: what the memory is; the type of the VMM's mapping and of the guest's stage 1;
 * who maintains the caches; whether others' lines are brought in between; how many lines
 * were wrong with the guest writing last, and with the VMM, of how many; and the offset of
 * the first wrong word in the block.
 *
 * MT_ROUNDS are made, of a block of MT_KB KiB, which should fit into the caches; MT_EVICT_KB
 * is what is touched in between. BAR=<bdf>:<index> names a BAR that may be written over,
 * CARVEOUT_POOL a pool. MT_MODEL=1 says that the machine has the rig's cache model, which has
 * to show the corruption, and MT_MODEL=0 that it is an emulator without caches.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "../model/cache.h"
#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pass.h"
#include "processor.h"
#include "targets.h"

#define ROUNDS		16
#define BLOCK_KB	256
#define EVICT_KB	(64 * 1024)

enum memory { RAM, CARVEOUT, DRIVER, A_BAR };
enum maintainer { NOBODY, BY_VMM, BY_GUEST };

static const char * const memories[] = {
	[RAM] = "ordinary memory", [CARVEOUT] = "carve-out", [DRIVER] = "memtype_test",
	[A_BAR] = "BAR",
};

static const char * const maintainers[] = {
	[NOBODY] = "-", [BY_VMM] = "VMM", [BY_GUEST] = "guest",
};

#define ROW	"%-16s %-4s %-5s %-10s %-7s"

/* There is a model, or no cache at all, or nobody has said so */
static bool modelled(void)
{
	return mt_number("MT_MODEL", 2) == 1;
}

static bool without_caches(void)
{
	return mt_number("MT_MODEL", 2) == 0;
}

FIXTURE(probe)
{
	void *hva;
	u64 size;		/* of the block */
	u64 mapped;		/* whole pages */
	struct bar_target bar;
	struct pass_guest guest;
	bool fwb;
	void *others;		/* what pushes lines out */
	u64 others_size;
};

FIXTURE_VARIANT(probe)
{
	enum memory memory;
	bool guest_wb;		/* stage 1, else Normal-NC */
	bool flag;		/* KVM_MEM_NONCACHEABLE */
	enum maintainer by;
};

FIXTURE_VARIANT_ADD(probe, ram_both_wb) {
	.memory = RAM, .guest_wb = true,
};

FIXTURE_VARIANT_ADD(probe, ram_guest_nc) {
	.memory = RAM,
};

FIXTURE_VARIANT_ADD(probe, ram_guest_nc_vmm_maintains) {
	.memory = RAM, .by = BY_VMM,
};

FIXTURE_VARIANT_ADD(probe, ram_guest_nc_guest_maintains) {
	.memory = RAM, .by = BY_GUEST,
};

FIXTURE_VARIANT_ADD(probe, carveout) {
	.memory = CARVEOUT,
};

FIXTURE_VARIANT_ADD(probe, carveout_flag_guest_wb) {
	.memory = CARVEOUT, .guest_wb = true, .flag = true,
};

FIXTURE_VARIANT_ADD(probe, driver) {
	.memory = DRIVER,
};

FIXTURE_VARIANT_ADD(probe, driver_flag_guest_wb) {
	.memory = DRIVER, .guest_wb = true, .flag = true,
};

FIXTURE_VARIANT_ADD(probe, bar) {
	.memory = A_BAR,
};

FIXTURE_VARIANT_ADD(probe, bar_flag_guest_wb) {
	.memory = A_BAR, .guest_wb = true, .flag = true,
};

/* The model's RAM by a mapping that is Write-Back, or not */
static void *map_model_ram(u64 offset, u64 size, bool wb)
{
	int fd = open(CACHE_RAM_NODE, wb ? O_RDWR : O_RDWR | O_SYNC);
	void *p;

	TEST_ASSERT(fd >= 0, "%s: %s", CACHE_RAM_NODE, strerror(errno));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	TEST_ASSERT(p != MAP_FAILED, "%s: mmap: %s", CACHE_RAM_NODE, strerror(errno));
	close(fd);
	return p;
}

static void *map_driver(u64 size)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT,
	};
	int fd = mt_test_open(&config);
	void *p = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	close(fd);
	return p;
}

/* By the guest, or by the VMM, over the whole block */
static struct pass run(FIXTURE_DATA(probe) *self, bool guest, u64 op, u64 seed)
{
	struct pass pass = {
		.op = op, .addr = guest ? 0 : (u64)self->hva, .size = self->size,
		.line = pass_line(), .val = seed,
	};

	if (guest)
		pass_in_guest(&self->guest, &pass);
	else
		pass_in_host(&pass);
	return pass;
}

FIXTURE_SETUP(probe)
{
	u64 page = getpagesize();
	u32 flags = 0;

	MT_SKIP_TO_HARNESS();
	if (variant->memory != RAM)
		mt_require_pfnmap();
	if (variant->flag) {
		mt_require_noncacheable();
		flags = KVM_MEM_NONCACHEABLE;
	}
	self->size = max_t(u64, mt_number("MT_KB", BLOCK_KB) * SZ_1K, SZ_1K);
	self->mapped = (self->size + page - 1) & ~(page - 1);
	self->others_size = max_t(u64, mt_number("MT_EVICT_KB", EVICT_KB) * SZ_1K, SZ_1K);
	if (modelled()) {
		ASSERT_TRUE(cache_evict(0));
		ASSERT_EQ(system(CACHE_RAM_LOAD), 0);
	}

	switch (variant->memory) {
	case RAM:
		self->hva = modelled() ? map_model_ram(0, self->mapped, true) :
			    mt_anon(self->mapped);
		break;
	case CARVEOUT:
		self->hva = pool_target_map(self->mapped);
		break;
	case DRIVER:
		self->hva = map_driver(self->mapped);
		break;
	case A_BAR:
		bar_target_open(&self->bar, self->mapped);
		self->hva = self->bar.wc;
		self->mapped = self->bar.size;
		self->size = min_t(u64, self->size, self->mapped);
		break;
	}
	/* In the model accesses of the range push lines out, of others those that are filled */
	self->others = modelled() ? map_model_ram(SZ_32M, SZ_64K, false) :
		       mt_anon(self->others_size);

	self->guest = pass_guest_create(self->mapped,
					variant->guest_wb ? MT_NORMAL : MT_NORMAL_NC);
	self->fwb = pass_guest_has_fwb(&self->guest);
	MT_EXPECT_ERRNO(mt_set_slot(self->guest.vm, flags, MT_GPA, self->mapped, self->hva), 0);
	/*
	 * Without FEAT_S2FWB, KVM cleans and invalidates what it maps: that is not to help
	 * later. And whoever has used the memory before has left no line.
	 */
	run(self, false, PASS_FILL, 0);
	run(self, true, PASS_CHECK, 0);
	run(self, false, PASS_CLEAN_INVAL, 0);
}

FIXTURE_TEARDOWN(probe)
{
	pass_guest_free(&self->guest);
	if (modelled())
		run(self, false, PASS_CLEAN_INVAL, 0);
	if (variant->memory == A_BAR)
		bar_target_close(&self->bar);
	else
		munmap(self->hva, self->mapped);
	munmap(self->others, modelled() ? SZ_64K : self->others_size);
	if (modelled())
		EXPECT_EQ(system(CACHE_RAM_UNLOAD), 0);
}

static void push_lines_out(FIXTURE_DATA(probe) *self)
{
	u64 i;

	if (!modelled()) {
		for (i = 0; i < self->others_size; i += pass_line())
			WRITE_ONCE(*(u64 *)(self->others + i), i);
		return;
	}
	/* One for each of these accesses */
	TEST_ASSERT(cache_evict(1), "no cache model");
	for (i = 0; i < 2 * self->size / CACHE_LINE; i += SZ_64K / 8)
		cache_not_zero(self->others, SZ_64K);
	TEST_ASSERT(cache_evict(0), "no cache model");
}

static void write_block(FIXTURE_DATA(probe) *self, enum maintainer by, bool guest, u64 seed)
{
	/* A dirty line must not come after what is written now */
	if (guest && by == BY_GUEST)
		run(self, true, PASS_CLEAN_INVAL, 0);
	run(self, guest, PASS_FILL, seed);
	if (!guest && by == BY_VMM)
		run(self, false, PASS_CLEAN, 0);
	if (guest && by == BY_GUEST)
		run(self, true, PASS_CLEAN_INVAL, 0);
}

struct found {
	u64 wrong;
	u64 first;
};

/* @first writes, the other writes over it, and @first reads */
static void exchange(FIXTURE_DATA(probe) *self, enum maintainer by, bool first, bool evict,
		     u64 seed, struct found *found)
{
	struct pass pass;

	write_block(self, by, first, 2 * seed);
	write_block(self, by, !first, 2 * seed + 1);
	if (evict)
		push_lines_out(self);
	if (by == (first ? BY_GUEST : BY_VMM))
		run(self, first, PASS_CLEAN_INVAL, 0);
	pass = run(self, first, PASS_CHECK, 2 * seed + 1);
	if (!found->wrong)
		found->first = pass.first;
	found->wrong += pass.wrong;
}

static const char *offset_of(const struct found *found, char *buf, size_t size)
{
	if (found->wrong)
		snprintf(buf, size, "%#lx", (unsigned long)found->first);
	else
		snprintf(buf, size, "-");
	return buf;
}

static void probe(FIXTURE_DATA(probe) *self, const FIXTURE_VARIANT(probe) *variant, bool evict)
{
	bool mismatched = variant->memory == RAM && !variant->guest_wb && !self->fwb &&
			  variant->by == NOBODY;
	unsigned int i, rounds = max_t(unsigned int, mt_number("MT_ROUNDS", ROUNDS), 1);
	u64 lines = rounds * (self->size / pass_line());
	struct found by_guest = { }, by_vmm = { };
	char a[24], b[24];

	for (i = 0; i < rounds; i++) {
		exchange(self, variant->by, false, evict, 2 * i + 1, &by_guest);
		exchange(self, variant->by, true, evict, 2 * i + 2, &by_vmm);
	}
	ksft_print_msg(ROW " %7lu %8s %7lu %8s %7lu\n", memories[variant->memory],
		       variant->memory == RAM ? "WB" : "NC", variant->guest_wb ? "WB" : "NC",
		       maintainers[variant->by], evict ? "yes" : "no",
		       (unsigned long)by_guest.wrong, offset_of(&by_guest, a, sizeof(a)),
		       (unsigned long)by_vmm.wrong, offset_of(&by_vmm, b, sizeof(b)),
		       (unsigned long)lines);

	if (!mismatched || without_caches()) {
		TEST_ASSERT(!by_guest.wrong && !by_vmm.wrong,
			    "%lu lines that the guest and %lu that the VMM has written are wrong",
			    (unsigned long)by_guest.wrong, (unsigned long)by_vmm.wrong);
		return;
	}
	/* What the VMM has written last is in memory when its lines have left */
	if (modelled())
		TEST_ASSERT(by_guest.wrong && (by_vmm.wrong || evict),
			    "nothing is wrong in a model of a cache");
}

TEST(machine)
{
	struct cache_counters c;
	struct pass_guest guest;

	guest = pass_guest_create(getpagesize(), MT_NORMAL);
	ksft_print_msg("FEAT_S2FWB: %s; lines of %lu bytes\n",
		       pass_guest_has_fwb(&guest) ? "yes" : "no", (unsigned long)pass_line());
	pass_guest_free(&guest);
	ASSERT_EQ(cache_counters(&c), modelled());
	if (modelled())
		ksft_print_msg("a model of a cache, in an emulator\n");
	else if (without_caches() || pass_emulated())
		ksft_print_msg("no cache here: an emulator without one: 0 wrong lines expected\n");
	ksft_print_msg(ROW " %16s %16s\n", "", "", "guest", "maintained", "lines",
		       "guest wrote", "VMM wrote");
	ksft_print_msg(ROW " %7s %8s %7s %8s %7s\n", "memory", "VMM", "stg 1", "by", "out",
		       "wrong", "first", "wrong", "first", "of");
}

TEST_F_TIMEOUT(probe, at_once, 600)
{
	probe(self, variant, false);
}

TEST_F_TIMEOUT(probe, evicted, 600)
{
	probe(self, variant, true);
}

int main(int argc, char **argv)
{
	bar_target_keep();
	return test_harness_run(argc, argv);
}

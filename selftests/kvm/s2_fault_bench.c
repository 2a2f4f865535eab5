// SPDX-License-Identifier: GPL-2.0
/*
 * s2_fault_bench - What stage-2 faults, populating a slot, and memslots cost
 *
 * Prints lines of "<name> <number>". Under QEMU's -icount CNTVCT_EL0 advances by one
 * for each instruction, for the host's user space as for the guest, and the numbers
 * are exact instructions: of a fault, those between the guest's reads of the counter
 * before and after the access that takes it, the median over many pages that the host
 * has mapped already; of an ioctl, those that the VMM sees, the median of a few.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "s2_dump.h"

#define NR_FAULTS	64
#define SIZE		SZ_2M
/* Huge pages take more memory */
#define NR_HUGE		32

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static u64 median(u64 *costs, int nr)
{
	qsort(costs, nr, sizeof(costs[0]), compare);
	return costs[nr / 2];
}

static void print(const char *name, u64 number)
{
	printf("%s %lu\n", name, (unsigned long)number);
}

static u64 now(void)
{
	u64 t;

	asm volatile("isb\n"
		     "mrs %0, cntvct_el0" : "=r" (t) :: "memory");
	return t;
}

/* ---- faults ---- */

enum fault { READ, WRITE, PERMISSION };

static const char * const fault_names[] = { "read", "write", "permission" };

struct memory {
	const char *name;
	void *hva;
	u64 size;		/* of the memslot: in less than 2 MiB there can be no block */
	u64 stride;		/* from one fault to the next */
	int nr;
	u32 slot_flags;
	u64 leaf_size;
	/* A driver that makes its entries writable when the VMM has written */
	bool mkwrite;
};

/*
 * A page that is marked accessed is looked for among those that this CPU has not put
 * onto the LRU lists yet (__lru_cache_activate_folio()): up to 31, by whatever happened
 * before, each of them a tenth of a percent of a fault. madvise() empties the batch.
 */
static void drain_lru_batch(void)
{
	void *page = mt_anon(SZ_4K);

	TEST_ASSERT(!madvise(page, SZ_4K, MADV_COLD), "MADV_COLD: %s", strerror(errno));
	munmap(page, SZ_4K);
}

static void bench_faults(const struct memory *m, enum fault fault)
{
	u32 flags = m->slot_flags;
	u64 cost[NR_FAULTS], leaf_size = m->leaf_size, size = m->size;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char name[64];
	int i;

	/* What has been read under dirty logging is read-only until it is written */
	if (fault == PERMISSION && !m->mkwrite) {
		flags |= KVM_MEM_LOG_DIRTY_PAGES;
		leaf_size = SZ_4K;
	}

	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, flags, MT_GPA, size, m->hva), 0);
	drain_lru_batch();
	for (i = 0; i < m->nr; i++) {
		u64 gpa = MT_GPA + i * m->stride;
		u64 *hva = m->hva + i * m->stride;

		if (fault == PERMISSION && m->mkwrite) {
			mt_access_ok(vcpu, MT_LDR, gpa, 0);
			WRITE_ONCE(*hva, 1);
		} else {
			WRITE_ONCE(*hva, 1);
			if (fault == PERMISSION)
				mt_access_ok(vcpu, MT_LDR, gpa, 0);
		}
		cost[i] = mt_access_ok(vcpu, fault == READ ? MT_TIMED_LDR : MT_TIMED_STR, gpa, 1);
	}
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, size, leaf_size), m->nr);

	snprintf(name, sizeof(name), "%s_%s", fault_names[fault], m->name);
	print(name, median(cost, m->nr));
	kvm_vm_free(vm);
}

static void bench_memory(const struct memory *m)
{
	bench_faults(m, READ);
	bench_faults(m, WRITE);
	bench_faults(m, PERMISSION);
}

static void bench_driver(const char *name, u32 slot_flags, u32 driver_flags, u64 leaf_size,
			 u64 size)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT | driver_flags,
	};
	struct memory m = {
		.name = name, .size = size, .stride = leaf_size, .slot_flags = slot_flags,
		.nr = leaf_size == SZ_2M ? NR_HUGE : NR_FAULTS, .leaf_size = leaf_size,
	};
	int fd = mt_test_open(&config);

	m.hva = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	bench_faults(&m, READ);
	bench_faults(&m, WRITE);
	/* Without the flag, such a slot cannot be logged */
	if (slot_flags & KVM_MEM_NONCACHEABLE)
		bench_faults(&m, PERMISSION);
	munmap(m.hva, size);
	close(fd);
}

static void bench_mkwrite(const char *name, u32 slot_flags)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT | MEMTYPE_TEST_MKWRITE,
	};
	struct memory m = {
		.name = name, .size = SIZE, .stride = SZ_4K, .nr = NR_FAULTS,
		.leaf_size = SZ_4K, .slot_flags = slot_flags, .mkwrite = true,
	};
	int fd = mt_test_open(&config);

	m.hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	bench_faults(&m, PERMISSION);
	munmap(m.hva, SIZE);
	close(fd);
}

/* ---- 1 GiB ---- */

static u64 exits_of(struct kvm_vcpu *vcpu, enum mt_op op, u64 val)
{
	u64 before = vcpu_get_stat(vcpu, exits);

	mt_access_ok(vcpu, op, MT_GPA, val);
	return vcpu_get_stat(vcpu, exits) - before;
}

/*
 * Each fault installs one leaf, and costs an exit. The guest's answer is an exit, too,
 * and so are the host's interrupts: the least of a few is without one.
 */
static void bench_1g(const char *name, u32 flags, u64 leaf_size, int times)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = flags,
	};
	u64 exits[3], populate[3], faults, answer = ~0UL, least = ~0UL, t;
	struct kvm_pre_fault_memory range;
	int fd = mt_test_open(&config), i;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char row[64];
	void *hva;

	hva = mt_mmap(fd, SZ_1G, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	/* The host's entries are there in all cases */
	for (i = 0; i < SZ_1G / SZ_4K; i++)
		(void)READ_ONCE(*(u64 *)(hva + (u64)i * SZ_4K));
	vm = mt_vm_create(&vcpu, SZ_1G);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SZ_1G, hva), 0);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, SZ_1G / SZ_4K);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SZ_1G, leaf_size), SZ_1G / leaf_size);
	for (i = 0; i < 3; i++)
		answer = min(answer, exits_of(vcpu, MT_LDR, 0));

	/* The guest's page tables are mapped by now: what comes is the slot alone */
	for (i = 0; i < times; i++) {
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, hva), 0);
		MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SZ_1G, hva), 0);
		exits[i] = exits_of(vcpu, MT_FILL, SZ_1G / SZ_4K) - answer;
	}
	snprintf(row, sizeof(row), "exits_1g_%s", name);
	qsort(exits, times, sizeof(exits[0]), compare);
	/* A long fill has the host's interrupts in it: the leaves say how many were faults */
	faults = s2_count(vm, MT_GPA, SZ_1G, 0);
	TEST_ASSERT(exits[0] >= faults && exits[0] - faults < faults / 4,
		    "%lu exits for %lu leaves", (unsigned long)exits[0], (unsigned long)faults);
	print(row, faults);

	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		goto out;
	/* Of these exits nothing else says which were interrupts: until there is none */
	for (i = 0; i < times || (least && i < 20); i++) {
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, hva), 0);
		MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SZ_1G, hva), 0);
		range = (struct kvm_pre_fault_memory) { .gpa = MT_GPA, .size = SZ_1G };
		t = now();
		vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		t = now() - t;
		if (i < times)
			populate[i] = t;
		TEST_ASSERT_EQ(range.size, 0);
		TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SZ_1G, leaf_size), SZ_1G / leaf_size);
		least = min(least, exits_of(vcpu, MT_FILL, SZ_1G / SZ_4K) - answer);
	}
	snprintf(row, sizeof(row), "exits_1g_%s_populated", name);
	print(row, least);
	snprintf(row, sizeof(row), "populate_1g_%s", name);
	print(row, median(populate, times));
out:
	kvm_vm_free(vm);
	munmap(hva, SZ_1G);
	close(fd);
}

/* ---- memslots ---- */

#define NR_TIMES	5

static u64 timed_set_slot(struct kvm_vm *vm, u32 flags, u64 size, void *hva)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = MT_SLOT, .flags = flags, .guest_phys_addr = 2 * SZ_4G,
		.memory_size = size, .userspace_addr = (u64)hva,
	};
	u64 t = now();
	int ret;

	ret = ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region);
	t = now() - t;
	TEST_ASSERT(!ret, "Slot of %#lx bytes: %s", (unsigned long)size, strerror(errno));
	return t;
}

/* With nothing mapped in it, so that it is the slot that costs */
static void bench_slot(const char *name, u32 flags, bool log, u64 size, void *hva)
{
	u64 create[NR_TIMES], remove[NR_TIMES], on[NR_TIMES], off[NR_TIMES];
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char row[64];
	int i;

	vm = mt_vm_create(&vcpu, SZ_2M);
	for (i = 0; i < NR_TIMES; i++) {
		create[i] = timed_set_slot(vm, flags, size, hva);
		if (log) {
			on[i] = timed_set_slot(vm, flags | KVM_MEM_LOG_DIRTY_PAGES, size, hva);
			off[i] = timed_set_slot(vm, flags, size, hva);
		}
		remove[i] = timed_set_slot(vm, flags, 0, hva);
	}
	snprintf(row, sizeof(row), "create_%luM_%s", (unsigned long)(size / SZ_1M), name);
	print(row, median(create, NR_TIMES));
	snprintf(row, sizeof(row), "delete_%luM_%s", (unsigned long)(size / SZ_1M), name);
	print(row, median(remove, NR_TIMES));
	if (log) {
		snprintf(row, sizeof(row), "log_on_%luM_%s", (unsigned long)(size / SZ_1M), name);
		print(row, median(on, NR_TIMES));
		snprintf(row, sizeof(row), "log_off_%luM_%s", (unsigned long)(size / SZ_1M), name);
		print(row, median(off, NR_TIMES));
	}
	kvm_vm_free(vm);
}

static void bench_slots(u64 size)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT,
	};
	int fd = mt_test_open(&config);
	u64 at, part = size < SZ_1G ? size : SZ_1G;
	void *hva, *anon;

	/* As many mappings as it takes, each of 1 GiB at most, as that is what there is */
	hva = mt_mmap(-1, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	for (at = 0; at < size; at += part)
		TEST_ASSERT(mmap(hva + at, part, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, 0) == hva + at,
			    "mmap: %s", strerror(errno));
	anon = mt_mmap(-1, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	bench_slot("pfnmap", 0, false, size, hva);
	bench_slot("anon", 0, true, size, anon);
	if (kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		bench_slot("flagged", KVM_MEM_NONCACHEABLE, true, size, hva);
	munmap(hva, size);
	munmap(anon, size);
	close(fd);
}

int main(void)
{
	struct memory anon = {
		.name = "anon", .size = SIZE, .stride = SZ_4K, .nr = NR_FAULTS,
		.leaf_size = SZ_4K,
	}, huge = {
		.name = "hugetlb", .size = NR_HUGE * SZ_2M, .stride = SZ_2M, .nr = NR_HUGE,
		.leaf_size = SZ_2M,
	};
	u64 size;

	setbuf(stdout, NULL);
	mt_require_pfnmap();

	anon.hva = mt_anon(SIZE);
	madvise(anon.hva, SIZE, MADV_NOHUGEPAGE);
	bench_memory(&anon);
	munmap(anon.hva, SIZE);
	huge.hva = mt_hugetlb(NR_HUGE * SZ_2M);
	TEST_ASSERT(huge.hva, "No huge pages");
	bench_memory(&huge);
	munmap(huge.hva, NR_HUGE * SZ_2M);
	bench_driver("pfnmap", 0, 0, SZ_4K, SIZE);
	bench_driver("pfnmap_small", 0, 0, SZ_4K, NR_FAULTS * SZ_4K);
	bench_mkwrite("pfnmap", 0);
	bench_driver("pfnmap_2m", 0, MEMTYPE_TEST_PMD, SZ_2M, NR_HUGE * SZ_2M);
	if (kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE)) {
		bench_driver("flagged", KVM_MEM_NONCACHEABLE, 0, SZ_4K, SIZE);
		bench_driver("flagged_2m", KVM_MEM_NONCACHEABLE, MEMTYPE_TEST_PMD, SZ_2M,
			     NR_HUGE * SZ_2M);
		bench_1g("2m", MEMTYPE_TEST_PMD, SZ_2M, 3);
		/* A minute of the emulator's time, each */
		bench_1g("4k", MEMTYPE_TEST_POPULATE, SZ_4K, 1);
	}
	for (size = SZ_1M; size <= 4 * SZ_4G; size *= 16)
		bench_slots(size);
	bench_slots(4 * SZ_4G);
	return 0;
}

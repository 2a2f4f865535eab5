// SPDX-License-Identifier: GPL-2.0
/*
 * s2_fault_bench - What a stage-2 fault costs
 *
 * Prints lines of "<name> <number>". Under QEMU's -icount, where CNTVCT_EL0
 * advances by one for each instruction, "anon", "pfnmap" and "flagged" are the
 * exact instructions between the guest's reads of the counter before and after
 * a store that takes a stage-2 write fault: the median over many pages that the
 * host has mapped already. "faults_1g_4k" and "faults_1g_2m" are how many faults
 * fill a flagged slot of 1 GiB where the host maps it with pages and with blocks.
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

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void bench(const char *name, void *hva, u32 slot_flags)
{
	u64 cost[NR_FAULTS];
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, SIZE, hva), 0);
	for (i = 0; i < NR_FAULTS; i++) {
		WRITE_ONCE(*(u64 *)(hva + i * SZ_4K), 1);
		cost[i] = mt_access_ok(vcpu, MT_TIMED_STR, MT_GPA + i * SZ_4K, 1);
	}
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, SZ_4K), NR_FAULTS);

	qsort(cost, NR_FAULTS, sizeof(cost[0]), compare);
	printf("%s %lu\n", name, (unsigned long)cost[NR_FAULTS / 2]);
	kvm_vm_free(vm);
}

static void bench_test(const char *name, u32 slot_flags)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT,
	};
	int fd = mt_test_open(&config);
	void *hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	bench(name, hva, slot_flags);
	munmap(hva, SIZE);
	close(fd);
}

/*
 * Each fault installs one leaf. KVM counts no faults, but it counts exits, which
 * shows that no leaf took two: what is left are the host's interrupts. Leaves for
 * the guest's page tables are installed on the way, too.
 */
static void count_faults(const char *name, u32 flags, u64 leaf_size)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = flags,
	};
	int fd = mt_test_open(&config);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 leaves, all, exits;
	void *hva;

	hva = mt_mmap(fd, SZ_1G, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	vm = mt_vm_create(&vcpu, SZ_1G);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SZ_1G, hva), 0);

	all = s2_count(vm, 0, MT_GPA + SZ_1G, 0);
	exits = vcpu_get_stat(vcpu, exits);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, SZ_1G / SZ_4K);
	exits = vcpu_get_stat(vcpu, exits) - exits;
	all = s2_count(vm, 0, MT_GPA + SZ_1G, 0) - all;
	leaves = s2_count(vm, MT_GPA, SZ_1G, 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SZ_1G, leaf_size), leaves);
	TEST_ASSERT(exits >= all && exits - all < leaves / 4,
		    "%lu exits for %lu leaves", (unsigned long)exits, (unsigned long)all);
	printf("%s %lu\n", name, (unsigned long)leaves);

	kvm_vm_free(vm);
	munmap(hva, SZ_1G);
	close(fd);
}

int main(void)
{
	void *hva;

	setbuf(stdout, NULL);
	mt_require_pfnmap();

	hva = mt_anon(SIZE);
	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	bench("anon", hva, 0);
	munmap(hva, SIZE);
	bench_test("pfnmap", 0);

	if (!kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		return 0;
	bench_test("flagged", KVM_MEM_NONCACHEABLE);
	count_faults("faults_1g_2m", MEMTYPE_TEST_PMD, SZ_2M);
	count_faults("faults_1g_4k", MEMTYPE_TEST_POPULATE, SZ_4K);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * s2_ends - A host leaf that has RAM at one of its ends
 *
 * KVM maps as much as the host's leaf has, and what it looks at is the page that the
 * guest has accessed. In a flagged slot it looks at both ends of the leaf as well: one
 * that has RAM there, which is cacheable in the linear map, must be refused, wherever
 * it is accessed, though that page is not RAM. Without the flag, such a leaf is mapped
 * page by page: KVM cleans RAM by its address in the linear map, which the rest of a
 * block need not have.
 *
 * The rig's device tree reserves a piece of RAM that begins and ends in the middle of
 * 2 MiB (rig-pools.dtso). Memory of ZONE_DEVICE comes and goes in 2 MiB, so that with
 * 4K pages all of a leaf is, or nothing.
 */
#include <stdio.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define SIZE		MT_BLOCK

/* A reservation between RAM and RAM that starts and ends inside of a block */
static void find_reserved(u64 *start, u64 *end)
{
	struct {
		u64 start, end;
		char name[32];
	} at[3] = {};
	char text[128];
	FILE *f;

	f = fopen("/proc/iomem", "r");
	TEST_ASSERT(f, "/proc/iomem: %s", strerror(errno));
	while (fgets(text, sizeof(text), f)) {
		if (*text == ' ')
			continue;
		at[0] = at[1];
		at[1] = at[2];
		if (sscanf(text, "%lx-%lx : %31[^\n]", &at[2].start, &at[2].end,
			   at[2].name) != 3)
			continue;
		if (strcmp(at[0].name, "System RAM") || strcmp(at[1].name, "reserved") ||
		    strcmp(at[2].name, "System RAM"))
			continue;
		if (at[0].end + 1 != at[1].start || at[1].end + 1 != at[2].start)
			continue;
		*start = at[1].start;
		*end = at[1].end + 1;
		if (*start & (SIZE - 1) && *end & (SIZE - 1)) {
			fclose(f);
			return;
		}
	}
	fclose(f);
	mt_skip("no reserved memory that begins and ends inside of a block");
}

/* Of RAM and something else in one leaf, each page is mapped by what it is, and alone */
static void check_pages(struct kvm_vm *vm, struct kvm_vcpu *vcpu, void *hva, u64 first,
			u64 second)
{
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	mt_access_ok(vcpu, MT_LDR, first, 0);
	mt_expect_type(vm, first, S2_NC, NULL);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), 1);
	mt_access_ok(vcpu, MT_LDR, second, 0);
	mt_expect_type(vm, second, S2_NC, NULL);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, MT_PAGE), 2);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), 2);
}

/* @phys is not RAM, @ram is, and @leaf has both */
static void check_leaf(u64 leaf, u64 phys, u64 ram)
{
	const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD | MEMTYPE_TEST_ANYWHERE, .offset = leaf,
	};
	u64 gpa = MT_GPA + phys - leaf;
	struct memtype_test_pte pte;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	pte = mt_host_pte(fd, hva + phys - leaf);
	TEST_ASSERT_EQ(pte.phys, phys);
	TEST_ASSERT_EQ(pte.size, SIZE);

	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva), 0);
	mt_expect_memory_fault(vcpu, MT_LDR, gpa, KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), 0);

	check_pages(vm, vcpu, hva, gpa, MT_GPA + ram - leaf);
	check_pages(vm, vcpu, hva, MT_GPA + ram - leaf, gpa);

	kvm_vm_free(vm);
	munmap(hva, SIZE);
	close(fd);
}

MT_TEST(first_is_ram)
{
	u64 start, end;

	mt_require_noncacheable();
	find_reserved(&start, &end);
	check_leaf(start & ~(SIZE - 1), start, start - MT_PAGE);
}

MT_TEST(last_is_ram)
{
	u64 start, end;

	mt_require_noncacheable();
	find_reserved(&start, &end);
	check_leaf(end & ~(SIZE - 1), end & ~(SIZE - 1), end);
}

/* The same where no end is: the flag takes it, with one leaf */
MT_TEST(neither)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva), 0);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + SIZE / 2, 0);
	mt_expect_nc(vm, MT_GPA, SIZE, "no RAM at all");
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, SIZE), 1);
	kvm_vm_free(vm);
	munmap(hva, SIZE);
	close(fd);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN

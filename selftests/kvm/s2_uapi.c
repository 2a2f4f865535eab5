// SPDX-License-Identifier: GPL-2.0
/*
 * s2_uapi - What KVM_MEM_NONCACHEABLE refuses, and with which error
 *
 * At slot creation KVM refuses what a VMA tells for certain, with EINVAL. What
 * shows only when the host's page-table entry is looked up makes KVM_RUN fail
 * with EFAULT and a memory-fault exit, after which user space can mend its
 * mapping and run the vCPU again.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define SIZE	SZ_2M

static const struct memtype_test_config nc_config = {
	.vma_type = MEMTYPE_TEST_NC,
	.pte_type = MEMTYPE_TEST_NC,
};

FIXTURE(uapi)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;
};

FIXTURE_SETUP(uapi)
{
	MT_SKIP_TO_HARNESS();
	self->vm = mt_vm_create(&self->vcpu, 2 * SIZE);
	self->fd = mt_test_open(&nc_config);
	self->hva = mt_mmap(self->fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

FIXTURE_TEARDOWN(uapi)
{
	kvm_vm_free(self->vm);
	munmap(self->hva, SIZE);
	close(self->fd);
}

/* Replace the slot's host mapping, as a confused VMM would */
static void replace(void *hva, const struct memtype_test_config *config, int flags)
{
	int fd = mt_test_open(config);
	void *new = mmap(hva, SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);

	TEST_ASSERT(new == hva, "mmap: %s", strerror(errno));
	close(fd);
}

/* Refused for its type */
static void expect_refused(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa)
{
	mt_expect_memory_fault(vcpu, op, gpa, KVM_MEMORY_EXIT_FLAG_MEMTYPE);
}

static void expect_runs_nc(struct kvm_vm *vm, struct kvm_vcpu *vcpu)
{
	struct s2_range range;

	mt_access_ok(vcpu, MT_STR, MT_GPA, 0x1234);
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA, 0), 0x1234);
	TEST_ASSERT(s2_find(vm, MT_GPA, &range), "Not mapped at stage 2");
	TEST_ASSERT(!strcmp(range.type, S2_NC), "Mapped as '%s'", range.type);
}

/* It is the flag that a slot was refused for */
static void expect_taken_without(struct kvm_vm *vm, void *hva)
{
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, hva), 0);
}

TEST_F(uapi, capability)
{
	int want = !mt_host_is_pkvm();

	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEM_NONCACHEABLE), want);
	TEST_ASSERT_EQ(vm_check_cap(self->vm, KVM_CAP_MEM_NONCACHEABLE), want);
	TEST_ASSERT_EQ(vm_check_cap(self->vm, KVM_CAP_MEMORY_FAULT_INFO), 1);
}

TEST_F(uapi, accepted)
{
	static const u32 others[] = {
		0, KVM_MEM_READONLY, KVM_MEM_LOG_DIRTY_PAGES,
		KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES,
	};
	int i, want = mt_host_is_pkvm() ? EINVAL : 0;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE | others[i],
					    MT_GPA, SIZE, self->hva), want);
		if (!want)
			MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, 0, self->hva), 0);
	}
	if (want)
		return;
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_runs_nc(self->vm, self->vcpu);
}

TEST_F(uapi, unknown_flags)
{
	u32 known = KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY |
		    KVM_MEM_GUEST_MEMFD | KVM_MEM_NONCACHEABLE;
	int bit;

	mt_require_noncacheable();
	for (bit = 0; bit < 32; bit++) {
		if (known & BIT(bit))
			continue;
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, BIT(bit), MT_GPA, SIZE, self->hva),
				EINVAL);
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE | BIT(bit),
					    MT_GPA, SIZE, self->hva), EINVAL);
	}
	/* It is the bit: without, the slot is made */
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
}

/* The first version of the ioctl does not know the flag, and it still works */
TEST_F(uapi, first_ioctl)
{
	int ret;

	mt_require_noncacheable();
	ret = __vm_set_user_memory_region(self->vm, MT_SLOT, KVM_MEM_NONCACHEABLE,
					  MT_GPA, SIZE, self->hva);
	TEST_ASSERT(ret, "KVM_SET_USER_MEMORY_REGION took the flag");
	MT_EXPECT_ERRNO(errno, EINVAL);
	ret = __vm_set_user_memory_region(self->vm, MT_SLOT, 0, MT_GPA, SIZE, self->hva);
	TEST_ASSERT(!ret, "Without the flag: %s", strerror(errno));
}

TEST_F(uapi, toggle)
{
	mt_require_noncacheable();

	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	mt_access_ok(self->vcpu, MT_STR, MT_GPA, 1);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, SIZE, self->hva), EINVAL);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_LOG_DIRTY_PAGES, MT_GPA, SIZE,
				    self->hva), EINVAL);
	/* Moving the slot is no way around it, while the same move with the flag is made */
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA + SIZE, SIZE, self->hva), EINVAL);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA + SIZE, SIZE,
				    self->hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_runs_nc(self->vm, self->vcpu);

	/* Dirty logging may be toggled */
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES,
				    MT_GPA, SIZE, self->hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_runs_nc(self->vm, self->vcpu);

	/* And no slot acquires the flag later */
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, 0, self->hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, SIZE, self->hva), 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), EINVAL);
	mt_access_ok(self->vcpu, MT_LDR, MT_GPA, 0);
}

/* Turning logging off must work whatever has become of the VMA */
TEST_F(uapi, logging_off_after_replacement)
{
	mt_require_noncacheable();

	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES,
				    MT_GPA, SIZE, self->hva), 0);
	mmap(self->hva, SIZE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_refused(self->vcpu, MT_LDR, MT_GPA);
}

/* Nonsense gets the same error with the flag as without */
TEST_F(uapi, bad_ranges)
{
	const struct {
		u64 gpa, size;
		void *hva;
	} bad[] = {
		{ MT_GPA + 1,		SIZE,		self->hva },
		{ MT_GPA + SZ_2K,	SIZE,		self->hva },
		{ MT_GPA,		SIZE - 1,	self->hva },
		{ MT_GPA,		SZ_2K,		self->hva },
		{ MT_GPA,		SIZE,		self->hva + SZ_2K },
		{ -MT_PAGE,		SIZE,		self->hva },
		{ MT_GPA,		-MT_PAGE,	self->hva },
		{ MT_GPA,		SIZE,		(void *)-MT_PAGE },
		{ MT_GPA,		SIZE,		(void *)(1UL << 62) },
		/* Beyond the guest's physical address space */
		{ 1UL << 52,		SIZE,		self->hva },
		/* Onto the test program's own slot */
		{ 0,			SIZE,		self->hva },
	};
	int i, without, with;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		without = mt_set_slot(self->vm, 0, bad[i].gpa, bad[i].size, bad[i].hva);
		with = mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, bad[i].gpa,
				   bad[i].size, bad[i].hva);
		errno = 0;
		TEST_ASSERT(without, "Range %d was accepted without the flag", i);
		if (mt_host_is_pkvm())
			TEST_ASSERT(with, "Range %d was accepted", i);
		else
			TEST_ASSERT(with == without, "Range %d: %d, without the flag %d",
				    i, with, without);
	}
}

TEST_F(uapi, guest_memfd)
{
	int gmem, ret;

	mt_require_noncacheable();
	if (!kvm_has_cap(KVM_CAP_GUEST_MEMFD))
		mt_skip("no guest_memfd");

	gmem = vm_create_guest_memfd(self->vm, SIZE, GUEST_MEMFD_FLAG_MMAP |
				     GUEST_MEMFD_FLAG_INIT_SHARED);
	ret = __vm_set_user_memory_region2(self->vm, MT_SLOT,
					   KVM_MEM_GUEST_MEMFD | KVM_MEM_NONCACHEABLE,
					   MT_GPA, SIZE, self->hva, gmem, 0);
	TEST_ASSERT(ret, "The flag was accepted with guest_memfd");
	MT_EXPECT_ERRNO(errno, EINVAL);
	ret = __vm_set_user_memory_region2(self->vm, MT_SLOT, KVM_MEM_GUEST_MEMFD,
					   MT_GPA, SIZE, self->hva, gmem, 0);
	TEST_ASSERT(!ret, "Without the flag: %s", strerror(errno));
	close(gmem);
}

/* Memory whose host mapping is cacheable for certain */
TEST_F(uapi, not_pfnmap)
{
	void *anon = mt_anon(SIZE);

	mt_require_noncacheable();
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, anon),
			EINVAL);
	expect_taken_without(self->vm, anon);
	/* A page of it is enough */
	mmap(self->hva + 16 * MT_PAGE, MT_PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), EINVAL);
	expect_taken_without(self->vm, self->hva);
	munmap(anon, SIZE);
}

TEST_F(uapi, hole)
{
	const u64 holes[] = { 0, 16 * MT_PAGE, SIZE - MT_PAGE };
	void *hva;
	int i;

	mt_require_noncacheable();
	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		hva = mt_mmap(self->fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		munmap(hva + holes[i], MT_PAGE);
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA,
					    SIZE, hva), EINVAL);
		expect_taken_without(self->vm, hva);
		munmap(hva, SIZE);
	}

	hva = mt_mmap(self->fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	munmap(hva, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva),
			EINVAL);
	expect_taken_without(self->vm, hva);
}

/* Its pages are copied into ordinary RAM on write; VM_MAYWRITE is enough */
TEST_F(uapi, private_writable)
{
	struct memtype_test_config config = nc_config;
	void *hva;
	int fd;

	mt_require_noncacheable();
	config.flags = MEMTYPE_TEST_POPULATE;
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva),
			EINVAL);
	expect_taken_without(self->vm, hva);
	mprotect(hva, SIZE, PROT_READ);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva),
			EINVAL);
	munmap(hva, SIZE);
	/* The same memory, shared */
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva), 0);
	munmap(hva, SIZE);
	close(fd);
}

/* The slot may be made, the vCPU does not run on it, and can be helped */
TEST_F(uapi, wb_vma)
{
	static const struct memtype_test_config wb = {};

	mt_require_noncacheable();
	replace(self->hva, &wb, MAP_SHARED);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_refused(self->vcpu, MT_LDR, MT_GPA + 8);
	expect_refused(self->vcpu, MT_STR, MT_GPA + 16 * MT_PAGE + 8);
	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, SIZE, 0), 0);
	replace(self->hva, &nc_config, MAP_SHARED);
	expect_runs_nc(self->vm, self->vcpu);
}

TEST_F(uapi, replaced_vma)
{
	static const struct memtype_test_config others[] = {
		{ .vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_WB },
		{ .vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_WB },
		{ .vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE },
		{ .vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_WB,
		  .flags = MEMTYPE_TEST_GRANT },
		{ .vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		  .flags = MEMTYPE_TEST_ALIAS },
	};
	int i;

	mt_require_noncacheable();
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE,
				    self->hva), 0);
	expect_runs_nc(self->vm, self->vcpu);

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		ksft_print_msg("replacement %d\n", i);
		replace(self->hva, &others[i], MAP_SHARED);
		expect_refused(self->vcpu, MT_STR, MT_GPA + MT_PAGE);
		TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, SIZE, 0), 0);
		replace(self->hva, &nc_config, MAP_SHARED);
		expect_runs_nc(self->vm, self->vcpu);
	}

	/* Ordinary memory, also below a private PFNMAP mapping after a write */
	mmap(self->hva, SIZE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect_refused(self->vcpu, MT_LDR, MT_GPA);
	replace(self->hva, &(struct memtype_test_config) {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_POPULATE }, MAP_PRIVATE);
	*(u64 *)self->hva = 1;
	expect_refused(self->vcpu, MT_LDR, MT_GPA);

	/* Nothing: that is no matter of types */
	munmap(self->hva, SIZE);
	mt_expect_memory_fault(self->vcpu, MT_LDR, MT_GPA, 0);

	replace(self->hva, &nc_config, MAP_SHARED);
	expect_runs_nc(self->vm, self->vcpu);
}

/* Normal-NC is untagged by architecture, so a VM with tags may have such memory */
TEST_F(uapi, mte)
{
	const struct mt_caps caps = { .mte = true };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	mt_require_noncacheable();
	if (!kvm_has_cap(KVM_CAP_ARM_MTE))
		mt_skip("no MTE");

	vm = mt_vm_create_caps(&vcpu, SIZE, &caps);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, self->hva), EINVAL);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, self->hva), 0);
	expect_runs_nc(vm, vcpu);
	kvm_vm_free(vm);
}

/* KVM_CAP_MEMORY_FAULT_INFO is about every slot, not only flagged ones */
TEST_F(uapi, memory_fault_without_flag)
{
	void *hva = mt_anon(SIZE);

	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, SIZE, hva), 0);
	munmap(hva + MT_PAGE, MT_PAGE);
	mt_access_ok(self->vcpu, MT_STR, MT_GPA, 1);
	mt_expect_memory_fault(self->vcpu, MT_LDR, MT_GPA + MT_PAGE, 0);
	mt_expect_memory_fault(self->vcpu, MT_STR, MT_GPA + MT_PAGE + 16, 0);
	mprotect(hva + 2 * MT_PAGE, MT_PAGE, PROT_NONE);
	mt_expect_memory_fault(self->vcpu, MT_LDR, MT_GPA + 2 * MT_PAGE, 0);
	mt_access_ok(self->vcpu, MT_STR, MT_GPA, 2);
	munmap(hva, SIZE);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN

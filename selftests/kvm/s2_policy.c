// SPDX-License-Identifier: GPL-2.0
/*
 * s2_policy - Which memory type a stage-2 mapping gets
 *
 * Every combination of what has a say (the flag of the memslot, the memory type
 * of the host's page-table entry, the one of its VMA, the driver's grant
 * VM_ALLOW_ANY_UNCACHED, a cacheable alias in the linear map) through a real
 * memslot. The type is read from the stage-2 dump, and then the guest's accesses
 * must behave as that type makes them.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"

#define SIZE		MT_BLOCK

/* AArch64 "ret" */
#define RET_INSN	0xd65f03c0UL

#define REFUSED		"refused"
#define EARLY		"the slot is refused"
/* Refused, and not for its type */
#define HOLE		"there is nothing"

/* What takes a CPU that can map PFNMAP memory Write-Back, and what there is without */
#define WB_OR_REFUSED	S2_WB, REFUSED
#define WB_OR_EARLY	S2_WB, EARLY
#define NC_OR_EARLY	S2_NC, EARLY
#define S2(type)	S2_##type, S2_##type
#define NEVER		REFUSED, REFUSED

/* A refusal says why, and disturbs nothing: no leaf, and the VM lives */
static void expect_refused(struct kvm_vm *vm, struct kvm_vcpu *vcpu, u64 gpa, u64 why)
{
	struct s2_range range;

	mt_expect_memory_fault(vcpu, MT_LDR, gpa, why);
	TEST_ASSERT(!s2_find(vm, gpa, &range), "Refused, but mapped as '%s'", range.type);
}

static void expect_leaf(struct kvm_vm *vm, u64 gpa, const char *type)
{
	struct s2_range range;

	mt_expect_type(vm, gpa, type, &range);
	if (strcmp(type, S2_WB))
		TEST_ASSERT(range.xn, "%#lx is '%s' and executable (%s)",
			    (unsigned long)gpa, type, range.perms);
}

/* What the guest sees of a type, whatever the dump says */
static void expect_behaviour(struct kvm_vcpu *vcpu, u64 gpa, const char *type)
{
	const char *unaligned = strcmp(type, S2_DEVICE) ? "ok" : "alignment fault";

	mt_expect_outcome(vcpu, MT_STR, gpa + 8, 0x1122334455667788, "ok");
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, gpa + 8, 0), 0x1122334455667788);
	mt_expect_outcome(vcpu, MT_LDR, gpa + 1, 0, unaligned);
	mt_expect_outcome(vcpu, MT_STR, gpa + 17, 1, unaligned);
	mt_expect_outcome(vcpu, MT_LDP, gpa + 4, 0, unaligned);
	mt_expect_outcome(vcpu, MT_STP, gpa + 20, 1, unaligned);

	/* Exclusives and atomics are only promised on Normal memory */
	if (strcmp(type, S2_DEVICE)) {
		mt_expect_outcome(vcpu, MT_LDXR, gpa + 64, 41, "ok");
		if (mt_host_has_lse()) {
			mt_expect_outcome(vcpu, MT_LDADD, gpa + 64, 1, "ok");
			TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, gpa + 64, 0), 42);
		}
	}

	mt_expect_outcome(vcpu, MT_STR, gpa + 128, RET_INSN, "ok");
	mt_expect_outcome(vcpu, MT_CIVAC, gpa + 128, 0, "ok");
	mt_expect_outcome(vcpu, MT_EXEC, gpa + 128, 0,
			  strcmp(type, S2_WB) ? "external abort" : "ok");
	mt_expect_outcome(vcpu, MT_LDR, gpa + 8, 0, "ok");
}

static void expect(struct kvm_vm *vm, struct kvm_vcpu *vcpu, u64 gpa, const char *type)
{
	if (!strcmp(type, REFUSED) || !strcmp(type, HOLE)) {
		expect_refused(vm, vcpu, gpa,
			       strcmp(type, HOLE) ? KVM_MEMORY_EXIT_FLAG_MEMTYPE : 0);
		return;
	}

	mt_access_ok(vcpu, MT_LDR, gpa, 0);
	expect_leaf(vm, gpa, type);
	expect_behaviour(vcpu, gpa, type);
	expect_leaf(vm, gpa, type);
}

/* The slot can be made of memory that is in order, so that it is the memory that is not */
static void expect_slot_taken(struct kvm_vm *vm, u32 slot_flags, void *hva, u64 size)
{
	static const struct memtype_test_config nc_config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	};
	int fd = mt_test_open(&nc_config);

	TEST_ASSERT(mmap(hva, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    hva, "mmap: %s", strerror(errno));
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, size, hva), 0);
	close(fd);
}

/* ---- the policy's table, through /dev/memtype_test ---- */

FIXTURE(table)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
};

FIXTURE_VARIANT(table)
{
	struct memtype_test_config config;
	u32 slot_flags;
	const char *with;	/* what there is with FEAT_S2FWB and CTR_EL0.DIC */
	const char *without;
};

FIXTURE_SETUP(table)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	self->vm = mt_vm_create(&self->vcpu, SIZE);
}

FIXTURE_TEARDOWN(table)
{
	kvm_vm_free(self->vm);
}

#define __ROW(_name, _slot_flags, _pte, _vma, _flags, _with, _without)	\
FIXTURE_VARIANT_ADD(table, _name)					\
{									\
	.config = {							\
		.pte_type = MEMTYPE_TEST_##_pte,			\
		.vma_type = MEMTYPE_TEST_##_vma,			\
		.flags = _flags,					\
	},								\
	.slot_flags = _slot_flags,					\
	.with = _with,							\
	.without = _without,						\
}

#define ROW(...)	__ROW(__VA_ARGS__)

#define F	KVM_MEM_NONCACHEABLE
#define G	MEMTYPE_TEST_GRANT
#define PMD	MEMTYPE_TEST_PMD
#define POP	MEMTYPE_TEST_POPULATE
#define MKW	MEMTYPE_TEST_MKWRITE
#define ALIAS	MEMTYPE_TEST_ALIAS
#define RAM	MEMTYPE_TEST_RAM

/*  name			slot	PTE	VMA	driver		stage 2 */
ROW(wb,				0,	WB,	WB,	0,		WB_OR_REFUSED);
ROW(wb_granted,			0,	WB,	WB,	G,		WB_OR_REFUSED);
ROW(nc,				0,	NC,	NC,	0,		S2(NC));
ROW(nc_granted,			0,	NC,	NC,	G,		S2(NC));
ROW(device,			0,	DEVICE,	DEVICE,	0,		S2(DEVICE));
ROW(device_granted,		0,	DEVICE,	DEVICE,	G,		S2(NC));
ROW(nc_in_wb,			0,	NC,	WB,	0,		S2(NC));
ROW(nc_in_wb_granted,		0,	NC,	WB,	G,		S2(NC));
ROW(nc_in_device,		0,	NC,	DEVICE,	0,		S2(NC));
ROW(device_in_wb,		0,	DEVICE,	WB,	0,		S2(DEVICE));
ROW(device_in_wb_granted,	0,	DEVICE,	WB,	G,		S2(NC));
ROW(device_in_nc,		0,	DEVICE,	NC,	0,		S2(DEVICE));
ROW(wb_in_nc,			0,	WB,	NC,	0,		S2(DEVICE));
ROW(wb_in_nc_granted,		0,	WB,	NC,	G,		S2(NC));
ROW(wb_in_device,		0,	WB,	DEVICE,	0,		S2(DEVICE));
ROW(wb_in_device_granted,	0,	WB,	DEVICE,	G,		S2(NC));
ROW(nc_pmd,			0,	NC,	NC,	PMD,		S2(NC));
ROW(nc_pmd_granted,		0,	NC,	NC,	PMD | G,	S2(NC));
ROW(device_pmd,			0,	DEVICE,	DEVICE,	PMD,		S2(DEVICE));
ROW(nc_mkwrite,			0,	NC,	NC,	MKW,		S2(NC));
ROW(nc_mkwrite_granted,		0,	NC,	NC,	MKW | G,	S2(NC));
ROW(nc_alias,			0,	NC,	NC,	ALIAS,		S2(NC));
ROW(nc_alias_granted,		0,	NC,	NC,	ALIAS | G,	S2(NC));
ROW(device_alias,		0,	DEVICE,	DEVICE,	ALIAS,		S2(DEVICE));

/* All entries are there from mmap() on: a VMA that is Write-Back is refused early */
ROW(nc_remap,			0,	NC,	NC,	POP,		S2(NC));
ROW(nc_remap_granted,		0,	NC,	NC,	POP | G,	S2(NC));
ROW(device_remap,		0,	DEVICE,	DEVICE,	POP,		S2(DEVICE));
ROW(wb_remap,			0,	WB,	WB,	POP,		WB_OR_EARLY);
ROW(nc_in_wb_remap,		0,	NC,	WB,	POP,		NC_OR_EARLY);
ROW(nc_in_wb_remap_granted,	0,	NC,	WB,	POP | G,	NC_OR_EARLY);

/*
 * RAM, which the kernel has mapped as well. That KVM cleans it to the point of coherency
 * before a guest has it Normal-NC is seen in cache_kvm, where there is a cache.
 */
ROW(wb_ram,			0,	WB,	WB,	RAM,		S2(WB));
ROW(nc_ram,			0,	NC,	NC,	RAM,		S2(NC));
ROW(nc_ram_granted,		0,	NC,	NC,	RAM | G,	S2(NC));
ROW(nc_in_wb_ram,		0,	NC,	WB,	RAM,		S2(NC));
ROW(device_ram,			0,	DEVICE,	DEVICE,	RAM,		S2(WB));
ROW(device_in_wb_ram,		0,	DEVICE,	WB,	RAM,		S2(WB));
ROW(wb_in_nc_ram,		0,	WB,	NC,	RAM,		S2(WB));

ROW(flag_wb,			F,	WB,	WB,	0,		NEVER);
ROW(flag_wb_granted,		F,	WB,	WB,	G,		NEVER);
ROW(flag_nc,			F,	NC,	NC,	0,		S2(NC));
ROW(flag_nc_granted,		F,	NC,	NC,	G,		S2(NC));
ROW(flag_device,		F,	DEVICE,	DEVICE,	0,		NEVER);
ROW(flag_device_granted,	F,	DEVICE,	DEVICE,	G,		S2(NC));
ROW(flag_nc_in_wb,		F,	NC,	WB,	0,		S2(NC));
ROW(flag_nc_in_wb_granted,	F,	NC,	WB,	G,		S2(NC));
ROW(flag_device_in_wb,		F,	DEVICE,	WB,	0,		NEVER);
ROW(flag_device_in_wb_granted,	F,	DEVICE,	WB,	G,		S2(NC));
ROW(flag_wb_in_nc,		F,	WB,	NC,	0,		NEVER);
ROW(flag_wb_in_nc_granted,	F,	WB,	NC,	G,		NEVER);
ROW(flag_wb_in_device_granted,	F,	WB,	DEVICE,	G,		NEVER);
ROW(flag_nc_pmd,		F,	NC,	NC,	PMD,		S2(NC));
ROW(flag_device_pmd,		F,	DEVICE,	DEVICE,	PMD,		NEVER);
ROW(flag_device_pmd_granted,	F,	DEVICE,	DEVICE,	PMD | G,	S2(NC));
ROW(flag_wb_pmd,		F,	WB,	WB,	PMD,		NEVER);
ROW(flag_nc_remap,		F,	NC,	NC,	POP,		S2(NC));
ROW(flag_nc_in_wb_remap,	F,	NC,	WB,	POP,		NC_OR_EARLY);
ROW(flag_nc_mkwrite,		F,	NC,	NC,	MKW,		S2(NC));
ROW(flag_nc_alias,		F,	NC,	NC,	ALIAS,		NEVER);
ROW(flag_nc_alias_granted,	F,	NC,	NC,	ALIAS | G,	NEVER);
ROW(flag_nc_in_wb_alias,	F,	NC,	WB,	ALIAS,		NEVER);
ROW(flag_device_alias_granted,	F,	DEVICE,	DEVICE,	ALIAS | G,	NEVER);
ROW(flag_wb_ram,		F,	WB,	WB,	RAM,		NEVER);
ROW(flag_nc_ram,		F,	NC,	NC,	RAM,		NEVER);
ROW(flag_nc_ram_granted,	F,	NC,	NC,	RAM | G,	NEVER);
ROW(flag_nc_in_wb_ram,		F,	NC,	WB,	RAM,		NEVER);

TEST_F(table, row)
{
	u64 leaf_size = variant->config.flags & PMD ? MT_BLOCK : MT_PAGE;
	u64 size = mt_test_size(&variant->config, SIZE);
	const char *type;
	struct memtype_test_pte pte;
	void *hva;
	int fd;

	if (variant->slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	type = mt_has_cacheable_pfnmap(self->vm) ? variant->with : variant->without;

	fd = mt_test_open(&variant->config);
	hva = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	if (!strcmp(type, EARLY)) {
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, variant->slot_flags, MT_GPA, size, hva),
				EINVAL);
		/* Not for another reason: the same place with other memory */
		expect_slot_taken(self->vm, variant->slot_flags, hva, size);
		goto out;
	}
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, variant->slot_flags, MT_GPA, size, hva), 0);
	expect(self->vm, self->vcpu, MT_GPA, type);

	/* The host's entry is what this row is about, and KVM did not change it */
	pte = mt_host_pte(fd, hva);
	TEST_ASSERT_EQ(pte.type, variant->config.pte_type);
	TEST_ASSERT_EQ(pte.size, leaf_size);

	/* Also where the host's entry was there before the guest's fault */
	mt_host_pte(fd, hva + size - MT_PAGE);
	expect(self->vm, self->vcpu, MT_GPA + size - MT_PAGE, type);
	if (strcmp(type, REFUSED))
		TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, size, leaf_size),
			       leaf_size == size ? 1 : 2);
	else
		TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, size, 0), 0);
out:
	munmap(hva, size);
	close(fd);
}

/* ---- memory that is not a driver's ---- */

static void check_ram(void *hva, u64 leaf_size)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = mt_vm_create(&vcpu, SIZE);

	TEST_ASSERT(hva && hva != MAP_FAILED, "Backing memory: %s", strerror(errno));
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva), EINVAL);
	/* Without the flag there is nothing against that slot */
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	if (s2_dump_exists(vm)) {
		expect(vm, vcpu, MT_GPA, S2_WB);
		TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, leaf_size), 1);
	} else {
		expect_behaviour(vcpu, MT_GPA, S2_WB);
	}
	kvm_vm_free(vm);
}

MT_TEST(anonymous)
{
	void *hva = mt_anon(SIZE);

	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	check_ram(hva, MT_PAGE);
}

MT_TEST(anonymous_thp)
{
	void *hva = mt_anon(SIZE);

	madvise(hva, SIZE, MADV_HUGEPAGE);
	memset(hva, 1, SIZE);
	check_ram(hva, MT_BLOCK);
}

MT_TEST(hugetlb)
{
	void *hva = mt_hugetlb(SIZE);

	if (!hva)
		mt_skip("no huge pages");
	check_ram(hva, MT_BLOCK);
}

MT_TEST(memfd)
{
	int fd = memfd_create("s2_policy", 0);

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd: %s", strerror(errno));
	check_ram(mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), MT_PAGE);
	close(fd);
}

MT_TEST(guest_memfd)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd, ret;

	if (!kvm_has_cap(KVM_CAP_GUEST_MEMFD))
		mt_skip("no guest_memfd");
	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = vm_create_guest_memfd(vm, SIZE, GUEST_MEMFD_FLAG_MMAP |
				   GUEST_MEMFD_FLAG_INIT_SHARED);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	ret = __vm_set_user_memory_region2(vm, MT_SLOT, KVM_MEM_GUEST_MEMFD, MT_GPA,
					   SIZE, hva, fd, 0);
	TEST_ASSERT(!ret, "guest_memfd slot: %s", strerror(errno));
	expect(vm, vcpu, MT_GPA, S2_WB);
	kvm_vm_free(vm);
}

/* ---- a passed-through BAR ---- */

static void check_bar(u32 slot_flags)
{
	const struct bar *named;
	struct kvm_vcpu *vcpu;
	struct mt_bar bar;
	struct kvm_vm *vm;
	u64 leaf_size;

	mt_require_pfnmap();
	named = memory_bar(2 * MT_PAGE);
	mt_bar_open(&bar, named->bdf, named->index, MT_TYPE1);
	vm = mt_vm_create(&vcpu, bar.size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, bar.size, bar.hva), 0);
	expect(vm, vcpu, MT_GPA, S2_NC);
	expect(vm, vcpu, MT_GPA + bar.size - MT_PAGE, S2_NC);
	/* vfio maps its BARs with PMDs, if they are large enough, at an address that allows it */
	leaf_size = mt_leaf_of(bar.size);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, bar.size, leaf_size), bar.size == leaf_size ? 1 : 2);

	/* The device and the guest see the same memory */
	mt_access_ok(vcpu, MT_STR, MT_GPA + 0x100, 0xfeedc0de);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(bar.hva + 0x100)), 0xfeedc0de);
	kvm_vm_free(vm);
	mt_bar_close(&bar);
}

MT_TEST(vfio_bar)
{
	check_bar(0);
}

MT_TEST(flag_vfio_bar)
{
	mt_require_noncacheable();
	check_bar(KVM_MEM_NONCACHEABLE);
}

/* ---- mappings that change, mix or end ---- */

static const struct memtype_test_config nc_in_wb_granted = {
	.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_WB,
	.flags = MEMTYPE_TEST_GRANT,
};

/*
 * mprotect() rewrites the entries. It must keep their type, which the VMA does
 * not know, and the slot must follow the permission.
 */
static void check_mprotect(const struct memtype_test_config *config, u32 slot_flags)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct mt_result r;
	void *hva;
	int fd;

	mt_require_pfnmap();
	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, SIZE, hva), 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);

	TEST_ASSERT(!mprotect(hva, SIZE, PROT_READ), "mprotect: %s", strerror(errno));
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).type, MEMTYPE_TEST_NC);
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA, 0), 1);
	expect_leaf(vm, MT_GPA, S2_NC);
	r = mt_access(vcpu, MT_STR, MT_GPA, 2);
	MT_EXPECT_ERRNO(r.run_errno, EFAULT);

	TEST_ASSERT(!mprotect(hva, SIZE, PROT_READ | PROT_WRITE), "mprotect: %s",
		    strerror(errno));
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).type, MEMTYPE_TEST_NC);
	expect(vm, vcpu, MT_GPA, S2_NC);
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).type, MEMTYPE_TEST_NC);

	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

MT_TEST(read_only_and_back)
{
	check_mprotect(&nc_in_wb_granted, 0);
}

MT_TEST(flag_read_only_and_back)
{
	check_mprotect(&nc_in_wb_granted, KVM_MEM_NONCACHEABLE);
}

MT_TEST(flag_read_only_and_back_pmd)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD,
	};

	check_mprotect(&config, KVM_MEM_NONCACHEABLE);
}

/* A driver that learns of the first write, as for dirty tracking of its own */
static void check_mkwrite(u32 slot_flags)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_MKWRITE | MEMTYPE_TEST_GRANT,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	mt_require_pfnmap();
	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, SIZE, hva), 0);

	/* The host's entry is there and read-only, at stage 2 there is none */
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).writable, 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).writable, 1);
	/* The guest has read it before */
	mt_access_ok(vcpu, MT_LDR, MT_GPA + MT_PAGE, 0);
	TEST_ASSERT_EQ(mt_host_pte(fd, hva + MT_PAGE).writable, 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA + MT_PAGE, 1);
	TEST_ASSERT_EQ(mt_host_pte(fd, hva + MT_PAGE).writable, 1);
	/* Nobody has been there before */
	mt_access_ok(vcpu, MT_STR, MT_GPA + 2 * MT_PAGE, 1);
	TEST_ASSERT_EQ(mt_host_pte(fd, hva + 2 * MT_PAGE).writable, 1);
	expect_leaf(vm, MT_GPA, S2_NC);
	expect_leaf(vm, MT_GPA + 2 * MT_PAGE, S2_NC);

	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

MT_TEST(mkwrite)
{
	check_mkwrite(0);
}

MT_TEST(flag_mkwrite)
{
	check_mkwrite(KVM_MEM_NONCACHEABLE);
}

/*
 * A driver that wants to see the next write as well, and write-protects the entries
 * again: vmwgfx does, by helpers of core mm, and so does deferred I/O of fbdev.
 */
static void check_write_protected(u32 slot_flags)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_MKWRITE,
	};
	const int nr = 4;
	struct s2_range range;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd, i, round;
	void *hva;

	mt_require_pfnmap();
	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, SIZE, hva), 0);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, nr);

	for (round = 1; round < 4; round++) {
		TEST_ASSERT_EQ(mt_wrprotect(fd, 0, nr * MT_PAGE), nr);
		for (i = 0; i < nr; i++) {
			struct memtype_test_pte pte = mt_host_pte(fd, hva + i * MT_PAGE);

			TEST_ASSERT_EQ(pte.writable, 0);
			TEST_ASSERT_EQ(pte.type, MEMTYPE_TEST_NC);
			TEST_ASSERT(!s2_find(vm, MT_GPA + i * MT_PAGE, &range) ||
				    !range.writable, "The guest can write to page %d", i);
		}

		/* The guest writes, or has read before, or the VMM has written */
		TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA + MT_PAGE, 0),
			       READ_ONCE(*(u64 *)(hva + MT_PAGE)));
		TEST_ASSERT(s2_find(vm, MT_GPA + MT_PAGE, &range) && !range.writable,
			    "Read, and writable");
		TEST_ASSERT_EQ(mt_host_pte(fd, hva + MT_PAGE).writable, 0);
		WRITE_ONCE(*(u64 *)(hva + 2 * MT_PAGE), 0);
		for (i = 0; i < nr; i++) {
			mt_access_ok(vcpu, MT_STR, MT_GPA + i * MT_PAGE, round);
			TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + i * MT_PAGE)), round);
			TEST_ASSERT_EQ(mt_host_pte(fd, hva + i * MT_PAGE).writable, 1);
			expect_leaf(vm, MT_GPA + i * MT_PAGE, S2_NC);
		}
	}

	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

MT_TEST(write_protected)
{
	check_write_protected(0);
}

MT_TEST(flag_write_protected)
{
	check_write_protected(KVM_MEM_NONCACHEABLE);
}

/*
 * That the fault handler succeeds need not mean that the entry is writable now, nor that
 * it never will be.
 */
static void check_asked(u32 flag, int want_errno)
{
	const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_MKWRITE | flag,
	};
	struct s2_range range;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);

	/* An entry that is there, and one that is not */
	mt_access_ok(vcpu, MT_LDR, MT_GPA, 0);
	MT_EXPECT_ERRNO(mt_access(vcpu, MT_STR, MT_GPA, 1).run_errno, want_errno);
	MT_EXPECT_ERRNO(mt_access(vcpu, MT_STR, MT_GPA + MT_PAGE, 2).run_errno, want_errno);
	mt_access_ok(vcpu, MT_LDR, MT_GPA, 0);
	TEST_ASSERT(s2_find(vm, MT_GPA, &range) && range.writable == !want_errno,
		    "The guest can%s write", want_errno ? "" : " not");
	TEST_ASSERT_EQ(mt_host_pte(fd, hva).writable, !want_errno);
	if (!want_errno) {
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)hva), 1);
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + MT_PAGE)), 2);
	}

	kvm_vm_free(vm);
	munmap(hva, SIZE);
	close(fd);
}

MT_TEST(write_reluctant)
{
	check_asked(MEMTYPE_TEST_RELUCTANT, 0);
}

MT_TEST(write_stubborn)
{
	check_asked(MEMTYPE_TEST_STUBBORN, EFAULT);
}

/* What has been copied on write is RAM, the rest is still the driver's */
MT_TEST(private_cow)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT | MEMTYPE_TEST_POPULATE,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	WRITE_ONCE(*(u64 *)hva, 1);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	expect(vm, vcpu, MT_GPA, S2_WB);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + MT_PAGE, 0);
	expect_leaf(vm, MT_GPA + MT_PAGE, S2_NC);
	/* The guest's own write does not put a copy there behind everybody's back */
	MT_EXPECT_ERRNO(mt_access(vcpu, MT_STR, MT_GPA + MT_PAGE, 1).run_errno, EFAULT);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + MT_PAGE, 0);
	expect_leaf(vm, MT_GPA + MT_PAGE, S2_NC);
	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

struct piece {
	struct memtype_test_config config;
	const char *type;
};

/* Of a piece, which is a VMA of its own */
#define PIECE_SIZE	(16 * MT_PAGE)

static void check_pieces(const struct piece *pieces, int nr, u32 slot_flags)
{
	void *hva = mt_mmap(-1, SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, 0);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, fd;

	mt_require_pfnmap();
	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	for (i = 0; i < nr; i++) {
		/* There is less of RAM, and with pages of 64 KiB of the alias */
		u64 offset = pieces[i].config.flags & (RAM | ALIAS) ? 0 : i * PIECE_SIZE;
		void *at = hva + i * PIECE_SIZE;

		if (!strcmp(pieces[i].type, HOLE)) {
			munmap(at, PIECE_SIZE);
		} else if (strcmp(pieces[i].type, S2_WB)) {
			fd = mt_test_open(&pieces[i].config);
			TEST_ASSERT(mmap(at, PIECE_SIZE, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_FIXED, fd, offset) == at,
				    "Piece %d: %s", i, strerror(errno));
			close(fd);
		}
	}

	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, nr * PIECE_SIZE, hva), 0);
	for (i = 0; i < nr; i++)
		expect(vm, vcpu, MT_GPA + i * PIECE_SIZE, pieces[i].type);
	/* And in the other order, after a refusal */
	for (i = nr - 1; i >= 0; i--)
		expect(vm, vcpu, MT_GPA + i * PIECE_SIZE + PIECE_SIZE / 2, pieces[i].type);
	munmap(hva, SIZE);
	kvm_vm_free(vm);
}

#define PIECE(_pte, _vma, _flags, _type)				\
	{ { .pte_type = MEMTYPE_TEST_##_pte, .vma_type = MEMTYPE_TEST_##_vma, \
	    .flags = _flags }, _type }

MT_TEST(several_vmas)
{
	static const struct piece pieces[] = {
		PIECE(NC, NC, G, S2_NC),
		PIECE(WB, WB, 0, S2_WB),
		PIECE(DEVICE, DEVICE, 0, S2_DEVICE),
		PIECE(NC, WB, G, S2_NC),
		PIECE(DEVICE, DEVICE, G, S2_NC),
		PIECE(NC, WB, 0, S2_NC),
		PIECE(NC, NC, RAM, S2_NC),
	};

	check_pieces(pieces, ARRAY_SIZE(pieces), 0);
}

MT_TEST(flag_several_vmas)
{
	static const struct piece pieces[] = {
		PIECE(NC, NC, G, S2_NC),
		PIECE(DEVICE, DEVICE, 0, REFUSED),
		PIECE(NC, WB, 0, S2_NC),
		PIECE(DEVICE, DEVICE, G, S2_NC),
		PIECE(NC, WB, ALIAS, REFUSED),
		PIECE(NC, NC, 0, S2_NC),
	};

	check_pieces(pieces, ARRAY_SIZE(pieces), KVM_MEM_NONCACHEABLE);
}

/* Without the flag a hole is no error until the guest goes there */
MT_TEST(hole)
{
	static const struct piece pieces[] = {
		PIECE(NC, NC, G, S2_NC),
		PIECE(WB, WB, 0, HOLE),
		PIECE(DEVICE, DEVICE, 0, S2_DEVICE),
	};

	check_pieces(pieces, ARRAY_SIZE(pieces), 0);
}

static void nothing(int sig)
{
}

static void *store(void *vcpu)
{
	static struct mt_result r;

	r = mt_access(vcpu, MT_STR, MT_GPA, 1);
	return &r;
}

/*
 * A vCPU that is kicked while the fault handler waits for its device has not failed: it
 * returns to the VMM for the signal, and is run again, however often.
 */
MT_TEST(interrupted)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_BUSY,
	};
	struct sigaction sa = { .sa_handler = nothing };
	struct kvm_vcpu *vcpu;
	struct mt_result *r;
	struct kvm_vm *vm;
	pthread_t thread;
	int fd, i, n;
	void *hva;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&thread, NULL, store, vcpu);
	for (i = 0; i < 20; i++) {
		usleep(20000);
		pthread_kill(thread, SIGUSR1);
	}
	n = ioctl(fd, MEMTYPE_TEST_RELEASE);
	pthread_join(thread, (void **)&r);
	TEST_ASSERT(!strcmp(mt_outcome(r), "ok"), "After %d signals: %s", n, mt_outcome(r));
	TEST_ASSERT(n > 0, "The fault handler was not interrupted");
	expect_leaf(vm, MT_GPA, S2_NC);
	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

/* A flagged read-only slot; the guest's write goes to user space as MMIO */
MT_TEST(flag_readonly)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
	};
	struct kvm_vcpu *vcpu;
	struct s2_range range;
	struct mt_result r;
	struct kvm_vm *vm;
	void *hva;
	int fd;

	mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&config);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE | KVM_MEM_READONLY,
				    MT_GPA, SIZE, hva), 0);
	WRITE_ONCE(*(u64 *)hva, 0x77);
	TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, MT_GPA, 0), 0x77);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + 1, 0);
	expect_leaf(vm, MT_GPA, S2_NC);
	TEST_ASSERT(s2_find(vm, MT_GPA, &range) && !range.writable, "Writable leaf");
	r = mt_access(vcpu, MT_STR, MT_GPA, 1);
	TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)hva), 0x77);
	munmap(hva, SIZE);
	close(fd);
	kvm_vm_free(vm);
}

MT_NEEDS(MT_PFNMAP)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * s2_nested - Memory types, refusals and VNCR pages of nested guests
 *
 * The guest is a hypervisor (L1) that runs a guest of its own (L2) with a stage 2 of
 * its own, which is Write-Back throughout. KVM makes a shadow of it: what L2 gets must
 * have the type of the host's memory, whatever L1 says; what is refused must be
 * reported by the address that the VMM knows; and L1 must not have KVM map a page of a
 * flagged slot for itself, cacheable, by having VNCR_EL2 point there.
 *
 * L1 is as small as it can be: EL2 with VHE, as libkvm sets it up, two blocks of 1 GiB
 * at stage 2 and a L2 of three instructions, with its MMU off.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include <asm/sysreg.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "processor.h"
#include "s2_dump.h"

#define SIZE		SZ_2M
/* What L2 knows MT_GPA by */
#define L2_IPA		SZ_1G

/* A page that L1's VNCR_EL2 may point to */
#define VNCR_HCR_OFFSET	0x078

#define L2_LOAD		0
#define L2_STORE	1
#define L2_READ_HCR	2
#define NR_L2		3

/* Each ends in "hvc #0" */
static const u32 l2_code[NR_L2][2] = {
	[L2_LOAD]	= { 0xf9400000, 0xd4000002 },	/* ldr x0, [x0] */
	[L2_STORE]	= { 0xf9000001, 0xd4000002 },	/* str x1, [x0] */
	[L2_READ_HCR]	= { 0xd53c1100, 0xd4000002 },	/* mrs x0, hcr_el2 */
};

/* From the VMM to L1, and what has come of it */
static struct {
	u64 code;	/* where l2_code is */
	u64 table;	/* L1's stage 2 */
	u64 what;
	u64 addr;
	u64 val;
	u64 vncr;
	u64 esr;	/* of the exception that ended it */
} l1;

/* A 39-bit IPA space by one table of 1 GiB entries, all of it Write-Back */
#define L1_VTCR		((1UL << 31) | (2UL << 16) | (3UL << 12) | (1UL << 10) | \
			 (1UL << 8) | (1UL << 6) | 25)
#define S2_BLOCK	((1UL << 10) | (3UL << 8) | (3UL << 6) | (0xfUL << 2) | 1)

#define PSTATE_EL1H	0x3c5
#define PSTATE_EL2H	0x3c9

void l2_return(void);

/* Any exception from L2 ends it: L1 goes on, and has L2's x0 */
static void l1_exception(struct ex_regs *regs)
{
	l1.esr = read_sysreg(esr_el1);
	regs->pc = (u64)l2_return;
	regs->pstate = PSTATE_EL2H;
}

/* The registers that the compiler counts on are on the stack meanwhile */
static noinline u64 run_l2(u64 pc, u64 addr, u64 val)
{
	register u64 x0 asm("x0") = addr;
	register u64 x1 asm("x1") = val;
	register u64 x2 asm("x2") = pc;

	asm volatile("stp x19, x20, [sp, #-96]!\n"
		     "stp x21, x22, [sp, #16]\n"
		     "stp x23, x24, [sp, #32]\n"
		     "stp x25, x26, [sp, #48]\n"
		     "stp x27, x28, [sp, #64]\n"
		     "stp x29, x30, [sp, #80]\n"
		     "msr elr_el1, x2\n"
		     "mov x3, %[pstate]\n"
		     "msr spsr_el1, x3\n"
		     "eret\n"
		     ".global l2_return\n"
		     "l2_return:\n"
		     "ldp x21, x22, [sp, #16]\n"
		     "ldp x23, x24, [sp, #32]\n"
		     "ldp x25, x26, [sp, #48]\n"
		     "ldp x27, x28, [sp, #64]\n"
		     "ldp x29, x30, [sp, #80]\n"
		     "ldp x19, x20, [sp], #96\n"
		     : "+r" (x0), "+r" (x1), "+r" (x2)
		     : [pstate] "i" (PSTATE_EL1H)
		     : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
		       "x14", "x15", "x16", "x17", "memory", "cc");
	return x0;
}

static void l1_main(void)
{
	u64 host_hcr = read_sysreg(hcr_el2), hcr;

	GUEST_ASSERT_EQ(get_current_el(), 2);
	for (;;) {
		l1.esr = 0;
		hcr = HCR_EL2_E2H | HCR_EL2_RW | HCR_EL2_VM;
		if (READ_ONCE(l1.vncr)) {
			/* L2 believes to be at EL2, and has its registers in memory */
			write_sysreg_s(READ_ONCE(l1.vncr), SYS_VNCR_EL2);
			hcr |= HCR_EL2_NV | HCR_EL2_NV2;
		}
		write_sysreg(L1_VTCR, vtcr_el2);
		write_sysreg(READ_ONCE(l1.table), vttbr_el2);
		write_sysreg(hcr, hcr_el2);
		isb();
		l1.val = run_l2(l1.code + READ_ONCE(l1.what) * sizeof(l2_code[0]),
				READ_ONCE(l1.addr), READ_ONCE(l1.val));
		write_sysreg(host_hcr, hcr_el2);
		isb();
		GUEST_SYNC(0);
	}
}

struct env {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;
	int fd;
	u64 size;
};

static const struct memtype_test_config nc_config = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
};

static u64 host_page(struct kvm_vm *vm, const void *content, size_t size)
{
	u64 gpa = vm_phy_page_alloc(vm, vm->page_size * 8, 0);
	void *hva = addr_gpa2hva(vm, gpa);

	memset(hva, 0, vm->page_size);
	memcpy(hva, content, size);
	return gpa;
}

static struct env env_create(u32 slot_flags, const struct memtype_test_config *config)
{
	static const u64 table[512] = {
		[0] = S2_BLOCK, [L2_IPA / SZ_1G] = MT_GPA | S2_BLOCK,
	};
	struct env e = { .size = SIZE };

	if (!kvm_check_cap(KVM_CAP_ARM_EL2))
		mt_skip("no nested guests: KVM_CAP_ARM_EL2");
	e.vm = vm_create_with_one_vcpu(&e.vcpu, l1_main);
	vm_init_descriptor_tables(e.vm);
	vcpu_init_descriptor_tables(e.vcpu);
	vm_install_sync_handler(e.vm, VECTOR_SYNC_LOWER_64, ESR_ELx_EC_HVC64, l1_exception);
	vm_install_sync_handler(e.vm, VECTOR_SYNC_LOWER_64, ESR_ELx_EC_DABT_LOW, l1_exception);
	vm_install_sync_handler(e.vm, VECTOR_SYNC_LOWER_64, ESR_ELx_EC_IABT_LOW, l1_exception);
	/* An abort of an access by VNCR_EL2 is one of EL2's own */
	vm_install_sync_handler(e.vm, VECTOR_SYNC_LOWER_64, ESR_ELx_EC_DABT_CUR, l1_exception);
	vm_install_sync_handler(e.vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_DABT_CUR, l1_exception);
	virt_map(e.vm, MT_GPA, MT_GPA, SIZE / e.vm->page_size);

	if (config) {
		if (config->flags & MEMTYPE_TEST_RAM)
			e.size = MEMTYPE_TEST_RAM_SIZE;
		e.fd = mt_test_open(config);
		e.hva = mt_mmap(e.fd, e.size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	} else {
		e.fd = -1;
		e.hva = mt_anon(SIZE);
		madvise(e.hva, SIZE, MADV_NOHUGEPAGE);
	}
	MT_EXPECT_ERRNO(mt_set_slot(e.vm, slot_flags, MT_GPA, e.size, e.hva), 0);

	memset(&l1, 0, sizeof(l1));
	l1.code = host_page(e.vm, l2_code, sizeof(l2_code));
	l1.table = host_page(e.vm, table, sizeof(table));
	sync_global_to_guest(e.vm, l1);
	return e;
}

static void env_free(struct env *e)
{
	kvm_vm_free(e->vm);
	munmap(e->hva, e->size);
	if (e->fd >= 0)
		close(e->fd);
}

static void set_l2(struct env *e, u64 what, u64 addr, u64 val)
{
	l1.what = what;
	l1.addr = addr;
	l1.val = val;
	sync_global_to_guest(e->vm, l1);
}

/* L2 runs to its end; how it got there is in l1 */
static void finish_l2(struct env *e)
{
	vcpu_run(e->vcpu);
	mt_expect_sync(e->vcpu);
	sync_global_from_guest(e->vm, l1);
}

static u64 run_l2_ok(struct env *e, u64 what, u64 addr, u64 val)
{
	set_l2(e, what, addr, val);
	finish_l2(e);
	TEST_ASSERT(ESR_ELx_EC(l1.esr) == ESR_ELx_EC_HVC64, "L2 ended with ESR %#lx",
		    (unsigned long)l1.esr);
	return l1.val;
}

/* The shadow stage 2's leaf for an address of L2's */
static void expect_shadow(struct env *e, u64 ipa, const char *type)
{
	struct s2_range *ranges;
	char file[32];
	size_t nr = 0;
	int i;

	/* One of those that there are is in use */
	for (i = 0; !nr; i++) {
		snprintf(file, sizeof(file), "nested/nested_mmu%d", i);
		TEST_ASSERT(s2_dump_file_exists(e->vm, file), "No shadow has %#lx",
			    (unsigned long)ipa);
		nr = s2_dump_file(e->vm, file, ipa, SZ_4K, &ranges);
		if (!nr)
			continue;
		TEST_ASSERT(!strcmp(ranges[0].type, type), "L2's %#lx is '%s', expected '%s'",
			    (unsigned long)ipa, ranges[0].type, type);
		if (strcmp(type, S2_WB))
			TEST_ASSERT(ranges[0].xn, "L2's %#lx is executable (%s)",
				    (unsigned long)ipa, ranges[0].perms);
		free(ranges);
	}
}

static void expect_l2_fault(struct env *e, u64 what, u64 offset, u64 flags)
{
	struct kvm_run *run = e->vcpu->run;
	int ret;

	set_l2(e, what, L2_IPA + offset, 0);
	memset(&run->memory_fault, 0, sizeof(run->memory_fault));
	ret = __vcpu_run(e->vcpu);
	TEST_ASSERT(ret, "It runs");
	MT_EXPECT_ERRNO(errno, EFAULT);
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	/* Not L2's address, which userspace has no slot for */
	TEST_ASSERT_EQ(run->memory_fault.gpa, MT_GPA + offset);
	TEST_ASSERT_EQ(run->memory_fault.size, SZ_4K);
	TEST_ASSERT_EQ(run->memory_fault.flags, flags);
}

/* ---- the shadow stage 2 ---- */

MT_TEST(ram)
{
	struct env e = env_create(0, NULL);

	run_l2_ok(&e, L2_STORE, L2_IPA + 8, 0x1234);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(e.hva + 8)), 0x1234);
	TEST_ASSERT_EQ(run_l2_ok(&e, L2_LOAD, L2_IPA + 8, 0), 0x1234);
	expect_shadow(&e, L2_IPA, S2_WB);
	env_free(&e);
}

static void check_shadow(u32 slot_flags, const struct memtype_test_config *config,
			 const char *type)
{
	struct env e;

	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	e = env_create(slot_flags, config);
	run_l2_ok(&e, L2_STORE, L2_IPA + 8, 0x1234);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(e.hva + 8)), 0x1234);
	expect_shadow(&e, L2_IPA, type);
	TEST_ASSERT_EQ(run_l2_ok(&e, L2_LOAD, L2_IPA + SZ_64K, 0), 0);
	expect_shadow(&e, L2_IPA + SZ_64K, type);

	/* The owner takes it away, and it is faulted in again with the same type */
	mt_zap(e.fd, 0, SIZE);
	TEST_ASSERT_EQ(run_l2_ok(&e, L2_LOAD, L2_IPA + 8, 0), 0x1234);
	expect_shadow(&e, L2_IPA, type);
	env_free(&e);
}

MT_TEST(nc)
{
	check_shadow(0, &nc_config, S2_NC);
}

MT_TEST(device)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
	};

	check_shadow(0, &config, S2_DEVICE);
}

MT_TEST(flag)
{
	check_shadow(KVM_MEM_NONCACHEABLE, &nc_config, S2_NC);
}

MT_TEST(flag_blocks)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD,
	};

	check_shadow(KVM_MEM_NONCACHEABLE, &config, S2_NC);
}

MT_TEST(flag_logging)
{
	check_shadow(KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES, &nc_config, S2_NC);
}

/* ---- refusals ---- */

/* The VMM is told by its own address, mends its mapping, and L2 goes on */
MT_TEST(flag_refused)
{
	struct env e;
	void *at;

	mt_require_noncacheable();
	e = env_create(KVM_MEM_NONCACHEABLE, &nc_config);
	at = e.hva + SZ_64K;
	run_l2_ok(&e, L2_STORE, L2_IPA, 1);
	mmap(at, SZ_64K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect_l2_fault(&e, L2_STORE, SZ_64K + SZ_8K, KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	TEST_ASSERT(mmap(at, SZ_64K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, e.fd,
			 SZ_64K) == at, "mmap: %s", strerror(errno));
	finish_l2(&e);
	TEST_ASSERT_EQ(ESR_ELx_EC(l1.esr), ESR_ELx_EC_HVC64);
	expect_shadow(&e, L2_IPA + SZ_64K + SZ_8K, S2_NC);
	env_free(&e);
}

MT_TEST(hole)
{
	struct env e = env_create(0, NULL);

	run_l2_ok(&e, L2_STORE, L2_IPA, 1);
	munmap(e.hva + SZ_64K, SZ_4K);
	expect_l2_fault(&e, L2_LOAD, SZ_64K, 0);
	env_free(&e);
}

/* While L2 runs, addresses are not the VMM's */
MT_TEST(prefault)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = SZ_64K };
	struct env e;

	mt_require_noncacheable();
	e = env_create(KVM_MEM_NONCACHEABLE, &nc_config);
	mmap(e.hva + SZ_64K, SZ_4K, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	/* Before, and of L1's own stage 2 */
	vcpu_ioctl(e.vcpu, KVM_PRE_FAULT_MEMORY, &range);
	TEST_ASSERT_EQ(range.size, 0);
	mt_expect_nc(e.vm, MT_GPA, SZ_64K, "populated for L1");

	expect_l2_fault(&e, L2_LOAD, SZ_64K, KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	range = (struct kvm_pre_fault_memory) { .gpa = MT_GPA, .size = SZ_64K };
	TEST_ASSERT(__vcpu_ioctl(e.vcpu, KVM_PRE_FAULT_MEMORY, &range), "It works");
	MT_EXPECT_ERRNO(errno, EOPNOTSUPP);
	env_free(&e);
}

/* ---- VNCR_EL2 ---- */

static void require_nv2(struct kvm_vcpu *vcpu)
{
	u64 mmfr4 = vcpu_get_reg(vcpu, KVM_ARM64_SYS_REG(SYS_ID_AA64MMFR4_EL1));
	u64 mmfr2 = vcpu_get_reg(vcpu, KVM_ARM64_SYS_REG(SYS_ID_AA64MMFR2_EL1));

	if (!SYS_FIELD_GET(ID_AA64MMFR4_EL1, NV_frac, mmfr4) &&
	    !SYS_FIELD_GET(ID_AA64MMFR2_EL1, NV, mmfr2))
		mt_skip("L1 has no FEAT_NV2");
}

/* In ordinary memory: what L2 reads as HCR_EL2 is what is in the page */
MT_TEST(vncr_ram)
{
	struct env e = env_create(0, NULL);

	require_nv2(e.vcpu);
	WRITE_ONCE(*(u64 *)(e.hva + VNCR_HCR_OFFSET), 0x55aa);
	l1.vncr = MT_GPA;
	TEST_ASSERT_EQ(run_l2_ok(&e, L2_READ_HCR, 0, 0), 0x55aa);
	env_free(&e);
}

/* L1 gets the external abort that it gets for memory that is not RAM */
static void check_vncr_refused(u32 slot_flags, const struct memtype_test_config *config,
			       bool replace)
{
	struct env e;

	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	e = env_create(slot_flags, config);
	require_nv2(e.vcpu);
	/* Even if it is RAM, which KVM could map */
	if (replace)
		mmap(e.hva, SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	WRITE_ONCE(*(u64 *)(e.hva + VNCR_HCR_OFFSET), 0x55aa);
	l1.vncr = MT_GPA;
	set_l2(&e, L2_READ_HCR, 0, 0);
	finish_l2(&e);
	TEST_ASSERT(ESR_ELx_EC(l1.esr) == ESR_ELx_EC_DABT_CUR &&
		    (l1.esr & ESR_ELx_FSC_TYPE) == ESR_ELx_FSC_EXTABT, "ESR %#lx",
		    (unsigned long)l1.esr);
	TEST_ASSERT(l1.val != 0x55aa, "L2 has read the page");
	env_free(&e);
}

MT_TEST(vncr_nc)
{
	check_vncr_refused(0, &nc_config, false);
}

/* RAM that its driver has mapped Normal-NC: so has L1, and KVM would not */
MT_TEST(vncr_nc_ram)
{
	static const struct memtype_test_config config = {
		.pte_type = MEMTYPE_TEST_NC, .vma_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_RAM,
	};

	check_vncr_refused(0, &config, false);
}

MT_TEST(flag_vncr)
{
	check_vncr_refused(KVM_MEM_NONCACHEABLE, &nc_config, false);
}

MT_TEST(flag_vncr_over_ram)
{
	check_vncr_refused(KVM_MEM_NONCACHEABLE, &nc_config, true);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN

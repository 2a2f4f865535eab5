// SPDX-License-Identifier: GPL-2.0
/* A guest that does one access at a time; see guest.h */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/sizes.h>

#include "guest.h"
#include "harness.h"
#include "pages.h"
#include "processor.h"

const char * const mt_op_names[MT_NR_OPS] = {
	[MT_LDR] = "ldr", [MT_STR] = "str", [MT_LDP] = "ldp", [MT_STP] = "stp",
	[MT_LDXR] = "ldxr/stxr", [MT_LDADD] = "ldadd", [MT_EXEC] = "exec",
	[MT_CIVAC] = "dc civac", [MT_TIMED_STR] = "timed str", [MT_FILL] = "fill",
	[MT_COPY] = "copy",
	[MT_FILL_ODD] = "fill odd", [MT_COUNT] = "count", [MT_READ_ALL] = "read all",
	[MT_TIMED_LDR] = "timed ldr",
};

/* Of one vCPU; written by the host before, and by the guest during, each access */
static struct mt_req {
	u64 op;
	u64 addr;
	u64 val;
	u64 esr;
} mt_reqs[MT_MAX_VCPUS];

static u64 mt_initial_sp[MT_MAX_VCPUS];

/* The guest has no getpagesize() */
static u64 mt_stride;

static struct mt_req *guest_req(void)
{
	return &mt_reqs[guest_get_vcpuid()];
}

static void guest_data_abort(struct ex_regs *regs)
{
	guest_req()->esr = read_sysreg(esr_el1);
	regs->pc += 4;
}

/* The branch that got here left its return address in x30 */
static void guest_insn_abort(struct ex_regs *regs)
{
	guest_req()->esr = read_sysreg(esr_el1);
	regs->pc = regs->regs[30];
}

static u64 guest_exclusive(u64 addr, u64 val)
{
	u64 old;
	u32 fail;

	asm volatile("1: ldxr %0, [%2]\n"
		     "stxr %w1, %3, [%2]\n"
		     "cbnz %w1, 1b\n"
		     : "=&r" (old), "=&r" (fail) : "r" (addr), "r" (val) : "memory");
	return old;
}

static u64 guest_timed_str(u64 addr, u64 val)
{
	u64 before, after;

	asm volatile("isb\n"
		     "mrs %0, cntvct_el0\n"
		     "str %3, [%2]\n"
		     "isb\n"
		     "mrs %1, cntvct_el0\n"
		     : "=&r" (before), "=&r" (after) : "r" (addr), "r" (val) : "memory");
	return after - before;
}

static u64 guest_timed_ldr(u64 addr)
{
	u64 before, after;

	asm volatile("isb\n"
		     "mrs %0, cntvct_el0\n"
		     "ldr xzr, [%2]\n"
		     "isb\n"
		     "mrs %1, cntvct_el0\n"
		     : "=&r" (before), "=&r" (after) : "r" (addr) : "memory");
	return after - before;
}

/* Read from memory that is aligned well, so that only the stores are not */
static u8 mt_copy_from[MT_COPY_MAX] __aligned(16);

u8 mt_copy_byte(u64 i)
{
	return i * 7 + 1;
}

/*
 * What optimized copies do: 16 bytes at a time at any alignment, and the last 16
 * bytes once more instead of a loop over what remains.
 */
static void guest_copy(u64 addr, u64 len)
{
	u64 from = (u64)mt_copy_from, i;

	for (i = 0; i < len; i += 16) {
		if (i + 16 > len)
			i = len - 16;
		/* See mt_access() for the read in between */
		asm volatile("ldp x9, x10, [%0]\n"
			     "ldr xzr, [%2]\n"
			     "stp x9, x10, [%1]"
			     :: "r" (from + i), "r" (addr + i), "r" ((addr + i) & ~63UL)
			     : "x9", "x10", "memory");
	}
}

static u64 guest_access(u64 op, u64 addr, u64 val)
{
	u64 aligned = addr & ~63UL, i;
	bool misaligned = addr & 7;
	u64 res = 0, res2;

	switch (op) {
	case MT_LDR:
		if (misaligned)
			asm volatile("ldr xzr, [%0]" :: "r" (aligned) : "memory");
		asm volatile("ldr %0, [%1]" : "=r" (res) : "r" (addr) : "memory");
		break;
	case MT_STR:
		if (misaligned)
			asm volatile("str xzr, [%0]" :: "r" (aligned) : "memory");
		asm volatile("str %0, [%1]" :: "r" (val), "r" (addr) : "memory");
		break;
	case MT_LDP:
		if (misaligned)
			asm volatile("ldr xzr, [%0]" :: "r" (aligned) : "memory");
		asm volatile("ldp %0, %1, [%2]"
			     : "=&r" (res), "=&r" (res2) : "r" (addr) : "memory");
		break;
	case MT_STP:
		if (misaligned)
			asm volatile("str xzr, [%0]" :: "r" (aligned) : "memory");
		asm volatile("stp %0, %0, [%1]" :: "r" (val), "r" (addr) : "memory");
		break;
	case MT_LDXR:
		res = guest_exclusive(addr, val);
		break;
	case MT_LDADD:
		asm volatile(".arch_extension lse\n"
			     "ldadd %2, %0, [%1]"
			     : "=r" (res) : "r" (addr), "r" (val) : "memory");
		break;
	case MT_EXEC:
		asm volatile("blr %0" :: "r" (addr) : "x30", "memory");
		break;
	case MT_CIVAC:
		asm volatile("dc civac, %0\n"
			     "dsb sy" :: "r" (addr) : "memory");
		break;
	case MT_TIMED_STR:
		res = guest_timed_str(addr, val);
		break;
	case MT_FILL:
		for (i = 0; i < val; i++)
			asm volatile("str %0, [%1]"
				     :: "r" (i), "r" (addr + i * mt_stride) : "memory");
		break;
	case MT_COPY:
		guest_copy(addr, val);
		break;
	case MT_FILL_ODD:
		for (i = 0; i < val; i++)
			asm volatile("str %0, [%1]"
				     :: "r" (i), "r" (addr + (2 * i + 1) * mt_stride) : "memory");
		break;
	case MT_COUNT:
		for (i = 0; i < val; i++) {
			asm volatile("ldr %0, [%1]"
				     : "=r" (res2) : "r" (addr + i * mt_stride) : "memory");
			asm volatile("str %0, [%1]"
				     :: "r" (res2 + 1), "r" (addr + i * mt_stride) : "memory");
		}
		break;
	case MT_READ_ALL:
		for (i = 0; i < val; i++) {
			asm volatile("ldr %0, [%1]"
				     : "=r" (res2) : "r" (addr + i * mt_stride) : "memory");
			res += res2;
		}
		break;
	case MT_TIMED_LDR:
		res = guest_timed_ldr(addr);
		break;
	}

	return res;
}

static void guest_main(void)
{
	struct mt_req *req = guest_req();

	for (;;) {
		req->val = guest_access(READ_ONCE(req->op), READ_ONCE(req->addr),
					READ_ONCE(req->val));
		GUEST_SYNC(0);
	}
}

/* A vCPU whose access KVM refused stands at that access; start over */
static void mt_restart(struct kvm_vcpu *vcpu)
{
	vcpu_set_reg(vcpu, ctxt_reg_alias(vcpu, SYS_SP_EL1), mt_initial_sp[vcpu->id]);
	vcpu_arch_set_entry_point(vcpu, guest_main);
}

static void mt_enable_caps(struct kvm_vm *vm, const struct mt_caps *caps)
{
	struct kvm_userspace_memory_region2 *slot0 = &memslot2region(vm, 0)->region;
	struct kvm_userspace_memory_region2 none = *slot0;

	/* libkvm has no hook before its first memslot, so take that away again */
	none.memory_size = 0;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &none);
	if (caps->manual_protect)
		vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, caps->manual_protect);
	if (caps->eager_chunk)
		vm_enable_cap(vm, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, caps->eager_chunk);
	if (caps->ring_entries)
		vm_enable_dirty_ring(vm, caps->ring_entries * sizeof(struct kvm_dirty_gfn));
	if (caps->ring_bitmap)
		vm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0);
	if (caps->mte)
		vm_enable_cap(vm, KVM_CAP_ARM_MTE, 0);
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, slot0);
}

struct vm_shape mt_shape(void)
{
	switch (MT_PAGE) {
	case SZ_16K:
		return VM_SHAPE(VM_MODE_P40V48_16K);
	case SZ_64K:
		return VM_SHAPE(VM_MODE_P40V48_64K);
	default:
		return VM_SHAPE_DEFAULT;
	}
}

struct kvm_vm *mt_vm_create_vcpus(struct kvm_vcpu **vcpus, int nr, u64 size,
				  const struct mt_caps *caps)
{
	struct kvm_vm *vm;
	int i;

	TEST_ASSERT(nr <= MT_MAX_VCPUS, "%d vCPUs", nr);
	vm = __vm_create(mt_shape(), nr, size / MT_PAGE);
	if (caps)
		mt_enable_caps(vm, caps);
	for (i = 0; i < MT_COPY_MAX; i++)
		mt_copy_from[i] = mt_copy_byte(i);
	sync_global_to_guest(vm, mt_copy_from);
	mt_stride = MT_PAGE;
	sync_global_to_guest(vm, mt_stride);
	for (i = 0; i < nr; i++)
		vcpus[i] = vm_vcpu_add(vm, i, guest_main);
	kvm_arch_vm_finalize_vcpus(vm);
	vm_init_descriptor_tables(vm);
	for (i = 0; i < nr; i++)
		vcpu_init_descriptor_tables(vcpus[i]);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_DABT_CUR,
				guest_data_abort);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_IABT_CUR,
				guest_insn_abort);
	virt_map(vm, MT_GPA, MT_GPA, size / vm->page_size);
	for (i = 0; i < nr; i++)
		mt_initial_sp[i] = vcpu_get_reg(vcpus[i],
						ctxt_reg_alias(vcpus[i], SYS_SP_EL1));

	return vm;
}

struct kvm_vm *mt_vm_create_caps(struct kvm_vcpu **vcpu, u64 size,
				 const struct mt_caps *caps)
{
	return mt_vm_create_vcpus(vcpu, 1, size, caps);
}

struct kvm_vm *mt_vm_create(struct kvm_vcpu **vcpu, u64 size)
{
	return mt_vm_create_caps(vcpu, size, NULL);
}

void mt_expect_sync(struct kvm_vcpu *vcpu)
{
	u32 reason = vcpu->run->exit_reason;
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected exit %u (%s), ucall %lu", reason,
			  exit_reason_str(reason), uc.cmd);
	}
}

void mt_access_prepare(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val)
{
	struct mt_req *req = &mt_reqs[vcpu->id];

	*req = (struct mt_req) { .op = op, .addr = gpa, .val = val };
	sync_global_to_guest(vcpu->vm, *req);
	vcpu->run->exit_reason = 0;
	memset(&vcpu->run->memory_fault, 0, sizeof(vcpu->run->memory_fault));
}

static struct mt_result mt_access_once(struct kvm_vcpu *vcpu, enum mt_op op,
				       u64 gpa, u64 val)
{
	struct mt_req *req = &mt_reqs[vcpu->id];
	struct kvm_run *run = vcpu->run;
	int ret, interrupted = 0;
	struct mt_result r = {};

	mt_access_prepare(vcpu, op, gpa, val);
	do {
		ret = __vcpu_run(vcpu);
	} while (ret == -1 && errno == EINTR && ++interrupted < MT_MAX_INTERRUPTED);

	if (ret) {
		r.run_errno = errno;
		r.exit_reason = run->exit_reason;
		r.fault.flags = run->memory_fault.flags;
		r.fault.gpa = run->memory_fault.gpa;
		r.fault.size = run->memory_fault.size;
		mt_restart(vcpu);
		return r;
	}

	r.exit_reason = run->exit_reason;
	if (run->exit_reason == KVM_EXIT_MMIO &&
	    run->mmio.phys_addr >= MT_GPA) {
		/* Or the next KVM_RUN completes it, and skips an instruction */
		vcpu_run_complete_io(vcpu);
		mt_restart(vcpu);
		return r;
	}

	mt_expect_sync(vcpu);
	sync_global_from_guest(vcpu->vm, *req);
	r.exit_reason = 0;
	r.esr = req->esr;
	r.val = req->val;
	return r;
}

/* Of all accesses of this process */
static unsigned int mt_retries;

struct mt_result mt_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val)
{
	struct mt_result r;
	int tries = 0;

	/*
	 * An interrupt of the host between the aligned and the misaligned
	 * access can make the TLB cold again where the host uses VTTBR_EL2,
	 * too. That is rare, and KVM says nothing of such a fault. What it
	 * refuses has a memory-fault exit, or is refused again.
	 */
	for (;;) {
		r = mt_access_once(vcpu, op, gpa, val);
		if (r.run_errno != EFAULT || r.exit_reason == KVM_EXIT_MEMORY_FAULT ||
		    !(gpa & 7) || ++tries == MT_MAX_TRIES)
			return r;
		TEST_ASSERT(__atomic_add_fetch(&mt_retries, 1, __ATOMIC_RELAXED) <=
			    MT_MAX_RETRIES, "More than %u accesses were tried again",
			    MT_MAX_RETRIES);
	}
}

bool mt_alignment_fault(const struct mt_result *r)
{
	return ESR_ELx_EC(r->esr) == ESR_ELx_EC_DABT_CUR &&
	       (r->esr & ESR_ELx_FSC) == 0x21;
}

bool mt_external_abort(const struct mt_result *r)
{
	return ESR_ELx_EC(r->esr) == ESR_ELx_EC_IABT_CUR &&
	       (r->esr & ESR_ELx_FSC) == ESR_ELx_FSC_EXTABT;
}

const char *mt_outcome(const struct mt_result *r)
{
	static char buf[96];

	if (r->run_errno && r->exit_reason == KVM_EXIT_MEMORY_FAULT)
		snprintf(buf, sizeof(buf), "KVM_RUN: %s (memory fault at %#lx)",
			 strerror(r->run_errno), (unsigned long)r->fault.gpa);
	else if (r->run_errno)
		snprintf(buf, sizeof(buf), "KVM_RUN: %s", strerror(r->run_errno));
	else if (r->exit_reason)
		snprintf(buf, sizeof(buf), "exit %s", exit_reason_str(r->exit_reason));
	else if (mt_alignment_fault(r))
		return "alignment fault";
	else if (mt_external_abort(r))
		return "external abort";
	else if (r->esr)
		snprintf(buf, sizeof(buf), "exception, ESR %#lx", (unsigned long)r->esr);
	else
		return "ok";
	return buf;
}

u64 mt_access_ok(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val)
{
	struct mt_result r = mt_access(vcpu, op, gpa, val);

	TEST_ASSERT(!r.run_errno && !r.exit_reason && !r.esr, "%s at %#lx: %s",
		    mt_op_names[op], (unsigned long)gpa, mt_outcome(&r));
	return r.val;
}

void mt_expect_outcome(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val,
		       const char *want)
{
	struct mt_result r = mt_access(vcpu, op, gpa, val);

	TEST_ASSERT(!strcmp(mt_outcome(&r), want), "%s at %#lx: %s, expected %s",
		    mt_op_names[op], (unsigned long)gpa, mt_outcome(&r), want);
}

void mt_expect_memory_fault(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 flags)
{
	struct mt_result r = mt_access(vcpu, op, gpa, 0);

	TEST_ASSERT(r.run_errno == EFAULT, "%s at %#lx: %s, expected a memory fault",
		    mt_op_names[op], (unsigned long)gpa, mt_outcome(&r));
	if (!kvm_has_cap(KVM_CAP_MEMORY_FAULT_INFO))
		return;
	TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(r.fault.gpa, gpa & ~(MT_PAGE - 1));
	TEST_ASSERT_EQ(r.fault.size, MT_PAGE);
	TEST_ASSERT(r.fault.flags == flags, "Memory fault at %#lx: flags %#lx, expected %#lx",
		    (unsigned long)gpa, (unsigned long)r.fault.flags, (unsigned long)flags);
}

// SPDX-License-Identifier: GPL-2.0
/* Passes over a block of memory, in the host and in a guest; see pass.h */
#include <stdio.h>
#include <string.h>

#include <linux/bitfield.h>

#include "guest.h"
#include "pass.h"
#include "processor.h"

static u8 source[PASS_MAX] __aligned(PASS_UNIT);
/* The guest's; written by the host before, and by the guest in, each pass */
static struct pass guest_pass;

/*
 * One instruction after the other, so that the loop costs next to nothing. With
 * post-indexing none of them needs a register of its own for the address.
 */
#define LOOP(first, nr, insns)							\
({										\
	asm volatile(first "\n"							\
		     "1:\n"							\
		     ".rept	" #nr "\n"					\
		     insns "\n"							\
		     ".endr\n"							\
		     "cmp	%[p], %[end]\n"					\
		     "b.lo	1b\n"						\
		     : [p] "+&r" (p), [from] "+&r" (from), [sum] "+&r" (sum)	\
		     : [end] "r" (end), [val] "r" (val)				\
		     : "memory", "cc", "x9", "x10", "v0", "v1", "v2", "v3");	\
})

#define VECTORS									\
	"dup	v0.2d, %[val]\n"						\
	"dup	v1.2d, %[val]\n"						\
	"dup	v2.2d, %[val]\n"						\
	"dup	v3.2d, %[val]"

static void zero(u64 p, u64 end)
{
	u64 block = 4UL << (read_sysreg(dczid_el0) & 0xf);

	for (; p < end; p += block)
		asm volatile("dc zva, %0" : : "r" (p) : "memory");
}

/* Loads and stores, and nothing that the compiler would make a call of */
static u64 access_block(u64 op, u64 p, u64 size, u64 val)
{
	u64 end = p + size, from = (u64)source, sum = 0;

	switch (op) {
	case PASS_STORE_1:
		LOOP("", 256, "strb	%w[val], [%[p]], #1");
		break;
	case PASS_STORE_2:
		LOOP("", 128, "strh	%w[val], [%[p]], #2");
		break;
	case PASS_STORE_4:
		LOOP("", 64, "str	%w[val], [%[p]], #4");
		break;
	case PASS_STORE_8:
		LOOP("", 32, "str	%[val], [%[p]], #8");
		break;
	case PASS_STORE_16:
		LOOP("", 16, "stp	%[val], %[val], [%[p]], #16");
		break;
	case PASS_STORE_32:
		LOOP(VECTORS, 8, "stp	q0, q1, [%[p]], #32");
		break;
	case PASS_STORE_64:
		LOOP(VECTORS, 4, "st1	{v0.2d, v1.2d, v2.2d, v3.2d}, [%[p]], #64");
		break;
	case PASS_COPY:
		LOOP("", 4,
		     "ldp	q0, q1, [%[from]], #32\n"
		     "ldp	q2, q3, [%[from]], #32\n"
		     "stp	q0, q1, [%[p]], #32\n"
		     "stp	q2, q3, [%[p]], #32");
		break;
	case PASS_ZERO:
		zero(p, end);
		break;
	case PASS_LOAD_8:
		LOOP("", 32,
		     "ldr	x9, [%[p]], #8\n"
		     "add	%[sum], %[sum], x9");
		break;
	case PASS_LOAD_16:
		LOOP("", 16,
		     "ldp	x9, x10, [%[p]], #16\n"
		     "add	%[sum], %[sum], x9\n"
		     "add	%[sum], %[sum], x10");
		break;
	case PASS_LOAD_32:
		LOOP("", 8,
		     "ldp	q0, q1, [%[p]], #32\n"
		     "add	v0.2d, v0.2d, v1.2d\n"
		     "addp	d0, v0.2d\n"
		     "fmov	x9, d0\n"
		     "add	%[sum], %[sum], x9");
		break;
	}
	return sum;
}

/* Never zero, and no two words of a few million the same */
static u64 word(u64 seed, u64 i)
{
	return (seed << 32) + i + 1;
}

u64 pass_sum(u64 seed, u64 size)
{
	u64 n = size / 8;

	return n * (seed << 32) + n * (n + 1) / 2;
}

static void fill(u64 p, u64 size, u64 seed)
{
	u64 i;

	for (i = 0; i < size / 8; i++)
		WRITE_ONCE(((u64 *)p)[i], word(seed, i));
}

static void check(struct pass *pass)
{
	u64 i, last = -1UL;

	pass->wrong = 0;
	pass->first = 0;
	for (i = 0; i < pass->size / 8; i++) {
		u64 want = pass->op == PASS_CHECK ? word(pass->val, i) : pass->val;

		if (READ_ONCE(((u64 *)pass->addr)[i]) == want || i * 8 / pass->line == last)
			continue;
		if (!pass->wrong)
			pass->first = i * 8;
		pass->wrong++;
		last = i * 8 / pass->line;
	}
}

static void maintain(const struct pass *pass)
{
	u64 p;

	/* What was written by a type that is not cacheable comes first */
	asm volatile("dsb sy" : : : "memory");
	for (p = pass->addr; p < pass->addr + pass->size; p += pass->line) {
		if (pass->op == PASS_CLEAN)
			asm volatile("dc cvac, %0" : : "r" (p) : "memory");
		else
			asm volatile("dc civac, %0" : : "r" (p) : "memory");
	}
}

static void do_pass(struct pass *pass)
{
	switch (pass->op) {
	case PASS_FILL:
		fill(pass->addr, pass->size, pass->val);
		break;
	case PASS_CHECK:
	case PASS_CHECK_SAME:
		check(pass);
		break;
	case PASS_CLEAN:
	case PASS_CLEAN_INVAL:
		maintain(pass);
		break;
	default:
		pass->val = access_block(pass->op, pass->addr, pass->size, pass->val);
		break;
	}
	asm volatile("dsb sy" : : : "memory");
}

static u64 now(void)
{
	u64 t;

	asm volatile("isb\n"
		     "mrs %0, cntvct_el0\n"
		     "isb" : "=r" (t) : : "memory");
	return t;
}

static void run_pass(struct pass *pass)
{
	u64 val = pass->val, start;

	/* By the first one translations come into the TLB, and the source into the cache */
	if (pass->timed) {
		do_pass(pass);
		pass->val = val;
	}
	/* A store is over when it has left the CPU: do_pass() ends with a DSB */
	start = now();
	do_pass(pass);
	pass->ticks = now() - start;
}

static void guest_main(void)
{
	for (;;) {
		run_pass(&guest_pass);
		GUEST_SYNC(0);
	}
}

/*
 * libkvm has a memcpy() and a memset() of its own in place of libc's, byte by byte and
 * for guests. memmove() it leaves alone, and libc has the same code for both.
 */
static void copy_by_libc(struct pass *pass)
{
	u64 start;

	if (pass->timed)
		memmove((void *)pass->addr, source, pass->size);
	asm volatile("dsb sy" : : : "memory");
	start = now();
	memmove((void *)pass->addr, source, pass->size);
	asm volatile("dsb sy" : : : "memory");
	pass->ticks = now() - start;
}

void pass_in_host(struct pass *pass)
{
	TEST_ASSERT(!(pass->size % PASS_UNIT), "a block of %#lx bytes",
		    (unsigned long)pass->size);
	if (pass->op == PASS_COPY || pass->op == PASS_COPY_LIBC)
		fill((u64)source, sizeof(source), pass->val);
	if (pass->op == PASS_COPY_LIBC)
		copy_by_libc(pass);
	else
		run_pass(pass);
}

u64 pass_line(void)
{
	return 4UL << (read_sysreg(ctr_el0) >> 16 & 0xf);
}

u64 pass_frequency(void)
{
	return read_sysreg(cntfrq_el0);
}

bool pass_has_zva(void)
{
	u64 dczid = read_sysreg(dczid_el0);

	return !(dczid & BIT(4)) && (4UL << (dczid & 0xf)) <= PASS_UNIT;
}

static bool file_begins(const char *path, const char *text)
{
	FILE *f = fopen(path, "r");
	char buf[64] = "";

	if (!f)
		return false;
	if (!fread(buf, 1, sizeof(buf) - 1, f))
		buf[0] = '\0';
	fclose(f);
	return !strncmp(buf, text, strlen(text));
}

bool pass_emulated(void)
{
	return file_begins("/sys/firmware/devicetree/base/compatible", "linux,dummy-virt") ||
	       file_begins("/sys/class/dmi/id/sys_vendor", "QEMU");
}

struct pass_guest pass_guest_create(u64 size, u8 attr_index)
{
	struct pass_guest guest;
	u64 gva, *pte;

	guest.vm = vm_create_with_one_vcpu(&guest.vcpu, guest_main);
	vm_init_descriptor_tables(guest.vm);
	vcpu_init_descriptor_tables(guest.vcpu);
	/* The guest's pages can be larger than the host's */
	size = (size + guest.vm->page_size - 1) & ~(guest.vm->page_size - 1UL);
	virt_map(guest.vm, MT_GPA, MT_GPA, size / guest.vm->page_size);
	/* libkvm maps everything MT_NORMAL; nobody has used the entries yet */
	for (gva = MT_GPA; gva < MT_GPA + size; gva += guest.vm->page_size) {
		pte = virt_get_pte_hva(guest.vm, gva);
		*pte &= ~PTE_ATTRINDX_MASK;
		*pte |= PTE_ATTRINDX(attr_index);
	}
	return guest;
}

void pass_guest_free(struct pass_guest *guest)
{
	kvm_vm_free(guest->vm);
}

void pass_in_guest(struct pass_guest *guest, struct pass *pass)
{
	u64 offset = pass->addr;

	TEST_ASSERT(!(pass->size % PASS_UNIT), "a block of %#lx bytes",
		    (unsigned long)pass->size);
	TEST_ASSERT(pass->op != PASS_COPY_LIBC, "no libc in a guest");
	if (pass->op == PASS_COPY) {
		fill((u64)source, sizeof(source), pass->val);
		sync_global_to_guest(guest->vm, source);
	}
	guest_pass = *pass;
	guest_pass.addr = MT_GPA + offset;
	sync_global_to_guest(guest->vm, guest_pass);
	vcpu_run(guest->vcpu);
	mt_expect_sync(guest->vcpu);
	sync_global_from_guest(guest->vm, guest_pass);
	*pass = guest_pass;
	pass->addr = offset;
}

bool pass_guest_has_fwb(struct pass_guest *guest)
{
	u64 mmfr2 = vcpu_get_reg(guest->vcpu, KVM_ARM64_SYS_REG(SYS_ID_AA64MMFR2_EL1));

	return FIELD_GET(ID_AA64MMFR2_EL1_FWB_MASK, mmfr2);
}

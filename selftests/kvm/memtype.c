// SPDX-License-Identifier: GPL-2.0
/*
 * Shared parts of the stage-2 memory-type tests; see memtype.h.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <asm/hwcap.h>

#include "kselftest.h"
#include "memtype.h"

const char * const mt_op_names[MT_NR_OPS] = {
	[MT_LDR] = "ldr", [MT_STR] = "str", [MT_LDP] = "ldp", [MT_STP] = "stp",
	[MT_LDXR] = "ldxr/stxr", [MT_LDADD] = "ldadd", [MT_EXEC] = "exec",
	[MT_CIVAC] = "dc civac", [MT_TIMED_STR] = "timed str", [MT_FILL] = "fill",
	[MT_COPY] = "copy",
	[MT_FILL_ODD] = "fill odd",
};

char *mt_skip_reason;

void mt_skip(const char *fmt, ...)
{
	char reason[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	if (!mt_skip_reason)
		ksft_exit_skip("%s\n", reason);
	snprintf(mt_skip_reason, sizeof(reason), "%s", reason);
	fflush(stdout);
	_exit(KSFT_SKIP);
}

/* ---- the stage-2 dump ---- */

static FILE *s2_open(struct kvm_vm *vm)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/stage2_page_tables",
		 getpid(), vm->fd);
	return fopen(path, "r");
}

bool s2_dump_exists(struct kvm_vm *vm)
{
	FILE *f = s2_open(vm);

	if (f)
		fclose(f);
	return f;
}

#define S2_BLANKS	"\n "

/*
 * "0x<start>-0x<end>   <total> <level> <attributes>": the attributes are words,
 * and columns that are not set are spaces. Invalid ranges have an F or nothing.
 */
static bool s2_parse(char *line, struct s2_range *range)
{
	static const u64 level_size[] = { 1UL << 39, SZ_1G, SZ_2M, SZ_4K };
	char *word, *save = NULL, unit;
	unsigned long total;
	int level, len;

	memset(range, 0, sizeof(*range));
	if (sscanf(line, "0x%lx-0x%lx %lu%c %d%n", &range->start, &range->end,
		   &total, &unit, &level, &len) != 5)
		return false;
	TEST_ASSERT(level >= 0 && level < ARRAY_SIZE(level_size),
		    "Stage-2 dump has level %d: %s", level, line);
	range->leaf_size = level_size[level];

	for (word = strtok_r(line + len, S2_BLANKS, &save); word;
	     word = strtok_r(NULL, S2_BLANKS, &save)) {
		if (!strcmp(word, "F"))
			return false;
		if (strchr(word, '/')) {
			snprintf(range->type, sizeof(range->type), "%s", word);
			continue;
		}
		if (!strcmp(word, "R"))
			range->readable = true;
		else if (!strcmp(word, "W"))
			range->writable = true;
		else if (!strcmp(word, "PXNUXN"))
			range->xn = true;
		if (*range->perms)
			strncat(range->perms, " ", sizeof(range->perms) - strlen(range->perms) - 1);
		strncat(range->perms, word, sizeof(range->perms) - strlen(range->perms) - 1);
	}

	return *range->perms;
}

size_t s2_dump(struct kvm_vm *vm, u64 gpa, u64 size, struct s2_range **ranges)
{
	struct s2_range range;
	FILE *f = s2_open(vm);
	char line[256];
	size_t nr = 0;

	TEST_ASSERT(f, "Stage-2 dump of the VM: %s", strerror(errno));
	*ranges = NULL;
	while (fgets(line, sizeof(line), f)) {
		if (!s2_parse(line, &range))
			continue;
		range.start = max(range.start, gpa);
		range.end = min(range.end, gpa + size);
		if (range.start >= range.end)
			continue;
		*ranges = realloc(*ranges, (nr + 1) * sizeof(range));
		TEST_ASSERT(*ranges, "Out of memory");
		(*ranges)[nr++] = range;
	}
	fclose(f);
	return nr;
}

bool s2_find(struct kvm_vm *vm, u64 gpa, struct s2_range *range)
{
	struct s2_range *ranges;
	size_t nr;

	nr = s2_dump(vm, gpa, 1, &ranges);
	if (nr)
		*range = ranges[0];
	free(ranges);
	return nr;
}

u64 s2_count(struct kvm_vm *vm, u64 gpa, u64 size, u64 leaf_size)
{
	struct s2_range *ranges;
	u64 count = 0;
	size_t i, nr;

	nr = s2_dump(vm, gpa, size, &ranges);
	for (i = 0; i < nr; i++) {
		if (leaf_size && ranges[i].leaf_size != leaf_size)
			continue;
		count += (ranges[i].end - ranges[i].start) / ranges[i].leaf_size;
	}
	free(ranges);
	return count;
}

/* ---- the guest ---- */

/* Written by the host before, and by the guest during, each access */
static struct {
	u64 op;
	u64 addr;
	u64 val;
	u64 esr;
} mt_req;

static u64 mt_initial_sp;

static void guest_data_abort(struct ex_regs *regs)
{
	mt_req.esr = read_sysreg(esr_el1);
	regs->pc += 4;
}

/* The branch that got here left its return address in x30 */
static void guest_insn_abort(struct ex_regs *regs)
{
	mt_req.esr = read_sysreg(esr_el1);
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
				     :: "r" (i), "r" (addr + i * SZ_4K) : "memory");
		break;
	case MT_COPY:
		guest_copy(addr, val);
		break;
	case MT_FILL_ODD:
		for (i = 0; i < val; i++)
			asm volatile("str %0, [%1]"
				     :: "r" (i), "r" (addr + (2 * i + 1) * SZ_4K) : "memory");
		break;
	}

	return res;
}

static void guest_main(void)
{
	for (;;) {
		mt_req.val = guest_access(READ_ONCE(mt_req.op), READ_ONCE(mt_req.addr),
					  READ_ONCE(mt_req.val));
		GUEST_SYNC(0);
	}
}

/* A vCPU whose access KVM refused stands at that access; start over */
static void mt_restart(struct kvm_vcpu *vcpu)
{
	vcpu_set_reg(vcpu, ctxt_reg_alias(vcpu, SYS_SP_EL1), mt_initial_sp);
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

struct kvm_vm *mt_vm_create_caps(struct kvm_vcpu **vcpu, u64 size,
				 const struct mt_caps *caps)
{
	struct kvm_vm *vm;
	int i;

	vm = __vm_create(VM_SHAPE_DEFAULT, 1, size / SZ_4K);
	if (caps)
		mt_enable_caps(vm, caps);
	for (i = 0; i < MT_COPY_MAX; i++)
		mt_copy_from[i] = mt_copy_byte(i);
	sync_global_to_guest(vm, mt_copy_from);
	*vcpu = vm_vcpu_add(vm, 0, guest_main);
	kvm_arch_vm_finalize_vcpus(vm);
	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(*vcpu);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_DABT_CUR,
				guest_data_abort);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_IABT_CUR,
				guest_insn_abort);
	virt_map(vm, MT_GPA, MT_GPA, size / vm->page_size);
	mt_initial_sp = vcpu_get_reg(*vcpu, ctxt_reg_alias(*vcpu, SYS_SP_EL1));

	return vm;
}

struct kvm_vm *mt_vm_create(struct kvm_vcpu **vcpu, u64 size)
{
	return mt_vm_create_caps(vcpu, size, NULL);
}

static struct mt_result mt_access_once(struct kvm_vcpu *vcpu, enum mt_op op,
				       u64 gpa, u64 val)
{
	struct kvm_run *run = vcpu->run;
	struct mt_result r = {};
	struct ucall uc;
	int ret;

	mt_req.op = op;
	mt_req.addr = gpa;
	mt_req.val = val;
	mt_req.esr = 0;
	sync_global_to_guest(vcpu->vm, mt_req);

	run->exit_reason = 0;
	memset(&run->memory_fault, 0, sizeof(run->memory_fault));
	do {
		ret = __vcpu_run(vcpu);
	} while (ret == -1 && errno == EINTR);

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
		mt_restart(vcpu);
		return r;
	}

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected exit %u (%s), ucall %lu", run->exit_reason,
			  exit_reason_str(run->exit_reason), uc.cmd);
	}

	sync_global_from_guest(vcpu->vm, mt_req);
	r.exit_reason = 0;
	r.esr = mt_req.esr;
	r.val = mt_req.val;
	return r;
}

struct mt_result mt_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val)
{
	struct mt_result r;
	int tries = 0;

	/*
	 * An interrupt of the host between the aligned and the misaligned
	 * access can make the TLB cold again where the host uses VTTBR_EL2,
	 * too. What KVM refuses for another reason, it refuses again.
	 */
	do {
		r = mt_access_once(vcpu, op, gpa, val);
	} while (r.run_errno == EFAULT && (gpa & 7) && ++tries < 4);

	return r;
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

void mt_expect_type(struct kvm_vm *vm, u64 gpa, const char *type, struct s2_range *range)
{
	struct s2_range unused;

	range = range ?: &unused;
	TEST_ASSERT(s2_find(vm, gpa, range), "%#lx is not mapped", (unsigned long)gpa);
	/* Kernels without the flag do not print it; the behaviour must do there */
	if (*range->type || kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		TEST_ASSERT(!strcmp(range->type, type), "%#lx is mapped as '%s', expected '%s'",
			    (unsigned long)gpa, range->type, type);
}

void mt_expect_nc(struct kvm_vm *vm, u64 gpa, u64 size, const char *when)
{
	struct s2_range *ranges;
	size_t i, nr;

	nr = s2_dump(vm, gpa, size, &ranges);
	for (i = 0; i < nr; i++) {
		TEST_ASSERT(!strcmp(ranges[i].type, S2_NC), "%s: %#lx-%#lx is '%s'", when,
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end,
			    ranges[i].type);
		TEST_ASSERT(ranges[i].xn, "%s: %#lx-%#lx is executable (%s)", when,
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end,
			    ranges[i].perms);
	}
	free(ranges);
}

int mt_set_slot_nr(struct kvm_vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	int ret = __vm_set_user_memory_region2(vm, slot, flags, gpa, size, hva, 0, 0);

	return ret ? errno : 0;
}

int mt_set_slot(struct kvm_vm *vm, u32 flags, u64 gpa, u64 size, void *hva)
{
	return mt_set_slot_nr(vm, MT_SLOT, flags, gpa, size, hva);
}

static void show_row(const char *name, const char *flag, const char *slot, const char *type,
		     const char *leaf, const char *access)
{
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", name, flag, slot, type, leaf, access);
}

void mt_show_header(void)
{
	show_row("memory behind the slot", "flag", "slot", "stage 2", "leaf",
		 "the guest's unaligned store");
}

void mt_show_slot(const char *name, void *hva, u64 size)
{
	int flag;

	for (flag = 0; flag < 2; flag++) {
		const char *type = "-", *leaf = "-", *access = "-";
		char slot[32] = "accepted";
		struct s2_range range;
		struct kvm_vcpu *vcpu;
		struct mt_result r;
		struct kvm_vm *vm;
		int ret;

		vm = mt_vm_create(&vcpu, size);
		ret = mt_set_slot(vm, flag ? KVM_MEM_NONCACHEABLE : 0, MT_GPA, size, hva);
		if (ret) {
			snprintf(slot, sizeof(slot), "refused (%d)", ret);
		} else {
			r = mt_access(vcpu, MT_STR, MT_GPA + 1, 0x1234);
			access = mt_outcome(&r);
			if (!s2_dump_exists(vm)) {
				type = "(no dump)";
			} else if (s2_find(vm, MT_GPA, &range)) {
				type = *range.type ? range.type : "(not printed)";
				leaf = range.leaf_size == SZ_2M ? "2M" : "4K";
			} else {
				type = "not mapped";
			}
		}
		show_row(name, flag ? "yes" : "no", slot, type, leaf, access);
		kvm_vm_free(vm);
	}
}

/* ---- backing memory ---- */

int mt_test_open(const struct memtype_test_config *config)
{
	int fd = open("/dev/memtype_test", O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0)
		mt_skip("/dev/memtype_test: %s", strerror(errno));

	ret = ioctl(fd, MEMTYPE_TEST_CONFIG, config);
	TEST_ASSERT(!ret, "MEMTYPE_TEST_CONFIG: %s", strerror(errno));
	return fd;
}

/* Reserve too much, then map at an address of the wanted alignment */
static void *mt_mmap_aligned(u64 size, int prot, int flags, int fd, u64 offset)
{
	u64 align = SZ_2M, len = size + align;
	void *hva;
	u64 addr;

	hva = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(hva != MAP_FAILED, "Address space of %#lx bytes: %s",
		    (unsigned long)len, strerror(errno));

	addr = align_up((u64)hva, align) + (offset & (align - 1));
	if (addr + size > (u64)hva + len)
		addr -= align;
	munmap(hva, len);
	return mmap((void *)addr, size, prot, flags | MAP_FIXED, fd, offset);
}

void *mt_mmap(int fd, u64 size, int prot, int flags, u64 offset)
{
	void *hva = mt_mmap_aligned(size, prot, flags, fd, offset);

	TEST_ASSERT(hva != MAP_FAILED, "mmap of %#lx bytes: %s",
		    (unsigned long)size, strerror(errno));
	return hva;
}

void mt_zap(int fd, u64 offset, u64 size)
{
	struct memtype_test_zap zap = { .offset = offset, .size = size };

	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_ZAP, &zap), "MEMTYPE_TEST_ZAP: %s",
		    strerror(errno));
}

struct memtype_test_pte mt_host_pte(int fd, void *hva)
{
	struct memtype_test_pte pte = { .addr = (u64)hva };

	(void)READ_ONCE(*(u64 *)hva);
	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte),
		    "MEMTYPE_TEST_GET_PTE: %s", strerror(errno));
	return pte;
}

void *mt_anon(u64 size)
{
	return mt_mmap_aligned(size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void *mt_hugetlb(u64 size)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");
	void *hva;

	if (f) {
		fprintf(f, "%lu\n", (unsigned long)(size / SZ_2M + 2));
		fclose(f);
	}
	hva = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	return hva == MAP_FAILED ? NULL : hva;
}

/* ---- vfio ---- */

static bool sysfs_write(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, val, strlen(val)) == strlen(val);
	close(fd);
	return ok;
}

const char * const mt_iommu_names[MT_NR_IOMMUS] = {
	[MT_TYPE1] = "type1", [MT_COMPAT] = "compat", [MT_CDEV] = "cdev",
};

/* The last component of a link of the device, false if there is none */
static bool mt_sysfs_link(const char *bdf, const char *name, char *buf, size_t size)
{
	char path[128], link[128];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, name);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return false;
	link[len] = '\0';
	snprintf(buf, size, "%s", strrchr(link, '/') + 1);
	return true;
}

void mt_unbind(const char *bdf)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", bdf);
	TEST_ASSERT(sysfs_write(path, bdf), "%s: %s", path, strerror(errno));
}

static void mt_bind(const char *bdf, const char *to)
{
	char path[128], driver[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	if (!sysfs_write(path, to))
		mt_skip("no device %s", bdf);
	if (mt_sysfs_link(bdf, "driver", driver, sizeof(driver)) && strcmp(driver, to))
		mt_unbind(bdf);
	sysfs_write("/sys/bus/pci/drivers_probe", bdf);
	if (!mt_sysfs_link(bdf, "driver", driver, sizeof(driver)) || strcmp(driver, to))
		mt_skip("%s: %s did not bind", bdf, to);
}

static void mt_group_open(struct mt_dev *dev, enum mt_iommu iommu)
{
	const char *container = iommu == MT_TYPE1 ? "/dev/vfio/vfio" : "/dev/iommu";
	char path[96] = "/dev/vfio/";

	dev->container = open(container, O_RDWR);
	TEST_ASSERT(dev->container >= 0, "%s: %s", container, strerror(errno));
	if (!mt_sysfs_link(dev->bdf, "iommu_group", path + strlen(path),
			   sizeof(path) - strlen(path)))
		mt_skip("%s: not in an IOMMU group", dev->bdf);
	dev->group = open(path, O_RDWR);
	TEST_ASSERT(dev->group >= 0, "%s: %s", path, strerror(errno));
	TEST_ASSERT(!ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->container),
		    "VFIO_GROUP_SET_CONTAINER: %s", strerror(errno));
	TEST_ASSERT(!ioctl(dev->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
		    "VFIO_SET_IOMMU: %s", strerror(errno));
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
	TEST_ASSERT(dev->fd >= 0, "VFIO_GROUP_GET_DEVICE_FD: %s", strerror(errno));
}

static void mt_cdev_open(struct mt_dev *dev)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	char path[128], name[64] = "";
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", dev->bdf);
	dir = opendir(path);
	TEST_ASSERT(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "vfio", 4))
			snprintf(name, sizeof(name), "%.63s", entry->d_name);
	closedir(dir);

	dev->container = open("/dev/iommu", O_RDWR);
	TEST_ASSERT(dev->container >= 0, "/dev/iommu: %s", strerror(errno));
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	dev->group = -1;
	dev->fd = open(path, O_RDWR);
	TEST_ASSERT(dev->fd >= 0, "%s: %s", path, strerror(errno));

	bind.iommufd = dev->container;
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind),
		    "VFIO_DEVICE_BIND_IOMMUFD: %s", strerror(errno));
	TEST_ASSERT(!ioctl(dev->container, IOMMU_IOAS_ALLOC, &ioas),
		    "IOMMU_IOAS_ALLOC: %s", strerror(errno));
	attach.pt_id = ioas.out_ioas_id;
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach),
		    "VFIO_DEVICE_ATTACH_IOMMUFD_PT: %s", strerror(errno));
}

void mt_dev_open(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu)
{
	mt_dev_open_driver(dev, bdf, iommu, "vfio-pci");
}

void mt_dev_open_driver(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu,
			const char *driver)
{
	memset(dev, 0, sizeof(*dev));
	snprintf(dev->bdf, sizeof(dev->bdf), "%s", bdf);
	mt_bind(bdf, driver);
	if (iommu == MT_CDEV)
		mt_cdev_open(dev);
	else
		mt_group_open(dev, iommu);
}

void mt_dev_close(struct mt_dev *dev)
{
	close(dev->fd);
	if (dev->group >= 0)
		close(dev->group);
	close(dev->container);
}

bool mt_dev_region(struct mt_dev *dev, int index, struct vfio_region_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	info->index = index;
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, info),
		    "%s: VFIO_DEVICE_GET_REGION_INFO of %d: %s", dev->bdf, index,
		    strerror(errno));
	return info->size && info->flags & VFIO_REGION_INFO_FLAG_MMAP;
}

void *mt_dev_map(struct mt_dev *dev, int index, u64 offset, u64 size)
{
	struct vfio_region_info info;

	TEST_ASSERT(mt_dev_region(dev, index, &info), "%s: BAR %d cannot be mapped",
		    dev->bdf, index);
	return mt_mmap(dev->fd, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       info.offset + offset);
}

static u64 mt_dev_command_offset(struct mt_dev *dev)
{
	struct vfio_region_info info;

	mt_dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	return info.offset + PCI_COMMAND;
}

void mt_dev_read(struct mt_dev *dev, int index, u64 offset, void *buf, size_t size)
{
	struct vfio_region_info info;

	mt_dev_region(dev, index, &info);
	TEST_ASSERT(pread(dev->fd, buf, size, info.offset + offset) == (ssize_t)size,
		    "%s: read of region %d: %s", dev->bdf, index, strerror(errno));
}

u64 mt_dev_read_word(struct mt_dev *dev, int index, u64 offset)
{
	u64 word;

	mt_dev_read(dev, index, offset, &word, sizeof(word));
	return word;
}

u16 mt_dev_command(struct mt_dev *dev)
{
	u16 command;

	TEST_ASSERT(pread(dev->fd, &command, sizeof(command),
			  mt_dev_command_offset(dev)) == sizeof(command),
		    "%s: PCI_COMMAND: %s", dev->bdf, strerror(errno));
	return command;
}

void mt_dev_set_command(struct mt_dev *dev, u16 command)
{
	TEST_ASSERT(pwrite(dev->fd, &command, sizeof(command),
			   mt_dev_command_offset(dev)) == sizeof(command),
		    "%s: PCI_COMMAND: %s", dev->bdf, strerror(errno));
}

void mt_bar_open(struct mt_bar *bar, const char *bdf, int index, enum mt_iommu iommu)
{
	struct vfio_region_info info;

	memset(bar, 0, sizeof(*bar));
	mt_dev_open(&bar->dev, bdf, iommu);
	TEST_ASSERT(mt_dev_region(&bar->dev, index, &info),
		    "%s: BAR %d cannot be mapped", bdf, index);
	bar->index = index;
	bar->size = min_t(u64, info.size, SZ_4M);
	bar->hva = mt_dev_map(&bar->dev, index, 0, bar->size);
}

void mt_bar_close(struct mt_bar *bar)
{
	munmap(bar->hva, bar->size);
	mt_dev_close(&bar->dev);
}

/* ---- the host ---- */

bool mt_host_has_lse(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMICS;
}

bool mt_host_is_pkvm(void)
{
	char cmdline[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY);

	if (fd < 0)
		return false;
	if (read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		cmdline[0] = '\0';
	close(fd);
	return strstr(cmdline, "kvm-arm.mode=protected");
}

bool mt_has_cacheable_pfnmap(struct kvm_vm *vm)
{
	return vm_check_cap(vm, KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED);
}

void mt_require_noncacheable(void)
{
	if (!kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		mt_skip("KVM_CAP_MEM_NONCACHEABLE is not supported");
}

void mt_require_pfnmap(void)
{
	if (mt_host_is_pkvm())
		mt_skip("KVM maps no PFNMAP memory in protected mode");
}

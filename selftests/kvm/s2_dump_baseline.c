// SPDX-License-Identifier: GPL-2.0
/*
 * s2_dump_baseline - Stage 2 of a fixed scenario without KVM_MEM_NONCACHEABLE
 *
 * Writes to a file (/results/s2_dump_baseline, or the first argument) what is
 * mapped at stage 2 for memslots that do not use the flag. Nothing in it depends
 * on the run, so that the file of a kernel with the flag can be compared with the
 * file of one that has never heard of it, byte by byte: nothing may change for
 * those who do not ask. The memory type is told by how the guest's accesses end,
 * because not every kernel prints it.
 */
#include <fcntl.h>
#include <libgen.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/vfio.h>

#include "kselftest.h"

#include "backing.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"

#define SIZE	(2 * MT_BLOCK)

static FILE *out;

static void print(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(out, fmt, args);
	va_end(args);
}

static void print_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 offset, u64 val)
{
	struct mt_result r = mt_access(vcpu, op, MT_GPA + offset, val);

	print("  %s at %#lx: %s\n", mt_op_names[op], (unsigned long)offset, mt_outcome(&r));
}

static void print_stage2(struct kvm_vm *vm, const char *when)
{
	struct s2_range *ranges;
	size_t i, nr;

	print("  stage 2, %s:\n", when);
	nr = s2_dump(vm, MT_GPA, SIZE, &ranges);
	for (i = 0; i < nr; i++)
		print("    %#lx-%#lx by %#lx: %s\n",
		      (unsigned long)(ranges[i].start - MT_GPA),
		      (unsigned long)(ranges[i].end - MT_GPA),
		      (unsigned long)ranges[i].leaf_size, ranges[i].perms);
	free(ranges);
}

/* AArch64 "ret" */
#define RET_INSN	0xd65f03c0UL

static void scenario(const char *name, void *hva, u64 size, u32 slot_flags, u64 eager_chunk)
{
	const struct mt_caps caps = { .eager_chunk = eager_chunk };
	bool writable = !(slot_flags & KVM_MEM_READONLY);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	print("%s\n", name);
	if (!hva || hva == MAP_FAILED) {
		print("  no memory\n");
		return;
	}
	/* A read-only slot gets its instruction from here */
	WRITE_ONCE(*(u64 *)(hva + size - MT_PAGE), RET_INSN);

	vm = mt_vm_create_caps(&vcpu, SIZE, &caps);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, size, hva), 0);
	print_access(vcpu, MT_LDR, 0, 0);
	print_stage2(vm, "read");
	if (writable) {
		print_access(vcpu, MT_STR, MT_PAGE, 1);
		print_access(vcpu, MT_STR, 0, 1);
		print_stage2(vm, "written");
		print_access(vcpu, MT_STR, size - MT_PAGE, RET_INSN);
		print_access(vcpu, MT_STR, 2 * MT_PAGE + 1, 1);
		print_access(vcpu, MT_LDXR, 2 * MT_PAGE + 64, 0);
	}
	print_access(vcpu, MT_LDR, 2 * MT_PAGE + 1, 0);
	print_access(vcpu, MT_LDP, 2 * MT_PAGE + 4, 0);
	print_access(vcpu, MT_CIVAC, size - MT_PAGE, 0);
	print_access(vcpu, MT_EXEC, size - MT_PAGE, 0);
	print_stage2(vm, "executed");

	/* Mainline has no dirty log for drivers' memory */
	if (writable && !mt_set_slot(vm, KVM_MEM_LOG_DIRTY_PAGES, MT_GPA, size, hva)) {
		print_stage2(vm, "logging on");
		print_access(vcpu, MT_STR, 4 * MT_PAGE, 1);
		print_access(vcpu, MT_LDR, 8 * MT_PAGE, 0);
		print_stage2(vm, "logging, written");
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
		print_access(vcpu, MT_STR, 8 * MT_PAGE, 1);
		print_stage2(vm, "logging off, written");
	}
	kvm_vm_free(vm);
}

static void scenario_test(const char *name, u32 type, u32 flags)
{
	const struct memtype_test_config config = {
		.vma_type = type, .pte_type = type, .flags = flags,
	};
	int fd = mt_test_open(&config);
	void *hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	scenario(name, hva, SIZE, 0, 0);
	munmap(hva, SIZE);
	close(fd);
}

int main(int argc, char *argv[])
{
	char *path = argc > 1 ? argv[1] : "/results/s2_dump_baseline";
	struct mt_bar bar;
	void *hva;
	int fd;

	mt_require_pfnmap();
	mkdir(dirname(strdupa(path)), 0755);
	out = fopen(path, "w");
	TEST_ASSERT(out, "%s: %s", path, strerror(errno));

	hva = mt_anon(SIZE);
	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	scenario("anonymous, pages", hva, SIZE, 0, 0);
	scenario("anonymous, read-only slot", hva, SIZE, KVM_MEM_READONLY, 0);
	munmap(hva, SIZE);

	hva = mt_hugetlb(SIZE);
	scenario("hugetlb", hva, SIZE, 0, 0);
	scenario("hugetlb, eager split", hva, SIZE, 0, MT_BLOCK);
	munmap(hva, SIZE);

	fd = memfd_create("s2_dump_baseline", 0);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd: %s", strerror(errno));
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	scenario("memfd", hva, SIZE, 0, 0);
	munmap(hva, SIZE);
	close(fd);

	scenario_test("no-map, write-combine, granted", MEMTYPE_TEST_NC, MEMTYPE_TEST_GRANT);
	scenario_test("no-map, write-combine, granted, blocks", MEMTYPE_TEST_NC,
		      MEMTYPE_TEST_GRANT | MEMTYPE_TEST_PMD);
	/*
	 * Not write-combine without the grant: the last but one patch of 1-pfnmap says
	 * what changes there, and s2_policy has it.
	 */
	scenario_test("no-map, Device", MEMTYPE_TEST_DEVICE, 0);
	scenario_test("no-map, Device, granted", MEMTYPE_TEST_DEVICE, MEMTYPE_TEST_GRANT);

	mt_bar_open(&bar, IVSHMEM, VFIO_PCI_BAR2_REGION_INDEX, MT_TYPE1);
	scenario("vfio-pci BAR", bar.hva, bar.size, 0, 0);
	mt_bar_close(&bar);

	TEST_ASSERT(!fclose(out), "%s: %s", path, strerror(errno));
	printf("wrote %s\n", path);
	return 0;
}

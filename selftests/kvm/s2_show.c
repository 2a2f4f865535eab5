// SPDX-License-Identifier: GPL-2.0
/*
 * s2_show - A table of memslots and the stage-2 mappings they give
 *
 * For each kind of backing memory, without and with KVM_MEM_NONCACHEABLE: was
 * the slot accepted, which memory type has the leaf at stage 2 and how large is
 * it, and what did the guest's unaligned store do. Then what KVM's own audit says
 * of a VM with three framebuffers, of which one is right, one is wrong, and one is
 * right on some CPUs only. Prints; s2_policy and s2_audit are the tests.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

#include "kselftest.h"

#include "backing.h"
#include "bars.h"
#include "guest.h"
#include "memslot.h"
#include "memslot_table.h"
#include "pages.h"
#include "vfio_dev.h"

#define SIZE	MT_BLOCK

struct backing {
	const char *name;
	bool ram;			/* else through /dev/memtype_test */
	struct memtype_test_config config;
};

static const struct backing backings[] = {
	{ "anonymous memory", .ram = true },
	{ "no-map, write-combine", .config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD } },
	{ "no-map, write-combine, granted", .config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD | MEMTYPE_TEST_GRANT } },
	{ "no-map, write-combine PTE only", .config = {
		.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC } },
	{ "no-map, Device", .config = {
		.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE } },
	{ "no-map, Device, granted", .config = {
		.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
		.flags = MEMTYPE_TEST_GRANT } },
	{ "no-map, Write-Back", .config = {
		.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_WB } },
	{ "ZONE_DEVICE, write-combine", .config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_ALIAS } },
};

/* The number of the slot is what a person would search for in the output */
static void add_framebuffer(struct kvm_vm *vm, struct kvm_vcpu *vcpu, int slot, u32 flags,
			    void *hva, u64 size)
{
	u64 gpa = MT_GPA + (slot - MT_SLOT) * SIZE;

	TEST_ASSERT(!__vm_set_user_memory_region2(vm, slot, flags, gpa, size, hva, 0, 0),
		    "Slot %d: %s", slot, strerror(errno));
	mt_access_ok(vcpu, MT_FILL, gpa, size / MT_PAGE);
}

static void show_audit(void)
{
	static const struct memtype_test_config carved_out = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_PMD | MEMTYPE_TEST_GRANT,
	}, in_linear_map = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_ALIAS | MEMTYPE_TEST_GRANT,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 alias_size = mt_test_size(&in_linear_map, SIZE);
	char path[96], line[256];
	int fd[2];
	FILE *f;

	vm = mt_vm_create(&vcpu, 3 * SIZE);
	fd[0] = mt_test_open(&carved_out);
	fd[1] = mt_test_open(&in_linear_map);
	add_framebuffer(vm, vcpu, MT_SLOT, 0, mt_anon(SIZE), SIZE);
	add_framebuffer(vm, vcpu, MT_SLOT + 1, KVM_MEM_NONCACHEABLE,
			mt_mmap(fd[0], SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), SIZE);
	add_framebuffer(vm, vcpu, MT_SLOT + 2, 0,
			mt_mmap(fd[1], alias_size, PROT_READ | PROT_WRITE, MAP_SHARED, 0),
			alias_size);

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/memtype_audit",
		 getpid(), vm->fd);
	printf("\n# cat %s\n", path);
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		fputs(line, stdout);
	fclose(f);
	kvm_vm_free(vm);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	struct mt_bar bar;
	void *hva;
	u64 size;
	int i, fd;

	setbuf(stdout, NULL);
	mt_bar_open(&bar, IVSHMEM, VFIO_PCI_BAR2_REGION_INDEX, MT_TYPE1);
	mt_show_header();
	mt_show_slot("vfio-pci BAR 2, prefetchable", bar.hva, bar.size);
	mt_bar_close(&bar);

	for (i = 0; i < ARRAY_SIZE(backings); i++) {
		fd = -1;
		size = mt_test_size(&backings[i].config, SIZE);
		if (backings[i].ram) {
			hva = mt_anon(size);
		} else {
			fd = mt_test_open(&backings[i].config);
			hva = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		}
		mt_show_slot(backings[i].name, hva, size);
		munmap(hva, size);
		if (fd >= 0)
			close(fd);
	}
	show_audit();
	return 0;
}

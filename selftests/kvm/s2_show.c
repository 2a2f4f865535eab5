// SPDX-License-Identifier: GPL-2.0
/*
 * s2_show - A table of memslots and the stage-2 mappings they give
 *
 * For each kind of backing memory, without and with KVM_MEM_NONCACHEABLE: was
 * the slot accepted, which memory type has the leaf at stage 2 and how large is
 * it, and what did the guest's unaligned store do. Prints; s2_policy is the test.
 */
#include <sys/mman.h>

#include "kselftest.h"
#include "memtype.h"

#define SIZE	SZ_2M

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

static void show(const char *name, void *hva, u64 size, bool flag)
{
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
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", name, flag ? "yes" : "no", slot,
	       type, leaf, access);
	kvm_vm_free(vm);
}

int main(void)
{
	struct mt_bar bar;
	void *hva;
	int i, fd;

	setbuf(stdout, NULL);
	mt_bar_open(&bar);
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", "memory behind the slot", "flag",
	       "slot", "stage 2", "leaf", "the guest's unaligned store");
	show("vfio-pci BAR 2, prefetchable", bar.hva, bar.size, false);
	show("vfio-pci BAR 2, prefetchable", bar.hva, bar.size, true);
	mt_bar_close(&bar);

	for (i = 0; i < ARRAY_SIZE(backings); i++) {
		fd = -1;
		if (backings[i].ram) {
			hva = mt_anon(SIZE);
		} else {
			fd = mt_test_open(&backings[i].config);
			hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		}
		show(backings[i].name, hva, SIZE, false);
		show(backings[i].name, hva, SIZE, true);
		munmap(hva, SIZE);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

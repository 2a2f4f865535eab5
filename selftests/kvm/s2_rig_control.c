// SPDX-License-Identifier: GPL-2.0
/*
 * s2_rig_control - Prove that a wrong memory type can be noticed here
 *
 * Other tests conclude from the absence of an alignment fault that stage 2 is
 * not Device. An emulator that never raises that fault makes them all pass, so
 * this one fails, and does not skip, where a stage-2 Device mapping lets the
 * guest access it unaligned.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"

#define SIZE	SZ_2M

static const struct memtype_test_config device_config = {
	.vma_type = MEMTYPE_TEST_DEVICE,
	.pte_type = MEMTYPE_TEST_DEVICE,
};

static struct kvm_vm *create(struct kvm_vcpu **vcpu, int *fd)
{
	struct kvm_vm *vm = mt_vm_create(vcpu, SIZE);
	void *hva;

	*fd = open("/dev/memtype_test", O_RDWR);
	TEST_ASSERT(*fd >= 0, "/dev/memtype_test is needed: %s", strerror(errno));
	close(*fd);

	*fd = mt_test_open(&device_config);
	hva = mt_mmap(*fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	TEST_ASSERT(!mt_set_slot(vm, 0, MT_GPA, SIZE, hva), "Device slot: %s",
		    strerror(errno));
	return vm;
}

static void check_fault(enum mt_op op, u64 offset)
{
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	struct kvm_vm *vm;
	int fd;

	mt_require_pfnmap();
	vm = create(&vcpu, &fd);
	mt_access_ok(vcpu, MT_LDR, MT_GPA, 0);
	r = mt_access(vcpu, op, MT_GPA + offset, 1);
	TEST_ASSERT(mt_alignment_fault(&r),
		    "Unaligned %s on stage-2 Device gave: %s. The rig cannot show a memory type",
		    mt_op_names[op], mt_outcome(&r));
	kvm_vm_free(vm);
	close(fd);
}

MT_TEST(device_ldr)
{
	check_fault(MT_LDR, 1);
}

MT_TEST(device_str)
{
	check_fault(MT_STR, 1);
}

/* QEMU checks the alignment of the two halves, not of the pair */
MT_TEST(device_ldp)
{
	check_fault(MT_LDP, 4);
}

/* The same accesses to ordinary memory complete */
MT_TEST(anonymous_ldr)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = mt_vm_create(&vcpu, SIZE);

	TEST_ASSERT(!mt_set_slot(vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), "Slot: %s",
		    strerror(errno));
	mt_access_ok(vcpu, MT_LDR, MT_GPA + 1, 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA + 1, 0);
	mt_access_ok(vcpu, MT_LDP, MT_GPA + 4, 0);
	kvm_vm_free(vm);
}

MT_NEEDS(MT_PFNMAP)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * kvm_features - What of this machine and its KVM decides memory types
 *
 * Prints, for a report, a line for each; it tests nothing. Exits as skipped where there
 * is no KVM, after what needs none.
 */
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>
#include <asm/hwcap.h>

#include "kselftest.h"

#include "harness.h"
#include "host.h"
#include "kvm_util.h"
#include "processor.h"
#include "vfio_dev.h"

#define CTR_DIC		BIT(29)
#define CTR_IDC		BIT(28)

static const struct {
	const char *name;
	long cap;
} caps[] = {
	{ "KVM_CAP_MEM_NONCACHEABLE", KVM_CAP_MEM_NONCACHEABLE },
	{ "KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED", KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED },
	{ "KVM_CAP_PRE_FAULT_MEMORY", KVM_CAP_PRE_FAULT_MEMORY },
	{ "KVM_CAP_MEMORY_FAULT_INFO", KVM_CAP_MEMORY_FAULT_INFO },
	{ "KVM_CAP_GUEST_MEMFD", KVM_CAP_GUEST_MEMFD },
	{ "KVM_CAP_ARM_MTE", KVM_CAP_ARM_MTE },
	{ "KVM_CAP_ARM_EL2", KVM_CAP_ARM_EL2 },
	{ "KVM_CAP_ARM_VM_IPA_SIZE", KVM_CAP_ARM_VM_IPA_SIZE },
};

static const char * const series[MT_NR_SERIES] = {
	[MT_PFNMAP] = "1-pfnmap", [MT_NONCACHEABLE] = "2-noncacheable",
	[MT_VFIO] = "3-vfio", [MT_AUDIT] = "4-audit",
};

static void guest_code(void)
{
}

static u64 field(struct kvm_vcpu *vcpu, u64 reg, int shift)
{
	return vcpu_get_reg(vcpu, KVM_ARM64_SYS_REG(reg)) >> shift & 0xf;
}

int main(void)
{
	u64 ctr = read_sysreg(ctr_el0);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	const char *why;
	int i;

	printf("CTR_EL0.DIC: %d\nCTR_EL0.IDC: %d\n", !!(ctr & CTR_DIC), !!(ctr & CTR_IDC));
	printf("page size: %ld\n", sysconf(_SC_PAGESIZE));
	for (i = 0; i < MT_NR_SERIES; i++) {
		why = mt_no_series(i);
		printf("series %s: %s\n", series[i], why ? why : "yes");
	}
	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	/* An older kernel does not have them all, or not for a VM */
	for (i = 0; i < ARRAY_SIZE(caps); i++)
		printf("%s: %d\n", caps[i].name,
		       max(ioctl(vm->fd, KVM_CHECK_EXTENSION, caps[i].cap), 0));

	/* What KVM lets a VM see of the ID registers, which user space cannot read */
	printf("FEAT_S2FWB (ID_AA64MMFR2_EL1.FWB): %lu\n",
	       (unsigned long)field(vcpu, SYS_ID_AA64MMFR2_EL1, 40));
	printf("ID_AA64MMFR0_EL1.PARange: %lu\n",
	       (unsigned long)field(vcpu, SYS_ID_AA64MMFR0_EL1, 0));
	printf("ID_AA64PFR1_EL1.MTE: %lu\n",
	       (unsigned long)field(vcpu, SYS_ID_AA64PFR1_EL1, 8));
	kvm_vm_free(vm);
	return 0;
}

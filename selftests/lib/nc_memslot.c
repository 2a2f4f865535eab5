// SPDX-License-Identifier: GPL-2.0
/*
 * What a VMM calls to give a guest memory that nobody maps cacheable. The tests use
 * these functions, and Documentation/vmm.rst quotes them.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "nc_memslot.h"

/*
 * Add a memslot whose guest mappings are Normal Non-cacheable or are not: now, if the
 * memory is no such memory, and not when the guest draws. The vCPU has been
 * initialized and is not running.
 */
int nc_memslot_add(int vm, int vcpu, uint32_t slot, uint64_t gpa, size_t size, void *hva)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = KVM_MEM_NONCACHEABLE,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int ret;

	if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEM_NONCACHEABLE) <= 0)
		return -EOPNOTSUPP;
	/* What the mapping as a whole cannot be is EINVAL */
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region))
		return -errno;

	/* What a page is not is EFAULT: here, or where there is no such call in KVM_RUN */
	if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) <= 0)
		return 0;
	do {
		ret = ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
	} while (range.size && (!ret || ret == -EINTR || ret == -EAGAIN));
	if (ret) {
		region.memory_size = 0;
		ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
	}
	return ret;
}

/* KVM_RUN, or KVM_PRE_FAULT_MEMORY, has failed with EFAULT: is it for the memory type? */
bool nc_fault_is_memtype(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MEMORY_FAULT &&
	       run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_MEMTYPE;
}

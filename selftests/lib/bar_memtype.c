// SPDX-License-Identifier: GPL-2.0
/*
 * What a VMM calls to map a BAR with a memory type. The tests use these functions,
 * and Documentation/vfio-memory-types.rst quotes them.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bar_memtype.h"

/*
 * Where a BAR is mapped with a memory type; which types there are; and whether the
 * BAR is prefetchable, which is for the BAR that the guest sees, and no reason to
 * choose a type.
 */
int bar_get_memtype(int device, uint32_t bar, uint32_t type,
		    struct vfio_device_feature_region_memtype *memtype)
{
	struct {
		struct vfio_device_feature header;
		struct vfio_device_feature_region_memtype memtype;
	} arg = {
		.header.argsz = sizeof(arg),
		.header.flags = VFIO_DEVICE_FEATURE_GET |
				VFIO_DEVICE_FEATURE_REGION_MEMTYPE,
		.memtype.region_index = bar,
		.memtype.memtype = type,
	};

	if (ioctl(device, VFIO_DEVICE_FEATURE, &arg))
		return -errno;
	*memtype = arg.memtype;
	return 0;
}

/*
 * Map a part of a BAR with the memory type that the VM's configuration, or the
 * VMM's knowledge of the device, says.
 */
void *bar_map(int device, uint32_t bar, uint64_t offset, size_t size, uint32_t type)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };
	struct vfio_device_feature_region_memtype memtype = {};
	int ret;

	ret = bar_get_memtype(device, bar, type, &memtype);
	if (ret == -ENOTTY && type == VFIO_REGION_MEMTYPE_DEFAULT) {
		/* The kernel, or the device's driver, has nothing else */
		ret = ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) ? -errno : 0;
		memtype.offset = info.offset;
	}
	if (ret) {
		errno = -ret;
		return MAP_FAILED;
	}

	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		    memtype.offset + offset);
}

/*
 * Give it to the guest. With the flag a mapping that is not what the VMM takes
 * it for is an error of KVM_RUN and not another memory type.
 */
int bar_add_memslot(int vm, uint32_t slot, uint64_t gpa, size_t size, void *hva,
		    uint32_t type)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	if (type == VFIO_REGION_MEMTYPE_WC &&
	    ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEM_NONCACHEABLE) > 0)
		region.flags |= KVM_MEM_NONCACHEABLE;
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region) ? -errno : 0;
}

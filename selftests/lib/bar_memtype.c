// SPDX-License-Identifier: GPL-2.0
/*
 * What a VMM calls to choose the memory type of a BAR. The tests use these
 * functions, and Documentation/vfio-memory-types.rst quotes most of them.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bar_memtype.h"

static int bar_memtype(int device, uint32_t op,
		       struct vfio_device_feature_region_memtype *memtype)
{
	struct {
		struct vfio_device_feature header;
		struct vfio_device_feature_region_memtype memtype;
	} arg = {
		.header.argsz = sizeof(arg),
		.header.flags = op | VFIO_DEVICE_FEATURE_REGION_MEMTYPE,
		.memtype = *memtype,
	};

	if (ioctl(device, VFIO_DEVICE_FEATURE, &arg))
		return -errno;
	*memtype = arg.memtype;
	return 0;
}

/*
 * Map a part of a BAR for a guest: write-combine where the BAR is prefetchable,
 * and otherwise, if there is that choice, such that the guest, too, has nothing
 * weaker than Device.
 */
void *bar_map(int device, uint32_t bar, uint64_t offset, size_t size, int *memtype)
{
	struct vfio_device_feature_region_memtype m = { .region_index = bar };
	struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };
	int ret;

	*memtype = VFIO_REGION_MEMTYPE_DEFAULT;
	ret = bar_memtype(device, VFIO_DEVICE_FEATURE_GET, &m);
	if (!ret) {
		if (m.supported & (1 << VFIO_REGION_MEMTYPE_WRITE_COMBINE))
			*memtype = VFIO_REGION_MEMTYPE_WRITE_COMBINE;
		else if (m.supported & (1 << VFIO_REGION_MEMTYPE_STRICT))
			*memtype = VFIO_REGION_MEMTYPE_STRICT;
		m = (struct vfio_device_feature_region_memtype) {
			.region_index = bar,
			.type = *memtype,
		};
		ret = bar_memtype(device, VFIO_DEVICE_FEATURE_SET, &m);
	}
	/* ENOTTY: the kernel, or the device's driver, leaves no choice */
	if (ret && ret != -ENOTTY) {
		errno = -ret;
		return MAP_FAILED;
	}

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return MAP_FAILED;
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		    info.offset + offset);
}

/*
 * Give it to the guest. With the flag a mapping that is not what the VMM takes
 * it for is an error of KVM_RUN and not another memory type.
 */
int bar_add_memslot(int vm, uint32_t slot, uint64_t gpa, size_t size, void *hva,
		    int memtype)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	if (memtype == VFIO_REGION_MEMTYPE_WRITE_COMBINE &&
	    ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEM_NONCACHEABLE) > 0)
		region.flags |= KVM_MEM_NONCACHEABLE;
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region) ? -errno : 0;
}

/* Which types there are, which is in force, whether the BAR is prefetchable */
int bar_get_memtype(int device, uint32_t bar,
		    struct vfio_device_feature_region_memtype *memtype)
{
	*memtype = (struct vfio_device_feature_region_memtype) { .region_index = bar };
	return bar_memtype(device, VFIO_DEVICE_FEATURE_GET, memtype);
}

/* For the mappings that are made from now on */
int bar_set_memtype(int device, uint32_t bar, uint32_t type)
{
	struct vfio_device_feature_region_memtype memtype = {
		.region_index = bar,
		.type = type,
	};

	return bar_memtype(device, VFIO_DEVICE_FEATURE_SET, &memtype);
}

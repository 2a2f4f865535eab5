/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a VMM calls to choose the memory type of a BAR; quoted by
 * Documentation/vfio-memory-types.rst.
 */
#ifndef SELFTEST_BAR_MEMTYPE_H
#define SELFTEST_BAR_MEMTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <linux/const.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

/* For building with headers of a kernel that does not have flag and feature */
#ifndef KVM_MEM_NONCACHEABLE
#define KVM_MEM_NONCACHEABLE		_BITUL(4)
#endif
#ifndef KVM_CAP_MEM_NONCACHEABLE
#define KVM_CAP_MEM_NONCACHEABLE	252
#endif
#ifndef VFIO_DEVICE_FEATURE_REGION_MEMTYPE
#define VFIO_DEVICE_FEATURE_REGION_MEMTYPE	15

struct vfio_device_feature_region_memtype {
	__u32	region_index;
	__u32	flags;
#define VFIO_REGION_MEMTYPE_PREFETCHABLE	_BITUL(0)
	__u32	type;
#define VFIO_REGION_MEMTYPE_DEFAULT		0
#define VFIO_REGION_MEMTYPE_STRICT		1
#define VFIO_REGION_MEMTYPE_WRITE_COMBINE	2
	__u32	supported;
};
#endif

int bar_get_memtype(int device, uint32_t bar,
		    struct vfio_device_feature_region_memtype *memtype);
int bar_set_memtype(int device, uint32_t bar, uint32_t type);
void *bar_map(int device, uint32_t bar, uint64_t offset, size_t size, int *memtype);
int bar_add_memslot(int vm, uint32_t slot, uint64_t gpa, size_t size, void *hva,
		    int memtype);

#endif /* SELFTEST_BAR_MEMTYPE_H */

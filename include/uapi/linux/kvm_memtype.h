/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Memory types of a KVM guest's mappings: what a VMM says to KVM and to vfio-pci.
 *
 * Include it instead of <linux/kvm.h> and <linux/vfio.h>, which it includes: it
 * defines what they lack and nothing else, piece by piece, and can stay when they
 * are updated.
 *
 * Until the series is merged these numbers are not assigned, and a later kernel
 * may have something else there: what is built with them is for kernels with the
 * series.
 */
#ifndef _LINUX_KVM_MEMTYPE_H
#define _LINUX_KVM_MEMTYPE_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>
#include <linux/vfio.h>

/* What the flag is given to; in kernels from 6.8 on */
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2		231
#endif
#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, \
					 struct kvm_userspace_memory_region2)
#endif

/*
 * A flag of KVM_SET_USER_MEMORY_REGION2: the guest gets Normal Non-cacheable
 * mappings of the slot's memory or none. The capability, of a VM, says that there
 * is the flag. See Documentation/memory-types.rst, and, in a kernel with the
 * series, Documentation/virt/kvm/api.rst.
 */
#ifndef KVM_MEM_NONCACHEABLE
#define KVM_MEM_NONCACHEABLE		_BITUL(4)
#endif
#ifndef KVM_CAP_MEM_NONCACHEABLE
#define KVM_CAP_MEM_NONCACHEABLE	252
#endif

/*
 * In kvm_run.memory_fault.flags, where KVM_RUN or KVM_PRE_FAULT_MEMORY fails with
 * EFAULT: it is for the memory type of the host's mapping.
 */
#ifndef KVM_MEMORY_EXIT_FLAG_MEMTYPE
#define KVM_MEMORY_EXIT_FLAG_MEMTYPE	_BITULL(8)
#endif

#ifndef VFIO_DEVICE_FEATURE_REGION_MEMTYPE
/**
 * struct vfio_device_feature_region_memtype - where to map a BAR with a memory type
 * @region_index: in: VFIO_PCI_BAR0_REGION_INDEX to VFIO_PCI_BAR5_REGION_INDEX
 * @memtype: in: VFIO_REGION_MEMTYPE_*
 * @flags: in: 0
 * @info: out: VFIO_REGION_MEMTYPE_INFO_*
 * @supported: out: a bit mask with bit (1 << type) set for each memory type that
 *	the BAR has
 * @reserved: in: 0
 * @offset: out: of the BAR in the device's file, for mmap() with that type
 *
 * There is only VFIO_DEVICE_FEATURE_GET: nothing is set, the offset of a BAR and a
 * type is always the same. See Documentation/vfio-memory-types.rst for what each
 * type gives a guest, and include/uapi/linux/vfio.h of a kernel with the series for
 * all errors.
 */
struct vfio_device_feature_region_memtype {
	__u32	region_index;
	__u32	memtype;
#define VFIO_REGION_MEMTYPE_DEFAULT		0
#define VFIO_REGION_MEMTYPE_WC			1
#define VFIO_REGION_MEMTYPE_STRICT		2
	__u32	flags;
	__u32	info;
#define VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE	(1 << 0)
#define VFIO_REGION_MEMTYPE_INFO_STRICT_ONLY	(1 << 1)
	__u32	supported;
	__u32	reserved;
	__aligned_u64 offset;
};

#define VFIO_DEVICE_FEATURE_REGION_MEMTYPE	24
#endif

#endif /* _LINUX_KVM_MEMTYPE_H */

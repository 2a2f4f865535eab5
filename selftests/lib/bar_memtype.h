/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a VMM calls to map a BAR with a memory type; quoted by
 * Documentation/vfio-memory-types.rst.
 */
#ifndef SELFTEST_BAR_MEMTYPE_H
#define SELFTEST_BAR_MEMTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm_memtype.h>

int bar_get_memtype(int device, uint32_t bar, uint32_t type,
		    struct vfio_device_feature_region_memtype *memtype);
void *bar_map(int device, uint32_t bar, uint64_t offset, size_t size, uint32_t type);
int bar_add_memslot(int vm, uint32_t slot, uint64_t gpa, size_t size, void *hva,
		    uint32_t type);

#endif /* SELFTEST_BAR_MEMTYPE_H */

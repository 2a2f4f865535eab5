/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a VMM calls to give a guest memory that nobody maps cacheable; quoted by
 * Documentation/vmm.rst.
 */
#ifndef SELFTEST_NC_MEMSLOT_H
#define SELFTEST_NC_MEMSLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm_memtype.h>

int nc_memslot_add(int vm, int vcpu, uint32_t slot, uint64_t gpa, size_t size, void *hva);
bool nc_fault_is_memtype(const struct kvm_run *run);

#endif /* SELFTEST_NC_MEMSLOT_H */

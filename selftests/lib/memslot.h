/* SPDX-License-Identifier: GPL-2.0 */
/* Memslots that a test expects KVM to take, or not to take */
#ifndef SELFTEST_MEMSLOT_H
#define SELFTEST_MEMSLOT_H

#include <linux/types.h>

#include "kvm_util.h"

/* That of the memory under test */
#define MT_SLOT		10

/* KVM_SET_USER_MEMORY_REGION2, on MT_SLOT or another; return the errno */
int mt_set_slot_nr(struct kvm_vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva);
int mt_set_slot(struct kvm_vm *vm, u32 flags, u64 gpa, u64 size, void *hva);

#endif /* SELFTEST_MEMSLOT_H */

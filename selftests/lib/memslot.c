// SPDX-License-Identifier: GPL-2.0
/* Memslots; see memslot.h */
#include <errno.h>

#include "memslot.h"

int mt_set_slot_nr(struct kvm_vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	int ret = __vm_set_user_memory_region2(vm, slot, flags, gpa, size, hva, 0, 0);

	return ret ? errno : 0;
}

int mt_set_slot(struct kvm_vm *vm, u32 flags, u64 gpa, u64 size, void *hva)
{
	return mt_set_slot_nr(vm, MT_SLOT, flags, gpa, size, hva);
}

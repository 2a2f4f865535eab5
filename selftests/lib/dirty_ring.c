// SPDX-License-Identifier: GPL-2.0
/* The dirty ring of a vCPU; see dirty_ring.h */
#include <asm/barrier.h>

#include "dirty_ring.h"

bool mt_ring_next(struct kvm_vcpu *vcpu, struct kvm_dirty_gfn *page)
{
	u32 entries = vcpu->vm->dirty_ring_size / sizeof(*page);
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu), *entry;

	entry = &ring[vcpu->fetch_index % entries];
	/* Pairs with KVM's release of the entry that it has filled in */
	if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
		return false;
	*page = *entry;
	/* KVM may use the entry again once it sees this */
	smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
	vcpu->fetch_index++;
	return true;
}

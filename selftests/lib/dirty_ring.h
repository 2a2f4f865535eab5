/* SPDX-License-Identifier: GPL-2.0 */
/* The ring in which a vCPU says which pages it has made dirty */
#ifndef SELFTEST_DIRTY_RING_H
#define SELFTEST_DIRTY_RING_H

#include <stdbool.h>

#include "kvm_util.h"

/*
 * The oldest page that was not taken yet; false if there is none. KVM uses the entry
 * again, and write-protects the page, with kvm_vm_reset_dirty_ring().
 */
bool mt_ring_next(struct kvm_vcpu *vcpu, struct kvm_dirty_gfn *page);

#endif /* SELFTEST_DIRTY_RING_H */

/* SPDX-License-Identifier: GPL-2.0 */
/* What the host can do, and tests that are skipped where it cannot */
#ifndef SELFTEST_HOST_H
#define SELFTEST_HOST_H

#include <stdbool.h>

#include "kvm_util.h"

bool mt_host_has_lse(void);
bool mt_host_is_pkvm(void);
/* FEAT_S2FWB and CTR_EL0.DIC: PFNMAP memory may be Write-Back */
bool mt_has_cacheable_pfnmap(struct kvm_vm *vm);
/* Skips the test where no VM takes the flag */
void mt_require_noncacheable(void);

/* Skips the test where KVM maps no PFNMAP memory at all (pKVM) */
void mt_require_pfnmap(void);

#endif /* SELFTEST_HOST_H */

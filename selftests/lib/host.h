/* SPDX-License-Identifier: GPL-2.0 */
/* What the host can do, and tests that are skipped where it cannot */
#ifndef SELFTEST_HOST_H
#define SELFTEST_HOST_H

#include <stdbool.h>

#include "kvm_util.h"

/* The rig's machine, whose devices have addresses of their own; its init says so */
bool mt_in_rig(void);
/* Skips the test anywhere else, where it would do harm to what it does not know */
void __printf(1, 2) mt_rig_only(const char *fmt, ...);

/*
 * The series that a program is about. Where the kernel does not have it, or nothing
 * shows what KVM maps, all of the program is skipped. The rig knows what its kernels
 * have: there nothing is asked, and the tests fail.
 */
enum mt_series { MT_PFNMAP, MT_NONCACHEABLE, MT_VFIO, MT_AUDIT, MT_NR_SERIES };
/* NULL, or why the kernel does not seem to have it */
const char *mt_no_series(enum mt_series series);
void mt_require_series(enum mt_series series);
#define MT_NEEDS(_series)						\
	static void __attribute__((constructor)) mt_needs(void)	\
	{								\
		mt_require_series(_series);				\
	}

/* False leaves errno */
bool mt_write_file(const char *path, const char *val);
/* An instance of tracefs, which is mounted if it is not: nobody else's trace is touched */
#define MT_TRACE(_name)	"/sys/kernel/tracing/instances/" _name
bool mt_trace_begin(const char *instance);
void mt_trace_end(const char *instance);

bool mt_host_has_lse(void);
bool mt_host_is_pkvm(void);
/* FEAT_S2FWB and CTR_EL0.DIC: PFNMAP memory may be Write-Back */
bool mt_has_cacheable_pfnmap(struct kvm_vm *vm);
/* Skips the test where no VM takes the flag */
void mt_require_noncacheable(void);

/* Skips the test where KVM maps no PFNMAP memory but RAM (pKVM) */
void mt_require_pfnmap(void);

#endif /* SELFTEST_HOST_H */

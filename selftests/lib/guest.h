/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that does one access at a time, of any kind, and says what came of it.
 */
#ifndef SELFTEST_GUEST_H
#define SELFTEST_GUEST_H

#include <stdbool.h>
#include <linux/types.h>

#include "kvm_util.h"

/* Where the memory under test is in the guest; mapped one to one at stage 1 */
#define MT_GPA		0x80000000UL

enum mt_op {
	MT_LDR,			/* 8 bytes */
	MT_STR,
	MT_LDP,			/* 16 bytes */
	MT_STP,
	MT_LDXR,		/* LDXR and STXR until it succeeds */
	MT_LDADD,		/* needs FEAT_LSE */
	MT_EXEC,		/* branch there and come back */
	MT_CIVAC,		/* clean and invalidate to PoC */
	MT_TIMED_STR,		/* as MT_STR, val becomes the CNTVCT_EL0 it took */
	MT_FILL,		/* write one word in each of val of the host's pages */
	MT_COPY,		/* copy val bytes there, as memcpy() does */
	MT_FILL_ODD,		/* the same in every second page of 2 * val */
	MT_COUNT,		/* add one to the first word of each of val pages */
	MT_READ_ALL,		/* the sum of the first words of val pages */
	MT_TIMED_LDR,		/* as MT_TIMED_STR, for a load */
	MT_NR_OPS
};

#define MT_MAX_VCPUS	2

/* How often an access is made again, and how many of a process may be */
#define MT_MAX_TRIES	4
#define MT_MAX_RETRIES	64
/* Signals that one access takes before its result is EINTR */
#define MT_MAX_INTERRUPTED	1000

/* Guest memory (write-back) that MT_COPY reads, and what it holds there */
#define MT_COPY_MAX	256UL
u8 mt_copy_byte(u64 i);

extern const char * const mt_op_names[MT_NR_OPS];

/* What became of one guest access */
struct mt_result {
	int run_errno;		/* of KVM_RUN, 0 if the access completed */
	u32 exit_reason;
	u64 esr;		/* exception that the guest took, 0 if none */
	u64 val;		/* what it read */
	struct {
		u64 flags;
		u64 gpa;
		u64 size;
	} fault;		/* kvm_run.memory_fault */
};

/* With stage-1 pages as large as the host's: a row of leaves has as many of them */
struct vm_shape mt_shape(void);

/* A VM whose guest can reach size bytes from MT_GPA */
struct kvm_vm *mt_vm_create(struct kvm_vcpu **vcpu, u64 size);

/* Capabilities that KVM takes only before there are memslots or vCPUs */
struct mt_caps {
	u64 manual_protect;	/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	u64 eager_chunk;	/* KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE */
	u32 ring_entries;	/* KVM_CAP_DIRTY_LOG_RING_ACQ_REL */
	bool ring_bitmap;	/* KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP */
	bool mte;		/* KVM_CAP_ARM_MTE */
};

struct kvm_vm *mt_vm_create_caps(struct kvm_vcpu **vcpu, u64 size,
				 const struct mt_caps *caps);
/* The same with several vCPUs, each of which makes its own accesses */
struct kvm_vm *mt_vm_create_vcpus(struct kvm_vcpu **vcpus, int nr, u64 size,
				  const struct mt_caps *caps);
/*
 * One access. A misaligned one is preceded by an aligned read or write of the
 * same kind, because QEMU reports the alignment fault of a cold TLB to EL2,
 * where KVM cannot handle it; real CPUs always report it to EL1.
 */
struct mt_result mt_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val);
/* The same, for whoever calls KVM_RUN himself: it ends with mt_expect_sync() */
void mt_access_prepare(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val);
/* The guest has come to its GUEST_SYNC(); what it asserts has held until then */
void mt_expect_sync(struct kvm_vcpu *vcpu);
bool mt_alignment_fault(const struct mt_result *r);
bool mt_external_abort(const struct mt_result *r);
/* "ok", "alignment fault" and so on; a static buffer */
const char *mt_outcome(const struct mt_result *r);
/* The access completes without an exception */
u64 mt_access_ok(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val);

/* The access has that outcome, in mt_outcome()'s words */
void mt_expect_outcome(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val,
		       const char *want);

/*
 * KVM_RUN fails with EFAULT, and, in kernels that tell, with a memory-fault exit for
 * that page and with those flags: KVM_MEMORY_EXIT_FLAG_MEMTYPE if it is for the
 * memory type, 0 if the page cannot be had
 */
void mt_expect_memory_fault(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 flags);

#endif /* SELFTEST_GUEST_H */
